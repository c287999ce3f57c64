"""Fetch a region and year of published embeddings into the cache: in pieces, in parallel, again where it failed, and resumable.

The raster grows in a hidden folder beside its place (:mod:`tessera_core._utils.resumable`). Killed at any moment, the next
fetch believes those pieces whose bytes still match and goes on. What cannot be had is left without data and named; asking
again tries it again.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import write_json
from tessera_core._utils.locks import alone
from tessera_core._utils.partial import Failure
from tessera_core._utils.resumable import ArraySpec, ResumableArrays, piece_of, plan_digest
from tessera_core.errors import AcquisitionError, Cancelled, ExportError, InputError, RasterError
from tessera_core.provenance import Provenance
from tessera_core.raster import FORMAT, EmbeddingRaster, NoData
from tessera_core.region import Region
from tessera_core.sources.remote import cache
from tessera_core.sources.remote.cache_overlap import Donor, donors_of
from tessera_core.sources.remote.frame import Frame, named_tiles
from tessera_core.sources.remote.resilient import PieceError
from tessera_core.sources.remote.zarr_store import open_store
from tessera_core.sources.remote.zarr_zone import Block
from tessera_core.types import Cancel, Progress, Window

WORKERS = 4
ATTEMPTS = 5
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 20.0
# So many pieces in a row without one success, and the server is taken for gone.
GIVE_UP_AFTER = 8
HASHED_BYTES = 64 << 20


class Source(Protocol):
    """Where a region's embeddings can be read window by window; ``store.Store`` is one, ``tiles.TileArchive`` another."""

    location: str
    dim: int

    @property
    def name(self) -> str:
        """Of the dataset."""

    @property
    def identity(self) -> str:
        """What must be equal for two reads to give the same vectors."""

    @property
    def years(self) -> tuple[int, ...]:
        """Years it holds."""

    @property
    def received(self) -> int:
        """Bytes that came over the network so far."""

    def frame(self, region: Region) -> Frame:
        """The working grid of a region."""

    def block_shape(self, frame: Frame, dim: int) -> tuple[int, int]:
        """Rows and columns in which to read."""

    def provenance(self, year: int, dim: int) -> Provenance:
        """Of what is read."""

    def read(self, frame: Frame, window: Window, year: int, dim: int, *, last: bool = True) -> Block:
        """One window; raises :class:`PieceError`."""


@dataclass(frozen=True)
class Fetched:
    """What a fetch ended with.

    Attributes:
        entry: the raster in the cache.
        cached: whether it lay there complete already.
        seconds: the fetch took.
        received: bytes that came over the network.
        absent: names of tiles that the publisher has not.
    """

    entry: cache.CachedRaster
    cached: bool
    seconds: float
    received: int
    absent: tuple[str, ...]

    @property
    def path(self) -> Path:
        """Folder of the raster."""
        return self.entry.folder

    @property
    def missing(self) -> tuple[str, ...]:
        """Sentences about what could not be fetched; empty when complete."""
        return self.entry.missing

    def open(self) -> EmbeddingRaster:
        """The raster, memory-mapped."""
        cache.touch(self.entry)
        return EmbeddingRaster.open(self.entry.folder)


def fetch_years(
    region: Region,
    location: str,
    years: Iterable[int],
    *,
    dim: int | None = None,
    workers: int = WORKERS,
    attempts: int = ATTEMPTS,
    timeout_s: float | None = None,
    refresh: bool = False,
    opened: Callable[[], Source] | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
    failed: list[Failure] | None = None,
) -> list[Fetched]:
    """Fetch several years of a region; years that lie in the cache need no network.

    Args:
        region: where.
        location: URL or path of a store (see ``store.open_store``), or of what ``opened`` opens.
        years: which.
        dim: leading dimensions; None for all.
        workers, attempts, timeout_s: pieces at a time, tries for each, longest wait for one answer.
        refresh: fetch anew what lies in the cache, e.g. because the publisher has filled a gap.
        opened: opens another source than a store; asked when a year is not in the cache.
        progress: pixels done, pixels in all years, what is being done.
        cancelled: asked often; what was fetched is kept.
        failed: takes the years of which nothing can be had, while the others are fetched; without it, and where none is left,
            they are an error.

    Raises:
        InputError: the region, a year or the store is wrong.
        AcquisitionError: nothing could be had at all.
        ExportError: the disk is full or not writable.
        Cancelled: ``cancelled`` returned true.
    """
    wanted = sorted(set(years))
    if not wanted:
        raise InputError("Say which years to fetch.")
    location = location if "://" in location else os.path.abspath(os.path.expanduser(location))
    source: Source | None = None
    done: list[Fetched] = []
    for number, year in enumerate(wanted):
        if refresh:
            cache.evict([cache.key_of(location, region, year, dim)])
        known = cached(region, location, year, dim)
        if known is None and source is None:
            options = {} if timeout_s is None else {"timeout_s": timeout_s}
            source = (
                opened()
                if opened is not None
                else patiently(lambda: open_store(location, **options), location, attempts, cancelled)  # noqa: B023
            )

        def report(part: int, whole: int, message: str, number: int = number) -> None:
            if progress is not None:
                progress(number * whole + part, len(wanted) * whole, message)

        if known is None:
            assert source is not None
            try:
                known = fetch(
                    region,
                    source,
                    year,
                    dim=dim,
                    workers=workers,
                    attempts=attempts,
                    progress=report,
                    cancelled=cancelled,
                )
            except (AcquisitionError, InputError) as error:
                if failed is None or (not done and year == wanted[-1]):
                    raise
                failed.append(Failure(str(year), str(error)))
                continue
        done.append(known)
    return done


