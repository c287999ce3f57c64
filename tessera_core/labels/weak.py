"""Labels from a map that exists already (land cover, a field register): weak labels, which carry that map's mistakes.

Places are drawn from the middles of its patches: beside a border a map is wrong most often, and a pixel of embeddings holds both
sides. A legend says which of its classes are which of one's own; what it does not name is left out and counted.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import LabelError
from tessera_core.grid import Grid
from tessera_core.labels.colors import color_for
from tessera_core.labels.features import NO_HINTS, Hints
from tessera_core.labels.files import class_tags, is_class_raster, read_class_raster, read_labels
from tessera_core.labels.importing import ImportedLabels, assemble
from tessera_core.labels.model import IMPORTED, MAX_CLASS_ID, Label, LabelClass, clean_name, new_id
from tessera_core.labels.osmfiles import is_osm, read_osm_areas
from tessera_core.labels.report import ImportReport
from tessera_core.labels.sampling import label_pixels
from tessera_core.labels.text import read_text

PER_CLASS, BORDER = 50, 2
WARNING = (
    "These labels are another map's: they carry its mistakes, its year and its idea of the classes. A score against them says how "
    "well that map is repeated, not how right yours is; check yours at places drawn by chance."
)


@dataclass(frozen=True)
class ExistingMap:
    """A map of somebody else on a grid.

    Attributes:
        classes: uint8 (H, W), 0 = nothing known, or left out by the legend.
        names: what the ids mean.
        codes: what the map itself calls each class id, for the note of a label.
        report: what became of its features or pixels.
    """

    classes: NDArray[np.uint8]
    names: dict[int, str]
    codes: dict[int, str]
    report: ImportReport


def read_existing_map(
    path: str | Path,
    grid: Grid,
    legend: Mapping[str, str] | None = None,
    *,
    field: str | None = None,
    crs: str | None = None,
    hints: Hints = NO_HINTS,
) -> ExistingMap:
    """A class raster, or polygons with a class, on a grid.

    Args:
        path: GeoTIFF of classes (laid over by nearest neighbour), a vector file, or an extract of OpenStreetMap, whose
            classes are tags such as ``landuse=forest``.
        grid: of the embeddings.
        legend: name or code of a class of the map -> name of one's own class; classes it does not name are left out. None takes
            the map's own classes.
        field, crs, hints: of a vector file, as for :func:`tessera_core.labels.files.read_labels`.

    Raises:
        LabelError: the file cannot be read or does not meet the grid, or the legend names what it does not have.
    """
    path = Path(path)
    if is_class_raster(path):
        raster = read_class_raster(path, grid)
        raw, tags = raster.classes.astype(np.int64), class_tags(path)
        values = [int(v) for v in np.unique(raw) if v > 0]
        own = {v: str(raster.own_code(v)) for v in values}
        name = {v: clean_name(tags.get(f"class_{own[v]}", "")) or own[v] for v in values}
        code = {v: tags.get(f"class_{own[v]}_code") or own[v] for v in values}
        report = raster.report
    else:
        if is_osm(path):
            imported = assemble(read_osm_areas(path), grid, path.stem, None, None)
        else:
            imported = read_labels(path, grid, field, crs, hints)
        pixels = label_pixels(imported.labels, grid)
        raw = np.zeros(grid.shape, np.int64)
        raw[pixels.rows, pixels.cols] = pixels.class_ids
        code = {c.id: c.code for c in imported.classes}
        name = {c.id: c.name for c in imported.classes}
        report = imported.report
    return _mapped(path.name, raw, name, code, legend, report)


def _mapped(
    what: str,
    raw: NDArray[np.int64],
    name: Mapping[int, str],
    code: Mapping[int, str],
    legend: Mapping[str, str] | None,
    report: ImportReport,
) -> ExistingMap:
    goal: dict[int, str] = dict(name)
    if legend is not None:
        wanted = {key.strip().casefold(): clean_name(value) for key, value in legend.items()}
        known = {text.casefold() for value in name for text in (name[value], code[value]) if text}
        missing = [key for key in legend if key.strip().casefold() not in known]
        if missing:
            there = ", ".join(
                f"{name[v]} ({code[v]})" if code[v] not in ("", name[v]) else name[v] for v in list(name)[:20]
            )
            raise LabelError(f"{what} has no class {missing[0]!r} in this region; it has {there or 'none'}.")
        goal = {v: wanted.get(code[v].casefold(), "") or wanted.get(name[v].casefold(), "") for v in name}
        for value, own in goal.items():
            if not own:
                report.leave_out(
                    f"of the class {name[value]!r}, which the legend leaves out", count=int((raw == value).sum())
                )
    names = list(dict.fromkeys(own for own in goal.values() if own))
    if len(names) > MAX_CLASS_ID:
        raise LabelError(f"{what} has {len(names)} classes, more than {MAX_CLASS_ID}; say in a legend which you want.")
    ids = {own: n + 1 for n, own in enumerate(names)}
    classes = np.zeros(raw.shape, np.uint8)
    for value, own in goal.items():
        if own:
            classes[raw == value] = ids[own]
    theirs = {ids[own]: ", ".join(name[v] for v in goal if goal[v] == own) for own in names}
    return ExistingMap(classes, {n: own for own, n in ids.items()}, theirs, report)


def away_from_borders(classes: NDArray[np.uint8], border: int) -> NDArray[np.bool_]:
    """Pixels of a class map (H, W) whose surroundings, ``border`` pixels to each side, are all of their class; 0 is none."""
    from scipy import ndimage

    if border <= 0:
        return classes > 0
    size = 2 * border + 1
    same = ndimage.minimum_filter(classes, size) == ndimage.maximum_filter(classes, size)
    found: NDArray[np.bool_] = same & (classes > 0)
    return found


def weak_labels(
    existing: ExistingMap, grid: Grid, source: str, *, per_class: int = PER_CLASS, border: int = BORDER, seed: int = 0
) -> ImportedLabels:
    """Points drawn from an existing map, evenly likely within each class, away from its borders.

    Args:
        existing: of :func:`read_existing_map`.
        grid: of it; labels come in its CRS.
        source: name of the map, for the note of each label.
        per_class: most points of a class.
        border: pixels to each side that have to be of the same class.
        seed: of the draw.

    Raises:
        LabelError: fewer than two classes have a place away from borders.
    """
    inner = away_from_borders(existing.classes, border)
    random = np.random.default_rng(seed)
    classes: list[LabelClass] = []
    labels: list[Label] = []
    report = replace(existing.report, examples={}, left_out=Counter(existing.report.left_out))
    drawn = report.read - report.left_out.total()
    for class_id, name in existing.names.items():
        places = np.flatnonzero((existing.classes == class_id) & inner)
        if not len(places):
            report.notes.append(f"{name} has no place {border} pixels away from a border, and no label.")
            continue
        classes.append(LabelClass(len(classes) + 1, name, color_for(name, classes, len(classes) + 1)))
        if len(places) > per_class:
            places = np.sort(random.choice(places, per_class, replace=False))
        rows, cols = np.divmod(places, grid.width)
        x, y = grid.pixel_to_xy(rows + 0.5, cols + 0.5)
        note = clean_name(f"weak label of {source}: {existing.codes[class_id]}", 120)
        labels += [
            Label(new_id(), classes[-1].id, "point", ((float(a), float(b)),), note=note, origin=IMPORTED)
            for a, b in zip(x, y, strict=True)
        ]
    if len(classes) < 2:
        raise LabelError(
            f"Fewer than two classes of {source} have places {border} pixels away from a border; let labels be nearer to one."
        )
    report.labels = report.used = len(labels)
    report.leave_out("of a class, but not drawn or beside a border", count=max(0, drawn - len(labels)))
    report.notes.append(
        f"Drawn at random by the seed, at most {per_class} of each class, {border} pixels away from borders."
    )
    report.notes.append(WARNING)
    return ImportedLabels(classes, labels, report)


def read_legend(path: str | Path) -> dict[str, str]:
    """A legend from a CSV file of two columns: class of the map (name or code), class of one's own; an empty one leaves it out.

    A first line ``from,to`` (or the like) is a heading where its second cell is ``to``, ``class`` or ``name``.

    Raises:
        LabelError: the file is no such table.
    """
    return dict(read_legend_lines(path))


def read_legend_lines(path: str | Path) -> list[tuple[str, str]]:
    """The lines of :func:`read_legend`, for where a class of the map stands for several of one's own.

    Raises:
        LabelError: the file is no such table.
    """
    path = Path(path)
    text = read_text(path, None, LabelError).text
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    table = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        rows = [[cell.strip() for cell in row] for row in table if any(row)]
    except csv.Error as error:
        raise LabelError(f"{path.name} is no legend that can be read as a table: {error}.") from error
    if rows and len(rows[0]) > 1 and rows[0][1].casefold() in ("to", "class", "name"):
        rows = rows[1:]
    if not rows or any(len(row) < 2 or not row[0] for row in rows):
        raise LabelError(
            f"{path.name} is no legend; each line has a class of the map and, after a comma, your own class."
        )
    return [(row[0], row[1]) for row in rows if row[1]]


def parse_legend(pairs: Sequence[str]) -> dict[str, str]:
    """A legend from texts such as ``"10=Wood"``.

    Raises:
        LabelError: one is none.
    """
    return dict(legend_lines(pairs))


def legend_lines(pairs: Sequence[str]) -> list[tuple[str, str]]:
    """The lines of :func:`parse_legend`, for where a class of the map stands for several of one's own.

    Raises:
        LabelError: one is none.
    """
    found = []
    for pair in pairs:
        theirs, equals, own = pair.rpartition("=")
        if not equals or not theirs.strip() or not own.strip():
            raise LabelError(f"{pair!r} is no line of a legend; write CLASS OF THE MAP=YOUR CLASS, such as 10=Wood.")
        found.append((theirs.strip(), own.strip()))
    return found
