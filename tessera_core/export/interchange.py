"""Writers of labels for other programs: CSV, shapefile, KML, GeoJSON and JSON for TEE 1.7, the notebook classifier's JSON.

The field names are those of docs/spec/formats.md. Every writer takes features in painting order with their geometry in longitude
and latitude; what a format cannot hold is told by :mod:`tessera_core.export.labels`, which also chooses the writer.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import write_text
from tessera_core._utils.csvcells import quoted_row
from tessera_core.errors import ExportError
from tessera_core.export.archive import write_zip
from tessera_core.export.vector import ExportFeature
from tessera_core.export.xmltext import xml_text
from tessera_core.labels.model import origin_written
from tessera_core.provenance import Provenance

# Text columns of a shapefile (dBASE) hold 254 bytes.
SHORT_TEXT = 254
# Pixels that stand for one area in the notebook classifier's file, which knows points only.
PIXELS_PER_AREA = 50


@dataclass(frozen=True)
class Placed:
    """A label on its way out.

    Attributes:
        feature: class, label and geometry in the grid's CRS.
        shape: the geometry in longitude and latitude (WGS 84), outer rings counter-clockwise.
        pixels: float64 (N, 2) longitudes and latitudes of the middles of the pixels that are this label's; what a later label
            covers is that label's.
    """

    feature: ExportFeature
    shape: Any
    pixels: NDArray[np.float64]

    @property
    def is_point(self) -> bool:
        """Whether the label is a single place."""
        return self.feature.label.kind == "point"

    @property
    def inside(self) -> tuple[float, float]:
        """``(lon, lat)`` of the place, or of one inside the area."""
        import shapely

        place = shapely.point_on_surface(self.shape)
        return float(place.x), float(place.y)

    def outlines(self) -> list[Any]:
        """The outer rings of an area's parts as polygons without holes; a point as it is."""
        import shapely

        return [self.shape] if self.is_point else [shapely.Polygon(p.exterior) for p in shapely.get_parts(self.shape)]

    def chosen_pixels(self) -> NDArray[np.float64]:
        """The place of a point; of an area at most :data:`PIXELS_PER_AREA` of its pixels, drawn with a fixed seed."""
        if self.is_point:
            return np.array([self.inside])
        if len(self.pixels) <= PIXELS_PER_AREA:
            return self.pixels
        drawn = np.random.default_rng(self.feature.order).choice(len(self.pixels), PIXELS_PER_AREA, replace=False)
        return self.pixels[np.sort(drawn)]


def short(text: str) -> str:
    """As much of a text as a shapefile's column holds."""
    return text.encode()[:SHORT_TEXT].decode(errors="ignore")


