"""Would more labels help? The score at fewer labels, on demand, because it costs many fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tessera_core.assess.crossfit import spatial_groups, thin
from tessera_core.assess.evaluate import CrossValidation, evaluate
from tessera_core.assess.samples import Samples
from tessera_core.assess.splits import BLOCK_PX
from tessera_core.errors import LabelError
from tessera_core.heads.classification import Head
from tessera_core.types import Cancel, Progress

SIZES = (1, 2, 3, 5, 10, 20, 50, 100)
REPEATS = 5
# Less than this between the last two points is no gain worth the clicks.
WORTH_IT = 0.01


@dataclass(frozen=True)
class LearningCurve:
    """Scores by labels of each class.

    Attributes:
        labels: labels of each class that the head was given (fewer where a class has fewer).
        macro_f1: mean macro-F1 on places held out.
        spread: standard deviation over repeats.
        sentence: for the page.
    """

    labels: tuple[int, ...]
    macro_f1: tuple[float, ...]
    spread: tuple[float, ...]
    sentence: str


def learning_curve(
    samples: Samples,
    head: Head,
    *,
    sizes: Sequence[int] = SIZES,
    repeats: int = REPEATS,
    seed: int = 0,
    block_px: int = BLOCK_PX,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> LearningCurve:
    """Score a head at growing numbers of labels a class, whole places held out; each label is one pixel.

    Args:
        samples: labelled pixels.
        head: unfitted.
        sizes: labels a class to try; those beyond what half of the classes have are left out.
        progress, cancelled: see docs/architecture.md; units are sizes.

    Raises:
        LabelError: the labels are too few for two points of a curve.
        Cancelled: ``cancelled`` said so.
    """
    one_each = thin(samples, per_label=1, seed=seed)
    held = replace(one_each, groups=spatial_groups(one_each, block_px))
    # A third is held out in turn, so two thirds are there to learn from.
    most = int(np.median(np.unique(one_each.y, return_counts=True)[1]) * 2 / 3) if len(one_each.y) else 0
    sizes = [size for size in sizes if size <= most]
    if len(sizes) < 2:
        raise LabelError("A learning curve needs at least three labels of each class; label some more first.")
    points = []
    for done, size in enumerate(sizes):
        cv = CrossValidation(per_class=size, repeats=repeats, seed=seed, naive=False)
        result = evaluate(held, head, cv, cancelled=cancelled)
        points.append((result["macro_f1"], result["sd"]["macro_f1"]))
        if progress is not None:
            progress(done + 1, len(sizes), "scoring with fewer labels")
    scores = tuple(score for score, _ in points)
    gain = scores[-1] - scores[-2]
    step = (
        f"From {sizes[-2]} to {sizes[-1]} labels a class the score went from {scores[-2]:.2f} to {scores[-1]:.2f} (macro-F1, 1 is "
        "perfect)"
    )
    verdict = "more labels should still help." if gain >= WORTH_IT else "more labels of the same kind will hardly help."
    return LearningCurve(tuple(sizes), scores, tuple(spread for _, spread in points), f"{step}; {verdict}")
