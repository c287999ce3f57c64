"""Worker threads for work of milliseconds: one per core, each computing alone.

Threads of a linear-algebra library meet at a barrier in every operation; with another job on the cores a fit of 2 ms then takes 40
to 700 ms (measured, docs/performance.md). Here each block of pixels, or one whole fit, is computed by one thread from end to
end, and while any is, NumPy's and SciPy's libraries keep to the thread that calls them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

_lock = threading.Lock()
_busy = 0
_held: Any = None


@lru_cache(maxsize=1)
def cores() -> int:
    """Cores this process may use: of its affinity, its container's share and ``OMP_NUM_THREADS``, the fewest."""
    few = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text("ascii").split()
        few.append(max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):
        # No container, or one without a limit ("max").
        few.append(few[0])
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return min(*few, max(1, int(wanted)) if wanted.isdecimal() else few[0])


@lru_cache(maxsize=1)
def _libraries() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


@contextmanager
def single_blas() -> Iterator[None]:
    """While the body runs, in any number of threads at once, BLAS computes in the thread that calls it.

    The number of its threads is one of the whole process: the first to come sets it, the last to go gives back what it was.
    """
    global _busy, _held
    with _lock:
        if not _busy:
            _held = _libraries().limit(limits=1)
        _busy += 1
    try:
        yield
    finally:
        with _lock:
            _busy -= 1
            if not _busy:
                _held.restore_original_limits()


@lru_cache(maxsize=1)
def _make_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), thread_name_prefix="tessera-heads")


def _pool() -> ThreadPoolExecutor:
    with _lock:
        return _make_pool()


def run_alone[T](work: Callable[[], T]) -> T:
    """The result of ``work``, computed by a single thread. Not to be called by work that itself runs here."""
    with single_blas():
        return _pool().submit(work).result()


def run_beside[T](work: Callable[[], T]) -> T:
    """The result of long ``work``, computed by the thread that asks, so that short work finds the others free."""
    with single_blas():
        return work()


def run_blocks(work: Callable[[slice], None], n: int, block: int) -> None:
    """Call ``work`` for all slices of ``block`` items of ``n``, each by one thread; whichever is free takes the next."""
    slices = [slice(start, min(start + block, n)) for start in range(0, n, block)]
    with single_blas():
        if len(slices) < 2:
            for part in slices:
                work(part)
            return
        pool = _pool()
        todo = iter(slices)

        def drain() -> None:
            while (part := next(todo, None)) is not None:
                work(part)

        # A list iterator hands each slice to one thread only: its step is atomic under the interpreter lock.
        tasks = [pool.submit(drain) for _ in range(min(cores(), len(slices)))]
        for task in tasks:
            task.result()
