"""The page Continuous map: field plots with a number each become a map of that number (regression), with its margin and an honest
score.

Map and panel are one fragment. What is computed lies in :mod:`tessera_core.project.regress`; the parts of the page are
modules beside this one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from tessera_core.language import later, numeral, t
from tessera_core.project.project import Project
from tessera_core.project.regress import RegressionMap, RegressionScore
from tessera_core.ui import files, frame, humanize, shell
from tessera_core.ui.components import view_map
from tessera_core.ui.components.view_map import Marker
from tessera_core.ui.regress import value_map
from tessera_core.ui.regress.context import MAP, PAGE, RegressContext, known_score, regression_map, regression_score
from tessera_core.ui.regress.files import map_files
from tessera_core.ui.regress.plots import adder, changer, measures, plots_panel
from tessera_core.ui.regress.score import guesses, method, place_text, plot_text, score_panel

_YEAR_OF_PLOTS = later("The plots are taken to be of this year: take the one in which they were measured.")


def page() -> None:
    """Build the page."""
    if frame.opened(t("Open a region first; then your field plots become a map here."), t("Continuous map")) is None:
        return
    view_map.loader()
    _studio()


@frame.part
def _studio(project: Project) -> None:
    context = RegressContext.of(project)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        measures(context)
        frame.year_choice(project, PAGE, about=t(_YEAR_OF_PLOTS))
        by, grey = _looks(context)
    map_column, panel_column = st.columns([7, 5], gap="medium")
    problem = context.problem
    made: RegressionMap | None = None
    score: RegressionScore | None = None
    with panel_column, shell.plain_errors():
        chosen = st.container(gap="small")
        above = st.container()
    with map_column, shell.plain_errors():
        # Above the map, so that a slow method's progress is in sight on a phone too.
        if not problem:
            made = regression_map(context)
        if made is not None and (context.choice.instant or by == value_map.BY_ERROR):
            score = known_score(context)
            if score is None and context.choice.instant:
                score = regression_score(context)
        # Before the map, which is grey then: whoever looks at colours first must not miss it.
        useless = score or (known_score(context) if made is not None else None)
        if useless is not None and useless.useless:
            st.warning(
                t(
                    "**This map says nothing yet.** At plots it has not seen it is no better than their mean, so it "
                    "is drawn in grey. More plots, further apart and as different as the region is, may help; or "
                    "what you measured cannot be seen by satellites."
                ),
                icon=":material/do_not_disturb_on:",
            )
        _map(context, made, score, by, grey)
    with chosen, shell.plain_errors():
        _chosen(context, made, score)
    with above, shell.plain_errors():
        plots_panel(context, score or known_score(context))
        if context.plots and problem:
            st.info(problem, icon=":material/info:")
        if made is not None:
            if score is None:
                score = regression_score(context)
            if score is not None:
                score_panel(context, score)
            guesses(context, made, score)
        if context.plots:
            method(context)
        if made is not None:
            _files(context)


def _looks(context: RegressContext) -> tuple[str, bool]:
    """How plots are coloured, and whether guesses are greyed."""
    if not context.plots or context.problem:
        return value_map.BY_VALUE, False
    by = st.segmented_control(
        t("Plots show"),
        [value_map.BY_VALUE, value_map.BY_ERROR],
        default=value_map.BY_VALUE,
        required=True,
        key=context.key("by"),
        format_func=lambda what: t("Plots: number") if what == value_map.BY_VALUE else t("Plots: error"),
        label_visibility="collapsed",
        width="content",
        help=t(
            "Error: what a map says that has not seen the plot, minus your number. Blue: too little. Orange: too much."
        ),
    )
    grey = st.toggle(
        t("Grey where it guesses"),
        key=context.key("grey"),
        help=t("Covers ground unlike your plots, and numbers beyond their range. Nothing is computed anew."),
    )
    return by or value_map.BY_VALUE, grey


def _map(
    context: RegressContext, made: RegressionMap | None, score: RegressionScore | None, by: str, grey: bool
) -> None:
    pin, fly_to = None, None
    kind, where = _choice(context)
    if kind == "place":
        pin = Marker("here", where[0], where[1], colour="#d55e00", kind="pin", text=t("The place you chose"))
    elif kind == "plot":
        plot = next(plot for plot in context.plots if plot.label.id == where)
        row, col = value_map.middle(context, plot)
        pin = Marker(
            plot.label.id, row, col, colour="#d55e00", kind="pin", text=f"{numeral(plot.value, '.4g')}{context.unit}"
        )
        if st.session_state.get(context.key("fly")):
            fly_to = value_map.around(context, row, col)
    value_map.show(context, made, score, by=by, grey=grey, pin=pin, fly_to=fly_to, on_event=_on_map)


@frame.answers
def _on_map(project: Project) -> None:
    """A click chooses a place, or a plot."""
    context = RegressContext.of(project)
    for event in view_map.events(MAP):
        st.session_state.pop(context.key("fly"), None)
        if event.kind in ("marker", "outline") and any(plot.label.id == event.target for plot in context.plots):
            st.session_state[context.key("chosen")] = ("plot", event.target)
        elif event.row is not None and event.col is not None:
            st.session_state[context.key("chosen")] = ("place", (event.row, event.col))


def _choice(context: RegressContext) -> tuple[str, Any]:
    """``("place", (row, col))``, ``("plot", id)`` or ``("", None)``: what was last clicked and still is there."""
    kind, where = st.session_state.get(context.key("chosen"), ("", None))
    if kind == "plot" and not any(plot.label.id == where for plot in context.plots):
        return "", None
    return kind, where


def _chosen(context: RegressContext, made: RegressionMap | None, score: RegressionScore | None) -> None:
    """What is known of the chosen place, and the number measured there."""
    kind, where = _choice(context)
    if not kind:
        return
    with st.container(border=True, gap="small"):
        if kind == "plot":
            plot = next(plot for plot in context.plots if plot.label.id == where)
            said = f"{numeral(plot.value, '.4g')}{context.unit}"
            st.markdown(t("**Plot: {value}**", value=humanize.escape(said)))
            told = plot_text(context, score, plot.label.id)
            if told:
                st.caption(told)
            changer(context, plot.label.id, plot.value)
            return
        row, col = where
        if made is not None:
            number, about = place_text(context, made, int(np.floor(row)), int(np.floor(col)))
            if number:
                st.markdown(f"**{humanize.escape(f'{context.measure.name if context.measure else ""}: {number}')}**")
            st.caption(about)
        else:
            st.markdown(t("**A new plot**"))
        adder(context, row, col)


def _files(context: RegressContext) -> None:
    st.markdown(t("**Take it with you**"))
    with st.container(horizontal=True, gap="small"):
        for item in map_files(context.project, context.scene, context.year):
            files.button(item)
