"""Score a head by holding labels out, and beside it the score that a random split would have claimed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from tessera_core.assess.metrics import confusion_matrix, score, worst_confusion
from tessera_core.assess.samples import Samples
from tessera_core.assess.splits import BLOCK_PX, BUFFER_PX, Fold, folds, not_judged
from tessera_core.errors import Cancelled, LabelError
from tessera_core.heads.classification import Head
from tessera_core.heads.training import MAX_TRAIN, training_draw
from tessera_core.types import Cancel, Progress

SCORES = ("accuracy", "macro_f1", "weighted_f1")


@dataclass(frozen=True)
class CrossValidation:
    """How labels are held out; checked when made.

    Attributes:
        split: ``"field"``, ``"blocked"`` or ``"random"``, see :mod:`tessera_core.assess.splits`.
        n_folds: parts.
        per_class: train on this many labelled pixels of each class only, drawn from the training part; None for all.
        repeats: how often, each time with another seed.
        seed: of everything random.
        block_px, buffer_px: for ``blocked``.
        max_train: labels to train on at most; larger parts are thinned, large classes first.
        naive: add the same under a random split.

    Raises:
        LabelError: a count is below one.
    """

    split: str = "field"
    n_folds: int = 3
    per_class: int | None = None
    repeats: int = 1
    seed: int = 0
    block_px: int = BLOCK_PX
    buffer_px: int = BUFFER_PX
    max_train: int = MAX_TRAIN
    naive: bool = True

    def __post_init__(self) -> None:
        if self.repeats < 1 or (self.per_class is not None and self.per_class < 1):
            raise LabelError("Repeats and labels per class must be at least 1.")


def evaluate(
    samples: Samples,
    head: Head,
    cv: CrossValidation | None = None,
    *,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> dict[str, Any]:
    """Cross-validate a head.

    Every label is predicted by a head that saw nothing of its field (block); the predictions of all folds make one confusion
    matrix. With ``cv.repeats``, folds (and the labels drawn for ``cv.per_class``) are drawn anew with another seed; scores are
    means.

    Args:
        samples: labelled pixels.
        head: unfitted; it is cloned for each fold.
        cv: how labels are held out; None for whole fields in three parts.
        progress, cancelled: see docs/architecture.md; units are fits.

    Returns:
        JSON object: the scores of :func:`tessera_core.assess.metrics.score` (``confusion`` is the sum over repeats) with
        ``sd`` (over repeats), ``split``, ``n_train`` (mean labels a head saw), ``n_test``, ``folds``, ``repeats``,
        ``per_class_labels``, ``worst_confusion``, ``notes`` and ``naive``.

    Raises:
        LabelError: the labels cannot be split this way.
        HeadError: the head cannot be fitted.
        Cancelled: ``cancelled`` said so.
    """
    cv = cv or CrossValidation()
    kinds = [cv.split] + (["random"] if cv.naive and cv.split != "random" else [])
    total, done = cv.n_folds * cv.repeats * len(kinds), 0

    def step() -> None:
        nonlocal done
        if cancelled is not None and cancelled():
            raise Cancelled
        done += 1
        if progress is not None:
            progress(min(done, total), total, "fitting")

    results = []
    for kind in kinds:
        matrices, seen, notes = [], [], set()
        for repeat in range(cv.repeats):
            drawn = replace(cv, seed=cv.seed + repeat)
            parts = folds(samples, kind, cv.n_folds, drawn.seed, cv.block_px, cv.buffer_px)
            matrix, n_train = _cross_validate(samples, head, parts, drawn, step)
            matrices.append(matrix)
            seen.append(n_train)
            if left := not_judged(samples, parts):
                names = ", ".join(samples.names.get(i, str(i)) for i in left)
                notes.add(f"Not judged, because they lie in a single field or block: {names}.")
        results.append(_summary(samples, matrices) | {"split": kind, "n_train": round(float(np.mean(seen)))})
        results[-1] |= {"notes": sorted(notes)}
    counts = {"folds": cv.n_folds, "repeats": cv.repeats, "per_class_labels": cv.per_class, "seed": cv.seed}
    result = results[0] | counts
    if samples.ignored:
        result["notes"] = [*result["notes"], f"{samples.ignored} labelled pixels have no data and were left out."]
    if len(results) > 1:
        result["naive"] = results[1]
    return result


def _cross_validate(
    samples: Samples,
    head: Head,
    parts: list[Fold],
    cv: CrossValidation,
    step: Callable[[], None],
) -> tuple[NDArray[np.int64], float]:
    ids, targets = np.unique(samples.y, return_inverse=True)
    predicted, tested, seen = np.zeros(len(targets), np.int64), np.zeros(len(targets), bool), []
    for number, (train, test) in enumerate(parts):
        step()
        if cv.per_class is not None:
            train = _draw(targets, train, cv.per_class, np.random.default_rng([cv.seed, number]))
        else:
            train = train[
                training_draw(targets[train], samples.rows[train], samples.cols[train], cv.seed, cv.max_train)
            ]
        seen.append(len(train))
        fitted = clone(head)
        if fitted.nested:
            # Labels of upper levels are right where a class beneath them is mapped.
            found = samples.features.fit_proba(fitted, train, samples.y[train], test, samples.groups[train])
            predicted[test] = ids[fitted.credit(found, ids, samples.y[test]).argmax(axis=1)]
        else:
            predicted[test] = samples.features.fit_predict(fitted, train, samples.y[train], test, samples.groups[train])
        tested[test] = True
    return confusion_matrix(samples.y[tested], predicted[tested], ids.tolist()), float(np.mean(seen))


def _draw(
    targets: NDArray[np.intp], train: NDArray[np.intp], per_class: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """``per_class`` labels of each class among ``train``, or as many as there are."""
    picked = [rng.permutation(train[targets[train] == k])[:per_class] for k in np.unique(targets[train])]
    return np.sort(np.concatenate(picked))


def _summary(samples: Samples, matrices: list[NDArray[np.int64]]) -> dict[str, Any]:
    """Scores of the summed matrix, the headline ones as means over repeats with their standard deviation."""
    ids = np.unique(samples.y).tolist()
    each = [score(matrix, ids, samples.names) for matrix in matrices]
    total = np.sum(matrices, axis=0)
    result = score(total, ids, samples.names)
    for name in SCORES:
        result[name] = float(np.mean([one[name] for one in each]))
    result["sd"] = {name: float(np.std([one[name] for one in each])) for name in SCORES}
    for one in result["per_class"].values():
        one["support"] = round(one["support"] / len(matrices))
    result["n_test"] = int(np.mean([matrix.sum() for matrix in matrices]))
    result["worst_confusion"] = worst_confusion(total, ids, samples.names)
    return result
