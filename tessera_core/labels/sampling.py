"""The pixels that labels cover.

A point covers its pixel; a stroke the pixels whose centre lies within its radius, and in any case those it runs through; a
polygon the pixels whose centre lies inside, and in any case one. Where labels overlap the later one wins, and an erase
stroke un-labels (painter's algorithm). Pixels off the grid do not count.

The pixels of a label are computed once per grid, and one more label at the end of a known list is painted on the known result, so
that the cost of a click does not grow with the labels before it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tessera_core.grid import Grid
from tessera_core.labels.model import XY, Label

_GRIDS_KEPT = 4
_RESULTS_KEPT = 8
_BULK = 4

Flat = NDArray[np.int64]


class LabelPixels(NamedTuple):
    """Labelled pixels in row-major order, each once.

    Attributes:
        rows, cols: int32 (N,) pixel indices.
        class_ids: uint8 (N,), 1..254.
        label_index: int32 (N,), which label of the list the pixel belongs to: the group to hold out together.
    """

    rows: NDArray[np.int32]
    cols: NDArray[np.int32]
    class_ids: NDArray[np.uint8]
    label_index: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class _Painted:
    labels: tuple[Label, ...]
    flat: Flat
    index: NDArray[np.int32]


class _GridCache:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pixels: dict[str, tuple[Label, Flat]] = {}
        self.results: list[_Painted] = []


_caches: OrderedDict[Grid, _GridCache] = OrderedDict()
_caches_lock = threading.Lock()


def label_pixels(labels: Sequence[Label], grid: Grid) -> LabelPixels:
    """The pixels of ``labels`` (painting order) on ``grid``, each with its class and label.

    Args:
        labels: coordinates in the CRS of ``grid``.
        grid: any grid, local ones included.

    Returns:
        Pixels in row-major order, deterministic; empty arrays where no label meets the grid.
    """
    cache = _cache_of(grid)
    with cache.lock:
        painted = _paint(tuple(labels), grid, cache)
    class_of = np.fromiter((label.class_id for label in labels), np.uint8, len(labels))
    rows, cols = np.divmod(painted.flat, grid.width)
    class_ids = class_of[painted.index] if len(labels) else np.zeros(0, np.uint8)
    return LabelPixels(rows.astype(np.int32), cols.astype(np.int32), class_ids, painted.index)


def pixels_of_each(labels: Sequence[Label], grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pixels of each label, whatever covers them: row-major numbers, int64 (N,), and the index of the label, int64 (N,)."""
    cache = _cache_of(grid)
    with cache.lock:
        return _pieces(labels, grid, cache)


def _pieces(labels: Sequence[Label], grid: Grid, cache: _GridCache) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    points = np.array([n for n, label in enumerate(labels) if label.kind == "point"], np.int64)
    pieces: list[Flat] = [np.zeros(0, np.int64)]
    owners: list[Flat] = [np.zeros(0, np.int64)]
    if len(points):
        # Points, of which there may be a million, are placed all at once.
        x, y = np.array([labels[n].xy[0] for n in points.tolist()], np.float64).T
        rows, cols = grid.xy_to_pixel(x, y)
        inside = grid.inside(rows, cols)
        pieces.append(np.floor(rows[inside]).astype(np.int64) * grid.width + np.floor(cols[inside]).astype(np.int64))
        owners.append(points[inside])
    for n, label in enumerate(labels):
        if label.kind != "point":
            piece = _cached(label, grid, cache)
            pieces.append(piece)
            owners.append(np.full(len(piece), n, np.int64))
    return np.concatenate(pieces), np.concatenate(owners)


