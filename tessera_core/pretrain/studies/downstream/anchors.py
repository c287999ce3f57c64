"""Numbers that were published for the six tasks, as data, each with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PAPER = "main table of the TESSERA paper (arXiv 2506.20380)"
CSV = "the authors' result files, mean of 5 runs (biomassters/data/metrics)"
NPZ = "the authors' result file (burned_areas/data/training_results.npz)"


@dataclass(frozen=True)
class Anchor:
    """A published curve.

    Attributes:
        model: whose embedding.
        metric: key of the task's metric.
        values: share of the labels, 0 to 1 -> score, in the metric's unit.
        source: where it stands.
    """

    model: str
    metric: str
    values: Mapping[float, float] = field(hash=False)
    source: str


def _points(model: str, metric: str, values: Mapping[float, float]) -> Anchor:
    """A row of the paper's table, whose F1 and mIoU are in percent."""
    return Anchor(model, metric, {share: value / 100 for share, value in values.items()}, PAPER)


AUSTRIAN_CROPS = (
    _points("TESSERA", "weighted_f1", {0.01: 66.15, 0.3: 82.09}),
    _points("AlphaEarth", "weighted_f1", {0.01: 37.22, 0.3: 56.36}),
    _points("Presto", "weighted_f1", {0.01: 32.74, 0.3: 57.89}),
)
TREE_SPECIES = (
    _points("TESSERA", "weighted_f1", {0.01: 60.58, 1.0: 77.96}),
    _points("AlphaEarth", "weighted_f1", {0.01: 52.79, 1.0: 76.90}),
    _points("Presto", "weighted_f1", {1.0: 67.81}),
)
PASTIS = (
    _points("TESSERA", "miou", {0.01: 27.54, 1.0: 50.68}),
    _points("AlphaEarth", "miou", {0.01: 27.12, 1.0: 51.08}),
)
BIOMASS = (
    Anchor("TESSERA", "rmse", {1.0: 27.43}, PAPER),
    Anchor("AlphaEarth", "rmse", {1.0: 29.59}, PAPER),
    Anchor(
        "TESSERA",
        "rmse",
        {0.01: 30.98, 0.05: 28.67, 0.1: 28.09, 0.2: 27.66, 0.3: 27.42, 0.4: 27.17, 0.5: 27.06, 1.0: 26.61},
        CSV,
    ),
    Anchor(
        "TESSERA",
        "r2",
        {0.01: 0.7923, 0.05: 0.8224, 0.1: 0.8294, 0.2: 0.8343, 0.3: 0.8373, 0.4: 0.8403, 0.5: 0.8416, 1.0: 0.8466},
        CSV,
    ),
    Anchor(
        "AlphaEarth",
        "rmse",
        {0.01: 32.07, 0.05: 30.45, 0.1: 29.43, 0.2: 28.75, 0.3: 28.41, 0.4: 28.07, 0.5: 27.86, 1.0: 27.36},
        CSV,
    ),
)
CANOPY_HEIGHT = (
    Anchor("TESSERA", "rmse", {1.0: 12.21}, PAPER),
    Anchor("AlphaEarth", "rmse", {1.0: 16.11}, PAPER),
    Anchor("Presto", "rmse", {1.0: 17.88}, PAPER),
)
_SHARES = (1e-5, 2e-5, 5e-5, 1e-4, 5e-4, 1e-3, 1e-2, 1e-1, 1.0)


def _burned(model: str, *values: float) -> Anchor:
    return Anchor(model, "random", dict(zip(_SHARES, values, strict=True)), NPZ)


BURNED_AREA = (
    _burned("TESSERA", 0.364, 0.877, 0.890, 0.913, 0.938, 0.946, 0.957, 0.962, 0.963),
    _burned("task-specific composite", 0.364, 0.853, 0.870, 0.870, 0.924, 0.936, 0.953, 0.958, 0.960),
    _burned("AlphaEarth", 0.364, 0.364, 0.583, 0.608, 0.588, 0.591, 0.596, 0.598, 0.599),
)
