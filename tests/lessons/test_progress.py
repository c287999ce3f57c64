"""The way through a lesson: whatever comes in whatever order, nobody gets stuck and no open task counts as met."""

from __future__ import annotations

from functools import cache

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tessera_core.lessons import library, progress
from tessera_core.lessons.checks import Facts
from tessera_core.lessons.model import Lesson
from tessera_core.lessons.targets import PAGES, TARGETS
from tessera_core.project.settings import LessonProgress, ProjectSettings


@cache
def lesson() -> Lesson:
    return library.shelf().lessons["first-map"]


IDS = st.sampled_from([step.id for step in lesson().steps])
EVENTS = [*(f"page:{page}" for page in PAGES), *(f"{what}:{name}" for what in ("used", "seen") for name in TARGETS)]
ACTS = st.one_of(
    st.tuples(st.just("event"), st.sampled_from(EVENTS)),
    st.tuples(st.just("label"), st.sampled_from(["Water", "WOOD", "fields", "Town", "other"])),
    st.tuples(st.just("undo"), st.none()),
    st.tuples(st.just("answer"), st.tuples(IDS, st.integers(-1, 7))),
    st.tuples(st.sampled_from(["next", "back", "skip"]), st.one_of(st.none(), IDS)),
)


def facts(known: LessonProgress, labels: dict[str, int]) -> Facts:
    return Facts(
        labels=labels,
        labels_before=known.labels,
        events=frozenset(known.events),
        answers=known.answers,
        names=lesson().spellings(),
    )


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ACTS, max_size=40))
def test_no_order_of_events_gets_stuck_or_passes_an_open_task(acts: list[tuple[str, object]]) -> None:
    known = progress.begin(lesson())
    labels: dict[str, int] = {}
    order = [step.id for step in lesson().steps]
    for what, value in acts:
        before = known
        here = progress.place(lesson(), known)
        if what == "event":
            known = progress.note(known, str(value))
        elif what == "label":
            name = str(value).casefold()
            labels[name] = labels.get(name, 0) + 1
        elif what == "undo" and labels:
            name = max(labels, key=lambda one: labels[one])
            labels[name] = max(labels[name] - 1, 0)
        elif what == "answer":
            assert isinstance(value, tuple)
            known = progress.answer(lesson(), known, *value)
        elif what in ("next", "skip"):
            known = progress.forward(lesson(), known, str(value or here.step.id), sum(labels.values()), what == "skip")
        elif what == "back":
            known = progress.back(lesson(), known, str(value or here.step.id), sum(labels.values()))
        known = progress.look(lesson(), known, facts(known, labels))
        now = progress.place(lesson(), known)
        # One step at a time, and forward only past what is met, read, or skipped by name.
        assert abs(now.number - here.number) <= 1
        if now.number > here.number:
            passed = here.done or here.step.id in known.done or here.step.id in known.skipped
            assert passed
            assert what == "skip" or here.step.id not in set(known.skipped) - set(before.skipped)
        assert set(before.done) <= set(known.done)
        assert set(before.events) <= set(known.events)
        # What is kept is what is read.
        assert ProjectSettings.from_json({"lesson": progress.to_json(known)}).lesson == known
    # From wherever that led, a learner who does the tasks comes to the end.
    for _ in order:
        here = progress.place(lesson(), known)
        if here.last:
            break
        for event in EVENTS:
            known = progress.note(known, event)
        labels = {name: labels.get(name, 0) + 5 for name in ("water", "wood", "fields", "town")}
        for choice in range(6):
            known = progress.answer(lesson(), known, here.step.id, choice)
            known = progress.look(lesson(), known, facts(known, labels))
        moved = progress.forward(lesson(), known, here.step.id, sum(labels.values()))
        assert moved != known, f"stuck at {here.step.id}"
        known = moved
    assert progress.place(lesson(), known).last


def test_a_message_that_comes_twice_counts_once() -> None:
    known = progress.answer(lesson(), progress.begin(lesson()), "guess", 2)
    known = progress.look(lesson(), known, facts(known, {}))
    once = progress.forward(lesson(), known, "guess", 0)
    assert once.step == "page"
    assert progress.forward(lesson(), once, "guess", 0) == once
    assert progress.forward(lesson(), once, "guess", 0, skip=True) == once
    assert progress.back(lesson(), once, "guess", 0) == once


def test_the_first_answer_is_kept_beside_the_last() -> None:
    known = progress.begin(lesson())
    for choice in (1, 2, 0):
        known = progress.answer(lesson(), known, "guess", choice)
    assert known.answers == {"guess": 0}
    assert known.first == {"guess": 1}


def test_a_met_task_stays_met_when_labels_are_undone() -> None:
    known = LessonProgress(lesson="first-map", step="water")
    known = progress.look(lesson(), known, facts(known, {"water": 3}))
    assert "water" in known.done
    assert progress.look(lesson(), known, facts(known, {})) == known


def test_a_step_that_a_new_version_no_longer_has_is_gone_on_from() -> None:
    known = LessonProgress(lesson="first-map", step="of-old", done=("guess",), skipped=("page",))
    here = progress.place(lesson(), known)
    assert here.step.id == "picture"
    done = LessonProgress(lesson="first-map", step="of-old", done=tuple(step.id for step in lesson().steps))
    assert progress.place(lesson(), done).last


def test_what_a_strangers_file_says_of_a_lesson_is_progress_or_nothing() -> None:
    for value in (
        {"lesson": "../x"},
        {"lesson": "first-map", "step": "<b>"},
        {"lesson": "first-map", "answers": {"guess": "x"}},
        {"lesson": "first-map", "events": ["x" * 81]},
        [],
    ):
        assert ProjectSettings.from_json({"lesson": value}).lesson is None


def test_who_comes_back_goes_on_where_they_were() -> None:
    known = progress.begin(lesson())
    assert progress.page_of(lesson(), known) == "region"
    # Of a page that was never opened the step itself says that it is to be opened.
    assert progress.page_of(lesson(), progress.jump(lesson(), known, "page", 0)) == "region"
    known = progress.note(known, "page:label")
    # A picture is looked at beside the page of the step before.
    assert progress.page_of(lesson(), progress.jump(lesson(), known, "line", 0)) == "label"
    good = library.shelf().lessons["how-good"]
    known = progress.note(progress.note(progress.begin(good), "page:label"), "page:validate")
    assert [progress.page_of(good, progress.jump(good, known, step, 0)) for step in ("split", "truth")] == [
        "label",
        "validate",
    ]
