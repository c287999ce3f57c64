"""Measure this machine: how long the parts take here, beside the usual tools in the same run.

Every comparison is a key ratio_<peer> = the peer's time / ours, beside both times.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
from typing import Any

from tessera_core.cli.paths import Input, weights_names

PATHS = {
    "points": Input(),
    "data": Input(),
    "markdown": Input(),
    "weights": Input(names=lambda: [*weights_names(), "untrained"]),
}
EXAMPLES = ("tessera bench hot-path", "tessera bench heads --quick --heads prototype,logistic")
SUMMARY = "measure this machine"

BENCHES = {
    "hot-path": "label to map: sample, fit, predict, PNG",
    "click": "click on the label map to pixels on the screen, in a real browser",
    "generate": "pixels per second of the encoders",
    "pretrain": "pretraining steps per second",
    "load": "a region of 1,000 km2 from a published store, beside geotessera",
    "brush": "scatter and map that highlight each other, in a real browser",
    "memory": "memory of the app while people explore and compare a region of two and of five years, in a real browser",
    "scale": "processor, memory, open files and disk of map, change, evaluate and maps tile by tile as the ground grows",
    "visitors": "many people at once on one server: clicks, scores, memory; nothing mixed, nothing stale",
    "explore": "pictures, similarity, clusters, change and projections of a million embeddings",
    "change": "change between years where the truth is known, and where nothing changed",
    "monitor": "what a head calls new in a second year, where the truth is known",
    "heads": "scores of every head at 3 to 50 labels a class, times to fit and map; resumable",
    "calibration": "confidence against accuracy, and sets of classes against their promise",
    "trust": "intervals of areas and accuracy from checked samples, against how often they hold",
    "classroom-map": "maps of 20 learners with learners' mistakes: the best, the mean, their vote, all labels as one",
    "active-learning": "labels that suggested places save against random ones",
}
# Scripts may have the former names.
_RENAMED = {"suggest": "active-learning"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "name",
        type=lambda name: _RENAMED.get(name, name),
        choices=tuple(BENCHES),
        help="; ".join(f"{name}: {what}" for name, what in BENCHES.items()),
    )
    parser.add_argument(
        "--points", metavar="FOLDER", help="for active-learning: CSV files of AlphaEarth points to measure on too"
    )
    parser.add_argument(
        "--data", metavar="FOLDER", help="for heads, calibration and active-learning: real data sets to measure on too"
    )
    parser.add_argument("--heads", metavar="NAMES", help="for heads: only these, separated by commas")
    parser.add_argument(
        "--state", metavar="FILE", help="for heads and trust: results so far (heads: by default in the cache folder)"
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="for change: a checkpoint or its name, or 'untrained' (default: the demo region's)",
    )
    parser.add_argument(
        "--markdown",
        metavar="FILE",
        help="for heads, calibration, change, monitor, trust and classroom-map: put the tables between the marks of this file",
    )
    parser.add_argument("--draws", type=int, metavar="N", help="for trust: samples of each region (default: 500)")
    parser.add_argument("--size", metavar="PIXELS", help="for click: of a side of the scene, separated by commas")
    parser.add_argument("--visitors", metavar="NUMBERS", help="for visitors: how many, separated by commas")
    parser.add_argument("--seconds", type=float, help="for visitors: how long they label")
    parser.add_argument("--servers", type=int, metavar="N", help="for visitors: processes that serve one home together")
    parser.add_argument(
        "--class",
        dest="in_class",
        action="store_true",
        help="for visitors: learners of one class, who join by its code",
    )
    parser.add_argument(
        "--icechunk", action="store_true", help="for load: a repository as 1.1/dclimate is, with counts and months"
    )
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer repeats")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run one measurement.

    Raises:
        InputError: this version cannot measure that.
    """
    from tessera_core.errors import InputError

    module = f"tessera_core.bench.{args.name.replace('-', '_')}"
    if importlib.util.find_spec(module) is None:
        raise InputError(f"This version has no measurement {args.name!r} yet; try 'tessera bench hot-path'.")
    from tessera_core.bench import fair

    if fair.slowed():
        options = {key: value for key, value in vars(args).items() if isinstance(value, str | int | float | None)}
        return fair.measured(module, options)
    found: dict[str, Any] = importlib.import_module(module).run(args)
    return found | {"blas": fair.kernels()}


def report(result: dict[str, Any]) -> str:
    """The result for people: indented JSON reads well enough; a table, where there is one, stands below it."""
    plain = {key: value for key, value in result.items() if key != "table"}
    return "\n\n".join(
        [json.dumps(plain, indent=2, allow_nan=False), *([result["table"]] if "table" in result else [])]
    )
