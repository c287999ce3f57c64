"""Check a project's map at places drawn by chance, by one person or several; what follows holds whatever mistakes the map has.

draw      draw the places from the project's map
for-two   mean a share of them, drawn by chance, for two people, neither of whom sees what the other says
hand-out  the places for somebody else: .json for another copy of the project, .csv (Collect Earth Online), .geojson or .kml
take-in   answers that came back, from any of these files; where people differ, all they said is kept
grade     grade the map by a published sample of places with classes, of any file; --class says which class is which
pictures  fetch what satellites saw of every place, ahead: with the project and its packs it works without a network
settle    the class on which you settle where people differ
show      what follows: accuracy, areas, how far people agree, and both intervals; whether you may stop
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core.cli.head_options import add_reading_options, hints_of
from tessera_core.cli.paths import Declared, Input, Output
from tessera_core.cli.years import add_year

if TYPE_CHECKING:
    from tessera_core.project.project import Project
    from tessera_core.project.validate import Validation

PATHS: dict[str, Declared] = {
    "answers": Input(),
    "legend": Input(),
    "out": Output((".json", ".csv", ".geojson", ".kml")),
}
EXAMPLES = (
    "tessera validate draw Fen --margin 5",
    "tessera validate for-two Fen --share 25",
    "tessera validate hand-out Fen --out places.json",
    "tessera validate take-in Fen places-of-ann.json",
    'tessera validate grade Fen lucas.csv --field lc --class "A1=town" --class "C1=wood"',
    "tessera validate pictures Fen",
    "tessera validate settle Fen --place 12 --class wood --name Ann",
    "tessera validate show Fen",
)
SUMMARY = "check a project's map at places drawn by chance, with one person or several"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands and their arguments."""
    tasks = parser.add_subparsers(dest="task", metavar="TASK", required=True, help="see above; TASK --help tells more")
    draw = _task(tasks, "draw", "draw the places from the project's map")
    draw.add_argument(
        "--design", choices=("stratified", "random", "systematic"), default="stratified", help="of the sample"
    )
    draw.add_argument(
        "--margin", type=float, default=5.0, help="wanted half width of the interval, points (default: 5)"
    )
    draw.add_argument("--at-least", type=int, default=10, help="places in every class (default: 10)")
    draw.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    for_two = _task(tasks, "for-two", "mean a share of the places for two people")
    for_two.add_argument("--share", type=float, default=25.0, help="percent of the places (default: 25)")
    for_two.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    out = _task(tasks, "hand-out", "the places for somebody else to answer")
    out.add_argument("--out", required=True, help="file to write; its ending chooses the form")
    back = _task(tasks, "take-in", "answers that came back")
    back.add_argument(
        "answers", metavar="FILE", help=".json that was handed out, or a table, GeoJSON or KML with PLOTID"
    )
    grade = _task(tasks, "grade", "grade the map by a published sample of places")
    grade.add_argument("answers", metavar="FILE", help="places with classes: table, GeoJSON, KML, any vector file")
    grade.add_argument("--field", metavar="NAME", help="column of the classes (default: one is chosen and named)")
    grade.add_argument(
        "--class",
        dest="pairs",
        action="append",
        metavar="THEIRS=YOURS",
        help="which class of the map theirs is; again for more (default: those of the same name)",
    )
    grade.add_argument("--legend", metavar="FILE", help="the same as CSV: their class, class of the map")
    add_reading_options(grade)
    pictures = _task(tasks, "pictures", "fetch what satellites saw of every place, ahead")
    pictures.add_argument(
        "--whole-year",
        action="store_true",
        help="all days of the whole region, with radar; gigabytes instead of megabytes",
    )
    settle = _task(tasks, "settle", "the class on which you settle a place")
    settle.add_argument("--place", type=int, required=True, help="its number, from 1")
    settle.add_argument("--class", dest="class_name", required=True, help="name of the class")
    settle.add_argument("--name", required=True, help="who settles it")
    _task(tasks, "show", "what follows from the answers so far")


