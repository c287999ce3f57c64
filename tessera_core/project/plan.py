"""What a run over many tiles will do, before it does: each tile on a map with its bytes and minutes, and whether it is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core._utils.atomic import write_json
from tessera_core.dpixels.acquire import AcquireOptions, Catalogue, Window
from tessera_core.dpixels.acquire.run import planned
from tessera_core.dpixels.tile import DPixelTile
from tessera_core.grid import Grid
from tessera_core.project.acquire import disk_bytes, download_bytes
from tessera_core.provenance import SOFTWARE
from tessera_core.region import Region
from tessera_core.types import Progress

if TYPE_CHECKING:
    from tessera_core.pretrain.config import DataSettings

# Core microseconds a pixel, measured and rounded up, because files are rarely in the page cache (docs/scale.md).
MAP_US, CHANGE_US = 0.4, 1.1
# Core seconds for the labelled pixels of a tile, where they are in the page cache.
READ_S = 0.004
# Of training pixels, drawn from a simulated world, packed from a tile, cut into shards: guesses, generous ones.
WORLD_US, PACK_US, CUT_US = 60.0, 40.0, 10.0
# An assumption: bytes that come over a network in a second.
LINE_BYTES_S = 10e6


@dataclass(frozen=True)
class Planned:
    """One tile.

    Attributes:
        name: of it.
        grid: where it lies; without a place on Earth it is counted and not drawn.
        done: whether it is there already.
        read, written: bytes, estimated.
        minutes: of one core, or of the line where things are fetched; estimated.
        looked_at: pixels that are read, where those are not all of the tile.
    """

    name: str
    grid: Grid
    done: bool
    read: int
    written: int
    minutes: float
    looked_at: int | None = None

    @property
    def pixels(self) -> int:
        """How many are read."""
        return self.grid.height * self.grid.width if self.looked_at is None else self.looked_at

    @classmethod
    def computed(cls, name: str, grid: Grid, done: bool, *, read: float, written: float, us: float) -> Planned:
        """One that costs so many bytes and core microseconds a pixel."""
        pixels = grid.height * grid.width
        return cls(name, grid, done, round(pixels * read), round(pixels * written), pixels * us / 60e6)


def write_plan(path: str | Path, parts: Sequence[Planned]) -> dict[str, Any]:
    """Write tiles as GeoJSON polygons in degrees, with ``name``, ``state`` (``"done"`` or ``"left"``), bytes and minutes.

    Returns:
        The sums: ``tiles``, ``done``, and of what is left ``pixels``, ``read_bytes``, ``written_bytes``, ``minutes``.

    Raises:
        ExportError: the file cannot be written.
    """
    features = [
        {
            "type": "Feature",
            "properties": {
                "name": part.name,
                "state": "done" if part.done else "left",
                "pixels": part.pixels,
                "read_bytes": part.read,
                "written_bytes": part.written,
                "minutes": round(part.minutes, 4),
            },
            "geometry": {"type": "Polygon", "coordinates": [_outline(part.grid)]} if part.grid.crs else None,
        }
        for part in parts
    ]
    # The maker's name lets the same command write it again.
    write_json(path, {"type": "FeatureCollection", "software": SOFTWARE, "features": features})
    return summary(parts)


def summary(parts: Sequence[Planned]) -> dict[str, Any]:
    """The sums of a plan, see :func:`write_plan`."""
    left = [part for part in parts if not part.done]
    return {
        "tiles": len(parts),
        "done": len(parts) - len(left),
        "pixels": sum(part.pixels for part in left),
        "read_bytes": sum(part.read for part in left),
        "written_bytes": sum(part.written for part in left),
        "minutes": round(sum(part.minutes for part in left), 2),
    }


def _outline(grid: Grid) -> list[list[float]]:
    """Corners in degrees, counter-clockwise from the north-west, the first once more at the end."""
    height, width = grid.shape
    corners = ((0, 0), (height, 0), (height, width), (0, width), (0, 0))
    return [[round(float(value), 7) for value in grid.pixel_to_lonlat(row, col)] for row, col in corners]


def plan_generate(
    folders: Sequence[Path], weights: str, out: Path, device: str, dim: int | None, progress: Progress
) -> list[Planned]:
    """What embedding tiles takes on this computer, from a measurement of a second or two.

    Raises:
        TileError, CheckpointError, InputError: see :func:`tessera_core.project.generate.plan`.
    """
    from tessera_core.project.generate import TileSet, plan

    tiles = tuple(DPixelTile.open(folder) for folder in folders)
    rate = plan(TileSet("tiles", tuple(folders), tiles), weights, dim, device, progress, lambda: False)
    us = 1e6 / rate.estimate.pixels_per_second
    parts = []
    for tile, folder in zip(tiles, folders, strict=True):
        done = any((out / f"{tile.name}{end}").is_file() for end in (".json", ".tif"))
        size = sum(file.stat().st_size for file in folder.glob("*.npy"))
        pixels = tile.shape[0] * tile.shape[1]
        written = round(pixels * rate.estimate.output_bytes / max(sum(t.shape[0] * t.shape[1] for t in tiles), 1))
        parts.append(Planned(tile.name, tile.grid, done, size, written, pixels * us / 60e6))
    return parts


def plan_acquire(
    regions: Sequence[Region], window: Window, catalogue: Catalogue, out: Path, options: AcquireOptions
) -> list[Planned]:
    """What fetching regions takes: guesses, and minutes of a line of 10 MB/s."""
    parts = []
    for region in regions:
        for name, grid, done in planned(region, window, catalogue, out, options):
            read = download_bytes(grid, window)
            parts.append(Planned(name, grid, done, read, disk_bytes(grid, window), read / LINE_BYTES_S / 60))
    return parts


def plan_prepare(settings: DataSettings, shards: str | Path, seed: int, base: str | Path) -> list[Planned]:
    """What making training pixels ready takes: each source that is packed, and once all are, each shard that is cut of them.

    Simulated worlds have no place on Earth, and of a tile as many pixels are counted as may be taken.

    Args:
        settings: what to take.
        shards: folder that units and shards go to.
        seed: of the run.
        base: folder that relative tile paths start from.

    Raises:
        TileError, InputError: a tile is not readable.
        PretrainError: the folder holds something else, or pixels prepared with other settings.
    """
    from tessera_core.pretrain.prepare import SimulatedSource, bytes_per_pixel, shards_made, sources_of, unit_folders

    sources = sources_of(settings, seed, base)
    size = bytes_per_pixel(settings)
    made, count = shards_made(settings, shards, seed)
    whole = bool(made) and all(made)
    parts, pixels = [], 0
    for number, (source, unit) in enumerate(zip(sources, unit_folders(shards, len(sources)), strict=True)):
        if isinstance(source, SimulatedSource):
            name, taken, read, us = f"worlds {number + 1}", source.pixels, 0, WORLD_US
            grid = Grid.local((1, taken))
        else:
            tile = DPixelTile.open(source.path)
            name, grid, us = tile.name, tile.grid, PACK_US
            taken = min(grid.height * grid.width, settings.pixels_per_tile)
            read = sum(file.stat().st_size for file in source.path.glob("*.npy"))
        pixels += taken
        parts.append(Planned(name, grid, whole or unit.is_dir(), read, taken * size, taken * us / 60e6))
    if whole or not all(part.done for part in parts):
        return parts
    per_shard = -(-pixels // count)
    cut = Grid.local((1, per_shard))
    return [
        Planned(f"shard {number + 1}", cut, done, per_shard * size, per_shard * size, per_shard * CUT_US / 60e6)
        for number, done in enumerate(made or [False] * count)
    ]
