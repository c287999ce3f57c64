"""Any head with a look at a pixel's neighbours: it sees the pixel's own vector and the mean of a 3x3 or 5x5 square around it.

The embeddings know nothing of their neighbours, so a mean over a few pixels takes away noise that a head would otherwise map.
Own vector and mean are kept apart: on an edge they differ, and the head may trust the own one. Pixels without data take no
part in a mean. A map does not depend on the blocks it is computed in, because blocks overlap by the reach of the square.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from tessera_core._utils.int8 import BLOCK, CodeProduct
from tessera_core._utils.threads import run_blocks
from tessera_core.errors import HeadError
from tessera_core.heads.base import FLOAT_BLOCK, NO_CLASS, NO_CONFIDENCE, Head, Pixels, percent
from tessera_core.heads.linear import LinearHead
from tessera_core.heads.regression import RegressionHead
from tessera_core.raster import dequantise, valid_scales
from tessera_core.types import Bytes, Cancel, Floats, PixelBox, Progress

SIZES = (3, 5)


def with_surroundings(raster: Pixels, rows: NDArray[np.integer], cols: NDArray[np.integer], size: int) -> Floats:
    """Vectors of pixels beside the means around them: float32 (N, 2 D), NaN where the pixel itself has no data."""
    own = raster.sample(rows, cols)
    total, count = np.zeros_like(own), np.zeros((len(own), 1), np.float32)
    reach = size // 2
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            near = raster.sample(np.asarray(rows) + dy, np.asarray(cols) + dx)
            known = np.isfinite(near[:, :1])
            total += np.where(known, near, 0)
            count += known
    mean = np.divide(total, count, out=np.full_like(own, np.nan), where=(count > 0) & np.isfinite(own[:, :1]))
    return np.concatenate([own, mean], axis=1)


class _Around:
    """What heads over surroundings share: blocks with a margin, and means in them."""

    size: int

    @property
    def _reach(self) -> int:
        return self.size // 2

    def _check_size(self, inner_reach: int) -> None:
        if self.size not in SIZES:
            raise HeadError(f"The surroundings of a pixel are a square of 3 or 5 pixels, not {self.size!r}.")
        if inner_reach:
            raise HeadError("This head looks around by itself; use it without a context.")

    def _halo(
        self, codes: NDArray[np.int8], scales: Floats, part: PixelBox
    ) -> tuple[NDArray[np.int8], Floats, tuple[int, int, int, int]]:
        """Codes (h', w', D) and scales (h', w') of a window with its surroundings, and what is missing of them at the
        raster's edge: left, right, top, bottom."""
        top, left, bottom, right = part
        r, (height, width) = self._reach, scales.shape
        y0, x0, y1, x1 = max(top - r, 0), max(left - r, 0), min(bottom + r, height), min(right + r, width)
        missing = (x0 - left + r, right + r - x1, y0 - top + r, bottom + r - y1)
        return np.ascontiguousarray(codes[y0:y1, x0:x1]), np.array(scales[y0:y1, x0:x1], np.float32), missing

    def _box(self, values: torch.Tensor, missing: tuple[int, int, int, int]) -> torch.Tensor:
        """Sums over the square around each inner pixel, of (C, h', w'), in one order whatever the window."""
        padded = torch.nn.functional.pad(values, missing)
        height, width = padded.shape[1] - 2 * self._reach, padded.shape[2] - 2 * self._reach
        across = padded[:, :, :width].clone()
        for d in range(1, self.size):
            across += padded[:, :, d : d + width]
        down = across[:, :height].clone()
        for d in range(1, self.size):
            down += across[:, d : d + height]
        return down

    def _inner(self, values: torch.Tensor, missing: tuple[int, int, int, int]) -> torch.Tensor:
        """(C, h', w') without the surroundings."""
        left, right, top, bottom = (self._reach - m for m in missing)
        return values[:, top : values.shape[1] - bottom, left : values.shape[2] - right]

    def _vectors(self, codes: NDArray[np.int8], scales: Floats, part: PixelBox, inside: NDArray[np.bool_]) -> Floats:
        """Vectors (n, 2 D) of the pixels ``inside`` a small window, as :func:`with_surroundings` makes them."""
        near, scale, missing = self._halo(codes, scales, part)
        valid = torch.from_numpy(valid_scales(scale)[None].astype(np.float32))
        values = torch.from_numpy(np.nan_to_num(dequantise(near, scale))).permute(2, 0, 1)
        mean = self._box(values, missing) / self._box(valid, missing).clamp_min(1)
        x = torch.cat([self._inner(values, missing), mean]).permute(1, 2, 0).numpy()[inside]
        return np.ascontiguousarray(x)


