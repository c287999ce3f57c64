"""A gazetteer without a network: 170,000 towns and villages of the world by name, in many languages.

Accents, case and hyphens do not matter. Where the names come from: :mod:`tessera_core.geocoding.places`. Knows no maps.
"""

from __future__ import annotations

import functools
import threading
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.geocoding import places
from tessera_core.geocoding.places import Places

# Letters that do not fall apart into a letter and an accent.
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ß": "ss", "æ": "ae", "œ": "oe", "ı": "i", "þ": "th", "ð": "d"})
_GAPS = str.maketrans(dict.fromkeys("-'’`.,()/\n", " "))
# What people write instead of the names in the package.
_COUNTRIES = {
    "uk": "GB",
    "great britain": "GB",
    "england": "GB",
    "scotland": "GB",
    "wales": "GB",
    "usa": "US",
    "america": "US",
    "holland": "NL",
    "czechia": "CZ",
    "uae": "AE",
    "drc": "CD",
}
_guard = threading.Lock()


@dataclass(frozen=True)
class NamedPlace:
    """A town or village.

    Attributes:
        name: as GeoNames writes it.
        country: its English name; with the state in the United States.
        lon, lat: degrees.
        population: people.
    """

    name: str
    country: str
    lon: float
    lat: float
    population: int


def search(text: str, limit: int = 8) -> list[NamedPlace]:
    """Places whose name is, begins with or has a word that begins with a text; the best first, then the most populous.

    Args:
        text: a name in any language the gazetteer knows; a country or a state of the United States may follow a comma.
        limit: at most so many.

    Returns:
        Places, none where nothing fits.
    """
    name, _, where = text.partition(",")
    wanted, where = fold(name), fold(where)
    if len(wanted) < 2 or limit < 1:
        return []
    known = _known()
    found: dict[int, None] = {}
    for pattern in (f"\n{wanted}\n", f"\n{wanted}", f" {wanted}"):
        hits = dict.fromkeys(n for n in _hits(known, pattern.encode("utf-8")) if _is_in(known, n, where))
        # A place's own name before a name in another language.
        ranked = sorted(hits, key=lambda number: (not fold(known.name(number)).startswith(wanted), number))
        found |= dict.fromkeys(ranked)
        if len(found) >= limit:
            break
    return [_place(known, number) for number in list(found)[:limit]]


def ready() -> bool:
    """Whether a search would answer at once; the first on a computer has to unpack all names before."""
    return _read.cache_info().currsize > 0


def load() -> None:
    """Do what the first search would wait for."""
    _tree()


def nearest(lon: float, lat: float) -> tuple[NamedPlace, float]:
    """The place nearest to a point in degrees, and how far it is in km along the great circle."""
    known = _known()
    chord, number = _tree().query(_on_sphere(np.array([[lon, lat]]))[0])
    return _place(known, int(number)), 2 * 6371.0 * float(np.arcsin(min(1.0, chord / 2)))


def within(west: float, south: float, east: float, north: float, limit: int = 12) -> list[NamedPlace]:
    """Places in a box of degrees, the most populous first."""
    known = _known()
    lon, lat = known.lon_lat[:, 0], known.lon_lat[:, 1]
    inside = np.flatnonzero((lon >= west) & (lon <= east) & (lat >= south) & (lat <= north))
    return [_place(known, int(number)) for number in inside[:limit]]


def fold(text: str) -> str:
    """A name without accents, case, hyphens and points, for comparing."""
    plain = text.casefold()
    if not plain.isascii():
        plain = unicodedata.normalize("NFKD", plain.translate(_LETTERS))
        plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return " ".join(plain.translate(_GAPS).split())


def _hits(known: Places, pattern: bytes, most: int = 5000) -> Iterator[int]:
    """Numbers of the places one of whose folded names has the pattern, once for each time it stands there."""
    at = int(known.starts[0]) - 1
    for _ in range(most):
        at = known.data.find(pattern, at + 1)
        if at < 0:
            return
        # A line's own newline stands before it. Of the same type: another would copy all of them for each question.
        yield int(np.searchsorted(known.starts, np.int32(at + (pattern[:1] == b"\n")), side="right")) - 1


def _is_in(known: Places, number: int, where: str) -> bool:
    if not where:
        return True
    wanted = _COUNTRIES.get(where, where.upper())
    code, country = known.codes[known.code[number]], known.countries[known.code[number]]
    return (
        code.startswith(f"{wanted}.")
        or any(part.startswith(where) for part in (fold(country), fold(country.split(",")[-1])))
        or code == f"US.{wanted}"
    )


def _place(known: Places, number: int) -> NamedPlace:
    lon, lat = (float(value) for value in known.lon_lat[number])
    return NamedPlace(known.name(number), known.countries[known.code[number]], lon, lat, int(known.people[number]))


def _known() -> Places:
    with _guard:
        return _read()


@functools.cache
def _read() -> Places:
    return places.read()


@functools.cache
def _tree() -> Any:
    """To find the nearest by chords through the globe."""
    from scipy.spatial import cKDTree

    return cKDTree(_on_sphere(_known().lon_lat))


def _on_sphere(lon_lat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vectors float64 (N, 3)."""
    lon, lat = np.radians(lon_lat).T
    return np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
