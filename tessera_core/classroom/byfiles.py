"""A class without a server: a pack goes out, ``.tessera`` files come back, and are read as if the learners had been here.

What comes back may be anything: each file that cannot be used is one sentence, and the rest goes on.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tessera_core._utils.partial import Failure
from tessera_core.classroom.model import same_name
from tessera_core.classroom.work import Work, learner_of, read_work
from tessera_core.errors import InputError, TesseraError
from tessera_core.labels.log import LabelLog
from tessera_core.project import validate
from tessera_core.project.pack import SUFFIX as PACK_SUFFIX
from tessera_core.project.pack import make_pack
from tessera_core.project.project import EmbeddingRef, Project
from tessera_core.project.project_files import SUFFIX, read_file, saved_samples
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Cancel, Progress

MOST_FILES = 200
_NUMBERED = re.compile(r"[ _-]*\(\d{1,3}\)$")


@dataclass(frozen=True)
class HandedIn:
    """What came back.

    Attributes:
        works: one for each learner, in the order of their nicknames.
        replaced: one sentence for each file that a newer one of the same learner replaces.
        failed: files that cannot be used, each with the reason.
        remarks: what else to mind, one sentence each.
    """

    works: tuple[Work, ...]
    replaced: tuple[str, ...] = ()
    failed: tuple[Failure, ...] = ()
    remarks: tuple[str, ...] = ()


def class_pack(
    template: Project,
    out: str | Path,
    *,
    name: str = "",
    tasks: Sequence[str] = (),
    classes: Sequence[str] = (),
    with_labels: bool = False,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Path:
    """Write what learners start from as one pack: the region, its embeddings, the list of classes, and the tasks.

    Args:
        template: what learners get a copy of; it stays as it is. A lesson that was begun in it begins in every copy.
        out: the file; ``.tesserapack`` is added where it is missing.
        name: of the class; by default the template's.
        tasks: what is asked for, a sentence each.
        classes: names of classes that the template does not have yet.
        with_labels: hand out the template's labels, too. Without, nobody learns them, nor the answers of its sample: of that
            learners get the places alone.
        progress: bytes written, of how many.
        cancelled: asked often; nothing is left then.

    Raises:
        InputError: the template has no embeddings here, or a name or task is too long.
        ExportError: the file cannot be written.
        Cancelled: ``cancelled`` said so.
    """
    template.require_embeddings()
    with tempfile.TemporaryDirectory() as place:
        file = template.export_file(Path(place) / "template")
        Project.import_file(file, Path(place) / "copy")
        copy = _Handout.of(Path(place) / "copy", template)
        copy.update(name=name or template.name, class_name=name or template.name, class_tasks=list(tasks), learner=None)
        if not with_labels:
            log = copy.folder / "labels.jsonl"
            LabelLog.begin(log, copy.log.classes)
            _blank_samples(copy)
            copy = _Handout.of(copy.folder, template)
        for one in classes:
            if copy.log.find_class(one) is None:
                copy.log.add_class(one)
        return make_pack([copy], out, progress=progress, cancelled=cancelled)


class _Handout(Project):
    """A copy of a template with the template's embeddings, which lie where a copy may not open them by itself on a server."""

    template: Project

    @classmethod
    def of(cls, folder: Path, template: Project) -> _Handout:
        copy = cls(folder, read_file(folder))
        copy.template = template
        return copy

    @property
    def embeddings(self) -> dict[int | None, EmbeddingRef]:
        return self.template.embeddings

    def embeddings_path(self, year: int | None) -> Path:
        return self.template.embeddings_path(year)


def _blank_samples(project: Project) -> None:
    """Keep the places of a project's samples and forget what anybody saw there."""
    for year in (None, *project.years):
        known = validate.load(project, year)
        if known is not None:
            validate.save(project, known.blank())
    for path in saved_samples(project.folder):
        if "earlier" in path.name:
            path.unlink()


def hand_in(project: Project, out: str | Path, learner: str) -> Path:
    """Write a learner's project as the file to hand in.

    Args:
        project: the learner's.
        out: a file, or a folder in which it is named after the learner.
        learner: nickname.

    Raises:
        InputError: the nickname is empty or too long.
        ExportError: the file cannot be written.
    """
    from tessera_core.project.folders import safe_name

    if not learner.strip():
        raise InputError("Type a nickname, so that the teacher knows whose work it is.")
    project.update(learner=learner.strip())
    out = Path(out)
    return project.export_file(out / f"{safe_name(learner_of(project))}{SUFFIX}" if out.is_dir() else out)


