"""Files and folders that appear under their final name only when they are whole.

A process killed while writing leaves a hidden ``.<name>.<pid>-<thread>.part`` beside the target, never a half-written target.
A folder is replaced only where all that it holds is of the kind that is written anew (:class:`FolderKind`); whatever else lies
in it stops the work before it begins.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from typing import IO, Any

from tessera_core._utils.paths import as_path
from tessera_core.errors import ExportError, InputError

_log = logging.getLogger(__name__)
# What a dead process of this or another machine was writing is removed when nothing has been added to it for so long.
LEAKED_S = 3600.0
_FOLDERS_KNOWN = 256
# Windows' "access denied" and "sharing violation", and how long each try waits for their end.
_HELD = (5, 32)
_HELD_S = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
# What file managers leave everywhere; nobody misses it.
_LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class FolderKind:
    """Folders that we write and may therefore replace.

    Attributes:
        name: as a person would say it, e.g. ``"an embedding raster"``.
        marker: pattern of a file that every such folder holds.
        files: patterns of all files there may be, relative to the folder, with ``/``; ``*`` also matches ``/``.
    """

    name: str
    marker: str
    files: tuple[str, ...]


RASTER = FolderKind(
    "an embedding raster",
    "raster.json",
    (
        "codes.npy",
        "scales.npy",
        "nodata.npy",
        "observations.npy",
        "origin.npy",
        "truecolour.png",
        "pictures/*.png",
        "raster.json",
    ),
)


def require_replaceable(target: str | Path, kind: FolderKind | None) -> None:
    """Refuse to replace a folder that holds anything which is not ours to replace; an empty or missing one is free.

    Args:
        target: the folder.
        kind: what may be there; None where nothing may.

    Raises:
        InputError: something else lies in it; the sentence names it.
    """
    target = Path(target)
    if not target.is_dir():
        return
    here = Path.cwd()
    if target.resolve() in (here, *here.parents):
        raise InputError(
            f"{target} is the folder that this runs in, which cannot be replaced. Name a new folder in it."
        )
    found = sorted(_entries(target))
    files = kind.files if kind is not None else ()
    foreign = [name for name in found if not any(fnmatchcase(name, pattern) for pattern in files)]
    marked = kind is not None and any(fnmatchcase(name, kind.marker) for name in found)
    if found and not foreign and not marked:
        foreign = found
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        part = f"which is no part of {kind.name}" if kind is not None else "and only an empty folder is written into"
        raise InputError(f"{target} holds {foreign[0]}{more}, {part}; nothing was changed. Choose another name.")


def _entries(folder: Path) -> Iterator[str]:
    """Files, links and empty folders below a folder, as relative names with ``/``; links are not followed."""
    for place, folders, files in os.walk(folder):
        here = Path(place)
        links = [name for name in folders if (here / name).is_symlink()]
        for name in [*files, *links]:
            if name not in _LITTER:
                yield (here / name).relative_to(folder).as_posix()
        if not folders and not files and here != folder:
            yield here.relative_to(folder).as_posix()


def make_place(folder: Path) -> None:
    """Make a folder that things are to be written into, and those above it, where there is none.

    Raises:
        ExportError: the system refuses: the disk is read-only, the name too long, something else of that name is there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"Cannot create the folder {folder}: {error.strerror or error}.") from error


@contextmanager
def atomic_path(target: str | Path, *, directory: bool = False, replaces: FolderKind | None = None) -> Iterator[Path]:
    """Yield a temporary path in the target's folder; on success it replaces ``target``, on failure it is removed.

    Args:
        target: final file, or final folder when ``directory`` is true.
        directory: create the temporary path as a folder.
        replaces: kind of folder that may be there already and is then replaced whole; without it only an empty one may.

    Raises:
        InputError: the folder holds something that is not ours to replace; told before anything is done.
        ExportError: the folder cannot be written or the disk is full.
    """
    target = as_path(target)
    make_place(target.parent)
    if target.is_symlink() and target.is_dir():
        # The folder behind a link is meant, perhaps on a larger disk.
        target = target.resolve()
        make_place(target.parent)
    if directory:
        _bring_back(target)
        require_replaceable(target, replaces)
    if target.exists() and target.is_dir() != directory:
        found = "is a file, and a folder" if directory else "is a folder, and a file"
        raise ExportError(f"{target} {found} of that name was to be written. Choose another name.")
    # The ending is kept because writers such as GDAL choose the format by it.
    part = target.parent / f".{target.stem}.{os.getpid()}-{threading.get_ident():x}.part{target.suffix}"
    _remove(part)
    _remove_leaked(target)
    try:
        if directory:
            part.mkdir()
        yield part
        if directory and target.is_dir():
            # Hours may have passed; what was put there meanwhile is nobody's to delete.
            require_replaceable(target, replaces)
            _exchange(part, target)
        else:
            _replace(part, target)
    except Exception as error:
        _remove(part)
        if _disk_is_full(error):
            raise ExportError(f"The disk is full: {target} was not written. Free some space and try again.") from error
        if not isinstance(error, OSError):
            raise
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise ExportError(f"No permission to write {target}. Choose another folder.") from error
        if error.errno in (errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.ENAMETOOLONG):
            raise ExportError(f"{target} cannot be written: {error.strerror}. Choose another name.") from error
        raise
    except BaseException:
        _remove(part)
        raise


