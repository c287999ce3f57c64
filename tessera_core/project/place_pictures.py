"""Pictures of the places of a project: made of time series that are here, kept beside the project, and so in packs as well.

Where only published embeddings are here, :func:`fetch_clearest` gets the clearest day of each season around the places of a
sample from an archive, a few megabytes, and :func:`fetch` the satellites' whole year of the region, a thousand times as much.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tessera_core.dpixels.acquire import Window
from tessera_core.dpixels.tile import DPixelTile, find_tiles
from tessera_core.errors import Cancelled, TileError
from tessera_core.grid import Grid
from tessera_core.imagery import clearest
from tessera_core.imagery.clearest import Seen, clearest_pictures, expected_bytes
from tessera_core.imagery.places import PlacePictures, place_pictures, read_pictures, save_pictures
from tessera_core.periods import days_of
from tessera_core.project import acquire
from tessera_core.project.project import Project
from tessera_core.region import parse_bbox
from tessera_core.types import Cancel, Progress

if TYPE_CHECKING:
    from tessera_core.project.validate import Validation

FOLDER = "places"
"""Of the pictures in a project's folder."""


@dataclass(frozen=True)
class Fetched:
    """What an archive brought.

    Attributes:
        places: of the sample, that have pictures now.
        of: places of the sample.
        missing: sentences naming what the archive could not give; the next run tries it again.
    """

    places: int
    of: int
    missing: tuple[str, ...] = ()

    def sentences(self) -> list[str]:
        """For people: how many have pictures, and what is missing."""
        lines = [f"Places that have pictures now: {self.places} of {self.of}."]
        if self.places < self.of:
            lines.append(f"The other {self.of - self.places} were never seen clearly, or could not be read.")
        if self.missing:
            first = self.missing[0].rstrip(".")
            lines.append(f"Files that could not be read: {len(self.missing)}. The first: {first}.")
        return lines


def pictures_of(project: Project, year: int | None, grid: Grid, row: int, col: int) -> PlacePictures | None:
    """What the satellites saw of a pixel of a grid in a year: as kept, else made of time series that are here, else None.

    Raises:
        TileError: what is kept, or the time series, is damaged.
    """
    x, y = (float(v) for v in grid.pixel_to_xy(row + 0.5, col + 0.5))
    kept = read_pictures(_path(project, year, row, col))
    if kept is None or not (math.isclose(kept.x, x, abs_tol=0.01) and math.isclose(kept.y, y, abs_tol=0.01)):
        return _made(_tiles(project, year), grid, row, col)
    # A few days give way to a whole year.
    return (_made(_tiles(project, year), grid, row, col) if kept.few else None) or kept


def has_time_series(project: Project, year: int | None) -> bool:
    """Whether time series of a year are on this computer."""
    ref = project.embeddings.get(year)
    if ref is None:
        return False
    request = request_for(project, year)
    return (ref.dpixels is not None and ref.dpixels.is_dir()) or (request is not None and bool(_fetched(request)))


def request_for(project: Project, year: int | None) -> acquire.Request | None:
    """What :func:`fetch` asks an archive for, with what it will cost; None where the region has no place on Earth or no year."""
    ref = project.embeddings.get(year)
    if ref is None or year is None or not ref.grid.georeferenced:
        return None
    box = parse_bbox(",".join(f"{v:.6f}" for v in ref.grid.bounds_lonlat))
    return acquire.Request(box, Window(*days_of(year)))


def fetch(project: Project, year: int, progress: Progress, cancelled: Cancel) -> Fetched:
    """Get the satellites' year of the region, then :func:`prepare`; goes on where it stopped.

    Raises:
        AcquisitionError: the archive does not answer, or has nothing for this place and time.
        Cancelled: ``cancelled`` returned true; what has arrived stays.
    """
    request = request_for(project, year)
    missing: tuple[str, ...] = ()
    if request is not None:
        missing = tuple(acquire.fetch(request, progress, cancelled).missing)
    return Fetched(prepare(project, year, progress, cancelled), len(_places(project, year)), missing)


def clearest_bytes(project: Project, year: int | None) -> int:
    """A guess of what :func:`fetch_clearest` has to fetch for the places that have no pictures yet."""
    return expected_bytes(_wanted(project, year, cached=True).pictures)


