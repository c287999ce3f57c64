"""What goes down to the view map and what comes back, without Streamlit.

Down: headers in the display frame's coordinates (EPSG:3857 metres, or x = column, y = -row). Up: events numbered within an
*epoch* (a random id of the browser's page) and repeated until acknowledged, so that none is lost or counted twice. Messages
of the browser are untrusted.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, cast, get_args

import numpy as np

from tessera_core.errors import GridError
from tessera_core.grid import transformer
from tessera_core.render.display import MERCATOR, DisplayGrid
from tessera_core.render.world import world_outline
from tessera_core.session.view_parts import Kind, Layer, MapEvent, Marker, Outline
from tessera_core.types import Doubles

# What the browser looks at and has no picture of: an event of its own, which pages do not hear of.
LOOK = "look"
# Latitude at which Web Mercator is as high as wide.
MAX_LAT = 85.051128
MAX_POINTS = 20_000
MAX_EVENTS = 200


@dataclass(frozen=True)
class Received:
    """Where the exchange with one browser page stands.

    Attributes:
        epoch: the page's random id; empty before its first message.
        seen: highest event number taken.
    """

    epoch: str = ""
    seen: int = 0


def place_of(display: DisplayGrid | None) -> str:
    """Names the ground under a map, so that its view is kept only while that stays the same."""
    if display is None:
        return "world"
    text = f"{display.frame} {display.grid.crs} {display.grid.transform} {display.grid.shape}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def layer_entry(layer: Layer) -> dict[str, Any]:
    """A layer as the browser reads it, without its picture."""
    entry: dict[str, Any] = {
        "name": layer.name,
        "version": layer.version,
        "title": layer.title,
        "opacity": round(min(max(layer.opacity, 0.0), 1.0), 3),
        "on": layer.visible,
        "legend": [list(entry) for entry in layer.legend],
        "group": layer.group,
    }
    entry |= {} if layer.scale is None else {"scale": asdict(layer.scale)}
    return entry | {"coded": True} if layer.coded else entry


def marker_entries(markers: Sequence[Marker], display: DisplayGrid | None) -> list[list[Any]]:
    """Markers as ``[id, x, y, label, colour, text, kind]``; those without a place on this map are left out."""
    at = np.full((len(markers), 2), np.nan)
    by_pixel = [i for i, m in enumerate(markers) if display is not None and m.row is not None and m.col is not None]
    by_degrees = [
        i for i, m in enumerate(markers) if i not in set(by_pixel) and m.lon is not None and m.lat is not None
    ]
    if by_pixel:
        assert display is not None
        rows, cols = ([getattr(markers[i], name) for i in by_pixel] for name in ("row", "col"))
        at[by_pixel] = np.column_stack(display.from_pixel(rows, cols))
    if by_degrees:
        degrees = np.array([[markers[i].lon, markers[i].lat] for i in by_degrees], np.float64)
        at[by_degrees] = to_frame(degrees, display)
    return [
        [m.id, round(float(x), 3), round(float(y), 3), m.label, m.colour, m.text, m.kind]
        for m, (x, y) in zip(markers, at.tolist(), strict=True)
        if math.isfinite(x) and math.isfinite(y)
    ]


def outline_entries(outlines: Sequence[Outline], display: DisplayGrid | None) -> list[list[Any]]:
    """Outlines as ``[id, colour, fill, text, closed, [ring, ...]]``, one entry per polygon or line."""
    entries = []
    for outline in outlines:
        for closed, rings in _lines(outline.geojson):
            flat = [_flat(to_frame(np.asarray(ring, np.float64)[:, :2], display)) for ring in rings if len(ring) > 1]
            flat = [ring for ring in flat if ring]
            if flat:
                entries.append([outline.id, outline.colour, outline.fill, outline.text, closed, flat])
    return entries


@cache
def world_entry() -> bytes:
    """The world's land and borders as JSON in EPSG:3857 metres."""
    world = world_outline()
    return json.dumps(
        {
            "land": [_flat(to_frame(ring, None), 0) for ring in world.land],
            "borders": [_flat(to_frame(line, None), 0) for line in world.borders],
        },
        separators=(",", ":"),
    ).encode()


def to_frame(lonlat: Doubles, display: DisplayGrid | None) -> Doubles:
    """float64 (n, 2) display coordinates of degrees (n, 2); NaN where the frame has none."""
    if display is not None and display.frame == "pixel":
        if display.grid.crs is None:
            return np.full((len(lonlat), 2), np.nan)
        x, y = transformer("EPSG:4326", display.grid.crs).transform(lonlat[:, 0], lonlat[:, 1])
        return np.column_stack(display.from_grid(x, y))
    lat = np.clip(lonlat[:, 1], -MAX_LAT, MAX_LAT)
    x, y = transformer("EPSG:4326", MERCATOR).transform(lonlat[:, 0], lat)
    return np.column_stack([np.asarray(x, np.float64), np.asarray(y, np.float64)])


