"""Several people at one place: how far they agree, and areas and accuracies whose intervals know that people err.

A sample is judged by what people say of its places. Where two of them say different things at least one is wrong, and from how
often they do follows how often each is. Left out of an interval, that is what makes it too narrow: between a quarter and three
quarters of the variance of areas was the interpreters' (Stehman, Mousoupetros, McRoberts et al. 2022, Remote Sens. Environ. 269,
112806). Their term, the variance between interpreters over their number, needs many interpreters who err by as much to either side;
two cannot tell it (one degree of freedom), and errors that make a rare class more frequent do not cancel. So truth is estimated
instead, as in the model of Dawid and Skene (1979, Applied Statistics 28, 20-28) with the strata of Hui and Walter (1980, Biometrics
36, 167-171): each place has one true class, each interpreter says a class by a chance of their own for each true one, errors of two
people at one place are independent, and what was settled by adjudication is true.

The variance is that of the sample were truth known, as in :mod:`tessera_core.assess.intervals`, plus what not knowing it adds: the
missing information of Louis (1982, J. R. Stat. Soc. B 44, 226-233). The two are joined as squares of distances to the limits (Zou
and Donner 2008, Statistics in Medicine 27, 1693-1702), the second with Student's quantile for so many errors as were seen of each
person, so the interval is never narrower than without the term. How often it holds: docs/trust.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_core.assess.area import AreaEstimate
from tessera_core.assess.intervals import mean_interval, ratio_intervals
from tessera_core.errors import LabelError
from tessera_core.types import Doubles

# Before anything is seen, an interpreter is taken to be wrong at one place of ten; that weighs as much as so many answers a class.
ERROR, WORTH = 0.1, 5.0
# Weighs next to nothing in the estimate; keeps the shares of classes that were not seen away from 0 / 0.
TRACE = 1e-3
# For the variance, so many places of a stratum are shared by all classes: what was not seen may be there.
UNSEEN = 2.0
FIT_STEPS = 300
# Fewer likely places of a class than this are none.
MET = 0.5


@dataclass(frozen=True)
class Opinions:
    """Answers of several people.

    Attributes:
        answers: int (n, J), what each of J people said at each place; 0 where they did not, or could not tell.
        settled: int (n,), the class on which adjudication settled; 0 where there was none.
        people: names of the J.
    """

    answers: NDArray[np.int64]
    settled: NDArray[np.int64]
    people: tuple[str, ...]


@dataclass(frozen=True)
class Agreement:
    """How far people agree where two answered the same place, over all pairs of people.

    Attributes:
        ids: (K,) classes that were said.
        counts: int (K, K) pairs of answers; rows what the one said whose name comes first, columns the other.
        places: that two or more answered.
        agreed: of these, where all said the same.
        quantity, allocation: parts of the pairs (0 to 1) that disagree because one says a class more often, and because they say
            it at other places; their sum is all disagreement (Pontius and Millones 2011, Int. J. Remote Sens. 32, 4407-4429).
    """

    ids: tuple[int, ...]
    counts: NDArray[np.int64]
    places: int
    agreed: int
    quantity: float
    allocation: float


def agreement(opinions: Opinions) -> Agreement:
    """How far people agree; "cannot tell" is no answer here.

    Example:
        >>> said = np.array([[1, 1], [1, 2], [2, 2], [2, 0]])
        >>> found = agreement(Opinions(said, np.zeros(4, np.int64), ("Ann", "Bo")))
        >>> found.places, found.agreed, round(found.quantity, 2), round(found.allocation, 2)
        (3, 2, 0.33, 0.0)
    """
    answers = opinions.answers
    twice = answers[(answers > 0).sum(1) > 1]
    ids = np.unique(twice[twice > 0])
    counts = np.zeros((len(ids), len(ids)), np.int64)
    for i in range(answers.shape[1]):
        for j in range(i + 1, answers.shape[1]):
            both = twice[(twice[:, i] > 0) & (twice[:, j] > 0)]
            np.add.at(counts, (np.searchsorted(ids, both[:, i]), np.searchsorted(ids, both[:, j])), 1)
    shares: Doubles = counts / max(int(counts.sum()), 1)
    row, col, own = shares.sum(1), shares.sum(0), np.diag(shares)
    quantity = float(np.abs(row - col).sum() / 2)
    allocation = float(np.minimum(row - own, col - own).sum())
    differ = int(_differing(np.where(twice > 0, twice, -1)).sum())
    return Agreement(tuple(ids.tolist()), counts, len(twice), len(twice) - differ, quantity, allocation)


def _differing(said: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) where two people said different things; -1 is no answer."""
    least = np.where(said >= 0, said, said.max(initial=0)).min(1, initial=np.iinfo(np.int64).max)
    differ: NDArray[np.bool_] = least < said.max(1, initial=-1)
    return differ


