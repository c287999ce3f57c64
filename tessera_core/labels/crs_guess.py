"""Where the coordinates of a label file lie: which CRS, and whether latitude and longitude are swapped.

A file's own word is believed unless it puts everything outside the region and another reading puts most of it inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from tessera_core._utils.percents import percent
from tessera_core.errors import LabelError
from tessera_core.grid import Grid, transformer

# Tried when a file holds projected coordinates and does not say of which CRS: national grids in wide use, then Europe, the web.
_PROJECTED = (
    "EPSG:27700",
    "EPSG:2157",
    "EPSG:29902",
    "EPSG:2154",
    "EPSG:25830",
    "EPSG:25831",
    "EPSG:25832",
    "EPSG:25833",
    "EPSG:28992",
    "EPSG:31370",
    "EPSG:3812",
    "EPSG:2056",
    "EPSG:21781",
    "EPSG:31287",
    "EPSG:3006",
    "EPSG:3067",
    "EPSG:5070",
    "EPSG:3035",
    "EPSG:3857",
)
_SAMPLE = 2000
_WORTH_CHANGING = 0.5


@dataclass(frozen=True)
class SourceCrs:
    """How to read coordinates.

    Attributes:
        crs: their CRS, or None where they are the grid's own (also pixel coordinates).
        swapped: they are (lat, lon) or (northing, easting).
        pixels: they are (col, row) of the grid.
        guessed: nobody stated ``crs``.
    """

    crs: str | None
    swapped: bool = False
    pixels: bool = False
    guessed: bool = False


def unstated_projection(geometries: Sequence[Any]) -> bool:
    """Whether coordinates of which no CRS is known are projected ones, as they are too large for degrees."""
    geometries = [geometry for geometry in geometries if geometry is not None and not geometry.is_empty]
    xy = _sample(geometries)
    return len(xy) > 0 and not (_like_degrees(xy) or _like_degrees(xy[:, ::-1]))


def usual_systems(grid: Grid) -> dict[str, str]:
    """Name -> CRS to choose from where a file does not say its own: the grid's, then national grids in wide use."""
    codes = [grid.crs] if grid.crs else []
    codes += [code for code in _PROJECTED if code not in codes]
    # A CRS without a code is WKT, too long to read.
    return {f"{CRS.from_user_input(c).name}{f' ({c})' if c.startswith('EPSG:') else ''}": c for c in codes}


def find_source_crs(
    geometries: Sequence[Any], grid: Grid, declared: str | None, pixels: bool, notes: list[str]
) -> SourceCrs:
    """The frame in which most geometries fall on ``grid``, as little as possible against what the file declares.

    Args:
        geometries: shapely geometries with the file's coordinates.
        grid: the region.
        declared: CRS that the file (or the user) states, or None.
        pixels: the file states pixel coordinates.
        notes: gets a sentence on what was inferred.

    Raises:
        LabelError: the declared CRS is not known, or the grid has no place on Earth while the file's coordinates have one.
    """
    if pixels:
        return SourceCrs(None, pixels=True)
    if declared is not None:
        declared = _known(declared)
    if grid.crs is None:
        if declared is not None:
            raise LabelError(
                "These embeddings have no place on Earth, so the places of this file cannot be found on them; label by "
                "hand, or open embeddings with a georeference."
            )
        notes.append("The coordinates were taken as pixels of this raster, which has no place on Earth.")
        return SourceCrs(None)
    xy = _sample(geometries)
    if declared is not None:
        return _declared_crs(xy, grid, declared, notes)
    if len(xy) == 0:
        return SourceCrs(grid.crs, guessed=True)
    if _like_degrees(xy) or _like_degrees(xy[:, ::-1]):
        return replace(_declared_crs(xy, grid, "EPSG:4326", notes), guessed=True)
    return _undeclared_crs(xy, grid, notes)


def _declared_crs(xy: NDArray[np.float64], grid: Grid, declared: str, notes: list[str]) -> SourceCrs:
    as_said, swapped = SourceCrs(declared), SourceCrs(declared, swapped=True)
    if len(xy) == 0:
        return as_said
    inside = _share_inside(xy, grid, as_said)
    geographic = CRS.from_user_input(declared).is_geographic
    impossible = geographic and not _like_degrees(xy) and _like_degrees(xy[:, ::-1])
    other = _share_inside(xy, grid, swapped)
    if (inside == 0 and other >= _WORTH_CHANGING) or impossible:
        notes.append(
            "Latitude and longitude are swapped in this file; read the other way round, "
            f"{percent(other)} % of the places fall in the region."
        )
        return swapped
    if inside == 0 and geographic and not _like_degrees(xy):
        # GeoJSON by its standard is in degrees, and people save metres in it all the same.
        notes.append("The coordinates are too large for degrees.")
        frame = _undeclared_crs(xy, grid, notes)
        return frame if _share_inside(xy, grid, frame) > 0 else as_said
    return as_said


