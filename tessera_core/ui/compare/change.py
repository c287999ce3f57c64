"""Compare, part Change: where the ground changed, with a slider for how many false alarms are accepted.

The years are compared once; the slider, the marked areas and the picture are look-ups in that one result.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core.analysis import change
from tessera_core.analysis.change import ChangeLayer
from tessera_core.analysis.transitions import UNCHANGED, UNKNOWN, year_of_change
from tessera_core.errors import RasterError
from tessera_core.language import later, numeral, percentage, relay, t
from tessera_core.observations import depths_differ
from tessera_core.periods import other_months
from tessera_core.project.change import RATE, compare_steps
from tessera_core.project.classify import head_name
from tessera_core.project.folders import safe_name
from tessera_core.render import palette
from tessera_core.types import Cancel, Progress
from tessera_core.ui import files, humanize, maps, shell
from tessera_core.ui.compare import pixel
from tessera_core.ui.compare.context import (
    CompareContext,
    area_text,
    picture_choice,
    picture_layers,
    pictures,
    result_of,
)
from tessera_core.ui.components import view_map
from tessera_core.ui.components.view_map import Layer, Outline

if TYPE_CHECKING:
    from tessera_core.export.map_layout import MapLayout

STOPS = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
COLOUR = (214, 39, 40)
# p-values up to these, and their colours (reds of ColorBrewer); above the last, nothing is drawn.
P_STOPS = (0.001, 0.01, 0.05, 0.2)
P_COLOURS = ("#67000d", "#cb181d", "#fb6a4a", "#fcbba1")
# One colour for each step between years, the earliest first (Okabe & Ito, colours for all people).
STEP_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#d55e00", "#0072b2", "#cc79a7", "#f0e442", "#000000")
# Drawn shapes: rows and columns of the corners in pixels, and the corners in degrees.
Mark = tuple[tuple[float, ...], tuple[float, ...], tuple[tuple[float, float], ...]]
Marks = list[Mark]
# A map of the project's labels is made beside the slider by these heads up to so many pixels.
_QUICK, _AT_ONCE = ("prototype", "auto", "ridge", "logistic"), 1_500_000
_VIEWS = {"one": later("One map"), "swipe": later("Divider"), "beside": later("Side by side")}


@dataclass(frozen=True)
class Compared:
    """A finished comparison: the years' ends, and each step between where there are more than two.

    Attributes:
        ends: the first with the last year.
        steps: layers of consecutive years; the ends alone where there are two.
        power: what could have been found between the ends; None where that cannot be tried.
    """

    ends: ChangeLayer
    steps: tuple[ChangeLayer, ...]
    power: change.ChangePower | None = None


def compared(context: CompareContext) -> Compared | None:
    """The comparison of the chosen years, or None while it is being made."""
    title = t("Comparing {first} with {last}", first=context.first, last=context.last)
    found: Compared | None = result_of(
        context.content("change"), title, lambda p, c: _work(context, p, c), t("Compare again")
    )
    return found


def _work(context: CompareContext, progress: Progress, cancelled: Cancel) -> Compared:
    rasters = context.rasters
    layers = compare_steps(rasters, progress=progress, cancelled=cancelled)
    ends = layers.get((context.first, context.last))
    if ends is None:
        ends = change.detect_change(
            rasters[context.first], rasters[context.last], progress=progress, cancelled=cancelled
        )
    power = change.change_power(rasters[context.first], rasters[context.last], STOPS, cancelled=cancelled)
    return Compared(ends, tuple(layers.values()), power)


def show(context: CompareContext) -> None:
    """The part of the page."""
    found = compared(context)
    if found is None:
        return
    _studio(context, found)


@st.fragment
@shell.shielded
def _studio(context: CompareContext, found: Compared) -> None:
    marks_key = f"compare_marks_{context.project.key}"
    map_key = f"compare_map_{context.project.key}"
    marks: Marks = st.session_state.setdefault(marks_key, [])
    map_column, panel = st.columns([7, 3], gap="medium")
    with panel:
        layer, problem = _against(found.ends, marks)
        place = st.container()
        rate = _slider(context)
        with place:
            pixel.panel(context, layer, rate)
        _said(context, found, layer, rate)
        if problem:
            st.warning(problem, icon=":material/warning:")
        view = st.segmented_control(
            t("View"),
            list(_VIEWS),
            default="one",
            required=True,
            key="compare_view",
            format_func=lambda one: t(_VIEWS[one]),
        )
        picture_choice(context)
        _marking(marks, marks_key, layer)
        _download(context, layer, rate)
    with map_column:
        display = context.scenes[context.first].display
        # Where two years lie beside each other, what is below the change is what one wants to see.
        opacity = 0.8 if view == "one" else 0.45
        layers = [
            *picture_layers(context, pale=view == "one"),
            _p_layer(context, layer),
            _layer(context, layer, rate, opacity),
        ]
        if len(found.steps) > 1:
            layers.append(_when_layer(context, found.steps, rate))
        outlines = [
            Outline(
                f"mark{n}",
                {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
                "#0072b2",
                0.1,
                t("Marked as unchanged"),
            )
            for n, (_, _, ring) in enumerate(marks)
            if ring
        ]
        ends = (f"year{context.first}", f"year{context.last}")
        view_map.view_map(
            map_key,
            display,
            view_map.MapContent(layers, pixel.markers(context), outlines),
            tools=("click", "box", "polygon"),
            comparison=None if view == "one" else view_map.Comparison(*ends, beside=view == "beside"),
            look=view_map.MapLook(
                context.project.name, t("{first} and {last}", first=context.first, last=context.last)
            ),
            on_event=lambda: _on_map(context, map_key, marks_key),
        )


def _slider(context: CompareContext) -> float:
    rate: float = st.select_slider(
        t("False alarms I accept"),
        STOPS,
        value=RATE,
        format_func=lambda value: f"{numeral(100 * value, 'g')} %",
        key=f"compare_rate_{context.project.key}",
        help=t(
            "Of the ground that is called changed, about this share at most has not changed. A lower share "
            "finds less change."
        ),
    )
    return rate


def _said(context: CompareContext, found: Compared, layer: ChangeLayer, rate: float) -> None:
    count = layer.count(rate)
    share = count / max(layer.pixels, 1)
    st.metric(
        t("Changed from {first} to {last}", first=context.first, last=context.last),
        f"{area_text(count, context)} · {percentage(share, 1)} %",
    )
    if count:
        st.caption(
            t(
                "Up to about {area_text} of it may be false alarms, mostly at its edges; a pixel there counts "
                "only if it differs more than blur from its neighbours explains.",
                area_text=area_text(rate * count, context),
            )
        )
    elif layer.count(STOPS[-1]):
        st.caption(
            t(
                "With at most {value} % false alarms no place can be called changed for sure. Accept more of "
                "them to see the likeliest places.",
                value=numeral(100 * rate, "g"),
            )
        )
    else:
        st.caption(t("Nothing here differs more than unchanged ground does."))
    if found.power is not None:
        st.caption(humanize.plain(relay(found.power.sentence(rate))))
    st.markdown(_shift_sentence(context, layer))
    if other_months(context.first, context.last):
        st.warning(
            t(
                "**Other months:** {first} and {last} are not the same part of the year, so much of what differs may be the "
                "season and not the ground. For change, compare the same months of two years.",
                first=context.first,
                last=context.last,
            ),
            icon=":material/event_busy:",
        )
    first, last = (context.scenes[year].depth for year in (context.first, context.last))
    if first is not None and last is not None and depths_differ(first, last):
        st.caption(
            t(
                "**Seen unequally often:** {first} was seen clearly {times} times (median), {last} {times2} times. Where a year "
                "was seen rarely its embeddings are less reproducible, so some of the change may be that.",
                first=context.first,
                times=numeral(first.optical_median, ".0f"),
                last=context.last,
                times2=numeral(last.optical_median, ".0f"),
            )
        )
    if layer.raised:
        share = sum(share for share, _ in layer.raised)
        st.caption(
            t(
                "Some ground ({share} % of the region) varies more than the rest without changing; it must "
                "differ more before it is called changed.",
                share=percentage(share),
            )
        )
    if count and (told := _what_changed(context, layer, rate)):
        st.caption(told)


def _shift_sentence(context: CompareContext, layer: ChangeLayer) -> str:
    share = layer.shift.share
    if share < 0.1:
        return t(
            "**Whole scene:** {first} and {last} are alike where nothing changed; there is hardly any shift.",
            first=context.first,
            last=context.last,
        )
    return t(
        "**Whole scene:** weather and sensors moved everything from {first} to {last}. {share} % of the "
        "difference on unchanged ground is this shift; it is taken out and not counted as change.",
        first=context.first,
        last=context.last,
        share=percentage(share),
    )


def _what_changed(context: CompareContext, layer: ChangeLayer, rate: float) -> str:
    """What the changed ground is on the project's map of the last year; empty while there is no map, or it would take long."""
    height, width = layer.levels.shape[:2]
    if head_name(context.project) not in _QUICK or height * width > _AT_ONCE:
        return ""
    made, _ = maps.project_map(context.project, context.scenes[context.last], context.last)
    if made is None:
        return ""
    classes = made.map.classes[layer.mask(rate)]
    counts = np.bincount(classes[classes > 0], minlength=2)
    if not counts.any():
        return ""
    names = {c.id: c.name for c in context.project.log.classes}
    largest = [k for k in np.argsort(-counts)[:3].tolist() if counts[k]]
    told = ", ".join(
        f"{humanize.escape(names.get(k, str(k)))} {percentage(counts[k] / counts.sum())}\xa0%" for k in largest
    )
    return t(
        "On your map of {last} the changed ground is mostly {told}. Another crop on a field counts as "
        "change, too, though its use is the same.",
        last=context.last,
        told=told,
    )


