"""Scores of a class side by side, where the teacher wants that: on the board, on the wall, and beside the map of the class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from tessera_core.classroom.board import Row
from tessera_core.classroom.joining import start_project
from tessera_core.classroom.model import Classroom
from tessera_core.classroom.standing import Scores, Standing, standings
from tessera_core.classroom.together import year_of
from tessera_core.language import later, percentage, t
from tessera_core.ui import state

NOTE = later(
    "In the order of the lower end of the interval and the share of the classes that somebody knows, so that a few "
    "lucky labels do not come first."
)


def of_class(found: Classroom, rows: Sequence[Row]) -> list[Standing]:
    """The learners of a class on this server in order; where much was labelled just now, some scores are a moment old."""
    start = start_project(found)
    scores: Scores = st.session_state.setdefault(f"class_standing_{found.id}", Scores())
    works = scores.look(rows, state.scene_for(start, year_of(start)).raster)
    return standings(works, start.log.classes, start.origin)


def columns(names: Sequence[str], order: Sequence[Standing]) -> dict[str, list[Any]]:
    """Columns of a table: rank, score with its interval, and what it is made of.

    Args:
        names: the learner of each row.
        order: of all learners that have one.
    """
    known = {one.learner: one for one in order}
    found = [known.get(name) for name in names]
    return {
        later("Rank"): [None if one is None else one.rank for one in found],
        later("At places held out"): ["" if one is None else share(one.held_out, one.interval) for one in found],
        later("Made of"): ["" if one is None else made_of(one) for one in found],
    }


def made_of(one: Standing) -> str:
    """What a score is made of; empty where there is none."""
    if one.held_out is None:
        return ""
    return t(
        "{labels} labels at {places} places, {known} of {classes} classes",
        labels=one.labels,
        places=one.places,
        known=one.known,
        classes=one.classes,
    )


def share(value: float | None, interval: tuple[float, float] | None) -> str:
    """A share, 0..1, with its 95 % interval; empty where there is none."""
    if value is None:
        return ""
    if interval is None:
        return percent(value)
    return t(
        "{percent} ({low} to {high})",
        percent=percent(value),
        low=percentage(interval[0]),
        high=percentage(interval[1]),
    )


def percent(value: float) -> str:
    """A share, 0..1, in percent."""
    return f"{percentage(value, 1 if value < 0.1 else 0)} %"
