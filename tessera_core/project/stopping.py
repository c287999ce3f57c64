"""Whether a person who checks a map may stop: what the answers so far make sure, and how many places are still to come."""

from __future__ import annotations

import numpy as np

from tessera_core._utils.percents import percent
from tessera_core.assess.sequential import UntilSure, until_sure
from tessera_core.project.validate import Validation

# Above this width of the interval nobody thinks of stopping, and how many places are to come cannot be told.
WIDEST = 0.5


def sure_so_far(current: Validation) -> UntilSure | None:
    """Overall accuracy with an interval that holds at every answer at once, for the margin for which the sample was drawn.

    Counted are the places from the first to where one is left open, as they come in an order by chance. None before the first
    answer, and for a net, whose places do not come by chance one by one.

    Args:
        current: on the map that is checked.
    """
    sample = current.sample
    ids = np.array(sorted(sample.sizes))
    told = next((k for k in range(len(sample)) if not current.is_seen(k)), len(sample))
    asked = np.array([k not in current.undecided for k in range(len(sample))], bool)
    strata = np.searchsorted(ids, sample.strata)
    places = np.bincount(strata[asked], minlength=len(ids))
    first = np.flatnonzero(asked[:told])
    if not len(first) or sample.design == "systematic":
        return None
    right = sample.reference[first] == sample.mapped[first]
    weights = [float(sample.sizes[k]) for k in ids.tolist()]
    return until_sure(right, strata[first], weights, current.margin, places=places)


def sure_sentences(current: Validation) -> list[str]:
    """Whether one may stop, for people; empty where nothing is known yet, and where all is answered, so that the result holds."""
    left = len(current.sample) - current.seen
    found = sure_so_far(current) if left else None
    if found is None or found.high[-1] - found.low[-1] > WIDEST:
        return []
    low, high, points = percent(found.low[-1]), percent(found.high[-1]), 100 * current.margin
    if found.stop is not None:
        right = percent(found.estimate[-1])
        return [
            f"You may stop now: the map is right at {right} % of the region, {low} to {high} % (95 % sure, however often you look)."
        ]
    if found.more is None or found.more > left:
        return [
            f"Go on to the last place: ±{points:.0f} points likely come no sooner. If you stop before, the map is right at "
            f"{low} to {high} % (95 % sure, however often you look)."
        ]
    return [
        f"Places to go until ±{points:.0f} points: about {found.more}. If you stop before, the map is right at {low} to "
        f"{high} % (95 % sure, however often you look)."
    ]
