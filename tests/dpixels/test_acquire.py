"""Acquisition against a real STAC API and COG server on loopback, with the faults that real archives have."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import shapely

from tessera_core import cells
from tessera_core._utils.share import Share
from tessera_core.cli import main
from tessera_core.dpixels import preprocess
from tessera_core.dpixels.acquire import CATALOGUES, AcquireOptions, Catalogue, Window, acquire, read
from tessera_core.dpixels.acquire.shares import acquire_in_shares
from tessera_core.dpixels.tile import S2_BANDS, DPixelTile
from tessera_core.errors import AcquisitionError, Cancelled, InputError
from tessera_core.region import Region, parse_bbox, read_region
from tests.dpixels.sentinel_server import LAT, LON, Archive, SentinelServer, s1_power, s2_dn
from tests.waiting import eventually

REGION = parse_bbox(f"{LON - 0.002},{LAT - 0.001},{LON + 0.002},{LAT + 0.001}")
WINDOW = Window(dt.date(2023, 3, 1), dt.date(2023, 4, 10))
ZONE_30, ZONE_31 = "EPSG:32630", "EPSG:32631"


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    monkeypatch.setattr(read, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr("tessera_core.dpixels.acquire.catalogue.SEARCH_RETRIES", 1)
    folder = tmp_path / "archive"
    folder.mkdir()
    with SentinelServer(folder) as served:
        yield served


def catalogue(archive: Archive, name: str = "mpc") -> Catalogue:
    return dataclasses.replace(CATALOGUES[name], stac_url=f"{archive.url}/stac", signed=False)


def west_cloudy(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    return np.where(lon < LON, 9, 4)


def places(tile: DPixelTile) -> tuple[np.ndarray, np.ndarray]:
    rows, cols = np.indices(tile.shape) + 0.5
    return tile.grid.pixel_to_lonlat(rows, cols)


def test_a_region_across_two_zones_becomes_a_tile(archive: Archive, tmp_path: Path) -> None:
    archive.add_s2("A", "2023-03-05", ZONE_30, clouds=west_cloudy)
    archive.add_s2("B", "2023-03-05", ZONE_31)  # the same day again: fills what A does not see
    archive.add_s2("C", "2023-03-15", ZONE_31, clouds=lambda lon, lat: np.full(lon.shape, 8))
    archive.add_s2("D", "2023-04-01", ZONE_30, clouds=west_cloudy)
    archive.add_s1("P", "2023-03-07", ZONE_31, "ascending")
    archive.add_s1("Q", "2023-03-09", ZONE_30, "descending", leave_out=("VH",))
    report = acquire(REGION, WINDOW, catalogue(archive), tmp_path / "tiles")
    assert report.missing == []
    assert (report.days_s2, report.passes_s1) == (2, 2)
    tile = DPixelTile.open(report.tiles[0])
    assert tile.doys.tolist() == [64, 91]
    assert tile.doys_asc.tolist() == [66]
    assert tile.doys_desc.tolist() == [68]
    assert tile.roi is not None
    inside = tile.roi
    lon, lat = places(tile)
    assert (tile.masks[0][inside] == 1).all()
    away = np.abs(lon - LON) > 0.0004  # SCL pixels are 20 m
    np.testing.assert_array_equal(tile.masks[1][inside & away], (lon >= LON)[inside & away])
    for number, band in enumerate(S2_BANDS):
        expected = s2_dn(band, lon, lat)
        assert np.abs(tile.bands[0, ..., number][inside].astype(float) - expected[inside]).max() <= 3
        assert np.abs(tile.bands[1, ..., number][inside].astype(float) - expected[inside]).max() <= 3
    for number, name in enumerate(("VV", "VH")):
        code = preprocess.sar_code(s1_power(name, lon, lat))
        assert np.abs(tile.sar_asc[0, ..., number][inside].astype(int) - code[inside]).max() <= 12
    assert (tile.sar_desc[..., 1] == 0).all()
    assert (tile.bands[:, ~inside] == 0).all()
    assert tile.meta["source"] == "mpc"
    assert tile.meta["offset_rule"] == "date"
    assert str(tile.year) == "2023-03-01 to 2023-04-10"
    assert list((tmp_path / "tiles").glob(".*")) == []


def test_the_two_offset_rules_differ_on_reprocessed_scenes(archive: Archive, tmp_path: Path) -> None:
    archive.add_s2("old-new", "2021-06-01", ZONE_31, baseline="05.00", offset=1000)
    window = Window(dt.date(2021, 5, 25), dt.date(2021, 6, 5))
    reds = {}
    for rule in ("date", "baseline"):
        found = acquire(REGION, window, catalogue(archive), tmp_path / rule, AcquireOptions(offset_rule=rule))  # type: ignore[arg-type]
        tile = DPixelTile.open(found.tiles[0])
        assert tile.meta["offset_rule"] == rule
        reds[rule] = tile.bands[0, ..., 0][tile.roi].astype(int)
    np.testing.assert_array_equal(reds["date"] - reds["baseline"], 1000)


def test_aws_names_and_opera_bursts(archive: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = dict(CATALOGUES["aws"].s2_assets)
    archive.add_s2("E", "2023-03-05", ZONE_31, keys=keys, offset=0, **{"earthsearch:boa_offset_applied": True})
    archive.add_burst("T1", "2023-03-06", ZONE_31, "descending")
    archive.add_burst("T2", "2023-03-06", ZONE_31, "ascending")
    command = ["acquire", "--bbox", ",".join(map(str, REGION.bbox)), "--start", "2023-03-01", "--end", "2023-04-01"]
    command += ["--source", "aws", "--stac-url", f"{archive.url}/stac", "--cmr-url", f"{archive.url}/cmr"]
    assert main([*command, "--out", str(tmp_path / "t"), "--offset-rule", "baseline", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    tile = DPixelTile.open(result["tiles"][0])
    assert (len(tile.doys), len(tile.doys_asc), len(tile.doys_desc)) == (1, 1, 1)
    lon, lat = places(tile)
    red = tile.bands[0, ..., 0].astype(float)
    assert np.abs(red - s2_dn("B04", lon, lat))[tile.roi].max() <= 3


def test_faults_that_pass_are_survived(archive: Archive, tmp_path: Path) -> None:
    archive.add_s2("A", "2023-03-05", ZONE_31)
    archive.faults["/files/A_B08.tif"] = ["500", "500"]
    archive.faults["/files/A_SCL.tif"] = ["stall"]
    archive.faults["/stac/search"] = ["500"]
    archive.faults["/files/A_B11.tif"] = ["truncate"] * 2
    report = acquire(REGION, WINDOW, catalogue(archive), tmp_path / "tiles", AcquireOptions(timeout_s=1))
    assert report.missing == []
    tile = DPixelTile.open(report.tiles[0])
    lon, lat = places(tile)
    for band in ("B08", "B11"):
        expected = s2_dn(band, lon, lat)[tile.roi]
        assert np.abs(tile.bands[0, ..., S2_BANDS.index(band)][tile.roi] - expected).max() <= 3


def test_what_stays_missing_is_named_and_tried_again(archive: Archive, tmp_path: Path) -> None:
    archive.add_s2("A", "2023-03-05", ZONE_31)
    archive.add_s2("B", "2023-03-15", ZONE_31)
    archive.add_s2("no-swir", "2023-03-20", ZONE_31, leave_out=("B12",))
    archive.faults["/files/B_B04.tif"] = ["always-404"]
    out = tmp_path / "tiles"
    report = acquire(REGION, WINDOW, catalogue(archive), out)
    assert len(report.missing) == 1
    assert "B04 of B" in report.missing[0]
    assert "no such file" in report.missing[0]
    assert DPixelTile.open(report.tiles[0]).doys.tolist() == [64]
    del archive.faults["/files/B_B04.tif"]
    before = archive.hits["/files/A_B04.tif"]
    again = acquire(REGION, WINDOW, catalogue(archive), out)
    assert again.missing == []
    assert DPixelTile.open(again.tiles[0]).doys.tolist() == [64, 74]
    assert archive.hits["/files/A_B04.tif"] == before
    files = {path: count for path, count in archive.hits.items() if path.startswith("/files")}
    third = acquire(REGION, WINDOW, catalogue(archive), out)
    assert {path: count for path, count in archive.hits.items() if path.startswith("/files")} == files
    assert third.left_out == ["no-swir is left out: it has no B12."]


def test_a_file_that_is_cut_short_is_never_a_value(archive: Archive, tmp_path: Path) -> None:
    archive.add_s2("A", "2023-03-05", ZONE_31)
    archive.add_s1("P", "2023-03-07", ZONE_31, "ascending")
    path = archive.folder / "P_VV.tif"
    path.write_bytes(path.read_bytes()[:2000])
    report = acquire(REGION, WINDOW, catalogue(archive), tmp_path / "tiles")
    assert any("VV of P" in sentence for sentence in report.missing)
    assert len(DPixelTile.open(report.tiles[0]).doys_asc) == 0


def test_patches_of_one_region_share_a_grid(archive: Archive, tmp_path: Path) -> None:
    archive.add_s2("A", "2023-03-05", ZONE_31)
    whole = acquire(REGION, WINDOW, catalogue(archive), tmp_path / "one")
    parts = acquire(REGION, WINDOW, catalogue(archive), tmp_path / "many", AcquireOptions(patch_px=16))
    big = DPixelTile.open(whole.tiles[0])
    assert len(parts.tiles) == 4
    for folder in parts.tiles:
        x0, y0, x1, y1 = (int(n) for n in folder.name.split("_"))
        small = DPixelTile.open(folder)
        assert small.grid == big.grid.window(y0, x0, y1 - y0, x1 - x0)
        np.testing.assert_array_equal(small.bands, big.bands[:, y0:y1, x0:x1])


def test_a_part_without_one_clear_day_is_named_and_the_others_are_there(archive: Archive, tmp_path: Path) -> None:
    archive.add_s2("A", "2023-03-05", ZONE_31, clouds=west_cloudy)
    found = acquire(REGION, WINDOW, catalogue(archive), tmp_path / "tiles", AcquireOptions(patch_px=6))
    assert 0 < len(found.tiles) < len(found.missing) + len(found.tiles)
    assert all("not one usable observation" in sentence for sentence in found.missing)
    named = {sentence.split(" for ")[1].split(" ")[0] for sentence in found.missing}
    assert named.isdisjoint(tile.name for tile in found.tiles)
    assert all(DPixelTile.open(tile).masks.any() for tile in found.tiles)


def around(*longitudes: float) -> Region:
    """Small squares at these longitudes, as one region."""
    half = 0.0005
    parts = [shapely.box(lon - half, LAT - half, lon + half, LAT + half) for lon in longitudes]
    return Region(shapely.union_all(parts))


def test_what_is_read_grows_with_the_area_and_not_with_its_square(archive: Archive, tmp_path: Path) -> None:
    longitudes = [LON + 0.1 + 0.15 * n for n in range(6)]
    for number, longitude in enumerate(longitudes[:-1]):
        archive.add_s2(f"S{number}", "2023-03-05", ZONE_31, at=longitude)
    reads: dict[int, int] = {}
    for count in (1, 2, 4):
        archive.hits.clear()
        found = acquire(
            around(*longitudes[:count]), WINDOW, catalogue(archive), tmp_path / str(count), AcquireOptions(patch_px=200)
        )
        assert not found.missing
        reads[count] = sum(hits for path, hits in archive.hits.items() if path.startswith("/files/"))
    assert reads[1] > 0
    # The same pixels of each scene, whatever else the region has; where a piece is cut in two, it is read in two.
    assert reads[2] <= 2.5 * reads[1]
    assert reads[4] <= 2.5 * reads[2]
    # A part that nobody has observed is named, and the others are there.
    found = acquire(around(longitudes[0], longitudes[-1]), WINDOW, catalogue(archive), tmp_path / "edge")
    assert len(found.tiles) == len(found.missing) == 1
    assert "not one usable observation" in found.missing[0]


def test_large_regions_are_cut_into_cells_that_lie_alike_for_all_of_them(archive: Archive, tmp_path: Path) -> None:
    archive.add_s2("A", "2023-03-05", ZONE_31, at=LON + 0.15)
    first, second = (
        Region(shapely.box(west, LAT - 0.0001, west + 0.155, LAT + 0.0001)) for west in (LON + 0.13, LON + 0.135)
    )
    for region, name in ((first, "first"), (second, "second")):
        for folder in acquire(region, WINDOW, catalogue(archive), tmp_path / name).tiles:
            ((cell, part),) = cells.cut(DPixelTile.open(folder).grid)
            assert (folder.name, part) == (f"{cell.name}_20230301-20230410", DPixelTile.open(folder).grid)
    # What was begun when regions were cut in another way is finished so.
    before = acquire(first, WINDOW, catalogue(archive), tmp_path / "old", AcquireOptions(patch_px=500)).tiles
    archive.hits.clear()
    assert acquire(first, WINDOW, catalogue(archive), tmp_path / "old").tiles == before
    assert not [path for path in archive.hits if path.startswith("/files/")]


def test_shares_and_zones_of_a_region_are_cells_of_their_own_in_one_folder(
    archive: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, zone in enumerate((ZONE_30, ZONE_31)):
        archive.add_s2(f"S{number}", "2023-03-05", zone)
    parts = REGION.by_zone()
    assert [part.bbox[0] for part in parts] == [REGION.bbox[0], LON]
    words = ["acquire", "--bbox", ",".join(map(str, REGION.bbox)), "--start", "2023-03-01", "--end", "2023-04-10"]
    words += ["--stac-url", f"{archive.url}/stac", "--by-zone", "--json", "--out"]
    assert main([*words, str(tmp_path / "whole"), "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"]["tiles"] == 2
    assert not archive.hits
    assert main([*words, str(tmp_path / "whole")]) == 0
    found = [Path(tile).name for tile in json.loads(capsys.readouterr().out)["tiles"]]
    assert sorted({name[:5] for name in found}) == ["utm30", "utm31"]
    for folder in (tmp_path / "whole").iterdir():
        grid = DPixelTile.open(folder).grid
        assert [cell.name for cell, _ in cells.cut(grid)] == [folder.name.rpartition("_")[0]]
    regions, options = REGION.by_zone(), AcquireOptions(cells=True)
    here = tmp_path / "shares"
    given = (regions, WINDOW, dataclasses.replace(catalogue(archive)), here, options)
    for number in (2, 1):
        acquire_in_shares(*given, 2, share=Share(number, 2), executor=ThreadPoolExecutor)
    report = acquire_in_shares(*given)
    assert [tile.name for tile in report.tiles] == found
    for name in found:
        for file in (tmp_path / "whole" / name).iterdir():
            assert (here / name / file.name).read_bytes() == file.read_bytes() or file.suffix == ".json"


@pytest.mark.soak
@pytest.mark.parametrize("where", [(), ("--scheduler", "local")])
def test_processes_and_workers_of_a_scheduler_end_in_the_same_bytes(
    archive: Archive,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    where: tuple[str, ...],
) -> None:
    for number, zone in enumerate((ZONE_30, ZONE_31)):
        archive.add_s2(f"S{number}", "2023-03-05", zone)
    # Paths are relative to where the command runs, which is not where the workers do.
    monkeypatch.chdir(tmp_path)
    words = ["acquire", "--bbox", ",".join(map(str, REGION.bbox)), "--start", "2023-03-01", "--end", "2023-04-10"]
    words += ["--stac-url", f"{archive.url}/stac", "--by-zone", "--json", "--out"]
    assert main([*words, "one"]) == 0
    assert main([*words, "many", "--processes", "2", *where]) == 0
    capsys.readouterr()
    files = [file for file in (tmp_path / "one").rglob("*") if file.is_file() and file.suffix != ".json"]
    assert len({file.parent for file in files}) == 2
    for file in files:
        assert (tmp_path / "many" / file.relative_to(tmp_path / "one")).read_bytes() == file.read_bytes()


def test_a_tile_of_another_time_or_of_others_is_never_replaced(archive: Archive, tmp_path: Path) -> None:
    archive.add_s2("A", "2023-03-05", ZONE_31)
    (tile,) = acquire(REGION, WINDOW, catalogue(archive), tmp_path / "tiles").tiles
    before = (tile / "bands.npy").read_bytes()
    # Told before anybody is asked: there is nobody.
    nobody = dataclasses.replace(catalogue(archive), stac_url="http://127.0.0.1:9/stac")
    later = Window(WINDOW.start, WINDOW.end - dt.timedelta(1))
    with pytest.raises(InputError, match="another place, time or source"):
        acquire(REGION, later, nobody, tmp_path / "tiles")
    (tile / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt"):
        acquire(REGION, WINDOW, nobody, tmp_path / "tiles")
    assert (tile / "bands.npy").read_bytes() == before


def test_nothing_there_and_nobody_there_are_told_apart(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(AcquisitionError, match="has no Sentinel scenes"):
        acquire(REGION, WINDOW, catalogue(archive), tmp_path / "a")
    nobody = dataclasses.replace(catalogue(archive), stac_url="http://127.0.0.1:9/stac")
    with pytest.raises(AcquisitionError, match="does not answer"):
        acquire(REGION, WINDOW, nobody, tmp_path / "b")
    archive.add_s2("C", "2023-03-15", ZONE_31, clouds=lambda lon, lat: np.full(lon.shape, 9))
    with pytest.raises(AcquisitionError, match="not one usable observation"):
        acquire(REGION, WINDOW, catalogue(archive), tmp_path / "c")


def test_cancel_keeps_what_was_finished(archive: Archive, tmp_path: Path) -> None:
    archive.add_s2("A", "2023-03-05", ZONE_31)
    archive.add_s2("B", "2023-03-15", ZONE_31)
    out = tmp_path / "tiles"
    stop: list[int] = []
    with pytest.raises(Cancelled):
        acquire(
            REGION,
            WINDOW,
            catalogue(archive),
            out,
            progress=lambda done, total, message: stop.append(done) if done else None,
            cancelled=lambda: bool(stop),
        )
    before = archive.hits["/files/A_B04.tif"]
    assert acquire(REGION, WINDOW, catalogue(archive), out).days_s2 == 2
    assert archive.hits["/files/A_B04.tif"] == before


def test_killed_and_run_again_gives_equal_bytes(archive: Archive, tmp_path: Path) -> None:
    for day in range(1, 8):
        archive.add_s2(f"S{day}", f"2023-03-0{day}", ZONE_31, clouds=west_cloudy)
        archive.add_s2(f"R{day}", f"2023-03-0{day}", ZONE_30, clouds=lambda lon, lat: np.where(lon < LON, 4, 3))
    command = [sys.executable, "-m", "tessera_core", "acquire", "--bbox=" + ",".join(map(str, REGION.bbox))]
    command += ["--start=2023-03-01", "--end=2023-04-01", f"--stac-url={archive.url}/stac"]
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    subprocess.run([*command, f"--out={unbroken}"], check=True, capture_output=True)
    process = subprocess.Popen([*command, f"--out={broken}"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    eventually(lambda: list(broken.glob(".*.work/s2_*.npz")), every=0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert [p for p in broken.iterdir() if not p.name.startswith(".")] == []
    subprocess.run([*command, f"--out={broken}"], check=True, capture_output=True)
    tiles = [next(p for p in folder.iterdir() if not p.name.startswith(".")) for folder in (unbroken, broken)]
    assert {p.name for p in tiles[0].iterdir()} == {p.name for p in tiles[1].iterdir()}
    for file in tiles[0].iterdir():
        assert file.read_bytes() == (tiles[1] / file.name).read_bytes(), file.name


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--bbox", "1,2,3", "--year", "2023"], "west,south,east,north"),
        (["--bbox", "51.2,0.1,51.3,120", "--year", "2023"], "Latitudes run"),
        (["--bbox", "3,50,2,51", "--year", "2023"], "smaller than east"),
        (["--bbox", "0,85,1,86", "--year", "2023"], "end at 80 S and 84 N"),
        (["--bbox", "0,51,0.01,51.01"], "Say when"),
        (["--bbox", "0,51,0.01,51.01", "--start", "2023-01-01"], "give both"),
        (["--bbox", "0,51,0.01,51.01", "--start", "2023-01-01", "--end", "2024-06-01"], "longer than a year"),
        (["--region", "nowhere.geojson", "--year", "2023"], "does not exist"),
    ],
)
def test_bad_requests_get_one_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["acquire", *arguments, "--out", str(tmp_path / "o"), "--stac-url", "http://127.0.0.1:9"])
    said = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert sentence in said[-1]
    assert not (tmp_path / "o").exists()


def test_a_region_file_in_metres_is_read(tmp_path: Path) -> None:
    import pyogrio.raw
    import shapely

    x, y = 400_000.0, 5_700_000.0
    shape = shapely.box(x, y, x + 300, y + 200).difference(shapely.box(x + 100, y + 50, x + 150, y + 100))
    path = tmp_path / "field.gpkg"
    pyogrio.raw.write(
        path, np.array([shape.wkb], object), [], [], geometry_type="Polygon", crs="EPSG:32631", driver="GPKG"
    )
    region = read_region(path)
    grid = region.grid()
    mask = region.mask(grid)
    assert grid.crs == "EPSG:32631"
    assert mask.sum() * 100 == pytest.approx(shape.area, rel=0.02)
    (tmp_path / "words.geojson").write_text("not a map")
    with pytest.raises(InputError, match="not a readable"):
        read_region(tmp_path / "words.geojson")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (
            "'/vsicurl/http://127.0.0.1:40339/files/S0_404.tif' not recognized as being in a supported file format.",
            "it is not a GeoTIFF",
        ),
        ("HTTP response code on http://127.0.0.1:50399/500/a.tif: 403", "the server refuses access"),
        ("HTTP response code: 404", "the server has no such file"),
        ("HTTP response code: 503", "the server fails"),
        ("CURL error: Failed to connect to 127.0.0.1 port 40401", "no connection to the server"),
        ("CURL error: Operation timed out after 50400 milliseconds", "the server does not answer in time"),
        (
            "/vsicurl/https://eodata.example/403.tif, band 1: IReadBlock failed at X offset 4, Y offset 5",
            "the file is cut short or damaged",
        ),
    ],
)
def test_what_a_file_could_not_be_read_for_is_not_taken_from_its_address(said: str, meant: str) -> None:
    assert read.cause_of(OSError(said)) == meant
