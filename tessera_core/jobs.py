"""Long work beside the page: jobs on one shared pool, with progress, time left and cancelling.

A job has a key, so that whoever asks for the same work (a second tab, the page after a reload) finds the running one
instead of starting it twice. This module refuses to know what the work is and who shows it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from tessera_core.errors import Cancelled, TesseraError

Progress = Callable[[int, int, str], None]
Work = Callable[[Progress, Callable[[], bool]], Any]
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
    _started: float | None = None
    _finished: float | None = None
    _cancel: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)

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


class JobPool:
    """Runs jobs on a few threads of this process, and remembers the last job of every key."""

    def __init__(self, workers: int = 2) -> None:
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="tessera-job")
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def start(self, key: str, title: str, work: Work) -> Job:
        """Run ``work(progress, cancelled)`` in the background.

        Returns:
            The job; the one already under way when there is one of this key.
        """
        with self._lock:
            current = self._jobs.get(key)
            if current is not None and current.active and not current.cancelling:
                return current
            job = self._jobs[key] = Job(key, title)
            self._executor.submit(job._run, work)
            return job

    def get(self, key: str) -> Job | None:
        """The last job of a key, running or ended, unless forgotten."""
        return self._jobs.get(key)

    def forget(self, key: str) -> None:
        """Drop an ended job and its result; an active one is kept."""
        with self._lock:
            job = self._jobs.get(key)
            if job is not None and not job.active:
                del self._jobs[key]

    def close(self) -> None:
        """Cancel everything and free the threads."""
        for job in list(self._jobs.values()):
            job.cancel()
        self._executor.shutdown(wait=True, cancel_futures=True)
