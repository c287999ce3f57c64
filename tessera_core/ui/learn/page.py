"""The page Learn: the lessons, how long they take, what one can do afterwards, and how far one has come."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from tessera_core.errors import TesseraError
from tessera_core.language import relay, t
from tessera_core.lessons import library as lessons
from tessera_core.lessons import progress
from tessera_core.lessons.model import Lesson
from tessera_core.project import library
from tessera_core.project.project import Project
from tessera_core.project.settings import LessonProgress
from tessera_core.ui import humanize, jobs, shell, state
from tessera_core.ui.learn import own
from tessera_core.ui.lesson.panel import FOLLOW

_DEMO = "demo"
_WAITING = "learn_waiting"


def page() -> None:
    """Build the page."""
    st.title(t("Learn"))
    st.markdown(
        t(
            "Lessons of 10 to 20 minutes that you do in the studio itself, on an invented place whose true "
            "map is known. Each has a project of its own; your other work stays as it is."
        )
    )
    st.page_link(
        "pages/classroom.py",
        label=t("Teach a class, or join one"),
        icon=":material/groups:",
        query_params=state.query(),
    )
    _making()
    known = lessons.shelf()
    begun = _begun()
    _follow(begun)
    for lesson in known.lessons.values():
        _lesson(lesson, begun.get(lesson.id))
    st.header(t("Begin with a question"), anchor=False)
    st.markdown(
        t(
            "Guides from a question to a report. Practise on the invented place, or follow one in a place "
            "of your own: open it, and choose the guide on its first page."
        )
    )
    for lesson in known.starts.values():
        _lesson(lesson, begun.get(lesson.id))
    for sentence in known.unusable:
        st.warning(humanize.escape(relay(sentence)), icon=":material/warning:")
    if not state.hosted():
        # On a server the shelf is everybody's, and its owner fills it.
        own.panel()


def _lesson(lesson: Lesson, begun: tuple[Project, LessonProgress] | None) -> None:
    texts = lesson.words()
    with st.container(border=True, gap="small", key=f"learn_{lesson.id}"):
        number = f"{lesson.number}. " if lesson.number and not lesson.start else ""
        heading = st.subheader if lesson.start else st.header
        heading(f"{number}{humanize.escape(texts.title)}", anchor=False)
        st.markdown(
            t(
                "{summary} :small[:gray[About {minutes} minutes.]]",
                summary=humanize.escape(texts.summary),
                minutes=lesson.minutes,
            )
        )
        if lessons.is_own(lesson):
            own.whose(lesson)
        with st.expander(t("What you can do afterwards")):
            st.markdown("\n".join(f"- {humanize.escape(goal)}" for goal in texts.goals))
        with st.container(horizontal=True, vertical_alignment="center"):
            if begun is not None:
                project, at = begun
                here = progress.place(lesson, at)
                over = progress.finished(lesson, at)
                st.button(
                    t("Look at it again") if over else t("Go on"),
                    type="primary",
                    icon=":material/check_circle:" if over else ":material/play_arrow:",
                    key=f"learn_on_{lesson.id}",
                    on_click=shell.shielded(_go_on),
                    args=(project,),
                )
            if st.button(
                t("Start afresh") if begun is not None else t("Start"),
                type="secondary" if begun is not None else "primary",
                icon=":material/note_add:" if begun is not None else ":material/play_arrow:",
                key=f"learn_start_{lesson.id}",
            ):
                start(lesson)
            if begun is not None:
                st.caption(
                    t("Done.")
                    if progress.finished(lesson, begun[1])
                    else t("Step {number} of {of}", number=here.number, of=here.of),
                    width="content",
                )
            if lessons.is_own(lesson) and not state.hosted():
                own.remove_button(lesson)


def _begun() -> dict[str, tuple[Project, LessonProgress]]:
    """The project of each lesson that was worked on last."""
    found: dict[str, tuple[Project, LessonProgress]] = {}
    for entry in library.recent():
        try:
            project = Project.open(entry.folder)
        except TesseraError:
            # The list of projects tells of it; here it is only no lesson.
            continue
        at = project.settings.lesson
        if at is not None:
            found.setdefault(at.lesson, (project, at))
    return found


def _go_on(project: Project) -> None:
    opened = state.open_project(project)
    lessons.take_up(opened)
    st.session_state[_WAITING] = ""


def _follow(begun: Mapping[str, tuple[Project, LessonProgress]]) -> None:
    """Open the lesson that was asked for at the end of another: where it was left, else from its first step."""
    lesson = lessons.find(st.session_state.pop(FOLLOW, ""))
    if lesson is None:
        return
    if lesson.id in begun:
        _go_on(begun[lesson.id][0])
        st.rerun()
    start(lesson)


def start(lesson: Lesson) -> None:
    """Begin it in a copy of the demo region; where that has to be made first, the page Learn says how far it is."""
    with st.spinner(t("Opening a copy of the demo region…")):
        demo = library.take_demo()
    if demo is None:
        st.session_state[_WAITING] = lesson.id
        jobs.pool().start(_DEMO, t("Making the demo region"), library.make_demo)
        st.switch_page("pages/learn.py")
    else:
        st.session_state.pop(_WAITING, None)
        _open(lessons.begin(lesson, demo))


def _making() -> None:
    """Go on where something was asked for that takes a while."""
    wanted = st.session_state.get(_WAITING)
    if wanted is None:
        return
    if wanted == "":
        query, opened = state.query(), state.current_project()
        st.session_state.pop(_WAITING)
        page = "region" if opened is None else lessons.page_of(opened)
        st.switch_page(f"pages/{page}.py", query_params=query)
    job = jobs.pool().get(_DEMO)
    if job is not None and job.active:
        jobs.show(job)
        return
    lesson = lessons.find(wanted)
    if job is None or lesson is None:
        st.session_state.pop(_WAITING)
    elif jobs.outcome(job):
        # Forgotten only when it is begun: a run that another overtakes loses nothing.
        project = lessons.begin(lesson, job.result)
        st.session_state.pop(_WAITING)
        _open(project)


def _open(project: Project) -> None:
    state.open_project(project)
    st.switch_page("pages/region.py", query_params=state.query())
