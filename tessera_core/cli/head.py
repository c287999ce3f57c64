"""One head from labels in many places: train it, teach it further, and keep it by name.

train    one head from several projects, regions and years of one dataset; each place is held out once as a whole, and the
         result says how right the head is there ("Trained without Kent, right at 71 % in Kent")
teach    more labels into a head that was trained so; how right it was there before is told first
keep     a head under a name on this computer; 'tessera map --use-head NAME' then finds it
list     the heads that are kept
forget   a kept head

A place is a project (its folder or name, PROJECT:YEAR where it has several years), or EMBEDDINGS=LABELS, a folder of embeddings
and a file of labels. The file of a head carries its classes, what taught it, and what tells ground unlike it; it refuses another
dataset. The labelled pixels go into it as embeddings without their places on Earth.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core.cli.head_options import add_head_options, add_label_options, chosen_head, kept_head_names
from tessera_core.cli.paths import Input, Output

if TYPE_CHECKING:
    from tessera_core.project.joint_heads import Taught
    from tessera_core.project.teaching import JointHead

SUMMARY = "one head from labels in many places: train, teach further, keep"
EXAMPLES = (
    "tessera head train Kent Fen:2024 --out crops.safetensors",
    "tessera head train east/2024=east.gpkg west/2024=west.gpkg --field crop --head logistic --out crops.safetensors",
    "tessera head teach crops.safetensors Devon --out crops-2.safetensors",
    "tessera head keep crops.safetensors --name crops",
    "tessera head list",
)


PATHS = {"file": Input(names=kept_head_names), "tree": Input(), "out": Output((".safetensors",))}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands and their arguments."""
    tasks = parser.add_subparsers(dest="task", metavar="TASK", required=True, help="see above; TASK --help tells more")
    train = tasks.add_parser("train", help="one head from labels in several places")
    teach = tasks.add_parser("teach", help="more labels into a head")
    teach.add_argument("file", metavar="HEAD", help="a head of 'tessera head train', or the name of a kept one")
    for task in (train, teach):
        task.add_argument("places", metavar="PLACE", nargs="+", help="PROJECT, PROJECT:YEAR, or EMBEDDINGS=LABELS")
        task.add_argument("--out", metavar="FILE", required=True, help="the .safetensors to write")
        task.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
        add_label_options(task)
    add_head_options(train)
    keep = tasks.add_parser("keep", help="a head under a name on this computer")
    keep.add_argument("file", metavar="FILE", help="of a head")
    keep.add_argument("--name", required=True, help="to keep it by")
    keep.add_argument("--replace", action="store_true", help="the head that has the name already")
    tasks.add_parser("list", help="the heads that are kept")
    forget = tasks.add_parser("forget", help="a kept head")
    forget.add_argument("name", metavar="NAME", help="of the head")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Do the task.

    Raises:
        InputError, LabelError: what is given is not usable.
        MixedDatasetsError: places are of several datasets.
        HeadError: the labels do not suffice, or the head cannot be taught.
    """
    tasks = {"train": _train, "teach": _teach, "keep": _keep, "list": _list, "forget": _forget}
    return {"task": args.task} | tasks[args.task](args)


def _train(args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.project.joint_heads import join_taught
    from tessera_core.project.teaching import teach

    parts = _places(args)
    choice, _ = chosen_head(args, list(join_taught(parts, args.seed).classes))
    return _written(args, teach(parts, choice, seed=args.seed, progress=ConsoleProgress("train")))


def _teach(args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.heads import load_head
    from tessera_core.project.saved_heads import head_at
    from tessera_core.project.teaching import teach_further

    path = head_at(args.file)
    saved, parts = load_head(path), _places(args)
    return _written(
        args, teach_further(saved, parts, what=path.name, seed=args.seed, progress=ConsoleProgress("train"))
    )


def _written(args: argparse.Namespace, made: JointHead) -> dict[str, Any]:
    written, trained = made.save(args.out), made.trained
    return {
        "out": str(written),
        "head": trained.head.kind,
        "dataset": made.taught.provenance.dataset,
        "places": made.taught.counts(),
        "n_train": trained.n_train,
        "before": [one.to_json() for one in made.before],
        "elsewhere": [one.to_json() for one in made.elsewhere],
        "score": None if trained.score is None else trained.score.to_json(),
        "sentences": [*made.sentences(), trained.sentence],
    }


def _places(args: argparse.Namespace) -> list[Taught]:
    """The labelled pixels of every place that is named."""
    from tessera_core.cli.head_options import read_classes
    from tessera_core.cli.paths import matching
    from tessera_core.errors import InputError
    from tessera_core.project.joint_heads import taught_in
    from tessera_core.sources.local.open import open_embeddings

    found = []
    for given in args.places:
        embeddings, equals, labels = given.partition("=")
        if not equals:
            found.append(_of_project(given, args.seed))
            continue
        for path in (embeddings, labels):
            if not Path(*matching(path)).exists():
                raise InputError(f"{path} does not exist; check the spelling.")
        raster = open_embeddings(embeddings)
        args.labels = labels
        found.append(taught_in(Path(labels).stem, raster, read_classes(args, raster.grid), args.seed))
    return found


def _of_project(given: str, seed: int) -> Taught:
    from tessera_core.cli.export import project_embeddings
    from tessera_core.cli.project import find_project
    from tessera_core.cli.years import one_year
    from tessera_core.project.teaching import taught_by_project

    name, colon, text = given.rpartition(":")
    # A drive letter is no project.
    year = one_year(text) if colon and len(name) > 1 and text.isdecimal() else None
    project = find_project(given if year is None else name)
    chosen = project.settings.label_year if year is None and len(project.years) > 1 else year
    chosen, raster = project_embeddings(project, chosen)
    return taught_by_project(project, raster, chosen, seed)


def _keep(args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.project.saved_heads import keep_head

    return {"kept": keep_head(args.file, args.name, replace=args.replace).to_json()}


def _list(args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.project.saved_heads import kept_heads

    return {"heads": [one.to_json() for one in kept_heads()]}


def _forget(args: argparse.Namespace) -> dict[str, Any]:
    from tessera_core.project.saved_heads import forget_head

    forget_head(args.name)
    return {"forgotten": args.name}


def report(result: dict[str, Any]) -> str:
    """The result for people."""
    from tessera_core.heads.registry import called

    if "out" in result:
        labels = ", ".join(f"{place} ({sum(of.values())} labels)" for place, of in result["places"].items())
        return "\n".join(
            [
                f"Wrote {result['out']}: {called(result['head'])} for {result['dataset']}.",
                f"Taught by {labels}.",
                *result["sentences"],
            ]
        )
    if "kept" in result:
        return f"Kept as {result['kept']['name']}."
    if "forgotten" in result:
        return f"{result['forgotten']} is no longer kept."
    lines = [
        f"{one['name']}: {', '.join(one['classes'])}; {one['dataset']}, {one['year'] or 'several years'}"
        for one in result["heads"]
    ]
    return "\n".join(lines) or "No heads are kept yet; 'tessera head keep FILE --name NAME' keeps one."
