"""A project's validation: what a sample takes, what is kept of it, and what a newer map changes."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.assess.designs import draw
from tessera_core.errors import LabelError, ProjectError
from tessera_core.grid import Grid
from tessera_core.project import sample_plan, stopping, validate
from tessera_core.project.project import Project
from tessera_core.project.response import respond

GRID = Grid("EPSG:32631", Affine(10, 0, 4e5, 0, -10, 5.7e6), (60, 80))
NAMES = {1: "maize", 2: "grass", 3: "wood"}


def a_map(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    classes = rng.choice([1, 2, 3], p=[0.05, 0.3, 0.65], size=GRID.shape).astype(np.uint8)
    classes[:5] = 0
    return classes


def a_sample(n: int = 60, seed: int = 0) -> validate.Validation:
    return validate.Validation(2023, GRID, draw(a_map(), n, at_least=5, seed=seed))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "project", "Fields")


def test_a_narrower_interval_takes_more_places_and_keeps_its_promise() -> None:
    wide, narrow = (sample_plan.plan(a_map(), "stratified", margin, 0.8, at_least=2) for margin in (0.1, 0.05))
    assert narrow.n > 3 * wide.n
    assert wide.margin == pytest.approx(0.1, abs=0.005)
    assert narrow.margin == pytest.approx(0.05, abs=0.003)
    assert sum(narrow.per_class.values()) == narrow.n
    assert min(sample_plan.plan(a_map(), at_least=25).per_class.values()) == 25
    simple = sample_plan.plan(a_map(), "random", 0.1, 0.8)
    # n = z^2 U (1 - U) / d^2 for a large region (Cochran 1977, eq. 4.2), a little less for this small one.
    assert 58 <= simple.n <= 62
    assert simple.per_class == {}


def test_an_empty_map_is_one_sentence() -> None:
    with pytest.raises(LabelError, match="empty"):
        sample_plan.plan(np.zeros((4, 4), np.uint8))


def test_more_places_than_pixels_are_never_asked_for() -> None:
    tiny = np.array([[1, 1, 2], [2, 2, 2]], np.uint8)
    for design in ("random", "systematic", "stratified"):
        assert sample_plan.plan(tiny, design, 0.02, 0.5, at_least=10).n <= tiny.size


@given(
    st.lists(st.tuples(st.integers(0, 29), st.sampled_from([None, 0, 1, 2, 3]), st.text(max_size=9)), max_size=40),
    st.integers(0, 5),
)
@settings(deadline=None, max_examples=40)
def test_any_sequence_of_answers_survives_the_disk(answers, seed) -> None:
    import tempfile

    current = a_sample(30, seed)
    expected: dict[int, int | None] = {}
    for position, class_id, note in answers:
        current = current.answer(position, class_id).with_note(position, note)
        expected[position] = class_id
    with tempfile.TemporaryDirectory() as folder:
        project = Project.create(Path(folder) / "p", "p")
        validate.save(project, current)
        again = validate.load(project, 2023)
    assert again is not None
    for name in ("rows", "cols", "strata", "mapped", "reference"):
        np.testing.assert_array_equal(getattr(again.sample, name), getattr(current.sample, name))
    assert again.sample.notes == current.sample.notes
    assert again.undecided == {k for k, v in expected.items() if v == 0}
    assert again.seen == sum(v is not None for v in expected.values())
    left = again.next_open()
    assert (left is None) == (again.seen == 30)
    assert left is None or not again.is_seen(left)


def test_a_full_look_at_the_truth_gives_the_truth_back() -> None:
    truth, mapped = a_map(3), a_map(0)
    truth[mapped == 0] = 0
    current = a_sample(600)
    for k in range(len(current.sample)):
        current = current.answer(k, int(truth[current.sample.rows[k], current.sample.cols[k]]))
    found = current.assess()
    inside = mapped > 0
    assert found.overall.interval[0] <= (truth[inside] == mapped[inside]).mean() <= found.overall.interval[1]
    for c in found.classes:
        hectares = (truth[inside] == c.id).sum() / 100
        assert c.area.value == pytest.approx(hectares, abs=2 * c.area.wald_margin)
    assert found.total_area == pytest.approx(inside.sum() / 100)


def test_a_newer_map_changes_what_is_mapped_and_nothing_else() -> None:
    current = a_sample(200)
    truth = a_map(7)
    for k in range(len(current.sample)):
        current = current.answer(k, int(truth[current.sample.rows[k], current.sample.cols[k]]) or 1)
    before, newer = current.assess(), current.on_map(truth)
    np.testing.assert_array_equal(newer.sample.strata, current.sample.strata)
    np.testing.assert_array_equal(newer.sample.reference, current.sample.reference)
    after = newer.assess()
    assert after.overall.value > 0.95 > before.overall.value
    # The areas come from the answers and the design, so a better map does not move them.
    for old, new in zip(before.classes, after.classes, strict=True):
        assert new.area.value == pytest.approx(old.area.value)
    with pytest.raises(LabelError, match="another shape"):
        current.on_map(truth[:10])


@pytest.mark.parametrize("design", ["random", "systematic", "stratified"])
def test_what_the_map_shows_is_counted_whatever_the_design(design: str) -> None:
    mapped = a_map()
    current = validate.Validation(2023, GRID, draw(mapped, 60, design, seed=1)).on_map(mapped)
    for k in range(len(current.sample)):
        current = current.answer(k, 1 + k % 3)
    # The command line reads what the page saved.
    saved = validate.from_json(json.loads(json.dumps(validate.to_json(current))), Path("v.json"))
    for c in (*current.assess().classes, *saved.assess().classes):
        assert c.mapped == pytest.approx((mapped == c.id).sum() / (mapped > 0).sum())


def test_what_could_not_be_told_and_what_is_left_is_said() -> None:
    current = a_sample(60)
    for k in range(40):
        current = current.answer(k, 0 if k < 3 else int(current.sample.mapped[k]))
    notes = " ".join(current.assess().notes)
    assert "Places that could not be told: 3." in notes
    assert "Places that nobody has looked at yet: 20." in notes


def test_a_new_sample_keeps_the_old_answers_beside_it(project: Project) -> None:
    first = a_sample(seed=1).answer(0, 2)
    assert validate.start(project, first) is None
    kept = validate.start(project, a_sample(seed=2))
    assert kept is not None
    assert json.loads(kept.read_text())["reference"][0] == 2
    again = validate.start(project, a_sample(seed=3))
    assert again not in (None, kept)
    loaded = validate.load(project, 2023)
    assert loaded is not None
    assert loaded.seen == 0
    assert validate.load(project, 2024) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: text.replace('"stratified"', '"guess"'),
        lambda text: json.dumps(json.loads(text) | {"rows": [9999] * 60}),
        lambda text: json.dumps(json.loads(text) | {"reference": [1]}),
        lambda text: json.dumps(json.loads(text) | {"undecided": [600]}),
    ],
)
def test_a_damaged_file_is_one_sentence(project: Project, spoil) -> None:
    validate.save(project, a_sample())
    path = project.folder / "validation-2023.json"
    path.write_text(spoil(path.read_text()))
    with pytest.raises(ProjectError, match="damaged"):
        validate.load(project, 2023)


def test_estimates_as_a_table() -> None:
    current = a_sample(90)
    for k in range(90):
        current = current.answer(k, int(current.sample.mapped[k]))
    rows = list(csv.DictReader(io.StringIO(validate.estimates_csv(current.assess(), NAMES))))
    assert [row["class"] for row in rows] == ["maize", "grass", "wood", "all"]
    assert all(float(row["users_accuracy"]) == 1 for row in rows)
    assert sum(float(row["area_ha"]) for row in rows[:-1]) == pytest.approx(float(rows[-1]["area_ha"]), rel=1e-4)


# ------------------------------------------------------------------ what stands behind an answer


def test_what_stands_behind_an_answer_survives_and_goes_with_it(project: Project) -> None:
    behind = respond("probably", evidence="Aerial\npicture", evidence_date="2023-06", interpreter=" Zoë ")
    assert (behind.evidence, behind.interpreter) == ("Aerial picture", "Zoë")
    unknown = respond(reason="It lies on a border", interpreter="Zoë")
    current = (
        replace(a_sample(), unit="block", rule="centre").answer(0, 2, response=behind).answer(1, 0, response=unknown)
    )
    validate.save(project, current)
    again = validate.load(project, 2023)
    assert again is not None
    assert (again.responses, again.unit, again.rule) == ({0: behind, 1: unknown}, "block", "centre")
    # Another answer is not what stood behind the first; an answer that is taken back leaves nothing.
    assert again.answer(0, 1).responses == {1: unknown}
    assert again.answer(1, None, response=behind).responses == {0: behind}


def test_a_sample_of_an_earlier_version_is_read_and_kept(project: Project) -> None:
    current = a_sample().answer(0, 2).answer(1, 0)
    validate.save(project, current)
    path = project.folder / "validation-2023.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    for name in ("responses", "unit", "rule"):
        del value[name]
    path.write_text(json.dumps(value | {"format": "tessera-validation/1"}), encoding="utf-8")
    again = validate.load(project, 2023)
    assert again is not None
    assert (again.responses, again.unit, again.rule, again.seen) == ({}, "pixel", "majority", 2)
    validate.save(project, again)
    assert json.loads(path.read_text(encoding="utf-8"))["format"] == validate.FORMAT


@pytest.mark.parametrize(
    "wrong",
    [{"responses": {"999": {}}}, {"responses": {"0": {"confidence": "very"}}}, {"unit": "field"}, {"responses": [1]}],
)
def test_damaged_responses_are_one_sentence(project: Project, wrong: dict) -> None:
    validate.save(project, a_sample())
    path = project.folder / "validation-2023.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | wrong), encoding="utf-8")
    with pytest.raises(ProjectError, match="damaged"):
        validate.load(project, 2023)


@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=25)
def test_a_block_is_judged_by_what_covers_most_of_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 4, (6, 7)).astype(np.uint8)
    rows, cols = (a.ravel() for a in np.indices(classes.shape))
    found = validate.mapped_at(classes, rows, cols, "block", "majority").reshape(classes.shape)
    for row, col in np.ndindex(*classes.shape):
        around = classes[max(row - 1, 0) : row + 2, max(col - 1, 0) : col + 2]
        counts = np.bincount(around[around > 0], minlength=4)
        if counts.any():
            best = np.flatnonzero(counts == counts.max())
            assert found[row, col] == (classes[row, col] if classes[row, col] in best else best[0])
    for unit, rule in (("pixel", "majority"), ("block", "centre")):
        assert (validate.mapped_at(classes, rows, cols, unit, rule).reshape(classes.shape) == classes).all()


def test_the_notes_say_what_the_undecided_could_do() -> None:
    current = a_sample()
    for place in range(len(current.sample)):
        current = current.answer(place, 0 if place % 10 == 9 else int(current.sample.mapped[place]))
    (note,) = [note for note in current.assess().notes if "could not be told" in note]
    assert "Whatever they are, the map is right at" in note


def test_places_that_taught_the_map_are_counted_and_said_through_the_second_door(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    from tessera_core.cli import main

    current = a_sample()
    assert validate.taught_sentences(project, current) == []
    wood = project.log.add_class("wood").id
    rows, cols = current.sample.rows, current.sample.cols
    taken = set(zip(rows.tolist(), cols.tolist(), strict=True))
    beside = next(k for k in range(1, 60) if (rows[k], cols[k] + 1) not in taken and cols[k] < 79)
    for row, col in ((rows[0], cols[0]), (rows[beside], cols[beside] + 1)):
        x, y = GRID.pixel_to_xy(row + 0.5, col + 0.5)
        project.log.add("point", wood, [(float(x), float(y))])
    (told,) = validate.taught_sentences(project, current)
    assert told == "1 of 60 places also taught the map; its accuracy there may look better than it is."
    # A place of 3 x 3 pixels has taught where any of them has.
    block = replace(current, unit="block", rule="majority")
    assert {0, beside} <= set(np.flatnonzero(validate.taught(project, block)).tolist())
    validate.save(project, current)
    assert main(["validate", "show", str(project.folder), "--year", "2023"]) == 0
    assert told in capsys.readouterr().out


@pytest.mark.parametrize("design", ["random", "stratified"])
def test_after_every_answer_it_is_said_whether_one_may_stop(design: str, project: Project) -> None:
    sample = draw(a_map(), 400, design, seed=4)
    current = validate.Validation(None, GRID, sample, margin=0.1)
    told = [stopping.sure_sentences(current)]
    for place in range(400):
        there = int(sample.mapped[place])
        current = current.answer(place, there % 3 + 1 if place % 10 == 7 else there)
        if place % 20 == 19:
            told.append(stopping.sure_sentences(current))
    assert told[0] == told[-1] == []
    first = next(k for k, said in enumerate(told) if said and said[0].startswith("You may stop now"))
    before = told[first - 1][0]
    # What is still to come is told in time, and about right.
    likely = re.search(r"until ±10 points: about (\d+)\. If you stop", before)
    assert likely is not None
    assert 1 <= int(likely[1]) <= 80
    values = re.search(r"right at (\d+) % of the region, (\d+) to (\d+) %", told[first][0])
    assert values is not None
    at, low, high = map(int, values.groups())
    assert low < at < high <= low + 21
    # The margin wanted belongs to the sample, and with a smaller one the sample does not suffice for stopping early.
    early = replace(a_sample(60), margin=0.02)
    for place in range(30):
        early = early.answer(place, int(early.sample.mapped[place]))
    (only,) = stopping.sure_sentences(early)
    assert only.startswith("Go on to the last place: ±2 points")
    validate.save(project, early)
    known = validate.load(project, 2023)
    assert known is not None
    assert stopping.sure_sentences(known) == [only]
    # A net gives no places by chance one by one.
    net = validate.Validation(None, GRID, draw(a_map(), 60, "systematic", seed=1))
    assert stopping.sure_sentences(net.answer(0, 1)) == []