def _replace(part: Path, target: Path) -> None:
    """:func:`os.replace`, which on Windows waits for a program that has the file open for a moment: a virus scanner, a reader."""
    for seconds in _HELD_S:
        try:
            os.replace(part, target)
            return
        except PermissionError as error:
            if getattr(error, "winerror", None) not in _HELD:
                raise
        time.sleep(seconds)
    os.replace(part, target)


def _exchange(part: Path, target: Path) -> None:
    """Put a new folder in the place of an old one, which is whole under one name or the other at every moment."""
    old = target.parent / f".{target.name}.{os.getpid()}-{threading.get_ident():x}.old"
    os.rename(target, old)
    try:
        os.rename(part, target)
    except OSError:
        os.rename(old, target)
        raise
    try:
        shutil.rmtree(old)
    except OSError as error:
        _log.warning("The earlier %s could not be deleted and is left as %s: %s.", target, old, error.strerror)


def _bring_back(target: Path) -> None:
    """Give an old folder its name again after a process died between moving it aside and putting the new one there."""
    olds = sorted(target.parent.glob(f".{escape(target.name)}.*.old"), key=lambda old: old.stat().st_mtime)
    if olds and not target.exists():
        os.rename(olds.pop(), target)
    for old in olds:
        shutil.rmtree(old, ignore_errors=True)


def ordinary_mode(path: str | Path) -> None:
    """Give a file the permissions of any new file: some libraries make theirs for the owner alone."""
    # The mask can be read only by setting it, and not for one thread alone; a new file shows it.
    probe = Path(path).with_name(f".{Path(path).name}.mode")
    probe.touch()
    try:
        Path(path).chmod(probe.stat().st_mode & 0o777)
    finally:
        probe.unlink()


def _disk_is_full(error: BaseException | None) -> bool:
    """Whether an error came from a full disk or quota, also where a library wraps it (torch, safetensors) or hides it (numpy)."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        if "No space left on device" in str(error):
            return True
        # numpy says only how many items it could not write.
        if isinstance(error, OSError) and error.errno is None and "requested and" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _remove_leaked(target: Path) -> None:
    """Remove what earlier writers of this very target left when they were killed.

    Another machine's processes are not seen here, so what somebody may still be writing is told by its age.
    """
    start, end = f".{target.stem}.", f".part{target.suffix}"
    for name in _parts_in(target.parent):
        if not (name.startswith(start) and name.endswith(end) and "-" in name[len(start) : -len(end)]):
            continue
        part = target.parent / name
        try:
            pid = int(part.name.removeprefix(f".{target.stem}.").partition("-")[0])
            newest = max(path.stat().st_mtime for path in (part, *(part.rglob("*") if part.is_dir() else ())))
        except (OSError, ValueError):
            continue
        if time.time() - newest > LEAKED_S and not _alive(pid):
            _log.info("%s was left by a run that was killed; it is removed.", part)
            with suppress(OSError):
                _remove(part)


# By folder: when it was looked through, and what lay there half-written.
_looked_through: dict[Path, tuple[float, list[str]]] = {}


def _parts_in(folder: Path) -> list[str]:
    """Names of what is half-written in a folder, as it was a while ago: what is younger is nobody's leak yet.

    A folder of a thousand tiles is not looked through for each of its files.
    """
    looked, names = _looked_through.get(folder, (-math.inf, []))
    if time.monotonic() - looked > LEAKED_S / 4:
        if len(_looked_through) > _FOLDERS_KNOWN:
            _looked_through.clear()
        with suppress(OSError), os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(".") and ".part" in entry.name]
        _looked_through[folder] = time.monotonic(), names
    return names


def _alive(pid: int) -> bool:
    if os.name == "nt":
        # There, asking whether a process lives by a signal would end it.
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(target: str | Path, text: str, *, flushed: bool = True) -> None:
    """Write UTF-8 ``text`` to ``target`` atomically.

    Args:
        flushed: wait until it is on the disk. Without, what goes with a larger file that is not waited for either: of a thousand
            tiles these waits take longer than the work.
    """
    with atomic_path(target) as part, open(part, "w", encoding="utf-8") as file:
        file.write(text)
        if flushed:
            flush(file)


def flush(file: IO[Any]) -> None:
    """Wait until what was written into a file is on the disk, so that a power cut leaves no empty file of its final name."""
    file.flush()
    os.fsync(file.fileno())


def write_json(target: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON to ``target`` atomically; NaN is refused because other readers choke on it."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
