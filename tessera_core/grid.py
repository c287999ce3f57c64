"""The grid under a raster: coordinate reference system, transform and shape.

Three frames meet here. *Pixel* coordinates are fractional ``(row, col)`` with the origin at the top-left corner of the
raster, so the centre of the first pixel is (0.5, 0.5). *Projected* coordinates are ``(x, y)`` in the units of the grid's
CRS (metres in UTM). *Geographic* coordinates are ``(lon, lat)`` in degrees on WGS 84. Embeddings are never resampled by
anything in this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import ArrayLike, NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from tessera_core.errors import GridError
from tessera_core.types import BBox, Doubles


@lru_cache(maxsize=64)
def transformer(source: str, target: str) -> Transformer:
    """Cached pyproj transformer between two CRSs, always x/lon first."""
    return Transformer.from_crs(source, target, always_xy=True)


def utm_crs(lon: float, lat: float) -> str:
    """EPSG code of the UTM zone of a place, e.g. ``"EPSG:32631"``, with the Norway and Svalbard exceptions.

    Raises:
        GridError: the place lies outside UTM's range (80 S to 84 N) or is no place on Earth.
    """
    if not (-180 <= lon <= 180 and -80 <= lat <= 84):
        raise GridError(
            f"Longitude {lon:g}, latitude {lat:g} lies outside the UTM zones (80 S to 84 N); "
            "choose a place between them, and check that longitude and latitude are not swapped."
        )
    zone = min(int((lon + 180) // 6) + 1, 60)
    if 56 <= lat < 64 and 3 <= lon < 12:
        zone = 32
    elif lat >= 72 and 0 <= lon < 42:
        zone = 31 if lon < 9 else 33 if lon < 21 else 35 if lon < 33 else 37
    return f"EPSG:{32600 + zone if lat >= 0 else 32700 + zone}"


def one_side(lon: NDArray[np.float64]) -> NDArray[np.float64]:
    """Longitudes of one area that is no half turn wide, up to 180 or from -180 on, whichever side most of them are on.

    Example:
        >>> one_side(np.array([179.8, 180.0, -179.9])).tolist()
        [179.8, 180.0, 180.0]
    """
    if not lon.size or lon.max() - lon.min() <= 180:
        return lon
    west = np.count_nonzero(lon < 0) * 2 > lon.size
    return np.where((lon < 0) == west, lon, -180.0 if west else 180.0)


def _crs_text(crs: Any) -> str:
    """``"EPSG:n"`` of a coordinate system, its WKT where it has no such number.

    Raises:
        GridError: it is not known.
    """
    try:
        found = CRS.from_user_input(crs)
    except CRSError as error:
        raise GridError(f"The coordinate reference system {str(crs)[:60]!r} is not known.") from error
    code = found.to_epsg()
    return f"EPSG:{code}" if code else str(found.to_wkt())


_known_crs = lru_cache(maxsize=256)(_crs_text)


@dataclass(frozen=True)
class Grid:
    """An axis-aligned raster grid.

    Attributes:
        crs: ``"EPSG:n"`` or WKT; None for a *local* grid whose place on Earth is unknown (pixels as coordinates).
        transform: affine map from pixel corners ``(col, row)`` to ``(x, y)``.
        shape: ``(height, width)`` in pixels.
    """

    crs: str | None
    transform: Affine
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        height, width = (int(n) for n in self.shape)
        if height <= 0 or width <= 0:
            raise GridError(f"A raster needs at least one pixel, this one is {height} x {width}.")
        object.__setattr__(self, "shape", (height, width))
        if self.transform.is_degenerate or not np.isfinite(list(self.transform)).all():
            raise GridError("The raster's geotransform has no area; its georeference is damaged.")
        if self.crs is not None:
            # Of a thousand tiles most lie in one system; a damaged file may hold anything.
            found = _known_crs(self.crs) if isinstance(self.crs, str) else _crs_text(self.crs)
            object.__setattr__(self, "crs", found)

    @classmethod
    def local(cls, shape: tuple[int, int]) -> Grid:
        """A grid without a place on Earth: x = col, y = -row."""
        return cls(None, Affine(1, 0, 0, 0, -1, 0), shape)

    @property
    def georeferenced(self) -> bool:
        """Whether the grid's place on Earth is known."""
        return self.crs is not None

    @property
    def height(self) -> int:
        """Rows."""
        return self.shape[0]

    @property
    def width(self) -> int:
        """Columns."""
        return self.shape[1]

    @property
    def bounds(self) -> BBox:
        """``(west, south, east, north)`` in the grid's CRS."""
        x, y = self.pixel_to_xy([0, 0, self.height, self.height], [0, self.width, 0, self.width])
        return float(x.min()), float(y.min()), float(x.max()), float(y.max())

    @property
    def pixel_area_m2(self) -> float:
        """Area of one pixel in square metres (at the grid's centre for geographic CRSs); NaN for a local grid."""
        if self.crs is None:
            return float("nan")
        crs = CRS.from_user_input(self.crs)
        area = abs(self.transform.determinant)
        if crs.is_projected:
            return area * crs.axis_info[0].unit_conversion_factor ** 2
        lat = self.transform.f + self.transform.e * self.height / 2
        return area * 111_320.0**2 * float(np.cos(np.radians(lat)))

    def pixel_to_xy(self, rows: ArrayLike, cols: ArrayLike) -> tuple[Doubles, Doubles]:
        """Projected coordinates of fractional pixel coordinates."""
        rows, cols = np.asarray(rows, np.float64), np.asarray(cols, np.float64)
        t = self.transform
        return t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f

    def xy_to_pixel(self, x: ArrayLike, y: ArrayLike) -> tuple[Doubles, Doubles]:
        """Fractional ``(rows, cols)`` of projected coordinates; may lie outside the grid."""
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        t = ~self.transform
        return t.d * x + t.e * y + t.f, t.a * x + t.b * y + t.c

    def pixel_to_lonlat(self, rows: ArrayLike, cols: ArrayLike) -> tuple[Doubles, Doubles]:
        """Longitudes and latitudes in degrees of fractional pixel coordinates.

        Raises:
            GridError: the grid is local.
        """
        return self._transform("EPSG:4326", True, *self.pixel_to_xy(rows, cols))

    def lonlat_to_pixel(self, lon: ArrayLike, lat: ArrayLike) -> tuple[Doubles, Doubles]:
        """Fractional ``(rows, cols)`` of places; not finite where the CRS cannot hold the place.

        Raises:
            GridError: the grid is local.
        """
        x, y = self._transform("EPSG:4326", False, np.asarray(lon, np.float64), np.asarray(lat, np.float64))
        with np.errstate(invalid="ignore"):
            return self.xy_to_pixel(x, y)

    def _transform(self, other: str, forward: bool, x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
        if self.crs is None:
            raise GridError("This raster has no georeference, so its pixels have no place on Earth.")
        source, target = (self.crs, other) if forward else (other, self.crs)
        out_x, out_y = transformer(source, target).transform(x, y)
        return np.asarray(out_x, np.float64), np.asarray(out_y, np.float64)

    @property
    def bounds_lonlat(self) -> BBox:
        """Geographic bounding box ``(west, south, east, north)``, edges densified; on one side of the 180th meridian."""
        steps = np.linspace(0, 1, 21)
        rows = np.concatenate([steps * 0, steps * 0 + 1, steps, steps]) * self.height
        cols = np.concatenate([steps, steps, steps * 0, steps * 0 + 1]) * self.width
        lon, lat = self.pixel_to_lonlat(rows, cols)
        lon = one_side(lon)
        return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())

    def inside(self, rows: ArrayLike, cols: ArrayLike) -> NDArray[np.bool_]:
        """Whether fractional pixel coordinates fall on the grid."""
        rows, cols = np.asarray(rows, np.float64), np.asarray(cols, np.float64)
        return (rows >= 0) & (rows < self.height) & (cols >= 0) & (cols < self.width)

    def window(self, row: int, col: int, height: int, width: int) -> Grid:
        """The grid of a sub-rectangle whose top-left pixel is ``(row, col)``."""
        t = self.transform
        x, y = t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f
        return Grid(self.crs, Affine(t.a, t.b, x, t.d, t.e, y), (height, width))

    def to_json(self) -> dict[str, Any]:
        """JSON object: ``crs``, ``transform`` (six numbers, row-major) and ``shape``."""
        return {"crs": self.crs, "transform": list(self.transform)[:6], "shape": list(self.shape)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Grid:
        """The inverse of :meth:`to_json`.

        Raises:
            GridError: a field is missing or wrong.
        """
        try:
            height, width = value["shape"]
            return cls(value["crs"], Affine(*value["transform"]), (int(height), int(width)))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise GridError("The grid description is incomplete: it needs crs, transform and shape.") from error
