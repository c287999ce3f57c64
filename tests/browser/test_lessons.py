"""Lessons in a real browser: a learner who does only what the text says comes to the end, by mouse and by finger."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tessera_core.language import LANGUAGES
from tessera_core.lessons import library
from tests.browser.learner import Do, Learner
from tests.browser.scripts import SCRIPTS
from tests.browser.studio import Studio
from tests.servers import TOKEN, AppServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]

CHECKED = {
    "validate": [Do("open", "Validate")],
    "draw": [Do("press", "Choose the places by chance")],
    "check": [Do("answer", "1", 10)],
    "report": [Do("open", "Export")],
}
COMPARED = {"compare": [Do("open", "Compare")], "rate": [Do("slide", "False alarms I accept")], "look": [Do("point")]}
LABEL = {"page": [Do("open", "Label")]}


def examples(names: list[str], n: int = 3) -> dict[str, list[Do]]:
    return {"examples": [Do("click", name, n) for name in names]}


STARTS: dict[str, dict[str, list[Do]]] = {
    "wetland": {**LABEL, **examples(["Water and wet ground", "Dry ground"], 4), **CHECKED},
    "crops": {
        **LABEL,
        **examples(["Cereals", "Rapeseed", "Maize and beet", "Grassland", "No farmland"]),
        **CHECKED,
    },
    "clearing": {
        **COMPARED,
        **LABEL,
        **examples(["Wood", "No wood", "Water"]),
        "between": [Do("open", "Compare"), Do("pick", "Class to class")],
        **CHECKED,
    },
    "burned": {**COMPARED, **LABEL, **examples(["Burned", "Not burned", "Water"]), **CHECKED},
    "restoration": {
        "compare": [Do("open", "Compare")],
        "part": [Do("pick", "Against land like it")],
        "area": [Do("press", "Use an example area")],
        "report": [Do("open", "Export")],
    },
}
SHOTS = os.environ.get("TESSERA_SHOTS")


def shots(name: str) -> Path | None:
    """Where pictures of the steps go, if anybody wants them."""
    if SHOTS is None:
        return None
    folder = Path(SHOTS) / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def phone(chromium: Any, server: AppServer) -> tuple[Any, Studio]:
    """A phone with the app open."""
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    context.request.get(f"{server.url}/?token={TOKEN}")
    return context, Studio(context.new_page(), server.url)


@pytest.fixture(scope="module")
def server(server: AppServer, small_demo: Path) -> AppServer:
    """The app, where somebody has made the demo region before."""
    server.take_demo(small_demo)
    return server


def test_a_learner_who_does_what_the_text_says_makes_a_first_map(studio: Studio, server: AppServer) -> None:
    learner = Learner(studio, server, "first-map", shots=shots("first-map-desk"))
    learner.begin()
    done = learner.go(SCRIPTS["first-map"])
    assert done == [step.id for step in learner.lesson.steps]
    # Going back, the three numbers stand beside each other.
    assert learner.panel.locator(".lesson-main").is_hidden()
    learner.panel.get_by_role("button", name="Back").click()
    learner.panel.locator(".lesson-main b").wait_for()
    assert learner.panel.locator(".lesson-row").count() == 7
    assert learner.panel.locator(".lesson-row b").first.text_content() == "50 %"
    assert learner.panel.locator(".lesson-maps img").count() == 3

    # A reload finds the place again; Escape folds the panel away and gives the page its room.
    studio.page.reload()
    learner.panel.locator(".lesson-main b").wait_for()
    room = studio.page.locator(".stApp").bounding_box()["width"]
    # What Streamlit tells for a moment, at the right of the window, does not lie over it.
    right = studio.page.evaluate(
        """() => {
            const told = document.body.appendChild(document.createElement("div"));
            told.dataset.testid = "stToastContainer";
            told.style.cssText = "position: fixed; top: 60px; right: 16px; width: 336px; height: 80px";
            const { right } = told.getBoundingClientRect();
            told.remove();
            return right;
        }"""
    )
    assert right <= room
    learner.panel.locator(".lesson-choice, .lesson-foot button").last.focus()
    studio.page.keyboard.press("Escape")
    studio.until(lambda: studio.page.locator(".stApp").bounding_box()["width"] > room, "the page got no room")
    assert studio.page.evaluate("document.activeElement.shadowRoot.activeElement.className").startswith(
        "tl-button lesson-bar"
    )
    learner.unfold()
    learner.panel.get_by_role("button", name="Put the lesson away").click()
    learner.panel.wait_for(state="detached")
    studio.open("/learn")
    studio.sees("Step 14 of 15")


@pytest.mark.soak
@pytest.mark.parametrize(
    ("lesson", "language"),
    # The one that most people begin with, in every language.
    [(name, one) for name in SCRIPTS for one in (LANGUAGES if name == "first-map" else ("en", "de"))],
)
def test_every_lesson_by_finger_on_a_phone(lesson: str, language: str, chromium: Any, server: AppServer) -> None:
    context, studio = phone(chromium, server)
    pictures = shots(f"{lesson}-phone-{language}")
    learner = Learner(studio, server, lesson, touch=True, shots=pictures, language=language)
    learner.begin()
    assert learner.go(SCRIPTS[lesson]) == [step.id for step in learner.lesson.steps]
    studio.close()
    context.close()


@pytest.mark.soak
@pytest.mark.parametrize("lesson", [name for name in SCRIPTS if name != "first-map"])
def test_the_other_lessons_at_a_desk(lesson: str, studio: Studio, server: AppServer) -> None:
    learner = Learner(studio, server, lesson, shots=shots(f"{lesson}-desk"))
    learner.begin()
    assert learner.go(SCRIPTS[lesson]) == [step.id for step in learner.lesson.steps]


@pytest.mark.soak
@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "en"])
@pytest.mark.parametrize("lesson", SCRIPTS)
def test_every_lesson_in_every_language(lesson: str, language: str, studio: Studio, server: AppServer) -> None:
    learner = Learner(studio, server, lesson, shots=shots(f"{lesson}-{language}"), language=language)
    learner.begin()
    assert learner.go(SCRIPTS[lesson]) == [step.id for step in learner.lesson.steps]


@pytest.mark.soak
@pytest.mark.parametrize("start", STARTS)
def test_who_comes_with_a_question_gets_to_the_report(start: str, studio: Studio, server: AppServer) -> None:
    learner = Learner(studio, server, start, shots=shots(f"{start}-desk"))
    learner.begin()
    assert learner.go(STARTS[start]) == [step.id for step in learner.lesson.steps]
    if start != "restoration":
        studio.page.get_by_role("button", name="Report (.html)").wait_for()


@pytest.mark.soak
@pytest.mark.parametrize("start", STARTS)
def test_every_question_by_finger_on_a_phone(start: str, chromium: Any, server: AppServer) -> None:
    context, studio = phone(chromium, server)
    learner = Learner(studio, server, start, touch=True, shots=shots(f"{start}-phone"))
    learner.begin()
    assert learner.go(STARTS[start]) == [step.id for step in learner.lesson.steps]
    studio.close()
    context.close()


def test_there_is_a_learner_for_every_shipped_lesson() -> None:
    assert set(STARTS) == set(library.shelf().starts)
    assert set(SCRIPTS) == set(library.shelf().lessons)
