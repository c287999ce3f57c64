"""Seasonal statistics as a raster, and joined with embeddings: places agree, int8 holds them, a map learns from both."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from tessera_core.analysis.season_raster import KNOWN, join_seasons, season_raster
from tessera_core.cli import main
from tessera_core.dpixels.seasons import BESIDE_KNOWN, seasonal_statistics, standardised
from tessera_core.errors import Cancelled, RasterError, TileError
from tessera_core.grid import Grid
from tessera_core.heads.blocks import blocks_of
from tessera_core.models.zoo import SHIPPED, TAUGHT_SEASONS
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster, dequantise
from tests.factories import make_grid, make_raster, season_tile

GRID = make_grid((12, 16))
SHAPE = GRID.shape


def embeddings(dim: int = 8, year: int | None = 2023) -> EmbeddingRaster:
    values = np.random.default_rng(3).normal(size=(*SHAPE, dim))
    return make_raster(values, GRID, Provenance("studio", "nano", dim=dim, year=year), empty=(0, 0))


def test_a_raster_of_seasons_holds_the_statistics_in_int8(tmp_path: Path) -> None:
    tile = season_tile(GRID)
    raster = season_raster([tile], tmp_path / "s")
    rows, cols = (one.ravel() for one in np.indices(SHAPE))
    exact = standardised(seasonal_statistics(tile, rows, cols))
    stored = dequantise(raster.codes, raster.scales).reshape(-1, raster.dim)
    cosine = (exact * stored).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(stored, axis=1)
    assert cosine.min() > 0.999
    assert raster.grid == GRID
    assert raster.provenance.year == 2023
    assert len(raster.provenance.details["mean"]) == raster.dim
    assert raster.provenance.dataset != season_raster([season_tile(GRID, seed=1)], tmp_path / "t").provenance.dataset


def test_tiles_beside_each_other_give_what_one_gives_but_for_means_of_a_sample(tmp_path: Path) -> None:
    whole = season_tile(GRID)
    parts = []
    for k in (0, 1):
        columns = slice(8 * k, 8 * k + 8)
        grid = Grid(GRID.crs, GRID.transform @ Affine.translation(8 * k, 0), (12, 8))
        parts.append(
            replace(
                whole,
                bands=whole.bands[:, :, columns],
                masks=whole.masks[:, :, columns],
                sar_asc=whole.sar_asc[:, :, columns],
                sar_desc=whole.sar_desc[:, :, columns],
                grid=grid,
            )
        )
    one, two = season_raster([whole], tmp_path / "1"), season_raster(parts, tmp_path / "2", GRID)
    a, b = (dequantise(np.asarray(r.codes), np.asarray(r.scales)) for r in (one, two))
    np.testing.assert_allclose(a, b, atol=0.05)


def test_joined_both_parts_count_the_same_and_pixels_of_one_only_are_counted(tmp_path: Path) -> None:
    made = join_seasons(embeddings(), [season_tile(GRID)], tmp_path / "both")
    assert made.missing == 1
    assert made.cosine > 0.999
    values = dequantise(np.asarray(made.raster.codes), np.asarray(made.raster.scales))[made.raster.valid()]
    first, second = (part.var(0).sum() for part in (values[:, :8], values[:, 8:]))
    assert first == pytest.approx(second, rel=0.02)
    assert [part["dim"] for part in made.raster.provenance.details["parts"]] == [8, made.raster.dim - 8]
    assert [path.name for path in tmp_path.iterdir()] == ["both"]


def test_seasons_beside_embeddings_that_know_them_are_warned_of(tmp_path: Path) -> None:
    (taught,) = TAUGHT_SEASONS
    assert SHIPPED["studio-nano.safetensors"].startswith(taught), "the weights that are shipped know the seasons"
    for variant, warned, spread in ((taught, [KNOWN], BESIDE_KNOWN), ("e7879f75", [], 1.0)):
        plain = embeddings()
        known = replace(plain.provenance, variant=variant)
        made = join_seasons(replace(plain, provenance=known), [season_tile(GRID)], tmp_path / variant)
        seasons = made.raster.provenance.details["parts"][1]
        assert seasons["details"].get("warnings", []) == warned
        values = dequantise(np.asarray(made.raster.codes), np.asarray(made.raster.scales))[made.raster.valid()]
        first, second = (part.var(0).sum() for part in (values[:, :8], values[:, 8:]))
        assert np.sqrt(second / first) == pytest.approx(spread, rel=0.02)
        assert bool(blocks_of(made.raster.provenance)) is not bool(warned), "heads learn weights of parts, or none"


def test_what_does_not_go_together_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RasterError, match=r"of 2022, the time series of 2023"):
        join_seasons(embeddings(year=2022), [season_tile(GRID)], tmp_path / "x")
    with pytest.raises(TileError, match="same sensors"):
        season_raster([season_tile(GRID), season_tile(GRID, orbit=False)], tmp_path / "x", GRID)
    elsewhere = Grid(GRID.crs, GRID.transform @ Affine.translation(1000, 0), SHAPE)
    with pytest.raises(RasterError, match="Not one pixel"):
        join_seasons(embeddings(), [season_tile(elsewhere)], tmp_path / "x")
    with pytest.raises(Cancelled):
        join_seasons(embeddings(), [season_tile(GRID)], tmp_path / "x", cancelled=lambda: True)
    assert list(tmp_path.iterdir()) == []


def test_the_commands_join_and_say_how_much_each_part_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Embeddings that are noise beside seasons that tell: the map is right all the same."""
    from tessera_core.dpixels.tile import create_tile

    embeddings().save(tmp_path / "e")
    tile = season_tile(GRID)
    days = {"doys": tile.doys, "doys_asc": tile.doys_asc, "doys_desc": tile.doys_desc}
    with create_tile(tmp_path / "tile", GRID, **days, meta={"year": 2023}) as arrays:
        arrays.bands[:], arrays.masks[:], arrays.sar_asc[:] = tile.bands, tile.masks, tile.sar_asc
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:11:3, 2:15:4] = np.where(np.indices(SHAPE)[1] >= 8, 2, 1)[1:11:3, 2:15:4]
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": 12, "width": 16, "crs": GRID.crs}
    with rasterio.open(tmp_path / "labels.tif", "w", **profile, transform=GRID.transform) as file:
        file.write(labels, 1)
    assert main(["stack", str(tmp_path / "e"), str(tmp_path / "tile"), "--out", str(tmp_path / "both")]) == 0
    capsys.readouterr()
    words = ["map", str(tmp_path / "both"), "--labels", str(tmp_path / "labels.tif"), "--out", str(tmp_path / "m.tif")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert re.search(r"(Joining|No other weighting).*seasonal statistics.*\.", said)
    with rasterio.open(tmp_path / "m.tif") as file:
        mapped = file.read(1)
    right = mapped == np.where(np.indices(SHAPE)[1] >= 8, 2, 1)
    assert right[mapped > 0].mean() > 0.95
