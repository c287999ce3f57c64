"""The region a person asks for: a box or a file of polygons, and the UTM grid that covers it.

The single gate for user geography: the command line and the app share it. Geometry is geographic, ``(lon, lat)`` in degrees.
What no map on one UTM grid can show (poles, both sides of the 180th meridian, half a continent) never becomes a region.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from tessera_core.errors import GridError, InputError
from tessera_core.gate import VectorLayer, contained, is_missing, open_archive, read_layers, unpacked
from tessera_core.gate.vectors import ENDINGS
from tessera_core.grid import Grid, transformer, utm_crs
from tessera_core.types import BBox

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

RESOLUTION_M = 10.0
SOUTH_END, NORTH_END = -80.0, 84.0
MAX_DEGREES = 12.0
MAX_PIXELS = 1 << 31


class SwappedAxesError(InputError):
    """Coordinates lie on Earth only if the first is taken for the latitude."""


@dataclass(frozen=True)
class Region:
    """An area on Earth that fits one UTM grid.

    Attributes:
        geometry: shapely Polygon or MultiPolygon in degrees.
        name: for people and file names.

    Raises:
        InputError: the geometry is no area, does not lie on Earth, reaches a pole, lies on both sides of the 180th meridian or
            is too wide for one UTM grid.
    """

    geometry: BaseGeometry
    name: str = "region"

    def __post_init__(self) -> None:
        _require_mappable(self.geometry)

    @classmethod
    def of_shape(cls, shape: BaseGeometry, name: str = "region") -> Region:
        """A region of any geometry in degrees, as drawn on a map: crossing edges are repaired, what is no area is left out.

        Longitudes that run on beyond 180, as on a map that was turned once round, are those of the other hemisphere.

        Raises:
            InputError: nothing is left, or it is of no use, see the class.
        """
        import shapely

        polygons, why = _polygons(shape)
        if why:
            raise InputError(f"There is no area to map: {why}.")
        return cls(shapely.union_all([_turned(part)[0] for part in shapely.get_parts(polygons)]), name)

    @property
    def bbox(self) -> BBox:
        """``(west, south, east, north)`` in degrees."""
        west, south, east, north = self.geometry.bounds
        return float(west), float(south), float(east), float(north)

    def grid(self, resolution_m: float = RESOLUTION_M, *, limited: bool = True, plain: bool = False) -> Grid:
        """The grid in the UTM zone of the region's centre that covers it, snapped to whole pixels.

        Args:
            resolution_m: side of a pixel.
            limited: refuse more pixels than one map can have; what is cut into cells may be larger.
            plain: of zones of six degrees everywhere, as :meth:`by_zone` cuts, without those that are wider in Norway.

        Raises:
            InputError: it would have too many pixels.
        """
        centre = self.geometry.centroid
        # No zone is wider at the equator's height.
        crs = f"{utm_crs(centre.x, -1 if centre.y < 0 else 0)}" if plain else utm_crs(centre.x, centre.y)
        west, south, east, north = self.projected(crs).bounds
        x0, y1 = np.floor(west / resolution_m) * resolution_m, np.ceil(north / resolution_m) * resolution_m
        width = max(1, int(np.ceil((east - x0) / resolution_m)))
        height = max(1, int(np.ceil((y1 - south) / resolution_m)))
        if limited:
            require_pixels(height, width)
        return Grid(crs, Affine(resolution_m, 0, float(x0), 0, -resolution_m, float(y1)), (height, width))

    def by_zone(self) -> list[Region]:
        """The region in parts that lie in one UTM zone each, from west to east; itself where it lies in one.

        Zones are taken to be six degrees wide everywhere; parts of no area are left out.

        Example:
            >>> [part.bbox for part in parse_bbox("5,50,7,51").by_zone()]
            [(5.0, 50.0, 6.0, 51.0), (6.0, 50.0, 7.0, 51.0)]
        """
        return cut_by_zone(self.geometry, self.name)

    def mask(self, grid: Grid) -> NDArray[np.bool_]:
        """bool (H, W): which pixel centres of a georeferenced grid lie inside the region.

        Raises:
            GridError: the grid is local.
        """
        from rasterio.features import geometry_mask

        if grid.crs is None:
            raise GridError("A grid without georeference has no region on Earth.")
        inside = geometry_mask([self.projected(grid.crs)], grid.shape, grid.transform, invert=True)
        return np.asarray(inside, bool)

    def projected(self, crs: str) -> Any:
        """The shapely geometry in metres of a coordinate system."""
        return _projected(self.geometry, crs)


# Each cell of a region asks for it.
@functools.lru_cache(maxsize=4)
def _projected(geometry: BaseGeometry, crs: str) -> Any:
    import shapely

    # Long edges are straight in degrees, not in metres.
    dense = shapely.segmentize(geometry, 0.01)
    project = transformer("EPSG:4326", crs)

    def to_xy(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(project.transform(points[:, 0], points[:, 1]))

    return shapely.transform(dense, to_xy)


def cut_by_zone(geometry: BaseGeometry, name: str) -> list[Region]:
    """An area between longitudes -180 and 180 as regions in one UTM zone each, see :meth:`Region.by_zone`."""
    import shapely

    west, south, east, north = geometry.bounds
    edges = np.arange(np.floor(west / 6) * 6, east, 6)
    if len(edges) < 2:
        return [Region(geometry, name)]
    parts = []
    for edge in edges:
        part = shapely.intersection(geometry, shapely.box(edge, south, edge + 6, north))
        if polygons := [one for one in shapely.get_parts(part) if one.geom_type == "Polygon" and one.area > 0]:
            parts.append(Region(shapely.union_all(polygons), name))
    return parts


def require_on_earth(geometry: BaseGeometry) -> None:
    """Refuse what is no area, or has coordinates that are none.

    Raises:
        InputError: it is no area, or does not lie on Earth; SwappedAxesError where it would the other way round.
    """
    import shapely

    points = shapely.get_coordinates(geometry)
    if geometry.geom_type not in ("Polygon", "MultiPolygon") or not len(points) or geometry.area == 0:
        raise InputError("A region is an area, but this one has none; draw or give polygons.")
    if not np.isfinite(points).all():
        raise InputError("The region has coordinates that are not numbers; draw it again.")
    (west, south), (east, north) = points.min(0), points.max(0)
    if south < -90 or north > 90:
        if south >= -180 and north <= 180 and -90 <= west <= east <= 90:
            raise SwappedAxesError(
                f"The region reaches {_far(south, north):.6g} degrees of latitude, where 90 is the end, so longitude and "
                "latitude seem swapped. Give longitude first, or let them be swapped."
            )
        raise InputError(
            "The region does not lie on Earth: its coordinates are no longitudes and latitudes in degrees "
            f"({west:.6g}, {south:.6g}, {east:.6g}, {north:.6g}). Save it with its coordinate system."
        )
    if west < -360 or east > 360:
        raise InputError(
            f"The region does not lie on Earth: longitudes run from -180 to 180, but it reaches {_far(west, east):.6g}."
        )


def _require_mappable(geometry: BaseGeometry) -> None:
    require_on_earth(geometry)
    west, south, east, north = (float(v) for v in geometry.bounds)
    if south < SOUTH_END or north > NORTH_END:
        raise InputError(
            f"The region reaches {south if south < SOUTH_END else north:.1f} degrees of latitude, but embeddings lie in UTM "
            "zones, which end at 80 S and 84 N; choose a region between them."
        )
    if east - west > 180 or west < -180 or east > 180:
        raise InputError(_beyond_180(west, east))
    if east - west > MAX_DEGREES:
        raise InputError(
            f"The region is {east - west:.1f} degrees wide; one map has one UTM grid, which is good for {MAX_DEGREES:g} "
            "degrees at most. Take it in parts, or cell by cell (on the command line with --by-zone)."
        )


def _far(first: float, second: float) -> float:
    return float(max(first, second, key=abs))


def _beyond_180(west: float, east: float) -> str:
    """What to say of longitudes that no region can have."""
    shift = _whole_turn(west, east)
    if shift:
        return (
            f"Longitudes run from -180 to 180, but the region has {west:g} and {east:g}; "
            f"write them as {west + shift:g} and {east + shift:g}."
        )
    return (
        "The region lies on both sides of the 180th meridian; give it as two regions, one up to 180 E, one from 180 W, or take it "
        "cell by cell (on the command line with --by-zone)."
    )


def _whole_turn(west: float, east: float) -> float:
    """What to add to longitudes that run on beyond 180 (as of 0 to 360), so that they do not; 0 where there is nothing to add."""
    if west >= 180 and 180 < east <= 360:
        return -360.0
    return 360.0 if -360 <= west < -180 and east <= -180 else 0.0


def require_pixels(height: int, width: int) -> None:
    """Refuse a grid that no map can have.

    Raises:
        InputError: it has too many pixels.
    """
    if height * width > MAX_PIXELS:
        raise InputError(f"The region has {height * width / 1e9:.1f} thousand million pixels; take it in parts.")


def parse_bbox(text: str) -> Region:
    """A region from ``"west,south,east,north"`` in degrees.

    Raises:
        InputError: not four numbers, not on Earth, no area, or probably with latitude and longitude swapped.
    """
    from shapely.geometry import box

    west, south, east, north = box_numbers(text)
    if west > 0 > east and west - east > 180:
        raise InputError(_beyond_180(west, east))
    if west > east:
        raise InputError(f"West ({west:g}) must be smaller than east ({east:g}).")
    return Region(box(west, south, east, north), f"{west:.4f}_{south:.4f}_{east:.4f}_{north:.4f}")


def box_numbers(text: str) -> BBox:
    """The numbers of ``"west,south,east,north"``; west may be larger than east.

    Raises:
        InputError: not four numbers, no area, or latitudes that are none.
    """
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
    if west == east:
        raise InputError(f"West ({west:g}) must be smaller than east ({east:g}).")
    if south >= north:
        raise InputError(f"South ({south:g}) must be smaller than north ({north:g}).")
    return west, south, east, north


@dataclass(frozen=True)
class RegionReport:
    """What happened to a file that became a region, for people.

    Attributes:
        read: features in the file.
        used: features whose polygons are part of the region.
        repaired: of those, invalid ones (crossing edges) that were made valid.
        holes: in the region.
        parts: separate pieces of the region.
        skipped: features left out, by reason.
        crs: of the file, as it declares it; empty where it declares none.
        notes: further sentences.
    """

    read: int
    used: int
    repaired: int
    holes: int
    parts: int
    skipped: dict[str, int]
    crs: str
    notes: tuple[str, ...] = ()

    def sentences(self) -> list[str]:
        """What was read, repaired and left out."""
        said = [
            f"{self.used} of {self.read} features used, in {self.parts} {'piece' if self.parts == 1 else 'pieces'}"
            + (f" with {self.holes} {'hole' if self.holes == 1 else 'holes'}" if self.holes else "")
            + "."
        ]
        if self.repaired:
            said.append(f"{self.repaired} had crossing edges and were repaired.")
        said += [f"{count} left out: {reason}." for reason, count in self.skipped.items()]
        if self.crs and self.crs not in _DEGREES:
            said.append(f"Converted from {self.crs} to degrees.")
        return [*said, *self.notes]

    def with_notes(self, notes: Sequence[str]) -> RegionReport:
        """The same with more to say."""
        return replace(self, notes=(*self.notes, *notes))


_DEGREES = ("EPSG:4326", "OGC:CRS84")
_POINTS, _LINES = "points, not areas", "lines, not areas"
_NO_AREA = (_POINTS, _LINES)
# Around places without an area, so that none lies at the edge of the map.
_BEYOND_M = 500.0


def read_region(path: str | Path) -> Region:
    """A region from the polygons of a GeoJSON, GeoPackage, KML or (zipped) Shapefile in any CRS.

    Raises:
        InputError: the file is missing, not readable, or holds no polygon.
    """
    return read_region_report(path)[0]


@contained
def read_region_report(path: str | Path, *, swap: bool = False) -> tuple[Region, RegionReport]:
    """Like :func:`read_region`, with what was read, repaired and left out.

    Args:
        path: of the file; all its layers are read.
        swap: take the file's first coordinate for the latitude.

    Raises:
        InputError: the file is missing, not readable, holds neither polygons nor places, or does not lie on Earth.
    """
    path = Path(path)
    geometry, report = shapes_of(path, swap=swap)
    try:
        return Region(geometry, path.stem), report
    except InputError as error:
        raise type(error)(f"{path.name}: {error}") from error


def shapes_of(
    path: Path, *, swap: bool = False, prepare: Callable[[BaseGeometry], BaseGeometry] | None = None
) -> tuple[BaseGeometry, RegionReport]:
    """All polygons of a file as one geometry in degrees, and how it was read; of strangers' files :func:`contained` callers only.

    Args:
        path, swap: see :func:`read_region_report`.
        prepare: applied to each feature in degrees before it is made valid.

    Raises:
        InputError: the file is missing, not readable, or holds neither polygons nor places.
    """
    import shapely

    if is_missing(path):
        raise InputError(f"{path} does not exist; give a GeoJSON, GeoPackage, KML or zipped Shapefile with polygons.")
    layers = _layers(path)
    pieces: list[Any] = []
    spots: list[NDArray[np.float64]] = []
    skipped: dict[str, int] = {}
    read = repaired = turned = 0
    declared = {str(crs) for crs, _ in layers if crs}
    for crs, shapes in layers:
        for shape in shapes:
            read += 1
            polygons, why = _in_degrees(shape, crs, swap, prepare)
            if why:
                skipped[why] = skipped.get(why, 0) + 1
                if why in _NO_AREA:
                    spots.append(_places(shape, crs, swap))
                continue
            repaired += not shape.is_valid
            moved = [_turned(part) for part in shapely.get_parts(polygons)]
            turned += any(was for _, was in moved)
            pieces.append(shapely.union_all([part for part, _ in moved]))
    around = ""
    if not pieces and spots and len(places := np.concatenate(spots)):
        pieces = [_box_around(places)]
        around = (
            f"It holds places and no area, so the region is the box around them, {_BEYOND_M:,.0f} m wider on each side."
        )
        used = len(spots)
        skipped = {why: count for why, count in skipped.items() if why not in _NO_AREA}
    else:
        used = len(pieces)
    if not pieces:
        raise InputError(f"{path.name} holds no polygon; a region is an area, so draw one.")
    geometry = shapely.union_all(pieces)
    parts = list(getattr(geometry, "geoms", [geometry]))
    notes = [around] if around else []
    notes += [] if declared else ["The file names no coordinate system; its numbers were taken as degrees."]
    notes += ["Latitude and longitude were swapped."] if swap else []
    notes += ["Longitudes beyond 180 were taken as those of the other hemisphere (360 less or more)."] if turned else []
    report = RegionReport(
        read,
        used,
        repaired,
        sum(len(part.interiors) for part in parts),
        len(parts),
        skipped,
        ", ".join(sorted(declared)),
        tuple(notes),
    )
    return geometry, report


def _in_degrees(
    shape: Any, crs: str, swap: bool, prepare: Callable[[BaseGeometry], BaseGeometry] | None = None
) -> tuple[Any, str]:
    """The valid polygons of a file's feature as longitudes and latitudes, or why there are none."""
    import shapely

    if prepare is not None and shape is not None and (not crs or crs in _DEGREES):
        # Before it is made valid: what goes round the world the long way crosses itself.
        shape = prepare(shapely.transform(shape, lambda p: p[:, ::-1]) if swap else shape)
        return _polygons(shape)
    polygons, why = _polygons(shape)
    if why:
        return None, why
    if crs and crs not in _DEGREES:
        project = transformer(crs, "EPSG:4326")
        polygons = shapely.transform(polygons, lambda p: np.column_stack(project.transform(p[:, 0], p[:, 1])))
        if not np.isfinite(shapely.get_coordinates(polygons)).all():
            return None, f"places that {crs} cannot hold"
        if prepare is not None:
            polygons = prepare(polygons)
        # Straight edges of one system may cross in another.
        polygons, why = _polygons(polygons)
        if why:
            return None, why
    return (shapely.transform(polygons, lambda p: p[:, ::-1]) if swap else polygons), ""


