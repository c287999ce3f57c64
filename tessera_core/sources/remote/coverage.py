"""The preflight: what a store has of exactly this region, year by year, before anything is loaded, and what loading it would take.

Only scales are read, a thirtieth of the bytes: all of them for a small region, for a larger one small squares spread over each
0.1 degree tile. What is missing is named by tile, as the publisher names it, and can be turned into a request.
"""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import AcquisitionError
from tessera_core.raster import NoData
from tessera_core.region import Region
from tessera_core.sources.remote import cache
from tessera_core.sources.remote.datasets import Dataset
from tessera_core.sources.remote.fetch import WORKERS
from tessera_core.sources.remote.in_threads import in_threads
from tessera_core.sources.remote.resilient import PieceError
from tessera_core.sources.remote.retry import ATTEMPTS, with_retries
from tessera_core.sources.remote.tile_list import RegionDepth, TileList, beside, region_depth
from tessera_core.sources.remote.window_task import Source
from tessera_core.sources.remote.working_grid import WorkingGrid, tile_centres, tile_name
from tessera_core.sources.remote.zarr_store import Store, open_store
from tessera_core.types import Cancel, Progress, Window

logger = logging.getLogger(__name__)

# Up to here every pixel's scale is read.
EXACT_PIXELS = 4 << 20
SAMPLE = 32
SAMPLES_PER_TILE = 3
READERS = 12
# Tiles overlap or gape by a pixel along their edges.
TOLERANCE = 0.01
PROBE_S = 10.0

State = Literal["covered", "partial", "missing", "water"]


@dataclass(frozen=True)
class TileCover:
    """What a year has of the part of a tile that lies in the region.

    Attributes:
        name: e.g. ``grid_0.15_52.05``.
        lon, lat: centre.
        state: ``"water"`` where there is nothing but water.
        valid, water: shares of the part's pixels, 0..1.
        refused: whether all that is lacking was refused by the publisher for want of observations.
    """

    name: str
    lon: float
    lat: float
    state: State
    valid: float
    water: float
    refused: bool = False


@dataclass(frozen=True)
class YearCover:
    """What a store has of a region in one year.

    Attributes:
        year: of the embeddings.
        tiles: by name.
        valid, water: shares of the region's pixels, 0..1.
        fetch_bytes: to fetch, uncompressed and so at most; 0 where it is cached.
        disk_bytes: of the raster.
        seconds: at the speed measured; None where none is known.
        cached: whether it lies complete in the cache.
        too_few, never_seen: shares of the region's pixels that the publisher refused because seen too few times, or never.
        published: whether the publisher has declared the year complete for any of the region.
    """

    year: int
    tiles: tuple[TileCover, ...]
    valid: float
    water: float
    fetch_bytes: int
    disk_bytes: int
    seconds: float | None
    cached: bool
    too_few: float = 0.0
    never_seen: float = 0.0
    published: bool = True

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the tiles of which something is missing that there could be: what was refused cannot be had from anybody."""
        return tuple(tile.name for tile in self.tiles if tile.state in ("missing", "partial") and not tile.refused)

    @property
    def complete(self) -> bool:
        """Whether all land is covered."""
        return not self.missing


@dataclass(frozen=True)
class Coverage:
    """What a store has of a region.

    Attributes:
        dataset: its name.
        location: of the store.
        default: whether it is the dataset to take when nothing speaks for another.
        description: by its publisher.
        years: by year.
        dim: dimensions asked for.
        dims: lengths that the store has arrays of their own for.
        shape: pixels of the raster.
        exact: whether every pixel was looked at.
        memory_bytes: that fetching needs at most.
        speed: bytes per second, measured; None if not known.
        problem: why nothing is known, for people; empty where it is.
        depth: what the publisher's list of tiles says of how often the region was seen; None where there is no list, or it
            cannot be reached.
    """

    dataset: str
    location: str
    default: bool = False
    description: str = ""
    years: tuple[YearCover, ...] = ()
    dim: int = 0
    dims: tuple[int, ...] = ()
    shape: tuple[int, int] = (0, 0)
    exact: bool = True
    memory_bytes: int = 0
    speed: float | None = None
    problem: str = ""
    depth: RegionDepth | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON object for the command line."""
        return {
            "dataset": self.dataset,
            "location": self.location,
            "default": self.default,
            "description": self.description,
            "dim": self.dim,
            "dims": list(self.dims),
            "shape": list(self.shape),
            "exact": self.exact,
            "memory_mb": round(self.memory_bytes / 1e6, 1),
            "mb_per_s": None if self.speed is None else round(self.speed / 1e6, 2),
            "problem": self.problem,
            "depth": None if self.depth is None else self.depth.to_json(),
            "years": [
                {
                    "year": year.year,
                    "covered": round(year.valid, 4),
                    "water": round(year.water, 4),
                    "complete": year.complete,
                    "too_few": round(year.too_few, 4),
                    "never_seen": round(year.never_seen, 4),
                    "published": year.published,
                    "missing_tiles": list(year.missing),
                    "tiles": {tile.name: tile.state for tile in year.tiles},
                    "mb_to_fetch": round(year.fetch_bytes / 1e6, 2),
                    "mb_on_disk": round(year.disk_bytes / 1e6, 2),
                    "minutes": None if year.seconds is None else round(year.seconds / 60, 3),
                    "cached": year.cached,
                }
                for year in self.years
            ],
        }


