"""The way through a lesson: what a learner did is noted, a step whose task is met is done, and then the next one follows. Pure.

No event is lost by coming early, none is counted twice, and no step is left but by its task, by skipping it, or by having the
studio do it. What is asked of a step that is not shown any more changes nothing, so that messages may come twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from tessera_core.lessons.checks import Facts
from tessera_core.lessons.model import Lesson, Step
from tessera_core.lessons.targets import TARGETS
from tessera_core.project.settings import LessonProgress

MAX_EVENTS = 200


def begin(lesson: Lesson, labels: int = 0) -> LessonProgress:
    """The lesson from its first step; ``labels`` were made already, erasures among them."""
    return LessonProgress(lesson=lesson.id, step=lesson.steps[0].id, labels=labels)


def to_json(progress: LessonProgress) -> dict[str, Any]:
    """JSON object of it, for the settings of a project."""
    value: dict[str, Any] = msgspec.to_builtins(progress)
    return value


@dataclass(frozen=True)
class Place:
    """Where somebody is in a lesson.

    Attributes:
        step: that is shown.
        number: its position, from 1.
        of: how many steps there are.
        done: whether its task was met, or there is none.
        last: whether no step follows.
    """

    step: Step
    number: int
    of: int
    done: bool
    last: bool


def place(lesson: Lesson, progress: LessonProgress) -> Place:
    """Where somebody is; at the first step that is open where the lesson no longer has the step that was shown."""
    position = next((n for n, step in enumerate(lesson.steps) if step.id == progress.step), None)
    if position is None:
        passed = {*progress.done, *progress.skipped}
        position = next((n for n, step in enumerate(lesson.steps) if step.id not in passed), len(lesson.steps) - 1)
    step = lesson.steps[position]
    done = step.check is None or step.id in progress.done
    return Place(step, position + 1, len(lesson.steps), done, position + 1 == len(lesson.steps))


def finished(lesson: Lesson, progress: LessonProgress) -> bool:
    """Whether the last step was reached and nothing is open there."""
    here = place(lesson, progress)
    return here.last and here.done


def page_of(lesson: Lesson, progress: LessonProgress) -> str:
    """Address of the page on which somebody was last, by the step that is shown and those before it; at first ``"region"``."""
    here = place(lesson, progress)
    pages = (TARGETS[step.target].page for step in reversed(lesson.steps[: here.number]) if step.target in TARGETS)
    return next((page for page in pages if f"page:{page}" in progress.events), "region")


def note(progress: LessonProgress, event: str) -> LessonProgress:
    """With something that the learner did."""
    if event in progress.events or len(progress.events) >= MAX_EVENTS:
        return progress
    return msgspec.structs.replace(progress, events=(*progress.events, event))


def answer(lesson: Lesson, progress: LessonProgress, step_id: str, choice: int) -> LessonProgress:
    """With an answer to the question of the step that is shown; another answer replaces it, the first one is remembered."""
    here = place(lesson, progress)
    if here.step.id != step_id or here.step.question is None:
        return progress
    if not 0 <= choice < len(lesson.words().steps[step_id].choices):
        return progress
    return msgspec.structs.replace(
        progress,
        answers={**progress.answers, step_id: choice},
        first={step_id: choice, **progress.first},
    )


def look(lesson: Lesson, progress: LessonProgress, facts: Facts) -> LessonProgress:
    """With the step that is shown as done where its task is met; it stays so, whatever is undone later."""
    here = place(lesson, progress)
    if here.done or here.step.check is None or not here.step.check.met(facts, lesson.about(here.step)):
        return progress
    return msgspec.structs.replace(progress, done=(*progress.done, here.step.id))


def forward(lesson: Lesson, progress: LessonProgress, step_id: str, labels: int, skip: bool = False) -> LessonProgress:
    """At the next step, where the task of step ``step_id`` is met, or ``skip``; nothing changes where another one is shown.

    Args:
        lesson: whose steps.
        progress: until now.
        step_id: the step that is left.
        labels: how many have been made until now, erasures among them.
        skip: leave its task open.
    """
    here = place(lesson, progress)
    if here.step.id != step_id or here.last or not (here.done or skip):
        return progress
    passed = progress.skipped
    if not here.done and step_id not in passed:
        passed = (*passed, step_id)
    return _at(lesson, msgspec.structs.replace(progress, skipped=passed), here.number, labels)


def back(lesson: Lesson, progress: LessonProgress, step_id: str, labels: int) -> LessonProgress:
    """At the step before."""
    here = place(lesson, progress)
    if here.step.id != step_id or here.number == 1:
        return progress
    return _at(lesson, progress, here.number - 2, labels)


def jump(lesson: Lesson, progress: LessonProgress, step_id: str, labels: int) -> LessonProgress:
    """At any step, as a teacher brings a class together: what was done stays so, open steps before it count as skipped."""
    position = next((n for n, step in enumerate(lesson.steps) if step.id == step_id), None)
    if position is None:
        return progress
    passed = {*progress.done, *progress.skipped}
    skipped = (step.id for step in lesson.steps[:position] if step.check is not None and step.id not in passed)
    return _at(lesson, msgspec.structs.replace(progress, skipped=(*progress.skipped, *skipped)), position, labels)


def helped(progress: LessonProgress, step_id: str) -> LessonProgress:
    """With a step that the studio did."""
    if step_id in progress.helped:
        return progress
    return msgspec.structs.replace(progress, helped=(*progress.helped, step_id))


def _at(lesson: Lesson, progress: LessonProgress, position: int, labels: int) -> LessonProgress:
    return msgspec.structs.replace(progress, step=lesson.steps[position].id, labels=labels)
