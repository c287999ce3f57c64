"""Notes on single labels: choose a label, see it on the map, read and write what should be remembered about it."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from tessera_core.errors import TesseraError
from tessera_core.labels.model import Label
from tessera_core.project import Project
from tessera_core.render.display import DisplayGrid

# A list of more is slow in the browser; labels with a note are always in it.
LISTED = 300
SHOWN = 26


def panel(project: Project) -> None:
    """Choose a label, newest first; its note can be changed."""
    log = project.log
    numbered = {label.id: (n, label) for n, label in enumerate(log.labels, 1) if label.kind != "erase"}
    if not numbered:
        st.caption("Once there are labels, each can carry a note: who saw it, when, what was there.")
        return
    listed = [id_ for k, (id_, (_n, label)) in enumerate(reversed(numbered.items())) if k < LISTED or label.note]
    names = {c.id: c.name for c in log.classes}

    def title(label_id: str) -> str:
        if label_id not in numbered:
            return ""
        number, label = numbered[label_id]
        note = label.note if len(label.note) <= SHOWN else f"{label.note[: SHOWN - 1]}…"
        return f"{number}. {names[label.class_id]}, {label.kind}{f': {note}' if note else ''}"

    key = _key(project)
    # The browser knows options by their text, which a note changes; so the choice is kept here, by the label's id.
    chosen = st.session_state.get(key)
    chosen = chosen if chosen in listed else None
    st.session_state[f"{key}_box"] = chosen
    st.selectbox(
        "Label",
        listed,
        index=None,
        key=f"{key}_box",
        on_change=_choose,
        args=(key,),
        format_func=title,
        placeholder="Choose or search a label",
        label_visibility="collapsed",
    )
    if chosen is not None:
        field = f"{key}_{chosen}"
        st.session_state[field] = numbered[chosen][1].note
        st.text_input(
            "Note",
            key=field,
            placeholder="What should be remembered about this place?",
            on_change=_write,
            args=(project, chosen, field),
        )
    problem = st.session_state.pop(f"{key}_problem", "")
    if problem:
        st.error(problem, icon=":material/error:")
    noted = sum(bool(label.note) for _n, label in numbered.values())
    st.caption(
        f"{noted} of {len(numbered)} labels carry a note. Notes are exported with the labels; undo takes them back."
    )


def chosen_place(project: Project, display: DisplayGrid) -> dict[str, Any] | None:
    """The label whose note is open in this browser tab, for the map: its id, text and middle in display coordinates."""
    label = project.log.find_label(st.session_state.get(_key(project)) or "")
    if label is None or not st.session_state.get(f"label_notes_{project.id}"):  # the panel is folded
        return None
    x, y = display.from_grid(*_middle(label))
    return {"id": label.id, "text": label.note or "This label", "xy": [round(float(x[0]), 3), round(float(y[0]), 3)]}


def _middle(label: Label) -> tuple[list[float], list[float]]:
    x, y = np.array(label.rings[0]).T
    # The middle of a stroke can lie off it; one of its own places never does.
    if label.kind == "brush":
        return [float(x[len(x) // 2])], [float(y[len(y) // 2])]
    return [float(x.mean())], [float(y.mean())]


def _key(project: Project) -> str:
    return f"label_note_{project.id}"


def _choose(key: str) -> None:
    st.session_state[key] = st.session_state[f"{key}_box"]


def _write(project: Project, label_id: str, field: str) -> None:
    try:
        project.log.edit_label(label_id, note=str(st.session_state[field]))
    except TesseraError as error:
        st.session_state[f"{_key(project)}_problem"] = str(error)
