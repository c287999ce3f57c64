"""Opening a class, joining it, and coming back to it. Nobody needs an account: a code, a nickname, and a word to come back with."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tessera_core.classroom import store
from tessera_core.classroom.byfiles import class_pack
from tessera_core.classroom.model import (
    MOST_MEMBERS,
    Classroom,
    Member,
    checked_nickname,
    is_word,
    new_code,
    new_word,
    typed_code,
    word_digest,
)
from tessera_core.errors import InputError, ProjectError
from tessera_core.hosting import Person, acting_for
from tessera_core.labels.model import clean_name
from tessera_core.project import room
from tessera_core.project.folders import safe_name
from tessera_core.project.home import projects_home
from tessera_core.project.pack import open_pack
from tessera_core.project.project import Project
from tessera_core.project.project_files import SUFFIX

# Wrong words for one nickname in a while; a word has 6,000 forms.
MOST_TRIES, TRIES_SECONDS = 8, 600.0


class UnknownCodeError(InputError):
    """No class under way has that code."""


def open_class(
    template: Project,
    person: Person,
    *,
    name: str = "",
    tasks: Sequence[str] = (),
    classes: Sequence[str] = (),
    lesson: str = "",
) -> Classroom:
    """Open a class.

    Args:
        template: what learners start from, without its labels and answers; it is copied, and may be changed or deleted later.
        person: the teacher.
        name: of the class; by default the template's.
        tasks: what is asked for, a sentence each.
        classes: names of classes that the template does not have yet.
        lesson: id of a lesson that learners do.

    Raises:
        InputError: the template has no embeddings here, or a name or task is too long.
        ExportError: the disk refuses.
    """
    title = clean_name(name) or template.name
    class_id = secrets.token_hex(8)
    folder = store.folder_of(class_id)
    taken = {one.code for one in store.classes()}
    code = next(found for found in iter(new_code, "") if found not in taken)
    with tempfile.TemporaryDirectory() as place:
        pack = class_pack(template, Path(place) / "class", name=title, tasks=tasks, classes=classes)
        (folder / "start").mkdir(parents=True)
        # Through a pack, so that it holds its embeddings, which a server for many opens from nowhere else.
        start = open_pack(pack, into=folder / "start")[0]
    return store.write(
        Classroom(
            id=class_id,
            code=code,
            name=title,
            teacher=person.key,
            opened=time.time(),
            start=start.folder.name,
            tasks=tuple(tasks),
            lesson=lesson,
        )
    )


def start_project(found: Classroom) -> Project:
    """The project that learners get a copy of.

    Raises:
        ProjectError: it is not there any more.
    """
    return Project.open(store.folder_of(found.id) / "start" / found.start)


def join(code: str, nickname: str, person: Person) -> tuple[Classroom, Member, str]:
    """Join a class.

    Args:
        code: as typed.
        nickname: as typed.
        person: who uses this browser.

    Returns:
        The class, the learner, and the word to come back with; the word is empty where this browser had joined under that name.

    Raises:
        InputError: there is no such class, it is locked or full, the nickname cannot be had, or this browser is in it by another.
        ProjectError: the server has no room for another project.
    """
    found = by_code(code)
    name = checked_nickname(nickname)
    known = found.member(name)
    if known is not None:
        if known.person == person.key:
            return found, known, ""
        raise InputError(
            f"{known.nickname} is taken in this class. If that is you, come back with your word; otherwise choose another name."
        )
    _require_new(found, person)
    _require_open(found)
    with store.changing(found.id) as keep:
        found = store.read(found.id)
        # In another tab of theirs, perhaps.
        _require_new(found, person)
        _require_open(found)
        if found.member(name) is not None:
            raise InputError(f"{name} is taken in this class; choose another name.")
        word = new_word()
        with acting_for(person):
            project = _copy_for(found, name)
        member = Member(
            nickname=name,
            person=person.key,
            word=word_digest(found.id, name, word),
            project=project.folder.name,
            joined=time.time(),
        )
        return keep(found.with_member(member)), member, word


def come_back(code: str, nickname: str, word: str, person: Person) -> tuple[Classroom, Member]:
    """Go on from another device or browser.

    Raises:
        InputError: there is no such class, nobody of that name in it, or the word is wrong.
    """
    found = by_code(code)
    name = checked_nickname(nickname)
    with store.changing(found.id) as keep:
        found = store.read(found.id)
        known = found.member(name)
        if known is None:
            raise InputError(f"Nobody in this class is called {name}. Look at how you wrote your name, or join as new.")
        now = time.time()
        # A clock that was put back must not keep anybody out for as long as it jumped.
        recent = tuple(when for when in known.wrong if abs(now - when) < TRIES_SECONDS)
        if len(recent) >= MOST_TRIES:
            raise InputError(
                f"Too many wrong words for {known.nickname}. Wait ten minutes, or ask your teacher for a new one."
            )
        if not is_word(found.id, known, word):
            keep(found.with_member(msgspec.structs.replace(known, wrong=(*recent, now))))
            raise InputError("That is not the word that you were given. Ask your teacher for a new one.")
        room.pass_on(projects_home() / known.project, known.person, person.key)
        known = msgspec.structs.replace(known, person=person.key, wrong=())
        return keep(found.with_member(known)), known


def renew_word(class_id: str, nickname: str) -> str:
    """A new word for a learner who has lost theirs; the old one is worth nothing any more.

    Raises:
        InputError: nobody in the class is called so.
    """
    with store.changing(class_id) as keep:
        found = store.read(class_id)
        known = found.member(nickname)
        if known is None:
            raise InputError(f"Nobody in this class is called {nickname}.")
        word = new_word()
        keep(
            found.with_member(
                msgspec.structs.replace(known, word=word_digest(class_id, known.nickname, word), wrong=())
            )
        )
        return word


def by_code(code: str) -> Classroom:
    """The class under way that a typed code names.

    Raises:
        UnknownCodeError: there is none.
    """
    found = store.with_code(typed_code(code))
    if found is None:
        raise UnknownCodeError("There is no class of that code now. Look at the code again; your teacher shows it.")
    return found


def _require_new(found: Classroom, person: Person) -> None:
    """Nobody is two of a class, with two projects."""
    known = found.of_person(person.key)
    if known is not None:
        raise InputError(
            f"You are in this class already, as {known.nickname}: go on there. Somebody else needs a browser of their own, or a "
            "private window of this one."
        )


def _require_open(found: Classroom) -> None:
    if found.locked:
        raise InputError("Your teacher has closed this class to newcomers. Ask them to open it again.")
    if len(found.members) >= MOST_MEMBERS:
        raise InputError(f"This class is full: {MOST_MEMBERS} are in it. Ask your teacher to open a second one.")


def _copy_for(found: Classroom, nickname: str) -> Project:
    """A learner's own project; the embeddings are those of the class, once for all."""
    from tessera_core.lessons import library as lessons
    from tessera_core.lessons import progress

    start = start_project(found)
    with tempfile.TemporaryDirectory() as place:
        file = start.export_file(Path(place) / f"{safe_name(nickname)}{SUFFIX}")
        project = Project.import_file(file)
    for year, ref in start.embeddings.items():
        project.attach_embeddings(year, ref.path, ref.provenance, ref.grid, dpixels=ref.dpixels)
    project.update(name=found.name, learner=nickname, classroom=found.id)
    if found.lesson:
        lesson = lessons.find(found.lesson)
        if lesson is None:
            raise ProjectError(
                f"The lesson of this class ({found.lesson}) is not on this server any more. Tell your teacher."
            )
        project.update(lesson=progress.to_json(progress.begin(lesson)))
    return project
