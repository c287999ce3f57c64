"""Find what is wrong with published tiles: absurd scales, saturated, constant or duplicated tiles, and seams between tiles.

A seam is a step of the embeddings along the edge of two 0.1 degree tiles. Its size is the length of the median difference between
the two sides, taken along the edge, so that what a landscape does here and there does not count; it is told in units of the same
number along parallel lines inside the tiles, where no seam can be. An edge counts as a seam when it exceeds what all but a
stated share of those lines reach, and twice the usual. Nothing here changes a raster;
``mend`` writes new ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.percents import percent
from tessera_core.errors import Cancelled, RasterError
from tessera_core.grid import Grid
from tessera_core.raster import EmbeddingRaster, dequantise, valid_scales
from tessera_core.sources.remote.working_grid import TILE_DEGREES, tile_name
from tessera_core.types import Cancel, Progress

FALSE_ALARMS = 0.01
# Scales this many times the median of all tiles are no embeddings' scales.
ABSURD = 20.0
ABSURD_SHARE = 0.01
# A vector has at least one saturated code of 128 by the quantiser's own rule.
SATURATED = 0.08
SKETCH = 128
DUPLICATE = 0.5
MIN_PIXELS = 64
POSITIONS = 300
# Pixels beside an edge may belong to either tile; the two beyond are averaged.
NEAR, FAR = 1, 3
OFFSETS = tuple(s for k in range(8, 49, 4) for s in (-k, k))
MIN_STEP = 2.0
MIN_POSITIONS = 40

Kind = Literal["absurd scales", "saturated", "constant", "duplicate"]
Key = tuple[int, int]


@dataclass(frozen=True)
class TileReport:
    """One tile.

    Attributes:
        name: ``grid_<lon>_<lat>``.
        lon, lat: centre.
        pixels: with data.
        scale: median.
        problems: kinds, worst first; empty for a good tile.
        sentences: the same for people.
    """

    name: str
    lon: float
    lat: float
    pixels: int
    scale: float
    problems: tuple[Kind, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class EdgeReport:
    """The edge of two tiles.

    Attributes:
        first, second: names; the second lies east or south.
        line: (lon, lat) of its two ends.
        step: length of the median difference across it, relative to that along lines inside the tiles (1 = like anywhere).
        seam: whether it is one at the stated rate of false alarms.
        jump: float32 (D,), second minus first.
    """

    first: str
    second: str
    line: tuple[tuple[float, float], tuple[float, float]]
    step: float
    seam: bool
    jump: NDArray[np.float32]


@dataclass(frozen=True)
class QualityReport:
    """What was found.

    Attributes:
        tiles, edges: all that were looked at.
        false_alarms: share of lines without a seam that the threshold would call one.
        threshold: the step from which an edge is a seam.
        lines: how many lines inside tiles it was learnt from.
    """

    tiles: tuple[TileReport, ...]
    edges: tuple[EdgeReport, ...]
    false_alarms: float
    threshold: float
    lines: int

    @property
    def bad_tiles(self) -> tuple[TileReport, ...]:
        """Tiles with a problem."""
        return tuple(tile for tile in self.tiles if tile.problems)

    @property
    def seams(self) -> tuple[EdgeReport, ...]:
        """Edges that are seams, worst first."""
        return tuple(sorted((edge for edge in self.edges if edge.seam), key=lambda edge: -edge.step))

    def to_json(self) -> dict[str, Any]:
        """JSON object without the jumps."""
        return {
            "tiles": len(self.tiles),
            "edges": len(self.edges),
            "false_alarms": self.false_alarms,
            "threshold": round(self.threshold, 2),
            "lines_inside_tiles": self.lines,
            "bad_tiles": {tile.name: list(tile.sentences) for tile in self.bad_tiles},
            "seams": [
                {"between": [edge.first, edge.second], "step": round(edge.step, 2), "line": edge.line}
                for edge in self.seams
            ],
        }


def check_quality(
    raster: EmbeddingRaster,
    *,
    false_alarms: float = FALSE_ALARMS,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> QualityReport:
    """Look at every tile and every edge of a raster, block by block.

    Raises:
        RasterError: the raster has no place on Earth, so its tiles are not known.
        Cancelled: ``cancelled`` returned true.
    """
    if not raster.grid.georeferenced:
        raise RasterError("This raster has no georeference, so it is not known where its tiles meet.")
    lonlat = LonLat(raster.grid)
    stats: dict[Key, _TileStats] = {}
    slices = list(raster.row_slices(64 << 20))
    for done, rows in enumerate(slices):
        if cancelled is not None and cancelled():
            raise Cancelled()
        if progress is not None:
            progress(done, len(slices) + 1, "tiles")
        _collect(raster, rows, lonlat, stats)
    tiles = _tile_reports(stats)
    if progress is not None:
        progress(len(slices), len(slices) + 1, "edges")
    bad = {tile.name for tile in tiles if tile.problems}
    edges, threshold, lines = _edge_reports(raster, lonlat, false_alarms, bad, cancelled)
    if progress is not None:
        progress(len(slices) + 1, len(slices) + 1, "edges")
    return QualityReport(tiles, edges, false_alarms, threshold, lines)


# ------------------------------------------------------------------ where tiles lie


class LonLat:
    """Degrees of pixel centres, interpolated between knots; good to a few hundredths of a pixel."""

    STEP = 64

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.rows = np.unique(
            np.append(np.arange(0, grid.height, self.STEP), [grid.height - 1, max(grid.height - 2, 0)])
        )
        self.cols = np.unique(np.append(np.arange(0, grid.width, self.STEP), [grid.width - 1, max(grid.width - 2, 0)]))
        r, c = np.meshgrid(self.rows + 0.5, self.cols + 0.5, indexing="ij")
        self.lon, self.lat = grid.pixel_to_lonlat(r, c)

    def block(self, rows: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Longitudes and latitudes, float64 (h, W) each, of whole rows."""
        down = _hats(np.arange(rows.start, rows.stop), self.rows)
        across = _hats(np.arange(self.grid.width), self.cols).T
        return down @ self.lon @ across, down @ self.lat @ across


