"""A server for strangers has room for so many projects, and old ones go; a person's own computer has no such limits."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import numpy as np
import pytest

from tessera_core.errors import InputError, ProjectError
from tessera_core.hosting import Person, acting, acting_for
from tessera_core.project import deletion, library, room
from tessera_core.project.home import projects_home, recent_projects
from tessera_core.project.links import link_of, linked_folder
from tessera_core.project.project import Project
from tests.factories import landscape

DAY = 86_400


@pytest.fixture(autouse=True)
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    return tmp_path / "home"


def test_each_visitor_has_their_own_list(monkeypatch: pytest.MonkeyPatch) -> None:
    with acting_for("anna"):
        mine = Project.new("Fen")
        assert (acting(), mine.owner) == ("anna", "anna")
    with acting_for("bert"):
        Project.new("Moor")
        assert [entry.name for entry in library.recent()] == ["Moor"]
    with acting_for("anna"):
        assert [entry.name for entry in library.recent()] == ["Fen"]
    assert library.recent() == []
    assert {entry.name for entry in recent_projects(everyone=True)} == {"Fen", "Moor"}
    assert acting() == ""
    monkeypatch.setenv("TESSERA_HOSTED", "0")
    assert {entry.name for entry in library.recent()} == {"Fen", "Moor"}
    assert Project.new("Own").owner == ""


def test_who_owns_a_project_is_in_no_file_that_leaves_the_server(tmp_path: Path) -> None:
    with acting_for("anna's secret name"):
        project = Project.new("Fen")
        file = project.export_file(tmp_path / "fen")
    with acting_for("bert"):
        copy = Project.import_file(file)
        assert copy.owner == "bert"
        assert [entry.folder for entry in library.recent()] == [copy.folder.resolve()]
    assert b"secret name" not in file.read_bytes()


def test_a_visitor_has_so_many_projects_and_room_again_after_deleting_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_MAX_PROJECTS", "2")
    with acting_for("anna"):
        Project.new("One")
        Project.new("Two")
        with pytest.raises(ProjectError, match="You have 2 projects"):
            Project.new("Three")
        with acting_for("bert"):
            Project.new("Three")
        deletion.delete(library.recent()[0])
        Project.new("Four")


def test_a_full_server_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_MAX_ALL_PROJECTS", "3")
    for visitor in ("anna", "bert", "cora"):
        with acting_for(visitor):
            Project.new("Fen")
    with acting_for("dora"), pytest.raises(ProjectError, match=r"server is full.*3 projects"):
        Project.new("Fen")
    monkeypatch.setenv("TESSERA_MAX_ALL_PROJECTS", "many")
    with pytest.raises(InputError, match="TESSERA_MAX_ALL_PROJECTS"):
        Project.new("Fen")


def test_a_full_disk_quota_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_MEASURE_SECONDS", -1.0)
    monkeypatch.setenv("TESSERA_MAX_DISK_GB", "1")
    project = Project.new("Fen")
    with (project.folder / "large").open("wb") as file:
        file.truncate(1_100_000_000)
    with pytest.raises(ProjectError, match=r"server is full.*1\.1 GB"):
        Project.new("Fen")


def test_an_upload_beyond_the_size_of_a_project_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_MAX_PROJECT_MB", "1")
    raster = landscape(100)
    files = []
    for name, array in (("t.npy", raster.codes), ("t_scales.npy", raster.scales)):
        stream = io.BytesIO()
        np.save(stream, np.asarray(array))
        stream.seek(0)
        files.append((name, stream))
    with pytest.raises(ProjectError, match="may have 1"):
        library.start_upload(files)
    assert not list(projects_home().glob("[!.]*"))


def _age(folder: Path, days: float) -> None:
    then = time.time() - days * DAY
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (then, then))


def test_what_nobody_used_goes_and_what_is_used_stays() -> None:
    with acting_for("anna"):
        old, used, young = (Project.new(name) for name in ("Old", "Used", "Young"))
        link = link_of(old.folder)
    for project in (old, used):
        _age(project.folder, 100)
    room.note_use(used.folder)
    half = projects_home() / "half made-aaaaaaaa"
    (half / "data").mkdir(parents=True)
    _age(half, 2)
    fresh = projects_home() / "being made-aaaaaaaa"
    fresh.mkdir()
    assert sorted(room.remove_old()) == sorted([old.folder.name, half.name])
    assert {path.name for path in projects_home().glob("[!.]*")} == {used.folder.name, young.folder.name, fresh.name}
    assert not list(projects_home().glob(".removed-*"))
    assert linked_folder(link) is None
    with acting_for("anna"):
        assert {entry.name for entry in library.recent()} == {"Used", "Young"}
    assert room.remove_old() == []


def test_a_label_keeps_a_project_young() -> None:
    project = Project.new("Fen")
    _age(project.folder, 100)
    Project.open(project.folder).log.add_class("Wood")
    assert room.remove_old() == []


def test_nothing_is_limited_or_removed_on_a_persons_own_computer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_HOSTED", "0")
    monkeypatch.setenv("TESSERA_MAX_PROJECTS", "1")
    monkeypatch.setenv("TESSERA_MAX_ALL_PROJECTS", "1")
    projects = [Project.new("Fen") for _ in range(3)]
    for project in projects:
        _age(project.folder, 4000)
    assert room.remove_old() == []
    assert len(recent_projects()) == 3


def test_the_demo_of_one_visitor_is_never_given_to_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from tessera_core._utils.paths import cache_home
    from tessera_core.project.demo import DemoRegion

    landscape(16).save(cache_home() / "demo" / "x" / "embeddings" / "2023")
    demo = DemoRegion.at(cache_home() / "demo" / "x", 16, 0, [2023])
    demo.dpixels.clear()
    made = []
    for visitor in ("anna", "bert", "anna"):
        with acting_for(visitor):
            made.append(library.start_demo(demo, fresh=False))
    # Who comes back goes on where they were.
    assert [made[0].key == project.key for project in made] == [True, False, True]
    monkeypatch.setenv("TESSERA_HOSTED", "0")
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "own"))
    assert library.start_demo(demo).key == library.start_demo(demo).key


def test_what_was_made_before_signing_in_is_taken_along_and_taken_away() -> None:
    with acting_for("a browser"):
        made = [Project.new("Fen").folder, Project.new("Moor").folder]
    ada = Person("ada", "teacher", "Ada")
    with acting_for(ada):
        Project.new("Own")
        assert room.hand_over("a browser", "ada") == 2
        assert {entry.name for entry in library.recent()} == {"Fen", "Moor", "Own"}
        assert room.hand_over("a browser", "ada") == room.hand_over("ada", "ada") == room.hand_over("", "ada") == 0
    with acting_for("a browser"):
        assert library.recent() == []
    assert [linked_folder(link_of(folder)) for folder in made] == [folder.resolve() for folder in made]


def test_a_teacher_has_more_than_a_visitor(server: Path) -> None:
    server.mkdir(exist_ok=True)
    (server / "server.toml").write_text("[limits]\nprojects = 1\n[limits.teacher]\nprojects = 2\n")
    with acting_for(Person("tess", "teacher")):
        Project.new("One")
        Project.new("Two")
        with pytest.raises(ProjectError, match="You have 2 projects"):
            Project.new("Three")
    with acting_for("vic"):
        Project.new("One")
        with pytest.raises(ProjectError, match="You have 1 project on"):
            Project.new("Two")


def test_all_projects_of_one_person_have_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_MAX_PERSON_MB", "1")
    with acting_for("anna"):
        (Project.new("One").folder / "big").write_bytes(bytes(1_200_000))
        with pytest.raises(
            ProjectError, match=r"Your projects on this server have 1 MB, and each visitor may have 1\."
        ):
            Project.new("Two")
    with acting_for("bert"):
        Project.new("Two")


def test_it_is_said_before_a_project_goes_and_a_teachers_stays_longer(server: Path) -> None:
    server.mkdir(exist_ok=True)
    (server / "server.toml").write_text(
        "[limits]\nkeep_days = 30\nnotice_days = 7\n[limits.teacher]\nkeep_days = 300\n"
    )
    with acting_for(Person("tess", "teacher")):
        kept = Project.new("Kept").folder
    with acting_for("vic"):
        gone = Project.new("Gone").folder
    now = time.time()
    with acting_for("vic"):
        assert [room.days_left(gone, now + days * DAY) for days in (0, 22, 24.5, 29.9, 40)] == [None, None, 5, 0, 0]
    with acting_for(Person("tess", "teacher")):
        assert room.days_left(kept, now + 40 * DAY) is None
    assert room.remove_old(now=now + 31 * DAY) == [gone.name]
    assert room.remove_old(now=now + 301 * DAY) == [kept.name]


def test_what_is_brought_back_belongs_to_whom_it_belonged_also_where_room_was_made_meanwhile() -> None:
    with acting_for("anna"):
        Project.new("Annas fields")
        deleted = deletion.delete(recent_projects()[0])
        room.remove_old()
        deletion.restore(deleted)
        assert [entry.name for entry in recent_projects()] == ["Annas fields"]
