"""What a map says of a piece of ground: class shares, confidence, change between two maps, and statistics of a number.

Each pixel counts with the share of it that is inside (:mod:`tessera_core.analysis.pixel_cover`). A zone comes in blocks of rows, so
that a zone as large as the map needs no more memory than a block; only the values of a map of a number are kept, for quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_core.types import Bytes, Doubles, Floats

IDS = 256
NO_CONFIDENCE = 255
QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class ZoneClasses:
    """What a class map says of a zone; all in pixels, of which the parts inside are counted.

    Attributes:
        pixels: float64 (256,) by class id; 0 is ground without data.
        confidence: mean in percent over the ground that has one; None where none has.
        moves: (earlier class, later class) -> pixels, where both maps have data; None without an earlier map.
    """

    pixels: Doubles
    confidence: float | None = None
    moves: dict[tuple[int, int], float] | None = None

    @property
    def mapped(self) -> float:
        """Pixels with data."""
        return float(self.pixels[1:].sum())

    @property
    def shares(self) -> Doubles:
        """float64 (256,) of the pixels with data; 0 everywhere where there are none."""
        shares = self.pixels / (self.mapped or 1.0)
        shares[0] = 0.0
        return shares

    @property
    def changed(self) -> float | None:
        """Share of the ground with data in both maps that has another class; None where there is none."""
        total = sum((self.moves or {}).values())
        return sum(n for (a, b), n in (self.moves or {}).items() if a != b) / total if total else None

    @property
    def largest_move(self) -> tuple[int, int, float] | None:
        """Earlier class, later class and pixels of the largest change; None where nothing changed."""
        moves = [(n, -a, -b) for (a, b), n in (self.moves or {}).items() if a != b and n > 0]
        if not moves:
            return None
        n, a, b = max(moves)
        return -a, -b, n

    def gained(self, class_id: int) -> float:
        """Pixels that became a class less those that were it and no longer are."""
        moves = (self.moves or {}).items()
        return sum(n * ((b == class_id) - (a == class_id)) for (a, b), n in moves)


class ClassTally:
    """Adds up a class map over the blocks of a zone."""

    def __init__(self, *, moves: bool = False) -> None:
        self._pixels = np.zeros(IDS)
        self._confidence = self._known = 0.0
        self._moves: dict[tuple[int, int], float] | None = {} if moves else None

    def add(
        self, cover: Doubles, classes: Bytes, confidence: Bytes | None = None, earlier: Bytes | None = None
    ) -> None:
        """Count a block.

        Args:
            cover: float64 (H, W), share of each pixel inside.
            classes: uint8 (H, W), 0 = no data.
            confidence: uint8 (H, W) percent, 255 = no data.
            earlier: class map of another year, uint8 (H, W).
        """
        inside = cover > 0
        weight, ids = cover[inside], classes[inside]
        self._pixels += np.bincount(ids, weight, minlength=IDS)
        if confidence is not None:
            sure = confidence[inside]
            known = (sure != NO_CONFIDENCE) & (ids > 0)
            self._confidence += float(weight[known] @ sure[known])
            self._known += float(weight[known].sum())
        if self._moves is not None and earlier is not None:
            before = earlier[inside]
            both = (before > 0) & (ids > 0)
            pairs, place = np.unique(before[both].astype(np.int64) * IDS + ids[both], return_inverse=True)
            for pair, pixels in zip(pairs.tolist(), np.bincount(place, weight[both]).tolist(), strict=True):
                move = divmod(pair, IDS)
                self._moves[move] = self._moves.get(move, 0.0) + pixels

    def result(self) -> ZoneClasses:
        """What was counted."""
        mean = self._confidence / self._known if self._known else None
        return ZoneClasses(self._pixels, mean, self._moves)


@dataclass(frozen=True)
class ZoneValues:
    """Statistics of a number over a zone, each pixel weighted by the share of it that is inside.

    Attributes:
        pixels: with data, parts counted.
        mean, sd: standard deviation over the ground of the zone, which is no standard error of the mean.
        low, high: least and greatest value.
        quantiles: at :data:`QUANTILES`: of so much of the ground the value is at most this.
    """

    pixels: float
    mean: float
    sd: float
    low: float
    high: float
    quantiles: tuple[float, ...]


class ValueTally:
    """Gathers a map of a number over the blocks of a zone."""

    def __init__(self) -> None:
        self._values: list[Floats] = []
        self._weights: list[Doubles] = []

    def add(self, cover: Doubles, values: NDArray[np.floating]) -> None:
        """Take a block.

        Args:
            cover: float64 (H, W), share of each pixel inside.
            values: float (H, W), not finite = no data.
        """
        inside = (cover > 0) & np.isfinite(values)
        self._values.append(values[inside].astype(np.float32))
        self._weights.append(cover[inside])

    def result(self) -> ZoneValues | None:
        """The statistics; None where nothing has data."""
        values = np.concatenate([np.zeros(0, np.float32), *self._values]).astype(np.float64)
        weights = np.concatenate([np.zeros(0), *self._weights])
        total = float(weights.sum())
        if not total:
            return None
        mean = float(weights @ values / total)
        sd = float(np.sqrt(weights @ (values - mean) ** 2 / total))
        order = np.argsort(values, kind="stable")
        reached = np.cumsum(weights[order]) / total
        at = np.minimum(np.searchsorted(reached, np.array(QUANTILES) - 1e-12), len(order) - 1)
        quantiles = tuple(float(v) for v in values[order][at])
        return ZoneValues(total, mean, sd, float(values.min()), float(values.max()), quantiles)
