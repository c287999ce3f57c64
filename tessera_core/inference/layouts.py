"""Generated embeddings in the layouts others publish and read: float GeoTIFF, and a Zarr v3 store of UTM zones.

The store follows the published convention (docs/spec/formats.md "Published embedding layouts"): one group ``utmNN`` per zone with
``embeddings`` int8 (time, band, y, x) and ``scales`` float32 (time, y, x), +inf where there is no data, prefix arrays for
Matryoshka models, ``geoemb:`` attributes on the root, ``proj:`` and ``spatial:`` on the zones; northings of the southern
hemisphere run on below the equator. Pixels are copied, never resampled. Knows nothing of encoders.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from tessera_core._utils.atomic import FolderKind, atomic_path
from tessera_core.cells import SOUTH_OFFSET_M as SOUTH_OFFSET
from tessera_core.cells import TOP_M
from tessera_core.errors import InputError
from tessera_core.grid import Grid
from tessera_core.observations import MONTHS, NAMES, unpacked_months
from tessera_core.periods import Period
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster, NoData, valid_scales

TIFF_BLOCK = 64
SHARD = 256
INNER_CHUNK = 32
_STORE = FolderKind("a Zarr store", "zarr.json", ("zarr.json", "utm[0-9][0-9]/*"))

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
class Place:
    """Where a raster lies in a store.

    Attributes:
        grid: UTM, of square north-up pixels.
        year: of the time axis.
    """

    grid: Grid
    year: int

    @classmethod
    def of(cls, grid: Grid, year: int | Period | None) -> Place:
        """A place that a store can have.

        Raises:
            InputError: the grid is not such, or there is no calendar year.
        """
        _require_utm(grid)
        if year is None:
            raise InputError(
                'A Zarr store is ordered by year, and the tile does not tell its own; add {"year": ...} to its meta.json, or '
                "write it with --format npy or geotiff."
            )
        if isinstance(year, Period):
            raise InputError(
                f"A Zarr store is ordered by calendar year, and {year} is none; write it with --format npy or geotiff."
            )
        return cls(grid, year)


class Shard(NamedTuple):
    """One file of each array of a store: zone, index of the year, and row and column counted in shards."""

    zone: int
    time: int
    row: int
    col: int


@dataclass(frozen=True)
class _Zone:
    """A zone's common grid: canonical (northern) UTM, whole shards of the zone's lattice of cells."""

    number: int
    pixel: float
    west: float
    north: float
    height: int
    width: int

    @property
    def name(self) -> str:
        return f"utm{self.number:02d}"

    @property
    def transform(self) -> list[float]:
        """As the ``spatial`` convention writes it."""
        return [self.pixel, 0.0, self.west, 0.0, -self.pixel, self.north]

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


@dataclass(frozen=True)
class StoreGrid:
    """The zones and years of a store, known before any pixel.

    Attributes:
        zones: by number.
        years: in order.
    """

    zones: Mapping[int, _Zone]
    years: tuple[int, ...]

    @classmethod
    def covering(cls, places: Iterable[Place]) -> StoreGrid:
        """The smallest one of whole shards. They lie on the lattice of cells (:mod:`tessera_core.cells`), so that no two cells
        meet in one.

        Raises:
            InputError: pixels have several sizes, or do not share one lattice.
        """
        places = list(places)
        grids: dict[int, list[Grid]] = {}
        for place in places:
            grids.setdefault(_zone_number(place.grid), []).append(place.grid)
        zones = {number: _zone_grid(number, members) for number, members in sorted(grids.items())}
        return cls(zones, tuple(sorted({place.year for place in places})))

    def shards(self, place: Place) -> list[Shard]:
        """Those that a raster has pixels in."""
        top, bottom, left, right = self.reach(place)
        zone, time = _zone_number(place.grid), self.years.index(place.year)
        return [Shard(zone, time, row, col) for row in range(top, bottom + 1) for col in range(left, right + 1)]

    def reach(self, place: Place) -> tuple[int, int, int, int]:
        """First and last row, first and last column of these, counted in shards."""
        row, col = self.zones[_zone_number(place.grid)].offset(place.grid)
        return (
            row // SHARD,
            (row + place.grid.height - 1) // SHARD,
            col // SHARD,
            (col + place.grid.width - 1) // SHARD,
        )


def canonical(grid: Grid) -> Affine:
    """The grid's transform with northings continued below the equator, as published stores have them."""
    assert grid.crs is not None
    south = grid.crs.startswith("EPSG:327")
    t = grid.transform
    return Affine(t.a, t.b, t.c, t.d, t.e, t.f - (SOUTH_OFFSET if south else 0.0))


