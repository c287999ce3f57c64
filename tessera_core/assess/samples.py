"""Labelled pixels with their features: what splits split and heads are judged on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import HeadError
from tessera_core.heads.blocks import blocks_of
from tessera_core.heads.classification import Head
from tessera_core.heads.regression import RegressionHead
from tessera_core.raster import EmbeddingRaster, dequantise, valid_scales
from tessera_core.types import Cancel, Index

Groups = NDArray[Any] | None


@dataclass(frozen=True)
class CodeFeatures:
    """Embeddings as rasters hold them; only what a head trains on becomes float32.

    Attributes:
        codes: int8 (N, D).
        scales: float32 (N,).
        raster: that they were taken from, with ``rows`` and ``cols`` int (N,), for heads that look around a pixel; or None.
    """

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    raster: EmbeddingRaster | None = None
    rows: NDArray[Any] | None = None
    cols: NDArray[Any] | None = None

    @classmethod
    def at(cls, raster: EmbeddingRaster, rows: NDArray[Any], cols: NDArray[Any]) -> CodeFeatures:
        """Those of pixels of a raster."""
        return cls(raster.codes[rows, cols], np.asarray(raster.scales[rows, cols], np.float32), raster, rows, cols)

    def ground(self, count: int, seed: int) -> CodeFeatures | None:
        """Those of about ``count`` pixels drawn from all of the raster, with data; None where there is no raster.

        A pixel may be drawn twice, and where most of the raster has no data there are fewer: nothing is read but what is drawn.
        """
        if not isinstance(self.raster, EmbeddingRaster):
            # Labelled pixels of many tiles come without the ground around them.
            return None
        rng = np.random.default_rng(seed)
        height, width = self.raster.shape
        rows, cols = rng.integers(0, height, 4 * count), rng.integers(0, width, 4 * count)
        with_data = np.flatnonzero(valid_scales(np.asarray(self.raster.scales[rows, cols], np.float32)))[:count]
        return CodeFeatures.at(self.raster, rows[with_data], cols[with_data]) if len(with_data) else None

    def usable(self) -> NDArray[np.bool_]:
        """Which pixels have data."""
        return valid_scales(self.scales)

    def take(self, index: Index) -> CodeFeatures:
        """Those of some pixels."""
        rows = None if self.rows is None else self.rows[index]
        cols = None if self.cols is None else self.cols[index]
        return CodeFeatures(self.codes[index], self.scales[index], self.raster, rows, cols)

    def fit(
        self,
        head: Head | RegressionHead,
        train: Index,
        y: NDArray[Any],
        groups: Groups = None,
        cancelled: Cancel | None = None,
    ) -> None:
        """Fit on the pixels ``train`` of the classes (or numbers) ``y``; ``groups`` (n,) says which label each belongs to."""
        if head.receptive_radius:
            head.fit_at(*self._places(train), y, groups=groups, cancelled=cancelled)
        else:
            blocks = () if self.raster is None else blocks_of(self.raster.provenance)
            # Of a head of somebody else's no more is asked than there is.
            more: dict[str, Any] = {"blocks": blocks} if blocks else {}
            head.fit(dequantise(self.codes[train], self.scales[train]), y, groups=groups, cancelled=cancelled, **more)

    def fit_predict(
        self, head: Head, train: Index, y: NDArray[Any], test: Index, groups: Groups = None
    ) -> NDArray[Any]:
        """Fit on the pixels ``train`` of the classes ``y``; class ids of the pixels ``test``."""
        self.fit(head, train, y, groups)
        if head.receptive_radius:
            return head.classes_[head.proba_at(*self._places(test)).argmax(axis=1)]
        return head.predict_codes(self.codes[test], self.scales[test])[0]

    def fit_proba(
        self,
        head: Head,
        train: Index,
        y: NDArray[Any],
        test: Index,
        groups: Groups = None,
        cancelled: Cancel | None = None,
    ) -> NDArray[np.float32]:
        """As :meth:`fit_predict`, but probabilities (n, K) in the order of ``head.classes_``."""
        self.fit(head, train, y, groups, cancelled)
        return self.proba(head, test)

    def proba(self, head: Head, index: Index) -> NDArray[np.float32]:
        """Probabilities (n, K) of the pixels ``index`` by a fitted head."""
        if head.receptive_radius:
            return head.proba_at(*self._places(index))
        return head.predict_proba(dequantise(self.codes[index], self.scales[index]))

    def fit_interval(
        self, head: RegressionHead, train: Index, y: NDArray[Any], test: Index, groups: Groups = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Fit numbers ``y`` on the pixels ``train``; values and margins (n,) of the pixels ``test``."""
        self.fit(head, train, y, groups)
        if head.receptive_radius:
            return head.interval_at(*self._places(test))
        return head.predict_interval(dequantise(self.codes[test], self.scales[test]))

    def _places(self, index: Index) -> tuple[EmbeddingRaster, NDArray[Any], NDArray[Any]]:
        if self.raster is None or self.rows is None or self.cols is None:
            raise HeadError("This head looks around a pixel, and these samples do not say where they lie.")
        return self.raster, self.rows[index], self.cols[index]


