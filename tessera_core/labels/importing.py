"""From raw features to labels on a grid: class names, places, geometries repaired, and the report on all of it.

Readers hand over what a file says; every judgement (which field is the class, which CRS, are latitude and longitude
swapped, what is outside) is made here, once for all formats.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import LabelError
from tessera_core.gate import parse_json
from tessera_core.grid import Grid
from tessera_core.labels import classfield
from tessera_core.labels.colors import color_for
from tessera_core.labels.crs_guess import SourceCrs, find_source_crs, in_degrees, moved, swapped_inside
from tessera_core.labels.features import Feature, Read, fields_of, named
from tessera_core.labels.model import (
    KINDS,
    MAX_CLASS_ID,
    SAMPLED,
    Label,
    LabelClass,
    clean_name,
    hsl_to_hex,
    new_id,
    origin_read,
)
from tessera_core.labels.report import OUTSIDE, ImportReport
from tessera_core.types import BBox

_LONGEST_NAME = 80


@dataclass
class ImportedLabels:
    """Classes and labels of a file in the CRS of a grid, with the report; what ``LabelLog.import_labels`` takes."""

    classes: list[LabelClass]
    labels: list[Label]
    report: ImportReport


def assemble(
    read: Read,
    grid: Grid,
    stem: str,
    class_field: str | None,
    crs: str | None,
    known: Mapping[int, str] | None = None,
) -> ImportedLabels:
    """Labels on ``grid`` from what a reader found.

    Args:
        read: features as the file has them.
        grid: target; labels come in its CRS.
        stem: the file's name without ending, the class where the file names none.
        class_field: attribute to take as class, or None to choose one.
        crs: CRS to use instead of the file's.
        known: class id -> name of a project, by which ids among the answers of a sample are read.

    Raises:
        LabelError: there are no features, the field does not exist, or it has too many values to be classes.
    """
    report = report_of(read)
    if not read.features and not read.skipped:
        raise LabelError(f"{stem}: there are no places in this file.")
    names = class_names(read, stem, class_field, report)
    features = read.features
    if features and classfield.is_sample(features[0].properties) and classfield.plain(report.field) == "reference":
        features, names = _answered(features, names, known or {}, report)
    usable = _usable(features, names, report)
    frame = find_source_crs([f.geometry for f, _ in usable], grid, crs or read.crs, read.pixels, report.notes)
    if usable:
        report.crs, report.crs_from = _system(frame, grid, read, crs)
    variants = _variants([name for _, name in usable], report.repair_counts)
    shown = {name: variants[_key(name)] for name in dict.fromkeys(name for _, name in usable)}
    classes: dict[str, LabelClass] = {}
    colors = {_key(name): value for name, value in read.colors.items()}
    labels: list[Label] = []
    outside: list[Feature] = []
    ids: set[str] = set()
    usable = _in_order(usable)
    geometries = moved([feature.geometry for feature, _ in usable], frame, grid)
    meeting = _meets(geometries, grid.bounds)
    plain = _plain_points(usable, geometries)
    made_of_points: list[tuple[int, int, int]] = []
    origins = _origins([feature for feature, _ in usable])
    for n, (feature, name) in enumerate(usable):
        if not meeting[n]:
            report.leave_out(OUTSIDE, feature.where)
            outside.append(feature)
            continue
        display = shown[name]
        klass = classes.get(display)
        if klass is None:
            klass = _new_class(display, feature, colors, classes, report.field)
        if plain[n]:
            classes.setdefault(display, klass)
            made_of_points.append((len(labels), n, klass.id))
            labels.append(_TO_COME)
            report.used += 1
            continue
        made = _labels(feature, geometries[n], klass.id, grid, frame, report, ids)
        made = [replace(label, origin=origins[n]) for label in made]
        if made:
            classes.setdefault(display, klass)
            labels += made
            report.used += 1
    _fill(labels, made_of_points, geometries, origins)
    report.labels = len(labels)
    if outside:
        report.elsewhere = _most_of(in_degrees([f.geometry for f in outside], grid, frame))
    if outside and (turned := swapped_inside([f.geometry for f in outside], grid, frame)):
        report.notes.append(
            f"{turned} of the places outside would lie in the region with latitude and longitude exchanged; "
            "they seem to be swapped in some rows of the file only."
        )
    return ImportedLabels(list(classes.values()), labels, report)


def _most_of(places: NDArray[np.float64]) -> BBox | None:
    """The box of most of (N, 2) longitudes and latitudes; a few far off, such as at 0, 0, shall not widen it."""
    if not len(places):
        return None
    (west, south), (east, north) = np.percentile(places, (5, 95), axis=0, method="nearest")
    return float(west), float(south), float(east), float(north)


def report_of(read: Read) -> ImportReport:
    """The report on a file so far: what its reader says."""
    return ImportReport(
        read=len(read.features) + read.skipped.total(),
        encoding=read.encoding,
        encoding_why=read.encoding_why,
        layers=list(read.layers),
        layers_left=list(read.layers_left),
        notes=list(read.notes),
        repair_counts=Counter(read.repaired),
        left_out=Counter(read.skipped),
        examples={why: list(where) for why, where in read.examples.items()},
    )


def _system(frame: SourceCrs, grid: Grid, read: Read, told: str | None) -> tuple[str, str]:
    """The coordinate system of the file's coordinates and who says so, for the report."""
    if frame.pixels:
        return "rows and columns of the embeddings", "its columns"
    shown = frame.crs or grid.crs or "pixels"
    if frame.guessed:
        return shown, "guessed"
    return shown, "the person who read it" if told else read.crs_from


