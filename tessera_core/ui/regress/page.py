"""The page Numbers: field plots with a number each become a map of that number, with its margin and an honest score.

Map and panel are one fragment. What is computed lies in :mod:`tessera_core.project.regress`; the parts of the page are modules of
their own (``numbers_*``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from tessera_core.project.regress import NumberMap, NumberScore
from tessera_core.ui import files, shell, state
from tessera_core.ui import text as words
from tessera_core.ui.components import view_map
from tessera_core.ui.components.view_map import Marker
from tessera_core.ui.regress import context as numbers_parts
from tessera_core.ui.regress import files as numbers_files
from tessera_core.ui.regress import map as numbers_map
from tessera_core.ui.regress import plots as numbers_plots
from tessera_core.ui.regress import score as numbers_score
from tessera_core.ui.regress.context import MAP, Desk


def page() -> None:
    """Build the page."""
    if state.current_project() is None:
        shell.wants_region("Open a region first; then your field plots become a map here.", "Numbers")
        return
    view_map.loader()
    _studio()


@st.fragment
@shell.shielded
def _studio() -> None:
    project = state.current_project()
    if project is None:
        return
    desk = Desk.of(project)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        numbers_plots.measures(desk)
        _year(desk)
        by, grey = _looks(desk)
    map_column, panel_column = st.columns([7, 5], gap="medium")
    problem = desk.problem
    made: NumberMap | None = None
    score: NumberScore | None = None
    with panel_column, shell.plain_errors():
        chosen = st.container(gap="small")
        above = st.container()
    with map_column, shell.plain_errors():
        # Above the map, so that a slow method's progress is in sight on a phone too.
        if not problem:
            made = numbers_parts.number_map(desk)
        if made is not None and (desk.choice.instant or by == numbers_map.BY_ERROR):
            score = numbers_parts.known_score(desk)
            if score is None and desk.choice.instant:
                score = numbers_parts.number_score(desk)
        _map(desk, made, score, by, grey)
    with chosen, shell.plain_errors():
        _chosen(desk, made, score)
    with above, shell.plain_errors():
        numbers_plots.panel(desk, score or numbers_parts.known_score(desk))
        if desk.plots and problem:
            st.info(problem, icon=":material/info:")
        if made is not None:
            if score is None:
                score = numbers_parts.number_score(desk)
            if score is not None:
                numbers_score.panel(desk, score)
            numbers_score.guesses(desk, made)
        if desk.plots:
            numbers_score.method(desk)
        if made is not None:
            _files(desk)


def _year(desk: Desk) -> None:
    years = desk.project.years
    if len(years) < 2:
        return
    key = desk.key("year")
    st.segmented_control(
        "Year",
        years,
        default=desk.year,
        required=True,
        key=key,
        on_change=shell.shielded(_year_chosen),
        args=(desk, key),
        label_visibility="collapsed",
        width="content",
        help="The plots are taken to be of this year: take the one in which they were measured.",
    )


def _year_chosen(desk: Desk, key: str) -> None:
    desk.project.update(year=st.session_state[key])


def _looks(desk: Desk) -> tuple[str, bool]:
    """How plots are coloured, and whether guesses are greyed."""
    if not desk.plots or desk.problem:
        return numbers_map.BY_VALUE, False
    by = st.segmented_control(
        "Plots show",
        [numbers_map.BY_VALUE, numbers_map.BY_ERROR],
        default=numbers_map.BY_VALUE,
        required=True,
        key=desk.key("by"),
        format_func=lambda what: f"Plots: {what.lower()}",
        label_visibility="collapsed",
        width="content",
        help="Error: what a map says that has not seen the plot, minus your number. Blue: too little. Orange: too much.",
    )
    grey = st.toggle(
        "Grey where it guesses",
        key=desk.key("grey"),
        help="Covers ground unlike your plots, and numbers beyond their range. Nothing is computed anew.",
    )
    return by or numbers_map.BY_VALUE, grey


def _map(desk: Desk, made: NumberMap | None, score: NumberScore | None, by: str, grey: bool) -> None:
    pin, fly_to = None, None
    kind, where = _choice(desk)
    if kind == "place":
        pin = Marker("here", where[0], where[1], colour="#d55e00", kind="pin", text="The place you chose")
    elif kind == "plot":
        plot = next(plot for plot in desk.plots if plot.label.id == where)
        row, col = numbers_map.middle(desk, plot)
        pin = Marker(plot.label.id, row, col, colour="#d55e00", kind="pin", text=f"{plot.value:.4g}{desk.unit}")
        if st.session_state.get(desk.key("fly")):
            fly_to = numbers_map.around(desk, row, col)
    numbers_map.show(desk, made, score, by=by, grey=grey, pin=pin, fly_to=fly_to, on_event=_on_map)


@shell.shielded
def _on_map() -> None:
    """A click chooses a place, or a plot."""
    project = state.current_project()
    if project is None:
        return
    desk = Desk.of(project)
    for event in view_map.events(MAP):
        st.session_state.pop(desk.key("fly"), None)
        if event.kind in ("marker", "outline") and any(plot.label.id == event.target for plot in desk.plots):
            st.session_state[desk.key("chosen")] = ("plot", event.target)
        elif event.row is not None and event.col is not None:
            st.session_state[desk.key("chosen")] = ("place", (event.row, event.col))


def _choice(desk: Desk) -> tuple[str, Any]:
    """``("place", (row, col))``, ``("plot", id)`` or ``("", None)``: what was last clicked and still is there."""
    kind, where = st.session_state.get(desk.key("chosen"), ("", None))
    if kind == "plot" and not any(plot.label.id == where for plot in desk.plots):
        return "", None
    return kind, where


def _chosen(desk: Desk, made: NumberMap | None, score: NumberScore | None) -> None:
    """What is known of the chosen place, and the number measured there."""
    kind, where = _choice(desk)
    if not kind:
        return
    with st.container(border=True, gap="small"):
        if kind == "plot":
            plot = next(plot for plot in desk.plots if plot.label.id == where)
            st.markdown(f"**Plot: {words.escape(f'{plot.value:.4g}{desk.unit}')}**")
            told = numbers_score.plot_text(desk, score, plot.label.id)
            if told:
                st.caption(told)
            numbers_plots.changer(desk, plot.label.id, plot.value)
            return
        row, col = where
        if made is not None:
            number, about = numbers_score.place_text(desk, made, int(np.floor(row)), int(np.floor(col)))
            if number:
                st.markdown(f"**{words.escape(f'{desk.measure.name if desk.measure else ""}: {number}')}**")
            st.caption(about)
        else:
            st.markdown("**A new plot**")
        numbers_plots.adder(desk, row, col)


def _files(desk: Desk) -> None:
    st.markdown("**Take it with you**")
    with st.container(horizontal=True, gap="small"):
        for item in numbers_files.items(desk.project, desk.scene, desk.year):
            files.button(item)
