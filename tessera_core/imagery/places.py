"""Small pictures of one place and its year: what the satellites saw there on the clearest day of each season, and on all days.

Made of a tile of time series, small enough to be kept for every place of a sample and to be handed around.
"""

from __future__ import annotations

import datetime as dt
import io
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from tessera_core._utils.atomic import write_text
from tessera_core.dpixels.tile import DPixelTile
from tessera_core.dpixels.time_series import Radar, pixel_time_series
from tessera_core.errors import TileError
from tessera_core.gate import is_missing, read_bytes
from tessera_core.periods import day_in, period
from tessera_core.render.canvas import SEASONS
from tessera_core.render.picture import INFRARED_RED_GREEN, RED_GREEN_BLUE

HALF = 16
"""Pixels to each side of the place that its pictures show."""
ZOOM = 5
ECHOES = ("VV descending", "VH descending", "VV ascending", "VH ascending")
"""Names of the lines of radar."""
_CLEAR = 0.5
_MOST_BYTES = 1 << 20
_PNG = b"\x89PNG\r\n\x1a\n"
_MOST_PX = 2000
_Picture = Annotated[bytes, Meta(max_length=200_000)]
_Days = Annotated[tuple[Annotated[int, Meta(ge=1, le=366)], ...], Meta(max_length=1000)]
_Values = Annotated[tuple[Annotated[float, Meta(ge=-1000, le=1000)] | None, ...], Meta(max_length=1000)]


