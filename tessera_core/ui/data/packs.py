"""Part of the page Data: packs, one file with projects and all they need, made here and opened elsewhere without a network.

What is in a pack is the matter of :mod:`tessera_core.project.pack`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import streamlit as st

from tessera_core._utils.atomic import atomic_path
from tessera_core._utils.paths import data_home
from tessera_core.language import t
from tessera_core.lessons.library import own_lessons
from tessera_core.lessons.packs import files_of
from tessera_core.project import library, pack
from tessera_core.project.folders import safe_name
from tessera_core.project.library import typed_path
from tessera_core.project.project import Project
from tessera_core.sources.local.uploads import plain_name
from tessera_core.types import Cancel, Progress
from tessera_core.ui import humanize, jobs, shell, state

_MAKE, _OPEN = "pack-make", "pack-open"
_OPENING = "data_pack_opening"
_DOWNLOAD_BYTES = 500 << 20


def panel() -> None:
    """Draw this part of the page."""
    st.header(t("Packs"))
    st.markdown(
        t(
            "A pack is one file with projects, their embeddings and labels. Hand it out in a workshop: it "
            "opens without the internet and without loading anything again."
        )
    )
    left, right = st.columns(2, gap="medium")
    with left.container(border=True, height="stretch"), shell.plain_errors():
        _make()
    with right.container(border=True, height="stretch"), shell.plain_errors():
        _open()


def _make() -> None:
    st.markdown(t("**Make a pack**"))
    key = job_key(_MAKE)
    job = jobs.pool().get(key)
    if job is not None and job.active:
        jobs.show(job)
        return
    entries = {entry.folder: entry for entry in library.recent() if entry.dataset}
    if not entries:
        st.caption(t("There is no project to pack yet."))
        return
    chosen = st.multiselect(
        t("Projects"),
        list(entries),
        format_func=lambda folder: entries[folder].name,
        key="data_pack_projects",
        placeholder=t("Choose projects"),
    )
    timeseries = st.toggle(
        t("With satellite time series"),
        key="data_pack_series",
        help=t("What embeddings made on this computer were made from; many times larger than the embeddings."),
    )
    lessons = {} if state.hosted() else own_lessons()
    handed = (
        st.multiselect(
            t("Lessons of your own to hand out with them"),
            list(lessons),
            format_func=lambda one: lessons[one].words().title,
            key="data_pack_lessons",
            placeholder=t("Choose lessons"),
        )
        if lessons
        else []
    )
    if st.button(t("Make the pack"), icon=":material/inventory_2:", key="data_pack_make", disabled=not chosen):
        projects = [Project.open(folder) for folder in chosen]
        name = (
            projects[0].name
            if len(projects) == 1
            else t("{name} and {projects} more", name=projects[0].name, projects=len(projects) - 1)
        )
        out = pack_folder(projects[0]) / f"{safe_name(name)}{pack.SUFFIX}"
        taught = {one: files_of(lessons[one].folder) for one in handed}
        jobs.pool().forget(key)
        jobs.pool().start(
            key,
            t("Packing {name}", name=name),
            lambda progress, cancelled: pack.make_pack(
                projects, out, timeseries=timeseries, lessons=taught, progress=progress, cancelled=cancelled
            ),
        )
        st.rerun()
    if job is not None and jobs.outcome(job):
        offer(job.result)


def offer(path: Path, key: str = "data_pack_save") -> None:
    """A pack that was made, to save a copy of."""
    if not path.is_file():
        return
    size = path.stat().st_size
    st.success(f"{humanize.escape(path.name)}, {humanize.size(size)}", icon=":material/check:")
    if not state.hosted():
        st.caption(t("It lies at {path}.", path=humanize.escape(str(path))))
    if size <= _DOWNLOAD_BYTES:
        st.download_button(
            t("Save a copy"),
            path.read_bytes,
            file_name=path.name,
            mime="application/zip",
            icon=":material/download:",
            key=key,
            on_click="ignore",
        )


def _open() -> None:
    st.markdown(t("**Open a pack**"))
    key = job_key(_OPEN)
    job = jobs.pool().get(key)
    if job is not None and job.active:
        st.session_state[_OPENING] = True
        jobs.show(job)
        return
    # Forgotten only when it is open: a run that another overtakes loses nothing.
    if job is not None and st.session_state.get(_OPENING, False) and jobs.outcome(job):
        projects: list[Project] = job.result
        state.open_project(projects[0])
        st.session_state.pop(_OPENING, None)
        jobs.pool().forget(key)
        st.switch_page("pages/region.py", query_params=state.query())
    text = ""
    if not state.hosted():
        text = st.text_input(
            t("Path of the file"),
            placeholder=t("for example ~/workshop{SUFFIX}", SUFFIX=pack.SUFFIX),
            key="data_pack_path",
        )
    upload = st.file_uploader(
        t("Upload it") if state.hosted() else t("Or upload it"), type=[pack.SUFFIX[1:]], key="data_pack_upload"
    )
    path: Path | None = typed_path(text) if text.strip() else None
    if path is None and upload is not None:
        # Two people may bring files of one name.
        path = _uploads() / plain_name(upload.file_id) / plain_name(upload.name)
        if not path.is_file() or path.stat().st_size != upload.size:
            with atomic_path(path) as part, part.open("wb") as file:
                shutil.copyfileobj(upload, file)
    if path is None:
        return
    inside = pack.look_into(path)
    st.markdown(
        "\n".join(
            t(
                "- **{name}**: {years}, {labels} labels, {size}",
                name=humanize.escape(entry.name),
                years=humanize.years(list(entry.years)),
                labels=entry.labels,
                size=humanize.size(entry.bytes),
            )
            for entry in inside
        )
    )
    if st.button(
        t("Open it") if len(inside) == 1 else t("Open all {inside}", inside=len(inside)),
        type="primary",
        icon=":material/unarchive:",
        key="data_pack_open",
    ):
        st.session_state[_OPENING] = True
        jobs.pool().forget(key)
        jobs.pool().start(key, t("Opening the pack"), lambda progress, cancelled: _unpack(path, progress, cancelled))
        st.rerun()


def job_key(name: str) -> str:
    """Names the work among all; on a server for strangers each visitor's is their own."""
    return f"{name}-{state.visitor()}" if state.hosted() else name


def pack_folder(project: Project) -> Path:
    """Where a pack is written; on a server for strangers one at a time, and it goes with the project."""
    if not state.hosted():
        return data_home() / "packs"
    folder = project.folder / ".packs"
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _uploads() -> Path:
    return data_home() / "packs" / ".uploads"


def _unpack(path: Path, progress: Progress, cancelled: Cancel) -> list[Project]:
    projects = pack.open_pack(path, progress=progress, cancelled=cancelled)
    if path.parent.parent == _uploads():
        shutil.rmtree(path.parent, ignore_errors=True)
    return projects
