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


@dataclass(frozen=True)
class RegionReport:
    """What happened to a file that became a region, for people.

    Attributes:
        read: features in the file.
        used: features whose polygons are part of the region.
        mended: of those, invalid ones (crossing edges) that were made valid.
        holes: in the region.
        parts: separate pieces of the region.
        skipped: features left out, by reason.
        crs: of the file, as it declares it; empty where it declares none.
        notes: further sentences.
    """

    read: int
    used: int
    mended: int
    holes: int
    parts: int
    skipped: dict[str, int]
    crs: str
    notes: tuple[str, ...] = ()

    def sentences(self) -> list[str]:
        """What was read, mended and left out."""
        said = [
            f"{self.used} of {self.read} features used, in {self.parts} {'piece' if self.parts == 1 else 'pieces'}"
            + (f" with {self.holes} {'hole' if self.holes == 1 else 'holes'}" if self.holes else "")
            + "."
        ]
        if self.mended:
            said.append(f"{self.mended} had crossing edges and were mended.")
        said += [f"{count} left out: {reason}." for reason, count in self.skipped.items()]
        if self.crs and self.crs not in _DEGREES:
            said.append(f"Converted from {self.crs} to degrees.")
        return [*said, *self.notes]


_DEGREES = ("EPSG:4326", "OGC:CRS84")


def read_region(path: str | Path) -> Region:
    """A region from the polygons of a GeoJSON, GeoPackage, KML or (zipped) Shapefile in any CRS.

    Raises:
        InputError: the file is missing, not readable, or holds no polygon.
    """
    return read_region_report(path)[0]


def read_region_report(path: str | Path, *, swap: bool = False) -> tuple[Region, RegionReport]:
    """Like :func:`read_region`, with what was read, mended and left out.

    Args:
        path: of the file; all its layers are read.
        swap: take the file's first coordinate for the latitude.

    Raises:
        InputError: the file is missing, not readable, holds no polygon, or does not lie on Earth.
    """
    import shapely

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a GeoJSON, GeoPackage, KML or zipped Shapefile with polygons.")
    layers = _layers(path)
    pieces: list[Any] = []
    skipped: dict[str, int] = {}
    read = mended = 0
    declared = {str(crs) for crs, _ in layers if crs}
    for crs, shapes in layers:
        project = transformer(crs, "EPSG:4326") if crs and crs not in _DEGREES else None
        for shape in shapes:
            read += 1
            polygons, why = _polygons(shape)
            if why:
                skipped[why] = skipped.get(why, 0) + 1
                continue
            mended += not shape.is_valid
            if project is not None:
                polygons = shapely.transform(polygons, lambda p: np.column_stack(project.transform(p[:, 0], p[:, 1])))  # noqa: B023
            pieces.append(shapely.transform(polygons, lambda p: p[:, ::-1]) if swap else polygons)
    if not pieces:
        raise InputError(f"{path.name} holds no polygon; a region is an area, so draw one.")
    geometry = shapely.union_all(pieces)
    west, south, east, north = geometry.bounds
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise InputError(f"The polygons of {path.name} do not lie on Earth in degrees; save them with their CRS.")
    parts = list(getattr(geometry, "geoms", [geometry]))
    notes = () if declared else ("The file names no coordinate system; its numbers were taken as degrees.",)
    report = RegionReport(
        read,
        len(pieces),
        mended,
        sum(len(part.interiors) for part in parts),
        len(parts),
        skipped,
        ", ".join(sorted(declared)),
        (*notes, *(("Latitude and longitude were swapped.",) if swap else ())),
    )
    return Region(geometry, path.stem), report


def _layers(path: Path) -> list[tuple[str, list[Any]]]:
    """CRS (may be empty) and shapely geometries in two dimensions of each layer of a file."""
    import pyogrio
    import pyogrio.raw
    import shapely
    from pyogrio.errors import DataLayerError, DataSourceError

    found = []
    try:
        for name in dict.fromkeys(str(row[0]) for row in pyogrio.list_layers(path)):
            meta, _, wkb, _ = pyogrio.raw.read(path, layer=name, columns=[])
            shapes = [] if wkb is None else list(shapely.force_2d(shapely.from_wkb(wkb)))
            found.append((str(meta.get("crs") or ""), shapes))
    except (DataSourceError, DataLayerError, ValueError, shapely.errors.GEOSException) as error:
        raise InputError(f"{path.name} is not a readable GeoJSON, GeoPackage, KML or zipped Shapefile.") from error
    return found


def _polygons(shape: Any) -> tuple[Any, str]:
    """The valid polygons of a feature's geometry, or why there are none."""
    import shapely

    if shape is None or shape.is_empty:
        return None, "without geometry"
    if not np.isfinite(shape.bounds).all():
        return None, "coordinates that are not numbers"
    valid = shapely.make_valid(shape)
    parts = [
        part for part in shapely.get_parts(shapely.get_parts(valid)) if part.geom_type == "Polygon" and part.area > 0
    ]
    if not parts:
        return None, "points, not areas" if "Point" in shape.geom_type else "lines, not areas" if (
            "Line" in shape.geom_type
        ) else "areas of size zero"
    return shapely.union_all(parts), ""
