"""A backup is whole whatever is written meanwhile, follows no link, and comes back as it was or not at all."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tessera_core._utils.paths import cache_home
from tessera_core.cli import main
from tessera_core.errors import Cancelled, ExportError, InputError
from tessera_core.hosting import acting_for, server_secret
from tessera_core.project import backup
from tessera_core.project.backup import make_backup, restore_backup
from tessera_core.project.home import folder_of, projects_home
from tessera_core.project.links import link_of
from tessera_core.project.project import Project
from tessera_core.project.room import owned
from tessera_core.sources.local.open import open_embeddings
from tests.factories import landscape
from tests.waiting import eventually


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TESSERA_HOSTED", raising=False)
    return tmp_path / "home"


def labelled(name: str = "Fen", labels: int = 3) -> Project:
    project = Project.new(name)
    project.update(head="ridge", region={"kind": "demo"})
    wood = project.log.add_class("Wood")
    for number in range(labels):
        project.log.add("point", wood.id, [(500_005 + number, 5_599_995)])
    return project


def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str = "another") -> Path:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / name))
    return tmp_path / name


def test_all_that_people_have_comes_back(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raster = landscape(16)
    fetched = raster.save(cache_home() / "embeddings" / "fetched")
    landscape(16, seed=1).save(cache_home() / "embeddings" / "of nobody")
    own = raster.save(tmp_path / "of the person's own")
    project, other = labelled(), labelled("Other", 5)
    project.attach_embeddings(2023, fetched, raster.provenance, raster.grid)
    other.attach_embeddings(2023, own, raster.provenance, raster.grid)
    uploaded = raster.save(project.folder / "data" / "2024")
    secret = server_secret()
    made = make_backup(tmp_path / "b")
    assert made.path == tmp_path / "b.tesserabackup"
    assert (made.projects, made.changing, made.linked, made.elsewhere) == (2, [], [], [other.folder.name])
    if os.name == "posix":
        assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    new = elsewhere(monkeypatch, tmp_path)
    found = restore_backup(made.path)
    assert (found.projects, found.files, found.bytes) == (2, made.files, made.bytes)
    again = Project.open(new / "projects" / project.folder.name)
    assert (again.id, again.name, again.settings) == (project.id, project.name, project.settings)
    assert again.log.labels == project.log.labels
    # What it refers to is found where it lies now, though the file names where it lay.
    shutil.rmtree(home)
    assert np.array_equal(open_embeddings(again.embeddings_path(2023)).codes, raster.codes)
    assert np.array_equal(open_embeddings(again.folder / "data" / uploaded.name).codes, raster.codes)
    assert not (new / "cache" / "embeddings" / "of nobody").exists()
    assert server_secret() == secret
    if os.name == "posix":
        assert stat.S_IMODE((new / "secret").stat().st_mode) == 0o600
    assert not list(new.glob(".restore-*"))


def test_without_embeddings_it_is_small_and_has_every_label(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raster = landscape(32)
    project = labelled()
    raster.save(project.folder / "data" / "2023")
    (project.folder / "validation.json").write_text("{}")
    made = make_backup(tmp_path / "small", embeddings=False)
    assert made.bytes < 20_000 < raster.codes.nbytes
    new = elsewhere(monkeypatch, tmp_path)
    restore_backup(made.path)
    again = Project.open(new / "projects" / project.folder.name)
    assert again.log.labels == project.log.labels
    assert (again.folder / "validation.json").is_file()


def test_labels_that_are_made_meanwhile_are_whole_lines_and_never_fewer(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = labelled(labels=1)
    program = (
        "import sys\nfrom tessera_core.project.project import Project\np = Project.open(sys.argv[1])\n"
        "p.update(step=0)\nprint('begun', flush=True)\nn = 0\nwhile True:\n"
        "    n += 1\n    p.log.add('point', 1, [(500_000 + n, 5_600_000)])\n    p.update(step=n)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, str(project.folder)], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        begun = [1]

        def grown() -> bool:
            project.log.sync()
            return len(project.log.labels) > begun[-1]

        kept = []
        for number in range(6):
            eventually(grown)
            begun.append(len(project.log.labels))
            kept.append(make_backup(tmp_path / f"{number}"))
    finally:
        writer.kill()
        writer.wait()
    project.log.sync()
    everything = [label.id for label in project.log.labels]
    for number, made in enumerate(kept):
        assert made.changing == []
        new = elsewhere(monkeypatch, tmp_path, f"restored-{number}")
        restore_backup(made.path)
        again = Project.open(new / "projects" / project.folder.name)
        assert again.notes == []
        ids = [label.id for label in again.log.labels]
        assert ids == everything[: len(ids)]
        assert len(ids) >= begun[number + 1]
        # The settings are of a moment, too, and none is torn.
        assert again.settings.head == "ridge"
        assert again.settings.extra["step"] >= 0


def test_a_large_file_that_is_being_written_is_told_and_left_out(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "_IN_MEMORY", 1000)
    project = labelled()
    growing = project.folder / "data" / "codes.npy"
    growing.parent.mkdir()
    growing.write_bytes(bytes(5000))

    class Meanwhile(zipfile.ZipFile):
        """An archive that takes its time: somebody writes on before it has all."""

        def open(self, name: Any, mode: Any = "r", **options: Any) -> Any:
            with growing.open("ab") as file:
                file.write(b"x")
            return super().open(name, mode, **options)

    with Meanwhile(tmp_path / "z", "w") as archive:
        assert backup._copied(archive, "home/projects/p/data/codes.npy", growing) is None
    # One that stands still is kept, read piece by piece.
    made = make_backup(tmp_path / "b")
    assert made.changing == []
    assert made.bytes > 5000


def test_links_pipes_and_passing_things_stay_out(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no pipes with names")
    secret = tmp_path / "somebody's"
    (secret / "folder").mkdir(parents=True)
    (secret / "folder" / "key").write_text("private")
    project = labelled()
    (project.folder / "link").symlink_to(secret / "folder" / "key")
    (project.folder / "folder").symlink_to(secret / "folder")
    (projects_home() / "linked").symlink_to(secret)
    os.mkfifo(project.folder / "pipe")
    for passing in (".upload-x", ".removed-x"):
        (projects_home() / passing).mkdir()
        (projects_home() / passing / "big").write_bytes(bytes(100))
    (home / "tmp").mkdir()
    (home / "tmp" / "half").write_text("half")
    (project.folder / ".codes.12-ab.part.npy").write_text("half")
    made = make_backup(tmp_path / "b")
    with zipfile.ZipFile(made.path) as archive:
        names = archive.namelist()
        assert not any(b"private" in archive.read(name) for name in names)
    assert not [name for name in names if "half" in name or "big" in name or "pipe" in name or ".part" in name]
    assert len(made.linked) == 3


def test_addresses_and_owners_of_a_class_server_stay(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    with acting_for("ada"):
        project = labelled()
    link = link_of(project.folder)
    made = make_backup(tmp_path / "b")
    home.rename(tmp_path / "lost")
    restore_backup(made.path)
    from tessera_core import hosting

    hosting._secret_at.cache_clear()
    assert folder_of(link) == project.folder
    assert owned("ada") == [project.folder]


def test_a_home_with_projects_is_never_written_over(home: Path, tmp_path: Path) -> None:
    project = labelled()
    made = make_backup(tmp_path / "b")
    wood = project.log.add_class("Newer")
    with pytest.raises(InputError, match="1 project already"):
        restore_backup(made.path)
    assert Project.open(project.folder).log.find_class(wood.name) is not None


def test_what_cannot_be_done_is_one_sentence_and_changes_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="no project"):
        make_backup(tmp_path / "b")
    labelled()
    with pytest.raises(InputError, match="another disk"):
        make_backup(home / "b")
    with pytest.raises(Cancelled):
        make_backup(tmp_path / "b", cancelled=lambda: True)
    made = make_backup(tmp_path / "b")
    monkeypatch.setattr(backup.shutil, "disk_usage", lambda place: SimpleNamespace(free=0))
    with pytest.raises(ExportError, match=r"0\.00 GB are free"):
        make_backup(tmp_path / "c")
    new = elsewhere(monkeypatch, tmp_path)
    with pytest.raises(ExportError, match="Free some space"):
        restore_backup(made.path)
    (tmp_path / "other.zip").write_bytes(b"no archive")
    with pytest.raises(InputError, match="damaged or no"):
        restore_backup(tmp_path / "other.zip")
    assert not new.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tesserabackup", "home", "other.zip"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_a_damaged_backup_puts_back_all_or_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(home))
    whole = tmp_path / "b.tesserabackup"
    if not whole.exists():
        labelled()
        make_backup(whole)
    content = bytearray(whole.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    spoilt = tmp_path / "spoilt"
    spoilt.write_bytes(content)
    new = elsewhere(monkeypatch, tmp_path)
    shutil.rmtree(new, ignore_errors=True)
    try:
        found = restore_backup(spoilt)
    except InputError:
        assert not list(new.rglob("*"))
    else:
        # Bytes that mean nothing (times, attributes) may differ.
        assert found.projects == 1
        assert [len(Project.open(path.parent).log.labels) for path in new.glob("projects/*/project.json")] == [3]


@pytest.mark.parametrize("name", ["../outside", "home/../../outside", "other/x", "/etc/x", "home"])
def test_a_made_up_archive_writes_nowhere_else(name: str, home: Path, tmp_path: Path) -> None:
    entry = {"bytes": 1, "sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}
    with zipfile.ZipFile(tmp_path / "x", "w") as archive:
        archive.writestr(name, "x")
        facts = {"format": backup.FORMAT, "created": 0, "files": {name: entry}}
        archive.writestr(backup.MANIFEST, json.dumps(facts))
    with pytest.raises(InputError):
        restore_backup(tmp_path / "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x"]


def test_the_command_line_says_what_was_kept(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled()
    assert main(["backup", str(tmp_path / "b"), "-q"]) == 0
    assert "Kept 1 project (" in capsys.readouterr().out
    # A second one never replaces the first by mistake.
    assert main(["backup", str(tmp_path / "b"), "-q"]) == 2
    elsewhere(monkeypatch, tmp_path)
    assert main(["backup", "--restore", str(tmp_path / "b.tesserabackup"), "-q", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["projects"], told["restored"], told["missing"]) == (1, True, [])
