import csv
import json
import os
import pickle
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tessera_core.errors import Cancelled, MixedDatasetsError, RasterError
from tessera_core.grid import Grid
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster, NoData
from tessera_core.sources.local import convert
from tessera_core.sources.local.convert import quantise_block
from tessera_core.sources.local.open import find_years, open_embeddings, scale_warnings

V2 = Provenance("tessera", "2.0", "2B-L", year=2023)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def grid(row=0, col=0, shape=(6, 8), crs="EPSG:32631", size=10.0):
    return Grid(crs, Affine(size, 0, 500_000 + col * size, 0, -size, 5_600_000 - row * size), shape)


def embeddings(shape=(6, 8), dim=16, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(-127, 128, (*shape, dim)).astype(np.int8)
    codes[..., 0] = 127
    return codes, rng.uniform(0.01, 0.1, shape).astype(np.float32)


def write_tile(folder, name="t", provenance=V2, where=None, seed=0, dim=16):
    where = where or grid()
    folder.mkdir(parents=True, exist_ok=True)
    codes, scales = embeddings(where.shape, dim, seed)
    np.save(folder / f"{name}.npy", codes)
    np.save(folder / f"{name}_scales.npy", scales)
    described = {"format": "tessera-embedding-tile/1", "grid": where.to_json(), "provenance": provenance.to_json()}
    (folder / f"{name}.json").write_text(json.dumps(described))
    return codes, scales


def write_tiff(path, values, where=None, tags=None, **options):
    where = where or grid()
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=where.height,
        width=where.width,
        count=values.shape[2],
        dtype=values.dtype,
        crs=where.crs,
        transform=where.transform,
        **options,
    ) as file:
        file.write(values.transpose(2, 0, 1))
        file.update_tags(**(tags or {}))


def values_of(raster):
    return np.concatenate([block for _, block in raster.blocks()])


# ------------------------------------------------------------------- layouts


def test_the_output_of_generate(tmp_path):
    codes, scales = write_tile(tmp_path)
    for path in (tmp_path, *(tmp_path / name for name in ("t.npy", "t_scales.npy", "t.json"))):
        raster = open_embeddings(path)
        np.testing.assert_array_equal(raster.codes, codes)
        np.testing.assert_array_equal(raster.scales, scales)
        assert raster.grid == grid()
        assert raster.provenance.dataset == "tessera 2.0/2B-L (16-d)"
    assert isinstance(raster.codes, np.memmap)


def test_the_v11_names(tmp_path):
    codes, scales = embeddings()
    np.save(tmp_path / "0_0_8_6_emb16_int8.npy", codes)
    np.save(tmp_path / "0_0_8_6_emb16_scales.npy", scales)
    for path in (tmp_path, tmp_path / "0_0_8_6_emb16_scales.npy", tmp_path / "0_0_8_6_emb16_int8.npy"):
        np.testing.assert_array_equal(open_embeddings(path).codes, codes)


def test_published_tiles_take_grid_and_year_from_their_surroundings(tmp_path):
    folder = tmp_path / "global_0.1_degree_representation" / "2024" / "grid_0.15_52.05"
    folder.mkdir(parents=True)
    codes, scales = embeddings()
    np.save(folder / "grid_0.15_52.05.npy", codes)
    np.save(folder / "grid_0.15_52.05_scales.npy", scales)
    raster = open_embeddings(tmp_path)
    assert not raster.grid.georeferenced
    assert "land mask" in raster.provenance.details["warnings"][0]
    write_tiff(folder / "grid_0.15_52.05.tiff", np.ones((6, 8, 1), np.uint8), grid())
    raster = open_embeddings(tmp_path)
    assert raster.grid == grid()
    assert (raster.provenance.model, raster.provenance.year) == ("tessera", 2024)
    assert "warnings" not in raster.provenance.details
    write_tiff(folder / "grid_0.15_52.05.tiff", np.ones((5, 8, 1), np.uint8), grid(shape=(5, 8)))
    assert "5 x 8 pixels" in open_embeddings(tmp_path).provenance.details["warnings"][0]


