"""Fetch a region and year of published embeddings into the cache: in pieces, in parallel, again where it failed, and resumable.

The raster grows in a hidden folder beside its place (:mod:`tessera_core._utils.resumable`). Killed at any moment, the next
fetch believes those pieces whose bytes still match and goes on. What cannot be had is left without data and named; asking
again tries it again.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tessera_core._utils.locks import alone
from tessera_core._utils.partial import Failure
from tessera_core.errors import AcquisitionError, Cancelled, ExportError, InputError
from tessera_core.raster import EmbeddingRaster
from tessera_core.region import Region
from tessera_core.sources.remote import cache
from tessera_core.sources.remote.cache_overlap import cached_overlaps, is_shifted, register_again
from tessera_core.sources.remote.retry import ATTEMPTS, never, with_retries
from tessera_core.sources.remote.window_task import Source, WindowResult, WindowTask
from tessera_core.sources.remote.working_grid import WorkingGrid
from tessera_core.sources.remote.year_writer import YearRequest, YearWriter
from tessera_core.sources.remote.zarr_store import TIMEOUT_S, Store, open_store
from tessera_core.types import Cancel, Progress, Window

WORKERS = 4
# So many pieces in a row without one success, and the server is taken for gone.
GIVE_UP_AFTER = 8


@dataclass(frozen=True)
class FetchOptions:
    """How a region is fetched.

    Attributes:
        dim: leading dimensions; None for all.
        workers: pieces read at a time.
        attempts: tries for each piece.
        timeout_s: longest wait for one answer; None for the source's own.
        refresh: fetch anew what lies in the cache, e.g. because the publisher has filled a gap.
    """

    dim: int | None = None
    workers: int = WORKERS
    attempts: int = ATTEMPTS
    timeout_s: float | None = None
    refresh: bool = False


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
    options: FetchOptions | None = None,
    *,
    opened: Callable[[], Source] | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
    failed: list[Failure] | None = None,
) -> list[Fetched]:
    """Fetch several years of a region; years that lie in the cache need no network.

    Args:
        region: where.
        location: URL or path of a store (see ``zarr_store.open_store``), or of what ``opened`` opens.
        years: which.
        options: how.
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
    wanted, options = sorted(set(years)), options or FetchOptions()
    if not wanted:
        raise InputError("Say which years to fetch.")
    location = location if "://" in location else os.path.abspath(os.path.expanduser(location))
    source: Source | None = None
    done: list[Fetched] = []
    for number, year in enumerate(wanted):
        if options.refresh:
            cache.evict([cache.key_of(location, region, year, options.dim)])
        known = cached(region, location, year, options.dim)
        if known is not None:
            done.append(known)
            continue
        source = source or (opened() if opened is not None else _open(location, options, cancelled))

        def report(part: int, whole: int, message: str, number: int = number) -> None:
            if progress is not None:
                progress(number * whole + part, len(wanted) * whole, message)

        try:
            done.append(fetch(region, source, year, options, progress=report, cancelled=cancelled))
        except (AcquisitionError, InputError) as error:
            if failed is None or (not done and year == wanted[-1]):
                raise
            failed.append(Failure(str(year), str(error)))
    return done


def _open(location: str, options: FetchOptions, cancelled: Cancel | None) -> Source:
    timeout_s = TIMEOUT_S if options.timeout_s is None else options.timeout_s
    return with_retries(lambda: open_store(location, timeout_s=timeout_s), location, options.attempts, cancelled)


def cached(region: Region, location: str, year: int, dim: int | None = None) -> Fetched | None:
    """The complete answer if it lies in the cache, else None; needs no network."""
    entry = cache.find(location, region, year, dim)
    if entry is None or not entry.complete or is_shifted(entry):
        return None
    cache.touch(entry)
    return Fetched(entry, True, 0.0, 0, tuple(entry.facts.get("absent", ())))


