"""A folder of maps made tile by tile, looked at as one: its tiles, what each class covers, and pictures where they lie on Earth.

Read are the notes beside the tiles, which say what each covers, the names of classes in every tile's file, and of the tiles' pixels
no more than a picture needs, however many tiles there are. The virtual rasters beside them are for other programs; here no file
says which other is opened.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj.exceptions import ProjError

from tessera_core._utils.partial import Failure
from tessera_core._utils.percents import percent
from tessera_core.areas import CAVEAT, MappedArea, hectares
from tessera_core.errors import Cancelled, InputError, RasterError, TesseraError
from tessera_core.gate import open_raster, raster_errors, whole_letters
from tessera_core.grid import Grid, transformer
from tessera_core.labels.colors import color_for
from tessera_core.labels.importing import parse_color
from tessera_core.labels.model import MAX_CLASS_ID, LabelClass, clean_name
from tessera_core.project.map_notes import CHANGE, CLASSES, find_notes, read_note
from tessera_core.project.place_views import Picture, on_earth
from tessera_core.render.display import MAX_PIXELS
from tessera_core.types import Cancel, Doubles, Progress

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

# Pixels of all tiles together that are decoded for pictures, and of one tile looked at by itself.
READ_PIXELS, TILE_PIXELS = 400_000_000, 1_500_000
# Pictures of one folder, and pixels that each has at least, where its ground has as many.
MOST_PICTURES, _LEAST = 24, 100_000
# Ground that a picture may show besides tiles, in shares of it, before it becomes two.
_WASTE = 0.5
# Rows or columns of a GeoTIFF, places in units of any system of the Earth, and sides of a pixel in them.
_MOST_CELLS, _FARTHEST, _SIDES = 2**31, 1e9, (1e-9, 1e9)
_KINDS = {CLASSES: "map", CHANGE: "change"}


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
        return _areas([self])


@dataclass(frozen=True)
class MapFolder:
    """Maps of tiles, of one head (or one comparison of two years).

    Attributes:
        folder: that holds them.
        kind: ``"map"`` of classes or ``"change"``.
        tiles: by name.
        legend: names and colours of the class ids.
        failed: tiles whose note or map cannot be read, or that call classes otherwise than most do; they count nowhere.
    """

    folder: Path
    kind: str
    tiles: tuple[MapTile, ...]
    legend: tuple[LabelClass, ...]
    failed: tuple[Failure, ...] = ()

    def areas(self) -> dict[int, MappedArea]:
        """What each class covers of all tiles; 0 is what has no data, with a share of 0.

        Shares are of the hectares, for tiles may have pixels of different sizes; of the pixels where a tile lies nowhere on Earth.
        These are counted pixels: the map's mistakes shift them (:data:`tessera_core.areas.CAVEAT`).
        """
        return _areas(self.tiles)

    @property
    def systems(self) -> list[str]:
        """Coordinate systems that tiles lie in."""
        return sorted({tile.grid.crs for tile in self.tiles if tile.grid.crs is not None})

    def sentences(self) -> list[str]:
        """What lies there, in plain words."""
        areas = self.areas()
        what = "A map of classes" if self.kind == "map" else "A map of change"
        where = f", in {', '.join(self.systems)}" if self.systems else ""
        told = [f"{what} in {len(self.tiles):,} tiles{where}."]
        for c in self.legend:
            area = areas.get(c.id, MappedArea(0, 0.0, 0.0))
            much = f"{area.pixels:,} pixels" if area.hectares is None else f"{area.hectares:,.1f} ha"
            told.append(f"{c.name}: {much} ({percent(area.share, 1)} %).")
        return [*told, CAVEAT]

    def at(self, lon: float, lat: float) -> MapTile | None:
        """The tile over a place in degrees, the last by name where several are; None where there is none."""
        found = None
        for crs, members in _by_system(tile for tile in self.tiles if _lies_straight(tile.grid)).items():
            x, y = transformer("EPSG:4326", crs).transform(lon, lat)
            for tile in members:
                west, south, east, north = tile.grid.bounds
                if west <= x < east and south < y <= north and (found is None or tile.name > found.name):
                    found = tile
        return found


@dataclass(frozen=True)
class GroupPicture:
    """A picture of tiles near each other, and their names."""

    picture: Picture
    tiles: tuple[str, ...]


@dataclass(frozen=True)
class FolderPictures:
    """What is drawn of a folder of maps.

    Attributes:
        pictures: where tiles lie, thinned to some :data:`~tessera_core.render.display.MAX_PIXELS` pixels together.
        drawn: how many tiles they show.
        unread: names of tiles left out because all before them took what is read at most.
        nowhere: names of tiles that a map of the Earth cannot show.
        failed: tiles whose pixels cannot be read.
    """

    pictures: tuple[GroupPicture, ...]
    drawn: int
    unread: tuple[str, ...] = ()
    nowhere: tuple[str, ...] = ()
    failed: tuple[Failure, ...] = ()


def open_maps(folder: str | Path, *, progress: Progress | None = None, cancelled: Cancel | None = None) -> MapFolder:
    """What lies in a folder of maps that ``tessera map --tiles`` or ``tessera change --tiles`` made, by its notes.

    Args:
        folder: that holds ``NAME.tif`` and ``NAME.json`` of each tile; folders in it are not looked into.
        progress, cancelled: see docs/architecture.md.

    Raises:
        InputError: there are no such maps, or maps and change together.
        Cancelled: ``cancelled`` said so.

    Example:
        >>> open_maps("maps").areas()[1].hectares  # doctest: +SKIP
        812.4
    """
    folder = Path(folder)
    tiles: list[MapTile] = []
    told: list[dict[int, tuple[str, str | None]]] = []
    failed: list[Failure] = []
    names: set[str] = set()
    kinds: set[str] = set()
    notes = find_notes(folder)
    for number, note in enumerate(notes):
        name = _shown(note.stem, names)
        _go_on(number, len(notes), name, progress, cancelled)
        try:
            found = read_note(note)
        except TesseraError as error:
            # Of a program that leaves other notes we say nothing.
            if note.with_suffix(".tif").is_file():
                failed.append(_failure(name, error))
            continue
        if found is None:
            continue
        try:
            tile = _tile(note, name, found[1], kind := _KINDS[found[0]])
        except (TesseraError, ProjError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
            failed.append(Failure(name, f"{name}.json does not say what the tile's map covers; map the tile again."))
            continue
        try:
            told.append(_named(tile))
        except TesseraError as error:
            failed.append(_failure(name, error))
            continue
        tiles.append(tile)
        kinds.add(kind)
    if len(kinds) > 1:
        raise InputError(f"{folder.name} holds maps of classes and maps of change; put each into a folder of its own.")
    legend = _legend(tiles, told)
    tiles, others = _of_one_legend(tiles, told, legend)
    failed += others
    if not tiles:
        raise InputError(
            failed[0].why
            if failed
            else f"There are no maps made tile by tile in {folder.name}; choose a folder that 'tessera map --tiles' wrote."
        )
    return MapFolder(folder, kinds.pop(), tuple(tiles), legend, tuple(sorted(failed)))


def draw(maps: MapFolder, *, progress: Progress | None = None, cancelled: Cancel | None = None) -> FolderPictures:
    """Pictures of all tiles where they lie on Earth, of :data:`READ_PIXELS` decoded pixels at most.

    Tiles far apart become several pictures, so that ground between them takes no pixels.

    Raises:
        Cancelled: ``cancelled`` said so.
    """
    nowhere = {tile.name for tile in maps.tiles if not _lies_straight(tile.grid)}
    groups = _groups([tile for tile in maps.tiles if tile.name not in nowhere])
    native = [math.prod(_frame(group)[1]) for group in groups]
    pictures, unread, failed, read, done = [], [], [], 0, 0
    for group, pixels in zip(groups, native, strict=True):
        most = int(max(MAX_PIXELS * pixels / sum(native), min(_LEAST, MAX_PIXELS / (4 * len(groups)))))
        mosaic = _Mosaic(group, most)
        for tile in group:
            _go_on(done, len(maps.tiles), tile.name, progress, cancelled)
            done += 1
            try:
                taken = mosaic.add(tile, READ_PIXELS - read)
            except TesseraError as error:
                failed.append(_failure(tile.name, error))
                continue
            if not taken:
                unread.append(tile.name)
            read += taken
        picture = on_earth(mosaic.classes, mosaic.grid, {c.id: c.color for c in maps.legend}, most)
        if picture is None:
            nowhere |= {tile.name for tile in group}
        else:
            pictures.append(GroupPicture(picture, tuple(tile.name for tile in group)))
    drawn = len(maps.tiles) - len(failed) - len(unread) - len(nowhere - {one.what for one in failed} - set(unread))
    return FolderPictures(tuple(pictures), drawn, tuple(unread), tuple(sorted(nowhere)), tuple(failed))


def draw_tile(maps: MapFolder, tile: MapTile) -> Picture | None:
    """A tile by itself, as finely as :data:`TILE_PIXELS` allow; None where a map of the Earth cannot show it.

    Raises:
        RasterError: its pixels cannot be read, or it is too large and without smaller copies of itself.
    """
    if not _lies_straight(tile.grid):
        return None
    mosaic = _Mosaic([tile], TILE_PIXELS)
    if not mosaic.add(tile, READ_PIXELS):
        raise RasterError(f"{tile.name}.tif has more pixels than are read here; open it in a GIS.")
    return on_earth(mosaic.classes, mosaic.grid, {c.id: c.color for c in maps.legend}, TILE_PIXELS)


# -------------------------------------------------------------------- notes


def _shown(stem: str, taken: set[str]) -> str:
    """A file's name as it can be shown, each once: bytes that are no letters become U+FFFD."""
    name = plain = whole_letters(stem)
    number = 2
    while name in taken:
        name, number = f"{plain} ({number})", number + 1
    taken.add(name)
    return name


