"""What names a project in an address finds it again, and nothing else is found by anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tessera_core.errors import InputError, ProjectError
from tessera_core.hosting import server_secret
from tessera_core.project.home import folder_of, projects_home, remember
from tessera_core.project.links import link_of, linked_folder
from tessera_core.project.project import Project

_opened: list[str] | None = None


def _note(event: str, args: tuple[object, ...]) -> None:
    if _opened is not None and event in ("open", "os.listdir", "os.scandir"):
        _opened.append(str(args[0]))


sys.addaudithook(_note)


@pytest.fixture(params=["", "1"], ids=["own", "hosted"], autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TESSERA_HOSTED", request.param)
    return tmp_path / "home"


def _copies(count: int) -> list[Path]:
    first = Project.new("Demo region")
    text = (first.folder / "project.json").read_bytes()
    folders = [first.folder]
    for number in range(count):
        folders.append(projects_home() / f"Newer-{number}")
        folders[-1].mkdir()
        (folders[-1] / "project.json").write_bytes(text)
    return folders


def test_the_oldest_of_very_many_is_found_and_a_made_up_name_looks_at_nothing(tmp_path: Path) -> None:
    oldest, *others = _copies(1010)
    elsewhere = Project.create(tmp_path / "elsewhere", "Elsewhere")
    links = {folder: link_of(folder) for folder in (oldest, others[0], others[-1], elsewhere.folder)}
    assert {linked_folder(link) for link in links.values()} == set(links)
    assert folder_of(links[oldest]) == oldest
    global _opened
    for bogus in ("~" + "0" * 32, "~nonsense", "no such project"):
        assert linked_folder(bogus) is None
        _opened = []
        try:
            assert linked_folder(bogus) is None
            assert len(_opened) <= 2, _opened
        finally:
            _opened = None


def test_links_of_versions_that_noted_none_still_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folders = _copies(3)
    elsewhere = Project.create(tmp_path / "elsewhere", "Elsewhere")
    remember(elsewhere)
    links = [link_of(folder) for folder in (*folders, elsewhere.folder)]
    for notes in projects_home().glob(".links*"):
        for note in notes.iterdir():
            note.unlink()
    assert [folder_of(link) for link in links] == [*folders, elsewhere.folder]


def test_a_deleted_project_is_not_found_and_a_planted_note_leads_nowhere(tmp_path: Path) -> None:
    first, second = Project.new("Fen"), Project.new("Fen")
    link = link_of(first.folder)
    (first.folder / "project.json").unlink()
    with pytest.raises(ProjectError, match="not on this computer"):
        folder_of(link)
    if link.startswith("~"):
        (projects_home() / ".links-hosted" / link[1:]).write_text(str(second.folder))
        assert linked_folder(link) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(
    st.text(max_size=40)
    | st.sampled_from(
        ["../private", "..", ".", "", "~../x", "/", "\\", "a/b", "C:", "private\0", ".links", "~" + "a" * 32]
    )
)
def test_no_name_leads_out_of_the_projects_home(tmp_path: Path, link: str) -> None:
    if not Project.is_project(tmp_path / "home" / "private"):
        Project.create(tmp_path / "home" / "private", "Private")
    found = linked_folder(link)
    assert found is None or found.parent == projects_home()


def test_servers_that_start_at_once_keep_one_secret(tmp_path: Path) -> None:
    script = (
        "import sys, time, pathlib\nfrom tessera_core.hosting import server_secret\n"
        "go = pathlib.Path(sys.argv[1])\nprint('ready', flush=True)\n"
        "while not go.exists():\n    time.sleep(0.001)\n"
        "print(server_secret().hex())\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "go")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.stdout.readline() for process in running if process.stdout] == ["ready\n"] * 4
    (tmp_path / "go").touch()
    said = {process.communicate()[0].strip() for process in running}
    assert said == {(tmp_path / "home" / "secret").read_bytes().hex()}
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["secret"]


def test_a_damaged_secret_is_told_and_never_used(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "secret").write_bytes(b"")
    with pytest.raises(InputError, match="damaged"):
        server_secret()
