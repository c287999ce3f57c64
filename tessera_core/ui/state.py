"""What the app remembers: which project is open, its scenes, and the way a deep link takes.

A session keeps only the name of its project's folder; the address bar carries it (``?project=...``), so that a reload or a
restart of the server finds everything. Projects and scenes themselves are shared by all sessions of the server.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from tessera_core.errors import LabelError, ProjectError
from tessera_core.hosting import hosted as hosted
from tessera_core.project.room import note_use
from tessera_core.ui import humanize, people
from tessera_core.ui.scene import OpenScene, open_scene

if TYPE_CHECKING:
    from tessera_core.project.project import Project

_ENTERED = "tessera_entered"
_TARGET = "tessera_target"
_PROJECT = "tessera_project"
_STARTED = "tessera_started"
_QUERY = "project"
_TOLD = "tessera_told_replaced"


def guard(file: str) -> None:
    """First line of every page: send a deep link on a fresh server through app.py.

    Until a session has run ``st.navigation``, Streamlit runs the files of ``pages/`` without app.py, that is without header,
    error handling and state. The page then stores where it was going and starts over (docs/spec/streamlit.md section 6).
    """
    if not st.session_state.pop(_ENTERED, False):
        st.session_state[_TARGET] = (f"pages/{Path(file).name}", st.query_params.to_dict())
        st.switch_page("app.py")


def mark_entered() -> None:
    """Note that app.py runs, for the guard of the page that follows in the same run; before ``st.navigation``."""
    st.session_state[_ENTERED] = True


def forward_deep_link() -> None:
    """Go where the guard's deep link wanted to; after ``st.navigation``."""
    target = st.session_state.pop(_TARGET, None)
    if target is not None:
        page, query = target
        st.switch_page(page, query_params=query)


def visitor() -> str:
    """The key of :func:`tessera_core.ui.people.person`: a name that cannot be guessed nor turned back."""
    return people.person().key


def restore_project() -> None:
    """Find the session's project: by the address bar, the session, or the command line that started the server.

    Raises:
        ProjectError: the address names a project that is not there (any more); the session then has none.
    """
    asked = st.query_params.get(_QUERY) or st.session_state.get(_PROJECT)
    if asked is None and not st.session_state.get(_STARTED) and os.environ.get("TESSERA_PROJECT"):
        asked = key_of(Path(os.environ["TESSERA_PROJECT"]))
    just_come = not st.session_state.get(_STARTED)
    st.session_state[_STARTED] = True
    if asked is None:
        return
    try:
        project = open_project(asked, anew=just_come)
        project.refresh()
        note_use(project.folder)
    except (ProjectError, LabelError):
        close_project()
        raise
    known = st.session_state.setdefault(_TOLD, {})
    for sentence in project.replaced[known.get(project.key, 0) :]:
        st.warning(humanize.plain(sentence), icon=":material/warning:")
    known[project.key] = len(project.replaced)


def current_project() -> Project | None:
    """The session's project, or None."""
    key = st.session_state.get(_PROJECT)
    return None if key is None else _open(key)


def open_project(project: Project | str, *, anew: bool = True) -> Project:
    """Make a project, given itself or by its key, the session's own.

    Args:
        project: itself, or what names it in the address bar.
        anew: go on with its files as they are now, whatever another program did to them since the server opened it.

    Raises:
        ProjectError: there is no such project.
        LabelError: its labels cannot be read.
    """
    key = project if isinstance(project, str) else key_of(project.folder)
    opened = _open(key)
    if anew:
        opened.reopen()
    st.session_state[_PROJECT] = key
    # Moving between pages clears the address bar.
    if st.query_params.get(_QUERY) != key:
        st.query_params[_QUERY] = key
    return opened


def close_project() -> None:
    """Leave the project; it stays saved."""
    st.session_state.pop(_PROJECT, None)
    st.query_params.pop(_QUERY, None)


def forget_project(folder: Path) -> None:
    """Drop the server's and the session's memory of a project whose folder was deleted."""
    key = key_of(folder)
    _open.clear(key)
    if st.session_state.get(_PROJECT) == key:
        close_project()


def key_of(folder: Path) -> str:
    """What names a project in the address bar; see :mod:`tessera_core.project.links`."""
    from tessera_core.project.links import link_of

    return link_of(folder)


def query() -> dict[str, str]:
    """Query parameters that carry the open project to another page."""
    key = st.session_state.get(_PROJECT)
    return {} if key is None else {_QUERY: key}


def current_year(project: Project) -> int | None:
    """The year being looked at: as last chosen, else the newest; None where the embeddings have no calendar year.

    Raises:
        ProjectError: the project has no embeddings at all.
    """
    project.require_embeddings()
    years = list(project.embeddings)
    chosen = project.settings.year
    # As the project calls it: a window that is no calendar year is kept as a number in the settings.
    known = next((year for year in years if year == chosen), None)
    return max((year for year in years if year is not None), default=None) if known is None else known


def scene_for(project: Project, year: int | None = None) -> OpenScene:
    """The opened embeddings of a year (by default :func:`current_year`), shared by all sessions and read-only.

    Raises:
        ProjectError: the project has none of that year, or they are no longer where they were.
        RasterError: they cannot be read.
    """
    if year is None:
        year = current_year(project)
    path = project.embeddings_path(year)
    return open_scene(path, project.embeddings[year].dpixels)


@st.cache_resource(show_spinner=False)
def _open(key: str) -> Project:
    # One object per project and server: two tabs then share one label log and one undo history.
    from tessera_core.project.home import folder_of
    from tessera_core.project.project import Project

    return Project.open(folder_of(key))
