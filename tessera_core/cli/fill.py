"""Fill what published embeddings lack with embeddings made here, if the two agree around the holes.

PUBLISHED and MADE are rasters of one dataset and year on the same pixels; MADE covers the holes and 32 pixels around them
('--boxes' says which in degrees, for 'tessera acquire'). OUT is one raster, with origin.npy beside it: 1 published, 2 made here.
Where they do not agree nothing is joined: keep MADE as a dataset of its own.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tessera_core.cli.paths import Input, Output

PATHS = {"published": Input(), "made": Input(), "out": Output(folder="whole")}
EXAMPLES = (
    "tessera fill here/2024 --boxes",
    "tessera fill here/2024 made/2024 --out filled",
)
SUMMARY = "fill holes of published embeddings with embeddings made here"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("published", metavar="PUBLISHED", help="published embeddings with holes")
    parser.add_argument("made", metavar="MADE", nargs="?", help="embeddings made here")
    parser.add_argument("--out", metavar="DIR", help="folder of the raster of both")
    parser.add_argument("--boxes", action="store_true", help="say what has to be made, as boxes in degrees")
    parser.add_argument(
        "--margin", type=int, default=32, metavar="PIXELS", help="compared around each hole (default: 32)"
    )
    parser.add_argument(
        "--refused", action="store_true", help="fill also what the publisher refused because it was seen too rarely"
    )


def check(args: argparse.Namespace) -> None:
    """Refuse what is not a whole order.

    Raises:
        InputError: something is missing.
    """
    from tessera_core.errors import InputError

    if args.boxes == bool(args.made and args.out):
        raise InputError("Give MADE and --out to fill holes, or --boxes to see what has to be made.")
    if args.margin <= 0:
        raise InputError("--margin must be greater than 0.")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Fill; returns what was filled and how well it agrees."""
    from tessera_core.assess.holes import FILLABLE, REFUSED, boxes_to_make, fill_holes
    from tessera_core.sources.local.open import open_embeddings

    published = open_embeddings(Path(args.published))
    reasons = FILLABLE | REFUSED if args.refused else FILLABLE
    if args.boxes:
        boxes = [
            published.grid.window(top, left, bottom - top, right - left).bounds_lonlat
            for top, left, bottom, right in boxes_to_make(published, args.margin, reasons)
        ]
        return {"boxes": [[round(float(value), 6) for value in box] for box in boxes]}
    found = fill_holes(published, open_embeddings(Path(args.made)), margin=args.margin, reasons=reasons)
    return {
        "out": str(found.save(args.out)),
        "filled": found.filled,
        "agreement": found.agreement.to_json(),
        "sentence": found.sentence,
    }


def report(result: dict[str, Any]) -> str:
    """What was filled, for people."""
    if "boxes" in result:
        lines = [",".join(map(str, box)) for box in result["boxes"]]
        return "\n".join(lines) if lines else "Nothing is missing that could be filled."
    return f"{result['out']}: {result['sentence']}"
