"""Published NPY tiles: the manifest says which there are, tiles and land masks are downloaded once, windows are read from them.

Deprecated by their publisher in favour of stores, yet the only form in which some runs and years can be had. Manifest and
downloads go through geotessera (kept by name, lengths and ETags checked). A tile's land mask holds its grid: UTM, about 10 m,
each tile with an origin of its own; pixels are taken from the nearest place on the pixel grid of the first tile.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.npy import load_npy
from tessera_core.errors import AcquisitionError, InputError, RasterError
from tessera_core.gate import open_raster, raster_errors
from tessera_core.grid import Grid, transformer
from tessera_core.provenance import Provenance
from tessera_core.raster import NoData, valid_scales
from tessera_core.region import Region
from tessera_core.sources.local.geotiff import read_grid
from tessera_core.sources.remote import cache
from tessera_core.sources.remote.datasets import Dataset
from tessera_core.sources.remote.download import download
from tessera_core.sources.remote.geotessera_private import version_parts
from tessera_core.sources.remote.resilient import PieceError
from tessera_core.sources.remote.working_grid import (
    FALSE_NORTHING,
    PixelGrid,
    WorkingGrid,
    centre_zone,
    tile_centres,
    tile_name,
    tiles_in,
    working_grid,
)
from tessera_core.sources.remote.zarr_zone import BLOCK, Block
from tessera_core.types import Window
from tessera_core.wide_region import WideRegion

Key = tuple[int, int]


@dataclass(frozen=True)
class _Tile:
    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    land: NDArray[np.bool_]
    grid: Grid


class TileArchive:
    """The NPY tiles of a dataset around a region, as a source of ``fetch.fetch``; see :func:`open_tiles`.

    Attributes:
        location: where the tiles lie.
        dim: of the embeddings.
    """

    def __init__(self, dataset: Dataset, region: Region | WideRegion, base: str, registry: Any) -> None:
        self.dataset, self.region, self.base, self._registry = dataset, region, base, registry
        self.location = location_of(dataset, base)
        self.dim = 128
        self._received = 0
        self._open: dict[tuple[Key, int], _Tile | None] = {}
        self._locks: dict[tuple[Key, int], threading.Lock] = {}
        self._guard = threading.Lock()
        # Kept beside the rasters, and thrown away with them.
        self._folder = cache.home() / f".tiles-{re.sub(r'[^A-Za-z0-9.]+', '-', self.location)[-80:]}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, it is the way to open it."""
        return _open_once, (self.dataset, self.region, self.base)

    @property
    def name(self) -> str:
        """Of the dataset."""
        return self.dataset.name

    @property
    def identity(self) -> str:
        """What must be equal for two reads to give the same vectors."""
        return f"{self.location} npy tiles"

    @property
    def years(self) -> tuple[int, ...]:
        """Years of which the manifest has a tile of the region."""
        return tuple(sorted({year for year, _ in self._rows()}))

    @property
    def received(self) -> int:
        """Bytes downloaded so far."""
        return self._received

    def tiles(self, year: int) -> list[str]:
        """Names of the region's tiles that the manifest has of a year."""
        held = {key for y, key in self._rows() if y == year}
        return [tile_name(*centre) for centre in tiles_in(self.region) if _key(centre) in held]

    def missing(self, year: int) -> list[str]:
        """Names of the region's tiles that the manifest has not of a year."""
        held = set(self.tiles(year))
        return [name for name in (tile_name(*centre) for centre in tiles_in(self.region)) if name not in held]

    def bytes_of(self, year: int) -> int:
        """Bytes to download for a year, by the manifest."""
        table = self._registry._registry_gdf
        keys = {_key(centre) for centre in tiles_in(self.region)}
        sizes = [
            int(row["grid_size"]) + int(row.get("scales_size") or 0)
            for (y, lon, lat), row in table.iterrows()
            if int(y) == year and (int(lon), int(lat)) in keys
        ]
        return sum(sizes)

    def _rows(self) -> Iterable[tuple[int, Key]]:
        wanted = {_key(centre) for centre in tiles_in(self.region)}
        for year, lon, lat in self._registry.get_available_embeddings():
            key = _key((lon, lat))
            if key in wanted:
                yield int(year), key

    # -------------------------------------------------------------- as a source of regions

    def working_grid(self, region: Region, *, clip: bool = True) -> WorkingGrid:
        """The working grid of a region: on the pixel grid of the first of its tiles in the zone of its centre.

        Raises:
            InputError: the region is no use for UTM zones.
            PieceError: no land mask can be had.
        """
        zone = centre_zone(region)
        held = {key for _, key in self._rows()}
        for centre in tiles_in(region):
            if _key(centre) in held:
                grid = self._landmask(_key(centre))[0]
                if grid.crs in (f"EPSG:{32600 + zone}", f"EPSG:{32700 + zone}"):
                    north = grid.transform.f - (FALSE_NORTHING if grid.crs.startswith("EPSG:327") else 0.0)
                    return working_grid(region, PixelGrid(zone, grid.transform.c, north, grid.transform.a), clip=clip)
        return working_grid(region, PixelGrid(zone, 0.0, 0.0, 10.0), clip=clip)

    def block_shape(self, working_grid: WorkingGrid, dim: int) -> tuple[int, int]:
        """Rows and columns in which to read a working grid."""
        return BLOCK

    def provenance(self, year: int, dim: int) -> Provenance:
        """Of embeddings read from here."""
        details = {"tiles": self.location}
        return Provenance(
            "tessera", self.dataset.version, self.dataset.variant, dim, year, f"{self.name} npy tiles", details=details
        )

    def read(self, working_grid: WorkingGrid, window: Window, year: int, dim: int, *, last: bool = True) -> Block:
        """A window of a working grid, each pixel from the tile that its place belongs to, or from one that reaches over.

        Raises:
            PieceError: a tile cannot be had, or is damaged.
        """
        rows, cols = window
        block = Block.empty((rows.stop - rows.start, cols.stop - cols.start), dim, NoData.MISSING_TILE)
        x, y = working_grid.xy(window)
        lon, lat = working_grid.lonlat(window)
        tile_lon, tile_lat = tile_centres(lon, lat)
        held = {key for held_year, key in self._rows() if held_year == year}
        problems: list[str] = []
        present = {(int(a), int(b)) for a, b in np.unique(np.stack([tile_lon.ravel(), tile_lat.ravel()], 1), axis=0)}
        for own in (True, False):
            for key in sorted(present & held):
                mine = (tile_lon == key[0]) & (tile_lat == key[1])
                wanted = mine if own else ~mine & (block.reasons == NoData.MISSING_TILE)
                if not wanted.any():
                    continue
                try:
                    tile = self._tile(key, year)
                except PieceError as error:
                    if not last:
                        raise
                    block.reasons[wanted & mine] = error.reason
                    problems += [str(error)] if own else []
                    continue
                _place(tile, working_grid, block, wanted, x, y, dim)
        if working_grid.inside is not None:
            outside = ~working_grid.inside[window]
            block.codes[outside], block.scales[outside] = 0, np.nan
            block.reasons[outside] = NoData.OUTSIDE
        return Block(block.codes, block.scales, block.reasons, tuple(problems))

    # -------------------------------------------------------------- files

    def _tile(self, key: Key, year: int) -> _Tile:
        with self._guard:
            lock = self._locks.setdefault((key, year), threading.Lock())
        with lock:
            found = self._open.get((key, year))
            if found is None:
                found = self._open[key, year] = self._load(key, year)
            return found

    def _load(self, key: Key, year: int) -> _Tile:
        from geotessera.registry import tile_to_embedding_paths

        name = tile_name(key[0] / 100, key[1] / 100)
        grid, land = self._landmask(key)
        paths = tile_to_embedding_paths(key[0] / 100, key[1] / 100, year)
        files = [self._download(f"{self.location}/{path.as_posix()}", self._folder / path) for path in paths]
        try:
            codes, scales = (load_npy(file) for file in files)
            if scales.ndim == 3:
                # Some tiles repeat one scale for each band.
                if not np.array_equal(scales[..., 0], scales[..., -1], equal_nan=True):
                    raise RasterError("its scales vary by band")
                scales = scales[..., 0]
            if codes.dtype != np.int8 or codes.ndim != 3 or codes.shape[:2] != scales.shape:
                raise RasterError("its codes and scales do not belong together")
            if codes.shape[:2] != grid.shape:
                raise RasterError("its land mask is of another size")
        except RasterError as error:
            for file in files:
                file.unlink(missing_ok=True)
            raise PieceError(f"{name} is damaged ({error})", NoData.BAD_TILE) from error
        return _Tile(codes, np.asarray(scales, np.float32), land, grid)

    def _landmask(self, key: Key) -> tuple[Grid, NDArray[np.bool_]]:

        name = tile_name(key[0] / 100, key[1] / 100)
        version = version_parts(self.dataset.version)[0]
        path = self._folder / "landmasks" / f"{name}.tiff"
        self._download(f"{self.base}/landmasks/{version}/{name}.tiff", path)
        try:
            with open_raster(path, whole=True) as file:
                land = file.read(1) != 0
            return read_grid(path), land
        except raster_errors(RasterError) as error:
            path.unlink(missing_ok=True)
            raise PieceError(f"the land mask of {name} is damaged", NoData.BAD_TILE) from error

    def _download(self, url: str, path: Path) -> Path:
        came = download(url, path)
        with self._guard:
            self._received += came
        return path


