"""Fetch published embeddings of a region, or at the points of a table.

A region becomes OUT/<year>/, rasters that every other command opens; they also stay in the cache, so asking again needs no network.
Beside them lie collection.json and an item for each year (STAC). Killed or cut off, the same command goes on where it stopped; what
cannot be had is left without data and named. With --points, OUT is a .csv or .parquet file: the table with year, nodata and the
embedding added to each row, and how often the place was seen where the store counts.

With --by-zone a large region is cut where UTM zones meet, and each part into cells of 1024 x 1024 pixels, each a raster of its own,
OUT/<year>/utm31_r0443_c0030_<year>. --processes, --share and --scheduler divide the cells; nothing passes through the cache.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core.cli.cell_fetch import check_cells, fetched_by_cell, told_by_cell
from tessera_core.cli.coverage import (
    WHERE,
    add_source,
    add_where,
    archive_address,
    check_source,
    published_years,
    region_of,
    wide_region_of,
)
from tessera_core.cli.head_options import add_reading_options, hints_of, import_of
from tessera_core.cli.paths import Output
from tessera_core.cli.shares import add_spread_options, told_of_plan
from tessera_core.cli.years import add_years

if TYPE_CHECKING:
    from collections.abc import Callable

    from tessera_core.region import Region
    from tessera_core.sources.remote.datasets import Dataset
    from tessera_core.sources.remote.fetch import Fetched
    from tessera_core.sources.remote.window_task import Source


def _out(args: argparse.Namespace) -> Output:
    if args.points:
        return Output((".csv", ".parquet", ".pq"))
    if args.by_zone:
        return Output(folder="into")
    return Output(folder="into", inside=lambda args, out: [out / str(year) for year in published_years(args)])


PATHS = {**WHERE, "out": _out, "plan": Output((".geojson",))}
EXAMPLES = (
    "tessera fetch --bbox 0.05,52.18,0.10,52.21 --years 2024 --out here",
    "tessera fetch --region farm.geojson --years 2018-2024 --dataset alphaearth --out farm --inspect",
    "tessera fetch --region country.gpkg --years 2024 --by-zone --processes 4 --out country",
    "tessera fetch --points plots.csv --years 2023 --out plots-with-embeddings.csv",
)
STOPPED = "what was fetched is kept; run the same command again to go on"
SUMMARY = "fetch published embeddings of a region, or at points"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_where(parser, points=True)
    add_reading_options(parser)
    add_years(parser, "", required=True)
    parser.add_argument("--out", metavar="PATH", required=True, help="folder; with --points a .csv or .parquet file")
    add_source(parser, "such as 1.1/dclimate, or alphaearth (default: the default dataset)")
    parser.add_argument("--inspect", action="store_true", help="look for bad tiles and seams in what was fetched")
    parser.add_argument("--refresh", action="store_true", help="fetch anew what the cache holds")
    parser.add_argument("--tiles", action="store_true", help="the dataset's NPY tiles instead of its store")
    parser.add_argument(
        "--snapshot", metavar="ID", help="one state of the dataset's Icechunk repository, instead of the newest"
    )
    parser.add_argument(
        "--seen-at-least",
        type=int,
        metavar="N",
        help="leave out pixels that were seen clearly fewer times; 25 keeps those that are well reproducible, where the store "
        "counts (1.1/dclimate)",
    )
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="pieces at a time (default: 4)")
    parser.add_argument(
        "--by-zone",
        action="store_true",
        help="cut the region where UTM zones meet, and each part into cells of its zone, each a raster of its own",
    )
    add_spread_options(parser, "cells", ", with --by-zone", ", a cell each", processes=True)


def check(args: argparse.Namespace) -> None:
    """Refuse what makes no sense, and folders that hold something else.

    Raises:
        InputError: they do.
    """
    from tessera_core._utils.atomic import RASTER, require_replaceable
    from tessera_core.errors import InputError

    check_source(args)
    check_cells(args)
    if not args.points and any((args.lon, args.lat, args.crs, args.encoding)):
        raise InputError("--lon, --lat, --crs and --encoding say how the table of --points is read.")
    if args.snapshot and (args.tiles or args.tiles_url or args.dataset == "alphaearth"):
        raise InputError("--snapshot is for datasets with an Icechunk repository, not for NPY tiles or AlphaEarth.")
    if args.seen_at_least is not None and (args.points or args.seen_at_least <= 0):
        raise InputError(
            "--seen-at-least is a number of days greater than 0, and for regions; --points writes the counts."
        )
    if not args.points and not args.by_zone:
        for year in published_years(args):
            require_replaceable(Path(args.out) / str(year), RASTER)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Fetch; returns what was written and what is missing."""
    from tessera_core.sources.remote.cog_archive import NAME
    from tessera_core.sources.remote.datasets import dataset_named, datasets

    years = published_years(args)
    if args.dataset == NAME:
        return _archive(args, years)
    dataset = dataset_named(args.dataset) if args.dataset else datasets()[0]
    if args.tiles or args.tiles_url:
        return _tiles(args, dataset, years)
    location = location_of(args, dataset)
    return _points(args, location, years) if args.points else _region(args, location, years)


