"""Block-wise conversion of other layouts into a cached, memory-mapped raster in our own layout.

The cache is keyed by what was read (paths, sizes, times of change), so that opening the same data again costs nothing, and
bounded: the least recently opened conversions go first. Stopped on the way, the next opening goes on where it was, unless what
was found on the way is to be told.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import write_json
from tessera_core._utils.locks import alone
from tessera_core._utils.paths import cache_home
from tessera_core._utils.private import private_folder
from tessera_core._utils.resumable import PIECES, PLAN, ArraySpec, ResumableArrays
from tessera_core.errors import Cancelled, ExportError, TesseraError
from tessera_core.gate import limits
from tessera_core.grid import Grid
from tessera_core.hosting import hosted
from tessera_core.models.quantise import quantise
from tessera_core.provenance import Provenance
from tessera_core.raster import FORMAT, EmbeddingRaster
from tessera_core.types import Cancel, Codes, Progress, Window

CACHE_BYTES = 20 << 30
# What was begun and not finished is kept for so long.
UNFINISHED_S = 24 * 3600.0
BLOCK_BYTES = 32 << 20
_VERSION = 3


@dataclass(frozen=True)
class Conversion:
    """What is made of files in another form, and how.

    Attributes:
        what: kind of conversion, part of the cache key and of the progress message.
        shape: (H, W, D) of the result.
        grid, provenance, reasons: of the result.
        windows: (rows, cols) slices that cover the raster; pixels in none of them are no data.
        read: int8 codes (h, w, D) and float32 scales (h, w) of one window.
        remarks: what ``read`` found to be told, asked when all is read; it joins the provenance's warnings. With it a
            conversion that was stopped begins anew.
    """

    what: str
    shape: tuple[int, int, int]
    grid: Grid
    provenance: Provenance
    windows: Iterable[Window]
    read: Callable[[Window], Codes]
    reasons: NDArray[np.uint8] | None = None
    remarks: Callable[[], list[str]] | None = None


def converted(
    sources: Iterable[Path], wanted: Conversion, *, progress: Progress | None = None, cancelled: Cancel | None = None
) -> EmbeddingRaster:
    """The cached conversion of ``sources``, made now if there is none.

    Args:
        sources: files whose change makes the conversion stale.
        wanted: what is made of them.
        progress, cancelled: as everywhere.

    Raises:
        RasterError: a block cannot be read.
        ExportError: neither the cache nor the temporary folder can hold the result.
        Cancelled: ``cancelled`` returned true.
    """
    provenance = wanted.provenance
    key = _key(sources, wanted.shape, wanted.grid, provenance, wanted.what)
    home = _home()
    folder = home / key
    if (known := _known(folder)) is not None:
        return known
    with _alone(home / f".{key}.lock"):
        # Another session may have made it while this one waited.
        if (known := _known(folder)) is not None:
            return known
        shutil.rmtree(folder, ignore_errors=True)
        _prune(home)
        part = home / f".{key}.converting"
        if wanted.remarks is not None:
            # What an earlier run found to be told is gone with it.
            shutil.rmtree(part, ignore_errors=True)
        spec = {
            "codes": ArraySpec(wanted.shape, np.int8),
            "scales": ArraySpec(wanted.shape[:2], np.float32, np.nan),
        }
        advice = " or set TESSERA_HOME to a folder on a larger disk"
        planned = list(wanted.windows)
        with (
            _unfinished(part),
            ResumableArrays(part, {"key": key}, spec, what="The converted copy", advice=advice) as work,
        ):
            todo = work.remaining(planned)
            for done, window in enumerate(todo, len(planned) - len(todo)):
                if cancelled is not None and cancelled():
                    raise Cancelled
                if progress is not None:
                    progress(done, len(planned), wanted.what)
                codes, scales = wanted.read(window)
                work.commit(window, {"codes": codes, "scales": scales})
            work.flush()
        if wanted.reasons is not None:
            np.save(part / "nodata.npy", wanted.reasons)
        if found := wanted.remarks() if wanted.remarks is not None else []:
            provenance = provenance.with_details(warnings=[*provenance.details.get("warnings", []), *found])
        for name in (PLAN, PIECES):
            (part / name).unlink()
        write_json(
            part / "raster.json", {"format": FORMAT, "grid": wanted.grid.to_json(), "provenance": provenance.to_json()}
        )
        os.replace(part, folder)
        if progress is not None:
            progress(len(planned), len(planned), wanted.what)
        return EmbeddingRaster.open(folder)


def _known(folder: Path) -> EmbeddingRaster | None:
    """The conversion that lies there, if it is whole."""
    if not (folder / "raster.json").is_file():
        return None
    try:
        raster = EmbeddingRaster.open(folder)
        os.utime(folder / "raster.json")
    except (TesseraError, OSError):
        # Damaged, or put out of the cache at this very moment.
        return None
    return raster


@contextmanager
def _unfinished(part: Path) -> Iterator[None]:
    """Keep what was begun where it is one's own computer and the work was only stopped."""
    try:
        yield
    except BaseException as error:
        if hosted() or (isinstance(error, Exception) and not isinstance(error, Cancelled)):
            shutil.rmtree(part, ignore_errors=True)
        raise


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(alone(path, passing=True))
        except OSError as error:
            raise ExportError(f"Cannot write the cache in {path.parent}: {error.strerror or error}.") from error
        yield


