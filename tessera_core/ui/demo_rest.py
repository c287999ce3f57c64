"""While the rest of the demo region is still being made: one line that says so, and the project that grows by itself."""

from __future__ import annotations

import streamlit as st

from tessera_core.language import percentage, t
from tessera_core.project import library
from tessera_core.project.project import Project
from tessera_core.ui import humanize


def grows(project: Project) -> bool:
    """Whether the project is of a demo region that is not whole yet."""
    return library.demo_growing(project) is not None


def show(project: Project) -> None:
    """Give the project what is ready of the demo region and tell how far the rest is; nothing for other projects."""
    region = library.demo_growing(project)
    if region is None:
        return
    before = dict(project.embeddings)
    new = library.grow_demo(project, region)
    if project.embeddings != before:
        if new:
            st.toast(
                t("The year {years} of the demo region is here now.", years=humanize.years(new)),
                icon=":material/check:",
            )
        st.rerun(scope="app")
    rest = library.finish_demo()
    missing = [year for year in region.embeddings if year not in region.ready]
    what = t("The year {years}", years=humanize.years(missing)) if missing else t("What the satellites saw")
    if rest.error:
        st.caption(
            t(
                ":material/error: {what} of the demo region could not be made: {error}",
                what=what,
                error=humanize.escape(rest.error),
            )
        )
        if st.button(t("Try again"), key="demo_rest_again"):
            library.finish_demo(again=True)
            st.rerun(scope="fragment")
        return
    st.caption(
        t(
            ":material/hourglass_top: {what} of the demo region is being made beside your work, {value} % "
            "so far, and appears here by itself.",
            what=what,
            value=percentage(rest.fraction),
        )
    )
