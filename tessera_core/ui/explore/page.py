"""The page Explore: see the region, its embedding space, and the story of a pixel.

One map beside one panel. What the panel is about decides what a click on the map does and which layers lie on it; map and
panel are one fragment. The scatter and the map share their selection in the browser.
"""

from __future__ import annotations

import streamlit as st

from tessera_core.ui import humanize, shell, state
from tessera_core.ui.components import scatter, view_map
from tessera_core.ui.explore import clusters, pictures, pixel, similarity
from tessera_core.ui.explore.context import MAP, Place, year_name
from tessera_core.ui.explore.scatter import scatter_layers, scatter_panel

MODES = ("Picture", "Scatter", "Pixel", "Alike", "Groups")


def page() -> None:
    """Build the page."""
    if state.current_project() is None:
        shell.wants_region("Open a region first; then you can look around in it here.", "Explore")
        return
    view_map.loader()
    scatter.loader()
    _studio()


@st.fragment
@shell.shielded
def _studio() -> None:
    project = state.current_project()
    if project is None:
        return
    place = Place.of(project)
    # Above the map, so that they are in sight on a phone too.
    with st.container(horizontal=True, gap="small"):
        mode = st.segmented_control(
            "What to look at",
            MODES,
            default=MODES[0],
            required=True,
            key=_mode_key(place),
            label_visibility="collapsed",
            width="content",
        )
        _year(place)
    map_column, panel_column = st.columns([7, 5], gap="medium")
    with panel_column, shell.plain_errors():
        match mode:
            case "Scatter":
                scatter_panel(place)
            case "Pixel":
                pixel.panel(place)
            case "Alike":
                similarity.panel(place)
            case "Groups":
                clusters.panel(place)
            case _:
                pictures.panel(place)
    with map_column:
        _map(place, mode or "Picture")


def _map(place: Place, mode: str) -> None:
    layers = pictures.layers(place, legend=mode == "Picture", grey=mode == "Alike")
    markers: list[view_map.Marker] = []
    match mode:
        case "Scatter":
            layers += scatter_layers(place)
        case "Pixel":
            markers = pixel.markers(place)
        case "Alike":
            layers += similarity.layers(place)
            markers = similarity.markers(place)
        case "Groups":
            layers += clusters.layers(place)
    provenance = place.scene.raster.provenance
    view_map.view_map(
        MAP,
        display=place.scene.display,
        layers=layers,
        markers=markers,
        tools=("click", "box", "polygon") if mode == "Scatter" else ("click",),
        title=place.project.name,
        subtitle=f"{year_name(place.year)} · {humanize.dataset(provenance)}",
        link=MAP if mode == "Scatter" else "",
        on_event=_on_map,
        sticky=True,
    )


@shell.shielded
def _on_map() -> None:
    """What people did on the map, before the fragment runs."""
    project = state.current_project()
    if project is None:
        return
    place = Place.of(project)
    mode = st.session_state.get(_mode_key(place))
    for event in view_map.events(MAP):
        if mode == "Alike":
            similarity.clicked(place, event)
        elif mode == "Pixel":
            pixel.clicked(place, event)


def _year(place: Place) -> None:
    if len(place.scenes) < 2:
        return
    key = f"{place.key}_year"
    st.segmented_control(
        "Year",
        list(place.scenes),
        default=place.year,
        required=True,
        key=key,
        format_func=year_name,
        on_change=lambda: place.project.update(year=st.session_state[key]),
        label_visibility="collapsed",
        width="content",
    )


def _mode_key(place: Place) -> str:
    return f"{place.key}_mode"
