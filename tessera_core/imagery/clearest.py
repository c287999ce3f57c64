"""The clearest days of a year at some places, from an archive: four bands around each place, and no whole region.

A whole year of a region is gigabytes, of which pictures of places need little. Scenes are asked from the least cloudy on, season
by season, until every place has been seen clearly; of a file only the blocks under the places travel.
"""

from __future__ import annotations

import contextvars
import datetime as dt
import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tessera_core.dpixels import preprocess
from tessera_core.dpixels.acquire import Catalogue, Window
from tessera_core.dpixels.acquire.catalogue import SentinelScene
from tessera_core.dpixels.acquire.read import AssetError, read_parts
from tessera_core.dpixels.tile import S2_BANDS, DPixelTile
from tessera_core.errors import AcquisitionError, Cancelled
from tessera_core.grid import Grid
from tessera_core.imagery.places import HALF, Line, PlacePictures, place_pictures
from tessera_core.render.canvas import SEASONS
from tessera_core.types import Cancel, Progress

BANDS = ("B04", "B02", "B03", "B08")
"""Red, blue, green and infrared: what both pictures of a day are made of."""
SEEN, ENOUGH = 0.5, 0.9
"""Share of a picture that is seen clearly: from where on it is kept, and from where on no better day is looked for."""
SERIES_A_MONTH = 2
"""Days of a month, the least cloudy first, of which greenness is fetched for the series of places."""
MOST_DAYS = 8
"""Days of a season that are looked at, the least cloudy first."""
BLOCK_PX = 512
"""Rows and columns of the blocks in which archives keep their files."""
ASKING = "Asking the archive which pictures there are…"
_MOST_FAILED = 6
_TIMEOUT_S = 30.0
_WORKERS = 4
# How often it is asked whether somebody stops.
_LOOK_S = 0.2
# A block of 512 x 512 pixels as it travels; days looked at and days taken of a season, a guess.
_BLOCK_BYTES, _LOOKED, _TAKEN = 370_000, 2.5, 1.5


@dataclass
class _Place:
    """A place, the part of the grid around it, and its days so far: date to mask (h, w) and bands (h, w, 4)."""

    number: int
    row: int
    col: int
    rows: slice
    cols: slice
    days: dict[str, tuple[dt.date, float, NDArray[np.bool_], NDArray[np.float32]]] = field(default_factory=dict)
    # Seasons, or days of the year, of which a file could not be read.
    failed: set[str | int] = field(default_factory=set)

    def share(self, season: str) -> float:
        """Of its picture of a season, what is seen clearly; 0 where there is none."""
        return self.days[season][1] if season in self.days else 0.0


@dataclass
class Seen:
    """What came of a fetch.

    Attributes:
        missing: sentences naming files that could not be read; other days were taken in their place.
        left_out: sentences naming items of the catalogue that cannot be used.
    """

    missing: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def clearest_pictures(
    grid: Grid,
    places: Sequence[tuple[int, int]],
    window: Window,
    catalogue: Catalogue,
    seen: Seen,
    *,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Iterator[tuple[int, PlacePictures]]:
    """The pictures of places, as they are ready: those of one block of the archive's files together.

    Args:
        grid: a georeferenced one.
        places: row and column of each.
        window: a calendar year.
        catalogue: from where.
        seen: is told what could not be had.

    Yields:
        Number of a place and its pictures, those of the clearest day of each season; places never seen clearly have none. Where
        a file failed and no other day is as good as clear, they say so (``unread``).

    Raises:
        AcquisitionError: the archive does not answer, has nothing for this year, or its files cannot be read.
        Cancelled: ``cancelled`` returned true.
    """
    if not places:
        return
    if progress is not None:
        progress(0, len(places), ASKING)
    scenes = _stoppable(lambda: _scenes(grid, places, window, catalogue, seen), cancelled)
    reader, done = _Reader(grid, catalogue, seen, cancelled), 0
    for group in _groups(grid, places):
        reader.tell = functools.partial(_tell, progress, done, len(group), len(places))
        reader.look(group, _near(grid, group, scenes))
        for place in group:
            made = _made(grid, place, window)
            if made is not None:
                yield place.number, made
        done += len(group)
        if progress is not None:
            progress(done, len(places), "")
    if seen.missing and not reader.read:
        raise reader.unreadable(seen.missing[0])


def _scenes(
    grid: Grid, places: Sequence[tuple[int, int]], window: Window, catalogue: Catalogue, seen: Seen
) -> list[SentinelScene]:
    at = np.array(places, float) + 0.5
    lon, lat = grid.pixel_to_lonlat(at[:, 0], at[:, 1])
    box = (float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max()))
    scenes = catalogue.sentinel2(box, window, 100, seen.left_out)
    if not scenes:
        raise AcquisitionError(
            f"{catalogue.stac_url} has no Sentinel-2 scenes over these places from {window.start} to {window.end}."
        )
    return scenes


