"""All lessons of this computer, and the project in which one is done: a copy of the demo region of its own."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tessera_core._utils.paths import data_home
from tessera_core.errors import InputError
from tessera_core.language import current, t, using
from tessera_core.lessons import progress, solutions
from tessera_core.lessons.facts import facts_of, label_count
from tessera_core.lessons.model import Lesson
from tessera_core.lessons.reading import read_lesson
from tessera_core.lessons.truth import Truth, truth_of
from tessera_core.project import library
from tessera_core.project.project import Project
from tessera_core.project.settings import LessonProgress

if TYPE_CHECKING:
    from tessera_core.project.demo import DemoRegion

SHIPPED = Path(__file__).with_name("shipped")
STARTS = Path(__file__).with_name("starts")
MAX_LESSONS = 200


@dataclass(frozen=True)
class Shelf:
    """The lessons of this computer.

    Attributes:
        lessons: by id, those of the studio first, in their order.
        starts: questions that people come with, by id, likewise.
        unusable: one sentence for each folder that cannot be used.
    """

    lessons: dict[str, Lesson]
    starts: dict[str, Lesson]
    unusable: tuple[str, ...] = ()


def own_lessons_home() -> Path:
    """Where lessons of teachers lie, a folder each: ``lessons`` in :func:`data_home`."""
    return data_home() / "lessons"


def shelf() -> Shelf:
    """All lessons; a folder that did not change is not read again."""
    found: dict[str, Lesson] = {}
    unusable = []
    for home in (SHIPPED, STARTS, own_lessons_home()):
        read: list[Lesson] = []
        for folder in sorted(home.iterdir())[:MAX_LESSONS] if home.is_dir() else ():
            # What is still being unpacked is hidden.
            if folder.name.startswith(".") or not (folder / "lesson.toml").is_file():
                continue
            try:
                lesson = _read(folder, _stamp(folder))
                if lesson.id in found or any(one.id == lesson.id for one in read):
                    raise InputError(f"The lesson in {folder.name} cannot be used: {lesson.id!r} is taken.")
            except InputError as error:
                unusable.append(str(error))
                continue
            read.append(lesson)
        for lesson in sorted(read, key=lambda one: (one.number, one.id)):
            found[lesson.id] = lesson
    return Shelf(
        {name: one for name, one in found.items() if not one.start},
        {name: one for name, one in found.items() if one.start},
        tuple(unusable),
    )


def find(lesson_id: str) -> Lesson | None:
    """The lesson or the start of that id, or None."""
    known = shelf()
    return known.lessons.get(lesson_id) or known.starts.get(lesson_id)


def following(lesson: Lesson) -> Lesson | None:
    """The lesson of the studio that comes after one of the studio's; None after the last, a start, or a lesson of somebody else."""
    known = list(shelf().lessons.values())
    later = (one for one in known if one.number == lesson.number + 1 and not is_own(one))
    return None if lesson.start or is_own(lesson) else next(later, None)


def own_lessons() -> dict[str, Lesson]:
    """Lessons and starts that were added to this computer, by id."""
    known = shelf()
    return {name: one for name, one in (known.lessons | known.starts).items() if is_own(one)}


def is_own(lesson: Lesson) -> bool:
    """Whether it was added to this computer, rather than shipped with the studio."""
    return lesson.folder.parent == own_lessons_home()


def lesson_of(project: Project) -> Lesson | None:
    """The lesson that a project is for; None where it is for none, it was put away, or the lesson is not on this computer."""
    known = project.settings.lesson
    return None if known is None or known.left else find(known.lesson)


def guides(project: Project) -> bool:
    """Whether a lesson says what comes next, so that the studio's own advice would be a second voice."""
    lesson = lesson_of(project)
    return lesson is not None and not lesson.uses_steps


def project_name(lesson: Lesson, language: str = "") -> str:
    """What the project for a lesson is called."""
    title = lesson.words(language).title
    if not lesson.number or lesson.start:
        return title
    with using(language or current()):
        return t("Lesson {number}: {title}", number=lesson.number, title=title)


