"""Slides: every word of a lesson is on them, nothing is fetched, and a stranger's text stays text."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

from tessera_core.cli import main
from tessera_core.language import PSEUDO
from tessera_core.lessons import library
from tessera_core.lessons.reading import read_lesson
from tessera_core.lessons.slides import write_slides
from tests.lessons.folders import LOGIC, TEXTS, written


def test_all_lessons_become_slides_that_ask_nobody_for_anything(tmp_path: Path) -> None:
    lessons = list(library.shelf().lessons.values())
    count = write_slides(lessons, tmp_path / "slides.html")
    page = (tmp_path / "slides.html").read_text(encoding="utf-8")
    assert page.count("<section>") == count
    assert not re.search(r"https?:|url\(|@import|<link|<img", page)
    plain = html.unescape(re.sub(r"<[^>]+>", "", page))
    for lesson in lessons:
        texts = lesson.words()
        frames = sum(len(lesson.picture(step.picture)["frames"]) for step in lesson.steps if step.picture)
        assert page.count("<svg") >= frames > 0
        said = [texts.title, *texts.goals, *texts.key_points]
        for words in texts.steps.values():
            said += [words.title, *words.text, words.question, *words.choices]
        said += [line for picture in texts.pictures.values() for line in (*picture.captions, *picture.words.values())]
        for text in said:
            assert text.replace("**", "") in plain
    # Nothing on slides of another language stays English.
    write_slides(lessons[:1], tmp_path / "slides.html", PSEUDO)
    tasks = re.findall(r"<small>(.*?)</small>", (tmp_path / "slides.html").read_text(encoding="utf-8"))
    assert any("⟦" in task for task in tasks)


def test_answers_stand_on_slides_of_their_own_or_nowhere(tmp_path: Path) -> None:
    lesson = read_lesson(written(tmp_path / "mine"))
    with_answers = write_slides([lesson], tmp_path / "a.html")
    assert with_answers == write_slides([lesson], tmp_path / "b.html", answers=False) + 1
    # Title, three steps, an answer, two frames, key points.
    assert with_answers == 8
    assert '<li class="right">That<br><small>Yes.</small></li>' in (tmp_path / "a.html").read_text(encoding="utf-8")
    assert 'class="right"' not in (tmp_path / "b.html").read_text(encoding="utf-8")


def test_text_stays_text(tmp_path: Path) -> None:
    lesson = read_lesson(written(tmp_path / "mine", LOGIC, TEXTS.replace("Click two places.", "A & B 'quoted'")))
    write_slides([lesson], tmp_path / "a.html")
    assert "A &amp; B &#x27;quoted&#x27;" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_the_command_line_makes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "slides.html"
    assert main(["lesson", "slides", "first-map", "how-good", "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["id"] for one in told["lessons"]] == ["first-map", "how-good"]
    assert told["slides"] == out.read_text(encoding="utf-8").count("<section>")
    assert main(["lesson", "slides", "first-mop", "--out", str(out), "--json"]) == 2
