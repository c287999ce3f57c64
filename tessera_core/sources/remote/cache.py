"""The cache of fetched embeddings, shared by all projects: what it holds, how large it is, and making room.

An entry is a folder with a raster in our own layout and ``fetch.json``, which says what was asked for and what is missing. Its key
follows from the question alone (store, region, year, dimensions), so that it is found without a network. Whoever wants to keep a
raster takes it with :func:`take`, which costs no disk space; entries may be evicted at any time. Refuses to know how
embeddings are fetched.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from tessera_core._utils.atomic import RASTER, atomic_path, write_json
from tessera_core._utils.paths import cache_home
from tessera_core.errors import ExportError, InputError
from tessera_core.observations import FILE as OBSERVATIONS_FILE
from tessera_core.provenance import Provenance
from tessera_core.region import Region
from tessera_core.types import BBox

FORMAT = "tessera-fetch/1"
DEFAULT_LIMIT_GB = 20.0
# Of those there may be: a fetched raster has no photograph.
RASTER_FILES = ("codes.npy", "scales.npy", "nodata.npy", "raster.json")
# What only stores that count have.
MORE_FILES = (OBSERVATIONS_FILE,)
_STALE_S = 7 * 24 * 3600


@dataclass(frozen=True)
class CachedRaster:
    """One fetched raster.

    Attributes:
        folder: where it lies; readable as a saved raster.
        dataset, location: where it comes from.
        year, dim: of it.
        name: of the region.
        bbox: west, south, east, north in degrees.
        shape: pixels.
        bytes: on disk.
        used: when it was last opened, seconds since 1970.
        missing: sentences about what could not be fetched; empty when complete.
        facts: all of ``fetch.json``.
    """

    folder: Path
    dataset: str
    location: str
    year: int
    dim: int
    name: str
    bbox: BBox
    shape: tuple[int, int]
    bytes: int
    used: float
    missing: tuple[str, ...]
    facts: dict[str, Any] = field(repr=False, compare=False)

    @property
    def key(self) -> str:
        """Name of its folder."""
        return self.folder.name

    @property
    def complete(self) -> bool:
        """Whether nothing failed."""
        return not self.missing


def home() -> Path:
    """Where the entries lie; made if need be.

    Raises:
        ExportError: it cannot be made.
    """
    folder = cache_home() / "embeddings"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(
            f"Cannot write the cache in {folder}: {error.strerror or error}. Set TESSERA_HOME to a folder of yours."
        ) from error
    return folder


def key_of(location: str, region: Region, year: int, dim: int | None) -> str:
    """Key of the answer to a question; ``dim`` None stands for all dimensions."""
    shape = hashlib.sha256(region.geometry.normalize().wkb).hexdigest()
    facts = [FORMAT, str(location).rstrip("/"), shape, int(year), dim or 0]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]


def find(location: str, region: Region, year: int, dim: int | None = None) -> CachedRaster | None:
    """The cached answer to a question, or None; needs no network."""
    return read_entry(home() / key_of(location, region, year, dim))


def entries() -> list[CachedRaster]:
    """All entries, last used first."""
    found = [read_entry(path.parent) for path in home().glob("*/fetch.json") if not path.parent.name.startswith(".")]
    return sorted((entry for entry in found if entry is not None), key=lambda entry: -entry.used)


def read_entry(folder: Path) -> CachedRaster | None:
    """The entry in a folder, or None where there is no whole one."""
    try:
        facts = json.loads((folder / "fetch.json").read_text(encoding="utf-8"))
        if facts.get("format") != FORMAT or not all((folder / name).is_file() for name in RASTER_FILES):
            return None
        return CachedRaster(
            folder,
            str(facts["dataset"]),
            str(facts["location"]),
            int(facts["year"]),
            int(facts["dim"]),
            str(facts["name"]),
            tuple(facts["bbox"]),
            (int(facts["shape"][0]), int(facts["shape"][1])),
            _size(folder),
            (folder / "fetch.json").stat().st_mtime,
            tuple(str(sentence) for sentence in facts["missing"]),
            facts,
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def touch(entry: CachedRaster) -> None:
    """Note that an entry was used now."""
    try:
        os.utime(entry.folder / "fetch.json")
    except OSError:
        # A cache on a read-only disk is still good to read.
        return


def total_bytes() -> int:
    """Size of all that lies in the cache, unfinished fetches included."""
    return sum(_size(folder) for folder in home().iterdir() if folder.is_dir())


def limit_bytes() -> int:
    """How large the cache may grow: ``TESSERA_CACHE_GB``, else what :func:`set_limit` wrote, else 20 GB."""
    text: Any = os.environ.get("TESSERA_CACHE_GB")
    if text is None:
        try:
            text = json.loads((home() / "settings.json").read_text(encoding="utf-8"))["limit_gb"]
        except (OSError, ValueError, KeyError, TypeError):
            text = DEFAULT_LIMIT_GB
    try:
        return int(float(text) * 1e9)
    except (TypeError, ValueError) as error:
        raise InputError(f"TESSERA_CACHE_GB must be a number of gigabytes, such as 20; it is {text!r}.") from error


def set_limit(gigabytes: float) -> None:
    """Set how large the cache may grow, and evict what is too much now."""
    if not gigabytes > 0:
        raise InputError("The cache needs a limit greater than 0 GB.")
    write_json(home() / "settings.json", {"limit_gb": float(gigabytes)})
    make_room(0)


def evict(keys: Iterable[str]) -> int:
    """Delete entries; returns the bytes freed. What was taken with :func:`take` stays with its taker."""
    wanted = set(keys)
    freed = 0
    for entry in entries():
        if entry.key in wanted:
            freed += entry.bytes
            _remove(entry.folder)
    return freed


def empty() -> int:
    """Delete all entries and unfinished fetches; returns the bytes freed."""
    freed = 0
    for folder in home().iterdir():
        if folder.is_dir():
            freed += _size(folder)
            _remove(folder)
    return freed


def make_room(needed: int) -> None:
    """Evict what was not used for longest until ``needed`` more bytes fit the limit, and what fetches of last week left."""
    now = time.time()
    for pattern in (".*.fetching", ".tiles-*"):
        for folder in home().glob(pattern):
            if now - folder.stat().st_mtime > _STALE_S:
                _remove(folder)
    known = entries()
    total = sum(entry.bytes for entry in known) + needed
    for entry in reversed(known):
        if total <= limit_bytes():
            return
        _remove(entry.folder)
        total -= entry.bytes


def take(entry: CachedRaster, target: Path) -> Path:
    """Put a raster of the cache at ``target`` for good, as hard links where the disk allows, else copied.

    Raises:
        InputError: something else lies there: other files, or embeddings of another dataset.
        ExportError: it cannot be written.
    """
    _require_same_dataset(entry, target)
    with atomic_path(target, directory=True, replaces=RASTER) as part:
        for name in (*RASTER_FILES, *(also for also in MORE_FILES if (entry.folder / also).is_file())):
            try:
                os.link(entry.folder / name, part / name)
            except OSError:
                shutil.copyfile(entry.folder / name, part / name)
    return target


def _require_same_dataset(entry: CachedRaster, target: Path) -> None:
    """Fetching again replaces what was fetched before, but never embeddings of another dataset or year."""
    try:
        here = json.loads((target / "raster.json").read_text(encoding="utf-8"))["provenance"]
        new = json.loads((entry.folder / "raster.json").read_text(encoding="utf-8"))["provenance"]
    except (OSError, ValueError, KeyError, TypeError):
        # No raster there, or none that can be told: the names of its files decide.
        return
    old, fresh = (Provenance.from_json(value) for value in (here, new))
    if (old.dataset, old.year) != (fresh.dataset, fresh.year):
        raise InputError(
            f"{target} holds embeddings of {old.dataset}, {old.year or 'of no year'}, not of {fresh.dataset}, "
            f"{fresh.year or 'of no year'}; nothing was replaced. Choose another folder."
        )


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        stat = path.stat()
        if path.is_dir():
            continue
        # A file being filled has its full length before it has its blocks.
        total += min(stat.st_size, stat.st_blocks * 512) if hasattr(stat, "st_blocks") else stat.st_size
    return total


def _remove(folder: Path) -> None:
    # Without this file the rest is no entry any more, whatever happens next.
    (folder / "fetch.json").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


# ------------------------------------------------------------------ how fast the network is


def host_of(location: str) -> str:
    """What a speed is remembered for: the server, or ``"disk"``."""
    return urlparse(location).netloc if "://" in location else "disk"


def speed(location: str) -> float | None:
    """Bytes per second measured in earlier fetches from there; None before the first."""
    value = _speeds().get(host_of(location))
    return float(value) if isinstance(value, int | float) and value > 0 else None


def note_speed(location: str, received: int, seconds: float) -> None:
    """Remember a fetch's speed, half of it at a time so that one bad day is not for ever."""
    if received < 1 << 20 or seconds <= 0:
        return
    now, host = received / seconds, host_of(location)
    before = speed(location)
    write_json(cache_speeds(), _speeds() | {host: round(now if before is None else (now + before) / 2)})


def cache_speeds() -> Path:
    """File of remembered speeds."""
    return home() / "speeds.json"


def _speeds() -> dict[str, Any]:
    try:
        value = json.loads(cache_speeds().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
