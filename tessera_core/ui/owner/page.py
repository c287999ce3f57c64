"""The page Server, for its owner alone: who is here, what is being worked out, what is kept, and what there is to do about it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from tessera_core.hosting import Limits, audit, hosted, may, processes, settings
from tessera_core.hosting.processes import Order, Process, Seated, Working
from tessera_core.language import later, t, tn
from tessera_core.project import room
from tessera_core.project.home import projects_home
from tessera_core.ui import humanize, keeper, people, seats, shell, tables
from tessera_core.ui.owner import kept

_LOOK_SECONDS = 4
_ROLES = {
    "owner": later("owner"),
    "teacher": later("teacher"),
    "learner": later("learner"),
    "visitor": later("visitor"),
}
_STATES = {"waiting": later("waiting"), "running": later("running")}
_EVENTS = 100


def page() -> None:
    """Draw the page."""
    if not may(people.person(), "see the server"):
        st.title(t("Not found"))
        st.markdown(t("There is no page here."))
        st.page_link("pages/region.py", label=t("To the first page"), icon=":material/public:")
        return
    st.title(t("Server"))
    if not hosted():
        st.caption(
            t(
                "Only you use this app. What a server for many has beside this is in the documentation: "
                "docs/howto/server.md."
            )
        )
    _now()
    if hosted():
        _notice()
    kept.section()
    if hosted():
        _events()


def _processes() -> list[Process]:
    registry = seats.room().registry
    others = registry.others() if hosted() and registry is not None else []
    return sorted([keeper.here(), *others], key=lambda one: one.since)


@st.fragment(run_every=_LOOK_SECONDS)
@shell.shielded
def _now() -> None:
    found, limits = _processes(), Limits.read()
    sitting = [(process, seat) for process in found for seat in process.seats]
    working = [(process, job) for process in found for job in process.jobs]
    here = len({seat.person for _, seat in sitting})
    states = [job.state for _, job in working]
    memory = sum(process.memory_mb + process.workers_mb for process in found)
    facts = {
        "People": t("{here} of {people}", here=here, people=limits.people) if hosted() else t("you"),
        "Tabs": str(len(sitting)) if hosted() else "",
        "Work": t("{count} running, {count2} waiting", count=states.count("running"), count2=states.count("waiting")),
        "Memory": _mb(memory) if memory else "",
        "Projects": t("{count} of {all_projects}", count=room.count(), all_projects=limits.all_projects)
        if hosted()
        else str(room.count()),
        "On disk": f"{humanize.size(room.used_bytes(projects_home()))}"
        + (t(" of {disk_gb} GB", disk_gb=limits.disk_gb) if hosted() else ""),
    }
    with st.container(horizontal=True, gap="medium", key="server_facts"):
        for name, value in facts.items():
            if value:
                with st.container(border=True, width="content"):
                    st.caption(t(name))
                    st.markdown(f"**{value}**")
    if hosted():
        st.header(t("Who is here"))
        _who(sitting)
    st.header(t("What is being worked out"))
    _work(working)
    if hosted():
        st.header(t("Processes"))
        _served_by(found)


def _who(sitting: Sequence[tuple[Process, Seated]]) -> None:
    if not sitting:
        st.caption(t("Nobody."))
    now, mine = time.time(), seats.mark(people.person())
    for process, seat in sorted(sitting, key=lambda one: (one[1].called, one[1].since)):
        with st.container(horizontal=True, vertical_alignment="center", border=True, gap="small"):
            st.markdown(
                t(
                    "**{value}**  \n:small[:gray[{role} · here for {duration} · did something {ago}]]",
                    value=t("You") if seat.person == mine else humanize.escape(seat.called),
                    role=t(_ROLES.get(seat.role, seat.role)),
                    duration=humanize.duration(now - seat.since),
                    ago=humanize.ago(now - seat.seen),
                ),
                width="stretch",
            )
            if seat.person != mine and st.button(
                t("Send away"), key=f"away_{seat.name}", type="tertiary", icon=":material/logout:"
            ):
                _order(process, "let go", seat.name, f"sent {seat.called} away")


def _work(working: Sequence[tuple[Process, Working]]) -> None:
    if not working:
        st.caption(t("Nothing."))
    for number, (process, job) in enumerate(working):
        with st.container(horizontal=True, vertical_alignment="center", border=True, gap="small"):
            done = (
                t(
                    "{value} % after {duration}",
                    value=round(100 * job.fraction),
                    duration=humanize.duration(job.seconds),
                )
                if job.state == "running"
                else t(_STATES.get(job.state, job.state))
            )
            st.markdown(
                f"**{humanize.escape(job.title)}**  \n:small[:gray[{humanize.escape(', '.join(job.called))} · {done}]]",
                width="stretch",
            )
            if st.button(t("Cancel"), key=f"stop_{number}_{job.name}", type="tertiary", icon=":material/close:"):
                _order(process, "cancel", job.name, "cancelled work")


def _served_by(found: Sequence[Process]) -> None:
    now = time.time()
    for process in found:
        with st.container(horizontal=True, vertical_alignment="center", border=True, gap="small"):
            state = (
                t("stops as soon as its work is done")
                if process.draining
                else t("since {duration}", duration=humanize.duration(now - process.since))
            )
            st.markdown(
                t(
                    "**Port {port}**  \n:small[:gray[{state} · {seats} tabs · {mb} and {mb2} in helpers]]",
                    port=process.port,
                    state=state,
                    seats=len(process.seats),
                    mb=_mb(process.memory_mb),
                    mb2=_mb(process.workers_mb),
                ),
                width="stretch",
            )
            with st.popover(
                t("Stop it"), icon=":material/power_settings_new:", type="tertiary", disabled=process.draining
            ):
                st.markdown(
                    t(
                        "Nobody new comes in, work may end for up to {drain_seconds} s, then this process ends. What "
                        "people did is saved. Whatever started it decides whether it starts again.",
                        drain_seconds=Limits.read().drain_seconds,
                    )
                )
                if st.button(t("Stop this process"), key=f"drain_{process.name}", type="primary"):
                    _order(process, "drain", "", "stopped a process")


def _mb(megabytes: float) -> str:
    return humanize.size(int(megabytes * 2**20))


def _order(process: Process, what: Order, of: str, noted: str) -> None:
    if not may(people.person(), "run the server"):
        return
    registry = seats.room().registry
    if hosted() and registry is not None:
        registry.order(process.name, what, of)
        audit.note(noted, people.person())
    else:
        keeper.follow(what, of)
    st.toast(t("This is done within seconds."))


def _notice() -> None:
    st.header(t("A word to everybody"))
    with st.form("server_notice", border=False):
        text = st.text_input(
            t("Shown on every page within seconds"),
            value=processes.notice(),
            max_chars=300,
            placeholder=t("For example: The server is down from 12:00 to 12:10. What you did is saved."),
        )
        with st.container(horizontal=True):
            show = st.form_submit_button(t("Show it"), type="primary")
            take_back = st.form_submit_button(t("Take it back"))
    if show or take_back:
        processes.put_notice(text if show else "")
        audit.note("told everybody something" if show and text.strip() else "took the notice back", people.person())
        st.rerun()


def _events() -> None:
    with st.expander(t("What happened"), icon=":material/history:"):
        found = list(audit.events(_EVENTS))
        st.caption(
            t(
                "The last {found} events; all of them lie in the folder audit of the server, for {days}. They "
                "say nothing of what is in projects.",
                found=len(found),
                days=_days(),
            )
        )
        table = pd.DataFrame([{"When": e.get("at"), "Who": e.get("who"), "What": e.get("what")} for e in found])
        if found:
            tables.show(table, hide_index=True, width="stretch")


def _days() -> str:
    days = settings().audit.keep_days
    return tn("{n} day", "{n} days", days)
