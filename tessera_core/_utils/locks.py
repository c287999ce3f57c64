"""Locks between processes, and between two handles of one process, on an open file.

The system frees them when a process dies, however it dies. The file that is locked is the one that is written, so that no
file lies beside it and readers of a folder that they cannot write in take part as well.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

from filelock import lock_descriptor, unlock_descriptor

# Between two looks at a lock that somebody else holds.
LOOK_S = 0.005
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
# What a network share answers where only reading was asked for.
_NO_LOCKS_FOR_READERS = (errno.EBADF, *_NO_LOCKS)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def locked(file: IO[bytes], *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of an open file alone.

    Args:
        file: open for writing.
        wait: until it is free; otherwise say at once that it is not.

    Raises:
        BlockingIOError: another holds it and ``wait`` is false.
        OSError: the file system has no locks; ``strerror`` says so.
    """
    try:
        got = lock_descriptor(file.fileno(), blocking=wait, poll_interval=LOOK_S)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        why = "files cannot be locked there, as on some network shares; keep it on a disk of this computer"
        raise OSError(error.errno, why) from error
    if not got:
        raise BlockingIOError(errno.EWOULDBLOCK, "somebody else is writing it")
    try:
        yield
    finally:
        # What was written belongs to the disk before others may look.
        if file.writable():
            file.flush()
        unlock_descriptor(file.fileno())


@contextmanager
def alone(path: Path, *, wait: bool = True, passing: bool = False) -> Iterator[None]:
    """Hold a lock file, which is made if need be.

    Args:
        path: the file, where all who come meet.
        wait: until it is free; otherwise say at once that it is not.
        passing: remove it at the end, where the system lets go of open files.

    Raises:
        BlockingIOError: another holds it and ``wait`` is false.
        OSError: it cannot be made, or the file system has no locks.
    """
    while True:
        with path.open("ab") as file, locked(file, wait=wait):
            if not _is_at(file, path):
                # Whoever held it has removed it; others meet at a new one by now.
                continue
            try:
                yield
            finally:
                if passing:
                    with suppress(OSError):
                        path.unlink()
            return


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """A file open for reading that nobody writes meanwhile.

    Without the lock where this program may not write, and the file system locks for writers only.

    Raises:
        OSError: it cannot be read.
    """
    try:
        file: BinaryIO = path.open("r+b")
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        file = path.open("rb")
    with file:
        try:
            held = lock_descriptor(file.fileno(), poll_interval=LOOK_S)
        except OSError as error:
            if error.errno not in _NO_LOCKS_FOR_READERS:
                raise
            held = False
        try:
            yield file
        finally:
            if held:
                unlock_descriptor(file.fileno())
