"""The mean of a region, and its total, from a map of a number and the plots that it was held against.

The mean of the map alone is biased where the map is; the mean error at plots that were held out, taken off, mends that (difference
estimator of model-assisted estimation: Sarndal, Swensson and Wretman 1992; for maps McRoberts, Naesset and Gobakken 2013). Its
interval rests on the plots having been drawn by chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_core.assess.regression import HeldOutValues

LEAST_HEAPS = 5
"""Places far enough apart that an interval can rest on them."""


@dataclass(frozen=True)
class RegionMean:
    """The mean of a region with a 95 % interval, in the unit of the plots.

    Attributes:
        mapped: mean of the map as it is.
        value, low, high: mended by the errors at plots.
        places: that the interval rests on: blocks of ground with plots.
    """

    mapped: float
    value: float
    low: float
    high: float
    places: int


def region_mean(values: NDArray[np.floating], held: HeldOutValues) -> RegionMean | None:
    """The mean of a map (H, W), NaN where there is none, mended by the errors at plots; None where too few places have plots.

    Plots of one block of ground count together, for they are not independent; the quantile is Student's.

    >>> import numpy as np
    >>> from tessera_core.assess.regression import HeldOutValues
    >>> truth = np.arange(10.0)
    >>> held = HeldOutValues(np.arange(10), truth, truth - 1, np.ones(10), np.arange(10))
    >>> found = region_mean(np.full((4, 4), 3.0), held)
    >>> found.mapped, found.value, found.low, found.high
    (3.0, 4.0, 4.0, 4.0)
    """
    from scipy.stats import t

    known = np.isfinite(held.guess)
    _, block = np.unique(held.blocks[known], return_inverse=True)
    places = int(block.max(initial=-1)) + 1
    if places < LEAST_HEAPS or not np.isfinite(values).any():
        return None
    error = held.truth[known] - held.guess[known]
    mean = float(error.mean())
    # Of a ratio of sums over blocks, which hold unequal numbers of plots.
    off = np.bincount(block, error - mean) / (len(error) / places)
    half = float(t.ppf(0.975, places - 1)) * float(off.std(ddof=1)) / places**0.5
    mapped = float(np.nanmean(values))
    return RegionMean(mapped, mapped + mean, mapped + mean - half, mapped + mean + half, places)
