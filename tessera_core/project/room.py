"""Room for projects on a server for strangers: whose a project is, how many there may be, how large, and when old ones go.

Nothing here limits a person's own computer.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tessera_core._utils.atomic import write_json
from tessera_core._utils.paths import projects_home
from tessera_core.errors import Hint, ProjectError
from tessera_core.hosting import Limits, Role, acting_person, audit, hosted
from tessera_core.hosting.people import ROLES

log = logging.getLogger(__name__)

_OWNERS = ".owners"
_USED = ".used"
_PERSON = ".person"
_MEASURE_SECONDS = 60.0
_HALF_MADE_SECONDS = 86_400.0
_measured: dict[Path, tuple[float, int]] = {}


def note_owner(folder: Path, owner: str) -> None:
    """Note whose project lies in a folder under :func:`~tessera_core._utils.paths.projects_home`; it is in use.

    A folder elsewhere, where a file is only looked into, is nobody's project.
    """
    if hosted() and owner and folder.resolve().parent == projects_home().resolve():
        place = _notes_of(owner)
        place.mkdir(parents=True, exist_ok=True)
        person = acting_person()
        if not (place / folder.name).exists():
            audit.note("has one project more", person)
        (place / folder.name).touch()
        about = {"called": person.called, "role": person.role}
        if person.key == owner and about != _about(place):
            # How long projects are kept may depend on it, and is asked when nobody is there.
            write_json(place / _PERSON, about)
    note_use(folder)


def owned(owner: str) -> list[Path]:
    """Folders of the projects of a visitor."""
    place = _notes_of(owner)
    notes = place.iterdir() if owner and place.is_dir() else ()
    folders = (projects_home() / note.name for note in notes if note.name != _PERSON)
    return sorted(folder for folder in folders if (folder / "project.json").is_file())


def hand_over(before: str, owner: str) -> int:
    """Give a person the projects that they made as another, before they signed in; returns how many.

    What is open stays open: the addresses of the projects do not change.
    """
    if not hosted() or not before or not owner or before == owner:
        return 0
    folders = owned(before)
    for folder in folders:
        # First the new note, then the old: a project that is stopped between is in both lists rather than in none.
        note_owner(folder, owner)
        (_notes_of(before) / folder.name).unlink(missing_ok=True)
    return len(folders)


def pass_on(folder: Path, before: str, owner: str) -> None:
    """Give one project to another person, as when they come back in another browser."""
    if not hosted() or not owner or before == owner:
        return
    note_owner(folder, owner)
    if before:
        (_notes_of(before) / folder.name).unlink(missing_ok=True)


def require_place(owner: str) -> None:
    """Refuse a new project where a server for strangers has as many as its owner allows.

    Raises:
        ProjectError: the visitor has enough projects, or the server is full.
    """
    if not hosted():
        return
    limits = Limits.read(acting_person().role)
    mine = owned(owner)
    if len(mine) >= limits.projects:
        many = "1 project" if limits.projects == 1 else f"{limits.projects} projects"
        raise ProjectError(
            f"You have {many} on this server, as many as each visitor may have. Save one as a file and delete it to make room.",
            hint=Hint.REGION,
        )
    if (megabytes := sum(map(size_of, mine)) / 1e6) >= limits.person_mb:
        raise ProjectError(
            f"Your projects on this server have {megabytes:.0f} MB, and each visitor may have {limits.person_mb}. Save one as a "
            "file and delete it to make room.",
            hint=Hint.REGION,
        )
    there = count()
    gigabytes = used_bytes(projects_home()) / 1e9
    if there >= limits.all_projects or gigabytes >= limits.disk_gb:
        raise ProjectError(
            f"This server is full: it holds {there} projects of {gigabytes:.1f} GB, as many as its owner allows. Yours are safe. "
            "Ask its owner to make room, or run Tessera Studio on your own computer."
        )


def require_size(size: int, what: str) -> None:
    """Refuse what is larger than a project may be on a server for strangers.

    Raises:
        ProjectError: it is; ``what`` says what.
    """
    if hosted() and size > (limit := Limits.read(acting_person().role).project_mb) * 1_000_000:
        raise ProjectError(
            f"{what} has {size / 1e6:.0f} MB, and a project on this server may have {limit}. Choose a smaller region, or run "
            "Tessera Studio on your own computer."
        )


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except FileNotFoundError:
                continue
    return total


def used_bytes(home: Path) -> int:
    """Bytes of all projects; measured once a minute, since there may be many."""
    now = time.monotonic()
    known = _measured.get(home)
    if known is None or now - known[0] > _MEASURE_SECONDS:
        known = _measured[home] = (now, size_of(home))
    return known[1]


def note_use(folder: Path) -> None:
    """Note that somebody uses a project, so that it does not grow old; writes once an hour at most."""
    if not hosted():
        return
    mark = folder / _USED
    if not mark.exists() or time.time() - mark.stat().st_mtime > 3600:
        mark.touch()


def days_left(folder: Path, now: float | None = None) -> int | None:
    """In how many days a project is removed unless somebody uses it, where that is soon; None otherwise.

    It is not used by being listed, so that this can be said before it is too late; opening it is enough to keep it.
    """
    if not hosted():
        return None
    limits = Limits.read(acting_person().role)
    now = time.time() if now is None else now
    left = limits.keep_days - (now - _last_use(folder)) / 86_400
    return max(int(left), 0) if left <= min(limits.notice_days, limits.keep_days / 2) else None


def remove_old(days: float | None = None, now: float | None = None) -> list[str]:
    """Remove the projects of a server for strangers that nobody used for a while, and what was left half made.

    Args:
        days: unused for so long; by default what the server's limits say, for each as the role of its owner has it.
        now: seconds since 1970; for tests.

    Returns:
        Names of the folders removed. Nothing on a person's own computer.
    """
    if not hosted():
        return []
    now = time.time() if now is None else now
    home, removed = projects_home(), []
    roles = {} if days is not None else _roles(home)
    for folder in list(_folders(home)):
        whole = (folder / "project.json").is_file()
        kept = Limits.read(roles.get(folder.name)).keep_days if days is None else days
        if now - _last_use(folder) <= (kept * 86_400 if whole else _HALF_MADE_SECONDS):
            continue
        try:
            # Gone in one step, so that nobody opens half a project.
            os.replace(folder, home / f".removed-{folder.name}")
        except OSError as error:
            log.warning("An old project could not be removed: %s", error)
            continue
        removed.append(folder.name)
    for left in (*home.glob(".removed-*"), *home.glob(".upload-*")):
        if left.name.startswith(".removed-") or now - left.stat().st_mtime > _HALF_MADE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    _forget(home)
    return removed


def _forget(home: Path) -> None:
    """Drop the notes about projects that are gone."""
    for note in home.glob(f"{_OWNERS}/*/*"):
        if note.name != _PERSON and not (home / note.name).is_dir():
            note.unlink(missing_ok=True)
    for note in home.glob(".links-hosted/*"):
        if note.name != "complete" and not Path(note.read_text(encoding="utf-8")).is_dir():
            note.unlink(missing_ok=True)


def _roles(home: Path) -> dict[str, Role]:
    """Of each project whose owner's role is known: as what they were seen last."""
    found: dict[str, Role] = {}
    for note in home.glob(f"{_OWNERS}/*/{_PERSON}"):
        told = _about(note.parent).get("role")
        role = next((one for one in ROLES if one == told), None)
        if role is not None:
            found |= {other.name: role for other in note.parent.iterdir()}
    return found