def quantise_block(values: NDArray[np.floating]) -> Codes:
    """int8 codes (..., D) and scales (...) of float vectors by the v1 rule (docs/spec/model.md section 3).

    A vector with a value that is not finite, or of zeros only (how the fp32 pipelines mark skipped pixels), is no data: NaN scale.
    """
    values = values.astype(np.float32, copy=False)
    codes, scales = quantise(values, "v1")
    empty = ~np.isfinite(values).all(axis=-1) | ~values.any(axis=-1)
    codes[empty] = 0
    return codes, np.where(empty, np.float32(np.nan), scales).astype(np.float32)


def row_windows(shape: tuple[int, int, int], itemsize: int = 4) -> list[Window]:
    """Windows of whole rows whose values fit in a block."""
    height, width, dim = shape
    step = max(1, BLOCK_BYTES // max(1, width * dim * itemsize))
    return [(slice(row, min(row + step, height)), slice(0, width)) for row in range(0, height, step)]


def _key(sources: Iterable[Path], shape: tuple[int, ...], grid: Grid, provenance: Provenance, what: str) -> str:
    facts: list[object] = [_VERSION, shape, grid.to_json(), provenance.to_json(), what]
    for path in sources:
        stat = path.stat()
        facts.append([str(path.resolve()), stat.st_size, stat.st_mtime_ns])
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


def _home() -> Path:
    home = cache_home() / "converted"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if os.access(home, os.W_OK):
            return home
    except OSError as error:
        if not tempfile.gettempdir():
            raise ExportError(f"No folder can be written for the converted embeddings: {error}.") from error
    # A read-only home must not keep anybody from looking at their data.
    return _fallback()


@functools.cache
def _fallback() -> Path:
    """A folder of our own among those of others; a new one where somebody else has made it first."""
    owner = os.getuid() if hasattr(os, "getuid") else 0
    return private_folder(Path(tempfile.gettempdir()) / f"tessera-converted-{owner}")


def _prune(home: Path) -> None:
    now = time.time()
    # Of processes that were ended while they wrote; one that still writes has not been at it for so long.
    for part in (*home.glob(".*.part"), *home.glob(".*.converting")):
        if now - part.stat().st_mtime > (2 * limits().wall_s if hosted() else UNFINISHED_S):
            shutil.rmtree(part, ignore_errors=True)
    entries = []
    for header in home.glob("*/raster.json"):
        size = sum(path.stat().st_size for path in header.parent.iterdir())
        entries.append((header.stat().st_mtime, size, header.parent))
    total = sum(size for _, size, _ in entries)
    for _, size, folder in sorted(entries):
        if total <= CACHE_BYTES:
            break
        shutil.rmtree(folder, ignore_errors=True)
        total -= size
