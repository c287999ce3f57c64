"""What tests are made of: grids, rasters, tiles, projects and small worlds, each built in one place.

Tests take their things from here (or from the helpers beside them), never from another test or a conftest module. All is
seeded; what is random in one run is the same in the next.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from tessera_core.dpixels.tile import DPixelTile
from tessera_core.grid import Grid
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster

if TYPE_CHECKING:
    from tessera_core.project.project import Project

V2 = Provenance("tessera", "2.0", "2B-L", year=2023)


def make_grid(
    shape: tuple[int, int],
    west: float = 500_000,
    north: float = 5_600_000,
    pixel: float = 10,
    crs: str = "EPSG:32631",
) -> Grid:
    """A north-up grid whose top left corner lies at (west, north); in the Belgian south unless told otherwise."""
    return Grid(crs, Affine(pixel, 0, west, 0, -pixel, north), shape)


def quantised(values: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """int8 codes (..., D) and float32 scales (...) of float vectors (..., D), as the published embeddings are rounded."""
    scales = (np.abs(values).max(-1) / 127).astype(np.float32)
    return np.rint(values / scales[..., None]).astype(np.int8), scales


def make_raster(
    values: NDArray[Any], grid: Grid | None = None, provenance: Provenance | None = None, *, empty: Any = None
) -> EmbeddingRaster:
    """A raster of float vectors (H, W, D).

    Args:
        grid: where it lies; nowhere on Earth unless given.
        provenance: whose it is; nobody's unless given.
        empty: an index of (H, W), e.g. ``np.s_[:2, 5]``, that is to hold no data.
    """
    codes, scales = quantised(values)
    if empty is not None:
        scales[empty] = np.nan
    return EmbeddingRaster(
        codes, scales, grid or Grid.local(scales.shape), provenance or Provenance(dim=codes.shape[2])
    )


def random_raster(
    shape: tuple[int, int] = (6, 8),
    dim: int = 16,
    seed: int = 0,
    grid: Grid | None = None,
    provenance: Provenance = V2,
) -> EmbeddingRaster:
    """A raster of noise, for what looks at bytes and places only."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(-127, 128, (*shape, dim)).astype(np.int8)
    scales = rng.uniform(0.01, 0.1, shape).astype(np.float32)
    return EmbeddingRaster(codes, scales, grid or make_grid(shape), provenance)


def landscape(size: int = 64, classes: int = 4, year: int = 2023, seed: int = 0, dim: int = 128) -> EmbeddingRaster:
    """Quadrant-like patches of ``classes`` kinds, each around its own direction, quantised like a real raster."""
    random = np.random.default_rng(seed)
    rows, cols = np.mgrid[:size, :size] / size
    kind = (np.floor(rows * 2) * 2 + np.floor(cols * 2)).astype(int) % classes
    centres = np.random.default_rng(99).normal(size=(classes, dim))
    values = centres[kind] + 0.3 * random.normal(size=(size, size, dim))
    grid = make_grid((size, size), 600_000, 5_800_000)
    return make_raster(values, grid, Provenance("studio", "test", "", dim, year, "demo"), empty=np.s_[:2, :2])


def make_tile(
    folder: Path,
    shape: tuple[int, int] = (12, 10),
    clear: float = 0.5,
    seed: int = 0,
    corner: tuple[float, float] | None = None,
    **meta: object,
) -> Path:
    """A time-series tile of noise: three pixels outside, one never seen; without any clear day where ``clear`` is 0.

    ``corner`` is west and north of it.
    """
    from tessera_core.dpixels.tile import write_tile

    rng = np.random.default_rng(seed)
    roi = np.ones(shape, bool)
    roi[0, :3] = False
    bands = rng.integers(1, 6000, (20, *shape, 10)).astype(np.uint16)
    masks = (rng.random((20, *shape)) < clear).astype(np.uint8)
    radar = rng.integers(1, 9000, (15, *shape, 2)).astype(np.int16)
    if clear == 0:
        radar[:] = 0
    masks[:, 5, 5] = 0
    radar[:, 5, 5] = 0
    return write_tile(
        folder,
        bands=bands,
        masks=masks,
        doys=np.arange(1, 21) * 10,
        sar_asc=radar,
        doys_asc=np.arange(1, 16) * 20,
        grid=make_grid(shape, *(corner or ())),
        roi=roi,
        meta={"year": 2023, **meta},
    )