def location_of(dataset: Dataset, base: str | None = None) -> str:
    """Address of a dataset's NPY tiles, by which the cache knows what was fetched from there."""
    from geotessera import registry

    return f"{(base or registry.TESSERA_MIRROR_URL).rstrip('/')}/npy/{dataset.tiles}"


def open_tiles(dataset: Dataset, region: Region | WideRegion, *, base: str | None = None) -> TileArchive:
    """The NPY tiles of a dataset around a region; reads the manifest.

    Args:
        dataset: one with tiles.
        region: where.
        base: address of ``npy/`` and ``landmasks/``; by default the publisher's.

    Raises:
        InputError: the dataset has no tiles, or none there.
        AcquisitionError: the manifest cannot be had.
    """
    from geotessera import registry

    if not dataset.tiles:
        raise InputError(f"{dataset.name} is not published as NPY tiles; fetch it from its store.")
    base = (base or registry.TESSERA_MIRROR_URL).rstrip("/")
    version = version_parts(dataset.version)[0]
    manifests = cache.home() / f".manifests-{re.sub(r'[^A-Za-z0-9.]+', '-', base)[-60:]}"
    try:
        known = registry.Registry(
            dataset.version,
            dataset.variant,
            cache_dir=manifests,
            embeddings_dir=manifests,
            registry_url=f"{base}/npy/{dataset.tiles}/manifest.parquet",
            landmasks_registry_url=f"{base}/landmasks/{version}/landmasks.parquet",
            bbox=region.bbox,
        )
    except ValueError as error:
        raise InputError(f"{dataset.name} has no NPY tile in this region, by its manifest.") from error
    except (RuntimeError, OSError) as error:
        raise AcquisitionError(
            f"The manifest of {dataset.name} at {base} cannot be read; check your connection and try again."
        ) from error
    return TileArchive(dataset, region, base, known)