def survey(
    region: Region,
    datasets: Sequence[Dataset],
    *,
    years: Iterable[int] | None = None,
    dim: int | None = None,
    attempts: int = 2,
    timeout_s: float = 30.0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> list[Coverage]:
    """The coverage of a region by several published datasets; one that cannot be reached says so instead of failing all.

    Raises:
        InputError: the region is no use for UTM zones.
        Cancelled: ``cancelled`` returned true.
    """
    found = []
    for number, dataset in enumerate(datasets):

        def report(done: int, total: int, message: str, number: int = number) -> None:
            if progress is not None:
                progress(number * total + done, len(datasets) * total, message)

        try:
            source = with_retries(
                lambda: open_store(dataset.location, timeout_s=timeout_s),  # noqa: B023
                dataset.location,
                attempts,
                cancelled,
            )
            found.append(
                coverage(
                    region,
                    source,
                    years=years,
                    dim=dim,
                    attempts=attempts,
                    progress=report,
                    cancelled=cancelled,
                    dataset=dataset,
                )
            )
        except AcquisitionError as error:
            found.append(
                Coverage(dataset.name, dataset.location, dataset.default, dataset.description, problem=str(error))
            )
    return found


def coverage(
    region: Region,
    source: Source,
    *,
    years: Iterable[int] | None = None,
    dim: int | None = None,
    attempts: int = ATTEMPTS,
    dataset: Dataset | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Coverage:
    """The coverage of a region by one open store.

    Args:
        region: where.
        source: an open store.
        years: those of interest; None for all that the store has. Years that it has not come out as missing.
        dim: leading dimensions; None for all.
        attempts: tries for each piece.
        dataset: for the name and the description.
        progress: squares looked at, of how many.
        cancelled: asked often.

    Raises:
        InputError: the region is no use for UTM zones.
        AcquisitionError: the store cannot be read.
        Cancelled: ``cancelled`` returned true.
    """
    held = with_retries(lambda: source.years, source.location, attempts, cancelled)
    wanted = sorted(set(held if years is None else years))
    depth = dim or source.dim
    working_grid = with_retries(lambda: source.working_grid(region), source.location, attempts, cancelled)
    height, width = working_grid.grid.shape
    exact = height * width <= EXACT_PIXELS
    squares = _Squares(region, working_grid, exact)
    tally = {year: _Tally() for year in wanted}
    jobs = [(year, window) for year in wanted if year in held for window in squares.windows]

    def look(job: tuple[int, Window]) -> tuple[int, Window, NDArray[np.uint8]]:
        year, window = job
        reasons = with_retries(
            lambda: source.read(working_grid, window, year, 0).reasons, source.location, attempts, cancelled
        )
        return year, window, reasons

    def count(answer: tuple[int, Window, NDArray[np.uint8]]) -> None:
        year, window, reasons = answer
        tally[year].add(squares.tiles(window), reasons[squares.inside(window)])

    in_threads(look, jobs, READERS, count, f"{source.name}: coverage", progress, cancelled)
    for year in wanted:
        if year not in held:
            for window in squares.windows:
                keys = squares.tiles(window)
                tally[year].add(keys, np.full(len(keys), NoData.MISSING_TILE, np.uint8))
    speed = cache.speed(source.location) or _probe(source, working_grid, depth, [y for y in wanted if y in held])
    block = np.prod(source.block_shape(working_grid, depth), dtype=np.int64)
    covers = []
    for year in wanted:
        entry = cache.find(source.location, region, year, dim)
        covers.append(tally[year].cover(year, working_grid, depth, entry is not None and entry.complete, speed))
    return Coverage(
        dataset.name if dataset else source.name,
        source.location,
        dataset.default if dataset else False,
        dataset.description if dataset else "",
        tuple(covers),
        depth,
        tuple(sorted(getattr(source, "depths", {source.dim: ""}))),
        working_grid.grid.shape,
        exact,
        # A block as it comes, decoded, turned round, and its share of the map's dirty pages.
        int(4 * WORKERS * block * (depth + 4)),
        speed,
        depth=listed_depth(region, source, wanted, working_grid, dataset, attempts, cancelled),
    )


def listed_depth(
    region: Region,
    source: Source,
    years: Iterable[int],
    working_grid: WorkingGrid,
    dataset: Dataset | None = None,
    attempts: int = ATTEMPTS,
    cancelled: Cancel | None = None,
) -> RegionDepth | None:
    """What the publisher's list of tiles says of a region in an open store; None where there is none or it does not answer.

    Raises:
        Cancelled: ``cancelled`` returned true.
    """
    url = (dataset.registry if dataset is not None else "") or beside(source.location)
    if not url or not isinstance(source, Store):
        return None
    try:
        complete = with_retries(lambda: source.complete_years(working_grid.zones), source.location, attempts, cancelled)
        rows = TileList(url).rows(region, years, attempts=1, cancelled=cancelled)
    except AcquisitionError as error:
        logger.info("list of tiles at %s: %s", url, error)
        return None
    return region_depth(region, rows, complete, years)


def request_text(region: Region, covers: Coverage | str, years: Iterable[int] = ()) -> str:
    """A ready-made request for what is missing: dataset, years, tile ids, area and the polygon as GeoJSON.

    Args:
        region: where.
        covers: what is known to be missing; or the name of a dataset when nothing is known.
        years: only these; by default all that lack something.

    Returns:
        The text; empty where nothing is missing.
    """
    import shapely

    from tessera_core.sources.remote.working_grid import tiles_in

    chosen = set(years)
    if isinstance(covers, Coverage):
        lacking = {y.year: y.missing for y in covers.years if y.missing and (not chosen or y.year in chosen)}
        name = covers.dataset
    else:
        names = tuple(tile_name(*centre) for centre in tiles_in(region))
        lacking, name = dict.fromkeys(sorted(chosen), names), covers
    if not lacking:
        return ""
    west, south, east, north = region.bbox
    lines = [
        f"Request for TESSERA embeddings: {region.name}",
        "",
        f"Dataset: {name}",
        f"Years: {', '.join(map(str, lacking))}",
        f"Bounding box (west, south, east, north): {west:.5f}, {south:.5f}, {east:.5f}, {north:.5f}",
        "",
    ]
    for year, tiles in lacking.items():
        lines += [f"Missing tiles of {year} ({len(tiles)}):", "  " + ", ".join(tiles)]
    shape = json.loads(shapely.to_geojson(shapely.set_precision(region.geometry, 1e-6)))
    feature = {"type": "Feature", "properties": {"name": region.name, "years": list(lacking)}, "geometry": shape}
    lines += ["", "Area of interest (GeoJSON, WGS 84):", json.dumps(feature)]
    return "\n".join(lines) + "\n"


# ------------------------------------------------------------------ where to look


@dataclass
class _Squares:
    """The windows to look at, and to which tile each of their pixels belongs."""

    region: Region
    working_grid: WorkingGrid
    exact: bool
    windows: list[Window] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._inside: dict[tuple[int, int], NDArray[np.bool_]] = {}
        self._tiles: dict[tuple[int, int], NDArray[np.int64]] = {}
        height, width = self.working_grid.grid.shape
        if self.exact:
            candidates = self.working_grid.blocks(1024, 1024)
        else:
            # A tile is about 0.1 degrees: this many squares along each of its sides.
            step = max(
                SAMPLE, int(0.1 * 111_320 / self.working_grid.pixel_grid.pixel / SAMPLES_PER_TILE / SAMPLE) * SAMPLE
            )
            candidates = [
                (slice(r, min(r + SAMPLE, height)), slice(c, min(c + SAMPLE, width)))
                for r, c in itertools.product(range(0, height, step), range(0, width, step))
            ]
        self.windows = [window for window in candidates if self._look(window)]

    def _look(self, window: Window) -> bool:
        rows, cols = window
        grid = self.working_grid.grid.window(rows.start, cols.start, rows.stop - rows.start, cols.stop - cols.start)
        inside = self.region.mask(grid)
        if not inside.any():
            return False
        lon, lat = self.working_grid.lonlat(window)
        tile_lon, tile_lat = tile_centres(lon[inside], lat[inside])
        self._inside[rows.start, cols.start] = inside
        self._tiles[rows.start, cols.start] = tile_lon * 100_000 + tile_lat
        return True

    def inside(self, window: Window) -> NDArray[np.bool_]:
        """bool (h, w): which pixels count."""
        return self._inside[window[0].start, window[1].start]

    def tiles(self, window: Window) -> NDArray[np.int64]:
        """Tile key of each pixel that counts."""
        return self._tiles[window[0].start, window[1].start]


class _Tally:
    """Pixels by tile and reason."""

    def __init__(self) -> None:
        self.counts: dict[int, NDArray[np.int64]] = {}

    def add(self, keys: NDArray[np.int64], reasons: NDArray[np.uint8]) -> None:
        unique, index = np.unique(keys, return_inverse=True)
        table = np.bincount(index * len(NoData) + reasons, minlength=len(unique) * len(NoData))
        for key, row in zip(unique, table.reshape(len(unique), -1), strict=True):
            self.counts[int(key)] = self.counts.get(int(key), 0) + row

    def cover(self, year: int, working_grid: WorkingGrid, dim: int, cached: bool, speed: float | None) -> YearCover:
        tiles = []
        total = np.zeros(len(NoData), np.int64)
        for key, row in sorted(self.counts.items()):
            total += row
            # Southern latitudes are negative, so the key's parts are not plain quotient and rest.
            tile_lon, tile_lat = (key + 50_000) // 100_000, (key + 50_000) % 100_000 - 50_000
            count = int(row.sum())
            # Where the publisher has no tile of land there is nothing to miss, as on water.
            valid, water = row[NoData.VALID] / count, (row[NoData.WATER] + row[NoData.NOT_LAND]) / count
            refused = (row[NoData.TOO_FEW] + row[NoData.NO_OBSERVATIONS]) / count
            if valid + water >= 1 - TOLERANCE:
                state: State = "covered" if valid > 0 else "water"
            else:
                state = "missing" if valid == 0 else "partial"
            name = tile_name(tile_lon / 100, tile_lat / 100)
            tiles.append(
                TileCover(
                    name,
                    tile_lon / 100,
                    tile_lat / 100,
                    state,
                    float(valid),
                    float(water),
                    valid + water + refused >= 1 - TOLERANCE and refused > 0,
                )
            )
        count = max(int(total.sum()), 1)
        valid = float(total[NoData.VALID] / count)
        height, width = working_grid.grid.shape
        wanted = height * width if working_grid.inside is None else int(working_grid.inside.sum())
        to_fetch = 0 if cached else int(valid * wanted * (dim + 4))
        return YearCover(
            year,
            tuple(tiles),
            valid,
            float((total[NoData.WATER] + total[NoData.NOT_LAND]) / count),
            to_fetch,
            height * width * (dim + 5),
            0.0 if cached else to_fetch / speed if speed else None,
            cached,
            float(total[NoData.TOO_FEW] / count),
            float(total[NoData.NO_OBSERVATIONS] / count),
            not total[NoData.YEAR_NOT_PUBLISHED] or total[NoData.YEAR_NOT_PUBLISHED] < total.sum(),
        )


def _probe(source: Source, working_grid: WorkingGrid, dim: int, years: Sequence[int]) -> float | None:
    """Bytes per second of one block of the middle of the working grid, as many at a time as a fetch reads."""
    if not years:
        return None
    height, width = working_grid.grid.shape
    size = 128
    corners = [(height // 2 + dr, width // 2 + dc) for dr in (-size, 0) for dc in (-size, 0)]
    windows = [
        (slice(max(r, 0), min(max(r, 0) + size, height)), slice(max(c, 0), min(max(c, 0) + size, width)))
        for r, c in corners
    ]
    before, started = source.received, time.monotonic()
    try:
        with ThreadPoolExecutor(WORKERS) as pool:
            blocks = list(pool.map(lambda window: source.read(working_grid, window, years[-1], dim), windows))
    except PieceError:
        return None
    seconds = time.monotonic() - started
    read = (source.received - before) or sum(block.codes.nbytes + block.scales.nbytes for block in blocks)
    return read / seconds if read and 0 < seconds < PROBE_S else None
