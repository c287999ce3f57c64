"""What names a project in an address, and finding the project again by that name, however many others there are.

On a person's own computer the name of a project's folder is its name. A digest stands for a project elsewhere, and for every
project of a server for strangers: there it works as a password, since whoever has the address may open the project. Digests
cannot be turned back, so each is noted with its folder in a file of its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from tessera_core._utils.atomic import write_text
from tessera_core._utils.paths import projects_home
from tessera_core.hosting import hosted, server_secret

_DIGEST = re.compile(r"~[0-9a-f]{32}")
_ALL_NOTED = "complete"


def link_of(folder: Path) -> str:
    """What names the project in ``folder`` in an address; from now on :func:`linked_folder` finds it.

    Raises:
        ExportError: the name cannot be noted.
    """
    folder = folder.resolve()
    if folder.parent == projects_home().resolve() and not hosted():
        return folder.name
    link = _digest(folder)
    note = _notes() / link[1:]
    if not note.exists():
        write_text(note, str(folder))
    return link


def linked_folder(link: str, elsewhere: Iterable[Path] = ()) -> Path | None:
    """The folder of the project that an address names, or None; one look, and a made-up name costs no more.

    Args:
        link: of :func:`link_of`; comes from the address bar, so it is anything.
        elsewhere: folders of projects outside :func:`projects_home` that older versions gave links to without noting them.
    """
    if not _DIGEST.fullmatch(link):
        # It must not lead out of the projects' home.
        plain = bool(link) and not link.startswith(".") and not set(link) & set("/\\:\0") and len(link) < 256
        return _project(projects_home() / link) if plain and not hosted() else None
    if not (_notes() / _ALL_NOTED).exists():
        _note_all(elsewhere)
    try:
        folder = Path((_notes() / link[1:]).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    # A note is a hint; what counts is the digest.
    return _project(folder) if _digest(folder) == link else None


def _note_all(elsewhere: Iterable[Path]) -> None:
    """Note the projects of versions that did not, once."""
    for folder in (*(path.parent for path in projects_home().glob("*/project.json")), *elsewhere):
        link_of(folder)
    write_text(_notes() / _ALL_NOTED, "")


def _notes() -> Path:
    return projects_home() / (".links-hosted" if hosted() else ".links")


def _project(folder: Path) -> Path | None:
    return folder if (folder / "project.json").is_file() else None


def _digest(folder: Path) -> str:
    secret = server_secret() if hosted() else b""
    return "~" + hashlib.blake2b(str(folder).encode(), key=secret, digest_size=16).hexdigest()
