"""What a server keeps: its projects, unused for longest first, and deleting those that nobody wants, with the way back."""

from __future__ import annotations

import time
from datetime import datetime

import pandas as pd
import streamlit as st

from tessera_core.errors import ProjectError
from tessera_core.hosting import Limits, audit, hosted, may
from tessera_core.language import relay, t, tn
from tessera_core.project import deletion, room
from tessera_core.project.home import RecentProject
from tessera_core.project.room import Kept
from tessera_core.ui import humanize, people, shell, tables

_DELETED = "server_deleted"
_LOOKED = "server_kept"
# Somebody may be at it; that it is used is noted once an hour.
_IN_USE_SECONDS = 2 * 3600.0


@shell.shielded
def section() -> None:
    """Draw the table and what can be done with what is chosen there."""
    if not hosted():
        return
    st.header(t("What is kept"))
    _undo()
    found = st.session_state.get(_LOOKED)
    if found is None or st.button(t("Look again"), icon=":material/refresh:", key="server_look"):
        # Each is measured, which takes a while where there are many.
        with st.spinner(t("Looking at the projects…")):
            found = st.session_state[_LOOKED] = room.kept()
    if not found:
        st.caption(t("No projects."))
        return
    chosen = tables.show(
        _table(found),
        hide_index=True,
        width="stretch",
        on_select="rerun",
        selection_mode="multi-row",
        key="server_projects",
        column_config={"Size, MB": st.column_config.NumberColumn(format="%.1f")},
    )
    rows = [found[number] for number in chosen["selection"]["rows"]]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        days = st.number_input(
            t("Unused for days"), 1, 3650, max(Limits.read().keep_days // 2, 1), key="server_days", width=160
        )
        old = [one for one in found if time.time() - one.used > days * 86_400]
        unused = tn("unused for {n} day", "unused for {n} days", days)
        label = (
            t("Delete the {old} {unused}", old=len(old), unused=unused) if old else t("None is {unused}", unused=unused)
        )
        if st.button(label, disabled=not old, key="server_delete_old"):
            _delete(old)
        label = t("Delete the {rows} chosen", rows=len(rows)) if rows else t("Delete what is chosen")
        if st.button(label, disabled=not rows, key="server_delete_chosen"):
            _delete(rows)


def _table(found: list[Kept]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Project": [one.folder.name for one in found],
            "Of": [one.called or "nobody" for one in found],
            "Size, MB": [one.size / 1e6 for one in found],
            "Last used": [datetime.fromtimestamp(one.used).astimezone().strftime("%Y-%m-%d %H:%M") for one in found],
        }
    )


def _delete(projects: list[Kept]) -> None:
    if not may(people.person(), "run the server"):
        return
    gone, left = [], []
    for one in projects:
        if time.time() - one.used < _IN_USE_SECONDS:
            left.append(t("{name} was used within the last two hours", name=one.folder.name))
            continue
        try:
            gone.append(deletion.delete(RecentProject(one.folder.resolve(), one.folder.name, one.used, None)))
        except ProjectError as error:
            left.append(relay(error))
    audit.note("deleted projects", people.person(), projects=len(gone))
    st.session_state[_DELETED] = gone, left
    st.session_state.pop(_LOOKED, None)
    st.rerun()


def _undo() -> None:
    gone, left = st.session_state.get(_DELETED, ([], []))
    if left:
        st.warning(t("Left as they are: {join}.", join=humanize.escape("; ".join(left))), icon=":material/info:")
    if not gone:
        return
    with st.container(horizontal=True, vertical_alignment="center", border=True):
        many = t("1 project was") if len(gone) == 1 else t("{gone} projects were", gone=len(gone))
        st.markdown(t("{many} deleted, and can be brought back for an hour.", many=many), width="stretch")
        if st.button(t("Undo"), icon=":material/undo:", key="server_undo"):
            del st.session_state[_DELETED]
            for one in gone:
                deletion.restore(one)
            audit.note("brought projects back", people.person(), projects=len(gone))
            st.session_state.pop(_LOOKED, None)
            st.rerun()
