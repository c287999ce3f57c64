"""A class without a server: what goes out, what comes back, and that it is what the learners saw."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tessera_core.assess.designs import draw
from tessera_core.classroom.byfiles import class_pack, files_in, hand_in, read_files
from tessera_core.classroom.judging import simulated_truth
from tessera_core.classroom.matching import match_classes
from tessera_core.classroom.together import Together, together, write_together, year_of
from tessera_core.classroom.work import learner_of, read_work
from tessera_core.errors import InputError, ProjectError
from tessera_core.gate import open_raster
from tessera_core.hosting import acting_for
from tessera_core.labels.model import LabelClass
from tessera_core.project import library, validate
from tessera_core.project.classify import map_project, score_labels
from tessera_core.project.pack import open_pack
from tessera_core.project.project import Project
from tessera_core.project.room import owned
from tessera_core.raster import EmbeddingRaster
from tessera_core.sources.local.open import open_embeddings
from tests.classroom.classes import label_quarters, learners, template
from tests.factories import landscape, make_grid, make_project, two_halves

PEOPLE = ("Ana", "Bo", "Cy")


@pytest.fixture
def teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    return template(tmp_path / "teacher")


def raster_of(project: Project) -> EmbeddingRaster:
    return open_embeddings(project.embeddings_path(year_of(project)))


def same(first: Together, second: Together) -> None:
    assert first.consensus is not None
    assert second.consensus is not None
    assert first.pooled is not None
    assert second.pooled is not None
    np.testing.assert_array_equal(first.consensus.classes, second.consensus.classes)
    np.testing.assert_array_equal(first.consensus.share, second.consensus.share)
    np.testing.assert_array_equal(first.pooled.classes, second.pooled.classes)
    assert first.consensus.weights == second.consensus.weights
    assert first.judged == second.judged
    assert first.legend.classes == second.legend.classes


def test_by_files_is_what_it_is_on_a_server(teacher: Project, tmp_path: Path) -> None:
    raster, projects = raster_of(teacher), learners(teacher, tmp_path, PEOPLE)
    here = [read_work(project, raster) for project in projects]
    out = tmp_path / "in"
    out.mkdir()
    for project in projects:
        hand_in(project, out, learner_of(project))
    handed = read_files(files_in(out), raster, teacher.id)
    assert not (handed.failed)
    assert not (handed.replaced)
    assert not (handed.remarks)
    assert [work.learner for work in handed.works] == list(PEOPLE)
    for project, mine, theirs in zip(projects, here, handed.works, strict=True):
        made = map_project(project, raster, raster.provenance.year)
        np.testing.assert_array_equal(mine.map, made.map.classes)
        np.testing.assert_array_equal(theirs.map, made.map.classes)
        score = score_labels(project.log.labels, project.log.classes, raster)
        assert mine.accuracy == theirs.accuracy == score.accuracy
        assert mine.labels == theirs.labels
        assert theirs.origin == teacher.id
        assert theirs.project == project.id
    first, second = together(here, teacher, raster), together(handed.works[::-1], teacher, raster)
    same(first, second)
    assert first.consensus is not None
    assert (first.consensus.classes == landscape_kinds(raster)).mean() > 0.95
    files = write_together(first, tmp_path / "maps")
    with open_raster(files[0]) as file:
        np.testing.assert_array_equal(file.read(1), first.consensus.classes)
        assert file.tags(1)["class_1"] == "Water"


def landscape_kinds(raster: EmbeddingRaster) -> np.ndarray:
    rows, cols = np.mgrid[: raster.shape[0], : raster.shape[1]] * 2 // raster.shape[0]
    return np.where(raster.valid(), rows * 2 + cols + 1, 0)


def test_the_pack_has_classes_tasks_and_places_but_neither_labels_nor_answers(teacher: Project, tmp_path: Path) -> None:
    label_quarters(teacher, 3, 0)
    teacher.log.remove_class(teacher.log.add_class("Moor").id)
    classes = map_project(teacher, raster_of(teacher), 2023).map.classes
    sample = (
        validate.Validation(2023, raster_of(teacher).grid, draw(classes, 40, seed=1))
        .answer(0, 2, "a note", validate.respond("sure", interpreter="Teacher"))
        .answer(1, 0)
    )
    validate.save(teacher, sample)
    teacher.update(learner="Teacher", canvas="rgb")
    pack = class_pack(teacher, tmp_path / "out", name="Fen class", tasks=["Map it."], classes=["Reed", "water"])
    (mine,) = open_pack(pack, into=tmp_path / "learners")
    classes_of_mine = [(one.id, one.name) for one in mine.log.classes]
    assert [name for _, name in classes_of_mine] == ["Water", "Wood", "Fields", "Town", "Reed"]
    assert [id_ for id_, _ in classes_of_mine][:4] == [one.id for one in teacher.log.classes]
    while mine.log.undo():
        assert not mine.log.labels
    assert (mine.name, mine.settings.class_name, mine.settings.class_tasks) == ("Fen class", "Fen class", ("Map it.",))
    assert mine.settings.learner is None
    assert mine.settings.canvas == "rgb"
    places = validate.load(mine, 2023)
    assert places is not None
    assert places.seen == 0
    assert places.sample.notes[0] == ""
    assert not places.responses
    np.testing.assert_array_equal(places.sample.rows, sample.sample.rows)
    assert len(teacher.log.labels) == 12
    assert teacher.settings.learner == "Teacher"
    assert mine.origin == teacher.id
    (with_labels,) = open_pack(class_pack(teacher, tmp_path / "all", with_labels=True), into=tmp_path / "learners")
    assert with_labels.log.labels == teacher.log.labels


def test_what_strangers_hand_in_is_a_sentence_each_and_the_rest_goes_on(teacher: Project, tmp_path: Path) -> None:
    raster, (ana, bo) = raster_of(teacher), learners(teacher, tmp_path, ("Ana", "Bo"))
    out = tmp_path / "in"
    (out / "group 2").mkdir(parents=True)
    hand_in(ana, out / "ana.tessera", "Ana")
    label_quarters(ana, 1, 5)
    hand_in(ana, out / "ana (1).tessera", "Ana")
    hand_in(bo, out / "group 2" / "b.tessera", "ana")
    elsewhere = make_project(tmp_path / "elsewhere", two_halves(make_grid((20, 20), 100_000, 5_000_000), 2023))
    elsewhere.export_file(out / "elsewhere.tessera")
    others = make_project(tmp_path / "others", replace_dataset(landscape(48, dim=16)), classes=("Water", "Wood"))
    others.export_file(out / "others.tessera")
    Project.create(tmp_path / "empty").export_file(out / "empty.tessera")
    (out / "cut.tessera").write_bytes((out / "ana.tessera").read_bytes()[:400])
    (out / "notes.txt").write_text("not a project")
    (out / ".hidden").write_text("nobody looks")
    with zipfile.ZipFile(out / "zip.tessera", "w") as file:
        file.writestr("a.txt", "b")
    stranger = make_project(tmp_path / "stranger", landscape(48, dim=16), classes=("WOOD", "water"))
    label_quarters(stranger, 3, 3)
    stranger.export_file(out / "stranger.tessera")
    handed = read_files(files_in(out), raster, teacher.id)
    assert {one.what for one in handed.failed} == {
        "elsewhere.tessera",
        "others.tessera",
        "empty.tessera",
        "cut.tessera",
        "notes.txt",
        "zip.tessera",
    }
    why = dict(handed.failed)
    assert "another place" in why["elsewhere.tessera"]
    assert "other embeddings" in why["others.tessera"]
    assert "no region yet" in why["empty.tessera"]
    assert "no project file" in why["notes.txt"]
    assert [work.learner for work in handed.works] == ["Ana 1", "ana 2", "stranger"]
    assert len(handed.works[0].labels) == 4 * 2 + 4, "the newest file counts"
    assert len(handed.replaced) == 1
    assert "ana (1).tessera is newer than ana.tessera" in handed.replaced[0]
    assert any("2 learners are called" in remark for remark in handed.remarks)
    assert any(remark.startswith("stranger.tessera was not started") for remark in handed.remarks)
    legend = together(handed.works, teacher, raster).legend
    assert legend.tables["stranger"][[1, 2]].tolist() == [2, 1]
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match=r"no \.tessera files"):
        files_in(tmp_path / "nothing")
    with pytest.raises(InputError, match="no folder"):
        files_in(out / "nowhere")


def replace_dataset(raster: EmbeddingRaster) -> EmbeddingRaster:
    return replace(raster, provenance=replace(raster.provenance, model="another"))


def test_a_copied_folder_with_two_names_is_two_learners(teacher: Project, tmp_path: Path) -> None:
    raster, (ana,) = raster_of(teacher), learners(teacher, tmp_path, ("Ana",))
    files = [hand_in(ana, tmp_path / "a.tessera", "Ana"), hand_in(ana, tmp_path / "b.tessera", "Bo")]
    assert [work.learner for work in read_files(files, raster).works] == ["Ana", "Bo"]
    with pytest.raises(InputError, match="nickname"):
        hand_in(ana, tmp_path / "c.tessera", "  ")


def test_progress_answers_and_labels_come_back(teacher: Project, tmp_path: Path) -> None:
    raster, (ana,) = raster_of(teacher), learners(teacher, tmp_path, ("Ana",))
    ana.update(lesson={"lesson": "how-good", "step": "map", "done": ["ask", "page"]})
    classes = map_project(ana, raster, 2023).map.classes
    sample = validate.Validation(2023, raster.grid, draw(classes, 20, seed=2)).answer(3, 1, "by the road")
    validate.save(ana, sample)
    (work,) = read_files([hand_in(ana, tmp_path / "x.tessera", "Ana")], raster).works
    assert work.lesson is not None
    assert work.lesson.done == ("ask", "page")
    assert work.validation is not None
    assert work.validation.sample.reference[3] == 1
    assert work.counts == {"Water": 2, "Wood": 2, "Fields": 2, "Town": 2}
    assert work.validation.sample.notes[3] == "by the road"


def test_who_has_labelled_one_class_is_told_and_counts_nowhere(teacher: Project, tmp_path: Path) -> None:
    raster, (ana, bo) = raster_of(teacher), learners(teacher, tmp_path, ("Ana", "Bo"))
    for one in bo.log.classes[1:]:
        bo.log.remove_class(one.id)
    works = [read_work(project, raster) for project in (ana, bo)]
    assert works[1].map is None
    assert works[1].without_map == "There is no map yet: only Water has labels; two are needed."
    found = together(works, teacher, raster)
    assert found.consensus is not None
    assert set(found.consensus.weights) == {"Ana"}
    assert any(note.startswith("Bo has no vote.") for note in found.notes)
    assert found.pooled is not None
    assert found.pooled.labels.pixels >= 9


def test_a_map_is_made_anew_only_where_something_it_hangs_on_changed(teacher: Project, tmp_path: Path) -> None:
    raster, (ana,) = raster_of(teacher), learners(teacher, tmp_path, ("Ana",))
    first = read_work(ana, raster)
    known = {first.stamp: first}
    ana.update(lesson={"lesson": "how-good"})
    assert read_work(ana, raster, known=known).map is first.map
    ana.update(neighbourhood=3)
    second = read_work(ana, raster, known=known)
    assert second.map is not first.map
    assert second.stamp != first.stamp
    with pytest.raises(ProjectError, match="another place"):
        read_work(ana, two_halves(make_grid((20, 20), 0, 1_000), 2023))


def test_a_shared_sample_judges_all_maps_at_the_same_places(teacher: Project, tmp_path: Path) -> None:
    raster, projects = raster_of(teacher), learners(teacher, tmp_path, PEOPLE)
    truth = landscape_kinds(raster)
    classes = map_project(projects[0], raster, 2023).map.classes
    places = validate.Validation(2023, raster.grid, draw(classes, 60, seed=2))
    for n, project in enumerate(projects):
        answered = places
        for position, (row, col) in enumerate(zip(places.sample.rows, places.sample.cols, strict=True)):
            # Bo is wrong at every tenth place, and the others outvote him.
            wrong = n == 1 and position % 10 == 0
            answered = answered.answer(position, int(truth[row, col]) % 4 + 1 if wrong else int(truth[row, col]))
        validate.save(project, answered)
    found = together([read_work(project, raster) for project in projects], teacher, raster)
    assert found.judged is not None
    assert not found.judged.simulated
    assert found.judged.places == 60
    assert found.judged.consensus is not None
    assert found.judged.consensus > 0.95
    assert found.judged.intervals[("class", "consensus")][0] < found.judged.consensus
    assert found.judged.best is not None
    assert found.judged.mean is not None
    assert found.judged.best[1] >= found.judged.mean
    teachers = places
    for position in range(len(places.sample)):
        teachers = teachers.answer(position, 1)
    validate.save(teacher, teachers)
    found = together([read_work(project, raster) for project in projects], teacher, raster)
    assert found.judged is not None
    assert found.judged.consensus is not None
    assert found.judged.consensus < 0.5


def test_pooled_labels_tell_what_is_contested(teacher: Project, tmp_path: Path) -> None:
    raster, projects = raster_of(teacher), learners(teacher, tmp_path, PEOPLE)
    x, y = (float(v[0]) for v in raster.grid.pixel_to_xy([6.5], [6.5]))
    # Ana's is a place that the app suggested to her.
    for project, class_id, origin in zip(projects, (1, 1, 2), ("suggestion", "", ""), strict=True):
        project.log.add("point", class_id, [(x, y)], origin=origin)
    x, y = (float(v[0]) for v in raster.grid.pixel_to_xy([7.5], [6.5]))
    for project, class_id in zip(projects, (1, 2), strict=False):
        project.log.add("point", class_id, [(x, y)])
    works = [read_work(project, raster) for project in projects]
    found = together(works, teacher, raster)
    assert found.pooled is not None
    labels = found.pooled.labels
    at = {
        (int(r), int(c)): int(k)
        for r, c, k in zip(labels.reference.rows, labels.reference.cols, labels.reference.y, strict=True)
    }
    assert at[6, 6] == 1
    chosen = labels.reference.suggested
    assert chosen is not None
    assert list(zip(labels.reference.rows[chosen], labels.reference.cols[chosen], strict=True)) == [(6, 6)]
    assert found.pooled.score is not None
    assert any("at places that the app suggested: 1 of" in note for note in found.pooled.score.notes)
    assert (7, 6) not in at
    assert labels.conflicts >= 2
    assert labels.undecided >= 1
    assert labels.disputes[("Water", "Wood")] >= 2
    assert any("different classes from different learners, most often Water and Wood" in note for note in found.notes)
    assert labels.reference.classes == list(found.legend.classes)
    assert all(isinstance(one, LabelClass) for one in labels.reference.classes)


def test_on_a_server_nothing_that_is_looked_into_becomes_a_visitors_project(
    teacher: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raster, (ana,) = raster_of(teacher), learners(teacher, tmp_path, ("Ana",))
    file = hand_in(ana, tmp_path / "ana.tessera", "Ana")
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    with acting_for("the teacher"):
        assert len(read_files([file], raster).works) == 1
        # A region that was brought lies in the project's own folder, which nothing else may open.
        (mine,) = open_pack(tmp_path / "class.tesserapack")
        again = class_pack(mine, tmp_path / "again")
        assert [one.origin for one in open_pack(again)] == [teacher.id]
        assert len(owned("the teacher")) == 2
    assert not [path for path in (tmp_path / "home").rglob("*") if path.name in ("project", "copy")]


def test_a_class_of_the_simulated_place_is_judged_by_its_truth_and_told_what_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    region = library.take_demo()
    assert region is not None
    teacher = library.start_demo(region, fresh=True)
    for name in ("water", "WOOD", "Fields", "Built-up", "Unicorns"):
        teacher.log.add_class(name)
    raster = raster_of(teacher)
    works = []
    for learner in ("Ana", "Bo"):
        (project,) = open_pack(class_pack(teacher, tmp_path / "class"), into=tmp_path / "learners")
        truth = simulated_truth(teacher, year_of(teacher), match_classes([], teacher.log.classes))
        assert truth is not None
        assert truth.classes is not None
        assert set(np.unique(truth.classes).tolist()) == {1, 2, 3, 4}
        random = np.random.default_rng(len(works))
        for class_id in range(1, 5):
            rows, cols = np.nonzero(truth.classes == class_id)
            for n in random.choice(len(rows), 8, replace=False):
                x, y = raster.grid.pixel_to_xy([rows[n] + 0.5], [cols[n] + 0.5])
                project.log.add("point", class_id, [(float(x[0]), float(y[0]))])
        works.append(read_work(project, raster, learner))
    found = together(works, teacher, raster)
    assert found.judged is not None
    assert found.judged.simulated
    assert found.consensus is not None
    assert truth.classes is not None
    known = truth.classes > 0
    assert found.judged.consensus == (found.consensus.classes[known] == truth.classes[known]).mean() > 0.7
    assert any("nothing called 'Unicorns'" in note for note in found.notes)
    # What came in a pack has no truth beside it, and is the same place.
    (copied,) = open_pack(class_pack(teacher, tmp_path / "class"), into=tmp_path / "learners")
    again = together(works, copied, raster, pooling=False)
    assert again.judged is not None
    assert again.judged.learners == found.judged.learners
