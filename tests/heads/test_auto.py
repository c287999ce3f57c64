"""The automatic head: class means with few labels, logistic regression with many, and what it says of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.heads import AutoHead, load_head, make_head, save_head
from tessera_core.heads.auto import EVEN, reason
from tests.factories import patchwork


def crops(per_class: int, classes: int = 3, dim: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(1, classes + 1), per_class)
    x = 2 * rng.normal(size=(classes, dim))[y - 1] + rng.normal(size=(len(y), dim))
    return x.astype(np.float32), y


@given(st.integers(1, 12), st.integers(2, 4), st.integers(0, 5))
@settings(max_examples=15, deadline=None)
def test_its_odds_lie_between_those_of_both(per_class: int, classes: int, seed: int) -> None:
    x, y = crops(per_class, classes, seed=seed)
    auto, means, logistic = (make_head(name).fit(x, y) for name in ("auto", "prototype", "logistic"))
    share = per_class / (per_class + EVEN) if per_class > 1 else 1
    assert auto.logistic_share_ == pytest.approx(share)

    def odds(head) -> np.ndarray:
        logits = x @ head.coef_ + head.intercept_
        return logits - logits[:, :1]

    between = (1 - share) * odds(means) + share * odds(logistic)
    np.testing.assert_allclose(odds(auto), between, rtol=1e-3, atol=1e-3 * np.abs(between).max())


def test_pixels_of_one_label_count_as_what_they_are_worth() -> None:
    x, y = crops(16)
    alone = AutoHead().fit(x, y)
    strokes = AutoHead().fit(x, y, groups=np.arange(48) // 16)
    assert alone.labels_a_class_ == 16
    assert strokes.labels_a_class_ == 4
    assert strokes.logistic_share_ < alone.logistic_share_


def test_it_says_how_much_of_which_it_is() -> None:
    x, y = crops(10)
    assert reason(make_head("auto").fit(x, y)) == (
        "Class means count 50 %, logistic regression 50 % (labels a class: about 10)."
    )
    assert reason(make_head("auto").fit(x[::10], y[::10])).startswith("Logistic regression, because no class has two")
    assert reason(make_head("logistic").fit(x, y)) == ""
    assert reason(make_head("auto")) == ""


def test_saved_and_softened_it_maps_the_same(tmp_path) -> None:
    raster, truth, rows, cols = patchwork(30, 40)
    head = make_head("auto").fit_at(raster, rows, cols, truth[rows, cols])
    assert "logistic regression" in reason(head.temperature_scaled(1.5))
    around = make_head("auto", neighbourhood=3).fit_at(raster, rows, cols, truth[rows, cols])
    assert "logistic regression" in reason(around)
    again = load_head(save_head(tmp_path / "h.safetensors", head, {}, raster.provenance)).head
    whole = (0, 0, *raster.shape)
    for ours, theirs in zip(
        head.predict_window(raster.codes, raster.scales, whole),
        again.predict_window(raster.codes, raster.scales, whole),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
