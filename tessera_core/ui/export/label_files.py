"""Labels as files of other programs, for the page Export: one choice, what the format does not hold, and its button."""

from __future__ import annotations

import streamlit as st

from tessera_core.export.labels import CLASS_FORMATS, FORMATS, losses, write_classes, write_labels
from tessera_core.language import relay, t
from tessera_core.project.project import Project
from tessera_core.ui import humanize
from tessera_core.ui.files import Item, button, stem_of
from tessera_core.ui.scene import OpenScene

# GeoPackage and GeoJSON have rows of their own.
KINDS = [*(kind for kind in FORMATS if kind not in ("gpkg", "geojson")), *CLASS_FORMATS]


def other_format(project: Project, scene: OpenScene, year: int | None) -> None:
    """One row for all other formats of labels."""
    formats = FORMATS | CLASS_FORMATS
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            kind = st.selectbox(
                t("**Another format**"),
                KINDS,
                format_func=lambda kind: relay(formats[kind].name),
                key=f"export_label_kind_{project.key}",
                width="stretch",
            )
            item = _item(project, scene, year, kind)
            button(item)
        st.markdown(f":small[:gray[{humanize.escape(item.missing or item.about)}]]")
        if not item.missing and kind in FORMATS:
            told = losses(kind, project.log.labels, project.log.classes, scene.raster.grid)
            st.caption("\n".join(f"- {humanize.escape(relay(line))}" for line in told))


def _item(project: Project, scene: OpenScene, year: int | None, kind: str) -> Item:
    log, raster, classes_only = project.log, scene.raster, kind in CLASS_FORMATS
    form = CLASS_FORMATS[kind] if classes_only else FORMATS[kind]
    unplaced = "" if raster.grid.georeferenced else t("It needs a place on Earth, which this region does not have.")
    unlabelled = "" if log.labels else t("There are no labels yet.")
    unnamed = "" if log.classes else t("There are no classes yet.")
    return Item(
        relay(form.name),
        relay(form.about),
        t("Save file"),
        f"{stem_of(project, year)}-{'classes' if classes_only else f'labels-{kind}'}{form.ending}",
        form.mime,
        lambda path: (
            write_classes(path, kind, log.classes, project.class_tree)
            if classes_only
            else write_labels(path, kind, log.labels, log.classes, raster.grid, raster.provenance, project.name)
        ),
        missing=unnamed if classes_only else unlabelled or unplaced,
    )
