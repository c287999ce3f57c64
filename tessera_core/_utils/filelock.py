"""An advisory lock on an open file, between processes and between two handles of one process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

if sys.platform == "win32":
    import msvcrt

    # Windows locks are mandatory, so a byte far beyond any content is locked instead of the content itself.
    _FAR = 1 << 40

    @contextmanager
    def locked(file: IO[bytes], *, shared: bool = False) -> Iterator[None]:
        """Hold the lock of ``file`` (always exclusive on Windows); waits up to ten seconds."""
        place = file.tell()
        file.seek(_FAR)
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        file.seek(place)
        try:
            yield
        finally:
            file.flush() if file.writable() else None
            file.seek(_FAR)
            msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    @contextmanager
    def locked(file: IO[bytes], *, shared: bool = False) -> Iterator[None]:
        """Hold the lock of ``file``, exclusive unless ``shared``; waits until it is free."""
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
