"""The page Label without a browser: what it sends, and what a message of the browser does."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from tessera_core.project import Project
from tessera_core.ui.label_map import payload


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
    # Nothing to load from elsewhere unless somebody asks for a base map.
    assert "http" not in str({key: value for key, value in header.items() if key != "base"})


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

    head = next(box for box in app.selectbox if "How the map" in box.label)
    head.select("prototype").run()
    assert not app.exception
    again, _ = messages(app)["map"]
    assert again["map"]["v"] != header["map"]["v"]
    assert Project.open(project.folder).settings["head"] == "prototype"

    (year,) = [group for group in app.get("button_group") if group.proto.label == "Year"]
    assert [option.content for option in year.proto.options] == ["2023", "2024"]
    project.update(year=2023)
    app.run()
    other, _ = messages(app)["map"]
    assert other["subtitle"].startswith("2023")
    assert other["scene"] != again["scene"]
    assert other["place"] == again["place"]
    assert other["labels"] == again["labels"]