def write_zarr(path: str | Path, rasters: Sequence[EmbeddingRaster], prefixes: Sequence[int] = ()) -> Path:
    """Write rasters of one dataset as a Zarr v3 store; it appears under its name when it is whole.

    Args:
        path: the store's folder; an existing store is replaced, anything else in it is refused.
        rasters: on UTM grids with square north-up pixels; ``provenance.year`` places each on the time axis. Where they overlap,
            the later one lies above.
        prefixes: Matryoshka lengths that get arrays of their own (``embeddings_d<n>``); they share the scales.

    Raises:
        InputError: a raster has no UTM grid or no year, the pixel grids do not match, or the folder holds something else.
        MixedDatasetsError: the rasters are of several datasets.
        ExportError: the store cannot be written.
    """
    if not rasters:
        raise InputError("There is nothing to write into the Zarr store.")
    first = rasters[0].provenance
    for raster in rasters:
        first.require_same_dataset(raster.provenance, "one Zarr store")
    places = [Place.of(raster.grid, raster.provenance.year) for raster in rasters]
    grid = StoreGrid.covering(places)
    members: dict[Shard, list[EmbeddingRaster]] = {}
    for place, raster in zip(places, rasters, strict=True):
        for shard in grid.shards(place):
            members.setdefault(shard, []).append(raster)
    with atomic_path(path, directory=True, replaces=_STORE) as part:
        create_store(part, grid, first, prefixes, counted=rasters[0].observations is not None)
        store = OpenStore(part, grid)
        for shard, found in members.items():
            store.fill(shard, found)
        consolidate(part)
    return Path(path)


def create_store(
    folder: Path, grid: StoreGrid, provenance: Provenance, prefixes: Sequence[int] = (), *, counted: bool = False
) -> None:
    """Write the metadata of a store and its coordinates, and no pixel.

    Args:
        folder: empty.
        provenance: of all that will be in it.
        prefixes: see :func:`write_zarr`.
        counted: whether arrays for how often each pixel was seen are wanted.
    """
    import zarr

    depths = [p for p in sorted(set(prefixes)) if p < provenance.dim]
    with _quiet():
        root = zarr.open_group(folder, mode="w", zarr_format=3)
        root.attrs.update(_root_attributes(provenance, depths))
        for zone in grid.zones.values():
            _create_zone(root, zone, grid.years, (*depths, provenance.dim), counted)


def consolidate(folder: Path) -> None:
    """Gather the metadata of all arrays into the store's own."""
    import zarr

    with _quiet():
        zarr.consolidate_metadata(zarr.open_group(folder, mode="r+").store)


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class OpenStore:
    """A store that was created, and is filled shard by shard: no two writers touch one file, if each shard has one.

    Args:
        folder: the store.
        grid: that it was created with.

    Raises:
        InputError: it was created with another.
    """

    def __init__(self, folder: Path, grid: StoreGrid) -> None:
        import zarr

        self.grid = grid
        with _quiet():
            root: Any = zarr.open_group(folder, mode="r+")
            if any(
                zone.name not in root or list(root[zone.name].attrs["spatial:transform"]) != zone.transform
                or list(root[zone.name].attrs["spatial:shape"]) != [zone.height, zone.width]
                or tuple(root[zone.name]["time"][:].tolist()) != grid.years
                for zone in grid.zones.values()
            ):  # fmt: skip
                raise InputError(f"{folder} was begun with another list of tiles; run the same command again.")
            self.provenance = Provenance.from_json(dict(root.attrs)["tessera_studio:provenance"])
            self._arrays = {
                zone.number: {name: array for name, array in root[zone.name].arrays() if array.ndim > 1}
                for zone in grid.zones.values()
            }

    def fill(self, shard: Shard, rasters: Sequence[EmbeddingRaster]) -> None:
        """Write a whole shard; what was in it is not looked at.

        Args:
            rasters: all that have pixels in it; where one has no data, those before it stay.
        """
        zone, arrays = self.grid.zones[shard.zone], self._arrays[shard.zone]
        top, left = shard.row * SHARD, shard.col * SHARD
        codes = np.zeros((arrays["embeddings"].shape[1], SHARD, SHARD), np.int8)
        scales = np.full((SHARD, SHARD), np.inf, np.float32)
        seen = np.zeros((SHARD, SHARD, len(NAMES)), np.uint16)
        for raster in rasters:
            row, col = zone.offset(raster.grid)
            here, there = zip(
                *(
                    _overlap(at, extent, start)
                    for at, extent, start in zip((row, col), raster.shape, (top, left), strict=True)
                ),
                strict=True,
            )
            found = np.asarray(raster.scales[there])
            valid = valid_scales(found)
            if raster.observations is not None and NAMES[0] in arrays:
                mine = valid | ~np.isfinite(scales[here])
                seen[here][mine] = np.asarray(raster.observations[there])[mine]
            scales[here][valid] = found[valid]
            block = np.asarray(raster.codes[there]).transpose(2, 0, 1)
            inside = codes[:, *here]
            np.copyto(inside, block, where=valid)
        at = (shard.time, slice(top, top + SHARD), slice(left, left + SHARD))
        with _quiet():
            for name, array in arrays.items():
                if name == "scales":
                    array[at] = scales
                elif name in NAMES:
                    counts: NDArray[Any] = seen[..., NAMES.index(name)]
                    array[at] = unpacked_months(counts) if NAMES.index(name) > 2 else counts
                else:
                    array[(at[0], slice(None), *at[1:])] = codes[: array.shape[1]]


