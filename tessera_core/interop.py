"""Embedding rasters as the arrays of others: xarray (with rioxarray and CF) and the GeoBox of odc-geo, there and back.

``EmbeddingRaster.to_xarray``, ``from_xarray`` and ``to_geobox`` are these functions.
"""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from tessera_core.errors import GridError, InputError, RasterError
from tessera_core.grid import Grid
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster, NoData, dequantise, valid_scales
from tessera_core.sources.local.convert import quantise_block

if TYPE_CHECKING:
    import xarray

# Rasters whose floats take more than this come in chunks of about so many bytes, where dask is installed.
CHUNK_BYTES = 64 << 20
GRID_MAPPING = "spatial_ref"
PROVENANCE = "tessera_provenance"


def to_xarray(raster: EmbeddingRaster, quantised: bool = False) -> xarray.Dataset:
    """See :meth:`~tessera_core.raster.EmbeddingRaster.to_xarray`."""
    import xarray as xr

    place = ("band", "y", "x")
    flat = {"grid_mapping": GRID_MAPPING}
    array = _lazy_array()(raster, quantised)
    # Read when used and never kept: what is indexed, not what is there, has to fit into memory.
    lazy = xr.core.indexing.LazilyIndexedArray(array)
    about = {"long_name": "embedding", "units": "1"} | flat
    if quantised:
        name = "codes"
        about["long_name"] = "embedding codes; value = code * scale"
    else:
        name = "embedding"
    variables: dict[str, Any] = {
        name: (place, lazy, about),
        "scales": (("y", "x"), raster.scales, {"long_name": "value of one code; no data where not positive"} | flat),
    }
    if raster.reasons is not None:
        meanings = " ".join(reason.name.lower() for reason in NoData)
        flags = {"flag_values": np.array([*NoData], np.uint8), "flag_meanings": meanings}
        variables["nodata_reason"] = (("y", "x"), raster.reasons, flags | flat)
    coordinates: dict[str, Any] = {"band": np.arange(raster.dim, dtype=np.int32)}
    coordinates |= _centres(raster.grid)
    coordinates[GRID_MAPPING] = ((), np.int32(0), _grid_mapping(raster.grid))
    attributes = {"Conventions": "CF-1.11", "title": f"Embeddings of {raster.provenance.dataset}"}
    attributes |= _conventions(raster.grid) | {PROVENANCE: json.dumps(raster.provenance.to_json(), ensure_ascii=False)}
    dataset = xr.Dataset(variables, coordinates, attributes)
    if array.size * array.dtype.itemsize > CHUNK_BYTES and find_spec("dask") is not None:
        rows = max(1, CHUNK_BYTES // (raster.grid.width * raster.dim * array.dtype.itemsize))
        dataset = dataset.chunk({"y": rows, "x": -1, "band": -1})
    return dataset


def from_xarray(data: xarray.Dataset | xarray.DataArray, provenance: Provenance | None = None) -> EmbeddingRaster:
    """See :meth:`~tessera_core.raster.EmbeddingRaster.from_xarray`."""
    import xarray as xr

    array, scales, reasons = data, None, None
    if isinstance(data, xr.Dataset):
        known = [name for name in ("codes", "embedding") if name in data] or [
            str(name) for name, one in data.data_vars.items() if one.ndim == 3
        ]
        if not known:
            raise RasterError(
                "The dataset holds no embeddings: none of its variables has three dimensions (band, y, x)."
            )
        array = data[known[0]]
        scales, reasons = data.get("scales"), data.get("nodata_reason")
    assert isinstance(array, xr.DataArray)
    rows, cols, bands = _dimensions(array)
    grid = _grid_of(data, array, rows, cols)
    values = np.asarray(array.transpose(rows, cols, bands).values)
    known_scales = None if scales is None else np.asarray(scales.transpose(rows, cols).values, np.float32)
    codes, found = _codes(values, known_scales)
    if provenance is None:
        try:
            told = data.attrs.get(PROVENANCE) or array.attrs.get(PROVENANCE)
            provenance = Provenance(dim=codes.shape[2]) if told is None else Provenance.from_json(json.loads(told))
        except (TypeError, ValueError) as error:
            raise RasterError("The attribute tessera_provenance is damaged; give a provenance instead.") from error
    why = None if reasons is None else np.ascontiguousarray(reasons.transpose(rows, cols).values.astype(np.uint8))
    return EmbeddingRaster(codes, found, grid, replace(provenance, dim=codes.shape[2]), why)


def to_geobox(grid: Grid) -> Any:
    """See :meth:`~tessera_core.raster.EmbeddingRaster.to_geobox`."""
    if grid.crs is None:
        raise GridError("This raster has no georeference, so it has no GeoBox.")
    try:
        module = importlib.import_module("odc.geo.geobox")
    except ImportError as error:
        raise InputError("A GeoBox needs the package odc-geo, which is not installed: pip install odc-geo.") from error
    return module.GeoBox(grid.shape, grid.transform, grid.crs)


@cache
def _lazy_array() -> Any:
    """The class of arrays that xarray reads when they are used; made here because xarray is slow to import."""
    from xarray.backends import BackendArray
    from xarray.core.indexing import IndexingSupport, explicit_indexing_adapter

    class Embeddings(BackendArray):
        """Embeddings (band, y, x) of a raster, dequantised where they are read."""

        def __init__(self, raster: EmbeddingRaster, quantised: bool) -> None:
            self.raster, self.quantised = raster, quantised
            self.shape = (raster.dim, *raster.shape)
            self.dtype = np.dtype(np.int8 if quantised else np.float32)

        def __getitem__(self, key: Any) -> Any:
            return explicit_indexing_adapter(key, self.shape, IndexingSupport.BASIC, self._read)

        def _read(self, key: tuple[int | slice, ...]) -> NDArray[Any]:
            # Integers become slices of one, so that the axes stay where they are until the end.
            spans = tuple(slice(k, k + 1) if isinstance(k, int) else k for k in key)
            band, y, x = (slice(k.start, k.stop, k.step) if isinstance(k, slice) else k for k in spans)
            codes = self.raster.codes[y, x, band]
            values = codes if self.quantised else dequantise(codes, self.raster.scales[y, x])
            block = np.moveaxis(values, -1, 0)
            return block[tuple(0 if isinstance(k, int) else slice(None) for k in key)]

    return Embeddings


def _centres(grid: Grid) -> dict[str, Any]:
    """Coordinates of the pixel centres along each axis; none where the grid is turned and they are not of one axis."""
    t = grid.transform
    if t.b or t.d:
        return {}
    x = grid.pixel_to_xy(np.zeros(grid.width), np.arange(grid.width) + 0.5)[0]
    y = grid.pixel_to_xy(np.arange(grid.height) + 0.5, np.zeros(grid.height))[1]
    if grid.crs is None:
        return {"y": ("y", y, {"units": "1"}), "x": ("x", x, {"units": "1"})}
    from pyproj import CRS

    axes = {one["axis"]: one for one in CRS.from_user_input(grid.crs).cs_to_cf()}
    return {"y": ("y", y, axes.get("Y", {"axis": "Y"})), "x": ("x", x, axes.get("X", {"axis": "X"}))}


def _grid_mapping(grid: Grid) -> dict[str, Any]:
    """What CF, GDAL and rioxarray read of a grid."""
    t = grid.transform
    transform = " ".join(repr(float(v)) for v in (t.c, t.a, t.b, t.f, t.d, t.e))
    if grid.crs is None:
        return {"GeoTransform": transform}
    from pyproj import CRS

    crs = CRS.from_user_input(grid.crs)
    return crs.to_cf() | {"spatial_ref": crs.to_wkt(), "GeoTransform": transform}


def _conventions(grid: Grid) -> dict[str, Any]:
    """The grid as the conventions ``proj:`` and ``spatial:`` of STAC and Zarr say it; plain values, which NetCDF can hold."""
    t = grid.transform
    said: dict[str, Any] = {
        "spatial:dimensions": ["y", "x"],
        "spatial:shape": list(grid.shape),
        "spatial:transform": [float(v) for v in (t.a, t.b, t.c, t.d, t.e, t.f)],
        "spatial:bbox": list(grid.bounds),
        "spatial:registration": "pixel",
    }
    if grid.crs is not None:
        said["proj:code" if grid.crs.startswith("EPSG:") else "proj:wkt2"] = grid.crs
    return said


def _dimensions(array: xarray.DataArray) -> tuple[str, str, str]:
    """The names of rows, columns and bands."""
    names = [str(name) for name in array.dims]
    rows = next((name for name in names if name.lower() in ("y", "lat", "latitude", "northing")), None)
    cols = next((name for name in names if name.lower() in ("x", "lon", "longitude", "easting")), None)
    rest = [name for name in names if name not in (rows, cols)]
    if rows is None or cols is None or len(rest) != 1:
        raise RasterError(
            f"Embeddings have a band and the dimensions y and x; this array has {', '.join(names) or 'none'}. "
            "Choose one time with .isel(time=0), or rename its dimensions."
        )
    return rows, cols, rest[0]


def _grid_of(data: xarray.Dataset | xarray.DataArray, array: xarray.DataArray, rows: str, cols: str) -> Grid:
    """The grid that attributes, or the coordinates of the pixel centres, tell.

    Raises:
        RasterError: the pixels are not evenly spaced, or nothing tells where they lie.
    """
    shape = (array.sizes[rows], array.sizes[cols])
    attributes = {**array.attrs, **data.attrs}
    mapping = array.attrs.get("grid_mapping") or array.encoding.get("grid_mapping") or GRID_MAPPING
    about = dict(array.coords[mapping].attrs) if mapping in array.coords else {}
    crs = about.get("crs_wkt") or about.get("spatial_ref") or attributes.get("proj:code") or attributes.get("proj:wkt2")
    # A cut-out keeps the attributes of the whole: coordinates, which are cut along, are believed first.
    if rows in array.coords and cols in array.coords:
        y, step_y = _even(np.asarray(array.coords[rows].values, np.float64), rows, about, 5)
        x, step_x = _even(np.asarray(array.coords[cols].values, np.float64), cols, about, 1)
        return Grid(crs, Affine(step_x, 0, x - step_x / 2, 0, step_y, y - step_y / 2), shape)
    if "GeoTransform" in about:
        try:
            c, a, b, f, d, e = (float(v) for v in str(about["GeoTransform"]).split())
        except ValueError as error:
            raise RasterError("The GeoTransform of the array is damaged; it needs six numbers.") from error
        return Grid(crs, Affine(a, b, c, d, e, f), shape)
    raise RasterError(
        f"Nothing tells where the pixels lie: the array has neither coordinates {rows} and {cols} nor a GeoTransform."
    )


def _even(centres: NDArray[np.float64], name: str, about: dict[str, Any], position: int) -> tuple[float, float]:
    """The first centre and the step of evenly spaced centres; a single one has the step of the GeoTransform."""
    if len(centres) > 1:
        steps = np.diff(centres)
        if not np.allclose(steps, steps[0], rtol=1e-3) or steps[0] == 0:
            raise RasterError(f"The coordinates of {name} are not evenly spaced; embeddings lie on a grid.")
        return float(centres[0]), float((centres[-1] - centres[0]) / (len(centres) - 1))
    parts = str(about.get("GeoTransform", "")).split()
    if len(parts) != 6:
        raise RasterError(f"One {name} alone does not tell how large a pixel is, and there is no GeoTransform.")
    return float(centres[0]), float(parts[position])


def _codes(values: NDArray[Any], scales: NDArray[np.float32] | None) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Codes (H, W, D) and scales (H, W): those given, those that give the values exactly, or the nearest (int8, by the v1 rule)."""
    if values.dtype == np.int8:
        if scales is None:
            raise RasterError("Codes (int8) need their scales; the dataset has no variable scales.")
        return np.ascontiguousarray(values), scales
    if not np.issubdtype(values.dtype, np.floating):
        raise RasterError(f"Embeddings are floats, or int8 codes with scales; these are {values.dtype}.")
    values = values.astype(np.float32, copy=False)
    if scales is not None:
        valid = valid_scales(scales)
        steps = values / np.where(valid, scales, np.nan)[..., None]
        codes = np.nan_to_num(np.rint(steps)).astype(np.int8)
        if np.array_equal(dequantise(codes, scales), np.where(valid[..., None], values, np.nan), equal_nan=True):
            return codes, scales
    return quantise_block(values)
