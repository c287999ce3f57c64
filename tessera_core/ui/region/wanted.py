"""Embeddings that the open project was made on and that are not linked on this computer: which, and where they lie."""

from __future__ import annotations

import streamlit as st

from tessera_core.language import relay, t
from tessera_core.project import library
from tessera_core.project.project import Project
from tessera_core.ui import humanize, shell, state

_REMARK = "region_wanted_remark"


def panel(project: Project) -> None:
    """What is wanted; on a person's own computer with a field for its path. Nothing where all is there."""
    if remark := st.session_state.pop(_REMARK, ""):
        st.warning(remark, icon=":material/warning:")
    if project.wanted and library.link_known(project):
        st.rerun()
    for year, want in project.wanted.items():
        with st.container(border=True):
            st.warning(humanize.escape(relay(want.sentence)), icon=":material/link_off:")
            _ask(project, year, want.suggestion)
    for year, ref in project.embeddings.items():
        if not ref.path.exists() and not state.hosted():
            with st.container(border=True):
                st.markdown(
                    t("**The embeddings are no longer where they were.**")
                    if year is None
                    else t("**The embeddings of {year} are no longer where they were.**", year=year)
                )
                _ask(project, year, str(ref.path))


def _ask(project: Project, year: int | None, suggestion: str) -> None:
    if state.hosted():
        st.caption(project.how_to_link)
        return
    # A project that somebody sent may name any path: it is shown, and used only when its reader says so.
    path = st.text_input(
        t("Choose where it lies"),
        value=suggestion,
        placeholder=t("folder or file of the embeddings"),
        key=f"region_where_{project.key}_{year}",
    )
    if st.button(t("Link it"), icon=":material/link:", key=f"region_link_{project.key}_{year}"):
        with shell.plain_errors():
            st.session_state[_REMARK] = library.relink(project, year, path)
            st.rerun()
