"""The region a person asks for: a box or a file of polygons, and the UTM grid that covers it.

The single gate for user geography: the command line and the app share it. Geometry is geographic, ``(lon, lat)`` in degrees.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from tessera_core.errors import GridError, InputError
from tessera_core.grid import BBox, Grid, transformer, utm_crs

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

RESOLUTION_M = 10.0


@dataclass(frozen=True)
class Region:
    """An area on Earth.

    Attributes:
        geometry: shapely Polygon or MultiPolygon in degrees.
        name: for people and file names.
    """

    geometry: BaseGeometry
    name: str = "region"

    @property
    def bbox(self) -> BBox:
        """``(west, south, east, north)`` in degrees."""
        west, south, east, north = self.geometry.bounds
        return float(west), float(south), float(east), float(north)

    def grid(self, resolution_m: float = RESOLUTION_M) -> Grid:
        """The grid in the UTM zone of the region's centre that covers it, snapped to whole pixels.

        Raises:
            GridError: the region lies outside UTM's range.
        """
        centre = self.geometry.centroid
        crs = utm_crs(centre.x, centre.y)
        west, south, east, north = self._projected(crs).bounds
        x0, y1 = np.floor(west / resolution_m) * resolution_m, np.ceil(north / resolution_m) * resolution_m
        width = max(1, int(np.ceil((east - x0) / resolution_m)))
        height = max(1, int(np.ceil((y1 - south) / resolution_m)))
        return Grid(crs, Affine(resolution_m, 0, float(x0), 0, -resolution_m, float(y1)), (height, width))

    def mask(self, grid: Grid) -> NDArray[np.bool_]:
        """bool (H, W): which pixel centres of a georeferenced grid lie inside the region.

        Raises:
            GridError: the grid is local.
        """
        from rasterio.features import geometry_mask

        if grid.crs is None:
            raise GridError("A grid without georeference has no region on Earth.")
        inside = geometry_mask([self._projected(grid.crs)], grid.shape, grid.transform, invert=True)
        return np.asarray(inside, bool)

    def _projected(self, crs: str) -> Any:
        import shapely

        # Long edges are straight in degrees, not in metres.
        dense = shapely.segmentize(self.geometry, 0.01)
        project = transformer("EPSG:4326", crs)

        def to_xy(points: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.column_stack(project.transform(points[:, 0], points[:, 1]))

        return shapely.transform(dense, to_xy)


def parse_bbox(text: str) -> Region:
    """A region from ``"west,south,east,north"`` in degrees.

    Raises:
        InputError: not four numbers, not on Earth, no area, or probably with latitude and longitude swapped.
    """
    from shapely.geometry import box

    try:
        west, south, east, north = (float(part) for part in text.replace(";", ",").split(","))
    except ValueError as error:
        raise InputError(
            f"{text!r} is not a box; write west,south,east,north in degrees, such as 0.05,52.18,0.20,52.25."
        ) from error
    if not all(np.isfinite([west, south, east, north])):
        raise InputError(f"{text!r} is not a box; all four numbers must be finite.")
    if abs(south) > 90 or abs(north) > 90:
        hint = ""
        if abs(west) <= 90 and abs(east) <= 90:
            hint = f" Are longitude and latitude swapped? Then write {south:g},{west:g},{north:g},{east:g}."
        raise InputError(f"Latitudes run from -90 to 90, but the box has {south:g} and {north:g}.{hint}")
    if abs(west) > 180 or abs(east) > 180:
        raise InputError(f"Longitudes run from -180 to 180, but the box has {west:g} and {east:g}.")
    if west >= east:
        raise InputError(
            f"West ({west:g}) must be smaller than east ({east:g}); a box over the 180th meridian must be given as two boxes."
        )
    if south >= north:
        raise InputError(f"South ({south:g}) must be smaller than north ({north:g}).")
    return Region(box(west, south, east, north), f"{west:.4f}_{south:.4f}_{east:.4f}_{north:.4f}")


def read_region(path: str | Path) -> Region:
    """A region from the polygons of a GeoJSON, GeoPackage, KML or (zipped) Shapefile in any CRS.

    Raises:
        InputError: the file is missing, not readable, or holds no polygon.
    """
    import pyogrio.raw
    import shapely
    from pyogrio.errors import DataLayerError, DataSourceError

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a GeoJSON, GeoPackage, KML or zipped Shapefile with polygons.")
    try:
        meta, _, wkb, _ = pyogrio.raw.read(path, columns=[])
    except (DataSourceError, DataLayerError, ValueError) as error:
        raise InputError(f"{path.name} is not a readable GeoJSON, GeoPackage, KML or zipped Shapefile.") from error
    shapes = [shapely.make_valid(shape) for shape in shapely.from_wkb(wkb) if shape is not None]
    union = shapely.union_all([shape for shape in shapes if shape.area > 0])
    polygons = [part for part in getattr(union, "geoms", [union]) if part.geom_type in ("Polygon", "MultiPolygon")]
    if not polygons:
        raise InputError(f"{path.name} holds no polygon; a region is an area, so draw one.")
    geometry = shapely.union_all(polygons)
    crs = meta.get("crs")
    if crs and str(crs) not in ("EPSG:4326", "OGC:CRS84"):
        project = transformer(str(crs), "EPSG:4326")
        geometry = shapely.transform(geometry, lambda p: np.column_stack(project.transform(p[:, 0], p[:, 1])))
    west, south, east, north = geometry.bounds
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise InputError(f"The polygons of {path.name} do not lie on Earth in degrees; save them with their CRS.")
    return Region(geometry, path.stem)
