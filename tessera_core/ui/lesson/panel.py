"""The panel of a lesson on every page: what is sent to the browser, and what the browser says that the learner did.

The panel lives in the browser (``ui/components/lesson``); here a step becomes words and a place to point at. It asks again while
a step waits for something on the page, so that no page has to know of lessons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from tessera_core.errors import TesseraError
from tessera_core.language import later, relay, t
from tessera_core.lessons import library, progress
from tessera_core.lessons.facts import facts_of, label_count, lost_sentence
from tessera_core.lessons.model import Lesson
from tessera_core.lessons.targets import PAGES, TARGETS
from tessera_core.project.project import Project
from tessera_core.project.settings import LessonProgress
from tessera_core.ui import state
from tessera_core.ui.components import lesson as component
from tessera_core.ui.lesson import truth

_SEEN = "lesson_seen"
_GO = "lesson_go"
_SAID = "lesson_said"
FOLLOW = "lesson_follow"  # id of the lesson that the page Learn shall open next
_MAX_EVENTS = 50
_WORDS = {
    "lesson": later("Lesson"),
    "next": later("Next"),
    "back": later("Back"),
    "show": later("Show me where"),
    "solve": later("Do it for me"),
    "skip": later("Skip"),
    "leave": later("Put the lesson away"),
    "restart": later("From step 1 again (your work stays)"),
    "lessons": later("All lessons"),
    "hint": later("A hint"),
    "done": later("Done."),
    "points": later("Key points"),
    "open": later("Open the page"),
    "fold": later("Fold the lesson away (Escape)"),
    "unfold": later("Show the lesson"),
    "hidden": later("It is not in sight now. Look for it on this page."),
    "beside": later("That place lies beside the region and does not count: click one inside it."),
    "moment": later("Moment of the picture"),
    "play": later("Play"),
    "stop": later("Stop"),
    "again": later("Play again"),
    "claim": later("You thought"),
    "score": later("The score says"),
    "sample": later("Places by chance say"),
    "truth": later("The truth"),
}


_GUIDE_WORDS = {
    "lesson": later("Guide"),
    "leave": later("Put the guide away"),
    "lessons": later("All lessons and guides"),
    "fold": later("Fold the guide away (Escape)"),
    "unfold": later("Show the guide"),
    "points": later("What to take along"),
}


def show(project: Project, page: str, on_event: Callable[[], None]) -> None:
    """Draw the panel, where the project is for a lesson; within a fragment.

    Args:
        project: the open one.
        page: address of the page that is shown.
        on_event: what the browser calls; it calls :func:`answer`.
    """
    go = st.session_state.pop(_GO, None)
    lesson = library.lesson_of(project)
    if lesson is None:
        if go is not None:
            st.rerun()
        return
    known = project.settings.lesson
    assert known is not None
    if page in PAGES:
        known = progress.note(known, f"page:{page}")
    known = progress.look(lesson, known, facts_of(project, lesson, known))
    library.save(project, known)
    if go is not None:
        if go:
            st.switch_page(f"pages/{go}.py", query_params=state.query())
        st.rerun()
    here = progress.place(lesson, known)
    key = _key(project)
    component.panel(key, _header(project, lesson, known, page), on_event)
    if name := here.step.picture:
        texts = lesson.words().pictures[name]
        header = {"name": name, "alt": texts.alt, "captions": texts.captions, "words": dict(texts.words)}
        component.picture(key, header, lesson.picture(name))


def answer(project: Project) -> None:
    """Take in what the browser sent, before the panel is drawn anew."""
    lesson = library.lesson_of(project)
    message = component.message(_key(project))
    if lesson is None or not isinstance(message, Mapping):
        return
    epoch, events = message.get("epoch"), message.get("events")
    if not isinstance(epoch, str) or len(epoch) > 40 or not isinstance(events, list):
        return
    seen = st.session_state.get(_SEEN, {}).get(epoch, 0)
    for event in events[:_MAX_EVENTS]:
        number = event.get("id") if isinstance(event, Mapping) else None
        if type(number) is not int or number <= seen:
            continue
        seen = number
        _take(project, lesson, event)
    st.session_state[_SEEN] = {epoch: seen}


def _take(project: Project, lesson: Lesson, event: Mapping[str, Any]) -> None:
    known = project.settings.lesson
    if known is None:
        return
    labels = label_count(project)
    step = str(event.get("step", ""))[:40]
    st.session_state.pop(_SAID, None)
    match event.get("kind"):
        case "did" if event.get("what") in ("used", "seen") and event.get("target") in TARGETS:
            known = progress.note(known, f"{event['what']}:{event['target']}")
        case "answer" if type(event.get("choice")) is int:
            known = progress.answer(lesson, known, step, event["choice"])
        case "next":
            known = progress.forward(lesson, known, step, labels)
        case "skip":
            known = progress.forward(lesson, known, step, labels, skip=True)
        case "back":
            known = progress.back(lesson, known, step, labels)
        case "solve" if progress.place(lesson, known).step.id == step:
            try:
                known, page = library.solve(project, lesson, known)
                # What was labelled is drawn by a run of the whole page.
                st.session_state[_GO] = page
            except TesseraError as error:
                st.session_state[_SAID] = relay(error)
        case "follow":
            if (after := _after(project, lesson)) is not None:
                st.session_state[FOLLOW] = after.id
                st.session_state[_GO] = "learn"
        case "restart":
            library.restart(project, lesson)
            return
        case "leave":
            library.leave(project)
            # The page's own advice comes back.
            st.session_state[_GO] = ""
            return
    library.save(project, known)


def _header(project: Project, lesson: Lesson, known: LessonProgress, page: str) -> dict[str, Any]:
    here = progress.place(lesson, known)
    texts = lesson.words()
    step, words = here.step, texts.steps[here.step.id]
    target = TARGETS.get(step.target)
    chosen = known.answers.get(step.id)
    query = "&".join(f"{name}={value}" for name, value in state.query().items())
    at = target.page if target is not None else ""
    epoch, seen = next(iter(st.session_state.get(_SEEN, {}).items()), ("", 0))
    return {
        "epoch": epoch,
        "seen": seen,
        "title": library.project_name(lesson),
        "step": step.id,
        "number": here.number,
        "of": here.of,
        "heading": words.title,
        "text": list(words.text),
        "points": list(texts.key_points) if here.last else [],
        "question": words.question,
        "choices": list(words.choices),
        "chosen": chosen,
        "reply": words.replies[chosen] if chosen is not None and words.replies else "",
        "hint": words.hint,
        "told": words.done,
        "done": here.done,
        "waits": step.check is not None,
        "last": here.last,
        "solvable": not here.done and library.can_solve(project, lesson, known),
        "picture": step.picture,
        "truth": truth.told(project, lesson, known) if step.truth else None,
        "target": step.target,
        "selector": target.selector if target is not None else "",
        "page": t(PAGES[at]) if at in PAGES else "",
        "here": not at or at == page,
        "address": f"{at}?{query}" if at != "region" else f"./?{query}",
        "lessons": f"learn?{query}",
        "following": _following(project, lesson) if here.last else "",
        "problem": st.session_state.get(_SAID, ""),
        "lost": "" if here.done else lost_sentence(project, lesson, step, known.labels),
        "words": {
            **{name: t(said) for name, said in _WORDS.items()},
            **({name: t(said) for name, said in _GUIDE_WORDS.items()} if lesson.start else {}),
            "step": t("Step {number} of {of}", number=here.number, of=here.of),
        },
    }


def _after(project: Project, lesson: Lesson) -> Lesson | None:
    """The lesson to offer at the end; in a class the teacher says what comes next."""
    return None if project.settings.classroom is not None else library.following(lesson)


def _following(project: Project, lesson: Lesson) -> str:
    after = _after(project, lesson)
    return "" if after is None else t("Next lesson: {title}", title=after.words().title)


def _key(project: Project) -> str:
    return f"lesson_{project.key}"