def test_our_own_layout(tmp_path):
    codes, scales = embeddings()
    EmbeddingRaster(codes, scales, grid(), V2).save(tmp_path / "saved")
    for path in (tmp_path, tmp_path / "saved", tmp_path / "saved" / "raster.json"):
        np.testing.assert_array_equal(open_embeddings(path).codes, codes)


@pytest.mark.parametrize("options", [{}, {"tiled": True, "blockxsize": 16, "blockysize": 16}, {"interleave": "pixel"}])
def test_float_geotiffs_are_quantised_once(tmp_path, options, monkeypatch):
    monkeypatch.setattr(convert, "BLOCK_BYTES", 4096)
    where = grid(shape=(37, 53))
    values = np.random.default_rng(0).normal(size=(37, 53, 12)).astype(np.float32)
    values[3, 4] = np.nan
    values[5, 6, 2] = np.nan
    values[7, 8] = 0
    write_tiff(
        tmp_path / "e_2021.tif", values, where, {"dataset_version": "v1.1", "variant": "mpc"}, nodata=np.nan, **options
    )
    raster = open_embeddings(tmp_path)
    assert raster.grid == where
    assert raster.provenance.dataset == "tessera 1.1/mpc (12-d)"
    assert raster.provenance.year == 2021
    np.testing.assert_array_equal(np.argwhere(~raster.valid()), [[3, 4], [5, 6], [7, 8]])
    valid = raster.valid()
    error = np.abs(values_of(raster) - values)[valid]
    assert (error <= 0.5001 * raster.scales[valid][:, None]).all()
    np.testing.assert_allclose(raster.scales[valid], np.abs(values[valid]).max(axis=-1) / 127, rtol=1e-6)
    monkeypatch.setattr(convert, "quantise_block", None)
    np.testing.assert_array_equal(open_embeddings(tmp_path).codes, raster.codes)


def test_a_number_as_nodata(tmp_path):
    values = np.ones((6, 8, 5), np.float32)
    values[0, 0] = -9999
    write_tiff(tmp_path / "e.tif", values, nodata=-9999)
    assert np.count_nonzero(~open_embeddings(tmp_path / "e.tif").valid()) == 1


def test_our_tags_name_the_dataset(tmp_path):
    write_tiff(tmp_path / "e.tif", np.ones((6, 8, 5), np.float32), tags=V2.tags())
    provenance = open_embeddings(tmp_path / "e.tif").provenance
    assert (provenance.dataset, provenance.year) == ("tessera 2.0/2B-L (5-d)", 2023)


def test_float_npy_with_skipped_pixels(tmp_path):
    values = np.random.default_rng(0).normal(size=(6, 8, 16))
    values[2, 2] = 0
    np.save(tmp_path / "x.npy", values)
    raster = open_embeddings(tmp_path)
    assert not raster.valid()[2, 2]
    np.testing.assert_allclose(values_of(raster)[0], values[0], atol=0.02)


def test_scales_of_every_shape(tmp_path):
    codes, scales = embeddings()
    np.save(tmp_path / "x.npy", codes)
    np.save(tmp_path / "x_scales.npy", scales[..., None])
    np.testing.assert_array_equal(open_embeddings(tmp_path).scales, scales)
    scales[1, 1] = np.inf
    np.save(tmp_path / "x_scales.npy", np.repeat(scales[..., None], 16, axis=2))
    raster = open_embeddings(tmp_path)
    np.testing.assert_array_equal(raster.codes, codes)
    assert not raster.valid()[1, 1]
    by_band = scales[..., None] * np.random.default_rng(1).uniform(0.5, 2, 16).astype(np.float32)
    by_band[1, 1] = 0.5
    np.save(tmp_path / "x_scales.npy", by_band)
    raster = open_embeddings(tmp_path)
    wanted = codes * by_band
    assert (np.abs(values_of(raster) - wanted) <= 0.501 * raster.scales[..., None]).all()


