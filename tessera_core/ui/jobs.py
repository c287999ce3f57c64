"""Background jobs on the page: the server's one pool, and the bar that shows a job until it ends."""

from __future__ import annotations

import streamlit as st

from tessera_core.errors import Cancelled, TesseraError
from tessera_core.jobs import Job, JobPool
from tessera_core.ui import shell, words

_POLL_SECONDS = 0.4


@st.cache_resource(show_spinner=False, on_release=JobPool.close)
def pool() -> JobPool:
    """The pool that all sessions share."""
    return JobPool(workers=2)


def show(job: Job) -> None:
    """Progress bar with stage, time left and a cancel button; the whole page reruns once when the job ends."""

    @st.fragment(run_every=_POLL_SECONDS)
    def bar() -> None:
        if not job.active:
            st.rerun()
        st.progress(job.fraction, text=_status(job))
        st.button(
            "Cancel", key=f"cancel_{job.key}", on_click=job.cancel, disabled=job.cancelling, icon=":material/close:"
        )

    st.markdown(f"**{job.title}**")
    bar()


def outcome(job: Job) -> bool:
    """Say how an ended job went, in one sentence; True when its result can be used."""
    if job.state == "done":
        return True
    if job.state == "cancelled":
        st.info(str(Cancelled()), icon=":material/block:")
    elif job.error is not None:
        text = str(job.error) if isinstance(job.error, TesseraError) else shell.unforeseen(job.error)
        st.error(text, icon=":material/error:")
    return False


def _status(job: Job) -> str:
    if job.cancelling:
        return "Stopping…"
    if job.state == "waiting":
        return "Waiting for other work to finish"
    left = job.seconds_left
    return (job.message or "Starting") + (f" – about {words.duration(left)} left" if left is not None else "")
