"""The one pass over both rasters: what each pixel's difference is, how sharp the picture is there, and its kind of ground.

Four bytes a pixel leave it. What they mean for change is decided afterwards (:mod:`.judge`), from all of them together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.int8 import CodeProduct
from tessera_core._utils.softmax import largest_of
from tessera_core._utils.threads import run_blocks
from tessera_core.analysis.change.levels import LOWEST, NO_LEVEL, STEPS, TOP_LEVEL
from tessera_core.analysis.change.scene import ChangeScene
from tessera_core.errors import Cancelled
from tessera_core.raster import EmbeddingRaster, valid_scales
from tessera_core.types import Bools, Cancel, Floats, Progress

# Product digits: 16 bits of weight are far below the noise and a third cheaper than 24.
DIGITS = 2
BLOCK_PIXELS = 24_576
# Contrast of a pixel: log of its squared step to a neighbour over the squared noise, from -6 to +9.9 in steps of 1/16.
CONTRASTS, FAINTEST, CONTRAST_STEPS = 256, -6.0, 16.0


@dataclass(frozen=True)
class Measured:
    """What the pass found.

    Attributes:
        levels: uint16 (H, W), log(difference / the scene's noise) as levels; 65535 where a year has no data.
        contrasts: uint8 (H, W), logarithm of the largest step to one of four neighbours in either year.
        groups: uint8 (H, W), kind of ground: index into the scene's centres.
        margin: pixels on each side that belong to neighbours; they are looked at and not judged.
    """

    levels: NDArray[np.uint16]
    contrasts: NDArray[np.uint8]
    groups: NDArray[np.uint8]
    margin: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Of what is judged, (H, W)."""
        height, width = self.levels.shape
        return height - 2 * self.margin, width - 2 * self.margin

    def inner(self, rows: slice) -> tuple[slice, slice]:
        """Where rows of what is judged lie in the arrays."""
        side = self.margin
        return slice(rows.start + side, rows.stop + side), slice(side, self.levels.shape[1] - side)


def measure_differences(
    first: EmbeddingRaster,
    second: EmbeddingRaster,
    scene: ChangeScene,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Measured:
    """Read both rasters once, a block at a time.

    Raises:
        Cancelled: ``cancelled`` said so.
    """
    height, width = first.shape
    measured = Measured(
        np.empty((height, width), np.uint16), np.empty((height, width), np.uint8), np.empty((height, width), np.uint8)
    )
    levels, contrasts, groups = measured.levels, measured.contrasts, measured.groups
    products = CodeProduct(scene.to_first, DIGITS), CodeProduct(scene.to_second, DIGITS)
    constant = scene.constant[:, None, None]
    half = np.square(scene.centres).sum(axis=1, keepdims=True) / 2
    scale = np.float32(scene.noise**-2)
    tiny = np.float32(1e-12)
    done = 0

    def work(rows: slice) -> None:
        nonlocal done
        if cancelled is not None and cancelled():
            raise Cancelled
        # One row more on either side, for the steps across the block's edge.
        top, bottom = max(rows.start - 1, 0), min(rows.stop + 1, height)
        a, valid_a = _project(first, products[0], slice(top, bottom))
        b, valid_b = _project(second, products[1], slice(top, bottom))
        inner = slice(rows.start - top, rows.stop - top)
        valid = valid_a & valid_b
        steepest = np.maximum(_steepest(a, valid), _steepest(b, valid))[inner]
        flat = a[:, inner].reshape(len(constant), -1)
        groups[rows] = largest_of(scene.centres @ flat - half, False)[0].reshape(-1, width)
        contrast = (np.log(np.maximum(steepest * scale, tiny)) - np.float32(FAINTEST)) * np.float32(CONTRAST_STEPS)
        contrasts[rows] = np.clip(np.rint(contrast), 0, CONTRASTS - 1)
        apart = b[:, inner] - a[:, inner]
        apart -= constant
        squares = np.square(apart, out=apart).sum(axis=0) * scale
        level = np.log(np.maximum(squares, tiny)) * np.float32(STEPS / 2) - np.float32(LOWEST * STEPS)
        level = np.clip(np.rint(level), 0, TOP_LEVEL)
        level[~valid[inner]] = int(NO_LEVEL)
        levels[rows] = level
        done += (rows.stop - rows.start) * width
        if progress is not None:
            progress(done, height * width, "comparing the years")

    run_blocks(work, height, max(1, BLOCK_PIXELS // width))
    return measured


def _project(raster: EmbeddingRaster, product: CodeProduct, rows: slice) -> tuple[Floats, Bools]:
    """Scores float32 (r, h, W) of rows, 0 where there is no data, and where there is, bool (h, W)."""
    scales = np.ascontiguousarray(raster.scales[rows], np.float32)
    valid = valid_scales(scales)
    usable = np.where(valid, scales, np.float32(0))
    scores = product(raster.codes[rows].reshape(-1, raster.dim), usable.reshape(-1))
    return scores.reshape(-1, *valid.shape), valid


def _steepest(scores: Floats, valid: Bools) -> Floats:
    """Largest squared difference to one of the four neighbours with data, float32 (h, W)."""
    out = np.zeros(valid.shape, np.float32)
    for axis in (0, 1):
        length = valid.shape[axis] - 1
        if length < 1:
            continue
        first, last = (_along(axis, slice(start, start + length)) for start in (0, 1))
        apart = scores[:, *last] - scores[:, *first]
        squares = np.square(apart, out=apart).sum(axis=0)
        squares *= valid[first] & valid[last]
        for side in (first, last):
            np.maximum(out[side], squares, out=out[side])
    return out


def _along(axis: int, part: slice) -> tuple[slice, slice]:
    return (part, slice(None)) if axis == 0 else (slice(None), part)
