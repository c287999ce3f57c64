"""What every head shares: checking labels, class weights, pixels without data, and the two ways to predict.

A head is a scikit-learn classifier over embedding vectors, with one addition, :meth:`Head.predict_codes`, which takes
int8 codes and scales as rasters hold them. Heads refuse to know where vectors come from.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError

from tessera_core.errors import HeadError
from tessera_core.raster import dequantise, valid_scales
from tessera_core.threads import run_alone

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

NO_CLASS = 0
NO_CONFIDENCE = 255
# 8 MB of float32 at 128 dimensions: large enough for the trees' overhead per call, small beside the memory.
FLOAT_BLOCK = 16_384


def percent(probability: NDArray[np.floating]) -> Bytes:
    """Confidence in whole percent, uint8, of probabilities in [0, 1]."""
    return np.rint(100 * np.clip(probability, 0, 1)).astype(np.uint8)


def balanced_weights(targets: NDArray[np.intp], sample_weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (N,) that give every class the same total, the mean weight being 1.

    Args:
        targets: (N,) indices 0..K-1, each present.
        sample_weight: (N,) positive.
    """
    totals = np.bincount(targets, weights=sample_weight)
    weights = sample_weight / totals[targets]
    return weights * (len(weights) / weights.sum())


def balanced_draw(targets: NDArray[np.intp], limit: int, seed: int) -> NDArray[np.intp]:
    """Indices of at most about ``limit`` labels, ordered by class, the largest classes thinned first.

    Args:
        targets: (N,) indices 0..K-1, each present; at least one label of each class is kept.
        limit: labels wanted.
        seed: for the draw.
    """
    groups = [np.flatnonzero(targets == k) for k in range(targets.max() + 1)]
    if len(targets) > limit:
        rng = np.random.default_rng(seed)
        sizes, room, quota = sorted(len(group) for group in groups), limit, 1
        for position, size in enumerate(sizes):
            quota = max(1, room // (len(sizes) - position))
            if size > quota:
                break
            room -= size
        groups = [np.sort(rng.permutation(group)[:quota]) for group in groups]
    return np.concatenate(groups)


class Head(ClassifierMixin, BaseEstimator):
    """Base of the heads; a subclass implements ``_fit`` and ``_proba``.

    Attributes:
        classes_: (K,) sorted class ids seen in :meth:`fit`.
        n_features_in_: length of the vectors.
        n_ignored_: how many training vectors were left out because they had no data.
    """

    class_weight: str | None = "balanced"
    # Whether fitting is a matter of milliseconds, in which threads would only wait for each other.
    _fits_alone = True
    classes_: NDArray[Any]
    n_features_in_: int
    n_ignored_: int

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn from labelled vectors.

        Args:
            X: float (N, D); rows that are not finite are left out and counted in ``n_ignored_``.
            y: int (N,) class ids, in any numbering.
            sample_weight: (N,) non-negative; None for equal weights. Rows of weight 0 are left out.

        Raises:
            HeadError: shapes disagree, or fewer than two classes have a vector with data.
        """
        X, y = np.asarray(X, np.float32), np.asarray(y)
        if X.ndim != 2 or y.ndim != 1 or len(X) != len(y):
            raise HeadError(
                f"A head needs one class for each vector; there are vectors of shape {X.shape} and classes of shape {y.shape}."
            )
        if y.dtype.kind == "f" and np.array_equal(y, np.floor(y)):
            y = y.astype(np.int64)
        if y.dtype.kind not in "iub":
            raise HeadError(f"Classes must be whole numbers; these are of type {y.dtype}.")
        weight = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, np.float64)
        if weight.shape != y.shape or not (np.isfinite(weight) & (weight >= 0)).all():
            raise HeadError("Sample weights must be one non-negative number for each vector.")
        usable = np.isfinite(X).all(axis=1) & (weight > 0)
        self.n_ignored_ = int(len(X) - usable.sum())
        if self.n_ignored_:
            X, y, weight = X[usable], y[usable], weight[usable]
        classes, targets = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            found = f"only class {classes[0]} has" if len(classes) else "no class has"
            raise HeadError(
                f"A map needs at least two classes, but {found} labelled pixels with data. Label another class."
            )
        if self.class_weight not in (None, "balanced"):
            raise HeadError(f"class_weight must be 'balanced' or None, not {self.class_weight!r}.")
        self.classes_, self.n_features_in_ = classes, X.shape[1]
        if self.class_weight == "balanced":
            weight = balanced_weights(targets, weight)
        indices = targets.astype(np.intp)
        if self._fits_alone:
            run_alone(lambda: self._fit(X, indices, weight))
        else:
            self._fit(X, indices, weight)
        return self

    def _fit(self, X: Floats, targets: NDArray[np.intp], weight: NDArray[np.float64]) -> None:
        """Learn from finite vectors (N, D), class indices (N,) all of 0..K-1 present, and positive weights (N,)."""
        raise NotImplementedError

    def _proba(self, X: Floats) -> NDArray[np.floating]:
        """Probabilities (N, K) of finite vectors."""
        raise NotImplementedError

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Class probabilities, float32 (N, K) in the order of ``classes_``; rows without data are NaN."""
        X = self._check(X)
        finite = np.isfinite(X).all(axis=1)
        out = np.full((len(X), len(self.classes_)), np.nan, np.float32)
        if finite.any():
            out[finite] = self._proba(X[finite] if not finite.all() else X)
        return out

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Class ids (N,), of the type of ``classes_``; 0 where a vector has no data."""
        proba = self.predict_proba(X)
        finite = ~np.isnan(proba[:, 0])
        return np.where(finite, self.classes_[np.where(finite[:, None], proba, 0).argmax(axis=1)], NO_CLASS)

    def predict_codes(self, codes: NDArray[np.int8], scales: Floats) -> tuple[Bytes, Bytes]:
        """The hot path: classes and confidences of pixels as rasters hold them.

        Args:
            codes: int8 (N, D).
            scales: float32 (N,); not finite or <= 0 where there is no data.

        Returns:
            Class ids uint8 (N,), 0 where there is no data, and confidence in percent uint8 (N,), 255 there.

        Raises:
            HeadError: the head is not fitted, D differs, or class ids do not fit into 1..255.
        """
        self._check_codes(codes, scales)
        ids = self._byte_ids()
        classes, confidence = np.zeros(len(codes), np.uint8), np.full(len(codes), NO_CONFIDENCE, np.uint8)
        for start in range(0, len(codes), FLOAT_BLOCK):
            part = slice(start, start + FLOAT_BLOCK)
            valid = np.flatnonzero(valid_scales(scales[part])) + start
            if len(valid):
                proba = self._proba(dequantise(codes[valid], scales[valid]))
                classes[valid] = ids[proba.argmax(axis=1)]
                confidence[valid] = percent(proba.max(axis=1))
        return classes, confidence

    def _byte_ids(self) -> Bytes:
        if self.classes_[0] < 1 or self.classes_[-1] > 255:
            raise HeadError(
                f"A class map holds the ids 1 to 255, this head has {self.classes_[0]} to {self.classes_[-1]}; renumber them."
            )
        return self.classes_.astype(np.uint8)

    def _check_codes(self, codes: NDArray[np.int8], scales: Floats) -> None:
        self._check_fitted()
        if codes.ndim != 2 or codes.dtype != np.int8 or scales.shape != codes.shape[:1]:
            raise HeadError(
                f"Codes must be int8 (N, D) with one scale for each; these are {codes.dtype} {codes.shape} and {scales.shape}."
            )
        self._check_dim(codes.shape[1])

    def _check(self, X: ArrayLike) -> Floats:
        self._check_fitted()
        X = np.asarray(X, np.float32)
        if X.ndim != 2:
            raise HeadError(f"Vectors must be a table (N, D); these have shape {X.shape}.")
        self._check_dim(X.shape[1])
        return X

    def _check_dim(self, dim: int) -> None:
        if dim != self.n_features_in_:
            raise HeadError(f"This head was trained on {self.n_features_in_} dimensions, these vectors have {dim}.")

    def _check_fitted(self) -> None:
        if not hasattr(self, "classes_"):
            raise NotFittedError(f"This {type(self).__name__} is not trained yet; call fit first.")

    # -- saving ---------------------------------------------------------------------------------------------------------

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """The fitted arrays beside ``classes_`` that :mod:`tessera_core.heads.saving` stores."""
        raise NotImplementedError

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take up what :meth:`_arrays` gave; ``classes_`` and ``n_features_in_`` are set already."""
        raise NotImplementedError
