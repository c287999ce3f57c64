"""All labels of a class as one head: what the class would map if it had labelled one project together.

A pixel that learners have labelled differently gets the class that most of them gave it; where as many say the one as the other it
is left out. Both are counted and told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tessera_core.assess.reference import Reference, suggested_pixels
from tessera_core.classroom.matching import Legend
from tessera_core.classroom.work import Work
from tessera_core.errors import InputError
from tessera_core.grid import Grid
from tessera_core.labels.sampling import label_pixels
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Bools, Cancel

if TYPE_CHECKING:
    from tessera_core.assess.live import LiveScore
    from tessera_core.heads import Head, HeadChoice


@dataclass(frozen=True)
class PooledLabels:
    """The labels of all learners on one grid.

    Attributes:
        reference: the pixels, each once, with ids of the legend; a label of one learner is one group.
        pixels: that anybody labelled.
        conflicts: of these, labelled differently by two learners or more.
        undecided: of these, left out because as many say the one as the other.
        disputes: pairs of class names -> pixels on which learners gave both, the most frequent first.
        unmatched: labelled pixels whose class is none of the class map.
    """

    reference: Reference = field(repr=False)
    pixels: int
    conflicts: int
    undecided: int
    disputes: Mapping[tuple[str, str], int]
    unmatched: int


@dataclass(frozen=True)
class PooledMap:
    """The map of all labels together: uint8 (H, W) ids of the legend, the head that made it, its score, and its labels."""

    classes: NDArray[np.uint8] = field(repr=False)
    head: Head = field(repr=False)
    score: LiveScore | None
    labels: PooledLabels


def pool(works: Sequence[Work], legend: Legend, grid: Grid) -> PooledLabels:
    """All labels of a class; neither the order of the learners nor that of their labels matters.

    Args:
        works: of all learners.
        legend: of the class map.
        grid: of its embeddings.
    """
    pieces, unmatched, groups = [], 0, 0
    chosen: list[Bools] = []
    for work in sorted(works, key=lambda work: work.learner):
        found = label_pixels(work.labels, grid)
        ids = legend.tables[work.learner][found.class_ids]
        flat = found.rows.astype(np.int64) * grid.width + found.cols
        group = np.unique(found.label_index, return_inverse=True)[1] + groups
        groups = int(group.max(initial=groups - 1)) + 1
        unmatched += int((ids == 0).sum())
        pieces.append(np.stack([flat, ids.astype(np.int64), group])[:, ids > 0])
        suggested = suggested_pixels(work.labels, found.label_index)
        chosen.append(np.zeros(int((ids > 0).sum()), bool) if suggested is None else suggested[ids > 0])
    flat, ids, group = np.concatenate(pieces, axis=1) if pieces else np.zeros((3, 0), np.int64)
    pixels, pixel = np.unique(flat, return_inverse=True)
    position = np.zeros(256, np.int64)
    order = [one.id for one in legend.classes]
    position[order] = np.arange(len(order))
    votes = np.zeros((len(pixels), max(len(order), 1)), np.int64)
    np.add.at(votes, (pixel, position[ids]), 1)
    most = votes.max(1, initial=0)
    winners = votes == most[:, None]
    decided, contested = winners.sum(1) == 1, (votes > 0).sum(1) > 1
    winner = votes.argmax(1)
    # Of the labels that gave a pixel its class, the first one has it.
    gave = decided[pixel] & (position[ids] == winner[pixel])
    kept, first = np.unique(pixel[gave], return_index=True)
    rows, cols = np.divmod(pixels[kept], grid.width)
    disputes: Counter[tuple[str, str]] = Counter()
    for counts in votes[contested]:
        names = [legend.classes[int(k)].name for k in np.flatnonzero(counts)]
        disputes.update((a, b) for i, a in enumerate(names) for b in names[i + 1 :])
    reference = Reference(
        rows,
        cols,
        np.array(order, np.uint8)[winner[kept]] if order else np.zeros(0, np.uint8),
        group[gave][first],
        list(legend.classes),
        points=any(label.kind == "point" for work in works for label in work.labels),
        suggested=np.concatenate(chosen)[gave][first] if any(one.any() for one in chosen) else None,
    )
    ranked = dict(sorted(disputes.items(), key=lambda item: (-item[1], item[0])))
    return PooledLabels(
        reference, len(pixels), int(contested.sum()), int((contested & ~decided).sum()), ranked, unmatched
    )


def pooled_map(
    works: Sequence[Work],
    legend: Legend,
    raster: EmbeddingRaster,
    choice: str | HeadChoice | None = None,
    cancelled: Cancel | None = None,
) -> PooledMap:
    """The map of all labels as one head, by the fit and the score of every map.

    Args:
        works: of all learners.
        legend: of the class map.
        raster: the embeddings of the class.
        choice: of the head; the quickest by default.
        cancelled: asked often.

    Raises:
        InputError: the labels do not suffice.
        Cancelled: ``cancelled`` said so.
    """
    from tessera_core.heads import DEFAULT_HEAD, predict_raster
    from tessera_core.project.classify import train

    labels = pool(works, legend, raster.grid)
    if not len(labels.reference.rows):
        raise InputError("There are no labels to pool yet.")
    trained = train(labels.reference, raster, DEFAULT_HEAD if choice is None else choice, cancelled=cancelled)
    made = predict_raster(trained.head, raster, cancelled=cancelled)
    return PooledMap(made.classes, trained.head, trained.score, labels)
