"""From class maps of several years to transitions: which class became which, on how much ground, and when.

Takes class maps on one grid; refuses to know how they were made. Counting where two maps differ counts their errors too, so
transitions are also given for the ground that :mod:`tessera_core.analysis.change` calls changed, and with intervals from
maps made by heads of resampled labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.analysis.active_learning import Predicts
from tessera_core.analysis.change import NO_LEVEL, ChangeLayer
from tessera_core.errors import RasterError
from tessera_core.types import Bytes

NO_CLASS = 0
# Year of change: 0 where nothing changed, 255 where a year has no data.
UNCHANGED, UNKNOWN = 0, 255
LOW, HIGH = 2.5, 97.5


@dataclass(frozen=True)
class Transitions:
    """Pixels by class of two years.

    Attributes:
        ids: (K,) class ids, sorted.
        pixels: int64 (K, K), rows the first year, columns the second.
        confirmed: int64 (K, K), the same where the change layer agrees; the diagonal holds everything else. None without one.
        low, high: float64 (K, K) 95 % interval of ``pixels``, or None; see :func:`intervals`.
        hectares_per_pixel: NaN where the grid has no place on Earth.
        years: of the two maps.
    """

    ids: tuple[int, ...]
    pixels: NDArray[np.int64]
    confirmed: NDArray[np.int64] | None
    low: NDArray[np.float64] | None
    high: NDArray[np.float64] | None
    hectares_per_pixel: float
    years: tuple[int | None, int | None]

    def rows(self, names: Mapping[int, str], limit: int | None = None) -> list[dict[str, Any]]:
        """The transitions between different classes by falling area, as a table for people: hectares (or pixels)."""
        differ = self.pixels * (1 - np.eye(len(self.ids), dtype=np.int64))
        found = [self._row(int(i), int(j), names) for i, j in np.argwhere(differ)]
        found.sort(key=lambda row: -row["area"])
        return found[:limit]

    def matrix(self, names: Mapping[int, str]) -> list[list[dict[str, Any]]]:
        """All pairs of classes as in :meth:`rows`: a row for each class of the first year, a cell for each of the second."""
        every = range(len(self.ids))
        return [[self._row(i, j, names) for j in every] for i in every]

    def _row(self, i: int, j: int, names: Mapping[int, str]) -> dict[str, Any]:
        scale = self.hectares_per_pixel if np.isfinite(self.hectares_per_pixel) else 1.0
        row: dict[str, Any] = {
            "from": names.get(self.ids[i], str(self.ids[i])),
            "to": names.get(self.ids[j], str(self.ids[j])),
            "area": float(self.pixels[i, j] * scale),
        }
        if self.low is not None and self.high is not None:
            row |= {"low": float(self.low[i, j] * scale), "high": float(self.high[i, j] * scale)}
        if self.confirmed is not None:
            row["confirmed"] = float(self.confirmed[i, j] * scale)
        return row


def count_transitions(
    first: Bytes,
    second: Bytes,
    hectares_per_pixel: float,
    *,
    changed: NDArray[np.bool_] | None = None,
    years: tuple[int | None, int | None] = (None, None),
) -> Transitions:
    """Count which class became which; pixels without data in either year are left out.

    Args:
        first, second: uint8 (H, W) class ids, 0 = no data.
        hectares_per_pixel: NaN where unknown.
        changed: bool (H, W) what a change layer calls changed.

    Raises:
        RasterError: the maps have different shapes, or no pixel in common.
    """
    if first.shape != second.shape or (changed is not None and changed.shape != first.shape):
        raise RasterError("The maps of the two years do not have the same pixels.")
    known = (first != NO_CLASS) & (second != NO_CLASS)
    if not known.any():
        raise RasterError("The maps of the two years have no pixel in common.")
    a, b = first[known].astype(np.int32), second[known].astype(np.int32)
    ids = np.flatnonzero(np.bincount(a, minlength=256) + np.bincount(b, minlength=256))
    pixels = _table(a, b, ids)
    confirmed = None
    if changed is not None:
        confirmed = _table(a, np.where(changed[known], b, a), ids)
    return Transitions(tuple(int(k) for k in ids), pixels, confirmed, None, None, hectares_per_pixel, years)


def _table(a: NDArray[np.int32], b: NDArray[np.int32], ids: NDArray[np.intp]) -> NDArray[np.int64]:
    table = np.bincount(a * 256 + b, minlength=65_536).reshape(256, 256)
    return table[np.ix_(ids, ids)].astype(np.int64)


def intervals(
    counted: Transitions, heads: Iterable[Predicts], first: NDArray[np.float32], second: NDArray[np.float32]
) -> Transitions:
    """Add 95 % intervals: how the areas vary when the head is fitted on other draws of the same labels.

    A bootstrap over labels (Efron & Tibshirani 1993, percentile interval, widened to hold the estimate). It says how much the
    choice of labels matters; it does not know of classes that were labelled wrongly.

    Args:
        counted: from the whole maps.
        heads: fitted on resampled labels.
        first, second: float32 (N, D) embeddings of a sample of pixels in both years.

    Raises:
        RasterError: there are no heads or no pixels.
    """
    total = int(counted.pixels.sum())
    ids = np.array(counted.ids)
    shares = []
    for head in heads:
        a, b = (head.classes_[head.predict_proba(x).argmax(1)].astype(np.int32) for x in (first, second))
        shares.append(_table(a, b, ids) / max(len(a), 1))
    if not shares or len(first) == 0:
        raise RasterError("Intervals need at least one head and some pixels.")
    low, high = np.percentile(np.stack(shares), (LOW, HIGH), axis=0) * total
    return Transitions(
        counted.ids,
        counted.pixels,
        counted.confirmed,
        np.minimum(low, counted.pixels),
        np.maximum(high, counted.pixels),
        counted.hectares_per_pixel,
        counted.years,
    )


# ------------------------------------------------------------------ more than two years


@dataclass(frozen=True)
class Trajectory:
    """A sequence of classes, one a year, and the pixels that went through it."""

    classes: tuple[int, ...]
    pixels: int

    @property
    def changes(self) -> int:
        """How often the class changes along it."""
        return sum(a != b for a, b in zip(self.classes, self.classes[1:], strict=False))


def trajectories(maps: Sequence[Bytes], limit: int = 20) -> list[Trajectory]:
    """The most frequent sequences of classes over the years, by falling area.

    Args:
        maps: uint8 (H, W) class ids of rising years, 0 = no data (such pixels are left out).

    Raises:
        RasterError: fewer than two maps, or maps of different shapes.
    """
    if len(maps) < 2 or len({m.shape for m in maps}) != 1:
        raise RasterError("Trajectories need the maps of at least two years with the same pixels.")
    known = np.logical_and.reduce([m != NO_CLASS for m in maps])
    # Rank sequences year by year, so that keys stay small however many years there are.
    keys = np.zeros(int(known.sum()), np.int64)
    sequences: list[tuple[int, ...]] = [()]
    for each in maps:
        found, keys = np.unique(keys * 256 + each[known], return_inverse=True)
        sequences = [(*sequences[int(key) // 256], int(key) % 256) for key in found]
    counts = np.bincount(keys, minlength=len(sequences))
    order = np.argsort(-counts, kind="stable")[:limit]
    return [Trajectory(sequences[i], int(counts[i])) for i in order if counts[i]]


def year_of_change(layers: Sequence[ChangeLayer], rate: float) -> Bytes:
    """When each pixel changed most: 1 + index of the step between years, :data:`UNCHANGED` or :data:`UNKNOWN`.

    Args:
        layers: of consecutive years, in order.
        rate: false-discovery rate of each.

    Returns:
        uint8 (H, W).

    Raises:
        RasterError: no layers, or of different shapes.
    """
    if not layers or len({layer.levels.shape for layer in layers}) != 1:
        raise RasterError("The year of change needs change layers of consecutive years with the same pixels.")
    strongest = np.zeros(layers[0].levels.shape, np.float32)
    when = np.full(strongest.shape, UNCHANGED, np.uint8)
    unknown = np.zeros(strongest.shape, bool)
    for number, layer in enumerate(layers, start=1):
        # Levels of two layers are not alike; their distances from the null in spreads are.
        table = ((np.arange(65_536) / 4000.0 - 8.0 - layer.null.centre) / layer.null.spread).astype(np.float32)
        strength = table[layer.levels]
        wins = layer.mask(rate) & (strength > strongest)
        when[wins], strongest[wins] = number, strength[wins]
        unknown |= layer.levels == NO_LEVEL
    when[unknown & (when == UNCHANGED)] = UNKNOWN
    return when


def sankey(
    steps: Sequence[Transitions], names: Mapping[int, str], colours: Mapping[int, str], *, confirmed: bool = True
) -> dict[str, Any]:
    """Nodes and links of a Sankey plot of consecutive transitions, in hectares (pixels without a place on Earth).

    Returns:
        ``{"labels", "shown", "colours", "source", "target", "value", "link_colours"}`` for ``plotly.graph_objects.Sankey``;
        ``shown`` are the labels of the first and the last year and empty for those between, for which narrow screens have no room.
    """
    labels: list[str] = []
    node_colours: list[str] = []
    index: dict[tuple[int, int], int] = {}

    def node(step: int, class_id: int, year: int | None) -> int:
        if (step, class_id) not in index:
            index[step, class_id] = len(labels)
            labels.append(f"{names.get(class_id, str(class_id))} {year or ''}".strip())
            node_colours.append(colours.get(class_id, "#808080"))
        return index[step, class_id]

    source, target, value, link_colours = [], [], [], []
    for step, each in enumerate(steps):
        table = each.confirmed if confirmed and each.confirmed is not None else each.pixels
        scale = each.hectares_per_pixel if np.isfinite(each.hectares_per_pixel) else 1.0
        for i, j in np.argwhere(table):
            source.append(node(step, each.ids[i], each.years[0]))
            target.append(node(step + 1, each.ids[j], each.years[1]))
            value.append(float(table[i, j] * scale))
            colour = colours.get(each.ids[i], "#808080").lstrip("#")
            red, green, blue = (int(colour[k : k + 2], 16) for k in (0, 2, 4))
            # Ground that stays what it is steps back behind ground that becomes something else.
            link_colours.append(f"rgba({red},{green},{blue},{0.18 if i == j else 0.6})")
    ends = {index[place] for place in index if place[0] in (0, len(steps))}
    return {
        "labels": labels,
        "shown": [label if n in ends else "" for n, label in enumerate(labels)],
        "colours": node_colours,
        "source": source,
        "target": target,
        "value": value,
        "link_colours": link_colours,
    }