def _failure(name: str, error: TesseraError) -> Failure:
    return Failure(name, whole_letters(str(error)))


def _tile(note: Path, name: str, said: Mapping[str, Any], kind: str) -> MapTile:
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


def _amount(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError
    return value


def _areas(tiles: Iterable[MapTile]) -> dict[int, MappedArea]:
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


def _named(tile: MapTile) -> dict[int, tuple[str, str | None]]:
    """Name and colour of each class id that a tile's file names.

    Raises:
        RasterError: it cannot be read, or is another raster than its note says.
    """
    with _opened(tile) as file:
        tags = file.tags(1)
    names = {i: clean_name(tags.get(f"class_{i}", "")) for i in tile.pixels if i}
    return {i: (name, parse_color(tags.get(f"class_{i}_color"))) for i, name in names.items() if name}


def _legend(tiles: Sequence[MapTile], told: Sequence[Mapping[int, tuple[str, str | None]]]) -> tuple[LabelClass, ...]:
    """Each id as most of the tiles call it that have pixels of it, the first of them where as many call it otherwise."""
    found: dict[int, LabelClass] = {}
    for i in sorted({i for tile in tiles for i in tile.pixels if i}):
        # Tiles without a pixel of it are asked where no other names it.
        votes = [
            Counter(said[i][0] for tile, said in zip(tiles, told, strict=True) if i in said and tile.pixels[i] >= least)
            for least in (1, 0)
        ]
        name = next((some.most_common(1)[0][0] for some in votes if some), str(i))
        colour = next((said[i][1] for said in told if i in said and said[i][0] == name), None)
        found[i] = LabelClass(i, name, colour or color_for(name, found.values(), i))
    return tuple(found.values())


def _of_one_legend(
    tiles: Sequence[MapTile], told: Sequence[Mapping[int, tuple[str, str | None]]], legend: Sequence[LabelClass]
) -> tuple[list[MapTile], list[Failure]]:
    """The tiles whose classes are those of the legend, and the others."""
    names = {c.id: c.name for c in legend}
    kept: list[MapTile] = []
    failed: list[Failure] = []
    for tile, said in zip(tiles, told, strict=True):
        other = next((i for i, n in tile.pixels.items() if n and i in said and said[i][0] != names[i]), None)
        if other is None:
            kept.append(tile)
        else:
            why = (
                f"{tile.name}.tif calls class {other} {said[other][0]}, other tiles call it {names[other]}; maps of different "
                "heads belong into folders of their own."
            )
            failed.append(Failure(tile.name, why))
    return kept, failed


# ----------------------------------------------------------------- pictures


@contextmanager
def _opened(tile: MapTile) -> Iterator[DatasetReader]:
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


class _Mosaic:
    """Tiles of one coordinate system as one array of at most so many pixels: ``classes``, uint8 (H, W) on ``grid``."""

    def __init__(self, tiles: Sequence[MapTile], most: int) -> None:
        (west, north), (height, width), (wide, high) = _frame(tiles)
        times = max(1.0, (height * width / most) ** 0.5)
        self._step = wide * times, high * times
        shape = max(1, math.ceil(height / times - 1e-6)), max(1, math.ceil(width / times - 1e-6))
        self.grid = Grid(tiles[0].grid.crs, Affine(self._step[0], 0, west, 0, -self._step[1], north), shape)
        self.classes: NDArray[np.uint8] = np.zeros(shape, np.uint8)

    def add(self, tile: MapTile, left: int) -> int:
        """Put a tile in; how many pixels were decoded for it, 0 where they would be more than are ``left``.

        Raises:
            RasterError: it cannot be read.
        """
        west, south, east, north = tile.grid.bounds
        x, y = self.grid.transform.c, self.grid.transform.f
        rows = _cells((y - north) / self._step[1], (y - south) / self._step[1], self.classes.shape[0])
        cols = _cells((west - x) / self._step[0], (east - x) / self._step[0], self.classes.shape[1])
        shape = rows.stop - rows.start, cols.stop - cols.start
        with _opened(tile) as file:
            thinner = min(file.height / shape[0], file.width / shape[1])
            # GDAL reads the smallest copy that is still as fine as what is asked for.
            factor = max((f for f in file.overviews(1) if f <= thinner), default=1)
            decoded: int = math.ceil(file.height / factor) * math.ceil(file.width / factor)
            if decoded > left:
                return 0
            try:
                values = file.read(1, out_shape=shape)
            except raster_errors() as error:
                raise RasterError(f"{tile.name}.tif is damaged; map the tile again.") from error
        part = self.classes[rows, cols]
        np.copyto(part, values, where=values != 0)
        return decoded


def _cells(start: float, stop: float, length: int) -> slice:
    """The cells whose middles lie between two places, one at least."""
    first, last = math.ceil(start - 0.5 - 1e-6), math.ceil(stop - 0.5 - 1e-6)
    if last <= first:
        first = math.floor((start + stop) / 2)
        last = first + 1
    first = min(max(first, 0), length - 1)
    return slice(first, min(max(last, first + 1), length))


def _lies_straight(grid: Grid) -> bool:
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


def _by_system(tiles: Iterable[MapTile]) -> dict[str, list[MapTile]]:
    found: dict[str, list[MapTile]] = {}
    for tile in tiles:
        if tile.grid.crs is not None:
            found.setdefault(tile.grid.crs, []).append(tile)
    return found


def _frame(tiles: Sequence[MapTile]) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float]]:
    """North-west corner of tiles of one system, rows and columns of their finest pixels, and those pixels' width and height."""
    boxes = np.array([tile.grid.bounds for tile in tiles], np.float64)
    (west, south), (east, north) = boxes[:, :2].min(0).tolist(), boxes[:, 2:].max(0).tolist()
    wide, high = min(tile.grid.transform.a for tile in tiles), min(-tile.grid.transform.e for tile in tiles)
    return (west, north), ((north - south) / high, (east - west) / wide), (wide, high)


