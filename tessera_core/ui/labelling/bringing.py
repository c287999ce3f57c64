"""Labels from a file of another program: looked at first, with what was mended and left out; taken in by one button."""

from __future__ import annotations

from typing import Any

import streamlit as st

from tessera_core.errors import TesseraError
from tessera_core.labels.files import KINDS, class_fields, read_labels
from tessera_core.labels.importing import ImportedLabels
from tessera_core.project import Project
from tessera_core.ui import words
from tessera_core.ui.files import PLACES, report_lines, with_upload
from tessera_core.ui.scene import OpenScene

BY_ITSELF = "found by itself"
MOST_CLASSES = 12


def panel(project: Project, scene: OpenScene) -> None:
    """Choose a file, see what is in it, take it in."""
    upload = st.file_uploader("A file with labels", type=PLACES, key=f"label_bring_{project.id}", help=f"{KINDS}.")
    if upload is None:
        st.caption("Points or areas with a class each. What a file says of embeddings is not used: they are read here.")
        return
    field, found = None, None
    try:
        fields = _fields(upload.file_id, upload)
        if fields:
            chosen = st.selectbox(
                "Which column is the class",
                [BY_ITSELF, *fields],
                key=f"label_bring_field_{project.id}_{upload.file_id}",
            )
            field = None if chosen == BY_ITSELF else chosen
        found = _read(upload.file_id, scene.key, field, upload, scene)
    except TesseraError as error:
        st.error(str(error), icon=":material/error:")
        return
    _tell(found)
    if not found.labels:
        return
    taken = st.session_state.get(_taken(project)) == (upload.file_id, field)
    count = f"{len(found.labels):,} {'label' if len(found.labels) == 1 else 'labels'}"
    st.button(
        "Taken in; undo takes them back" if taken else f"Take in {count}",
        type="secondary" if taken else "primary",
        disabled=taken,
        key=f"label_bring_take_{project.id}",
        width="stretch",
        on_click=_take,
        args=(project, upload.file_id, field, found),
    )
    problem = st.session_state.pop(f"{_taken(project)}_problem", "")
    if problem:
        st.error(problem, icon=":material/error:")


def _tell(found: ImportedLabels) -> None:
    report = found.report
    counts = {c.id: 0 for c in found.classes}
    for label in found.labels:
        counts[label.class_id] += 1
    st.markdown(f"**{report.read:,}** places read, **{len(found.labels) or 'none':}** of them in this region.")
    if found.labels:
        shown = [f"{words.escape(c.name)} {counts[c.id]:,}" for c in found.classes if counts[c.id]]
        more = len(shown) - MOST_CLASSES
        text = ", ".join(shown[:MOST_CLASSES]) + (f" and {more} more classes" if more > 0 else "")
        st.markdown(f":small[{text}]")
    for line in report_lines(report):
        st.caption(words.escape(line))


def _take(project: Project, file_id: str, field: str | None, found: ImportedLabels) -> None:
    try:
        project.log.import_labels(found.classes, found.labels)
        st.session_state[_taken(project)] = (file_id, field)
    except TesseraError as error:
        st.session_state[f"{_taken(project)}_problem"] = str(error)


def _taken(project: Project) -> str:
    return f"label_bring_taken_{project.id}"


@st.cache_data(max_entries=4, show_spinner=False)
def _fields(file_id: str, _upload: Any) -> list[str]:
    return with_upload(_upload, class_fields)


@st.cache_resource(max_entries=4, show_spinner="Reading the file")
def _read(file_id: str, scene_key: str, field: str | None, _upload: Any, _scene: OpenScene) -> ImportedLabels:
    return with_upload(_upload, lambda path: read_labels(path, _scene.raster.grid, field))
