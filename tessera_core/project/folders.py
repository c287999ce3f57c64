"""Folders of projects: names that every system accepts, new ones that nobody guesses, and what is said where one is refused."""

from __future__ import annotations

import base64
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tessera_core._utils.paths import projects_home
from tessera_core.errors import ProjectError
from tessera_core.hosting import acting, shown_path
from tessera_core.labels.model import clean_name
from tessera_core.project.room import require_place

_RESERVED = {"con", "prn", "aux", "nul", *(f"{stem}{n}" for stem in ("com", "lpt") for n in range(1, 10))}


def safe_name(name: object) -> str:
    """``name`` as a file name that every system accepts: no separators, control or reserved characters, at most 60 long."""
    text = re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f]+', " ", clean_name(name, 200))
    text = re.sub(r"\s+", " ", text).strip(" .")[:60].strip(" .")
    if text.split(".")[0].casefold() in _RESERVED:
        text = f"{text} project".strip()
    return text or "project"


def new_folder(name: str, home: Path | None = None) -> Path:
    """Make a folder of one's own for a project of that name, among the others of this computer unless
    ``home`` is given.

    Its name ends in letters that nobody guesses, so that of many callers at once, in threads or processes, no two get one
    folder, and a link to a project that was deleted never leads to another.

    Raises:
        ProjectError: the system refuses, or a server for strangers has no room for another project.
    """
    require_place(acting())
    home, stem = home or projects_home(), safe_name(name)
    make_folder(home)
    while True:
        folder = home / f"{stem}-{base64.b32encode(secrets.token_bytes(5)).decode().lower()}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise refused(folder, error, "made") from error
        return folder


@contextmanager
def filling(name: str, folder: str | Path | None = None) -> Iterator[Path]:
    """A folder of one's own to put a project in, by default a :func:`new_folder`; removed again where the block fails.

    Raises:
        ProjectError: the given folder holds something already, or the system refuses.
    """
    if folder is None:
        target = new_folder(name)
    else:
        target = Path(folder)
        make_folder(target)
        if any(target.iterdir()):
            raise ProjectError(f"{shown_path(target)} is not empty; choose a new folder for the project {name!r}.")
    try:
        yield target
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def make_folder(folder: Path) -> None:
    """Make a folder for a project, where there is none.

    Raises:
        ProjectError: the system refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(folder, error, "made") from error


def refused(folder: Path, error: OSError, what: str) -> ProjectError:
    """The sentence about a project's folder that cannot be ``what``: made, read or saved."""
    if isinstance(error, FileNotFoundError):
        return ProjectError(
            f"The project in {shown_path(folder)} cannot be {what}: it is not there any more; was it deleted or moved? "
            "Bring it back, or open another one."
        )
    return ProjectError(f"The project in {shown_path(folder)} cannot be {what}: {error.strerror or error}.")
