"""From what was measured to evidence for change: every pixel against what unchanged ground of its kind does in this scene.

No constant here is tuned to an encoder; the scene itself says

1. how the difference grows with the contrast of a place, because the years' images lie some metres beside each other: strata
   of contrast, each with its own first peak;
2. which kinds of ground are noisier than the rest: the first peak of each group of alike ground;
3. where the differences of sharp places have a heavier tail than those of calm ones;
4. how much of a changed neighbour's difference unchanged ground shows (:mod:`.borders`).

From 1 to 3 comes one p-value, from 4 another, and a pixel is as suspicious as the less suspicious of the two says. The second
hypothesis can hold at borders of change only, so it is weighted by twice their share of the scene (weighted hypotheses: Genovese,
Roeder & Wasserman, Biometrika 93, 2006).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.threads import run_blocks
from tessera_core.analysis.change.borders import (
    HALF,
    SHARE_BINS,
    Borders,
    around,
    border_levels,
    fit_borders,
    share_bins,
)
from tessera_core.analysis.change.layer import MIN_PIXELS, Null
from tessera_core.analysis.change.levels import (
    BINS,
    COARSE,
    LOWEST,
    NO_LEVEL,
    STEPS,
    TOP_LEVEL,
    first_peak,
    right_spread,
)
from tessera_core.analysis.change.measure import CONTRASTS, Measured
from tessera_core.types import Doubles

Counts = NDArray[np.int64]

# Strata of contrast at most, and pixels that each should have at least.
STRATA, STRATUM_PIXELS = 12, 500
# A kind of ground is noisier than the rest from here (in spreads of unchanged ground), and it is no longer noise but change from
# there (in spreads, but at least three times the noise).
NOISIER, TOO_NOISY, MOST_NOISE = 0.25, 2.5, math.log(3)
# In the same: from here a neighbour may have changed, and from there it surely has.
LIKELY, SURE = 2.5, 3.5
# Ground that differs less than this share of such a neighbour may be a mixture, so it says nothing about tails.
MIXED = round(-math.log(0.6) * STEPS)
# Weight of the border hypothesis: half of the pixels at borders lie outside, so that their false alarms are a quarter of those
# accepted, which is about what is left over because changed ground gives none.
BORDER_WEIGHT, LEAST_WEIGHT = 2.0, 1e-4
BLOCK_PIXELS = 1 << 17


@dataclass(frozen=True)
class Judged:
    """Evidence for change.

    Attributes:
        levels: uint16 (H, W), comparable across the scene; 65535 where a year has no data.
        null: of these levels on unchanged ground.
        raised: kinds of ground set noisier: (share of the pixels, factor).
        borders: what pixels beside changed ground were judged by.
    """

    levels: NDArray[np.uint16]
    null: Null
    raised: tuple[tuple[float, float], ...]
    borders: Borders


@dataclass(frozen=True)
class Judgement:
    """What unchanged ground does, as tables: what turns differences into evidence, for one scene or for parts of it.

    Attributes:
        null, raised, borders: see :class:`Judged`.
        rise: float32 (CONTRASTS,), levels by which unchanged ground of that contrast lies above calm ground.
        lift: float32 (groups,), the same for kinds of ground.
        shrink: float32 (CONTRASTS,), factor of what lies above the centre.
        most: float32 (LEVELS,), the most that a pixel may have for lying so many levels under its strongest neighbour.
    """

    null: Null
    raised: tuple[tuple[float, float], ...]
    borders: Borders
    rise: NDArray[np.float32]
    lift: NDArray[np.float32]
    shrink: NDArray[np.float32]
    most: NDArray[np.float32]

    def levels(self, measured: Measured) -> NDArray[np.uint16]:
        """Evidence, uint16 (H, W) of what is judged; see :class:`Judged`."""
        centre = np.float32((self.null.centre - LOWEST) * STEPS)
        levels = np.empty(measured.shape, np.uint16)

        def work(rows: slice) -> None:
            inner, cols = measured.inner(rows)
            own, largest, _ = (found[:, cols] for found in around(measured.levels, inner))
            contrast = measured.contrasts[inner, cols]
            level = own - (self.rise[contrast] + self.lift[measured.groups[inner, cols]] + centre)
            np.multiply(level, self.shrink[contrast], out=level, where=level > 0)
            level += centre
            np.minimum(level, self.most[largest - np.minimum(own, largest)], out=level)
            np.clip(np.rint(level, out=level), 0, TOP_LEVEL, out=level)
            level[own == NO_LEVEL] = NO_LEVEL
            levels[rows] = level

        _by_rows(work, levels.shape)
        return levels


@dataclass(frozen=True)
class _Strata:
    """Places of like contrast, and what unchanged ground does there.

    Attributes:
        of: uint8 (CONTRASTS,), stratum of each contrast.
        middles: float64 (n,), mean contrast of each.
        rise: float32 (CONTRASTS,), levels by which unchanged ground of that contrast lies above calm ground.
        centre, spread: of log(difference / noise) on calm ground.
        used: pixels on the left flanks.
    """

    of: NDArray[np.uint8]
    middles: Doubles
    rise: NDArray[np.float32]
    centre: float
    spread: float
    used: int

    def level(self, spreads: float) -> float:
        """Level this many spreads above the centre."""
        return (self.centre + spreads * self.spread - LOWEST) * STEPS


def judge_differences(measured: Measured, groups: int) -> Judged:
    """Turn differences into evidence that one null holds for.

    Args:
        measured: of all pixels.
        groups: kinds of ground there are.
    """
    found = fit_judgement([measured], groups)
    return Judged(found.levels(measured), found.null, found.raised, found.borders)


def fit_judgement(parts: Iterable[Measured], groups: int) -> Judgement:
    """Learn from all parts of a scene together what unchanged ground does in it; the parts are gone through twice.

    Args:
        parts: of the scene, in any order; together they hold each pixel once.
        groups: kinds of ground there are.
    """
    by_contrast = np.zeros((CONTRASTS, BINS), np.int64)
    for part in parts:
        by_contrast += _count_contrasts(part)
    strata = _fit_strata(by_contrast)
    table, shares = np.zeros((len(strata.middles), groups, BINS), np.int64), np.zeros(SHARE_BINS, np.int64)
    for part in parts:
        kinds, at_borders = _count_kinds(part, strata, groups)
        table += kinds
        shares += at_borders
    lift, raised = _raise_noisy(table.sum(0), strata)
    shrink = (1 / _tails(table, lift, strata)).astype(np.float32)
    borders = fit_borders(shares)
    weight = min(1.0, max(BORDER_WEIGHT * borders.pixels / int(by_contrast.sum()), LEAST_WEIGHT))
    most = border_levels(borders, weight, strata.centre, strata.spread).astype(np.float32)
    null = Null(strata.centre, strata.spread, "fitted", strata.used)
    return Judgement(null, raised, borders, strata.rise, lift, shrink, most)


# ------------------------------------------------------------------ counting


def _by_rows(work: Callable[[slice], None], shape: tuple[int, ...]) -> None:
    run_blocks(work, shape[0], max(1, BLOCK_PIXELS // shape[1]))


def _count_contrasts(measured: Measured) -> Counts:
    """Pixels of each contrast and coarse level, int64 (CONTRASTS, BINS)."""
    total, lock = np.zeros(CONTRASTS * BINS, np.int64), threading.Lock()

    def work(rows: slice) -> None:
        inner = measured.inner(rows)
        levels = measured.levels[inner]
        known = levels != NO_LEVEL
        index = measured.contrasts[inner][known].astype(np.int32) * BINS + levels[known] // COARSE
        counts = np.bincount(index, minlength=len(total))
        with lock:
            np.add(total, counts, out=total)

    _by_rows(work, measured.shape)
    return total.reshape(CONTRASTS, BINS)


def _count_kinds(measured: Measured, strata: _Strata, groups: int) -> tuple[Counts, Counts]:
    """Pixels of each stratum, kind of ground and coarse level above their contrast's; and shares at borders of sure change.

    The first, int64 (strata, groups, BINS), leaves out what may be a mixture with changed ground; the second is
    int64 (SHARE_BINS,).
    """
    number = len(strata.middles)
    total, lock = np.zeros(number * groups * BINS, np.int64), threading.Lock()
    shares = np.zeros(SHARE_BINS, np.int64)
    likely, sure = round(strata.level(LIKELY)), round(strata.level(SURE))

    def work(rows: slice) -> None:
        inner, cols = measured.inner(rows)
        own, largest, smallest = (found[:, cols] for found in around(measured.levels, inner))
        known = own != NO_LEVEL
        below = largest - np.minimum(own, largest)
        ends = known & (largest > sure) & (smallest < largest - np.minimum(largest, HALF))
        at_border = np.bincount(share_bins(below[ends]), minlength=SHARE_BINS)
        plain = known & ((largest <= likely) | (below < MIXED))
        contrast = measured.contrasts[inner, cols][plain]
        level = np.maximum(own[plain] - strata.rise[contrast], 0).astype(np.int32)
        kind = strata.of[contrast].astype(np.int32) * groups + measured.groups[inner, cols][plain]
        counts = np.bincount(kind * BINS + level // COARSE, minlength=len(total))
        with lock:
            np.add(total, counts, out=total)
            np.add(shares, at_border, out=shares)

    _by_rows(work, measured.shape)
    return total.reshape(number, groups, BINS), shares


# ------------------------------------------------------------------ what unchanged ground does


def _fit_strata(table: Counts) -> _Strata:
    """Strata of equal size, and the first peak in each: only ever higher where contrast is higher."""
    sizes = table.sum(1)
    total = int(sizes.sum())
    wanted = max(1, min(STRATA, total // STRATUM_PIXELS))
    # Of each contrast, in which of the equal parts its middle pixel lies; parts that got no contrast vanish.
    place = np.minimum((np.cumsum(sizes) - sizes / 2) / max(total, 1) * wanted, wanted - 1).astype(np.int64)
    _, of = np.unique(place, return_inverse=True)
    number = int(of.max()) + 1
    contrasts = np.arange(CONTRASTS)
    middles, fits = np.zeros(number), []
    for stratum in range(number):
        mine = of == stratum
        weight = sizes[mine]
        middles[stratum] = np.average(contrasts[mine], weights=weight) if weight.sum() else contrasts[mine].mean()
        fits.append(first_peak(table[mine].sum(0)))
    centres, spreads = np.array([fit[0] for fit in fits]), np.array([fit[1] for fit in fits])
    if number > 2:
        # The smoothest ground (water) is quieter than anything else and would set too low a scale.
        centres[0], spreads[0] = centres[1], spreads[1]
    centres = np.maximum.accumulate(centres)
    rise = np.interp(contrasts, middles, centres - centres[0]) * STEPS
    return _Strata(
        of.astype(np.uint8),
        middles,
        rise.astype(np.float32),
        float(centres[0]),
        float(np.median(spreads)),
        sum(fit[2] for fit in fits),
    )


def _raise_noisy(table: Counts, strata: _Strata) -> tuple[NDArray[np.float32], tuple[tuple[float, float], ...]]:
    """Levels to take off each kind of ground, float32 (groups,), and (share, factor) of those.

    Only ever towards less change: a group of which much has changed would otherwise hide it. A group counts as noisy where its
    first peak lies above the scene's by more than chance and less than change does.
    """
    sizes = table.sum(1)
    lift, raised = np.zeros(len(table), np.float32), []
    for group, counts in enumerate(table):
        if sizes[group] < MIN_PIXELS:
            continue
        peak, _, used = first_peak(counts)
        above = peak - strata.centre
        most = max(TOO_NOISY * strata.spread, MOST_NOISE)
        if NOISIER * strata.spread < above < most and used > 0.3 * sizes[group]:
            lift[group] = above * STEPS
            raised.append((float(sizes[group] / sizes.sum()), math.exp(above)))
    return lift, tuple(raised)


def _tails(table: Counts, lift: NDArray[np.float32], strata: _Strata) -> Doubles:
    """How much wider the right side is at each contrast than on calm ground, float64 (CONTRASTS,), at least 1.

    Against calm ground, because change itself widens the right side of both.
    """
    number = len(strata.middles)
    if number < 4:
        return np.ones(CONTRASTS)
    widths = np.empty(number)
    for stratum in range(number):
        counts = np.zeros(BINS, np.int64)
        for group, own in enumerate(table[stratum]):
            by = round(float(lift[group]) / COARSE)
            counts[: BINS - by] += own[by:]
        peak, spread, _ = first_peak(counts)
        widths[stratum] = right_spread(counts, max(peak, strata.centre), max(spread, 0.8 * strata.spread))
    calm = float(np.median(widths[1 : 1 + number // 2]))
    return np.interp(np.arange(CONTRASTS), strata.middles, np.maximum(widths / calm, 1.0))
