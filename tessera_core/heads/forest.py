"""Random forest: scikit-learn grows it, its trees are kept as plain arrays."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import HeadError
from tessera_core.heads.classification import Head
from tessera_core.heads.sklearn_private import tree_dtype, tree_of, tree_state
from tessera_core.heads.training import ClassWeight
from tessera_core.types import Floats

LEAF = -1
TREES_A_STEP = 10
NODE_FIELDS = ("left_child", "right_child", "feature", "threshold", "missing_go_to_left")


class ForestHead(Head):
    """Random forest classification (Breiman, Machine Learning 45, 2001); for the patient: seconds to fit, minutes for a large map.

    Args:
        n_estimators: trees.
        max_depth: None grows until the leaves are pure.
        class_weight: ``"balanced"``, None, or weights by class id.
        seed: for bootstrap and feature draws.

    Example:
        >>> X = np.array([[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]])
        >>> ForestHead(n_estimators=20).fit(X, [1, 1, 2, 2]).predict([[0.95, 0.1]]).tolist()
        [2]
    """

    name = "forest"
    _fits_alone = False

    def __init__(
        self,
        n_estimators: int = 200,
        max_depth: int | None = None,
        class_weight: ClassWeight = "balanced",
        seed: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.max_depth = max_depth
        self.class_weight = class_weight
        self.seed = seed

    def _fit(self, X: Floats, targets: NDArray[np.intp], weight: NDArray[np.float64]) -> None:
        from sklearn.ensemble import RandomForestClassifier

        if self.n_estimators < 1:
            raise HeadError("A forest needs at least one tree.")
        forest = RandomForestClassifier(max_depth=self.max_depth, random_state=self.seed, n_jobs=-1, warm_start=True)
        grow(forest, self.n_estimators, self._step, X, targets, weight)
        self._trees = [estimator.tree_ for estimator in forest.estimators_]

    def _proba(self, X: Floats) -> NDArray[np.floating]:
        k = len(self.classes_)

        def votes(tree: Any, X: Floats) -> NDArray[np.float64]:
            leaf: NDArray[np.float64] = tree.predict(X)
            return leaf / leaf.sum(axis=1, keepdims=True)

        return summed(self._trees, X, k, votes) / len(self._trees)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return tree_arrays(self._trees)

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._trees = trees_from(arrays, self.n_features_in_, len(self.classes_))


def grow(
    forest: Any,
    trees: int,
    step: Callable[[int, int], None],
    X: Floats,
    y: NDArray[Any],
    weight: NDArray[np.float64],
) -> None:
    """Grow a scikit-learn forest (``warm_start``) a few trees at a time; ``step`` tells how far and may stop it."""
    for done in range(0, trees, TREES_A_STEP):
        step(done, trees)
        with warnings.catch_warnings():
            # Out-of-bag values of the first few trees are not used.
            warnings.simplefilter("ignore", UserWarning)
            forest.set_params(n_estimators=min(done + TREES_A_STEP, trees)).fit(X, y, sample_weight=weight)
    step(trees, trees)


def summed(
    trees: list[Any], X: Floats, width: int, values: Callable[[Any, Floats], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Sum over trees of ``values(tree, X)``, (N, width)."""
    X = np.ascontiguousarray(X)

    def part(some: list[Any]) -> NDArray[np.float64]:
        total = np.zeros((len(X), width))
        for tree in some:
            total += values(tree, X)
        return total

    # Tree traversal releases the interpreter lock.
    with ThreadPoolExecutor() as pool:
        workers = pool._max_workers
        return np.sum(list(pool.map(part, [trees[i::workers] for i in range(workers)])), axis=0)


def tree_arrays(trees: list[Any]) -> dict[str, NDArray[Any]]:
    """scikit-learn trees of one output as plain arrays."""
    states = [tree_state(tree) for tree in trees]
    arrays = {name: np.concatenate([state["nodes"][name] for state in states]) for name in NODE_FIELDS}
    arrays["values"] = np.concatenate([state["values"][:, 0, :] for state in states]).astype(np.float32)
    arrays["sizes"] = np.array([state["node_count"] for state in states])
    arrays["depths"] = np.array([state["max_depth"] for state in states])
    return arrays


def trees_from(arrays: dict[str, NDArray[Any]], dim: int, width: int) -> list[Any]:
    """The inverse of :func:`tree_arrays`.

    Args:
        dim: length of the vectors.
        width: classes, or 1.

    Raises:
        HeadError: the arrays are no trees.
    """
    ends, trees = np.cumsum(arrays["sizes"]), []
    for start, end, depth in zip(np.r_[0, ends[:-1]], ends, arrays["depths"], strict=True):
        nodes = np.zeros(end - start, tree_dtype())
        for name in NODE_FIELDS:
            nodes[name] = arrays[name][start:end]
        _check_nodes(nodes, dim)
        values = np.ascontiguousarray(arrays["values"][start:end], np.float64)[:, None, :]
        if values.shape[2] != width:
            raise HeadError("The head's trees are damaged: they tell of other classes. Train and save the head again.")
        trees.append(tree_of(nodes, values, int(depth), dim))
    return trees


def _check_nodes(nodes: NDArray[Any], dim: int) -> None:
    """Refuse trees whose indices would make compiled code read outside its arrays or never end."""
    left, right = nodes["left_child"], nodes["right_child"]
    inner, own = left != LEAF, np.arange(len(nodes))
    children_after = (left > own) & (right > own) & (left < len(nodes)) & (right < len(nodes))
    features = (nodes["feature"] >= 0) & (nodes["feature"] < dim)
    if len(nodes) == 0 or not (children_after & features)[inner].all():
        raise HeadError("The head's trees are damaged: a node points outside its tree. Train and save the head again.")
