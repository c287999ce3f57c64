"""What changed between two years: a map of changed ground at a chosen false-discovery rate, and p-values.

The years are judged against what unchanged ground does, found in the scene itself or given with --stable; the shift of the
whole scene (weather, sensors) is reported apart and not counted as change (docs/change.md).

Beside every raster lies its style for QGIS, NAME.qml. A style that you saved there yourself is kept.

With --tiles DIR the tiles of two folders are compared one by one, by name, and judged as one scene: any number, in any UTM zones,
without seams. --workers takes several processes, --scheduler the workers of a cluster, --share a part of the tiles for a job
array; a share that has to wait for others says so, and the same command then writes the maps.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core._utils.percents import percent
from tessera_core.cli.paths import TIFF, Declared, Input, Output, sidecars
from tessera_core.cli.shares import (
    add_one_cog_option,
    add_spread_options,
    check_engine,
    engine_of,
    planned,
    scheduler_of,
    share_of,
    told_of_one_cog,
    told_of_plan,
)
from tessera_core.periods import other_months

if TYPE_CHECKING:
    from tessera_core.analysis.change import ChangeLayer


def _beside(path: Path) -> list[Path]:
    values = path.with_name(f"{path.stem}_p.tif")
    return [values, *sidecars(path), *sidecars(values)]


def _into(args: argparse.Namespace) -> Output:
    """The folder of the tiles' maps; shares find there what the others have measured, four bytes a pixel."""
    alone = args.share is None and not scheduler_of(args)
    return Output(folder="into", meets=() if alone else (".measured",))


PATHS: dict[str, Declared] = {
    "first": Input(by_tile=True),
    "second": Input(by_tile=True),
    "stable": Input(),
    "out": Output(TIFF, beside=_beside),
    "tiles": _into,
    "plan": Output((".geojson",)),
}
EXAMPLES = (
    "tessera change demo/embeddings/2023 demo/embeddings/2024 --out change.tif",
    "tessera change 2023 2024 --rate 0.01 --stable roads.geojson --out change.tif",
    "tessera change country/2023 country/2024 --tiles change --workers 4",
)
STOPPED = "with --tiles, finished tiles are kept; run the same command again to go on"
SUMMARY = "find what changed between two years"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("first", help="embeddings of the earlier year, in any layout we read")
    parser.add_argument("second", help="embeddings of the later year")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", help="map to write: 1 unchanged, 2 changed (Cloud Optimized GeoTIFF)")
    target.add_argument(
        "--tiles",
        metavar="DIR",
        help="write such a map of each tile into this folder instead, and one VRT for each coordinate system",
    )
    add_one_cog_option(parser)
    add_spread_options(parser, "tiles", ", with --tiles")
    parser.add_argument("--rate", type=float, default=0.05, help="share of false alarms to accept (default: 0.05)")
    parser.add_argument("--stable", metavar="FILE", help="polygons of places that did not change, any vector file")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")


