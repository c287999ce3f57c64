"""Fetching: complete or named as partial under every fault, resumed after a kill with equal bytes, shared, bounded, offline."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from geotessera.store import GeoTesseraZarr
from shapely.geometry import Polygon

from tessera_core._utils.partial import Failure
from tessera_core.cli import main
from tessera_core.errors import AcquisitionError, Cancelled, ExportError, InputError
from tessera_core.raster import EmbeddingRaster, NoData, dequantise
from tessera_core.region import Region, parse_bbox
from tessera_core.sources.remote import cache, fetch, zarr_zone
from tessera_core.sources.remote.fetch import FetchOptions, fetch_years
from tessera_core.types import Cancel
from tests.sources.world_store import Fault, WebStore
from tests.waiting import eventually

BOX = "11.82,-0.12,11.98,0.08"
REGION = parse_bbox(BOX)


@pytest.fixture(autouse=True)
def small_pieces(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So small that the little store has many."""
    monkeypatch.setattr(zarr_zone, "BLOCK", (32, 32))


def one(
    web: WebStore, year: int = 2023, region: Region = REGION, cancelled: Cancel | None = None, **options: object
) -> fetch.Fetched:
    return fetch_years(region, web.store, [year], FetchOptions(**options), cancelled=cancelled)[0]  # type: ignore[arg-type]


def same(raster: EmbeddingRaster, other: EmbeddingRaster) -> bool:
    return np.array_equal(raster.codes, other.codes) and np.array_equal(raster.scales, other.scales, equal_nan=True)


def test_a_fetched_region_has_geotesseras_values_and_says_where_it_is_from(web: WebStore, world: Path) -> None:
    steps: list[tuple[int, int, str]] = []
    got = fetch_years(REGION, web.store, [2022, 2023], progress=lambda *step: steps.append(step))
    for fetched, year in zip(got, (2022, 2023), strict=True):
        raster = fetched.open()
        values, _, _ = GeoTesseraZarr(world).read_region(REGION.bbox, year)
        np.testing.assert_array_equal(dequantise(raster.codes, raster.scales), values)
        assert (raster.provenance.year, raster.provenance.dataset) == (year, "tessera 2.0/test (128-d)")
        assert raster.provenance.checksum
        assert fetched.missing == ()
        assert isinstance(raster.codes, np.memmap)
    assert got[0].absent == ("grid_11.85_0.05",)
    assert got[1].absent == ()
    assert steps[-1][0] == steps[-1][1] > 0


def test_the_second_time_it_comes_from_the_cache_with_the_network_off(web: WebStore) -> None:
    first = one(web)
    hits = sum(web.hits.values())
    web.faults = [Fault("", "503")]
    again = one(web)
    assert again.cached
    assert sum(web.hits.values()) == hits
    assert same(first.open(), again.open())


def test_refreshing_fetches_anew(web: WebStore) -> None:
    one(web)
    web.hits.clear()
    again = one(web, refresh=True)
    assert not again.cached
    assert [path for path in web.hits if "/embeddings/c/" in path]


def test_a_smaller_region_takes_its_pixels_from_a_larger_cached_one(web: WebStore, world: Path) -> None:
    one(web)
    web.hits.clear()
    inner = one(web, region=Region(Polygon([(11.86, -0.09), (11.94, -0.09), (11.9, 0.05)]), "inner"))
    assert not [path for path in web.hits if "/embeddings/c/" in path]
    raster = inner.open()
    outside = raster.reasons == NoData.OUTSIDE
    assert outside.any()
    assert not raster.codes[outside].any()
    big = one(web).open()
    row, col = (int(v[0]) for v in big.grid.xy_to_pixel([raster.grid.transform.c + 1], [raster.grid.transform.f - 1]))
    height, width = raster.shape
    np.testing.assert_array_equal(raster.codes[~outside], big.codes[row : row + height, col : col + width][~outside])


def test_prefixes_are_another_dataset(web: WebStore) -> None:
    raster = one(web, dim=16).open()
    assert raster.dim == 16
    np.testing.assert_array_equal(raster.codes, one(web).open().codes[..., :16])
    assert not [path for path in web.hits if "/embeddings_d32/c/" in path]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("embeddings/c/", "503", 3),
        Fault("scales/c/", "503", 3),
        Fault("embeddings/c/", "truncate", 3),
        Fault("embeddings/c/", "garbage", 3),
        Fault("scales/c/", "garbage", 2),
        Fault("embeddings/c/", "404", 3),
        Fault("scales/c/", "404", 3),
        Fault("zarr.json", "503", 2),
        Fault("world.zarr/zarr.json", "garbage", 1),
        Fault("embeddings/c/", "reset", 4),
        Fault("time/c/", "404", 2),
    ],
    ids=lambda fault: f"{fault.kind} of {fault.match}",
)
def test_passing_faults_end_in_the_complete_result(web: WebStore, fault: Fault, tmp_path: Path) -> None:
    web.faults = [fault]
    got = one(web)
    assert got.missing == ()
    kept = EmbeddingRaster.open(cache.take(got.entry, tmp_path / "kept"))
    web.faults = []
    cache.empty()
    assert same(kept, one(web).open())


