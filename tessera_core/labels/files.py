"""Read label files of others: one front for every format, one report on what was read, repaired and skipped.

Vector files (GeoJSON, GeoPackage, shapefile, KML), tables (CSV) and the JSON files of TEE and the notebook classifier
(docs/spec/formats.md) become labels in the coordinates of a grid; rasters become classes on it. Embeddings that some of these
files carry are never used: they are taken anew at the geometry.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.collecting import not_collecting
from tessera_core.errors import LabelError
from tessera_core.gate import contained, is_missing, limits, open_raster, raster_errors, unreadable
from tessera_core.grid import Grid
from tessera_core.labels.conflicts import conflicts_of
from tessera_core.labels.crs_guess import unstated_projection
from tessera_core.labels.features import NO_HINTS, Feature, Hints, Read, fields_of
from tessera_core.labels.importing import ImportedLabels, assemble, class_names, report_of
from tessera_core.labels.jsonfiles import read_json
from tessera_core.labels.kmlfiles import read_kml
from tessera_core.labels.layers import Worth, by_classes
from tessera_core.labels.report import ImportReport
from tessera_core.labels.tables import NoColumnsError, read_csv
from tessera_core.labels.vectorfiles import read_ogr, read_zip

__all__ = [
    "ClassRaster",
    "ImportReport",
    "ImportedLabels",
    "Questions",
    "Survey",
    "class_tags",
    "is_class_raster",
    "questions",
    "read_class_raster",
    "read_labels",
    "survey",
]

_READERS: dict[str, Callable[[Path, Hints], Read]] = {
    **dict.fromkeys((".json", ".geojson", ".geojsonl", ".geojsons", ".ndjson", ".jsonl"), read_json),
    **dict.fromkeys((".csv", ".tsv", ".txt", ".tab"), read_csv),
    **dict.fromkeys((".kml", ".kmz"), read_kml),
}
# Of these, a file may have several layers.
_LAYERED = {".gpkg": read_ogr, ".shp": read_ogr, ".fgb": read_ogr, ".zip": read_zip}
ENDINGS = (*_READERS, *_LAYERED)
KINDS = (
    "GeoJSON, GeoPackage, zipped shapefile, KML, CSV with latitude and longitude, "
    "or the JSON files of TEE and the notebook classifier"
)
_WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".ods")


class ClassRaster(NamedTuple):
    """Labels from a raster.

    Attributes:
        classes: int32 (H, W), the raster's own codes (they may exceed 254), 0 = unlabelled.
        groups: int32 (H, W), 0 = unlabelled, else the number of the connected patch (4 neighbours, one class).
        zero: the code in ``classes`` that stands for the file's own 0, where 0 is a class of it; else 0.
        report: pixels of the region read, labelled and left out.
    """

    classes: NDArray[np.int32]
    groups: NDArray[np.int32]
    zero: int
    report: ImportReport

    def own_code(self, code: int) -> int:
        """The file's own code of a code in ``classes``."""
        return 0 if self.zero and code == self.zero else code


def read_labels(
    path: str | Path,
    grid: Grid,
    field: str | None = None,
    crs: str | None = None,
    hints: Hints = NO_HINTS,
    known: Mapping[int, str] | None = None,
) -> ImportedLabels:
    """Read labels from a vector file, a table or a label JSON.

    Args:
        path: the file; the format is recognised by its ending and content.
        grid: labels come in its CRS; what lies outside it is counted and left out.
        field: which attribute is the class; by default one is chosen and the report says which.
        crs: the file's CRS where the file does not say it; by default it is inferred from where the places fall.
        hints: layer, columns of coordinates and encoding, where guessing is unsafe.
        known: class id -> name of a project that takes them in, by which ids among the answers of a sample are read.

    Returns:
        Classes (ids from 1 in order of appearance), labels and a report in which every feature of the file is accounted for.

    Raises:
        LabelError: the file is not readable, has no places, or what ``field`` or ``hints`` name does not exist.
    """
    path = Path(path)
    field = field if field is not None else hints.field
    with not_collecting():
        found = assemble(read_features(path, replace(hints, field=field)), grid, stem_of(path), field, crs, known)
    found.report.conflicts = conflicts_of(found.labels, found.classes, grid)
    return found


def stem_of(path: Path) -> str:
    """The file's name without its ending, for people."""
    return path.stem.removesuffix("_labels") or path.stem


