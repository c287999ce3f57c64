"""A small satellite archive on loopback: a STAC API, OPERA's granule search and COGs with range requests, and faults on demand.

Pixel values are smooth functions of longitude and latitude, so a test knows what any grid must show.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest
import rasterio
from affine import Affine

from tessera_core.dpixels.acquire import catalogue, read
from tessera_core.dpixels.tile import S2_BANDS
from tessera_core.grid import transformer

LON, LAT = 0.0, 51.5  # on the border of the UTM zones 30 and 31


def s2_dn(band: str, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Digital number (without offset) of a band at a place."""
    return 2000 + 100 * S2_BANDS.index(band) + 40_000 * (lon - LON) + 20_000 * (lat - LAT)


def s1_power(name: str, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Linear gamma0 at a place."""
    return (0.1 if name == "VV" else 0.02) * (1 + 20 * (lon - LON) + 10 * (lat - LAT))


def _geotiff(
    path: Path,
    crs: str,
    function: Any,
    dtype: str,
    nodata: float | None,
    tags: dict[str, str],
    res: float,
    at: float = LON,
) -> None:
    """Write a tiled GeoTIFF of ``function(lon, lat)`` 4 km around a place, with the given pixel size in metres."""
    x, y = transformer("EPSG:4326", crs).transform(at, LAT)
    half = 2000.0
    transform = Affine(res, 0, np.floor((x - half) / res) * res, 0, -res, np.ceil((y + half) / res) * res)
    size = int(2 * half / res)
    cols, rows = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    lon, lat = transformer(crs, "EPSG:4326").transform(transform.c + cols * res, transform.f - rows * res)
    values = np.asarray(function(np.asarray(lon), np.asarray(lat))).astype(dtype)
    profile = {"driver": "GTiff", "dtype": dtype, "count": 1, "height": size, "width": size, "crs": crs}
    profile |= {
        "transform": transform,
        "nodata": nodata,
        "tiled": True,
        "blockxsize": 128,
        "blockysize": 128,
        "compress": "deflate",
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(values, 1)
        file.update_tags(**tags)


@dataclass
class Archive:
    """Content and faults of the server; ``faults[path]`` is a list of what the next requests of that path meet."""

    folder: Path
    items: list[dict[str, Any]] = field(default_factory=list)
    granules: list[dict[str, Any]] = field(default_factory=list)
    faults: dict[str, list[str]] = field(default_factory=dict)
    hits: Counter[str] = field(default_factory=Counter)
    url: str = ""

    def add_s2(
        self,
        name: str,
        day: str,
        crs: str,
        *,
        clouds: Any = None,
        baseline: str = "05.09",
        offset: float = 1000,
        keys: dict[str, str] | None = None,
        leave_out: tuple[str, ...] = (),
        at: float = LON,
        **properties: Any,
    ) -> None:
        """A Sentinel-2 item around the longitude ``at``; ``clouds(lon, lat)`` gives its SCL classes (default: vegetation)."""
        keys = keys or {band: band for band in (*S2_BANDS, "SCL")}
        assets = {}
        for band, key in keys.items():
            if band in leave_out:
                continue
            file = f"{name}_{band}.tif"
            if band == "SCL":
                scl = clouds or (lambda lon, lat: np.full(lon.shape, 4))
                _geotiff(self.folder / file, crs, scl, "uint8", 0, {}, 20, at)
            else:
                function = lambda lon, lat, b=band: np.rint(s2_dn(b, lon, lat) + offset)  # noqa: E731
                _geotiff(
                    self.folder / file,
                    crs,
                    function,
                    "uint16",
                    0,
                    {},
                    10 if band[1:] in ("02", "03", "04", "08") else 20,
                    at,
                )
            assets[key] = file
        self._add(
            "sentinel-2-l2a",
            name,
            day,
            assets,
            {"eo:cloud_cover": 20, "s2:processing_baseline": baseline, **properties},
            at,
        )

    def add_s1(
        self, name: str, day: str, crs: str, orbit: str, *, leave_out: tuple[str, ...] = (), factor: float = 1
    ) -> None:
        """A Sentinel-1 RTC item."""
        assets = {}
        for band in ("VV", "VH"):
            if band in leave_out:
                continue
            file = f"{name}_{band}.tif"
            function = lambda lon, lat, b=band: factor * s1_power(b, lon, lat)  # noqa: E731
            _geotiff(self.folder / file, crs, function, "float32", -32768, {}, 10)
            assets[band.lower()] = file
        self._add("sentinel-1-rtc", name, day, assets, {"sat:orbit_state": orbit})

    def add_burst(self, name: str, day: str, crs: str, orbit: str) -> None:
        """An OPERA RTC-S1 burst, whose orbit stands in the file's tags."""
        links = []
        for band in ("VV", "VH"):
            file = f"{name}_{band}.tif"
            tags = {"ORBIT_PASS_DIRECTION": orbit.upper()}
            function = lambda lon, lat, b=band: s1_power(b, lon, lat)  # noqa: E731
            _geotiff(self.folder / file, crs, function, "float32", float("nan"), tags, 30)
            links.append({"URL": f"{{root}}/files/{file}", "Type": "GET DATA"})
        begin = f"{day}T06:00:00Z"
        self.granules.append(
            {
                "umm": {
                    "GranuleUR": name,
                    "TemporalExtent": {"RangeDateTime": {"BeginningDateTime": begin}},
                    "RelatedUrls": links,
                }
            }
        )

    def _add(
        self,
        collection: str,
        name: str,
        day: str,
        assets: dict[str, str],
        properties: dict[str, Any],
        at: float = LON,
    ) -> None:
        box = (at - 0.03, LAT - 0.02, at + 0.03, LAT + 0.02)
        west, south, east, north = box
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        self.items.append(
            {
                "type": "Feature",
                "stac_version": "1.0.0",
                "stac_extensions": [],
                "id": name,
                "collection": collection,
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "bbox": list(box),
                "properties": {"datetime": f"{day}T10:50:00Z", **properties},
                "links": [],
                "assets": {
                    key: {"href": f"{{root}}/files/{file}", "type": "image/tiff"} for key, file in assets.items()
                },
            }
        )


class _Handler(BaseHTTPRequestHandler):
    archive: Archive
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Stay silent."""

    def do_HEAD(self) -> None:
        self._answer(head=True)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(json.loads(body or b"{}"))

    def _answer(self, query: dict[str, Any] | None = None, *, head: bool = False) -> None:
        url = urlparse(self.path)
        path = url.path
        self.archive.hits[path] += 1
        pending = self.archive.faults.get(path, [])
        fault = pending[0] if pending else ""
        if pending and fault != "always-404":
            pending.pop(0)
        if fault == "500":
            return self._send(500, b"broken", "text/plain")
        if fault == "always-404":
            return self._send(404, b"gone", "text/plain")
        if fault == "html":
            return self._send(200, b"<!DOCTYPE html><html><body>Sign in to the network</body></html>", "text/html")
        if fault == "wrong-type":
            return self._send(200, b'["no", "search"]', "application/json")
        if fault == "stall":
            time.sleep(3)
            self.close_connection = True
            return None
        if path == "/stac":
            return self._json(self._landing())
        if path == "/stac/search":
            wanted = query or {k: v[0] for k, v in parse_qs(url.query).items()}
            return self._json(self._search(wanted))
        if path == "/cmr":
            return self._json({"hits": len(self.archive.granules), "items": self.archive.granules})
        file = self.archive.folder / path.removeprefix("/files/")
        if path.startswith("/files/") and file.is_file():
            return self._file(file, fault, head)
        return self._send(404, b"no such file", "text/plain")

    def _landing(self) -> dict[str, Any]:
        root = self.archive.url
        return {
            "type": "Catalog",
            "stac_version": "1.0.0",
            "id": "archive",
            "description": "A small archive",
            "conformsTo": [
                "https://api.stacspec.org/v1.0.0/core",
                "https://api.stacspec.org/v1.0.0/item-search",
                "https://api.stacspec.org/v1.0.0/item-search#query",
            ],
            "links": [
                {"rel": "self", "href": f"{root}/stac"},
                {"rel": "root", "href": f"{root}/stac"},
                {"rel": "search", "href": f"{root}/stac/search", "type": "application/geo+json", "method": "GET"},
                {"rel": "search", "href": f"{root}/stac/search", "type": "application/geo+json", "method": "POST"},
            ],
        }

    def _search(self, wanted: dict[str, Any]) -> dict[str, Any]:
        collections = wanted["collections"]
        collections = collections.split(",") if isinstance(collections, str) else collections
        first, last = (dt.datetime.fromisoformat(t).date() for t in wanted["datetime"].split("/"))
        limit = (wanted.get("query") or {}).get("eo:cloud_cover", {}).get("lt", 101)
        features = [
            item
            for item in self.archive.items
            if item["collection"] in collections
            and first <= dt.date.fromisoformat(item["properties"]["datetime"][:10]) <= last
            and item["properties"].get("eo:cloud_cover", 0) < limit
        ]
        return {"type": "FeatureCollection", "features": features, "links": []}

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).replace("{root}", self.archive.url).encode(), "application/geo+json")

    def _file(self, file: Path, fault: str, head: bool) -> None:
        data = file.read_bytes()
        if fault == "truncate" or file.suffix == ".cut":
            data = data[: len(data) // 3]
        wanted = self.headers.get("Range")
        if wanted and not head:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            begin, end = int(first), min(int(last or len(data) - 1), len(data) - 1)
            if begin >= len(data):
                return self._send(416, b"", "image/tiff")
            headers = {"Content-Range": f"bytes {begin}-{end}/{len(data)}"}
            return self._send(206, data[begin : end + 1], "image/tiff", headers)
        return self._send(200, data, "image/tiff", head=head)

    def _send(
        self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None, head: bool = False
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Accept-Ranges", "bytes")
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        if not head and self.command != "HEAD":
            self.wfile.write(body)


class SentinelServer:
    """Runs an archive on a free loopback port; use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.archive = Archive(folder)

    def __enter__(self) -> Archive:
        handler = type("Handler", (_Handler,), {"archive": self.archive})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.archive.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self.archive

    def __exit__(self, *_: Any) -> None:
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def few_days(folder: Path, monkeypatch: pytest.MonkeyPatch, crs: str = "EPSG:32631") -> Iterator[Archive]:
    """Three optical and two radar days of 2023, found by the program at the addresses in the environment."""
    monkeypatch.setattr(read, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(catalogue, "SEARCH_RETRIES", 1)
    folder.mkdir()
    with SentinelServer(folder) as served:
        for number, day in enumerate(("2023-03-05", "2023-06-15", "2023-09-01")):
            served.add_s2(f"S{number}", day, crs)
        served.add_s1("P", "2023-03-07", crs, "ascending")
        served.add_s1("Q", "2023-06-09", crs, "descending")
        monkeypatch.setenv("TESSERA_STAC_URL", f"{served.url}/stac")
        monkeypatch.setenv("TESSERA_CMR_URL", f"{served.url}/cmr")
        yield served
