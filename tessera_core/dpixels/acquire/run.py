"""A region and a window become d-pixel tiles: chunked, resumable, each missing piece named.

The region's UTM grid is cut into patches, the cells of its zone where it is large. A patch is worked on day by day; each
finished day (and orbit) is one small file in a hidden work folder beside the tile, so a killed run goes on where it was. When
all days are there they are stacked into the tile directory, which appears whole. Days whose assets could not be read are named
in the tile's ``meta.json`` under ``missing`` and tried again by the next run.

Differences from the authors' pipeline, on purpose: the coverage threshold is taken per patch, not over the whole region; and
a resumed day is mosaicked exactly as a fresh one (theirs may differ, docs/spec/model.md section 4.3).
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import logging
import math
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import atomic_path
from tessera_core._utils.folders import names_in
from tessera_core._utils.share import WHOLE, Share
from tessera_core.cells import CELL_PX, cut_region
from tessera_core.dpixels import preprocess
from tessera_core.dpixels.acquire.catalogue import Catalogue, SentinelScene, Window
from tessera_core.dpixels.acquire.folders import finished, require_own, stack_days, start_work
from tessera_core.dpixels.acquire.read import AssetError, read_asset
from tessera_core.dpixels.tile import S1_POLARISATIONS, S2_BANDS
from tessera_core.errors import AcquisitionError, Cancelled
from tessera_core.grid import Grid
from tessera_core.region import Region
from tessera_core.types import Cancel, Progress

log = logging.getLogger(__name__)

# How regions were cut before there were cells; a folder that was begun so is finished so.
FORMER_PATCH_PX = 500
_FORMER = re.compile(r"\.?\d+_\d+_\d+_\d+(\.work)?")
# Catalogues draw footprints with few corners: so far beyond one, a scene may still have pixels.
MARGIN_M = 2000.0


@dataclass
class AcquisitionReport:
    """What a run did.

    Attributes:
        tiles: folders of finished tiles.
        days_s2, passes_s1: dates and passes stacked, over all tiles.
        missing: sentences naming what could not be fetched; the next run tries it again.
        left_out: sentences naming catalogue items that cannot be used.
    """

    tiles: list[Path] = field(default_factory=list)
    days_s2: int = 0
    passes_s1: int = 0
    missing: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """JSON object."""
        return {
            "tiles": [str(tile) for tile in self.tiles],
            "days_s2": self.days_s2,
            "passes_s1": self.passes_s1,
            "missing": self.missing,
            "left_out": self.left_out,
        }


@dataclass(frozen=True)
class _Task:
    """All scenes of one day (Sentinel-2) or of one day and orbit (Sentinel-1)."""

    sensor: str
    date: dt.date
    scenes: tuple[SentinelScene, ...]

    @property
    def file_stem(self) -> str:
        return f"{self.sensor}_{self.date.isoformat()}"


@dataclass(frozen=True)
class AcquireOptions:
    """What is taken and how it is read.

    Attributes:
        offset_rule: ``"date"`` as the authors did, or ``"baseline"``, the physically correct one.
        max_cloud: leave out Sentinel-2 items with a higher cloud share (percent).
        min_coverage_s2: least share of a patch's pixels that a day must see.
        min_coverage_s1: least share of a patch's pixels that a pass must cover.
        patch_px: side of a tile in pixels, counted from the region's corner; None for one tile where the region is no larger
            than a cell, else cells (:mod:`tessera_core.cells`), which lie alike for every region.
        cells: cut into cells however small the region is.
        pieces: names and grids of the tiles, for pixels that others have laid out; None for the region's own grid, cut as above.
        workers: assets read at the same time.
        timeout_s: longest wait for one request.
    """

    offset_rule: preprocess.OffsetRule = "date"
    max_cloud: float = 100
    min_coverage_s2: float = 0.0001
    min_coverage_s1: float = 0.0001
    patch_px: int | None = None
    cells: bool = False
    pieces: tuple[tuple[str, Grid], ...] | None = None
    workers: int = 8
    timeout_s: float = 60.0


@dataclass(frozen=True)
class _Settings:
    catalogue: Catalogue
    window: Window
    options: AcquireOptions


def acquire(
    region: Region,
    window: Window,
    catalogue: Catalogue,
    out: str | Path,
    options: AcquireOptions | None = None,
    *,
    share: Share = WHOLE,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> AcquisitionReport:
    """Fetch the region's time series and write one d-pixel tile per patch below ``out``.

    Args:
        region: where.
        window: when; any span of up to a year.
        catalogue: from where, see ``CATALOGUES``.
        out: folder for the tiles, named ``<x0>_<y0>_<x1>_<y1>`` in pixels of the region's grid, or by cell and time.
        options: what is taken and how; None for what the authors did.
        share: which of the tiles are fetched here.
        progress, cancelled: see docs/architecture.md.

    Raises:
        InputError: a tile's folder holds something else.
        AcquisitionError: the catalogue does not answer, or has nothing for this place and time.
        Cancelled: the user stopped; finished days and tiles stay.
    """
    out = Path(out)
    options = options or AcquireOptions()
    grid = region.grid(limited=False, plain=options.cells)
    settings = _Settings(catalogue, window, options)
    if progress is not None:
        progress(0, 1, f"asking {catalogue.name} for scenes")
    report = AcquisitionReport()
    patches = share.take(list(_cut(grid, region, out, settings)))
    if not patches:
        return report
    for name, patch in patches:
        require_own(out / name, _request(patch, settings))
    archive = _Archive(
        catalogue.sentinel2(region.bbox, window, options.max_cloud, report.left_out),
        catalogue.sentinel1(region.bbox, window, report.left_out),
    )
    if not archive.scenes:
        raise AcquisitionError(
            f"{catalogue.stac_url} has no Sentinel scenes over this region from {window.start} to {window.end}."
        )
    tasks_of = {name: archive.tasks_over(patch) for name, patch in patches}
    total, before = sum(map(len, tasks_of.values())), 0
    problems: list[AcquisitionError] = []
    for name, patch in patches:
        tasks = tasks_of[name]

        def step(done: int, message: str, before: int = before) -> None:
            if progress is not None:
                progress(before + done, total, message)

        try:
            _acquire_patch(out / name, patch, region.mask(patch), tasks, settings, report, step, cancelled)
        except AcquisitionError as error:
            # One part of the region without observations is no reason to leave out the others.
            problems.append(error)
            report.missing.append(str(error))
        before += len(tasks)
    if not report.tiles:
        raise problems[0]
    return report


class _Archive:
    """The scenes of a region, and which of them may have pixels in a part of it.

    What is asked for a part is read from the scenes over that part alone, so that the work grows with the region and not with its
    square.
    """

    def __init__(self, s2: Iterable[SentinelScene], s1: Iterable[SentinelScene]) -> None:
        import shapely

        # Scenes of one day belong together; Sentinel-1 of one day and orbit (OPERA's orbit is known on reading only).
        self.scenes = [("s2", scene) for scene in s2]
        self.scenes += [(f"s1-{scene.orbit or 'any'}", scene) for scene in s1]
        self._placed = [n for n, (_, scene) in enumerate(self.scenes) if scene.footprint is not None]
        self._anywhere = [n for n, (_, scene) in enumerate(self.scenes) if scene.footprint is None]
        self._tree = shapely.STRtree([self.scenes[n][1].footprint for n in self._placed])

    def tasks_over(self, grid: Grid) -> list[_Task]:
        """The days (and orbits) with scenes over a grid, in order; scenes in search order."""
        from shapely.geometry import box

        margin = math.ceil(MARGIN_M / abs(grid.transform.a))
        wide = grid.window(-margin, -margin, grid.height + 2 * margin, grid.width + 2 * margin)
        near = [self._placed[n] for n in self._tree.query(box(*wide.bounds_lonlat), predicate="intersects")]
        groups: dict[tuple[str, dt.date], list[SentinelScene]] = {}
        for sensor, scene in (self.scenes[n] for n in sorted([*near, *self._anywhere])):
            groups.setdefault((sensor, scene.date), []).append(scene)
        return [_Task(sensor, date, tuple(scenes)) for (sensor, date), scenes in sorted(groups.items())]


def planned(
    region: Region, window: Window, catalogue: Catalogue, out: str | Path, options: AcquireOptions | None = None
) -> Iterator[tuple[str, Grid, bool]]:
    """The tiles that :func:`acquire` would write: name, grid, and whether it is there and whole. Nothing is asked of anybody."""
    out, settings = Path(out), _Settings(catalogue, window, options or AcquireOptions())
    there = names_in(out)
    for name, grid in _cut(region.grid(limited=False, plain=settings.options.cells), region, out, settings):
        yield name, grid, name in there and finished(out / name, _request(grid, settings)) is not None


def _cut(grid: Grid, region: Region, out: Path, settings: _Settings) -> Iterable[tuple[str, Grid]]:
    """The grid in parts with a name each, without those that hold no pixel of the region."""
    if settings.options.pieces is not None:
        yield from settings.options.pieces
        return
    side = settings.options.patch_px
    if side is None and _begun_before(grid, region, out, settings):
        side = FORMER_PATCH_PX
    if side is None and (settings.options.cells or max(grid.shape) > CELL_PX):
        window = settings.window
        when = str(window.year) if window.year else f"{window.start:%Y%m%d}-{window.end:%Y%m%d}"
        for cell, part, _ in cut_region(region, grid):
            yield f"{cell.name}_{when}", part
        return
    yield from _patches(grid, region, side or CELL_PX)


def _begun_before(grid: Grid, region: Region, out: Path, settings: _Settings) -> bool:
    """Whether this very request was begun in this folder when regions were cut in another way."""
    if max(grid.shape) <= FORMER_PATCH_PX or not out.is_dir():
        return False
    if not any(_FORMER.fullmatch(path.name) for path in out.iterdir()):
        # A country has so many squares that looking for each takes minutes.
        return False
    for name, patch in _patches(grid, region, FORMER_PATCH_PX):
        request = _request(patch, settings)
        for path in (out / name / "meta.json", out / f".{name}.work" / "request.json"):
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if isinstance(found, dict) and all(found.get(key) == value for key, value in request.items()):
                return True
    return False


def _patches(grid: Grid, region: Region, patch_px: int) -> Iterable[tuple[str, Grid]]:
    """The grid cut into squares from its corner, without those that hold no pixel of the region."""
    for y0, x0 in itertools.product(range(0, grid.height, patch_px), range(0, grid.width, patch_px)):
        y1, x1 = min(y0 + patch_px, grid.height), min(x0 + patch_px, grid.width)
        patch = grid.window(y0, x0, y1 - y0, x1 - x0)
        if region.mask(patch).any():
            yield f"{x0}_{y0}_{x1}_{y1}", patch


def _acquire_patch(
    folder: Path,
    grid: Grid,
    roi: NDArray[np.bool_],
    tasks: Sequence[_Task],
    settings: _Settings,
    report: AcquisitionReport,
    step: Callable[[int, str], None],
    cancelled: Cancel | None,
) -> None:
    request = _request(grid, settings)
    if (done := finished(folder, request)) is not None:
        report.tiles.append(folder)
        report.days_s2 += done["days_s2"]
        report.passes_s1 += done["passes_s1"]
        step(len(tasks), f"{folder.name} is there already")
        return
    work = folder.parent / f".{folder.name}.work"
    start_work(work, request)
    missing: list[str] = []
    with ThreadPoolExecutor(settings.options.workers) as pool:
        for number, task in enumerate(tasks, 1):
            if cancelled is not None and cancelled():
                raise Cancelled
            if not (work / f"{task.file_stem}.npz").exists():
                arrays = _read_task(task, grid, roi, settings, pool, missing, cancelled)
                if arrays is not None:
                    with atomic_path(work / f"{task.file_stem}.npz") as part:
                        np.savez(part, **arrays)  # type: ignore[arg-type]
            step(number, f"{task.sensor[:2].upper()} {task.date} of {folder.name}")
    days, passes = stack_days(folder, work, grid, roi, settings.window, request, missing)
    if not missing:
        shutil.rmtree(work)
    report.tiles.append(folder)
    report.days_s2 += days
    report.passes_s1 += passes
    report.missing.extend(f"{folder.name}: {sentence}" for sentence in missing)


def _request(grid: Grid, settings: _Settings) -> dict[str, Any]:
    """What a tile depends on, as its ``meta.json`` keeps it."""
    window = settings.window
    return {
        "window": [window.start.isoformat(), window.end.isoformat()],
        "source": settings.catalogue.name,
        "offset_rule": settings.options.offset_rule,
        "grid": grid.to_json(),
    }


def _read_task(
    task: _Task,
    grid: Grid,
    roi: NDArray[np.bool_],
    settings: _Settings,
    pool: ThreadPoolExecutor,
    missing: list[str],
    cancelled: Cancel | None,
) -> dict[str, NDArray[Any]] | None:
    """Arrays of one day, or None when something could not be read; an empty dict when there is nothing to keep."""
    read = _read_s2 if task.sensor == "s2" else _read_s1

    def fetch(scene: SentinelScene, name: str) -> tuple[NDArray[np.float32], dict[str, str]]:
        return read_asset(
            lambda: settings.catalogue.sign(scene.assets[name]),
            grid,
            _resampling(task.sensor, name, settings.catalogue),
            label=f"{name} of {scene.id}",
            zero_is_nodata=task.sensor == "s2",
            cancelled=cancelled,
            timeout_s=settings.options.timeout_s,
        )

    return read(task, roi, settings, pool, fetch, missing)


def _resampling(sensor: str, name: str, catalogue: Catalogue) -> Any:
    if sensor == "s2":
        return "nearest" if name == "SCL" else "bilinear"
    return catalogue.s1_resampling


Fetch = Callable[[SentinelScene, str], tuple[NDArray[np.float32], dict[str, str]]]


def _collect(jobs: Sequence[Any], missing: list[str]) -> list[Any] | None:
    """Results of all jobs in order, or None (with each failure named) when one failed."""
    results, failed = [], False
    for job in jobs:
        try:
            results.append(job.result())
        except AssetError as error:
            missing.append(str(error))
            failed = True
    return None if failed else results


def _read_s2(
    task: _Task,
    roi: NDArray[np.bool_],
    settings: _Settings,
    pool: ThreadPoolExecutor,
    fetch: Fetch,
    missing: list[str],
) -> dict[str, NDArray[Any]] | None:
    scenes = task.scenes
    classes = _collect([pool.submit(fetch, scene, "SCL") for scene in scenes], missing)
    if classes is None:
        return None
    scl = np.stack([values for values, _ in classes])
    choice = preprocess.select_items(scl, roi)
    valid = choice >= 0
    if not valid.any() or valid.sum() < settings.options.min_coverage_s2 * roi.sum():
        return {}
    filled = preprocess.fallback_items(choice, roi, len(scenes), seed=task.date.toordinal())
    used = [index for index in range(len(scenes)) if (filled == index).any()]
    jobs = [pool.submit(fetch, scenes[index], band) for band in S2_BANDS for index in used]
    results = _collect(jobs, missing)
    if results is None:
        return None
    bands = np.zeros((*roi.shape, len(S2_BANDS)), np.uint16)
    layers = np.full((len(scenes), *roi.shape), np.nan, np.float32)
    for number in range(len(S2_BANDS)):
        for place, index in enumerate(used):
            values = results[number * len(used) + place][0]
            if settings.options.offset_rule == "baseline":
                values = preprocess.harmonise(
                    values,
                    task.date,
                    rule="baseline",
                    source=settings.catalogue.name,
                    baseline=scenes[index].baseline,
                )
            layers[index] = values
        band = preprocess.mosaic(layers, filled)
        if settings.options.offset_rule == "date":
            band = preprocess.harmonise(band, task.date, rule="date", source=settings.catalogue.name)
        bands[..., number] = preprocess.to_dn(band)
    return {"bands": bands, "mask": valid.astype(np.uint8)}


def _read_s1(
    task: _Task,
    roi: NDArray[np.bool_],
    settings: _Settings,
    pool: ThreadPoolExecutor,
    fetch: Fetch,
    missing: list[str],
) -> dict[str, NDArray[Any]] | None:
    names = [(scene, name) for scene in task.scenes for name in S1_POLARISATIONS if name in scene.assets]
    results = _collect([pool.submit(fetch, scene, name) for scene, name in names], missing)
    if results is None:
        return None
    layers: dict[tuple[str, str], list[NDArray[np.int16]]] = {}
    for (scene, name), (power, tags) in zip(names, results, strict=True):
        orbit = scene.orbit or tags.get("ORBIT_PASS_DIRECTION", "").lower()
        if orbit not in ("ascending", "descending"):
            log.warning("%s does not tell its orbit; it is left out.", scene.id)
            continue
        covered = np.isfinite(power) & (power > 0) & roi
        if not covered.any() or covered.sum() < settings.options.min_coverage_s1 * roi.sum():
            continue
        code = preprocess.sar_code(power)
        code[~roi] = 0
        layers.setdefault((orbit, name), []).append(code)
    arrays: dict[str, NDArray[Any]] = {}
    for orbit in ("ascending", "descending"):
        if any(key[0] == orbit for key in layers):
            empty = [np.zeros(roi.shape, np.int16)]
            parts = [preprocess.first_nonzero(np.stack(layers.get((orbit, p), empty))) for p in S1_POLARISATIONS]
            arrays[orbit] = np.stack(parts, -1)
    return arrays
