"""One head from labels in many places: regions, years and projects of one dataset, and later more labels in a saved head.

What taught a head can travel with it: the embeddings of the labelled pixels, int8, with their classes and places. So a head
is taught further where the first regions are no longer at hand, and how well it travels is measured by leaving out whole places.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.percents import percent
from tessera_core.assess.live import wilson
from tessera_core.assess.origins import judge_alone
from tessera_core.assess.reference import Reference
from tessera_core.assess.samples import CodeFeatures
from tessera_core.errors import Cancelled, HeadError, LabelError
from tessera_core.heads.training import training_draw
from tessera_core.labels.model import LabelClass
from tessera_core.periods import written
from tessera_core.project.classify import Trained, unfitted
from tessera_core.project.tile_training import (
    LabelledPixels,
    joined_references,
    joined_suggested,
    pixels_at,
    train_on_tiles,
)
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster, valid_scales
from tessera_core.types import Bools, Cancel, Progress

if TYPE_CHECKING:
    from tessera_core.heads import HeadChoice, SavedHead

# Rows between places: more than any square that is held out as one.
_APART = 1 << 20
# Share of a label's pixels from which on a label of another year is on the same ground; of large ones only a draw is kept.
_COMMON = 0.05
# As the years of one project are told apart, see ``teaching.place_name``; and as places of one name.
_YEAR = re.compile(r"( \d{4})?( \(\d+\))?$")
_ARRAYS = ("codes", "scales", "y", "groups", "rows", "cols", "place")
# What files of before it was kept do not have.
_SUGGESTED = "suggested"


@dataclass(frozen=True)
class Taught:
    """Labelled pixels of one or more places, with their embeddings.

    Attributes:
        codes, scales: int8 (n, D) and float32 (n,), all with data.
        y: uint8 (n,) class ids.
        groups: int64 (n,), which label each pixel is of, over all places.
        rows, cols: int64 (n,) on the grid of the place.
        place: int64 (n,), number in ``places``.
        places: names.
        classes: what the ids mean.
        provenance: of the embeddings; its year is that of the places, or None where they differ.
        suggested: bool (n,), which are of labels where the app suggested to label; None where none is, or nobody kept it.
    """

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    y: NDArray[np.uint8]
    groups: NDArray[np.int64]
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    place: NDArray[np.int64]
    places: tuple[str, ...]
    classes: tuple[LabelClass, ...]
    provenance: Provenance
    suggested: Bools | None = None

    @property
    def names(self) -> dict[int, str]:
        """Class id -> name."""
        return {c.id: c.name for c in self.classes}

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a file of a head carries of it; names of places and classes stand in the card."""
        kept = {name: getattr(self, name) for name in _ARRAYS}
        return kept if self.suggested is None else kept | {_SUGGESTED: self.suggested}

    def counts(self) -> dict[str, dict[str, int]]:
        """Place -> class -> labels."""
        found: dict[str, dict[str, int]] = {}
        for number, place in enumerate(self.places):
            pairs = np.unique(np.stack([self.y, self.groups])[:, self.place == number], axis=1)[0]
            found[place] = {c.name: int((pairs == c.id).sum()) for c in self.classes if (pairs == c.id).any()}
        return found

    def _at(self, index: NDArray[Any]) -> Taught:
        return replace(self, **{name: array[index] for name, array in self.arrays.items()})


