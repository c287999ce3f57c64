"""What the parts of the page Validate share: the names of classes, and at which place a visitor is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import streamlit as st

from tessera_core.assess.area import Assessment
from tessera_core.project import second, validate
from tessera_core.project.project import Project
from tessera_core.project.validate import Validation


def names_of(project: Project) -> dict[int, str]:
    """Names of the project's classes by id."""
    return {c.id: c.name for c in project.log.classes}


def place_key(project: Project, year: int | None, *, two_maps: bool = False) -> str:
    """Where the session keeps at which place of a year's sample it is, or of its comparison of two maps."""
    return f"validate_{'two_maps' if two_maps else 'place'}_{project.key}_{year}"


def key_of(project: Project, current: Validation) -> str:
    """The same of a sample."""
    return place_key(project, current.year, two_maps=current.two_maps)


def assessed(current: Validation) -> Assessment:
    """What the answers say; computed once for as long as they stay, however often the page is drawn.

    Raises:
        LabelError: a stratum has no decided place yet.
    """
    return _assessed(_print(current), current)


def said_by_two(current: Validation) -> list[str]:
    """:func:`tessera_core.project.second.sentences`, computed once likewise."""
    return _said_by_two(_print(current), current)


def _print(current: Validation) -> str:
    """Of places, answers and what the map says there: equal where the figures are."""
    sample = current.sample
    parts = (validate.fingerprint(current), sample.mapped.tolist(), sorted(sample.sizes.items()))
    more = (sorted((sample.counted or {}).items()), current.grid.to_json())
    return hashlib.sha256(repr((*parts, *more)).encode()).hexdigest()


@st.cache_data(max_entries=64, show_spinner=False)
def _assessed(known: str, _current: Validation) -> Assessment:
    return _current.assess()


@st.cache_data(max_entries=64, show_spinner=False)
def _said_by_two(known: str, _current: Validation) -> list[str]:
    return list(second.sentences(_current))


def change(project: Project, current: Validation, edit: Callable[[Validation], Validation]) -> Validation:
    """Change what is saved of a sample, which another tab may have answered since it was drawn; returns what it became."""
    changed = validate.change(project, current.year, edit, two_maps=current.two_maps)
    if changed is None:
        changed = edit(current)
        validate.save(project, changed)
    return changed
