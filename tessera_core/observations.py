"""How often satellites saw each pixel of an embedding raster: what a publisher counted, kept beside the codes.

One array holds it, uint16 (H, W, 6), in this order: clear optical days, days of ascending and of descending radar, and for each
of the three the months with at least one such day (bit 0 is January). Knows no rasters and no stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.percents import percent as in_percent

FILE = "observations.npy"
CHANNELS = 6
OPTICAL, ASCENDING, DESCENDING = range(3)
MONTHS = 12
# Below so many clear days the publisher of 1.1/dclimate gives no embedding.
LEAST = 15
# From here on two embeddings of the same ground agree about as well as they ever do (docs/howto/published.md).
ELBOW = 25
NAMES = (
    "s2_obs_count",
    "s1_asc_obs_count",
    "s1_desc_obs_count",
    "s2_month_covered",
    "s1_asc_month_covered",
    "s1_desc_month_covered",
)
"""What the channels are called in published stores."""


@dataclass(frozen=True)
class Observations:
    """Views of the array described in the module's docstring.

    Attributes:
        array: uint16 (..., 6).
    """

    array: NDArray[np.uint16]

    def __post_init__(self) -> None:
        if self.array.dtype != np.uint16 or self.array.ndim < 1 or self.array.shape[-1] != CHANNELS:
            raise ValueError(
                f"observations must be uint16 (..., {CHANNELS}), not {self.array.dtype} {self.array.shape}"
            )

    @property
    def optical(self) -> NDArray[np.uint16]:
        """Days on which optical images showed the pixel clearly, uint16 (...)."""
        return self.array[..., OPTICAL]

    @property
    def radar(self) -> NDArray[np.uint32]:
        """Days of radar in either orbit, uint32 (...)."""
        return self.array[..., ASCENDING].astype(np.uint32) + self.array[..., DESCENDING]

    @property
    def optical_months(self) -> NDArray[np.uint8]:
        """Months with at least one clear optical day, uint8 (...), 0..12.

        Example:
            >>> Observations(np.array([30, 0, 0, 0b111, 0, 0], np.uint16)).optical_months
            3
        """
        return np.bitwise_count(self.array[..., 3 + OPTICAL])

    @property
    def without_radar(self) -> NDArray[np.bool_]:
        """Where neither orbit saw the pixel, bool (...)."""
        return (self.array[..., ASCENDING] == 0) & (self.array[..., DESCENDING] == 0)


def packed_months(covered: NDArray[np.integer]) -> NDArray[np.uint16]:
    """Twelve flags per pixel (..., 12) as bits, uint16 (...).

    Example:
        >>> packed_months(np.array([[1, 0, 1] + [0] * 9], np.int8))
        array([5], dtype=uint16)
    """
    bits = np.packbits(np.asarray(covered, bool), axis=-1, bitorder="little")
    packed = bits[..., 0].astype(np.uint16)
    packed += bits[..., 1] * np.uint16(256)
    return packed


def unpacked_months(packed: NDArray[np.uint16]) -> NDArray[np.int8]:
    """The inverse of :func:`packed_months`: int8 (..., 12) of 0 and 1.

    Example:
        >>> unpacked_months(np.array(5, np.uint16))[:4]
        array([1, 0, 1, 0], dtype=int8)
    """
    return (np.asarray(packed)[..., None] >> np.arange(MONTHS, dtype=np.uint16) & np.uint16(1)).astype(np.int8)


def depths_differ(first: Depth, last: Depth) -> bool:
    """Whether two years were seen so differently often that this alone may look like change.

    One median is more than half as large again as the other, or pixels below :data:`ELBOW` are a tenth of the region more.

    Example:
        >>> few, many = (Depth(10, times, 15, 0.0, 0.0, None) for times in (30.0, 48.0))
        >>> depths_differ(few, many), depths_differ(many, many)
        (True, False)
    """
    if not first.pixels or not last.pixels:
        return False
    low, high = sorted((first.optical_median, last.optical_median))
    return high > 1.5 * low or abs(first.below_elbow - last.below_elbow) >= 0.1


@dataclass(frozen=True)
class Depth:
    """How often the pixels with an embedding were seen, in a few figures.

    Attributes:
        pixels: with an embedding.
        optical_median: of their clear optical days; 0 where there are none.
        optical_least: the fewest.
        below_elbow: share seen fewer than :data:`ELBOW` times, 0..1.
        without_radar: share that no radar saw, 0..1.
        months_median: months with a clear day; None where no month is recorded at all.
    """

    pixels: int
    optical_median: float
    optical_least: int
    below_elbow: float
    without_radar: float
    months_median: float | None

    @property
    def sentences(self) -> tuple[str, ...]:
        """The figures for people."""
        if not self.pixels:
            return ()
        often = f"Seen clearly {self.optical_median:.0f} times (median), {self.optical_least} at least."
        if self.months_median is not None:
            often = (
                f"Seen clearly {self.optical_median:.0f} times (median), {self.optical_least} at least, in "
                f"{self.months_median:.0f} months of twelve."
            )
        told = [often]
        if self.below_elbow > 0:
            told.append(
                f"Of these pixels {percent(self.below_elbow)} were seen fewer than {ELBOW} times: their embeddings are less "
                "reproducible."
            )
        if self.without_radar > 0:
            told.append(f"Without radar: {percent(self.without_radar)} of these pixels.")
        return tuple(told)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Depth:
        """The inverse of :meth:`to_json`; other keys are passed over."""
        return cls(**{field.name: value[field.name] for field in fields(cls)})

    def to_json(self) -> dict[str, float | int | None]:
        """JSON object of the figures."""
        return {
            "pixels": self.pixels,
            "optical_median": self.optical_median,
            "optical_least": self.optical_least,
            "below_elbow": round(self.below_elbow, 4),
            "without_radar": round(self.without_radar, 4),
            "months_median": self.months_median,
        }


def depth_of(array: NDArray[np.uint16], valid: NDArray[np.bool_], rows_at_once: int = 2048) -> Depth:
    """The figures of a raster.

    Args:
        array: uint16 (H, W, 6).
        valid: bool (H, W), which pixels have an embedding.
        rows_at_once: rows looked at together, so that memory does not grow with the raster.

    Example:
        >>> seen = np.zeros((1, 4, 6), np.uint16)
        >>> seen[0, :, 0] = [16, 30, 40, 50]
        >>> depth_of(seen, np.ones((1, 4), bool)).below_elbow
        0.25
    """
    counted = np.zeros(1 << 16, np.int64)
    by_month = np.zeros(MONTHS + 1, np.int64)
    blind = 0
    for start in range(0, array.shape[0], rows_at_once):
        rows = slice(start, start + rows_at_once)
        seen = Observations(np.asarray(array[rows])[valid[rows]])
        counted += np.bincount(seen.optical, minlength=counted.size)
        by_month += np.bincount(seen.optical_months, minlength=by_month.size)
        blind += int(seen.without_radar.sum())
    pixels = int(counted.sum())
    if not pixels:
        return Depth(0, 0.0, 0, 0.0, 0.0, None)
    return Depth(
        pixels,
        median_of(counted),
        int(np.flatnonzero(counted)[0]),
        float(counted[:ELBOW].sum() / pixels),
        blind / pixels,
        median_of(by_month) if by_month[1:].any() else None,
    )


def median_of(counted: Sequence[int] | NDArray[np.int64]) -> float:
    """Median of whole numbers 0, 1, ... that occur so often.

    Example:
        >>> median_of([0, 1, 0, 1])
        2.0
    """
    total = np.cumsum(counted)
    low, high = np.searchsorted(total, [(total[-1] - 1) // 2, total[-1] // 2], side="right")
    return (int(low) + int(high)) / 2


def percent(share: float) -> str:
    """A share for people: one decimal below ten percent, and no 0 % of what there is.

    Example:
        >>> percent(0.034), percent(0.5), percent(0.0001)
        ('3.4 %', '50 %', 'less than 0.1 %')
    """
    if 0 < share < 0.001:
        return "less than 0.1 %"
    return f"{in_percent(share, 1 if 0 < share < 0.1 else 0)} %"
