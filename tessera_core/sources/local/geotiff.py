"""Embeddings as multi-band GeoTIFF: a float band per dimension, NaN or the nodata value = no data; AlphaEarth's int8 COGs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from tessera_core._utils.partial import Failure
from tessera_core.errors import GridError, RasterError
from tessera_core.gate.rasters import first_line, open_raster, raster_errors
from tessera_core.grid import Grid
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tessera_core.sources import alphaearth
from tessera_core.sources.local.convert import BLOCK_BYTES, Conversion, converted, quantise_block
from tessera_core.sources.local.metadata import MIN_DIM, period_in, read_metadata, year_in_path
from tessera_core.sources.local.reader import AS_FLOATS, CONVERTED, Description, Reader
from tessera_core.types import Cancel, Codes, Progress, Window

_GDAL_CACHE_MB = 128
# So many pixels with a declared no data value in some of their bands are no accident.
_REMARKABLE = 0.01


@dataclass(frozen=True)
class TiffPiece:
    """One GeoTIFF with a float band per dimension."""

    path: Path

    @property
    def name(self) -> str:
        """Name of the tile."""
        return self.path.stem

    @property
    def source(self) -> Path:
        """The file."""
        return self.path

    @property
    def year(self) -> int | None:
        """From the tags, else from the names."""
        return self.describe().provenance.year

    def describe(self) -> Description:
        """By the header alone: looking must not convert gigabytes."""
        with opened(self.path) as dataset:
            provenance = provenance_of(self.path, dataset.tags(), int(dataset.count))
            return Description(grid_of(dataset, self.path), provenance, mapped=False, form=AS_FLOATS, note=CONVERTED)

    def open(self, *, progress: Progress | None = None, cancelled: Cancel | None = None) -> EmbeddingRaster:
        """See :func:`open_tiff`."""
        return open_tiff(self, progress=progress, cancelled=cancelled)


class TiffReader(Reader):
    """Finds rasters in GeoTIFFs."""

    wanted = "a GeoTIFF with a float band per dimension"
    suffixes = (".tif", ".tiff")

    def find(self, path: Path, problems: list[Failure]) -> list[TiffPiece]:
        """See :func:`find_piece`."""
        piece = find_piece(path)
        return [] if piece is None else [piece]


@contextlib.contextmanager
def opened(path: Path, *, whole: bool = False) -> Iterator[Any]:
    """The rasterio dataset of ``path``.

    Raises:
        RasterError: it is not readable, or (where all of it will be read, ``whole``) declares far more than it holds.
    """

    try:
        # GDAL would keep up to 5 % of all memory in decoded blocks that are read once.
        with open_raster(path, whole=whole, options={"GDAL_CACHEMAX": _GDAL_CACHE_MB}) as dataset:
            yield dataset
    except raster_errors() as error:
        raise RasterError(f"{path.name} in {path.parent} cannot be read as a GeoTIFF: {first_line(error)}.") from error


def grid_of(dataset: Any, path: Path) -> Grid:
    """The grid of an open rasterio dataset; local where it has no CRS."""
    if dataset.crs is None:
        return Grid.local((dataset.height, dataset.width))
    code = dataset.crs.to_epsg()
    try:
        return Grid(
            f"EPSG:{code}" if code else dataset.crs.to_wkt(), dataset.transform, (dataset.height, dataset.width)
        )
    except GridError as error:
        raise RasterError(f"The georeference of {path.name} is damaged: {error}") from error


def read_grid(path: Path) -> Grid:
    """The grid of a raster file, e.g. of a land mask.

    Raises:
        RasterError: it is not readable.
    """
    with opened(path) as dataset:
        return grid_of(dataset, path)


def find_piece(path: Path) -> TiffPiece | None:
    """The raster that a GeoTIFF holds; None where it holds something else (a land mask, a class map, a photo).

    Raises:
        RasterError: it is not readable.
    """
    with opened(path) as dataset:
        floats = all(np.dtype(kind).kind == "f" for kind in dataset.dtypes)
        return TiffPiece(path) if (floats and dataset.count >= MIN_DIM) or alphaearth.holds(dataset) else None


def open_tiff(
    piece: TiffPiece,
    *,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> EmbeddingRaster:
    """Open one GeoTIFF, quantised block by block into the cache.

    Raises:
        RasterError: the file is damaged.
    """
    with opened(piece.path, whole=True) as dataset:
        grid = grid_of(dataset, piece.path)
        shape = (grid.height, grid.width, int(dataset.count))
        nodata = dataset.nodata
        provenance = provenance_of(piece.path, dataset.tags(), shape[2])
        coded = alphaearth.holds(dataset)
        if coded or alphaearth.named(dataset):
            provenance = replace(provenance, model="alphaearth", version="1", variant="", source="alphaearth cog")
        upward = grid.transform.e > 0
        if upward:
            # The public COGs run from south to north.
            t = grid.transform
            grid = Grid(grid.crs, t @ Affine.translation(0, grid.height) @ Affine.scale(1, -1), grid.shape)

        counts = not coded and nodata is not None and bool(np.isfinite(nodata))
        partly, wholly = 0, 0

        def read(window: Window) -> Codes:
            nonlocal partly, wholly
            rows, cols = window
            if upward:
                window = (slice(shape[0] - rows.stop, shape[0] - rows.start), cols)
            values = dataset.read(window=window).transpose(1, 2, 0)[:: -1 if upward else 1]
            if coded:
                return quantise_block(alphaearth.decode(values))
            if counts:
                # 0 is a value of embeddings, too: merging tools declare it as no data all the same.
                missing = values == nodata
                whole, dropped = missing.all(axis=-1, keepdims=True), missing.any(axis=-1, keepdims=True)
                wholly += int(np.count_nonzero(whole))
                partly += int(np.count_nonzero(dropped & ~whole))
                values = np.where(whole if nodata == 0 else dropped, np.float32(np.nan), values)
            return quantise_block(values)

        def remarks() -> list[str]:
            return _nodata_remarks(piece.path.name, nodata, partly, wholly, shape[0] * shape[1])

        windows = _windows(shape, dataset.block_shapes[0])
        return converted(
            [piece.path],
            Conversion("GeoTIFF", shape, grid, provenance, windows, read, remarks=remarks if counts else None),
            progress=progress,
            cancelled=cancelled,
        )


def _nodata_remarks(name: str, nodata: float | None, partly: int, wholly: int, pixels: int) -> list[str]:
    """What is to be said of the pixels that hold the declared no data value in some (``partly``) or all bands (``wholly``)."""
    if nodata != 0 and partly:
        return [
            f"{name}: {partly} of {pixels} pixels are left out because some of their bands, not all, hold {nodata:g}, which the "
            "file declares to be no data. If that is a value like any other, take the declaration out of the file."
        ]
    if nodata == 0 and partly > _REMARKABLE * pixels:
        return [
            f"{name} declares 0 to be no data, and {partly} of {pixels} pixels hold it in some bands. They are kept, since 0 is a "
            f"value of embeddings, too; only the {wholly} that are 0 in all bands are left out."
        ]
    if wholly > pixels / 2:
        return [
            f"{name}: {wholly} of {pixels} pixels are left out: all their bands hold {nodata:g}, declared to be no data."
        ]
    return []


def _windows(shape: tuple[int, int, int], block: tuple[int, int]) -> list[Window]:
    """Windows of whole file blocks, several of them where they are small, cut where one is too large for memory."""
    height, width, dim = shape
    pixels = max(1, BLOCK_BYTES // (4 * dim))
    rows, cols = min(block[0], height), min(block[1], width)
    if rows * cols > 8 * pixels:
        rows, cols = max(1, min(rows, pixels // cols)), min(cols, pixels)
    else:
        cols = min(width, max(1, pixels // (rows * cols)) * cols)
        rows = min(height, max(1, pixels // (rows * cols)) * rows)
    return [
        (slice(r, min(r + rows, height)), slice(c, min(c + cols, width)))
        for r in range(0, height, rows)
        for c in range(0, width, cols)
    ]


def provenance_of(path: Path, tags: dict[str, str], dim: int) -> Provenance:
    """From our own tags, else geotessera's, else from the file's surroundings."""
    ours = {key.removeprefix("tessera_"): value for key, value in tags.items() if key.startswith("tessera_")}
    if "model" in ours:
        year = ours.get("year", "")
        return Provenance(
            model=ours["model"],
            version=ours.get("version", ""),
            variant=ours.get("variant", ""),
            dim=dim,
            year=period_in(year),
            source=ours.get("source", "geotiff"),
            checksum=ours.get("checksum", ""),
            details={"tile": path.stem},
        )
    facts = {key.lower(): value for key, value in (read_metadata(path.parent) | tags).items()}
    version = str(facts.get("tessera_dataset_version", facts.get("dataset_version", ""))).removeprefix("v")
    variant = str(facts.get("tessera_dataset_variant", facts.get("dataset_variant", facts.get("variant", ""))))
    year = str(facts.get("tessera_year", facts.get("year", "")))
    published = bool(version) or any("tessera" in key for key in facts) or "grid_" in path.stem
    return Provenance(
        model="tessera" if published else "unknown",
        version=version,
        variant=variant,
        dim=dim,
        year=year_in_path(path) if (told := period_in(year)) is None else told,
        source="geotiff",
        details={"tile": path.stem},
    )
