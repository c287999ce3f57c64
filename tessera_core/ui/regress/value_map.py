"""The map of values: values, margins and guesses as layers, plots in the colour of their number or of their error."""

from __future__ import annotations

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core.export.values import plots_scale
from tessera_core.heads import ValueMap
from tessera_core.labels.plots import Plot
from tessera_core.language import later, numeral, t
from tessera_core.project.regress import BEYOND, OUTSIDE, RegressionMap, RegressionScore
from tessera_core.render.colormap import Scale, colour_of, encode_values, hexes
from tessera_core.render.palette import encode
from tessera_core.types import BBox
from tessera_core.ui import canvas, humanize
from tessera_core.ui.components import view_map
from tessera_core.ui.components.view_map import ColourScale, Layer, Marker, Outline
from tessera_core.ui.regress.context import MAP, RegressContext
from tessera_core.ui.scene import OpenScene

BY_VALUE, BY_ERROR = later("Number"), later("Error")
GREYS = {OUTSIDE: "#7b8187", BEYOND: "#b3b8bd"}
_ERRORS = (
    (hexes("difference")[0], later("plots where it says too little")),
    (hexes("difference")[-1], later("plots where it says too much")),
)
# More marks than this only hide the map; every so many-th is drawn then.
MAX_MARKS = 1500


def layers(
    context: RegressContext, made: RegressionMap | None, *, grey: bool, by: str = BY_VALUE, useless: bool = False
) -> list[Layer]:
    """The region's pictures below; values, margins and guesses above, once there is a map.

    Args:
        useless: whether the map is no better than the mean of the plots; it is grey then, so that nobody reads it.
        grey: whether guesses are greyed; nothing is computed for it.
        by: what the colours of the plots are, which the legend says.
    """
    scene = context.scene
    out = canvas.layers(context.project, scene)
    if made is None or context.measure is None:
        return out
    colours, scale = "none" if useless else "amount", value_scale(context, made)
    values = _values_png(f"{context.content}|{colours}", scene, made.map, scale, colours)
    half_widths, half_width_scale = _half_widths_png(context.content, scene, made.map)
    unit = context.measure.code
    out += [
        Layer(
            "value",
            context.measure.name,
            values,
            f"{context.content}|value|{colours}",
            0.9,
            legend=tuple((colour, t(said)) for colour, said in _ERRORS) if by == BY_ERROR else (),
            scale=ColourScale(scale.low, scale.high, hexes(colours), unit, below=scale.below, above=scale.above),
        ),
        Layer(
            "margin",
            t("Margin, nine of ten"),
            half_widths,
            f"{context.content}|margin",
            0.9,
            visible=False,
            scale=ColourScale(
                half_width_scale.low,
                half_width_scale.high,
                hexes("uncertainty"),
                unit,
                "± ",
                half_width_scale.below,
                half_width_scale.above,
            ),
        ),
        Layer(
            "guess",
            t("Guesses"),
            _guesses_png(context.content, scene, made.guesses),
            f"{context.content}|guess",
            0.93,
            visible=grey,
            legend=((GREYS[OUTSIDE], t("ground unlike your plots")), (GREYS[BEYOND], t("beyond your plots' range"))),
        ),
    ]
    return out


def value_scale(context: RegressContext, made: RegressionMap | None) -> Scale:
    """Which numbers the colours stand for: those of the plots."""
    return plots_scale(np.array([plot.value for plot in context.plots]), None if made is None else made.map.values)


@st.cache_resource(max_entries=6, show_spinner=False)
def _values_png(content: str, _scene: OpenScene, _map: ValueMap, _scale: Scale, _colours: str) -> bytes:
    return encode_values(_scene.display.warp(_scale.index(_map.values)), _colours)


@st.cache_resource(max_entries=6, show_spinner=False)
def _half_widths_png(content: str, _scene: OpenScene, _map: ValueMap) -> tuple[bytes, Scale]:
    scale = Scale.of(_map.half_widths)
    return encode_values(_scene.display.warp(scale.index(_map.half_widths)), "uncertainty"), scale


@st.cache_resource(max_entries=6, show_spinner=False)
def _guesses_png(content: str, _scene: OpenScene, _guesses: NDArray[np.uint8]) -> bytes:
    return encode(_scene.display.warp(_guesses), GREYS)


# --------------------------------------------------------------------- plots