def season_tile(grid: Grid, year: int | None = 2023, orbit: bool = True, seed: int = 0) -> DPixelTile:
    """The time series of two crops side by side, the right half greening later, with clouds, in memory."""
    rng = np.random.default_rng(seed)
    height, width = grid.shape
    doys = np.arange(10, 366, 15)
    late = np.indices(grid.shape)[1] >= width // 2
    season = np.exp(-(((doys[:, None, None] - np.where(late, 230, 140)[None]) / 45.0) ** 2))
    bands = rng.normal(1000, 60, (len(doys), height, width, 10))
    bands[..., 3:5] += 2500 * season[..., None]
    passes = np.arange(5, 366, 30)
    radar = rng.normal(6000, 200, (len(passes), height, width, 2)).astype(np.int16)
    none = np.zeros((0, height, width, 2), np.int16)
    return DPixelTile(
        bands.astype(np.uint16),
        (rng.random(bands.shape[:3]) > 0.15).astype(np.uint8),
        doys,
        radar if orbit else none,
        passes if orbit else np.zeros(0, int),
        none,
        np.zeros(0, int),
        None,
        grid,
        "tile",
        year,
    )


def make_project(
    folder: Path, *rasters: EmbeddingRaster, name: str = "Fields", classes: tuple[str, ...] = ()
) -> Project:
    """A project in ``folder/project`` with rasters of different years, saved beside it, and classes without labels."""
    from tessera_core.project.project import Project

    project = Project.create(folder / "project", name)
    for raster in rasters:
        year = raster.provenance.year
        place = raster.save(folder / f"embeddings-{year}")
        project.attach_embeddings(year, place, raster.provenance, raster.grid)
    for one in classes:
        project.log.add_class(one)
    return project


def two_halves(grid: Grid, year: int, dim: int = 8) -> EmbeddingRaster:
    """Two kinds of ground, one in the west of a grid and one in the east."""
    side = np.indices(grid.shape)[1] >= grid.width // 2
    values = np.random.default_rng(year).normal(0.4 * side[..., None] - 0.2, 0.08, (*grid.shape, dim))
    return make_raster(values, grid, Provenance("tessera", "2.0", "2B-L", dim, year))


