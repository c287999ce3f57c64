"""Notes on single labels: a list to choose from and to search, which keeps step with what is chosen on the map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from tessera_core.errors import TesseraError
from tessera_core.language import relay, t
from tessera_core.project.project import Project
from tessera_core.ui import humanize

# A list of more is slow in the browser; labels with a note are always in it.
LISTED = 300
SHOWN = 26


def panel(project: Project) -> None:
    """Choose a label, newest first; its note can be changed."""
    log = project.log
    numbered = {label.id: (n, label) for n, label in enumerate(log.labels, 1) if label.kind != "erase"}
    if not numbered:
        st.caption(t("Once there are labels, each can carry a note: who saw it, when, what was there."))
        return
    key = _key(project)
    chosen = st.session_state.get(key)
    chosen = chosen if chosen in numbered else None
    newest = reversed(numbered.items())
    listed = [id_ for k, (id_, (_n, label)) in enumerate(newest) if k < LISTED or label.note or id_ == chosen]
    names = {c.id: c.name for c in log.classes}

    def title(label_id: str) -> str:
        if label_id not in numbered:
            return ""
        number, label = numbered[label_id]
        note = label.note if len(label.note) <= SHOWN else f"{label.note[: SHOWN - 1]}…"
        return f"{number}. {names[label.class_id]}, {label.kind}{f': {note}' if note else ''}"

    # What is changed from outside (on the map, in another tab) is shown by a new widget. A late message of the old one, with
    # what it showed before, would otherwise be taken for the person's choice, and undo the change.
    text = title(chosen) if chosen is not None else ""
    if st.session_state.setdefault(f"{key}_shows", text) != text:
        st.session_state[f"{key}_shows"] = text
        st.session_state[f"{key}_turn"] = st.session_state.get(f"{key}_turn", 0) + 1
    turn = st.session_state.setdefault(f"{key}_turn", 0)
    st.selectbox(
        t("Label"),
        listed,
        index=None if chosen is None else listed.index(chosen),
        key=f"{key}_box{turn}",
        on_change=_choose,
        args=(key, turn, title),
        format_func=title,
        placeholder=t("Choose or search a label"),
        label_visibility="collapsed",
    )
    if chosen is not None:
        note = numbered[chosen][1].note
        field = f"{key}_{chosen}_{hash(note)}"
        st.text_input(
            t("Note"),
            note,
            key=field,
            placeholder=t("What should be remembered about this place?"),
            on_change=_write,
            args=(project, chosen, note, field),
        )
    problem = st.session_state.pop(f"{key}_problem", "")
    if problem:
        st.error(humanize.plain(problem), icon=":material/error:")
    noted = sum(bool(label.note) for _n, label in numbered.values())
    st.caption(
        t(
            "{noted} of {numbered} labels carry a note. Notes are exported with the labels; undo takes them back.",
            noted=noted,
            numbered=len(numbered),
        )
    )


def follow(project: Project, label_id: str) -> None:
    """Show the label in the list that was chosen on the map, or none for an empty id."""
    st.session_state[_key(project)] = label_id or None


def chosen(project: Project) -> dict[str, Any]:
    """The label that was last chosen in the list, for the map; ``number`` grows with every choice there."""
    key = _key(project)
    return {"id": st.session_state.get(key), "number": st.session_state.get(f"{key}_number", 0)}


def _key(project: Project) -> str:
    return f"label_note_{project.key}"


def _choose(key: str, turn: int, title: Callable[[str], str]) -> None:
    if turn != st.session_state[f"{key}_turn"]:
        return
    picked = st.session_state[f"{key}_box{turn}"]
    st.session_state[key] = picked
    st.session_state[f"{key}_shows"] = "" if picked is None else title(picked)
    st.session_state[f"{key}_number"] = st.session_state.get(f"{key}_number", 0) + 1


def _write(project: Project, label_id: str, before: str, field: str) -> None:
    label = project.log.find_label(label_id)
    if label is None or label.note != before:
        return
    try:
        project.log.edit_label(label_id, note=str(st.session_state[field]))
    except TesseraError as error:
        st.session_state[f"{_key(project)}_problem"] = relay(error)
