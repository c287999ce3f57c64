"""What the view map sends and makes of what comes back, without a browser."""

from __future__ import annotations

import json

import numpy as np
import pytest
from affine import Affine

from tessera_core.grid import Grid
from tessera_core.render.display import DisplayGrid
from tessera_core.session import view_protocol
from tessera_core.session.view_parts import ColourScale, Layer, Marker, Outline

UTM = DisplayGrid(Grid("EPSG:32631", Affine(10, 0, 700_000, 0, -10, 5_800_000), (40, 50)))
LOCAL = DisplayGrid(Grid.local((40, 50)))


def sent(*events: dict, epoch: str = "abcd1234") -> dict:
    return {"epoch": epoch, "events": list(events)}


def click(number: int, row: float, col: float, display: DisplayGrid = UTM, kind: str = "click") -> dict:
    x, y = display.from_pixel([row], [col])
    return {"id": number, "kind": kind, "xy": [[float(x[0]), float(y[0])]]}


def test_a_click_comes_back_as_pixel_and_degrees() -> None:
    state, events = view_protocol.receive(sent(click(1, 12.5, 7.25)), view_protocol.Received(), UTM)
    assert state == view_protocol.Received("abcd1234", 1)
    (event,) = events
    assert (event.row, event.col) == (pytest.approx(12.5, abs=0.01), pytest.approx(7.25, abs=0.01))
    lon, lat = UTM.grid.pixel_to_lonlat(12.5, 7.25)
    assert (event.lon, event.lat) == (pytest.approx(float(lon), abs=1e-6), pytest.approx(float(lat), abs=1e-6))
    assert event.ring == ()


def test_events_count_once_whatever_the_network_does() -> None:
    state, first = view_protocol.receive(sent(click(1, 1, 1), click(2, 2, 2)), view_protocol.Received(), UTM)
    state, again = view_protocol.receive(sent(click(2, 2, 2), click(1, 1, 1), click(3, 3, 3)), state, UTM)
    assert [e.id for e in first] == ["abcd1234-1", "abcd1234-2"]
    assert [e.id for e in again] == ["abcd1234-3"]
    # A reloaded page starts counting anew.
    state, other = view_protocol.receive(sent(click(1, 1, 1), epoch="efgh5678"), state, UTM)
    assert [e.id for e in other] == ["efgh5678-1"]


def test_a_box_has_corners_in_both_and_its_middle() -> None:
    x, y = LOCAL.from_pixel(np.array([2, 2, 10, 10]), np.array([4, 8, 8, 4]))
    entry = {"id": 1, "kind": "box", "xy": np.column_stack([x, y]).tolist()}
    _, (event,) = view_protocol.receive(sent(entry), view_protocol.Received(), LOCAL)
    assert (event.row, event.col) == (6, 6)
    assert event.rows == (2, 2, 10, 10)
    assert event.lon is None
    assert event.ring == ()
    _, (world,) = view_protocol.receive(sent(entry), view_protocol.Received(), None)
    assert world.row is None
    assert len(world.ring) == 4


@pytest.mark.parametrize(
    "damaged",
    [
        None,
        [],
        {"epoch": "x", "events": []},
        sent({"id": "1", "kind": "click", "xy": [[0, 0]]}),
        sent({"id": 1, "kind": "explode", "xy": [[0, 0]]}),
        sent({"id": 1, "kind": "click", "xy": [[0, "a"]]}),
        sent({"id": 1, "kind": "click", "xy": [[0, 1e300]]}),
        sent({"id": 1, "kind": "box", "xy": [[0, 0]]}),
        sent({"id": 1, "kind": "marker", "xy": [[0, 0]], "target": 5}),
    ],
)
def test_damaged_messages_do_nothing(damaged: object) -> None:
    _, events = view_protocol.receive(damaged, view_protocol.Received(), UTM)
    assert events == ()


def test_what_the_browser_looks_at_is_no_event_for_pages() -> None:
    look = {"id": 2, "kind": "look", "names": ["a", "b", 7]}
    state, events = view_protocol.receive(sent(click(1, 1, 1), look), view_protocol.Received(), UTM)
    assert [event.kind for event in events] == ["click"]
    assert state.seen == 2
    assert view_protocol.looked_at(sent(click(1, 1, 1), look)) == {"a", "b"}
    # The newest wish counts, whatever comes in whatever order.
    newer = {"id": 3, "kind": "look", "names": ["c"]}
    assert view_protocol.looked_at(sent(newer, look)) == {"c"}
    assert view_protocol.looked_at(sent(click(1, 1, 1))) is None
    for damaged in (
        None,
        [],
        {"events": 5},
        sent({"id": "1", "kind": "look", "names": ["a"]}),
        sent({"id": 1, "kind": "look"}),
    ):
        assert view_protocol.looked_at(damaged) is None


def test_markers_by_pixel_and_by_degrees_meet() -> None:
    lon, lat = UTM.grid.pixel_to_lonlat(10.5, 20.5)
    here = Marker("a", 10.5, 20.5)
    there = Marker("b", lon=float(lon), lat=float(lat))
    (a, b) = view_protocol.marker_entries([here, there], UTM)
    assert a[1:3] == pytest.approx(b[1:3], abs=0.01)
    # A map without a place on Earth cannot show degrees.
    assert [entry[0] for entry in view_protocol.marker_entries([here, there], LOCAL)] == ["a"]
    assert [entry[0] for entry in view_protocol.marker_entries([here, there], None)] == ["b"]


def test_outlines_keep_holes_and_parts() -> None:
    square = [[0, 0], [1, 0], [1, 1], [0, 0]]
    many = {"type": "MultiPolygon", "coordinates": [[square, square], [square]]}
    line = {"type": "Feature", "properties": {}, "geometry": {"type": "LineString", "coordinates": [[0, 0], [1, 90]]}}
    entries = view_protocol.outline_entries([Outline("m", many, fill=0.2), Outline("l", line)], None)
    assert [(entry[0], entry[4], len(entry[5])) for entry in entries] == [
        ("m", True, 2),
        ("m", True, 1),
        ("l", False, 1),
    ]
    # The pole is drawn at the map's edge.
    assert np.isfinite(entries[2][5][0]).all()
    assert view_protocol.outline_entries([Outline("x", {"type": "Point", "coordinates": [0, 0]})], None) == []


def test_the_world_is_sent_in_metres() -> None:
    world = json.loads(view_protocol.world_entry())
    flat = np.concatenate([np.asarray(ring) for ring in world["land"]])
    assert np.abs(flat).max() <= 20_037_509
    assert world["borders"]


def test_places_are_the_same_for_years_of_a_region() -> None:
    assert view_protocol.place_of(UTM) == view_protocol.place_of(DisplayGrid(UTM.grid))
    assert len({view_protocol.place_of(display) for display in (UTM, LOCAL, None)}) == 3


def test_layers_of_numbers_say_what_their_colours_stand_for() -> None:
    scale = ColourScale(1.5, 9.0, ("#000000", "#ffffff"), "m", "± ", above=True)
    entry = view_protocol.layer_entry(Layer("value", "Height", b"", "1", scale=scale))
    assert json.loads(json.dumps(entry))["scale"] == {
        "low": 1.5, "high": 9.0, "colours": ["#000000", "#ffffff"], "unit": "m", "sign": "± ", "below": False, "above": True,
    }  # fmt: skip
    assert not {"scale", "coded"} & set(view_protocol.layer_entry(Layer("pca", "Picture", b"", "1")))
    assert view_protocol.layer_entry(Layer("soils", "Soils", b"", "1", coded=True))["coded"] is True
