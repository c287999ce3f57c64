"""Any head with a look at a pixel's neighbours: it sees the pixel's own vector and the mean of a 3x3 or 5x5 square around it.

The embeddings know nothing of their neighbours, so a mean over a few pixels takes away noise that a head would otherwise map.
Own vector and mean are kept apart: on an edge they differ, and the head may trust the own one. Pixels without data take no
part in a mean. A map does not depend on the blocks it is computed in, because blocks overlap by the reach of the square.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tessera_core._utils.int8 import BLOCK, CodeProduct
from tessera_core._utils.softmax import largest_of
from tessera_core.errors import HeadError
from tessera_core.heads.base import FLOAT_BLOCK, Pixels, RasterEstimator, State
from tessera_core.heads.classification import Head
from tessera_core.heads.regression import RegressionHead
from tessera_core.raster import dequantise, valid_scales
from tessera_core.types import Bools, Bytes, Floats, PixelBox

SIZES = (3, 5)


def with_focal_mean(raster: Pixels, rows: NDArray[np.integer], cols: NDArray[np.integer], size: int) -> Floats:
    """Vectors of pixels beside the means around them: float32 (N, 2 D), NaN where the pixel itself has no data."""
    own = raster.sample(rows, cols)
    total, count = np.zeros_like(own), np.zeros((len(own), 1), np.float32)
    radius = size // 2
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            near = raster.sample(np.asarray(rows) + dy, np.asarray(cols) + dx)
            known = np.isfinite(near[:, :1])
            total += np.where(known, near, 0)
            count += known
    mean = np.divide(total, count, out=np.full_like(own, np.nan), where=(count > 0) & np.isfinite(own[:, :1]))
    return np.concatenate([own, mean], axis=1)


class _Around[Value: np.generic](RasterEstimator[Value]):
    """What heads over surroundings share: the head inside, vectors with their means, and blocks with a margin."""

    def __init__(self, head: Any, size: int = 3) -> None:
        self.head = head
        self.size = size
        self.receptive_radius = size // 2 if isinstance(size, int) else 0

    @classmethod
    def over(cls, head: Any, size: int) -> Self:
        """A fitted head's head over surroundings, fitted likewise."""
        around = cls(head, size)._take_up()
        around.n_ignored_ = head.n_ignored_
        return around

    @property
    def kind(self) -> str:
        """See :attr:`RasterEstimator.kind`."""
        return f"{self.head.kind} {self.size}x{self.size}"

    def _learn(self, X: Floats, y: NDArray[Any], weight: NDArray[np.float64]) -> None:
        if self.size not in SIZES:
            raise HeadError(f"The surroundings of a pixel are a square of 3 or 5 pixels, not {self.size!r}.")
        if self.head.receptive_radius:
            raise HeadError("This head looks around by itself; use it without a neighbourhood.")
        self.head.fit(X, y, weight, groups=self._groups, progress=self._progress, cancelled=self._cancelled)
        self._take_up()

    def _take_up(self) -> Self:
        """Take over what the head inside has learnt."""
        self.n_features_in_ = self.head.n_features_in_
        return self

    def state(self) -> State:
        """See :meth:`RasterEstimator.state`."""
        inner = self.head.state()
        return State(inner.header | {"neighbourhood": self.size}, inner.arrays)

    @property
    def _radius(self) -> int:
        return self.size // 2

    def _sample(self, raster: Pixels, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> Floats:
        return with_focal_mean(raster, rows, cols, self.size)

    def _no_data(self, shape: tuple[int, ...]) -> tuple[NDArray[Value], NDArray[Value]]:
        empty: tuple[NDArray[Value], NDArray[Value]] = self.head._no_data(shape)
        return empty

    def _mapped(self, X: Floats) -> tuple[NDArray[Any], NDArray[Any]]:
        layers: tuple[NDArray[Any], NDArray[Any]] = self.head._mapped(X)
        return layers

    def predict_window(
        self, codes: NDArray[np.int8], scales: Floats, window: PixelBox
    ) -> tuple[NDArray[Value], NDArray[Value]]:
        """See :meth:`RasterEstimator.predict_window`; no float copy of the whole window is made."""
        self._check_fitted()
        self._check_dim(2 * codes.shape[2])
        top, left, bottom, right = window
        first, second = self._no_data((bottom - top, right - left))

        def work(rows: slice) -> None:
            part = (top + rows.start, left, top + rows.stop, right)
            inside = valid_scales(scales[part[0] : part[2], left:right])
            if inside.any():
                first[rows][inside], second[rows][inside] = self._part(codes, scales, part, inside)

        self._run_blocks(work, bottom - top, max(1, self._pixels_at_once() // max(right - left, 1)))
        return first, second

    def _pixels_at_once(self) -> int:
        return FLOAT_BLOCK

    def _part(
        self, codes: NDArray[np.int8], scales: Floats, part: PixelBox, inside: Bools
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Both layers (n,) of the pixels ``inside`` a part of a window."""
        return self._mapped(self._vectors(codes, scales, part, inside))

    def _inside(self, codes: NDArray[np.int8], scales: Floats, window: PixelBox) -> tuple[Bools, Floats]:
        top, left, bottom, right = window
        inside = valid_scales(np.asarray(scales[top:bottom, left:right]))
        if not inside.any():
            return inside, np.zeros((0, self.n_features_in_), np.float32)
        return inside, self._vectors(codes, scales, window, inside)

    def _halo(
        self, codes: NDArray[np.int8], scales: Floats, part: PixelBox
    ) -> tuple[NDArray[np.int8], Floats, tuple[int, int, int, int]]:
        """Codes (h', w', D) and scales (h', w') of a window with its surroundings, and what is missing of them at the
        raster's edge: left, right, top, bottom."""
        top, left, bottom, right = part
        r, (height, width) = self._radius, scales.shape
        y0, x0, y1, x1 = max(top - r, 0), max(left - r, 0), min(bottom + r, height), min(right + r, width)
        missing = (x0 - left + r, right + r - x1, y0 - top + r, bottom + r - y1)
        return np.ascontiguousarray(codes[y0:y1, x0:x1]), np.array(scales[y0:y1, x0:x1], np.float32), missing

    def _box(self, values: Floats, missing: tuple[int, int, int, int]) -> Floats:
        """Sums over the square around each inner pixel, of (C, h', w'), in one order whatever the window."""
        left, right, top, bottom = missing
        padded = np.pad(values, ((0, 0), (top, bottom), (left, right)))
        height, width = padded.shape[1] - 2 * self._radius, padded.shape[2] - 2 * self._radius
        across = padded[:, :, :width].copy()
        for d in range(1, self.size):
            across += padded[:, :, d : d + width]
        down = across[:, :height].copy()
        for d in range(1, self.size):
            down += across[:, d : d + height]
        return down

    def _inner(self, values: Floats, missing: tuple[int, int, int, int]) -> Floats:
        """(C, h', w') without the surroundings."""
        left, right, top, bottom = (self._radius - m for m in missing)
        return values[:, top : values.shape[1] - bottom, left : values.shape[2] - right]

    def _vectors(self, codes: NDArray[np.int8], scales: Floats, part: PixelBox, inside: Bools) -> Floats:
        """Vectors (n, 2 D) of the pixels ``inside`` a small window, as :func:`with_focal_mean` makes them."""
        near, scale, missing = self._halo(codes, scales, part)
        valid = valid_scales(scale)[None].astype(np.float32)
        values = np.ascontiguousarray(np.nan_to_num(dequantise(near, scale)).transpose(2, 0, 1))
        mean = self._box(values, missing) / np.maximum(self._box(valid, missing), 1)
        x = np.concatenate([self._inner(values, missing), mean]).transpose(1, 2, 0)[inside]
        return np.ascontiguousarray(x)


class NeighbourhoodHead(_Around[np.uint8], Head):
    """A head of classes over a pixel and the mean of the square around it.

    :meth:`fit` and :meth:`predict_proba` take vectors as :func:`with_focal_mean` makes them, (N, 2 D).

    Args:
        head: any head of vectors; fitted in place.
        size: edge of the square, 3 or 5 pixels.

    Example:
        >>> from tessera_core.grid import Grid
        >>> from tessera_core.heads import RidgeHead
        >>> from tessera_core.provenance import Provenance
        >>> from tessera_core.raster import EmbeddingRaster
        >>> codes = np.zeros((6, 8, 4), np.int8)
        >>> codes[:, :4, 0], codes[:, 4:, 1] = 100, 100
        >>> raster = EmbeddingRaster(codes, np.ones((6, 8), np.float32), Grid.local((6, 8)), Provenance(dim=4))
        >>> rows, cols = np.array([0, 4, 1, 5]), np.array([0, 1, 6, 7])
        >>> head = NeighbourhoodHead(RidgeHead(), size=3).fit_at(raster, rows, cols, [1, 1, 2, 2])
        >>> head.predict_window(raster.codes, raster.scales, (2, 2, 3, 6))[0].tolist()
        [[1, 1, 2, 2]]
    """

    head: Head
    _product: CodeProduct | None = None

    @property
    def nested(self) -> bool:
        """See :class:`Head`."""
        return self.head.nested

    def _take_up(self) -> Self:
        super()._take_up()
        self.classes_, self.applied_temperature_ = self.head.classes_, self.head.applied_temperature_
        self._product = None
        return self

    def _proba(self, X: Floats) -> NDArray[np.floating]:
        return self.head.scaled_proba(X)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """See :meth:`Head.predict`."""
        return self.head.predict(X)

    def map_ids(self) -> Bytes:
        """See :meth:`Head.map_ids`."""
        return self.head.map_ids()

    def class_names(self) -> dict[int, str]:
        """See :meth:`Head.class_names`."""
        return self.head.class_names()

    def credit(self, proba: Floats, ids: NDArray[Any], truth: NDArray[Any]) -> Floats:
        """See :meth:`Head.credit`."""
        return self.head.credit(proba, ids, truth)

    def _scale_temperature(self, temperature: float) -> None:
        self.head = self.head.temperature_scaled(temperature)
        self._take_up()

    def _check_raster(self, codes: NDArray[np.int8]) -> None:
        self._check_dim(2 * codes.shape[2])

    @property
    def _side_by_side(self) -> bool:  # type: ignore[override]
        return self.head.linear() is not None

    def _pixels_at_once(self) -> int:
        return BLOCK if self._side_by_side else FLOAT_BLOCK

    def predict_window(self, codes: NDArray[np.int8], scales: Floats, window: PixelBox) -> tuple[Bytes, Bytes]:
        """See :meth:`RasterEstimator.predict_window`; a linear head inside needs no float copy at all."""
        self._check_fitted()
        self.map_ids()
        return super().predict_window(codes, scales, window)

    def _part(
        self, codes: NDArray[np.int8], scales: Floats, part: PixelBox, inside: Bools
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Means are taken of the K products of a linear head, which commute with them, instead of D dimensions."""
        linear = self.head.linear()
        if linear is None:
            return super()._part(codes, scales, part, inside)
        (coef, intercept, temperature), dim = linear, codes.shape[2]
        k = coef.shape[1]
        if self._product is None:
            self._product = CodeProduct(np.concatenate([coef[:dim], coef[dim:]], axis=1))
        near, scale, missing = self._halo(codes, scales, part)
        valid = valid_scales(scale)
        scale[~valid] = 0
        product = self._product(near.reshape(-1, dim), scale.ravel()).reshape(2 * k, *scale.shape)
        count = np.maximum(self._box(valid[None].astype(np.float32), missing), 1)
        logits = self._inner(product[:k], missing) + self._box(product[k:], missing) / count
        logits += intercept[:, None, None]
        index, _, sure = largest_of(logits, True, temperature)
        assert sure is not None
        return self.map_ids()[index[inside]], sure[inside]

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_product": None}


class NeighbourhoodRegressionHead(_Around[np.float32], RegressionHead):
    """A head of numbers over a pixel and the mean of the square around it; see :class:`NeighbourhoodHead`.

    Args:
        head: any head of numbers; fitted in place.
        size: edge of the square, 3 or 5 pixels.

    Example:
        >>> from tessera_core.heads import make_regression_head
        >>> make_regression_head("ridge-regression", neighbourhood=3).kind
        'RidgeRegressionHead 3x3'
    """

    head: RegressionHead

    def _take_up(self) -> Self:
        super()._take_up()
        self.half_width_ = self.head.half_width_
        return self

    def _values(self, X: Floats) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        return self.head._values(X)
