"""What a person may have to say of a file of places before it is read: its coordinates, layer, column and system."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from tessera_core.errors import LabelError
from tessera_core.grid import Grid
from tessera_core.labels.crs_guess import usual_systems
from tessera_core.labels.features import NO_HINTS, Hints
from tessera_core.labels.files import Questions, questions
from tessera_core.language import later, t
from tessera_core.ui.files import with_upload

BY_ITSELF = later("found by itself")


def _named(option: str) -> str:
    """Names of a file's layers and columns are its own."""
    return t(option) if option == BY_ITSELF else option


def asked_of(upload: Any, grid: Grid, where: str, key: str) -> tuple[Hints, str | None]:
    """Ask what has to be asked about an uploaded file, nothing for most; returns what was said, and its coordinate system.

    ``where`` and ``key`` name the boxes: ``{where}_field_{key}`` and so on.

    Raises:
        LabelError: the file is not readable, or columns of coordinates are still to be chosen.
    """
    asked = _questions(upload.file_id, NO_HINTS, upload)
    hints = NO_HINTS
    if asked.columns:
        hints = _columns(asked, where, key)
        asked = _questions(upload.file_id, hints, upload)
    if asked.layers:
        chosen = st.selectbox(
            t("Which layer"), [BY_ITSELF, *asked.layers], format_func=_named, key=f"{where}_layer_{key}"
        )
        if chosen != BY_ITSELF:
            hints = replace(hints, layer=chosen)
            asked = _questions(upload.file_id, hints, upload)
    if asked.fields:
        chosen = st.selectbox(
            t("Which column is the class"), [BY_ITSELF, *asked.fields], format_func=_named, key=f"{where}_field_{key}"
        )
        hints = hints if chosen == BY_ITSELF else replace(hints, field=chosen)
    crs = None
    if asked.crs and grid.georeferenced:
        systems = usual_systems(grid)
        chosen = st.selectbox(
            t("Coordinate system"),
            [BY_ITSELF, *systems],
            format_func=_named,
            key=f"{where}_crs_{key}",
            accept_new_options=True,
            help=t("The file does not say it. Choose one, or type its number, for example EPSG:2154."),
        )
        crs = None if chosen == BY_ITSELF else systems.get(chosen, chosen)
    return hints, crs


def _columns(asked: Questions, where: str, key: str) -> Hints:
    """The columns of coordinates of a table whose names do not say it.

    Raises:
        LabelError: one is still to be chosen.
    """
    st.caption(t("Which columns hold the coordinates? Their names do not say it."))
    lon, lat = (
        st.selectbox(title, asked.columns, index=None, placeholder=t("Choose a column"), key=f"{where}_{axis}_{key}")
        for title, axis in ((t("Longitude, or x"), "lon"), (t("Latitude, or y"), "lat"))
    )
    if lon is None or lat is None:
        raise LabelError(t("Choose the two columns of coordinates above, then the labels are read."))
    return Hints(lon=lon, lat=lat)


@st.cache_data(max_entries=4, show_spinner=False)
def _questions(file_id: str, hints: Hints, _upload: Any) -> Questions:
    return with_upload(_upload, lambda path: questions(path, hints))
