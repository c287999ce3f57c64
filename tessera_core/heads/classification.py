"""Heads of classes: their labels, probabilities and confidence; the base of every classifier here.

Regression has its own in :mod:`tessera_core.heads.regression`; what both share is in :mod:`tessera_core.heads.base`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tessera_core.errors import HeadError
from tessera_core.heads.base import Pixels, RasterEstimator, State, of_vectors
from tessera_core.heads.estimators import ClassifierMixin
from tessera_core.heads.temperature import temperature_scaled
from tessera_core.heads.training import ClassWeight, class_weights, require_two
from tessera_core.types import Bytes, Floats, PixelBox

NO_CLASS = 0
NO_CONFIDENCE = 255
SMALLEST_TEMPERATURE = 1e-6


def percent(probability: NDArray[np.floating]) -> Bytes:
    """Confidence in whole percent, uint8, of probabilities in [0, 1]."""
    whole: Bytes = np.rint(100 * np.clip(probability, 0, 1)).astype(np.uint8)
    return whole


class Head(ClassifierMixin, RasterEstimator[np.uint8]):
    """Base of the heads of classes; a subclass implements ``_fit`` and ``_proba``.

    Attributes:
        classes_: (K,) sorted classes seen in :meth:`fit`, as they were given: whole numbers or names.
        takes_temperature: whether it is instant, so that a map can wait until labels held out have said by which temperature its
            confidence is to be softened.
        nested: whether classes lie in each other, so that a label of one may be right in several ways (:meth:`credit`).
        applied_temperature_: the temperature that its probabilities were scaled by after the fit, which is part of what it
            predicts; 1 for none.
    """

    class_weight: ClassWeight = "balanced"
    takes_temperature: bool = False
    applied_temperature_: float = 1.0
    classes_: NDArray[Any]
    # What of `applied_temperature_` is not yet in what it has learnt, and is done as it is asked.
    _temperature: float = 1.0

    @property
    def nested(self) -> bool:
        """Whether classes lie in each other."""
        return False

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "classes_")

    def _forget(self) -> None:
        super()._forget()
        self.__dict__.pop("_temperature", None)

    def _labels(self, y: NDArray[Any], vectors: Floats, of: str = "class", many: str = "classes") -> NDArray[Any]:
        return whole_or_named(super()._labels(y, vectors, of, many))

    def _learn(self, X: Floats, y: NDArray[Any], weight: NDArray[np.float64]) -> None:
        self.classes_, targets, weight = self._learnable(y, weight)
        self._run(lambda: self._fit(X, targets, weight))

    def _learnable(
        self, y: NDArray[Any], weight: NDArray[np.float64]
    ) -> tuple[NDArray[Any], NDArray[np.intp], NDArray[np.float64]]:
        """Classes (K,), indices into them (N,) and weights (N,) of the labels to learn from."""
        classes, targets = np.unique(y, return_inverse=True)
        require_two(classes)
        indices = targets.astype(np.intp)
        return classes, indices, class_weights(self.class_weight, classes, indices, weight)

    def _fit(self, X: Floats, targets: NDArray[np.intp], weight: NDArray[np.float64]) -> None:
        """Learn from finite vectors (N, D), class indices (N,) all of 0..K-1 present, and positive weights (N,)."""
        raise NotImplementedError

    def _proba(self, X: Floats) -> NDArray[np.floating]:
        """Probabilities (N, K) of finite vectors, before :attr:`_temperature`."""
        raise NotImplementedError

    def scaled_proba(self, X: Floats) -> NDArray[np.floating]:
        """Probabilities (N, K) of finite vectors float32 (N, D), which are not checked."""
        proba = self._proba(X)
        return proba if self._temperature == 1 else temperature_scaled(proba, self._temperature)

    @of_vectors
    def predict_proba(self, X: ArrayLike) -> Floats:
        """Class probabilities, float32 (N, K) in the order of ``classes_``; rows without data are NaN."""
        X = self._check(X)
        finite = np.isfinite(X).all(axis=1)
        out = np.full((len(X), len(self.classes_)), np.nan, np.float32)
        if finite.any():
            out[finite] = self.scaled_proba(X[finite] if not finite.all() else X)
        return out

    @of_vectors
    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Classes (N,), of the type of ``classes_``; 0 (or an empty name) where a vector has no data."""
        proba = self.predict_proba(X)
        finite = ~np.isnan(proba[:, 0])
        found = self.classes_[np.where(finite[:, None], proba, 0).argmax(axis=1)]
        return found if finite.all() else np.where(finite, found, "" if named(self.classes_) else NO_CLASS)

    def proba_at(self, raster: Pixels, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> Floats:
        """Class probabilities of pixels of a raster; see :meth:`predict_proba`."""
        return self.predict_proba(self._sample(raster, rows, cols))

    def proba_window(self, codes: NDArray[np.int8], scales: Floats, window: PixelBox) -> Floats:
        """Probabilities float32 (h, w, K) of a small window of a raster, NaN where there is no data."""
        self._check_fitted()
        self._check_raster(codes)
        inside, vectors = self._inside(codes, scales, window)
        out = np.full((*inside.shape, len(self.classes_)), np.nan, np.float32)
        if len(vectors):
            out[inside] = self.scaled_proba(vectors)
        return out

    def _check_raster(self, codes: NDArray[np.int8]) -> None:
        self._check_dim(codes.shape[2])

    def _no_data(self, shape: tuple[int, ...]) -> tuple[Bytes, Bytes]:
        return np.full(shape, NO_CLASS, np.uint8), np.full(shape, NO_CONFIDENCE, np.uint8)

    def _mapped(self, X: Floats) -> tuple[NDArray[Any], NDArray[Any]]:
        proba = self.scaled_proba(X)
        return self.map_ids()[proba.argmax(axis=1)], percent(proba.max(axis=1))

    def map_ids(self) -> Bytes:
        """The ids uint8 (K,) that a map tells the classes by: themselves, where they are whole numbers, else 1 to K.

        Raises:
            HeadError: they do not fit into a byte, or one is 0, which stands for no data.
        """
        ids = np.arange(1, len(self.classes_) + 1) if named(self.classes_) else self.classes_
        if ids[0] < 1 or ids[-1] > 255:
            raise HeadError(f"A class map holds the ids 1 to 255, this head has {ids[0]} to {ids[-1]}; renumber them.")
        return ids.astype(np.uint8)

    def class_names(self) -> dict[int, str]:
        """Name of each id that a map may hold: the class's own, or its number."""
        ids = range(1, len(self.classes_) + 1) if named(self.classes_) else self.classes_.tolist()
        return {int(i): str(one) for i, one in zip(ids, self.classes_.tolist(), strict=True)}

    def _check_codes(self, codes: NDArray[np.int8], scales: Floats) -> None:
        super()._check_codes(codes, scales)
        self.map_ids()

    def linear(self) -> tuple[Floats, Floats, float] | None:
        """Coefficients (D, K), intercept (K,) and temperature of a head that is
        ``softmax((X @ coefficients + intercept) / temperature)``; None of another."""
        return None

    def credit(self, proba: Floats, ids: NDArray[Any], truth: NDArray[Any]) -> Floats:
        """Probabilities float32 (N, I) by which labels can be judged.

        Args:
            proba: float32 (N, K) in the order of ``classes_``.
            ids: (I,) sorted classes of the labels, all of ``classes_`` among them.
            truth: (N,) the label of each; only nested classes ask.
        """
        out = np.zeros((len(proba), len(ids)), np.float32)
        out[:, np.searchsorted(ids, self.classes_)] = proba
        return out

    def temperature_scaled(self, temperature: float) -> Self:
        """A copy whose probabilities are softened by ``temperature``: ``softmax(log(p) / temperature)``, see
        :func:`tessera_core.heads.temperature.temperature_scaled` (temperature scaling).

        The map of a linear head keeps its classes to the last pixel, and is made as fast as before. What can be saved can be saved
        softened; ``applied_temperature_`` tells by how much.

        Args:
            temperature: above 1 makes it more careful, below 1 bolder.

        Raises:
            HeadError: the temperature is not positive.
        """
        temperature = as_temperature(temperature)
        self._check_fitted()
        scaled = copy.copy(self)
        scaled._scale_temperature(temperature)
        scaled.applied_temperature_ = self.applied_temperature_ * temperature
        return scaled

    def _scale_temperature(self, temperature: float) -> None:
        """Take up a temperature."""
        self._temperature *= temperature

    def state(self) -> State:
        """See :meth:`RasterEstimator.state`."""
        state = super().state()
        header = state.header | {"classes": self.classes_.tolist()}
        if self.applied_temperature_ != 1:
            # Of nested classes, and of linear heads of files until 2026, it is in the arrays already, all of it or a first part.
            left = self._temperature
            header["temperature"] = {"value": self.applied_temperature_, "wrapped": left != 1, "left": left}
        return State(header, state.arrays)

    def _restore_header(self, header: Mapping[str, Any]) -> None:
        super()._restore_header(header)
        self.classes_ = np.array(header["classes"])
        if self.classes_.dtype.kind not in "iUb" or self.classes_.ndim != 1 or not len(self.classes_):
            raise HeadError("The head's classes are damaged: they are neither whole numbers nor names.")
        scaling = header.get("temperature", {"value": 1.0, "wrapped": False})
        self.applied_temperature_ = as_temperature(scaling["value"])
        if scaling["wrapped"]:
            self._temperature = as_temperature(scaling.get("left", scaling["value"]))


def as_temperature(temperature: Any) -> float:
    """A number that probabilities can be softened by.

    Raises:
        HeadError: it is none.
    """
    # Its inverse has to be a number of the kernels' as well.
    if (
        isinstance(temperature, (int, float, np.number))
        and SMALLEST_TEMPERATURE <= temperature <= 1 / SMALLEST_TEMPERATURE
    ):
        return float(temperature)
    raise HeadError(f"A temperature must be a positive number, not {temperature!r}.")


def whole_or_named(y: NDArray[Any]) -> NDArray[Any]:
    """Classes (N,) as whole numbers or names.

    Raises:
        HeadError: they are something else.
    """
    if y.dtype.kind == "O":
        # Tables hand over names as objects, and whole numbers where one is missing.
        y = y if named(y) else np.array(y.tolist())
    if y.dtype.kind == "f" and np.array_equal(y, np.floor(y)) and np.isfinite(y).all():
        y = y.astype(np.int64)
    if not (named(y) or y.dtype.kind in "iub"):
        what = "continuous, or with gaps" if y.dtype.kind == "f" else f"of type {y.dtype}"
        raise HeadError(f"Unknown label type: these labels are {what}. Classes must be whole numbers or names.")
    return y


def named(y: NDArray[Any]) -> bool:
    """Whether classes are names, not numbers."""
    return y.dtype.kind in "US" or (y.dtype.kind == "O" and all(isinstance(one, str) for one in y))
