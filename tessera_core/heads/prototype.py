"""Nearest prototype: each class is the mean of its labels, compared in a shrunken common covariance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.softmax import logsumexp
from tessera_core.errors import HeadError
from tessera_core.heads.linear import LinearHead
from tessera_core.heads.training import ClassWeight, independent, one_hot
from tessera_core.types import Floats

TEMPERATURES = np.geomspace(1, 100, 11)
DEFAULT_TEMPERATURE = 10.0
# What a label weighs against the prior on the covariance; where there are enough labels to tell, two larger ones and a smaller
# are tried.
GAIN, TRIED, MIN_FREE = 3.0, (10.0, 30.0, 1.0), 10


class PrototypeHead(LinearHead):
    """Nearest class mean in the metric of a pooled, shrunken covariance.

    This is linear discriminant analysis with the covariance regularised as by Friedman (JASA 84, 1989).

    The covariance within classes is shrunk toward a multiple of the identity: ``(1 - s) S + s tr(S)/D I``. With ``s = 1``
    it is the plain nearest mean. ``s`` falls as labels accumulate: ``D / (D + c (n - K))``, the share of a prior worth D / c
    labels. ``c`` is 3, the best in our measurements at 3 to 50 labels a class (docs/heads.md), unless leaving labels out (in
    closed form) shows another to be better by two standard errors. Pixels of one label are not left out of each other, so
    with polygons ``c`` is 1 and n their :func:`independent` number. The covariance of few labels is too small away from them,
    so the soft-max has a temperature, chosen by leaving labels out too.

    Args:
        shrinkage: ``"auto"``, or a number in (0, 1].
        class_weight: ``"balanced"`` makes classes equally likely in advance, None as likely as their labels are many.

    Attributes:
        shrinkage_: the shrinkage used.
        temperature_: the temperature used; already divided into ``coef_``.
        prototypes_: float32 (K, D), the class means, of joined vectors times the weight of each part.

    Example:
        >>> X = np.array([[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]])
        >>> head = PrototypeHead().fit(X, [1, 1, 2, 2])
        >>> head.prototypes_.shape
        (2, 2)
        >>> head.predict([[0.8, 0.1]]).tolist()
        [2]
    """

    name = "prototype"

    def __init__(self, shrinkage: float | str = "auto", class_weight: ClassWeight = "balanced") -> None:
        self.shrinkage = shrinkage
        self.class_weight = class_weight

    def _solve(self, X: Floats, targets: NDArray[np.intp], weight: NDArray[np.float64]) -> None:
        n, dim = X.shape
        x, index = X.astype(np.float64), targets
        k = int(targets.max()) + 1
        member = one_hot(targets, k) * weight[:, None]
        means = (member.T @ x) / member.sum(0)[:, None]
        free = max(independent(self._groups, n) - k, 0)
        if self.shrinkage == "auto":
            self.shrinkage_ = dim / (dim + (GAIN if self._groups is None else 1) * free)
        elif isinstance(self.shrinkage, int | float) and 0 < self.shrinkage <= 1:
            self.shrinkage_ = float(self.shrinkage)
        else:
            raise HeadError(f"The shrinkage of a prototype head must be 'auto' or in (0, 1], not {self.shrinkage!r}.")
        inside = (x - means[index]) * np.sqrt(weight)[:, None]
        scatter = inside.T @ inside / (weight.sum() * max(n - k, 1) / n)
        spread = float(np.trace(scatter)) / dim
        if n == k or spread <= 0:
            # One label a class says nothing of the spread within classes: take a tenth of that between them.
            spread, self.shrinkage_ = float(np.square(means - means.mean(0)).mean()) / 10 or 1.0, 1.0
        # In the axes of the scatter every covariance tried is diagonal.
        values, axes = np.linalg.eigh(scatter)
        values = np.maximum(values, 0)
        turned, centres = x @ axes, means @ axes

        choose = self.shrinkage == "auto" and self._groups is None and n - k > MIN_FREE
        tried = [self.shrinkage_, *(dim / (dim + gain * free) for gain in TRIED if choose)]
        shrinkages = np.array(tried)[:, None]
        precisions = 1 / ((1 - shrinkages) * values + shrinkages * spread)
        logits = _left_out(turned, index, weight, centres, precisions, (1 - shrinkages) / max(n - k, 1))
        temperatures, losses = _temperature(logits, index, weight)
        best = _best(losses) if choose and losses is not None else 0
        self.shrinkage_, self.temperature_, precision = tried[best], temperatures[best], precisions[best]
        middle = centres.mean(0)
        inner = precision[:, None] * (centres - middle).T
        intercept = -0.5 * ((centres + middle) * inner.T).sum(1)
        coef = axes @ inner
        self.prototypes_ = means.astype(np.float32)
        prior = np.log(member.sum(0) / member.sum()) + np.log(k)
        self._set(coef / self.temperature_, intercept / self.temperature_ + prior)


def _left_out(
    x: NDArray[np.float64],
    index: NDArray[np.intp],
    weight: NDArray[np.float64],
    means: NDArray[np.float64],
    precisions: NDArray[np.float64],
    gains: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Logits (A, K, N) of each label when it is left out of its class mean and of each covariance; labels alone are not.

    Without x, ``v = x - m`` away from the mean of its n labels, the mean moves so that x lies ``f v`` from it, ``f = n /
    (n - 1)``, and the scatter loses ``f v v'``; Sherman and Morrison's formula gives the inverse.

    Args:
        x, means: (N, D) and (K, D) in axes in which the covariances are diagonal.
        precisions: (A, D), their inverses.
        gains: (A, 1), weight of one label's scatter in each covariance.
    """
    counts = np.bincount(index)[index].astype(np.float64)
    f = counts / np.maximum(counts - 1, 1)
    to_mean = x - means[index]
    own = precisions @ np.square(to_mean).T
    # Products with all means in all metrics at once; classes lie before labels, which the soft-max over them likes.
    shape = len(precisions), len(means), len(x)
    metric = (precisions[:, None] * means).reshape(-1, means.shape[1])
    crossed = (precisions @ (to_mean * x).T)[:, None] - (metric @ to_mean.T).reshape(shape)
    left = np.maximum(1 - gains * (f * weight) * own, 1e-3)
    distance = (precisions @ np.square(x).T)[:, None] - 2 * (metric @ x.T).reshape(shape)
    distance += (precisions @ np.square(means).T)[:, :, None]
    distance += (gains * (f * weight) / left)[:, None] * np.square(crossed)
    distance[:, index, np.arange(len(x))] = np.square(f) * own / left
    distance *= -0.5
    return distance


