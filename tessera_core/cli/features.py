"""Other rasters as features: elevation, slope, canopy height, a drone's mosaic, a map of soils, on the grid of embeddings.

What is written is read like embeddings: mapped alone, or joined with embeddings by 'tessera stack'. A finer raster is averaged over
each pixel, a coarser one interpolated (bilinear); of classes the commonest counts, and each class becomes a column. Numbers are
standardised; --follow FOLDER does it as an earlier folder did, so that its heads map this region, too. A pixel without data in one
of the rasters has none.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tessera_core.cli.paths import Input, Output

SUMMARY = "other rasters as features: elevation, slope, canopy height"
EXAMPLES = (
    "tessera features embeddings/2024 dem.tif canopy.tif --slope dem.tif --out layers",
    "tessera features elsewhere/2024 dem.tif canopy.tif --slope dem.tif --follow layers --out layers-elsewhere",
)
PATHS = {
    "embeddings": Input(),
    "rasters": Input(),
    "slope": Input(),
    "classes": Input(),
    "follow": Input(),
    "out": Output(folder="whole"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("embeddings", help="whose grid the features are for")
    parser.add_argument(
        "rasters", metavar="RASTER", nargs="*", default=[], help="GeoTIFFs of numbers; all their bands are taken"
    )
    parser.add_argument(
        "--slope", metavar="FILE", nargs="+", default=[], help="elevations in metres, of which the slope is taken"
    )
    parser.add_argument("--classes", metavar="FILE", nargs="+", default=[], help="GeoTIFFs of classes, such as soils")
    parser.add_argument(
        "--follow", metavar="FOLDER", help="features made earlier, whose means and deviations are taken"
    )
    parser.add_argument("--out", metavar="FOLDER", required=True, help="to write; open it like any embeddings")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Read the rasters onto the grid and write them.

    Raises:
        InputError, RasterError: a raster cannot be used.
        ExportError: the folder cannot be written.
    """
    from tessera_core._utils.atomic import RASTER, require_replaceable
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.raster import EmbeddingRaster
    from tessera_core.sources.local.layers import LayerSource, read_layers
    from tessera_core.sources.local.open import open_embeddings

    require_replaceable(args.out, RASTER)
    raster = open_embeddings(args.embeddings)
    named = (("number", args.rasters), ("slope", args.slope), ("classes", args.classes))
    sources = [LayerSource(Path(file), kind) for kind, files in named for file in files]
    like = None if args.follow is None else EmbeddingRaster.open(args.follow).provenance
    made = read_layers(
        sources, raster.grid, year=raster.provenance.year, like=like, progress=ConsoleProgress("features")
    )
    made.save(args.out)
    details = made.provenance.details
    return {
        "out": args.out,
        "dataset": made.provenance.dataset,
        "features": details["layers"],
        "pixels": int(made.valid().sum()),
        "without_data": details["without_data"],
        "warnings": details.get("warnings", []),
    }


def report(result: dict[str, Any]) -> str:
    """The result for people."""
    lines = [
        f"  {one['title']}: {one['rule']}"
        + ("" if one["code"] is not None else f", mean {one['mean']:.6g}, deviation {one['sd']:.6g}")
        for one in result["features"]
    ]
    told = f"{result['without_data']} pixels have no data in one of them and are left out."
    warnings = [f"Warning: {warning}" for warning in result["warnings"]]
    return "\n".join([f"{result['out']}: {result['dataset']}, {result['pixels']} pixels.", *lines, told, *warnings])
