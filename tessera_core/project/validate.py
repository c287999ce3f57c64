"""A project's validation: the sample drawn from its map, the answers given so far, and what follows from them.

The sample stays when the map changes: its strata are those of the map it was drawn from, its answers are about the ground,
and only the map's class at each place is read anew. That is the case of Stehman (2014), which
:mod:`tessera_core.assess.area` estimates, so that a person never looks at the same place twice.

One file per year in the project's folder, written whole after each answer. A new sample never overwrites an old one that has
answers; that is kept beside it under a number.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import write_json
from tessera_core._utils.csvcells import quoted_row
from tessera_core._utils.locks import alone
from tessera_core._utils.percents import percent
from tessera_core.areas import class_pixels, hectares_per_pixel
from tessera_core.assess.area import Assessment
from tessera_core.assess.designs import DESIGNS, RULES, UNITS, Sample, read_table, to_csv
from tessera_core.assess.exchange import AnswersRead
from tessera_core.assess.nonresponse import worst_case
from tessera_core.assess.published import Published
from tessera_core.errors import InputError, LabelError, ProjectError
from tessera_core.gate import parse_json
from tessera_core.grid import Grid
from tessera_core.labels.sampling import label_pixels
from tessera_core.periods import period, written
from tessera_core.project.asked import Promise, TwoMaps
from tessera_core.project.project import Project
from tessera_core.project.response import Opinion, Response, respond

FORMAT = "tessera-validation/3"
# 1 had answers alone: no confidence, evidence, interpreter or time, and every place was a pixel judged by what covers most of it.
# 2 had one answer a place.
FORMATS = ("tessera-validation/1", "tessera-validation/2", FORMAT)
MARGIN = 0.05


@dataclass(frozen=True)
class Validation:
    """A sample with its answers, as it is saved.

    Attributes:
        year: of the map; None where the embeddings have no calendar year.
        grid: of the map.
        sample: the places and the answers.
        undecided: positions at which a person looked and could not tell.
        responses: by position, what stands behind an answer; a place of an earlier version has none.
        unit: what a place is: its ``"pixel"``, or the ``"block"`` of 3 x 3 pixels around it.
        rule: what an answer is about: what covers most of the unit (``"majority"``), or what lies at its ``"centre"``.
        opinions: by position, what each person said, where more than one did; ``sample`` and ``responses`` have of them the
            one that counts: the settled one, or else the first that names a class.
        final: by position, on what adjudication settled.
        doubled: positions that two people are to answer, neither seeing what the other said.
        margin: half width of the interval of overall accuracy for which the sample was drawn, as a share.
        promise: what the certified part of the map is to promise.
        maps: of places where two maps differ, these; ``sample`` has as ``mapped`` what the first says. None where one is checked.
    """

    year: int | None
    grid: Grid
    sample: Sample
    undecided: frozenset[int] = frozenset()
    responses: Mapping[int, Response] = field(default_factory=dict)
    unit: str = "pixel"
    rule: str = "majority"
    opinions: Mapping[int, tuple[Opinion, ...]] = field(default_factory=dict)
    final: Mapping[int, Opinion] = field(default_factory=dict)
    doubled: frozenset[int] = frozenset()
    margin: float = MARGIN
    promise: Promise = field(default_factory=Promise)
    maps: TwoMaps | None = None

    @property
    def two_maps(self) -> bool:
        """Whether the places are to tell which of two maps is better, instead of checking one."""
        return self.maps is not None

    @property
    def seen(self) -> int:
        """Places that somebody has looked at, decided or not."""
        return self.sample.answered + len(self.undecided)

    def next_open(self, after: int = -1) -> int | None:
        """The first place after ``after``, and then from the start, at which nobody has looked; None when all are done."""
        n = len(self.sample)
        for step in range(n):
            position = (after + 1 + step) % n
            if not self.is_seen(position):
                return position
        return None

    def is_seen(self, position: int) -> bool:
        """Whether somebody has looked at a place."""
        return bool(self.sample.reference[position] > 0) or position in self.undecided

    def answer(
        self, position: int, class_id: int | None, note: str | None = None, response: Response | None = None
    ) -> Validation:
        """With an answer: a class, 0 for "cannot tell", or None to take the answer back; ``note`` None keeps the old one.

        ``response`` is what stands behind the answer; what stood behind an earlier one goes with it.
        """
        known, mine = self.said(position), response or Response()
        name = mine.interpreter
        # An answer without a name is replaced by anybody's; so is whatever there is by an answer without a name.
        others = [bool(name and one.response.interpreter and one.response.interpreter != name) for one in known]
        told = [one if other else None for one, other in zip(known, others, strict=True)]
        if class_id is not None:
            place = next((i for i, one in enumerate(told) if one is None), len(told))
            told[place : place + 1] = [Opinion(class_id=class_id, response=mine)]
        changed = self._with(position, tuple(one for one in told if one is not None))
        return changed if note is None else changed.with_note(position, note)

    def said(self, position: int) -> tuple[Opinion, ...]:
        """What each person said of a place, the first first; empty where nobody has looked."""
        if position in self.opinions:
            return self.opinions[position]
        if position in self.final or not self.is_seen(position):
            return ()
        class_id = int(self.sample.reference[position])
        return (Opinion(class_id=class_id, response=self.responses.get(position, Response())),)

    def settle(self, position: int, final: Opinion | None) -> Validation:
        """With the answer on which adjudication settled, or without it; what people said stays."""
        known = self.said(position)
        settled = {k: one for k, one in self.final.items() if k != position}
        if final is not None:
            settled[position] = final
        # What was said stays beside what was settled, also where one person said it.
        kept = {**self.opinions, position: known} if final is not None else self.opinions
        return replace(self, final=settled, opinions=kept)._with(position, known)

    def _with(self, position: int, told: tuple[Opinion, ...]) -> Validation:
        """With what people said of a place; what counts follows from it."""
        final = {k: one for k, one in self.final.items() if k != position or told}
        counts = final.get(position) or next((one for one in told if one.class_id), told[0] if told else None)
        sample = self.sample.answer(position, 0 if counts is None else counts.class_id, self.sample.notes[position])
        undecided, responses = self.undecided - {position}, {k: v for k, v in self.responses.items() if k != position}
        if counts is not None:
            undecided |= {position} if not counts.class_id else frozenset()
            if counts.response != Response():
                responses[position] = counts.response
        opinions = {k: v for k, v in self.opinions.items() if k != position}
        if len(told) > 1 or (position in final and told):
            opinions[position] = told
        return replace(self, sample=sample, undecided=undecided, responses=responses, opinions=opinions, final=final)

    def blank(self) -> Validation:
        """The places alone, with nothing of what anybody said of them."""
        sample = self.sample
        bare = replace(sample, reference=np.zeros_like(sample.reference), notes=("",) * len(sample))
        return replace(self, sample=bare, undecided=frozenset(), responses={}, opinions={}, final={})

    def with_note(self, position: int, note: str) -> Validation:
        """With a remark on a place; its answer stays."""
        notes = self.sample.notes
        kept = (*notes[:position], " ".join(note.split()), *notes[position + 1 :])
        return replace(self, sample=replace(self.sample, notes=kept))

    def with_answers(self, read: AnswersRead) -> Validation:
        """With answers from elsewhere; at other places what was answered here stays."""
        known = self
        for place, class_id in read.classes.items():
            said = read.behind.get(place, {})
            response = respond(
                reason=said.get("reason", ""),
                evidence=said.get("evidence", ""),
                evidence_date=said.get("evidence_date", ""),
                interpreter=said.get("interpreter", ""),
            )
            known = known.answer(place, class_id, response=response)
        for place, class_id, name in read.others:
            known = known.answer(place, class_id, response=respond(interpreter=name))
        return known

    def on_map(self, classes: NDArray[np.integer]) -> Validation:
        """With the classes of a newer map at the same places.

        Raises:
            LabelError: the map has another shape.
        """
        if classes.shape != self.grid.shape:
            raise LabelError(
                "The map has another shape than the one from which the sample was drawn; draw a new sample."
            )
        mapped = mapped_at(classes, self.sample.rows, self.sample.cols, self.unit, self.rule)
        return replace(self, sample=replace(self.sample, mapped=mapped, counted=class_pixels(classes)))

    @property
    def area_ha(self) -> float:
        """Hectares that the sample stands for."""
        return sum(self.sample.sizes.values()) * hectares_per_pixel(self.grid)

    def assess(self) -> Assessment:
        """Areas in hectares and accuracy from the places decided so far; undecided ones are left out and said so.

        Raises:
            LabelError: a stratum has no decided place yet.
        """
        found = self.sample.assess(self.area_ha if self.grid.georeferenced else None)
        notes = list(found.notes)
        if self.undecided:
            low, high = (percent(one) for one in worst_case(self.sample, self.undecided).overall)
            notes.append(
                f"Places that could not be told: {len(self.undecided)}. The result leaves them out, as if they were like the "
                f"others. Whatever they are, the map is right at {low} to {high} % (95 % sure)."
            )
        if bare := int((self.sample.mapped == 0).sum()):
            notes.append(
                f"Places where the map shows nothing now: {bare}. The figures are of the rest. Draw a new sample."
            )
        if open_ := len(self.sample) - self.seen:
            notes.append(f"Places that nobody has looked at yet: {open_}. The intervals narrow as you go on.")
        return replace(found, notes=tuple(notes))


def fingerprint(current: Validation) -> str:
    """SHA-256 of places and answers, with all that people said of them."""
    sample = current.sample
    answers = [array.tolist() for array in (sample.rows, sample.cols, sample.strata, sample.reference)]
    behind = {k: msgspec.to_builtins(one) for k, one in sorted(current.responses.items())}
    told = {k: msgspec.to_builtins(said) for k, said in sorted(current.opinions.items())}
    final = {k: msgspec.to_builtins(one) for k, one in sorted(current.final.items())}
    several = [told, final, sorted(current.doubled)] if told or final or current.doubled else []
    if current.maps is not None:
        several.append(msgspec.to_builtins(current.maps))
    values = [sample.design, current.unit, current.rule, *answers, sorted(current.undecided), behind, *several]
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def mapped_at(
    classes: NDArray[np.integer], rows: NDArray[np.integer], cols: NDArray[np.integer], unit: str, rule: str
) -> NDArray[np.int64]:
    """The map's classes, int64 (n,), at places (n,), judged by the unit and the rule by which people judge them.

    Args:
        classes: (H, W) the map, 0 where there is no data.
        unit: ``"pixel"``, or ``"block"`` of 3 x 3 pixels.
        rule: of a block ``"majority"``, of as many the class of the middle pixel where it is among them, or else the lowest;
            or ``"centre"``, the class of the middle pixel.
    """
    middle: NDArray[np.int64] = classes[rows, cols].astype(np.int64)
    if unit == "pixel" or rule == "centre":
        return middle
    padded = np.pad(classes, 1)
    around = np.stack([padded[rows + i, cols + j] for i in range(3) for j in range(3)], 1).astype(np.int64)
    votes = np.stack([(around == k).sum(1) for k in range(int(classes.max(initial=0)) + 1)], 1)
    votes[:, 0] = 0
    best = votes.max(1)
    kept = (votes[np.arange(len(middle)), middle] == best) | (best == 0)
    judged: NDArray[np.int64] = np.where(kept, middle, votes.argmax(1))
    return judged


class Pixels(Protocol):
    """Labelled pixels: their rows and columns, on the grid of a sample."""

    @property
    def rows(self) -> NDArray[np.integer]:
        """Integers (N,)."""

    @property
    def cols(self) -> NDArray[np.integer]:
        """Integers (N,)."""


def unit_of(current: Validation) -> Literal["ha", "pixels"]:
    """In what areas are told: hectares, or pixels where the map has no place on Earth."""
    return "ha" if current.grid.georeferenced else "pixels"


def taught(project: Project, current: Validation) -> NDArray[np.bool_]:
    """At which places, bool (n,), a label of the project lies within what a place is, so that they taught the map as well."""
    return taught_by(label_pixels(project.log.labels, current.grid), current)


def taught_by(pixels: Pixels, current: Validation) -> NDArray[np.bool_]:
    """At which places, bool (n,), some of these labelled pixels lies within what a place is."""
    labelled = np.zeros(current.grid.shape, bool)
    labelled[pixels.rows, pixels.cols] = True
    around = 0 if current.unit == "pixel" else 1
    padded, steps = np.pad(labelled, around), range(2 * around + 1)
    rows, cols = current.sample.rows, current.sample.cols
    return np.any([padded[rows + i, cols + j] for i in steps for j in steps], axis=0)


def taught_sentences(project: Project, current: Validation) -> list[str]:
    """What is to be said of places that taught the map; they stay in the estimates, which without them would be of other ground.

    Two maps that are compared are those of the day on which the places were drawn: labels of later taught neither.
    """
    if current.maps is not None:
        return taught_notes_of_two(current.maps, len(current.sample))
    return taught_notes(int(taught(project, current).sum()), len(current.sample))


def taught_notes_of_two(maps: TwoMaps, of: int) -> list[str]:
    """The same of two maps that are compared at ``of`` places, a map that a head saved earlier made among them."""
    every = (maps.first, maps.second)
    own = [one.title for one in every if one.source == "year"]
    lines = [
        f"{one.taught} of {of} places also taught {one.title}; accuracy there may look better than it is elsewhere."
        for one in every
        if not isinstance(one.taught, msgspec.UnsetType)
    ]
    if own and not isinstance(maps.taught, msgspec.UnsetType):
        lines.append(
            f"{maps.taught} of {of} places also taught {'both maps' if len(own) == 2 else own[0]}; accuracy there may look better "
            "than it is elsewhere."
        )
    return lines + [
        f"Which places taught {one.title} is not known: its head was saved earlier. Accuracy there may look better than it is "
        "elsewhere."
        for one in every
        if one.source == "head"
    ]


def taught_places(labelled: Pixels | None, current: Validation) -> int | None:
    """How many places taught a map; None where it is not known what did, as of a head that was saved earlier."""
    return None if labelled is None else int(taught_by(labelled, current).sum())


def taught_notes(n: int | None, of: int) -> list[str]:
    """What is to be said where ``n`` of so many places taught the map that they check; nothing where none did."""
    if n is None:
        return [
            "Which places taught the map is not known: its head was saved earlier. At those its accuracy may look better than it "
            "is."
        ]
    if n == 0:
        return []
    return [f"{n} of {of} places also taught the map; its accuracy there may look better than it is."]


def sample_csv(current: Validation, names: Mapping[int, str]) -> str:
    """The places and answers as a table, with what a place is and where nobody could tell, for :func:`read_sample`."""
    return to_csv(
        current.sample,
        current.grid,
        names,
        undecided=current.undecided,
        unit=current.unit,
        rule=current.rule,
    )


def read_sample(text: str, grid: Grid, names: Mapping[int, str], year: int | None = None) -> Validation:
    """The inverse of :func:`sample_csv`, on the grid of a map.

    Raises:
        LabelError: it is no such table, or one of another map.
    """
    read = read_table(text, names, grid)
    return Validation(year, grid, read.sample, undecided=read.undecided, unit=read.unit, rule=read.rule)


def estimates_csv(found: Assessment, names: Mapping[int, str], unit: str = "ha") -> str:
    """The estimates as CSV: one line per class, then the overall accuracy; 95 % intervals and standard errors beside the values."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    columns = ["class", f"mapped_{unit}"]
    for name, short in (
        (f"area_{unit}", f"area_{unit}"),
        ("users_accuracy", "users"),
        ("producers_accuracy", "producers"),
    ):
        columns += [name, f"{short}_low", f"{short}_high", f"{short}_se"]
    table.writerow((*columns, "places"))
    for c in found.classes:
        values = [c.mapped * found.total_area]
        for one in (c.area, c.users, c.producers):
            values += [one.value, one.low, one.high, one.se]
        table.writerow(quoted_row((names.get(c.id, str(c.id)), *map(_number, values), c.sampled)))
    all_ = found.overall
    overall = [_number(value) for value in (all_.value, all_.low, all_.high, all_.se)]
    whole = _number(found.total_area)
    table.writerow(("all", whole, whole, "", "", "", *overall, "", "", "", "", found.n))
    return out.getvalue()