def _task(tasks: Any, name: str, about: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = tasks.add_parser(name, help=about)
    parser.add_argument("project", metavar="PROJECT", help="its folder, or its name")
    add_year(parser, "the year whose map is checked, where the project has several")
    return parser


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Do one task; returns what came of it.

    Raises:
        TesseraError: the project, the file or an argument does not fit.
    """
    from tessera_core.cli.project import find_project

    project = find_project(args.project)
    year = args.year if args.year is not None else max(project.years, default=None)
    result = {"task": args.task, "project": project.name, "year": year}
    if args.task in ("draw", "grade"):
        return result | {"draw": _draw, "grade": _grade}[args.task](project, year, args)
    known = _known(project, year)
    return result | {
        "for-two": _for_two, "hand-out": _hand_out, "take-in": _take_in, "pictures": _pictures, "settle": _settle,
        "show": _show,
    }[args.task](project, known, args)  # fmt: skip


def _known(project: Project, year: int | None) -> Validation:
    from tessera_core.errors import InputError
    from tessera_core.project import validate

    known = validate.load(project, year)
    if known is None:
        raise InputError(
            f"The map of {year or 'this project'} has no places to check yet; draw them: tessera validate draw {project.name}."
        )
    return known


def _mapped(project: Project, year: int | None) -> tuple[Any, Any]:
    """Classes (H, W) of the project's map, and their grid."""
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.project.classify import map_project
    from tessera_core.sources.local.open import open_embeddings

    raster = open_embeddings(project.embeddings_path(year), year=year)
    return map_project(project, raster, year, progress=ConsoleProgress("map")).map.classes, raster.grid


def _grade(project: Project, year: int | None, args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.assess.published import read_published
    from tessera_core.errors import InputError
    from tessera_core.labels.weak import parse_legend, read_legend
    from tessera_core.project import validate
    from tessera_core.project.response import respond

    if args.legend and args.pairs:
        raise InputError("Give the legend either as a file (--legend) or line by line (--class), not both.")
    legend = read_legend(args.legend) if args.legend else parse_legend(args.pairs) if args.pairs else None
    classes, grid = _mapped(project, year)
    names = {c.id: c.name for c in project.log.classes}
    reading = {"field": args.field, "crs": args.crs, "hints": hints_of(args)}
    found = read_published(args.answers, grid, classes, names, legend, **reading)
    # Whoever reads the report sees whose places they were.
    behind = respond(evidence=Path(args.answers).name)
    graded = validate.Validation(year, grid, found.sample, responses=dict.fromkeys(range(len(found.sample)), behind))
    kept = validate.start(project, graded)
    sentences = found.sentences()
    if kept is not None:
        sentences.append(f"The earlier places and answers are kept as {kept.name}.")
    assessed = graded.assess()
    sentences += assessed.sentences(names, "ha" if grid.georeferenced else "pixels")
    return {"places": len(found.sample), "column": found.column, "left_out": found.left_out, "sentences": sentences}


def _draw(project: Project, year: int | None, args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.assess.designs import draw
    from tessera_core.project import validate

    classes, grid = _mapped(project, year)
    plan = validate.plan(classes, args.design, args.margin / 100, at_least=args.at_least)
    sample = draw(classes, plan.n, args.design, at_least=args.at_least, seed=args.seed)
    kept = validate.start(project, validate.Validation(year, grid, sample, margin=args.margin / 100))
    sentences = [f"{len(sample)} places were drawn; answer them in the app, or hand them out."]
    if kept is not None:
        sentences.append(f"The earlier places and answers are kept as {kept.name}.")
    return {"places": len(sample), "sentences": sentences}


def _for_two(project: Project, known: Validation, args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.project import second, validate

    changed = validate.change(project, known.year, lambda now: second.for_two(now, args.share / 100, args.seed))
    n = len(changed.doubled) if changed is not None else 0
    return {"places": n, "sentences": [f"{n} of {len(known.sample)} places are meant for two people."]}


def _hand_out(project: Project, known: Validation, args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core._utils.atomic import write_text
    from tessera_core.assess.exchange import sample_text
    from tessera_core.project import second

    out = Path(args.out)
    if out.suffix.lower() == ".json":
        second.hand_out(known, out)
    else:
        write_text(out, sample_text(known.sample, known.grid, out.suffix.lower(), project.name))
    return {"out": str(out), "sentences": [f"{len(known.sample)} places, without anybody's answers: {out}"]}


def _take_in(project: Project, known: Validation, args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.assess.exchange import read_answers
    from tessera_core.project import second, validate

    if Path(args.answers).suffix.lower() == ".json":
        theirs = second.read_handed(args.answers)
        came = second.merged(known, theirs)
        validate.change(project, known.year, lambda now: second.merged(now, theirs).validation)
        return {"taken": came.taken, "differing": came.differing, "sentences": came.sentences()}
    read = read_answers(args.answers, known.sample, {c.id: c.name for c in project.log.classes})
    changed = validate.change(project, known.year, lambda now: now.with_answers(read))
    differing = 0 if changed is None else len(second.differing(changed))
    return {"taken": len(read.classes) + len(read.others), "differing": differing, "sentences": read.sentences()}


def _pictures(project: Project, known: Validation, args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.errors import InputError
    from tessera_core.project import place_pictures

    if known.year is None or place_pictures.request_for(project, known.year) is None:
        raise InputError(
            f"{project.name} has no year or no place on Earth, so no satellite pictures can be found for it."
        )
    fetch = place_pictures.fetch if args.whole_year else place_pictures.fetch_clearest
    came = fetch(project, known.year, ConsoleProgress("pictures"), lambda: False)
    return {
        "with_pictures": came.places,
        "places": came.of,
        "missing": list(came.missing),
        "sentences": came.sentences(),
    }


def _settle(project: Project, known: Validation, args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.errors import InputError
    from tessera_core.project import second, validate
    from tessera_core.project.response import Opinion, respond

    ids = {c.name.casefold(): c.id for c in project.log.classes}
    if args.class_name.casefold() not in ids:
        raise InputError(f"There is no class {args.class_name!r}; there are {', '.join(ids)}.")
    place = args.place - 1
    if place not in known.opinions:
        open_ = ", ".join(str(k + 1) for k in second.differing(known)) or "none"
        raise InputError(f"Place {args.place} has no answers of two people; those where people differ: {open_}.")
    final = Opinion(class_id=ids[args.class_name.casefold()], response=respond(interpreter=args.name))
    changed = validate.change(project, known.year, lambda now: now.settle(place, final)) or known
    left = [k + 1 for k in second.differing(changed)]
    rest = (
        f"Open are {', '.join(map(str, left))}." if left else "No place is left of which people say different things."
    )
    return {"open": left, "sentences": [f"Place {args.place} is settled. {rest}"]}


def _show(project: Project, known: Validation, args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.errors import LabelError
    from tessera_core.project import second, validate

    names = {c.id: c.name for c in project.log.classes}
    sentences = [f"{known.seen} of {len(known.sample)} places were looked at."]
    try:
        found = known.assess()
        sentences += found.sentences(names, "ha" if known.grid.georeferenced else "pixels")
    except LabelError as error:
        sentences.append(str(error))
    sentences += _by_depth(project, known)
    sentences += second.sentences(known)
    sentences += validate.sure_sentences(known)
    return {"seen": known.seen, "places": len(known.sample), "sentences": sentences}


def _by_depth(project: Project, known: Validation) -> list[str]:
    """Accuracy where ground was seen rarely and where it was seen well; nothing where nobody counted, or they are away."""
    from tessera_core.assess.by_depth import accuracy_by_depth
    from tessera_core.errors import TesseraError
    from tessera_core.sources.local.open import open_embeddings

    try:
        raster = open_embeddings(project.embeddings_path(known.year), year=known.year)
    except TesseraError as error:
        return [str(error)]
    if raster.observations is None or raster.shape != known.grid.shape:
        return []
    mapped, least = raster.valid(), project.settings.least_seen
    if least is not None:
        mapped &= ~raster.seldom_seen(least)
    return [part.sentence for part in accuracy_by_depth(known.sample, raster.observations[..., 0], mapped)]


def report(result: dict[str, Any]) -> str:
    """What came of it, for people."""
    return "\n".join(result["sentences"])
