"""Say what published embeddings there are of a region, before anything is fetched.

For each dataset and year: how much of the region is covered, which 0.1 degree tiles are missing, megabytes and minutes to fetch,
memory, and what the cache holds. --request writes a ready-made request for what is missing.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core._utils.percents import percent
from tessera_core.cli.paths import Input, Output
from tessera_core.cli.years import add_years, parse_years

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tessera_core.region import Region
    from tessera_core.sources.remote.cog_archive import CogArchive
    from tessera_core.wide_region import WideRegion

WHERE = {"region": Input(), "points": Input()}
PATHS = {**WHERE, "request": Output((".txt", ".json", ".md", ".csv"))}
EXAMPLES = (
    "tessera coverage --bbox 0.05,52.18,0.10,52.21",
    "tessera coverage --region farm.geojson --years 2018-2024 --dataset all --request request.txt",
)
SUMMARY = "say what published embeddings there are of a region"


def add_where(parser: argparse.ArgumentParser, *, points: bool = False) -> None:
    """Arguments that say where; shared with ``tessera fetch``."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--bbox", metavar="W,S,E,N", help="box in degrees")
    where.add_argument("--region", metavar="FILE", help="polygons: GeoJSON, GeoPackage, KML or zipped Shapefile")
    parser.add_argument("--swap", action="store_true", help="the file of --region has latitudes first")
    if points:
        where.add_argument(
            "--points", metavar="CSV", help="a table with columns lon and lat: sample these points instead"
        )


