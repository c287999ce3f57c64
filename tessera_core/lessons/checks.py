"""What a step of a lesson waits for: named predicates on what is known of a learner, and ``all``, ``any``, ``not`` of them.

In ``lesson.toml`` a check is a table with the name of one predicate, such as ``{ labels_at_least = { class = "water", n = 3 } }``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tessera_core.errors import InputError
from tessera_core.lessons.targets import PAGES, target
from tessera_core.project.steps import STEPS

MAX_DEPTH = 4


@dataclass(frozen=True)
class Facts:
    """What is known of a learner and the project: all that a check may ask.

    Attributes:
        labels: class name as it is spelt, casefolded -> how many labels it has that teach something.
        labels_before: labels that counted when the step began.
        corrected: labels under later ones of another class: none of ``labels``, but made.
        years: how many years have embeddings.
        series: how many of them have satellite data.
        plots: measured field plots.
        validation_places: places of the validation sample, 0 before one was drawn.
        validation_answers: places of it that somebody has looked at.
        steps: next steps that were taken; see :mod:`tessera_core.project.steps`.
        events: what the learner did, such as ``"page:label"``, ``"used:label.map"``, ``"seen:label.score"``.
        answers: step -> position of the choice that was made.
        names: the lesson's names -> how each may be spelt, casefolded.
    """

    labels: Mapping[str, int] = field(default_factory=dict)
    labels_before: int = 0
    corrected: int = 0
    years: int = 0
    series: int = 0
    plots: int = 0
    validation_places: int = 0
    validation_answers: int = 0
    steps: frozenset[str] = frozenset()
    events: frozenset[str] = frozenset()
    answers: Mapping[str, int] = field(default_factory=dict)
    names: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def labels_now(self) -> int:
        """All labels."""
        return sum(self.labels.values())

    def labels_of(self, name: str) -> int:
        """Labels of the class that a name of the lesson stands for."""
        return sum(self.labels.get(spelt, 0) for spelt in self.names.get(name, ()))


@dataclass(frozen=True)
class About:
    """What a check of a step may name.

    Attributes:
        step: id of the step.
        names: names of classes that the lesson has.
        choices: step -> position of the right choice, None where none is right.
    """

    step: str
    names: frozenset[str] = frozenset()
    choices: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """A condition on :class:`Facts`.

    Attributes:
        name: of the predicate.
        value: its parameters, as they were written.
        parts: conditions that it is made of.
    """

    name: str
    value: Any = None
    parts: tuple[Check, ...] = ()

    def met(self, facts: Facts, about: About) -> bool:
        """Whether it holds."""
        if self.name == "all":
            return all(part.met(facts, about) for part in self.parts)
        if self.name == "any":
            return any(part.met(facts, about) for part in self.parts)
        if self.name == "not":
            return not self.parts[0].met(facts, about)
        return PREDICATES[self.name].holds(facts, about, self.value)

    def walk(self) -> Iterator[Check]:
        """It and all its parts."""
        yield self
        for part in self.parts:
            yield from part.walk()


@dataclass(frozen=True)
class Predicate:
    """One thing that can be checked.

    Attributes:
        about: one line for those who write lessons.
        sound: what is wrong with parameters, or empty.
        holds: the condition.
    """

    about: str
    sound: Callable[[Any, About], str]
    holds: Callable[[Facts, About, Any], bool]


def read(value: Any, about: About, depth: int = 0) -> Check:
    """A check as ``lesson.toml`` has it.

    Raises:
        InputError: no such predicate, or its parameters are not of its kind.

    >>> check = read({"any": [{"years_at_least": 2}, {"opened_page": "label"}]}, About("look"))
    >>> check.met(Facts(events=frozenset({"page:label"})), About("look"))
    True
    """
    if not isinstance(value, dict) or len(value) != 1:
        raise InputError('a check is a table with one name, such as { opened_page = "label" }')
    ((name, given),) = value.items()
    if depth > MAX_DEPTH:
        raise InputError(f"checks are nested more than {MAX_DEPTH} deep")
    if name in ("all", "any"):
        if not isinstance(given, list) or not given:
            raise InputError(f"{name!r} wants a list of checks")
        return Check(name, None, tuple(read(part, about, depth + 1) for part in given))
    if name == "not":
        return Check(name, None, (read(given, about, depth + 1),))
    predicate = PREDICATES.get(str(name))
    if predicate is None:
        known = ", ".join(["all", "any", "not", *PREDICATES])
        raise InputError(f"there is no check {name!r}; checks are: {known}")
    if wrong := predicate.sound(given, about):
        raise InputError(f"the check {name!r} wants {wrong}")
    return Check(name, given)


# ------------------------------------------------------------------ kinds of parameters


def _number(value: Any, about: About) -> str:
    return "" if type(value) is int and 1 <= value <= 10_000 else "a whole number from 1"


def _page(value: Any, about: About) -> str:
    return "" if value in PAGES else f"a page: {', '.join(PAGES)}"


def _step(value: Any, about: About) -> str:
    return "" if value in STEPS else f"a next step: {', '.join(STEPS)}"


def _target(value: Any, about: About) -> str:
    if not isinstance(value, str):
        return "the name of a target"
    try:
        target(value)
    except InputError as error:
        return f"a target, and {error}"
    return ""


def _names(value: Any, about: About) -> str:
    if isinstance(value, list) and value and all(name in about.names for name in value):
        return ""
    return f"a list of the lesson's names: {', '.join(sorted(about.names)) or 'it has none'}"


def _labels(value: Any, about: About) -> str:
    if type(value) is int:
        return _number(value, about)
    if not isinstance(value, dict) or not set(value) <= {"class", "n"} or "n" not in value:
        return "a number, or { class = ..., n = ... }"
    if "class" in value and (wrong := _names([value["class"]], about)):
        return wrong.replace("a list of", "as class one of")
    return _number(value["n"], about)


def _answer(value: Any, about: About) -> str:
    step = about.step
    if isinstance(value, dict):
        step = str(value.get("step", ""))
        if not set(value) <= {"step", "choice"} or type(value.get("choice", 0)) is not int:
            return '"any", "right", or { step = ..., choice = ... }'
    elif value not in ("any", "right"):
        return '"any", "right", or { step = ..., choice = ... }'
    if step not in about.choices:
        return f"a question, and the step {step!r} has none"
    if value == "right" and about.choices[step] is None:
        return "a question with a right answer"
    return ""


def _answered(facts: Facts, about: About, value: Any) -> bool:
    if value == "any":
        return about.step in facts.answers
    if value == "right":
        return facts.answers.get(about.step) == about.choices[about.step]
    step = value["step"]
    return step in facts.answers and facts.answers[step] == value.get("choice", facts.answers[step])


def _enough_labels(facts: Facts, about: About, value: Any) -> bool:
    if type(value) is int:
        return facts.labels_now >= value
    return (facts.labels_of(value["class"]) if "class" in value else facts.labels_now) >= int(value["n"])


PREDICATES: dict[str, Predicate] = {
    "opened_page": Predicate("the page was opened", _page, lambda facts, about, value: f"page:{value}" in facts.events),
    "used": Predicate(
        "the target was pressed, changed or drawn on",
        _target,
        lambda facts, about, value: f"used:{value}" in facts.events,
    ),
    "seen": Predicate(
        "the target was in sight for a moment", _target, lambda facts, about, value: f"seen:{value}" in facts.events
    ),
    "layer_shown": Predicate(
        "that layer under the labels was switched",
        lambda value, about: _target(f"label.layer.{value}", about),
        lambda facts, about, value: f"used:label.layer.{value}" in facts.events,
    ),
    "answered": Predicate("a question was answered", _answer, _answered),
    "named": Predicate(
        "there are classes of these names",
        _names,
        lambda facts, about, value: all(facts.names.get(name, frozenset()) & facts.labels.keys() for name in value),
    ),
    "classes_at_least": Predicate(
        "there are as many classes", _number, lambda facts, about, value: len(facts.labels) >= value
    ),
    "classes_labelled_at_least": Predicate(
        "as many classes have a label",
        _number,
        lambda facts, about, value: sum(count > 0 for count in facts.labels.values()) >= value,
    ),
    "labels_at_least": Predicate("there are as many labels, of a class or in all", _labels, _enough_labels),
    "labels_added": Predicate(
        "as many labels came since the step began",
        _number,
        lambda facts, about, value: facts.labels_now + facts.corrected - facts.labels_before >= value,
    ),
    "step_taken": Predicate(
        "a step of the list of next steps was taken", _step, lambda facts, about, value: value in facts.steps
    ),
    "years_at_least": Predicate(
        "as many years have embeddings", _number, lambda facts, about, value: facts.years >= value
    ),
    "series_at_least": Predicate(
        "as many years have satellite data", _number, lambda facts, about, value: facts.series >= value
    ),
    "plots_at_least": Predicate(
        "there are as many field plots", _number, lambda facts, about, value: facts.plots >= value
    ),
    "validation_places_at_least": Predicate(
        "a sample of as many places was drawn", _number, lambda facts, about, value: facts.validation_places >= value
    ),
    "validation_answers_at_least": Predicate(
        "as many places of the sample were looked at",
        _number,
        lambda facts, about, value: facts.validation_answers >= value,
    ),
}
