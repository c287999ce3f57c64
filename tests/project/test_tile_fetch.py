"""Published embeddings cell by cell: each pixel once, over zones and hemispheres; shares, kills, faults; the same bytes."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from shapely.geometry import Polygon

from tessera_core._utils.share import Share
from tessera_core.cli import main
from tessera_core.errors import AcquisitionError, Cancelled, InputError
from tessera_core.project import tile_fetch
from tessera_core.project.tile_change import pairs_of
from tessera_core.project.tile_fetch import CellsFetched, fetch_cells, plan_fetch
from tessera_core.raster import EmbeddingRaster, NoData
from tessera_core.region import Region, parse_bbox
from tessera_core.sources.remote.fetch import FetchOptions, alone_at
from tessera_core.sources.remote.zarr_store import open_store
from tests.sources.world_store import PIXEL, YEARS, Fault, WebStore, zone_grid
from tests.waiting import eventually

# Across the seam of two zones and across the equator, and no box.
REGION = Region(Polygon([(11.86, -0.13), (12.14, -0.12), (12.05, 0.07), (11.92, 0.06)]), "across")
SIDE = 128


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_tries: None) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))


def got(store: Path | str, out: Path, years: tuple[int, ...] = (2024,), **more: object) -> CellsFetched:
    options = FetchOptions(dim=16, attempts=2)
    return fetch_cells(REGION.by_zone(), open_store(store), years, out, options, cell_px=SIDE, **more)  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_cells_hold_each_pixel_of_the_region_once_as_the_store_has_it(world: Path, tmp_path: Path) -> None:
    found = got(world, tmp_path / "one")
    assert len(found.cells) == found.made > 3
    assert (found.waiting, found.failed, found.missing) == ((), (), ())
    stored: dict[int, tuple[Any, Any]] = {}
    for zone in (32, 33):
        group: Any = zarr.open_group(world, mode="r")[f"utm{zone}"]
        stored[zone] = (
            np.moveaxis(group["embeddings_d16"][YEARS.index(2024)], 0, -1),
            group["scales"][YEARS.index(2024)],
        )
    seen = {zone: np.zeros(scales.shape, int) for zone, (_, scales) in stored.items()}
    for name in found.cells:
        raster = EmbeddingRaster.open(tmp_path / "one" / "2024" / name)
        zone = int(name[3:5])
        west, north, *_ = zone_grid(zone)
        top = raster.grid.transform.f - (10_000_000 if "EPSG:327" in (raster.grid.crs or "") else 0)
        row, col = round((north - top) / PIXEL), round((raster.grid.transform.c - west) / PIXEL)
        here = np.s_[row : row + raster.shape[0], col : col + raster.shape[1]]
        codes, scales = (array[here] for array in stored[zone])
        wanted = np.asarray(raster.reasons != NoData.OUTSIDE)
        seen[zone][here] += wanted
        mine = wanted & np.isfinite(raster.scales)
        np.testing.assert_array_equal(raster.codes[mine], codes[mine])
        np.testing.assert_array_equal(raster.scales[mine], scales[mine])
    # The region's area, but for what lies beyond the store's arrays.
    assert max(counts.max() for counts in seen.values()) == 1
    inside = sum(int(counts.sum()) for counts in seen.values())
    expected = sum(int(part.mask(part.grid(PIXEL)).sum()) for part in REGION.by_zone())
    assert abs(inside - expected) < 0.03 * expected
    rasters = [EmbeddingRaster.open(tmp_path / "one" / "2024" / name) for name in found.cells]
    assert found.pixels == sum(np.count_nonzero(raster.reasons == NoData.VALID) for raster in rasters)
    catalogue = json.loads((tmp_path / "one" / "2024" / "collection.json").read_text())
    assert sum(link["rel"] == "item" for link in catalogue["links"]) == len(found.cells)


def test_shares_a_stop_and_a_busy_cell_end_in_the_bytes_of_one_run(world: Path, tmp_path: Path) -> None:
    years = (2022, 2023)
    found = got(world, tmp_path / "one", years)
    before = contents(tmp_path / "one")
    # A year has a tile less than the other: cells without one embedding are noted, and not asked for again.
    assert got(world, tmp_path / "one", years).made == 0
    assert contents(tmp_path / "one") == before
    first = got(world, tmp_path / "two", years, share=Share(2, 2))
    assert len(first.waiting) == len(found.cells) + len(found.empty) - first.made
    second = got(world, tmp_path / "two", years, share=Share(1, 2))
    assert (second.waiting, second.cells, second.empty) == ((), found.cells, found.empty)
    assert contents(tmp_path / "two") == before
    asked = iter(range(100))
    with pytest.raises(Cancelled):
        got(world, tmp_path / "three", years, cancelled=lambda: next(asked) > 6)
    kept = contents(tmp_path / "three")
    assert any(name.endswith("fetch.json") for name in kept)
    assert got(world, tmp_path / "three", years).made < found.made
    assert contents(tmp_path / "three") == before
    # Both years of a place are compared although their names end in the year.
    pairs, failed = pairs_of(tmp_path / "one" / "2022", tmp_path / "one" / "2023")
    both = {name[:-5] for name in found.cells if name.endswith("2022")}
    assert {pair.name for pair in pairs} == both
    assert all("There is no tile" in one.why for one in failed)


def test_a_cell_that_another_run_is_at_comes_last(world: Path, tmp_path: Path) -> None:
    names = got(world, tmp_path / "one").cells
    (tmp_path / "out" / "2024").mkdir(parents=True)
    tried: list[str] = []
    with ExitStack() as other:
        other.enter_context(alone_at(tmp_path / "out" / "2024" / names[0]))

        def note(done: int, total: int, message: str) -> None:
            name = message.strip().partition(" ")[0]
            tried.extend([name] if name and name not in tried[-1:] else [])
            if name == names[-1]:
                other.close()

        assert got(world, tmp_path / "out", progress=note).made == len(names)
    assert tried == [*names, names[0]]
    assert contents(tmp_path / "out") == contents(tmp_path / "one")


def test_what_cannot_be_had_is_named_and_tried_again(
    web: WebStore, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = got(world, tmp_path / "whole")
    web.faults = [Fault("utm33/embeddings_d16/c/", "503")]
    found = got(web.store, tmp_path / "out")
    assert {one.what[:5] for one in found.failed} == {"utm33"}
    assert found.cells == tuple(name for name in whole.cells if name.startswith("utm32"))
    web.faults = []
    again = got(web.store, tmp_path / "out")
    assert (again.cells, again.failed, again.made) == (whole.cells, (), len(whole.cells) - len(found.cells))
    web.faults = [Fault("embeddings_d16/c/", "503")]
    monkeypatch.setattr(tile_fetch, "GIVE_UP_AFTER", 2)
    with pytest.raises(AcquisitionError, match="503"):
        got(web.store, tmp_path / "nothing")
    # Of six cells two were asked for.
    assert len(list((tmp_path / "nothing" / "2024").glob(".*.fetching"))) == 2


def test_other_things_in_the_folder_are_never_replaced(world: Path, tmp_path: Path) -> None:
    found = got(world, tmp_path / "out")
    before = contents(tmp_path / "out")
    other = fetch_cells(
        REGION.by_zone(), open_store(world), [2024], tmp_path / "out", FetchOptions(dim=32), cell_px=SIDE
    )
    assert (len(other.failed), other.made) == (len(found.cells), 0)
    assert "another dataset" in other.failed[0].why
    assert contents(tmp_path / "out") == before
    (tmp_path / "one" / "2024").mkdir(parents=True)
    (tmp_path / "one" / "2024" / "raster.json").write_text("{}")
    with pytest.raises(InputError, match="holds one raster"):
        got(world, tmp_path / "one")
    with pytest.raises(InputError, match="has no 2030"):
        got(world, tmp_path / "one", (2030,))


def test_the_command_plans_and_fetches_and_refuses_what_does_not_go_together(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fetch", "--bbox", "11.9,0.01,12.1,0.06", "--years", "2024", "--store-url", str(world), "--dim", "16"]
    words += ["--out", str(tmp_path / "out"), "--json"]

    def said(*more: str) -> tuple[int, dict]:
        code = main([*words, *more])
        return code, json.loads(capsys.readouterr().out)

    plan = ["--by-zone", "--plan", str(tmp_path / "plan.geojson"), "--dry-run"]
    code, found = said(*plan)
    assert (code, found["plan"]["tiles"], found["plan"]["done"]) == (0, 2, 0)
    code, found = said("--by-zone", "--dry-run", "--bbox=11.9,83.99,12.1,84.1")
    assert (code, len(found["notes"])) == (0, 1)
    assert "beyond 84 N and 80 S are left out" in found["notes"][0]
    assert not (tmp_path / "out").exists()
    code, found = said("--by-zone", "--share", "1/2")
    assert (code, found["cells"], found["made"], len(found["waiting"])) == (0, 1, 1, 1)
    features = json.loads((tmp_path / "plan.geojson").read_text())["features"]
    assert len(features) == 2
    code, found = said(*plan)
    assert found["plan"]["done"] == 1
    code, found = said("--by-zone")
    assert (code, found["cells"], found["made"], found["waiting"]) == (0, 2, 1, [])
    for more, why in (
        (["--share", "1/2"], "--by-zone"),
        (["--by-zone", "--refresh"], "one raster"),
        (["--by-zone", "--processes", "0"], "--processes"),
    ):
        code, found = said(*more)
        assert code == 2
        assert why in found["error"]["message"]


def test_a_region_of_any_size_is_cut(world: Path, tmp_path: Path) -> None:
    """More pixels than one map may have."""
    wide = parse_bbox("2,40,5,62")
    with pytest.raises(InputError, match="thousand million"):
        wide.grid()
    plan = plan_fetch([wide], open_store(world), [2024], tmp_path, FetchOptions(dim=16))
    # One at a time, however many there are.
    first = list(itertools.islice(plan, 11))
    assert len({part.name for part in first}) == 11
    assert not any(part.done for part in first)


SCRIPT = """
import sys
from tests.project.test_tile_fetch import got
if __name__ == "__main__":
    got(sys.argv[1], __import__("pathlib").Path(sys.argv[2]), workers=int(sys.argv[3]))
