"""What people of a server for many meet before and around a page: signing in, a full server, a place given to others, notices.

On one's own computer nothing of this is ever shown.
"""

from __future__ import annotations

import time
from typing import NoReturn

import streamlit as st
from streamlit.errors import StreamlitAuthError

from tessera_core.hosting import Person, acting_for, audit, hosted, processes, settings
from tessera_core.language import t, tn
from tessera_core.project import room
from tessera_core.project.home import recent_projects
from tessera_core.ui import humanize, people, seats, sessions

_BACK = "reception_back"
_NOTED = "reception_noted"
_INTERRUPTED = "reception_interrupted"
_NOT_MINE = "reception_not_mine"
_SIGN_IN_FAILED = "reception_sign_in_failed"
# How often somebody who waits for a place asks for it, and how often news is looked for.
_ASK_SECONDS, _NEWS_SECONDS = 10, 15
# Whoever is not let in has no other page to go to: each would say the same.
_NO_OTHER_PAGES = """<style>
[data-testid="stTopNav"], [data-testid="stTopNavLinkContainer"], [data-testid="stExpandSidebarButton"],
[data-testid="stSidebar"] { display: none; }
</style>"""


def admit() -> None:
    """Stop the run here, with the reason, unless this tab may be served."""
    if not hosted():
        return
    person = people.person()
    _wants_name(person)
    _wants_seat(person)
    if st.session_state.get(_NOTED) != person.key:
        st.session_state[_NOTED] = person.key
        audit.note("came in", person)
        st.session_state[_INTERRUPTED] = processes.interrupted(seats.mark(person))
    if titles := st.session_state.get(_INTERRUPTED):
        names = ", ".join(f"**{humanize.escape(title)}**" for title in titles)
        st.info(
            t(
                "The server was restarted before this was done: {names}. Start it again: it goes on with what "
                "is there.",
                names=names,
            ),
            icon=":material/restart_alt:",
        )
        st.button(t("All right"), key="interrupted_seen", on_click=lambda: st.session_state.pop(_INTERRUPTED, None))


def _wants_name(person: Person) -> None:
    if settings().enter.by != "sign-in" or person.how in ("sign-in", "token"):
        return
    if person.how == "nobody":
        st.title(t("Tessera Studio"))
        name = str((people.signed_in() or {}).get("email") or "")
        st.info(
            t(
                "You are signed in as {name}, and this server is not open to you. Ask its owner, or sign in as "
                "somebody else.",
                name=humanize.escape(name),
            )
            if name
            else t(
                "You are signed in, and this server is not open to you. Ask its owner, or sign in as somebody else."
            ),
            icon=":material/lock:",
        )
        st.button(t("Sign out"), on_click=_sign_out, type="primary")
        _end_here()
    if not settings().enter.guests:
        st.title(t("Tessera Studio"))
        st.markdown(
            t(
                "Sign in to make maps here. Your projects are kept for you and are there again on every "
                "computer where you sign in."
            )
        )
        _sign_in("primary")
        _end_here()


def _end_here() -> NoReturn:
    st.html(_NO_OTHER_PAGES)
    st.stop()


def _sign_in(kind: str) -> None:
    # Streamlit's own errors name its settings, which are none of a visitor's business.
    st.button(t("Sign in"), on_click=_to_provider, type="primary" if kind == "primary" else "secondary", key="sign_in")
    if st.session_state.pop(_SIGN_IN_FAILED, False):
        st.error(t("Signing in does not work on this server at the moment. Tell its owner."), icon=":material/error:")


def _to_provider() -> None:
    try:
        st.login()
    except StreamlitAuthError:
        st.session_state[_SIGN_IN_FAILED] = True


def _sign_out() -> None:
    audit.note("signed out", people.person())
    st.logout()


def _wants_seat(person: Person) -> None:
    seat = st.context.headers.get(people.SEAT_HEADER, "")
    taken = seats.room().take(
        seat, back=bool(st.session_state.pop(_BACK, False)), person=person, session=sessions.session_id()
    )
    if not taken:
        return
    _refused(taken, seat, person)
    _end_here()