# ------------------------------------------------------------------ classes


def class_names(read: Read, stem: str, class_field: str | None, report: ImportReport) -> list[str]:
    """The class name of each feature, empty where it has none; ``report`` says where they were found.

    Raises:
        LabelError: the field does not exist or has too many values.
    """
    if class_field is None and any(f.name is not None for f in read.features):
        report.field_why = "the format itself says the class"
        return _names([f.name for f in read.features], report)
    fields = fields_of(read.features)
    if class_field is not None:
        chosen = named(class_field, fields, "field", "The file")
        report.field_why = "as told"
    elif not read.features:
        return []
    else:
        found = classfield.choose([f.properties for f in read.features])
        if found.field is None:
            report.notes.append(f"The file names no classes, so all its places became the class {stem!r}.")
            return [stem] * len(read.features)
        chosen, report.field_why = found.field, found.why
        report.notes.append(f"The classes were taken from the field {chosen!r}.")
        if found.passed_over:
            listed = ", ".join(repr(name) for name in found.passed_over)
            report.notes.append(f"Not from {listed}, which is different for every place.")
        if found.why.startswith("by its name"):
            report.notes.append(f"It is taken {found.why}; if that is no class, name another field.")
        if found.close:
            report.notes.append(f"Other fields that could be the class: {', '.join(found.close)}.")
    report.field = chosen
    names = _names([f.properties.get(chosen) for f in read.features], report)
    distinct = len({_key(name) for name in set(names) if name})
    if distinct > MAX_CLASS_ID:
        raise LabelError(
            f"The field {chosen!r} has {distinct} different values, more than {MAX_CLASS_ID} classes; name another field."
        )
    return names


def _answered(
    features: Sequence[Feature], names: Sequence[str], known: Mapping[int, str], report: ImportReport
) -> tuple[list[Feature], list[str]]:
    """Answers of a sample, read as those of a check are: ids are the project's, and who could not tell says no class."""
    kept: list[Feature] = []
    read: list[str] = []
    said = {name: classfield.class_said(name, known) for name in dict.fromkeys(names)}
    for feature, name in zip(features, names, strict=True):
        class_id = said[name]
        if class_id == 0:
            report.leave_out("nobody could tell what is there", feature.where)
            continue
        kept.append(feature)
        read.append(name if class_id is None else known[class_id])
    return kept, read