def check(args: argparse.Namespace) -> None:
    """Refuse a rate that is none, and options that do not go together.

    Raises:
        InputError: some do not.
    """
    from tessera_core.errors import InputError

    if not 0 < args.rate < 1:
        raise InputError(f"--rate is a share between 0 and 1, such as 0.05, not {args.rate:g}.")
    share_of(args)
    check_engine(args)
    if args.tiles is None and (
        args.share is not None or args.workers > 1 or args.scheduler or args.plan or args.dry_run or args.one_cog
    ):
        raise InputError(
            "--share, --workers, --scheduler, --plan, --dry-run and --one-cog go with --tiles DIR, a map for each tile."
        )
    if args.tiles is not None and args.stable:
        raise InputError("Tile by tile, unchanged ground is found in the scene itself; --stable goes with --out.")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Compare and return what was found and written.

    Raises:
        InputError: something given is not usable.
        ExportError: a file cannot be written.
    """
    import numpy as np

    from tessera_core.analysis.change import change_power, detect_change
    from tessera_core.areas import hectares
    from tessera_core.assess.reference import read_reference
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.export.change import write_change
    from tessera_core.sources.local.open import left_out, open_embeddings

    if args.tiles is not None:
        return _by_tile(args)
    first, second = open_embeddings(args.first), open_embeddings(args.second)
    stable = None
    if args.stable:
        reference = read_reference(args.stable, first.grid)
        stable = np.zeros(first.shape, bool)
        stable[reference.rows, reference.cols] = True
    layer = detect_change(first, second, stable=stable, seed=args.seed, progress=ConsoleProgress("change"))
    written = write_change(args.out, layer, args.rate, first.grid, second.provenance)
    years = first.provenance.year, second.provenance.year
    backwards = years[0] is not None and years[1] is not None and years[0] > years[1]
    count = layer.count(args.rate)
    area = hectares(count, first.grid)
    power = change_power(first, second, (args.rate,), seed=args.seed)
    return {
        "out": str(written[0]),
        "failed": left_out(first) + left_out(second),
        "p_values": str(written[1]),
        "dataset": first.provenance.dataset,
        "years": list(layer.years),
        "rate": args.rate,
        "pixels": layer.pixels,
        "changed": count,
        "changed_share": round(count / layer.pixels, 6),
        "changed_hectares": None if area is None else round(area, 4),
        **_scene_of(layer),
        "power": None
        if power is None
        else {"found": round(power.at(args.rate), 4), "pixels": power.pixels, "sentence": power.sentence(args.rate)},
        "notes": _notes(years, backwards),
    }


def _notes(years: tuple[int | None, int | None], backwards: bool) -> list[str]:
    notes = []
    if backwards:
        notes.append(
            f"The years are given backwards: {years[0]} first and {years[1]} second. What changed between them is the same, "
            "but tools that tell from and to show them in this order."
        )
    if other_months(*years):
        notes.append(
            f"{years[0]} and {years[1]} are not the same part of the year, so much of what differs may be the season and not the "
            "ground. For change, compare the same months of two years."
        )
    return notes


def _by_tile(args: argparse.Namespace) -> dict[str, Any]:
    """Compare tile by tile; the keys are those of one map, as far as there are such."""
    from tessera_core.cli.console import ConsoleProgress
    from tessera_core.project.tile_change import change_tiles, plan_change

    if told := planned(args, lambda: plan_change(args.first, args.second, args.tiles)):
        return told
    with engine_of(args) as engine:
        found = change_tiles(
            args.first,
            args.second,
            args.tiles,
            rate=args.rate,
            seed=args.seed,
            one_cog=args.one_cog,
            share=share_of(args),
            progress=ConsoleProgress("change"),
            **engine,
        )
    count, pixels = (sum(tile[key] for tile in found.tiles.values()) for key in ("changed", "pixels"))
    areas = [tile["hectares"] for tile in found.tiles.values()]
    layer = found.layer
    result: dict[str, Any] = {
        "out": str(found.folder),
        "maps": [str(path) for path in found.maps],
        "one_cog": args.one_cog,
        "whole": [str(path) for path in found.whole],
        "tiles": len(found.tiles),
        "waiting": list(found.waiting),
        "failed": [one.to_json() for one in found.failed],
        "rate": args.rate,
        "pixels": pixels,
        "changed": count,
        "changed_share": round(count / pixels, 6) if pixels else None,
        "changed_hectares": None if None in areas else round(sum(areas), 4),
    }
    if layer is not None:
        result |= {"years": list(layer.years), **_scene_of(layer)}
    return result


def _scene_of(layer: ChangeLayer) -> dict[str, Any]:
    """What was found of the scene as a whole."""
    return {
        "null": {
            "source": layer.null.source,
            "centre": round(layer.null.centre, 4),
            "spread": round(layer.null.spread, 4),
            "pixels": layer.null.pixels,
        },
        "scene_shift": {
            "distance_before": round(layer.shift.before, 6),
            "distance_after": round(layer.shift.after, 6),
            "share_of_difference": round(layer.shift.share, 4),
        },
        "noisier_ground": [{"share": round(share, 4), "factor": round(factor, 3)} for share, factor in layer.raised],
    }


def report(result: dict[str, Any]) -> str:
    """The result for people."""
    from tessera_core._utils.partial import left_out_lines

    if "plan" in result:
        return told_of_plan(result)
    if "tiles" in result:
        return _told_by_tile(result)
    area = f" ({result['changed_hectares']:,.1f} ha)" if result["changed_hectares"] is not None else ""
    years = " and ".join(str(year) for year in result["years"])
    shift = percent(result["scene_shift"]["share_of_difference"])
    return "\n".join(
        (
            f"{Path(result['out'])}: {percent(result['changed_share'], 2)} % of the region{area} changed between {years}, with up "
            f"to {100 * result['rate']:g} % false alarms.",
            *([result["power"]["sentence"]] if result["power"] else []),
            f"{shift} % of the difference on unchanged ground was a shift of the whole scene; it is not counted.",
            f"p-values: {result['p_values']}",
            *left_out_lines(result),
            *result["notes"],
        )
    )


def _told_by_tile(result: dict[str, Any]) -> str:
    from tessera_core._utils.partial import left_out_lines

    lines = []
    if result["waiting"]:
        lines.append(
            f"{len(result['waiting'])} tiles are not there yet, {result['waiting'][0]} among them; other shares make them. When "
            "they have, run the same command once more."
        )
    if result["tiles"]:
        area = f" ({result['changed_hectares']:,.1f} ha)" if result["changed_hectares"] is not None else ""
        years = " and ".join(str(year) for year in result["years"])
        lines.append(
            f"{result['tiles']} tiles in {result['out']}: {percent(result['changed_share'], 2)} %{area} changed between {years}, "
            f"with up to {100 * result['rate']:g} % false alarms over all of them."
        )
    return "\n".join([*lines, *result["maps"], *told_of_one_cog(result), *left_out_lines(result)])
