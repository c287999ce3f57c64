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

Several GPUs or processes: python -m torch.distributed.run --nproc_per_node 8 -m tessera_core pretrain CONFIG.toml --out DIR
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from tessera_core.cli.paths import Input, Output


def _shipped() -> list[str]:
    return sorted(path.stem for path in (Path(__file__).parents[1] / "pretrain" / "configs").glob("*.toml"))


PATHS = {"config": Input(names=_shipped), "out": Output(folder="into"), "plot": Input()}
EXAMPLES = (
    "tessera pretrain tiny --out run",
    "tessera pretrain my.toml --out run --resume",
    "tessera pretrain --plot run",
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
    if "plot" in result:
        return f"{result['steps']} steps so far: {result['plot']}"
    probe = f", best held-out probe macro-F1 {result['best_probe']:.3f}" if result["best_probe"] is not None else ""
    loss = f", loss {result['loss']:.1f}" if result["loss"] is not None else ""
    return (
        f"{result['name']}: {result['steps']} steps, {result['pixels']:,} pixels, {result['seconds']:.0f} s"
        f"{loss}{probe}. Checkpoint: {result['checkpoint']}"
    )
