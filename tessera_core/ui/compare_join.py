"""Compare, part Join: two embeddings of one place as one, opened as a region of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from tessera_core import library
from tessera_core.errors import InputError
from tessera_core.fusion import Fused, fuse
from tessera_core.jobs import Progress
from tessera_core.places import data_home
from tessera_core.project import Project, safe_name
from tessera_core.ui import jobs, state, words
from tessera_core.ui.compare_parts import PAGE
from tessera_core.ui.results import kept

_ELSEWHERE = "a folder or file"


def show(project: Project) -> None:
    """The part of the page."""
    st.caption(
        "Put two embeddings of this place side by side: another model's (such as AlphaEarth beside TESSERA), or two years as one. "
        "Maps, scatter and change then use both. The result is a region of its own; this one stays as it is."
    )
    years = project.years
    left, right = st.columns(2, gap="medium")
    first = left.selectbox("These embeddings", years, index=len(years) - 1, key="compare_join_first")
    options: list[int | str] = [year for year in years if year != first]
    if not state.hosted():
        options.append(_ELSEWHERE)
    if not options or first is None:
        st.info("Load another year on the page Region first.", icon=":material/info:")
        return
    second = right.selectbox("and", options, index=len(options) - 1, key="compare_join_second")
    path = ""
    if second == _ELSEWHERE:
        path = st.text_input("Folder or file of the other embeddings", key="compare_join_path")
    key = "|".join((PAGE, "join", project.id, str(first), str(second), path))
    if st.button(
        "Join them", type="primary", icon=":material/join:", disabled=second == _ELSEWHERE and not path.strip()
    ):
        kept(PAGE).put(key, None)
        jobs.pool().forget(key)
        other = library.typed_path(path) if second == _ELSEWHERE else project.embeddings_path(int(second))
        jobs.pool().start(key, "Joining the embeddings", _work(project, int(first), other))
    job = jobs.pool().get(key)
    if job is None:
        return
    if job.active:
        jobs.wait_on(PAGE, key)
        jobs.show(job)
    elif jobs.outcome(job):
        _done(project, job.result, key)


def _work(project: Project, first: int, other: Path) -> Callable[[Progress, Callable[[], bool]], Fused]:
    from tessera_core.sources.local import open_embeddings

    here = project.embeddings_path(first)
    folder = _free(data_home() / "joined", safe_name(f"{project.name} joined"))

    def work(progress: Progress, cancelled: Callable[[], bool]) -> Fused:
        return fuse(open_embeddings(here), open_embeddings(other), folder, progress=progress, cancelled=cancelled)

    return work


def _free(home: Path, name: str) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    for number in range(1, 10_000):
        folder = home / (name if number == 1 else f"{name} {number}")
        if not folder.exists():
            return folder
    raise InputError(f"There are too many joined embeddings in {home}; delete some.")


def _done(project: Project, made: Fused, key: str) -> None:
    dataset = words.escape(made.raster.provenance.dataset)
    left_out = f" {made.missing:,} pixels that only one of the two has are left out." if made.missing else ""
    st.success(
        f"Joined: {made.raster.dim} numbers a pixel, {dataset}. Rounding kept {100 * made.cosine:.2f} % of the likeness.{left_out}",
        icon=":material/check:",
    )
    if st.button("Open it as a region", type="primary", icon=":material/public:"):
        joined = library.start(library.look(str(made.folder)), f"{project.name} joined")
        jobs.pool().forget(key)
        state.open_project(joined)
        st.switch_page("pages/label.py", query_params=state.query())
