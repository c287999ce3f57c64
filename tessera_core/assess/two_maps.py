"""Which of two maps is better: places only where they differ, an exact test, and how many places it takes.

Where two maps say the same, no place can tell them apart. In the part that differs a place speaks for one map, for the other,
or for neither; whether one is right more often is the exact test of McNemar (1947, Psychometrika 12, 153-157): of the places that
speak for one, as many as for the other, a binomial. The difference of the two accuracies has the score interval of Tango (1998,
Statistics in Medicine 17, 891-908). Both hold for a simple random sample of the part that differs, of a number of places that was
settled before the first answer. Who looks after every answer and stops when they like it finds a difference that is not there in 18
of 100 comparisons (100 places). So a verdict without such a number bets against "equally often": the chance of the answers under
a beta prior, over that under one half, passes 20 once in 20 comparisons at most, whenever one looks (Ville 1939).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_core.assess.sequential import betting
from tessera_core.errors import LabelError
from tessera_core.types import Bools, Doubles

RISK, POWER = 0.05, 0.8
MOST_PLACES = 5000
# The beta prior of the bet, for each of the two maps: better in two thirds of the places rather than in all.
PRIOR = 2.0
# Halvings in the search for a limit of the difference.
LIMIT_STEPS = 40
# Beyond so many places no plan is made of looking after every answer.
MOST_LOOKS = 1500


@dataclass(frozen=True)
class Difference:
    """Where two maps differ.

    Attributes:
        where: bool (H, W), both maps name a class, and not the same.
        other: int (H, W) classes of the other map, in the ids of the first; 0 where it has none or one that has no counterpart.
        compared: pixels in which both name a class.
        unmatched: pixels left out because their class of the other map has no counterpart here.
    """

    where: Bools
    other: NDArray[np.int64]
    compared: int
    unmatched: int

    @property
    def share(self) -> float:
        """Share of the compared pixels that differ, 0 to 1."""
        return float(self.where.sum() / self.compared) if self.compared else 0.0


def difference(
    first: NDArray[np.integer], second: NDArray[np.integer], legend: Mapping[int, int] | None = None
) -> Difference:
    """Compare two class maps on one grid.

    Args:
        first, second: int (H, W) classes, 0 or below where there is none.
        legend: class of the second map -> class of the first that means the same; classes that it lacks are left out and counted.
            None where the ids are the same.

    Raises:
        LabelError: the maps have different shapes.

    Example:
        >>> found = difference(np.array([[1, 2, 2]]), np.array([[7, 7, 9]]), {7: 1})
        >>> found.where.tolist(), found.compared, found.unmatched
        ([[False, True, False]], 2, 1)
    """
    if first.shape != second.shape:
        raise LabelError(
            "Two maps can be compared where they lie on the same grid; bring one onto the grid of the other."
        )
    other = np.where(second > 0, second, 0).astype(np.int64)
    covered = (first > 0) & (other > 0)
    if legend is not None:
        ids, places = np.unique(other, return_inverse=True)
        other = np.array([legend.get(int(i), 0) if i > 0 else 0 for i in ids], np.int64)[places].reshape(first.shape)
    both = covered & (other > 0)
    return Difference(both & (first != other), other, int(both.sum()), int((covered & ~both).sum()))


def draw_where_different(found: Difference, n: int, seed: int = 0) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """A simple random sample, in random order, of the pixels that differ.

    Returns:
        ``(rows, cols)``, each (n,); all pixels that differ where they are fewer.

    Raises:
        LabelError: the maps differ nowhere, or no place is asked for.
    """
    places = np.flatnonzero(found.where)
    if not len(places) or n < 1:
        raise LabelError(
            "The maps differ nowhere, so no place can tell which is better." if n > 0 else "Ask for one place or more."
        )
    chosen = np.random.default_rng(seed).choice(places, min(n, len(places)), replace=False)
    rows, cols = np.unravel_index(chosen, found.where.shape)
    return rows, cols


def p_value(first: NDArray[np.integer] | int, second: NDArray[np.integer] | int) -> Doubles:
    """How rare a count as uneven as this is where both maps are right equally often: two-sided, exact.

    Args:
        first, second: (...) places at which only the first, only the second map is right.

    Returns:
        (...) from 0 to 1; 1 where no place speaks for one of them.

    Example:
        >>> round(float(p_value(9, 1)), 4)
        0.0215
    """
    from scipy.special import bdtr

    a, b = np.broadcast_arrays(np.asarray(first, float), np.asarray(second, float))
    tail: Doubles = np.asarray(bdtr(np.minimum(a, b), (a + b).astype(int), 0.5), float)
    return np.minimum(2 * tail, 1.0)


def power(n: int, first: float, second: float, risk: float = RISK) -> float:
    """Chance that ``n`` places name the map that is better.

    Args:
        n: places where the maps differ.
        first, second: shares of the part that differs in which only the first, only the second is right.
        risk: how often a difference may be claimed that is not there.

    Raises:
        LabelError: the shares are no shares.
    """
    from scipy.stats import binom

    if n < 0 or min(first, second) < 0 or first + second > 1 + 1e-9:
        raise LabelError("The shares in which one of two maps is right lie between 0 and 100 %, and so does their sum.")
    speak = first + second
    if not speak:
        return 0.0
    m = np.arange(n + 1)
    # Of m places that speak, so few for the worse map as rarely happens by chance.
    few = binom.ppf(risk / 2, m, 0.5)
    few = np.where(binom.cdf(few, m, 0.5) <= risk / 2, few, few - 1)
    return float((binom.pmf(m, n, min(speak, 1.0)) * binom.cdf(few, m, min(first, second) / speak)).sum())


def p_at_any_time(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Doubles:
    """The same where somebody looks after every answer: it is below a risk, ever, as seldom as that where none is better.

    Args:
        first, second: bool (n,) in the order of the answers, whether only the first, only the second map is right.

    Returns:
        (n,) never larger than before.

    Example:
        >>> speaks = np.ones(12, bool)
        >>> bool(p_at_any_time(speaks, ~speaks)[-1] < 0.01)
        True
    """
    from scipy.special import betaln

    a, b = np.cumsum(first), np.cumsum(second)
    won = betaln(a + PRIOR, b + PRIOR) - betaln(PRIOR, PRIOR) + (a + b) * np.log(2)
    smallest: Doubles = np.minimum(np.exp(-np.maximum.accumulate(won)), 1.0) if len(a) else np.zeros(0)
    return smallest


def power_at_any_time(n: int, first: float, second: float, risk: float = RISK) -> Doubles:
    """Chance that up to each of ``n`` places :func:`p_at_any_time` names the map that is better, (n + 1,).

    Args:
        n: places where the maps differ.
        first, second, risk: as for :func:`power`.
    """
    from scipy.stats import binom

    speak, best = first + second, max(first, second)
    if not speak:
        return np.zeros(n + 1)
    share = best / speak
    # Of the places that speak: the chance of each count for the better map without a verdict so far, and of one for it.
    open_, found = np.zeros(n + 2), np.zeros(n + 1)
    open_[0] = 1.0
    limit = 0
    for m in range(1, n + 1):
        open_[1 : m + 1] = open_[1 : m + 1] * (1 - share) + open_[:m] * share
        open_[0] *= 1 - share
        limit = _fewest(m, max(limit, (m + 1) // 2), risk)
        found[m] = found[m - 1] + open_[limit : m + 1].sum()
        open_[limit : m + 1] = 0.0
        open_[: max(m - limit + 1, 0)] = 0.0
    # How many of n places speak is a binomial.
    spoken = np.arange(n + 1)
    return np.array([float(binom.pmf(spoken[: k + 1], k, min(speak, 1.0)) @ found[: k + 1]) for k in range(n + 1)])


def _fewest(m: int, start: int, risk: float) -> int:
    """Of ``m`` places that speak, how many for one map settle it; more than ``m`` where none do."""
    base = 2 * math.lgamma(PRIOR) - math.lgamma(2 * PRIOR)
    for a in range(start, m + 1):
        own = math.lgamma(a + PRIOR) + math.lgamma(m - a + PRIOR) - math.lgamma(m + 2 * PRIOR)
        if own - base + m * math.log(2) >= -math.log(risk):
            return a
    return m + 1


def places_needed(first: float, second: float, risk: float = RISK, wanted: float = POWER) -> int | None:
    """Places where the maps differ that find the better one with the wanted chance; None where it takes over 5000.

    Args:
        first, second: expected shares of the part that differs in which only the first, only the second is right.
        risk: how often a difference may be claimed that is not there.
        wanted: chance to find it.

    Raises:
        LabelError: the shares are no shares.

    Example:
        >>> places_needed(0.6, 0.3)
        83
    """
    if power(MOST_PLACES, first, second, risk) < wanted:
        return None
    low, high = 0, MOST_PLACES
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle, first, second, risk) >= wanted else (middle, high)
    # The chance goes up in a saw-tooth: the number from which on it stays, among those a little further.
    short = [n for n in range(high, high + 40) if power(n, first, second, risk) < wanted]
    return short[-1] + 1 if short else high


def difference_interval(first: int, second: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of the share in which only the first is right less that in which only the second is (Tango 1998).

    Args:
        first, second: places at which only the first, only the second is right.
        n: places answered.
        level: how often the interval holds.

    Returns:
        ``(low, high)``, from -1 to 1; all of it without an answer.

    Example:
        >>> low, high = difference_interval(30, 10, 50)
        >>> round(low, 2), round(high, 2)
        (0.16, 0.59)
    """
    from scipy.special import ndtri

    if not n:
        return -1.0, 1.0
    z = float(ndtri((1 + level) / 2))

    def score(delta: float) -> float:
        # The likeliest share for the second where the difference is delta.
        linear = -first - second + (2 * n - first + second) * delta
        root = np.sqrt(max(linear**2 + 8 * n * second * delta * (1 - delta), 0.0))
        only_second = (root - linear) / (4 * n)
        variance = n * (2 * only_second + delta * (1 - delta))
        return float((first - second - n * delta) / np.sqrt(max(variance, 1e-12)))

    estimate = (first - second) / n
    ends = []
    for end, sign in ((-1.0, 1.0), (1.0, -1.0)):
        inside, outside = estimate, end
        for _ in range(LIMIT_STEPS):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if sign * score(middle) < z else (inside, middle)
        ends.append(inside)
    return ends[0], ends[1]


