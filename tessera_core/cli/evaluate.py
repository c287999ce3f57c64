"""Score a head honestly: whole places are held out, never single pixels.

First comes the card of the labels: whether they lie on heaps, what of the region they leave out, which stand on borders or on
no data, and what to do about it. Then what the app shows for the same labels: how often the map is right at places it has not
seen, each label counting once, with its 95 % interval. Then the same labels pixel by pixel: whole fields are held out where
labels are areas, blocks of ground with a belt around them where they are points, which have no fields. Beside it stands what a
random split would have claimed ("naive"), and with --baseline what plain monthly statistics of the same satellite data reach
under the same split.

With --tiles a folder of any number of tiles, in any UTM zones, is scored as 'tessera map --tiles' maps it: only labelled pixels
are read, one tile at a time. --workers takes several processes, --scheduler the workers of a cluster, --share a part of the tiles
for a job array, which meet in the folder of --parts; whoever comes last scores, and what was read is not read again.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from tessera_core._utils.percents import percent
from tessera_core.cli.head_options import (
    LABEL_PATHS,
    LABELS_HELP,
    add_head_options,
    add_label_options,
    chosen_head,
    chosen_regression_head,
    import_of,
    read_classes,
    read_measured,
    wants_regression,
)
from tessera_core.cli.paths import Input, Output
from tessera_core.cli.shares import add_spread_options, check_engine, scheduler_of, share_of, told_of_plan

if TYPE_CHECKING:
    from tessera_core.assess.evaluate import CrossValidation
    from tessera_core.assess.reference import Reference

PATHS = {**LABEL_PATHS, "baseline": Input(), "parts": Output(folder="into"), "plan": Output((".geojson",))}
EXAMPLES = (
    "tessera evaluate embeddings --labels fields.gpkg --field crop",
    "tessera evaluate country --labels fields.gpkg --tiles --workers 4",
    "tessera evaluate country --labels fields.gpkg --tiles --parts labelled --share 3/40",
    "tessera evaluate demo/embeddings/2023 --labels demo/truth/2023.tif --head forest --baseline demo/dpixels/2023 --json",
)
STOPPED = "with --parts, what was read is kept; run the same command again to go on"
SUMMARY = "score a head honestly, with whole places held out"
HELD_OUT = {"field": "whole fields", "blocked": "blocks of ground", "random": "random pixels"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("embeddings", help="a folder or file of embeddings in any layout we read")
    parser.add_argument("--labels", required=True, help=LABELS_HELP)
    add_label_options(parser)
    add_head_options(parser)
    parser.add_argument(
        "--split",
        choices=tuple(HELD_OUT),
        help="what is held out (default: field, a polygon or patch, where labels are areas; blocked where they are points)",
    )
    parser.add_argument("--folds", type=int, help="parts that are held out in turn (default: 3; for numbers 5)")
    parser.add_argument("--per-class", type=int, help="train on this many labelled pixels of each class only")
    parser.add_argument("--repeats", type=int, default=1, help="repeat with other draws; scores are means (default: 1)")
    parser.add_argument("--block", type=int, default=16, help="edge of the blocks of --split blocked, pixels")
    parser.add_argument(
        "--buffer", type=int, default=4, help="belt around held-out blocks that is not trained on, pixels"
    )
    parser.add_argument(
        "--tiles",
        action="store_true",
        help="read a folder tile by tile: any number, in any UTM zones, labelled pixels alone",
    )
    parser.add_argument(
        "--parts",
        metavar="DIR",
        help="with --tiles, the folder in which those who read meet: needed with --share and a --scheduler of other machines; it "
        "keeps the labelled pixels (132 bytes each) for other heads, and the score in score.json",
    )
    add_spread_options(parser, "tiles", ", with --tiles")
    parser.add_argument(
        "--compare-heads",
        action="store_true",
        help="also say whether logistic regression suits these labels better than class means",
    )
    parser.add_argument(
        "--picture-year",
        type=int,
        metavar="YEAR",
        help="of the picture that the labels were drawn on, to be held against the year of the embeddings",
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    parser.add_argument(
        "--baseline", metavar="DPIXELS", help="d-pixel tile of the same grid: score its monthly statistics too"
    )


def check(args: argparse.Namespace) -> None:
    """Refuse options that do not go together.

    Raises:
        InputError: some do not.
    """
    from tessera_core.errors import InputError

    share_of(args)
    check_engine(args)
    spread = args.share is not None or args.workers > 1 or args.scheduler
    if not args.tiles and (spread or args.parts or args.plan or args.dry_run):
        raise InputError(
            "--share, --workers, --scheduler, --parts, --plan and --dry-run go with --tiles, which reads tile by tile."
        )
    if args.parts is None and (args.share is not None or (spread and scheduler_of(args) not in (None, "local"))):
        raise InputError(
            "Shares and other machines meet in a folder: add --parts DIR, the same for all and where all of them see it."
        )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Evaluate and return a JSON object.

    With ``--share`` the result is ``waiting``, the names of tiles that other shares have not read yet, and ``read``, how many
    are, until all are; ``differing`` are those of them that were read, but of a copy of the tile that is not as the one here.

    ``card`` is what there is to know of the labels before any score (None with ``--tiles``): a list of objects ``what``,
    ``level`` (``ok``, ``mind``, ``bad``), ``sentence``, ``advice``, ``value``.
    ``accuracy`` and ``interval`` are the app's own score, whose details are ``score``. What
    :func:`tessera_core.assess.evaluate.evaluate`
    counts by pixels is beside it: ``pixel_accuracy``, ``macro_f1``, ``weighted_f1``, ``per_class``, ``confusion`` and ``naive``.
    With ``--per-class`` there is no map to score, and ``accuracy`` is that of the pixels.

    Raises:
        InputError: something given is not usable.
    """
    from tessera_core.assess.evaluate import CrossValidation, evaluate
    from tessera_core.assess.label_card import label_card
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.errors import InputError
    from tessera_core.heads import DEFAULT_HEAD
    from tessera_core.project.classify import score_samples, unfitted
    from tessera_core.sources.local.open import left_out, open_embeddings

    if wants_regression(args):
        if args.tiles:
            raise InputError("Tile by tile, classes are scored; score numbers as one, without --tiles.")
        return _evaluate_regression(args)
    if args.tiles and args.baseline:
        raise InputError("--baseline is of one tile; leave --tiles out.")
    if args.compare_heads and args.per_class:
        raise InputError("--compare-heads takes all labels; leave --per-class out.")
    if args.tiles:
        from tessera_core.cli.tile_evaluate import labelled

        found = labelled(args)
        if isinstance(found, dict):
            return found
        reference, raster, lost = found
    else:
        raster = open_embeddings(args.embeddings)
        reference, lost = read_classes(args, raster.grid), left_out(raster)
    reference.require_two()
    choice, _ = chosen_head(args, list(reference.classes))
    samples, head = reference.with_embeddings(raster), unfitted(choice, args.seed)
    if args.tiles and head.receptive_radius:
        raise InputError(
            "This head looks around each pixel, which would show at the rims of the tiles; leave --tiles out."
        )
    # Of a folder of tiles only labelled pixels are read, and a card looks at the ground around them.
    card = (
        None if args.tiles else label_card(reference, raster, picture_year=args.picture_year, seed=args.seed).to_json()
    )
    cv = CrossValidation(
        split=args.split or reference.split,
        n_folds=3 if args.folds is None else args.folds,
        per_class=args.per_class,
        repeats=args.repeats,
        seed=args.seed,
        block_px=args.block,
        buffer_px=args.buffer,
    )
    result = evaluate(samples, head, cv, progress=ConsoleProgress("evaluate"))
    result |= {"head": args.head or DEFAULT_HEAD, "dataset": raster.provenance.dataset, "labels": str(args.labels)}
    result["import"] = import_of(reference.report)
    result |= {"failed": lost, "card": card}
    result |= {"points": reference.split == "blocked", "pixel_accuracy": result["accuracy"], "interval": None}
    if args.per_class is None:
        # What takes long to fit is not asked twice what a random split claims.
        score = score_samples(samples, choice, seed=args.seed, naive=head._fits_alone)
        result |= {"score": score.to_json(), "accuracy": score.accuracy, "interval": score.to_json()["interval"]}
    if args.compare_heads:
        from tessera_core.assess.head_comparison import compare_heads

        result["heads"] = compare_heads(samples, seed=args.seed).to_json()
    if args.baseline:
        result["baseline"] = _baseline(args, raster.shape, reference, cv)
    if args.parts:
        from tessera_core.cli.tile_evaluate import keep_score

        keep_score(args, result)
    return result


