"""The working grid of a region: where its pixels lie, and how the pixels of neighbouring UTM zones come onto it.

Published embeddings lie on one pixel grid per UTM zone, southern pixels at negative northings of the zone's northern CRS
(docs/spec/formats.md "Published embedding layouts"). A region's working grid is a window of the pixel grid of the zone of its
centre, so pixels of that zone are copied as they are; pixels of other zones are moved once, to the nearest place. Tiles of
0.1 degrees belong to the zone that holds their centre, so zones meet exactly at multiples of 6 degrees. Knows no files.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from tessera_core.errors import GridError, InputError
from tessera_core.grid import Grid, transformer
from tessera_core.region import Region, require_pixels
from tessera_core.types import BBox, Window
from tessera_core.wide_region import WideRegion

FALSE_NORTHING = 10_000_000.0
# A tile belongs to one zone and is 0.1 degrees wide, so farther from the seam no other zone has data.
SEAM_DEGREES = 0.1
TILE_DEGREES = 0.1


def zone_of(lon: float) -> int:
    """UTM zone of a longitude by the plain rule of the published stores (no exceptions for Norway)."""
    return max(1, min(60, math.floor((lon + 180) / 6) + 1))


@dataclass(frozen=True)
class PixelGrid:
    """The pixel grid of a UTM zone, without ends.

    Attributes:
        zone: 1..60.
        west, north: a pixel corner, in metres of the zone's northern CRS; pixel (0, 0) lies south-east of it.
        pixel: side of a pixel in metres.
    """

    zone: int
    west: float
    north: float
    pixel: float

    @property
    def crs(self) -> str:
        """The zone's northern CRS, in which the southern hemisphere has negative northings."""
        return f"EPSG:{32600 + self.zone}"


@dataclass(frozen=True)
class WorkingGrid:
    """The working grid of a region.

    Attributes:
        grid: for people: southern regions in the southern CRS.
        pixel_grid: of the zone of the region's centre.
        row0, col0: the pixel grid's pixel at the grid's top left; may be negative or beyond what a store holds.
        inside: bool (H, W), which pixels are wanted; None where all are.
        zones: zones whose data may appear, the working grid's own first.
        phase: row of the pixel grid from which stored pieces are counted, so that blocks can follow them.
    """

    grid: Grid
    pixel_grid: PixelGrid
    row0: int
    col0: int
    inside: NDArray[np.bool_] | None
    zones: tuple[int, ...]
    phase: int = 0

    def crop(self, window: Window) -> WorkingGrid:
        """The working_grid of a window alone; its pixels are the same ones."""
        rows, cols = window
        return WorkingGrid(
            self.grid.window(rows.start, cols.start, rows.stop - rows.start, cols.stop - cols.start),
            self.pixel_grid,
            self.row0 + rows.start,
            self.col0 + cols.start,
            None if self.inside is None else self.inside[window],
            self.zones,
            self.phase,
        )

    def xy(self, window: Window) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pixel centres of a window, float64 (h, w) each, in the pixel grid's CRS."""
        rows, cols = window
        pixel_grid = self.pixel_grid
        x = pixel_grid.west + (self.col0 + np.arange(cols.start, cols.stop) + 0.5) * pixel_grid.pixel
        y = pixel_grid.north - (self.row0 + np.arange(rows.start, rows.stop) + 0.5) * pixel_grid.pixel
        grid_x, grid_y = np.meshgrid(x, y)
        return grid_x, grid_y

    def lonlat(self, window: Window) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pixel centres of a window in degrees, float64 (h, w) each."""
        lon, lat = transformer(self.pixel_grid.crs, "EPSG:4326").transform(*self.xy(window))
        return np.asarray(lon), np.asarray(lat)

    def near_seam(self, window: Window) -> bool:
        """Whether other zones may have data in a window."""
        if len(self.zones) == 1:
            return False
        rows, cols = window
        corners = [(slice(r, r + 1), slice(c, c + 1)) for r in (rows.start, rows.stop - 1) for c in _ends(cols)]
        lons = [float(self.lonlat(corner)[0][0, 0]) for corner in corners]
        west = (self.pixel_grid.zone - 31) * 6
        return min(lons) < west + SEAM_DEGREES or max(lons) > west + 6 - SEAM_DEGREES

    def wanted(self, window: Window) -> bool:
        """Whether any pixel of a window is wanted."""
        return self.inside is None or bool(self.inside[window].any())

    def blocks(self, height: int, width: int) -> list[Window]:
        """Wanted windows that cover the working grid, cut at multiples of ``height`` and ``width`` of the pixel grid."""
        rows = _cuts(self.row0 - self.phase, self.grid.height, height)
        cols = _cuts(self.col0, self.grid.width, width)
        return [(r, c) for r in rows for c in cols if self.wanted((r, c))]


def _ends(span: slice) -> tuple[int, ...]:
    middle = (span.start + span.stop) // 2
    return (span.start, middle, span.stop - 1)


def _cuts(first: int, length: int, step: int) -> list[slice]:
    edges = [0, *range(-first % step or step, length, step), length]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def centre_zone(region: Region) -> int:
    """Zone of the centre of a region's box."""
    west, _, east, _ = region.bbox
    return zone_of((west + east) / 2)


