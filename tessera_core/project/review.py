"""A review of what is new: the places that were found between two years of a project, and what people said of each.

Kept in the project's folder, so that it goes on after a reload, in another tab or on another day. Looking again keeps the
verdicts on places that are found again, also where an outline or the numbers of the classes are a little different. Verdicts
become labels of the later year: the new class where it was kept, the former where rejected.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import atomic_path, write_json
from tessera_core._utils.locks import alone
from tessera_core.areas import hectares
from tessera_core.errors import InputError, ProjectError
from tessera_core.export.zone_table import ZoneTable
from tessera_core.gate import parse_json
from tessera_core.grid import Grid
from tessera_core.labels.colors import color_for
from tessera_core.labels.model import SUGGESTION, Label, LabelClass
from tessera_core.project.monitor import LISTED_KEPT, NewPlace, NewPlaces, outlines_of
from tessera_core.project.project import Project

FORMAT = "tessera-review/1"
KEEP, REJECT = "keep", "reject"
VERDICTS = (KEEP, REJECT)
# Two places are one, looked at again, where they share more than this of their ground together: then each has one at most.
_SAME = 0.5
# What labels made of verdicts say of themselves: here, with the year; and where they come from a list (see ``monitor``).
_KEPT = re.compile(r"new in (\d{4}): kept")


@dataclass(frozen=True)
class Review:
    """What was found between two years, and the verdicts so far.

    Attributes:
        years: earlier and later.
        head: what people call the head that found it.
        places: the largest first.
        numbers: int32 (H, W), the place that each pixel is of; 0 for none.
        grid: of the embeddings.
        names: class id -> name.
        rate: false-discovery rate of the change.
        left_out: pixels in places too small to be listed.
        stamp: changes with what was found, not with the verdicts.
        verdicts: number of a place -> ``"keep"`` or ``"reject"``.
        earlier: number of a place -> what it was called when its verdict was given, where it has changed since; its labels are
            known by that.
    """

    years: tuple[int, int]
    head: str
    places: tuple[NewPlace, ...]
    numbers: NDArray[np.int32]
    grid: Grid
    names: dict[int, str]
    rate: float
    left_out: int
    stamp: str
    verdicts: dict[int, str] = field(default_factory=dict)
    earlier: dict[int, str] = field(default_factory=dict)

    @property
    def kept(self) -> int:
        """Places that are new."""
        return sum(1 for said in self.verdicts.values() if said == KEEP)

    @property
    def rejected(self) -> int:
        """Places that are as they were."""
        return len(self.verdicts) - self.kept

    @property
    def open(self) -> int:
        """Places without a verdict."""
        return len(self.places) - len(self.verdicts)

    def next_open(self, after: int = -1) -> int | None:
        """Position of the next place without a verdict, from the beginning again at the end; None where all have one."""
        order = [*range(after + 1, len(self.places)), *range(after + 1)]
        return next((n for n in order if self.places[n].number not in self.verdicts), None)

    def named(self, class_id: int) -> str:
        """Name of a class."""
        return self.names.get(class_id, str(class_id))

    def hectares(self, place: NewPlace) -> float | None:
        """Of a place; None where the region has no place on Earth."""
        return hectares(place.pixels, self.grid)

    def outline(self, place: NewPlace) -> Any:
        """The polygon of a place in the CRS of the grid (a shapely geometry)."""
        rows, cols = np.nonzero(self.numbers == place.number)
        top, left = int(rows.min()), int(cols.min())
        window = self.numbers[top : rows.max() + 1, left : cols.max() + 1]
        moved = self.grid.transform @ self.grid.transform.translation(left, top)
        grid = replace(self.grid, transform=moved, shape=window.shape)
        return outlines_of(np.where(window == place.number, 1, 0).astype(np.int32), grid, 1)[0]

    def table(self) -> ZoneTable:
        """The list with its verdicts, as ``tessera monitor find`` writes it."""
        empty = np.zeros((0, 0), np.uint8)
        found = NewPlaces(
            self.places, self.numbers, empty, empty, self.grid, self.names, self.years, self.rate, self.left_out
        )
        table = found.table()
        at = table.columns.index("verdict")
        for place, row in zip(self.places, table.rows, strict=True):
            row[at] = self.verdicts.get(place.number)
        return table

    def sentences(self) -> list[str]:
        """For people."""
        first, last = self.years
        return [
            f"{len(self.places)} places are new in {last} against {first}; {self.kept} kept, {self.rejected} rejected, {self.open} "
            "still to look at."
        ]


def _files(project: Project, years: tuple[int, int]) -> Path:
    return project.folder / f"new-{years[0]}-{years[1]}.json"


def begin(project: Project, found: NewPlaces, head: str) -> Review:
    """Keep what was found as a review; verdicts of an earlier one stay with the places that were found again.

    Raises:
        ProjectError: the years are not known.
        OSError: it cannot be written.
    """
    first, last = found.years
    if first is None or last is None:
        raise ProjectError("A review needs the years of both embeddings; these do not say theirs.")
    years = (first, last)
    path = _files(project, years)
    stamp = hashlib.blake2b(found.numbers.tobytes() + head.encode(), digest_size=8).hexdigest()
    with alone(path.with_suffix(".lock")):
        before = load(project, years)
        made = Review(
            years, head, found.places, found.numbers, found.grid, dict(found.names), found.rate, found.left_out, stamp
        )
        if before is not None:
            again = _again(before, made)
            made = replace(
                made,
                verdicts={number: before.verdicts[old.number] for number, old in again.items()},
                earlier={number: _called(before, old) for number, old in again.items()},
            )
        with atomic_path(_plane(path, stamp)) as part, part.open("wb") as file:
            np.savez_compressed(file, numbers=found.numbers)
        _write(path, made)
        if before is not None and before.stamp != stamp:
            with suppress(OSError):
                _plane(path, before.stamp).unlink()
    return made


def load(project: Project, years: tuple[int, int]) -> Review | None:
    """The review of two years; None where there is none, or its files are damaged, so that it is made anew."""
    path = _files(project, years)
    grid = project.grid
    if grid is None or not path.is_file():
        return None
    try:
        data = parse_json(path.read_bytes())
        if data["format"] != FORMAT:
            return None
        stamp = str(data["stamp"])
        with np.load(_plane(path, stamp), allow_pickle=False) as file:
            numbers = np.asarray(file["numbers"], np.int32)
        places = tuple(NewPlace(**one) for one in data["places"])
        known = {place.number for place in places}
        said = {int(k): str(v) for k, v in data["verdicts"].items() if int(k) in known and v in VERDICTS}
        names = {int(k): str(v) for k, v in data["names"].items()}
        crs = None if data["crs"] in (None, "None") else str(data["crs"])
        kept = Grid(crs, grid.transform.__class__(*data["transform"]), numbers.shape)
        earlier = {int(k): str(v) for k, v in data.get("earlier", {}).items() if int(k) in known}
        return Review(
            years, str(data["head"]), places, numbers, kept, names, float(data["rate"]), int(data["left_out"]), stamp, said,
            earlier,
        )  # fmt: skip
    except (OSError, EOFError, KeyError, TypeError, ValueError, AttributeError, OverflowError, InputError):
        return None
    except (zipfile.BadZipFile, zlib.error):
        return None


def _write(path: Path, made: Review) -> None:
    write_json(
        path,
        {
            "format": FORMAT, "stamp": made.stamp, "years": list(made.years), "head": made.head, "rate": made.rate,
            "left_out": made.left_out, "crs": made.grid.crs, "transform": list(made.grid.transform)[:6],
            "names": {str(k): v for k, v in made.names.items()}, "places": [vars(place) for place in made.places],
            "verdicts": {str(k): v for k, v in made.verdicts.items()},
            "earlier": {str(k): v for k, v in made.earlier.items()},
        },
    )  # fmt: skip


def _plane(path: Path, stamp: str) -> Path:
    return path.with_name(f"{path.stem}-{stamp}.npz")


def _called(review: Review, place: NewPlace) -> str:
    """What tells the labels of a place again; that of the time when its verdict was given."""
    return review.earlier.get(place.number, str((place.row, place.col, place.was, place.now, place.pixels)))


def _again(before: Review, now: Review) -> dict[int, NewPlace]:
    """Number of a place of now -> the judged place of before that it is: of the same classes, on mostly the same ground."""
    if before.grid != now.grid:
        return {}
    judged = {place.number: place for place in before.places if place.number in before.verdicts}
    there = np.flatnonzero((before.numbers > 0) & (now.numbers > 0))
    pairs, counts = np.unique(
        np.stack([now.numbers.flat[there], before.numbers.flat[there]]), axis=1, return_counts=True
    )
    shared = {(int(a), int(b)): int(n) for (a, b), n in zip(pairs.T, counts, strict=True)}
    places = {place.number: place for place in now.places}
    found = {}
    for (number, old), n in shared.items():
        place, then = places.get(number), judged.get(old)
        if place is None or then is None or n <= _SAME * (place.pixels + then.pixels - n):
            continue
        classes = zip((then.was, then.now), (place.was, place.now), strict=True)
        if all(_same_class(before, now, old_id, new_id) for old_id, new_id in classes):
            found[number] = then
    return found


def _same_class(before: Review, now: Review, old: int, new: int) -> bool:
    """By name, for heads number their classes each in its way; or by the same head's number, where it was renamed meanwhile."""
    was, called = before.named(old), now.named(new)
    renamed = was not in now.names.values() and called not in before.names.values()
    return was == called or (before.head == now.head and old == new and renamed)


