"""Write a project's map and labels for others to use; or those of embeddings and a label file, without a project.

qgis     a zip with the map, confidence and labels that open styled in QGIS
web      one HTML file with the map, its confidence and the embedding picture as layers, which any browser opens without a network;
         --online adds background maps from the internet
picture  the map with title, legend, scale, north, source and date: .png for a slide, .pdf for a page to print
report   one HTML page with the map, areas, labels, and how far to trust it
bundle   the project's settings and labels as one .tessera file, to open where the embeddings are
pack     the project with its embeddings and pictures as one .tesserapack file, to open anywhere without a network
labels   the labels alone, in the format of another program, which the ending of --out says: .gpkg, .geojson, .csv, .kml,
         .zip (shapefile in WGS 84), .txt (the classes as indented lines); for .json, or GeoJSON for TEE, choose it with
         --kind. What the format cannot hold is told.
values   a zip with the map of the project's field plots, its margins and the plots; as .png or .pdf a picture of it
head     what was learnt, to map elsewhere; the ending of --out says for whom: .safetensors (Tessera Studio), .json (any program),
         .onnx, .js (Earth Engine, for heads of AlphaEarth), .txt (QGIS's raster calculator, for two classes)
script   a Python script that makes the map again, with the project file beside it
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core._utils.partial import left_out_lines
from tessera_core.cli.console import ConsoleProgress
from tessera_core.cli.head_options import add_reading_options
from tessera_core.cli.paths import Input, Output
from tessera_core.cli.years import add_year
from tessera_core.errors import Hint, InputError, ProjectError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tessera_core.export.product import Product
    from tessera_core.grid import Grid
    from tessera_core.project.project import Project
    from tessera_core.provenance import Provenance
    from tessera_core.raster import EmbeddingRaster

SUMMARY = "write a project's map and labels for others to use"
KINDS = ("qgis", "picture", "report", "web", "labels", "values", "head", "script", "bundle", "pack")
# The keys of the formats of tessera_core.export.labels and their endings; it is not imported for --help.
LABEL_KINDS = {
    "gpkg": ".gpkg",
    "geojson": ".geojson",
    "tee": ".geojson",
    "tee-manual": ".json",
    "notebook": ".json",
    "csv": ".csv",
    "kml": ".kml",
    "shp": ".zip",
    "classes": ".json",
    "classes-text": ".txt",
}
_ENDINGS = {
    "qgis": (".zip",),
    "picture": (".png", ".pdf"),
    "values": (".zip", ".png", ".pdf"),
    "report": (".html", ".htm", ".pdf", ".json"),
    "web": (".html", ".htm"),
    "head": (".safetensors", ".json", ".onnx", ".js", ".txt"),
    "script": (".py",),
    "bundle": (".tessera",),
    "pack": (".tesserapack",),
}


def _project(args: argparse.Namespace) -> Input | None:
    # A name has no ending and no folder in it; the list of projects is asked for it.
    path = Path(args.project)
    return None if not args.labels and not path.exists() and not path.suffix and len(path.parts) == 1 else Input()


def _out(args: argparse.Namespace) -> Output:
    if args.to == "labels":
        return Output((LABEL_KINDS[args.kind],) if args.kind else ())
    if args.to == "script":
        return Output(_ENDINGS["script"], beside=lambda path: [path.with_suffix(".tessera")])
    return Output(_ENDINGS[args.to])


PATHS = {"project": _project, "labels": Input(), "out": _out}
EXAMPLES = (
    "tessera export PROJECT --to qgis --out map.zip",
    "tessera export PROJECT --to picture --out map.png",
    "tessera export PROJECT --to report --out report.pdf",
    "tessera export PROJECT --to web --out map.html",
    "tessera export PROJECT --to head --out head.json",
    "tessera export project.tessera --to labels --out labels.kml",
    "tessera export PROJECT --to labels --kind tee --out labels.geojson",
    "tessera export embeddings --labels fields.gpkg --field crop --to report --out report.html",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "project",
        metavar="PROJECT",
        help="a project's folder, its name, a .tessera file or a pack; with --labels embeddings",
    )
    parser.add_argument(
        "--labels", metavar="FILE", help="labels to map PROJECT with, which then is a folder of embeddings"
    )
    parser.add_argument("--field", metavar="NAME", help="with --labels: attribute of the file that is the class")
    add_reading_options(parser)
    parser.add_argument(
        "--name", metavar="NAME", help="of several projects in a pack the one meant; with --labels the map's"
    )
    # "numbers" is what values were called: scripts may have it.
    former = {"numbers": "values"}
    parser.add_argument(
        "--to", type=lambda kind: former.get(kind, kind), choices=KINDS, required=True, help="what to write"
    )
    parser.add_argument("--out", metavar="PATH", required=True, help="the file to write")
    parser.add_argument(
        "--online",
        action="store_true",
        help="with --to web: offer background maps, which the browser asks the internet for",
    )
    parser.add_argument(
        "--learner",
        metavar="NAME",
        help="with --to report and a .pdf: a record of a learner's work, with this name on it",
    )
    add_year(parser, "the year or window to map, where the project has several")
    parser.add_argument(
        "--seen-at-least",
        type=int,
        metavar="TIMES",
        help="leave out of the map what was seen clearly fewer times (25: from there on embeddings agree best); default: as the "
        "project says",
    )
    parser.add_argument(
        "--kind", choices=tuple(LABEL_KINDS), help="with --to labels: the format, where the ending does not say it"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Write one export; returns the files written and the areas of the classes."""
    out = Path(args.out)
    if out.is_dir():
        raise InputError(f"{out} is a folder; give the name of the file to write.")
    if args.online and args.to != "web":
        raise InputError("--online is for the page of --to web; other files ask nothing of the internet.")
    if args.learner and (args.to != "report" or out.suffix.lower() != ".pdf"):
        raise InputError("--learner makes a record of work; give it with --to report and a name that ends with .pdf.")
    if args.kind and args.to != "labels":
        raise InputError("--kind is the format of labels; give it with --to labels.")
    with ExitStack() as stack:
        failed: list[dict[str, str]] = []
        project = _opened(args, stack, failed)
        if args.to == "bundle":
            return {
                "kind": "bundle",
                "project": project.name,
                "files": [str(project.export_file(out))],
                "failed": failed,
            }
        if args.to == "pack":
            from tessera_core.project.pack import make_pack

            packed = make_pack([project], out, progress=ConsoleProgress("pack"))
            return {"kind": "pack", "project": project.name, "files": [str(packed)], "failed": failed}
        if args.to == "labels":
            return _labels(project, args.year, out, args.kind) | {"failed": failed}
        if args.to == "head":
            return _head(project, args.year, out) | {"failed": failed}
        if args.to == "values":
            return _values(project, args.year, out) | {"failed": failed}
        made = product(project, args.year, args.seen_at_least)
        files = _web(args, out, made, project) if args.to == "web" else _write(args, out, made, project)
    areas = {
        area.klass.name: {"pixels": area.pixels, "hectares": area.hectares, "labels": area.labels}
        for area in made.areas()
    }
    result: dict[str, Any] = {"kind": args.to, "project": project.name, "year": made.year}
    result |= {"files": [str(file) for file in files], "head": made.head, "temperature": round(made.temperature, 4)}
    scored = made.score.get("accuracy") is not None
    result |= {"seldom_seen": made.left_out} if made.left_out else {}
    return result | {"classes": areas, "score": made.score if scored else None, "failed": failed}


