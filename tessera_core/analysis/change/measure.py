"""The one pass over both rasters: what each pixel's difference is, how sharp the picture is there, and its kind of ground.

Four bytes a pixel leave it. What they mean for change is decided afterwards (:mod:`.judge`), from all of them together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tessera_core._utils.int8 import CodeProduct
from tessera_core._utils.threads import run_blocks
from tessera_core.analysis.change.levels import LOWEST, NO_LEVEL, STEPS, TOP_LEVEL
from tessera_core.analysis.change.scene import ChangeScene
from tessera_core.errors import Cancelled
from tessera_core.raster import EmbeddingRaster, valid_scales
from tessera_core.types import Cancel, Progress

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
    """

    levels: NDArray[np.uint16]
    contrasts: NDArray[np.uint8]
    groups: NDArray[np.uint8]


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
    levels, contrasts, groups = (torch.from_numpy(a) for a in (measured.levels, measured.contrasts, measured.groups))
    products = CodeProduct(scene.to_first, DIGITS), CodeProduct(scene.to_second, DIGITS)
    constant = torch.from_numpy(scene.constant)[:, None, None]
    centres = torch.from_numpy(scene.centres)
    half = (centres**2).sum(1, keepdim=True) / 2
    scale = scene.noise**-2
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
        steepest = torch.maximum(_steepest(a, valid), _steepest(b, valid))[inner]
        flat = a[:, inner].reshape(len(constant), -1)
        groups[rows] = (centres @ flat - half).argmax(0).to(torch.uint8).reshape(-1, width)
        contrast = steepest.mul_(scale).clamp_(min=1e-12).log_().sub_(FAINTEST).mul_(CONTRAST_STEPS)
        contrasts[rows] = contrast.round_().clamp_(0, CONTRASTS - 1).to(torch.uint8)
        squares = (b[:, inner] - a[:, inner]).sub_(constant).square_().sum(0).mul_(scale)
        level = squares.clamp_(min=1e-12).log_().mul_(STEPS / 2).sub_(LOWEST * STEPS).round_().clamp_(0, TOP_LEVEL)
        level[~valid[inner]] = int(NO_LEVEL)
        levels[rows] = level.to(torch.int32).to(torch.uint16)
        done += (rows.stop - rows.start) * width
        if progress is not None:
            progress(done, height * width, "comparing the years")

    run_blocks(work, height, max(1, BLOCK_PIXELS // width))
    return measured


def _project(raster: EmbeddingRaster, product: CodeProduct, rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores float32 (r, h, W) of rows, 0 where there is no data, and where there is, bool (h, W)."""
    scales = np.ascontiguousarray(raster.scales[rows], np.float32)
    valid = valid_scales(scales)
    codes = torch.from_numpy(raster.codes[rows].reshape(-1, raster.dim))
    usable = torch.from_numpy(np.where(valid, scales, np.float32(0)))
    scores = product(codes).reshape(-1, *valid.shape).mul_(usable)
    return scores, torch.from_numpy(valid)


def _steepest(scores: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Largest squared difference to one of the four neighbours with data, float32 (h, W)."""
    out = torch.zeros(valid.shape)
    for axis in (0, 1):
        length = valid.shape[axis] - 1
        if length < 1:
            continue
        near, far = scores.narrow(axis + 1, 0, length), scores.narrow(axis + 1, 1, length)
        squares = (far - near).square_().sum(0)
        squares.mul_(valid.narrow(axis, 0, length) & valid.narrow(axis, 1, length))
        for start in (0, 1):
            side = out.narrow(axis, start, length)
            torch.maximum(side, squares, out=side)
    return out
