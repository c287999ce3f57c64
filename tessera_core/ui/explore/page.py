"""The page Explore: see the region, its embedding space, and the story of a pixel.

One map beside one panel. What the panel is about decides what a click on the map does and which layers lie on it; map and
panel are one fragment. The scatter and the map share their selection in the browser.
"""

from __future__ import annotations

import streamlit as st

from tessera_core.ui import shell, state
from tessera_core.ui.components import scatter, view_map
from tessera_core.ui.explore import clusters, pictures, pixel, similarity
from tessera_core.ui.explore.context import MAP, ExploreContext, year_name
from tessera_core.ui.explore.scatter import out_of_sight, scatter_layers, scatter_panel

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
    context = ExploreContext.of(project)
    # Above the map, so that they are in sight on a phone too.
    with st.container(horizontal=True, gap="small"):
        mode = st.segmented_control(
            "What to look at",
            MODES,
            default=MODES[0],
            required=True,
            key=_mode_key(context),
            label_visibility="collapsed",
            width="content",
        )
        _year(context)
    if mode != "Scatter":
        out_of_sight(context)
    map_column, panel_column = st.columns([7, 5], gap="medium")
    with panel_column, shell.plain_errors():
        match mode:
            case "Scatter":
                scatter_panel(context)
            case "Pixel":
                pixel.panel(context)
            case "Alike":
                similarity.panel(context)
            case "Groups":
                clusters.panel(context)
            case _:
                pictures.panel(context)
    with map_column:
        _map(context, mode or "Picture")


def _map(context: ExploreContext, mode: str) -> None:
    layers = pictures.layers(context, legend=mode == "Picture", grey=mode == "Alike")
    markers: list[view_map.Marker] = []
    match mode:
        case "Scatter":
            layers += scatter_layers(context)
        case "Pixel":
            markers = pixel.markers(context)
        case "Alike":
            layers += similarity.layers(context)
            markers = similarity.markers(context)
        case "Groups":
            layers += clusters.layers(context)
    provenance = context.scene.raster.provenance
    view_map.view_map(
        MAP,
        display=context.scene.display,
        layers=layers,
        markers=markers,
        tools=("click", "box", "polygon") if mode == "Scatter" else ("click",),
        title=context.project.name,
        subtitle=f"{year_name(context.year)} · {provenance.title}",
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
    context = ExploreContext.of(project)
    mode = st.session_state.get(_mode_key(context))
    for event in view_map.events(MAP):
        if mode == "Alike":
            similarity.clicked(context, event)
        elif mode == "Pixel":
            pixel.clicked(context, event)


def _year(context: ExploreContext) -> None:
    if len(context.scenes) < 2:
        return
    key = f"{context.key}_year"
    st.segmented_control(
        "Year",
        list(context.scenes),
        default=context.year,
        required=True,
        key=key,
        format_func=year_name,
        on_change=lambda: context.project.update(year=st.session_state[key]),
        label_visibility="collapsed",
        width="content",
    )


def _mode_key(context: ExploreContext) -> str:
    return f"{context.key}_mode"
