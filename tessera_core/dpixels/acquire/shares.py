"""Cells of a region fetched by several processes at once, each a share of them, all into one folder."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path

from tessera_core._utils.share import WHOLE, Share
from tessera_core._utils.spread import RETRIES, processes, spread
from tessera_core.dpixels.acquire.catalogue import Catalogue, Window
from tessera_core.dpixels.acquire.run import AcquireOptions, AcquisitionReport, acquire
from tessera_core.errors import AcquisitionError
from tessera_core.region import Region
from tessera_core.types import Cancel, Progress


def acquire_in_shares(
    regions: Sequence[Region],
    window: Window,
    catalogue: Catalogue,
    out: str | Path,
    options: AcquireOptions,
    workers: int = 1,
    *,
    share: Share = WHOLE,
    executor: Callable[[int], Executor] = processes,
    retries: int = RETRIES,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> AcquisitionReport:
    """As :func:`~tessera_core.dpixels.acquire.run.acquire`, of several regions (a region's zones) and by several processes.

    Args:
        regions: one after the other; each is cut by itself.
        workers: processes; 1 does the work in this one.
        share, executor, retries, progress: see :func:`tessera_core._utils.spread.spread`.

    Raises:
        InputError, AcquisitionError, ExportError: as there; of several parts those that cannot be had are named in the report.
    """
    many = workers > 1 or executor is not processes
    whole = AcquisitionReport()
    for number, region in enumerate(regions):

        def report(done: int, total: int, message: str, number: int = number) -> None:
            if progress is not None:
                progress(100 * number + 100 * done // max(total, 1), 100 * len(regions), message)

        task = functools.partial(_one_share, region, window, catalogue, Path(out).absolute(), options)
        if many:
            parts = spread(
                task, share, workers, executor=executor, retries=retries, progress=report, cancelled=cancelled
            )
        else:
            parts = [task(share, progress=report, cancelled=cancelled)]
        for part in parts:
            whole.tiles += [Path(out) / tile.name for tile in part.tiles]
            whole.days_s2 += part.days_s2
            whole.passes_s1 += part.passes_s1
            whole.missing += part.missing
            # Each share is told of the same items.
            whole.left_out += [sentence for sentence in part.left_out if sentence not in whole.left_out]
    if whole.missing and not whole.tiles:
        raise AcquisitionError(whole.missing[0])
    whole.tiles.sort()
    return whole


def _one_share(
    region: Region,
    window: Window,
    catalogue: Catalogue,
    out: Path,
    options: AcquireOptions,
    share: Share,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> AcquisitionReport:
    try:
        return acquire(region, window, catalogue, out, options, share=share, progress=progress, cancelled=cancelled)
    except AcquisitionError as error:
        # What this share cannot have others may.
        return AcquisitionReport(missing=[str(error)])
