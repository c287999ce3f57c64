"""Check a project's map at places drawn by chance, by one person or several; what follows holds whatever mistakes the map has.

draw      draw the places from the project's map
for-two   mean a share of them, drawn by chance, for two people, neither of whom sees what the other says
hand-out  the places for somebody else: .json for another copy of the project, .csv (Collect Earth Online), .geojson or .kml
take-in   answers that came back, from any of these files; where people differ, all they said is kept
grade     grade the map by a published sample of places with classes, of any file; --class says which class is which
pictures  fetch what satellites saw of every place, ahead: with the project and its packs it works without a network
settle    the class on which you settle where people differ
show      what follows: accuracy, areas, how far people agree, and both intervals; whether you may stop
compare   draw places where two maps differ, to tell which is better: the project's map and another year's, a kept head's, or a
          GeoTIFF of classes on any grid; or any two of these. Afterwards the other tasks take --two-maps
certify   the part of the map that is wrong at most a share, with a risk, as a GeoTIFF (1 certified, 2 not, 0 no data)
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core.cli.head_options import add_reading_options, hints_of
from tessera_core.cli.paths import Declared, Input, Output
from tessera_core.cli.years import add_year

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tessera_core.assess.area import Assessment
    from tessera_core.project.project import Project
    from tessera_core.project.validate import Validation


def _out(args: argparse.Namespace) -> Output | None:
    if args.task == "certify":
        return Output((".tif", ".tiff")) if args.out else None
    return Output((".json", ".csv", ".geojson", ".kml"))


PATHS: dict[str, Declared] = {"answers": Input(), "out": _out, "legend": Input()}
EXAMPLES = (
    "tessera validate draw Fen --margin 5",
    "tessera validate for-two Fen --share 25",
    "tessera validate hand-out Fen --out places.json",
    "tessera validate take-in Fen places-of-ann.json",
    'tessera validate grade Fen lucas.csv --field lc --class "A1=town" --class "C1=wood"',
    "tessera validate pictures Fen",
    "tessera validate settle Fen --place 12 --class wood --name Ann",
    "tessera validate show Fen",
    "tessera validate compare Fen official.tif --class 10=Wood --class 20=Wood --plan",
    "tessera validate show Fen --two-maps",
    "tessera validate certify Fen --most-wrong 10 --risk 5 --out certified.tif",
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
    how_much = pictures.add_mutually_exclusive_group()
    how_much.add_argument(
        "--series",
        action="store_true",
        help="also how green each place was on two days of every month; tens of megabytes for each 5 x 5 km with places",
    )
    how_much.add_argument(
        "--whole-year",
        action="store_true",
        help="all days of the whole region, with radar; gigabytes instead of megabytes",
    )
    settle = _task(tasks, "settle", "the class on which you settle a place")
    settle.add_argument("--place", type=int, required=True, help="its number, from 1")
    settle.add_argument("--class", dest="class_name", required=True, help="name of the class")
    settle.add_argument("--name", required=True, help="who settles it")
    _task(tasks, "show", "what follows from the answers so far")
    _add_compare(tasks)
    part = _task(tasks, "certify", "the part of the map that is wrong at most a share")
    part.add_argument("--most-wrong", type=float, help="percent that may be wrong (default: as chosen before, or 10)")
    part.add_argument("--risk", type=float, help="percent, how often more may be (default: as chosen before, or 5)")
    part.add_argument("--out", help="GeoTIFF to write, .tif")


def _add_compare(tasks: Any) -> None:
    parser = _task(tasks, "compare", "draw places where two maps differ")
    parser.add_argument(
        "maps",
        metavar="MAP",
        nargs="+",
        help="a year of the project, a kept head or its file, or a GeoTIFF of classes; one is compared with the project's map",
    )
    parser.add_argument("--legend", metavar="FILE", help="CSV: class of the other map (name or code), your class")
    parser.add_argument(
        "--class",
        dest="pairs",
        metavar="THEIRS=YOURS",
        action="append",
        default=[],
        help="a line of the legend; again for more",
    )
    parser.add_argument(
        "--better",
        type=float,
        default=30.0,
        help="of 100 places where they differ, how many more one has to be right at for you to care (default: 30)",
    )
    parser.add_argument(
        "--risk", type=float, default=5.0, help="percent, how often one is called better though none is (5)"
    )
    parser.add_argument("--places", type=int, help="how many to draw (default: as many as that takes)")
    parser.add_argument(
        "--settled",
        action="store_true",
        help="settle the number now: no verdict before the last answer, and fewer places",
    )
    parser.add_argument("--plan", action="store_true", help="only say how they differ and how many places it takes")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")


def _task(tasks: Any, name: str, about: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = tasks.add_parser(name, help=about)
    parser.add_argument("project", metavar="PROJECT", help="its folder, or its name")
    add_year(parser, "the year whose map is checked, where the project has several")
    if name not in ("draw", "grade", "compare", "certify", "pictures"):
        parser.add_argument(
            "--two-maps",
            action="store_true",
            help="of the places that compare two maps, instead of those that check one",
        )
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
    if args.task in ("draw", "grade", "compare"):
        return result | {"draw": _draw, "grade": _grade, "compare": _compare}[args.task](project, year, args)
    known = _known(project, year, two_maps=getattr(args, "two_maps", False))
    return result | {
        "for-two": _for_two, "hand-out": _hand_out, "take-in": _take_in, "pictures": _pictures, "settle": _settle,
        "show": _show, "certify": _certify,
    }[args.task](project, known, args)  # fmt: skip


def _known(project: Project, year: int | None, *, two_maps: bool = False) -> Validation:
    from tessera_core.errors import InputError
    from tessera_core.project import validate

    known = validate.load(project, year, two_maps=two_maps)
    if known is None and two_maps:
        raise InputError(
            f"No two maps of {year or 'this project'} are compared yet; begin: tessera validate compare {project.name} MAP."
        )
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

    if args.legend and args.pairs:
        raise InputError("Give the legend either as a file (--legend) or line by line (--class), not both.")
    legend = read_legend(args.legend) if args.legend else parse_legend(args.pairs) if args.pairs else None
    classes, grid = _mapped(project, year)
    names = {c.id: c.name for c in project.log.classes}
    reading = {"field": args.field, "crs": args.crs, "hints": hints_of(args)}
    found = read_published(args.answers, grid, classes, names, legend, **reading)
    graded = validate.graded(year, grid, found, Path(args.answers).name)
    kept = validate.start(project, graded)
    sentences = found.sentences()
    if kept is not None:
        sentences.append(f"The earlier places and answers are kept as {kept.name}.")
    assessed = graded.assess()
    sentences += assessed.sentences(names, validate.unit_of(graded))
    sentences += validate.taught_sentences(project, graded)
    return {
        "places": len(found.sample),
        "column": found.column,
        "left_out": found.left_out,
        "unnamed": found.unnamed,
        "sentences": sentences,
    }


def _draw(project: Project, year: int | None, args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.assess.designs import draw
    from tessera_core.project import sample_plan, validate

    classes, grid = _mapped(project, year)
    plan = sample_plan.plan(classes, args.design, args.margin / 100, at_least=args.at_least)
    sample = draw(classes, plan.n, args.design, at_least=args.at_least, seed=args.seed)
    kept = validate.start(project, validate.Validation(year, grid, sample, margin=args.margin / 100))
    sentences = [f"{len(sample)} places were drawn; answer them in the app, or hand them out."]
    if kept is not None:
        sentences.append(f"The earlier places and answers are kept as {kept.name}.")
    return {"places": len(sample), "sentences": sentences}


def _for_two(project: Project, known: Validation, args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.project import second, validate

    changed = validate.change(
        project,
        known.year,
        lambda now: second.for_two(now, args.share / 100, args.seed),
        two_maps=known.two_maps,
    )
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
        validate.change(project, known.year, lambda now: second.merged(now, theirs).validation, two_maps=known.two_maps)
        return {"taken": came.taken, "differing": came.differing, "sentences": came.sentences()}
    read = read_answers(args.answers, known.sample, {c.id: c.name for c in project.log.classes})
    changed = validate.change(project, known.year, lambda now: now.with_answers(read), two_maps=known.two_maps)
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
    fetch = place_pictures.fetch_series if args.series else place_pictures.fetch_clearest
    fetch = place_pictures.fetch if args.whole_year else fetch
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
    changed = (
        validate.change(project, known.year, lambda now: now.settle(place, final), two_maps=known.two_maps) or known
    )
    left = [k + 1 for k in second.differing(changed)]
    rest = (
        f"Open are {', '.join(map(str, left))}." if left else "No place is left of which people say different things."
    )
    return {"open": left, "sentences": [f"Place {args.place} is settled. {rest}"]}


def _show(project: Project, known: Validation, args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.errors import LabelError
    from tessera_core.project import second, stopping, two_maps, validate

    result: dict[str, Any] = {"seen": known.seen, "places": len(known.sample)}
    if known.two_maps:
        told = [f"{known.seen} of {len(known.sample)} places were looked at.", *two_maps.told(known)]
        found = two_maps.verdict(known)
        return result | {"verdict": None if found is None else vars(found), "sentences": told}
    drawn, classes, told = _on_todays_map(project, known)
    names = {c.id: c.name for c in project.log.classes}
    result["unit"] = validate.unit_of(known)
    sentences = [f"{known.seen} of {len(known.sample)} places were looked at.", *told]
    try:
        assessed = drawn.assess()
        sentences += assessed.sentences(names, validate.unit_of(known))
        sentences += _accuracies(assessed, names)
        result |= _estimates(drawn, assessed, names)
    except LabelError as error:
        sentences.append(str(error))
    sentences += validate.taught_sentences(project, known)
    sentences += _by_depth(project, drawn, classes)
    sentences += second.sentences(drawn)
    sentences += stopping.sure_sentences(drawn)
    return result | {"sentences": sentences}


def _accuracies(found: Assessment, names: dict[int, str]) -> Iterator[str]:
    """A line for each class, as the table of the page has it."""
    from tessera_core.export.report.words import share_text
    from tessera_core.project.report import estimate

    yield "Of the ground mapped as a class, how much is it; of the class on the ground, how much is mapped so (95 % sure):"
    for one in found.classes:
        users, producers = (share_text(estimate(share)) for share in (one.users, one.producers))
        yield f"  {names.get(one.id, str(one.id))}: right of mapped {users}, found {producers}"


def _estimates(drawn: Validation, found: Assessment, names: dict[int, str]) -> dict[str, Any]:
    """The numbers behind them, as the report has them."""
    import msgspec

    from tessera_core.assess.nonresponse import worst_case
    from tessera_core.project.report import checked_class, estimate

    worst = worst_case(drawn.sample, drawn.undecided) if drawn.undecided else None
    classes = [checked_class(one, found.total_area, names, worst) for one in found.classes]
    told = {"overall": estimate(found.overall), "worst": worst and worst.overall, "classes": classes}
    return {name: msgspec.to_builtins(value) for name, value in told.items()}


def _on_todays_map(project: Project, known: Validation) -> tuple[Validation, Any, list[str]]:
    """The sample as the page has it, on the map as it is now, with its classes (H, W); or as it was drawn, and why."""
    from tessera_core.errors import TesseraError

    try:
        classes, _ = _mapped(project, known.year)
        return known.on_map(classes), classes, []
    except TesseraError as error:
        return known, None, [f"{error} What follows is of the map from which the places were drawn."]


def _by_depth(project: Project, known: Validation, classes: Any) -> list[str]:
    """Accuracy where ground was seen rarely and where it was seen well; nothing where nobody counted, or there is no map."""
    from tessera_core.assess.by_depth import accuracy_by_depth
    from tessera_core.sources.local.open import open_embeddings

    if classes is None:
        return []
    seen = open_embeddings(project.embeddings_path(known.year), year=known.year).observations
    if seen is None:
        return []
    return [part.sentence for part in accuracy_by_depth(known.sample, seen[..., 0], classes > 0)]


def _compare(project: Project, year: int | None, args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.errors import InputError
    from tessera_core.project import two_maps
    from tessera_core.sources.local.open import open_embeddings

    if len(args.maps) > 2:
        raise InputError(f"Two maps can be compared; {len(args.maps)} are named.")
    given = args.maps if len(args.maps) == 2 else [year if year is not None else "", *args.maps]
    legend = _legend(args)
    first, other = (two_maps.map_of(project, year, one, progress=ConsoleProgress("map")) for one in given)
    pair = two_maps.paired(first, other, {c.id: c.name for c in project.log.classes}, legend)
    plan = two_maps.plan(pair.found.share, args.better / 100, risk=args.risk / 100)
    result: dict[str, Any] = {
        "share": pair.found.share, "compared": pair.found.compared, "needed": plan.settled, "needed_at_any_time": plan.any_time,
        "sentences": [*pair.sentences(), *plan.sentences()],
    }  # fmt: skip
    if args.plan:
        return result
    needed = plan.settled if args.settled else plan.any_time
    if args.places is None and needed is None:
        raise InputError(
            f"{plan.sentences()[0]} Ask for a larger difference (--better), or say how many places (--places)."
        )
    n = args.places if args.places is not None else needed
    grid = open_embeddings(project.embeddings_path(year), year=year).grid
    current = two_maps.drawn(pair, grid, year, n or 0, planned=args.settled, risk=args.risk / 100, seed=args.seed)
    kept = two_maps.start(project, current, pair)
    lines = [
        f"{len(current.sample)} places were drawn where they differ; answer them in the app, or hand them out with --two-maps."
    ]
    if kept is not None:
        lines.append(f"The earlier comparison and its answers are kept as {kept.name}.")
    return result | {"places": len(current.sample), "sentences": [*result["sentences"], *lines]}


def _legend(args: argparse.Namespace) -> list[tuple[str, str]] | None:
    from tessera_core.errors import InputError
    from tessera_core.labels.weak import legend_lines, read_legend_lines

    if args.legend and args.pairs:
        raise InputError("Give the legend either as a file (--legend) or line by line (--class), not both.")
    if args.legend:
        return read_legend_lines(args.legend)
    return legend_lines(args.pairs) if args.pairs else None


def _certify(project: Project, known: Validation, args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.labels.sampling import label_pixels
    from tessera_core.project import validate
    from tessera_core.project.certified import asked_for, certified_part, write_certified
    from tessera_core.project.classify import map_project
    from tessera_core.sources.local.open import open_embeddings

    asked = known.promise
    most_wrong = asked.most_wrong if args.most_wrong is None else args.most_wrong / 100
    risk = asked.risk if args.risk is None else args.risk / 100
    if (most_wrong, risk) != (asked.most_wrong, asked.risk):
        known = validate.change(project, known.year, lambda now: asked_for(now, most_wrong, risk)) or known
    raster = open_embeddings(project.embeddings_path(known.year), year=known.year)
    made = map_project(project, raster, known.year, progress=ConsoleProgress("map")).map
    current = known.on_map(made.classes)
    part = certified_part(current, made.classes, made.confidence, label_pixels(project.log.labels, current.grid))
    result: dict[str, Any] = {"sentences": part.sentences(), "out": None}
    if part.found is not None:
        found = part.found
        result |= {"share": found.share, "places": found.places, "wrong": found.wrong, "hectares": part.hectares}
    if args.out:
        out = write_certified(args.out, part, made.classes, made.confidence, current, raster.provenance)
        result |= {"out": str(out), "sentences": [*part.sentences(), f"Wrote {out}"]}
    return result


def report(result: dict[str, Any]) -> str:
    """What came of it, for people."""
    return "\n".join(result["sentences"])
