"""A fitted head with its probabilities made bolder or more careful by one temperature; its classes stay the same."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import HeadError
from tessera_core.heads.base import Floats, Head
from tessera_core.heads.linear import LinearHead

# A vote of no neighbour or tree is rare evidence, not proof of impossibility.
FLOOR = 1e-6


def soften(proba: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """``softmax(log(p) / temperature)`` along the last axis (temperature scaling, Guo et al., ICML 2017); NaN stays NaN."""
    logits = np.log(np.maximum(proba.astype(np.float64), FLOOR)) / temperature
    logits -= logits.max(axis=-1, keepdims=True)
    np.exp(logits, out=logits)
    return logits / logits.sum(axis=-1, keepdims=True)


def temper(head: Head, temperature: float) -> Head:
    """A copy of a fitted ``head`` whose probabilities are softened by ``temperature``.

    A linear head stays one, as fast as before and fit to be saved; another head is wrapped.

    Raises:
        HeadError: the temperature is not positive.
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise HeadError(f"A temperature must be a positive number, not {temperature!r}.")
    if isinstance(head, LinearHead):
        softer = copy.copy(head)
        softer._set(head.coef_ / temperature, head.intercept_ / temperature)
        return softer
    wrapped = TemperedHead(head, temperature)
    wrapped.classes_, wrapped.n_features_in_, wrapped.n_ignored_ = head.classes_, head.n_features_in_, head.n_ignored_
    return wrapped


class TemperedHead(Head):
    """See :func:`temper`.

    Args:
        head: fitted.
        temperature: above 1 makes it more careful, below 1 bolder.
    """

    def __init__(self, head: Head, temperature: float) -> None:
        self.head = head
        self.temperature = temperature

    def _proba(self, X: Floats) -> NDArray[Any]:
        return soften(self.head._proba(X), self.temperature)
