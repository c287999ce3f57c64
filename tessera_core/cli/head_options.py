"""The options that say which labels teach which head, the same for every command that fits one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core.cli.paths import Input

if TYPE_CHECKING:
    from tessera_core.assess.reference import Reference
    from tessera_core.assess.regression import RegressionSamples
    from tessera_core.grid import Grid
    from tessera_core.heads import HeadChoice
    from tessera_core.labels.features import Hints
    from tessera_core.labels.model import LabelClass
    from tessera_core.labels.report import ImportReport
    from tessera_core.project.regress import RegressionChoice

LABEL_PATHS = {"embeddings": Input(by_tile=True), "labels": Input(), "tree": Input()}
# The keys of tessera_core.heads.HEADS and REGRESSION_HEADS, which are not imported before arguments are checked.
HEAD_NAMES = ("prototype", "auto", "ridge", "logistic", "knn", "forest", "boosting", "mlp", "unet")
REGRESSION_HEAD_NAMES = ("ridge-regression", "forest-regression", "mlp-regression")
LABELS_HELP = "GeoJSON, GPKG, CSV, KML, zipped shapefile, or class raster (0 = unlabelled)"


def add_label_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say how a label file is understood."""
    parser.add_argument("--field", help="attribute of the label file that is the class, or the number")
    add_reading_options(parser)
    parser.add_argument("--layer", help="layer of a package, file of a zip or folder of a KML that holds the labels")
    parser.add_argument("--classes", help="only these classes, by name or code, separated by commas")
    parser.add_argument(
        "--labels-are",
        choices=("classes", "numbers"),
        help="what the labels are, where they look like the other (default: numbers with a head for numbers, else classes)",
    )


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say how the places of a file are read, where guessing is unsafe."""
    parser.add_argument("--lon", metavar="COLUMN", help="column of a table that holds the longitude, or x")
    parser.add_argument("--lat", metavar="COLUMN", help="column of a table that holds the latitude, or y")
    parser.add_argument("--crs", metavar="EPSG:N", help="coordinate system, where the file does not say it")
    parser.add_argument("--encoding", metavar="NAME", help="of the file's text, such as mac-roman (default: found)")


def kept_head_names() -> list[str]:
    """Names of the heads that are kept on this computer, for arguments that take a file or such a name."""
    from tessera_core.project.saved_heads import head_names

    return head_names()


def hints_of(args: argparse.Namespace) -> Hints:
    """What the options say of a file."""
    from tessera_core.labels.features import Hints

    return Hints(layer=getattr(args, "layer", None), lon=args.lon, lat=args.lat, encoding=args.encoding)


def add_head_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say which head."""
    parser.add_argument(
        "--head",
        choices=(*HEAD_NAMES, *REGRESSION_HEAD_NAMES),
        metavar="NAME",
        help=f"{HEAD_NAMES[0]} (default), {', '.join(HEAD_NAMES[1:])}; for labels that are numbers "
        f"{REGRESSION_HEAD_NAMES[0]} (default), {', '.join(REGRESSION_HEAD_NAMES[1:])}",
    )
    parser.add_argument(
        "--neighbourhood",
        type=int,
        default=1,
        choices=(1, 3, 5),
        help="look at a square of so many pixels around each pixel",
    )
    parser.add_argument(
        "--class-weight",
        choices=("balanced", "none"),
        help="classes have the same say, or every label (default: the head's)",
    )
    parser.add_argument(
        "--tree",
        metavar="FILE",
        help="tree of classes, indented lines or JSON: labels of any level, map as fine as certain",
    )
    parser.add_argument(
        "--confidence-threshold",
        metavar="SHARE",
        type=float,
        default=0.6,
        help="with --tree: probability that a finer class needs (default: 0.6)",
    )
    # Names that they had: scripts may have them.
    former: dict[str, Any] = {"help": argparse.SUPPRESS, "default": argparse.SUPPRESS}
    parser.add_argument("--context", dest="neighbourhood", type=int, choices=(1, 3, 5), **former)
    parser.add_argument("--certainty", dest="confidence_threshold", type=float, **former)


def wants_regression(args: argparse.Namespace) -> bool:
    """Whether the options ask for a map of numbers.

    Raises:
        InputError: the head named is for the other kind.
    """
    from tessera_core.errors import InputError
    from tessera_core.heads import REGRESSION_HEADS

    numbers = args.labels_are == "numbers" or (args.labels_are is None and args.head in REGRESSION_HEADS)
    if args.head is not None and numbers != (args.head in REGRESSION_HEADS):
        kind, other = ("numbers", "classes") if numbers else ("classes", "numbers")
        raise InputError(
            f"The labels are to be {kind}, but the head {args.head!r} is for {other}; leave one of them out."
        )
    return numbers


