"""All that a class has made: its map, who disagrees with whom, all labels as one head, and how right these are.

One function for the board of a server and for files that were handed in, so that both show the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tessera_core.classroom.consensus import Consensus, Departure, Disagreement, departures, disagreement, vote
from tessera_core.classroom.judging import Judged, Truth, judge, shared_sample, simulated_truth
from tessera_core.classroom.matching import Legend, match_classes
from tessera_core.classroom.pooled import PooledMap, pooled_map
from tessera_core.classroom.work import Work
from tessera_core.errors import InputError, ProjectError
from tessera_core.grid import Grid
from tessera_core.project import validate
from tessera_core.project.project import Project
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Cancel, Progress


@dataclass(frozen=True)
class Together:
    """What a class has made.

    Attributes:
        works: of all learners, in the order of their nicknames.
        legend: of the class map.
        consensus, disagreement: None where nobody has a map.
        departures: what each learner sees differently from the class, who differs most first.
        pooled: all labels as one head; None where they do not suffice.
        judged: how right all maps are; None where nobody can tell.
        notes: what to mind, in sentences.
        grid, provenance: of the embeddings of the class.
    """

    works: tuple[Work, ...]
    legend: Legend
    consensus: Consensus | None
    disagreement: Disagreement | None
    departures: tuple[Departure, ...]
    pooled: PooledMap | None
    judged: Judged | None
    notes: tuple[str, ...]
    grid: Grid = field(repr=False)
    provenance: Provenance = field(repr=False)


def year_of(template: Project) -> int | None:
    """The year that the map of a class is of: the one the template's labels are of, or its newest.

    Raises:
        ProjectError: the template has no embeddings here.
    """
    template.require_embeddings()
    for year in (template.settings.label_year, template.settings.year):
        if year in template.embeddings:
            return year
    return max(template.years, default=None)


def together(
    works: Sequence[Work],
    template: Project,
    raster: EmbeddingRaster,
    *,
    pooling: bool = True,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Together:
    """The map of a class with all that is known of it.

    Args:
        works: of all learners; their order does not matter.
        template: the project that learners started from, on this computer.
        raster: its embeddings, the same that the works were read with.
        pooling: also all labels as one head, which takes a moment.
        progress, cancelled: see docs/architecture.md.

    Raises:
        InputError: two learners have the same nickname, or there are more classes than a map can have.
        Cancelled: ``cancelled`` said so.
    """
    works = tuple(sorted(works, key=lambda work: work.learner))
    known = template.log.classes
    legend = match_classes(works, known, template.origin)
    made = parted = pooled = None
    apart: tuple[Departure, ...] = ()
    if any(work.map is not None for work in works):
        made = vote(works, legend, progress=progress, cancelled=cancelled)
        parted = disagreement(works, legend, cancelled)
        apart = tuple(departures(works, legend, made))
    notes = list(_notes(works, legend, made))
    if pooling:
        try:
            pooled = pooled_map(works, legend, raster, cancelled=cancelled)
        except InputError as error:
            notes.append(str(error))
        else:
            notes += _pooling_notes(pooled)
    truth, remarks = _truth(works, template, raster, legend)
    notes += remarks
    judged = None
    if truth is not None:
        judged = judge(
            truth,
            works,
            legend,
            None if made is None else made.classes,
            None if pooled is None else pooled.classes,
        )
    return Together(works, legend, made, parted, apart, pooled, judged, tuple(notes), raster.grid, raster.provenance)


def write_together(found: Together, folder: str | Path) -> list[Path]:
    """Write the class map, how much the class agrees, and the map of all labels as Cloud Optimized GeoTIFF with styles for QGIS.

    Returns:
        ``class-map.tif``, ``class-map_agreement.tif`` and, where there is one, ``pooled-map.tif``.

    Raises:
        InputError: nobody has a map.
        ExportError: a file cannot be written.
    """
    from tessera_core.export.geotiff import write_class_map, write_confidence

    if found.consensus is None:
        raise InputError("Nobody has a map yet: each learner has to label places of two classes.")
    folder = Path(folder)
    tags = {"tessera_made_by": f"a vote of {len(found.consensus.weights)} learners"}
    legend, grid, provenance = found.legend.classes, found.grid, found.provenance
    files = [
        write_class_map(folder / "class-map.tif", found.consensus.classes, None, grid, legend, provenance, tags=tags),
        write_confidence(folder / "class-map_agreement.tif", found.consensus.share, grid, provenance),
    ]
    if found.pooled is not None:
        tags = {"tessera_made_by": f"all labels of {len(found.works)} learners as one head"}
        files.append(
            write_class_map(folder / "pooled-map.tif", found.pooled.classes, None, grid, legend, provenance, tags=tags)
        )
    return files


def _truth(
    works: Sequence[Work], template: Project, raster: EmbeddingRaster, legend: Legend
) -> tuple[Truth | None, list[str]]:
    """What maps can be compared with, and what to mind: the simulated truth, or a sample that the class shares."""
    simulated = simulated_truth(template, raster.provenance.year, legend)
    if simulated is not None and simulated.classes is not None:
        there = set(np.unique(simulated.classes).tolist())
        strange = [repr(one.name) for one in legend.classes if one.id not in there]
        told = f"The simulated place has nothing called {', '.join(strange)}; what really is there is not judged."
        return simulated, [told] if strange else []
    # Ids of the template are those of the legend.
    try:
        teachers = validate.load(template, raster.provenance.year)
    except ProjectError as error:
        return shared_sample(works, legend), [str(error)]
    return shared_sample(works, legend, teachers), []


def _notes(works: Sequence[Work], legend: Legend, made: Consensus | None) -> list[str]:
    notes = []
    for work in works:
        notes += [f"{work.learner}: {note}" for note in work.notes]
        if work.map is None:
            notes.append(f"{work.learner} has no vote. {work.without_map}")
        for own, name in legend.renamed.get(work.learner, {}).items():
            notes.append(f"{work.learner} calls {name} {own!r}; it counts as {name}.")
        if names := legend.unmatched.get(work.learner):
            pixels = 0 if made is None else made.unmatched.get(work.learner, 0)
            listed = ", ".join(map(repr, names))
            notes.append(f"{work.learner} alone has {listed}; {pixels:,} pixels mapped so cast no vote.")
    if made is not None and made.equal:
        notes.append("All votes count the same, because nobody has a score better than guessing yet.")
    return notes


def _pooling_notes(pooled: PooledMap) -> list[str]:
    labels, notes = pooled.labels, []
    if labels.conflicts:
        (first, second), _ = next(iter(labels.disputes.items()))
        notes.append(
            f"{labels.conflicts:,} of {labels.pixels:,} labelled pixels have different classes from different learners, most often "
            f"{first} and {second}; {labels.undecided:,} are left out, as many say the one as the other."
        )
    if labels.unmatched:
        notes.append(
            f"{labels.unmatched:,} labelled pixels are of classes that are none of the class map; they teach nothing."
        )
    return notes
