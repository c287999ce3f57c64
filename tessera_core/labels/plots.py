"""Field plots in a project: a label log in which a class is something measured and the note of a label is its number.

So plots have what labels have: they are on disk when a call returns, two tabs keep each other's, and everything can be undone.
The class's code is the unit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import LabelError
from tessera_core.labels.cells import parse_number
from tessera_core.labels.log import LabelLog
from tessera_core.labels.model import Label, LabelClass, clean_name
from tessera_core.labels.values import ImportedValues, name_and_unit

_COLOUR = "#30508c"


@dataclass(frozen=True)
class Plot:
    """A place with a number."""

    label: Label
    value: float


@dataclass(frozen=True)
class TakenIn:
    """What became of imported plots.

    Attributes:
        measure: the class they are plots of.
        added: plots that are new.
        known: plots that were there already, at the same place with the same number.
    """

    measure: LabelClass
    added: int
    known: int


def plots_of(log: LabelLog, measure: int) -> list[Plot]:
    """The plots of something measured, in painting order."""
    found = ((label, parse_number(label.note)) for label in log.labels if label.class_id == measure)
    return [Plot(label, value) for label, value in found if value is not None]


def values_of(plots: Sequence[Plot]) -> NDArray[np.float64]:
    """The numbers, float64 (N,)."""
    return np.array([plot.value for plot in plots], np.float64)


def digest(plots: Sequence[Plot]) -> str:
    """Names the plots' places and numbers; equal for equal ones, whatever they are called."""
    facts = [(p.label.kind, p.label.xy, p.label.radius, p.label.holes, p.value) for p in plots]
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=10).hexdigest()


def measure_named(log: LabelLog, name: str, unit: str = "") -> LabelClass:
    """The class of something measured, made where there is none of that name.

    Raises:
        LabelError: the name is empty.
    """
    if not clean_name(name):
        raise LabelError("Say what was measured: type a name, such as height.")
    return log.find_class(name) or log.add_class(name, _COLOUR, code=clean_name(unit, 20))


def add_plot(log: LabelLog, measure: int, x: float, y: float, value: object) -> Label:
    """Add a point with a number, in the CRS of the project's grid.

    Raises:
        LabelError: the value is no number, or the class does not exist.
    """
    return log.add("point", measure, [(x, y)], note=_note(value))


def change_value(log: LabelLog, label_id: str, value: object) -> None:
    """Give a plot another number.

    Raises:
        LabelError: the value is no number, or the plot is gone.
    """
    log.edit_label(label_id, note=_note(value))


def take_in(log: LabelLog, found: ImportedValues) -> TakenIn:
    """Add the plots of a file as one step that one undo takes back; those that are there already are not added twice.

    Raises:
        LabelError: there are more things measured than a project holds.
    """
    name, unit = name_and_unit(found.field)
    known = log.find_class(name)
    if known is not None and known.code != clean_name(unit, 20) and log.find_class(found.field) != known:
        # Heights in metres and heights in feet are two things.
        name, known = found.field, log.find_class(found.field)
    there = set() if known is None else {_identity(label) for label in log.labels if label.class_id == known.id}
    fresh = [label for label in found.labels if _identity(label) not in there]
    measure = known or LabelClass(1, name, _COLOUR, clean_name(unit, 20))
    if fresh:
        # The import's own classes have ids of their own; the log matches them by name.
        log.import_labels([replace(measure, id=1)], [replace(label, class_id=1) for label in fresh])
        measure = log.find_class(name) or measure
    return TakenIn(measure, len(fresh), len(found.labels) - len(fresh))


def _identity(label: Label) -> tuple[object, ...]:
    return label.kind, label.xy, label.radius, label.holes, label.note


def require_number(value: object) -> float:
    """The number that was typed.

    Raises:
        LabelError: it is none.
    """
    number = parse_number(value)
    if number is None:
        text = str(value).strip()[:40]
        raise LabelError(
            f"{text!r} is no number; type one like 12.5." if text else "Type the number that was measured."
        )
    return number


def _note(value: object) -> str:
    return repr(require_number(value))
