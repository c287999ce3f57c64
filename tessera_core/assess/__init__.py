"""Honest scores: splits that keep neighbours apart, metrics that do not flatter, baselines beside ours."""

from __future__ import annotations

from tessera_core.assess.evaluate import CrossValidation, evaluate
from tessera_core.assess.metrics import score
from tessera_core.assess.reference import Reference, read_reference
from tessera_core.assess.samples import CodeFeatures, MatrixFeatures, Samples
from tessera_core.assess.splits import SPLITS, folds

__all__ = [
    "SPLITS",
    "CodeFeatures",
    "CrossValidation",
    "MatrixFeatures",
    "Reference",
    "Samples",
    "evaluate",
    "folds",
    "read_reference",
    "score",
]
