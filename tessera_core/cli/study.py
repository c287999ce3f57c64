"""Study encoders, one table of docs/pretraining.md a command, as Markdown and JSON in a folder.

ablations  what each part of the method is worth: trains an encoder without it on a fixed budget (two hours on one core)
labels     a frozen encoder with 1 to 50 labels a class, beside a random forest and logistic regression on raw statistics
sampling   whether an embedding depends on which dates were clear, and how many dates it needs
year       what a sensor year can lose: windows of it, radar, an orbit, optics
downstream  one of the six tasks of the TESSERA paper on data in its published layout, beside the published numbers:
           tessera study downstream TASK FOLDER --out DIR
           TASK: austrian-crops, tree-species, pastis, biomass, canopy-height or burned-area (docs/downstream.md)
published  the authors' result files of biomass and burned area, computed anew: tessera study published FOLDER --out DIR
real       encoders, plain statistics and both together on your own labelled pixels, with intervals and a figure:
           tessera study real FOLDER... --out DIR
           A folder holds .npz files, d-pixel tiles with labels*.tif, or CSV tables as Earth Engine exports them.

All but the published tasks hold whole fields, cells or zones of ground out. Interrupted studies of ablations, of real pixels and of
tasks go on where they stopped when they are started again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tessera_core.cli.paths import Input, Output, weights_names
from tessera_core.pretrain.studies.downstream import NAMES


def _tables(args: argparse.Namespace, out: Path) -> list[Path]:
    name = f"downstream-{args.places[0]}" if args.name == "downstream" and args.places else args.name
    return [out / f"{name}.json", out / f"{name}.md"]


def _places(args: argparse.Namespace) -> Input:
    return Input(names=(lambda: NAMES) if args.name == "downstream" else None)


PATHS = {
    "places": _places,
    "out": Output(folder="into", inside=_tables),
    "weights": Input(names=weights_names),
    "tile": Input(),
    "labels": Input(),
}
EXAMPLES = (
    "tessera study labels --out study",
    "tessera study year my-pixels --worlds 2 --out study",
    "tessera study ablations --out study --seeds 2 --steps 100",
    "tessera study real my-pixels --weights studio-nano --weights v2-nano --out study",
    "tessera study real my-pixels --encoder presto.py:Presto --out study",
    "tessera study downstream biomass biomassters --shares 1,10,100 --out study",
)
STOPPED = (
    "ablations, real and downstream go on where they stopped when the same command is run again; the others begin anew"
)
SUMMARY = "study what an encoder is worth, with tables"

STUDIES = ("ablations", "labels", "sampling", "year", "real", "downstream", "published")
WEIGHTS = "studio-nano"
# Pixels of a place in the study of the year, which embeds them fourteen times.
MOST_OF_A_PLACE = 1500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("name", choices=STUDIES)
    parser.add_argument(
        "places",
        nargs="*",
        metavar="FOLDER",
        help="real, year: labelled pixels, files or folders; published: a folder; downstream: task and folder",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for tables and results")
    parser.add_argument(
        "--weights",
        action="append",
        metavar="NAME|FILE",
        help=f"name or file of the encoder (not for ablations; real: may be given several times; default: {WEIGHTS})",
    )
    parser.add_argument("--worlds", type=int, default=3, help="held-out simulated worlds to judge on (default: 3)")
    parser.add_argument("--demo", action="store_true", help="labels, sampling, year: judge on the demo region too")
    parser.add_argument("--tile", type=Path, help="d-pixel tile to judge on too")
    parser.add_argument("--labels", type=Path, help="its labels: class raster or label file")
    parser.add_argument("--title", default="", help="what to call the tile in tables")
    parser.add_argument("--classes", default="", help="only these classes of the labels, separated by commas")
    parser.add_argument(
        "--seeds",
        type=int,
        default=None,
        help="training runs (ablations: 5; downstream: 1 to 5) or draws (real: 20, others: 10)",
    )
    parser.add_argument("--steps", type=int, default=480, help="ablations: training steps a variant (default: 480)")
    parser.add_argument("--pixels", type=int, default=98304, help="ablations: simulated pixels (default: 98304)")
    parser.add_argument(
        "--variants",
        metavar="NAMES",
        help="ablations: only these beside the full recipe, of no-shuffle, no-mixup, neither and no-radar (default: all)",
    )
    parser.add_argument(
        "--hold-out",
        choices=("auto", "zones", "cells", "fields"),
        default="auto",
        help="real: the ground that is judged on (default: whole fields of a tile, else halves of the ground)",
    )
    parser.add_argument("--counts", default="1,5,10,50", help="real: labels a class (default: 1,5,10,50)")
    parser.add_argument(
        "--heads",
        default="means,logistic",
        help="real: means, logistic (its penalty chosen by inner folds), forest (of plain statistics; slow)",
    )
    parser.add_argument(
        "--encoder",
        action="append",
        default=[],
        metavar="FILE.py:NAME",
        help="real: an encoder of your own code to compare, too, which is run (docs/howto/extend.md); several times for several",
    )
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="NAME",
        help="real: tell how far each method is ahead of this one, too, with the same head, such as 'monthly medians' or "
        "another encoder; several times for several",
    )
    parser.add_argument(
        "--unseen-half",
        action="store_true",
        help="real: judge only on the ground that no training of studio-nano read (docs/studio-nano.md): every second block of "
        "0.3 degree, of a tile every second field",
    )
    parser.add_argument("--field", help="real: column of the class in tables")
    parser.add_argument(
        "--shares",
        default="",
        help="downstream: percent of the labels that teach, such as 1,10,100 (default: as published)",
    )
    parser.add_argument(
        "--as-published", action="store_true", help="downstream: heads of the authors' size, as long taught; for a GPU"
    )
    parser.add_argument("--no-joined", action="store_true", help="real: do not join embeddings with plain statistics")


def check(args: argparse.Namespace) -> None:
    """Refuse arguments that contradict each other, and tables of others in the folder.

    Raises:
        InputError: some do, or there are.
    """
    import json

    from tessera_core.errors import InputError

    if args.name == "real" and not args.places:
        raise InputError("Name the folders of labelled pixels: tessera study real FOLDER... --out DIR.")
    if args.name == "published" and len(args.places) != 1:
        raise InputError("Name the one folder of published results: tessera study published FOLDER --out DIR.")
    if args.name == "downstream":
        if len(args.places) != 2 or args.places[0] not in NAMES:
            raise InputError(
                f"Name the task and its folder: tessera study downstream TASK FOLDER --out DIR. Tasks are {', '.join(NAMES)}."
            )
        _shares(args)
    if args.name not in ("real", "year", "downstream", "published") and args.places:
        raise InputError(f"The study {args.name} takes no folders ({args.places[0]}); tiles are named with --tile.")
    if args.name == "real":
        _counts(args)
        if args.tile is not None:
            raise InputError("Name the tile as a folder: tessera study real TILE --labels FILE --out DIR.")
    elif args.weights is not None and len(args.weights) > 1:
        raise InputError(f"The study {args.name} is of one encoder; give --weights once.")
    if args.worlds < 1:
        raise InputError("--worlds must be at least 1: every study judges on held-out simulated worlds.")
    if args.name != "real" and (args.tile is None) != (args.labels is None):
        raise InputError("A tile to judge on needs both --tile and --labels.")
    if args.seeds is not None and args.seeds < 1:
        raise InputError("--seeds must be at least 1.")
    table, text = _tables(args, args.out)
    try:
        ours = not table.exists() or "table" in json.loads(table.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        ours = False
    if not ours or (text.exists() and not table.exists()):
        raise InputError(f"{args.out} holds a {table.name} or {text.name} of something else; choose another folder.")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run one study; returns the JSON object that it wrote.

    Raises:
        InputError: the arguments contradict each other or something given is not usable.
    """
    from tessera_core._utils.torch_part import require_torch
    from tessera_core.cli.console import ConsoleProgress

    if args.name == "published":
        from tessera_core.pretrain.studies import published

        return published.run(args.places[0], args.out)
    progress = ConsoleProgress(args.name)
    if args.name == "downstream":
        from tessera_core.pretrain.studies.downstream import framework, tasks

        setting = framework.Setting(_shares(args), args.seeds or 0, args.as_published)
        return framework.run(tasks.TASKS[args.places[0]], args.places[1], args.out, setting, progress)
    require_torch("A study of encoders")
    if args.name == "ablations":
        return _ablations(args, progress)
    from tessera_core.models.checkpoint import load_checkpoint

    encoders = [load_checkpoint(one) for one in args.weights or [WEIGHTS]]
    if args.name == "real":
        return _real(args, encoders, progress)
    from tessera_core.pretrain.studies import labels, sampling, year

    study: Any = {"labels": labels, "sampling": sampling, "year": year}[args.name]
    # Most covers then have parcels for 50 labels beside those that are tested.
    scenes = _scenes(args, parcels=400 if args.name == "labels" else 200, per_parcel=3)
    return study.run(scenes, encoders[0], args.out, draws=args.seeds or 10, progress=progress)


