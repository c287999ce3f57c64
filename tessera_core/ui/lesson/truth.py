"""What a learner thought of the map, what its score says, and what is true of it: the three beside each other."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core.errors import LabelError
from tessera_core.language import later, percentage, t
from tessera_core.lessons import library
from tessera_core.lessons.model import Lesson
from tessera_core.lessons.progress import place
from tessera_core.lessons.truth import Comparison, Truth, compare
from tessera_core.project import validate
from tessera_core.project.classify import head_choice, map_project, score_labels
from tessera_core.project.project import Project
from tessera_core.project.settings import LessonProgress
from tessera_core.render.palette import encode
from tessera_core.session.reading import next_step
from tessera_core.ui import state

_KEPT = "lesson_truth"
_UNKNOWN = later("not known")


def told(project: Project, lesson: Lesson, known: LessonProgress) -> dict[str, Any] | None:
    """``LessonTruth`` of ``messages.d.ts`` for the step that is shown; None where there is no map, or no truth."""
    truth = library.truth_for(project, lesson)
    if truth is None or next_step(project.log):
        return None
    asked = place(lesson, known).step.truth
    choice = known.first.get(asked)
    claim = lesson.words().steps[asked].choices[choice] if choice is not None else t(_UNKNOWN)
    year = state.current_year(project)
    sample = validate.load(project, year)
    seen = 0 if sample is None else sample.seen
    stamp = (project.key, project.log.version, str(head_choice(project)), year, seen)
    kept = st.session_state.get(_KEPT)
    if kept is None or kept[0] != stamp:
        with st.spinner(t("Comparing with the truth…")):
            kept = st.session_state[_KEPT] = (stamp, _compared(project, lesson, truth))
    return {"claim": claim, **kept[1]}


def _compared(project: Project, lesson: Lesson, truth: Truth) -> dict[str, Any]:
    scene = state.scene_for(project)
    made = map_project(project, scene.raster, state.current_year(project))
    score = score_labels(project.log.labels, project.log.classes, scene.raster, head_choice(project))
    found = compare(truth, made.map.classes, project.log.classes, lesson.spellings())
    said = t(_UNKNOWN)
    if score.accuracy is not None and score.interval is not None:
        low, high = score.interval
        said = t(
            "{percent} ({low} to {high})",
            percent=_percent(score.accuracy),
            low=percentage(low),
            high=_percent(high),
        )
    names = lesson.words().names
    return {
        "score": said,
        "sample": _sample(project, made.map.classes, truth.year),
        "right": _percent(found.right),
        "shares": [[names[name], _percent(share)] for name, share in found.shares.items()],
        "pictures": _pictures(project, lesson, truth, made.map.classes, found),
    }


def _sample(project: Project, classes: NDArray[np.uint8], year: int | None) -> str:
    """What places drawn by chance say; empty where none were drawn."""
    known = validate.load(project, year)
    if known is None or not known.seen:
        return ""
    try:
        overall = known.on_map(classes).assess().overall
    except LabelError:
        return t(_UNKNOWN)
    return t(
        "{percent} ({low} to {high})",
        percent=_percent(overall.value),
        low=percentage(overall.low),
        high=_percent(overall.high),
    )


def _pictures(
    project: Project, lesson: Lesson, truth: Truth, classes: NDArray[np.uint8], found: Comparison
) -> list[list[str]]:
    spellings = lesson.spellings()
    mine = {one.id: one.color for one in project.log.classes}
    true = {
        position: one.color
        for one in project.log.classes
        for position, name in enumerate(truth.names, 1)
        if one.name.casefold() in spellings[name]
    }
    return [
        [t("Your map"), _address(encode(classes, mine))],
        [t("The truth"), _address(encode(truth.classes, true))],
        [t("Where it is wrong"), _address(encode(found.wrong.astype(np.uint8), {1: "#c82828"}))],
    ]


def _address(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _percent(share: float) -> str:
    return f"{percentage(share)} %"
