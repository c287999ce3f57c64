"""Work done in shares by several processes: of this machine, or of whatever executor is given.

A task takes a :class:`~tessera_core._utils.share.Share` and finds what is left of it to do, so that a share whose worker was
lost is simply begun again. Nothing but names and paths travels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from dataclasses import dataclass
from typing import Any

from tessera_core._utils.share import Share
from tessera_core.errors import Cancelled, ExportError, InputError, TesseraError
from tessera_core.types import Cancel, Progress

# Shares for each worker: a slow one leaves the others little to wait for.
PER_WORKER = 4
RETRIES = 2


# Read by the libraries when they are imported.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def processes(workers: int) -> Executor:
    """Processes of this machine, each computing with one thread.

    Not those of the standard library: they run the main script anew, and below a page that is the page.
    """
    from joblib.externals.loky import ProcessPoolExecutor

    pool: Executor = ProcessPoolExecutor(workers, env=_ONE_THREAD)
    return pool


@dataclass(frozen=True)
class _Refused:
    """An error on its way from a worker: some cannot be sent as they are."""

    message: str
    input: bool


@dataclass(frozen=True)
class _Task[R]:
    task: Callable[[Share], R]

    def __call__(self, share: Share) -> R | _Refused:
        try:
            return self.task(share)
        except TesseraError as error:
            return _Refused(str(error), isinstance(error, InputError))


def spread[R](
    task: Callable[[Share], R],
    share: Share,
    workers: int,
    *,
    executor: Callable[[int], Executor] = processes,
    retries: int = RETRIES,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> list[R]:
    """Do a share in smaller ones, several at a time.

    Args:
        task: does one share; can be sent to another process.
        share: to be done here.
        workers: processes.
        executor: makes what runs them (anything with ``submit`` and ``shutdown``), also anew after a worker was lost.
        retries: how often workers may be lost, or the system refuse something, with no share finished in between.
        progress: shares done and in all.

    Returns:
        What the task returned for each part, in order.

    Raises:
        InputError, ExportError: the task refused, or a worker was lost too often.
        Cancelled: ``cancelled`` returned true.
    """
    parts = share.split(PER_WORKER * workers)
    done: dict[Share, R] = {}
    lost, before = 0, 0
    while todo := [part for part in parts if part not in done]:
        failure: Exception | None = None
        with executor(workers) as pool:
            futures = {pool.submit(_Task(task), part): part for part in todo}
            for future in as_completed(futures):
                try:
                    found = future.result()
                    if cancelled is not None and cancelled():
                        raise Cancelled
                except (BrokenExecutor, OSError) as error:
                    # Those that only waited beside the lost one end like it: nobody can tell them apart.
                    failure = error
                    continue
                except BaseException:
                    _call_off(futures)
                    raise
                if isinstance(found, _Refused):
                    _call_off(futures)
                    raise (InputError if found.input else ExportError)(found.message)
                done[futures[future]] = found
                if progress is not None:
                    progress(len(done), len(parts), "shares")
        if failure is not None:
            lost = 1 if len(done) > before else lost + 1
            before = len(done)
            if lost > retries:
                times = f"{lost} times in a row " if lost > 1 else ""
                raise ExportError(
                    f"A worker was lost or refused by the system {times}({failure}); perhaps memory is short. "
                    "Run the same command again, with fewer --workers: what was finished is kept."
                ) from failure
    return [done[part] for part in parts]


def _call_off(futures: Iterable[Future[Any]]) -> None:
    """Let what has not begun not begin; not every executor can say so of all at once."""
    for future in futures:
        future.cancel()
