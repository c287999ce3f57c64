"""Pixels that the cache holds already: a new region takes them from cached rasters of the same embeddings that it overlaps."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from tessera_core._utils.atomic import write_json
from tessera_core.errors import TesseraError
from tessera_core.grid import Grid
from tessera_core.raster import EmbeddingRaster, NoData
from tessera_core.region import Region
from tessera_core.sources.remote import cache
from tessera_core.sources.remote.hemispheres import is_repository
from tessera_core.sources.remote.window_task import Source
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
        seen = None if self.raster.observations is None else np.array(self.raster.observations[there])
        if seen is not None and working_grid.inside is not None:
            seen[~working_grid.inside[window]] = 0
        return Block(codes, scales, reasons, observations=seen)


def is_shifted(entry: cache.CachedRaster) -> bool:
    """Whether a cached raster lies half a pixel off, as earlier versions of this program read unrepaired repositories.

    Repositories have their pixels' corners at whole multiples of a pixel; what they were cached from then named no snapshot.
    """
    if not is_repository(entry.location) or "@" in str(entry.facts.get("identity", "")):
        return False
    try:
        grid = Grid.from_json(json.loads((entry.folder / "raster.json").read_text(encoding="utf-8"))["grid"])
    except (OSError, ValueError, KeyError, TypeError, TesseraError):
        return False
    t = grid.transform
    return all(abs(value / t.a % 1 - 0.5) < 1e-6 for value in (t.c, t.f))


def register_again(entry: cache.CachedRaster, source: Source) -> None:
    """Put a cached raster that lies half a pixel off where it belongs, if it holds what the source holds there.

    It gets a place of its own in the cache, from which the region takes its pixels; its old place is free. The caller holds the
    entry's lock.
    """
    header = json.loads((entry.folder / "raster.json").read_text(encoding="utf-8"))
    grid = Grid.from_json(header["grid"])
    t, half = grid.transform, grid.transform.a / 2
    right = Grid(grid.crs, Affine(t.a, t.b, t.c - half, t.d, t.e, t.f + half), grid.shape)
    raster = EmbeddingRaster.open(entry.folder)
    if not _same_pixels(raster, right, source, entry.year):
        return
    stamp = raster.provenance.with_details(
        registration="moved by half a pixel to the north-west, without fetching again"
    )
    write_json(entry.folder / "raster.json", header | {"grid": right.to_json(), "provenance": stamp.to_json()})
    write_json(entry.folder / "fetch.json", entry.facts | {"identity": source.identity, "plan": ""})
    os.replace(entry.folder, entry.folder.with_name(f"{entry.key}-again"))


def _same_pixels(raster: EmbeddingRaster, grid: Grid, source: Source, year: int, side: int = 32) -> bool:
    """Whether the first pixels with data are those of the source, placed by another grid."""
    import shapely

    found = np.argwhere(raster.valid())
    if not found.size:
        return False
    row, col = (int(value) for value in found[len(found) // 2])
    rows, cols = slice(row, min(row + side, grid.height)), slice(col, min(col + side, grid.width))
    part = grid.window(row, col, rows.stop - rows.start, cols.stop - cols.start)
    west, south, east, north = part.bounds_lonlat
    there = source.working_grid(Region.of_shape(shapely.box(west, south, east, north)))
    spot = _offset(there.grid, part)
    if spot is None:
        return False
    top, left = max(spot[0], 0), max(spot[1], 0)
    bottom = min(spot[0] + part.height, there.grid.height)
    right = min(spot[1] + part.width, there.grid.width)
    block = source.read(there, (slice(top, bottom), slice(left, right)), year, raster.dim)
    mine = raster.codes[row + top - spot[0] : row + bottom - spot[0], col + left - spot[1] : col + right - spot[1]]
    return bool(block.codes.any()) and np.array_equal(block.codes, mine)


def cached_overlaps(
    identity: str, year: int, dim: int, working_grid: WorkingGrid, target: Path, *, observed: bool = False
) -> list[CachedOverlap]:
    """Cached rasters that overlap a working grid and hold the same vectors; with ``observed``, those that counts lie beside."""
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
        if spot is not None and raster.reasons is not None and (not observed or raster.observations is not None):
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