def write_csv(path: Path, placed: Sequence[Placed], title: str, provenance: Provenance) -> None:
    """``name,code,type,lat,lon,pixel_count,origin``, a line for each label; the place of an area is one inside it."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("name", "code", "type", "lat", "lon", "pixel_count", "origin"))
    for p in placed:
        lon, lat = p.inside
        kind = "point" if p.is_point else "polygon"
        said = (p.feature.klass.name, p.feature.klass.code, kind, repr(lat), repr(lon), len(p.pixels))
        table.writerow(quoted_row((*said, origin_written(p.feature.label))))
    write_text(path, text.getvalue())


def write_shapefile(path: Path, placed: Sequence[Placed], title: str, provenance: Provenance) -> None:
    """A zip with ``areas.shp`` and ``points.shp`` (those there are) in WGS 84; the class is the short text column ``name``.

    An area in several parts is a record for each part, since TEE knows single polygons.
    """
    write_zip(path, lambda folder: _shapefiles(folder, placed))


def _shapefiles(folder: Path, placed: Sequence[Placed]) -> None:
    import pyogrio
    import shapely
    from pyogrio.errors import DataLayerError, DataSourceError

    names = ("name", "code", "color", "type", "note", "paint_ord", "origin")
    for layer, geometry_type in (("areas", "Polygon"), ("points", "Point")):
        some = [(p, part) for p in placed if p.is_point == (layer == "points") for part in shapely.get_parts(p.shape)]
        if not some:
            continue
        rows = [
            (
                short(p.feature.klass.name),
                short(p.feature.klass.code),
                p.feature.klass.color,
                "point" if p.is_point else "polygon",
                short(p.feature.label.note),
                p.feature.order,
                origin_written(p.feature.label),
            )
            for p, _ in some
        ]
        columns = [
            np.array(values, np.int32 if n == "paint_ord" else object)
            for n, values in zip(names, zip(*rows, strict=True), strict=True)
        ]
        try:
            pyogrio.raw.write(
                folder / f"{layer}.shp",
                geometry=np.array([shapely.to_wkb(part) for _, part in some], dtype=object),
                field_data=columns,
                fields=np.array(names, dtype=object),
                driver="ESRI Shapefile",
                geometry_type=geometry_type,
                crs="EPSG:4326",
                encoding="UTF-8",
            )
        except (DataSourceError, DataLayerError, RuntimeError) as error:
            raise ExportError(f"The shapefile could not be written: {str(error).splitlines()[0]}") from error


def write_kml(path: Path, placed: Sequence[Placed], title: str, provenance: Provenance) -> None:
    """KML 2.2 with a coloured style for each class; code, colour and note are extended data.

    Written here rather than by GDAL, whose drivers leave out colours.
    """
    root = Element("kml", xmlns="http://www.opengis.net/kml/2.2")
    document = SubElement(root, "Document")
    SubElement(document, "name").text = title
    for klass in {p.feature.klass.id: p.feature.klass for p in placed}.values():
        blue_green_red = klass.color[5:7] + klass.color[3:5] + klass.color[1:3]
        style = SubElement(document, "Style", id=f"class{klass.id}")
        for part, opacity in (("IconStyle", "ff"), ("LineStyle", "ff"), ("PolyStyle", "80")):
            SubElement(SubElement(style, part), "color").text = opacity + blue_green_red
    for p in placed:
        label, klass = p.feature.label, p.feature.klass
        mark = SubElement(document, "Placemark")
        SubElement(mark, "name").text = klass.name
        SubElement(mark, "styleUrl").text = f"#class{klass.id}"
        data = SubElement(mark, "ExtendedData")
        told = (("code", klass.code), ("color", klass.color), ("note", label.note), ("origin", origin_written(label)))
        for key, value in told:
            if value:
                SubElement(SubElement(data, "Data", name=key), "value").text = value
        _kml_geometry(mark, p.shape)
    write_text(path, xml_text(root, '<?xml version="1.0" encoding="UTF-8"?>\n'))


def _kml_geometry(parent: Element, shape: Any) -> None:
    import shapely

    parts = shapely.get_parts(shape)
    parent = SubElement(parent, "MultiGeometry") if len(parts) > 1 else parent
    for part in parts:
        if part.geom_type == "Point":
            SubElement(SubElement(parent, "Point"), "coordinates").text = f"{part.x!r},{part.y!r}"
            continue
        polygon = SubElement(parent, "Polygon")
        for number, ring in enumerate((part.exterior, *part.interiors)):
            boundary = SubElement(polygon, "innerBoundaryIs" if number else "outerBoundaryIs")
            corners = " ".join(f"{x!r},{y!r}" for x, y in ring.coords)
            SubElement(SubElement(boundary, "LinearRing"), "coordinates").text = corners


def write_tee_geojson(path: Path, placed: Sequence[Placed], title: str, provenance: Provenance) -> None:
    """GeoJSON as TEE imports it: points and polygons of one ring, with ``name``, ``code``, ``color`` and ``type``."""
    import shapely

    features = [
        {
            "type": "Feature",
            "geometry": shapely.geometry.mapping(outline),
            "properties": {
                "name": p.feature.klass.name,
                "code": p.feature.klass.code or None,
                "color": p.feature.klass.color,
                "type": "point" if p.is_point else "polygon",
            },
        }
        for p in placed
        for outline in p.outlines()
    ]
    _write_json(path, {"type": "FeatureCollection", "features": features})


def write_tee_manual(path: Path, placed: Sequence[Placed], title: str, provenance: Provenance) -> None:
    """TEE's file of manual labels, without embeddings; the place of an area is one inside it, its ring is left open."""
    import shapely

    labels = []
    for p in placed:
        klass = p.feature.klass
        for outline in p.outlines():
            place = shapely.point_on_surface(outline)
            ring = None if p.is_point else [[lat, lon] for lon, lat in outline.exterior.coords[:-1]]
            labels.append(
                {
                    "name": klass.name,
                    "color": klass.color,
                    "code": klass.code or None,
                    "type": "point" if p.is_point else "polygon",
                    "lat": place.y,
                    "lon": place.x,
                    "vertices": ring,
                    "embedding": None,
                    "embeddings": None,
                    "polygonMode": None,
                    "threshold": 0,
                    "matchCount": 0,
                    "pixelCount": len(p.pixels),
                }
            )
    envelope = {
        "viewport": title,
        "year": str(provenance.year or ""),
        "embedding_version": provenance.version or None,
        "schema": "none",
    }
    _write_json(path, envelope | {"labels": labels})


def write_notebook(path: Path, placed: Sequence[Placed], title: str, provenance: Provenance) -> None:
    """The notebook classifier's file: points as ``[[lat, lon], "class"]`` and a colour for each class."""
    points = [[[float(lat), float(lon)], p.feature.klass.name] for p in placed for lon, lat in p.chosen_pixels()]
    colors = {p.feature.klass.name: p.feature.klass.color for p in placed}
    _write_json(path, {"training_points": points, "class_color_map": colors})


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
