"""Labels of somebody else's map: away from its borders, by a legend, with how often it agrees with the labels that are here."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from tessera_core.errors import LabelError
from tessera_core.labels.features import NO_HINTS, Hints
from tessera_core.labels.model import clean_name
from tessera_core.labels.osmfiles import is_osm, plain_name
from tessera_core.labels.weak import BORDER, PER_CLASS, WARNING, ExistingMap, read_existing_map
from tessera_core.language import numeral, relay, t
from tessera_core.project.classify import project_reference
from tessera_core.project.project import Project
from tessera_core.project.weak_labels import WeakLabels, draw_weak_labels
from tessera_core.ui import humanize
from tessera_core.ui.files import with_upload
from tessera_core.ui.scene import OpenScene

_MOST = 60
# Of an extract's many tags, those that cover the most ground are proposed.
_MOST_TAGS = 10


def wanted(key: str) -> bool:
    """Whether the file is somebody else's map."""
    return st.toggle(
        t("It is somebody else's map"),
        key=f"label_bring_weak_{key}",
        help=t(
            "A land cover map or a register of fields: labels are drawn from it by chance, away from borders, with how often it "
            "agrees with labels of yours."
        ),
    )


def drawn(
    project: Project, scene: OpenScene, upload: Any, hints: Hints = NO_HINTS, crs: str | None = None
) -> WeakLabels:
    """What is drawn from the map, after asking how; tells how far it can be trusted.

    Raises:
        LabelError: the map cannot be read, or fewer than two classes have a place away from borders.
    """
    key = f"{project.key}_{upload.file_id}"
    left, right = st.columns(2)
    per_class = left.number_input(t("Points of each class"), 1, 1000, PER_CLASS, key=f"label_bring_weak_points_{key}")
    border = right.number_input(
        t("Away from borders, pixels"),
        0,
        20,
        BORDER,
        key=f"label_bring_weak_border_{key}",
        help=t("A map is wrong most often beside a border, and a pixel there holds both sides."),
    )
    with st.spinner(t("Reading the file")):
        whole = _existing(upload.file_id, scene.key, hints, crs, None, upload, scene)
    legend = _legend_of_tags(whole, key) if is_osm(upload.name) else _legend(whole, key)
    if len(set(legend.values())) < 2:
        raise LabelError(t("Fewer than two classes remain; name what the classes of the map are here."))
    reading = (upload.file_id, scene.key, hints, crs, tuple(sorted(legend.items())))
    drawing = (upload.name, int(per_class), int(border))
    with st.spinner(t("Reading the file")):
        existing = _existing(*reading, upload, scene)
        made = _drawn((*reading, *drawing, project.log.version), existing, *drawing, project, scene)
    counts = ", ".join(f"{humanize.escape(name)} {numeral(count, ',')}" for name, count in made.counts.items())
    st.markdown(f":small[{counts}]")
    for sentence in made.sentences():
        st.markdown(f":small[{humanize.escape(relay(sentence))}]")
    if made.agreement is None:
        st.caption(t("Label a few places yourself, then it is said here how often the map agrees with you."))
    st.warning(relay(WARNING), icon=":material/warning:")
    for line in made.labels.report.skipped:
        st.caption(humanize.escape(f"{relay(line)}."))
    return made


def _legend(existing: ExistingMap, key: str) -> dict[str, str]:
    """Class of the map -> own class, as a person says it; a field that is emptied leaves the class out."""
    names = {existing.codes[k] or name: name for k, name in existing.names.items()}
    if len(names) > _MOST:
        return dict(zip(names, names.values(), strict=True))
    with st.expander(t("What its classes are here"), icon=":material/edit:"):
        return _named(names, key)


def _legend_of_tags(existing: ExistingMap, key: str) -> dict[str, str]:
    """The same for an extract of OpenStreetMap, of whose tags only some are wanted."""
    cover = np.bincount(existing.classes.ravel(), minlength=len(existing.names) + 1)
    tags = [existing.names[k] for k in sorted(existing.names, key=lambda k: -int(cover[k]))]
    if not tags:
        raise LabelError(t("No area of this extract that says what covers the ground lies in this region."))
    with st.expander(t("What its classes are here"), icon=":material/edit:", expanded=True):
        chosen = st.multiselect(
            t("Tags to take"),
            tags,
            default=tags[:_MOST_TAGS],
            key=f"label_bring_weak_tags_{key}",
            help=t("Those of this region, the one that covers most of it first. What is not chosen is left out."),
        )
        return _named({tag: plain_name(tag) for tag in chosen}, key)


def _named(names: dict[str, str], key: str) -> dict[str, str]:
    """Class of the map -> own class; those that are emptied are left out."""
    st.caption(t("Give several classes of the map one name to join them; empty a field to leave a class out."))
    legend = {}
    for theirs, name in names.items():
        said = st.text_input(theirs, name, key=f"label_bring_weak_{key}_{theirs}", max_chars=60)
        if clean_name(said):
            legend[theirs] = clean_name(said)
    return legend


@st.cache_resource(max_entries=6, show_spinner=False)
def _existing(
    file_id: str,
    scene_key: str,
    hints: Hints,
    crs: str | None,
    legend: tuple[tuple[str, str], ...] | None,
    _upload: Any,
    _scene: OpenScene,
) -> ExistingMap:
    grid = _scene.raster.grid
    chosen = None if legend is None else dict(legend)
    return with_upload(
        _upload, lambda path: read_existing_map(path, grid, chosen, field=hints.field, crs=crs, hints=hints)
    )


@st.cache_resource(max_entries=6, show_spinner=False)
def _drawn(
    reading: tuple[Any, ...],
    _existing: ExistingMap,
    _name: str,
    _per_class: int,
    _border: int,
    _project: Project,
    _scene: OpenScene,
) -> WeakLabels:
    raster = _scene.raster
    own = project_reference(_project, raster)
    return draw_weak_labels(_existing, raster, _name, per_class=_per_class, border=_border, own=own)
