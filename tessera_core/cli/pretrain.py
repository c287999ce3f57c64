"""Train an encoder on d-pixels: simulated worlds, your own tiles, or both, as a TOML file says.

A shipped configuration may be named instead of a file: studio-nano, or tiny (seconds, to try the command).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

SUMMARY = "train an encoder on d-pixels"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "config", metavar="CONFIG.toml", help="settings of the run, or the name of a shipped configuration"
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder of the run: shards, log, checkpoints"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in DIR")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Train; returns steps, seconds, losses, the best probe score and the checkpoint's path."""
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.pretrain.config import PretrainConfig

    config = PretrainConfig.load(args.config)
    from tessera_core.pretrain.trainer import pretrain

    base = Path(args.config).resolve().parent
    return pretrain(config, args.out, base=base, resume=args.resume, progress=ConsoleProgress(config.name))


def report(result: dict[str, Any]) -> str:
    """One sentence for people."""
    probe = f", best held-out probe macro-F1 {result['best_probe']:.3f}" if result["best_probe"] is not None else ""
    loss = f", loss {result['loss']:.1f}" if result["loss"] is not None else ""
    return (
        f"{result['name']}: {result['steps']} steps, {result['pixels']:,} pixels, {result['seconds']:.0f} s"
        f"{loss}{probe}. Checkpoint: {result['checkpoint']}"
    )
