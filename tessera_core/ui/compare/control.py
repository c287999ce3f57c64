"""Compare, part Control: what became of an area beside land that was like it before, with placebo areas where nothing was done."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core._utils.csvcells import quoted
from tessera_core.analysis.control import Controlled, Outcome, against_control
from tessera_core.dpixels.simulate.classes import CLASS_TABLE
from tessera_core.errors import RasterError
from tessera_core.language import numeral, t
from tessera_core.lessons.truth import truth_of
from tessera_core.project.folders import safe_name
from tessera_core.render import palette
from tessera_core.types import Bools, Cancel, Progress
from tessera_core.ui import charts, humanize, maps, shell
from tessera_core.ui.compare.change import Mark, Marks, stable_mask
from tessera_core.ui.compare.context import CompareContext, area_text, picture_choice, picture_layers, result_of
from tessera_core.ui.components import view_map
from tessera_core.ui.components.view_map import Layer, Outline

_ANYTHING = 0
_AREA, _PLACEBO, _CONTROL = "#d55e00", "#5b6470", "#0072b2"
# The invented place has woods that are felled; one such stand is what somebody might ask about.
_WOOD, _CLEARED = ("Broadleaf wood", "Conifer wood"), ("Scrub and clearings",)
_TRUE = {name: (name,) for _, name, _ in CLASS_TABLE}
_LEAST_EXAMPLE, _MOST_EXAMPLE = 40, 0.025


@dataclass(frozen=True)
class _Asked:
    """What is compared: the area, the years, and what is followed in them."""

    mark: Marks
    before: tuple[int, ...]
    after: tuple[int, ...]
    class_id: int
    name: str


def show(context: CompareContext) -> None:
    """The part of the page."""
    _studio(context)


@st.fragment
@shell.shielded
def _studio(context: CompareContext) -> None:
    marks_key, map_key = context.key("area"), context.key("control_map")
    marks: Marks = st.session_state.get(marks_key, [])
    map_column, panel = st.columns([7, 3], gap="medium")
    found = None
    with panel, shell.plain_errors():
        asked = _asked(context, marks, marks_key)
        if asked is not None:
            found = _found(context, asked)
        if asked is not None and found is not None:
            _said(context, asked, found)
            _download(context, asked, found)
        picture_choice(context)
    with map_column:
        # A place that lies nowhere on Earth has no outlines in degrees.
        placed = bool(marks) and context.scenes[context.first].raster.grid.georeferenced
        outlines = [_outline(context, marks[0], "area", _AREA, t("The area"))] if placed else []
        layers = picture_layers(context)
        if found is not None:
            if placed:
                outlines = [*_placebos(context, marks[0], found), *outlines]
            layers.append(_controls(context, found))
        view_map.view_map(
            map_key,
            context.scenes[context.first].display,
            view_map.MapContent(layers, [], outlines),
            tools=("box", "polygon"),
            look=view_map.MapLook(
                context.project.name, t("{first} and {last}", first=context.first, last=context.last)
            ),
            on_event=lambda: _on_map(context, map_key, marks_key),
        )


@shell.shielded
def _on_map(context: CompareContext, map_key: str, marks_key: str) -> None:
    for event in view_map.events(map_key):
        if event.kind in ("box", "polygon") and event.rows:
            st.session_state[marks_key] = [(event.rows, event.cols, event.ring)]


# ------------------------------------------------------------------ the question


def _asked(context: CompareContext, marks: Marks, marks_key: str) -> _Asked | None:
    st.markdown(
        t(
            "Did something happen in an area that did not happen on land like it? **Draw the area** on the "
            "map with the box or the outline: where trees were planted, a fen was wetted, or a wood was "
            "felled."
        )
    )
    if not marks and (example := _example(context)):
        if st.button(t("Use an example area"), icon=":material/crop_free:", key="compare_control_example"):
            st.session_state[marks_key] = [example]
            st.rerun(scope="fragment")
        st.caption(
            t("On this invented place, a wood that was felled between the two years, or a field that had another crop.")
        )
    if not marks:
        return None
    after = context.years[-1:]
    if len(context.years) > 2:
        start = st.select_slider(
            t("First year after"),
            context.years[1:],
            value=context.years[-1],
            format_func=humanize.year_name,
            key=context.key("control_year"),
        )
        after = [year for year in context.years if year >= start]
    before = [year for year in context.years if year not in after]
    counts = context.project.log.counts
    classes = {one.id: one.name for one in context.project.log.classes if counts.get(one.id)}
    choices = {_ANYTHING: t("Anything that moved"), **(classes if len(classes) > 1 else {})}
    chosen = st.selectbox(
        t("What is followed"),
        list(choices),
        format_func=choices.__getitem__,
        key=context.key("control_class"),
        help=t("Anything: how far the embeddings moved. A class: its share of the area on your map of each year."),
    )
    if st.button(t("Forget the area"), icon=":material/close:", key="compare_control_forget"):
        st.session_state.pop(marks_key, None)
        st.rerun(scope="fragment")
    return _Asked(marks, tuple(before), tuple(after), chosen, choices[chosen])


def _found(context: CompareContext, asked: _Asked) -> Controlled | None:
    rasters = context.rasters
    area = stable_mask(rasters[context.first].shape, [(rows, cols) for rows, cols, _ in asked.mark])
    stamp = context.project.log.version if asked.class_id else 0
    key = context.content("control", asked.mark[0][:2], asked.before, asked.after, asked.class_id, stamp)
    outcome = _shares(context, asked) if asked.class_id else None

    def work(progress: Progress, cancelled: Cancel) -> Controlled:
        return against_control(
            area,
            [rasters[year] for year in asked.before],
            [rasters[year] for year in asked.after],
            outcome,
            progress=progress,
            cancelled=cancelled,
        )

    made: Controlled | None = result_of(key, t("Holding the area against land like it"), work, t("Compare again"))
    return made


def _shares(context: CompareContext, asked: _Asked) -> Outcome:
    """The share of the years in which each pixel is of the class, by the project's map of each year."""

    def mean(years: tuple[int, ...]) -> NDArray[np.float32]:
        total = np.zeros((*context.rasters[years[0]].shape, 1), np.float32)
        for year in years:
            made, why = maps.project_map(context.project, context.scenes[year], year)
            if made is None:
                raise RasterError(why)
            classes = made.map.classes
            total[..., 0] += np.where(classes > 0, classes == asked.class_id, np.nan)
        return total / np.float32(len(years))

    return Outcome(mean(asked.before), mean(asked.after))