def cached(region: Region, location: str, year: int, dim: int | None = None) -> Fetched | None:
    """The complete answer if it lies in the cache, else None; needs no network."""
    entry = cache.find(location, region, year, dim)
    if entry is None or not entry.complete:
        return None
    cache.touch(entry)
    return Fetched(entry, True, 0.0, 0, tuple(entry.facts.get("absent", ())))


def fetch(
    region: Region,
    source: Source,
    year: int,
    *,
    dim: int | None = None,
    workers: int = WORKERS,
    attempts: int = ATTEMPTS,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Fetched:
    """Fetch one year of a region from an open source; see :func:`fetch_years`."""
    years = patiently(lambda: source.years, source.location, attempts, cancelled)
    if year not in years:
        raise InputError(f"{source.name} has no {year}; it has {', '.join(map(str, years)) or 'no year at all'}.")
    depth = dim or source.dim
    if not 0 < depth <= source.dim:
        raise InputError(f"The embeddings of {source.name} have {source.dim} dimensions, not {depth}.")
    target = cache.home() / cache.key_of(source.location, region, year, dim)
    with _alone(target):
        # Another process may have finished it while this one waited.
        entry = cache.read_entry(target)
        if entry is not None and entry.complete and entry.facts.get("identity") == source.identity:
            cache.touch(entry)
            return Fetched(entry, True, 0.0, 0, tuple(entry.facts.get("absent", ())))
        work = _Work(region, source, year, depth, target, attempts, progress, cancelled)
        return work.run(workers)


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(alone(target.parent / f".{target.name}.lock", passing=True))
        except OSError as error:
            raise ExportError(f"Cannot write the cache in {target.parent}: {error.strerror or error}.") from error
        yield


def patiently(work: Callable[[], Any], what: str, attempts: int, cancelled: Cancel | None) -> Any:
    """The result of ``work``, tried again with growing waits while it raises :class:`PieceError`.

    Raises:
        AcquisitionError: it never succeeded.
        Cancelled: ``cancelled`` returned true.
    """
    for attempt in range(attempts):
        try:
            return work()
        except PieceError as error:
            if attempt == attempts - 1:
                raise AcquisitionError(
                    f"Cannot read {what}: {error}. Check the address and your connection; regions in the cache open without it."
                ) from error
            deadline = time.monotonic() + _wait_s(attempt)
            while time.monotonic() < deadline:
                if cancelled is not None and cancelled():
                    raise Cancelled() from None
                time.sleep(0.05)
    raise AssertionError("unreachable")


def _wait_s(attempt: int) -> float:
    return min(FIRST_WAIT_S * 2**attempt, LONGEST_WAIT_S) * random.uniform(0.75, 1.25)


class _Work:
    """One fetch: its arrays, its journal and its threads."""

    def __init__(
        self,
        region: Region,
        source: Source,
        year: int,
        dim: int,
        target: Path,
        attempts: int,
        progress: Progress | None,
        cancelled: Cancel | None,
    ) -> None:
        self.region, self.source, self.year, self.dim, self.target = region, source, year, dim, target
        self.attempts = max(1, attempts)
        self.progress, self.cancelled = progress, cancelled
        self.frame = patiently(lambda: source.frame(region), source.location, attempts, cancelled)
        self.folder = target.parent / f".{target.name}.fetching"
        self.stop = threading.Event()
        self.guard = threading.Lock()
        self.failed: dict[Window, str] = {}
        self.reasons_of_failed: dict[Window, NoData] = {}
        self.problems: dict[Window, tuple[str, ...]] = {}
        self.fruitless = 0
        self.done_pixels = self.total_pixels = 0

    # -------------------------------------------------------------- files

    def _begin(self) -> ResumableArrays:
        """The arrays, not yet open; they keep what an earlier run finished, or a published raster that has gaps."""
        height, width = self.frame.grid.shape
        self.windows = self.frame.blocks(*self.source.block_shape(self.frame, self.dim))
        plan = {
            "identity": self.source.identity,
            "grid": self.frame.grid.to_json(),
            "dim": self.dim,
            "year": self.year,
            "windows": [piece_of(w) for w in self.windows],
        }
        spec = {
            "codes": ArraySpec((height, width, self.dim), np.int8),
            "scales": ArraySpec((height, width), np.float32, np.nan),
            "nodata": ArraySpec((height, width), np.uint8, NoData.OUTSIDE),
        }
        self._adopt_partial(plan_digest(plan))
        return ResumableArrays(
            self.folder,
            plan,
            spec,
            what=f"{self.year} of this region",
            advice=", choose a smaller region or fewer dimensions, or set TESSERA_HOME to a larger disk",
            make_room=cache.make_room,
        )

    def _adopt_partial(self, plan: str) -> None:
        """Go on with a published raster that has gaps."""
        entry = cache.read_entry(self.target)
        if entry is None or self.folder.is_dir() or entry.facts.get("plan") != plan:
            return
        part = self.folder.with_suffix(".copy")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(self.target, part)
        os.replace(part, self.folder)

    # -------------------------------------------------------------- pieces

    def run(self, workers: int) -> Fetched:
        started, received = time.monotonic(), self.source.received
        with self._begin() as self.work:
            todo = self.work.remaining(self.windows)
            self.total_pixels = sum(_pixels(w) for w in self.windows)
            self.done_pixels = self.total_pixels - sum(_pixels(w) for w in todo)
            self._report()
            donors = donors_of(self.source.identity, self.year, self.dim, self.frame, self.target)
            self._all(todo, donors, max(1, workers))
            if self.failed and len(self.failed) == len(todo) and not self.work.done:
                why = next(iter(self.failed.values()))
                raise AcquisitionError(
                    f"Nothing of {self.year} could be fetched from {self.source.location}: {why}. "
                    "Try again later; regions in the cache open without it."
                )
            received = self.source.received - received
            seconds = time.monotonic() - started
            cache.note_speed(self.source.location, received, seconds)
            self._complete()
        entry = self._publish()
        return Fetched(entry, False, seconds, received, tuple(entry.facts["absent"]))

    def _all(self, todo: Sequence[Window], donors: Sequence[Donor], workers: int) -> None:
        with ThreadPoolExecutor(workers, thread_name_prefix="fetch") as pool:
            running = {pool.submit(self._one, window, donors) for window in todo}
            try:
                while running:
                    finished, running = wait(running, timeout=0.1, return_when=FIRST_COMPLETED)
                    for future in finished:
                        future.result()
                    self._report()
                    if self.cancelled is not None and self.cancelled():
                        raise Cancelled()
            except BaseException:
                self.stop.set()
                for future in running:
                    future.cancel()
                raise

    def _one(self, window: Window, donors: Sequence[Donor]) -> None:
        block = next((b for b in (donor.block(self.frame, window) for donor in donors) if b is not None), None)
        if block is None:
            block = self._read(window)
        if block is None:
            return
        blocks: dict[str, NDArray[Any]] = {"codes": block.codes, "scales": block.scales, "nodata": block.reasons}
        if block.problems:
            # Not noted as done: the next fetch tries it again.
            self.work.store(window, blocks)
        else:
            self.work.commit(window, blocks)
        with self.guard:
            self.done_pixels += _pixels(window)
            if block.problems:
                self.problems[window] = block.problems
            else:
                self.fruitless = 0

    def _read(self, window: Window) -> Block | None:
        for attempt in range(self.attempts):
            if self.stop.is_set():
                return None
            if self.fruitless >= GIVE_UP_AFTER:
                self._fail(window, PieceError(next(iter(self.failed.values()))))
                return None
            try:
                return self.source.read(self.frame, window, self.year, self.dim, last=attempt == self.attempts - 1)
            except PieceError as error:
                if attempt == self.attempts - 1:
                    return self._smaller(window, error)
                self.stop.wait(_wait_s(attempt))
        return None

    def _smaller(self, window: Window, error: PieceError) -> Block | None:
        """What of a damaged piece is whole: its parts, each tried once."""
        rows, cols = window
        if error.reason != NoData.BAD_TILE or min(rows.stop - rows.start, cols.stop - cols.start) < 16:
            self._fail(window, error)
            return None
        block = Block.empty((rows.stop - rows.start, cols.stop - cols.start), self.dim, error.reason)
        problems: list[str] = []
        whole = False
        for r in _split(rows):
            for c in _split(cols):
                if self.stop.is_set():
                    return None
                spot = (
                    slice(r.start - rows.start, r.stop - rows.start),
                    slice(c.start - cols.start, c.stop - cols.start),
                )
                try:
                    part = self.source.read(self.frame, (r, c), self.year, self.dim)
                except PieceError as cause:
                    block.reasons[spot] = cause.reason
                    problems.append(self._sentence((r, c), str(cause)))
                    continue
                whole = True
                block.codes[spot], block.scales[spot], block.reasons[spot] = part.codes, part.scales, part.reasons
                problems += [self._sentence((r, c), text) for text in part.problems]
        if not whole:
            self._fail(window, error)
            return None
        return Block(block.codes, block.scales, block.reasons, tuple(problems))

    def _fail(self, window: Window, error: PieceError) -> None:
        with self.guard:
            self.fruitless += 1
            self.failed[window] = str(error)
            self.reasons_of_failed[window] = error.reason
            self.done_pixels += _pixels(window)

    def _sentence(self, window: Window, why: str) -> str:
        rows, cols = window
        grid = self.frame.grid.window(rows.start, cols.start, rows.stop - rows.start, cols.stop - cols.start)
        names = [name for name, _ in named_tiles(grid, np.ones(grid.shape, bool), 2000)]
        where = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        return f"{self.year}: {_pixels(window):,} pixels of {where} are missing: {why}."

    def _report(self) -> None:
        if self.progress is not None:
            megabytes = self.done_pixels * (self.dim + 4) / 1e6
            self.progress(self.done_pixels, max(self.total_pixels, 1), f"{self.year}: {megabytes:.0f} MB")

    # -------------------------------------------------------------- the result

    def _complete(self) -> None:
        """Say in the folder what could not be had, and what the raster is."""
        arrays = self.work.arrays
        for window, reason in self.reasons_of_failed.items():
            wanted = slice(None) if self.frame.inside is None else self.frame.inside[window]
            arrays["scales"][window] = np.nan
            arrays["nodata"][window][wanted] = reason
        missing = [self._sentence(window, why) for window, why in sorted(self.failed.items(), key=_by_place)]
        for window, texts in sorted(self.problems.items(), key=_by_place):
            missing += [text if text.endswith(".") else self._sentence(window, text) for text in texts]
        missing = list(dict.fromkeys(missing))
        nodata = arrays["nodata"]
        gone = np.asarray(nodata == NoData.MISSING_TILE)
        for window in self.failed:
            gone[window] = False
        absent = tuple(name for name, _ in named_tiles(self.frame.grid, gone))
        counts = np.bincount(np.asarray(nodata).ravel(), minlength=len(NoData))
        provenance = self._provenance(missing, absent)
        self.work.flush()
        header = {"format": FORMAT, "grid": self.frame.grid.to_json(), "provenance": provenance.to_json()}
        write_json(self.folder / "raster.json", header)
        facts = {
            "format": cache.FORMAT,
            "dataset": self.source.name,
            "location": self.source.location,
            "identity": self.source.identity,
            "year": self.year,
            "dim": self.dim,
            "name": self.region.name,
            "bbox": list(self.region.bbox),
            "shape": list(self.frame.grid.shape),
            "missing": missing,
            "absent": list(absent),
            "pixels": {reason.name.lower(): int(counts[reason]) for reason in NoData if counts[reason]},
            "plan": self.work.plan,
            "pieces": self.work.digest(),
        }
        write_json(self.folder / "fetch.json", facts)

    def _publish(self) -> cache.CachedRaster:
        if self.target.exists():
            shutil.rmtree(self.target)
        os.replace(self.folder, self.target)
        entry = cache.read_entry(self.target)
        if entry is None:
            raise RasterError(f"The fetched raster in {self.target} is damaged; fetch it again.")
        return entry

    def _provenance(self, missing: Sequence[str], absent: Sequence[str]) -> Provenance:
        stamp = self.source.provenance(self.year, self.dim).with_details(
            region=list(self.region.bbox), pieces_sha256=self.work.digest()
        )
        if missing:
            stamp = stamp.with_details(warnings=list(missing[:20]))
        if absent:
            stamp = stamp.with_details(missing_tiles=list(absent))
        codes = self.work.arrays["codes"]
        if codes.size <= HASHED_BYTES:
            stamp = replace(stamp, checksum=hashlib.sha256(np.ascontiguousarray(codes).data).hexdigest())
        return stamp


def _by_place(item: tuple[Window, Any]) -> tuple[int, ...]:
    return piece_of(item[0])


def _pixels(window: Window) -> int:
    top, bottom, left, right = piece_of(window)
    return (bottom - top) * (right - left)


def _split(span: slice) -> list[slice]:
    step = max(1, -(-(span.stop - span.start) // 4))
    return [slice(a, min(a + step, span.stop)) for a in range(span.start, span.stop, step)]
