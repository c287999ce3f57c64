"""The stores of ``tessera bench load --icechunk``: an Icechunk repository of the shape of 1.1/dclimate, with counts and months.

And what they are held against: the same stored chunks read as bytes by obstore, and decoded by Zarr alone, shard after shard.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tessera_core.observations import NAMES

YEAR = 2024
DIM = 128
CHUNK, SHARD = 256, 2048
ZONE = 31
_POOL = 64


def write_repository(path: Path, side: int, west: float, north: float, seed: int = 0) -> Path:
    """A repository with one group of ``side`` x ``side`` pixels in the published layout, as hard to compress as real embeddings."""
    import icechunk
    import zarr
    from zarr.codecs import ZstdCodec
    from zarr.codecs.numcodecs import PCodec

    rng = np.random.default_rng(seed)
    session = icechunk.Repository.create(icechunk.local_filesystem_storage(str(path))).writable_session("main")
    root = zarr.open_group(session.store, mode="w", zarr_format=3)
    root.attrs.update({"geoemb:model": "https://geotessera.org/model/bench/load", "geoemb:dimensions": DIM})
    group = root.create_group(f"{ZONE}N")
    group.attrs.update(
        {
            "proj:code": f"EPSG:{32600 + ZONE}",
            "years_complete": [YEAR],
            "spatial:transform": [10.0, 0.0, west, 0.0, -10.0, north],
            "spatial:shape": [side, side],
            "spatial:bbox": [west, north - side * 10.0, west + side * 10.0, north],
        }
    )
    arrays: dict[str, Any] = {}
    for name in ("embeddings", "scales", *NAMES):
        more = {"embeddings": (DIM,)}.get(name, (12,) if "month" in name else ())
        dtype = {"embeddings": "int8", "scales": "float32"}.get(name, "int8" if more else "uint16")
        packed: dict[str, Any] = {"compressors": ZstdCodec(level=3)}
        if name == "scales":
            packed = {"serializer": PCodec(), "compressors": None}
        arrays[name] = group.create_array(
            name,
            shape=(1, side, side, *more),
            chunks=(1, CHUNK, CHUNK, *more),
            shards=(1, SHARD, SHARD, *more),
            dtype=dtype,
            fill_value=np.float32("nan") if name == "scales" else 0,
            dimension_names=[
                "time",
                "northing",
                "easting",
                *(["band"] if name == "embeddings" else ["month"])[: len(more)],
            ],
            **packed,
        )
    start = np.array([f"{YEAR}-01-01"], "datetime64[ns]").astype(np.int64)
    middle = (np.arange(side) + 0.5) * 10
    for name, values in (("time", start), ("northing", north - middle), ("easting", west + middle)):
        array = group.create_array(name, shape=values.shape, dtype=values.dtype, dimension_names=[name])
        array[:] = values
    group["time"].attrs["units"] = "nanoseconds since 1970-01-01"
    pool = np.clip(rng.normal(0, 30, (_POOL, SHARD, DIM)), -127, 127).astype(np.int8)
    for rows, cols in _shards(side):
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        turned = np.roll(pool, (rows.start + cols.start) // SHARD * 7, axis=1)
        arrays["embeddings"][0, rows, cols] = np.tile(turned, (SHARD // _POOL, 1, 1))[: shape[0], : shape[1]]
        scales = rng.uniform(0.02, 0.1, shape).astype(np.float32)
        scales[:40, :40] = np.nan
        arrays["scales"][0, rows, cols] = scales
        for name in NAMES:
            # Counts change from orbit to orbit and are alike beside each other.
            some = rng.integers(15, 61, (shape[0] // 16 + 1, shape[1] // 16 + 1)).repeat(16, 0).repeat(16, 1)
            counts = some[: shape[0], : shape[1]]
            spread = counts[..., None] > rng.integers(0, 40, 12) if "month" in name else counts
            arrays[name][0, rows, cols] = spread.astype(arrays[name].dtype)
    session.commit("bench")
    return path


def _shards(side: int) -> Iterator[tuple[slice, slice]]:
    for row in range(0, side, SHARD):
        for col in range(0, side, SHARD):
            yield slice(row, min(row + SHARD, side)), slice(col, min(col + SHARD, side))


def read_bytes(store: str, workers: int = 8) -> int:
    """Every stored chunk of the repository as bytes, by obstore; how many bytes."""
    import obstore
    from obstore.store import LocalStore

    files = LocalStore(store)
    keys = [item["path"] for batch in obstore.list(files, prefix="chunks") for item in batch]
    with ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(lambda key: len(obstore.get(files, key).bytes()), keys))


def decode(store: str, side: int) -> int:
    """Every array of the repository, decoded by Zarr a row of shards at a time and thrown away; how many bytes."""
    from tessera_core.sources.remote.hemispheres import Repository

    group = Repository(store).root[f"{ZONE}N"]
    total = 0
    for name in ("embeddings", "scales", *NAMES):
        for rows, cols in _shards(side):
            total += group[name][0, rows, cols].nbytes
    return total
