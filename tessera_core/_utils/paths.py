"""Where this program keeps its own files: what can be made again, and what belongs to a person."""

from __future__ import annotations

import os
from pathlib import Path

_APP = "tessera-studio"


def cache_home() -> Path:
    """Folder of what can be made or fetched again: ``$TESSERA_HOME/cache``, else the platform's cache folder."""
    if home := os.environ.get("TESSERA_HOME"):
        return Path(home).expanduser() / "cache"
    import platformdirs

    return platformdirs.user_cache_path(_APP, appauthor=False)


def data_home() -> Path:
    """Folder of what belongs to a person (projects): ``$TESSERA_HOME``, else the platform's folder for user data."""
    if home := os.environ.get("TESSERA_HOME"):
        return Path(home).expanduser()
    import platformdirs

    return platformdirs.user_data_path(_APP, appauthor=False)


def projects_home() -> Path:
    """The folder of this person's projects: ``projects`` in :func:`data_home`."""
    return data_home() / "projects"


def as_path(path: str | Path) -> Path:
    """A path as an object; one that is an object already is not taken apart again, which of many small files is felt."""
    return path if isinstance(path, Path) else Path(path)
