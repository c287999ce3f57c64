"""Requests for a place: their address says everything, equal requests have equal keys, and nothing leads astray."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import shapely

from tessera_core.errors import InputError
from tessera_core.project.request import EmbeddingRequest, box_around, from_query, keep, rounded, size_of, swapped
from tessera_core.region import Region, parse_bbox


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own: regions that do not fit an address are kept there."""
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path))
    return tmp_path


RING = [(0.1, 52.1), (0.2, 52.1), (0.15, 52.3)]
SHAPES = {
    "box": shapely.box(0.1234567, 52.1, 0.2, 52.2),
    "triangle": shapely.Polygon(RING),
    "circle": shapely.Point(-70.1, -33.4).buffer(0.1, 64),
    "hole": shapely.Polygon(shapely.box(0, 0, 1, 1).exterior, [shapely.box(0.4, 0.4, 0.6, 0.6).exterior]),
    "two": shapely.union(shapely.box(0, 0, 1, 1), shapely.box(2, 2, 3, 3)),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_an_address_is_the_whole_request(shape: shapely.Geometry) -> None:
    region = rounded(Region(shape, "My place, with a comma & more"))
    request = EmbeddingRequest(region, (2020, 2024), "1.1/dclimate", dim=64)
    again = from_query(request.query())
    assert again is not None
    assert again.region.geometry.equals(region.geometry)
    # The cache's key is made of these bytes.
    assert again.region.geometry.normalize().wkb == region.geometry.normalize().wkb
    assert (again.region.name, again.years, again.dataset, again.dim) == (region.name, (2020, 2024), "1.1/dclimate", 64)
    assert again.key == request.key
    assert (
        EmbeddingRequest(replace(region, name="Another name"), (2020, 2024), "1.1/dclimate", dim=64).key == request.key
    )


def test_another_store_takes_the_place_of_the_dataset() -> None:
    request = EmbeddingRequest(rounded(parse_bbox("0,0,1,1")), (2020,), "", "http://127.0.0.1:1/world.zarr")
    assert "dataset" not in request.query()
    assert request.source.location == "http://127.0.0.1:1/world.zarr"
    assert from_query(request.query()) == request


def test_no_place_no_request_and_the_default_dataset() -> None:
    assert from_query({"project": "x"}) is None
    request = from_query({"place": "0.1,52.1,0.2,52.2"})
    assert request is not None
    assert request.source.default
    assert request.years == ()


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"place": "1,2,3"}, "not a box"),
        ({"place": "0,0;1,1;a,b"}, "no list of corners"),
        ({"place": "0,0;400,1;1,2"}, "on Earth"),
        ({"place": "~0123"}, "another computer"),
        ({"place": "~../../project"}, "another computer"),
        ({"place": "0,0,1,1", "years": "last"}, "whole numbers"),
        ({"place": "0,0,1,1", "years": "5"}, "not years"),
        ({"place": "0,0,1,1", "dataset": "9.9/x"}, "no dataset"),
        ({"place": "52,0.1,52.00001,0.1"}, "South"),
    ],
)
def test_an_address_of_no_use_says_why(query: dict[str, str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        from_query(query)


def test_a_box_around_a_place_has_its_size_at_every_latitude() -> None:
    for lat in (0.0, 52.0, -70.0):
        width, height, area = size_of(box_around(10.0, lat, 5, "x"))
        assert width == pytest.approx(5, rel=0.01)
        assert height == pytest.approx(5, rel=0.01)
        assert area == pytest.approx(25, rel=0.02)
    with pytest.raises(InputError, match="latitude"):
        box_around(10, 95, 5, "x")
    with pytest.raises(InputError, match="180th"):
        box_around(179.99, 10, 5, "x")


def test_swapping_goes_both_ways_or_not_at_all() -> None:
    region = parse_bbox("0.1,52.1,0.2,52.2")
    other = swapped(region)
    assert other is not None
    assert other.bbox == pytest.approx((52.1, 0.1, 52.2, 0.2))
    assert swapped(parse_bbox("100,10,101,11")) is None


def test_what_is_smaller_than_the_address_can_say_is_refused() -> None:
    with pytest.raises(InputError, match="smaller than"):
        rounded(Region(shapely.box(0, 0, 1e-7, 1e-7)))


def test_a_damaged_kept_region_says_so(home: Path) -> None:
    path = keep(rounded(Region(SHAPES["circle"])))
    path.write_text("{}")
    with pytest.raises(InputError, match="damaged"):
        from_query({"place": f"~{path.stem}"})
