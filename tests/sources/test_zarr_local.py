import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import zarr
from affine import Affine

from tessera_core.cli import main
from tessera_core.errors import RasterError
from tessera_core.grid import Grid
from tessera_core.inference.layouts import write_zarr
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tessera_core.sources.local.open import find_pieces, find_years, left_out, open_embeddings
from tessera_core.sources.local.zarr import provenance_of


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))


def make(year=2023, crs="EPSG:32631", north=5_600_000, col=0, seed=0, shape=(70, 90)):
    rng = np.random.default_rng(seed)
    codes = rng.integers(-127, 128, (*shape, 16)).astype(np.int8)
    scales = rng.uniform(0.01, 0.1, shape).astype(np.float32)
    scales[3:6, 7:9] = np.nan
    grid = Grid(crs, Affine(10, 0, 500_000 + 10 * col, 0, -10, north), shape)
    return EmbeddingRaster(codes, scales, grid, Provenance("tessera", "2.0", "2B-L", year=year))


def piece(store):
    return find_pieces(store)[0][0]


def equal(got, want):
    assert got.grid == want.grid
    np.testing.assert_array_equal(got.valid(), want.valid())
    np.testing.assert_array_equal(got.codes[got.valid()], want.codes[want.valid()])
    np.testing.assert_array_equal(got.scales[got.valid()], want.scales[want.valid()])
    assert got.provenance.dataset == want.provenance.dataset
    assert got.provenance.year == want.provenance.year


def test_a_store_is_cropped_to_its_data_and_read_back(tmp_path):
    first, second = make(2023), make(2024, seed=1)
    store = write_zarr(tmp_path / "s.zarr", [first, second], (8,))
    assert find_years(store) == [2023, 2024]
    equal(open_embeddings(store, year=2023), first)
    equal(open_embeddings(store / "utm31", year=2024), second)
    with pytest.raises(RasterError, match="several years"):
        open_embeddings(store)


def test_more_than_one_shard(tmp_path):
    raster = make(shape=(300, 530))
    equal(open_embeddings(write_zarr(tmp_path / "s.zarr", [raster])), raster)


def test_pixels_that_change_change_the_source_that_maps_are_stamped_with(tmp_path):
    store = write_zarr(tmp_path / "s.zarr", [make(shape=(300, 530))])
    before = piece(store).source.stat()
    assert piece(store).source.stat() == before
    scales = zarr.open_group(store, mode="r+")["utm31/scales"]
    scales[0, :256, :256] = scales[0, :256, :256] * 2
    after = piece(store).source.stat()
    assert (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns)


def test_neighbours_in_one_zone_are_one_raster(tmp_path):
    west, east = make(), make(col=90, seed=1)
    got = open_embeddings(write_zarr(tmp_path / "s.zarr", [west, east]))
    assert got.shape == (70, 180)
    np.testing.assert_array_equal(got.codes[0, 90:], east.codes[0])


def test_the_southern_hemisphere_has_its_own_zones(tmp_path):
    raster = make(crs="EPSG:32723", north=7_400_000)
    equal(open_embeddings(write_zarr(tmp_path / "s.zarr", [raster])), raster)


def test_two_zones_must_be_opened_one_at_a_time(tmp_path):
    raster, other = make(), make(crs="EPSG:32632")
    store = write_zarr(tmp_path / "s.zarr", [raster, other])
    with pytest.raises(RasterError, match="EPSG:32631, EPSG:32632"):
        open_embeddings(store)
    equal(open_embeddings(store / "utm31"), raster)


def test_the_older_layout_of_a_store_per_year(tmp_path):
    import zarr

    raster = make(2024)
    root = zarr.open_group(tmp_path / "2024.zarr", mode="w", zarr_format=3)
    root.attrs.update({"tessera:dataset_version": "v1", "tessera:year": 2024})
    zone = root.create_group("utm31")
    zone.attrs.update(
        {
            "proj:code": "EPSG:32631",
            "spatial:transform": list(raster.grid.transform)[:6],
            "tessera:model_version": "1.0",
        }
    )
    zone.create_array("embeddings", data=np.asarray(raster.codes))
    zone.create_array("scales", data=np.asarray(raster.scales))
    got = open_embeddings(tmp_path / "2024.zarr")
    np.testing.assert_array_equal(got.codes[got.valid()], raster.codes[raster.valid()])
    assert (got.grid, got.provenance.dataset, got.provenance.year) == (raster.grid, "tessera 1.0 (16-d)", 2024)


def test_the_model_of_a_published_store():
    got = provenance_of({"geoemb:model": "https://geotessera.org/model/2.0/2B-L"}, 128)
    assert got.dataset == "tessera 2.0/2B-L (128-d)"
    assert provenance_of({}, 64).dataset == "unknown (64-d)"


