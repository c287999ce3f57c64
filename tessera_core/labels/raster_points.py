"""Points drawn from a class raster: as many of each class as wanted, so that a map of somebody else can teach a head.

A raster says a class for every pixel; taken whole it would drown what people label by hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from tessera_core.errors import LabelError
from tessera_core.gate import open_raster
from tessera_core.grid import Grid
from tessera_core.labels.colors import color_for
from tessera_core.labels.files import class_tags, read_class_raster
from tessera_core.labels.importing import ImportedLabels, parse_color
from tessera_core.labels.model import MAX_CLASS_ID, SAMPLED, Label, LabelClass, clean_name


def raster_points(path: str | Path, grid: Grid, per_class: int = 20, seed: int = 0) -> ImportedLabels:
    """Labels at the middles of pixels drawn from a class raster, evenly likely within each class.

    Names, colours and codes are those of the tags ``class_1``, ``class_1_color``, ``class_1_code`` (as we and TEE write them),
    else of the raster's colour table and numbers.

    Args:
        path: single-band class GeoTIFF or .npy, see :func:`tessera_core.labels.files.read_class_raster`.
        grid: labels come in its CRS.
        per_class: most points of a class.
        seed: of the draw; the same file and seed give the same places.

    Raises:
        LabelError: the raster is not readable, does not meet the grid, or has more classes than a project holds.
    """
    path = Path(path)
    raster = read_class_raster(path, grid)
    codes = raster.classes.ravel()
    values, counts = np.unique(codes[codes > 0], return_counts=True)
    if len(values) > MAX_CLASS_ID:
        raise LabelError(
            f"{path.name} has {len(values)} different values in this region, more than {MAX_CLASS_ID} classes."
        )
    tags, table = class_tags(path), _colors(path)
    random = np.random.default_rng(seed)
    classes: list[LabelClass] = []
    labels: list[Label] = []
    report = replace(raster.report, read=int(counts.sum()), left_out=Counter(), examples={})
    report.notes += [line for line in raster.report.skipped if "no classes" in line]
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        classes.append(_class(raster.own_code(value), classes, tags, table))
        places = np.flatnonzero(codes == value)
        if count > per_class:
            places = np.sort(random.choice(places, per_class, replace=False))
        elif count < per_class:
            report.notes.append(f"{classes[-1].name} has {count} pixels in this region; all were taken.")
        rows, cols = np.divmod(places, grid.width)
        x, y = grid.pixel_to_xy(rows + 0.5, cols + 0.5)
        ids, n = [classes[-1].id] * len(places), len(places)
        labels += Label.points(ids, x.tolist(), y.tolist(), [SAMPLED] * n)
    report.labels = report.used = len(labels)
    report.leave_out("of a class, but not drawn", count=report.read - report.used)
    report.notes.append(f"Drawn at random, the same again from the same file: at most {per_class} of each class.")
    if not any(f"class_{raster.own_code(value)}" in tags for value in values.tolist()):
        report.notes.append("The file does not name its classes; they are called by their numbers.")
    return ImportedLabels(classes, labels, report)


def _class(value: int, known: list[LabelClass], tags: Mapping[str, str], table: Mapping[int, str]) -> LabelClass:
    name = clean_name(tags.get(f"class_{value}", "")) or f"class {value}"
    if name.casefold() in {c.name.casefold() for c in known}:
        name = clean_name(f"{name[:60]} {value}")
    theirs = parse_color(tags.get(f"class_{value}_color")) or table.get(value)
    color = theirs if theirs and theirs not in {c.color for c in known} else color_for(name, known, len(known) + 1)
    return LabelClass(len(known) + 1, name, color, tags.get(f"class_{value}_code", ""))


def _colors(path: Path) -> dict[int, str]:
    """``class -> "#rrggbb"`` of a GeoTIFF's colour table."""
    if path.suffix.lower() == ".npy":
        return {}
    with open_raster(path, error=LabelError) as file:
        try:
            return {value: f"#{r:02x}{g:02x}{b:02x}" for value, (r, g, b, *_) in file.colormap(1).items()}
        except ValueError:
            return {}
