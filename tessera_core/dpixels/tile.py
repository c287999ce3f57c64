"""The d-pixel tile: a directory with one year of Sentinel-1/2 time series of every pixel of a small rectangle.

Owns the published layout (docs/spec/model.md section 4.1): what the files are called, what they must hold, one sentence for each
thing that can be wrong in them, and writing them whole or not at all. Arrays stay memory-mapped in their stored integers.
This module refuses to know models, normalisation and where the observations come from.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import FolderKind, atomic_path
from tessera_core._utils.folders import folders_below
from tessera_core._utils.npy import load_npy, new_npy
from tessera_core.errors import GridError, TileError
from tessera_core.gate import is_missing, open_raster, raster_errors, read_json, told
from tessera_core.grid import Grid
from tessera_core.provenance import window_of

S2_BANDS = ("B04", "B02", "B03", "B08", "B8A", "B05", "B06", "B07", "B11", "B12")
"""Order of the last axis of ``bands`` (docs/spec/model.md section 2.1)."""
S1_POLARISATIONS = ("VV", "VH")

_REQUIRED = ("bands.npy", "masks.npy", "doys.npy")
_ROI_NAMES = ("roi.tiff", "roi.tif")
TILE_FOLDER = FolderKind(
    "a time series (d-pixel) tile",
    "bands.npy",
    (*_REQUIRED, "sar_ascending*.npy", "sar_descending*.npy", *_ROI_NAMES, "meta.json"),
)
_COUNT_BYTES = 32 << 20


class Observations(NamedTuple):
    """How many valid observations each pixel has, uint16 (H, W) each."""

    s2: NDArray[np.uint16]
    s1: NDArray[np.uint16]


@dataclass(frozen=True)
class DPixelTile:
    """One year of Sentinel-1/2 observations of a rectangle of pixels; read-only, memory-mapped.

    Attributes:
        bands: integer (T, H, W, 10), reflectance x 10000 in the order of :data:`S2_BANDS`, 0 = no data; cloudy values are kept.
        masks: integer (T, H, W), non-zero = usable.
        doys: integer (T,), day of year 1..366.
        sar_asc: integer (Ta, H, W, 2), [VV, VH] as ``(20 log10(power) + 50) * 200``, 0 = missing; ascending passes.
        doys_asc: integer (Ta,).
        sar_desc: integer (Td, H, W, 2); descending passes.
        doys_desc: integer (Td,).
        roi: bool (H, W), True inside the region of interest; None where the tile has no ROI file.
        grid: where the pixels lie; local when the tile carries no georeference.
        name: the folder's name.
        year: the year observed, or another window (:class:`~tessera_core.periods.Period`), where ``meta.json`` tells it.
        meta: content of ``meta.json``, or empty.
    """

    bands: NDArray[Any]
    masks: NDArray[Any]
    doys: NDArray[Any]
    sar_asc: NDArray[Any]
    doys_asc: NDArray[Any]
    sar_desc: NDArray[Any]
    doys_desc: NDArray[Any]
    roi: NDArray[np.bool_] | None
    grid: Grid
    name: str
    year: int | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    @told(TileError)
    def open(cls, folder: str | Path) -> DPixelTile:
        """Open a tile directory and check that its files belong together; nothing big is read.

        ``roi.tiff`` (or ``roi.tif``), ``meta.json`` and the files of an orbit are optional: an orbit without files has no
        dates. Any integer dtype is accepted.

        Raises:
            TileError: the folder is no tile, or a file in it is missing, damaged or disagrees with the others.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise TileError(f"{folder} is not a folder; a d-pixel tile is a folder with {', '.join(_REQUIRED)}.")
        if not _looks_like_tile(folder):
            raise TileError(f"{folder} is not a d-pixel tile: it holds none of {', '.join(_REQUIRED)}.")
        bands, masks = _load(folder, "bands.npy"), _load(folder, "masks.npy")
        if bands.ndim != 4:
            raise TileError(
                f"bands.npy in {folder} has the shape {bands.shape}; it must be (dates, height, width, {len(S2_BANDS)})."
            )
        if bands.shape[3] != len(S2_BANDS):
            raise TileError(
                f"bands.npy in {folder} has {bands.shape[3]} bands; it must have the {len(S2_BANDS)} bands "
                f"{', '.join(S2_BANDS)} in this order."
            )
        if masks.shape != bands.shape[:3]:
            raise TileError(
                f"masks.npy in {folder} has the shape {masks.shape} but bands.npy needs {bands.shape[:3]} "
                "(dates, height, width); the files are not of one tile."
            )
        shape = (bands.shape[1], bands.shape[2])
        if 0 in shape:
            raise TileError(f"bands.npy in {folder} has no pixels: its shape is {bands.shape}.")
        doys = _load_doys(folder, "doys.npy", bands.shape[0], "bands.npy")
        sar_asc, doys_asc = _load_orbit(folder, "sar_ascending", shape)
        sar_desc, doys_desc = _load_orbit(folder, "sar_descending", shape)
        meta = _load_meta(folder)
        roi, grid = _load_roi(folder, shape)
        if grid is None:
            grid = _grid_of_meta(meta, shape)
        name = folder.resolve().name
        return cls(
            bands, masks, doys, sar_asc, doys_asc, sar_desc, doys_desc, roi, grid, name, _year_of_meta(meta), meta
        )

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)``."""
        return self.grid.shape

    def observations(self) -> Observations:
        """Count the valid observations of each pixel, a few dates at a time.

        A Sentinel-2 date counts where its mask is non-zero, a Sentinel-1 pass where VV or VH is non-zero in raw units
        (docs/spec/model.md section 2.1).
        """
        s2, s1 = np.zeros(self.shape, np.uint16), np.zeros(self.shape, np.uint16)
        step = max(1, _COUNT_BYTES // (4 * self.shape[0] * self.shape[1]))
        for start in range(0, len(self.doys), step):
            s2 += np.count_nonzero(self.masks[start : start + step], axis=0).astype(np.uint16)
        for sar in (self.sar_asc, self.sar_desc):
            for start in range(0, sar.shape[0], step):
                s1 += np.count_nonzero((sar[start : start + step] != 0).any(-1), axis=0).astype(np.uint16)
        return Observations(s2, s1)

    def require_observations(self) -> Observations:
        """:meth:`observations`, refusing a tile in which no pixel was ever seen.

        Raises:
            TileError: there is not one valid observation in the tile (inside its region of interest).
        """
        counts = self.observations()
        seen = (counts.s2 > 0) | (counts.s1 > 0)
        if self.roi is not None:
            seen &= self.roi
        if not seen.any():
            where = "inside its region of interest" if self.roi is not None else "in any pixel"
            raise TileError(
                f"The tile {self.name} has not one valid observation {where}: all {len(self.doys)} Sentinel-2 dates are "
                "masked as cloud and there is no Sentinel-1 pass. Use a longer period or check masks.npy."
            )
        return counts


@told(TileError)
def find_tiles(path: str | Path) -> list[Path]:
    """The tile folders at or below ``path``, sorted by name; a tile folder itself gives just that one. Links are followed.

    Raises:
        TileError: there is no such folder, or not one tile in it.
    """
    path = Path(path)
    if not path.exists():
        raise TileError(f"{path} does not exist.")
    if not path.is_dir():
        raise TileError(f"{path} is a file; a d-pixel tile is a folder with {', '.join(_REQUIRED)}.")
    if _looks_like_tile(path):
        return [path]
    # A hidden folder is a half-written tile (see tessera_core._utils.atomic).
    problems: list[str] = []
    if tiles := sorted(folder for folder in folders_below(path, problems) if _looks_like_tile(folder)):
        return tiles
    raise TileError(
        f"There is no d-pixel tile in {path}: no folder in it holds {', '.join(_REQUIRED)}."
        + "".join(f" {problem}" for problem in problems[:1])
    )


class TileArrays(NamedTuple):
    """Writable memory maps of a tile under construction, zero-filled; see :func:`create_tile`."""

    bands: NDArray[np.uint16]
    masks: NDArray[np.uint8]
    sar_asc: NDArray[np.int16]
    sar_desc: NDArray[np.int16]


@contextmanager
def create_tile(
    folder: str | Path,
    grid: Grid,
    doys: NDArray[Any],
    doys_asc: NDArray[Any],
    doys_desc: NDArray[Any],
    roi: NDArray[np.bool_] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Iterator[TileArrays]:
    """Write a tile date by date without holding it in memory: fill the yielded arrays inside the ``with`` block.

    The folder appears under its name when the block ends without an error.

    Args:
        folder: the tile's folder; an existing tile is replaced whole, anything else in it is refused.
        grid: the tile's grid; written into ``roi.tiff``.
        doys, doys_asc, doys_desc: (T,), (Ta,), (Td,) days of year, 1..366.
        roi: bool (H, W); None means every pixel.
        meta: JSON values for ``meta.json``; ``year`` (int) is what :meth:`DPixelTile.open` looks for.

    Raises:
        TileError: a day of year or the ROI's shape is wrong.
        InputError: the folder holds something else than a tile.
        ExportError: the folder cannot be written.
    """
    height, width = grid.shape
    named = {"doys": doys, "sar_ascending_doy": doys_asc, "sar_descending_doy": doys_desc}
    days = {name: _checked_doys(np.asarray(value), f"{name} of the tile {folder}") for name, value in named.items()}
    inside = np.ones(grid.shape, bool) if roi is None else np.asarray(roi, bool)
    if inside.shape != grid.shape:
        raise TileError(f"The region of interest is {inside.shape} pixels but the tile's grid is {grid.shape}.")
    with atomic_path(folder, directory=True, replaces=TILE_FOLDER) as part:
        arrays = TileArrays(
            _new(part / "bands.npy", np.uint16, (len(days["doys"]), height, width, len(S2_BANDS))),
            _new(part / "masks.npy", np.uint8, (len(days["doys"]), height, width)),
            _new(part / "sar_ascending.npy", np.int16, (len(days["sar_ascending_doy"]), height, width, 2)),
            _new(part / "sar_descending.npy", np.int16, (len(days["sar_descending_doy"]), height, width, 2)),
        )
        yield arrays
        for array in arrays:
            if isinstance(array, np.memmap):
                array.flush()
        np.save(part / "doys.npy", days["doys"].astype(np.uint16))
        for name in ("sar_ascending_doy", "sar_descending_doy"):
            np.save(part / f"{name}.npy", days[name].astype(np.int16))
        _write_roi(part / "roi.tiff", inside, grid)
        text = json.dumps({**(meta or {}), "grid": grid.to_json()}, indent=2, allow_nan=False)
        (part / "meta.json").write_text(text + "\n", encoding="utf-8")


def write_tile(
    folder: str | Path,
    *,
    bands: NDArray[Any],
    masks: NDArray[Any],
    doys: NDArray[Any],
    grid: Grid,
    sar_asc: NDArray[Any] | None = None,
    doys_asc: NDArray[Any] | None = None,
    sar_desc: NDArray[Any] | None = None,
    doys_desc: NDArray[Any] | None = None,
    roi: NDArray[np.bool_] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Path:
    """Write arrays that are already in memory as a tile; shapes as in :class:`DPixelTile`.

    Raises:
        TileError: the arrays do not belong together.
        ExportError: the folder cannot be written.
    """
    none = np.zeros(0, np.int16)
    doys_asc = none if doys_asc is None else doys_asc
    doys_desc = none if doys_desc is None else doys_desc
    with create_tile(folder, grid, doys, doys_asc, doys_desc, roi, meta) as arrays:
        given = {"bands": bands, "masks": masks, "sar_asc": sar_asc, "sar_desc": sar_desc}
        for name, source in given.items():
            target: NDArray[Any] = getattr(arrays, name)
            if source is None and target.shape[0] == 0:
                continue
            if source is None or source.shape != target.shape:
                shape = "missing" if source is None else f"of shape {source.shape}"
                raise TileError(f"{name} is {shape}; with these days of year and this grid it must be {target.shape}.")
            target[:] = source
    return Path(folder)


def _looks_like_tile(folder: Path) -> bool:
    return any((folder / name).exists() for name in _REQUIRED)


def _load(folder: Path, name: str) -> NDArray[Any]:
    array = load_npy(folder / name, TileError)
    if array.dtype.kind not in "uib":
        raise TileError(f"{name} in {folder} holds {array.dtype} values; a d-pixel tile stores whole numbers.")
    return array


def _load_doys(folder: Path, name: str, dates: int, of: str) -> NDArray[Any]:
    doys = _load(folder, name)
    if doys.shape != (dates,):
        raise TileError(
            f"{name} in {folder} has the shape {doys.shape} but {of} has {dates} dates; one day of year each."
        )
    return _checked_doys(np.asarray(doys), f"{name} in {folder}")


def _checked_doys(doys: NDArray[Any], where: str) -> NDArray[Any]:
    if doys.ndim != 1:
        raise TileError(f"{where} has the shape {doys.shape}; it must be one row of days of year.")
    wrong = (doys < 1) | (doys > 366)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise TileError(f"{where} holds the day of year {doys[at]} at position {at}; days run from 1 to 366.")
    return doys


def _load_orbit(folder: Path, stem: str, shape: tuple[int, int]) -> tuple[NDArray[Any], NDArray[Any]]:
    values_name, doys_name = f"{stem}.npy", f"{stem}_doy.npy"
    present = [(folder / name).exists() for name in (values_name, doys_name)]
    if not any(present):
        return np.zeros((0, *shape, 2), np.int16), np.zeros(0, np.int16)
    sar = _load(folder, values_name)
    if sar.ndim != 4 or sar.shape[3] != len(S1_POLARISATIONS):
        raise TileError(
            f"{values_name} in {folder} has the shape {sar.shape}; it must be (passes, height, width, 2 for VV and VH)."
        )
    doys = _load_doys(folder, doys_name, sar.shape[0], values_name)
    if sar.shape[0] == 0:
        # The stacker writes zero passes with a shape unrelated to the tile (docs/spec/model.md section 4.4).
        return np.zeros((0, *shape, 2), sar.dtype), doys
    if sar.shape[1:3] != shape:
        raise TileError(
            f"{values_name} in {folder} covers {sar.shape[1]} x {sar.shape[2]} pixels but bands.npy {shape[0]} x {shape[1]}; "
            "the files are not of one tile."
        )
    return sar, doys


def _load_meta(folder: Path) -> dict[str, Any]:
    path = folder / "meta.json"
    if is_missing(path):
        return {}
    meta = read_json(path, TileError)
    if not isinstance(meta, dict):
        raise TileError(f"meta.json in {folder} is not a JSON object; mend it or take it away.")
    return meta


def _year_of_meta(meta: Mapping[str, Any]) -> int | None:
    year = meta.get("year")
    if isinstance(year, str) and year.isdigit():
        year = int(year)
    if isinstance(year, int) and 1980 <= year <= 2200:
        return year
    # What was fetched for days that are no calendar year says which.
    return window_of(meta.get("window"))


def _grid_of_meta(meta: Mapping[str, Any], shape: tuple[int, int]) -> Grid:
    """The grid that our own ``meta.json`` carries; other writers' georeference is free text and not trusted."""
    described = meta.get("grid")
    if isinstance(described, Mapping):
        try:
            grid = Grid.from_json(described)
        except GridError:
            return Grid.local(shape)
        if grid.shape == shape:
            return grid
    return Grid.local(shape)


