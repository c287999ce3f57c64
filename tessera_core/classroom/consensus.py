"""The class map: a vote of all learners' maps in every pixel, how much they agree there, and who confuses which classes.

The weight of a vote is how much better than guessing the learner's map is at places held out, taken at the lower end of its
95 % interval, times the share of the classes that the learner knows: ``(low - 1/k) / (1 - 1/k) * k / K``, never below 0, with k
classes judged in the learner's score and K on the class map. The lower end, because a few lucky labels have a high score and a
wide interval. The share, because a map of two easy classes is nearly always right at its own labels and wrong elsewhere. Linear
and bounded, because log odds, which are best for voters who err independently (Nitzan and Paroush, 1982), would give everything
to whoever has labelled the easiest places. Where nobody has a weight, all votes count the same.

Weights become whole numbers, so that sums do not depend on the order of the learners. Nothing is held of a whole region but maps
of one byte a pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from tessera_core.classroom.matching import Legend
from tessera_core.classroom.work import Work
from tessera_core.errors import Cancelled, InputError
from tessera_core.types import Cancel, Progress

NO_SHARE = 255
# Votes of weight 1.
WHOLE = 10_000
# Numbers of a block: pixels times classes.
BLOCK_NUMBERS = 1 << 20
# Who disagrees with whom is counted on about so many pixels of a regular grid.
MOST_PIXELS = 1 << 18


@dataclass(frozen=True)
class Consensus:
    """The map that a class makes together.

    Attributes:
        classes: uint8 (H, W) class ids of the legend; 0 where nobody voted.
        share: uint8 (H, W) percent of the votes that the winning class has; 255 where nobody voted.
        entropy: uint8 (H, W) how scattered the votes are, percent of an even vote for all classes; 255 likewise.
        weights: learner -> weight of the vote, 0..1; learners without a map are not among them.
        equal: whether all votes count the same because nobody has a score.
        unmatched: learner -> pixels of their map that cast no vote, as their class is none of the class map.
    """

    classes: NDArray[np.uint8] = field(repr=False)
    share: NDArray[np.uint8] = field(repr=False)
    entropy: NDArray[np.uint8] = field(repr=False)
    weights: Mapping[str, float]
    equal: bool
    unmatched: Mapping[str, int]

    @property
    def disputed(self) -> float:
        """Share of the mapped pixels where the winner has less than two thirds of the votes, 0..1."""
        voted = self.share != NO_SHARE
        return float((self.share[voted] < 67).mean()) if voted.any() else 0.0


@dataclass(frozen=True)
class Confusion:
    """What two learners see differently.

    Attributes:
        first, second: learners.
        mine, theirs: class ids of the legend: what the first calls ``mine``, the second calls ``theirs``.
        share: of the pixels that both map, 0..1.
    """

    first: str
    second: str
    mine: int
    theirs: int
    share: float


@dataclass(frozen=True)
class Departure:
    """What a learner sees differently from the class.

    Attributes:
        learner: whose map.
        differs: share of what both map that the learner maps differently, 0..1.
        mine, theirs: class ids of the legend, the largest difference: what the learner calls ``mine``, the class calls ``theirs``;
            0 where they agree everywhere.
        share: of what both map where that is so, 0..1.
    """

    learner: str
    differs: float
    mine: int
    theirs: int
    share: float


@dataclass(frozen=True)
class Disagreement:
    """Who disagrees with whom, and about which classes.

    Attributes:
        learners: with a map, in order.
        agree: float64 (L, L), share of the pixels that two learners map alike; NaN where they have none in common.
        between: float64 (K, K), symmetric: of all pairs of votes on a pixel, the share that says the one class and the other;
            the diagonal is agreement. In the order of the legend.
        confusions: what two learners see differently, the largest first, the largest one of each pair.
        pixels: looked at.
    """

    learners: tuple[str, ...]
    agree: NDArray[np.float64]
    between: NDArray[np.float64]
    confusions: tuple[Confusion, ...]
    pixels: int


def weight_of(work: Work, n_classes: int) -> float:
    """The weight of a learner's vote, 0..1; see the head of this module.

    Args:
        work: of the learner.
        n_classes: of the class map.
    """
    if work.score is None or work.score.interval is None:
        return 0.0
    low, known = work.score.interval[0], len(work.score.per_class)
    if known < 2:
        return 0.0
    better = (low - 1 / known) / (1 - 1 / known)
    return max(0.0, better) * min(1.0, known / n_classes)


def weights_of(works: Sequence[Work], n_classes: int) -> dict[str, float]:
    """Learner with a map -> weight; all 1 where nobody has any."""
    weights = {work.learner: weight_of(work, n_classes) for work in works if work.map is not None}
    return weights if any(weights.values()) else dict.fromkeys(weights, 1.0)


def vote(
    works: Sequence[Work],
    legend: Legend,
    weights: Mapping[str, float] | None = None,
    *,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Consensus:
    """The class map.

    Args:
        works: of all learners; those without a map have no vote.
        legend: see :func:`tessera_core.classroom.matching.match_classes`.
        weights: learner -> weight; by default :func:`weights_of` the works.
        progress, cancelled: asked a block at a time; units are pixels.

    Returns:
        The class with the most votes wins; of several the one that comes first in the legend.

    Raises:
        InputError: nobody has a map, or the maps are of different shapes.
        Cancelled: ``cancelled`` said so.
    """
    voters, shape = _voters(works)
    given = weights_of(works, len(legend.classes)) if weights is None else dict(weights)
    whole = {work.learner: round(WHOLE * given.get(work.learner, 0.0)) for work in voters}
    classes = np.zeros(shape, np.uint8)
    share, entropy = (np.full(shape, NO_SHARE, np.uint8) for _ in range(2))
    unmatched = dict.fromkeys(whole, 0)
    n = len(legend.classes)
    position, ids = _positions(legend)
    for rows in _blocks(shape, n + 1):
        if cancelled is not None and cancelled():
            raise Cancelled
        votes = np.zeros((n + 1, (rows.stop - rows.start) * shape[1]), np.int64)
        here = np.arange(votes.shape[1])
        for work in voters:
            own = _map_of(work)[rows].ravel()
            seen = position[legend.tables[work.learner][own]]
            unmatched[work.learner] += int(np.count_nonzero((seen == 0) & (own > 0)))
            votes[seen, here] += whole[work.learner]
        votes = votes[1:]
        total = votes.sum(0)
        voted = total > 0
        best = votes.argmax(0)
        block = (rows.stop - rows.start, shape[1])
        classes[rows] = np.where(voted, ids[1 + best], 0).reshape(block)
        safe = np.maximum(total, 1)
        share[rows] = np.where(voted, _percent(votes[best, here] / safe), NO_SHARE).reshape(block)
        entropy[rows] = np.where(voted, _percent(_entropy(votes, safe)), NO_SHARE).reshape(block)
        if progress is not None:
            progress(rows.stop * shape[1], shape[0] * shape[1], "voting")
    equal = not any(weight_of(work, n) for work in voters) if weights is None else len(set(given.values())) <= 1
    return Consensus(
        classes,
        share,
        entropy,
        {work.learner: float(given.get(work.learner, 0.0)) for work in voters},
        equal,
        {learner: pixels for learner, pixels in unmatched.items() if pixels},
    )


def disagreement(works: Sequence[Work], legend: Legend, cancelled: Cancel | None = None) -> Disagreement:
    """Who disagrees with whom, and about what; every vote counts the same here.

    Args:
        works: of all learners; those without a map are left out.
        legend: of the class map.
        cancelled: asked for each pair.

    Raises:
        InputError: nobody has a map, or the maps are of different shapes.
        Cancelled: ``cancelled`` said so.
    """
    voters, shape = _voters(works)
    step = max(1, int(np.ceil((shape[0] * shape[1] / MOST_PIXELS) ** 0.5)))
    position, ids = _positions(legend)
    n, learners = len(legend.classes), tuple(work.learner for work in voters)
    maps = [position[legend.tables[work.learner][_map_of(work)[::step, ::step].ravel()]] for work in voters]
    agree = np.full((len(voters), len(voters)), np.nan)
    np.fill_diagonal(agree, 1.0)
    pairs: NDArray[np.float64] = np.zeros((n, n))
    confusions = []
    for i, j in combinations(range(len(voters)), 2):
        if cancelled is not None and cancelled():
            raise Cancelled
        table = np.bincount(maps[i].astype(np.int64) * (n + 1) + maps[j], minlength=(n + 1) ** 2)
        both = table.reshape(n + 1, n + 1)[1:, 1:].astype(np.float64)
        if not (total := both.sum()):
            continue
        agree[i, j] = agree[j, i] = np.trace(both) / total
        pairs += both + both.T
        errors = both * (1 - np.eye(n))
        mine, theirs = divmod(int(errors.argmax()), n)
        if errors[mine, theirs]:
            share = float(errors[mine, theirs] / total)
            confusions.append(Confusion(learners[i], learners[j], int(ids[1 + mine]), int(ids[1 + theirs]), share))
    confusions.sort(key=lambda one: (-one.share, one.first, one.second))
    between = pairs / max(pairs.sum(), 1.0)
    return Disagreement(learners, agree, between, tuple(confusions), len(maps[0]))


def departures(works: Sequence[Work], legend: Legend, made: Consensus) -> list[Departure]:
    """What each learner sees differently from the class, who differs most first; learners without a map are left out.

    Args:
        works: of all learners.
        legend: of the class map.
        made: the class map.
    """
    position, ids = _positions(legend)
    n = len(legend.classes)
    found = []
    for work in _voters(works)[0]:
        table = np.zeros((n + 1) ** 2, np.int64)
        for rows in _blocks(made.classes.shape, n + 1):
            mine = position[legend.tables[work.learner][_map_of(work)[rows]]].astype(np.int64)
            pair = mine * (n + 1) + position[made.classes[rows]]
            table += np.bincount(pair.ravel(), minlength=len(table))
        both = table.reshape(n + 1, n + 1)[1:, 1:]
        errors = both * (1 - np.eye(n, dtype=np.int64))
        total = max(int(both.sum()), 1)
        own, theirs = divmod(int(errors.argmax()), n)
        largest = int(errors[own, theirs])
        seen = (int(ids[1 + own]), int(ids[1 + theirs])) if largest else (0, 0)
        found.append(Departure(work.learner, float(errors.sum() / total), *seen, largest / total))
    return sorted(found, key=lambda one: (-one.differs, one.learner))


def confused_classes(found: Disagreement, legend: Legend) -> list[tuple[str, str, float]]:
    """Pairs of classes that learners take for each other, the largest first: two names, and the share of all pairs of votes."""
    names = [one.name for one in legend.classes]
    pairs = [(names[a], names[b], 2 * float(found.between[a, b])) for a, b in combinations(range(len(names)), 2)]
    return sorted((pair for pair in pairs if pair[2] > 0), key=lambda pair: (-pair[2], pair[0], pair[1]))


def _voters(works: Sequence[Work]) -> tuple[list[Work], tuple[int, int]]:
    voters = sorted((work for work in works if work.map is not None), key=lambda work: work.learner)
    shapes = {_map_of(work).shape for work in voters}
    if not shapes:
        raise InputError("Nobody has a map yet: each learner has to label places of two classes.")
    if len(shapes) > 1:
        raise InputError("The maps of the learners are of different regions, so they cannot be voted on.")
    height, width = shapes.pop()
    return voters, (height, width)


def _map_of(work: Work) -> NDArray[np.uint8]:
    if work.map is None:
        raise InputError(f"{work.learner} has no map yet. {work.without_map}")
    return work.map


def _positions(legend: Legend) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Class id -> position in the legend from 1, uint8 (256,), and back, uint8 (K + 1,)."""
    ids = np.array([0, *(one.id for one in legend.classes)], np.uint8)
    position = np.zeros(256, np.uint8)
    position[ids] = np.arange(len(ids))
    return position, ids


def _blocks(shape: tuple[int, int], numbers: int) -> Iterator[slice]:
    step = max(1, BLOCK_NUMBERS // (numbers * shape[1]))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


def _percent(share: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.floor(100 * share + 0.5).astype(np.uint8)


def _entropy(votes: NDArray[np.int64], total: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) entropy of the shares of votes (K, n), 0 where all agree and 1 for an even vote for all K."""
    share = votes / total
    known = np.where(share > 0, share, 1.0)
    return -(share * np.log(known)).sum(0) / np.log(max(len(votes), 2))
