"""Predictions for labels by heads that saw nothing of their place: what every honest number of the studio rests on.

A *place* (a spatial group, or block) is what is held out together: whole labels (a polygon or stroke is never split), and
with them all labels whose centre lies in the same square of ground. Around what is held out, a belt is not trained on. Where
the ground that belongs together is known (cells, fields), the samples say so, and that is held out instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from tessera_core.assess.samples import CodeFeatures, Samples
from tessera_core.assess.splits import BLOCK_PX, BUFFER_PX, Fold, folds
from tessera_core.errors import Cancelled, LabelError
from tessera_core.heads.classification import Head
from tessera_core.heads.training import balanced_draw, training_draw
from tessera_core.types import Cancel

# More pixels of one label say nothing new about how well a head does elsewhere.
MAX_PER_LABEL = 48
MAX_PIXELS = 8000
# Pixels of the map that tell how much of it each class covers, and how far around a pixel a head may look to be asked.
GROUND, GROUND_RADIUS = 2000, 2


@dataclass(frozen=True)
class HeldOut:
    """Labelled pixels, each predicted by a head that saw nothing of its place.

    Attributes:
        samples: the labelled pixels that were used, N of them.
        ids: (K,) class ids, sorted.
        proba: float32 (N, K) in the order of ``ids``; NaN rows were not held out (their class lies in a single place).
        fold: int (N,), in which fold a pixel was held out; -1 for none.
        spatial_groups: int (N,).
        weight: float (N,), each label has the weight 1, shared by its pixels; or the samples' own.
        shares: float (K,), how much of the map each class covers in the eyes of these heads, in 0..1; None where the map is
            not known.
        labelled: int (M, 2), rows and columns of all labelled pixels, also of those that were not used.
        ground_sure: float32 (M,), how sure these heads are (their highest probability) at pixels drawn from all of the map; None
            likewise.
        near: the same labels held out one by one instead of by place, which is how well the map does beside labels; or None.
    """

    samples: Samples
    ids: NDArray[np.int64]
    proba: NDArray[np.float32]
    fold: NDArray[np.int64]
    spatial_groups: NDArray[Any]
    weight: NDArray[np.float64]
    shares: NDArray[np.float64] | None = None
    labelled: NDArray[np.int64] | None = None
    near: HeldOut | None = None
    ground_sure: NDArray[np.float32] | None = None

    @property
    def judged(self) -> NDArray[np.intp]:
        """Indices of the pixels that were held out."""
        return np.flatnonzero(self.fold >= 0)

    @property
    def targets(self) -> NDArray[np.intp]:
        """(N,) column of ``proba`` that is the label's class."""
        return np.searchsorted(self.ids, self.samples.y)


