"""GeoTIFF and Zarr outputs are read back by the tools people use."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from tessera_core.cells import cut
from tessera_core.errors import InputError, MixedDatasetsError
from tessera_core.grid import Grid
from tessera_core.inference import layouts
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster, NoData
from tests.factories import make_grid

STAMP = Provenance("tessera", "2.0", "2B-N", 128, 2023, "generated")


def raster(
    seed: int, west: float, north: float, shape: tuple[int, int] = (20, 30), crs: str = "EPSG:32631", year: int = 2023
) -> EmbeddingRaster:
    rng = np.random.default_rng(seed)
    codes = rng.integers(-127, 128, (*shape, 128)).astype(np.int8)
    scales = rng.uniform(0.01, 0.05, shape).astype(np.float32)
    codes[2, 3], scales[2, 3] = 0, np.nan
    grid = Grid(crs, Affine(10, 0, west, 0, -10, north), shape)
    return EmbeddingRaster(codes, scales, grid, Provenance("tessera", "2.0", "2B-N", 128, year, "generated"))


def test_geotiff_holds_the_floats_and_nan(tmp_path: Path) -> None:
    import rasterio

    values = np.random.default_rng(0).normal(size=(70, 90, 16)).astype(np.float32)
    reasons = np.zeros((70, 90), np.uint8)
    reasons[5, 6] = NoData.OUTSIDE
    grid = make_grid((70, 90))
    path = layouts.write_geotiff(tmp_path / "t.tif", values, reasons, grid, STAMP)
    with rasterio.open(path) as file:
        read = file.read().transpose(1, 2, 0)
        assert math.isnan(file.nodata)
        assert file.crs.to_epsg() == 32631
        assert file.transform == grid.transform
        assert file.tags()["tessera_variant"] == "2B-N"
    assert np.isnan(read[5, 6]).all()
    values[5, 6] = np.nan
    np.testing.assert_array_equal(read, values)


def test_geotessera_and_xarray_read_the_store(tmp_path: Path) -> None:
    import xarray as xr
    from geotessera import GeoTesseraZarr

    a, b = raster(0, 500000, 5600000), raster(1, 500300, 5600000)
    later = raster(2, 500000, 5600000, year=2024)
    store = layouts.write_zarr(tmp_path / "s.zarr", [a, b, later], (16, 32, 64, 128))
    opened = GeoTesseraZarr(str(store))
    assert opened.years == [2023, 2024]
    assert set(opened.depths) == {16, 32, 64, 128}
    dataset = opened.open_zone(zone=31)
    box = (500000, 5599800, 500600, 5600000)
    values, transform = dataset.tessera.read_region(box, 2023)
    assert (transform.c, transform.f) == (500000, 5600000)
    expected = np.concatenate([next(r.blocks())[1] for r in (a, b)], axis=1)
    np.testing.assert_array_equal(values, expected)
    short, _ = dataset.tessera.read_region(box, 2024, array="embeddings_d16")
    np.testing.assert_array_equal(short[:, :30], next(later.blocks())[1][..., :16])
    assert np.isnan(short[:, 30:]).all()
    lon, lat = a.grid.pixel_to_lonlat(10.5, 20.5)
    np.testing.assert_array_equal(opened.sample_at(float(lon), float(lat), 2023), a.sample(10, 20)[0])
    plain = xr.open_zarr(store, group="utm31", consolidated=False)
    assert plain.embeddings.dims == ("time", "band", "y", "x")
    # Shards lie on the lattice of cells.
    assert (float(plain.x[0]) - 5) % (10 * layouts.SHARD) == 0


def test_the_southern_hemisphere_runs_on_below_the_equator(tmp_path: Path) -> None:
    from geotessera import GeoTesseraZarr

    south = raster(0, 500000, 9_000_000, crs="EPSG:32731")
    store = layouts.write_zarr(tmp_path / "s.zarr", [south])
    opened = GeoTesseraZarr(str(store))
    lon, lat = south.grid.pixel_to_lonlat(10.5, 20.5)
    assert lat < 0
    np.testing.assert_array_equal(opened.sample_at(float(lon), float(lat), 2023), south.sample(10, 20)[0])


def test_overlapping_tiles_keep_what_either_has(tmp_path: Path) -> None:
    import zarr

    a, b = raster(0, 500000, 5600000), raster(1, 500000, 5600000, shape=(300, 280))
    group = zarr.open_group(layouts.write_zarr(tmp_path / "s.zarr", [b, a]), mode="r")["utm31"]
    row, col = list(group["y"][:]).index(5599995), list(group["x"][:]).index(500005)
    here = (slice(row, row + 300), slice(col, col + 280))
    scales, codes = group["scales"][0][here], group["embeddings"][0][:, *here]
    assert np.isinf(scales[2, 3])
    np.testing.assert_array_equal(scales[:20, :30][a.valid()], a.scales[a.valid()])
    np.testing.assert_array_equal(scales[20:300, 30:280], b.scales[20:, 30:])
    np.testing.assert_array_equal(codes[:, 257, 258], b.codes[257, 258])
    np.testing.assert_array_equal(codes[:, :20, :30].transpose(1, 2, 0)[a.valid()], a.codes[a.valid()])


@pytest.mark.parametrize(("crs", "north"), [("EPSG:32631", 5_703_990), ("EPSG:32731", 9_980_000)])
def test_no_two_cells_meet_in_one_shard(crs: str, north: float) -> None:
    whole = Grid(crs, Affine(10, 0, 312_340, 0, -10, north), (1500, 1300))
    places = [layouts.Place.of(part, 2024) for _, part in cut(whole)]
    store = layouts.StoreGrid.covering(places)
    shards = [shard for place in places for shard in store.shards(place)]
    assert len(places) == 6
    assert len(shards) == len(set(shards))


def test_a_store_that_was_begun_for_other_tiles_is_not_filled(tmp_path: Path) -> None:
    grids = [raster(0, west, 5600000).grid for west in (500000, 520000)]
    begun = layouts.StoreGrid.covering([layouts.Place.of(grids[0], 2023)])
    layouts.create_store(tmp_path / "s.zarr", begun, STAMP)
    layouts.OpenStore(tmp_path / "s.zarr", begun)
    with pytest.raises(InputError, match="another list of tiles"):
        layouts.OpenStore(tmp_path / "s.zarr", layouts.StoreGrid.covering([layouts.Place.of(g, 2023) for g in grids]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"crs": "EPSG:3857"}, "EPSG:3857"),
        ({"west": 500003.0}, "pixel grid"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_left(tmp_path: Path, change: dict, words: str) -> None:
    second = raster(1, **{"west": 500300.0, "north": 5600000.0, **change})
    with pytest.raises(InputError, match=words):
        layouts.write_zarr(tmp_path / "s.zarr", [raster(0, 500000, 5600000), second])
    assert not list(tmp_path.iterdir())


def test_two_datasets_do_not_share_a_store(tmp_path: Path) -> None:
    other = raster(1, 500000, 5600000)
    object.__setattr__(other, "provenance", Provenance("tessera", "1.1", "mpc", 128, 2023))
    with pytest.raises(MixedDatasetsError):
        layouts.write_zarr(tmp_path / "s.zarr", [raster(0, 500000, 5600000), other])
