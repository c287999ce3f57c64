"""BioMassters: biomass above ground of Finnish forests, tonnes a hectare, in chips of 256 pixels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import InputError
from tessera_core.pretrain.studies import published
from tessera_core.pretrain.studies.downstream import reading
from tessera_core.pretrain.studies.downstream.anchors import BIOMASS, CSV, Anchor
from tessera_core.pretrain.studies.downstream.framework import Data, Effort, Metric, Task, TooFewError
from tessera_core.pretrain.studies.downstream.patches import Patch, PatchNet

SEEDS = (42, 33, 91, 9, 25)
VALIDATION = 0.2
LEAST = 2
_TRAIN_TRUTH, _TEST_TRUTH = "train_agbm_all", "test_agbm"
# Where each embedding's folders lie: int8 with scales, and float.
_INT8 = ("representations/representations_train_all", "representations/representations_test")
_FLOAT = ("data/train_representations_all", "data/test_representations")
_FLOAT_TOO = ("data/representations_train_all", "data/representations_test")


@dataclass(frozen=True)
class Chips:
    """Chips that teach and that judge."""

    train: list[Patch]
    test: list[Patch]


@dataclass(frozen=True)
class NumberMap:
    """A map of numbers in a file, NaN where none is known."""

    path: Path

    def __call__(self) -> NDArray[np.float32]:
        """The map, float32 (H, W)."""
        return np.array(reading.labels_of(self.path), np.float32)


def _read(folder: Path) -> dict[str, Data]:
    truths = next((p for p in (folder, *sorted(folder.glob("*"))) if (p / _TEST_TRUTH).is_dir()), None)
    if truths is None:
        return {}
    if not (truths / _TRAIN_TRUTH).is_dir():
        raise InputError(f"{truths} has {_TEST_TRUTH} but no {_TRAIN_TRUTH}; copy it there, too.")
    found = {}
    for model in sorted(path for path in folder.glob("*") if path.is_dir()):
        for train, test in (_INT8, _FLOAT, _FLOAT_TOO):
            if (model / train).is_dir() and (model / test).is_dir():
                sides = [
                    _chips(model / vectors, truths / labels)
                    for vectors, labels in ((train, _TRAIN_TRUTH), (test, _TEST_TRUTH))
                ]
                files = [path for chips in sides for one in chips for path in files_of(one)]
                found[model.name] = Data(reading.stamp(files, folder), Chips(*sides))
                break
    if not found:
        raise InputError(
            f"{folder} has {_TEST_TRUTH} but no MODEL/{_INT8[0]} with MODEL/{_INT8[1]}; copy it there, too."
        )
    return found


def _chips(vectors: Path, labels: Path) -> list[Patch]:
    """Chips of one name in both folders, whose maps are not empty throughout."""
    chips = []
    for path in sorted(vectors.glob("*.npy")):
        truth = labels / path.name
        if truth.is_file():
            scales = vectors.with_name(vectors.name.replace("representations", "scales")) / path.name
            size = reading.labels_of(truth).shape
            chips.append(
                Patch(reading.Vectors(path, scales if scales.is_file() else None, (size[0], size[1])), NumberMap(truth))
            )
    if not chips:
        raise InputError(f"{vectors} and {labels} have no .npy file of one name.")
    return chips


def files_of(one: Patch) -> list[Path]:
    """The files that a patch with a map of numbers comes of."""
    assert isinstance(one.truth, NumberMap)
    return [one.vectors.path, one.truth.path, *([one.vectors.scales] if one.vectors.scales else [])]


def _judge(data: Chips, share: float, seed: int, effort: Effort) -> dict[str, float]:
    order = np.random.default_rng(SEEDS[seed] if seed < len(SEEDS) else seed).permutation(len(data.train))
    drawn = order[: round(share * len(order))]
    teach = drawn[int(VALIDATION * len(drawn)) :]
    if len(teach) < LEAST:
        raise TooFewError(f"{len(teach)} chips are drawn; it takes {LEAST}.")
    net = PatchNet(effort, 0, seed, by_crop=True).fit([data.train[i] for i in teach])
    return scores_of((one.truth(), net.predict(one)) for one in data.test)


def scores_of(maps: Iterable[tuple[NDArray, NDArray]]) -> dict[str, float]:
    """Scores of maps of numbers as published: the mean over chips of each chip's RMSE; R2 and the mean of what is said too
    much over all pixels together.

    Args:
        maps: truth and prediction of each chip, (H, W); pixels without a known truth are passed over.

    Example:
        >>> scores_of([(np.array([[0.0, 10.0]]), np.array([[1.0, 9.0]]))])
        {'rmse': 1.0, 'r2': 0.96, 'bias': 0.0}
    """
    rmse: list[float] = []
    n, first, second, error, over = 0, 0.0, 0.0, 0.0, 0.0
    for truth, said in maps:
        known = np.isfinite(truth)
        t, p = truth[known].astype(np.float64), said[known].astype(np.float64)
        if not len(t):
            continue
        square = float(np.square(p - t).sum())
        rmse.append(float(np.sqrt(square / len(t))))
        n, first, second = n + len(t), first + float(t.sum()), second + float(np.square(t).sum())
        error, over = error + square, over + float((p - t).sum())
    if not n:
        raise InputError("Not one pixel that is judged has a known truth.")
    spread = second - first * first / n
    return {"rmse": float(np.mean(rmse)), "r2": 1 - error / spread if spread > 0 else float("nan"), "bias": over / n}


def _files(folder: Path) -> list[Anchor]:
    metrics = {"rmse": "rmse", "r2": "r2", "mb": "bias"}
    return [
        Anchor(model, metrics[key], {float(share): float(np.mean(values)) for share, values in curve.items()}, CSV)
        for model, curves in published.biomass(folder).items()
        for key, curve in curves.items()
    ]


TASK = Task(
    "biomass",
    "Biomass of Finnish forests, BioMassters",
    f"It needs {_TRAIN_TRUTH} and {_TEST_TRUTH} (there or in one folder below) and, for each model, MODEL/{_INT8[0]} and "
    f"MODEL/{_INT8[1]} with MODEL/representations/scales_train_all and scales_test, or MODEL/{_FLOAT[0]} and MODEL/{_FLOAT[1]}; or "
    "the authors' biomassters/data/metrics.",
    "A share of the chips is drawn, a fifth of it was for choosing among epochs and is set aside; a U-Net on the root mean square "
    "of each piece; the mean over chips of their RMSE, R2 and mean bias over all pixels.",
    (Metric("rmse", "RMSE, t/ha", 2), Metric("r2", "R2"), Metric("bias", "mean bias, t/ha", 2)),
    (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0),
    len(SEEDS),
    Effort(5),
    Effort(80, width=256, crop=256, batch=4),
    _read,
    _judge,
    BIOMASS,
    _files,
)
