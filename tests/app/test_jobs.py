"""Jobs: progress, cancelling, failing, and one job per key."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from tessera_core.errors import BusyError, Cancelled, RasterError
from tessera_core.project.jobs import Job, JobPool, Place, Work, _played
from tessera_core.types import Cancel, Progress
from tessera_core.ui import jobs
from tests.waiting import PATIENCE_S, eventually


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
    assert job.wait(PATIENCE_S)
    assert (job.state, job.result, job.fraction, job.message) == ("done", "result", 0.5, "Reading")
    assert pool.get("a") is job


def test_same_key_joins_the_running_job_and_restarts_after_it(pool: JobPool) -> None:
    go = threading.Event()
    first = pool.start("a", "A", lambda progress, cancelled: go.wait(PATIENCE_S))
    assert pool.start("a", "A", lambda progress, cancelled: None) is first
    go.set()
    assert first.wait(PATIENCE_S)
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
    assert started.wait(PATIENCE_S)
    assert waiting.state == "waiting"
    waiting.cancel()
    running.cancel()
    assert running.wait(PATIENCE_S)
    assert waiting.wait(PATIENCE_S)
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
    assert stopped.wait(PATIENCE_S)
    assert left.wait(PATIENCE_S)
    assert (stopped.state, left.state) == ("cancelled", "cancelled")
    assert (stopped.abandoned, left.abandoned) == (False, True)


def test_failure_keeps_the_error_and_the_pool_alive(pool: JobPool) -> None:
    def work(progress, cancelled):
        raise RasterError("No raster here.")

    job = pool.start("a", "A", work)
    assert job.wait(PATIENCE_S)
    assert job.state == "failed"
    assert str(job.error) == "No raster here."
    unexpected = pool.start("b", "B", lambda progress, cancelled: 1 / 0)
    assert unexpected.wait(PATIENCE_S)
    assert isinstance(unexpected.error, ZeroDivisionError)
    again = pool.start("a", "A", lambda progress, cancelled: 7)
    assert again.wait(PATIENCE_S)
    assert again.result == 7


def test_forget_drops_only_ended_jobs(pool: JobPool) -> None:
    go = threading.Event()
    job = pool.start("a", "A", lambda progress, cancelled: go.wait(PATIENCE_S))
    pool.forget("a")
    assert pool.get("a") is job
    go.set()
    assert job.wait(PATIENCE_S)
    pool.forget("a")
    assert pool.get("a") is None


def test_time_left_is_unknown_until_there_is_something_to_go_by(pool: JobPool) -> None:
    job = pool.start("a", "A", lambda progress, cancelled: None)
    assert job.wait(PATIENCE_S)
    assert job.seconds_left is None


# -------------------------------------------------------------- several people


def _until_cancelled(progress, cancelled):
    while not cancelled():
        threading.Event().wait(0.01)
    raise Cancelled()


def test_one_persons_cancel_ends_only_that_persons_wait(pool: JobPool) -> None:
    job = pool.start("demo", "Demo", _until_cancelled, "one")
    job.join("one", "tab 1")
    pool.start("demo", "Demo", _until_cancelled, "two").join("two", "tab 2")
    job.leave("one")
    assert job.active
    assert not job.cancelling
    job.leave("two")
    assert job.wait(PATIENCE_S)
    assert job.state == "cancelled"


def test_who_closed_the_browser_keeps_nothing_from_being_stopped(pool: JobPool) -> None:
    job = pool.start("demo", "Demo", _until_cancelled, "one")
    job.join("one", "tab 1")
    job.join("two", "tab 2")
    pool.gone("tab 1")
    assert job.awaited_by("one")
    assert not job.cancelling
    job.leave("two")
    assert job.wait(PATIENCE_S)


def test_people_take_turns_and_nobody_has_all_the_workers() -> None:
    pool = JobPool(2, each=1)
    try:
        go, order = threading.Event(), []

        def work(name):
            def inner(progress, cancelled):
                order.append(name)
                go.wait(PATIENCE_S)

            return inner

        many = [pool.start(f"a{number}", "A", work("greedy"), "greedy") for number in range(4)]
        assert eventually(lambda: many[0].state == "running")
        other = pool.start("b", "B", work("other"), "other")
        assert eventually(lambda: other.state == "running")
        assert [job.state for job in many] == ["running", "waiting", "waiting", "waiting"]
        go.set()
        assert all(job.wait(PATIENCE_S) for job in many)
    finally:
        pool.close()


def test_a_person_may_have_only_so_many(pool: JobPool) -> None:
    few = JobPool(1, most=2)
    try:
        first = few.start("a", "A", _until_cancelled, "one")
        few.start("b", "B", _until_cancelled, "one")
        with pytest.raises(BusyError, match="2 pieces of work"):
            few.start("c", "C", _until_cancelled, "one")
        # Waiting for what is there already costs nothing, and others are not concerned.
        assert few.start("a", "A", _until_cancelled, "one") is first
        few.start("d", "D", _until_cancelled, "two")
    finally:
        few.close()


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["join", "leave", "gone"]), st.integers(0, 2), st.integers(0, 1)), max_size=20
    )
)
def test_work_goes_on_exactly_as_long_as_nobody_but_leavers_are_there(steps: list[tuple[str, int, int]]) -> None:
    job, tabs, stopped = Job("key", "Title"), {}, False
    for step, number, tab in steps:
        person = f"person {number}"
        if step == "join":
            job.join(person, f"{number}.{tab}")
            tabs.setdefault(person, set()).add(tab)
        elif step == "leave":
            job.leave(person)
            tabs.pop(person, None)
            stopped = stopped or not any(tabs.values())
        else:
            job.gone(f"{number}.{tab}")
            tabs.get(person, set()).discard(tab)
        assert job.cancelling is stopped


# ---------------------------------------------------- two visitors of one server

PAGE = """
import streamlit as st
from tessera_core.errors import Cancelled
from tessera_core.ui import jobs

