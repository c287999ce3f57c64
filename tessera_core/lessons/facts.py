"""What a project says about its learner, for the checks of a lesson."""

from __future__ import annotations

from collections.abc import Sequence

from tessera_core.language import t
from tessera_core.lessons.checks import Facts
from tessera_core.lessons.lost import COVERED, NO_DATA, TWICE, Lost, lost_labels
from tessera_core.lessons.model import Lesson, Step
from tessera_core.project import steps, validate
from tessera_core.project.project import Project
from tessera_core.project.settings import LessonProgress


def facts_of(project: Project, lesson: Lesson, progress: LessonProgress) -> Facts:
    """All that a check may ask of a project, as it is now.

    Raises:
        ProjectError: the answers of its validation cannot be read.
    """
    counts, lost = dict(project.log.counts), lost_labels(project)
    for label in lost:
        counts[label.class_id] -= 1
    labels: dict[str, int] = {}
    for one in project.log.classes:
        labels[one.name.casefold()] = counts.get(one.id, 0)
    # Reading a sample takes a file; only lessons that ask for it pay for that.
    places = answers = 0
    if any(part.name.startswith("validation") for step in lesson.steps if step.check for part in step.check.walk()):
        for year in project.embeddings:
            known = validate.load(project, year)
            if known is not None and known.seen >= answers:
                places, answers = len(known.sample), known.seen
    return Facts(
        labels=labels,
        labels_before=_counted_before(project, lost, progress.labels),
        corrected=sum(label.why == COVERED for label in lost),
        years=len(project.years),
        series=sum(reference.dpixels is not None for reference in project.embeddings.values()),
        plots=len(project.plots.labels),
        validation_places=places,
        validation_answers=answers,
        steps=frozenset(steps.done(project)),
        events=frozenset(progress.events),
        answers=progress.answers,
        names=lesson.spellings(),
    )


def label_count(project: Project) -> int:
    """All labels that were made, erased ground and those that teach nothing among them: what a step notes as it begins."""
    return len(project.log.labels)


def _counted_before(project: Project, lost: Sequence[Lost], made: int) -> int:
    """How many of the first labels counted before others were made.

    The number itself is not kept: what counts is one rule for both sides, also in projects that noted theirs under another.
    """
    there = sum(label.kind != "erase" for label in project.log.labels[:made])
    empty = sum(one.number < made for one in lost if one.why == NO_DATA)
    # Of those on one square the last counts, which was another one where a further click came later.
    twice = [one.since for one in lost if one.why == TWICE and one.number < made]
    return there - empty - len(twice) + len({since for since in twice if since >= made})


def lost_sentence(project: Project, lesson: Lesson, step: Step, made_before: int) -> str:
    """What happened to the newest label that a step would count and that teaches nothing; empty where there is none.

    Args:
        project: the open one.
        lesson: whose step it is.
        step: that is shown.
        made_before: :func:`label_count` when it began.
    """
    parts = [] if step.check is None else list(step.check.walk())
    wanted = {part.value["class"] for part in parts if part.name == "labels_at_least" and isinstance(part.value, dict)}
    spelt = {name for one in wanted for name in lesson.spellings().get(one, ())}
    added = any(part.name == "labels_added" for part in parts)
    names = {one.id: one.name for one in project.log.classes}
    for lost in sorted(lost_labels(project), key=lambda one: -one.since):
        name = names.get(lost.class_id, "")
        mine = name.casefold() in spelt
        new = added and lost.since >= made_before and lost.why != COVERED
        if (mine or new) and (lost.why != COVERED or lost.by):
            return _said(lost, name, names.get(lost.by, ""), lost.since + 1 == label_count(project))
    return ""


def _said(lost: Lost, name: str, other: str, last: bool) -> str:
    """Undo is advised only where it takes back the label that is at fault, the ``last`` one: else a good one would go."""
    if lost.why == NO_DATA and not last:
        return t(
            "A label of {name} lies where there is no data: it teaches nothing and does not count. Click another place.",
            name=name,
        )
    if lost.why == NO_DATA:
        return t(
            "A label of {name} lies where there is no data: it teaches nothing and does not count. Undo it (the arrow "
            "that turns back, or Z), and click another place.",
            name=name,
        )
    if lost.why == TWICE:
        return t(
            "Two labels of {name} lie on the same square: they count as one. Click another place, far from those.",
            name=name,
        )
    if not last:
        return t(
            "A label of {name} lies under a later one of {other}, so it no longer counts. Click another place of {name}.",
            name=name,
            other=other,
        )
    return t(
        "A label of {name} lies under a later one of {other}, so it no longer counts. Undo the later one (the arrow "
        "that turns back, or Z), or click another place of {name}.",
        name=name,
        other=other,
    )
