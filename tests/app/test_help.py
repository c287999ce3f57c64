"""Help without a browser: the words, the next steps that tick themselves, and what a server for strangers offers of packs."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from tessera_core.project import pack, steps, validate
from tessera_core.project.project import Project
from tessera_core.ui import files, state
from tessera_core.ui.elsewhere import region_at, sentence
from tessera_core.ui.help import pictures, words
from tessera_core.ui.region.page import KEEP_ADDRESS


def _labelled(project: Project) -> Project:
    for name, x in (("Wood", 600_100.0), ("Water", 600_500.0)):
        project.log.add("point", project.log.add_class(name).id, [(x, 5_799_900.0)])
    return project


def _open(app: AppTest, page: str, project: Project | None = None) -> AppTest:
    if project is not None:
        app.query_params["project"] = state.key_of(project.folder)
    app.run()
    app.switch_page(f"pages/{page}.py").run()
    assert not app.exception
    assert [error.value for error in app.error] == []
    return app


# ------------------------------------------------------------------ words


def test_every_word_is_told_in_one_line_and_two_sentences() -> None:
    known = words.terms()
    assert len(known) >= 30
    forms = [form.casefold() for term in known.values() for form in (term.name, *term.also)]
    assert len(set(forms)) == len(forms)
    for term in known.values():
        assert len(term.short) <= 100, term.name
        assert term.short.endswith("."), term.name
        assert len(re.findall(r"[.!?](?: |$)", term.long.replace(".tessera", "").replace(".npy", ""))) == 2, term.name


def test_pictures_are_of_words_that_there_are_and_say_what_they_show() -> None:
    drawn = {name: pictures.picture(name) for name in words.terms()}
    shown = {name: picture for name, picture in drawn.items() if picture}
    assert set(shown) == set(pictures._DRAWN)
    for picture in shown.values():
        assert 'alt=""' not in picture
        svg = base64.b64decode(picture.partition("base64,")[2].partition('"')[0])
        assert len(list(ElementTree.fromstring(svg))) > 2
    assert sum(map(len, shown.values())) < 200_000


@given(st.text(max_size=200))
def test_a_sentence_with_its_words_marked_says_the_same(text: str) -> None:
    import html

    marked = words.marked(text)
    plain = re.sub(r'<span role="tooltip">.*?</span>', "", marked)
    plain = re.sub(r'<span class="studio-term" tabindex="0">|</span>', "", plain)
    # Nothing of the text is markup, and nothing of it is lost.
    assert html.unescape(plain) == text
    assert "<" not in plain
    assert ">" not in plain


def test_a_word_is_marked_once_and_the_longest_first() -> None:
    marked = words.marked("The class map has classes; Classes again, and subclasses.")
    assert marked.count("studio-term") == 2
    assert '<span class="studio-term" tabindex="0">class map<span role="tooltip">' in marked
    assert words.terms()["class map"].short in marked


def test_the_page_help_finds_a_word_and_says_whom_to_tell(app: AppTest, project: Project) -> None:
    _open(app, "help")
    assert [tab.label for tab in app.tabs] == ["First steps", "Words", "Keys", "Something is wrong", "About"]
    assert "none open" in app.code[0].value
    app.text_input(key="help_word").set_value("recall").run()
    told = [text.proto.body for text in app.get("html") if "recall" in text.proto.body]
    assert len(told) == 1
    assert "<b>found</b>" in told[0]
    app.text_input(key="help_word").set_value("zzzz").run()
    assert any("No word like that" in info.value for info in app.info)


# ------------------------------------------------------------------ next steps


def test_the_next_steps_tick_themselves(app: AppTest, project: Project) -> None:
    """From the first map on, each when it is done, and put away and brought back."""
    _open(app, "label", project)
    assert not any("Next steps" in text.value for text in app.markdown)
    _labelled(project)
    app.run()
    assert any("**Next steps** :small[0 of 5]" in text.value for text in app.markdown)
    (label,) = [project.log.add("point", 1, [(600_200.0, 5_799_800.0)])]
    steps.note_labels(project, [label], [])
    assert steps.done(project) == (steps.CORRECT,)
    steps.note_labels(project, [label], [(600_185.0, 5_799_785.0, 600_215.0, 5_799_815.0)])
    assert steps.done(project) == (steps.CORRECT, steps.SUGGESTED)

    (item, _) = files.pictures("map", lambda: pytest.fail("not drawn here"))
    written: list[Path] = []
    files.build(files.noting(files.replace(item, write=lambda path: written.append(path) or path.touch()), project))
    assert written
    assert steps.done(project)[-1] == steps.TAKE

    _open(app, "validate", project)
    next(button for button in app.button if button.label == "Choose the places by chance").click().run()
    current = validate.load(project, state.current_year(project))
    assert current is not None
    for place in range(9):
        current = current.answer(place, int(current.sample.mapped[place]))
    validate.save(project, current)
    app.run()
    assert steps.CHECK not in steps.done(Project.open(project.folder))
    validate.save(project, current.answer(9, int(current.sample.mapped[9])))
    app.run()
    assert steps.CHECK in steps.done(Project.open(project.folder))

    _open(app, "label", project)
    assert any("**Next steps** :small[4 of 5]" in text.value for text in app.markdown)
    next(button for button in app.button if button.label == "Put this list away").click().run()
    assert not any("Next steps" in text.value for text in app.markdown)
    _open(app, "help", project)
    app.button(key="help_steps").click().run()
    _open(app, "label", project)
    assert any("**Next steps** :small[4 of 5]" in text.value for text in app.markdown)
    # What was done stays in a copy of the project.
    copy = Project.import_file(project.export_file(project.folder.parent / "copy.tessera"))
    assert steps.done(copy) == (steps.CORRECT, steps.SUGGESTED, steps.CHECK, steps.TAKE)
    # Its answers too: nobody looks at a place twice.
    kept = validate.load(copy, state.current_year(project))
    assert kept is not None
    assert kept.seen == 10


# ------------------------------------------------------------------ elsewhere


def test_places_elsewhere_are_named_with_the_way_there(app: AppTest, project: Project) -> None:
    grid = project.grid
    assert grid is not None
    told = sentence((3.70, 51.04, 3.74, 51.07), grid)
    assert re.fullmatch(r"They lie at Gent, Belgium, [\d,]+ km [a-z-]+ of this region\.", told)
    assert region_at((3.70, 51.04, 3.74, 51.07)).bbox == pytest.approx((3.695, 51.035, 3.745, 51.075))
    # Spread over a country: a region in their middle, not one of a country's size.
    west, south, east, north = region_at((3.0, 50.0, 6.0, 52.0)).bbox
    assert (west + east) / 2 == pytest.approx(4.5, abs=1e-3)
    assert north - south < 0.1

    _open(app, "label", project)
    key = f"label_file_{project.key}"
    app.session_state[key] = True
    app.run()
    content = b"lat,lon,class\n51.05,3.71,heath\n51.06,3.73,bog\n"
    app.file_uploader(key=f"label_bring_{project.key}").upload("survey.csv", content, "text/csv").run()
    assert any("They lie at Gent" in text.value for text in app.markdown)
    app.button(key=f"label_bring_elsewhere_{project.key}").click().run()
    assert not app.exception
    assert [title.value for title in app.title] == ["A place on Earth"]
    assert any("Gent" in text.value for text in app.markdown)


# ------------------------------------------------------------------ a server for strangers


def test_help_says_what_is_kept_of_whoever_looks(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def told() -> str:
        return " ".join(text.value for text in _open(app, "help").markdown)

    assert "stays on this computer" in told()
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    monkeypatch.setenv("TESSERA_KEEP_DAYS", "31")
    assert "31 days" in (here := told())
    assert "stays on this computer" not in here


def test_a_pack_opens_on_a_class_server_and_the_address_is_told(
    app: AppTest, project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    packed = pack.make_pack([_labelled(project)], tmp_path / "class.tesserapack").read_bytes()
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    app.run()
    app.file_uploader(key="region_files").upload("class.tesserapack", packed, "application/zip").run()
    app.button(key="region_upload").click().run()
    assert not app.exception
    assert [error.value for error in app.error] == []
    assert KEEP_ADDRESS in [info.value for info in app.info]
    (mine,) = [
        entry
        for entry in (project.folder.parent).iterdir()
        if (entry / "project.json").is_file() and entry != project.folder
    ]
    assert len(Project.open(mine).log.labels) == 2
    # And the page Data is no dead end: packs are made and opened there, without a word of the server's folders.
    app.switch_page("pages/data.py").run()
    assert not app.exception
    assert [head.value for head in app.header] == ["Packs", "A class by files"]
    assert not [box for box in app.text_input if box.label == "Path of the file"]
    app.multiselect(key="data_pack_projects").select("My fields").run()
    app.button(key="data_pack_make").click().run()
    from tessera_core.ui import jobs

    for job in list(jobs._pool()._jobs.values()):
        job.wait(60)
    app.run()
    assert "Save a copy" in [button.proto.label for button in app.get("download_button")]
    assert not any(str(tmp_path) in text.value for text in (*app.caption, *app.markdown, *app.success))
