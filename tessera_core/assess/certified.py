"""The certified part of a map: the largest most-confident part that is wrong at most a stated share, with a stated risk.

Parts are taken from the most confident downwards, and each is tested for being wrong more often than stated; at the first that
does not pass the search ends. Tested in an order that was fixed before the answers, each may use the whole risk (fixed-sequence
testing: Maurer, Hothorn and Lehmacher 1995; for thresholds of a model: Angelopoulos et al. 2021, "Learn then Test").
The confidence must not have been worked out with the sample's answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tessera_core.assess.intervals import mean_interval
from tessera_core.errors import LabelError
from tessera_core.types import Bools, Bytes, Doubles

RISK = 0.05
STEPS = 40
# As in a class map, 0 is where nothing is said.
NO_DATA, CERTIFIED, NOT_CERTIFIED = 0, 1, 2


@dataclass(frozen=True)
class Certified:
    """A part of a map and what is promised of it.

    Attributes:
        threshold: pixels at least as confident belong to it; infinity where nothing can be certified.
        share: of the map, 0 to 1.
        places: of the sample that lie in it.
        wrong: of these.
        most_wrong: share of it that may be wrong.
        risk: how often, over many samples, it is wrong in more than that.
        fewest: places without a mistake that the smallest part would need, where all places lie in one stratum.
    """

    threshold: float
    share: float
    places: int
    wrong: int
    most_wrong: float
    risk: float
    fewest: int


def certify(
    confidence: ArrayLike,
    wrong: ArrayLike,
    map_confidence: ArrayLike,
    most_wrong: float = 0.1,
    risk: float = RISK,
    strata: tuple[ArrayLike, ArrayLike] | None = None,
) -> Certified:
    """Find the largest part that is certified.

    A random sample is tested by the exact binomial; one with strata by the upper limit of
    :func:`tessera_core.assess.intervals.mean_interval`, with what a part has of each stratum known from the map. A stratum without
    a place in the part counts as all wrong.

    Args:
        confidence: (n,) confidence of the map at the places, any scale.
        wrong: bool (n,) whether the map is wrong there.
        map_confidence: (N,) confidence of all pixels of the region.
        most_wrong: share that may be wrong, between 0 and 1.
        risk: how often more may be.
        strata: stratum of each place (n,) and of each pixel (N,), where the places were drawn by strata with different chances.

    Raises:
        LabelError: arrays that do not belong together, or a share or risk that is none.

    Example:
        >>> sure = np.linspace(0, 1, 200)
        >>> part = certify(sure, sure < 0.3, sure, 0.1)
        >>> part.share > 0.7, part.threshold < 0.3
        (True, True)
    """
    sure, bad, everywhere = np.asarray(confidence, float), np.asarray(wrong, bool), np.asarray(map_confidence, float)
    if sure.shape != bad.shape or sure.ndim != 1 or everywhere.ndim != 1 or not len(everywhere):
        raise LabelError(
            "A certified part needs the confidence and the answer of each place, and of each pixel of the map."
        )
    if not 0 < most_wrong < 1 or not 0 < risk < 0.5:
        raise LabelError("The share that may be wrong lies between 0 and 100 %, the risk between 0 and 50 %.")
    fewest = int(np.ceil(np.log(risk) / np.log1p(-most_wrong)))
    weights: Doubles | None = None
    inside = np.ones((1, len(sure)), bool)
    thresholds = _thresholds(sure, everywhere, most_wrong, risk)
    if strata is not None:
        places, pixels = (np.asarray(part) for part in strata)
        if places.shape != sure.shape or pixels.shape != everywhere.shape:
            raise LabelError("Each place and each pixel has one stratum.")
        ids = np.unique(pixels)
        inside = places == ids[:, None]
        ordered = [np.sort(everywhere[pixels == i]) for i in ids]
        weights = np.stack([len(part) - np.searchsorted(part, thresholds) for part in ordered], 1).astype(float)
    found = np.inf
    for number, threshold in enumerate(thresholds):
        at = sure >= threshold
        counts = (inside & at).sum(1)
        mistakes = (inside & at & bad).sum(1)
        if not _passes(mistakes, counts, None if weights is None else weights[number], most_wrong, risk):
            break
        found = float(threshold)
    part = sure >= found
    share = float((everywhere >= found).mean())
    return Certified(found, share, int(part.sum()), int((part & bad).sum()), most_wrong, risk, fewest)


def _thresholds(sure: Doubles, everywhere: Doubles, most_wrong: float, risk: float) -> Doubles:
    """Thresholds in the order of their tests, from confidences alone.

    The first part has so many places that one wrong in a quarter of what is allowed passes in 8 of 10 samples: a smaller one
    would end the search by a single mistake.
    """
    start = _first_size(most_wrong, risk)
    first = np.sort(sure)[::-1][min(start, len(sure)) - 1] if len(sure) else np.inf
    covered = float((everywhere >= first).mean())
    steps: Doubles = np.quantile(everywhere, 1 - np.linspace(covered, 1.0, STEPS), method="lower")
    return np.unique(np.concatenate([np.minimum(steps, first), [first]]))[::-1]


def _first_size(most_wrong: float, risk: float) -> int:
    from scipy.stats import binom

    sizes = np.arange(1, int(np.ceil(40 / most_wrong)) + 1)
    mistakes = binom.ppf(risk, sizes, most_wrong)
    mistakes = np.where(binom.cdf(mistakes, sizes, most_wrong) <= risk, mistakes, mistakes - 1)
    return int(sizes[np.argmax(binom.cdf(mistakes, sizes, most_wrong / 4) >= 0.8)])


def _passes(
    mistakes: NDArray[np.int64], counts: NDArray[np.int64], weights: Doubles | None, most_wrong: float, risk: float
) -> bool:
    from scipy.stats import binom

    if not counts.sum():
        return False
    if weights is None:
        return bool(binom.cdf(mistakes.sum(), counts.sum(), most_wrong) <= risk)
    there = weights > 0
    seen = there & (counts > 0)
    unseen = weights[there & ~seen].sum() / weights.sum()
    _, high = mean_interval(mistakes[seen], counts[seen], weights[seen] / weights[seen].sum(), 1 - 2 * risk)
    return bool(unseen + (1 - unseen) * float(high) <= most_wrong)


def band(confidence: NDArray[np.floating] | NDArray[np.integer], covered: Bools, part: Certified) -> Bytes:
    """The certified part as a band: 1 certified, 2 not certified, 0 where the map says nothing.

    Args:
        confidence: (H, W) of the map, on the scale of the sample.
        covered: bool (H, W), where the map names a class.
        part: what was found.

    Returns:
        uint8 (H, W).
    """
    certified = np.where(confidence >= part.threshold, CERTIFIED, NOT_CERTIFIED)
    return np.where(covered, certified, NO_DATA).astype(np.uint8)


def violation(confidence: ArrayLike, wrong: ArrayLike, parts: Sequence[Certified]) -> float:
    """Share of parts that are wrong in more than they promise, where the whole truth is known.

    Args:
        confidence, wrong: (N,) of all pixels of the region.
        parts: of as many samples.
    """
    sure, bad = np.asarray(confidence, float), np.asarray(wrong, bool)
    order = np.argsort(-sure, kind="stable")
    falling, mistakes = -sure[order], np.concatenate([[0], np.cumsum(bad[order])])
    sizes = np.searchsorted(falling, [-part.threshold for part in parts], side="right")
    limits = np.array([part.most_wrong for part in parts])
    return float((mistakes[sizes] > limits * sizes).mean())
