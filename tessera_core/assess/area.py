"""Design-based areas and accuracy from a probability sample: what a map's pixel counts cannot tell.

Counting pixels of a map inherits the map's errors. A sample whose places were drawn by a known design and looked at by a
person gives unbiased areas with intervals, whatever the map is like.

One estimator serves all designs here, the stratified one of Stehman (2014, Int. J. Remote Sens. 35, 4923-4939): every
quantity is a mean of per-place values or a ratio of two such means. Where the strata are the map's classes it is that of
Olofsson et al. (2014, Remote Sens. Environ. 148, 42-57, eqs. 1-11); one stratum is simple random sampling.

The papers' intervals, estimates plus and minus 1.96 standard errors, hold too seldom where places are few or a stratum shows no
mistake (docs/trust.md). The intervals here are those of :mod:`tessera_core.assess.intervals`; the papers' stay beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tessera_core._utils.percents import percent
from tessera_core.assess.intervals import mean_interval, ratio_intervals
from tessera_core.errors import LabelError

# The papers' 95 % intervals are estimates plus and minus 1.96 standard errors.
Z95 = 1.96
# A stratum that was seen whole counts as this many places, whose doubt is nothing.
SEEN_WHOLE = 1e7


@dataclass(frozen=True)
class AreaEstimate:
    """A number with its 95 % interval, and its standard error (NaN where it cannot be had).

    Attributes:
        value: the estimate; NaN where the sample has nothing to estimate it from.
        se: standard error.
        low, high: the interval; within what is possible, NaN where there is no estimate.
    """

    value: float
    se: float
    low: float
    high: float

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval, see :mod:`tessera_core.assess.intervals`."""
        return self.low, self.high

    @property
    def wald_margin(self) -> float:
        """Half the width of the papers' interval ``value -+ 1.96 se``."""
        return Z95 * self.se

    @property
    def wald_interval(self) -> tuple[float, float]:
        """The papers' interval, for comparison."""
        return self.value - self.wald_margin, self.value + self.wald_margin

    def times(self, factor: float) -> AreaEstimate:
        """In other units."""
        return AreaEstimate(self.value * factor, self.se * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True)
class ClassEstimate:
    """What the sample says about one class.

    Attributes:
        id: of the class.
        share: of the region that truly is the class.
        area: the same in the units of ``total_area``.
        mapped: share of the region mapped as the class: counted where the map is at hand, otherwise estimated from the sample.
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
        ids: (K,) all class ids of map or reference, sorted; of the whole map where it is at hand.
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
        first = (
            f"Checked at {self.n} places drawn by chance: the map is right at {_percent(self.overall)} of the region."
        )
        areas = [
            f"{names.get(c.id, str(c.id))} truly covers {_amount(c.area)} {unit}; the map shows about "
            f"{c.mapped * self.total_area:,.{_digits(c.area)}f} {unit}."
            for c in self.classes
        ]
        return (first, *areas, *self.notes)


def _percent(share: AreaEstimate) -> str:
    value, low, high = percent(share.value), percent(share.low), percent(share.high)
    return f"{value} % (95 % sure: {low} to {high} %)"


def _amount(area: AreaEstimate) -> str:
    return (
        f"{area.value:,.{_digits(area)}f} (95 % sure: {area.low:,.{_digits(area)}f} to {area.high:,.{_digits(area)}f})"
    )


def _digits(area: AreaEstimate) -> int:
    """Decimals of an area: one where it is small, so that a class of half a hectare is not said to cover 0."""
    return int(area.high < 100)


def assess_sample(
    strata: ArrayLike,
    mapped: ArrayLike,
    reference: ArrayLike,
    sizes: Mapping[int, float],
    total_area: float | None = None,
    counted: Mapping[int, float] | None = None,
) -> Assessment:
    """Areas and accuracy from a simple random or stratified random sample.

    Args:
        strata: (n,) stratum of each place; the map's classes, other zones, or all the same.
        mapped: (n,) class on the map.
        reference: (n,) true class.
        sizes: pixels (or area) of every stratum of the region.
        total_area: of the region, for ``area``; by default the sum of ``sizes``.
        counted: class -> pixels of it on the map (or area, as ``sizes``), where the map is at hand.

    Returns:
        Estimates with intervals and standard errors; the finite population correction ``1 - n_h / N_h`` of Stehman
        (2014, eq. 25) is left out where ``sizes`` sum to 1, because they are then shares and not pixels.

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
    # A class of the map that no place met may be there all the same; its interval says up to how much.
    known = [] if counted is None else [k for k, size in counted.items() if size > 0]
    ids = np.unique(np.concatenate([m, r, np.array(known, m.dtype)]))
    on_map, true = m == ids[:, None], r == ids[:, None]
    shares = stratified.means(np.concatenate([true, (m == r)[None]]))
    # Where the strata are the map's classes, ground that is mapped as a class lies in no other stratum.
    own = ids[:, None] == names if bool(np.array_equal(m, h)) else None
    users = stratified.ratios(on_map & true, on_map & ~true, None if own is None else np.stack([own, own], -1))
    producers = stratified.ratios(true & on_map, true & ~on_map, None if own is None else np.stack([own, ~own], -1))
    classes = [
        ClassEstimate(
            int(k),
            shares[i],
            shares[i].times(area),
            (
                float(stratified.share(on_map[i].astype(float)))
                if counted is None
                else float(counted.get(int(k), 0) / population.sum())
            ),
            users[i],
            producers[i],
            int(true[i].sum()),
        )
        for i, k in enumerate(ids)
    ]
    overall = shares[-1]
    position = np.searchsorted(ids, m) * len(ids) + np.searchsorted(ids, r)
    weight = (population / counts / population.sum())[index]
    size = len(ids) ** 2
    matrix = np.bincount(position, minlength=size).reshape(len(ids), -1).astype(np.int64)
    table = np.bincount(position, weight, minlength=size).reshape(len(ids), -1)
    notes = _notes(names, counts, classes)
    return Assessment(overall, tuple(classes), tuple(int(k) for k in ids), matrix, table, len(h), area, notes)


