"""Places of one map: chosen together, seen from each, and nobody else's."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tessera_core.errors import MixedDatasetsError, ProjectError
from tessera_core.project import deletion, home, places
from tessera_core.project.places import add_place, places_of, take_out
from tessera_core.project.project import Project
from tessera_core.project.project_files import saved_logs
from tessera_core.project.references import as_copy
from tessera_core.raster import EmbeddingRaster
from tests.factories import landscape


@pytest.fixture
def projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Project]:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path))
    raster = landscape(16, dim=8)
    folder, found = raster.save(tmp_path / "2023"), {}
    for name in ("Kent", "essex", "Fen"):
        found[name] = project = Project.create(home.projects_home() / name, name)
        project.attach_embeddings(2023, folder, raster.provenance, raster.grid)
    return found


def names(project: Project) -> list[tuple[str, int]]:
    return [(place.name, place.labels) for place in places_of(project)]


def test_places_are_seen_from_each_with_their_labels_and_one_alone_is_none(projects: dict[str, Project]) -> None:
    kent, essex, fen = projects["Kent"], projects["essex"], projects["Fen"]
    assert names(kent) == []
    add_place(kent, essex.folder)
    add_place(essex, fen.folder)
    wood = essex.log.add_class("Wood")
    essex.log.add("point", wood.id, [(1.0, 1.0)])
    for project in (kent, Project.open(essex.folder), Project.open(fen.folder)):
        assert names(project) == [("essex", 1), ("Fen", 0), ("Kent", 0)]
    take_out(kent, fen.folder)
    assert names(kent) == [("essex", 1), ("Kent", 0)]
    assert names(Project.open(fen.folder)) == []
    deletion.delete(home.RecentProject(essex.folder.resolve(), "essex", 0, None))
    assert names(kent) == []
    add_place(kent, fen.folder)
    take_out(kent, fen.folder)
    assert names(kent) == names(Project.open(fen.folder)) == []


def test_one_that_stands_for_itself_joins_the_map_of_the_other_unless_that_is_full(
    projects: dict[str, Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    kent, essex, fen = projects["Kent"], projects["essex"], projects["Fen"]
    add_place(kent, fen.folder)
    take_out(kent, fen.folder)
    assert kent.settings.together is not None, "a mark is left of a map"
    add_place(essex, fen.folder)
    monkeypatch.setattr(places, "MOST", 2)
    with pytest.raises(ProjectError, match="at most 2 places"):
        add_place(kent, fen.folder)
    monkeypatch.undo()
    monkeypatch.setenv("TESSERA_HOME", str(kent.folder.parents[1]))
    add_place(kent, fen.folder)
    assert names(essex) == [("essex", 0), ("Fen", 0), ("Kent", 0)]


def test_places_that_cannot_be_read_now_are_still_of_the_map(projects: dict[str, Project]) -> None:
    kent, essex, fen = projects["Kent"], projects["essex"], projects["Fen"]
    add_place(kent, essex.folder)
    add_place(kent, fen.folder)
    file = fen.folder / "project.json"
    text = file.read_bytes()
    file.write_bytes(b"{")
    assert names(kent) == [("essex", 0), ("Kent", 0)]
    take_out(kent, essex.folder)
    assert names(kent) == []
    file.write_bytes(text)
    assert names(kent) == names(Project.open(fen.folder)) == [("Fen", 0), ("Kent", 0)]


def test_a_project_deleted_while_the_list_is_read_is_not_in_it(
    projects: dict[str, Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    def logs(folder: Path) -> list[Path]:
        found = saved_logs(folder)
        if folder.name == "Fen":
            shutil.rmtree(folder)
        return found

    projects["Fen"].log.add_class("Wood")
    monkeypatch.setattr(home, "saved_logs", logs)
    assert {entry.name for entry in home.recent_projects()} == {"Kent", "essex"}
    projects["Kent"].update(name="Surrey")
    assert {entry.name for entry in home.recent_projects()} == {"Surrey", "essex"}, "what was read is read anew"


def test_a_copy_is_no_place_and_other_embeddings_are_refused(projects: dict[str, Project], tmp_path: Path) -> None:
    kent, essex = projects["Kent"], projects["essex"]
    add_place(kent, essex.folder)
    copy = deletion.duplicate(kent, "Kent, copy")
    # By files from hand to hand, too, and where a stranger's file has the mark.
    back = Project.import_file(kent.export_file(tmp_path / "kent.tessera"))
    stranger = as_copy(kent._data, copy.folder)
    assert copy.settings.together is back.settings.together is stranger["settings"].get("together") is None
    assert names(kent) == [("essex", 0), ("Kent", 0)]
    assert names(copy) == names(back) == []
    with pytest.raises(ProjectError, match="copy"):
        add_place(kent, copy.folder)
    with pytest.raises(ProjectError, match="itself"):
        add_place(kent, kent.folder)
    empty = Project.create(home.projects_home() / "empty", "Empty")
    with pytest.raises(ProjectError, match="Empty has no embeddings"):
        add_place(kent, empty.folder)
    raster = landscape(16, dim=8)
    other: EmbeddingRaster = replace(raster, provenance=replace(raster.provenance, model="other"))
    empty.attach_embeddings(2023, other.save(tmp_path / "other"), other.provenance, other.grid)
    with pytest.raises(MixedDatasetsError):
        add_place(kent, empty.folder)
    assert names(kent) == [("essex", 0), ("Kent", 0)]
