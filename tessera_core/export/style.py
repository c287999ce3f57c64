"""QGIS styles (.qml), so that maps and labels open in the colours and names they have in the studio.

The writers of rasters call :func:`write_style`, so that no file leaves without one. Renderers are elements of their own, because
a project file holds the same ones.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

from tessera_core._utils.atomic import write_text
from tessera_core.export.xmltext import xml_text
from tessera_core.labels.model import LabelClass
from tessera_core.render.colormap import Scale, hexes

# Told by a style that we wrote from one that a person saved beside the raster.
MARK = "<!-- Written by Tessera Studio, and written anew with its raster. -->"
_HEADER = f"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n{MARK}\n"
_COLOURS = 33

Stops = Sequence[tuple[float, str]]


def write_style(raster: str | Path, style: Element | str) -> Path | None:
    """Write ``NAME.qml`` beside ``NAME.tif``, which QGIS opens the raster with.

    Args:
        raster: path of the raster.
        style: a renderer of this module's, or the text of one of its styles.

    Returns:
        The style; None where a style that a person made lies there, which is left as it is.

    Raises:
        ExportError: it cannot be written.
    """
    path = Path(raster).with_suffix(".qml")
    head = path.read_bytes()[:1000] if path.is_file() else b""
    # An empty one, or one cut short in its header, was ours when the power failed.
    if MARK.encode() not in head and not _HEADER.encode().startswith(head):
        return None
    write_text(path, style if isinstance(style, str) else raster_qml(style), flushed=False)
    return path


def raster_qml(renderer: Element) -> str:
    """The style of a raster as QGIS saves it."""
    root = Element("qgis", version="3.22", styleCategories="Symbology")
    SubElement(root, "pipe").append(renderer)
    return xml_text(root, _HEADER)


# A folder of a thousand tiles has the same three styles again and again.
@functools.lru_cache(maxsize=16)
def classes_style(classes: tuple[LabelClass, ...]) -> str:
    """The style of :func:`classes_renderer`."""
    return raster_qml(classes_renderer(classes))


@functools.lru_cache(maxsize=1)
def confidence_style() -> str:
    """The style of :func:`confidence_renderer`."""
    return raster_qml(confidence_renderer())


@functools.lru_cache(maxsize=16)
def stops_style(stops: tuple[tuple[float, str], ...], unit: str = "") -> str:
    """The style of :func:`stops_renderer`."""
    return raster_qml(stops_renderer(stops, unit))


def classes_renderer(classes: Iterable[LabelClass]) -> Element:
    """One palette entry a class, named; 0 is transparent."""
    renderer = Element("rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1", nodataColor="")
    palette = SubElement(renderer, "colorPalette")
    for c in classes:
        SubElement(palette, "paletteEntry", value=str(c.id), label=c.name, color=c.color, alpha="255")
    return renderer


def confidence_renderer() -> Element:
    """Percent from 0 to 100 in the colours of amounts, dark to light."""
    return stops_renderer(even_stops(Scale(0.0, 100.0), "amount"), "%")


def values_renderer(scale: Scale, colormap: str = "amount", unit: str = "") -> Element:
    """Numbers in one of the studio's colour maps, as the page shows them.

    Args:
        scale: which numbers its ends stand for.
        colormap: name of it, see :func:`tessera_core.render.colormap.colormap`.
        unit: written after the numbers of the legend.
    """
    return stops_renderer(even_stops(scale, colormap), unit)


def even_stops(scale: Scale, colormap: str) -> list[tuple[float, str]]:
    """Numbers at even distances from one end of a scale to the other, with the colour map's colours."""
    colours = hexes(colormap, _COLOURS)
    step = (scale.high - scale.low) / (len(colours) - 1)
    return [(scale.low + step * number, colour) for number, colour in enumerate(colours)]


