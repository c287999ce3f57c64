"""What lies beside the files of a raster, or in their names: geotessera's notes and the year."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tessera_core.errors import InputError
from tessera_core.gate import read_json
from tessera_core.periods import is_period, period

# Fewer bands than this are no embeddings.
MIN_DIM = 4


def read_metadata(folder: Path) -> dict[str, Any]:
    """geotessera's ``tessera_metadata.json`` in or above a folder; empty where there is none."""
    for parent in (folder, *list(folder.parents)[:3]):
        path = parent / "tessera_metadata.json"
        if path.is_file():
            try:
                value = read_json(path)
            except InputError:
                return {}
            return value if isinstance(value, dict) else {}
    return {}


def year_in_path(path: Path) -> int | None:
    """The year in a file's name or in those of the folders above it, as in ``2024/grid_0.15_52.05/``."""
    for part in (path.stem, *(parent.name for parent in list(path.parents)[:3])):
        if match := re.fullmatch(r"(?:.*[_-])?((?:19|20)\d\d)", part):
            return int(match[1])
        if is_period(part):
            return period(part)
    return None


def period_in(text: str) -> int | None:
    """The year or window that a file's tag names; None where it names none."""
    return int(text) if text.isdigit() else period(text) if is_period(text) else None
