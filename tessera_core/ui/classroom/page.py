"""The page Class: a teacher's board, or the door through which learners come in."""

from __future__ import annotations

import streamlit as st

from tessera_core.hosting import may
from tessera_core.language import t
from tessera_core.ui import people, shell, state


def page() -> None:
    """Build the page."""
    if not state.hosted():
        st.title(t("Class"))
        _alone()
        return
    person = people.person()
    # Each role loads what it needs and nothing else: thirty learners come at once.
    if may(person, "make classes") and not st.query_params.get("join"):
        from tessera_core.ui.classroom import teacher

        with shell.plain_errors():
            teacher.draw(person)
    else:
        from tessera_core.ui.classroom import learner

        with shell.plain_errors():
            learner.door(person)


def _alone() -> None:
    st.markdown(
        t(
            "A class works together: learners join with a code, each in a project of their own, you see "
            "where everybody is, and their maps make one map. For that this computer serves the others in "
            "the room. Stop Tessera Studio and start it so:"
        )
    )
    st.code("tessera app --class", language=None)
    st.markdown(
        t(
            "It shows the address that learners open, and a code for them. Nobody needs an account, and "
            "nothing leaves this computer. From a copy of the repository the command is:"
        )
    )
    st.code("make app CLASS=1", language=None)
    st.markdown(t("Without a network between the computers, hand files around instead:"))
    st.page_link("pages/data.py", label=t("A class by files"), icon=":material/folder_zip:")
