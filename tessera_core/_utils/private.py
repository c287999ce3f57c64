"""Folders that only their owner can write to, for what is trusted later because this program made it."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path


def is_private(path: Path) -> bool:
    """Whether a file or folder is no link, belongs to whoever runs this, and nobody else may write to it.

    Where there are no owners (Windows), whatever is no link is private: its profile folders are.
    """
    try:
        facts = path.lstat()
    except OSError:
        return False
    if stat.S_ISLNK(facts.st_mode):
        return False
    if not hasattr(os, "getuid"):
        return True
    return facts.st_uid == os.getuid() and not facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def private_folder(path: Path) -> Path:
    """A folder made for its owner alone; ``path`` where it can be made or is such a folder, else a new temporary one.

    Raises:
        OSError: no folder can be made anywhere.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix=f"{path.name}-"))
    return path if is_private(path) else Path(tempfile.mkdtemp(prefix=f"{path.name}-"))