def _against(layer: ChangeLayer, marks: Marks) -> tuple[ChangeLayer, str]:
    """The layer judged by the marked areas, and what is wrong with them."""
    if not marks:
        return layer, ""
    try:
        return layer.with_stable(stable_mask(layer.levels.shape, [(rows, cols) for rows, cols, _ in marks])), ""
    except RasterError as error:
        return layer, relay(error)


def stable_mask(shape: tuple[int, ...], rings: list[tuple[tuple[float, ...], tuple[float, ...]]]) -> NDArray[np.bool_]:
    """bool (H, W): pixels inside rings given as fractional pixel rows and columns."""
    from rasterio.features import rasterize

    shapes = []
    for rows, cols in rings:
        corners = [(float(c), float(r)) for r, c in zip(rows, cols, strict=True)]
        if len(corners) >= 3:
            shapes.append({"type": "Polygon", "coordinates": [[*corners, corners[0]]]})
    if not shapes:
        return np.zeros(shape, bool)
    return np.asarray(rasterize(shapes, out_shape=shape[:2], dtype="uint8"), bool)


@shell.shielded
def _on_map(context: CompareContext, map_key: str, marks_key: str) -> None:
    for event in view_map.events(map_key):
        if event.kind in ("box", "polygon") and event.rows:
            st.session_state[marks_key] = [*st.session_state.get(marks_key, []), (event.rows, event.cols, event.ring)]
        elif event.kind == "click":
            pixel.clicked(context, event)


