"""Heads that a person keeps: files in one folder of theirs, by the names they gave them."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core._utils.atomic import atomic_path
from tessera_core._utils.paths import data_home
from tessera_core.errors import HeadError, InputError
from tessera_core.hosting import hosted

if TYPE_CHECKING:
    from tessera_core.heads import SavedHead

SUFFIX = ".safetensors"
_LONGEST = 60


@dataclass(frozen=True)
class KeptHead:
    """A head that was kept.

    Attributes:
        name: as the person gave it.
        path: of the file.
        classes: names.
        dataset: of the embeddings it maps.
        year: of what taught it; None where it was several.
        card: what is known of it, see :class:`tessera_core.heads.SavedHead`.
        teachable: whether it carries what taught it, so that labels can be added.
    """

    name: str
    path: Path
    classes: tuple[str, ...]
    dataset: str
    year: int | None
    card: dict[str, Any]
    teachable: bool

    def to_json(self) -> dict[str, Any]:
        """JSON object."""
        return {
            "name": self.name, "path": str(self.path), "classes": list(self.classes), "dataset": self.dataset, "year": self.year,
            "labels": self.card.get("labels", {}), "places": list(self.card.get("places", {})), "teachable": self.teachable,
        }  # fmt: skip


def heads_home() -> Path:
    """The folder of this person's heads: ``heads`` beside their projects."""
    return data_home() / "heads"


def keep_head(source: str | Path, name: str, *, replace: bool = False) -> KeptHead:
    """Keep a copy of a head's file under a name.

    Args:
        source: a file of :func:`tessera_core.heads.save_head`.
        name: letters, digits, spaces, dots, dashes and underscores.
        replace: the head that has the name already.

    Raises:
        InputError: the name cannot be used, or is taken; or this is a server for strangers, where heads are downloaded instead.
        HeadError: the file is no head.
        ExportError: it cannot be written.
    """
    from tessera_core.heads import load_head

    if hosted():
        raise InputError(
            "On a server heads are not kept for you; download the file, and give it back when you need it."
        )
    target = _path(name)
    if target.exists() and not replace:
        raise InputError(f"There is a head called {target.stem!r} already; choose another name, or replace it.")
    source = Path(source)
    load_head(source)
    if source.suffix.lower() != SUFFIX:
        raise InputError(
            f"{source.name} cannot be kept; save the head as {SUFFIX}, which holds all that is known of it."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as part:
        shutil.copyfile(source, part)
    return _described(target)


def kept_heads() -> list[KeptHead]:
    """The heads that can be read, by name; none on a server for strangers."""
    found = []
    for path in [] if hosted() else sorted(heads_home().glob(f"*{SUFFIX}"), key=lambda p: p.stem.casefold()):
        try:
            found.append(_described(path))
        except HeadError:
            # Damaged, or not ours: asking for it by name says so.
            continue
    return found


def head_names() -> list[str]:
    """Names of the kept heads; nothing is opened."""
    return [] if hosted() else sorted(path.stem for path in heads_home().glob(f"*{SUFFIX}"))


def kept_head(name: str) -> Path:
    """The file of a kept head.

    Raises:
        InputError: there is none of that name.
    """
    path = _path(name)
    if hosted() or not path.is_file():
        names = ", ".join(head_names())
        raise InputError(f"There is no kept head {name!r}; there {f'are {names}' if names else 'is none yet'}.")
    return path


def forget_head(name: str) -> None:
    """Remove a kept head.

    Raises:
        InputError: there is none of that name.
    """
    kept_head(name).unlink()


def head_at(given: str) -> Path:
    """The file that a path or the name of a kept head means.

    Raises:
        InputError: neither is there.
    """
    path = Path(given).expanduser()
    return path if path.exists() or path.suffix else kept_head(given)


def _path(name: str) -> Path:
    clean = " ".join(name.split())
    if not re.fullmatch(r"\w[\w .\-]*", clean) or len(clean) > _LONGEST or clean.endswith("."):
        raise InputError(
            f"{name!r} cannot be the name of a head; take up to {_LONGEST} letters, digits, spaces, dots, dashes and underscores."
        )
    return heads_home() / f"{clean}{SUFFIX}"


def _described(path: Path) -> KeptHead:
    from tessera_core.heads import load_head

    saved: SavedHead = load_head(path)
    return KeptHead(
        path.stem,
        path,
        tuple(saved.class_names.values()),
        saved.provenance.dataset,
        saved.provenance.year,
        saved.card,
        bool(saved.taught),
    )
