"""A map as a picture to take away: title, legend, scale, north, source and date about it, as PNG for a slide or PDF of one page.

One drawing for every picture that leaves the studio: of classes, of a number, of change, and the figure in the report. What is
drawn is in :class:`MapLayout`; :mod:`tessera_core.export.pictures` makes it from maps.
"""

from __future__ import annotations

import datetime as dt
import io
import threading
import warnings
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import atomic_path
from tessera_core.errors import ExportError
from tessera_core.grid import Grid
from tessera_core.language import day_text, relay, t
from tessera_core.provenance import SOFTWARE, Provenance
from tessera_core.render.colormap import Scale, colormap
from tessera_core.render.palette import rgb

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure

Picture = NDArray[np.uint8]

ENDINGS = (".png", ".pdf")
# Share of a class's colour over a photograph: both can be read.
OPACITY = 0.62
_MAX_SIDE = 1600
_INK, _GREY, _WARN, _LINE = "#1c2526", "#5b6567", "#a33600", "#9aa3a5"
_POINT = 1 / 72
_SMALLEST = 6.5
# Of what a computer may have, in this order, for names that the first cannot write.
_FONTS = (
    "DejaVu Sans",
    "Noto Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Droid Sans Fallback",
    "Arial Unicode MS",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "PingFang SC",
    "Hiragino Sans",
    "Nirmala UI",
)
# matplotlib draws in one thread at a time: its fonts and settings are shared.
_drawing = threading.Lock()


class Page(Enum):
    """What a picture is for: its size in inches, and whether it carries title and sentences."""

    SLIDE = (13.333, 7.5)
    SHEET = (8.27, 11.69)
    FIGURE = (12.0, 6.6)


@dataclass(frozen=True)
class Panel:
    """One map: uint8 (H, W, 3) on the layout's grid, and a heading where there are several."""

    picture: Picture
    title: str = ""


@dataclass(frozen=True)
class Key:
    """A line of the legend: colour ``"#rrggbb"``, name, and an amount that stands right of it."""

    colour: str
    name: str
    amount: str = ""


@dataclass(frozen=True)
class ColourBar:
    """The legend of a number: which numbers the colours of a colour map of :mod:`tessera_core.render.colormap` stand for."""

    title: str
    scale: Scale
    unit: str = ""
    name: str = "amount"


@dataclass(frozen=True)
class MapLayout:
    """All that a picture shows.

    Attributes:
        title, subtitle: above the map.
        panels: one map, or two beside each other.
        grid: of the maps.
        keys: the legend's classes.
        bar: the legend of a number, or None.
        legend: what stands above the legend.
        sentences: what is to be said of the map, the most important first; a slide has room for a few.
        source: where it comes from, with the date.
        warning: what nobody may overlook, such as that the landscape is made up.
    """

    title: str
    subtitle: str
    panels: tuple[Panel, ...]
    grid: Grid
    keys: tuple[Key, ...] = ()
    bar: ColourBar | None = None
    legend: str = ""
    sentences: tuple[str, ...] = ()
    source: str = ""
    warning: str = ""


