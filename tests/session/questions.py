"""Clicks on the landscape of tests/factories.py, and questions about them."""

from __future__ import annotations

import numpy as np

from tessera_core.heads import HeadChoice
from tessera_core.labels.log import LabelLog
from tessera_core.raster import EmbeddingRaster
from tessera_core.session.assessor import Question

PER_CLASS = 5


def labelled(raster: EmbeddingRaster, per_class: int = PER_CLASS, seed: int = 0) -> LabelLog:
    """Clicks spread over the four quarters, of their true class."""
    log, random = LabelLog(), np.random.default_rng(seed)
    for quarter in range(4):
        label_class = log.add_class(f"Quarter {quarter}")
        for _ in range(per_class):
            row, col = random.integers(3, 37, 2) + 40 * np.array(divmod(quarter, 2))
            x, y = raster.grid.pixel_to_xy(row + 0.5, col + 0.5)
            log.add("point", label_class.id, [(float(x), float(y))])
    return log


def question(log: LabelLog, head: str = "ridge", **more: object) -> Question:
    return Question(log.version, HeadChoice(head), tuple(log.labels), tuple(log.classes), **more)  # type: ignore[arg-type]


def raster_place(raster: EmbeddingRaster, row: int, col: int) -> tuple[float, float]:
    x, y = raster.grid.pixel_to_xy(row + 0.5, col + 0.5)
    return float(x), float(y)
