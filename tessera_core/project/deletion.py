"""Deleting a project in a way that can be undone for a while, and a copy of a project under a name of its own."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from tessera_core._utils.locks import alone
from tessera_core.errors import ProjectError
from tessera_core.hosting import acting, acting_person, audit, hosted
from tessera_core.project.home import RecentProject, projects_home, remember
from tessera_core.project.project import Project
from tessera_core.project.project_files import LOGS
from tessera_core.project.room import note_owner, require_place

log = logging.getLogger(__name__)

KEPT_SECONDS = 3600
_DELETED = ".deleted"


@dataclass(frozen=True)
class Deleted:
    """A project that was deleted and can be brought back for an hour.

    Attributes:
        name: what it was called.
        folder: where it lay.
        kept: where its files lie meanwhile.
    """

    name: str
    folder: Path
    kept: Path


def delete(entry: RecentProject) -> Deleted:
    """Delete a project: its folder with uploaded data, or only its own files where it lies among a person's data.

    Raises:
        ProjectError: the system refuses.
    """
    sweep()
    home = projects_home()
    kept = home / _DELETED / secrets.token_hex(6)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        if entry.folder.parent == home.resolve():
            # In one step, so that nobody opens half a project; and while nobody saves a setting, who would make the folder anew.
            with nullcontext() if os.name == "nt" else alone(entry.folder / ".lock"):
                os.replace(entry.folder, kept)
        else:
            kept.mkdir()
            for name in ("project.json", *LOGS):
                if (entry.folder / name).exists():
                    shutil.move(entry.folder / name, kept / name)
            (entry.folder / ".lock").unlink(missing_ok=True)
        # When it was deleted, not when it was last changed.
        os.utime(kept)
    except OSError as error:
        raise ProjectError(f"{entry.folder} could not be deleted: {error.strerror or error}.") from error
    if hosted():
        audit.note("deleted a project", acting_person())
    return Deleted(entry.name, entry.folder, kept)


def restore(deleted: Deleted) -> Project:
    """Bring a deleted project back to where it was.

    Raises:
        ProjectError: it is gone for good, something else lies there now, or a server for strangers has no room for it.
    """
    if not deleted.kept.is_dir():
        raise ProjectError(f"{deleted.name} was deleted for good: it can be brought back for an hour only.")
    if hosted():
        require_place(acting())
    try:
        if deleted.folder.parent == projects_home().resolve():
            if Project.is_project(deleted.folder):
                raise ProjectError(f"Another project lies where {deleted.name} was; it stays deleted.")
            if deleted.folder.exists():
                # What work that went on in another tab has left there is no reason to lose the project.
                os.replace(deleted.folder, deleted.kept.with_name(f"{deleted.kept.name}-left"))
            os.replace(deleted.kept, deleted.folder)
        else:
            if Project.is_project(deleted.folder):
                raise ProjectError(f"Another project lies where {deleted.name} was; it stays deleted.")
            deleted.folder.mkdir(parents=True, exist_ok=True)
            for file in deleted.kept.iterdir():
                shutil.move(file, deleted.folder / file.name)
            deleted.kept.rmdir()
    except OSError as error:
        raise ProjectError(f"{deleted.name} could not be brought back: {error.strerror or error}.") from error
    project = Project.open(deleted.folder)
    # What makes room may have forgotten meanwhile whose it is.
    note_owner(deleted.folder, project.owner)
    remember(project)
    return project


def for_good(deleted: Deleted) -> None:
    """Remove what was deleted at once: it cannot be brought back."""
    shutil.rmtree(deleted.kept, ignore_errors=True)


def sweep(now: float | None = None) -> int:
    """Remove for good what was deleted more than an hour ago; returns how many.

    Args:
        now: seconds since 1970; for tests.
    """
    now = time.time() if now is None else now
    gone = 0
    for kept in projects_home().glob(f"{_DELETED}/*"):
        try:
            if now - kept.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(kept)
                gone += 1
        except OSError as error:
            log.warning("A deleted project could not be removed: %s", error)
    return gone


def duplicate(project: Project, name: str) -> Project:
    """A copy of a project with labels, plots, validation and settings of its own and the same embeddings; the original stays.

    Raises:
        ProjectError: it cannot be written, or a server for strangers has no room for it.
    """
    with tempfile.TemporaryDirectory(prefix=".upload-", dir=projects_home()) as folder:
        copy = Project.import_file(project.export_file(Path(folder) / "copy.tessera"))
    try:
        copy.update(name=name)
        for year, ref in sorted(project.embeddings.items(), key=lambda item: item[0] or 0):
            path, dpixels = _taken_along(ref.path, project, copy), None
            if ref.dpixels is not None:
                dpixels = _taken_along(ref.dpixels, project, copy)
            copy.attach_embeddings(year, path, ref.provenance, ref.grid, dpixels=dpixels)
    except BaseException:
        shutil.rmtree(copy.folder, ignore_errors=True)
        raise
    return copy


def _taken_along(path: Path, project: Project, copy: Project) -> Path:
    """Where the copy finds what the original refers to: what lies inside the original is copied."""
    inside = project.folder.resolve()
    if not path.resolve().is_relative_to(inside):
        return path
    target = copy.folder / path.resolve().relative_to(inside)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, target)
        else:
            shutil.copy2(path, target)
    return target
