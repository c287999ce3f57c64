"""What a score makes of how labels were chosen: where the app suggested to label, the map was in doubt, and is right less often.

Suggestions are drawn towards doubt, and a score of them alone is far too low (10 points and more after twenty). What draws them is
how sure the map is, so labels are weighed by that: in each band of sureness they count together as much as the band covers of
the region (post-stratification, Holt and Smith 1979; by the score that governs the choice, Rosenbaum and Rubin 1983).

How far a score of labels in easy places (the middles of fields, one corner of the region) flatters follows from how sure the map
is there and elsewhere as well; as such labels lie nowhere where it is unsure, by a curve instead of bands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tessera_core.assess.crossfit import HeldOut

# Bands of equal ground: one for so many labels, and how many at most.
LABELS_A_BAND, MOST_BANDS = 5, 10
# What the curve of sureness is drawn towards, a sure head that is right as often as it says, and how firmly.
_PRIOR, _FIRM = np.array([0.0, 1.0]), np.diag([0.25, 4.0])
_STEPS = 300
# Labels that somebody else chose which can judge alone, where it is not known how sure the map is elsewhere.
LEAST_OWN = 10


@dataclass(frozen=True)
class Weighed:
    """Held-out labels with what each counts.

    Attributes:
        held: with the weights that the score takes.
        suggested: labels at places that the app suggested.
        how: ``"weighed"`` by how sure the map is, suggested ones ``"left out"``, or ``""``: as they are.
    """

    held: HeldOut
    suggested: int
    how: str


def by_origin(held: HeldOut) -> Weighed:
    """Labels held out, those at suggested places weighed by how they were chosen; untouched where there are none."""
    chosen = held.samples.suggested
    judged = held.judged
    if chosen is None or not chosen[judged].any():
        return Weighed(held, 0, "")
    suggested = len(np.unique(held.samples.groups[judged][chosen[judged]]))
    weight = by_sureness(held)
    if weight is not None:
        return Weighed(replace(held, weight=weight), suggested, "weighed")
    if not judge_alone(held.samples.groups[judged], held.samples.y[judged], chosen[judged]):
        return Weighed(held, suggested, "")
    fold = held.fold.copy()
    fold[chosen] = -1
    return Weighed(replace(held, fold=fold), suggested, "left out")


def judge_alone(groups: NDArray[np.integer], y: NDArray[np.integer], chosen: NDArray[np.bool_]) -> bool:
    """Whether the labels that the app did not suggest can judge a map without those that it did: no class is lost with these.

    Args:
        groups: int (N,), which label each judged pixel is of.
        y: int (N,), their classes.
        chosen: (N,), where the app suggested to label.

    >>> import numpy as np
    >>> kinds = np.repeat([1, 2, 3], 10)
    >>> judge_alone(np.arange(30), kinds, np.arange(30) % 2 == 0), judge_alone(np.arange(30), kinds, kinds == 3)
    (True, False)
    """
    own = y[~chosen]
    enough = len(np.unique(groups[~chosen])) >= LEAST_OWN and len(np.unique(own)) >= 2
    return enough and bool(np.isin(y, own).all())


def by_sureness(held: HeldOut) -> NDArray[np.float64] | None:
    """What each pixel counts, float64 (N,), so that labels are as sure as the region is; None where that is not known.

    Bands of how sure the heads are, of equal parts of the region; what lies in a band without labels counts for the nearest with.
    The sum over judged pixels stays.

    >>> import numpy as np
    >>> from tessera_core.assess.crossfit import HeldOut
    >>> from tessera_core.assess.samples import MatrixFeatures, Samples
    >>> n = np.arange(20)
    >>> samples = Samples(MatrixFeatures(np.zeros((20, 1), np.float32)), n % 2 + 1, n, n, n, {})
    >>> sure = np.where(n < 15, 0.6, 0.9)
    >>> proba = np.stack([sure, 1 - sure], 1).astype(np.float32)
    >>> held = HeldOut(samples, np.array([1, 2]), proba, n % 5, n, np.ones(20), ground_sure=np.tile([0.6, 0.9], 50))
    >>> by_sureness(held)[[0, 19]].round(2)
    array([0.67, 2.  ])
    """
    ground, judged = held.ground_sure, held.judged
    if ground is None or not len(judged):
        return None
    sure = held.proba[judged].max(axis=1)
    labels = len(np.unique(held.samples.groups[judged]))
    bands = int(np.clip(labels // LABELS_A_BAND, 2, MOST_BANDS))
    # As labels: a probability in single precision may lie a hair beside its equal.
    edges = np.unique(np.quantile(ground, np.arange(1, bands) / bands).astype(np.float32))
    of_ground, of_label = (np.searchsorted(edges, values.astype(np.float32)) for values in (ground, sure))
    there = np.bincount(of_label, held.weight[judged], len(edges) + 1)
    filled = np.flatnonzero(there)
    nearest = filled[np.abs(np.arange(len(there))[:, None] - filled).argmin(axis=1)]
    share = np.bincount(nearest, np.bincount(of_ground, minlength=len(there)) / len(ground), len(there))
    weight = np.zeros(len(held.weight))
    total = held.weight[judged].sum()
    weight[judged] = held.weight[judged] * (share / np.maximum(there, 1e-12))[of_label] * total
    return weight


def right_elsewhere(held: HeldOut) -> float | None:
    """Share of the region that would be right, were places as sure as labels right as often; None where that is not known.

    The chance of being right is a logistic curve of how sure the map is (Platt 1999), fitted to the labels held out and drawn
    towards the head's own word, then averaged over the region.
    """
    ground, judged = held.ground_sure, held.judged
    if ground is None or not len(judged):
        return None
    right = (held.proba[judged].argmax(axis=1) == held.targets[judged]).astype(float)
    weight, x = held.weight[judged], _odds(held.proba[judged].max(axis=1))
    curve = _PRIOR.copy()
    # The steps of a curvature that is nowhere less than the true one only ever come nearer (Böhning 1992, Annals of the Institute
    # of Statistical Mathematics 44, 197-200); Newton's run away where a head is far too sure.
    inverse = np.linalg.inv(x.T @ (x * (weight / 4)[:, None]) + _FIRM)
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-x @ curve))
        step = inverse @ (x.T @ (weight * (right - p)) - _FIRM @ (curve - _PRIOR))
        curve = curve + step
        if np.abs(step).max() < 1e-6:
            break
    return float((1 / (1 + np.exp(-_odds(ground) @ curve))).mean())


def _odds(sure: NDArray[np.floating]) -> NDArray[np.float64]:
    """One and the logarithm of the odds of how sure a head is, (N, 2)."""
    p = np.clip(sure.astype(np.float64), 1e-3, 1 - 1e-3)
    return np.stack([np.ones(len(p)), np.log(p / (1 - p))], 1)
