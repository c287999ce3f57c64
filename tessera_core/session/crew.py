"""Who works out what is asked about maps, for all visitors of a server: stage by stage, fairly, and never in a click's way.

Of everybody's next stages the most wanted kind comes first (scores before next places before layers), and of one kind that of
whoever has waited longest. A study says what is due and takes the result; nothing here knows what a stage is about. Methods
that take minutes have hands of their own, so that one person's forest keeps nobody's score waiting.

Stages run in processes beside the server, started when first needed, started again when one dies, and ended when nothing was
asked for a while. What lies in memory only, and everything where no process can be started, is done in this process.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from tessera_core.errors import TesseraError
from tessera_core.heads.scene import available_bytes
from tessera_core.session.stages import Known, Work, do
from tessera_core.session.worker import Worker, WorkerLost

log = logging.getLogger(__name__)

# Seconds without work after which processes and threads are given back.
IDLE_SECONDS = 60.0
MAX_HANDS = 4
# Bytes of free memory below which no process is started: its libraries would take what the maps need.
LEAST_FREE = 1 << 30
LOST = "The computer ended this while it was being worked out, perhaps for want of memory; your labels are safe."


class Task(Protocol):
    """A stage that was taken."""

    name: str
    number: int
    known: Known
    # What its stages share, where they are done in this process.
    work: Work
    # Key and path of the raster's files; None: it lies in memory only.
    place: tuple[str, str] | None

    def stale(self, beside: bool) -> bool:
        """Whether nobody wants the answer any more; ``beside``: it is worked out in another process, in nobody's way."""
        ...

    def report(self, share: float) -> None:
        """How far it is, 0..1."""
        ...

    def settle(self, found: dict[str, Any] | None, error: Exception | None) -> None:
        """It has ended."""
        ...


class Asker(Protocol):
    """Whoever asks."""

    served: int
    place: tuple[str, str] | None

    def due(self, slow: bool) -> tuple[int, float] | None:
        """Rank of its next stage of that kind and when it may begin (``time.monotonic``); None: it has none now."""
        ...

    def take(self, slow: bool) -> Task | None:
        """Its next stage, which is under way from now on."""
        ...


