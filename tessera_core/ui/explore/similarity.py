"""Places alike: seeds clicked on the map, their likeness everywhere on an absolute scale, in every year."""

from __future__ import annotations

from typing import Literal

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core.analysis.similarity import Similarity
from tessera_core.areas import hectares
from tessera_core.errors import TesseraError
from tessera_core.language import numeral, percentage, t, tn
from tessera_core.project.project import Project
from tessera_core.render.palette import encode_indexed, rgb
from tessera_core.ui import charts, humanize, state, tables
from tessera_core.ui.components.view_map import Layer, MapEvent, Marker
from tessera_core.ui.explore.context import ExploreContext
from tessera_core.ui.humanize import year_name
from tessera_core.ui.scene import MAX_OPEN, OpenScene

MAX_SEEDS = 50
# Likeness from the threshold up to 100 %.
COLORMAP = ("#fff7bc", "#fee391", "#fec44f", "#fe9929", "#ec7014", "#cc4c02", "#8c2d04")
Seeds = tuple[tuple[int | None, int, int], ...]
_METRICS: dict[str, Literal["cosine", "euclidean"]] = {
    "Pattern (cosine)": "cosine",
    "Pattern and strength (Euclidean)": "euclidean",
}


def clicked(context: ExploreContext, event: MapEvent) -> None:
    """A click adds a seed, a click on a seed takes it away."""
    seeds = _seeds(context)
    if event.kind == "marker" and event.target.startswith("seed"):
        number = int(event.target[4:])
        seeds = (*seeds[:number], *seeds[number + 1 :])
    elif event.row is not None and event.col is not None:
        row, col = int(np.floor(event.row)), int(np.floor(event.col))
        height, width = context.scene.raster.shape
        if not (0 <= row < height and 0 <= col < width) or not context.scene.raster.valid(slice(row, row + 1))[0, col]:
            st.toast(t("There is no data at that place; click another."), icon=":material/block:")
            return
        seeds = (*seeds, (context.year, row, col))[-MAX_SEEDS:]
    st.session_state[context.key("seeds")] = seeds


def markers(context: ExploreContext) -> list[Marker]:
    """The seeds."""
    return [
        Marker(
            f"seed{i}",
            row + 0.5,
            col + 0.5,
            label=str(i + 1),
            kind="number",
            colour="#0f766e",
            text=t("Example {i}, chosen in {year_name}. Click to take it away.", i=i + 1, year_name=year_name(year)),
        )
        for i, (year, row, col) in enumerate(_seeds(context))
    ]


def layers(context: ExploreContext) -> list[Layer]:
    """How alike every pixel of the year in sight is, above the threshold."""
    likeness = _likeness(context, context.year)
    if likeness is None:
        return []
    percent = _percent(context, likeness)
    version = f"{_version(context, context.year)}|{percent}"
    edges = np.linspace(percent, 100, len(COLORMAP) + 1)
    legend = tuple(
        (
            COLORMAP[i],
            t("{edges} to {edges2} % alike", edges=numeral(edges[i], ".0f"), edges2=numeral(edges[i + 1], ".0f")),
        )
        for i in reversed(range(len(COLORMAP)))
    )
    png = _png(version, likeness, percent, context.scene)
    return [
        Layer(
            "similarity",
            t("Alike, {year_name}", year_name=year_name(context.year)),
            png,
            version,
            opacity=0.85,
            legend=legend,
        )
    ]


def panel(context: ExploreContext) -> None:
    """Metric, threshold, and how much is alike in each year."""
    seeds = _seeds(context)
    if not seeds:
        st.info(
            t("Click a place on the map: everything like it lights up. Click more places of the same kind to add them.")
        )
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(tn("**{n} example**", "**{n} examples**", len(seeds)), width="stretch")
        if st.button(t("Start over"), icon=":material/delete:", key=context.key("unseed")):
            st.session_state[context.key("seeds")] = ()
            st.rerun(scope="fragment")
    st.segmented_control(
        t("Measured by"),
        list(_METRICS),
        default=next(iter(_METRICS)),
        required=True,
        key=context.key("metric"),
        help=t("Both are absolute: 100 % is the same, and a value means the same after every click."),
    )
    likeness = _likeness(context, context.year)
    assert likeness is not None
    st.slider(
        t("At least this much alike"),
        0,
        100,
        value=round(likeness.default_percent()),
        format="%d %%",
        key=_slider_key(context),
    )
    charts.show(charts.histogram_figure(likeness.histogram, "alike, %"), t("How much of the region is how much alike"))
    rows = []
    for year, scene in context.scenes.items():
        of_year = _likeness(context, year)
        assert of_year is not None
        above, total = of_year.count(_percent(context, likeness)), max(1, int(of_year.histogram.sum()))
        area = hectares(above, scene.raster.grid)
        rows.append(
            {
                "Year": year_name(year),
                "Alike": f"{percentage(above / total, 1)} %",
                "Pixels": numeral(above, ","),
                "Area": "" if area is None else t("{area} ha", area=numeral(area, ",.0f")),
            }
        )
    tables.show(rows, hide_index=True, width="stretch")
    if len(rows) > 1:
        st.caption(t("The same examples in every year; choose the year above to see where."))
    if any(year != context.year for year, _, _ in seeds):
        st.caption(t("Examples were chosen in {years}.", years=humanize.years([year for year, _, _ in seeds])))
    _elsewhere(context, _percent(context, likeness))


