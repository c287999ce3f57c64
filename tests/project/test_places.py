"""Places of one map: chosen together, seen from each, and nobody else's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tessera_core.errors import MixedDatasetsError, ProjectError
from tessera_core.project import deletion, home
from tessera_core.project.places import add_place, places_of, take_out
from tessera_core.project.project import Project
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
    assert kent.settings.together is None


def test_a_copy_is_no_place_and_other_embeddings_are_refused(projects: dict[str, Project], tmp_path: Path) -> None:
    kent, essex = projects["Kent"], projects["essex"]
    add_place(kent, essex.folder)
    copy = deletion.duplicate(kent, "Kent, copy")
    assert names(kent) == [("essex", 0), ("Kent", 0)]
    assert names(copy) == [("essex", 0), ("Kent, copy", 0)]
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
