"""Labels in the format of another program: which formats there are, what each cannot hold, and the one way to write them.

Erased ground is always cut away first. What gets lost is told in sentences before and after writing; nothing is dropped in
silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import write_json, write_text
from tessera_core.errors import InputError, LabelError
from tessera_core.export import interchange
from tessera_core.export.interchange import PIXELS_PER_AREA, SHORT_TEXT, Placed, short
from tessera_core.export.vector import (
    ExportFeature,
    in_degrees,
    label_features,
    write_labels_geojson,
    write_labels_gpkg,
)
from tessera_core.grid import Grid
from tessera_core.labels.model import IMPORTED, Label, LabelClass
from tessera_core.labels.sampling import label_pixels
from tessera_core.labels.schema import ClassTree, parse_tree
from tessera_core.provenance import Provenance

_Writer = Callable[[Path, Sequence[Placed], str, Provenance], None]


@dataclass(frozen=True)
class LabelFormat:
    """A format that labels can be written in.

    Attributes:
        name: as people know it.
        ending: of its files, with the dot.
        mime: its media type.
        about: what it is for, one line.
        areas: what an area becomes: ``"parts"`` (kept whole, several parts and holes included), ``"pieces"`` (a label for each
            part), ``"rings"`` (the same without holes), ``"inside"`` (one point inside) or ``"pixels"`` (the middles of its
            pixels).
        strokes: whether brush strokes stay strokes.
        origins: whether it is kept how the places of labels were chosen.
        notes, colors, codes: whether these are kept.
        short_text: whether texts are limited to :data:`SHORT_TEXT` bytes.
        two_files: whether points and areas are files of their own.
        remark: what else people should know, or empty.
    """

    name: str
    ending: str
    mime: str
    about: str
    areas: str = "parts"
    strokes: bool = False
    origins: bool = True
    notes: bool = True
    colors: bool = True
    codes: bool = True
    short_text: bool = False
    two_files: bool = False
    remark: str = ""


_PINS = "In TEE the points arrive as pins with threshold 0: raise the slider of each class there."
FORMATS: dict[str, LabelFormat] = {
    "gpkg": LabelFormat("GeoPackage", ".gpkg", "application/geopackage+sqlite3", "For QGIS and ArcGIS.", strokes=True),
    "geojson": LabelFormat("GeoJSON", ".geojson", "application/geo+json", "For the web, and for us.", strokes=True),
    "tee": LabelFormat(
        "TEE, GeoJSON",
        ".geojson",
        "application/geo+json",
        "The best way into TEE.",
        areas="rings",
        notes=False,
        origins=False,
        remark=_PINS,
    ),
    "tee-manual": LabelFormat(
        "TEE, manual labels",
        ".json",
        "application/json",
        "TEE's own file of labels.",
        areas="rings",
        notes=False,
        origins=False,
        remark=f"There are no embeddings in it. {_PINS}",
    ),
    "notebook": LabelFormat(
        "Notebook classifier",
        ".json",
        "application/json",
        "Training points for the interactive map in Jupyter.",
        areas="pixels",
        notes=False,
        origins=False,
        codes=False,
    ),
    "csv": LabelFormat(
        "CSV",
        ".csv",
        "text/csv",
        "A table with latitude and longitude, a line for each label.",
        areas="inside",
        notes=False,
        colors=False,
    ),
    "kml": LabelFormat("KML", ".kml", "application/vnd.google-earth.kml+xml", "For Google Earth."),
    "shp": LabelFormat(
        "Shapefile (zip)",
        ".zip",
        "application/zip",
        "For TEE Validation and older GIS programs, in WGS 84; the class is the column name.",
        areas="pieces",
        short_text=True,
        two_files=True,
    ),
}
CLASS_FORMATS: dict[str, LabelFormat] = {
    "classes": LabelFormat("Class tree (JSON)", ".json", "application/json", "Classes without labels, for us and TEE."),
    "classes-text": LabelFormat(
        "Class tree (text)",
        ".txt",
        "text/plain",
        "Classes without labels, a line each, indented.",
    ),
}

_WRITERS: dict[str, _Writer] = {
    "tee": interchange.write_tee_geojson,
    "tee-manual": interchange.write_tee_manual,
    "notebook": interchange.write_notebook,
    "csv": interchange.write_csv,
    "kml": interchange.write_kml,
    "shp": interchange.write_shapefile,
}
_BY_ENDING = {
    ".gpkg": "gpkg",
    ".geojson": "geojson",
    ".csv": "csv",
    ".kml": "kml",
    ".zip": "shp",
    ".txt": "classes-text",
}


class Written(NamedTuple):
    """A file, and in sentences what it does not hold of the labels."""

    path: Path
    losses: list[str]


def kind_of(path: str | Path) -> str:
    """The kind of file that an ending stands for.

    Raises:
        InputError: the ending is of no format, or of several.
    """
    ending = Path(path).suffix.lower()
    if ending in _BY_ENDING:
        return _BY_ENDING[ending]
    all_formats = FORMATS | CLASS_FORMATS
    several = [kind for kind, form in all_formats.items() if form.ending == ending]
    if several:
        raise InputError(f"{ending} files of labels are of several kinds; choose one: {', '.join(several)}.")
    raise InputError(
        f"{Path(path).name} does not say in which format to write: end it in {', '.join(_BY_ENDING)}, "
        f"or choose the kind: {', '.join(all_formats)}."
    )


def write_labels(
    path: str | Path,
    kind: str,
    labels: Sequence[Label],
    classes: Iterable[LabelClass],
    grid: Grid,
    provenance: Provenance,
    title: str = "labels",
) -> Written:
    """Write labels in one of :data:`FORMATS`.

    Args:
        path: file to write; the format's ending is added where it is missing.
        kind: key of :data:`FORMATS`.
        labels: in painting order, coordinates in the CRS of ``grid``.
        classes: of the labels.
        grid: the embeddings' grid.
        provenance: of the embeddings (year and version are written where the format has a place for them).
        title: name of the region, where the format has a place for it.

    Raises:
        InputError: there are no labels, or the format needs a place on Earth that ``grid`` lacks.
        ExportError: the file cannot be written.
    """
    classes, form = list(classes), FORMATS[kind]
    features = label_features(labels, classes)
    if not features:
        raise InputError("There are no labels to write; label something first.")
    path = _with_ending(path, form)
    told = losses(kind, labels, classes, grid)
    if kind == "gpkg":
        return Written(write_labels_gpkg(path, labels, classes, grid, provenance), told)
    if kind == "geojson":
        return Written(write_labels_geojson(path, labels, classes, grid, provenance), told)
    _WRITERS[kind](path, _placed(features, labels, grid, form.name), title, provenance)
    return Written(path, told)


def losses(kind: str, labels: Sequence[Label], classes: Iterable[LabelClass], grid: Grid) -> list[str]:
    """What a file of ``kind`` does not hold of these labels, in sentences; empty where it holds everything."""
    import shapely

    form, classes = FORMATS[kind], list(classes)
    features = label_features(labels, classes)
    areas = [f for f in features if f.label.kind != "point"]
    parts = [part for f in areas for part in shapely.get_parts(f.geometry)]
    holes = sum(len(part.interiors) for part in parts)
    several = sum(len(shapely.get_parts(f.geometry)) > 1 for f in areas)
    strokes = sum(f.label.kind == "brush" for f in areas)
    cut = sum(f.label.kind == "brush" and f.cut for f in areas)
    notes = [f.label.note for f in features if f.label.note]
    told = []
    if form.areas == "inside" and areas:
        told.append(f"{_count(len(areas), 'area becomes', 'areas become')} one point each, inside the area.")
    if form.areas == "pixels" and areas:
        told.append(
            f"{_count(len(areas), 'area becomes', 'areas become')} points in the middle of pixels, at most "
            f"{PIXELS_PER_AREA} an area, drawn at random."
        )
        bare = sum(len(pixels) == 0 for pixels in _pixels(areas, labels, grid))
        if bare:
            told.append(
                f"{_count(bare, 'area is', 'areas are')} left out for want of a pixel: covered by later labels, or outside "
                "the embeddings."
            )
    if form.areas in ("parts", "pieces", "rings"):
        if strokes and not form.strokes:
            told.append(f"{_count(strokes, 'brush stroke becomes', 'brush strokes become')} the area covered.")
        elif cut:
            told.append(f"{_count(cut, 'brush stroke becomes an area', 'brush strokes become areas')}: erased in part.")
    if form.areas in ("pieces", "rings") and several:
        told.append(
            f"{_count(several, 'area in several parts becomes', 'areas in several parts become')} a label for each part."
        )
    if form.areas == "rings" and holes:
        told.append(
            f"{_count(holes, 'hole is', 'holes are')} dropped: what you left out there is labelled in the file."
        )
    if form.two_files and areas and len(areas) < len(features):
        told.append(
            "Points and areas are two shapefiles of the zip, points.shp and areas.shp; TEE Validation reads one of them, so it "
            "needs a zip of the one to use."
        )
    if notes and not form.notes:
        told.append(f"{_count(len(notes), 'note is', 'notes are')} not kept.")
    chosen = sum(f.label.origin not in ("", IMPORTED) for f in features)
    if chosen and not form.origins:
        told.append(f"How the places of {_count(chosen, 'label', 'labels')} were chosen is not kept.")
    long = sum(short(text) != text for f in features for text in (f.klass.name, f.klass.code, f.label.note))
    if long and form.short_text:
        told.append(f"{_count(long, 'text is', 'texts are')} cut to {SHORT_TEXT} bytes.")
    used = {f.klass.id: f.klass for f in features}
    if features and not form.colors:
        told.append("Colours are not kept.")
    if not form.codes and any(klass.code for klass in used.values()):
        told.append("Codes of classes are not kept.")
    unused = [klass.name for klass in classes if klass.id not in used]
    if unused:
        more = ", ..." if len(unused) > 10 else ""
        told.append(f"Classes without labels are not in the file: {', '.join(unused[:10])}{more}.")
    return [*told, form.remark] if form.remark else told


def _count(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"


def _with_ending(path: str | Path, form: LabelFormat) -> Path:
    path = Path(path)
    return path if path.suffix.lower() == form.ending else path.with_name(path.name + form.ending)


def _pixels(features: Sequence[ExportFeature], labels: Sequence[Label], grid: Grid) -> list[NDArray[np.int64]]:
    """Row-major numbers of the pixels that are each feature's own; what a later label covers is that label's."""
    pixels = label_pixels(labels, grid)
    order = np.argsort(pixels.label_index, kind="stable")
    numbers = pixels.label_index[order]
    flat = pixels.rows[order].astype(np.int64) * grid.width + pixels.cols[order]
    wanted = np.array([f.order for f in features])
    starts, ends = np.searchsorted(numbers, wanted), np.searchsorted(numbers, wanted, side="right")
    return [flat[a:b] for a, b in zip(starts, ends, strict=True)]


def _placed(features: Sequence[ExportFeature], labels: Sequence[Label], grid: Grid, what: str) -> list[Placed]:
    degrees = in_degrees(grid, what)
    placed = []
    for feature, flat in zip(features, _pixels(features, labels, grid), strict=True):
        rows, cols = np.divmod(flat, grid.width)
        places = np.stack(grid.pixel_to_lonlat(rows + 0.5, cols + 0.5), axis=1)
        placed.append(Placed(feature, degrees(feature.geometry), places))
    return placed


def write_classes(path: str | Path, kind: str, classes: Iterable[LabelClass], tree: ClassTree | None) -> Written:
    """Write the class tree of a project, other classes as further roots, in one of :data:`CLASS_FORMATS`.

    Raises:
        InputError: there are no classes.
        ExportError: the file cannot be written.
    """
    whole = (tree or ClassTree("", ())).with_classes(classes)
    if not whole.nodes:
        raise InputError("There are no classes to write; add one first.")
    path = _with_ending(path, CLASS_FORMATS[kind])
    if kind == "classes":
        dated = {"version": "1", "date": datetime.now(UTC).date().isoformat()}
        write_json(path, whole.to_json() | dated)
        return Written(path, [])
    write_text(path, whole.to_text() + "\n")
    try:
        kept = parse_tree(whole.to_text()).nodes == whole.nodes
    except LabelError:
        kept = False
    return Written(path, [] if kept else ["Some class names begin like a code and will be read as one; prefer JSON."])