@dataclass(frozen=True)
class Interpreted:
    """What a sample says that several people answered.

    Attributes:
        overall: share of the region at which the map is right.
        areas: class id -> share of the region.
        users, producers: class id -> accuracies.
        wrong: person -> share of their answers that is likely wrong.
        added: share of the variance of ``overall`` that is the interpreters'.
        doubled: places that two or more answered, or that were settled.
    """

    overall: AreaEstimate
    areas: Mapping[int, AreaEstimate]
    users: Mapping[int, AreaEstimate]
    producers: Mapping[int, AreaEstimate]
    wrong: Mapping[str, float]
    added: float
    doubled: int


def interpret(
    strata: NDArray[np.integer],
    mapped: NDArray[np.integer],
    opinions: Opinions,
    sizes: Mapping[int, float],
) -> Interpreted:
    """Areas and accuracies with the interpreters' errors in them.

    Args:
        strata, mapped: int (n,) stratum and class on the map of each place.
        opinions: answers of people at these places.
        sizes: pixels of each stratum.

    Raises:
        LabelError: no place has answers of two people or was settled, or a stratum has no place with an answer.

    Example:
        >>> strata, said = np.repeat([1, 2], 20), np.repeat([[1, 1], [2, 2]], 20, 0)
        >>> said[0, 1] = 2
        >>> found = interpret(strata, strata, Opinions(said, np.zeros(40, np.int64), ("Ann", "Bo")), {1: 700, 2: 300})
        >>> found.doubled, found.overall.low < found.overall.value <= found.overall.high
        (40, True)
    """
    said = (opinions.answers > 0).sum(1)
    told = (said > 0) | (opinions.settled > 0)
    doubled = int(((said > 1) | (opinions.settled > 0)).sum())
    if not doubled:
        raise LabelError(
            "No place has answers of two people yet, so how often people are wrong here cannot be told; let somebody else "
            "answer the places that are meant for two."
        )
    h, m, answers, settled = strata[told], mapped[told], opinions.answers[told], opinions.settled[told]
    names = np.array(sorted(sizes))
    if set(names.tolist()) - set(h.tolist()):
        raise LabelError("A stratum has no place with an answer, so nothing is known of it; answer a place there.")
    model = _Model.of(np.searchsorted(names, h), m, answers, settled)
    weights = np.array([float(sizes[k]) for k in names.tolist()])
    found = _likely(model, weights / weights.sum(), opinions.people)
    overall, *rest = estimates(found)
    ids, k = found.ids.tolist(), len(found.ids)
    areas, users, producers = (dict(zip(ids, rest[i * k : i * k + k], strict=True)) for i in range(3))
    added = float(found.added[0]) / overall.se**2 if overall.se > 0 else 0.0
    return Interpreted(overall, areas, users, producers, found.wrong, added, doubled)


