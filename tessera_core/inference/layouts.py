"""Generated embeddings in the layouts others publish and read: float GeoTIFF, and a Zarr v3 store of UTM zones.

The store follows the published convention (docs/spec/formats.md "Published embedding layouts"): one group ``utmNN`` per zone with
``embeddings`` int8 (time, band, y, x) and ``scales`` float32 (time, y, x), +inf where there is no data, prefix arrays for
Matryoshka models, ``geoemb:`` attributes on the root, ``proj:`` and ``spatial:`` on the zones; northings of the southern
hemisphere run on below the equator. Pixels are copied, never resampled. Knows nothing of encoders.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from tessera_core._utils.atomic import FolderKind, atomic_path
from tessera_core.errors import InputError
from tessera_core.grid import Grid
from tessera_core.observations import MONTHS, NAMES, unpacked_months
from tessera_core.periods import Period
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster, NoData

TIFF_BLOCK = 64
SHARD = 256
INNER_CHUNK = 32
_STORE = FolderKind("a Zarr store", "zarr.json", ("zarr.json", "utm[0-9][0-9]/*"))
SOUTH_OFFSET = 10_000_000.0

GEOEMB = {
    "uuid": "61c12cc5-0e28-4056-999a-480cf3fb7e4c",
    "name": "geoemb:",
    # Its schema asks for a uuid or an address, and the only address that it allows is a tag that does not exist.
    "description": "Geoembeddings convention for geospatial embedding arrays with model provenance",
}


def write_geotiff(
    path: str | Path,
    values: NDArray[np.float32],
    reasons: NDArray[np.uint8],
    grid: Grid,
    provenance: Provenance,
) -> Path:
    """Write embeddings as a tiled float32 GeoTIFF with one band per dimension and NaN as no data, a few rows at a time.

    Args:
        path: the file; appears when it is whole.
        values: float32 (H, W, D), may be memory-mapped.
        reasons: uint8 (H, W); pixels other than ``NoData.VALID`` become NaN in every band.
        grid, provenance: written as georeference and tags.

    Raises:
        ExportError: the file cannot be written.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning
    from rasterio.windows import Window

    height, width, dim = values.shape
    profile = {
        "driver": "GTiff",
        "dtype": "float32",
        "count": dim,
        "height": height,
        "width": width,
        "nodata": float("nan"),
        "interleave": "pixel",
        "tiled": True,
        "blockxsize": TIFF_BLOCK,
        "blockysize": TIFF_BLOCK,
        "compress": "deflate",
        "predictor": 3,
        "bigtiff": "if_safer",
    }
    if grid.crs is not None:
        profile |= {"crs": grid.crs, "transform": grid.transform}
    with atomic_path(path) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(part, "w", **profile) as file:
            file.update_tags(**provenance.tags())
            for row in range(0, height, TIFF_BLOCK):
                rows = slice(row, min(row + TIFF_BLOCK, height))
                block = np.where((reasons[rows] == NoData.VALID)[..., None], values[rows], np.float32(np.nan))
                file.write(np.ascontiguousarray(block.transpose(2, 0, 1)), window=Window(0, row, width, len(block)))
    return Path(path)


@dataclass(frozen=True)
class _Zone:
    """A zone's common grid: canonical (northern) UTM, whole shards."""

    number: int
    pixel: float
    west: float
    north: float
    height: int
    width: int

    @property
    def name(self) -> str:
        return f"utm{self.number:02d}"

    def offset(self, grid: Grid) -> tuple[int, int]:
        """Row and column of a raster's first pixel.

        Raises:
            InputError: the raster's pixels do not fall on the zone's.
        """
        transform = canonical(grid)
        col, row = (transform.c - self.west) / self.pixel, (self.north - transform.f) / self.pixel
        if max(abs(col - round(col)), abs(row - round(row))) > 1e-3:
            raise InputError(
                "The tiles do not share one pixel grid (their origins differ by a fraction of a pixel), so they do not fit "
                "into one Zarr store. Write them with --format npy or geotiff."
            )
        return round(row), round(col)


def canonical(grid: Grid) -> Affine:
    """The grid's transform with northings continued below the equator, as published stores have them."""
    assert grid.crs is not None
    south = grid.crs.startswith("EPSG:327")
    t = grid.transform
    return Affine(t.a, t.b, t.c, t.d, t.e, t.f - (SOUTH_OFFSET if south else 0.0))


@dataclass(frozen=True)
class Member:
    """A raster that is opened when its turn comes: of a thousand, two thousand files would be open otherwise.

    Attributes:
        grid, provenance: of the raster.
        open: gives it.
    """

    grid: Grid
    provenance: Provenance
    open: Callable[[], EmbeddingRaster]