def test_damage_is_one_sentence(tmp_path, monkeypatch, capsys):
    store = write_zarr(tmp_path / "s.zarr", [make()])
    assert main(["info", str(store)]) == 0
    assert "Zarr store's zone utm31" in capsys.readouterr().out
    monkeypatch.setattr("tessera_core.sources.local.zarr.MAX_PIXELS", 100)
    with pytest.raises(RasterError, match="too many to open whole"):
        open_embeddings(store)
    monkeypatch.undo()
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    for chunk in (store / "utm31" / "embeddings" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(chunk.read_bytes()[:50])
    with pytest.raises(RasterError, match="cannot be read"):
        open_embeddings(store)
    (store / "utm31" / "embeddings" / "zarr.json").write_text("{")
    with pytest.raises(RasterError, match="cannot be read"):
        open_embeddings(store)
    shutil.rmtree(store / "utm31")
    with pytest.raises(RasterError, match="Looked for"):
        open_embeddings(store)


def test_a_store_without_data_says_so(tmp_path):
    raster = make()
    empty = replace(raster, scales=np.full(raster.shape, np.nan, np.float32))
    with pytest.raises(RasterError, match="holds no data of 2023"):
        open_embeddings(write_zarr(tmp_path / "s.zarr", [empty]))


def test_equal_to_geotessera(tmp_path):
    from geotessera import GeoTesseraZarr

    raster = make()
    store = write_zarr(tmp_path / "s.zarr", [raster], (8,))
    ours = np.concatenate([block for _, block in open_embeddings(store).blocks()])
    theirs, transform = GeoTesseraZarr(str(store)).open_zone(zone=31).tessera.read_region(raster.grid.bounds, 2023)
    assert (transform.c, transform.f) == (raster.grid.transform.c, raster.grid.transform.f)
    np.testing.assert_array_equal(ours, theirs)


def test_a_damaged_zone_of_a_store_does_not_take_the_others_with_it(tmp_path):
    other = make(crs="EPSG:32632", seed=1)
    store = write_zarr(tmp_path / "s.zarr", [make(), other])
    (store / "utm31" / "zarr.json").write_text("{")
    got = open_embeddings(store)
    equal(got, other)
    (failure,) = left_out(got)
    assert failure["what"] == "utm31"


def strange(folder, array, **metadata):
    """A store of 40 x 40 pixels with the metadata of an array changed."""
    store = write_zarr(folder / "s.zarr", [make(shape=(40, 40))])
    path = next(store.rglob(f"{array}/zarr.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | metadata))
    return store


def regular(*sides):
    return {"name": "regular", "configuration": {"chunk_shape": list(sides)}}


@pytest.mark.parametrize(
    ("codecs", "named"),
    [
        ([{"name": "bytes"}, {"name": "numcodecs.zlib", "configuration": {"level": 1}}], "numcodecs.zlib"),
        (["evil"], "evil"),
        (
            [
                {
                    "name": "sharding_indexed",
                    "configuration": {"chunk_shape": [1, 1, 1, 1], "codecs": [{"name": "numcodecs.pickle"}]},
                }
            ],
            "pickle",
        ),
    ],
)
def test_arrays_packed_by_programs_of_others_are_refused(tmp_path, codecs, named):
    with pytest.raises(RasterError, match=rf"{named}|cannot be read"):
        open_embeddings(strange(tmp_path, "embeddings", codecs=codecs))


@pytest.mark.parametrize(
    ("sides", "said"),
    [((1, 2**20, 2**20, 16), "chunks of"), ((1, 1, 1, 1), "chunks, more than"), ((1, 0, 1, 1), "cannot be read")],
)
def test_chunks_beyond_all_measure_are_refused_before_they_are_read(tmp_path, sides, said):
    shape = [1, 16, 4000, 4000]
    store = strange(tmp_path, "embeddings", shape=shape, chunk_grid=regular(*sides), codecs=[{"name": "bytes"}])
    with pytest.raises(RasterError, match=said):
        open_embeddings(store)


def test_a_store_that_is_mostly_a_fill_value_is_no_bomb(tmp_path, monkeypatch):
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    whole = {"codecs": [{"name": "bytes", "configuration": {"endian": "little"}}]}
    store = strange(
        tmp_path, "embeddings", shape=[1, 128, 4096, 4096], chunk_grid=regular(1, 128, 512, 512), fill_value=1, **whole
    )
    path = next(store.rglob("scales/zarr.json"))
    scales = {"shape": [1, 4096, 4096], "chunk_grid": regular(1, 512, 512), "fill_value": 0.1, **whole}
    path.write_text(json.dumps(json.loads(path.read_text()) | scales))
    for chunk in store.rglob("c"):
        shutil.rmtree(chunk)
    with pytest.raises(RasterError, match="not opened whole"):
        open_embeddings(store)
