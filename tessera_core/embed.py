"""From a folder of d-pixel tiles to a project: what is there, what it will cost, and the run itself.

Results lie in a folder named after what they are made of, so the same run goes on where an earlier one stopped. Knows tiles, the
engine and projects; refuses to know how they are shown.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tessera_core.dpixels.tile import DPixelTile, find_tiles
from tessera_core.jobs import Progress
from tessera_core.places import data_home
from tessera_core.project import Project, safe_name

if TYPE_CHECKING:
    from tessera_core.generate.calibration import Estimate
    from tessera_core.models.checkpoint import LoadedEncoder

# Tiles looked at to learn how often a pixel was seen; the others of a region are alike.
_LOOKED_AT = 3


@dataclass(frozen=True)
class TileSet:
    """The d-pixel tiles of a folder.

    Attributes:
        name: of the folder.
        folders: of the tiles, sorted by name.
        tiles: opened, memory-mapped, in the same order.
    """

    name: str
    folders: tuple[Path, ...]
    tiles: tuple[DPixelTile, ...]

    @property
    def pixels(self) -> int:
        """Pixels in all."""
        return sum(tile.shape[0] * tile.shape[1] for tile in self.tiles)

    @property
    def years(self) -> list[int | None]:
        """The years observed, ascending; None for tiles that do not say."""
        return sorted({tile.year for tile in self.tiles}, key=lambda year: year or 0)


@dataclass(frozen=True)
class Plan:
    """A run before it starts.

    Attributes:
        loaded: the encoder.
        estimate: what the run will cost.
        notes: sentences for people about the weights.
    """

    loaded: LoadedEncoder
    estimate: Estimate
    notes: tuple[str, ...]


def open_tiles(path: Path) -> TileSet:
    """The tiles at or below a path.

    Raises:
        TileError: there is none, or one is incomplete or inconsistent.
    """
    folders = tuple(find_tiles(path))
    return TileSet(path.name or "tiles", folders, tuple(DPixelTile.open(folder) for folder in folders))


def plan(
    tiles: TileSet, weights: str, dim: int | None, device: str, progress: Progress, cancelled: Callable[[], bool]
) -> Plan:
    """Load the weights (fetched first where needed) and measure for a second or two how long the run will take.

    Raises:
        CheckpointError: the weights are not usable, or cannot be fetched.
        InputError: the model cannot run on the device.
        TileError: there is not one valid observation in the tiles.
    """
    from tessera_core.generate.calibration import estimate
    from tessera_core.models.checkpoint import load_checkpoint

    progress(0, 3, "Loading the model")
    loaded = load_checkpoint(weights, progress=progress)
    progress(1, 3, "Counting observations")
    counts = [tile.require_observations() for tile in tiles.tiles[:_LOOKED_AT]]
    seen = float(np.mean([count.s2.mean() for count in counts])), float(np.mean([count.s1.mean() for count in counts]))
    progress(2, 3, "Measuring this computer")
    width = max(tile.shape[1] for tile in tiles.tiles)
    cost = estimate((max(1, tiles.pixels // width), width), seen, loaded, device=device, dim=dim)
    return Plan(loaded, cost, tuple(loaded.notes))


def make_project(
    tiles: TileSet,
    loaded: LoadedEncoder,
    dim: int | None,
    device: str,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> Project:
    """Embed the tiles, a raster per year, and make a project of them.

    Raises:
        TesseraError: what :func:`tessera_core.generate.tiles.generate_tiles` raises; finished blocks are kept.
    """
    from tessera_core.generate.tiles import generate_tiles
    from tessera_core.sources.local import open_embeddings

    by_year: dict[int | None, list[Path]] = defaultdict(list)
    pixels: dict[int | None, int] = defaultdict(int)
    for folder, tile in zip(tiles.folders, tiles.tiles, strict=True):
        by_year[tile.year].append(folder)
        pixels[tile.year] += tile.shape[0] * tile.shape[1]
    out = result_folder(tiles, loaded, dim)
    before, rasters = 0, []
    for year in tiles.years:
        place = out / (str(year) if year is not None else "all")

        def shifted(done: int, total: int, message: str, before: int = before, year: int | None = year) -> None:
            label = f"Embedding {year}" if year is not None else "Embedding"
            progress(before + done, tiles.pixels, f"{label}, {message}" if message else label)

        generate_tiles(by_year[year], loaded, place, dim=dim, device=device, progress=shifted, cancelled=cancelled)
        rasters.append((year, place, open_embeddings(place, year=year)))
        before += pixels[year]
    project = Project.new(tiles.name)
    for year, place, raster in rasters:
        own = by_year[year][0] if len(by_year[year]) == 1 else None
        project.attach_embeddings(year, place, raster.provenance, raster.grid, dpixels=own)
    return project


def result_folder(tiles: TileSet, loaded: LoadedEncoder, dim: int | None) -> Path:
    """Where the results of these tiles with these weights lie."""
    parts = [*(str(folder.resolve()) for folder in tiles.folders), loaded.sha256, str(dim)]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:10]
    return data_home() / "embeddings" / f"{safe_name(tiles.name)}-{loaded.name}-{digest}"
