"""The learner's side of a class: the door, and the line above every page that says what the teacher says."""

from __future__ import annotations

import functools
from collections.abc import Callable

import streamlit as st

from tessera_core.classroom import joining, store
from tessera_core.classroom.model import Classroom, Member, typed_code
from tessera_core.errors import InputError, TesseraError
from tessera_core.hosting import Person, acting_for
from tessera_core.language import later, t
from tessera_core.lessons import library as lessons
from tessera_core.project.home import projects_home
from tessera_core.project.project import Project
from tessera_core.ui import humanize, people, state
from tessera_core.ui.entrance import Throttle

_WORD, _SEEN, _JOIN = "class_my_word", "class_seen", "join"
_LOOK_SECONDS = 3
_OFTEN = later("Too many codes were tried here. Wait ten minutes, then try again.")


@functools.cache
def _throttle() -> Throttle:
    return Throttle(each=12, of_all=600)


def door(person: Person) -> None:
    """The form with code and name, or the way on for whoever is in."""
    st.title(t("Join a class"))
    code = typed_code(st.query_params.get(_JOIN, ""))
    found, mine = store.with_code(code), _mine(person)
    known = None if found is None else found.of_person(person.key)
    if mine and (found is None or known is not None):
        # The one whose link was opened before the others.
        for one, member in sorted(mine, key=lambda pair: found is None or pair[0].id != found.id):
            _inside(one, member)
        # A day has several classes, one for each lesson perhaps.
        with st.expander(t("Join another class")):
            _form(person, "")
        return
    if found is not None:
        st.markdown(f"**{humanize.escape(found.name)}**")
    st.markdown(
        t(
            "You need no account. Your teacher and the class see your nickname, labels and map. All of it "
            "is kept on your teacher's server, and is deleted with the class."
        )
    )
    _form(person, code)
    with (
        st.expander(t("I was in this class before, on another device or browser")),
        st.form("class_back", border=False),
    ):
        typed = st.text_input(t("Code"), code, key="class_code_again", max_chars=20)
        name = st.text_input(t("Nickname"), key="class_nickname_again", max_chars=40)
        word = st.text_input(t("Your word"), key="class_word_again", max_chars=40, placeholder="heron 42")
        if st.form_submit_button(t("Come back")):
            _try(person, lambda: _returned(typed, name, word, person))


def _form(person: Person, code: str) -> None:
    with st.form("class_join", border=True):
        typed = st.text_input(t("Code"), code, key="class_code", max_chars=20)
        name = st.text_input(
            t("Nickname"), key="class_nickname", max_chars=40, help=t("Any name that your teacher knows you by.")
        )
        if st.form_submit_button(t("Join"), type="primary"):
            _try(person, lambda: _joined(typed, name, person))


def _mine(person: Person) -> list[tuple[Classroom, Member]]:
    """The classes under way that whoever uses this browser is in, the newest first, and who they are there."""
    under_way = [one for one in store.classes() if one.state == "open"]
    return [(one, known) for one in under_way if (known := one.of_person(person.key)) is not None]


def _try(person: Person, act: Callable[[], None]) -> None:
    throttle = _throttle()
    if throttle.refuses(person.key):
        st.error(t(_OFTEN), icon=":material/hourglass_top:")
        return
    try:
        act()
    except InputError as error:
        if isinstance(error, joining.UnknownCodeError):
            throttle.wrong(person.key)
        st.error(humanize.told(error), icon=":material/error:")


def _joined(typed: str, name: str, person: Person) -> None:
    found, member, word = joining.join(typed, name, person)
    if word:
        st.session_state[_WORD] = word
    _enter(found, member)


def _returned(typed: str, name: str, word: str, person: Person) -> None:
    found, member = joining.come_back(typed, name, word, person)
    _enter(found, member)


def _enter(found: Classroom, member: Member) -> None:
    with acting_for(people.person()):
        project = Project.open(projects_home() / member.project)
        state.open_project(project)
    # Who comes back goes on where they were.
    page = lessons.page_of(project) if found.lesson else "label"
    st.switch_page(f"pages/{page}.py", query_params=state.query())


