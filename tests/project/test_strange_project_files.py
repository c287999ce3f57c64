"""Project files and packs that are damaged, or made to burst: one sentence, nothing left behind, no memory filled."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tessera_core.errors import LabelError, ProjectError, TesseraError
from tessera_core.project import library, pack
from tessera_core.project.home import projects_home
from tessera_core.project.project import Project
from tests.factories import landscape

HEADER = b'{"format": "tessera-labels/1"}\n'


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TESSERA_HOSTED", raising=False)
    return tmp_path / "home"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A project file and a pack of a small project, as bytes."""
    place = tmp_path_factory.mktemp("good")
    before = os.environ.get("TESSERA_HOME")
    os.environ["TESSERA_HOME"] = str(place / "home")
    try:
        raster = landscape(16)
        project = Project.new("Fen")
        raster.save(project.folder / "data" / "2023")
        project.attach_embeddings(2023, project.folder / "data" / "2023", raster.provenance, raster.grid)
        wood = project.log.add_class("Wood")
        for number in range(20):
            project.log.add("point", wood.id, [(600_000.0 + number, 5_799_900.0)])
        return {
            "tessera": project.export_file(place / "fen").read_bytes(),
            "tesserapack": pack.make_pack([project], place / "fen").read_bytes(),
        }
    finally:
        os.environ.pop("TESSERA_HOME") if before is None else os.environ.update(TESSERA_HOME=before)


def _open(kind: str, data: bytes, folder: Path) -> list[Project]:
    path = folder / f"x.{kind}"
    path.write_bytes(data)
    return pack.open_pack(path) if kind == "tesserapack" else [library.adopt(path)]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["tessera", "tesserapack"]), st.data())
def test_whatever_happens_to_the_bytes_it_opens_or_says_so(
    good: dict[str, bytes], tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    content = bytearray(good[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "zero", "insert", "end", "swap"])):
            case "flip":
                content[at] ^= data.draw(st.integers(1, 255))
            case "cut":
                del content[at : at + data.draw(st.integers(1, 400))]
            case "zero":
                content[at : at + 16] = b"\0" * len(content[at : at + 16])
            case "insert":
                content[at:at] = data.draw(st.binary(min_size=1, max_size=40))
            case "end":
                # Tables of a zip lie at its end; most of the nonsense is to be had there.
                place = max(0, len(content) - data.draw(st.integers(1, 600)))
                content[place : place + 4] = struct.pack("<I", data.draw(st.sampled_from([0, 1, 2**31, 2**32 - 1])))
            case "swap":
                content[at : at + 8] = bytes(reversed(content[at : at + 8]))
        if not content:
            content = bytearray(b"x")
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        before = set(projects_home().glob("*"))
        try:
            made = _open(kind, bytes(content), Path(folder))
        except TesseraError:
            assert {path for path in projects_home().glob("*") if not path.name.startswith(".")} <= before
        else:
            assert all(Project.open(project.folder).name for project in made)


def _locked(name: str, data: bytes) -> bytes:
    """A zip whose member says that it is encrypted."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, data)
    content = bytearray(file.getvalue())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + at] |= 1
    return bytes(content)


@pytest.mark.parametrize("kind", ["tessera", "tesserapack"])
@pytest.mark.parametrize("damage", ["deflate", "garbage", "cut", "empty", "locked", "lzma", "zip64", "folder", "pipe"])
def test_each_kind_of_damage_is_one_sentence(good: dict[str, bytes], tmp_path: Path, kind: str, damage: str) -> None:
    member = "project.json" if kind == "tessera" else "pack.json"
    data = good[kind]
    if damage == "deflate":
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(member, os.urandom(500).hex())
        content = bytearray(file.getvalue())
        content[60:160] = b"\xff" * 100
        data = bytes(content)
    elif damage == "garbage":
        data = os.urandom(5000)
    elif damage == "cut":
        data = data[: len(data) // 3]
    elif damage == "empty":
        data = b""
    elif damage == "locked":
        data = _locked(member, b"{}")
    elif damage == "lzma":
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as archive:
            archive.writestr(member, b"{}" * 1000)
        data = file.getvalue()
    elif damage == "zip64":
        at = data.rindex(b"PK\x05\x06")
        data = data[: at + 8] + b"\xff" * 12 + data[at + 20 :]
    path = tmp_path / f"x.{kind}"
    if damage == "folder":
        path.mkdir()
    elif damage == "pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("needs named pipes")
        os.mkfifo(path)
    else:
        path.write_bytes(data)
    with pytest.raises(ProjectError) as caught:
        pack.open_pack(path) if kind == "tesserapack" else Project.import_file(path)
    assert "x.tessera" in str(caught.value)
    assert not [each for each in projects_home().glob("*") if not each.name.startswith(".")]


def _project_file(path: Path, log: bytes, times: int = 1, name: str = "labels.jsonl") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("project.json", json.dumps({"format": "tessera-project/1", "name": "Bomb"}))
        with archive.open(name, "w", force_zip64=True) as member:
            member.write(HEADER)
            for _ in range(times):
                member.write(log)
    return path


@pytest.fixture(scope="module")
def bomb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 MB of empty lines in 600 kB."""
    return _project_file(tmp_path_factory.mktemp("bomb") / "bomb.tessera", b"\n" * (4 << 20), 150)