def _scenes(args: argparse.Namespace, parcels: int, per_parcel: int) -> list[Any]:
    from tessera_core.pretrain.studies.scenes import held_out_worlds, labelled_tile, landscape

    scenes = held_out_worlds(args.worlds, parcels=parcels, per_parcel=per_parcel)
    if args.demo and args.name != "ablations":
        from tessera_core.project.demo import DEMO_SIZE

        scenes.append(landscape("demo region", DEMO_SIZE))
    if args.tile is not None:
        only = [name.strip() for name in args.classes.split(",") if name.strip()]
        scenes.append(labelled_tile(args.tile, args.labels, only, args.title))
    if args.places:
        from tessera_core.pretrain.studies.labelled import read_places
        from tessera_core.pretrain.studies.scenes import of_tile

        for place in read_places(args.places, field=args.field):
            some = place.at_most(MOST_OF_A_PLACE)
            scenes.append(of_tile(some.tile, some.reference, some.name))
    return scenes


def _ablations(args: argparse.Namespace, progress: Any) -> dict[str, Any]:
    from tessera_core.errors import InputError
    from tessera_core.pretrain.studies import ablations

    variants = ablations.TRAINED if args.variants is None else tuple(one.strip() for one in args.variants.split(","))
    if unknown := [one for one in variants if one not in ablations.TRAINED]:
        raise InputError(f"--variants are among {', '.join(ablations.TRAINED)}, not {unknown[0]!r}.")
    scenes = _scenes(args, parcels=200, per_parcel=4)
    worlds = tuple(range(args.worlds))
    measures = [
        ablations.Measure("worlds_10", "simulated worlds, 10 labels a class", worlds, 10),
        ablations.Measure("worlds_all", "simulated worlds, all labels", worlds, None),
    ]
    if args.tile is not None:
        measures.append(ablations.Measure("tile_all", f"{scenes[-1].name}, all labels", (args.worlds,), None))
    config = ablations.budget(args.steps, args.pixels)
    return ablations.run(scenes, measures, config, args.out, range(args.seeds or 5), progress, variants)