def stops_renderer(stops: Stops, unit: str = "") -> Element:
    """Colours at numbers (rising, two at least), blended between; what lies beyond has the colour of the end."""
    low, high = stops[0][0], stops[-1][0]
    ends = {"classificationMin": repr(low), "classificationMax": repr(high)}
    attributes = {"type": "singlebandpseudocolor", "band": "1", "opacity": "1", "alphaBand": "-1", "nodataColor": ""}
    renderer = Element("rasterrenderer", {**attributes, **ends})
    options = {"colorRampType": "INTERPOLATED", "classificationMode": "1", "clip": "0", "labelPrecision": "4"}
    limits = {"minimumValue": repr(low), "maximumValue": repr(high)}
    shader = SubElement(SubElement(renderer, "rastershader"), "colorrampshader", {**options, **limits})
    shader.append(_colormap(stops))
    for value, colour in stops:
        label = f"{value:.4g} {unit}".strip()
        SubElement(shader, "item", value=repr(value), color=colour, alpha="255", label=label)
    legend = {
        "useContinuousLegend": "1",
        "direction": "0",
        "orientation": "2",
        "prefix": "",
        "suffix": f" {unit}".rstrip(),
    }
    SubElement(shader, "rampLegendSettings", {**legend, "minimumLabel": "", "maximumLabel": ""})
    return renderer


def _colormap(stops: Stops) -> Element:
    """The colours without their numbers: what QGIS classifies anew with."""
    low, high = stops[0][0], stops[-1][0]
    between = ":".join(f"{(value - low) / (high - low):.6g};{_rgba(colour)}" for value, colour in stops[1:-1])
    colormap = Element("colorramp", type="gradient", name="[source]")
    options = SubElement(colormap, "Option", type="Map")
    texts = {"color1": _rgba(stops[0][1]), "color2": _rgba(stops[-1][1]), "discrete": "0", "rampType": "gradient"}
    for name, value in (texts | {"stops": between}).items():
        SubElement(options, "Option", name=name, type="QString", value=value)
        SubElement(colormap, "prop", k=name, v=value)
    return colormap


def _rgba(colour: str, alpha: int = 255) -> str:
    red, green, blue = (int(colour[n : n + 2], 16) for n in (1, 3, 5))
    return f"{red},{green},{blue},{alpha}"


def labels_qml(classes: Iterable[LabelClass], *, point: bool) -> str:
    """Style of a label layer, by ``class_id``."""
    root = Element("qgis", version="3.22", styleCategories="Symbology")
    root.append(labels_renderer(classes, point=point))
    return xml_text(root, _HEADER)


def labels_renderer(classes: Iterable[LabelClass], *, point: bool) -> Element:
    """Labels by ``class_id``: points or areas in the colour of their class."""
    renderer = Element(
        "renderer-v2", type="categorizedSymbol", attr="class_id", symbollevels="0", enableorderby="0", forceraster="0"
    )
    categories, symbols = SubElement(renderer, "categories"), SubElement(renderer, "symbols")
    for number, c in enumerate(classes):
        SubElement(
            categories, "category", value=str(c.id), label=c.name, symbol=str(number), render="true", type="long"
        )
        options = {"outline_color": "35,35,35,255", "outline_width": "0.3"}
        if point:
            options |= {"color": _rgba(c.color), "name": "circle", "size": "2.4"}
        else:
            options |= {"color": _rgba(c.color, 150), "style": "solid"}
        _symbol(symbols, str(number), options, point=point)
    return renderer


def plots_renderer(*, point: bool) -> Element:
    """Field plots: one symbol, hollow, so that the map shows under it."""
    renderer = Element("renderer-v2", type="singleSymbol", symbollevels="0", enableorderby="0", forceraster="0")
    symbols = SubElement(renderer, "symbols")
    options = {"outline_color": "35,35,35,255", "outline_width": "0.4", "color": "255,255,255,110"}
    options |= {"name": "circle", "size": "2.6"} if point else {"style": "solid"}
    _symbol(symbols, "0", options, point=point)
    return renderer


def _symbol(symbols: Element, name: str, options: dict[str, str], *, point: bool) -> None:
    attributes = {"alpha": "1", "clip_to_extent": "1", "force_rhr": "0"}
    symbol = SubElement(symbols, "symbol", {"name": name, "type": "marker" if point else "fill", **attributes})
    kind = {"class": "SimpleMarker" if point else "SimpleFill", "enabled": "1", "pass": "0", "locked": "0"}
    layer = SubElement(symbol, "layer", kind)
    group = SubElement(layer, "Option", type="Map")
    for key, value in options.items():
        SubElement(group, "Option", name=key, value=value, type="QString")
        SubElement(layer, "prop", k=key, v=value)
