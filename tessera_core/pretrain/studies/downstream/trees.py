"""German tree species (TreeSatAI): which of 15 genera stand in a patch of 60 m, several at once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import InputError
from tessera_core.gate import read_bytes, read_json
from tessera_core.heads.mlp import Perceptron, forward
from tessera_core.pretrain.studies.downstream import reading
from tessera_core.pretrain.studies.downstream.anchors import TREE_SPECIES
from tessera_core.pretrain.studies.downstream.framework import Data, Effort, Metric, Task, TooFewError
from tessera_core.types import Floats

GENERA = (
    *("Abies", "Acer", "Alnus", "Betula", "Cleared", "Fagus", "Fraxinus", "Larix"),
    *("Picea", "Pinus", "Populus", "Pseudotsuga", "Quercus", "Salix", "Tilia"),
)
_LABELS, _TRAIN, _TEST = "TreeSatBA_v9_60m_multi_labels.json", "train_filenames.lst", "test_filenames.lst"
_YEAR = re.compile(r"_(?:19|20)\d\d$")
PATCH = 6
# A genus counts as standing in a patch from this share of it on, as in the data set's own paper.
PRESENT = 0.07
LEAST = 4


@dataclass(frozen=True)
class Trees:
    """Patches that teach and that judge, and which genera stand in each, (N, 15)."""

    train: list[reading.Vectors]
    stands: NDArray[np.bool_]
    test: list[reading.Vectors]
    truth: NDArray[np.bool_]


class _Genera(Perceptron):
    """A network whose outputs are each a genus, present or not."""

    hidden = (512, 256)
    dropout = 0.3
    learning_rate = 1e-3

    def __init__(self, effort: Effort, seed: int) -> None:
        self.epochs, self.steps, self.seed = effort.epochs, effort.steps, seed

    def present(self, x: Floats, stands: NDArray[np.bool_], test: Floats) -> NDArray[np.bool_]:
        """Which genera are said to stand in ``test`` (M, D), taught by ``x`` (N, D) and by where they stand, (N, K)."""
        layers = self._trained(x, stands.astype(np.float64), np.ones(len(x)), stands.shape[1], lambda done, total: None)
        return forward(layers, test) > 0


def _read(folder: Path) -> dict[str, Data]:
    place = reading.place_of(folder, ("treesatai", "data/treesatai", "labels"), _TRAIN)
    if place is None:
        return {}
    paths = {name: place / name for name in (_TRAIN, _TEST)}
    paths["labels"] = next((p for p in (place / _LABELS, place / "labels" / _LABELS) if p.is_file()), place / _LABELS)
    models = [path for path in sorted((place / "embeddings").glob("*")) if path.is_dir()]
    lacking = [path.name for path in paths.values() if not path.is_file()] + ([] if models else ["embeddings/NAME"])
    if lacking:
        raise InputError(f"{place} has {_TRAIN} but no {', '.join(lacking)}; copy it there, too.")
    labels = read_json(paths["labels"])
    found = {}
    for model in models:
        files = {
            _YEAR.sub("", path.stem): path for path in model.glob("*.npy") if not path.stem.endswith(reading.SCALES)
        }
        sides: list[tuple[list[reading.Vectors], Floats]] = []
        for name in (_TRAIN, _TEST):
            names = _names(paths[name])
            there = [one for one in names if one in files and f"{one}.tif" in labels]
            if not there:
                raise InputError(f"{model} has none of the {len(names)} patches of {name} with labels.")
            vectors = [reading.Vectors(files[one], _scales(files[one]), (PATCH, PATCH)) for one in there]
            sides.append((vectors, np.stack([_shares(labels[f"{one}.tif"], one) for one in there])))
        (train, some), (test, others) = sides
        stamp = reading.stamp([*files.values(), *paths.values()], place)
        found[model.name] = Data(stamp, Trees(train, some >= PRESENT, test, others >= PRESENT))
    return found


def _names(path: Path) -> list[str]:
    try:
        text = read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is no list of names in UTF-8.") from error
    return [line.strip().removesuffix(".tif") for line in text.splitlines() if line.strip()]


def _scales(path: Path) -> Path | None:
    scales = path.with_name(path.stem + reading.SCALES + ".npy")
    return scales if scales.is_file() else None


def _shares(pairs: Any, name: str) -> Floats:
    shares = np.zeros(len(GENERA), np.float32)
    try:
        for genus, share in pairs:
            if genus in GENERA:
                shares[GENERA.index(genus)] = float(share)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{_LABELS}: the labels of {name} are no pairs such as ['Abies', 0.9], but {pairs!r}."
        ) from error
    return shares


def _judge(data: Trees, share: float, seed: int, effort: Effort) -> dict[str, float]:
    order = np.random.default_rng(seed).permutation(len(data.train))[: round(share * len(data.train))]
    if len(order) < LEAST:
        raise TooFewError(f"{len(order)} patches are drawn; it takes {LEAST}.")
    x, test = (np.stack([one.mean() for one in some]) for some in ([data.train[i] for i in order], data.test))
    said = _Genera(effort, seed).present(x, data.stands[order], test)
    return scores_of(data.truth, said)


def scores_of(truth: NDArray[np.bool_], said: NDArray[np.bool_]) -> dict[str, float]:
    """F1 of several classes at once: weighted by how often each occurs, over all decisions (micro), and plain mean over
    classes that occur (macro).

    Args:
        truth, said: (N, K).

    Example:
        >>> scores_of(np.array([[True, False], [True, True]]), np.array([[True, False], [True, False]]))
        {'weighted_f1': 0.6666666666666666, 'micro_f1': 0.8, 'macro_f1': 0.5}
    """
    hits, support, guesses = (truth & said).sum(0), truth.sum(0), said.sum(0)
    each = 2 * hits / np.maximum(support + guesses, 1)
    occurs = support > 0
    return {
        "weighted_f1": float((each * support).sum() / max(int(support.sum()), 1)),
        "micro_f1": float(2 * hits.sum() / max(int(support.sum() + guesses.sum()), 1)),
        "macro_f1": float(each[occurs].mean()) if occurs.any() else 0.0,
    }


TASK = Task(
    "tree-species",
    "German tree species, TreeSatAI",
    f"It needs {_TRAIN}, {_TEST}, {_LABELS} (there or in labels) and embeddings/MODEL/PATCH.npy, (6, 6, D) or (D,), with "
    "PATCH_scales.npy where it is int8; a year at the end of PATCH is passed over.",
    "The data set's own division; 15 genera, several in a patch; a network of 512 and 256 units on the patch's mean vector; "
    f"a genus stands there from a share of {PRESENT} on and is said from a probability of 0.5 on; F1 weighted by genus, micro and "
    "macro (which of them is the published F1 is not said where we could read).",
    (Metric("weighted_f1", "weighted F1", 4), Metric("micro_f1", "micro-F1"), Metric("macro_f1", "macro-F1")),
    (0.01, 0.05, 0.1, 0.3, 1.0),
    3,
    Effort(30),
    Effort(200),
    _read,
    _judge,
    TREE_SPECIES,
)
