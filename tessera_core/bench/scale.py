"""``tessera bench scale``: what commands cost as the ground grows: processor, memory that cannot be given back, disk, open files.

Each command runs as people run it, in a process of its own, which is watched: ``cpu_s`` is its processor time, ``anon_mb`` the
peak of its anonymous memory (mapped files, which the system takes back as it likes, do not count), ``files`` the most files it
had open, ``disk_mb`` what it left. Slopes are per pixel between the smallest and the largest size.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from tessera_core._utils.atomic import write_json
from tessera_core.bench.click import synthetic_raster
from tessera_core.bench.hot_path import machine
from tessera_core.cells import utm_zone
from tessera_core.dpixels.tile import write_tile
from tessera_core.errors import TesseraError
from tessera_core.grid import Grid
from tessera_core.raster import FORMAT, EmbeddingRaster

SIDES, QUICK_SIDES = (1024, 2048, 4096, 8192), (64, 128)
TILES, QUICK_TILES = (10, 100, 1000), (3, 6)
LABELS, QUICK_LABELS = (1_000, 10_000, 100_000, 1_000_000), (200, 1_000)
CELLS, QUICK_CELLS = (4, 16), (2,)
TILE_PX = 32
# Of a small time series.
DAYS = 8
# Scenes are made of one block, repeated: what a pixel costs does not depend on its value.
BLOCK_PX = 512
# 82 km from here lie in one UTM zone, so that --by-zone finds all of a scene in the store.
CORNER = Affine(10, 0, 400_000, 0, -10, 5_800_000)
PERIOD_S = 0.05
MB = 1 << 20


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure 1 to 64 million pixels, 10 to 1,000 tiles and up to a million labels; with ``--quick`` a little of each."""
    if getattr(args, "quick", False):
        return measure(QUICK_SIDES, QUICK_TILES, QUICK_LABELS, QUICK_CELLS)
    return measure()


def measure(
    sides: Sequence[int] = SIDES,
    tiles: Sequence[int] = TILES,
    labels: Sequence[int] = LABELS,
    cells: Sequence[int] = CELLS,
    seed: int = 0,
) -> dict[str, Any]:
    """What map, change, fetch, evaluate and work tile by tile take.

    Args:
        sides: pixels along each side of the scenes, at least one.
        cells: how many whole cells are mapped one by one.
        tiles: how many tiles of :data:`TILE_PX` pixels a folder has; in two UTM zones and both hemispheres.
        labels: points in a table, scored on the smallest scene.

    Raises:
        TesseraError: a command failed, or this system does not say what a process takes.
    """
    if not Path("/proc/self/status").is_file():
        raise TesseraError("This system does not say what a process takes; the measurement runs on Linux.")
    found: dict[str, Any] = {"bench": "scale", "machine": machine(), "rows": []}
    with tempfile.TemporaryDirectory(prefix="tessera-bench-") as folder:
        home = Path(folder)
        block, kinds = _block(min(BLOCK_PX, *sides), seed)
        head = _head(home, block, kinds, seed)
        for side in sides:
            found["rows"] += _of_side(home, block, kinds, side, seed)
        scene = _scene(home / "labelled", block, sides[0], 2024)
        for count in labels:
            many = _points(home / "many.csv", block, kinds, count, seed)
            taken = _taken(home, "evaluate", scene, "--labels", many)
            found["rows"].append({"task": "evaluate", "labels": count} | taken)
        for count in tiles:
            found["rows"] += _of_tiles(home, block, kinds, head, count)
        found["rows"] += _of_cells(home, block, head, min(1024, sides[0]), cells)
    found["slopes"] = [_slope(found["rows"], task, "pixels") for task in ("map", "change", "fetch", "fetch --by-zone")]
    found["slopes"] += [
        _slope(found["rows"], task, "tiles")
        for task in ("generate", "map --tiles", "change --tiles", "evaluate --tiles")
    ]
    return found | {"table": table(found["rows"])}


def _block(side: int, seed: int) -> tuple[EmbeddingRaster, np.ndarray]:
    block, kinds = synthetic_raster(side, seed)
    return replace(block, grid=replace(block.grid, transform=CORNER)), kinds