def _number(value: float) -> str:
    return f"{value:.6g}" if np.isfinite(value) else ""


def load(project: Project, year: int | None, *, two_maps: bool = False) -> Validation | None:
    """The saved validation of a year's map, or the comparison of two maps (:mod:`tessera_core.project.two_maps`); or None.

    Raises:
        ProjectError: the file is damaged.
    """
    path = path_of(project, year, two_maps=two_maps)
    try:
        value = parse_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _damaged(path) from error
    return from_json(value, path)


def save(project: Project, validation: Validation) -> None:
    """Write a validation; it is on disk when the call returns.

    Raises:
        ProjectError: it cannot be written.
    """
    try:
        write_json(path_of(project, validation.year, two_maps=validation.two_maps), to_json(validation))
    except OSError as error:
        raise ProjectError(f"The sample cannot be saved: {error.strerror or error}. Free some disk space.") from error


def change(
    project: Project, year: int | None, edit: Callable[[Validation], Validation], *, two_maps: bool = False
) -> Validation | None:
    """Load, change and save a validation while nobody else does; None where there is none.

    Raises:
        ProjectError: the file is damaged, or cannot be written.
    """
    try:
        with alone(project.folder / "validation.lock", passing=True):
            known = load(project, year, two_maps=two_maps)
            if known is None:
                return None
            changed = edit(known)
            save(project, changed)
            return changed
    except OSError as error:
        raise ProjectError(f"The sample cannot be saved: {error.strerror or error}. Free some disk space.") from error