def write_zarr(path: str | Path, rasters: Sequence[EmbeddingRaster | Member], prefixes: Sequence[int] = ()) -> Path:
    """Write rasters of one dataset as a Zarr v3 store; it appears under its name when it is whole.

    Args:
        path: the store's folder; an existing store is replaced, anything else in it is refused.
        rasters: or what opens them; on UTM grids with square north-up pixels; ``provenance.year`` places each on the time axis.
        prefixes: Matryoshka lengths that get arrays of their own (``embeddings_d<n>``); they share the scales.

    Raises:
        InputError: a raster has no UTM grid or no year, the pixel grids do not match, or the folder holds something else.
        MixedDatasetsError: the rasters are of several datasets.
        ExportError: the store cannot be written.
    """
    import zarr

    if not rasters:
        raise InputError("There is nothing to write into the Zarr store.")
    first = rasters[0].provenance
    for raster in rasters:
        first.require_same_dataset(raster.provenance, "one Zarr store")
        _require_utm(raster)
    years = sorted({_year(raster) for raster in rasters})
    zones: dict[int, list[EmbeddingRaster | Member]] = {}
    for raster in rasters:
        zones.setdefault(_zone_number(raster.grid), []).append(raster)
    depths = [p for p in sorted(set(prefixes)) if p < first.dim]
    with atomic_path(path, directory=True, replaces=_STORE) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = zarr.open_group(part, mode="w", zarr_format=3)
        root.attrs.update(_root_attributes(first, depths))
        for number, members in sorted(zones.items()):
            _write_zone(root, _zone_grid(number, members), members, years, depths)
        zarr.consolidate_metadata(root.store)
    return Path(path)


def _require_utm(raster: EmbeddingRaster | Member) -> None:
    grid, t = raster.grid, raster.grid.transform
    code = grid.crs or ""
    if not (code.startswith(("EPSG:326", "EPSG:327")) and len(code) == 10 and 1 <= int(code[-2:]) <= 60):
        raise InputError(
            "A Zarr store holds UTM zones, but this tile "
            + ("has no georeference." if grid.crs is None else f"is in {grid.crs[:40]}.")
            + " Write it with --format npy or geotiff."
        )
    if t.b or t.d or not math.isclose(t.a, -t.e) or t.a <= 0:
        raise InputError("A Zarr store needs square north-up pixels; write this tile with --format npy or geotiff.")


def _year(raster: EmbeddingRaster | Member) -> int:
    if raster.provenance.year is None:
        raise InputError(
            'A Zarr store is ordered by year, and the tile does not tell its own; add {"year": ...} to its meta.json, or '
            "write it with --format npy or geotiff."
        )
    if isinstance(raster.provenance.year, Period):
        raise InputError(
            f"A Zarr store is ordered by calendar year, and {raster.provenance.year} is none; write it with --format npy or "
            "geotiff."
        )
    return raster.provenance.year


def _zone_number(grid: Grid) -> int:
    assert grid.crs is not None
    return int(grid.crs[-2:])


def _zone_grid(number: int, members: Sequence[EmbeddingRaster | Member]) -> _Zone:
    pixel = members[0].grid.transform.a
    if any(not math.isclose(m.grid.transform.a, pixel) for m in members):
        raise InputError("The tiles have pixels of different sizes and do not fit into one Zarr store.")
    corners = [(canonical(m.grid), m.grid) for m in members]
    west, north = min(t.c for t, _ in corners), max(t.f for t, _ in corners)
    east = max(t.c + g.width * pixel for t, g in corners)
    south = min(t.f - g.height * pixel for t, g in corners)

    def whole(extent: float) -> int:
        return math.ceil(round(extent / pixel, 3) / SHARD) * SHARD

    return _Zone(number, pixel, west, north, whole(north - south), whole(east - west))


def _root_attributes(provenance: Provenance, depths: Sequence[int]) -> dict[str, Any]:
    name = "/".join(part for part in (provenance.version, provenance.variant) if part)
    model = f"https://geotessera.org/model/{name}" if provenance.model == "tessera" else f"{provenance.model}/{name}"
    attributes: dict[str, Any] = {
        "zarr_conventions": [GEOEMB],
        "geoemb:type": "pixel",
        "geoemb:dimensions": provenance.dim,
        "geoemb:model": model,
        "geoemb:source_data": [
            "https://sentinel.esa.int/web/sentinel/missions/sentinel-1",
            "https://sentinel.esa.int/web/sentinel/missions/sentinel-2",
        ],
        "geoemb:data_type": "int8",
        "geoemb:gsd": 10.0,
        "geoemb:spatial_layout": "utm_zones",
        "geoemb:build_version": provenance.software,
        "geoemb:landmask": False,
        "geoemb:quantization": {
            "method": "per_pixel_scale",
            "original_dtype": "float32",
            "quantized_dtype": "int8",
            "scale": {"type": "array", "array_name": "scales", "nodata": "+inf"},
        },
        "tessera_studio:provenance": provenance.to_json(),
    }
    if depths:
        attributes["geoemb:depths"] = [
            {"dimensions": d, "array": _array_name(d, provenance.dim)} for d in (*depths, provenance.dim)
        ]
    return attributes


def _array_name(depth: int, dim: int) -> str:
    return "embeddings" if depth == dim else f"embeddings_d{depth}"


