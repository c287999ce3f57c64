"""The grid a browser map is drawn on.

Web maps are drawn in Web Mercator (EPSG:3857). Placing a UTM square there by its corner coordinates is wrong by up to
42 pixels at 52 N (docs/spec/streamlit.md section 5), so a scene gets one nearest-neighbour table from display pixels to scene
pixels, made once; showing any array is then one ``take``. Grids without a place on Earth, or that Web Mercator cannot
hold (poles, antimeridian), are shown as plain pixels: x = column, y = -row. Coordinates go both ways through pyproj,
exactly; the table serves pictures only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tessera_core.grid import Grid, transformer
from tessera_core.types import BBox, Doubles

MERCATOR = "EPSG:3857"
# Half the width of the Web Mercator world, metres; coordinates beyond it mean a pole or a wrapped antimeridian.
WORLD = 20_037_508.342789244
# Nodes of the table lie at most so many pixels of the display apart, and so many of the scene's.
NODE_STEP = 32
NODE_GROUND = 128
MAX_PIXELS = 4_000_000
# More along one side no browser shows as one picture, and the table of a strip would grow with the square of its length.
MAX_SIDE = 8192
VIEW_PIXELS = 1_500_000


@dataclass(frozen=True)
class DisplayView:
    """What a screen shows of a display.

    Attributes:
        bounds: ``(west, south, east, north)`` in the frame's units.
        shape: ``(height, width)``.
        index: int32 (height, width) flat scene pixel under each pixel of it, ``outside`` where there is none.
        outside: number of pixels of the scene.
    """

    bounds: BBox
    shape: tuple[int, int]
    index: NDArray[np.int32] = field(repr=False, compare=False)
    outside: int

    @property
    def step(self) -> float:
        """Width of one of its pixels, in the frame's units."""
        return (self.bounds[2] - self.bounds[0]) / self.shape[1]

    def take(self, array: NDArray[Any], fill: int | float = 0) -> NDArray[Any]:
        """A scene array (H, W) or (H, W, C) as seen here: (height, width[, C]), ``fill`` off the scene."""
        seen = np.take(array.reshape(-1, *array.shape[2:]), self.index, axis=0, mode="clip")
        seen[self.index == self.outside] = fill
        return seen