def give(project: Project, review: Review, number: int, verdict: str | None) -> Review:
    """Say of a place whether it is new; None takes the verdict back. What others said of other places meanwhile stays.

    Raises:
        ProjectError: the review was made anew or put away meanwhile, or there is no such place.
    """
    if verdict is not None and verdict not in VERDICTS:
        raise ProjectError(f"{verdict!r} is no verdict; say keep or reject.")
    path = _files(project, review.years)
    with alone(path.with_suffix(".lock")):
        now = load(project, review.years)
        if now is None or now.stamp != review.stamp:
            raise ProjectError("The list was made anew meanwhile; look at the place again.")
        if number not in {place.number for place in now.places}:
            raise ProjectError(f"The list has no place {number}.")
        said = {k: v for k, v in now.verdicts.items() if k != number}
        if verdict is not None:
            said[number] = verdict
        now = replace(now, verdicts=said)
        _write(path, now)
    return now


def put_away(project: Project, years: tuple[int, int]) -> None:
    """Remove a review; labels that were made of it stay."""
    path = _files(project, years)
    with alone(path.with_suffix(".lock"), passing=True):
        for file in [path, *path.parent.glob(f"{path.stem}-*.npz")]:
            file.unlink(missing_ok=True)


def labels_of(review: Review, known: Mapping[str, LabelClass] | None = None) -> tuple[list[LabelClass], list[Label]]:
    """The verdicts as labels of the later year, a polygon for each connected part of a place.

    Args:
        review: whose verdicts they are.
        known: classes by lower-case name, whose colours are taken.

    Returns:
        Classes, and labels whose ids say place and verdict, so that the same one is never added twice.
    """
    classes: dict[str, LabelClass] = {}
    labels = []
    for place in review.places:
        said = review.verdicts.get(place.number)
        if said is None:
            continue
        name = review.named(place.now if said == KEEP else place.was)
        made = classes.get(name)
        if made is None:
            mine = (known or {}).get(name.casefold())
            others = list(classes.values())
            colour = mine.color if mine else color_for(name, others, len(classes) + 1)
            made = classes[name] = LabelClass(len(classes) + 1, name, colour)
        shape = review.outline(place)
        for part, polygon in enumerate(getattr(shape, "geoms", [shape])):
            text = f"{review.years} {_called(review, place)} {said} {part}"
            labels.append(
                Label(
                    hashlib.blake2b(text.encode(), digest_size=8).hexdigest(),
                    made.id,
                    "polygon",
                    _ring(polygon.exterior),
                    note=_note(review.years[1], said),
                    holes=tuple(_ring(hole) for hole in polygon.interiors),
                )
            )
    return list(classes.values()), labels