def _opened(args: argparse.Namespace, stack: ExitStack, failed: list[dict[str, str]]) -> Project:
    """The project that is meant, or one for as long as ``stack`` is open; ``failed`` is told the years that cannot be read.

    Raises:
        InputError: there is none, or a pack holds several and none is named.
    """
    from tessera_core.cli.project import read_into
    from tessera_core.project.library import identify
    from tessera_core.project.project import Project

    source = Path(args.project)
    home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    if not args.labels or not source.exists() or source.name == "project.json":
        return opened_project(args.project, home, args.name)
    found = identify(str(source.resolve()))
    if found.project is not None:
        raise InputError(f"{source} is a project and has labels of its own; leave --labels out.")
    failed += [failure.to_json() for failure in found.failed]
    project = Project.create(home / "project", args.name or found.name)
    for year, path, raster in found.rasters:
        project.attach_embeddings(year, path, raster.provenance, raster.grid)
    labels = read_into(project, args.labels, args)
    project.log.import_labels(labels.classes, labels.labels)
    return project


def opened_project(given: str, home: Path, name: str | None = None) -> Project:
    """The project that a folder, a name, a ``.tessera`` file or a pack means.

    Args:
        given: as it was typed.
        home: where what a file holds is unpacked.
        name: of several projects in a pack the one meant.

    Raises:
        InputError: there is none, or a pack holds several and none is named.
    """
    from tessera_core.cli.project import find_project
    from tessera_core.project.library import from_file
    from tessera_core.project.pack import is_pack, open_pack

    source = Path(given)
    if source.is_dir() or not source.exists() or source.name == "project.json":
        return find_project(given)
    if not is_pack(source):
        return from_file(source, home / "project")
    projects = open_pack(source, into=home, progress=ConsoleProgress("open"))
    chosen = [project for project in projects if name in (None, project.name)]
    if len(chosen) != 1:
        names = ", ".join(project.name for project in projects)
        raise InputError(f"{source.name} holds {len(projects)} projects ({names}); choose one with --name.")
    return chosen[0]