def _overlap(offset: int, extent: int, start: int) -> tuple[slice, slice]:
    """Of a raster's rows or columns that begin at ``offset``: where they lie in the shard that begins at ``start``, and which."""
    first, last = max(offset, start), min(offset + extent, start + SHARD)
    return slice(first - start, last - start), slice(first - offset, last - offset)


def _require_utm(grid: Grid) -> None:
    t = grid.transform
    code = grid.crs or ""
    if not (code.startswith(("EPSG:326", "EPSG:327")) and len(code) == 10 and 1 <= int(code[-2:]) <= 60):
        raise InputError(
            "A Zarr store holds UTM zones, but this tile "
            + ("has no georeference." if grid.crs is None else f"is in {grid.crs[:40]}.")
            + " Write it with --format npy or geotiff."
        )
    if t.b or t.d or not math.isclose(t.a, -t.e) or t.a <= 0:
        raise InputError("A Zarr store needs square north-up pixels; write this tile with --format npy or geotiff.")


def _zone_number(grid: Grid) -> int:
    assert grid.crs is not None
    return int(grid.crs[-2:])


def _zone_grid(number: int, members: Sequence[Grid]) -> _Zone:
    pixel = members[0].transform.a
    if any(not math.isclose(grid.transform.a, pixel) for grid in members):
        raise InputError("The tiles have pixels of different sizes and do not fit into one Zarr store.")
    corners = [(canonical(grid), grid) for grid in members]
    west, north = min(t.c for t, _ in corners), max(t.f for t, _ in corners)
    east = max(t.c + grid.width * pixel for t, grid in corners)
    south = min(t.f - grid.height * pixel for t, grid in corners)

    def pixels(metres: float) -> float:
        return round(metres / pixel, 3)

    west -= math.floor(pixels(west)) % SHARD * pixel
    north += math.floor(pixels(TOP_M - north)) % SHARD * pixel
    height, width = (math.ceil(pixels(extent) / SHARD) * SHARD for extent in (north - south, east - west))
    zone = _Zone(number, pixel, west, north, height, width)
    for grid in members:
        zone.offset(grid)
    return zone


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


def _create_zone(root: Any, zone: _Zone, years: Sequence[int], depths: Sequence[int], counted: bool) -> None:
    from zarr.codecs import BloscCodec
    from zarr_cm import create_many, proj, spatial

    dim = max(depths)
    group = root.create_group(zone.name)
    packed = BloscCodec(cname="zstd", clevel=3)
    for depth in depths:
        band = "band" if depth == dim else f"band_d{depth}"
        group.create_array(
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
    group.create_array(
        "scales",
        shape=(len(years), zone.height, zone.width),
        chunks=(1, INNER_CHUNK, INNER_CHUNK),
        shards=(1, SHARD, SHARD),
        dtype=np.float32,
        fill_value=np.float32("inf"),
        compressors=packed,
        dimension_names=["time", "y", "x"],
    )
    if counted:
        _create_counts(group, zone, len(years))
    _coordinate(group, "x", zone.west + (np.arange(zone.width) + 0.5) * zone.pixel)
    _coordinate(group, "y", zone.north - (np.arange(zone.height) + 0.5) * zone.pixel)
    _coordinate(group, "time", np.asarray(years, np.int32))
    box = [zone.west, zone.north - zone.height * zone.pixel, zone.west + zone.width * zone.pixel, zone.north]
    conventions: dict[Any, Any] = {
        "spatial": spatial.create(
            revision="r3",
            dimensions=["y", "x"],
            bbox=box,
            transform_type="affine",
            transform=zone.transform,
            shape=[zone.height, zone.width],
            registration="pixel",
        ),
        "proj": proj.create(revision="r3", code=f"EPSG:{32600 + zone.number}"),
    }
    group.attrs.update(create_many(conventions) | {"geoemb:dimensions": dim})


def _create_counts(group: Any, zone: _Zone, years: int) -> None:
    """Arrays for how often each pixel was seen, named and shaped as in the published store."""
    from zarr.codecs import BloscCodec

    for channel, name in enumerate(NAMES):
        more = ((MONTHS,), ["month"]) if channel > 2 else ((), [])
        group.create_array(
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


def _coordinate(group: Any, name: str, values: NDArray) -> None:
    array = group.create_array(name, shape=values.shape, dtype=values.dtype, dimension_names=[name])
    array[:] = values