def files_in(folder: str | Path) -> list[Path]:
    """The files of a folder that may be somebody's work: all but packs and hidden ones, those of its folders too.

    Raises:
        InputError: it is no folder, there are none, or more than a class can have.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give the one with the {SUFFIX} files that learners handed in.")
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".") and path.suffix.lower() != PACK_SUFFIX
    )
    if not any(path.suffix.lower() == SUFFIX for path in found):
        raise InputError(f"{folder} holds no {SUFFIX} files; put the files that learners handed in there.")
    return require_few(found)


def require_few[FileT](paths: list[FileT]) -> list[FileT]:
    """The files again.

    Raises:
        InputError: they are more than a class can have.
    """
    if len(paths) > MOST_FILES:
        raise InputError(f"These are {len(paths)} files, and {MOST_FILES} are the most; hand in one for each learner.")
    return paths


def read_files(
    paths: Sequence[Path],
    raster: EmbeddingRaster,
    origin: str = "",
    *,
    known: Mapping[str, Work] | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> HandedIn:
    """The works in files that learners handed in.

    Args:
        paths: of the files, in any order.
        raster: the embeddings of the class.
        origin: id of the template's project; a file that is no copy of it counts, and is told.
        known: stamp -> what was read before.
        progress: files, of how many.
        cancelled: asked often.

    Raises:
        Cancelled: ``cancelled`` said so.
    """
    from tessera_core.errors import Cancelled

    found: list[_Read] = []
    failed = []
    for number, path in enumerate(sorted(paths, key=lambda path: path.name)):
        if cancelled is not None and cancelled():
            raise Cancelled
        try:
            found.append(_read(path, raster, known, cancelled))
        except Cancelled:
            raise
        except TesseraError as error:
            failed.append(Failure(path.name, str(error)))
        if progress is not None:
            progress(number + 1, len(paths), path.name)
    works, replaced, remarks = _one_each(found, origin)
    return HandedIn(tuple(works), tuple(replaced), tuple(failed), tuple(remarks))


@dataclass(frozen=True)
class _Read:
    """A file that could be read: its name, and the work."""

    name: str
    work: Work = field(repr=False)


def _read(path: Path, raster: EmbeddingRaster, known: Mapping[str, Work] | None, cancelled: Cancel | None) -> _Read:
    if path.suffix.lower() != SUFFIX:
        raise InputError(f"{path.name} is no project file; learners hand in a {SUFFIX} file.")
    with tempfile.TemporaryDirectory() as place:
        project = Project.import_file(path, Path(place) / "project")
        # Browsers and file managers number a second copy of a file.
        learner = learner_of(project, _NUMBERED.sub("", path.stem))
        work = read_work(project, raster, learner, known=known, cancelled=cancelled)
        return _Read(path.name, replace(work, project=project.source))


def _one_each(found: Sequence[_Read], origin: str) -> tuple[list[Work], list[str], list[str]]:
    """One work a learner: of several files of one project the newest; of two people with one nickname both, told apart."""
    replaced, remarks = [], []
    newest: dict[tuple[str, str], _Read] = {}
    for one in sorted(found, key=lambda one: (one.work.saved_at, one.name)):
        # A project's folder that was copied by hand has one id and many learners.
        key = (one.work.project, same_name(one.work.learner))
        before = newest.get(key)
        if before is not None:
            replaced.append(f"{one.work.learner} handed in twice: {one.name} is newer than {before.name} and counts.")
        newest[key] = one
    taken = {same_name(one.work.learner) for one in newest.values()}
    named: dict[str, list[_Read]] = {}
    for one in sorted(newest.values(), key=lambda one: one.name):
        named.setdefault(same_name(one.work.learner), []).append(one)
    works = []
    for same in named.values():
        if len(same) > 1:
            files = " and ".join(one.name for one in same)
            remarks.append(
                f"{len(same)} learners are called {same[0].work.learner} ({files}); they are told apart by numbers."
            )
        number = 0
        for one in same:
            learner = one.work.learner
            while len(same) > 1 and same_name(learner) in taken:
                number += 1
                learner = f"{one.work.learner} {number}"
            taken.add(same_name(learner))
            works.append(replace(one.work, learner=learner))
            if origin and one.work.origin != origin:
                remarks.append(
                    f"{one.name} was not started from the pack of this class; its classes are matched by their names."
                )
    return sorted(works, key=lambda work: work.learner), replaced, remarks
