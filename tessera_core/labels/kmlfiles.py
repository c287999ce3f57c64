"""KML and KMZ, read here and not by GDAL, which drops colours and flattens folders.

A folder is often the class, so it becomes the attribute ``layer`` of its placemarks. Nothing outside the file is ever opened:
links are counted as left out, and a document type (which could define entities) is refused.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from tessera_core.errors import LabelError
from tessera_core.gate import open_archive, read_bytes
from tessera_core.labels.features import NO_HINTS, Feature, Hints, Read, named

_CONTAINERS = ("Document", "Folder", "kml")
_MAX_UNPACKED = 1 << 29
_MAX_DEPTH = 200
_WHITE = "ffffff"


def read_kml(path: Path, hints: Hints = NO_HINTS) -> Read:
    """Read the placemarks of a KML or KMZ file; see :func:`parse_kml`.

    Raises:
        LabelError: it is not readable, or ``hints.layer`` names no folder of it.
    """
    data = read_bytes(path, LabelError)
    if data[:4] == b"PK\x03\x04":
        data = _unpacked(data, path.name)
    return parse_kml(data, path.name, hints)


def parse_kml(data: bytes, name: str, hints: Hints = NO_HINTS) -> Read:
    """The placemarks of a KML document, in its order.

    Attributes are the placemark's ``name``, its extended data, ``description``, and ``layer``, the folder it lies in, where there
    are several folders. The colour is that of its style.

    Raises:
        LabelError: it is no KML, or ``hints.layer`` names no folder of it.
    """
    root = _tree(data, name)
    if _tag(root) != "kml" and not any(True for _ in root.iter("Placemark")):
        raise LabelError(f"{name} is XML but no KML; nothing was read.")
    styles = _styles(root)
    read = Read([], "EPSG:4326", crs_from="the standard of KML")
    found = list(_placemarks(root))
    folders = list(dict.fromkeys(folder for folder, _ in found))
    wanted = hints.layer
    if wanted is not None:
        wanted = named(wanted, [folder for folder in folders if folder], "folder", name)
    for number, (folder, mark) in enumerate(found, 1):
        where = f"placemark {number}"
        if wanted is not None and folder != wanted:
            read.skip(f"in another folder than {wanted!r}", where)
            continue
        geometry, problem = _geometry(mark)
        if geometry is None:
            read.skip(problem, where)
            continue
        properties = _properties(mark)
        if len(folders) > 1:
            properties.setdefault("layer", folder)
        read.features.append(Feature(geometry, properties, color=_color(mark, styles, geometry.geom_type), where=where))
    for what, told in (("NetworkLink", "links to other files, which are not followed"), ("GroundOverlay", "pictures")):
        if count := sum(1 for _ in root.iter(what)):
            read.skip(told, count=count)
    if len(folders) > 1:
        read.layers = [folder for folder in folders if wanted in (None, folder) and folder]
        read.layers_left = [folder for folder in folders if wanted is not None and folder != wanted and folder]
    return read


def _unpacked(data: bytes, name: str) -> bytes:
    with open_archive(io.BytesIO(data), name=name, error=LabelError) as archive:
        members = [member for member in archive.names if member.lower().endswith(".kml")]
        members.sort(key=lambda member: (member.lower() != "doc.kml", member.count("/")))
        if not members:
            raise LabelError(f"{name} holds no KML document.")
        return archive.read(members[0], _MAX_UNPACKED)


def _tree(data: bytes, name: str) -> Element:
    """The elements of a document, names without their prefix."""
    builder = TreeBuilder()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _MAX_DEPTH:
            raise LabelError(f"{name} is nested deeper than {_MAX_DEPTH} elements; it is not read.")
        builder.start(tag.rsplit(":", 1)[-1], attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag.rsplit(":", 1)[-1])

    def refuse(*_: Any) -> None:
        raise LabelError(f"{name} declares a document type, which no KML has; it is not read.")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise LabelError(f"{name} cannot be read as KML: {error}.") from error
    except (LookupError, ValueError) as error:
        raise LabelError(f"{name} cannot be read as KML: its encoding is not known.") from error
    return builder.close()


def _tag(element: Element) -> str:
    return str(element.tag)


def _text(element: Element | None) -> str:
    return "" if element is None else " ".join("".join(element.itertext()).split())


def _placemarks(root: Element) -> Iterator[tuple[str, Element]]:
    """Each placemark with the folder it lies in, empty outside folders."""
    waiting: list[tuple[str, Element]] = [("", root)]
    while waiting:
        folder, element = waiting.pop()
        if _tag(element) == "Placemark":
            yield folder, element
            continue
        if _tag(element) == "Folder":
            folder = _text(element.find("name")) or folder
        waiting += [(folder, child) for child in reversed(element) if _tag(child) in (*_CONTAINERS, "Placemark")]


def _properties(mark: Element) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if (name := mark.find("name")) is not None:
        values["name"] = _text(name)
    for data in mark.iter("Data"):
        if key := data.get("name"):
            values.setdefault(key, _text(data.find("value")))
    for data in mark.iter("SimpleData"):
        if key := data.get("name"):
            values.setdefault(key, _text(data))
    if (about := mark.find("description")) is not None:
        values.setdefault("description", _text(about))
    return values


def _geometry(mark: Element) -> tuple[Any, str]:
    """The geometry of a placemark, or None and why there is none."""
    import shapely

    parts: list[Any] = []
    waiting = list(reversed(mark))
    try:
        while waiting:
            element = waiting.pop()
            tag = _tag(element)
            if tag == "MultiGeometry":
                waiting += reversed(element)
            elif tag == "Point":
                parts.append(shapely.Point(_corners(element)[0]))
            elif tag in ("LineString", "LinearRing"):
                parts.append(shapely.LineString(_corners(element)))
            elif tag == "Polygon":
                outer = element.find("outerBoundaryIs/LinearRing")
                if outer is None:
                    return None, "geometries that are damaged"
                holes = [_corners(ring) for ring in element.findall("innerBoundaryIs/LinearRing")]
                parts.append(shapely.Polygon(_corners(outer), holes))
    except (ValueError, IndexError, shapely.errors.ShapelyError):
        return None, "geometries that are damaged"
    if not parts:
        return None, "without a geometry"
    if len(parts) == 1:
        return parts[0], ""
    kinds = {part.geom_type for part in parts}
    if kinds == {"Polygon"}:
        return shapely.MultiPolygon(parts), ""
    return shapely.MultiPoint(parts) if kinds == {"Point"} else shapely.GeometryCollection(parts), ""


def _corners(element: Element) -> list[tuple[float, float]]:
    text = element.findtext("coordinates") or ""
    triples = [triple.split(",") for triple in text.replace(", ", ",").split()]
    return [(float(triple[0]), float(triple[1])) for triple in triples]


def _styles(root: Element) -> dict[str, Element]:
    """Shared styles by id; a map of styles stands for its normal one."""
    styles = {f"#{style.get('id')}": style for style in root.iter("Style") if style.get("id")}
    for pairs in root.iter("StyleMap"):
        for pair in pairs.findall("Pair"):
            target = styles.get(_text(pair.find("styleUrl")))
            target = pair.find("Style") if target is None else target
            if pairs.get("id") and _text(pair.find("key")) == "normal" and target is not None:
                styles[f"#{pairs.get('id')}"] = target
    return styles


def _color(mark: Element, styles: dict[str, Element], kind: str) -> str | None:
    """``"#rrggbb"`` of a placemark; None where its style says none, or white, which is what nobody chose."""
    shared = styles.get(_text(mark.find("styleUrl")))
    order = {
        "Point": ("IconStyle", "LabelStyle"),
        "MultiPoint": ("IconStyle", "LabelStyle"),
        "LineString": ("LineStyle",),
    }.get(kind, ("PolyStyle", "LineStyle"))
    for style in (mark.find("Style"), shared):
        for part in order:
            # KML writes alpha, blue, green, red.
            text = _text(style.find(f"{part}/color")).lstrip("#") if style is not None else ""
            hidden = part == "PolyStyle" and style is not None and _text(style.find("PolyStyle/fill")) == "0"
            if len(text) == 8 and not hidden:
                color = (text[6:8] + text[4:6] + text[2:4]).lower()
                if color != _WHITE and all(c in "0123456789abcdef" for c in color):
                    return f"#{color}"
    return None
