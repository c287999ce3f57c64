"""What a comparison of two years leaves behind: 16 bits a pixel, in which every threshold is a look-up.

False-discovery rates are those of Benjamini & Hochberg's step-up rule (J. R. Stat. Soc. B 57, 1995), as tables over the
65,536 levels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tessera_core.analysis.change.borders import Borders
from tessera_core.analysis.change.levels import LEVELS, NO_LEVEL, log_ratio, look_up, tail_chance, tail_score
from tessera_core.errors import RasterError
from tessera_core.types import Doubles

# Pixels that a null is estimated from, at least.
MIN_PIXELS = 500


@dataclass(frozen=True)
class Null:
    """What unchanged ground does: the level's logarithm is near normal with this centre and spread (:func:`.tail_chance`).

    Attributes:
        centre, spread: of log(difference / noise).
        source: ``"fitted"`` (left flank of the histogram) or ``"marked"`` (areas a person marked as stable).
        pixels: how many pixels it was estimated from.
    """

    centre: float
    spread: float
    source: str
    pixels: int

    def p_table(self) -> Doubles:
        """float64 (LEVELS,), read-only: p-value of each level; 1 at :data:`NO_LEVEL`."""
        return _p_table(self.centre, self.spread)


# The tiles of a scene share a null.
@lru_cache(maxsize=4)
def _p_table(centre: float, spread: float) -> Doubles:
    table = tail_chance((log_ratio(np.arange(LEVELS)) - centre) / spread)
    table[NO_LEVEL] = 1.0
    table.flags.writeable = False
    return table


@dataclass(frozen=True)
class SceneShift:
    """How far the whole scene moved between the years (weather, sensors), apart from local change.

    Attributes:
        before: median distance on unchanged ground, in the embedding's units.
        after: the same once the shift is taken out.
        relative: length of the mean shift in units of ``after``.
    """

    before: float
    after: float
    relative: float

    @property
    def share(self) -> float:
        """Which share of the squared difference on unchanged ground was the shift, 0..1."""
        return float(max(0.0, 1 - (self.after / self.before) ** 2)) if self.before > 0 else 0.0


@dataclass(frozen=True)
class ChangeLayer:
    """Change of every pixel between two years, as levels; thresholds and p-values are look-ups.

    Attributes:
        levels: uint16 (H, W), rising with the evidence for change; 65535 where a year has no data. See :func:`.log_ratio`.
        histogram: int64 (LEVELS,), pixels of each level, without those that have no data.
        null: what unchanged ground does.
        shift: of the whole scene, taken out already.
        years: of the two rasters.
        raised: kinds of ground noisier than the rest, whose noise was set higher: (share of the pixels, factor).
        borders: what pixels beside changed ground were judged by.
    """

    levels: NDArray[np.uint16]
    histogram: NDArray[np.int64]
    null: Null
    shift: SceneShift
    years: tuple[int | None, int | None]
    raised: tuple[tuple[float, float], ...]
    borders: Borders

    @property
    def pixels(self) -> int:
        """Pixels with data in both years."""
        return int(self.histogram.sum())

    def p_table(self) -> Doubles:
        """p-value of each level, float64 (LEVELS,)."""
        return self.null.p_table()

    def q_table(self) -> Doubles:
        """Smallest false-discovery rate at which a level is called changed, float64 (LEVELS,); falls with the level."""
        return false_discovery(self.p_table(), self.histogram)

    def threshold(self, rate: float) -> int:
        """Smallest level called changed at a false-discovery rate; :data:`NO_LEVEL` where none is."""
        called = np.flatnonzero(self.q_table()[:NO_LEVEL] <= rate)
        return int(called[0]) if len(called) else int(NO_LEVEL)

    def count(self, rate: float) -> int:
        """Pixels called changed at a false-discovery rate."""
        return int(self.histogram[self.threshold(rate) :].sum())

    def mask(self, rate: float) -> NDArray[np.bool_]:
        """bool (H, W): pixels called changed."""
        called: NDArray[np.bool_] = (self.levels >= self.threshold(rate)) & (self.levels != NO_LEVEL)
        return called

    def classes(self, rate: float) -> NDArray[np.uint8]:
        """uint8 (H, W): 1 unchanged, 2 called changed at a false-discovery rate, 0 where there is no data."""
        return self.classes_from(self.threshold(rate))

    def classes_from(self, threshold: int) -> NDArray[np.uint8]:
        """:meth:`classes` where the smallest level called changed is known already."""
        table = np.ones(LEVELS, np.uint8)
        table[threshold:] = 2
        table[NO_LEVEL] = 0
        return look_up(table, self.levels)

    def p_values(self) -> NDArray[np.float32]:
        """float32 (H, W), NaN where there is no data."""
        return self.p_by_rows()[:]

    def p_by_rows(self) -> PByRows:
        """:meth:`p_values`, rows of which are made when they are asked for: twice the bytes of the levels."""
        table = self.p_table().astype(np.float32)
        table[NO_LEVEL] = np.nan
        return PByRows(table, self.levels)

    def rates(self, stops: NDArray[np.floating]) -> NDArray[np.uint8]:
        """uint8 (H, W): 1 + index of the first of the rising ``stops`` at which the pixel is called changed.

        ``len(stops) + 1`` where it is at none of them, 0 where there is no data: the index of a palette picture whose
        threshold is a matter of its palette.
        """
        table = (np.searchsorted(stops, self.q_table(), side="left") + 1).astype(np.uint8)
        table[NO_LEVEL] = 0
        return look_up(table, self.levels)

    def with_stable(self, stable: NDArray[np.bool_]) -> ChangeLayer:
        """The same layer against a null from pixels that a person marked as unchanged; nothing is computed anew.

        Raises:
            RasterError: fewer than 500 marked pixels have data.
        """
        marked = self.levels[stable]
        counts = np.bincount(marked, minlength=LEVELS)
        counts[NO_LEVEL] = 0
        total = int(counts.sum())
        if total < MIN_PIXELS:
            raise RasterError(
                f"Only {total} of the marked pixels have data in both years; mark at least {MIN_PIXELS} that did not change."
            )
        values = log_ratio(np.arange(LEVELS))
        centre = float(counts @ values / total)
        spread = math.sqrt(float(counts @ (values - centre) ** 2 / total))
        # The tail decides, so it must not be lighter than what was marked.
        share = np.cumsum(counts) / total
        for quantile in (0.95, 0.99):
            z = float(tail_score(np.array(1 - quantile)))
            spread = max(spread, (values[int(np.searchsorted(share, quantile))] - centre) / z)
        return replace(self, null=Null(centre, spread, "marked", total))


@dataclass(frozen=True)
class PByRows:
    """p-values float32 (H, W) that are not held.

    Attributes:
        table: float32 (LEVELS,), of each level.
        levels: uint16 (H, W).
    """

    table: NDArray[np.float32]
    levels: NDArray[np.uint16]

    @property
    def shape(self) -> tuple[int, ...]:
        """``(H, W)``."""
        return self.levels.shape

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """float32."""
        return self.table.dtype

    @property
    def nbytes(self) -> int:
        """What they take where all are held."""
        return self.levels.size * self.table.itemsize

    def __getitem__(self, rows: slice, /) -> NDArray[np.float32]:
        """p-values of some rows."""
        return look_up(self.table, self.levels[rows])


def false_discovery(p_table: Doubles, histogram: NDArray[np.int64]) -> Doubles:
    """Benjamini & Hochberg's adjusted p-values for levels with a histogram instead of a sorted list.

    Args:
        p_table: (L,) p-value of each level, falling.
        histogram: (L,) how many there are of each.

    Returns:
        (L,) the smallest false-discovery rate at which a level is rejected, at most 1.
    """
    at_least = np.cumsum(histogram[::-1])[::-1]
    rates = p_table * histogram.sum() / np.maximum(at_least, 1)
    rates[at_least == 0] = p_table[at_least == 0]
    return np.minimum(np.minimum.accumulate(rates), 1.0)
