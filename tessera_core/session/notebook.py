"""A map of embeddings, labels and what was made of them in a notebook, by leafmap; ``EmbeddingRaster.explore`` is this.

Pictures travel inside the notebook, so that nothing is asked of the network unless a base map is named, and no server runs. What a
click says needs the kernel; the pictures, their opacity and the divider do not.
"""

from __future__ import annotations

import warnings
from base64 import b64encode
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.percents import percent
from tessera_core.analysis.change import NO_LEVEL
from tessera_core.assess.reference import Reference
from tessera_core.errors import GridError, InputError
from tessera_core.project.maps import RATE, MappedChange, MappedClasses, MappedValues
from tessera_core.raster import EmbeddingRaster
from tessera_core.render.colormap import Scale, encode_values, hexes
from tessera_core.render.display import DisplayGrid
from tessera_core.render.picture import encode_picture, pca_picture
from tessera_core.session.base_maps import layer
from tessera_core.session.layers import classes_png, percent_png

# A picture of more pixels is thinned; a notebook is saved with its pictures.
MAX_PIXELS = 1_000_000
CHANGED = "#d62728"
BELOW, ABOVE = "tessera-below", "tessera-above"

Made = MappedClasses | MappedValues | MappedChange


def explore(
    raster: EmbeddingRaster,
    *,
    labels: Reference | None = None,
    made: Made | None = None,
    split: bool = False,
    base: str | None = None,
    height: str = "560px",
) -> Any:
    """See :meth:`~tessera_core.raster.EmbeddingRaster.explore`."""
    if raster.grid.crs is None:
        raise GridError("This raster has no georeference, so it cannot be shown on a map of the Earth; use .plot().")
    if made is not None and made.grid != raster.grid:
        raise InputError(
            f"The map ({made.grid.shape} pixels) is of another grid than the embeddings ({raster.shape}); take those it was "
            "made of."
        )
    if split and made is None:
        raise InputError("A divider needs a map on its other side; give map=.")
    import ipyleaflet
    import leafmap

    display = DisplayGrid(raster.grid, MAX_PIXELS)
    west, south, east, north = display.bounds_lonlat
    middle = ((south + north) / 2, (west + east) / 2)
    # The whole region on some 600 x 450 pixels of the map, by quarters of a level, which doubles its size.
    wide = np.log2(600 / 256 * 360 / (east - west))
    high = np.log2(450 / 256 * 360 * np.cos(np.radians(middle[0])) / (north - south))
    zoom = float(np.clip(np.floor(4 * min(wide, high)) / 4, 1, 19))
    with warnings.catch_warnings():
        # leafmap hands its own options on to ipyleaflet, which says that it does not know them.
        warnings.simplefilter("ignore", DeprecationWarning)
        shown = leafmap.Map(
            center=middle, zoom=zoom, zoom_snap=0.25, height=height, draw_control=False, toolbar_control=False
        )
    # leafmap begins with a base map from the internet; here there is one only where it was asked for.
    shown.layers = ()
    shown.panes = {BELOW: {"zIndex": 410}, ABOVE: {"zIndex": 420}}
    if base is not None:
        shown.add(layer(base))
    box = ((south, west), (north, east))

    def picture(name: str, png: bytes, pane: str, visible: bool = True) -> Any:
        # Opaque until somebody moves a slider: colours that shine through each other cannot be read.
        url = "data:image/png;base64," + b64encode(png).decode("ascii")
        return ipyleaflet.ImageOverlay(url=url, bounds=box, name=name, pane=pane, visible=visible)

    below = [picture("embeddings", encode_picture(pca_picture(raster), raster.valid(), display), BELOW)]
    # Confidence, or the like, lies above the map it belongs to and would hide it.
    above = [picture(name, png, ABOVE, n == 0) for n, (name, png) in enumerate(_pictures(made, display))]
    if labels is not None:
        above.append(picture("labels", _labels_png(labels, raster, display), ABOVE))
    for one in below + above:
        shown.add(one)
    if split:
        shown.add(ipyleaflet.SplitMapControl(left_layer=above[:1], right_layer=below))
    _answer_clicks(shown, raster, made, labels)
    if key := _key(made, labels):
        shown.add(ipyleaflet.WidgetControl(widget=_line(key), position="bottomleft"))
    shown.add_layer_manager(position="topright", opened=True)
    return shown


