"""NPY tiles with manifest and land masks, served on loopback, through geotessera's registry and downloads."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
import urllib3
from affine import Affine
from pyproj import Transformer

from tessera_core.cli import main
from tessera_core.errors import AcquisitionError, InputError
from tessera_core.raster import EmbeddingRaster, NoData
from tessera_core.region import parse_bbox
from tessera_core.sources.local.npy import DEPRECATED
from tessera_core.sources.remote import cache, fetch
from tessera_core.sources.remote.datasets import Dataset
from tessera_core.sources.remote.fetch import FetchOptions
from tessera_core.sources.remote.npy_tiles import TileArchive, open_tiles
from tests.sources import world_store
from tests.sources.world_store import Fault, WebStore

DATASET = Dataset("1.0/vultr", "1.0", "vultr", "", "v1", "Legacy model", False)
REGION = parse_bbox("11.83,-0.03,11.97,0.03")
TILES = [(11.85, 0.05), (11.95, 0.05), (11.85, -0.05), (11.95, -0.05)]
YEARS = (2023, 2024)
MISSING = (11.95, -0.05, 2024)
PIXEL = 200.0


def tile_grid(lon: float, lat: float) -> tuple[str, Affine, int, int]:
    crs = "EPSG:32632" if lat > 0 else "EPSG:32732"
    to_xy = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    west, south, east, north = to_xy.transform_bounds(lon - 0.05, lat - 0.05, lon + 0.05, lat + 0.05)
    west, north = np.floor(west / PIXEL) * PIXEL, np.ceil(north / PIXEL) * PIXEL
    return (
        crs,
        Affine(PIXEL, 0, west, 0, -PIXEL, north),
        int(np.ceil((north - south) / PIXEL)),
        int(np.ceil((east - west) / PIXEL)),
    )


def tile_data(lon: float, lat: float, year: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    crs, t, height, width = tile_grid(lon, lat)
    x, y = t.c + (np.arange(width) + 0.5) * PIXEL, t.f - (np.arange(height) + 0.5) * PIXEL
    place = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(*np.meshgrid(x, y))
    codes, scales = world_store.quantised(world_store.vectors(*(np.asarray(v) for v in place), year))
    land = (np.hypot(np.asarray(place[0]) - 11.9, np.asarray(place[1]) - 0.01) > 0.01).astype(np.uint8)
    return codes, scales, land


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tiles")
    rows = []
    for lon, lat in TILES:
        name = f"grid_{lon:.2f}_{lat:.2f}"
        crs, transform, height, width = tile_grid(lon, lat)
        (root / "landmasks" / "v1").mkdir(parents=True, exist_ok=True)
        profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": height, "width": width}
        with rasterio.open(root / f"landmasks/v1/{name}.tiff", "w", crs=crs, transform=transform, **profile) as file:
            file.write(tile_data(lon, lat, 2023)[2], 1)
        for year in YEARS:
            if (lon, lat, year) == MISSING:
                continue
            folder = root / "npy" / "v1" / str(year) / name
            folder.mkdir(parents=True)
            codes, scales, _ = tile_data(lon, lat, year)
            np.save(folder / f"{name}.npy", codes)
            # One tile has its scales in the form (H, W, 128).
            np.save(
                folder / f"{name}_scales.npy",
                np.repeat(scales[..., None], 128, 2) if lon < 11.9 < lat + 11.9 else scales,
            )
            size = (folder / f"{name}.npy").stat().st_size
            rows.append({"year": year, "lon": lon, "lat": lat, "grid_size": size, "scales_size": scales.nbytes + 128})
    pd.DataFrame(rows).to_parquet(root / "npy/v1/manifest.parquet")
    masks = [{"lon": lon, "lat": lat, "file_size": 1, "hash": ""} for lon, lat in TILES]
    pd.DataFrame(masks).to_parquet(root / "landmasks/v1/landmasks.parquet")
    return root


@pytest.fixture
def web(archive: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebStore]:
    from geotessera import registry

    # Its waits between tries are for the internet.
    monkeypatch.setattr(registry.time, "sleep", lambda _: None)
    with world_store.serve(archive) as server:
        yield server


def opened(web: WebStore) -> TileArchive:
    return open_tiles(DATASET, REGION, base=web.url)


def test_a_region_of_four_tiles_and_two_hemispheres_has_their_pixels(web: WebStore) -> None:
    source = opened(web)
    assert source.years == YEARS
    raster = fetch.fetch(REGION, source, 2023).open()
    assert raster.provenance.dataset == "tessera 1.0/vultr (128-d)"
    data = {tile: (*tile_data(*tile, 2023), *tile_grid(*tile)) for tile in TILES}
    rng = np.random.default_rng(0)
    checked = 0
    for row, col in zip(rng.integers(0, raster.shape[0], 200), rng.integers(0, raster.shape[1], 200), strict=True):
        lon, lat = (float(v[0]) for v in raster.grid.pixel_to_lonlat([row + 0.5], [col + 0.5]))
        own = tuple(float(v) for v in np.round((np.floor(lon * 10) / 10 + 0.05, np.floor(lat * 10) / 10 + 0.05), 2))
        codes, scales, land, crs, transform, _, _ = data[own]
        x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
        at = int(np.floor((transform.f - y) / PIXEL + 1e-6)), int(np.floor((x - transform.c) / PIXEL + 1e-6))
        if min(at) < 0 or at[0] >= codes.shape[0] or at[1] >= codes.shape[1]:
            continue
        checked += 1
        if land[at]:
            np.testing.assert_array_equal(raster.codes[row, col], codes[at])
            assert raster.scales[row, col] == scales[at]
        else:
            assert raster.reasons[row, col] == NoData.WATER
    assert checked > 150


def test_the_manifest_names_what_is_missing_and_what_it_costs(web: WebStore) -> None:
    source = opened(web)
    assert source.missing(2024) == ["grid_11.95_-0.05"]
    assert source.missing(2023) == []
    assert 3 < source.bytes_of(2023) / source.bytes_of(2024) * 3 < 5
    got = fetch.fetch(REGION, source, 2024)
    assert got.missing == ()
    assert "grid_11.95_-0.05" in got.absent
    assert NoData.MISSING_TILE in got.open().reasons


@pytest.mark.parametrize("kind", ["404", "503", "truncate", "garbage", "flip", "reset"])
def test_one_tile_that_cannot_be_had_is_named_and_the_rest_is_there(web: WebStore, kind: str) -> None:
    # The publisher's server sends checksums; without them bytes changed inside a tile could not be noticed.
    web.etags = True
    web.faults = [Fault("2023/grid_11.85_-0.05/grid_11.85_-0.05.npy", kind)]
    got = fetch.fetch(REGION, opened(web), 2023, FetchOptions(attempts=2))
    assert got.missing
    assert "grid_11.85_-0.05" in " ".join(got.missing)
    partial = got.open()
    assert 0.4 < partial.valid().mean() < 0.9
    web.faults = []
    again = fetch.fetch(REGION, opened(web), 2023)
    assert again.missing == ()
    whole = again.open()
    kept = partial.valid()
    np.testing.assert_array_equal(partial.codes[kept], whole.codes[kept])
    assert whole.valid().sum() > kept.sum()


def test_a_passing_fault_leaves_no_trace(web: WebStore) -> None:
    web.faults = [Fault("2023/", "503", 2), Fault("landmasks/v1/grid", "503", 1), Fault("2023/", "garbage", 1)]
    assert fetch.fetch(REGION, opened(web), 2023, FetchOptions(attempts=4)).missing == ()


def test_a_stalled_download_is_cut_off_and_tried_again(web: WebStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from geotessera import registry

    source = opened(web)
    pool = registry._http()
    monkeypatch.setattr(
        pool, "request", functools.partial(pool.request, timeout=urllib3.Timeout(connect=1, read=1), retries=False)
    )
    web.faults = [Fault("2023/grid_11.85_-0.05/grid_11.85_-0.05.npy", "stall", 1)]
    assert fetch.fetch(REGION, source, 2023).missing == ()


SCRIPT = """
import sys
from tessera_core.region import parse_bbox
from tessera_core.sources.remote import cache, fetch
from tessera_core.sources.remote.datasets import Dataset
from tessera_core.sources.remote.npy_tiles import open_tiles
region = parse_bbox("11.83,-0.03,11.97,0.03")
source = open_tiles(Dataset("1.0/vultr", "1.0", "vultr", "", "v1", "", False), region, base=sys.argv[1])
print("begin", flush=True)
fetch.fetch(region, source, 2023, fetch.FetchOptions(workers=1), progress=lambda *step: print(*step, flush=True))
"""


def test_killed_and_started_again_it_gives_equal_bytes(web: WebStore) -> None:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, web.url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    web.slow = 0.3
    for line in process.stdout:
        if web.hits["/npy/v1/2023/grid_11.85_0.05/grid_11.85_0.05.npy"]:
            break
        assert line
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert cache.entries() == []
    web.slow = 0.0
    resumed = fetch.fetch(REGION, opened(web), 2023)
    assert resumed.missing == ()
    codes, scales = np.array(resumed.open().codes), np.array(resumed.open().scales)
    cache.empty()
    fresh = fetch.fetch(REGION, opened(web), 2023).open()
    np.testing.assert_array_equal(codes, fresh.codes)
    np.testing.assert_array_equal(scales, fresh.scales)


def test_a_server_that_refuses_is_told(web: WebStore) -> None:
    with pytest.raises(AcquisitionError, match="check your connection"):
        open_tiles(DATASET, REGION, base="http://127.0.0.1:9")


def test_the_command_fetches_tiles(web: WebStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--bbox",
        "11.83,-0.03,11.97,0.03",
        "--dataset",
        "1.0",
        "--tiles-url",
        web.url,
        "--years",
        "2023",
        "--json",
    ]
    assert main(["fetch", *words, "--out", str(tmp_path / "out")]) == 0
    said = json.loads(capsys.readouterr().out)
    # Once, however many tiles.
    assert said["notes"].count(DEPRECATED) == 1
    got = said["rasters"][0]
    assert got["complete"]
    assert EmbeddingRaster.open(tmp_path / "out" / "2023").shape == tuple(got["shape"])
    web.faults = [Fault("", "503")]
    assert main(["fetch", *words, "--out", str(tmp_path / "again")]) == 0


def test_what_is_not_there_is_told(web: WebStore) -> None:
    with pytest.raises(InputError, match="no NPY tile in this region"):
        open_tiles(DATASET, parse_bbox("50.1,10.1,50.2,10.2"), base=web.url)
    with pytest.raises(InputError, match="not published as NPY"):
        open_tiles(Dataset("1.1/dclimate", "1.1", "dclimate", "", "", "", True), REGION, base=web.url)
    web.faults = [Fault("manifest", "404")]
    with pytest.raises(AcquisitionError, match="manifest"):
        open_tiles(Dataset("1.0/vultr", "1.0", "vultr", "", "v1", "", False), REGION, base=web.url + "/nowhere")