def _marking(marks: Marks, marks_key: str, layer: ChangeLayer) -> None:
    with st.expander(t("Ground I know has not changed"), icon=":material/crop_free:"):
        st.caption(
            t(
                "Draw a box or an outline on the map around places that did not change. How much they differ "
                "then decides what counts as change, instead of the app's own estimate."
            )
        )
        if layer.null.source == "marked":
            st.markdown(t("Judged by {pixels} marked pixels.", pixels=numeral(layer.null.pixels, ",")))
        if marks and st.button(t("Forget the marked areas"), icon=":material/close:", key=f"forget_{marks_key}"):
            st.session_state[marks_key] = []
            st.rerun(scope="fragment")


def _layer(context: CompareContext, layer: ChangeLayer, rate: float, opacity: float) -> Layer:
    version = _judged(context, layer)
    index = _index(version, context, layer)
    # Entry k is changed at the k-th stop; the threshold is a matter of the palette alone.
    entries = np.zeros((len(STOPS) + 2, 4), np.uint8)
    for position, stop in enumerate(STOPS, start=1):
        if stop <= rate:
            entries[position] = (*COLOUR, 255)
    png = palette.encode_indexed(index, entries)
    legend = (
        (
            "#{:02x}{:02x}{:02x}".format(*COLOUR),
            t("changed (up to {value} % false alarms)", value=numeral(100 * rate, "g")),
        ),
    )
    return Layer("change", t("Change"), png, f"{version}|{rate}", opacity=opacity, legend=legend)


def _judged(context: CompareContext, layer: ChangeLayer) -> str:
    return f"{context.content('change')}|{layer.null.centre:.4f}|{layer.null.spread:.4f}"


