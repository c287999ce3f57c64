"""Part of the page Region, on a loaded project: what could not be fetched is tried again, and years are added."""

from __future__ import annotations

import streamlit as st

from tessera_core.language import relay, t, tn
from tessera_core.project import load
from tessera_core.project.project import Project
from tessera_core.ui import humanize, jobs
from tessera_core.ui.region import chosen


def retry(project: Project) -> None:
    """On a loaded project: name what could not be fetched, and try it again when asked."""
    sentences = load.missing_sentences(project)
    key = f"again-{project.key}"
    job = jobs.pool().get(key)
    if job is not None and job.active:
        jobs.show(job)
        return
    if not sentences:
        jobs.pool().forget(key)
        return
    if job is not None:
        # Told until the person tries again.
        jobs.outcome(job)
    count = t("One piece") if len(sentences) == 1 else t("{sentences} pieces", sentences=len(sentences))
    with st.expander(
        tn(
            "{count} could not be fetched and is blank",
            "{count} could not be fetched and are blank",
            len(sentences),
            count=count,
        ),
        icon=":material/warning:",
    ):
        st.markdown("\n".join(f"- {humanize.escape(relay(sentence))}" for sentence in sentences[:20]))
        if len(sentences) > 20:
            st.caption(t("and {sentences} more", sentences=len(sentences) - 20))
        if st.button(t("Try these again"), icon=":material/refresh:", key="place_retry"):
            jobs.pool().start(
                key,
                t("Fetching what was missing"),
                lambda progress, cancelled: load.again(project, progress, cancelled),
            )
            st.rerun()


def add_years(project: Project) -> None:
    """A button that leads back to the form, filled in with the place of a loaded project."""
    request = load.request_of(project)
    if request is not None and st.button(t("Add years"), icon=":material/calendar_add_on:", key="place_add"):
        chosen.open_here(request)
        st.rerun()