# ------------------------------------------------------------------- mosaics


def test_tiles_of_one_dataset_become_one_raster(tmp_path):
    first = write_tile(tmp_path, "a", where=grid(0, 0), seed=1)
    second = write_tile(tmp_path, "b", where=grid(2, 8), seed=2)
    raster = open_embeddings(tmp_path)
    assert raster.shape == (8, 16)
    assert raster.grid == grid(shape=(8, 16))
    np.testing.assert_array_equal(raster.codes[:6, :8], first[0])
    np.testing.assert_array_equal(raster.codes[2:, 8:], second[0])
    np.testing.assert_array_equal(raster.scales[2:, 8:], second[1])
    reasons = raster.nodata_reasons()
    assert (reasons[:2, 8:] == NoData.MISSING_TILE).all()
    assert np.count_nonzero(reasons) == 2 * 16
    assert raster.provenance.details["tiles"] == ["a", "b"]
    assert raster.provenance.year == 2023


def test_in_an_overlap_the_first_with_data_wins(tmp_path):
    first = write_tile(tmp_path, "a", seed=1)
    first[1][0, 0] = np.nan
    np.save(tmp_path / "a_scales.npy", first[1])
    second = write_tile(tmp_path, "b", seed=2)
    raster = open_embeddings(tmp_path)
    np.testing.assert_array_equal(raster.codes[0, 0], second[0][0, 0])
    np.testing.assert_array_equal(raster.codes[1:], first[0][1:])
    assert not raster.nodata_reasons().any()


def test_what_cannot_be_one_raster_says_why(tmp_path):
    write_tile(tmp_path / "v", "a")
    write_tile(tmp_path / "v", "b", Provenance("tessera", "1.1", "mpc", year=2023))
    with pytest.raises(MixedDatasetsError, match=r"2\.0/2B-L.*1\.1/mpc"):
        open_embeddings(tmp_path / "v")
    write_tile(tmp_path / "z", "a")
    write_tile(tmp_path / "z", "b", where=grid(crs="EPSG:32632"))
    with pytest.raises(RasterError, match="EPSG:32631, EPSG:32632"):
        open_embeddings(tmp_path / "z")
    write_tile(tmp_path / "s", "a")
    write_tile(tmp_path / "s", "b", where=grid(size=20))
    with pytest.raises(RasterError, match="not of the same size"):
        open_embeddings(tmp_path / "s")
    write_tile(tmp_path / "l", "a", where=Grid.local((6, 8)))
    write_tile(tmp_path / "l", "b", where=Grid.local((6, 8)))
    with pytest.raises(RasterError, match="side by side"):
        open_embeddings(tmp_path / "l")
    write_tile(tmp_path / "far", "a")
    write_tile(tmp_path / "far", "b", where=grid(9000, 9000))
    with pytest.raises(RasterError, match="too far apart"):
        open_embeddings(tmp_path / "far")


def test_a_tile_off_the_pixel_grid_is_moved_and_told(tmp_path):
    write_tile(tmp_path, "a")
    write_tile(tmp_path, "b", where=grid(0, 8.4))
    raster = open_embeddings(tmp_path)
    assert raster.shape == (6, 16)
    assert "b was moved by 0.40 pixels" in raster.provenance.details["warnings"][0]


def test_several_years_must_be_chosen(tmp_path):
    for year in (2023, 2024):
        write_tile(tmp_path / str(year), provenance=Provenance("tessera", "2.0", year=year), seed=year)
    assert find_years(tmp_path) == [2023, 2024]
    with pytest.raises(RasterError, match=r"2023, 2024.*Choose"):
        open_embeddings(tmp_path)
    assert open_embeddings(tmp_path, year=2024).provenance.year == 2024
    assert open_embeddings(tmp_path / "2023").provenance.year == 2023
    with pytest.raises(RasterError, match="There is no 2020"):
        open_embeddings(tmp_path, year=2020)


