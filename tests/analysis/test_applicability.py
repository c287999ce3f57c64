from __future__ import annotations

import numpy as np
import pytest

from tessera_core.analysis.applicability import NO_SCORE, DissimilarityMap, Spread, learn, map_dissimilarity
from tessera_core.analysis.similarity import code_norms
from tessera_core.errors import Cancelled, LabelError
from tessera_core.raster import EmbeddingRaster
from tests.factories import make_raster

DIM = 20


def drawn(n: int, classes: int, seed: int, noise: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """``n`` vectors of ``classes`` classes with an uneven spread that all share."""
    centres = np.random.default_rng(3).normal(size=(6, DIM)) * 2
    uneven = np.linspace(0.2, 2, DIM)
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return (centres[y] + noise * uneven * rng.normal(size=(n, DIM))).astype(np.float32), y


def raster_of(x: np.ndarray, shape: tuple[int, int]) -> EmbeddingRaster:
    return make_raster(x.reshape(*shape, -1), empty=np.unravel_index(3, shape))


def test_distances_are_mahalanobis_with_the_small_variances_averaged() -> None:
    x, y = drawn(200, 3, 0)
    spread = Spread.fit(x, y, rank=5)
    variances = np.r_[1 / (1 / spread.floor - spread.gains), np.full(DIM - 5, spread.floor)]
    rest = np.linalg.svd(spread.axes)[2][5:]
    covariance = np.concatenate([spread.axes, rest]).T @ np.diag(variances) @ np.concatenate([spread.axes, rest])
    query, _ = drawn(9, 5, 1)
    away = query[:, None] - spread.means
    expected = np.einsum("nkd,de,nke->nk", away, np.linalg.inv(covariance), away).min(1)
    np.testing.assert_allclose(spread.distances(query), expected, rtol=1e-6)
    # Full rank and many labels: the pooled covariance itself.
    many, classes = drawn(20_000, 2, 2)
    full = Spread.fit(many, classes, rank=DIM - 1)
    inside = many - full.means[classes]
    exact = np.linalg.inv(inside.T @ inside / (len(many) - 2))
    np.testing.assert_allclose(full.precise(np.eye(DIM)), exact, rtol=0.05, atol=0.02 * exact.max())


def test_the_layer_equals_plain_numpy() -> None:
    x, y = drawn(60, 3, 0)
    dissimilarity = learn(x, y, np.arange(60))
    pixels, _ = drawn(2000, 6, 1)
    raster = raster_of(pixels, (40, 50))
    found = map_dissimilarity(dissimilarity, raster).percent.ravel()
    assert found[3] == NO_SCORE
    values = raster.sample(*np.divmod(np.arange(2000), 50))
    values[3] = 0
    expected = np.searchsorted(dissimilarity.thresholds, dissimilarity.spread.distances(values))
    off = np.delete(np.abs(found.astype(int) - expected), 3)
    assert off.max() <= 1
    assert (off == 0).mean() > 0.98
    again = map_dissimilarity(dissimilarity, raster, code_norms(raster.codes.reshape(-1, DIM)))
    np.testing.assert_array_equal(again.percent.ravel(), found)


@pytest.mark.parametrize("labels", [9, 30, 300])
def test_pixels_of_known_classes_follow_the_percentages_and_others_stand_out(labels: int) -> None:
    beyond, unknown = [], []
    for seed in range(10):
        x, y = drawn(labels, 3, seed)
        dissimilarity = learn(x, y, np.arange(labels))
        pixels, classes = drawn(1200, 6, 1000 + seed)
        percent = map_dissimilarity(dissimilarity, raster_of(pixels, (30, 40))).percent.ravel()
        known = (classes < 3) & (percent != NO_SCORE)
        beyond.append((percent[known] >= 90).mean())
        unknown.append((percent[classes >= 3] >= 90).mean())
    # Few labels make it careful, never rash.
    assert 0.02 < np.mean(beyond) < 0.15
    assert np.mean(unknown) > 0.9


def test_pixels_of_one_polygon_are_one_label() -> None:
    x, y = drawn(12, 3, 0)
    alone = learn(x, y, np.arange(12))
    many = learn(x.repeat(50, 0), y.repeat(50), np.arange(12).repeat(50))
    assert (alone.places, many.places) == (12, 12)
    assert learn(x.repeat(50, 0), y.repeat(50), np.arange(600)).thresholds[-1] < many.thresholds[-1]


def test_a_slider_is_a_look_up_and_the_sentence_says_the_share() -> None:
    x, y = drawn(60, 3, 0)
    pixels, _ = drawn(1200, 6, 5)
    layer = map_dissimilarity(learn(x, y, np.arange(60)), raster_of(pixels, (30, 40)))
    assert layer.outside(0).sum() == 1199
    assert layer.outside(100).sum() <= layer.outside(95).sum()
    assert f"{100 * layer.share:.0f} % of the region" in layer.sentence


def test_what_resembles_the_labels_only_roughly_is_told_too() -> None:
    percent = np.full((10, 10), 20, np.uint8)
    percent[0, 0] = 255
    assert DissimilarityMap(percent).sentence == "Nearly all of the region resembles something you labelled."
    percent[5:7, 1:9] = 85
    assert "labelled, 16 % of it only roughly." in DissimilarityMap(percent).sentence


def test_too_few_labels_and_stopping() -> None:
    x, y = drawn(12, 6, 0)
    with pytest.raises(LabelError, match="two places"):
        learn(x[:6], y[:6], np.arange(6))
    x[0] = np.nan
    dissimilarity = learn(x, y, np.arange(12))
    assert dissimilarity.places == 10  # the class of the lost label has a single one left
    with pytest.raises(Cancelled):
        map_dissimilarity(dissimilarity, raster_of(drawn(100, 2, 0)[0], (10, 10)), cancelled=lambda: True)
