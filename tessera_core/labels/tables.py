"""Tables of places: CSV with latitude and longitude, projected x and y, pixel rows and columns, or WKT."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from pathlib import Path
from typing import Any

from tessera_core.csvcells import unquoted
from tessera_core.errors import LabelError
from tessera_core.labels.importing import Feature, Read

_LAT = ("lat", "latitude", "latdd", "decimallatitude", "y", "northing")
_LON = ("lon", "lng", "long", "longitude", "londd", "decimallongitude", "x", "easting")
_ROW, _COL = ("row", "r"), ("col", "column", "c")
_WKT = ("wkt", "geometry", "geom", "thegeom", "wktgeometry")
_DEGREES = {
    "lat",
    "latitude",
    "latdd",
    "decimallatitude",
    "lon",
    "lng",
    "long",
    "longitude",
    "londd",
    "decimallongitude",
}


def read_csv(path: Path) -> Read:
    """Read a table of places with a header line; comma, semicolon or tab between cells, decimal comma understood.

    Raises:
        LabelError: there is no header with coordinates, or the file is no text.
    """
    text = _text(path)
    sample = text[:20_000]
    delimiter = max(",;\t|", key=lambda mark: sample.split("\n", 1)[0].count(mark))
    rows = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        header = [unquoted(name.strip()) for name in next(rows)]
        records = [row for row in rows if any(cell.strip() for cell in row)]
    except (StopIteration, csv.Error) as error:
        raise LabelError(f"{path.name} is empty or no table; the first line must name the columns.") from error
    columns = {re.sub(r"[^a-z0-9]", "", name.casefold()): number for number, name in reversed(list(enumerate(header)))}

    def column(names: tuple[str, ...]) -> int | None:
        return next((columns[name] for name in names if name in columns), None)

    wkt, lat, lon, row, col = (column(names) for names in (_WKT, _LAT, _LON, _ROW, _COL))
    if lat is not None and lon is not None:
        used = {lat, lon}
    elif wkt is not None:
        used = {wkt}
    elif row is not None and col is not None:
        used = {row, col}
    else:
        raise LabelError(
            f"{path.name} has no columns of coordinates: lat and lon, x and y, row and col, or WKT are looked for; "
            f"its columns are: {', '.join(header[:20]) or 'none'}."
        )
    skipped: Counter[str] = Counter()
    features: list[Feature] = []
    for record in records:
        cells = record + [""] * (len(header) - len(record))
        properties = {name: unquoted(cells[n].strip()) for n, name in enumerate(header) if n not in used}
        if lat is not None and lon is not None:
            geometry = _point(cells[lon], cells[lat])
        elif wkt is not None:
            geometry = _from_wkt(cells[wkt])
        else:
            assert row is not None
            assert col is not None
            # A row and column name a pixel; its label lies at the centre.
            geometry = _point(cells[col], cells[row], 0.5)
        if geometry is None:
            skipped["coordinates that are no numbers"] += 1
            continue
        features.append(Feature(geometry, properties))
    plain = {re.sub(r"[^a-z0-9]", "", header[n].casefold()) for n in used}
    pixels = wkt not in used and lat not in used
    return Read(features, "EPSG:4326" if plain <= _DEGREES else None, skipped=skipped, pixels=pixels)


def _text(path: Path) -> str:
    data = path.read_bytes()
    if b"\x00" in data[:1000] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise LabelError(f"{path.name} is not a text file; save the table as CSV.")
    for encoding in ("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def _point(x: str, y: str, offset: float = 0.0) -> Any:
    import shapely

    try:
        return shapely.Point(_number(x) + offset, _number(y) + offset)
    except ValueError:
        return None


def _number(text: str) -> float:
    text = text.strip()
    return float(text.replace(",", ".") if "," in text and "." not in text else text)


def _from_wkt(text: str) -> Any:
    import shapely

    try:
        return shapely.from_wkt(re.sub(r"^SRID=\d+;", "", text.strip()))
    except (shapely.errors.ShapelyError, TypeError):
        return None