def start(project: Project, validation: Validation) -> Path | None:
    """Save a new sample; an older one with answers is kept beside it. Returns where, or None when there was none."""
    path = path_of(project, validation.year, two_maps=validation.two_maps)
    kept = None
    if path.exists():
        before = earlier(project, validation.year, two_maps=validation.two_maps)
        kept = path.with_name(f"{path.stem}-earlier-{before + 1}.json")
        path.rename(kept)
    save(project, validation)
    return kept


def graded(year: int | None, grid: Grid, found: Published, file: str) -> Validation:
    """A published sample as the one that grades a year's map; behind each answer stands the file it came from."""
    # Whoever reads the report sees whose places they were.
    told = dict.fromkeys(range(len(found.sample)), respond(evidence=file))
    return Validation(year, grid, found.sample, undecided=found.undecided, responses=told)


def earlier(project: Project, year: int | None, *, two_maps: bool = False) -> int:
    """How many samples of a year's map, or comparisons, were set aside for the one of today."""
    path = path_of(project, year, two_maps=two_maps)
    return len(list(path.parent.glob(f"{path.stem}-earlier-*.json")))


def path_of(project: Project, year: int | None, *, two_maps: bool = False) -> Path:
    """The file of a year's validation, or of its comparison of two maps."""
    stem = "validation" if year is None else f"validation-{year}"
    return project.folder / (f"{stem}-two-maps.json" if two_maps else f"{stem}.json")


