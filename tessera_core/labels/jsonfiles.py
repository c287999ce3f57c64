"""GeoJSON, and the label JSONs of TEE 1.7 and the notebook classifier, told apart by what is in them (spec/formats.md)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tessera_core.errors import LabelError
from tessera_core.labels.importing import Feature, Read

_EMBEDDING_NOTE = "Embeddings in the file were not used; they are taken anew at each place."


def read_json(path: Path) -> Read:
    """Read a JSON label file of any known kind.

    Raises:
        LabelError: it is no JSON, or of no known kind.
    """
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise LabelError(
            f"{path.name} is not readable JSON; it may be cut short. Export or download it again."
        ) from error
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return _tee(value, {})
    if isinstance(value, dict):
        if "training_points" in value:
            return _notebook(value, path)
        if value.get("type") in _GEOJSON:
            return _geojson(value)
        if isinstance(value.get("labels"), list):
            return _tee(value["labels"], value)
    raise LabelError(
        f"{path.name} is JSON, but neither GeoJSON nor a label file of TEE or the notebook classifier; nothing was read."
    )


_GEOMETRIES = ("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection")
_GEOJSON = ("FeatureCollection", "Feature", *_GEOMETRIES)


def _geojson(value: Mapping[str, Any]) -> Read:
    kind = value["type"]
    items = value.get("features") if kind == "FeatureCollection" else [value]
    if not isinstance(items, list):
        raise LabelError("The GeoJSON has no list of features.")
    features: list[Feature] = []
    skipped: Counter[str] = Counter()
    for item in items:
        if not isinstance(item, dict):
            skipped["not a feature"] += 1
            continue
        geometry = item.get("geometry") if item.get("type") == "Feature" else item
        properties = item.get("properties")
        shape = _shape(geometry, skipped)
        if shape is not None:
            features.append(Feature(shape, properties if isinstance(properties, dict) else {}))
    return Read(features, _geojson_crs(value), skipped=skipped)


def _shape(geometry: Any, skipped: Counter[str]) -> Any:
    import shapely
    import shapely.geometry

    if geometry is None:
        skipped["without a geometry"] += 1
        return None
    try:
        return shapely.geometry.shape(geometry)
    except (shapely.errors.ShapelyError, ValueError, TypeError, KeyError, AttributeError, IndexError):
        skipped["geometries that are damaged"] += 1
        return None


def _geojson_crs(value: Mapping[str, Any]) -> str | None:
    """The ``crs`` member of the 2008 specification; without it RFC 7946 says degrees, checked where the places fall."""
    crs = value.get("crs")
    properties = crs.get("properties") if isinstance(crs, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    if name is None:
        return "EPSG:4326"
    return "EPSG:4326" if "CRS84" in str(name) else str(name)


def _notebook(value: Mapping[str, Any], path: Path) -> Read:
    """``{"training_points": [[[lat, lon], "class"], ...], "class_color_map": {...}}``, tolerant of lists nested too deep."""
    items = value["training_points"]
    notes = []
    while isinstance(items, list) and len(items) == 1 and isinstance(items[0], list) and not _is_point(items[0]):
        items = items[0]
        notes.append("The points were nested one list too deep.")
    if not isinstance(items, list):
        raise LabelError(f"The training points of {path.name} are not a list.")
    features: list[Feature] = []
    skipped: Counter[str] = Counter()
    import shapely

    for item in items:
        if not _is_point(item):
            skipped["not of the form [[lat, lon], class]"] += 1
            continue
        first, second = (float(n) for n in item[0][:2])
        # Stored as [lat, lon]; projected coordinates are stored as [x, y], which only shows in their size.
        degrees = abs(first) <= 90 and abs(second) <= 360
        features.append(
            Feature(shapely.Point(second, first) if degrees else shapely.Point(first, second), name=item[1])
        )
    colors = value.get("class_color_map")
    return Read(features, None, notes, skipped, colors if isinstance(colors, dict) else {})


def _is_point(item: Any) -> bool:
    return (
        isinstance(item, list)
        and len(item) >= 2
        and isinstance(item[0], list)
        and len(item[0]) >= 2
        and all(isinstance(n, int | float) and not isinstance(n, bool) for n in item[0][:2])
        and isinstance(item[1], str | int | float)
    )


def _tee(items: list[Any], envelope: Mapping[str, Any]) -> Read:
    """Saved and manual labels of TEE, the private share, and bare arrays of them."""
    features: list[Feature] = []
    skipped: Counter[str] = Counter()
    notes: list[str] = []
    seen: set[str] = set()
    embedded = False
    for item in items:
        if not isinstance(item, dict) or not str(item.get("name") or "").strip():
            skipped["labels of TEE without a name"] += 1
            continue
        if "id" in item:
            if str(item["id"]) in seen:
                skipped["duplicates of another label"] += 1
                continue
            seen.add(str(item["id"]))
        embedded |= bool(item.get("embedding") or item.get("embeddings"))
        geometry = _tee_geometry(item)
        if geometry is None:
            reason = (
                "only pixel numbers of a TEE viewport, whose place is not in the file"
                if item.get("pixel_coords")
                else None
            )
            reason = reason or "an embedding without a place (hidden locations or a private share)"
            skipped[reason if item.get("embedding") or item.get("pixel_coords") else "without a place"] += 1
            continue
        properties = {key: item[key] for key in ("code", "note") if item.get(key)}
        features.append(Feature(geometry, properties, name=item["name"], color=item.get("color")))
    facts = [
        f"{key.replace('_', ' ')} {envelope[key]}"
        for key in ("viewport", "year", "embedding_version")
        if envelope.get(key)
    ]
    if facts:
        notes.append(f"Made in TEE ({', '.join(facts)}).")
    if embedded:
        notes.append(_EMBEDDING_NOTE)
    return Read(features, "EPSG:4326", notes, skipped)


def _tee_geometry(item: Mapping[str, Any]) -> Any:
    import shapely

    vertices = item.get("vertices")
    try:
        if vertices:
            return shapely.Polygon([(float(lon), float(lat)) for lat, lon in vertices])
        place = item.get("source_pixel") or item
        if isinstance(place, dict) and place.get("lat") is not None and place.get("lon") is not None:
            return shapely.Point(float(place["lon"]), float(place["lat"]))
    except (TypeError, ValueError, shapely.errors.ShapelyError):
        return None
    return None
