"""Places at which nobody could tell: what they could do to a result, at worst.

Leaving them out supposes that they are like the others, which they seldom are: what cannot be told is often mixed or at an edge.
The bounds suppose nothing (Manski 1989, J. Human Resources 24, 343-360; for shares already Cochran 1977, section 13.2): the low end
is that of the interval were none of them a hit, the high end that were all. Whatever they are, the interval of the sample with
their true classes lies between, as an interval moves up with each hit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from tessera_core.assess.area import shares_of
from tessera_core.assess.designs import Sample
from tessera_core.errors import LabelError

Range = tuple[float, float]


@dataclass(frozen=True)
class WorstCase:
    """Shares of the region (0..1) between which the truth lies, 95 % sure, whatever the undecided places are.

    Attributes:
        overall: of the map that is right.
        classes: of the region that is each class.
    """

    overall: Range
    classes: Mapping[int, Range]


def worst_case(sample: Sample, undecided: Collection[int]) -> WorstCase:
    """The bounds of a sample of which some places (by position) were looked at and could not be told.

    Raises:
        LabelError: a stratum has no place that anybody has looked at.

    Example:
        >>> every = np.zeros(4, np.int64)
        >>> sample = Sample(every, every, every, every + 1, np.array([1, 1, 1, 0]), ("",) * 4, {0: 400}, "random")
        >>> low, high = worst_case(sample, {3}).overall
        >>> low < 0.75 < high
        True
    """
    untold = np.zeros(len(sample), bool)
    untold[sorted(undecided)] = True
    seen = untold | (sample.reference > 0)
    strata, mapped, reference, untold = (a[seen] for a in (sample.strata, sample.mapped, sample.reference, untold))
    if set(sample.sizes) - set(strata.tolist()):
        raise LabelError("A stratum has no place that anybody has looked at.")
    ids = np.unique(np.concatenate([mapped, reference[~untold]]))
    known = np.concatenate([((reference == mapped) & ~untold)[None], (reference == ids[:, None]) & ~untold])
    least = shares_of(strata, known, sample.sizes)
    most = shares_of(strata, known | untold, sample.sizes)
    ranges = [(low.low, high.high) for low, high in zip(least, most, strict=True)]
    return WorstCase(ranges[0], dict(zip(ids.tolist(), ranges[1:], strict=True)))