@dataclass(frozen=True)
class _Model:
    """The places, and the chances that make their answers likeliest.

    Attributes:
        ids: (K,) classes.
        stratum: (n,) of each place.
        cell: (n,) which pair of stratum and mapped class.
        cells: (G, 2) stratum and position of the mapped class in ``ids``.
        said: (n, J) position of the answer in ``ids``; -1 for none.
        settled: (n,) the same.
    """

    ids: NDArray[np.int64]
    stratum: NDArray[np.intp]
    cell: NDArray[np.intp]
    cells: NDArray[np.int64]
    said: NDArray[np.int64]
    settled: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        stratum: NDArray[np.intp],
        mapped: NDArray[np.integer],
        answers: NDArray[np.int64],
        settled: NDArray[np.int64],
    ) -> _Model:
        ids = np.unique(np.concatenate([mapped, answers[answers > 0], settled[settled > 0]])).astype(np.int64)

        def place(values: NDArray[np.integer]) -> NDArray[np.int64]:
            return np.where(values > 0, np.searchsorted(ids, values), -1)

        cells, cell = np.unique(np.stack([stratum, place(mapped)], 1), axis=0, return_inverse=True)
        return cls(ids, stratum, cell.ravel(), cells, place(answers), place(settled))

    def prior(self) -> Doubles:
        """(K, K) answers that are taken to have been seen of each interpreter, rows the truth."""
        k = len(self.ids)
        if k == 1:
            return np.full((1, 1), WORTH)
        prior = np.full((k, k), WORTH * ERROR / (k - 1))
        np.fill_diagonal(prior, WORTH * (1 - ERROR))
        return prior

    def truth(self, shares: Doubles, chances: Doubles) -> Doubles:
        """(n, K) how likely each class is the true one, for shares (G, K) and chances (J, K, K) of answers."""
        odds = np.log(shares)[self.cell]
        for j in range(self.said.shape[1]):
            there = self.said[:, j] >= 0
            odds[there] += np.log(chances[j])[:, self.said[there, j]].T
        odds -= odds.max(1, keepdims=True)
        likely: Doubles = np.exp(odds)
        likely /= likely.sum(1, keepdims=True)
        known = self.settled >= 0
        likely[known] = np.eye(len(self.ids))[self.settled[known]]
        return likely

    def shares(self, likely: Doubles, unseen: float) -> Doubles:
        """(G, K) shares of the true classes in each cell."""
        k = len(self.ids)
        found = np.full((len(self.cells), k), unseen / k)
        np.add.at(found, self.cell, likely)
        shares: Doubles = found / found.sum(1, keepdims=True)
        return shares

    def chances(self, likely: Doubles) -> Doubles:
        """(J, K, K) how often each interpreter says each class for each true one."""
        people = self.said.shape[1]
        found = np.repeat(self.prior()[None], people, 0)
        for j in range(people):
            there = self.said[:, j] >= 0
            np.add.at(found[j].T, self.said[there, j], likely[there])
        chances: Doubles = found / found.sum(2, keepdims=True)
        return chances

    def fit(self) -> tuple[Doubles, Doubles, Doubles]:
        """Likely truth, shares and chances (Dempster, Laird and Rubin's steps)."""
        k = len(self.ids)
        votes = np.full((len(self.cell), k), 1e-9)
        for j in range(self.said.shape[1]):
            there = np.flatnonzero(self.said[:, j] >= 0)
            votes[there, self.said[there, j]] += 1
        likely: Doubles = votes / votes.sum(1, keepdims=True)
        shares, chances = self.shares(likely, TRACE), self.chances(likely)
        for _ in range(FIT_STEPS):
            before = likely
            likely = self.truth(shares, chances)
            shares, chances = self.shares(likely, TRACE), self.chances(likely)
            if np.abs(likely - before).max() < 1e-7:
                break
        return likely, shares, chances

    def information(self, shares: Doubles, chances: Doubles) -> tuple[Doubles, Doubles]:
        """(P, P) what answers tell of logits of shares and chances, and (G K, G K) what truth itself would tell of shares."""
        likely = self.truth(shares, chances)
        n, k = likely.shape
        groups, people = len(shares), len(chances)
        whole = np.zeros((groups * k + people * k * k,) * 2)
        counts = np.bincount(self.cell, minlength=groups)
        for g in range(groups):
            at = slice(g * k, g * k + k)
            whole[at, at] = counts[g] * _spread(shares[g])
        score = np.zeros((n, k, len(whole)))
        every, classes = np.arange(n)[:, None], np.arange(k)
        score[every, classes, self.cell[:, None] * k + classes] = 1.0
        prior = self.prior().sum(1)
        for j in range(people):
            there = np.flatnonzero(self.said[:, j] >= 0)
            for c in range(k):
                start = groups * k + (j * k + c) * k
                at = slice(start, start + k)
                whole[at, at] = (likely[there, c].sum() + prior[c]) * _spread(chances[j, c])
                score[there, c, at] -= chances[j, c]
                score[there, c, start + self.said[there, j]] += 1.0
        # What is missing is how far the score of a place depends on its unknown truth.
        mean = np.einsum("nk,nkp->np", likely, score)
        flat = (score * np.sqrt(likely)[:, :, None]).reshape(n * k, -1)
        missing = flat.T @ flat - mean.T @ mean
        known = whole[: groups * k, : groups * k]
        return whole - missing, known


def _spread(p: Doubles) -> Doubles:
    return np.diag(p) - np.outer(p, p)


def _inverse(information: Doubles) -> Doubles:
    """Of a symmetric matrix, whose smallest values count as next to nothing known."""
    values, vectors = np.linalg.eigh(information)
    inverse: Doubles = (vectors / np.maximum(values, 1e-6)) @ vectors.T
    return inverse


@dataclass(frozen=True)
class Likely:
    """Places as they likely are, and how far not knowing the truth moves each number.

    Attributes:
        ids: (K,) classes.
        counts: (H,) places of each stratum.
        weights: (H,) shares of the region.
        hits, misses: (1 + 3 K, H) places, not whole, that have a property, and that do not of those that count: of all places
            being right; then of each class being it, of what is mapped so being it, of what is it being mapped so.
        possible: bool (1 + 3 K, H, 2), whether a stratum can have hits, and misses.
        added: (1 + 3 K,) variance of each number that comes from not knowing the truth.
        quantile: of Student's distribution for it.
        wrong: person -> share of their answers that is likely wrong.
    """

    ids: NDArray[np.int64]
    counts: Doubles
    weights: Doubles
    hits: Doubles
    misses: Doubles
    possible: NDArray[np.bool_]
    added: Doubles
    quantile: float
    wrong: Mapping[str, float]


