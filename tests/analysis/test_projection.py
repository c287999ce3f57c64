from __future__ import annotations

import time

import numpy as np
import pytest

from tessera_core.analysis import projection
from tessera_core.errors import Cancelled, RasterError
from tests.factories import clumps, make_raster


def test_nearest_equals_scikit_learn() -> None:
    from sklearn.neighbors import NearestNeighbors

    values, _ = clumps()
    index, distance = projection.nearest(values, None, 5)
    expected, ours = NearestNeighbors(n_neighbors=6).fit(values).kneighbors(values)
    np.testing.assert_allclose(distance, expected[:, 1:], atol=2e-3)
    assert (index == ours[:, 1:]).mean() > 0.99


def test_memberships_sum_to_log2_of_the_neighbours() -> None:
    values, _ = clumps()
    _, distance = projection.nearest(values, None, 15)
    np.testing.assert_allclose(projection._memberships(distance).sum(1), np.log2(15), rtol=0.01)


def test_trustworthiness_equals_scikit_learn() -> None:
    from sklearn.manifold import trustworthiness

    values, _ = clumps(300)
    points = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    points[:, 0] += 0.3 * values[:, 0]
    ours = projection.trustworthiness(values, points, 7, sample=300)
    assert ours == pytest.approx(trustworthiness(values, points, n_neighbors=7), abs=1e-3)


@pytest.mark.parametrize("axes", [2, 3])
def test_clumps_stay_together_and_apart(axes: int) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    values, kind = clumps()
    umap = projection.fit_umap(values, axes, epochs=100)
    assert umap.points.shape == (600, axes)
    assert projection.trustworthiness(values, umap.points) > 0.85
    new, its = clumps(200, seed=5)
    placed = umap.place(new)
    guessed = KNeighborsClassifier(5).fit(umap.points, kind).predict(placed)
    assert (guessed == its).mean() > 0.97
    # The same values come to lie where they were, for no neighbour is nearer than the point itself.
    again = umap.place(values)
    assert np.median(np.linalg.norm(again - umap.points, axis=1)) < 0.1 * np.ptp(umap.points)


def test_the_seed_decides() -> None:
    values, _ = clumps(200)
    first, second, other = (projection.fit_umap(values, seed=seed, epochs=30).points for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 0


def test_progress_grows_and_cancelling_stops() -> None:
    values, _ = clumps(300)
    told: list[tuple[int, int]] = []
    projection.fit_umap(values, epochs=20, progress=lambda done, total, _: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    started = time.monotonic()
    with pytest.raises(Cancelled):
        projection.fit_umap(values, epochs=100_000, cancelled=lambda: time.monotonic() - started > 0.5)


def test_bad_input_is_named() -> None:
    values, _ = clumps(10)
    with pytest.raises(RasterError, match="17 to"):
        projection.fit_umap(values)
    broken, _ = clumps(100)
    broken[3, 3] = np.nan
    with pytest.raises(RasterError, match="no data"):
        projection.fit_umap(broken)


@pytest.mark.parametrize("axes", [2, 3])
def test_the_whole_region_takes_the_colours_of_the_picture(axes: int) -> None:
    values, kind = clumps(1200)
    umap = projection.fit_umap(values, axes, epochs=80)
    learnt = projection.learn_projection(umap)
    assert learnt.r2 > 0.8
    raster = make_raster(values.reshape(30, 40, -1), empty=np.s_[0, 0])
    picture = learnt.colours(raster)
    assert (picture[0, 0] == 0).all()
    flat, of = picture.reshape(-1, 3)[1:].astype(float), kind[1:]
    means = np.stack([flat[of == k].mean(0) for k in range(4)])
    nearest = np.linalg.norm(flat[:, None] - means, axis=2).argmin(1)
    assert (nearest == of).mean() > 0.9
    with pytest.raises(Cancelled):
        learnt.colours(raster, cancelled=lambda: True)
