"""What a project says about its learner, for the checks of a lesson."""

from __future__ import annotations

from tessera_core.lessons.checks import Facts
from tessera_core.lessons.model import Lesson
from tessera_core.project import steps, validate
from tessera_core.project.project import Project
from tessera_core.project.settings import LessonProgress


def facts_of(project: Project, lesson: Lesson, progress: LessonProgress) -> Facts:
    """All that a check may ask of a project, as it is now.

    Raises:
        ProjectError: the answers of its validation cannot be read.
    """
    counts = project.log.counts
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
        labels_before=progress.labels,
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
    """Labels of all classes."""
    return sum(project.log.counts.values())
