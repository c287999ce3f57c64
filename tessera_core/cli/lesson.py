"""Check a lesson of your own, hand it out as a file, take in one that somebody handed out, and list or remove what is here.

check   whether a folder is a lesson: what is wrong with it, in one sentence
pack    lessons as one .zip, to hand out; the app takes it in under Learn, 'tessera lesson add' without the app
add     the lessons of a .zip or a .tesserapack, for this computer's app
list    the lessons of this computer, and what is wrong with those that cannot be used
slides  lessons as slides: one HTML file without a network, moved through with keys, printed a slide a page
remove  take a lesson that was added away again; projects that were begun with it stay

How a lesson is written: docs/howto/lessons.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core.cli.paths import Declared, Input, Output

if TYPE_CHECKING:
    from tessera_core.lessons.model import Lesson


def _written(args: argparse.Namespace) -> Output:
    return Output((".html",) if args.task == "slides" else (".zip",))


PATHS: dict[str, Declared] = {"folder": Input(), "folders": Input(), "file": Input(), "out": _written}
EXAMPLES = (
    "tessera lesson check my-lesson",
    "tessera lesson pack my-lesson --out rivers.zip",
    "tessera lesson add rivers.zip",
    "tessera lesson remove my-lesson",
    "tessera lesson slides first-map how-good --out slides.html",
)
SUMMARY = "check a lesson of your own, hand it out, take one in"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands and their arguments."""
    tasks = parser.add_subparsers(dest="task", metavar="TASK", required=True, help="see above; TASK --help tells more")
    check = tasks.add_parser("check", help="whether a folder is a lesson")
    check.add_argument("folder", metavar="FOLDER", help="with lesson.toml and texts.en.toml")
    pack = tasks.add_parser("pack", help="lessons as one .zip, to hand out")
    pack.add_argument("folders", nargs="+", metavar="FOLDER", help="of a lesson")
    pack.add_argument("--out", required=True, metavar="FILE", help="the .zip")
    add = tasks.add_parser("add", help="take in the lessons of a file")
    add.add_argument("file", metavar="FILE", help=".zip or .tesserapack")
    tasks.add_parser("list", help="the lessons of this computer")
    slides = tasks.add_parser("slides", help="lessons as slides for a projector")
    slides.add_argument("ids", nargs="+", metavar="ID", help="as 'tessera lesson list' shows it, in order")
    slides.add_argument("--out", required=True, metavar="FILE", help="the .html")
    slides.add_argument("--language", default="en", metavar="LANG", help="of the texts, where a lesson has it")
    slides.add_argument("--without-answers", action="store_true", help="no slide with the answer behind a question")
    remove = tasks.add_parser("remove", help="take a lesson away that was added")
    remove.add_argument("id", metavar="ID", help="as 'tessera lesson list' shows it")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Do the sub-command.

    Raises:
        InputError: a lesson cannot be used, or is not there.
        ExportError: what is written cannot be.
    """
    from tessera_core.lessons import library, packs
    from tessera_core.lessons.reading import read_lesson

    match args.task:
        case "check":
            return {"lessons": [_told(read_lesson(Path(args.folder).resolve()))]}
        case "pack":
            made = packs.write([Path(one).resolve() for one in args.folders], Path(args.out))
            return {"lessons": [_told(one) for one in made], "file": str(args.out)}
        case "add":
            taken = packs.take(Path(args.file))
            return {"lessons": [_told(one) for one in taken.lessons], "ignored": list(taken.ignored)}
        case "slides":
            from tessera_core.lessons.slides import write_slides

            shown = [_known(one) for one in args.ids]
            count = write_slides(shown, Path(args.out), args.language, not args.without_answers)
            return {"lessons": [_told(one) for one in shown], "slides": count, "file": str(args.out)}
        case "remove":
            packs.remove(_known(args.id))
            return {"lessons": [], "removed": args.id}
        case _:
            known = library.shelf()
            lessons = [*known.lessons.values(), *known.starts.values()]
            return {"lessons": [_told(one) for one in lessons], "unusable": list(known.unusable)}


def report(result: dict[str, Any]) -> str:
    """The result as lines for people."""
    lines = []
    for one in result["lessons"]:
        languages = ", ".join(one["languages"])
        lines.append(f"{one['id']}: {one['title']} ({one['steps']} steps, {one['minutes']} minutes, {languages})")
        if one["by"]:
            lines.append(f"  by {one['by']}")
    if "file" in result:
        lines.append(f"Written to {result['file']}.")
    if result.get("ignored"):
        lines.append(f"Not taken, as no lesson reads it: {', '.join(result['ignored'])}.")
    if "removed" in result:
        lines.append(f"{result['removed']} was removed.")
    return "\n".join([*lines, *result.get("unusable", [])])


def _known(lesson_id: str) -> Lesson:
    from tessera_core.errors import InputError
    from tessera_core.lessons.library import find

    lesson = find(lesson_id)
    if lesson is None:
        raise InputError(f"There is no lesson {lesson_id!r} here; 'tessera lesson list' names them.")
    return lesson


def _told(lesson: Lesson) -> dict[str, Any]:
    return {
        "id": lesson.id,
        "title": lesson.words().title,
        "kind": "start" if lesson.start else "lesson",
        "by": lesson.by,
        "minutes": lesson.minutes,
        "steps": len(lesson.steps),
        "languages": sorted(lesson.texts),
        "folder": str(lesson.folder),
    }
