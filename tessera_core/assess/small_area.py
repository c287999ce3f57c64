"""Class shares of a small area, corrected by what a sample of the whole region says of the map's errors.

A field has no sample of its own. What is borrowed from the region is how often each class of the map truly is what: the synthetic
estimator of Rao and Molina, Small Area Estimation (2015), section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_core.assess.area import AreaEstimate
from tessera_core.assess.designs import Sample
from tessera_core.assess.intervals import mean_interval
from tessera_core.types import Doubles

MEANING = (
    "Corrected shares take for granted that the map errs in each zone as it does in the whole region. Their 95 % intervals cover "
    "the chance of the sample, not that assumption: a zone that is unlike the region can be further off."
)


@dataclass(frozen=True)
class MapErrors:
    """How often each class of the map truly is what, from a sample of the whole region.

    Attributes:
        mapped, true: int64 (n,) class on the map and true class of each place.
    """

    mapped: NDArray[np.int64]
    true: NDArray[np.int64]

    @classmethod
    def of_sample(cls, sample: Sample) -> MapErrors | None:
        """From the answered places of a sample; None where there are none, or its strata are neither one nor the map's classes.

        Of strata of another kind, places of one class of the map weigh differently, and simple counts would mislead.
        """
        done = sample.reference > 0
        strata, mapped = sample.strata[done], sample.mapped[done]
        plain = len(np.unique(sample.strata)) <= 1 or bool(np.array_equal(strata, mapped))
        return cls(mapped, sample.reference[done]) if done.any() and plain else None

    def places(self, class_id: int) -> int:
        """Places that lie on a class of the map."""
        return int((self.mapped == class_id).sum())

    def corrected(self, shares: Doubles) -> dict[int, AreaEstimate] | None:
        """The shares of a zone, corrected: see :data:`MEANING`.

        The share that truly is class k is the sum over classes j of (share mapped as j) times (how often what is mapped as j is k).

        Args:
            shares: float64 (256,) of the zone, by class of the map.

        Returns:
            Every class of the sample or the zone -> share with its 95 % interval; None where a class of the zone has
            no place in the sample.

        Example:
            >>> errors = MapErrors(np.array([1, 1, 1, 1, 2, 2]), np.array([1, 1, 1, 2, 2, 2]))
            >>> shares = np.zeros(256)
            >>> shares[1] = 1
            >>> errors.corrected(shares)[1].value
            0.75
        """
        present = np.flatnonzero(shares > 0)
        counts = np.array([self.places(int(k)) for k in present])
        if not len(present) or not counts.all():
            return None
        ids = np.unique(np.concatenate([present, self.mapped, self.true]))
        hits = np.array([[((self.mapped == j) & (self.true == k)).sum() for j in present] for k in ids], float)
        weights = shares[present] / shares[present].sum()
        low, high = mean_interval(hits, counts, weights)
        rates = hits / counts
        value = rates @ weights
        se = np.sqrt((rates * (1 - rates) / np.maximum(counts - 1, 1)) @ weights**2)
        return {
            int(k): AreaEstimate(float(value[n]), float(se[n]), float(low[n]), float(high[n]))
            for n, k in enumerate(ids)
        }
