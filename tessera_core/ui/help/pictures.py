"""Small pictures beside words of the glossary, drawn here as SVG in colours that are seen on a light and on a dark page."""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable, Iterable, Sequence

from tessera_core.language import later

WIDTH, HEIGHT = 132, 84
_WOOD, _FIELD, _WATER, _TOWN = "#2b8a57", "#dba82c", "#3f7fbf", "#c46a52"
_LINE, _SOFT = "#8a9496", "#8a949655"
_COLOURS = {"w": _WOOD, "f": _FIELD, "b": _WATER, "t": _TOWN, ".": _SOFT}
# A little landscape: woods, fields, a water, a town.
_LAND = ("wwwffff", "wwfffff", "wwffbbf", "ffffbbt", "fffffft")
_CELL = 16


def _square(x: float, y: float, side: float, colour: str, extra: str = "") -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{side:g}" height="{side:g}" fill="{colour}" {extra}/>'


def _dot(x: float, y: float, colour: str, radius: float = 4) -> str:
    return f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="{colour}" stroke="#ffffff" stroke-width="1"/>'


def _line(points: Sequence[tuple[float, float]], colour: str = _LINE, extra: str = "") -> str:
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" {extra}/>'


def _land(rows: Iterable[str] = _LAND, x: float = 10, y: float = 2, cell: float = _CELL, opacity: float = 1) -> str:
    squares = (
        _square(x + col * cell, y + row * cell, cell - 0.5, _COLOURS[kind], f'opacity="{opacity:g}"')
        for row, kinds in enumerate(rows)
        for col, kind in enumerate(kinds)
    )
    return "".join(squares)


def _pixel() -> str:
    return _land() + '<rect x="58" y="34" width="15.5" height="15.5" fill="none" stroke="#ffffff" stroke-width="3"/>'


def _embeddings() -> str:
    bars = "".join(
        f'<rect x="{70 + 9 * n}" y="{42 - 30 * v:g}" width="7" height="{30 * v:g}" fill="{_WOOD}"/>'
        for n, v in enumerate((0.4, 0.9, 0.2, 0.7, 0.55, 0.8))
    )
    year = _line([(4, 62), (20, 58), (32, 36), (46, 30), (58, 52), (64, 60)], _WOOD)
    return year + bars + _line([(68, 42), (126, 42)]) + _line([(4, 70), (64, 70)])


def _labels() -> str:
    return _land(opacity=0.45) + _dot(26, 18, _WOOD, 6) + _dot(90, 18, _FIELD, 6) + _dot(82, 50, _WATER, 6)


def _class_map() -> str:
    return _land()


def _confidence() -> str:
    sure = (
        (9, 9, 5, 8, 9, 9, 9),
        (9, 5, 8, 9, 9, 8, 9),
        (8, 4, 9, 8, 5, 5, 8),
        (9, 9, 9, 9, 6, 4, 5),
        (9, 9, 9, 9, 9, 6, 5),
    )
    return "".join(
        _square(10 + col * _CELL, 2 + row * _CELL, _CELL - 0.5, _COLOURS[_LAND[row][col]], f'opacity="{value / 9:.2f}"')
        for row, values in enumerate(sure)
        for col, value in enumerate(values)
    )


def _held_out() -> str:
    ring = '<circle cx="90" cy="34" r="17" fill="none" stroke="#d6493f" stroke-width="2.5" stroke-dasharray="5 3"/>'
    return (
        _land(opacity=0.3)
        + _dot(26, 18, _WOOD)
        + _dot(34, 58, _FIELD)
        + _dot(60, 26, _FIELD)
        + ring
        + _dot(90, 34, _WATER)
    )


def _random_split() -> str:
    beside = _dot(58, 40, _FIELD) + _dot(70, 40, "#d6493f") + _dot(58, 52, _FIELD) + _dot(70, 52, _FIELD)
    return _land(opacity=0.3) + beside


def _by_chance() -> str:
    places = ((20, 12), (52, 8), (104, 22), (38, 42), (76, 30), (110, 66), (22, 70), (66, 62))
    return _land(opacity=0.4) + "".join(_dot(x, y, "#5b3fbf") for x, y in places)