def _baseline(
    args: argparse.Namespace, shape: tuple[int, int], reference: Reference, cv: CrossValidation
) -> dict[str, Any]:
    """What plain monthly statistics reach under the same split."""
    from tessera_core.assess.baseline import raw_medians
    from tessera_core.assess.evaluate import evaluate
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.dpixels.tile import DPixelTile
    from tessera_core.errors import TileError
    from tessera_core.heads import DEFAULT_HEAD, make_head

    tile = DPixelTile.open(args.baseline)
    if tile.shape != shape:
        raise TileError(f"The tile {tile.name} is {tile.shape} pixels, the embeddings are {shape}; take its own.")
    medians = raw_medians(tile, reference.rows, reference.cols)
    plain = reference.with_matrix(medians)
    # What looks around a pixel, or at shapes, has nothing to look at here.
    plain_name = DEFAULT_HEAD if args.head in (None, "unet") else args.head
    return {
        "features": "medians of 10 Sentinel-2 bands and means of Sentinel-1 VV and VH in twelfths of the year",
        "n_features": medians.shape[1],
    } | {
        name: evaluate(plain, make_head(name), cv, progress=ConsoleProgress(f"baseline {name}"))
        for name in dict.fromkeys((plain_name, "forest"))
    }


def _evaluate_regression(args: argparse.Namespace) -> dict[str, Any]:
    """The same for labels that are numbers: by default what the app shows."""
    from tessera_core.assess.evaluate import CrossValidation
    from tessera_core.assess.regression import regression_sentence
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.errors import InputError
    from tessera_core.project.regress import score_regression
    from tessera_core.sources.local.open import left_out, open_embeddings

    if args.per_class or args.baseline or args.compare_heads:
        raise InputError("--per-class, --baseline and --compare-heads are for classes; this head maps numbers.")
    choice = chosen_regression_head(args)
    raster = open_embeddings(args.embeddings)
    numbers = read_measured(args, raster.grid)
    score = score_regression(
        numbers,
        raster,
        choice,
        split=args.split,
        n_folds=args.folds,
        cv=CrossValidation(repeats=args.repeats, seed=args.seed, block_px=args.block, buffer_px=args.buffer),
        progress=ConsoleProgress("evaluate"),
    )
    if not score.result:
        raise InputError(" ".join(score.remarks))
    result = dict(score.result) | {
        "head": choice.name,
        "dataset": raster.provenance.dataset,
        "labels": str(args.labels),
        "failed": left_out(raster),
        "remarks": list(score.remarks),
        "import": import_of(numbers.report),
    }
    return result | {"sentence": regression_sentence(result)}


