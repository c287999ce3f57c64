"""The project of a lesson, what the studio does for its learner, and the truth beside the map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tessera_core.errors import LabelError
from tessera_core.labels.model import LabelClass
from tessera_core.lessons import library as lessons
from tessera_core.lessons import progress, solutions
from tessera_core.lessons.facts import facts_of, label_count
from tessera_core.lessons.model import Lesson
from tessera_core.lessons.truth import Truth, compare, truth_of
from tessera_core.project import library, validate
from tessera_core.project.project import Project


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lessons")


@pytest.fixture
def demo(home: Path, monkeypatch: pytest.MonkeyPatch) -> library.DemoRegion:
    monkeypatch.setenv("TESSERA_HOME", str(home))
    monkeypatch.delenv("TESSERA_HOSTED", raising=False)
    monkeypatch.delenv("TESSERA_DEMO_SIZE", raising=False)
    demo = library.take_demo()
    assert demo is not None
    return demo


SHIPPED = [*lessons.shelf().lessons.values(), *lessons.shelf().starts.values()]
ONE_YEAR = [lesson for lesson in SHIPPED if lesson.years == 1 and not lesson.series]


def gone_through(lesson: Lesson, project: Project) -> None:
    """Have the studio do every step, and answer what asks for an opinion."""
    for _ in lesson.steps:
        known = project.settings.lesson
        assert known is not None
        known = progress.look(lesson, known, facts_of(project, lesson, known))
        here = progress.place(lesson, known)
        if here.last and here.done:
            break
        if not here.done and here.step.question is not None and not here.step.solution:
            known = progress.answer(lesson, known, here.step.id, here.step.question.right or 0)
            known = progress.look(lesson, known, facts_of(project, lesson, known))
        elif not here.done:
            assert lessons.can_solve(project, lesson, known), here.step.id
            known, _page = lessons.solve(project, lesson, known)
            assert here.step.id in known.helped
        assert progress.place(lesson, known).done, f"the solution of {here.step.id} does not meet its task"
        at = known if here.last else progress.forward(lesson, known, here.step.id, label_count(project))
        lessons.save(project, at)
    known = Project.open(project.folder).settings.lesson
    assert known is not None
    assert progress.finished(lesson, known)


@pytest.mark.parametrize("lesson", ONE_YEAR, ids=lambda lesson: lesson.id)
def test_the_studio_can_do_each_lesson_from_end_to_end(lesson: Lesson, demo: library.DemoRegion) -> None:
    project = lessons.begin(lesson, demo)
    assert project.name.startswith(lessons.project_name(lesson))
    gone_through(lesson, project)
    if lesson.id == "how-good":
        # Twelve places have been in every class of the map, so that something follows from them.
        checked = validate.load(project, max(project.years))
        assert checked is not None
        assert checked.seen == 12 < len(checked.sample)
        assert checked.assess().overall.low < checked.assess().overall.high


@pytest.mark.soak
def test_the_studio_can_do_the_lessons_that_want_the_whole_demo_region(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path))
    # The least size that has a burned place, of which one of them speaks.
    monkeypatch.setenv("TESSERA_DEMO_SIZE", "128")
    demo = library.make_demo(lambda done, total, message: None, lambda: False)
    for lesson in SHIPPED:
        if lesson not in ONE_YEAR:
            gone_through(lesson, lessons.begin(lesson, demo))


def test_a_lesson_has_a_project_of_its_own_which_the_demo_region_does_not_go_on_in(demo: library.DemoRegion) -> None:
    mine = library.start_demo(demo, fresh=True)
    lesson = lessons.begin(ONE_YEAR[0], demo)
    assert library.start_demo(demo).id == mine.id
    assert lesson.id not in {Project.open(entry.folder).id for entry in library.demo_projects(demo)}
    again = lessons.begin(ONE_YEAR[0], demo)
    assert again.name != lesson.name


def test_progress_travels_in_the_projects_file(demo: library.DemoRegion, tmp_path: Path) -> None:
    project = lessons.begin(ONE_YEAR[0], demo)
    lesson = lessons.lesson_of(project)
    assert lesson is not None
    known = progress.forward(
        lesson, project.settings.lesson or progress.begin(lesson), lesson.steps[0].id, 0, skip=True
    )
    lessons.save(project, known)
    copy = Project.import_file(project.export_file(tmp_path / "lesson.tessera"), tmp_path / "copy")
    assert copy.settings.lesson == known
    lessons.leave(copy)
    assert lessons.lesson_of(copy) is None
    lessons.take_up(copy)
    assert lessons.lesson_of(copy) is lesson
    lessons.restart(copy, lesson)
    assert copy.settings.lesson == progress.begin(lesson)


def test_places_that_the_studio_labels_are_true_and_far_from_each_other(demo: library.DemoRegion) -> None:
    lesson = lessons.shelf().lessons["first-map"]
    project = lessons.begin(lesson, demo)
    truth = truth_of(project, max(project.years), lesson.legend)
    assert truth is not None
    # Every class of the truth stands under one name.
    assert (truth.classes > 0).all()
    names = lesson.words().names
    assert solutions.label(project, truth, names, ["water", "town"], 3) == 6
    assert solutions.label(project, truth, names, ["water", "town"], 3) == 0
    assert solutions.label(project, truth, names, ["water"], 2, more=True) == 2
    places = []
    for one in project.log.labels:
        rows, cols = truth.grid.xy_to_pixel([one.xy[0][0]], [one.xy[0][1]])
        row, col = int(rows[0]), int(cols[0])
        name = project.log.label_class(one.class_id).name
        assert names[truth.names[truth.classes[row, col] - 1]] == name
        places.append((row, col))
    distances = [np.hypot(a[0] - b[0], a[1] - b[1]) for n, a in enumerate(places) for b in places[:n]]
    assert min(distances) >= 6


def test_where_there_is_no_further_place_it_is_said(demo: library.DemoRegion) -> None:
    lesson = lessons.shelf().lessons["first-map"]
    project = lessons.begin(lesson, demo)
    truth = lessons.truth_for(project, lesson)
    assert truth is not None
    classes = np.zeros_like(truth.classes)
    classes[5:8, 5:8] = 1
    with pytest.raises(LabelError, match="no further place of Water"):
        solutions.label(project, Truth(truth.names, classes, truth.grid), lesson.words().names, ["water"], 2)


def test_a_map_is_compared_pixel_by_pixel(demo: library.DemoRegion) -> None:
    truth = Truth(("water", "wood"), np.array([[1, 1, 2, 2, 0]], np.uint8), lessons_grid(demo))
    known = [LabelClass(3, "WATER", "#0000ff"), LabelClass(4, "Wald", "#00ff00"), LabelClass(9, "Other", "#ff0000")]
    spellings = {"water": frozenset({"water"}), "wood": frozenset({"wood", "wald"})}
    found = compare(truth, np.array([[3, 4, 4, 9, 3]], np.uint8), known, spellings)
    assert found.right == 0.5
    assert found.shares == {"water": 0.5, "wood": 0.5}
    assert found.wrong.tolist() == [[False, True, False, True, False]]


def lessons_grid(demo: library.DemoRegion) -> object:
    from tessera_core.sources.local.open import open_embeddings

    return open_embeddings(next(iter(demo.ready.values()))).grid


def test_only_the_demo_region_has_a_truth(tmp_path: Path) -> None:
    from tests.factories import landscape

    landscape(32).save(tmp_path / "made")
    project = library.start(library.identify(str(tmp_path / "made")), "Other", tmp_path / "project")
    assert truth_of(project, max(project.embeddings, key=lambda year: year or 0), {"water": ("Water",)}) is None


def test_a_start_brings_its_classes_and_leaves_those_that_are_there(demo: library.DemoRegion) -> None:
    start = lessons.shelf().starts["wetland"]
    project = library.start_demo(demo, fresh=True)
    mine = project.log.add_class("dry GROUND", "#123456")
    lessons.begin_in(project, start)
    known = {one.name: one.color for one in project.log.classes}
    assert known == {"dry GROUND": "#123456", "Water and wet ground": start.colours["wet"]}
    assert project.log.classes[0].id == mine.id
    assert lessons.lesson_of(project) == start
    # A teacher's colours are checked, too.
    assert all(one.colours.keys() in (set(), set(one.names)) for one in SHIPPED)


def test_the_studios_lessons_lead_from_one_to_the_next(demo: library.DemoRegion) -> None:
    shelf = lessons.shelf()
    shipped = [one for one in shelf.lessons.values() if not lessons.is_own(one)]
    assert [lessons.following(one) for one in shipped] == [*shipped[1:], None]
    assert all(lessons.following(one) is None for one in shelf.starts.values())
    # While one leads, the pages keep their own advice to themselves; put away, it comes back.
    project = lessons.begin(shipped[2], demo)
    assert lessons.guides(project)
    lessons.leave(project)
    assert not lessons.guides(project)
