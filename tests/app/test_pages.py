"""The pages' logic without a browser: what each shows without a project, after an error, and with one open."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tessera_core import hosting
from tessera_core.project import library
from tessera_core.project.home import recent_projects
from tessera_core.project.project import Project
from tessera_core.ui import state
from tests.servers import APP_SECONDS


def _errors(app: AppTest) -> list[str]:
    return [error.value for error in app.error] + [str(exception.value) for exception in app.exception]


def _button(app: AppTest, label: str):
    (found,) = [button for button in app.button if button.label == label]
    return found


def test_welcome_offers_every_way_to_start(app: AppTest) -> None:
    app.run()
    assert _errors(app) == []
    assert [title.value for title in app.title] == ["Make a map from satellite data"]
    assert [head.value for head in app.header] == [
        "Try the demo region",
        "A place on Earth",
        "Open a folder",
        "Upload files",
        "Or begin with a question",
    ]


def test_before_the_pages_have_names_their_files_are_not_listed(root: Path) -> None:
    # What Streamlit would show of the folder pages until the first run of a server says which pages there are.
    settings = tomllib.loads((root / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert settings["client"]["showSidebarNavigation"] is False


def test_wrong_folder_is_one_sentence_and_what_was_typed_stays(app: AppTest) -> None:
    app.run()
    app.text_input(key="region_folder").input("/no/such/place").run()
    (error,) = _errors(app)
    assert "/no/such/place" in error
    assert "Traceback" not in error
    assert app.text_input(key="region_folder").value == "/no/such/place"


def test_empty_look_asks_for_a_path(app: AppTest) -> None:
    app.run()
    _button(app, "Look inside").click().run()
    assert _errors(app) == ["Type or paste the path of a folder first."]


def test_folder_becomes_an_open_project(app: AppTest, region_folder: Path) -> None:
    app.run()
    app.text_input(key="region_folder").input(str(region_folder)).run()
    assert "0.4 km²" in app.success[0].value
    _button(app, "Open it").click().run()
    assert _errors(app) == []
    assert "Your region" in [head.value for head in app.header]
    assert app.text_input(key=next(box.key for box in app.text_input if box.label == "Name")).value == "my fields"
    assert any(":small[" in text.value and "2023 and 2024" in text.value for text in app.markdown)
    (named,) = (
        app.query_params["project"] if isinstance(app.query_params["project"], list) else (app.query_params["project"],)
    )
    assert named.startswith("my fields-")


def test_address_reopens_the_project_in_a_new_session(app: AppTest, project: Project) -> None:
    app.query_params["project"] = project.folder.name
    app.run()
    assert _errors(app) == []
    assert [box.value for box in app.text_input if box.label == "Name"] == ["My fields"]


@pytest.mark.parametrize("name", ["gone", "../../etc", ".", "", "~0123456789ab"])
def test_address_of_no_project_says_so_and_shows_the_welcome(app: AppTest, home: Path, name: str) -> None:
    app.query_params["project"] = name
    app.run()
    assert all("address" in error for error in _errors(app))
    assert bool(_errors(app)) == bool(name)
    assert [title.value for title in app.title] == ["Make a map from satellite data"]


def test_missing_embeddings_are_named_and_the_rest_of_the_app_lives(
    app: AppTest, project: Project, region_folder: Path
) -> None:
    region_folder.rename(region_folder.with_name("moved"))
    app.query_params["project"] = project.folder.name
    app.run()
    (error,) = _errors(app)
    assert "no longer at" in error
    assert [head.value for head in app.header][-1:] == ["Recent projects"]


def test_renaming_asks_and_deleting_can_be_undone(app: AppTest, project: Project) -> None:
    app.run()
    app.button(key=f"rename_{project.folder.name}").click().run()
    assert app.text_input(key=f"new_name_{project.folder.name}").value == "My fields"
    app.button(key=f"delete_{project.folder.name}").click().run()
    assert not project.folder.exists()
    assert any("**My fields** was deleted." in text.value for text in app.markdown)
    app.button(key="projects_undo").click().run()
    assert _errors(app) == []
    assert project.folder.exists()
    assert [box.value for box in app.text_input if box.label == "Name"] == ["My fields"]
    assert not any("was deleted" in text.value for text in app.markdown)


def test_projects_whose_folders_have_one_name_are_listed_and_are_places_of_one_map(
    app: AppTest, region_folder: Path, tmp_path: Path
) -> None:
    from tessera_core.project.home import remember
    from tessera_core.project.places import add_place
    from tessera_core.sources.local.open import open_embeddings

    raster, made = open_embeddings(region_folder / "2023"), []
    for county in ("Kent", "Essex"):
        project = Project.create(tmp_path / county / "work", county)
        project.attach_embeddings(2023, region_folder / "2023", raster.provenance, raster.grid)
        remember(project)
        made.append(project)
    add_place(made[0], made[1].folder)
    app.run()
    assert not app.exception
    app.query_params["project"] = state.key_of(made[0].folder)
    app.run()
    assert not app.exception
    assert [b.label for b in app.button if str(b.key).startswith("strip_")] == ["Essex · 0", "Kent · 0"]


def test_the_name_in_the_header_switches_copies_renames_and_deletes(app: AppTest, project: Project) -> None:
    other = Project.new("Other fields")
    app.query_params["project"] = project.folder.name
    app.run()
    app.text_input(key=f"project_name_{project.key}").input("My woods")
    (rename,) = [button for button in app.button if button.proto.is_form_submitter]
    rename.click().run()
    assert Project.open(project.folder).name == "My woods"
    app.button(key="project_duplicate").click().run()
    assert [box.value for box in app.text_input if box.label == "Name"] == ["My woods, copy"]
    app.button(key=f"switch_{other.folder.name}").click().run()
    assert [box.value for box in app.text_input if box.label == "Name"] == ["Other fields"]
    app.button(key="project_delete").click().run()
    assert _errors(app) == []
    assert not other.folder.exists()
    assert [title.value for title in app.title] == ["Make a map from satellite data"]
    assert any("**Other fields** was deleted." in text.value for text in app.markdown)


def test_strangers_see_neither_folders_nor_projects(
    app: AppTest, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    app.run()
    assert [head.value for head in app.header] == [
        "Try the demo region",
        "A place on Earth",
        "Upload files",
        "Or begin with a question",
    ]
    assert not any("My fields" in text.value for text in app.markdown)


def test_strangers_open_projects_only_by_an_address_nobody_can_guess(
    app: AppTest, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    key = state.key_of(project.folder)
    hosting._secret_at.cache_clear()
    assert state.key_of(project.folder) == key
    app.query_params["project"] = project.folder.name
    app.run()
    assert "address" in _errors(app)[0]
    app.query_params["project"] = key
    app.run()
    assert _errors(app) == []
    assert "My fields" in [box.value for box in app.text_input if box.label == "Name"]


def test_unforeseen_errors_are_logged_and_never_shown_raw(
    app: AppTest, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tessera_core.ui.region import page as region

    def broken() -> None:
        raise ZeroDivisionError("inner details")

    monkeypatch.setattr(region, "_ways_to_start", broken)
    app.run()
    (error,) = _errors(app)
    assert "app.log" in error
    assert "inner details" not in error


def test_deep_link_on_a_fresh_server_goes_through_the_shell(home: Path, root: Path, project: Project) -> None:
    app = AppTest.from_file(str(root / "app.py"), default_timeout=APP_SECONDS)
    app.run()
    app.query_params["project"] = project.folder.name
    app.switch_page("pages/export.py").run()
    assert _errors(app) == []
    assert [title.value for title in app.title] == ["Export"]
    assert "My fields" in [box.value for box in app.text_input if box.label == "Name"]


def _label(project: Project) -> None:
    """Two classes in two of the landscape's quarters."""
    for name, x in (("Wood", 600_100.0), ("Water", 600_500.0)):
        added = project.log.add_class(name)
        project.log.add("point", added.id, [(x, 5_799_900.0)])