def _load_roi(folder: Path, shape: tuple[int, int]) -> tuple[NDArray[np.bool_] | None, Grid | None]:
    path = next((folder / name for name in _ROI_NAMES if (folder / name).exists()), None)
    if path is None:
        return None, None
    from rasterio.errors import NotGeoreferencedWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with open_raster(path, error=TileError, whole=True) as file:
                roi, crs, transform, size = file.read(1) > 0, file.crs, file.transform, file.shape
    except raster_errors() as error:
        raise TileError(f"{path.name} in {folder} is not a readable GeoTIFF; mend it or take it away.") from error
    if size != shape:
        raise TileError(
            f"{path.name} in {folder} covers {size[0]} x {size[1]} pixels but bands.npy {shape[0]} x {shape[1]}; "
            "the files are not of one tile."
        )
    try:
        return roi, Grid(crs.to_wkt(), transform, shape) if crs else None
    except GridError as error:
        raise TileError(f"The georeference of {path.name} in {folder} is not usable. {error}") from error


def _write_roi(path: Path, roi: NDArray[np.bool_], grid: Grid) -> None:
    import rasterio

    height, width = grid.shape
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 1,
        "height": height,
        "width": width,
        "compress": "lzw",
    }
    if grid.crs is not None:
        profile |= {"crs": grid.crs, "transform": grid.transform}
    if min(height, width) >= 256:
        profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile) as file:
            file.write(roi.astype(np.uint8), 1)


def _new(path: Path, dtype: type, shape: tuple[int, ...]) -> NDArray[Any]:
    if 0 in shape:
        # An empty file cannot be memory-mapped.
        empty: NDArray[Any] = np.zeros(shape, dtype)
        np.save(path, empty)
        return empty
    return new_npy(path, dtype, shape)
