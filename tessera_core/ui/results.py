"""Results that take a while: made once in the background, kept for all sessions, a few at a time.

So memory is bounded however many people there are, and whoever comes back finds the result.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import streamlit as st

from tessera_core.project.jobs import Work
from tessera_core.ui import jobs

MAX_KEPT = 6


class Kept:
    """The last few results, by key."""

    def __init__(self, limit: int = MAX_KEPT) -> None:
        self._limit, self._values = limit, OrderedDict[str, Any]()
        self._lock = threading.Lock()

    def get(self, key: str) -> Any:
        """The result of a key, or None."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: str, value: Any) -> None:
        """Keep a result, and drop those that were used longest ago when they are too many."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._limit:
                self._values.popitem(last=False)


@st.cache_resource(show_spinner=False)
def kept(page: str) -> Kept:
    """The results of a page, shared by all sessions."""
    return Kept()


def result_of(page: str, key: str, title: str, work: Work, again: str) -> Any:
    """A kept result, or None while it is made in the background; leaving the page cancels that.

    Args:
        page: address of the page that waits for it.
        key: of the work and its result.
        title: what people see while it runs.
        work: ``work(progress, cancelled)``.
        again: text of the button that starts it again after it failed or was stopped.
    """
    known = kept(page).get(key)
    if known is not None:
        return known
    job = jobs.pool().get(key)
    # Whoever left the page while it was being made, and comes back, wants it still.
    if job is None or job.abandoned:
        job = jobs.pool().start(key, title, work)
    if job.active and not job.cancelling:
        jobs.wait_on(page, key)
    if job.active:
        jobs.show(job)
        return None
    if jobs.outcome(job):
        kept(page).put(key, job.result)
        jobs.pool().forget(key)
        return kept(page).get(key)
    if st.button(again, key=f"again_{key}", icon=":material/refresh:"):
        jobs.pool().forget(key)
        st.rerun()
    return None