def _places(shape: Any, crs: str, swap: bool) -> NDArray[np.float64]:
    """Longitudes and latitudes (N, 2) of a feature without area; what the CRS cannot hold is left out."""
    import shapely

    xy: NDArray[np.float64] = shapely.get_coordinates(shape)
    if crs and crs not in _DEGREES:
        xy = np.column_stack(transformer(crs, "EPSG:4326").transform(xy[:, 0], xy[:, 1]))
    xy = xy[:, ::-1] if swap else xy
    return xy[np.isfinite(xy).all(axis=1)]


def _box_around(places: NDArray[np.float64]) -> Any:
    """The box of longitudes and latitudes (N, 2), a little wider."""
    from shapely.geometry import box

    (west, south), (east, north) = places.min(axis=0), places.max(axis=0)
    dy = _BEYOND_M / 111_320
    dx = dy / max(float(np.cos(np.radians((south + north) / 2))), 0.01)
    return box(west - dx, max(south - dy, -90), east + dx, min(north + dy, 90))


def _turned(polygon: Any) -> tuple[Any, bool]:
    """A polygon with longitudes from -180 to 180 where they ran on beyond, and whether they did."""
    import shapely

    west, _, east, _ = polygon.bounds
    shift = _whole_turn(west, east)
    return (shapely.transform(polygon, lambda p: p + np.array([shift, 0])), True) if shift else (polygon, False)