# ----------------------------------------------------------------- bad input


def test_one_sentence_for_everything_unreadable(tmp_path):
    def refused(path, match):
        with pytest.raises(RasterError, match=match) as caught:
            open_embeddings(path)
        assert "\n" not in str(caught.value)

    refused(tmp_path / "nowhere", "does not exist")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "Looked for: a saved raster")
    text = tmp_path / "text.npy"
    text.write_text("not an array")
    refused(text, r"text\.npy .* is not a NumPy")
    pickled = tmp_path / "pickled.npy"
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    refused(pickled, "pickled Python objects")
    plain = tmp_path / "plain.npy"
    plain.write_bytes(pickle.dumps([1]))
    refused(plain, "is not a NumPy")
    (tmp_path / "photo.tif").write_bytes(b"II*\x00 nothing more")
    refused(tmp_path / "photo.tif", "cannot be read as a GeoTIFF")
    (tmp_path / "notes.txt").write_text("hello")
    refused(tmp_path / "notes.txt", r"notes\.txt is not a layout")
    (tmp_path / "dpixel").mkdir()
    np.save(tmp_path / "dpixel" / "bands.npy", np.zeros((2, 3, 3, 10), np.uint16))
    refused(tmp_path / "dpixel", "time series")


def test_files_that_do_not_belong_together(tmp_path):
    codes, scales = write_tile(tmp_path)
    (tmp_path / "t_scales.npy").unlink()
    with pytest.raises(RasterError, match=r"t_scales\.npy is not beside it"):
        open_embeddings(tmp_path)
    np.save(tmp_path / "t_scales.npy", scales[:-1])
    with pytest.raises(RasterError, match="do not belong together"):
        open_embeddings(tmp_path)
    np.save(tmp_path / "t_scales.npy", scales.astype(str))
    with pytest.raises(RasterError, match="does not hold numbers"):
        open_embeddings(tmp_path)
    np.save(tmp_path / "t_scales.npy", scales)
    np.save(tmp_path / "t.npy", codes[:, :-1])
    with pytest.raises(RasterError, match="do not belong together"):
        open_embeddings(tmp_path)
    np.save(tmp_path / "t.npy", codes)
    (tmp_path / "t.json").write_text('{"format": "tessera-embedding-tile/1"}')
    with pytest.raises(RasterError, match="lacks a usable grid"):
        open_embeddings(tmp_path)
    (tmp_path / "t.json").write_text("{")
    with pytest.raises(RasterError, match="not readable JSON"):
        open_embeddings(tmp_path)


@pytest.mark.parametrize("name", ["t.npy", "t_scales.npy"])
def test_truncated_files_are_named(tmp_path, name):
    write_tile(tmp_path)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[:-20])
    with pytest.raises(RasterError, match=rf"{name} .*cut short"):
        open_embeddings(tmp_path)


