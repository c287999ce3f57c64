"""A review of what is new: verdicts outlive a reload, stay when it is looked at again, and become labels once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tessera_core.errors import ProjectError
from tessera_core.export.zone_table import write_zone_table
from tessera_core.grid import Grid
from tessera_core.labels.sampling import label_pixels
from tessera_core.project import review
from tessera_core.project.monitor import NewPlace, NewPlaces, read_review
from tessera_core.project.project import Project
from tessera_core.provenance import Provenance
from tests.factories import make_grid

SHAPE = (20, 30)
GRID = make_grid(SHAPE)
YEARS = (2023, 2024)


def found(*boxes, left_out=0):
    """Places that are rectangles (rows, columns) with a hole in the first."""
    numbers, places = np.zeros(SHAPE, np.int32), []
    for n, (top, left, bottom, right) in enumerate(boxes, start=1):
        numbers[top:bottom, left:right] = n
        if n == 1:
            numbers[top + 1, left + 1] = 0
        pixels = int((numbers == n).sum())
        places.append(NewPlace(n, 1, 2, pixels, 90.0, 0.001, top, left))
    blank = np.zeros(SHAPE, np.uint8)
    names = {1: "Wood", 2: "Field"}
    return NewPlaces(tuple(places), numbers, blank, blank, GRID, names, YEARS, 0.05, left_out)


BOXES = ((2, 2, 6, 6), (10, 4, 12, 8), (15, 20, 17, 22))


@pytest.fixture
def project(tmp_path):
    made = Project.create(tmp_path / "kent", "Kent")
    for year in YEARS:
        made.attach_embeddings(year, tmp_path, Provenance("studio", "nano", dim=8, year=year), GRID)
    made.update(label_year=2023)
    return made


def test_verdicts_outlive_a_reload_and_another_tab(project):
    mine = review.begin(project, found(*BOXES), "prototype")
    assert (mine.open, mine.next_open(), mine.next_open(2)) == (3, 0, 0)
    review.give(project, mine, 1, "keep")
    # The other tab has not seen the first verdict, and does not take it back.
    now = review.give(project, mine, 3, "reject")
    assert now.verdicts == {1: "keep", 3: "reject"}
    again = review.load(Project.open(project.folder), YEARS)
    assert again.verdicts == now.verdicts
    assert (again.kept, again.rejected, again.open, again.next_open(0)) == (1, 1, 1, 1)
    np.testing.assert_array_equal(again.numbers, mine.numbers)
    assert (again.grid, again.names, again.places) == (GRID, mine.names, mine.places)
    assert review.give(project, again, 1, None).verdicts == {3: "reject"}
    assert "1 rejected, 2 still to look at" in review.load(project, YEARS).sentences()[0]


def test_looking_again_keeps_verdicts_of_what_is_found_again(project):
    first = review.begin(project, found(*BOXES), "prototype")
    for number in (1, 3):
        review.give(project, first, number, "keep")
    second = review.begin(project, found(BOXES[1], BOXES[2]), "ridge")
    assert second.verdicts == {2: "keep"}
    with pytest.raises(ProjectError, match="made anew"):
        review.give(project, first, 1, "keep")
    with pytest.raises(ProjectError, match="no place 9"):
        review.give(project, second, 9, "keep")
    assert len(list(project.folder.glob("new-*.npz"))) == 1
    # A damaged file is no review, and the next one takes its place.
    next(project.folder.glob("new-*.npz")).write_bytes(b"\x80\x04cposix\nsystem\n")
    assert review.load(project, YEARS) is None
    review.begin(project, found(*BOXES), "prototype")
    review.put_away(project, YEARS)
    assert review.load(project, YEARS) is None
    assert not list(project.folder.glob("new-*"))


def test_a_place_found_again_with_another_outline_keeps_its_verdict_and_its_label(project):
    first = review.begin(project, found(*BOXES), "prototype")
    review.give(project, first, 1, "keep")
    review.add_labels(project, review.give(project, first, 2, "reject"))
    there = review.later_labels(project, 2023)
    assert review.later_labels(project, 2022) == there
    assert not review.later_labels(project, 2024)
    assert [label.note for label in project.log.labels if label.id in there] == ["new in 2024: kept"]
    # Another head numbers its classes anew, and draws the lines a little elsewhere; the third place is of other classes.
    again = found((2, 2, 6, 7), (10, 4, 12, 7), (10, 8, 12, 10))
    swapped = replace(
        again, names={2: "Wood", 1: "Field"}, places=tuple(replace(p, was=2, now=1) for p in again.places)
    )
    second = review.begin(project, swapped, "ridge")
    assert second.verdicts == {1: "keep", 2: "reject"}
    second = review.load(project, YEARS)
    assert review.waiting(project, second)[1] == []
    # And a third time, from the second.
    assert review.begin(project, found(*BOXES), "prototype").verdicts == {1: "keep", 2: "reject"}
    assert review.waiting(project, review.load(project, YEARS))[1] == []
    # The same ground, said to be something else now, is another question.
    other = replace(again, names={1: "Wood", 2: "Water"})
    assert review.begin(project, other, "crops").verdicts == {}


def test_halves_of_a_judged_place_and_another_grid_inherit_nothing_and_a_renamed_class_stays(project):
    first = review.begin(project, found(BOXES[0], (10, 4, 12, 8)), "ridge")
    review.give(project, first, 2, "keep")
    renamed = replace(found(BOXES[0], (10, 4, 12, 8)), names={1: "Woodland", 2: "Field"})
    assert review.begin(project, renamed, "ridge").verdicts == {2: "keep"}
    shifted = GRID.transform @ GRID.transform.translation(1, 0)
    assert review._again(review.load(project, YEARS), replace(first, grid=replace(GRID, transform=shifted))) == {}
    halves = replace(found(BOXES[0], (10, 4, 12, 6), (10, 6, 12, 8)), names=renamed.names)
    assert review.begin(project, halves, "ridge").verdicts == {}


def test_a_review_of_a_region_that_lies_nowhere_on_earth_is_kept(project):
    review.begin(project, replace(found(*BOXES), grid=Grid.local(SHAPE)), "ridge")
    assert review.load(project, YEARS).grid.crs is None


def test_verdicts_become_labels_of_the_later_year_once(project, tmp_path):
    project.log.add_class("wood", "#00aa00")
    seen = review.begin(project, found(*BOXES), "prototype")
    seen = review.give(project, review.give(project, seen, 1, "keep"), 2, "reject")
    assert review.add_labels(project, seen) == 2
    assert review.add_labels(project, seen) == 0
    assert project.settings.label_year == 2024
    log = project.log
    # The class that was there already, whatever its case.
    assert [c.name for c in log.classes] == ["wood", "Field"]
    pixels = label_pixels(log.labels, GRID)
    said = {(int(r), int(c)): log.label_class(int(k)).name for r, c, k in zip(*pixels[:3], strict=True)}
    wanted = {(int(r), int(c)): "Field" for r, c in np.argwhere(seen.numbers == 1)}
    wanted |= {(int(r), int(c)): "wood" for r, c in np.argwhere(seen.numbers == 2)}
    assert said == wanted
    # The file goes through the other door to the same verdicts.

    read = read_review(write_zone_table(tmp_path / "list.gpkg", seen.table()))
    assert (read.kept, read.rejected, read.open) == (1, 1, 1)
    # Its labels, which do not say their year, are of that of all labels.
    of_list = Project.create(tmp_path / "listed", "Listed")
    kept = next(label for label in log.labels if label.note == "new in 2024: kept")
    of_list.log.import_labels(log.classes, [replace(kept, note=read.labels.rows[0][2])])
    assert [len(review.later_labels(of_list, year)) for year in YEARS] == [1, 1]
    of_list.update(label_year=2024)
    assert [len(review.later_labels(of_list, year)) for year in YEARS] == [1, 0]
    seen = review.give(project, seen, 3, "keep")
    assert review.add_labels(project, seen) == 1