def clumped_raster(seed: int = 0, shape: tuple[int, int] = (40, 50), dim: int = 32) -> EmbeddingRaster:
    """Pixels of five clumps in any order, the first three without data."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(5, dim)) * 2
    values = centres[rng.integers(0, 5, shape)] + rng.normal(size=(*shape, dim))
    return make_raster(values, make_grid(shape, 4e5, 5.7e6), Provenance(dim=dim), empty=np.s_[0, :3])


CONTINUOUS_GRID = make_grid((96, 96))


def continuous_world() -> tuple[EmbeddingRaster, NDArray[np.float64]]:
    """A raster on ``CONTINUOUS_GRID`` whose first two directions make a number, and that number float64 (H, W).

    It is smooth over fields of 6 x 6 pixels; the top left corner is another world.
    """
    rng = np.random.default_rng(0)
    fields = rng.normal(size=(16, 16, 16)).repeat(6, 0).repeat(6, 1)
    x = fields + 0.15 * rng.normal(size=fields.shape)
    truth = 20 + 6 * fields[..., 0] - 3 * fields[..., 1]
    x[:12, :12] += 25
    stamp = Provenance("studio", "nano", dim=16, year=2024)
    return make_raster(x, CONTINUOUS_GRID, stamp, empty=np.s_[-1]), truth


def alphaearth_like(
    rasters: Iterable[EmbeddingRaster], folder: Path, step: float = 1.6e-4, wrong: bool = False
) -> None:
    """The same land as AlphaEarth would tell it: 64 numbers of unit length, int8 COGs in degrees, pixels of another size.

    Args:
        rasters: a year each, all of one grid.
        folder: takes ``<year>/ae.tiff``.
        step: degrees of a pixel (1.6e-4 are 11 to 18 m here).
        wrong: place it a degree away.
    """
    import rasterio

    from tessera_core.sources import alphaearth

    rasters = list(rasters)
    land = rasters[0]
    rng = np.random.default_rng(5)
    mix = rng.normal(size=(land.dim, alphaearth.DIM))
    west, south, east, north = land.grid.bounds_lonlat
    shape = (int((north - south) / step) + 2, int((east - west) / step) + 2)
    grid = Grid("EPSG:4326", Affine(step, 0, west + wrong, 0, -step, north), shape)
    rows, cols = np.indices(shape) + 0.5
    true_place = Grid("EPSG:4326", Affine(step, 0, west, 0, -step, north), shape)
    at = land.grid.lonlat_to_pixel(*true_place.pixel_to_lonlat(rows, cols))
    for raster in rasters:
        values = raster.sample(at[0].ravel(), at[1].ravel()) @ mix
        values = values + 0.3 * rng.normal(size=values.shape)
        values = values / np.linalg.norm(values, axis=1, keepdims=True)
        codes = alphaearth.encode(values).reshape(*shape, alphaearth.DIM)
        path = folder / str(raster.provenance.year) / "ae.tiff"
        path.parent.mkdir(parents=True)
        profile = {
            "driver": "GTiff",
            "dtype": "int8",
            "count": 64,
            "height": shape[0],
            "width": shape[1],
            "nodata": -128,
        }
        with rasterio.open(path, "w", crs=grid.crs, transform=grid.transform, **profile) as file:
            file.write(codes.transpose(2, 0, 1))


def clumps(n: int = 600, dim: int = 24, kinds: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors float32 (n, dim) of some kinds, each a clump of its own, and the kinds int (n,)."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, kinds, n)
    centres = np.random.default_rng(1).normal(size=(kinds, dim)) * 3
    return (centres[kind] + rng.normal(size=(n, dim))).astype(np.float32), kind


def patchwork(
    height: int = 61, width: int = 75, dim: int = 12, noise: float = 1.5, seed: int = 0
) -> tuple[EmbeddingRaster, NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """A raster of large patches under strong noise, with holes, and its classes 1..3."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(height, width)), 7)
    truth = np.digitize(field, np.quantile(field, [1 / 3, 2 / 3])) + 1
    centres = np.random.default_rng(1).normal(size=(3, dim))
    codes, scales = quantised(centres[truth - 1] + noise * rng.normal(size=(height, width, dim)))
    scales[10:13, 20:31] = np.nan
    scales[0, 0] = 0
    raster = EmbeddingRaster(codes, scales, Grid.local((height, width)), Provenance(dim=dim))
    rows, cols = (a[:: len(a) // 150] for a in np.nonzero(raster.valid()))
    return raster, truth, rows, cols


def write_areas(path: Path, *geometries: dict[str, Any] | None, crs: str | None = None) -> Path:
    """A file of GeoJSON with a feature for each geometry."""
    features = [{"type": "Feature", "properties": {}, "geometry": geometry} for geometry in geometries]
    text: dict[str, Any] = {"type": "FeatureCollection", "features": features}
    if crs:
        text["crs"] = {"type": "name", "properties": {"name": crs}}
    path.write_text(json.dumps(text))
    return path


def ring(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    """A box as a polygon of GeoJSON."""
    corners = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [corners]}


# A field in Fiji that lies on both sides of the 180th meridian, in every way that people and programs write it.
FIJI = {
    "split as RFC 7946 asks": [ring(179.9, -17, 180, -16.9), ring(-180, -17, -179.9, -16.9)],
    "split in one feature": [
        {
            "type": "MultiPolygon",
            "coordinates": [r["coordinates"] for r in (ring(179.9, -17, 180, -16.9), ring(-180, -17, -179.9, -16.9))],
        }
    ],
    "wrapped round the world": [ring(179.9, -17, -179.9, -16.9)],
    "running on to the east": [ring(179.9, -17, 180.1, -16.9)],
    "running on to the west": [ring(-180.1, -17, -179.9, -16.9)],
    "islands apart": [ring(178.1, -17, 178.2, -16.9), ring(-179.5, -17, -179.4, -16.9)],
    "islands, one beyond 180": [ring(178.1, -17, 178.2, -16.9), ring(180.4, -17, 180.5, -16.9)],
}


def labelled_tiles(folder: Path, count: int, year: int = 2024, seed: int = 0) -> Path:
    """Small tiles of two kinds of ground beside each other (``E/t0`` and so on), and labels on them (``labels.geojson``)."""
    rng = np.random.default_rng(seed)
    kinds, features = rng.normal(size=(2, 16)), []
    for number in range(count):
        kind = (np.arange(12) // 6)[None].repeat(12, 0)
        grid = Grid("EPSG:32631", Affine(10, 0, 500_000 + 120 * number, 0, -10, 100_000), (12, 12))
        raster = make_raster(
            kinds[kind] + 0.1 * rng.normal(size=(12, 12, 16)), grid, Provenance("studio", "nano", dim=16, year=year)
        )
        raster.save(folder / "E" / f"t{number}")
        for name, col in (("wheat", 2.5), ("rye", 9.5)):
            for row in (3.5, 8.5):
                lon, lat = (float(v) for v in raster.grid.pixel_to_lonlat(row, col))
                place = {"type": "Point", "coordinates": [lon, lat]}
                features.append({"type": "Feature", "properties": {"crop": name}, "geometry": place})
    (folder / "labels.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return folder
