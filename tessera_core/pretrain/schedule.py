"""The learning rate over a run: linear warm-up, optional plateau, cosine to zero (docs/spec/model.md section 5)."""

from __future__ import annotations

import math


def learning_rate(step: int, total: int, base: float, warmup: float = 0.1, plateau: float = 0.0) -> float:
    """Learning rate of ``step`` (0-based) of ``total``.

    Args:
        step: step about to be taken.
        total: number of steps of the run.
        base: peak value.
        warmup: share of the steps that rise linearly from 0.
        plateau: share of the steps that stay at the peak before the cosine.
    """
    rise, flat = math.floor(warmup * total), math.floor(plateau * total)
    if step < rise:
        return base * step / rise
    if step < rise + flat:
        return base
    progress = (step - rise - flat) / max(1, total - rise - flat)
    return base * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
