"""What a sample to check a map would take: how many places, in which classes, and how long a person looks at them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_core.assess.area import Z95
from tessera_core.assess.designs import Allocation, allocate, sample_size
from tessera_core.errors import LabelError

SECONDS_PER_PLACE = 8.0


@dataclass(frozen=True)
class SamplePlan:
    """What a sample would take.

    Attributes:
        design: one of :data:`tessera_core.assess.designs.DESIGNS`.
        n: places in all.
        per_class: places in each class of the map; empty where the design has no strata.
        margin: half width of the 95 % interval of overall accuracy that is to be expected, as a share.
    """

    design: str
    n: int
    per_class: dict[int, int]
    margin: float

    @property
    def seconds(self) -> float:
        """About how long a person needs."""
        return self.n * SECONDS_PER_PLACE


def plan(
    classes: NDArray[np.integer],
    design: str = "stratified",
    margin: float = 0.05,
    accuracy: float = 0.8,
    allocation: Allocation = "proportional",
    at_least: int = 10,
) -> SamplePlan:
    """How many places a wanted interval takes (Olofsson et al. 2014, section 5.1).

    Args:
        classes: (H, W) the map, 0 where there is no data.
        design: one of :data:`tessera_core.assess.designs.DESIGNS`.
        margin: wanted half width of the 95 % interval of overall accuracy, 0..0.5.
        accuracy: expected share of the map that is right.
        allocation: see :func:`tessera_core.assess.designs.allocate`.
        at_least: places in every class; only for a stratified sample.

    Raises:
        LabelError: a number is out of range, or the map is empty.
    """
    ids, counts = np.unique(classes[classes > 0], return_counts=True)
    if not len(ids):
        raise LabelError("The map is empty, so there is nothing to check.")
    pixels = int(counts.sum())
    sizes = {int(k): int(n) for k, n in zip(ids, counts, strict=True)}
    spread = (accuracy * (1 - accuracy)) ** 0.5
    if design != "stratified":
        n = min(sample_size({0: 1.0}, {0: accuracy}, margin / Z95, pixels), pixels)
        return SamplePlan(design, n, {}, Z95 * spread / n**0.5)
    expected = dict.fromkeys(sizes, accuracy)
    wanted = sample_size({k: float(v) for k, v in sizes.items()}, expected, margin / Z95, pixels)
    at_least = min(at_least, *sizes.values())
    n = min(max(wanted, at_least * len(sizes)), pixels)
    shares = {k: min(v, sizes[k]) for k, v in allocate(n, sizes, allocation, expected, at_least).items()}
    variance = sum((sizes[k] / pixels) ** 2 * spread**2 / m for k, m in shares.items())
    return SamplePlan(design, sum(shares.values()), shares, Z95 * variance**0.5)
