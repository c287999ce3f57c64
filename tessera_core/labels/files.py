"""Read label files of others: one front for every format, one report on what was read, mended and skipped.

Vector files (GeoJSON, GeoPackage, shapefile, KML), tables (CSV) and the JSON files of TEE and the notebook classifier
(spec/formats.md) become labels in the coordinates of a grid; rasters become classes on it. Embeddings that some of these
files carry are never used: they are taken anew at the geometry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import LabelError
from tessera_core.grid import Grid
from tessera_core.labels.crs_guess import unstated_projection
from tessera_core.labels.importing import ImportedLabels, ImportReport, Read, assemble, class_names
from tessera_core.labels.jsonfiles import read_json
from tessera_core.labels.tables import read_csv
from tessera_core.labels.vectorfiles import read_ogr, read_zip

__all__ = [
    "ClassRaster",
    "ImportReport",
    "ImportedLabels",
    "Survey",
    "class_fields",
    "class_tags",
    "is_class_raster",
    "read_class_raster",
    "read_labels",
    "survey",
    "wants_crs",
]

_READERS: dict[str, Callable[[Path], Read]] = {
    ".json": read_json,
    ".geojson": read_json,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".txt": read_csv,
    ".gpkg": read_ogr,
    ".shp": read_ogr,
    ".kml": read_ogr,
    ".kmz": read_ogr,
    ".fgb": read_ogr,
    ".zip": read_zip,
}
KINDS = (
    "GeoJSON, GeoPackage, zipped shapefile, KML, CSV with latitude and longitude, "
    "or the JSON files of TEE and the notebook classifier"
)


class ClassRaster(NamedTuple):
    """Labels from a raster.

    Attributes:
        classes: int32 (H, W), the raster's own codes (they may exceed 254), 0 = unlabelled.
        groups: int32 (H, W), 0 = unlabelled, else the number of the connected patch (4 neighbours, one class).
    """

    classes: NDArray[np.int32]
    groups: NDArray[np.int32]


def read_labels(path: str | Path, grid: Grid, field: str | None = None, crs: str | None = None) -> ImportedLabels:
    """Read labels from a vector file, a table or a label JSON.

    Args:
        path: the file; the format is recognised by its ending and content.
        grid: labels come in its CRS; what lies outside it is counted and left out.
        field: which attribute is the class; by default one is chosen and the report says which.
        crs: the file's CRS where the file does not say it; by default it is inferred from where the places fall.

    Returns:
        Classes (ids from 1 in order of appearance), labels and a report.

    Raises:
        LabelError: the file is not readable, has no places, or ``field`` does not exist.
    """
    path = Path(path)
    return assemble(read_features(path), grid, stem_of(path), field, crs)


def stem_of(path: Path) -> str:
    """The file's name without its ending, for people."""
    return path.stem.removesuffix("_labels") or path.stem


def read_features(path: Path) -> Read:
    """What a vector file, table or label JSON holds, unjudged; the format is recognised by its ending.

    Raises:
        LabelError: the file is not readable.
    """
    if not path.exists():
        raise LabelError(f"{path} does not exist; check the spelling.")
    reader = _READERS.get(path.suffix.lower())
    if reader is None or path.is_dir():
        raise LabelError(f"{path.name} is not a kind of label file that is read here. Known are {KINDS}.")
    return reader(path)


def class_fields(path: str | Path) -> list[str]:
    """Attributes of the places of a file that could be the class; none where the format itself says what the class is.

    Raises:
        LabelError: the file is not readable.
    """
    features = read_features(Path(path)).features
    if any(feature.name is not None for feature in features):
        return []
    return list(dict.fromkeys(key for feature in features for key in feature.properties))


def wants_crs(path: str | Path) -> bool:
    """Whether a file has projected coordinates and does not say in which CRS; it is then guessed, or asked for.

    Raises:
        LabelError: the file is not readable.
    """
    read = read_features(Path(path))
    return read.crs is None and not read.pixels and unstated_projection([f.geometry for f in read.features])


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
    report = ImportReport(notes=list(read.notes))
    counts = Counter(name for name in class_names(read, stem_of(path), field, report) if name)
    return Survey(len(read.features), dict(counts.most_common()), read.crs, report.notes)


