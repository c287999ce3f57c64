"""A class on one server: who may join, who comes back, where everybody is, and what a teacher does; several processes at once."""

from __future__ import annotations

import csv
import io
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera_core.classroom import board, joining, store
from tessera_core.classroom.model import (
    ALPHABET,
    Classroom,
    Member,
    checked_nickname,
    is_word,
    new_code,
    typed_code,
    word_digest,
)
from tessera_core.errors import InputError, ProjectError
from tessera_core.hosting import VARIABLE, Person, acting_for
from tessera_core.lessons import library as lessons
from tessera_core.lessons import progress
from tessera_core.project import room
from tessera_core.project.home import projects_home, recent_projects
from tessera_core.project.pack import make_pack, open_pack
from tests.classroom.classes import label_quarters, template

TEACHER = Person("t" * 32, "owner", how="token")
ADA, BO = (Person(letter * 32) for letter in "ab")


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Classroom:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    pack = make_pack([template(tmp_path / "fen")], tmp_path / "fen-pack")
    monkeypatch.setenv(VARIABLE, "1")
    monkeypatch.setenv("TESSERA_MAX_PROJECTS", "3")
    with acting_for(TEACHER):
        source = open_pack(pack)[0]
        label_quarters(source, 1, seed=9)
        return joining.open_class(
            source, TEACHER, name="Fen, Tuesday", tasks=("Label four kinds.", "Look where it errs.")
        )


def test_codes_are_read_out_and_typed_as_people_do() -> None:
    code = new_code()
    assert set(code) <= set(ALPHABET)
    assert not set("01OIL") & set(ALPHABET)
    assert typed_code(f" {code[:3].lower()}-{code[3:].lower()} ") == code


@given(st.text(max_size=60))
def test_a_nickname_is_one_plain_line_or_a_sentence(text: str) -> None:
    try:
        name = checked_nickname(text)
    except InputError:
        return
    assert name == checked_nickname(name)
    assert 1 <= len(name) <= 24
    assert name.isprintable()
    assert not set(name) & set("\n\r\t\u202e\u200f")


def test_each_learner_has_a_project_of_their_own_from_the_teachers(opened: Classroom) -> None:
    _, ada, word = joining.join(opened.code.lower(), " Ada ", ADA)
    found, bo, _ = joining.join(opened.code, "Bo", BO)
    assert [one.nickname for one in found.members] == ["Ada", "Bo"]
    assert word
    mine, theirs = board.project_of(ada), board.project_of(bo)
    assert mine.folder != theirs.folder
    assert [one.name for one in mine.log.classes] == ["Water", "Wood", "Fields", "Town"]
    assert not mine.log.labels, "the teacher's labels are not handed out"
    assert mine.settings.classroom == opened.id
    assert mine.settings.class_tasks == opened.tasks
    assert mine.embeddings_path(mine.years[0]).is_dir()
    with acting_for(ADA):
        assert [entry.folder for entry in recent_projects()] == [mine.folder]
    # The same browser again: the same project, however the name is written.
    again, member, no_word = joining.join(opened.code, "ADA", ADA)
    assert (member.project, no_word, len(again.members)) == (ada.project, "", 2)
    # What learners see does not hang on the teacher's project.
    with acting_for(TEACHER):
        board.deletion.delete(recent_projects()[0])
    assert board.project_of(ada).embeddings_path(mine.years[0]).is_dir()


def test_nobody_is_two_of_a_class(opened: Classroom) -> None:
    joining.join(opened.code, "Ada", ADA)
    with pytest.raises(InputError, match="already, as Ada"):
        joining.join(opened.code, "Ada two", ADA)
    assert [one.nickname for one in store.read(opened.id).members] == ["Ada"]
    assert len(room.owned(ADA.key)) == 1


def test_who_may_not_join_is_told_why(opened: Classroom) -> None:
    joining.join(opened.code, "Ada", ADA)
    with pytest.raises(InputError, match="is taken"):
        joining.join(opened.code, "ada", BO)
    with pytest.raises(InputError, match="no class of that code"):
        joining.join("BBBBBB", "Bo", BO)
    with pytest.raises(InputError, match="letter or number"):
        joining.join(opened.code, " \u202e ", BO)
    store.change(opened.id, locked=True)
    with pytest.raises(InputError, match="closed this class"):
        joining.join(opened.code, "Bo", BO)
    # Whoever is in it is not kept out.
    assert joining.join(opened.code, "Ada", ADA)[1].nickname == "Ada"
    store.change(opened.id, locked=False, state="ended")
    with pytest.raises(InputError, match="no class of that code"):
        joining.join(opened.code, "Bo", BO)
    with pytest.raises(InputError):
        store.read("../../../etc")
    with pytest.raises(InputError, match="nothing was changed"):
        store.change(opened.id, said="x" * 400)
    assert store.read(opened.id).said == ""


