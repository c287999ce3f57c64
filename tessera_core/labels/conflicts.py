"""Labels of one file that cover each other: who loses pixels to whom, counted for people by the names of the classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tessera_core.grid import Grid
from tessera_core.labels.model import Label, LabelClass
from tessera_core.labels.report import Conflicts
from tessera_core.labels.sampling import pixels_of_each


def conflicts_of(labels: Sequence[Label], classes: Sequence[LabelClass], grid: Grid) -> Conflicts:
    """What later labels take from earlier ones on ``grid``.

    Args:
        labels: in painting order, coordinates in the CRS of ``grid``; without erasures.
        classes: of the labels.
    """
    names = {c.id: c.name for c in classes}
    found = Conflicts()
    if not labels:
        return found
    flat, owner = pixels_of_each(labels, grid)
    class_of: NDArray[np.int64] = np.array([label.class_id for label in labels], np.int64)
    own = np.bincount(owner, minlength=len(labels))
    # The last label painted on a pixel has it.
    order = np.lexsort((owner, flat))
    flat, owner = flat[order], owner[order]
    last = np.flatnonzero(np.r_[flat[1:] != flat[:-1], True]) if len(flat) else np.zeros(0, np.intp)
    winner = owner[last][np.searchsorted(flat[last], flat)] if len(flat) else owner
    kept = np.bincount(owner[winner == owner], minlength=len(labels))
    for number in np.flatnonzero((own > 0) & (kept == 0)).tolist():
        found.covered[names[labels[number].class_id]] += 1
    found.contradicting = len(np.unique(owner[class_of[winner] != class_of[owner]]))
    found.unplaced = int((own == 0).sum())
    with_pixels = set(class_of[np.flatnonzero(kept)].tolist())
    found.without_pixels = [c.name for c in classes if c.id not in with_pixels]
    return found