def _head(home: Path, block: EmbeddingRaster, kinds: np.ndarray, seed: int) -> Path:
    """A head of labels on one block."""
    scene, head = _scene(home / "taught", block, block.shape[0], 2024), home / "head.safetensors"
    points = _points(home / "points.csv", block, kinds, 300, seed)
    _taken(home, "map", scene, "--labels", points, "--out", home / "taught.tif", "--save-head", head)
    return head


def _of_side(home: Path, block: EmbeddingRaster, kinds: np.ndarray, side: int, seed: int) -> Iterator[dict[str, Any]]:
    """Map, change and fetch of one scene; what it was made of is gone afterwards."""
    here = home / f"side-{side}"
    here.mkdir()
    first, second = (_scene(here / str(year), block, side, year) for year in (2023, 2024))
    points = _points(here / "points.csv", block, kinds, 300, seed)
    pixels = {"pixels": side * side}
    yield {"task": "map", **pixels} | _taken(home, "map", first, "--labels", points, "--out", here / "map.tif")
    yield {"task": "change", **pixels} | _taken(home, "change", first, second, "--out", here / "change.tif")
    for used in (first, second):
        shutil.rmtree(used)
    store, box = _store(here / "store.zarr", block, side)
    words = ("fetch", "--bbox", box, "--years", "2024", "--store-url", store)
    yield {"task": "fetch", **pixels} | _taken(home, *words, "--out", here / "fetched")
    for used in (here / "fetched", home / "home" / "cache"):
        shutil.rmtree(used, ignore_errors=True)
    yield {"task": "fetch --by-zone", **pixels} | _taken(home, *words, "--by-zone", "--out", here / "cells")
    shutil.rmtree(here)


def _of_tiles(
    home: Path, block: EmbeddingRaster, kinds: np.ndarray, head: Path, count: int
) -> Iterator[dict[str, Any]]:
    """Many small tiles, in two UTM zones and both hemispheres."""
    here, tiles = home / f"tiles-{count}", {"tiles": count}
    series = _series(here / "series", count)
    yield {"task": "generate", **tiles} | _taken(
        home, "generate", series, "--weights", "studio-nano", "--out", here / "made", "--dtype", "fp32"
    )
    place = _tiles(here / "first", block, count)
    yield {"task": "map --tiles", **tiles} | _taken(home, "map", place, "--use-head", head, "--tiles", here / "maps")
    later = _tiles(here / "later", _next_year(block), count)
    yield {"task": "change --tiles", **tiles} | _taken(home, "change", place, later, "--tiles", here / "changes")
    points = _tile_points(here / "points.csv", place, kinds)
    yield {"task": "evaluate --tiles", **tiles} | _taken(home, "evaluate", place, "--labels", points, "--tiles")
    shutil.rmtree(here)


