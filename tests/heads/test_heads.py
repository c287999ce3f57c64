"""The contract of every head, on small synthetic scenes."""

from __future__ import annotations

import json
import unittest.mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from tessera_core._utils.int8 import kernels
from tessera_core.errors import Cancelled, HeadError
from tessera_core.grid import Grid
from tessera_core.heads import HEADS, ClassMap, Scene, load_head, make_head, predict_raster, save_head
from tessera_core.heads.portable import PortableHead
from tessera_core.heads.registry import head_from_state
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster, dequantise
from tests.factories import quantised

QUICK = {
    "forest": {"n_estimators": 10},
    "boosting": {"rounds": 20},
    "mlp": {"hidden": (32,), "steps": 60},
    "unet": {"width": 8, "steps": 12, "crop": 16, "batch": 2},
}
# The U-Net learns from places, not from vectors; see test_surroundings.py.
ALL = pytest.mark.parametrize("name", [name for name in HEADS if name != "unet"])


def head_of(name: str):
    return make_head(name, **QUICK.get(name, {}))


def world(n=600, dim=24, ids=(3, 7, 200), noise=0.6, seed=0):
    """Codes, scales, vectors and class ids of pixels around one centre for each class."""
    rng = np.random.default_rng(seed)
    index = rng.integers(0, len(ids), n)
    centres = np.random.default_rng(99).normal(size=(len(ids), dim))
    codes, scales = quantised(centres[index] + noise * rng.normal(size=(n, dim)))
    return codes, scales, dequantise(codes, scales), np.array(ids)[index]


@ALL
def test_learns_and_both_ways_of_predicting_agree(name):
    codes, scales, x, y = world()
    head = head_of(name).fit(x[:60], y[:60])
    proba = head.predict_proba(x)
    assert proba.shape == (600, 3)
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-5)
    assert (head.predict(x) == y).mean() > 0.9
    classes, confidence = head.predict_codes(codes, scales)
    top = np.sort(proba, axis=1)
    clear = top[:, -1] - top[:, -2] > 1e-3
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(classes[clear], head.predict(x)[clear])
    assert np.abs(confidence.astype(int) - 100 * proba.max(1)).max() <= 0.51


@ALL
def test_one_label_for_each_class(name):
    codes, scales, x, y = world(noise=0.2)
    first = [int(np.flatnonzero(y == c)[0]) for c in np.unique(y)]
    head = head_of(name).fit(x[first], y[first])
    proba = head.predict_proba(x)
    assert np.isfinite(proba).all()
    # A forest of one bootstrap sample of three labels cannot be expected to be good.
    assert (head.predict_codes(codes, scales)[0] == y).mean() > (0.5 if name in ("forest", "boosting") else 0.95)


@ALL
def test_single_class_is_refused(name):
    _, _, x, _ = world()
    with pytest.raises(HeadError, match="at least two classes, but only class 4"):
        head_of(name).fit(x, np.full(len(x), 4))
    with pytest.raises(HeadError, match="no class has"):
        head_of(name).fit(np.full_like(x, np.nan), np.arange(len(x)))


@ALL
def test_vectors_without_data_are_left_out_and_flagged(name):
    codes, scales, x, y = world()
    holes = x[:60].copy()
    holes[::7] = np.nan
    head = head_of(name).fit(holes, y[:60])
    assert head.n_ignored_ == len(range(0, 60, 7))
    reference = head_of(name).fit(np.delete(x[:60], np.s_[::7], axis=0), np.delete(y[:60], np.s_[::7]))
    np.testing.assert_array_equal(head.predict(x), reference.predict(x))
    assert (head.predict(holes)[::7] == 0).all()
    assert np.isnan(head.predict_proba(holes)[::7]).all()
    bad = scales.copy()
    bad[:4] = np.nan, np.inf, 0, -1
    classes, confidence = head.predict_codes(codes, bad)
    assert list(classes[:4]) == [0] * 4
    assert list(confidence[:4]) == [255] * 4
    assert (classes[4:] > 0).all()
    assert (confidence[4:] <= 100).all()
    assert (head.predict_codes(codes, np.full_like(scales, np.nan))[0] == 0).all()


