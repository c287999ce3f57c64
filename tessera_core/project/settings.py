"""The settings of a project: their names, of what kind each is, and what they were called before.

A project's file may hold anything under these names, because it may come from anybody: a value that is not of its kind counts
as never chosen, and is told. Names of other versions are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import msgspec
from msgspec import Meta

from tessera_core.imagery.layers import MOST, BaseLayer

# Of the names below. 1: before they had the words of the field; 2: before heads looked at a neighbourhood.
VERSION = 3
_RENAMED: dict[int, Mapping[str, str]] = {
    1: {
        "mended": "repaired_tiles",
        "numbers_context": "regression_context",
        "numbers_head": "regression_head",
        "numbers_measure": "regression_measure",
        "parity": "agreement",
        "tidy": "post_processing",
    },
    2: {
        "certainty": "confidence_threshold",
        "context": "neighbourhood",
        "regression_context": "regression_neighbourhood",
    },
}

Whole = Annotated[int, Meta(gt=-(1 << 31), lt=1 << 31)]
# Neither infinite nor NaN: both are outside every interval.
Number = Annotated[float, Meta(ge=-1e15, le=1e15)]
Digits = Annotated[str, Meta(pattern=r"\A[0-9]{1,9}\Z")]
"""A class id as the key of a JSON object."""
Year = Annotated[str, Meta(pattern=r"\A[0-9]{1,9}\Z|\A[0-9]{4}-[0-9-]{2,5} to [0-9]{4}-[0-9-]{2,5}\Z")]
"""A year or another window as the key of a JSON object."""


class Compared(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Embeddings that were made here beside published ones of a year, or why they were not compared.

    Attributes:
        sentence: for people.
        year: of both; None where they have none.
        verdict: how alike they are; None where they could not be compared, as are the figures then.
        cosine_median, cosine_p1: of the pixels, the middle one and the first percentile.
        equal_codes: share of the int8 codes.
        pixels: compared.
    """

    sentence: str
    year: Whole | None = None
    verdict: Literal["green", "amber", "red"] | None = None
    cosine_median: Number = 0
    cosine_p1: Number = 0
    equal_codes: Number = 0
    pixels: Number = 0


StepId = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,39}\Z")]
Event = Annotated[str, Meta(max_length=80)]


