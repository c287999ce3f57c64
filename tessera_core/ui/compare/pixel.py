"""Compare, a click on the map: what both years saw at one place, and whether it counts as changed."""

from __future__ import annotations

import numpy as np
import streamlit as st

from tessera_core.analysis.change import NO_LEVEL, ChangeLayer
from tessera_core.errors import GridError
from tessera_core.language import t
from tessera_core.ui import charts, humanize
from tessera_core.ui.compare.context import CompareContext
from tessera_core.ui.components.view_map import MapEvent, Marker
from tessera_core.ui.explore.pixel import time_series

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8f94", "#000000")


def clicked(context: CompareContext, event: MapEvent) -> None:
    """A click chooses the place."""
    if event.row is not None and event.col is not None:
        st.session_state[context.key("place")] = (int(np.floor(event.row)), int(np.floor(event.col)))


def markers(context: CompareContext) -> list[Marker]:
    """The chosen place on the map."""
    chosen = _chosen(context)
    if chosen is None:
        return []
    return [
        Marker("place", chosen[0] + 0.5, chosen[1] + 0.5, kind="pin", colour="#0072b2", text=t("The place you clicked"))
    ]


def panel(context: CompareContext, layer: ChangeLayer, rate: float) -> None:
    """What is known of the chosen place; before a click, that there is something to click."""
    chosen = _chosen(context)
    if chosen is None:
        st.caption(t("Click a place on the map to see what the satellites saw there in each year."))
        return
    row, col = chosen
    with st.container(border=True, gap="small"):
        where = ""
        grid = context.scenes[context.last].raster.grid
        if grid.georeferenced:
            lon, lat = grid.pixel_to_lonlat(row + 0.5, col + 0.5)
            where = f", {humanize.position(float(lat), float(lon))}"
        st.markdown(
            t(
                "**{verdict}**  \n:small[Row {row}, column {col}{where}]",
                verdict=verdict(context, layer, rate, row, col),
                row=row,
                col=col,
                where=where,
            )
        )
        greenness = {}
        for year, scene in context.scenes.items():
            if scene.has_satellite and scene.dpixels is not None:
                try:
                    series = time_series(str(scene.dpixels), row, col)
                except GridError as error:
                    st.caption(humanize.told(error))
                    continue
                seen = np.isfinite(series.ndvi) & series.valid
                if seen.any():
                    greenness[humanize.year_name(year)] = (
                        series.days[seen].tolist(),
                        series.ndvi[seen].round(4).tolist(),
                    )
        if greenness:
            colours = dict(zip(greenness, _COLOURS, strict=False))
            figure = charts.day_figure(greenness, colours, title=t("Greenness"), height=220)
            charts.show(figure, t("Greenness through each year at this place"), "compare_greenness")
            st.caption(t("How green it was on clear days, from 0 (bare) to 1 (dense leaves)."))
        else:
            st.caption(t("The satellite data of this region are not here, so its years cannot be drawn."))


def verdict(context: CompareContext, layer: ChangeLayer, rate: float, row: int, col: int) -> str:
    """Whether a place counts as changed, in a sentence without a full stop."""
    if layer.levels[row, col] == NO_LEVEL:
        return t("There is no data at this place")
    if layer.mask(rate)[row, col]:
        return t("Changed from {first} to {last}", first=context.first, last=context.last)
    return t("Not called changed from {first} to {last}", first=context.first, last=context.last)


def _chosen(context: CompareContext) -> tuple[int, int] | None:
    chosen: tuple[int, int] | None = st.session_state.get(context.key("place"))
    height, width = context.scenes[context.first].raster.shape
    if chosen is None or not (0 <= chosen[0] < height and 0 <= chosen[1] < width):
        return None
    return chosen