"""


@pytest.mark.soak
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_and_begun_again_it_ends_in_the_same_bytes(
    web: WebStore, world: Path, tmp_path: Path, workers: int
) -> None:
    got(world, tmp_path / "one")
    web.slow = 0.05
    (tmp_path / "run.py").write_text(SCRIPT)
    command = [sys.executable, tmp_path / "run.py", web.store, tmp_path / "out", str(workers)]
    process = subprocess.Popen(list(map(str, command)), start_new_session=True)
    eventually(lambda: len(list((tmp_path / "out").glob("*/*/fetch.json"))) >= 2, every=0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    web.slow = 0.0
    again = got(web.store, tmp_path / "out", workers=workers)
    assert 0 < again.made < len(again.cells)
    names = {name for name in contents(tmp_path / "one") if name.endswith("codes.npy")}
    one, other = contents(tmp_path / "one"), contents(tmp_path / "out")
    assert all(one[name] == other[name] for name in names)


@pytest.mark.soak
@pytest.mark.parametrize("where", [(), ("--scheduler", "local")])
def test_processes_and_workers_of_a_scheduler_end_in_the_same_bytes(
    world: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    where: tuple[str, ...],
) -> None:
    # Paths are relative to where the command runs, which is not where the workers do.
    monkeypatch.chdir(tmp_path)
    words = ["fetch", "--bbox", "11.9,0.01,12.1,0.06", "--years", "2024", "--store-url", str(world), "--dim", "16"]
    words += ["--by-zone", "--json"]
    assert main([*words, "--out", "one"]) == 0
    capsys.readouterr()
    assert main([*words, "--out", "many", "--processes", "2", *where]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["cells"], found["made"]) == (2, 2)
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
