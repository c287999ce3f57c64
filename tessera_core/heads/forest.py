"""Random forest: scikit-learn grows it, its trees are kept as plain arrays."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import HeadError
from tessera_core.heads.base import Floats, Head

LEAF = -1
NODE_FIELDS = ("left_child", "right_child", "feature", "threshold", "missing_go_to_left")


class ForestHead(Head):
    """Random forest classification; a head for the patient: seconds to fit, minutes for a large map.

    Args:
        n_estimators: trees.
        max_depth: None grows until the leaves are pure.
        class_weight: ``"balanced"`` or None.
        seed: for bootstrap and feature draws.
    """

    _fits_alone = False

    def __init__(
        self,
        n_estimators: int = 200,
        max_depth: int | None = None,
        class_weight: str | None = "balanced",
        seed: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.max_depth = max_depth
        self.class_weight = class_weight
        self.seed = seed

    def _fit(self, X: Floats, targets: NDArray[np.intp], weight: NDArray[np.float64]) -> None:
        from sklearn.ensemble import RandomForestClassifier

        forest = RandomForestClassifier(
            self.n_estimators, max_depth=self.max_depth, random_state=self.seed, n_jobs=-1
        ).fit(X, targets, sample_weight=weight)
        self._trees = [estimator.tree_ for estimator in forest.estimators_]

    def _proba(self, X: Floats) -> NDArray[np.floating]:
        X = np.ascontiguousarray(X)

        def votes(trees: list[Any]) -> NDArray[np.float64]:
            total = np.zeros((len(X), len(self.classes_)))
            for tree in trees:
                leaf = tree.predict(X)
                total += leaf / leaf.sum(axis=1, keepdims=True)
            return total

        # Tree traversal releases the interpreter lock.
        with ThreadPoolExecutor() as pool:
            workers = pool._max_workers
            parts = list(pool.map(votes, [self._trees[i::workers] for i in range(workers)]))
        return np.sum(parts, axis=0) / len(self._trees)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        states = [tree.__getstate__() for tree in self._trees]
        arrays = {name: np.concatenate([state["nodes"][name] for state in states]) for name in NODE_FIELDS}
        arrays["values"] = np.concatenate([state["values"][:, 0, :] for state in states]).astype(np.float32)
        arrays["sizes"] = np.array([state["node_count"] for state in states])
        arrays["depths"] = np.array([state["max_depth"] for state in states])
        return arrays

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        from sklearn.tree._tree import NODE_DTYPE, Tree

        k, ends = len(self.classes_), np.cumsum(arrays["sizes"])
        self._trees = []
        for start, end, depth in zip(np.r_[0, ends[:-1]], ends, arrays["depths"], strict=True):
            nodes = np.zeros(end - start, NODE_DTYPE)
            for name in NODE_FIELDS:
                nodes[name] = arrays[name][start:end]
            _check_nodes(nodes, self.n_features_in_)
            tree = Tree(self.n_features_in_, np.array([k]), 1)
            values = np.ascontiguousarray(arrays["values"][start:end], np.float64)[:, None, :]
            tree.__setstate__({"max_depth": int(depth), "node_count": len(nodes), "nodes": nodes, "values": values})
            self._trees.append(tree)


def _check_nodes(nodes: NDArray[Any], dim: int) -> None:
    """Refuse trees whose indices would make compiled code read outside its arrays or never end."""
    left, right = nodes["left_child"], nodes["right_child"]
    inner, own = left != LEAF, np.arange(len(nodes))
    children_after = (left > own) & (right > own) & (left < len(nodes)) & (right < len(nodes))
    features = (nodes["feature"] >= 0) & (nodes["feature"] < dim)
    if len(nodes) == 0 or not (children_after & features)[inner].all():
        raise HeadError("The head's trees are damaged: a node points outside its tree. Train and save the head again.")
