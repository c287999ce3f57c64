"""A small store of embeddings in the published layout, made by formula, and a web server for it with faults on demand.

Around (12 E, 0 N): the UTM zones 32 and 33 and both hemispheres, southern pixels at negative northings of the zone's northern
grid, three years, 0.1 degree tiles. One tile is missing (+inf scales), a lake is water (NaN), one tile has absurd scales. The
arrays are written with zarr alone, so that nothing of the code under test decides what is right. Pixels are 200 m to keep it small.
"""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
import zarr
from pyproj import Transformer
from zarr.codecs import BloscCodec

PIXEL = 200.0
YEARS = (2022, 2023, 2024)
ZONES = (32, 33)
LONS = (11.85, 11.95, 12.05, 12.15)
LATS = (0.05, -0.05, -0.15)
MISSING = (11.85, 0.05, 2022)
ABSURD = (12.15, -0.05, 2023)
LAKE = (11.95, -0.05, 0.02)  # lon, lat, radius in degrees
DIM = 128
DEPTHS = (16, 32, 64)
CHUNK, SHARD = 16, 64


def vectors(lon: np.ndarray, lat: np.ndarray, year: int, dim: int = DIM) -> np.ndarray:
    """float32 (..., dim): smooth in place, different in each year."""
    rng = np.random.default_rng(year)
    waves = np.stack([np.sin(40 * k * lon + 55 * (3 - k) * lat + k + year % 7) for k in range(4)], -1)
    return ((waves @ rng.normal(size=(4, dim)) + 0.3 * rng.normal(size=dim)) * 2).astype(np.float32)


