"""Many projects at once on one server: each is shown its own map, also copies of one project with equally many labels."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from tessera_core.project.classify import head_choice
from tessera_core.project.project import Project
from tessera_core.raster import EmbeddingRaster
from tessera_core.render.display import DisplayGrid
from tessera_core.session import payload
from tessera_core.ui.label import page
from tests.servers import APP_SECONDS

CLASSES = ("Wood", "Water")


def copy_of(project: Project, name: str) -> Project:
    """The folder copied as people copy folders: all inside is the same."""
    folder = project.folder.with_name(name)
    shutil.copytree(project.folder, folder)
    return Project.open(folder)


def click(project: Project, class_id: int, row: float, col: float) -> None:
    assert project.grid is not None
    x, y = project.grid.pixel_to_xy(row, col)
    project.log.add("point", class_id, [(float(x), float(y))])


def on_label_page(root: Path, project: Project) -> AppTest:
    app = AppTest.from_file(str(root / "app.py"), default_timeout=APP_SECONDS)
    app.query_params["project"] = project.folder.name
    app.run()
    return app.switch_page("pages/label.py").run()


def shown(app: AppTest) -> tuple[dict, bytes]:
    assert not app.exception
    sent = [payload.unpack(element.proto.bytes) for element in app.get("bidi_component") if element.proto.bytes]
    return next((header, png) for header, png in sent if header["kind"] == "map")


def true_map(project: Project) -> bytes:
    """The picture of the project's labels, computed here from nothing."""
    from tessera_core.heads import Scene
    from tessera_core.project.classify import fit_labels

    again = Project.open(project.folder)
    raster = EmbeddingRaster.open(again.embeddings_path(2024))
    made = Scene(raster).predict(fit_labels(again.log.labels, raster, head_choice(again)))
    return payload.overlay(made.classes, None, again.log.classes, DisplayGrid(raster.grid))[0]


@pytest.mark.usefixtures("app")
def test_copies_of_a_project_with_equally_many_labels_each_show_their_own_map(project: Project, root: Path) -> None:
    for name in CLASSES:
        project.log.add_class(name)
    students = [copy_of(project, name) for name in ("student 1", "student 2")]
    for student, places in zip(students, (((10, 10), (50, 50)), ((50, 10), (10, 50))), strict=True):
        for class_id, place in enumerate(places, 1):
            click(student, class_id, *place)
    assert len({student.id for student in students}) == 1
    assert students[0].log.version == students[1].log.version
    apps = [on_label_page(root, student) for student in students]
    maps = [shown(app)[1] for app in apps]
    assert maps == [true_map(student) for student in students]
    assert maps[0] != maps[1]
    # The finished map of each, too: the page Export keeps it by project.
    areas = []
    for app, student in zip(apps, students, strict=True):
        app.switch_page("pages/export.py").run()
        assert not app.exception
        made = next(frame.value for frame in app.dataframe if "Class" in frame.value)
        areas.append({row[0]: tuple(map(str, row[1:])) for row in made.itertuples(index=False)})
        assert set(areas[-1]) >= set(CLASSES), student.name
    assert areas[0] != areas[1]


@pytest.mark.usefixtures("app")
def test_the_picture_follows_each_click_however_many_projects_are_open(project: Project, root: Path) -> None:
    for name in CLASSES:
        project.log.add_class(name)
    for class_id, place in enumerate(((10, 10), (50, 50)), 1):
        click(project, class_id, *place)
    projects = [copy_of(project, f"project {n}") for n in range(5)]
    apps = [on_label_page(root, one) for one in projects]
    drawn = {shown(app)[0]["map"]["v"]: shown(app)[1] for app in apps}
    assert len(drawn) == len(apps)
    sessions = len(page._sessions)
    places = np.random.default_rng(0).integers(3, 60, (2, len(apps), 2))
    for round_ in places:
        for app, one, place in zip(apps, projects, round_, strict=True):
            click(one, 1, *place)
            app.run()
            header, png = shown(app)
            assert header["version"] == one.log.version
            assert header["map"]["v"] not in drawn
            drawn[header["map"]["v"]] = png
    assert [drawn[shown(app)[0]["map"]["v"]] for app in apps] == [true_map(one) for one in projects]
    # Nobody's desk was made again, and what is sent names no folder of this computer.
    assert len(page._sessions) == sessions
    assert not any(str(one.folder.parent) in str(shown(app)[0]) for app, one in zip(apps, projects, strict=True))
