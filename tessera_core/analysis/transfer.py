"""Labels of one year reused in another, only where the ground did not change.

A label survives where nearly all its pixels look like unchanged ground, which asks for more than not being called changed.
Refuses to know projects and heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_core.analysis.change import NO_LEVEL, ChangeLayer, log_ratio
from tessera_core.errors import Hint, LabelError
from tessera_core.grid import Grid
from tessera_core.labels.model import Label
from tessera_core.labels.sampling import label_pixels

# A pixel with a smaller p-value is not trusted to be what it was.
STABLE_P = 0.05
# Share of a label's pixels that must be stable.
STABLE_SHARE = 0.8


@dataclass(frozen=True)
class ClassTransfer:
    """One class's labels in the other year.

    Attributes:
        class_id: the class.
        labels, survive: how many labels it has, and how many of them survive.
        drift: how much further its surviving labels moved than unchanged ground typically does (1 = as much); NaN for none.
    """

    class_id: int
    labels: int
    survive: int
    drift: float


@dataclass(frozen=True)
class Transfer:
    """Which labels may be used in the other year.

    Attributes:
        kept: labels on stable ground.
        changed: labels on ground that changed, or may have.
        no_data: labels without data in one of the years.
        covered: labels that have no pixel of their own, because later ones lie over them.
        rows, cols, class_ids: stable pixels of the kept labels, int32 (N,), int32 (N,), uint8 (N,).
        classes: by class.
        drift: of all surviving labels together, as in :class:`ClassTransfer`.
        years: from, to.
    """

    kept: tuple[Label, ...]
    changed: tuple[Label, ...]
    no_data: tuple[Label, ...]
    covered: tuple[Label, ...]
    rows: NDArray[np.int32]
    cols: NDArray[np.int32]
    class_ids: NDArray[np.uint8]
    classes: tuple[ClassTransfer, ...]
    drift: float
    years: tuple[int | None, int | None]

    @property
    def sentences(self) -> tuple[str, ...]:
        """How many survive, for people."""
        total = len(self.kept) + len(self.changed) + len(self.no_data) + len(self.covered)
        first, second = self.years
        if first is None or second is None:
            told = [f"{len(self.kept)} of {total} labels hold in the other year."]
        else:
            told = [f"{len(self.kept)} of {total} labels of {first} hold in {second}."]
        if self.changed:
            told.append(f"Labels where the ground changed or may have: {len(self.changed)}.")
        if self.no_data:
            told.append(f"Labels where a year has no data: {len(self.no_data)}.")
        if self.covered:
            told.append(f"Labels under later ones, and so not counted: {len(self.covered)}.")
        return tuple(told)


def transfer_labels(
    labels: Sequence[Label],
    grid: Grid,
    layer: ChangeLayer,
    *,
    stable_p: float = STABLE_P,
    stable_share: float = STABLE_SHARE,
) -> Transfer:
    """Sort labels by whether their ground is unchanged between the years of ``layer``.

    Args:
        labels: in the coordinates of ``grid``.
        grid: of the layer.
        layer: of the labels' year and the other one.
        stable_p: p-value from which a pixel counts as stable.
        stable_share: of a label's pixels that must be.

    Raises:
        LabelError: there are no labels.
    """
    pixels = label_pixels(labels, grid)
    painted = [label for label in labels if label.kind != "erase"]
    if not painted:
        raise LabelError(
            "There are no labels yet. Label some places; then they can be tried on other years.", hint=Hint.LABELS
        )
    levels = layer.levels[pixels.rows, pixels.cols]
    known = levels != NO_LEVEL
    stable = known & (layer.p_table()[levels] >= stable_p)
    count = len(labels)
    own = np.bincount(pixels.label_index, minlength=count)
    seen = np.bincount(pixels.label_index[known], minlength=count)
    firm = np.bincount(pixels.label_index[stable], minlength=count)
    survives = (seen > 0) & (firm >= stable_share * seen)
    kept = tuple(label for n, label in enumerate(labels) if survives[n])
    changed = tuple(label for n, label in enumerate(labels) if seen[n] and not survives[n])
    unseen = [n for n, label in enumerate(labels) if not seen[n] and label.kind != "erase"]
    no_data, covered = (tuple(labels[n] for n in unseen if bool(own[n]) is had) for had in (True, False))
    use = stable & survives[pixels.label_index]
    ratio = np.exp(log_ratio(levels) - layer.null.centre)
    classes = []
    for class_id in sorted({label.class_id for label in painted}):
        mine = use & (pixels.class_ids == class_id)
        classes.append(
            ClassTransfer(
                class_id,
                sum(label.class_id == class_id for label in painted),
                sum(label.class_id == class_id for label in kept),
                float(np.median(ratio[mine])) if mine.any() else float("nan"),
            )
        )
    drift = float(np.median(ratio[use])) if use.any() else float("nan")
    chosen = np.flatnonzero(use)
    return Transfer(
        kept,
        changed,
        no_data,
        covered,
        pixels.rows[chosen],
        pixels.cols[chosen],
        pixels.class_ids[chosen],
        tuple(classes),
        drift,
        layer.years,
    )
