"""A backup: one checked file with all that people have here, made while the server runs; and putting it back.

What belongs to people lies below :func:`tessera_core._utils.paths.data_home`: projects with their labels, embeddings that were made
or uploaded here, packs, the server's secret and settings. What can be fetched again (the cache) is left out, but for the
embeddings that projects refer to. Each file is copied as it stood at one moment: a label log under its lock, everything else
again where it changed meanwhile. Links are never followed. ``backup.json`` names every file with its length and SHA-256; the
whole archive is read again before it gets its name.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tessera_core._utils.atomic import atomic_path
from tessera_core._utils.locks import reading
from tessera_core._utils.paths import cache_home, data_home
from tessera_core.errors import Cancelled, ExportError, InputError, ProjectError
from tessera_core.gate import parse_json
from tessera_core.gate.archives import Archive, open_archive
from tessera_core.gate.limits import limits
from tessera_core.project.project import Project
from tessera_core.project.project_files import LOGS, read_file
from tessera_core.provenance import SOFTWARE
from tessera_core.types import Cancel, Progress

FORMAT = "tessera-backup/1"
SUFFIX = ".tesserabackup"
MANIFEST = "backup.json"
_CHUNK = 4 << 20
_MAX_MANIFEST = 512 << 20
_TRIES = 5
# Files up to so large are read whole, so that each can be read again where somebody wrote into it meanwhile.
_IN_MEMORY = 64 << 20
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
# Where members of an archive belong: people's own files, and what of the cache their projects need.
_HOME, _CACHE = "home", "cache"
# Half-made and passing things, by the names that this program gives them; an image keeps temporary files beside the projects.
_PASSING = re.compile(r".*\.(part|old|lock)(\..*)?|\.lock|\.(upload|removed)-.*|.*\.part-.*")
_PASSING_AT_TOP = {"cache", "tmp", "home", "lost+found", "keys"}


@dataclass
class Backup:
    """What a backup holds, or what was put back.

    Attributes:
        path: the archive.
        projects: how many.
        files: how many.
        bytes: of all files.
        created: seconds since 1970.
        linked: names of what is a link and therefore left out.
        changing: names of files that did not stand still, or went, while they were copied, and are left out.
        elsewhere: names of projects whose embeddings lie outside this computer's own folders; they keep their labels.
    """

    path: Path
    projects: int = 0
    files: int = 0
    bytes: int = 0
    created: float = 0.0
    linked: list[str] = field(default_factory=list)
    changing: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)


def make_backup(
    out: str | Path,
    *,
    embeddings: bool = True,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Backup:
    """Write all that people have on this computer as one file, readable by this user only.

    Args:
        out: the file; ``.tesserabackup`` is added where it is missing.
        embeddings: also what is large: uploaded, made and fetched embeddings and packs. Without them labels, settings
            and answers of validation are kept, a few megabytes for years of work.
        progress: bytes written, of how many.
        cancelled: asked often; nothing is left then.

    Raises:
        InputError: there is nothing to keep, or the file would lie in what is kept.
        ExportError: there is no room for it, or it cannot be written.
        Cancelled: ``cancelled`` returned true.
    """
    out = Path(out)
    out = out if out.suffix.lower() == SUFFIX else out.with_name(out.name + SUFFIX)
    home = data_home().resolve()
    if out.resolve().is_relative_to(home):
        raise InputError(f"{out} lies in {home}, which is what is kept. Write the backup to another disk.")
    made = Backup(out, created=time.time())
    members = dict(_members(made, embeddings=embeddings))
    if not any(name.endswith("/project.json") for name in members):
        raise InputError(f"There is no project in {home}, so there is nothing to keep.")
    total = sum(_size(path) for path in members.values())
    _require_room(total, out.parent, "The backup")
    with atomic_path(out) as part:
        # It holds the server's secret.
        part.touch(0o600)
        listed: dict[str, dict[str, Any]] = {}
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, path in members.items():
                if (entry := _copied(archive, name, path)) is None:
                    made.changing.append(name)
                else:
                    listed[name] = entry
                    made.bytes += entry["bytes"]
                if cancelled is not None and cancelled():
                    raise Cancelled()
                if progress is not None:
                    progress(min(made.bytes, total), max(total, 1), "keeping")
            made.files = len(listed)
            made.projects = sum(_is_project(name) for name in listed)
            facts = {"format": FORMAT, "software": SOFTWARE, "created": made.created, "embeddings": embeddings}
            archive.writestr(MANIFEST, json.dumps(facts | {"files": listed}))
        with _reading(part, out.name) as archive_read:
            for _ in _checked_members(archive_read, _manifest(archive_read, out.name)["files"], out.name, cancelled):
                pass
    return made


def restore_backup(path: str | Path, *, progress: Progress | None = None, cancelled: Cancel | None = None) -> Backup:
    """Put a backup back, into a home that has no projects yet; nothing is touched before the whole archive was checked.

    Raises:
        InputError: it is no backup, is damaged, or there are projects already.
        ExportError: there is no room for it, or it cannot be written.
        Cancelled: ``cancelled`` returned true; nothing is left then.
    """
    path, home = Path(path), data_home()
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    if held := _held(home):
        raise InputError(
            f"{home} holds {held} already, and a backup never goes over what people have. Set TESSERA_HOME to a new folder, or "
            "move that one away; then run this again."
        )
    found = Backup(path)
    with _reading(path, path.name) as archive:
        facts = _manifest(archive, path.name)
        files = facts["files"]
        total = sum(int(entry["bytes"]) for entry in files.values())
        _require_room(total, home, "Putting this back")
        for done in _checked_members(archive, files, path.name, cancelled):
            if progress is not None:
                progress(done, 2 * max(total, 1), "checking")
        home.mkdir(parents=True, exist_ok=True)
        part = home / f".restore-{secrets.token_hex(6)}.part"
        try:
            for name in files:
                if cancelled is not None and cancelled():
                    raise Cancelled()
                target = part.joinpath(*PurePosixPath(name).parts)
                archive.unpack(part, [name])
                if name == f"{_HOME}/secret":
                    target.chmod(0o600)
                found.bytes += int(files[name]["bytes"])
                if progress is not None:
                    progress(total + found.bytes, 2 * max(total, 1), "putting back")
            _settle(part, home)
        except OSError as error:
            raise ExportError(f"The backup was not put back: {error.strerror or error}.") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
    found.files, found.created = len(files), float(facts["created"])
    found.projects = sum(_is_project(name) for name in files)
    return found


# ------------------------------------------------------------------------ what is kept


def _members(made: Backup, *, embeddings: bool) -> Iterator[tuple[str, Path]]:
    """Names in the archive and where these files lie; links and what is left out are noted in ``made``."""
    home, cache = data_home(), cache_home()
    for path in _files(home, made, top=True):
        inside = path.relative_to(home)
        if embeddings or _is_small(inside):
            yield f"{_HOME}/{inside.as_posix()}", path
    seen: set[Path] = set()
    for folder in _project_folders(home):
        for place in _referred(folder):
            plain = Path(os.path.abspath(place))
            if plain.is_relative_to(home.resolve()) and not plain.is_relative_to(cache.resolve()):
                continue
            if not plain.is_relative_to(cache.resolve()):
                made.elsewhere.append(folder.name)
            elif embeddings and plain not in seen and plain.exists():
                seen.add(plain)
                for path in _files(plain, made) if plain.is_dir() else [plain]:
                    yield f"{_CACHE}/{path.relative_to(cache.resolve()).as_posix()}", path
    made.elsewhere = sorted(set(made.elsewhere))


def _files(folder: Path, made: Backup, *, top: bool = False) -> Iterator[Path]:
    """Plain files below a folder; links are noted, and never followed."""
    for here, folders, files in os.walk(folder):
        place = Path(here)
        at_top = top and place == folder
        links = [name for name in (*folders, *files) if (place / name).is_symlink()]
        made.linked += [(place / name).relative_to(folder).as_posix() for name in links]
        folders[:] = sorted(
            name
            for name in folders
            if name not in links and not _PASSING.fullmatch(name) and not (at_top and name in _PASSING_AT_TOP)
        )
        for name in sorted(files):
            path = place / name
            if name not in links and not _PASSING.fullmatch(name) and _is_plain(path):
                yield path


def _is_plain(path: Path) -> bool:
    """Whether it is a file, and neither a pipe nor a device; False where it has gone meanwhile."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _is_small(inside: Path) -> bool:
    """Whether a file below the home is of those that are kept without embeddings: at the top, and of projects what is no data."""
    parts = inside.parts
    if parts[0] != "projects":
        return len(parts) == 1 or parts[0] in ("regions", "linked")
    # Notes of owners and links are folders of small files.
    return parts[1].startswith(".") or len(parts) <= 3


