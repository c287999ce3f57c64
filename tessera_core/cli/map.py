"""Train a head on labels, or take a saved one, and map a region of any size.

The region is read once, a block at a time. A saved head maps embeddings of its own dataset only. Confidence is calibrated as in
the app, on labels whose place is held out.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tessera_core.heads import Head, RegressionHead
    from tessera_core.labels.model import LabelClass

SUMMARY = "train a head on labels and map a region"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("embeddings", help="a folder or file of embeddings in any layout we read")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--labels", help="GeoJSON, GPKG, CSV, KML, zipped shapefile, or class raster (0 = unlabelled)")
    source.add_argument("--use-head", metavar="FILE", help="a head saved earlier")
    parser.add_argument("--field", help="attribute of the label file that is the class, or the number")
    parser.add_argument("--classes", help="only these classes, by name or code, separated by commas")
    add_head_options(parser)
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    parser.add_argument("--out", required=True, help="map to write, a Cloud Optimized GeoTIFF")
    parser.add_argument("--confidence", metavar="FILE", help="also write confidence in percent, GeoTIFF")
    parser.add_argument(
        "--raw-confidence",
        action="store_true",
        help="leave confidence as the head gives it (default: calibrated on labels whose place is held out)",
    )
    parser.add_argument(
        "--margin", metavar="FILE", help="for numbers: also write how far off nine of ten may be, GeoTIFF"
    )
    parser.add_argument("--save-head", metavar="FILE", help="also write the head, for --use-head elsewhere")


def add_head_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say which head."""
    parser.add_argument(
        "--head",
        help="prototype (default), ridge, logistic, knn, forest, boosting, mlp, unet; for labels that are numbers "
        "ridge-regression, forest-regression, mlp-regression",
    )
    parser.add_argument(
        "--context", type=int, default=1, choices=(1, 3, 5), help="look at a square of so many pixels around each pixel"
    )
    parser.add_argument(
        "--class-weight",
        choices=("balanced", "none"),
        help="classes have the same say, or every label (default: the head's)",
    )
    parser.add_argument(
        "--tree",
        metavar="FILE",
        help="tree of classes, indented lines or JSON: labels of any level, map as fine as certain",
    )
    parser.add_argument(
        "--certainty", type=float, default=0.6, help="with --tree: probability that a finer class needs (default: 0.6)"
    )


def chosen_head(args: argparse.Namespace, classes: list[LabelClass]) -> Head:
    """The unfitted head that the options name.

    Args:
        args: parsed.
        classes: of the labels; those of ``--tree`` that are missing are added.

    Raises:
        InputError: there is no such head, or the tree cannot be read or has no class of the labels.
    """
    from tessera_core.errors import InputError, LabelError
    from tessera_core.heads import DEFAULT_HEAD, HEADS, HeadChoice
    from tessera_core.labels.colors import color_for
    from tessera_core.labels.model import LabelClass
    from tessera_core.labels.schema import parse_tree

    name = args.head or DEFAULT_HEAD
    parents: dict[int, int] = {}
    if args.tree:
        try:
            tree = parse_tree(Path(args.tree).read_text(encoding="utf-8"), Path(args.tree).stem)
        except (OSError, UnicodeDecodeError) as error:
            raise LabelError(f"The class tree {args.tree} cannot be read; give a text or JSON file.") from error
        if not tree.class_ids(classes):
            raise InputError(f"No class of the labels is in the tree {args.tree}; their names have to be the same.")
        free = iter(i for i in range(1, 255) if i not in {c.id for c in classes})
        known = {c.name.casefold() for c in classes}
        for node in tree.nodes:
            if node.name.casefold() not in known:
                class_id = next(free, 0)
                if not class_id:
                    raise InputError("Labels and tree have more classes than a map holds (254); take some out.")
                color = node.color or color_for(node.name, classes, class_id)
                classes.append(LabelClass(class_id, node.name, color, node.code))
        parents = tree.parents(classes)
    weight = {"balanced": "balanced", "none": None, None: "own"}[args.class_weight]
    choice = HeadChoice(name, args.context, weight, tuple(sorted(parents.items())), args.certainty)
    seeded = name in HEADS and not parents and "seed" in HEADS[name]().get_params()
    return choice.make(**({"seed": args.seed} if seeded else {}))


def chosen_regression_head(args: argparse.Namespace) -> RegressionHead:
    """The unfitted head for numbers that the options name.

    Raises:
        InputError: an option does not go with it.
    """
    from tessera_core.errors import InputError
    from tessera_core.heads import ContextRegressionHead, make_regression_head

    if args.classes or args.tree or args.class_weight:
        raise InputError("--classes, --tree and --class-weight are for classes; this head maps numbers.")
    head = make_regression_head(args.head, context=args.context)
    inner = head.head if isinstance(head, ContextRegressionHead) else head
    if "seed" in inner.get_params():
        inner.set_params(seed=args.seed)
    return head


