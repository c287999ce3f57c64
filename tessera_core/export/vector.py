"""Labels as GeoPackage and GeoJSON, with everything needed to read them back as they were.

Erase strokes are applied: what lies under a later one is cut away. Brush strokes become the areas they cover; the stroke
itself is kept in the column ``stroke`` (WKT) as long as nothing was cut from it, so that importing restores it.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tessera_core._utils.atomic import atomic_path, write_text
from tessera_core.errors import ExportError, InputError
from tessera_core.grid import Grid, transformer
from tessera_core.labels.model import Label, LabelClass, origin_written
from tessera_core.provenance import SOFTWARE, Provenance

POINTS, AREAS = "label_points", "label_areas"
# The version that QGIS and ArcGIS of the last years read; GDAL's own choice moves with its release.
GPKG_OPTIONS = {"VERSION": "1.2"}
# Quarter-circle segments of a stroke's rim: within 0.5 % of the radius.
_ARC = 8


@dataclass(frozen=True)
class ExportFeature:
    """A label as it leaves: its class, its geometry (shapely, CRS of the grid) and the label it comes from."""

    label: Label
    klass: LabelClass
    geometry: Any
    order: int
    cut: bool


def label_features(labels: Sequence[Label], classes: Iterable[LabelClass]) -> list[ExportFeature]:
    """Labels as features in painting order, later erase strokes cut away; wholly erased labels are left out."""
    import shapely

    by_id = {c.id: c for c in classes}
    features: list[ExportFeature] = []
    erased: Any = None
    for order in range(len(labels) - 1, -1, -1):
        label = labels[order]
        shape = _shape(label)
        if label.kind == "erase":
            erased = shape if erased is None else shapely.union(erased, shape)
            continue
        cut = erased is not None and bool(shapely.intersects(shape, erased))
        if cut:
            shape = _areas(shapely.difference(shape, erased)) if label.kind != "point" else shapely.Point()
        if shape.is_empty:
            continue
        klass = by_id.get(label.class_id) or LabelClass(label.class_id, f"class {label.class_id}", "#808080")
        features.append(ExportFeature(label, klass, shape, order, cut))
    return features[::-1]


def _shape(label: Label) -> Any:
    import shapely

    if label.kind == "point":
        return shapely.Point(label.xy[0])
    if label.kind in ("brush", "erase"):
        line = shapely.Point(label.xy[0]) if len(set(label.xy)) == 1 else shapely.LineString(label.xy)
        # A stroke without width still has to be an area that GIS programs show.
        return shapely.buffer(line, label.radius or 1e-3, quad_segs=_ARC)
    outer, *holes = label.rings
    return _areas(shapely.make_valid(shapely.Polygon(outer, holes)))


def _areas(shape: Any) -> Any:
    """The polygons among the parts of a geometry, as one polygon or multipolygon."""
    import shapely

    parts = [
        part for part in shapely.get_parts(shapely.get_parts(shape)) if part.geom_type == "Polygon" and part.area > 0
    ]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def properties(feature: ExportFeature) -> dict[str, Any]:
    """Columns of a feature; ``stroke`` restores an uncut brush or rectangle on import."""
    label = feature.label
    return {
        "label_id": label.id,
        "class_id": feature.klass.id,
        "class": feature.klass.name,
        "name": feature.klass.name,
        "code": feature.klass.code,
        "color": feature.klass.color,
        "kind": label.kind,
        "radius": label.radius,
        "note": label.note,
        "paint_order": feature.order,
        "stroke": _stroke(label) if label.kind == "brush" and not feature.cut else "",
        "origin": origin_written(label),
    }


def _stroke(label: Label) -> str:
    return json.dumps(label.xy)


def write_labels_gpkg(
    path: str | Path, labels: Sequence[Label], classes: Iterable[LabelClass], grid: Grid, provenance: Provenance
) -> Path:
    """Write labels as GeoPackage in the grid's CRS: layers ``label_points`` and ``label_areas``, styled for QGIS.

    A local grid gives layers without CRS, in its own pixel coordinates, and the metadata say so.

    Raises:
        ExportError: the file cannot be written.
    """
    import pyogrio
    import shapely
    from pyogrio.errors import DataLayerError, DataSourceError

    from tessera_core.export.style import labels_qml

    path = Path(path)
    path = path if path.suffix.lower() == ".gpkg" else path.with_name(path.name + ".gpkg")
    classes = list(classes)
    features = label_features(labels, classes)
    by_layer = {
        POINTS: ("Point", [f for f in features if f.label.kind == "point"]),
        AREAS: ("MultiPolygon", [f for f in features if f.label.kind != "point"]),
    }
    try:
        with atomic_path(path) as part, warnings.catch_warnings():
            # A local grid has no CRS on purpose; the metadata say so.
            warnings.filterwarnings("ignore", message="'crs' was not provided")
            for number, (layer, (kind, some)) in enumerate(by_layer.items()):
                rows = [properties(feature) for feature in some]
                types: dict[str, Any] = {"class_id": np.int32, "radius": np.float64, "paint_order": np.int32}
                names = list(_COLUMNS)
                pyogrio.raw.write(
                    part,
                    geometry=np.array([shapely.to_wkb(_multi(f.geometry, kind)) for f in some], dtype=object),
                    field_data=[np.array([row[name] for row in rows], dtype=types.get(name, object)) for name in names],
                    fields=np.array(names, dtype=object),
                    layer=layer,
                    driver="GPKG",
                    geometry_type=kind,
                    crs=grid.crs,
                    append=number > 0,
                    dataset_options=GPKG_OPTIONS,
                    layer_metadata=_metadata(provenance, grid),
                )
            _add_styles(part, {layer: labels_qml(classes, point=layer == POINTS) for layer in by_layer})
    except (DataSourceError, DataLayerError, RuntimeError) as error:
        raise ExportError(f"{path.name} could not be written: {str(error).splitlines()[0]}") from error
    return path


_COLUMNS = (
    "label_id",
    "class_id",
    "class",
    "name",
    "code",
    "color",
    "kind",
    "radius",
    "note",
    "paint_order",
    "stroke",
    "origin",
)


def _multi(shape: Any, kind: str) -> Any:
    import shapely

    return shapely.MultiPolygon([shape]) if kind == "MultiPolygon" and shape.geom_type == "Polygon" else shape


def _metadata(provenance: Provenance, grid: Grid) -> dict[str, str]:
    value = provenance.tags() | {"tessera_dataset": provenance.dataset, "tessera_software": SOFTWARE}
    if not grid.georeferenced:
        value["tessera_grid"] = "no georeference: x = column, y = -row, the place on Earth is not known"
    return value


def _add_styles(path: Path, styles: Mapping[str, str]) -> None:
    """QGIS loads the style of a layer from the table ``layer_styles`` of its GeoPackage."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(path)) as database, database:
        database.execute(_STYLE_TABLE)
        for layer, qml in styles.items():
            database.execute(_STYLE_ROW, (layer, qml))
        database.execute(_STYLE_LISTED)