@dataclass(frozen=True)
class DisplayGrid:
    """How a scene lies on the screen's map.

    Attributes:
        grid: the scene's grid.
        max_pixels: a display picture has at most about this many pixels, and :data:`MAX_SIDE` along a side; larger scenes are
            shown thinned.
        frame: ``"mercator"`` (x, y in EPSG:3857 metres) or ``"pixel"`` (x = column, y = -row of the scene).
        shape: ``(height, width)`` of a display picture.
        bounds: ``(west, south, east, north)`` of a display picture in the frame's units.
        index: int32 (height, width) flat scene pixel under each display pixel, H*W where there is none.
        pixel_size: length of one scene pixel at the scene's centre, in the frame's units.
    """

    grid: Grid
    max_pixels: int = MAX_PIXELS
    frame: str = field(init=False)
    shape: tuple[int, int] = field(init=False)
    bounds: BBox = field(init=False)
    index: NDArray[np.int32] = field(init=False, repr=False, compare=False)
    pixel_size: float = field(init=False)

    def __post_init__(self) -> None:
        frame, size = "mercator" if _fits_mercator(self.grid) else "pixel", 1.0
        object.__setattr__(self, "frame", frame)
        if frame == "mercator" and not 0 < (size := self._centre_pixel_size()) < np.inf:
            # So far from where its coordinate system holds that its pixels are points.
            frame, size = "pixel", 1.0
            object.__setattr__(self, "frame", frame)
        height, width = self.grid.shape
        if frame == "pixel":
            step = max(1.0, (height * width / self.max_pixels) ** 0.5, max(height, width) / MAX_SIDE)
            shape = (max(1, round(height / step)), max(1, round(width / step)))
            bounds = (0.0, -float(height), float(width), 0.0)
        else:
            west, south, east, north = self._outline()
            step = max(
                size,
                ((east - west) * (north - south) / self.max_pixels) ** 0.5,
                max(east - west, north - south) / MAX_SIDE,
            )
            shape = (max(1, int(np.ceil((north - south) / step))), max(1, int(np.ceil((east - west) / step))))
            # Whole display pixels, so that the picture is not stretched by a fraction of one.
            bounds = (west, north - shape[0] * step, west + shape[1] * step, north)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "bounds", bounds)
        object.__setattr__(self, "pixel_size", float(size))
        object.__setattr__(self, "index", self._table(bounds, shape))

    def to_grid(self, x: ArrayLike, y: ArrayLike) -> tuple[Doubles, Doubles]:
        """Coordinates in the scene grid's CRS of display coordinates; not finite where the CRS cannot hold them."""
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        if self.frame == "pixel":
            return self.grid.pixel_to_xy(-y, x)
        assert self.grid.crs is not None
        gx, gy = transformer(MERCATOR, self.grid.crs).transform(x, y)
        return np.asarray(gx, np.float64), np.asarray(gy, np.float64)

    def from_grid(self, x: ArrayLike, y: ArrayLike) -> tuple[Doubles, Doubles]:
        """Display coordinates of coordinates in the scene grid's CRS."""
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        if self.frame == "pixel":
            rows, cols = self.grid.xy_to_pixel(x, y)
            return cols, -rows
        assert self.grid.crs is not None
        dx, dy = transformer(self.grid.crs, MERCATOR).transform(x, y)
        return np.asarray(dx, np.float64), np.asarray(dy, np.float64)

    def to_pixel(self, x: ArrayLike, y: ArrayLike) -> tuple[Doubles, Doubles]:
        """Fractional scene ``(rows, cols)`` of display coordinates; may lie off the scene."""
        return self.grid.xy_to_pixel(*self.to_grid(x, y))

    def from_pixel(self, rows: ArrayLike, cols: ArrayLike) -> tuple[Doubles, Doubles]:
        """Display coordinates of fractional scene pixel coordinates."""
        return self.from_grid(*self.grid.pixel_to_xy(rows, cols))

    def warp(self, array: NDArray[Any], fill: int | float = 0) -> NDArray[Any]:
        """A scene array (H, W) or (H, W, C) as seen on the display: (height, width[, C]), ``fill`` off the scene."""
        height, width = self.grid.shape
        if array.shape[:2] != (height, width):
            raise ValueError(f"The array is {array.shape[:2]}, the scene {self.grid.shape}")
        flat = np.empty((height * width + 1, *array.shape[2:]), array.dtype)
        flat[:-1] = array.reshape(height * width, *array.shape[2:])
        flat[-1] = fill
        # mode="clip" lets numpy write straight into the result; every index is in range anyway.
        return np.take(flat, self.index, axis=0, mode="clip")

    def view(self, bounds: BBox, size: tuple[int, int], max_pixels: int = VIEW_PIXELS) -> DisplayView:
        """A part of the display, as finely as a screen shows it and the scene knows it.

        Args:
            bounds: ``(west, south, east, north)`` in the frame's units; cut to the display.
            size: ``(height, width)`` of the same on the screen, in its pixels.
            max_pixels: the view has at most about this many pixels; larger ones are thinned.
        """
        most_west, most_south, most_east, most_north = self.bounds
        asked_height, asked_width = max(1, size[0]), max(1, size[1])
        step = max(self.pixel_size, (bounds[2] - bounds[0]) / asked_width, (bounds[3] - bounds[1]) / asked_height)
        west, east = (min(max(x, most_west), most_east) for x in (bounds[0], bounds[2]))
        south, north = (min(max(y, most_south), most_north) for y in (bounds[1], bounds[3]))
        step = max(step, ((east - west) * (north - south) / max_pixels) ** 0.5)
        step = max(step, max(east - west, north - south) / MAX_SIDE)
        # On one lattice whatever part is asked for, so that ground does not swim under a map that is moved.
        left, right = _outwards((west - most_west) / step, (east - most_west) / step)
        top, bottom = _outwards((most_north - north) / step, (most_north - south) / step)
        shape = (max(1, bottom - top), max(1, right - left))
        west, north = most_west + left * step, most_north - top * step
        found = (west, north - shape[0] * step, west + shape[1] * step, north)
        return DisplayView(found, shape, self._table(found, shape), self.grid.height * self.grid.width)

    @property
    def bounds_lonlat(self) -> BBox:
        """``(west, south, east, north)`` of a display picture in degrees (``"mercator"`` frame only).

        Raises:
            GridError: the scene has no place on Earth.
        """
        if self.frame == "pixel":
            return self.grid.bounds_lonlat
        lon, lat = transformer(MERCATOR, "EPSG:4326").transform(self.bounds[0::2], self.bounds[1::2])
        return float(lon[0]), float(lat[0]), float(lon[1]), float(lat[1])

    def _outline(self) -> BBox:
        """Bounds of the scene's edge, every edge densified because it is curved on the display."""
        x, y = _edge(self.grid)
        return float(x.min()), float(y.min()), float(x.max()), float(y.max())

    def _centre_pixel_size(self) -> float:
        row, col = self.grid.height / 2, self.grid.width / 2
        x, y = self.from_pixel([row, row, row + 1], [col, col + 1, col])
        across = np.hypot(x[1:] - x[0], y[1:] - y[0])
        return float(across.min())

    def _table(self, bounds: BBox, shape: tuple[int, int]) -> NDArray[np.int32]:
        """Flat scene pixels under the display pixels of a part of the frame, H*W where there is none; read-only."""
        height, width = self.grid.shape
        west, south, east, north = bounds
        xs = west + (np.arange(shape[1]) + 0.5) * (east - west) / shape[1]
        ys = north - (np.arange(shape[0]) + 0.5) * (north - south) / shape[0]
        if self.frame == "pixel":
            across, down = np.floor(xs), np.floor(-ys)
            inside = ((down >= 0) & (down < height))[:, None] & ((across >= 0) & (across < width))
            index = np.where(inside, down[:, None] * width + across, height * width).astype(np.int32)
        else:
            # The map is so smooth that exact values at nodes and straight lines between them are right to hundredths
            # of a pixel, and hundreds of times quicker than transforming each pixel.
            node_x, weights_x = _nodes(xs, NODE_GROUND * self.pixel_size)
            node_y, weights_y = _nodes(ys, NODE_GROUND * self.pixel_size)
            rows_at, cols_at = self.to_pixel(*np.meshgrid(node_x, node_y))
            rows = np.floor(weights_y @ rows_at @ weights_x.T)
            cols = np.floor(weights_y @ cols_at @ weights_x.T)
            inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
            index = np.where(inside, rows * width + cols, height * width).astype(np.int32)
        index.flags.writeable = False
        return index


