"""What a record of a learner's work says of the lesson that a project is for."""

from __future__ import annotations

from tessera_core.errors import TesseraError
from tessera_core.export.report import Learner, LessonDone
from tessera_core.labels.model import clean_name
from tessera_core.lessons import library, progress
from tessera_core.project.library import recent
from tessera_core.project.project import Project

MAX_NAME = 60


def learner_of(project: Project, name: str) -> Learner:
    """Whose work a project is, by the name that they typed, and what they learnt."""
    return Learner(name=clean_name(name, MAX_NAME), lesson=lesson_of(project), others=_others(project))


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


def _others(project: Project) -> tuple[str, ...]:
    """Lessons that were finished in other projects of this computer, or of this visitor of a server."""
    found: dict[str, None] = {}
    for entry in recent():
        try:
            other = Project.open(entry.folder)
        except TesseraError:
            # The list of projects tells of it; here it is only no lesson.
            continue
        done = None if other.id == project.id else lesson_of(other)
        if done is not None and done.finished:
            found[done.name] = None
    return tuple(found)