def marks(
    context: RegressContext, made: RegressionMap | None, score: RegressionScore | None, by: str
) -> tuple[list[Marker], list[Outline]]:
    """The plots as points and areas, coloured by their number, or by how far the map that has not seen them is off."""
    errors = errors_of(context, score)
    scale = error_scale(score) if by == BY_ERROR and score is not None and score.result else None
    own = value_scale(context, made)
    step = max(1, -(-len(context.plots) // MAX_MARKS))
    markers: list[Marker] = []
    outlines: list[Outline] = []
    for number in range(0, len(context.plots), step):
        plot = context.plots[number]
        colour = colour_of(plot.value, own) if scale is None else colour_of(errors[number], scale, "difference")
        text = f"{numeral(plot.value, '.4g')}{context.unit}"
        if np.isfinite(errors[number]):
            assert score is not None
            told = humanize.number(plot.value + errors[number], float(score.result["rmse"]))
            text += t("\nThe map, unseen: {told}{unit}", told=told, unit=context.unit)
        if plot.label.kind != "point" and context.scene.raster.grid.georeferenced:
            outlines.append(Outline(plot.label.id, _area(context, plot), colour, 0.85, text))
        else:
            row, col = middle(context, plot)
            markers.append(Marker(plot.label.id, row, col, colour=colour, text=text))
    return markers, outlines


def errors_of(context: RegressContext, score: RegressionScore | None) -> NDArray[np.float64]:
    """What the map says of each plot unseen, minus its number; NaN where it was not asked."""
    errors = np.full(len(context.plots), np.nan)
    if score is not None and score.held_out is not None:
        values = np.array([plot.value for plot in context.plots])
        errors[score.held_out.groups] = score.held_out.guess - values[score.held_out.groups]
    return errors


def error_scale(score: RegressionScore) -> Scale:
    """Colours of errors: full at twice the usual error, the same both ways."""
    reach = 2 * max(float(score.result["rmse"]), 1e-12)
    return Scale(-reach, reach, True, True)


def middle(context: RegressContext, plot: Plot) -> tuple[float, float]:
    """Fractional pixel of a plot."""
    x, y = np.array(plot.label.rings[0], np.float64).T
    rows, cols = context.scene.raster.grid.xy_to_pixel(x, y)
    return float((rows.min() + rows.max()) / 2), float((cols.min() + cols.max()) / 2)


def _area(context: RegressContext, plot: Plot) -> dict[str, object]:
    from tessera_core.export.vector import label_features

    grid = context.scene.raster.grid
    (feature,) = label_features([plot.label], ())
    polygons = [feature.geometry] if feature.geometry.geom_type == "Polygon" else list(feature.geometry.geoms)
    coordinates = []
    for polygon in polygons:
        rings = []
        for ring in (polygon.exterior, *polygon.interiors):
            x, y = np.array(ring.coords, np.float64)[:, :2].T
            lon, lat = grid.pixel_to_lonlat(*grid.xy_to_pixel(x, y))
            rings.append(np.column_stack([lon, lat]).tolist())
        coordinates.append(rings)
    return {"type": "MultiPolygon", "coordinates": coordinates}


def around(context: RegressContext, row: float, col: float, metres: float = 400.0) -> BBox | None:
    """``(west, south, east, north)`` in degrees around a pixel; None without a place on Earth."""
    grid = context.scene.raster.grid
    if not grid.georeferenced:
        return None
    half = metres / grid.pixel_area_m2**0.5
    lon, lat = grid.pixel_to_lonlat(np.array([row - half, row + half]), np.array([col - half, col + half]))
    return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())


def show(
    context: RegressContext,
    made: RegressionMap | None,
    score: RegressionScore | None,
    *,
    by: str,
    grey: bool,
    pin: Marker | None,
    fly_to: BBox | None,
    on_event: object,
) -> None:
    """The map with its plots."""
    markers, outlines = marks(context, made, score, by)
    subtitle = " · ".join(str(part) for part in (context.title, context.year) if part)
    view_map.view_map(
        MAP,
        context.scene.display,
        view_map.MapContent(
            layers(context, made, grey=grey, by=by, useless=score is not None and score.useless),
            [*markers, *([pin] if pin else [])],
            outlines,
        ),
        tools=("click",),
        fly_to=fly_to,
        on_event=on_event,  # type: ignore[arg-type]
        look=view_map.MapLook(context.project.name, subtitle, sticky=True),
    )
