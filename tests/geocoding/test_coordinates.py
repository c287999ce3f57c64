"""Coordinates in the usual notations: the right place, what was assumed, and one sentence for what is none."""

from __future__ import annotations

import pytest

from tessera_core.errors import InputError
from tessera_core.geocoding.coordinates import parse


@pytest.mark.parametrize(
    "text",
    [
        "52.2 N 0.12 E",
        "52.2N, 0.12E",
        "N 52.2 E 0.12",
        "N52.2, E0.12",
        "0.12E 52.2N",
        "52.2, 0.12",
        "52.2 0.12",
        "52.2; 0.12",
        "(52.2, 0.12)",
        "52,2 0,12",
        "52,2; 0,12",
        "lat 52.2 lon 0.12",
        "lon=0.12, lat=52.2",
        "Latitude: 52.2, Longitude: 0.12",
        "52°12'N 0°7'12\"E",
        "52º 12′ 0″ N, 0º 7′ 12″ E",
        "52d12'00\"N 0d7'12\"E",
        "52° 12' north 0° 7.2' east",
        "52.2° 0.12°",
        "POINT (0.12 52.2)",
        "SRID=4326;POINT(0.12 52.2)",
        "geo:52.2,0.12?z=5",
        "https://maps.example.org/maps/@52.2,0.12,15z",
        "https://osm.example.org/#map=12/52.2/0.12",
    ],
)
def test_one_place_in_many_notations(text: str) -> None:
    found = parse(text)
    assert (found.lon, found.lat) == (pytest.approx(0.12, abs=1e-9), pytest.approx(52.2, abs=1e-9))
    assert found.bbox is None


@pytest.mark.parametrize(
    ("text", "lon", "lat"),
    [
        ("33.5 S, 70.6 W", -70.6, -33.5),
        ("-33.5 -70.6", -70.6, -33.5),
        ("33°30'S 70°36'W", -70.6, -33.5),
        ("-0°30' 10°0'", 10.0, -0.5),
        ("33N 500000 4649776", 15.0, 42.0),
        ("33T 500000mE 4649776mN", 15.0, 42.0),
        ("UTM zone 33N, 500000, 4649776", 15.0, 42.0),
        ("EPSG:32633 500000 4649776", 15.0, 42.0),
        ("19H 344000 6292000", -70.680, -33.500),
    ],
)
def test_other_halves_of_the_globe_and_metres(text: str, lon: float, lat: float) -> None:
    found = parse(text)
    assert (found.lon, found.lat) == (pytest.approx(lon, abs=2e-3), pytest.approx(lat, abs=2e-3))


@pytest.mark.parametrize(
    "text",
    [
        "0.05, 52.18, 0.20, 52.25",
        "0.05 52.18 0.20 52.25",
        "[0.05, 52.18, 0.20, 52.25]",
        "52.18N 0.05E 52.25N 0.20E",
        "POLYGON ((0.05 52.18, 0.2 52.18, 0.2 52.25, 0.05 52.25, 0.05 52.18))",
    ],
)
def test_boxes(text: str) -> None:
    found = parse(text)
    assert found.bbox == pytest.approx((0.05, 52.18, 0.2, 52.25))
    assert found.lon == pytest.approx(0.125)


def test_what_was_assumed_is_said() -> None:
    assert parse("52.2, 0.12").order_note == "Read as latitude 52.2, longitude 0.12."
    assert parse("52.2N 0.12E").order_note == ""
    swapped = parse("139.7, 35.7")
    assert (swapped.lon, swapped.lat) == (139.7, 35.7)
    assert "no latitude is beyond 90" in swapped.order_note
    assert "zone 33 south" in parse("33S 500000 4000000").order_note
    assert parse("33S 500000 9000000").order_note == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not read as coordinates"),
        ("52.2", "not read as coordinates"),
        ("somewhere 52.2 0.12", "not read as coordinates"),
        ("52.2N 0.12N", "two latitudes"),
        ("52°61'N 0°7'E", "below 60"),
        ("-52.2S 0.12E", "both a minus"),
        ("95N 10E", "not on Earth"),
        ("100N 20E", "swapped"),
        ("200, 300", "not on Earth"),
        ("48.1N 11.5O", "write E or W"),
        ("61N 500000 4649776", "1 to 60"),
        ("33N 4649776 500000", "easting"),
        ("POLYGON ((0 0, 1", "WKT"),
        ("POINT EMPTY", "empty"),
        ("1 2 3", "not read as coordinates"),
        ("1 nan 2 3", "not read as coordinates"),
        ("EPSG:999999 1 2", "EPSG:999999"),
    ],
)
def test_what_is_no_place_gets_a_sentence(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse(text)
