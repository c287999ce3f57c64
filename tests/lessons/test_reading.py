"""Folders of lessons: the shipped ones are whole, and each mistake of another is one sentence that says where."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tessera_core.errors import InputError
from tessera_core.lessons import library
from tessera_core.lessons.checks import PREDICATES
from tessera_core.lessons.pictures import words_of
from tessera_core.lessons.reading import MAX_BYTES, read_lesson
from tests.lessons.folders import LOGIC, PICTURE, TEXTS, written


def test_every_shipped_lesson_is_whole() -> None:
    shelf = library.shelf()
    assert shelf.unusable == ()
    folders = {path.parent.name for path in library.SHIPPED.glob("*/lesson.toml")}
    assert set(shelf.lessons) == folders
    assert set(shelf.starts) == {path.parent.name for path in library.STARTS.glob("*/lesson.toml")}
    assert [lesson.number for lesson in shelf.lessons.values()] == sorted(
        {one.number for one in shelf.lessons.values()}
    )
    for lesson in [*shelf.lessons.values(), *shelf.starts.values()]:
        assert 10 <= lesson.minutes <= 25
        assert lesson.words().goals
        assert lesson.words().key_points
        assert any(step.question for step in lesson.steps)
        # Whoever is stuck finds a hint, or the studio does it.
        for step in lesson.steps:
            if step.check is not None and step.question is None:
                if {part.name for part in step.check.walk()} <= {"years_at_least", "series_at_least"}:
                    # What the studio makes by itself, nobody can do.
                    continue
                assert lesson.words().steps[step.id].hint, f"{lesson.id}: {step.id}"
                assert step.solution, f"{lesson.id}: {step.id}"


def test_a_lesson_is_read_with_its_names_put_in(tmp_path: Path) -> None:
    lesson = read_lesson(written(tmp_path / "mine"))
    texts = lesson.words("xx")
    assert texts.language == "en"
    assert texts.summary == "A lesson on Water."
    assert texts.steps["ask"].text == ("Think of **Water**.",)
    assert texts.steps["look"].text == ("One paragraph.", "Another.")
    assert lesson.spellings() == {"water": frozenset({"water"})}
    assert words_of(lesson.picture("dot")) == ["name"]
    # A question without a check waits for an answer.
    assert lesson.steps[0].check is not None


def test_the_lesson_in_the_documentation_is_one(root: Path, tmp_path: Path) -> None:
    text = (root / "docs" / "howto" / "lessons.md").read_text(encoding="utf-8")
    logic, texts = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    lesson = read_lesson(written(tmp_path / "my-lesson", logic, texts))
    assert [step.id for step in lesson.steps] == ["think", "click", "truth"]
    assert all(f"`{name}" in text for name in PREDICATES)


def test_another_language_adds_its_spelling(tmp_path: Path) -> None:
    folder = written(tmp_path / "mine")
    (folder / "texts.de.toml").write_text(TEXTS.replace('water = "Water"', 'water = "Wasser"'), encoding="utf-8")
    lesson = read_lesson(folder)
    assert lesson.words("de").steps["ask"].text == ("Think of **Wasser**.",)
    assert lesson.spellings() == {"water": frozenset({"water", "wasser"})}


def change(before: str, after: str) -> Callable[[str], str]:
    def act(text: str) -> str:
        assert before in text
        return text.replace(before, after, 1)

    return act


@pytest.mark.parametrize(
    ("logic", "texts", "said"),
    [
        (change("labels_at_least", "labels_atleast"), None, "there is no check 'labels_atleast'"),
        (change('target = "label.map"', 'target = "label.mop"'), None, "there is no target 'label.mop'"),
        (change('"water", n = 2 } }, {', '"wood", n = 2 } }, {'), None, "one of the lesson's names: water"),
        (change("n = 2 } }, {", 'n = "2" } }, {'), None, "a whole number from 1"),
        (change("not = {", "nor = {"), None, "there is no check 'nor'"),
        (change('id = "look"', 'id = "ask"'), None, "two steps are called 'ask'"),
        (change("minutes = 10", "minutes = 0"), None, "minutes wants a whole number from 1"),
        (change("minutes", "minuets"), None, "'minuets' is not known here"),
        (change('id = "mine"', 'id = "../mine"'), None, "small letters, digits and hyphens"),
        (change('picture = "dot"', 'picture = "../dot"'), None, "small letters, digits and hyphens"),
        (change('["Water"]', '["Sea"]'), None, "the demo region has no 'Sea'"),
        (change('truth = "ask"', 'truth = "click"'), None, "truth wants a legend, and a step with a question"),
        (change("right = 1", "right = 2"), None, "the right choice is number 2"),
        (change("question = { right = 1 }", ""), None, "truth wants a legend, and a step with a question"),
        (change('{ label = { of = ["water"]', '{ draw = { of = ["water"]'), None, "the studio cannot do 'draw'"),
        (None, change("[steps.click]", "[steps.klick]"), "has no text for the step 'click'"),
        (None, change('question = "Which?"\n', ""), "a question stands in lesson.toml or in the texts"),
        (None, change('"This", "That"', '"This"'), "two to six choices"),
        (None, change('["No.", "Yes."]', '["No."]'), "as many replies as choices"),
        (None, change('"Here.", "There."', '"Here."'), "1 captions and 2 frames"),
        (None, change("{ name = ", "{ nome = "), "the word 'name' is missing"),
        (None, change("**{water}**", "**{wood}**"), "there is no name 'wood'"),
        (None, change("Click two", "<b>Click</b> two"), "markup, an address"),
        (None, change("Click two", "See https://example.org, two"), "markup, an address"),
        (None, change("Click two", "[Click](label) two"), "markup, an address"),
        (None, change("Click two places", "x" * 2001), "longer than 2000"),
        (None, change('summary = "', "summary = "), "texts.en.toml is not readable TOML"),
        (None, change("summary", "summery"), "'summery' is not known here"),
    ],
)
def test_a_mistake_is_one_sentence(
    tmp_path: Path, logic: Callable[[str], str] | None, texts: Callable[[str], str] | None, said: str
) -> None:
    folder = written(tmp_path / "mine", logic(LOGIC) if logic else LOGIC, texts(TEXTS) if texts else TEXTS)
    with pytest.raises(InputError) as told:
        read_lesson(folder)
    sentence = str(told.value)
    assert said in sentence
    assert sentence.startswith("The lesson in mine cannot be used: ")
    assert sentence.endswith(".")
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"frames": []}, "has no frames"),
        ({"width": 5000}, "whole numbers from 10 to 2000"),
        ({"palette": ["red"]}, "not written like #0b7a75"),
        ({"marks": [["dot", ""], ["circle", "name"]]}, "not [kind, word]"),
        ({"marks": [["dot", "a"], ["text", "name"]]}, "a word where there is no text"),
        ({"frames": [[[1, 2, 3, 1, 0]]]}, "more or fewer values than there are marks"),
        ({"frames": [[[1, 2, 3, 1, 9], [5, 5, 10, 1, 0]]]}, "not in its palette"),
        ({"frames": [[[1, 2, float("nan"), 1, 0], [5, 5, 10, 1, 0]]]}, "no number on the picture"),
        ({"frames": [[[1, 2, True, 1, 0], [5, 5, 10, 1, 0]]]}, "no number on the picture"),
    ],
)
def test_a_picture_is_checked_from_end_to_end(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    folder = written(tmp_path / "mine", picture={**PICTURE, **change})
    with pytest.raises(InputError, match=r"The lesson in mine cannot be used: The picture dot\.json") as told:
        read_lesson(folder)
    assert said in str(told.value)


def test_what_is_too_large_or_not_there_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path / "mine")
    (folder / "texts.en.toml").write_text(TEXTS + "#" * MAX_BYTES, encoding="utf-8")
    with pytest.raises(InputError, match="is larger than"):
        read_lesson(folder)
    (folder / "texts.en.toml").unlink()
    with pytest.raises(InputError, match=r"there is no texts\.en\.toml"):
        read_lesson(folder)


def test_a_teachers_folder_is_found_and_a_broken_one_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path))
    written(tmp_path / "lessons" / "mine")
    written(tmp_path / "lessons" / "torn", texts="title = ")
    written(tmp_path / "lessons" / "twice")
    (tmp_path / "lessons" / "notes").mkdir()
    shelf = library.shelf()
    assert list(shelf.lessons)[-1] == "mine"
    assert len(shelf.unusable) == 2
    assert "torn" in shelf.unusable[0]
    assert "'mine' is taken" in shelf.unusable[1]
    # A mended folder is read anew.
    (tmp_path / "lessons" / "torn" / "texts.en.toml").write_text(TEXTS, encoding="utf-8")
    (tmp_path / "lessons" / "torn" / "lesson.toml").write_text(LOGIC.replace('"mine"', '"torn"'), encoding="utf-8")
    assert "torn" in library.shelf().lessons
