"""The gazetteer: names in any spelling, the right place first, the nearest place, and an index that is made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tessera_core.geocoding import gazetteer
from tessera_core.geocoding.gazetteer import fold, nearest, search


@pytest.fixture(scope="module", autouse=True)
def own_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One index for this module, in a home of its own."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        patch.setenv("TESSERA_HOME", str(home))
        gazetteer._read.cache_clear()
        yield home
        gazetteer._read.cache_clear()


@pytest.mark.parametrize(
    ("text", "name", "country", "lon", "lat"),
    [
        ("Cambridge", "Cambridge", "United Kingdom", 0.12, 52.2),
        ("cambridge, usa", "Cambridge", "Massachusetts, United States", -71.11, 42.37),
        ("Cambridge, Massachusetts", "Cambridge", "Massachusetts, United States", -71.11, 42.37),
        ("Cambridge, MA", "Cambridge", "Massachusetts, United States", -71.11, 42.37),
        ("Cambridge, New Zealand", "Cambridge", "New Zealand", 175.47, -37.88),
        ("Sao Paulo", "São Paulo", "Brazil", -46.64, -23.55),
        ("munchen", "Munich", "Germany", 11.58, 48.14),
        ("Köln", "Köln", "Germany", 6.95, 50.93),
        ("Nairobi", "Nairobi", "Kenya", 36.82, -1.28),
        ("東京", "Tokyo", "Japan", 139.69, 35.69),
        ("Aix en Provence", "Aix-en-Provence", "France", 5.45, 43.53),
        ("Odense", "Odense", "Denmark", 10.39, 55.40),
    ],
)
def test_the_place_that_is_meant_comes_first(text: str, name: str, country: str, lon: float, lat: float) -> None:
    first = search(text)[0]
    assert (first.name, first.country) == (name, country)
    assert (first.lon, first.lat) == (pytest.approx(lon, abs=0.1), pytest.approx(lat, abs=0.1))
    assert first.population > 1000


def test_beginnings_are_enough_and_larger_places_come_first() -> None:
    found = search("camb", limit=5)
    assert len(found) == 5
    assert all("camb" in fold(place.name) or place.population for place in found)
    people = [place.population for place in search("Springfield", limit=4)]
    assert people == sorted(people, reverse=True)


def test_nothing_is_made_up() -> None:
    assert search("xqzzyk") == []
    assert search("c") == []
    assert search("") == []
    assert search("Cambridge, Atlantis") == []
    assert search("Cambridge", limit=0) == []


def test_the_nearest_place_and_its_distance() -> None:
    place, km = nearest(0.119, 52.205)
    assert place.name == "Cambridge"
    assert km < 3
    _, far = nearest(-140.0, -48.0)
    assert far > 1000
    # Across the antimeridian.
    assert nearest(-179.99, -16.8)[1] < 500


def test_the_index_is_made_once_and_a_damaged_one_again(own_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search("Nairobi")
    (kept,) = (own_index / "cache").glob("places-*.npz")
    columns = gazetteer._columns

    def forbidden() -> None:
        raise AssertionError("the index was made twice")

    monkeypatch.setattr(gazetteer, "_columns", forbidden)
    gazetteer._read.cache_clear()
    assert search("Nairobi")[0].country == "Kenya"
    monkeypatch.setattr(gazetteer, "_columns", columns)
    kept.write_bytes(kept.read_bytes()[:1000])
    gazetteer._read.cache_clear()
    assert search("Nairobi")[0].country == "Kenya"
    assert kept.stat().st_size > 1_000_000
