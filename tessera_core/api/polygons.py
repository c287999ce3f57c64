"""Polygons in, table out, at the front door."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tessera_core.api.arguments import checked
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Cancel, Progress

if TYPE_CHECKING:
    from tessera_core.export.zone_table import ZoneTable
    from tessera_core.project.fields import Fields
    from tessera_core.project.maps import MappedClasses, MappedValues


@checked
def zones(
    map: str | os.PathLike[str] | MappedClasses | MappedValues,
    polygons: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    earlier: str | os.PathLike[str] | MappedClasses | None = None,
    confidence: str | os.PathLike[str] | None = None,
    values: Sequence[str | os.PathLike[str]] = (),
    sample: str | os.PathLike[str] | None = None,
    crs: str | None = None,
    layer: str | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> ZoneTable:
    """What a map says of each polygon of a file: class shares and areas, confidence, change, or statistics of a number.

    A pixel counts with the share of it that lies inside. Every feature of the file has a line, also where it is not on the map.

    Args:
        map: a GeoTIFF, or what :func:`map_classes` or :func:`map_values` made.
        polygons: GeoPackage, GeoJSON, zipped shapefile, KML, or a table with outlines as WKT.
        out: write the table here, too: .csv, .xlsx, .gpkg or .geojson.
        earlier: class map of another time on the same pixels, for what changed.
        confidence: of a map in a file; ``NAME_confidence.tif`` beside it is found.
        values: GeoTIFFs of numbers, on any grid.
        sample: CSV of a validation sample of this map with its answers, for corrected shares with intervals.
        crs, layer: of the polygons, where the file does not say it or has several.

    Returns:
        ``columns``, ``rows`` in the order of the file, ``records()``, ``notes`` and ``counts`` by status.

    Raises:
        LabelError: the file of polygons cannot be read, or has none.
        InputError: the maps do not fit together.

    Example:
        >>> table = tessera.zones(made, fields)
        >>> table.column("status")
        ['measured', 'not on the map']
    """
    from contextlib import ExitStack
    from dataclasses import replace

    from tessera_core.export.zone_table import write_zone_table
    from tessera_core.labels.features import Hints
    from tessera_core.project.maps import MappedClasses, MappedValues
    from tessera_core.project.zone_maps import MapLayer, ZoneMaps, open_layer, open_zone_maps
    from tessera_core.project.zones import measure_zones, read_zones

    def of(one: MappedClasses) -> MapLayer:
        return MapLayer.of_array(one.classes, one.grid, one.names)

    with ExitStack() as stack:
        before = earlier if isinstance(earlier, str | os.PathLike) else None
        if isinstance(map, str | os.PathLike):
            maps = stack.enter_context(
                open_zone_maps(
                    Path(map),
                    confidence=None if confidence is None else Path(confidence),
                    earlier=None if before is None else Path(before),
                    values=[Path(one) for one in values],
                    sample=None if sample is None else Path(sample),
                )
            )
        else:
            more = tuple(stack.enter_context(open_layer(Path(one), numbers=True))[0] for one in values)
            if isinstance(map, MappedValues):
                maps = ZoneMaps(values=(MapLayer.of_array(map.values, map.grid, title="value"), *more))
            else:
                maps = ZoneMaps(of(map), MapLayer.of_array(map.confidence, map.grid), values=more)
            if before is not None:
                maps = replace(maps, earlier=stack.enter_context(open_layer(Path(before), numbers=False))[0])
        if isinstance(earlier, MappedClasses):
            maps = replace(maps, earlier=of(earlier))
        found = read_zones(Path(polygons), maps.grid, crs, Hints(layer=layer))
        table = measure_zones(found, maps, progress=progress, cancelled=cancelled)
    if out is not None:
        write_zone_table(Path(out), table)
    return table


@checked
def find_fields(
    raster: EmbeddingRaster,
    map: MappedClasses | None = None,
    *,
    smallest_ha: float = 0.25,
    detail: float = 800.0,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Fields:
    """Fields where there is no register: pieces of ground whose embeddings are alike, with the class that most of each is.

    Args:
        raster: the embeddings.
        map: of :func:`map_classes` on the same raster, whose classes the fields are given.
        smallest_ha: hectares of the smallest field.
        detail: how different pieces may be and still be joined; larger gives larger fields.
        seed: of everything random.

    Returns:
        ``numbers`` int32 (H, W), ``outlines``, ``table``, and ``write(path)``: .parquet (GeoParquet after fiboa), .gpkg, .geojson.

    Raises:
        InputError: the region has no place on Earth, or is too large.

    Example:
        >>> found = tessera.find_fields(raster, made)
        >>> found.table.column("main_class")[0] in made.names.values()
        True
    """
    from tessera_core.project import fields
    from tessera_core.project.zone_maps import MapLayer, ZoneMaps

    maps = None
    if map is not None:
        maps = ZoneMaps(
            MapLayer.of_array(map.classes, map.grid, map.names), MapLayer.of_array(map.confidence, map.grid)
        )
    return fields.find_fields(
        raster, smallest_ha=smallest_ha, detail=detail, maps=maps, seed=seed, progress=progress, cancelled=cancelled
    )
