"""Seasonal statistics of d-pixel tiles as a raster like embeddings, and joined with embeddings of the same place.

Each number is standardised over the region and cut at five deviations, so that int8 with one scale a pixel holds it; means and
deviations stand in the provenance, and a fingerprint of them in the name of the dataset: numbers of two regions mean different
things and are never mixed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import RASTER, atomic_path, make_place, require_replaceable
from tessera_core._utils.npy import new_npy
from tessera_core.analysis.stacking import Stacked, stack, write_header
from tessera_core.dpixels.seasons import BESIDE_KNOWN, seasonal_statistics, standardised
from tessera_core.dpixels.tile import DPixelTile
from tessera_core.errors import Cancelled, RasterError, TileError
from tessera_core.grid import Grid
from tessera_core.models.zoo import TAUGHT_SEASONS
from tessera_core.provenance import SOFTWARE, Provenance
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Cancel, Floats, Progress

SAMPLE = 20_000
BLOCK_PIXELS = 8192
MODEL = "seasons"
KNOWN = (
    "These embeddings were taught the seasons of their time series, so the seasons are joined with little weight; a map is then "
    "seldom better than without them (docs/heads.md)."
)


def join_seasons(
    raster: EmbeddingRaster,
    tiles: Sequence[DPixelTile],
    folder: str | Path,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Stacked:
    """Write embeddings and the seasonal statistics of their time series as one raster, both at equal variance.

    Beside embeddings that know the seasons already (:func:`knows_seasons`) they get the spread ``BESIDE_KNOWN`` instead, and heads
    learn no weights of parts.

    Args:
        raster: the embeddings; their grid is kept.
        tiles: time series of the same place and year.
        folder: new folder for the joined raster.
        seed: of the samples that means and spreads are measured on.
        progress, cancelled: see docs/architecture.md; units are rows, of the statistics first.

    Raises:
        RasterError: tiles and embeddings share no ground with data, or are of different years.
        TileError: the tiles do not go together.
        ExportError: the folder cannot be written.
        Cancelled: ``cancelled`` said so.
    """
    require_replaceable(folder, RASTER)
    folder, year = Path(folder), raster.provenance.year
    years = {tile.year for tile in tiles if tile.year is not None}
    if year is not None and years - {year}:
        raise RasterError(
            f"The embeddings are of {year}, the time series of {', '.join(map(str, sorted(years)))}; join those of one year."
        )
    rows = raster.shape[0]

    def part(before: int) -> Progress | None:
        return None if progress is None else lambda done, total, said: progress(before + done, 2 * rows, said)

    make_place(folder.parent)
    with TemporaryDirectory(prefix=".seasons-", dir=folder.parent) as work:
        seasons = season_raster(
            tiles, Path(work) / "seasons", raster.grid, seed=seed, progress=part(0), cancelled=cancelled
        )
        spread = 1.0
        if knows_seasons(raster.provenance):
            spread = BESIDE_KNOWN
            told = {**seasons.provenance.details, "warnings": [KNOWN], "spread_fixed": spread}
            seasons = replace(seasons, provenance=replace(seasons.provenance, details=told))
        return stack(raster, seasons, folder, spread=spread, seed=seed, progress=part(rows), cancelled=cancelled)


def has_seasons(provenance: Provenance) -> bool:
    """Whether embeddings are such statistics, or have them as a part.

    Example:
        >>> has_seasons(Provenance("studio", dim=64))
        False
    """
    if provenance.model == MODEL:
        return True
    parts = provenance.details.get("parts") if provenance.model == "stack" else None
    return any(has_seasons(Provenance.from_json(part)) for part in parts or ())


def knows_seasons(provenance: Provenance) -> bool:
    """Whether the encoder of embeddings was taught such statistics, so that joining them adds nothing.

    Example:
        >>> knows_seasons(Provenance("studio", "nano", "e7879f75"))
        False
    """
    return provenance.model == "studio" and provenance.variant in TAUGHT_SEASONS


def season_raster(
    tiles: Sequence[DPixelTile],
    folder: str | Path,
    grid: Grid | None = None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> EmbeddingRaster:
    """Write the seasonal statistics of tiles as a raster.

    Args:
        tiles: of one region and year.
        folder: new folder for the raster.
        grid: to write them on, each pixel's the nearest of the tiles; None for that of the one tile.
        seed: of the sample that means and deviations are measured on.
        progress, cancelled: see docs/architecture.md; units are rows of ``grid``.

    Raises:
        TileError: there is no tile, or they have different sensors, or no pixel was seen by all of them.
        RasterError: the tiles do not lie on the grid.
        ExportError: the folder cannot be written.
        Cancelled: ``cancelled`` said so.
    """
    if not tiles:
        raise TileError("There is no time series to take seasons from; give a d-pixel tile.")
    if grid is None:
        if len(tiles) > 1:
            raise TileError("Seasons of several tiles need a grid to lie on; give the embeddings' grid.")
        grid = tiles[0].grid
    mean, spread = _measured(tiles, seed)
    height, width = grid.shape
    places = [_places(tile, grid) for tile in tiles]
    told = hashlib.sha256(np.concatenate([mean, spread]).astype(np.float32).tobytes()).hexdigest()[:8]
    years = {tile.year for tile in tiles}
    provenance = Provenance(
        model=MODEL,
        variant=told,
        dim=len(mean),
        year=years.pop() if len(years) == 1 else None,
        source="generated",
        software=SOFTWARE,
        details={"mean": [round(float(v), 4) for v in mean], "spread": [round(float(v), 4) for v in spread]},
    )
    step = max(1, BLOCK_PIXELS // width)
    any_data = False
    with atomic_path(Path(folder), directory=True, replaces=RASTER) as part:
        codes = new_npy(part / "codes.npy", np.int8, (height, width, len(mean)))
        scales = new_npy(part / "scales.npy", np.float32, (height, width))
        scales[:] = np.nan
        for start in range(0, height, step):
            if cancelled is not None and cancelled():
                raise Cancelled
            stop = min(start + step, height)
            for tile, (rows, cols) in zip(tiles, places, strict=True):
                here = np.nonzero(rows[start:stop] >= 0)
                if not len(here[0]):
                    continue
                r, c = rows[start:stop][here], cols[start:stop][here]
                values = standardised(seasonal_statistics(tile, r, c), mean, spread)
                inside = np.isfinite(values).all(axis=1) & _inside(tile, r, c)
                values = np.where(inside[:, None], values, 0)
                top = np.abs(values).max(axis=1)
                known = inside & (top > 0)
                scale = np.where(known, top / 127, np.nan).astype(np.float32)
                codes[start + here[0][known], here[1][known]] = np.rint(values[known] / scale[known, None])
                scales[start + here[0][known], here[1][known]] = scale[known]
                any_data |= bool(known.any())
            if progress is not None:
                progress(stop, height, "seasonal statistics")
        if not any_data:
            raise RasterError("Not one pixel of the time series lies where the embeddings do; check their places.")
        codes.flush()
        scales.flush()
        del codes, scales
        write_header(part, grid, provenance)
    return EmbeddingRaster.open(folder)


def _inside(tile: DPixelTile, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> NDArray[np.bool_]:
    return np.ones(len(rows), bool) if tile.roi is None else np.asarray(tile.roi[rows, cols])


def _measured(tiles: Sequence[DPixelTile], seed: int) -> tuple[Floats, Floats]:
    """Mean and deviation (F,) of each number over a sample of the tiles' pixels."""
    found = []
    for number, tile in enumerate(tiles):
        height, width = tile.shape
        rng = np.random.default_rng((seed, number))
        at = np.sort(rng.permutation(height * width)[: max(1, SAMPLE // len(tiles))])
        rows, cols = np.divmod(at, width)
        keep = _inside(tile, rows, cols)
        found.append(seasonal_statistics(tile, rows[keep], cols[keep]))
    if len({one.shape[1] for one in found}) > 1:
        raise TileError(
            "The tiles were not seen by the same sensors (some have an orbit of radar that others lack), so their statistics "
            "cannot stand in one raster. Join them one by one."
        )
    values = np.concatenate(found)
    values = values[np.isfinite(values).all(axis=1)]
    if len(values) < 2:
        raise TileError("No pixel of the time series was seen by every sensor; there is nothing to take statistics of.")
    return values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64)


def _places(tile: DPixelTile, grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column (H, W) in the tile of each pixel of the grid, -1 where the tile has none."""
    height, width = grid.shape
    rows, cols = np.mgrid[:height, :width]
    if tile.grid != grid:
        if tile.grid.crs is None or grid.crs is None:
            raise RasterError(
                f"The time series {tile.name} or the embeddings do not say where on Earth they are, and they have different sizes."
            )
        if tile.grid.crs == grid.crs:
            y, x = tile.grid.xy_to_pixel(*grid.pixel_to_xy(rows + 0.5, cols + 0.5))
        else:
            y, x = tile.grid.lonlat_to_pixel(*grid.pixel_to_lonlat(rows + 0.5, cols + 0.5))
        # A place that the other coordinates cannot hold is not finite.
        rows, cols = (np.nan_to_num(np.floor(one), nan=-1, posinf=-1, neginf=-1).astype(np.int64) for one in (y, x))
    outside = (rows < 0) | (cols < 0) | (rows >= tile.shape[0]) | (cols >= tile.shape[1])
    return np.where(outside, -1, rows), np.where(outside, -1, cols)
