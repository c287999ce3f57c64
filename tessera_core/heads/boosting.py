"""Gradient boosting: scikit-learn's histogram version grows the trees, they are kept as plain arrays."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import HeadError
from tessera_core.heads.classification import Head
from tessera_core.heads.sklearn_private import BoostedTree, boosted_dtype, boosted_nodes, boosted_start, openmp_threads
from tessera_core.heads.training import ClassWeight
from tessera_core.types import Floats

# Fields of a node that prediction reads; the others are bookkeeping of the fit.
NODE_FIELDS = ("value", "feature_idx", "num_threshold", "missing_go_to_left", "left", "right", "is_leaf")
MIN_LEAF = 20
ROUNDS_A_STEP = 10
# Of scikit-learn's histograms; with more distinct values in a column it looks for weighted percentiles one by one, in Python.
MOST_VALUES = 255


class BoostingHead(Head):
    """Gradient boosted trees; for thousands of labels and for the patient. With few labels linear heads are better.

    Trees are grown on histograms of the values (Friedman, Ann. Stat. 29, 2001; Ke et al., NeurIPS 2017).

    Args:
        rounds: boosting rounds; each grows one tree a class (one in all for two classes).
        learning_rate: share of each tree that counts.
        max_leaf_nodes: of a tree.
        min_samples_leaf: labels in a leaf at least; None takes 20, or fewer where classes have fewer than 40 labels.
        l2: penalty on leaf values.
        class_weight: ``"balanced"``, None, or weights by class id.
        seed: for binning large sets of labels.

    Example:
        >>> X = np.repeat(np.array([[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]]), 10, axis=0)
        >>> BoostingHead(rounds=10).fit(X, np.repeat([1, 1, 2, 2], 10)).predict([[0.95, 0.1]]).tolist()
        [2]
    """

    name = "boosting"
    _fits_alone = False

    def __init__(
        self,
        rounds: int = 60,
        learning_rate: float = 0.1,
        max_leaf_nodes: int = 15,
        min_samples_leaf: int | None = None,
        l2: float = 1.0,
        class_weight: ClassWeight = "balanced",
        seed: int = 0,
    ) -> None:
        self.rounds = rounds
        self.learning_rate = learning_rate
        self.max_leaf_nodes = max_leaf_nodes
        self.min_samples_leaf = min_samples_leaf
        self.l2 = l2
        self.class_weight = class_weight
        self.seed = seed

    def _fit(self, X: Floats, targets: NDArray[np.intp], weight: NDArray[np.float64]) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier

        if self.rounds < 1 or self.max_leaf_nodes < 2 or not self.learning_rate > 0:
            raise HeadError("Boosting needs at least one round, two leaves a tree and a positive learning rate.")
        X = few_values(X)
        typical = int(np.median(np.bincount(targets)))
        leaf = self.min_samples_leaf or min(MIN_LEAF, max(1, typical // 2))
        model = HistGradientBoostingClassifier(
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.max_leaf_nodes,
            min_samples_leaf=leaf,
            l2_regularization=self.l2,
            early_stopping=False,
            random_state=self.seed,
            warm_start=True,
        )
        with warnings.catch_warnings():
            # A class with a single label is said to be rare; that is for the person to mend, and the page says so.
            warnings.simplefilter("ignore", UserWarning)
            for done in range(0, self.rounds, ROUNDS_A_STEP):
                self._step(done, self.rounds)
                model.set_params(max_iter=min(done + ROUNDS_A_STEP, self.rounds)).fit(X, targets, weight)
        self._step(self.rounds, self.rounds)
        self._start = boosted_start(model)
        self._keep(boosted_nodes(model))

    def _keep(self, nodes: list[NDArray[Any]]) -> None:
        self._trees = [BoostedTree(one, self.n_features_in_) for one in nodes]

    def _proba(self, X: Floats) -> NDArray[np.floating]:
        width = len(self._start)
        values, threads = np.ascontiguousarray(X, np.float64), openmp_threads()
        logits = np.tile(self._start, (len(X), 1))
        for number, tree in enumerate(self._trees):
            logits[:, number % width] += tree.predict(values, threads)
        if width == 1:
            logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        return logits / logits.sum(axis=1, keepdims=True)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        arrays = {name: np.concatenate([tree.nodes[name] for tree in self._trees]) for name in NODE_FIELDS}
        return arrays | {"sizes": np.array([len(tree.nodes) for tree in self._trees]), "start": self._start}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._start = arrays["start"].astype(np.float64)
        ends = np.cumsum(arrays["sizes"])
        trees = []
        for start, end in zip(np.r_[0, ends[:-1]], ends, strict=True):
            nodes = np.zeros(end - start, boosted_dtype())
            for name in NODE_FIELDS:
                nodes[name] = arrays[name][start:end]
            _check_nodes(nodes, self.n_features_in_)
            trees.append(nodes)
        if len(self._start) not in (1, len(self.classes_)) or len(trees) % len(self._start):
            raise HeadError("The head's trees are damaged: there are not as many as its classes need.")
        self._keep(trees)


def few_values(X: Floats) -> Floats:
    """``X`` (N, D) with each value replaced by the nearest of its column's :data:`MOST_VALUES` evenly ranked ones.

    Trees cut half-way between neighbouring values, so cuts learnt from the result part ``X`` itself in the same way.
    """
    if len(X) <= MOST_VALUES:
        return X
    ranks = np.linspace(0, len(X) - 1, MOST_VALUES).round().astype(np.intp)
    kept = np.sort(X, axis=0)[ranks]
    # In the precision that the trees compare in.
    edges = (kept[1:].astype(np.float64) + kept[:-1]) / 2
    found = np.empty_like(X)
    for column in range(X.shape[1]):
        found[:, column] = kept[np.searchsorted(edges[:, column], X[:, column]), column]
    return found


def _check_nodes(nodes: NDArray[Any], dim: int) -> None:
    """Refuse trees whose indices would make compiled code read outside its arrays or never end."""
    inner, own = nodes["is_leaf"] == 0, np.arange(len(nodes))
    fits = (nodes["left"] > own) & (nodes["right"] > own) & (nodes["left"] < len(nodes)) & (nodes["right"] < len(nodes))
    fits &= (nodes["feature_idx"] >= 0) & (nodes["feature_idx"] < dim)
    if len(nodes) == 0 or not fits[inner].all():
        raise HeadError("The head's trees are damaged: a node points outside its tree. Train and save the head again.")
