"""A pixel's story: what the satellites saw there, its embedding, the places most like it, and what the map says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core.dpixels.tile import S2_BANDS, DPixelTile
from tessera_core.dpixels.time_series import PixelTimeSeries, Radar, pixel_time_series
from tessera_core.errors import GridError, HeadError
from tessera_core.language import later, numeral, percentage, t
from tessera_core.project.classify import project_head
from tessera_core.raster import EmbeddingRaster
from tessera_core.ui import charts, humanize, tables
from tessera_core.ui.components.view_map import MapEvent, Marker
from tessera_core.ui.explore.context import ExploreContext
from tessera_core.ui.humanize import year_name

if TYPE_CHECKING:
    from tessera_core.heads import Head

NEIGHBOURS = 6
# Days of the year and what was measured on them.
_Series = tuple[list[int], list[float]]
# Names, and visible bands in their own colours, red edge and infrared in purples, shortwave infrared in browns.
BANDS = {
    "B02": (later("Blue (B02)"), "#1f77b4"),
    "B03": (later("Green (B03)"), "#2ca02c"),
    "B04": (later("Red (B04)"), "#d62728"),
    "B05": (later("Red edge 1 (B05)"), "#e6779f"),
    "B06": (later("Red edge 2 (B06)"), "#c45ab3"),
    "B07": (later("Red edge 3 (B07)"), "#9b59d0"),
    "B08": (later("Near infrared (B08)"), "#5b3fbf"),
    "B8A": (later("Near infrared, narrow (B8A)"), "#312a7a"),
    "B11": (later("Shortwave infrared 1 (B11)"), "#a9713b"),
    "B12": (later("Shortwave infrared 2 (B12)"), "#5d3a1a"),
}
# A wave is sent upright and comes back upright (VV) or turned (VH).
ECHOES = {"VV": later("Echo (VV)"), "VH": later("Turned echo (VH)")}
PASSES = {"ascending": later("evening"), "descending": later("morning")}


def clicked(context: ExploreContext, event: MapEvent) -> None:
    """A click chooses the pixel; so does a click on one of its neighbours' marks."""
    row, col = event.row, event.col
    if event.kind == "marker" and event.target.startswith("near"):
        row, col = (float(v) for v in event.target[4:].split(","))
    if row is not None and col is not None:
        st.session_state[context.key("pixel")] = (int(np.floor(row)), int(np.floor(col)))


def markers(context: ExploreContext) -> list[Marker]:
    """The pixel and the places most like it."""
    chosen = _chosen(context)
    if chosen is None:
        return []
    row, col = chosen
    out = [Marker("pixel", row + 0.5, col + 0.5, kind="pin", colour="#d55e00", text=t("The pixel of this story"))]
    for number, (r, c, likeness) in enumerate(_near(context, row, col), start=1):
        text = t("{value} % alike. Click for its story.", value=percentage(likeness))
        out.append(
            Marker(
                f"near{r},{c}",
                r + 0.5,
                c + 0.5,
                label=str(number),
                kind="number",
                colour="#0072b2",
                text=text,
            )
        )
    return out


def panel(context: ExploreContext) -> None:
    """The story of the chosen pixel."""
    chosen = _chosen(context)
    if chosen is None:
        st.info(
            t("Click a place on the map to see its year: the satellites' data, its embedding, and where it is like.")
        )
        return
    row, col = chosen
    where = ""
    if context.scene.raster.grid.georeferenced:
        lon, lat = context.scene.raster.grid.pixel_to_lonlat(row + 0.5, col + 0.5)
        where = f" · {humanize.position(float(lat), float(lon))}"
    st.markdown(t("**Row {row}, column {col}**{where}", row=row, col=col, where=where))
    _probabilities(context, row, col)
    _neighbours(context, row, col)
    _embedding(context, row, col)
    for year, scene in context.scenes.items():
        if scene.has_satellite:
            assert scene.dpixels is not None
            try:
                _satellite(year, time_series(str(scene.dpixels), row, col))
            except GridError as error:
                st.caption(humanize.told(error))
    if not any(scene.has_satellite for scene in context.scenes.values()):
        st.caption(
            t("The satellite data of this region are not here, only its embeddings; so its year cannot be drawn.")
        )


