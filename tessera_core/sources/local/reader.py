"""What a local format of embeddings is to the rest of the program: a :class:`Reader` that finds pieces, which can be opened.

A format is one module: a class of pieces, a class of readers, and its registration, either by :func:`register` or as an entry
point of the group ``tessera_core.readers`` in an installed package, where a server's child processes find it, too. Opening,
years, mosaics, ``tessera info`` and the pages then know it; ``tests/sources/test_reader.py`` adds one.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tessera_core._utils.partial import Failure
from tessera_core.grid import Grid
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Cancel, Progress

ENTRY_POINTS = "tessera_core.readers"
AS_FLOATS = " as float numbers"
CONVERTED = "They are converted to int8 with a scale for each pixel when they are first opened."

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Description:
    """A piece by its headers alone.

    Attributes:
        grid, provenance: as far as the headers tell.
        mapped: whether opening it costs nothing, because nothing is converted.
        filled: whether the grid is that of the data, rather than of a space in which they lie.
        what: the subject of a sentence about it.
        form: how its values are kept, to follow the number of dimensions in that sentence; may be empty.
        note: a sentence more; may be empty.
        facts: further keys for programs.
    """

    grid: Grid
    provenance: Provenance
    mapped: bool = True
    filled: bool = True
    what: str = "Embeddings"
    form: str = ""
    note: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


class Piece(Protocol):
    """One raster of one year that a reader found; hashable and equal to another of the same files."""

    def __hash__(self) -> int:
        """By the files that it is made of."""

    @property
    def name(self) -> str:
        """Of the tile, for messages."""

    @property
    def path(self) -> Path:
        """What stands for it in messages, and opens it again."""

    @property
    def source(self) -> Path:
        """A file that changes when the piece does."""

    @property
    def year(self) -> int | None:
        """Its year by the headers, None where they do not tell; raises InputError where they are damaged."""

    def describe(self) -> Description:
        """It by the headers alone; raises InputError where they are damaged."""

    def open(self, *, progress: Progress | None = None, cancelled: Cancel | None = None) -> EmbeddingRaster:
        """The raster, memory-mapped; converted into the cache first where its layout is another. Raises InputError, Cancelled."""


class Reader(Protocol):
    """A local format. Most formats are files with an ending: those say ``suffixes`` and :meth:`find`, and inherit the rest.

    Attributes:
        wanted: the format in a few words, for "Looked for: ...".
        suffixes: endings of its files, lower case, with the dot.
    """

    wanted: str
    suffixes: tuple[str, ...] = ()

    def claims(self, path: Path) -> bool:
        """Whether a file or folder met on a walk through folders has this layout, by its name and kind alone."""
        return path.suffix.lower() in self.suffixes and not path.is_dir()

    def resolve(self, path: Path) -> Path:
        """What to look at when a person points at ``path``, e.g. the codes for their scales; ``path`` itself if nothing else."""
        return path

    def find(self, path: Path, problems: list[Failure]) -> Iterable[Piece]:
        """The pieces at a path that is claimed, by headers only; none where it holds something else.

        Args:
            path: file or folder.
            problems: takes what is damaged of several.

        Raises:
            InputError: the whole is damaged.
        """
        raise NotImplementedError


_registered: list[Reader] = []


def register(reader: Reader) -> None:
    """Add a format in this process; it is asked before those that are known already."""
    _registered.insert(0, reader)


def registered() -> list[Reader]:
    """Formats added by :func:`register` and by installed packages, newest first."""
    return [*_registered, *_installed()]


@functools.cache
def _installed() -> tuple[Reader, ...]:
    from importlib.metadata import entry_points

    found: list[Reader] = []
    for point in entry_points(group=ENTRY_POINTS):
        try:
            found.append(point.load()())
        except Exception:  # noqa: BLE001 - whatever it is
            # Another's package that does not start, it must not keep anybody from their own files.
            _log.exception("The reader %s (%s) cannot be loaded; its format is not read.", point.name, point.value)
    return tuple(found)
