"""Lessons as files: what is handed out comes back whole, a stranger's file is judged before it is taken, and is removed again."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from tessera_core.cli import main
from tessera_core.errors import InputError
from tessera_core.lessons import library, packs
from tessera_core.project import pack
from tessera_core.project.project import Project
from tests.factories import make_grid, two_halves
from tests.lessons.folders import LOGIC, PICTURE, TEXTS, written

BY = 'by = "Ana Ruiz, Field School"\n'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def zipped(path: Path, members: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def lesson_members(folder: str = "rivers/", logic: str = BY + LOGIC, texts: str = TEXTS) -> dict[str, str]:
    return {
        f"{folder}lesson.toml": logic,
        f"{folder}texts.en.toml": texts,
        f"{folder}pictures/dot.json": json.dumps(PICTURE),
    }


def shelved(home: Path) -> list[str]:
    return sorted(one.name for one in (home / "lessons").iterdir() if not one.name.startswith("."))


@pytest.mark.parametrize("folder", ["", "rivers/", "deep/er/rivers/"])
def test_a_lesson_in_a_zip_is_taken_wherever_it_lies_in_it(home: Path, tmp_path: Path, folder: str) -> None:
    members = lesson_members(folder) | {f"{folder}run.py": "raise SystemExit", "__MACOSX/rivers/lesson.toml": "x"}
    taken = packs.take(zipped(tmp_path / "rivers.zip", members))
    assert [(one.id, one.by) for one in taken.lessons] == [("mine", "Ana Ruiz, Field School")]
    # Nothing else is unpacked, and it is said.
    assert taken.ignored == (f"{folder}run.py",)
    there = sorted(path.relative_to(home).as_posix() for path in (home / "lessons" / "mine").rglob("*.*"))
    assert there == [f"lessons/mine/{one}" for one in ("lesson.toml", "pictures/dot.json", "texts.en.toml")]
    lesson = library.shelf().lessons["mine"]
    assert library.is_own(lesson)
    assert lesson.picture("dot")["width"] == 100

    with pytest.raises(InputError, match="a lesson 'mine' is here already; remove that one first"):
        packs.take(tmp_path / "rivers.zip")
    packs.remove(lesson)
    assert "mine" not in library.shelf().lessons
    assert shelved(home) == []
    assert [one.id for one in packs.take(tmp_path / "rivers.zip").lessons] == ["mine"]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"readme.md": "no"}, "rivers.zip holds no lesson"),
        (lesson_members("../../up/"), "leads outside the archive"),
        (lesson_members(texts=TEXTS + "#" * 300_000), "texts.en.toml in rivers.zip has 0.3 MB, more than 0.2 MB"),
        (lesson_members(texts=TEXTS.replace("Think of", "<b>Think</b>")), "The lesson in rivers .*markup"),
        (lesson_members(logic=LOGIC.replace("label.map", "label.mop")), "The lesson in rivers .*no target 'label.mop'"),
        (lesson_members(logic=LOGIC.replace("classes_at_least", "run")), "The lesson in rivers .*no check 'run'"),
        (lesson_members(logic='by = "<script>"\n' + LOGIC), "by holds markup"),
        (lesson_members(logic=LOGIC.replace('"mine"', '"first-map"')), "the studio has a lesson 'first-map'"),
        (lesson_members() | lesson_members("other/"), "two lessons of the same id"),
        (lesson_members() | {"rivers/pictures/bad.json": '{"width": 1}'}, "The picture bad.json lacks"),
        (lesson_members() | {f"rivers/pictures/n{n}.json": "{}" for n in range(250)}, "253 files, more than 200"),
        ({f"l{n}/lesson.toml": LOGIC for n in range(31)}, "31 lessons; at most 30"),
    ],
)
def test_what_is_wrong_with_a_strangers_file_is_said_and_nothing_of_it_stays(
    home: Path, tmp_path: Path, members: dict[str, str], said: str
) -> None:
    with pytest.raises(InputError, match=said) as error:
        packs.take(zipped(tmp_path / "rivers.zip", members))
    assert str(error.value).endswith(".")
    assert not (home / "lessons").exists() or shelved(home) == []
    assert not list(tmp_path.rglob("run.py"))
    assert not list((home / "lessons").glob(".taking-*"))


def test_a_file_with_one_bad_lesson_of_two_is_not_taken_in_half(home: Path, tmp_path: Path) -> None:
    members = lesson_members() | lesson_members("torn/", texts="title = ")
    with pytest.raises(InputError, match="The lesson in torn cannot be used"):
        packs.take(zipped(tmp_path / "two.zip", members))
    assert shelved(home) == []


def test_no_lesson_of_the_studio_is_removed(home: Path) -> None:
    with pytest.raises(InputError, match="comes with the studio"):
        packs.remove(library.shelf().lessons["first-map"])
    assert (library.SHIPPED / "first-map").is_dir()


def test_a_pack_of_projects_carries_lessons(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raster = two_halves(make_grid((24, 24)), 2024)
    project = Project.new("Bog")
    project.attach_embeddings(2024, raster.save(tmp_path / "e"), raster.provenance, raster.grid)
    folder = written(tmp_path / "rivers", BY + LOGIC)
    (folder / "notes.docx").write_text("not handed out")
    out = pack.make_pack([project], tmp_path / "course", lessons={"mine": packs.files_of(folder)})

    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "there"))
    stream = io.BytesIO(out.read_bytes())
    assert [one.name for one in pack.upload(stream)] == ["Bog"]
    assert [one.by for one in packs.taken_along(stream, out.name).lessons] == ["Ana Ruiz, Field School"]
    assert library.shelf().lessons["mine"].steps[0].id == "ask"
    # Opened again, it is here already, and no mistake.
    assert packs.taken_along(stream, out.name).lessons == ()
    without = pack.make_pack([project], tmp_path / "plain")
    assert packs.taken_along(io.BytesIO(without.read_bytes()), without.name).lessons == ()


def test_the_command_line_checks_hands_out_takes_in_and_removes(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*words: object) -> tuple[int, dict[str, object]]:
        code = main(["lesson", *map(str, words), "--json"])
        return code, json.loads(capsys.readouterr().out)

    folder = written(tmp_path / "rivers", BY + LOGIC)
    code, told = said("check", folder)
    assert (code, told["lessons"][0]["steps"], told["lessons"][0]["by"]) == (0, 3, "Ana Ruiz, Field School")  # type: ignore[index]
    assert said("pack", folder, "--out", tmp_path / "rivers.zip")[0] == 0
    assert said("add", tmp_path / "rivers.zip")[0] == 0
    kinds = {one["id"]: one["kind"] for one in said("list")[1]["lessons"]}  # type: ignore[attr-defined]
    assert (kinds["mine"], kinds["wetland"]) == ("lesson", "start")
    assert "mine" in library.shelf().lessons
    assert said("remove", "mine")[0] == 0
    assert "mine" not in library.shelf().lessons
    code, told = said("remove", "mine")
    assert (code, told["error"]["message"]) == (2, "There is no lesson 'mine' here; 'tessera lesson list' names them.")  # type: ignore[index]

    (folder / "lesson.toml").write_text(LOGIC.replace('"label.map"', '"label.mop"'), encoding="utf-8")
    code, told = said("check", folder)
    assert code == 2
    assert (
        "The lesson in rivers cannot be used: step 'click': there is no target 'label.mop'" in told["error"]["message"]
    )  # type: ignore[index]
