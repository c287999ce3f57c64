"""A fitted head with its probabilities made bolder or more careful by one temperature; its classes stay the same."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import HeadError
from tessera_core.heads.base import Head
from tessera_core.heads.hierarchical import TreeHead
from tessera_core.heads.linear import LinearHead
from tessera_core.heads.neighbourhood import ContextHead
from tessera_core.heads.unet import UNetHead
from tessera_core.types import Floats

# A vote of no neighbour or tree is rare evidence, not proof of impossibility.
FLOOR = 1e-6


def soften(proba: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """``softmax(log(p) / temperature)`` along the last axis (temperature scaling, Guo et al., ICML 2017); NaN stays NaN."""
    logits = np.log(np.maximum(proba.astype(np.float64), FLOOR)) / temperature
    logits -= logits.max(axis=-1, keepdims=True)
    np.exp(logits, out=logits)
    return logits / logits.sum(axis=-1, keepdims=True)


def temper(head: Head, temperature: float) -> Head:
    """A copy of a fitted ``head`` whose probabilities are softened by ``temperature``, which ``softened_`` tells.

    A linear head stays one, as fast as before; so do heads over surroundings and trees of them; another head is wrapped. What
    can be saved can be saved softened.

    Raises:
        HeadError: the temperature is not positive.
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise HeadError(f"A temperature must be a positive number, not {temperature!r}.")
    softer = _softer(head, temperature)
    softer.softened_ = head.softened_ * temperature
    return softer


def _softer(head: Head, temperature: float) -> Head:
    if isinstance(head, TemperedHead):
        return _softer(head.head, head.temperature * temperature)
    if isinstance(head, LinearHead):
        softer = copy.copy(head)
        softer._set(head.coef_ / temperature, head.intercept_ / temperature)
        return softer
    if isinstance(head, ContextHead):
        around = copy.copy(head)
        around.head = temper(head.head, temperature)
        return around._take_up()
    if isinstance(head, TreeHead):
        tree = copy.copy(head)
        tree._settle(head.nodes_.tolist(), {n: temper(one, temperature) for n, one in head._heads.items()})
        return tree
    if isinstance(head, UNetHead):
        net = copy.copy(head)
        net.temperature_ = head.temperature_ * temperature
        return net
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