def add_source(parser: argparse.ArgumentParser, dataset_help: str) -> None:
    """Arguments that say from where; shared with ``tessera fetch``."""
    parser.add_argument("--dataset", metavar="NAME", help=dataset_help)
    parser.add_argument("--store-url", metavar="URL", help="any store in the published layout instead: URL or path")
    parser.add_argument(
        "--tiles-url",
        metavar="URL",
        help="another address of NPY tiles (npy/ and landmasks/), or of AlphaEarth's archive",
    )
    parser.add_argument("--dim", type=int, metavar="N", help="only the first N dimensions (default: all)")
    parser.add_argument("--attempts", type=int, default=5, metavar="N", help="tries for each piece (default: 5)")
    parser.add_argument(
        "--timeout", type=float, default=120.0, metavar="S", help="longest wait for an answer (default: 120)"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_where(parser)
    add_years(parser, " (default: all there are)")
    add_source(parser, "such as 1.1/dclimate, several with commas, all, or alphaearth (default: the default dataset)")
    parser.add_argument("--request", metavar="FILE", help="write a request for what is missing")


def archive_of(args: argparse.Namespace, region: Region) -> CogArchive | None:
    """AlphaEarth's archive around a region where the arguments ask for it, else None."""
    from tessera_core.sources.remote import cog_archive

    if args.dataset != cog_archive.NAME:
        return None
    return cog_archive.open_archive(region, archive_address(args), timeout_s=args.timeout)


def archive_address(args: argparse.Namespace) -> str:
    """Where AlphaEarth's archive is to be read."""
    from tessera_core.sources.remote import cog_archive

    address = str(args.tiles_url or cog_archive.ADDRESS).rstrip("/")
    return address if "://" in address else str(Path(address).expanduser().resolve())


def region_of(args: argparse.Namespace) -> tuple[Region, list[str]]:
    """The region that the arguments name, and what is to be told of how its file was read."""
    from tessera_core.region import parse_bbox, read_region_report

    if args.bbox:
        _require_no_swap(args)
        return parse_bbox(args.bbox), []
    region, told = _swappable(args, read_region_report)
    return region, told.sentences()


def wide_region_of(args: argparse.Namespace) -> tuple[WideRegion, list[str]]:
    """The same of any width and over the 180th meridian, for what is cut into cells zone by zone."""
    from tessera_core.wide_region import parse_wide_bbox, read_wide_region

    if args.bbox:
        _require_no_swap(args)
        return parse_wide_bbox(args.bbox)
    region, told = _swappable(args, read_wide_region)
    return region, told.sentences()


def _require_no_swap(args: argparse.Namespace) -> None:
    from tessera_core.errors import InputError

    if args.swap:
        raise InputError("--swap is for the file of --region; write the box of --bbox as west,south,east,north.")


def _swappable[R](args: argparse.Namespace, read: Callable[..., R]) -> R:
    from tessera_core.errors import InputError
    from tessera_core.region import SwappedAxesError

    try:
        return read(args.region, swap=args.swap)
    except SwappedAxesError as error:
        raise InputError(f"{error} The option --swap does so.") from error


def published_years(args: argparse.Namespace) -> list[int]:
    """The years asked for, where anybody can have published embeddings of them.

    Raises:
        InputError: of one nobody can; told without asking the network.
    """
    import datetime as dt

    from tessera_core.errors import InputError

    years = parse_years(args.years)
    if not (args.store_url or args.tiles_url) and (years[0] < 2015 or years[-1] > dt.date.today().year):
        wrong = years[0] if years[0] < 2015 else years[-1]
        raise InputError(f"Nobody has embeddings of {wrong}: Sentinel-2 has flown since 2015. Choose other years.")
    return years


def check_source(args: argparse.Namespace) -> None:
    """Refuse numbers that make no sense.

    Raises:
        InputError: one does not.
    """
    from tessera_core.errors import InputError

    for name in ("attempts", "timeout", "dim", "workers"):
        value = getattr(args, name, None)
        if value is not None and value <= 0:
            raise InputError(f"--{name} must be greater than 0.")
    if args.dataset and args.store_url:
        raise InputError("Give either --dataset or --store-url; a store is one dataset.")
    if args.years:
        published_years(args)


def check(args: argparse.Namespace) -> None:
    """Refuse numbers that make no sense."""
    check_source(args)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Look; returns the coverage as JSON."""
    from tessera_core._utils.atomic import write_text
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.errors import AcquisitionError
    from tessera_core.sources.remote.coverage import Coverage, coverage, request_text, survey
    from tessera_core.sources.remote.datasets import dataset_named, datasets
    from tessera_core.sources.remote.retry import with_retries
    from tessera_core.sources.remote.zarr_store import open_store

    region, notes = region_of(args)
    years = published_years(args) if args.years else None
    shown = ConsoleProgress("coverage")
    covers: Sequence[Coverage]
    if args.store_url:
        url = args.store_url
        source = with_retries(lambda: open_store(url, timeout_s=args.timeout), url, args.attempts, None)
        covers = [coverage(region, source, years=years, dim=args.dim, attempts=args.attempts, progress=shown)]
    elif (found := archive_of(args, region)) is not None:
        covers = [coverage(region, found, years=years, attempts=args.attempts, progress=shown)]
    else:
        known = datasets()
        names = [args.dataset] if args.dataset else [known[0].name]
        chosen = known if args.dataset == "all" else [dataset_named(name) for text in names for name in text.split(",")]
        covers = survey(
            region,
            chosen,
            years=years,
            dim=args.dim,
            attempts=args.attempts,
            timeout_s=args.timeout,
            progress=shown,
        )
    if all(cover.problem for cover in covers):
        raise AcquisitionError(covers[0].problem)
    request = "\n".join(text for text in (request_text(region, cover) for cover in covers if not cover.problem) if text)
    if args.dataset == "alphaearth":
        # Its publisher takes no requests.
        request = ""
    if args.request and request:
        write_text(args.request, request)
    west, south, east, north = region.bbox
    return {
        "region": region.name,
        "bbox": [west, south, east, north],
        "notes": notes,
        "datasets": [cover.to_json() for cover in covers],
        "request": request,
    }


def report(result: dict[str, Any]) -> str:
    """The coverage as a table for people."""
    lines = list(result["notes"])
    for cover in result["datasets"]:
        title = cover["dataset"] + (" (default)" if cover["default"] else "")
        lines.append(f"{title}: {cover['description'] or cover['location']}")
        if cover["problem"]:
            lines.append(f"  {cover['problem']}")
            continue
        height, width = cover["shape"]
        looked = "every pixel" if cover["exact"] else "a sample of squares in each tile"
        lines.append(
            f"  {width} x {height} pixels, {cover['dim']} dimensions; fetching takes at most "
            f"{cover['memory_mb']:,.0f} MB of memory; looked at {looked}"
        )
        lines += [f"  {sentence}" for sentence in (cover["depth"] or {}).get("sentences", [])]
        for year in cover["years"]:
            minutes = "" if year["minutes"] is None else f", about {max(year['minutes'], 0.1):.1f} min"
            cost = "in the cache" if year["cached"] else f"{year['mb_to_fetch']:,.0f} MB to fetch{minutes}"
            water = f", {percent(year['water'])} % water" if year["water"] > 0 else ""
            if not year["published"]:
                lines.append(f"  {year['year']}: not published here")
                continue
            refused = year["too_few"] + year["never_seen"]
            water += f", {percent(refused, 1)} % refused: seen too rarely" if refused else ""
            lines.append(f"  {year['year']}: {percent(year['covered'], 1)} % covered{water}, {cost}")
            if year["missing_tiles"]:
                names = year["missing_tiles"]
                more = f" and {len(names) - 8} more" if len(names) > 8 else ""
                lines.append(f"        missing: {', '.join(names[:8])}{more}")
    if result["request"]:
        lines.append("Something is missing; '--request FILE' writes a request for it, 'tessera acquire' makes it here.")
    return "\n".join(lines)
