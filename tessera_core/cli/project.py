"""Make, open, list and fill projects without the app; the app finds the same ones under Recent.

new         a project of embeddings: one folder or file, several, or a folder with a subfolder for each year
open        a .tessera file or a .tesserapack: what it holds becomes projects on this computer
list        all projects on this computer, last changed first
info        what a project holds
add         put further embeddings into a project: another year, or another window of one
add-labels  take the labels of a file in, as one step that Undo in the app takes back
link        say where the embeddings lie that a project from elsewhere was made on
rename      give a project another name

PROJECT is a project's folder, or its name as 'tessera project list' shows it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core._utils.partial import left_out_lines
from tessera_core.cli.head_options import add_reading_options, hints_of
from tessera_core.cli.paths import Input, Output
from tessera_core.cli.years import one_year

if TYPE_CHECKING:
    from tessera_core.labels.importing import ImportedLabels
    from tessera_core.project.project import Project

PATHS = {"embeddings": Input(), "file": Input(), "out": Output(folder="into")}
EXAMPLES = (
    "tessera project new Fen embeddings/2023 embeddings/2024",
    "tessera project add Fen embeddings/2024",
    "tessera project open course.tesserapack",
    "tessera project add-labels Fen fields.gpkg --field crop",
    "tessera project link Fen embeddings",
    "tessera project list",
)
SUMMARY = "make, open, list and fill projects without the app"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands and their arguments."""
    tasks = parser.add_subparsers(dest="task", metavar="TASK", required=True, help="see above; TASK --help tells more")
    new = tasks.add_parser("new", help="a project of embeddings")
    new.add_argument("name", help="what to call it")
    new.add_argument("embeddings", nargs="+", metavar="EMBEDDINGS", help="in any layout we read; one dataset and grid")
    new.add_argument("--out", metavar="FOLDER", help="new or empty folder for it (default: where projects are kept)")
    added = tasks.add_parser("add", help="put further embeddings into a project, beside its years")
    added.add_argument("project", metavar="PROJECT", help="its folder or name")
    added.add_argument("embeddings", nargs="+", metavar="EMBEDDINGS", help="of the project's dataset and coordinates")
    opened = tasks.add_parser("open", help="a .tessera file or a .tesserapack becomes projects on this computer")
    opened.add_argument("file", metavar="FILE", help=".tessera file, .tesserapack, or a project's folder to remember")
    tasks.add_parser("list", help="all projects on this computer")
    info = tasks.add_parser("info", help="what a project holds")
    info.add_argument("project", metavar="PROJECT", help="its folder or name")
    labels = tasks.add_parser("add-labels", help="take the labels of a file in")
    labels.add_argument("project", metavar="PROJECT", help="its folder or name")
    labels.add_argument("file", metavar="FILE", help="vector file, table, or class raster (points are drawn from it)")
    labels.add_argument("--field", metavar="NAME", help="attribute that is the class (default: chosen by content)")
    labels.add_argument("--layer", metavar="NAME", help="layer of the file, where it has several")
    add_reading_options(labels)
    labels.add_argument("--per-class", type=int, default=20, metavar="N", help="most points of a class of a raster")
    link = tasks.add_parser("link", help="say where the embeddings lie that a project from elsewhere was made on")
    link.add_argument("project", metavar="PROJECT", help="its folder or name")
    link.add_argument("embeddings", metavar="EMBEDDINGS", help="file or folder; of all years, or of the one of --year")
    link.add_argument("--year", type=one_year, help="the year that they are of (default: every year that is wanted)")
    rename = tasks.add_parser("rename", help="give a project another name")
    rename.add_argument("project", metavar="PROJECT", help="its folder or name")
    rename.add_argument("name", help="the new name")