@ALL
def test_is_deterministic_and_can_be_cloned(name):
    _, _, x, y = world()
    head = head_of(name)
    copy = clone(head)
    assert copy.get_params() == head.get_params()
    np.testing.assert_array_equal(head.fit(x[:60], y[:60]).predict_proba(x), copy.fit(x[:60], y[:60]).predict_proba(x))


@ALL
def test_saved_heads_predict_the_same_and_hold_no_pickle(name, tmp_path):
    codes, scales, x, y = world()
    head = head_of(name).fit(x[:60], y[:60])
    origin = Provenance("studio", "nano", dim=24, year=2024)
    path = save_head(tmp_path / "h.safetensors", head, {3: "maize", 7: "grass"}, origin)
    saved = load_head(path)
    assert saved.class_names == {3: "maize", 7: "grass", 200: "200"}
    assert saved.provenance == origin
    assert saved.head.get_params() == head.get_params()
    for ours, theirs in zip(saved.head.predict_codes(codes, scales), head.predict_codes(codes, scales), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert list(tmp_path.iterdir()) == [path]


def test_half_a_letter_in_a_class_name_damages_no_head(tmp_path):
    """The seal is of what the file says, not of what is made of it."""
    _, _, x, y = world()
    path = tmp_path / "h.safetensors"
    save_head(path, make_head("prototype").fit(x[:60], y[:60]), {3: "Wood \ud83d", 7: "grass"}, Provenance())
    assert load_head(path).class_names == {3: "Wood \ufffd", 7: "grass", 200: "200"}
    data = path.read_bytes()
    assert data.count(b"ud83d") == 1
    path.write_bytes(data.replace(b"ud83d", b"ud83c"))
    with pytest.raises(HeadError, match="damaged"):
        load_head(path)


@pytest.mark.parametrize("name", ["ridge", "logistic", "prototype", "knn", "forest"])
@pytest.mark.parametrize("neighbourhood", [1, 3])
def test_a_softened_head_is_saved_softened(name, neighbourhood, tmp_path):
    codes, scales, _, y = world(noise=2.5)
    raster = EmbeddingRaster(
        codes[:400].reshape(20, 20, -1), scales[:400].reshape(20, 20), Grid.local((20, 20)), Provenance()
    )
    rows, cols = np.divmod(np.arange(60), 20)
    head = make_head(name, neighbourhood=neighbourhood).fit_at(raster, rows, cols, y[:60])
    softer = head.temperature_scaled(1.5).temperature_scaled(2.0)
    assert (head.applied_temperature_, softer.applied_temperature_) == (1.0, 3.0)
    saved = load_head(save_head(tmp_path / "h.safetensors", softer, {}, Provenance())).head
    assert saved.applied_temperature_ == 3.0
    plain, soft, again = (predict_raster(one, raster) for one in (head, softer, saved))
    np.testing.assert_array_equal(again.confidence, soft.confidence)
    np.testing.assert_array_equal(again.classes, plain.classes)
    assert soft.confidence.mean() < plain.confidence.mean() - 1
    # One that had its temperature in its weights, as files until 2026 and JSON have, may be softened once more.
    if neighbourhood == 1 and name in ("ridge", "logistic", "prototype"):
        carried = PortableHead.of(softer, {}, Provenance(dim=24)).head()
        more = load_head(save_head(tmp_path / "m.safetensors", carried.temperature_scaled(1.5), {}, Provenance())).head
        assert more.applied_temperature_ == 4.5
        sure = predict_raster(head.temperature_scaled(4.5), raster).confidence
        np.testing.assert_allclose(predict_raster(more, raster).confidence.astype(int), sure, atol=1)
    # A head that was not softened is saved as it always was, and so are files from before still read.
    path = save_head(tmp_path / "p.safetensors", head, {}, Provenance())
    with safe_open(path, framework="numpy") as file:
        assert "temperature" not in json.loads(file.metadata()["tessera"])
    assert load_head(path).head.applied_temperature_ == 1.0
    assert head.fit_at(raster, rows, cols, y[:60]).applied_temperature_ == 1.0


@pytest.mark.parametrize("left", [0, -1.0, float("nan"), float("inf"), "2", None])
def test_a_file_that_softens_by_no_number_is_refused(left):
    _, _, x, y = world()
    state = make_head("ridge").fit(x[:60], y[:60]).temperature_scaled(2.0).state()
    state.header["temperature"]["left"] = left
    with pytest.raises(HeadError, match="positive number"):
        head_from_state(state)


@pytest.mark.parametrize("kernel", kernels())
@pytest.mark.parametrize("neighbourhood", [1, 3])
@given(temperature=st.floats(0.05, 20), seed=st.integers(0, 2**31))
@settings(max_examples=6, deadline=None)
def test_how_confidence_is_softened_moves_no_pixel(kernel, neighbourhood, temperature, seed):
    """Not even where two classes are apart by the last digit: screen, file and command line soften by what each has learnt."""
    rng = np.random.default_rng(seed)
    codes, scales = rng.integers(-128, 128, (40, 40, 8), np.int8), np.full((40, 40), 0.01, np.float32)
    raster = EmbeddingRaster(codes, scales, Grid.local((40, 40)), Provenance())
    head = make_head("ridge", neighbourhood=neighbourhood).fit_at(
        raster, np.arange(40), np.arange(40), np.arange(40) % 2 + 1
    )
    inner = head if neighbourhood == 1 else head.head
    coef = rng.normal(size=(len(inner.coef_), 1))
    inner._set(coef * (1 + 1e-7 * rng.normal(size=(1, 2))), np.zeros(2))
    with unittest.mock.patch("tessera_core._utils.int8.kernels", return_value=(kernel,)):
        plain = predict_raster(head, raster)
        softer = predict_raster(head.temperature_scaled(temperature), raster)
    np.testing.assert_array_equal(softer.classes, plain.classes)


@ALL
def test_wrong_use_is_told_in_a_sentence(name):
    codes, scales, x, y = world()
    head = head_of(name)
    with pytest.raises(NotFittedError):
        head.predict(x)
    with pytest.raises(HeadError, match="one class for each vector"):
        head.fit(x, y[:-1])
    with pytest.raises(HeadError, match="whole numbers"):
        head.fit(x, y + 0.5)
    with pytest.raises(HeadError, match="weights"):
        head.fit(x, y, sample_weight=np.full(len(y), -1.0))
    head.fit(x[:60], y[:60])
    with pytest.raises(HeadError, match="24 dimensions, these vectors have 12"):
        head.predict(x[:, :12])
    with pytest.raises(HeadError, match="24 dimensions, these vectors have 12"):
        head.predict_codes(np.ascontiguousarray(codes[:, :12]), scales)
    with pytest.raises(HeadError, match="ids 1 to 255"):
        head_of(name).fit(x[:60], y[:60] * 40).predict_codes(codes, scales)


@ALL
def test_zero_weight_is_the_same_as_absence(name):
    _, _, x, y = world()
    weight = np.ones(60)
    weight[::3] = 0
    first = head_of(name).fit(x[:60], y[:60], sample_weight=weight).predict_proba(x)
    second = head_of(name).fit(x[:60][weight > 0], y[:60][weight > 0]).predict_proba(x)
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_unknown_heads_and_parameters():
    with pytest.raises(HeadError, match="no head 'svm'; the heads are ridge, logistic"):
        make_head("svm")
    with pytest.raises(HeadError, match="no such parameter"):
        make_head("ridge", depth=3)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("ridge", {"alpha": -1}),
        ("logistic", {"alpha": 0}),
        ("prototype", {"shrinkage": 2}),
        ("knn", {"n_neighbors": 0}),
        ("mlp", {"hidden": ()}),
        ("ridge", {"class_weight": "none"}),
    ],
)
def test_wrong_parameters_are_refused_on_fitting(name, params):
    _, _, x, y = world()
    with pytest.raises(HeadError):
        make_head(name, **params).fit(x, y)


