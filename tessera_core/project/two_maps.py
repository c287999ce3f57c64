"""Which of two maps of a project is better: brought to its classes, compared, places drawn where they differ, and the verdict.

A map is the project's own of a year, a kept head's, or any class GeoTIFF, laid over by nearest neighbour. Its classes become the
project's by their names, or by a legend; one that stands for several of the project's (one "forest" for two) makes them count as
one. What has no counterpart is left out and counted. Both maps are treated alike, so that exchanging them mirrors every result.

The comparison is kept as a sample beside that of the validation (:mod:`tessera_core.project.validate`), with the two maps as they
were then: the verdict is about these, whatever the project's map becomes.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import atomic_path
from tessera_core._utils.npy import load_npy
from tessera_core.assess.designs import Sample
from tessera_core.assess.two_maps import (
    MOST_LOOKS,
    POWER,
    RISK,
    Difference,
    Verdict,
    difference,
    draw_where_different,
    judge,
    places_needed,
    power_at_any_time,
)
from tessera_core.errors import InputError, LabelError, ProjectError
from tessera_core.grid import Grid
from tessera_core.labels.weak import read_existing_map
from tessera_core.periods import period
from tessera_core.project import validate
from tessera_core.project.asked import ComparedMap, TwoMaps, percent
from tessera_core.project.project import Project
from tessera_core.project.validate import Validation
from tessera_core.types import Bools, Bytes, Cancel, Progress

RASTERS = (".tif", ".tiff", ".npy")
# Of the places where maps differ: how many more one is right at for the difference to be worth finding, and how many none is.
BETTER, NEITHER = 0.3, 0.1
# Horizons that are tried for the number of places, as a long one takes a second.
_LOOKS = (100, 250, 600, MOST_LOOKS)
Legend = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class NamedMap:
    """A class map on the grid of a project, in classes of its own.

    Attributes:
        title: by which people know it.
        source: ``"year"`` of the project, ``"head"`` or ``"file"``.
        classes: uint8 (H, W), 0 = nothing said.
        names: what the ids mean.
        codes: what the map itself calls them, where that is something else.
    """

    title: str
    source: str
    classes: Bytes
    names: Mapping[int, str]
    codes: Mapping[int, str]

    def counts(self) -> dict[str, int]:
        """Pixels of each of its classes that occur."""
        pixels = np.bincount(self.classes.ravel(), minlength=256)
        return {name: int(pixels[k]) for k, name in self.names.items() if pixels[k]}


@dataclass(frozen=True)
class Pair:
    """Two maps in the classes of a project.

    Attributes:
        first, second: what is known of them.
        maps: uint8 (2, H, W) in the project's classes, of those that count as one the lowest; 0 where a map says nothing, or
            something without a counterpart.
        same: classes that count as one -> the one that stands for them.
        found: where they differ.
    """

    first: ComparedMap
    second: ComparedMap
    maps: Bytes
    same: dict[int, int]
    found: Difference

    def sentences(self) -> list[str]:
        """For people: how much they differ in, and what is left out of it."""
        return [
            _differ(self.first, self.second, self.found.share, self.found.compared),
            *_left_out(self.first, self.second),
        ]


def _differ(first: ComparedMap, second: ComparedMap, share: float, compared: int) -> str:
    return (
        f"Where both name a class of yours ({compared:,} pixels), {first.title} and {second.title} differ in {percent(share)} % "
        "of it."
    )


def _left_out(first: ComparedMap, second: ComparedMap) -> list[str]:
    lines = []
    for one in (first, second):
        if one.left_out:
            told = ", ".join(f"{name} ({pixels:,})" for name, pixels in one.left_out.items())
            lines.append(f"Left out, as {one.title} has classes without a counterpart among yours (pixels): {told}.")
        if one.silent:
            lines.append(f"Left out, as {one.title} says nothing there (pixels): {one.silent:,}.")
        if one.lacks:
            lines.append(
                f"Classes that {one.title} never names, so that only the other can be right there: {', '.join(one.lacks)}."
            )
    return lines


def left_out_sentences(current: Validation) -> list[str]:
    """For people, how much two maps differ in, and what is left out of it."""
    maps = _maps(current)
    return [_differ(maps.first, maps.second, maps.share, maps.compared), *_left_out(maps.first, maps.second)]


@dataclass(frozen=True)
class Plan:
    """How many places it takes to find the better map with a chance of 80 %; None where over 5000, or over 1500 at any time.

    Attributes:
        any_time: where the verdict is asked for after every answer.
        settled: where the number is settled beforehand.
        points: difference of the two maps' accuracies, over what both map, 0 to 1.
    """

    any_time: int | None
    settled: int | None
    points: float

    def sentences(self) -> list[str]:
        """For people."""
        points = f"{100 * self.points:.1f}"
        if self.settled is None:
            return [f"To find a difference of {points} points of accuracy over what both map takes over 5000 places."]
        any_time = f"Over {MOST_LOOKS}" if self.any_time is None else f"About {self.any_time}"
        return [
            f"To find a difference of {points} points of accuracy over what both map, in four of five such cases, takes "
            f"{self.settled} places settled beforehand.",
            f"{any_time} where you look after every answer.",
        ]


# ------------------------------------------------------------------ the maps


def map_of(
    project: Project,
    year: int | None,
    given: str | Path,
    *,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> NamedMap:
    """The map that somebody means.

    Args:
        project: on whose grid it is wanted.
        year: whose map is checked.
        given: a year of the project (empty where its embeddings have none), a class GeoTIFF, or the file or name of a kept head.

    Raises:
        InputError: there is no such map.
        LabelError: the file cannot be read, or does not meet the region.
        HeadError: the labels do not suffice, or the file is no head.
        Cancelled: ``cancelled`` said so.
    """
    from tessera_core.project.saved_heads import head_at

    text = str(given)
    if not text:
        return _own_map(project, None, progress, cancelled)
    if Path(text).suffix.lower() in RASTERS:
        return file_map(text, _grid(project, year))
    try:
        wanted = period(text)
    except InputError:
        # No year and no window of months, so it names a head.
        return head_map(project, year, head_at(text), progress=progress, cancelled=cancelled)
    if wanted not in project.embeddings:
        years = ", ".join(map(str, project.years))
        raise InputError(f"The project has no embeddings of {text}; it has those of {years}.")
    return _own_map(project, wanted, progress, cancelled)


def own_map(project: Project, year: int | None, classes: Bytes) -> NamedMap:
    """The project's own map of a year, uint8 (H, W), as it was made."""
    title = project.name if year is None else f"{project.name} {year}"
    names = {c.id: c.name for c in project.log.classes}
    return NamedMap(title, "year", classes, names, {})


