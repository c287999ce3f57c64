"""Published embeddings of a large region, fetched cell by cell: any number, in any UTM zones, in shares, resumable.

Each cell becomes a raster of its own, ``OUT/<year>/<cell>_<year>``, which the other commands read tile by tile; ``fetch.json`` in
it, written before it appears, says what it was made of, so that a run that is begun again does what is left. A cell without one
embedding (sea) leaves a note, ``<cell>_<year>.empty.json``, and no raster. Nothing passes through the cache.
"""

from __future__ import annotations

import functools
import json
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import shapely

from tessera_core._utils.atomic import write_json
from tessera_core._utils.folders import names_in
from tessera_core._utils.locks import alone
from tessera_core._utils.partial import Failure
from tessera_core._utils.resumable import PIECES, PLAN, plan_digest
from tessera_core._utils.share import WHOLE, Share
from tessera_core._utils.spread import RETRIES, processes, spread
from tessera_core.cells import CELL_PX, cut_region
from tessera_core.errors import AcquisitionError, Cancelled, ExportError, InputError
from tessera_core.export.stac import write_collection, write_item
from tessera_core.grid import Grid
from tessera_core.project.plan import LINE_BYTES_S, Planned
from tessera_core.region import Region
from tessera_core.sources.remote import cache
from tessera_core.sources.remote.fetch import (
    FetchOptions,
    alone_at,
    depth_of,
    fetch_into,
    require_published,
    require_year,
)
from tessera_core.sources.remote.retry import never, with_retries
from tessera_core.sources.remote.window_task import Source
from tessera_core.sources.remote.working_grid import WorkingGrid
from tessera_core.sources.remote.year_writer import YearRequest, YearWriter, plan_of
from tessera_core.types import Cancel, Progress, Window

# So many cells in a row of which nothing came, and the source is taken for gone.
GIVE_UP_AFTER = 3
_LOCK = ".fetch.lock"


@dataclass(frozen=True)
class CellJob:
    """One cell of one year.

    Attributes:
        name: of its folder.
        year: which.
        part: number of the part of the region (its zone).
        window: of that part's working grid.
        rim: whether pixels of it lie outside the region.
        grid: where it lies.
    """

    name: str
    year: int
    part: int
    window: Window
    rim: bool
    grid: Grid

    def folder(self, out: Path) -> Path:
        """Where its raster is."""
        return out / str(self.year) / self.name


@dataclass(frozen=True)
class CellsFetched:
    """What is there after a run.

    Attributes:
        folder: that holds a folder for each year.
        cells: rasters that are there, of those asked for.
        empty: cells without one embedding.
        made: of all these, how many came in this run.
        waiting: names of cells of other shares that are not there yet.
        received: bytes that came over the network.
        pixels: with an embedding, in this run's cells and those it found.
        missing: sentences about what could not be had of rasters that are there; the next run tries it again.
        failed: cells of which nothing could be had.
        stac: the collections.
    """

    folder: Path
    cells: tuple[str, ...]
    empty: tuple[str, ...]
    made: int
    waiting: tuple[str, ...]
    received: int
    pixels: int
    missing: tuple[str, ...]
    failed: tuple[Failure, ...]
    stac: tuple[Path, ...]


@dataclass
class _Done:
    """What a share did."""

    made: int = 0
    received: int = 0
    failed: list[Failure] = field(default_factory=list)