def location_of(args: argparse.Namespace, dataset: Dataset) -> str:
    """The store to read by --store-url, --dataset and --snapshot."""
    from dataclasses import replace

    if args.store_url:
        dataset = replace(dataset, name=str(args.store_url), location=str(args.store_url), icechunk="")
    return dataset.at(args.snapshot or "")


def _region(args: argparse.Namespace, location: str, years: list[int]) -> dict[str, Any]:
    if args.by_zone:
        from tessera_core.sources.remote.retry import with_retries
        from tessera_core.sources.remote.zarr_store import open_store

        wide, notes = wide_region_of(args)
        store = with_retries(lambda: open_store(location, timeout_s=args.timeout), location, args.attempts, None)
        return fetched_by_cell(args, wide, notes, years, store)
    region, notes = region_of(args)
    return _fetched(args, region, notes, location, years)


def _tiles(args: argparse.Namespace, dataset: Dataset, years: list[int]) -> dict[str, Any]:
    from tessera_core.errors import InputError
    from tessera_core.sources.local.npy import DEPRECATED
    from tessera_core.sources.remote.npy_tiles import location_of, open_tiles

    if args.points or args.store_url:
        raise InputError("NPY tiles are fetched for a region, and without --store-url.")
    # Once for all tiles.
    if args.by_zone:
        wide, told = wide_region_of(args)
        source = open_tiles(dataset, wide, base=args.tiles_url)
        return fetched_by_cell(args, wide, [*told, DEPRECATED], years, source)
    (region, notes), address = region_of(args), location_of(dataset, args.tiles_url)
    notes = [*notes, DEPRECATED]
    return _fetched(args, region, notes, address, years, lambda: open_tiles(dataset, region, base=args.tiles_url))


def _archive(args: argparse.Namespace, years: list[int]) -> dict[str, Any]:
    from tessera_core.errors import InputError
    from tessera_core.sources.remote.cog_archive import open_archive

    if args.points or args.dim not in (None, 64):
        raise InputError("AlphaEarth embeddings are fetched for a region, with all their 64 dimensions.")
    address = archive_address(args)
    if args.by_zone:
        wide, told = wide_region_of(args)
        return fetched_by_cell(args, wide, told, years, open_archive(wide, address, timeout_s=args.timeout))
    region, notes = region_of(args)
    return _fetched(args, region, notes, address, years, lambda: open_archive(region, address, timeout_s=args.timeout))


def _fetched(
    args: argparse.Namespace,
    region: Region,
    notes: list[str],
    location: str,
    years: list[int],
    opened: Callable[[], Source] | None = None,
) -> dict[str, Any]:
    from tessera_core._utils.partial import Failure
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.sources.remote.fetch import FetchOptions, fetch_years

    failed: list[Failure] = []
    options = FetchOptions(args.dim, args.workers, args.attempts, args.timeout, args.refresh)
    got = fetch_years(
        region,
        location,
        years,
        options,
        opened=opened,
        progress=ConsoleProgress("fetch"),
        failed=failed,
    )
    return _taken(args, location, got) | {"notes": notes, "failed": [failure.to_json() for failure in failed]}


def _taken(args: argparse.Namespace, location: str, got: list[Fetched]) -> dict[str, Any]:
    from tessera_core.export.stac import write_stac
    from tessera_core.sources.remote import cache

    rasters: list[dict[str, Any]] = []
    for fetched in got:
        entry = fetched.entry
        path = cache.take(entry, Path(args.out) / str(entry.year))
        depth = entry.facts.get("depth")
        if args.seen_at_least is not None:
            kept = fetched.open().seen_at_least(args.seen_at_least)
            # Links to the cache are replaced, not written through.
            kept.save(path)
            left = kept.depth()
            depth = {**(depth or {}), "kept": 0 if left is None else left.pixels, "seen_at_least": args.seen_at_least}
        rasters.append(
            {
                "year": entry.year,
                "path": str(path),
                "dataset": entry.dataset,
                "shape": list(entry.shape),
                "dim": entry.dim,
                "pixels": entry.facts["pixels"],
                "depth": depth,
                "snapshot": fetched.open().provenance.details.get("snapshot"),
                "complete": not fetched.missing and not fetched.absent,
                "missing": list(fetched.missing),
                "missing_tiles": list(fetched.absent),
                "cached": fetched.cached,
                "mb_received": round(fetched.received / 1e6, 2),
                "seconds": round(fetched.seconds, 2),
            }
        )
        if args.inspect:
            from tessera_core.cli.console import ConsoleProgress
            from tessera_core.sources.quality.tiles import check_quality

            shown = ConsoleProgress(f"inspect {entry.year}")
            rasters[-1]["inspection"] = check_quality(fetched.open(), progress=shown).to_json()
    return {
        "out": str(args.out),
        "location": location,
        "rasters": rasters,
        "stac": [str(path) for path in write_stac(args.out, [raster["path"] for raster in rasters])],
        "missing": [sentence for raster in rasters for sentence in raster["missing"]],
    }


