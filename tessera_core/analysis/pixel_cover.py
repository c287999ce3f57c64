"""How much of each pixel a polygon covers, exactly: what lies on a border counts with the share that is inside.

Counting pixels by their middles gives a field of a hectare an error of some tens of percent; a strip narrower than a pixel may get
none at all. Here every edge is cut where it crosses a line between pixels, and each piece adds the area to the right of it, with
the sign of its direction: Green's theorem on every row of pixels, the way in which outlines of letters are filled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.types import Doubles, PixelBox

# What is left of rounding where edges cancel each other.
_NOTHING = 1e-9


def pixel_cover(polygon: Any, box: PixelBox) -> Doubles:
    """The share of each pixel that lies in a polygon.

    Args:
        polygon: a valid shapely polygon or multipolygon whose coordinates are pixels: x the column, y the row, corners whole.
        box: ``(top, left, bottom, right)`` of the pixels that are asked for.

    Returns:
        float64 (bottom - top, right - left), 0 to 1. The sum over all pixels is the polygon's area.

    Example:
        >>> import shapely
        >>> pixel_cover(shapely.box(0.5, 0, 2, 1), (0, 0, 1, 3)).tolist()
        [[0.5, 1.0, 0.0]]
    """
    top, left, bottom, right = box
    height, width = bottom - top, right - left
    x0, y0, x1, y1 = _within_rows(_edges(polygon, top, left), height)
    near = (x0 < width) | (x1 < width)
    x0, y0, x1, y1 = x0[near], y0[near], x1[near], y1[near]
    edge, at = _cuts(x0, y0, x1, y1, width)
    one = edge[:-1] == edge[1:]
    owner, start, end = edge[:-1][one], at[:-1][one], at[1:][one]
    middle = (start + end) / 2
    down = (y1 - y0)[owner] * (end - start)
    x = x0[owner] + (x1 - x0)[owner] * middle
    row = np.clip(np.floor(y0[owner] + (y1 - y0)[owner] * middle), 0, height - 1).astype(np.int64)
    # What lies to the left of the box covers its rows from their first pixel on.
    x = np.maximum(x, 0.0)
    inside = x < width
    row, x, down = row[inside], x[inside], down[inside]
    column = np.floor(x).astype(np.int64)
    place = row * (width + 1) + column
    size = height * (width + 1)
    summed = np.bincount(place, down * (column + 1 - x), minlength=size)
    summed += np.bincount(place + 1, down * (x - column), minlength=size)
    cover = np.abs(summed.reshape(height, width + 1).cumsum(1)[:, :width])
    cover[cover < _NOTHING] = 0.0
    found: Doubles = np.minimum(cover, 1.0)
    return found


def _edges(polygon: Any, top: int, left: int) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    """Ends of all edges, shells one way round and holes the other."""
    import shapely

    rings = shapely.get_rings(shapely.get_parts(shapely.orient_polygons(polygon)))
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    same = ring[:-1] == ring[1:]
    start, end = xy[:-1][same] - (left, top), xy[1:][same] - (left, top)
    return start[:, 0], start[:, 1], end[:, 0], end[:, 1]


def _within_rows(
    edges: tuple[Doubles, Doubles, Doubles, Doubles], height: int
) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    """Edges cut off above and below; those that run along a row add nothing and are gone."""
    x0, y0, x1, y1 = edges
    keep = (y0 != y1) & (np.minimum(y0, y1) < height) & (np.maximum(y0, y1) > 0)
    x0, y0, x1, y1 = x0[keep], y0[keep], x1[keep], y1[keep]
    low, high = np.clip(y0, 0, height), np.clip(y1, 0, height)
    slope = (x1 - x0) / (y1 - y0)
    return x0 + slope * (low - y0), low, x0 + slope * (high - y0), high


def _cuts(x0: Doubles, y0: Doubles, x1: Doubles, y1: Doubles, width: int) -> tuple[NDArray[np.int64], Doubles]:
    """Where each edge begins, crosses a line between pixels, and ends: number of the edge, and 0 to 1 along it, in order."""
    numbers = np.arange(len(x0))
    parts = [(numbers, np.zeros(len(x0))), (numbers, np.ones(len(x0)))]
    for a, b, most in ((y0, y1, None), (x0, x1, width)):
        low, high = np.minimum(a, b), np.maximum(a, b)
        # Beside the box nothing depends on the column.
        first = np.floor(low) + 1 if most is None else np.maximum(np.floor(low) + 1, 0)
        last = np.ceil(high) - 1 if most is None else np.minimum(np.ceil(high) - 1, most)
        count = np.maximum(last - first + 1, 0).astype(np.int64)
        edge = np.repeat(numbers, count)
        step = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
        with np.errstate(invalid="ignore", divide="ignore"):
            parts.append((edge, (first[edge] + step - a[edge]) / (b - a)[edge]))
    edge = np.concatenate([one for one, _ in parts])
    at = np.clip(np.concatenate([one for _, one in parts]), 0.0, 1.0)
    order = np.lexsort((at, edge))
    return edge[order], at[order]
