"""A door of the page Validate: places that somebody else has drawn by chance and looked at grade the map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st
from numpy.typing import NDArray

from tessera_core.assess.published import classes_found, published_of
from tessera_core.errors import TesseraError
from tessera_core.labels.features import Hints
from tessera_core.labels.files import read_labels
from tessera_core.labels.importing import ImportedLabels
from tessera_core.language import numeral, relay, t
from tessera_core.project import validate
from tessera_core.project.project import Project
from tessera_core.project.validate import Validation
from tessera_core.ui import humanize
from tessera_core.ui.file_questions import asked_of
from tessera_core.ui.files import PLACES, with_upload
from tessera_core.ui.scene import OpenScene
from tessera_core.ui.validate.context import names_of, place_key

# Of a file, classes that are shown at once.
_MOST_CLASSES = 60


def published(project: Project, scene: OpenScene, year: int | None, classes: NDArray[Any], key: str) -> None:
    """Choose a file, say which of its classes is which of one's own, and let its places grade the map."""
    with st.expander(t("Somebody else has looked at places drawn by chance"), icon=":material/public:"):
        upload = st.file_uploader(
            t("Places with a class each, of any program"),
            PLACES,
            key=f"{key}_published",
            help=t("A published reference sample, as a table, GeoJSON, KML or any file of points."),
        )
        if upload is None:
            return
        try:
            new = _graded(project, scene, year, classes, upload, f"{key}_{upload.file_id}")
        except TesseraError as error:
            st.error(humanize.told(error), icon=":material/error:")
            return
        if new is not None and st.button(t("Grade the map by these places"), type="primary", key=f"{key}_grade"):
            validate.start(project, new)
            st.session_state[place_key(project, year)] = 0
            st.rerun()


def _graded(
    project: Project, scene: OpenScene, year: int | None, classes: NDArray[Any], upload: Any, key: str
) -> Validation | None:
    """The sample that a file is, with what was taken and left out said; None while no class of it is one of the map's."""
    grid, names = scene.raster.grid, names_of(project)
    found = _read(scene.key, upload.file_id, *asked_of(upload, grid, "validate_published", key), upload, scene)
    legend = _legend(found, names, f"{key}_{found.report.field}")
    if found.labels and not legend:
        st.info(t("Say above which of your classes each class of the file is."), icon=":material/table_rows:")
        return None
    given = published_of(found, upload.name, grid, classes, names, legend)
    for sentence in given.sentences():
        st.caption(humanize.escape(relay(sentence)))
    return validate.graded(year, grid, given, upload.name)


def _legend(found: ImportedLabels, own: Mapping[int, str], key: str) -> dict[str, str]:
    """Which of one's own classes each class of the file is, in a small table of choices."""
    counts = classes_found(found)
    same = {name.strip().casefold(): place for place, name in enumerate(own.values())}
    unknown = [name for name in counts if name.strip().casefold() not in same]
    legend = {}
    title = t("Its classes among yours: {n} of {total}", n=len(counts) - len(unknown), total=len(counts))
    with st.container(border=True):
        st.markdown(f":small[{title}]")
        for name, places in list(counts.items())[:_MOST_CLASSES]:
            said, choice = st.columns([2, 3], vertical_alignment="center")
            said.markdown(f"{humanize.escape(name)}  \n:small[:gray[{numeral(places, ',')}]]")
            chosen = choice.selectbox(
                t("{name} is", name=name),
                list(own.values()),
                index=same.get(name.strip().casefold()),
                placeholder=t("None of yours"),
                label_visibility="collapsed",
                key=f"{key}_legend_{name}",
            )
            if chosen is not None:
                legend[name] = chosen
    return legend


@st.cache_resource(max_entries=4, show_spinner=False)
def _read(
    scene_key: str, file_id: str, hints: Hints, crs: str | None, _upload: Any, _scene: OpenScene
) -> ImportedLabels:
    grid = _scene.raster.grid
    return with_upload(_upload, lambda path: read_labels(path, grid, crs=crs, hints=hints))