# ------------------------------------------------------------------ the answer


def _said(context: CompareContext, asked: _Asked, found: Controlled) -> None:
    many, as_far = len(found.sizes), int((found.sizes >= found.size).sum())
    name = humanize.escape(asked.name)
    if asked.class_id:
        points = 100 * found.effect[0]
        st.metric(
            t("{name}, beside land like it", name=asked.name), t("{points} points", points=numeral(points, "+.0f"))
        )
        st.markdown(
            t(
                "**{name}** went {signed} points in the area and {signed2} points on matched land; the "
                "difference is the effect, of {area_text}.",
                name=name,
                signed=_signed(found.area[0]),
                signed2=_signed(found.control[0]),
                area_text=area_text(found.pixels, context),
            )
        )
    else:
        typical = float(np.median(found.sizes))
        st.metric(
            t("Moved, beside untreated areas"),
            t("{size} times as far", size=numeral(found.size / max(typical, 1e-12), ".1f")),
        )
        st.markdown(
            t(
                "The area of {area_text} moved {size} times as far from land like it as an area usually does "
                "where nothing was done.",
                area_text=area_text(found.pixels, context),
                size=numeral(found.size / max(typical, 1e-12), ".1f"),
            )
        )
    st.markdown(
        t(
            "**p = {p}:** of {many} placebo areas, the same outline on other land, {as_far} show at least as much. ",
            p=numeral(found.p, ".2g"),
            many=many,
            as_far=as_far,
        )
        + (
            t("That is more than chance usually does.")
            if found.p <= 0.05
            else t("Chance alone does as much often enough; this is no sign of an effect.")
        )
    )
    if found.closer < 0.05:
        st.warning(
            t(
                "Hardly any land outside was like your area before, so its control is a poor one. Choose a "
                "larger region."
            ),
            icon=":material/warning:",
        )
    values = 100 * found.placebos[:, 0] if asked.class_id else found.sizes
    own = 100 * float(found.effect[0]) if asked.class_id else found.size
    title = t("Effect in points") if asked.class_id else t("How far areas moved from land like them")
    charts.show(
        charts.placebo_figure(values, own, title),
        t("Effects of {many} placebo areas as bars, and that of the area as a line", many=many),
        "compare_placebos",
    )
    st.caption(
        t(
            "p holds where you chose the area for what was done there, and not because you saw a change in "
            "it. Who looks at ten areas finds one with p below 0.1 by chance. Controls are the places most "
            "like each place of the area by the embeddings of {years}; the ground right around the area is "
            "none.",
            years=humanize.years(list(asked.before)),
        )
    )


