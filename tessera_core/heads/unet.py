"""A small U-Net: a head that sees shapes and textures, for labels that are polygons.

It learns from crops of the raster; only labelled pixels have a say in the loss. It is for hundreds of labelled pixels and for
people who can wait a minute: with a few points, heads of single pixels are better (docs/heads.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tessera_core._utils.softmax import softmax
from tessera_core._utils.torch_part import require_torch
from tessera_core.errors import HeadError
from tessera_core.heads.base import Pixels
from tessera_core.heads.classification import NO_CLASS, NO_CONFIDENCE, Head, percent, whole_or_named
from tessera_core.heads.training import ClassWeight
from tessera_core.raster import dequantise, valid_scales
from tessera_core.types import Bytes, Floats, PixelBox

if TYPE_CHECKING:
    from tessera_core.heads.unet_network import Network

# Two poolings: places on the raster are taken at multiples of four, so that a map does not depend on its blocks.
STRIDE = 4
# Farther than this from a pixel nothing changes its class: 2 + 2*2 + 2*4 + 2*2 + 2 pixels of convolutions, and the pooling's.
RECEPTIVE_RADIUS = 24
TILE = 96


class UNetHead(Head):
    """Segmentation of a raster by a small U-Net. It is fitted with :meth:`fit_at`, on places instead of vectors.

    Args:
        width: channels of the first level.
        steps: optimiser steps.
        crop: edge of the crops it learns from, pixels, a multiple of 4.
        batch: crops a step.
        dropout: share of channels dropped while training.
        learning_rate: highest rate of the schedule.
        class_weight: ``"balanced"``, None, or weights by class id.
        seed: for weights, crops and dropout.

    Example:
        >>> from tessera_core.grid import Grid
        >>> from tessera_core.provenance import Provenance
        >>> from tessera_core.raster import EmbeddingRaster
        >>> codes = np.zeros((16, 16, 4), np.int8)
        >>> codes[:, :8, 0], codes[:, 8:, 1] = 100, 100
        >>> raster = EmbeddingRaster(codes, np.ones((16, 16), np.float32), Grid.local((16, 16)), Provenance(dim=4))
        >>> head = UNetHead(width=4, steps=5, crop=8, batch=2)
        >>> head = head.fit_at(raster, np.array([2, 9, 4, 12]), np.array([2, 4, 12, 10]), [1, 1, 2, 2])
        >>> head.predict_window(raster.codes, raster.scales, (0, 0, 16, 16))[0].shape
        (16, 16)
        >>> hasattr(head, "predict"), head.wants_raster
        (False, True)
    """

    name = "unet"
    receptive_radius = RECEPTIVE_RADIUS
    wants_raster = True
    # By which the logits are divided, see :meth:`Head.temperature_scaled`.
    temperature_: float = 1.0

    def __init__(
        self,
        width: int = 24,
        steps: int = 150,
        crop: int = 48,
        batch: int = 6,
        dropout: float = 0.1,
        learning_rate: float = 3e-3,
        class_weight: ClassWeight = "balanced",
        seed: int = 0,
    ) -> None:
        self.width = width
        self.steps = steps
        self.crop = crop
        self.batch = batch
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.class_weight = class_weight
        self.seed = seed

    def _learn_at(
        self,
        raster: Pixels,
        rows: NDArray[np.integer],
        cols: NDArray[np.integer],
        y: ArrayLike,
        groups: ArrayLike | None,
    ) -> None:
        rows, cols, y = np.asarray(rows, np.intp), np.asarray(cols, np.intp), np.asarray(y)
        if not rows.shape == cols.shape == y.shape or rows.ndim != 1:
            raise HeadError("A head needs one class for each place; rows, columns and classes differ in number.")
        y = whole_or_named(y)
        if self.width < 1 or self.steps < 1 or self.batch < 1 or self.crop < STRIDE or self.crop % STRIDE:
            raise HeadError(
                "A U-Net needs a width, steps and a batch of at least 1, and a crop that is a multiple of 4."
            )
        usable = valid_scales(np.asarray(raster.scales[rows, cols]))
        self.n_ignored_ = int(len(y) - usable.sum())
        self.classes_, targets, weight = self._learnable(y[usable], np.ones(int(usable.sum())))
        self.n_features_in_ = int(raster.codes.shape[2])
        self._train(raster, rows[usable], cols[usable], targets, weight)

    def _train(
        self,
        raster: Pixels,
        rows: NDArray[np.integer],
        cols: NDArray[np.integer],
        targets: NDArray[np.intp],
        weight: NDArray[np.float64],
    ) -> None:
        x = raster.sample(rows, cols)
        self._mean, self._spread = x.mean(0), max(float(x.std(0).mean()), 1e-12)
        truth = np.full(raster.scales.shape, -1, np.int16)
        truth[rows, cols] = targets
        # Each class's weight is what its labels have on average.
        say = np.bincount(targets, weight) / np.bincount(targets)
        rng = np.random.default_rng(self.seed)
        by_class = [np.flatnonzero(targets == k) for k in range(len(self.classes_))]

        def draw() -> tuple[Floats, NDArray[np.int16], int, bool]:
            # Classes take turns, so that a rare one is seen as often.
            near = int(rng.choice(by_class[int(rng.integers(len(by_class)))]))
            top, left = (int(n) - int(rng.integers(self.crop)) for n in (rows[near], cols[near]))
            area = (top, left, top + self.crop, left + self.crop)
            turn, flip = int(rng.integers(4)), bool(rng.integers(2))
            return self._input(raster.codes, raster.scales, area), _cut(truth, area, -1), turn, flip

        network = self._network()
        network.train(
            draw,
            say,
            steps=self.steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            step=self._step,
        )
        self._net = network

    def _network(self) -> Network:
        """A new network of this head's size.

        Raises:
            MissingPartError: PyTorch is not installed.
        """
        require_torch("A U-Net")
        from tessera_core.heads.unet_network import Network

        return Network(self.n_features_in_, self.width, len(self.classes_), self.dropout, self.seed)

    def _input(self, codes: NDArray[np.int8], scales: Floats, area: PixelBox) -> Floats:
        """float32 (D, h, w) of a window that may reach beyond the raster; zero where there is no data."""
        near = dequantise(_cut(codes, area, 0), _cut(np.asarray(scales), area, np.nan))
        x = (near - self._mean) / self._spread
        return np.ascontiguousarray(np.nan_to_num(x, copy=False).transpose(2, 0, 1))

    def _tile(self, codes: NDArray[np.int8], scales: Floats, tile: PixelBox) -> Floats:
        """Probabilities (K, h, w) of a tile that starts at a multiple of 4."""
        top, left, bottom, right = tile
        high, wide = bottom - top, right - left
        extra = [-n % STRIDE for n in (high, wide)]
        area = (
            top - RECEPTIVE_RADIUS,
            left - RECEPTIVE_RADIUS,
            bottom + extra[0] + RECEPTIVE_RADIUS,
            right + extra[1] + RECEPTIVE_RADIUS,
        )
        out = self._net.logits(self._input(codes, scales, area))
        inner = out[:, RECEPTIVE_RADIUS : RECEPTIVE_RADIUS + high, RECEPTIVE_RADIUS : RECEPTIVE_RADIUS + wide]
        return softmax(inner / np.float32(self.temperature_), axis=0)

    def proba_at(self, raster: Pixels, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> Floats:
        """See :meth:`Head.proba_at`."""
        self._check_fitted()
        self._check_dim(int(raster.codes.shape[2]))
        rows, cols = np.asarray(rows, np.intp), np.asarray(cols, np.intp)
        out = np.full((len(rows), len(self.classes_)), np.nan, np.float32)
        tiles, which = np.unique(np.stack([rows // TILE, cols // TILE], axis=1), axis=0, return_inverse=True)
        valid = valid_scales(np.asarray(raster.scales[rows, cols]))
        for number, (down, across) in enumerate(tiles):
            own = np.flatnonzero((which.ravel() == number) & valid)
            top, left = int(down) * TILE, int(across) * TILE
            proba = self._tile(raster.codes, raster.scales, (top, left, top + TILE, left + TILE))
            out[own] = proba[:, rows[own] - top, cols[own] - left].T
        return out

    def predict_window(self, codes: NDArray[np.int8], scales: Floats, window: PixelBox) -> tuple[Bytes, Bytes]:
        """See :meth:`Head.predict_window`."""
        self._check_fitted()
        self._check_dim(codes.shape[2])
        ids = self.map_ids()
        top, left, bottom, right = window
        classes = np.full((bottom - top, right - left), NO_CLASS, np.uint8)
        confidence = np.full(classes.shape, NO_CONFIDENCE, np.uint8)
        for outer, proba in self._tiles(codes, scales, window):
            classes[outer], confidence[outer] = ids[proba.argmax(0)], percent(proba.max(0))
        missing = ~valid_scales(np.asarray(scales[top:bottom, left:right]))
        classes[missing], confidence[missing] = NO_CLASS, NO_CONFIDENCE
        return classes, confidence

    def proba_window(self, codes: NDArray[np.int8], scales: Floats, window: PixelBox) -> Floats:
        """See :meth:`Head.proba_window`."""
        self._check_fitted()
        self._check_dim(codes.shape[2])
        top, left, bottom, right = window
        out = np.full((bottom - top, right - left, len(self.classes_)), np.nan, np.float32)
        for outer, proba in self._tiles(codes, scales, window):
            out[outer] = proba.transpose(1, 2, 0)
        out[~valid_scales(np.asarray(scales[top:bottom, left:right]))] = np.nan
        return out

    def _tiles(
        self, codes: NDArray[np.int8], scales: Floats, window: PixelBox
    ) -> Iterator[tuple[tuple[slice, slice], Floats]]:
        """Parts of a window and their probabilities (K, h, w), tile by tile; tiles without data are left out."""
        top, left, bottom, right = window
        for y in range(top // TILE * TILE, bottom, TILE):
            for x in range(left // TILE * TILE, right, TILE):
                y0, x0, y1, x1 = max(y, top), max(x, left), min(y + TILE, bottom), min(x + TILE, right)
                if valid_scales(np.asarray(scales[y0:y1, x0:x1])).any():
                    proba = self._tile(codes, scales, (y, x, y + TILE, x + TILE))
                    yield (
                        (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)),
                        proba[:, y0 - y : y1 - y, x0 - x : x1 - x],
                    )

    def _scale_temperature(self, temperature: float) -> None:
        self.temperature_ = self.temperature_ * temperature

    def _arrays(self) -> dict[str, NDArray[Any]]:
        arrays = {f"net.{name}": array for name, array in self._net.arrays().items()}
        return arrays | {"mean": self._mean, "numbers": np.array([self._spread, self.temperature_])}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._mean = arrays["mean"].astype(np.float32)
        self._spread, self.temperature_ = (float(v) for v in arrays["numbers"])
        self._net = self._network()
        self._net.load({k[4:]: v for k, v in arrays.items() if k.startswith("net.")})


def _cut(values: NDArray[Any], area: PixelBox, fill: float) -> NDArray[Any]:
    """A window (h, w, ...) of an array, filled up where it reaches beyond."""
    top, left, bottom, right = area
    y0, x0, y1, x1 = max(top, 0), max(left, 0), min(bottom, values.shape[0]), min(right, values.shape[1])
    out = np.full((bottom - top, right - left, *values.shape[2:]), fill, values.dtype)
    if y0 < y1 and x0 < x1:
        out[y0 - top : y1 - top, x0 - left : x1 - left] = values[y0:y1, x0:x1]
    return out
