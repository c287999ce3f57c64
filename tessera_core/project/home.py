"""The projects of this computer: where they are kept, which were used lately, and which one an address names."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tessera_core._utils.atomic import write_json
from tessera_core._utils.paths import projects_home as projects_home
from tessera_core.errors import Hint, ProjectError
from tessera_core.hosting import acting, hosted
from tessera_core.project.links import linked_folder
from tessera_core.project.project import Project
from tessera_core.project.project_files import read_file, saved_logs, stamp_of
from tessera_core.project.room import owned


@dataclass(frozen=True)
class RecentProject:
    """An entry of the list of projects: where it is, what it is called, when it was last changed."""

    folder: Path
    name: str
    saved_at: float
    dataset: str | None


def recent_projects(limit: int | None = 20, *, everyone: bool = False) -> list[RecentProject]:
    """Projects under :func:`projects_home` and remembered ones, last changed first; unreadable ones are left out.

    ``limit`` is how many at most, None for all. On a server for strangers only those of the visitor that it works for, unless
    ``everyone``'s are asked for.
    """
    if hosted() and not everyone:
        folders = {folder.resolve() for folder in owned(acting())}
    else:
        folders = {path.parent.resolve() for path in projects_home().glob("*/project.json")}
        folders |= {Path(path) for path in _remembered() if Project.is_project(path)}
    found = []
    for folder in folders:
        try:
            name, modified, dataset = _facts(folder, stamp_of(folder / "project.json"))
            saved = max(modified, *(log.stat().st_mtime for log in saved_logs(folder)), 0.0)
        except (ProjectError, OSError):
            # Damaged, or deleted while one looks.
            continue
        found.append(RecentProject(folder, name, saved, dataset))
    return sorted(found, key=lambda item: (-item.saved_at, str(item.folder)))[:limit]


@lru_cache(maxsize=1024)
def _facts(folder: Path, _of: tuple[int, int, int]) -> tuple[str, float, str | None]:
    """Name, time of the last change and dataset of a project whose file has not changed."""
    data = read_file(folder)
    return data["name"], float(data["modified"]), data["dataset"]


def folder_of(link: str) -> Path:
    """The folder of the project that ``link``, of :func:`tessera_core.project.links.link_of`, names in an address.

    Raises:
        ProjectError: there is no such project.
    """
    folder = linked_folder(link, (Path(path) for path in _remembered() if Project.is_project(path)))
    if folder is None:
        raise ProjectError(
            "The project in the address is not on this computer (any more). Choose another.", hint=Hint.REGION
        )
    return folder


def remember(project: Project) -> None:
    """Keep a project outside :func:`projects_home` in the list of :func:`recent_projects`."""
    folder = str(project.folder.resolve())
    if project.folder.resolve().parent != projects_home().resolve():
        write_json(projects_home() / "elsewhere.json", [folder, *(p for p in _remembered() if p != folder)][:100])


def _remembered() -> list[str]:
    try:
        value = json.loads((projects_home() / "elsewhere.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