def rasterise(labels: Sequence[Label], grid: Grid) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Labels as rasters.

    Returns:
        classes: uint8 (H, W), 0 = unlabelled.
        groups: int32 (H, W), 0 = unlabelled, else 1 + the index of the label.
    """
    pixels = label_pixels(labels, grid)
    classes, groups = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.int32)
    classes[pixels.rows, pixels.cols] = pixels.class_ids
    groups[pixels.rows, pixels.cols] = pixels.label_index + 1
    return classes, groups


def in_order_of_place(groups: NDArray[Any]) -> NDArray[np.int64]:
    """Groups (N,) numbered from 0 in the order of their first pixels."""
    _, first, number = np.unique(groups, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[number]


def _cache_of(grid: Grid) -> _GridCache:
    with _caches_lock:
        cache = _caches.setdefault(grid, _GridCache())
        _caches.move_to_end(grid)
        while len(_caches) > _GRIDS_KEPT:
            _caches.popitem(last=False)
    return cache


def _paint(labels: tuple[Label, ...], grid: Grid, cache: _GridCache) -> _Painted:
    known = _Painted((), np.zeros(0, np.int64), np.zeros(0, np.int32))
    for result in cache.results:
        n = len(result.labels)
        if len(known.labels) < n <= len(labels) and _same(result.labels, labels):
            known = result
    todo = labels[len(known.labels) :]
    flat, index = known.flat, known.index
    if len(todo) > _BULK:
        flat, index = _last_wins(flat, index, *_pieces(todo, grid, cache), len(known.labels))
        erased = np.fromiter((label.kind == "erase" for label in labels), np.bool_, len(labels))
        keep = ~erased[index]
        flat, index = flat[keep], index[keep]
    else:
        for number, label in enumerate(todo, len(known.labels)):
            flat, index = _cover(flat, index, _cached(label, grid, cache), None if label.kind == "erase" else number)
    for array in (flat, index):
        array.flags.writeable = False
    painted = _Painted(labels, flat, index)
    cache.results = [painted, *(r for r in cache.results if r is not known or todo)][:_RESULTS_KEPT]
    if len(cache.pixels) > 2 * len(labels) + 1000:
        kept = {label.id for label in labels}
        cache.pixels = {id_: value for id_, value in cache.pixels.items() if id_ in kept}
    return painted


def _same(known: tuple[Label, ...], labels: tuple[Label, ...]) -> bool:
    return all(a is b or a == b for a, b in zip(known, labels, strict=False))


def _last_wins(
    flat: Flat, index: NDArray[np.int32], new: Flat, owners: Flat, offset: int
) -> tuple[Flat, NDArray[np.int32]]:
    """Paint the pixels of many labels, which ``owners`` counts from ``offset``, over known ones; a pixel's latest label stays."""
    all_flat = np.concatenate([flat, new])
    all_index = np.concatenate([index, (owners + offset).astype(np.int32)])
    order = np.lexsort((all_index, all_flat))
    last = np.append(np.diff(all_flat[order]) != 0, True) if len(order) else np.zeros(0, bool)
    return all_flat[order][last], all_index[order][last]


def _cover(flat: Flat, index: NDArray[np.int32], piece: Flat, number: int | None) -> tuple[Flat, NDArray[np.int32]]:
    """Paint one label (sorted pixels) over sorted known ones without sorting all again."""
    place = np.searchsorted(flat, piece)
    hit = np.zeros(len(piece), np.bool_)
    inside = place < len(flat)
    hit[inside] = flat[place[inside]] == piece[inside]
    if number is None:
        return np.delete(flat, place[hit]), np.delete(index, place[hit])
    index = index.copy()
    index[place[hit]] = number
    return np.insert(flat, place[~hit], piece[~hit]), np.insert(index, place[~hit], number)


def _cached(label: Label, grid: Grid, cache: _GridCache) -> Flat:
    known = cache.pixels.get(label.id)
    if known is not None:
        before, flat = known
        if before is label or (before.kind, before.xy, before.radius, before.holes) == (
            label.kind,
            label.xy,
            label.radius,
            label.holes,
        ):
            return flat
    flat = geometry_pixels(label, grid)
    cache.pixels[label.id] = (label, flat)
    return flat


def geometry_pixels(label: Label, grid: Grid) -> NDArray[np.int64]:
    """Sorted flat indices (``row * width + col``) of the pixels one label covers, regardless of other labels."""
    if label.kind == "point":
        return _under(label.xy, grid)
    if label.kind in ("brush", "erase"):
        return _stroke(label.xy, label.radius, grid)
    return _polygon(label.rings, grid)


def _under(xy: XY, grid: Grid) -> Flat:
    x, y = np.asarray(xy, np.float64).T
    return _flatten(*grid.xy_to_pixel(x, y), grid)


def _flatten(rows: NDArray[Any], cols: NDArray[Any], grid: Grid) -> Flat:
    inside = grid.inside(rows, cols)
    r, c = np.floor(rows[inside]).astype(np.int64), np.floor(cols[inside]).astype(np.int64)
    return np.unique(r * grid.width + c)


