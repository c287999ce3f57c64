"""Compare, part All places: the maps of all places of one map together, each where it lies on Earth, whatever its UTM zone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from tessera_core.areas import CAVEAT
from tessera_core.language import numeral, relay, t
from tessera_core.project import places
from tessera_core.project.classify import head_choice
from tessera_core.project.places import Place
from tessera_core.project.project import Project
from tessera_core.types import BBox, Cancel, Progress
from tessera_core.ui import humanize, jobs, shell, state, tables
from tessera_core.ui.compare.context import PAGE
from tessera_core.ui.components import view_map
from tessera_core.ui.components.view_map import Layer, MapContent, MapLook, Marker
from tessera_core.ui.legend import legend

if TYPE_CHECKING:
    from tessera_core.project.place_views import Picture, PlaceViews

_MAP = "compare_places"


def show(project: Project) -> None:
    """The part of the page."""
    found = places.places_of(project)
    if not found:
        st.info(
            t(
                "This region stands for itself. On the page Label, under Heads, choose other regions of yours as “Learn also "
                "from”; then all of them are one map, and you see it here."
            ),
            icon=":material/info:",
        )
        return
    key = f"{PAGE}|places|{project.key}|{head_choice(project)}|{places.content_of(found)}"
    job = jobs.pool().get(key)
    if job is not None and job.active:
        jobs.wait_on(PAGE, key)
        jobs.show(job)
        return
    if job is None or not jobs.outcome(job):
        _begin(project, found, key)
        return
    _drawn(job.result)


def _begin(project: Project, found: Sequence[Place], key: str) -> None:
    st.caption(
        t(
            "The labels of all {n} places teach one head, which maps each of them. Each place is left out once, so that you "
            "learn how right the head is where it learnt nothing.",
            n=len(found),
        )
    )

    def work(progress: Progress, cancelled: Cancel) -> object:
        from tessera_core.project.place_maps import map_places
        from tessera_core.project.place_views import views_of

        return views_of(map_places(found, project, progress=progress, cancelled=cancelled))

    @shell.shielded
    def start() -> None:
        jobs.pool().forget(key)
        jobs.pool().start(key, t("Mapping all places"), work)

    st.button(t("Map all places"), type="primary", icon=":material/map:", key="compare_places_start", on_click=start)


# -------------------------------------------------------------------- showing


def _drawn(made: PlaceViews) -> None:
    told = [f":small[{humanize.escape(relay(sentence))}]" for sentence in made.sentences]
    st.markdown("  \n".join(told))
    for failure in made.failed:
        st.warning(f"{humanize.escape(failure.what)}: {humanize.escape(relay(failure.why))}", icon=":material/warning:")
    pictures = {number: one.picture for number, one in enumerate(made.views) if one.picture is not None}
    if pictures:
        _on_earth(made, pictures)
    unseen = len(made.views) - len(pictures)
    if unseen:
        st.caption(t("{n} of the places lie nowhere on Earth and are in the table only.", n=unseen))
    _table(made)


def _on_earth(made: PlaceViews, pictures: dict[int, Picture]) -> None:
    layers, markers = [], []
    for number, picture in pictures.items():
        name = made.views[number].place.name
        layers.append(Layer(f"place{number}", name, picture.png, picture.version, bounds=picture.bounds))
        west, south, east, north = picture.lonlat
        lon, lat = (west + east) / 2, (south + north) / 2
        markers.append(Marker(str(number), lon=lon, lat=lat, label=name, text=t("Click to open it")))
    # One for all pictures, and so not a layer's own.
    legend(made.legend)
    view_map.view_map(
        _MAP,
        None,
        MapContent(layers, markers),
        tools=(),
        fly_to=_around([picture.lonlat for picture in pictures.values()]),
        look=MapLook(title=t("All places"), world=True, base_maps=True),
    )
    st.caption(t("A click on a name opens that place."))
    event = view_map.event(_MAP)
    if event is not None and event.kind == "marker" and event.target in [marker.id for marker in markers]:
        state.open_project(Project.open(made.views[int(event.target)].place.folder))
        st.switch_page("pages/label.py", query_params=state.query())


def _around(of: Sequence[BBox]) -> BBox:
    boxes = np.array(of, np.float64)
    west, south, east, north = *boxes[:, :2].min(0), *boxes[:, 2:].max(0)
    return float(west), float(south), float(east), float(north)


def _table(made: PlaceViews) -> None:
    """What each class covers of each place, and of all."""
    total = made.areas
    earth = all(hectares is not None for _, hectares in total.values())
    rows: list[dict[str, Any]] = []
    # By number: two places, and a place and a column of ours, may have one name.
    named = {f"place {number}": one.place.name for number, one in enumerate(made.views)}
    for c in made.legend:
        pixels, hectares = total.get(c.id, (0, 0.0))
        row: dict[str, Any] = {"Class": c.name, "All places": _amount(hectares if earth else pixels, earth)}
        for column, one in zip(named, made.views, strict=True):
            area = one.areas.get(c.id)
            row[column] = _amount(0 if area is None else area.hectares if earth else area.pixels, earth)
        rows.append(row)
    st.markdown(t("**Areas, hectares**") if earth else t("**Areas, pixels**"))
    titles = {column: st.column_config.Column(name, alignment="right") for column, name in named.items()}
    titles["All places"] = st.column_config.Column(t("All places"), alignment="right")
    tables.show(rows, column_config=titles, hide_index=True)
    st.caption(relay(CAVEAT))


def _amount(value: float | None, earth: bool) -> str:
    return "–" if value is None else numeral(value, ",.1f" if earth else ",.0f")