def begin(lesson: Lesson, demo: DemoRegion, language: str = "") -> Project:
    """A new project of the demo region, for this lesson alone.

    Raises:
        TesseraError: it cannot be written.
    """
    project = library.start_demo(demo, fresh=True)
    project.update(name=library.free_name(project_name(lesson, language)))
    begin_in(project, lesson, language)
    return project


def begin_in(project: Project, lesson: Lesson, language: str = "") -> None:
    """A lesson or a start in a project that is there, with the classes it is about; classes that are there stay as they are.

    Raises:
        TesseraError: the project cannot be saved.
    """
    known = {one.name.casefold() for one in project.log.classes}
    for name, colour in lesson.colours.items():
        if not lesson.spellings()[name] & known:
            project.log.add_class(lesson.words(language).names[name], colour)
    save(project, progress.begin(lesson, label_count(project)))


def save(project: Project, known: LessonProgress) -> None:
    """Keep how far a lesson has come; writes only where something is new.

    Raises:
        ProjectError: the project cannot be saved.
    """
    if known != project.settings.lesson:
        project.update(lesson=progress.to_json(known))


def restart(project: Project, lesson: Lesson) -> None:
    """The lesson from its first step; labels stay, and can be undone by whoever wants to."""
    save(project, progress.begin(lesson, label_count(project)))


def leave(project: Project) -> None:
    """Put the lesson away; it can be taken up again."""
    known = project.settings.lesson
    if known is not None:
        save(project, msgspec.structs.replace(known, left=True))


def page_of(project: Project) -> str:
    """Address of the page on which the lesson of a project goes on; the first page where there is none."""
    lesson, known = lesson_of(project), project.settings.lesson
    return "region" if lesson is None or known is None else progress.page_of(lesson, known)


def take_up(project: Project) -> None:
    """Go on with the lesson of a project that was put away."""
    known = project.settings.lesson
    if known is not None and known.left:
        save(project, msgspec.structs.replace(known, left=False))


def truth_for(project: Project, lesson: Lesson) -> Truth | None:
    """The truth of the year that is looked at, in the lesson's names; None where there is none."""
    year = project.settings.year if project.settings.year in project.embeddings else max(project.years, default=None)
    return truth_of(project, year, lesson.legend) if lesson.legend else None


def can_solve(project: Project, lesson: Lesson, known: LessonProgress) -> bool:
    """Whether the studio can do the step that is shown."""
    acts = progress.place(lesson, known).step.solution
    needs_truth = any(act.do in ("label", "add", "validate") for act in acts)
    return bool(acts) and (not needs_truth or truth_for(project, lesson) is not None)


def solve(project: Project, lesson: Lesson, known: LessonProgress, language: str = "") -> tuple[LessonProgress, str]:
    """Do the step that is shown; returns the progress with it, and the page to go to, if any.

    Raises:
        TesseraError: it cannot be done.
    """
    step = progress.place(lesson, known).step
    page = ""
    for act in step.solution:
        if act.do == "open":
            page = act.value
            known = progress.note(known, f"page:{page}")
        elif act.do == "answer":
            known = progress.answer(lesson, known, step.id, act.value)
        elif act.do == "use":
            known = progress.note(progress.note(known, f"used:{act.value}"), f"seen:{act.value}")
        elif act.do == "plots":
            solutions.take_plots(project)
        else:
            truth = truth_for(project, lesson)
            if truth is None:
                raise InputError("Only the demo region knows its truth; here you have to do this step yourself.")
            if act.do == "validate":
                solutions.check_places(project, truth, lesson.spellings(), act.value)
                continue
            names = lesson.words(language).names
            solutions.label(project, truth, names, act.value["of"], act.value["n"], act.do == "add")
    known = progress.look(lesson, known, facts_of(project, lesson, known))
    return progress.helped(known, step.id), page


def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    files = [*folder.glob("*.toml"), *folder.glob("pictures/*.json")]
    return tuple((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(files)[:500])


@functools.lru_cache(maxsize=MAX_LESSONS)
def _read(folder: Path, stamp: tuple[tuple[str, int, int], ...]) -> Lesson:
    return read_lesson(folder)
