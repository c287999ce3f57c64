"""A region of 1,000 km2 from a published store on disk: into our memory-mapped raster, beside geotessera and a plain copy.

A store of 10 million pixels in the published layout is written to a temporary folder and deleted afterwards. Each reader runs in a
process of its own, twice, best time kept; the memory is the most that the process held beside its file mappings
(``RssAnon``), which is what cannot be given back. With ``--icechunk`` the store is a repository of the shape of
1.1/dclimate with its six arrays of counts and months, held also against obstore reading the bytes of the same chunks and Zarr
decoding them. What geotessera returns is float32 in memory; ours is int8 on disk,
checksummed and journaled. Both read the same window, and the values of every 61st row are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tessera_core.bench.load_repository import decode, read_bytes, write_repository
from tessera_core.errors import TesseraError
from tessera_core.types import BBox

YEAR = 2024
DIM = 128
CHUNK, SHARD = 32, 1024
SIDE, QUICK_SIDE = 3232, 1024
# Around the central meridian, where a box in degrees is nearly one in metres.
CENTRE, NORTH, PIXEL, ZONE = 500_000.0, 5_800_000.0, 10.0, 31
INSET = 30
REPEATS = 2
SAMPLED_ROWS = 61
SPARE_BYTES = 3e9
# geotessera holds the region twice as float32 while it dequantises.
PEER_BYTES_PER_PIXEL = DIM * 9.5


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure; seconds, MB/s of int8 codes and scales, MB of memory, and the ratios."""
    side = QUICK_SIDE if args.quick else SIDE
    with tempfile.TemporaryDirectory(prefix="tessera-bench-") as folder:
        free = shutil.disk_usage(folder).free
        repository = bool(getattr(args, "icechunk", False))
        if free < side * side * (DIM + 5) * 3.2:
            raise TesseraError(f"Measuring this needs {side * side * DIM * 3.2 / 1e9:.1f} GB of disk in {folder}.")
        store = Path(folder) / ("store.icechunk" if repository else "store.zarr")
        sys.stderr.write(f"Writing a store of {side} x {side} pixels ...\n")
        if repository:
            write_repository(store, side, _west(side), NORTH)
        else:
            write_store(store, side)
        stored = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
        raw = side * side * (DIM + 4)
        ours: list[dict[str, float]] = []
        peer: list[dict[str, float]] = []
        plain: dict[str, list[dict[str, float]]] = {"bytes": [], "decoded": []} if repository else {}
        copies: list[float] = []
        roomy = _available() > side * side * PEER_BYTES_PER_PIXEL + SPARE_BYTES
        # Taken in turns, so that a busy minute of the machine meets all of them.
        for number in range(1 if args.quick else REPEATS):
            copies.append(_copy(store, Path(folder) / "copy"))
            for who, results in plain.items():
                results.append(_child(who, store, Path(folder) / "none", side))
            ours.append(_child("ours", store, Path(folder) / f"home{number}", side))
            shutil.rmtree(Path(folder) / f"home{number}")
            if roomy:
                peer.append(_child("geotessera", store, Path(folder) / "none", side))
    best = min(ours, key=lambda result: result["seconds"])
    result: dict[str, Any] = {
        "pixels": int(best["pixels"]),
        "km2": round(best["pixels"] * PIXEL * PIXEL / 1e6, 1),
        "stored_mb": round(stored / 1e6, 1),
        "raw_mb": round(raw / 1e6, 1),
        "seconds": round(best["seconds"], 3),
        "cpu_seconds": round(min(result["cpu"] for result in ours), 3),
        "mb_per_s": round(raw / 1e6 / best["seconds"], 1),
        "memory_mb": round(max(result["anonymous"] for result in ours) / 1e6, 1),
        "copy_seconds": round(min(copies), 3),
        "copy_mb_per_s": round(stored / 1e6 / min(copies), 1),
        "counts": bool(best["counted"]),
        "ratio_copy": round(min(copies) / best["seconds"], 3),
        "load_average": round(os.getloadavg()[0], 2),
        "cpus": os.cpu_count(),
    }
    for who, results in plain.items():
        seconds = min(result["seconds"] for result in results)
        result |= {
            f"{who}_seconds": round(seconds, 3),
            f"{who}_cpu_seconds": round(min(one["cpu"] for one in results), 3),
            f"{who}_mb": round(results[0]["bytes"] / 1e6, 1),
            f"ratio_{who}": round(seconds / best["seconds"], 3),
        }
    if peer:
        rival = min(peer, key=lambda result: result["seconds"])
        most = max(result["anonymous"] for result in peer)
        result |= {
            "geotessera_seconds": round(rival["seconds"], 3),
            "geotessera_cpu_seconds": round(min(one["cpu"] for one in peer), 3),
            "geotessera_memory_mb": round(most / 1e6, 1),
            "ratio_geotessera": round(rival["seconds"] / best["seconds"], 3),
            "memory_ratio_geotessera": round(most / max(r["anonymous"] for r in ours), 2),
            "equal_values": all(rival[key] == best[key] for key in ("pixels", "valid", "fingerprint")),
        }
    else:
        result["geotessera"] = (
            f"not run: it needs {side * side * PEER_BYTES_PER_PIXEL / 1e9:.1f} GB of memory, "
            f"of which {_available() / 1e9:.1f} GB are free"
        )
    return result


