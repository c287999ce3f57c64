"""Labels from a file of another program: looked at first, with what was mended and left out; taken in by one button."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from tessera_core.errors import TesseraError
from tessera_core.labels.crs_guess import usual_systems
from tessera_core.labels.files import KINDS, class_fields, is_class_raster, read_labels, wants_crs
from tessera_core.labels.importing import ImportedLabels
from tessera_core.labels.raster_points import raster_points
from tessera_core.project import Project
from tessera_core.ui import words
from tessera_core.ui.files import PLACES, report_lines, with_upload
from tessera_core.ui.scene import OpenScene

BY_ITSELF = "found by itself"
MOST_CLASSES = 12


@dataclass(frozen=True)
class _Reading:
    """How a file is to be read: the class column and CRS of places, or the points a class drawn from a raster."""

    field: str | None = None
    crs: str | None = None
    per_class: int = 0


def panel(project: Project, scene: OpenScene) -> None:
    """Choose a file, see what is in it, take it in."""
    upload = st.file_uploader(
        "A file with labels",
        type=[*PLACES, "tif", "tiff"],
        key=f"label_bring_{project.key}",
        help=f"{KINDS}; or a map of classes as GeoTIFF, of which points are drawn.",
    )
    if upload is None:
        st.caption("Points or areas with a class each. What a file says of embeddings is not used: they are read here.")
        return
    try:
        reading = _reading(project, scene, upload)
        found = _read(upload.file_id, scene.key, reading, upload, scene)
    except TesseraError as error:
        st.error(str(error), icon=":material/error:")
        return
    _tell(found, reading)
    if not found.labels:
        return
    what, ids = st.session_state.get(_taken(project), (None, frozenset()))
    # Undone since, they can be taken in again.
    taken = what == (upload.file_id, reading) and any(label.id in ids for label in project.log.labels)
    count = f"{len(found.labels):,} {'label' if len(found.labels) == 1 else 'labels'}"
    st.button(
        "Taken in; undo takes them back" if taken else f"Take in {count}",
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


def _reading(project: Project, scene: OpenScene, upload: Any) -> _Reading:
    """What has to be asked about a file; nothing for most."""
    key = f"{project.key}_{upload.file_id}"
    if is_class_raster(upload.name):
        wanted = st.number_input("Points of each class", 1, 1000, 20, key=f"label_bring_points_{key}")
        return _Reading(per_class=int(wanted))
    fields, asks_crs = _questions(upload.file_id, upload)
    field = crs = None
    if fields:
        chosen = st.selectbox("Which column is the class", [BY_ITSELF, *fields], key=f"label_bring_field_{key}")
        field = None if chosen == BY_ITSELF else chosen
    if asks_crs and scene.raster.grid.georeferenced:
        systems = usual_systems(scene.raster.grid)
        chosen = st.selectbox(
            "Coordinate system",
            [BY_ITSELF, *systems],
            key=f"label_bring_crs_{key}",
            accept_new_options=True,
            help="The file does not say it. Choose one, or type its number, for example EPSG:2154.",
        )
        crs = None if chosen == BY_ITSELF else systems.get(chosen, chosen)
    return _Reading(field, crs)


def _tell(found: ImportedLabels, reading: _Reading) -> None:
    report = found.report
    counts = {c.id: 0 for c in found.classes}
    for label in found.labels:
        counts[label.class_id] += 1
    if reading.per_class:
        st.markdown(
            f"**{report.read:,}** pixels with a class in this region, **{len(found.labels):,}** of them as points."
        )
    else:
        places, inside = "place" if report.read == 1 else "places", f"{len(found.labels):,}" if found.labels else "none"
        st.markdown(f"**{report.read:,}** {places} read, **{inside}** of them in this region.")
    if found.labels:
        shown = [f"{words.escape(c.name)} {counts[c.id]:,}" for c in found.classes if counts[c.id]]
        more = len(shown) - MOST_CLASSES
        text = ", ".join(shown[:MOST_CLASSES]) + (f" and {more} more classes" if more > 0 else "")
        st.markdown(f":small[{text}]")
    for line in report_lines(report):
        st.caption(words.escape(line))


def _take(project: Project, file_id: str, reading: _Reading, found: ImportedLabels) -> None:
    try:
        before = {label.id for label in project.log.labels}
        project.log.import_labels(found.classes, found.labels)
        # Taken in a second time they have other ids than in the file.
        ids = frozenset(label.id for label in project.log.labels if label.id not in before)
        st.session_state[_taken(project)] = ((file_id, reading), ids)
    except TesseraError as error:
        st.session_state[f"{_taken(project)}_problem"] = str(error)


def _taken(project: Project) -> str:
    return f"label_bring_taken_{project.key}"


@st.cache_data(max_entries=4, show_spinner=False)
def _questions(file_id: str, _upload: Any) -> tuple[list[str], bool]:
    return with_upload(_upload, lambda path: (class_fields(path), wants_crs(path)))


@st.cache_resource(max_entries=4, show_spinner="Reading the file")
def _read(file_id: str, scene_key: str, reading: _Reading, _upload: Any, _scene: OpenScene) -> ImportedLabels:
    grid = _scene.raster.grid
    if reading.per_class:
        return with_upload(_upload, lambda path: raster_points(path, grid, reading.per_class))
    return with_upload(_upload, lambda path: read_labels(path, grid, reading.field, reading.crs))
