"""Worker threads for work of milliseconds: one per core, each computing alone.

torch's own threads meet at a barrier in every operation; with another job on the cores a fit of 2 ms then takes 40 to 700 ms
(measured, docs/performance.md). Here each block of pixels, or one whole fit, is computed by one thread from end to end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch

_lock = threading.Lock()


def _stay_alone() -> None:
    """Torch in this thread uses this thread only, from now on.

    torch keeps the number of threads for each thread, beside one for threads to come, which a thread takes over when it first
    asks for it. So it is asked here, before the number for threads to come is put back.
    """
    torch.set_num_threads(1)
    torch.get_num_threads()


@lru_cache(maxsize=1)
def _make_pool() -> tuple[ThreadPoolExecutor, int]:
    workers = torch.get_num_threads()
    started = threading.Barrier(workers + 1)

    def alone() -> None:
        _stay_alone()
        started.wait()

    pool = ThreadPoolExecutor(workers, thread_name_prefix="tessera-heads", initializer=alone)
    for _ in range(workers):
        pool.submit(int)
    started.wait()
    torch.set_num_threads(workers)
    return pool, workers


def _pool() -> tuple[ThreadPoolExecutor, int]:
    with _lock:
        return _make_pool()


def run_alone[T](work: Callable[[], T]) -> T:
    """The result of ``work``, computed by a single thread. Not to be called by work that itself runs here."""
    return _pool()[0].submit(work).result()


def run_beside[T](work: Callable[[], T]) -> T:
    """The result of long ``work``, computed by a single thread of its own, so that short work finds the others free."""
    with _lock:
        workers = torch.get_num_threads()
        pool = ThreadPoolExecutor(1, thread_name_prefix="tessera-beside", initializer=_stay_alone)
        pool.submit(int).result()
        torch.set_num_threads(workers)
    with pool:
        return pool.submit(work).result()


def run_blocks(work: Callable[[slice], None], n: int, block: int) -> None:
    """Call ``work`` for all slices of ``block`` items of ``n``, each by one thread; whichever is free takes the next."""
    slices = [slice(start, min(start + block, n)) for start in range(0, n, block)]
    if len(slices) < 2:
        for part in slices:
            work(part)
        return
    pool, workers = _pool()
    todo = iter(slices)

    def drain() -> None:
        while (part := next(todo, None)) is not None:
            work(part)

    # A list iterator hands each slice to one thread only: its step is atomic under the interpreter lock.
    tasks = [pool.submit(drain) for _ in range(min(workers, len(slices)))]
    for task in tasks:
        task.result()
