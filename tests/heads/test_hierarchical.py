"""Heads over trees of classes: labels at every level teach, the map goes as deep as it is certain."""

from __future__ import annotations

import numpy as np
import pytest

from tessera_core.errors import HeadError
from tessera_core.heads import HierarchicalHead, load_head, make_head, save_head
from tessera_core.provenance import Provenance
from tessera_core.raster import dequantise
from tests.factories import quantised

# 1 wood: 2 oak, 3 conifer: 4 pine, 5 spruce; 6 water
PARENTS = ((2, 1), (3, 1), (4, 3), (5, 3))


def scene(n=800, dim=16, noise=0.5, apart=0.25, seed=0):
    """Vectors of tips; pine and spruce lie close together."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(3).normal(size=(4, dim))
    centres[2] = centres[1] + apart * centres[2]
    leaves = np.array([2, 4, 5, 6])
    index = rng.integers(0, 4, n)
    return (centres[index] + noise * rng.normal(size=(n, dim))).astype(np.float32), leaves[index]


def test_labels_of_all_levels_teach_and_the_map_is_as_fine_as_it_is_certain():
    x, y = scene(apart=0.08)
    given = y[:200].copy()
    given[:100][given[:100] == 4] = 3  # half of the pines are only known to be conifers,
    given[50:150][given[50:150] == 2] = 1  # some oaks only to be wood
    head = HierarchicalHead(PARENTS, confidence_threshold=0.9).fit(x[:200], given)
    assert list(head.classes_) == [2, 4, 5, 6]
    assert sorted(head.nodes_) == [1, 2, 3, 4, 5, 6]
    proba = head.predict_proba(x)
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-5)
    mapped = head.predict(x)
    up = {2: [1], 3: [1], 4: [3, 1], 5: [3, 1], 1: [], 6: []}
    right = np.array([m == t or m in up[t] for m, t in zip(mapped, y, strict=True)])
    assert right.mean() > 0.92
    # Pine and spruce are hardly apart, so most conifers stay conifers; oaks and water are clear.
    assert (mapped[np.isin(y, (4, 5))] == 3).mean() > 0.5
    assert (mapped[y == 2] == 2).mean() > 0.8
    finest = HierarchicalHead(PARENTS, confidence_threshold=0).fit(x[:200], given).predict(x)
    assert set(np.unique(finest)) <= {2, 4, 5, 6}
    # Deeper never means surer.
    shares = [
        np.isin(HierarchicalHead(PARENTS, confidence_threshold=c).fit(x[:200], given).predict(x), (2, 4, 5, 6)).mean()
        for c in (0, 0.7, 0.95)
    ]
    assert shares[0] >= shares[1] >= shares[2]


@pytest.mark.parametrize("base", ["ridge", "knn"])
def test_both_ways_of_predicting_agree_and_heads_can_be_saved(base, tmp_path):
    x, y = scene()
    codes, scales = quantised(x)
    x = dequantise(codes, scales)
    head = make_head("tree", parents=PARENTS, head=base).fit(x[:200], y[:200])
    scales[5] = np.nan
    classes, confidence = head.predict_codes(codes, scales)
    assert (classes[5], confidence[5]) == (0, 255)
    rest = np.arange(len(x)) != 5
    assert (classes[rest] == head.predict(x)[rest]).mean() > 0.995
    path = save_head(tmp_path / "t.safetensors", head, {1: "wood", 4: "pine"}, Provenance(dim=16))
    saved = load_head(path)
    assert saved.class_names == {1: "wood", 2: "2", 3: "3", 4: "pine", 5: "5", 6: "6"}
    assert saved.head.get_params() == head.get_params()
    np.testing.assert_array_equal(saved.head.predict_codes(codes, scales)[0], classes)


def test_without_a_tree_it_is_the_head_itself():
    x, y = scene()
    tree, plain = (
        HierarchicalHead(confidence_threshold=0.9).fit(x[:200], y[:200]),
        make_head("ridge").fit(x[:200], y[:200]),
    )
    np.testing.assert_allclose(tree.predict_proba(x), plain.predict_proba(x), atol=1e-5)
    np.testing.assert_array_equal(tree.predict(x), plain.predict(x))


def test_one_kind_beside_its_class_is_not_told_apart():
    x, y = scene()
    given = np.where(y == 5, 3, y)  # conifers, and among them pines, but no other kind is known
    head = HierarchicalHead(PARENTS, confidence_threshold=0).fit(x[:200], given[:200])
    assert list(head.classes_) == [2, 3, 6]
    credited = head.credit(head.predict_proba(x), np.unique(given), given)
    assert (np.unique(given)[credited.argmax(1)] == given).mean() > 0.97


def test_labels_are_right_where_the_head_says_a_class_beneath():
    x, y = scene()
    given = y.copy()
    given[np.arange(len(y)) % 3 == 0] = np.where(np.isin(y, (4, 5)), 3, y)[np.arange(len(y)) % 3 == 0]
    head = HierarchicalHead(PARENTS).fit(x[:200], given[:200])
    ids = np.unique(given)
    proba = head.predict_proba(x)
    credited = head.credit(proba, ids, given)
    np.testing.assert_allclose(credited.sum(1), 1, atol=1e-5)
    conifers = given == 3
    assert (ids[credited[conifers].argmax(1)] == 3).mean() > 0.95
    # Labels of tips are judged as they are.
    pines = given == 4
    np.testing.assert_allclose(
        credited[pines][:, list(ids).index(4)], proba[pines][:, list(head.classes_).index(4)], atol=1e-6
    )


def test_a_temperature_reaches_every_branching():
    x, y = scene()
    head = HierarchicalHead(PARENTS).fit(x[:200], y[:200])
    careful = head.temperature_scaled(4.0)
    assert careful.predict_proba(x).max(1).mean() < head.predict_proba(x).max(1).mean() - 0.05
    np.testing.assert_array_equal(head.temperature_scaled(1.0).predict(x), head.predict(x))


def test_wrong_trees_are_told():
    x, y = scene()
    with pytest.raises(HeadError, match="circle"):
        HierarchicalHead(((1, 2), (2, 1))).fit(x, y)
    with pytest.raises(HeadError, match="only class 4 has"):
        HierarchicalHead(PARENTS).fit(x, np.full(len(x), 4))
    with pytest.raises(HeadError, match="between 0 and 1"):
        HierarchicalHead(confidence_threshold=2).fit(x, y)
    with pytest.raises(HeadError, match="no head 'svm'"):
        HierarchicalHead(head="svm").fit(x, y)


def test_a_head_saved_with_the_former_name_of_the_threshold_still_opens():
    from tessera_core.heads.base import State

    rng = np.random.default_rng(0)
    y = np.repeat([2, 3, 4], 20)
    X = rng.normal(size=(60, 8)).astype(np.float32) + y[:, None]
    head = HierarchicalHead(parents=((2, 1), (3, 1)), confidence_threshold=0.9).fit(X, y)
    state = head.state()
    params = {
        ("certainty" if key == "confidence_threshold" else key): value for key, value in state.header["params"].items()
    }
    again = HierarchicalHead.from_state(State(state.header | {"params": params}, state.arrays))
    assert again.confidence_threshold == 0.9
    np.testing.assert_array_equal(again.predict(X), head.predict(X))
