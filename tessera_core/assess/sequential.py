"""Label until sure: an interval of overall accuracy that holds at every place at which somebody may stop, at once.

Of each stratum the answers are weighed against all shares that it could have: the chance of the answers under a beta prior, over
that under the share, is a fair bet against this share (Robbins 1970, Ann. Math. Statist. 41, 1397-1409; Ville 1939). The bets of
the strata multiply, in whatever order and number their places come, also where the next stratum is chosen by the answers so far.
Inside are the accuracies with shares against which the bet never won 20 times its stake. A random sample is one stratum.

Several strata cost that bet much of its power, as each has to be learnt. Where the next stratum comes by a known chance, one bet on
the accuracy itself does better (:func:`betting`): each answer, weighed by one over its chance and taken as a correction of what the
answers so far make likely, is a fair draw of it. Mean and bounds are all that is used of it (Waudby-Smith and Ramdas 2024, J. R.
Stat. Soc. B 86, 1-27); bets of several sizes share the stake, so none has to be chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tessera_core.assess.designs import MIN_PER_STRATUM
from tessera_core.errors import LabelError
from tessera_core.types import Doubles

# What is expected of a share right before the first answer: 4 to 1. It costs width where it is wrong, never the promise.
PRIOR = (4.0, 1.0)
FIT_STEPS = 50
MOST_MORE = 5000
# Sizes of the bets that share the stake, and how near a bet may come to losing everything.
BETS = 0.05 * 2.0 ** np.arange(9)
MOST_STAKED = 0.95
# Candidates that are tried, evenly from 0 to 1; limits are those just outside.
CANDIDATES = 501


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
    right: ArrayLike,
    strata: ArrayLike,
    weights: ArrayLike,
    margin: float = 0.05,
    level: float = 0.95,
    places: ArrayLike | None = None,
) -> UntilSure:
    """Follow a validation answer by answer.

    Args:
        right: bool (n,) in the order of the answers, each place drawn at random from its stratum.
        strata: int (n,) stratum of each place, 0 to H - 1; all 0 for a random sample.
        weights: (H,) share of the region of each stratum.
        margin: wanted half width.
        level: how often the interval holds at all answers at once.
        places: (H,) places of each stratum in the whole sample, where it is answered in the order in which
            :func:`tessera_core.assess.designs.draw` puts it; None where strata come in any other order. Several strata then
            give a much narrower interval, which stops narrowing when a stratum has no place left.

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
    drawn = places is not None and len(whole) > 1
    planned = np.asarray(places if places is not None else np.zeros(len(whole)), float)
    if drawn and (planned.shape != whole.shape or (np.bincount(part, minlength=len(whole)) > planned).any()):
        raise LabelError("A stratum has more answers than places of the sample.")
    if not 0 < margin < 0.5 or not 0.5 < level < 1:
        raise LabelError("The wanted margin lies between 0 and 50 points, the level between 50 and 100 %.")
    whole = whole / whole.sum()
    mine = part[:, None] == np.arange(len(whole))
    counts, hits = np.cumsum(mine, 0).astype(float), np.cumsum(mine & yes[:, None], 0).astype(float)
    with np.errstate(invalid="ignore"):
        estimate: Doubles = (hits / np.where(counts > 0, counts, np.nan)) @ whole
    low, high = (
        betting(*_corrections(yes, part, whole, planned), level) if drawn else limits(hits, counts, whole, level)
    )
    low, high = np.maximum.accumulate(low), np.minimum.accumulate(high)
    # All that was excluded once stays so; where the whole promise broke, the last interval that was one stays.
    kept = np.maximum.accumulate(np.where(low <= high, np.arange(len(low)), 0))
    low, high = low[kept], high[kept]
    narrow = np.flatnonzero(high - low <= 2 * margin)
    stop = int(narrow[0]) + 1 if len(narrow) else None
    if not stop and drawn and len(yes):
        more = _more_by_width(high[-1] - low[-1], len(yes), margin)
    else:
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


def betting(values: Doubles, lowest: Doubles, highest: Doubles, level: float = 0.95) -> tuple[Doubles, Doubles]:
    """The interval, at each of several draws, of a mean from 0 to 1 that all have, whatever came before them.

    Args:
        values: (T,) draws, each with that mean given those before it.
        lowest, highest: (T,) bounds of each, known before it; equal where nothing is to be learnt from it.
        level: how often the interval holds at all of them at once.

    Returns:
        ``(low, high)``, each (T,), from 0 to 1, never wider than before.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> low, high = betting((rng.random(400) < 0.9) * 1.0, np.zeros(400), np.ones(400))
        >>> bool(low[-1] < 0.9 < high[-1]), bool(high[-1] - low[-1] < 0.1)
        (True, True)
    """
    candidates = np.linspace(0, 1, CANDIDATES)
    step = candidates[1]
    # One row for bets on a larger mean, one for bets on a smaller one; half of the stake each.
    wealth = np.zeros((2, CANDIDATES, len(BETS)))
    inside = np.ones((2, CANDIDATES), bool)
    low, high = np.zeros(len(values)), np.ones(len(values))
    needed = np.log(2 / (1 - level)) + np.log(len(BETS))
    for t, (x, bottom, top) in enumerate(zip(values, lowest, highest, strict=True)):
        if top > bottom:
            for side, (worst, sign) in enumerate(((candidates - bottom, 1.0), (top - candidates, -1.0))):
                most = MOST_STAKED / np.maximum(worst, 1e-9)
                bets = np.minimum(BETS, most[:, None])
                wealth[side] += np.log1p(sign * bets * (x - candidates)[:, None])
            inside &= np.logaddexp.reduce(wealth, 2) < needed
        left = np.flatnonzero(inside[0] & inside[1])
        low[t], high[t] = (candidates[left[0]], candidates[left[-1]]) if len(left) else (low[t - 1], high[t - 1])
    return np.clip(np.maximum.accumulate(low) - step, 0, 1), np.clip(np.minimum.accumulate(high) + step, 0, 1)


def _corrections(
    yes: NDArray[np.bool_], part: NDArray[np.int64], whole: Doubles, planned: Doubles
) -> tuple[Doubles, Doubles, Doubles]:
    """(T,) draws whose mean is the accuracy, and their bounds, of answers in the order of a drawn sample."""
    values, lowest, highest = np.zeros((3, len(yes)))
    hits, counts = np.full(len(whole), PRIOR[0] / 2), np.full(len(whole), sum(PRIOR) / 2)
    left = planned.copy()
    first = np.minimum(planned, MIN_PER_STRATUM)
    begun = np.zeros(len(whole))
    for t, (right, h) in enumerate(zip(yes, part, strict=True)):
        likely = hits / counts
        # The first places of each stratum come in no known order, and one that has none left can be learnt of no more.
        if (begun >= first).all() and (left > 0).all():
            chance = left / left.sum()
            weight = whole / chance
            middle = float(whole @ likely)
            values[t] = middle + weight[h] * (right - likely[h])
            lowest[t] = middle - float((weight * likely).max())
            highest[t] = middle + float((weight * (1 - likely)).max())
        begun[h] += 1
        left[h] -= 1
        hits[h] += right
        counts[h] += 1
    return values, lowest, highest


def _more_by_width(width: float, n: int, margin: float) -> int | None:
    """Further places where the width falls as the root of their number."""
    total = int(np.ceil(n * (width / (2 * margin)) ** 2))
    return max(total - n, 1) if total - n <= MOST_MORE else None


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
