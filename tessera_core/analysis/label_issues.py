"""A second look at the labels: which are probably wrong, doubled, too close together or too few, and which classes look alike.

Judges labels by the embeddings under them and by their place; refuses to know heads and maps. Nothing is changed; each
finding says where to look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.percents import percent
from tessera_core.labels.model import Label, LabelClass
from tessera_core.labels.sampling import geometry_pixels, label_pixels
from tessera_core.raster import EmbeddingRaster

Kind = Literal["contradiction", "likely wrong", "overlap", "too few", "duplicate", "too close"]
Severity = Literal["high", "medium", "low"]

NEIGHBOURS = 7
# Share of the neighbours' votes for another class from which a label is suspected, and for its own at most.
DISAGREE, AGREE = 0.7, 0.2
# Share of both classes' labels whose nearest neighbours are of the other class.
OVERLAP = 0.3
TOO_CLOSE_PX = 3.0
# Neighbours in embedding space nearer than this on the ground are not independent.
INDEPENDENT_PX = 10.0
FEW_LABELS, FEW_PLACES = 5, 3
MAX_LABELS = 4000
MAX_LISTED = 20

_ORDER: dict[Severity, int] = {"high": 0, "medium": 1, "low": 2}


@dataclass(frozen=True)
class LabelIssue:
    """Something about the labels that deserves a look.

    Attributes:
        kind: what is wrong.
        severity: how much it harms the map.
        sentence: for the page.
        labels: ids of the labels concerned.
        row, col: pixel to go to; None where it is about a whole class.
        class_ids: classes concerned; for "likely wrong" the present one and the one it resembles.
    """

    kind: Kind
    severity: Severity
    sentence: str
    labels: tuple[str, ...]
    row: int | None
    col: int | None
    class_ids: tuple[int, ...]


@dataclass(frozen=True)
class _Table:
    """One row for each label that has pixels with data: mean vector, centre, class."""

    x: NDArray[np.float64]
    ground: NDArray[np.float64]
    y: NDArray[np.int64]
    labels: list[Label]

    def place(self, i: int) -> tuple[int, int]:
        return int(self.ground[i, 0]), int(self.ground[i, 1])


def find_label_issues(
    labels: Sequence[Label], classes: Sequence[LabelClass], raster: EmbeddingRaster
) -> list[LabelIssue]:
    """Findings about the labels, the most harmful first.

    Args:
        labels: in painting order, in the coordinates of the raster's grid; the first 4000 are judged.
        classes: what their ids mean.
        raster: the embeddings under them.
    """
    labels = list(labels)[:MAX_LABELS]
    names = {c.id: c.name for c in classes}
    table = _table(labels, raster)
    votes, independent = _votes(table)
    issues = _doubles(labels, names, raster)
    issues += _likely_wrong(table, votes, independent, names)
    issues += _overlaps(table, votes, names)
    issues += _too_few(table, names)
    issues += _too_close(table, names)
    return sorted(issues, key=lambda f: _ORDER[f.severity])


def _table(labels: list[Label], raster: EmbeddingRaster) -> _Table:
    pixels = label_pixels(labels, raster.grid)
    x = raster.sample(pixels.rows, pixels.cols).astype(np.float64)
    usable = np.isfinite(x).all(axis=1)
    present, index = np.unique(pixels.label_index[usable], return_inverse=True)
    count = np.bincount(index, minlength=len(present))[:, None].astype(float)
    sums = np.zeros((len(present), raster.dim))
    np.add.at(sums, index, x[usable])
    centres = np.stack([np.bincount(index, v[usable], minlength=len(present)) for v in (pixels.rows, pixels.cols)], 1)
    kept = [labels[i] for i in present]
    return _Table(sums / count, centres / count, np.array([label.class_id for label in kept], np.int64), kept)


def _votes(table: _Table) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Share of each class among the nearest labels in embedding space, (L, K), and labels of its own class elsewhere, (L,).

    A label's own place has no vote (cross-fitting). A vote weighs the inverse of how often its class was labelled, so that a
    large class does not outvote a small one.
    """
    ids, index = np.unique(table.y, return_inverse=True)
    votes, independent = np.zeros((len(table.y), len(ids))), np.zeros(len(table.y), np.int64)
    if len(ids) < 2:
        return votes, independent
    weight = (1 / np.bincount(index))[index]
    squares = (table.x**2).sum(1)
    for i in range(len(table.y)):
        distance = squares - 2 * table.x @ table.x[i]
        far = np.abs(table.ground - table.ground[i]).max(1) > INDEPENDENT_PX
        distant = np.flatnonzero(far)
        independent[i] = (index[distant] == index[i]).sum()
        nearest = distant[np.argsort(distance[distant], kind="stable")[:NEIGHBOURS]]
        if len(nearest):
            votes[i] = np.bincount(index[nearest], weight[nearest], minlength=len(ids))
            votes[i] /= votes[i].sum()
    return votes, independent


