"""Several people, or several tabs, on one server in a real browser: each sees the map of their own labels, click by click."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest

from tessera_core.bench.click import synthetic_raster
from tessera_core.project.project import Project
from tests.browser.map_page import MapPage, expected_picture
from tests.browser.studio import VIEW

pytestmark = [pytest.mark.browser, pytest.mark.soak]

SIZE = 96
CLASSES = (("Forest", "#117733"), ("Water", "#0072b2"), ("Arable", "#e69f00"))


@pytest.fixture(scope="module")
def first(server: Any) -> Project:
    """A project with classes and a label of two of them; the others are copies of its folder."""
    raster, truth = synthetic_raster(SIZE, seed=2)
    raster.save(server.home / "rasters")
    project = Project.create(server.home / "projects" / "first", "Wood")
    project.attach_embeddings(2024, server.home / "rasters", raster.provenance, raster.grid)
    for class_id, (name, colour) in enumerate(CLASSES, 1):
        project.log.add_class(name, colour)
        rows, cols = np.nonzero(truth == class_id)
        x, y = raster.grid.pixel_to_xy(rows[0] + 0.5, cols[0] + 0.5)
        project.log.add("point", class_id, [(float(x), float(y))])
    return project


def copy_of(project: Project, name: str) -> Project:
    folder = project.folder.with_name(name)
    shutil.copytree(project.folder, folder)
    return Project.open(folder)


def is_shown(page: MapPage, project: Project) -> None:
    """The map on the screen is the one of the labels on disk, computed here."""
    page.until(
        lambda: page.has("classes") and np.array_equal(page.class_map(), expected_picture(page.log(), project)),
        f"the picture of {project.folder.name} is not that of its labels",
    )


def test_four_tabs_with_four_projects_each_follow_their_clicks(chromium: Any, server: Any, first: Project) -> None:
    projects = [copy_of(first, f"tab-{n}") for n in range(4)]
    pages = [MapPage(chromium.new_context(viewport=VIEW), server.url, project.folder, own=True) for project in projects]
    drawn: list[set[bytes]] = [{page.class_map().tobytes()} for page in pages]
    for number in range(1, 4):
        for place, (page, project) in enumerate(zip(pages, projects, strict=True)):
            page.page.bring_to_front()
            page.page.keyboard.press(str(number))
            page.click(0.36 + 0.07 * number + 0.02 * place, 0.3 + 0.1 * place + 0.03 * number)
            page.acked(number)
            is_shown(page, project)
            drawn[place].add(page.class_map().tobytes())
    # No picture stood still, and no two people looked at the same one.
    assert [len(pictures) for pictures in drawn] == [4, 4, 4, 4]
    assert len({page.class_map().tobytes() for page in pages}) == 4
    for page in pages:
        page.close()


def test_two_students_with_copies_of_one_project_see_their_own_maps(chromium: Any, server: Any, first: Project) -> None:
    # Copied as a teacher hands it out: whatever the file says of itself is equal.
    students = [copy_of(first, f"student-{n}") for n in range(2)]
    assert students[0].id == students[1].id
    pages = [MapPage(chromium.new_context(viewport=VIEW), server.url, student.folder, own=True) for student in students]
    for (page, key), (x, y) in zip(zip(pages, "12", strict=True), ((0.42, 0.4), (0.55, 0.6)), strict=True):
        page.page.bring_to_front()
        page.page.keyboard.press(key)
        page.click(x, y)
        page.acked(1)
    for page, student in zip(pages, students, strict=True):
        is_shown(page, student)
    assert not np.array_equal(pages[0].class_map(), pages[1].class_map())
    for page in pages:
        page.close()
