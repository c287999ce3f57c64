"""Join two embeddings of one place into one: both sets of numbers side by side, for maps, scatter and change."""

from __future__ import annotations

import argparse
from typing import Any

SUMMARY = "join two embeddings of one place into one"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("first", help="embeddings in any layout we read; their grid is kept")
    parser.add_argument("second", help="other embeddings of the same place: another model, or another year")
    parser.add_argument("--out", required=True, help="folder to write; open it like any embeddings")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Join and return what was written.

    Raises:
        InputError: the embeddings cannot be read or share no ground.
        ExportError: the folder cannot be written.
    """
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.fusion import fuse
    from tessera_core.sources.local import open_embeddings

    first, second = open_embeddings(args.first), open_embeddings(args.second)
    made = fuse(first, second, args.out, seed=args.seed, progress=ConsoleProgress("fuse"))
    return {
        "out": str(made.folder),
        "dataset": made.raster.provenance.dataset,
        "dim": made.raster.dim,
        "year": made.raster.provenance.year,
        "weights": [round(weight, 8) for weight in made.weights],
        "cosine_to_unrounded": round(made.cosine, 6),
        "pixels": int(made.raster.valid().sum()),
        "pixels_of_one_only": made.missing,
    }


def report(result: dict[str, Any]) -> str:
    """The result for people."""
    return (
        f"{result['out']}: {result['dataset']}, {result['pixels']} pixels; {result['pixels_of_one_only']} pixels that only one "
        "of the two has are left out."
    )