def _chosen(context: ExploreContext) -> tuple[int, int] | None:
    chosen: tuple[int, int] | None = st.session_state.get(context.key("pixel"))
    height, width = context.scene.raster.shape
    if chosen is None or not (0 <= chosen[0] < height and 0 <= chosen[1] < width):
        return None
    return chosen


def _near(context: ExploreContext, row: int, col: int) -> list[tuple[int, int, float]]:
    vector = context.scene.raster.sample([row], [col])[0]
    return _nearest(f"{context.scene.key}|{row}|{col}", context, vector) if np.isfinite(vector).all() else []


@st.cache_resource(max_entries=16, show_spinner=False)
def _nearest(version: str, _place: ExploreContext, _vector: NDArray[np.float32]) -> list[tuple[int, int, float]]:
    found = _place.scene.index.nearest(_vector, NEIGHBOURS + 1)
    # The best is the pixel itself (or one next to it).
    return found[1:]


def _neighbours(context: ExploreContext, row: int, col: int) -> None:
    near = _near(context, row, col)
    if near:
        told = ", ".join(f"{number}: {percentage(likeness)} %" for number, (_, _, likeness) in enumerate(near, start=1))
        st.markdown(
            t(
                "**Most alike elsewhere in {year_name}** (marked on the map)  \n{told}",
                year_name=year_name(context.year),
                told=told,
            )
        )


def _probabilities(context: ExploreContext, row: int, col: int) -> None:
    classes = {c.id: c for c in context.project.log.classes}
    shares: dict[str, dict[str, float]] = {}
    for year, raster in context.rasters.items():
        try:
            for class_id, share in _proba(context, year, raster, row, col):
                if class_id in classes:
                    shares.setdefault(classes[class_id].name, {})[year_name(year)] = 100 * share
        except HeadError as error:
            st.caption(t("What class it is: {error}", error=humanize.told(error)))
            return
    now = year_name(context.year)
    likely = sorted(shares, key=lambda name: -max(shares[name].values()))
    likely = [name for name in likely if max(shares[name].values()) >= 1][:5]
    if not likely:
        st.caption(t("There is no data at this place."))
        return
    best = max(likely, key=lambda name: shares[name].get(now, 0))
    st.markdown(
        t(
            "**{best}**, {get} % sure in {now}",
            best=humanize.escape(best),
            get=numeral(shares[best].get(now, 0), ".0f"),
            now=now,
        )
    )
    table: dict[str, list[object]] = {"Class": [*likely]}
    for year in context.scenes:
        table[year_name(year)] = [shares[name].get(year_name(year)) for name in likely]
    column = st.column_config.ProgressColumn(format="%.0f %%", min_value=0, max_value=100)
    tables.show(
        table, hide_index=True, width="stretch", column_config={year_name(year): column for year in context.scenes}
    )


def _proba(
    context: ExploreContext, year: int | None, raster: EmbeddingRaster, row: int, col: int
) -> list[tuple[int, float]]:
    head = _head(
        f"{context.scenes[year].key}|{context.project.log.version}|{context.project.settings}", context, raster
    )
    proba = head.proba_at(raster, np.array([row]), np.array([col]))[0]
    if not np.isfinite(proba).all():
        return []
    return [(int(class_id), float(share)) for class_id, share in zip(head.classes_, proba, strict=True)]


@st.cache_resource(max_entries=6, show_spinner=False)
def _head(version: str, _place: ExploreContext, _raster: EmbeddingRaster) -> Head:
    return project_head(_place.project, _raster)


