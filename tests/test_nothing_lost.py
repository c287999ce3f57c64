"""What was acknowledged is on the disk: after kill -9, on a full disk, with two processes at one project. Real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tessera_core.labels.log import LabelLog
from tessera_core.project.project import Project

LABELLING = """
import sys
from tessera_core.project.project import Project
project = Project.open(sys.argv[1])
number = 0
while True:
    number += 1
    kind = project.log.classes[number % 2].id
    print(project.log.add("polygon", kind, [(number, 0), (number + 5, 0), (number + 5, 5 * number)], note="ä" * 40).id, flush=True)
"""
UNTIL_FULL = """
import json, resource, signal, sys
from tessera_core.errors import TesseraError
from tessera_core.project.project import Project
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
project = Project.open(sys.argv[1])
full = (project.folder / "labels.jsonl").stat().st_size + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
kept, said = [], []
while not said:
    try:
        kept.append(project.log.add("point", 1, [(len(kept), 0)], note="x" * 30).id)
    except TesseraError as error:
        said.append(str(error))
shown = [label.id for label in project.log.labels]
try:
    project.update(note="y" * 10_000)
except TesseraError as error:
    said.append(str(error))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
kept.append(project.log.add("point", 1, [(0, 1)]).id)
project.update(after=True)
print(json.dumps({"kept": kept, "shown": shown, "said": said}))
"""
ONE_OF_TWO = """
import sys, time, pathlib
from tessera_core.project.project import Project
project, me = Project.open(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
while not pathlib.Path(sys.argv[3]).exists():
    time.sleep(0.001)
for number in range(40):
    project.log.add("point", 1, [(number, 0)], id=f"{me}{number}")
    if number % 4 == 0:
        project.update(**{f"{me}{number}": number})
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project.create(tmp_path / "p", "Fen")
    made.log.add_class("Wood")
    made.log.add_class("Water")
    return made


@pytest.mark.parametrize("after", [3, 55])
def test_no_label_is_lost_or_doubled_by_a_kill(project: Project, after: int) -> None:
    acknowledged = []
    for _ in range(2):
        command = [sys.executable, "-c", LABELLING, str(project.folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            acknowledged += [process.stdout.readline().strip() for _ in range(after)]
            process.kill()
            # What it acknowledged until it died.
            acknowledged += process.stdout.read().split()
    log = LabelLog(project.folder / "labels.jsonl")
    ids = [label.id for label in log.labels]
    assert len(ids) == len(set(ids))
    assert set(acknowledged) <= set(ids)
    # A label may be on the disk without having been acknowledged, one of each process.
    assert len(ids) <= len(acknowledged) + 2
    assert project.refresh()
    project.log.add("point", 1, [(1, 2)])
    assert not LabelLog(project.folder / "labels.jsonl").notes


@pytest.mark.parametrize("room", [0, 100, 1000])
def test_a_full_disk_loses_nothing_and_shows_nothing_unsaved(project: Project, room: int) -> None:
    pytest.importorskip("resource")
    command = [sys.executable, "-c", UNTIL_FULL, str(project.folder), str(room)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    again = Project.open(project.folder)
    assert found["shown"] == found["kept"][:-1]
    assert [label.id for label in again.log.labels] == found["kept"]
    assert again.notes == []
    assert again.settings.extra == {"after": True}
    assert len(found["said"]) == 2
    assert all("\n" not in sentence for sentence in found["said"])
    assert list(project.folder.glob(".*.part*")) == []


def test_two_processes_at_one_project_lose_nothing(project: Project, tmp_path: Path) -> None:
    go = tmp_path / "go"
    command = [sys.executable, "-c", ONE_OF_TWO, str(project.folder)]
    running = [subprocess.Popen([*command, me, str(go)], stdout=subprocess.PIPE, text=True) for me in "ab"]
    assert [process.stdout.readline() for process in running if process.stdout] == ["ready\n"] * 2
    go.touch()
    assert [process.wait() for process in running] == [0, 0]
    assert project.refresh()
    assert {label.id for label in project.log.labels} == {f"{me}{n}" for me in "ab" for n in range(40)}
    assert project.settings.extra == {f"{me}{n}": n for me in "ab" for n in range(0, 40, 4)}
    assert project.notes == project.replaced == []
