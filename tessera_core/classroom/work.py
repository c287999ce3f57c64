"""What one learner handed in, read from their project: labels, the map these make, its honest score, answers and progress.

The map and the score are those that the learner saw: the project's own fit and score make them, on the embeddings of the class.
A project of this computer and a ``.tessera`` file are read by the same function.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import InputError, MixedDatasetsError, ProjectError
from tessera_core.grid import Grid
from tessera_core.labels.model import Label, LabelClass, clean_name
from tessera_core.labels.sampling import label_pixels, pixels_of_each
from tessera_core.project import validate
from tessera_core.project.project import Project
from tessera_core.project.settings import LessonProgress
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Cancel

if TYPE_CHECKING:
    from tessera_core.assess.live import LiveScore

# Settings that the map and the score hang on.
_SHAPING = ("head", "neighbourhood", "class_weight", "confidence_threshold", "schema", "post_processing", "least_seen")


@dataclass(frozen=True)
class Work:
    """What one learner handed in.

    Attributes:
        learner: nickname, unique among the works of a class.
        project: id of the project.
        origin: id of the project that it is a copy of, of the class's template for example.
        year: of the map; None where the embeddings have no calendar year.
        saved_at: seconds since 1970 of its last change.
        classes, labels: as the learner has them; coordinates in the CRS of the grid.
        map: uint8 (H, W) class ids of the learner, 0 where there is no data; None where the labels make no map.
        score: at places held out; None likewise.
        without_map: why there is no map; empty where there is one.
        validation: the learner's sample with its answers; None without one.
        lesson: how far their lesson has come; None where there is none.
        notes: what to mind, in sentences.
        stamp: changes with whatever the map and the score hang on.
    """

    learner: str
    project: str
    origin: str
    year: int | None
    saved_at: float
    classes: tuple[LabelClass, ...]
    labels: tuple[Label, ...] = field(repr=False)
    map: NDArray[np.uint8] | None = field(default=None, repr=False)
    score: LiveScore | None = field(default=None, repr=False)
    without_map: str = ""
    validation: validate.Validation | None = field(default=None, repr=False)
    lesson: LessonProgress | None = None
    notes: tuple[str, ...] = ()
    stamp: str = ""

    @property
    def accuracy(self) -> float | None:
        """Share of the labels that are right when their place is held out, 0..1; None where that is not known."""
        return None if self.score is None else self.score.accuracy

    @property
    def names(self) -> dict[int, str]:
        """Class id of the learner -> name."""
        return {one.id: one.name for one in self.classes}

    @property
    def counts(self) -> dict[str, int]:
        """Name of a class -> how many labels it has, classes without labels included."""
        counts = dict.fromkeys(self.names.values(), 0)
        for label in self.labels:
            if label.class_id in self.names:
                counts[self.names[label.class_id]] += 1
        return counts


def learner_of(project: Project, otherwise: str = "") -> str:
    """Under which name a project is handed in: its setting ``learner``, or else ``otherwise``, or else the project's name."""
    return clean_name(project.settings.learner or otherwise or project.name, 40) or "?"


