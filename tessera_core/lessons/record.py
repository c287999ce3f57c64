"""What a record of a learner's work says of the lesson that a project is for."""

from __future__ import annotations

from tessera_core.export.report import LessonDone
from tessera_core.lessons import library, progress
from tessera_core.project.project import Project


def lesson_of(project: Project) -> LessonDone | None:
    """How far the lesson of a project has come; None where it is no lesson's, or the lesson is not known here."""
    at = project.settings.lesson
    lesson = None if at is None else library.shelf().lessons.get(at.lesson)
    if at is None or lesson is None:
        return None
    return LessonDone(
        name=lesson.words().title,
        steps=len(lesson.steps),
        done=len(set(at.done) - set(at.helped)),
        helped=len(at.helped),
        skipped=len(at.skipped),
        finished=progress.finished(lesson, at),
    )