def _counts(args: argparse.Namespace) -> tuple[int, ...]:
    from tessera_core.errors import InputError

    try:
        counts = tuple(sorted({int(one) for one in args.counts.split(",")}))
    except ValueError:
        counts = (0,)
    if counts[0] < 1:
        raise InputError(f"--counts are whole numbers of labels such as 1,5,10,50, not {args.counts!r}.")
    return counts


def _shares(args: argparse.Namespace) -> tuple[float, ...]:
    from tessera_core.errors import InputError

    try:
        shares = tuple(sorted({float(one) / 100 for one in args.shares.split(",") if one.strip()}))
    except ValueError:
        shares = (0.0,)
    if shares and not (shares[0] > 0 and shares[-1] <= 1):
        raise InputError(f"--shares are percent of the labels such as 1,10,100, not {args.shares!r}.")
    return shares


def _real(args: argparse.Namespace, encoders: list[Any], progress: Any) -> dict[str, Any]:
    from tessera_core.inference.external import load_external
    from tessera_core.pretrain.studies import labelled, real

    encoders = [*encoders, *(load_external(one) for one in args.encoder)]
    only = [name.strip() for name in args.classes.split(",") if name.strip()]
    places = labelled.read_places(args.places, args.labels, args.field)
    setting = real.Setting(args.hold_out, _counts(args), real.DRAWS if args.seeds is None else args.seeds)
    heads = [name.strip() for name in args.heads.split(",") if name.strip()]
    chosen = [place.only(only) if only else place for place in places]
    if args.unseen_half:
        chosen = [labelled.unseen_half(place) for place in chosen]
    options = {"heads": heads, "joined": not args.no_joined, "against": args.against}
    return real.run(chosen, encoders, args.out, setting, **options, progress=progress)


def report(result: dict[str, Any]) -> str:
    """The Markdown table."""
    return str(result["table"])
