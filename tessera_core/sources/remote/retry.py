"""Trying again what a server did not answer: the one place that says how often and after which waits."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from tessera_core.errors import AcquisitionError, Cancelled
from tessera_core.sources.remote.resilient import PieceError
from tessera_core.types import Cancel

ATTEMPTS = 5
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 20.0
_LOOK_S = 0.05


def never() -> bool:
    """A `Cancel` that nobody gives."""
    return False


def tries[T](work: Callable[[bool], T], attempts: int, stopped: Cancel = never) -> T:
    """The result of ``work``, tried again with growing waits while it raises :class:`PieceError`.

    Args:
        work: is told whether this is its last try.
        attempts: at most; at least one is made.
        stopped: asked before each further try and during the waits; where it is true there are no more.

    Raises:
        PieceError: of the last try that was made.
    """
    for attempt in range(max(1, attempts)):
        last = attempt >= attempts - 1
        try:
            return work(last)
        except PieceError:
            if last or _waited(attempt, stopped):
                raise
    raise AssertionError("unreachable")


def with_retries[T](work: Callable[[], T], what: str, attempts: int, cancelled: Cancel | None) -> T:
    """The result of ``work``, tried again while it raises :class:`PieceError`, else a sentence for a person.

    Raises:
        AcquisitionError: it never succeeded.
        Cancelled: ``cancelled`` returned true.
    """
    cancelled = cancelled or never
    try:
        return tries(lambda _: work(), attempts, cancelled)
    except PieceError as error:
        if cancelled():
            raise Cancelled() from None
        raise AcquisitionError(
            f"Cannot read {what}: {error}. Check the address and your connection; regions in the cache open without it."
        ) from error


def _waited(attempt: int, stopped: Cancel) -> bool:
    """Wait before the next try; whether it is not to be made."""
    wait_s = min(FIRST_WAIT_S * 2**attempt, LONGEST_WAIT_S) * random.uniform(0.75, 1.25)
    deadline = time.monotonic() + wait_s
    while not stopped():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(left, _LOOK_S))
    return True
