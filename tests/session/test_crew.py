"""Scores in a process beside the server: the same answers, fair to all, whatever happens to the process."""

from __future__ import annotations

import itertools
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core import heads
from tessera_core.raster import EmbeddingRaster
from tessera_core.session import crew as crews
from tessera_core.session import worker
from tessera_core.session.assessor import Assessor
from tessera_core.session.crew import Crew, _Lane
from tessera_core.session.stages import STAGES
from tests.factories import landscape
from tests.session.questions import labelled, question, raster_place
from tests.waiting import PATIENCE_S, eventually


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[EmbeddingRaster, tuple[str, str]]:
    folder = landscape(80).save(tmp_path_factory.mktemp("ground") / "2023")
    return EmbeddingRaster.open(folder), ("ground", str(folder))


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    crew = Crew(hands=1, idle=3.0)
    yield crew
    # When nobody has asked for a while, processes and threads are given back.
    pids = crew.pids
    eventually(lambda: not crew.pids)
    assert not any(psutil.pid_exists(pid) for pid in pids)


def plain(value: Any) -> Any:
    """Something to compare by: arrays as lists, objects as their fields, without rasters."""
    if isinstance(value, EmbeddingRaster):
        return "raster"
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | frozenset):
        return (
            [plain(item) for item in sorted(value) if value]
            if isinstance(value, frozenset)
            else list(map(plain, value))
        )
    fields = getattr(value, "__dataclass_fields__", None)
    return {name: plain(getattr(value, name)) for name in fields} if fields else value


def test_answers_of_the_process_are_those_of_this_one(saved: tuple, crew: Crew) -> None:
    raster, place = saved
    log, temperatures = labelled(raster), []
    here, beside = (
        Assessor(raster, on_temperature=lambda _head, t: temperatures.append(t), quiet=0, place=where, crew=crew)
        for where in (None, place)
    )
    for asked in (question(log), question(log, sets=True, skipped=((10, 10),), error=0.2)):
        answers = []
        for assessor in (here, beside):
            assessor.ask(asked)
            answers.append(replace(assessor.wait(120), number=0))
        assert answers[0].fresh == answers[1].fresh >= {"score", "next", "confidence", "dissimilarity"}
        np.testing.assert_equal(plain(answers[1]), plain(answers[0]))
    assert len(temperatures) == 2
    assert temperatures[0] == temperatures[1]
    # What came over is about the raster of this process.
    score = beside.insight.score
    assert score is not None
    assert score.held_out is not None
    assert score.held_out.samples.features.raster is raster


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads what a process has mapped")
def test_the_process_carries_no_libraries_that_no_stage_uses(saved: tuple, crew: Crew) -> None:
    raster, place = saved
    assessor = Assessor(raster, quiet=0, place=place, crew=crew)
    assessor.ask(question(labelled(raster), "tree"))
    assert assessor.wait(120).score is not None
    (pid,) = crew.pids
    mapped = {part for file in psutil.Process(pid).memory_maps() for part in file.path.split("/")}
    assert {"sklearn", "scipy"} <= mapped
    assert not {"pandas", "pyarrow", "psutil"} & mapped


