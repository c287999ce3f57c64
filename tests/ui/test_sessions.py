"""The end of a visit is noticed once, and not when whoever left has come back."""

from __future__ import annotations

import threading

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from tessera_core.ui import sessions
from tests.waiting import eventually

VISIT = """
import streamlit as st
from tessera_core.ui import sessions

ended = st.session_state.ended
sessions.on_session_end(lambda: ended.append("ended"))
"""


def test_who_came_back_is_not_ended_by_what_waited_for_the_end_of_the_stay_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others = set(threading.enumerate())

    def waiting() -> bool:
        return any(thread.name == "tessera-session-end" for thread in set(threading.enumerate()) - others)

    monkeypatch.setattr(sessions, "GRACE_SECONDS", 0.5)
    ended: list[str] = []
    for _ in range(2):
        # All sessions of a test have one name, as one that comes back has.
        app = AppTest.from_string(VISIT)
        app.session_state["ended"] = ended
        app.run()
        assert not app.exception
        if waiting():
            eventually(lambda: not waiting(), "nothing waits for the end any more")
            assert ended == []
        else:
            st.cache_resource.clear()
            assert waiting()
    st.cache_resource.clear()
    eventually(lambda: len(ended) == 2, "the end is not noticed")
