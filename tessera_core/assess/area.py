"""Design-based areas and accuracy from a probability sample: what a map's pixel counts cannot tell.

Counting pixels of a map inherits the map's errors. A sample whose places were drawn by a known design and looked at by a
person gives unbiased areas with intervals, whatever the map is like.

One estimator serves all designs here, the stratified one of Stehman (2014, Int. J. Remote Sens. 35, 4923-4939): every
quantity is a mean of per-place values or a ratio of two such means. Where the strata are the map's classes it is that of
Olofsson et al. (2014, Remote Sens. Environ. 148, 42-57, eqs. 1-11); one stratum is simple random sampling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tessera_core.errors import LabelError

# The papers' 95 % intervals are estimates plus and minus 1.96 standard errors.
Z95 = 1.96


@dataclass(frozen=True)
class AreaEstimate:
    """A number with its standard error (NaN where it cannot be had)."""

    value: float
    se: float

    @property
    def margin(self) -> float:
        """Half the width of the 95 % interval."""
        return Z95 * self.se

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval ``value -+ 1.96 se``."""
        return self.value - self.margin, self.value + self.margin

    def times(self, factor: float) -> AreaEstimate:
        """In other units."""
        return AreaEstimate(self.value * factor, self.se * factor)


@dataclass(frozen=True)
class ClassEstimate:
    """What the sample says about one class.

    Attributes:
        id: of the class.
        share: of the region that truly is the class.
        area: the same in the units of ``total_area``.
        mapped: share of the region mapped as the class, estimated from the sample.
        users: user's accuracy, the share of what is mapped as the class that is; NaN where nothing sampled is mapped so.
        producers: producer's accuracy, the share of the class that is mapped so; NaN where the sample has none of it.
        sampled: places of the sample that truly are the class.
    """

    id: int
    share: AreaEstimate
    area: AreaEstimate
    mapped: float
    users: AreaEstimate
    producers: AreaEstimate
    sampled: int


@dataclass(frozen=True)
class Assessment:
    """The result of a sample.

    Attributes:
        overall: overall accuracy.
        classes: in the order of ``ids``.
        ids: (K,) all class ids of map or reference, sorted.
        counts: int64 (K, K) places, rows the map, columns the reference (as in the papers).
        shares: float64 (K, K) estimated shares of the region, the same way round.
        n: places.
        total_area: of the region.
        notes: what weakens the result, in sentences.
    """

    overall: AreaEstimate
    classes: tuple[ClassEstimate, ...]
    ids: tuple[int, ...]
    counts: NDArray[np.int64]
    shares: NDArray[np.float64]
    n: int
    total_area: float
    notes: tuple[str, ...]

    def sentences(self, names: Mapping[int, str], unit: str = "ha") -> tuple[str, ...]:
        """For the page: overall accuracy, then the area of each class beside what counting the map's pixels gives.

        Args:
            names: class id -> name.
            unit: of ``total_area``.
        """
        first = f"Checked at {self.n} places drawn by chance: the map is right at {_percent(self.overall, 1.0)} of the region."
        areas = [
            f"{names.get(c.id, str(c.id))} truly covers {_amount(c.area, self.total_area)} {unit}; the map shows about "
            f"{c.mapped * self.total_area:,.0f} {unit}."
            for c in self.classes
        ]
        return (first, *areas, *self.notes)


def _percent(share: AreaEstimate, most: float) -> str:
    low, high = (100 * min(max(v, 0.0), most) for v in share.interval)
    if not np.isfinite(share.se):
        return f"{100 * share.value:.0f} %"
    return f"{100 * share.value:.0f} % (95 % sure: {low:.0f} to {high:.0f} %)"


def _amount(area: AreaEstimate, most: float) -> str:
    low, high = (min(max(v, 0.0), most) for v in area.interval)
    if not np.isfinite(area.se):
        return f"{area.value:,.0f}"
    return f"{area.value:,.0f} (95 % sure: {low:,.0f} to {high:,.0f})"


