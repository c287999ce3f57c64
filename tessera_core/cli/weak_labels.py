"""Labels from a map that exists already: land cover, a field register, an extract of OpenStreetMap.

Points are drawn from its classes, away from its borders. A legend says which of its classes are which of yours: --legend FILE, a
CSV of two columns, or --class '10=Wood' again and again; what it does not name is left out. Classes of OpenStreetMap are its tags,
such as landuse=forest. They are weak labels: they carry that map's mistakes. With --check, labels of your own, the result says
how often the map agrees with you.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tessera_core.cli.head_options import add_reading_options, hints_of
from tessera_core.cli.paths import Input, Output

SUMMARY = "labels from an existing map or register, with its agreement"
EXAMPLES = (
    "tessera weak-labels landcover.tif embeddings --legend legend.csv --out weak.gpkg",
    "tessera weak-labels register.gpkg embeddings --class wheat=Cereal --class oak=Wood --out weak.gpkg",
    "tessera weak-labels kent.osm.pbf embeddings --class landuse=forest=Wood --class landuse=farmland=Field --out weak.gpkg",
    "tessera weak-labels landcover.tif embeddings --check mine.gpkg --out weak.gpkg",
)
PATHS = {
    "map": Input(),
    "embeddings": Input(),
    "legend": Input(),
    "check": Input(),
    "out": Output((".gpkg", ".geojson", ".csv", ".kml")),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("map", metavar="MAP", help="a GeoTIFF of classes, polygons with a class, or .osm.pbf")
    parser.add_argument("embeddings", help="whose pixels the labels are for")
    parser.add_argument("--out", metavar="FILE", required=True, help="labels: .gpkg, .geojson, .csv or .kml")
    parser.add_argument(
        "--legend", metavar="FILE", help="CSV: class of the map (name or code), your class; empty leaves it out"
    )
    parser.add_argument(
        "--class",
        dest="pairs",
        metavar="THEIRS=YOURS",
        action="append",
        default=[],
        help="a line of the legend; again for more",
    )
    parser.add_argument("--per-class", type=int, default=50, metavar="N", help="most labels of a class (default: 50)")
    parser.add_argument(
        "--border", type=int, default=2, metavar="N", help="pixels around a label that are of its class (default: 2)"
    )
    parser.add_argument("--check", metavar="FILE", help="labels of your own, to say how often the map agrees with them")
    parser.add_argument("--field", metavar="NAME", help="attribute of polygons that is the class")
    parser.add_argument("--layer", metavar="NAME", help="layer of a package that holds the polygons")
    add_reading_options(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")


def check(args: argparse.Namespace) -> None:
    """Refuse what makes no sense before anything is read."""
    from tessera_core.errors import InputError

    if args.per_class < 1 or args.border < 0:
        raise InputError("--per-class is at least 1, and --border at least 0.")
    if args.legend and args.pairs:
        raise InputError("Give the legend either as a file (--legend) or line by line (--class), not both.")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Draw the labels, say how far the map can be trusted, and write them.

    Raises:
        LabelError: map, legend or labels cannot be used.
        ExportError: the file cannot be written.
    """
    from tessera_core.assess.reference import read_reference
    from tessera_core.export.labels import kind_of, write_labels
    from tessera_core.labels.weak import parse_legend, read_legend
    from tessera_core.project.weak_labels import weak_labels_of
    from tessera_core.sources.local.open import left_out, open_embeddings

    raster = open_embeddings(args.embeddings)
    legend = read_legend(args.legend) if args.legend else parse_legend(args.pairs) if args.pairs else None
    own = None if args.check is None else read_reference(args.check, raster.grid)
    reading = {"field": args.field, "crs": args.crs, "hints": hints_of(args)}
    drawing = {"per_class": args.per_class, "border": args.border, "own": own, "seed": args.seed}
    made = weak_labels_of(args.map, raster, legend, **reading, **drawing)
    found = made.labels
    written = write_labels(
        args.out, kind_of(args.out), found.labels, found.classes, raster.grid, raster.provenance, Path(args.map).stem
    )
    return {
        "out": str(written.path),
        "labels": made.counts,
        "agreement": None if made.agreement is None else made.agreement.to_json(),
        "repeated": made.repeated.to_json(),
        "import": found.report.to_json(),
        "sentences": made.sentences(),
        "lost": list(written.losses),
        "failed": left_out(raster),
    }


def report(result: dict[str, Any]) -> str:
    """The result for people."""
    from tessera_core._utils.partial import left_out_lines
    from tessera_core.labels.report import told

    counts = ", ".join(f"{name} {count}" for name, count in result["labels"].items())
    return "\n".join(
        [
            f"Wrote {result['out']}: {counts}.",
            *told(result),
            *result["sentences"],
            *result["lost"],
            *left_out_lines(result),
        ]
    )