def fetch_clearest(project: Project, year: int, progress: Progress, cancelled: Cancel) -> Fetched:
    """Get the clearest day of each season around every place of a year's sample, and keep it with the project.

    Goes on where it stopped: places that have pictures are not asked for again, but those of which a file could not be read are.

    Raises:
        AcquisitionError: the archive does not answer, has nothing for this place and time, or its files cannot be read.
        Cancelled: ``cancelled`` returned true; the pictures that are made stay.
    """
    request, sample, seen = request_for(project, year), _sample(project, year), Seen()
    places = _wanted(project, year).pictures
    if request is not None and sample is not None:
        window = request.window
        for number, made in clearest_pictures(
            sample.grid, places, window, request.catalogue, seen, progress=progress, cancelled=cancelled
        ):
            path = _path(project, year, *places[number])
            before = _kept(path, sample.grid, *places[number])
            save_pictures(path, made if before is None else _joined(made, before))
    of = len(_places(project, year))
    return Fetched(of - _wanted(project, year).bare, of, tuple(seen.missing))


def series_bytes(project: Project, year: int | None) -> int:
    """A guess of what :func:`fetch_series` has to fetch for the places that have no year yet."""
    return clearest.series_bytes(_wanted(project, year, cached=True).series)


def fetch_series(project: Project, year: int, progress: Progress, cancelled: Cancel) -> Fetched:
    """As :func:`fetch_clearest`, and then for every place how green it was through the year, on some days of each month.

    Goes on where it stopped. Radar and the other days come with the whole year (:func:`fetch`).

    Raises:
        AcquisitionError, Cancelled: as :func:`fetch_clearest`.
    """
    fetched, seen = fetch_clearest(project, year, progress, cancelled), Seen()
    request, sample = request_for(project, year), _sample(project, year)
    if request is None or sample is None:
        return fetched
    places = _wanted(project, year).series
    for number, clear, cloudy, complete in clearest.greenness_through_year(
        sample.grid, places, request.window, request.catalogue, seen, progress=progress, cancelled=cancelled
    ):
        path = _path(project, year, *places[number])
        row, col = places[number]
        x, y = (float(v) for v in sample.grid.pixel_to_xy(row + 0.5, col + 0.5))
        known = _kept(path, sample.grid, row, col) or PlacePictures(
            year=request.window.year, x=x, y=y, metres=float(sample.grid.pixel_area_m2**0.5), few=True
        )
        save_pictures(path, known.with_greenness(clear, cloudy, complete=complete))
    return replace(fetched, missing=(*fetched.missing, *seen.missing))


def of_sample(fetched: Fetched, project: Project, year: int | None, *, two_maps: bool) -> Fetched:
    """The same, with the places of one sample alone: those that check the map, or those where two maps differ."""
    from tessera_core.project import validate

    one = validate.load(project, year, two_maps=two_maps)
    if one is None:
        return fetched
    folder, places = _path(project, year, 0, 0).parent, tuple(_places_of([one]))
    stamp = folder.stat().st_mtime_ns if folder.is_dir() else 0
    return replace(fetched, places=len(places) - _look(folder, stamp, one.grid, places).bare, of=len(places))


def _joined(made: PlacePictures, before: PlacePictures) -> PlacePictures:
    """Pictures fetched anew with what was kept of the place: its year, and its pictures where fewer came now."""
    if len(made.seasons) < len(before.seasons):
        return before
    complete = "series" not in before.unread
    return made.with_greenness(before.clear, before.cloudy, complete=complete) if before.series else made


@dataclass(frozen=True)
class _Wanted:
    """Places of a sample: those to be asked for, pictures and year, and how many have no picture at all."""

    pictures: tuple[tuple[int, int], ...] = ()
    series: tuple[tuple[int, int], ...] = ()
    bare: int = 0


def _wanted(project: Project, year: int | None, *, cached: bool = False) -> _Wanted:
    """What is lacking; ``cached``: files are read anew only where one was written."""
    saved = _saved(project, year)
    if not saved:
        return _Wanted()
    folder = _path(project, year, 0, 0).parent
    stamp = folder.stat().st_mtime_ns if folder.is_dir() else 0
    places = tuple(_places_of(saved))
    if cached:
        return _look(folder, stamp, saved[0].grid, places)
    found: _Wanted = _look.__wrapped__(folder, stamp, saved[0].grid, places)
    return found


@functools.lru_cache(maxsize=8)
def _look(folder: Path, stamp: int, grid: Grid, places: tuple[tuple[int, int], ...]) -> _Wanted:
    pictures: list[tuple[int, int]] = []
    series: list[tuple[int, int]] = []
    bare = 0
    for row, col in places:
        kept = _kept(folder / _name(row, col), grid, row, col)
        without = kept is None or (kept.few and not kept.seasons)
        bare += without
        if without or (kept is not None and "seasons" in kept.unread):
            pictures.append((row, col))
        if kept is None or (kept.few and (not kept.series or "series" in kept.unread)):
            series.append((row, col))
    return _Wanted(tuple(pictures), tuple(series), bare)


