import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile

import pytest

from tessera_core.errors import LabelError, MixedDatasetsError, ProjectError
from tessera_core.grid import Grid
from tessera_core.project.folders import safe_name
from tessera_core.project.home import projects_home, recent_projects, remember
from tessera_core.project.project import Project
from tessera_core.provenance import Provenance
from tests.factories import make_grid

GRID = make_grid((40, 50))
V2 = Provenance("tessera", "2.0", "2B-L", year=2023)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def project(tmp_path):
    return Project.create(tmp_path / "p", "My fen")


def test_a_project_is_found_again_as_it_was(project, tmp_path):
    project.update(opacity=0.5, head="ridge", region={"kind": "demo"})
    project.attach_embeddings(2023, tmp_path / "e", V2, GRID)
    wood = project.log.add_class("Wood")
    project.log.add("point", wood.id, [(500_005, 5_599_995)])
    again = Project.open(project.folder)
    assert (again.id, again.name, again.region) == (project.id, "My fen", {"kind": "demo"})
    assert again.settings.to_json() == {"opacity": 0.5, "head": "ridge"}
    assert again.log.labels == project.log.labels
    assert again.embeddings[2023].provenance == V2
    assert (again.years, again.grid, again.dataset) == ([2023], GRID, "tessera 2.0/2B-L (128-d)")
    assert again.saved_at == pytest.approx(project.saved_at, abs=1e-3)
    project.update(opacity=None)
    assert "opacity" not in Project.open(project.folder).settings.extra


