"""Rasters of one coordinate system as one: a GDAL virtual raster (VRT) that names them by relative paths and copies nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from tessera_core._utils.atomic import write_text
from tessera_core.errors import ExportError
from tessera_core.export.xmltext import xml_text
from tessera_core.gate import open_raster
from tessera_core.grid import Grid

_TYPES = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "float32": "Float32"}


def write_vrt(
    path: str | Path, files: Sequence[tuple[str | Path, Grid]], *, tags: Mapping[str, str] | None = None
) -> Path:
    """Write single-band rasters as one; where they overlap the last one with data shows.

    Args:
        path: the file, ``.vrt``.
        files: rasters with their grids, all of one CRS and pixel size, north up; kind of numbers, no data and colours are those of
            the first.
        tags: of the whole.

    Raises:
        ExportError: the grids do not fit together, or the file cannot be written.

    Example:
        >>> write_vrt("map.vrt", [("a.tif", grid_a), ("b.tif", grid_b)])  # doctest: +SKIP
    """
    path, (first_file, first) = Path(path), files[0]
    t = first.transform
    for file, grid in files:
        same = grid.crs == first.crs and np.allclose(list(grid.transform)[:2], list(t)[:2])
        if not same or not np.isclose(grid.transform.e, t.e) or grid.transform.d:
            raise ExportError(f"{Path(file).name} lies on another kind of grid than {Path(first_file).name}.")
    with open_raster(Path(first_file)) as source:
        kind, nodata = _TYPES[source.dtypes[0]], source.nodata
        colours = source.colormap(1) if source.colorinterp[0].name == "palette" else {}
        of_band = source.tags(1)
    west, north = min(g.transform.c for _, g in files), max(g.transform.f for _, g in files)
    east, south = max(g.bounds[2] for _, g in files), min(g.bounds[1] for _, g in files)
    root = ElementTree.Element(
        "VRTDataset", rasterXSize=str(round((east - west) / t.a)), rasterYSize=str(round((south - north) / t.e))
    )
    if first.crs is not None:
        ElementTree.SubElement(root, "SRS").text = first.crs
    ElementTree.SubElement(root, "GeoTransform").text = ", ".join(repr(v) for v in (west, t.a, 0.0, north, 0.0, t.e))
    band = ElementTree.SubElement(root, "VRTRasterBand", dataType=kind, band="1")
    for element, told in ((root, tags), (band, of_band)):
        if told:
            metadata = ElementTree.SubElement(element, "Metadata")
            for key, value in sorted(told.items()):
                ElementTree.SubElement(metadata, "MDI", key=key).text = value
    if nodata is not None:
        ElementTree.SubElement(band, "NoDataValue").text = repr(nodata)
    if colours:
        ElementTree.SubElement(band, "ColorInterp").text = "Palette"
        table = ElementTree.SubElement(band, "ColorTable")
        for _, (red, green, blue, alpha) in sorted(colours.items()):
            ElementTree.SubElement(table, "Entry", c1=str(red), c2=str(green), c3=str(blue), c4=str(alpha))
    for file, grid in files:
        source = ElementTree.SubElement(band, "ComplexSource")
        name = os.path.relpath(file, path.parent).replace(os.sep, "/")
        ElementTree.SubElement(source, "SourceFilename", relativeToVRT="1").text = name
        ElementTree.SubElement(source, "SourceBand").text = "1"
        size = {"xSize": str(grid.width), "ySize": str(grid.height)}
        ElementTree.SubElement(source, "SrcRect", {"xOff": "0", "yOff": "0", **size})
        offset = {
            "xOff": repr(round((grid.transform.c - west) / t.a, 6)),
            "yOff": repr(round((grid.transform.f - north) / t.e, 6)),
        }
        ElementTree.SubElement(source, "DstRect", {**offset, **size})
        if nodata is not None:
            ElementTree.SubElement(source, "NODATA").text = repr(nodata)
    write_text(path, xml_text(root))
    return path
