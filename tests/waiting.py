"""Waiting for what a test needs until it is there: one patience for machines however busy, no guess how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

# Long enough for a computer that does ten other things; only a test that fails waits so long.
PATIENCE_S = 120


def eventually[T](
    ready: Callable[[], T],
    what: str | Callable[[], object] = "",
    every: float = 0.02,
    pause: Callable[[float], object] = time.sleep,
) -> T:
    """What ``ready()`` returns as soon as that counts as true; otherwise the test fails and says ``what`` it had hoped for.

    It asks ``every`` so many seconds, which ``pause`` spends.
    """
    end = time.monotonic() + PATIENCE_S
    while not (found := ready()):
        if time.monotonic() > end:
            pytest.fail(f"waited {PATIENCE_S} s in vain: {what() if callable(what) else what or ready}")
        pause(every)
    return found


def run_until[T](app: AppTest, ready: Callable[[], T]) -> T:
    """Run a page again, as its polling does, until ``ready()`` counts as true, and return that; an exception on the page fails.

    In between it waits for what the page has started in the background, so that a page is not run more often than it changes.
    """
    from tessera_core.ui import jobs

    def again() -> T:
        for job in list(jobs._pool()._jobs.values()):
            job.wait(1)
        app.run()
        assert not app.exception, [str(exception.value) for exception in app.exception]
        return ready()

    return ready() or eventually(again, lambda: f"the page says {shown(app)}", every=0.1)


def shown(app: AppTest) -> str:
    """All that a page says in words."""
    kinds = (app.title, app.header, app.markdown, app.caption, app.info, app.warning, app.success, app.error)
    return "\n".join(str(element.value) for elements in kinds for element in elements)
