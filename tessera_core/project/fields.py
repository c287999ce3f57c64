"""Fields where there is no register: pieces of ground that are alike within, as polygons, with the class that most of each is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.analysis.segments import DETAIL, find_segments
from tessera_core.areas import hectares_per_pixel
from tessera_core.errors import InputError
from tessera_core.export.geoparquet import write_geoparquet
from tessera_core.export.zone_table import ENDINGS as TABLE_ENDINGS
from tessera_core.export.zone_table import ZoneTable, write_zone_table
from tessera_core.periods import days_of
from tessera_core.project.monitor import outlines_of
from tessera_core.project.zone_maps import ZoneMaps
from tessera_core.project.zones import Zones, measure_zones
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Cancel, Progress

ENDINGS = (".parquet", *TABLE_ENDINGS)
SMALLEST_HA = 0.25
_METHOD = "pieces of ground with alike satellite embeddings, joined from single pixels; no register was asked"


@dataclass(frozen=True)
class Fields:
    """Pieces of ground.

    Attributes:
        numbers: int32 (H, W), 0 where there is no data; piece n is ``outlines[n - 1]``.
        outlines: object (n,) polygons in the CRS of the raster.
        table: columns ``id``, ``area`` (hectares), ``perimeter`` (metres) and those of fiboa, then what the maps say.
    """

    numbers: NDArray[np.int32]
    outlines: NDArray[Any]
    table: ZoneTable

    def write(self, path: str | Path) -> Path:
        """Write the pieces: ``.parquet`` (GeoParquet after fiboa), ``.gpkg``, ``.geojson``, or the table alone.

        Raises:
            InputError, ExportError: the ending is unknown, or the file cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() != ".parquet":
            return write_zone_table(path, self.table)
        columns = {name: self.table.column(name) for name in self.table.columns}
        return write_geoparquet(path, self.outlines, columns, self.table.grid, fiboa=True, notes=self.table.notes)


def find_fields(
    raster: EmbeddingRaster,
    *,
    smallest_ha: float = SMALLEST_HA,
    detail: float = DETAIL,
    maps: ZoneMaps | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Fields:
    """Fields of a region, found in its embeddings alone.

    Args:
        raster: embeddings (H, W, D).
        smallest_ha: hectares of the smallest field.
        detail: larger gives larger fields, see :func:`tessera_core.analysis.segments.find_segments`.
        maps: a class map on the same grid, whose classes each field is given, or maps of numbers.
        seed: of what is random.
        progress, cancelled: see docs/architecture.md.

    Raises:
        InputError: the region has no place on Earth, is too large, or a number makes no sense.
        RasterError: there is no data.
        Cancelled: ``cancelled`` said so.
    """
    grid = raster.grid
    if not grid.georeferenced:
        raise InputError(
            "The place of this region on Earth is not known, so its fields have no outlines on the ground."
        )
    smallest = max(1, ceil(smallest_ha / hectares_per_pixel(grid) - 1e-9))
    numbers = find_segments(raster, detail=detail, smallest=smallest, seed=seed, progress=progress, cancelled=cancelled)
    outlines = _outlines(numbers, raster)
    n, year = len(outlines), raster.provenance.year
    columns: dict[str, list[Any]] = {
        "id": [str(k) for k in range(1, n + 1)],
        "area": [round(float(one.area) / 10_000, 4) for one in outlines],
        "perimeter": [round(float(one.length), 2) for one in outlines],
        "determination_method": ["auto-imagery"] * n,
        "determination_details": [_METHOD] * n,
    }
    if year is not None:
        columns["determination_datetime"] = [f"{days_of(year)[1]}T23:59:59Z"] * n
    notes = [
        f"{n} fields of at least {smallest_ha:g} ha, found in the embeddings{f' of {year}' if year else ''}; detail {detail:g}.",
        "They are pieces of ground that look alike, and no register: two fields of one crop may be one, and one field two.",
    ]
    if maps is None:
        names = tuple(columns)
        rows = [list(cells) for cells in zip(*columns.values(), strict=True)]
        return Fields(numbers, outlines, ZoneTable(names, rows, outlines, grid, tuple(notes)))
    rows_of = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    zones = Zones(outlines, rows_of, [[] for _ in range(n)], list(columns), notes)
    table = measure_zones(zones, maps, progress=progress, cancelled=cancelled)
    return Fields(numbers, outlines, replace(table, grid=grid))


def _outlines(numbers: NDArray[np.int32], raster: EmbeddingRaster) -> NDArray[Any]:
    """The polygon of each piece; stairs of pixels are straightened, together, so that neighbours still share their border."""
    import shapely

    whole = outlines_of(numbers, raster.grid, int(numbers.max(initial=0)))
    pixel = abs(raster.grid.transform.determinant) ** 0.5
    simple: NDArray[Any] = shapely.coverage_simplify(whole, pixel)
    return simple
