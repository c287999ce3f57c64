"""Newer data of a project's publisher: whether there are any, what they change pixel by pixel, and taking them.

A project stays with the state of the repository that it was read from, until somebody has looked and decided. Which snapshots
differ where is in :mod:`tessera_core.sources.remote.snapshots`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import Cancelled, InputError
from tessera_core.observations import percent
from tessera_core.project import load
from tessera_core.project.project import Project
from tessera_core.raster import EmbeddingRaster
from tessera_core.sources.local.open import open_embeddings
from tessera_core.sources.remote.fetch import FetchOptions, fetch_years
from tessera_core.sources.remote.snapshots import Newer
from tessera_core.types import Cancel, Progress

SAME, CHANGED, APPEARED, GONE = range(4)


@dataclass(frozen=True)
class YearDifference:
    """What newer data change in a year of a region.

    Attributes:
        year: which.
        changed, appeared, gone: pixels whose numbers are others; that have data now; that have none any more.
        pixels: with data in either.
        cosine_median: of the changed pixels, between before and now; 1 where none changed.
        picture: uint8 (H, W): 0 the same, 1 changed, 2 appeared, 3 gone.
    """

    year: int
    changed: int
    appeared: int
    gone: int
    pixels: int
    cosine_median: float
    picture: NDArray[np.uint8]

    @property
    def sentence(self) -> str:
        """For people."""
        share = percent((self.changed + self.appeared + self.gone) / max(self.pixels, 1))
        if self.changed:
            return (
                f"In {self.year} {share} of the pixels differ: {self.changed:,} have other numbers, old and new alike by "
                f"{self.cosine_median:.4f} (1 is the same), {self.appeared:,} are new, {self.gone:,} are gone."
            )
        if self.appeared or self.gone:
            return f"In {self.year} {share} of the pixels differ: {self.appeared:,} are new, {self.gone:,} are gone."
        return f"In {self.year} not one pixel of your region differs."


@dataclass(frozen=True)
class Look:
    """What looking for newer data found.

    Attributes:
        newer: which snapshots, and which years they touch; None where the project was not read from a repository.
        differences: of the years that they touch.
    """

    newer: Newer | None
    differences: tuple[YearDifference, ...] = ()

    @property
    def sentence(self) -> str:
        """For people."""
        if self.newer is None:
            return "This region was not read from a repository with snapshots, so nobody can tell."
        return self.newer.sentence or "The publisher has nothing newer; your region is of the newest state."


def look(project: Project, progress: Progress, cancelled: Cancel) -> Look:
    """Look whether the publisher has newer data, and fetch those that touch the region, to say what differs.

    What was fetched stays in the cache, so that :func:`take` needs no network for it.

    Raises:
        AcquisitionError: the repository does not answer.
        ExportError: the disk is full.
        Cancelled: ``cancelled`` returned true.
    """
    progress(0, 100, "Looking for newer data")
    request, found = load.request_of(project), load.ask_for_newer(project, cancelled=cancelled)
    if request is None or found is None:
        return Look(None)
    have = load.dated(project)
    touched = [year for year in found.years if year in have]
    if found.pinned == found.newest or not touched:
        return Look(found)
    newest = replace(request, snapshot=found.newest).source.location
    got = fetch_years(
        request.region,
        newest,
        touched,
        FetchOptions(dim=request.dim),
        progress=lambda done, total, message: progress(90 * done // max(total, 1), 100, message),
        cancelled=cancelled,
    )
    differences = []
    for fetched in got:
        progress(95, 100, "Comparing")
        year = fetched.entry.year
        before = open_embeddings(project.embeddings_path(year), year=year)
        differences.append(difference(before, fetched.open(), cancelled=cancelled))
    return Look(found, tuple(differences))


def take(project: Project, found: Look, progress: Progress, cancelled: Cancel) -> Project:
    """Let a project use the newer data of the years that they touch; labels stay.

    Raises:
        InputError: there are none.
        TesseraError: as :func:`tessera_core.project.load.load`.
    """
    request = load.request_of(project)
    years = tuple(difference.year for difference in found.differences)
    if request is None or found.newer is None or not years:
        raise InputError("There is no newer data of this region to take.")
    wanted = replace(request, years=years, snapshot=found.newer.newest)
    return load.load(wanted, progress, cancelled, project=project)


def difference(before: EmbeddingRaster, now: EmbeddingRaster, *, cancelled: Cancel | None = None) -> YearDifference:
    """What two rasters of one year on the same pixels differ in; a block at a time.

    Raises:
        InputError: they do not lie on the same pixels.
        Cancelled: ``cancelled`` returned true.
    """
    if before.grid != now.grid or before.dim != now.dim:
        raise InputError("The newer data lie on other pixels; load the region as a project of its own to compare them.")
    picture = np.zeros(before.shape, np.uint8)
    cosines: list[NDArray[np.float64]] = []
    pixels = 0
    for rows in before.row_slices():
        if cancelled is not None and cancelled():
            raise Cancelled
        old, new = before.valid(rows), now.valid(rows)
        ours, theirs = np.asarray(before.codes[rows]), np.asarray(now.codes[rows])
        other = (ours != theirs).any(-1) | (np.asarray(before.scales[rows]) != np.asarray(now.scales[rows]))
        block = picture[rows]
        block[old & new & other], block[~old & new], block[old & ~new] = CHANGED, APPEARED, GONE
        pixels += int((old | new).sum())
        a, b = (codes[block == CHANGED].astype(np.float64) for codes in (ours, theirs))
        if len(a):
            norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
            cosines.append(np.einsum("nd,nd->n", a, b) / np.maximum(norms, 1e-12))
    counts = np.bincount(picture.ravel(), minlength=4)
    median = float(np.median(np.concatenate(cosines))) if cosines else 1.0
    return YearDifference(
        now.provenance.year or 0,
        int(counts[CHANGED]),
        int(counts[APPEARED]),
        int(counts[GONE]),
        pixels,
        median,
        picture,
    )
