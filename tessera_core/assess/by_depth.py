"""How right a map is where satellites saw the ground rarely, and where they saw it well, from one sample of places.

The places were drawn without regard to depth; each part's accuracy is the ratio estimator of a domain (Stehman 2014, eqs. 27 and
28; Cochran 1977, section 5A.14), with the intervals of :mod:`tessera_core.assess.intervals`. So every sample has it, older ones
too, and drawing by class stays as it is: parts of a twentieth of the region or more get places enough to say something.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.percents import percent as in_percent
from tessera_core.assess.area import AreaEstimate, ratio_of
from tessera_core.assess.designs import Sample
from tessera_core.observations import ELBOW, percent

# A smaller part of the region is not told by itself: a sample has hardly a place there.
LEAST_SHARE = 0.05
LEAST_PLACES = 5


@dataclass(frozen=True)
class DepthPart:
    """One part of the region by how often it was seen.

    Attributes:
        seldom: whether it is the part that was seen clearly fewer than :data:`~tessera_core.observations.ELBOW` times.
        share: of the mapped pixels, 0..1.
        places: answered in it.
        right: share of it where the map is right.
    """

    seldom: bool
    share: float
    places: int
    right: AreaEstimate

    @property
    def sentence(self) -> str:
        """For people."""
        value, low, high = in_percent(self.right.value), in_percent(self.right.low), in_percent(self.right.high)
        if self.places < LEAST_PLACES:
            return (
                f"Seen clearly {'fewer than' if self.seldom else 'at least'} {ELBOW} times ({percent(self.share)} of the map): "
                f"{self.places} places, too few to tell."
            )
        return (
            f"Seen clearly {'fewer than' if self.seldom else 'at least'} {ELBOW} times ({percent(self.share)} of the map): right "
            f"at {value} % (95 % sure: {low} to {high} %), from {self.places} places."
        )


def accuracy_by_depth(
    sample: Sample, seen: NDArray[np.integer] | None, mapped: NDArray[np.bool_]
) -> tuple[DepthPart, ...]:
    """Accuracy where ground was seen rarely and where it was seen well.

    Args:
        sample: with answers, on the map that is checked.
        seen: (H, W) clear days of each pixel; None where nobody counted.
        mapped: bool (H, W), which pixels the map has a class for.

    Returns:
        The rarely seen part first; empty where nobody counted, nothing is answered, or one part is below a twentieth of the map.
    """
    done = (sample.reference > 0) & (sample.mapped > 0)
    if seen is None or not done.any() or set(sample.sizes) - set(sample.strata[done].tolist()):
        return ()
    pixels = int(mapped.sum())
    rare = int((mapped & (np.asarray(seen) < ELBOW)).sum())
    if min(rare, pixels - rare) < LEAST_SHARE * max(pixels, 1):
        return ()
    strata, right = sample.strata[done], (sample.mapped == sample.reference)[done]
    seldom = np.asarray(seen[sample.rows[done], sample.cols[done]]) < ELBOW
    parts = np.stack([seldom, ~seldom])
    found = ratio_of(strata, parts & right, parts & ~right, sample.sizes)
    shares = rare / pixels, 1 - rare / pixels
    return tuple(
        DepthPart(first, share, int(inside.sum()), one)
        for first, share, inside, one in zip((True, False), shares, parts, found, strict=True)
    )