def _layers(path: Path) -> list[tuple[str, list[Any]]]:
    """CRS (may be empty) and shapely geometries in two dimensions of each layer of a file."""
    import shapely

    try:
        return [(layer.crs or "", list(shapely.from_wkb(layer.wkb))) for layer in _read_file(path) if len(layer.wkb)]
    except shapely.errors.GEOSException as error:
        raise InputError(f"{path.name} holds geometry that is damaged; save or download it again.") from error


def _read_file(path: Path) -> list[VectorLayer]:
    if path.suffix.lower() != ".zip":
        return read_layers(path, attributes=False)
    with open_archive(path) as archive:
        members = [name for name in archive.names if Path(name).suffix.lower() in ENDINGS]
    if not members:
        raise InputError(f"{path.name} holds no shapefile or other vector file.")
    with unpacked(path, members) as files:
        found = [read_layers(file, attributes=False, name=f"{name} in {path.name}") for name, file in files.items()]
    return [layer for layers in found for layer in layers]


def _polygons(shape: Any) -> tuple[Any, str]:
    """The valid polygons of a feature's geometry, or why there are none."""
    import shapely

    if shape is None or shape.is_empty:
        return None, "without geometry"
    if not np.isfinite(shapely.get_coordinates(shape)).all():
        return None, "coordinates that are not numbers"
    valid = shapely.make_valid(shape)
    parts = [
        part for part in shapely.get_parts(shapely.get_parts(valid)) if part.geom_type == "Polygon" and part.area > 0
    ]
    if not parts:
        kind = shape.geom_type
        return None, _POINTS if "Point" in kind else _LINES if "Line" in kind else "areas of size zero"
    return shapely.union_all(parts), ""
