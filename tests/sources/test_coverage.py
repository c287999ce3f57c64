"""The preflight, points and the two commands, against the store on loopback."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from geotessera.store import GeoTesseraZarr
from shapely.geometry import Polygon

from tessera_core.cli import main
from tessera_core.errors import AcquisitionError, InputError
from tessera_core.raster import EmbeddingRaster, NoData, dequantise
from tessera_core.region import Region, parse_bbox
from tessera_core.sources.remote import cache
from tessera_core.sources.remote.coverage import coverage, request_text, survey
from tessera_core.sources.remote.datasets import Dataset
from tessera_core.sources.remote.fetch import fetch_years
from tessera_core.sources.remote.points import read_points, sample_points
from tessera_core.sources.remote.zarr_store import open_store
from tests.sources import world_store
from tests.sources.world_store import Fault, WebStore

BOX = "11.82,-0.12,12.13,0.08"


@pytest.fixture(autouse=True)
def own_home(home: Path) -> None:
    """No test sees the cache of another."""


def test_each_year_says_how_much_and_which_tiles_are_missing(web: WebStore) -> None:
    region = parse_bbox(BOX)
    cover = coverage(region, open_store(web.store), years=[2022, 2023, 1999])
    by_year = {year.year: year for year in cover.years}
    assert by_year[2022].missing == ("grid_11.85_0.05",)
    assert by_year[2023].complete
    assert by_year[2023].valid + by_year[2023].water > 0.99
    assert by_year[1999].valid == 0
    assert len(by_year[1999].missing) == len(by_year[2022].tiles) == 12
    assert cover.exact
    assert cover.dims == (16, 32, 64, 128)
    place = open_store(web.store).working_grid(region)
    assert by_year[2023].disk_bytes == place.grid.height * place.grid.width * 133
    assert by_year[2023].seconds is not None
    assert by_year[2023].seconds > 0
    json.dumps(cover.to_json(), allow_nan=False)


def test_only_the_scales_are_read_and_a_small_part_of_large_regions(
    web: WebStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tessera_core.sources.remote.coverage.EXACT_PIXELS", 1)
    monkeypatch.setattr("tessera_core.sources.remote.coverage.SAMPLE", 8)
    monkeypatch.setattr("tessera_core.sources.remote.coverage._probe", lambda *_: None)
    cover = coverage(parse_bbox(BOX), open_store(web.store))
    assert not cover.exact
    assert cover.years[0].missing == ("grid_11.85_0.05",)
    assert cover.years[1].complete
    assert cover.years[1].seconds is None
    assert not [path for path in web.hits if "/embeddings" in path and "/c/" in path]


def test_a_polygon_is_judged_by_its_own_pixels(web: WebStore) -> None:
    triangle = Region(Polygon([(11.91, -0.01), (11.99, -0.01), (11.99, -0.02)]))
    year = coverage(triangle, open_store(web.store), years=[2022]).years[0]
    assert [tile.name for tile in year.tiles] == ["grid_11.95_-0.05"]
    assert year.valid == 1.0


def test_what_lies_in_the_cache_costs_nothing(web: WebStore) -> None:
    region = parse_bbox(BOX)
    fetch_years(region, web.store, [2023])
    years = {year.year: year for year in coverage(region, open_store(web.store)).years}
    assert years[2023].cached
    assert (years[2023].fetch_bytes, years[2023].seconds) == (0, 0.0)
    assert not years[2024].cached


def test_datasets_that_cannot_be_reached_say_so_beside_those_that_can(web: WebStore) -> None:
    sets = [
        Dataset("2.0/test", "2.0", "test", web.store, "", "a test", True),
        Dataset("9.9/gone", "9.9", "gone", "http://127.0.0.1:9/x.zarr", "", "gone", False),
    ]
    found = survey(parse_bbox(BOX), sets, attempts=1)
    assert [cover.dataset for cover in found] == ["2.0/test", "9.9/gone"]
    assert found[0].years
    assert found[0].default
    assert "cannot be reached" in found[1].problem


def test_a_request_names_polygon_years_and_tiles(web: WebStore) -> None:
    region = Region(Polygon([(11.81, 0.01), (11.97, 0.01), (11.9, 0.09)]), "Gabon")
    cover = coverage(region, open_store(web.store), years=[2022, 2023])
    text = request_text(region, cover)
    assert "Years: 2022\n" in text
    assert "grid_11.85_0.05" in text
    feature = json.loads(text.splitlines()[-1])
    assert feature["geometry"]["type"] == "Polygon"
    assert request_text(region, cover, [2023]) == ""
    assert "grid_11.95_0.05" in request_text(region, "1.1/dclimate", [2017])


def test_coverage_of_a_failing_server_is_an_error(web: WebStore) -> None:
    web.faults = [Fault("scales/c/", "503")]
    with pytest.raises(AcquisitionError, match="503"):
        coverage(parse_bbox(BOX), open_store(web.store), years=[2023], attempts=2)


# ------------------------------------------------------------------ points


def test_points_of_a_table_get_their_vectors_in_their_order(web: WebStore, world: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(11.86, 12.14, 50), rng.uniform(-0.14, 0.09, 50)
    table = tmp_path / "points.csv"
    table.write_text(
        "site;Latitude;Longitude\n" + "".join(f"s{n};{y};{x}\n" for n, (x, y) in enumerate(zip(lon, lat, strict=True)))
    )
    read = read_points(table)
    values, reasons, problems = sample_points(open_store(web.store), read.lon, read.lat, 2024, 128)
    theirs = GeoTesseraZarr(world).sample_points(list(zip(lon, lat, strict=True)), 2024, search_px=0, cross_zone=False)
    np.testing.assert_allclose(values, theirs, rtol=1e-6)
    assert problems == []
    np.testing.assert_array_equal(reasons == NoData.VALID, np.isfinite(values[:, 0]))


@pytest.mark.parametrize(
    ("text", "words"),
    [("a,b\n1,2\n", "columns named lon and lat"), ("lon,lat\n", "no points"), ("lon,lat\n51,100\n52,101\n", "swapped")],
)
def test_tables_that_are_of_no_use_say_why(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "points.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_points(path)


# ------------------------------------------------------------------ commands


def result_of(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict:
    assert main([*words, "--json"]) == code
    out = capsys.readouterr()
    return json.loads(out.out) if code in (0, 3) else {"error": out.err}


def test_fetch_writes_rasters_that_stay_when_the_cache_is_emptied(
    web: WebStore, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fetch", "--bbox", "11.82,-0.14,11.98,-0.02", "--store-url", web.store, "--years", "2023-2024"]
    first = result_of(capsys, *words, "--out", str(tmp_path / "out"))
    assert [raster["year"] for raster in first["rasters"]] == [2023, 2024]
    assert all(raster["complete"] and not raster["cached"] for raster in first["rasters"])
    web.faults = [Fault("", "503")]
    second = result_of(capsys, *words, "--out", str(tmp_path / "again"))
    assert all(raster["cached"] for raster in second["rasters"])
    cache.empty()
    raster = EmbeddingRaster.open(tmp_path / "out" / "2024")
    values, _, _ = GeoTesseraZarr(world).read_region((11.82, -0.14, 11.98, -0.02), 2024)
    np.testing.assert_array_equal(dequantise(raster.codes, raster.scales), values)


def test_fetch_names_what_is_missing_and_ends_well(
    web: WebStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    web.faults = [Fault("utm33/embeddings/c/1/", "503")]
    got = result_of(
        capsys,
        "fetch",
        "--bbox",
        BOX,
        "--store-url",
        web.store,
        "--years",
        "2023",
        "--out",
        str(tmp_path),
        "--attempts",
        "2",
        code=3,
    )
    assert got["missing"]
    assert "grid_12.05" in got["missing"][0]
    assert not got["rasters"][0]["complete"]


def test_fetch_inspects_what_it_fetched(web: WebStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fetch", "--bbox", "11.82,-0.12,12.18,0.08", "--store-url", web.store, "--years", "2023", "--inspect"]
    found = result_of(capsys, *words, "--out", str(tmp_path))["rasters"][0]["inspection"]
    assert list(found["bad_tiles"]) == ["grid_12.15_-0.05"]
    assert "scales" in found["bad_tiles"]["grid_12.15_-0.05"][0]
    assert main([*words, "--out", str(tmp_path)]) == 0
    assert "grid_12.15_-0.05: " in capsys.readouterr().out


def test_points_become_csv_and_parquet(
    web: WebStore, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "points.csv"
    lake_lon, lake_lat, _ = world_store.LAKE
    table.write_text(f"site,lat,lon\nland,0.03,11.95\nlake,{lake_lat},{lake_lon}\nfar,50,3\nodd,x,1\n")
    for name in ("out.csv", "out.parquet"):
        got = result_of(
            capsys,
            "fetch",
            "--points",
            str(table),
            "--store-url",
            web.store,
            "--years",
            "2023",
            "--out",
            str(tmp_path / name),
            code=3,
        )
        assert got["failed"] == [{"what": "1 of 4 rows", "why": "coordinates that are no numbers."}]
        assert got["found"] == {"2023": 1}
        assert (got["import"]["read"], got["import"]["used"]) == (4, 3)
        assert got["import"]["left_out"][0] == {
            "reason": "coordinates that are no numbers",
            "count": 1,
            "examples": ["line 5"],
        }
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    parquet = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["nodata"] for row in rows] == ["", "water", "outside", "outside"]
    right = GeoTesseraZarr(world).sample_at(11.95, 0.03, 2023)
    np.testing.assert_allclose([float(rows[0][f"emb_{n}"]) for n in range(128)], right, atol=1e-6)
    np.testing.assert_allclose([parquet[0][f"emb_{n}"] for n in range(128)], right, rtol=1e-6)
    assert parquet[1]["site"] == "lake"


def test_points_of_a_spreadsheet_with_decimal_commas_get_their_vectors(
    web: WebStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "points.csv"
    table.write_bytes("Ort;p;q\nKöln;11,95;0,03\nHöxter;11,96;0,031\n".encode("cp1252"))
    words = [
        "fetch",
        "--points",
        str(table),
        "--store-url",
        web.store,
        "--years",
        "2023",
        "--out",
        str(tmp_path / "o.csv"),
    ]
    assert "Say which they are" in result_of(capsys, *words, code=2)["error"]
    got = result_of(capsys, *words, "--lon", "p", "--lat", "q")
    assert got["found"] == {"2023": 2}
    assert got["import"]["encoding"] == "Windows-1252"
    assert [row["Ort"] for row in csv.DictReader((tmp_path / "o.csv").open(encoding="utf-8"))] == ["Köln", "Höxter"]


def test_coverage_prints_one_object_and_a_table(
    web: WebStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["coverage", "--bbox", BOX, "--store-url", web.store, "--request", str(tmp_path / "request.txt")]
    got = result_of(capsys, *words)
    assert got["datasets"][0]["years"][0]["missing_tiles"] == ["grid_11.85_0.05"]
    assert "grid_11.85_0.05" in (tmp_path / "request.txt").read_text()
    assert main(words) == 0
    assert "2022: 87" in capsys.readouterr().out


def test_info_says_what_a_store_is(web: WebStore, capsys: pytest.CaptureFixture[str]) -> None:
    item = result_of(capsys, "info", web.store)["items"][0]
    assert (item["kind"], item["years"], item["zones"]) == ("store", [2022, 2023, 2024], ["utm32", "utm33"])
    assert item["dims"] == [16, 32, 64, 128]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["coverage", "--bbox", "95,0,20,1"], "West (95)"),
        (["coverage", "--bbox", "0,0,1,1", "--dataset", "7.7"], "no dataset"),
        (["coverage", "--bbox", "0,0,1,1", "--years", "soon"], "list of years"),
        (
            ["fetch", "--bbox", "0,0,1,1", "--years", "2023", "--out", "x", "--store-url", "/nowhere/x.zarr"],
            "no store at",
        ),
        (["fetch", "--bbox", "0,0,1,1", "--years", "2023", "--out", "x", "--dim", "0"], "greater than 0"),
        (["fetch", "--points", "x.csv", "--years", "2023", "--out", "x.tif"], "x.csv does not exist"),
    ],
)
def test_wrong_commands_say_why_in_a_sentence(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    error = result_of(capsys, *words, code=2)["error"]
    assert said in error
    assert "Traceback" not in error