def _of_cells(
    home: Path, block: EmbeddingRaster, head: Path, side: int, counts: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Whole cells mapped one by one by one warm process: what a cell costs beside its pixels."""
    for count in counts:
        here = home / f"cells-{count}"
        here.mkdir()
        for number in range(count):
            _scene(here / f"c{number:02d}", block, side, 2024, east=number * side)
        yield {"task": "map cells", "pixels": count * side * side} | _taken(
            home, "map", here, "--use-head", head, "--tiles", home / f"cell-maps-{count}"
        )
        shutil.rmtree(here)


def _scene(folder: Path, block: EmbeddingRaster, side: int, year: int, east: int = 0) -> Path:
    """A scene of the block repeated, written without holding it in memory; ``east`` pixels beside where the block lies."""
    times = -(-side // block.shape[0])
    grid = replace(block.grid, shape=(side, side), transform=block.grid.transform @ Affine.translation(east, 0))
    provenance = replace(block.provenance, year=year)
    codes = _next_year(block).codes if year % 2 else block.codes
    folder.mkdir()
    whole = np.lib.format.open_memmap(folder / "codes.npy", "w+", np.int8, (side, side, block.dim))
    for row in range(times):
        rows = slice(row * block.shape[0], min((row + 1) * block.shape[0], side))
        whole[rows] = np.tile(codes[: rows.stop - rows.start], (1, times, 1))[:, :side]
    whole.flush()
    np.save(folder / "scales.npy", np.full((side, side), 0.01, np.float32))
    header = {"format": FORMAT, "grid": grid.to_json(), "provenance": provenance.to_json()}
    write_json(folder / "raster.json", header)
    return folder


def _next_year(block: EmbeddingRaster) -> EmbeddingRaster:
    """The same ground, a little noisier."""
    codes = np.clip(block.codes.astype(np.int16) + 1, -127, 127).astype(np.int8)
    return EmbeddingRaster(codes, block.scales, block.grid, replace(block.provenance, year=2025))


def _tiles(folder: Path, block: EmbeddingRaster, count: int) -> Path:
    """Small tiles of embeddings in two zones and both hemispheres."""
    codes, scales = block.codes[:TILE_PX, :TILE_PX], block.scales[:TILE_PX, :TILE_PX]
    for number in range(count):
        grid = replace(_tile_grid(number), shape=codes.shape[:2])
        EmbeddingRaster(codes, scales, grid, block.provenance).save(folder / f"t{number:04d}")
    return folder


def _series(folder: Path, count: int, seed: int = 0) -> Path:
    """As many small time series, of few days so that the encoder is not what is measured."""
    rng = np.random.default_rng(seed)
    bands = rng.integers(200, 4000, (DAYS, TILE_PX, TILE_PX, 10)).astype(np.uint16)
    radar = rng.integers(1000, 6000, (DAYS, TILE_PX, TILE_PX, 2)).astype(np.int16)
    days = np.linspace(5, 360, DAYS).astype(np.int16)
    for number in range(count):
        write_tile(
            folder / f"t{number:04d}",
            bands=bands,
            masks=np.ones(bands.shape[:3], np.uint8),
            doys=days,
            grid=_tile_grid(number),
            sar_asc=radar,
            doys_asc=days,
        )
    return folder


def _tile_grid(number: int) -> Grid:
    crs, north = (("EPSG:32631", 400_000), ("EPSG:32632", 400_000), ("EPSG:32731", 9_600_000))[number % 3]
    row, col = divmod(number, 40)
    corner = Affine(10, 0, 300_000 + 10 * TILE_PX * col, 0, -10, north - 10 * TILE_PX * row)
    return Grid(crs, corner, (TILE_PX, TILE_PX))


def _tile_points(path: Path, tiles: Path, kinds: np.ndarray) -> Path:
    """A table of labelled points, three in each tile."""
    with path.open("w", encoding="utf-8") as file:
        file.write("lon,lat,class\n")
        for number, tile in enumerate(sorted(tiles.iterdir())):
            grid = EmbeddingRaster.open(tile).grid
            for part in range(3):
                row, col = divmod((7 * number + 337 * part) % (grid.height * grid.width), grid.width)
                lon, lat = (float(value) for value in grid.pixel_to_lonlat(row + 0.5, col + 0.5))
                file.write(f"{lon:.7f},{lat:.7f},kind {kinds[row, col]}\n")
    return path


def _store(folder: Path, block: EmbeddingRaster, side: int) -> tuple[Path, str]:
    """A store in the published layout that holds the block repeated, and the box of it in degrees."""
    import zarr

    t, grid = block.grid.transform, replace(block.grid, shape=(side, side))
    root = zarr.open_group(folder, mode="w", zarr_format=3)
    root.attrs.update({"geoemb:model": "bench", "geoemb:dimensions": block.dim})
    zone, _ = utm_zone(grid)
    group = root.create_group(f"utm{zone:02d}")
    group.attrs.update(
        {
            "proj:code": grid.crs,
            "spatial:transform": [t.a, 0.0, t.c, 0.0, t.e, t.f],
            "spatial:shape": [side, side],
            "geoemb:dimensions": block.dim,
        }
    )
    step, chunk = min(1024, side), min(64, side)
    codes = group.create_array(
        "embeddings",
        shape=(1, block.dim, side, side),
        chunks=(1, block.dim, chunk, chunk),
        shards=(1, block.dim, step, step),
        dtype="int8",
        dimension_names=["time", "band", "y", "x"],
    )
    scales = group.create_array(
        "scales",
        shape=(1, side, side),
        chunks=(1, chunk, chunk),
        shards=(1, step, step),
        dtype="float32",
        fill_value=np.float32("inf"),
        dimension_names=["time", "y", "x"],
    )
    whole = np.tile(block.codes, (-(-step // block.shape[0]), -(-step // block.shape[1]), 1))[:step, :step]
    bands = np.ascontiguousarray(np.moveaxis(whole, -1, 0))
    for row, col in itertools.product(range(0, side, step), repeat=2):
        height, width = min(step, side - row), min(step, side - col)
        codes[0, :, row : row + height, col : col + width] = bands[:, :height, :width]
        scales[0, row : row + height, col : col + width] = np.full((height, width), 0.01, np.float32)
    for name, values in (
        ("x", t.c + (np.arange(side) + 0.5) * t.a),
        ("y", t.f + (np.arange(side) + 0.5) * t.e),
        ("time", np.array([2024], np.int32)),
        ("band", np.arange(block.dim, dtype=np.int32)),
    ):
        group.create_array(name, shape=values.shape, dtype=values.dtype, dimension_names=[name])[:] = values
    corners = [grid.pixel_to_lonlat(row, col) for row in (0.5, side - 0.5) for col in (0.5, side - 0.5)]
    lons, lats = (sorted(float(corner[axis]) for corner in corners) for axis in (0, 1))
    return folder, f"{lons[0]:.7f},{lats[0]:.7f},{lons[-1]:.7f},{lats[-1]:.7f}"


def _points(path: Path, block: EmbeddingRaster, kinds: np.ndarray, count: int, seed: int) -> Path:
    """A table of labelled points on the block."""
    rng = np.random.default_rng(seed)
    rows, cols = rng.uniform(0, block.shape[0], (2, count))
    lon, lat = block.grid.pixel_to_lonlat(rows, cols)
    names = kinds[rows.astype(int), cols.astype(int)]
    with path.open("w", encoding="utf-8") as file:
        file.write("lon,lat,class\n")
        file.writelines(f"{x:.7f},{y:.7f},kind {k}\n" for x, y, k in zip(lon, lat, names, strict=True))
    return path


def _taken(home: Path, *words: str | Path) -> dict[str, Any]:
    """Run a command of ours and watch it.

    Raises:
        TesseraError: it failed.
    """
    state = home / "home"
    before = _size(home)
    environment = os.environ | {"TESSERA_HOME": str(state)}
    command = [sys.executable, "-m", "tessera_core", *map(str, words), "--json", "--quiet"]
    started = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)
        anon = files = 0
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            anon, files = max(anon, _anonymous(process.pid)), max(files, _open_files(process.pid))
            time.sleep(PERIOD_S)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise TesseraError(
                f"tessera {' '.join(map(str, words))} failed: {said.read().decode(errors='replace')[-500:]}"
            )
    return {
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "wall_s": round(time.monotonic() - started, 2),
        "anon_mb": round(anon / MB),
        "files": files,
        "disk_mb": round((_size(home) - before) / MB, 1),
    }


def _anonymous(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("RssAnon:"):
                return 1024 * int(line.split()[1])
    except (OSError, ValueError):
        # It has ended at this moment.
        return 0
    return 0


def _open_files(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _slope(rows: Sequence[dict[str, Any]], task: str, of: str) -> dict[str, Any]:
    """What one more (``pixels`` or ``tiles``) costs, between the smallest and the largest size."""
    mine = [row for row in rows if row["task"] == task]
    first, last = mine[0], mine[-1]
    more, one = max(last[of] - first[of], 1), of.removesuffix("s")
    return {
        "task": task,
        f"cpu_us_per_{one}": round(1e6 * (last["cpu_s"] - first["cpu_s"]) / more, 3),
        f"anon_bytes_per_{one}": round(MB * (last["anon_mb"] - first["anon_mb"]) / more, 2),
        f"disk_bytes_per_{one}": round(MB * (last["disk_mb"] - first["disk_mb"]) / more, 2),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = ["| task | size | CPU s | wall s | anonymous MB | open files | disk MB |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        size = next(f"{row[key]:,} {key}" for key in ("pixels", "labels", "tiles") if key in row)
        figures = (row["cpu_s"], row["wall_s"], row["anon_mb"], row["files"], row["disk_mb"])
        lines.append(f"| {row['task']} | {size} | " + " | ".join(map(str, figures)) + " |")
    return "\n".join(lines)
