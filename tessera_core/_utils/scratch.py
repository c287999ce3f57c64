"""Large arrays that need not lie in memory: in a file without a name, which the system's cache holds as far as there is room."""

from __future__ import annotations

import os
import shutil
import tempfile

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.paths import cache_home

# Arrays of fewer bytes are not worth a file.
LEAST = 4 << 20
# How many times the array must be free on the disk, and bytes written at a time.
MARGIN, CHUNK = 4, 1 << 20


def scratch(shape: tuple[int, ...], fill: int) -> NDArray[np.uint8]:
    """An array uint8 of any shape, each of its values ``fill``, that takes no memory which the system cannot have back.

    It lies in the cache folder, in a file that is gone when the array is, or the process. Where the disk has no room for it, or
    there is no such folder, it lies in memory after all.

    Example:
        >>> scratch((2, 3), 7).tolist()
        [[7, 7, 7], [7, 7, 7]]
    """
    size = int(np.prod(shape))
    if size >= LEAST and hasattr(os, "posix_fallocate"):
        try:
            folder = cache_home() / "scratch"
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                # Room that is found missing later, when a page is written, would end the process. Disks that compress, or that
                # write a changed page to a new place, promise none: of what is free, some is left for them and for others.
                if shutil.disk_usage(folder).free < MARGIN * size:
                    return np.full(shape, fill, np.uint8)
                os.posix_fallocate(file.fileno(), 0, size)
                found = np.asarray(np.memmap(file, np.uint8, "r+", shape=shape))
                _write(file.fileno(), size, fill)
                return found
        except OSError:
            # Nowhere to put it, or no room there.
            return np.full(shape, fill, np.uint8)
    return np.full(shape, fill, np.uint8)


def _write(file: int, size: int, fill: int) -> None:
    """Fill a file by writing to it, which raises OSError where there is no room; writing to memory that it lies in does not."""
    chunk = bytes([fill]) * min(CHUNK, size)
    os.lseek(file, 0, os.SEEK_SET)
    left = size
    while left:
        left -= os.write(file, chunk[:left])