def read_classes(args: argparse.Namespace, grid: Grid, *, of_several: bool = False) -> Reference:
    """The labels of the file that the options name, on ``grid``, those of ``--classes`` only.

    Args:
        of_several: whether labels may lie on other grids as well, so that one class alone is enough here.

    Raises:
        LabelError: the file cannot be read, or a class is not in it.
        InputError: the classes are measured numbers.
    """
    from tessera_core.assess.kinds import values_taken_as_classes
    from tessera_core.assess.reference import read_reference
    from tessera_core.errors import InputError

    _require_fields(args)
    reference = read_reference(args.labels, grid, args.field, args.crs, hints_of(args), of_several=of_several)
    if args.classes:
        reference = reference.only([name.strip() for name in args.classes.split(",") if name.strip()])
    wrong = values_taken_as_classes([c.name for c in reference.classes], len(set(reference.groups.tolist())))
    if wrong and args.labels_are is None:
        raise InputError(
            f"{_field(args.field)} has {wrong}. Map them as numbers with --head ridge-regression, name the field of the class "
            "with --field, or say --labels-are classes."
        )
    return reference


def read_measured(args: argparse.Namespace, grid: Grid) -> RegressionSamples:
    """The numbers of the file that the options name, on ``grid``.

    Raises:
        LabelError: the file cannot be read, or holds no numbers.
        InputError: the numbers are class codes.
    """
    from tessera_core.assess.kinds import codes_taken_as_values
    from tessera_core.assess.regression import read_regression_samples
    from tessera_core.errors import InputError

    _require_fields(args)
    numbers = read_regression_samples(args.labels, grid, args.field, args.crs, hints_of(args))
    wrong = codes_taken_as_values(numbers.by_label(), numbers.field)
    if wrong and args.labels_are is None:
        raise InputError(
            f"{_field(numbers.field)} has {wrong}. Map them as classes, without {args.head!r}, or name the field of the number "
            "with --field; if they are measured, say --labels-are numbers."
        )
    return numbers


def _require_fields(args: argparse.Namespace) -> None:
    """Refuse a field, layer or column of a raster, which has none: what is asked for would be passed over without a word.

    Raises:
        InputError: one is named.
    """
    from tessera_core.errors import InputError
    from tessera_core.labels.files import is_class_raster

    named = [f"--{name}" for name in ("field", "layer", "lon", "lat") if getattr(args, name, None)]
    if named and is_class_raster(args.labels):
        raise InputError(
            f"{Path(args.labels).name} is a raster, which has no fields or layers; leave {' and '.join(named)} out."
        )


def import_of(report: ImportReport | None) -> dict[str, Any] | None:
    """What became of the file of labels, for a command's result."""
    return None if report is None else report.to_json()


def _field(name: str | None) -> str:
    return f"The field {name!r}" if name else "The label file"


def chosen_head(args: argparse.Namespace, classes: list[LabelClass]) -> tuple[HeadChoice, list[LabelClass]]:
    """The head that the options name, and the classes of its map: those of the labels and of ``--tree``.

    Raises:
        LabelError: the tree cannot be read or has no class of the labels.
    """
    from tessera_core.heads import DEFAULT_HEAD, HeadChoice
    from tessera_core.labels.schema import joined, read_tree

    parents: dict[int, int] = {}
    if args.tree:
        tree = read_tree(args.tree)
        classes = joined(tree, classes)
        parents = tree.parents(classes)
    weight = {"balanced": "balanced", "none": None, None: "own"}[args.class_weight]
    name = args.head or DEFAULT_HEAD
    return HeadChoice(
        name, args.neighbourhood, weight, tuple(sorted(parents.items())), args.confidence_threshold
    ), classes


def chosen_regression_head(args: argparse.Namespace) -> RegressionChoice:
    """The head for numbers that the options name.

    Raises:
        InputError: an option does not go with it.
    """
    from tessera_core.errors import InputError
    from tessera_core.project.regress import DEFAULT_REGRESSION_HEAD, RegressionChoice

    if args.classes or args.tree or args.class_weight:
        raise InputError("--classes, --tree and --class-weight are for classes; this head maps numbers.")
    return RegressionChoice(args.head or DEFAULT_REGRESSION_HEAD, args.neighbourhood)
