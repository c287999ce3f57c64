from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans

from tessera_core.analysis.clusters import kmeans
from tessera_core.errors import Cancelled, RasterError
from tests.analysis.test_similarity import make_raster


def test_inertia_is_as_good_as_a_full_float_kmeans() -> None:
    raster = make_raster(shape=(60, 60))
    found = kmeans(raster, 5, seed=1)
    valid = raster.valid()
    values = raster.sample(*np.nonzero(valid))
    reference = KMeans(5, n_init=5, random_state=0).fit(values)
    assert found.inertia == pytest.approx(reference.inertia_, rel=0.01)
    own = ((values - found.centres[found.labels[valid] - 1]) ** 2).sum()
    assert found.inertia == pytest.approx(own, rel=1e-3)


def test_clusters_are_numbered_by_size_and_spare_no_data() -> None:
    raster = make_raster()
    found = kmeans(raster, 4, seed=0)
    assert (found.labels[~raster.valid()] == 0).all()
    assert found.labels[raster.valid()].min() == 1
    assert (np.diff(found.sizes) <= 0).all()
    assert np.bincount(found.labels[raster.valid()])[1:].tolist() == found.sizes.tolist()


def test_the_same_seed_gives_the_same_clusters() -> None:
    raster = make_raster()
    np.testing.assert_array_equal(kmeans(raster, 6, seed=3).labels, kmeans(raster, 6, seed=3).labels)


def test_bad_requests_and_cancel() -> None:
    raster = make_raster()
    with pytest.raises(RasterError, match="between 2 and 254"):
        kmeans(raster, 1)
    with pytest.raises(RasterError, match="too few"):
        kmeans(make_raster(shape=(2, 4)), 6)
    with pytest.raises(Cancelled):
        kmeans(raster, 3, cancelled=lambda: True)
