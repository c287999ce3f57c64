"""The page Validate: draw a sample of places, say what is there with one key each, read areas and accuracy with intervals.

Three states: no sample yet (the design), places left (the screen), and what the answers so far say, always below. All that
is computed is in :mod:`tessera_core.project.validate` and :mod:`tessera_core.assess`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core.assess.area import AreaEstimate, Assessment
from tessera_core.assess.designs import draw, from_csv, to_csv
from tessera_core.errors import LabelError
from tessera_core.labels.model import LabelClass
from tessera_core.project import validate
from tessera_core.project.project import Project, safe_name
from tessera_core.project.validate import SamplePlan, Validation
from tessera_core.ui import humanize, maps, shell, state
from tessera_core.ui.components import view_map
from tessera_core.ui.scene import OpenScene

DESIGNS = {
    "stratified": "Some in every class",
    "random": "Anywhere, by chance",
    "systematic": "On a regular net",
}
_DESIGN_HELP = {
    "stratified": "Every class of the map gets places, small ones too. Best when you want the area of each class.",
    "random": "Every pixel has the same chance. Simple to explain; rare classes may get no place at all.",
    "systematic": "A square net with a random start, so that places spread evenly over the region.",
}
_MODES = {"blind": "Say what is there", "check": "Right or wrong"}
# Metres to each side of the place that the map shows.
_VIEW_M = 250.0


def page() -> None:
    """Build the page."""
    st.title("Validate")
    project = state.current_project()
    if project is None:
        shell.wants_region("Open a region first; then its map can be checked here.")
        return
    view_map.loader()
    _studio()


@st.fragment
@shell.shielded
def _studio() -> None:
    project = state.current_project()
    if project is None:
        return
    year = _year(project)
    scene = state.scene_for(project, year)
    made, missing = maps.project_map(project, scene, year)
    saved = validate.load(project, year)
    if made is None:
        st.info(missing, icon=":material/info:")
        st.page_link("pages/label.py", label="Label some places", icon=":material/draw:", query_params=state.query())
        return
    if saved is None:
        st.caption(
            "Look at a few places chosen by chance and say what is there. From that follow the areas and the accuracy of "
            "the map with honest intervals, whatever mistakes it makes."
        )
        _design(project, scene, year, made.map.classes)
        return
    try:
        current = saved.on_map(made.map.classes)
    except LabelError as error:
        st.warning(str(error), icon=":material/warning:")
        _again(project, scene, year, made.map.classes)
        return
    _screen(project, scene, current)
    _results(project, scene, current)
    _again(project, scene, year, made.map.classes)


def _year(project: Project) -> int | None:
    current = state.current_year(project)
    if len(project.years) < 2:
        return current
    chosen = st.segmented_control(
        "Year of the map", project.years, default=current, key=f"validate_year_{project.key}", required=True
    )
    return chosen if chosen in project.years else current


def _names(project: Project) -> dict[int, str]:
    return {c.id: c.name for c in project.log.classes}


# ------------------------------------------------------------------ design


def _design(project: Project, scene: OpenScene, year: int | None, classes: NDArray[np.uint8]) -> None:
    """Choose a design, see what it takes, draw it; or bring a sample from a file."""
    key = f"validate_{project.key}_{year}"
    choices, outcome = st.columns([3, 2], gap="large")
    with choices:
        st.subheader("Which places?")
        design = st.radio(
            "How to choose them",
            list(DESIGNS),
            format_func=DESIGNS.__getitem__,
            captions=[_DESIGN_HELP[name] for name in DESIGNS],
            key=f"{key}_design",
        )
        margin = st.select_slider(
            "How exact should the accuracy be?",
            [2, 3, 4, 5, 7, 10, 15],
            value=5,
            format_func=lambda points: f"± {points} points",
            key=f"{key}_margin",
            help="Half of the 95 % interval. Twice as exact takes four times as many places.",
        )
        accuracy = st.slider(
            "How much of the map do you expect to be right?",
            50,
            98,
            80,
            format="%d %%",
            key=f"{key}_accuracy",
            help="A guess is enough: it only sets how many places are drawn.",
        )
        at_least = 0
        if design == "stratified":
            at_least = st.slider(
                "Places in every class, at least",
                2,
                50,
                10,
                key=f"{key}_least",
                help="More of them make the figures of rare classes firmer.",
            )
    with outcome:
        plan = validate.plan(classes, design, margin / 100, accuracy / 100, at_least=max(at_least, 2))
        _outcome(project, plan)
        if st.button("Draw the places", type="primary", icon=":material/casino:", key=f"{key}_draw", width="stretch"):
            seed = int(time.time()) & 0x7FFFFFFF
            sample = draw(classes, plan.n, design, at_least=max(at_least, 2), seed=seed)
            _begin(project, Validation(year, scene.raster.grid, sample))
    _from_file(project, scene, year, key)


def _outcome(project: Project, plan: SamplePlan) -> None:
    st.subheader(f"{plan.n} places")
    st.markdown(
        f"About {humanize.duration(plan.seconds)} of looking. The accuracy would then be known to about "
        f"± {100 * plan.margin:.0f} points. You may stop early: the intervals are only wider then."
    )
    if plan.per_class:
        names = _names(project)
        rows = [{"Class of the map": names.get(k, str(k)), "Places": n} for k, n in plan.per_class.items()]
        st.dataframe(rows, hide_index=True, width="stretch", height=min(35 * len(rows) + 38, 320))


def _from_file(project: Project, scene: OpenScene, year: int | None, key: str) -> None:
    with st.expander("I have a sample as a file", icon=":material/upload_file:"):
        file = st.file_uploader(
            "Sample (CSV) saved by this app, answered here or in another program", type="csv", key=f"{key}_file"
        )
        if file is not None and st.button("Use this sample", key=f"{key}_use"):
            sample = from_csv(file.getvalue().decode("utf-8", errors="replace"), _names(project))
            grid = scene.raster.grid
            if not grid.inside(sample.rows, sample.cols).all():
                raise LabelError("Some places of this file lie outside the region; it belongs to another one.")
            _begin(project, Validation(year, grid, sample))


def _begin(project: Project, new: Validation) -> None:
    validate.start(project, new)
    st.session_state[_place_key(project, new.year)] = 0
    st.rerun()


def _again(project: Project, scene: OpenScene, year: int | None, classes: NDArray[np.uint8]) -> None:
    with st.expander("Draw other places, or bring a file", icon=":material/restart_alt:"):
        st.caption("The answers given so far stay in the project's folder; a new sample begins without them.")
        _design(project, scene, year, classes)


# ------------------------------------------------------------------ screen


def _place_key(project: Project, year: int | None) -> str:
    return f"validate_place_{project.key}_{year}"


def _screen(project: Project, scene: OpenScene, current: Validation) -> None:
    """One place: the map around it, and a key for each answer."""
    total = len(current.sample)
    key = _place_key(project, current.year)
    place = min(int(st.session_state.setdefault(key, current.next_open() or 0)), total - 1)
    done = current.seen
    st.progress(done / total, text=f"{done} of {total} places looked at")
    looking, answering = st.columns([5, 3], gap="medium")
    with looking:
        _around(project, scene, current, place)
    with answering:
        mode = st.segmented_control(
            "How to answer",
            list(_MODES),
            format_func=_MODES.__getitem__,
            default="blind",
            required=True,
            key=f"{key}_mode",
            help="Not seeing what the map says is fairer: people tend to agree with a map.",
        )
        _answers(project, current, place, blind=mode != "check")
        with st.container(horizontal=True):
            st.button("Back", icon=":material/arrow_back:", key=f"{key}_back", shortcut="Left",
                      on_click=_step, args=(key, -1, total), disabled=place == 0)  # fmt: skip
            st.button("Next", icon=":material/arrow_forward:", key=f"{key}_next", shortcut="Right",
                      on_click=_step, args=(key, 1, total), disabled=place == total - 1)  # fmt: skip
            left = current.next_open(place)
            st.button("Next without answer", key=f"{key}_open", disabled=left is None,
                      on_click=_go, args=(key, left or 0))  # fmt: skip
        st.text_input(
            "Note",
            value=current.sample.notes[place],
            key=f"{key}_note_{place}",
            placeholder="Anything worth remembering about this place",
            on_change=_note,
            args=(project, current.year, place, f"{key}_note_{place}"),
        )


def _around(project: Project, scene: OpenScene, current: Validation, place: int) -> None:
    grid, sample = scene.raster.grid, current.sample
    row, col = float(sample.rows[place]) + 0.5, float(sample.cols[place]) + 0.5
    layers = [_layer(scene, "pca", "Embedding picture", not scene.has_true_colour)]
    if scene.has_true_colour:
        layers.append(_layer(scene, "truecolour", "Photograph of the year", True))
    box = None
    if grid.georeferenced:
        half = _VIEW_M / grid.pixel_area_m2**0.5
        rows, cols = np.array([row - half, row + half]), np.array([col - half, col + half])
        lon, lat = grid.pixel_to_lonlat(rows, cols)
        box = (float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max()))
    view_map.view_map(
        f"validate_map_{project.key}",
        display=scene.display,
        layers=layers,
        markers=[] if grid.georeferenced else [view_map.Marker("place", row, col, text="The place")],
        outlines=[_pixel(scene, int(row), int(col))] if grid.georeferenced else [],
        tools=(),
        fly_to=box,
        height=400,
        subtitle=f"{current.year or ''}",
    )
    st.caption("Say what covers most of the square. With internet, choose an aerial picture under the map's layers.")


def _layer(scene: OpenScene, name: str, title: str, visible: bool) -> view_map.Layer:
    return view_map.Layer(name, title, scene.png(name), f"{scene.key}_{name}", visible=visible, group="base")


def _pixel(scene: OpenScene, row: int, col: int) -> view_map.Outline:
    rows, cols = np.array([row, row, row + 1, row + 1, row]), np.array([col, col + 1, col + 1, col, col])
    lon, lat = scene.raster.grid.pixel_to_lonlat(rows, cols)
    ring = [[float(x), float(y)] for x, y in zip(lon, lat, strict=True)]
    return view_map.Outline("place", {"type": "Polygon", "coordinates": [ring]}, colour="#d55e00", text="The place")


def _answers(project: Project, current: Validation, place: int, *, blind: bool) -> None:
    sample, names = current.sample, _names(project)
    chosen, mapped = int(sample.reference[place]), int(sample.mapped[place])
    seen = current.is_seen(place)
    said = names.get(chosen, "cannot tell") if seen else ""
    st.markdown(
        f"**Place {place + 1}**" + (f" &nbsp; :green[:material/check: {humanize.escape(said)}]" if seen else "")
    )
    key = _place_key(project, current.year)
    if not blind and mapped in names:
        st.markdown(f"The map says **{humanize.escape(names[mapped])}**.")
        st.button(f"Right, {names[mapped]}", icon=":material/check:", type="primary", key=f"{key}_right", shortcut="Y",
                  width="stretch", on_click=_answer, args=(project, current, place, mapped))  # fmt: skip
        st.caption("Wrong? Then say what it is:")
    else:
        st.caption("What is there? One key each; the next place comes by itself.")
    with st.container(horizontal=True, gap="small"):
        for number, klass in enumerate(project.log.classes, start=1):
            if blind or klass.id != mapped:
                _class_button(project, current, place, klass, number, klass.id == chosen)
    st.button("Cannot tell", icon=":material/question_mark:", key=f"{key}_unknown", shortcut="U", width="stretch",
              on_click=_answer, args=(project, current, place, 0))  # fmt: skip
    if seen:
        st.button("Take the answer back", icon=":material/undo:", key=f"{key}_undo", shortcut="Z", width="stretch",
                  on_click=_answer, args=(project, current, place, None))  # fmt: skip


def _class_button(
    project: Project, current: Validation, place: int, klass: LabelClass, number: int, chosen: bool
) -> None:
    st.button(
        klass.name,
        key=f"{_place_key(project, current.year)}_class_{klass.id}",
        shortcut=str(number) if number <= 9 else None,
        type="primary" if chosen else "secondary",
        on_click=_answer,
        args=(project, current, place, klass.id),
    )


@shell.shielded
def _answer(project: Project, current: Validation, place: int, class_id: int | None) -> None:
    # Another tab may have answered other places since this one was drawn.
    newest = validate.load(project, current.year) or current
    answered = newest.answer(place, class_id)
    validate.save(project, answered)
    following = place if class_id is None else answered.next_open(place)
    st.session_state[_place_key(project, current.year)] = place if following is None else following


@shell.shielded
def _note(project: Project, year: int | None, place: int, widget: str) -> None:
    newest = validate.load(project, year)
    if newest is not None:
        validate.save(project, newest.with_note(place, st.session_state[widget]))


def _go(key: str, place: int) -> None:
    st.session_state[key] = place


def _step(key: str, by: int, total: int) -> None:
    # From where the session is, not from what the pressed button was drawn for: keys may come faster than pages.
    st.session_state[key] = min(max(int(st.session_state.get(key, 0)) + by, 0), total - 1)


# ------------------------------------------------------------------ results


def _results(project: Project, scene: OpenScene, current: Validation) -> None:
    names = _names(project)
    st.subheader("What follows so far")
    try:
        found = current.assess()
    except LabelError:
        open_ = sorted(
            {int(k) for k in current.sample.sizes}
            - {int(k) for k in current.sample.strata[current.sample.reference > 0]}
        )
        rest = ", ".join(names.get(k, "the region") for k in open_[:4]) + (" and others" if len(open_) > 4 else "")
        st.info(f"Nothing yet: there is no answer in {rest}. Go on; the places come in random order.")
        _downloads(project, scene, current, names, None)
        return
    unit = "ha" if scene.raster.grid.georeferenced else "pixels"
    first, *_ = found.sentences(names, unit)
    st.markdown(f"**{humanize.escape(first)}**")
    areas, matrix = st.tabs(["Areas and accuracy", "What is taken for what"])
    with areas:
        st.dataframe(_table(found, names, unit), hide_index=True, width="stretch", column_config=_columns(unit))
        st.caption(
            "“On the map” counts pixels, mistakes included; “truly” corrects it by what you saw. Right of mapped: of the "
            "ground mapped as the class, how much is it. Found: of the class on the ground, how much is mapped so. "
            "Intervals hold 95 % of the time (Olofsson et al. 2014; Stehman 2014)."
        )
    with matrix:
        _matrix(found, names)
    for note in found.notes:
        st.caption(f":material/info: {humanize.escape(note)}")
    _downloads(project, scene, current, names, found)


def _table(found: Assessment, names: Mapping[int, str], unit: str) -> list[dict[str, object]]:
    return [
        {
            "Class": names.get(c.id, str(c.id)),
            "On the map": c.mapped * found.total_area,
            "Truly": c.area.value,
            "± ": _finite(c.area.margin) if c.sampled else None,
            "Right of mapped": _percent(c.users),
            "Found": _percent(c.producers),
            "Places": c.sampled,
        }
        for c in found.classes
    ]


def _columns(unit: str) -> dict[str, Any]:
    number = st.column_config.NumberColumn
    return {
        "On the map": number(f"On the map ({unit})", format="%.1f"),
        "Truly": number(f"Truly ({unit})", format="%.1f"),
        "± ": number(f"± ({unit}, 95 %)", format="%.1f"),
        "Places": number("Places seen", help="Places where you saw this class"),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _percent(share: AreaEstimate) -> str:
    if not math.isfinite(share.value):
        return "no place"
    margin = f" ± {100 * share.margin:.0f}" if math.isfinite(share.se) and share.se > 0 else ""
    return f"{100 * share.value:.0f}{margin} %"


def _matrix(found: Assessment, names: Mapping[int, str]) -> None:
    what = st.segmented_control(
        "Show", ["Places", "Share of the region"], default="Places", required=True, key="validate_matrix"
    )
    titles = [names.get(k, str(k)) for k in found.ids]
    values = found.counts if what == "Places" else 100 * found.shares
    rows = [
        {"Map says": title, **{other: values[i, j].item() for j, other in enumerate(titles)}}
        for i, title in enumerate(titles)
    ]
    form = "%d" if what == "Places" else "%.1f %%"
    st.dataframe(
        rows,
        hide_index=True,
        width="stretch",
        column_config={title: st.column_config.NumberColumn(f"Seen: {title}", format=form) for title in titles},
    )
    st.caption("Rows are what the map says, columns what you saw; on the diagonal both agree.")


def _downloads(
    project: Project, scene: OpenScene, current: Validation, names: Mapping[int, str], found: Assessment | None
) -> None:
    stem = safe_name(f"{project.name} {current.year or ''}").replace(" ", "-")
    with st.container(horizontal=True):
        st.download_button(
            "Sample (.csv)",
            lambda: to_csv(current.sample, scene.raster.grid, names).encode(),
            f"{stem}-sample.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
            help="Places and answers; fill in the column reference elsewhere and bring it back here.",
            key="validate_csv",
        )
        if found is not None:
            st.download_button(
                "Areas and accuracy (.csv)",
                lambda: validate.estimates_csv(found, names, "ha" if scene.raster.grid.georeferenced else "pixels"),
                f"{stem}-areas.csv",
                "text/csv",
                icon=":material/download:",
                on_click="ignore",
                key="validate_areas_csv",
            )
