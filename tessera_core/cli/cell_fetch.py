"""``tessera fetch --by-zone``: published embeddings cell by cell."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from tessera_core.cli.shares import check_engine, engine_of, planned, share_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tessera_core.sources.remote.window_task import Source
    from tessera_core.wide_region import WideRegion


def check_cells(args: argparse.Namespace) -> None:
    """Refuse options that do not go together.

    Raises:
        InputError: some do not.
    """
    from tessera_core.errors import InputError

    if args.processes < 1:
        raise InputError("--processes must be at least 1.")
    if not args.by_zone:
        if args.share is not None or args.processes > 1 or args.scheduler or args.plan or args.dry_run:
            raise InputError(
                "--share, --processes, --scheduler, --plan and --dry-run go with --by-zone, a raster for each cell."
            )
        return
    share_of(args)
    check_engine(args)
    if args.points:
        raise InputError("--by-zone is for regions; leave it out with --points.")
    if args.refresh or args.inspect or args.seen_at_least is not None:
        raise InputError(
            "--refresh, --inspect and --seen-at-least are for one raster; leave them out with --by-zone, which reads nothing from "
            "the cache."
        )


def fetched_by_cell(
    args: argparse.Namespace, region: WideRegion, notes: Sequence[str], years: Sequence[int], source: Source
) -> dict[str, Any]:
    """Fetch, or only plan; the result of the command."""
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.project.tile_fetch import fetch_cells, plan_fetch
    from tessera_core.sources.remote.fetch import FetchOptions

    options = FetchOptions(args.dim, args.workers, args.attempts, args.timeout)
    regions = region.by_zone()
    if told := planned(args, lambda: plan_fetch(regions, source, years, args.out, options), notes):
        return told
    with engine_of(args, args.processes) as engine:
        found = fetch_cells(
            regions,
            source,
            years,
            args.out,
            options,
            share=share_of(args),
            progress=ConsoleProgress("fetch"),
            **engine,
        )
    return {
        "out": str(found.folder),
        "location": source.location,
        "years": list(years),
        "cells": len(found.cells),
        "empty": len(found.empty),
        "made": found.made,
        "waiting": list(found.waiting),
        "pixels": found.pixels,
        "mb_received": round(found.received / 1e6, 2),
        "missing": list(found.missing),
        "stac": [str(path) for path in found.stac],
        "notes": list(notes),
        "failed": [one.to_json() for one in found.failed],
    }


def told_by_cell(result: dict[str, Any]) -> str:
    """The result for people."""
    from tessera_core._utils.partial import left_out_lines

    lines = [
        *result["notes"],
        f"{result['cells']} cells in {result['out']}, {result['made']} of them fetched now ({result['mb_received']:,.1f} MB): "
        f"{result['pixels']:,} pixels with an embedding.",
    ]
    if result["empty"]:
        lines.append(f"{result['empty']} cells have no embedding: sea, or not published.")
    if result["waiting"]:
        lines.append(
            f"{len(result['waiting'])} cells are not there yet, {result['waiting'][0]} among them; other shares fetch them."
        )
    if result["missing"]:
        lines.append(f"{len(result['missing'])} pieces are missing; run the same command again to try them once more:")
        lines += [f"  {sentence}" for sentence in result["missing"]]
    return "\n".join([*lines, *left_out_lines(result)])
