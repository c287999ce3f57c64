"""Background jobs on the page: the server's one pool, and the bar that shows a job until it ends."""

from __future__ import annotations

import secrets
import threading

import streamlit as st

from tessera_core.errors import Cancelled, TesseraError
from tessera_core.jobs import Job, JobPool
from tessera_core.ui import shell, words

_POLL_SECONDS = 0.4


@st.cache_resource(show_spinner=False, on_release=JobPool.close)
def pool() -> JobPool:
    """The pool that all sessions share."""
    return JobPool(workers=2)


class Wanted:
    """Which jobs the pages that are open still wait for; a job that no page waits for any more is cancelled."""

    def __init__(self) -> None:
        self._by_session: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()

    def add(self, session: str, page: str, key: str) -> None:
        """The session's ``page`` waits for the job ``key``."""
        with self._lock:
            self._by_session.setdefault(session, {})[key] = page

    def left(self, session: str, page: str | None) -> list[str]:
        """The session shows ``page`` now (None: nothing): keys of the jobs that nobody waits for any more."""
        with self._lock:
            mine = self._by_session.get(session, {})
            gone = [key for key, of in mine.items() if of != page]
            for key in gone:
                del mine[key]
            if not mine:
                self._by_session.pop(session, None)
            return [key for key in gone if not any(key in others for others in self._by_session.values())]


@st.cache_resource(show_spinner=False)
def _wanted() -> Wanted:
    return Wanted()


# Released when the browser tab is closed.
@st.cache_resource(scope="session", show_spinner=False, on_release=lambda session: _cancel(session, None))
def _session() -> str:
    return secrets.token_hex(8)


def wait_on(page: str, key: str) -> None:
    """Note that ``page`` shows the job ``key``; the job is cancelled when the person leaves the page or closes the tab."""
    _wanted().add(_session(), page, key)


def entered(page: str) -> None:
    """A run of ``page`` begins: cancel what only the page before it waited for."""
    _cancel(_session(), page)


def _cancel(session: str, page: str | None) -> None:
    for key in _wanted().left(session, page):
        job = pool().get(key)
        if job is not None:
            job.abandon()


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
