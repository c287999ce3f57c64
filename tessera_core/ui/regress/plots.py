"""Bringing plots to the page Continuous map: from a file, by a click and a number, or examples; and the table to mend them in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import streamlit as st

from tessera_core.dpixels.tile import DPixelTile
from tessera_core.errors import LabelError, TesseraError
from tessera_core.labels.plots import add_plot, change_value, measure_named, require_number, take_in
from tessera_core.labels.report import ImportReport
from tessera_core.labels.values import ValueField, name_and_unit, read_value_plots, value_fields
from tessera_core.language import later, numeral, relay, t, tn
from tessera_core.project.regress import EXAMPLE_FIELD, RegressionScore, example_plots, place_remarks
from tessera_core.ui import elsewhere, humanize, shell
from tessera_core.ui.files import PLACES, report_lines, with_upload
from tessera_core.ui.regress.context import RegressContext
from tessera_core.ui.regress.value_map import errors_of

SOMETHING_ELSE = 0
_BY_HAND = later("Or click the map where you measured, and type the number.")
_EXAMPLE_NOTE = later(
    "Example plots: the mean NDVI (greenness) of June to August, read off the region's own "
    "satellite images at places drawn by chance. They are no field measurements, and the embeddings "
    "saw the same images, so real plots will score lower."
)


def plots_panel(context: RegressContext, score: RegressionScore | None) -> None:
    """The section: open while there are no plots, folded away afterwards."""
    key = context.key("bring")
    if key not in st.session_state:
        st.session_state[key] = not context.plots
    _report(context)
    # One title whatever is in it: with another one it would be another section, and closed.
    with st.expander(t("Plots"), icon=":material/add_location_alt:", key=key, on_change="rerun") as section:
        if not context.plots:
            st.caption(
                t(
                    "Places where something was measured: canopy height, biomass, cover, yield, soil carbon … Their "
                    "numbers become a map, with its margin and an honest score."
                )
            )
        # Also while it is folded: Streamlit forgets a file whose field is not shown.
        _file(context)
        if not section.open:
            return
        _examples(context)
        if context.plots:
            st.markdown(t("**{plots} plots**", plots=numeral(len(context.plots), ",")))
            _table(context, score)
        if context.project.plots.can_undo or context.project.plots.can_redo:
            _history(context)


def measures(context: RegressContext) -> None:
    """Which of the things measured is mapped, where there are several."""
    classes = context.project.plots.classes
    if not classes:
        return
    names = {c.id: f"{c.name} ({c.code})" if c.code else c.name for c in classes} | {
        SOMETHING_ELSE: t("Something else…")
    }
    chosen = SOMETHING_ELSE if context.measure is None else context.measure.id
    # Whatever the session held, the project's own choice is shown: a file or an undo may have changed it.
    key = context.key("measure")
    st.session_state[key] = chosen
    st.selectbox(
        t("What is mapped"),
        list(names),
        key=key,
        format_func=names.__getitem__,
        label_visibility="collapsed",
        width=240,
        on_change=shell.shielded(_measure_chosen),
        args=(context, key),
    )


def _measure_chosen(context: RegressContext, key: str) -> None:
    context.project.update(regression_measure=st.session_state[key])
    st.session_state.pop(context.key("chosen"), None)
    st.session_state.pop(context.key("report"), None)
    if st.session_state[key] == SOMETHING_ELSE:
        st.session_state[context.key("bring")] = True


# ------------------------------------------------------------------ by a file


def _file(context: RegressContext) -> None:
    key = context.key("file")
    upload = st.file_uploader(
        t("A file of places with a number each"),
        type=PLACES,
        key=key,
        on_change=shell.shielded(_uploaded),
        args=(context, key),
        help=t(
            "CSV with coordinates, GeoJSON, GeoPackage, KML or zipped shapefile; points or areas, in any "
            "coordinate system."
        ),
    )
    if upload is None:
        return
    with shell.plain_errors():
        by_name = {field.name: field for field in _fields_of(upload)}
        chosen = st.selectbox(
            t("Which number"),
            list(by_name),
            key=context.key(f"field_{upload.file_id}"),
            format_func=lambda field: _described(by_name[field]),
            help=t("Each column of numbers can be mapped; take another one at any time."),
        )
        # Removed or undone since, they can be added again.
        taken = bool(context.plots) and st.session_state.get(context.key("taken")) == (upload.file_id, chosen)
        st.button(
            t("These plots are in")
            if taken
            else t("Use these {count} plots", count=numeral(by_name[chosen].count, ",")),
            type="primary" if not context.plots else "secondary",
            icon=":material/check:" if taken else ":material/add:",
            disabled=taken,
            key=context.key(f"use_{upload.file_id}"),
            on_click=shell.shielded(_take_file),
            args=(context, upload, chosen),
        )


def _uploaded(context: RegressContext, key: str) -> None:
    """A file with one column that can only be the number is taken without asking."""
    upload = st.session_state[key]
    st.session_state.pop(context.key("report"), None)
    if upload is not None:
        likely = [field.name for field in _fields_of(upload) if field.likely]
        if len(likely) == 1:
            _take_file(context, upload, likely[0])


def _fields_of(upload: Any) -> list[ValueField]:
    fields = _fields(upload.file_id, upload)
    if not fields:
        raise LabelError(
            t("{name} has places, but no numbers beside them; add a column with what was measured.", name=upload.name)
        )
    return fields


@st.cache_data(max_entries=4, show_spinner=False)
def _fields(file_id: str, _upload: Any) -> list[ValueField]:
    return with_upload(_upload, value_fields)


def _described(field: ValueField) -> str:
    return t(
        "{name}: {count} numbers, {low} to {high}",
        name=field.name,
        count=numeral(field.count, ","),
        low=numeral(field.low, ".4g"),
        high=numeral(field.high, ".4g"),
    )


def _take_file(context: RegressContext, upload: Any, field: str) -> None:
    grid = context.scene.raster.grid
    found = with_upload(upload, lambda path: read_value_plots(path, grid, field))
    if not found.labels:
        told = t("No plot of {name} lies in this region.", name=upload.name)
    else:
        taken = take_in(context.project.plots, found)
        context.project.update(regression_measure=taken.measure.id)
        told = tn(
            "{n} plot of {name} added from {name2}.",
            "{n} plots of {name} added from {name2}.",
            taken.added,
            name=taken.measure.name,
            name2=upload.name,
        )
        if taken.known:
            told += t(" {known} were there already.", known=numeral(taken.known, ","))
        if found.report.read != taken.added:
            told += t(" {read} places were read.", read=numeral(found.report.read, ","))
        st.session_state[context.key("bring")] = False
        st.session_state[context.key("taken")] = (upload.file_id, field)
    st.session_state[context.key("report")] = (told, found.report, "")


def _report(context: RegressContext) -> None:
    """What became of the last file."""
    known: tuple[str, ImportReport, str] | None = st.session_state.get(context.key("report"))
    if known is None:
        return
    told, report, note = known
    text = "  \n".join(humanize.escape(relay(line)) for line in report_lines(report))
    body = f"{humanize.escape(relay(told))}" + (f"  \n:small[{humanize.escape(relay(note))}]" if note else "")
    if text:
        body += "  \n" + "  \n".join(f":small[{line}]" for line in text.split("  \n"))
    icon = ":green[:material/check_circle:]" if report.labels else ":orange[:material/warning:]"
    with st.container(border=True, horizontal=True, vertical_alignment="top", gap="small"):
        st.markdown(f"{icon} {body}", width="stretch")
        st.button(
            t("Close"),
            icon=":material/close:",
            type="tertiary",
            key=context.key("close"),
            on_click=lambda: st.session_state.pop(context.key("report"), None),
        )
    if not report.labels:
        elsewhere.offer(report.elsewhere, context.scene.raster.grid, context.key("elsewhere"))


# ------------------------------------------------------------------- examples


def _examples(context: RegressContext) -> None:
    if context.plots or context.scene.dpixels is None or not context.scene.dpixels.is_dir():
        if not context.plots:
            st.caption(t(_BY_HAND))
        return
    st.button(
        t("Try with example plots"),
        icon=":material/science:",
        key=context.key("examples"),
        on_click=shell.shielded(_take_examples),
        args=(context,),
        width="stretch",
        help=t(_EXAMPLE_NOTE),
    )
    st.caption(t(_BY_HAND))


def _take_examples(context: RegressContext) -> None:
    assert context.scene.dpixels is not None
    found = example_plots(context.scene.raster, DPixelTile.open(context.scene.dpixels))
    taken = take_in(context.project.plots, found)
    context.project.update(regression_measure=taken.measure.id)
    st.session_state[context.key("report")] = (
        t("{added} plots of {EXAMPLE_FIELD} added.", added=taken.added, EXAMPLE_FIELD=EXAMPLE_FIELD),
        found.report,
        _EXAMPLE_NOTE,
    )
    st.session_state[context.key("bring")] = False


# ------------------------------------------------------------------- by hand


def adder(context: RegressContext, row: float, col: float) -> None:
    """A number for a clicked place."""
    with st.form(context.key("add"), border=False, clear_on_submit=True):
        if context.measure is None:
            left, right = st.columns([2, 1], gap="small")
            left.text_input(t("What was measured"), placeholder="height", key=context.key("new_name"))
            right.text_input(t("Unit"), placeholder="m", key=context.key("new_unit"))
        unit = f" ({context.measure.code})" if context.measure is not None and context.measure.code else ""
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            st.text_input(t("Measured here{unit}", unit=unit), placeholder=t("a number"), key=context.key("new_value"))
            st.form_submit_button(
                t("Add plot"),
                icon=":material/add_location:",
                type="primary",
                on_click=shell.shielded(_add),
                args=(context, row, col),
            )


def _add(context: RegressContext, row: float, col: float) -> None:
    grid, log = context.scene.raster.grid, context.project.plots
    name, unit, value = (
        str(st.session_state.get(context.key(f"new_{what}"), "")) for what in ("name", "unit", "value")
    )
    if not bool(grid.inside(np.array([row]), np.array([col]))[0]):
        raise LabelError(t("That place is outside the region; click inside it."))
    # Before something measured is made for it.
    require_number(value)
    if context.measure is None and not unit:
        name, unit = name_and_unit(name)
    measure = context.measure or measure_named(log, name, unit)
    x, y = grid.pixel_to_xy(np.array([row]), np.array([col]))
    label = add_plot(log, measure.id, float(x[0]), float(y[0]), value)
    context.project.update(regression_measure=measure.id)
    st.session_state[context.key("chosen")] = ("plot", label.id)
    st.session_state.pop(context.key("report"), None)


def changer(context: RegressContext, label_id: str, value: float) -> None:
    """Another number for a plot, or none."""
    field = context.key(f"value_{label_id}_{value!r}")
    with (
        st.form(context.key(f"change_{label_id}"), border=False),
        st.container(horizontal=True, vertical_alignment="bottom", gap="small"),
    ):
        st.text_input(t("Measured here"), f"{value:.10g}", key=field)
        st.form_submit_button(
            t("Change"), icon=":material/edit:", on_click=shell.shielded(_change), args=(context, label_id, field)
        )
        st.form_submit_button(
            t("Remove plot"), icon=":material/delete:", on_click=shell.shielded(_remove), args=(context, label_id)
        )


def _change(context: RegressContext, label_id: str, field: str) -> None:
    change_value(context.project.plots, label_id, st.session_state[field])


def _remove(context: RegressContext, label_id: str) -> None:
    context.project.plots.remove_label(label_id)
    st.session_state.pop(context.key("chosen"), None)


# ------------------------------------------------------------------- the table


def _table(context: RegressContext, score: RegressionScore | None) -> None:
    assert context.measure is not None
    for sentence in place_remarks(context.plots, context.scene.raster):
        st.caption(f":material/info: {sentence}")
    grid, errors = context.scene.raster.grid, errors_of(context, score)
    xy = np.array([np.mean(plot.label.rings[0], axis=0) for plot in context.plots])
    rows, cols = grid.xy_to_pixel(xy[:, 0], xy[:, 1])
    first, second = grid.pixel_to_lonlat(rows, cols) if grid.georeferenced else (cols, rows)
    names = (t("Longitude"), t("Latitude")) if grid.georeferenced else (t("Column"), t("Row"))
    table: dict[str, Any] = {context.measure.name: [plot.value for plot in context.plots]}
    if np.isfinite(errors).any():
        table["Error"] = [error if np.isfinite(error) else None for error in errors.tolist()]
    table |= {names[0]: first.tolist(), names[1]: second.tolist()}
    key = f"{context.key('table')}_{context.project.plots.version}_{context.measure.id}"
    number = st.column_config.NumberColumn
    digits = humanize.decimals(float(score.result["rmse"])) if score is not None and score.result else 2
    place = "%.5f" if grid.georeferenced else "%.1f"
    st.data_editor(
        table,
        key=key,
        num_rows="delete",
        hide_index=True,
        disabled=[t("Error"), *names],
        height=260,
        width="stretch",
        column_config={
            context.measure.name: number(context.title, required=True, help=t("Double-click to change a number.")),
            "Error": number(
                format=f"%.{digits}f", help=t("What the map says that has not seen the plot, minus your number.")
            ),
            names[0]: number(format=place),
            names[1]: number(format=place),
        },
        on_change=shell.shielded(_edited),
        args=(context, key),
    )
    st.caption(
        t("Double-click a number to change it; tick rows and press the bin to remove plots. All is saved at once.")
    )
    with st.container(horizontal=True, gap="small"):
        for what, title, limit in (("name", t("Name"), 80), ("code", t("Unit"), 20)):
            field = f"{context.key(what)}_{context.measure.id}_{getattr(context.measure, what)}"
            st.text_input(
                title,
                getattr(context.measure, what),
                max_chars=limit,
                key=field,
                on_change=shell.shielded(_renamed),
                args=(context, what, field),
            )


def _edited(context: RegressContext, key: str) -> None:
    state, log = st.session_state[key], context.project.plots
    assert context.measure is not None
    with log.batch():
        for number, changes in state["edited_rows"].items():
            if context.measure.name in changes:
                change_value(log, context.plots[int(number)].label.id, changes[context.measure.name])
        for number in state["deleted_rows"]:
            log.remove_label(context.plots[int(number)].label.id)


def _renamed(context: RegressContext, what: str, field: str) -> None:
    assert context.measure is not None
    try:
        context.project.plots.edit_class(context.measure.id, **{what: st.session_state[field]})
    except TesseraError:
        del st.session_state[field]
        raise


def _history(context: RegressContext) -> None:
    log = context.project.plots

    def step(name: str, possible: bool, action: Callable[..., Any]) -> None:
        st.button(
            name,
            icon=f":material/{name.lower()}:",
            key=context.key(name.lower()),
            disabled=not possible,
            on_click=shell.shielded(action),
        )

    with st.container(horizontal=True, gap="small"):
        step(t("Undo"), log.can_undo, log.undo)
        step(t("Redo"), log.can_redo, log.redo)
        if context.measure is not None:
            st.button(
                t("Remove all"),
                icon=":material/delete_sweep:",
                key=context.key("clear"),
                on_click=shell.shielded(log.remove_class),
                args=(context.measure.id,),
                help=t("Removes {name} with its plots; undo brings them back.", name=context.measure.name),
            )