@dataclass(frozen=True)
class Verdict:
    """What the answers say of two maps.

    Attributes:
        first, second, neither: places at which only the first map, only the second, none is right.
        unclear: places looked at without a clear answer.
        p: how rare answers as uneven as these are where none is better; with a number of places settled beforehand at that
            number, else whenever one looks.
        better: 1 or 2 for the map that is better at this risk, 0 for "not known".
        whatever_is_unclear: the verdict stays the same whichever map the unclear places would have spoken for.
        low, high: interval (95 %) of the first map's accuracy less the second's, over what was compared, -1 to 1; with a number
            of places settled beforehand at that number, else whenever one looks.
        more: further places after which this would likely be settled were the shares as they look now; None where over 1500 or
            where nothing speaks for one of them, 0 where it is settled.
        risk: how often one is called better though none is.
    """

    first: int
    second: int
    neither: int
    unclear: int
    p: float
    better: int
    whatever_is_unclear: bool
    low: float
    high: float
    more: int | None
    risk: float


def judge(
    reference: NDArray[np.integer],
    first: NDArray[np.integer],
    second: NDArray[np.integer],
    share: float,
    unclear: int = 0,
    risk: float = RISK,
    planned: int | None = None,
) -> Verdict:
    """Say which of two maps is better from places where they differ.

    Args:
        reference: int (n,) what is there, in the order of the answers.
        first, second: int (n,) what the maps say there, in the same ids.
        share: of the compared region that differs, see :attr:`Difference.share`.
        unclear: places looked at without a clear answer.
        risk: how often one may be called better though none is.
        planned: number of places that was settled before the first answer: there is no verdict before it, and at it the exact
            test, which finds more. None for a verdict that holds whenever one looks.

    Raises:
        LabelError: the arrays disagree, or a place is one where the maps say the same.

    Example:
        >>> right = np.array([1, 1, 1, 1, 1, 1, 1, 2])
        >>> judge(right, np.ones(8, int), np.full(8, 2), 0.2).better
        0
    """
    if not reference.shape == first.shape == second.shape or reference.ndim != 1:
        raise LabelError("The answers and what the two maps say there must be as many.")
    if (first == second).any():
        raise LabelError(
            "Only places where the two maps differ can tell which is better; draw them with this comparison."
        )
    # Answers beyond the number that was settled beforehand come too late for its test.
    n = len(reference) if planned is None else min(len(reference), max(planned - unclear, 0))
    ours, theirs = (reference == first)[:n], (reference == second)[:n]
    a, b = int(ours.sum()), int(theirs.sum())
    early = planned is not None and n + unclear < planned

    def verdict(more_ours: int, more_theirs: int) -> tuple[float, int]:
        """With the unclear places as if they came first and spoke for one map."""
        if planned is not None:
            p = float(p_value(a + more_ours, b + more_theirs))
        else:
            extra = np.arange(more_ours + more_theirs) < more_ours
            both = np.concatenate([extra, ours]), np.concatenate([~extra, theirs])
            p = float(p_at_any_time(*both)[-1]) if len(both[0]) else 1.0
        return p, 0 if early or p > risk else 1 if a + more_ours > b + more_theirs else 2

    p, better = verdict(0, 0)
    same = all(verdict(*extra)[1] == better for extra in ((unclear, 0), (0, unclear)))
    if planned is None:
        ends = betting((1 + ours.astype(float) - theirs) / 2, np.zeros(n), np.ones(n))
        low, high = (float(2 * end[-1] - 1) if n else side for end, side in zip(ends, (-1.0, 1.0), strict=True))
    else:
        low, high = difference_interval(a, b, n)
    more: int | None = 0 if better else max(planned - n - unclear, 0) if planned is not None else _more(a, b, n, risk)
    return Verdict(a, b, n - a - b, unclear, p, better, same, share * low, share * high, more, risk)


def _more(first: int, second: int, n: int, risk: float) -> int | None:
    if not n or first == second:
        return None
    enough = power_at_any_time(MOST_LOOKS, first / n, second / n, risk) >= POWER
    return max(int(np.argmax(enough)) - n, 1) if enough.any() else None