def product(project: Project, year: int | None, least_seen: int | None = None) -> Product:
    """The project's map of a year with everything an export needs.

    Raises:
        ProjectError: the project has no embeddings, or several years and none is chosen.
        HeadError: the labels do not suffice.
    """
    from tessera_core.project.classify import map_project, project_product

    year, raster = project_embeddings(project, year)
    made = map_project(project, raster, year, progress=ConsoleProgress("map"), least_seen=least_seen)
    return project_product(project, raster, made)


def _labels(project: Project, year: int | None, out: Path, kind: str | None) -> dict[str, Any]:
    """The labels, or the class tree, in one format; no map is made of them."""
    from tessera_core.export.labels import CLASS_FORMATS, kind_of, write_classes, write_labels

    kind, log = kind or kind_of(out), project.log
    result: dict[str, Any] = {"kind": "labels", "format": kind, "project": project.name}
    if kind in CLASS_FORMATS:
        written = write_classes(out, kind, log.classes, project.class_tree)
    else:
        grid, provenance = _label_frame(project, year)
        written = write_labels(out, kind, log.labels, log.classes, grid, provenance, project.name)
    return result | {"files": [str(written.path)], "labels": len(log.labels), "lost": written.losses}


def _head(project: Project, year: int | None, out: Path) -> dict[str, Any]:
    """The project's head in one form."""
    from tessera_core.project.classify import map_project
    from tessera_core.project.head_file import write_project_head

    year, raster = project_embeddings(project, year)
    made = map_project(project, raster, year, progress=ConsoleProgress("map"))
    file = write_project_head(out, project, raster, made)
    result: dict[str, Any] = {"kind": "head", "project": project.name, "year": year, "files": [str(file)]}
    return result | {"head": made.head.kind, "dataset": raster.provenance.dataset}


def _label_frame(project: Project, year: int | None) -> tuple[Grid, Provenance]:
    """The grid the labels lie on and the newest year's provenance, or a chosen year's; embeddings need not be at hand.

    Raises:
        ProjectError: the project has no embeddings, or none of this year.
    """
    refs = project.wanted | project.embeddings
    if not refs or project.grid is None:
        raise ProjectError(f"The project {project.name!r} has no embeddings yet; open a region in it first.")
    if year is not None and year not in refs:
        raise ProjectError(f"The project {project.name!r} has no embeddings of {year}.")
    newest = max((known for known in refs if known is not None), default=None)
    return project.grid, refs[newest if year is None else year].provenance


