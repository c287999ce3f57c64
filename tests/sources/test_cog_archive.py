"""The public archive of AlphaEarth embeddings, served on loopback: two zones, both hemispheres, and every fault told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine
from pyproj import Transformer

from tessera_core.cli import main
from tessera_core.errors import AcquisitionError, InputError
from tessera_core.raster import EmbeddingRaster, NoData, dequantise
from tessera_core.region import parse_bbox
from tessera_core.sources import alphaearth
from tessera_core.sources.remote import cache, cog_archive, fetch
from tessera_core.sources.remote.cog_archive import open_archive
from tessera_core.sources.remote.coverage import coverage
from tessera_core.sources.remote.fetch import FetchOptions
from tests.sources import world_store
from tests.sources.world_store import Fault, WebStore

SIDE = 128
BOX = "11.994,-0.003,12.005,0.004"
REGION = parse_bbox(BOX)
# Zone, hemisphere, west and north edge in metres of its CRS: they meet at 12 E on the equator.
FILES = [(32, "N", 833_100.0, 1280.0), (32, "S", 833_100.0, 10_000_000.0), (33, "N", 166_000.0, 1280.0)]
YEARS = (2023, 2024)


def unit_vectors(lon: np.ndarray, lat: np.ndarray, year: int) -> np.ndarray:
    """float (..., 64) of unit length, smooth in place."""
    rng = np.random.default_rng(year)
    waves = np.stack([np.sin(2000 * (k + 1) * lon + 1500 * (3 - k) * lat + k) for k in range(4)], -1)
    x = waves @ rng.normal(size=(4, 64)) + rng.normal(size=64)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def lonlat(zone: int, half: str, west: float, north: float) -> tuple[np.ndarray, np.ndarray]:
    crs = f"EPSG:{(32600 if half == 'N' else 32700) + zone}"
    x, y = west + (np.arange(SIDE) + 0.5) * 10, north - (np.arange(SIDE) + 0.5) * 10
    lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(*np.meshgrid(x, y))
    return np.asarray(lon), np.asarray(lat)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("annual")
    rows: list[dict[str, object]] = []
    for zone, half, west, north in FILES:
        lon, lat = lonlat(zone, half, west, north)
        for year in YEARS:
            codes = alphaearth.encode(unit_vectors(lon, lat, year))
            codes[100, 60] = -128
            codes[27, 5] = -128
            path = root / str(year) / f"{zone}{half}" / "x0001-0000000000-0000000000.tiff"
            path.parent.mkdir(parents=True)
            profile = {"driver": "GTiff", "dtype": "int8", "count": 64, "height": SIDE, "width": SIDE, "nodata": -128}
            profile |= {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "zstd"}
            # The published files store band after band.
            profile["interleave"] = "band" if half == "S" and year == 2024 else "pixel"
            # From south to north, as the published files run.
            transform = Affine(10, 0, west, 0, 10, north - SIDE * 10)
            crs = f"EPSG:{(32600 if half == 'N' else 32700) + zone}"
            with rasterio.open(path, "w", crs=crs, transform=transform, **profile) as file:
                file.write(codes[::-1].transpose(2, 0, 1))
                file.descriptions = alphaearth.BANDS
            rows.append(
                {
                    "fid": len(rows),
                    "path": f"s3://bucket/prefix/v1/annual/{year}/{zone}{half}/{path.name}",
                    "year": year,
                    "utm_zone": f"{zone}{half}",
                    "wgs84_west": lon.min(),
                    "wgs84_south": lat.min(),
                    "wgs84_east": lon.max(),
                    "wgs84_north": lat.max(),
                }
            )
    far = rows[0] | {"path": "s3://bucket/v1/annual/2019/01N/far.tiff", "year": 2019, "utm_zone": "01N"}
    rows.append(far | {"wgs84_west": -178.0, "wgs84_east": -177.0})
    pd.DataFrame(rows).to_parquet(root / cog_archive.INDEX)
    return root


@pytest.fixture
def web(folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebStore]:
    from geotessera import registry

    # Its waits between tries are for the internet.
    monkeypatch.setattr(registry.time, "sleep", lambda _: None)
    monkeypatch.setattr(cog_archive, "BLOCK", (64, 64))
    with world_store.serve(folder) as server:
        yield server


def expected(raster: EmbeddingRaster, year: int) -> tuple[np.ndarray, np.ndarray]:
    """Values the files have at the raster's pixels (float, NaN without), and whether they lie in the working grid's own zone."""
    height, width = raster.shape
    rows, cols = np.mgrid[0:height, 0:width]
    lon, lat = (v.reshape(height, width) for v in raster.grid.pixel_to_lonlat(rows.ravel() + 0.5, cols.ravel() + 0.5))
    values = np.full((height, width, 64), np.nan)
    for zone, half, west, north in FILES:
        mine = (np.floor((lon + 180) / 6) + 1 == zone) & ((lat < 0) == (half == "S"))
        crs = f"EPSG:{(32600 if half == 'N' else 32700) + zone}"
        x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon[mine], lat[mine])
        r, c = np.floor((north - y) / 10 + 1e-6).astype(int), np.floor((x - west) / 10 + 1e-6).astype(int)
        there = (r >= 0) & (r < SIDE) & (c >= 0) & (c < SIDE)
        codes = alphaearth.encode(unit_vectors(*lonlat(zone, half, west, north), year))
        codes[100, 60] = codes[27, 5] = -128
        got = np.full((len(r), 64), np.nan)
        got[there] = alphaearth.decode(codes[r[there], c[there]])
        values[mine] = got
    return values, lon < 12


def test_a_region_over_two_zones_and_the_equator_has_the_files_vectors(web: WebStore, folder: Path) -> None:
    for place in (web.url, str(folder)):
        source = open_archive(REGION, place)
        assert source.years == YEARS
        got = fetch.fetch(REGION, source, 2024)
        assert got.missing == ()
        raster = got.open()
        assert raster.provenance.dataset == "alphaearth 1 (64-d)"
        right, _ = expected(raster, 2024)
        known = np.isfinite(right).all(-1)
        assert known.mean() > 0.6
        valid = raster.valid()
        assert (valid[known]).all()
        values = dequantise(raster.codes, raster.scales)
        lengths = np.linalg.norm(values[known], axis=-1) * np.linalg.norm(right[known], axis=-1)
        cosine = (values[known] * right[known]).sum(-1) / lengths
        assert cosine.min() > 0.9995
        np.testing.assert_allclose(np.linalg.norm(values[valid], axis=-1), 1, atol=0.02)
        # Masked by the publisher, and beyond the files.
        assert NoData.UNKNOWN in raster.nodata_reasons()
        assert NoData.MISSING_TILE in raster.nodata_reasons()


def test_the_preflight_knows_it(web: WebStore) -> None:
    cover = coverage(REGION, open_archive(REGION, web.url), years=[2022, 2024])
    assert [year.valid > 0.5 for year in cover.years] == [False, True]
    assert cover.years[1].fetch_bytes > 0


@pytest.mark.parametrize(
    "fault",
    [
        Fault("2023/32S/", "503", 3),
        Fault("2023/32N/", "404", 2),
        Fault("2023/33N/", "reset", 2),
        Fault("2023/32S/", "truncate", 2),
        Fault("2023/32N/", "garbage", 2),
    ],
    ids=lambda fault: fault.kind,
)
def test_passing_faults_end_in_the_complete_result(web: WebStore, fault: Fault) -> None:
    right = fetch.fetch(REGION, open_archive(REGION, web.url), 2023).open()
    codes, scales = np.array(right.codes), np.array(right.scales)
    cache.empty()
    source = open_archive(REGION, web.url)
    web.faults = [fault]
    got = fetch.fetch(REGION, source, 2023)
    assert got.missing == ()
    np.testing.assert_array_equal(got.open().codes, codes)
    np.testing.assert_array_equal(got.open().scales, scales)


@pytest.mark.parametrize("kind", ["404", "503", "reset", "truncate", "garbage"])
def test_lasting_faults_end_in_a_partial_result_that_names_them(web: WebStore, kind: str) -> None:
    right = fetch.fetch(REGION, open_archive(REGION, web.url), 2023).open()
    codes, valid = np.array(right.codes), right.valid()
    cache.empty()
    source = open_archive(REGION, web.url)
    web.faults = [Fault("2023/32S/", kind)]
    got = fetch.fetch(REGION, source, 2023, FetchOptions(attempts=2))
    assert got.missing
    assert "grid_11.95_-0.05" in " ".join(got.missing)
    raster = got.open()
    kept = raster.valid()
    assert 0.2 < kept.sum() / valid.sum() < 0.9
    np.testing.assert_array_equal(raster.codes[kept], codes[kept])
    web.faults = []
    whole = fetch.fetch(REGION, open_archive(REGION, web.url), 2023)
    assert whole.missing == ()
    np.testing.assert_array_equal(whole.open().codes, codes)


def test_bytes_that_decode_but_are_no_unit_vectors_are_bad(web: WebStore, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    (copy / "2024" / "32N").mkdir(parents=True)
    (copy / cog_archive.INDEX).write_bytes((folder / cog_archive.INDEX).read_bytes())
    name = "2024/32N/x0001-0000000000-0000000000.tiff"
    with rasterio.open(folder / name) as file:
        profile, data = file.profile, file.read()
    data[:, 40:44, 70:74] = 127
    with rasterio.open(copy / name, "w", **profile) as file:
        file.write(data)
    region = parse_bbox("11.994,0.003,11.999,0.006")
    got = fetch.fetch(region, open_archive(region, str(copy)), 2024, FetchOptions(attempts=1))
    assert "unit length" in " ".join(got.missing)
    raster = got.open()
    assert (raster.nodata_reasons() == NoData.BAD_TILE).sum() == 16
    assert raster.valid().sum() > 1000


def test_the_command_fetches_it(web: WebStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--bbox", BOX, "--dataset", "alphaearth", "--tiles-url", web.url, "--years", "2024"]
    assert main(["coverage", *words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["datasets"][0]
    assert (told["dataset"], told["dim"]) == ("alphaearth", 64)
    assert main(["fetch", *words, "--json", "--out", str(tmp_path / "out")]) == 0
    got = json.loads(capsys.readouterr().out)["rasters"][0]
    assert got["dim"] == 64
    web.faults = [Fault("", "503")]
    assert main(["fetch", *words, "--json", "--out", str(tmp_path / "again")]) == 0
    assert json.loads(capsys.readouterr().out)["rasters"][0]["cached"]


def test_what_is_not_there_is_told(web: WebStore, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no embeddings in this region"):
        open_archive(parse_bbox("50.1,10.1,50.2,10.2"), str(folder))
    with pytest.raises(InputError, match="There is no aef_index"):
        open_archive(REGION, str(tmp_path))
    with pytest.raises(AcquisitionError, match="cannot be read"):
        open_archive(REGION, web.url + "/nowhere")
    with pytest.raises(AcquisitionError, match="cannot be read: the server cannot be reached"):
        open_archive(REGION, "http://127.0.0.1:9/annual")
    (tmp_path / cog_archive.INDEX).write_bytes(b"no parquet")
    with pytest.raises(AcquisitionError, match="damaged"):
        open_archive(REGION, str(tmp_path))
    with pytest.raises(InputError, match="64 dimensions, all of which"):
        fetch.fetch(REGION, open_archive(REGION, web.url), 2024, FetchOptions(dim=16))