def test_coming_back_from_another_device_needs_the_word(opened: Classroom) -> None:
    _, ada, word = joining.join(opened.code, "Ada", ADA)
    with pytest.raises(InputError, match="not the word"):
        joining.come_back(opened.code, "Ada", "heron 10", BO)
    found, member = joining.come_back(opened.code, "ada", f"  {word.upper()} ", BO)
    assert (member.project, member.person) == (ada.project, BO.key)
    assert room.owned(ADA.key) == []
    assert room.owned(BO.key) == [projects_home() / ada.project]
    assert found.of_person(ADA.key) is None
    # Nobody finds it by trying, and the right word does not help after that either.
    for _ in range(joining.MOST_TRIES):
        with pytest.raises(InputError, match="not the word"):
            joining.come_back(opened.code, "Ada", "heron 11", ADA)
    with pytest.raises(InputError, match="Too many"):
        joining.come_back(opened.code, "Ada", word, ADA)
    fresh = joining.renew_word(opened.id, "ada")
    assert joining.come_back(opened.code, "Ada", fresh, ADA)[1].person == ADA.key
    assert word not in (store.folder_of(opened.id) / "class.json").read_text()


def test_thirty_join_at_once_and_nobody_is_lost(opened: Classroom) -> None:
    def one(n: int) -> str:
        return joining.join(opened.code, f"Learner {n}", Person(f"{n:032d}"))[1].project

    with ThreadPoolExecutor(8) as pool:
        projects = list(pool.map(one, range(30)))
    assert len(set(projects)) == 30
    found = store.read(opened.id)
    assert sorted(m.project for m in found.members) == sorted(projects)
    assert all(board.project_of(m).settings.learner == m.nickname for m in found.members)


def test_the_board_tells_who_is_where(opened: Classroom) -> None:
    _, ada, _ = joining.join(opened.code, "Ada", ADA)
    found, bo, _ = joining.join(opened.code, "=Bo", BO)
    label_quarters(board.project_of(ada), 2, seed=0)
    found = store.change(opened.id, task=1)
    store.note_here(found.id, ada.project)
    first, second = board.rows(found)
    assert (first.labels, first.classes, first.state, first.doing) == (8, 4, "working", "Look where it errs.")
    assert (second.labels, second.state) == (0, "away")
    late = first.changed + board.STUCK_SECONDS + 1
    store.note_here(found.id, ada.project, late)
    assert board.rows(found, late)[0].state == "stuck"
    table = list(csv.DictReader(io.StringIO(board.board_csv(board.rows(found)))))
    assert [row["labels"] for row in table] == ["8", "0"]
    assert table[1]["learner"] == "'=Bo", "no spreadsheet runs a nickname"
    (projects_home() / bo.project / "project.json").unlink()
    assert board.rows(found)[1].state == "gone"


def test_setting_back_keeps_the_work_and_can_be_undone(opened: Classroom) -> None:
    _, ada, _ = joining.join(opened.code, "Ada", ADA)
    found, bo, _ = joining.join(opened.code, "Bo", BO)
    for member in (ada, bo):
        label_quarters(board.project_of(member), 2, seed=1)
    before = [label.points for label in board.project_of(ada).log.labels]
    kept = board.set_back(found, ["ADA"])
    assert [row.labels for row in board.rows(found)] == [0, 8]
    board.bring_back(found, kept)
    assert [label.points for label in board.project_of(ada).log.labels] == before
    # And the learner could have undone it as well.
    board.set_back(found)
    project = board.project_of(ada)
    project.log.undo()
    assert len(project.log.labels) == 8