def _values(project: Project, year: int | None, out: Path) -> dict[str, Any]:
    """The map of the project's field plots as a zip for QGIS."""
    from tessera_core.export.map_layout import ENDINGS, write_picture
    from tessera_core.export.pictures import value_layout
    from tessera_core.export.values import write_regression_qgis
    from tessera_core.project.regress import RegressionChoice, chosen_measure, plots_in, regression_product, score_plots

    measure = chosen_measure(project)
    if measure is None:
        raise ProjectError(f"The project {project.name!r} has no field plots yet.", hint=Hint.PLOTS)
    year, raster = project_embeddings(project, year)
    choice, plots = RegressionChoice.from_settings(project.settings), plots_in(project, measure)
    score = score_plots(plots, raster, choice, progress=ConsoleProgress("score"))
    made = regression_product(project, measure, plots, raster, choice, score=score, progress=ConsoleProgress("map"))
    picture = out.suffix.lower() in ENDINGS
    file = write_picture(out, value_layout(made)) if picture else write_regression_qgis(out, made)
    result: dict[str, Any] = {"kind": "values", "project": project.name, "year": year, "measure": measure.name}
    return result | {
        "files": [str(file)],
        "unit": measure.code,
        "head": made.head,
        "plots": len(plots),
        "score": dict(score.result) or None,
        "facts": list(made.facts),
    }


def project_embeddings(project: Project, year: int | None) -> tuple[int | None, EmbeddingRaster]:
    """The year that is meant, and its embeddings.

    Raises:
        ProjectError: the project has no embeddings, or several years and none is chosen.
    """
    from tessera_core.periods import period
    from tessera_core.sources.local.open import open_embeddings

    project.require_embeddings()
    years = list(project.embeddings)
    if year is None and len(years) > 1:
        raise ProjectError(
            f"The project has several years ({', '.join(map(str, project.years))}); choose one with --year."
        )
    year = years[0] if year is None else year
    year = None if year is None else period(year)
    return year, open_embeddings(project.embeddings_path(year), year=year)


def _photo(project: Project, year: int | None) -> NDArray[np.uint8] | None:
    """The region as a photograph, where there is one."""
    from tessera_core.render.canvas import photograph

    year, raster = project_embeddings(project, year)
    return photograph(project.embeddings_path(year), project.embeddings[year].dpixels, raster.shape)


def _web(args: argparse.Namespace, out: Path, made: Product, project: Project) -> list[Path]:
    """The map as a page for browsers, over a photograph of the region, or the embedding picture where there is none."""
    from tessera_core.export.webmap import Background, write_web_map
    from tessera_core.render.picture import pca_picture
    from tessera_core.session.base_maps import BASE_MAPS

    _, raster = project_embeddings(project, args.year)
    photo = _photo(project, args.year)
    name = "Embeddings as colours" if photo is None else "True colour"
    background = Background(name, pca_picture(raster) if photo is None else photo, raster.valid())
    return [write_web_map(out, made, background, BASE_MAPS if args.online else ())]


def _write(args: argparse.Namespace, out: Path, made: Product, project: Project) -> list[Path]:
    if args.to == "qgis":
        from tessera_core.export.archive import write_qgis

        return [write_qgis(out, made)]
    if args.to == "report":
        from tessera_core.export.pictures import class_layout
        from tessera_core.export.report import write_report
        from tessera_core.lessons.record import learner_of
        from tessera_core.project.report import project_report

        photo, (year, _) = _photo(project, args.year), project_embeddings(project, args.year)
        learner = learner_of(project, args.learner) if args.learner else None
        said = project_report(project, made, year, photo=photo is not None, learner=learner)
        return [write_report(out, said, class_layout(made, photo))]
    if args.to == "picture":
        from tessera_core.export.map_layout import write_picture
        from tessera_core.export.pictures import class_layout

        return [write_picture(out, class_layout(made, _photo(project, args.year)))]
    from tessera_core.export.script import write_script

    bundle = project.export_file(out.with_suffix(".tessera"))
    return [write_script(out, made, bundle.name), bundle]


def report(result: dict[str, Any]) -> str:
    """What was written, for people."""
    from tessera_core.areas import CAVEAT

    lines = [f"Wrote {file}" for file in result["files"]]
    for name, area in result.get("classes", {}).items():
        size = f"{area['hectares']:,.1f} ha" if area["hectares"] is not None else f"{area['pixels']:,} pixels"
        lines.append(f"  {name}: {size}, {area['labels']} labels")
    if any(area["hectares"] is not None for area in result.get("classes", {}).values()):
        lines.append(CAVEAT)
    lines += (result.get("score") or {}).get("sentences", [])
    lines += [f"  {fact}" for fact in (*result.get("facts", ()), *result.get("lost", ()))]
    lines += [result["seldom_seen"]] if "seldom_seen" in result else []
    lines += left_out_lines(result)
    return "\n".join(lines)