def _own_map(project: Project, year: int | None, progress: Progress | None, cancelled: Cancel | None) -> NamedMap:
    from tessera_core.project.classify import map_project
    from tessera_core.sources.local.open import open_embeddings

    raster = open_embeddings(project.embeddings_path(year), year=year)
    return own_map(project, year, map_project(project, raster, year, cancelled, progress).map.classes)


def head_map(
    project: Project,
    year: int | None,
    path: Path,
    *,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> NamedMap:
    """What a saved head makes of the project's embeddings of a year.

    Raises:
        HeadError: the file is no head.
        MixedDatasetsError: it was trained on another dataset.
    """
    from tessera_core.heads import load_head
    from tessera_core.project.maps import map_classes_with
    from tessera_core.sources.local.open import open_embeddings

    saved = load_head(path)
    raster = open_embeddings(project.embeddings_path(year), year=year)
    made = map_classes_with(raster, saved, progress=progress, cancelled=cancelled)
    return NamedMap(path.stem, "head", made.classes, saved.class_names, {})


def file_map(path: str | Path, grid: Grid) -> NamedMap:
    """A class raster, laid over by nearest neighbour.

    Raises:
        LabelError: it cannot be read or does not meet the grid.
    """
    read = read_existing_map(path, grid)
    return NamedMap(Path(path).name, "file", read.classes, read.names, read.codes)


def _grid(project: Project, year: int | None) -> Grid:
    from tessera_core.sources.local.open import open_embeddings

    return open_embeddings(project.embeddings_path(year), year=year).grid


# ------------------------------------------------------------------ compared


def suggested(theirs: NamedMap, own: Mapping[int, str]) -> list[tuple[str, str]]:
    """The legend that follows from names: classes of a map that one's own has as well, whatever the case."""
    mine = {name.casefold(): name for name in own.values()}
    return [(name, mine[name.casefold()]) for name in theirs.names.values() if name.casefold() in mine]


def paired(first: NamedMap, second: NamedMap, own: Mapping[int, str], legend: Legend | None = None) -> Pair:
    """Two maps in one's own classes, and where they differ.

    Args:
        first, second: on one grid.
        own: one's own classes, id -> name.
        legend: (name or code of a class of a map, name of one's own class), for maps that are not the project's; a class may stand
            for several. What it does not name is left out. None goes by names.

    Raises:
        LabelError: the shapes differ, or the legend names what is not there.
    """
    if first.classes.shape != second.classes.shape:
        raise LabelError("The two maps have different shapes; compare years on one grid.")
    ids = {name.casefold(): k for k, name in own.items()}
    lines = (
        None if legend is None else [(theirs.strip().casefold(), mine.strip().casefold()) for theirs, mine in legend]
    )
    if lines is not None:
        _require_known(first, second, ids, lines, own)
    goals = [_goals(one, ids, lines) for one in (first, second)]
    same = _counting_as_one(goals)
    maps = np.stack([_translated(one, goal, same) for one, goal in zip((first, second), goals, strict=True)])
    found = difference(maps[0], maps[1])
    told = []
    for k, one in enumerate((first, second)):
        other = (second, first)[k].classes
        empty = (one.classes > 0) & (other > 0) & (maps[k] == 0)
        pixels = np.bincount(one.classes[empty], minlength=256)
        left_out = {name: int(pixels[i]) for i, name in sorted(one.names.items()) if pixels[i]}
        said, others = (set(np.unique(maps[j][maps[j] > 0]).tolist()) for j in (k, 1 - k))
        lacks = tuple(own[i] for i in sorted(others - said))
        silent = int(((one.classes == 0) & (other > 0)).sum())
        told.append(
            ComparedMap(title=one.title[:200], source=one.source, silent=silent, left_out=left_out, lacks=lacks)
        )
    return Pair(told[0], told[1], maps, same, found)


def _require_known(
    first: NamedMap, second: NamedMap, ids: Mapping[str, int], lines: Legend, own: Mapping[int, str]
) -> None:
    foreign = [one for one in (first, second) if one.source != "year"]
    known = {text.casefold() for one in foreign for text in (*one.names.values(), *one.codes.values())}
    for theirs, mine in lines:
        if theirs not in known:
            there = ", ".join(name for one in foreign for name in list(one.names.values())[:20])
            raise LabelError(f"The legend names the class {theirs!r}, which neither map has here; there are {there}.")
        if mine not in ids:
            raise LabelError(f"The legend names your class {mine!r}; you have {', '.join(own.values())}.")


def _goals(one: NamedMap, ids: Mapping[str, int], lines: Legend | None) -> dict[int, list[int]]:
    """Class of a map -> one's own classes for which it stands."""
    goals = {}
    for k, name in one.names.items():
        if lines is None or one.source == "year":
            goals[k] = [ids[name.casefold()]] if name.casefold() in ids else []
        else:
            called = {name.casefold(), one.codes.get(k, name).casefold()}
            goals[k] = list(dict.fromkeys(ids[mine] for theirs, mine in lines if theirs in called))
    return goals


def _counting_as_one(goals: Sequence[Mapping[int, Sequence[int]]]) -> dict[int, int]:
    """Own classes that one class of a map stands for together -> the lowest of them."""
    stands: dict[int, int] = {}

    def root(k: int) -> int:
        while stands.get(k, k) != k:
            k = stands[k]
        return k

    for goal in goals:
        for mine in goal.values():
            roots = {root(k) for k in mine}
            for k in roots if len(roots) > 1 else ():
                stands[k] = min(roots)
    known = {k for goal in goals for mine in goal.values() for k in mine}
    return {k: root(k) for k in sorted(known) if root(k) != k or k in stands.values()}


def _translated(one: NamedMap, goal: Mapping[int, Sequence[int]], same: Mapping[int, int]) -> Bytes:
    table = np.zeros(256, np.uint8)
    for k, mine in goal.items():
        if mine:
            table[k] = same.get(mine[0], mine[0])
    translated: Bytes = table[one.classes]
    return translated


def plan(share: float, better: float = BETTER, neither: float = NEITHER, risk: float = RISK) -> Plan:
    """How many places it takes, before the first is looked at.

    Args:
        share: of what both map in which they differ, 0 to 1.
        better: of the places where they differ, how many more the better map is right at, 0 to 1.
        neither: of these, at how many none is right.
        risk: how often one may be called better though none is.

    Raises:
        LabelError: the shares do not fit together.

    Example:
        >>> found = plan(0.2, 0.3)
        >>> found.settled, found.any_time, round(found.points, 2)
        (83, 129, 0.06)
    """
    if not 0 < better <= 1 - neither or not 0 <= neither < 1 or not 0 < risk < 0.5:
        raise LabelError(
            "Of the places where the maps differ, those where one is right more often and those where none is are shares that add "
            "up to 100 % at most; the risk lies between 0 and 50 %."
        )
    return Plan(*_places(round(better, 6), round(neither, 6), round(risk, 6)), better * share)


@functools.lru_cache(maxsize=64)
def _places(better: float, neither: float, risk: float) -> tuple[int | None, int | None]:
    first, second = (1 - neither + better) / 2, max((1 - neither - better) / 2, 0.0)
    any_time = None
    for looks in _LOOKS:
        enough = power_at_any_time(looks, first, second, risk) >= POWER
        if enough.any():
            any_time = int(np.argmax(enough))
            break
    return any_time, places_needed(first, second, risk)


def drawn(
    pair: Pair, grid: Grid, year: int | None, n: int, *, planned: bool = False, risk: float = RISK, seed: int = 0
) -> Validation:
    """Places by chance where two maps differ, to be answered as those of a validation.

    Args:
        pair: the maps.
        grid: of them.
        year: about which people answer.
        n: places.
        planned: whether there is to be no verdict before all are answered.
        risk: how often one may be called better though none is.
        seed: of the draw.

    Raises:
        LabelError: the maps differ nowhere, or no place is asked for.
    """
    if not 0 < risk < 0.5:
        raise LabelError("The risk lies between 0 and 50 %.")
    rows, cols = draw_where_different(pair.found, n, seed)
    differing = int(pair.found.where.sum())
    none = np.zeros(len(rows), np.int64)
    mapped, said = (pair.maps[k][rows, cols].astype(np.int64) for k in (0, 1))
    sample = Sample(
        rows.astype(np.int64),
        cols.astype(np.int64),
        none,
        mapped,
        none.copy(),
        ("",) * len(rows),
        {0: differing},
        "random",
    )
    maps = TwoMaps(
        first=pair.first,
        second=pair.second,
        said=tuple(said.tolist()),
        same=pair.same,
        compared=pair.found.compared,
        differing=differing,
        risk=risk,
        planned=planned,
    )
    return Validation(year, grid, sample, maps=maps)


@dataclass(frozen=True)
class MapComparison:
    """Two maps compared, without a project.

    Attributes:
        pair: both in the classes of the first.
        grid: of both.
        labelled: pixels that taught the first, and the second; None where that is not known.
    """

    pair: Pair
    grid: Grid
    labelled: tuple[validate.Pixels | None, validate.Pixels | None] = (None, None)

    @property
    def share(self) -> float:
        """Share of what both map in which they differ, 0 to 1."""
        return self.pair.found.share

    def sentences(self) -> list[str]:
        """For people: how much they differ in, and what is left out of it."""
        return self.pair.sentences()

    def plan(self, better: float = BETTER, neither: float = NEITHER, risk: float = RISK) -> Plan:
        """How many places it takes; see :func:`plan`."""
        return plan(self.share, better, neither, risk)

    def places(self, n: int, *, planned: bool = False, risk: float = RISK, seed: int = 0) -> Validation:
        """Places where they differ, to be answered in their order; see :func:`drawn`."""
        found = drawn(self.pair, self.grid, None, n, planned=planned, risk=risk, seed=seed)

        def with_taught(one: ComparedMap, labelled: validate.Pixels | None) -> ComparedMap:
            if one.source != "year":
                return one
            places = validate.taught_places(labelled, found)
            if places is None:
                return msgspec.structs.replace(one, source="head")
            return msgspec.structs.replace(one, taught=places) if places else one

        first, second = map(with_taught, (self.pair.first, self.pair.second), self.labelled)
        return replace(found, maps=msgspec.structs.replace(_maps(found), first=first, second=second))

    def told(self, answered: Validation) -> list[str]:
        """What the answers say, for people; see :func:`told`."""
        return told(answered)

    def verdict(self, answered: Validation) -> Verdict | None:
        """What the answers say; see :func:`verdict`."""
        return verdict(answered)


def start(project: Project, current: Validation, pair: Pair) -> Path | None:
    """Save a new comparison with its two maps; an older one with answers is kept beside it, and returned."""
    if n := int(validate.taught(project, current).sum()):
        current = replace(current, maps=msgspec.structs.replace(_maps(current), taught=n))
    kept = validate.start(project, current)
    path = _pictures(project, current.year)
    try:
        with atomic_path(path) as part, part.open("wb") as file:
            np.save(file, pair.maps)
    except OSError as error:
        raise ProjectError(f"The two maps cannot be saved: {error.strerror or error}. Free some disk space.") from error
    return kept


def kept_maps(project: Project, current: Validation) -> Bytes | None:
    """The two maps as they were compared, uint8 (2, H, W); None where they did not come along with the project."""
    path = _pictures(project, current.year)
    if not path.is_file():
        return None
    maps = load_npy(path, ProjectError)
    if maps.shape != (2, *current.grid.shape) or maps.dtype != np.uint8:
        return None
    return np.asarray(maps)


def _pictures(project: Project, year: int | None) -> Path:
    return validate.path_of(project, year, two_maps=True).with_suffix(".npy")


# ------------------------------------------------------------------ the verdict


def verdict(current: Validation) -> Verdict | None:
    """What the answers say so far; None before the first that counts.

    Counted are the places from the first to where one is left open, as they come in an order by chance.
    """
    maps, sample = _maps(current), current.sample
    told = next((k for k in range(len(sample)) if not current.is_seen(k)), len(sample))
    if not told:
        return None
    clear = np.array([k for k in range(told) if k not in current.undecided], np.int64)
    table = np.arange(256)
    for k, one in maps.same.items():
        table[k] = one
    first, second, reference = (
        table[values[clear]] for values in (sample.mapped, np.asarray(maps.said, np.int64), sample.reference)
    )
    planned = len(sample) if maps.planned else None
    return judge(reference, first, second, maps.share, told - len(clear), maps.risk, planned)


def sentences(current: Validation) -> list[str]:
    """For people, the verdict first."""
    maps, found = _maps(current), verdict(current)
    if found is None:
        return ["Nothing is known yet: the places come in an order by chance; begin with the first."]
    one, other, risk = maps.first.title, maps.second.title, percent(maps.risk)
    n = found.first + found.second + found.neither
    left = len(current.sample) - current.seen
    if maps.planned and left:
        lines = [
            f"Nothing is said of which is better before all {len(current.sample)} places are looked at, as was settled; to go: "
            f"{left}."
        ]
    else:
        if found.better:
            better, worse = (one, other) if found.better == 1 else (other, one)
            lines = [
                f"Better: {better}. It is right more often than {worse} where they differ (risk {risk} %, at the number of places "
                "settled before)."
                if maps.planned
                else f"Better: {better}. It is right more often than {worse} where they differ (risk {risk} %, however often you "
                "look)."
            ]
        else:
            lines = [
                f"Not known: which of {one} and {other} is right more often (risk {risk} %, at the number of places settled "
                "before)."
                if maps.planned
                else f"Not known: which of {one} and {other} is right more often (risk {risk} %, however often you look)."
            ]
        if not found.better and not maps.planned:
            lines.append(
                "As it looks, even 1500 places would likely not tell them apart: they are about as good."
                if found.more is None
                else f"Places that would likely settle it, were it as it looks now: about {found.more} more."
            )
    lines.append(
        f"Of {n} place{'' if n == 1 else 's'} where they differ, only {one} was right at {found.first}, only {other} at "
        f"{found.second}, none of them at {found.neither}."
    )
    if not (maps.planned and left):
        lines.append(f"They differ in {percent(maps.share)} % of what both map. {_gap(one, other, found)}")
    if found.unclear:
        lines.append(
            f"Places that could not be told: {found.unclear}. Whatever they are, that stays so."
            if found.whatever_is_unclear
            else f"Places that could not be told: {found.unclear}. They could change that."
        )
    return lines


def told(current: Validation) -> list[str]:
    """For people: the verdict, what places that taught a map do to it, and what is left out."""
    taught = validate.taught_notes_of_two(_maps(current), len(current.sample))
    return [*sentences(current), *taught, *left_out_sentences(current)]


def _gap(one: str, other: str, found: Verdict) -> str:
    """How much more of the ground one of two maps is right at."""
    low, high = 100 * found.low, 100 * found.high
    if found.better == 2 or (not found.better and low + high < 0):
        one, other, low, high = other, one, -high, -low
    if found.better:
        # The test and the interval are two methods: the verdict's side is the side of both.
        low, high = max(0.0, low), max(0.0, high)
        return f"Over all of it, {one} is right more often than {other}, by {low:.1f} to {high:.1f} percentage points (95 % sure)."
    low, high = max(0.0, -low), max(0.0, high)
    return (
        f"Over all of it, {one} may be right more often than {other} by up to {high:.1f} percentage points, or less often by up to "
        f"{low:.1f} (95 % sure)."
    )


def differing_now(current: Validation, classes: NDArray[np.integer]) -> int:
    """Places at which the project's map of today says something else than the first map did when they were drawn.

    Args:
        current: whose first map was the project's own.
        classes: (H, W) the map of today.
    """
    maps, sample = _maps(current), current.sample
    table = np.arange(256)
    for k, one in maps.same.items():
        table[k] = one
    return int((table[classes[sample.rows, sample.cols]] != sample.mapped).sum())


def where_different(maps: Bytes) -> Bools:
    """Where two maps, uint8 (2, H, W), name different classes, bool (H, W)."""
    return difference(maps[0], maps[1]).where


def _maps(current: Validation) -> TwoMaps:
    if current.maps is None:
        raise LabelError("These places check one map; draw places where two maps differ to compare them.")
    return current.maps