def is_regression(args: argparse.Namespace) -> bool:
    """Whether the options name a head for numbers."""
    from tessera_core.heads import REGRESSION_HEADS

    return args.head in REGRESSION_HEADS


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Map and return what was written and what lies on the map.

    Raises:
        InputError: something given is not usable.
        ExportError: a file cannot be written.
    """
    import numpy as np

    from tessera_core.assess.reference import read_reference
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.errors import InputError
    from tessera_core.export.geotiff import write_class_map, write_confidence
    from tessera_core.heads import RegressionHead, load_head, predict_raster, save_head
    from tessera_core.labels.model import LabelClass, next_color
    from tessera_core.sources.local import open_embeddings

    if args.use_head and (args.field or args.classes or args.head or args.tree or args.context > 1):
        raise InputError(
            "--field, --classes, --head, --tree and --context are for training; --use-head trains nothing."
        )
    if args.use_head and args.raw_confidence:
        raise InputError("--raw-confidence is for training; a saved head is as sure as it was when it was saved.")
    raster = open_embeddings(args.embeddings)
    result: dict[str, Any] = {"out": str(args.out), "dataset": raster.provenance.dataset}
    classes: list[LabelClass] = []
    if args.use_head:
        saved = load_head(args.use_head)
        raster.provenance.require_same_dataset(saved.provenance, "one map")
        head, trained_on = saved.head, saved.provenance
        if isinstance(head, RegressionHead):
            return _map_numbers(args, raster, head, result)
        for class_id, name in saved.class_names.items():
            classes.append(LabelClass(class_id, name, next_color(classes, class_id)))
    elif is_regression(args):
        numbers_head, n_train = _train_numbers(args, raster)
        result |= {"n_train": n_train, "n_without_data": numbers_head.n_ignored_}
        return _map_numbers(args, raster, numbers_head, result)
    else:
        reference = read_reference(args.labels, raster.grid, args.field)
        if args.classes:
            reference = reference.only([name.strip() for name in args.classes.split(",") if name.strip()])
        classes, trained_on = list(reference.classes), raster.provenance
        head, calibration = _train(args, raster, reference, classes)
        result |= {"n_train": calibration.pop("n_train"), "n_without_data": head.n_ignored_, "calibration": calibration}
    if args.margin:
        raise InputError("--margin is for numbers; a map of classes has --confidence.")
    made = predict_raster(head, raster, progress=ConsoleProgress("map"))
    tags = {"tessera_head": _kind(head), "tessera_trained_on_year": str(trained_on.year or "")}
    written = write_class_map(args.out, made.classes, None, raster.grid, classes, raster.provenance, tags=tags)
    result |= {"out": str(written), "head": _kind(head), "temperature": round(head.softened_, 6)}
    if args.confidence:
        result["confidence"] = str(
            write_confidence(
                args.confidence, made.confidence, raster.grid, raster.provenance, temperature=head.softened_
            )
        )
    names = {c.id: c.name for c in classes}
    if args.save_head:
        result["saved_head"] = str(save_head(Path(args.save_head), head, names, trained_on))
    counts = np.bincount(made.classes.ravel(), minlength=256)
    hectares = raster.grid.pixel_area_m2 / 10_000
    result["classes"] = [
        {
            "id": i,
            "name": names.get(i, str(i)),
            "pixels": int(counts[i]),
            "hectares": round(float(counts[i] * hectares), 4) if raster.grid.georeferenced else None,
        }
        for i in sorted({int(i) for i in head.classes_} | {int(i) for i in np.flatnonzero(counts[1:]) + 1})
    ]
    known = made.confidence[made.confidence != 255]
    result |= {"pixels": int(made.classes.size), "no_data": int(counts[0])}
    result["mean_confidence"] = round(float(known.mean()), 2) if known.size else None
    return result


def _kind(head: Any) -> str:
    """The name of a head's kind, with its surroundings."""
    from tessera_core.heads.tempered import TemperedHead

    head = head.head if isinstance(head, TemperedHead) else head
    inner = getattr(head, "head", None)
    return f"{type(inner).__name__} {head.size}x{head.size}" if hasattr(head, "size") else type(head).__name__


def _train(
    args: argparse.Namespace, raster: Any, reference: Any, classes: list[LabelClass]
) -> tuple[Head, dict[str, Any]]:
    """A head fitted on at most as many labels as scores are computed with, so that map and score belong together.

    Returns:
        The head, as sure as it should be, and what is to be told: ``n_train``, and of the calibration ``error_before``,
        ``error_after`` (0..1; None where there is none) and ``sentence``.
    """
    import numpy as np

    from tessera_core.assess.evaluate import MAX_TRAIN
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.heads.base import balanced_draw

    head = chosen_head(args, classes)
    keep = np.arange(len(reference.y))
    if len(keep) > MAX_TRAIN:
        keep = balanced_draw(np.unique(reference.y, return_inverse=True)[1], MAX_TRAIN, args.seed)
    rows, cols, groups = reference.rows[keep], reference.cols[keep], reference.groups[keep]
    head.fit_at(raster, rows, cols, reference.y[keep], groups=groups, progress=ConsoleProgress("train"))
    n_train = len(keep) - head.n_ignored_
    head, told = _calibrated(args, raster, reference, keep, head, {c.id: c.name for c in classes})
    return head, {"n_train": n_train} | told


