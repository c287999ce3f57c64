"""The options that say where work is done: a share of it here, for job arrays, or all of it by an engine's workers.

They are the same for every command that takes them.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tessera_core._utils.share import Share
    from tessera_core.project.plan import Planned

# What Dask's own client looks at, too.
SCHEDULER_VARIABLE = "DASK_SCHEDULER_ADDRESS"


def add_spread_options(
    parser: argparse.ArgumentParser,
    things: str,
    note: str = "",
    each: str = "",
    *,
    processes: bool = False,
) -> None:
    """Declare the options.

    Args:
        things: that are shared, for the help: "tiles".
        note: with what they are taken, for the help: ", with --tiles"; empty where always.
        each: what one process does at a time, for the help: ", a tile each".
        processes: the number of processes is ``--processes``, since ``--workers`` means something else.
    """
    parser.add_argument(
        "--share",
        metavar="I/N",
        help=f"do the I-th of N shares of the {things}{note}, all into one folder; auto takes the place in a SLURM job array, "
        "auto/N in an indexed Kubernetes job",
    )
    if processes:
        parser.add_argument("--processes", type=int, default=1, metavar="N", help=f"processes{each}{note} (default: 1)")
    else:
        parser.add_argument("--workers", type=int, default=1, metavar="N", help=f"processes{note or each} (default: 1)")
    parser.add_argument(
        "--scheduler",
        metavar="WHERE",
        help="hand the work to Dask: local (--workers processes of this machine), an address such as tcp://host:8786, the file "
        f"that a scheduler wrote, or slurm:PROFILE.toml for jobs that come and go{note or each} "
        f"(default: ${SCHEDULER_VARIABLE}, else nobody)",
    )
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        help="of each worker of --scheduler local, such as 4GB; one that takes more is begun anew",
    )
    parser.add_argument(
        "--retries",
        type=int,
        default=2,
        metavar="N",
        help="how often work is begun again whose worker was lost (default: 2)",
    )
    parser.add_argument(
        "--plan",
        metavar="FILE.geojson",
        help=f"write the {things} on a map, each with its bytes, minutes and whether it is done{note}",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done, with --plan also write it")


def add_one_cog_option(parser: argparse.ArgumentParser) -> None:
    """Declare the option that puts the tiles' maps together."""
    parser.add_argument(
        "--one-cog",
        action="store_true",
        help="with --tiles, also put all tiles of a coordinate system together into one Cloud Optimized GeoTIFF beside its VRT, "
        "when the last tile is there",
    )


def told_of_one_cog(result: dict[str, Any]) -> list[str]:
    """The files that were put together, for people."""
    if not result["one_cog"]:
        return []
    files = ", ".join(result["whole"])
    return [f"All tiles in one file: {files}" if files else "The one file is made when all tiles are there."]


def share_of(args: argparse.Namespace) -> Share:
    """The share that the option names; the whole without it.

    Raises:
        InputError: it names none.
    """
    from tessera_core._utils.share import WHOLE, Share

    return WHOLE if args.share is None else Share.parse(args.share)


def scheduler_of(args: argparse.Namespace) -> str | None:
    """The scheduler that is asked for, by the option or the environment."""
    return args.scheduler or os.environ.get(SCHEDULER_VARIABLE) or None


def check_engine(args: argparse.Namespace) -> None:
    """Refuse, before anything is imported, what makes no sense.

    Raises:
        InputError: it does not.
    """
    from tessera_core.errors import InputError

    if args.workers < 1:
        raise InputError("--workers must be at least 1.")
    if args.retries < 0:
        raise InputError("--retries cannot be less than 0.")
    if args.memory and args.scheduler != "local":
        raise InputError(
            "--memory goes with --scheduler local; how much others' workers may take is said where they start."
        )


def planned(
    args: argparse.Namespace, parts: Callable[[], Iterable[Planned]], notes: Iterable[str] = ()
) -> dict[str, Any] | None:
    """Write the plan that is asked for; with ``--dry-run`` it is the command's result.

    Args:
        parts: what there is to do.
        notes: what is to be said of the input, in the result as well.

    Raises:
        ExportError: the file cannot be written.
    """
    if not args.plan and not args.dry_run:
        return None
    from tessera_core.project.plan import summary, write_plan

    found = parts()
    sums = write_plan(args.plan, found) if args.plan else summary(found)
    return {"plan": {"file": args.plan, **sums}, "notes": list(notes)} if args.dry_run else None


def told_of_plan(result: dict[str, Any], things: str = "tiles") -> str:
    """The result of ``--dry-run`` for people; ``things`` are what is planned."""
    plan = result["plan"]
    lines = [
        *result["notes"],
        f"{plan['tiles']} {things}, {plan['done']} of them done. Left: {plan['pixels']:,} pixels, "
        f"{plan['read_bytes'] / 1e9:,.2f} GB to read, {plan['written_bytes'] / 1e9:,.2f} GB to write, about "
        f"{plan['minutes']:,.1f} minutes of one core (of a line of 10 MB/s where things are fetched).",
        "Nothing was done.",
    ]
    return "\n".join([*lines, *([f"The plan: {plan['file']}"] if plan["file"] else [])])


@contextmanager
def engine_of(args: argparse.Namespace, workers: int | None = None) -> Iterator[dict[str, Any]]:
    """What the work is done by, as ``workers``, ``executor`` and ``retries`` of what spreads it.

    Args:
        workers: processes where ``--workers`` means something else.

    Raises:
        InputError: no scheduler is there, or Dask is not installed.
    """
    number = args.workers if workers is None else workers
    where = scheduler_of(args)
    if where is None:
        yield {"workers": number, "retries": args.retries}
        return
    from tessera_core.cluster import connect

    with connect(where, number, memory=args.memory, retries=args.retries) as engine:
        mirrors = getattr(args, "mirrors", None)
        # Of what lies in an object store, workers elsewhere have mirrors of their own.
        executor = engine.executor if mirrors is None else mirrors.executor(engine.executor)
        yield {"workers": engine.workers, "executor": executor, "retries": 0}
