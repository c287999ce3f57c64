"""Places of one map: projects whose labels teach one head, and between which a person goes as between rooms of one house.

Each place is a project as any other, with a region, years and labels of its own. What makes them one is a mark in the settings of
each, so that none of them is the first, and one that is deleted, renamed or moved leaves the others whole
(docs/adr/0026-places-are-projects.md). Only projects that this person has are looked at, whatever a file of somebody else says.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tessera_core.errors import MixedDatasetsError, ProjectError, TesseraError
from tessera_core.project.home import RecentProject, recent_projects, remember
from tessera_core.project.project import Project
from tessera_core.project.project_files import read_file, saved_logs, stamp_of

# As many as one sees at a glance, and as are opened in a moment.
MOST = 24


@dataclass(frozen=True)
class Place:
    """A place of a map.

    Attributes:
        folder: of its project.
        name: of its project.
        labels: of any class.
    """

    folder: Path
    name: str
    labels: int


def places_of(project: Project, known: Iterable[RecentProject] | None = None) -> tuple[Place, ...]:
    """The places of the map that a project is part of, itself among them, by name; none where it stands for itself.

    A copy of a place is not another place: its labels would be judged by themselves.

    Args:
        project: one of them.
        known: projects of this person; None for all of them.
    """
    mark = project.settings.together
    if mark is None:
        return ()
    here, origins = project.folder.resolve(), {project.origin}
    found = [Place(here, project.name, len(project.log.labels))]
    for entry in recent_projects(limit=None) if known is None else known:
        if entry.folder.resolve() == here or entry.dataset is None or entry.dataset != project.dataset:
            continue
        try:
            origin, its_mark = _marked(entry.folder, stamp_of(entry.folder / "project.json"))
            if its_mark != mark or origin in origins:
                continue
            labels = _labels(entry.folder, tuple(stamp_of(log) for log in sorted(saved_logs(entry.folder))))
            found.append(Place(entry.folder, entry.name, labels))
        except (TesseraError, OSError):
            # Deleted or damaged meanwhile; the list of projects says so.
            continue
        origins.add(origin)
        if len(found) == MOST:
            break
    return tuple(sorted(found, key=lambda place: (place.name.casefold(), str(place.folder)))) if len(found) > 1 else ()


def add_place(project: Project, folder: Path) -> None:
    """Make the project in ``folder`` a place of the map of ``project``; another map that it was part of goes on without it.

    Both are in the list of this person's projects then, wherever they lie.

    A project that stands for itself joins the map of the other instead, with all its places, which the page shows then.

    Raises:
        MixedDatasetsError: their embeddings are of different datasets.
        ProjectError: it is the project itself or a copy of it, or there are too many.
    """
    # Another tab, or the other place, may have changed whom it belongs to.
    project.refresh()
    other = Project.open(folder)
    if other.origin == project.origin:
        raise ProjectError(
            f"{other.name} is a copy of {project.name} or the project itself; its labels would be judged by themselves."
        )
    if project.dataset is None or other.dataset is None:
        raise ProjectError(f"{(project if project.dataset is None else other).name} has no embeddings yet.")
    if project.dataset != other.dataset:
        raise MixedDatasetsError(project.dataset, other.dataset, "one map of several places")
    mine, theirs = places_of(project), places_of(other)
    if len(mine or theirs) >= MOST:
        raise ProjectError(f"A map has at most {MOST} places; take one out first.")
    # A mark may be left of a map whose other places are gone.
    marks = (project, other) if mine or not theirs else (other,)
    # Only projects in the list of this person are found as places.
    for one in (project, other):
        remember(one)
    mark = next((one.settings.together for one in marks if one.settings.together), None) or secrets.token_hex(8)
    for one in (project, other):
        if one.settings.together != mark:
            one.update(together=mark)


def take_out(project: Project, folder: Path) -> None:
    """Take a place out of the map of ``project``; what is left keeps its mark, since not all of it need be readable now."""
    project.refresh()
    other = Project.open(folder)
    if is_place(project, other):
        other.update(together=None)
    project.refresh()


def is_place(project: Project, other: Project) -> bool:
    """Whether two projects, as they are in memory, have the mark of one map; a project that is part of one has its own."""
    mark = project.settings.together
    return mark is not None and other.settings.together == mark


def content_of(found: Iterable[Place]) -> str:
    """Names what the map of these places would be made of: their labels, and their embeddings and years."""
    digest = hashlib.blake2b(digest_size=12)
    for place in found:
        try:
            settings = (data := read_file(place.folder))["settings"]
            made_of = [data["embeddings"], settings.get("label_year"), settings.get("year")]
            stamps = [stamp_of(log) for log in sorted(saved_logs(place.folder))]
        except (TesseraError, OSError):
            # Gone meanwhile; whoever makes the map says so.
            made_of, stamps = [], []
        digest.update(json.dumps([str(place.folder), place.name, made_of, stamps], sort_keys=True).encode())
    return digest.hexdigest()


type _Stamp = tuple[int, int, int]


@lru_cache(maxsize=256)
def _marked(folder: Path, _of: _Stamp) -> tuple[str, str | None]:
    """Origin and mark of a project whose file has not changed."""
    data = read_file(folder)
    mark = data["settings"].get("together")
    return str(data.get("origin", data["id"])), mark if isinstance(mark, str) else None


@lru_cache(maxsize=256)
def _labels(folder: Path, _of: tuple[_Stamp, ...]) -> int:
    return len(Project.open(folder).log.labels)