def said_of(raster: EmbeddingRaster, made: Made | None, labels: Reference | None, lon: float, lat: float) -> str:
    """What is known of a place, in a line of text; what a click on the map shows."""
    rows, cols = raster.grid.lonlat_to_pixel(lon, lat)
    if not raster.grid.inside(rows, cols):
        return "outside the region"
    row, col = int(rows), int(cols)
    parts = [f"row {row}, column {col}"]
    if not raster.valid(slice(row, row + 1))[0, col]:
        return f"{parts[0]}: no data"
    if isinstance(made, MappedClasses):
        name = made.names.get(int(made.classes[row, col]), "no class")
        parts.append(f"{name}, {int(made.confidence[row, col])} % sure")
    elif isinstance(made, MappedValues):
        parts.append(f"{made.name} {made.values[row, col]:.4g} ± {made.half_widths[row, col]:.2g}")
    elif made is not None:
        changed = "changed" if made.changed()[row, col] else "not changed"
        parts.append(f"{changed}, p = {made.layer.p_values()[row, col]:.2g}")
    if labels is not None:
        here = np.flatnonzero((labels.rows == row) & (labels.cols == col))
        parts += [f"labelled {labels.names[int(labels.y[i])]}" for i in here]
    return ": ".join([parts[0], "; ".join(parts[1:]) or "embeddings, no map"])


def _answer_clicks(shown: Any, raster: EmbeddingRaster, made: Made | None, labels: Reference | None) -> None:
    """A line in a corner that tells of the place clicked last."""
    import ipyleaflet

    line = _line("click for what is known of a place")

    def answer(**event: Any) -> None:
        if event.get("type") == "click":
            lat, lon = event["coordinates"]
            line.value = escape(said_of(raster, made, labels, lon, lat))

    shown.on_interaction(answer)
    shown.add(ipyleaflet.WidgetControl(widget=line, position="bottomright"))


def _pictures(made: Made | None, display: DisplayGrid) -> list[tuple[str, bytes]]:
    """Names and pictures of a map, what is looked at first in front."""
    if made is None:
        return []
    if isinstance(made, MappedClasses):
        colours = {c.id: c.color for c in made.legend}
        classes = classes_png(made.classes, colours, display)
        return [("classes", classes), ("confidence", percent_png(made.confidence, display))]
    if isinstance(made, MappedValues):
        return [
            (name, encode_values(display.warp(Scale.of(values).index(values)), colours))
            for name, values, colours in _layers_of(made)
        ]
    changed = np.where(made.layer.levels == NO_LEVEL, 0, made.changed(RATE)).astype(np.uint8)
    return [("changed", classes_png(changed, {1: CHANGED}, display))]


def _layers_of(made: MappedValues) -> tuple[tuple[str, NDArray[np.float32], str], ...]:
    """Name, values and colour map of the layers of a map of values."""
    return (made.name, made.values, "amount"), ("margin", made.half_widths, "uncertainty")


def _key(made: Made | None, labels: Reference | None) -> str:
    """What the colours mean, as HTML; empty where they mean nothing by themselves."""
    if isinstance(made, MappedValues):
        rows = []
        for name, values, colours in _layers_of(made):
            scale = Scale.of(values)
            low, high = ("≤ " * scale.below + f"{scale.low:.4g}", "≥ " * scale.above + f"{scale.high:.4g}")
            gradient = f"linear-gradient(to right, {', '.join(hexes(colours, 9))})"
            box = f'<span style="display:inline-block;width:8em;height:0.8em;background:{gradient}"></span>'
            rows.append(f"{escape(name)}: {low} {box} {high}")
        return "<br>".join(rows)
    if isinstance(made, MappedChange):
        meaning = [(CHANGED, f"changed, with up to {percent(RATE)} % false alarms")]
    else:
        known = made.legend if made is not None else () if labels is None else labels.classes
        meaning = [(one.color, one.name) for one in known]
    return "<br>".join(
        f'<span style="display:inline-block;width:0.9em;height:0.9em;background:{colour}"></span> {escape(name)}'
        for colour, name in meaning
    )


def _line(html: str) -> Any:
    """Text in a corner of the map."""
    import ipywidgets

    line = ipywidgets.HTML(html)
    line.layout.padding = "0 8px"
    # A map may have two hundred classes.
    line.layout.max_height, line.layout.overflow = "300px", "auto"
    return line


def _labels_png(labels: Reference, raster: EmbeddingRaster, display: DisplayGrid) -> bytes:
    pixels = np.zeros(raster.shape, np.uint8)
    pixels[labels.rows, labels.cols] = labels.y
    return classes_png(pixels, {c.id: c.color for c in labels.classes}, display)
