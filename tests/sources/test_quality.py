"""The inspector: no alarm on a landscape without faults, each fault found where it was put, and what mending does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from scipy.ndimage import gaussian_filter

from tessera_core.errors import InputError, RasterError
from tessera_core.grid import Grid
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster, NoData, dequantise
from tessera_core.sources.local.convert import quantise_block
from tessera_core.sources.quality.repair import correct_seams, mask_tiles, tile_offsets
from tessera_core.sources.quality.tiles import check_quality
from tessera_core.sources.remote.working_grid import tile_centres, tile_name

DIM = 32
GRID = Grid("EPSG:32631", Affine(100, 0, 488_000, 0, -100, 5_572_000), (340, 260))
MIDDLE = "grid_3.05_50.15"


def tiles() -> np.ndarray:
    """Name of the tile of each pixel."""
    r, c = np.meshgrid(np.arange(GRID.height) + 0.5, np.arange(GRID.width) + 0.5, indexing="ij")
    lon, lat = tile_centres(*GRID.pixel_to_lonlat(r, c))
    return np.vectorize(lambda x, y: tile_name(x / 100, y / 100))(lon, lat)


@pytest.fixture(scope="module")
def names() -> np.ndarray:
    return tiles()


def landscape(seed: int) -> np.ndarray:
    """float32 (H, W, D): patches with sharp borders, a slow trend and noise."""
    rng = np.random.default_rng(seed)
    patches = np.argmax([gaussian_filter(rng.normal(size=GRID.shape), 2.5) for _ in range(5)], axis=0)
    colours = rng.normal(size=(5, DIM)) * 3
    trend = gaussian_filter(rng.normal(size=GRID.shape), 60)[..., None] * 200 * rng.normal(size=DIM)
    return (colours[patches] + trend * 0.3 + rng.normal(size=(*GRID.shape, DIM)) * 0.4).astype(np.float32)


def raster_of(values: np.ndarray) -> EmbeddingRaster:
    codes, scales = quantise_block(values)
    return EmbeddingRaster(codes, scales, GRID, Provenance("tessera", "test", dim=DIM, year=2023))


def test_without_faults_there_are_hardly_any_alarms(names: np.ndarray) -> None:
    edges = seams = 0
    for seed in range(6):
        found = check_quality(raster_of(landscape(seed)))
        assert found.bad_tiles == ()
        edges += len(found.edges)
        seams += len(found.seams)
    assert edges >= 6 * 12
    assert seams <= 3
    assert found.lines > 100
    assert found.false_alarms == 0.01


@pytest.mark.parametrize("seed", range(3))
def test_a_shifted_tile_is_found_by_all_its_edges_and_levelled(names: np.ndarray, seed: int, tmp_path: Path) -> None:
    values = landscape(seed)
    shift = np.random.default_rng(seed).normal(size=DIM) * 2.5
    values[names == MIDDLE] += shift.astype(np.float32)
    raster = raster_of(values)
    found = check_quality(raster)
    around = [edge for edge in found.edges if MIDDLE in (edge.first, edge.second)]
    assert len(around) == 4
    assert all(edge.seam and edge.step > 1.5 for edge in around)
    assert sum(edge.seam for edge in found.edges) <= len(around) + 1
    assert all(len(edge.line) == 2 and 2.9 < edge.line[0][0] < 3.3 for edge in around)
    steps: list[int] = []
    level = correct_seams(raster, tile_offsets(found), tmp_path / "level", progress=lambda done, *_: steps.append(done))
    after = check_quality(level)
    assert sum(MIDDLE in (edge.first, edge.second) for edge in after.seams) <= 1
    assert steps
    # What was added to the tile, compared with its neighbours, undoes the shift.
    offsets = tile_offsets(found)
    others = np.mean([offset for name, offset in offsets.items() if name != MIDDLE], axis=0)
    undone = np.linalg.norm(shift + offsets[MIDDLE] - others) / np.linalg.norm(shift)
    assert undone < 0.5
    assert np.isfinite(dequantise(level.codes, level.scales)).all()


def test_each_kind_of_bad_tile_is_named(names: np.ndarray) -> None:
    raster = raster_of(landscape(1))
    codes, scales = np.array(raster.codes), np.array(raster.scales)
    absurd, constant, saturated = "grid_2.95_50.25", "grid_3.15_50.25", "grid_3.15_50.05"
    scales[names == absurd] *= 1e4
    codes[names == constant], scales[names == constant] = codes[0, 0], 0.1
    flat = names == saturated
    codes[flat] = np.where(codes[flat] > 0, 127, -127)
    first, second = (np.argwhere(names == name) for name in ("grid_2.95_50.15", "grid_3.05_50.15"))
    count = min(len(first), len(second))
    codes[tuple(second[:count].T)] = codes[tuple(first[:count].T)]
    found = check_quality(replace(raster, codes=codes, scales=scales))
    kinds = {tile.name: tile.problems for tile in found.bad_tiles}
    assert kinds[absurd] == ("absurd scales",)
    assert kinds[constant] == ("constant",)
    assert kinds[saturated] == ("saturated",)
    assert kinds["grid_2.95_50.15"] == kinds["grid_3.05_50.15"] == ("duplicate",)
    assert len(kinds) == 5
    text = found.to_json()
    assert "grid_3.05_50.15" in text["bad_tiles"]["grid_2.95_50.15"][0]


def test_masking_a_tile_keeps_the_rest_and_the_reason(names: np.ndarray, tmp_path: Path) -> None:
    raster = raster_of(landscape(2))
    raster.save(tmp_path / "raw")
    opened = EmbeddingRaster.open(tmp_path / "raw")
    mask_tiles(opened, tmp_path / "raw", [MIDDLE], tmp_path / "masked")
    masked = EmbeddingRaster.open(tmp_path / "masked")
    gone = names == MIDDLE
    assert set(masked.nodata_reasons()[~masked.valid()]) == {NoData.BAD_TILE}
    # Pixels whose centre lies on the very edge may fall to either side.
    assert np.count_nonzero(masked.valid() == gone) <= 0.005 * gone.sum()
    np.testing.assert_array_equal(masked.codes, raster.codes)
    assert masked.provenance.details["masked_tiles"] == [MIDDLE]
    assert EmbeddingRaster.open(tmp_path / "raw").valid().all()
    with pytest.raises(InputError, match="folder of its own"):
        mask_tiles(opened, tmp_path / "raw", [MIDDLE], tmp_path / "raw")


def test_a_raster_without_a_place_has_no_tiles() -> None:
    raster = raster_of(landscape(0))
    local = replace(raster, grid=Grid.local(raster.shape))
    with pytest.raises(RasterError, match="no georeference"):
        check_quality(local)
