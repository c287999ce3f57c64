"""The public archive of AlphaEarth annual embeddings: an index of COGs, read window by window over HTTP or from a copy on disk.

Under one address: ``aef_index.parquet``, a row per file with year, UTM zone and bounds, and ``<year>/<zone>/<file>.tiff``, 64
int8 bands of 8192 x 8192 pixels of 10 m, stored from south to north (docs/spec/formats.md "Published embedding layouts"). All
files of a zone share one pixel grid. Every vector has unit length, and what has not is no embedding: that is how damaged
bytes are found, which these files have no checksums for.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import AcquisitionError, InputError
from tessera_core.gate import open_remote_raster, raster_errors
from tessera_core.grid import transformer
from tessera_core.provenance import Provenance
from tessera_core.raster import NoData, valid_scales
from tessera_core.region import Region
from tessera_core.sources import alphaearth
from tessera_core.sources.local.convert import quantise_block
from tessera_core.sources.remote import cache
from tessera_core.sources.remote.download import download
from tessera_core.sources.remote.resilient import PieceError
from tessera_core.sources.remote.working_grid import FALSE_NORTHING, PixelGrid, WorkingGrid, centre_zone, working_grid
from tessera_core.sources.remote.zarr_zone import Block
from tessera_core.types import BBox, Window
from tessera_core.wide_region import WideRegion

ADDRESS = "https://data.source.coop/tge-labs/aef/v1/annual"
INDEX = "aef_index.parquet"
NAME = "alphaearth"
# Blocks of the files, so that none is read twice.
BLOCK = (1024, 1024)
PIXEL = 10.0
# Rounding to int8 moves lengths by less than a hundredth.
LENGTHS = (0.95, 1.05)
DECODED_BYTES = 64 << 20
GDAL_CACHE_MB = 128
# GDAL waits for its own locks with Python's held: two readers at once would stop all other threads for as long as one downloads.
_one_at_a_time = threading.RLock()
_COLUMNS = ("path", "year", "utm_zone", "wgs84_west", "wgs84_south", "wgs84_east", "wgs84_north")


@dataclass(frozen=True)
class Cog:
    """A file of the archive.

    Attributes:
        place: below the archive's address: year, zone and name.
        year: of its embeddings.
        zone: 1..60.
        south: whether it is of the southern half of the zone.
        west, bottom, east, top: bounds in degrees.
    """

    place: str
    year: int
    zone: int
    south: bool
    west: float
    bottom: float
    east: float
    top: float


class CogArchive:
    """The archive around a region, as a source of ``fetch.fetch``; see :func:`open_archive`.

    Attributes:
        location: its address, URL or folder.
        dim: of the embeddings.
    """

    def __init__(self, location: str, cogs: tuple[Cog, ...], timeout_s: float) -> None:
        self.location, self.cogs, self.timeout_s = location, cogs, timeout_s
        self.dim = alphaearth.DIM
        self.depths = {self.dim: NAME}

    @property
    def name(self) -> str:
        """Of the dataset."""
        return NAME

    @property
    def identity(self) -> str:
        """What must be equal for two reads to give the same vectors."""
        return f"{self.location} {NAME} 1"

    @cached_property
    def years(self) -> tuple[int, ...]:
        """Years of which the archive has a file around the region."""
        return tuple(sorted({cog.year for cog in self.cogs}))

    @property
    def received(self) -> int:
        """Always 0: GDAL, which reads the files, does not tell."""
        return 0

    def working_grid(self, region: Region, *, clip: bool = True) -> WorkingGrid:
        """The working grid of a region, on the pixel grid of the zone of its centre.

        Raises:
            InputError: the region is no use for UTM zones.
            PieceError: a file's header cannot be read.
        """
        zone = centre_zone(region)
        failed: PieceError | None = None
        for cog in self.cogs:
            if cog.zone != zone:
                continue
            try:
                with self._opened(cog) as file:
                    t = file.transform
                    north = max(t.f, t.f + t.e * file.height) - (FALSE_NORTHING if cog.south else 0.0)
                    return working_grid(region, PixelGrid(zone, t.c, north, abs(t.a)), clip=clip)
            except PieceError as error:
                failed = error
        if failed is not None:
            raise failed
        return working_grid(region, PixelGrid(zone, 0.0, 0.0, PIXEL), clip=clip)

    def block_shape(self, working_grid: WorkingGrid, dim: int) -> tuple[int, int]:
        """Rows and columns in which to read a working grid."""
        return BLOCK

    def provenance(self, year: int, dim: int) -> Provenance:
        """Of embeddings read from here."""
        return Provenance(NAME, "1", "", dim, year, f"{NAME} cog", details={"archive": self.location})

    def read(self, working_grid: WorkingGrid, window: Window, year: int, dim: int, *, last: bool = True) -> Block:
        """A window of a working grid: each pixel from the zone and half that its place belongs to, else from one that reaches over.

        Args:
            dim: 64; 0 looks only where there is data.

        Raises:
            InputError: another number of dimensions; the first ones alone are no embedding here.
            PieceError: a file cannot be read, or is damaged.
        """
        if dim not in (0, self.dim):
            raise InputError(
                f"AlphaEarth embeddings have {self.dim} dimensions, all of which belong together; not {dim}."
            )
        rows, cols = window
        block = Block.empty((rows.stop - rows.start, cols.stop - cols.start), dim, NoData.MISSING_TILE)
        if not working_grid.wanted(window):
            return Block.empty(block.scales.shape, dim, NoData.OUTSIDE)
        (x, y), (lon, lat) = working_grid.xy(window), working_grid.lonlat(window)
        owner = np.clip(np.floor((lon + 180) / 6).astype(int) + 1, 1, 60)
        problems: list[str] = []
        lost = np.zeros(block.reasons.shape, bool)
        for own in (True, False):
            for cog in self.cogs:
                if cog.year != year:
                    continue
                mine = (owner == cog.zone) & ((lat < 0) == cog.south)
                wanted = (mine if own else ~mine) & (block.reasons == NoData.MISSING_TILE) & ~lost
                # In degrees the bounds are those of a box that is turned a little.
                wanted &= (lon >= cog.west - 0.05) & (lon <= cog.east + 0.05)
                wanted &= (lat >= cog.bottom - 0.05) & (lat <= cog.top + 0.05)
                if working_grid.inside is not None:
                    wanted &= working_grid.inside[window]
                if not wanted.any():
                    continue
                try:
                    problems += self._place(cog, working_grid, block, wanted, x, y, dim)
                except PieceError as error:
                    if not last:
                        raise
                    if own:
                        # What belongs here will be tried again; a neighbour's pixel must not stand in for it.
                        block.reasons[wanted], lost[wanted] = error.reason, True
                        problems.append(str(error))
        if working_grid.inside is not None:
            outside = ~working_grid.inside[window]
            block.codes[outside], block.scales[outside] = 0, np.nan
            block.reasons[outside] = NoData.OUTSIDE
        if problems and not last:
            raise PieceError(problems[0], NoData.BAD_TILE)
        return Block(block.codes, block.scales, block.reasons, tuple(problems))

    def _place(
        self,
        cog: Cog,
        working_grid: WorkingGrid,
        block: Block,
        wanted: NDArray[np.bool_],
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        dim: int,
    ) -> list[str]:
        """Put a file's pixels where they are wanted and it has them; returns what is wrong with them."""
        spots = np.flatnonzero(wanted)
        at_x, at_y = x.ravel()[spots], y.ravel()[spots]
        crs = f"EPSG:{(32700 if cog.south else 32600) + cog.zone}"
        if cog.zone == working_grid.pixel_grid.zone:
            at_y = at_y + (FALSE_NORTHING if cog.south else 0.0)
        else:
            at_x, at_y = (np.asarray(v) for v in transformer(working_grid.pixel_grid.crs, crs).transform(at_x, at_y))
        with self._opened(cog) as file:
            t = file.transform
            cols, rows = (at_x - t.c) / t.a, (at_y - t.f) / t.e
            # A pixel's centre on its own pixel grid must not fall beside it by rounding.
            rows, cols = np.floor(rows + 1e-6).astype(np.int64), np.floor(cols + 1e-6).astype(np.int64)
            there = (rows >= 0) & (rows < file.height) & (cols >= 0) & (cols < file.width)
            if not there.any():
                return []
            spots, rows, cols = spots[there], rows[there], cols[there]
            top, left = int(rows.min()), int(cols.min())
            part = ((top, int(rows.max()) + 1), (left, int(cols.max()) + 1))
            values = file.read(None if dim else [1], window=part)
        bad = 0
        step = max(1, DECODED_BYTES // (4 * self.dim))
        for start in range(0, spots.size, step):
            some = slice(start, start + step)
            bad += _put(block, spots[some], values[:, rows[some] - top, cols[some] - left].T, dim)
        return [f"{bad:,} pixels of {cog.place} are damaged: their vectors are not of unit length"] if bad else []

    def _opened(self, cog: Cog) -> Any:
        return _opened(f"{self.location}/{cog.place}", self.timeout_s)


def _put(block: Block, spots: NDArray[np.intp], values: NDArray[np.int8], dim: int) -> int:
    """Put vectors (n, 64), or the first band (n, 1), at flat pixels; returns how many are no embeddings."""
    masked = (values == alphaearth.NODATA).any(axis=1)
    reasons = np.where(masked, NoData.UNKNOWN, NoData.VALID).astype(np.uint8)
    bad = np.zeros(len(spots), bool)
    if dim:
        decoded = alphaearth.decode(values)
        lengths = np.sqrt(np.einsum("nd,nd->n", decoded, decoded))
        bad = ~masked & ~((lengths > LENGTHS[0]) & (lengths < LENGTHS[1]))
        decoded[bad] = np.nan
        reasons[bad] = NoData.BAD_TILE
        codes, scales = quantise_block(decoded)
        good = valid_scales(scales)
        block.codes.reshape(-1, dim)[spots[good]] = codes[good]
        block.scales.ravel()[spots] = scales
    else:
        block.scales.ravel()[spots] = np.where(masked, np.float32(np.nan), np.float32(1))
    block.reasons.ravel()[spots] = reasons
    return int(bad.sum())


@contextlib.contextmanager
def _opened(address: str, timeout_s: float) -> Iterator[Any]:
    """A COG, open for reading; what GDAL says of failures becomes a :class:`PieceError`."""

    from tessera_core.dpixels.acquire.read import cause_of, gdal_options

    name = address.rsplit("/", 1)[-1]
    # One connection: GDAL would open one for each of the 64 bands at once.
    options = {"GDAL_CACHEMAX": GDAL_CACHE_MB, "GDAL_HTTP_MULTIRANGE": "SERIAL", **gdal_options(timeout_s)}
    try:
        with _one_at_a_time, open_remote_raster(address, options) as file:
            if not alphaearth.holds(file) or file.crs is None:
                raise PieceError(f"{name} is not a file of AlphaEarth embeddings", NoData.BAD_TILE)
            yield file
    except raster_errors(OSError) as error:
        why = "the file is not there" if "No such file" in str(error) else cause_of(error)
        damaged = "damaged" in why or "not a GeoTIFF" in why
        raise PieceError(f"{name}: {why}", NoData.BAD_TILE if damaged else NoData.MISSING_TILE) from error


# ------------------------------------------------------------------ the index


def open_archive(region: Region | WideRegion, location: str = ADDRESS, *, timeout_s: float = 60.0) -> CogArchive:
    """The archive around a region; the index is downloaded once and kept for a week or so.

    Args:
        region: where.
        location: URL or folder that holds the index and the years.
        timeout_s: longest wait for one answer.

    Raises:
        InputError: there is no archive, or it has nothing there.
        AcquisitionError: the index cannot be had.
    """
    location = location.rstrip("/")
    box = region.bbox
    if "://" in location:
        # The cache throws away what begins so when it is a week old.
        folder = cache.home() / f".tiles-{re.sub(r'[^A-Za-z0-9.]+', '-', location)[-80:]}"
        index = folder / INDEX
        try:
            download(f"{location}/{INDEX}", index)
        except PieceError as error:
            raise AcquisitionError(
                f"The index of {location} cannot be read: {error}. Check the address and your connection; regions in the "
                "cache open without it."
            ) from error
    else:
        index = Path(location).expanduser() / INDEX
        location = str(index.parent.resolve())
        if not index.is_file():
            raise InputError(f"There is no {INDEX} in {location}; give the folder or URL that holds it and the years.")
    try:
        cogs = tuple(_rows(index, box))
    except (OSError, ValueError, KeyError, TypeError) as error:
        if "://" in location:
            index.unlink(missing_ok=True)
        raise AcquisitionError(f"The index {INDEX} of {location} is damaged or of another form; try again.") from error
    if not cogs:
        raise InputError("AlphaEarth has no embeddings in this region, by its index.")
    return CogArchive(location, cogs, timeout_s)


def _rows(index: Path, box: BBox) -> Iterator[Cog]:
    import pyarrow.parquet as pq

    west, south, east, north = box
    near = [
        ("wgs84_west", "<=", east + 0.1),
        ("wgs84_east", ">=", west - 0.1),
        ("wgs84_south", "<=", north + 0.1),
        ("wgs84_north", ">=", south - 0.1),
    ]
    table = pq.read_table(index, columns=list(_COLUMNS), filters=near)
    for row in sorted(table.to_pylist(), key=lambda row: str(row["path"])):
        # Paths name a bucket; what is ours is the year, the zone and the file.
        parts = str(row["path"]).split("/")[-3:]
        zone = re.fullmatch(r"(\d{1,2})([NS])", str(row["utm_zone"]))
        if zone is None or len(parts) != 3 or any(part in ("", "..") for part in parts):
            raise ValueError(f"no file of the archive: {row['path']}")
        bounds = (float(row[name]) for name in _COLUMNS[3:])
        yield Cog("/".join(parts), int(row["year"]), int(zone[1]), zone[2] == "S", *bounds)