class SeasonPicture(msgspec.Struct, frozen=True, kw_only=True):
    """The clearest day of a season.

    Attributes:
        season: of :data:`tessera_core.render.canvas.SEASONS`.
        day: of the year.
        clear: share of the picture that was seen clearly.
        true_colour, false_colour: PNG, the place in a frame in the middle; plants are red in the second.
    """

    season: str
    day: Annotated[int, Meta(ge=1, le=366)]
    clear: Annotated[float, Meta(ge=0, le=1)]
    true_colour: _Picture
    false_colour: _Picture

    def __post_init__(self) -> None:
        """Refuse what is no small picture: the file may come from anybody."""
        if self.season not in SEASONS:
            raise ValueError("there is no such season")
        for png in (self.true_colour, self.false_colour):
            sides = (int.from_bytes(png[k : k + 4], "big") for k in (16, 20))
            if not png.startswith(_PNG) or not all(0 < side <= _MOST_PX for side in sides):
                raise ValueError("this is no small picture")


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Measurements over a year: days and values, None where nothing was measured."""

    days: _Days = ()
    values: _Values = ()

    def __post_init__(self) -> None:
        """Refuse days without values."""
        if len(self.days) != len(self.values):
            raise ValueError("as many values as days")


class PlacePictures(msgspec.Struct, frozen=True, kw_only=True):
    """What the satellites saw of a place in a year.

    Attributes:
        year: of all of it; None where it is not known.
        x, y: the middle of the place in the coordinates of its grid, so that it is never taken for another.
        metres: edge of a pixel.
        seasons: those with a clear day, in the order of the year.
        clear, cloudy: NDVI of the days on which the place was seen clearly, and of the others.
        echoes: radar in decibels, by name of :data:`ECHOES`.
        few: only the days of the pictures were fetched, not the year.
        series: of ``few``, NDVI of days through the year was fetched as well.
        unread: of ``few``, of which of the two a file could not be read, so that it is asked for again.
    """

    year: int | None
    x: float
    y: float
    metres: float
    seasons: Annotated[tuple[SeasonPicture, ...], Meta(max_length=4)] = ()
    clear: Line = Line()
    cloudy: Line = Line()
    echoes: Annotated[dict[Annotated[str, Meta(max_length=20)], Line], Meta(max_length=4)] = {}
    few: bool = False
    series: bool = False
    unread: Annotated[tuple[Literal["seasons", "series"], ...], Meta(max_length=2)] = ()

    def date_of(self, picture: SeasonPicture) -> str:
        """The date of a picture; only the day of the year where the year is not known.

        >>> from tessera_core.imagery.places import PlacePictures
        >>> PlacePictures(year=None, x=0, y=0, metres=10).year is None
        True
        """
        if self.year is None:
            return f"day {picture.day} of the year"
        day = day_in(period(self.year), picture.day)
        return f"{day.day} {day:%B} {day.year}"

    def with_greenness(self, clear: Line, cloudy: Line, *, complete: bool = True) -> PlacePictures:
        """With NDVI of further days; a day that was known keeps its value.

        Args:
            clear, cloudy: the days.
            complete: whether every file of them was read.
        """
        known = dict(zip(self.clear.days, self.clear.values, strict=True))
        seen = dict(zip(clear.days, clear.values, strict=True)) | known
        days = sorted(seen)
        under = dict(zip(cloudy.days, cloudy.values, strict=True)) | dict(
            zip(self.cloudy.days, self.cloudy.values, strict=True)
        )
        hidden = [day for day in sorted(under) if day not in seen]
        unread: tuple[Literal["seasons", "series"], ...] = tuple(one for one in self.unread if one != "series")
        return msgspec.structs.replace(
            self,
            clear=Line(days=tuple(days), values=tuple(seen[day] for day in days)),
            cloudy=Line(days=tuple(hidden), values=tuple(under[day] for day in hidden)),
            series=True,
            unread=unread if complete else (*unread, "series"),
        )


def place_pictures(tile: DPixelTile, row: int, col: int, x: float, y: float, *, few: bool = False) -> PlacePictures:
    """The pictures and the year of a pixel of a tile.

    Args:
        row, col: of the pixel in the tile.
        x, y, few: see :class:`PlacePictures`.

    Raises:
        GridError: the pixel lies off the tile.
    """
    series = pixel_time_series(tile, row, col)
    usable = np.isfinite(series.ndvi)
    return PlacePictures(
        year=tile.year,
        x=x,
        y=y,
        metres=float(tile.grid.pixel_area_m2**0.5) if tile.grid.georeferenced else 10.0,
        seasons=_seasons(tile, row, col),
        clear=_line(series.days, series.ndvi, usable & series.valid),
        cloudy=_line(series.days, series.ndvi, usable & ~series.valid),
        echoes=_echoes(series.ascending, "ascending") | _echoes(series.descending, "descending"),
        few=few,
    )


def _line(days: NDArray[Any], values: NDArray[Any], those: NDArray[np.bool_]) -> Line:
    return Line(days=tuple(days[those].tolist()), values=tuple(round(float(v), 4) for v in values[those]))


def _echoes(radar: Radar, orbit: str) -> dict[str, Line]:
    lines = {}
    for number, name in enumerate(("VV", "VH")):
        values = radar.db[:, number]
        if (seen := np.isfinite(values)).any():
            lines[f"{name} {orbit}"] = _line(radar.days, values, seen)
    return lines


def _seasons(tile: DPixelTile, row: int, col: int) -> tuple[SeasonPicture, ...]:
    height, width = tile.shape
    rows, cols = (
        slice(max(row - HALF, 0), min(row + HALF + 1, height)),
        slice(max(col - HALF, 0), min(col + HALF + 1, width)),
    )
    masks = np.asarray(tile.masks[:, rows, cols]) != 0
    share, middle = masks.mean((1, 2)), np.asarray(tile.masks[:, row, col]) != 0
    first = dt.date(tile.year or 2023, 1, 1)
    months = np.array([(first + dt.timedelta(int(day) - 1)).month for day in tile.doys])
    chosen: list[tuple[str, int]] = []
    for season, of in SEASONS.items():
        days = np.flatnonzero(np.isin(months, of) & middle & (share >= _CLEAR))
        if len(days):
            # Of days as clear, the one in the middle of the season.
            best = share[days] >= share[days].max() - 0.02
            chosen.append((season, int(days[best][best.sum() // 2])))
    if not chosen:
        return ()
    bands = {at: np.asarray(tile.bands[at, rows, cols]).astype(np.float32) for _, at in chosen}
    # One scale for all seasons, so that they can be compared.
    seen = np.concatenate([values[masks[at]] for at, values in bands.items()])
    white = np.maximum(np.percentile(seen, 99, axis=0), 1.0)
    frame = (row - rows.start, col - cols.start)
    made = []
    for season, at in chosen:
        true = bands[at][..., RED_GREEN_BLUE] / white[list(RED_GREEN_BLUE)].max()
        false = bands[at][..., INFRARED_RED_GREEN] / white[list(INFRARED_RED_GREEN)]
        made.append(
            SeasonPicture(
                season=season,
                day=int(tile.doys[at]),
                clear=round(float(share[at]), 3),
                true_colour=_framed(true, frame),
                false_colour=_framed(false, frame),
            )
        )
    return tuple(sorted(made, key=lambda one: one.day))


def _framed(shades: NDArray[np.float32], place: tuple[int, int]) -> bytes:
    """A PNG, pixels as squares, with a frame around the place."""
    from PIL import Image

    pixels = (255 * np.clip(shades, 0, 1) ** (1 / 1.6)).round().astype(np.uint8)
    pixels = pixels.repeat(ZOOM, 0).repeat(ZOOM, 1)
    top, left = place[0] * ZOOM, place[1] * ZOOM
    for edge, colour in ((1, (255, 255, 255)), (2, (213, 94, 0))):
        a, b, c, d = max(top - edge, 0), top + ZOOM + edge - 1, max(left - edge, 0), left + ZOOM + edge - 1
        b, d = min(b, len(pixels) - 1), min(d, pixels.shape[1] - 1)
        pixels[[a, b], c : d + 1] = colour
        pixels[a : b + 1, [c, d]] = colour
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return file.getvalue()


def save_pictures(path: Path, pictures: PlacePictures) -> None:
    """Write the pictures of a place as one small file.

    Raises:
        ExportError: it cannot be written.
    """
    write_text(path, msgspec.json.encode(pictures, enc_hook=int).decode())


def read_pictures(path: Path) -> PlacePictures | None:
    """What :func:`save_pictures` wrote; None where there is no such file.

    Raises:
        TileError: the file is damaged.
    """
    if is_missing(path):
        return None
    try:
        return msgspec.json.decode(read_bytes(path, TileError, _MOST_BYTES), type=PlacePictures)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise TileError("The pictures kept of this place are damaged; prepare them again.") from error
