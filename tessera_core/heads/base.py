"""What every head shares: checking labels, class weights, pixels without data, and the ways to fit and predict.

A head is a scikit-learn classifier over embedding vectors, with two additions: :meth:`Head.predict_codes` takes int8 codes
and scales as rasters hold them, and ``fit_at``, ``proba_at`` and ``predict_window`` take places of a raster, so that heads
that look at a pixel's surroundings (:mod:`tessera_core.heads.neighbourhood`, :mod:`tessera_core.heads.unet`) are used like any
other. Heads refuse to know where vectors come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError

from tessera_core._utils.threads import run_alone
from tessera_core.errors import Cancelled, HeadError
from tessera_core.raster import dequantise, valid_scales
from tessera_core.types import Bytes, Cancel, Floats, PixelBox, Progress

ClassWeight = str | Mapping[int, float] | None

NO_CLASS = 0
NO_CONFIDENCE = 255
# 8 MB of float32 at 128 dimensions: large enough for the trees' overhead per call, small beside the memory.
FLOAT_BLOCK = 16_384
# More labelled pixels than this change no head's map to speak of, but do change the wait.
MAX_TRAIN = 20_000


class Pixels(Protocol):
    """What heads need of a raster: codes int8 (H, W, D), scales float32 (H, W), vectors of pixels."""

    @property
    def codes(self) -> NDArray[np.int8]: ...  # noqa: D102
    @property
    def scales(self) -> Floats: ...  # noqa: D102
    def sample(self, rows: ArrayLike, cols: ArrayLike) -> Floats: ...  # noqa: D102


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


def balanced_draw(
    targets: NDArray[np.intp], limit: int, seed: int, priority: NDArray[np.unsignedinteger] | None = None
) -> NDArray[np.intp]:
    """Indices of at most about ``limit`` labels, ordered by class, the largest classes thinned first.

    Args:
        targets: (N,) indices 0..K-1, each present; at least one label of each class is kept.
        limit: labels wanted.
        seed: for the draw.
        priority: (N,), of each class those with the lowest are kept; None to draw them with ``seed``.
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
        turns = (rng.permutation(g) if priority is None else g[np.argsort(priority[g], kind="stable")] for g in groups)
        groups = [np.sort(turn[:quota]) for turn in turns]
    return np.concatenate(groups)


def training_draw(
    y: ArrayLike, rows: NDArray[np.integer], cols: NDArray[np.integer], seed: int = 0, limit: int = MAX_TRAIN
) -> NDArray[np.intp]:
    """Which labelled pixels teach a head: all, or about ``limit`` of them, the largest classes thinned first.

    Whether a pixel is drawn before another depends on the two places and ``seed`` alone, not on the order or the number of the
    labels: the same labels teach the same head whichever file they come from, and one click more exchanges next to none.

    Args:
        y: (N,) class ids.
        rows, cols: (N,) pixels, in row-major order.
        seed: of the draw.
        limit: pixels wanted.

    Returns:
        Sorted indices.
    """
    ids = np.asarray(y)
    if len(ids) <= limit:
        return np.arange(len(ids))
    targets = np.unique(ids, return_inverse=True)[1]
    return np.sort(balanced_draw(targets, limit, seed, place_priority(rows, cols, seed)))


