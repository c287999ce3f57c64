"""Probabilities made bolder or more careful by one temperature; the class of the largest stays the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# A vote of no neighbour or tree is rare evidence, not proof of impossibility.
FLOOR = 1e-6


def temperature_scaled(proba: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """``softmax(log(p) / temperature)`` along the last axis (temperature scaling, Guo et al., ICML 2017); NaN stays NaN.

    Args:
        proba: (..., K), summing to 1 along the last axis.
        temperature: positive; above 1 makes them more alike, below 1 less.

    Example:
        >>> temperature_scaled(np.array([0.8, 0.2]), 2.0).round(3).tolist()
        [0.667, 0.333]
    """
    logits = np.log(np.maximum(proba.astype(np.float64), FLOOR)) / temperature
    logits -= logits.max(axis=-1, keepdims=True)
    np.exp(logits, out=logits)
    return logits / logits.sum(axis=-1, keepdims=True)
