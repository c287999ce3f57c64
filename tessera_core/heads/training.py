"""What teaches a head: how much each label weighs, which labels are drawn of too many, and how many independent ones they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tessera_core.errors import HeadError

ClassWeight = str | Mapping[Any, float] | None

# More labelled pixels than this change no head's map to speak of, but do change the wait.
MAX_TRAIN = 20_000


def balanced_weights(targets: NDArray[np.intp], sample_weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (N,) that give every class the same total, all together what they were before.

    A label of weight 2 so stays the same as two labels.

    Args:
        targets: (N,) indices 0..K-1, each present.
        sample_weight: (N,) positive.
    """
    totals = np.bincount(targets, weights=sample_weight)
    weights = sample_weight / totals[targets]
    return weights * (sample_weight.sum() / weights.sum())


def balanced_draw(
    targets: NDArray[np.intp], limit: int, seed: int, priority: NDArray[np.unsignedinteger] | None = None
) -> NDArray[np.intp]:
    """Indices of at most about ``limit`` labels, ordered by class, the largest classes thinned first.

    Args:
        targets: (N,) indices 0..K-1, each present; at least one label of each class is kept.
        limit: labels wanted.
        seed: for the draw.
        priority: (N,), of each class those with the lowest are kept; None to draw them with ``seed``.
    """
    groups = [np.flatnonzero(targets == k) for k in range(targets.max() + 1)]
    if len(targets) > limit:
        rng = np.random.default_rng(seed)
        sizes, room, quota = sorted(len(group) for group in groups), limit, 1
        for position, size in enumerate(sizes):
            quota = max(1, room // (len(sizes) - position))
            if size > quota:
                break
            room -= size
        turns = (rng.permutation(g) if priority is None else g[np.argsort(priority[g], kind="stable")] for g in groups)
        groups = [np.sort(turn[:quota]) for turn in turns]
    return np.concatenate(groups)


def training_draw(
    y: ArrayLike, rows: NDArray[np.integer], cols: NDArray[np.integer], seed: int = 0, limit: int = MAX_TRAIN
) -> NDArray[np.intp]:
    """Which labelled pixels teach a head: all, or about ``limit`` of them, the largest classes thinned first.

    Whether a pixel is drawn before another depends on the two places and ``seed`` alone, not on the order or the number of the
    labels: the same labels teach the same head whichever file they come from, and one click more exchanges next to none.

    Args:
        y: (N,) class ids.
        rows, cols: (N,) pixels, in row-major order.
        seed: of the draw.
        limit: pixels wanted.

    Returns:
        Sorted indices.
    """
    ids = np.asarray(y)
    if len(ids) <= limit:
        return np.arange(len(ids))
    targets = np.unique(ids, return_inverse=True)[1]
    return np.sort(balanced_draw(targets, limit, seed, place_priority(rows, cols, seed)))


def place_priority(rows: NDArray[np.integer], cols: NDArray[np.integer], seed: int) -> NDArray[np.uint64]:
    """A random-looking uint64 (N,) of each pixel, always the same for one place and seed (splitmix64; Steele et al. 2014)."""
    golden, first, second = (np.uint64(c) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
    z = (rows.astype(np.uint64) << np.uint64(32)) | cols.astype(np.uint64)
    for salt in (np.uint64(seed % 2**64), np.uint64(0)):
        z = z * golden + golden + salt
        z = (z ^ (z >> np.uint64(30))) * first
        z = (z ^ (z >> np.uint64(27))) * second
        z ^= z >> np.uint64(31)
    return z


def class_weights(
    rule: ClassWeight, classes: NDArray[Any], targets: NDArray[np.intp], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weights (N,) under a head's ``class_weight``: ``"balanced"``, None, or a weight for some class ids (or names).

    Raises:
        HeadError: the rule is none of these, or a weight is not positive.
    """
    if rule is None:
        return weight
    if rule == "balanced":
        return balanced_weights(targets, weight)
    if not isinstance(rule, Mapping):
        raise HeadError(f"class_weight must be 'balanced', None, or a weight for each class id, not {rule!r}.")
    factors = class_factors(rule, classes)
    if not (np.isfinite(factors) & (factors > 0)).all():
        raise HeadError("Class weights must be positive numbers.")
    factored = weight * factors[targets]
    return factored * (weight.sum() / factored.sum())


def class_factors(rule: Mapping[Any, float], classes: NDArray[Any]) -> NDArray[np.float64]:
    """The weight (K,) that a mapping gives each class; 1 for those it does not name."""
    return np.array([float(rule.get(one, 1.0)) for one in classes.tolist()])


def dense_groups(groups: ArrayLike | None, usable: NDArray[np.bool_]) -> NDArray[np.intp] | None:
    """Group numbers from 0 of the usable rows; None where no group has two.

    Raises:
        HeadError: there is not one group for each vector.
    """
    if groups is None:
        return None
    values = np.asarray(groups)
    if values.shape != usable.shape:
        raise HeadError("Groups must be one number for each vector.")
    names, dense = np.unique(values[usable], return_inverse=True)
    return None if len(names) == len(dense) else dense.astype(np.intp)


def independent(groups: NDArray[np.intp] | None, n: int) -> float:
    """How many independent labels ``n`` vectors amount to: the pixels of one label count for the root of their number.

    On whole Belgian fields this rule was the best of several for the penalties that rest on it (docs/heads.md).
    """
    return float(n) if groups is None else float(np.sqrt(np.bincount(groups)).sum())


def one_hot(targets: NDArray[np.intp], classes: int) -> NDArray[np.float64]:
    """1 in the column of each row's class, else 0: float64 (N, K)."""
    member = np.zeros((len(targets), classes))
    member[np.arange(len(targets)), targets] = 1
    return member


def require_two(classes: Sequence[Any] | NDArray[Any]) -> None:
    """Refuse to learn from the labels of fewer than two classes.

    Raises:
        HeadError: there are fewer than two.
    """
    if len(classes) < 2:
        found = f"only class {classes[0]} has" if len(classes) else "no class has"
        raise HeadError(
            f"A map needs at least two classes, but {found} labelled pixels with data; one class has nothing to be told from. "
            "Label another class."
        )
