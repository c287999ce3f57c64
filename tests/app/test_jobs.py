"""Jobs: progress, cancelling, failing, and one job per key."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tessera_core.errors import Cancelled, RasterError
from tessera_core.jobs import JobPool


@pytest.fixture
def pool() -> Iterator[JobPool]:
    pool = JobPool(workers=1)
    yield pool
    pool.close()


def test_result_and_progress_arrive(pool: JobPool) -> None:
    def work(progress, cancelled):
        progress(1, 4, "Reading")
        progress(2, 4, "")
        return "result"

    job = pool.start("a", "A", work)
    assert job.wait(10)
    assert (job.state, job.result, job.fraction, job.message) == ("done", "result", 0.5, "Reading")
    assert pool.get("a") is job


def test_same_key_joins_the_running_job_and_restarts_after_it(pool: JobPool) -> None:
    go = threading.Event()
    first = pool.start("a", "A", lambda progress, cancelled: go.wait(10))
    assert pool.start("a", "A", lambda progress, cancelled: None) is first
    go.set()
    assert first.wait(10)
    assert pool.start("a", "A", lambda progress, cancelled: None) is not first


def test_cancel_stops_running_and_waiting_jobs(pool: JobPool) -> None:
    started = threading.Event()

    def work(progress, cancelled):
        started.set()
        while not cancelled():
            threading.Event().wait(0.01)
        raise Cancelled()

    running = pool.start("a", "A", work)
    waiting = pool.start("b", "B", lambda progress, cancelled: pytest.fail("must not run"))
    assert started.wait(10)
    assert waiting.state == "waiting"
    waiting.cancel()
    running.cancel()
    assert running.wait(10)
    assert waiting.wait(10)
    assert (running.state, waiting.state) == ("cancelled", "cancelled")


def test_a_job_that_nobody_waits_for_is_told_from_one_that_was_stopped(pool: JobPool) -> None:
    def work(progress, cancelled):
        while not cancelled():
            threading.Event().wait(0.01)
        raise Cancelled()

    stopped, left = pool.start("a", "A", work), pool.start("b", "B", work)
    stopped.cancel()
    # Leaving the page afterwards does not make it another's doing.
    stopped.abandon()
    left.abandon()
    assert stopped.wait(10)
    assert left.wait(10)
    assert (stopped.state, left.state) == ("cancelled", "cancelled")
    assert (stopped.abandoned, left.abandoned) == (False, True)


def test_failure_keeps_the_error_and_the_pool_alive(pool: JobPool) -> None:
    def work(progress, cancelled):
        raise RasterError("No raster here.")

    job = pool.start("a", "A", work)
    assert job.wait(10)
    assert job.state == "failed"
    assert str(job.error) == "No raster here."
    unexpected = pool.start("b", "B", lambda progress, cancelled: 1 / 0)
    assert unexpected.wait(10)
    assert isinstance(unexpected.error, ZeroDivisionError)
    again = pool.start("a", "A", lambda progress, cancelled: 7)
    assert again.wait(10)
    assert again.result == 7


def test_forget_drops_only_ended_jobs(pool: JobPool) -> None:
    go = threading.Event()
    job = pool.start("a", "A", lambda progress, cancelled: go.wait(10))
    pool.forget("a")
    assert pool.get("a") is job
    go.set()
    assert job.wait(10)
    pool.forget("a")
    assert pool.get("a") is None


def test_time_left_is_unknown_until_there_is_something_to_go_by(pool: JobPool) -> None:
    job = pool.start("a", "A", lambda progress, cancelled: None)
    assert job.wait(10)
    assert job.seconds_left is None
