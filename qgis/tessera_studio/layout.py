"""A page to print: the class map with legend, table of areas, scale, north, and how far to trust it."""

from __future__ import annotations

from qgis.core import (
    QgsApplication,
    QgsLayoutFrame,
    QgsLayoutItemLabel,
    QgsLayoutItemLegend,
    QgsLayoutItemManualTable,
    QgsLayoutItemMap,
    QgsLayoutItemPicture,
    QgsLayoutItemScaleBar,
    QgsLayoutPoint,
    QgsLayoutSize,
    QgsLegendStyle,
    QgsMapLayerLegendUtils,
    QgsPrintLayout,
    QgsProject,
    QgsRectangle,
    QgsTableCell,
    QgsTextFormat,
    QgsUnitTypes,
)
from qgis.PyQt.QtCore import QDate, Qt
from qgis.PyQt.QtGui import QColor, QFont

MARGIN = 10
SIDE = 82
WIDTH, HEIGHT = 297, 210
MAP_WIDTH = WIDTH - 3 * MARGIN - SIDE
MAP_HEIGHT = HEIGHT - 20 - 22


def free_name(name):
    """The name, or the name with a number where a layout is called so already."""
    manager = QgsProject.instance().layoutManager()
    number, free = 1, name
    while manager.layoutByName(free) is not None:
        number += 1
        free = "{} {}".format(name, number)
    return free


def make_layout(layers):
    """The page of an open project that has a map; it is in QGIS's list of layouts afterwards."""
    project = QgsProject.instance()
    layout = QgsPrintLayout(project)
    layout.initializeDefaults()
    year = "" if layers.year is None else " {}".format(layers.year)
    layout.setName(free_name("{}{}".format(layers.name, year)))
    shown = [layers.map_layer]
    for node in layers.group.findLayers():
        if node.isVisible() and node.layer() is not None and node.name().startswith(("True colour", "Embeddings")):
            shown.append(node.layer())
    _text(layout, "{}{}".format(layers.name, year), MARGIN, 7, MAP_WIDTH, 10, 20, bold=True)
    map_item = QgsLayoutItemMap(layout)
    _place(layout, map_item, MARGIN, 20, MAP_WIDTH, MAP_HEIGHT)
    map_item.setLayers(shown)
    map_item.setKeepLayerSet(True)
    map_item.setCrs(layers.crs)
    map_item.setExtent(_fitting(layers.map_layer.extent(), MAP_WIDTH / MAP_HEIGHT))
    map_item.setFrameEnabled(True)
    x = WIDTH - MARGIN - SIDE
    legend = QgsLayoutItemLegend(layout)
    legend.setTitle("")
    legend.setAutoUpdateModel(False)
    root = legend.model().rootGroup()
    root.removeAllChildren()
    node = root.addLayer(layers.map_layer)
    # Only here: the layer keeps its name. The first line would be the name of the band.
    node.setCustomProperty("legend/title-label", "Classes")
    QgsMapLayerLegendUtils.setLegendNodeOrder(node, list(range(1, 1 + len(layers.classes))))
    legend.model().refreshLayerLegend(node)
    legend.setLinkedMap(map_item)
    for style, size in ((QgsLegendStyle.Subgroup, 11), (QgsLegendStyle.SymbolLabel, 9)):
        font = QFont()
        font.setPointSizeF(size)
        legend.setStyleFont(style, font)
    _place(layout, legend, x - 2, 18, SIDE, 60)
    legend.adjustBoxSize()
    below = 34 + 6.6 * len(layers.classes)
    below = _areas(layout, layers, x, below) + 6
    if layers.score and layers.score.get("sentences"):
        room = HEIGHT - 24 - below
        _text(layout, "\n".join(layers.score["sentences"][:3]), x, below, SIDE, room, 8)
    _scale(layout, map_item)
    north = QgsLayoutItemPicture(layout)
    arrows = QgsApplication.svgPaths()
    north.setPicturePath(next((p + "arrows/NorthArrow_02.svg" for p in arrows if p), ""))
    north.setLinkedMap(map_item)
    _place(layout, north, MARGIN + MAP_WIDTH - 14, 22, 12, 12)
    today = QDate.currentDate().toString(Qt.DateFormat.ISODate)
    source = "Embeddings: {}. Map made with Tessera Studio, {}.".format(layers.dataset, today)
    _text(layout, source, MARGIN, HEIGHT - 9, WIDTH - 2 * MARGIN, 5, 7)
    project.layoutManager().addLayout(layout)
    return layout