def test_damaged_head_files(tmp_path):
    _, _, x, y = world()
    with pytest.raises(HeadError, match="no head at"):
        load_head(tmp_path / "none.safetensors")
    text = tmp_path / "text.safetensors"
    text.write_text("not a head")
    with pytest.raises(HeadError, match="not a saved head"):
        load_head(text)
    other = tmp_path / "other.safetensors"
    save_file({"a": np.zeros(3)}, other)
    with pytest.raises(HeadError, match="not a saved head"):
        load_head(other)
    path = save_head(tmp_path / "f.safetensors", head_of("forest").fit(x[:60], y[:60]), {}, Provenance())
    arrays = load_file(path)
    arrays["left_child"] = arrays["left_child"].copy()
    arrays["left_child"][0] = 10**6
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
    # Made by hand: as it carries no checksum, its trees are looked at.
    header = {key: value for key, value in json.loads(metadata["tessera"]).items() if key != "sha256"}
    metadata["tessera"] = json.dumps(header)
    save_file(arrays, path, metadata=metadata)
    with pytest.raises(HeadError, match="trees are damaged"):
        load_head(path)
    metadata["tessera"] = json.dumps(json.loads(metadata["tessera"]) | {"format": "tessera-head/9"})
    save_file(arrays, path, metadata=metadata)
    with pytest.raises(HeadError, match="'tessera-head/9'; this version reads"):
        load_head(path)


