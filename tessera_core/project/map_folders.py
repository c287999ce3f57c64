"""A folder of maps made tile by tile, looked at as one: its tiles, what each class covers, and pictures where they lie on Earth.

Read are the notes beside the tiles, which say what each covers, and of the tiles' pixels no more than a picture needs, however many
tiles there are. The virtual rasters beside them are for other programs; here no file says which other is opened.
"""

from __future__ import annotations

import math
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
from tessera_core.areas import CAVEAT, MappedArea, hectares
from tessera_core.errors import Cancelled, InputError, RasterError, TesseraError
from tessera_core.gate import open_raster, raster_errors
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
_KINDS = {CLASSES: "map", CHANGE: "change"}


@dataclass(frozen=True)
class MapTile:
    """A tile's map.

    Attributes:
        name: of the tile.
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
        """What each class covers; 0 is what has no data, with a share of 0."""
        return _areas([self])


@dataclass(frozen=True)
class MapFolder:
    """Maps of tiles, of one head (or one comparison of two years).

    Attributes:
        folder: that holds them.
        kind: ``"map"`` of classes or ``"change"``.
        tiles: by name.
        legend: names and colours of the class ids.
        failed: tiles whose note or map cannot be read.
    """

    folder: Path
    kind: str
    tiles: tuple[MapTile, ...]
    legend: tuple[LabelClass, ...]
    failed: tuple[Failure, ...] = ()

    def areas(self) -> dict[int, MappedArea]:
        """What each class covers of all tiles; 0 is what has no data, with a share of 0.

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
            told.append(f"{c.name}: {much} ({100 * area.share:.1f} %).")
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
    failed: list[Failure] = []
    kinds: set[str] = set()
    notes = find_notes(folder)
    for number, note in enumerate(notes):
        _go_on(number, len(notes), note.stem, progress, cancelled)
        try:
            found = read_note(note)
        except TesseraError as error:
            # Of a program that leaves other notes we say nothing.
            if note.with_suffix(".tif").is_file():
                failed.append(Failure(note.stem, str(error)))
            continue
        if found is None:
            continue
        try:
            tiles.append(_tile(note, found[1], kind := _KINDS[found[0]]))
            kinds.add(kind)
        except (TesseraError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
            failed.append(
                Failure(note.stem, f"{note.name} does not say what the tile's map covers; map the tile again.")
            )
    if not tiles:
        raise InputError(
            failed[0].why
            if failed
            else f"There are no maps made tile by tile in {folder.name}; choose a folder that 'tessera map --tiles' wrote."
        )
    if len(kinds) > 1:
        raise InputError(f"{folder.name} holds maps of classes and maps of change; put each into a folder of its own.")
    return MapFolder(folder, kinds.pop(), tuple(tiles), _legend(tiles), tuple(failed))


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
                taken = mosaic.add(tile, maps.legend, READ_PIXELS - read)
            except TesseraError as error:
                failed.append(Failure(tile.name, str(error)))
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
    if not mosaic.add(tile, maps.legend, READ_PIXELS):
        raise RasterError(f"{tile.file.name} has more pixels than are read here; open it in a GIS.")
    return on_earth(mosaic.classes, mosaic.grid, {c.id: c.color for c in maps.legend}, TILE_PIXELS)


# -------------------------------------------------------------------- notes


def _tile(note: Path, said: Mapping[str, Any], kind: str) -> MapTile:
    """What a note says; raises where it says it in another way."""
    grid = Grid.from_json(said["grid"])
    if kind == "map":
        pixels = {int(i): _amount(n) for i, n in said["classes"].items()}
        told = {int(i): None if v is None else float(v) for i, v in said["hectares"].items()}
    else:
        changed = _amount(said["changed"])
        pixels = {0: math.prod(grid.shape) - _amount(said["pixels"]), 1: said["pixels"] - changed, 2: changed}
        told = {i: hectares(n, grid) for i, n in pixels.items() if i}
    known = [v for v in told.values() if v is not None]
    if not all(0 <= i <= MAX_CLASS_ID for i in pixels) or not all(math.isfinite(v) and v >= 0 for v in known):
        raise ValueError
    if min(pixels.values(), default=0) < 0:
        raise ValueError
    return MapTile(note.stem, note.with_suffix(".tif"), grid, pixels, told)


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
    mapped = max(sum(n for i, n in pixels.items() if i), 1)
    return {i: MappedArea(n, n / mapped if i else 0.0, covered.get(i)) for i, n in sorted(pixels.items())}


def _legend(tiles: Sequence[MapTile]) -> tuple[LabelClass, ...]:
    """Names and colours of all ids that tiles have, from the tags of as few of them as name all; else their numbers."""
    wanted = {i for tile in tiles for i in tile.pixels if i}
    found: dict[int, LabelClass] = {}
    tried: set[int] = set()
    for tile in tiles:
        if not {i for i, n in tile.pixels.items() if n and i} - found.keys() - tried:
            continue
        try:
            with _opened(tile) as file:
                tags = file.tags(1)
        except TesseraError:
            continue
        tried |= {i for i, n in tile.pixels.items() if n}
        for i in wanted - found.keys():
            name = clean_name(tags.get(f"class_{i}", ""))
            if name:
                colour = parse_color(tags.get(f"class_{i}_color")) or color_for(name, found.values(), i)
                found[i] = LabelClass(i, name, colour)
    for i in sorted(wanted - found.keys()):
        found[i] = LabelClass(i, str(i), color_for(str(i), found.values(), i))
    return tuple(found[i] for i in sorted(found))


# ----------------------------------------------------------------- pictures


@contextmanager
def _opened(tile: MapTile) -> Iterator[DatasetReader]:
    """A tile's map, open for reading.

    Raises:
        RasterError: it cannot be read, or is another raster than its note says.
    """
    with open_raster(tile.file) as file:
        there = file.transform.almost_equals(tile.grid.transform, 1e-6) and (file.height, file.width) == tile.grid.shape
        if file.count != 1 or file.dtypes[0] != "uint8" or not there:
            raise RasterError(f"{tile.file.name} is not the map that {tile.name}.json is about; map the tile again.")
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

    def add(self, tile: MapTile, legend: Sequence[LabelClass], left: int) -> int:
        """Put a tile in; how many pixels were decoded for it, 0 where they would be more than are ``left``.

        Raises:
            RasterError: it cannot be read, or names its classes otherwise.
        """
        west, south, east, north = tile.grid.bounds
        x, y = self.grid.transform.c, self.grid.transform.f
        rows = _cells((y - north) / self._step[1], (y - south) / self._step[1], self.classes.shape[0])
        cols = _cells((west - x) / self._step[0], (east - x) / self._step[0], self.classes.shape[1])
        shape = rows.stop - rows.start, cols.stop - cols.start
        with _opened(tile) as file:
            tags, thinner = file.tags(1), min(file.height / shape[0], file.width / shape[1])
            # GDAL reads the smallest copy that is still as fine as what is asked for.
            factor = max((f for f in file.overviews(1) if f <= thinner), default=1)
            decoded: int = math.ceil(file.height / factor) * math.ceil(file.width / factor)
            if decoded > left:
                return 0
            for one in legend:
                name = clean_name(tags.get(f"class_{one.id}", ""))
                if name and name != one.name and tile.pixels.get(one.id):
                    raise RasterError(
                        f"{tile.file.name} calls class {one.id} {name}, other tiles call it {one.name}; maps of different heads "
                        "belong into folders of their own."
                    )
            try:
                values = file.read(1, out_shape=shape)
            except raster_errors() as error:
                raise RasterError(f"{tile.file.name} is damaged; map the tile again.") from error
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
