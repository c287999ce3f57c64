"""The teacher's board: where everybody is, and what a teacher does with a class. Cheap: looks at files, makes no maps."""

from __future__ import annotations

import csv
import io
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tessera_core._utils.csvcells import quoted_row
from tessera_core.classroom import store
from tessera_core.classroom.model import Classroom, Member, same_name
from tessera_core.errors import InputError, TesseraError
from tessera_core.lessons import library as lessons
from tessera_core.lessons import progress
from tessera_core.project import deletion
from tessera_core.project.folders import safe_name
from tessera_core.project.home import RecentProject, projects_home
from tessera_core.project.project import Project
from tessera_core.project.project_files import SUFFIX, saved_samples

# Not heard of for longer: away. Nothing done for longer while there: stuck.
AWAY_SECONDS, STUCK_SECONDS = 45.0, 240.0


@dataclass(frozen=True)
class Row:
    """Where a learner is.

    Attributes:
        nickname: of the learner.
        project: name of the project's folder.
        labels: how many.
        classes: how many have labels.
        step, steps: of the lesson, from 1; 0 where there is none.
        doing: title of the step or the task.
        answers: places of a sample looked at.
        changed: when labels, answers or the lesson changed last, seconds since 1970.
        seen: when the app was open last; 0 where never.
        state: ``"working"``, ``"stuck"``, ``"away"`` or ``"gone"`` (the project is not there any more).
    """

    nickname: str
    project: str
    labels: int = 0
    classes: int = 0
    step: int = 0
    steps: int = 0
    doing: str = ""
    answers: int = 0
    changed: float = 0.0
    seen: float = 0.0
    state: str = "away"


def rows(found: Classroom, now: float | None = None) -> list[Row]:
    """One row for each learner, in the order of their coming."""
    now = time.time() if now is None else now
    return [_row(found, member, now) for member in found.members]


def project_of(member: Member) -> Project:
    """A learner's project.

    Raises:
        ProjectError: it is not there any more.
    """
    return Project.open(projects_home() / Path(member.project).name)


def _row(found: Classroom, member: Member, now: float) -> Row:
    seen = store.seen(found.id, member.project)
    try:
        project = project_of(member)
    except TesseraError:
        return Row(member.nickname, member.project, seen=seen, state="gone")
    files = [project.folder / "project.json", project.folder / "labels.jsonl", *saved_samples(project.folder)]
    changed = max((path.stat().st_mtime for path in files if path.exists()), default=member.joined)
    counts = project.log.counts
    step = steps = 0
    doing = found.tasks[found.task] if found.task is not None and found.task < len(found.tasks) else ""
    known = project.settings.lesson
    lesson = None if known is None else lessons.find(known.lesson)
    if known is not None and lesson is not None:
        here = progress.place(lesson, known)
        step, steps, doing = here.number, here.of, lesson.words().steps[here.step.id].title
    idle = now - max(changed, member.joined)
    return Row(
        member.nickname,
        member.project,
        labels=sum(counts.values()),
        classes=sum(1 for count in counts.values() if count),
        step=step,
        steps=steps,
        doing=doing,
        answers=_answers(project),
        changed=changed,
        seen=seen,
        state="away" if now - seen > AWAY_SECONDS else "stuck" if idle > STUCK_SECONDS else "working",
    )


def _answers(project: Project) -> int:
    from tessera_core.project import validate

    if not saved_samples(project.folder):
        return 0
    known = [validate.load(project, year) for year in (None, *project.years)]
    return sum(one.seen for one in known if one is not None)


def push_step(found: Classroom, step_id: str) -> list[str]:
    """Bring all learners who are in the class's lesson to a step; returns the nicknames of those who could not be brought.

    What they did stays done; steps that are passed over count as skipped.

    Raises:
        InputError: the class has no lesson, or the lesson no such step.
    """
    lesson = lessons.find(found.lesson) if found.lesson else None
    if lesson is None or step_id not in {step.id for step in lesson.steps}:
        raise InputError("This class has no lesson with that step.")
    left = []
    for member in found.members:
        try:
            project = project_of(member)
            known = project.settings.lesson
            if known is None or known.lesson != lesson.id:
                left.append(member.nickname)
                continue
            lessons.save(project, progress.jump(lesson, known, step_id, lessons.label_count(project)))
        except TesseraError:
            left.append(member.nickname)
    return left


