"""The honest score that the page shows after each training: how often the map is right at places it has not seen.

Every label counts once, however many pixels it covers, so that one large polygon does not drown ten clicks. Only the pixels of
a reference raster, whose patches nobody chose, count each for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.percents import percent
from tessera_core.assess.crossfit import HeldOut, effective_sample_size, hold_out, predict_folds, spatial_groups
from tessera_core.assess.metrics import confusion_matrix, score, worst_confusion
from tessera_core.assess.origins import Weighed, by_origin, right_elsewhere
from tessera_core.assess.samples import Samples
from tessera_core.assess.splits import BLOCK_PX, BUFFER_PX, folds
from tessera_core.errors import HeadError, LabelError
from tessera_core.heads.classification import Head
from tessera_core.types import Cancel

# Ten folds leave a head nearly all of its labels. With many labels five are nearly as good, and all that a slow head can afford.
FEW_LABELS, FEW_FOLDS, N_FOLDS = 200, 10, 5
QUICK_LABELS = 1000
Z95 = 1.959964
# Below this share of labels, "most often confused" would speak of chance.
WORTH_SAYING = 0.02
# From so many labels on, and so many points too high, labels in easy places are told of.
FEW_TO_WEIGH, EASY = 20, 0.03


@dataclass(frozen=True)
class ClassScore:
    """How one class fares on labels held out; shares in 0..1.

    Attributes:
        recall: share of the class's labels that are mapped as the class.
        precision: share of what is mapped as the class that is labelled so.
        labels: labels of the class that were held out.
    """

    id: int
    name: str
    recall: float
    precision: float
    f1: float
    labels: int


@dataclass(frozen=True)
class LiveScore:
    """A score with the sentences that explain it; where nothing can be judged yet, ``accuracy`` is None.

    Attributes:
        accuracy: share of labels right when their place is held out, each label counting once.
        interval: 95 % interval of ``accuracy`` (Wilson), with as many trials as there are independent places.
        macro_f1: mean F1 of the classes.
        naive: the accuracy that a random split of the same pixels claims; None where it cannot be had.
        n_labels, n_places: labels judged, and places they lie in.
        per_class: the classes judged, weakest first.
        confusion: (K, K) labels, rows the truth; ``classes`` gives the order.
        classes: names.
        headline, gap, weakest, confused: sentences; empty where there is nothing to say.
        notes: further sentences, e.g. what could not be judged and what to label so that it can.
        held_out: the predictions behind the score, for calibration, with those of labels held out one by one beside them
            where that takes little time; None where there are none.
    """

    accuracy: float | None
    interval: tuple[float, float] | None
    macro_f1: float | None
    naive: float | None
    n_labels: int
    n_places: int
    per_class: tuple[ClassScore, ...]
    confusion: NDArray[np.float64]
    classes: tuple[str, ...]
    headline: str
    gap: str = ""
    weakest: str = ""
    confused: str = ""
    notes: tuple[str, ...] = ()
    held_out: HeldOut | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON object that files and the command line show: what the page shows, unrounded.

        ``accuracy`` and ``interval`` (shares, or None), ``naive`` (what a random split claims, or None), ``n_labels``,
        ``n_places``, ``classes`` (by name: ``id``, ``recall``, ``precision``, ``labels`` held out), ``sentences``, and of these
        ``gap``, the one for colleagues.
        """
        return {
            "accuracy": self.accuracy,
            "interval": None if self.interval is None else list(self.interval),
            "naive": self.naive,
            "n_labels": self.n_labels,
            "n_places": self.n_places,
            "classes": {
                c.name: {"id": c.id, "recall": c.recall, "precision": c.precision, "labels": c.labels}
                for c in self.per_class
            },
            "sentences": list(self.sentences),
            "gap": self.gap,
        }

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that is to be said, the most important first."""
        return tuple(s for s in (self.headline, self.weakest, self.confused, self.gap, *self.notes) if s)


def live_score(
    samples: Samples,
    head: Head,
    *,
    naive: bool = True,
    n_folds: int | None = None,
    seed: int = 0,
    block_px: int = BLOCK_PX,
    buffer_px: int = BUFFER_PX,
    cancelled: Cancel | None = None,
) -> LiveScore:
    """Score a head by holding whole places out (see :mod:`tessera_core.assess.crossfit`), and beside it a random split.

    Args:
        samples: labelled pixels.
        head: unfitted.
        naive: also the score of a random split, for the sentence on the gap; single labels held out one by one come with it.
        n_folds: parts; by default ten for fewer than 200 labels (1000 for a head that is fitted at once), else five.

    Returns:
        Never fails for want of labels: the headline then says what to label.

    Raises:
        Cancelled: ``cancelled`` said so.
    """
    if n_folds is None:
        few = QUICK_LABELS if head._fits_alone else FEW_LABELS
        n_folds = FEW_FOLDS if len(np.unique(samples.groups)) < few else N_FOLDS
    try:
        held = hold_out(
            samples, head, n_folds=n_folds, seed=seed, block_px=block_px, buffer_px=buffer_px, cancelled=cancelled
        )
    except (LabelError, HeadError):
        return _not_yet(samples, block_px)
    weighed = by_origin(held)
    held = weighed.held
    labels = _confusion(held)
    result = score(labels, held.ids.tolist(), samples.names)
    judged = held.judged
    by_pixel = held.samples.weight is not None
    n_labels = len(judged) if by_pixel else len(np.unique(held.samples.groups[judged]))
    unit = "labelled pixel" if by_pixel else "label"
    accuracy = result["accuracy"]
    trials = effective_sample_size(held.weight[judged], held.spatial_groups[judged])
    low, high = wilson(accuracy, trials)
    counts = _counts(held) if weighed.how == "weighed" else {}
    per_class = sorted(
        (
            ClassScore(c["id"], name, c["recall"], c["precision"], c["f1"], counts.get(c["id"], c["support"]))
            for name, c in result["per_class"].items()
            if c["support"] > 0
        ),
        key=lambda c: c.f1,
    )
    n_places = len(np.unique(held.spatial_groups[judged]))
    random = _random(held, head, "random", n_folds, seed, cancelled) if naive else None
    claimed, near = (None, None) if random is None else (_claim(held, random), random)
    if naive and len(held.samples.y) > len(np.unique(held.samples.groups)):
        near = _random(held, head, "field", n_folds, seed, cancelled) if head._fits_alone else None
    return LiveScore(
        accuracy,
        (low, high),
        result["macro_f1"],
        claimed,
        n_labels,
        n_places,
        tuple(per_class),
        labels,
        tuple(result["classes"]),
        f"About {_percent(accuracy)} right at places the map has not seen (95 % sure: {_percent(low)} to {_percent(high)}; "
        f"{_count(n_labels, unit)} in {_count(n_places, 'place')}, each held out in turn).",
        _gap(accuracy, claimed),
        _weakest(per_class, by_pixel),
        _confused(labels, held.ids, samples),
        (*_notes(samples, held, accuracy), *_chosen(weighed, accuracy, n_labels)),
        replace(held, near=near),
    )


def _counts(held: HeldOut) -> dict[int, int]:
    """Labels of each class that were held out."""
    kinds, groups = held.samples.y[held.judged], held.samples.groups[held.judged]
    return {int(one): len(np.unique(groups[kinds == one])) for one in np.unique(kinds)}


def wilson(share: float, trials: float) -> tuple[float, float]:
    """95 % interval of a share seen in ``trials`` independent trials (Wilson, JASA 22, 1927)."""
    z2 = Z95**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z95 / (1 + z2 / trials) * np.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def _confusion(held: HeldOut) -> NDArray[np.float64]:
    judged = held.judged
    predicted = held.ids[held.proba[judged].argmax(axis=1)]
    return confusion_matrix(held.samples.y[judged], predicted, held.ids.tolist(), held.weight[judged])


def _random(held: HeldOut, head: Head, split: str, n_folds: int, seed: int, cancelled: Cancel | None) -> HeldOut | None:
    """The same labels held out wherever they lie: pixel by pixel (``"random"``) or label by label (``"field"``)."""
    samples = held.samples
    try:
        found = predict_folds(samples, head, folds(samples, split, n_folds, seed), held.spatial_groups, cancelled)
    except (LabelError, HeadError):
        return None
    return replace(found, shares=held.shares, labelled=held.labelled)


def _claim(held: HeldOut, random: HeldOut) -> float | None:
    """The accuracy under a random split, over the labels that the honest score judges: the two differ by the split alone."""
    both = np.intersect1d(held.judged, random.judged)
    fold = np.full(len(held.samples.y), -1)
    fold[both] = 0
    matrix = _confusion(replace(random, fold=fold, weight=held.weight))
    return float(np.trace(matrix) / matrix.sum()) if len(both) else None


def _gap(accuracy: float, naive: float | None) -> str:
    if naive is None:
        return ""
    points = round(100 * naive) - round(100 * accuracy)
    beside = "Tested right beside what it learned from (a random split), it would"
    if points <= 1:
        return f"{beside} say {_percent(naive)}: about the same."
    return f"{beside} claim {_percent(naive)}: {points} points too many."


def _weakest(per_class: Sequence[ClassScore], by_pixel: bool) -> str:
    if len(per_class) < 2 or per_class[0].f1 > 0.995:
        return ""
    weak = per_class[0]
    if round(100 * weak.precision) < round(100 * weak.recall):
        # Found everywhere, and called so where it is not: its recall alone would praise it.
        return f"Weakest class: {weak.name}; {_percent(weak.precision)} of what is mapped so is right."
    unit = "labelled pixel" if by_pixel else "label"
    return f"Weakest class: {weak.name}, found at {_percent(weak.recall)} of its {_count(weak.labels, unit)}."


def _confused(labels: NDArray[np.float64], ids: NDArray[np.int64], samples: Samples) -> str:
    errors = labels * (1 - np.eye(len(ids)))
    if errors.max(initial=0) < WORTH_SAYING * labels.sum():
        return ""
    return worst_confusion(labels, ids.tolist(), samples.names)


def _notes(samples: Samples, held: HeldOut, accuracy: float) -> tuple[str, ...]:
    notes = []
    judged = held.judged
    shares = np.bincount(held.targets[judged], held.weight[judged], minlength=len(held.ids)) / held.weight[judged].sum()
    if accuracy <= shares.max():
        name = _name(samples, held.ids[shares.argmax()])
        notes.append(
            f"That is no better than calling everything {name} ({_percent(shares.max())} of the labels): do not use this map yet."
        )
    left = sorted(set(held.ids.tolist()) - set(np.unique(held.samples.y[held.judged]).tolist()))
    if left:
        names = ", ".join(_name(samples, i) for i in left)
        more = "it" if len(left) == 1 else "each"
        notes.append(f"Labelled at a single place and so not judged yet: {names}. Label {more} again, further away.")
    if samples.ignored:
        notes.append(f"{_count(samples.ignored, 'labelled pixel')} without data left out.")
    return tuple(notes)


def _chosen(weighed: Weighed, accuracy: float, n_labels: int) -> list[str]:
    """What is to be said of how the labels were chosen."""
    held, n = weighed.held, weighed.suggested
    if weighed.how == "weighed":
        return [
            f"Labels at places that the app suggested: {n} of {n_labels}. Suggestions lie where the map is least sure, so each "
            "label counts by how much of the region is as sure as its place."
        ]
    if weighed.how == "left out":
        return [
            f"Labels at places that the app suggested: {n}. They lie where the map is least sure; they teach the map and are left "
            "out of its score."
        ]
    if n:
        return [
            f"Labels at places that the app suggested: {n} of {n_labels}. They lie where the map is least sure, so the score is "
            "likely too low."
        ]
    few = held.samples.weight is not None or n_labels < FEW_TO_WEIGH
    spread = None if few else right_elsewhere(held)
    if spread is None or accuracy - spread < EASY:
        return []
    points = round(100 * accuracy) - round(100 * spread)
    return [
        "Your labels lie in easy places: at them the map is surer than over the region. As sure as the region is, it would be "
        f"right at about {_percent(spread)}, {points} points less. Label borders and other parts of the region too."
    ]


def _not_yet(samples: Samples, block_px: int) -> LiveScore:
    group = spatial_groups(samples, block_px) if len(samples.y) else np.zeros(0, np.int64)
    counts = {int(i): len(np.unique(group[samples.y == i])) for i in np.unique(samples.y)}
    single = [_name(samples, i) for i, n in counts.items() if n < 2]
    if single:
        first, second, *_ = (*single, "")
        headline = (
            f"No score yet: label a second place, further away, of {first}."
            if len(single) == 1
            else f"No score yet: label a second place, further away, of both {first} and {second}."
        )
    else:
        headline = "No score yet: label further places of each class, a few hundred metres apart."
    return LiveScore(
        None,
        None,
        None,
        None,
        len(np.unique(samples.groups)),
        len(np.unique(group)),
        (),
        np.zeros((0, 0)),
        (),
        headline,
    )


def _name(samples: Samples, class_id: int) -> str:
    return samples.names.get(int(class_id), str(class_id))


def _percent(share: float) -> str:
    return f"{percent(share)} %"


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
