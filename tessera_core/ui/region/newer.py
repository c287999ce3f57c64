"""Part of the page Region: whether the publisher has newer data than a project holds, and what they change.

The looking and taking is in :mod:`tessera_core.project.newer_data`.
"""

from __future__ import annotations

import base64
import html

import numpy as np
import streamlit as st

from tessera_core.language import relay, t
from tessera_core.project import load, newer_data
from tessera_core.project.newer_data import APPEARED, CHANGED, GONE, Look, YearDifference
from tessera_core.project.project import Project
from tessera_core.ui import humanize, jobs
from tessera_core.ui.scene import small_png

# Of what changed, appeared and is gone: told apart by everybody, and on either background.
_COLOURS = {CHANGED: (230, 159, 0), APPEARED: (0, 158, 115), GONE: (213, 94, 0)}
_SAME = (225, 225, 225)


def panel(project: Project) -> None:
    """The panel, for regions that were read from a repository with snapshots."""
    snapshot = load.pinned_snapshot(project)
    if not snapshot:
        return
    key = f"newer-{project.key}"
    job = jobs.pool().get(key)
    with st.expander(t("Newer data of the publisher"), icon=":material/update:", expanded=job is not None):
        st.markdown(
            t(
                "This region is of the state {snapshot} of the publisher's store and stays so until you decide otherwise.",
                snapshot=f"`{snapshot[:20]}`",
            )
        )
        if job is not None and job.active:
            jobs.show(job)
            return
        if job is not None and jobs.outcome(job):
            if isinstance(job.result, Look):
                _found(project, key, job.result)
                return
            # The newer data were taken.
            st.success(t("The newer data are in use now."), icon=":material/check:")
        if st.button(t("Look for newer data"), icon=":material/update:", key="newer_look"):
            jobs.pool().forget(key)
            jobs.pool().start(
                key,
                t("Looking for newer data"),
                lambda progress, cancelled: newer_data.look(project, progress, cancelled),
            )
            st.rerun()


def _found(project: Project, key: str, found: Look) -> None:
    st.info(humanize.escape(relay(found.sentence)), icon=":material/info:")
    differing = [one for one in found.differences if one.picture.any()]
    for one in found.differences:
        st.markdown(humanize.escape(relay(one.sentence)))
    for one in differing[:3]:
        said = t("{year}: orange changed, green new, red gone", year=one.year)
        data = base64.b64encode(_picture(one)).decode()
        # No wider than a phone, and with a text for those who cannot see it.
        st.html(
            f'<img alt="{html.escape(said)}" src="data:image/png;base64,{data}" '
            'style="width:min(360px,100%);image-rendering:pixelated">'
        )
        st.caption(said)
    with st.container(horizontal=True):
        if differing and st.button(t("Use the newer data"), icon=":material/check:", key="newer_take"):
            jobs.pool().forget(key)
            jobs.pool().start(
                key,
                t("Taking the newer data"),
                lambda progress, cancelled: newer_data.take(project, found, progress, cancelled),
            )
            st.rerun()
        if st.button(t("Keep what is here") if differing else t("Close"), icon=":material/close:", key="newer_keep"):
            jobs.pool().forget(key)
            st.rerun()


def _picture(one: YearDifference) -> bytes:
    colours = np.full((*one.picture.shape, 3), _SAME, np.uint8)
    for value, colour in _COLOURS.items():
        colours[one.picture == value] = colour
    return small_png(colours, np.ones(one.picture.shape, bool))