def _inside(found: Classroom, member: Member) -> None:
    st.markdown(
        t(
            "You are **{nickname}** in **{name}**.",
            nickname=humanize.escape(member.nickname),
            name=humanize.escape(found.name),
        )
    )
    if st.button(t("Go on"), type="primary", icon=":material/play_arrow:", key=f"class_on_{found.id}"):
        _enter(found, member)


# ---------------------------------------------------------------- above every page


def banner(project: Project) -> bool:
    """The line above a page; returns whether the page waits because the teacher paused the class."""
    class_id = project.settings.classroom
    if class_id is None or not state.hosted():
        return False
    stamp = store.stamp(class_id)
    st.session_state[_SEEN] = stamp
    if not stamp:
        return False
    try:
        found = store.read(class_id)
    except InputError:
        return False
    member = next((one for one in found.members if one.project == project.folder.name), None)
    if member is None or people.person().key != member.person:
        # The teacher looks at it.
        return False
    _listen(class_id, project.folder.name)
    if word := st.session_state.get(_WORD):
        with st.container(horizontal=True, vertical_alignment="center", key="class_word_note"):
            st.info(
                t(
                    "To come back on another device, {nickname}, you need your word: **{word}**. Write it down.",
                    nickname=humanize.escape(member.nickname),
                    word=word,
                ),
                icon=":material/key:",
            )
            if st.button(t("I have it"), key="class_word_known"):
                st.session_state.pop(_WORD)
                st.rerun()
    if found.state == "ended":
        st.caption(
            t(
                "The class {name} has ended. Your project stays until your teacher deletes the class.",
                name=humanize.escape(found.name),
            )
        )
        return False
    if found.paused:
        st.header(t("Your teacher has paused the class"), anchor=False)
        st.markdown(
            humanize.escape(found.said)
            or t("Look to the front. All that you did is saved, and you go on where you were.")
        )
        _shown(found)
        return True
    told = [f"**{humanize.escape(found.name)}**"]
    if found.task is not None and found.task < len(found.tasks):
        told.append(t("Task {task}: {tasks}", task=found.task + 1, tasks=humanize.escape(found.tasks[found.task])))
    if found.said:
        told.append(f":material/campaign: {humanize.escape(found.said)}")
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="class_told"):
        st.markdown(" · ".join(told), width="content")
        if found.tasks:
            with st.popover(t("Tasks"), icon=":material/checklist:", type="tertiary"):
                st.markdown("\n".join(f"{n}. {humanize.escape(task)}" for n, task in enumerate(found.tasks, 1)))
    _shown(found)
    return False


@st.fragment(run_every=_LOOK_SECONDS)
def _listen(class_id: str, project: str) -> None:
    """Say that somebody is here, and draw the page anew when the teacher changed something."""
    try:
        store.note_here(class_id, project)
    except (OSError, TesseraError):
        # The class was deleted; the next run says so.
        st.rerun()
    if store.stamp(class_id) != st.session_state.get(_SEEN) and _matters(class_id):
        st.rerun()


def _matters(class_id: str) -> bool:
    """Whether what a learner sees of the class has changed; others joining does not count."""
    try:
        found = store.read(class_id)
    except InputError:
        return True
    told = (found.state, found.paused, found.task, found.said, found.shown, found.name)
    same = st.session_state.get(f"{_SEEN}_told") == told
    st.session_state[_SEEN] = store.stamp(class_id)
    st.session_state[f"{_SEEN}_told"] = told
    return not same


def _shown(found: Classroom) -> None:
    if not found.shown or (member := found.member(found.shown)) is None:
        return
    from tessera_core.classroom.together import year_of
    from tessera_core.ui.classroom import shown_map

    start = joining.start_project(found)
    with st.expander(
        t("Your teacher shows the map of {nickname}", nickname=humanize.escape(member.nickname)), expanded=True
    ):
        shown_map.draw(member, start, year_of(start))
