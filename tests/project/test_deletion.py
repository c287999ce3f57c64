"""A project that one tab deletes while another has it open: what is labelled there is refused, and the project comes back whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tessera_core.errors import TesseraError
from tessera_core.project import deletion
from tessera_core.project.home import RecentProject, projects_home, recent_projects, remember
from tessera_core.project.project import Project


def _entry(project: Project) -> RecentProject:
    return next(one for one in recent_projects() if one.folder == project.folder.resolve())


ACTS: list[Callable[[Project], object]] = [
    lambda other: other.log.add_class("Water"),
    lambda other: other.log.add("point", 1, [(1.0, 2.0)]),
    lambda other: other.log.undo(),
    lambda other: other.plots.add_class("Height"),
    lambda other: other.update(name="Another"),
]


@pytest.mark.parametrize(("labelled", "at_home"), [(False, True), (True, True), (True, False)])
def test_what_another_tab_does_to_a_deleted_project_neither_counts_as_saved_nor_loses_it(
    labelled: bool, at_home: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    project = Project.create((projects_home() if at_home else tmp_path / "mine") / "fen", "Fen")
    remember(project)
    if labelled:
        project.log.add_class("Wood")
        project.log.add("point", 1, [(1.0, 2.0)])
    other = Project.open(project.folder)
    assert len(other.log.labels) == labelled
    deleted = deletion.delete(_entry(project))
    # Where the folder stays, because it is a person's own, a log that had not begun may begin.
    for act in ACTS if at_home else ACTS[:2]:
        with pytest.raises(TesseraError) as told:
            act(other)
        assert "[Errno" not in str(told.value)
    assert not at_home or not project.folder.exists()
    back = deletion.restore(deleted)
    assert (back.name, len(back.log.labels)) == ("Fen", labelled)


def test_what_work_in_another_tab_left_there_does_not_keep_a_project_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    project = Project.create(projects_home() / "fen", "Fen")
    remember(project)
    deleted = deletion.delete(_entry(project))
    (project.folder / "data").mkdir(parents=True)
    assert deletion.restore(deleted).name == "Fen"
    assert not (project.folder / "data").exists()