def _outwards(low: float, high: float) -> tuple[int, int]:
    """The whole numbers around an interval; what is whole but for rounding stays."""
    return int(np.floor(low + 1e-6)), int(np.ceil(high - 1e-6))


def _edge(grid: Grid) -> tuple[Doubles, Doubles]:
    steps = np.linspace(0, 1, 21)
    rows = np.concatenate([steps * 0, steps * 0 + 1, steps, steps]) * grid.height
    cols = np.concatenate([steps, steps, steps * 0, steps * 0 + 1]) * grid.width
    assert grid.crs is not None
    x, y = transformer(grid.crs, MERCATOR).transform(*grid.pixel_to_xy(rows, cols))
    return np.asarray(x, np.float64), np.asarray(y, np.float64)


def _fits_mercator(grid: Grid) -> bool:
    if grid.crs is None:
        return False
    x, y = _edge(grid)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return False
    return bool(np.abs(y).max() < WORLD and np.abs(x).max() <= WORLD and 0 < np.ptp(x) < WORLD and np.ptp(y) > 0)


def _nodes(values: Doubles, apart: float) -> tuple[Doubles, Doubles]:
    """Evenly spaced nodes over ``values`` (sorted, even) and the (len(values), nodes) linear interpolation weights.

    Nodes lie at most ``NODE_STEP`` values and the length ``apart`` from each other: of a thinned view the values
    themselves lie far apart on the ground, where a straight line is no longer right.
    """
    needed = int(np.ceil(abs(values[-1] - values[0]) / apart)) + 1
    count = max(2, len(values) // NODE_STEP + 1, min(len(values), needed))
    nodes = np.linspace(values[0], values[-1], count)
    position = np.linspace(0, count - 1, len(values)) if len(values) > 1 else np.zeros(1)
    left = np.minimum(position.astype(np.intp), count - 2)
    weights = np.zeros((len(values), count))
    weights[np.arange(len(values)), left] = 1 - (position - left)
    weights[np.arange(len(values)), left + 1] = position - left
    return nodes, weights
