"""How a process of many threads gives memory back: what was freed does not wait for the next like it."""

from __future__ import annotations

import ctypes
import sys

# Of glibc's <malloc.h>.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_MEGABYTE = 1 << 20


def give_back() -> bool:
    """Hold glibc to two arenas, and to returning what is larger than a megabyte as soon as it is freed; whether it could be told.

    Left alone it keeps up to 32 MB of each kind of array that was ever freed, in an arena for each few threads: a server whose
    pictures are made in many threads kept 50 MB for nothing. Arrays of a megabyte cost a page fault for each 4 KB instead, far
    less than what is computed with them. Other systems' libraries do so by themselves, or not at all.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    told = [
        mallopt(what, value)
        for what, value in ((_ARENA_MAX, 2), (_MMAP_THRESHOLD, _MEGABYTE), (_TRIM_THRESHOLD, _MEGABYTE))
    ]
    return all(told)
