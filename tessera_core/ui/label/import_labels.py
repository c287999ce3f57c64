"""Labels from a file of another program: looked at first, with what was mended and left out; taken in by one button."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from tessera_core.errors import TesseraError
from tessera_core.gate.vectors import OSM_ENDINGS
from tessera_core.labels.features import NO_HINTS, Hints
from tessera_core.labels.files import KINDS, is_class_raster, read_labels
from tessera_core.labels.importing import ImportedLabels
from tessera_core.labels.model import clean_name
from tessera_core.labels.osmfiles import is_osm
from tessera_core.labels.raster_points import raster_points
from tessera_core.language import numeral, relay, t, tn
from tessera_core.project.project import Project
from tessera_core.ui import elsewhere, humanize
from tessera_core.ui.file_questions import asked_of
from tessera_core.ui.files import PLACES, report_lines, with_upload
from tessera_core.ui.label import weak
from tessera_core.ui.scene import OpenScene

MOST_CLASSES = 12


@dataclass(frozen=True)
class _Reading:
    """How a file is to be read: what a person says of it, its CRS, or the points a class drawn from a raster."""

    hints: Hints = NO_HINTS
    crs: str | None = None
    per_class: int = 0


def panel(project: Project, scene: OpenScene) -> None:
    """Choose a file, see what is in it, take it in."""
    upload = st.file_uploader(
        t("A file with labels"),
        type=[*PLACES, "tif", "tiff", *(ending.removeprefix(".") for ending in OSM_ENDINGS)],
        key=f"label_bring_{project.key}",
        help=t(
            "{KINDS}; or a map of classes as GeoTIFF or an extract of OpenStreetMap (.osm.pbf), of which points are drawn.",
            KINDS=KINDS,
        ),
    )
    if upload is None:
        st.caption(
            t("Points or areas with a class each. What a file says of embeddings is not used: they are read here.")
        )
        return
    try:
        # An extract is always somebody else's map: there is nothing to ask.
        others_map = is_osm(upload.name) or weak.wanted(f"{project.key}_{upload.file_id}")
        reading = _reading(project, scene, upload, others_map)
        if others_map:
            found = weak.drawn(project, scene, upload, reading.hints, reading.crs).labels
        else:
            with st.spinner(t("Reading the file")):
                classes = tuple((c.id, c.name) for c in project.log.classes)
                found = _read(upload.file_id, scene.key, reading, classes, upload, scene)
    except TesseraError as error:
        st.error(humanize.told(error), icon=":material/error:")
        return
    if not others_map:
        _tell(found, reading)
    if not found.labels:
        elsewhere.offer(found.report.elsewhere, scene.raster.grid, f"label_bring_elsewhere_{project.key}")
        return
    if not others_map:
        found = _named(found, f"{project.key}_{upload.file_id}")
    what, ids = st.session_state.get(_taken(project), (None, frozenset()))
    # Undone since, they can be taken in again.
    taken = what == (upload.file_id, reading) and any(label.id in ids for label in project.log.labels)
    count = tn("{n} label", "{n} labels", len(found.labels))
    st.button(
        t("Added; undo takes them back") if taken else t("Add {count}", count=count),
        type="secondary" if taken else "primary",
        disabled=taken,
        key=f"label_bring_take_{project.key}",
        width="stretch",
        on_click=_take,
        args=(project, upload.file_id, reading, found),
    )
    problem = st.session_state.pop(f"{_taken(project)}_problem", "")
    if problem:
        st.error(problem, icon=":material/error:")


def _reading(project: Project, scene: OpenScene, upload: Any, others_map: bool) -> _Reading:
    """What has to be asked about a file; nothing for most."""
    key = f"{project.key}_{upload.file_id}"
    if is_osm(upload.name):
        return _Reading()
    if is_class_raster(upload.name):
        if others_map:
            return _Reading()
        wanted = st.number_input(t("Points of each class"), 1, 1000, 20, key=f"label_bring_points_{key}")
        return _Reading(per_class=int(wanted))
    return _Reading(*asked_of(upload, scene.raster.grid, "label_bring", key))


def _tell(found: ImportedLabels, reading: _Reading) -> None:
    report = found.report
    counts = {c.id: 0 for c in found.classes}
    for label in found.labels:
        counts[label.class_id] += 1
    if reading.per_class:
        st.markdown(
            t(
                "**{read}** pixels with a class in this region, **{labels}** of them as points.",
                read=numeral(report.read, ","),
                labels=numeral(len(found.labels), ","),
            )
        )
    else:
        st.markdown(
            tn(
                "**{read}** place read, **{inside}** of them in this region.",
                "**{read}** places read, **{inside}** of them in this region.",
                report.read,
                read=numeral(report.read, ","),
                inside=numeral(len(found.labels), ",") if found.labels else t("none"),
            )
        )
    if found.labels:
        shown = [f"{humanize.escape(c.name)} {numeral(counts[c.id], ',')}" for c in found.classes if counts[c.id]]
        more = len(shown) - MOST_CLASSES
        text = ", ".join(shown[:MOST_CLASSES]) + (t(" and {more} more classes", more=more) if more > 0 else "")
        st.markdown(f":small[{text}]")
    for line in report_lines(report):
        st.caption(humanize.escape(relay(line)))


def _named(found: ImportedLabels, key: str) -> ImportedLabels:
    """The same with names for classes that are only numbers, as a person gives them."""
    used = {label.class_id for label in found.labels}
    numbers = [c for c in found.classes if c.id in used and c.name.lstrip("-").isdigit()]
    if not numbers:
        return found
    with st.expander(t("Name the classes"), icon=":material/edit:", expanded=len(numbers) <= MOST_CLASSES):
        st.caption(t("This file has numbers for classes. What do they stand for? A field left empty keeps its number."))
        given = {c.id: st.text_input(c.name, key=f"label_bring_name_{key}_{c.id}", max_chars=60) for c in numbers}
    classes = [replace(c, name=clean_name(given.get(c.id, "")) or c.name, code=c.code or c.name) for c in found.classes]
    return replace(found, classes=classes)


def _take(project: Project, file_id: str, reading: _Reading, found: ImportedLabels) -> None:
    try:
        before = {label.id for label in project.log.labels}
        project.log.import_labels(found.classes, found.labels)
        # Taken in a second time they have other ids than in the file.
        ids = frozenset(label.id for label in project.log.labels if label.id not in before)
        st.session_state[_taken(project)] = ((file_id, reading), ids)
    except TesseraError as error:
        st.session_state[f"{_taken(project)}_problem"] = humanize.told(error)


def _taken(project: Project) -> str:
    return f"label_bring_taken_{project.key}"


@st.cache_resource(max_entries=4, show_spinner=False)
def _read(
    file_id: str,
    scene_key: str,
    reading: _Reading,
    classes: tuple[tuple[int, str], ...],
    _upload: Any,
    _scene: OpenScene,
) -> ImportedLabels:
    grid = _scene.raster.grid
    if reading.per_class:
        return with_upload(_upload, lambda path: raster_points(path, grid, reading.per_class))
    return with_upload(
        _upload, lambda path: read_labels(path, grid, crs=reading.crs, hints=reading.hints, known=dict(classes))
    )
