"""Coordinates as people write them: decimal degrees, degrees and minutes, UTM, WKT, a box, or the address of a web map.

Where the order is not written it is latitude, longitude, as on most maps and phones; what was assumed is said. Knows no regions.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from tessera_core.errors import InputError
from tessera_core.grid import transformer
from tessera_core.region import parse_bbox
from tessera_core.types import BBox

_PLAIN = str.maketrans(
    {"−": "-", "–": "-", "º": "°", "˚": "°", "′": "'", "’": "'", "´": "'", "″": '"', "”": '"', "“": '"'}
)
_WORDS = (
    (r"\b(?:latitude|lat)\b\s*[:=]?", " y "),
    (r"\b(?:longitude|long|lng|lon)\b\s*[:=]?", " x "),
    (r"\bnorth\b", "N"),
    (r"\bsouth\b", "S"),
    (r"\beast\b", "E"),
    (r"\bwest\b", "W"),
    (r"''", '"'),
    (r"(?<=\d)\s*(?:degrees|deg)\b|(?<=\d)\s*d(?=\s*\d|\b)", "° "),
)
# A letter, then degrees with or without minutes and seconds, then a letter.
_ANGLE = re.compile(
    r"""(?P<before>[NSEWxy]\s*)?
        (?P<degrees>[-+]?\d+(?:\.\d*)?|[-+]?\.\d+)\s*(?P<mark>°)?
        (?:\s*(?P<minutes>\d+(?:\.\d+)?)\s*')?
        (?:\s*(?P<seconds>\d+(?:\.\d+)?)\s*")?
        (?:\s*(?P<after>[NSEW])(?![A-Za-z]))?""",
    re.VERBOSE,
)
_DECIMAL_COMMAS = re.compile(r"^\s*([-+]?\d{1,3}),(\d+)\s*([NS]?)\s*[;\s]\s*([-+]?\d{1,3}),(\d+)\s*([EW]?)\s*$", re.I)
_UTM = re.compile(
    r"^\s*(?:utm\s*)?(?:zone\s*)?(\d{1,2})\s*([C-HJ-NP-X])[\s,;:]+(\d+(?:\.\d*)?)\s*(?:m\s*)?e?[\s,;]+(\d+(?:\.\d*)?)\s*(?:m\s*)?n?\s*$",
    re.I,
)
_EPSG = re.compile(r"^\s*epsg:\s*(\d+)[\s,;:]+([-+]?\d+(?:\.\d*)?)[\s,;]+([-+]?\d+(?:\.\d*)?)\s*$", re.I)
_WEB = (
    r"@(?P<lat>-?\d+(?:\.\d+)?),(?P<lon>-?\d+(?:\.\d+)?)",
    r"#map=[\d.]+/(?P<lat>-?\d+(?:\.\d+)?)/(?P<lon>-?\d+(?:\.\d+)?)",
    r"[?&](?:q|ll|mlat)=(?P<lat>-?\d+(?:\.\d+)?)(?:,|%2C|&mlon=)(?P<lon>-?\d+(?:\.\d+)?)",
    r"^\s*geo:(?P<lat>-?\d+(?:\.\d+)?),(?P<lon>-?\d+(?:\.\d+)?)",
)
HOW = (
    "Write latitude and longitude in degrees, such as 52.20, 0.12 or 52°12'N 0°7'E; UTM, such as 33N 500000 4649776; "
    "or a box: west, south, east, north."
)


@dataclass(frozen=True)
class Parsed:
    """Coordinates that were read.

    Attributes:
        lon, lat: degrees; the middle where it is a box.
        bbox: ``(west, south, east, north)`` in degrees where an area was written, else None.
        order_note: what was assumed about the order or the hemisphere, a sentence; empty where it was written.
    """

    lon: float
    lat: float
    bbox: BBox | None = None
    order_note: str = ""


def parse(text: str) -> Parsed:
    """The place or box that a text stands for.

    Raises:
        InputError: it stands for none, or for one that is not on Earth.
    """
    plain = text.translate(_PLAIN).strip()
    if re.match(r"^(?:SRID=\d+;)?\s*(?:MULTI)?(?:POINT|POLYGON|LINESTRING)\b", plain, re.I):
        return _wkt(plain)
    if epsg := _EPSG.match(plain):
        return _projected(f"EPSG:{epsg[1]}", float(epsg[2]), float(epsg[3]), text)
    if utm := _UTM.match(plain):
        return _utm(int(utm[1]), utm[2].upper(), float(utm[3]), float(utm[4]), text)
    for pattern in _WEB:
        if found := re.search(pattern, plain):
            return _place(float(found["lon"]), float(found["lat"]), "", text)
    if commas := _DECIMAL_COMMAS.match(plain):
        plain = f"{commas[1]}.{commas[2]}{commas[3]} {commas[4]}.{commas[5]}{commas[6]}"
    numbers = re.fullmatch(r"\[?\s*([-+.\d]+)[,;\s]+([-+.\d]+)[,;\s]+([-+.\d]+)[,;\s]+([-+.\d]+)\s*\]?", plain)
    if numbers:
        return _box(parse_bbox(",".join(numbers.groups())).bbox)
    return _angles(plain, text)


# ------------------------------------------------------------------ notations


def _angles(plain: str, text: str) -> Parsed:
    for pattern, instead in _WORDS:
        plain = re.sub(pattern, instead, plain, flags=re.I)
    plain = re.sub(r"(?<![A-Za-z])([nsewo])(?![A-Za-z])", lambda letter: letter[1].upper(), plain)
    if re.search(r"(?<![A-Za-z])O(?![A-Za-z])", plain):
        raise InputError(f"In {text!r} the letter O may mean east or west; write E or W.")
    found: list[tuple[str, float]] = []
    rest = plain
    letters_first = bool(re.match(r"\s*[NSEW]", plain))
    position = 0
    while match := _ANGLE.search(rest, position):
        before, after = (match["before"] or "").strip(), match["after"] or ""
        end = match.end()
        if after and (letters_first or before in ("N", "S", "E", "W")):
            # "N 52.2 E 0.12": the letter belongs to the number that follows.
            after, end = "", match.start("after")
        found.append((before if before in ("N", "S", "E", "W") else after or before, _degrees(match, text)))
        rest = rest[: match.start()] + " " * (end - match.start()) + rest[end:]
        position = end
    if re.search(r"[^\s,;()\[\]]", rest) or len(found) not in (2, 4):
        raise InputError(f"{text!r} is not read as coordinates. {HOW}")
    lats = [_signed(axis, value, text) for axis, value in found if axis in ("N", "S", "y")]
    lons = [_signed(axis, value, text) for axis, value in found if axis in ("E", "W", "x")]
    if len(found) == 4:
        if len(lats) != 2 or len(lons) != 2:
            raise InputError(f"{text!r} is not read as two corners of a box. {HOW}")
        return _box(parse_bbox(f"{min(lons)!r},{min(lats)!r},{max(lons)!r},{max(lats)!r}").bbox)
    if lats and lons:
        return _place(lons[0], lats[0], "", text)
    if len(lats) == 2 or len(lons) == 2:
        raise InputError(f"{text!r} has two {'latitudes' if lats else 'longitudes'}. {HOW}")
    first, second = (value for _, value in found)
    if lats or lons:
        known_first = found[0][0] != ""
        lat, lon = (lats[0], second if known_first else first) if lats else (second if known_first else first, lons[0])
        return _place(lon, lat, "", text)
    if abs(first) > 90 and abs(second) <= 90:
        return _place(
            first, second, f"Read as longitude {first:g}, latitude {second:g}: no latitude is beyond 90.", text
        )
    return _place(second, first, f"Read as latitude {first:g}, longitude {second:g}.", text)


def _degrees(match: re.Match[str], text: str) -> float:
    degrees, minutes, seconds = float(match["degrees"]), float(match["minutes"] or 0), float(match["seconds"] or 0)
    if minutes >= 60 or seconds >= 60:
        raise InputError(f"In {text!r} minutes and seconds must be below 60.")
    sign = -1.0 if match["degrees"].startswith("-") else 1.0
    return sign * (abs(degrees) + minutes / 60 + seconds / 3600)


def _signed(axis: str, value: float, text: str) -> float:
    if axis in ("S", "W") and value < 0:
        raise InputError(f"{text!r} has both a minus and the letter {axis}; write one of them.")
    return -value if axis in ("S", "W") else value


def _wkt(text: str) -> Parsed:
    import shapely

    try:
        shape = shapely.from_wkt(text.split(";", 1)[-1])
    except shapely.errors.GEOSException as error:
        raise InputError(f"{text[:60]!r} is not a geometry in WKT; such as POINT (0.12 52.2).") from error
    if shape.is_empty:
        raise InputError(f"{text[:60]!r} is an empty geometry.")
    if shape.geom_type == "Point":
        return _place(shape.x, shape.y, "", text)
    return _box(parse_bbox(",".join(repr(float(v)) for v in shape.bounds)).bbox)


def _utm(zone: int, letter: str, easting: float, northing: float, text: str) -> Parsed:
    if not 1 <= zone <= 60:
        raise InputError(f"{text!r}: UTM zones go from 1 to 60.")
    note, south = "", letter < "N"
    if letter == "S":
        # It is also the name of a band at 32 to 40 degrees north.
        south = True
        if 3_540_000 < northing < 4_430_000:
            note = f"Read as zone {zone} south; write {zone}N for the northern half."
    found = _projected(f"EPSG:{(32700 if south else 32600) + zone}", easting, northing, text)
    if not 100_000 <= easting <= 900_000:
        raise InputError(f"{text!r}: an easting lies between 100000 and 900000 metres; easting comes before northing.")
    return Parsed(found.lon, found.lat, None, note)


def _projected(crs: str, x: float, y: float, text: str) -> Parsed:
    from pyproj.exceptions import ProjError

    try:
        lon, lat = (float(value) for value in transformer(crs, "EPSG:4326").transform(x, y))
    except ProjError as error:
        raise InputError(
            f"{text!r}: there is no coordinate system {crs}; such as EPSG:32633 500000 4649776."
        ) from error
    return _place(lon, lat, "", text)


def _place(lon: float, lat: float, note: str, text: str) -> Parsed:
    if not (math.isfinite(lon) and math.isfinite(lat) and abs(lon) <= 180 and abs(lat) <= 90):
        hint = " Latitude and longitude may be swapped." if abs(lon) <= 90 < abs(lat) <= 180 else ""
        raise InputError(f"{text!r} lies not on Earth: latitude {lat:g}, longitude {lon:g}.{hint}")
    return Parsed(lon, lat, None, note)


def _box(bbox: BBox) -> Parsed:
    west, south, east, north = bbox
    return Parsed((west + east) / 2, (south + north) / 2, bbox)
