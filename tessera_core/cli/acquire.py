"""Fetch Sentinel-1/2 time series of a region as d-pixel tiles.

Searches Planetary Computer (mpc) or AWS, brings every scene of the window onto one UTM grid and writes tile directories
that 'tessera generate' reads. Running the same command again goes on where it stopped and tries what was missing.
Sentinel-1 from AWS needs a free NASA Earthdata token in the environment variable EARTHDATA_TOKEN.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core.cli.coverage import WHERE, add_where, region_of, wide_region_of
from tessera_core.cli.paths import Output
from tessera_core.cli.shares import (
    add_spread_options,
    check_engine,
    engine_of,
    planned,
    scheduler_of,
    share_of,
    told_of_plan,
)
from tessera_core.cli.years import add_year

if TYPE_CHECKING:
    from tessera_core.dpixels.acquire.catalogue import Window

PATHS = {**WHERE, "out": Output(folder="into"), "plan": Output((".geojson",))}
EXAMPLES = (
    "tessera acquire --bbox 0.05,52.18,0.10,52.21 --year 2023 --out tiles",
    "tessera acquire --region country.gpkg --year 2023 --by-zone --share 3/40 --out tiles",
    "tessera acquire --region farm.geojson --year 2024 --season agricultural --out tiles",
    "tessera acquire --region farm.geojson --start 2023-04-01 --end 2023-09-30 --source aws --out tiles",
)
STOPPED = "finished days and tiles are kept; run the same command again to go on"
SUMMARY = "fetch Sentinel-1/2 time series as d-pixel tiles"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_where(parser)
    when = parser.add_argument_group("when")
    add_year(when, "a calendar year, such as 2023, or a window of months, such as 2023-10/2024-09")
    when.add_argument("--start", metavar="YYYY-MM-DD", help="first day of another window (at most a year)")
    when.add_argument("--end", metavar="YYYY-MM-DD", help="last day of it")
    when.add_argument(
        "--season",
        choices=("agricultural", "wet", "dry", "q1", "q2", "q3", "q4", "last12"),
        help="part of --year, or the year that ends in it: agricultural (by latitude; named after the harvest), wet or dry season, "
        "a quarter; last12: the last twelve whole months, without --year",
    )
    parser.add_argument("--source", choices=["mpc", "aws"], default="mpc", help="catalogue (default: mpc)")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the tiles")
    parser.add_argument(
        "--offset-rule",
        choices=["date", "baseline"],
        default="date",
        help="how the Sentinel-2 offset is removed: 'date' as the published models' authors did, "
        "'baseline' correctly by each item's processing baseline (default: date)",
    )
    parser.add_argument("--max-cloud", type=float, default=100, metavar="PERCENT", help="skip cloudier items")
    parser.add_argument(
        "--patch",
        type=int,
        metavar="PIXELS",
        help="side of a tile (default: one tile, of a region over 1024 pixels wide or high one for each cell of its UTM zone)",
    )
    parser.add_argument("--workers", type=int, default=8, metavar="N", help="assets read at a time (default: 8)")
    parser.add_argument(
        "--timeout", type=float, default=60, metavar="S", help="longest wait for a request (default: 60)"
    )
    parser.add_argument(
        "--by-zone",
        action="store_true",
        help="cut the region where UTM zones meet, and each part into cells of its zone (default: one grid, of its middle's zone)",
    )
    add_spread_options(parser, "tiles", each=", a tile each", processes=True)
    parser.add_argument("--stac-url", metavar="URL", help="another STAC API with the same collections")
    parser.add_argument("--cmr-url", metavar="URL", help="another granule search for Sentinel-1 on AWS")


def check(args: argparse.Namespace) -> None:
    """Refuse numbers and times that make no sense.

    Raises:
        InputError: some do not.
    """
    from tessera_core.errors import InputError

    _window(args)
    for name in ("patch", "workers", "processes", "timeout"):
        if (value := getattr(args, name)) is not None and value <= 0:
            raise InputError(f"--{name} must be greater than 0.")
    share_of(args)
    check_engine(args)
    if args.by_zone and args.patch:
        raise InputError("--by-zone cuts into cells of the zones; leave --patch out.")


def _window(args: argparse.Namespace) -> Window | None:
    """The days that the arguments mean; None where they follow from the season and the region.

    Raises:
        InputError: they mean none, or days without satellites.
    """
    import datetime as dt

    from tessera_core.dpixels.acquire.catalogue import Window
    from tessera_core.errors import InputError
    from tessera_core.periods import Period, days_of

    dated = args.start is not None or args.end is not None
    if args.season and dated:
        raise InputError("--season chooses the days itself; leave away --start and --end, or --season.")
    if args.season == "last12" and args.year is not None:
        raise InputError("--season last12 ends with the last whole month; leave away --year.")
    if args.season:
        # Which days depends on the latitude; whether there are any is told when the region is known.
        if isinstance(args.year, Period):
            raise InputError(f"{args.year} is a window already; leave away --season, or give --year 2024.")
        if args.season != "last12" and args.year is None:
            raise InputError(f"Say of which year the season {args.season} is, such as --year 2024.")
        return None
    if (args.year is None) != dated:
        raise InputError("Say when: either --year 2023, or --start and --end.")
    if args.year is not None:
        return Window(*days_of(args.year))
    try:
        return Window(dt.date.fromisoformat(args.start or ""), dt.date.fromisoformat(args.end or ""))
    except ValueError as error:
        raise InputError("--start and --end are days such as 2023-04-01; give both.") from error


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Acquire; returns the report as JSON."""
    import dataclasses

    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.dpixels.acquire import CATALOGUES, AcquireOptions, acquire
    from tessera_core.dpixels.acquire.shares import acquire_in_shares
    from tessera_core.project.plan import plan_acquire

    window = _window(args)
    if args.by_zone:
        wide, notes = wide_region_of(args)
        regions, (_, south, _, north) = wide.by_zone(), wide.bbox
    else:
        region, notes = region_of(args)
        regions, (_, south, _, north) = [region], region.bbox
    if window is None:
        from tessera_core.dpixels.acquire.presets import season_window

        named = season_window(args.season, args.year, (south + north) / 2)
        window, notes = named.window, [*notes, named.sentence]
    catalogue = CATALOGUES[args.source]
    if args.stac_url:
        catalogue = dataclasses.replace(catalogue, stac_url=args.stac_url, signed=False)
    if args.cmr_url:
        catalogue = dataclasses.replace(catalogue, cmr_url=args.cmr_url)
    options = AcquireOptions(
        offset_rule=args.offset_rule,
        max_cloud=args.max_cloud,
        patch_px=args.patch,
        cells=args.by_zone,
        workers=args.workers,
        timeout_s=args.timeout,
    )
    progress, share = ConsoleProgress("acquire"), share_of(args)
    if told := planned(args, lambda: plan_acquire(regions, window, catalogue, Path(args.out), options), notes):
        return told
    if args.processes > 1 or args.by_zone or scheduler_of(args):
        with engine_of(args, args.processes) as engine:
            report = acquire_in_shares(
                regions, window, catalogue, args.out, options, share=share, progress=progress, **engine
            )
    else:
        report = acquire(regions[0], window, catalogue, args.out, options, share=share, progress=progress)
    return report.to_json() | {"notes": notes}


def report(result: dict[str, Any]) -> str:
    """The report for a person."""
    if "plan" in result:
        return told_of_plan(result)
    lines = [
        *result["notes"],
        f"{len(result['tiles'])} tiles, {result['days_s2']} Sentinel-2 days, {result['passes_s1']} Sentinel-1 passes.",
    ]
    lines += [f"  {tile}" for tile in result["tiles"]]
    if result["missing"]:
        lines.append(f"{len(result['missing'])} pieces are missing; run the same command again to try them once more:")
        lines += [f"  {sentence}" for sentence in result["missing"]]
    lines += result["left_out"]
    return "\n".join(lines)
