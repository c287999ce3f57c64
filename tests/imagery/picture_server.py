"""Services of pictures on this computer: tiles, WMS and WMTS that answer as they should, and the faults that real ones have."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import rasterio

from tessera_core.project.project import Project

COLOURS = {"tiles": (200, 40, 40), "south": (40, 160, 40), "wms": (40, 40, 200), "wmts": (200, 160, 20)}

WMS_130 = """<?xml version="1.0"?>
<WMS_Capabilities version="1.3.0" xmlns="http://www.opengis.net/wms" xmlns:xlink="http://www.w3.org/1999/xlink">
 <Service><Name>WMS</Name><Title>Aerial surveys</Title><Fees>none</Fees><AccessConstraints>CC BY 4.0</AccessConstraints>
  <ContactInformation><ContactPersonPrimary><ContactOrganization>The Survey</ContactOrganization></ContactPersonPrimary>
  </ContactInformation></Service>
 <Capability><Request><GetMap><Format>image/png</Format><Format>image/jpeg</Format>
  <DCPType><HTTP><Get><OnlineResource xlink:href="http://elsewhere.invalid/wms"/></Get></HTTP></DCPType></GetMap></Request>
  <Layer><Title>All</Title><CRS>EPSG:3857</CRS><CRS>EPSG:4326</CRS>
   <Layer><Name>years</Name><Title>Pictures by year</Title>
    <Dimension name="time" units="ISO8601" default="2023-06-01">2019-06-01,2021-06-01/2023-06-01/P1Y</Dimension></Layer>
   <Layer><Name>one</Name><Title>One &lt;b&gt;picture&lt;/b&gt;</Title>
    <Attribution><Title>A flight &lt;script&gt;alert(1)&lt;/script&gt;</Title></Attribution></Layer></Layer>
  <Layer><Name>local</Name><Title>Local</Title><CRS>EPSG:2056</CRS></Layer>
 </Capability></WMS_Capabilities>"""
WMS_111 = """<?xml version="1.0"?>
<!DOCTYPE WMT_MS_Capabilities SYSTEM "http://elsewhere.invalid/capabilities_1_1_1.dtd" [<!ELEMENT VendorSpecific EMPTY>]>
<WMT_MS_Capabilities version="1.1.1"><Service><Title>Old</Title></Service>
 <Capability><Request><GetMap><Format>image/png</Format></GetMap></Request>
  <Layer><SRS>EPSG:4326 EPSG:27700</SRS><Layer><Name>old</Name><Title>Old photographs</Title>
   <Dimension name="time" units="ISO8601"/><Extent name="time" default="1969">1948,1969</Extent></Layer></Layer>
 </Capability></WMT_MS_Capabilities>"""


def wmts(url: str) -> str:
    """A WMTS whose zoom levels have names, and a layer on tiles of another kind."""
    matrices = "".join(
        f"<TileMatrix><ows:Identifier>level-{z}</ows:Identifier><ScaleDenominator>{559082264.0287178 / 2**z!r}</ScaleDenominator>"
        "<TopLeftCorner>-20037508.3428 20037508.3428</TopLeftCorner><TileWidth>256</TileWidth><TileHeight>256</TileHeight>"
        f"<MatrixWidth>{2**z}</MatrixWidth><MatrixHeight>{2**z}</MatrixHeight></TileMatrix>"
        for z in range(2, 19)
    )
    return f"""<?xml version="1.0"?>