def report(result: dict[str, Any]) -> str:
    """The result for people."""
    from tessera_core._utils.partial import left_out_lines
    from tessera_core.heads.registry import called
    from tessera_core.labels.report import told

    if "plan" in result:
        return told_of_plan(result)
    if "waiting" in result:
        if differing := result["differing"]:
            # Waiting would be in vain.
            others = (
                f"{differing[0]} was read from another copy of the tile, which holds other values than the one here"
            )
            more = f" (so were {len(differing) - 1} more)" if len(differing) > 1 else ""
            vain = [f"{others}{more}; give all shares the same tiles, or read all of them here, without --share."]
        else:
            vain = []
        return "\n".join(
            [
                f"{result['read']} tiles with labels are read. {len(result['waiting'])} are not yet, {result['waiting'][0]} among "
                "them; other shares read them, and the last one scores.",
                *vain,
                *left_out_lines(result),
            ]
        )
    remarks = [*result["notes"], *left_out_lines(result)]
    if "r2" in result:
        held_out = {**HELD_OUT, "field": "whole plots"}[result["split"]]
        return "\n".join(
            [*told(result), result["sentence"], f"With {held_out} held out.", *result["remarks"], *remarks]
        )
    lines = _card(result["card"])
    compared = [f"{result['heads']['sentence']} Take --head {result['heads']['best']}."] if "heads" in result else []
    if "score" in result:
        lines += [*result["score"]["sentences"], *compared, "", "Pixel by pixel:"]
    spread = f" (sd {result['sd']['macro_f1']:.3f} over {result['repeats']} repeats)" if result["repeats"] > 1 else ""
    lines += [
        f"{called(result['head'])} on {result['dataset']}, {_held_out(result)}: trained on {result['n_train']}, "
        f"tested on {result['n_test']} pixels.",
        f"macro-F1 {result['macro_f1']:.3f}{spread}, {percent(result['pixel_accuracy'], 1)} % of the pixels right",
    ]
    if "naive" in result:
        lines.append(f"A random split would have claimed macro-F1 {result['naive']['macro_f1']:.3f}.")
    width = max(len(name) for name in result["per_class"])
    lines.append(f"  {'class':<{width}}  precision  recall     F1  pixels")
    for name, one in result["per_class"].items():
        if one["f1"] is None:
            lines.append(f"  {name:<{width}}  not judged")
            continue
        lines.append(
            f"  {name:<{width}}      {one['precision']:.3f}   {one['recall']:.3f}  {one['f1']:.3f}  {one['support']}"
        )
    for name, one in result.get("baseline", {}).items():
        if isinstance(one, dict):
            lines.append(f"Baseline, monthly statistics with {name}: macro-F1 {one['macro_f1']:.3f}")
    return "\n".join([*told(result), *lines, *filter(None, [result["worst_confusion"]]), *remarks])


def _card(card: list[dict[str, Any]] | None) -> list[str]:
    """The labels, before any score of them."""
    if not card:
        return []
    signs = {"ok": "ok  ", "mind": "mind", "bad": "BAD "}
    return ["The labels:", *(f"  {signs[c['level']]}  {c['sentence']} {c['advice']}".rstrip() for c in card), ""]


def _held_out(result: dict[str, Any]) -> str:
    """What was held out, and whether it is what it is called."""
    if result["split"] == "field" and result["points"]:
        return "single labels held out (points have no fields: their neighbours teach, as in a random split)"
    why = " (points have no fields)" if result["split"] == "blocked" and result["points"] else ""
    return f"{HELD_OUT[result['split']]} held out{why}"
