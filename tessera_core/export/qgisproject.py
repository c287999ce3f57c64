"""A QGIS project (.qgz): rasters and GeoPackage layers of its own folder, grouped, styled, and on the map's extent.

Paths are relative, so the folder can be moved and handed on. Knows the project file's format and nothing of maps.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree.ElementTree import Element, SubElement

from tessera_core._utils.atomic import atomic_path
from tessera_core.export.xmltext import xml_text
from tessera_core.grid import Grid

_HEADER = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
# The oldest release that reads what is written here; newer ones read it, too.
_VERSION = "3.22.0"
_MARGIN = 0.03


@dataclass(frozen=True)
class ProjectLayer:
    """A layer of a project.

    Attributes:
        file: name of the file in the project's folder.
        title: in the list of layers.
        renderer: ``rasterrenderer`` or ``renderer-v2`` of :mod:`tessera_core.export.style`.
        group: name of its group.
        table: layer of a GeoPackage; empty for a raster.
        geometry: of the table.
        shown: whether it is visible when the project opens.
    """

    file: str
    title: str
    renderer: Element
    group: str
    table: str = ""
    geometry: Literal["Point", "Polygon"] = "Polygon"
    shown: bool = True

    @property
    def source(self) -> str:
        """Of the layer, relative to the project."""
        return f"./{self.file}|layername={self.table}" if self.table else f"./{self.file}"

    @property
    def id(self) -> str:
        """That the parts of a project file name the layer by; QGIS takes none of ten characters or fewer."""
        name = f"{self.file}_{self.table}" if self.table else self.file
        return "tessera_studio_" + "".join(c if c.isalnum() and c.isascii() else "_" for c in name)


def write_qgz(path: str | Path, title: str, layers: Sequence[ProjectLayer], grid: Grid) -> Path:
    """Write a project.

    Args:
        path: of the ``.qgz`` file, in the folder of the layers.
        title: of the window.
        layers: top one first; groups stand in the order of their first layers.
        grid: gives coordinate system and extent.

    Raises:
        ExportError: it cannot be written.
    """
    path = Path(path)
    text = project_xml(title, layers, grid)
    with atomic_path(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{path.stem}.qgs", text)
    return path


def project_xml(title: str, layers: Sequence[ProjectLayer], grid: Grid) -> str:
    """The project as XML, what a ``.qgs`` file holds; see :func:`write_qgz`."""
    root = Element("qgis", version=_VERSION, projectname=title)
    SubElement(root, "homePath", path="")
    SubElement(root, "title").text = title
    if grid.georeferenced:
        SubElement(root, "projectCrs").append(_crs(grid))
    _tree(root, layers)
    canvas = SubElement(root, "mapcanvas", name="theMapCanvas", annotationsVisible="1")
    SubElement(canvas, "units").text = "meters" if grid.georeferenced else "unknown"
    canvas.append(_extent(grid))
    SubElement(canvas, "rotation").text = "0"
    if grid.georeferenced:
        SubElement(canvas, "destinationsrs").append(_crs(grid))
    listed = SubElement(root, "projectlayers")
    for layer in layers:
        listed.append(_layer(layer, grid))
    order = SubElement(root, "layerorder")
    for layer in layers:
        SubElement(order, "layer", id=layer.id)
    paths = SubElement(SubElement(root, "properties"), "Paths")
    SubElement(paths, "Absolute", type="bool").text = "false"
    view = SubElement(root, "ProjectViewSettings", UseProjectScales="0", rotation="0")
    seen = SubElement(view, "DefaultViewExtent", {corner.tag: corner.text or "" for corner in _extent(grid)})
    if grid.georeferenced:
        seen.append(_crs(grid))
    return xml_text(root, _HEADER)


def _tree(root: Element, layers: Sequence[ProjectLayer]) -> None:
    tree = SubElement(root, "layer-tree-group")
    groups: dict[str, Element] = {}
    for layer in layers:
        if layer.group not in groups:
            names = {"name": layer.group, "expanded": "1", "checked": "Qt::Checked"}
            groups[layer.group] = SubElement(tree, "layer-tree-group", names)
        SubElement(
            groups[layer.group],
            "layer-tree-layer",
            id=layer.id,
            name=layer.title,
            source=layer.source,
            providerKey="ogr" if layer.table else "gdal",
            checked="Qt::Checked" if layer.shown else "Qt::Unchecked",
            expanded="1",
        )


def _layer(layer: ProjectLayer, grid: Grid) -> Element:
    vector = bool(layer.table)
    element = Element(
        "maplayer", type="vector" if vector else "raster", autoRefreshEnabled="0", styleCategories="AllStyleCategories"
    )
    if vector:
        element.set("geometry", layer.geometry)
    element.append(_extent(grid))
    for tag, text in (("id", layer.id), ("datasource", layer.source), ("layername", layer.title)):
        SubElement(element, tag).text = text
    if grid.georeferenced:
        SubElement(element, "srs").append(_crs(grid))
    provider = SubElement(element, "provider")
    provider.text = "ogr" if vector else "gdal"
    if vector:
        provider.set("encoding", "UTF-8")
        element.append(deepcopy(layer.renderer))
    else:
        SubElement(element, "pipe").append(deepcopy(layer.renderer))
    SubElement(element, "blendMode").text = "0"
    return element


def _extent(grid: Grid) -> Element:
    west, south, east, north = grid.bounds
    x, y = _MARGIN * (east - west), _MARGIN * (north - south)
    extent = Element("extent")
    for tag, value in (("xmin", west - x), ("ymin", south - y), ("xmax", east + x), ("ymax", north + y)):
        SubElement(extent, tag).text = repr(value)
    return extent


def _crs(grid: Grid) -> Element:
    from pyproj import CRS

    crs = CRS.from_user_input(grid.crs)
    system = Element("spatialrefsys", nativeFormat="Wkt")
    SubElement(system, "wkt").text = crs.to_wkt()
    code = crs.to_epsg()
    if code:
        SubElement(system, "srid").text = str(code)
        SubElement(system, "authid").text = f"EPSG:{code}"
    SubElement(system, "description").text = crs.name
    SubElement(system, "geographicflag").text = str(crs.is_geographic).lower()
    return system
