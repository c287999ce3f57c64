"""Compare, part What is new: last year's head on this year, a list of places to keep or reject, and labels of the verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core.errors import TesseraError
from tessera_core.export.zone_table import write_zone_table
from tessera_core.language import later, numeral, relay, t, tn
from tessera_core.project import review as reviews
from tessera_core.project.classify import head_choice
from tessera_core.project.monitor import RATE, SMALLEST
from tessera_core.project.review import KEEP, REJECT, Review
from tessera_core.render import palette
from tessera_core.types import Cancel, Progress
from tessera_core.ui import files, given_heads, humanize, jobs, shell
from tessera_core.ui.compare.context import PAGE, CompareContext, area_text, picture_choice, picture_layers
from tessera_core.ui.components import view_map
from tessera_core.ui.components.view_map import Layer, Outline

if TYPE_CHECKING:
    from tessera_core.project.monitor import NewPlace

_OWN = later("These labels, as of the earlier year")
_RATES = (0.01, 0.05, 0.1, 0.2)
_COLOURS = {"": "#e69f00", KEEP: "#009e73", REJECT: "#7a7a7a"}
_HERE = "#d55e00"
_NAMES = {"": later("to look at"), KEEP: later("kept"), REJECT: later("rejected")}
_VIEWS = {"beside": later("Side by side"), "swipe": later("Divider"), "one": later("One map")}
# Metres around a place that the map shows at least.
_VIEW_M = 200.0


def show(context: CompareContext) -> None:
    """The part of the page."""
    years = (context.first, context.last)
    found = reviews.load(context.project, years)
    key = f"{PAGE}|new|{context.project.key}|{years}"
    job = jobs.pool().get(key)
    if found is None or (job is not None and job.active):
        st.caption(
            t(
                "A head that learnt {first} maps both years. A place is new where it gives them different classes and the "
                "embeddings changed too. Keep or reject each; the verdicts become labels of {last}.",
                first=years[0],
                last=years[1],
            )
        )
        _look(context, key)
        return
    _review(context)
    # Open where the last look failed, for it says why.
    with st.expander(t("Look again"), icon=":material/refresh:", expanded=job is not None):
        st.caption(t("Verdicts stay with the places that are found again."))
        _look(context, key)
        if st.button(t("Put this list away"), icon=":material/delete:", key=context.key("new_away")):
            reviews.put_away(context.project, years)
            st.rerun()


# -------------------------------------------------------------------- looking


def _look(context: CompareContext, key: str) -> None:
    """Choose the head and how much is called new; start the work, and keep what it finds."""
    job = jobs.pool().get(key)
    if job is not None and job.active:
        jobs.wait_on(PAGE, key)
        jobs.show(job)
        return
    if job is not None and jobs.outcome(job):
        jobs.pool().forget(key)
        st.rerun()
    project = context.project
    before, now = context.scenes[context.first].raster, context.scenes[context.last].raster
    later_ones = reviews.later_labels(project, context.first)
    teaching = [label for label in project.log.labels if label.kind != "erase" and label.id not in later_ones]
    labelled = len({label.class_id for label in teaching}) > 1
    given = given_heads.choose(context.key("new"), now.provenance, _OWN if labelled else "")
    if isinstance(given, given_heads.Given):
        given_heads.about(given.saved)
    elif given and later_ones:
        st.caption(
            tn(
                "{n} label says what is new after {first}; it does not teach that year.",
                "{n} labels say what is new after {first}; they do not teach that year.",
                len(later_ones),
                first=context.first,
            )
        )
    left, right = st.columns(2, gap="medium")
    rate = left.select_slider(
        t("False alarms I accept"),
        _RATES,
        value=RATE,
        format_func=lambda value: f"{numeral(100 * value, 'g')} %",
        key=context.key("new_rate"),
    )
    smallest = right.number_input(t("Smallest place, pixels"), 1, 1000, SMALLEST, key=context.key("new_smallest"))
    if given is None and not labelled:
        st.info(
            t("Choose a head, or label two classes on the page Label; the labels then teach one."),
            icon=":material/info:",
        )

    def work(progress: Progress, cancelled: Cancel) -> object:
        from tessera_core.project.monitor import find_new
        from tessera_core.project.teaching import own_head

        if isinstance(given, given_heads.Given):
            saved, name = given.saved, given.name
        else:
            saved = own_head(project, before, but=later_ones, progress=progress, cancelled=cancelled)
            name = head_choice(project).name
        found = find_new(saved, before, now, rate=rate, smallest=int(smallest), progress=progress, cancelled=cancelled)
        return reviews.begin(project, found, name)

    @shell.shielded
    def start() -> None:
        jobs.pool().forget(key)
        jobs.pool().start(key, t("Looking for what is new"), work)

    st.button(
        t("Find what is new"),
        type="primary",
        icon=":material/search:",
        disabled=given is None,
        key=context.key("new_find"),
        on_click=start,
    )


# ------------------------------------------------------------------ reviewing


@st.fragment
@shell.shielded
def _review(context: CompareContext) -> None:
    found = reviews.load(context.project, (context.first, context.last))
    if found is None:
        st.rerun()
        return
    if not found.places:
        st.success(
            t("Nothing is new in {last} against {first}.", first=context.first, last=context.last),
            icon=":material/check:",
        )
        return
    total, key = len(found.places), context.key("new_place")
    at = st.session_state.setdefault(key, found.next_open() or 0)
    at = min(int(at), total - 1)
    st.progress(
        len(found.verdicts) / total,
        text=t(
            "{done} of {total} places looked at: {kept} kept, {rejected} rejected",
            done=len(found.verdicts),
            total=total,
            kept=found.kept,
            rejected=found.rejected,
        ),
    )
    problem = st.session_state.pop(context.key("new_problem"), "")
    if problem:
        st.error(humanize.plain(problem), icon=":material/error:")
    place = found.places[at]
    _answers(context, found, place, at)
    _map(context, found, place)
    _labels(context, found)


def _answers(context: CompareContext, found: Review, place: NewPlace, at: int) -> None:
    """The place in one line, and a key for each answer; above the map, so that a thumb finds them on a phone."""
    key, total = context.key("new_place"), len(found.places)
    said = found.verdicts.get(place.number, "")
    colour = {"": "orange", KEEP: "green", REJECT: "gray"}[said]
    line = t(
        "**Place {at} of {total}: {was} → {now}** · {area}, {percent} % sure",
        at=at + 1,
        total=total,
        was=humanize.escape(found.named(place.was)),
        now=humanize.escape(found.named(place.now)),
        area=area_text(place.pixels, context),
        percent=numeral(place.confidence, ".0f"),
    )
    st.markdown(f"{line} &nbsp; :{colour}[{t(_NAMES[said])}]")
    with st.container(horizontal=True, gap="small"):
        for verdict, text, icon, shortcut in (
            (KEEP, t("Keep: it is new"), ":material/check:", "K"),
            (REJECT, t("Reject: as it was"), ":material/close:", "X"),
        ):
            st.button(
                text,
                icon=icon,
                key=context.key(f"new_{verdict}"),
                shortcut=shortcut,
                type="primary" if said == verdict else "secondary",
                on_click=_say,
                args=(context, found, place.number, at, verdict),
            )
        st.button(
            t("Back"), icon=":material/arrow_back:", key=context.key("new_back"), shortcut="Left", disabled=at == 0,
            on_click=_go, args=(key, at - 1),
        )  # fmt: skip
        st.button(
            t("Next"), icon=":material/arrow_forward:", key=context.key("new_next"), shortcut="Right",
            disabled=at == total - 1, on_click=_go, args=(key, at + 1),
        )  # fmt: skip
        if said:
            st.button(
                t("Take it back"), icon=":material/undo:", key=context.key("new_undo"), shortcut="Z", type="tertiary",
                on_click=_say, args=(context, found, place.number, at, None),
            )  # fmt: skip


def _go(key: str, at: int) -> None:
    st.session_state[key] = at


@shell.shielded
def _say(context: CompareContext, found: Review, number: int, at: int, verdict: str | None) -> None:
    try:
        now = reviews.give(context.project, found, number, verdict)
    except (TesseraError, OSError) as error:
        st.session_state[context.key("new_problem")] = relay(error)
        return
    if verdict is not None:
        ahead = now.next_open(at)
        st.session_state[context.key("new_place")] = at if ahead is None else ahead


def _map(context: CompareContext, found: Review, place: NewPlace) -> None:
    view = st.segmented_control(
        t("View"),
        list(_VIEWS),
        default="beside",
        required=True,
        key=context.key("new_view"),
        format_func=lambda one: t(_VIEWS[one]),
        label_visibility="collapsed",
    )
    outline, box = _around(found, place)
    outlines = (
        []
        if outline is None
        else [Outline("new", outline, _HERE, 0.0, f"{found.named(place.was)} → {found.named(place.now)}")]
    )
    ends = (f"year{context.first}", f"year{context.last}")
    view_map.view_map(
        context.key("new_map"),
        context.scenes[context.first].display,
        view_map.MapContent([*picture_layers(context), _layer(context, found, view == "one")], outlines=outlines),
        tools=(),
        comparison=None if view == "one" else view_map.Comparison(*ends, beside=view == "beside"),
        fly_to=box,
        look=view_map.MapLook(
            context.project.name, t("{first} and {last}", first=context.first, last=context.last), height=420
        ),
    )
    picture_choice(context)


def _around(
    found: Review, place: NewPlace
) -> tuple[dict[str, object] | None, tuple[float, float, float, float] | None]:
    """The outline of a place in degrees, and the box that shows it with some ground around; None without a place on Earth."""
    grid = found.grid
    if not grid.georeferenced:
        return None, None
    shape = found.outline(place)

    def ring(line: object) -> list[list[float]]:
        x, y = np.asarray(line.coords).T  # type: ignore[attr-defined]
        lon, lat = grid.pixel_to_lonlat(*grid.xy_to_pixel(x, y))
        return [[float(a), float(b)] for a, b in zip(lon, lat, strict=True)]

    parts = [[ring(one.exterior), *map(ring, one.interiors)] for one in getattr(shape, "geoms", [shape])]
    west, south, east, north = shape.bounds
    more = _VIEW_M + 0.5 * max(east - west, north - south)
    corners = grid.xy_to_pixel(np.array([west - more, east + more]), np.array([south - more, north + more]))
    lon, lat = grid.pixel_to_lonlat(*corners)
    box = (float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max()))
    return {"type": "MultiPolygon", "coordinates": parts}, box


def _layer(context: CompareContext, found: Review, visible: bool) -> Layer:
    """All places, by what was said of them."""
    numbers = _warped(f"{context.content('new')}|{found.stamp}", context, found)
    kinds = ["", KEEP, REJECT]
    table = np.zeros(int(found.numbers.max(initial=0)) + 1, np.uint8)
    for place in found.places:
        table[place.number] = 1 + kinds.index(found.verdicts.get(place.number, ""))
    entries = np.array([(0, 0, 0, 0), *((*palette.rgb(_COLOURS[kind]), 255) for kind in kinds)], np.uint8)
    said = ",".join(f"{k}{v[0]}" for k, v in sorted(found.verdicts.items()))
    return Layer(
        "new",
        t("What is new"),
        palette.encode_indexed(table[numbers], entries),
        f"{found.stamp}|{hash(said) & 0xFFFFFFFF:x}",
        opacity=0.7,
        visible=visible,
        legend=tuple((_COLOURS[kind], t(_NAMES[kind])) for kind in kinds),
    )


@st.cache_resource(max_entries=4, show_spinner=False)
def _warped(version: str, _context: CompareContext, _found: Review) -> NDArray[np.int32]:
    return np.asarray(_context.scenes[_context.first].display.warp(_found.numbers), np.int32)


def _labels(context: CompareContext, found: Review) -> None:
    """What becomes of the verdicts: labels of the project, or a file."""
    first, last = found.years
    _, labels = reviews.waiting(context.project, found)
    of_year = context.project.settings.label_year
    if found.verdicts and of_year != last:
        st.caption(
            t(
                "The project's labels count as of {last} then: those of {first} on ground that changed without being in this list "
                "would be wrong there.",
                first=first,
                last=last,
            )
        )
    with st.container(horizontal=True):
        st.button(
            tn("Make {n} label of the verdicts", "Make {n} labels of the verdicts", len(labels))
            if labels
            else t("All verdicts are labels")
            if found.verdicts
            else t("No verdict yet"),
            type="primary" if labels and not found.open else "secondary",
            icon=":material/label:",
            disabled=not labels,
            key=context.key("new_labels"),
            on_click=_take,
            args=(context, found),
        )
        files.button(
            files.Item(
                t("The list"),
                t("The list with outlines and verdicts, for QGIS or the command line (GeoPackage)."),
                t("Download the list"),
                f"{files.stem_of(context.project, last)}-new.gpkg",
                "application/geopackage+sqlite3",
                lambda path: write_zone_table(path, found.table()),
            )
        )
    told = st.session_state.pop(context.key("new_told"), "")
    if told:
        st.toast(told, icon=":material/check:")


@shell.shielded
def _take(context: CompareContext, found: Review) -> None:
    try:
        count = reviews.add_labels(context.project, found)
    except TesseraError as error:
        st.session_state[context.key("new_problem")] = relay(error)
        return
    st.session_state[context.key("new_told")] = tn(
        "{n} label added; undo on the page Label takes it back.",
        "{n} labels added; undo on the page Label takes them back.",
        count,
    )
