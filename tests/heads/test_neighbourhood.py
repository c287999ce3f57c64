"""Heads that look around: contexts and the U-Net, exact at the borders of blocks, and what they are good for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from sklearn.base import clone

from tessera_core.errors import Cancelled, HeadError
from tessera_core.heads import (
    Scene,
    load_head,
    make_head,
    make_regression_head,
    predict_raster,
    predict_values,
    save_head,
)
from tessera_core.heads.neighbourhood import with_focal_mean
from tests.factories import patchwork

UNET = {"width": 6, "steps": 80, "crop": 16, "batch": 3, "learning_rate": 0.01}


def smooth_means(raster, size):
    """The mean of the square around each pixel, by another road."""
    valid = raster.valid()
    values = np.where(valid[..., None], raster.codes * np.nan_to_num(raster.scales)[..., None], 0)
    box = np.ones((size, size))
    total = np.stack([ndimage.convolve(values[..., d], box, mode="constant") for d in range(raster.dim)], -1)
    return total / np.maximum(ndimage.convolve(valid.astype(float), box, mode="constant"), 1)[..., None]


@pytest.mark.parametrize("size", [3, 5])
def test_surroundings_are_means_of_what_has_data(size):
    raster, _, _, _ = patchwork()
    rows, cols = (a.ravel() for a in np.indices(raster.shape))
    made = with_focal_mean(raster, rows, cols, size).reshape(*raster.shape, -1)
    valid = raster.valid()
    np.testing.assert_allclose(made[valid][:, raster.dim :], smooth_means(raster, size)[valid], atol=1e-4)
    assert np.isnan(made[~valid]).all()


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("name", ["ridge", "logistic", "knn", "forest"])
def test_maps_do_not_depend_on_blocks(name, size, monkeypatch, tmp_path):
    raster, _, rows, cols = patchwork()
    truth = patchwork()[1]
    params = {"n_estimators": 10} if name == "forest" else {}
    head = make_head(name, neighbourhood=size, **params).fit_at(raster, rows, cols, truth[rows, cols])
    whole = predict_raster(head, raster)
    # The same as a table of all vectors says, but for ties at the last digit.
    every = head.proba_at(raster, *(a.ravel() for a in np.indices(raster.shape)))
    valid = raster.valid()
    top = np.sort(every, axis=1)
    clear = valid.ravel() & (top[:, -1] - top[:, -2] > 1e-3)
    np.testing.assert_array_equal(whole.classes.ravel()[clear], head.classes_[every[clear].argmax(1)])
    assert (whole.classes[~valid] == 0).all()
    assert (whole.confidence[~valid] == 255).all()
    for module, size_name in (("scene", "CHUNK_PIXELS"), ("neighbourhood", "BLOCK"), ("neighbourhood", "FLOAT_BLOCK")):
        monkeypatch.setattr(f"tessera_core.heads.{module}.{size_name}", 333)
    cut = predict_raster(head, raster)
    np.testing.assert_array_equal(cut.classes, whole.classes)
    np.testing.assert_array_equal(cut.confidence, whole.confidence)
    view = Scene(raster).predict(head, (5, 7, 20, 100))
    np.testing.assert_array_equal(view.classes, whole.classes[5:25, 7:])
    window = head.proba_window(raster.codes, raster.scales, (5, 7, 25, 40))
    np.testing.assert_allclose(
        window.reshape(-1, 3), every.reshape(*raster.shape, 3)[5:25, 7:40].reshape(-1, 3), atol=1e-5
    )
    path = save_head(tmp_path / "h.safetensors", head, {1: "a"}, raster.provenance)
    saved = load_head(path).head
    np.testing.assert_array_equal(predict_raster(saved, raster).classes, whole.classes)
    assert saved.size == size
    assert clone(saved).get_params()["size"] == size


def test_a_context_helps_where_noise_is_strong():
    raster, truth, rows, cols = patchwork(noise=3.0)
    valid = raster.valid()
    right = [
        (
            predict_raster(
                make_head("ridge", neighbourhood=n).fit_at(raster, rows, cols, truth[rows, cols]), raster
            ).classes
            == truth
        )[valid].mean()
        for n in (1, 3, 5)
    ]
    assert right[0] + 0.05 < right[1] < right[2]


def test_numbers_take_a_context_too(monkeypatch, tmp_path):
    raster, truth, rows, cols = patchwork()
    numbers = truth[rows, cols] * 10.0
    head = make_regression_head("ridge-regression", neighbourhood=3).fit_at(raster, rows, cols, numbers)
    whole = predict_values(head, raster)
    values, half_widths = head.interval_at(raster, *(a.ravel() for a in np.indices(raster.shape)))
    np.testing.assert_allclose(whole.values.ravel(), values, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(whole.half_widths.ravel(), half_widths, rtol=1e-4, atol=1e-3)
    monkeypatch.setattr("tessera_core.heads.scene.CHUNK_PIXELS", 333)
    np.testing.assert_allclose(predict_values(head, raster).values, whole.values, rtol=1e-4, atol=1e-3)
    saved = load_head(save_head(tmp_path / "h.safetensors", head, {}, raster.provenance)).head
    np.testing.assert_array_equal(predict_values(saved, raster).half_widths, predict_values(head, raster).half_widths)


def test_the_unet_maps_every_window_alike(monkeypatch, tmp_path):
    raster, truth, rows, cols = patchwork(height=70, width=110)
    head = make_head("unet", **UNET).fit_at(raster, rows, cols, truth[rows, cols])
    whole = predict_raster(head, raster)
    valid = raster.valid()
    assert (whole.classes == truth)[valid].mean() > 0.75
    assert (whole.classes[~valid] == 0).all()
    monkeypatch.setattr("tessera_core.heads.scene.CHUNK_PIXELS", 700)
    cut = predict_raster(head, raster)
    assert (cut.classes == whole.classes).mean() > 0.999
    assert np.abs(cut.confidence.astype(int) - whole.confidence).max() <= 1
    view = Scene(raster).predict(head, (13, 41, 30, 50))
    assert (view.classes == whole.classes[13:43, 41:91]).mean() > 0.999
    at = head.proba_at(raster, rows, cols)
    assert np.abs(at.max(1) * 100 - whole.confidence[rows, cols]).max() < 1
    window = head.proba_window(raster.codes, raster.scales, (13, 41, 43, 91))
    assert np.isnan(window[~valid[13:43, 41:91]]).all()
    saved = load_head(save_head(tmp_path / "u.safetensors", head, {}, raster.provenance)).head
    np.testing.assert_array_equal(predict_raster(saved, raster).classes, cut.classes)
    careful = head.temperature_scaled(3.0)
    assert careful.proba_at(raster, rows, cols).max(1).mean() < at.max(1).mean()
    assert head.temperature_ == 1


def test_slow_heads_tell_how_far_they_are_and_stop():
    raster, truth, rows, cols = patchwork()
    y = truth[rows, cols]
    for name, params in (
        ("unet", UNET),
        ("mlp", {"steps": 40}),
        ("forest", {"n_estimators": 30}),
        ("boosting", {"rounds": 20}),
    ):
        calls = []
        make_head(name, **params).fit_at(
            raster, rows, cols, y, progress=lambda done, total, _, c=calls: c.append((done, total))
        )
        assert len(calls) > 2
        assert calls[-1][0] == calls[-1][1]
        head = make_head(name, **params)
        answers = iter([False, True])
        with pytest.raises(Cancelled, match="Training was stopped"):
            head.fit_at(raster, rows, cols, y, cancelled=lambda a=answers: next(a))
        assert not hasattr(head, "classes_")


def test_wrong_use_is_told_in_a_sentence():
    raster, truth, rows, cols = patchwork()
    y = truth[rows, cols]
    for call, says in (
        (lambda: make_head("ridge", neighbourhood=4), "1, 3 or 5 pixels, not 4"),
        (lambda: make_head("unet", neighbourhood=3), "looks around by itself"),
        (lambda: make_head("ridge-regression"), "that one is for numbers"),
        (lambda: make_regression_head("ridge"), "that one is for classes"),
        (lambda: make_head("unet").fit(raster.sample(rows, cols), y), "learns from places of a raster"),
        (lambda: make_head("unet", crop=30).fit_at(raster, rows, cols, y), "multiple of 4"),
        (lambda: make_head("unet", **UNET).fit_at(raster, rows, cols, np.ones(len(y), int)), "at least two classes"),
        (
            lambda: (
                make_head("ridge", neighbourhood=3)
                .fit_at(raster, rows, cols, y)
                .predict_codes(raster.codes[0], raster.scales[0])
            ),
            "windows of a raster",
        ),
        (
            lambda: (
                make_head("ridge", neighbourhood=3)
                .fit_at(raster, rows, cols, y)
                .predict_window(raster.codes[..., :4], raster.scales, (0, 0, 2, 2))
            ),
            "24 dimensions, these vectors have 8",
        ),
    ):
        with pytest.raises(HeadError, match=says):
            call()
