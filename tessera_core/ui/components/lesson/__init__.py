"""The panel of a lesson, beside every page or, on a small screen, at its foot, and the spotlight on the control it speaks of.

Panel and spotlight live at the end of the page's body rather than where Streamlit mounts us: they stay through page changes and
runs, and lie above the page without being part of its layout. What is mounted only carries messages.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from tessera_core.language import current
from tessera_core.session import payload
from tessera_core.ui.components import shared

HUB = "__tesseraLesson"


def loader() -> None:
    """Bring the panel's code into the page; call it once per page run, outside every fragment."""
    sheets = ("shared/assets/style.css", "lesson/assets/lesson.css")
    shared.load(
        f"tessera_lesson_loader_{current()}",
        shared.loader(HUB, "lesson/assets/main.js", sheets, current(), leaflet=False),
    )


def panel(key: str, header: Mapping[str, Any], on_event: Callable[[], None]) -> None:
    """Show the step of a lesson.

    Args:
        key: names the panel within the session.
        header: ``LessonHeader`` of ``messages.d.ts``.
        on_event: called before the script when the learner did something; read it with :func:`message`.
    """
    _mount()(key=key, data=payload.pack({"kind": "lesson", "key": key, **header}), on_event_change=on_event, height=1)


def picture(key: str, header: Mapping[str, Any], frames: Mapping[str, Any]) -> None:
    """Send a picture that moves to the panel ``key``; Streamlit sends equal bytes only once.

    Args:
        key: the panel.
        header: ``LessonPictureHeader`` of ``messages.d.ts``.
        frames: as :func:`tessera_core.lessons.pictures.read_picture` returns them.
    """
    data = json.dumps(frames, separators=(",", ":")).encode()
    _mount()(key=f"{key}_picture", data=payload.pack({"kind": "lesson_picture", "key": key, **header}, data), height=1)


def message(key: str) -> object:
    """What the browser sent to the panel ``key`` in this run, or None; untrusted."""
    state = st.session_state.get(key)
    return None if state is None else getattr(state, "event", None)


def _mount() -> Callable[..., Any]:
    return shared.mount("tessera_lesson", HUB)