def _hats(at: NDArray[np.int64], knots: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weights (n, k) of linear interpolation between knots."""
    if len(knots) == 1:
        return np.ones((len(at), 1))
    right = np.clip(np.searchsorted(knots, at, "right"), 1, len(knots) - 1)
    share = (at - knots[right - 1]) / (knots[right] - knots[right - 1])
    weights = np.zeros((len(at), len(knots)))
    weights[np.arange(len(at)), right - 1] = 1 - share
    weights[np.arange(len(at)), right] += share
    return weights


def cells(degrees: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index of the tile, east or north of 0, that each longitude or latitude lies in."""
    return np.floor(degrees / TILE_DEGREES + 1e-9).astype(np.int64)


def cell_name(cell: Key) -> str:
    """Published name of a tile by its indices (east, north)."""
    return tile_name(round(cell[0] * TILE_DEGREES + 0.05, 2), round(cell[1] * TILE_DEGREES + 0.05, 2))


# ------------------------------------------------------------------ tiles


class _TileStats:
    def __init__(self, dim: int) -> None:
        self.pixels = 0
        self.scales: list[NDArray[np.float32]] = []
        self.saturated = 0
        self.low = np.full(dim, 127, np.int8)
        self.high = np.full(dim, -128, np.int8)
        self.sketch = np.empty(0, np.uint64)


def _collect(raster: EmbeddingRaster, rows: slice, lonlat: LonLat, stats: dict[Key, _TileStats]) -> None:
    codes, scales = raster.codes[rows], raster.scales[rows]
    lon, lat = lonlat.block(rows)
    x, y = cells(lon), cells(lat)
    valid = valid_scales(scales)
    hashes = _hashes(codes)
    for cell_x in range(int(x.min()), int(x.max()) + 1):
        for cell_y in range(int(y.min()), int(y.max()) + 1):
            mine = valid & (x == cell_x) & (y == cell_y)
            count = int(mine.sum())
            if not count:
                continue
            tile = stats.setdefault((cell_x, cell_y), _TileStats(raster.dim))
            vectors = codes[mine]
            tile.pixels += count
            tile.scales.append(np.array(scales[mine][:: max(1, count // 2000)]))
            tile.saturated += int(np.count_nonzero((vectors >= 127) | (vectors <= -127)))
            tile.low, tile.high = np.minimum(tile.low, vectors.min(0)), np.maximum(tile.high, vectors.max(0))
            # The smallest hashes of a set stand for it wherever its members lie.
            tile.sketch = np.unique(np.concatenate([tile.sketch, hashes[mine]]))[:SKETCH]


def _hashes(codes: NDArray[np.int8]) -> NDArray[np.uint64]:
    """uint64 (h, W): a hash of each pixel's vector."""
    dim = codes.shape[-1]
    whole = np.ascontiguousarray(codes[..., : dim - dim % 8]).view(np.uint64)
    factors = np.random.default_rng(0).integers(1, 1 << 63, whole.shape[-1], np.uint64) | np.uint64(1)
    value = np.zeros(codes.shape[:-1], np.uint64)
    with np.errstate(over="ignore"):
        for n, factor in enumerate(factors):
            value = (value ^ whole[..., n]) * factor
            value ^= value >> np.uint64(29)
    return value


def _tile_reports(stats: dict[Key, _TileStats]) -> tuple[TileReport, ...]:
    known = {cell: tile for cell, tile in stats.items() if tile.pixels >= MIN_PIXELS}
    if not known:
        return ()
    medians = {cell: float(np.median(np.concatenate(tile.scales))) for cell, tile in known.items()}
    usual = float(np.median(list(medians.values())))
    twins = _twins(known)
    reports = []
    for cell, tile in sorted(known.items()):
        scales = np.concatenate(tile.scales)
        absurd = float(np.mean((scales > ABSURD * usual) | (scales < usual / ABSURD)))
        saturated = tile.saturated / (tile.pixels * len(tile.low))
        problems: list[tuple[Kind, str]] = []
        if absurd > ABSURD_SHARE:
            problems.append(
                ("absurd scales", f"{percent(absurd)} % of its scales are {ABSURD:g} times off the usual {usual:.3g}")
            )
        if (tile.low == tile.high).all():
            problems.append(("constant", "all its pixels have one and the same embedding"))
        elif cell in twins:
            problems.append(("duplicate", f"its embeddings are those of {cell_name(twins[cell])}"))
        if saturated > SATURATED:
            problems.append(("saturated", f"{percent(saturated)} % of its codes are at the end of int8"))
        lon, lat = (round(c * TILE_DEGREES + 0.05, 2) for c in cell)
        reports.append(
            TileReport(
                cell_name(cell),
                lon,
                lat,
                tile.pixels,
                medians[cell],
                tuple(kind for kind, _ in problems),
                tuple(f"{cell_name(cell)}: {text}." for _, text in problems),
            )
        )
    return tuple(reports)


def _twins(stats: dict[Key, _TileStats]) -> dict[Key, Key]:
    """For tiles with the embeddings of another, that other."""
    found: dict[Key, Key] = {}
    for (a, first), (b, second) in itertools.combinations(sorted(stats.items()), 2):
        if min(len(first.sketch), len(second.sketch)) < SKETCH // 4:
            continue
        union = np.union1d(first.sketch, second.sketch)[:SKETCH]
        both = np.intersect1d(first.sketch, second.sketch)
        if np.isin(union, both).mean() > DUPLICATE:
            found.setdefault(a, b)
            found.setdefault(b, a)
    return found


# ------------------------------------------------------------------ edges


@dataclass(frozen=True)
class _Edge:
    """Pixels just east or south of an edge."""

    first: Key
    second: Key
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    down: bool


def _edges(raster: EmbeddingRaster, lonlat: LonLat) -> list[_Edge]:
    found: list[_Edge] = []
    height, width = raster.shape
    margin = FAR + 2
    for down in (False, True):
        lines, across = (width, height) if down else (height, width)
        places: dict[tuple[Key, Key], list[tuple[int, int]]] = {}
        step = max(1, lines // 4000)
        for start in range(0, height, 256) if not down else (0,):
            rows = slice(start, min(start + 256, height)) if not down else slice(0, height)
            x, y = (cells(values) for values in lonlat.block(rows))
            if down:
                x, y = x[:, ::step].T, y[:, ::step].T
            changed = (np.diff(y if down else x, axis=1) != 0) & (np.diff(x if down else y, axis=1) == 0)
            for line, place in np.argwhere(changed):
                if margin <= place + 1 < across - margin:
                    pair = (
                        (int(x[line, place]), int(y[line, place])),
                        (int(x[line, place + 1]), int(y[line, place + 1])),
                    )
                    at = int(line) * step if down else rows.start + int(line)
                    places.setdefault(pair, []).append((int(place) + 1, at) if down else (at, int(place) + 1))
        for (first, second), spots in sorted(places.items()):
            if len(spots) >= MIN_POSITIONS:
                chosen = np.array(spots)[:: max(1, len(spots) // POSITIONS)]
                found.append(_Edge(first, second, chosen[:, 0], chosen[:, 1], down))
    return found


def _jump(raster: EmbeddingRaster, edge: _Edge, offset: int) -> tuple[NDArray[np.float32], float] | None:
    """Median difference (D,) across a line at an offset from an edge, and its length; None without enough data."""
    sides = []
    good = np.ones(len(edge.rows), bool)
    for shifts in (range(-FAR, -NEAR), range(NEAR, FAR)):
        total = np.zeros((len(edge.rows), raster.dim), np.float32)
        for shift in shifts:
            rows = edge.rows + (shift + offset if edge.down else 0)
            cols = edge.cols + (0 if edge.down else shift + offset)
            inside = (rows >= 0) & (rows < raster.shape[0]) & (cols >= 0) & (cols < raster.shape[1])
            r, c = np.where(inside, rows, 0), np.where(inside, cols, 0)
            values = dequantise(raster.codes[r, c], raster.scales[r, c])
            good &= inside & np.isfinite(values[:, 0])
            total += values
        sides.append(total / len(shifts))
    if good.sum() < MIN_POSITIONS:
        return None
    difference = sides[1][good] - sides[0][good]
    # The median of each dimension: borders on the ground that happen to lie on the line do not count, a common step does.
    mean = np.median(difference, axis=0)
    return mean.astype(np.float32), float(np.linalg.norm(mean))


def _edge_reports(
    raster: EmbeddingRaster,
    lonlat: LonLat,
    false_alarms: float,
    bad: set[str],
    cancelled: Cancel | None,
) -> tuple[tuple[EdgeReport, ...], float, int]:
    measured = []
    quiet: list[float] = []
    for edge in _edges(raster, lonlat):
        if cancelled is not None and cancelled():
            raise Cancelled()
        # A damaged tile is told as such; its edges would only hide other seams.
        if {cell_name(edge.first), cell_name(edge.second)} & bad:
            continue
        across = _jump(raster, edge, 0)
        beside = [jump[1] for jump in (_jump(raster, edge, offset) for offset in OFFSETS) if jump is not None]
        if across is None or len(beside) < 8:
            continue
        centre = max(float(np.median(beside)), 1e-9)
        quiet += [value / centre for value in beside]
        measured.append((edge, across[0], across[1] / centre))
    threshold = max(MIN_STEP, float(np.quantile(quiet, 1 - false_alarms))) if quiet else MIN_STEP
    reports = []
    for edge, jump, step in measured:
        ends = [0, -1]
        lon, lat = raster.grid.pixel_to_lonlat(edge.rows[ends], edge.cols[ends])
        line = ((float(lon[0]), float(lat[0])), (float(lon[1]), float(lat[1])))
        reports.append(EdgeReport(cell_name(edge.first), cell_name(edge.second), line, step, step > threshold, jump))
    return tuple(reports), threshold, len(quiet)


def present(x: NDArray[np.int64], y: NDArray[np.int64]) -> Sequence[Key]:
    """Indices of all tiles that a block may touch."""
    return list(itertools.product(range(int(x.min()), int(x.max()) + 1), range(int(y.min()), int(y.max()) + 1)))
