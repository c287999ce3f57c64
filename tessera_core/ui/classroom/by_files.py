"""A class by files on a page: hand a pack out, hand work in, and drop all that came back to see the board and the class map.

What is in the files is the matter of :mod:`tessera_core.classroom.byfiles`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from tessera_core.language import relay, t
from tessera_core.project import library, pack
from tessera_core.project.folders import safe_name
from tessera_core.project.library import typed_path
from tessera_core.project.project import Project
from tessera_core.project.project_files import SUFFIX
from tessera_core.sources.local.uploads import plain_name
from tessera_core.types import Cancel, Progress
from tessera_core.ui import files, humanize, jobs, results, shell, state
from tessera_core.ui.data import packs

if TYPE_CHECKING:
    from tessera_core.classroom.byfiles import HandedIn

_MAKE = "class-pack-make"


def panel(page: str) -> None:
    """Draw this part of a page.

    Args:
        page: its address.
    """
    st.header(t("A class by files"))
    st.markdown(
        t(
            "A class without a server: hand one pack out, and drop the files that learners hand in here, "
            "all at once. The board and the map of the class are the same as on a server."
        )
    )
    left, right = st.columns(2, gap="medium")
    with left.container(border=True, height="stretch"), shell.plain_errors():
        _hand_out()
    with right.container(border=True, height="stretch"), shell.plain_errors():
        hand_in_box()
    with st.container(border=True), shell.plain_errors():
        _take_back(page)


# ------------------------------------------------------------------ out


def _hand_out() -> None:
    st.markdown(t("**Teachers: hand out**"))
    key = packs.job_key(_MAKE)
    job = jobs.pool().get(key)
    if job is not None and job.active:
        jobs.show(job)
        return
    template = _chosen(t("Project that learners start from"), "class_pack_project")
    if template is None:
        return
    name = st.text_input(t("Name of the class"), template.name, max_chars=80, key=f"class_pack_name_{template.key}")
    listed = ", ".join(one.name for one in template.log.classes) or t("none yet")
    st.caption(t("Its list of classes: {listed}.", listed=humanize.escape(listed)))
    more = st.text_input(t("Further classes, separated by commas"), key=f"class_pack_more_{template.key}")
    tasks = st.text_area(
        t("Tasks, one a line"),
        placeholder=t("Label five places of each class."),
        height=96,
        max_chars=3000,
        key=f"class_pack_tasks_{template.key}",
    )
    with_labels = st.toggle(
        t("With my labels and answers"),
        key="class_pack_labels",
        help=t(
            "Without, learners get the list of classes and the places of your sample, and see neither "
            "labels nor answers."
        ),
    )
    if st.button(t("Make the pack of the class"), icon=":material/school:", key="class_pack_make"):
        out = packs.pack_folder(template) / f"{safe_name(name)}{pack.SUFFIX}"
        jobs.pool().forget(key)
        jobs.pool().start(
            key,
            t("Packing {name}", name=name),
            lambda progress, cancelled: _class_pack(
                template,
                out,
                name=name,
                tasks=[line.strip() for line in tasks.splitlines() if line.strip()],
                classes=[one.strip() for one in more.split(",") if one.strip()],
                with_labels=with_labels,
                progress=progress,
                cancelled=cancelled,
            ),
        )
        st.rerun()
    if job is not None and jobs.outcome(job):
        packs.offer(job.result, "class_pack_save")


def _class_pack(template: Project, out: Path, **options: Any) -> Path:
    # Loaded when it is wanted: the page itself needs nothing that learns.
    from tessera_core.classroom.byfiles import class_pack

    return class_pack(template, out, **options)


def _hand_in(project: Project, path: Path, learner: str) -> Path:
    from tessera_core.classroom.byfiles import hand_in

    return hand_in(project, path, learner)


def _chosen(label: str, key: str) -> Project | None:
    """A project of this computer that has embeddings; the open one to begin with."""
    entries = {entry.folder: entry for entry in library.recent() if entry.dataset}
    if not entries:
        st.caption(t("There is no project with embeddings yet; choose a region first."))
        return None
    current = state.current_project()
    folders = list(entries)
    known = None if current is None else current.folder.resolve()
    folder = st.selectbox(
        label,
        folders,
        index=folders.index(known) if known in entries else 0,
        format_func=lambda folder: entries[folder].name,
        key=key,
    )
    return Project.open(folder)


# ------------------------------------------------------------------ in


def tasks_of(project: Project) -> None:
    """What the class asks of whoever opened its pack; nothing in other projects."""
    chosen = project.settings
    # On the class's own server its name stands above every page already.
    if not chosen.class_name or (chosen.classroom is not None and not chosen.class_tasks):
        return
    lines = "\n".join(f"{n}. {humanize.escape(task)}" for n, task in enumerate(chosen.class_tasks, 1))
    with st.container(border=True, key="class_tasks"):
        st.markdown(f"**{humanize.escape(chosen.class_name)}**\n\n{lines}")
        if chosen.classroom is None:
            # On the class's own server the work is there already.
            st.page_link("pages/data.py", label=t("Hand in"), icon=":material/upload_file:", query_params=state.query())


def hand_in_box() -> None:
    """Where a learner saves the file for the teacher."""
    st.markdown(t("**Learners: hand in**"))
    project = state.current_project()
    if project is None:
        st.caption(t("Open the pack of your class above, and work in it; then come back here."))
        return
    st.markdown(
        t("Your project: {name}, {labels} labels.", name=humanize.escape(project.name), labels=len(project.log.labels))
    )
    learner = st.text_input(
        t("Your nickname"),
        project.settings.learner or "",
        max_chars=40,
        key=f"class_learner_{project.key}",
        help=t("The teacher and the class see it, and nothing else about you."),
    )
    files.button(
        files.Item(
            t("Your work"),
            t("Labels, answers and the progress of your lesson; no embeddings."),
            t("Save the file to hand in"),
            f"{safe_name(learner) if learner.strip() else 'work'}{SUFFIX}",
            "application/zip",
            lambda path: _hand_in(project, path, learner),
            missing="" if learner.strip() else t("Type a nickname, so that the teacher knows whose work it is."),
            first=bool(project.settings.class_name),
        )
    )


# ------------------------------------------------------------------ back


def _take_back(page: str) -> None:
    st.markdown(t("**Teachers: take back**"))
    template = _chosen(t("Project that the class started from"), "class_back_project")
    if template is None:
        return
    uploads, paths = _brought()
    if not uploads and not paths:
        return
    from tessera_core.classroom.byfiles import read_files
    from tessera_core.classroom.together import year_of
    from tessera_core.ui.classroom import class_map

    scene = state.scene_for(template, year_of(template))

    def work(progress: Progress, cancelled: Cancel) -> HandedIn:
        # What learners hand in is theirs: nothing of it stays on the disk.
        with tempfile.TemporaryDirectory(prefix="tessera-class-") as place:
            read = [*paths, *(_written(upload, Path(place) / str(n)) for n, upload in enumerate(uploads))]
            return read_files(read, scene.raster, template.origin, progress=progress, cancelled=cancelled)

    stamps = [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in paths]
    key = f"class-files|{template.key}|{scene.key}|{stamps}|{[upload.file_id for upload in uploads]}"
    handed: HandedIn | None = results.result_of(page, key, t("Reading what the class handed in"), work, t("Read again"))
    if handed is None:
        return
    for failure in handed.failed:
        st.warning(humanize.left_out(failure), icon=":material/warning:")
    for sentence in (*handed.replaced, *handed.remarks):
        st.info(humanize.escape(relay(sentence)), icon=":material/info:")
    if not handed.works:
        st.markdown(t("None of these files can be used."))
        return
    st.markdown(t("**{works}** learners have handed in.", works=len(handed.works)))
    class_map.show(handed.works, template, page)


def _brought() -> tuple[list[Any], list[Path]]:
    """The files that were dropped, and those of a folder that was named."""
    uploads: list[Any] = st.file_uploader(
        t("Drop all files of the class"),
        type=None,
        accept_multiple_files=True,
        key="class_back_files",
        help=t(
            "The {SUFFIX} files that learners handed in; what is something else is told and left out.", SUFFIX=SUFFIX
        ),
    )
    text = "" if state.hosted() else _folder()
    if not uploads and not text.strip():
        return [], []
    from tessera_core.classroom.byfiles import files_in, require_few

    return require_few(uploads), files_in(typed_path(text)) if text.strip() else []


def _folder() -> str:
    return st.text_input(
        t("Or the folder that they lie in"), placeholder=t("for example ~/handed-in"), key="class_back_folder"
    )


def _written(upload: Any, folder: Path) -> Path:
    """An uploaded file as one of its own name; in a folder of its own, as two learners may hand in files of one name."""
    path = folder / plain_name(upload.name)
    folder.mkdir()
    path.write_bytes(upload.getvalue())
    return path
