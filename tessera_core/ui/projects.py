"""People's projects: the list of the first page, and the switcher at the name in the header."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import streamlit as st

from tessera_core.errors import TesseraError
from tessera_core.language import later, t, tn
from tessera_core.project import deletion, library, places, room
from tessera_core.project.home import RecentProject, projects_home
from tessera_core.project.project import Project
from tessera_core.ui import humanize, reception, speech, state

_SHOWN = 10
_DELETED = "projects_deleted"


def switch_to(project: Project) -> None:
    """Make a project the session's own and begin the page anew."""
    state.open_project(project)
    st.rerun()


def undo() -> None:
    """What was deleted last in this session, with the way back."""
    deleted: deletion.Deleted | None = st.session_state.get(_DELETED)
    if deleted is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", border=True):
        st.markdown(t("**{name}** was deleted.", name=humanize.escape(deleted.name)), width="stretch")
        if st.button(t("Undo"), icon=":material/undo:", key="projects_undo"):
            del st.session_state[_DELETED]
            switch_to(deletion.restore(deleted))


def switcher(project: Project) -> None:
    """The name of the open project; a click shows the others and what can be done with this one."""
    with st.popover(humanize.escape(project.name), icon=":material/folder:", key="project_switcher", type="tertiary"):
        with st.form("project_name", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
            name = st.text_input(t("Name"), value=project.name, key=f"project_name_{project.key}")
            if st.form_submit_button(t("Rename")) and name != project.name:
                library.rename(_entry(project), name)
                st.rerun()
        with st.container(horizontal=True):
            if st.button(t("Duplicate"), icon=":material/content_copy:", key="project_duplicate"):
                with st.spinner(t("Copying the project…")):
                    copy = deletion.duplicate(project, library.free_name(t("{name}, copy", name=project.name)))
                switch_to(copy)
            if st.button(t("Delete"), icon=":material/delete:", key="project_delete"):
                _delete(_entry(project))
        others = [entry for entry in library.recent() if entry.folder != project.folder.resolve()]
        if others:
            st.markdown(t("**Other projects**"))
        for entry in others[:_SHOWN]:
            if st.button(
                humanize.escape(entry.name), key=f"switch_{_key(entry.folder)}", width="stretch", type="tertiary"
            ):
                switch_to(Project.open(entry.folder))
        st.page_link("pages/region.py", label=t("Open something else"), icon=":material/add:")


def strip(project: Project) -> None:
    """The places of the map that the open project is part of, with their labels; a click goes there."""
    found = places.places_of(project)
    if not found:
        return
    here = project.folder.resolve()
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="studio_places"):
        st.markdown(f":small[:gray[{t('Places')}]]", width="content")
        for place in found:
            if st.button(
                f"{humanize.escape(place.name)} · {place.labels}",
                key=f"strip_{_key(place.folder)}",
                type="primary" if place.folder.resolve() == here else "secondary",
                help=tn("{n} label", "{n} labels", place.labels),
            ):
                switch_to(Project.open(place.folder))
        if st.button(t("All on one map"), icon=":material/map:", key="studio_all_places", type="tertiary"):
            st.session_state["compare_part"] = "places"
            st.switch_page("pages/compare.py", query_params=state.query())


def recent() -> None:
    """The list of the first page."""
    undo()
    reception.take_along()
    entries = library.recent()
    if not entries:
        return
    st.header(t("Your projects") if state.hosted() else t("Recent projects"))
    if state.hosted():
        reception.soon_gone()
    now = time.time()
    for entry in entries[:_SHOWN]:
        with st.container(horizontal=True, vertical_alignment="center", border=True, gap="small"):
            st.markdown(
                t(
                    "**{name}**  \n:small[:gray[{value} · changed {ago}{goes}]]",
                    name=humanize.escape(entry.name),
                    value=humanize.escape(entry.dataset or t("no embeddings yet")),
                    ago=humanize.ago(now - entry.saved_at),
                    goes=_goes(entry),
                ),
                width="stretch",
            )
            if st.button(t("Open"), key=f"open_{_key(entry.folder)}"):
                switch_to(Project.open(entry.folder))
            if st.button(t("Rename"), icon=":material/edit:", type="tertiary", key=f"rename_{_key(entry.folder)}"):
                _rename(entry)
            if st.button(t("Delete"), icon=":material/delete:", type="tertiary", key=f"delete_{_key(entry.folder)}"):
                _delete(entry)
    if len(entries) > _SHOWN:
        where = (
            ""
            if state.hosted()
            else t(" are in the folder {projects_folder}", projects_folder=library.projects_folder())
        )
        st.caption(t("{entries} older ones{where}.", entries=len(entries) - _SHOWN, where=where))


def _key(folder: Path) -> str:
    """Names a project in the keys of widgets; elsewhere than in the home two folders may have one name."""
    if folder.resolve().parent == projects_home().resolve():
        return folder.name
    return f"{folder.name}_{hashlib.blake2b(os.fsencode(folder), digest_size=8).hexdigest()}"


def _goes(entry: RecentProject) -> str:
    left = room.days_left(entry.folder)
    return (
        "" if left is None else t(" · removed {removed_in} unless you open it", removed_in=reception.removed_in(left))
    )


def _entry(project: Project) -> RecentProject:
    return RecentProject(project.folder.resolve(), project.name, project.saved_at, None)


@speech.dialog(later("Rename project"))
def _rename(entry: RecentProject) -> None:
    # A form, so that Enter renames.
    with st.form("rename", border=False):
        name = st.text_input(t("New name"), value=entry.name, key=f"new_name_{_key(entry.folder)}")
        if st.form_submit_button(t("Rename"), type="primary"):
            try:
                library.rename(entry, name)
            except TesseraError as error:
                st.error(humanize.told(error), icon=":material/error:")
            else:
                st.rerun()


def _delete(entry: RecentProject) -> None:
    try:
        deleted = deletion.delete(entry)
    except TesseraError as error:
        st.error(humanize.told(error), icon=":material/error:")
        return
    st.session_state[_DELETED] = deleted
    state.forget_project(entry.folder)
    st.rerun()
