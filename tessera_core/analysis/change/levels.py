"""The scale that differences are counted on, and what can be read off a histogram of them.

A level is a logarithm in 16 bits: log(difference / noise) from -8 to +8. On unchanged ground the logarithm is near normal, and
changed ground lies to the right of it. So everything about unchanged ground is read off the histogram's left flank (an
empirical null: Efron, J. Am. Stat. Assoc. 99, 2004); only the far right tail, where changed ground hides it, is an assumption.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.special import log_ndtr, ndtr

from tessera_core.types import Doubles

LEVELS, LOWEST, STEPS = 65_536, -8.0, 4_000.0
NO_LEVEL = np.uint16(65_535)
TOP_LEVEL = 64_000
# Histograms are fitted on bins of this many levels: 0.016 of the logarithm.
COARSE = 64
BINS = LEVELS // COARSE
# A normal distribution is fitted below its centre plus this many spreads; what lies above may be change.
FLANK = 1.0
# Smoothing of a histogram before its peak is looked for, in its logarithm.
SMOOTHING = 0.1
# The right tail: so large a share of unchanged ground is so much wider (single fields whose growth differed between the years).
# On simulated ground without change, embedded in five ways, beyond 3 spreads lie twice, beyond 3.5 four times as many pixels as
# a normal distribution has (docs/change.md).
TAIL_SHARE, TAIL_WIDTH = 0.05, 1.6
# How far down its right side a histogram is followed: to this share of its peak.
DEEPEST = 0.05
# Pixels that are looked up or counted at a time.
_AT_A_TIME = 1 << 20


def look_up[T: np.generic](table: NDArray[T], levels: NDArray[np.uint16]) -> NDArray[T]:
    """What a table (LEVELS,) says of levels (H, W), some rows at a time: NumPy takes places of eight bytes each."""
    found = np.empty(levels.shape, table.dtype)
    for rows in _some_rows(levels):
        np.take(table, levels[rows], out=found[rows])
    return found


def count_levels(levels: NDArray[np.uint16]) -> NDArray[np.int64]:
    """How often each level occurs among (H, W), int64 (LEVELS,), without those that have no data; by rows for the same reason."""
    counts = np.zeros(LEVELS, np.int64)
    for rows in _some_rows(levels):
        counts += np.bincount(levels[rows].reshape(-1), minlength=LEVELS)
    counts[NO_LEVEL] = 0
    return counts


def _some_rows(levels: NDArray[np.uint16]) -> Iterator[slice]:
    step = max(1, _AT_A_TIME // max(levels.shape[1], 1))
    return (slice(start, start + step) for start in range(0, levels.shape[0], step))


def log_ratio(levels: NDArray[np.integer]) -> Doubles:
    """log(difference / noise) of levels."""
    return np.asarray(levels, np.float64) / STEPS + LOWEST


def to_levels(values: NDArray[np.floating]) -> NDArray[np.int64]:
    """Levels of log(difference / noise), 0 to :data:`TOP_LEVEL`."""
    return np.clip(np.rint((values - LOWEST) * STEPS), 0, TOP_LEVEL).astype(np.int64)


def tail_chance(scores: Doubles) -> Doubles:
    """Chance that unchanged ground lies this many spreads above the centre or higher: a contaminated normal distribution.

    Source: Tukey, A survey of sampling from contaminated distributions, 1960.
    """
    out: Doubles = (1 - TAIL_SHARE) * ndtr(-scores) + TAIL_SHARE * ndtr(-scores / TAIL_WIDTH)
    return out


_SCORES = np.linspace(-8.0, 60.0, 20_001)
_LOG_CHANCES = np.log(np.maximum(tail_chance(_SCORES), 1e-300))


def tail_score(chances: Doubles) -> Doubles:
    """Spreads above the centre for chances in (0, 1): the inverse of :func:`tail_chance`."""
    return np.interp(np.log(chances), _LOG_CHANCES[::-1], _SCORES[::-1])


_CENTRES = log_ratio(np.arange(BINS) * COARSE + COARSE // 2)


def coarse(levels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Histogram of levels, int64 (BINS,)."""
    return np.bincount(np.asarray(levels).reshape(-1) // COARSE, minlength=BINS)


def first_peak(counts: NDArray[np.number]) -> tuple[float, float, int]:
    """Centre and spread of the first peak of a histogram, from its left flank, and how many are on that flank.

    The peak is the first of the smoothed histogram with a fifth of the highest one's height; then a normal distribution cut
    off at ``centre + FLANK * spread`` is fitted in turns (Cohen, Technometrics 1, 1959).

    Args:
        counts: (BINS,), as :func:`coarse` gives them.
    """
    binned = np.asarray(counts, np.float64)
    smooth = _smoothed(binned, SMOOTHING)
    inner = smooth[1:-1]
    peaks = np.flatnonzero((inner >= smooth[:-2]) & (inner > smooth[2:]) & (inner > 0.2 * smooth.max())) + 1
    top = int(peaks[0]) if len(peaks) else int(smooth.argmax())
    centre = float(_CENTRES[top])
    left = binned[: top + 1]
    spread = math.sqrt(max(float(left @ (_CENTRES[: top + 1] - centre) ** 2 / max(left.sum(), 1)), 1e-4))
    # Sums from the left, so that each turn is a look-up: of counts, of values and of their squares.
    sums = np.cumsum(binned * np.stack((np.ones(BINS), _CENTRES, _CENTRES**2)), axis=1)
    used = float(left.sum())
    for _ in range(60):
        cut = centre + FLANK * spread
        last = int(np.searchsorted(_CENTRES, cut, side="right")) - 1
        if last < 0 or sums[0, last] <= 0:
            break
        used = float(sums[0, last])
        mean = float(sums[1, last] / used)
        next_centre, next_spread = _cut_normal(mean, max(float(sums[2, last] / used) - mean * mean, 0.0), cut)
        moved = abs(next_centre - centre) + abs(next_spread - spread)
        centre, spread = next_centre, next_spread
        if moved < 1e-4:
            break
    return centre, max(spread, 1e-3), int(used)


def right_spread(counts: NDArray[np.number], centre: float, spread: float) -> float:
    """The spread of a normal distribution that falls no faster than a histogram does right of its centre.

    The histogram is followed down to :data:`DEEPEST` of its peak or to the valley before the next rise, whichever comes first.
    At each place a normal distribution that has fallen as far has the spread ``distance / sqrt(2 log(peak / height))``; the
    largest counts.

    Returns:
        At least ``spread``.
    """
    smooth = _smoothed(np.asarray(counts, np.float64), spread / 4)
    start = int(np.searchsorted(_CENTRES, centre))
    peak = float(smooth[min(start, BINS - 1)])
    widest, lowest = spread, peak
    for place in range(int(np.searchsorted(_CENTRES, centre + spread / 2)), BINS):
        height = float(smooth[place])
        if height > 1.15 * lowest or height <= 0:
            break
        lowest = min(lowest, height)
        if height < 0.6 * peak:
            widest = max(widest, float(_CENTRES[place] - centre) / math.sqrt(2 * math.log(peak / height)))
        if height < DEEPEST * peak:
            break
    return widest


def _smoothed(binned: Doubles, width: float) -> Doubles:
    out: Doubles = gaussian_filter1d(binned, max(width * STEPS / COARSE, 0.5), mode="constant")
    return out


def _mills(z: Doubles) -> Doubles:
    """Density over distribution of the standard normal."""
    out: Doubles = np.exp(-0.5 * z * z - 0.5 * math.log(2 * math.pi) - log_ndtr(z))
    return out


# What :func:`_cut_normal` inverts: how the spread below a cut, in units of its distance, falls with the place of the cut.
_CUTS = np.linspace(-3.0, 8.0, 4001)
_CUT_SPREADS = (1 - _CUTS * _mills(_CUTS) - _mills(_CUTS) ** 2) / (_CUTS + _mills(_CUTS)) ** 2


def _cut_normal(mean: float, variance: float, cut: float) -> tuple[float, float]:
    """Centre and spread of the normal distribution whose part below ``cut`` has this mean and variance (Cohen 1959)."""
    if cut <= mean or variance <= 0:
        return mean, math.sqrt(max(variance, 1e-6))
    goal = variance / (cut - mean) ** 2
    if not _CUT_SPREADS[-1] < goal < _CUT_SPREADS[0]:
        return mean, math.sqrt(variance)
    z = float(np.interp(goal, _CUT_SPREADS[::-1], _CUTS[::-1]))
    spread = (cut - mean) / (z + float(_mills(np.array(z))))
    return cut - z * spread, spread
