"""One window of one year: the same wherever it is read, and tried again in one way."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import Polygon

from tessera_core.errors import AcquisitionError, Cancelled
from tessera_core.raster import NoData
from tessera_core.region import Region, parse_bbox
from tessera_core.sources.remote.fetch import fetch
from tessera_core.sources.remote.resilient import PieceError
from tessera_core.sources.remote.retry import tries, with_retries
from tessera_core.sources.remote.window_task import WindowResult, WindowTask
from tessera_core.sources.remote.year_writer import YearRequest, YearWriter
from tessera_core.sources.remote.zarr_store import open_store
from tests.sources.world_store import Fault, WebStore

# Across the seam of two zones, and no box: every way of reading a window is used.
REGION = Region(Polygon([(11.9, -0.1), (12.1, -0.08), (12.05, 0.06), (11.92, 0.05)]), "across")

RUN_ELSEWHERE = """
import pickle, sys
tasks = pickle.load(sys.stdin.buffer)
assert "tessera_core.sources.remote.fetch" not in sys.modules
pickle.dump([task.run() for task in tasks], sys.stdout.buffer)
"""


def tasks_of(source, year: int = 2023, attempts: int = 2, block: tuple[int, int] = (32, 32)) -> list[WindowTask]:
    working_grid = source.working_grid(REGION)
    return [WindowTask.of(source, working_grid, w, year, source.dim, attempts) for w in working_grid.blocks(*block)]


def equal(one: WindowResult, other: WindowResult) -> bool:
    a, b = one.block, other.block
    assert a is not None
    assert b is not None
    arrays = [(a.codes, b.codes), (a.reasons, b.reasons)]
    same = all(np.array_equal(x, y) for x, y in arrays) and np.array_equal(a.scales, b.scales, equal_nan=True)
    return same and (one.window, a.problems) == (other.window, b.problems)


def test_a_task_is_small_and_gives_in_another_process_what_it_gives_here(web: WebStore) -> None:
    tasks = tasks_of(open_store(web.store))
    assert len(tasks) > 4
    packed = pickle.dumps(tasks)
    assert len(packed) < 40_000 * len(tasks)
    done = subprocess.run([sys.executable, "-c", RUN_ELSEWHERE], input=packed, capture_output=True, check=True)
    for here, there in zip((task.run() for task in tasks), pickle.loads(done.stdout), strict=True):
        assert equal(here, there)


def test_a_copied_source_is_opened_once_in_a_process(web: WebStore) -> None:
    first, second = (pickle.loads(pickle.dumps(open_store(web.store, timeout_s=7.0))) for _ in range(2))
    assert first is second
    assert (first.location, first.timeout_s) == (web.store, 7.0)


def test_what_any_workers_read_and_one_writer_writes_is_what_fetch_makes(
    web: WebStore, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    source = open_store(web.store)
    fetched = fetch(REGION, source, 2023).open()
    request = YearRequest(REGION, source, source.working_grid(REGION), 2023, source.dim)
    (tmp_path / "elsewhere").mkdir()
    with YearWriter(request, tmp_path / "elsewhere" / "made") as writer, ThreadPoolExecutor(3) as pool:
        tasks = [WindowTask.of(source, request.working_grid, w, 2023, source.dim, 2) for w in reversed(writer.todo)]
        for result in pool.map(WindowTask.run, tasks):
            writer.accept(result)
        assert writer.done_pixels == writer.total_pixels
        writer.complete()
    made = writer.publish()
    np.testing.assert_array_equal(np.load(made.folder / "codes.npy"), fetched.codes)
    np.testing.assert_array_equal(np.load(made.folder / "scales.npy"), fetched.scales)
    assert made.missing == ()


def test_a_window_that_cannot_be_had_is_a_result_with_a_reason(web: WebStore, quick_tries: None) -> None:
    tasks = tasks_of(open_store(web.store))
    web.faults = [Fault("/c/", "503")]
    result = tasks[0].run()
    assert result.block is None
    assert "503" in result.why
    assert result.reason == NoData.MISSING_TILE


def test_of_a_damaged_window_the_whole_parts_are_kept(web: WebStore, quick_tries: None) -> None:
    source = open_store(web.store)
    box = parse_bbox("11.82,-0.12,11.98,0.08")
    working_grid = source.working_grid(box)
    whole = (slice(0, working_grid.grid.height), slice(0, working_grid.grid.width))
    web.faults = [Fault("utm32/embeddings/c/1/0/0/1", "garbage")]
    block = WindowTask.of(source, working_grid, whole, 2023, source.dim, 2).run().block
    assert block is not None
    assert block.problems
    assert all("2023: " in text and "grid_11." in text for text in block.problems)
    assert 0 < np.count_nonzero(block.reasons == NoData.VALID) < block.reasons.size


# ------------------------------------------------------------------------------- trying again


def failing(times: int, calls: list[bool]):
    def work(last: bool) -> str:
        calls.append(last)
        if len(calls) <= times:
            raise PieceError(f"failure {len(calls)}")
        return "done"

    return work


def test_it_is_tried_until_it_succeeds_and_told_which_try_is_the_last(quick_tries: None) -> None:
    calls: list[bool] = []
    assert tries(failing(2, calls), 3) == "done"
    assert calls == [False, False, True]


def test_the_last_failure_is_the_one_that_is_told(quick_tries: None) -> None:
    calls: list[bool] = []
    with pytest.raises(PieceError, match="failure 3"):
        tries(failing(9, calls), 3)
    with pytest.raises(AcquisitionError, match=r"Cannot read it: failure \d+\. Check the address"):
        with_retries(lambda: failing(9, calls)(False), "it", 2, None)


def test_who_stops_is_not_made_to_wait() -> None:
    calls: list[bool] = []
    with pytest.raises(PieceError, match="failure 1"):
        tries(failing(9, calls), 5, lambda: True)
    assert len(calls) == 1
    with pytest.raises(Cancelled):
        with_retries(lambda: failing(99, calls)(False), "it", 5, lambda: True)
    assert len(calls) == 2
