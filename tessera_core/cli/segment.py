"""Fields without a register: pieces of ground whose embeddings are alike, as polygons.

Two numbers shape them: --smallest, hectares of the smallest field, and --detail, how different two pieces may be and still be
joined (larger gives larger fields). With --map each field is given the class that most of it is, with hectares and shares of all
classes, as `tessera zones` does for polygons of your own.

A .parquet file is GeoParquet with the columns of fiboa, the exchange of field boundaries: id, area, perimeter and
determination_method.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from typing import Any

from tessera_core.cli.paths import Input, Output

SUMMARY = "find fields in embeddings, where there is no register"
EXAMPLES = (
    "tessera segment demo/embeddings/2024 --out fields.parquet",
    "tessera segment demo/embeddings/2024 --map map.tif --smallest 1 --out fields.gpkg",
)
PATHS = {
    "embeddings": Input(),
    "map": Input(),
    "out": Output((".parquet", ".gpkg", ".geojson", ".csv", ".xlsx")),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("embeddings", help="a folder or file of embeddings in any layout we read")
    parser.add_argument(
        "--out", metavar="FILE", required=True, help="fields as .parquet, .gpkg or .geojson; .csv and .xlsx are tables"
    )
    parser.add_argument(
        "--map", metavar="FILE", help="class map of the same pixels: the class that most of each field is"
    )
    parser.add_argument(
        "--smallest", type=float, default=0.25, metavar="HA", help="hectares of the smallest field (default: 0.25)"
    )
    parser.add_argument(
        "--detail",
        type=float,
        default=800.0,
        metavar="X",
        help="a join may cost so many times what two pixels cost (default: 800)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Find the fields, write them, and say how many there are.

    Raises:
        InputError, RasterError: the embeddings or the map cannot be read or do not fit.
        ExportError: the file cannot be written.
    """
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.project.fields import find_fields
    from tessera_core.project.zone_maps import open_zone_maps
    from tessera_core.sources.local.open import left_out, open_embeddings

    raster = open_embeddings(args.embeddings)
    with ExitStack() as stack:
        maps = None if args.map is None else stack.enter_context(open_zone_maps(args.map))
        found = find_fields(
            raster,
            smallest_ha=args.smallest,
            detail=args.detail,
            maps=maps,
            seed=args.seed,
            progress=ConsoleProgress("fields"),
        )
    written = found.write(args.out)
    areas = sorted(found.table.column("area"))
    return {
        "out": str(written),
        "fields": len(areas),
        "hectares": round(sum(areas), 4),
        "median_hectares": areas[len(areas) // 2],
        "columns": list(found.table.columns),
        "notes": list(found.table.notes),
        "failed": left_out(raster),
    }


def report(result: dict[str, Any]) -> str:
    """The result for people."""
    from tessera_core._utils.partial import left_out_lines

    said = f"{result['fields']} fields, half of them larger than {result['median_hectares']:.2f} ha."
    return "\n".join([f"Wrote {result['out']}", said, *result["notes"], *left_out_lines(result)])
