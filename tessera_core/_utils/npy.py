"""Safe reading of NumPy's .npy files: memory-mapped, never pickles, one clear sentence for each thing that can be wrong."""

from __future__ import annotations

import math
import tokenize
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import InputError, RasterError
from tessera_core.gate import is_missing, open_file, unreadable

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
    path = Path(path)
    if is_missing(path):
        raise error(f"{path.name} is missing in {path.parent}; the folder is incomplete.")
    try:
        with open_file(path, error) as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(file)
            offset = file.tell()
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
    if path.stat().st_size < expected:
        raise error(
            f"{path.name} in {path.parent} is cut short: {path.stat().st_size} of {expected} bytes. Copy or download it again."
        )
    if 0 in shape:
        return np.empty(shape, dtype)
    try:
        # The header is read already; of many small files reading it twice is most of the work.
        return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")
    except OSError as cause:
        raise unreadable(path, cause, error) from cause
    except _UNREADABLE as cause:
        raise error(f"{path.name} in {path.parent} is not a NumPy .npy file.") from cause