def greenness_through_year(
    grid: Grid,
    places: Sequence[tuple[int, int]],
    window: Window,
    catalogue: Catalogue,
    seen: Seen,
    *,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Iterator[tuple[int, Line, Line, bool]]:
    """NDVI of places on the least cloudy days of each month, as it is ready; arguments and errors of :func:`clearest_pictures`.

    Yields:
        Number of a place, its days that were clear, those in cloud or shadow, and whether every file of them was read.
    """
    if not places:
        return
    if progress is not None:
        progress(0, len(places), ASKING)
    reader, done = _Reader(grid, catalogue, seen, cancelled), 0
    scenes = _stoppable(lambda: _scenes(grid, places, window, catalogue, seen), cancelled)
    for group in _groups(grid, places, 0):
        reader.tell = functools.partial(_tell, progress, done, len(group), len(places))
        found: list[dict[int, tuple[float, bool]]] = [{} for _ in group]
        taken = _of_each_month(_near(grid, group, scenes))
        for number, scene in enumerate(taken):
            reader.share = number / len(taken)
            reader.green(scene, group, found)
        for place, days in zip(group, found, strict=True):
            clear, cloudy = (
                Line(days=tuple(these), values=tuple(days[day][0] for day in these))
                for these in ([day for day in sorted(days) if days[day][1] is wanted] for wanted in (True, False))
            )
            yield place.number, clear, cloudy, place.failed <= days.keys()
        done += len(group)
        if progress is not None:
            progress(done, len(places), "")
    if seen.missing and not reader.read:
        raise reader.unreadable(seen.missing[0])


def _stoppable[T](work: Callable[[], T], cancelled: Cancel | None) -> T:
    """What the work gives. Who stops does not wait for a slow server: what was asked of it ends by itself, and is forgotten.

    Raises:
        Cancelled: ``cancelled`` returned true.
    """
    if cancelled is None:
        return work()
    pool = ThreadPoolExecutor(1)
    try:
        asked = pool.submit(contextvars.copy_context().run, work)
        while not cancelled():
            if wait([asked], _LOOK_S).done:
                return asked.result()
        raise Cancelled
    finally:
        pool.shutdown(wait=False)


def _tell(progress: Progress | None, done: int, group: int, total: int, share: float, files: int) -> None:
    """How far it is: ``share`` of the places of a block, after so many files."""
    if progress is not None:
        # All are done only when they are handed over.
        progress(
            min(done + int(group * share), total - 1), total, f"Reading the archive's pictures, files so far: {files}…"
        )


def _of_each_month(scenes: Sequence[SentinelScene]) -> list[SentinelScene]:
    """Those of the least cloudy days of each month; what lies on one day comes together."""
    taken: list[SentinelScene] = []
    for month in range(1, 13):
        of = sorted(
            (one for one in scenes if one.date.month == month),
            key=lambda one: (one.cloud if one.cloud is not None else 50.0, one.date),
        )
        days = list(dict.fromkeys(one.date for one in of))[:SERIES_A_MONTH]
        taken += [one for one in of if one.date in days]
    return taken


def series_bytes(places: Sequence[tuple[int, int]]) -> int:
    """As :func:`expected_bytes`, of :func:`greenness_through_year`."""
    blocks = {(row // BLOCK_PX, col // BLOCK_PX) for row, col in places}
    # Of all days the classes, of two in three red and infrared as well.
    return round(1.5 * len(blocks) * 12 * SERIES_A_MONTH * (1 + 2 * 2 / 3) * _BLOCK_BYTES)


def expected_bytes(places: Sequence[tuple[int, int]]) -> int:
    """A guess of what travels for places: whole blocks of the archive's files, four seasons."""
    blocks = {(row // BLOCK_PX, col // BLOCK_PX) for row, col in places}
    # A part of the region lies on one block more than it fills, on average half the time.
    return round(1.5 * len(blocks) * len(SEASONS) * (_LOOKED + _TAKEN * len(BANDS)) * _BLOCK_BYTES)


def _groups(grid: Grid, places: Sequence[tuple[int, int]], half: int = HALF) -> list[list[_Place]]:
    """Places, ``half`` pixels to each side, by the block that they lie in, so that its bytes travel once."""
    groups: dict[tuple[int, int], list[_Place]] = {}
    for number, (row, col) in enumerate(places):
        rows = slice(max(row - half, 0), min(row + half + 1, grid.height))
        cols = slice(max(col - half, 0), min(col + half + 1, grid.width))
        groups.setdefault((row // BLOCK_PX, col // BLOCK_PX), []).append(_Place(number, row, col, rows, cols))
    return [groups[key] for key in sorted(groups)]


def _near(grid: Grid, group: Sequence[_Place], scenes: Sequence[SentinelScene]) -> list[SentinelScene]:
    """The scenes over any place of a group."""
    import shapely

    lon, lat = grid.pixel_to_lonlat(
        np.array([one.row + 0.5 for one in group]), np.array([one.col + 0.5 for one in group])
    )
    ground = shapely.MultiPoint(np.column_stack([lon, lat]))
    return [one for one in scenes if one.footprint is None or one.footprint.intersects(ground)]


class _Reader:
    """Reads parts of scenes; what cannot be read is named and passed over, until it is too much."""

    def __init__(self, grid: Grid, catalogue: Catalogue, seen: Seen, cancelled: Cancel | None) -> None:
        self._grid, self._catalogue, self._seen, self._cancelled = grid, catalogue, seen, cancelled
        self.read = self._failed = 0
        # How far the places at hand are, and who is told of it.
        self.share = 0.0
        self.tell: Callable[[float, int], None] = lambda share, files: None

    @staticmethod
    def unreadable(first: str) -> AcquisitionError:
        """What is said where one file after another cannot be read."""
        told = first.rstrip(".")
        return AcquisitionError(
            f"The archive's files cannot be read ({told}). Try again later; the pictures that came are kept."
        )

    def look(self, group: Sequence[_Place], scenes: Sequence[SentinelScene]) -> None:
        """Give places the clearest day of each season."""
        for number, (season, months) in enumerate(SEASONS.items()):
            self.share = number / len(SEASONS)
            of = [one for one in scenes if one.date.month in months]
            # The least cloudy first; of those that are alike, the one nearest to the middle of the season.
            middle = months[1]
            of.sort(key=lambda one: (one.cloud if one.cloud is not None else 50.0, abs(one.date.month - middle)))
            days: set[dt.date] = set()
            for scene in of:
                wanting = [place for place in group if place.share(season) < ENOUGH]
                if not wanting or (scene.date not in days and len(days) >= MOST_DAYS):
                    break
                days.add(scene.date)
                self._take(season, scene, wanting)

    def _take(self, season: str, scene: SentinelScene, places: Sequence[_Place]) -> None:
        classes = self._parts(scene, "SCL", places)
        if classes is None:
            _failed(places, season)
            return
        masks = [preprocess.scl_valid(one) for one in classes]
        better = [
            (place, mask)
            for place, mask in zip(places, masks, strict=True)
            if mask[place.row - place.rows.start, place.col - place.cols.start]
            and mask.mean() >= SEEN
            and mask.mean() > place.share(season)
        ]
        if not better:
            return
        those = [place for place, _ in better]
        with ThreadPoolExecutor(_WORKERS) as pool:
            read = list(pool.map(lambda band: self._parts(scene, band, those), BANDS))
        bands = [one for one in read if one is not None]
        if len(bands) < len(BANDS):
            _failed(those, season)
            return
        for number, (place, mask) in enumerate(better):
            values = np.stack([self._harmonised(scene, band[number]) for band in bands], -1)
            place.days[season] = (scene.date, float(mask.mean()), mask, values)

    def green(
        self, scene: SentinelScene, places: Sequence[_Place], found: Sequence[dict[int, tuple[float, bool]]]
    ) -> None:
        """Give places, each of one pixel, the NDVI of a scene, and whether it was clear, by day of the year."""
        day = scene.date.timetuple().tm_yday
        wanting = [number for number in range(len(places)) if day not in found[number]]
        those = [places[number] for number in wanting]
        classes = self._parts(scene, "SCL", those) if those else []
        if classes is None:
            _failed(those, day)
            return
        if not any(preprocess.scl_valid(one).any() for one in classes):
            return
        with ThreadPoolExecutor(2) as pool:
            red, infrared = pool.map(lambda band: self._parts(scene, band, those), ("B04", "B08"))
        if red is None or infrared is None:
            _failed(those, day)
            return
        for number, kind, one, other in zip(wanting, classes, red, infrared, strict=True):
            r, n = (float(self._harmonised(scene, values)[0, 0]) for values in (one, other))
            # Where the scene has no pixel there is nothing to see.
            if float(kind[0, 0]) > 0 and r + n > 0:
                found[number][day] = round((n - r) / (n + r), 4), bool(preprocess.scl_valid(kind)[0, 0])

    def _harmonised(self, scene: SentinelScene, values: NDArray[np.float32]) -> NDArray[np.float32]:
        found = preprocess.harmonise(
            values, scene.date, rule="baseline", source=self._catalogue.name, baseline=scene.baseline
        )
        return np.nan_to_num(found).astype(np.float32)

    def _parts(self, scene: SentinelScene, name: str, places: Sequence[_Place]) -> list[NDArray[np.float32]] | None:
        """Of a file the parts around places; None where it cannot be read.

        Raises:
            AcquisitionError: one file after another cannot be read.
        """
        self.tell(self.share, self.read)
        try:
            read, _ = _stoppable(
                lambda: read_parts(
                    lambda: self._catalogue.sign(scene.assets[name]),
                    self._grid,
                    [(place.rows, place.cols) for place in places],
                    "nearest" if name == "SCL" else "bilinear",
                    label=f"{name} of {scene.id}",
                    zero_is_nodata=True,
                    cancelled=self._cancelled,
                    timeout_s=_TIMEOUT_S,
                ),
                self._cancelled,
            )
        except AssetError as error:
            self._seen.missing.append(str(error))
            self._failed += 1
            if self._failed >= _MOST_FAILED:
                raise self.unreadable(str(error)) from error
            return None
        self._failed, self.read = 0, self.read + 1
        self.tell(self.share, self.read)
        return read


def _failed(places: Sequence[_Place], what: str | int) -> None:
    for place in places:
        place.failed.add(what)


def _made(grid: Grid, place: _Place, window: Window) -> PlacePictures | None:
    """Its pictures, made of a small tile of the days that were taken, as those of a whole year are."""
    taken = sorted(place.days.values(), key=lambda one: one[0])
    if not taken:
        return None
    shape = (place.rows.stop - place.rows.start, place.cols.stop - place.cols.start)
    bands = np.zeros((len(taken), *shape, len(S2_BANDS)), np.uint16)
    for number, (_, _, _, values) in enumerate(taken):
        for at, name in enumerate(BANDS):
            bands[number, ..., S2_BANDS.index(name)] = preprocess.to_dn(values[..., at])
    none: NDArray[Any] = np.zeros((0, *shape, 2), np.int16)
    days = np.array([day.timetuple().tm_yday for day, _, _, _ in taken], np.int16)
    tile = DPixelTile(
        bands=bands,
        masks=np.stack([mask for _, _, mask, _ in taken]).astype(np.uint8),
        doys=days,
        sar_asc=none,
        doys_asc=np.zeros(0, np.int16),
        sar_desc=none,
        doys_desc=np.zeros(0, np.int16),
        roi=None,
        grid=grid.window(place.rows.start, place.cols.start, *shape),
        name="places",
        year=window.year,
    )
    x, y = (float(v) for v in grid.pixel_to_xy(place.row + 0.5, place.col + 0.5))
    made = place_pictures(tile, place.row - place.rows.start, place.col - place.cols.start, x, y, few=True)
    lacking = any(place.share(season) < ENOUGH for season in SEASONS if season in place.failed)
    return msgspec.structs.replace(made, unread=("seasons",)) if lacking else made