def test_a_truncated_geotiff_leaves_nothing_in_the_cache(tmp_path, home):
    values = np.random.default_rng(0).normal(size=(64, 64, 8)).astype(np.float32)
    write_tiff(tmp_path / "e.tif", values, grid(shape=(64, 64)), tiled=True, blockxsize=16, blockysize=16)
    data = (tmp_path / "e.tif").read_bytes()
    (tmp_path / "e.tif").write_bytes(data[: len(data) // 2])
    with pytest.raises(RasterError, match=r"e\.tif"):
        open_embeddings(tmp_path / "e.tif")
    assert not list((home / "cache").rglob("*.npy"))


def test_a_damaged_neighbour_is_told_and_the_rest_opened(tmp_path):
    write_tile(tmp_path)
    (tmp_path / "z.npy").write_text("broken")
    assert any("z.npy" in text for text in open_embeddings(tmp_path).provenance.details["warnings"])


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 7), st.integers(1, 9))
def test_what_is_said_of_scales_follows_from_their_exact_median(seed, height, width):
    rng = np.random.default_rng(seed)
    scales = np.exp(rng.normal(0, 3, (height, width))).astype(np.float32)
    scales[rng.random((height, width)) < 0.2] = rng.choice([0, np.nan, np.inf, -1])
    raster = EmbeddingRaster(
        np.ones((height, width, 2), np.int8), scales, Grid.local((height, width)), Provenance("x", dim=2)
    )
    valid = scales[np.isfinite(scales) & (scales > 0)]
    (said,) = scale_warnings(raster) or [""]
    if not len(valid):
        assert "No pixel" in said
        return
    median = float(np.median(valid))
    absurd = int((valid > 50 * median).sum())
    assert said.startswith(f"{absurd} of {len(valid)} pixels") if absurd else said == ""
    if absurd:
        assert f"the median {median:.3g} " in said


def test_absurd_scales_are_flagged(tmp_path):
    _, scales = write_tile(tmp_path)
    assert "warnings" not in open_embeddings(tmp_path).provenance.details
    scales[0, 0] = 1e5
    np.save(tmp_path / "t_scales.npy", scales)
    assert "1 of 48 pixels have absurd scales" in open_embeddings(tmp_path).provenance.details["warnings"][0]
    np.save(tmp_path / "t_scales.npy", scales * np.nan)
    assert "No pixel" in open_embeddings(tmp_path).provenance.details["warnings"][0]


def test_a_conversion_can_be_cancelled_and_leaves_only_what_it_goes_on_with(tmp_path, home, monkeypatch):
    monkeypatch.setattr(convert, "BLOCK_BYTES", 1024)
    np.save(tmp_path / "x.npy", np.ones((20, 8, 16), np.float32))
    calls = []
    with pytest.raises(Cancelled):
        open_embeddings(tmp_path, progress=lambda *a: calls.append(a), cancelled=lambda: len(calls) > 3)
    assert len(calls) == 4
    assert [path.suffix for path in (home / "cache" / "converted").iterdir()] == [".converting"]


# ---------------------------------------------------------------- quantising


@given(hnp.arrays(np.float32, (7, 5), elements=st.floats(-1e6, 1e6, width=32)))
@settings(max_examples=100, deadline=None)
def test_quantising_is_within_half_a_step(values):
    codes, scales = quantise_block(values)
    some = values.any(axis=-1)
    np.testing.assert_array_equal(np.isfinite(scales), some)
    error = np.abs(codes[some] * scales[some][:, None].astype(np.float64) - values[some])
    assert (error <= 0.50001 * scales[some][:, None] + 1e-12).all()