def test_a_step_is_pushed_to_all_and_what_was_done_stays(opened: Classroom) -> None:
    lesson = next(one for one in lessons.shelf().lessons.values() if len(one.steps) > 6)
    found = store.change(opened.id, lesson=lesson.id)
    _, ada, _ = joining.join(found.code, "Ada", ADA)
    project = board.project_of(ada)
    first = next(step for step in lesson.steps if step.check is not None)
    known = project.settings.lesson
    assert known is not None
    lessons.save(project, progress.jump(lesson, known, first.id, 0))
    target = lesson.steps[5]
    assert board.push_step(store.read(found.id), target.id) == []
    row = board.rows(store.read(found.id))[0]
    assert (row.step, row.steps) == (6, len(lesson.steps))
    with pytest.raises(InputError, match="no lesson with that step"):
        board.push_step(found, "nowhere")


def test_export_and_delete_take_all_of_a_class(opened: Classroom) -> None:
    joining.join(opened.code, "Ada", ADA)
    found, bo, _ = joining.join(opened.code, "Bo/../x", BO)
    with zipfile.ZipFile(io.BytesIO(board.export_class(found))) as archive:
        names = archive.namelist()
        assert sorted(name.endswith(".tessera") for name in names) == [False, True, True]
        assert not any("/" in name or "\\" in name or name.startswith(".") for name in names)
        assert archive.read("board.csv").count(b"\n") == 3
    assert board.delete_class(found) == 2
    assert not os.path.exists(projects_home() / bo.project)
    assert store.classes() == []
    assert not list(store.home().glob("*/class.json"))
    with pytest.raises(InputError):
        store.read(found.id)
    with pytest.raises(ProjectError):
        board.project_of(bo)
    # A learner whose page is still open leaves nothing behind.
    store.note_here(found.id, bo.project)
    assert not list(store.home().iterdir())
    with acting_for(TEACHER):
        assert len(recent_projects()) == 1, "the teacher's own project stays"


def test_a_class_that_was_deleted_does_not_come_back_with_who_joins(
    opened: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = joining._copy_for

    def slow(found: Classroom, nickname: str) -> object:
        project = whole(found, nickname)
        # As another process may, where the system lets go of the lock.
        os.replace(store.folder_of(found.id), store.home() / ".gone")
        return project

    monkeypatch.setattr(joining, "_copy_for", slow)
    with pytest.raises(InputError, match="no such class"):
        joining.join(opened.code, "Ada", ADA)
    assert not store.folder_of(opened.id).exists()
    with pytest.raises(InputError, match="no such class"):
        store.change(opened.id, said="Hello")
    assert store.classes() == []
    store.note_here(opened.id, "p")


def test_nobody_is_kept_out_by_a_clock_or_by_how_a_name_was_typed(
    opened: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, word = joining.join(opened.code, "Jos\u00e9", ADA)
    for _ in range(joining.MOST_TRIES):
        with pytest.raises(InputError, match="not the word"):
            joining.come_back(opened.code, "Jose\u0301", "heron 1", BO)
    with pytest.raises(InputError, match="Too many wrong words"):
        joining.come_back(opened.code, "Jos\u00e9", word, BO)
    before = joining.time.time() - 86_400
    monkeypatch.setattr(joining.time, "time", lambda: before)
    assert joining.come_back(opened.code, "Jos\u00e9", word, BO)[1].person == BO.key


def test_who_joined_when_accents_were_kept_apart_is_the_same_person(opened: Classroom) -> None:
    """Older versions kept names as they were typed, and a word's digest with them."""
    word = "heron 42"
    old = Member(
        nickname="Jose\u0301", person=ADA.key, word=word_digest(opened.id, "Jose\u0301", word), project="p", joined=1.0
    )
    with store.changing(opened.id) as keep:
        keep(opened.with_member(old))
    assert joining.join(opened.code, "Jos\u00e9", ADA)[1:] == (old, "")
    with pytest.raises(InputError, match="is taken"):
        joining.join(opened.code, "JOS\u00c9", BO)
    with pytest.raises(InputError, match="not the word"):
        joining.come_back(opened.code, "Jos\u00e9", "wren 10", BO)
    (found,) = store.read(opened.id).members
    assert len(found.wrong) == 1
    assert is_word(opened.id, found, word)
    # Two that an older version let in beside each other stay two.
    new = msgspec.structs.replace(old, nickname="Jos\u00e9", person=BO.key)
    pair = msgspec.structs.replace(opened, members=(old, new))
    assert pair.with_member(new).members == (old, new)
    assert (pair.member("Jose\u0301"), pair.member("Jos\u00e9")) == (old, new)
