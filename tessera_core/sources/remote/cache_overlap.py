"""Pixels that the cache holds already: a new region takes them from cached rasters of the same embeddings that it overlaps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import TesseraError
from tessera_core.grid import Grid
from tessera_core.raster import EmbeddingRaster, NoData
from tessera_core.sources.remote import cache
from tessera_core.sources.remote.working_grid import WorkingGrid
from tessera_core.sources.remote.zarr_zone import Block
from tessera_core.types import Window


@dataclass(frozen=True)
class CachedOverlap:
    """A cached raster of the same embeddings on the same pixel grid, of which a new region may take pixels."""

    raster: EmbeddingRaster
    reasons: NDArray[np.uint8]
    row: int
    col: int
    complete: bool

    def block(self, working_grid: WorkingGrid, window: Window) -> Block | None:
        """The window's pixels, if the raster has them all."""
        rows, cols = window
        top, left = rows.start - self.row, cols.start - self.col
        bottom, right = rows.stop - self.row, cols.stop - self.col
        if top < 0 or left < 0 or bottom > self.raster.shape[0] or right > self.raster.shape[1]:
            return None
        there = (slice(top, bottom), slice(left, right))
        reasons = np.array(self.reasons[there])
        if (reasons == NoData.OUTSIDE).any() or (not self.complete and reasons.any()):
            return None
        codes, scales = np.array(self.raster.codes[there]), np.array(self.raster.scales[there])
        if working_grid.inside is not None:
            outside = ~working_grid.inside[window]
            codes[outside], scales[outside], reasons[outside] = 0, np.nan, NoData.OUTSIDE
        return Block(codes, scales, reasons)


def cached_overlaps(identity: str, year: int, dim: int, working_grid: WorkingGrid, target: Path) -> list[CachedOverlap]:
    """Cached rasters that overlap a working grid and hold the same vectors."""
    overlaps = []
    for entry in cache.entries():
        facts = entry.facts
        same = facts.get("identity") == identity and entry.year == year and entry.dim == dim
        if not same or entry.folder == target:
            continue
        try:
            raster = EmbeddingRaster.open(entry.folder)
        except TesseraError:
            continue
        spot = _offset(working_grid.grid, raster.grid)
        if spot is not None and raster.reasons is not None:
            overlaps.append(CachedOverlap(raster, raster.reasons, *spot, entry.complete))
    return overlaps


def _offset(grid: Grid, other: Grid) -> tuple[int, int] | None:
    t, o = grid.transform, other.transform
    if grid.crs != other.crs or (t.a, t.e) != (o.a, o.e):
        return None
    row, col = (o.f - t.f) / t.e, (o.c - t.c) / t.a
    if abs(row - round(row)) > 1e-6 or abs(col - round(col)) > 1e-6:
        return None
    return round(row), round(col)