def _likely_wrong(
    table: _Table, votes: NDArray[np.float64], independent: NDArray[np.int64], names: dict[int, str]
) -> list[LabelIssue]:
    ids, index = np.unique(table.y, return_inverse=True)
    if len(ids) < 2:
        return []
    own = votes[np.arange(len(index)), index]
    others = votes.copy()
    others[np.arange(len(index)), index] = 0
    like = others.argmax(1)
    # A label whose class has hardly been labelled elsewhere has no independent neighbours; it is not suspected for that.
    suspects = np.flatnonzero((others.max(1) >= DISAGREE) & (own <= AGREE) & (independent > NEIGHBOURS // 2))
    order = suspects[np.argsort(own[suspects] - others.max(1)[suspects], kind="stable")][:MAX_LISTED]
    return [
        LabelIssue(
            "likely wrong",
            "high",
            f"Labelled {_name(names, table.y[i])}, but it looks like {_name(names, ids[like[i]])}: so do "
            f"{percent(others[i].max())} % of the votes of the labels most like it elsewhere.",
            (table.labels[i].id,),
            *table.place(i),
            (int(table.y[i]), int(ids[like[i]])),
        )
        for i in order
    ]


def _overlaps(table: _Table, votes: NDArray[np.float64], names: dict[int, str]) -> list[LabelIssue]:
    ids, index = np.unique(table.y, return_inverse=True)
    counts = np.bincount(index)
    found = []
    for a in range(len(ids)):
        for b in range(a + 1, len(ids)):
            if min(counts[a], counts[b]) < FEW_LABELS:
                continue
            across = float(votes[index == a, b].mean()), float(votes[index == b, a].mean())
            if min(across) >= OVERLAP:
                found.append(
                    LabelIssue(
                        "overlap",
                        "medium",
                        f"{_name(names, ids[a])} and {_name(names, ids[b])} look alike here: {percent(min(across))} % or "
                        "more of each resembles the other. Merge them, or label clearer examples of both.",
                        (),
                        None,
                        None,
                        (int(ids[a]), int(ids[b])),
                    )
                )
    return found


def _too_few(table: _Table, names: dict[int, str]) -> list[LabelIssue]:
    found = []
    for k in sorted(names):
        of_class = table.y == k
        n = int(of_class.sum())
        places = len(np.unique((table.ground[of_class] // INDEPENDENT_PX).astype(int), axis=0)) if n else 0
        if n >= FEW_LABELS and places >= FEW_PLACES:
            continue
        if n == 0:
            sentence = f"{names[k]} has no label, so the map will not show it."
        elif n < FEW_LABELS:
            sentence = (
                f"{names[k]} has only {n} label{'s' if n > 1 else ''}; {FEW_LABELS} at different places are a start."
            )
        else:
            sentence = f"All {n} labels of {names[k]} lie at {places} place{'s' if places > 1 else ''}; label it elsewhere too."
        ids = tuple(label.id for label, own in zip(table.labels, of_class, strict=True) if own)
        row, col = table.place(int(np.flatnonzero(of_class)[0])) if n else (None, None)
        found.append(LabelIssue("too few", "low" if n == 0 else "medium", sentence, ids, row, col, (k,)))
    return found


def _doubles(labels: list[Label], names: dict[int, str], raster: EmbeddingRaster) -> list[LabelIssue]:
    """Labels on exactly the same pixels, of one class (harmless) or two (the later one wins unseen)."""
    same: dict[bytes, list[Label]] = {}
    for label in labels:
        if label.kind != "erase":
            flat = geometry_pixels(label, raster.grid)
            if len(flat):
                same.setdefault(flat.tobytes(), []).append(label)
    found = []
    for key, group in same.items():
        if len(group) < 2:
            continue
        row, col = divmod(int(np.frombuffer(key, np.int64)[0]), raster.grid.width)
        kinds = tuple(dict.fromkeys(label.class_id for label in group))
        ids = tuple(label.id for label in group)
        if len(kinds) > 1:
            said = " and ".join(_name(names, k) for k in kinds)
            sentence = f"The same place is labelled {said}; only the last, {_name(names, group[-1].class_id)}, counts."
            found.append(LabelIssue("contradiction", "high", sentence, ids, row, col, kinds))
        else:
            sentence = f"The same place is labelled {_name(names, kinds[0])} {len(group)} times; once is enough."
            found.append(LabelIssue("duplicate", "low", sentence, ids, row, col, kinds))
    return found[:MAX_LISTED]


def _too_close(table: _Table, names: dict[int, str]) -> list[LabelIssue]:
    """Clicks of one class within a few pixels of each other: they look like many labels and teach like one."""
    from scipy.spatial import cKDTree

    found = []
    for k in np.unique(table.y):
        clicks = np.array([i for i in np.flatnonzero(table.y == k) if table.labels[i].kind == "point"], int)
        if len(clicks) < 2:
            continue
        pairs = cKDTree(table.ground[clicks]).query_pairs(TOO_CLOSE_PX, output_type="ndarray")
        if not len(pairs):
            continue
        crowded = clicks[np.unique(pairs)]
        sentence = (
            f"{len(crowded)} clicks of {_name(names, k)} lie within {TOO_CLOSE_PX:.0f} pixels of another; such neighbours "
            "teach the map little. Spread them out."
        )
        ids = tuple(table.labels[i].id for i in crowded)
        found.append(LabelIssue("too close", "low", sentence, ids, *table.place(int(crowded[0])), (int(k),)))
    return found


def _name(names: dict[int, str], class_id: int) -> str:
    return names.get(int(class_id), str(class_id))
