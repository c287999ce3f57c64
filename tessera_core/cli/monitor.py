"""What is new: last year's head on this year, a list to review, and its verdicts as labels.

find     places that the head gives another class in the second year, where the embeddings changed too; a list with outlines, the
         largest first, and an empty column verdict
labels   a reviewed list as labels: where the verdict is keep the class is the new one, where it is reject the former one

A list is a table in any GIS or spreadsheet. Labels bring the verdicts into a project ('tessera project add-labels'), or into the
head ('tessera head teach').
"""

from __future__ import annotations

import argparse
from typing import Any

from tessera_core.cli.head_options import kept_head_names
from tessera_core.cli.paths import Input, Output

SUMMARY = "what is new this year: a list to review, and labels of it"
EXAMPLES = (
    "tessera monitor find crops.safetensors demo/embeddings/2023 demo/embeddings/2024 --out new.gpkg",
    "tessera monitor labels new.gpkg --out reviewed.gpkg",
)


def _out(args: argparse.Namespace) -> Output:
    tables = (".gpkg", ".geojson", ".csv", ".xlsx")
    return Output(tables if args.task == "find" else tables[:2])


PATHS = {
    "head": Input(names=kept_head_names),
    "before": Input(),
    "now": Input(),
    "list": Input(),
    "out": _out,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands and their arguments."""
    tasks = parser.add_subparsers(dest="task", metavar="TASK", required=True, help="see above; TASK --help tells more")
    find = tasks.add_parser("find", help="list what is new")
    find.add_argument("head", metavar="HEAD", help="a saved head of classes, or the name of a kept one")
    find.add_argument("before", metavar="BEFORE", help="embeddings of the earlier year")
    find.add_argument("now", metavar="NOW", help="embeddings of the later year, on the same pixels")
    find.add_argument("--out", metavar="FILE", required=True, help="the list: .gpkg, .geojson, .csv or .xlsx")
    find.add_argument(
        "--rate", type=float, default=0.05, help="share of false alarms of change to accept (default: 0.05)"
    )
    find.add_argument("--smallest", type=int, default=4, metavar="N", help="pixels of the smallest place (default: 4)")
    find.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    labels = tasks.add_parser("labels", help="a reviewed list as labels")
    labels.add_argument("list", metavar="LIST", help="with the column verdict filled in: keep or reject")
    labels.add_argument("--out", metavar="FILE", required=True, help="labels: .gpkg or .geojson")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Do the task.

    Raises:
        MixedDatasetsError, HeadError: the head does not fit.
        RasterError, LabelError: embeddings or list cannot be used.
        ExportError: the file cannot be written.
    """
    return {"task": args.task} | (_find(args) if args.task == "find" else _labels(args))


def _find(args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.errors import InputError
    from tessera_core.heads import load_head
    from tessera_core.project.monitor import find_new
    from tessera_core.project.saved_heads import head_at
    from tessera_core.sources.local.open import open_embeddings

    if not 0 < args.rate <= 1:
        raise InputError("The rate of false alarms lies between 0 and 1, such as 0.05.")
    saved = load_head(head_at(args.head))
    before, now = open_embeddings(args.before), open_embeddings(args.now)
    found = find_new(
        saved, before, now, rate=args.rate, smallest=args.smallest, seed=args.seed, progress=ConsoleProgress("monitor")
    )
    written = found.write(args.out)
    return {
        "out": str(written),
        "places": len(found.places),
        "years": list(found.years),
        "sentences": found.sentences(),
    }


def _labels(args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.project.monitor import read_review

    read = read_review(args.list)
    written = read.write(args.out)
    counts = {"kept": read.kept, "rejected": read.rejected, "open": read.open, "unclear": read.unclear}
    return {"out": str(written), **counts, "sentences": read.sentences()}


def report(result: dict[str, Any]) -> str:
    """The result for people."""
    return "\n".join([f"Wrote {result['out']}", *result["sentences"]])
