"""PASTIS: 18 crops and background in French patches of 128 pixels, each pixel a class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_core.assess.metrics import confusion_matrix
from tessera_core.errors import InputError
from tessera_core.gate import read_json
from tessera_core.pretrain.studies.downstream import reading
from tessera_core.pretrain.studies.downstream.anchors import PASTIS
from tessera_core.pretrain.studies.downstream.framework import Data, Effort, Metric, Task, TooFewError
from tessera_core.pretrain.studies.downstream.patches import Patch, PatchNet

CLASSES = 19
# What lies beyond the parcels that were asked for: never taught, never judged.
VOID = 19
TEACH, JUDGE = (1, 2, 3), (5,)
_META = "metadata.geojson"
# Time series and photographs of the data set: no embeddings.
_SERIES = ("S2", "S1A", "S1D", "SPOT", "ANNOTATIONS")


@dataclass(frozen=True)
class Parcels:
    """Patches of the folds that teach and of those that judge."""

    train: list[Patch]
    test: list[Patch]


def _read(folder: Path) -> dict[str, Data]:
    place = reading.place_of(folder, ("PASTIS-HD", "PASTIS-R", "PASTIS", "data/PASTIS-HD"), _META)
    if place is None:
        return {}
    models = [
        path
        for path in sorted(place.glob("DATA_*"))
        if path.is_dir() and path.name.removeprefix("DATA_") not in _SERIES
    ]
    if not models or not (place / "ANNOTATIONS").is_dir():
        lacking = "ANNOTATIONS" if models else "DATA_MODEL/MODEL_ID.npy with embeddings"
        raise InputError(f"{place} has {_META} but no {lacking}; copy it there, too.")
    folds = _folds(place / _META)
    found = {}
    for model in models:
        name = model.name.removeprefix("DATA_")
        sides: dict[bool, list[Patch]] = {True: [], False: []}
        files: list[Path] = [place / _META]
        for patch, fold in folds.items():
            path, truth = model / f"{name}_{patch}.npy", place / "ANNOTATIONS" / f"TARGET_{patch}.npy"
            if (fold in TEACH or fold in JUDGE) and path.is_file() and truth.is_file():
                scales = path.with_name(path.stem + reading.SCALES + ".npy")
                size = reading.labels_of(truth, 3).shape[1:]
                vectors = reading.Vectors(path, scales if scales.is_file() else None, (size[0], size[1]))
                sides[fold in TEACH].append(Patch(vectors, _Target(truth)))
                files += [path, truth]
        if not sides[True] or not sides[False]:
            raise InputError(
                f"{model} has no patch with labels of the folds {'1 to 3, which teach' if not sides[True] else '5, which judges'}."
            )
        found[name] = Data(reading.stamp(files, place), Parcels(sides[True], sides[False]))
    return found


@dataclass(frozen=True)
class _Target:
    """The first layer of a file of targets; -1 where void."""

    path: Path

    def __call__(self) -> NDArray[np.int64]:
        target = np.array(reading.labels_of(self.path, 3)[0], np.int64)
        return np.where((target >= 0) & (target < CLASSES), target, -1)


def _folds(path: Path) -> dict[str, int]:
    """The fold of each patch."""
    try:
        return {
            str(one["properties"]["ID_PATCH"]): int(one["properties"]["Fold"]) for one in read_json(path)["features"]
        }
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path.name} is no list of patches with ID_PATCH and Fold.") from error


def _judge(data: Parcels, share: float, seed: int, effort: Effort) -> dict[str, float]:
    order = np.random.default_rng(seed).permutation(len(data.train))[: round(share * len(data.train))]
    if not len(order):
        raise TooFewError("not one patch is drawn.")
    net = PatchNet(effort, CLASSES, seed).fit([data.train[i] for i in order])
    matrix = np.zeros((CLASSES, CLASSES), np.int64)
    for patch in data.test:
        truth, said = patch.truth(), net.predict(patch)
        matrix += confusion_matrix(truth[truth >= 0], said[truth >= 0], range(CLASSES))
    return scores_of(matrix)


def scores_of(matrix: NDArray[np.int64]) -> dict[str, float]:
    """Mean intersection over union of the classes that occur in truth or map, and the share of pixels that is right.

    Example:
        >>> scores_of(np.array([[2, 1, 0], [0, 1, 0], [0, 0, 0]]))
        {'miou': 0.5833333333333333, 'accuracy': 0.75}
    """
    hits = np.diag(matrix)
    union = matrix.sum(0) + matrix.sum(1) - hits
    some = union > 0
    return {
        "miou": float((hits[some] / union[some]).mean()) if some.any() else 0.0,
        "accuracy": float(hits.sum() / max(int(matrix.sum()), 1)),
    }


TASK = Task(
    "pastis",
    "French crops, PASTIS-R",
    "It needs metadata.geojson (ID_PATCH, Fold), ANNOTATIONS/TARGET_ID.npy and DATA_MODEL/MODEL_ID.npy, (H, W, D) or (D, H, W), "
    "with MODEL_ID_scales.npy where it is int8.",
    "Folds 1 to 3 teach, 5 judges, 4 was for choosing among epochs and is set aside; a U-Net; mean IoU of the classes that occur, "
    "void left out.",
    (Metric("miou", "mIoU", 4), Metric("accuracy", "accuracy")),
    (0.01, 0.05, 0.3, 1.0),
    1,
    Effort(10),
    Effort(80, width=128, crop=128, batch=8),
    _read,
    _judge,
    PASTIS,
)
