"""The options of ``tessera map``: what they are, which go together, and what the command says of the map it made."""

from __future__ import annotations

import argparse
from math import isnan
from typing import TYPE_CHECKING, Any

from tessera_core.cli.head_options import (
    LABELS_HELP,
    add_head_options,
    add_label_options,
    chosen_regression_head,
    import_of,
    wants_regression,
)
from tessera_core.cli.shares import (
    add_one_cog_option,
    add_spread_options,
    check_engine,
    share_of,
    told_of_one_cog,
    told_of_plan,
)

if TYPE_CHECKING:
    from tessera_core.heads import SavedHead
    from tessera_core.project.classify import Trained
    from tessera_core.project.depth_filter import LeftOut
    from tessera_core.project.maps import MappedClasses, MappedValues


def add_map_options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("embeddings", help="a folder or file of embeddings in any layout we read")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--labels", help=LABELS_HELP)
    source.add_argument(
        "--use-head",
        metavar="FILE",
        help="a head saved earlier, or the name of a kept one ('tessera head'); it says how much is unlike its labels",
    )
    add_label_options(parser)
    add_head_options(parser)
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", help="map to write, a Cloud Optimized GeoTIFF")
    target.add_argument(
        "--tiles",
        metavar="DIR",
        help="write a map of each tile into this folder instead, with its confidence, and one VRT for each coordinate system: any "
        "number of tiles, in any UTM zones, resumed where it stopped",
    )
    add_one_cog_option(parser)
    add_spread_options(parser, "tiles", ", with --tiles")
    parser.add_argument("--confidence", metavar="FILE", help="also write confidence in percent, GeoTIFF")
    parser.add_argument(
        "--raw-confidence",
        action="store_true",
        help="leave confidence as the head gives it (default: calibrated on labels whose place is held out)",
    )
    parser.add_argument(
        "--margin", metavar="FILE", help="for numbers: also write how far off nine of ten may be, GeoTIFF"
    )
    parser.add_argument(
        "--seen-at-least",
        type=int,
        metavar="TIMES",
        help="leave out of the map what was seen clearly fewer times (25: from there on embeddings agree best)",
    )
    parser.add_argument("--save-head", metavar="FILE", help="also write the head, for --use-head elsewhere")


def check_options(args: argparse.Namespace) -> tuple[bool, SavedHead | None]:
    """Refuse, before any work, options that do not go together.

    Returns:
        Whether values are mapped, and the head of ``--use-head``.

    Raises:
        InputError: some do not.
    """
    from tessera_core.errors import InputError
    from tessera_core.heads import load_head
    from tessera_core.project.saved_heads import head_at

    check_engine(args)
    share_of(args)
    if args.tiles is None and (
        args.share is not None or args.workers > 1 or args.scheduler or args.plan or args.dry_run or args.one_cog
    ):
        raise InputError(
            "One map is made as a whole; --share, --workers, --scheduler, --plan, --dry-run and --one-cog go with --tiles DIR, "
            "a map for each tile."
        )
    if args.tiles is not None and (args.confidence or args.margin):
        raise InputError(
            "With --tiles the confidence of each tile lies beside its map; leave --confidence and --margin out."
        )
    if args.seen_at_least is not None and (args.tiles is not None or args.seen_at_least < 1):
        raise InputError("--seen-at-least needs a number from 1 on, and one map (--out), not --tiles.")
    saved = None
    if args.use_head:
        if args.field or args.classes or args.head or args.tree or args.neighbourhood > 1 or args.labels_are:
            raise InputError(
                "--field, --classes, --labels-are, --head, --tree and --neighbourhood are for training; --use-head trains nothing."
            )
        if any((args.layer, args.lon, args.lat, args.crs, args.encoding)):
            raise InputError(
                "--layer, --lon, --lat, --crs and --encoding say how labels are read; --use-head reads none."
            )
        if args.raw_confidence:
            raise InputError("--raw-confidence is for training; a saved head is as sure as it was when it was saved.")
        saved = load_head(head_at(args.use_head))
        regression = saved.regression is not None
    elif regression := wants_regression(args):
        chosen_regression_head(args)
    if regression and args.confidence:
        raise InputError("--confidence is for classes; a map of numbers has --margin.")
    if not regression and args.margin:
        raise InputError("--margin is for numbers; a map of classes has --confidence.")
    return regression, saved


def written(args: argparse.Namespace, made: MappedClasses | MappedValues) -> dict[str, Any]:
    """Write the map and what else is wanted; what was written and what lies on the map, as JSON.

    Raises:
        ExportError: a file cannot be written.
    """
    from tessera_core.heads.registry import called
    from tessera_core.project.maps import MappedClasses, write_map
    from tessera_core.sources.local.open import left_out

    made, left_out_told = _without_seldom_seen(made, args.seen_at_least)
    classes = isinstance(made, MappedClasses)
    beside = {"confidence": args.confidence} if classes else {"margin": args.margin}
    files = write_map(args.out, made, **beside)
    result: dict[str, Any] = {"out": str(files[0]), "dataset": made.provenance.dataset, "failed": left_out(made.raster)}
    result |= {"head": made.head.kind, "head_name": called(made.head.kind)}
    result |= {name: str(file) for name, file in zip(beside, files[1:], strict=False)}
    if made.labels is not None:
        result["import"] = import_of(made.labels.report)
    result |= _of_classes(made) if isinstance(made, MappedClasses) else _of_values(made)
    if left_out_told is not None:
        result["seen_at_least"] = left_out_told.to_json() | {"sentence": left_out_told.sentence}
    if args.save_head:
        result["saved_head"] = str(made.save_head(args.save_head))
    return result


