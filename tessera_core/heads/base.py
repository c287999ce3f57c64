"""What every head shares: checking what it is given, pixels without data, and the ways to fit, map and save.

A head is a scikit-learn estimator over embedding vectors, with two additions: ``predict_codes`` takes int8 codes and scales as
rasters hold them, and ``fit_at``, ``proba_at`` and ``predict_window`` take places of a raster, so that heads that look at a pixel's
surroundings (:mod:`tessera_core.heads.neighbourhood`, :mod:`tessera_core.heads.unet`) are used like any other. What a head can do
its flags tell, so that nobody need ask for its class. Heads refuse to know where vectors come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import column_or_1d, validate_data

from tessera_core._utils.threads import run_alone, run_blocks
from tessera_core.errors import Cancelled, HeadError, UnableError
from tessera_core.heads.blocks import blocks_of
from tessera_core.heads.estimators import BaseEstimator
from tessera_core.heads.training import dense_groups
from tessera_core.raster import dequantise, valid_scales
from tessera_core.types import Bools, Cancel, Floats, PixelBox, Progress

# 8 MB of float32 at 128 dimensions: large enough for the trees' overhead per call, small beside the memory.
FLOAT_BLOCK = 16_384


class Pixels(Protocol):
    """What heads need of a raster: codes int8 (H, W, D), scales float32 (H, W), vectors of pixels."""

    @property
    def codes(self) -> NDArray[np.int8]: ...  # noqa: D102
    @property
    def scales(self) -> Floats: ...  # noqa: D102
    def sample(self, rows: ArrayLike, cols: ArrayLike) -> Floats: ...  # noqa: D102


@dataclass(frozen=True)
class State:
    """A fitted head put away: what JSON holds, and arrays.

    Attributes:
        header: ``head`` (its name in the tables of heads), ``params``, ``n_features``, and of classifiers ``classes``;
            ``neighbourhood`` (the edge of the neighbourhood) and ``temperature`` where it has them.
        arrays: what it has learnt.
    """

    header: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


def _no_vectors(head: RasterEstimator[Any]) -> str | None:
    return "This head learns from places of a raster (fit_at), not from loose vectors." if head.wants_raster else None


def _no_loose_pixels(head: RasterEstimator[Any]) -> str | None:
    return (
        "This head looks at a pixel's surroundings; it maps windows of a raster, not loose pixels."
        if head.receptive_radius
        else None
    )


class _Ability:
    """A method that is there only where a head can do it; elsewhere ``hasattr`` is false, and the error says why.

    As scikit-learn's ``available_if``, but that one keeps the reason to itself.
    """

    def __init__(self, method: Callable[..., Any], lacks: Callable[[Any], str | None]) -> None:
        self.method, self.lacks = method, lacks
        self.__doc__ = method.__doc__

    def __get__(self, head: RasterEstimator[Any] | None, owner: type | None = None) -> Any:
        why = None if head is None else self.lacks(head)
        if why is not None:
            raise UnableError(why)
        return self.method.__get__(head, owner)


def of_vectors[F: Callable[..., Any]](method: F) -> F:
    """A method that only heads of vectors have; see :class:`_Ability`."""
    return cast(F, _Ability(method, _no_vectors))


def _of_loose_pixels[F: Callable[..., Any]](method: F) -> F:
    return cast(F, _Ability(method, _no_loose_pixels))


class Stepwise:
    """A fit in steps that tells how far it is and can be stopped; for heads that take seconds."""

    _progress: Progress | None = None
    _cancelled: Cancel | None = None
    # While fitting: which label each vector belongs to, (N,) from 0, or None where each is a label of its own.
    _groups: NDArray[np.intp] | None = None
    # While fitting: widths of the parts of joined vectors, or none.
    _blocks: tuple[int, ...] = ()

    def _step(self, done: int, total: int, message: str = "training") -> None:
        if self._cancelled is not None and self._cancelled():
            raise Cancelled("Training was stopped; the map stays as it was.")
        if self._progress is not None:
            self._progress(done, total, message)

    def _taught(self, work: Callable[[], None], progress: Progress | None, cancelled: Cancel | None) -> Self:
        """Fit by ``work``; what fails or is stopped leaves the head unfitted."""
        self._forget()
        self._progress, self._cancelled = progress, cancelled
        try:
            work()
        except BaseException:
            self._forget()
            raise
        finally:
            # Nothing of the caller may stay in a head that is copied, sent to another thread or saved.
            del self._progress, self._cancelled
            self.__dict__.pop("_groups", None)
            self.__dict__.pop("_blocks", None)
        return self

    def _forget(self) -> None:
        """Take back what a fit learns: the attributes that end with an underscore."""
        for name in [name for name in self.__dict__ if name.endswith("_")]:
            del self.__dict__[name]


class RasterEstimator[Value: np.generic](Stepwise, BaseEstimator):
    """What heads of classes and of numbers share; they learn from pixels and map a raster as two layers of ``Value``.

    The first layer is what a pixel is (a class, a number), the second how sure that is (a confidence, a margin).

    Attributes:
        name: of the head in the tables of heads; a head without one cannot be saved.
        reach: how many pixels around a pixel the head looks at; 0 for the pixel alone. Where it is not 0, there is no
            :meth:`predict_codes`.
        wants_raster: whether it learns from places of a raster only; then there is no :meth:`fit`, but :meth:`fit_at`.
        n_features_in_: length of the vectors.
        n_ignored_: how many training vectors were left out because they, or their number, had no data.
    """

    name: ClassVar[str] = ""
    receptive_radius: int = 0
    wants_raster: bool = False
    n_features_in_: int
    n_ignored_: int
    # Whether fitting is a matter of milliseconds, in which threads would only wait for each other.
    _fits_alone = True
    # Whether blocks of pixels are mapped side by side, a thread each; other heads bring their own threads.
    _side_by_side = False

    @property
    def kind(self) -> str:
        """What people are told it is: the name of its class, with its surroundings."""
        return type(self).__name__

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # Vectors without data are left out of a fit, and get no class.
        tags.input_tags.allow_nan = True
        tags.target_tags.required = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "n_features_in_")

    # -- learning -------------------------------------------------------------------------------------------------------

    @of_vectors
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
        blocks: Sequence[int] = (),
        progress: Progress | None = None,
        cancelled: Cancel | None = None,
    ) -> Self:
        """Learn from labelled vectors.

        Args:
            X: float (N, D); rows that are not finite are left out and counted in ``n_ignored_``.
            y: (N,) whole numbers in any numbering, or names, for a head of classes; numbers for one of numbers, where those
                that are not finite are left out and counted likewise.
            sample_weight: float (N,) non-negative; None for equal weights. Rows of weight 0 are left out.
            groups: int (N,), which label each vector belongs to, where a label (a polygon) has several: they are not
                independent, and penalties and margins are chosen accordingly. None where each vector is a label of
                its own.
            progress, cancelled: see docs/architecture.md; only heads that take seconds ask and tell.

        Raises:
            HeadError: shapes disagree, or the labels do not suffice: two classes, or three vectors of two numbers, with data.
            Cancelled: ``cancelled`` said so; the head is not fitted.
        """

        def work() -> None:
            self._blocks = tuple(blocks)
            self._learn(*self._table(X, y, sample_weight, groups))

        return self._taught(work, progress, cancelled)

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
        """Learn from labelled pixels of a raster; see :meth:`fit`.

        Args:
            raster: the embeddings.
            rows, cols: int (N,) of the pixels; those without data are left out and counted in ``n_ignored_``.
            y: (N,) a label for each.
            groups, progress, cancelled: as of :meth:`fit`.

        Raises:
            HeadError, Cancelled: as of :meth:`fit`.
        """
        return self._taught(lambda: self._learn_at(raster, rows, cols, y, groups), progress, cancelled)

    def _learn_at(
        self,
        raster: Pixels,
        rows: NDArray[np.integer],
        cols: NDArray[np.integer],
        y: ArrayLike,
        groups: ArrayLike | None,
    ) -> None:
        self._blocks = blocks_of(getattr(raster, "provenance", None))
        self._learn(*self._table(self._sample(raster, rows, cols), y, None, groups))

    def _sample(self, raster: Pixels, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> Floats:
        """Vectors (N, D) of pixels, NaN where there is no data."""
        return raster.sample(rows, cols)

    def _table(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None, groups: ArrayLike | None
    ) -> tuple[Floats, NDArray[Any], NDArray[np.float64]]:
        """Vectors (N, D), labels and weights (N,) of what can be used; ``_groups`` likewise."""
        vectors = self._matrix(X)
        if vectors.shape[1] == 0:
            raise HeadError(f"The vectors have 0 feature(s) (shape={vectors.shape}) while a minimum of 1 is required.")
        try:
            validate_data(self, X, y, skip_check_array=True)
        except ValueError as error:
            raise HeadError(str(error)) from error
        labels = self._labels(np.asarray(y), vectors)
        weight = np.ones(len(vectors)) if sample_weight is None else np.asarray(sample_weight, np.float64)
        if weight.shape != labels.shape or not (np.isfinite(weight) & (weight >= 0)).all():
            raise HeadError("Sample weights must be one non-negative number for each vector.")
        if len(weight) and not weight.any():
            raise HeadError("Sample weights must contain at least one number that is not zero.")
        usable = np.isfinite(vectors).all(axis=1) & (weight > 0)
        if labels.dtype.kind == "f":
            usable &= np.isfinite(labels)
        self.n_ignored_ = int(len(vectors) - usable.sum())
        if self.n_ignored_:
            vectors, labels, weight = vectors[usable], labels[usable], weight[usable]
        self._groups = dense_groups(groups, usable)
        return vectors, labels, weight

    def _labels(self, y: NDArray[Any], vectors: Floats, of: str = "class", many: str = "classes") -> NDArray[Any]:
        """One label for each vector (N,), as they are given but for their shape."""
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if y.ndim != 1 or len(y) != len(vectors):
            raise HeadError(
                f"A head needs one {of} for each vector; there are vectors of shape {vectors.shape} and {many} of shape {y.shape}."
            )
        if y.dtype.kind == "c":
            raise HeadError("Complex data not supported: labels must be real.")
        return y

    def _learn(self, X: Floats, y: NDArray[Any], weight: NDArray[np.float64]) -> None:
        """Learn from finite vectors (N, D), what :meth:`_labels` gave of them, and positive weights (N,)."""
        raise NotImplementedError

    def _run(self, work: Callable[[], None]) -> None:
        if self._fits_alone:
            run_alone(work)
        else:
            work()

    # -- mapping --------------------------------------------------------------------------------------------------------

    def _no_data(self, shape: tuple[int, ...]) -> tuple[NDArray[Value], NDArray[Value]]:
        """Both layers without data."""
        raise NotImplementedError

    def _mapped(self, X: Floats) -> tuple[NDArray[Any], NDArray[Any]]:
        """Both layers (N,) of finite vectors (N, D)."""
        raise NotImplementedError

    @_of_loose_pixels
    def predict_codes(self, codes: NDArray[np.int8], scales: Floats) -> tuple[NDArray[Value], NDArray[Value]]:
        """The hot path: both layers of pixels as rasters hold them.

        Args:
            codes: int8 (N, D).
            scales: float32 (N,); not finite or <= 0 where there is no data.

        Returns:
            Of classes: ids uint8 (N,), 0 where there is no data, and confidence in percent uint8 (N,), 255 there. Of numbers:
            values and margins float32 (N,), NaN there.

        Raises:
            HeadError: D differs, or class ids do not fit into 1..255.
            sklearn.exceptions.NotFittedError: the head is not fitted.
        """
        self._check_codes(codes, scales)
        first, second = self._no_data((len(codes),))

        def work(part: slice) -> None:
            valid = np.flatnonzero(valid_scales(scales[part])) + part.start
            if len(valid):
                first[valid], second[valid] = self._mapped(dequantise(codes[valid], scales[valid]))

        self._run_blocks(work, len(codes), FLOAT_BLOCK)
        return first, second

    def predict_window(
        self, codes: NDArray[np.int8], scales: Floats, window: PixelBox
    ) -> tuple[NDArray[Value], NDArray[Value]]:
        """Both layers (h, w) of a window of a raster; see :meth:`predict_codes`.

        Args:
            codes: int8 (H, W, D) of the whole raster, so that a head may look beyond the window.
            scales: float32 (H, W).
            window: inside the raster. The result at a pixel does not depend on the window it lies in.
        """
        top, left, bottom, right = window
        part = codes[top:bottom, left:right]
        first, second = self.predict_codes(
            np.ascontiguousarray(part).reshape(-1, codes.shape[2]),
            np.ascontiguousarray(scales[top:bottom, left:right], np.float32).reshape(-1),
        )
        return first.reshape(part.shape[:2]), second.reshape(part.shape[:2])

    def _inside(self, codes: NDArray[np.int8], scales: Floats, window: PixelBox) -> tuple[Bools, Floats]:
        """Which pixels (h, w) of a small window have data, and their vectors (n, D)."""
        top, left, bottom, right = window
        near = np.asarray(scales[top:bottom, left:right], np.float32)
        inside = valid_scales(near)
        return inside, dequantise(codes[top:bottom, left:right][inside], near[inside])

    def _run_blocks(self, work: Callable[[slice], None], n: int, step: int) -> None:
        if self._side_by_side:
            run_blocks(work, n, step)
            return
        for start in range(0, n, step):
            work(slice(start, min(start + step, n)))

    # -- refusing -------------------------------------------------------------------------------------------------------

    def _matrix(self, X: ArrayLike) -> Floats:
        if issparse(X):
            raise HeadError("Vectors must be a dense table (N, D), not a sparse matrix; use its toarray().")
        vectors = np.asarray(X)
        if vectors.dtype.kind == "c":
            raise HeadError("Complex data not supported: vectors must be real.")
        vectors = vectors.astype(np.float32, copy=False)
        if vectors.ndim != 2:
            raise HeadError(
                f"Vectors must be a table (N, D); these have shape {vectors.shape}. "
                "Reshape your data: one vector is a table (1, D)."
            )
        return vectors

    def _check(self, X: ArrayLike) -> Floats:
        self._check_fitted()
        vectors = self._matrix(X)
        self._check_dim(vectors.shape[1])
        try:
            validate_data(self, X, reset=False, skip_check_array=True)
        except ValueError as error:
            raise HeadError(str(error)) from error
        return vectors

    def _check_codes(self, codes: NDArray[np.int8], scales: Floats) -> None:
        self._check_fitted()
        if codes.ndim != 2 or codes.dtype != np.int8 or scales.shape != codes.shape[:1]:
            raise HeadError(
                f"Codes must be int8 (N, D) with one scale for each; these are {codes.dtype} {codes.shape} and {scales.shape}."
            )
        self._check_dim(codes.shape[1])

    def _check_dim(self, dim: int) -> None:
        n = self.n_features_in_
        if dim != n:
            raise HeadError(
                f"X has {dim} features, but {type(self).__name__} is expecting {n} features as input: "
                f"this head was trained on {n} dimensions, these vectors have {dim}."
            )

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(f"This {type(self).__name__} is not trained yet; call fit first.")

    # -- putting away ---------------------------------------------------------------------------------------------------

    def state(self) -> State:
        """What :meth:`from_state` makes the same head of.

        Raises:
            HeadError: it is not one of the heads that have a name.
            sklearn.exceptions.NotFittedError: the head is not fitted.
        """
        if not type(self).__dict__.get("name"):
            raise HeadError(
                f"A head of type {type(self).__name__} cannot be saved; it is not one of those with a name."
            )
        self._check_fitted()
        params = {key: _plain(value) for key, value in self.get_params(deep=False).items()}
        return State({"head": self.name, "params": params, "n_features": int(self.n_features_in_)}, self._arrays())

    @classmethod
    def from_state(cls, state: State) -> Self:
        """The fitted head that :meth:`state` was asked of.

        Raises:
            HeadError, KeyError, TypeError, ValueError, IndexError, RuntimeError: the arrays and the header do not fit each other.
        """
        params = state.header["params"]
        head = cls(**{_RENAMED.get(key, key): _param(key, value) for key, value in params.items()})
        head._restore_header(state.header)
        head._restore(state.arrays)
        return head

    def _restore_header(self, header: Mapping[str, Any]) -> None:
        self.n_features_in_, self.n_ignored_ = int(header["n_features"]), 0

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """The fitted arrays."""
        raise NotImplementedError

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take up what :meth:`_arrays` gave; what the header holds is set already."""
        raise NotImplementedError


# Parameters by the names that files of earlier versions have for them.
_RENAMED = {"certainty": "confidence_threshold"}


def _plain(value: Any) -> Any:
    """A parameter as JSON holds it."""
    if isinstance(value, Mapping):
        return {str(key): float(one) for key, one in value.items()}
    return [list(pair) if isinstance(pair, tuple) else pair for pair in value] if isinstance(value, tuple) else value


def _param(key: str, value: Any) -> Any:
    """The inverse of :func:`_plain`."""
    if key == "class_weight" and isinstance(value, dict):
        return {_class(one): float(weight) for one, weight in value.items()}
    if isinstance(value, list):
        return tuple(tuple(pair) if isinstance(pair, list) else pair for pair in value)
    return value


def _class(name: str) -> int | str:
    return int(name) if name.lstrip("-").isdigit() else name
