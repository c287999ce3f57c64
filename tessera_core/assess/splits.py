"""Ways to hold labels out.

Neighbouring pixels resemble each other, so a random split tests on near-copies of what it trained on and flatters every
model (by 0.08 of macro-F1 on the Belgian fields of our tests, by 0.11 to 0.14 on Austrian crops). ``field`` holds out whole
fields; ``blocked`` whole squares of ground with a belt around them that is not trained on; ``random`` is there to show the gap.
"""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from tessera_core.assess.samples import Samples
from tessera_core.errors import LabelError
from tessera_core.types import Index

SPLITS = ("field", "blocked", "random")
BLOCK_PX = 16
BUFFER_PX = 4

Fold = tuple[Index, Index]


def folds(
    samples: Samples, split: str, n_folds: int = 3, seed: int = 0, block_px: int = BLOCK_PX, buffer_px: int = BUFFER_PX
) -> list[Fold]:
    """Training and test indices of each fold; every judged label is tested once.

    A class that lies in a single field (or block) cannot be held out and trained on at once: its labels stay in training and
    are never tested (``not_judged`` names such classes). Every training part holds every class.

    Args:
        samples: the labels.
        split: one of :data:`SPLITS`.
        n_folds: parts; fewer where no class has as many fields.
        seed: for ties and shuffling.
        block_px: edge of the squares of ``blocked``, pixels.
        buffer_px: width of the belt around held-out squares that is left out of training, pixels.

    Raises:
        LabelError: the split is unknown, or fewer than two classes could be judged.
    """
    if split not in SPLITS:
        raise LabelError(f"There is no split {split!r}; the splits are {', '.join(SPLITS)}.")
    if n_folds < 2:
        raise LabelError(f"At least 2 folds are needed to hold something out, not {n_folds}.")
    groups = _groups(samples, split, block_px)
    judged = _judged(samples.y, groups)
    if len(np.unique(samples.y[judged])) < 2:
        what = {"field": "fields (polygons or patches)", "blocked": f"blocks of {block_px} pixels"}.get(split, "labels")
        raise LabelError(
            f"The split {split!r} holds whole {what} out, but fewer than two classes have two of them. "
            "Label further places, or use another split."
        )
    # No more folds than the largest class has labels: scikit-learn refuses to leave every class out of some fold.
    largest = int(np.unique(samples.y[judged], return_counts=True)[1].max())
    n_folds = max(2, min(n_folds, len(np.unique(groups[judged])), largest))
    splitter = StratifiedKFold if split == "random" else StratifiedGroupKFold
    with warnings.catch_warnings():
        # A class with fewer labels than folds is tested in fewer folds; that is meant.
        warnings.simplefilter("ignore", UserWarning)
        parts = list(
            splitter(n_folds, shuffle=True, random_state=seed).split(judged, samples.y[judged], groups[judged])
        )
    rest = np.ones(len(samples.y), bool)
    rest[judged] = False
    always = np.flatnonzero(rest)
    result = []
    for train, test in parts:
        training, held = np.concatenate([judged[train], always]), judged[test]
        if split == "blocked":
            training = training[~near_blocks(samples.rows, samples.cols, held, training, block_px, buffer_px)]
        # Where a fold holds out all that there is of a class, that class cannot be tested in it.
        held = held[np.isin(samples.y[held], samples.y[training])]
        if len(held) and len(np.unique(samples.y[training])) > 1:
            result.append((np.sort(training), np.sort(held)))
    if not result:
        raise LabelError(
            f"The split {split!r} leaves nothing to train on beside what it holds out; label more places, or a smaller buffer."
        )
    return result


def not_judged(samples: Samples, parts: list[Fold]) -> list[int]:
    """Class ids that no fold tests."""
    tested = np.concatenate([test for _, test in parts])
    return sorted(int(i) for i in set(np.unique(samples.y)) - set(np.unique(samples.y[tested])))


def _groups(samples: Samples, split: str, block_px: int) -> NDArray[Any]:
    if split == "field":
        return samples.groups
    if split == "random":
        return np.arange(len(samples.y))
    width = int(samples.cols.max()) // block_px + 1
    blocks: NDArray[Any] = (samples.rows // block_px) * width + samples.cols // block_px
    return blocks


def _judged(y: NDArray[Any], groups: NDArray[Any]) -> Index:
    """Indices of the labels whose class lies in at least two groups."""
    # As one number each, a million pairs are told apart in a fraction of the time.
    known, which = np.unique(y, return_inverse=True)
    pairs = np.unique(np.asarray(groups, np.int64) * len(known) + which)
    ids, counts = np.unique(pairs % len(known), return_counts=True)
    return np.flatnonzero(np.isin(y, known[ids[counts > 1]]))


def near_blocks(
    rows: NDArray[Any], cols: NDArray[Any], held: Index, training: Index, block_px: int, buffer_px: int
) -> NDArray[np.bool_]:
    """Which training labels lie within ``buffer_px`` (in rows or columns) of a held-out block.

    Args:
        rows, cols: int (N,) of all labels.
        held, training: indices into them.

    Time and memory grow with the labels and not with the ground they lie on, which may be a continent.
    """
    rows, cols = np.asarray(rows, np.int64), np.asarray(cols, np.int64)
    # Beyond the belt on either side, so that no block of one row is taken for one of the next.
    width = (int(cols.max(initial=0)) + buffer_px) // block_px + 3 + buffer_px // block_px
    margin = buffer_px // block_px + 1

    def keys(row: NDArray[np.int64], col: NDArray[np.int64]) -> NDArray[np.int64]:
        return (row // block_px) * width + col // block_px + margin

    blocks = np.unique(keys(rows[held], cols[held]))
    near = np.zeros(len(training), bool)
    # Steps no longer than a block meet each block that the square around a label meets.
    steps = sorted({*range(-buffer_px, buffer_px, block_px), buffer_px}) if buffer_px > 0 else [0]
    for down, across in itertools.product(steps, steps):
        near |= np.isin(keys(rows[training] + down, cols[training] + across), blocks)
    return near