def test_everything_is_there_after_a_kill(tmp_path):
    script = (
        "import os, sys, signal\nfrom tessera_core.project.project import Project\n"
        "p = Project.create(sys.argv[1], 'x')\np.update(step=1)\np.log.add_class('Wood')\n"
        "p.log.add('point', 1, [(1, 2)])\np.update(step=2)\n"
        "os.kill(os.getpid(), getattr(signal, 'SIGKILL', signal.SIGTERM))\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path / "k")], check=False).returncode != 0
    project = Project.open(tmp_path / "k")
    assert project.settings.to_json() == {"step": 2}
    assert len(project.log.labels) == 1


def test_two_tabs_merge_their_settings(project):
    other = Project.open(project.folder)
    project.update(a=1)
    other.update(b=2)
    assert project.refresh()
    assert project.settings.to_json() == other.settings.to_json() == {"a": 1, "b": 2}
    assert not project.refresh()
    other.log.add_class("Wood")
    assert project.refresh()
    assert [c.name for c in project.log.classes] == ["Wood"]


def test_many_threads_lose_no_setting(project):
    def change(n):
        tab = Project.open(project.folder)
        for step in range(5):
            tab.update(**{f"k{n}_{step}": step})

    threads = [threading.Thread(target=change, args=(n,)) for n in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(Project.open(project.folder).settings.to_json()) == 20


def test_two_datasets_are_refused(project, tmp_path):
    project.attach_embeddings(2023, tmp_path, V2, GRID)
    with pytest.raises(MixedDatasetsError, match=r"tessera 2\.0/2B-L.*tessera 1\.1/mpc.*My fen"):
        project.attach_embeddings(2024, tmp_path, Provenance("tessera", "1.1", "mpc"), GRID)
    project.attach_embeddings(2023, tmp_path, Provenance("tessera", "1.1", "mpc"), GRID)
    assert project.dataset == "tessera 1.1/mpc (128-d)"
    project.detach_embeddings(2023)
    assert project.dataset is None


def test_labels_keep_their_grid(project, tmp_path):
    project.attach_embeddings(2023, tmp_path, V2, GRID)
    project.log.add_class("Wood")
    project.log.add("point", 1, [(1, 2)])
    project.detach_embeddings(2023)
    other = Grid("EPSG:32630", GRID.transform, GRID.shape)
    with pytest.raises(ProjectError, match="project of its own"):
        project.attach_embeddings(2023, tmp_path, V2, other)
    wider = Grid(GRID.crs, GRID.transform, (80, 80))
    project.attach_embeddings(None, tmp_path, V2, wider)
    assert list(project.embeddings) == [None]


def test_local_grids_must_have_one_shape(project, tmp_path):
    project.attach_embeddings(2023, tmp_path, V2, Grid.local((5, 5)))
    with pytest.raises(ProjectError, match="5 x 6"):
        project.attach_embeddings(2024, tmp_path, V2, Grid.local((5, 6)))


def test_missing_embeddings_are_named_and_labels_safe(project, tmp_path):
    project.attach_embeddings(2023, tmp_path / "gone", V2, GRID)
    with pytest.raises(ProjectError, match=r"no longer at .*gone.*labels are safe"):
        project.embeddings_path(2023)
    with pytest.raises(ProjectError, match="its years are: 2023"):
        project.embeddings_path(2020)


def test_a_moved_folder_finds_the_embeddings_beside_it(tmp_path):
    (tmp_path / "a" / "data").mkdir(parents=True)
    project = Project.create(tmp_path / "a" / "p")
    project.attach_embeddings(2023, tmp_path / "a" / "data", V2, GRID, dpixels=tmp_path / "a" / "data")
    (tmp_path / "a").rename(tmp_path / "b")
    moved = Project.open(tmp_path / "b" / "p")
    assert moved.embeddings_path(2023) == tmp_path / "b" / "data"
    assert moved.embeddings[2023].dpixels == tmp_path / "b" / "data"


def test_one_file_holds_the_project(project, tmp_path):
    (tmp_path / "e").mkdir()
    project.update(a=1)
    project.attach_embeddings(2023, tmp_path / "e", V2, GRID)
    project.log.add_class("Wood")
    project.log.add("point", 1, [(1, 2)])
    project.log.undo()
    path = project.export_file(tmp_path / "out" / "fen")
    assert path.name == "fen.tessera"
    again = Project.import_file(path)
    assert again.folder.parent == projects_home()
    assert (again.origin, again.settings.to_json(), again.log.can_redo) == (project.id, {"a": 1}, True)
    assert len({again.id, again.key, project.id, project.key}) == 4
    assert again.embeddings == {}
    assert (again.wanted[2023].name, again.wanted[2023].provenance, again.wanted[2023].grid) == (
        f"{tmp_path.name}/e",
        V2,
        GRID,
    )
    assert str(tmp_path) not in zipfile.ZipFile(path).read("project.json").decode()
    second = Project.import_file(path)
    assert second.folder != again.folder
    with pytest.raises(ProjectError, match="not empty"):
        Project.import_file(path, second.folder)


def test_opening_something_else_says_so(project, tmp_path):
    bad = tmp_path / "bad.tessera"
    bad.write_text("hello")
    with pytest.raises(ProjectError, match="not a readable project file"):
        Project.import_file(bad)
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("../evil.txt", "x")
    with pytest.raises(ProjectError, match="not a readable project file"):
        Project.import_file(bad)
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("project.json", json.dumps({"format": "tessera-project/1", "embeddings": [1]}))
    with pytest.raises(ProjectError, match="wrong type"):
        Project.import_file(bad)
    assert not list(projects_home().glob("*"))
    with pytest.raises(ProjectError, match="no project"):
        Project.open(tmp_path / "nowhere")
    with pytest.raises(ProjectError, match="holds a project already"):
        Project.create(project.folder)
    (project.folder / "project.json").write_text('{"format": "tessera-project/7"}')
    with pytest.raises(ProjectError, match="newer version"):
        Project.open(project.folder)
    (project.folder / "project.json").write_text("{")
    with pytest.raises(ProjectError, match="damaged"):
        Project.open(project.folder)


def test_a_setting_that_is_no_json_changes_nothing(project):
    before = (project.folder / "project.json").read_bytes()
    for value in (object(), float("nan")):
        with pytest.raises(ProjectError, match="cannot be saved"):
            project.update(bad=value)
    assert (project.folder / "project.json").read_bytes() == before
    assert project.settings.to_json() == {}


@pytest.mark.skipif(
    os.name == "nt" or (hasattr(os, "geteuid") and os.geteuid() == 0), reason="needs enforced permissions"
)
def test_a_read_only_folder_gives_one_sentence(project):
    project.folder.chmod(0o500)
    try:
        with pytest.raises(ProjectError):
            project.update(a=1)
        with pytest.raises(LabelError):
            project.log.add_class("Wood")
    finally:
        project.folder.chmod(0o700)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Fen", "Fen"),
        ("../../etc/passwd", "etc passwd"),
        ("a\x00b\nc", "a b c"),
        ("CON", "CON project"),
        ("com1.txt", "com1.txt project"),
        ("  . ", "project"),
        ("x" * 300, "x" * 60),
        ("Müller & Söhne 森", "Müller & Söhne 森"),
    ],
)
def test_names_become_safe_file_names(name, expected):
    assert safe_name(name) == expected


