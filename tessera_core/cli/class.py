"""A class without a server: hand a pack out, take files back, and make the map of the class.

pack     what learners start from, as one file: region, embeddings, list of classes, tasks
hand-in  a learner's project as the file for the teacher
board    who has handed in what: labels, classes, score, lesson
map      the map that the class makes together, where it disagrees, all labels as one head, and how right these are

PROJECT is a project's folder, or its name as 'tessera project list' shows it. FOLDER holds the .tessera files that came back;
where --project is not given, the pack of the class lies in it, too.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core._utils.partial import left_out_lines
from tessera_core._utils.percents import percent
from tessera_core.cli.paths import Input, Output, Role

if TYPE_CHECKING:
    from tessera_core.classroom.byfiles import HandedIn
    from tessera_core.project.project import Project
    from tessera_core.raster import EmbeddingRaster


def _out(args: argparse.Namespace) -> Role | None:
    if args.task == "map":
        return Output(folder="into", inside=lambda _, out: [out / name for name in _FILES])
    return Output(
        endings=(".tesserapack",) if args.task == "pack" else (".csv",) if args.task == "board" else (".tessera",)
    )


_FILES = ("class-map.tif", "class-map_agreement.tif", "pooled-map.tif", "board.csv")
PATHS = {"folder": Input(), "out": _out}
EXAMPLES = (
    "tessera class pack Fen --out fen.tesserapack --task 'Label five places of each class.'",
    "tessera class hand-in Fen --nickname Ana --out ana.tessera",
    "tessera class board handed-in --project Fen",
    "tessera class map handed-in --project Fen --out class-map",
)
SUMMARY = "a class by files: its pack, its board and its map"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands and their arguments."""
    tasks = parser.add_subparsers(dest="task", metavar="TASK", required=True, help="see above; TASK --help tells more")
    pack = tasks.add_parser("pack", help="what learners start from, as one file")
    pack.add_argument("project", metavar="PROJECT", help="the teacher's, its folder or name")
    pack.add_argument("--out", required=True, metavar="FILE", help="the .tesserapack to write")
    pack.add_argument("--name", default="", help="of the class (default: the project's)")
    pack.add_argument("--classes", metavar="NAMES", default="", help="further classes, separated by commas")
    pack.add_argument(
        "--task", action="append", default=[], dest="tasks", metavar="TEXT", help="what is asked for; again for more"
    )
    pack.add_argument("--with-labels", action="store_true", help="hand out the project's labels and answers, too")
    hand = tasks.add_parser("hand-in", help="a learner's project as the file for the teacher")
    hand.add_argument("project", metavar="PROJECT", help="the learner's, its folder or name")
    hand.add_argument("--nickname", required=True, help="whose work it is")
    hand.add_argument("--out", required=True, metavar="FILE", help="the .tessera file to write")
    for name, what in (("board", "who has handed in what"), ("map", "the map of the class")):
        task = tasks.add_parser(name, help=what)
        task.add_argument("folder", metavar="FOLDER", help="with the .tessera files that came back")
        task.add_argument(
            "--project", metavar="PROJECT", help="what the learners started from (default: the pack in FOLDER)"
        )
        task.add_argument(
            "--out",
            metavar="FILE" if name == "board" else "FOLDER",
            help="CSV to write" if name == "board" else "folder for maps and board",
        )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Do the task.

    Raises:
        InputError: something given is not usable.
    """
    return {"task": args.task} | {"pack": _pack, "hand-in": _hand_in, "board": _board, "map": _map}[args.task](args)


def _pack(args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.classroom.byfiles import class_pack
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.cli.project import find_project

    path = class_pack(
        find_project(args.project),
        args.out,
        name=args.name,
        tasks=args.tasks,
        classes=[name.strip() for name in args.classes.split(",") if name.strip()],
        with_labels=args.with_labels,
        progress=ConsoleProgress("pack"),
    )
    return {"files": [str(path)]}


def _hand_in(args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.classroom.byfiles import hand_in
    from tessera_core.cli.project import find_project

    return {"files": [str(hand_in(find_project(args.project), args.out, args.nickname))]}


@contextmanager
def _template(args: argparse.Namespace) -> Iterator[Project]:
    """The project that the learners started from: the one that is named, or that of the pack in the folder."""
    from tessera_core.cli.project import find_project
    from tessera_core.errors import InputError
    from tessera_core.project.pack import SUFFIX, open_pack

    if args.project is not None:
        yield find_project(args.project)
        return
    packs = sorted(Path(args.folder).rglob(f"*{SUFFIX}"))
    if len(packs) != 1:
        raise InputError(
            f"{args.folder} holds {len(packs)} packs; say with --project what the learners started from, or put the pack of the "
            "class there."
        )
    with tempfile.TemporaryDirectory() as place:
        yield open_pack(packs[0], into=place)[0]


def _read(args: argparse.Namespace, template: Project) -> tuple[HandedIn, EmbeddingRaster]:
    from tessera_core.classroom.byfiles import files_in, read_files
    from tessera_core.classroom.together import year_of
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.sources.local.open import open_embeddings

    year = year_of(template)
    raster = open_embeddings(template.embeddings_path(year), year=year)
    return read_files(files_in(args.folder), raster, template.origin, progress=ConsoleProgress("read")), raster


def _told(handed: HandedIn) -> dict[str, Any]:
    return {
        "remarks": [*handed.replaced, *handed.remarks],
        "failed": [failure.to_json() for failure in handed.failed],
    }


def _board(args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core._utils.atomic import write_text
    from tessera_core.classroom.tables import board_csv, board_rows

    with _template(args) as template:
        handed, _ = _read(args, template)
        rows = board_rows(handed.works)
    if args.out:
        write_text(Path(args.out), board_csv(rows))
    return {"board": rows, "files": [str(args.out)] if args.out else []} | _told(handed)


def _map(args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core._utils.atomic import write_text
    from tessera_core.classroom.tables import board_csv, board_rows, summary
    from tessera_core.classroom.together import together, write_together
    from tessera_core.cli.console import ConsoleProgress

    with _template(args) as template:
        handed, raster = _read(args, template)
        found = together(handed.works, template, raster, progress=ConsoleProgress("vote"))
        rows = board_rows(handed.works, found)
        files = []
        if args.out:
            out = Path(args.out)
            files = write_together(found, out)
            write_text(out / "board.csv", board_csv(rows))
            files.append(out / "board.csv")
    return {"board": rows, "class_map": summary(found), "files": [str(path) for path in files]} | _told(handed)


def report(result: dict[str, Any]) -> str:
    """The result for people."""
    lines = [*_board_lines(result.get("board", []))]
    if (found := result.get("class_map")) is not None:
        lines += ["", *_map_lines(found)]
    lines += [*result.get("remarks", []), *left_out_lines(result)]
    lines += [f"Written: {path}" for path in result.get("files", [])]
    return "\n".join(lines)


def _board_lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        score = "no score yet" if row["held_out"] is None else f"{_percent(row['held_out'])} at places held out"
        right = "" if row["right"] is None else f", {_percent(row['right'])} in truth"
        lesson = f", {row['lesson']}" if row["lesson"] else ""
        yield f"{row['learner']:<20} {row['labels']:>4} labels of {row['classes']} classes, {score}{right}{lesson}"


def _map_lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"{found['voters']} of {found['learners']} learners have a map."
    if found["disputed"] is not None:
        yield f"On {_percent(found['disputed'])} of the region fewer than two thirds of the votes agree."
    for one in found["confused_classes"][:3]:
        a, b = one["classes"]
        yield f"Most often taken for each other: {a} and {b} ({_percent(one['share'])} of all pairs of votes)."
    for one in found["departures"][:3]:
        yield f"{one['learner']} differs from the class on {_percent(one['differs'])} of the region: {one['differently']}."
    for one in found["confused_learners"][:3]:
        (first, second), (a, b) = one["learners"], one["classes"]
        yield f"What {first} calls {a}, {second} calls {b} on {_percent(one['share'])} of the region."
    if (right := found["right"]) is not None:
        yield f"Right by {right['by']} ({right['places']:,} places):"
        if right["best"] is not None:
            yield f"  best single map   {_percent(right['best']['share'])} ({right['best']['learner']})"
            yield f"  single maps, mean {_percent(right['mean'])}"
        for name, what in (("consensus", "class map        "), ("pooled", "all labels as one")):
            if right[name] is not None:
                yield f"  {what} {_percent(right[name])}"
    yield from found["notes"]


def _percent(share: float) -> str:
    return f"{percent(share, 1)} %"
