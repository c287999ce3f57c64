"""The places of one map: list them, put projects together, map all of them with one head.

Places are projects that belong together, as the app's "Learn also from" makes them or --add. One head is taught by the labels of
all; each place is left out once, and the result says how right the head is there. --out writes the map of each place on its own
grid, and one virtual raster for each coordinate system, map_EPSG.vrt. Without it places are listed; --score says how the head
travels.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from tessera_core.cli.paths import Output

if TYPE_CHECKING:
    from tessera_core.project.place_maps import PlaceMaps
    from tessera_core.project.project import Project

SUMMARY = "the places of one map: list them, map all of them"
EXAMPLES = (
    "tessera places Kent",
    "tessera places Kent --add Essex --add Fens",
    "tessera places Kent --out maps --confidence",
)
PATHS = {"out": Output(folder="into")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("project", metavar="PROJECT", help="folder or name of one of them")
    parser.add_argument(
        "--add", metavar="OTHER", action="append", default=[], help="make a project a place; repeatable"
    )
    parser.add_argument("--remove", metavar="OTHER", action="append", default=[], help="take a place out; repeatable")
    parser.add_argument("--score", action="store_true", help="teach the head and say how right it is in each place")
    parser.add_argument("--out", metavar="FOLDER", help="map all places into this folder")
    parser.add_argument("--confidence", action="store_true", help="with --out: write confidence as well")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Do it.

    Raises:
        InputError: there is no such project, it stands for itself, or what --remove names is no place of its map.
        MixedDatasetsError, ProjectError: projects cannot be places of one map.
        HeadError: the labels of all do not suffice.
        ExportError: a file cannot be written.
    """
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.cli.project import find_project
    from tessera_core.errors import InputError
    from tessera_core.project.place_maps import map_places, teach_places
    from tessera_core.project.places import add_place, is_place, places_of, take_out

    if args.confidence and not args.out:
        raise InputError("--confidence says what --out writes; give a folder with --out.")
    project = find_project(args.project)
    # All names are looked up before anything is written.
    added, removed = ([find_project(other) for other in named] for named in (args.add, args.remove))
    for other in removed:
        if not is_place(project, other):
            raise InputError(
                f"{other.name} is no place of the map of {project.name}; 'tessera places {args.project}' lists them."
            )
    for other in added:
        add_place(project, other.folder)
    for other in removed:
        take_out(project, other.folder)
    found = places_of(project)
    result: dict[str, Any] = {
        "project": str(project.folder),
        "places": [{"name": one.name, "folder": str(one.folder), "labels": one.labels} for one in found],
    }
    if not (args.out or args.score):
        return result
    make = map_places if args.out else teach_places
    made = make(found, project, seed=args.seed, progress=ConsoleProgress("places"))
    return result | _told(args, project, made)


def _told(args: argparse.Namespace, project: Project, made: PlaceMaps) -> dict[str, Any]:
    from tessera_core.areas import CAVEAT

    names = {c.id: c.name for c in made.legend}
    written = made.write(args.out, confidence=args.confidence) if args.out else []
    return {
        "head": made.head.trained.head.kind,
        "out": args.out,
        "files": [str(file) for file in written],
        "elsewhere": [one.to_json() for one in made.head.elsewhere],
        "areas": {names[i]: {"pixels": n, "hectares": ha} for i, (n, ha) in made.areas().items() if i in names},
        "failed": [one.to_json() for one in made.failed],
        "sentences": [*made.sentences(), *([CAVEAT] if made.maps else [])],
    }


def report(result: dict[str, Any]) -> str:
    """The result for people."""
    places = result["places"]
    if not places:
        return "This project stands for itself; --add OTHER makes another project a place of its map."
    lines = [f"{one['name']}: {one['labels']} label{'' if one['labels'] == 1 else 's'}" for one in places]
    for name, area in result.get("areas", {}).items():
        told = f"{area['pixels']:,} pixels" if area["hectares"] is None else f"{area['hectares']:,.1f} ha"
        lines.append(f"{name}, all places: {told}")
    if result.get("out"):
        lines.append(f"Wrote {len(result['files'])} files into {result['out']}")
    return "\n".join([*lines, *result.get("sentences", [])])