def _corrected() -> str:
    def bar(y: float, length: float, colour: str, reach: float = 0) -> str:
        made = f'<rect x="14" y="{y:g}" width="{length:g}" height="16" fill="{colour}"/>'
        if not reach:
            return made
        middle, end = y + 8, 14 + length
        ends = (_line([(end + side * reach, middle - 5), (end + side * reach, middle + 5)]) for side in (-1, 1))
        return made + _line([(end - reach, middle), (end + reach, middle)]) + "".join(ends)

    return bar(14, 88, _FIELD) + bar(48, 68, _FIELD, 14) + _line([(14, 6), (14, 76)])


def _range() -> str:
    ends = _line([(34, 30), (34, 54)]) + _line([(112, 30), (112, 54)])
    return _line([(34, 42), (112, 42)]) + ends + _dot(82, 42, _WOOD, 7) + _line([(6, 70), (126, 70)], _SOFT)


def _scatter() -> str:
    clouds = (((26, 24), (34, 18), (38, 30), (28, 34), (44, 22)), ((92, 28), (100, 36), (88, 40), (104, 24), (96, 18)),
              ((54, 64), (64, 58), (70, 68), (60, 72), (76, 60)))  # fmt: skip
    return "".join(
        _dot(x, y, colour) for dots, colour in zip(clouds, (_WOOD, _FIELD, _WATER), strict=True) for x, y in dots
    )


def _tile() -> str:
    frames = "".join(
        f'<rect x="{10 + 37 * col:g}" y="{2 + 40 * row:g}" width="37" height="40" fill="none" stroke="{_LINE}" stroke-width="2"/>'
        for row in range(2)
        for col in range(3)
        if (row, col) != (1, 2)
    )
    return _land(opacity=0.4) + f'<rect x="84" y="42" width="38" height="42" fill="{_LINE}" opacity=".5"/>' + frames


def _false_alarms() -> str:
    marks = "".join(
        f'<rect x="{x}" y="{y}" width="15" height="15" fill="none" stroke="{colour}" stroke-width="3"/>'
        for x, y, colour in ((27, 3, "#d6493f"), (75, 35, "#d6493f"), (43, 51, _LINE))
    )
    return _land(opacity=0.4) + marks


def _differences() -> str:
    dots = ((20, 66), (34, 60), (46, 46), (60, 50), (74, 34), (90, 30), (108, 14))
    return _line([(12, 74), (118, 8)], extra='stroke-dasharray="4 3"') + "".join(_dot(x, y, _WOOD) for x, y in dots)


# By term: what is drawn, and what it shows for those who do not see it.
_DRAWN: dict[str, tuple[Callable[[], str], str]] = {
    "pixel": (_pixel, later("A map of squares; one is marked.")),
    "embeddings": (_embeddings, later("A curve through a year, and beside it the row of numbers made of it.")),
    "label": (_labels, later("A pale map with three coloured points on it.")),
    "class map": (_class_map, later("A map in which every square has the colour of its class.")),
    "confidence": (_confidence, later("The same map, strong where it is sure and pale along borders.")),
    "held out": (_held_out, later("Points on a map; one is ringed and left out.")),
    "random split": (_random_split, later("The tested point lies right beside those that were learnt from.")),
    "checked by chance": (_by_chance, later("Points spread over a map by chance.")),
    "corrected area": (_corrected, later("Two bars: as counted on the map, and shorter, with a range, as corrected.")),
    "95 % sure": (_range, later("A point on a line, and the range around it.")),
    "scatter": (_scatter, later("Dots in three clouds.")),
    "groups": (_scatter, later("Dots in three clouds.")),
    "tile": (_tile, later("A map in six pieces, one of them missing.")),
    "false alarms": (_false_alarms, later("Three marked squares: two have changed, one has not.")),
    "differences explained": (_differences, later("Dots along a line: what the map says, against what was measured.")),
}


@functools.cache
def picture(term: str) -> str:
    """An ``<img>`` of a term, with words for those who do not see it; empty where a picture does not help."""
    if term not in _DRAWN:
        return ""
    draw, told = _DRAWN[term]
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">{draw()}</svg>'
    data = base64.b64encode(svg.encode()).decode()
    return f'<img alt="{told}" width="{WIDTH}" height="{HEIGHT}" src="data:image/svg+xml;base64,{data}">'