def work(progress, cancelled):
    import threading
    while not cancelled():
        threading.Event().wait(0.01)
    raise Cancelled()

job = jobs.pool().get("shared")
if job is not None and job.active and jobs.mine(job):
    jobs.show(job)
else:
    if job is not None and st.session_state.get("asked"):
        jobs.outcome(job)
    if st.button("Make it"):
        st.session_state["asked"] = True
        jobs.pool().start("shared", "Making it", work)
        st.rerun()
"""


def test_two_visitors_of_one_job(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    first, second, third = (AppTest.from_string(PAGE, default_timeout=60).run() for _ in range(3))
    for visitor in (first, second):
        visitor.button[0].click().run()
        assert [button.label for button in visitor.button] == ["Cancel"]
    # Who did not ask for it sees neither the work nor a way to stop it.
    assert [button.label for button in third.run().button] == ["Make it"]
    first.button[0].click().run()
    first.run()
    assert [info.value for info in first.info] == [str(Cancelled())]
    assert [button.label for button in second.run().button] == ["Cancel"]
    assert len(second.info) == 0
    second.button[0].click().run()
    eventually(lambda: [button.label for button in second.run().button] == ["Make it"])
    assert [info.value for info in second.info] == [str(Cancelled())]
    assert len(third.run().info) == 0
    assert [button.label for button in third.button] == ["Make it"]


class Ending:
    """Work that ends exactly when the page looks for the n-th time how it is; it is given a new gate for each try."""

    ways: ClassVar[dict[str, Exception | None]] = {"done": None, "failed": RasterError("No raster here.")}

    def __init__(self) -> None:
        self.renew("done")

    def renew(self, way: str) -> None:
        self.gate, self.way, self.looks_left, self.job = threading.Event(), way, -1, Job("", "")

    def work(self, progress: Progress, cancelled: Cancel) -> str:
        self.gate.wait(PATIENCE_S)
        if cancelled():
            raise Cancelled()
        if error := self.ways[self.way]:
            raise error
        return "made"

    def looked(self) -> None:
        self.looks_left -= 1
        if self.looks_left == 0:
            self.gate.set()
            assert self.job.wait(PATIENCE_S)


ending = Ending()

PAGE_OF_THE_ENDING = """
import streamlit as st
from tessera_core.ui import jobs
from tests.app.test_jobs import ending

job = jobs.pool().get("mine")
if job is not None and job.active and jobs.mine(job):
    jobs.show(job)
else:
    if job is not None and jobs.outcome(job):
        st.success(job.result)
    if st.button("Make it"):
        ending.job = jobs.pool()._pool.get(jobs.pool().start("mine", "Making it", ending.work).key)
        st.rerun()