def _groups(tiles: Sequence[MapTile]) -> list[list[MapTile]]:
    """Tiles that share a picture: of one system, and near each other where they would else be far between."""
    done: list[list[MapTile]] = []
    open_ = [members for _, members in sorted(_by_system(tiles).items())]
    while open_:
        wasted = [_waste(members) for members in open_]
        worst = int(np.argmax(wasted))
        members = open_.pop(worst)
        halves = None
        if wasted[worst] > _WASTE and len(done) + len(open_) + 2 <= MOST_PICTURES:
            halves = _halves(members)
        if halves is None:
            done.append(members)
        else:
            open_ += halves
    return done


def _waste(tiles: Sequence[MapTile]) -> float:
    """The share of the tiles' frame that is no tile."""
    boxes = np.array([tile.grid.bounds for tile in tiles], np.float64)
    frame = np.prod(boxes[:, 2:].max(0) - boxes[:, :2].min(0))
    return float(1 - np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).sum() / frame)


def _halves(tiles: Sequence[MapTile]) -> list[list[MapTile]] | None:
    """Tiles on either side of the widest gap from north to south or from west to east; None where there is none."""
    boxes = np.array([tile.grid.bounds for tile in tiles], np.float64)
    widest, cut = 0.0, None
    for axis in (0, 1):
        order: NDArray[np.intp] = np.argsort(boxes[:, axis], kind="stable")
        reach: Doubles = np.maximum.accumulate(boxes[order, axis + 2])
        gaps = boxes[order[1:], axis] - reach[:-1]
        if len(gaps) and gaps.max() > widest:
            widest, at = float(gaps.max()), int(gaps.argmax()) + 1
            cut = order[:at], order[at:]
    return None if cut is None else [[tiles[n] for n in sorted(half.tolist())] for half in cut]


def _go_on(done: int, total: int, name: str, progress: Progress | None, cancelled: Cancel | None) -> None:
    if cancelled is not None and cancelled():
        raise Cancelled
    if progress is not None:
        progress(done, total, name)