def test_a_large_float_raster_is_never_whole_in_memory(tmp_path):
    values = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(700, 700, 128))
    values[:] = 1
    values.flush()
    del values
    tracemalloc.start()
    raster = open_embeddings(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert raster.shape == (700, 700)
    assert peak < 700 * 700 * 128 * 4 * 0.75


def test_a_changed_file_is_converted_again(tmp_path):
    path = tmp_path / "x.npy"
    for value in (1, 2):
        np.save(path, np.full((6, 8, 16), value, np.float32))
        os.utime(path, ns=(value * 10**9, value * 10**9))
        assert values_of(open_embeddings(path))[0, 0, 0] == pytest.approx(value)


def test_the_cache_is_bounded(tmp_path, home, monkeypatch):
    monkeypatch.setattr(convert, "CACHE_BYTES", 3000)
    for n in range(4):
        np.save(tmp_path / f"x{n}.npy", np.full((6, 8, 16), n + 1, np.float32))
        open_embeddings(tmp_path / f"x{n}.npy")
    assert len(list((home / "cache" / "converted").glob("*/raster.json"))) < 4


def _stopped_conversion(path, monkeypatch, after=2):
    """A float raster of three windows, whose conversion is stopped after some of them."""
    monkeypatch.setattr(convert, "BLOCK_BYTES", 2 * 8 * 16 * 4)
    np.save(path, np.arange(6 * 8 * 16, dtype=np.float32).reshape(6, 8, 16) + 1)
    calls = iter([False] * after)
    with pytest.raises(Cancelled):
        open_embeddings(path, cancelled=lambda: next(calls, True))
    return np.load(path)


def test_a_stopped_conversion_goes_on_where_it_was(tmp_path, home, monkeypatch):
    values = _stopped_conversion(tmp_path / "x.npy", monkeypatch)
    steps = []
    raster = open_embeddings(tmp_path / "x.npy", progress=lambda done, total, _: steps.append((done, total)))
    assert steps == [(2, 3), (3, 3)]
    np.testing.assert_allclose(values_of(raster), values, atol=values.max() / 127)
    (folder,) = (home / "cache" / "converted").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["codes.npy", "raster.json", "scales.npy"]


def test_a_server_for_strangers_keeps_no_half_conversions(tmp_path, home, monkeypatch):
    calls = iter([False])
    for hosted, left in (("", [".converting"]), ("1", [])):
        monkeypatch.setenv("TESSERA_HOSTED", hosted)
        with pytest.raises(Cancelled):
            convert.converted(
                [],
                convert.Conversion(
                    "test", (6, 8, 16), Grid.local((6, 8)), Provenance(), [np.s_[0:3, 0:8], np.s_[3:6, 0:8]],
                    lambda window: (np.ones((3, 8, 16), np.int8), np.ones((3, 8), np.float32)),
                ),
                cancelled=lambda: next(calls, True),
            )  # fmt: skip
        assert [path.suffix for path in (home / "cache" / "converted").iterdir()] == left


def test_two_that_open_the_same_at_once_convert_it_once(tmp_path, home, monkeypatch):
    monkeypatch.setattr(convert, "BLOCK_BYTES", 2 * 8 * 16 * 4)
    np.save(tmp_path / "x.npy", np.ones((6, 8, 16), np.float32))
    gate = threading.Barrier(2)
    steps = [[], []]

    def open_one(mine):
        gate.wait()
        return open_embeddings(tmp_path / "x.npy", progress=lambda done, total, _: mine.append(done))

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(open_one, steps)
    assert sorted(map(len, steps)) == [0, 4]
    np.testing.assert_array_equal(first.codes, second.codes)


def test_opening_what_is_converted_waits_for_no_other_conversion(tmp_path, home):
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", np.full((6, 8, 16), ord(name), np.float32))
    open_embeddings(tmp_path / "a.npy")

    def look_meanwhile(*_):
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(open_embeddings, tmp_path / "a.npy").result(20).shape == (6, 8)

    open_embeddings(tmp_path / "b.npy", progress=look_meanwhile)


# ----------------------------------------------------------------- real data


def test_real_vectors_have_their_documented_norms_and_cosine(shared):
    folder = shared / "data" / "ukbms-embeddings"
    raster = open_embeddings(folder)
    assert raster.shape == (3, 7)
    assert not raster.grid.georeferenced
    vectors = values_of(raster).reshape(21, 128)
    norms = np.linalg.norm(vectors, axis=1)
    assert norms.min() == pytest.approx(27.7, abs=0.06)
    assert norms.max() == pytest.approx(32.6, abs=0.06)
    with (folder / "ukbms_wcbs_sites_tessera2022_sample.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [row["Site_Name"] for row in rows]
    np.testing.assert_allclose(
        vectors, [[float(row[f"emb_{n}"]) for n in range(128)] for row in rows], atol=2e-6 * float(norms.max())
    )
    a, b = (
        vectors[next(n for n, name in enumerate(names) if wanted in name)] for wanted in ("Monks Wood", "Yarner Wood")
    )
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) == pytest.approx(0.811, abs=5e-4)
