"""Fill what published embeddings lack with embeddings made here, if the two agree around the holes.

PUBLISHED and MADE are rasters of one dataset and year on the same pixels; MADE covers the holes and 32 pixels around them
('--boxes' says which in degrees, for 'tessera acquire'). With '--make' in the place of MADE they are made first, on the very pixels
of PUBLISHED. OUT is one raster, with origin.npy beside it: 1 published, 2 made here. Where they do not agree nothing is joined:
keep MADE as a dataset of its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core.cli.paths import Input, Output, weights_names

if TYPE_CHECKING:
    from tessera_core.raster import EmbeddingRaster, NoData

PATHS = {"published": Input(), "made": Input(), "weights": Input(names=weights_names), "out": Output(folder="whole")}
EXAMPLES = (
    "tessera fill here/2024 --boxes",
    "tessera fill here/2024 --make --out filled",
    "tessera fill here/2024 made/2024 --out filled",
)
STOPPED = "what was fetched and made is kept; run the same command again to go on"
SUMMARY = "fill holes of published embeddings with embeddings made here"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("published", metavar="PUBLISHED", help="published embeddings with holes")
    parser.add_argument("made", metavar="MADE", nargs="?", help="embeddings made here")
    parser.add_argument("--out", metavar="DIR", help="folder of the raster of both")
    parser.add_argument("--boxes", action="store_true", help="say what has to be made, as boxes in degrees")
    parser.add_argument("--make", action="store_true", help="make what is missing first: fetch images and embed them")
    parser.add_argument(
        "--weights", metavar="NAME", help="with --make: weights (default: those that PUBLISHED was made with)"
    )
    parser.add_argument(
        "--source", choices=["mpc", "aws"], help="with --make: catalogue (default: that of the weights)"
    )
    parser.add_argument("--device", default="auto", help="with --make: auto, cpu or cuda (default: auto)")
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

    if bool(args.boxes) + bool(args.make) + bool(args.made) != 1 or args.boxes == bool(args.out):
        raise InputError(
            "Give MADE and --out to fill holes, --make and --out to make them first, or --boxes to see what has to be made."
        )
    if (args.weights or args.source) and not args.make:
        raise InputError("--weights and --source say how holes are made; add --make, or leave them out.")
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
    made = _make(published, args, reasons) if args.make else open_embeddings(Path(args.made))
    found = fill_holes(published, made, margin=args.margin, reasons=reasons)
    return {
        "out": str(found.save(args.out)),
        "filled": found.filled,
        "agreement": found.agreement.to_json(),
        "sentence": found.sentence,
    }


def _make(published: EmbeddingRaster, args: argparse.Namespace, reasons: Collection[NoData]) -> EmbeddingRaster:
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.errors import InputError
    from tessera_core.project.filling import How, fitting_weights, make_holes

    weights, source = fitting_weights(published.provenance)
    if not (args.weights or weights):
        raise InputError(
            f"Nobody knows which weights made {published.provenance.dataset}; name them with --weights if you have them."
        )
    how = How(args.weights or weights, args.source or source, args.device)
    progress = ConsoleProgress("fill")
    return make_holes(published, how, progress, lambda: False, margin=args.margin, reasons=reasons)


def report(result: dict[str, Any]) -> str:
    """What was filled, for people."""
    if "boxes" in result:
        lines = [",".join(map(str, box)) for box in result["boxes"]]
        return "\n".join(lines) if lines else "Nothing is missing that could be filled."
    return f"{result['out']}: {result['sentence']}"
