"""A base layer: a picture of the ground that lies under a map, as it is kept with a project.

A project's file may come from anybody, so what a layer may be is checked when it is made: plain addresses of the web, text
without markup, bounded lists. A key that a service asks for is never part of it: ``{key}`` stands where it goes.
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from tessera_core.errors import InputError
from tessera_core.periods import Period, calendar_year, days_of

KEY, TIME = "{key}", "{time}"
MOST = 40
"""Base layers of a project, at most."""
MOST_DATES = 400
_LEVELS = 31
Kind = Literal["xyz", "tms", "wms", "file"]
_Line = Annotated[str, Meta(max_length=600)]
_Short = Annotated[str, Meta(max_length=120)]


class BaseLayer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A picture of the ground, of a service or a file.

    Attributes:
        name: what people call it.
        kind: ``"xyz"`` for tiles counted from the north (WMTS too), ``"tms"`` from the south, ``"wms"``, or ``"file"``: a
            picture that lies in the project's folder.
        url: of tiles with ``{z}``, ``{x}`` and ``{y}``, or of the WMS; empty for a file. ``{key}`` and ``{time}`` stand for
            a person's key and the date that is asked for.
        zoom: the closest level that there is.
        attribution: whose it is, plain text.
        licence: what may be done with it, as far as it is known; plain text.
        layers, styles, format, version, crs: what a WMS is asked for.
        levels: names of the zoom levels of a WMTS where they are not 0, 1, 2, ...; empty for a level that it lacks.
        dates: which a service has, as it writes them, oldest first.
        date: of the picture, as the service or a person says it; empty where nobody does.
        file: name of the file in the project's folder ``imagery``.

    Example:
        >>> layer = BaseLayer(name="Aerial", kind="xyz", url="https://tiles.example/{z}/{x}/{y}.png", date="2021")
        >>> layer.host, layer.date_sentence(2024)
        ('tiles.example', 'Picture of 2021; the map is of 2024.')
    """

    name: Annotated[str, Meta(min_length=1, max_length=80)]
    kind: Kind
    url: Annotated[str, Meta(max_length=2000)] = ""
    zoom: Annotated[int, Meta(ge=0, le=30)] = 19
    attribution: _Line = ""
    licence: _Line = ""
    layers: Annotated[str, Meta(max_length=500)] = ""
    styles: Annotated[str, Meta(max_length=500)] = ""
    format: _Short = "image/png"
    version: Literal["1.1.1", "1.3.0"] = "1.3.0"
    crs: Literal["EPSG:3857", "EPSG:4326"] = "EPSG:3857"
    levels: Annotated[tuple[_Short, ...], Meta(max_length=_LEVELS)] = ()
    dates: Annotated[tuple[_Short, ...], Meta(max_length=MOST_DATES)] = ()
    date: _Short = ""
    file: Annotated[str, Meta(pattern=r"\A([0-9a-f]{16}\.tif)?\Z")] = ""

    def __post_init__(self) -> None:
        """Refuse what no map could show, or nobody should open."""
        if not self.name.strip():
            raise ValueError("a base layer needs a name")
        if (self.kind == "file") != bool(self.file) or (self.kind == "file") == bool(self.url):
            raise ValueError("a base layer is either a file or at an address")
        if self.kind == "file":
            return
        check_address(self.url)
        missing = [part for part in ("{z}", "{x}", "{y}") if self.kind != "wms" and part not in self.url]
        if missing:
            raise ValueError(f"the address of tiles lacks {', '.join(missing)}")
        if self.kind == "wms" and not self.layers:
            raise ValueError("a WMS is asked for a layer")

    @property
    def host(self) -> str:
        """The server that a key is for, with its port where it has one of its own; empty for a file."""
        return urlsplit(self.url).netloc.lower() if self.url else ""

    @property
    def needs_key(self) -> bool:
        """Whether its service asks for a key."""
        return KEY in self.url

    @property
    def id(self) -> str:
        """Names what it shows."""
        return hashlib.blake2b(msgspec.json.encode(self), digest_size=8).hexdigest()

    def date_for(self, year: int | None) -> str:
        """The date to ask the service for, nearest to a year; else what is known of the picture's date."""
        return nearest_date(self.dates, year) or self.date

    def date_sentence(self, year: int | None) -> str:
        """What is known of the picture's date, beside the year of the map; for people."""
        return shown_date(self.date_for(year), year)

    def to_json(self) -> dict[str, Any]:
        """JSON object, without what is as usual."""
        value: dict[str, Any] = msgspec.to_builtins(self)
        return value