def _without_seldom_seen(
    made: MappedClasses | MappedValues, times: int | None
) -> tuple[MappedClasses | MappedValues, LeftOut | None]:
    """The map without what was seen too rarely.

    Raises:
        RasterError: nobody counted how often its pixels were seen.
    """
    from dataclasses import replace

    from tessera_core.project.depth_filter import leave_out
    from tessera_core.project.maps import MappedClasses

    if times is None:
        return made, None
    # Says what to do where nobody counted.
    made.raster.seldom_seen(times)
    stamped = replace(made.raster, provenance=made.provenance.with_details(seen_at_least=times))
    if isinstance(made, MappedClasses):
        classes, taken = leave_out(made.map, made.raster, times)
        return replace(made, map=classes, raster=stamped), taken
    values, taken = leave_out(made.map, made.raster, times)
    return replace(made, map=values, raster=stamped), taken


def training_of(trained: Trained) -> dict[str, Any]:
    """How a head was trained and how good it is, as JSON."""
    found = trained.calibration
    errors = (None, None) if found is None else (round(found.ece_before, 4), round(found.ece_after, 4))
    return {
        "n_train": trained.n_train,
        "n_without_data": trained.n_without_data,
        "score": None if trained.score is None else trained.score.to_json(),
        "calibration": {"error_before": errors[0], "error_after": errors[1], "sentence": trained.sentence},
    }


def parts_of(made: MappedClasses) -> dict[str, Any] | None:
    """How much each part of joined embeddings counts, as JSON; None where they are of one piece."""
    from tessera_core.heads.blocks import learnt

    weights = getattr(made.head, "block_weights_", None)
    if weights is None:
        return None
    provenance = made.raster.provenance
    told = learnt(made.head, provenance)
    return {"names": list(provenance.part_names), "weights": [float(one) for one in weights], "sentence": told}


def _of_classes(made: MappedClasses) -> dict[str, Any]:
    from tessera_core.areas import summed_percent
    from tessera_core.heads.auto import reason

    result: dict[str, Any] = {"temperature": round(made.head.applied_temperature_, 6)}
    if (trained := made.trained) is not None:
        result |= training_of(trained)
        if (parts := parts_of(made)) is not None:
            result["parts"] = parts
        if why := reason(made.head):
            result["method"] = why
    if made.labels is None and (outside := made.outside_applicability()) is not None:
        result["unlike_training"] = {
            "share": round(outside.share, 4),
            "where_trained": None if isnan(outside.home) else round(outside.home, 4),
            "sentence": outside.sentence,
        }
    areas, names = made.areas(), made.names
    result["classes"] = [
        {"id": i, "name": names.get(i, str(i)), "pixels": area.pixels, "hectares": area.hectares}
        for i, area in areas.items()
        if i
    ]
    total, known = summed_percent(made.confidence)
    result |= {"pixels": int(made.classes.size), "no_data": areas[0].pixels}
    return result | {"mean_confidence": round(total / known, 2) if known else None}


def _of_values(made: MappedValues) -> dict[str, Any]:
    import numpy as np

    known = np.isfinite(made.values)
    result: dict[str, Any] = {"pixels": int(known.size), "no_data": int(known.size - known.sum())}
    if made.n_train is not None:
        result |= {"n_train": made.n_train, "n_without_data": made.head.n_ignored_}
    if known.any():
        values = made.values[known]
        result["values"] = {
            "min": round(float(values.min()), 6),
            "mean": round(float(values.mean(dtype=np.float64)), 6),
            "max": round(float(values.max()), 6),
            "median_margin": round(float(np.median(made.half_widths[known])), 6),
        }
    return result


def report(result: dict[str, Any]) -> str:
    """The result for people."""
    from tessera_core._utils.partial import left_out_lines
    from tessera_core.areas import CAVEAT
    from tessera_core.labels.report import told

    if "plan" in result:
        return told_of_plan(result)
    mapped = result["pixels"] - result["no_data"]
    lines = [
        f"{result['out']}: {mapped} of {result['pixels']} pixels mapped with {result.get('head', 'the saved head')}"
    ]
    if "tiles" in result:
        lines.append(
            f"  {result['tiles']} tiles, {result['made']} of them made now; shown as one by {', '.join(result['maps'])}"
        )
        if result["waiting"]:
            lines.append(f"  {len(result['waiting'])} tiles of other shares are not there yet")
        lines += [f"  {line}" for line in told_of_one_cog(result)]
    lines += left_out_lines(result)
    if "classes" not in result:
        if "values" in result:
            one = result["values"]
            span = f"from {one['min']:.4g} to {one['max']:.4g}, mean {one['mean']:.4g}"
            lines.append(f"  {span}; nine of ten within ± {one['median_margin']:.4g} (median)")
        if "seen_at_least" in result:
            lines.append(result["seen_at_least"]["sentence"])
        return "\n".join([*told(result), *lines])
    if "seen_at_least" in result:
        lines.append(result["seen_at_least"]["sentence"])
    width = max(len(one["name"]) for one in result["classes"])
    for one in result["classes"]:
        area = f"  {one['hectares']:.2f} ha" if one["hectares"] is not None else ""
        lines.append(f"  {one['name']:<{width}}  {one['pixels']:>10} pixels{area}")
    if any(one["hectares"] is not None for one in result["classes"]):
        lines.append(CAVEAT)
    if "method" in result:
        lines.append(result["method"])
    if "parts" in result:
        lines.append(result["parts"]["sentence"])
    if "unlike_training" in result:
        lines.append(result["unlike_training"]["sentence"])
    if result.get("score"):
        lines += result["score"]["sentences"]
    if "calibration" in result:
        lines.append(result["calibration"]["sentence"])
    return "\n".join([*told(result), *lines])
