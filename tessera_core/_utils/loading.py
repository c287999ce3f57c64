"""Libraries are loaded by one thread at a time.

Python locks each module by itself. Two threads that load modules which import each other wait for each other's; Python sees that
and lets one go on with a module that is not complete: "cannot import name … from partially initialized module". A server that has
just started meets it, when several people open pages of it at once, each of which loads other parts of SciPy. One lock for all
modules leaves nothing to wait for crosswise.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["one_at_a_time"]

# After which a thread goes on without: a module that waits for another thread while it is loaded must not stop all.
PATIENCE_S = 120.0

_loading = threading.RLock()
# By which the interpreter finds a module that is not there, and waits for one that another thread is loading.
_DOORS = ("_find_and_load", "_lock_unlock_module")


def one_at_a_time() -> None:
    """From now on let one thread of this process load modules at a time; safe to call again.

    What is loaded already is found as quickly as before; what is not waits until the other thread's is there.
    """
    bootstrap = importlib._bootstrap
    for name in _DOORS:
        door = getattr(bootstrap, name)
        if hasattr(door, "__wrapped__"):
            return
        setattr(bootstrap, name, _guarded(door))
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_begin_anew)


def _guarded(door: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(door)
    def alone(name: str, *args: Any) -> Any:
        known = sys.modules.get(name)
        if known is not None and not getattr(getattr(known, "__spec__", None), "_initializing", False):
            return door(name, *args)
        lock = _loading
        held = lock.acquire(timeout=PATIENCE_S)
        try:
            return door(name, *args)
        finally:
            if held:
                lock.release()

    return alone


def _begin_anew() -> None:
    """A forked child has none of the threads that may hold the lock."""
    global _loading
    _loading = threading.RLock()