def _sample(project: Project, year: int | None) -> Validation | None:
    return next(iter(_saved(project, year)), None)


def _saved(project: Project, year: int | None) -> list[Validation]:
    # Opening a pack needs nothing that learns.
    from tessera_core.project import validate

    both = (validate.load(project, year, two_maps=two_maps) for two_maps in (False, True))
    return [one for one in both if one is not None]


def _places(project: Project, year: int | None) -> list[tuple[int, int]]:
    return _places_of(_saved(project, year))


def _places_of(saved: Sequence[Validation]) -> list[tuple[int, int]]:
    # Those that check one map, and those where two differ; both lie on the grid of the year.
    return list(
        dict.fromkeys(
            place for one in saved for place in zip(one.sample.rows.tolist(), one.sample.cols.tolist(), strict=True)
        )
    )


def prepare(
    project: Project, year: int | None, progress: Progress | None = None, cancelled: Cancel | None = None
) -> int:
    """Keep the pictures of every place of a year's sample; those that are kept already are not made again.

    Returns:
        Places that have pictures now.

    Raises:
        ExportError: the disk is full.
        Cancelled: ``cancelled`` returned true; what was made stays.
    """
    sample = _sample(project, year)
    if sample is None:
        return 0
    tiles, kept = _tiles(project, year), 0
    places = _places(project, year)
    for number, (row, col) in enumerate(places):
        if cancelled is not None and cancelled():
            raise Cancelled
        if progress is not None:
            progress(number, len(places), "pictures of places")
        path = _path(project, year, row, col)
        if not _is_of(path, sample.grid, row, col, whole=bool(tiles)):
            made = _made(tiles, sample.grid, row, col)
            if made is None:
                kept += _is_of(path, sample.grid, row, col)
                continue
            save_pictures(path, made)
        kept += 1
    return kept


def kept_files(project: Project) -> Iterator[Path]:
    """The files of pictures that lie in a project's folder, in order."""
    for path in sorted((project.folder / FOLDER).glob("*/*.json")):
        if path.is_file() and not path.is_symlink():
            yield path


def _kept(path: Path, grid: Grid, row: int, col: int) -> PlacePictures | None:
    """What a file holds of a place; None where it is of another, or damaged, and so is made anew."""
    x, y = (float(v) for v in grid.pixel_to_xy(row + 0.5, col + 0.5))
    try:
        kept = read_pictures(path)
    except TileError:
        return None
    here = kept is not None and math.isclose(kept.x, x, abs_tol=0.01) and math.isclose(kept.y, y, abs_tol=0.01)
    return kept if here else None


def _is_of(path: Path, grid: Grid, row: int, col: int, *, whole: bool = False) -> bool:
    """Whether a file holds pictures of a place; ``whole``: of its whole year."""
    kept = _kept(path, grid, row, col)
    return kept is not None and not (whole and kept.few)


def _tiles(project: Project, year: int | None) -> list[DPixelTile]:
    ref = project.embeddings.get(year)
    if ref is None:
        return []
    if ref.dpixels is not None and ref.dpixels.is_dir():
        return [DPixelTile.open(ref.dpixels)]
    request = request_for(project, year)
    return [] if request is None else [DPixelTile.open(folder) for folder in _fetched(request)]


def _fetched(request: acquire.Request) -> list[Path]:
    """The tiles that an earlier run has brought."""
    try:
        return find_tiles(request.folder)
    except TileError:
        return []


def _made(tiles: Sequence[DPixelTile], grid: Grid, row: int, col: int) -> PlacePictures | None:
    x, y = (float(v) for v in grid.pixel_to_xy(row + 0.5, col + 0.5))
    for tile in tiles:
        if tile.grid == grid or not (grid.georeferenced and tile.grid.georeferenced):
            at = (row, col)
        else:
            lon, lat = grid.pixel_to_lonlat(row + 0.5, col + 0.5)
            rows, cols = tile.grid.lonlat_to_pixel(lon, lat)
            at = (math.floor(float(rows)), math.floor(float(cols)))
        if 0 <= at[0] < tile.shape[0] and 0 <= at[1] < tile.shape[1]:
            return place_pictures(tile, *at, x, y)
    return None


def _path(project: Project, year: int | None, row: int, col: int) -> Path:
    return project.folder / FOLDER / ("undated" if year is None else str(year)) / _name(row, col)


def _name(row: int, col: int) -> str:
    return f"{row}-{col}.json"