def _refused(why: seats.Refusal, seat: str, person: Person) -> None:
    rooms = seats.room()
    sentence, label = {
        "full": (_full(), t("Try again")),
        "tabs": (
            t(
                "You have {tabs} tabs of this server open. Close one of them, then go on here.",
                tabs=rooms.granted(person).tabs,
            ),
            t("Go on"),
        ),
        "away": (
            t("You were away for a while, so your place was given to others. Everything you did is saved."),
            t("Go on"),
        ),
        "sent away": (
            t("The owner of this server gave your place to others. Everything you did is saved."),
            t("Go on"),
        ),
        "draining": (
            t("This server is being restarted. Everything you did is saved. Come back in a minute."),
            t("Try again"),
        ),
    }[why]
    st.title(t("Tessera Studio"))
    if text := processes.notice():
        st.warning(humanize.escape(text), icon=":material/campaign:")
    st.info(sentence, icon=":material/groups:")
    st.button(label, on_click=lambda: st.session_state.update({_BACK: True}), type="primary")
    if why != "full":
        return

    @st.fragment(run_every=_ASK_SECONDS)
    def ask_again() -> None:
        if not rooms.take(seat, person=person):
            st.rerun()

    ask_again()


def _full() -> str:
    rooms = seats.room()
    people_here = rooms.people()
    many = tn("{n} person", "{n} people", people_here)
    wait = rooms.free_in()
    when = (
        t("at any moment")
        if wait < 60
        else t("in about {duration}, or as soon as somebody leaves", duration=humanize.duration(wait))
    )
    return t(
        "This server is full ({many}). Try again in a few minutes. A place may be free {when}; this "
        "page then goes on by itself.",
        many=many,
        when=when,
    )


@st.fragment(run_every=_NEWS_SECONDS)
def news() -> None:
    """What the server's owner tells everybody, on every page, within seconds."""
    if seats.room().draining:
        st.warning(
            t("This server is being restarted. Everything you did is saved, and this page comes back by itself."),
            icon=":material/restart_alt:",
        )
    elif text := processes.notice():
        st.warning(humanize.escape(text), icon=":material/campaign:")


def account() -> None:
    """Who is signed in, with the way out; for guests the way in."""
    if not hosted() or settings().enter.by != "sign-in":
        return
    person = people.person()
    if person.how == "sign-in":
        with st.popover(
            humanize.escape(person.name or t("You")), icon=":material/person:", key="account", type="tertiary"
        ):
            st.markdown(
                t("Signed in as **{name}** ({role}).", name=humanize.escape(person.name), role=person.role)
                if person.name
                else t("Signed in.")
            )
            st.button(t("Sign out"), on_click=_sign_out, key="sign_out", icon=":material/logout:")
    elif person.how != "token":
        _sign_in("secondary")


def take_along() -> None:
    """What this browser made before somebody signed in here: theirs for the asking, since the browser may be shared."""
    person, before = people.person(), people.came()
    if person.how != "sign-in" or before.key == person.key or st.session_state.get(_NOT_MINE):
        return
    with acting_for(before):
        made = recent_projects()
    if not made:
        return
    names = ", ".join(f"**{humanize.escape(entry.name)}**" for entry in made[:5]) + (
        t(" and others") if len(made) > 5 else ""
    )
    with st.container(border=True):
        st.markdown(t("Made in this browser before you signed in: {names}.", names=names))
        with st.container(horizontal=True):
            if st.button(t("Take them along"), key="take_along", type="primary"):
                with acting_for(person):
                    count = room.hand_over(before.key, person.key)
                audit.note("took projects along", person, projects=count)
                st.rerun()
            if st.button(t("They are not mine"), key="not_mine"):
                st.session_state[_NOT_MINE] = True
                st.rerun()


def soon_gone() -> None:
    """A warning about the visitor's projects that are removed soon, in time to open them."""
    found = [
        (entry, left) for entry in recent_projects() if (left := room.days_left(entry.folder, time.time())) is not None
    ]
    if not found:
        return
    names = ", ".join(f"**{humanize.escape(entry.name)}** {removed_in(left)}" for entry, left in found[:5])
    st.warning(
        t(
            "Nobody has opened these projects for long, so this server will remove them: {names}. Open one to keep it.",
            names=names,
        ),
        icon=":material/auto_delete:",
    )


def removed_in(days: int) -> str:
    """When a project goes, as the list says it."""
    return "today" if days == 0 else tn("in {n} day", "in {n} days", days)
