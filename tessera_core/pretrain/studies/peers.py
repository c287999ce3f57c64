"""Heads that a study on real pixels puts side by side, and a raw rival that is tuned as fairly as its labels allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tessera_core.heads import ForestHead, Head, LogisticHead, PrototypeHead
from tessera_core.types import Floats

# Penalties tried, from nearly none to class means; the app's own is in the middle.
PENALTIES = (0.05, 0.5, 5.0, 50.0, 500.0)
INNER = 4
HEADS = {"means": "class means", "logistic": "logistic, tuned", "forest": "random forest"}


def deal(y: NDArray[np.integer], groups: NDArray[np.integer], parts: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """A part (N,) for every row, whole groups in one: the groups of rare classes are dealt first, so that each part has some.

    Args:
        y: (N,) classes.
        groups: (N,) from 0, what must not be parted.
        parts: how many.
        rng: draws the order.
    """
    count = int(groups.max()) + 1 if len(groups) else 0
    part = np.full(count, -1)
    held = {k: np.unique(groups[y == k]) for k in np.unique(y)}
    for k in sorted(held, key=lambda k: (len(held[k]), k)):
        free = rng.permutation(held[k][part[held[k]] < 0])
        taken = np.bincount(part[held[k]][part[held[k]] >= 0], minlength=parts)
        for group in free:
            # Where the class has least of, chance among equals.
            part[group] = rng.permutation(np.flatnonzero(taken == taken.min()))[0]
            taken[part[group]] += 1
    return part[groups]


class TunedLogistic:
    """Logistic regression whose penalty is chosen by inner folds of the labels alone, whole groups held out.

    The choice is by log-loss, which few labels decide better than a count of errors. Where a class has one group only nothing
    can be held out and the penalty is the head's own.

    Attributes:
        alpha_: the penalty used.
    """

    def __init__(self, seed: int = 0, blocks: Sequence[int] = ()) -> None:
        self.seed, self.blocks = seed, blocks
        self.alpha_ = LogisticHead().alpha

    def fit(self, x: Floats, y: NDArray[np.integer], groups: NDArray[np.integer]) -> Self:
        """Choose and fit."""
        _, dense = np.unique(groups, return_inverse=True)
        folds = min(INNER, *(len(np.unique(dense[y == k])) for k in np.unique(y)))
        if folds > 1:
            part = deal(y, dense, folds, np.random.default_rng(self.seed))
            losses = [self._loss(x, y, part, alpha) for alpha in PENALTIES]
            self.alpha_ = PENALTIES[int(np.argmin(losses))]
        self._head: Head = LogisticHead(alpha=self.alpha_).fit(x, y, blocks=self.blocks)
        return self

    def predict(self, x: Floats) -> NDArray[np.integer]:
        """Class ids (N,)."""
        return np.asarray(self._head.predict(x))

    def _loss(self, x: Floats, y: NDArray[np.integer], part: NDArray[np.intp], alpha: float) -> float:
        total, count = 0.0, 0
        for k in np.unique(part):
            inside, out = part != k, part == k
            known = np.unique(y[inside])
            out &= np.isin(y, known)
            if len(known) < 2 or not out.any():
                continue
            head = LogisticHead(alpha=alpha).fit(x[inside], y[inside], blocks=self.blocks)
            proba = head.predict_proba(x[out])[np.arange(int(out.sum())), np.searchsorted(head.classes_, y[out])]
            total -= float(np.log(np.maximum(proba, 1e-6)).sum())
            count += int(out.sum())
        return total / count if count else np.inf


def predicted(
    head: str,
    x: Floats,
    y: NDArray[np.integer],
    groups: NDArray[np.integer],
    test: Floats,
    seed: int,
    blocks: Sequence[int] = (),
) -> NDArray[np.integer]:
    """Class ids of ``test`` by a head of :data:`HEADS` taught on ``x`` (N, D), ``y`` and ``groups`` (N,)."""
    if head == "logistic":
        return TunedLogistic(seed, blocks).fit(x, y, groups).predict(test)
    made = PrototypeHead() if head == "means" else ForestHead(seed=seed)
    return np.asarray(made.fit(x, y, blocks=blocks).predict(test))