def test_recent_projects_are_listed_last_changed_first(tmp_path):
    first, second = Project.new("Fen"), Project.new("fen")
    assert [folder.name[:4] for folder in (first.folder, second.folder)] == ["Fen-", "fen-"]
    elsewhere = Project.create(tmp_path / "else", "Else")
    remember(elsewhere)
    first.update(a=1)
    (projects_home() / "broken").mkdir()
    (projects_home() / "broken" / "project.json").write_text("{")
    assert [item.name for item in recent_projects()] == ["Fen", "Else", "fen"]


def test_a_copy_of_a_copy_knows_where_it_came_from_and_shares_no_key(project, tmp_path):
    file = project.export_file(tmp_path / "fen")
    first, second = Project.import_file(file), Project.import_file(file)
    third = Project.import_file(first.export_file(tmp_path / "again"))
    shutil.copytree(first.folder, tmp_path / "copied by hand")
    fourth = Project.open(tmp_path / "copied by hand")
    everyone = (project, first, second, third, fourth)
    assert {each.origin for each in everyone} == {project.id}
    assert len({each.key for each in everyone}) == 5
    assert len({each.id for each in everyone[:4]}) == 4
    assert Project.open(first.folder).key == first.key


def test_another_project_in_the_same_folder_has_another_key(project):
    before = project.key
    shutil.rmtree(project.folder)
    assert Project.create(project.folder, "Another").key != before


def test_thirty_at_once_get_thirty_projects(home):
    start, made = threading.Barrier(30), []

    def one():
        start.wait()
        made.append(Project.new("Demo region").folder)

    threads = [threading.Thread(target=one) for _ in range(30)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(set(made)) == 30


def test_processes_at_once_get_a_project_each(tmp_path):
    """Four interpreters wait for one file and then make projects as fast as they can."""
    script = (
        "import sys, time, pathlib\nfrom tessera_core.project.project import Project\n"
        "go = pathlib.Path(sys.argv[1])\nprint('ready', flush=True)\n"
        "while not go.exists():\n    time.sleep(0.001)\n"
        "[print(Project.new('Demo region').folder) for _ in range(10)]\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "go")], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [process.stdout.readline() for process in running] == ["ready\n"] * 4
    (tmp_path / "go").touch()
    folders = [line for process in running for line in process.communicate()[0].splitlines()]
    assert len(set(folders)) == len(folders) == 40


def test_of_many_who_make_a_project_in_one_folder_one_succeeds(tmp_path):
    start, made, refused = threading.Barrier(8), [], []

    def one(number):
        start.wait()
        try:
            made.append(Project.create(tmp_path / "same", f"Number {number}").name)
        except ProjectError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert (len(made), len(refused)) == (1, 7)
    assert Project.open(tmp_path / "same").name == made[0]
    assert all("holds a project already" in sentence for sentence in refused)
