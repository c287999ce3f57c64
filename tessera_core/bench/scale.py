"""``tessera bench scale``: what commands cost as the ground grows: processor, memory that cannot be given back, disk, open files.

Each command runs as people run it, in a process of its own, which is watched: ``cpu_s`` is its processor time, ``anon_mb`` the
peak of its anonymous memory (mapped files, which the system takes back as it likes, do not count), ``files`` the most files it
had open, ``disk_mb`` what it left. Slopes are per pixel between the smallest and the largest size.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from tessera_core._utils.atomic import write_json
from tessera_core.bench.click import synthetic_raster
from tessera_core.bench.hot_path import machine
from tessera_core.errors import TesseraError
from tessera_core.grid import Grid
from tessera_core.raster import FORMAT, EmbeddingRaster

SIDES, QUICK_SIDES = (1024, 2048, 4096, 8192), (64, 128)
TILES, QUICK_TILES = (10, 100, 1000), (3, 6)
LABELS, QUICK_LABELS = (1_000, 10_000, 100_000, 1_000_000), (200, 1_000)
TILE_PX = 32
# Scenes are made of one block, repeated: what a pixel costs does not depend on its value.
BLOCK_PX = 512
PERIOD_S = 0.05
MB = 1 << 20


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure 1 to 64 million pixels, 10 to 1,000 tiles and up to a million labels; with ``--quick`` a little of each."""
    if getattr(args, "quick", False):
        return measure(QUICK_SIDES, QUICK_TILES, QUICK_LABELS)
    return measure()


def measure(
    sides: Sequence[int] = SIDES, tiles: Sequence[int] = TILES, labels: Sequence[int] = LABELS, seed: int = 0
) -> dict[str, Any]:
    """What map, change, evaluate and maps tile by tile take.

    Args:
        sides: pixels along each side of the scenes.
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
        block, kinds = synthetic_raster(min(BLOCK_PX, min(sides)), seed)
        for side in sides:
            first, second = (_scene(home / f"{side}-{year}", block, side, year) for year in (2023, 2024))
            points = _points(home / "points.csv", block, kinds, 300, seed)
            head = home / "head.safetensors"
            taken = _taken(home, "map", first, "--labels", points, "--out", home / "map.tif", "--save-head", head)
            found["rows"].append({"task": "map", "pixels": side * side} | taken)
            taken = _taken(home, "change", first, second, "--out", home / "change.tif")
            found["rows"].append({"task": "change", "pixels": side * side} | taken)
            if side == sides[0]:
                for count in labels:
                    many = _points(home / "many.csv", block, kinds, count, seed)
                    taken = _taken(home, "evaluate", first, "--labels", many)
                    found["rows"].append({"task": "evaluate", "labels": count} | taken)
        for count in tiles:
            place = _tiles(home / f"tiles-{count}", block, count)
            taken = _taken(home, "map", place, "--use-head", head, "--tiles", home / f"maps-{count}")
            found["rows"].append({"task": "map --tiles", "tiles": count} | taken)
            later = _tiles(home / f"later-{count}", _next_year(block), count)
            taken = _taken(home, "change", place, later, "--tiles", home / f"changes-{count}")
            found["rows"].append({"task": "change --tiles", "tiles": count} | taken)
    found["slopes"] = [_slope(found["rows"], task) for task in ("map", "change")]
    return found | {"table": table(found["rows"])}


def _scene(folder: Path, block: EmbeddingRaster, side: int, year: int) -> Path:
    """A scene of the block repeated, written without holding it in memory."""
    times = -(-side // block.shape[0])
    grid = replace(block.grid, shape=(side, side))
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
    """Small tiles in two zones and both hemispheres."""
    codes, scales = block.codes[:TILE_PX, :TILE_PX], block.scales[:TILE_PX, :TILE_PX]
    for number in range(count):
        crs, north = (("EPSG:32631", 400_000), ("EPSG:32632", 400_000), ("EPSG:32731", 9_600_000))[number % 3]
        row, col = divmod(number, 40)
        corner = Affine(10, 0, 300_000 + 10 * TILE_PX * col, 0, -10, north - 10 * TILE_PX * row)
        EmbeddingRaster(codes, scales, Grid(crs, corner, codes.shape[:2]), block.provenance).save(
            folder / f"t{number:04d}"
        )
    return folder


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


def _slope(rows: Sequence[dict[str, Any]], task: str) -> dict[str, Any]:
    """What a pixel more costs, between the smallest and the largest scene."""
    mine = [row for row in rows if row["task"] == task]
    first, last = mine[0], mine[-1]
    pixels = max(last["pixels"] - first["pixels"], 1)
    return {
        "task": task,
        "cpu_us_per_pixel": round(1e6 * (last["cpu_s"] - first["cpu_s"]) / pixels, 3),
        "anon_bytes_per_pixel": round(MB * (last["anon_mb"] - first["anon_mb"]) / pixels, 2),
        "disk_bytes_per_pixel": round(MB * (last["disk_mb"] - first["disk_mb"]) / pixels, 2),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = ["| task | size | CPU s | wall s | anonymous MB | open files | disk MB |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        size = next(f"{row[key]:,} {key}" for key in ("pixels", "labels", "tiles") if key in row)
        figures = (row["cpu_s"], row["wall_s"], row["anon_mb"], row["files"], row["disk_mb"])
        lines.append(f"| {row['task']} | {size} | " + " | ".join(map(str, figures)) + " |")
    return "\n".join(lines)
