"""A file of labels on a project's grid, whatever kind it is; the one way in for the command line and for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tessera_core.errors import InputError

if TYPE_CHECKING:
    from tessera_core.labels.features import Hints
    from tessera_core.labels.importing import ImportedLabels
    from tessera_core.project.project import Project

PER_CLASS = 20


def read_for(
    project: Project,
    file: str | Path,
    field: str | None = None,
    crs: str | None = None,
    hints: Hints | None = None,
    per_class: int = PER_CLASS,
) -> ImportedLabels:
    """The labels of a file on a project's grid.

    Args:
        project: has embeddings.
        file: vector file, table or class raster.
        field, crs, hints: as of :func:`tessera_core.labels.files.read_labels`.
        per_class: most points of a class that are drawn from a raster.

    Raises:
        InputError: the project has no embeddings yet, the file is not usable, or not one label lies on the grid.
    """
    from tessera_core.labels.features import Hints
    from tessera_core.labels.files import is_class_raster, read_labels
    from tessera_core.labels.raster_points import raster_points

    if project.grid is None:
        raise InputError(f"The project {project.name!r} has no embeddings yet, and so no region to take labels into.")
    if is_class_raster(file):
        found = raster_points(file, project.grid, per_class)
    else:
        known = {c.id: c.name for c in project.log.classes}
        found = read_labels(file, project.grid, field, crs, hints or Hints(), known)
    if not found.labels:
        raise InputError(
            f"Not one label of {Path(file).name} lies in the region of {project.name!r}; nothing was added. "
            + " ".join(found.report.skipped)
        )
    return found
