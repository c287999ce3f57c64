"""One checksum of named arrays and the text that describes them, kept with saved weights so that changed bytes are noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Name of the checksum in a safetensors file's metadata.
CHECKSUM = "sha256"


def checksum(text: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Hexadecimal SHA-256 of a text and of arrays with their names, types and shapes, in the order of the names."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.reshape(-1).view(np.uint8))
    return digest.hexdigest()
