"""Write the demo region: a simulated landscape as anyone's data would look.

OUT gets dpixels/<year>/ (Sentinel-1/2 time series), embeddings/<year>/ (embedding rasters) and truth/<year>.tif (ground
truth with class names and colours). Running the command again goes on where it stopped.
"""

from __future__ import annotations

import argparse
from typing import Any

from tessera_core.cli.paths import Input, Output, weights_names
from tessera_core.cli.years import add_years, parse_years

PATHS = {"out": Output(folder="into"), "weights": Input(names=weights_names)}
EXAMPLES = ("tessera demo demo", "tessera demo small --size 128 --years 2023,2024")
STOPPED = "finished parts are kept; run the same command again to go on"
SUMMARY = "write the demo region: time series, embeddings and ground truth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("out", metavar="OUT", help="folder to write")
    parser.add_argument(
        "--size",
        type=int,
        default=512,
        metavar="N",
        help="pixels of 10 m along each side, even, 96 or more (default: 512)",
    )
    add_years(parser, "", default="2023,2024")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another landscape (default: 0)")
    parser.add_argument("--weights", default="studio-nano", metavar="NAME|FILE", help="encoder (default: studio-nano)")


def check(args: argparse.Namespace) -> None:
    """Refuse a size or years that cannot be simulated, before the encoder is loaded.

    Raises:
        InputError: they cannot.
    """
    from tessera_core.dpixels.simulate.limits import require_possible

    require_possible(args.size, parse_years(args.years))


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Write the demo; see the module's docstring."""
    import time

    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.project.demo import DEMO_CLASSES, write_demo

    started = time.monotonic()
    region = write_demo(
        args.out, args.size, parse_years(args.years), args.seed, weights=args.weights, progress=ConsoleProgress("demo")
    )
    return {
        "out": str(region.root),
        "size": region.size,
        "seed": region.seed,
        "years": sorted(region.dpixels),
        "dpixels": {str(year): str(path) for year, path in region.dpixels.items()},
        "embeddings": {str(year): str(path) for year, path in region.embeddings.items()},
        "truth": {str(year): str(path) for year, path in region.truth.items()},
        "classes": {str(c.id): c.name for c in DEMO_CLASSES},
        "seconds": round(time.monotonic() - started, 2),
    }


def report(result: dict[str, Any]) -> str:
    """What was written, for people."""
    size, first = result["size"], result["years"][0]
    return "\n".join(
        [
            f"Demo region of {size} x {size} pixels, years {', '.join(map(str, result['years']))}: {result['out']}",
            f"Map it:    tessera map {result['embeddings'][str(first)]} --labels {result['truth'][str(first)]} --out map.tif",
            f"Score it:  tessera evaluate {result['embeddings'][str(first)]} --labels {result['truth'][str(first)]}",
        ]
    )
