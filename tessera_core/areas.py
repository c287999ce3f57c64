"""How much of a map each class is: counted in one place, for the page, the report, the tables and the command line."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_core.grid import Grid

CAVEAT = (
    "Areas are counted pixels: the map's mistakes shift them, those of rare classes most. Checked places (Validate, or tessera "
    "validate) give areas with intervals."
)
"""What is said wherever counted areas stand without an interval."""
# Values counted at a time.
_COUNTED = 1 << 18


@dataclass(frozen=True)
class MappedArea:
    """What a class covers of a map.

    Attributes:
        pixels: mapped as the class.
        share: of the mapped pixels, 0..1.
        hectares: None where the map has no place on Earth.
    """

    pixels: int
    share: float
    hectares: float | None


def mapped_areas(classes: NDArray[np.uint8], grid: Grid, named: Collection[int] | None = None) -> dict[int, MappedArea]:
    """What each class id 0..255 covers of a map (H, W) on ``grid``; 0 is what has no data, with a share of 0.

    Args:
        named: only 0, these, and what the map has.

    These are counts of pixels: mistakes of the map shift them (:mod:`tessera_core.project.validate` has areas with intervals).
    """
    counts = pixel_counts(classes).tolist()
    mapped, hectare = max(sum(counts[1:]), 1), hectares(1, grid)
    return {
        i: MappedArea(n, n / mapped if i else 0.0, None if hectare is None else n * hectare)
        for i, n in enumerate(counts)
        if named is None or n or not i or i in named
    }


def pixel_counts(values: NDArray[np.integer], length: int = 256) -> NDArray[np.int64]:
    """How often each value 0..255 of (H, W) occurs: int64 (``length``,), or longer where there are larger ones.

    Counted by rows: NumPy counts in eight bytes a value, which of a large map as one is more than all else about it.
    """
    counts = np.zeros(256, np.int64)
    rows = max(1, _COUNTED // max(values.shape[1], 1))
    for start in range(0, values.shape[0], rows):
        counts += np.bincount(values[start : start + rows].ravel(), minlength=256)
    return counts[: max(length, int(np.flatnonzero(counts)[-1]) + 1 if counts.any() else 0)]


def class_pixels(classes: NDArray[np.integer]) -> dict[int, int]:
    """Class id 1..255 -> its pixels on a map (H, W), for the classes that are there; 0 is what has no data.

    >>> class_pixels(np.array([[0, 2, 2], [7, 2, 0]], np.uint8))
    {2: 3, 7: 1}
    """
    return {k: n for k, n in enumerate(pixel_counts(classes).tolist()) if k and n}


def summed_percent(confidence: NDArray[np.uint8]) -> tuple[int, int]:
    """The sum of a map's confidence, uint8 (H, W) in percent with 255 = no data, and how many pixels have one."""
    counts = pixel_counts(confidence)[:255]
    return int(counts @ np.arange(255)), int(counts.sum())


def hectares(pixels: float, grid: Grid) -> float | None:
    """The area of a number of pixels; None where the grid has no place on Earth."""
    return pixels * hectares_per_pixel(grid) if grid.georeferenced else None


def hectares_per_pixel(grid: Grid) -> float:
    """The area of a pixel; NaN where the grid has no place on Earth."""
    return grid.pixel_area_m2 / 10_000


def square_kilometres(grid: Grid) -> float:
    """The area of a whole grid; NaN where it has no place on Earth."""
    return grid.height * grid.width * hectares_per_pixel(grid) / 100
