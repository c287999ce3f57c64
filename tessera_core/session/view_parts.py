"""What a view map shows and what people do on it: plain values, no Streamlit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tessera_core.types import BBox, LonLat

Tool = Literal["click", "box", "polygon"]
Kind = Literal["click", "box", "polygon", "marker", "outline"]


@dataclass(frozen=True)
class ColourScale:
    """Which numbers a layer's colours stand for: the map shows a bar, and the number under the pointer.

    Attributes:
        low, high: numbers of the first and the last colour.
        colours: ``"#rrggbb"``, evenly from low to high; exactly those of the picture.
        unit: written after numbers.
        sign: written before a number, such as "±".
        below, above: whether the ends also stand for numbers beyond.
    """

    low: float
    high: float
    colours: tuple[str, ...]
    unit: str = ""
    sign: str = ""
    below: bool = False
    above: bool = False


@dataclass(frozen=True)
class Layer:
    """A picture on the map's display grid, or on a map of the world where ``bounds`` say.

    Attributes:
        name: names the layer within the map.
        title: what people read.
        png: encoded on the map's display grid (``render.picture.encode_picture`` or ``render.palette``); or what makes it, called
            only once the layer is looked at, so that nobody waits for pictures that nobody sees. That may answer None for
            "not yet"; the page runs again when it is ready.
        version: changes when the picture does; only then is it drawn anew.
        opacity: 0..1, to begin with; people may change it.
        visible: to begin with; people may change it.
        legend: ``(colour "#rrggbb", text)`` entries shown while the layer is.
        group: of the ``"base"`` layers one is shown at a time; ``"overlay"`` ones lie above, in the order given.
        scale: where the colours are numbers.
        bounds: ``(west, south, east, north)`` in EPSG:3857 metres, of a picture on a map that has no display grid.
        coded: whether each colour is that of one entry of the legend, which is then said under the pointer.
    """

    name: str
    title: str
    png: bytes | Callable[[], bytes | None] = field(repr=False)
    version: str
    opacity: float = 1.0
    visible: bool = True
    legend: tuple[tuple[str, str], ...] = ()
    group: Literal["overlay", "base"] = "overlay"
    scale: ColourScale | None = None
    bounds: BBox | None = None
    coded: bool = False


@dataclass(frozen=True)
class Marker:
    """A marked place, by scene pixel or by longitude and latitude (degrees).

    Attributes:
        id: told back when people click it.
        row, col: fractional scene pixels; the middle of pixel (3, 5) is (3.5, 5.5).
        lon, lat: degrees, used where ``row`` is None.
        label: printed in it (``"number"``) or beside it.
        colour: ``"#rrggbb"``.
        text: shown when pointed at.
        kind: how it looks.
    """

    id: str
    row: float | None = None
    col: float | None = None
    lon: float | None = None
    lat: float | None = None
    label: str = ""
    colour: str = "#d55e00"
    text: str = ""
    kind: Literal["dot", "pin", "number"] = "dot"


@dataclass(frozen=True)
class Outline:
    """A shape drawn as lines.

    Attributes:
        id: told back when people click it.
        geojson: a geometry or feature in degrees: Polygon, MultiPolygon, LineString or MultiLineString.
        colour: ``"#rrggbb"``.
        fill: opacity of its inside, 0 = only lines (which then cannot be clicked).
        text: shown when pointed at.
    """

    id: str
    geojson: dict[str, Any]
    colour: str = "#0f766e"
    fill: float = 0.0
    text: str = ""


@dataclass(frozen=True)
class MapContent:
    """What lies on a map.

    Attributes:
        layers: pictures, lowest first.
        markers, outlines: drawn above the layers.
    """

    layers: Sequence[Layer] = ()
    markers: Sequence[Marker] = ()
    outlines: Sequence[Outline] = ()


@dataclass(frozen=True)
class Comparison:
    """Two layers that a map begins to compare, by name: with a divider, or ``beside`` each other as two maps."""

    left: str
    right: str
    beside: bool = False


@dataclass(frozen=True)
class MapLook:
    """How a map stands on its page.

    Attributes:
        title, subtitle: printed on the map.
        height: pixels; None fits the window.
        sticky: whether the map stays in sight while a long panel in the column beside it is scrolled.
        base_maps: whether base maps from the internet may be chosen (never shown unasked).
        world: whether land and borders are drawn below everything.
        link: name of a linked scatter (``ui.scatter``) whose points are highlighted here.
    """

    title: str = ""
    subtitle: str = ""
    height: int | None = None
    sticky: bool = False
    base_maps: bool = True
    world: bool = False
    link: str = ""


@dataclass(frozen=True)
class MapEvent:
    """Something a person did on the map.

    Attributes:
        id: unique within the session.
        kind: ``"click"``, ``"box"``, ``"polygon"``, or ``"marker"``/``"outline"`` for a click on one.
        lon, lat: degrees of the click (of the shape's middle); None where the scene has no place on Earth.
        row, col: fractional scene pixels, None without a scene; may lie off the scene.
        ring: corners of a box or polygon as (lon, lat), not closed; empty where degrees are not known.
        rows, cols: the same corners in fractional scene pixels; empty without a scene.
        target: id of the clicked marker or outline.
    """

    id: str
    kind: Kind
    lon: float | None = None
    lat: float | None = None
    row: float | None = None
    col: float | None = None
    ring: tuple[LonLat, ...] = ()
    rows: tuple[float, ...] = ()
    cols: tuple[float, ...] = ()
    target: str = ""
