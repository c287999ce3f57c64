"""The end of a visit: what a session started ends with it.

A session ends when its browser tab has been gone for :data:`GRACE_SECONDS`; a reload makes a new one at once, a short
loss of the network does not end it. Streamlit itself would keep an ended session, its uploads and its state until others come.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

log = logging.getLogger(__name__)

# Less than Streamlit's own server.disconnectedSessionTTL (120 s), after which it would not find the session to close it.
GRACE_SECONDS = 60.0
_loop: asyncio.AbstractEventLoop | None = None
# How often each session has come: what waits for the end of one stay does not end the next.
_stays: Counter[str] = Counter()


class Endings:
    """What is to be done at the end of each session; may be used from any thread."""

    def __init__(self) -> None:
        self._callbacks: dict[str, list[Callable[[], None]]] = {}
        self._lock = threading.Lock()

    def add(self, session: str, callback: Callable[[], None]) -> None:
        """Call ``callback`` once when the session ends."""
        with self._lock:
            self._callbacks.setdefault(session, []).append(callback)

    def end(self, session: str) -> None:
        """The session has ended: do it all, last come first done; what fails is logged and stops nothing else."""
        with self._lock:
            callbacks = self._callbacks.pop(session, [])
        for callback in reversed(callbacks):
            try:
                callback()
            except Exception:
                log.exception("Something could not be put away at the end of a session")


_endings = Endings()


def on_session_end(callback: Callable[[], None]) -> None:
    """Call ``callback`` once, from a thread of its own, when the session whose script runs here has ended.

    It must not use ``st``: the session is gone. Register each thing once, when it is made.
    """
    _endings.add(session_id(), callback)
    present()


def present() -> None:
    """Note, in every run, that the session is there: its end is noticed from then on."""
    _presence(session_id())


def serve(loop: asyncio.AbstractEventLoop) -> None:
    """Say which event loop serves the browsers: sessions are closed on it."""
    global _loop
    _loop = loop


def session_id() -> str:
    """Identity of the session whose script runs here, the same over reloads of pages and reconnects; not for browsers."""
    context = get_script_run_ctx()
    return "" if context is None else context.session_id


# Streamlit lets go of it when the browser disconnects, be it for a moment.
@st.cache_resource(scope="session", show_spinner=False, on_release=lambda session: _disconnected(session))
def _presence(session: str) -> str:
    _stays[session] += 1
    return session


def _disconnected(session: str) -> None:
    waiting = threading.Timer(GRACE_SECONDS, _end_unless_back, [session, _stays[session]])
    waiting.name, waiting.daemon = "tessera-session-end", True
    waiting.start()


def _end_unless_back(session: str, stay: int) -> None:
    if _stays[session] != stay:
        return
    if runtime.exists():
        server = runtime.get_instance()
        if server.is_active_session(session):
            return
        if _loop is not None and not _loop.is_closed():
            _loop.call_soon_threadsafe(_close, server, session)
    del _stays[session]
    _endings.end(session)


def _close(server: runtime.Runtime, session: str) -> None:
    if not server.is_active_session(session):
        server.close_session(session)
