"""The finished map of a project, made when a page needs it whole and kept for the session."""

from __future__ import annotations

import streamlit as st

from tessera_core.errors import HeadError
from tessera_core.language import relay, t
from tessera_core.project.classify import ProjectMap, head_choice, map_project
from tessera_core.project.project import Project
from tessera_core.ui.scene import OpenScene


def project_map(project: Project, scene: OpenScene, year: int | None) -> tuple[ProjectMap | None, str]:
    """The map of a year by the project's labels and head, or None and the reason."""
    try:
        with st.spinner(t("Making the map…")):
            how = f"{head_choice(project)} {project.settings.post_processing} {project.settings.least_seen}"
            return _made(project.key, scene.key, project.log.version, how, project, scene, year), ""
    except HeadError as error:
        return None, relay(error)


# Two maps of the region for each session, gone with it: one year and the one before it.
@st.cache_resource(scope="session", max_entries=2, show_spinner=False)
def _made(
    project_id: str, scene: str, version: int, how: str, _project: Project, _scene: OpenScene, _year: int | None
) -> ProjectMap:
    return map_project(_project, _scene.raster, _year)