@pytest.mark.parametrize("hosted", ["", "1"], ids=["own", "hosted"])
def test_a_log_of_600_mb_of_empty_lines_takes_no_memory(
    bomb: Path, monkeypatch: pytest.MonkeyPatch, hosted: str
) -> None:
    """In a process of its own, whose memory can be told from that of the tests."""
    pytest.importorskip("resource")
    assert bomb.stat().st_size < 2 << 20
    script = (
        "import resource, sys\nfrom tessera_core.project.project import Project\nfrom tessera_core.errors import ProjectError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    Project.import_file(sys.argv[1])\nexcept ProjectError as error:\n    print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    monkeypatch.setenv("TESSERA_HOSTED", hosted)
    done = subprocess.run([sys.executable, "-c", script, str(bomb)], capture_output=True, text=True, check=True)
    sentence, grown = done.stdout.strip().splitlines()
    assert "bomb.tessera" in sentence
    # Kilobytes, on macOS bytes.
    assert int(grown) < 100_000 * (1024 if sys.platform == "darwin" else 1)
    assert not list(projects_home().glob("[!.]*"))


@pytest.mark.parametrize(
    ("line", "times", "hosted", "words"),
    [
        (b"\n", 2_000_000, "", "lines"),
        (b"{}\n", 300_000, "1", "lines"),
        (b"x" * (1 << 20), 70, "1", "MB"),
        (b" \n", 20_000, "", "empty lines"),
    ],
)
@pytest.mark.parametrize("name", ["labels.jsonl", "plots.jsonl"])
def test_smaller_bombs_are_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: bytes, times: int, hosted: str, words: str, name: str
) -> None:
    monkeypatch.setenv("TESSERA_HOSTED", hosted)
    file = _project_file(tmp_path / "bomb.tessera", line * times, name=name)
    with pytest.raises((ProjectError, LabelError), match=words):
        Project.import_file(file)
    assert not list(projects_home().glob("[!.]*"))


def test_undo_and_redo_of_a_great_deletion_are_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tessera_core.labels.log.MAX_CHANGES", 100_000)
    labels = [{"id": f"l{n}", "class_id": 1, "kind": "point", "xy": [[n, n]]} for n in range(2000)]
    event = {"do": "import", "classes": [{"id": 1, "name": "Wood", "color": "#00ff00"}], "labels": labels}
    log = json.dumps(event).encode() + b'\n{"do":"clear"}\n' + b'{"do":"undo"}\n{"do":"redo"}\n' * 5000
    with pytest.raises(LabelError, match="no hand did that"):
        Project.import_file(_project_file(tmp_path / "bomb.tessera", log))
    assert not list(projects_home().glob("[!.]*"))


def test_a_pack_may_list_a_project_only_once(good: dict[str, bytes], tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(good["tesserapack"])) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    facts = json.loads(members["pack.json"])
    for more in ([facts["projects"][0]] * 500, [facts["projects"][0] | {"folder": "projects"}]):
        members["pack.json"] = json.dumps(facts | {"projects": facts["projects"] + more}).encode()
        with zipfile.ZipFile(tmp_path / "x.tesserapack", "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        with pytest.raises(ProjectError, match="list of projects"):
            pack.open_pack(tmp_path / "x.tesserapack")
    assert not list(projects_home().glob("[!.]*"))


def test_a_pack_of_zeros_is_no_way_to_fill_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size, digest = 100 << 20, hashlib.sha256()
    with zipfile.ZipFile(tmp_path / "x.tesserapack", "w", zipfile.ZIP_DEFLATED) as archive:
        text = json.dumps({"format": "tessera-project/1"}).encode()
        archive.writestr("projects/0/project.json", text)
        with archive.open("projects/0/data", "w") as member:
            for _ in range(size >> 20):
                member.write(b"\0" * (1 << 20))
                digest.update(b"\0" * (1 << 20))
        files = {
            "projects/0/project.json": {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()},
            "projects/0/data": {"bytes": size, "sha256": digest.hexdigest()},
        }
        entry = {"folder": "projects/0", "name": "x", "dataset": None, "years": [], "labels": 0, "bytes": size}
        archive.writestr("pack.json", json.dumps({"format": "tessera-pack/1", "projects": [entry], "files": files}))
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    with pytest.raises(ProjectError, match="no real data"):
        pack.open_pack(tmp_path / "x.tesserapack")
    assert not list(projects_home().glob("[!.]*"))


def test_a_full_disk_while_opening_leaves_nothing_and_says_so(good: dict[str, bytes], tmp_path: Path) -> None:
    """The system refuses to let any file grow beyond 1.5 kB, as a full disk would."""
    pytest.importorskip("resource")
    script = (
        "import resource, signal, sys\nfrom tessera_core.project import pack\nfrom tessera_core.project.project import Project\n"
        "from tessera_core.errors import TesseraError\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))\n"
        "for path, opening in ((sys.argv[1], Project.import_file), (sys.argv[2], pack.open_pack)):\n"
        "    try:\n        opening(path)\n    except TesseraError as error:\n        print(error)\n"
    )
    files = []
    for kind, data in good.items():
        files.append(tmp_path / f"x.{kind}")
        files[-1].write_bytes(data)
    done = subprocess.run([sys.executable, "-c", script, *map(str, files)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip().splitlines()) == 2, done.stdout
    assert not list(projects_home().glob("[!.]*"))