def test_a_map_that_takes_long_holds_up_nobodys_score(saved: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    raster, _ = saved
    log, made, go = labelled(raster), [], threading.Event()
    real = heads.predict_raster

    def slowly(*args: Any, **how: Any) -> Any:
        assert go.wait(60)
        return real(*args, **how)

    monkeypatch.setattr(heads, "predict_raster", slowly)
    crew = Crew(hands=1, idle=0.2, processes=False)
    slow = Assessor(raster, on_map=lambda *a: made.append(a), quiet=0, crew=crew)
    quick = Assessor(raster, quiet=0, crew=crew)
    slow.ask(question(log, slow=True))
    quick.ask(question(log))
    assert quick.wait().score is not None
    assert not quick.insight.pending
    assert slow.insight.pending
    go.set()
    assert slow.wait().map_progress == 1.0
    assert made[0][2].classes.shape == raster.shape


def test_a_process_that_dies_is_replaced_and_the_answer_comes(saved: tuple, crew: Crew) -> None:
    raster, place = saved
    assessor = Assessor(raster, quiet=0, place=place, crew=crew)
    assessor.prepare()
    log = labelled(raster, seed=1)
    assessor.ask(question(log))
    (lost,) = eventually(lambda: crew.pids)
    os.kill(lost, signal.SIGKILL)
    found = assessor.wait(120)
    assert found.score is not None
    assert found.score.n_labels == len(log.labels)
    assert not found.problem
    assert crew.pids != [lost]


def test_labelling_stops_what_is_asked_but_a_score_that_was_begun_comes(saved: tuple, crew: Crew) -> None:
    raster, place = saved
    assessor, log = Assessor(raster, quiet=0, place=place, crew=crew), labelled(raster)
    assessor.ask(question(log))
    eventually(lambda: assessor.insight.stage == STAGES["score"], every=0.002)
    assessor.pause()
    log.add("point", 1, [raster_place(raster, 20, 20)])
    found = assessor.wait()
    assert not found.pending
    assert found.score is not None
    assert "score" not in found.fresh
    assessor.ask(question(log))
    found = assessor.wait()
    assert found.score is not None
    assert found.score.n_labels == len(log.labels)


def test_labelling_stops_what_is_wanted_no_more_at_once(saved: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole map of a large region must not take the cores of a click until the crew happens to look again."""
    raster, place = saved
    monkeypatch.setattr(worker, "_LOOK_SECONDS", 10 * PATIENCE_S)
    told: list[tuple[Any, ...]] = []

    class Deaf(worker.Worker):
        """A process that says nothing."""

        def __init__(self) -> None:
            self._numbers, self._sent, self._answers = itertools.count(1), OrderedDict(), queue.SimpleQueue()

        pid = 0

        def _tell(self, *message: Any) -> None:
            told.append(message)
            if message[0] == "stop":
                self._answers.put(("stopped", message[1], None))

        def close(self) -> None:
            """There is nothing to end."""

    monkeypatch.setattr(crews, "Worker", Deaf)
    assessor = Assessor(raster, quiet=0, place=place, crew=Crew(hands=1, idle=0.2))
    assessor.ask(question(labelled(raster), "forest", slow=True))
    eventually(lambda: told)
    assert told[0][4] == "map"
    assessor.pause()
    eventually(lambda: told[-1] == ("stop", 1))
    eventually(lambda: assessor._busy is None)


def test_the_process_ends_when_its_server_is_killed(saved: tuple) -> None:
    code = "import time; from tessera_core.session.worker import Worker; w = Worker(); print(w.pid); time.sleep(99)"
    with subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        worker = psutil.Process(pid)
        # Python and its libraries are loaded: it waits for work.
        eventually(lambda: worker.status() == psutil.STATUS_SLEEPING)
        server.kill()
        server.wait()
        # None of ours to reap: it goes to init, or stays a zombie where there is none.
        eventually(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)


def test_where_no_process_can_be_started_this_one_does_it(saved: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    raster, place = saved
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assessor, log = Assessor(raster, quiet=0, place=place, crew=Crew(hands=1, idle=0.2)), labelled(raster)
    assessor.ask(question(log))
    assert assessor.wait().score is not None


# ------------------------------------------------------------------ fairness


class Visitor:
    """An asker whose stages take no time; ``done`` tells in which order everybody's were taken."""

    place = None

    def __init__(self, name: str, stages: list[int], done: list[tuple[str, int]]) -> None:
        self.name, self.stages, self.done, self.served = name, stages, done, 0

    def due(self, slow: bool) -> tuple[int, float] | None:
        return (self.stages[0], 0.0) if self.stages and not slow else None

    def take(self, slow: bool) -> Any:
        rank = self.stages.pop(0)
        self.done.append((self.name, rank))
        return rank


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), max_size=5).map(sorted), min_size=1, max_size=8))
def test_scores_of_all_come_before_layers_of_any_and_nobody_is_turned_to_twice_before_another_once(
    wishes: list[list[int]],
) -> None:
    done: list[tuple[str, int]] = []
    lane = _Lane(slow=False, hands=0, idle=0.0, processes=False)
    visitors = [Visitor(str(n), list(stages), done) for n, stages in enumerate(wishes)]
    for visitor in visitors:
        lane._waiting[id(visitor)] = visitor  # type: ignore[assignment]
    lane._threads = 1
    while lane._turn() is not None:
        pass
    assert sorted(done) == sorted((str(n), rank) for n, stages in enumerate(wishes) for rank in stages)
    # The most wanted kind first, for all.
    ranks = [rank for _, rank in done]
    assert ranks == sorted(ranks)
    for rank in set(ranks):
        order = [name for name, of in done if of == rank]
        for name in set(order):
            turns = [n for n, other in enumerate(order) if other == name]
            waiting = {other for other in order if order.count(other) >= order.count(name)} - {name}
            for first, second in itertools.pairwise(turns):
                assert waiting <= set(order[first:second]) | set(order[:first]) - set(order[second:])
