"""A project's head to take along: for Tessera Studio elsewhere, or for another program, with a card of what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core.periods import written
from tessera_core.project.classify import ProjectMap, project_reference, score_labels, what_was_seen

if TYPE_CHECKING:
    from tessera_core.assess.live import LiveScore
    from tessera_core.heads import PortableHead
    from tessera_core.project.project import Project
    from tessera_core.provenance import Provenance
    from tessera_core.raster import EmbeddingRaster
    from tessera_core.types import Cancel

STUDIO = ".safetensors"


def training_card(
    labels: Mapping[str, int],
    score: LiveScore | None,
    provenance: Provenance,
    name: str = "",
    notes: tuple[str, ...] = (),
) -> dict[str, Any]:
    """What whoever maps with a head should know, as JSON values.

    Args:
        labels: how many taught it, by the name of the class.
        score: how good it is at places held out; None where nobody looked.
        provenance: of the embeddings that taught it.
        name: of the project.
        notes: what else to mind.
    """
    return {
        "name": name,
        "labels": dict(labels),
        "score": {} if score is None else score.to_json(),
        "dataset": provenance.dataset,
        "year": written(provenance.year),
        "notes": list(notes),
    }


def portable_head(
    project: Project, raster: EmbeddingRaster, made: ProjectMap, *, cancelled: Cancel | None = None
) -> PortableHead:
    """The head of a project's map with its classes, card, and what tells other ground.

    Raises:
        HeadError: the head is of a kind that cannot be carried; told before anything is scored.
        Cancelled: ``cancelled`` said so.
    """
    from dataclasses import replace

    from tessera_core.heads import PortableHead
    from tessera_core.project.classify import head_choice

    log, provenance = project.log, raster.provenance
    names, colors = {c.id: c.name for c in log.classes}, {c.id: c.color for c in log.classes}
    carried = PortableHead.of(made.head, names, provenance, colors=colors)
    score = score_labels(log.labels, log.classes, raster, head_choice(project), cancelled=cancelled)
    counts = {c.name: log.counts[c.id] for c in log.classes if log.counts[c.id]}
    post_processed = "The project's map was post-processed afterwards, which the head does not do."
    notes = (post_processed,) if project.settings.post_processing is not None else ()
    card = training_card(counts, score, provenance, project.name, notes)
    return replace(carried, card=card, seen=what_was_seen(project_reference(project, raster), raster))


def write_project_head(
    path: str | Path, project: Project, raster: EmbeddingRaster, made: ProjectMap, *, cancelled: Cancel | None = None
) -> Path:
    """Write the head of a project's map; the ending says for whom: ``.safetensors`` or one of
    :data:`tessera_core.export.head_formula.ENDINGS`.

    Raises:
        InputError, HeadError: the ending is none, or the head cannot be written in this form.
        ExportError: the file cannot be written.
        Cancelled: ``cancelled`` said so.
    """
    from tessera_core.export.head_formula import write_head
    from tessera_core.heads import save_head

    if Path(path).suffix.lower() == STUDIO:
        names = {c.id: c.name for c in project.log.classes}
        return save_head(
            path, made.head, names, raster.provenance, what_was_seen(project_reference(project, raster), raster)
        )
    return write_head(path, portable_head(project, raster, made, cancelled=cancelled))
