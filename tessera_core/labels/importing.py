"""From raw features to labels on a grid: class names, places, geometries mended, and the report on all of it.

Readers hand over what a file says; every judgement (which field is the class, which CRS, are latitude and longitude
swapped, what is outside) is made here, once for all formats.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tessera_core.errors import LabelError
from tessera_core.grid import Grid
from tessera_core.labels.colors import color_for
from tessera_core.labels.crs_guess import Frame, find_frame, moved
from tessera_core.labels.model import (
    KINDS,
    MAX_CLASS_ID,
    Label,
    LabelClass,
    clean_name,
    hsl_to_hex,
    new_id,
)

# Attributes that usually are the class, most telling first; compared without case and punctuation.
_CLASS_FIELDS = (
    *("class", "classname", "labelname", "label", "name", "landcover", "lulc", "lc", "croptype", "crop", "habitat"),
    *("habitattype", "category", "species", "cover", "type", "code", "classid"),
)
_NOT_CLASSES = {"id", "fid", "objectid", "area", "date", "note", "color", "labelcolor", "origin", "description"}


@dataclass
class Feature:
    """What a file says about one place.

    Attributes:
        geometry: shapely geometry in the file's axis order, or None.
        properties: attributes by name.
        name: class name where the format itself says it; else it is looked for in ``properties``.
        color: CSS colour of the class, or None.
        note: becomes the label's note.
    """

    geometry: Any
    properties: Mapping[str, Any] = field(default_factory=dict)
    name: object = None
    color: object = None
    note: str = ""


@dataclass
class Read:
    """A file's content: features, the CRS it declares (None if it declares none), and remarks of the reader.

    ``pixels`` says that coordinates are ``(col, row)`` of the grid instead of places.
    """

    features: list[Feature]
    crs: str | None = None
    notes: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    colors: Mapping[str, object] = field(default_factory=dict)
    pixels: bool = False


@dataclass
class ImportReport:
    """What happened to a label file, for people.

    Attributes:
        read: features in the file.
        labels: labels made of them.
        outside: features left out because they lie outside the region.
        notes: how the file was understood (class field, CRS, axis order).
        mended: what was repaired, with counts.
        skipped: what was left out and why, with counts.
    """

    read: int = 0
    labels: int = 0
    outside: int = 0
    notes: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """One sentence."""
        text = f"{self.read} features read, {self.labels} labels made"
        left_out = self.read - self.labels
        return f"{text}." if not self.skipped or left_out < 0 else f"{text}; {'; '.join(self.skipped)}."

    def to_json(self) -> dict[str, Any]:
        """JSON object of the fields."""
        return {
            "read": self.read,
            "labels": self.labels,
            "outside": self.outside,
            "notes": self.notes,
            "mended": self.mended,
            "skipped": self.skipped,
        }


@dataclass
class ImportedLabels:
    """Classes and labels of a file in the CRS of a grid, with the report; what ``LabelLog.import_labels`` takes."""

    classes: list[LabelClass]
    labels: list[Label]
    report: ImportReport


def assemble(read: Read, grid: Grid, stem: str, class_field: str | None, crs: str | None) -> ImportedLabels:
    """Labels on ``grid`` from what a reader found.

    Args:
        read: features as the file has them.
        grid: target; labels come in its CRS.
        stem: the file's name without ending, the class where the file names none.
        class_field: attribute to take as class, or None to choose one.
        crs: CRS to use instead of the file's.

    Raises:
        LabelError: there are no features, the field does not exist, or it has too many values to be classes.
    """
    report = ImportReport(read=len(read.features) + read.skipped.total(), notes=list(read.notes))
    skipped, mended = Counter(read.skipped), Counter[str]()
    if not read.features and not read.skipped:
        raise LabelError(f"{stem}: there are no places in this file.")
    names = class_names(read, stem, class_field, report)
    usable: list[tuple[Feature, str]] = []
    for feature, name in zip(read.features, names, strict=True):
        if not name:
            skipped["without a class"] += 1
        elif (geometry := _usable(feature.geometry, skipped, mended)) is not None:
            usable.append((Feature(geometry, feature.properties, name, feature.color, feature.note), name))
    frame = find_frame([f.geometry for f, _ in usable], grid, crs or read.crs, read.pixels, report.notes)
    variants = _variants([name for _, name in usable], mended)
    classes: dict[str, LabelClass] = {}
    colors = {_key(name): value for name, value in read.colors.items()}
    labels: list[Label] = []
    bounds = grid.bounds
    ids: set[str] = set()
    for feature, name in _in_order(usable):
        geometry = moved(feature.geometry, frame, grid)
        if geometry is None or not _meets(geometry, bounds):
            report.outside += 1
            continue
        display = variants[_key(name)]
        klass = classes.get(display)
        if klass is None:
            klass = classes[display] = _new_class(display, feature, colors, classes, class_field)
        labels.extend(_labels(feature, geometry, klass.id, grid, frame, mended, skipped, ids))
    if report.outside:
        skipped["outside the region"] += report.outside
    report.labels = len(labels)
    report.mended = [f"{count} {what}" for what, count in mended.most_common()]
    report.skipped = [f"{count} skipped: {what}" for what, count in skipped.most_common()]
    return ImportedLabels(list(classes.values()), labels, report)


# ------------------------------------------------------------------ classes


def _plain(name: object) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name).casefold())


def class_names(read: Read, stem: str, class_field: str | None, report: ImportReport) -> list[str]:
    """The class name of each feature, empty where it has none; ``report.notes`` says where they were found.

    Raises:
        LabelError: the field does not exist or has too many values.
    """
    if class_field is None and any(f.name is not None for f in read.features):
        return [_text(f.name) for f in read.features]
    fields = list(dict.fromkeys(key for f in read.features for key in f.properties))
    if class_field is not None:
        chosen = next((f for f in fields if f == class_field), None) or next(
            (f for f in fields if f.casefold() == class_field.casefold()), None
        )
        if chosen is None:
            known = ", ".join(fields[:20]) or "none"
            raise LabelError(f"The file has no field {class_field!r}; its fields are: {known}.")
    else:
        chosen = _class_field(read.features, fields)
        if chosen is None:
            report.notes.append(f"The file names no classes, so all its places became the class {stem!r}.")
            return [stem] * len(read.features)
        report.notes.append(f"The classes were taken from the field {chosen!r}.")
    names = [_text(f.properties.get(chosen)) for f in read.features]
    distinct = len({_key(name) for name in names if name})
    if distinct > MAX_CLASS_ID:
        raise LabelError(
            f"The field {chosen!r} has {distinct} different values, more than {MAX_CLASS_ID} classes; name another field."
        )
    return names


def _class_field(features: Sequence[Feature], fields: Sequence[str]) -> str | None:
    filled = [name for name in fields if any(_text(f.properties.get(name)) for f in features)]
    for wanted in _CLASS_FIELDS:
        for name in filled:
            if _plain(name) == wanted:
                return name
    texts = [
        name
        for name in filled
        if _plain(name) not in _NOT_CLASSES
        and all(isinstance(f.properties.get(name), str | None) for f in features)
        and len({_text(f.properties.get(name)) for f in features}) <= max(2, min(MAX_CLASS_ID, len(features) // 2))
    ]
    return texts[0] if texts else None


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return clean_name(value)


def _key(name: str) -> str:
    """Names that differ in case, spaces and stray underscores only are one class: real files have ``heath`` and ``heath_``."""
    return re.sub(r"[\s_]+", " ", name.casefold()).strip() or name


def _variants(names: Sequence[str], mended: Counter[str]) -> dict[str, str]:
    """The spelling to show for each key: the commonest, tidied."""
    spellings: dict[str, Counter[str]] = {}
    for name in names:
        spellings.setdefault(_key(name), Counter())[name] += 1
    shown = {}
    for key, counter in spellings.items():
        best = counter.most_common(1)[0][0]
        shown[key] = best.strip("_ ") or best
        others = {name: count for name, count in counter.items() if name != shown[key]}
        if others and len(counter) > 1:
            listed = ", ".join(repr(name) for name in sorted(others))
            mended[f"class names spelt {listed} taken as {shown[key]!r}"] += sum(others.values())
    return shown


def _new_class(
    name: str,
    feature: Feature,
    colors: Mapping[str, object],
    classes: Mapping[str, LabelClass],
    class_field: str | None,
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


def _usable(geometry: Any, skipped: Counter[str], mended: Counter[str]) -> Any:
    """The geometry in two dimensions and valid, or None (counted) where nothing is left of it."""
    import shapely

    if geometry is None or geometry.is_empty:
        skipped["without a geometry"] += 1
        return None
    if shapely.has_z(geometry):
        geometry = shapely.force_2d(geometry)
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        skipped["coordinates that are no numbers"] += 1
        return None
    if geometry.geom_type == "Point" and geometry.x == 0 and geometry.y == 0:
        skipped["at 0, 0, which stands for missing coordinates"] += 1
        return None
    if not geometry.is_valid:
        geometry = shapely.make_valid(geometry)
        mended["invalid geometries mended"] += 1
    return geometry


def _meets(geometry: Any, bounds: tuple[float, float, float, float]) -> bool:
    west, south, east, north = bounds
    x0, y0, x1, y1 = geometry.bounds
    return bool(x0 <= east and x1 >= west and y0 <= north and y1 >= south)


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
    frame: Frame,
    mended: Counter[str],
    skipped: Counter[str],
    ids: set[str],
) -> list[Label]:
    import shapely

    note = feature.note or _text(feature.properties.get("note"))
    kind = str(feature.properties.get("kind") or "")
    stroke = _stroke(feature, frame, grid) if kind == "brush" else None
    if stroke is not None:
        radius = float(feature.properties.get("radius") or 0)
        return [Label(_id(feature, ids), class_id, "brush", stroke, radius, note)]
    parts = [part for part in shapely.get_parts(shapely.get_parts(geometry)) if not part.is_empty]
    solid = [part for part in parts if part.geom_type == "Polygon" and part.area > 0]
    # What make_valid leaves beside areas (spikes as lines) is no label of its own.
    parts = solid or parts
    if len(parts) > 1:
        mended["multi-part geometries taken apart"] += 1
    labels = []
    for part in parts:
        label_id = _id(feature, ids)
        if part.geom_type == "Polygon":
            rings = [_ring(ring) for ring in (part.exterior, *part.interiors)]
            if len(set(rings[0])) < 3:
                skipped["polygons without area"] += 1
                continue
            shape = kind if kind in KINDS and kind == "rectangle" and not part.interiors else "polygon"
            holes = tuple(ring for ring in rings[1:] if len(set(ring)) >= 3)
            labels.append(Label(label_id, class_id, shape, rings[0], note=note, holes=holes))
        elif part.geom_type == "Point":
            labels.append(Label(label_id, class_id, "point", ((part.x, part.y),), note=note))
        else:
            width = abs(grid.transform.determinant) ** 0.5
            labels.append(Label(label_id, class_id, "brush", _ring(part), width / 2, note))
            mended["lines taken as strokes one pixel wide"] += 1
    return labels


def _ring(line: Any) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in line.coords)


def _id(feature: Feature, ids: set[str]) -> str:
    theirs = feature.properties.get("label_id")
    label_id = theirs if isinstance(theirs, str) and 0 < len(theirs) <= 64 and theirs not in ids else new_id()
    ids.add(label_id)
    return label_id


def _stroke(feature: Feature, frame: Frame, grid: Grid) -> tuple[tuple[float, float], ...] | None:
    import shapely

    try:
        xy = json.loads(feature.properties.get("stroke") or "null")
        line = shapely.MultiPoint(xy) if xy else None
    except (TypeError, ValueError, shapely.errors.ShapelyError):
        return None
    if line is None:
        return None
    line = moved(line, frame, grid)
    return None if line is None else tuple((float(x), float(y)) for x, y in shapely.get_coordinates(line))