def thin(samples: Samples, per_label: int = MAX_PER_LABEL, limit: int = MAX_PIXELS, seed: int = 0) -> Samples:
    """At most ``per_label`` pixels of each label, and about ``limit`` in all, the largest classes thinned first.

    Pixels that count for themselves are thinned by class only, and those kept count for those that are not.
    """
    if samples.weight is not None:
        keep = training_draw(samples.y, samples.rows, samples.cols, seed, limit)
        _, kind = np.unique(samples.y, return_inverse=True)
        factor = np.bincount(kind, samples.weight) / np.bincount(kind[keep], samples.weight[keep])
        return replace(take(samples, keep), weight=samples.weight[keep] * factor[kind[keep]])
    order = np.random.default_rng(seed).permutation(len(samples.y))
    _, first, counts = np.unique(samples.groups[order], return_inverse=True, return_counts=True)
    by_group = np.argsort(first, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[by_group] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    keep = np.sort(order[rank < per_label])
    if len(keep) > limit:
        _, dense = np.unique(samples.y[keep], return_inverse=True)
        keep = np.sort(keep[balanced_draw(dense, limit, seed)])
    return samples if len(keep) == len(samples.y) else take(samples, keep)


def take(samples: Samples, index: NDArray[np.intp]) -> Samples:
    """Some of the samples."""
    return replace(
        samples,
        features=samples.features.take(index),
        y=samples.y[index],
        groups=samples.groups[index],
        rows=samples.rows[index],
        cols=samples.cols[index],
        spatial_groups=None if samples.spatial_groups is None else samples.spatial_groups[index],
        weight=None if samples.weight is None else samples.weight[index],
        suggested=None if samples.suggested is None else samples.suggested[index],
    )


def spatial_groups(samples: Samples, block_px: int = BLOCK_PX) -> NDArray[np.int64]:
    """The place (N,) of each pixel: the samples' own, or the square, ``block_px`` wide, in which its label's centre lies.

    Pixels that count for themselves lie in their own square.
    """
    if samples.spatial_groups is not None:
        return samples.spatial_groups
    own = samples.groups if samples.weight is None else np.arange(len(samples.y))
    _, label, counts = np.unique(own, return_inverse=True, return_counts=True)
    row = (np.bincount(label, samples.rows) / counts // block_px).astype(np.int64)
    col = (np.bincount(label, samples.cols) / counts // block_px).astype(np.int64)
    return (row * (col.max(initial=0) + 1) + col)[label]


def spatial_folds(
    samples: Samples, n_folds: int = 5, seed: int = 0, block_px: int = BLOCK_PX, buffer_px: int = BUFFER_PX
) -> list[Fold]:
    """Folds that hold out whole places, with no training pixel within ``buffer_px`` (in rows or columns) of them.

    Places that the samples name themselves are ends of ground, with no belt around them.

    Raises:
        LabelError: fewer than two classes lie in two places.
    """
    from scipy.spatial import cKDTree

    parts = folds(replace(samples, groups=spatial_groups(samples, block_px)), "field", n_folds, seed)
    if samples.spatial_groups is not None:
        return parts
    ground = np.stack([samples.rows, samples.cols], axis=1)
    result = []
    for train, test in parts:
        near, _ = cKDTree(ground[test]).query(ground[train], p=np.inf, distance_upper_bound=buffer_px + 0.5)
        train = train[np.isinf(near)]
        # Where the belt takes all that there was of a class, that class cannot be judged in this fold.
        test = test[np.isin(samples.y[test], samples.y[train])]
        if len(test) and len(np.unique(samples.y[train])) > 1:
            result.append((train, test))
    if not result:
        raise LabelError("The labels lie too close together to hold any out; label places further apart.")
    return result


def hold_out(
    samples: Samples,
    head: Head,
    *,
    n_folds: int = 5,
    seed: int = 0,
    block_px: int = BLOCK_PX,
    buffer_px: int = BUFFER_PX,
    cancelled: Cancel | None = None,
) -> HeldOut:
    """Predict every label by a head fitted on the labels of other places.

    Args:
        samples: labelled pixels; at most :data:`MAX_PIXELS` of them are used.
        head: unfitted; cloned for each fold.

    Raises:
        LabelError: fewer than two classes lie in two places.
        HeadError: the head cannot be fitted.
        Cancelled: ``cancelled`` said so.
    """
    labelled = np.stack([samples.rows, samples.cols], axis=1).astype(np.int64)
    samples = thin(samples, seed=seed)
    parts = spatial_folds(samples, n_folds, seed, block_px, buffer_px)
    ground, features = None, samples.features
    # In a tree, a class covers no ground beside the one above it.
    if isinstance(features, CodeFeatures) and head.receptive_radius <= GROUND_RADIUS and not head.nested:
        ground = features.ground(GROUND, seed)
    held = predict_folds(samples, head, parts, spatial_groups(samples, block_px), cancelled, ground)
    return replace(held, labelled=labelled)


def predict_folds(
    samples: Samples,
    head: Head,
    parts: list[Fold],
    group: NDArray[Any],
    cancelled: Cancel | None = None,
    ground: CodeFeatures | None = None,
) -> HeldOut:
    """Fit on each fold's training part and predict its test part, and pixels of the map; see :func:`hold_out`."""
    ids = np.unique(samples.y).astype(np.int64)
    covered = np.zeros(len(ids))
    proba = np.full((len(samples.y), len(ids)), np.nan, np.float32)
    fold = np.full(len(samples.y), -1)
    sure: list[NDArray[np.float32]] = []
    for number, (train, test) in enumerate(parts):
        if cancelled is not None and cancelled():
            raise Cancelled
        fitted = clone(head)
        found = samples.features.fit_proba(fitted, train, samples.y[train], test, samples.groups[train], cancelled)
        proba[test] = fitted.credit(found, ids, samples.y[test])
        fold[test] = number
        if ground is not None:
            told = ground.proba(fitted, np.arange(len(ground.codes)))
            seen = told.argmax(axis=1)
            sure.append(told.max(axis=1))
            covered[np.searchsorted(ids, fitted.classes_)] += np.bincount(seen, minlength=len(fitted.classes_))
    _, label, counts = np.unique(samples.groups, return_inverse=True, return_counts=True)
    shares = None if ground is None else covered / covered.sum()
    weight = 1 / counts[label] if samples.weight is None else samples.weight
    everywhere = np.concatenate(sure) if sure else None
    return HeldOut(samples, ids, proba, fold, group, weight, shares, ground_sure=everywhere)


def effective_sample_size(weight: NDArray[np.float64], group: NDArray[Any]) -> float:
    """How many independent trials weighted pixels amount to, taking a place as one (Kish 1965, effective sample size)."""
    _, index = np.unique(group, return_inverse=True)
    totals = np.bincount(index, weight)
    return float(totals.sum() ** 2 / (totals**2).sum())
