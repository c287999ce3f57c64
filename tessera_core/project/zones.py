"""Polygons in, table out: what a map says of each farm, field or reserve (zonal statistics).

A pixel counts with the share of it that lies inside a polygon, so that small and narrow zones get their true area. Every feature of
the file has its line in the table, in the order of the file; what cannot be measured has a status that says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.analysis.pixel_cover import pixel_cover
from tessera_core.analysis.zonal import IDS, QUANTILES, ClassTally, ValueTally, ZoneClasses, ZoneValues
from tessera_core.areas import hectares_per_pixel
from tessera_core.assess.small_area import MEANING
from tessera_core.errors import Cancelled, InputError, LabelError
from tessera_core.export.zone_table import ZoneTable, unused
from tessera_core.grid import Grid, transformer
from tessera_core.labels.crs_guess import find_source_crs, moved
from tessera_core.labels.features import NO_HINTS, Feature, Hints, fields_of
from tessera_core.labels.files import read_features
from tessera_core.labels.layers import Worth
from tessera_core.project.zone_maps import ZoneMaps
from tessera_core.types import Cancel, PixelBox, Progress

WHOLE, PARTLY, NOTHING, NO_POLYGON = "measured", "partly on the map", "not on the map", "no polygon"
# Of a zone that lies wholly on the map, rounding and a seam of the file's own coordinates may leave out so much.
_WHOLE = 0.995
# Pixels that are looked at in one piece.
_BLOCK = 1 << 22
# Zones that share less than this part of a pixel only touch.
_TOUCH = 0.01
RULE = "Each pixel counts with the share of it that lies inside a zone."


@dataclass(frozen=True)
class Zones:
    """Polygons of a file on a grid.

    Attributes:
        outlines: object (n,) valid polygons in the CRS of the grid; None where a feature is none.
        properties: attributes of each feature.
        remarks: on each, often empty.
        columns: names of the attributes.
        notes: how the file was understood.
    """

    outlines: NDArray[Any]
    properties: Sequence[Mapping[str, Any]]
    remarks: list[list[str]]
    columns: list[str]
    notes: list[str]


def read_zones(path: str | Path, grid: Grid, crs: str | None = None, hints: Hints = NO_HINTS) -> Zones:
    """Polygons of a vector file, every feature of it in its order.

    Args:
        path: GeoPackage, GeoJSON, zipped shapefile, KML, FlatGeobuf, or a table with outlines as WKT.
        grid: outlines come in its CRS.
        crs: of the file, where it does not say it.
        hints: layer and encoding.

    Raises:
        LabelError: the file is not readable, or not one of its features is a polygon.
    """
    path = Path(path)
    read = read_features(path, hints, by_polygons)
    notes = list(read.notes)
    shapes = [_polygons(feature.geometry) for feature in read.features]
    if not any(shape is not None for shape, _ in shapes):
        raise LabelError(f"{path.name} holds no polygon; zones are areas, such as fields, farms or reserves.")
    frame = find_source_crs([s for s, _ in shapes if s is not None], grid, crs or read.crs, read.pixels, notes)
    outlines = moved([shape for shape, _ in shapes], frame, grid)
    remarks = [[remark] if remark else [] for _, remark in shapes]
    for number, (outline, (shape, _)) in enumerate(zip(outlines, shapes, strict=True)):
        if outline is None and shape is not None:
            remarks[number].append("its coordinates lie beyond what the map's coordinate system can hold")
        elif outline is not None and not outline.is_valid:
            outlines[number] = _polygons(outline)[0]
    left = read.skipped.total()
    if left:
        why = "; ".join(f"{reason} ({count})" for reason, count in read.skipped.most_common(3))
        notes.append(f"{left} features of the file were not read: {why}.")
    return Zones(outlines, [f.properties for f in read.features], remarks, fields_of(read.features), notes)


def by_polygons(features: Sequence[Feature]) -> Worth:
    """How likely a layer is the one with the zones: by its polygons."""
    return Worth(sum(1.0 for feature in features if _polygons(feature.geometry)[0] is not None), None)


def _polygons(shape: Any) -> tuple[Any, str]:
    """The valid areas of a geometry and a remark; None where it has none."""
    import shapely

    if shape is None or shape.is_empty:
        return None, "it has no geometry"
    if not np.isfinite(shapely.get_coordinates(shape)).all():
        return None, "its coordinates are no numbers"
    if shape.geom_type not in ("Polygon", "MultiPolygon", "GeometryCollection"):
        return None, f"it is a {shape.geom_type.lower()}"
    shape, remark = shapely.force_2d(shape), ""
    if not shape.is_valid:
        shape, remark = shapely.make_valid(shape), "its outline crossed itself and was repaired"
    parts = [p for p in shapely.get_parts(shapely.get_parts(shape)) if p.geom_type == "Polygon" and p.area > 0]
    if not parts:
        return None, "it has no area"
    return (parts[0] if len(parts) == 1 else shapely.union_all(parts)), remark


def measure_zones(
    zones: Zones, maps: ZoneMaps, *, progress: Progress | None = None, cancelled: Cancel | None = None
) -> ZoneTable:
    """Measure maps in zones.

    Args:
        zones: of :func:`read_zones`, on the grid of ``maps``.
        maps: what to measure.
        progress, cancelled: see docs/architecture.md; units are zones.

    Returns:
        The columns of the file first; then ``status`` and ``remark``; hectares of the zone (pixels where the map has no place on
        Earth) and the share of it that is mapped; of a class map the main class, hectares and share of each class, with a sample
        its corrected share with interval, with an earlier map what changed; of a map of a number its mean, standard deviation,
        least, greatest, and quantiles.

    Raises:
        InputError: maps of classes lie on different grids.
        Cancelled: ``cancelled`` said so.
    """
    grid = maps.grid
    for other in (maps.confidence, maps.earlier):
        if other is not None and (maps.classes is None or not _same_grid(other.grid, grid)):
            raise InputError(
                "Confidence and the earlier map have to lie on the same pixels as the class map; make them of the same region."
            )
    found: list[_Measured] = []
    for number, outline in enumerate(zones.outlines):
        if cancelled is not None and cancelled():
            raise Cancelled()
        if progress is not None:
            progress(number + 1, len(zones.outlines), "zones")
        found.append(_Measured(0.0) if outline is None else _measured(outline, maps))
    overlaps = _overlaps(zones.outlines, grid)
    return _table(zones, maps, found, overlaps)


@dataclass(frozen=True)
class _Measured:
    """A zone: its area in pixels of the grid, and what the maps say."""

    area: float
    classes: ZoneClasses | None = None
    values: tuple[ZoneValues | None, ...] = ()


def _measured(outline: Any, maps: ZoneMaps) -> _Measured:
    grid = maps.grid
    shape = _in_pixels(outline, grid.crs, grid)
    classes = None
    if maps.classes is not None:
        tally = ClassTally(moves=maps.earlier is not None)
        for box in _boxes(shape, grid):
            others = (None if one is None else one.read(box) for one in (maps.confidence, maps.earlier))
            tally.add(pixel_cover(shape, box), maps.classes.read(box), *others)
        classes = tally.result()
    values = []
    for layer in maps.values:
        gathered, there = ValueTally(), _in_pixels(outline, grid.crs, layer.grid)
        for box in _boxes(there, layer.grid):
            gathered.add(pixel_cover(there, box), layer.read(box))
        values.append(gathered.result())
    return _Measured(float(shape.area), classes, tuple(values))


def _in_pixels(outline: Any, crs: str | None, grid: Grid) -> Any:
    """An outline in columns and rows of a grid."""
    import shapely

    move = None if crs == grid.crs or crs is None or grid.crs is None else transformer(crs, grid.crs)

    def pixels(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = (xy[:, 0], xy[:, 1]) if move is None else move.transform(xy[:, 0], xy[:, 1])
        rows, cols = grid.xy_to_pixel(x, y)
        return np.stack([cols, rows], 1)

    return shapely.transform(outline, pixels)


def _boxes(shape: Any, grid: Grid) -> Iterator[PixelBox]:
    """Windows of the grid over a shape in pixels, a few rows at a time."""
    left, top, right, bottom = shape.bounds
    if not np.isfinite([left, top, right, bottom]).all():
        return
    left, top = max(0, int(np.floor(left))), max(0, int(np.floor(top)))
    right, bottom = min(grid.width, int(np.ceil(right))), min(grid.height, int(np.ceil(bottom)))
    if right <= left or bottom <= top:
        return
    step = max(1, _BLOCK // (right - left))
    for row in range(top, bottom, step):
        yield row, left, min(row + step, bottom), right


def _same_grid(one: Grid, other: Grid) -> bool:
    return one.crs == other.crs and one.shape == other.shape and one.transform.almost_equals(other.transform, 1e-6)


def _overlaps(outlines: NDArray[Any], grid: Grid) -> Counter[int]:
    """How many others each zone shares ground with."""
    import shapely

    tree = shapely.STRtree([one if one is not None else shapely.Point() for one in outlines])
    one, other = tree.query(tree.geometries, predicate="intersects")
    one, other = one[one < other], other[one < other]
    shared = shapely.area(shapely.intersection(outlines[one], outlines[other])) if len(one) else np.zeros(0)
    really = shared > _TOUCH * abs(grid.transform.determinant)
    return Counter([*one[really].tolist(), *other[really].tolist()])


# ------------------------------------------------------------------- table


def _table(zones: Zones, maps: ZoneMaps, found: list[_Measured], overlaps: Counter[int]) -> ZoneTable:
    grid = maps.grid
    columns = _Columns()
    for name in zones.columns:
        columns.add(name, [_cell(properties.get(name)) for properties in zones.properties])
    statuses = [_status(outline, one) for outline, one in zip(zones.outlines, found, strict=True)]
    unit, size = ("ha", hectares_per_pixel(grid)) if grid.georeferenced else ("pixels", 1.0)
    remarks = [list(remark) for remark in zones.remarks]
    errors = maps.errors if maps.classes is not None else None
    corrected = [
        None if errors is None or one.classes is None else errors.corrected(one.classes.shares) for one in found
    ]
    for number, one in enumerate(found):
        if overlaps[number]:
            others = "another zone" if overlaps[number] == 1 else f"{overlaps[number]} other zones"
            remarks[number].append(f"shares ground with {others}, and it counts in each")
        if 0 < one.area < 1:
            remarks[number].append("smaller than a pixel")
        if errors is not None and one.classes is not None and one.classes.mapped and corrected[number] is None:
            remarks[number].append("no corrected shares: the sample has no place on one of its classes")
    columns.add("status", statuses)
    columns.add("remark", ["; ".join(remark) for remark in remarks])
    columns.add(f"zone_{unit}", [one.area * size or None for one in found], 4)
    if maps.classes is not None:
        _class_columns(columns, maps, found, corrected, size, unit)
    for number, layer in enumerate(maps.values):
        of = [one.values[number] if one.values else None for one in found]
        _value_columns(columns, layer.title or "value", of, found)
    counts = Counter(statuses)
    notes = [*zones.notes, _summary(counts), RULE]
    if sum(1 for one in overlaps.values() if one):
        notes.append(
            f"{len(overlaps)} zones share ground with another; it counts in each, so that totals count it twice."
        )
    tiny = sum(1 for one in found if 0 < one.area < 1)
    if tiny:
        notes.append(f"{tiny} zones are smaller than a pixel, whose class may be that of the ground beside them.")
    if maps.classes is not None:
        notes.append("Areas are counts of the map and carry its mistakes." if errors is None else MEANING)
    if maps.earlier is not None:
        notes.append("What changed is where the two maps differ; the mistakes of both count as change.")
    rows = [list(cells) for cells in zip(*columns.cells, strict=True)]
    return ZoneTable(tuple(columns.names), rows, zones.outlines, grid, tuple(notes), dict(counts))


def _status(outline: Any, one: _Measured) -> str:
    if outline is None:
        return NO_POLYGON
    share = _mapped_share(one)
    return WHOLE if share >= _WHOLE else PARTLY if share > 0 else NOTHING


def _mapped_share(one: _Measured) -> float:
    if not one.area:
        return 0.0
    if one.classes is not None:
        return min(one.classes.mapped / one.area, 1.0)
    return 1.0 if any(v is not None for v in one.values) else 0.0


def _summary(counts: Counter[str]) -> str:
    parts = [f"{counts[status]} {status}" for status in (WHOLE, PARTLY, NOTHING, NO_POLYGON) if counts[status]]
    return f"{counts.total()} features: {', '.join(parts)}."


class _Columns:
    """Columns of a table, each under a name of its own."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.cells: list[list[Any]] = []
        self._taken: set[str] = set()

    def add(self, name: str, cells: Sequence[Any], digits: int | None = None) -> None:
        """Add one; numbers are rounded to ``digits``."""
        name = unused(name, self._taken)
        self._taken.add(name.casefold())
        self.names.append(name)
        self.cells.append([c if digits is None or c is None else round(float(c), digits) for c in cells])