def fetch_cells(
    regions: Sequence[Region],
    source: Source,
    years: Sequence[int],
    out: str | Path,
    options: FetchOptions | None = None,
    *,
    cell_px: int = CELL_PX,
    share: Share = WHOLE,
    workers: int = 1,
    executor: Callable[[int], Executor] = processes,
    retries: int = RETRIES,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> CellsFetched:
    """Fetch the cells of regions that lie in one UTM zone each.

    Args:
        regions: parts of what is wanted, see :meth:`tessera_core.region.Region.by_zone`.
        source: open; each process opens it by itself.
        years: which.
        out: folder; what is there of the same cells is kept.
        options: how; ``refresh`` is not looked at.
        cell_px: side of a cell in pixels.
        share: which of the cells are done here.
        workers: processes; 1 does the work in this one. The files are the same bytes.
        executor, retries: see :func:`tessera_core._utils.spread.spread`.

    Raises:
        InputError: a year or the number of dimensions is not to be had, or OUT holds something else.
        AcquisitionError: nothing could be had at all.
        ExportError: a file cannot be written.
        Cancelled: ``cancelled`` returned true; finished cells are kept, and what was fetched of others.
    """
    out, options, years = Path(out).absolute(), options or FetchOptions(), sorted(set(years))
    depth_of(source, options)
    for year in years:
        require_year(source, year, options, cancelled)
        if (out / str(year) / "raster.json").is_file():
            raise InputError(
                f"{out / str(year)} holds one raster, where cells would each be one; nothing was changed. Choose another folder."
            )
    jobs = tuple(jobs_of(regions, source, years, options, cell_px))
    try:
        for year in years:
            (out / str(year)).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"Cannot create the folder {out}: {error.strerror or error}.") from error
    task = functools.partial(_fetch_share, tuple(regions), source, jobs, out, options)
    if workers > 1 or executor is not processes:
        parts = spread(task, share, workers, executor=executor, retries=retries, progress=progress, cancelled=cancelled)
    else:
        parts = [task(share, progress=progress, cancelled=cancelled)]
    failed = [one for part in parts for one in part.failed]
    found = _looked_at(jobs, out)
    if failed and not found.cells and not found.empty:
        raise AcquisitionError(failed[0].why)
    with alone(out / _LOCK, passing=True):
        # Of the shares that end at one moment the last shows all.
        stac = [path for year in years if (path := write_collection(out / str(year))) is not None]
    lost = {one.what for one in failed}
    return replace(
        found,
        made=sum(part.made for part in parts),
        received=sum(part.received for part in parts),
        failed=tuple(failed),
        waiting=tuple(name for name in found.waiting if name not in lost),
        stac=tuple(stac),
    )


def plan_fetch(
    regions: Sequence[Region],
    source: Source,
    years: Sequence[int],
    out: str | Path,
    options: FetchOptions | None = None,
    *,
    cell_px: int = CELL_PX,
) -> Iterator[Planned]:
    """What :func:`fetch_cells` has to do, at the speed of earlier fetches; less is fetched where there is sea.

    One cell at a time: of a continent there are more than one would hold at once.

    Raises:
        InputError: as there.
    """
    options, out, years = options or FetchOptions(), Path(out), sorted(set(years))
    size = depth_of(source, options) + 4
    speed = cache.speed(source.location) or LINE_BYTES_S
    there = {year: names_in(out / str(year)) for year in years}
    for name, part, window, rim, grid in _cells(regions, source, options, cell_px):
        for year in years:
            job = CellJob(f"{name}_{year}", year, part, window, rim, grid)
            known = job.name in there[year] or _empty(job, out).name in there[year]
            read = size * job.grid.height * job.grid.width
            done = known and _noted(job, out) is not None
            yield Planned(job.name, job.grid, done, read, round(read * 1.01), read / speed / 60)


def jobs_of(
    regions: Sequence[Region], source: Source, years: Sequence[int], options: FetchOptions, cell_px: int = CELL_PX
) -> list[CellJob]:
    """The cells that hold a pixel of the regions, in each year: the same list on every machine."""
    cells = list(_cells(regions, source, options, cell_px))
    return [
        CellJob(f"{name}_{year}", year, part, window, rim, grid)
        for year in years
        for name, part, window, rim, grid in cells
    ]


def _cells(
    regions: Sequence[Region], source: Source, options: FetchOptions, cell_px: int
) -> Iterator[tuple[str, int, Window, bool, Grid]]:
    """Name, part of the region, window of the part's grid, whether pixels lie outside, and grid of each cell."""
    for part, (region, whole) in enumerate(zip(regions, _working_grids(regions, source, options), strict=True)):
        t = whole.grid.transform
        for cell, grid, rim in cut_region(region, whole.grid, cell_px):
            row, col = round((t.f - grid.transform.f) / t.a), round((grid.transform.c - t.c) / t.a)
            window = slice(row, row + grid.height), slice(col, col + grid.width)
            yield cell.name, part, window, rim, grid


def _working_grids(regions: Sequence[Region], source: Source, options: FetchOptions) -> list[WorkingGrid]:
    """Of each region, of any size. Asked first by every process, so that all know the same zones of a store."""
    return [
        with_retries(
            functools.partial(source.working_grid, region, clip=False), source.location, options.attempts, None
        )
        for region in regions
    ]