def _about(place: Path) -> dict[str, str]:
    try:
        told = json.loads((place / _PERSON).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


@dataclass(frozen=True)
class Kept:
    """A project of a server, as its owner sees it: how large and how old it is and whose, not what is in it.

    Attributes:
        folder: where it lies.
        called: whose it is, as :attr:`tessera_core.hosting.Person.called`; empty where nobody's.
        size: bytes of its own files.
        used: when it was last used, seconds since 1970.
    """

    folder: Path
    called: str
    size: int
    used: float


def kept() -> list[Kept]:
    """All projects of this server, unused for longest first; each is measured, which takes a while where there are many."""
    home = projects_home()
    whose = {
        note.name: _about(note.parent).get("called", "") for note in home.glob(f"{_OWNERS}/*/*") if note.name != _PERSON
    }
    found = [
        Kept(folder, whose.get(folder.name, ""), size_of(folder), _last_use(folder))
        for folder in _folders(home)
        if (folder / "project.json").is_file()
    ]
    return sorted(found, key=lambda one: one.used)


def count() -> int:
    """How many projects there are, whole or half made."""
    return sum(1 for _ in _folders(projects_home()))


def _last_use(folder: Path) -> float:
    """When anything of a project was last changed or used, seconds since 1970."""
    last = folder.stat().st_mtime
    for name in (_USED, "project.json", "labels.jsonl", "plots.jsonl", "data"):
        try:
            last = max(last, (folder / name).stat().st_mtime)
        except FileNotFoundError:
            continue
    return last


def _folders(home: Path) -> Iterator[Path]:
    if home.is_dir():
        with os.scandir(home) as entries:
            yield from (Path(entry) for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _notes_of(owner: str) -> Path:
    return projects_home() / _OWNERS / hashlib.blake2b(owner.encode(), digest_size=16).hexdigest()
