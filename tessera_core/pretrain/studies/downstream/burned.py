"""Burned area: how severely a year's fires burned, by pixel, from a few labels on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_core.assess.metrics import confusion_matrix, score
from tessera_core.errors import InputError
from tessera_core.heads import MLPHead
from tessera_core.pretrain.studies import published
from tessera_core.pretrain.studies.downstream import reading
from tessera_core.pretrain.studies.downstream.anchors import BURNED_AREA, NPZ, Anchor
from tessera_core.pretrain.studies.downstream.crops import predicted
from tessera_core.pretrain.studies.downstream.framework import Data, Effort, Metric, Task, TooFewError

_LABELS = "severity*.npy"
# Unburned, low, moderate, high; 1 is a class of the source that the authors leave out.
CLASSES = (0, 2, 3, 4)
# Of the pixels half may teach; the other ground is whole squares of this edge, pixels.
SQUARE = 32
LEAST = 8
MOST_JUDGED = 200_000


@dataclass(frozen=True)
class Fires:
    """Pixels of the four classes: ``rows``, ``cols`` and severity ``y``, (N,) each."""

    vectors: reading.Vectors
    rows: NDArray[np.intp]
    cols: NDArray[np.intp]
    y: NDArray[np.int64]


def _read(folder: Path) -> dict[str, Data]:
    place = reading.place_of(folder, ("data", "burned_areas/data"), _LABELS)
    if place is None:
        return {}
    labels_path = sorted(place.glob(_LABELS))[0]
    labels = reading.labels_of(labels_path)
    rows, cols = np.nonzero(np.isin(labels, CLASSES))
    paths = [path for path in sorted(place.glob("*_embedding.npy")) if path.is_file()]
    if not paths:
        raise InputError(f"{place} has {labels_path.name} but no NAME_embedding.npy; copy it there, too.")
    found = {}
    for path in paths:
        scales = path.with_name(path.stem + reading.SCALES + ".npy")
        vectors = reading.Vectors(path, scales if scales.is_file() else None, (labels.shape[0], labels.shape[1]))
        files = [path, labels_path, *([scales] if scales.is_file() else [])]
        parts = Fires(vectors, rows, cols, labels[rows, cols].astype(np.int64))
        found[path.stem.removesuffix("_embedding")] = Data(reading.stamp(files, place), parts)
    return found


def _judge(data: Fires, share: float, seed: int, effort: Effort) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    scores = {}
    squares = np.unique(np.stack([data.rows // SQUARE, data.cols // SQUARE], 1), axis=0, return_inverse=True)[1].ravel()
    sides = {
        "random": rng.random(len(data.y)) < 0.5,
        "ground": (rng.permutation(int(squares.max(initial=0)) + 1) % 2 == 0)[squares],
    }
    for key, side in sides.items():
        pool, test = rng.permutation(np.flatnonzero(side)), rng.permutation(np.flatnonzero(~side))[:MOST_JUDGED]
        train = pool[: round(share * len(pool))]
        if len(train) < LEAST or len(np.unique(data.y[train])) < 2 or not len(test):
            raise TooFewError(f"{len(train)} labels are drawn; it takes {LEAST}, of two classes or more.")
        head = MLPHead(steps=effort.steps, epochs=effort.epochs, learning_rate=1e-3, class_weight=None, seed=seed)
        head.fit(data.vectors.at(data.rows[train], data.cols[train]), data.y[train])
        said = predicted(head, data.vectors, data.rows[test], data.cols[test])
        matrix = confusion_matrix(data.y[test], said, CLASSES)
        scores[key] = float(score(matrix, CLASSES, {})["weighted_f1"])
    return scores


def _files(folder: Path) -> list[Anchor]:
    curves = published.burned(folder)
    counts = curves.pop("labels", [])
    most = max(counts, default=1)
    return [
        Anchor(
            model.replace("_", " "),
            "random",
            {float(f"{n / most:.2g}"): v for n, v in zip(counts, values, strict=True)},
            NPZ,
        )
        for model, values in curves.items()
    ]


TASK = Task(
    "burned-area",
    "Burned area, California",
    "It needs severity*.npy (H, W) with 0 unburned, 2 low, 3 moderate, 4 high, and NAME_embedding.npy (H, W, D) for each model "
    "(with NAME_embedding_scales.npy where it is int8), or the authors' burned_areas/data/training_results.npz.",
    "Half of the pixels may teach and the others judge, drawn at random, as the published curve seems to be made (its script is "
    "not public), and beside it whole squares of 32 pixels held out, which is what a new place asks for; a network of 512 and 256 "
    "units; F1 weighted by pixels.",
    (Metric("random", "weighted F1, random pixels"), Metric("ground", "weighted F1, other ground")),
    (1e-5, 2e-5, 5e-5, 1e-4, 5e-4, 1e-3, 1e-2, 1e-1, 1.0),
    3,
    Effort(20),
    Effort(200),
    _read,
    _judge,
    BURNED_AREA,
    _files,
)
