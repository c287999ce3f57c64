"""Train a head on labels, or take a saved one, and map a region of any size.

The region is read once, a block at a time. A saved head maps embeddings of its own dataset only. Labels teach the same head,
with the same calibrated confidence, as in the app: calibrated on labels whose place is held out. Where more than 20,000 pixels
are labelled, a draw of them (by --seed) teaches it.

Beside every raster lies its style for QGIS, NAME.qml, and beside a map of classes their table, NAME.tif.aux.xml. A style that you
saved there yourself is kept.

With --tiles DIR each tile of a folder gets a map of its own: nothing is put together first, so a folder may hold a country, in
several UTM zones; --workers takes several processes, --share a part of the tiles for a job array, --scheduler the workers of a
cluster, all into one folder.
"""

from __future__ import annotations

import argparse
from typing import Any

from tessera_core.cli.head_options import (
    LABEL_PATHS,
    chosen_head,
    chosen_regression_head,
    kept_head_names,
    read_classes,
    read_measured,
)
from tessera_core.cli.map_options import add_map_options, check_options, report, written  # noqa: F401 (report)
from tessera_core.cli.paths import TIFF, Input, Output, sidecars
from tessera_core.cli.tile_map import map_by_tile
from tessera_core.errors import InputError

PATHS = {
    **LABEL_PATHS,
    "use_head": Input(names=kept_head_names),
    **dict.fromkeys(("out", "confidence", "margin"), Output(TIFF, beside=sidecars)),
    "save_head": Output(),
    # Of a tile that cannot be read the other shares are told there.
    "tiles": Output(folder="into", meets=(".failed",)),
    "plan": Output((".geojson",)),
}
EXAMPLES = (
    "tessera map embeddings --labels fields.gpkg --field crop --out map.tif --confidence confidence.tif",
    "tessera map embeddings --labels plots.csv --field height_m --head ridge-regression --out height.tif --margin margin.tif",
    "tessera map elsewhere --use-head head.safetensors --out map.tif",
    "tessera map country --labels fields.gpkg --tiles maps --share 3/40",
    "tessera map country --labels fields.gpkg --tiles maps --scheduler tcp://head:8786",
    "tessera map s3://maps/country --labels fields.gpkg --tiles s3://maps/country/crops",
)
STOPPED = "files that were whole are kept, and nothing else; run the same command again"
SUMMARY = "train a head on labels and map a region"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_map_options(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Map and return what was written and what lies on the map; raises InputError and ExportError."""
    from tessera_core import api
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.project import maps

    regression, saved = check_options(args)
    if args.tiles is not None:
        if regression:
            raise InputError("Tile by tile, maps of classes are made; map numbers as one, with --out.")
        return map_by_tile(args)
    raster, progress = api.open(args.embeddings), ConsoleProgress("map")
    if saved is not None:
        mapped: Any = api.map_values if regression else api.map_classes
        made = mapped(raster, head=saved, seed=args.seed, progress=progress)
    elif regression:
        values, choice = read_measured(args, raster.grid), chosen_regression_head(args)
        made = api.map_values(raster, values, choice, seed=args.seed, progress=progress)
    else:
        labels = read_classes(args, raster.grid)
        head, legend = chosen_head(args, list(labels.classes))
        options = {"seed": args.seed, "calibrated": not args.raw_confidence, "progress": progress}
        made = maps.map_classes(raster, labels, head, legend=legend, **options)
    return written(args, made)
