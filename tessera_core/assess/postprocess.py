"""Whether smoothing a map made it better: the score on labels held out, before and after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from tessera_core._utils.percents import percent
from tessera_core.assess.crossfit import spatial_folds, thin
from tessera_core.assess.samples import CodeFeatures, Samples
from tessera_core.errors import Cancelled, LabelError
from tessera_core.heads import predict_raster
from tessera_core.heads.classification import Head
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Cancel, Progress

N_FOLDS = 3


@dataclass(frozen=True)
class PostProcessingScore:
    """Shares of labels that are right, each counting once; ``changed`` is the share of the map that smoothing altered."""

    before: float
    after: float
    changed: float
    n_labels: int

    @property
    def sentence(self) -> str:
        """For the page."""
        points = 100 * (self.after - self.before)
        verdict = (
            f"{abs(points):.1f} points {'better' if points > 0 else 'worse'}"
            if abs(points) >= 0.05
            else "no difference"
        )
        before, after, changed = percent(self.before, 1), percent(self.after, 1), percent(self.changed, 1)
        return (
            f"Right at {before} % of {self.n_labels} held-out labels before, {after} % after: "
            f"{verdict}. {changed} % of the map changed."
        )


def score_post_processing(
    samples: Samples,
    head: Head,
    raster: EmbeddingRaster,
    smoothed: Callable[[NDArray[np.uint8], Head], NDArray[np.uint8]],
    *,
    n_folds: int = N_FOLDS,
    seed: int = 0,
    cancelled: Cancel | None = None,
    progress: Progress | None = None,
) -> PostProcessingScore:
    """Map the region without each fold's places, clean that map, and look at the labels that were held out.

    Args:
        samples: labelled pixels of ``raster``.
        head: unfitted.
        clean: the cleaned map (H, W) of a map (H, W) and the head that made it, e.g. ``lambda m, _: majority(m)``.
        cancelled, progress: see docs/architecture.md; units are folds.

    Raises:
        LabelError: fewer than two classes lie in two places, or the samples hold no embeddings.
        Cancelled: ``cancelled`` said so.
    """
    if not isinstance(samples.features, CodeFeatures):
        raise LabelError("Cleaning can only be scored on labels that lie on embeddings.")
    samples = thin(samples, seed=seed)
    parts = spatial_folds(samples, n_folds, seed)
    _, label, counts = np.unique(samples.groups, return_inverse=True, return_counts=True)
    weight = 1 / counts[label]
    right: NDArray[Any] = np.zeros(2)
    total, changed, tested = 0.0, [], []
    for number, (train, test) in enumerate(parts):
        if cancelled is not None and cancelled():
            raise Cancelled
        if progress is not None:
            progress(number, len(parts), "scoring the cleaned map")
        fitted = clone(head)
        fitted.fit_at(raster, samples.rows[train], samples.cols[train], samples.y[train], groups=samples.groups[train])
        rough = predict_raster(fitted, raster, cancelled=cancelled).classes
        smooth = smoothed(rough, fitted)
        for i, classes in enumerate((rough, smooth)):
            right[i] += weight[test] @ (classes[samples.rows[test], samples.cols[test]] == samples.y[test])
        total += float(weight[test].sum())
        changed.append(float((rough != smooth).sum() / max(int((rough > 0).sum()), 1)))
        tested.append(label[test])
    n_labels = len(np.unique(np.concatenate(tested)))
    return PostProcessingScore(float(right[0] / total), float(right[1] / total), float(np.mean(changed)), n_labels)