def place_priority(rows: NDArray[np.integer], cols: NDArray[np.integer], seed: int) -> NDArray[np.uint64]:
    """A random-looking uint64 (N,) of each pixel, always the same for one place and seed (splitmix64; Steele et al. 2014)."""
    golden, first, second = (np.uint64(c) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
    z = (rows.astype(np.uint64) << np.uint64(32)) | cols.astype(np.uint64)
    for salt in (np.uint64(seed % 2**64), np.uint64(0)):
        z = z * golden + golden + salt
        z = (z ^ (z >> np.uint64(30))) * first
        z = (z ^ (z >> np.uint64(27))) * second
        z ^= z >> np.uint64(31)
    return z


def class_weights(
    rule: ClassWeight, classes: NDArray[Any], targets: NDArray[np.intp], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weights (N,) under a head's ``class_weight``: ``"balanced"``, None, or a weight for some class ids.

    Raises:
        HeadError: the rule is none of these, or a weight is not positive.
    """
    if rule is None:
        return weight
    if rule == "balanced":
        return balanced_weights(targets, weight)
    if not isinstance(rule, Mapping):
        raise HeadError(f"class_weight must be 'balanced', None, or a weight for each class id, not {rule!r}.")
    factors = np.array([float(rule.get(int(i), 1.0)) for i in classes])
    if not (np.isfinite(factors) & (factors > 0)).all():
        raise HeadError("Class weights must be positive numbers.")
    weight = weight * factors[targets]
    return weight * (len(weight) / weight.sum())


def dense_groups(groups: ArrayLike | None, usable: NDArray[np.bool_]) -> NDArray[np.intp] | None:
    """Group numbers from 0 of the usable rows; None where no group has two.

    Raises:
        HeadError: there is not one group for each vector.
    """
    if groups is None:
        return None
    values = np.asarray(groups)
    if values.shape != usable.shape:
        raise HeadError("Groups must be one number for each vector.")
    names, dense = np.unique(values[usable], return_inverse=True)
    return None if len(names) == len(dense) else dense.astype(np.intp)


def independent(groups: NDArray[np.intp] | None, n: int) -> float:
    """How many independent labels ``n`` vectors amount to: the pixels of one label count for the root of their number.

    On whole Belgian fields this rule was the best of several for the penalties that rest on it (docs/heads.md).
    """
    return float(n) if groups is None else float(np.sqrt(np.bincount(groups)).sum())


def require_two(classes: Sequence[Any] | NDArray[Any]) -> None:
    """Refuse to learn from the labels of fewer than two classes.

    Raises:
        HeadError: there are fewer than two.
    """
    if len(classes) < 2:
        found = f"only class {classes[0]} has" if len(classes) else "no class has"
        raise HeadError(
            f"A map needs at least two classes, but {found} labelled pixels with data. Label another class."
        )


class Stepwise:
    """A fit in steps that tells how far it is and can be stopped; for heads that take seconds."""

    _progress: Progress | None = None
    _cancelled: Cancel | None = None
    # While fitting: which label each vector belongs to, (N,) from 0, or None where each is a label of its own.
    _groups: NDArray[np.intp] | None = None

    def _step(self, done: int, total: int, message: str = "training") -> None:
        if self._cancelled is not None and self._cancelled():
            raise Cancelled("Training was stopped; the map stays as it was.")
        if self._progress is not None:
            self._progress(done, total, message)

    def _reporting(self, work: Callable[[], None], progress: Progress | None, cancelled: Cancel | None) -> None:
        self._progress, self._cancelled = progress, cancelled
        try:
            work()
        finally:
            # Nothing of the caller may stay in a head that is copied, sent to another thread or saved.
            del self._progress, self._cancelled
            self.__dict__.pop("_groups", None)


class Head(Stepwise, ClassifierMixin, BaseEstimator):
    """Base of the heads; a subclass implements ``_fit`` and ``_proba``.

    Attributes:
        classes_: (K,) sorted class ids seen in :meth:`fit`.
        n_features_in_: length of the vectors.
        n_ignored_: how many training vectors were left out because they had no data.
        reach: how many pixels around a pixel the head looks at; 0 for the pixel alone.
        softened_: the temperature that its probabilities were softened by after the fit, and are part of what it predicts
            (:mod:`tessera_core.heads.temperature`); 1 for none.
    """

    class_weight: ClassWeight = "balanced"
    reach: int = 0
    softened_: float = 1.0
    # Whether fitting is a matter of milliseconds, in which threads would only wait for each other.
    _fits_alone = True
    classes_: NDArray[Any]
    n_features_in_: int
    n_ignored_: int

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
        progress: Progress | None = None,
        cancelled: Cancel | None = None,
    ) -> Self:
        """Learn from labelled vectors.

        Args:
            X: float (N, D); rows that are not finite are left out and counted in ``n_ignored_``.
            y: int (N,) class ids, in any numbering.
            sample_weight: (N,) non-negative; None for equal weights. Rows of weight 0 are left out.
            groups: int (N,), which label each vector belongs to, where a label (a polygon) has several: they are no
                independent witnesses, and penalties are chosen accordingly. None where each vector is a label of its own.
            progress, cancelled: see docs/architecture.md; only heads that take seconds ask and tell.

        Raises:
            HeadError: shapes disagree, or fewer than two classes have a vector with data.
            Cancelled: ``cancelled`` said so; the head is not fitted.
        """
        self.__dict__.pop("softened_", None)
        X, y, weight, self._groups = self._table(X, y, sample_weight, groups)
        self.classes_, targets, weight = self._learnable(y, weight)
        self.n_features_in_ = X.shape[1]

        def work() -> None:
            self._fit(X, targets, weight)

        try:
            self._reporting((lambda: run_alone(work)) if self._fits_alone else work, progress, cancelled)
        except Cancelled:
            del self.classes_, self.n_features_in_
            raise
        return self

    def _table(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None, groups: ArrayLike | None
    ) -> tuple[Floats, NDArray[Any], NDArray[np.float64], NDArray[np.intp] | None]:
        """Vectors (N, D), class ids, weights and groups (N,) of the labels that can be used."""
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
        return X, y, weight, dense_groups(groups, usable)

    def _learnable(
        self, y: NDArray[Any], weight: NDArray[np.float64]
    ) -> tuple[NDArray[Any], NDArray[np.intp], NDArray[np.float64]]:
        """Class ids (K,), indices into them (N,) and weights (N,) of the labels to learn from."""
        classes, targets = np.unique(y, return_inverse=True)
        require_two(classes)
        indices = targets.astype(np.intp)
        return classes, indices, class_weights(self.class_weight, classes, indices, weight)

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

    # -- places of a raster ---------------------------------------------------------------------------------------------

    def fit_at(
        self,
        raster: Pixels,
        rows: NDArray[np.integer],
        cols: NDArray[np.integer],
        y: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        progress: Progress | None = None,
        cancelled: Cancel | None = None,
    ) -> Self:
        """Learn from labelled pixels of a raster; see :meth:`fit`."""
        return self.fit(raster.sample(rows, cols), y, groups=groups, progress=progress, cancelled=cancelled)

    def proba_at(self, raster: Pixels, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> Floats:
        """Class probabilities of pixels of a raster; see :meth:`predict_proba`."""
        return self.predict_proba(raster.sample(rows, cols))

    def proba_window(self, codes: NDArray[np.int8], scales: Floats, window: PixelBox) -> Floats:
        """Probabilities float32 (h, w, K) of a small window of a raster, NaN where there is no data."""
        top, left, bottom, right = window
        part = dequantise(codes[top:bottom, left:right], np.asarray(scales[top:bottom, left:right]))
        return self.predict_proba(part.reshape(-1, codes.shape[2])).reshape(*part.shape[:2], -1)

    def predict_window(self, codes: NDArray[np.int8], scales: Floats, window: PixelBox) -> tuple[Bytes, Bytes]:
        """Classes and confidences (h, w) of a window of a raster; see :meth:`predict_codes`.

        Args:
            codes: int8 (H, W, D) of the whole raster, so that a head may look beyond the window.
            scales: float32 (H, W).
            window: inside the raster. The result at a pixel does not depend on the window it lies in.
        """
        top, left, bottom, right = window
        part = codes[top:bottom, left:right]
        classes, confidence = self.predict_codes(
            np.ascontiguousarray(part).reshape(-1, codes.shape[2]),
            np.ascontiguousarray(scales[top:bottom, left:right], np.float32).reshape(-1),
        )
        return classes.reshape(part.shape[:2]), confidence.reshape(part.shape[:2])

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