"""


@pytest.mark.parametrize(
    ("press", "way", "says"),
    [
        (True, "done", str(Cancelled())),
        (True, "failed", str(Cancelled())),
        (False, "done", "made"),
        (False, "failed", "No raster here."),
    ],
)
def test_whenever_work_ends_its_person_is_told_and_goes_on_being_told(
    press: bool, way: str, says: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    active = Job.active

    def watched(job: Job) -> bool:
        if job is ending.job and threading.current_thread().name.startswith("ScriptRunner"):
            ending.looked()
        return bool(active.__get__(job))

    monkeypatch.setattr(Job, "active", property(watched))
    app = AppTest.from_string(PAGE_OF_THE_ENDING, default_timeout=60).run()
    for moment in itertools.count(1):
        ending.renew(way)
        app.button[0].click().run()
        assert [button.label for button in app.button] == ["Cancel"]
        # Another person did not want to wait so long, which is nobody else's matter.
        ending.job.join("another", "tab")
        ending.job.leave("another")
        ending.looks_left = moment
        if press:
            app.button[0].click()
        app.run()
        by_a_look = ending.looks_left <= 0
        ending.gate.set()
        assert ending.job.wait(PATIENCE_S)
        for _ in range(3):
            app.run()
            assert not app.exception
            told = [element.value for element in (*app.info, *app.error, *app.success)]
            # Pressed too late to stop anything, it is told as it went.
            assert told in ([says], [str(Ending.ways[way] or "made")] if press else [says]), moment
            assert [button.label for button in app.button] == ["Make it"]
        if not by_a_look:
            break
    assert moment > 3


def test_who_waits_is_told_how_many_are_before_them_and_is_served_in_that_order() -> None:
    pool = JobPool(2, each=1)
    gates: dict[str, threading.Event] = {}
    begun: list[str] = []

    def work_of(name: str) -> Work:
        gates[name] = threading.Event()

        def work(progress: Progress, cancelled: Cancel) -> None:
            begun.append(name)
            gates[name].wait()

        return work

    try:
        running = [pool.start(name, name, work_of(name), name[:-1]) for name in ("anna1", "bert1")]
        eventually(lambda: len(begun) == 2)
        waiting = {
            name: pool.start(name, name, work_of(name), name[:-1]) for name in ("cora1", "cora2", "anna2", "dora1")
        }
        assert pool.place(running[0]) is None
        places = {name: pool.place(job) for name, job in waiting.items()}
        assert {name: place.people for name, place in places.items() if place} == {
            "cora1": 2,
            "anna2": 2,
            "dora1": 3,
            "cora2": 3,
        }
        assert all(place is not None and place.seconds is None for place in places.values())
        assert [(job.key, person) for job, person in pool.listed()[:2]] == [("anna1", "anna"), ("bert1", "bert")]
        gates["bert1"].set()
        eventually(lambda: begun[2:] == ["cora1"])
        # Now it is known how long one takes.
        place = pool.place(waiting["dora1"])
        assert place is not None
        assert (place.people, place.seconds is not None) == (2, True)
    finally:
        for gate in gates.values():
            gate.set()
        pool.close()


@given(
    queues=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 3), min_size=1),
    at_work=st.lists(st.sampled_from("abcd"), max_size=2, unique=True),
    usual=st.none() | st.floats(0, 100),
)
def test_everybody_has_a_place_and_nobody_is_behind_more_people_than_there_are(
    queues: dict[str, int], at_work: list[str], usual: float | None
) -> None:
    jobs_of = {person: [Job(f"{person}{n}", "") for n in range(count)] for person, count in queues.items()}
    running = [(Job(f"now {person}", "", state="running"), person) for person in at_work]
    for person, mine in jobs_of.items():
        places = [_played(job, jobs_of, running, 2, 1, usual) for job in mine]
        others = (set(queues) | set(at_work)) - {person}
        assert all(place.people <= len(others) for place in places)
        assert [place.people for place in places] == sorted(place.people for place in places)
        if usual is not None:
            waits = [place.seconds or 0.0 for place in places]
            assert waits == sorted(waits)


def test_what_does_not_end_in_time_is_stopped_and_told(pool: JobPool) -> None:
    quick = pool.start("quick", "Quick", lambda progress, cancelled: 7, "anna")
    quick.wait()
    slow = pool.start("slow", "Slow", _until_cancelled, "bert")
    assert [(job.key, person) for job, person in pool.settle(0.1)] == [("slow", "bert")]
    assert slow.wait(30)
    assert (slow.state, quick.result) == ("cancelled", 7)
    assert pool.settle(0) == []


@pytest.mark.parametrize(
    ("place", "says"),
    [
        (Place(2, 61), "2 people are before you, about 60 s"),
        (Place(1, None), "1 person is before you"),
        (Place(0, 300), "Waiting for your other work to finish, about 5 min"),
        (None, "Starting"),
    ],
)
def test_the_sentence_of_the_queue(place: Place | None, says: str) -> None:
    assert jobs._waiting(place) == says
