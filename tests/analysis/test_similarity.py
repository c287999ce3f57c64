from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tessera_core.analysis.similarity import NO_SCORE, Similarity, SimilarityIndex
from tessera_core.errors import RasterError
from tests.factories import clumped_raster


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_scores_equal_plain_numpy(metric: str) -> None:
    raster = clumped_raster()
    seeds = raster.sample([5, 9], [7, 30])
    got = SimilarityIndex(raster).query(seeds, metric=metric)  # type: ignore[arg-type]
    values = raster.sample(*[a.ravel() for a in np.indices(raster.shape)]).astype(np.float64)
    lengths, ends = np.linalg.norm(values, axis=1), np.linalg.norm(seeds, axis=1)
    if metric == "cosine":
        expected = (values @ seeds.T) / (lengths[:, None] * ends)
    else:
        distance = np.linalg.norm(values[:, None] - seeds, axis=2)
        expected = 1 - distance / (lengths[:, None] + ends)
    expected = np.clip(expected.max(1), 0, 1).reshape(raster.shape)
    valid = raster.valid()
    assert (got.scores[~valid] == NO_SCORE).all()
    assert np.abs(got.scores[valid] / 1000 - expected[valid]).max() <= 0.0006
    assert got.scores[5, 7] == 1000
    assert got.histogram.sum() == valid.sum()


def test_the_scale_is_absolute_and_thresholds_compute_nothing() -> None:
    raster = clumped_raster()
    index = SimilarityIndex(raster)
    alone = index.query(raster.sample([5], [7]))
    both = index.query(raster.sample([5, 9], [7, 30]))
    assert (both.scores.astype(int) >= alone.scores).all()
    assert alone.above(90).sum() <= alone.above(50).sum() <= raster.valid().sum()
    assert 0 < alone.default_percent() <= 100


def likeness(*parts: tuple[float, float, int]) -> Similarity:
    """Scores from normal distributions: centre and spread in percent, how many pixels."""
    rng = np.random.default_rng(0)
    percent = np.concatenate([rng.normal(centre, spread, count) for centre, spread, count in parts])
    scores = np.round(10 * np.clip(percent, 0, 100)).astype(np.uint16)[None]
    return Similarity(scores, np.bincount(scores.ravel() // 10, minlength=101))


def test_the_first_threshold_keeps_the_alike_and_not_half_of_everything() -> None:
    # Most ground is about as alike as any other; a small kind is a shoulder far above it.
    found = likeness((68, 5, 50_000), (77, 3, 45_000), (92, 4, 5_000))
    assert 80 <= found.default_percent() <= 88
    assert found.count(round(found.default_percent())) < 8_000


@pytest.mark.parametrize("many", [5_000, 20_000, 60_000])
def test_the_first_threshold_lies_in_the_valley_where_there_is_one(many: int) -> None:
    # Water and land, say: what lies above the valley is one kind and is not split again.
    found = likeness((60, 4, 40_000), (92, 3, many))
    assert 70 <= found.default_percent() <= 84


def test_the_first_threshold_of_a_scene_that_is_all_alike_is_no_error() -> None:
    assert 0 < likeness((100, 0, 500)).default_percent() <= 100
    assert 0 < likeness((0, 0, 500)).default_percent() <= 100


def test_negative_examples_push_their_kind_out() -> None:
    raster = clumped_raster()
    index = SimilarityIndex(raster)
    wanted, unwanted = raster.sample([5], [7]), raster.sample([9], [30])
    scores = index.query(wanted, unwanted).scores
    assert scores[9, 30] == 0
    assert scores[5, 7] == 1000


def test_scores_do_not_depend_on_scales() -> None:
    raster = clumped_raster()
    louder = replace(raster, scales=raster.scales * 7)
    seed = raster.sample([5], [7])
    first, second = (SimilarityIndex(r).query(seed).scores for r in (raster, louder))
    np.testing.assert_array_equal(first, second)


def test_bad_seeds_get_a_sentence() -> None:
    raster = clumped_raster()
    index = SimilarityIndex(raster)
    with pytest.raises(RasterError, match="at least one place"):
        index.query(np.empty((0, 32), np.float32))
    with pytest.raises(RasterError, match="no data"):
        index.query(raster.sample([0], [0]))
    with pytest.raises(RasterError, match="16 dimensions"):
        index.query(np.ones(16, np.float32))


def test_nearest_places_are_the_best_and_apart() -> None:
    raster = clumped_raster()
    index = SimilarityIndex(raster)
    seed = raster.sample([5], [7])[0]
    found = index.nearest(seed, 5, spacing=6)
    assert found[0] == (5, 7, 1.0)
    assert len(found) == 5
    likeness = [share for _, _, share in found]
    assert likeness == sorted(likeness, reverse=True)
    for i, (row, col, _) in enumerate(found):
        assert all(max(abs(row - r), abs(col - c)) >= 6 for r, c, _ in found[:i])
    # Nothing that is better was left out but for being near one that was taken.
    scores = index.query(seed).scores
    rows, cols = np.nonzero((scores != NO_SCORE) & (scores > 1000 * likeness[-1]))
    for row, col in zip(rows.tolist(), cols.tolist(), strict=True):
        assert any(max(abs(row - r), abs(col - c)) < 6 for r, c, _ in found)