def _class_columns(
    columns: _Columns,
    maps: ZoneMaps,
    found: list[_Measured],
    corrected: Sequence[Mapping[int, Any] | None],
    size: float,
    unit: str,
) -> None:
    assert maps.classes is not None
    names = maps.classes.names
    told = [one.classes if one.classes is not None and one.classes.mapped else None for one in found]
    columns.add("mapped_share", [_mapped_share(one) if one.area else None for one in found], 4)
    if maps.confidence is not None:
        columns.add("mean_confidence", [None if one is None else one.confidence for one in told], 2)
    main = [None if one is None else int(one.pixels[1:].argmax()) + 1 for one in told]
    columns.add("main_class", [None if k is None else names.get(k, str(k)) for k in main])
    columns.add(
        "main_share",
        [None if k is None or one is None else one.shares[k] for k, one in zip(main, told, strict=True)],
        4,
    )
    seen = np.zeros(IDS, bool)
    for each in told:
        if each is not None:
            seen |= each.pixels > 0
            seen[[before for before, _ in each.moves or ()]] = True
    for shares in corrected:
        seen[list(shares or ())] = True
    seen[0] = False
    for k in np.flatnonzero(seen).tolist():
        name = "_".join(names.get(k, str(k)).split())
        columns.add(f"{name}_{unit}", [None if one is None else one.pixels[k] * size for one in told], 4)
        columns.add(f"{name}_share", [None if one is None else one.shares[k] for one in told], 4)
        if maps.errors is not None:
            of = [None if shares is None else shares.get(k) for shares in corrected]
            for ending, part in (("corrected", "value"), ("low", "low"), ("high", "high")):
                columns.add(f"{name}_share_{ending}", [None if one is None else getattr(one, part) for one in of], 4)
        if maps.earlier is not None:
            gained = [None if one is None or one.moves is None else one.gained(k) * size for one in told]
            columns.add(f"{name}_change_{unit}", gained, 4)
    if maps.earlier is not None:
        columns.add("changed_share", [None if one is None else one.changed for one in told], 4)
        moves = [None if one is None else one.largest_move for one in told]
        columns.add(
            "largest_change",
            [None if m is None else f"{names.get(m[0], m[0])} to {names.get(m[1], m[1])}" for m in moves],
        )
        columns.add(f"largest_change_{unit}", [None if m is None else m[2] * size for m in moves], 4)


def _value_columns(columns: _Columns, title: str, of: Sequence[ZoneValues | None], found: Sequence[_Measured]) -> None:
    title = "_".join(title.split())
    parts: list[tuple[str, Callable[[ZoneValues], float]]] = [
        ("mean", lambda one: one.mean),
        ("sd", lambda one: one.sd),
        ("min", lambda one: one.low),
        *((f"p{100 * q:g}", lambda one, n=n: one.quantiles[n]) for n, q in enumerate(QUANTILES)),
        ("max", lambda one: one.high),
    ]
    for ending, part in parts:
        columns.add(f"{title}_{ending}", [None if one is None else float(f"{part(one):.6g}") for one in of])


def _cell(value: Any) -> Any:
    """An attribute of a file as a cell: a number, a text or nothing."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return None
    return value if isinstance(value, int | float | str) else str(value)