def _project_folders(home: Path) -> list[Path]:
    return sorted(path.parent for path in (home / "projects").glob("*/project.json") if not path.parent.is_symlink())


def _referred(folder: Path) -> Iterator[Path]:
    """What a project's embeddings refer to, where it may open that."""
    try:
        project = Project(folder, read_file(folder))
        refs = list(project.embeddings.values())
    except (ProjectError, InputError):
        # Its files are kept all the same; opening it says what is wrong.
        return
    for ref in refs:
        yield ref.path
        if ref.dpixels is not None:
            yield ref.dpixels


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _is_project(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return len(parts) == 4 and parts[1] == "projects" and parts[3] == "project.json" and not parts[2].startswith(".")


# ----------------------------------------------------------------------------- copying


def _copied(archive: zipfile.ZipFile, name: str, path: Path) -> dict[str, Any] | None:
    """Put a file into an archive as it stood at one moment; its entry, or None where it went or never stood still."""
    if path.name in LOGS:
        # Whoever adds a label waits for the milliseconds that this takes, and no line is cut.
        try:
            with reading(path) as file:
                data = file.read()
        except OSError:
            return None
        return _put(archive, name, data)
    for _ in range(_TRIES):
        try:
            # Not a link that was put there meanwhile, and never a pipe that makes one wait.
            file = os.fdopen(os.open(path, os.O_RDONLY | _NO_LINK), "rb")
        except OSError:
            return None
        with file:
            before = _stamp(file)
            if before is None:
                return None
            if before[1] > _IN_MEMORY:
                return _streamed(archive, name, file, before)
            data = file.read()
            if _stamp(file) == before and len(data) == before[1]:
                return _put(archive, name, data)
    return None


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> dict[str, Any]:
    archive.writestr(name, data)
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _streamed(archive: zipfile.ZipFile, name: str, file: IO[bytes], before: tuple[int, int]) -> dict[str, Any] | None:
    """The same for a large file; what changed meanwhile is being made, stands in the archive and is not listed."""
    digest, size = hashlib.sha256(), 0
    with archive.open(name, "w", force_zip64=True) as sink:
        while chunk := file.read(_CHUNK):
            sink.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    return {"bytes": size, "sha256": digest.hexdigest()} if _stamp(file) == before and size == before[1] else None


def _stamp(file: IO[bytes]) -> tuple[int, int] | None:
    found = os.fstat(file.fileno())
    return (found.st_mtime_ns, found.st_size) if stat.S_ISREG(found.st_mode) else None


# ---------------------------------------------------------------------------- checking


@contextmanager
def _reading(path: Path, name: str) -> Iterator[Archive]:
    # Years of large regions of many people, and it is the owner who asks.
    bounds = replace(limits(), unpacked_bytes=1 << 45, members=20_000_000, growth=1 << 20)
    with open_archive(path, name=name, bounds=bounds) as archive:
        yield archive


def _manifest(archive: Archive, name: str) -> dict[str, Any]:
    """The list of a backup, sound in form.

    Raises:
        InputError: it is no backup, or one of a newer version.
    """
    if MANIFEST not in archive.names:
        raise InputError(f"{name} is no backup of this program: it holds no {MANIFEST}.")
    try:
        facts = parse_json(archive.read(MANIFEST, _MAX_MANIFEST))
        if facts["format"] != FORMAT and str(facts["format"]).startswith("tessera-backup/"):
            raise InputError(
                f"{name} was made by a newer version ({facts['format']}); this version reads {FORMAT}. Update it."
            )
        sound = facts["format"] == FORMAT and all(
            PurePosixPath(member).parts[0] in (_HOME, _CACHE)
            and len(PurePosixPath(member).parts) > 1
            and member in archive.names
            and int(entry["bytes"]) == archive.size(member)
            and len(entry["sha256"]) == 64
            for member, entry in facts["files"].items()
        )
        float(facts["created"])
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, RecursionError, OverflowError) as error:
        raise InputError(f"{name} is no backup of this program, or it is damaged; take another copy of it.") from error
    if not sound:
        raise InputError(f"{name} is damaged: what it lists is not what it holds. Take another copy of it.")
    return dict(facts)