def to_lonlat(x: Doubles, y: Doubles, display: DisplayGrid | None) -> Doubles | None:
    """Degrees float64 (n, 2) of display coordinates; None where the scene has no place on Earth."""
    if display is None or display.frame == "mercator":
        lon, lat = transformer(MERCATOR, "EPSG:4326").transform(x, y)
    elif display.grid.crs is None:
        return None
    else:
        try:
            lon, lat = transformer(display.grid.crs, "EPSG:4326").transform(*display.to_grid(x, y))
        except GridError:
            return None
    return np.column_stack([np.asarray(lon, np.float64), np.asarray(lat, np.float64)])


def looked_at(message: object) -> frozenset[str] | None:
    """Names of the layers that a browser's message asks for, the newest wish; None where it asks for none. Never raises."""
    sent = message.get("events") if isinstance(message, Mapping) else None
    sent = sent if isinstance(sent, list) else []
    wishes = [
        e for e in sent[:MAX_EVENTS] if isinstance(e, Mapping) and e.get("kind") == LOOK and type(e.get("id")) is int
    ]
    if not wishes:
        return None
    names = max(wishes, key=lambda e: int(e["id"])).get("names")
    if not isinstance(names, list):
        return None
    return frozenset(name for name in names[:MAX_EVENTS] if isinstance(name, str))


def receive(message: object, state: Received, display: DisplayGrid | None) -> tuple[Received, tuple[MapEvent, ...]]:
    """The new events of a browser's message, oldest first, and the state to answer with; never raises.

    Args:
        message: ``{"epoch": str, "events": [{"id": int, "kind": str, "xy": [[x, y], ...], "target": str}, ...]}``.
    """
    if not isinstance(message, Mapping):
        return state, ()
    epoch, sent = message.get("epoch"), message.get("events")
    if not isinstance(epoch, str) or not 4 <= len(epoch) <= 40 or not epoch.isalnum() or not isinstance(sent, list):
        return state, ()
    if epoch != state.epoch:
        state = Received(epoch)
    fresh = [e for e in sent[:MAX_EVENTS] if isinstance(e, Mapping) and type(e.get("id")) is int]
    fresh = sorted((e for e in fresh if state.seen < e["id"] < 2**53), key=lambda e: int(e["id"]))
    events = [event for entry in fresh if (event := _event(entry, epoch, display)) is not None]
    return Received(epoch, fresh[-1]["id"] if fresh else state.seen), tuple(events)


def _event(entry: Mapping[str, Any], epoch: str, display: DisplayGrid | None) -> MapEvent | None:
    kind, xy, target = entry.get("kind"), entry.get("xy"), entry.get("target", "")
    least = 3 if kind in ("box", "polygon") else 1
    if kind not in get_args(Kind) or not isinstance(xy, list) or not least <= len(xy) <= MAX_POINTS:
        return None
    pairs = all(
        isinstance(p, list) and len(p) == 2 and all(type(v) in (int, float) and abs(v) < 1e9 for v in p) for p in xy
    )
    if not pairs or not isinstance(target, str):
        return None
    points = np.asarray(xy, np.float64)
    # The middle stands for a shape.
    points = np.concatenate([points, [(points.min(0) + points.max(0)) / 2]])
    x, y = points[:, 0], points[:, 1]
    degrees = to_lonlat(x, y, display)
    rows, cols = (np.full(len(x), np.nan),) * 2 if display is None else display.to_pixel(x, y)
    shape = kind in ("box", "polygon")
    on_earth = degrees is not None and bool(np.isfinite(degrees).all())
    in_scene = bool(np.isfinite(rows).all() and np.isfinite(cols).all())
    ring = degrees[:-1].tolist() if shape and on_earth and degrees is not None else []
    return MapEvent(
        id=f"{epoch}-{entry['id']}",
        kind=cast(Kind, kind),
        lon=float(degrees[-1, 0]) if on_earth and degrees is not None else None,
        lat=float(degrees[-1, 1]) if on_earth and degrees is not None else None,
        row=float(rows[-1]) if in_scene else None,
        col=float(cols[-1]) if in_scene else None,
        ring=tuple((lon, lat) for lon, lat in ring),
        rows=tuple(rows[:-1].tolist()) if shape and in_scene else (),
        cols=tuple(cols[:-1].tolist()) if shape and in_scene else (),
        target=target[:200],
    )


def _lines(geojson: Mapping[str, Any]) -> Iterator[tuple[bool, list[Any]]]:
    match geojson.get("type"):
        case "Feature":
            yield from _lines(geojson.get("geometry") or {})
        case "FeatureCollection":
            for feature in geojson.get("features", ()):
                yield from _lines(feature)
        case "GeometryCollection":
            for geometry in geojson.get("geometries", ()):
                yield from _lines(geometry)
        case "Polygon":
            yield True, geojson["coordinates"]
        case "MultiPolygon":
            for polygon in geojson["coordinates"]:
                yield True, polygon
        case "LineString":
            yield False, [geojson["coordinates"]]
        case "MultiLineString":
            for line in geojson["coordinates"]:
                yield False, [line]
        case _:
            return


def _flat(xy: Doubles, digits: int = 2) -> list[float]:
    if not np.isfinite(xy).all():
        return []
    return [round(v, digits) for v in xy.ravel().tolist()]
