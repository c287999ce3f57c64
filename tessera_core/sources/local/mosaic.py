"""Several tiles of one dataset as one raster on one grid; native pixels are copied, never resampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tessera_core.errors import RasterError
from tessera_core.raster import EmbeddingRaster, NoData, valid_scales
from tessera_core.sources.local.convert import Conversion, converted, row_windows
from tessera_core.types import Cancel, Codes, Progress, Window

MAX_EMPTY = 20


def mosaic(
    named: Sequence[tuple[str, EmbeddingRaster]],
    sources: Sequence[Path],
    *,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> EmbeddingRaster:
    """Tiles as one raster; where they overlap the first one with data wins, what none covers is ``MISSING_TILE``.

    A tile whose pixels do not lie on the pixel grid of the first is moved by less than half a pixel, and the provenance says so.

    Args:
        named: (name, raster) of each tile, at least one.
        sources: files that the tiles were read from.

    Raises:
        MixedDatasetsError: they are not of one dataset.
        RasterError: they have no place on Earth, lie in different CRSs or have different pixel sizes.
    """
    if len(named) == 1:
        return named[0][1]
    (first_name, first), *others = named
    for name, raster in others:
        first.provenance.require_same_dataset(raster.provenance, f"one raster (the tiles {first_name} and {name})")
    if any(not raster.grid.georeferenced for _, raster in named):
        names = ", ".join(name for name, _ in named[:5]) + (" ..." if len(named) > 5 else "")
        raise RasterError(
            f"There are {len(named)} rasters ({names}), and without a georeference they cannot be laid side by side; "
            "open one of them."
        )
    crss = sorted({str(raster.grid.crs) for _, raster in named})
    if len(crss) > 1:
        raise RasterError(
            f"The tiles lie in different coordinate systems ({', '.join(crss)}); open those of one system at a time."
        )
    base = first.grid.transform
    places: list[tuple[int, int]] = []
    warnings: list[str] = []
    for name, raster in named:
        t = raster.grid.transform
        if not np.allclose((t.a, t.b, t.d, t.e), (base.a, base.b, base.d, base.e), rtol=1e-6, atol=1e-9):
            raise RasterError(
                f"The pixels of {name} are not of the same size as those of {first_name}; open them one at a time."
            )
        row, col = (float(v) for v in first.grid.xy_to_pixel(t.c, t.f))
        places.append((round(row), round(col)))
        off = max(abs(row - round(row)), abs(col - round(col)))
        if off > 1e-3:
            warnings.append(f"{name} was moved by {off:.2f} pixels to fit the grid of {first_name}.")
    top, left = min(row for row, _ in places), min(col for _, col in places)
    height = max(row + raster.shape[0] for (row, _), (_, raster) in zip(places, named, strict=True)) - top
    width = max(col + raster.shape[1] for (_, col), (_, raster) in zip(places, named, strict=True)) - left
    covered = sum(raster.shape[0] * raster.shape[1] for _, raster in named)
    if height * width > max(MAX_EMPTY * covered, 1 << 20):
        raise RasterError(
            f"The tiles lie too far apart for one raster ({width} x {height} pixels); open neighbours together."
        )
    grid = first.grid.window(top, left, height, width)
    spots = [(row - top, col - left, raster) for (row, col), (_, raster) in zip(places, named, strict=True)]
    shape = (height, width, first.dim)

    def read(window: Window) -> Codes:
        rows, cols = window
        codes = np.zeros((rows.stop - rows.start, cols.stop - cols.start, first.dim), np.int8)
        scales = np.full(codes.shape[:2], np.nan, np.float32)
        for row, col, raster in spots:
            r0, r1 = max(rows.start, row), min(rows.stop, row + raster.shape[0])
            c0, c1 = max(cols.start, col), min(cols.stop, col + raster.shape[1])
            if r0 >= r1 or c0 >= c1:
                continue
            theirs = (slice(r0 - row, r1 - row), slice(c0 - col, c1 - col))
            ours = (slice(r0 - rows.start, r1 - rows.start), slice(c0 - cols.start, c1 - cols.start))
            free = ~valid_scales(scales[ours]) & valid_scales(raster.scales[theirs])
            codes[ours][free] = raster.codes[theirs][free]
            scales[ours][free] = raster.scales[theirs][free]
        return codes, scales

    reasons = np.full(shape[:2], NoData.MISSING_TILE, np.uint8)
    for row, col, raster in spots:
        area = reasons[row : row + raster.shape[0], col : col + raster.shape[1]]
        theirs = raster.nodata_reasons()
        better = (area == NoData.MISSING_TILE) | (theirs == NoData.VALID)
        area[better] = theirs[better]
    years = {raster.provenance.year for _, raster in named}
    details = {**first.provenance.details, "tiles": [name for name, _ in named]}
    details.pop("tile", None)
    warnings = [text for _, raster in named for text in raster.provenance.details.get("warnings", [])] + warnings
    if warnings:
        details["warnings"] = list(dict.fromkeys(warnings))
    provenance = replace(
        first.provenance, year=years.pop() if len(years) == 1 else None, details=details, checksum="", dim=first.dim
    )
    return converted(
        sources,
        Conversion("mosaic", shape, grid, provenance, row_windows(shape, 1), read, reasons),
        progress=progress,
        cancelled=cancelled,
    )
