from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans

from tessera_core.analysis.clusters import Clusters, cluster_tree, kmeans, tree_of_clusters
from tessera_core.errors import Cancelled, RasterError
from tests.factories import clumped_raster


def test_inertia_is_as_good_as_a_full_float_kmeans() -> None:
    raster = clumped_raster(shape=(60, 60))
    found = kmeans(raster, 5, seed=1)
    valid = raster.valid()
    values = raster.sample(*np.nonzero(valid))
    reference = KMeans(5, n_init=5, random_state=0).fit(values)
    assert found.inertia == pytest.approx(reference.inertia_, rel=0.01)
    own = ((values - found.centres[found.labels[valid] - 1]) ** 2).sum()
    assert found.inertia == pytest.approx(own, rel=1e-3)


def test_clusters_are_numbered_by_size_and_spare_no_data() -> None:
    raster = clumped_raster()
    found = kmeans(raster, 4, seed=0)
    assert (found.labels[~raster.valid()] == 0).all()
    assert found.labels[raster.valid()].min() == 1
    assert (np.diff(found.sizes) <= 0).all()
    assert np.bincount(found.labels[raster.valid()])[1:].tolist() == found.sizes.tolist()


def test_the_same_seed_gives_the_same_clusters() -> None:
    raster = clumped_raster()
    np.testing.assert_array_equal(kmeans(raster, 6, seed=3).labels, kmeans(raster, 6, seed=3).labels)


def test_bad_requests_and_cancel() -> None:
    raster = clumped_raster()
    with pytest.raises(RasterError, match="between 2 and 254"):
        kmeans(raster, 1)
    with pytest.raises(RasterError, match="too few"):
        kmeans(clumped_raster(shape=(2, 4)), 6)
    with pytest.raises(Cancelled):
        kmeans(raster, 3, cancelled=lambda: True)


def test_groups_of_a_coarser_cut_are_unions_of_those_of_a_finer_one() -> None:
    raster = clumped_raster(shape=(60, 60))
    tree = cluster_tree(raster, finest=12, seed=2)
    assert tree.finest == 12
    cuts = {k: tree.cut(k) for k in range(1, 13)}
    for k, cut in cuts.items():
        assert (cut.labels[~raster.valid()] == 0).all()
        assert np.bincount(cut.labels[raster.valid()], minlength=k + 1)[1:].tolist() == cut.sizes.tolist()
        assert (cut.sizes > 0).all()
        assert sorted(leaf for group in tree.members(k) for leaf in group) == list(range(12))
    for k in range(1, 12):
        coarse, fine = cuts[k].labels, cuts[k + 1].labels
        changed = coarse != fine
        # Only the new number differs, and it comes out of one group, of which it is the smaller part.
        assert (fine[changed] == k + 1).all()
        (parent,) = np.unique(coarse[changed])
        assert 0 < cuts[k + 1].sizes[k] <= cuts[k + 1].sizes[parent - 1]


def test_the_sums_and_centres_of_a_cut_are_those_of_its_pixels() -> None:
    raster = clumped_raster(shape=(60, 60))
    values, valid = raster.sample(*np.nonzero(raster.valid())), raster.valid()
    tree = cluster_tree(raster, finest=16, seed=0)
    for k in (1, 5, 16):
        cut = tree.cut(k)
        groups = cut.labels[valid] - 1
        assert cut.inertia == pytest.approx(((values - cut.centres[groups]) ** 2).sum(), rel=0.01)
    # A cut is not fitted to its k, but hardly worse than groups that are.
    assert tree.cut(5).inertia < 1.15 * kmeans(raster, 5, seed=0).inertia


def test_merging_is_wards() -> None:
    from scipy.cluster.hierarchy import fcluster, linkage

    rng = np.random.default_rng(5)
    centres = rng.normal(size=(20, 6)).astype(np.float32)
    leaves = Clusters(centres, np.arange(1, 21, dtype=np.uint8).reshape(4, 5), np.ones(20, np.int64), 0.0)
    tree, reference = tree_of_clusters(leaves), linkage(centres, "ward")
    for k in range(2, 20):
        theirs = fcluster(reference, k, "maxclust")
        assert {frozenset(group) for group in tree.members(k)} == {
            frozenset(np.flatnonzero(theirs == group).tolist()) for group in np.unique(theirs)
        }
    # scipy's heights are the root of twice what a merge adds.
    np.testing.assert_allclose(np.diff(tree.costs[::-1]), reference[:, 2] ** 2 / 2, rtol=1e-4)


def test_a_tree_is_the_same_for_the_same_seed_and_says_what_it_cannot_do() -> None:
    raster = clumped_raster()
    one, two = (cluster_tree(raster, finest=8, seed=4) for _ in range(2))
    np.testing.assert_array_equal(one.cut(3).labels, two.cut(3).labels)
    small = cluster_tree(clumped_raster(shape=(2, 4)), finest=32)
    assert 2 <= small.finest <= 8
    with pytest.raises(RasterError, match="cut into 1 to 8 groups, not 9"):
        one.cut(9)
    with pytest.raises(Cancelled):
        cluster_tree(raster, cancelled=lambda: True)