def _calibrated(
    args: argparse.Namespace, raster: Any, reference: Any, keep: Any, head: Head, names: dict[int, str]
) -> tuple[Head, dict[str, Any]]:
    """A head as sure as labels of held-out places show it should be, and what is to be told of it."""
    import numpy as np
    from sklearn.base import clone

    from tessera_core.assess import CodeFeatures, Samples
    from tessera_core.heads.tempered import temper
    from tessera_core.mapping import check_confidence, shown_temperature, takes_temperature

    told: dict[str, Any] = {"error_before": None, "error_after": None}
    if args.raw_confidence:
        return head, told | {"sentence": "Confidence is as the head gives it, as asked."}
    if not takes_temperature(head):
        return head, told | {"sentence": "Confidence is as the head gives it: this kind of head is not calibrated."}
    features = CodeFeatures.at(raster, reference.rows[keep], reference.cols[keep])
    usable = np.flatnonzero(features.usable())
    keep = keep[usable]
    samples = Samples(
        features.take(usable),
        reference.y[keep].astype(np.int64),
        reference.groups[keep],
        reference.rows[keep],
        reference.cols[keep],
        names,
    )
    found = check_confidence(samples, clone(head))
    if found is None:
        return head, told | {"sentence": "Confidence is as the head gives it: too few places to check it at."}
    temperature = shown_temperature(head, found)
    told = {"error_before": round(found.ece_before, 4), "error_after": round(found.ece_after, 4)}
    return (head if temperature == 1 else temper(head, temperature)), told | {"sentence": found.sentence}


def _train_numbers(args: argparse.Namespace, raster: Any) -> tuple[Any, int]:
    """A head for numbers and how many pixels taught it."""
    from tessera_core.assess.numbers import read_number_labels
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.numbers_mapping import fit_numbers

    head = chosen_regression_head(args)
    numbers = read_number_labels(args.labels, raster.grid, args.field)
    return head, fit_numbers(numbers, raster, head, seed=args.seed, progress=ConsoleProgress("train"))


def _map_numbers(args: argparse.Namespace, raster: Any, head: Any, result: dict[str, Any]) -> dict[str, Any]:
    """Write a map of numbers, and say what lies on it."""
    import numpy as np

    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.errors import InputError
    from tessera_core.export.numbers import NumberProduct, write_number_margins, write_number_values
    from tessera_core.heads import predict_values, save_head
    from tessera_core.labels.numbers import name_and_unit

    if args.confidence:
        raise InputError("--confidence is for classes; a map of numbers has --margin.")
    made = predict_values(head, raster, progress=ConsoleProgress("map"))
    name = args.field or "value"
    product = NumberProduct(
        name, name, name_and_unit(name)[1], made.values, made.margins, raster.grid, raster.provenance, _kind(head)
    )
    result |= {"out": str(write_number_values(args.out, product)), "head": _kind(head)}
    if args.margin:
        result["margin"] = str(write_number_margins(args.margin, product))
    if args.save_head:
        result["saved_head"] = str(save_head(Path(args.save_head), head, {}, raster.provenance))
    known = np.isfinite(made.values)
    result |= {"pixels": int(known.size), "no_data": int(known.size - known.sum())}
    if known.any():
        values = made.values[known]
        result["values"] = {
            "min": round(float(values.min()), 6),
            "mean": round(float(values.mean(dtype=np.float64)), 6),
            "max": round(float(values.max()), 6),
            "median_margin": round(float(np.median(made.margins[known])), 6),
        }
    return result


def report(result: dict[str, Any]) -> str:
    """The result for people."""
    mapped = result["pixels"] - result["no_data"]
    lines = [f"{result['out']}: {mapped} of {result['pixels']} pixels mapped with {result['head']}"]
    if "classes" not in result:
        if "values" in result:
            one = result["values"]
            span = f"from {one['min']:.4g} to {one['max']:.4g}, mean {one['mean']:.4g}"
            lines.append(f"  {span}; nine of ten within ± {one['median_margin']:.4g} (median)")
        return "\n".join(lines)
    width = max(len(one["name"]) for one in result["classes"])
    for one in result["classes"]:
        area = f"  {one['hectares']:.2f} ha" if one["hectares"] is not None else ""
        lines.append(f"  {one['name']:<{width}}  {one['pixels']:>10} pixels{area}")
    if "calibration" in result:
        lines.append(result["calibration"]["sentence"])
    return "\n".join(lines)
