"""Join two embeddings of one place into one (stacking): both sets of numbers side by side, for maps, scatter and change.

The second may be the time series (d-pixel tiles) of the same place and year instead: their seasonal statistics (monthly medians,
the yearly wave, radar means) are joined then, which helps from a few labels on where the encoder was not taught them. Maps learn
from the labels how much each part counts and say it (docs/heads.md).

Folders that hold several years are joined year by year, with the same weights in all, so that change can be found in both.
--follow FOLDER weighs the parts as an earlier join of the same datasets did, so that its heads map this region, too.
"""

from __future__ import annotations

import argparse
from typing import Any

from tessera_core.cli.paths import Input, Output

PATHS = {"first": Input(), "second": Input(), "follow": Input(), "out": Output(folder="whole")}
EXAMPLES = (
    "tessera stack demo/embeddings/2023 annual/2023 --out both",
    "tessera stack tessera-years annual --out both",
    "tessera stack demo/embeddings/2023 demo/dpixels/2023 --out both",
)
SUMMARY = "join two embeddings of one place into one"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("first", help="embeddings in any layout we read; their grid is kept")
    parser.add_argument(
        "second", help="other embeddings of the same place: another model, or another year; or its d-pixel tiles"
    )
    parser.add_argument("--out", required=True, help="folder to write; open it like any embeddings")
    parser.add_argument("--follow", metavar="FOLDER", help="joined earlier, whose weights are taken")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Join and return what was written.

    Raises:
        InputError: the embeddings cannot be read or share no ground.
        ExportError: the folder cannot be written.
    """
    from tessera_core.analysis.stacking import stack, stack_years, weights_like
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.errors import InputError
    from tessera_core.sources.local.open import find_years, open_embeddings

    tiles = _tiles(args.second)
    parts = args.first, args.second
    years = [] if tiles is not None else [[y for y in find_years(part) if y is not None] for part in parts]
    several = tiles is None and min(len(each) for each in years) > 1
    if args.follow is not None and (several or tiles is not None):
        raise InputError("--follow is for two embeddings of one year; leave it out, or name folders of one year each.")
    if tiles is not None:
        from tessera_core.analysis.season_raster import join_seasons

        one = open_embeddings(args.first)
        made = [join_seasons(one, tiles, args.out, seed=args.seed, progress=ConsoleProgress("stack"))]
        return _told(args, [one], made)
    if several:
        first, second = (
            {year: open_embeddings(part, year=year) for year in each} for part, each in zip(parts, years, strict=True)
        )
        sources = [*first.values(), *second.values()]
        made = list(stack_years(first, second, args.out, seed=args.seed, progress=ConsoleProgress("stack")).values())
    else:
        one, other = (open_embeddings(part) for part in parts)
        sources = [one, other]
        weights = None
        if args.follow is not None:
            earlier = open_embeddings(args.follow).provenance
            weights = weights_like(earlier, one.provenance, other.provenance)
        made = [stack(one, other, args.out, weights=weights, seed=args.seed, progress=ConsoleProgress("stack"))]
    return _told(args, sources, made)


def _tiles(path: str) -> list[Any] | None:
    """The d-pixel tiles in a folder; None where it is something else."""
    from pathlib import Path

    from tessera_core.dpixels.tile import DPixelTile, find_tiles
    from tessera_core.errors import TileError

    if not Path(path).is_dir():
        return None
    try:
        folders = find_tiles(path)
    except TileError:
        return None
    return [DPixelTile.open(folder) for folder in folders]


def _told(args: argparse.Namespace, sources: list[Any], made: list[Any]) -> dict[str, Any]:
    from tessera_core.sources.local.open import left_out

    rasters = [each.raster for each in made]
    parts = rasters[0].provenance.details["parts"]
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
        "warnings": [told for part in parts for told in part.get("details", {}).get("warnings", ())],
    }


def report(result: dict[str, Any]) -> str:
    """The result for people."""
    from tessera_core._utils.partial import left_out_lines

    said = (
        f"{result['out']}: {result['dataset']}, {result['pixels']} pixels; {result['pixels_of_one_only']} pixels that only one "
        "of the two has are left out."
    )
    warnings = [f"Warning: {warning}" for warning in result["warnings"]]
    return "\n".join([said, *left_out_lines(result), *warnings])