def is_class_raster(path: str | Path) -> bool:
    """Whether a label file is a raster, by its ending."""
    return Path(path).suffix.lower() in (".tif", ".tiff", ".npy")


def read_class_raster(path: str | Path, grid: Grid) -> ClassRaster:
    """Read a single-band class raster (GeoTIFF, or .npy of the grid's shape) onto ``grid``.

    A raster on another grid is laid over by nearest neighbour; one without georeference must have the grid's shape.

    Raises:
        LabelError: the file is not readable, holds no whole numbers, or does not meet the grid.
    """
    path = Path(path)
    if not path.is_file():
        raise LabelError(f"{path} does not exist; check the spelling.")
    values = _npy_classes(path) if path.suffix.lower() == ".npy" else _tiff_classes(path, grid)
    if values.shape != grid.shape:
        raise LabelError(
            f"{path.name} has {values.shape[0]} x {values.shape[1]} pixels and no georeference, the embeddings "
            f"{grid.height} x {grid.width}; they cannot be laid over each other."
        )
    classes = _whole_numbers(values, path)
    if not classes.any():
        raise LabelError(f"{path.name} has no labelled pixel in this region (0 stands for unlabelled).")
    return ClassRaster(classes, patches(classes))


def class_tags(path: str | Path) -> dict[str, str]:
    """The tags ``class_<code>``, ``class_<code>_color`` and ``class_<code>_code`` of a class raster.

    Our class maps carry them with the band, those of TEE with the file; a .npy has none.
    """
    if Path(path).suffix.lower() == ".npy":
        return {}
    import rasterio

    with rasterio.open(path) as file:
        return file.tags() | file.tags(1)


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


def _npy_classes(path: Path) -> NDArray:
    from tessera_core.npyfile import load_npy

    values = load_npy(path, LabelError)
    if values.ndim != 2:
        raise LabelError(f"{path.name} is no class raster: it has {values.ndim} dimensions instead of 2.")
    return values


def _tiff_classes(path: Path, grid: Grid) -> NDArray:
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.errors import RasterioError
    from rasterio.vrt import WarpedVRT

    try:
        with rasterio.open(path) as file:
            if file.count != 1:
                raise LabelError(f"{path.name} has {file.count} bands; a class raster has one.")
            same = (file.height, file.width) == grid.shape and file.transform.almost_equals(grid.transform, 1e-6)
            if file.crs is None or grid.crs is None or (same and _same_crs(file.crs, grid)):
                values, nodata = file.read(1), file.nodata
            else:
                options = {
                    "crs": grid.crs,
                    "transform": grid.transform,
                    "height": grid.height,
                    "width": grid.width,
                    "resampling": Resampling.nearest,
                    "nodata": 0 if file.nodata is None else file.nodata,
                }
                with WarpedVRT(file, **options) as moved:
                    values, nodata = moved.read(1), moved.nodata
    except RasterioError as error:
        raise LabelError(f"{path.name} cannot be read as a GeoTIFF: {str(error).splitlines()[0]}") from error
    return np.where(values == nodata, values.dtype.type(0), values) if nodata is not None else values


def _same_crs(crs: object, grid: Grid) -> bool:
    code = crs.to_epsg()  # type: ignore[attr-defined]
    return bool(code) and grid.crs == f"EPSG:{code}"


def _whole_numbers(values: NDArray, path: Path) -> NDArray[np.int32]:
    if values.dtype.kind == "b":
        return values.astype(np.int32)
    if values.dtype.kind == "f":
        values = np.where(np.isfinite(values), values, 0)
        if not np.array_equal(values, np.rint(values)):
            raise LabelError(f"{path.name} holds fractions, not classes; class codes are whole numbers.")
    if values.dtype.kind not in "iuf" or np.abs(values.astype(np.float64)).max(initial=0) > 2**31 - 1:
        raise LabelError(f"{path.name} does not hold class codes.")
    return np.maximum(values, 0).astype(np.int32)
