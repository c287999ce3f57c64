"""What unchanged ground beside changed ground shows: a share of its neighbour's difference.

A sensor's footprint is wider than a pixel (20 m bands in 10 m pixels, dates that lie some metres apart), so a pixel at the edge
of a felled stand or a ploughed field holds a part of it. Where strongly changed ground meets ground that is not, the shares of
the strongest neighbour's difference form two groups, of the pixels outside and inside; a mixture of two normal distributions is
fitted to them (expectation maximisation: Dempster, Laird & Rubin, J. R. Stat. Soc. B 39, 1977), and the lower one is the null.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from tessera_core.analysis.change.levels import LEVELS, LOWEST, NO_LEVEL, STEPS, tail_score
from tessera_core.types import Doubles

# Ground beside a sure change that differs less than half as much is where that change ends.
HALF = round(math.log(2) * STEPS)
SHARE_BINS = 200
# Shares outside and inside before anything is known: what simulated landscapes show (docs/change.md), and how many pixels that
# knowledge is worth.
PRIOR_SHARES, PRIOR_SPREADS, PRIOR_PIXELS = (0.38, 0.85), (0.13, 0.12), 300.0
LEAST_PIXELS = 100
ROUNDS = 100
# Scale of the logistic distribution whose spread is 1: tails of shares are heavier than a normal distribution's.
LOGISTIC = math.sqrt(3) / math.pi


@dataclass(frozen=True)
class Borders:
    """How much of a changed neighbour's difference unchanged ground beside it shows.

    Attributes:
        share, spread: of the neighbour's difference, 0..1.
        pixels: at borders of sure change, from which it was estimated; below :data:`LEAST_PIXELS` it is what simulated
            landscapes show.
    """

    share: float
    spread: float
    pixels: int


def around(
    levels: NDArray[np.uint16], rows: slice
) -> tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint16]]:
    """Levels of rows, and the largest and the smallest of each pixel and its eight neighbours, uint16 (h, W) each.

    Places without data count for nobody but themselves; a pixel without data has the largest of its neighbours, and itself.
    """
    top, bottom = max(rows.start - 1, 0), min(rows.stop + 1, len(levels))
    wide = levels[top:bottom]
    inner = slice(rows.start - top, rows.stop - top)
    largest = _extreme(np.where(wide == NO_LEVEL, np.uint16(0), wide), np.maximum)
    return wide[inner], largest[inner], _extreme(wide, np.minimum)[inner]


def _extreme(values: NDArray[np.uint16], choose: np.ufunc) -> NDArray[np.uint16]:
    across = values.copy()
    choose(across[:, 1:], values[:, :-1], out=across[:, 1:])
    choose(across[:, :-1], values[:, 1:], out=across[:, :-1])
    out = across.copy()
    choose(out[1:], across[:-1], out=out[1:])
    choose(out[:-1], across[1:], out=out[:-1])
    return out


def share_bins(below: NDArray[np.integer]) -> NDArray[np.int64]:
    """Bin of the share, int64, of pixels that lie ``below`` levels under their strongest neighbour."""
    table = np.minimum(np.exp(-np.arange(LEVELS) / STEPS) * SHARE_BINS, SHARE_BINS - 1).astype(np.int64)
    bins: NDArray[np.int64] = table[below]
    return bins


def fit_borders(counts: NDArray[np.integer]) -> Borders:
    """The group of lower shares in a histogram of shares at borders.

    Args:
        counts: (SHARE_BINS,), see :func:`share_bins`.
    """
    total = int(counts.sum())
    means, spreads = np.array(PRIOR_SHARES), np.array(PRIOR_SPREADS)
    if total < LEAST_PIXELS:
        return Borders(PRIOR_SHARES[0], PRIOR_SPREADS[0], total)
    shares = ((np.arange(SHARE_BINS) + 0.5) / SHARE_BINS)[:, None]
    parts = np.array([0.5, 0.5])
    for _ in range(ROUNDS):
        density = parts * np.exp(-0.5 * ((shares - means) / spreads) ** 2) / spreads + 1e-30
        members = np.asarray(counts)[:, None] * density / density.sum(1, keepdims=True)
        sizes = members.sum(0)
        before = means
        parts = sizes / total
        # With what is known beforehand as so many pixels more in each group.
        means = ((members * shares).sum(0) + PRIOR_PIXELS * np.array(PRIOR_SHARES)) / (sizes + PRIOR_PIXELS)
        squares = (members * (shares - means) ** 2).sum(0) + PRIOR_PIXELS * np.array(PRIOR_SPREADS) ** 2
        spreads = np.sqrt(squares / (sizes + PRIOR_PIXELS))
        if float(np.abs(means - before).max()) < 1e-5:
            break
    return Borders(float(means[0]), float(spreads[0]), total)


def border_levels(borders: Borders, weight: float, centre: float, spread: float) -> Doubles:
    """The level that a pixel may have at most for lying so many levels under its strongest neighbour, float64 (LEVELS,).

    It is that of the same p-value, times ``weight``, in the null with this centre and spread.
    """
    share = np.exp(-np.arange(LEVELS) / STEPS)
    p = weight * expit((borders.share - share) / (LOGISTIC * borders.spread))
    levels: Doubles = (centre + spread * tail_score(np.clip(p, 1e-300, 1.0)) - LOWEST) * STEPS
    return levels
