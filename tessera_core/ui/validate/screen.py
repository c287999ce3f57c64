"""The second state of the page Validate: one place after another, with a key for each answer."""

from __future__ import annotations

import numpy as np
import streamlit as st

from tessera_core.labels.model import LabelClass
from tessera_core.language import later, t, tn
from tessera_core.project import second
from tessera_core.project.project import Project
from tessera_core.project.validate import Validation
from tessera_core.ui import base_layers, canvas, humanize, place_pictures, shell
from tessera_core.ui.components import view_map
from tessera_core.ui.scene import OpenScene
from tessera_core.ui.validate import response
from tessera_core.ui.validate.context import change, key_of, names_of

_MODES = {"blind": later("Say what is there"), "check": later("Right or wrong")}
# Metres to each side of the place that the map shows.
_VIEW_M = 250.0


def screen(project: Project, scene: OpenScene, current: Validation) -> None:
    """One place: the map around it, and a key for each answer."""
    total = len(current.sample)
    key = key_of(project, current)
    place = min(int(st.session_state.setdefault(key, current.next_open() or 0)), total - 1)
    done = current.seen
    st.progress(done / total, text=t("{done} of {total} places looked at", done=done, total=total))
    with st.container():
        # Of its own, so that what follows keeps its place on the page, and stays open where somebody opened it.
        _for_whom(project, current)
    looking, answering = st.columns([5, 3], gap="medium")
    with looking:
        _around(project, scene, current, place)
        if scene.raster.grid.georeferenced:
            with st.expander(
                t("Base maps"), icon=":material/satellite_alt:", key=f"{key}_base", on_change="rerun"
            ) as panel:
                if panel.open:
                    base_layers.panel(project, "validate")
    with answering:
        # Drawn below: on a phone the answers come first.
        mode = st.session_state.get(f"{key}_mode", "blind")
        _answers(project, current, place, blind=mode != "check" or current.two_maps)
        with st.container(horizontal=True):
            st.button(t("Back"), icon=":material/arrow_back:", key=f"{key}_back", shortcut="Left",
                      on_click=_step, args=(key, -1, total), disabled=place == 0)  # fmt: skip
            st.button(t("Next"), icon=":material/arrow_forward:", key=f"{key}_next", shortcut="Right",
                      on_click=_step, args=(key, 1, total), disabled=place == total - 1)  # fmt: skip
            left = second.next_for(current, response.person(project, current), place)
            st.button(t("Next open place"), key=f"{key}_open", disabled=left is None,
                      help=t("The next place that waits for your answer."), on_click=_go, args=(key, left or 0))  # fmt: skip
        if not current.two_maps:
            st.segmented_control(
                t("How to answer"),
                list(_MODES),
                format_func=lambda one: t(_MODES[one]),
                default="blind",
                required=True,
                key=f"{key}_mode",
                help=t("Not seeing what the map says is fairer: people tend to agree with a map."),
            )
        st.text_input(
            t("Note"),
            value=current.sample.notes[place],
            key=f"{key}_note_{place}",
            placeholder=t("Anything worth remembering about this place"),
            on_change=_note,
            args=(project, current, place, f"{key}_note_{place}"),
        )

    with st.expander(t("What satellites saw here"), icon=":material/timeline:", expanded=True):
        row, col = int(current.sample.rows[place]), int(current.sample.cols[place])
        place_pictures.beside(project, current.year, current.grid, row, col, "validate", two_maps=current.two_maps)
        place_pictures.keep_all(project, current.year, "validate")
    asked = t("Say what covers most of the square.")
    if current.rule == "centre":
        asked = t("Say what lies at the very middle of the square.")
    st.caption(t("{asked} Pictures from services and files are chosen under the map's layers.", asked=asked))


def _for_whom(project: Project, current: Validation) -> None:
    """Where some places are meant for two: what waits for whoever looks at this."""
    if not current.doubled:
        return
    person = response.person(project, current)
    if not person:
        st.info(
            t("Some places are meant for two people. Give your name below before you answer."), icon=":material/person:"
        )
        return
    waiting = second.waiting_for(current, person)
    st.caption(
        tn("{n} place waits for {name}.", "{n} places wait for {name}.", waiting, name=humanize.escape(person))
        if waiting
        else t("No place waits for {name}.", name=humanize.escape(person))
    )