def _facts(app: AppTest) -> str:
    """What the page Region says of the project, as HTML."""
    return " ".join(element.proto.body for element in app.get("html"))


def _downloads(app: AppTest) -> dict[str, bool]:
    """Names of the download buttons and whether they can be pressed."""
    return {button.proto.label: not button.proto.disabled for button in app.get("download_button")}


def _open(app: AppTest, page: str, project: Project | None = None) -> AppTest:
    if project is not None:
        app.query_params["project"] = project.folder.name
    app.run()
    return app.switch_page(f"pages/{page}.py").run()


def test_export_without_a_project_points_to_the_first_page(app: AppTest) -> None:
    _open(app, "export")
    assert _errors(app) == []
    assert app.info[0].value.startswith("Open a region first")
    assert _downloads(app) == {}


def test_export_without_labels_says_why_and_still_gives_the_project(app: AppTest, project: Project) -> None:
    _open(app, "export", project)
    assert _errors(app) == []
    assert "no labels yet" in app.info[0].value
    assert _downloads(app) == {
        "Labels (.gpkg)": False,
        "Labels (.geojson)": False,
        "Save file": False,
        "Project (.tessera)": True,
    }


def test_export_with_one_class_asks_for_another(app: AppTest, project: Project) -> None:
    only = project.log.add_class("Wood")
    project.log.add("point", only.id, [(600_100.0, 5_799_900.0)])
    _open(app, "export", project)
    assert "Label another class" in app.info[0].value
    assert _downloads(app)["Labels (.gpkg)"]


