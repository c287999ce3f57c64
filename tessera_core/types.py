"""The words that signatures share: what a progress report is, a bounding box, an array of bytes.

One home, so that an alias means the same in every module. Arrays say their dtype here and their shape in the docstring
of whoever takes them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BBox",
    "Bools",
    "Bytes",
    "Cancel",
    "Codes",
    "Doubles",
    "Floats",
    "Index",
    "Ints",
    "LonLat",
    "PixelBox",
    "Progress",
    "Reals",
    "Window",
]

Progress = Callable[[int, int, str], None]
"""``progress(done, total, message)``; `total` may change on the way."""

Cancel = Callable[[], bool]
"""``cancelled()`` is asked between pieces of work; where it is true the work raises `errors.Cancelled`."""

BBox = tuple[float, float, float, float]
"""``(west, south, east, north)``: degrees of WGS 84, or metres where the docstring says so."""

LonLat = tuple[float, float]
"""``(longitude, latitude)`` in degrees, always in that order."""

Window = tuple[slice, slice]
"""Rows and columns of an array: ``array[window]``."""

PixelBox = tuple[int, int, int, int]
"""``(top, left, bottom, right)`` in pixels, the last two not included."""

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Reals = NDArray[np.floating]
Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Index = NDArray[np.intp]

Codes = tuple[NDArray[np.int8], Floats]
"""Codes (H, W, D) and their scales (H, W): a value is code * scale."""