def assess_sample(
    strata: ArrayLike,
    mapped: ArrayLike,
    reference: ArrayLike,
    sizes: Mapping[int, float],
    total_area: float | None = None,
) -> Assessment:
    """Areas and accuracy from a simple random or stratified random sample.

    Args:
        strata: (n,) stratum of each place; the map's classes, other zones, or all the same.
        mapped: (n,) class on the map.
        reference: (n,) true class.
        sizes: pixels (or area) of every stratum of the region.
        total_area: of the region, for ``area``; by default the sum of ``sizes``.

    Returns:
        Estimates with standard errors; the finite population correction ``1 - n_h / N_h`` of Stehman (2014, eq. 25) is
        left out where ``sizes`` sum to 1, because they are then shares and not pixels.

    Raises:
        LabelError: the arrays disagree, a stratum of the sample has no size, or one with a size was not sampled.
    """
    h, m, r = (np.asarray(values) for values in (strata, mapped, reference))
    if not len(h) or not (h.shape == m.shape == r.shape) or h.ndim != 1:
        raise LabelError("A sample needs one stratum, one mapped and one true class for each of its places.")
    names, index = np.unique(h, return_inverse=True)
    missing = [str(name) for name in names.tolist() if not sizes.get(name, 0) > 0]
    if missing:
        raise LabelError(f"The size of stratum {', '.join(missing)} is missing, so its places have no weight.")
    unseen = [str(name) for name, size in sizes.items() if size > 0 and name not in set(names.tolist())]
    if unseen:
        raise LabelError(
            f"No place was sampled in stratum {', '.join(unseen)}, so nothing is known of it; add places there, or join it "
            "with another stratum."
        )
    population = np.array([float(sizes[name]) for name in names.tolist()])
    counts = np.bincount(index)
    stratified = _Stratified(index, population, counts, not np.isclose(population.sum(), 1))
    area = float(population.sum()) if total_area is None else float(total_area)
    ids = np.unique(np.concatenate([m, r]))
    classes = []
    for k in ids:
        hit, on_map, true = ((m == k) & (r == k)).astype(float), (m == k).astype(float), (r == k).astype(float)
        share = stratified.mean(true)
        classes.append(
            ClassEstimate(
                int(k),
                share,
                share.times(area),
                stratified.mean(on_map).value,
                stratified.ratio(hit, on_map),
                stratified.ratio(hit, true),
                int(true.sum()),
            )
        )
    position = np.searchsorted(ids, m) * len(ids) + np.searchsorted(ids, r)
    weight = (population / counts / population.sum())[index]
    size = len(ids) ** 2
    matrix = np.bincount(position, minlength=size).reshape(len(ids), -1).astype(np.int64)
    shares = np.bincount(position, weight, minlength=size).reshape(len(ids), -1)
    notes = _notes(names, counts, classes)
    overall = stratified.mean((m == r).astype(float))
    return Assessment(overall, tuple(classes), tuple(int(k) for k in ids), matrix, shares, len(h), area, notes)


def assess_matrix(counts: ArrayLike, weights: ArrayLike, total_area: float = 1.0) -> Assessment:
    """The same from an error matrix whose rows (map classes, ids 1..K) are the strata.

    Args:
        counts: (K, K) places, rows the map, columns the reference.
        weights: (K,) share of the region mapped as each class.
        total_area: of the region.

    Raises:
        LabelError: the shapes disagree, or a class with a share has no places.
    """
    n = np.asarray(counts, np.int64)
    share = np.asarray(weights, float)
    if n.ndim != 2 or n.shape[0] != n.shape[1] or share.shape != n.shape[:1]:
        raise LabelError("The error matrix must be square, with one map share for each of its rows.")
    rows, cols = (part.ravel() + 1 for part in np.indices(n.shape))
    mapped, reference = np.repeat(rows, n.ravel()), np.repeat(cols, n.ravel())
    sizes = {i + 1: float(w) for i, w in enumerate(share / share.sum())}
    return assess_sample(mapped, mapped, reference, sizes, total_area)


@dataclass(frozen=True)
class _Stratified:
    """The stratified estimator for values of the sample's places.

    Attributes:
        index: (n,) stratum number of each place.
        population: (H,) sizes of the strata.
        counts: (H,) places in each.
        finite: whether sizes are counts, so that the finite population correction applies.
    """

    index: NDArray[np.intp]
    population: NDArray[np.float64]
    counts: NDArray[np.intp]
    finite: bool

    def mean(self, y: NDArray[np.float64]) -> AreaEstimate:
        """Mean over the region (Stehman 2014, eqs. 3 and 25; Cochran 1977, eq. 5.12)."""
        total = self.population.sum()
        value = float(self.population @ self._means(y) / total)
        return AreaEstimate(value, float(np.sqrt(self._spread(y, y)) / total))

    def ratio(self, y: NDArray[np.float64], x: NDArray[np.float64]) -> AreaEstimate:
        """Ratio of two means (Stehman 2014, eqs. 27 and 28)."""
        whole = float(self.population @ self._means(x))
        if whole <= 0:
            return AreaEstimate(float("nan"), float("nan"))
        value = float(self.population @ self._means(y)) / whole
        rest = y - value * x
        return AreaEstimate(value, float(np.sqrt(self._spread(rest, rest)) / whole))

    def _means(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(self.index, y) / self.counts

    def _spread(self, y: NDArray[np.float64], x: NDArray[np.float64]) -> float:
        """``sum_h N_h^2 (1 - f_h) s_yxh / n_h``; NaN where a stratum has a single place."""
        if self.counts.min() < 2:
            return float("nan")
        y_off, x_off = (v - self._means(v)[self.index] for v in (y, x))
        within = np.bincount(self.index, y_off * x_off) / (self.counts - 1)
        unseen = np.clip(1 - self.counts / self.population, 0, 1) if self.finite else 1.0
        return float(max((self.population**2 * unseen * within / self.counts).sum(), 0.0))


def _notes(names: NDArray[Any], counts: NDArray[np.intp], classes: list[ClassEstimate]) -> tuple[str, ...]:
    notes = []
    if counts.min() < 2:
        single = ", ".join(str(name) for name in names[counts < 2].tolist())
        notes.append(f"Stratum {single} has a single place, so there is no interval; add a second place there.")
    if len(names) > 1 and counts.min() < 20:
        notes.append("A class of the map (or zone) has fewer than 20 places; its intervals are rough.")
    rare = [c for c in classes if 0 < c.sampled < 5]
    if rare:
        notes.append(f"{len(rare)} of the classes were met at fewer than 5 places; their areas are rough.")
    return tuple(notes)
