"""Notes beside maps that are made tile by tile: ``NAME.json`` says what ``NAME.tif`` was made of and what it covers.

Whoever writes such a folder, of tiles or of the places of one map, writes its notes here, and whoever reads one reads them here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core._utils.atomic import write_json
from tessera_core.areas import summed_percent
from tessera_core.errors import InputError, RasterError
from tessera_core.gate import read_json

if TYPE_CHECKING:
    from tessera_core.project.maps import MappedClasses

# Formats of the notes of maps of classes and of change.
CLASSES, CHANGE = "tessera-map-tile/1", "tessera-change-tile/2"
_BYTES = 1 << 20
# What our notes hold of whatever version, and how far it is looked for.
_OURS, _LOOK = (b'"tessera-map-tile/', b'"tessera-change-tile/'), 1 << 16
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


def is_note(file: Path) -> bool:
    """Whether a file is a note of ours, of whatever version, also one that is cut short.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as raw:
        start = raw.read(_LOOK)
    return any(ours in start for ours in _OURS)


def write_class_note(out: Path, name: str, made: MappedClasses, files: Sequence[Path], made_of: str | None) -> Path:
    """Say of a map what it covers; to be written after it, for the note says that the map is there.

    Args:
        out: folder of the maps.
        name: of the tile or place.
        made: its map.
        files: what was written of it, GeoTIFFs.
        made_of: of what it was made, as hexadecimal digits; None where it is made anew each time.

    Raises:
        ExportError: it cannot be written.
    """
    from tessera_core.export.geotiff import sidecars

    areas = made.areas()
    facts = {
        "format": CLASSES,
        "made_of": made_of,
        "grid": made.grid.to_json(),
        "shape": list(made.grid.shape),
        "classes": {str(i): area.pixels for i, area in areas.items()},
        "hectares": {str(i): area.hectares for i, area in areas.items() if i},
        "confidence": list(summed_percent(made.confidence)),
        "files": sizes([*files, *(side for file in files for side in sidecars(file))]),
    }
    write_json(out / f"{name}.json", facts)
    return out / f"{name}.json"


def sizes(files: Iterable[Path]) -> dict[str, int]:
    """Bytes of each file by its name, for a note to vouch for: the note alone is waited for until it is on the disk."""
    return {file.name: file.stat().st_size for file in files}


def vouched(out: Path, name: str) -> dict[str, int]:
    """What the note of a tile says of its files, by :func:`sizes`; nothing where there is no note, or an older one."""
    try:
        found = json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
        return {str(file): int(size) for file, size in found.get("files", {}).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def noted(out: Path, name: str, endings: Sequence[str] = ("",)) -> dict[str, Any] | None:
    """What is noted of a tile, where all that the note vouches for is there; empty or short files are left of a power cut.

    Args:
        out: folder of the maps.
        name: of the tile.
        endings: of its maps' names, for older notes, which say no sizes.
    """
    try:
        found = dict(json.loads((out / f"{name}.json").read_text(encoding="utf-8")))
        least = {f"{name}{ending}.tif": 1 for ending in endings} | vouched(out, name)
        whole = all((out / file).stat().st_size >= max(1, size) for file, size in least.items())
    except (OSError, ValueError, TypeError):
        return None
    return found if whole else None