def write_store(path: Path, side: int, seed: int = 0) -> Path:
    """A store of ``side`` x ``side`` pixels in the published layout, as hard to compress as real embeddings."""
    import zarr
    from zarr.codecs import BloscCodec

    rng = np.random.default_rng(seed)
    root = zarr.open_group(path, mode="w", zarr_format=3)
    root.attrs.update({"geoemb:model": "https://geotessera.org/model/bench/load", "geoemb:dimensions": DIM})
    group = root.create_group(f"utm{ZONE}")
    group.attrs.update(
        {
            "proj:code": f"EPSG:{32600 + ZONE}",
            "spatial:transform": [PIXEL, 0.0, _west(side), 0.0, -PIXEL, NORTH],
            "spatial:shape": [side, side],
            "geoemb:dimensions": DIM,
        }
    )
    packed: Any = {"compressors": BloscCodec(cname="zstd", clevel=3)}
    codes = group.create_array(
        "embeddings",
        shape=(1, DIM, side, side),
        chunks=(1, DIM, CHUNK, CHUNK),
        shards=(1, DIM, SHARD, SHARD),
        dtype="int8",
        fill_value=0,
        dimension_names=["time", "band", "y", "x"],
        **packed,
    )
    scales = group.create_array(
        "scales",
        shape=(1, side, side),
        chunks=(1, CHUNK, CHUNK),
        shards=(1, SHARD, SHARD),
        dtype="float32",
        fill_value=np.float32("inf"),
        dimension_names=["time", "y", "x"],
        **packed,
    )
    middle = np.arange(side) + 0.5
    axes = {
        "x": _west(side) + middle * PIXEL,
        "y": NORTH - middle * PIXEL,
        "time": np.array([YEAR]),
        "band": np.arange(DIM),
    }
    for name, values in axes.items():
        group.create_array(name, shape=values.shape, dtype=values.dtype, dimension_names=[name])[:] = values
    pool = np.clip(rng.normal(0, 30, (DIM, 64, SHARD)), -127, 127).astype(np.int8)
    for row in range(0, side, SHARD):
        height = min(SHARD, side - row)
        for col in range(0, side, SHARD):
            width = min(SHARD, side - col)
            block = np.roll(pool, (row + col) // SHARD * 7, axis=2)
            codes[0, :, row : row + height, col : col + width] = np.tile(block, (1, SHARD // 64, 1))[:, :height, :width]
            scale = rng.uniform(0.02, 0.1, (height, width)).astype(np.float32)
            scale[:40, :40] = np.nan
            scales[0, row : row + height, col : col + width] = scale
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(root.store)
    return path


def _copy(source: Path, target: Path) -> float:
    started = time.perf_counter()
    shutil.copytree(source, target)
    seconds = time.perf_counter() - started
    shutil.rmtree(target)
    return seconds


def _available() -> int:
    try:
        text = Path("/proc/meminfo").read_text()
        return int(next(line.split()[1] for line in text.splitlines() if line.startswith("MemAvailable"))) * 1024
    except (OSError, StopIteration):
        return 1 << 62


def _child(who: str, store: Path, home: Path, side: int) -> dict[str, float]:
    command = [sys.executable, "-m", __name__, who, str(store), str(side)]
    done = subprocess.run(
        command,
        env=os.environ | {"TESSERA_HOME": str(home)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise TesseraError(f"The reader {who} failed: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout.splitlines()[-1])


# ------------------------------------------------------------------ in the child


@contextmanager
def _peak() -> Iterator[Callable[[], int]]:
    """The most anonymous memory so far beyond that of the start, bytes; sampled."""
    stop = threading.Event()
    start = _anonymous()
    most = [start]

    def watch() -> None:
        while not stop.wait(0.01):
            most[0] = max(most[0], _anonymous())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield lambda: max(most[0], _anonymous()) - start
    stop.set()
    thread.join()


def _anonymous() -> int:
    try:
        text = Path("/proc/self/status").read_text()
        return int(next(line.split()[1] for line in text.splitlines() if line.startswith("RssAnon"))) * 1024
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _west(side: int) -> float:
    return CENTRE - side // 2 * PIXEL


def _box(side: int) -> BBox:
    """A box in degrees whose projected envelope lies inside the store and nearly fills it."""
    from tessera_core.grid import transformer

    west, size = _west(side) + INSET * PIXEL, (side - 2 * INSET) * PIXEL
    north = NORTH - INSET * PIXEL
    to_lonlat = transformer(f"EPSG:{32600 + ZONE}", "EPSG:4326")
    xs, ys = [west, west + size, west, west + size], [north, north, north - size, north - size]
    lons, lats = to_lonlat.transform(xs, ys)
    # Between the corners, so that the envelope stays inside.
    return max(lons[0], lons[2]), max(lats[2], lats[3]), min(lons[1], lons[3]), min(lats[0], lats[1])


def _fingerprint(values: Any) -> float:
    """Checksum of float32 embeddings (h, w, D), no data as zeros."""
    import zlib

    return float(zlib.crc32(np.ascontiguousarray(np.nan_to_num(values, nan=0.0)).view(np.uint8).data))


def _ours(store: str, side: int) -> dict[str, float]:
    from shapely.geometry import box

    from tessera_core.raster import dequantise
    from tessera_core.region import Region
    from tessera_core.sources.remote import fetch
    from tessera_core.sources.remote.zarr_store import open_store

    source = open_store(store)
    region = Region(box(*_box(side)))
    with _peak() as peak:
        started, cpu = time.perf_counter(), time.process_time()
        raster = fetch.fetch(region, source, YEAR).open()
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        anonymous = peak()
    some = slice(None, None, SAMPLED_ROWS)
    return {
        "seconds": seconds,
        "cpu": cpu,
        "counted": float(raster.observations is not None),
        "anonymous": anonymous,
        "pixels": float(raster.shape[0] * raster.shape[1]),
        "fingerprint": _fingerprint(dequantise(raster.codes[some], raster.scales[some])),
        "valid": float(raster.valid().sum()),
    }


def _geotessera(store: str, side: int) -> dict[str, float]:
    from geotessera.store import GeoTesseraZarr

    reader = GeoTesseraZarr(store)
    with _peak() as peak:
        started, cpu = time.perf_counter(), time.process_time()
        values, _, _ = reader.read_region(_box(side), YEAR)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        anonymous = peak()
    return {
        "seconds": seconds,
        "cpu": cpu,
        "anonymous": anonymous,
        "pixels": float(values.shape[0] * values.shape[1]),
        "fingerprint": _fingerprint(values[::SAMPLED_ROWS]),
        "valid": float(np.isfinite(values[..., 0]).sum()),
    }


def _plain(read: Callable[[], int]) -> dict[str, float]:
    started, cpu = time.perf_counter(), time.process_time()
    total = read()
    return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu, "bytes": float(total)}


_READERS: dict[str, Callable[[str, int], dict[str, float]]] = {
    "ours": _ours,
    "geotessera": _geotessera,
    "bytes": lambda store, _: _plain(lambda: read_bytes(store)),
    "decoded": lambda store, side: _plain(lambda: decode(store, side)),
}

if __name__ == "__main__":
    print(json.dumps(_READERS[sys.argv[1]](sys.argv[2], int(sys.argv[3]))))