def _undeclared_crs(xy: NDArray[np.float64], grid: Grid, notes: list[str]) -> SourceCrs:
    """The projected CRS in which most coordinates fall in the region; the grid's own where none will do."""
    assert grid.crs is not None
    candidates = [SourceCrs(crs, swapped, guessed=True) for crs in (grid.crs, *_PROJECTED) for swapped in (False, True)]
    shares = [_share_inside(xy, grid, frame) for frame in candidates]
    best = int(np.argmax(shares))
    frame = candidates[best]
    if shares[best] < _WORTH_CHANGING:
        notes.append(
            f"The file does not say which coordinate system its numbers are in; they were taken as {grid.crs}, "
            "but few places fall in the region; say the right one."
        )
        return SourceCrs(grid.crs, guessed=True)
    notes.append(
        f"The file does not say which coordinate system its numbers are in; they were taken as {frame.crs}"
        f"{' with the axes swapped' if frame.swapped else ''}, in which {percent(shares[best])} % of the places fall in the region."
    )
    return frame


def _known(crs: str) -> str:
    try:
        found = CRS.from_user_input(crs)
    except CRSError as error:
        raise LabelError(f"The coordinate system {str(crs)[:60]!r} of the labels is not known.") from error
    code = found.to_epsg()
    if code is None and found.is_geographic and "CRS84" in crs.upper():
        code = 4326
    return f"EPSG:{code}" if code else found.to_wkt()


def _sample(geometries: Sequence[Any]) -> NDArray[np.float64]:
    """One coordinate of each of at most a few thousand geometries, evenly spread over the file."""
    import shapely

    step = max(1, len(geometries) // _SAMPLE)
    first = [shapely.get_coordinates(geometry)[0] for geometry in geometries[::step]]
    return np.array(first, np.float64).reshape(-1, 2)


def _like_degrees(xy: NDArray[np.float64]) -> bool:
    return bool(np.mean((np.abs(xy[:, 0]) <= 360) & (np.abs(xy[:, 1]) <= 90)) > _WORTH_CHANGING)


def _share_inside(xy: NDArray[np.float64], grid: Grid, frame: SourceCrs) -> float:
    x, y = _to_grid(xy, frame, grid)
    with np.errstate(invalid="ignore"):
        rows, cols = grid.xy_to_pixel(x, y)
        return float(np.mean(grid.inside(rows, cols)))


def _to_grid(xy: NDArray[np.float64], frame: SourceCrs, grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if frame.pixels:
        return grid.pixel_to_xy(xy[:, 1], xy[:, 0])
    x, y = (xy[:, 1], xy[:, 0]) if frame.swapped else (xy[:, 0], xy[:, 1])
    if frame.crs is None or frame.crs == grid.crs or grid.crs is None:
        return x, y
    moved_x, moved_y = transformer(frame.crs, grid.crs).transform(x, y)
    return np.asarray(moved_x, np.float64), np.asarray(moved_y, np.float64)


def swapped_inside(geometries: Sequence[Any], grid: Grid, frame: SourceCrs) -> int:
    """How many places that lie outside the region would lie in it with their two coordinates exchanged."""
    if frame.pixels or grid.crs is None:
        return 0
    xy = _sample(geometries)
    if len(xy) == 0:
        return 0
    rate = _share_inside(xy, grid, replace(frame, swapped=not frame.swapped))
    return round(rate * len(geometries))


def in_degrees(geometries: Sequence[Any], grid: Grid, frame: SourceCrs) -> NDArray[np.float64]:
    """Longitudes and latitudes (N, 2) of a sample of geometries; none where their place on Earth is not known."""
    crs = frame.crs or grid.crs
    xy = _sample(geometries)
    if frame.pixels or crs is None or not len(xy):
        return np.zeros((0, 2))
    xy = xy[:, ::-1] if frame.swapped else xy
    lon, lat = transformer(crs, "EPSG:4326").transform(xy[:, 0], xy[:, 1])
    found = np.column_stack([lon, lat])
    return found[np.isfinite(found).all(axis=1) & (np.abs(found) <= (180, 90)).all(axis=1)]


def moved(geometries: Sequence[Any], frame: SourceCrs, grid: Grid) -> NDArray[Any]:
    """Geometries in the coordinates of ``grid``, an object array; None where the CRS cannot hold one."""
    import shapely

    found = np.empty(len(geometries), object)
    found[:] = geometries
    if not len(found) or (not frame.pixels and not frame.swapped and frame.crs in (None, grid.crs)):
        return found
    found[:] = shapely.transform(found, lambda xy: np.stack(_to_grid(xy, frame, grid), axis=1))
    xy, owner = shapely.get_coordinates(found, return_index=True)
    found[owner[~np.isfinite(xy).all(axis=1)]] = None
    return found
