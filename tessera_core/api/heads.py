"""Heads of the front door: taught in many places, kept, taught further, and set to watch a place from year to year."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tessera_core.api.arguments import checked
from tessera_core.errors import InputError
from tessera_core.project.project import Project
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Cancel, Progress

if TYPE_CHECKING:
    from tessera_core.api.maps import AnyHead
    from tessera_core.assess.reference import Reference
    from tessera_core.heads import SavedHead
    from tessera_core.project.joint_heads import Taught
    from tessera_core.project.maps import MappedClasses
    from tessera_core.project.monitor import NewPlaces, Reviewed
    from tessera_core.project.saved_heads import KeptHead
    from tessera_core.project.teaching import JointHead

    type Places = Mapping[str, tuple[EmbeddingRaster, Reference]] | Iterable[Project]


@checked
def teach_head(
    places: Places,
    head: AnyHead | SavedHead = "prototype",
    *,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> JointHead:
    """One head from labels in several regions, years or projects of one dataset; each is held out once as a whole.

    Args:
        places: name -> (embeddings, labels on them), or projects, whose labels and embeddings are taken.
        head: as for :func:`map_classes`; a saved head that carries what taught it (as those of this function do) is taught further:
            its former places are kept, and labels of now replace those of then where a place is among them already.
        seed: of everything random.
        progress, cancelled: see the module.

    Returns:
        ``saved``, to be given to :func:`map_classes`; ``elsewhere``, how right it is in each place when that place teaches it
        nothing; ``sentences()``; ``save(path)``.

    Raises:
        MixedDatasetsError: the places are of several datasets.
        HeadError: the labels do not suffice, the head looks around a pixel, or it cannot be taught further.

    Example:
        >>> earlier = tessera.open(region.embeddings[2023])
        >>> truth = tessera.read_labels(region.truth[2023], like=earlier)
        >>> joint = tessera.teach_head({"Kent": (raster, labels), "Essex": (earlier, truth)})
        >>> [one.place for one in joint.elsewhere]
        ['Kent', 'Essex']
        >>> joint.save("crops.safetensors").name
        'crops.safetensors'
        >>> tessera.map_classes(raster, head=tessera.load_head("crops.safetensors")).classes.shape
        (96, 96)
    """
    from tessera_core.api.maps import _choice
    from tessera_core.heads import SavedHead
    from tessera_core.project import teaching

    parts = _parts(places, seed)
    if isinstance(head, SavedHead):
        return teaching.teach_further(head, parts, seed=seed, progress=progress, cancelled=cancelled)
    return teaching.teach(parts, _choice(head), seed=seed, progress=progress, cancelled=cancelled)


def _pair(name: str, given: object) -> tuple[EmbeddingRaster, Reference]:
    """Embeddings and the labels on them, of one place."""
    from tessera_core.assess.reference import Reference

    match given:
        case (EmbeddingRaster() as raster, Reference() as labels):
            return raster, labels
    raise InputError(
        f"The place {name!r} has to be (embeddings, labels): of tessera.open(path), and of "
        f"tessera.read_labels(file, like=raster); this is of the kind {type(given).__name__}."
    )


def _parts(places: Places, seed: int) -> list[Taught]:
    from tessera_core.project.joint_heads import taught_in
    from tessera_core.project.teaching import label_year, taught_by_project
    from tessera_core.sources.local.open import open_embeddings

    if isinstance(places, Mapping):
        return [taught_in(name, *_pair(name, one), seed) for name, one in places.items()]
    projects = [places] if isinstance(places, Project) else list(places) if isinstance(places, Iterable) else [None]
    if not all(isinstance(one, Project) for one in projects):
        raise InputError(
            "places of teach_head() has to be a dictionary, name: (embeddings, labels), or projects, as "
            f"tessera.Project.open(path) gives them; this is of the kind {type(places).__name__}."
        )
    found = []
    for project in projects:
        year = label_year(project)
        raster = open_embeddings(project.embeddings_path(year), year=year)
        found.append(taught_by_project(project, raster, year, seed))
    return found


@checked
def keep_head(
    head: str | os.PathLike[str] | MappedClasses | JointHead, name: str, *, replace: bool = False
) -> KeptHead:
    """Keep a head under a name on this computer; app and command line find it there, and so does :func:`load_head`.

    Args:
        head: a file, a map whose head is meant, or what :func:`teach_head` gave.
        name: letters, digits, spaces, dots, dashes and underscores.
        replace: the head that has the name already.

    Raises:
        InputError: the name cannot be used, or is taken.
        HeadError: there is no such head, or it cannot be saved.

    Example:
        >>> kept = tessera.keep_head(made, "fields of this example", replace=True)
        >>> kept.classes == tuple(made.names.values())
        True
        >>> tessera.load_head("fields of this example").class_names == made.names
        True
        >>> "fields of this example" in [one.name for one in tessera.kept_heads()]
        True
    """
    from tessera_core.project import saved_heads
    from tessera_core.project.teaching import JointHead

    if isinstance(head, str | os.PathLike):
        return saved_heads.keep_head(Path(head), name, replace=replace)
    with tempfile.TemporaryDirectory(prefix="tessera-head-") as folder:
        path = Path(folder) / f"head{saved_heads.SUFFIX}"
        if isinstance(head, JointHead):
            head.save(path)
        else:
            head.save_head(path)
        return saved_heads.keep_head(path, name, replace=replace)


def kept_heads() -> list[KeptHead]:
    """The heads that are kept on this computer, by name, with what is known of each.

    Example:
        >>> isinstance(tessera.kept_heads(), list)
        True
    """
    from tessera_core.project import saved_heads

    return saved_heads.kept_heads()


@checked
def find_new(
    head: SavedHead,
    before: EmbeddingRaster,
    now: EmbeddingRaster,
    *,
    rate: float = 0.05,
    smallest: int = 4,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> NewPlaces:
    """What is new in a year (monitoring): places to which a head gives another class than before, where embeddings changed too.

    Args:
        head: of classes, of :func:`load_head` or ``teach_head(...).saved``.
        before, now: embeddings of the earlier and the later year on one grid.
        rate: false-discovery rate of the change of embeddings.
        smallest: pixels of the smallest place.
        seed: of everything random.

    Returns:
        ``places``, the largest first; ``sentences()``; ``write(path)``, a list to review for QGIS or a spreadsheet.

    Raises:
        MixedDatasetsError: the head is of another dataset.
        RasterError: the two years lie on different grids.

    Example:
        >>> earlier = tessera.open(region.embeddings[2023])
        >>> path = made.save_head("watch.safetensors")
        >>> news = tessera.find_new(tessera.load_head(path), earlier, raster)
        >>> news.write("new.gpkg").name, len(news.places) > 0
        ('new.gpkg', True)
    """
    from tessera_core.project import monitor

    return monitor.find_new(
        head, before, now, rate=rate, smallest=smallest, seed=seed, progress=progress, cancelled=cancelled
    )


@checked
def read_review(file: str | os.PathLike[str]) -> Reviewed:
    """Verdicts of a list of :func:`find_new` that somebody went through: kept places are of the new class, rejected of the former.

    Args:
        file: the list with ``keep`` or ``reject`` in its column ``verdict``.

    Returns:
        ``kept``, ``rejected``, ``open``, and ``write(path)``, which makes labels for :func:`read_labels`.

    Raises:
        LabelError: the file cannot be read, or is no such list.

    Example:
        >>> path = made.save_head("watch.safetensors")
        >>> news = tessera.find_new(tessera.load_head(path), tessera.open(region.embeddings[2023]), raster)
        >>> read = tessera.read_review(news.write("new.gpkg"))
        >>> read.kept, read.open == len(news.places)
        (0, True)
    """
    from tessera_core.project import monitor

    return monitor.read_review(Path(file))