def _checked_members(archive: Archive, files: dict[str, Any], name: str, cancelled: Cancel | None) -> Iterator[int]:
    """Read every listed file and compare it with the list; yields the bytes so far."""
    done = 0
    for member, entry in files.items():
        digest = hashlib.sha256()
        for piece in archive.chunks(member):
            digest.update(piece)
            done += len(piece)
            if cancelled is not None and cancelled():
                raise Cancelled()
        if digest.hexdigest() != entry["sha256"]:
            raise InputError(f"{name} is damaged ({member} is not what was kept). Take another copy of it.")
        yield done


def _require_room(size: int, place: Path, what: str) -> None:
    while not place.exists():
        place = place.parent
    if size > (free := shutil.disk_usage(place).free):
        raise ExportError(
            f"{what} needs up to {size / 1e9:.2f} GB in {place}, and {free / 1e9:.2f} GB are free. Free some space, or choose "
            "another disk."
        )


# ------------------------------------------------------------------------ putting back


def _held(home: Path) -> str:
    """What people have in a home, in words; empty where they have nothing."""
    count = len(list((home / "projects").glob("*/project.json")))
    return f"{count} project{'s' if count > 1 else ''}" if count else ""


def _settle(part: Path, home: Path) -> None:
    """Move what was unpacked to where it belongs; what is there of a server that was only started is kept beside it."""
    if (part / _CACHE).is_dir():
        _merge(part / _CACHE, cache_home(), keep_old=False)
    # Projects last: until they are there, the home counts as empty and the same command may be run again.
    for entry in sorted((part / _HOME).iterdir(), key=lambda entry: entry.name == "projects"):
        if entry.is_dir():
            _merge(entry, home / entry.name, keep_old=True)
        else:
            _move(entry, home / entry.name, keep_old=True)


def _merge(source: Path, target: Path, *, keep_old: bool) -> None:
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, target)
        return
    for entry in sorted(source.iterdir()):
        if entry.is_dir() and (target / entry.name).is_dir():
            _merge(entry, target / entry.name, keep_old=keep_old)
        else:
            _move(entry, target / entry.name, keep_old=keep_old)


def _move(source: Path, target: Path, *, keep_old: bool) -> None:
    if target.exists() and keep_old:
        os.replace(target, target.with_name(f"{target.name}.before-restore"))
    elif target.exists():
        # Of the cache: the same, fetched again.
        return
    shutil.move(source, target)
