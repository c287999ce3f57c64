"""Compare, What is new: places are found by the labels of the earlier year, kept or rejected, after a reload too, and labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from tessera_core.labels.model import Label, LabelClass
from tessera_core.project import library, review
from tessera_core.project.monitor import NewPlace, NewPlaces
from tessera_core.project.project import Project
from tests.analysis.two_years import two_years
from tests.waiting import run_until, shown


def press(app: AppTest, text: str) -> AppTest:
    return next(button for button in app.button if button.label == text).click().run()


def open_part(app: AppTest, project: Project) -> None:
    app.query_params["project"] = project.folder.name
    app.session_state["compare_part"] = "new"
    app.run()
    app.switch_page("pages/compare.py").run()
    assert not app.exception


def test_a_review_that_was_begun_goes_on(app: AppTest, project: Project) -> None:
    grid = project.grid
    assert grid is not None
    numbers = np.zeros(grid.shape, np.int32)
    numbers[4:8, 4:8], numbers[20:23, 30:33] = 1, 2
    places = (NewPlace(1, 1, 2, 16, 90.0, 0.001, 5, 5), NewPlace(2, 2, 1, 9, 80.0, 0.001, 21, 31))
    blank, names = np.zeros(grid.shape, np.uint8), {1: "Wood", 2: "Field"}
    found = NewPlaces(places, numbers, blank, blank, grid, names, (2023, 2024), 0.05, 0)
    review.give(project, review.begin(project, found, "crops"), 1, "reject")
    open_part(app, project)
    assert "**Place 2 of 2: Field → Wood** · 0.1 ha, 80 % sure" in shown(app)
    press(app, "Keep: it is new")
    assert not app.exception
    now = review.load(project, (2023, 2024))
    assert now is not None
    assert now.verdicts == {1: "reject", 2: "keep"}


@pytest.mark.soak
def test_what_is_new_is_reviewed_and_becomes_labels(app: AppTest, home: Path, tmp_path: Path) -> None:
    made = two_years(0, share=0.25, weather=2.0, size=96)
    for raster in (made.first, made.second):
        raster.save(tmp_path / "fields" / str(raster.provenance.year))
    project = library.start(library.identify(str(tmp_path / "fields")), "Fields")
    kinds = np.unique(made.covers)
    classes = [LabelClass(n, f"Kind {n}", f"#{20 * n:02x}8080") for n in range(1, len(kinds) + 1)]
    labels = []
    for row in range(6, 96, 6):
        for col in range(6, 96, 6):
            x, y = made.first.grid.pixel_to_xy(row + 0.5, col + 0.5)
            kind = int(np.searchsorted(kinds, made.covers[row, col])) + 1
            labels.append(Label(f"l{row}-{col}", kind, "point", ((float(x), float(y)),)))
    project.log.import_labels(classes, labels)
    project.update(label_year=2023)

    open_part(app, project)
    press(app, "Find what is new")
    run_until(app, lambda: "**Place 1 of " in shown(app))
    found = review.load(project, (2023, 2024))
    assert found is not None
    assert len(found.places) > 2
    press(app, "Keep: it is new")
    assert f"**Place 2 of {len(found.places)}: " in shown(app)
    press(app, "Reject: as it was")
    # Whoever comes back finds their verdicts, and goes on where one is missing.
    del app.session_state[f"compare_new_place_{project.key}"]
    open_part(app, project)
    assert f"**Place 3 of {len(found.places)}: " in shown(app)
    assert not app.error
    press(app, "Back")
    assert "[rejected]" in shown(app)
    press(app, "Take it back")
    press(app, "Make 1 label of the verdicts")
    project = type(project).open(project.folder)
    assert [label.note for label in project.log.labels if label.note] == ["new in 2024: kept"]
    assert project.settings.label_year == 2024
    assert any(button.label == "All verdicts are labels" for button in app.button)