def test_export_tells_what_another_format_does_not_hold(app: AppTest, project: Project) -> None:
    _label(project)
    project.log.add("polygon", 1, [(600_020.0, 5_799_980.0), (600_090.0, 5_799_980.0), (600_090.0, 5_799_900.0)])
    project.log.add("point", 1, [(600_200.0, 5_799_900.0)], note="by the gate")
    _open(app, "export", project)
    (choice,) = (box for box in app.selectbox if "Another format" in box.label)
    assert choice.options == [
        "TEE, GeoJSON",
        "TEE, manual labels",
        "Notebook classifier",
        "CSV",
        "KML",
        "Shapefile (zip)",
        "Class tree (JSON)",
        "Class tree (text)",
    ]
    assert any("raise the slider" in text.value for text in app.caption)
    choice.select("csv").run()
    assert _errors(app) == []
    told = "".join(text.value for text in app.caption)
    assert "- 1 area becomes one point each, inside the area.\n- 1 note is not kept.\n" in told
    assert "slider" not in told
    choice.select("kml").run()
    assert not any("not kept" in text.value for text in app.caption)
    choice.select("classes").run()
    assert _errors(app) == []
    assert _downloads(app)["Save file"]


def test_export_offers_every_file_and_the_areas_of_the_map(app: AppTest, project: Project) -> None:
    _label(project)
    _open(app, "export", project)
    assert _errors(app) == []
    downloads = _downloads(app)
    assert set(downloads) == {
        "Report (.pdf)",
        "Record (.pdf)",
        "All for QGIS (.zip)",
        "Report (.html)",
        "Picture (.png)",
        "Page (.pdf)",
        "Web map (.html)",
        "Class map (.tif)",
        "Class names (.qml)",
        "Confidence (.tif)",
        "Confidence colours (.qml)",
        "Classifier (.safetensors)",
        "Labels (.gpkg)",
        "Labels (.geojson)",
        "Save file",
        "Project (.tessera)",
    }
    # A record of work waits for the name of whose work it is.
    assert {name for name, ready in downloads.items() if not ready} == {"Record (.pdf)"}
    table = app.dataframe[0].value
    assert list(table["Class"]) == ["Wood", "Water"]
    assert table["Share"].sum() == pytest.approx(100)
    # 64 x 64 pixels of 100 m2 but for the four without data.
    assert table["On the map (ha)"].sum() == pytest.approx((64 * 64 - 4) / 100)


def test_export_follows_the_year_chosen(app: AppTest, project: Project) -> None:
    _label(project)
    project.update(year=2023)
    _open(app, "export", project)
    assert app.get("button_group")[0].value == 2023
    app.segmented_control(f"export_year_{project.key}").set_value(2024).run()
    assert _errors(app) == []
    # The year in sight is the project's: every page follows.
    assert Project.open(project.folder).settings.year == 2024
    _open(app, "region", project)
    assert app.segmented_control(f"region_year_{project.key}").value == 2024


def test_every_export_can_be_built(app: AppTest, project: Project, tmp_path: Path) -> None:
    import json

    import rasterio

    from tessera_core.export.product import Product
    from tessera_core.project.classify import map_project
    from tessera_core.sources.local.open import open_embeddings
    from tessera_core.ui import files
    from tessera_core.ui.export import page as export
    from tessera_core.ui.scene import OpenScene

    _label(project)
    raster = open_embeddings(project.embeddings_path(2024))
    made = map_project(project, raster, 2024)
    product = Product(
        project.name,
        made.map.classes,
        made.map.confidence,
        raster.grid,
        project.log.classes,
        project.log.labels,
        raster.provenance,
        "ridge",
    )
    items = export._map_items(project, product, made, OpenScene("", raster), "fields-2024")
    built = {item.button: files.build(item) for item in items}
    assert all(built.values())
    # A raster that QGIS would open grey, or without names, has its style on offer, of the name that QGIS looks for.
    styled = {item.name: files.build(item, Path(item.name).with_suffix(".qml").name) for item in items if item.style}
    assert set(styled) == {item.name for item in items if item.name.endswith(".tif")}
    assert b'label="Wood"' in styled["fields-2024-classes.tif"]
    assert b'type="singlebandpseudocolor"' in styled["fields-2024-confidence.tif"]
    (tmp_path / "map.tif").write_bytes(built["Class map (.tif)"])
    with rasterio.open(tmp_path / "map.tif") as file:
        assert (file.read(1) == made.map.classes).all()
        assert json.loads(json.dumps(file.tags()))["tessera_year"] == "2024"


