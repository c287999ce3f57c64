"""Label until sure: an interval of overall accuracy that holds at every place at which somebody may stop, at once.

Of each stratum the answers are weighed against all shares that it could have: the chance of the answers under a beta prior, over
that under the share, is a fair bet against this share (Robbins 1970, Ann. Math. Statist. 41, 1397-1409; Ville 1939). The bets of
the strata multiply, in whatever order and number their places come, also where the next stratum is chosen by the answers so far.
Inside are the accuracies with shares against which the bet never won 20 times its stake. A random sample is one stratum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tessera_core.errors import LabelError
from tessera_core.types import Doubles

# What is expected of a share right before the first answer: 4 to 1. It costs width where it is wrong, never the promise.
PRIOR = (4.0, 1.0)
FIT_STEPS = 50
MOST_MORE = 5000


@dataclass(frozen=True)
class UntilSure:
    """What is known after each answer.

    Attributes:
        estimate: (n,) share right over the region, nan until each stratum has a place.
        low, high: (n,) the interval, never wider than before.
        stop: number of answers after which it is as narrow as wanted; None for not yet.
        more: places after that many which likely suffice; 0 where they do, None where over 5000.
    """

    estimate: Doubles
    low: Doubles
    high: Doubles
    stop: int | None
    more: int | None


def until_sure(
    right: ArrayLike, strata: ArrayLike, weights: ArrayLike, margin: float = 0.05, level: float = 0.95
) -> UntilSure:
    """Follow a validation answer by answer.

    Args:
        right: bool (n,) in the order of the answers, each place drawn at random from its stratum.
        strata: int (n,) stratum of each place, 0 to H - 1; all 0 for a random sample.
        weights: (H,) share of the region of each stratum.
        margin: wanted half width.
        level: how often the interval holds at all answers at once.

    Raises:
        LabelError: the arrays disagree or a number is out of range.

    Example:
        >>> found = until_sure(np.arange(500) % 10 > 0, np.zeros(500, int), [1.0])
        >>> found.stop is not None and bool(found.low[-1] < 0.9 < found.high[-1])
        True
    """
    yes, part, whole = np.asarray(right, bool), np.asarray(strata, int), np.asarray(weights, float)
    if yes.shape != part.shape or yes.ndim != 1 or whole.ndim != 1 or not len(whole) or (whole <= 0).any():
        raise LabelError("Each answer has one stratum, and each stratum a share of the region.")
    if len(part) and (part.min() < 0 or part.max() >= len(whole)):
        raise LabelError("A place lies in a stratum of which the share of the region is not known.")
    if not 0 < margin < 0.5 or not 0.5 < level < 1:
        raise LabelError("The wanted margin lies between 0 and 50 points, the level between 50 and 100 %.")
    whole = whole / whole.sum()
    mine = part[:, None] == np.arange(len(whole))
    counts, hits = np.cumsum(mine, 0).astype(float), np.cumsum(mine & yes[:, None], 0).astype(float)
    with np.errstate(invalid="ignore"):
        estimate: Doubles = (hits / np.where(counts > 0, counts, np.nan)) @ whole
    low, high = limits(hits, counts, whole, level)
    low, high = np.maximum.accumulate(low), np.minimum.accumulate(high)
    # All that was excluded once stays so; where the whole promise broke, the last interval that was one stays.
    kept = np.maximum.accumulate(np.where(low <= high, np.arange(len(low)), 0))
    low, high = low[kept], high[kept]
    narrow = np.flatnonzero(high - low <= 2 * margin)
    stop = int(narrow[0]) + 1 if len(narrow) else None
    more = 0 if stop else _more(hits[-1], counts[-1], whole, margin, level) if len(yes) else None
    return UntilSure(estimate, low, high, stop, more)


def limits(hits: Doubles, counts: Doubles, weights: Doubles, level: float = 0.95) -> tuple[Doubles, Doubles]:
    """The interval at each of several answers.

    Args:
        hits, counts: (T, H) places right and places answered of each stratum; none is allowed.
        weights: (H,) shares of the region, which sum to 1.
        level: how often the interval holds.

    Returns:
        ``(low, high)``, each (T,), from 0 to 1.
    """
    from scipy.special import betaln

    a, b = PRIOR
    stake = (betaln(a + hits, b + counts - hits) - betaln(a, b)).sum(1) + np.log(1 - level)
    high = _farthest(hits, counts, weights, stake)
    low = 1 - _farthest(counts - hits, counts, weights, stake)
    return np.minimum(low, high), high


def _farthest(hits: Doubles, counts: Doubles, weights: Doubles, stake: Doubles) -> Doubles:
    """(T,) the largest mean over the strata's shares with a log likelihood of at least ``stake``."""
    from scipy.special import xlog1py, xlogy

    def shares(push: Doubles) -> Doubles:
        # Where the slope of the log likelihood is -push * weight: the root of a quadratic, in its stable form.
        pull = np.maximum(push[:, None] * weights, 1e-300)
        half = (pull - counts) / 2
        root = np.sqrt(half**2 + pull * hits)
        p: Doubles = np.where(half >= 0, (half + root) / pull, hits / np.maximum(root - half, 1e-300))
        return np.clip(p, 0.0, 1.0)

    low, high = np.full(len(stake), -30.0), np.full(len(stake), 30.0)
    for _ in range(FIT_STEPS):
        middle = (low + high) / 2
        p = shares(np.exp(middle))
        inside = (xlogy(hits, p) + xlog1py(counts - hits, -p)).sum(1) >= stake
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    # The outer end, so that rounding never takes anything away.
    return shares(np.exp(high)) @ weights


def _more(hits: Doubles, counts: Doubles, weights: Doubles, margin: float, level: float) -> int | None:
    """Further places, shared as so far, after which the interval is likely narrow enough."""
    ahead = np.arange(1, MOST_MORE + 1)
    factor = (1 + ahead / counts.sum())[:, None]
    low, high = limits(hits * factor, counts * factor, weights, level)
    enough = high - low <= 2 * margin
    return int(ahead[np.argmax(enough)]) if enough.any() else None


def next_stratum(hits: ArrayLike, counts: ArrayLike, weights: ArrayLike) -> int:
    """The stratum in which one more place likely tells most; the interval holds whichever is taken.

    Args:
        hits, counts: (H,) places right and answered so far.
        weights: (H,) shares of the region.

    Returns:
        Its position, 0 to H - 1.
    """
    yes, n, whole = (np.asarray(part, float) for part in (hits, counts, weights))
    p = (yes + PRIOR[0]) / (n + sum(PRIOR))
    gain: NDArray[np.float64] = whole**2 * p * (1 - p) / ((n + 1) * (n + 2))
    return int(np.argmax(gain))
