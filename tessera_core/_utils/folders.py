"""Looking into folders as people lay them out: links are followed, each folder once, and what cannot be read is told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

Place = tuple[int, int]


def entries(folder: Path, seen: set[Place], problems: list[str]) -> list[Path]:
    """What lies in a folder, by name, without what is hidden.

    Args:
        folder: also a link to one.
        seen: folders that were looked into; a folder that links lead to again (or into itself) is empty the second time.
        problems: takes a sentence where the folder cannot be read.
    """
    try:
        stat = folder.stat()
        if (stat.st_dev, stat.st_ino) in seen:
            return []
        seen.add((stat.st_dev, stat.st_ino))
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        problems.append(f"The folder {folder} cannot be read: {error.strerror or error}.")
        return []


def folders_below(folder: Path, problems: list[str]) -> Iterator[Path]:
    """The folder and all below it, each once, its own before its parts; what is hidden is passed over."""
    seen: set[Place] = set()

    def walk(place: Path) -> Iterator[Path]:
        parts = entries(place, seen, problems)
        if parts:
            yield place
        for part in parts:
            if part.is_dir():
                yield from walk(part)

    yield from walk(folder)


def names_in(folder: Path) -> frozenset[str]:
    """The names in a folder, in one look instead of one for each; empty where it cannot be looked into."""
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()
