"""Notes beside maps that are made tile by tile: ``NAME.json`` says what ``NAME.tif`` was made of and what it covers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tessera_core.errors import InputError, RasterError
from tessera_core.gate import read_json

# Formats of the notes of maps of classes and of change.
CLASSES, CHANGE = "tessera-map-tile/1", "tessera-change-tile/2"
_BYTES = 1 << 20
# Notes after which a folder is taken for one of other things.
_LOOKED_AT = 20


def find_notes(folder: Path) -> list[Path]:
    """What may be a note, by name.

    Raises:
        InputError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.name.endswith(".json"))
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be read: {error.strerror or error}.") from error
    return [folder / name for name in names]


def read_note(note: Path) -> tuple[str, dict[str, Any]] | None:
    """The format of a note and all it says; None where it is no note of ours.

    Raises:
        RasterError: it cannot be read.
    """
    said = read_json(note, RasterError, _BYTES)
    kind = said.get("format") if isinstance(said, dict) else None
    return (str(kind), said) if kind in (CLASSES, CHANGE) else None


def holds_maps(folder: Path) -> bool:
    """Whether there are maps that were made tile by tile, by the first notes in a folder."""
    for note in find_notes(folder)[:_LOOKED_AT] if folder.is_dir() else []:
        try:
            if read_note(note) is not None:
                return True
        except RasterError:
            continue
    return False
