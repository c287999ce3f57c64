"""A tile of a folder of maps: what its note says it covers, held to itself and to the file beside it, and where it lies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyproj.exceptions import ProjError

from tessera_core.areas import MappedArea, hectares, hectares_per_pixel
from tessera_core.errors import RasterError
from tessera_core.gate import open_raster
from tessera_core.grid import Grid, transformer
from tessera_core.labels.model import MAX_CLASS_ID

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

# Rows or columns of a GeoTIFF, places in units of any system of the Earth, and sides of a pixel in them.
_MOST_CELLS, _FARTHEST, _SIDES = 2**31, 1e9, (1e-9, 1e9)


@dataclass(frozen=True)
class MapTile:
    """A tile's map.

    Attributes:
        name: of the tile, as it can be shown.
        file: GeoTIFF, uint8 class ids with 0 for no data.
        grid: of it.
        pixels: class id -> pixels, 0 among them.
        hectares: class id -> hectares without 0; None where the tile lies nowhere on Earth.
    """

    name: str
    file: Path
    grid: Grid
    pixels: Mapping[int, int]
    hectares: Mapping[int, float | None]

    def areas(self) -> dict[int, MappedArea]:
        """What each class covers; 0 is what has no data, with a share of 0. Shares are those of :meth:`MapFolder.areas`."""
        return areas_of([self])


def tile_of(note: Path, name: str, said: Mapping[str, Any], kind: str) -> MapTile:
    """What a note says; raises where it says it in another way, or says what cannot be."""
    grid = Grid.from_json(said["grid"])
    _require_possible(grid)
    if kind == "map":
        pixels = {int(i): _amount(n) for i, n in said["classes"].items()}
        # Of a class without pixels older notes say nothing.
        told = {i: said["hectares"][str(i)] if n else said["hectares"].get(str(i), 0.0) for i, n in pixels.items() if i}
    else:
        mapped, changed = _amount(said["pixels"]), _amount(said["changed"])
        pixels = {0: math.prod(grid.shape) - mapped, 1: mapped - changed, 2: changed}
        told = {2: said["hectares"]}
    if not all(0 <= i <= MAX_CLASS_ID and n >= 0 for i, n in pixels.items()):
        raise ValueError
    if sum(pixels.values()) != math.prod(grid.shape):
        raise ValueError
    one = hectares(1, grid)
    covered = {i: None if one is None else n * one for i, n in pixels.items() if i}
    for i, value in told.items():
        known = covered[i]
        if known is None or value is None:
            if grid.georeferenced and pixels[i]:
                raise ValueError
        elif not math.isclose(float(value), known, rel_tol=1e-3, abs_tol=1e-2):
            raise ValueError
    return MapTile(name, note.with_suffix(".tif"), grid, pixels, covered)


def _require_possible(grid: Grid) -> None:
    """Raise where no map is so large, so far away, or of such pixels: sums and quotients of them need not be numbers."""
    t = grid.transform
    sides = math.hypot(t.a, t.d), math.hypot(t.b, t.e)
    if max(grid.shape) >= _MOST_CELLS or not all(_SIDES[0] <= side <= _SIDES[1] for side in sides):
        raise ValueError
    if not all(abs(place) <= _FARTHEST for place in grid.bounds):
        raise ValueError
    # Beyond the poles, or of pixels that are a line, there is no area.
    if grid.crs is not None and not 0 < hectares_per_pixel(grid) < math.inf:
        raise ValueError


def _amount(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError
    return value


def areas_of(tiles: Iterable[MapTile]) -> dict[int, MappedArea]:
    """What each class covers of tiles together, by class id; see :meth:`tessera_core.project.map_folders.MapFolder.areas`."""
    pixels: dict[int, int] = {}
    covered: dict[int, float | None] = {}
    for tile in tiles:
        for i, n in tile.pixels.items():
            pixels[i] = pixels.get(i, 0) + n
        for i, value in tile.hectares.items():
            known = covered.get(i, 0.0)
            covered[i] = None if known is None or value is None else known + value
    sizes: dict[int, float] = {i: n for i, n in pixels.items() if i}
    known_sizes = {i: value for i in sizes if (value := covered.get(i)) is not None}
    if len(known_sizes) == len(sizes):
        sizes = known_sizes
    mapped = sum(sizes.values()) or 1
    return {i: MappedArea(n, sizes[i] / mapped if i else 0.0, covered.get(i)) for i, n in sorted(pixels.items())}


@contextmanager
def opened(tile: MapTile) -> Iterator[DatasetReader]:
    """A tile's map, open for reading.

    Raises:
        RasterError: it cannot be read, or is another raster than its note says.
    """
    with open_raster(tile.file) as file:
        # What lies nowhere on Earth is written without a place.
        there = tile.grid.crs is None or file.transform.almost_equals(tile.grid.transform, 1e-6)
        there = there and (file.height, file.width) == tile.grid.shape
        if file.count != 1 or file.dtypes[0] != "uint8" or not there:
            raise RasterError(f"{tile.name}.tif is not the map that {tile.name}.json is about; map the tile again.")
        yield file


def lies_straight(grid: Grid) -> bool:
    """Whether rows run from north to south and columns from west to east, somewhere on Earth."""
    t = grid.transform
    if grid.crs is None or t.b or t.d or t.a <= 0 or t.e >= 0:
        return False
    try:
        transformer("EPSG:4326", grid.crs)
    except ProjError:
        # Of another planet.
        return False
    return True


def by_system(tiles: Iterable[MapTile]) -> dict[str, list[MapTile]]:
    """Tiles by their coordinate system, without those that have none."""
    found: dict[str, list[MapTile]] = {}
    for tile in tiles:
        if tile.grid.crs is not None:
            found.setdefault(tile.grid.crs, []).append(tile)
    return found
