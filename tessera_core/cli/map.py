"""Train a head on labels, or take a saved one, and map a region of any size.

The region is read once, a block at a time. A saved head maps embeddings of its own dataset only.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

SUMMARY = "train a head on labels and map a region"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("embeddings", help="a folder or file of embeddings in any layout we read")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--labels", help="GeoJSON, GPKG, CSV, KML, zipped shapefile, or class raster (0 = unlabelled)")
    source.add_argument("--use-head", metavar="FILE", help="a head saved earlier")
    parser.add_argument("--field", help="attribute of the label file that is the class")
    parser.add_argument("--classes", help="only these classes, by name or code, separated by commas")
    parser.add_argument(
        "--head", default="ridge", help="ridge, logistic, prototype, knn, forest or mlp (default: ridge)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    parser.add_argument("--out", required=True, help="class map to write, a Cloud Optimized GeoTIFF")
    parser.add_argument("--confidence", metavar="FILE", help="also write confidence in percent, GeoTIFF")
    parser.add_argument("--save-head", metavar="FILE", help="also write the head, for --use-head elsewhere")


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
    from tessera_core.heads import load_head, predict_raster, save_head
    from tessera_core.labels.model import LabelClass, next_color
    from tessera_core.sources.local import open_embeddings

    if args.use_head and (args.field or args.classes):
        raise InputError("--field and --classes choose among labels; with --use-head there are none.")
    raster = open_embeddings(args.embeddings)
    result: dict[str, Any] = {"out": str(args.out), "dataset": raster.provenance.dataset}
    classes: list[LabelClass] = []
    if args.use_head:
        saved = load_head(args.use_head)
        raster.provenance.require_same_dataset(saved.provenance, "one map")
        head, trained_on = saved.head, saved.provenance
        for class_id, name in saved.class_names.items():
            classes.append(LabelClass(class_id, name, next_color(classes, class_id)))
    else:
        reference = read_reference(args.labels, raster.grid, args.field)
        if args.classes:
            reference = reference.only([name.strip() for name in args.classes.split(",") if name.strip()])
        head, n_train = _train(args, raster, reference)
        classes, trained_on = reference.classes, raster.provenance
        result |= {"n_train": n_train, "n_without_data": head.n_ignored_}
    made = predict_raster(head, raster, progress=ConsoleProgress("map"))
    tags = {"tessera_head": type(head).__name__, "tessera_trained_on_year": str(trained_on.year or "")}
    written = write_class_map(args.out, made.classes, None, raster.grid, classes, raster.provenance, tags=tags)
    result |= {"out": str(written), "head": type(head).__name__}
    if args.confidence:
        result["confidence"] = str(write_confidence(args.confidence, made.confidence, raster.grid, raster.provenance))
    names = {c.id: c.name for c in classes}
    if args.save_head:
        result["saved_head"] = str(save_head(Path(args.save_head), head, names, trained_on))
    counts = np.bincount(made.classes.ravel(), minlength=256)
    hectares = raster.grid.pixel_area_m2 / 10_000
    result["classes"] = [
        {
            "id": int(i),
            "name": names.get(int(i), str(i)),
            "pixels": int(counts[i]),
            "hectares": round(float(counts[i] * hectares), 4) if raster.grid.georeferenced else None,
        }
        for i in head.classes_
    ]
    known = made.confidence[made.confidence != 255]
    result |= {"pixels": int(made.classes.size), "no_data": int(counts[0])}
    result["mean_confidence"] = round(float(known.mean()), 2) if known.size else None
    return result


def _train(args: argparse.Namespace, raster: Any, reference: Any) -> tuple[Any, int]:
    """A head fitted on at most as many labels as scores are computed with, so that map and score belong together."""
    import numpy as np

    from tessera_core.assess.evaluate import MAX_TRAIN
    from tessera_core.heads import HEADS, make_head
    from tessera_core.heads.base import balanced_draw

    head = make_head(args.head)
    if args.head in HEADS and "seed" in head.get_params():
        head.set_params(seed=args.seed)
    keep = np.arange(len(reference.y))
    if len(keep) > MAX_TRAIN:
        keep = balanced_draw(np.unique(reference.y, return_inverse=True)[1], MAX_TRAIN, args.seed)
    head.fit(raster.sample(reference.rows[keep], reference.cols[keep]), reference.y[keep])
    return head, len(keep) - head.n_ignored_


def report(result: dict[str, Any]) -> str:
    """The result for people."""
    mapped = result["pixels"] - result["no_data"]
    lines = [f"{result['out']}: {mapped} of {result['pixels']} pixels mapped with {result['head']}"]
    width = max(len(one["name"]) for one in result["classes"])
    for one in result["classes"]:
        area = f"  {one['hectares']:.2f} ha" if one["hectares"] is not None else ""
        lines.append(f"  {one['name']:<{width}}  {one['pixels']:>10} pixels{area}")
    return "\n".join(lines)
