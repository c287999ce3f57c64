"""Intervals of stratified estimates that hold with few places and where a stratum shows no mistake.

An estimate plus and minus 1.96 standard errors takes a stratum without a mistake for one without doubt. Here a value is
inside the interval where a sample like the one seen is not too rare under it. "Under it" means under the likeliest shares of
all strata that have this value (a constrained maximum likelihood fit, so that what was not seen may still be there), and
"rare" is the larger of two tail probabilities: that of the score test (Wilson 1927 for one stratum; Miettinen and Nurminen
1985, Statistics in Medicine 4, 213-226, for several) and that of the saddle-point approximation of the sample's own skew
distribution (Lugannani and Rice 1980, Adv. Appl. Probab. 12, 475-490). Each alone falls short somewhere, see docs/trust.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tessera_core.errors import LabelError
from tessera_core.types import Doubles

# Halvings of the search for a limit (1e-5 of the range), for the multiplier of a fit, and for a saddle point.
LIMIT_STEPS, FIT_STEPS, SADDLE_STEPS = 17, 28, 22
NEWTON_STEPS = 40
# Nearer than this to the middle of its distribution (in standard deviations) a saddle point is 0 divided by 0.
MIDDLE = 0.05


def mean_interval(
    hits: ArrayLike, counts: ArrayLike, weights: ArrayLike, level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Intervals of shares of the region ``sum_h W_h p_h`` from a stratified sample.

    Args:
        hits: (..., H) places of each stratum that have the property; not always whole, see ``counts``.
        counts: (..., H) places of each stratum, positive; larger than there are where much of a stratum was seen.
        weights: (H,) share of the region that each stratum has.
        level: how often the interval holds.

    Returns:
        ``(low, high)``, each (...), from 0 to 1.

    Raises:
        LabelError: the shapes disagree, or a stratum has no place.

    Example:
        >>> low, high = mean_interval([10.0, 8.0], [10.0, 10.0], [0.67, 0.33])
        >>> round(float(low), 2), round(float(high), 2)
        (0.73, 0.99)
    """
    yes = np.asarray(hits, float)
    n = np.broadcast_to(np.asarray(counts, float), yes.shape)
    table = np.stack([yes, n - yes], -1)
    possible = np.ones(table.shape[-2:], bool)
    return _solve(table, np.asarray(weights, float), possible, False, level)


