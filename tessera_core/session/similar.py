"""Similar places: examples and counter-examples chosen on the map, their likeness everywhere, and labels made of it. Pure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tessera_core.analysis.similarity import PER_MILLE, Similarity, SimilarityIndex
from tessera_core.analysis.spread import spread_places
from tessera_core.errors import LabelError
from tessera_core.labels.colors import color_for
from tessera_core.labels.log import LabelLog
from tessera_core.labels.model import GROUP, Label, LabelClass, new_id
from tessera_core.raster import EmbeddingRaster

# Enough for a head to learn a class from, few enough to be looked through.
LABELS_MADE = 30

Places = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class SimilarPixels:
    """Likeness to chosen places.

    Attributes:
        positive, negative: ``(row, col)`` of examples and counter-examples.
        likeness: of every pixel.
        percent: uint8 (H, W), whole percents rounded down, 255 where there is no data.
    """

    positive: Places
    negative: Places
    similarity: Similarity
    percent: NDArray[np.uint8]


class SimilaritySearch:
    """Answers for one raster; the last answer is kept.

    Args:
        raster: the embeddings.
        index: makes or finds what answers which pixels are alike; None: made here, when first needed.
    """

    def __init__(self, raster: EmbeddingRaster, index: Callable[[], SimilarityIndex] | None = None) -> None:
        self.raster = raster
        self._index = index or cache(lambda: SimilarityIndex(raster))
        self._lock = threading.Lock()
        self._found: SimilarPixels | None = None

    def search(self, positive: Places, negative: Places) -> SimilarPixels:
        """Likeness to examples that is greater than likeness to any counter-example.

        Raises:
            RasterError: no example, or one without data.
        """
        with self._lock:
            if self._found is None or (self._found.positive, self._found.negative) != (positive, negative):
                similarity = self._index().query(self._vectors(positive), self._vectors(negative))
                valid = similarity.scores <= PER_MILLE
                percent = np.where(valid, similarity.scores // 10, 255).astype(np.uint8)
                self._found = SimilarPixels(positive, negative, similarity, percent)
            return self._found

    def _vectors(self, places: Places) -> NDArray[np.float32]:
        rows, cols = np.array(places, np.intp).reshape(-1, 2).T
        return self.raster.sample(rows, cols)


def label_area(
    log: LabelLog,
    raster: EmbeddingRaster,
    areas: Sequence[tuple[NDArray[np.bool_], str]],
    note: str,
    count: int = LABELS_MADE,
    seed: int = 0,
) -> int:
    """Turn areas into point labels at places spread over them, as one event that one undo takes back.

    Args:
        log: changed.
        areas: bool (H, W) and the name of a class for each; the log makes the class where it has none of that name.
        note: kept with each label, so that it can be told from what a person clicked.
        count: labels of each area.

    Returns:
        How many labels were made.

    Raises:
        LabelError: the areas hold no pixels, or a name is empty.
    """
    labels: list[Label] = []
    classes: dict[str, LabelClass] = {}
    for mask, name in areas:
        # The ids of an import are its own; the log matches classes by name.
        free = len(classes) + 1
        known = classes.setdefault(name.casefold(), LabelClass(free, name, color_for(name, log.classes, free)))
        rows, cols = spread_places(mask & raster.valid(), count, seed)
        x, y = raster.grid.pixel_to_xy(rows + 0.5, cols + 0.5)
        labels += [
            Label(new_id(), known.id, "point", (place,), note=note)
            for place in zip(x.tolist(), y.tolist(), strict=True)
        ]
    if not labels:
        raise LabelError("No pixel is that much alike; lower the percentage or add another example.")
    return log.import_labels(classes.values(), labels, origin=GROUP)
