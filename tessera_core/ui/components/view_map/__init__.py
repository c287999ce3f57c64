"""The view map: a Leaflet map to look at, point at and draw shapes on, used by every page but Label.

Read-mostly: pictures on a display grid (or the world), markers, outlines; swipe and side by side; clicks, boxes and polygons
come back as events. Streamlit components inline as in ``ui.shared``; what travels is in ``view_protocol``, the values in ``parts``.

    view_map.loader()                                  # once per page run, outside fragments
    view_map.view_map("explore", scene.display, MapContent(layers=[...]), on_event=_clicked)
    event = view_map.event("explore")                  # what was done in this run, or None
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from tessera_core.language import current
from tessera_core.render.display import DisplayGrid
from tessera_core.session import payload, view_protocol
from tessera_core.session.view_parts import (
    ColourScale,
    Comparison,
    Layer,
    MapContent,
    MapEvent,
    MapLook,
    Marker,
    Outline,
    Tool,
)
from tessera_core.types import BBox
from tessera_core.ui import base_maps
from tessera_core.ui.components import shared

__all__ = [
    "ColourScale",
    "Comparison",
    "Layer",
    "MapContent",
    "MapEvent",
    "MapLook",
    "Marker",
    "Outline",
    "event",
    "events",
    "loader",
    "looked_at",
    "view_map",
]

HUB = "__tesseraViewMap"


def loader() -> None:
    """Bring the map's code into the page; call it once per page run, outside every fragment."""
    sheets = ("shared/assets/style.css", "view_map/assets/view.css")
    shared.load(
        f"tessera_view_map_loader_{current()}", shared.loader(HUB, "view_map/assets/main.js", sheets, current())
    )


def view_map(
    key: str,
    display: DisplayGrid | None,
    content: MapContent,
    *,
    tools: Sequence[Tool] = ("click", "box", "polygon"),
    comparison: Comparison | None = None,
    fly_to: BBox | None = None,
    look: MapLook | None = None,
    on_event: Callable[[], None] | None = None,
) -> None:
    """Show the map.

    Args:
        key: names the map within the session; its view and the person's choices of layers live under it.
        display: the grid that the layers' pictures are on; None for a map of the world.
        content: what lies on it.
        tools: what people may do besides looking; ``"click"`` reports clicks.
        comparison: to begin with.
        fly_to: ``(west, south, east, north)`` in degrees; the map goes there when the value changes.
        look: how it stands on the page.
        on_event: called before the script when people did something; read it with :func:`event`.
    """
    state = _state(key)
    st.session_state[_display_key(key)] = display
    look, layers = look or MapLook(), content.layers
    pictures = _pictures(key, layers, comparison)
    on_ground = display is None or display.frame == "mercator"
    header = {
        "kind": "map",
        "key": key,
        "place": view_protocol.place_of(display),
        "frame": "mercator" if on_ground else "pixel",
        "bounds": list(display.bounds) if display is not None else None,
        "pixel": display.pixel_size if display is not None else None,
        "epoch": state.epoch,
        "seen": state.seen,
        # Of these the pictures come by themselves; the browser asks for others once they are looked at.
        "layers": [view_protocol.layer_entry(layer) | {"sent": layer.name in pictures} for layer in layers],
        "markers": view_protocol.marker_entries(content.markers, display),
        "outlines": view_protocol.outline_entries(content.outlines, display),
        "tools": list(tools),
        "swipe": [comparison.left, comparison.right] if comparison else None,
        "beside": comparison is not None and comparison.beside,
        "fly": _box(fly_to, display),
        "base": base_maps.shown() if look.base_maps and on_ground else (),
        "world": look.world and on_ground,
        "height": look.height,
        "title": look.title,
        "subtitle": look.subtitle,
        "link": look.link,
        "sticky": look.sticky,
    }
    mount = shared.mount("tessera_view_map", HUB)
    with st.container(gap=None):
        mount(key=key, data=payload.pack(header), on_event_change=lambda: _received(key, on_event))
        # Each picture is a component of its own: Streamlit does not send again what has not changed.
        for layer in layers:
            picture = pictures.get(layer.name)
            if picture is None:
                continue
            told = {"kind": "layer", "key": key, "name": layer.name, "version": layer.version}
            bounds = header["bounds"] if layer.bounds is None else list(layer.bounds)
            data = payload.pack({**told, "place": header["place"], "bounds": bounds}, picture)
            mount(key=f"{key}-layer-{layer.name}", data=data, height=1)
        if header["world"]:
            data = payload.pack({"kind": "world", "key": key}, view_protocol.world_entry())
            mount(key=f"{key}-world", data=data, height=1)


def looked_at(key: str) -> frozenset[str]:
    """Names of the layers of the map ``key`` that a person has asked to see, beyond those shown at first."""
    known: frozenset[str] = st.session_state.get(_looks_key(key), frozenset())
    return known


def _pictures(key: str, layers: Sequence[Layer], comparison: Comparison | None) -> dict[str, bytes | None]:
    """The pictures to send by name; None where one is on its way. Those that nobody looks at are not made."""
    seen = looked_at(key) | ({comparison.left, comparison.right} if comparison else set())
    found: dict[str, bytes | None] = {}
    for layer in layers:
        if isinstance(layer.png, bytes):
            found[layer.name] = layer.png
        elif layer.visible or layer.name in seen:
            found[layer.name] = layer.png()
    return found


def event(key: str) -> MapEvent | None:
    """What a person did last on the map ``key``, in the run it caused; None in every other run."""
    done = events(key)
    return done[-1] if done else None


def events(key: str) -> tuple[MapEvent, ...]:
    """Everything that people did on the map ``key`` since the run before, oldest first."""
    if _raw(key) is None:
        return ()
    known: tuple[MapEvent, ...] = st.session_state.get(_events_key(key), ())
    return known


def _received(key: str, on_event: Callable[[], None] | None) -> None:
    state, events_ = view_protocol.receive(_raw(key), _state(key), st.session_state.get(_display_key(key)))
    st.session_state[_state_key(key)] = state
    st.session_state[_events_key(key)] = events_
    looks = view_protocol.looked_at(_raw(key))
    if looks is not None:
        st.session_state[_looks_key(key)] = looks
    if events_ and on_event is not None:
        on_event()


def _raw(key: str) -> Any:
    state = st.session_state.get(key)
    return None if state is None else getattr(state, "event", None)


def _state(key: str) -> view_protocol.Received:
    state: view_protocol.Received = st.session_state.get(_state_key(key), view_protocol.Received())
    return state


def _state_key(key: str) -> str:
    return f"_view_map_state_{key}"


def _events_key(key: str) -> str:
    return f"_view_map_events_{key}"


def _looks_key(key: str) -> str:
    return f"_view_map_looks_{key}"


def _display_key(key: str) -> str:
    return f"_view_map_display_{key}"


def _box(box: BBox | None, display: DisplayGrid | None) -> list[float] | None:
    if box is None:
        return None
    import numpy as np

    west, south, east, north = box
    corners = np.array([[west, south], [west, north], [east, south], [east, north]], np.float64)
    x, y = view_protocol.to_frame(corners, display).T
    bounds = [float(x.min()), float(y.min()), float(x.max()), float(y.max())]
    return bounds if all(np.isfinite(bounds)) else None