def raster(height=40, width=50, dim=24):
    codes, scales, x, y = world(height * width, dim)
    scales = scales.reshape(height, width).copy()
    scales[3:6, 4:9] = np.nan
    grid = Grid.local((height, width))
    return EmbeddingRaster(codes.reshape(height, width, dim), scales, grid, Provenance(dim=dim)), x, y


@pytest.mark.parametrize("name", ["ridge", "knn", "forest"])
def test_scene_windows_and_raster_maps_agree(name, tmp_path, monkeypatch):
    monkeypatch.setattr("tessera_core.heads.scene.CHUNK_PIXELS", 333)
    area, x, y = raster()
    head = head_of(name).fit(x[:60], y[:60])
    whole = predict_raster(head, area)
    assert (whole.classes[3:6, 4:9] == 0).all()
    assert (whole.confidence[3:6, 4:9] == 255).all()
    area.save(tmp_path / "r")
    for resident in (True, False, None):
        scene = Scene(EmbeddingRaster.open(tmp_path / "r"), resident=resident)
        np.testing.assert_array_equal(scene.predict(head).classes, whole.classes)
        view = scene.predict(head, (-5, 10, 20, 100))
        np.testing.assert_array_equal(view.classes, whole.classes[:15, 10:])
        np.testing.assert_array_equal(view.confidence, whole.confidence[:15, 10:])
        assert scene.predict(head, (100, 0, 5, 5)).classes.size == 0
    np.testing.assert_array_equal(scene.sample([0, 1], [2, 3]), area.sample([0, 1], [2, 3]))


def test_stale_requests_stop_and_progress_ends_at_the_total(monkeypatch):
    monkeypatch.setattr("tessera_core.heads.scene.CHUNK_PIXELS", 500)
    area, x, y = raster()
    head = head_of("ridge").fit(x[:60], y[:60])
    calls = []
    predict_raster(head, area, progress=lambda done, total, message: calls.append((done, total)))
    assert calls == [(500, 2000), (1000, 2000), (1500, 2000), (2000, 2000)]
    answers = iter([False, True])
    out = ClassMap.empty(area.shape)
    with pytest.raises(Cancelled):
        predict_raster(head, area, out=out, cancelled=lambda: next(answers))
    assert (out.classes[:3] > 0).all()
    assert (out.classes[10:] == 0).all()
    with pytest.raises(Cancelled):
        Scene(area).predict(head, cancelled=lambda: True)


def test_boosting_thins_out_values_without_moving_a_cut():
    from tessera_core.heads.boosting import MOST_VALUES, few_values

    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(size=(900, 3)), rng.integers(0, 4, (900, 1))], axis=1).astype(np.float32)
    few = few_values(x)
    assert [len(np.unique(column)) for column in few.T] == [MOST_VALUES] * 3 + [4]
    assert np.array_equal(few_values(x[:MOST_VALUES]), x[:MOST_VALUES])
    # A cut half-way between two neighbouring kept values has the same rows on both sides, thinned out or not.
    for column in range(x.shape[1]):
        kept = np.unique(few[:, column]).astype(np.float64)
        for cut in (kept[1:] + kept[:-1]) / 2:
            assert np.array_equal(few[:, column] <= cut, x[:, column] <= cut)


def test_boosting_learns_the_same_from_values_that_it_thins_out():
    from tessera_core.heads.boosting import few_values

    rng = np.random.default_rng(4)
    y = rng.integers(1, 4, 700)
    x = (rng.normal(size=(700, 6)) + y[:, None]).astype(np.float32)
    one, other = (make_head("boosting", rounds=10).fit(values, y) for values in (x, few_values(x)))
    assert np.array_equal(one.predict_proba(x), other.predict_proba(x))
