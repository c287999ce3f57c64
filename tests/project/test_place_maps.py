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
from tessera_core.export.geotiff import sidecars
from tessera_core.grid import Grid
from tessera_core.labels.model import Label, LabelClass
from tessera_core.labels.schema import adopt, parse_tree
from tessera_core.project import home, place_maps
from tessera_core.project.classify import head_choice
from tessera_core.project.map_folder_pictures import draw
from tessera_core.project.map_folders import open_maps
from tessera_core.project.place_maps import PlaceMaps, map_places, teach_places
from tessera_core.project.place_views import views_of
from tessera_core.project.places import add_place, content_of, places_of
from tessera_core.project.project import Project
from tessera_core.project.teaching import label_year, taught_by_project, teach, teach_further
from tessera_core.sources.local.open import open_embeddings
from tests.factories import landscape

CRS = {"Kent": "EPSG:32631", "Ems": "EPSG:32632", "Fen": "EPSG:32631"}
ORDER = {
    "Kent": ("Wood", "Water", "Field", "Town"),
    "Ems": ("Town", "Field", "Water", "Wood"),
    "Fen": ("Field", "Wood", "Town", "Water"),
}


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
            # Else what comes in is numbered in the order of Kent.
            for text in ORDER[name]:
                project.log.add_class(text)
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
    # The folder is one of maps made tile by tile, and says the same.
    maps = open_maps(tmp_path / "maps")
    found, legend = maps.areas(), {c.id: c.name for c in maps.legend}
    assert ([tile.name for tile in maps.tiles], maps.failed) == (["Ems", "Fen", "Kent"], ())
    for class_id, (pixels, hectares) in made.areas().items():
        assert found[class_id].pixels == pixels
        assert class_id == 0 or (legend[class_id], found[class_id].hectares) == (
            names[class_id],
            pytest.approx(hectares),
        )
    assert draw(maps).drawn == 3
    # Written again it is the same, to the byte.
    before = {file.name: file.read_bytes() for file in (tmp_path / "maps").iterdir()}
    made.write(tmp_path / "maps", confidence=True)
    assert before == {file.name: file.read_bytes() for file in (tmp_path / "maps").iterdir()}


def test_written_with_fewer_places_the_folder_holds_no_more_than_these(made: PlaceMaps, tmp_path: Path) -> None:
    made.write(tmp_path, confidence=True)
    # What other programs put there stays, and so does the map of a tile that another command made.
    note = json.loads((tmp_path / "Fen.json").read_text())
    other = tmp_path / "map_other.vrt"
    other.write_bytes(b"<VRTDataset/>")
    (tmp_path / "Fen_confidence.tif").write_bytes(b"not ours any more")
    fewer = replace(made, maps=made.maps[:1])
    written = fewer.write(tmp_path)
    left = {"Fen_confidence.tif", "Fen_confidence.qml", other.name}
    sides = {side.name for file in written for side in sidecars(file)}
    assert {file.name for file in tmp_path.iterdir()} == {file.name for file in written} | left | sides
    assert {i: area.pixels for i, area in open_maps(tmp_path).areas().items() if area.pixels} == {
        i: pixels for i, (pixels, _) in fewer.areas().items() if pixels
    }
    (tmp_path / "tile.json").write_text(json.dumps(note | {"made_of": "ab"}))
    (tmp_path / "tile.tif").write_bytes(next(tmp_path.glob("Ems.tif")).read_bytes())
    replace(made, maps=made.maps[1:2]).write(tmp_path)
    assert not (tmp_path / "Ems.tif").exists()
    assert {"tile.json", "tile.tif"} <= {file.name for file in tmp_path.iterdir()}