def _names(values: Sequence[object], report: ImportReport) -> list[str]:
    """The class name that each value is; of a million values few differ."""
    known: dict[object, str] = {}
    names = []
    for value in values:
        if not isinstance(value, str):
            names.append(_name(value, report))
            continue
        name = known.get(value)
        if name is None:
            name = _name(value, report)
            # What is cut short is counted each time.
            if len(name) < _LONGEST_NAME:
                known[value] = name
        names.append(name)
    return names


def _name(value: object, report: ImportReport) -> str:
    text = _text(value)
    if len(text) == _LONGEST_NAME and len(" ".join(str(value).split())) > _LONGEST_NAME:
        report.repair_counts[f"class names cut to {_LONGEST_NAME} characters"] += 1
    return text


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return clean_name(value)


def _key(name: str) -> str:
    """Names that differ in case, spaces and stray underscores only are one class: real files have ``heath`` and ``heath_``."""
    return re.sub(r"[\s_]+", " ", name.casefold()).strip() or name


def _variants(names: Sequence[str], repaired: Counter[str]) -> dict[str, str]:
    """The spelling to show for each key: the commonest, tidied."""
    spellings: dict[str, Counter[str]] = {}
    for name, count in Counter(names).items():
        spellings.setdefault(_key(name), Counter())[name] = count
    shown = {}
    for key, counter in spellings.items():
        best = counter.most_common(1)[0][0]
        shown[key] = best.strip("_ ") or best
        others = {name: count for name, count in counter.items() if name != shown[key]}
        if others and len(counter) > 1:
            listed = ", ".join(repr(name) for name in sorted(others))
            repaired[f"class names spelt {listed} taken as {shown[key]!r}"] += sum(others.values())
    return shown


def _new_class(
    name: str,
    feature: Feature,
    colors: Mapping[str, object],
    classes: Mapping[str, LabelClass],
    class_field: str,
) -> LabelClass:
    class_id = len(classes) + 1
    if class_id > MAX_CLASS_ID:
        raise LabelError(f"The file has more than {MAX_CLASS_ID} classes; name another field as class.")
    known = list(classes.values())
    taken = {c.color for c in known}
    theirs = next(
        (
            color
            for value in (feature.color, *_colors_in(feature.properties), colors.get(_key(name)))
            if (color := parse_color(value)) is not None and color not in taken
        ),
        None,
    )
    code = _text(feature.properties.get("code")) if class_field != "code" else ""
    return LabelClass(class_id, name, theirs or color_for(name, known, class_id), code)


def _colors_in(properties: Mapping[str, Any]) -> list[object]:
    return [properties.get(key) for key in ("color", "label_color", "colour", "fill") if properties.get(key)]