<Capabilities xmlns="http://www.opengis.net/wmts/1.0" xmlns:ows="http://www.opengis.net/ows/1.1" version="1.0.0">
 <ows:ServiceIdentification><ows:Title>Mosaics</ows:Title><ows:AccessConstraints>Free</ows:AccessConstraints>
 </ows:ServiceIdentification><ows:ServiceProvider><ows:ProviderName>The Agency</ows:ProviderName></ows:ServiceProvider>
 <Contents>
  <Layer><ows:Title>Mosaic</ows:Title><ows:Identifier>mosaic</ows:Identifier>
   <Style isDefault="true"><ows:Identifier>plain</ows:Identifier></Style><Format>image/png</Format>
   <Dimension><ows:Identifier>Time</ows:Identifier><Default>2022</Default><Value>2020</Value><Value>2022</Value></Dimension>
   <TileMatrixSetLink><TileMatrixSet>web</TileMatrixSet></TileMatrixSetLink>
   <ResourceURL format="image/png" resourceType="tile"
     template="{url}/wmts/{{Style}}/{{Time}}/{{TileMatrixSet}}/{{TileMatrix}}/{{TileRow}}/{{TileCol}}.png"/></Layer>
  <Layer><ows:Title>Other tiles</ows:Title><ows:Identifier>other</ows:Identifier><Format>image/png</Format>
   <TileMatrixSetLink><TileMatrixSet>national</TileMatrixSet></TileMatrixSetLink></Layer>
  <TileMatrixSet><ows:Identifier>web</ows:Identifier><ows:SupportedCRS>urn:ogc:def:crs:EPSG::3857</ows:SupportedCRS>{matrices}
  </TileMatrixSet><TileMatrixSet><ows:Identifier>national</ows:Identifier>
   <ows:SupportedCRS>urn:ogc:def:crs:EPSG::2056</ows:SupportedCRS></TileMatrixSet>
 </Contents></Capabilities>"""


ENTITIES = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><WMS_Capabilities>&x;</WMS_Capabilities>'


class PictureServer:
    """Serves pictures; below ``/faulty/KIND/`` it does what its fault is.

    Attributes:
        url: of the server.
        asked: paths with their queries, in order.
        readable: whether pages of others may read its pictures (CORS).
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.readable = True
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                return

            def do_GET(self) -> None:
                service.asked.append(self.path)
                try:
                    status, kind, body, more = service.answer(self.path)
                    self.send_response(status)
                    headers = {"content-type": kind, "content-length": str(len(body)), **more}
                    if service.readable:
                        headers["access-control-allow-origin"] = "*"
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Who asks may go away before the answer has come; that is what is tested."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.going_on = threading.Event()
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """No more answers."""
        self.going_on.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> tuple[int, str, bytes, dict[str, str]]:
        """Status, kind, content and further headers."""
        parts = urlsplit(path)
        query = {name.lower(): value for name, value in parse_qsl(parts.query)}
        if parts.path.startswith("/faulty/"):
            return self._faulty(parts.path.split("/")[2])
        if query.get("request", "").lower() == "getcapabilities":
            text = {"/wms": WMS_130, "/old": WMS_111, "/wmts": wmts(self.url), "/entities": ENTITIES}[parts.path]
            return 200, "text/xml", text.encode(), {}
        kind = parts.path.split("/")[1]
        if kind == "keyed" and query.get("key") != "sesame":
            return 403, "text/plain", b"no key", {}
        colour = COLOURS.get({"keyed": "tiles", "old": "wms"}.get(kind, kind))
        return (404, "text/plain", b"none", {}) if colour is None else (200, "image/png", picture(colour), {})

    def _faulty(self, kind: str) -> tuple[int, str, bytes, dict[str, str]]:
        if kind == "slow":
            self.going_on.wait(60)
        if kind == "around":
            return 302, "text/plain", b"", {"location": f"{self.url}/faulty/around/again.xml"}
        return {
            "slow": (200, "image/png", picture((9, 9, 9)), {}),
            "gone": (404, "text/plain", b"not found", {}),
            "broken": (500, "text/plain", b"broken", {}),
            "page": (200, "text/html", b"<!doctype html><title>Log in</title><p>Welcome", {}),
            "words": (200, "image/png", b"these are no pixels", {}),
            "huge": (200, "text/xml", b"<WMS_Capabilities>" + b" " * (21 << 20), {}),
            "empty": (200, "text/xml", b"", {}),
        }[kind]


def picture(colour: tuple[int, int, int]) -> bytes:
    """A tile of one colour."""
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (256, 256), colour).save(file, "PNG")
    return file.getvalue()


def aerial(path: Path, project: Project, bands: int = 3, dtype: str = "uint8", crs: str = "EPSG:4326") -> np.ndarray:
    """A picture of the project's region, its four quarters each of a colour."""
    west, south, east, north = project.grid.bounds_lonlat if project.grid else (0, 0, 1, 1)
    pixels = np.zeros((bands, 200, 200), dtype)
    for band in range(bands):
        pixels[band, :100, :100], pixels[band, :100, 100:] = (200, 40, 60, 7)[band], (30, 180, 60, 7)[band]
        pixels[band, 100:, :100], pixels[band, 100:, 100:] = (20, 60, 220, 7)[band], (220, 210, 30, 7)[band]
    transform = rasterio.transform.from_bounds(west, south, east, north, 200, 200)
    with rasterio.open(
        path, "w", driver="GTiff", width=200, height=200, count=bands, dtype=dtype, crs=crs, transform=transform
    ) as file:
        file.write(pixels)
        file.update_tags(TIFFTAG_DATETIME="2021:06:01 10:00:00")
    return pixels


@contextmanager
def serving() -> Iterator[PictureServer]:
    """A server for one test."""
    server = PictureServer()
    try:
        yield server
    finally:
        server.stop()