def _temperature(
    logits: NDArray[np.float64], index: NDArray[np.intp], weight: NDArray[np.float64]
) -> tuple[list[float], NDArray[np.float64] | None]:
    """For each of A ways, the soft-max temperature with the least log-loss on left-out labels, and that loss (A, n), times the
    weights, of those that are not alone in their class; None where all are."""
    repeated = np.bincount(index)[index] > 1
    if not repeated.any():
        return [DEFAULT_TEMPERATURE] * len(logits), None
    logits, index, weight = logits[:, :, repeated], index[repeated], weight[repeated]
    softer = logits / TEMPERATURES[:, None, None, None]
    losses = (logsumexp(softer, axis=2) - softer[:, :, index, np.arange(len(index))]) * weight
    best = losses.sum(2).argmin(0)
    return TEMPERATURES[best].tolist(), losses[best, np.arange(len(best))]


def _best(losses: NDArray[np.float64]) -> int:
    """Which of :data:`GAIN` and :data:`TRIED` to take: up as long as that helps, else once down."""
    if _clearly_less(losses[1], losses[0]):
        return 2 if _clearly_less(losses[2], losses[1]) else 1
    return 3 if _clearly_less(losses[3], losses[0]) else 0


def _clearly_less(loss: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether the mean of ``loss`` lies below that of ``other`` by more than two standard errors of the difference."""
    gain = other - loss
    return bool(gain.mean() > 2 * gain.std(ddof=1) / len(gain) ** 0.5)
