"""Whether strangers use this server, and what they may then be told about it.

The environment variable ``TESSERA_HOSTED`` is the one place where the answer lies: ``1`` for a server that people of other
computers use, ``0`` as the owner's word that all who can connect may use this computer's files. Whoever starts a server
decides it before any page is shown; child processes inherit it.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

from tessera_core.atomic import atomic_path
from tessera_core.places import cache_home, data_home

VARIABLE = "TESSERA_HOSTED"


def hosted() -> bool:
    """Whether people of other computers use this server: then its folders and others' projects are none of their business."""
    return os.environ.get(VARIABLE, "") not in ("", "0")


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
        with atomic_path(path) as part:
            part.touch(0o600)
            part.write_bytes(secrets.token_bytes(32))
    return path.read_bytes()


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