@functools.lru_cache(maxsize=8)
def _open_once(dataset: Dataset, region: Region | WideRegion, base: str) -> TileArchive:
    """An archive that another process has opened; once in this one."""
    return open_tiles(dataset, region, base=base)


def _key(centre: tuple[float, float]) -> Key:
    return round(centre[0] * 100), round(centre[1] * 100)


def _place(
    tile: _Tile,
    working_grid: WorkingGrid,
    block: Block,
    wanted: NDArray[np.bool_],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    dim: int,
) -> None:
    """Put a tile's pixels where they are wanted and it has them."""
    spots = np.flatnonzero(wanted)
    assert tile.grid.crs is not None
    at_x, at_y = x.ravel()[spots], y.ravel()[spots]
    if tile.grid.crs == working_grid.pixel_grid.crs.replace("EPSG:326", "EPSG:327"):
        at_y = at_y + FALSE_NORTHING
    elif tile.grid.crs != working_grid.pixel_grid.crs:
        at_x, at_y = (
            np.asarray(v) for v in transformer(working_grid.pixel_grid.crs, tile.grid.crs).transform(at_x, at_y)
        )
    rows, cols = tile.grid.xy_to_pixel(at_x, at_y)
    # A pixel's centre on its own pixel grid must not fall beside it by rounding.
    rows, cols = np.floor(rows + 1e-6).astype(np.int64), np.floor(cols + 1e-6).astype(np.int64)
    there = (rows >= 0) & (rows < tile.grid.height) & (cols >= 0) & (cols < tile.grid.width)
    spots, rows, cols = spots[there], rows[there], cols[there]
    scales, land = tile.scales[rows, cols], tile.land[rows, cols]
    reasons = np.where(land, np.where(valid_scales(scales), NoData.VALID, NoData.BAD_TILE), NoData.WATER)
    good = reasons == NoData.VALID
    block.reasons.ravel()[spots] = reasons
    block.scales.ravel()[spots] = np.where(good, scales, np.float32(np.nan))
    if dim:
        block.codes.reshape(-1, dim)[spots[good]] = tile.codes[rows[good], cols[good], :dim]
