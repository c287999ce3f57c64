"""What people and programs write into cells: numbers with commas or groups, angles with minutes, geometries as text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

GROUPS = "coordinates with separators of thousands read"
ANGLES = "coordinates in degrees and minutes read"
EXCHANGED = "rows with latitude and longitude exchanged, by the letters N, S, E and W"

_GROUPED = re.compile(r"(?<=\d)[ \u00a0\u202f'’](?=\d{3}(?!\d))")
_MARKS = re.compile(r"[+-]?[\d.,]+")
_PLAIN = str.maketrans(
    {"\u2212": "-", "–": "-", "º": "°", "˚": "°", "′": "'", "’": "'", "´": "'", "‘": "'", "″": '"', "”": '"', "“": '"'}
)
_ANGLE = re.compile(
    r"""(?P<before>[NSEW])?\s*(?P<sign>[+-])?\s*
        (?P<d>\d{1,3}(?:[.,]\d+)?)\s*(?P<mark>°|d(?:eg)?\.?|:|\s)?\s*
        (?:(?P<m>\d{1,2}(?:[.,]\d+)?)\s*(?:'|min\.?|:|\s)?\s*
           (?:(?P<s>\d{1,2}(?:[.,]\d+)?)\s*(?:"|'')?)?)?
        \s*(?P<after>[NSEW])?""",
    re.VERBOSE | re.IGNORECASE,
)
_SRID = re.compile(r"\s*SRID\s*=\s*(\d+)\s*;\s*", re.IGNORECASE)
_HEX = re.compile(r"(?:\\\\?x|0x)?((?:[0-9a-f]{2}){9,})", re.IGNORECASE)
_WKT = re.compile(
    r"(?:SRID\s*=\s*\d+\s*;\s*)?(?:MULTI)?(?:POINT|LINESTRING|POLYGON|GEOMETRYCOLLECTION|LINEARRING)\s*(?:Z|M|ZM)?\s*(?:\(|EMPTY)",
    re.IGNORECASE,
)


def parse_number(value: object, *, grouped: bool = False) -> float | None:
    """A finite number, or None where there is none.

    Understands what people type and spreadsheets save: decimal commas, groups of thousands, a percent sign, a typographic
    minus. ``12,5`` is twelve and a half; ``1,234`` is a thousand only where ``grouped`` says that commas make groups.
    """
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip().replace("\u2212", "-").removesuffix("%").strip()
        text = _GROUPED.sub("", text)
        comma, dot = text.rfind(","), text.rfind(".")
        if (grouped or dot > comma) and re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?", text):
            text = text.replace(",", "")
        elif text.count(",") == 1 and comma > dot:
            text = text.replace(".", "").replace(",", ".")
        # float() also takes "nan", "1_000" and digits of other scripts.
        if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII):
            return None
        value = text
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if np.isfinite(number) else None


class Pairs(NamedTuple):
    """Coordinates of rows.

    Attributes:
        x, y: float64 (N,), NaN where either cell is no number.
        repaired: how cells were read -> rows.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    repaired: Counter[str]


def read_pairs(xs: Sequence[str], ys: Sequence[str]) -> Pairs:
    """Two columns of coordinates: plain numbers, decimal commas, groups of thousands, or degrees and minutes.

    Which of comma and point is decimal is told from all cells of both columns together.
    """
    plain, style = _plain_numbers(xs, ys), None
    if plain is not None:
        plain[:, ~np.isfinite(plain).all(0)] = np.nan
        size = np.abs(plain)
        # Numbers like 560.455 that are too large for degrees and small for metres may be thousands with a point between.
        style = _Style.of([*xs, *ys]) if ((size > 360) & (size < 1000)).any() else None
        if style is None or not style.group:
            return Pairs(plain[0], plain[1], Counter())
    style = style or _Style.of([*xs, *ys])
    repaired: Counter[str] = Counter()
    x, y = np.full(len(xs), np.nan), np.full(len(ys), np.nan)
    for n, (a, b) in enumerate(zip(xs, ys, strict=True)):
        first, second = style.read(a), style.read(b)
        if first is None or second is None:
            continue
        if (first.axis == "y" and second.axis in ("x", "")) or (second.axis == "x" and first.axis in ("y", "")):
            first, second = second, first
            repaired[EXCHANGED] += 1
        elif first.axis == "y" or second.axis == "x":
            continue
        x[n], y[n] = first.value, second.value
        repaired.update({first.how, second.how} - {""})
    return Pairs(x, y, repaired)


def _plain_numbers(*columns: Sequence[str]) -> NDArray[np.float64] | None:
    """Cells that are all plain numbers, float64 (columns, N); None where one is not."""
    try:
        return np.array([[float(text) for text in column] for column in columns], np.float64)
    except ValueError:
        return None


class _Cell(NamedTuple):
    value: float
    axis: str = ""
    how: str = ""


class _Style(NamedTuple):
    """Which mark is decimal in a table's coordinates, and which one makes groups."""

    decimal: str = "."
    group: str = ""

    @classmethod
    def of(cls, texts: Sequence[str]) -> _Style:
        cells = [t for t in (_clean(text) for text in texts) if _MARKS.fullmatch(t)]
        both = Counter("," if t.rfind(",") > t.rfind(".") else "." for t in cells if "," in t and "." in t)
        if both:
            decimal = both.most_common(1)[0][0]
            return cls(decimal, "." if decimal == "," else ",")
        for mark, other in ((",", "."), (".", ",")):
            if any(t.count(mark) > 1 for t in cells):
                return cls(other, mark)
        for mark, other in ((",", "."), (".", ",")):
            # 560,455 and 764,725 are metres by their size: no degrees are like that.
            marked = [t for t in cells if mark in t]
            if (
                marked
                and all(re.fullmatch(rf"[+-]?[1-9]\d{{0,2}}\{mark}\d{{3}}", t) for t in marked)
                and any(abs(float(t.replace(",", "."))) > 360 for t in marked)
            ):
                return cls(other, mark)
        return cls("," if any("," in t for t in cells) else ".")

    def read(self, text: str) -> _Cell | None:
        cleaned = _clean(text)
        how = GROUPS if len(cleaned) < len(text.strip().translate(_PLAIN)) else ""
        number = cleaned
        if self.group and self.group in number:
            if not re.fullmatch(rf"[+-]?\d{{1,3}}(\{self.group}\d{{3}})+(\{self.decimal}\d*)?", number):
                return _angle(text)
            number, how = number.replace(self.group, ""), GROUPS
        if "," in number and "." not in number and number.count(",") == 1:
            number = number.replace(",", ".")
        if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", number, re.ASCII):
            value = float(number)
            return _Cell(value, how=how) if np.isfinite(value) else None
        return _angle(text)


def _clean(text: str) -> str:
    return _GROUPED.sub("", text.strip().translate(_PLAIN))


def _angle(text: str) -> _Cell | None:
    """Degrees with minutes, seconds or a letter of the hemisphere; None where it is not that, or contradicts itself."""
    match = _ANGLE.fullmatch(text.strip().translate(_PLAIN))
    if match is None or (match["before"] and match["after"]):
        return None
    letter = (match["before"] or match["after"] or "").upper()
    degrees, minutes, seconds = (float((match[part] or "0").replace(",", ".")) for part in "dms")
    if (match["m"] and degrees % 1) or (match["s"] and minutes % 1) or minutes >= 60 or seconds >= 60:
        return None
    if letter and match["sign"] == "-":
        return None
    value = degrees + minutes / 60 + seconds / 3600
    negative = match["sign"] == "-" or letter in ("S", "W")
    axis = {"N": "y", "S": "y", "E": "x", "W": "x"}.get(letter, "")
    return _Cell(-value if negative else value, axis, ANGLES)


class Shapes(NamedTuple):
    """Geometries of cells.

    Attributes:
        geometries: shapely geometry, or None where the cell holds none, for each cell.
        srids: EPSG code that the cell itself states, 0 where it states none, for each cell.
    """

    geometries: list[Any]
    srids: list[int]


def looks_like_shape(text: str) -> bool:
    """Whether a cell holds a geometry: WKT or EWKT, WKB or EWKB in hexadecimal digits, or GeoJSON."""
    text = text.strip()
    return bool(_WKT.match(text) or _HEX.fullmatch(text) or (text[:1] == "{" and '"type"' in text))


def read_shapes(texts: Sequence[str]) -> Shapes:
    """Geometries of cells in any of the forms of :func:`looks_like_shape`, each by what it looks like."""
    import shapely

    geometries: list[Any] = [None] * len(texts)
    srids = [0] * len(texts)
    kinds: dict[str, tuple[list[int], list[str]]] = {kind: ([], []) for kind in ("wkt", "wkb", "json")}
    for n, raw in enumerate(texts):
        text = raw.strip()
        if found := _HEX.fullmatch(text):
            kind, text = "wkb", found[1]
        elif text[:1] == "{":
            kind = "json"
        else:
            kind = "wkt"
            if found := _SRID.match(text):
                srids[n], text = int(found[1]), text[found.end() :]
        kinds[kind][0].append(n)
        kinds[kind][1].append(text)
    for kind, read in (("wkt", shapely.from_wkt), ("wkb", shapely.from_wkb), ("json", shapely.from_geojson)):
        rows, cells = kinds[kind]
        if not rows:
            continue
        # A number too large for a float is no coordinate; that is found and counted later.
        with np.errstate(all="ignore"):
            found = read(np.array(cells, object), on_invalid="ignore")
        for n, shape in zip(rows, found, strict=True):
            geometries[n] = shape
            if shape is None:
                srids[n] = 0
            elif kind == "wkb":
                srids[n] = int(shapely.get_srid(shape))
            elif kind == "json":
                srids[n] = 4326
    return Shapes(geometries, srids)