# The columns are those QGIS itself creates.
_STYLE_TABLE = """
CREATE TABLE layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT, f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256),
    f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT,
    owner TEXT(30), ui TEXT(30), update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))
"""
_STYLE_ROW = """
INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, styleQML, styleSLD,
    useAsDefault, description, owner, ui)
VALUES ('', '', ?, 'geom', 'classes', ?, '', 1, '', '', '')
"""
_STYLE_LISTED = """
INSERT OR IGNORE INTO gpkg_contents (table_name, data_type, identifier) VALUES ('layer_styles', 'attributes', 'layer_styles')
"""


def write_labels_geojson(
    path: str | Path, labels: Sequence[Label], classes: Iterable[LabelClass], grid: Grid, provenance: Provenance
) -> Path:
    """Write labels as GeoJSON (RFC 7946: WGS 84, longitude first, outer rings counter-clockwise).

    Raises:
        ExportError: the grid has no place on Earth, or the file cannot be written.
    """
    path = Path(path)
    path = path if path.suffix.lower() in (".geojson", ".json") else path.with_name(path.name + ".geojson")
    collection = labels_geojson(labels, classes, grid, provenance)
    write_text(path, json.dumps(collection, ensure_ascii=False, allow_nan=False) + "\n")
    return path


def in_degrees(grid: Grid, what: str) -> Callable[[Any], Any]:
    """A function that moves geometries of ``grid`` to longitude and latitude (WGS 84), outer rings counter-clockwise.

    Raises:
        InputError: the grid has no place on Earth, which ``what`` (a format) needs.
    """
    import shapely

    if grid.crs is None:
        raise InputError(
            f"These labels have no place on Earth, which {what} needs; export them as GeoPackage, which keeps pixel coordinates."
        )
    to_degrees = transformer(grid.crs, "EPSG:4326")

    def moved(shape: Any) -> Any:
        result = shapely.transform(shape, lambda xy: np.stack(to_degrees.transform(xy[:, 0], xy[:, 1]), axis=1))
        return shapely.orient_polygons(result, exterior_cw=False)

    return moved


def labels_geojson(
    labels: Sequence[Label], classes: Iterable[LabelClass], grid: Grid, provenance: Provenance
) -> dict[str, Any]:
    """Labels as a GeoJSON FeatureCollection; see :func:`write_labels_geojson`."""
    import shapely

    degrees = in_degrees(grid, "GeoJSON")
    features = []
    for feature in label_features(labels, classes):
        values = properties(feature)
        if values["stroke"]:
            stroke = degrees(shapely.MultiPoint(feature.label.xy))
            values["stroke"] = json.dumps(shapely.get_coordinates(stroke).tolist())
        features.append(
            {
                "type": "Feature",
                "id": feature.label.id,
                "geometry": shapely.geometry.mapping(degrees(feature.geometry)),
                "properties": {key: value for key, value in values.items() if value != ""},
            }
        )
    return {"type": "FeatureCollection", "features": features, "provenance": provenance.to_json(), "software": SOFTWARE}