def _around(project: Project, scene: OpenScene, current: Validation, place: int) -> None:
    grid, sample = scene.raster.grid, current.sample
    row, col = float(sample.rows[place]) + 0.5, float(sample.cols[place]) + 0.5
    layers = canvas.layers(project, scene)
    box = None
    if grid.georeferenced:
        half = _VIEW_M / grid.pixel_area_m2**0.5
        rows, cols = np.array([row - half, row + half]), np.array([col - half, col + half])
        lon, lat = grid.pixel_to_lonlat(rows, cols)
        box = (float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max()))
    view_map.view_map(
        f"validate_map_{project.key}",
        scene.display,
        view_map.MapContent(layers, outlines=[_square(scene, int(row), int(col), current.unit)])
        if grid.georeferenced
        else view_map.MapContent(layers, [view_map.Marker("place", row, col, text=t("The place"))]),
        tools=(),
        fly_to=box,
        look=view_map.MapLook(subtitle=f"{current.year or ''}", height=400),
    )


def _square(scene: OpenScene, row: int, col: int, unit: str) -> view_map.Outline:
    """What is judged: the pixel, or the 3 x 3 pixels around it."""
    rim = 1 if unit == "block" else 0
    top, bottom, left, right = row - rim, row + 1 + rim, col - rim, col + 1 + rim
    rows, cols = np.array([top, top, bottom, bottom, top]), np.array([left, right, right, left, left])
    lon, lat = scene.raster.grid.pixel_to_lonlat(rows, cols)
    ring = [[float(x), float(y)] for x, y in zip(lon, lat, strict=True)]
    return view_map.Outline("place", {"type": "Polygon", "coordinates": [ring]}, colour="#d55e00", text=t("The place"))


def _answers(project: Project, current: Validation, place: int, *, blind: bool) -> None:
    sample, names = current.sample, names_of(project)
    chosen, mapped = int(sample.reference[place]), int(sample.mapped[place])
    seen, person = current.is_seen(place), response.person(project, current)
    if place in current.doubled:
        # What another said of a place for two is not shown.
        mine = second.shown_to(current, place, person)
        seen, chosen = mine is not None, 0 if mine is None else mine.class_id
    locked = second.needs_name(current, place, person)
    said = names.get(chosen, "cannot tell") if seen else ""
    st.markdown(
        t("**Place {place}**", place=place + 1)
        + (f" &nbsp; :green[:material/check: {humanize.escape(said)}]" if seen else "")
    )
    key = key_of(project, current)
    if not blind and mapped in names:
        st.markdown(t("The map says **{names}**.", names=humanize.escape(names[mapped])))
        st.button(
            t("Right, {name}", name=names[mapped]),
            icon=":material/check:",
            type="primary",
            key=f"{key}_right",
            shortcut="Y",
            width="stretch",
            disabled=locked,
            on_click=_answer,
            args=(project, current, place, mapped),
        )
        st.caption(t("Wrong? Then say what it is:"))
    else:
        st.caption(t("What is there? One key each; the next place comes by itself."))
    with st.container(horizontal=True, gap="small"):
        for number, klass in enumerate(project.log.classes, start=1):
            if blind or klass.id != mapped:
                _class_button(project, current, place, klass, number, klass.id == chosen)
    st.button(t("Cannot tell"), icon=":material/question_mark:", key=f"{key}_unknown", shortcut="U", width="stretch",
              disabled=locked, on_click=_answer, args=(project, current, place, 0))  # fmt: skip
    response.form(project, current)
    if seen:
        st.button(t("Take the answer back"), icon=":material/undo:", key=f"{key}_undo", shortcut="Z", width="stretch",
                  on_click=_answer, args=(project, current, place, None))  # fmt: skip


def _class_button(
    project: Project, current: Validation, place: int, klass: LabelClass, number: int, chosen: bool
) -> None:
    st.button(
        klass.name,
        key=f"{key_of(project, current)}_class_{klass.id}",
        shortcut=str(number) if number <= 9 else None,
        type="primary" if chosen else "secondary",
        disabled=second.needs_name(current, place, response.person(project, current)),
        on_click=_answer,
        args=(project, current, place, klass.id),
    )


@shell.shielded
def _answer(project: Project, current: Validation, place: int, class_id: int | None) -> None:
    # Another tab may have answered other places since this one was drawn.
    said = response.given(project, current, decided=bool(class_id))

    def edit(newest: Validation) -> Validation:
        return newest.answer(place, class_id, response=said)

    answered = change(project, current, edit)
    following = place if class_id is None else second.next_for(answered, said.interpreter, place)
    st.session_state[key_of(project, current)] = place if following is None else following


@shell.shielded
def _note(project: Project, current: Validation, place: int, widget: str) -> None:
    note = st.session_state[widget]
    change(project, current, lambda newest: newest.with_note(place, note))


def _go(key: str, place: int) -> None:
    st.session_state[key] = place


def _step(key: str, by: int, total: int) -> None:
    # From where the session is, not from what the pressed button was drawn for: keys may come faster than pages.
    st.session_state[key] = min(max(int(st.session_state.get(key, 0)) + by, 0), total - 1)