class _Lane:
    """Those who wait for one kind of work, and the threads that do it."""

    def __init__(self, slow: bool, hands: int, idle: float, processes: bool) -> None:
        self._slow, self._most, self._idle, self._processes = slow, hands, idle, processes
        self._news = threading.Condition()
        self._waiting: dict[int, Asker] = {}
        self._threads = 0
        self._served = 0
        self._workers: list[Worker] = []

    @property
    def pids(self) -> list[int]:
        """Of the processes that work here now."""
        with self._news:
            return [worker.pid for worker in self._workers]

    def ask(self, asker: Asker) -> None:
        """Somebody has a question, or will soon have one."""
        with self._news:
            self._waiting[id(asker)] = asker
            if self._threads < min(self._most, len(self._waiting)):
                self._threads += 1
                threading.Thread(target=self._serve, name="tessera-study", daemon=True).start()
            self._news.notify()

    def look(self) -> None:
        """Something under way may be wanted no more."""
        # A copy and no lock: whoever labels waits for nobody here.
        for worker in list(self._workers):
            worker.look()

    def forget(self, asker: Asker) -> None:
        """Somebody has gone."""
        with self._news:
            self._waiting.pop(id(asker), None)

    def _turn(self) -> Task | None:
        """The next stage, when there is one; None after a while without any, and the thread is then no more counted."""
        with self._news:
            end = time.monotonic() + self._idle
            while True:
                now, soonest, best = time.monotonic(), end, None
                for key, asker in list(self._waiting.items()):
                    due = asker.due(self._slow)
                    if due is None:
                        continue
                    rank, ready = due
                    if ready > now:
                        soonest = min(soonest, ready)
                    elif best is None or (rank, asker.served) < best[:2]:
                        best = (rank, asker.served, key)
                if best is not None:
                    asker = self._waiting[best[2]]
                    self._served += 1
                    asker.served = self._served
                    task = asker.take(self._slow)
                    if task is not None:
                        return task
                    continue
                if now >= end:
                    self._threads -= 1
                    return None
                self._news.wait(soonest - now)

    def _serve(self) -> None:
        worker: Worker | None = None
        try:
            with self._news:
                needed = any(asker.place for asker in self._waiting.values())
            # Before its first task, because it takes a few seconds to be ready.
            if needed and self._processes:
                worker = self._start()
            while (task := self._turn()) is not None:
                if task.place is None or not self._processes:
                    _settle(task, lambda task=task: _here(task))  # type: ignore[misc]
                else:
                    worker = self._beside(task, worker)
                task = None
        finally:
            self._end(worker)

    def _start(self) -> Worker | None:
        if available_bytes() < LEAST_FREE:
            log.warning("Too little memory is free for a process beside this one; scores are worked out in it")
            self._processes = False
            return None
        try:
            worker = Worker()
        except OSError as error:
            log.warning("No process can be started beside this one (%s); scores are worked out in it", error)
            self._processes = False
            return None
        with self._news:
            self._workers.append(worker)
        return worker

    def _end(self, worker: Worker | None) -> None:
        if worker is not None:
            worker.close()
            with self._news:
                self._workers.remove(worker)

    def _beside(self, task: Task, worker: Worker | None) -> Worker | None:
        """Do a task in the process, once more in a new one where that one dies; the process to go on with."""
        place = task.place
        assert place is not None
        for _ in range(2):
            worker = worker or self._start()
            if worker is None:
                _settle(task, lambda: _here(task))
                return None
            try:
                found = worker.do(
                    place,
                    task.work.raster,
                    task.number,
                    task.name,
                    task.work.question,
                    task.known,
                    lambda: task.stale(True),
                    task.report,
                )
            except WorkerLost as lost:
                log.warning("A process that works out scores was lost (%s); another takes over", lost)
                self._end(worker)
                worker = None
                continue
            except TesseraError as error:
                task.settle(None, error)
                return worker
            except Exception as error:
                log.exception("The stage %r of a study failed", task.name)
                task.settle(None, error)
                return worker
            task.settle(found, None)
            return worker
        task.settle(None, TesseraError(LOST))
        return worker


def _here(task: Task) -> dict[str, Any]:
    return do(task.name, task.work, task.known, lambda: task.stale(False), task.report)


def _settle(task: Task, work: Callable[[], dict[str, Any]]) -> None:
    try:
        found = work()
    except TesseraError as error:
        task.settle(None, error)
    except Exception as error:
        log.exception("The stage %r of a study failed", task.name)
        task.settle(None, error)
    else:
        task.settle(found, None)


class Crew:
    """See the module.

    Args:
        hands: processes for quick methods; by default one for each core but one, at most :data:`MAX_HANDS`.
        idle: seconds without work after which a process ends.
        processes: whether to use any.
    """

    def __init__(self, hands: int | None = None, idle: float = IDLE_SECONDS, processes: bool = True) -> None:
        hands = hands or max(1, min(MAX_HANDS, (os.cpu_count() or 1) - 1))
        self._lanes = {slow: _Lane(slow, 1 if slow else hands, idle, processes) for slow in (False, True)}

    def ask(self, asker: Asker, slow: bool) -> None:
        """Somebody has a question of that kind, or will soon have one: hands are made ready for it."""
        self._lanes[slow].ask(asker)

    def look(self) -> None:
        """Somebody labels: what is under way for them and is wanted no more is stopped now."""
        for lane in self._lanes.values():
            lane.look()

    def forget(self, asker: Asker) -> None:
        """Somebody has gone; what is under way for them ends by itself."""
        for lane in self._lanes.values():
            lane.forget(asker)

    @property
    def pids(self) -> list[int]:
        """Of the processes that work now."""
        return [pid for lane in self._lanes.values() for pid in lane.pids]


# That of this server; it has neither threads nor processes until somebody asks.
THE_CREW = Crew()
