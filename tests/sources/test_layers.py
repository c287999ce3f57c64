"""Other rasters as features: onto the grid by the rule that is stated, standardised, and the same way elsewhere."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from affine import Affine

from tessera_core.analysis.stacking import stack, weights_like
from tessera_core.cli import main
from tessera_core.errors import InputError, RasterError
from tessera_core.grid import Grid
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tessera_core.sources.local.layers import LayerSource, read_layers, shown_layers
from tests.factories import make_grid, make_raster

GRID = make_grid((20, 30))
RNG = np.random.default_rng(0)


def write(path, values, grid, nodata=None):
    values = values[None] if values.ndim == 2 else values
    with rasterio.open(
        path, "w", driver="GTiff", dtype=values.dtype, count=len(values), height=values.shape[1], width=values.shape[2],
        crs=grid.crs, transform=grid.transform, nodata=nodata,
    ) as file:  # fmt: skip
        file.write(values)
    return path


def back(raster, n=0):
    """The numbers that a column stands for."""
    column = raster.provenance.details["layers"][n]
    return raster.codes[..., n] * np.asarray(raster.scales) * column["sd"] + column["mean"]


def test_a_finer_raster_is_averaged(tmp_path):
    fine = RNG.normal(100, 20, (100, 150)).astype(np.float32)
    made = read_layers([LayerSource(write(tmp_path / "f.tif", fine, make_grid((100, 150), pixel=2)))], GRID)
    mean = fine.reshape(20, 5, 30, 5).mean((1, 3))
    (column,) = made.provenance.details["layers"]
    assert column["rule"] == "average"
    assert (column["mean"], column["sd"]) == pytest.approx((mean.mean(), mean.std()), rel=1e-5)
    near = np.abs(mean - mean.mean()) < 4 * mean.std()
    np.testing.assert_allclose(back(made)[near], mean[near], atol=column["sd"] * 4 / 127 / 2 + 1e-3)


def test_a_coarser_raster_is_interpolated_and_one_on_the_grid_is_as_it_is(tmp_path):
    rows, cols = np.mgrid[0:12, 0:14]
    # A plane is what bilinear interpolation brings back exactly.
    grid = make_grid((12, 14), west=499_970, north=5_600_030, pixel=30)
    coarse = (5.0 * cols + 2.0 * rows).astype(np.float32)
    own = RNG.integers(0, 9, (20, 30)).astype(np.int16)
    made = read_layers(
        [LayerSource(write(tmp_path / "c.tif", coarse, grid)), LayerSource(write(tmp_path / "o.tif", own, GRID))], GRID
    )
    assert [one["rule"] for one in made.provenance.details["layers"]] == ["bilinear", "as it is"]
    r, c = np.mgrid[0:20, 0:30]
    plane = 5 * ((c + 3.5) * 10 / 30 - 0.5) + 2 * ((r + 3.5) * 10 / 30 - 0.5)
    np.testing.assert_allclose(back(made), plane, atol=made.provenance.details["layers"][0]["sd"] * 4 / 127)
    np.testing.assert_allclose(back(made, 1), own, atol=0.1)


def test_no_data_in_one_raster_is_no_data(tmp_path):
    one, other = (RNG.normal(size=GRID.shape).astype(np.float32) for _ in range(2))
    one[:3] = -9999
    made = read_layers(
        [
            LayerSource(write(tmp_path / "a.tif", one, GRID, nodata=-9999)),
            LayerSource(write(tmp_path / "b.tif", other[:, :25], make_grid((20, 25)))),
        ],
        GRID,
    )
    expected = np.ones(GRID.shape, bool)
    expected[:3] = False
    expected[:, 25:] = False
    np.testing.assert_array_equal(made.valid(), expected)
    assert made.provenance.details["without_data"] == (~expected).sum()


def test_the_mosaic_of_a_drone_shows_where_it_shows_and_a_black_rim_is_told_of(tmp_path):
    fine = Grid(GRID.crs, GRID.transform @ Affine.scale(0.2), (100, 150))
    picture = np.random.default_rng(1).integers(30, 220, (4, 100, 150)).astype(np.uint8)
    picture[3] = 255
    picture[:, :, :50] = 0
    with rasterio.open(
        tmp_path / "alpha.tif", "w", driver="GTiff", dtype="uint8", count=4, height=100, width=150, crs=fine.crs,
        transform=fine.transform, photometric="RGB", alpha="yes",
    ) as file:  # fmt: skip
        file.write(picture)
    shown = read_layers([LayerSource(tmp_path / "alpha.tif")], GRID)
    assert [one["title"] for one in shown.provenance.details["layers"]] == ["alpha 1", "alpha 2", "alpha 3"]
    assert not shown.valid()[:, :10].any()
    assert shown.valid()[:, 10:].all()
    assert "warnings" not in shown.provenance.details
    # Averages at the rim are of what shows alone.
    assert back(shown)[:, 10:].min() > 60
    rim = read_layers([LayerSource(write(tmp_path / "rim.tif", picture[:3], fine))], GRID)
    (told,) = rim.provenance.details["warnings"]
    assert "33 % of rim.tif" in told
    assert rim.valid().all()
    called = read_layers([LayerSource(write(tmp_path / "called.tif", picture[:3], fine, nodata=0))], GRID)
    np.testing.assert_array_equal(called.valid(), shown.valid())
    assert "warnings" not in called.provenance.details


def test_classes_are_columns_of_the_commonest(tmp_path):
    fine = np.ones((40, 60), np.uint8)
    fine[:, 30:] = 7
    fine[0::2, 0::2] = 7
    made = read_layers([LayerSource(write(tmp_path / "s.tif", fine, make_grid((40, 60), pixel=5)), "classes")], GRID)
    assert [(one["code"], one["rule"]) for one in made.provenance.details["layers"]] == [(1, "mode"), (7, "mode")]
    values = made.sample(*np.divmod(np.arange(600), 30)).reshape(20, 30, 2)
    np.testing.assert_allclose(values[:, :15].reshape(-1, 2), np.tile([1, 0], (300, 1)), atol=0.02)
    np.testing.assert_allclose(values[:, 15:].reshape(-1, 2), np.tile([0, 1], (300, 1)), atol=0.02)


def test_slope_is_that_of_a_plane(tmp_path):
    cols = np.arange(30) + np.zeros((20, 1))
    hill = np.where(cols < 15, 2.0 * cols, 30.0).astype(np.float32)
    made = read_layers([LayerSource(write(tmp_path / "d.tif", hill, GRID), "slope")], GRID)
    assert back(made)[5, 5] == pytest.approx(np.degrees(np.arctan(0.2)), abs=0.2)
    assert back(made)[5, 25] == pytest.approx(0, abs=0.2)


def test_another_region_is_made_the_same_way(tmp_path):
    first = write(tmp_path / "a.tif", RNG.normal(50, 5, GRID.shape).astype(np.float32), GRID)
    second = write(tmp_path / "b.tif", RNG.normal(60, 9, GRID.shape).astype(np.float32), GRID)
    made = read_layers([LayerSource(first)], GRID)
    followed = read_layers([LayerSource(second)], GRID, like=made.provenance)
    assert followed.provenance.dataset == made.provenance.dataset
    assert read_layers([LayerSource(second)], GRID).provenance.dataset != made.provenance.dataset
    near = np.abs(rasterio.open(second).read(1) - 50) < 20
    np.testing.assert_allclose(back(followed)[near], rasterio.open(second).read(1)[near], atol=0.2)
    with pytest.raises(InputError, match="same rasters in the same order"):
        read_layers(
            [LayerSource(first)], GRID, like=read_layers([LayerSource(first), LayerSource(second)], GRID).provenance
        )
    with pytest.raises(InputError, match="no features of other rasters"):
        read_layers([LayerSource(first)], GRID, like=Provenance())


def test_what_cannot_teach_is_refused(tmp_path):
    flat = LayerSource(write(tmp_path / "f.tif", np.full(GRID.shape, 3, np.float32), GRID))
    with pytest.raises(InputError, match="3 everywhere"):
        read_layers([flat], GRID)
    away = make_grid(GRID.shape, west=900_000)
    with pytest.raises(InputError, match="no data on these embeddings"):
        read_layers(
            [LayerSource(write(tmp_path / "a.tif", RNG.normal(size=GRID.shape).astype(np.float32), away))], GRID
        )
    with pytest.raises(InputError, match="place of these embeddings"):
        read_layers([flat], Grid.local(GRID.shape))
    (tmp_path / "x.tif").write_bytes(b"no raster")
    with pytest.raises(RasterError):
        read_layers([LayerSource(tmp_path / "x.tif")], GRID)


def test_features_are_joined_with_embeddings_and_teach_a_head(tmp_path, capsys):
    """Two classes that embeddings cannot tell, and elevation can."""
    high = np.arange(20)[:, None].repeat(30, 1) >= 10
    noise = make_raster(RNG.normal(size=(20, 30, 8)), GRID, Provenance("studio", "nano", dim=8, year=2024))
    noise.save(tmp_path / "e")
    write(tmp_path / "dem.tif", (100 * high + RNG.normal(size=GRID.shape)).astype(np.float32), GRID)
    truth = np.zeros(GRID.shape, np.uint8)
    truth[2:18:4, 2:28:4] = high[2:18:4, 2:28:4] + 1
    write(tmp_path / "l.tif", truth, GRID)
    folder = str(tmp_path)
    assert main(["features", f"{folder}/e", f"{folder}/dem.tif", "--out", f"{folder}/f", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["features"][0]["title"] == "dem"
    assert main(["stack", f"{folder}/e", f"{folder}/f", "--out", f"{folder}/b"]) == 0
    assert EmbeddingRaster.open(tmp_path / "b").dim == 9
    for name, right in (("e", 0.8), ("b", 0.97)):
        out = f"{folder}/{name}.tif"
        assert main(["map", f"{folder}/{name}", "--labels", f"{folder}/l.tif", "--head", "ridge", "--out", out]) == 0
        share = (rasterio.open(out).read(1) == high + 1).mean()
        assert share < right if name == "e" else share > right


def test_joined_rasters_are_shown_in_their_own_unit_and_joined_elsewhere_with_the_same_weights(tmp_path):
    noise = make_raster(RNG.normal(size=(20, 30, 8)), GRID, Provenance("studio", "nano", dim=8, year=2024))
    height = RNG.normal(300, 20, GRID.shape).astype(np.float32)
    soils = [RNG.integers(low, low + 3, GRID.shape).astype(np.uint8) for low in (1, 4)]
    sources = [LayerSource(write(tmp_path / "dem.tif", height, GRID))]
    for name, codes in zip("ab", soils, strict=True):
        path = write(tmp_path / f"{name}.tif", codes, GRID)
        with rasterio.open(path, "r+") as file:
            file.set_band_description(1, "class")
        sources.append(LayerSource(path, "classes"))
    layers = read_layers(sources, GRID, year=2024)
    both = stack(noise, layers, tmp_path / "both").raster
    # Two rasters whose bands are called the same stay two.
    shown = shown_layers(both.provenance)
    assert [(one.title, one.codes) for one in shown] == [("dem", ()), ("class", (1, 2, 3)), ("b class", (4, 5, 6))]
    near = np.abs(height - 300) < 60
    np.testing.assert_allclose(shown[0].values(both)[near], height[near], atol=2)
    for one, codes in zip(shown[1:], soils, strict=True):
        np.testing.assert_array_equal(one.values(both), codes - codes.min())
    assert shown_layers(noise.provenance) == []
    other = make_raster(3 * RNG.normal(size=(20, 30, 8)), GRID, Provenance("studio", "nano", dim=8, year=2023))
    there = read_layers(sources, GRID, year=2023, like=Provenance.from_json(both.provenance.details["parts"][1]))
    weights = weights_like(both.provenance, other.provenance, there.provenance)
    followed = stack(other, there, tmp_path / "followed", weights=weights)
    assert followed.raster.provenance.dataset == both.provenance.dataset
    assert followed.weights == pytest.approx([part["weight"] for part in both.provenance.details["parts"]])
    with pytest.raises(InputError, match="is not joined of"):
        weights_like(layers.provenance, other.provenance, there.provenance)
