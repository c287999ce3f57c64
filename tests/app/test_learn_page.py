"""The page Learn without a browser: it lists lessons, opens each in a project of its own, and goes on where one was."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tessera_core.errors import RasterError
from tessera_core.lessons import library as lessons
from tessera_core.project import library
from tessera_core.project.project import Project
from tessera_core.types import Cancel, Progress
from tessera_core.ui.lesson.panel import FOLLOW
from tests.waiting import PATIENCE_S, run_until


def _open(app: AppTest) -> AppTest:
    app.run()
    app.switch_page("pages/learn.py").run()
    assert not app.exception
    assert [error.value for error in app.error] == []
    return app


def _button(app: AppTest, key: str) -> bool:
    return any(button.key == key for button in app.button)


def test_a_lesson_starts_in_a_project_of_its_own_and_is_gone_on_with(app: AppTest, home: Path) -> None:
    (home / "lessons" / "torn").mkdir(parents=True)
    (home / "lessons" / "torn" / "lesson.toml").write_text("id = 3", encoding="utf-8")
    _open(app)
    shelf = lessons.shelf()
    titles = [header.value for header in app.header]
    numbered = [f"{one.number}. {one.words().title}" for one in shelf.lessons.values()]
    assert titles == [*numbered, "Begin with a question"]
    assert [one.words().title for one in shelf.starts.values()] == [header.value for header in app.subheader]
    assert any("The lesson in torn cannot be used" in warning.value for warning in app.warning)
    assert not _button(app, "learn_on_first-map")

    app.button(key="learn_start_first-map").click().run()
    assert not app.exception
    (entry,) = library.recent()
    project = Project.open(entry.folder)
    assert project.name == "Lesson 3: Your first map"
    assert project.settings.lesson is not None
    lessons.leave(project)

    app.switch_page("pages/learn.py").run()
    assert any(caption.value == "Step 1 of 15" for caption in app.caption)
    app.button(key="learn_on_first-map").click().run()
    assert not app.exception
    again = Project.open(entry.folder).settings.lesson
    assert again is not None
    assert not again.left

    # The button at the end of a lesson opens the next one in a project of its own, once; later it goes on there.
    for _ in range(2):
        app.session_state[FOLLOW] = "how-good"
        app.switch_page("pages/learn.py").run()
        assert not app.exception
        assert sorted(one.name for one in library.recent()) == [
            "Lesson 3: Your first map",
            "Lesson 4: How good is it really?",
        ]


@pytest.mark.parametrize("value", [{"lesson": "first-map", "step": "gone"}, {"lesson": "of-elsewhere", "step": "x"}])
def test_a_project_of_another_version_or_with_a_lesson_of_elsewhere_opens(
    app: AppTest, project: Project, value: dict[str, str]
) -> None:
    project.update(lesson=value)
    app.query_params["project"] = project.folder.name
    app.run()
    assert not app.exception
    assert [error.value for error in app.error] == []


def test_where_the_region_must_be_made_first_the_lesson_begins_by_itself_and_what_went_wrong_stays_on_the_page(
    app: AppTest, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo, go = library.take_demo(), threading.Event()
    outcomes = iter([RasterError("The disk is full."), demo])

    def make_demo(progress: Progress, cancelled: Cancel) -> object:
        assert go.wait(PATIENCE_S)
        made = next(outcomes)
        if isinstance(made, Exception):
            raise made
        return made

    monkeypatch.setattr(library, "take_demo", lambda: None)
    monkeypatch.setattr(library, "make_demo", make_demo)
    _open(app)
    app.button(key="learn_start_first-map").click().run()
    assert any(button.label == "Cancel" for button in app.button)
    go.set()
    run_until(app, lambda: app.error)
    for _ in range(2):
        assert [error.value for error in app.run().error] == ["The disk is full."]
    assert library.recent() == []
    app.button(key="learn_start_first-map").click().run()
    run_until(app, library.recent)
    assert not app.exception
    (entry,) = library.recent()
    assert Project.open(entry.folder).name == "Lesson 3: Your first map"
