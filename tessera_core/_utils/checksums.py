"""One checksum of named arrays and the text that describes them, kept with saved weights so that changed bytes are noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Where a header keeps the checksum of itself and its arrays. One text, as the order of several would be left to chance.
KEY = "sha256"


def sealed(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """A header of JSON values with the checksum of what else is in it and of the arrays."""
    return {**header, KEY: checksum(_text(header), arrays)}


def is_sound(written: str, arrays: Mapping[str, NDArray[Any]]) -> bool:
    """Whether a header and arrays are as they were sealed; files of older versions, and of others, carry no checksum.

    Args:
        written: the header's JSON object as it lies in the file, since what reads it may mend letters in it.
        arrays: by name.
    """
    header = json.loads(written.removeprefix("\ufeff"))
    rest = {key: value for key, value in header.items() if key != KEY}
    return KEY not in header or header[KEY] == checksum(_text(rest), arrays)


def _text(header: Mapping[str, Any]) -> str:
    return json.dumps(header, sort_keys=True)


def checksum(text: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Hexadecimal SHA-256 of a text and of arrays with their names, types and shapes, in the order of the names."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.reshape(-1).view(np.uint8))
    return digest.hexdigest()