def parse_color(value: object) -> str | None:
    """``"#rrggbb"`` of a CSS colour as label files have them: hex (3, 6 or 8 digits), ``rgb()``, ``hsl()``; else None."""
    text = str(value or "").strip().lower()
    if match := re.fullmatch(r"#?([0-9a-f]{3}|[0-9a-f]{6}|[0-9a-f]{8})", text):
        digits = match[1] if len(match[1]) > 3 else "".join(2 * digit for digit in match[1])
        return f"#{digits[:6]}"
    numbers = [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", text)[:4]]
    if text.startswith("hsl") and len(numbers) >= 3:
        return hsl_to_hex(*numbers[:3])
    if text.startswith("rgb") and len(numbers) >= 3:
        return "#" + "".join(f"{round(min(max(n, 0), 255)):02x}" for n in numbers[:3])
    return None


# --------------------------------------------------------------- geometries


def _usable(features: Sequence[Feature], names: Sequence[str], report: ImportReport) -> list[tuple[Feature, str]]:
    """Features with a class and a geometry in two dimensions and valid, in order; the others are counted."""
    import shapely

    geometries = np.empty(len(features), object)
    geometries[:] = [feature.geometry for feature in features]
    # Points, of which there may be a million, are looked at all at once.
    right = (shapely.get_type_id(geometries) == 0) & ~shapely.is_empty(geometries) & ~shapely.has_z(geometries)
    filled = geometries.copy()
    filled[~right] = None
    x, y = shapely.get_x(filled), shapely.get_y(filled)
    right &= np.isfinite(x) & np.isfinite(y) & ~((x == 0) & (y == 0))
    usable: list[tuple[Feature, str]] = []
    for feature, name, ready in zip(features, names, right.tolist(), strict=True):
        if not name:
            report.leave_out("without a class", feature.where)
        elif ready:
            usable.append((feature, name))
        elif (geometry := _repaired(feature, report)) is not None:
            usable.append((replace(feature, geometry=geometry, name=name), name))
    return usable


def _plain_points(usable: Sequence[tuple[Feature, str]], geometries: NDArray[Any]) -> list[bool]:
    """Which are points of which nothing more is said than a class: no note, no id, no way of drawing."""
    import shapely

    plain: list[bool] = (shapely.get_type_id(geometries) == 0).tolist()
    for n, (feature, _) in enumerate(usable):
        said = feature.properties
        if plain[n] and (feature.note or said.get("note") or said.get("kind") or said.get("label_id")):
            plain[n] = False
    return plain


def _origins(features: Sequence[Feature]) -> list[str]:
    """How the place of each feature was chosen: as files of ours say it; those of a sample that was drawn here, by chance."""
    if features and classfield.is_sample(features[0].properties):
        return [SAMPLED] * len(features)
    # Collect Earth Online puts its mark before the columns that places came with.
    return [origin_read(one.properties.get("origin", one.properties.get("pl_origin"))) for one in features]


def _fill(
    labels: list[Label], points: Sequence[tuple[int, int, int]], geometries: NDArray[Any], origins: Sequence[str]
) -> None:
    """Put the labels of plain points (place in ``labels``, number of the geometry, class id) where they belong."""
    import shapely

    if not points:
        return
    places, numbers, class_ids = zip(*points, strict=True)
    xs, ys = shapely.get_coordinates(geometries[list(numbers)]).T.tolist()
    chosen = [origins[number] for number in numbers]
    for place, label in zip(places, Label.points(class_ids, xs, ys, origins=chosen), strict=True):
        labels[place] = label


# Stands in the list of labels for a point until all points are made at once.
_TO_COME = Label("to come", 1, "point", ((0.0, 0.0),))


def _repaired(feature: Feature, report: ImportReport) -> Any:
    """The geometry in two dimensions and valid, or None (counted) where nothing is left of it."""
    import shapely

    geometry = feature.geometry
    if geometry is None or geometry.is_empty:
        report.leave_out("without a geometry", feature.where)
        return None
    if shapely.has_z(geometry):
        geometry = shapely.force_2d(geometry)
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        report.leave_out("coordinates that are no numbers", feature.where)
        return None
    if geometry.geom_type == "Point" and geometry.x == 0 and geometry.y == 0:
        report.leave_out("at 0, 0, which stands for missing coordinates", feature.where)
        return None
    if not geometry.is_valid:
        geometry = shapely.make_valid(geometry)
        report.repair_counts["invalid geometries repaired"] += 1
    return geometry


def _meets(geometries: NDArray[Any], bounds: BBox) -> list[bool]:
    """Which geometries touch a box; None does not."""
    import shapely

    west, south, east, north = bounds
    x0, y0, x1, y1 = shapely.bounds(geometries).reshape(-1, 4).T
    with np.errstate(invalid="ignore"):
        return [bool(one) for one in (x0 <= east) & (x1 >= west) & (y0 <= north) & (y1 >= south)]


def _in_order(usable: list[tuple[Feature, str]]) -> list[tuple[Feature, str]]:
    """Our own exports keep the painting order in a column, whose name a shapefile has to shorten."""
    orders = [f.properties.get("paint_order", f.properties.get("paint_ord")) for f, _ in usable]
    if not usable or not all(isinstance(order, int | float | np.number) for order in orders):
        return usable
    return [item for _, item in sorted(zip(orders, usable, strict=True), key=lambda pair: float(pair[0]))]


def _labels(
    feature: Feature,
    geometry: Any,
    class_id: int,
    grid: Grid,
    frame: SourceCrs,
    report: ImportReport,
    ids: set[str],
) -> list[Label]:
    """The labels of a feature; where there is none, the report says why."""
    import shapely

    note = feature.note or _text(feature.properties.get("note"))
    kind = str(feature.properties.get("kind") or "")
    stroke = _stroke(feature, frame, grid) if kind == "brush" else None
    if stroke is not None:
        return [Label(_id(feature, ids), class_id, "brush", stroke, _radius(feature, grid), note)]
    if geometry.geom_type == "Point":
        return [Label(_id(feature, ids), class_id, "point", ((geometry.x, geometry.y),), note=note)]
    parts = [part for part in shapely.get_parts(shapely.get_parts(geometry)) if not part.is_empty]
    solid = [part for part in parts if part.geom_type == "Polygon" and part.area > 0]
    # What make_valid leaves beside areas (spikes as lines) is no label of its own.
    parts = solid or parts
    if len(parts) > 1:
        report.repair_counts["multi-part geometries taken apart"] += 1
    labels = []
    for part in parts:
        label_id = _id(feature, ids)
        if part.geom_type == "Polygon":
            rings = [_ring(ring) for ring in (part.exterior, *part.interiors)]
            if len(set(rings[0])) < 3:
                continue
            shape = kind if kind in KINDS and kind == "rectangle" and not part.interiors else "polygon"
            holes = tuple(ring for ring in rings[1:] if len(set(ring)) >= 3)
            labels.append(Label(label_id, class_id, shape, rings[0], note=note, holes=holes))
        elif part.geom_type == "Point":
            labels.append(Label(label_id, class_id, "point", ((part.x, part.y),), note=note))
        else:
            width = abs(grid.transform.determinant) ** 0.5
            labels.append(Label(label_id, class_id, "brush", _ring(part), width / 2, note))
            report.repair_counts["lines taken as strokes one pixel wide"] += 1
    if not labels:
        report.leave_out("polygons without area", feature.where)
    elif len(labels) < len(parts):
        report.repair_counts["parts without area left out of a feature that has others"] += len(parts) - len(labels)
    return labels


def _radius(feature: Feature, grid: Grid) -> float:
    """Of a stroke of our own exports; one pixel's where the file's is no number."""
    try:
        radius = float(feature.properties.get("radius") or 0)
    except (TypeError, ValueError):
        radius = -1.0
    return radius if np.isfinite(radius) and radius >= 0 else abs(grid.transform.determinant) ** 0.5 / 2


def _ring(line: Any) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in line.coords)


def _id(feature: Feature, ids: set[str]) -> str:
    theirs = feature.properties.get("label_id")
    label_id = theirs if isinstance(theirs, str) and 0 < len(theirs) <= 64 and theirs not in ids else new_id()
    ids.add(label_id)
    return label_id


def _stroke(feature: Feature, frame: SourceCrs, grid: Grid) -> tuple[tuple[float, float], ...] | None:
    import shapely

    try:
        xy = parse_json(feature.properties.get("stroke") or "null")
        line = shapely.MultiPoint(xy) if xy else None
    except (TypeError, ValueError, shapely.errors.ShapelyError):
        return None
    if line is None:
        return None
    line = moved([line], frame, grid)[0]
    return None if line is None else tuple((float(x), float(y)) for x, y in shapely.get_coordinates(line))