def check(args: argparse.Namespace) -> None:
    """Refuse a folder that holds something, and options that do not go with the file.

    Raises:
        InputError: it does, or they do not.
    """
    from tessera_core._utils.atomic import require_replaceable
    from tessera_core.errors import InputError

    if args.task == "new" and args.out:
        require_replaceable(args.out, None)
    if "name" in args and not args.name.strip():
        raise InputError("A project needs a name.")
    if args.task == "new":
        _require_free(args.name)
    if args.task == "add-labels" and args.per_class < 1:
        raise InputError("--per-class must be at least 1.")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Do the task; returns the projects that it is about.

    Raises:
        InputError: something given is not usable.
    """
    task = {"new": _new, "add": _add, "open": _open, "list": _list, "info": _info, "add-labels": _add_labels}
    task |= {"link": _link, "rename": _rename}
    return {"task": args.task} | task[args.task](args)


def find_project(text: str) -> Project:
    """The project in a folder, or the one of that name on this computer.

    Raises:
        InputError: there is none, several have the name, or it is a file to be opened first.
    """
    import difflib

    from tessera_core.errors import InputError
    from tessera_core.project.library import recent
    from tessera_core.project.project import Project

    path = Path(text).expanduser()
    if path.exists():
        if path.is_file() and path.name != "project.json":
            raise InputError(f"{path.name} is a file; make a project of it with 'tessera project open {path}'.")
        return Project.open(path)
    known = recent()
    found = [entry for entry in known if text in (entry.name, entry.folder.name)]
    if len(found) > 1:
        places = ", ".join(str(entry.folder) for entry in found)
        raise InputError(f"Several projects are called {text!r}; give the folder of one: {places}.")
    if not found:
        near = difflib.get_close_matches(text, [entry.name for entry in known], 1)
        raise InputError(
            f"There is no project {text!r}{f' (did you mean {near[0]}?)' if near else ''}; 'tessera project list' names all."
        )
    return Project.open(found[0].folder)


def _require_free(name: str, itself: Project | None = None) -> None:
    """Refuse a name that another project has: commands that name it would not know which one is meant.

    Raises:
        InputError: another than ``itself`` has the name.
    """
    from tessera_core.errors import InputError
    from tessera_core.project.library import free_name, recent

    here = itself.folder.resolve() if itself else None
    for entry in recent():
        if name == entry.name and entry.folder != here:
            raise InputError(
                f"There is a project {name!r} already, in {entry.folder}. Choose another name, such as {free_name(name)!r}; "
                "'tessera project add' puts embeddings into one that is there."
            )


def _told(project: Project) -> dict[str, Any]:
    return {
        "name": project.name,
        "folder": str(project.folder),
        "dataset": project.dataset,
        "years": project.years,
        "labels": len(project.log.labels),
        "wanted": [want.sentence for want in project.wanted.values()],
    }


def _new(args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.project.library import Identified, identify, start

    found = [identify(str(Path(path).resolve())) for path in args.embeddings]
    projects = [one.project for one in found if one.project is not None]
    if projects:
        from tessera_core.errors import InputError

        raise InputError(f"{projects[0]} is a project already; 'tessera project open' remembers it.")
    rasters = tuple(raster for one in found for raster in one.rasters)
    tiles = tuple(tile for one in found for tile in one.dpixels)
    project = start(Identified(args.name, rasters, tiles), args.name, Path(args.out) if args.out else None)
    failed = [failure.to_json() for one in found for failure in one.failed]
    return {"projects": [_told(project)], "failed": failed}


def _add(args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.project.library import add, identify

    project = find_project(args.project)
    found = [identify(str(Path(path).resolve())) for path in args.embeddings]
    for one in found:
        add(project, one)
    failed = [failure.to_json() for one in found for failure in one.failed]
    return {"projects": [_told(project)], "failed": failed}


def _open(args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.project.library import adopt
    from tessera_core.project.pack import is_pack, open_pack

    path = Path(args.file).resolve()
    made = open_pack(path, progress=ConsoleProgress("open")) if is_pack(path) else [adopt(path)]
    return {"projects": [_told(project) for project in made]}


def _list(args: argparse.Namespace) -> dict[str, Any]:
    from datetime import datetime

    from tessera_core.project.library import recent

    return {
        "projects": [
            {
                "name": entry.name,
                "folder": str(entry.folder),
                "dataset": entry.dataset,
                "saved_at": datetime.fromtimestamp(entry.saved_at).astimezone().isoformat(timespec="seconds"),
            }
            for entry in recent()
        ]
    }


def _info(args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.cli.info import describe

    return {"items": describe(str(find_project(args.project).folder))}


def _add_labels(args: argparse.Namespace) -> dict[str, Any]:
    project = find_project(args.project)
    found = read_into(project, args.file, args, args.per_class)
    count = project.log.import_labels(found.classes, found.labels)
    return {"projects": [_told(project)], "added": count, "import": found.report.to_json()}


def read_into(project: Project, file: str, args: argparse.Namespace, per_class: int = 20) -> ImportedLabels:
    """The labels of a file on a project's grid, read as the options say; see :func:`tessera_core.project.label_files.read_for`."""
    from tessera_core.project.label_files import read_for

    return read_for(project, file, args.field, args.crs, hints_of(args), per_class)


def _link(args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.errors import ProjectError
    from tessera_core.project.library import relink

    project = find_project(args.project)
    years = list(project.wanted) if args.year is None else [args.year]
    if not years:
        raise ProjectError(f"All embeddings of {project.name!r} are linked; give --year to link those of a year anew.")
    remarks = {relink(project, year, str(Path(args.embeddings).resolve())) for year in years} - {""}
    return {"projects": [_told(project)], "remarks": sorted(remarks)}


def _rename(args: argparse.Namespace) -> dict[str, Any]:
    project = find_project(args.project)
    _require_free(args.name, project)
    project.update(name=args.name)
    return {"projects": [_told(project)]}


def report(result: dict[str, Any]) -> str:
    """What is there now, for people."""
    if "items" in result:
        from tessera_core.cli import info

        return info.report(result | {"failed": []})
    lines = []
    for one in result["projects"]:
        years = f", {', '.join(map(str, one['years']))}" if one.get("years") else ""
        labels = f", {one['labels']} labels" if "labels" in one else f", saved {one['saved_at']}"
        lines.append(f"{one['name']}: {one['folder']}\n  {one['dataset'] or 'no embeddings yet'}{years}{labels}")
        lines += one.get("wanted", [])
    lines += [*result.get("remarks", []), *left_out_lines(result)]
    if "added" in result:
        lines = [f"{result['added']} labels added.", *result["import"]["text"], *lines]
    return "\n".join(lines) or "There are no projects on this computer yet; 'tessera project new' makes one."
