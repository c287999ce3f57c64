"""Regions of any width: a continent, islands on both sides of the 180th meridian; mapped in parts, one for each UTM zone.

A :class:`~tessera_core.region.Region` fits one UTM grid. What is cut into cells (:mod:`tessera_core.cells`) need not: zones are cut
anyway. Longitudes run from -180 to 180 here, too, and an area that crosses the 180th meridian is two pieces that meet there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import InputError
from tessera_core.gate import contained
from tessera_core.grid import transformer
from tessera_core.region import (
    NORTH_END,
    SOUTH_END,
    Region,
    RegionReport,
    box_numbers,
    cut_by_zone,
    require_on_earth,
    shapes_of,
)
from tessera_core.types import BBox

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

# An edge that spans more is taken the short way, over the 180th meridian; one of a whole turn goes round the world.
_HALF_TURN, _TURN = 180.0, 360.0
# A box of four corners that spans between half a turn and this may be meant either way round; from this on the other way is a
# strip over the 180th meridian, as programs write those.
_SURELY_OVER = 300.0


@dataclass(frozen=True)
class WideRegion:
    """An area on Earth of any width, between 80 S and 84 N.

    Attributes:
        geometry: shapely Polygon or MultiPolygon in degrees, longitudes from -180 to 180.
        name: for people and file names.

    Raises:
        InputError: the geometry is no area or does not lie on Earth between 80 S and 84 N.

    Example:
        >>> parse_wide_bbox("-10,50,30,55")[0].bbox
        (-10.0, 50.0, 30.0, 55.0)
    """

    geometry: BaseGeometry
    name: str = "region"

    def __post_init__(self) -> None:
        require_on_earth(self.geometry)
        west, south, east, north = self.bbox
        if west < -180 or east > 180 or south < SOUTH_END or north > NORTH_END:
            raise InputError(
                f"The region reaches {west:g}, {south:g}, {east:g}, {north:g}; longitudes run from -180 to 180, and UTM zones from "
                "80 S to 84 N."
            )

    @property
    def bbox(self) -> BBox:
        """``(west, south, east, north)`` in degrees; -180 and 180 where it lies on both sides of that meridian."""
        west, south, east, north = self.geometry.bounds
        return float(west), float(south), float(east), float(north)

    def by_zone(self) -> list[Region]:
        """Its parts in one UTM zone each, from west to east; see :meth:`tessera_core.region.Region.by_zone`.

        Example:
            >>> [part.bbox[::2] for part in parse_wide_bbox("174,-20,-174,-10")[0].by_zone()]
            [(-180.0, -174.0), (174.0, 180.0)]
        """
        return cut_by_zone(self.geometry, self.name)


def parse_wide_bbox(text: str) -> tuple[WideRegion, list[str]]:
    """A region of any width from ``"west,south,east,north"``, and what is left out of it.

    West of a larger number than east, or longitudes that run on beyond 180, mean a box over the 180th meridian.

    Raises:
        InputError: not four numbers, not on Earth, no area, or probably with latitude and longitude swapped.
    """
    import shapely

    west, south, east, north = box_numbers(text)
    if west > east:
        east += _TURN
    if not (-_TURN <= west < east <= _TURN + _HALF_TURN and east - west <= _TURN):
        raise InputError(
            f"The box does not lie on Earth: longitudes run from -180 to 180, but it has {west:g} and {east:g}."
        )
    name = f"{west:.4f}_{south:.4f}_{east:.4f}_{north:.4f}"
    return _between_the_poles(_in_one_turn(shapely.box(west, south, east, north)), name)


@contained
def read_wide_region(path: str | Path, *, swap: bool = False) -> tuple[WideRegion, RegionReport]:
    """As :func:`tessera_core.region.read_region_report`, of any width and over the 180th meridian.

    Raises:
        InputError: as there, but for the width; or a polygon goes round a pole.
    """
    path = Path(path)
    crossing: list[BaseGeometry] = []
    turned: list[tuple[float, float]] = []

    def on_one_side(shape: BaseGeometry) -> BaseGeometry:
        cut = _over_180(shape)
        if cut is not shape:
            crossing.append(cut)
            turned.extend(_long_boxes(shape))
        return cut

    try:
        geometry, report = shapes_of(path, swap=swap, prepare=on_one_side)
        region, lost = _between_the_poles(geometry, path.stem)
    except InputError as error:
        raise type(error)(str(error) if path.name in str(error) else f"{path.name}: {error}") from error
    count = len(crossing)
    notes = [f"{count} {'area crosses' if count == 1 else 'areas cross'} the 180th meridian."] if count else []
    for west, east in dict.fromkeys(turned):
        notes.append(
            f"A box with corners at {west:g} and {east:g} degrees east was taken the short way, over the 180th meridian; where the "
            "long way is meant, put a point between its corners."
        )
    return region, report.with_notes([*notes, *lost])


def _between_the_poles(geometry: BaseGeometry, name: str) -> tuple[WideRegion, list[str]]:
    """The part that UTM zones cover, and what is to be said of the rest."""
    import shapely

    require_on_earth(geometry)
    _, south, _, north = geometry.bounds
    if south >= SOUTH_END and north <= NORTH_END:
        return WideRegion(geometry, name), []
    covered = shapely.intersection(geometry, shapely.box(-_HALF_TURN, SOUTH_END, _HALF_TURN, NORTH_END))
    polygons = [one for one in shapely.get_parts(covered) if one.geom_type == "Polygon" and one.area > 0]
    if not polygons:
        raise InputError(
            "The region lies beyond 84 N or 80 S, where UTM zones end; there are no embeddings of the poles. Choose one between."
        )
    whole = shapely.union_all(polygons)
    # Equal areas; of edges that run along a parallel for half a turn, lines on the ellipsoid would be others.
    project = transformer("EPSG:4326", "EPSG:6933")
    rest = shapely.difference(geometry, whole)
    left_out = shapely.transform(rest, lambda p: np.column_stack(project.transform(p[:, 0], p[:, 1]))).area
    return WideRegion(whole, name), [
        f"{left_out / 1e6:,.0f} km2 beyond 84 N and 80 S are left out: UTM zones end there, and nobody has embeddings of the poles."
    ]


def _over_180(shape: BaseGeometry) -> BaseGeometry:
    """Polygons with longitudes from -180 to 180, cut where they cross the 180th meridian, however they were written.

    Edges of more than half a turn are taken the short way, as programs write them that keep longitudes between -180 and 180.
    """
    import shapely

    parts = shapely.get_parts(shapely.get_parts(shape))
    if not len(parts) or any(part.geom_type != "Polygon" for part in parts):
        return shape
    if not np.isfinite(shapely.get_coordinates(shape)).all():
        return shape
    if not any(_crosses(part) for part in parts):
        return shape
    for west, east in _long_boxes(shape):
        if east - west < _SURELY_OVER:
            raise InputError(
                f"A box with corners at {west:g} and {east:g} degrees east can be meant either way round the Earth. Put a point "
                f"between its corners, or let longitudes run on beyond 180: {east:g} to {west + _TURN:g}."
            )
    return shapely.union_all([_in_one_turn(_unrolled(part)) for part in parts])


def _long_boxes(shape: BaseGeometry) -> list[tuple[float, float]]:
    """West and east of the boxes in it whose corners lie more than half a turn apart, with no point between."""
    import shapely

    found = []
    for part in shapely.get_parts(shapely.get_parts(shape)):
        points = np.asarray(part.exterior.coords)[:, :2]
        lon, lat = np.unique(points[:, 0]), np.unique(points[:, 1])
        if len(lon) == 2 and len(lat) == 2 and _HALF_TURN < lon[1] - lon[0] < _TURN:
            found.append((float(lon[0]), float(lon[1])))
    return found


def _crosses(polygon: Any) -> bool:
    west, _, east, _ = polygon.bounds
    rings = [polygon.exterior, *polygon.interiors]
    jumps = any((_jumps(np.asarray(ring.coords)[:, 0]) != 0).any() for ring in rings)
    return jumps or west < -_HALF_TURN < east or west < _HALF_TURN < east


def _jumps(lon: NDArray[np.float64]) -> NDArray[np.float64]:
    """What to add to the longitudes of a ring from each point on, so that no edge goes the long way: float64 (N - 1,)."""
    steps = np.diff(lon)
    long = (np.abs(steps) > _HALF_TURN) & (np.abs(steps) < _TURN)
    return np.where(long, -_TURN * np.sign(steps), 0.0)


def _unrolled(polygon: Any) -> Any:
    """A polygon whose longitudes run on; raises InputError where a ring does not close."""
    import shapely

    def ring(points: NDArray[np.float64]) -> NDArray[np.float64]:
        turned = np.concatenate([[0.0], np.cumsum(_jumps(points[:, 0]))])
        if turned[-1]:
            raise InputError(
                "An area goes round a pole, where UTM zones end; cut it at 84 N or 80 S, and at 180 degrees."
            )
        return np.column_stack([points[:, 0] + turned, points[:, 1]])

    shell = ring(np.asarray(polygon.exterior.coords)[:, :2])
    low, high = shell[:, 0].min(), shell[:, 0].max()
    holes = []
    for hole in polygon.interiors:
        points = ring(np.asarray(hole.coords)[:, :2])
        for turn in (0.0, _TURN, -_TURN):
            if low - 1e-9 <= points[:, 0].min() + turn and points[:, 0].max() + turn <= high + 1e-9:
                points[:, 0] += turn
                break
        holes.append(points)
    return shapely.make_valid(shapely.Polygon(shell, holes))


def _in_one_turn(shape: BaseGeometry) -> BaseGeometry:
    """The same with longitudes from -180 to 180; what cannot be brought there stays, and is refused by others."""
    import shapely

    west, _, east, _ = shape.bounds
    if west < -_TURN - _HALF_TURN or east > _TURN + _HALF_TURN or (west >= -_HALF_TURN and east <= _HALF_TURN):
        return shape
    pieces = []
    for turn in (-_TURN, 0.0, _TURN):
        window = shapely.box(turn - _HALF_TURN, -90, turn + _HALF_TURN, 90)
        piece = shapely.transform(shapely.intersection(shape, window), lambda p, turn=turn: p - np.array([turn, 0.0]))
        pieces += [one for one in shapely.get_parts(piece) if one.geom_type == "Polygon" and one.area > 0]
    return shapely.union_all(pieces)
