"""What the first page is made of, loaded while the browser still fetches Streamlit's own script."""

from __future__ import annotations

import importlib
import threading
from functools import cache

from tessera_core._utils.loading import one_at_a_time

__all__ = ["begin", "ready"]

_FIRST_PAGE = ("tessera_core.ui.shell", "tessera_core.ui.region.page")


@cache
def begin() -> threading.Thread:
    """Start loading, once a process; the server calls it when it is about to listen."""
    one_at_a_time()
    thread = threading.Thread(target=_load, name="tessera-first-page", daemon=True)
    thread.start()
    return thread


def ready() -> None:
    """Wait until that is done."""
    begin().join()


def _load() -> None:
    for name in _FIRST_PAGE:
        importlib.import_module(name)