def _points(args: argparse.Namespace, location: str, years: list[int]) -> dict[str, Any]:
    from tessera_core._utils.partial import Failure
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.errors import InputError
    from tessera_core.sources.remote.points import count_points, read_points, sample_points, write_points
    from tessera_core.sources.remote.retry import with_retries
    from tessera_core.sources.remote.zarr_store import open_store

    out = Path(args.out)
    if out.suffix.lower() not in (".csv", ".parquet", ".pq"):
        raise InputError(f"With --points, --out is a file that ends in .csv or .parquet, not {out.name!r}.")
    table = read_points(args.points, args.crs, hints_of(args))
    store = with_retries(lambda: open_store(location, timeout_s=args.timeout), location, args.attempts, None)
    dim = args.dim or store.dim
    samples, missing, counts = [], [], []
    for year in years:
        values, reasons, problems = sample_points(
            store, table.lon, table.lat, year, dim, attempts=args.attempts, progress=ConsoleProgress(f"fetch {year}")
        )
        samples.append((year, values, reasons))
        missing += problems
        counts.append(count_points(store, table.lon, table.lat, year, attempts=args.attempts))
    write_points(out, table, samples, counts)
    lost = sorted(table.report.left_out.items())
    found = {str(year): int((reasons == 0).sum()) for year, _, reasons in samples}
    return {
        "out": str(out),
        "location": location,
        "points": len(table.rows),
        "import": import_of(table.report),
        "dim": dim,
        "found": found,
        "missing": missing,
        "failed": [Failure(f"{count} of {len(table.rows)} rows", f"{why}.").to_json() for why, count in lost],
    }


# What a pixel without an embedding may be, by the name of its reason.
_WHY = {
    "too_few": "were seen clearly too few times for an embedding",
    "no_observations": "were never seen clearly",
    "not_land": "lie where the publisher has no tile of land",
    "year_not_published": "lie where the year is not published",
    "missing_tile": "are missing in the store",
    "bad_tile": "are damaged in the store",
    "water": "are water",
}


def depth_lines(raster: dict[str, Any]) -> list[str]:
    """Why pixels of a fetched raster have no embedding, and how often the others were seen."""
    from tessera_core.observations import Depth, percent

    height, width = raster["shape"]
    wanted = height * width - raster["pixels"].get("outside", 0)
    lines = [
        f"{percent(raster['pixels'][name] / wanted)} of the pixels {words}"
        for name, words in _WHY.items()
        if raster["pixels"].get(name)
    ]
    if depth := raster["depth"]:
        least = depth.get("seen_at_least")
        lines += Depth.from_json(depth).sentences
        if least:
            lost = 1 - depth["kept"] / depth["pixels"] if depth["pixels"] else 0
            lines.append(
                f"{percent(lost)} of the pixels with an embedding were left out: seen fewer than {least} times"
            )
    return lines


def report(result: dict[str, Any]) -> str:
    """What was fetched, for people."""
    from tessera_core._utils.partial import left_out_lines
    from tessera_core.labels.report import told

    if "plan" in result:
        return told_of_plan(result)
    if "cells" in result:
        return told_by_cell(result)
    lines = list(result.get("notes", []))
    for raster in result.get("rasters", []):
        height, width = raster["shape"]
        came = "from the cache" if raster["cached"] else f"{raster['mb_received']:,.1f} MB in {raster['seconds']:.1f} s"
        lines.append(f"{raster['path']}: {width} x {height} pixels, {came}")
        lines += [f"  {sentence}" for sentence in depth_lines(raster)]
        if raster["missing_tiles"]:
            lines.append(f"  the publisher has not: {', '.join(raster['missing_tiles'])}")
        if found := raster.get("inspection"):
            lines += [f"  {sentence}" for sentences in found["bad_tiles"].values() for sentence in sentences]
            for seam in found["seams"]:
                first, second = seam["between"]
                lines.append(f"  a seam between {first} and {second}: {seam['step']} times the usual step")
            if not found["bad_tiles"] and not found["seams"]:
                lines.append(f"  no bad tile and no seam in {found['tiles']} tiles")
    lines += told(result)
    for year, count in result.get("found", {}).items():
        lines.append(f"{result['out']}: {count} of {result['points']} points of {year} have an embedding")
    if result["missing"]:
        lines.append(f"{len(result['missing'])} pieces are missing; run the same command again to try them once more:")
        lines += [f"  {sentence}" for sentence in result["missing"]]
    # What rows have no place is told with how the table was read.
    lines += [] if "points" in result else left_out_lines(result)
    return "\n".join(lines)
