"""The page Compare: what changed between years, and what only seems to have.

Chooses the years and the part to show; the parts are modules of their own (``compare_*``). The work runs in the background
and stops when the page is left.
"""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from tessera_core.language import later, t
from tessera_core.project.project import Project
from tessera_core.ui import demo_rest, frame, humanize, state
from tessera_core.ui.compare import change, classes, control, news, places, stack
from tessera_core.ui.compare.context import CompareContext
from tessera_core.ui.components import view_map

_PARTS = {
    "change": later(":material/difference: Change"),
    "classes": later(":material/category: Class to class"),
    "labels": later(":material/label: Labels in other years"),
    "new": later(":material/notifications: What is new"),
    "control": later(":material/balance: Against land like it"),
    "places": later(":material/map: All places"),
    "join": later(":material/join: Join embeddings"),
}
_FIRST = "change"
_PART = "part"
_KEY = "compare_part"


def page() -> None:
    """Build the page."""
    st.title(t("Compare"))
    project = frame.opened(t("Open a region with two years or more; then you can see here what changed."))
    if project is None:
        return
    view_map.loader()
    bar = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    part = _part(bar)
    if part in ("join", "places"):
        (stack if part == "join" else places).show(project)
        return
    if len(project.years) < 2 and demo_rest.grows(project):
        st.info(
            t(
                "The second year of the demo region is still being made; this page compares both as soon as it "
                "is here. The line above says how far it is."
            ),
            icon=":material/hourglass_top:",
        )
        return
    if len(project.years) < 2:
        st.info(
            t("This region has one year. Load another on the page Region, then compare them here."),
            icon=":material/info:",
        )
        st.page_link(
            "pages/region.py", label=t("Load another year"), icon=":material/public:", query_params=state.query()
        )
        return
    context = _context(project, bar)
    if context is None:
        return
    if part == "change":
        change.show(context)
    elif part == "classes":
        classes.show(context)
    elif part == "new":
        news.show(context)
    elif part == "control":
        control.show(context)
    else:
        classes.show_labels(context)


def _context(project: Project, bar: DeltaGenerator) -> CompareContext | None:
    years = project.years
    chosen = years
    if len(years) > 2:
        key = f"compare_years_{project.key}"
        chosen = sorted(
            st.segmented_control(
                t("Years"),
                years,
                selection_mode="multi",
                default=years[-2:],
                format_func=humanize.year_name,
                key=key,
                width="content",
            )
        )
        if len(chosen) < 2:
            st.info(t("Choose two years or more."), icon=":material/info:")
            return None
    return CompareContext(project, {year: state.scene_for(project, year) for year in chosen})


def _part(bar: DeltaGenerator) -> str:
    """The part that is shown; the address carries it, so that a reload or a link shows the same."""
    asked = st.query_params.get(_PART, "")
    st.session_state.setdefault(_KEY, asked if asked in _PARTS else _FIRST)
    chosen = bar.segmented_control(
        t("What to compare"),
        list(_PARTS),
        required=True,
        key=_KEY,
        format_func=lambda one: t(_PARTS[one]),
        label_visibility="collapsed",
        width="content",
    )
    part = chosen or _FIRST
    if part != asked:
        if part == _FIRST:
            st.query_params.pop(_PART, None)
        else:
            st.query_params[_PART] = part
    return part
