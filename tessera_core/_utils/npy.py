"""Safe reading of NumPy's .npy files: memory-mapped, never pickles, one clear sentence for each thing that can be wrong."""

from __future__ import annotations

import functools
import io
import math
import os
import tokenize
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tessera_core._utils.paths import as_path
from tessera_core.errors import InputError, RasterError
from tessera_core.gate import is_missing, open_file, unreadable

# NumPy's own headers have 128 bytes, and it reads none of more than 10,000 characters.
_LARGEST_HEADER = 1 << 16
# What NumPy's header parser raises on bytes that are no header, besides ValueError.
_UNREADABLE = (
    ValueError,
    EOFError,
    TypeError,
    SyntaxError,
    MemoryError,
    RecursionError,
    OverflowError,
    tokenize.TokenError,
)


def load_npy(path: str | Path, error: type[InputError] = RasterError) -> NDArray:
    """Memory-map a ``.npy`` file read-only; pickles are never loaded.

    Raises:
        error: (the given class) the file is missing, truncated, no .npy file, or holds Python objects.
    """
    path = as_path(path)
    try:
        file = open_file(path, error)
    except error as cause:
        if is_missing(path):
            raise error(f"{path.name} is missing in {path.parent}; the folder is incomplete.") from cause
        raise
    with file:
        return _mapped(file, path, error)


def _mapped(file: BinaryIO, path: Path, error: type[InputError]) -> NDArray:
    try:
        shape, fortran, dtype, offset = _header(_header_bytes(file))
        size = os.fstat(file.fileno()).st_size
    except OSError as cause:
        raise unreadable(path, cause, error) from cause
    except _UNREADABLE as cause:
        raise error(f"{path.name} in {path.parent} is not a NumPy .npy file.") from cause
    if any(isinstance(side, bool) or side < 0 for side in shape):
        raise error(f"{path.name} in {path.parent} is not a NumPy .npy file: its shape {shape} is impossible.")
    if dtype.hasobject:
        raise error(
            f"{path.name} in {path.parent} holds pickled Python objects, which are never loaded; save it as a plain array."
        )
    expected = offset + math.prod(shape) * dtype.itemsize
    if size < expected:
        raise error(
            f"{path.name} in {path.parent} is cut short: {size} of {expected} bytes. Copy or download it again."
        )
    if 0 in shape:
        return np.empty(shape, dtype)
    try:
        # The header is read and the file open already; of many small files doing either twice is most of the work.
        found = np.memmap(file, dtype, "r", offset, shape, "F" if fortran else "C")
    except OSError as cause:
        raise unreadable(path, cause, error) from cause
    except _UNREADABLE as cause:
        raise error(f"{path.name} in {path.parent} is not a NumPy .npy file.") from cause
    # By which others tell which file it is, whether it has changed since, and that nothing of it lies in memory.
    found.filename = path.resolve()  # type: ignore[misc,assignment]
    return found


def _header_bytes(file: BinaryIO) -> bytes:
    """What stands before the numbers, or what there is of it."""
    start = file.read(12)
    # The length has two bytes in the first version and four in others.
    width = 2 if start[6:7] == b"\x01" else 4
    ends = 8 + width + int.from_bytes(start[8 : 8 + width], "little")
    return start + file.read(max(0, min(ends, _LARGEST_HEADER) - len(start)))


# The tiles of a folder have the same few headers, which are Python expressions and dear to read.
@functools.lru_cache(maxsize=64)
def _header(data: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, whether columns come first, dtype, and where the numbers begin."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    return shape, fortran, dtype, file.tell()


def new_npy(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """A new .npy, mapped to be written, with its room taken first: a page of a full disk would end the whole program (SIGBUS).

    Raises:
        OSError: the disk has no room for it.
    """
    array = np.lib.format.open_memmap(path, "w+", np.dtype(dtype), shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array
