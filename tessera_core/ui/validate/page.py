"""The page Validate: draw a sample of places, say what is there with one key each, read areas and accuracy with intervals.

Three states: no sample yet (the design), places left (the screen), and what the answers so far say, always below. All that
is computed is in :mod:`tessera_core.project.validate` and :mod:`tessera_core.assess`.
"""

from __future__ import annotations

import streamlit as st

from tessera_core.errors import LabelError
from tessera_core.language import later, t
from tessera_core.project import validate
from tessera_core.project.project import Project
from tessera_core.ui import frame, humanize, maps, state
from tessera_core.ui.components import view_map
from tessera_core.ui.validate.certified import certified
from tessera_core.ui.validate.design import again, design_form
from tessera_core.ui.validate.results import elsewhere, results
from tessera_core.ui.validate.screen import screen
from tessera_core.ui.validate.two import two_people
from tessera_core.ui.validate.which import which_map

_QUESTIONS = {"map": later("How right is the map?"), "two": later("Which of two maps?")}


def page() -> None:
    """Build the page."""
    st.title(t("Validate"))
    if frame.opened(t("Open a region first; then its map can be checked here.")) is None:
        return
    view_map.loader()
    _studio()


@frame.part
def _studio(project: Project) -> None:
    year = frame.year_choice(project, "validate", t("Year of the map"), shown=True)
    scene = state.scene_for(project, year)
    made, missing = maps.project_map(project, scene, year)
    if made is None:
        st.info(humanize.plain(missing), icon=":material/info:")
        st.page_link("pages/label.py", label=t("Label some places"), icon=":material/draw:", query_params=state.query())
        return
    question = st.segmented_control(
        t("What do you want to know?"),
        list(_QUESTIONS),
        format_func=lambda one: t(_QUESTIONS[one]),
        default="map",
        required=True,
        key=f"validate_question_{project.key}",
        label_visibility="collapsed",
    )
    if question == "two":
        which_map(project, scene, year, made)
        return
    saved = validate.load(project, year)
    if saved is None:
        st.caption(
            t(
                "Look at a few places chosen by chance and say what is there. From that follow the areas and "
                "the accuracy of the map with honest intervals, whatever mistakes it makes."
            )
        )
        design_form(project, scene, year, made.map.classes)
        return
    try:
        current = saved.on_map(made.map.classes)
    except LabelError as error:
        st.warning(humanize.told(error), icon=":material/warning:")
        again(project, scene, year, made.map.classes)
        return
    screen(project, scene, current)
    results(project, scene, current, made.map.classes)
    certified(project, scene, current, made)
    two_people(project, current)
    elsewhere(project, scene, current)
    again(project, scene, year, made.map.classes)
