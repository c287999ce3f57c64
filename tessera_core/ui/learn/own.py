"""Learn: lessons that somebody handed out are added from a file, say whose they are, and are removed again."""

from __future__ import annotations

from typing import Any

import streamlit as st

from tessera_core.errors import TesseraError
from tessera_core.language import relay, t
from tessera_core.lessons import packs
from tessera_core.lessons.model import Lesson
from tessera_core.ui import humanize, shell

_TAKEN = "learn_taken"
_FILE = "learn_file"


def panel() -> None:
    """Where a file with lessons is dropped."""
    known = st.session_state.pop(_TAKEN, None)
    with st.expander(t("Add a lesson from a file"), icon=":material/upload_file:", expanded=known is not None):
        st.markdown(
            t(
                "A lesson that a teacher wrote comes as a .zip, or in a pack (.tesserapack). It holds texts and "
                "pictures and no program; it is checked before it is added."
            )
        )
        count = st.session_state.setdefault("learn_files", 0)
        file = st.file_uploader(
            t("File with lessons"), type=list(packs.KINDS), key=f"{_FILE}_{count}", label_visibility="collapsed"
        )
        with shell.plain_errors():
            if st.button(t("Add the lesson"), icon=":material/add:", key="learn_add", disabled=file is None) and file:
                taken = packs.take(file, file.name)
                st.session_state[_TAKEN] = _sentences(taken)
                # An empty field for the next file.
                st.session_state["learn_files"] = count + 1
                st.rerun()
        for sentence in known or ():
            st.success(sentence, icon=":material/check:")


def taken_along(file: Any) -> None:
    """Add the lessons of a pack that was opened, and say so beside what comes of it."""
    try:
        taken = packs.taken_along(file, file.name)
    except TesseraError as error:
        st.toast(humanize.escape(relay(error)), icon=":material/warning:")
        return
    for lesson in taken.lessons:
        st.toast(
            t(
                "The pack holds a lesson: {title}. It is on the page Learn.",
                title=humanize.escape(lesson.words().title),
            ),
            icon=":material/school:",
        )


def whose(lesson: Lesson) -> None:
    """Who wrote a lesson that was added here."""
    if lesson.by:
        st.caption(t("Added to this computer. Written by {by}, as the lesson says.", by=humanize.escape(lesson.by)))
    else:
        st.caption(t("Added to this computer. The lesson does not say who wrote it."))


def remove_button(lesson: Lesson) -> None:
    """Takes an added lesson away, once more asked."""
    with st.popover(t("Remove"), icon=":material/delete:", key=f"learn_remove_{lesson.id}"):
        st.markdown(t("The lesson goes from this page. Projects that were begun with it stay."))
        if st.button(t("Remove the lesson"), type="primary", key=f"learn_removed_{lesson.id}"):
            with shell.plain_errors():
                packs.remove(lesson)
                st.rerun()


def _sentences(taken: packs.Taken) -> list[str]:
    said = [t("**{title}** was added.", title=humanize.escape(one.words().title)) for one in taken.lessons]
    if taken.ignored:
        named = ", ".join(humanize.escape(name) for name in taken.ignored[:5])
        said.append(
            t(
                "{ignored} files in it belong to no lesson and were not unpacked, such as {named}.",
                ignored=len(taken.ignored),
                named=named,
            )
        )
    return said