def _note(year: int, said: str) -> str:
    return f"new in {year}: {'kept' if said == KEEP else 'rejected'}"


def later_labels(project: Project, year: int) -> frozenset[str]:
    """Ids of the labels that say what is new after a year, so that they are wrong in it.

    Labels of a list that somebody went through do not say their year; they are of that of all labels.
    """
    of = project.settings.label_year
    listed = of is None or of > year

    def later(note: str) -> bool:
        kept = _KEPT.fullmatch(note)
        return int(kept[1]) > year if kept else listed and note == LISTED_KEPT

    return frozenset(label.id for label in project.log.labels if later(label.note))


def _ring(ring: Any) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in list(ring.coords)[:-1])


def waiting(project: Project, review: Review) -> tuple[list[LabelClass], list[Label]]:
    """The labels of :func:`labels_of` that the project does not have yet."""
    classes, labels = labels_of(review, {c.name.casefold(): c for c in project.log.classes})
    there = {label.id for label in project.log.labels}
    return classes, [label for label in labels if label.id not in there]


def add_labels(project: Project, review: Review) -> int:
    """Take the verdicts into the project as labels, which are of the later year from now on; one undo takes them back.

    Returns:
        How many labels were added.

    Raises:
        LabelError: there are too many classes.
    """
    classes, labels = waiting(project, review)
    used = {label.class_id for label in labels}
    count = project.log.import_labels([c for c in classes if c.id in used], labels, origin=SUGGESTION)
    if project.settings.label_year != review.years[1]:
        project.update(label_year=review.years[1])
    return count
