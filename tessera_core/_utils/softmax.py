"""Soft-max, its logarithm's sum and its largest share, in float32 or float64 as given; all along one axis."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def softmax[F: np.floating](logits: NDArray[F], axis: int) -> NDArray[F]:
    """``exp(x) / sum(exp(x))`` along ``axis``, whose entries add up to 1."""
    shares: NDArray[F] = np.exp(logits - logits.max(axis=axis, keepdims=True))
    shares /= shares.sum(axis=axis, keepdims=True)
    return shares


def logsumexp(logits: NDArray[np.floating], axis: int) -> NDArray[Any]:
    """``log(sum(exp(x)))`` along ``axis``, without overflow."""
    top = logits.max(axis=axis, keepdims=True)
    return np.log(np.exp(logits - top).sum(axis=axis)) + top.squeeze(axis)


def largest_of(
    logits: NDArray[np.floating], with_percent: bool, temperature: float = 1.0
) -> tuple[NDArray[np.uint8], NDArray[Any], NDArray[np.uint8] | None]:
    """Of classes along the first axis (K, ...), at most 256: which is the first largest, its logit, its soft-max in percent.

    Args:
        logits: changed where ``with_percent``.
        with_percent: whether the soft-max is wanted; None is returned for it otherwise.
        temperature: logits are divided by it for the soft-max alone.
    """
    top = logits.max(axis=0)
    index = np.zeros(top.shape, np.uint8)
    # Comparing row by row is several times as quick as argmax along the first axis.
    for k in range(len(logits) - 1, -1, -1):
        index[logits[k] == top] = k
    if not with_percent:
        return index, top, None
    logits -= top
    logits *= logits.dtype.type(1 / temperature)
    # The largest probability is 1 / sum(exp(logit - top)).
    total = np.exp(logits, out=logits).sum(axis=0)
    return index, top, np.rint(100 / total).astype(np.uint8)
