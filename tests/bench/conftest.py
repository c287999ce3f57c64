"""Fixtures of the benchmarks' tests."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest


@pytest.fixture
def apart() -> Callable[..., Any]:
    """Call a function in a thread of its own: a browser that other tests keep leaves an event loop in theirs."""

    def call(function: Callable[..., Any], *arguments: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(function, *arguments).result()

    return call