def _fetch_share(
    regions: tuple[Region, ...],
    source: Source,
    jobs: tuple[CellJob, ...],
    out: Path,
    options: FetchOptions,
    share: Share,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> _Done:
    """Fetch the cells of a share that are left; one that another run is at is looked at again at the end."""
    grids, done, in_a_row = _working_grids(regions, source, options), _Done(), 0
    todo = deque((job, False) for job in share.take(jobs))
    count = len(todo)
    while todo:
        job, wait = todo.popleft()
        if cancelled is not None and cancelled():
            raise Cancelled
        number = count - len(todo) - 1

        def report(part: int, total: int, message: str, job: CellJob = job, number: int = number) -> None:
            if progress is not None:
                progress(100 * number + 100 * part // max(total, 1), 100 * count, f"{job.name} {message}")

        report(0, 1, "")
        if in_a_row >= GIVE_UP_AFTER:
            done.failed.append(Failure(job.name, f"Not tried, because nothing came before: {done.failed[-1].why}"))
            continue
        try:
            with alone_at(job.folder(out), wait=wait):
                received = _fetch_one(job, regions[job.part], grids[job.part], source, out, options, report, cancelled)
        except BlockingIOError:
            todo.append((job, True))
        except (AcquisitionError, InputError) as error:
            done.failed.append(Failure(job.name, str(error)))
            in_a_row += isinstance(error, AcquisitionError)
        else:
            in_a_row = 0
            if received is not None:
                done.made += 1
                done.received += received
    if progress is not None:
        progress(100 * count, 100 * count, "")
    return done


def _fetch_one(
    job: CellJob,
    region: Region,
    whole: WorkingGrid,
    source: Source,
    out: Path,
    options: FetchOptions,
    progress: Progress,
    cancelled: Cancel | None,
) -> int | None:
    """Fetch a cell; the bytes that came, or None where it was there whole.

    Raises:
        InputError: the store has not published the year there, or something else lies where the cell would.
        AcquisitionError, ExportError, Cancelled: as :func:`fetch_cells`.
    """
    here = whole.crop(job.window)
    if job.rim:
        here = replace(here, inside=region.mask(here.grid))
    depth, target = depth_of(source, options), job.folder(out)
    place = Region(shapely.box(*here.grid.bounds_lonlat), job.name)
    request = YearRequest(place, source, here, job.year, depth)
    plan = plan_digest(plan_of(request))
    if (note := _noted(job, out, gaps=True)) is not None and (known := note.get("plan")) != plan:
        raise InputError(
            f"{target} holds another part of this cell, or another dataset; nothing was changed. Choose another folder."
            if known
            else f"{target} was not made by this command; nothing was changed. Choose another folder."
        )
    if note is not None and not note.get("missing"):
        _complete(target, whole=True)
        return None
    require_published(source, here, job.year, options, cancelled)
    fetched = fetch_into(YearWriter(request, target, cached=False), options, progress, cancelled or never)
    if not fetched.missing and not fetched.entry.facts["pixels"].get("valid"):
        write_json(_empty(job, out), fetched.entry.facts)
        shutil.rmtree(target)
    else:
        _complete(target, whole=not fetched.missing)
    return fetched.received


def _complete(target: Path, *, whole: bool) -> None:
    """What a finished cell has beside it, and no longer what only an unfinished one needs."""
    if not target.is_dir():
        return
    if not target.with_name(f"{target.name}.stac.json").is_file() or not whole or (target / PIECES).exists():
        write_item(target)
    if whole:
        for name in (PIECES, PLAN):
            (target / name).unlink(missing_ok=True)


def _empty(job: CellJob, out: Path) -> Path:
    """The note of a cell without one embedding."""
    return out / str(job.year) / f"{job.name}.empty.json"


def _noted(job: CellJob, out: Path, *, gaps: bool = False) -> dict[str, Any] | None:
    """What is noted of a cell that is there, empty or not; of one with gaps only if asked. Without ``plan`` it is not ours."""
    target = job.folder(out)
    for path in (target / "fetch.json", _empty(job, out)):
        try:
            note = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(note, dict):
            return note if gaps or not note.get("missing") else None
    return {} if gaps and target.exists() else None


def _looked_at(jobs: Sequence[CellJob], out: Path) -> CellsFetched:
    """What is there of the cells."""
    cells, empty, waiting, missing, pixels = [], [], [], [], 0
    for job in jobs:
        note = _noted(job, out, gaps=True)
        if not note:
            waiting.append(job.name)
        elif job.folder(out).is_dir():
            cells.append(job.name)
            pixels += int(note.get("pixels", {}).get("valid", 0))
            missing += [str(sentence) for sentence in note.get("missing", [])]
        else:
            empty.append(job.name)
    return CellsFetched(out, tuple(cells), tuple(empty), 0, tuple(waiting), 0, pixels, tuple(missing), (), ())
