"""QGIS styles (.qml), so that maps and labels open in the colours and names they have in the studio."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from tessera_core.labels.model import LabelClass

_HEADER = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"


def class_map_qml(classes: Iterable[LabelClass]) -> str:
    """Style of a class map: one palette entry a class, named; 0 is transparent."""
    root = Element("qgis", version="3.22", styleCategories="Symbology")
    renderer = SubElement(
        SubElement(root, "pipe"), "rasterrenderer", type="paletted", band="1", opacity="1", nodataColor=""
    )
    palette = SubElement(renderer, "colorPalette")
    for c in classes:
        SubElement(palette, "paletteEntry", value=str(c.id), label=c.name, color=c.color, alpha="255")
    return _text(root)


def confidence_qml() -> str:
    """Style of a confidence raster: grey ramp from 0 to 100 percent."""
    root = Element("qgis", version="3.22", styleCategories="Symbology")
    renderer = SubElement(
        SubElement(root, "pipe"),
        "rasterrenderer",
        type="singlebandgray",
        grayBand="1",
        gradient="BlackToWhite",
        opacity="1",
    )
    stretch = SubElement(renderer, "contrastEnhancement")
    for tag, text in (("minValue", "0"), ("maxValue", "100"), ("algorithm", "StretchToMinimumMaximum")):
        SubElement(stretch, tag).text = text
    return _text(root)


def values_qml(low: float, high: float, colours: Sequence[str], unit: str = "") -> str:
    """Style of a raster of numbers: colours from ``low`` to ``high``, evenly spaced, blended between.

    Args:
        colours: ``"#rrggbb"``, two at least.
        unit: written after the numbers of the legend.
    """
    root = Element("qgis", version="3.22", styleCategories="Symbology")
    ends = {"classificationMin": repr(low), "classificationMax": repr(high)}
    renderer = SubElement(
        SubElement(root, "pipe"),
        "rasterrenderer",
        {"type": "singlebandpseudocolor", "band": "1", "opacity": "1", "alphaBand": "-1", "nodataColor": "", **ends},
    )
    options = {"colorRampType": "INTERPOLATED", "classificationMode": "2", "clip": "0", "labelPrecision": "4"}
    limits = {"minimumValue": repr(low), "maximumValue": repr(high)}
    shader = SubElement(SubElement(renderer, "rastershader"), "colorrampshader", {**options, **limits})
    for number, colour in enumerate(colours):
        value = low + (high - low) * number / (len(colours) - 1)
        SubElement(shader, "item", value=repr(value), color=colour, alpha="255", label=f"{value:.4g} {unit}".strip())
    return _text(root)


def labels_qml(classes: Iterable[LabelClass], *, point: bool) -> str:
    """Style of a label layer, by ``class_id``."""
    root = Element("qgis", version="3.22", styleCategories="Symbology")
    renderer = SubElement(
        root, "renderer-v2", type="categorizedSymbol", attr="class_id", symbollevels="0", enableorderby="0"
    )
    categories, symbols = SubElement(renderer, "categories"), SubElement(renderer, "symbols")
    for number, c in enumerate(classes):
        SubElement(
            categories, "category", value=str(c.id), label=c.name, symbol=str(number), render="true", type="long"
        )
        red, green, blue = (int(c.color[n : n + 2], 16) for n in (1, 3, 5))
        options = {"outline_color": "35,35,35,255", "outline_width": "0.3"}
        if point:
            options |= {"color": f"{red},{green},{blue},255", "name": "circle", "size": "2.4"}
        else:
            options |= {"color": f"{red},{green},{blue},150", "style": "solid"}
        symbol = SubElement(
            symbols,
            "symbol",
            name=str(number),
            type="marker" if point else "fill",
            alpha="1",
            clip_to_extent="1",
            force_rhr="0",
        )
        layer = SubElement(
            symbol,
            "layer",
            {"class": "SimpleMarker" if point else "SimpleFill", "enabled": "1", "pass": "0", "locked": "0"},
        )
        group = SubElement(layer, "Option", type="Map")
        for key, value in options.items():
            SubElement(group, "Option", name=key, value=value, type="QString")
            SubElement(layer, "prop", k=key, v=value)
    return _text(root)


def _text(root: Element) -> str:
    ElementTree.indent(root)
    return _HEADER + ElementTree.tostring(root, encoding="unicode") + "\n"