def _embedding(context: ExploreContext, row: int, col: int) -> None:
    from PIL import Image

    strips = {year: raster.sample([row], [col])[0] for year, raster in context.rasters.items()}
    strips = {year: strip for year, strip in strips.items() if np.isfinite(strip).all()}
    if not strips:
        return
    size = max(float(np.abs(strip).max()) for strip in strips.values()) or 1.0
    values = np.stack(list(strips.values())) / size
    # Below zero blue, above orange, zero white.
    blue, orange = np.array([0, 90, 181]), np.array([220, 90, 10])
    colour = np.where(values[..., None] < 0, blue, orange)
    picture = 255 + (colour - 255) * np.abs(values)[..., None]
    strip = picture.astype(np.uint8).repeat(26, 0).repeat(8, 1)
    st.markdown(
        t(
            "**Its embedding**, {shape} numbers: {join} from top to bottom",
            shape=values.shape[1],
            join=", ".join(map(year_name, strips)),
        )
    )
    st.image(Image.fromarray(strip), width="stretch")
    told = t("Blue is below zero, orange above.")
    if len(strips) > 1:
        first, *_, last = strips.values()
        cosine = float(first @ last / max(float(np.linalg.norm(first) * np.linalg.norm(last)), 1e-12))
        years = list(strips)
        told += t(
            " {year_name} and {year_name2} are {value} % alike.",
            year_name=year_name(years[0]),
            year_name2=year_name(years[-1]),
            value=percentage(max(cosine, 0)),
        )
    st.caption(told)


@st.cache_resource(max_entries=16, show_spinner=False)
def time_series(folder: str, row: int, col: int) -> PixelTimeSeries:
    """What the satellites saw of a pixel, read from the folder of their time series."""
    return pixel_time_series(DPixelTile.open(folder), row, col)


def _satellite(year: int | None, series: PixelTimeSeries) -> None:
    seen = int(series.valid.sum())
    passes = len(series.ascending.days) + len(series.descending.days)
    st.markdown(
        t(
            "**{year_name} as satellites saw it**: {seen} clear days of {days}, {passes} radar passes",
            year_name=year_name(year),
            seen=seen,
            days=len(series.days),
            passes=passes,
        )
    )
    usable = np.isfinite(series.ndvi)
    seen_as = {"clear": usable & series.valid, "cloud or shadow": usable & ~series.valid}
    ndvi = {
        name: (series.days[those].tolist(), series.ndvi[those].round(4).tolist())
        for name, those in seen_as.items()
        if those.any()
    }
    figure = charts.day_figure(
        ndvi, {"clear": "#1b7837", "cloud or shadow": "#b4b9bf"}, title="NDVI", height=250, dots=[t("cloud or shadow")]
    )
    charts.show(figure, t("Greenness (NDVI) through the year"), f"explore_ndvi_{year}")
    bands = {}
    for number, band in enumerate(S2_BANDS):
        those = series.valid & np.isfinite(series.reflectance[:, number])
        bands[t(BANDS[band][0])] = (series.days[those].tolist(), series.reflectance[those, number].round(4).tolist())
    _lines(
        year, bands, t("Reflectance of Sentinel-2, clear days"), {t(name): colour for name, colour in BANDS.values()}
    )
    radar = _radar(series.ascending, "ascending") | _radar(series.descending, "descending")
    colours = dict(
        zip(
            [f"{t(echo)}, {t(time)}" for time in PASSES.values() for echo in ECHOES.values()],
            ("#0072b2", "#d55e00", "#56b4e9", "#e69f00"),
            strict=True,
        )
    )
    _lines(year, radar, t("Radar of Sentinel-1, in decibels"), colours, zero=False)


def _radar(radar: Radar, orbit: str) -> dict[str, _Series]:
    found = {}
    for number, name in enumerate(("VV", "VH")):
        those = np.isfinite(radar.db[:, number])
        found[f"{t(ECHOES[name])}, {t(PASSES[orbit])}"] = (
            radar.days[those].tolist(),
            radar.db[those, number].round(2).tolist(),
        )
    return found


def _lines(
    year: int | None, series: dict[str, _Series], title: str, colours: dict[str, str], zero: bool = True
) -> None:
    present = {name: line for name, line in series.items() if line[0]}
    if not present:
        st.caption(t("{title}: nothing was measured here.", title=title))
        return
    st.markdown(f"**{title}**")
    figure = charts.day_figure(present, colours, title=title.split(",")[0], zero=zero)
    # Two years may be drawn alike, and Streamlit takes two figures that are alike for one.
    charts.show(figure, title, f"explore_{title.split()[0]}_{year}")
