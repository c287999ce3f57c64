"""The first state of the page Validate: choose a design, see what it takes, draw it; or bring a sample from a file."""

from __future__ import annotations

import time

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core.assess.designs import draw
from tessera_core.language import later, percentage, t
from tessera_core.project import sample_plan, validate
from tessera_core.project.project import Project
from tessera_core.project.validate import Validation
from tessera_core.ui import humanize, tables
from tessera_core.ui.scene import OpenScene
from tessera_core.ui.validate.context import names_of, place_key
from tessera_core.ui.validate.published import published

DESIGNS = {
    "stratified": later("Some in every class"),
    "random": later("Anywhere, by chance"),
    "systematic": later("On a regular net"),
}
_UNITS = {
    "pixel": later("One pixel of the map"),
    "block": later("A square of 3 x 3 pixels, where pictures may lie a little beside"),
}
_RULES = {"majority": later("What covers most of it"), "centre": later("What lies at its very middle")}
_DESIGN_HELP = {
    "stratified": later(
        "Every class of the map gets places, small ones too. Best when you want the area of each class."
    ),
    "random": later("Every pixel has the same chance. Simple to explain; rare classes may get no place at all."),
    "systematic": later("A square net with a random start, so that places spread evenly over the region."),
}


def design_form(project: Project, scene: OpenScene, year: int | None, classes: NDArray[np.uint8]) -> None:
    """Choose a design, see what it takes, draw it; or bring a sample from a file."""
    key = f"validate_{project.key}_{year}"
    choices, outcome = st.columns([3, 2], gap="large")
    with choices:
        st.header(t("Which places?"))
        design = st.radio(
            t("How to choose them"),
            list(DESIGNS),
            format_func=lambda one: t(DESIGNS[one]),
            captions=[t(_DESIGN_HELP[name]) for name in DESIGNS],
            key=f"{key}design_form",
        )
        margin = st.select_slider(
            t("How exact should the accuracy be?"),
            [2, 3, 4, 5, 7, 10, 15],
            value=5,
            format_func=lambda points: t("±\xa0{points} points", points=points),
            key=f"{key}_margin",
            help=t("Half of the 95 % interval. Twice as exact takes four times as many places."),
        )
        accuracy = st.slider(
            t("How much of the map do you expect to be right?"),
            50,
            98,
            80,
            format="%d %%",
            key=f"{key}_accuracy",
            help=t("A guess is enough: it only sets how many places are drawn."),
        )
        at_least = 0
        if design == "stratified":
            at_least = st.slider(
                t("Places in every class, at least"),
                2,
                50,
                10,
                key=f"{key}_least",
                help=t("More of them make the figures of rare classes firmer."),
            )
        unit, rule = _what_counts(key)
    with outcome:
        plan = sample_plan.plan(classes, design, margin / 100, accuracy / 100, at_least=max(at_least, 2))
        _outcome(project, plan)
        if st.button(
            t("Choose the places by chance"),
            type="primary",
            icon=":material/casino:",
            key=f"{key}_draw",
            width="stretch",
        ):
            seed = int(time.time()) & 0x7FFFFFFF
            sample = draw(classes, plan.n, design, at_least=max(at_least, 2), seed=seed)
            drawn = Validation(year, scene.raster.grid, sample, unit=unit, rule=rule, margin=margin / 100)
            _begin(project, drawn.on_map(classes))
    _from_file(project, scene, year, key)
    published(project, scene, year, classes, key)


def _what_counts(key: str) -> tuple[str, str]:
    """What a place is, and what an answer is about; it stays so for the whole sample."""
    with st.expander(t("What is a place, and what counts there?"), icon=":material/center_focus_strong:"):
        unit = st.radio(t("A place is"), list(_UNITS), format_func=lambda one: t(_UNITS[one]), key=f"{key}_unit")
        rule = st.radio(t("You say"), list(_RULES), format_func=lambda one: t(_RULES[one]), key=f"{key}_rule")
        st.caption(t("The map is judged by the same. It is chosen once for a sample, and stands in the report."))
    return unit, rule


def _outcome(project: Project, plan: sample_plan.SamplePlan) -> None:
    st.header(t("{n} places", n=plan.n))
    st.markdown(
        t(
            "About {duration} of looking. The accuracy would then be known to about ±\xa0{value} points. You "
            "may stop early: the intervals are only wider then.",
            duration=humanize.duration(plan.seconds),
            value=percentage(plan.margin),
        )
    )
    if plan.per_class:
        names = names_of(project)
        rows = [{"Class of the map": names.get(k, str(k)), "Places": n} for k, n in plan.per_class.items()]
        tables.show(rows, hide_index=True, width="stretch", height=min(35 * len(rows) + 38, 320))


def _from_file(project: Project, scene: OpenScene, year: int | None, key: str) -> None:
    with st.expander(t("I have a sample as a file"), icon=":material/upload_file:"):
        file = st.file_uploader(
            t("Sample (CSV) saved by this app, answered here or in another program"), type="csv", key=f"{key}_file"
        )
        if file is not None and st.button(t("Use this sample"), key=f"{key}_use"):
            text = file.getvalue().decode("utf-8", errors="replace")
            _begin(project, validate.read_sample(text, scene.raster.grid, names_of(project), year))


def _begin(project: Project, new: Validation) -> None:
    validate.start(project, new)
    st.session_state[place_key(project, new.year)] = 0
    st.rerun()


def again(project: Project, scene: OpenScene, year: int | None, classes: NDArray[np.uint8]) -> None:
    """The form once more, folded, beneath a sample that is being answered."""
    with st.expander(t("Draw other places, or bring a file"), icon=":material/restart_alt:"):
        st.caption(t("The answers given so far stay in the project's folder; a new sample begins without them."))
        design_form(project, scene, year, classes)