def ratio_interval(
    hits: ArrayLike,
    misses: ArrayLike,
    counts: ArrayLike,
    weights: ArrayLike,
    possible: ArrayLike | None = None,
    level: float = 0.95,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Intervals of ratios ``sum_h W_h p_h(hit) / sum_h W_h p_h(hit or miss)``: user's and producer's accuracy.

    Args:
        hits, misses: (..., H) places of each stratum that count above and below, and below only.
        counts: (..., H) places of each stratum.
        weights: (H,) share of the region.
        possible: bool (..., H, 2), whether a stratum can have hits, and misses; where strata are the map's classes, most
            cannot. All by default.
        level: how often the interval holds.

    Returns:
        ``(low, high)``, each (...), from 0 to 1; 0 and 1 where there is neither hit nor miss.

    Raises:
        LabelError: the shapes disagree, or a stratum has no place.
    """
    yes, no = np.asarray(hits, float), np.asarray(misses, float)
    n = np.broadcast_to(np.asarray(counts, float), yes.shape)
    table = np.stack([yes, no, n - yes - no], -1)
    can = np.ones((*yes.shape, 2), bool) if possible is None else np.broadcast_to(possible, (*yes.shape, 2))
    return _solve(table, np.asarray(weights, float), np.concatenate([can, np.ones_like(can[..., :1])], -1), True, level)


def ratio_intervals(
    hits: Doubles, misses: Doubles, counts: Doubles, weights: Doubles, possible: NDArray[np.bool_], level: float = 0.95
) -> tuple[Doubles, Doubles]:
    """:func:`ratio_interval` of several ratios at once, much quicker where only one stratum can count.

    Args:
        hits, misses: (B, H) places of each stratum.
        counts, weights: (H,) places and shares of the region.
        possible: bool (B, H, 2), whether a stratum can have hits, and misses.
        level: how often the intervals hold.

    Returns:
        ``(low, high)``, each (B,); 0 and 1 where there is neither hit nor miss.

    Raises:
        LabelError: the shapes disagree, or a stratum has no place.
    """
    low, high = np.zeros(len(hits)), np.ones(len(hits))
    total = (hits + misses).sum(1)
    met = total > 0
    # In one stratum the places that neither hit nor miss tell nothing: a share of the others.
    one = met & (possible.any(2).sum(1) == 1) & possible.all(2).any(1)
    if one.any():
        low[one], high[one] = mean_interval(hits[one].sum(1)[:, None], total[one][:, None], np.ones(1), level)
    rest = ~one & met
    if rest.any():
        low[rest], high[rest] = ratio_interval(hits[rest], misses[rest], counts, weights, possible[rest], level)
    return low, high


def _solve(
    table: Doubles, weights: Doubles, possible: NDArray[np.bool_], ratio: bool, level: float
) -> tuple[Doubles, Doubles]:
    """Limits of the mean of the first kind, or of its ratio to the first two."""
    shape, kinds = table.shape[:-2], table.shape[-2:]
    if weights.shape != kinds[:1] or (table.sum(-1) <= 0).any() or (table < -1e-9).any():
        raise LabelError("An interval needs, for each stratum, its share and at least one place.")
    counts = np.maximum(table.reshape(-1, *kinds), 0.0)
    can = np.broadcast_to(possible, (*shape, *kinds)).reshape(-1, *kinds)
    whole = weights / weights.sum()
    means = whole @ (counts / counts.sum(-1, keepdims=True)).transpose(1, 0, 2).reshape(kinds[0], -1)
    shares = means.reshape(len(counts), kinds[1])
    above, below = shares[:, 0], shares.sum(1) if not ratio else shares[:, 0] + shares[:, 1]
    known = below > 0
    estimate = np.where(known, above / np.where(known, below, 1.0), 0.5)
    # Both limits are sought at once: the first half of the batch goes down, the second up.
    both = _Sample(np.tile(counts, (2, 1, 1)), whole, np.tile(can, (2, 1, 1)))
    down = np.arange(2 * len(counts)) < len(counts)
    found = both.mean_limits(down, (1 - level) / 2) if not ratio else both.ratio_limits(estimate, down, (1 - level) / 2)
    low, high = found[: len(counts)], found[len(counts) :]
    return np.where(known, low, 0.0).reshape(shape), np.where(known, high, 1.0).reshape(shape)


@dataclass(frozen=True)
class _Sample:
    """Samples that are judged together.

    Attributes:
        counts: (B, H, C) places by stratum and kind.
        weights: (H,) shares of the region.
        possible: bool (B, H, C) kinds that a stratum can have.
    """

    counts: Doubles
    weights: Doubles
    possible: NDArray[np.bool_]

    def mean_limits(self, down: NDArray[np.bool_], rare: float) -> Doubles:
        """(B,) the lower (``down``) or the upper limit of the mean of the first kind.

        Every fit has its mean, so the limit is sought among the fits' multipliers: 0 has the estimate, the ends 0 and 1.
        """
        values = np.tile(np.eye(self.counts.shape[2])[0], (len(down), 1))
        inside, outside = np.zeros(len(down)), np.where(down, 1.0, -1.0)
        for _ in range(FIT_STEPS):
            middle = (inside + outside) / 2
            out = self._tail(values, self._shares(values, self._multiplier(middle)), down) < rare
            inside, outside = np.where(out, inside, middle), np.where(out, middle, outside)
        limit = self._mean(values, self._shares(values, self._multiplier(inside)))
        return np.where(np.abs(inside) > 1 - 2.0 ** (2 - FIT_STEPS), np.where(down, 0.0, 1.0), np.clip(limit, 0.0, 1.0))

    def ratio_limits(self, estimate: Doubles, down: NDArray[np.bool_], rare: float) -> Doubles:
        """(B,) the same of the ratio of the first kind to the first two: where ``hit (1 - r) - miss r`` has a mean of 0."""
        inside, outside = np.tile(estimate, 2), np.where(down, 0.0, 1.0)
        for _ in range(LIMIT_STEPS):
            middle = (inside + outside) / 2
            values = np.stack([1 - middle, -middle, np.zeros_like(middle)], 1)
            out = self._tail(values, self._balanced(values), down) < rare
            inside, outside = np.where(out, inside, middle), np.where(out, middle, outside)
        end = np.where(down, 0.0, 1.0)
        return np.where(np.abs(inside - end) < 2.0 ** (1 - LIMIT_STEPS), end, inside)

    def _mean(self, values: Doubles, p: Doubles) -> Doubles:
        mean: Doubles = (self.weights * (p * values[:, None, :]).sum(2)).sum(1)
        return mean

    def _tail(self, values: Doubles, p: Doubles, upper: NDArray[np.bool_]) -> Doubles:
        """(B,) how rare a mean as high (``upper``), or as low, as the one seen is.

        Args:
            values: (B, C) of each kind.
            p: (B, H, C) shares of the kinds in the strata.
            upper: (B,) which tail.
        """
        from scipy.special import ndtr

        n = self.counts.sum(2)
        # What one place adds to the estimate.
        step = self.weights[:, None] * values[:, None, :] / n[..., None]
        seen = (self.counts * step).sum((1, 2))
        centre = (n * (p * step).sum(2)).sum(1)
        variance = (n * ((p * step**2).sum(2) - (p * step).sum(2) ** 2)).sum(1)
        sd = np.sqrt(np.maximum(variance, 1e-300))
        z = np.where(np.abs(seen - centre) < 1e-12, 0.0, (seen - centre) / sd)
        score = ndtr(np.where(upper, -z, z))
        tail: Doubles = np.maximum(
            score, np.where(np.abs(z) < MIDDLE, score, self._saddle(p, step, n, seen, sd, upper))
        )
        return tail

    def _saddle(
        self, p: Doubles, step: Doubles, n: Doubles, seen: Doubles, sd: Doubles, upper: NDArray[np.bool_]
    ) -> Doubles:
        """(B,) the tail from the cumulant generating function of the estimate; half of its last lump at its ends."""
        from scipy.special import ndtr

        there = p > 1e-15
        top, bottom = np.where(there, step, -np.inf).max(2), np.where(there, step, np.inf).min(2)
        span = np.maximum((n * (top - bottom)).sum(1), 1e-300)
        at_top, at_bottom = ((np.abs((n * end).sum(1) - seen) < 1e-9 * span) for end in (top, bottom))

        def cumulants(s: Doubles) -> tuple[Doubles, Doubles, Doubles]:
            power = s[:, None, None] * step
            peak = np.where(there, power, -np.inf).max(2)
            part = np.where(there, p * np.exp(np.minimum(power - peak[..., None], 0.0)), 0.0)
            total = part.sum(2)
            share = part / total[..., None]
            first = (share * step).sum(2)
            second = (share * step**2).sum(2) - first**2
            return (n * (np.log(total) + peak)).sum(1), (n * first).sum(1), (n * second).sum(1)

        low, high = np.full(len(seen), -1.0), np.full(len(seen), 1.0)

        def place(u: Doubles) -> Doubles:
            s: Doubles = 4 / sd * u / np.maximum(1 - np.abs(u), 1e-9)
            return s

        for _ in range(SADDLE_STEPS):
            middle = (low + high) / 2
            short = cumulants(place(middle))[1] < seen
            low, high = np.where(short, middle, low), np.where(short, high, middle)
        s = place((low + high) / 2)
        height, _, bend = cumulants(s)
        r = np.sign(s) * np.sqrt(np.maximum(2 * (s * seen - height), 0.0))
        u = s * np.sqrt(np.maximum(bend, 1e-300))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            above = ndtr(-r) + np.exp(-(r**2) / 2) / np.sqrt(2 * np.pi) * (1 / u - 1 / r)
        above = np.clip(np.nan_to_num(above, nan=0.0, posinf=0.0, neginf=0.0), 0.0, 1.0)
        lump_top, lump_bottom = (
            np.exp(
                (n * np.log(np.maximum(np.where(np.abs(step - end[..., None]) <= 1e-12, p, 0.0).sum(2), 1e-300))).sum(1)
            )
            for end in (top, bottom)
        )
        above = np.where(at_top, lump_top / 2, np.where(at_bottom, 1 - lump_bottom / 2, above))
        tail: Doubles = np.where(upper, above, 1 - above)
        return tail

    def _multiplier(self, u: Doubles) -> Doubles:
        """All numbers from those between -1 and 1."""
        scale: Doubles = self.counts.sum((1, 2)) / self.weights.max()
        multiplier: Doubles = scale * u / np.maximum(1 - np.abs(u), 1e-12)
        return multiplier

    def _balanced(self, values: Doubles) -> Doubles:
        """(B, H, C) the likeliest shares whose mean over the region is 0."""
        low, high = np.full(len(values), -1.0), np.full(len(values), 1.0)
        for _ in range(FIT_STEPS):
            middle = (low + high) / 2
            more = self._mean(values, self._shares(values, self._multiplier(middle))) > 0
            low, high = np.where(more, middle, low), np.where(more, high, middle)
        return self._shares(values, self._multiplier((low + high) / 2))

    def _shares(self, values: Doubles, multiplier: Doubles) -> Doubles:
        """(B, H, C) shares that make the sample likeliest among those of the same mean over the region, for a multiplier.

        With the multipliers ``m_h`` of each stratum's sum and ``l`` of the mean, ``p_hc = x_hc / (m_h + l W_h v_c)``; a kind
        that was not seen takes what is left where ``m_h`` would become too small for the others.
        """
        x, n = self.counts, self.counts.sum(2)
        v = np.broadcast_to(values[:, None, :], x.shape)
        pull = multiplier[:, None] * self.weights
        end = np.where(pull > 0, np.where(self.possible, v, np.inf).min(2), np.where(self.possible, v, -np.inf).max(2))
        # How far each kind is from the one that is favoured; the favoured one is at 0.
        away = np.where(self.possible, np.abs(pull[..., None] * (v - end[..., None])), np.inf)
        favoured = self.possible & (v == end[..., None])
        of_favoured = np.where(favoured, x, 0.0).sum(2)
        others = (x > 0) & ~favoured
        left_out = (of_favoured == 0) & (
            np.where(others, x / np.where(others, np.maximum(away, 1e-200), 1.0), 0.0).sum(2) <= 1
        )
        # sum_c x_c / (d + away_c) = 1 falls and is convex in d, so Newton's steps from the left end there; no part is above 1.
        d = np.maximum(np.where(x > 0, x - away, 0.0).max(2), 1e-12)
        for _ in range(NEWTON_STEPS):
            q = np.where(x > 0, x / (d[..., None] + away), 0.0)
            slope = (q / (d[..., None] + away)).sum(2)
            move = np.where(left_out, 0.0, (q.sum(2) - 1) / np.maximum(slope, 1e-300))
            d = np.clip(d + move, 1e-12, n)
            if np.abs(move).max() < 1e-9:
                break
        d = np.where(left_out, 0.0, d)
        whole = d[..., None] + away
        p = np.where(x > 0, x / np.where(whole > 0, whole, 1.0), 0.0)
        rest = np.where(left_out, np.maximum(1 - p.sum(2), 0.0), 0.0)
        shares: Doubles = p + rest[..., None] * favoured / favoured.sum(2, keepdims=True)
        return shares
