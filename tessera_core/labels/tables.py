"""Tables of places: CSV and its kin, as spreadsheets, GIS programs, Earth Engine and phones write them.

The one reader of such tables: label files are features with the other columns as attributes, tables of points keep their rows
(:mod:`tessera_core.sources.remote.points`). No row is dropped without being counted.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tessera_core._utils.csvcells import unquoted
from tessera_core.errors import LabelError
from tessera_core.gate.limits import limits
from tessera_core.labels.cells import looks_like_shape, read_pairs, read_shapes
from tessera_core.labels.features import NO_HINTS, Feature, Hints, Read, in_one_system, named
from tessera_core.labels.text import Text, decode, read_text

# A polygon of many corners in one cell is long; the module's own limit is 128 KiB.
csv.field_size_limit(1 << 26)

NO_NUMBERS = "coordinates that are no numbers"
NO_COORDINATES = "without coordinates"
NO_SHAPE = "a geometry that is no WKT, WKB or GeoJSON"
MORE_CELLS = "more cells than the header has columns, and no telling which belong together"

_LAT_WORDS = {
    "lat",
    "latitude",
    "latitud",
    "breite",
    "breitengrad",
    "lats",
    "decimallatitude",
    "latdd",
    "ddlat",
    "latitudine",
}
_LON_WORDS = {
    *("lon", "lng", "long", "longitude", "longitud", "lange", "laenge", "langengrad", "laengengrad", "lons"),
    *("decimallongitude", "londd", "longdd", "ddlon", "longitudine"),
}
_X_WORDS = {
    "x",
    "easting",
    "eastings",
    "rechtswert",
    "ostwert",
    "pointx",
    "xcoord",
    "coordx",
    "utme",
    "utmx",
    "este",
    "e",
}
_Y_WORDS = {
    "y",
    "northing",
    "northings",
    "hochwert",
    "nordwert",
    "pointy",
    "ycoord",
    "coordy",
    "utmn",
    "utmy",
    "norte",
    "n",
}
_ROW, _COL = ("row", "r", "pixelrow"), ("col", "column", "c", "pixelcol")
_SHAPE = (
    "wkt",
    "ewkt",
    "geometry",
    "geom",
    "thegeom",
    "wktgeometry",
    "wktgeom",
    "wkb",
    "hexwkb",
    "geo",
    "geojson",
    "shape",
)
_PAIR = (
    "latlon",
    "latlng",
    "latlong",
    "coordinates",
    "coordinate",
    "coords",
    "location",
    "position",
    "geopoint",
    "gps",
)
_SYSTEM = ("epsg", "srid", "epsgcode", "crs", "coordinatesystem")
_EXAMINED = 200


class NoColumnsError(LabelError):
    """A table of which no column is known to hold coordinates; ``columns`` are all of them."""

    def __init__(self, message: str, columns: Sequence[str]) -> None:
        super().__init__(message)
        self.columns = tuple(columns)


@dataclass
class Sheet:
    """A table as text.

    Attributes:
        name: of the file.
        header: column names, each once.
        rows: cells, as many as there are columns.
        lines: the line of the file that each row begins in.
        read: encoding, notes, what was repaired and skipped; its features are still to be made.
    """

    name: str
    header: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]
    read: Read = field(default_factory=lambda: Read([]))

    def column(self, number: int) -> list[str]:
        """The cells of a column."""
        return [row[number] for row in self.rows]


@dataclass
class Places:
    """Where the rows of a table lie.

    Attributes:
        geometries: shapely geometry of each row, or None.
        reasons: why a row has none; empty where it has one.
        used: numbers of the columns that were used.
        crs: of all geometries, or None where the table does not say it; ``crs_from`` what says it.
        pixels: coordinates are ``(col, row)`` of the grid.
    """

    geometries: list[Any]
    reasons: list[str]
    used: set[int]
    crs: str | None = None
    crs_from: str = "the file"
    pixels: bool = False


def read_csv(path: Path, hints: Hints = NO_HINTS) -> Read:
    """Read a table of places with a header line.

    Cells are parted by comma, semicolon, tab or bar; coordinates are degrees (also with minutes and seconds), projected, pixel
    rows and columns, WKT, EWKT, WKB in hexadecimal digits or GeoJSON; numbers may have decimal commas and groups.

    Raises:
        LabelError: there is no header with coordinates, or the file is no text.
    """
    return _features(read_sheet(path, hints), hints)


def parse_csv(data: bytes, name: str, hints: Hints = NO_HINTS) -> Read:
    """The same from the bytes of a table called ``name``."""
    return _features(_sheet(decode(data, name, hints.encoding), name, hints), hints)


def _features(sheet: Sheet, hints: Hints) -> Read:
    places = places_of(sheet, hints)
    read = sheet.read
    read.crs, read.crs_from, read.pixels = places.crs, places.crs_from, places.pixels
    others = [(n, name) for n, name in enumerate(sheet.header) if n not in places.used]
    for row, line, geometry, reason in zip(sheet.rows, sheet.lines, places.geometries, places.reasons, strict=True):
        where = f"line {line}"
        if reason:
            read.skip(reason, where)
        else:
            read.features.append(Feature(geometry, {name: row[n].strip() for n, name in others}, where=where))
    return read


# --------------------------------------------------------------------- cells


def read_sheet(path: Path, hints: Hints = NO_HINTS) -> Sheet:
    """The cells of a table; nothing is said of places yet.

    Raises:
        LabelError: the file is not readable, no text, empty, or has too many rows.
    """
    return _sheet(read_text(path, hints.encoding), path.name, hints)


def _sheet(text: Text, name: str, hints: Hints) -> Sheet:
    body, marked, skipped_lines = _preamble(text.text)
    delimiter = marked or _delimiter(body)
    read = Read([], encoding=text.encoding, encoding_why=text.why)
    records = _records(body, delimiter, read, name)
    first = next(records, None)
    if first is None or not any(cell.strip() for cell in first[1]):
        raise LabelError(f"{name} is empty or no table; the first line must name the columns.")
    header = _header(first[1], read)
    sheet = Sheet(name, header, [], [], read)
    odd: list[tuple[int, list[str]]] = []
    for line, record in records:
        if not "".join(record).strip():
            continue
        if len(record) > len(header):
            if any(cell.strip() for cell in record[len(header) :]):
                odd.append((line + skipped_lines, record))
                continue
            record = record[: len(header)]
        elif len(record) < len(header):
            read.repaired["rows with fewer cells than the header; the missing ones are taken as empty"] += 1
            record = record + [""] * (len(header) - len(record))
        sheet.rows.append(record)
        sheet.lines.append(line + skipped_lines)
    if odd:
        _join(sheet, odd, delimiter, hints)
    if "'" in body:
        for row in sheet.rows:
            if any(cell[:1] == "'" for cell in row):
                row[:] = map(unquoted, row)
    return sheet


def _preamble(text: str) -> tuple[str, str, int]:
    """The table without a line ``sep=;`` and remarks before it; the mark that line names; how many lines those were."""
    lines, marked, remark = 0, "", ""
    while text:
        match = re.match(r"[^\r\n]*(?:\r\n|\r|\n|$)", text)
        assert match is not None
        line = match[0].strip(" \r\n").strip('"')
        if found := re.fullmatch(r"sep=(.)", line, re.IGNORECASE):
            marked = found[1]
        elif line.startswith("#"):
            remark = line.lstrip("# ")
        elif line.strip():
            break
        lines += 1
        text = text[match.end() :]
    first = re.split(r"[\r\n]", text, maxsplit=1)[0]
    if remark and sum(_is_number(cell) for cell in re.split(r"[,;\t|]", first)) > 1:
        # The names of the columns may stand behind a # themselves.
        return f"{remark}\n{text}", marked, lines - 1
    return text, marked, lines


def _delimiter(text: str) -> str:
    """The mark that parts the cells: of the first rows, the one that gives them most columns alike."""
    head = "\n".join(text[:40_000].splitlines()[:21])
    best, most = ",", (0.0, 0)
    for mark in ",;\t|":
        widths = [len(record) for record in csv.reader(io.StringIO(head, newline=""), delimiter=mark) if record]
        if widths and widths[0] > 1:
            like = sum(width == widths[0] for width in widths) / len(widths)
            found = (1.0 if like >= 0.6 else like, widths[0])
            if found > most:
                best, most = mark, found
    return best


def _records(text: str, delimiter: str, read: Read, name: str) -> Iterator[tuple[int, list[str]]]:
    """The rows with the line each begins in; where quotes are not paired, cells are read as they stand."""
    try:
        return iter(list(_numbered(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), name)))
    except csv.Error:
        read.notes.append("Quotation marks in the table are not paired; cells were read as they stand.")
    try:
        rows = list(_numbered(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), name))
    except csv.Error as error:
        raise LabelError(f"{name} cannot be read as a table: {error}. Save it again as CSV.") from error
    if rows and rows[-1][1] and re.search(r"[\r\n]", rows[-1][1][-1]):
        # A quote that is never closed swallows all rows after it.
        plain = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=csv.QUOTE_NONE)
        rows = [(line, [cell.strip().strip('"') for cell in row]) for line, row in _numbered(plain, name)]
    return iter(rows)


def _numbered(reader: Any, name: str) -> Iterator[tuple[int, list[str]]]:
    line, most = 1, limits().rows
    for number, record in enumerate(reader):
        if number > most:
            raise LabelError(f"{name} has more than {most:,} rows, the most that are read here; take a part of it.")
        yield line, record
        line = reader.line_num + 1


def _header(cells: Sequence[str], read: Read) -> tuple[str, ...]:
    names: list[str] = []
    for number, cell in enumerate(cells, 1):
        name = base = " ".join(unquoted(cell.strip()).split()) or f"column {number}"
        again = 2
        while name in names:
            name, again = f"{base}_{again}", again + 1
        if name != base:
            read.notes.append(f"There are several columns {base!r}; the next one is called {name!r}.")
        names.append(name)
    while len(names) > 1 and not cells[len(names) - 1].strip():
        names.pop()
    return tuple(names)


def _join(sheet: Sheet, odd: list[tuple[int, list[str]]], delimiter: str, hints: Hints) -> None:
    """Rows of more cells than the header: put together where only one way of doing it fits the other rows."""
    width = len(sheet.header)
    count = len(odd)
    read = sheet.read
    row_word = "row has" if count == 1 else "rows have"
    numeric = [
        bool(column) and sum(_is_number(cell) for cell in column) > 0.8 * sum(bool(cell.strip()) for cell in column)
        for column in (sheet.column(n)[:_EXAMINED] for n in range(width))
    ]
    columns = _columns(sheet, hints)
    must = columns.used if columns is not None and columns.kind in ("degrees", "plane", "pixels") else set()
    joined = 0
    for line, record in odd:
        fits = [
            whole for at in range(width) if (whole := _whole(record, at, width, delimiter, numeric, must)) is not None
        ]
        spaced = [(at, whole) for at, whole in fits if _spaced(record, at, width)]
        if len(spaced) == 1:
            fits = spaced
        if len(fits) == 1:
            sheet.rows.append(fits[0][1])
            sheet.lines.append(line)
            joined += 1
        else:
            read.skip(MORE_CELLS, f"line {line}")
    order = np.argsort(sheet.lines, kind="stable")
    sheet.rows[:] = [sheet.rows[n] for n in order]
    sheet.lines[:] = [sheet.lines[n] for n in order]
    if joined:
        read.repaired["rows with an unquoted mark in a text, joined"] += joined
    read.notes.append(
        f"{count} {row_word} more cells than the header, for want of quotation marks; {joined} could be put together "
        f"in one way only, {count - joined} were left out."
    )


def _whole(
    record: list[str], at: int, width: int, delimiter: str, numeric: list[bool], must: set[int]
) -> tuple[int, list[str]] | None:
    """The row with the cells from ``at`` on joined, or None where it would not fit its columns."""
    surplus = len(record) - width
    pieces = record[at : at + surplus + 1]
    if numeric[at] or at in must or any(_is_number(piece) for piece in pieces):
        return None
    whole = [*record[:at], delimiter.join(pieces), *record[at + surplus + 1 :]]
    fits = all(_is_number(whole[n]) or not whole[n].strip() for n in range(width) if numeric[n])
    return (at, whole) if fits and all(_is_number(whole[n]) for n in must) else None


def _spaced(record: list[str], at: int, width: int) -> bool:
    """Whether the marks within the joined text are followed by a space, as in prose, and no others are."""
    inner = range(at + 1, at + len(record) - width + 1)
    return all(record[n][:1] == " " for n in inner) and not any(
        record[n][:1] == " " for n in range(1, len(record)) if n not in inner
    )


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"\s*[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?\s*", text)) or (
        bool(text.strip()) and np.isfinite(read_pairs([text], [text]).x[0])
    )


# -------------------------------------------------------------------- places


@dataclass(frozen=True)
class _Columns:
    """Columns that may hold the places: of degrees, of a plane, of pixels, of a shape, or of both coordinates in one."""

    kind: str
    x: int
    y: int
    named: bool = True

    @property
    def used(self) -> set[int]:
        return {self.x, self.y}


def places_of(sheet: Sheet, hints: Hints = NO_HINTS) -> Places:
    """Where each row lies.

    Raises:
        LabelError: there are no columns of coordinates, or those named do not exist.
    """
    columns = _columns(sheet, hints)
    if columns is None:
        numbers = sum(_is_number(name) for name in sheet.header) > 1
        raise NoColumnsError(
            f"{sheet.name} has no columns of coordinates: columns named lon and lat, x and y, row and col, or WKT are looked for; "
            + (
                "the first line must name the columns, and it holds numbers."
                if numbers
                else f"its columns are: {', '.join(sheet.header[:20]) or 'none'}. Say which they are."
            ),
            () if numbers else sheet.header,
        )
    if columns.kind == "shape":
        return _shaped(sheet, columns)
    if columns.kind == "pair":
        halves = [re.split(r"\s*[,;]\s+|\s*;\s*|,|\s+", cell.strip().strip("()[]")) for cell in sheet.column(columns.x)]
        ys, xs = ([half[n] if len(half) > n else "" for half in halves] for n in (0, 1))
    else:
        xs, ys = sheet.column(columns.x), sheet.column(columns.y)
    places = _paired(sheet, columns, xs, ys)
    if columns.kind == "plane" and columns.named:
        _systems(sheet, places)
    return places


def _paired(sheet: Sheet, columns: _Columns, xs: list[str], ys: list[str]) -> Places:
    import shapely

    pairs = read_pairs(xs, ys)
    sheet.read.repaired.update(pairs.repaired)
    # A row and column name a pixel; its label lies at the centre.
    offset = 0.5 if columns.kind == "pixels" else 0.0
    known = np.isfinite(pairs.x)
    geometries: list[Any] = [None] * len(xs)
    for n, point in zip(
        np.flatnonzero(known), shapely.points(pairs.x[known] + offset, pairs.y[known] + offset), strict=True
    ):
        geometries[n] = point
    reasons = [
        "" if ok else NO_NUMBERS if a.strip() or b.strip() else NO_COORDINATES
        for ok, a, b in zip(known.tolist(), xs, ys, strict=True)
    ]
    degrees = columns.kind in ("degrees", "pair")
    heading = f"the columns {sheet.header[columns.y]} and {sheet.header[columns.x]}"
    return Places(
        geometries,
        reasons,
        columns.used,
        "EPSG:4326" if degrees else None,
        heading if columns.x != columns.y else f"the column {sheet.header[columns.x]}",
        columns.kind == "pixels",
    )


def _shaped(sheet: Sheet, columns: _Columns) -> Places:
    cells = sheet.column(columns.x)
    shapes = read_shapes(cells)
    reasons = [
        "" if shape is not None else NO_SHAPE if cell.strip() else NO_COORDINATES
        for shape, cell in zip(shapes.geometries, cells, strict=True)
    ]
    places = Places(shapes.geometries, reasons, columns.used)
    _state(sheet, places, shapes.srids, "the SRID of each geometry")
    if places.crs == "EPSG:4326" and all(cell.lstrip()[:1] in ("{", "") for cell in cells):
        places.crs_from = "the standard of GeoJSON"
    if places.crs is None:
        _systems(sheet, places)
    return places


def _systems(sheet: Sheet, places: Places) -> None:
    """A column may say the coordinate system of each row."""
    for number, name in enumerate(sheet.header):
        if _plain(name) in _SYSTEM and number not in places.used:
            found = [
                re.fullmatch(r"\s*(?:EPSG\s*:+\s*)?(\d{4,6})(?:\.0)?\s*", cell, re.I) for cell in sheet.column(number)
            ]
            _state(sheet, places, [int(match[1]) if match else 0 for match in found], f"the column {name}")
            if places.crs is not None:
                places.used.add(number)
            return


def _state(sheet: Sheet, places: Places, srids: Sequence[int], who: str) -> None:
    """Use the EPSG codes that rows state, bringing those of several into one."""
    codes = {srid: f"EPSG:{3857 if srid == 900913 else srid}" for srid in set(srids) if srid}
    if not codes:
        return
    parts: dict[str | None, list[Feature]] = {}
    holders: list[tuple[int, Feature]] = []
    for n, (geometry, srid) in enumerate(zip(places.geometries, srids, strict=True)):
        if geometry is not None:
            holders.append((n, Feature(geometry)))
            parts.setdefault(codes.get(srid), []).append(holders[-1][1])
    if not any(parts):
        return
    silent = len(parts.get(None, []))
    places.crs = in_one_system([(features, crs) for crs, features in parts.items()], sheet.read.notes)
    places.crs_from = who
    for n, holder in holders:
        places.geometries[n] = holder.geometry
    if silent:
        sheet.read.notes.append(
            f"{silent} places state no coordinate system; they were taken as {places.crs} like the others."
        )


def _columns(sheet: Sheet, hints: Hints) -> _Columns | None:
    """The columns that hold the places: those a person names, else those of fitting name whose cells can be read."""
    if hints.lon is not None or hints.lat is not None:
        return _told(sheet, hints)
    candidates = [*_shape_columns(sheet), *_pair_columns(sheet)]
    best: _Columns | None = None
    most = -1.0
    for candidate in candidates:
        share = _readable(sheet, candidate)
        if share >= 0.5:
            return candidate
        if share > most and candidate.kind != "pair":
            best, most = candidate, share
    return best


def _told(sheet: Sheet, hints: Hints) -> _Columns:
    if hints.lon is None or hints.lat is None:
        raise LabelError("Name both columns of coordinates, that of longitude (or x) and that of latitude (or y).")
    x, y = (sheet.header.index(named(name, sheet.header, "column", sheet.name)) for name in (hints.lon, hints.lat))
    if x == y:
        raise LabelError(f"Longitude and latitude cannot both be in the column {sheet.header[x]!r}.")
    pairs = read_pairs(sheet.column(x), sheet.column(y))
    known = np.isfinite(pairs.x)
    # Whether they are degrees shows in their size.
    like = known.any() and bool(np.mean((np.abs(pairs.x[known]) <= 360) & (np.abs(pairs.y[known]) <= 90)) > 0.5)
    return _Columns("degrees" if like else "plane", x, y)


def _shape_columns(sheet: Sheet) -> list[_Columns]:
    by_name = [n for wanted in _SHAPE for n, name in enumerate(sheet.header) if _plain(name) == wanted]
    by_look = [
        n
        for n in range(len(sheet.header))
        if n not in by_name and any(map(looks_like_shape, (row[n] for row in sheet.rows[:5])))
    ]
    return [_Columns("shape", n, n) for n in (*by_name, *by_look)]


def _pair_columns(sheet: Sheet) -> list[_Columns]:
    """Pairs of columns by their names, most telling first."""
    axes: dict[tuple[str, str], dict[str, int]] = {}
    for number, name in enumerate(sheet.header):
        for kind, axis, rest in _meanings(name):
            axes.setdefault((kind, rest), {}).setdefault(axis, number)
    order = ("degrees", "plane", "pixels")
    found = [
        _Columns(kind, both["x"], both["y"])
        for (kind, rest), both in sorted(axes.items(), key=lambda item: (order.index(item[0][0]), len(item[0][1])))
        if len(both) == 2
    ]
    if not any(c.kind == "degrees" for c in found):
        # lat beside lng_wgs84: names that do not match but leave no choice.
        for kind in ("degrees", "plane"):
            loose: dict[str, set[int]] = {"x": set(), "y": set()}
            for (one, _), both in axes.items():
                if one == kind:
                    for axis, number in both.items():
                        loose[axis].add(number)
            if len(loose["x"]) == len(loose["y"]) == 1 and loose["x"] != loose["y"]:
                found.append(_Columns(kind, loose["x"].pop(), loose["y"].pop()))
    found += [_Columns("pair", n, n) for n, name in enumerate(sheet.header) if _plain(name) in _PAIR]
    return found


def _meanings(name: str) -> Iterator[tuple[str, str, str]]:
    """What a column may be: ``(kind, axis, what is left of its name)``."""
    word = _plain(name)
    for kind, xs, ys in (("degrees", _LON_WORDS, _LAT_WORDS), ("plane", _X_WORDS, _Y_WORDS), ("pixels", _COL, _ROW)):
        for axis, words in (("x", xs), ("y", ys)):
            if word in words:
                yield kind, axis, ""
            elif kind != "pixels":
                parts = [_plain(part) for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", _bare(name))]
                hits = [part for part in parts if part in words and part not in ("e", "n")]
                if len(hits) == 1 and len(parts) > 1:
                    parts.remove(hits[0])
                    yield kind, axis, "".join(parts)
    if word in ("coordsx1", "coordsx2"):
        yield "plane", "x" if word.endswith("1") else "y", "coords"


def _readable(sheet: Sheet, columns: _Columns) -> float:
    """How many of some rows have a place in these columns."""
    step = max(1, len(sheet.rows) // _EXAMINED)
    rows = [row for row in sheet.rows[::step] if row[columns.x].strip()]
    if not rows:
        return 0.0
    if columns.kind == "shape":
        return sum(shape is not None for shape in read_shapes([row[columns.x] for row in rows]).geometries) / len(rows)
    if columns.kind == "pair":
        return sum(bool(re.search(r"\d\D+\d", row[columns.x])) for row in rows) / len(rows)
    pairs = read_pairs([row[columns.x] for row in rows], [row[columns.y] for row in rows])
    return float(np.mean(np.isfinite(pairs.x)))


def _bare(name: str) -> str:
    """A name without accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", _bare(name).casefold())
