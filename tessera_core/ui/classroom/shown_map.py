"""The map of one learner as a picture that nobody can change: what a teacher shows to all."""

from __future__ import annotations

import html

import streamlit as st

from tessera_core.classroom.board import project_of
from tessera_core.classroom.model import Member
from tessera_core.classroom.work import read_work
from tessera_core.errors import TesseraError
from tessera_core.language import relay, t
from tessera_core.project.project import Project
from tessera_core.render import palette
from tessera_core.ui import humanize, state


def draw(member: Member, start: Project, year: int | None) -> None:
    """Draw it, with its legend.

    Args:
        member: the learner.
        start: what the class started from.
        year: of its embeddings.
    """
    try:
        project = project_of(member)
        stamp = f"{project.folder.name}|{project.log.version}|{project.saved_at}"
        with st.spinner(t("Loading the map…")):
            found = _picture(stamp, project, start, year)
    except TesseraError as error:
        st.caption(humanize.escape(relay(error)))
        return
    if found is None:
        st.caption(t("There is no map yet: labels of two classes are needed."))
        return
    png, legend = found
    st.image(png, width=480)
    st.markdown(
        " ".join(
            f'<span style="white-space:nowrap"><span style="display:inline-block;width:.9em;height:.9em;'
            f'background:{colour}"></span> {html.escape(name)}</span>'
            for colour, name in legend
        ),
        unsafe_allow_html=True,
    )


@st.cache_data(max_entries=32, show_spinner=False)
def _picture(
    stamp: str, _project: Project, _start: Project, year: int | None
) -> tuple[bytes, list[tuple[str, str]]] | None:
    work = read_work(_project, state.scene_for(_start, year).raster)
    if work.map is None:
        return None
    colours = {one.id: one.color for one in work.classes}
    used = {label.class_id for label in work.labels}
    return palette.encode(work.map, colours), [(one.color, one.name) for one in work.classes if one.id in used]
