"""Labels that teach nothing, which a lesson does not count: on no data, twice on one pixel, or under a label of another class."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import TesseraError
from tessera_core.grid import Grid
from tessera_core.labels.log import LabelLog
from tessera_core.labels.sampling import label_pixels, pixels_of_each
from tessera_core.project.project import Project
from tessera_core.raster import valid_scales
from tessera_core.sources.local.open import open_embeddings

NO_DATA, TWICE, COVERED = "no data", "twice", "covered"
# Labels beyond which nobody is in a step that counts a few, and looking at each would cost.
_MANY = 5000


@dataclass(frozen=True)
class Lost:
    """A label that teaches nothing.

    Attributes:
        number: its position among all labels.
        class_id: of it.
        why: :data:`NO_DATA`; :data:`TWICE` (a later click of its class on the same pixel); or :data:`COVERED`.
        by: class that covers it; 0 where it was erased, or nothing does.
        since: position of the label by which it was lost: of itself, or of the last that lies on it.
    """

    number: int
    class_id: int
    why: str
    by: int
    since: int


_known: weakref.WeakKeyDictionary[LabelLog, tuple[tuple[int, int | None], tuple[Lost, ...]]]
_known = weakref.WeakKeyDictionary()
_mutex = threading.Lock()


def lost_labels(project: Project) -> tuple[Lost, ...]:
    """Labels that teach nothing in the year that is looked at, in the order in which they were made.

    A label counts where one of its pixels has data and no later label; so does one that a later shape of its own class covers.
    """
    log, year = project.log, project.settings.year
    year = year if year in project.embeddings else max(project.years, default=None)
    now = (log.version, year)
    with _mutex:
        known = _known.get(log)
    if known is None or known[0] != now:
        known = now, _lost(project, year)
        with _mutex:
            _known[log] = known
    return known[1]


def _lost(project: Project, year: int | None) -> tuple[Lost, ...]:
    labels, grid = project.log.labels, project.grid
    if grid is None or not labels or len(labels) > _MANY:
        return ()
    flat, owners = pixels_of_each(labels, grid)
    empty = np.bincount(owners[_has_data(project, year, grid, flat)], minlength=len(labels)) == 0
    painted = label_pixels(labels, grid)
    covered = np.bincount(painted.label_index, minlength=len(labels)) == 0
    tops = painted.rows.astype(np.int64) * grid.width + painted.cols
    # The pixels of a label lie together, so none is looked for among those of all others.
    begins = np.flatnonzero(np.diff(owners, prepend=-1))
    ranges = dict(zip(owners[begins].tolist(), zip(begins, [*begins[1:], len(owners)], strict=True), strict=True))
    found = []
    for number in np.flatnonzero(empty | covered).tolist():
        label = labels[number]
        if label.kind == "erase":
            continue
        if empty[number]:
            found.append(Lost(number, label.class_id, NO_DATA, 0, number))
            continue
        numbers = _above(flat[slice(*ranges[number])], tops, painted.label_index)
        above = [labels[n] for n in numbers if n >= 0]
        others = [one.class_id for one in above if one.class_id != label.class_id]
        since = max(number, *numbers)
        if others or len(above) < len(numbers):
            found.append(Lost(number, label.class_id, COVERED, others[-1] if others else 0, since))
        elif {label.kind, *(one.kind for one in above)} == {"point"}:
            found.append(Lost(number, label.class_id, TWICE, 0, since))
    return tuple(found)


def _above(pixels: NDArray[np.int64], tops: NDArray[np.int64], index: NDArray[np.int32]) -> list[int]:
    """Positions of the labels that lie on pixels, ascending and each once; -1 where one was erased."""
    if not len(tops):
        return [-1]
    at = np.minimum(np.searchsorted(tops, pixels), len(tops) - 1)
    found: list[int] = np.unique(np.where(tops[at] == pixels, index[at], -1)).tolist()
    return found


def _has_data(project: Project, year: int | None, grid: Grid, flat: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Bool (N,): which pixels have an embedding."""
    try:
        scales = open_embeddings(project.embeddings_path(year)).scales if year in project.embeddings else None
    except TesseraError:
        # The page says what is wrong with the embeddings; a lesson goes on beside it.
        scales = None
    if scales is None or scales.shape != grid.shape:
        return np.ones(len(flat), np.bool_)
    return valid_scales(scales[flat // grid.width, flat % grid.width])
