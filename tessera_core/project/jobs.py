"""Long work beside the page: jobs on one shared pool, with progress, time left and cancelling.

A job has a key, so that whoever asks for the same work (a second tab, the page after a reload) finds the running one
instead of starting it twice. It knows who waits for it: one person's "Cancel" ends that person's wait, and the work only when
nobody else is waiting. This module refuses to know what the work is and who shows it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from tessera_core.errors import BusyError, Cancelled, TesseraError
from tessera_core.types import Cancel, Progress

Work = Callable[[Progress, Cancel], Any]
State = Literal["waiting", "running", "done", "failed", "cancelled"]

log = logging.getLogger(__name__)


@dataclass
class Job:
    """One piece of work and how far it is; written by its worker thread, read by any other.

    Attributes:
        key: identity of the work; see :meth:`JobPool.start`.
        title: what people see while it runs.
        state: ``"waiting"`` for a free worker, ``"running"``, or how it ended.
        done, total, message: last progress reported, ``total`` 0 while unknown; the message names the stage.
        result: what the work returned, once ``"done"``.
        error: why it stopped, once ``"failed"``.
        abandoned: whether it was cancelled because nobody waited for it any more, rather than by a person's wish.
        left_by: the people who did not want to wait for it any longer.
    """

    key: str
    title: str
    state: State = "waiting"
    done: int = 0
    total: int = 0
    message: str = ""
    result: Any = None
    error: Exception | None = None
    abandoned: bool = False
    left_by: set[str] = field(default_factory=set)
    _waiting: dict[str, set[str]] = field(default_factory=dict)
    _started: float | None = None
    _finished: float | None = None
    _cancel: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)
    _coming: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def active(self) -> bool:
        """Whether it waits or runs."""
        return self.state in ("waiting", "running")

    @property
    def cancelling(self) -> bool:
        """Whether it was asked to stop and has not yet."""
        return self.active and self._cancel.is_set()

    @property
    def fraction(self) -> float:
        """How far it is, 0..1."""
        return min(max(self.done / self.total, 0.0), 1.0) if self.total > 0 else 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since a worker took it up."""
        if self._started is None:
            return 0.0
        return (self._finished or time.monotonic()) - self._started

    @property
    def seconds_left(self) -> float | None:
        """Estimate by the mean speed so far; None until there is enough to go by."""
        if self.state != "running" or self.fraction < 0.03 or self.elapsed < 1.0:
            return None
        return self.elapsed * (1 - self.fraction) / self.fraction

    def cancel(self) -> None:
        """Ask the work to stop at its next chance; does nothing after the end."""
        self._cancel.set()

    def abandon(self) -> None:
        """Cancel it because nobody waits for it any more."""
        if self.active and not self.cancelling:
            self.abandoned = True
        self.cancel()

    def join(self, person: str, tab: str) -> bool:
        """A person asks for it, in a tab of theirs; False, and nothing changes, where it was asked to stop."""
        with self._coming:
            if self._cancel.is_set():
                return False
            self.left_by.discard(person)
            self._waiting.setdefault(person, set()).add(tab)
            return True

    def seen(self, person: str, tab: str) -> None:
        """A person sees it in that tab, and so waits there; does nothing for who has left, who is not taken back by a look."""
        with self._coming:
            if person not in self.left_by and not self._cancel.is_set():
                self._waiting.setdefault(person, set()).add(tab)

    def awaited_by(self, person: str) -> bool:
        """Whether the person asked for it, be it in a tab that is gone."""
        return person in self._waiting

    @property
    def people(self) -> tuple[str, ...]:
        """Who waits for it."""
        return tuple(self._waiting)

    def leave(self, person: str) -> None:
        """The person waits no longer; it is cancelled unless others are there who do."""
        with self._coming:
            self._waiting.pop(person, None)
            self.left_by.add(person)
            if not any(self._waiting.values()):
                self.cancel()

    def gone(self, tab: str) -> None:
        """A tab was closed; what it waited for goes on."""
        with self._coming:
            for tabs in self._waiting.values():
                tabs.discard(tab)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it ended; False when ``timeout`` seconds were not enough."""
        return self._ended.wait(timeout)

    def _report(self, done: int, total: int, message: str = "") -> None:
        self.done, self.total = int(done), int(total)
        self.message = message or self.message

    def _run(self, work: Work) -> None:
        self._started = time.monotonic()
        try:
            if self._cancel.is_set():
                raise Cancelled()
            self.state = "running"
            self.result = work(self._report, self._cancel.is_set)
            self._end("done")
        except Cancelled:
            self._end("cancelled")
        except TesseraError as error:
            self.error = error
            self._end("failed")
        except Exception as error:
            log.exception("The job %r failed unexpectedly", self.key)
            self.error = error
            self._end("failed")

    def _end(self, state: State) -> None:
        self._finished = time.monotonic()
        self.state = state
        self._ended.set()


@dataclass(frozen=True)
class Place:
    """Where a waiting job stands.

    Attributes:
        people: how many others are before it, at work or waiting.
        seconds: until it begins, guessed by how far the others are and how long the last ones took; None while nothing is known.
    """

    people: int
    seconds: float | None


class JobPool:
    """Runs jobs on a few threads of this process, people in turn, and remembers the last job of every key.

    Args:
        workers: how many run at once.
        each: how many of one person run at once; None for as many as there are workers.
        most: how many one person may have running and waiting unless :meth:`start` says otherwise; None for any number.
    """

    def __init__(self, workers: int = 2, *, each: int | None = None, most: int | None = None) -> None:
        self._each, self._most = each or workers, most
        # How long the last ones took, for those who wait.
        self._took: deque[float] = deque(maxlen=20)
        self._jobs: dict[str, Job] = {}
        self._queues: dict[str, deque[tuple[Job, Work]]] = {}
        self._running: dict[str, int] = {}
        self._at_work: dict[str, tuple[Job, str]] = {}
        self._changed = threading.Condition()
        self._closed = False
        # Daemons: a server that is stopped does not wait for them; what they write appears only when it is whole.
        self._threads = [
            threading.Thread(target=self._serve, name=f"tessera-job_{number}", daemon=True) for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def start(self, key: str, title: str, work: Work, person: str = "", *, most: int | None = None) -> Job:
        """Run ``work(progress, cancelled)`` in the background for a person, who may have ``most`` under way.

        Returns:
            The job; the one already under way when there is one of this key.

        Raises:
            BusyError: the person has too many already.
        """
        with self._changed:
            current = self._jobs.get(key)
            if current is not None and current.active and not current.cancelling:
                return current
            mine = len(self._queues.get(person, ())) + self._running.get(person, 0)
            most = self._most if most is None else most
            if most is not None and mine >= most:
                raise BusyError(
                    f"You have {mine} pieces of work under way on this server, which is as many as each person may have. "
                    "Wait until one has ended, or cancel one."
                )
            job = self._jobs[key] = Job(key, title)
            self._queues.setdefault(person, deque()).append((job, work))
            self._changed.notify()
            return job

    def get(self, key: str) -> Job | None:
        """The last job of a key, running or ended, unless forgotten."""
        return self._jobs.get(key)

    def forget(self, key: str) -> None:
        """Drop an ended job and its result; an active one is kept."""
        with self._changed:
            job = self._jobs.get(key)
            if job is not None and not job.active:
                del self._jobs[key]

    def place(self, job: Job) -> Place | None:
        """Where a waiting job stands; None when it does not wait any more."""
        with self._changed:
            queues = {person: [one for one, _ in queue] for person, queue in self._queues.items()}
            at_work = list(self._at_work.values())
            took = sorted(self._took)
        if not any(job in queue for queue in queues.values()):
            return None
        usual = took[len(took) // 2] if took else None
        return _played(job, queues, at_work, len(self._threads), self._each, usual)

    def listed(self) -> list[tuple[Job, str]]:
        """The jobs at work, then those that wait, each with the person who asked for it first."""
        with self._changed:
            waiting = [(job, person) for person, queue in self._queues.items() for job, _ in queue]
            return [*self._at_work.values(), *waiting]

    def settle(self, seconds: float) -> list[tuple[Job, str]]:
        """Let what is under way end, up to ``seconds``; returns what did not: it is cancelled, and keeps what it has so far."""
        end = time.monotonic() + seconds
        for job, _ in self.listed():
            job.wait(max(end - time.monotonic(), 0.0))
        left = self.listed()
        for job, _ in left:
            job.cancel()
        return left

    def gone(self, tab: str) -> None:
        """A tab was closed: it waits for nothing any more."""
        with self._changed:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.gone(tab)

    def close(self, seconds: float = 10) -> None:
        """Cancel everything and free the threads, waiting for them up to ``seconds``."""
        with self._changed:
            self._closed = True
            jobs = list(self._jobs.values())
            self._changed.notify_all()
        for job in jobs:
            job.cancel()
        for thread in self._threads:
            thread.join(seconds)

    def _serve(self) -> None:
        while True:
            with self._changed:
                while (chosen := self._next()) is None and not self._closed:
                    self._changed.wait()
                if chosen is None:
                    return
                person, job, work = chosen
                self._running[person] = self._running.get(person, 0) + 1
                self._at_work[threading.current_thread().name] = job, person
            try:
                job._run(work)
            finally:
                with self._changed:
                    if job.state == "done":
                        self._took.append(job.elapsed)
                    del self._at_work[threading.current_thread().name]
                    self._running[person] -= 1
                    if not self._running[person]:
                        del self._running[person]
                    self._changed.notify_all()

    def _next(self) -> tuple[str, Job, Work] | None:
        """The first waiting job of the person who has least running; those who were served stand behind the others."""
        free = [person for person in self._queues if self._closed or self._running.get(person, 0) < self._each]
        if not free:
            return None
        person = min(free, key=lambda one: self._running.get(one, 0))
        queue = self._queues.pop(person)
        job, work = queue.popleft()
        if queue:
            self._queues[person] = queue
        return person, job, work


def _played(
    job: Job, queues: dict[str, list[Job]], at_work: list[tuple[Job, str]], workers: int, each: int, usual: float | None
) -> Place:
    """The turns as :meth:`JobPool._next` will give them out, played through until a job's own."""
    queues = {person: list(queue) for person, queue in queues.items()}
    mine = next(person for person, queue in queues.items() if job in queue)
    known = usual is not None or all(one.seconds_left is not None for one, _ in at_work)
    lasts = 60.0 if usual is None else usual
    ends = sorted((lasts if one.seconds_left is None else one.seconds_left, who) for one, who in at_work)
    now, before = 0.0, {who for _, who in ends}
    while True:
        running = Counter(who for _, who in ends)
        free = [person for person in queues if running[person] < each] if len(ends) < workers else []
        if not free:
            now, _ = ends.pop(0)
            continue
        person = min(free, key=lambda one: running[one])
        queue = queues.pop(person)
        if queue.pop(0) is job:
            return Place(len(before - {mine}), now if known else None)
        if queue:
            queues[person] = queue
        before.add(person)
        # A turn that nobody can guess is taken for a usual one.
        known = known and usual is not None
        ends = sorted([*ends, (now + lasts, person)])
