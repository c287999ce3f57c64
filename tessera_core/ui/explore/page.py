"""The page Explore: see the region, its embedding space, and the story of a pixel.

One map beside one panel. What the panel is about decides what a click on the map does and which layers lie on it; map and
panel are one fragment. The scatter and the map share their selection in the browser.
"""

from __future__ import annotations

import streamlit as st

from tessera_core.language import later, t
from tessera_core.project.project import Project
from tessera_core.ui import frame, shell
from tessera_core.ui.components import scatter, view_map
from tessera_core.ui.explore import clusters, pictures, pixel, similarity
from tessera_core.ui.explore.context import MAP, PAGE, ExploreContext
from tessera_core.ui.explore.scatter import out_of_sight, scatter_layers, scatter_panel
from tessera_core.ui.humanize import year_name

MODES = (later("Picture"), later("Scatter"), later("Pixel"), later("Alike"), later("Groups"))


def page() -> None:
    """Build the page."""
    if frame.opened(t("Open a region first; then you can look around in it here."), t("Explore")) is None:
        return
    view_map.loader()
    scatter.loader()
    _studio()


@frame.part
def _studio(project: Project) -> None:
    context = ExploreContext.of(project)
    # Above the map, so that they are in sight on a phone too.
    with st.container(horizontal=True, gap="small"):
        mode = st.segmented_control(
            t("What to look at"),
            MODES,
            format_func=t,
            default=MODES[0],
            required=True,
            key=context.key("mode"),
            label_visibility="collapsed",
            width="content",
        )
        frame.year_choice(project, PAGE)
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
        _map(context, mode or t("Picture"))


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
        context.scene.display,
        view_map.MapContent(layers, markers),
        tools=("click", "box", "polygon") if mode == "Scatter" else ("click",),
        look=view_map.MapLook(
            context.project.name,
            f"{year_name(context.year)} · {provenance.title}",
            sticky=True,
            link=MAP if mode == "Scatter" else "",
        ),
        on_event=_on_map,
    )


@frame.answers
def _on_map(project: Project) -> None:
    """What people did on the map, before the fragment runs."""
    context = ExploreContext.of(project)
    mode = st.session_state.get(context.key("mode"))
    for event in view_map.events(MAP):
        if mode == "Alike":
            similarity.clicked(context, event)
        elif mode == "Pixel":
            pixel.clicked(context, event)
