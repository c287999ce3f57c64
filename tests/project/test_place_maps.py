"""All places of one map by one head, in several UTM zones: together in a folder, in numbers, and through each door the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tessera_core.cli import main
from tessera_core.errors import InputError, MixedDatasetsError
from tessera_core.grid import Grid
from tessera_core.labels.model import Label, LabelClass
from tessera_core.project import home
from tessera_core.project.place_maps import PlaceMaps, map_places
from tessera_core.project.places import add_place, content_of, places_of
from tessera_core.project.project import Project
from tests.factories import landscape

CRS = {"Kent": "EPSG:32631", "Ems": "EPSG:32632", "Fen": "EPSG:32631"}


def labels_of(project: Project, number: int, classes: list[LabelClass]) -> None:
    """Five clicks in each quarter, of its kind."""
    random, grid, labels = np.random.default_rng(number), project.grid, []
    assert grid is not None
    for n in range(20):
        row, col = random.integers(3, 17, 2) + 20 * np.array(divmod(n % 4, 2))
        x, y = grid.pixel_to_xy(row + 0.5, col + 0.5)
        labels.append(Label(f"{number}-{n}", classes[n % 4].id, "point", ((float(x), float(y)),)))
    project.log.import_labels(classes, labels)


@pytest.fixture(scope="module")
def kent(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Three places: two zones, one without labels, and one whose class ids are in another order."""
    folder = tmp_path_factory.mktemp("home")
    found: dict[str, Project] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TESSERA_HOME", str(folder))
        for number, (name, crs) in enumerate(CRS.items()):
            raster = landscape(40, seed=number, dim=16)
            raster = replace(raster, grid=Grid(crs, raster.grid.transform, raster.grid.shape))
            project = Project.create(home.projects_home() / name, name)
            project.attach_embeddings(2023, raster.save(folder / name), raster.provenance, raster.grid)
            names = ["Wood", "Water", "Field", "Town"]
            ids = [1, 2, 3, 4] if name == "Kent" else [4, 3, 2, 1]
            classes = [LabelClass(i, text, f"#0000{i}0") for i, text in zip(ids, names, strict=True)]
            if name != "Fen":
                labels_of(project, number, classes)
            found[name] = project
        for name in ("Ems", "Fen"):
            add_place(found["Kent"], found[name].folder)
    return found["Kent"]


@pytest.fixture(autouse=True)
def at_home(kent: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(kent.folder.parents[1]))


@pytest.fixture(scope="module")
def made(kent: Project) -> PlaceMaps:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TESSERA_HOME", str(kent.folder.parents[1]))
        return map_places(places_of(kent), kent)


def test_one_head_maps_all_places_and_their_areas_add_up(made: PlaceMaps) -> None:
    assert [one.place.name for one in made.maps] == ["Ems", "Fen", "Kent"]
    assert [one.made.grid.crs for one in made.maps] == [CRS[one.place.name] for one in made.maps]
    assert any(line.startswith("Trained without Kent") for line in made.head.sentences())
    # Each quarter is of one kind, in every place: also where the class had another number, or nobody labelled.
    names = {c.id: c.name for c in made.legend}
    for one in made.maps:
        assert names[one.made.classes[10, 30]] == "Water"
        assert names[one.made.classes[30, 10]] == "Field"
    areas = made.areas()
    assert sum(pixels for pixels, _ in areas.values()) == 3 * 40 * 40
    for class_id, (pixels, hectares) in areas.items():
        assert pixels == sum(int((one.made.classes == class_id).sum()) for one in made.maps)
        assert hectares == pytest.approx(pixels / 100)


def test_the_command_lists_scores_and_writes_what_the_function_makes(
    kent: Project, made: PlaceMaps, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["places", "Kent"]) == 0
    assert capsys.readouterr().out.split("\n")[:3] == ["Ems: 20 labels", "Fen: 0 labels", "Kent: 20 labels"]
    assert main(["places", "Kent", "--out", str(tmp_path / "maps"), "--confidence", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    names = {c.id: c.name for c in made.legend}
    assert {n: area["pixels"] for n, area in told["areas"].items()} == {
        names[i]: pixels for i, (pixels, _) in made.areas().items() if i in names
    }
    assert told["elsewhere"] == [one.to_json() for one in made.head.elsewhere]
    for one in made.maps:
        with rasterio.open(tmp_path / "maps" / f"{one.place.name}.tif") as file:
            np.testing.assert_array_equal(file.read(1), one.made.classes)
        assert (tmp_path / "maps" / f"{one.place.name}_confidence.tif").exists()
    assert {file.name for file in (tmp_path / "maps").glob("map_32???.vrt")} == {"map_32631.vrt", "map_32632.vrt"}


def test_places_that_cannot_be_mapped_are_named_and_the_rest_is_done(kent: Project, tmp_path: Path) -> None:
    found = places_of(kent)
    gone = replace(found[1], folder=tmp_path / "gone", name="Gone")
    made = map_places([found[0], gone, found[2]], kent)
    assert [failure.what for failure in made.failed] == ["Gone"]
    assert [one.place.name for one in made.maps] == ["Ems", "Kent"]
    with pytest.raises(InputError, match="has no other places"):
        map_places([], kent)
    with pytest.raises(InputError, match="No place has labels yet"):
        map_places([found[1]], kent)


def test_places_of_one_name_get_files_of_their_own(made: PlaceMaps, tmp_path: Path) -> None:
    twins = [replace(one, place=replace(one.place, name="Fen")) for one in made.maps[:2]]
    files = replace(made, maps=tuple(twins)).write(tmp_path)
    assert {"Fen.tif", "Fen-2.tif"} <= {file.name for file in files}


def test_the_content_of_places_changes_with_labels_and_with_nothing_that_is_only_looked_at(kent: Project) -> None:
    found = places_of(kent)
    before = content_of(found)
    assert content_of(places_of(kent)) == before
    kent.update(steps_done=["take"])
    assert content_of(found) == before
    kent.log.add("point", 1, [(float(kent.grid.bounds[0]) + 15, float(kent.grid.bounds[1]) + 15)])  # type: ignore[union-attr]
    assert content_of(found) != before
    kent.log.undo()


def test_a_place_of_another_dataset_is_refused_by_name(kent: Project) -> None:
    other = Project.create(home.projects_home() / "Other", "Other")
    raster = landscape(16, dim=16)
    raster = replace(raster, provenance=replace(raster.provenance, model="another"))
    other.attach_embeddings(2023, raster.save(kent.folder.parents[1] / "o"), raster.provenance, raster.grid)
    with pytest.raises(MixedDatasetsError):
        add_place(kent, other.folder)
