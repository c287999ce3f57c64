from __future__ import annotations

import numpy as np
import pytest

from tessera_core.analysis.active_learning import MIN_DISTANCE_PX, _reason, choose, next_queries
from tessera_core.errors import LabelError
from tessera_core.heads import make_head
from tessera_core.raster import EmbeddingRaster
from tests.factories import make_raster

NAMES = {1: "maize", 2: "grass", 3: "wood"}


def landscape(seed: int = 0) -> tuple[EmbeddingRaster, np.ndarray]:
    """Three classes in stripes; classes 1 and 2 alike, and a small patch of something never labelled."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.array([1, 2, 3]), 20)[None].repeat(60, 0)
    truth[50:, 50:] = 4
    centres = np.zeros((5, 16))
    centres[1, 0], centres[2, 0], centres[2, 1], centres[3, 2], centres[4, 3] = 3, 3, 1.0, 4, 5
    x = centres[truth] + 0.3 * rng.normal(size=(60, 60, 16))
    return make_raster(x, empty=np.s_[0, :30]), truth


def labels(truth: np.ndarray, n: int = 3, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    flat = np.concatenate([rng.choice(np.flatnonzero(truth[5:45].ravel() == k), n, replace=False) for k in (1, 2, 3)])
    rows, cols = np.divmod(flat, 60)
    return rows + 5, cols


def test_suggestions_are_apart_doubtful_and_give_reasons() -> None:
    raster, truth = landscape()
    rows, cols = labels(truth)
    head = make_head("ridge").fit(raster.sample(rows, cols), truth[rows, cols])
    found = next_queries(raster, head, rows, cols, NAMES)
    assert len(found) == 5
    places = np.array([[s.row, s.col] for s in found])
    every = np.concatenate([places, np.stack([rows, cols], 1)])
    distance = np.linalg.norm(every[:, None] - every[None], axis=2) + 1e9 * np.eye(len(every))
    assert distance[:5].min() >= MIN_DISTANCE_PX
    assert raster.valid()[places[:, 0], places[:, 1]].all()
    # What was never labelled comes first, then the two fields that are hard to tell apart.
    kinds = truth[places[:, 0], places[:, 1]]
    assert kinds[0] == 4
    assert np.isin(kinds[1:], [1, 2]).sum() >= 3
    for s in found:
        assert s.reason.endswith(".")
        assert NAMES[s.likely[0]] in s.reason
    assert any("little that you labelled looks like it" in s.reason for s in found)
    assert found == next_queries(raster, head, rows, cols, NAMES)


def test_dismissed_places_are_not_suggested_again() -> None:
    raster, truth = landscape()
    rows, cols = labels(truth)
    head = make_head("ridge").fit(raster.sample(rows, cols), truth[rows, cols])
    first = next_queries(raster, head, rows, cols, NAMES)
    dismissed = (np.array([s.row for s in first]), np.array([s.col for s in first]))
    second = next_queries(raster, head, rows, cols, NAMES, avoid=dismissed)
    for s in second:
        assert np.hypot(dismissed[0] - s.row, dismissed[1] - s.col).min() >= MIN_DISTANCE_PX


def test_twins_are_chosen_once() -> None:
    rng = np.random.default_rng(0)
    labelled = rng.normal(size=(6, 8)).astype(np.float32)
    head = make_head("prototype").fit(labelled, [1, 1, 1, 2, 2, 2])
    x = rng.normal(size=(50, 8)).astype(np.float32)
    x[1:20] = x[0]
    order, uncertainty, dissimilarity, proba = choose(x, labelled, head, 10)
    assert len(set(order)) == len(order) == 10
    assert sum(i < 20 for i in order) == 1  # so much ground in one spot is worth one label, and only one
    assert ((dissimilarity >= 0) & (dissimilarity <= 1)).all()
    np.testing.assert_allclose(uncertainty, 1 - np.abs(proba[:, 0] - proba[:, 1]), atol=1e-6)
    # A candidate that is labelled already covers itself.
    again, _, seen, _ = choose(x, np.concatenate([labelled, x[:1]]), head, 10)
    assert min(again) >= 20
    assert seen[:20].max() < 1e-3


def test_without_labels_there_is_a_sentence() -> None:
    raster, _ = landscape()
    with pytest.raises(LabelError, match="two classes first"):
        next_queries(raster, make_head("ridge"), np.zeros(0, int), np.zeros(0, int), NAMES)


def test_a_sure_place_is_not_called_doubtful() -> None:
    assert _reason("Field", "Wood", (1.0, 0.0), 0.2) == (
        "The map takes this for Field (100 %); a label here would speak for much ground like it."
    )
    assert "not surely" not in _reason("Field", "Wood", (0.97, 0.03), 0.95)
    assert "looks like it" in _reason("Field", "Wood", (0.97, 0.03), 0.95)
    assert "but not surely" in _reason("Field", "Wood", (0.7, 0.2), 0.2)
    assert "wavers" in _reason("Field", "Wood", (0.5, 0.4), 0.2)
