"""Train a head on labels, or take a saved one, and map a region of any size.

The region is read once, a block at a time. A saved head maps embeddings of its own dataset only. Labels teach the same head,
with the same calibrated confidence, as in the app: calibrated on labels whose place is held out. Where more than 20,000 pixels
are labelled, a draw of them (by --seed) teaches it.

Beside every raster lies its style for QGIS, NAME.qml, and beside a map of classes their table, NAME.tif.aux.xml. A style that you
saved there yourself is kept.
"""

from __future__ import annotations

import argparse
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from tessera_core.cli.paths import TIFF, Input, Output, sidecars

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tessera_core.heads import Head, RegressionHead
    from tessera_core.labels.model import LabelClass
    from tessera_core.provenance import Provenance
    from tessera_core.raster import EmbeddingRaster

PATHS = {
    **LABEL_PATHS,
    "use_head": Input(),
    "out": Output(TIFF, beside=sidecars),
    "confidence": Output(TIFF, beside=sidecars),
    "margin": Output(TIFF, beside=sidecars),
    "save_head": Output(),
}
EXAMPLES = (
    "tessera map embeddings --labels fields.gpkg --field crop --out map.tif --confidence confidence.tif",
    "tessera map embeddings --labels plots.csv --field height_m --head ridge-regression --out height.tif --margin margin.tif",
    "tessera map elsewhere --use-head head.safetensors --out map.tif",
)
STOPPED = "files that were whole are kept, and nothing else; run the same command again"
SUMMARY = "train a head on labels and map a region"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("embeddings", help="a folder or file of embeddings in any layout we read")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--labels", help=LABELS_HELP)
    source.add_argument(
        "--use-head", metavar="FILE", help="a head saved earlier; it says how much is unlike its labels"
    )
    add_label_options(parser)
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


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Map and return what was written and what lies on the map.

    Raises:
        InputError: something given is not usable.
        ExportError: a file cannot be written.
    """
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.project.classify import train, what_was_seen
    from tessera_core.sources.local.open import left_out, open_embeddings

    numbers = not args.use_head and wants_regression(args)
    _check_options(args, numbers)
    raster = open_embeddings(args.embeddings)
    result: dict[str, Any] = {"out": str(args.out), "dataset": raster.provenance.dataset, "failed": left_out(raster)}
    if args.use_head:
        return result | _with_saved_head(args, raster)
    if numbers:
        from tessera_core.project.regress import fit_regression

        labels = read_measured(args, raster.grid)
        head = chosen_regression_head(args).make(args.seed)
        n_train = fit_regression(labels, raster, head, seed=args.seed, progress=ConsoleProgress("train"))
        result |= {"n_train": n_train, "n_without_data": head.n_ignored_, "import": import_of(labels.report)}
        return result | _write_values(args, raster, head, labels.field or "value")
    reference = read_classes(args, raster.grid)
    choice, classes = chosen_head(args, list(reference.classes))
    made = train(
        reference,
        raster,
        choice,
        seed=args.seed,
        calibrated=not args.raw_confidence,
        progress=ConsoleProgress("train"),
    )
    found = made.calibration
    errors = (None, None) if found is None else (round(found.ece_before, 4), round(found.ece_after, 4))
    result |= {
        "import": import_of(reference.report),
        "n_train": made.n_train,
        "n_without_data": made.n_without_data,
        "score": None if made.score is None else made.score.to_json(),
        "calibration": {"error_before": errors[0], "error_after": errors[1], "sentence": made.sentence},
    }
    seen = what_was_seen(reference, raster, args.seed) if args.save_head else {}
    return result | _write_classes(args, raster, made.head, classes, raster.provenance, seen)


def _check_options(args: argparse.Namespace, numbers: bool) -> None:
    """Refuse, before any work, options that do not go together.

    Raises:
        InputError: some do not.
    """
    from tessera_core.errors import InputError

    if args.use_head and (args.field or args.classes or args.head or args.tree or args.context > 1 or args.labels_are):
        raise InputError(
            "--field, --classes, --labels-are, --head, --tree and --context are for training; --use-head trains nothing."
        )
    if args.use_head and any((args.layer, args.lon, args.lat, args.crs, args.encoding)):
        raise InputError("--layer, --lon, --lat, --crs and --encoding say how labels are read; --use-head reads none.")
    if args.use_head and args.raw_confidence:
        raise InputError("--raw-confidence is for training; a saved head is as sure as it was when it was saved.")
    if numbers:
        chosen_regression_head(args)
        _need_margin(args)
    elif not args.use_head:
        _need_confidence(args)


def _need_margin(args: argparse.Namespace) -> None:
    from tessera_core.errors import InputError

    if args.confidence:
        raise InputError("--confidence is for classes; a map of numbers has --margin.")


def _need_confidence(args: argparse.Namespace) -> None:
    from tessera_core.errors import InputError

    if args.margin:
        raise InputError("--margin is for numbers; a map of classes has --confidence.")


def _with_saved_head(args: argparse.Namespace, raster: EmbeddingRaster) -> dict[str, Any]:
    """Map with the head of ``--use-head``."""
    from tessera_core.analysis.applicability import AreaOfApplicability
    from tessera_core.heads import RegressionHead, load_head
    from tessera_core.labels.model import LabelClass, next_color

    saved = load_head(args.use_head)
    raster.provenance.require_same_dataset(saved.provenance, "one map")
    if isinstance(saved.head, RegressionHead):
        _need_margin(args)
        return _write_values(args, raster, saved.head, "value")
    _need_confidence(args)
    classes: list[LabelClass] = []
    for class_id, name in saved.class_names.items():
        classes.append(LabelClass(class_id, name, next_color(classes, class_id)))
    told: dict[str, Any] = {}
    if saved.seen:
        known = AreaOfApplicability.of_arrays(saved.seen)
        share = known.share_outside(raster, args.seed)
        if share is not None:
            told["unlike_training"] = {
                "share": round(share, 4),
                "where_trained": None if isnan(known.home) else round(known.home, 4),
                "sentence": _outside(share, known.home),
            }
    return told | _write_classes(args, raster, saved.head, classes, saved.provenance, saved.seen)


def _outside(share: float, home: float) -> str:
    """How far a saved head may be trusted where ``share`` is unlike its labels; ``home`` of the region it was trained in was."""
    if share < 0.005:
        return "Nearly all of the region resembles what the head was trained on."
    there = f" ({100 * home:.0f} % where it was trained)"
    # Labels never show all of their own region; but few classes may leave most of it out, and the map guesses there as well.
    there = ", about as much as where it was trained" if share <= home + 0.05 else "" if isnan(home) else there
    said = f"{100 * share:.0f} % of the region is unlike anything the head was trained on{there}"
    return f"{said}; the map guesses there, however sure it looks."


def _write_classes(
    args: argparse.Namespace,
    raster: EmbeddingRaster,
    head: Head,
    classes: list[LabelClass],
    trained_on: Provenance,
    seen: Mapping[str, NDArray[Any]],
) -> dict[str, Any]:
    """Write the map of classes and what else is wanted, and say what lies on it."""
    from tessera_core.areas import mapped_areas
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.export.geotiff import write_class_map, write_confidence
    from tessera_core.heads import predict_raster, save_head

    made = predict_raster(head, raster, progress=ConsoleProgress("map"))
    grid, provenance, names = raster.grid, raster.provenance, {c.id: c.name for c in classes}
    tags = {"tessera_head": head.kind, "tessera_trained_on_year": str(trained_on.year or "")}
    written = write_class_map(args.out, made.classes, None, grid, classes, provenance, tags=tags)
    result: dict[str, Any] = {"out": str(written), "head": head.kind, "temperature": round(head.softened_, 6)}
    if args.confidence:
        sure = write_confidence(args.confidence, made.confidence, grid, provenance, temperature=head.softened_)
        result["confidence"] = str(sure)
    if args.save_head:
        result["saved_head"] = str(save_head(Path(args.save_head), head, names, trained_on, seen))
    areas = mapped_areas(made.classes, grid)
    shown = sorted({int(i) for i in head.classes_} | {i for i, area in areas.items() if i and area.pixels})
    result["classes"] = [
        {"id": i, "name": names.get(i, str(i)), "pixels": areas[i].pixels, "hectares": areas[i].hectares} for i in shown
    ]
    known = made.confidence[made.confidence != 255]
    result |= {"pixels": int(made.classes.size), "no_data": areas[0].pixels}
    return result | {"mean_confidence": round(float(known.mean()), 2) if known.size else None}


def _write_values(args: argparse.Namespace, raster: EmbeddingRaster, head: RegressionHead, name: str) -> dict[str, Any]:
    """Write the map of numbers and what else is wanted, and say what lies on it."""
    import numpy as np

    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.export.values import RegressionProduct, write_half_widths, write_value_map
    from tessera_core.heads import predict_values, save_head
    from tessera_core.labels.values import name_and_unit

    made = predict_values(head, raster, progress=ConsoleProgress("map"))
    product = RegressionProduct(
        name, name, name_and_unit(name)[1], made.values, made.margins, raster.grid, raster.provenance, head.kind
    )
    result: dict[str, Any] = {"out": str(write_value_map(args.out, product)), "head": head.kind}
    if args.margin:
        result["margin"] = str(write_half_widths(args.margin, product))
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
    from tessera_core._utils.partial import left_out_lines
    from tessera_core.labels.report import told

    mapped = result["pixels"] - result["no_data"]
    lines = [f"{result['out']}: {mapped} of {result['pixels']} pixels mapped with {result['head']}"]
    lines += left_out_lines(result)
    if "classes" not in result:
        if "values" in result:
            one = result["values"]
            span = f"from {one['min']:.4g} to {one['max']:.4g}, mean {one['mean']:.4g}"
            lines.append(f"  {span}; nine of ten within ± {one['median_margin']:.4g} (median)")
        return "\n".join([*told(result), *lines])
    width = max(len(one["name"]) for one in result["classes"])
    for one in result["classes"]:
        area = f"  {one['hectares']:.2f} ha" if one["hectares"] is not None else ""
        lines.append(f"  {one['name']:<{width}}  {one['pixels']:>10} pixels{area}")
    if "unlike_training" in result:
        lines.append(result["unlike_training"]["sentence"])
    if result.get("score"):
        lines += result["score"]["sentences"]
    if "calibration" in result:
        lines.append(result["calibration"]["sentence"])
    return "\n".join([*told(result), *lines])
