"""The panel with the map to take away: as a picture, as a page, and where all other files are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from tessera_core.errors import ExportError
from tessera_core.language import t
from tessera_core.project.classify import project_product
from tessera_core.project.project import Project
from tessera_core.session.labelling import LabelSession
from tessera_core.ui import files, maps, state
from tessera_core.ui.scene import OpenScene

if TYPE_CHECKING:
    from tessera_core.export.map_layout import MapLayout


def panel(session: LabelSession, project: Project, scene: OpenScene, ready: bool) -> None:
    """Buttons for a picture and a page, and the way to the rest."""
    if not ready:
        st.caption(t("Once there is a map, it can be taken from here as a picture for a slide or a page to print."))
        return

    def layout() -> MapLayout:
        from tessera_core.export.pictures import class_layout

        # The whole map, made when it is asked for: what the screen shows is cut to what is in sight.
        made, missing = maps.project_map(project, scene, state.current_year(project))
        if made is None:
            raise ExportError(missing)
        return class_layout(project_product(project, scene.raster, made), scene.true_colour)

    for item in files.pictures(files.stem_of(project, state.current_year(project)), layout):
        files.button(files.noting(item, project))
    st.page_link("pages/export.py", label=t("All other files"), icon=":material/download:", query_params=state.query())
