"""Cells: squares of 1024 x 1024 pixels of a UTM zone, the same for everybody, by which large areas are cut.

A cell's name says zone, row, column and time, so it is known before any work and equal on every machine. Rows count from north to
south, in northings that run on below the equator, so that a zone is one grid for both hemispheres. 1024 pixels are two blocks of
Cloud Optimized GeoTIFFs and four shards of our Zarr stores.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tessera_core.errors import GridError
from tessera_core.grid import Grid
from tessera_core.region import Region

CELL_PX = 1024
PIXEL_M = 10.0
SOUTH_OFFSET_M = 10_000_000.0
# Northing of the first row's upper edge: a whole number of cells above the equator, beyond the pole.
TOP_M = 1000 * CELL_PX * PIXEL_M
# Rows of cells that are cut out of a region at a time.
_BAND = 32


@dataclass(frozen=True, order=True)
class Cell:
    """A square of a zone.

    Attributes:
        zone: UTM zone, 1..60.
        row, column: from the zone's north and west; row 1000 is the first south of the equator.

    Example:
        >>> Cell(31, 443, 30).name
        'utm31_r0443_c0030'
    """

    zone: int
    row: int
    column: int

    @property
    def name(self) -> str:
        """Of the cell, to which a time is added where there is one."""
        return f"utm{self.zone:02d}_r{self.row:04d}_c{self.column:04d}"


def utm_zone(grid: Grid) -> tuple[int, bool]:
    """The zone of a grid and whether its CRS is that of the southern hemisphere.

    Raises:
        GridError: it lies in no UTM zone.
    """
    code = grid.crs or ""
    if not (code.startswith(("EPSG:326", "EPSG:327")) and len(code) == 10 and 1 <= int(code[-2:]) <= 60):
        where = "has no georeference" if grid.crs is None else f"is in {code[:40]}"
        raise GridError(f"Cells are squares of UTM zones, but this grid {where}.")
    return int(code[-2:]), code.startswith("EPSG:327")


def place(grid: Grid) -> tuple[int, int]:
    """Row and column of a grid's first pixel in its zone, in pixels of the grid's own size.

    Raises:
        GridError: it lies in no UTM zone.
    """
    _, south = utm_zone(grid)
    t = grid.transform
    northing = t.f - (SOUTH_OFFSET_M if south else 0.0)
    return round((TOP_M - northing) / t.a), round(t.c / t.a)


def cut(grid: Grid, side: int = CELL_PX) -> Iterator[tuple[Cell, Grid]]:
    """A grid cut into the cells of its zone: each cell it meets, with the part of the grid that lies in it.

    Args:
        grid: in a UTM zone, its pixels square and north up.
        side: of a cell, in pixels.

    Raises:
        GridError: the grid lies in no UTM zone.

    Example:
        >>> from affine import Affine
        >>> whole = Grid("EPSG:32631", Affine(10, 0, 312_000, 0, -10, 5_704_000), (1200, 900))
        >>> [(cell.name, part.shape) for cell, part in cut(whole)]  # doctest: +NORMALIZE_WHITESPACE
        [('utm31_r0442_c0030', (320, 544)), ('utm31_r0442_c0031', (320, 356)),
         ('utm31_r0443_c0030', (880, 544)), ('utm31_r0443_c0031', (880, 356))]
    """
    zone, _ = utm_zone(grid)
    top, left = place(grid)
    rows = range(top // side, math.ceil((top + grid.height) / side))
    columns = range(left // side, math.ceil((left + grid.width) / side))
    for row, column in itertools.product(rows, columns):
        y0, y1 = max(row * side, top) - top, min((row + 1) * side, top + grid.height) - top
        x0, x1 = max(column * side, left) - left, min((column + 1) * side, left + grid.width) - left
        yield Cell(zone, row, column), grid.window(y0, x0, y1 - y0, x1 - x0)


def cut_region(region: Region, grid: Grid, side: int = CELL_PX) -> Iterator[tuple[Cell, Grid, bool]]:
    """The cells that hold a pixel of a region, from north to south, one at a time however many there are.

    Args:
        region: where.
        grid: that covers it, in a UTM zone; only its place counts, so it may be larger than one map can be.
        side: of a cell, in pixels.

    Returns:
        Each cell, its part of the grid, and whether some of the part's pixels lie outside the region.

    Raises:
        GridError: the grid lies in no UTM zone.
    """
    import shapely

    zone, _ = utm_zone(grid)
    shape = region.projected(grid.crs or "")
    shape = shape if shape.is_valid else shapely.make_valid(shape)
    top, left = place(grid)
    columns = np.arange(left // side, math.ceil((left + grid.width) / side))
    x0, x1 = np.maximum(columns * side - left, 0), np.minimum((columns + 1) * side - left, grid.width)
    rows = range(top // side, math.ceil((top + grid.height) / side))
    # What a row of cells is compared with is cut out of a band of rows, and that out of the whole: a coast has many corners.
    for first in range(rows.start, rows.stop, _BAND):
        band = _strip(shape, grid, first * side - top, (first + _BAND) * side - top)
        if band.is_empty:
            continue
        for row in range(first, min(first + _BAND, rows.stop)):
            y0, y1 = max(row * side - top, 0), min((row + 1) * side - top, grid.height)
            strip = _strip(band, grid, y0, y1)
            if strip.is_empty:
                continue
            shapely.prepare(strip)
            t = grid.transform
            boxes = shapely.box(t.c + t.a * x0, t.f + t.e * y1, t.c + t.a * x1, t.f + t.e * y0)
            whole = shapely.contains_properly(strip, boxes)
            for n in np.flatnonzero(shapely.intersects(strip, boxes)):
                part = grid.window(y0, int(x0[n]), y1 - y0, int(x1[n] - x0[n]))
                if whole[n] or _holds_a_pixel(strip, boxes[n], part):
                    yield Cell(zone, row, int(columns[n])), part, not whole[n]


def _strip(shape: Any, grid: Grid, y0: int, y1: int) -> Any:
    """What of a shape lies in rows of a grid, and two rows beyond at each side."""
    import shapely

    west, _, east, _ = grid.bounds
    t = grid.transform
    wide = 2 * abs(t.a)
    box = shapely.box(west - wide, t.f + t.e * y1 - wide, east + wide, t.f + t.e * y0 + wide)
    return shapely.intersection(shape, box)


def _holds_a_pixel(shape: Any, box: Any, grid: Grid) -> bool:
    """Whether the centre of a pixel of a grid, whose outline is ``box``, lies in a shape."""
    import shapely
    from rasterio.features import geometry_mask

    here = shapely.intersection(shape, box)
    polygons = [one for one in shapely.get_parts(here) if one.geom_type == "Polygon" and one.area > 0]
    t = grid.transform
    for polygon in polygons:
        # Of all but slivers one look is enough.
        inner = polygon.representative_point()
        col, row = math.floor((inner.x - t.c) / t.a), math.floor((inner.y - t.f) / t.e)
        if shapely.contains_xy(polygon, t.c + t.a * (col + 0.5), t.f + t.e * (row + 0.5)):
            return True
    return bool(polygons) and bool(geometry_mask(polygons, grid.shape, t, invert=True).any())