def taught_in(name: str, raster: EmbeddingRaster, labels: Reference, seed: int = 0) -> Taught:
    """The labelled pixels of one place, of too many a draw (:func:`~tessera_core.heads.training.training_draw`).

    Raises:
        LabelError: no labelled pixel has data.
    """
    scales = np.asarray(raster.scales[labels.rows, labels.cols], np.float32)
    keep = np.flatnonzero(valid_scales(scales))
    if not len(keep):
        raise LabelError(
            f"Not one label of {name} lies where there are data; check that labels and embeddings overlap."
        )
    keep = keep[training_draw(labels.y[keep], labels.rows[keep], labels.cols[keep], seed)]
    rows, cols = labels.rows[keep].astype(np.int64), labels.cols[keep].astype(np.int64)
    return Taught(
        np.asarray(raster.codes[rows, cols]),
        scales[keep],
        labels.y[keep].astype(np.uint8),
        labels.groups[keep].astype(np.int64),
        rows,
        cols,
        np.zeros(len(keep), np.int64),
        (name,),
        tuple(labels.classes),
        raster.provenance,
        None if labels.suggested is None else labels.suggested[keep],
    )


def join_taught(parts: Sequence[Taught], seed: int = 0, *, classes: Sequence[LabelClass] = ()) -> Taught:
    """Labelled pixels of several places as one; classes of one name are one class, places of one name stay two.

    Args:
        parts: of the places.
        seed: of the draw, where there are very many.
        classes: that keep their ids, whichever part has them; none for those of the first part.

    Raises:
        MixedDatasetsError: they are of several datasets.
        LabelError: there are no parts, or more classes than a map holds.
    """
    if not parts:
        raise LabelError("There are no labels to join.")
    first = parts[0].provenance
    for part in parts[1:]:
        first.require_same_dataset(part.provenance, "one head")
    none = np.zeros(0, np.int64)
    known = Reference(none, none, np.zeros(0, np.uint8), none, list(classes))
    both = joined_references([known, *(Reference(p.rows, p.cols, p.y, p.groups, list(p.classes)) for p in parts)])
    places: list[str] = []
    numbers, groups = list[NDArray[np.int64]](), list[NDArray[np.int64]]()
    base = 0
    for part in parts:
        numbers.append(part.place + len(places))
        places += [_unused(name, places) for name in part.places]
        # Numbered anew by the reference of the part alone, so that no label runs on into another place.
        groups.append(np.unique(part.groups, return_inverse=True)[1].astype(np.int64) + base)
        base += len(np.unique(part.groups))
    years = {part.provenance.year for part in parts}
    whole = Taught(
        np.concatenate([part.codes for part in parts]),
        np.concatenate([part.scales for part in parts]),
        both.y,
        np.concatenate(groups),
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.cols for part in parts]),
        np.concatenate(numbers),
        tuple(places),
        tuple(both.classes),
        replace(first, year=first.year if len(years) == 1 else None),
        joined_suggested([(part.suggested, len(part.y)) for part in parts]),
    )
    return whole._at(training_draw(whole.y, whole.rows + whole.place * _APART, whole.cols, seed))


def _unused(name: str, taken: Sequence[str]) -> str:
    number, new = 2, name
    while new in taken:
        new, number = f"{name} ({number})", number + 1
    return new


