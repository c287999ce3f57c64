"""The folded panels beside the map, one module each.

What a panel computes runs on the shared pool with progress; what it makes appears as a layer of the map.
"""

from __future__ import annotations

import streamlit as st

from tessera_core.language import t
from tessera_core.project.project import Project
from tessera_core.session.labelling import LabelSession
from tessera_core.session.reading import next_step
from tessera_core.ui import base_layers, place_pictures
from tessera_core.ui.help import checklist
from tessera_core.ui.label import class_tree, clusters, heads, import_labels, method, notes, postprocess, quality, take
from tessera_core.ui.scene import OpenScene


def show(session: LabelSession, project: Project, scene: OpenScene) -> frozenset[str]:
    """All panels, folded; what is inside one is made only while it is open.

    Returns:
        Names of the open ones, whose layers are on the map.
    """
    opened = set()
    ready = not next_step(project.log)
    if ready:
        checklist.show(project)
    for name, title, icon, body in (
        ("quality", t("How good is it?"), ":material/verified:", quality.panel),
        ("groups", t("Groups"), ":material/bubble_chart:", clusters.panel),
        ("tidy", t("Tidy up"), ":material/cleaning_services:", postprocess.panel),
        ("tree", t("Classes as a tree"), ":material/account_tree:", class_tree.panel),
        ("seen", t("What satellites saw"), ":material/timeline:", _seen),
        ("base", t("Base maps"), ":material/satellite_alt:", _base),
        ("notes", t("Notes"), ":material/sticky_note_2:", _notes),
        ("file", t("Labels from a file"), ":material/upload_file:", _file),
        ("heads", t("Heads"), ":material/school:", heads.panel),
        ("take", t("Take it with you"), ":material/download:", take.panel),
        ("method", t("Method"), ":material/tune:", method.panel),
    ):
        with st.expander(title, icon=icon, key=f"label_{name}_{project.key}", on_change="rerun") as panel:
            if panel.open:
                opened.add(name)
                body(session, project, scene, ready)
    return frozenset(opened)


def _notes(session: LabelSession, project: Project, scene: OpenScene, ready: bool) -> None:
    notes.panel(project)


def _seen(session: LabelSession, project: Project, scene: OpenScene, ready: bool) -> None:
    """The year of the label that was chosen on the map, or of the one that was made last."""
    chosen = project.log.find_label(str(notes.chosen(project)["id"] or ""))
    painted = [label for label in project.log.labels if label.kind != "erase"]
    label = chosen or (painted[-1] if painted else None)
    if label is None:
        st.caption(t("Label a place; here stands what satellites saw there through the year."))
        return
    x, y = label.xy[0]
    rows, cols = scene.raster.grid.xy_to_pixel(x, y)
    row, col = int(rows), int(cols)
    height, width = scene.raster.shape
    if 0 <= row < height and 0 <= col < width:
        year = scene.raster.provenance.year
        st.caption(
            t("The chosen label's place.") if chosen else t("The place of the newest label; choose another on the map.")
        )
        place_pictures.beside(project, year, scene.raster.grid, row, col, "label")


def _base(session: LabelSession, project: Project, scene: OpenScene, ready: bool) -> None:
    if scene.raster.grid.georeferenced:
        base_layers.panel(project, "label")
    else:
        st.caption(t("This scene has no place on Earth, so no picture of a service can lie under it."))


def _file(session: LabelSession, project: Project, scene: OpenScene, ready: bool) -> None:
    import_labels.panel(project, scene)
