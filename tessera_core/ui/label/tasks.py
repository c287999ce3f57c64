"""What the panels beside the map share: work that runs with progress, and what a button has to say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from tessera_core.errors import TesseraError
from tessera_core.language import relay
from tessera_core.ui import humanize, jobs, shell


def job(key: str, title: str, work: Any) -> Any:
    """A button that starts ``work``; its progress; its result, or None while there is none."""
    job = jobs.pool().get(key)
    if job is None or (not job.active and job.state != "done"):

        @shell.shielded
        def start() -> None:
            jobs.pool().start(key, title, work)

        st.button(title, key=f"start_{key}", width="stretch", on_click=start)
        if job is not None:
            jobs.outcome(job)
        return None
    if job.active:
        jobs.show(job)
        return None
    return job.result


def say(panel: str, act: Callable[[], str]) -> None:
    """Do something for a button of a panel; the panel then says how it went, see :func:`said`."""
    try:
        st.session_state[f"label_said_{panel}"] = ("done", act())
    except TesseraError as error:
        st.session_state[f"label_said_{panel}"] = ("error", relay(error))


def said(panel: str) -> None:
    """Tell once what :func:`say` has kept."""
    kind, text = st.session_state.pop(f"label_said_{panel}", ("", ""))
    if kind == "error":
        st.error(humanize.plain(text), icon=":material/error:")
    elif text:
        st.toast(text, icon=":material/check:")