def fetch(
    region: Region,
    source: Source,
    year: int,
    options: FetchOptions | None = None,
    *,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Fetched:
    """Fetch one year of a region from an open source; see :func:`fetch_years`."""
    options = options or FetchOptions()
    require_year(source, year, options, cancelled)
    depth = depth_of(source, options)
    target = cache.home() / cache.key_of(source.location, region, year, options.dim)
    with alone_at(target):
        # Another process may have finished it while this one waited.
        entry = cache.read_entry(target)
        if entry is not None and entry.complete and entry.facts.get("identity") == source.identity:
            cache.touch(entry)
            return Fetched(entry, True, 0.0, 0, tuple(entry.facts.get("absent", ())))
        if entry is not None and is_shifted(entry):
            register_again(entry, source)
        working_grid = with_retries(lambda: source.working_grid(region), source.location, options.attempts, cancelled)
        require_published(source, working_grid, year, options, cancelled)
        request = YearRequest(region, source, working_grid, year, depth)
        return fetch_into(YearWriter(request, target), options, progress, cancelled or never)


def require_year(source: Source, year: int, options: FetchOptions, cancelled: Cancel | None = None) -> None:
    """Refuse a year that a source has not.

    Raises:
        InputError: it has not.
    """
    years = with_retries(lambda: source.years, source.location, options.attempts, cancelled)
    if year not in years:
        raise InputError(f"{source.name} has no {year}; it has {', '.join(map(str, years)) or 'no year at all'}.")


def require_published(
    source: Source, working_grid: WorkingGrid, year: int, options: FetchOptions, cancelled: Cancel | None = None
) -> None:
    """Refuse a place of which a store has not published the year.

    Raises:
        InputError: it has not.
    """
    if isinstance(source, Store) and (
        why := with_retries(
            lambda: source.unpublished(working_grid, year), source.location, options.attempts, cancelled
        )
    ):
        raise InputError(why)


def depth_of(source: Source, options: FetchOptions) -> int:
    """Dimensions to fetch.

    Raises:
        InputError: the source has not so many.
    """
    depth = options.dim or source.dim
    if not 0 < depth <= source.dim:
        raise InputError(f"The embeddings of {source.name} have {source.dim} dimensions, not {depth}.")
    return depth


@contextmanager
def alone_at(target: Path, *, wait: bool = True) -> Iterator[None]:
    """Be the only one that fetches into a folder.

    Raises:
        BlockingIOError: somebody else does, and ``wait`` is false.
        ExportError: nothing can be written there.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(alone(target.parent / f".{target.name}.lock", wait=wait, passing=True))
        except BlockingIOError:
            raise
        except OSError as error:
            raise ExportError(f"Cannot write in {target.parent}: {error.strerror or error}.") from error
        yield


def fetch_into(writer: YearWriter, options: FetchOptions, progress: Progress | None, cancelled: Cancel) -> Fetched:
    """Read what a writer wants and publish it; whoever calls is the only one at its folder (:func:`alone_at`).

    Raises:
        AcquisitionError: nothing could be had at all.
        ExportError: the disk is full or not writable.
        Cancelled: ``cancelled`` returned true.
    """
    request = writer.request
    started, received = time.monotonic(), request.source.received
    with writer:
        _read_into(writer, options, progress, cancelled)
        failed = writer.gaps.failed
        if failed and len(failed) == len(writer.todo) and writer.empty:
            raise AcquisitionError(
                f"Nothing of {request.year} could be fetched from {request.source.location}: {next(iter(failed.values()))}. "
                "Try again later; regions in the cache open without it."
            )
        received = request.source.received - received
        seconds = time.monotonic() - started
        cache.note_speed(request.source.location, received, seconds)
        writer.complete()
    entry = writer.publish()
    return Fetched(entry, False, seconds, received, tuple(entry.facts["absent"]))


def _read_into(writer: YearWriter, options: FetchOptions, progress: Progress | None, cancelled: Cancel) -> None:
    """Read what is to do, by threads; what they bring is written here, by one."""
    request = writer.request
    overlaps = cached_overlaps(
        request.source.identity,
        request.year,
        request.dim,
        request.working_grid,
        writer.target,
        observed=bool(getattr(request.source, "observed", False)),
    )
    stop = threading.Event()

    def stopped() -> bool:
        return stop.is_set() or writer.gaps.in_a_row >= GIVE_UP_AFTER

    def report() -> None:
        if progress is not None:
            megabytes = writer.done_pixels * (request.dim + 4) / 1e6
            progress(writer.done_pixels, max(writer.total_pixels, 1), f"{request.year}: {megabytes:.0f} MB")

    def begun(window: Window) -> WindowResult | WindowTask:
        """What is known of a window without asking the source, else the task of asking."""
        for overlap in overlaps:
            if (block := overlap.block(request.working_grid, window)) is not None:
                return WindowResult(window, block)
        if stopped():
            return WindowResult(window, None, next(iter(writer.gaps.failed.values())))
        return WindowTask.of(request.source, request.working_grid, window, request.year, request.dim, options.attempts)

    report()
    waiting, workers = deque(writer.todo), max(1, options.workers)
    running: set[Future[WindowResult]] = set()
    with ThreadPoolExecutor(workers, thread_name_prefix="fetch") as pool:
        try:
            while waiting or running:
                # As many again as are read at a time: no thread waits for the writer, and what is read does not pile up.
                if waiting and len(running) < 2 * workers:
                    found = begun(waiting.popleft())
                    if isinstance(found, WindowTask):
                        running.add(pool.submit(found.run, stopped))
                        if waiting and len(running) < 2 * workers:
                            continue
                    else:
                        writer.accept(found)
                finished, running = wait(running, timeout=0.1, return_when=FIRST_COMPLETED)
                for future in finished:
                    writer.accept(future.result())
                report()
                if cancelled():
                    raise Cancelled()
        except BaseException:
            stop.set()
            for future in running:
                future.cancel()
            raise
