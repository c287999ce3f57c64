"""Lessons that somebody hands out as a file, and takes in: a zip with their folders, or a pack of projects that holds some.

Of a file only what a lesson is made of is unpacked, and only lessons that :func:`~tessera_core.lessons.reading.read_lesson` finds
whole are put on the shelf; a file is taken whole or not at all.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tessera_core._utils.atomic import atomic_path
from tessera_core._utils.locks import alone
from tessera_core.errors import ExportError, InputError
from tessera_core.gate import Archive, limits, open_archive, reason
from tessera_core.hosting import hosted
from tessera_core.lessons import pictures, reading
from tessera_core.lessons.library import MAX_LESSONS, find, is_own, own_lessons_home
from tessera_core.lessons.model import Lesson
from tessera_core.lessons.reading import read_lesson

PACK_SUFFIX = ".tesserapack"
KINDS = ("zip", PACK_SUFFIX.removeprefix("."))
# Where lessons lie in a pack of projects.
IN_PACK = "lessons"
MAX_TAKEN = 30
_MARK = "lesson.toml"


@dataclass(frozen=True)
class Taken:
    """What became of a file.

    Attributes:
        lessons: that are on the shelf now.
        ignored: names of files in it that belong to no lesson; they were not unpacked.
    """

    lessons: tuple[Lesson, ...]
    ignored: tuple[str, ...] = ()


def take(source: str | Path | BinaryIO, name: str = "") -> Taken:
    """Put the lessons of a file on the shelf.

    Args:
        source: path of a zip or a pack, or a readable stream of it.
        name: what people call the file; by default that of the path.

    Raises:
        InputError: it is no archive, holds no lesson, or one that cannot be used; nothing is taken then.
        ExportError: the folder of lessons cannot be written.
    """
    name = name or (Path(source).name if isinstance(source, str | Path) else "The file")
    home = own_lessons_home()
    bounds = limits()
    if name.lower().endswith(PACK_SUFFIX) and not hosted():
        # Its embeddings are large and stay where they are.
        bounds = replace(bounds, unpacked_bytes=1 << 43, members=1_000_000)
    with open_archive(source, name=name, bounds=bounds) as archive:
        folders = _folders(archive, name)
        members = {folder: _members(archive, folder) for folder in folders}
        within = {member for each in members.values() for member in each}
        ignored = tuple(one for one in archive.names if one not in within and not name.lower().endswith(PACK_SUFFIX))
        try:
            home.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".taking-", dir=home) as place:
                read = [_unpacked(archive, folder, members[folder], Path(place)) for folder in folders]
                return Taken(_shelved(read, home, name), ignored)
        except OSError as error:
            raise ExportError(f"Lessons cannot be kept in {home}: {reason(error)}") from error


def taken_along(stream: BinaryIO, name: str) -> Taken:
    """As :func:`take` for a pack whose projects were opened; most hold no lesson, and those that are here already stay.

    Raises:
        InputError: a lesson in it cannot be used.
        ExportError: the folder of lessons cannot be written.
    """
    stream.seek(0)
    with open_archive(
        stream, name=name, bounds=replace(limits(), unpacked_bytes=1 << 43, members=1_000_000)
    ) as archive:
        wanted = {place.parts[1] for one in archive.names if (place := PurePosixPath(one)).parts[:1] == (IN_PACK,)}
    if not wanted or all((known := find(one)) is not None and is_own(known) for one in wanted):
        return Taken(())
    stream.seek(0)
    return take(stream, name)


def remove(lesson: Lesson) -> None:
    """Take a lesson off the shelf; projects that were begun with it stay, without its panel.

    Raises:
        InputError: it is one of the studio's.
        ExportError: its folder cannot be deleted.
    """
    if not is_own(lesson):
        raise InputError(f"{lesson.words().title!r} comes with the studio and stays.")
    try:
        if lesson.folder.is_symlink():
            lesson.folder.unlink()
            return
        # Out of sight first, so that half a lesson is never read.
        away = lesson.folder.with_name(f".removed-{lesson.folder.name}")
        shutil.rmtree(away, ignore_errors=True)
        os.replace(lesson.folder, away)
        shutil.rmtree(away)
    except OSError as error:
        raise ExportError(f"{lesson.folder} cannot be deleted: {reason(error)}") from error


def write(folders: Sequence[Path], out: Path) -> tuple[Lesson, ...]:
    """Write lessons as one zip to hand out; returns them.

    Args:
        folders: of lessons, each whole.
        out: the file.

    Raises:
        InputError: a lesson cannot be used, or two have one id.
        ExportError: the file cannot be written.
    """
    lessons = tuple(read_lesson(folder) for folder in folders)
    if len({one.id for one in lessons}) < len(lessons):
        raise InputError("Two of the lessons have the same id; give each its own in lesson.toml.")
    with atomic_path(out) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for lesson in lessons:
            for path in files_of(lesson.folder):
                archive.write(path, f"{lesson.id}/{path.relative_to(lesson.folder).as_posix()}")
    return lessons


def files_of(folder: Path) -> list[Path]:
    """The files that a lesson is made of, in order."""
    found = [path for path in sorted(folder.iterdir()) if _belongs(path.name)]
    return [*found, *(path for path in sorted((folder / "pictures").glob("*.json")) if path.is_file())]


# ------------------------------------------------------------------ archives


def _folders(archive: Archive, name: str) -> list[PurePosixPath]:
    """Where there is a lesson in it."""
    found = [PurePosixPath(one).parent for one in archive.names if PurePosixPath(one).name == _MARK]
    if name.lower().endswith(PACK_SUFFIX):
        found = [folder for folder in found if folder.parts[:1] == (IN_PACK,)]
    if not found:
        raise InputError(f"{name} holds no lesson: there is no {_MARK} in it.")
    if len(found) > MAX_TAKEN:
        raise InputError(f"{name} holds {len(found)} lessons; at most {MAX_TAKEN} are taken in from one file.")
    return found


def _belongs(file: str) -> bool:
    return file == _MARK or reading.LANGUAGE.fullmatch(file) is not None


def _members(archive: Archive, folder: PurePosixPath) -> list[str]:
    """The files of a lesson in an archive; of others nothing is unpacked."""
    found = []
    for name in archive.names:
        path = PurePosixPath(name)
        picture = path.parent == folder / "pictures" and path.suffix == ".json"
        if picture or (path.parent == folder and _belongs(path.name)):
            found.append(name)
    if len(found) > reading.MAX_FILES:
        raise InputError(f"The lesson in {folder} has {len(found)} files, more than {reading.MAX_FILES}.")
    return found


def _unpacked(archive: Archive, folder: PurePosixPath, members: list[str], place: Path) -> Lesson:
    # A number beside the name: what lies at the root of the archive has none, and names may repeat.
    target = place / f"{len(list(place.iterdir()))}-{folder.name or 'lesson'}"
    for name in members:
        inside = PurePosixPath(name).relative_to(folder)
        limit = pictures.MAX_BYTES if inside.suffix == ".json" else reading.MAX_BYTES
        path = target.joinpath(*inside.parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(archive.read(name, limit))
    try:
        lesson = read_lesson(target)
        # What no step shows is read by nobody, and yet a stranger's file.
        for picture in sorted((target / "pictures").glob("*.json")):
            pictures.read_picture(picture)
    except InputError as error:
        raise InputError(str(error).replace(target.name, folder.name or "the file")) from error
    return lesson


def _shelved(lessons: Sequence[Lesson], home: Path, name: str) -> tuple[Lesson, ...]:
    """Move what was unpacked to the shelf, all or nothing."""
    if len({one.id for one in lessons}) < len(lessons):
        raise InputError(f"{name} holds two lessons of the same id; nothing was taken.")
    with alone(home / ".lock"):
        here = len([one for one in home.iterdir() if not one.name.startswith(".")])
        if here + len(lessons) > MAX_LESSONS:
            raise InputError(f"There are {here} lessons on this computer; remove some before you add more.")
        for lesson in lessons:
            if (known := find(lesson.id)) is not None and not is_own(known):
                raise InputError(
                    f"{name}: the studio has a lesson {lesson.id!r}; the id in lesson.toml must be another."
                )
            if known is not None or (home / lesson.id).exists():
                raise InputError(f"{name}: a lesson {lesson.id!r} is here already; remove that one first.")
        for lesson in lessons:
            os.replace(lesson.folder, home / lesson.id)
    return tuple(read_lesson(home / lesson.id) for lesson in lessons)
