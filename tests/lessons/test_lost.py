"""Clicks that teach nothing do not count in a lesson, and one sentence says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tessera_core.lessons import library as lessons
from tessera_core.lessons import progress
from tessera_core.lessons.facts import facts_of, label_count, lost_sentence
from tessera_core.lessons.lost import COVERED, NO_DATA, TWICE, Lost, lost_labels
from tessera_core.project import library
from tessera_core.project.project import Project
from tests.factories import make_grid, make_raster

LESSON = lessons.shelf().lessons["first-map"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """20 x 20 pixels, the first five rows without data, and the classes Water (1) and Wood (2)."""
    values = np.random.default_rng(0).normal(size=(20, 20, 8))
    make_raster(values, make_grid((20, 20)), empty=np.s_[:5]).save(tmp_path / "made")
    project = library.start(library.identify(str(tmp_path / "made")), "Place", tmp_path / "project")
    project.log.add_class("Water")
    project.log.add_class("Wood")
    return project


def click(project: Project, class_id: int | None, row: int, col: int, kind: str = "point", radius: float = 0.0) -> None:
    assert project.grid is not None
    x, y = project.grid.pixel_to_xy([row + 0.5], [col + 0.5])
    project.log.add(kind, class_id, [(float(x[0]), float(y[0]))], radius)


def test_what_is_lost_and_why(project: Project) -> None:
    for class_id, row, col in ((1, 2, 2), (1, 10, 10), (1, 10, 10), (1, 12, 3), (2, 12, 3), (1, 15, 15), (2, 16, 2)):
        click(project, class_id, row, col)
    click(project, None, 15, 15, "erase", 5.0)
    # A stroke of one's own class takes nothing away.
    click(project, 2, 16, 2, "brush", 30.0)
    assert lost_labels(project) == (
        Lost(0, 1, NO_DATA, 0, 0),
        Lost(1, 1, TWICE, 0, 2),
        Lost(3, 1, COVERED, 2, 4),
        Lost(5, 1, COVERED, 0, 5),
    )
    # Seven clicks of a class and two strokes were made; of two nothing was ever to be learnt.
    assert label_count(project) == 9
    assert facts_of(project, LESSON, progress.begin(LESSON, 9)).labels_before == sum(project.log.counts.values()) - 2
    for _ in range(3):
        project.log.undo()
    project.log.undo()
    assert [lost.why for lost in lost_labels(project)] == [NO_DATA, TWICE, COVERED]


def test_a_step_waits_for_labels_that_teach_and_says_what_became_of_the_others(project: Project) -> None:
    project.update(lesson=progress.to_json(progress.begin(LESSON)))
    known = progress.jump(LESSON, progress.begin(LESSON), "water", 0)
    step = LESSON.step("water")
    assert step is not None

    def now() -> tuple[bool, str]:
        met = step.check is not None and step.check.met(facts_of(project, LESSON, known), LESSON.about(step))
        return met, lost_sentence(project, LESSON, step, known.labels)

    click(project, 1, 8, 8)
    assert now() == (False, "")
    click(project, 1, 1, 1)
    assert now()[1].startswith("A label of Water lies where there is no data")
    click(project, 1, 8, 8)
    assert now() == (
        False,
        "Two labels of Water lie on the same square: they count as one. Click another place, far from those.",
    )
    click(project, 1, 14, 14)
    click(project, 2, 8, 8)
    met, said = now()
    assert not met
    assert "lies under a later one of Wood" in said
    assert "Undo the later one" in said
    click(project, 1, 14, 2)
    # Undo would take away the good one now.
    assert now()[1].endswith("no longer counts. Click another place of Water.")
    click(project, 1, 10, 16)
    assert now()[0]


@pytest.mark.parametrize("erased", [False, True])
def test_only_what_happens_in_a_step_is_told_and_counted_in_it(project: Project, erased: bool) -> None:
    for row in (6, 7, 7, 8):
        click(project, 1, row, 3)
    if erased:
        click(project, None, 19, 19, "erase", 5.0)
    click(project, 1, 1, 1)
    known = progress.jump(LESSON, progress.begin(LESSON), "next", label_count(project))
    step = LESSON.step("next")
    assert step is not None

    def now() -> tuple[int, str]:
        facts = facts_of(project, LESSON, known)
        added = facts.labels_now + facts.corrected - facts.labels_before
        return added, lost_sentence(project, LESSON, step, known.labels)

    assert now() == (0, "")
    click(project, 1, 7, 3)
    assert now()[0] == 0
    assert "same square" in now()[1]
    click(project, 1, 2, 2)
    assert now()[0] == 0
    assert "or Z" in now()[1]
    click(project, 2, 12, 12)
    assert now()[0] == 1
    assert now()[1].endswith("does not count. Click another place.")


def test_a_correction_counts_as_a_label_that_was_added(project: Project) -> None:
    click(project, 1, 8, 8)
    known = progress.jump(LESSON, progress.begin(LESSON), "next", label_count(project))
    step = LESSON.step("next")
    assert step is not None
    click(project, 2, 8, 8)
    facts = facts_of(project, LESSON, known)
    assert facts.labels_now + facts.corrected - facts.labels_before == 1
    assert lost_sentence(project, LESSON, step, known.labels) == ""
    click(project, 2, 0, 0)
    assert "no data" in lost_sentence(project, LESSON, step, known.labels)
    facts = facts_of(project, LESSON, known)
    assert facts.labels_now + facts.corrected - facts.labels_before == 1