@st.cache_resource(max_entries=4, show_spinner=False)
def _index(version: str, _place: CompareContext, _layer: ChangeLayer) -> NDArray[np.uint8]:
    return _place.scenes[_place.first].display.warp(_layer.rates(np.array(STOPS)))


def _p_layer(context: CompareContext, layer: ChangeLayer) -> Layer:
    version = f"{_judged(context, layer)}|p"
    lows = (0, *P_STOPS)
    legend = tuple(
        (
            colour,
            t("p {low} to {high}", low=numeral(low, "g"), high=numeral(high, "g"))
            if low
            else t("p below {high}", high=numeral(high, "g")),
        )
        for colour, low, high in zip(P_COLOURS, lows, P_STOPS, strict=False)
    )
    png = partial(_p_png, version, context, layer)
    return Layer("p", t("p-value of change"), png, version, opacity=0.9, visible=False, legend=legend)


@st.cache_resource(max_entries=2, show_spinner=False)
def _p_png(version: str, _place: CompareContext, _layer: ChangeLayer) -> bytes:
    table = np.searchsorted(P_STOPS, _layer.p_table()).astype(np.uint8)
    entries = np.array([*((*palette.rgb(colour), 255) for colour in P_COLOURS), (0, 0, 0, 0)], np.uint8)
    display = _place.scenes[_place.first].display
    # No data is p = 1 in the table, so off the scene is, too.
    return palette.encode_indexed(display.warp(table[_layer.levels], fill=len(P_STOPS)), entries)


def _when_layer(context: CompareContext, steps: tuple[ChangeLayer, ...], rate: float) -> Layer:
    version = f"{context.content('when')}|{rate}"
    colours = {n: STEP_COLOURS[(n - 1) % len(STEP_COLOURS)] for n in range(1, len(steps) + 1)}
    legend = tuple(
        (colours[n], t("changed {years} to {years2}", years=step.years[0], years2=step.years[1]))
        for n, step in enumerate(steps, start=1)
    )
    png = partial(_when_png, version, context, steps, rate, colours)
    return Layer("when", t("Year of change"), png, version, 0.8, False, legend)


@st.cache_resource(max_entries=12, show_spinner=False)
def _when_png(
    version: str, _place: CompareContext, _steps: tuple[ChangeLayer, ...], _rate: float, _colours: dict[int, str]
) -> bytes:
    when = year_of_change(_steps, _rate)
    when = np.where(when == UNKNOWN, UNCHANGED, when).astype(np.uint8)
    return palette.encode(_place.scenes[_place.first].display.warp(when), _colours)


def _download(context: CompareContext, layer: ChangeLayer, rate: float) -> None:
    name = f"change-{context.first}-{context.last}.zip"
    st.download_button(
        t("Download as GeoTIFF"),
        lambda: change_files(context, layer, rate),
        file_name=name,
        mime="application/zip",
        icon=":material/download:",
        on_click="ignore",
        help=t(
            "A map of changed ground at the chosen share of false alarms, and how unlikely chance is, for every pixel."
        ),
    )
    stem = safe_name(f"{context.project.name} change {context.first} {context.last}").replace(" ", "-")
    with st.container(horizontal=True):
        for item in files.pictures(stem, lambda: _layout(context, layer, rate)):
            files.button(item)


def _layout(context: CompareContext, layer: ChangeLayer, rate: float) -> MapLayout:
    from tessera_core.export.pictures import change_layout

    raster = context.scenes[context.last].raster
    count = layer.count(rate)
    said = (
        t(
            "{area_text} changed, {value} % of the region. Up to about {area_text2} of it may be false alarms.",
            area_text=area_text(count, context),
            value=percentage(count / max(layer.pixels, 1), 1),
            area_text2=area_text(rate * count, context),
        ),
        _shift_sentence(context, layer).replace("**", ""),
    )
    years = (context.first, context.last)
    return change_layout(
        context.project.name, years, layer.mask(rate), pictures(context), raster.grid, raster.provenance, said
    )


def change_files(context: CompareContext, layer: ChangeLayer, rate: float) -> bytes:
    """The layer as files for a GIS, zipped."""
    from tessera_core.export.change import write_change

    raster = context.scenes[context.last].raster
    file = io.BytesIO()
    with TemporaryDirectory() as folder, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for path in write_change(Path(folder) / "change.tif", layer, rate, raster.grid, raster.provenance):
            archive.write(path, path.name)
    return file.getvalue()