def test_a_stall_is_cut_off_and_tried_again(web: WebStore) -> None:
    web.faults = [Fault("embeddings/c/", "stall", 1)]
    assert one(web, timeout_s=1.0).missing == ()


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("404", "utm32/embeddings/c/1/0/0/1"),
        ("404", "utm32/scales/c/1/0/0"),
        ("503", "utm32/scales/c/1/0/0"),
        ("reset", "utm32/embeddings/c/1/0/0/1"),
        ("truncate", "utm32/embeddings/c/1/0/0/1"),
        ("garbage", "utm32/embeddings/c/1/0/0/1"),
    ],
)
def test_lasting_faults_end_in_a_partial_result_that_names_its_gaps_and_can_be_completed(
    web: WebStore, kind: str, what: str
) -> None:
    web.faults = [Fault(what, kind)]
    got = one(web, attempts=2)
    partial = got.open()
    gaps = partial.reasons
    assert got.missing
    assert all("grid_11." in sentence and "2023" in sentence for sentence in got.missing)
    assert partial.provenance.details["warnings"]
    web.faults = []
    whole = one(web)
    assert not whole.cached
    assert whole.missing == ()
    raster = whole.open()
    kept = partial.valid()
    assert 0 < kept.sum() < raster.valid().sum()
    assert set(gaps[raster.valid() & ~kept]) <= {NoData.MISSING_TILE, NoData.BAD_TILE}
    np.testing.assert_array_equal(partial.codes[kept], raster.codes[kept])
    np.testing.assert_array_equal(partial.scales[kept], raster.scales[kept])


def test_a_completed_fetch_equals_a_fresh_one(web: WebStore) -> None:
    web.faults = [Fault("utm32/scales/c/1/0/0", "404")]
    assert one(web, attempts=2).missing
    web.faults = []
    completed = one(web).open()
    cache.empty()
    assert same(completed, one(web).open())


def test_nothing_at_all_is_an_error_and_leaves_no_entry(web: WebStore) -> None:
    web.faults = [Fault("/c/", "503")]
    with pytest.raises(AcquisitionError, match=r"error 503"):
        one(web, attempts=2)
    assert cache.entries() == []
    with pytest.raises(AcquisitionError, match="cannot be reached"):
        fetch_years(REGION, "http://127.0.0.1:9/x.zarr", [2023], FetchOptions(attempts=2))
    web.faults = []
    assert one(web).missing == ()


def test_cancelling_keeps_what_was_fetched(web: WebStore) -> None:
    web.slow = 0.01
    calls: list[int] = []

    def after_some() -> bool:
        calls.append(1)
        return len(calls) > 3

    with pytest.raises(Cancelled):
        one(web, cancelled=after_some, workers=1)
    web.slow = 0.0
    journal = next(cache.home().glob(".*.fetching/pieces.log")).read_text()
    assert journal
    got = one(web)
    assert got.missing == ()
    assert cache.entries()[0].key == got.entry.key


SCRIPT = """
import sys
from tessera_core.region import parse_bbox
from tessera_core.sources.remote import fetch, zarr_zone as zone
zone.BLOCK = (32, 32)
options = fetch.FetchOptions(workers=1)
fetch.fetch_years(
    parse_bbox(sys.argv[2]), sys.argv[1], [2023], options, progress=lambda *a: print(*a, flush=True)
)
"""