def _fitting(extent, ratio):
    """The extent with a little air, as wide to its height as the frame."""
    width, height = 1.04 * extent.width(), 1.04 * extent.height()
    width, height = max(width, height * ratio), max(height, width / ratio)
    x, y = extent.center().x(), extent.center().y()
    return QgsRectangle(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _place(layout, item, x, y, width, height):
    unit = QgsUnitTypes.LayoutMillimeters
    item.attemptMove(QgsLayoutPoint(x, y, unit))
    item.attemptResize(QgsLayoutSize(width, height, unit))
    layout.addLayoutItem(item)


def _text(layout, text, x, y, width, height, size, bold=False):
    item = QgsLayoutItemLabel(layout)
    item.setText(text)
    font = QFont()
    font.setPointSizeF(size)
    font.setBold(bold)
    item.setFont(font)
    item.setHAlign(Qt.AlignmentFlag.AlignLeft)
    _place(layout, item, x, y, width, height)
    return item


def _short(name, most=22):
    return name if len(name) <= most else name[: most - 1].rstrip() + "…"


def _areas(layout, layers, x, y):
    """The table of areas; returns where it ends."""
    unit = "Hectares" if layers.answer["unit"] == "ha" else "Pixels"
    rows = [c for c in layers.classes if c.get("area") is not None]
    total = sum(c["area"] for c in rows) or 1
    table = QgsLayoutItemManualTable.create(layout)
    layout.addMultiFrame(table)
    cells = [[QgsTableCell("Class"), QgsTableCell(unit), QgsTableCell("Share")]]
    for c in rows:
        area = "{:,.1f}".format(c["area"]) if unit == "Hectares" else "{:,.0f}".format(c["area"])
        cells.append(
            [
                QgsTableCell(_short(c["name"])),
                QgsTableCell(area),
                QgsTableCell("{:.1f} %".format(100 * c["area"] / total)),
            ]
        )
    for row in cells:
        for cell in row[1:]:
            cell.setHorizontalAlignment(Qt.AlignmentFlag.AlignRight)
    for cell in cells[0]:
        cell.setBackgroundColor(QColor("#eeeeee"))
    for name, bold in (("setContentTextFormat", False), ("setHeaderTextFormat", True)):
        text, font = QgsTextFormat(), QFont()
        font.setBold(bold)
        text.setFont(font)
        text.setSize(8)
        getattr(table, name)(text)
    table.setTableContents(cells)
    table.setColumnWidths([SIDE - 54.0, 26.0, 20.0])
    table.setGridStrokeWidth(0.1)
    frame = QgsLayoutFrame(layout, table)
    height = 6.2 * len(cells) + 1
    unit_mm = QgsUnitTypes.LayoutMillimeters
    frame.attemptMove(QgsLayoutPoint(x, y, unit_mm))
    frame.attemptResize(QgsLayoutSize(SIDE, min(height, HEIGHT - y - 30), unit_mm))
    table.addFrame(frame)
    return y + height


def _scale(layout, map_item):
    bar = QgsLayoutItemScaleBar(layout)
    bar.setStyle("Single Box")
    bar.setLinkedMap(map_item)
    bar.applyDefaultSize()
    _place(layout, bar, MARGIN, HEIGHT - 21, 80, 10)