def train_joint(
    taught: Taught,
    choice: HeadChoice,
    *,
    seed: int = 0,
    calibrated: bool = True,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Trained:
    """The one fit behind every map (:func:`tessera_core.project.classify.train`), on labels of many places.

    Raises:
        HeadError: the labels do not suffice, or the head looks around a pixel.
        Cancelled: ``cancelled`` said so.
    """
    reference, pixels = _as_labels(taught)
    return train_on_tiles(
        reference, pixels, choice, seed=seed, calibrated=calibrated, progress=progress, cancelled=cancelled
    )


def _as_labels(taught: Taught) -> tuple[Reference, LabelledPixels]:
    """The pixels on one grid on which places lie far below each other."""
    heights = [int(taught.rows[taught.place == k].max(initial=0)) + _APART for k in range(len(taught.places))]
    starts = np.concatenate([[0], np.cumsum(heights)[:-1]])
    rows = taught.rows + starts[taught.place]
    order = np.lexsort((taught.cols, rows))
    reference = Reference(
        rows[order],
        taught.cols[order],
        taught.y[order],
        taught.groups[order],
        list(taught.classes),
        points=True,
        suggested=None if taught.suggested is None else taught.suggested[order],
    )
    return reference, pixels_at(rows, taught.cols, taught.codes, taught.scales, taught.provenance)


# ------------------------------------------------------------ how it travels


@dataclass(frozen=True)
class PlaceScore:
    """How right a head is in a place that taught it nothing.

    Attributes:
        place: that was left out.
        accuracy: share of its labels that are mapped right, each label counting once; None where none could be judged.
        interval: 95 %, Wilson, with as many trials as labels.
        labels: that were judged.
        unknown: class -> labels that no other place has a label of; they cannot be right and are not judged.
        suggested: labels where the app suggested to label, which lie where a map is in doubt.
        left_out: whether these were not judged.
        repeated: of those judged, labels that taught it all the same, as another year sees them; they flatter the score.
    """

    place: str
    accuracy: float | None
    interval: tuple[float, float] | None
    labels: int
    unknown: dict[str, int]
    suggested: int = 0
    left_out: bool = False
    repeated: int = 0

    def sentences(self, *, before: bool = False) -> list[str]:
        """For people; ``before`` the place taught it."""
        told = []
        if self.accuracy is None or self.interval is None:
            told.append(f"How right it is in {self.place} cannot be said without its own labels.")
        else:
            right, low, high = percent(self.accuracy), percent(self.interval[0]), percent(self.interval[1])
            of = f"{self.labels} labels; 95 % sure: {low} to {high} %"
            told.append(
                f"Before, without {self.place}, right at {right} % in {self.place} ({of})."
                if before
                else f"Trained without {self.place}, right at {right} % in {self.place} ({of})."
            )
        if self.repeated and self.accuracy is not None:
            told.append(
                f"{self.repeated} of these labels teach it as another year sees them, so at new places it is likely right less "
                "often."
            )
        if self.suggested:
            lie = f"Labels at places that the app suggested: {self.suggested}. They lie where a map is least sure"
            told.append(
                f"{lie}, and were not judged." if self.left_out else f"{lie}, so it is likely right more often."
            )
        if self.unknown:
            names = ", ".join(f"{name} ({count})" for name, count in self.unknown.items())
            told.append(f"Only {self.place} has labels of {names}; they were not judged.")
        return told

    def to_json(self) -> dict[str, Any]:
        """JSON object."""
        interval = None if self.interval is None else list(self.interval)
        return {
            "place": self.place, "accuracy": self.accuracy, "interval": interval, "labels": self.labels, "unknown": self.unknown,
            "suggested": self.suggested, "suggested_left_out": self.left_out, "repeated": self.repeated,
        }  # fmt: skip


def score_places(
    taught: Taught,
    choice: HeadChoice,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> list[PlaceScore]:
    """Leave each place out as a whole, and see how right the others are there; none where there is one place.

    Raises:
        HeadError: the head looks around a pixel, or cannot be fitted.
        Cancelled: ``cancelled`` said so.
    """
    if len(taught.places) < 2:
        return []
    if unfitted(choice, seed).receptive_radius:
        raise HeadError("A head that looks around each pixel cannot be judged by places; choose another head.")
    features = CodeFeatures(taught.codes, taught.scales)
    scores = []
    for number, place in enumerate(taught.places):
        if cancelled is not None and cancelled():
            raise Cancelled()
        if progress is not None:
            progress(number, len(taught.places), f"without {place}")
        train, test = np.flatnonzero(taught.place != number), np.flatnonzero(taught.place == number)
        known = np.isin(taught.y[test], taught.y[train])
        unknown = _labels_of(taught, test[~known])
        test = test[known]
        if len(np.unique(taught.y[train])) < 2 or not len(test):
            scores.append(PlaceScore(place, None, None, 0, unknown))
            continue
        head = unfitted(choice, seed)
        found = features.fit_predict(head, train, taught.y[train].astype(np.int64), test, taught.groups[train])
        score, judged = _place_score(place, taught, test, np.asarray(found), unknown)
        scores.append(replace(score, repeated=_repeated(taught._at(judged), place, taught, number)))
    return scores


def score_elsewhere(saved: SavedHead, taught: Taught) -> PlaceScore:
    """How right a saved head is at labels of a place that it has not been taught by.

    Args:
        saved: of classes.
        taught: one place.

    Raises:
        MixedDatasetsError: they are of different datasets.
        HeadError: the head maps numbers.
    """
    taught.provenance.require_same_dataset(saved.provenance, "one head")
    head = saved.classification
    if head is None:
        raise HeadError("This head maps measured values, and labels of classes cannot judge it.")
    ids = {name: k for k, name in saved.class_names.items()}
    own = np.array([ids.get(taught.names.get(int(k), ""), 0) for k in taught.y])
    test = np.flatnonzero(own > 0)
    unknown, place = _labels_of(taught, np.flatnonzero(own == 0)), taught.places[0]
    if not len(test):
        return PlaceScore(place, None, None, 0, unknown)
    proba = CodeFeatures(taught.codes, taught.scales).proba(head, test)
    found = head.classes_[proba.argmax(1)]
    score, judged = _place_score(place, replace(taught, y=own.astype(np.uint8)), test, found, unknown)
    if not saved.taught:
        return score
    return replace(score, repeated=_repeated(taught._at(judged), place, taught_of(saved, place)))


def _repeated(judged: Taught, place: str, taught: Taught, but: int = -1) -> int:
    """How many of the judged labels of a place taught it in another of its years, where its own number is ``but``.

    They are known by their ground and class, for the pixels of a label with data, or drawn from too many, differ by year.
    """
    years = [k for k, name in enumerate(taught.places) if k != but and _YEAR.sub("", name) == _YEAR.sub("", place)]
    known = _ground(taught._at(np.flatnonzero(np.isin(taught.place, years))))
    if not len(known) or not len(judged.y):
        return 0
    _, label = np.unique(judged.groups, return_inverse=True)
    shared = np.bincount(label, np.isin(_ground(judged), known)) / np.bincount(label)
    return int((shared >= _COMMON).sum())


def _ground(taught: Taught) -> NDArray[np.void]:
    """Class, row and column of each pixel (n,), one thing to compare; classes by name, for their numbers may differ."""
    ids = {k: zlib.crc32(name.encode()) for k, name in taught.names.items()}
    kinds = np.array([ids.get(int(k), -1) for k in taught.y], np.int64)
    cells = np.ascontiguousarray(np.stack([kinds, taught.rows, taught.cols], axis=1), np.int64)
    return cells.view(np.dtype((np.void, cells.dtype.itemsize * 3)))[:, 0]


def _place_score(
    place: str, taught: Taught, test: NDArray[np.intp], found: NDArray[Any], unknown: dict[str, int]
) -> tuple[PlaceScore, NDArray[np.intp]]:
    """The score, and which pixels were judged."""
    chosen = np.zeros(len(test), bool) if taught.suggested is None else taught.suggested[test]
    suggested, left_out = len(np.unique(taught.groups[test][chosen])), False
    if suggested and judge_alone(taught.groups[test], taught.y[test], chosen):
        test, found, left_out = test[~chosen], found[~chosen], True
    _, label = np.unique(taught.groups[test], return_inverse=True)
    right = np.bincount(label, found == taught.y[test]) / np.bincount(label)
    share = float(right.mean())
    return PlaceScore(place, share, wilson(share, len(right)), len(right), unknown, suggested, left_out), test


def _labels_of(taught: Taught, index: NDArray[np.intp]) -> dict[str, int]:
    pairs = np.unique(np.stack([taught.y[index], taught.groups[index]]), axis=1)[0] if len(index) else np.zeros(0)
    return {c.name: int((pairs == c.id).sum()) for c in taught.classes if (pairs == c.id).any()}


# --------------------------------------------------------------------- files


def joint_card(taught: Taught, trained: Trained, scores: Sequence[PlaceScore]) -> dict[str, Any]:
    """What whoever maps with a joint head should know, as JSON values; what :func:`taught_of` needs is among it."""
    labels: dict[str, int] = {}
    for counts in taught.counts().values():
        for name, count in counts.items():
            labels[name] = labels.get(name, 0) + count
    score = trained.score
    return {
        "labels": labels,
        "places": taught.counts(),
        "score": {} if score is None else score.to_json(),
        "elsewhere": [one.to_json() for one in scores],
        "sentences": [sentence for one in scores for sentence in one.sentences()],
        "dataset": taught.provenance.dataset,
        "year": written(taught.provenance.year),
        "made": datetime.now(UTC).date().isoformat(),
        "classes": [{"id": c.id, "name": c.name, "color": c.color, "code": c.code} for c in taught.classes],
    }


def saved_joint(taught: Taught, trained: Trained, scores: Sequence[PlaceScore]) -> SavedHead:
    """A joint head with all that its file holds."""
    from tessera_core.analysis.applicability import learn
    from tessera_core.heads import SavedHead

    values = (taught.codes * taught.scales[:, None]).astype(np.float32)
    try:
        seen = learn(values, taught.y, taught.groups).arrays
    except LabelError:
        # Too few labels to tell other ground by.
        seen = {}
    card = joint_card(taught, trained, scores)
    return SavedHead(trained.head, taught.names, taught.provenance, seen, card, taught.arrays)


def save_joint(path: str | Path, taught: Taught, trained: Trained, scores: Sequence[PlaceScore]) -> Path:
    """Write a joint head with what taught it, so that it can be taught further (:func:`taught_of`).

    Raises:
        HeadError: the head cannot be saved.
        ExportError: the file cannot be written.
    """
    from tessera_core.heads import save_head

    saved = saved_joint(taught, trained, scores)
    return save_head(
        path, saved.head, saved.class_names, saved.provenance, saved.seen, card=saved.card, taught=saved.taught
    )


def taught_of(saved: SavedHead, what: str = "This head") -> Taught:
    """What taught a saved head.

    Args:
        saved: the head.
        what: what to call it.

    Raises:
        HeadError: the file does not carry it, or it is damaged.
    """
    card, arrays = saved.card, saved.taught
    if not arrays:
        raise HeadError(
            f"{what} does not carry the labels that taught it, so it cannot be taught further. Train it anew from its projects "
            "with 'tessera head train', which keeps them."
        )
    try:
        classes = tuple(
            LabelClass(int(c["id"]), str(c["name"]), str(c["color"]), str(c.get("code", ""))) for c in card["classes"]
        )
        places = tuple(str(name) for name in card["places"])
        kinds: Mapping[str, Any] = {"codes": np.int8, "scales": np.float32, "y": np.uint8}
        found = {name: np.asarray(arrays[name], kinds.get(name, np.int64)) for name in _ARRAYS}
        suggested = None if _SUGGESTED not in arrays else np.asarray(arrays[_SUGGESTED]).astype(bool)
    except (KeyError, TypeError, ValueError) as error:
        raise HeadError(f"{what} is damaged: what taught it is incomplete.") from error
    n = len(found["y"])
    fits = all(len(array) == n for array in found.values()) and found["codes"].ndim == 2
    fits = fits and (suggested is None or suggested.shape == (n,))
    inside = n > 0 and found["place"].min() >= 0 and found["place"].max() < len(places)
    known = {c.id for c in classes}
    if (
        not fits
        or not inside
        or found["codes"].shape[1] != saved.provenance.dim
        or not set(found["y"].tolist()) <= known
    ):
        raise HeadError(f"{what} is damaged: what taught it does not fit together.")
    return Taught(**found, places=places, classes=classes, provenance=saved.provenance, suggested=suggested)