def _likely(model: _Model, weights: Doubles, people: Sequence[str]) -> Likely:
    from scipy.special import stdtrit

    likely, _, chances = model.fit()
    cautious = model.shares(likely, UNSEEN)
    told, known = model.information(cautious, chances)
    extra = _inverse(told)[: cautious.size, : cautious.size] - _inverse(known)
    strata, own = model.cells.T
    counts = np.bincount(model.stratum, minlength=len(weights)).astype(float)
    region = weights[strata] * np.bincount(model.cell) / counts[strata]
    k = len(model.ids)
    right = np.arange(k) == own[:, None]
    true = np.broadcast_to(np.eye(k, dtype=bool)[:, None], (k, *right.shape))
    on_map = np.broadcast_to((np.arange(k)[:, None] == own)[:, :, None], true.shape)
    # (1 + 3 K, G, K): what counts above, and what counts below without it.
    above = np.concatenate([right[None], true, true & on_map, true & on_map])
    below = np.concatenate([~right[None], ~true, ~true & on_map, true & ~on_map])

    def totals(which: NDArray[np.bool_]) -> Doubles:
        at = (likely[None] * which[:, model.cell]).sum(2)
        return np.stack([np.bincount(model.stratum, row, minlength=len(weights)) for row in at])

    added = np.zeros(len(above))
    for q, (hit, miss) in enumerate(zip(above, below, strict=True)):
        (up, rise), (down, fall) = (_moves(part.astype(float), cautious, region) for part in (hit, hit | miss))
        slope = (rise - up / down * fall) / down if down > 0 else rise * 0
        added[q] = max(float(slope @ extra @ slope), 0.0)
    possible = np.stack(
        [
            np.stack([np.bincount(strata, g.any(1), minlength=len(weights)) > 0 for g in part])
            for part in (above, below)
        ],
        -1,
    )
    quantile = float(stdtrit(1 + _differing(model.said).sum() / max(len(people), 1), 0.975))
    wrong = {
        name: float(1 - likely[there, model.said[there, j]].mean())
        for j, name in enumerate(people)
        if len(there := np.flatnonzero(model.said[:, j] >= 0))
    }
    return Likely(model.ids, counts, weights, totals(above), totals(below), possible, added, quantile, wrong)


def _moves(values: Doubles, shares: Doubles, region: Doubles) -> tuple[float, Doubles]:
    """A mean over the region of values (G, K), and how it moves with the logits of the shares."""
    middle = (shares * values).sum(1)
    slope: Doubles = (region[:, None] * shares * (values - middle[:, None])).ravel()
    return float(region @ middle), slope


def estimates(found: Likely) -> list[AreaEstimate]:
    """The 1 + 3 K numbers with their intervals, in the order of :class:`Likely`."""
    n, k = found.counts, len(found.ids)
    means = slice(0, 1 + k)
    low, high = np.zeros(1 + 3 * k), np.ones(1 + 3 * k)
    low[means], high[means] = mean_interval(np.clip(found.hits[means], 0, n), n, found.weights)
    rest = slice(1 + k, None)
    low[rest], high[rest] = ratio_intervals(
        found.hits[rest], found.misses[rest], n, found.weights, found.possible[rest]
    )
    return [_joined(found, q, float(low[q]), float(high[q])) for q in range(1 + 3 * k)]


def _joined(found: Likely, q: int, low: float, high: float) -> AreaEstimate:
    n, weights = found.counts, found.weights
    yes, no = found.hits[q], found.misses[q]
    below = float(((yes + no) / n) @ weights)
    if below <= MET / n.sum():
        return AreaEstimate(np.nan, np.nan, np.nan, np.nan)
    value = float((yes / n) @ weights) / below
    # Variance of hit - value * (hit or miss) in each stratum (Stehman 2014, eq. 28).
    first = (yes * (1 - value) - no * value) / n
    second = (yes * (1 - value) ** 2 + no * value**2) / n
    sampling = float((weights**2 * (second - first**2) / np.maximum(n - 1, 1)).sum()) / below**2
    reach = found.quantile**2 * float(found.added[q])
    return AreaEstimate(
        value,
        float(np.sqrt(max(sampling, 0.0) + found.added[q])),
        max(value - float(np.sqrt((value - low) ** 2 + reach)), 0.0),
        min(value + float(np.sqrt((high - value) ** 2 + reach)), 1.0),
    )