class DatedPicture(NamedTuple):
    """A base layer whose date is known: its name and the year."""

    name: str
    year: int


def nearest_picture(layers: Iterable[BaseLayer], year: int | None) -> DatedPicture | None:
    """Of base layers the one whose picture is nearest to a year in time, the first of several; None where none tells its date.

    >>> old = BaseLayer(name="Old", kind="xyz", url="https://a.example/{z}/{x}/{y}.png", date="2010")
    >>> nearest_picture([old], 2024)
    DatedPicture(name='Old', year=2010)
    """
    dated = [DatedPicture(one.name, day.year) for one in layers if (day := _day(one.date_for(year))) is not None]
    if not dated or year is None:
        return None
    return min(dated, key=lambda one: abs(one.year - year))


def shown_date(shown: str, year: int | None) -> str:
    """The date of a picture, empty where it is not known, beside the year of the map, for people.

    >>> shown_date("2021", 2024), shown_date("2024", 2024)
    ('Picture of 2021; the map is of 2024.', 'Picture and map are of 2024.')
    """
    if shown and shown == str(year):
        return f"Picture and map are of {shown}."
    if shown and year is not None:
        return f"Picture of {shown}; the map is of {year}."
    if shown:
        return f"Picture of {shown}."
    if year is not None:
        return f"The date of this picture is not told; the map is of {year}."
    return "The date of this picture is not told."


def check_address(address: str) -> None:
    """Refuse an address that is none of the web, or that carries a name and a password.

    Raises:
        ValueError: with the reason.
    """
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError as error:
        raise ValueError("this is no address") from error
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("an address of a picture begins with https:// or http://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address with a name and a password in it cannot be kept")
    if any(ord(sign) <= 32 or sign in '"<>\\^`' for sign in address):
        raise ValueError("an address holds no blanks, quotes or angle brackets")
    if "{" in parts.netloc or "}" in parts.netloc:
        raise ValueError("the name of the server is written out")


def made(**values: Any) -> BaseLayer:
    """A base layer of what a person or a service said.

    Raises:
        InputError: it is none that a map could show.
    """
    try:
        return msgspec.convert(values, BaseLayer)
    except msgspec.ValidationError as error:
        reason = str(error).partition(" - at ")[0]
        raise InputError(f"This cannot be a base layer: {reason[:1].lower()}{reason[1:].rstrip('.')}.") from error


def entry(layer: BaseLayer, year: int | None, keys: Mapping[str, str], files: str = "") -> dict[str, Any] | None:
    """What a map in the browser is told of a base layer; None where it cannot be shown here: its key or its file is not here.

    Args:
        year: of the map.
        keys: of services, by :attr:`BaseLayer.host`; a key goes to its own server and to no other.
        files: address of the project's pictures, see :mod:`tessera_core.ui.imagery_tiles`; empty where none are served.
    """
    url = f"{files}/{layer.file.removesuffix('.tif')}/{{z}}/{{x}}/{{y}}.png" if layer.kind == "file" else layer.url
    if layer.kind == "file" and not files:
        return None
    if layer.needs_key:
        key = keys.get(layer.host)
        if not key:
            return None
        url = url.replace(KEY, key)
    asked = nearest_date(layer.dates, year)
    credit = html.escape(layer.attribution)
    told = layer.date_sentence(year)
    return {
        "name": layer.name,
        "url": url.replace(TIME, asked),
        "zoom": layer.zoom,
        # Written as HTML by the map, so what strangers wrote is text here.
        "attribution": " · ".join(part for part in (credit, html.escape(told)) if part),
        "about": " ".join(part for part in (told, layer.licence) if part),
        "kind": "xyz" if layer.kind == "file" else layer.kind,
        "wms": {
            "layers": layer.layers,
            "styles": layer.styles,
            "format": layer.format,
            "version": layer.version,
            "crs": layer.crs,
            "time": asked,
        }
        if layer.kind == "wms"
        else None,
        "levels": list(layer.levels),
    }