def test_killed_and_started_again_it_gives_equal_bytes(web: WebStore) -> None:
    web.slow = 0.01
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, web.store, BOX], stdout=subprocess.PIPE, text=True)

    def begun() -> bool:
        return any(len(log.read_text().splitlines()) >= 3 for log in cache.home().glob(".*.fetching/pieces.log"))

    eventually(begun, every=0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    work = next(cache.home().glob(".*.fetching"))
    noted = (work / "pieces.log").read_text().splitlines()
    assert len(noted) >= 3
    assert cache.entries() == []
    # A torn line and a piece whose bytes never reached the disk must not be believed.
    top, bottom, left, right, _ = (int(n) for n in noted[0].split())
    codes = np.load(work / "codes.npy", mmap_mode="r+")
    codes[top:bottom, left:right] = 7
    codes.flush()
    with (work / "pieces.log").open("a") as log:
        log.write("64 96 0")
    web.slow = 0.0
    web.hits.clear()
    resumed = one(web).open()
    codes_resumed, scales_resumed = np.array(resumed.codes), np.array(resumed.scales)
    cache.empty()
    fresh = one(web).open()
    np.testing.assert_array_equal(codes_resumed, fresh.codes)
    np.testing.assert_array_equal(scales_resumed, fresh.scales)


def test_a_full_disk_is_told_and_leaves_nothing(web: WebStore, home: Path) -> None:
    limited = "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n" + (
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
    )
    end = "\nexcept Exception as error:\n    print('TOLD', type(error).__name__, error)\n"
    body = "try:\n    " + SCRIPT.strip().replace("\n", "\n    ") + end
    done = subprocess.run(
        [sys.executable, "-c", limited + body, web.store, BOX], capture_output=True, text=True, check=False
    )
    assert "TOLD ExportError 2023 of this region needs" in done.stdout, done.stderr
    assert not list(cache.home().glob(".*.fetching"))
    assert one(web).missing == ()


def test_wrong_questions_are_told(web: WebStore) -> None:
    with pytest.raises(InputError, match="has no 1999"):
        one(web, 1999)
    with pytest.raises(InputError, match="128 dimensions, not 300"):
        one(web, dim=300)


def test_a_year_that_is_not_there_is_named_and_the_others_are_fetched(
    web: WebStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed: list[Failure] = []
    got = fetch.fetch_years(REGION, web.store, [1999, 2022, 2023], failed=failed)
    assert [(one.entry.year, one.missing) for one in got] == [(2022, ()), (2023, ())]
    assert [failure.what for failure in failed] == ["1999"]
    with pytest.raises(InputError, match="has no 1999"):
        fetch.fetch_years(REGION, web.store, [1999, 2023])
    with pytest.raises(InputError, match="has no 1999"):
        fetch.fetch_years(REGION, web.store, [1998, 1999], failed=[])
    box = ",".join(map(str, REGION.bbox))
    command = ["fetch", "--store-url", web.store, "--bbox", box, "--years", "2019,2023", "--out", str(tmp_path / "out")]
    assert main(command) == 3
    assert "Left out, 2019: " in capsys.readouterr().out
    assert main([*command, "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert [failure["what"] for failure in told["failed"]] == ["2019"]
    assert [raster["year"] for raster in told["rasters"]] == [2023]


def test_a_read_only_home_is_told(web: WebStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "file"))
    with pytest.raises(ExportError, match="TESSERA_HOME"):
        one(web)


# ------------------------------------------------------------------ the cache


def test_the_cache_lists_bounds_and_empties_itself(web: WebStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = one(web, 2023), one(web, 2024)
    os.utime(first.path / "fetch.json", (1, 1))
    known = cache.entries()
    assert [entry.year for entry in known] == [2024, 2023]
    assert known[0].bytes > known[0].shape[0] * known[0].shape[1] * 128
    assert cache.total_bytes() >= sum(entry.bytes for entry in known)
    monkeypatch.setenv("TESSERA_CACHE_GB", str(known[0].bytes * 2.5 / 1e9))
    one(web, 2022)
    assert [entry.year for entry in cache.entries()] == [2022, 2024]
    assert cache.evict([second.entry.key]) == second.entry.bytes
    assert cache.empty() > 0
    assert cache.entries() == []
    monkeypatch.setenv("TESSERA_CACHE_GB", "much")
    with pytest.raises(InputError, match="gigabytes"):
        cache.limit_bytes()


def test_what_is_taken_stays_when_the_cache_is_emptied(web: WebStore, tmp_path: Path) -> None:
    got = one(web)
    right = np.array(got.open().codes)
    taken = cache.take(got.entry, tmp_path / "project" / "2023")
    assert os.stat(taken / "codes.npy").st_nlink == 2
    cache.empty()
    np.testing.assert_array_equal(EmbeddingRaster.open(taken).codes, right)


def test_taking_never_replaces_other_files_or_another_dataset(web: WebStore, tmp_path: Path) -> None:
    got = one(web)
    target = cache.take(got.entry, tmp_path / "2023")
    cache.take(got.entry, target)
    (target / "labels.gpkg").write_text("mine")
    with pytest.raises(InputError, match=r"labels\.gpkg"):
        cache.take(got.entry, target)
    raster = got.open()
    other = dataclasses.replace(raster, provenance=dataclasses.replace(raster.provenance, model="another"))
    other.save(tmp_path / "other")
    with pytest.raises(InputError, match="another"):
        cache.take(got.entry, tmp_path / "other")
    assert EmbeddingRaster.open(tmp_path / "other").provenance.model == "another"


def test_a_damaged_entry_is_no_entry(web: WebStore) -> None:
    got = one(web)
    facts = json.loads((got.path / "fetch.json").read_text())
    (got.path / "fetch.json").write_text(json.dumps(facts)[:50])
    assert cache.entries() == []
    assert not one(web).cached


def test_speeds_are_remembered_for_each_server(home: Path) -> None:
    cache.note_speed("https://example.org/a", 10 << 20, 2.0)
    cache.note_speed("https://example.org/b", 30 << 20, 2.0)
    assert cache.speed("https://example.org/c") == pytest.approx(10 * (1 << 20))
    assert cache.speed("elsewhere") is None
