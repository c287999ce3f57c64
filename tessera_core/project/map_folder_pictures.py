"""Pictures of a folder of maps where its tiles lie on Earth, of so many decoded pixels at most, however large the folder is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from tessera_core._utils.partial import Failure
from tessera_core.errors import RasterError, TesseraError
from tessera_core.gate import raster_errors
from tessera_core.grid import Grid
from tessera_core.project.map_folder_tiles import MapTile, by_system, lies_straight, opened
from tessera_core.project.map_folders import MapFolder, failure, go_on
from tessera_core.project.place_views import Picture, on_earth
from tessera_core.render.display import MAX_PIXELS, MAX_SIDE
from tessera_core.types import BBox, Cancel, Doubles, Progress

# Pixels of all tiles together that are decoded for pictures, and of one tile looked at by itself.
READ_PIXELS, TILE_PIXELS = 400_000_000, 1_500_000
# Pictures of one folder, and pixels that each has at least, where its ground has as many.
MOST_PICTURES, _LEAST = 24, 100_000
# Ground that a picture may show besides tiles, in shares of it, before it becomes two.
_WASTE = 0.5
# Degrees beyond the area of its coordinate system where a tile is no more where somebody meant it: more than a zone of UTM.
_ASTRAY = 10.0


@dataclass(frozen=True)
class GroupPicture:
    """A picture of tiles near each other.

    Attributes:
        picture: of them.
        tiles: their names.
        astray: they lie far outside the ground that their coordinate system is for, which coordinates without meaning do.
    """

    picture: Picture
    tiles: tuple[str, ...]
    astray: bool = False


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

    @property
    def view(self) -> BBox | None:
        """``(west, south, east, north)`` in degrees of what is looked at first: not of tiles astray where there are others."""
        meant = [one for one in self.pictures if not one.astray] or self.pictures
        if not meant:
            return None
        boxes = (one.picture.lonlat for one in meant)
        west, south, east, north = zip(*boxes, strict=True)
        return min(west), min(south), max(east), max(north)


def draw(maps: MapFolder, *, progress: Progress | None = None, cancelled: Cancel | None = None) -> FolderPictures:
    """Pictures of all tiles where they lie on Earth, of :data:`READ_PIXELS` decoded pixels at most.

    Tiles far apart become several pictures, so that ground between them takes no pixels.

    Raises:
        Cancelled: ``cancelled`` said so.
    """
    nowhere = {tile.name for tile in maps.tiles if not lies_straight(tile.grid)}
    groups = _groups([tile for tile in maps.tiles if tile.name not in nowhere])
    native = [math.prod(_frame(group)[1]) for group in groups]
    pictures, unread, failed, read, done = [], [], [], 0, 0
    for group, pixels in zip(groups, native, strict=True):
        most = int(max(MAX_PIXELS * pixels / sum(native), min(_LEAST, MAX_PIXELS / (4 * len(groups)))))
        mosaic = _Mosaic(group, most)
        for tile in group:
            go_on(done, len(maps.tiles), tile.name, progress, cancelled)
            done += 1
            try:
                taken = mosaic.add(tile, READ_PIXELS - read)
            except TesseraError as error:
                failed.append(failure(tile.name, error))
                continue
            if not taken:
                unread.append(tile.name)
            read += taken
        picture = on_earth(mosaic.classes, mosaic.grid, {c.id: c.color for c in maps.legend}, most)
        if picture is None:
            nowhere |= {tile.name for tile in group}
        else:
            astray = _astray(group[0].grid.crs, picture.lonlat)
            pictures.append(GroupPicture(picture, tuple(tile.name for tile in group), astray))
    drawn = len(maps.tiles) - len(failed) - len(unread) - len(nowhere - {one.what for one in failed} - set(unread))
    return FolderPictures(tuple(pictures), drawn, tuple(unread), tuple(sorted(nowhere)), tuple(failed))


def draw_tile(maps: MapFolder, tile: MapTile) -> Picture | None:
    """A tile by itself, as finely as :data:`TILE_PIXELS` allow; None where a map of the Earth cannot show it.

    Raises:
        RasterError: its pixels cannot be read, or it is too large and without smaller copies of itself.
    """
    if not lies_straight(tile.grid):
        return None
    mosaic = _Mosaic([tile], TILE_PIXELS)
    if not mosaic.add(tile, READ_PIXELS):
        raise RasterError(f"{tile.name}.tif has more pixels than are read here; open it in a GIS.")
    return on_earth(mosaic.classes, mosaic.grid, {c.id: c.color for c in maps.legend}, TILE_PIXELS)


def _astray(crs: str | None, lonlat: BBox) -> bool:
    """Whether the middle of a box in degrees is farther than :data:`_ASTRAY` from the ground that a system is for."""
    area = None if crs is None else CRS.from_user_input(crs).area_of_use
    if area is None:
        return False
    lon, lat = (lonlat[0] + lonlat[2]) / 2, (lonlat[1] + lonlat[3]) / 2
    # An area may lie across the 180th meridian, with its west east of its east.
    beyond = (lon - area.west) % 360 - (area.east - area.west) % 360
    outside = area.east - area.west < 360 and _ASTRAY < beyond < (360 - (area.east - area.west) % 360) - _ASTRAY
    return outside or not area.south - _ASTRAY <= lat <= area.north + _ASTRAY


class _Mosaic:
    """Tiles of one coordinate system as one array of at most so many pixels: ``classes``, uint8 (H, W) on ``grid``."""

    def __init__(self, tiles: Sequence[MapTile], most: int) -> None:
        (west, north), (height, width), (wide, high) = _frame(tiles)
        times = max(1.0, (height * width / most) ** 0.5, max(height, width) / MAX_SIDE)
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
        with opened(tile) as file:
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


def _frame(tiles: Sequence[MapTile]) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float]]:
    """North-west corner of tiles of one system, rows and columns of their finest pixels, and those pixels' width and height."""
    boxes = np.array([tile.grid.bounds for tile in tiles], np.float64)
    (west, south), (east, north) = boxes[:, :2].min(0).tolist(), boxes[:, 2:].max(0).tolist()
    wide, high = min(tile.grid.transform.a for tile in tiles), min(-tile.grid.transform.e for tile in tiles)
    return (west, north), ((north - south) / high, (east - west) / wide), (wide, high)


def _groups(tiles: Sequence[MapTile]) -> list[list[MapTile]]:
    """Tiles that share a picture: of one system, and near each other where they would else be far between."""
    done: list[list[MapTile]] = []
    open_ = [members for _, members in sorted(by_system(tiles).items())]
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