def quantised(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 codes and float32 scales by the v1 rule."""
    scales = np.maximum(np.abs(x).max(-1) / np.float32(127), np.float32(1e-8)).astype(np.float32)
    return np.clip(np.rint(x / scales[..., None]), -128, 127).astype(np.int8), scales


def tile_of(lon: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres of the 0.1 degree tiles that hold the places."""
    return np.round(np.floor(lon * 10) / 10 + 0.05, 2), np.round(np.floor(lat * 10) / 10 + 0.05, 2)


def zone_grid(zone: int) -> tuple[float, float, int, int]:
    """West edge, north edge, rows and columns of a zone's array; whole shards."""
    to_xy = Transformer.from_crs("EPSG:4326", f"EPSG:{32600 + zone}", always_xy=True)
    lons = [lon for lon in LONS if int((lon + 180) // 6) + 1 == zone]
    box = to_xy.transform_bounds(min(lons) - 0.05, min(LATS) - 0.05, max(lons) + 0.05, max(LATS) + 0.05)
    west, north = np.floor(box[0] / PIXEL) * PIXEL - 3 * PIXEL, np.ceil(box[3] / PIXEL) * PIXEL + 3 * PIXEL
    rows = int(np.ceil((north - box[1]) / PIXEL / SHARD)) * SHARD
    cols = int(np.ceil((box[2] - west) / PIXEL / SHARD)) * SHARD
    return float(west), float(north), rows, cols


def zone_data(zone: int, year: int) -> tuple[np.ndarray, np.ndarray]:
    """int8 (rows, cols, DIM) and float32 (rows, cols) of a zone and year."""
    west, north, rows, cols = zone_grid(zone)
    x, y = west + (np.arange(cols) + 0.5) * PIXEL, north - (np.arange(rows) + 0.5) * PIXEL
    to_lonlat = Transformer.from_crs(f"EPSG:{32600 + zone}", "EPSG:4326", always_xy=True)
    lon, lat = (np.asarray(v) for v in to_lonlat.transform(*np.meshgrid(x, y)))
    codes, scales = quantised(vectors(lon, lat, year))
    tile_lon, tile_lat = tile_of(lon, lat)
    there = np.isin(tile_lon, LONS) & np.isin(tile_lat, LATS) & (np.floor((lon + 180) / 6).astype(int) + 1 == zone)
    there &= ~((tile_lon == MISSING[0]) & (tile_lat == MISSING[1]) & (year == MISSING[2]))
    absurd = (tile_lon == ABSURD[0]) & (tile_lat == ABSURD[1]) & (year == ABSURD[2])
    scales = np.where(absurd, scales * np.float32(1e5), scales)
    lake = np.hypot(lon - LAKE[0], lat - LAKE[1]) < LAKE[2]
    scales = np.where(there, np.where(lake, np.float32(np.nan), scales), np.float32(np.inf)).astype(np.float32)
    codes[~np.isfinite(scales)] = 0
    return codes, scales


def write_world(path: Path, *, sharded: bool = True, depths: tuple[int, ...] = DEPTHS) -> Path:
    """Write the store."""
    root = zarr.open_group(path, mode="w", zarr_format=3)
    root.attrs.update(
        {
            "geoemb:model": "https://geotessera.org/model/2.0/test",
            "geoemb:build_version": "world/1",
            "geoemb:dimensions": DIM,
            "geoemb:depths": [{"dimensions": d, "array": f"embeddings_d{d}"} for d in depths]
            + [{"dimensions": DIM, "array": "embeddings"}],
        }
    )
    for zone in ZONES:
        west, north, rows, cols = zone_grid(zone)
        group = root.create_group(f"utm{zone:02d}")
        group.attrs.update(
            {
                "proj:code": f"EPSG:{32600 + zone}",
                "spatial:transform": [PIXEL, 0.0, west, 0.0, -PIXEL, north],
                "spatial:shape": [rows, cols],
                "geoemb:dimensions": DIM,
            }
        )
        packed: dict[str, Any] = {"compressors": BloscCodec(cname="zstd", clevel=1)}
        arrays = {
            d: group.create_array(
                "embeddings" if d == DIM else f"embeddings_d{d}",
                shape=(len(YEARS), d, rows, cols),
                chunks=(1, d, CHUNK, CHUNK),
                shards=(1, d, SHARD, SHARD) if sharded else None,
                dtype="int8",
                fill_value=0,
                dimension_names=["time", "band" if d == DIM else f"band_d{d}", "y", "x"],
                **packed,
            )
            for d in (*depths, DIM)
        }
        scales = group.create_array(
            "scales",
            shape=(len(YEARS), rows, cols),
            chunks=(1, CHUNK, CHUNK),
            shards=(1, SHARD, SHARD) if sharded else None,
            dtype="float32",
            fill_value=np.float32("inf"),
            dimension_names=["time", "y", "x"],
            **packed,
        )
        coordinates = {
            "x": west + (np.arange(cols) + 0.5) * PIXEL,
            "y": north - (np.arange(rows) + 0.5) * PIXEL,
            "time": np.array(YEARS, np.int32),
            "band": np.arange(DIM, dtype=np.int32),
        } | {f"band_d{d}": np.arange(d, dtype=np.int32) for d in depths}
        for name, values in coordinates.items():
            group.create_array(name, shape=values.shape, dtype=values.dtype, dimension_names=[name])[:] = values
        for t, year in enumerate(YEARS):
            codes, scale = zone_data(zone, year)
            scales[t] = scale
            for d, array in arrays.items():
                array[t] = codes[..., :d].transpose(2, 0, 1)
    zarr.consolidate_metadata(root.store)
    return path


# ------------------------------------------------------------------ server


@dataclass
class Fault:
    """What requests whose path contains ``match`` meet: ``kind`` for the next ``times`` of them."""

    match: str
    kind: str  # "404", "503", "stall", "truncate", "garbage", "flip", "reset"
    times: int = 1_000_000
    method: str = ""


@dataclass
class WebStore:
    """A running server; ``faults`` may change at any time."""

    folder: Path
    url: str = ""
    faults: list[Fault] = field(default_factory=list)
    hits: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    name: str = "world.zarr"
    slow: float = 0.0
    etags: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def store(self) -> str:
        """Address of the store."""
        return f"{self.url}/{self.name}"

    def fault(self, path: str, method: str) -> str:
        """The fault that this request meets, if any."""
        with self.lock:
            self.hits[path] += 1
            for fault in self.faults:
                if fault.times > 0 and fault.match in path and fault.method in ("", method):
                    fault.times -= 1
                    return fault.kind
        return ""


class _Handler(BaseHTTPRequestHandler):
    web: WebStore
    protocol_version = "HTTP/1.1"
    # Else every answer waits 40 ms for an acknowledgement.
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Stay silent."""

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_GET(self) -> None:
        self._answer("GET")

    def _answer(self, method: str) -> None:
        path = unquote(urlparse(self.path).path)
        fault = self.web.fault(path, method)
        file = self.web.folder / path.lstrip("/")
        if self.web.slow:
            time.sleep(self.web.slow)
        if fault == "stall":
            time.sleep(4)
            self.close_connection = True
            return
        if fault == "reset":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if fault in ("404", "503") or not file.is_file():
            self.send_response(int(fault) if fault in ("404", "503") else 404)
            self.send_header("Content-Length", "4")
            self.end_headers()
            if method == "GET":
                self.wfile.write(b"oops")
            return
        data = file.read_bytes()
        status, first, last = 200, 0, len(data) - 1
        if wanted := self.headers.get("Range"):
            start, _, stop = wanted.removeprefix("bytes=").partition("-")
            status = 206
            first = int(start) if start else max(0, len(data) - int(stop))
            last = min(int(stop), len(data) - 1) if start and stop else len(data) - 1
        body = data[first : last + 1]
        if fault == "garbage":
            body = np.random.default_rng(len(body)).integers(0, 256, len(body), np.uint8).tobytes()
        if fault == "flip":
            body = body[:-40] + bytes(byte ^ 0x55 for byte in body[-40:])
        self.send_response(status)
        if self.web.etags:
            self.send_header("ETag", f'"{hashlib.md5(data).hexdigest()}"')
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.end_headers()
        if method == "HEAD":
            return
        if fault == "truncate":
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(body)
        with self.web.lock:
            self.web.sent += len(body)


@contextmanager
def serve(folder: Path) -> Iterator[WebStore]:
    """A server of the files below ``folder`` on loopback."""
    web = WebStore(folder)
    handler = type("Handler", (_Handler,), {"web": web})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    web.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
