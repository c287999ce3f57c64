"""Score a head honestly: whole fields (or blocks of ground) are held out, never single pixels.

The result also says what a random split would have claimed ("naive"), and with --baseline what plain monthly statistics of the
same satellite data reach under the same split.
"""

from __future__ import annotations

import argparse
from typing import Any

from tessera_core.cli.map import add_head_options, chosen_head, chosen_regression_head, is_regression

SUMMARY = "score a head honestly, with whole fields held out"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("embeddings", help="a folder or file of embeddings in any layout we read")
    parser.add_argument("--labels", required=True, help="GeoJSON, GPKG, CSV, KML, zipped shapefile, or class raster")
    parser.add_argument("--field", help="attribute of the label file that is the class, or the number")
    parser.add_argument("--classes", help="only these classes, by name or code, separated by commas")
    add_head_options(parser)
    parser.add_argument("--split", default="field", choices=("field", "blocked", "random"), help="what is held out")
    parser.add_argument("--folds", type=int, default=3, help="parts that are held out in turn (default: 3)")
    parser.add_argument("--per-class", type=int, help="train on this many labelled pixels of each class only")
    parser.add_argument("--repeats", type=int, default=1, help="repeat with other draws; scores are means (default: 1)")
    parser.add_argument("--block", type=int, default=16, help="edge of the blocks of --split blocked, pixels")
    parser.add_argument(
        "--buffer", type=int, default=4, help="belt around held-out blocks that is not trained on, pixels"
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    parser.add_argument(
        "--baseline", metavar="DPIXELS", help="d-pixel tile of the same grid: score its monthly statistics too"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Evaluate and return the JSON object of the contract in design.md.

    Raises:
        InputError: something given is not usable.
    """
    from tessera_core.assess import evaluate, read_reference
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.errors import TileError
    from tessera_core.heads import DEFAULT_HEAD, make_head
    from tessera_core.sources.local import open_embeddings

    if is_regression(args):
        return _evaluate_numbers(args)
    raster = open_embeddings(args.embeddings)
    reference = read_reference(args.labels, raster.grid, args.field)
    if args.classes:
        reference = reference.only([name.strip() for name in args.classes.split(",") if name.strip()])
    options: dict[str, Any] = {
        "split": args.split,
        "n_folds": args.folds,
        "per_class": args.per_class,
        "repeats": args.repeats,
        "seed": args.seed,
        "block_px": args.block,
        "buffer_px": args.buffer,
    }
    head = chosen_head(args, list(reference.classes))
    samples = reference.with_embeddings(raster)
    result = evaluate(samples, head, **options, progress=ConsoleProgress("evaluate"))
    result |= {"head": args.head or DEFAULT_HEAD, "dataset": raster.provenance.dataset, "labels": str(args.labels)}
    if args.baseline:
        from tessera_core.assess.baseline import raw_medians
        from tessera_core.dpixels.tile import DPixelTile

        tile = DPixelTile.open(args.baseline)
        if tile.shape != raster.shape:
            raise TileError(
                f"The tile {tile.name} is {tile.shape} pixels, the embeddings are {raster.shape}; take its own."
            )
        medians = raw_medians(tile, reference.rows, reference.cols)
        plain = reference.with_matrix(medians)
        # What looks around a pixel, or at shapes, has nothing to look at here.
        plain_name = DEFAULT_HEAD if args.head in (None, "unet") else args.head
        result["baseline"] = {
            "features": "medians of 10 Sentinel-2 bands and means of Sentinel-1 VV and VH in twelfths of the year",
            "n_features": medians.shape[1],
        } | {
            name: evaluate(plain, make_head(name), **options, progress=ConsoleProgress(f"baseline {name}"))
            for name in dict.fromkeys((plain_name, "forest"))
        }
    return result


def _evaluate_numbers(args: argparse.Namespace) -> dict[str, Any]:
    """The same for labels that are numbers."""
    from tessera_core.assess.numbers import evaluate_numbers, number_sentence, read_number_labels
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.errors import InputError
    from tessera_core.sources.local import open_embeddings

    if args.per_class or args.baseline:
        raise InputError("--per-class and --baseline are for classes; this head maps numbers.")
    head = chosen_regression_head(args)
    raster = open_embeddings(args.embeddings)
    samples = read_number_labels(args.labels, raster.grid, args.field).with_embeddings(raster)
    result = evaluate_numbers(
        samples,
        head,
        split=args.split,
        n_folds=args.folds,
        repeats=args.repeats,
        seed=args.seed,
        block_px=args.block,
        buffer_px=args.buffer,
        progress=ConsoleProgress("evaluate"),
    )
    result |= {"head": args.head, "dataset": raster.provenance.dataset, "labels": str(args.labels)}
    return result | {"sentence": number_sentence(result)}


def report(result: dict[str, Any]) -> str:
    """The result for people."""
    if "r2" in result:
        return "\n".join([result["sentence"], *result["notes"]])
    held_out = {"field": "whole fields", "blocked": "blocks of ground", "random": "random pixels"}[result["split"]]
    spread = f" (sd {result['sd']['macro_f1']:.3f} over {result['repeats']} repeats)" if result["repeats"] > 1 else ""
    lines = [
        f"{result['head']} on {result['dataset']}, {held_out} held out: trained on {result['n_train']}, "
        f"tested on {result['n_test']} pixels.",
        f"macro-F1 {result['macro_f1']:.3f}{spread}, accuracy {result['accuracy']:.3f}",
    ]
    if "naive" in result:
        lines.append(f"A random split would have claimed macro-F1 {result['naive']['macro_f1']:.3f}.")
    width = max(len(name) for name in result["per_class"])
    lines.append(f"  {'class':<{width}}  precision  recall     F1  pixels")
    for name, one in result["per_class"].items():
        lines.append(
            f"  {name:<{width}}      {one['precision']:.3f}   {one['recall']:.3f}  {one['f1']:.3f}  {one['support']}"
        )
    for name, one in result.get("baseline", {}).items():
        if isinstance(one, dict):
            lines.append(f"Baseline, monthly statistics with {name}: macro-F1 {one['macro_f1']:.3f}")
    return "\n".join([*lines, *filter(None, [result["worst_confusion"]]), *result["notes"]])
