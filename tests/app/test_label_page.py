"""The page Label without a browser: what it sends, and what a message of the browser does."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from tessera_core.analysis.postprocess import majority
from tessera_core.export.geotiff import write_class_map
from tessera_core.grid import transformer
from tessera_core.labels.model import LabelClass
from tessera_core.lessons import library as lessons
from tessera_core.project import steps
from tessera_core.project.classify import head_choice, map_project
from tessera_core.project.project import Project
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tessera_core.session import live_map, payload
from tessera_core.ui.label import notes
from tests.osm import osm_pbf
from tests.waiting import run_until


def messages(app: AppTest) -> dict[str, tuple[dict, bytes]]:
    """Kind (pictures: name) -> header and bytes of everything sent to the label map."""
    found = {}
    for element in app.get("bidi_component"):
        data = element.proto.bytes
        if data:
            header, picture = payload.unpack(data)
            found[header.get("name", header["kind"])] = (header, picture)
    return found


def open_label_page(app: AppTest, project: Project) -> AppTest:
    app.query_params["project"] = project.folder.name
    app.run()
    return app.switch_page("pages/label.py").run()


def test_without_a_project_the_page_says_where_to_go(app: AppTest) -> None:
    app.run()
    app.switch_page("pages/label.py").run()
    assert not app.exception
    assert "Open a region first" in app.info[0].value


def test_map_panel_and_pictures_are_sent(app: AppTest, project: Project) -> None:
    open_label_page(app, project)
    assert not app.exception
    assert not app.error
    sent = messages(app)
    header, png = sent["map"]
    assert header["frame"] == "mercator"
    assert header["title"] == "My fields"
    assert header["subtitle"].startswith("2024")
    assert header["map"] is None
    assert png == b""
    assert sent["pca"][1].startswith(b"\x89PNG")
    assert sent["panel"][0]["key"] == header["key"]
    assert not sent["panel"][0]["guided"]
    # Nothing to load from elsewhere unless somebody asks for a base map.
    assert "http" not in str({key: value for key, value in header.items() if key != "base"})


def test_while_a_lesson_leads_the_page_keeps_its_own_advice_to_itself(app: AppTest, project: Project) -> None:
    grid = project.grid
    assert grid is not None
    for number, (row, col) in enumerate(((10, 10), (50, 50))):
        x, y = grid.pixel_to_xy(row, col)
        project.log.add("point", project.log.add_class(f"Kind {number}").id, [(float(x), float(y))])
    project.update(lesson={"lesson": "first-map", "step": "wood"})
    open_label_page(app, project)
    assert messages(app)["panel"][0]["guided"]
    assert not any(button.key == f"steps_hide_{project.key}" for button in app.button)
    lessons.leave(project)
    app.run()
    assert not messages(app)["panel"][0]["guided"]
    assert any(button.key == f"steps_hide_{project.key}" for button in app.button)


def test_labels_of_the_project_make_a_map_and_the_year_can_change(app: AppTest, project: Project) -> None:
    grid = project.grid
    assert grid is not None
    for number, (row, col) in enumerate(((10, 10), (10, 50), (50, 10))):
        x, y = grid.pixel_to_xy(row, col)
        project.log.add("point", project.log.add_class(f"Kind {number}").id, [(float(x), float(y))])
    open_label_page(app, project)
    header, png = messages(app)["map"]
    assert header["map"]["levels"] == 1
    assert png.startswith(b"\x89PNG")
    assert len(header["labels"]) == 3
    assert sum(c["area"] for c in header["classes"]) == pytest.approx((64 * 64 - 4) * 0.01, abs=0.1)

    app.session_state[f"label_method_{project.key}"] = True
    app.run()
    head = next(box for box in app.selectbox if "How the map" in box.label)
    head.select("ridge").run()
    assert not app.exception
    again, _ = messages(app)["map"]
    assert again["map"]["v"] != header["map"]["v"]
    assert Project.open(project.folder).settings.head == "ridge"

    (year,) = [group for group in app.get("button_group") if group.proto.label == "Year"]
    assert [option.content for option in year.proto.options] == ["2023", "2024"]
    project.update(year=2023)
    app.run()
    other, _ = messages(app)["map"]
    assert other["subtitle"].startswith("2023")
    assert other["scene"] != again["scene"]
    assert other["place"] == again["place"]
    assert other["labels"] == again["labels"]


def labelled(project: Project) -> None:
    """Five clicks in each quarter of the landscape."""
    grid = project.grid
    assert grid is not None
    for number, (top, left) in enumerate(((4, 4), (4, 36), (36, 4), (36, 36))):
        label_class = project.log.add_class(f"Kind {number}")
        for row, col in ((2, 2), (2, 20), (12, 11), (20, 3), (22, 22)):
            x, y = grid.pixel_to_xy(top + row, left + col)
            project.log.add("point", label_class.id, [(float(x), float(y))])


def test_what_is_known_about_the_map_is_sent_beside_it(app: AppTest, project: Project) -> None:
    labelled(project)
    open_label_page(app, project)
    header, _ = messages(app)["insight"]
    assert header["ready"]
    run_until(app, lambda: not messages(app)["insight"][0]["pending"])
    header, _ = messages(app)["insight"]
    assert header["version"] == project.log.version
    assert header["score"]["accuracy"] > 0.9
    assert header["score"]["labels"] == 20
    assert "random split" in header["score"]["gap"]
    assert 0 < len(header["next"]) <= 5
    assert header["confidence"]
    assert header["stamp"] == messages(app)["map"][0]["stamp"]


def open_panel(app: AppTest, project: Project, name: str) -> AppTest:
    app.session_state[f"label_{name}_{project.key}"] = True
    return app.run()


def press(app: AppTest, text: str) -> AppTest:
    return next(button for button in app.button if button.label == text).click().run()


def _shown_errors(app: AppTest) -> list[str]:
    return [error.value for error in app.error] + [str(exception.value) for exception in app.exception]


def test_the_quality_panel_says_what_the_numbers_mean(app: AppTest, project: Project) -> None:
    labelled(project)
    open_label_page(app, project)
    open_panel(app, project, "quality")
    run_until(app, lambda: any(metric.label == "New places" for metric in app.metric))
    metrics = {metric.label: metric.value for metric in app.metric}
    assert metrics["New places"].endswith(" %")
    # Every class with its numbers is in sight, whatever it is called.
    (table,) = [block.proto.body for block in app.get("html") if "label-scores" in block.proto.body]
    for label_class in project.log.classes:
        assert f"<td>{html.escape(label_class.name)}</td>" in table
    next(toggle for toggle in app.toggle if toggle.label == "Which classes are confused").set_value(True).run()
    assert not app.exception
    said = re.sub(r'<span role="tooltip">.*?</span>|<.*?>', "", " ".join(block.proto.body for block in app.get("html")))
    assert "from 20 labels in" in said
    assert steps.CONFIDENCE in steps.done(Project.open(project.folder))
    # The score of before a renaming stays in sight until the new one is there.
    project.log.edit_class(project.log.classes[0].id, name="Another name")
    app.run()
    assert _shown_errors(app) == []
    press(app, "Would more labels help?")
    run_until(app, lambda: any("labels a class the score" in caption.value for caption in app.caption))
    assert any("labels a class the score" in caption.value for caption in app.caption)


def test_groups_get_names_and_become_labels(app: AppTest, project: Project) -> None:
    open_label_page(app, project)
    open_panel(app, project, "groups")
    press(app, "Find groups")
    run_until(app, lambda: group_names(app))
    assert len(group_names(app)) == 8
    app.slider[0].set_value(4).run()
    names = group_names(app)
    assert len(names) == 4
    names[0].set_value("Wood")
    names[1].set_value("Field")
    names[2].set_value("wood")
    app.run()
    press(app, "Make labels of the named groups")
    assert not app.exception
    project.refresh()
    assert {c.name: project.log.counts[c.id] for c in project.log.classes} == {"Wood": 40, "Field": 20}
    assert "groups" in messages(app)


def group_names(app: AppTest) -> list[Any]:
    return [field for field in app.text_input if field.label.startswith("Name of group")]


def test_names_of_groups_survive_coarser_and_finer(app: AppTest, project: Project) -> None:
    open_label_page(app, project)
    open_panel(app, project, "groups")
    press(app, "Find groups")
    run_until(app, lambda: group_names(app))
    app.slider[0].set_value(2).run()
    one, other = group_names(app)
    one.set_value("Wood")
    other.set_value("Field")
    app.run()
    coarse = messages(app)["groups"][1]
    app.slider[0].set_value(9).run()
    assert not app.exception
    assert {field.value for field in group_names(app)} == {"Wood", "Field"}
    assert messages(app)["groups"][1] != coarse
    # One part gets a name of its own; the whole then has no single name, and gets it back with its parts.
    group_names(app)[8].set_value("Hedge").run()
    assert [field.value for field in group_names(app)].count("Hedge") == 1
    app.slider[0].set_value(2).run()
    assert sorted(field.value for field in group_names(app)) in (["", "Field"], ["", "Wood"])
    assert messages(app)["groups"][1] == coarse
    app.slider[0].set_value(9).run()
    assert group_names(app)[8].value == "Hedge"


def test_a_label_chosen_in_the_list_is_told_to_the_map_and_takes_a_note(app: AppTest, project: Project) -> None:
    labelled(project)
    open_label_page(app, project)
    open_panel(app, project, "notes")
    (pick,) = [box for box in app.selectbox if box.label == "Label"]
    assert len(pick.options) == 20
    assert pick.options[0] == "20. Kind 3, point"
    assert messages(app)["insight"][0]["chosen"] == {"id": None, "number": 0}
    wanted = project.log.labels[18]
    pick.select(wanted.id).run()
    assert messages(app)["insight"][0]["chosen"] == {"id": wanted.id, "number": 1}
    assert messages(app)["map"][0]["labels"][18][0] == wanted.id
    (field,) = [text for text in app.text_input if text.label == "Note"]
    field.set_value("Old oak, seen 3 May").run()
    assert not app.exception
    project.refresh()
    assert project.log.labels[18].note == "Old oak, seen 3 May"
    (pick,) = [box for box in app.selectbox if box.label == "Label"]
    assert pick.options[1] == "19. Kind 3, point: Old oak, seen 3 May"
    # The label stays chosen though its line in the list has changed.
    assert pick.value == wanted.id
    assert [text.value for text in app.text_input if text.label == "Note"] == ["Old oak, seen 3 May"]
    assert any("1 of 20 labels carry a note" in caption.value for caption in app.caption)
    project.log.remove_label(wanted.id)
    app.run()
    assert not app.exception
    (pick,) = [box for box in app.selectbox if box.label == "Label"]
    assert pick.value is None


def test_the_list_follows_what_is_chosen_on_the_map(app: AppTest, project: Project) -> None:
    labelled(project)
    extra = project.log.import_labels(
        project.log.classes, [replace(project.log.labels[0], id=f"more{n}") for n in range(notes.LISTED)]
    )
    assert extra == notes.LISTED
    open_label_page(app, project)
    open_panel(app, project, "notes")
    (pick,) = [box for box in app.selectbox if box.label == "Label"]
    # Too old for the list, but chosen on the map.
    oldest = project.log.labels[0]
    assert not any(option.startswith("1. ") for option in pick.options)
    app.session_state[f"label_note_{project.key}"] = oldest.id
    app.run()
    (pick,) = [box for box in app.selectbox if box.label == "Label"]
    assert pick.value == oldest.id
    assert pick.options[-1] == "1. Kind 0, point"
    # The map knows it already: it is not told again.
    assert messages(app)["insight"][0]["chosen"]["number"] == 0
    app.session_state[f"label_note_{project.key}"] = None
    app.run()
    (pick,) = [box for box in app.selectbox if box.label == "Label"]
    assert pick.value is None
    assert not app.exception


def test_a_late_message_of_the_list_undoes_nothing_done_on_the_map(
    app: AppTest, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled(project)
    open_label_page(app, project)
    open_panel(app, project, "notes")
    first, second = project.log.labels[:2]
    (pick,) = [box for box in app.selectbox if box.label == "Label"]
    pick.select(first.id).run()

    def run_with_a_message_sent_before(change: Any) -> None:
        sent = app._tree.get_widget_states()
        change()
        app.run()
        with monkeypatch.context() as late:
            late.setattr(app._tree, "get_widget_states", lambda: sent)
            app.run()
        app.run()

    def choose(label_id: str) -> None:
        app.session_state[f"label_note_{project.key}"] = label_id

    run_with_a_message_sent_before(lambda: project.log.edit_label(first.id, note="written on the map"))
    run_with_a_message_sent_before(lambda: choose(second.id))
    assert not app.exception
    # Chosen by the person once; the rest happened on the map.
    assert messages(app)["insight"][0]["chosen"] == {"id": second.id, "number": 1}
    assert project.log.labels[0].note == "written on the map"
    (pick,) = [box for box in app.selectbox if box.label == "Label"]
    assert pick.value == second.id


def test_classes_can_count_by_their_labels(app: AppTest, project: Project) -> None:
    labelled(project)
    open_label_page(app, project)
    open_panel(app, project, "method")
    press(app, "Which method suits these labels?")
    assert not app.exception
    said = [text.value for text in app.caption if "class means" in text.value]
    assert len(said) == 1, [text.value for text in app.caption]
    (evenly,) = [toggle for toggle in app.toggle if toggle.label == "Classes count the same"]
    assert evenly.value
    evenly.set_value(False).run()
    assert not app.exception
    assert head_choice(Project.open(project.folder)).class_weight is None
    (evenly,) = [toggle for toggle in app.toggle if toggle.label == "Classes count the same"]
    assert not evenly.value
    evenly.set_value(True).run()
    assert head_choice(Project.open(project.folder)).class_weight == "balanced"


def test_tidying_shows_a_score_and_reaches_the_export(app: AppTest, project: Project) -> None:
    labelled(project)
    open_label_page(app, project)
    open_panel(app, project, "tidy")
    press(app, "Preview")
    run_until(app, lambda: any("held-out labels before" in text.value for text in app.markdown))
    assert any("held-out labels before" in text.value for text in app.markdown)
    assert messages(app)["post_processed"][1].startswith(b"\x89PNG")
    (use,) = [toggle for toggle in app.toggle if "Export" in toggle.label]
    use.set_value(True).run()
    with_post_processing = Project.open(project.folder)
    assert with_post_processing.settings.post_processing["method"] == "majority"
    raster = EmbeddingRaster.open(with_post_processing.embeddings_path(2024))
    rough = map_project(project, raster, 2024).map.classes
    np.testing.assert_array_equal(map_project(with_post_processing, raster, 2024).map.classes, majority(rough, 3))


def test_a_pasted_tree_becomes_classes(app: AppTest, project: Project) -> None:
    open_label_page(app, project)
    open_panel(app, project, "tree")
    app.text_area[0].set_value("Woodland\n  Broadleaved\n  Coniferous\nGrassland").run()
    press(app, "Use this tree")
    assert not app.exception
    project.refresh()
    assert [c.name for c in project.log.classes] == ["Woodland", "Broadleaved", "Coniferous", "Grassland"]
    assert Project.open(project.folder).settings.schema
    press(app, "Take the tree away (classes stay)")
    assert len(project.log.classes) == 4
    app.text_area[0].set_value("Woodland\n  Oak\n  Oak").run()
    press(app, "Use this tree")
    assert not app.exception
    assert any("Oak" in error.value for error in app.error)


def test_labels_of_another_program_are_looked_at_and_taken_in(app: AppTest, project: Project) -> None:
    grid = project.grid
    assert grid is not None
    places = [(10, 10, "heath", "Heath"), (12, 40, "bog", "Bog"), (40, 12, "heath", "Wood"), (44, 44, "", "Wood")]
    lon, lat = grid.pixel_to_lonlat([p[0] for p in places], [p[1] for p in places])
    rows = [f"{y},{x},{p[2]},{p[3]}" for x, y, p in zip(lon, lat, places, strict=True)]
    content = "\n".join(["lat,lon,class,habitat", *rows, "0,0,heath,Heath"]).encode()
    open_label_page(app, project)
    open_panel(app, project, "file")
    app.file_uploader(key=f"label_bring_{project.key}").upload("survey.csv", content, "text/csv").run()
    assert not app.exception
    assert project.log.labels == []
    assert any("**5** places read, **3** of them in this region" in text.value for text in app.markdown)
    assert any("heath 2, bog 1" in text.value for text in app.markdown)
    said = " ".join(caption.value for caption in app.caption)
    assert "missing coordinates" in said
    # Another column is another set of classes.
    next(box for box in app.selectbox if box.label == "Which column is the class").select("habitat").run()
    assert any("Wood 2" in text.value for text in app.markdown)
    press(app, "Add 4 labels")
    assert not app.exception
    log = Project.open(project.folder).log
    assert sorted(c.name for c in log.classes) == ["Bog", "Heath", "Wood"]
    rows_, cols_ = grid.xy_to_pixel(*np.array([label.xy[0] for label in log.labels]).T)
    np.testing.assert_allclose(np.stack([rows_, cols_], 1), [p[:2] for p in places], atol=0.01)
    # Not twice by a second press, and one undo takes all of it back.
    assert next(button for button in app.button if button.label.startswith("Added")).disabled
    project.log.undo()
    assert Project.open(project.folder).log.labels == []
    # Whoever took it back by mistake takes it in again.
    app.run()
    press(app, "Add 4 labels")
    assert len(Project.open(project.folder).log.labels) == 4
    assert next(button for button in app.button if button.label.startswith("Added")).disabled


def test_classes_that_are_numbers_can_be_named(app: AppTest, project: Project) -> None:
    grid = project.grid
    assert grid is not None
    lon, lat = grid.pixel_to_lonlat([10, 12, 40], [10, 40, 12])
    rows = [f"{y},{x},{k}" for x, y, k in zip(lon, lat, (11, 13, 11), strict=True)]
    open_label_page(app, project)
    open_panel(app, project, "file")
    content = "\n".join(["lat,lon,class", *rows]).encode()
    app.file_uploader(key=f"label_bring_{project.key}").upload("survey.csv", content, "text/csv").run()
    next(box for box in app.text_input if box.label == "11").set_value("Heath").run()
    press(app, "Add 3 labels")
    assert not app.exception
    log = Project.open(project.folder).log
    assert {c.name: c.code for c in log.classes} == {"Heath": "11", "13": "13"}
    assert sorted(log.counts.values()) == [1, 2]


def test_points_are_drawn_from_a_map_of_classes(app: AppTest, project: Project, tmp_path: Path) -> None:
    grid = project.grid
    assert grid is not None
    classes = np.zeros(grid.shape, np.uint8)
    classes[10:20, 10:20], classes[40, 40:43] = 1, 2
    named = [LabelClass(1, "Heath", "#aa0000"), LabelClass(2, "Bog", "#0000aa")]
    write_class_map(tmp_path / "m.tif", classes, None, grid, named, Provenance())
    open_label_page(app, project)
    open_panel(app, project, "file")
    content = (tmp_path / "m.tif").read_bytes()
    app.file_uploader(key=f"label_bring_{project.key}").upload("m.tif", content, "image/tiff").run()
    assert not app.exception
    assert any("**103** pixels with a class in this region, **23** of them as points" in t.value for t in app.markdown)
    next(box for box in app.number_input if box.label == "Points of each class").set_value(5).run()
    press(app, "Add 8 labels")
    assert not app.exception
    log = Project.open(project.folder).log
    assert {c.name: c.color for c in log.classes} == {"Heath": "#aa0000", "Bog": "#0000aa"}
    assert sorted(log.counts.values()) == [3, 5]
    # As somebody else's map it stays away from borders, where the bog has no place, says so, and is held against what was labelled.
    next(toggle for toggle in app.toggle if toggle.label == "It is somebody else's map").set_value(True).run()
    assert any("Fewer than two classes" in error.value for error in app.error)
    key = next(box.key for box in app.number_input if box.label == "Away from borders, pixels")
    app.number_input(key=key).set_value(0).run()
    assert any("m.tif agrees with 100 % of 8 labels of yours" in text.value for text in app.markdown)
    assert any("carry its mistakes" in one.value for one in app.warning)
    next(field for field in app.text_input if field.label == "Bog").set_value("Mire").run()
    assert any("Heath 50, Mire 3" in text.value for text in app.markdown)
    press(app, "Add 53 labels")
    log = Project.open(project.folder).log
    assert {c.name: log.counts[c.id] for c in log.classes} == {"Heath": 55, "Bog": 3, "Mire": 3}


def test_points_are_drawn_from_an_extract_of_openstreetmap(app: AppTest, project: Project) -> None:
    grid = project.grid
    assert grid is not None
    areas = []
    for key, value, col in (("landuse", "forest", 4), ("natural", "bare_rock", 24), ("amenity", "parking", 44)):
        lon, lat = grid.pixel_to_lonlat([4, 4, 34, 34], [col, col + 15, col + 15, col])
        areas.append((key, value, list(zip(lon, lat, strict=True))))
    open_label_page(app, project)
    open_panel(app, project, "file")
    box = app.file_uploader(key=f"label_bring_{project.key}")
    box.upload("kent.osm.pbf", osm_pbf(areas), "application/octet-stream").run()
    assert not app.exception
    # Nothing asks whether it is somebody else's map; which of its tags are wanted, and what they are here, is asked.
    assert all(toggle.label != "It is somebody else's map" for toggle in app.toggle)
    tags = next(box for box in app.multiselect if box.label == "Tags to take")
    assert sorted(tags.value) == ["amenity=parking", "landuse=forest", "natural=bare_rock"]
    tags.set_value(["landuse=forest", "natural=bare_rock"]).run()
    next(field for field in app.text_input if field.label == "landuse=forest").set_value("Wood").run()
    assert any("Wood 50, Bare rock 50" in text.value for text in app.markdown)
    assert any("'amenity=parking', which the legend leaves out" in one.value for one in app.caption)
    assert any("carry its mistakes" in one.value for one in app.warning)
    press(app, "Add 100 labels")
    assert not app.exception
    log = Project.open(project.folder).log
    assert {c.name: log.counts[c.id] for c in log.classes} == {"Wood": 50, "Bare rock": 50}
    box = app.file_uploader(key=f"label_bring_{project.key}")
    box.set_value(("x.osm.pbf", b"\0\0\0\x0d no header", "application/octet-stream")).run()
    assert ["x.osm.pbf is not a readable" in error.value for error in app.error] == [True]


def test_metres_without_a_system_can_be_told_theirs(app: AppTest, project: Project) -> None:
    grid = project.grid
    assert grid is not None
    x, y = transformer(str(grid.crs), "EPSG:3035").transform(*grid.pixel_to_xy(10, 10))
    open_label_page(app, project)
    open_panel(app, project, "file")
    content = f"x,y,class\n{x},{y},heath\n".encode()
    app.file_uploader(key=f"label_bring_{project.key}").upload("survey.csv", content, "text/csv").run()
    choice = next(box for box in app.selectbox if box.label == "Coordinate system")
    assert any("**1** place read, **1** of them" in text.value for text in app.markdown)
    wrong = next(name for name in choice.options if "EPSG:27700" in name)
    choice.select(wrong).run()
    assert not app.exception
    assert any("**none** of them" in text.value for text in app.markdown)
    next(box for box in app.selectbox if box.label == "Coordinate system").select(
        next(name for name in choice.options if "EPSG:3035" in name)
    ).run()
    press(app, "Add 1 label")
    assert len(Project.open(project.folder).log.labels) == 1


def test_columns_that_guessing_does_not_find_are_asked_for(app: AppTest, project: Project) -> None:
    grid = project.grid
    assert grid is not None
    lon, lat = grid.pixel_to_lonlat([10, 12, 40, 44, 44], [10, 40, 12, 44, 44])
    kinds = ["heath", "bog", "heath", "bog", "heath"]
    rows = "".join(f"{a},{b},{k}\n" for a, b, k in zip(lon, lat, kinds, strict=True))
    open_label_page(app, project)
    open_panel(app, project, "file")
    app.file_uploader(key=f"label_bring_{project.key}").upload("s.csv", f"p,q,what\n{rows}".encode(), "text/csv").run()
    assert not app.exception
    assert "Choose the two columns" in app.error[0].value
    for title, column in (("Longitude, or x", "p"), ("Latitude, or y", "q")):
        next(box for box in app.selectbox if box.label == title).select(column).run()
    assert not app.exception
    assert not app.error
    said = " ".join(caption.value for caption in app.caption)
    # The last label lies where the fourth does and is of another class.
    assert "1 label contradicts a later one" in said
    press(app, "Add 5 labels")
    assert sorted(c.name for c in Project.open(project.folder).log.classes) == ["bog", "heath"]


def test_a_file_that_is_no_label_file_is_refused_in_words(app: AppTest, project: Project) -> None:
    open_label_page(app, project)
    open_panel(app, project, "file")
    app.file_uploader(key=f"label_bring_{project.key}").upload("survey.json", b"{", "application/json").run()
    assert not app.exception
    assert "survey.json" in app.error[0].value


@pytest.mark.soak
def test_of_a_large_region_what_is_in_sight_comes_first_and_the_rest_by_itself(
    app: AppTest, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_map, "LARGE_PIXELS", 1000)
    labelled(project)
    open_label_page(app, project)
    sent = messages(app)
    header, png = sent["map"]
    assert header["large"]
    assert png.startswith(b"\x89PNG")
    assert "rest" not in sent
    assert {c["area"] for c in header["classes"]} == {None}
    run_until(app, lambda: "rest" in messages(app))
    sent = messages(app)
    where, rest = sent["rest"]
    assert where["version"]
    assert rest.startswith(b"\x89PNG")
    assert sent["map"][0]["stamp"] != header["stamp"]
    assert sum(c["area"] for c in sent["map"][0]["classes"]) == pytest.approx((64 * 64 - 4) * 0.01, abs=0.1)