# ---------------------------------------------------------------------- dates


def nearest_date(dates: tuple[str, ...], year: int | None) -> str:
    """Of the dates of a service the one that shows a year best: nearest to its middle; without a year the newest.

    >>> nearest_date(("2019-05-01", "2023-04-01", "2023-07-15"), 2023), nearest_date(("2019", "2021"), None)
    ('2023-07-15', '2021')
    """
    known = [(day, text) for text in dates if (day := _day(text)) is not None]
    if not known:
        return dates[-1] if dates else ""
    if year is None:
        return max(known)[1]
    start, end = days_of(year)
    middle = start + (end - start) / 2 if isinstance(year, Period) else date(year, 7, 1)
    # Of the year itself rather than of a nearer day in another.
    return min(known, key=lambda one: (abs(one[0].year - calendar_year(year)), abs(one[0] - middle), one[1]))[1]


def _day(text: str) -> date | None:
    """The day of ``2023``, ``2023-04`` or ``2023-04-01T...``; of a year or month its middle."""
    parts = text.strip()[:10].split("-")
    try:
        numbers = [int(part) for part in parts]
        if len(numbers) == 1 and len(parts[0]) == 4:
            return date(numbers[0], 7, 1)
        return date(numbers[0], numbers[1], numbers[2] if len(numbers) > 2 else 15)
    except (ValueError, IndexError):
        return None


def listed_dates(text: str) -> tuple[str, ...]:
    """The dates that the description of a service lists, as it writes them, at most :data:`MOST_DATES`, oldest first.

    ``2020-01-01/2024-01-01/P1Y`` stands for a row of dates; of a row of many days some are named, spread evenly.

    >>> listed_dates("2019-06-01, 2021-06-01/2023-06-01/P1Y")
    ('2019-06-01', '2021-06-01', '2022-06-01', '2023-06-01')
    """
    found: list[str] = []
    for part in " ".join(text.split()).split(","):
        pieces = [piece.strip() for piece in part.strip().split("/")]
        if len(pieces) == 3:
            found += _row(*pieces)
        elif len(pieces) == 1 and pieces[0] and len(pieces[0]) <= 120:
            found.append(pieces[0])
    found = sorted(set(found), key=lambda one: (_day(one) or date.max, one))
    if len(found) > MOST_DATES:
        # The newest is always among them.
        found = [found[-1 - round(k * (len(found) - 1) / (MOST_DATES - 1))] for k in range(MOST_DATES)][::-1]
    return tuple(dict.fromkeys(found))


def _row(first: str, last: str, step: str) -> list[str]:
    start, end = _day(first), _day(last)
    if start is None or end is None or end < start:
        return []
    rest = first[10:]
    days: list[date] = []
    number, unit = step.strip().lstrip("P")[:-1], step.strip()[-1:]
    every = int(number) if number.isdigit() and 0 < int(number) < 1000 and unit in "DMY" and "T" not in step else 1
    unit = unit if unit in "DMY" and "T" not in step else "D"
    day = start
    while day <= end and len(days) < 40_000:
        days.append(day)
        if unit == "D":
            day += timedelta(every)
        else:
            month = day.month - 1 + every * (12 if unit == "Y" else 1)
            year, month = day.year + month // 12, month % 12 + 1
            if year > 9998:
                break
            day = date(
                year, month, min(day.day, 28) if month == 2 else min(day.day, 30 if month in (4, 6, 9, 11) else 31)
            )
    return [f"{one.isoformat()}{rest}" for one in days]
