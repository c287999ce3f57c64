"""A small store of the shape of the published ``1.1/dclimate``: an Icechunk repository, its Zarr copy and its tile registry.

Zone 31 around the equator, both hemispheres, three years; inner chunks of 32 and shards of 64 pixels instead of 256 and 2048. In it
lie all the states that a pixel may be in. The repository has two snapshots: as first published, with the transform at the centre of
the first pixel, and repaired. Written with zarr, icechunk and pyarrow alone, so that nothing of the code under test decides what
is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, ZstdCodec

from tessera_core.region import Region, parse_bbox
from tests.sources.world_store import quantised

PIXEL = 10.0
WEST = 499_360.0
SIDE = 128
NORTH = {"31N": 1280.0, "31S": 10_000_320.0}
YEARS = (2023, 2024, 2025)
COMPLETE = {"31N": [2023, 2024, 2025], "31S": [2024, 2025]}
CHUNK, SHARD = 32, 64
DIM = 128
# Rows of 31S that lie above the equator and belong to nobody.
ABOVE = 32
# Rows and columns of a group.
UNSEEN = (slice(0, 4), slice(0, 4))
THIN = (slice(8, 12), slice(8, 12))
NO_RADAR = (slice(16, 24), slice(16, 24))
SEA = ("31N", slice(0, 64), slice(64, 128))
REFUSED_TILE = ("31N", 2025, slice(64, 128), slice(64, 128))
SKIPPED_TILE = ("31S", 2024, slice(64, 128), slice(64, 128))
COUNTS = ("s2_obs_count", "s1_asc_obs_count", "s1_desc_obs_count")
MONTHS = ("s2_month_covered", "s1_asc_month_covered", "s1_desc_month_covered")


@dataclass(frozen=True)
class Group:
    """What one group holds of one year, by array name; ``counts`` and ``months`` as stored."""

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    counts: dict[str, NDArray[np.uint16]]
    months: dict[str, NDArray[np.int8]]


@dataclass(frozen=True)
class Store:
    """Where all of it lies."""

    icechunk: Path
    unrepaired: str
    repaired: str
    zarr: Path
    registry: Path


def place(rows: slice, cols: slice) -> Region:
    """A box in degrees that holds the centres of these pixels of the zone and no others."""
    from pyproj import Transformer

    to_lonlat = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True)
    north = NORTH["31N"]
    west, south, east, top = to_lonlat.transform_bounds(
        WEST + cols.start * 10 + 2,
        north - rows.stop * 10 + 2,
        WEST + cols.stop * 10 - 2,
        north - rows.start * 10 - 2,
    )
    return parse_bbox(f"{west},{south},{east},{top}")


def group_data(name: str, year: int) -> Group:
    """The arrays of a group and year; different in the two groups also where they overlap."""
    rng = np.random.default_rng([year, name.endswith("S")])
    codes, scales = quantised(rng.normal(size=(SIDE, SIDE, DIM)).astype(np.float32) + 0.5)
    counts = {key: rng.integers(15, 61, (SIDE, SIDE)).astype(np.uint16) for key in COUNTS}
    months = {key: (rng.random((SIDE, SIDE, 12)) < 0.7).astype(np.int8) for key in MONTHS}
    counts["s2_obs_count"][THIN] = 9
    for key in (*COUNTS[1:], *MONTHS[1:]):
        (counts if key in counts else months)[key][NO_RADAR] = 0

    def blank(where: tuple[slice, slice], *, counted: bool) -> None:
        codes[where], scales[where] = 0, np.nan
        for key in COUNTS if not counted else ():
            counts[key][where] = 0
        for key in MONTHS if not counted else ():
            months[key][where] = 0

    blank(UNSEEN, counted=False)
    blank(THIN, counted=True)
    if name == SEA[0]:
        blank(SEA[1:], counted=False)
    if (name, year) == REFUSED_TILE[:2]:
        blank(REFUSED_TILE[2:], counted=True)
        counts["s2_obs_count"][REFUSED_TILE[2:]] = rng.integers(1, 15, (64, 64))
    if (name, year) == SKIPPED_TILE[:2]:
        blank(SKIPPED_TILE[2:], counted=False)
    return Group(codes, scales, counts, months)


def zone_data(year: int) -> Group:
    """Both groups of a year on the zone's one grid (224, 128), northern rows first."""
    north, south = group_data("31N", year), group_data("31S", year)

    def both(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([a, b[ABOVE:]])

    return Group(
        both(north.codes, south.codes),
        both(north.scales, south.scales),
        {key: both(north.counts[key], south.counts[key]) for key in COUNTS},
        {key: both(north.months[key], south.months[key]) for key in MONTHS},
    )


def write(folder: Path) -> Store:
    """Write the repository, its copy and its registry below ``folder``."""
    old, new = write_icechunk(folder / "dclimate.icechunk")
    return Store(
        folder / "dclimate.icechunk",
        old,
        new,
        write_copy(folder / "v1.1-dclimate", old),
        write_registry(folder / "dclimate.registry" / "parts"),
    )


def _root() -> dict[str, Any]:
    return {
        "geoemb:type": "pixel",
        "geoemb:dimensions": DIM,
        "geoemb:model": "https://geotessera.org/model/1.1",
        "geoemb:source_data": ["s3://sentinel-cogs", "https://datapool.asf.alaska.edu/RTC/OPERA-S1"],
        "geoemb:data_type": "int8",
        "geoemb:gsd": PIXEL,
        "geoemb:spatial_layout": "utm_zones",
        "geoemb:build_version": "test/1",
        "geoemb:quantization": {
            "method": "per_pixel_scale",
            "original_dtype": "float32",
            "quantized_dtype": "int8",
            "scale": {"type": "array", "array_name": "scales", "nodata": "NaN"},
        },
        "checkpoint_id": "tessera_v1_1_aws_encoder",
        "optical_min_obs": 15,
    }


def _attributes(name: str, *, repaired: bool) -> dict[str, Any]:
    north, half = NORTH[name], 0.0 if repaired else PIXEL / 2
    return {
        "crs": f"EPSG:{326 if name.endswith('N') else 327}31",
        "proj:code": f"EPSG:{326 if name.endswith('N') else 327}31",
        "years_complete": COMPLETE[name],
        "runs": {
            str(year): {
                "run_id": f"run-{year}",
                "assembled_at": f"{year + 1}-02-01T00:00:00Z",
                "optical_skips": ["chunk_1_1"] if (name, year) == SKIPPED_TILE[:2] else [],
            }
            for year in COMPLETE[name]
        },
        "zone_scheme": "utm_6deg_nominal",
        "time_convention": "calendar_year",
        "spatial:dimensions": ["northing", "easting"],
        "spatial:transform_type": "affine",
        "spatial:transform": [PIXEL, 0.0, WEST + half, 0.0, -PIXEL, north - half],
        "spatial:shape": [SIDE, SIDE],
        "spatial:bbox": [WEST, north - SIDE * PIXEL, WEST + SIDE * PIXEL, north],
        "spatial:registration": "pixel",
    }


def write_icechunk(path: Path) -> tuple[str, str]:
    """Write the repository; the snapshots before and after the repair of its registration."""
    import icechunk
    from zarr.codecs.numcodecs import PCodec

    repository = icechunk.Repository.create(icechunk.local_filesystem_storage(str(path)))
    session = repository.writable_session("main")
    root = zarr.open_group(session.store, mode="w", zarr_format=3)
    root.attrs.update(_root())
    for name in NORTH:
        group = root.create_group(name)
        group.attrs.update(_attributes(name, repaired=False))
        arrays = {}
        for key, dtype, fill, more in (
            ("embeddings", "int8", 0, (DIM,)),
            ("scales", "float32", np.float32("nan"), ()),
            *((key, "uint16", 0, ()) for key in COUNTS),
            *((key, "int8", 0, (12,)) for key in MONTHS),
        ):
            last = {"embeddings": ["band"]}.get(key, ["month"] if more else [])
            packed: dict[str, Any] = {"compressors": ZstdCodec(level=1)}
            if key == "scales":
                packed = {"serializer": PCodec(), "compressors": None}
            arrays[key] = group.create_array(
                key,
                shape=(len(YEARS), SIDE, SIDE, *more),
                chunks=(1, CHUNK, CHUNK, *more),
                shards=(1, SHARD, SHARD, *more),
                dtype=dtype,
                fill_value=fill,
                dimension_names=["time", "northing", "easting", *last],
                attributes={"dtype": "bool"} if key in MONTHS else {},
                **packed,
            )
        starts = np.array([f"{year}-01-01" for year in (*YEARS, YEARS[-1] + 1)], "datetime64[ns]").astype(np.int64)
        _coordinate(group, "time", starts[:-1], {"units": "nanoseconds since 1970-01-01", "bounds": "time_bnds"})
        group.create_array("time_bnds", shape=(len(YEARS), 2), dtype="int64", dimension_names=["time", "bnds"])[:] = (
            np.stack([starts[:-1], starts[1:]], 1)
        )
        _coordinate(group, "northing", NORTH[name] - (np.arange(SIDE) + 0.5) * PIXEL)
        _coordinate(group, "easting", WEST + (np.arange(SIDE) + 0.5) * PIXEL)
        _coordinate(group, "band", np.arange(DIM, dtype=np.int64))
        _coordinate(group, "month", np.arange(1, 13, dtype=np.int16))
        for t, year in enumerate(YEARS):
            data = group_data(name, year)
            for key, values in {"embeddings": data.codes, "scales": data.scales, **data.counts, **data.months}.items():
                arrays[key][t] = values
    first = session.commit("as first published")
    session = repository.writable_session("main")
    root = zarr.open_group(session.store, mode="r+", zarr_format=3)
    for name in NORTH:
        root[name].attrs.update(_attributes(name, repaired=True))
    return first, session.commit("registration repaired")


def write_copy(path: Path, snapshot: str) -> Path:
    """The Zarr copy: both hemispheres on one grid, the band before the rows, complete years in what the groups said."""
    root = zarr.open_group(path, mode="w", zarr_format=3)
    root.attrs.update(
        _root()
        | {
            "geoemb:landmask": False,
            "geotessera:mask_source": "source_nodata",
            "geotessera:source_snapshot": snapshot,
            "geotessera:migration_id": "test",
        }
    )
    rows = 2 * SIDE - ABOVE
    group = root.create_group("utm31")
    group.attrs.update(
        {
            "proj:code": "EPSG:32631",
            "spatial:dimensions": ["y", "x"],
            "spatial:transform": [PIXEL, 0.0, WEST, 0.0, -PIXEL, NORTH["31N"]],
            "spatial:shape": [rows, SIDE],
            "spatial:bbox": [WEST, NORTH["31N"] - rows * PIXEL, WEST + SIDE * PIXEL, NORTH["31N"]],
            "geotessera:mask_source": "source_nodata",
            "geotessera:source_groups": {name: _attributes(name, repaired=False) for name in NORTH},
        }
    )
    years = [zone_data(year) for year in YEARS]
    stacked: dict[str, tuple[list[str], NDArray[Any], Any]] = {
        "embeddings": (["time", "band", "y", "x"], np.stack([y.codes.transpose(2, 0, 1) for y in years]), 0),
        "scales": (["time", "y", "x"], np.stack([y.scales for y in years]), np.float32("nan")),
        **{key: (["time", "y", "x"], np.stack([y.counts[key] for y in years]), 0) for key in COUNTS},
        **{key: (["time", "y", "x", "month"], np.stack([y.months[key] for y in years]), 0) for key in MONTHS},
    }
    sizes: Mapping[str, int] = {"y": CHUNK, "x": CHUNK, "time": 1, "band": DIM, "month": 12}
    for key, (dims, values, fill) in stacked.items():
        chunks = tuple(sizes[dim] for dim in dims)
        shards = tuple(size * (3 if dim in "yx" else 1) for dim, size in zip(dims, chunks, strict=True))
        array = group.create_array(
            key,
            # Whole shards, as the publisher's.
            shape=values.shape,
            chunks=chunks,
            shards=shards,
            dtype=values.dtype,
            fill_value=fill,
            dimension_names=dims,
            compressors=BloscCodec(cname="zstd", clevel=3),
        )
        array[:] = values
    _coordinate(group, "time", np.array(YEARS, np.int32))
    _coordinate(group, "x", WEST + (np.arange(SIDE) + 0.5) * PIXEL)
    _coordinate(group, "y", NORTH["31N"] - (np.arange(rows) + 0.5) * PIXEL)
    _coordinate(group, "band", np.arange(DIM, dtype=np.int32))
    zarr.consolidate_metadata(root.store)
    return path


def _coordinate(group: Any, name: str, values: NDArray[Any], attributes: Mapping[str, Any] | None = None) -> None:
    group.create_array(
        name, shape=values.shape, dtype=values.dtype, dimension_names=[name], attributes=dict(attributes or {})
    )[:] = values


# ------------------------------------------------------------------ the tile registry

_INT = (
    *("eligible_px", "chunk_px", "refused_px", "refused_no_optical_px", "refused_thin_px", "refused_no_radar_px"),
    *("px_with_any_optical", "obs_max", "px_with_any_radar", "optical_min_obs"),
)
_FLOAT = (*("median_obs_where_any", "median_obs_where_thin", "bbox_west", "bbox_south", "bbox_east", "bbox_north"),)


def registry_row(tile: str, box: tuple[float, float, float, float], **known: Any) -> dict[str, Any]:
    """One row of the registry; measurements that are not given are null."""
    west, south, east, north = box
    row: dict[str, Any] = dict.fromkeys((*_INT, *_FLOAT, "radar_rule_enforced"))
    row |= {"tile": tile, "run_id": "run", "assembled_at": "2026-02-01T00:00:00Z", "embedded": True}
    row |= {"bbox_west": west, "bbox_south": south, "bbox_east": east, "bbox_north": north}
    row |= {"code_version": "test", "code_commit": "0", "optical_min_obs": 15}
    return row | known


def write_part(parts: Path, zone: str, year: int, run: str, rows: list[dict[str, Any]]) -> Path:
    """One part of the registry, with all its columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [("tile", pa.string()), ("run_id", pa.string()), ("assembled_at", pa.string()), ("embedded", pa.bool_())]
        + [(name, pa.int64()) for name in _INT]
        + [(name, pa.float64()) for name in _FLOAT]
        + [("radar_rule_enforced", pa.bool_()), ("code_version", pa.string()), ("code_commit", pa.string())]
    )
    path = parts / f"zone={zone}" / f"year={year}" / f"{run}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


def write_registry(parts: Path) -> Path:
    """The registry of the store: its tiles by year; two runs of one tile, unmeasured tiles, a row over the 180th meridian."""
    from pyproj import Transformer

    for name in NORTH:
        to_lonlat = Transformer.from_crs(_attributes(name, repaired=True)["crs"], "EPSG:4326", always_xy=True)
        for year in COMPLETE[name]:
            data, rows = group_data(name, year), []
            for i in range(SIDE // SHARD):
                for j in range(SIDE // SHARD):
                    at = (slice(i * SHARD, (i + 1) * SHARD), slice(j * SHARD, (j + 1) * SHARD))
                    if name == SEA[0] and at == SEA[1:]:
                        continue
                    west, north = WEST + j * SHARD * PIXEL, NORTH[name] - i * SHARD * PIXEL
                    box = to_lonlat.transform_bounds(west, north - SHARD * PIXEL, west + SHARD * PIXEL, north)
                    if year == 2023:
                        rows.append(registry_row(f"chunk_{i}_{j}", box))
                        continue
                    seen = data.counts["s2_obs_count"][at]
                    radar = sum(data.counts[key][at].astype(int) for key in COUNTS[1:])
                    thin = (seen > 0) & (seen < 15)
                    rows.append(
                        registry_row(
                            f"chunk_{i}_{j}",
                            box,
                            embedded=bool(np.isfinite(data.scales[at]).any()),
                            eligible_px=int(seen.size),
                            chunk_px=int(seen.size),
                            refused_px=int((seen < 15).sum()),
                            refused_no_optical_px=int((seen == 0).sum()),
                            refused_thin_px=int(thin.sum()),
                            refused_no_radar_px=0,
                            px_with_any_optical=int((seen > 0).sum()),
                            obs_max=int(seen.max()),
                            px_with_any_radar=int((radar > 0).sum()),
                            median_obs_where_any=float(np.median(seen[seen > 0])) if seen.any() else None,
                            median_obs_where_thin=float(np.median(seen[thin])) if thin.any() else None,
                            radar_rule_enforced=False,
                        )
                    )
            write_part(parts, name, year, "run-1", rows)
    # An older run of one tile, which must not count.
    first = rows[0] | {
        "assembled_at": "2025-01-01T00:00:00Z",
        "refused_px": 4096,
        "refused_thin_px": 4096,
        "run_id": "old",
    }
    write_part(parts, "31S", 2025, "run-0", [first])
    write_part(parts, "01N", 2025, "run-1", [registry_row("chunk_0_0", (179.9, 50.0, -179.9, 50.2), refused_px=0)])
    return parts