def test_a_file_of_another_program_in_the_place_of_a_note_stays(made: PlaceMaps, tmp_path: Path) -> None:
    (tmp_path / "Kent.json").write_text('{"format": "tessera-head/1"}')
    with pytest.raises(InputError, match=r"Kent\.json is there already"):
        made.write(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["Kent.json"]


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


def test_a_class_tree_means_the_classes_of_whoever_asks_and_scores_are_those_of_the_page_label(kent: Project) -> None:
    """Kent's numbers of classes are not those of Ems, which comes first by name; the order is that of "Learn also from"."""
    wanted = {"Wood": "Green", "Field": "Green"}
    parts = []
    for place in sorted(places_of(kent), key=lambda place: place.name != "Kent"):
        if place.labels:
            project = Project.open(place.folder)
            year = label_year(project)
            parts.append(taught_by_project(project, open_embeddings(project.embeddings_path(year), year=year), year))
    tree = parse_tree("Green\n  Wood\n  Field\nWater\nTown\n")
    adopt(kent.log, tree)
    kent.update(schema=tree.to_json())
    try:
        head = teach_places(places_of(kent), kent).head
        # Also where it is asked by a place that has labelled nothing.
        fen = Project.open(places_of(kent)[1].folder)
        adopt(fen.log, tree)
        fen.update(schema=tree.to_json())
        by_fen = teach_places(places_of(fen), fen).head
        page = teach(parts, head_choice(kent), classes=kent.log.classes)
    finally:
        kent.update(schema=None)
        kent.log.undo()
    # Taught again by all that taught it, it keeps the ids that its tree is of.
    again = teach_further(page.saved, parts[::-1])
    assert sorted(again.renewed) == ["Ems", "Kent"]
    for made in (head, by_fen, again):
        names = made.taught.names
        assert {names[i]: names[above] for i, above in made.trained.head.get_params()["parents"]} == wanted
    assert head.elsewhere == page.elsewhere
    assert [one.place for one in head.elsewhere] == ["Kent", "Ems"]


def test_a_place_whose_labels_lie_elsewhere_is_mapped_without_them_and_that_is_said(kent: Project) -> None:
    found = places_of(kent)
    fen = Project.open(found[1].folder)
    fen.log.add("point", fen.log.classes[0].id, [(1.0, 1.0)])
    try:
        made = map_places(places_of(kent), kent)
    finally:
        fen.log.undo()
    assert [one.place.name for one in made.maps] == ["Ems", "Fen", "Kent"]
    assert not made.failed
    assert [place for place, _ in made.silent] == ["Fen"]
    told = " ".join(made.sentences())
    assert "Not one label of Fen lies where there are data" in told
    assert "Fen taught the head nothing and is mapped by what the other places taught it." in told


def test_scores_alone_map_nothing(
    kent: Project, made: PlaceMaps, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(place_maps, "map_classes_with")
    assert main(["places", "Kent", "--score", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["elsewhere"] == [one.to_json() for one in made.head.elsewhere]


def test_what_is_shown_is_named_by_what_it_shows(made: PlaceMaps) -> None:
    shown, again = views_of(made), views_of(made)
    assert [one.picture and one.picture.version for one in shown.views] == [
        one.picture and one.picture.version for one in again.views
    ]
    first, *rest = made.maps
    other = replace(first, made=replace(first.made, map=replace(first.made.map, classes=first.made.classes[::-1])))
    turned = views_of(replace(made, maps=(other, *rest))).views
    assert turned[0].picture.version != shown.views[0].picture.version  # type: ignore[union-attr]
    assert turned[1].picture == shown.views[1].picture
    assert shown.areas == made.areas()


@pytest.mark.parametrize(
    ("first", "second", "stems"),
    [
        ("Fen", "Fen", ["Fen", "Fen-2"]),
        ("Fen", "fen", ["Fen", "fen-2"]),
        ("Fen", "Fen_confidence", ["Fen", "Fen_confidence-2"]),
        ("Fen_Confidence", "fen", ["Fen_Confidence", "fen-2"]),
        ("F\u00e9n", "Fe\u0301n", ["F\u00e9n", None]),
    ],
)
def test_places_of_one_name_get_files_of_their_own(
    made: PlaceMaps, tmp_path: Path, first: str, second: str, stems: list[str | None]
) -> None:
    twins = [
        replace(one, place=replace(one.place, name=name))
        for one, name in zip(made.maps[:2], (first, second), strict=True)
    ]
    files = [file.name for file in replace(made, maps=tuple(twins)).write(tmp_path, confidence=True)]
    assert {f"{stem}{end}.tif" for stem in stems if stem for end in ("", "_confidence")} <= set(files)
    assert len({file.casefold() for file in files if file.endswith(".tif")}) == 4


@pytest.mark.parametrize("name", ["Kent.tif", "Kent_confidence.tif", "map_32631.vrt", "map_32631_confidence.vrt"])
def test_no_map_of_another_program_is_replaced_and_then_nothing_is_written(
    made: PlaceMaps, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(b"<VRTDataset/>")
    with pytest.raises(InputError, match=f"{name} is there already"):
        made.write(tmp_path, confidence=True)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    (tmp_path / name).unlink()
    if name == "map_32631.vrt":
        assert made.write(tmp_path, confidence=True) == made.write(tmp_path, confidence=True)


def test_a_project_that_lies_elsewhere_becomes_a_place_and_what_is_none_is_said(
    kent: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raster = landscape(16, dim=16)
    elsewhere = Project.create(tmp_path / "far", "Far")
    elsewhere.attach_embeddings(2023, raster.save(tmp_path / "data"), raster.provenance, raster.grid)
    assert main(["places", "Kent", "--add", "Nowhere", "--add", str(elsewhere.folder)]) == 2
    assert main(["places", "Kent", "--remove", str(elsewhere.folder), "--remove", "Fen"]) == 2
    assert "Far is no place of the map of Kent" in capsys.readouterr().err
    assert [place.name for place in places_of(kent)] == ["Ems", "Fen", "Kent"]
    assert main(["places", "Kent", "--add", str(elsewhere.folder)]) == 0
    assert "Far: 0 labels" in capsys.readouterr().out
    assert main(["places", str(elsewhere.folder), "--remove", "Far"]) == 0
    kent.refresh()
    assert [place.name for place in places_of(kent)] == ["Ems", "Fen", "Kent"]


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