def _signed(share: float) -> str:
    return f"{100 * share:+.0f}".replace("-", "\N{MINUS SIGN}")


def _download(context: CompareContext, asked: _Asked, found: Controlled) -> None:
    stem = safe_name(f"{context.project.name} control {context.first} {context.last}").replace(" ", "-")
    st.download_button(
        t("Download the numbers (CSV)"),
        lambda: table(found, asked.name).encode(),
        file_name=f"{stem}.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key=context.key("control_csv"),
    )


def table(found: Controlled, name: str) -> str:
    """A line for the area, and one for each placebo area with its place in pixels from the area."""
    lines = [",".join(["area", "followed", "rows_away", "cols_away", "size", "p"])]
    lines.append(f"area,{quoted(name)},0,0,{found.size:.6g},{found.p:.6g}")
    for (down, right), size in zip(found.places.tolist(), found.sizes.tolist(), strict=True):
        lines.append(f"placebo,{quoted(name)},{down},{right},{size:.6g},")
    return "\n".join([*lines, ""])


# ------------------------------------------------------------------ the map


def _outline(
    context: CompareContext, mark: Mark, name: str, colour: str, text: str, away: tuple[int, int] = (0, 0)
) -> Outline:
    grid = context.scenes[context.first].raster.grid
    rows, cols = (np.asarray(values, float) + step for values, step in zip(mark[:2], away, strict=True))
    lon, lat = grid.pixel_to_lonlat(rows, cols)
    ring = [(float(x), float(y)) for x, y in zip(lon, lat, strict=True)]
    return Outline(name, {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}, colour, 0.0, text)


def _placebos(context: CompareContext, mark: Mark, found: Controlled) -> list[Outline]:
    return [
        _outline(context, mark, f"placebo{n}", _PLACEBO, t("Placebo area"), (int(down), int(right)))
        for n, (down, right) in enumerate(found.places)
    ]


def _controls(context: CompareContext, found: Controlled) -> Layer:
    used = np.zeros(context.scenes[context.first].raster.shape, np.uint8)
    used[found.rows, found.cols] = 1
    version = f"{context.content('controls')}|{hash(used.tobytes())}"
    png = partial(_encoded, version, context, used)
    return Layer(
        "controls", t("Matched land"), png, version, 0.9, legend=((_CONTROL, t("places the area is held against")),)
    )


@st.cache_resource(max_entries=4, show_spinner=False)
def _encoded(version: str, _place: CompareContext, _used: NDArray[np.uint8]) -> bytes:
    return palette.encode(_place.scenes[_place.first].display.warp(_used), {1: _CONTROL})


def _example(context: CompareContext) -> Mark | None:
    """A box around the largest stand that was felled, else around a field with another crop; only the invented place knows."""
    from scipy.ndimage import find_objects, label

    first, last = (truth_of(context.project, year, _TRUE) for year in (context.first, context.last))
    if first is None or last is None:
        return None
    felled: Bools = np.isin(first.classes, _numbers(_WOOD)) & np.isin(last.classes, _numbers(_CLEARED))
    for changed in (felled, first.classes != last.classes):
        patches, _ = label(changed)
        sizes = np.bincount(patches.ravel(), minlength=2)
        # Of a large area too few placebo areas find room.
        sizes[(sizes < _LEAST_EXAMPLE) | (sizes > _MOST_EXAMPLE * changed.size)] = 0
        sizes[0] = 0
        if sizes.any():
            rows, cols = find_objects(patches)[int(sizes.argmax()) - 1]
            top, bottom, left, right = float(rows.start), float(rows.stop), float(cols.start), float(cols.stop)
            return (top, top, bottom, bottom), (left, right, right, left), ()
    return None


def _numbers(names: tuple[str, ...]) -> list[int]:
    """What the classes are in the truth."""
    return [1 + list(_TRUE).index(name) for name in names]