def _damaged(path: Path) -> ProjectError:
    return ProjectError(f"The saved sample {path.name} is damaged. Import its CSV, or draw a new sample.")


def _fit(maps: TwoMaps | None, sample: Sample) -> bool:
    """Whether two maps belong to the places: as many, and different at each."""
    if maps is None:
        return True
    said = np.asarray(maps.said, np.int64)
    whole = {0: maps.differing} == sample.sizes and maps.differing <= maps.compared
    return whole and said.shape == sample.mapped.shape and bool((said != sample.mapped).all())


def to_json(validation: Validation) -> dict[str, Any]:
    """A validation as it is written."""
    sample = validation.sample
    return {
        "format": FORMAT,
        "year": written(validation.year),
        "grid": validation.grid.to_json(),
        "design": sample.design,
        "sizes": {str(k): v for k, v in sample.sizes.items()},
        "counted": None if sample.counted is None else {str(k): v for k, v in sample.counted.items()},
        "rows": sample.rows.tolist(),
        "cols": sample.cols.tolist(),
        "strata": sample.strata.tolist(),
        "mapped": sample.mapped.tolist(),
        "reference": sample.reference.tolist(),
        "notes": list(sample.notes),
        "undecided": sorted(validation.undecided),
        "responses": {str(k): msgspec.to_builtins(one) for k, one in sorted(validation.responses.items())},
        "unit": validation.unit,
        "rule": validation.rule,
        "opinions": {str(k): msgspec.to_builtins(told) for k, told in sorted(validation.opinions.items())},
        "final": {str(k): msgspec.to_builtins(one) for k, one in sorted(validation.final.items())},
        "doubled": sorted(validation.doubled),
        "margin": validation.margin,
        "promise": msgspec.to_builtins(validation.promise),
        "maps": msgspec.to_builtins(validation.maps),
    }


