"""What a run over many tiles will do, before it does: each tile on a map with its bytes and minutes, and whether it is done."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core._utils.atomic import atomic_path
from tessera_core.dpixels.acquire import AcquireOptions, Catalogue, Window
from tessera_core.dpixels.acquire.run import planned
from tessera_core.dpixels.tile import DPixelTile
from tessera_core.grid import Grid, one_side
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


def write_plan(path: str | Path, parts: Iterable[Planned]) -> dict[str, Any]:
    """Write tiles as GeoJSON polygons in degrees, with ``name``, ``state`` (``"done"`` or ``"left"``), bytes and minutes.

    Returns:
        The sums: ``tiles``, ``done``, and of what is left ``pixels``, ``read_bytes``, ``written_bytes``, ``minutes``.

    Raises:
        ExportError: the file cannot be written.
    """
    # A continent has more tiles than one would hold at once. The maker's name lets the same command write it again.
    sums, before = _Sums(), ""
    with atomic_path(path) as made, made.open("w", encoding="utf-8") as file:
        file.write(f'{{"type": "FeatureCollection", "software": {json.dumps(SOFTWARE)}, "features": [')
        for part in parts:
            sums.add(part)
            file.write(f"{before}\n{json.dumps(_feature(part), ensure_ascii=False, allow_nan=False)}")
            before = ","
        file.write("\n]}\n")
    return sums.told()


def _feature(part: Planned) -> dict[str, Any]:
    return {
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


def summary(parts: Iterable[Planned]) -> dict[str, Any]:
    """The sums of a plan, see :func:`write_plan`."""
    sums = _Sums()
    for part in parts:
        sums.add(part)
    return sums.told()


@dataclass
class _Sums:
    """Of a plan, as it goes by."""

    tiles: int = 0
    done: int = 0
    pixels: int = 0
    read: int = 0
    written: int = 0
    minutes: float = 0.0

    def add(self, part: Planned) -> None:
        self.tiles += 1
        if part.done:
            self.done += 1
            return
        self.pixels += part.pixels
        self.read += part.read
        self.written += part.written
        self.minutes += part.minutes

    def told(self) -> dict[str, Any]:
        return {
            "tiles": self.tiles,
            "done": self.done,
            "pixels": self.pixels,
            "read_bytes": self.read,
            "written_bytes": self.written,
            "minutes": round(self.minutes, 2),
        }


def _outline(grid: Grid) -> list[list[float]]:
    """Corners in degrees, counter-clockwise from the north-west, the first once more at the end."""
    height, width = grid.shape
    rows, cols = (0, height, height, 0, 0), (0, 0, width, width, 0)
    lon, lat = grid.pixel_to_lonlat(rows, cols)
    return [[round(float(x), 7), round(float(y), 7)] for x, y in zip(one_side(lon), lat, strict=True)]


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
) -> Iterator[Planned]:
    """What fetching regions takes: guesses, and minutes of a line of 10 MB/s; one tile at a time."""
    for region in regions:
        for name, grid, done in planned(region, window, catalogue, out, options):
            read = download_bytes(grid, window)
            yield Planned(name, grid, done, read, disk_bytes(grid, window), read / LINE_BYTES_S / 60)


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