@dataclass(frozen=True)
class MatrixFeatures:
    """Other features, standardised by what is trained on.

    Attributes:
        values: float32 (N, F); NaN is no data.
    """

    values: NDArray[np.float32]

    def usable(self) -> NDArray[np.bool_]:
        """Which pixels have every feature."""
        return np.isfinite(self.values).all(axis=1)

    def take(self, index: Index) -> MatrixFeatures:
        """Those of some pixels."""
        return MatrixFeatures(self.values[index])

    def fit_predict(
        self, head: Head, train: Index, y: NDArray[Any], test: Index, groups: Groups = None
    ) -> NDArray[Any]:
        """Fit on the pixels ``train`` of the classes ``y``; class ids of the pixels ``test``."""
        return head.predict(self._fit(head, train, y, test, groups))

    def fit_proba(
        self,
        head: Head,
        train: Index,
        y: NDArray[Any],
        test: Index,
        groups: Groups = None,
        cancelled: Cancel | None = None,
    ) -> NDArray[np.float32]:
        """As :meth:`fit_predict`, but probabilities (n, K) in the order of ``head.classes_``."""
        return head.predict_proba(self._fit(head, train, y, test, groups, cancelled))

    def fit_interval(
        self, head: RegressionHead, train: Index, y: NDArray[Any], test: Index, groups: Groups = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Fit numbers ``y`` on the pixels ``train``; values and margins (n,) of the pixels ``test``."""
        return head.predict_interval(self._fit(head, train, y, test, groups))

    def _fit(
        self,
        head: Head | RegressionHead,
        train: Index,
        y: NDArray[Any],
        test: Index,
        groups: Groups,
        cancelled: Cancel | None = None,
    ) -> NDArray[np.float32]:
        """Fit on ``train``; the features of ``test``, standardised likewise."""
        if head.receptive_radius:
            raise HeadError("This head looks around a pixel; it works on embeddings, not on other features.")
        mean, spread = self.values[train].mean(0), self.values[train].std(0)
        spread[spread == 0] = 1
        head.fit((self.values[train] - mean) / spread, y, groups=groups, cancelled=cancelled)
        return (self.values[test] - mean) / spread


@dataclass(frozen=True)
class Samples:
    """N labelled pixels.

    Attributes:
        features: of the pixels.
        y: int (N,) class ids, 1..255.
        groups: int (N,), which field (polygon, stroke, patch) each lies in.
        rows, cols: int (N,).
        names: class id -> name.
        ignored: labelled pixels left out because they have no data.
        spatial_groups: int (N,), ground that is held out as one, where known (cells, fields); None: squares around the labels.
        weight: float64 (N,), what each pixel counts in a score by pixels, as those of a reference raster do; None: each label
            counts once, however many pixels it has.
        suggested: bool (N,), which are of labels where the app suggested to label; None where none is.
    """

    features: CodeFeatures | MatrixFeatures
    y: NDArray[Any]
    groups: NDArray[Any]
    rows: NDArray[Any]
    cols: NDArray[Any]
    names: Mapping[int, str]
    ignored: int = 0
    spatial_groups: NDArray[Any] | None = None
    weight: NDArray[np.float64] | None = None
    suggested: NDArray[np.bool_] | None = None
