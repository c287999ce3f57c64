"""Teach one head in one go: from projects, regions and years to a head that is judged, saved, kept and taught further.

Page, command line and notebooks come here; what is done stands in :mod:`tessera_core.project.joint_heads`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tessera_core._utils.percents import percent
from tessera_core.errors import HeadError, LabelError
from tessera_core.labels.model import LabelClass
from tessera_core.project.classify import Trained, project_head, project_reference
from tessera_core.project.joint_heads import (
    PlaceScore,
    Taught,
    join_taught,
    save_joint,
    saved_joint,
    score_elsewhere,
    score_places,
    taught_in,
    taught_of,
    train_joint,
)
from tessera_core.project.maps import GivenHead, MappedClasses, map_classes_with
from tessera_core.project.project import Project
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Cancel, Progress

if TYPE_CHECKING:
    from tessera_core.heads import HeadChoice, SavedHead


@dataclass(frozen=True)
class JointHead:
    """A head that labels of one place or more have taught, with what is known of it.

    Attributes:
        taught: the labelled pixels.
        trained: the fitted head, its score at places held out, and its calibration.
        elsewhere: how right it is in each place when that place teaches it nothing; none of one place.
        before: how right the earlier head was at the labels that were added; none of a head that is new.
        renewed: places that were in the earlier head already, and whose labels were replaced by those of now.
    """

    taught: Taught
    trained: Trained
    elsewhere: tuple[PlaceScore, ...] = ()
    before: tuple[PlaceScore, ...] = ()
    renewed: tuple[str, ...] = ()

    @property
    def saved(self) -> SavedHead:
        """As it is once it was saved and loaded again, to map with."""
        return saved_joint(self.taught, self.trained, self.elsewhere)

    def save(self, path: str | Path) -> Path:
        """Write it as ``.safetensors``, with what taught it.

        Raises:
            HeadError: it cannot be saved.
            ExportError: the file cannot be written.
        """
        return save_joint(path, self.taught, self.trained, self.elsewhere)

    def sentences(self) -> list[str]:
        """How it travels, for people."""
        told = [line for one in self.before for line in one.sentences(before=True)]
        told += [f"{place} had taught it already; its labels are those of now." for place in self.renewed]
        return told + [line for one in self.elsewhere for line in one.sentences()]

    def __repr__(self) -> str:
        return f"<JointHead: {self.trained.head.kind} of {', '.join(self.taught.places)}; {' '.join(self.sentences()[:1])}>"


def teach(
    parts: Sequence[Taught],
    choice: HeadChoice,
    *,
    classes: Sequence[LabelClass] = (),
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> JointHead:
    """One head from the labels of places, each of which is held out once as a whole.

    Args:
        parts: of the places.
        choice: of the head; a class tree and weights in it name classes by their ids.
        classes: what these ids mean; none where they are those of the first part.
        seed: of everything random.
        progress, cancelled: see docs/architecture.md.

    Raises:
        MixedDatasetsError: they are of several datasets.
        HeadError: the labels do not suffice, or the head cannot be judged by places.
        LabelError: there are no parts.
        Cancelled: ``cancelled`` said so.
    """
    return _taught(join_taught(parts, seed, classes=classes), choice, seed, progress, cancelled)


def teach_further(
    saved: SavedHead,
    parts: Sequence[Taught],
    *,
    what: str = "This head",
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> JointHead:
    """A saved head with the labels of more places, or with newer labels of places that taught it.

    A place of the same name that shares labelled pixels is the same place: its labels of now replace those of then.

    Args:
        saved: of classes; the file has to carry what taught it.
        parts: what to add.
        what: what to call the head.

    Raises:
        MixedDatasetsError: they are of several datasets.
        HeadError: it maps values, or does not carry what taught it.
        Cancelled: ``cancelled`` said so.
    """
    head = saved.classification
    if head is None:
        raise HeadError(f"{what} maps measured values; only heads of classes are taught further.")
    known = taught_of(saved, what)
    fresh = [part for part in parts if not _taught_by(known, part)]
    before = tuple(score_elsewhere(saved, part) for part in fresh)
    renewed = tuple(place for part in parts if part not in fresh for place in part.places)
    rest = without_places(known, renewed)
    # The ids are those of the head, whose tree they stand in, also where every place of it is renewed.
    taught = join_taught([*([] if rest is None else [rest]), *parts], seed, classes=known.classes)
    made = _taught(taught, GivenHead(head=head), seed, progress, cancelled)
    return replace(made, before=before, renewed=renewed)


def _taught(
    taught: Taught, choice: HeadChoice, seed: int, progress: Progress | None, cancelled: Cancel | None
) -> JointHead:
    scores = score_places(taught, choice, seed=seed, progress=progress, cancelled=cancelled)
    trained = train_joint(taught, choice, seed=seed, progress=progress, cancelled=cancelled)
    return JointHead(taught, trained, tuple(scores))


def _taught_by(known: Taught, part: Taught) -> bool:
    """Whether a place of that name, with a labelled pixel and its embedding in common, is among those known."""
    if len(part.places) != 1 or part.places[0] not in known.places:
        return False
    here = np.flatnonzero(known.place == known.places.index(part.places[0]))
    there = {
        (int(row), int(col)): codes.tobytes()
        for row, col, codes in zip(known.rows[here], known.cols[here], known.codes[here], strict=True)
    }
    return any(
        there.get((int(row), int(col))) == codes.tobytes()
        for row, col, codes in zip(part.rows, part.cols, part.codes, strict=True)
    )


def without_places(taught: Taught, names: Sequence[str]) -> Taught | None:
    """What the other places taught; None where none is left."""
    left = [number for number, name in enumerate(taught.places) if name not in names]
    if not left:
        return None
    if len(left) == len(taught.places):
        return taught
    index = np.flatnonzero(np.isin(taught.place, left))
    arrays: dict[str, Any] = {name: array[index] for name, array in taught.arrays.items()}
    arrays["place"] = np.searchsorted(left, arrays["place"]).astype(np.int64)
    return replace(taught, **arrays, places=tuple(taught.places[number] for number in left))


@dataclass(frozen=True)
class HeadHere:
    """What a saved head says of a region.

    Attributes:
        name: of the head.
        made: its map.
        score: how right it is at the labels of the region; None where there are none, or they taught it.
    """

    name: str
    made: MappedClasses
    score: PlaceScore | None

    def sentences(self) -> list[str]:
        """How far to trust the map, for people."""
        told = []
        if self.score is not None and self.score.accuracy is not None and self.score.interval is not None:
            low, high = (percent(one) for one in self.score.interval)
            score = percent(self.score.accuracy)
            labels = self.score.labels
            told.append(
                f"Right at {score} % of {labels} labels here (95 % sure: {low} to {high} %)."
                if self.score.repeated
                else f"Right at {score} % of {labels} labels here, which taught it nothing (95 % sure: {low} to {high} %)."
            )
            if self.score.repeated:
                told.append(
                    f"{self.score.repeated} of these labels taught it as another year sees them, so at new places it is likely "
                    "right less often."
                )
        if self.score is not None and self.score.unknown:
            names = ", ".join(f"{name} ({count})" for name, count in self.score.unknown.items())
            told.append(f"It does not know {names}; these labels were not judged.")
        outside = self.made.outside_applicability()
        return told if outside is None else [*told, outside.sentence]


def head_here(
    saved: SavedHead,
    raster: EmbeddingRaster,
    own: Taught | None = None,
    *,
    name: str = "",
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> HeadHere:
    """Map a region with a head of elsewhere, and judge it by the labels of the region.

    Args:
        saved: of classes.
        raster: of the region.
        own: the region's labelled pixels; None where there are none.
        name: of the head.

    Raises:
        MixedDatasetsError: the head is of another dataset.
        HeadError: it maps values.
        Cancelled: ``cancelled`` said so.
    """
    made = map_classes_with(raster, saved, seed=seed, progress=progress, cancelled=cancelled)
    taught_here = own is not None and bool(saved.taught) and _taught_by(taught_of(saved, name), own)
    score = None if own is None or taught_here else score_elsewhere(saved, own)
    return HeadHere(name, made, score)


def taught_by_project(project: Project, raster: EmbeddingRaster, year: int | None = None, seed: int = 0) -> Taught:
    """The labelled pixels of a project in a year.

    Args:
        project: whose labels they are.
        raster: its embeddings of that year.
        year: to tell apart the years of a project of several; None where the embeddings have none.
        seed: of the draw, where there are very many.

    Raises:
        LabelError: it has no labels, or none where there are data.
    """
    labels = project_reference(project, raster)
    if not project.log.labels:
        raise LabelError(f"The project {project.name!r} has no labels yet.")
    return taught_in(place_name(project, year), raster, labels, seed)


def own_head(
    project: Project,
    raster: EmbeddingRaster,
    *,
    but: Collection[str] = (),
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> SavedHead:
    """The head of a project's own labels on its embeddings of a year, as :func:`tessera_core.heads.load_head` would give it.

    Args:
        project: whose labels they are.
        raster: its embeddings of that year.
        but: ids of labels that do not teach it.

    Raises:
        HeadError: the labels do not suffice.
        Cancelled: ``cancelled`` said so.
    """
    from tessera_core.heads import SavedHead

    head = project_head(project, raster, but=but, progress=progress, cancelled=cancelled)
    return SavedHead(head, {c.id: c.name for c in project.log.classes}, raster.provenance)


def place_name(project: Project, year: int | None) -> str:
    """What a project's year is called among the places that taught a head."""
    return f"{project.name} {year}" if year is not None and len(project.years) > 1 else project.name


def label_year(project: Project) -> int | None:
    """The year that a project's labels are of: as chosen, or the one in sight, or its only or latest one.

    Raises:
        ProjectError: it has no embeddings.
    """
    project.require_embeddings()
    for year in (project.settings.label_year, project.settings.year):
        if year in project.embeddings:
            return year
    return max(project.embeddings, key=lambda year: year or 0)
