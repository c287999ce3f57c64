"""Turn d-pixel tiles into embeddings.

For each tile directory: <tile>.npy int8 (H, W, D) and <tile>_scales.npy float32 (H, W), or with --float32 <tile>.npy
float32; plus <tile>.json with grid and provenance. The same command goes on where an interrupted one stopped. Several runs may
work into one folder: a tile that another is at is left to it, and --share gives each run of a job array a part of its own.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core.cli.paths import Declared, Input, Output, weights_names
from tessera_core.cli.shares import (
    add_spread_options,
    check_engine,
    engine_of,
    planned,
    scheduler_of,
    share_of,
    told_of_plan,
)
from tessera_core.errors import InputError

if TYPE_CHECKING:
    from tessera_core.project.plan import Planned


def _into(args: argparse.Namespace) -> Output:
    """The folder of the tiles' embeddings; raises InputError where shares could not meet in it."""
    if args.share is not None and args.format == "zarr" and "://" in str(args.out):
        raise InputError(
            "Shares write a Zarr store together on a disk that all of them see; give a folder there and copy the store when it is "
            "whole, or take --format npy, which shares write into an object store."
        )
    return Output(folder="into")


PATHS: dict[str, Declared] = {
    "tiles": Input(by_tile=True),
    "weights": Input(names=weights_names),
    "out": _into,
    "plan": Output((".geojson",)),
}
EXAMPLES = (
    "tessera generate tiles/* --weights v2-medium --out embeddings",
    "tessera generate tiles --weights studio-nano --dim 32 --format zarr --out embeddings",
    "tessera generate tiles --weights studio-nano --share 3/40 --out embeddings",
    "tessera generate tiles --weights studio-nano --scheduler slurm:standard.toml --out embeddings",
)
STOPPED = "finished rows and tiles are kept; run the same command again to go on"
SUMMARY = "turn d-pixel tiles into embeddings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("tiles", nargs="+", metavar="TILE", help="tile directory, or a folder with tile directories")
    parser.add_argument(
        "--weights",
        required=True,
        metavar="NAME|FILE",
        help="e.g. studio-nano, v2-medium, v1.1-mpc, or a checkpoint file",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the embeddings")
    parser.add_argument(
        "--dim", type=int, metavar="N", help="leading dimensions to keep: 16, 32, 64 or 128 (default: all)"
    )
    parser.add_argument(
        "--float32", action="store_true", help="write float32 vectors instead of int8 codes with scales"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--dtype",
        choices=("auto", "fp32", "bf16"),
        help="fp32 equals the reference to rounding; bf16 is faster, cosine >= 0.9999. "
        "Default: fp32 with --float32, else auto (bf16 where the hardware multiplies it)",
    )
    parser.add_argument(
        "--data-source", choices=("mpc", "aws"), help="where the tile's data come from (matters for v1.1)"
    )
    parser.add_argument(
        "--arithmetic",
        choices=("trained", "dclimate"),
        help="v1.1 only: dclimate computes as the published store 1.1/dclimate was made (reset gate, rounded days, nothing for "
        "pixels seen fewer than 15 times), with any weights of v1.1 (default: trained; dclimate with the weights v1.1-dclimate)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random draws of v1.0")
    parser.add_argument("--repeats", type=int, default=1, help="v1.0: average this many random draws")
    parser.add_argument("--format", choices=("npy", "geotiff", "zarr"), default="npy")
    add_spread_options(parser, "tiles", each=", a tile each")


def check(args: argparse.Namespace) -> None:
    """Refuse what is no share or number of processes; raises InputError."""
    share_of(args)
    check_engine(args)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Generate; see the module's docstring."""
    from tessera_core._utils.torch_part import require_torch

    require_torch("Generating embeddings")
    from tessera_core._utils.partial import Failure
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.dpixels.tile import find_tiles
    from tessera_core.inference.shares import generate_in_shares
    from tessera_core.inference.tiles import GenerateOptions, generate_tiles

    failed: list[Failure] = []
    folders = [folder for path in args.tiles for folder in find_tiles(path)]
    if told := planned(args, lambda: _plan(args, folders)):
        return told
    options = GenerateOptions(
        dim=args.dim,
        float32=args.float32,
        device=args.device,
        # Asked for floats means asked for the exact ones, unless told otherwise.
        dtype=args.dtype or ("fp32" if args.float32 else "auto"),
        data_source=args.data_source,
        arithmetic=args.arithmetic,
        seed=args.seed,
        repeats=args.repeats,
        layout=args.format,
    )
    console = ConsoleProgress("generate")
    done: dict[str, Any] = {"progress": console, "failed": failed, "share": share_of(args)}
    if args.workers > 1 or scheduler_of(args):
        with engine_of(args) as engine:
            results = generate_in_shares(folders, args.weights, args.out, options, **engine, **done)
    else:
        from tessera_core.sources.remote.objects import bring_whole

        # Of an object store's tiles those of other shares stay there.
        bring_whole(share_of(args).take(folders))
        results = generate_tiles(folders, args.weights, args.out, options, **done)
    return {"tiles": [result.to_json() for result in results], "failed": [failure.to_json() for failure in failed]}


def _plan(args: argparse.Namespace, folders: list[Path]) -> list[Planned]:
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.project.plan import plan_generate
    from tessera_core.sources.remote.objects import bring_whole

    # How long it takes depends on how often pixels were seen.
    bring_whole(folders)
    return plan_generate(folders, args.weights, Path(args.out), args.device, args.dim, ConsoleProgress("plan"))


def report(result: dict[str, Any]) -> str:
    """A line for each tile."""
    from tessera_core._utils.partial import left_out_lines

    if "plan" in result:
        return told_of_plan(result)

    lines = []
    for tile in result["tiles"]:
        height, width, dim = tile["shape"]
        work = (
            f"{tile['computed_pixels']:,} pixels in {tile['seconds']:.1f} s ({tile['pixels_per_second']:,.0f} pixels/s)"
            if tile["computed_pixels"]
            else "already there"
        )
        empty = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in tile["nodata"].items())
        lines.append(f"{tile['path']}: {height} x {width} x {dim}, {work}" + (f"; no data: {empty}" if empty else ""))
        lines += [f"  {note}" for note in tile["notes"]]
    lines += left_out_lines(result)
    return "\n".join(lines)