def test_a_project_whose_log_was_replaced_goes_on_with_what_lies_there_and_says_so(
    app: AppTest, project: Project
) -> None:
    """A backup was restored, or a program that keeps folders alike was at work, while the server had the project open."""
    wood = project.log.add_class("Wood")
    project.log.add("point", wood.id, [(600_100.0, 5_799_900.0)])
    backup = (project.folder / "labels.jsonl").read_bytes()
    project.log.add("point", wood.id, [(600_200.0, 5_799_900.0)])
    app.query_params["project"] = project.folder.name
    app.run()
    assert "2 in 1 classes" in _facts(app)
    (project.folder / "labels.jsonl").write_bytes(backup)
    app.run()
    assert _errors(app) == []
    assert "1 in 1 classes" in _facts(app)
    (told,) = [warning.value for warning in app.warning if "replaced" in warning.value]
    assert "holds 1 labels" in told
    app.run()
    assert not any("replaced" in warning.value for warning in app.warning)


def test_a_project_whose_log_vanished_opens_again_from_the_list(app: AppTest, project: Project) -> None:
    project.log.add_class("Wood")
    app.query_params["project"] = project.folder.name
    app.run()
    (project.folder / "labels.jsonl").unlink()
    app.run()
    assert "disappeared" in _errors(app)[0]
    app.button(key=f"open_{project.folder.name}").click().run()
    assert _errors(app) == []
    assert "none yet" in _facts(app)
    assert any("replaced" in warning.value for warning in app.warning)


def test_a_project_file_asks_its_owner_where_the_embeddings_lie(
    app: AppTest, project: Project, region_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = project.export_file(tmp_path / "fields.tessera")
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "another computer"))
    copy = library.adopt(file)
    app.query_params["project"] = copy.folder.name
    app.run()
    assert _errors(app) == []
    told = [warning.value for warning in app.warning]
    assert ["2023" in sentence for sentence in told] == [True, False]
    app.text_input(key=f"region_where_{copy.key}_2024").input(str(tmp_path / "nowhere")).run()
    app.button(key=f"region_link_{copy.key}_2024").click().run()
    assert "nothing at" in _errors(app)[0]
    app.text_input(key=f"region_where_{copy.key}_2024").input(str(region_folder)).run()
    app.button(key=f"region_link_{copy.key}_2024").click().run()
    assert _errors(app) == []
    assert "<b>Years:</b> 2024" in _facts(app)
    assert [warning.value for warning in app.warning] == told[:1]
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    app.query_params["project"] = state.key_of(copy.folder)
    app.run()
    assert not [field for field in app.text_input if (field.key or "").startswith("region_where")]


def test_a_stranger_sees_the_projects_of_their_own_and_may_delete_them(
    app: AppTest, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    app.session_state["tessera_visitor"] = "anna"
    with hosting.acting_for("anna"):
        mine = Project.new("Annas fields")
    with hosting.acting_for("bert"):
        Project.new("Berts fields")
    app.run()
    assert [head.value for head in app.header][-1:] == ["Your projects"]
    shown = " ".join(text.value for text in app.markdown)
    assert "Annas fields" in shown
    assert "Berts fields" not in shown
    app.button(key=f"delete_{mine.folder.name}").click().run()
    assert not mine.folder.exists()
    app.button(key="projects_undo").click().run()
    assert mine.folder.exists()
    # The list at the name in the header is of one's own projects too, and so is a copy made there.
    assert [button.key for button in app.button if (button.key or "").startswith("switch_")] == []
    app.button(key="project_duplicate").click().run()
    with hosting.acting_for("anna"):
        assert {entry.name for entry in recent_projects()} == {"Annas fields", "Annas fields, copy"}
    assert [button.label for button in app.button if (button.key or "").startswith("switch_")] == ["Annas fields"]
