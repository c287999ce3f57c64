"""A project's file may come from anybody: it never chooses what is opened."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tessera_core._utils.paths import cache_home
from tessera_core.errors import InputError, MixedDatasetsError, ProjectError
from tessera_core.project import library, pack, tile_repair
from tessera_core.project.project import Project
from tessera_core.provenance import Provenance
from tests.factories import landscape, make_grid

GRID = make_grid((40, 50))
V2 = Provenance("tessera", "2.0", "2B-L", year=2023)
HOSTED = pytest.mark.parametrize("hosted", ["", "1"], ids=["own", "hosted"])
_touched: list[str] | None = None


def _audit(event: str, args: tuple[object, ...]) -> None:
    if _touched is not None and event in ("open", "os.listdir", "os.scandir", "os.rename", "os.remove", "os.mkdir"):
        _touched.append(str(args[0]))


sys.addaudithook(_audit)


@contextmanager
def _untouched(place: Path) -> Iterator[None]:
    global _touched
    _touched = []
    try:
        yield
        assert [path for path in _touched if path.startswith(str(place))] == []
    finally:
        _touched = None


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TESSERA_HOSTED", raising=False)
    return tmp_path / "home"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """Embeddings of somebody else, as a layout that would open."""
    landscape(16).save(tmp_path / "victim" / "2023")
    return tmp_path / "victim" / "2023"


def _data(**value: Any) -> dict[str, Any]:
    entry = {"year": 2023, "provenance": V2.to_json(), "grid": GRID.to_json()} | value
    return {"format": "tessera-project/1", "id": "0" * 32, "name": "Gift", "embeddings": {"2023": entry}}


def _file(tmp_path: Path, data: dict[str, Any]) -> Path:
    path = tmp_path / "gift.tessera"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("project.json", json.dumps(data))
    return path


def _hostile(victim: Path, base: Path) -> list[dict[str, str]]:
    beside = os.path.relpath(victim, base)
    return [
        {"path": str(victim)},
        {"path": str(victim.parent / "nothing here")},
        {"path": beside, "path_relative": beside},
        {"path": "x", "path_relative": str(victim)},
        {"path": "x", "path_relative": beside.replace("/", "\\")},
        {"path": f"data/../{beside}", "path_relative": f"data/../{beside}"},
        {"path": f"file://{victim}"},
        {"path": f"/vsizip/{victim}", "dpixels": str(victim)},
        {"path": r"\\evil.example\share\x", "path_relative": r"\\evil.example\share\x"},
        {"path": r"C:\Users\me\x.tif", "dpixels": str(victim), "dpixels_relative": beside},
    ]


@HOSTED
@pytest.mark.parametrize("number", range(10))
def test_a_file_from_anybody_opens_nothing_outside_its_project(
    tmp_path: Path, victim: Path, home: Path, monkeypatch: pytest.MonkeyPatch, hosted: str, number: int
) -> None:
    monkeypatch.setenv("TESSERA_HOSTED", hosted)
    value = _hostile(victim, home / "projects" / "Gift-aaaaaaaa")[number]
    file = _file(tmp_path, _data(**value))
    with _untouched(victim):
        made = [Project.import_file(file), library.start_upload([("gift.tessera", io.BytesIO(file.read_bytes()))])]
        made.append(Project.open(made[0].folder))
        for project in made:
            assert project.embeddings == {}
            (want,) = project.wanted.values()
            assert (want.year, want.provenance, want.grid, want.suggestion) == (2023, V2, GRID, "")
            with pytest.raises(ProjectError, match=r"made on the embeddings.*labels are safe") as caught:
                project.embeddings_path(2023)
            assert str(victim) not in str(caught.value)
            text = (project.folder / "project.json").read_text()
            assert str(victim) not in text
            assert "evil.example" not in text


@HOSTED
def test_what_is_there_and_what_is_not_read_the_same(
    tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch, hosted: str
) -> None:
    monkeypatch.setenv("TESSERA_HOSTED", hosted)
    said = set()
    for name in (victim.name, "gone"):
        project = Project.import_file(_file(tmp_path, _data(path=str(victim.parent / name))))
        with pytest.raises(ProjectError) as caught:
            project.embeddings_path(2023)
        said.add(str(caught.value).replace(f"/{name}'", "/NAME'"))
    assert len(said) == 1


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_a_file_says_its_project_stays_in_its_folder(tmp_path: Path, data: st.DataObject) -> None:
    """Any JSON in the fields that name files: refused in one sentence, or a project that refers to wishes and its own log."""
    piece = st.sampled_from(
        ["..", ".", "", "/", "\\", "~", "data", "project.json", "labels.jsonl", "C:", "\0", "%2e", "é"]
    )
    text = st.text(max_size=12) | st.lists(piece, max_size=6).map("/".join)
    anything = text | st.none() | st.integers() | st.lists(text, max_size=2) | st.just("/etc") | st.just(str(tmp_path))
    names = ("path", "path_relative", "dpixels", "dpixels_relative", "wanted", "year")
    value = {name: data.draw(anything) for name in data.draw(st.sets(st.sampled_from(names)))}
    region = data.draw(st.dictionaries(st.sampled_from(["request", "name"]), anything | st.dictionaries(text, text)))
    content = _data(**value) | {"region": region}
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        try:
            project = Project.import_file(_file(Path(folder), content))
            found = project.embeddings
            wanted = project.wanted
        except ProjectError:
            return
        # Its own log of labels is there, and is no embeddings; what lies in its folder may be named.
        assert {ref.path for ref in found.values()} <= {project.folder.resolve() / "labels.jsonl"}
        assert len(wanted) + len(found) == 1


@HOSTED
def test_a_folder_from_anybody_opens_nothing_outside_itself(
    tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch, hosted: str
) -> None:
    monkeypatch.setenv("TESSERA_HOSTED", hosted)
    folder = tmp_path / "unpacked"
    for value in _hostile(victim, folder):
        folder.mkdir(exist_ok=True)
        (folder / "project.json").write_text(json.dumps(_data(**value) | {"linked_here": {value["path"]: "0" * 32}}))
        with _untouched(victim):
            # Opening it, and having it in the list, makes it no more trusted.
            for project in (Project.open(folder), library.adopt(folder), Project.open(folder)):
                for ref in project.embeddings.values():
                    assert ref.path.is_relative_to(folder)
                    assert ref.dpixels is None
                for want in project.wanted.values():
                    assert want.suggestion == ("" if hosted else value["path"])
                with pytest.raises(ProjectError, match="labels are safe"):
                    project.embeddings_path(2023)


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="needs symbolic links")
@HOSTED
def test_a_link_in_the_folder_leads_nowhere(
    tmp_path: Path, victim: Path, home: Path, monkeypatch: pytest.MonkeyPatch, hosted: str
) -> None:
    monkeypatch.setenv("TESSERA_HOSTED", hosted)
    for folder in (tmp_path / "unpacked", *([home / "projects" / "Fen-aaaaaaaa"] if hosted else [])):
        folder.mkdir(parents=True)
        (folder / "data").symlink_to(victim)
        (folder / "project.json").write_text(json.dumps(_data(path="data", path_relative="data")))
        assert Project.open(folder).embeddings == {}


def test_what_the_owner_linked_goes_on_working(tmp_path: Path, victim: Path) -> None:
    raster = landscape(16)
    project = Project.create(tmp_path / "mine", "Mine")
    project.attach_embeddings(2023, victim, raster.provenance, raster.grid)
    script = "import sys\nfrom tessera_core.project.project import Project\nprint(Project.open(sys.argv[1]).embeddings_path(2023))"
    done = subprocess.run(
        [sys.executable, "-c", script, str(project.folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(victim)


def test_a_seal_is_good_for_its_path_and_its_project_alone(
    tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tessera_core.project.references._linked", set())
    raster = landscape(16)
    project = Project.create(tmp_path / "mine", "Mine")
    project.attach_embeddings(2023, victim, raster.provenance, raster.grid)
    monkeypatch.setattr("tessera_core.project.references._linked", set())
    assert Project.open(project.folder).embeddings_path(2023) == victim
    file = project.folder / "project.json"
    good = file.read_text()
    for bad in (good.replace("victim", "vyctim"), good.replace(project.id, "f" * 32)):
        file.write_text(bad)
        assert Project.open(project.folder).embeddings == {}
    file.write_text(good)
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    assert Project.open(project.folder).embeddings == {}


def test_a_server_for_strangers_links_nothing_but_its_own(
    tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raster = landscape(16)
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    project = Project.new("Fen")
    with pytest.raises(ProjectError, match="opens no files"):
        project.attach_embeddings(2023, victim, raster.provenance, raster.grid)
    for place in (project.folder / "data", cache_home() / "demo" / "x"):
        raster.save(place)
        project.attach_embeddings(2023, place, raster.provenance, raster.grid)
        assert Project.open(project.folder).embeddings_path(2023) == place
    with pytest.raises(ProjectError, match="opens no files"):
        library.relink(Project.import_file(_file(tmp_path, _data(path="x"))), 2023, str(victim))


def test_the_very_same_embeddings_are_linked_again_on_this_computer_and_never_for_strangers(
    tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raster = landscape(16)
    project = Project.create(tmp_path / "mine", "Mine")
    project.attach_embeddings(2023, victim, raster.provenance, raster.grid)
    file = project.export_file(tmp_path / "mine.tessera")
    assert library.adopt(file).embeddings_path(2023) == victim
    another = _file(tmp_path, _data(path=str(victim)) | {"dataset": raster.provenance.dataset})
    assert library.adopt(another).embeddings == {}
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    assert library.adopt(file).embeddings == {}


def test_the_owner_says_where_the_embeddings_lie(tmp_path: Path, victim: Path) -> None:
    raster = landscape(16)
    value = {"provenance": raster.provenance.to_json(), "grid": raster.grid.to_json(), "path": "elsewhere/2023"}
    project = Project.import_file(_file(tmp_path, _data(**value)))
    with pytest.raises(InputError, match="nothing at"):
        library.relink(project, 2023, str(tmp_path / "nothing"))
    landscape(17).save(tmp_path / "larger")
    with pytest.raises(ProjectError, match="another grid"):
        library.relink(project, 2023, str(tmp_path / "larger"))
    landscape(16, dim=64).save(tmp_path / "short")
    with pytest.raises(MixedDatasetsError):
        library.relink(project, 2023, str(tmp_path / "short"))
    with pytest.raises(ProjectError, match="wants no embeddings of 1999"):
        library.relink(project, 1999, str(victim))
    assert library.relink(project, 2023, str(victim.parent)) == ""
    assert Project.open(project.folder).embeddings_path(2023) == victim
    assert project.wanted == {}


@HOSTED
def test_tiles_as_they_were_before_mending_are_not_read_from_a_strangers_path(
    tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch, hosted: str
) -> None:
    monkeypatch.setenv("TESSERA_HOSTED", hosted)
    for original in (str(victim), "../../victim/2023", "data/../../../victim/2023"):
        noted = {"mended": {"2023": {"masked": ["a"], "original": original}}}
        project = Project.import_file(_file(tmp_path, _data(path="x") | {"settings": noted}))
        folder = tmp_path / "folder" / "p"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "project.json").write_text(json.dumps(_data(path="x") | {"settings": noted}))
        for each in (project, Project.open(folder)):
            with _untouched(victim), pytest.raises(ProjectError, match="not on this computer"):
                tile_repair.restore(each, 2023)


def test_a_request_to_a_store_of_the_strangers_choice_is_forgotten(tmp_path: Path) -> None:
    region = {"name": "Fen", "request": {"place": "1,2,3,4", "years": "2023", "store": "http://127.0.0.1:1/x.zarr"}}
    project = Project.import_file(_file(tmp_path, _data(path="x") | {"region": region}))
    assert project.region == {"name": "Fen"}


@HOSTED
def test_a_pack_refers_to_nothing_outside_itself(
    tmp_path: Path, victim: Path, home: Path, monkeypatch: pytest.MonkeyPatch, hosted: str
) -> None:
    raster = landscape(16)
    project = Project.new("Stand")
    raster.save(project.folder / "data" / "2023")
    project.attach_embeddings(2023, project.folder / "data" / "2023", raster.provenance, raster.grid)
    made = pack.make_pack([project], tmp_path / "stand")
    monkeypatch.setenv("TESSERA_HOSTED", hosted)
    (good,) = pack.open_pack(made)
    assert good.embeddings_path(2023) == (good.folder / "data" / "2023").resolve()
    for value in _hostile(victim, home / "projects" / "Stand-aaaaaaaa"):
        with _untouched(victim):
            (bad,) = pack.open_pack(_with_reference(made, tmp_path / "bad.tesserapack", value))
            assert bad.embeddings == {}
            assert len(bad.wanted) == 1


def _with_reference(made: Path, out: Path, value: dict[str, str]) -> Path:
    """The pack with other references in its project, and checksums that fit: anybody can make one."""
    import hashlib

    with zipfile.ZipFile(made) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    data = json.loads(members["projects/0/project.json"])
    entry = data["embeddings"]["2023"]
    data["embeddings"]["2023"] = {key: entry[key] for key in ("year", "provenance", "grid")} | value
    members["projects/0/project.json"] = text = json.dumps(data).encode()
    manifest = json.loads(members["pack.json"])
    manifest["files"]["projects/0/project.json"] = {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    members["pack.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out


def test_what_is_saved_as_a_file_names_no_folder_of_this_computer(tmp_path: Path, victim: Path) -> None:
    raster = landscape(16)
    project = Project.create(tmp_path / "mine", "Mine")
    project.attach_embeddings(2023, victim, raster.provenance, raster.grid, dpixels=victim)
    project.update(mended={"2023": {"masked": ["a"], "original": str(victim)}})
    with zipfile.ZipFile(project.export_file(tmp_path / "mine")) as archive:
        text = archive.read("project.json").decode()
    assert str(tmp_path) not in text
    assert "linked_here" not in text


def test_what_may_be_opened_is_judged_anew_when_something_changes(
    tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raster = landscape(16)
    project = Project.create(tmp_path / "mine", "Mine")
    project.attach_embeddings(2023, victim, raster.provenance, raster.grid)
    assert project.embeddings_path(2023) == project.embeddings_path(2023) == victim
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    assert project.embeddings == {}
    monkeypatch.delenv("TESSERA_HOSTED")
    other = Project.open(project.folder)
    raster.save(tmp_path / "another")
    other.attach_embeddings(2023, tmp_path / "another", raster.provenance, raster.grid)
    assert project.refresh()
    assert project.embeddings_path(2023) == tmp_path / "another"
    (tmp_path / "another").rename(tmp_path / "moved")
    with pytest.raises(ProjectError, match="no longer at"):
        project.embeddings_path(2023)
    library.relink(project, 2023, str(tmp_path / "moved"))
    assert project.embeddings_path(2023) == tmp_path / "moved"


@pytest.mark.skipif(os.name == "nt", reason="needs symbolic links and pipes")
@pytest.mark.parametrize("name", ["project.json", "labels.jsonl", "plots.jsonl", ".lock"])
@pytest.mark.parametrize("kind", ["link", "link to nothing", "pipe", "folder"])
def test_files_of_a_folder_that_lead_elsewhere_are_neither_read_nor_written(
    tmp_path: Path, name: str, kind: str
) -> None:
    project = Project.create(tmp_path / "sent", "Sent")
    project.log.add_class("Wood")
    precious = tmp_path / "precious.txt"
    precious.write_text(json.dumps(_data(path="x")) + "\nhalf a line")
    before = precious.read_bytes()
    file = project.folder / name
    file.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        file.symlink_to(precious if kind == "link" else tmp_path / "new")
    with pytest.raises(ProjectError, match="no plain file"):
        library.adopt(project.folder)
    assert precious.read_bytes() == before
    assert not (tmp_path / "new").exists()
