"""Whether strangers use this server, and what they may then be told about it.

The environment variable ``TESSERA_HOSTED`` is the one place where the answer lies: ``1`` for a server that people of other
computers use, ``0`` as the owner's word that all who can connect may use this computer's files. Whoever starts a server
decides it before any page is shown; child processes inherit it. :class:`Limits` is what a server for strangers grants.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

from tessera_core._utils.paths import cache_home, data_home
from tessera_core.errors import ExportError, InputError, show_with

VARIABLE = "TESSERA_HOSTED"
_visitor: ContextVar[str] = ContextVar("visitor", default="")


@dataclass(frozen=True)
class Limits:
    """What a server for strangers grants; each can be set by the environment variable of its name.

    Attributes:
        people: how many may use the app at the same time (``TESSERA_MAX_PEOPLE``).
        tabs: how many tabs one of them may have open (``TESSERA_MAX_TABS``).
        uploads_mb: megabytes of uploaded files held in memory for one session (``TESSERA_MAX_UPLOADS_MB``).
        all_uploads_mb: the same for all sessions together (``TESSERA_MAX_ALL_UPLOADS_MB``).
        jobs: pieces of long work one visitor may have under way or waiting (``TESSERA_MAX_JOBS``).
        region_km2: how large a place one visitor may load (``TESSERA_MAX_REGION_KM2``).
        idle_minutes: how long a tab may be left alone before its place is given to others (``TESSERA_IDLE_MINUTES``).
        projects: how many projects one visitor may have (``TESSERA_MAX_PROJECTS``).
        all_projects: how many projects there may be (``TESSERA_MAX_ALL_PROJECTS``).
        project_mb: megabytes of one project's own data (``TESSERA_MAX_PROJECT_MB``).
        disk_gb: gigabytes of all projects together (``TESSERA_MAX_DISK_GB``).
        keep_days: after how many days without use a project is removed (``TESSERA_KEEP_DAYS``).
    """

    people: int = 40
    tabs: int = 8
    uploads_mb: int = 600
    all_uploads_mb: int = 2000
    jobs: int = 3
    region_km2: int = 400
    idle_minutes: int = 60
    projects: int = 30
    all_projects: int = 2000
    project_mb: int = 2000
    disk_gb: int = 50
    keep_days: int = 90

    @classmethod
    def read(cls) -> Limits:
        """As the environment says.

        Raises:
            InputError: a value is no positive whole number.
        """
        found = {}
        for field in fields(cls):
            plain = field.name in ("idle_minutes", "keep_days")
            name = "TESSERA_" + ("" if plain else "MAX_") + field.name.upper()
            if text := os.environ.get(name, ""):
                if not text.isdecimal() or int(text) == 0:
                    raise InputError(f"{name} is {text!r}. Set it to a whole number above 0, or leave it out.")
                found[field.name] = int(text)
        return cls(**found)


def hosted() -> bool:
    """Whether people of other computers use this server: then its folders and others' projects are none of their business."""
    return os.environ.get(VARIABLE, "") not in ("", "0")


@contextmanager
def acting_for(visitor: str) -> Iterator[None]:
    """What the block makes belongs to a visitor; holds in this thread."""
    token = _visitor.set(visitor)
    try:
        yield
    finally:
        _visitor.reset(token)


def acting() -> str:
    """The visitor that this thread works for; empty where it works for nobody in particular."""
    return _visitor.get()


def shown_path(path: str | os.PathLike[str]) -> str:
    """How a path is named to whoever looks: in full on one's own computer, by its last part on a server for strangers."""
    path = os.fspath(path)
    return _last(path) if hosted() else path


def shown_text(text: str) -> str:
    """A sentence as strangers may read it: paths of this server shortened to their last part; unchanged on one's own computer."""
    if not hosted():
        return text
    return _server_paths(_roots()).sub(lambda found: _last(found[0]), text)


def server_secret() -> bytes:
    """32 random bytes of this server's own, the same after a restart, readable by its user only."""
    return _secret_at(data_home() / "secret")


@lru_cache(maxsize=4)
def _secret_at(path: Path) -> bytes:
    if not path.exists():
        part = path.with_name(f".secret-{secrets.token_hex(8)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(32))
                file.flush()
                os.fsync(file.fileno())
            # Of two servers that start at once, both use the first one's.
            with suppress(FileExistsError):
                _put(part, path)
        except OSError as error:
            raise ExportError(f"The server's secret cannot be kept: {error.strerror or error}.") from error
        finally:
            part.unlink(missing_ok=True)
    found = path.read_bytes()
    if len(found) != 32:
        raise InputError(f"{path} is damaged. Delete it; addresses of projects that were given out end with it.")
    return found


def _put(part: Path, path: Path) -> None:
    """Give a file its name unless that is taken."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:
        # A file system without second names.
        os.replace(part, path)


def _last(path: str) -> str:
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1] or "a folder of this server"


def _roots() -> tuple[str, ...]:
    import tessera_core

    places = [data_home(), cache_home(), Path(tessera_core.__file__).parents[1], Path.cwd(), Path.home()]
    places += [Path(tempfile.gettempdir()), Path(sys.prefix), Path(sys.base_prefix)]
    both = {form for place in places for form in (str(place), str(place.resolve()))}
    return tuple(sorted((form for form in both if len(form) > 1), key=len, reverse=True))


@lru_cache(maxsize=4)
def _server_paths(roots: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("(?:" + "|".join(map(re.escape, roots)) + r")(?:[\\/][^\s'\"<>|:;,)]*)?")


show_with(shown_text)