def _write_zone(
    root: Any,
    zone: _Zone,
    members: Sequence[EmbeddingRaster | Member],
    years: Sequence[int],
    depths: Sequence[int],
) -> None:
    from zarr.codecs import BloscCodec
    from zarr_cm import create_many, proj, spatial

    dim = members[0].provenance.dim
    group = root.create_group(zone.name)
    packed = BloscCodec(cname="zstd", clevel=3)
    arrays = {}
    for depth in (*depths, dim):
        band = "band" if depth == dim else f"band_d{depth}"
        arrays[depth] = group.create_array(
            _array_name(depth, dim),
            shape=(len(years), depth, zone.height, zone.width),
            chunks=(1, depth, INNER_CHUNK, INNER_CHUNK),
            shards=(1, depth, SHARD, SHARD),
            dtype=np.int8,
            fill_value=np.int8(0),
            compressors=packed,
            dimension_names=["time", band, "y", "x"],
        )
        _coordinate(group, band, np.arange(depth, dtype=np.int32))
    scales = group.create_array(
        "scales",
        shape=(len(years), zone.height, zone.width),
        chunks=(1, INNER_CHUNK, INNER_CHUNK),
        shards=(1, SHARD, SHARD),
        dtype=np.float32,
        fill_value=np.float32("inf"),
        compressors=packed,
        dimension_names=["time", "y", "x"],
    )
    opened = [member.open() if isinstance(member, Member) else member for member in members[:1]]
    counted = _counts(group, zone, len(years)) if opened[0].observations is not None else None
    _coordinate(group, "x", zone.west + (np.arange(zone.width) + 0.5) * zone.pixel)
    _coordinate(group, "y", zone.north - (np.arange(zone.height) + 0.5) * zone.pixel)
    _coordinate(group, "time", np.asarray(years, np.int32))
    for member in members:
        raster = member.open() if isinstance(member, Member) else member
        time = years.index(_year(raster))
        row0, col0 = zone.offset(raster.grid)
        height, width = raster.shape
        # Rows of whole shards of the zone, so that no shard is read back and written twice.
        edges = [0, *range(-row0 % SHARD or SHARD, height, SHARD), height]
        for start, stop in itertools.pairwise(edges):
            at = (time, slice(row0 + start, row0 + stop), slice(col0, col0 + width))
            valid = raster.valid(slice(start, stop))
            old = scales[at]
            merged = np.where(valid, raster.scales[start:stop], old)
            scales[at] = merged.astype(np.float32)
            if counted is not None and raster.observations is not None:
                _write_counts(counted, raster.observations[start:stop], valid | ~np.isfinite(old), at)
            codes = raster.codes[start:stop].transpose(2, 0, 1)
            for depth, array in arrays.items():
                where = (time, slice(None), *at[1:])
                # Overlapping tiles: where this one has no data, the earlier one stays.
                before = None if valid.all() else array[where]
                array[where] = codes[:depth] if before is None else np.where(valid, codes[:depth], before)
    transform = [zone.pixel, 0.0, zone.west, 0.0, -zone.pixel, zone.north]
    box = [zone.west, zone.north - zone.height * zone.pixel, zone.west + zone.width * zone.pixel, zone.north]
    conventions: dict[Any, Any] = {
        "spatial": spatial.create(
            revision="r3",
            dimensions=["y", "x"],
            bbox=box,
            transform_type="affine",
            transform=transform,
            shape=[zone.height, zone.width],
            registration="pixel",
        ),
        "proj": proj.create(revision="r3", code=f"EPSG:{32600 + zone.number}"),
    }
    group.attrs.update(create_many(conventions) | {"geoemb:dimensions": dim})


def _counts(group: Any, zone: _Zone, years: int) -> dict[str, Any]:
    """Arrays for how often each pixel was seen, named and shaped as in the published store."""
    from zarr.codecs import BloscCodec

    arrays = {}
    for channel, name in enumerate(NAMES):
        more = ((MONTHS,), ["month"]) if channel > 2 else ((), [])
        arrays[name] = group.create_array(
            name,
            shape=(years, zone.height, zone.width, *more[0]),
            chunks=(1, INNER_CHUNK, INNER_CHUNK, *more[0]),
            shards=(1, SHARD, SHARD, *more[0]),
            dtype=np.int8 if channel > 2 else np.uint16,
            fill_value=0,
            compressors=BloscCodec(cname="zstd", clevel=3),
            dimension_names=["time", "y", "x", *more[1]],
            attributes={"dtype": "bool"} if channel > 2 else {},
        )
    _coordinate(group, "month", np.arange(1, MONTHS + 1, dtype=np.int16))
    return arrays


def _write_counts(arrays: dict[str, Any], seen: NDArray[np.uint16], mine: NDArray[np.bool_], at: Any) -> None:
    """Write counts uint16 (h, w, 6) where bool (h, w) says so."""
    for channel, name in enumerate(NAMES):
        values: NDArray[Any] = seen[..., channel]
        where = mine
        if channel > 2:
            values, where = unpacked_months(values), mine[..., None]
        arrays[name][at] = values if mine.all() else np.where(where, values, arrays[name][at])


def _coordinate(group: Any, name: str, values: NDArray) -> None:
    array = group.create_array(name, shape=values.shape, dtype=values.dtype, dimension_names=[name])
    array[:] = values
