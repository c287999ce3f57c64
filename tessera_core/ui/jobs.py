"""Background jobs on the page: the server's one pool as a visitor sees it, and the bar that shows a job until it ends."""

from __future__ import annotations

import hashlib
import secrets
import threading

import streamlit as st

from tessera_core.errors import Cancelled, TesseraError
from tessera_core.hosting import Person, acting_for, audit
from tessera_core.language import bound, relay, t, tn
from tessera_core.project.jobs import Job, JobPool, Place, Work
from tessera_core.types import Cancel, Progress
from tessera_core.ui import humanize, logs, people, seats, state

_POLL_SECONDS = 0.4
_WORKERS = 2


@st.cache_resource(show_spinner=False, on_release=JobPool.close)
def _pool() -> JobPool:
    if not state.hosted():
        return JobPool(_WORKERS)
    return JobPool(_WORKERS, each=_WORKERS - 1)


def of_server() -> JobPool:
    """The pool of this process, for those who look after it."""
    return _pool()


def name_of(job: Job) -> str:
    """What tells a job apart where its key, which may name a place of the server, has no business."""
    return hashlib.blake2b(job.key.encode(), digest_size=8).hexdigest()


class Jobs:
    """The pool that all sessions share, as one person sees it: another's "Cancel" is none of their business."""

    def __init__(self, pool: JobPool, person: Person | str, tab: str) -> None:
        self._who = Person(person) if isinstance(person, str) else person
        self._pool, self._person, self._tab = pool, self._who.key, tab

    def start(self, key: str, title: str, work: Work) -> Job:
        """Run the work in the background, or wait with others for what is already under way.

        Raises:
            BusyError: the person has as much under way as a server for many grants.
        """
        who = self._who

        @bound
        def for_person(progress: Progress, cancelled: Cancel) -> object:
            # What is made belongs to whoever asked for it first.
            with acting_for(who):
                return work(progress, cancelled)

        most = seats.room().granted(who).jobs if state.hosted() else None
        while True:
            job = self._pool.start(key, title, for_person, self._person, most=most)
            new = not job.awaited_by(self._person)
            # Others may have stopped it in between; then it is begun anew.
            if job.join(self._person, self._tab):
                break
        if state.hosted() and new:
            audit.note("waits for long work", who)
        return job

    def get(self, key: str) -> Job | None:
        """The last job of a key, unless forgotten; to a person who left it, it is cancelled, to the others it is not."""
        job = self._pool.get(key)
        if job is None:
            return None
        if self._person in job.left_by:
            return job if not job.active or job.cancelling else Job(key, job.title, state="cancelled")
        return None if job.state == "cancelled" and not job.abandoned and job.left_by else job

    def forget(self, key: str) -> None:
        """Drop an ended job and its result; one that goes on for others is only not shown to this person again."""
        self._pool.forget(key)


def pool() -> Jobs:
    """The server's jobs, as the person of this session sees them."""
    return Jobs(_pool(), people.person(), _session())


def mine(job: Job) -> bool:
    """Whether it is shown to the person of this session: they asked for it, in this tab or in one that is gone."""
    person = state.visitor()
    return job.awaited_by(person) or (person in job.left_by and job.cancelling)


def leave(job: Job) -> None:
    """The person of this session does not want it any longer; it ends unless others wait for it."""
    job.leave(state.visitor())


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
        job = _pool().get(key)
        if job is not None:
            job.abandon()
    if page is None:
        _pool().gone(session)


def show(job: Job) -> None:
    """Progress bar with stage, time left and a cancel button; the whole page reruns once when the job ends for this person."""
    person, tab = state.visitor(), _session()
    # Whatever has become of it meanwhile, a look takes nobody's "Cancel" back.
    job.seen(person, tab)

    def leave() -> None:
        job.leave(person)

    @st.fragment(run_every=_POLL_SECONDS)
    def bar() -> None:
        if not job.active or (person in job.left_by and not job.cancelling):
            st.rerun()
        st.progress(job.fraction, text=_status(job))
        st.button(t("Cancel"), key=_button(job), on_click=leave, disabled=job.cancelling, icon=":material/close:")

    st.markdown(f"**{humanize.plain(job.title)}**")
    bar()


def _button(job: Job) -> str:
    return f"cancel_{name_of(job)}"


def outcome(job: Job) -> bool:
    """Say how an ended job went, in one sentence; True when its result can be used."""
    if job.state == "done":
        return True
    if job.state == "cancelled":
        st.info(relay(Cancelled()), icon=":material/block:")
    elif job.error is not None:
        text = humanize.told(job.error) if isinstance(job.error, TesseraError) else logs.unforeseen(job.error)
        st.error(text, icon=":material/error:")
    return False


def _waiting(place: Place | None) -> str:
    """Where a job stands in the queue, for whoever waits for it."""
    if place is None:
        return t("Starting")
    time_left = "" if place.seconds is None else t(", about {duration}", duration=humanize.duration(place.seconds))
    if place.people == 0:
        return t("Waiting for your other work to finish{time_left}", time_left=time_left)
    return tn(
        "{n} person is before you{time_left}", "{n} people are before you{time_left}", place.people, time_left=time_left
    )


def _status(job: Job) -> str:
    if job.cancelling:
        return t("Stopping…")
    if job.state == "waiting":
        return _waiting(_pool().place(job))
    left = job.seconds_left
    return (relay(job.message) or t("Starting")) + (
        t(" – about {duration} left", duration=humanize.duration(left)) if left is not None else ""
    )