def _window(rows: NDArray[Any], cols: NDArray[Any], grid: Grid) -> tuple[int, int, int, int] | None:
    """Pixels ``(r0, r1, c0, c1)`` of the grid around fractional pixel coordinates, or None where they miss it."""
    low = np.clip([rows.min() - 1, cols.min() - 1], -1, None)
    high = np.clip([rows.max() + 1, cols.max() + 1], None, [grid.height + 1, grid.width + 1])
    r0, c0 = np.maximum(np.floor(low), 0).astype(int)
    r1, c1 = np.minimum(np.ceil(high), grid.shape).astype(int)
    return (r0, r1, c0, c1) if r0 < r1 and c0 < c1 else None


def _stroke(xy: XY, radius: float, grid: Grid) -> Flat:
    points = np.asarray(xy, np.float64)
    starts, ends = (points[:-1], points[1:]) if len(points) > 1 else (points, points)
    pieces = [_under(xy, grid)]
    for start, end in zip(starts, ends, strict=True):
        pieces.append(_capsule(start, end, radius, grid))
    return np.unique(np.concatenate(pieces))


def _capsule(start: NDArray[Any], end: NDArray[Any], radius: float, grid: Grid) -> Flat:
    """Pixels whose centre lies within ``radius`` of a segment, and those the segment runs through."""
    x = np.array([start[0], start[0], end[0], end[0]]) + np.array([-radius, radius, -radius, radius])
    y = np.array([start[1], start[1], end[1], end[1]]) + np.array([-radius, radius, radius, -radius])
    x, y = np.meshgrid([x.min(), x.max()], [y.min(), y.max()])
    box_rows, box_cols = grid.xy_to_pixel(x.ravel(), y.ravel())
    window = _window(box_rows, box_cols, grid)
    if window is None:
        return np.zeros(0, np.int64)
    r0, r1, c0, c1 = window
    rows, cols = np.mgrid[r0:r1, c0:c1]
    px, py = grid.pixel_to_xy(rows + 0.5, cols + 0.5)
    direction = end - start
    length2 = float(direction @ direction)
    along = (
        ((px - start[0]) * direction[0] + (py - start[1]) * direction[1]) / length2 if length2 else np.zeros_like(px)
    )
    along = np.clip(along, 0, 1)
    distance2 = (px - start[0] - along * direction[0]) ** 2 + (py - start[1] - along * direction[1]) ** 2
    # A hair of tolerance: a centre exactly on the rim belongs to the stroke whatever the rounding.
    hit = distance2 <= radius * radius * (1 + 1e-9)
    flat = (rows * grid.width + cols)[hit].astype(np.int64)
    return np.concatenate([flat, _run_through(start, end, grid)])


def _run_through(start: NDArray[Any], end: NDArray[Any], grid: Grid) -> Flat:
    (row0, row1), (col0, col1) = grid.xy_to_pixel([start[0], end[0]], [start[1], end[1]])
    span = max(abs(row1 - row0), abs(col1 - col0))
    # A stroke from far outside is sampled only as finely as the grid is large.
    steps = np.linspace(0, 1, int(min(4 * span, 8 * (grid.height + grid.width))) + 2)
    return _flatten(row0 + steps * (row1 - row0), col0 + steps * (col1 - col0), grid)


def _polygon(rings: tuple[XY, ...], grid: Grid) -> Flat:
    from rasterio.features import rasterize

    in_pixels = [np.stack(grid.xy_to_pixel(*np.asarray(ring, np.float64).T), axis=1) for ring in rings]
    window = _window(in_pixels[0][:, 0], in_pixels[0][:, 1], grid)
    if window is None:
        return np.zeros(0, np.int64)
    r0, r1, c0, c1 = window
    # Drawn in pixel coordinates of the window, x = col, y = row, so that any transform of the grid will do.
    shape = {
        "type": "Polygon",
        "coordinates": [[(col - c0, row - r0) for row, col in (*ring, ring[0])] for ring in in_pixels],
    }
    mask = rasterize([(shape, 1)], out_shape=(r1 - r0, c1 - c0), dtype="uint8")
    rows, cols = np.nonzero(mask)
    if len(rows) == 0:
        return _one_pixel(in_pixels, grid)
    found: Flat = (rows + r0).astype(np.int64) * grid.width + (cols + c0)
    return found


def _one_pixel(in_pixels: list[NDArray[Any]], grid: Grid) -> Flat:
    """The pixel under a polygon that is too small or thin to hold a pixel centre."""
    from shapely import Polygon, make_valid

    shape = make_valid(Polygon(in_pixels[0], in_pixels[1:]))
    place = shape.representative_point()
    return _flatten(np.array([place.x]), np.array([place.y]), grid)