def _elsewhere(context: ExploreContext, percent: int) -> None:
    """The same examples in other regions of the same dataset; only there do the same numbers mean the same."""
    others = {entry.name: entry.folder for entry in context.others()}
    if not others:
        return
    chosen = st.multiselect(
        t("Look in other regions, too"),
        list(others),
        key=context.key("elsewhere"),
        placeholder=t("Choose projects"),
        help=t("Projects on this computer with embeddings of the same dataset, each in its newest year."),
    )
    for name in chosen:
        try:
            project = Project.open(others[name])
            year = max(project.embeddings, key=lambda year: year or 0)
            scene = state.scene_for(project, year)
            version = f"{scene.key}|{_version(context, context.year)}"
            likeness = _scored(version, scene, _vectors(context), _metric(context))
        except TesseraError as error:
            st.warning(f"{name}: {humanize.told(error)}", icon=":material/warning:")
            continue
        above, total = likeness.count(percent), max(1, int(likeness.histogram.sum()))
        share = f"{percentage(above / total, 1)} %"
        st.markdown(
            t(
                "**{name}** {year_name}: {share} alike, {above} pixels",
                name=humanize.escape(name),
                year_name=year_name(year),
                share=share,
                above=numeral(above, ","),
            )
        )
        st.image(_png(f"{version}|{percent}", likeness, percent, scene), width="stretch")


def _seeds(context: ExploreContext) -> Seeds:
    seeds: Seeds = st.session_state.get(context.key("seeds"), ())
    return tuple(seed for seed in seeds if seed[0] in context.scenes)


def _metric(context: ExploreContext) -> Literal["cosine", "euclidean"]:
    return _METRICS[st.session_state.get(context.key("metric")) or next(iter(_METRICS))]


def _version(context: ExploreContext, year: int | None) -> str:
    return f"{context.scenes[year].key}|{_seeds(context)}|{_metric(context)}"


def _slider_key(context: ExploreContext) -> str:
    # Other seeds have another natural threshold.
    return context.key(f"percent_{hash((_seeds(context), _metric(context))) & 0xFFFFFF:x}")


def _percent(context: ExploreContext, likeness: Similarity) -> int:
    return int(st.session_state.get(_slider_key(context), round(likeness.default_percent())))


def _likeness(context: ExploreContext, year: int | None) -> Similarity | None:
    seeds = _seeds(context)
    if not seeds:
        return None
    return _scored(_version(context, year), context.scenes[year], _vectors(context), _metric(context))


def _vectors(context: ExploreContext) -> NDArray[np.float32]:
    return np.concatenate([context.scenes[of].raster.sample([row], [col]) for of, row, col in _seeds(context)])


@st.cache_resource(max_entries=4 * MAX_OPEN, show_spinner=False)
def _scored(
    version: str, _scene: OpenScene, _vectors: NDArray[np.float32], _metric: Literal["cosine", "euclidean"]
) -> Similarity:
    return _scene.index.query(_vectors, metric=_metric)


@st.cache_resource(max_entries=4, show_spinner=False)
def _png(version: str, _likeness: Similarity, _percent: int, _scene: OpenScene) -> bytes:
    steps = np.zeros(65536, np.uint8)
    scores = np.arange(1001)
    above = scores >= round(_percent * 10)
    span = max(1000 - round(_percent * 10), 1)
    steps[:1001][above] = 1 + np.minimum(
        (scores[above] - round(_percent * 10)) * len(COLORMAP) // span, len(COLORMAP) - 1
    )
    palette = np.array([(0, 0, 0, 0), *((*rgb(colour), 255) for colour in COLORMAP)], np.uint8)
    return encode_indexed(_scene.display.warp(steps[_likeness.scores]), palette)