def set_back(found: Classroom, nicknames: Sequence[str] | None = None) -> dict[str, str]:
    """Let learners begin anew; what they had is kept, and :func:`bring_back` undoes it.

    Args:
        found: the class.
        nicknames: whose; None for all.

    Returns:
        Nickname -> name of the file that keeps their work.

    Raises:
        ProjectError: a project cannot be saved.
    """
    kept = {}
    place = store.folder_of(found.id) / "earlier"
    place.mkdir(parents=True, exist_ok=True)
    for member in _chosen(found, nicknames):
        project = project_of(member)
        name = f"{safe_name(member.nickname)}-{time.time_ns()}{SUFFIX}"
        project.export_file(place / name)
        project.log.clear()
        lesson = lessons.find(found.lesson) if found.lesson else None
        if lesson is not None:
            lessons.restart(project, lesson)
        kept[member.nickname] = name
    return kept


def bring_back(found: Classroom, kept: Mapping[str, str]) -> None:
    """Undo :func:`set_back`.

    Raises:
        ProjectError: a file or project is not there any more.
    """
    for member in _chosen(found, list(kept)):
        project = project_of(member)
        with tempfile.TemporaryDirectory() as place:
            before = Project.import_file(
                store.folder_of(found.id) / "earlier" / Path(kept[member.nickname]).name, Path(place) / "before"
            )
            project.log.clear()
            project.log.import_labels(before.log.classes, before.log.labels)
            if before.settings.lesson is not None:
                lessons.save(project, before.settings.lesson)


def _chosen(found: Classroom, nicknames: Sequence[str] | None) -> list[Member]:
    wanted = None if nicknames is None else {same_name(name) for name in nicknames}
    return [one for one in found.members if wanted is None or same_name(one.nickname) in wanted]


def export_class(found: Classroom, table: str = "") -> bytes:
    """All that the server holds of a class as one zip: a ``.tessera`` file a learner, the board, and what could not be had."""
    out, missing, names = io.BytesIO(), [], set[str]()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, tempfile.TemporaryDirectory() as place:
        for member in found.members:
            name = safe_name(member.nickname)
            while name.casefold() in names:
                name += "_"
            names.add(name.casefold())
            try:
                archive.write(project_of(member).export_file(Path(place) / name), f"{name}{SUFFIX}")
            except TesseraError as error:
                missing.append(f"{member.nickname}: {error}")
        archive.writestr("board.csv", table or board_csv(rows(found)))
        if missing:
            archive.writestr("missing.txt", "\n".join(missing))
    return out.getvalue()


def board_csv(found: Sequence[Row]) -> str:
    """The board for a spreadsheet."""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(("learner", "labels", "classes", "step", "steps", "doing", "answers", "changed", "state"))
    for row in found:
        when = datetime.fromtimestamp(row.changed).astimezone().isoformat(timespec="minutes") if row.changed else ""
        cells: list[Any] = [
            row.nickname,
            row.labels,
            row.classes,
            row.step,
            row.steps,
            row.doing,
            row.answers,
            when,
            row.state,
        ]
        table.writerow(quoted_row(cells))
    return out.getvalue()


def delete_class(found: Classroom) -> int:
    """Delete a class with all its learners' projects; returns how many projects there were.

    Raises:
        ProjectError, ExportError: the system refuses; what is left can be deleted again.
    """
    count = 0
    for member in found.members:
        folder = projects_home() / Path(member.project).name
        if Project.is_project(folder):
            kept = deletion.delete(RecentProject(folder.resolve(), member.nickname, 0.0, None))
            deletion.for_good(kept)
            count += 1
    store.remove(found.id)
    return count