def from_json(value: Any, path: Path) -> Validation:
    """The inverse of :func:`to_json`; ``path`` is named where it is damaged.

    Raises:
        ProjectError: it is none.
    """
    try:
        if value["format"] not in FORMATS or value["design"] not in DESIGNS:
            raise _damaged(path)
        grid, year = Grid.from_json(value["grid"]), value["year"]
        year = None if year is None else period(year)
        arrays = [np.array(value[k], np.int64) for k in ("rows", "cols", "strata", "mapped", "reference")]
        notes = tuple(str(note) for note in value["notes"])
        sizes: Mapping[str, int] = value["sizes"]
        rows, cols, strata, mapped, reference = arrays
        size_of = {int(k): int(v) for k, v in sizes.items()}
        # Samples of earlier versions have none.
        counted: Mapping[str, int] | None = value.get("counted")
        on_map = None if counted is None else {int(k): int(v) for k, v in counted.items()}
        if on_map is not None and min(on_map.values(), default=0) < 0:
            raise _damaged(path)
        sample = Sample(rows, cols, strata, mapped, reference, notes, size_of, value["design"], on_map)
        shapes = {array.shape for array in arrays} | {(len(notes),)}
        inside = (sample.rows >= 0) & (sample.rows < grid.height) & (sample.cols >= 0) & (sample.cols < grid.width)
        undecided = frozenset(int(k) for k in value["undecided"])
        responses = {int(k): msgspec.convert(one, Response) for k, one in value.get("responses", {}).items()}
        opinions = {int(k): msgspec.convert(told, tuple[Opinion, ...]) for k, told in value.get("opinions", {}).items()}
        final = {int(k): msgspec.convert(one, Opinion) for k, one in value.get("final", {}).items()}
        doubled = frozenset(int(k) for k in value.get("doubled", []))
        unit, rule = value.get("unit", UNITS[0]), value.get("rule", RULES[0])
        margin = float(value.get("margin", MARGIN))
        promise = msgspec.convert(value.get("promise", {}), Promise)
        maps = msgspec.convert(value.get("maps"), TwoMaps | None, strict=False)
        positions = set(range(len(notes)))
        if (
            len(shapes) != 1
            or not inside.all()
            or not undecided | doubled | {*responses, *opinions, *final} <= positions
        ):
            raise _damaged(path)
        if unit not in UNITS or rule not in RULES or not 0 < margin < 0.5 or not _fit(maps, sample):
            raise _damaged(path)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, InputError) as error:
        raise _damaged(path) from error
    return Validation(
        year, grid, sample, undecided, responses, unit, rule, opinions, final, doubled, margin, promise, maps
    )
