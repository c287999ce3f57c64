"""Polygons in, table out: what a map says of each farm, field or reserve (zonal statistics).

Of a class map: hectares and share of each class, mean confidence, and with --earlier what changed. Of a map of a number: mean,
standard deviation, least, greatest and quantiles. A project, or --sample, adds shares corrected by the map's errors, with 95 %
intervals, where a sample was checked.

A pixel counts with the share of it that lies inside a polygon, so that small fields and narrow strips get their true area. Every
feature of the file has a line in the table, in its order: "measured", "partly on the map", "not on the map" or "no polygon"; what
overlaps, was repaired or is smaller than a pixel is said in the column remark.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core.cli.paths import TIFF, Input, Output
from tessera_core.cli.years import add_year

if TYPE_CHECKING:
    from tessera_core.project.zone_maps import ZoneMaps

SUMMARY = "polygons in, table out: what a map says of each field or farm"
EXAMPLES = (
    "tessera zones map.tif fields.gpkg --out fields.xlsx",
    "tessera zones map-2024.tif farms.geojson --earlier map-2023.tif --out farms.gpkg",
    "tessera zones PROJECT reserves.kml --out reserves.csv",
    "tessera zones height.tif stands.zip --out stands.csv",
)


def _is_file(args: argparse.Namespace) -> bool:
    return Path(args.map).suffix.lower() in TIFF


def _map(args: argparse.Namespace) -> Input | None:
    path = Path(args.map)
    return None if not path.exists() and not path.suffix and len(path.parts) == 1 else Input()


PATHS = {
    "map": _map,
    "polygons": Input(),
    "earlier": Input(),
    "confidence": Input(),
    "values": Input(),
    "sample": Input(),
    "out": Output((".csv", ".xlsx", ".gpkg", ".geojson")),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "map", metavar="MAP", help="a GeoTIFF of classes or of a number; or a project, whose map is made"
    )
    parser.add_argument(
        "polygons",
        metavar="POLYGONS",
        help="GeoPackage, GeoJSON, zipped shapefile, KML, or a table with outlines as WKT",
    )
    parser.add_argument(
        "--out", metavar="FILE", required=True, help="the table: .csv, .xlsx, or with outlines .gpkg, .geojson"
    )
    parser.add_argument(
        "--earlier", metavar="MAP", help="class map of another time on the same pixels, for what changed"
    )
    parser.add_argument(
        "--confidence", metavar="FILE", help="confidence of a class map (default: NAME_confidence.tif beside it)"
    )
    parser.add_argument(
        "--values", metavar="FILE", nargs="+", default=[], help="GeoTIFFs of numbers to summarise too, on any grid"
    )
    parser.add_argument(
        "--sample",
        metavar="FILE",
        help="CSV of a checked validation sample of this map, for corrected shares with intervals",
    )
    parser.add_argument("--layer", metavar="NAME", help="layer of POLYGONS, where there are several")
    parser.add_argument("--crs", metavar="EPSG:N", help="coordinate system of POLYGONS, where the file does not say it")
    parser.add_argument(
        "--encoding", metavar="NAME", help="of the text of POLYGONS, such as mac-roman (default: found)"
    )
    parser.add_argument("--name", metavar="NAME", help="of several projects in a pack the one meant")
    add_year(parser, "the year to map, where a project has several")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, write the table, and say what became of the features.

    Raises:
        InputError, RasterError, LabelError: a file cannot be read or does not fit.
        ExportError: the table cannot be written.
    """
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.export.zone_table import write_zone_table
    from tessera_core.labels.features import Hints
    from tessera_core.project.zones import measure_zones, read_zones

    with ExitStack() as stack:
        maps, notes = _maps(args, stack)
        hints = Hints(layer=args.layer, encoding=args.encoding)
        zones = read_zones(args.polygons, maps.grid, args.crs, hints)
        table = measure_zones(zones, maps, progress=ConsoleProgress("zones"))
    written = write_zone_table(args.out, table)
    return {
        "out": str(written),
        "zones": len(table.rows),
        "counts": table.counts,
        "columns": list(table.columns),
        "notes": [*notes, *table.notes],
    }


def _maps(args: argparse.Namespace, stack: ExitStack) -> tuple[ZoneMaps, tuple[str, ...]]:
    """The maps that are meant, open for as long as ``stack`` is."""
    from dataclasses import replace

    from tessera_core.errors import InputError
    from tessera_core.project.zone_maps import open_layer, open_zone_maps, project_zone_maps

    if _is_file(args):
        opened = open_zone_maps(
            args.map, confidence=args.confidence, earlier=args.earlier, values=args.values, sample=args.sample
        )
        return stack.enter_context(opened), ()
    if args.sample or args.confidence:
        raise InputError("A project has its own confidence and validation; leave --confidence and --sample out.")
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.cli.export import opened_project, project_embeddings
    from tessera_core.project.classify import map_project

    project = opened_project(args.map, Path(stack.enter_context(tempfile.TemporaryDirectory())), args.name)
    year, raster = project_embeddings(project, args.year)
    made = map_project(project, raster, year, progress=ConsoleProgress("map"))
    earlier = None if args.earlier is None else stack.enter_context(open_layer(args.earlier, numbers=False))[0]
    found = project_zone_maps(project, raster, made, earlier=earlier)
    values = tuple(stack.enter_context(open_layer(one, numbers=True))[0] for one in args.values)
    return replace(found.maps, values=values), found.notes


def report(result: dict[str, Any]) -> str:
    """The result for people."""
    return "\n".join([f"Wrote {result['out']}", *result["notes"]])
