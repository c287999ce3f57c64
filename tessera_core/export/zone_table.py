"""A table with a line for each zone, and its outline, as CSV, XLSX, GeoPackage or GeoJSON."""

from __future__ import annotations

import csv
import io
import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import atomic_path, write_text
from tessera_core._utils.csvcells import quoted_row
from tessera_core.errors import ExportError, InputError
from tessera_core.export.vector import GPKG_OPTIONS, in_degrees
from tessera_core.export.xlsx import write_xlsx
from tessera_core.grid import Grid
from tessera_core.provenance import SOFTWARE

ENDINGS = (".csv", ".xlsx", ".gpkg", ".geojson")


@dataclass(frozen=True)
class ZoneTable:
    """What was measured in zones.

    Attributes:
        columns: names, each once.
        rows: a list of cells for each zone, in the order of the file; None where there is nothing to say.
        outlines: object (n,) shapely polygons in the CRS of ``grid``, None where a feature is no polygon.
        grid: of the map.
        notes: how it was measured and what to mind, in sentences.
        counts: how many zones have each status.
    """

    columns: tuple[str, ...]
    rows: list[list[Any]]
    outlines: NDArray[Any]
    grid: Grid
    notes: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)

    def records(self) -> list[dict[str, Any]]:
        """A mapping for each zone: column -> value."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def column(self, name: str) -> list[Any]:
        """The values of one column.

        Raises:
            InputError: there is none of that name.
        """
        if name not in self.columns:
            raise InputError(f"The table has no column {name!r}; it has {', '.join(self.columns)}.")
        place = self.columns.index(name)
        return [row[place] for row in self.rows]


def write_zone_table(path: str | Path, table: ZoneTable) -> Path:
    """Write the table; the ending of the name says in which form (:data:`ENDINGS`).

    CSV and XLSX hold the table alone, XLSX with the notes on a second sheet; GeoPackage (CRS of the map) and GeoJSON (WGS 84) hold
    the outlines too.

    Raises:
        InputError: the ending is none of these, or GeoJSON is asked for and the map has no place on Earth.
        ExportError: the file cannot be written.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending == ".csv":
        write_text(path, table_csv(table))
    elif ending == ".xlsx":
        notes = [("What this is", ""), *((note, "") for note in table.notes), (f"Made by {SOFTWARE}", "")]
        write_xlsx(path, {"zones": [table.columns, *table.rows], "notes": notes})
    elif ending == ".geojson":
        _write_geojson(path, table)
    elif ending == ".gpkg":
        _write_gpkg(path, table)
    else:
        raise InputError(f"{path.name} is not a name of a table; end it with {', '.join(ENDINGS)}.")
    return path


def table_csv(table: ZoneTable) -> str:
    """The table as the text of a CSV file; nothing in it is a formula to a spreadsheet."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(quoted_row(table.columns))
    writer.writerows(quoted_row("" if value is None else value for value in row) for row in table.rows)
    return out.getvalue()


def _write_geojson(path: Path, table: ZoneTable) -> None:
    import shapely

    degrees = in_degrees(table.grid, "GeoJSON")
    features = [
        {
            "type": "Feature",
            "geometry": None if outline is None else shapely.geometry.mapping(degrees(outline)),
            "properties": dict(zip(table.columns, row, strict=True)),
        }
        for outline, row in zip(table.outlines, table.rows, strict=True)
    ]
    collection = {"type": "FeatureCollection", "features": features, "notes": table.notes, "software": SOFTWARE}
    write_text(path, json.dumps(collection, ensure_ascii=False, allow_nan=False) + "\n")


def _write_gpkg(path: Path, table: ZoneTable) -> None:
    import pyogrio
    import shapely
    from pyogrio.errors import DataLayerError, DataSourceError

    taken = {"fid", "geom"}
    names = []
    for name in table.columns:
        # A GeoPackage has columns of its own, and tells names by their letters alone and not by case.
        new = name if name.casefold() not in taken else unused(f"{name}_1", taken)
        taken.add(new.casefold())
        names.append(new)
    outlines = [
        None if one is None else shapely.to_wkb(one if one.geom_type == "MultiPolygon" else shapely.MultiPolygon([one]))
        for one in table.outlines
    ]
    try:
        with atomic_path(path) as part, warnings.catch_warnings():
            # A local grid has no CRS on purpose.
            warnings.filterwarnings("ignore", message="'crs' was not provided")
            pyogrio.raw.write(
                part,
                geometry=np.array(outlines, dtype=object),
                field_data=[_typed([row[n] for row in table.rows]) for n in range(len(names))],
                fields=np.array(names, dtype=object),
                layer="zones",
                driver="GPKG",
                geometry_type="MultiPolygon",
                crs=table.grid.crs,
                dataset_options=GPKG_OPTIONS,
                layer_metadata={"tessera_software": SOFTWARE, "notes": "\n".join(table.notes)},
            )
    except (DataSourceError, DataLayerError, RuntimeError) as error:
        raise ExportError(f"{path.name} could not be written: {str(error).splitlines()[0]}") from error


def unused(name: str, taken: set[str]) -> str:
    """The name, or the name with the first number that makes it new; ``taken`` holds names in small letters."""
    number, new = 2, name
    while new.casefold() in taken:
        new, number = f"{name}_{number}", number + 1
    return new


def _typed(values: Sequence[Any]) -> NDArray[Any]:
    """A column as GDAL wants it: whole numbers, numbers with NaN for nothing, or texts."""
    known = [value for value in values if value is not None]
    if (
        known
        and all(isinstance(value, int) and not isinstance(value, bool) for value in known)
        and len(known) == len(values)
    ):
        return np.array(values, np.int64)
    if known and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
        return np.array([math.nan if value is None else value for value in values], np.float64)
    return np.array([None if value is None else str(value) for value in values], dtype=object)
