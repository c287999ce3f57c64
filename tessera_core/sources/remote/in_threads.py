"""Many requests side by side, whose answers are taken one by one where they were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from tessera_core.errors import Cancelled
from tessera_core.types import Cancel, Progress

# Between two looks at whether somebody wants to stop.
LOOK_S = 0.1


def in_threads[Job, Answer](
    work: Callable[[Job], Answer],
    jobs: Iterable[Job],
    threads: int,
    take: Callable[[Answer], None],
    message: str,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> None:
    """Do jobs in threads; where one fails, or somebody stops, those that wait are not begun.

    Args:
        work: what is done with a job, in a thread of its own.
        take: gets each answer, in this thread and in any order.
        message: for ``progress``, which is told how many of the jobs are done.

    Raises:
        Cancelled: ``cancelled`` returned true.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="requests") as pool:
        queue: set[Future[Answer]] = {pool.submit(work, job) for job in jobs}
        total, done = len(queue), 0
        try:
            while queue:
                finished, queue = wait(queue, timeout=LOOK_S, return_when=FIRST_COMPLETED)
                for future in finished:
                    take(future.result())
                    done += 1
                if progress is not None:
                    progress(done, total, message)
                if cancelled is not None and cancelled():
                    raise Cancelled()
        except BaseException:
            for future in queue:
                future.cancel()
            raise
