"""Which quick head suits the labels at hand: both are judged on the same places held out, and another than the default is named
only where that is no chance.

Class means are the best with few labels; from tens of labels a class on logistic regression wins on some ground and not on
other (docs/heads.md). Only the labels can say which this is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.percents import percent
from tessera_core.assess.crossfit import HeldOut, hold_out
from tessera_core.assess.samples import Samples
from tessera_core.errors import HeadError, LabelError
from tessera_core.heads import DEFAULT_HEAD, make_head
from tessera_core.types import Cancel

RIVAL = "logistic"
# The rival is named where its log-loss is less by more than so many standard errors over places, and of so many places.
CERTAIN, LEAST_PLACES = 2.0, 20
_FLOOR = 1e-6


@dataclass(frozen=True)
class HeadComparison:
    """Two heads on the same labels.

    Attributes:
        best: the head to take.
        right: head -> how often it is right at places that it has not seen, each class counting the same; empty where too few
            labels can be held out.
        places: that were held out.
        sentence: what to do, for people.
    """

    best: str
    right: Mapping[str, float]
    places: int
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def compare_heads(samples: Samples, *, seed: int = 0, cancelled: Cancel | None = None) -> HeadComparison:
    """Judge class means and logistic regression on the same places held out.

    Args:
        samples: labelled pixels.
        seed: of the folds.
        cancelled: asked between folds.

    Returns:
        Never fails for want of labels: class means are then the head to take.

    Raises:
        Cancelled: ``cancelled`` said so.
    """
    try:
        default, rival = (
            hold_out(samples, make_head(name), seed=seed, cancelled=cancelled) for name in (DEFAULT_HEAD, RIVAL)
        )
    except (LabelError, HeadError):
        told = "Too few labels lie in places of their own to compare methods; with few labels class means are the best."
        return HeadComparison(DEFAULT_HEAD, {}, 0, told)
    judged = default.judged
    target = default.targets[judged]
    # Each class counts the same, and each label of it.
    weight = default.weight[judged]
    say = weight / np.bincount(target, weight)[target]
    say /= say.sum()
    right = {name: float(say @ _right(held)) for name, held in ((DEFAULT_HEAD, default), (RIVAL, rival))}
    place = np.unique(default.spatial_groups[judged], return_inverse=True)[1].ravel()
    places = int(place.max(initial=-1)) + 1
    # Labels of one place go wrong together: the error is over places.
    by_place = np.bincount(place, (_loss(default) - _loss(rival)) * say, minlength=places)
    error = float(np.sqrt(places / max(places - 1, 1) * np.square(by_place - by_place.mean()).sum()))
    means, other = _percent(right[DEFAULT_HEAD]), _percent(right[RIVAL])
    if places >= LEAST_PLACES and float(by_place.sum()) > CERTAIN * error:
        return HeadComparison(
            RIVAL,
            right,
            places,
            f"For these labels logistic regression is clearly better than class means: at {places} places held out it is right "
            f"{other} of the time, they {means}.",
        )
    return HeadComparison(
        DEFAULT_HEAD,
        right,
        places,
        f"For these labels logistic regression is not clearly better than class means: at {places} places held out it is right "
        f"{other} of the time, they {means}.",
    )


def _right(held: HeldOut) -> NDArray[np.float64]:
    judged = held.judged
    guess: NDArray[np.intp] = np.nan_to_num(held.proba[judged]).argmax(1)
    hit: NDArray[np.float64] = (guess == held.targets[judged]).astype(np.float64)
    return hit


def _loss(held: HeldOut) -> NDArray[np.float64]:
    judged = held.judged
    chance = np.nan_to_num(held.proba[judged])[np.arange(len(judged)), held.targets[judged]]
    loss: NDArray[np.float64] = -np.log(np.maximum(chance.astype(np.float64), _FLOOR))
    return loss


def _percent(share: float) -> str:
    return f"{percent(share)} %"