def working_grid(region: Region, pixel_grid: PixelGrid, *, clip: bool = True) -> WorkingGrid:
    """The working_grid of a region on a pixel grid: the pixels whose centres lie in the region's box, projected.

    A box is taken whole, as geotessera reads it; of other shapes, pixels outside are not wanted.

    Args:
        clip: without, all pixels are wanted and there may be any number, because only parts of the grid will be read.

    Raises:
        InputError: the region is smaller than a pixel, or too large.
    """
    box = region.bbox
    west, south, east, north = transformer("EPSG:4326", pixel_grid.crs).transform_bounds(*box, densify_pts=21)
    px = pixel_grid.pixel
    col0, col1 = math.ceil((west - pixel_grid.west) / px - 0.5), math.floor((east - pixel_grid.west) / px - 0.5) + 1
    row0, row1 = math.ceil((pixel_grid.north - north) / px - 0.5), math.floor((pixel_grid.north - south) / px - 0.5) + 1
    if col1 <= col0 or row1 <= row0:
        raise InputError(f"The region is smaller than a pixel of {px:g} m; draw a larger one.")
    if clip:
        require_pixels(row1 - row0, col1 - col0)
    southern = (box[1] + box[3]) / 2 < 0
    crs = f"EPSG:{32700 + pixel_grid.zone}" if southern else pixel_grid.crs
    top = pixel_grid.north - row0 * px + (FALSE_NORTHING if southern else 0.0)
    grid = Grid(crs, Affine(px, 0, pixel_grid.west + col0 * px, 0, -px, top), (row1 - row0, col1 - col0))
    inside = None
    if clip and not region.geometry.equals(region.geometry.envelope):
        inside = region.mask(grid)
    return WorkingGrid(grid, pixel_grid, row0, col0, inside, _zones(pixel_grid.zone, box, grid))


def _zones(own: int, box: BBox, grid: Grid) -> tuple[int, ...]:
    try:
        west, _, east, _ = grid.bounds_lonlat
    except GridError:
        west, east = box[0], box[2]
    first, last = zone_of(min(west, box[0]) - SEAM_DEGREES), zone_of(max(east, box[2]) + SEAM_DEGREES)
    if last - first > 3:  # the grid's corner wrapped round the 180th meridian
        first, last = own, own
    return (own, *(zone for zone in range(first, last + 1) if zone != own))


# ------------------------------------------------------------------ tiles of 0.1 degrees


def tile_name(lon: float, lat: float) -> str:
    """Published name of the tile with this centre, e.g. ``grid_0.15_52.05``."""
    return f"grid_{lon:.2f}_{lat:.2f}"


def tile_centres(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Centres of the tiles that hold places, in hundredths of a degree."""
    return (
        (np.floor(np.asarray(lon) / TILE_DEGREES + 1e-9) * 10 + 5).astype(np.int64),
        (np.floor(np.asarray(lat) / TILE_DEGREES + 1e-9) * 10 + 5).astype(np.int64),
    )


def tiles_in(region: Region | WideRegion) -> list[tuple[float, float]]:
    """Centres of the tiles that the region touches, north to south, west to east."""
    import shapely

    west, south, east, north = region.bbox
    shapely.prepare(region.geometry)
    columns = range(math.floor(west / TILE_DEGREES + 1e-9), math.floor(east / TILE_DEGREES - 1e-9) + 1)
    edges = np.array([round(i * TILE_DEGREES, 6) for i in (*columns, columns.stop)])
    found = []
    for j in range(math.floor(north / TILE_DEGREES - 1e-9), math.floor(south / TILE_DEGREES + 1e-9) - 1, -1):
        south, north = (round(n * TILE_DEGREES, 6) for n in (j, j + 1))
        boxes = shapely.box(edges[:-1], south, edges[1:], north)
        inside = shapely.intersects(region.geometry, boxes) & ~shapely.touches(region.geometry, boxes)
        lat = round(j * TILE_DEGREES + 0.05, 2)
        found += [(round(i * TILE_DEGREES + 0.05, 2), lat) for i, here in zip(columns, inside, strict=True) if here]
    return found


def names_of(centres: Iterable[tuple[int, int]]) -> list[str]:
    """Names of tiles whose centres are given in hundredths of a degree, sorted."""
    return [tile_name(lon / 100, lat / 100) for lon, lat in sorted(set(centres))]


def named_tiles(grid: Grid, where: NDArray[np.bool_], limit: int = 200_000) -> Iterator[tuple[str, int]]:
    """Names of the tiles under the true pixels of bool (H, W), with their pixel counts (of a regular sample if many)."""
    rows, cols = np.nonzero(where)
    if not rows.size or not grid.georeferenced:
        return
    step = max(1, rows.size // limit)
    lon, lat = grid.pixel_to_lonlat(rows[::step] + 0.5, cols[::step] + 0.5)
    keys = np.stack(tile_centres(lon, lat), 1)
    unique, counts = np.unique(keys, axis=0, return_counts=True)
    for (tile_lon, tile_lat), count in zip(unique, counts, strict=True):
        yield tile_name(tile_lon / 100, tile_lat / 100), int(count) * step