@contained
def read_features(
    path: Path, hints: Hints = NO_HINTS, worth: Callable[[Sequence[Feature]], Worth] = by_classes
) -> Read:
    """What a vector file, table or label JSON holds, unjudged; the format is recognised by its ending.

    Args:
        path: the file.
        hints: what a person says about it.
        worth: of several layers, how likely one is the one wanted.

    Raises:
        LabelError: the file is not readable, or what ``hints`` name does not exist.
    """
    if is_missing(path):
        raise LabelError(f"{path} does not exist; check the spelling.")
    ending = path.suffix.lower()
    if ending in _WORKBOOKS:
        raise LabelError(
            f"{path.name} is a workbook of several sheets, which is not read here. Save the sheet with the places as CSV, and "
            "give that file."
        )
    if os.path.isdir(path) or ending not in ENDINGS:
        raise LabelError(f"{path.name} is not a kind of label file that is read here. Known are {KINDS}.")
    if (hints.lon is not None or hints.lat is not None) and _READERS.get(ending) is not read_csv and ending != ".zip":
        raise LabelError(f"{path.name} is no table; columns of longitude and latitude are named for tables only.")
    if hints.layer is not None and ending not in _LAYERED and ending not in (".kml", ".kmz"):
        raise LabelError(f"{path.name} has no layers; a layer is named for packages, archives and KML only.")
    layered = _LAYERED.get(ending)
    try:
        read = _READERS[ending](path, hints) if layered is None else layered(path, hints, worth)
    except OSError as error:
        raise unreadable(path, error, LabelError) from error
    if len(read.features) > (most := limits().rows):
        raise LabelError(f"{path.name} has more than {most:,} places, the most that are read here; take a part of it.")
    return read


class Questions(NamedTuple):
    """What a person may have to say of a file before it is read; nothing for most.

    Attributes:
        fields: attributes that could be the class; none where the format itself says what the class is.
        crs: whether it has projected coordinates and does not say in which system; it is then guessed, or asked for.
        columns: columns of a table of which none is known to hold coordinates; two have to be named.
        layers: layers, where there are several.
    """

    fields: list[str]
    crs: bool = False
    columns: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()


def questions(path: str | Path, hints: Hints = NO_HINTS) -> Questions:
    """What is to be asked about a file, given what has been said of it.

    Raises:
        LabelError: the file is not readable.
    """
    path = Path(path)
    try:
        read = read_features(path, hints)
    except NoColumnsError as error:
        return Questions([], columns=error.columns)
    named = any(feature.name is not None for feature in read.features)
    return Questions(
        [] if named else fields_of(read.features),
        read.crs is None and not read.pixels and unstated_projection([f.geometry for f in read.features]),
        layers=(*read.layers, *read.layers_left) if len(read.layers) + len(read.layers_left) > 1 else (),
    )


class Survey(NamedTuple):
    """What a label file says by itself: places, names and counts of the classes, its CRS if stated, remarks."""

    places: int
    classes: dict[str, int]
    crs: str | None
    notes: list[str]


def survey(path: str | Path, field: str | None = None) -> Survey:
    """Look into a label file without a region.

    Raises:
        LabelError: the file is not readable, or ``field`` does not exist.
    """
    path = Path(path)
    read = read_features(path)
    report = report_of(read)
    counts = Counter(name for name in class_names(read, stem_of(path), field, report) if name)
    return Survey(len(read.features), dict(counts.most_common()), read.crs, report.notes)


def is_class_raster(path: str | Path) -> bool:
    """Whether a label file is a raster, by its ending."""
    return Path(path).suffix.lower() in (".tif", ".tiff", ".npy")


@contained
def read_class_raster(path: str | Path, grid: Grid) -> ClassRaster:
    """Read a single-band class raster (GeoTIFF, or .npy of the grid's shape) onto ``grid``.

    A raster on another grid is laid over by nearest neighbour; one without georeference must have the grid's shape.

    Raises:
        LabelError: the file is not readable, holds no whole numbers, or does not meet the grid.
    """
    path = Path(path)
    if is_missing(path):
        raise LabelError(f"{path} does not exist; check the spelling.")
    report = ImportReport(field_why="the values of the raster")
    if path.suffix.lower() == ".npy":
        values, known, zero_is_class = _npy_classes(path), None, False
    else:
        values, known, zero_is_class = _tiff_classes(path, grid, report)
    _require_shape(values.shape, grid, path)
    report.read = values.size
    known = np.ones(values.shape, np.bool_) if known is None else known
    classes, zero = _coded(values, known, zero_is_class, path, report)
    report.used = report.labels = int(np.count_nonzero(classes))
    if not report.labels:
        stands = "" if zero_is_class else " (0 stands for unlabelled)"
        raise LabelError(f"{path.name} has no labelled pixel in this region{stands}.")
    return ClassRaster(classes, patches(classes), zero, report)


def _coded(
    values: NDArray[Any], known: NDArray[np.bool_], zero_is_class: bool, path: Path, report: ImportReport
) -> tuple[NDArray[np.int32], int]:
    """Class codes with 0 for unlabelled, and the code that stands for the file's own 0 (0: it is none)."""
    if values.dtype.kind == "f":
        known = known & np.isfinite(values)
    codes = _whole_numbers(np.where(known, values, 0), path)
    left = int(known.size - np.count_nonzero(known))
    negative = known & (codes < 0)
    zeros = known & (codes == 0)
    classes = np.where(known & ~negative, codes, 0).astype(np.int32)
    if left:
        report.leave_out("no data, or beyond the raster", count=left)
    if count := int(np.count_nonzero(negative)):
        report.leave_out("negative codes, which are no classes", count=count)
    count, zero = int(np.count_nonzero(zeros)), 0
    if count and zero_is_class:
        zero = int(classes.max()) + 1
        if zero > 2**31 - 1:
            zero = next(code for code in range(1, 2**31 - 1) if not (classes == code).any())
        classes[zeros] = zero
        report.notes.append(
            f"0 is a class of this raster ({count} pixels), as it declares another value for no data"
            f"{f' ({report.nodata})' if report.nodata else ''}; declare 0 as no data if it stands for unlabelled."
        )
    elif count:
        report.leave_out("0, which stands for unlabelled", count=count)
    return classes, zero