class ContextHead(_Around, Head):
    """A head over a pixel and the mean of the square around it.

    :meth:`fit` and :meth:`predict_proba` take vectors as :func:`with_surroundings` makes them, (N, 2 D).

    Args:
        head: any head of vectors; fitted in place.
        size: edge of the square, 3 or 5 pixels.
    """

    def __init__(self, head: Head, size: int = 3) -> None:
        self.head = head
        self.size = size
        self.reach = size // 2 if isinstance(size, int) else 0

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
        """See :meth:`Head.fit`."""
        self._check_size(self.head.reach)
        self.head.fit(X, y, sample_weight, groups=groups, progress=progress, cancelled=cancelled)
        return self._take_up()

    def _take_up(self) -> Self:
        """Take over what the head inside has learnt."""
        self.classes_, self.n_features_in_ = self.head.classes_, self.head.n_features_in_
        self.n_ignored_ = self.head.n_ignored_
        self._product: CodeProduct | None = None
        return self

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
        """See :meth:`Head.fit_at`."""
        x = with_surroundings(raster, rows, cols, self.size)
        return self.fit(x, y, groups=groups, progress=progress, cancelled=cancelled)

    def proba_at(self, raster: Pixels, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> Floats:
        """See :meth:`Head.proba_at`."""
        return self.predict_proba(with_surroundings(raster, rows, cols, self.size))

    def _proba(self, X: Floats) -> NDArray[np.floating]:
        return self.head._proba(X)

    def predict_codes(self, codes: NDArray[np.int8], scales: Floats) -> tuple[Bytes, Bytes]:
        """Not possible: pixels in a row have no surroundings.

        Raises:
            HeadError: always.
        """
        raise HeadError("This head looks at a pixel's surroundings; it maps windows of a raster, not loose pixels.")

    def proba_window(self, codes: NDArray[np.int8], scales: Floats, window: PixelBox) -> Floats:
        """See :meth:`Head.proba_window`."""
        self._check_fitted()
        self._check_dim(2 * codes.shape[2])
        top, left, bottom, right = window
        inside = valid_scales(np.asarray(scales[top:bottom, left:right]))
        out = np.full((*inside.shape, len(self.classes_)), np.nan, np.float32)
        if inside.any():
            out[inside] = self.head._proba(self._vectors(codes, scales, window, inside))
        return out

    def predict_window(self, codes: NDArray[np.int8], scales: Floats, window: PixelBox) -> tuple[Bytes, Bytes]:
        """See :meth:`Head.predict_window`; no float copy of the window is made."""
        self._check_fitted()
        self._check_dim(2 * codes.shape[2])
        ids = torch.from_numpy(self._byte_ids())
        top, left, bottom, right = window
        shape = (bottom - top, right - left)
        classes, confidence = np.full(shape, NO_CLASS, np.uint8), np.full(shape, NO_CONFIDENCE, np.uint8)
        classify = self._linear_rows if isinstance(self.head, LinearHead) else self._float_rows

        def work(rows: slice) -> None:
            part = (top + rows.start, left, top + rows.stop, right)
            inside = valid_scales(scales[part[0] : part[2], left:right])
            if inside.any():
                best, sure = classify(codes, scales, part, inside)
                classes[rows][inside] = ids.numpy()[best[inside]]
                confidence[rows][inside] = percent(sure[inside])

        step = max(1, (BLOCK if isinstance(self.head, LinearHead) else FLOAT_BLOCK) // max(shape[1], 1))
        if isinstance(self.head, LinearHead):
            run_blocks(work, shape[0], step)
        else:
            # Other heads bring their own threads.
            for start in range(0, shape[0], step):
                work(slice(start, min(start + step, shape[0])))
        return classes, confidence

    def _linear_rows(
        self, codes: NDArray[np.int8], scales: Floats, part: PixelBox, inside: NDArray[np.bool_]
    ) -> tuple[NDArray[np.intp], Floats]:
        """A linear head commutes with a mean: the means are taken of K products instead of D dimensions."""
        head = self.head
        assert isinstance(head, LinearHead)
        dim, k = codes.shape[2], len(self.classes_)
        if self._product is None:
            self._product = CodeProduct(np.concatenate([head.coef_[:dim], head.coef_[dim:]], axis=1))
        near, scale, missing = self._halo(codes, scales, part)
        valid = valid_scales(scale)
        scale[~valid] = 0
        product = self._product(torch.from_numpy(near.reshape(-1, dim)))
        product = (product * torch.from_numpy(scale.ravel())).reshape(2 * k, *scale.shape)
        count = self._box(torch.from_numpy(valid[None].astype(np.float32)), missing).clamp_min(1)
        logits = self._inner(product[:k], missing) + self._box(product[k:], missing) / count
        logits = logits + torch.from_numpy(head.intercept_)[:, None, None]
        top, index = logits.max(dim=0)
        return index.numpy(), (logits - top).exp_().sum(dim=0).reciprocal_().numpy()

    def _float_rows(
        self, codes: NDArray[np.int8], scales: Floats, part: PixelBox, inside: NDArray[np.bool_]
    ) -> tuple[NDArray[np.intp], Floats]:
        best, sure = np.zeros(inside.shape, np.intp), np.zeros(inside.shape, np.float32)
        proba = self.head._proba(self._vectors(codes, scales, part, inside))
        best[inside], sure[inside] = proba.argmax(axis=1), proba.max(axis=1)
        return best, sure

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return state | {"_product": None} if "_product" in state else state


class ContextRegressionHead(_Around, RegressionHead):
    """A regression head over a pixel and the mean of the square around it; see :class:`ContextHead`."""

    def __init__(self, head: RegressionHead, size: int = 3) -> None:
        self.head = head
        self.size = size
        self.reach = size // 2 if isinstance(size, int) else 0

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
        """See :meth:`RegressionHead.fit`."""
        self._check_size(self.head.reach)
        self.head.fit(X, y, sample_weight, groups=groups, progress=progress, cancelled=cancelled)
        return self._take_up()

    def _take_up(self) -> Self:
        self.n_features_in_, self.n_ignored_, self.margin_ = self.head.n_features_in_, 0, self.head.margin_
        self.n_ignored_ = self.head.n_ignored_
        return self

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
        """See :meth:`RegressionHead.fit_at`."""
        x = with_surroundings(raster, rows, cols, self.size)
        return self.fit(x, y, groups=groups, progress=progress, cancelled=cancelled)

    def margin_at(self, raster: Pixels, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> tuple[Floats, Floats]:
        """See :meth:`RegressionHead.margin_at`."""
        return self.predict_margin(with_surroundings(raster, rows, cols, self.size))

    def _values(self, X: Floats) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        return self.head._values(X)

    def predict_codes(self, codes: NDArray[np.int8], scales: Floats) -> tuple[Floats, Floats]:
        """Not possible: pixels in a row have no surroundings.

        Raises:
            HeadError: always.
        """
        raise HeadError("This head looks at a pixel's surroundings; it maps windows of a raster, not loose pixels.")

    def predict_window(self, codes: NDArray[np.int8], scales: Floats, window: PixelBox) -> tuple[Floats, Floats]:
        """See :meth:`RegressionHead.predict_window`."""
        self._check_fitted()
        self._check_dim(2 * codes.shape[2])
        top, left, bottom, right = window
        values, margins = (np.full((bottom - top, right - left), np.nan, np.float32) for _ in range(2))
        step = max(1, FLOAT_BLOCK // max(right - left, 1))
        for start in range(top, bottom, step):
            part = (start, left, min(start + step, bottom), right)
            rows = slice(part[0] - top, part[2] - top)
            inside = valid_scales(scales[part[0] : part[2], left:right])
            if inside.any():
                value, doubt = self.head._values(self._vectors(codes, scales, part, inside))
                values[rows][inside], margins[rows][inside] = value, doubt * self.margin_
        return values, margins
