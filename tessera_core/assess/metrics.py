"""Scores of a classification from its confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.percents import percent


def confusion_matrix(
    truth: NDArray[Any], predicted: NDArray[Any], ids: Sequence[int], weight: NDArray[np.float64] | None = None
) -> NDArray[Any]:
    """Counts int64 (K, K), or sums of ``weight`` in float64: rows are the truth, columns the prediction, ordered as ``ids``.

    Every value of ``truth`` and ``predicted`` must be one of ``ids``.
    """
    order = np.argsort(ids)
    sorted_ids = np.asarray(ids)[order]
    position = [order[np.searchsorted(sorted_ids, values)] for values in (truth, predicted)]
    k = len(ids)
    counts = np.bincount(position[0] * k + position[1], weight, minlength=k * k).reshape(k, k)
    return counts if weight is not None else counts.astype(np.int64)


def score(confusion: NDArray[Any], ids: Sequence[int], names: Mapping[int, str]) -> dict[str, Any]:
    """All scores that follow from a confusion matrix.

    Macro-F1 is the mean over the classes that occur in the truth; a class that is never predicted has precision and F1 of 0,
    not "undefined", so a head cannot gain by ignoring it.

    Args:
        confusion: (K, K), rows the truth; counts, or sums of weights.
        ids: class ids in the order of the matrix.
        names: class id -> name.

    Returns:
        JSON object: ``accuracy``, ``macro_f1``, ``weighted_f1``, ``per_class`` (by name: id, precision, recall, f1,
        support; the scores are None where none of the class was judged), ``confusion`` (list of rows), ``classes`` (names in
        the order of the matrix).
    """
    hits = np.diag(confusion).astype(float)
    support, guesses = confusion.sum(1), confusion.sum(0)
    precision = _share(hits, guesses)
    recall = _share(hits, support)
    f1 = _share(2 * hits, support + guesses)
    present = support > 0
    total = confusion.sum() or 1
    return {
        "accuracy": float(hits.sum() / total),
        "macro_f1": float(f1[present].mean()) if present.any() else 0.0,
        "weighted_f1": float((f1 * support).sum() / total),
        "per_class": {
            names.get(class_id, str(class_id)): {
                "id": int(class_id),
                "precision": float(precision[i]) if present[i] else None,
                "recall": float(recall[i]) if present[i] else None,
                "f1": float(f1[i]) if present[i] else None,
                "support": round(float(support[i])),
            }
            for i, class_id in enumerate(ids)
        },
        "confusion": confusion.tolist(),
        "classes": [names.get(i, str(i)) for i in ids],
    }


def _share(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    share = np.zeros(len(part))
    np.divide(part, whole, out=share, where=whole > 0)
    return share


def worst_confusion(confusion: NDArray[Any], ids: Sequence[int], names: Mapping[int, str]) -> str:
    """One sentence about the pair of classes that is confused most; empty where nothing is."""
    errors = confusion * (1 - np.eye(len(ids), dtype=np.int64))
    if not errors.any():
        return ""
    i, j = divmod(int(errors.argmax()), len(ids))
    share = percent(errors[i, j] / confusion[i].sum())
    true_name, wrong_name = names.get(ids[i], str(ids[i])), names.get(ids[j], str(ids[j]))
    return f"Most often confused: {share} % of {true_name} is mapped as {wrong_name}."