def class_tags(path: str | Path) -> dict[str, str]:
    """The tags ``class_<code>``, ``class_<code>_color`` and ``class_<code>_code`` of a class raster.

    Our class maps carry them with the band, those of TEE with the file; a .npy has none.
    """
    if Path(path).suffix.lower() == ".npy":
        return {}
    with open_raster(path, error=LabelError) as file:
        tags: dict[str, str] = file.tags() | file.tags(1)
        return tags


def patches(classes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Number of the connected patch of each pixel: int32 (H, W), 0 where ``classes`` is 0; 4 neighbours, one class."""
    from scipy import ndimage

    groups = np.zeros(classes.shape, np.int32)
    count = 0
    values, numbers = np.unique(classes, return_inverse=True)
    boxes = ndimage.find_objects(numbers.reshape(classes.shape) + 1)
    for value, box in zip(values, boxes, strict=True):
        if value == 0 or box is None:
            continue
        found, n = ndimage.label(classes[box] == value)
        groups[box][found > 0] = found[found > 0] + count
        count += n
    return groups


def _npy_classes(path: Path) -> NDArray[Any]:
    from tessera_core._utils.npy import load_npy

    values = load_npy(path, LabelError)
    if values.ndim != 2:
        raise LabelError(f"{path.name} is no class raster: it has {values.ndim} dimensions instead of 2.")
    return values


def _tiff_classes(path: Path, grid: Grid, report: ImportReport) -> tuple[NDArray[Any], NDArray[np.bool_], bool]:
    """Values on the grid, bool (H, W) where the file has data, and whether its 0 is a class.

    A file that declares another value for no data than 0, or a mask, says that 0 is data.
    """
    from rasterio.enums import ColorInterp, MaskFlags, Resampling
    from rasterio.vrt import WarpedVRT

    try:
        with open_raster(path, error=LabelError) as file:
            alpha = file.count == 2 and file.colorinterp[1] == ColorInterp.alpha
            if file.count != 1 and not alpha:
                raise LabelError(f"{path.name} has {file.count} bands; a class raster has one.")
            masked = alpha or MaskFlags.per_dataset in file.mask_flag_enums[0]
            nodata = file.nodata
            if nodata is not None:
                report.nodata = f"{nodata:g}"
            elif masked:
                report.nodata = "its mask"
            same = (file.height, file.width) == grid.shape and file.transform.almost_equals(grid.transform, 1e-6)
            if file.crs is None or grid.crs is None or (same and _same_crs(file.crs, grid)):
                _require_shape((file.height, file.width), grid, path)
                values, mask = file.read(1), file.dataset_mask() if masked else None
            else:
                options = {
                    "crs": grid.crs,
                    "transform": grid.transform,
                    "height": grid.height,
                    "width": grid.width,
                    "resampling": Resampling.nearest,
                    # What lies beyond the raster has to be told from its 0.
                    "add_alpha": not alpha,
                }
                with WarpedVRT(file, **options) as moved:
                    values, mask = moved.read(1), moved.read(2)
            report.crs, report.crs_from = (
                (str(file.crs) if file.crs else grid.crs or "pixels"),
                ("the file" if file.crs else "the embeddings, as the file has no georeference"),
            )
    except raster_errors() as error:
        raise LabelError(f"{path.name} cannot be read as a GeoTIFF: {str(error).splitlines()[0]}") from error
    known = np.ones(values.shape, np.bool_) if mask is None else mask > 0
    if nodata is not None and not np.isnan(nodata):
        known &= values != nodata
    return values, known, masked or (nodata is not None and nodata != 0)


def _require_shape(shape: tuple[int, ...], grid: Grid, path: Path) -> None:
    if shape != grid.shape:
        raise LabelError(
            f"{path.name} has {shape[0]} x {shape[1]} pixels and no georeference, the embeddings "
            f"{grid.height} x {grid.width}; they cannot be laid over each other."
        )


def _same_crs(crs: object, grid: Grid) -> bool:
    code = crs.to_epsg()  # type: ignore[attr-defined]
    return bool(code) and grid.crs == f"EPSG:{code}"


def _whole_numbers(values: NDArray[Any], path: Path) -> NDArray[np.int64]:
    if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
        raise LabelError(f"{path.name} holds fractions, not classes; class codes are whole numbers.")
    if values.dtype.kind not in "biuf" or np.abs(values.astype(np.float64)).max(initial=0) > 2**31 - 1:
        raise LabelError(f"{path.name} does not hold class codes.")
    return values.astype(np.int64)
