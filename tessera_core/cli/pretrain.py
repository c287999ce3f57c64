"""Train an encoder on d-pixels: simulated worlds, your own tiles, or both, as a TOML file says.

A shipped configuration may be named instead of a file: studio-nano, studio-small (for a GPU), or tiny (seconds, to try the
command). A configuration for your own tiles, as 'tessera acquire' writes them, with folders relative to the file:

    name = "mine"
    [model]
    preset = "v2-nano"
    [data]
    tiles = ["tiles/0_0_500_500", "tiles/500_0_1000_500"]
    [run]
    steps = 20000

With --prepare only the training pixels are made ready, by --workers processes, --scheduler, or as --share of a job array, all into
one folder; the same command without it then trains on them.

Several GPUs or processes: python -m torch.distributed.run --nproc_per_node 8 -m tessera_core pretrain CONFIG.toml --out DIR
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from tessera_core.cli.paths import Input, Output
from tessera_core.cli.shares import add_spread_options, check_engine, engine_of, planned, share_of, told_of_plan


def _shipped() -> list[str]:
    return sorted(path.stem for path in (Path(__file__).parents[1] / "pretrain" / "configs").glob("*.toml"))


PATHS = {"config": Input(names=_shipped), "out": Output(folder="into"), "plot": Input(), "plan": Output((".geojson",))}
EXAMPLES = (
    "tessera pretrain tiny --out run",
    "tessera pretrain my.toml --out run --resume",
    "tessera pretrain --plot run",
    "tessera pretrain my.toml --out run --prepare --workers 4",
    "tessera pretrain my.toml --out run --prepare --dry-run",
)
STOPPED = "add --resume to the same command to go on from the last checkpoint, if one was reached"
SUMMARY = "train an encoder on d-pixels"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "config", nargs="?", metavar="CONFIG.toml", help="settings of the run, or the name of a shipped configuration"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the run: shards, log, curves, checkpoints")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in DIR")
    parser.add_argument("--plot", type=Path, metavar="DIR", help="only write DIR/curves.html, of a run there")
    parser.add_argument("--prepare", action="store_true", help="only make the training pixels ready")
    add_spread_options(parser, "sources and shards", ", with --prepare")


def check(args: argparse.Namespace) -> None:
    """Refuse options that do not go together.

    Raises:
        InputError: some do not.
    """
    from tessera_core.errors import InputError

    share_of(args)
    check_engine(args)
    if not args.prepare and (args.share is not None or args.workers > 1 or args.scheduler or args.plan or args.dry_run):
        raise InputError(
            "--share, --workers, --scheduler, --plan and --dry-run go with --prepare; several processes train with torchrun."
        )
    if args.prepare and (args.plot or args.resume):
        raise InputError("--prepare goes on where it stopped by itself; leave --resume and --plot out.")


def _prepare(args: argparse.Namespace) -> dict[str, Any]:
    """Make the pixels of a run ready."""
    from tessera_core._utils.spread import processes, spread
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.pretrain.config import PretrainConfig
    from tessera_core.pretrain.prepare import prepare_in_shares
    from tessera_core.project.plan import plan_prepare

    config = PretrainConfig.load(args.config)
    base, progress = Path(args.config).resolve().parent, ConsoleProgress(config.name)
    if told := planned(args, lambda: plan_prepare(config.data, args.out / "shards", config.seed, base)):
        return told
    with engine_of(args) as engine:

        def spreading(task: Any, share: Any, report: Any, cancelled: Any) -> None:
            spread(task, share, progress=report, cancelled=cancelled, **engine)

        many = engine["workers"] > 1 or engine.get("executor", processes) is not processes
        found = prepare_in_shares(
            config.data,
            args.out / "shards",
            config.seed,
            base,
            share=share_of(args),
            engine=spreading if many else None,
            progress=progress,
        )
    return {
        "prepared": str(args.out / "shards"),
        "sources": found.sources,
        "shards": len(found.shards),
        "waiting": found.waiting,
    }


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Train; returns steps, seconds, losses, the best probe score and the checkpoint's path; or draw the curves of a run.

    Raises:
        PretrainError: neither a configuration with a folder nor a run to plot is named, or see the trainer.
    """
    from tessera_core.pretrain.config import PretrainConfig, PretrainError

    if args.plot is not None:
        from tessera_core.pretrain.curves import read_log, write_page

        return {"plot": str(write_page(args.plot)), "steps": int(read_log(args.plot)[-1]["step"]) + 1}
    if args.config is None or args.out is None:
        raise PretrainError("Name a configuration and a folder: tessera pretrain CONFIG.toml --out DIR.")
    if args.prepare:
        return _prepare(args)
    from tessera_core._utils.torch_part import require_torch

    config = PretrainConfig.load(args.config)
    require_torch("Training an encoder")
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.pretrain.trainer import pretrain

    base = Path(args.config).resolve().parent
    first = os.environ.get("RANK", "0") == "0"
    progress = ConsoleProgress(config.name) if first else None
    result = pretrain(config, args.out, base=base, resume=args.resume, progress=progress)
    if not first:
        # Of several processes one reports.
        raise SystemExit(0)
    return result


def report(result: dict[str, Any]) -> str:
    """One sentence for people."""
    if "plan" in result:
        return told_of_plan(result, "sources or shards")
    if "prepared" in result:
        if result["waiting"]:
            return (
                f"{result['waiting']} parts are not there yet; other shares make them. When they have, run the same command once "
                "more."
            )
        return f"{result['shards']} shards of {result['sources']} sources are in {result['prepared']}."
    if "plot" in result:
        return f"{result['steps']} steps so far: {result['plot']}"
    probe = f", best held-out probe macro-F1 {result['best_probe']:.3f}" if result["best_probe"] is not None else ""
    loss = f", loss {result['loss']:.1f}" if result["loss"] is not None else ""
    return (
        f"{result['name']}: {result['steps']} steps, {result['pixels']:,} pixels, {result['seconds']:.0f} s"
        f"{loss}{probe}. Checkpoint: {result['checkpoint']}"
    )
