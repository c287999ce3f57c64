"""Where the classes of a server are kept: a folder each in TESSERA_HOME, changed by one process at a time.

``classes/ID/class.json`` is the class, ``start/`` the project that learners get a copy of, ``here/`` who was there when, and
``earlier/`` the work of whoever was set back to the beginning.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path

import msgspec

from tessera_core._utils.atomic import atomic_path
from tessera_core._utils.locks import alone
from tessera_core._utils.paths import data_home
from tessera_core.classroom.model import Classroom
from tessera_core.errors import ExportError, InputError

CLASSES = "classes"
_FILE = "class.json"
_ID = re.compile(r"[0-9a-f]{16}")
# A learner is noted as being there so often at most.
PRESENCE_SECONDS = 10.0


def home() -> Path:
    """The folder of all classes."""
    return data_home() / CLASSES


def folder_of(class_id: str) -> Path:
    """The folder of a class.

    Raises:
        InputError: that is no id.
    """
    if not _ID.fullmatch(class_id):
        raise InputError("There is no such class on this server (any more). Ask your teacher for the code.")
    return home() / class_id


def read(class_id: str) -> Classroom:
    """A class.

    Raises:
        InputError: there is none, or its file is damaged.
    """
    path = folder_of(class_id) / _FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Classroom)
    except FileNotFoundError:
        raise InputError("There is no such class on this server (any more). Ask your teacher for the code.") from None
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"The class {class_id} cannot be read: {error}. Restore {_FILE} from a backup.") from error


def write(found: Classroom) -> Classroom:
    """Keep a new class; returns it.

    Raises:
        ExportError: the disk refuses.
    """
    try:
        folder_of(found.id).mkdir(parents=True, exist_ok=True)
        return _kept(found)
    except OSError as error:
        raise ExportError(f"The class cannot be kept: {error.strerror or error}.") from error


def _kept(found: Classroom) -> Classroom:
    with atomic_path(folder_of(found.id) / _FILE) as part:
        part.write_bytes(msgspec.json.encode(found))
    return found


@contextmanager
def changing(class_id: str) -> Iterator[Callable[[Classroom], Classroom]]:
    """Change a class while nobody else does: gives a function that keeps what it is given.

    Raises:
        InputError, ExportError: see :func:`read` and :func:`write`.
    """
    folder = folder_of(class_id)

    def keep(found: Classroom) -> Classroom:
        # A class that the teacher has deleted does not come back with whoever joined at that moment.
        if not (folder / _FILE).exists():
            read(class_id)
        try:
            return _kept(found)
        except OSError as error:
            raise ExportError(f"The class cannot be kept: {error.strerror or error}.") from error

    with ExitStack() as stack:
        try:
            stack.enter_context(alone(folder / ".lock"))
        except OSError as error:
            read(class_id)
            raise ExportError(f"The class cannot be kept: {error.strerror or error}.") from error
        yield keep


def change(class_id: str, **values: object) -> Classroom:
    """Change fields of a class.

    Raises:
        InputError: a value is not of its kind; nothing was changed.
        ExportError: the disk refuses.
    """
    with changing(class_id) as keep:
        changed = msgspec.structs.replace(read(class_id), **values)
        try:
            msgspec.json.decode(msgspec.json.encode(changed), type=Classroom)
        except msgspec.ValidationError as error:
            raise InputError(f"That is too long or of the wrong kind ({error}); nothing was changed.") from error
        return keep(changed)


def classes() -> list[Classroom]:
    """All classes of the server, the newest first; one that cannot be read is left out."""
    found = []
    for path in home().glob(f"*/{_FILE}"):
        try:
            found.append(read(path.parent.name))
        except InputError:
            continue
    return sorted(found, key=lambda one: -one.opened)


def with_code(code: str) -> Classroom | None:
    """The class under way of that code."""
    return next((one for one in classes() if one.code == code and one.state == "open"), None) if code else None


def stamp(class_id: str) -> int:
    """Changes whenever the class does; 0 where there is none."""
    try:
        return (folder_of(class_id) / _FILE).stat().st_mtime_ns
    except (OSError, InputError):
        return 0


def note_here(class_id: str, project: str, now: float | None = None) -> None:
    """Note that a learner has the app open; writes seldom, and nothing where the class was deleted or the disk is full."""
    now = time.time() if now is None else now
    if not stamp(class_id):
        return
    path = folder_of(class_id) / "here" / Path(project).name
    # Also where the clock was put back since.
    if abs(now - seen(class_id, project)) >= PRESENCE_SECONDS:
        # Not to be seen as present is no reason to stop anybody's work.
        with suppress(OSError):
            path.parent.mkdir(exist_ok=True)
            path.touch()
            os.utime(path, (now, now))


def seen(class_id: str, project: str) -> float:
    """When a learner had the app open last, seconds since 1970; 0 where never."""
    try:
        return (folder_of(class_id) / "here" / Path(project).name).stat().st_mtime
    except OSError:
        return 0.0


def remove(class_id: str) -> None:
    """Delete all that is kept of a class but its learners' projects.

    Raises:
        ExportError: the disk refuses.
    """
    folder = folder_of(class_id)
    gone = folder.with_name(f".removed-{folder.name}")
    try:
        # In one step and alone: nobody joins half a class.
        with nullcontext() if os.name == "nt" else alone(folder / ".lock"):
            os.replace(folder, gone)
        shutil.rmtree(gone)
    except OSError as error:
        raise ExportError(f"The class could not be deleted: {error.strerror or error}.") from error
