"""GeoJSON, and the label JSONs of TEE 1.7 and the notebook classifier, told apart by what is in them (docs/spec/formats.md)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tessera_core.errors import LabelError
from tessera_core.gate import parse_json as json_value
from tessera_core.gate import read_bytes
from tessera_core.labels.features import NO_HINTS, Feature, Hints, Read
from tessera_core.labels.model import clean_name
from tessera_core.labels.text import decode

_EMBEDDING_NOTE = "Embeddings in the file were not used; they are taken anew at each place."


def read_json(path: Path, hints: Hints = NO_HINTS) -> Read:
    """Read a JSON label file of any known kind; see :func:`parse_json`.

    Raises:
        LabelError: it is no JSON, or of no known kind.
    """
    return parse_json(read_bytes(path, LabelError), path.name, hints)


def parse_json(data: bytes, name: str, hints: Hints = NO_HINTS) -> Read:
    """Labels from JSON of any known kind, also GeoJSON with a feature in each line.

    Args:
        data: the file.
        name: of the file, for people.
        hints: may say the encoding.

    Raises:
        LabelError: it is no JSON, or of no known kind.
    """
    text = decode(data, name, hints.encoding)
    broken = f"{name} is not readable JSON; it may be cut short. Export or download it again."
    try:
        value = json_value(text.text)
    except ValueError as error:
        read = _lines(text.text)
        if read is None:
            raise LabelError(broken) from error
    else:
        read = _of_kind(value, name)
    read.encoding, read.encoding_why = text.encoding, text.why
    return read


def _of_kind(value: Any, name: str) -> Read:
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return _geojson({"type": "FeatureCollection", "features": value}) if _are_features(value) else _tee(value, {})
    if isinstance(value, dict):
        if "training_points" in value:
            return _notebook(value, name)
        if value.get("type") in _GEOJSON:
            return _geojson(value)
        if isinstance(value.get("labels"), list):
            return _tee(value["labels"], value)
    raise LabelError(
        f"{name} is JSON, but neither GeoJSON nor a label file of TEE or the notebook classifier; nothing was read."
    )


def _are_features(items: list[Any]) -> bool:
    return all(item.get("type") == "Feature" for item in items)


def _lines(text: str) -> Read | None:
    """GeoJSON with a feature in each line (also behind a record separator); None where the first line is none."""
    items: list[tuple[int, Any]] = []
    damaged: list[int] = []
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        line = line.strip(" \t\x1e\ufeff").removesuffix(",")
        if not line:
            continue
        try:
            value = json_value(line)
        except ValueError:
            value = None
        if not items and not (isinstance(value, dict) and value.get("type") in _GEOJSON):
            return None
        if isinstance(value, dict):
            items.append((number, value))
        else:
            damaged.append(number)
    if not items:
        return None
    read = _geojson({"type": "FeatureCollection", "features": [item for _, item in items]})
    numbers = [f"line {number}" for number, _ in items]
    for feature in read.features:
        feature.where = numbers[int(feature.where.removeprefix("feature ")) - 1]
    read.crs = next((crs for _, item in items if "crs" in item and (crs := _geojson_crs(item))), read.crs)
    for number in damaged:
        read.skip("a line that is no JSON", f"line {number}")
    return read


_GEOMETRIES = ("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection")
_GEOJSON = ("FeatureCollection", "Feature", *_GEOMETRIES)


def _geojson(value: Mapping[str, Any]) -> Read:
    kind = value["type"]
    items = value.get("features") if kind == "FeatureCollection" else [value]
    if not isinstance(items, list):
        raise LabelError("The GeoJSON has no list of features.")
    read = Read([], _geojson_crs(value), crs_from="its crs member" if value.get("crs") else "the standard of GeoJSON")
    for number, item in enumerate(items, 1):
        where = f"feature {number}"
        if not isinstance(item, dict):
            read.skip("not a feature", where)
            continue
        geometry = item.get("geometry") if item.get("type") == "Feature" else item
        properties = item.get("properties")
        shape = _shape(geometry, read, where)
        if shape is not None:
            read.features.append(Feature(shape, properties if isinstance(properties, dict) else {}, where=where))
    return read


def _shape(geometry: Any, read: Read, where: str) -> Any:
    import shapely
    import shapely.geometry

    if geometry is None:
        read.skip("without a geometry", where)
        return None
    try:
        return shapely.geometry.shape(geometry)
    except (shapely.errors.ShapelyError, ValueError, TypeError, KeyError, AttributeError, IndexError):
        read.skip("geometries that are damaged", where)
        return None


def _geojson_crs(value: Mapping[str, Any]) -> str | None:
    """The ``crs`` member of the 2008 specification; without it RFC 7946 says degrees, checked where the places fall."""
    crs = value.get("crs")
    properties = crs.get("properties") if isinstance(crs, dict) else None
    if isinstance(properties, dict) and "code" in properties:
        return f"EPSG:{properties['code']}"
    name = properties.get("name") if isinstance(properties, dict) else crs if isinstance(crs, str) else None
    if name is None:
        # An explicit null says that nothing may be assumed.
        return None if "crs" in value and crs is None else "EPSG:4326"
    return "EPSG:4326" if "CRS84" in str(name).upper() else str(name)


def _notebook(value: Mapping[str, Any], name: str) -> Read:
    """``{"training_points": [[[lat, lon], "class"], ...], "class_color_map": {...}}``, tolerant of lists nested too deep."""
    items = value["training_points"]
    notes = []
    while isinstance(items, list) and len(items) == 1 and isinstance(items[0], list) and not _is_point(items[0]):
        items = items[0]
        notes.append("The points were nested one list too deep.")
    if not isinstance(items, list):
        raise LabelError(f"The training points of {name} are not a list.")
    import shapely

    colors = value.get("class_color_map")
    read = Read([], None, notes, colors=colors if isinstance(colors, dict) else {})
    for number, item in enumerate(items, 1):
        where = f"point {number}"
        if not _is_point(item):
            read.skip("not of the form [[lat, lon], class]", where)
            continue
        first, second = (float(n) for n in item[0][:2])
        # Stored as [lat, lon]; projected coordinates are stored as [x, y], which only shows in their size.
        degrees = abs(first) <= 90 and abs(second) <= 360
        place = shapely.Point(second, first) if degrees else shapely.Point(first, second)
        read.features.append(Feature(place, name=item[1], where=where))
    return read


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
    read = Read([], "EPSG:4326", crs_from="the format of TEE")
    seen: set[str] = set()
    by_similarity: Counter[str] = Counter()
    embedded = False
    for number, item in enumerate(items, 1):
        where = f"label {number}"
        if not isinstance(item, dict) or not str(item.get("name") or "").strip():
            read.skip("labels of TEE without a name", where)
            continue
        if item.get("id") is not None:
            if str(item["id"]) in seen:
                read.skip("duplicates of another label", where)
                continue
            seen.add(str(item["id"]))
        embedded |= bool(item.get("embedding") or item.get("embeddings"))
        name = clean_name(item["name"])
        geometry = _tee_geometry(item)
        if geometry is None:
            reason = "without a place"
            if item.get("pixel_coords"):
                reason = "only pixel numbers of a TEE viewport, whose place is not in the file"
            elif item.get("embedding"):
                reason = "an embedding without a place (hidden locations or a private share)"
            read.skip(reason, f"{where} ({name})")
            continue
        if _is_area_by_similarity(item) and geometry.geom_type == "Point":
            by_similarity[name] += 1
        properties = {key: item[key] for key in ("code", "note") if item.get(key)}
        read.features.append(
            Feature(geometry, properties, name=item["name"], color=item.get("color"), where=f"{where} ({name})")
        )
    facts = [
        f"{key.replace('_', ' ')} {envelope[key]}"
        for key in ("viewport", "year", "embedding_version")
        if envelope.get(key)
    ]
    if facts:
        read.notes.append(f"Made in TEE ({', '.join(facts)}).")
    if by_similarity:
        read.repaired["labels by similarity taken as the one point they were made from"] = by_similarity.total()
        listed = ", ".join(f"{name} {count}" for name, count in by_similarity.most_common(12))
        read.notes.append(
            f"The areas that TEE found alike are lost, because its file does not say where they lie ({listed}); to keep "
            "them, export the labels from TEE as GeoJSON."
        )
    if embedded:
        read.notes.append(_EMBEDDING_NOTE)
    return read


def _is_area_by_similarity(item: Mapping[str, Any]) -> bool:
    """Whether a label of TEE stands for all pixels that are alike, not for a place."""
    pixels = item.get("pixel_coords")
    several = isinstance(pixels, list) and len(pixels) > 2
    return item.get("type") == "similarity" or several or ("source_pixel" in item and bool(item.get("threshold")))


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