def shares_of(strata: ArrayLike, hits: ArrayLike, sizes: Mapping[int, float]) -> list[AreaEstimate]:
    """Shares of the region that have each of several properties, from a sample.

    Args:
        strata: (n,) stratum of each place.
        hits: bool (K, n), which places have each property.
        sizes: as for :func:`assess_sample`.

    Example:
        >>> (share,) = shares_of([1, 1, 2, 2], [[True, True, True, False]], {1: 300, 2: 100})
        >>> share.value
        0.875
    """
    names, index = np.unique(np.asarray(strata), return_inverse=True)
    population = np.array([float(sizes[name]) for name in names.tolist()])
    finite = not np.isclose(population.sum(), 1)
    return _Stratified(index, population, np.bincount(index), bool(finite)).means(np.asarray(hits, bool))


def ratio_of(strata: ArrayLike, hits: ArrayLike, misses: ArrayLike, sizes: Mapping[int, float]) -> list[AreaEstimate]:
    """Shares of parts of the region that have a property, from a sample: hits by hits and misses.

    Args:
        strata: (n,) stratum of each place.
        hits, misses: bool (K, n), places in each part with the property, and without.
        sizes: as for :func:`assess_sample`.

    Example:
        >>> (share,) = ratio_of([1, 1, 2, 2], [[True, False, False, False]], [[False, False, True, False]], {1: 300, 2: 100})
        >>> share.value
        0.75
    """
    names, index = np.unique(np.asarray(strata), return_inverse=True)
    population = np.array([float(sizes[name]) for name in names.tolist()])
    finite = not np.isclose(population.sum(), 1)
    stratified = _Stratified(index, population, np.bincount(index), bool(finite))
    return stratified.ratios(np.asarray(hits, bool), np.asarray(misses, bool), None)


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

    def share(self, y: NDArray[np.float64]) -> float:
        """Mean over the region (Stehman 2014, eq. 3)."""
        return float(self.population @ self._means(y) / self.population.sum())

    def means(self, hits: NDArray[np.bool_]) -> list[AreaEstimate]:
        """Shares of the region (Stehman 2014, eqs. 3 and 25; Cochran 1977, eq. 5.12) that have a property, for bool (K, n)."""
        total = self.population.sum()
        low, high = mean_interval(self._totals(hits) * self._grown, self.counts * self._grown, self.population / total)
        values = hits.astype(float)
        return [
            AreaEstimate(self.share(y), float(np.sqrt(self._spread(y, y)) / total), float(low[k]), float(high[k]))
            for k, y in enumerate(values)
        ]

    def ratios(
        self, hits: NDArray[np.bool_], misses: NDArray[np.bool_], possible: NDArray[np.bool_] | None
    ) -> list[AreaEstimate]:
        """Ratios of two means (Stehman 2014, eqs. 27 and 28), hits by hits and misses, for bool (K, n).

        Args:
            possible: see :func:`tessera_core.assess.intervals.ratio_interval`.
        """
        counts, weights = self.counts * self._grown, self.population / self.population.sum()
        yes, no = self._totals(hits) * self._grown, self._totals(misses) * self._grown
        can = np.ones((*yes.shape, 2), bool) if possible is None else possible
        low, high = ratio_intervals(yes, no, counts, weights, can)
        found = []
        for k, (hit, miss) in enumerate(zip(hits.astype(float), misses.astype(float), strict=True)):
            whole = float(self.population @ self._means(hit + miss))
            if whole <= 0:
                found.append(AreaEstimate(np.nan, np.nan, np.nan, np.nan))
                continue
            value = float(self.population @ self._means(hit)) / whole
            off = hit - value * (hit + miss)
            se = float(np.sqrt(self._spread(off, off)) / whole)
            found.append(AreaEstimate(value, se, float(low[k]), float(high[k])))
        return found

    @property
    def _grown(self) -> NDArray[np.float64]:
        """(H,) how many times as much a place tells where a good part of its stratum was seen: ``(N - 1) / (N - n)``."""
        if not self.finite:
            return np.ones(len(self.counts))
        left = self.population - self.counts
        grown = (self.population - 1) / np.where(left > 0, left, 1.0)
        return np.where(left > 0, np.clip(grown, 1.0, SEEN_WHOLE), SEEN_WHOLE)

    def _totals(self, hits: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(K, H) places of each stratum that have a property."""
        return np.array([np.bincount(self.index[row], minlength=len(self.counts)) for row in hits], float)

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
        notes.append(f"Stratum {single} has a single place; more places there narrow the intervals most.")
    if len(names) > 1 and counts.min() < 20:
        notes.append("A class of the map (or zone) has fewer than 20 places; its intervals are wide.")
    unmet = sum(not c.sampled and np.isnan(c.users.value) for c in classes)
    if unmet:
        notes.append(
            f"Classes of the map that no place met: {unmet}. From nothing to the upper end of their interval may be there."
        )
    rare = [c for c in classes if 0 < c.sampled < 5]
    if rare:
        notes.append(f"Classes met at fewer than 5 places, so that their intervals are wide: {len(rare)}.")
    return tuple(notes)
