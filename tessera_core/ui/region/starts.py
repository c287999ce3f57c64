"""Region: guides for people who come with a question, on the first page and in an open project."""

from __future__ import annotations

import streamlit as st

from tessera_core.language import t
from tessera_core.lessons import library as lessons
from tessera_core.lessons.model import Lesson
from tessera_core.project.project import Project
from tessera_core.ui import humanize, shell, state
from tessera_core.ui.region import chosen

_WANTED = "region_start_wanted"


def welcome() -> None:
    """The questions, below the ways to open a place."""
    known = lessons.shelf().starts
    if not known:
        return
    wanted = known.get(st.session_state.get(_WANTED, ""))
    with st.container(gap="small", key="region_starts"):
        st.header(t("Or begin with a question"))
        if wanted is not None:
            st.info(
                t(
                    "The guide **{title}** begins as soon as you open a place above.",
                    title=humanize.escape(wanted.words().title),
                ),
                icon=":material/signpost:",
            )
        with st.container(horizontal=True, gap="small"):
            for start in known.values():
                _offer(start)


def _offer(start: Lesson) -> None:
    texts = start.words()
    with st.popover(humanize.escape(texts.title), key=f"region_start_{start.id}"):
        st.markdown(
            t(
                "{summary} :small[:gray[About {minutes} minutes.]]",
                summary=humanize.escape(texts.summary),
                minutes=start.minutes,
            )
        )
        with shell.plain_errors():
            if st.button(t("Practise on the invented place"), type="primary", key=f"region_start_demo_{start.id}"):
                # The page Learn brings much that nobody needs who only opens a place.
                from tessera_core.ui.learn.page import start as begin

                begin(start)
            if st.button(t("In a place of my own"), key=f"region_start_own_{start.id}"):
                st.session_state[_WANTED] = start.id
                chosen.open_here()
                st.rerun()


def take_up(project: Project) -> None:
    """Begin the guide that was asked for before this place was opened."""
    start = lessons.shelf().starts.get(st.session_state.pop(_WANTED, ""))
    if start is not None and _free(project):
        lessons.begin_in(project, start)


def in_project(project: Project) -> None:
    """Follow a question here."""
    if not _free(project):
        return
    with st.expander(t("Follow a question here"), icon=":material/signpost:"):
        for start in lessons.shelf().starts.values():
            texts = start.words()
            st.markdown(f"**{humanize.escape(texts.title)}**  \n{humanize.escape(texts.summary)}")
            with shell.plain_errors():
                if st.button(t("Begin"), key=f"region_start_here_{start.id}", help=texts.title):
                    lessons.begin_in(state.open_project(project), start)
                    st.rerun()


def _free(project: Project) -> bool:
    """Whether no lesson is being done in it."""
    return project.settings.lesson is None or project.settings.lesson.left
