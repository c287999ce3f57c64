"""A request for satellite data: region, window and archive, what it will cost, and where its tiles are kept.

The same request always has the same folder, so a run that was stopped goes on. The work is in
:mod:`tessera_core.dpixels.acquire`; this module refuses to know what the tiles are used for.

Two environment variables replace the addresses of the archives, for a mirror or a test: ``TESSERA_STAC_URL`` (a STAC API with
the same collections, read without signing) and ``TESSERA_CMR_URL`` (the granule search of Sentinel-1 on AWS).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tessera_core._utils.paths import data_home
from tessera_core.cells import CELL_PX, cut
from tessera_core.dpixels.acquire import CATALOGUES, AcquireOptions, AcquisitionReport, Catalogue, Window, acquire
from tessera_core.dpixels.preprocess import OffsetRule
from tessera_core.errors import InputError
from tessera_core.grid import Grid
from tessera_core.periods import period_of
from tessera_core.project.folders import safe_name
from tessera_core.region import Region
from tessera_core.types import Cancel, Progress

# A guess before anything is asked: both satellites of a pair together, mid-latitudes, half of the optical views cloudy.
_S2_DATES, _S1_PASSES, _CLEAR = 73, 60, 0.5
# Archive files come in compressed blocks of about 512 x 512 pixels; the bytes of one are an assumption, not measured.
_BLOCK_PX, _S2_BLOCK, _S1_BLOCK = 512, 370_000, 840_000
_S2_10M, _S2_20M, _POLARISATIONS = 4, 7, 2
# Per pixel and date: ten bands of uint16 and a mask byte; two polarisations of int16.
_S2_BYTES, _S1_BYTES = 21, 4


@dataclass(frozen=True)
class Request:
    """What to fetch.

    Attributes:
        region: where.
        window: when.
        source: ``"mpc"`` (Planetary Computer) or ``"aws"``.
        offset_rule: see :func:`tessera_core.dpixels.acquire.acquire`.
    """

    region: Region
    window: Window
    source: str = "mpc"
    offset_rule: OffsetRule = "date"

    @cached_property
    def grid(self) -> Grid:
        """The UTM grid of the region.

        Raises:
            GridError: the region lies outside UTM's range.
        """
        return self.region.grid()

    @property
    def period(self) -> int:
        """The year or window that embeddings of it are of."""
        return period_of(self.window.start, self.window.end)

    @property
    def name(self) -> str:
        """For the project made of it: the region and the year or window."""
        when = str(self.window.year) if self.window.year else f"{self.window.start} to {self.window.end}"
        return f"{self.region.name} {when}"

    @property
    def pixels(self) -> int:
        """Pixels of the grid."""
        return self.grid.width * self.grid.height

    @property
    def area_km2(self) -> float:
        """Area of the region itself, not of the grid around it."""
        from pyproj import Geod

        area, _ = Geod(ellps="WGS84").geometry_area_perimeter(self.region.geometry)
        return abs(float(area)) / 1e6

    @property
    def patches(self) -> int:
        """Tiles it is cut into, at most; those without a pixel of the region are left out."""
        grid = self.grid
        return 1 if max(grid.shape) <= CELL_PX else sum(1 for _ in cut(grid))

    @property
    def observations(self) -> tuple[float, float]:
        """Guess of valid Sentinel-2 and Sentinel-1 observations per pixel."""
        return _S2_DATES * _CLEAR * self._share_of_year, _S1_PASSES * self._share_of_year

    @property
    def download_bytes(self) -> int:
        """Guess of what is fetched: whole blocks of the archive's files, so a small region costs almost as much as 5 x 5 km."""

        return download_bytes(self.grid, self.window)

    @property
    def disk_bytes(self) -> int:
        """Guess of the size of its tiles, uncompressed as they are kept."""
        return disk_bytes(self.grid, self.window)

    @property
    def folder(self) -> Path:
        """Where its tiles are kept; the same request finds them again."""
        shape = self.region.geometry.normalize().wkb_hex
        window = [self.window.start.isoformat(), self.window.end.isoformat()]
        digest = hashlib.sha256(json.dumps([shape, window, self.source, self.offset_rule]).encode()).hexdigest()[:10]
        return data_home() / "tiles" / f"{safe_name(self.name)}-{digest}"

    @property
    def catalogue(self) -> Catalogue:
        """The archive, at the addresses that the environment gives (see the module's docstring)."""
        return catalogue_of(self.source)

    @property
    def _share_of_year(self) -> float:
        return _share_of_year(self.window)


def catalogue_of(source: str) -> Catalogue:
    """The archive of a name, at the addresses that the environment gives (see the module's docstring).

    Raises:
        InputError: there is none of that name.
    """
    if source not in CATALOGUES:
        raise InputError(f"The source {source!r} is not known; it is one of {', '.join(CATALOGUES)}.")
    catalogue = CATALOGUES[source]
    if url := os.environ.get("TESSERA_STAC_URL"):
        catalogue = dataclasses.replace(catalogue, stac_url=url, signed=False)
    if catalogue.cmr_url and (url := os.environ.get("TESSERA_CMR_URL")):
        catalogue = dataclasses.replace(catalogue, cmr_url=url)
    return catalogue


def _share_of_year(window: Window) -> float:
    return min(1.0, ((window.end - window.start).days + 1) / 365)


def download_bytes(grid: Grid, window: Window) -> int:
    """Guess of what is fetched for a grid: whole blocks of the archive's files."""

    def blocks(resolution_m: int) -> float:
        side = _BLOCK_PX * resolution_m / 10
        # A region that lies anywhere touches one block more than fits in it, on average.
        return (grid.width / side + 1) * (grid.height / side + 1)

    s2 = (blocks(10) * _S2_10M + blocks(20) * _S2_20M) * _S2_BLOCK * _S2_DATES
    s1 = blocks(10) * _POLARISATIONS * _S1_BLOCK * _S1_PASSES
    return int((s2 + s1) * _share_of_year(window))


def disk_bytes(grid: Grid, window: Window) -> int:
    """Guess of the size of a grid's tiles, uncompressed as they are kept."""
    pixels = grid.width * grid.height
    return int(pixels * (_S2_BYTES * _S2_DATES + _S1_BYTES * _S1_PASSES) * _share_of_year(window))


def fetch(request: Request, progress: Progress, cancelled: Cancel) -> AcquisitionReport:
    """Fetch the tiles of a request into its folder, going on where an earlier run stopped.

    Raises:
        AcquisitionError: the archive does not answer, or has nothing for this place and time.
        Cancelled: ``cancelled`` returned true; finished days and tiles stay.
    """
    return acquire(
        request.region,
        request.window,
        request.catalogue,
        request.folder,
        AcquireOptions(offset_rule=request.offset_rule),
        progress=progress,
        cancelled=cancelled,
    )