class LessonProgress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a lesson of :mod:`tessera_core.lessons` has come in a project.

    Attributes:
        lesson: id of the lesson.
        step: id of the step that is shown; empty where none is.
        done: steps whose task was met.
        skipped: steps that were left with their task open.
        helped: steps that the studio did.
        answers: step -> position of the choice that was made last.
        first: step -> position of the choice that was made first.
        events: what the learner did, such as ``"used:label.map"``.
        labels: how many labels had been made, erasures among them, when the step that is shown was met first.
        left: whether the lesson was put away.
    """

    lesson: StepId
    step: StepId | Literal[""] = ""
    done: tuple[StepId, ...] = ()
    skipped: tuple[StepId, ...] = ()
    helped: tuple[StepId, ...] = ()
    answers: dict[StepId, Whole] = {}
    first: dict[StepId, Whole] = {}
    events: tuple[Event, ...] = ()
    labels: Whole = 0
    left: bool = False


class ProjectSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is chosen in a project; None, or empty, where nothing is.

    Attributes:
        head: name of the head behind the map of classes.
        neighbourhood: edge of the square around a pixel that it looks at.
        class_weight: ``"balanced"``, ``"every label"``, or a weight by class id.
        confidence_threshold: with a class tree, the probability a class needs to be mapped instead of the one above it.
        schema: the class tree as JSON; see :attr:`tessera_core.project.project.Project.class_tree`.
        post_processing: how the finished map is cleaned, as JSON.
        least_seen: clear days that a pixel needs to be on the finished map; see :mod:`tessera_core.project.depth_filter`.
        canvas: picture under the map, of :data:`tessera_core.render.canvas.PICTURES`.
        base_layers: pictures of services and files that may lie under every map of the project.
        year: being looked at.
        label_year: that the labels are of.
        regression_head, regression_neighbourhood: as above, for the continuous map.
        regression_measure: id of what is mapped, 0 for something new.
        fetch_missing: sentences about what could not be fetched, by year.
        missing: sentences about satellite data that could not be had.
        agreement: comparisons of embeddings made here with published ones.
        repaired_tiles: what was done to tiles, by year; see :mod:`tessera_core.project.tile_repair`.
        filled: holes that were filled here, by year; see :mod:`tessera_core.project.filling`.
        steps_done: steps of :mod:`tessera_core.project.steps` that somebody has taken; ``"hidden"`` where the list is put away.
        lesson: how far the lesson has come that this project is for.
        learner: nickname under which it is handed in to a class.
        classroom: id of the class of this server that it belongs to; see :mod:`tessera_core.classroom.store`.
        together: names the map that it is a place of; see :mod:`tessera_core.project.places`.
        class_name, class_tasks: of the class that it was handed out by, and what it asks for, a sentence each.
        extra: settings under names that this version does not know.
    """

    head: str | None = None
    neighbourhood: Whole | None = None
    class_weight: str | dict[Digits, Number] | None = None
    confidence_threshold: Number | None = None
    schema: dict[str, Any] | None = None
    post_processing: dict[str, Any] | None = None
    least_seen: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    canvas: str | None = None
    base_layers: Annotated[tuple[BaseLayer, ...], Meta(max_length=MOST)] = ()
    year: Whole | None = None
    label_year: Whole | None = None
    regression_head: str | None = None
    regression_neighbourhood: Whole | None = None
    regression_measure: Whole | None = None
    fetch_missing: dict[Year, tuple[str, ...]] = {}
    missing: tuple[str, ...] = ()
    agreement: tuple[Compared, ...] = ()
    repaired_tiles: dict[str, Any] = {}
    filled: dict[str, Any] = {}
    steps_done: tuple[str, ...] = ()
    lesson: LessonProgress | None = None
    learner: Annotated[str, Meta(max_length=80)] | None = None
    classroom: Annotated[str, Meta(pattern=r"\A[0-9a-f]{16}\Z")] | None = None
    together: Annotated[str, Meta(pattern=r"\A[0-9a-f]{16}\Z")] | None = None
    class_name: Annotated[str, Meta(max_length=80)] | None = None
    class_tasks: tuple[Annotated[str, Meta(max_length=300)], ...] = ()
    extra: dict[str, Any] = {}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The settings whose value is of their kind; one that is not counts as never chosen. Unknown names are :attr:`extra`.

        >>> ProjectSettings.from_json({"head": "ridge", "neighbourhood": "abc", "of later": 1})
        ProjectSettings(head='ridge', extra={'of later': 1})
        """
        chosen: dict[str, Any] = {}
        extra = {}
        for name, value in values.items():
            if name not in KINDS:
                extra[name] = value
            elif value is not None:
                try:
                    chosen[name] = _converted(name, value)
                except msgspec.ValidationError:
                    continue
        return cls(**chosen, extra=extra)

    def to_json(self) -> dict[str, Any]:
        """JSON object of what is chosen; the inverse of :meth:`from_json`."""
        known = msgspec.structs.replace(self, extra={})
        values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(known))
        return values | self.extra

    def __rich_repr__(self) -> Any:
        """What is chosen; ``repr`` follows it."""
        for name in self.__struct_fields__:
            if value := getattr(self, name):
                yield name, value

    def __repr__(self) -> str:
        return f"ProjectSettings({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


KINDS: dict[str, Any] = {
    field.name: field.type for field in msgspec.structs.fields(ProjectSettings) if field.name != "extra"
}


def unsound(values: Mapping[str, Any]) -> list[str]:
    """Names of the settings whose value is not of its kind."""
    return sorted(name for name, value in values.items() if name in KINDS and not is_sound(name, value))


def is_sound(name: str, value: object) -> bool:
    """Whether a value is of the kind of its setting; None, which is no choice, is, and anything under an unknown name."""
    if name not in KINDS or value is None:
        return True
    try:
        _converted(name, value)
    except msgspec.ValidationError:
        return False
    return True


def _converted(name: str, value: object) -> Any:
    converted = msgspec.convert(value, KINDS[name])
    if name == "agreement":
        for given, item in zip(value, converted, strict=True):  # type: ignore[call-overload]
            figures = ("cosine_median", "cosine_p1", "equal_codes", "pixels")
            if item.verdict is not None and any(figure not in given for figure in figures):
                raise msgspec.ValidationError("a verdict without its figures")
    return converted


def migrated(data: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a project's file with settings under the names of today; a newer file's stay as they are.

    Names are looked at, not only the version: an older program may have saved into a file of today. Where a file holds both
    names of a setting, that of today counts.
    """
    version = data.get("settings_version", 1)
    known = version if isinstance(version, int) and not isinstance(version, bool) else 1
    values = dict(data["settings"])
    if known <= VERSION:
        for renamed in _RENAMED.values():
            values = {
                new: value
                for name, value in values.items()
                if (new := renamed.get(name, name)) == name or new not in values
            }
    return {**data, "settings": values, "settings_version": max(known, VERSION)}
