"""Join two embeddings of one place into one (stacking): both sets of numbers side by side, for maps, scatter and change.

Folders that hold several years are joined year by year, with the same weights in all, so that change can be found in both.
"""

from __future__ import annotations

import argparse
from typing import Any

from tessera_core.cli.paths import Input, Output

PATHS = {"first": Input(), "second": Input(), "out": Output(folder="whole")}
EXAMPLES = (
    "tessera stack demo/embeddings/2023 annual/2023 --out both",
    "tessera stack tessera-years annual --out both",
)
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
    from tessera_core.analysis.stacking import stack, stack_years
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.sources.local.open import find_years, left_out, open_embeddings

    parts = args.first, args.second
    years = [[year for year in find_years(part) if year is not None] for part in parts]
    if min(len(each) for each in years) > 1:
        first, second = (
            {year: open_embeddings(part, year=year) for year in each} for part, each in zip(parts, years, strict=True)
        )
        sources = [*first.values(), *second.values()]
        made = list(stack_years(first, second, args.out, seed=args.seed, progress=ConsoleProgress("stack")).values())
    else:
        one, other = (open_embeddings(part) for part in parts)
        sources = [one, other]
        made = [stack(one, other, args.out, seed=args.seed, progress=ConsoleProgress("stack"))]
    rasters = [each.raster for each in made]
    return {
        "out": args.out,
        "failed": [failure for raster in sources for failure in left_out(raster)],
        "dataset": rasters[0].provenance.dataset,
        "dim": rasters[0].dim,
        "year": rasters[0].provenance.year if len(made) == 1 else None,
        "years": [raster.provenance.year for raster in rasters],
        "weights": [round(weight, 8) for weight in made[0].weights],
        "cosine_to_unrounded": round(min(each.cosine for each in made), 6),
        "pixels": sum(int(raster.valid().sum()) for raster in rasters),
        "pixels_of_one_only": sum(each.missing for each in made),
    }


def report(result: dict[str, Any]) -> str:
    """The result for people."""
    from tessera_core._utils.partial import left_out_lines

    said = (
        f"{result['out']}: {result['dataset']}, {result['pixels']} pixels; {result['pixels_of_one_only']} pixels that only one "
        "of the two has are left out."
    )
    return "\n".join([said, *left_out_lines(result)])
