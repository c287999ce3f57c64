"""Embeddings to int8 codes with one scale per pixel, by the two published rules (spec 3).

Dequantising is ``code * scale`` and lives with the rasters.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tessera_core.models.config import QuantiserRule


def quantise(x: NDArray[np.float32], rule: QuantiserRule) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Quantise vectors; cut a prefix off before, not after.

    ``"v1"`` (v1.0 QAT, v1.1): ``scale = max(max|x| / 127, 1e-8)``; codes -128..127. ``"v2"``: ``scale = max(max|x|, 1e-12) /
    127``; codes -127..127. Both round half to even, in float32. A vector that is not finite becomes no data: code 0, scale NaN.

    Args:
        x: (..., D) float32.
        rule: ``"v1"`` or ``"v2"``.

    Returns:
        codes int8 (..., D) and scales float32 (...).
    """
    rules: dict[str, Callable[[NDArray], NDArray]] = {
        "v1": lambda peak: np.maximum(peak / np.float32(127), np.float32(1e-8)),
        "v2": lambda peak: np.maximum(peak, np.float32(1e-12)) / np.float32(127),
    }
    if rule not in rules:
        raise ValueError(f"unknown quantiser rule {rule!r}")
    x = np.asarray(x, np.float32)
    scales = rules[rule](np.abs(x).max(axis=-1, initial=0))
    usable = np.isfinite(scales)
    scales = np.where(usable, scales, np.float32(np.nan))
    lowest = -128 if rule == "v1" else -127
    safe = np.where(usable, scales, np.float32(1))[..., None]
    rounded = np.rint(np.where(usable[..., None], x, np.float32(0)) / safe)
    return np.clip(rounded, lowest, 127).astype(np.int8), scales
