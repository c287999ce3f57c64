"""Areas as GeoParquet 1.1 (WKB, WGS 84), also with what fiboa, the exchange of field boundaries, asks of a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import atomic_path
from tessera_core.errors import ExportError
from tessera_core.export.vector import in_degrees
from tessera_core.grid import Grid
from tessera_core.provenance import SOFTWARE

# Of https://github.com/fiboa/specification, whose names of columns are those of project/fields.
FIBOA = {"fiboa_version": "0.2.0", "fiboa_extensions": []}


def write_geoparquet(
    path: str | Path,
    outlines: NDArray[Any],
    columns: Mapping[str, Sequence[Any]],
    grid: Grid,
    *,
    fiboa: bool = False,
    notes: Sequence[str] = (),
) -> Path:
    """Write areas with their columns.

    Args:
        path: of the file.
        outlines: object (n,) shapely polygons in the CRS of ``grid``; None where there is none.
        columns: name -> values, as many as outlines.
        grid: whose CRS they are in.
        fiboa: say in the file that it follows fiboa.
        notes: sentences kept with the file.

    Raises:
        InputError: the grid has no place on Earth.
        ExportError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    import shapely

    path = Path(path)
    degrees = in_degrees(grid, "GeoParquet")
    moved = [None if one is None else degrees(one) for one in outlines]
    known = [one for one in moved if one is not None]
    bounds = shapely.total_bounds(known) if known else np.zeros(4)
    table = pa.table(
        {
            **{name: pa.array(list(values)) for name, values in columns.items()},
            "geometry": pa.array([None if one is None else shapely.to_wkb(one) for one in moved], pa.binary()),
        }
    )
    geometry = {
        "encoding": "WKB",
        "geometry_types": sorted({one.geom_type for one in known}),
        "orientation": "counterclockwise",
        "bbox": [float(v) for v in bounds],
    }
    told = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": geometry}}
    metadata = {"geo": json.dumps(told), "tessera_software": SOFTWARE, "tessera_notes": "\n".join(notes)}
    if fiboa:
        metadata["fiboa"] = json.dumps(FIBOA)
    try:
        with atomic_path(path) as part:
            pq.write_table(table.replace_schema_metadata(metadata), part, compression="zstd")
    except (pa.ArrowException, OSError) as error:
        raise ExportError(f"{path.name} could not be written: {str(error).splitlines()[0]}") from error
    return path
