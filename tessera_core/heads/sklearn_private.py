"""What we use of scikit-learn that it does not promise to keep; nothing else of ours names it.

Its trees are kept as plain arrays and predict from them, so that a saved head holds no pickled code. The classes that hold
such arrays, and the fields a fitted model keeps them in, are private. ``tests/test_private_apis.py`` says by name what a new
scikit-learn has taken away.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def boosted_start(model: Any) -> NDArray[np.float64]:
    """The raw scores (K,) or (1,) from which a fitted ``HistGradientBoostingClassifier`` or ``-Regressor`` starts."""
    return np.asarray(model._baseline_prediction, np.float64).ravel()


def boosted_nodes(model: Any) -> list[NDArray[Any]]:
    """The nodes of each tree of a fitted histogram gradient boosting model, round after round."""
    return [np.array(tree.nodes) for stage in model._predictors for tree in stage]


def boosted_dtype() -> np.dtype[Any]:
    """The record that is a node of such a tree."""
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE

    record: np.dtype[Any] = np.dtype(PREDICTOR_RECORD_DTYPE)
    return record


class BoostedTree:
    """One tree of histogram gradient boosting without categories, from its nodes.

    Attributes:
        nodes: records of :func:`boosted_dtype`.
    """

    def __init__(self, nodes: NDArray[Any], dim: int) -> None:
        from sklearn.ensemble._hist_gradient_boosting.common import X_BITSET_INNER_DTYPE
        from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

        none = np.zeros((0, 8), X_BITSET_INNER_DTYPE)
        self.nodes = nodes
        self._tree = TreePredictor(nodes, none, none)
        self._categories = (none, np.zeros(dim, np.uint32))

    def predict(self, values: NDArray[np.float64], threads: int) -> NDArray[np.float64]:
        """Leaf values (N,) of contiguous values (N, dim)."""
        return np.asarray(self._tree.predict(values, *self._categories, threads))


def openmp_threads() -> int:
    """How many threads scikit-learn's compiled loops use."""
    from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

    return int(_openmp_effective_n_threads())


def tree_dtype() -> np.dtype[Any]:
    """The record that is a node of a decision tree."""
    from sklearn.tree._tree import NODE_DTYPE

    record: np.dtype[Any] = np.dtype(NODE_DTYPE)
    return record


def tree_of(nodes: NDArray[Any], values: NDArray[np.float64], depth: int, dim: int) -> Any:
    """A decision tree from its nodes (:func:`tree_dtype`), values (nodes, 1, width) and depth."""
    from sklearn.tree._tree import Tree

    tree = Tree(dim, np.array([values.shape[2]]), 1)
    tree.__setstate__({"max_depth": depth, "node_count": len(nodes), "nodes": nodes, "values": values})
    return tree


def tree_state(tree: Any) -> dict[str, Any]:
    """``nodes``, ``values``, ``node_count`` and ``max_depth`` of a fitted tree."""
    return dict(tree.__getstate__())
