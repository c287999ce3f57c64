"""Canopy height of a rain forest in Borneo (Danum, 2020), metres, in patches of five regions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tessera_core.errors import InputError
from tessera_core.pretrain.studies.downstream import biomass, reading
from tessera_core.pretrain.studies.downstream.anchors import CANOPY_HEIGHT
from tessera_core.pretrain.studies.downstream.framework import Data, Effort, Metric, Task, TooFewError
from tessera_core.pretrain.studies.downstream.patches import Patch, PatchNet

TEACH, JUDGE = (0, 1, 2), 4
# Patches whose pixels are judged together, as the published mean over batches has it.
TOGETHER = 16
_MODEL = re.compile(r"training_data_(.+)_embedding")


@dataclass(frozen=True)
class Regions:
    """Patches of the regions that teach and of the one that judges."""

    train: list[Patch]
    test: list[Patch]


def _read(folder: Path) -> dict[str, Data]:
    place = reading.place_of(folder, ("data", "canopy_height/data", "data/borneo"), "training_data_*_embedding")
    if place is None:
        return {}
    found = {}
    for model in sorted(place.glob("training_data_*_embedding")):
        named = _MODEL.fullmatch(model.name)
        if named is None:
            continue
        train = [one for region in TEACH for one in _patches(model / f"region_{region}")]
        test = _patches(model / f"region_{JUDGE}")
        if not train or not test:
            raise InputError(
                f"{model} has no pair of patch_*.npy and label_*.npy in {'region_0 to region_2' if not train else 'region_4'}."
            )
        files = [path for one in (*train, *test) for path in biomass.files_of(one)]
        found[named.group(1)] = Data(reading.stamp(files, place), Regions(train, test))
    return found


def _patches(region: Path) -> list[Patch]:
    """Pairs of one number whose heights are not all unknown."""
    patches = []
    for path in sorted(region.glob("patch_*.npy")):
        truth = path.with_name("label_" + path.name.removeprefix("patch_"))
        if truth.is_file():
            heights = reading.labels_of(truth)
            if np.isfinite(heights).any():
                size = heights.shape
                patches.append(Patch(reading.Vectors(path, None, (size[0], size[1])), biomass.NumberMap(truth)))
    return patches


def _judge(data: Regions, share: float, seed: int, effort: Effort) -> dict[str, float]:
    order = np.random.default_rng(42 + seed).permutation(len(data.train))[: round(share * len(data.train))]
    if not len(order):
        raise TooFewError("not one patch is drawn.")
    net = PatchNet(effort, 0, seed).fit([data.train[i] for i in order])
    pairs = [(one.truth().ravel(), net.predict(one).ravel()) for one in data.test]
    batches = [
        tuple(map(np.concatenate, zip(*pairs[n : n + TOGETHER], strict=True))) for n in range(0, len(pairs), TOGETHER)
    ]
    scores = biomass.scores_of((truth, said) for truth, said in batches)
    truth, said = (np.concatenate(side) for side in zip(*pairs, strict=True))
    known = np.isfinite(truth)
    return {**scores, "mae": float(np.abs(said[known] - truth[known]).mean())}


TASK = Task(
    "canopy-height",
    "Canopy height, Borneo",
    "It needs training_data_MODEL_embedding/region_0 to region_4 with patch_*.npy (H, W, D) and label_*.npy (H, W; metres, NaN "
    "unknown); they may lie in data or canopy_height/data.",
    "Regions 0 to 2 teach, 4 judges, 3 was for choosing among epochs and is set aside; a U-Net on squares; RMSE as the mean over "
    "batches of 16 patches, R2 and mean bias over all pixels.",
    (
        Metric("rmse", "RMSE, m", 2),
        Metric("mae", "mean absolute error, m", 2),
        Metric("r2", "R2"),
        Metric("bias", "mean bias, m", 2),
    ),
    (0.01, 0.1, 0.3, 1.0),
    1,
    Effort(10, crop=32, batch=16),
    Effort(100, width=128, crop=64, batch=16),
    _read,
    _judge,
    CANOPY_HEIGHT,
)
