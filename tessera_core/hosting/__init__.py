"""Whether strangers use this server, and what they may then be told about it.

The environment variable ``TESSERA_HOSTED`` is the one place where the answer lies: ``1`` for a server that people of other
computers use, ``0`` as the owner's word that all who can connect may use this computer's files. Whoever starts a server
decides it before any page is shown; child processes inherit it. :class:`Limits` is what a server for strangers grants,
:class:`Person` whom it serves, and as what.
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
from functools import lru_cache
from pathlib import Path

from tessera_core._utils.paths import cache_home, data_home
from tessera_core.errors import ExportError, InputError, show_with
from tessera_core.hosting.people import OWN, Action, How, Person, Role, may
from tessera_core.hosting.settings import (
    Limits,
    ServerSettings,
    offers_embeddings,
    owner_token,
    require_embeddings_offer,
    role_of,
    settings,
)

__all__ = [
    "OWN",
    "VARIABLE",
    "Action",
    "How",
    "Limits",
    "Person",
    "Role",
    "ServerSettings",
    "acting",
    "acting_for",
    "acting_person",
    "hosted",
    "may",
    "offers_embeddings",
    "owner_token",
    "require_embeddings_offer",
    "role_of",
    "server_secret",
    "settings",
    "shown_path",
    "shown_text",
]

VARIABLE = "TESSERA_HOSTED"
_NOBODY = Person(how="nobody")
_person: ContextVar[Person] = ContextVar("person", default=_NOBODY)


def hosted() -> bool:
    """Whether people of other computers use this server: then its folders and others' projects are none of their business."""
    return os.environ.get(VARIABLE, "") not in ("", "0")


@contextmanager
def acting_for(person: Person | str) -> Iterator[None]:
    """What the block makes belongs to a person, given as such or by the key of a visitor; holds in this thread."""
    token = _person.set(Person(person) if isinstance(person, str) else person)
    try:
        yield
    finally:
        _person.reset(token)


def acting() -> str:
    """The key of the person that this thread works for; empty where it works for nobody in particular."""
    return _person.get().key


def acting_person() -> Person:
    """The person that this thread works for."""
    return _person.get()


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