def write_picture(path: str | Path, layout: MapLayout) -> Path:
    """Write a picture for a slide (``.png``, 16:9) or a page to print (``.pdf``, A4).

    Raises:
        ExportError: the ending is another one, or the file cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in ENDINGS:
        raise ExportError(f"{path.name} is no picture's name; end it with .png for a slide or .pdf for a page.")
    content = picture_bytes(layout, Page.SLIDE if kind == ".png" else Page.SHEET, kind[1:])
    with atomic_path(path) as part:
        part.write_bytes(content)
    return path


def picture_bytes(layout: MapLayout, page: Page = Page.SLIDE, kind: str = "png") -> bytes:
    """The picture as PNG or PDF.

    Args:
        page: its form; a ``FIGURE`` has map, legend, scale and north alone, for a text that says the rest.
        kind: ``"png"`` or ``"pdf"``.
    """
    with _drawing, warnings.catch_warnings():
        # A letter that no font of this computer has is drawn as a box; there is nothing else to be done about it.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = _draw(layout, page)
        file = io.BytesIO()
        # Without times of its own, so that the same map is the same file.
        told: dict[str, Any] = (
            {"CreationDate": None, "Title": layout.title} if kind == "pdf" else {"Title": layout.title}
        )
        figure.savefig(file, format=kind, dpi=144, facecolor="white", metadata=told)
    return file.getvalue()


def over(
    photo: Picture | None, classes: NDArray[np.uint8], colours: Mapping[int, str]
) -> tuple[Picture, dict[int, str]]:
    """Classes over a photograph, and the colours that they have there on the whole, for the legend.

    Args:
        photo: uint8 (H, W, 3), or None for plain colours.
        classes: uint8 (H, W), 0 = no data, which is white.
        colours: by class id.
    """
    plain = np.full((256, 3), 255, np.float32)
    for class_id, colour in colours.items():
        plain[class_id] = rgb(colour)
    if photo is None:
        return plain[classes].astype(np.uint8), dict(colours)
    mapped = classes > 0
    mean = photo[mapped].mean(0) if mapped.any() else np.full(3, 128.0)
    out = OPACITY * plain[classes] + (1 - OPACITY) * photo
    out[~mapped] = 255
    shown = {k: OPACITY * plain[k] + (1 - OPACITY) * mean for k in colours}
    return out.astype(np.uint8), {k: "#{:02x}{:02x}{:02x}".format(*c.astype(int).tolist()) for k, c in shown.items()}


def thinned(*pictures: NDArray[Any]) -> list[NDArray[Any]]:
    """Pictures of one size with so many rows and columns left out that none has more than 1600 along a side."""
    step = max(1, -(-max(pictures[0].shape[:2]) // _MAX_SIDE))
    return [np.ascontiguousarray(picture[::step, ::step]) for picture in pictures]


def source_line(provenance: Provenance, today: dt.date | None = None) -> str:
    """Where a map comes from, and when it was made, in one line."""
    day = today or dt.date.today()
    return t(
        "Embeddings: {title}, {origin}. Made with {software} on {day}.",
        title=provenance.title,
        origin=relay(provenance.origin),
        software=SOFTWARE,
        day=day_text(day),
    )


def scale_bar(across_m: float) -> tuple[float, str]:
    """A round length for a scale bar of a map that is ``across_m`` wide: metres and how it is written.

    >>> scale_bar(5120)
    (1000.0, '1 km')
    """
    wanted = across_m / 4
    power = 10.0 ** np.floor(np.log10(wanted))
    length = float(max(step * power for step in (1, 2, 5) if step * power <= wanted))
    return length, f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"


def north_angle(grid: Grid) -> float | None:
    """Degrees clockwise from the top of the map to north, at its middle; None where the place on Earth is not known."""
    if not grid.georeferenced:
        return None
    row, col = grid.height / 2, grid.width / 2
    lon, lat = grid.pixel_to_lonlat(row, col)
    rows, cols = grid.lonlat_to_pixel(lon, lat + 1e-3)
    angle = float(np.degrees(np.arctan2(float(cols) - col, row - float(rows))))
    return angle if np.isfinite(angle) else None


# ------------------------------------------------------------------ drawing


@dataclass
class _Sheet:
    """A page under the pen; inches from its top left corner."""

    axes: Axes
    renderer: RendererAgg
    family: list[str]
    width: float
    height: float
    margin: float = field(default=0.45)

    def text(self, x: float, y: float, text: str, size: float, **options: Any) -> None:
        """One line whose top left corner (unless told otherwise) lies at (x, y)."""
        known = {"color": _INK, "va": "top", "ha": "left"} | options
        self.axes.text(x, y, text, fontsize=size, family=self.family, parse_math=False, **known)

    def wide(self, text: str, size: float, weight: str = "normal") -> float:
        """Inches that a line takes."""
        from matplotlib.font_manager import FontProperties

        font = FontProperties(family=self.family, size=size, weight=weight)
        width, _, _ = self.renderer.get_text_width_height_descent(text or " ", font, ismath=False)
        return float(width) / float(self.renderer.dpi)

    def wrapped(self, text: str, size: float, room: float, weight: str = "normal") -> list[str]:
        """A text in lines that fit; a word that is longer than a line is broken."""
        lines, line = [], ""
        # A unit stays with its number.
        for word in " ".join(text.split()).replace(" %", "\u00a0%").split(" "):
            while word:
                longer = f"{line} {word}".strip()
                if self.wide(longer, size, weight) <= room:
                    line, word = longer, ""
                elif line:
                    lines.append(line)
                    line = ""
                else:
                    fits = max(
                        n for n in range(1, len(word) + 1) if n == 1 or self.wide(word[:n], size, weight) <= room
                    )
                    lines.append(word[:fits])
                    word = word[fits:]
        return [*lines, line] if line else lines

    def shortened(self, text: str, size: float, room: float) -> str:
        """A text cut to one line."""
        if self.wide(text, size) <= room:
            return text
        fits = self._fitting(text, size, room - self.wide("…", size))
        return f"{text[:fits].rstrip()}…"

    def _fitting(self, text: str, size: float, room: float, weight: str = "normal") -> int:
        """How many letters of a text fit."""
        return bisect_right(range(1, len(text) + 1), room, key=lambda n: self.wide(text[:n], size, weight))

    def paragraph(
        self, x: float, y: float, text: str, size: float, room: float, most: int = 99, **options: Any
    ) -> float:
        """A text in lines from (x, y) down; returns where the next may begin. What ``most`` lines cannot hold ends in dots."""
        weight = str(options.get("weight", "normal"))
        lines = self.wrapped(text, size, room, weight)
        if len(lines) > most:
            lines = [*lines[: most - 1], self.shortened(f"{lines[most - 1]}…", size, room)]
        for line in lines:
            self.text(x, y, line, size, **options)
            y += 1.32 * size * _POINT
        return y

    def box(self, x: float, y: float, width: float, height: float, colour: str, edge: str = "none") -> None:
        from matplotlib.patches import Rectangle

        self.axes.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor=edge, linewidth=0.6))

    def line(self, xs: Sequence[float], ys: Sequence[float], width: float = 1.4) -> None:
        self.axes.plot(xs, ys, color=_INK, linewidth=width, solid_capstyle="butt")


def _families() -> list[str]:
    from matplotlib.font_manager import fontManager

    there = {font.name for font in fontManager.ttflist}
    return [name for name in _FONTS if name in there]


def _draw(layout: MapLayout, page: Page) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = page.value
    figure = Figure(figsize=(width, height), dpi=144)
    renderer = FigureCanvasAgg(figure).get_renderer()
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    sheet = _Sheet(axes, renderer, _families(), width, height)
    if page is Page.SHEET:
        _tall(sheet, layout)
    else:
        _wide(sheet, layout, headed=page is Page.SLIDE)
    # Last: pictures set the limits of their axes.
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    return figure


def _wide(sheet: _Sheet, layout: MapLayout, *, headed: bool) -> None:
    """Map left, legend beside it."""
    edge, narrowest, widest = sheet.margin, 3.6, 5.4
    top = _head(sheet, layout, 24, 13) if headed else 0.15
    foot = sheet.height - (0.5 if headed else 0.1)
    end_x, _ = _maps(sheet, layout, edge, top, sheet.width - narrowest - 2 * edge - 0.35, foot - top)
    left = end_x + 0.4
    side = min(widest, sheet.width - edge - left)
    y = _legend(sheet, layout, left, top, side, foot - top - 0.2) + 0.2
    if headed:
        for sentence in layout.sentences:
            lines = len(sheet.wrapped(sentence, 10.5, side))
            if y + lines * 0.2 > foot:
                break
            y = sheet.paragraph(left, y, sentence, 10.5, side, color=_GREY) + 0.06
        sheet.text(edge, sheet.height - 0.36, sheet.shortened(layout.source, 9, sheet.width - 2 * edge), 9, color=_GREY)


def _tall(sheet: _Sheet, layout: MapLayout) -> None:
    """Map above, legend and sentences beneath."""
    edge = sheet.margin
    room = sheet.width - 2 * edge
    top = _head(sheet, layout, 19, 11)
    _, y = _maps(sheet, layout, edge, top, room, 6.1)
    y += 0.2
    foot = sheet.height - 0.65
    y = _legend(sheet, layout, edge, y, room, foot - y, columns=2) + 0.15
    for sentence in layout.sentences:
        lines = len(sheet.wrapped(sentence, 9.5, room))
        if y + lines * 0.18 > foot:
            break
        y = sheet.paragraph(edge, y, sentence, 9.5, room) + 0.06
    sheet.paragraph(edge, sheet.height - 0.55, layout.source, 8, room, most=2, color=_GREY)


def _head(sheet: _Sheet, layout: MapLayout, large: float, small: float) -> float:
    room = sheet.width - 2 * sheet.margin
    y = sheet.paragraph(sheet.margin, 0.35, layout.title, large, room, most=2, weight="bold")
    if layout.subtitle:
        y = sheet.paragraph(sheet.margin, y, layout.subtitle, small, room, most=2, color=_GREY)
    if layout.warning:
        y = sheet.paragraph(sheet.margin, y + 0.03, layout.warning, small, room, most=2, color=_WARN, weight="bold")
    return y + 0.15


def _maps(sheet: _Sheet, layout: MapLayout, x: float, y: float, width: float, height: float) -> tuple[float, float]:
    """The maps with scale and north beneath, in a box; returns where they end on the right and below."""
    count, between, strip = len(layout.panels), 0.2, 0.5
    heading = 0.28 if any(panel.title for panel in layout.panels) else 0.0
    rows, cols = layout.panels[0].picture.shape[:2]
    each = (width - between * (count - 1)) / count
    inch = min(each / cols, (height - strip - heading) / rows)
    wide, high = cols * inch, rows * inch
    for number, panel in enumerate(layout.panels):
        left = x + number * (wide + between)
        if panel.title:
            sheet.text(left, y, sheet.shortened(panel.title, 12, wide), 12, weight="bold")
        top = y + heading
        sheet.axes.imshow(
            panel.picture, extent=(left, left + wide, top + high, top), aspect="auto", interpolation="nearest", zorder=1
        )
        sheet.box(left, top, wide, high, "none", _LINE)
    _scale_and_north(sheet, layout, x, y + heading + high + 0.14, wide)
    return x + count * wide + (count - 1) * between, y + heading + high + strip


def _scale_and_north(sheet: _Sheet, layout: MapLayout, x: float, y: float, width: float) -> None:
    grid = layout.grid
    angle = north_angle(grid)
    if angle is None:
        sheet.text(x, y, t("The place on Earth of this map is not known."), 9, color=_GREY)
        return
    # The sides of a pixel may differ; those along a row are what the bar lies along.
    lengths = np.hypot(grid.transform.a, grid.transform.d), np.hypot(grid.transform.b, grid.transform.e)
    pixel_m = grid.pixel_area_m2**0.5 * float(lengths[0] / lengths[1]) ** 0.5
    across = grid.width * pixel_m
    metres, text = scale_bar(across)
    length = width * metres / across
    sheet.line((x, x, x + length, x + length), (y, y + 0.08, y + 0.08, y))
    sheet.text(x + length + 0.1, y - 0.04, text, 10)
    _arrow(sheet, x + width - 0.15, y + 0.13, angle)


def _arrow(sheet: _Sheet, x: float, y: float, angle: float) -> None:
    from matplotlib.patches import Polygon

    turn = np.radians(angle)
    shape = np.array([(0, -0.17), (0.09, 0.15), (0, 0.07), (-0.09, 0.15)])
    turned = shape @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + (x, y)
    sheet.axes.add_patch(Polygon(turned, closed=True, facecolor=_INK, edgecolor="none"))
    sheet.text(x - 0.16, y, "N", 11, va="center", ha="right", weight="bold")


def _legend(
    sheet: _Sheet, layout: MapLayout, x: float, y: float, width: float, height: float, columns: int = 1
) -> float:
    """Classes or colours of numbers; returns where they end."""
    bottom = y + height
    if layout.legend:
        y = sheet.paragraph(x, y, layout.legend, 11, width, most=3, weight="bold") + 0.05
    if layout.bar is not None:
        y = _bar(sheet, layout.bar, x, y, min(width, 3.6)) + 0.1
    if not layout.keys:
        return y
    columns = columns if len(layout.keys) > 5 else 1
    each = (width - 0.3 * (columns - 1)) / columns
    rows = -(-len(layout.keys) // columns)
    size = min(12.0, max(_SMALLEST, (bottom - y) / rows / 1.55 / _POINT))
    step = 1.55 * size * _POINT
    fit = max(1, int((bottom - y) / step))
    shown = layout.keys if rows <= fit else layout.keys[: fit * columns - 1]
    rows = -(-(len(shown) + (len(shown) < len(layout.keys))) // columns)
    for number, key in enumerate(shown):
        left, at = x + number // rows * (each + 0.3), y + number % rows * step
        _key(sheet, key, left, at, each, size)
    if len(shown) < len(layout.keys):
        left, at = x + len(shown) // rows * (each + 0.3), y + len(shown) % rows * step
        sheet.text(left, at, t("and {n} more classes", n=len(layout.keys) - len(shown)), size, color=_GREY)
    return y + rows * step


def _key(sheet: _Sheet, key: Key, x: float, y: float, width: float, size: float) -> None:
    high = size * _POINT
    sheet.box(x, y + 0.1 * high, 1.5 * high, high, key.colour, _LINE)
    amount = sheet.wide(key.amount, size) + 0.15 if key.amount else 0.0
    start, line = x + 2.1 * high, y + 0.95 * high
    sheet.text(start, line, sheet.shortened(key.name, size, x + width - amount - start), size, va="baseline")
    if key.amount:
        sheet.text(x + width, line, key.amount, size, ha="right", va="baseline", color=_GREY)


def _bar(sheet: _Sheet, bar: ColourBar, x: float, y: float, width: float) -> float:
    y = sheet.paragraph(x, y, bar.title, 11, width, most=3, weight="bold") + 0.05
    colours = colormap(bar.name)[None]
    sheet.axes.imshow(colours, extent=(x, x + width, y + 0.22, y), aspect="auto", interpolation="bilinear", zorder=1)
    sheet.box(x, y, width, 0.22, "none", _LINE)
    scale = bar.scale
    unit = f" {bar.unit}" if bar.unit else ""
    low = f"{'≤ ' if scale.below else ''}{scale.low:,.3g}{unit}"
    high = f"{'≥ ' if scale.above else ''}{scale.high:,.3g}{unit}"
    sheet.text(x, y + 0.27, low, 10)
    sheet.text(x + width, y + 0.27, high, 10, ha="right")
    return y + 0.52