def read_work(
    project: Project,
    raster: EmbeddingRaster,
    learner: str | None = None,
    *,
    known: Mapping[str, Work] | None = None,
    with_map: bool = True,
    cancelled: Cancel | None = None,
) -> Work:
    """What a learner's project holds, mapped on the embeddings of the class.

    Args:
        project: the learner's; it needs no embeddings of its own.
        raster: the embeddings of the class, of one year.
        learner: nickname; by default :func:`learner_of` the project.
        known: stamp -> what was read before, with a map or without as now; made anew only where labels or method have changed.
        with_map: also make the map; the score alone takes a fraction of the time.
        cancelled: asked often.

    Raises:
        ProjectError: the project is of another place, or of embeddings of another dataset.
        Cancelled: ``cancelled`` said so.
    """
    year = raster.provenance.year
    require_of_class(project, raster)
    log, notes = project.log, list(project.notes)
    stamp = _stamp(project, raster)
    try:
        sample = validate.load(project, year)
    except ProjectError as error:
        sample = None
        notes.append(str(error))
    facts: dict[str, Any] = {
        "learner": learner or learner_of(project),
        "project": project.id,
        "origin": project.origin,
        "year": year,
        "saved_at": project.saved_at,
        "classes": tuple(log.classes),
        "labels": tuple(log.labels),
        "validation": sample,
        "lesson": project.settings.lesson,
        "stamp": stamp,
    }
    outside = _outside(facts["labels"], raster.grid)
    if outside:
        notes.append(f"{outside} of {len(facts['labels'])} labels lie outside of the region of the class.")
    before = None if known is None else known.get(stamp)
    if before is not None:
        facts |= {"map": before.map, "score": before.score, "without_map": before.without_map}
    else:
        facts |= _mapped(project, raster, with_map, cancelled)
    return Work(**facts, notes=tuple(notes))


def require_of_class(project: Project, raster: EmbeddingRaster) -> None:
    """Refuse a project that is not of the place and the embeddings of a class.

    Raises:
        ProjectError: it is not; says why in one sentence.
    """
    grids = _grids(project)
    if not grids:
        raise ProjectError(
            f"The project {project.name!r} has no region yet; open the pack of the class and label there."
        )
    if not any(_overlap(grid, raster.grid) for grid, _ in grids):
        raise ProjectError(f"The project {project.name!r} is of another place than the class; ask for the right file.")
    try:
        grids[0][1].require_same_dataset(raster.provenance, "one class")
    except MixedDatasetsError as error:
        raise ProjectError(
            f"The project {project.name!r} is made on other embeddings ({grids[0][1].dataset}) than those of the class "
            f"({raster.provenance.dataset}); start from the pack of the class."
        ) from error


def _grids(project: Project) -> list[tuple[Grid, Provenance]]:
    there = [(ref.grid, ref.provenance) for ref in project.embeddings.values()]
    return there + [(want.grid, want.provenance) for want in project.wanted.values()]


def _overlap(first: Grid, second: Grid) -> bool:
    if first.crs != second.crs or (first.crs is None and first.shape != second.shape):
        return False
    (w, s, e, n), (west, south, east, north) = first.bounds, second.bounds
    return bool(w < east and west < e and s < north and south < n)


def _outside(labels: tuple[Label, ...], grid: Grid) -> int:
    """How many labels have no place of theirs on a grid."""
    real = [label for label in labels if label.kind != "erase"]
    return len(real) - len(np.unique(pixels_of_each(real, grid)[1])) if real else 0


def _mapped(project: Project, raster: EmbeddingRaster, with_map: bool, cancelled: Cancel | None) -> dict[str, Any]:
    from tessera_core.project.classify import head_choice, label_samples, map_project, score_samples

    log = project.log
    taught = np.unique(label_pixels(log.labels, raster.grid).class_ids)
    if len(taught) < 2:
        what = "no class" if not len(taught) else f"only {project.log.label_class(int(taught[0])).name}"
        return {"map": None, "score": None, "without_map": f"There is no map yet: {what} has labels; two are needed."}
    try:
        made = map_project(project, raster, raster.provenance.year, cancelled).map.classes if with_map else None
        samples = label_samples(log.labels, log.classes, raster)
        score = score_samples(samples, head_choice(project), naive=False, cancelled=cancelled)
    except InputError as error:
        return {"map": None, "score": None, "without_map": str(error)}
    return {"map": made, "score": score, "without_map": ""}


def _stamp(project: Project, raster: EmbeddingRaster) -> str:
    settings = project.settings.to_json()
    facts = [
        [label.to_json() for label in project.log.labels],
        [one.to_json() for one in project.log.classes],
        {name: settings.get(name) for name in _SHAPING},
        raster.provenance.to_json(),
        raster.grid.to_json(),
    ]
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()
