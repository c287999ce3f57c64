"""Rasters as the arrays of others, and back: nothing changes on the way, and a raster of any size is not read at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

import tessera_core as tessera
from tessera_core import interop
from tessera_core.errors import GridError, RasterError
from tessera_core.grid import Grid
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster, NoData

UTM = Grid("EPSG:32631", Affine(10, 0, 500_000, 0, -10, 5_600_000), (7, 9))


def make(grid: Grid = UTM, dim: int = 5, seed: int = 0, reasons: bool = True) -> EmbeddingRaster:
    rng = np.random.default_rng(seed)
    codes = rng.integers(-128, 128, (*grid.shape, dim)).astype(np.int8)
    scales = rng.uniform(1e-4, 0.1, grid.shape).astype(np.float32)
    scales.flat[:2] = (np.nan, 0)[: scales.size]
    why = np.where(np.isfinite(scales) & (scales > 0), NoData.VALID, NoData.WATER).astype(np.uint8) if reasons else None
    provenance = Provenance("tessera", "1.1", "mpc", dim, 2024, details={"notes": ["café"]})
    return EmbeddingRaster(codes, scales, grid, provenance, why)


def same(first: EmbeddingRaster, second: EmbeddingRaster) -> None:
    valid = first.valid()
    np.testing.assert_array_equal(valid, second.valid())
    np.testing.assert_array_equal(first.codes[valid], second.codes[valid])
    np.testing.assert_array_equal(first.scales[valid], second.scales[valid])
    assert first.provenance == second.provenance
    assert first.grid.crs == second.grid.crs
    assert first.grid.transform.almost_equals(second.grid.transform, 1e-6)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(1, 8),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 99),
)
def test_there_and_back_is_the_same_raster(
    height: int, width: int, dim: int, quantised: bool, placed: bool, reasons: bool, seed: int
) -> None:
    grid = Grid(UTM.crs, UTM.transform, (height, width)) if placed else Grid.local((height, width))
    raster = make(grid, dim, seed, reasons)
    again = EmbeddingRaster.from_xarray(raster.to_xarray(quantised=quantised))
    same(raster, again)
    assert (again.reasons is None) == (raster.reasons is None)


@pytest.mark.parametrize("transform", [Affine(10, 2, 500_000, 2, -10, 5_600_000), Affine(10, 0, 0, 0, 10, 0)])
def test_turned_and_upside_down_grids_come_back(transform: Affine) -> None:
    raster = make(Grid("EPSG:32631", transform, (4, 3)))
    same(raster, EmbeddingRaster.from_xarray(raster.to_xarray()))


def test_others_read_where_it_lies(tmp_path: Path) -> None:
    import rioxarray  # noqa: F401 (registers .rio)

    data = make().to_xarray()
    assert data.rio.crs.to_epsg() == 32631
    assert data.rio.transform() == UTM.transform
    assert data.rio.bounds() == UTM.bounds
    assert data.attrs["proj:code"] == "EPSG:32631"
    assert data.x.attrs["standard_name"] == "projection_x_coordinate"
    west, _, _, north = UTM.bounds
    assert (float(data.x[0]), float(data.y[0])) == (west + 5, north - 5)
    data.embedding.rio.to_raster(tmp_path / "e.tif")
    opened = tessera.open(tmp_path / "e.tif")
    assert (opened.grid, opened.dim) == (UTM, 5)


def test_a_part_of_it_lies_where_it_was_cut_out() -> None:
    raster = make()
    part = EmbeddingRaster.from_xarray(raster.to_xarray().isel(y=slice(2, 6), x=slice(3, 8)))
    assert part.grid == UTM.window(2, 3, 4, 5)
    np.testing.assert_array_equal(part.codes, raster.codes[2:6, 3:8])
    row = EmbeddingRaster.from_xarray(raster.to_xarray().isel(y=slice(3, 4)))
    assert row.grid.bounds == UTM.window(3, 0, 1, 9).bounds


def test_it_survives_a_zarr_store(tmp_path: Path) -> None:
    raster = make()
    raster.to_xarray().to_zarr(tmp_path / "z.zarr", consolidated=False)
    same(raster, EmbeddingRaster.from_xarray(xr.open_zarr(tmp_path / "z.zarr", consolidated=False)))


@pytest.mark.parametrize("quantised", [False, True])
def test_values_are_read_where_they_are_used(quantised: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    raster = EmbeddingRaster.open(make(Grid(UTM.crs, UTM.transform, (40, 30))).save(tmp_path / "E"))
    truth = raster.codes if quantised else np.concatenate([block for _, block in raster.blocks()])
    name = "codes" if quantised else "embedding"
    monkeypatch.setattr(interop, "CHUNK_BYTES", 2_000)
    chunked = raster.to_xarray(quantised=quantised)[name]
    assert len(chunked.chunksizes["y"]) > 3
    np.testing.assert_array_equal(chunked.transpose("y", "x", "band").values, truth)
    monkeypatch.setattr(interop, "find_spec", lambda _: None)
    lazy = raster.to_xarray(quantised=quantised)[name]
    assert lazy.chunks is None
    assert not lazy.variable._in_memory
    np.testing.assert_array_equal(lazy[1, 3:9:2, ::-1], np.moveaxis(truth, -1, 0)[1, 3:9:2, ::-1])
    np.testing.assert_array_equal(lazy[:, [1, 5], 3], np.moveaxis(truth, -1, 0)[:, [1, 5], 3])


def test_floats_of_others_become_codes() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, 4, 3)).astype(np.float32)
    values[:, 0, 0] = np.nan
    array = xr.DataArray(
        values, dims=("feature", "y", "x"), coords={"y": np.arange(4) * -10.0, "x": np.arange(3) * 10.0},
        attrs={"proj:code": "EPSG:32633"},
    )  # fmt: skip
    raster = EmbeddingRaster.from_xarray(array, Provenance("alphaearth", dim=6))
    assert (raster.grid.crs, raster.shape, raster.provenance.dataset) == ("EPSG:32633", (4, 3), "alphaearth (6-d)")
    assert not raster.valid()[0, 0]
    valid = raster.valid()
    found = np.concatenate([block for _, block in raster.blocks()])[valid]
    assert np.abs(found - np.moveaxis(values, 0, -1)[valid]).max() <= raster.scales[valid].max() / 2 + 1e-6


def test_what_is_no_raster_is_refused_with_a_reason() -> None:
    data = make().to_xarray()
    uneven = data.assign_coords(x=np.arange(9) ** 2.0)
    for wrong, said in (
        (data.drop_vars("embedding"), "no embeddings"),
        (data.embedding.rename(y="a"), "dimensions y and x"),
        (uneven, "not evenly spaced"),
        (data.embedding.drop_vars(["x", "y", "spatial_ref"]), "Nothing tells where"),
        (make().to_xarray(quantised=True).codes, "need their scales"),
        (data.embedding.astype(np.int32), "int32"),
        (data.assign_attrs(tessera_provenance="{"), "damaged"),
    ):
        with pytest.raises(RasterError, match=said):
            EmbeddingRaster.from_xarray(wrong)


def test_a_geobox_is_the_grid() -> None:
    box = make().to_geobox()
    assert (box.shape, box.affine, box.crs.epsg) == (UTM.shape, UTM.transform, 32631)
    with pytest.raises(GridError, match="no georeference"):
        make(Grid.local((3, 3))).to_geobox()


def test_a_raster_is_shown_in_a_line() -> None:
    raster = make()
    assert repr(raster) == "<EmbeddingRaster 9 x 7 pixels, tessera 1.1/mpc (5-d), 2024, EPSG:32631>"
    assert "9 x 7 (63)" in raster._repr_html_()
    strange = replace(raster, provenance=replace(raster.provenance, model="<b>"))
    assert "<b>" not in strange._repr_html_()
    custom = Grid('PROJCS["My own",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],PARAMETER["central_meridian",3.1],UNIT["metre",1]]', UTM.transform, UTM.shape)  # fmt: skip # noqa: E501
    assert len(repr(replace(raster, grid=custom))) < 120


def test_a_picture_of_it_is_drawn() -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    axes = make().plot()
    (picture,) = axes.get_images()
    assert picture.get_extent() == [UTM.bounds[0], UTM.bounds[2], UTM.bounds[1], UTM.bounds[3]]
    drawn = picture.get_array()
    assert (drawn[..., 3] == 0).sum() == 2
