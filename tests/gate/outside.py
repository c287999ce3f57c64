"""What a stranger's file must not reach: a secret beside the folder it lies in, a place to write to, and a server."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import shapely
from affine import Affine

_LISTENER = """
import socket
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
while True:
    client, _ = server.accept()
    print("connection", flush=True)
    client.close()
"""
SECRET = "root:x:0:0:the-secret"


@dataclass
class Outside:
    """Attributes:
    folder: where the attacked things are.
    port: of a server on this machine.
    """

    folder: Path
    port: int
    _server: subprocess.Popen[str]

    @property
    def secret_table(self) -> Path:
        return self.folder / "secret.csv"

    @property
    def secret_layer(self) -> Path:
        return self.folder / "secret.gpkg"

    @property
    def secret_raster(self) -> Path:
        return self.folder / "secret.tif"

    def untouched(self) -> bool:
        """Whether nothing was written and nobody was called."""
        names = {path.name for path in self.folder.iterdir()}
        return names == {"secret.csv", "secret.gpkg", "secret.tif"} and not self.called()

    def called(self) -> bool:
        """Whether anybody connected to the server."""
        assert self._server.stdout is not None
        return bool(select.select([self._server.stdout], [], [], 0.1)[0])


@contextmanager
def outside(folder: Path) -> Iterator[Outside]:
    """The attacked things, for as long as a test runs."""
    folder.mkdir()
    (folder / "secret.csv").write_text(f"{SECRET},lon,lat\n{SECRET},3.9,52.0\n")
    write_points(folder / "secret.gpkg", SECRET)
    write_tiff(folder / "secret.tif", np.full((16, 16), 7, np.uint8))
    with subprocess.Popen([sys.executable, "-c", _LISTENER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield Outside(folder, int(server.stdout.readline()), server)
        finally:
            server.kill()


def write_points(path: Path, name: str = "wood", driver: str | None = None) -> Path:
    """Three points with a class."""
    shapes = shapely.to_wkb(shapely.points([[3.9, 52.0], [3.901, 52.001], [3.902, 52.0]]))
    names = np.array([name, "water", name], object)
    pyogrio.raw.write(
        path, shapes, [names], ["class"], geometry_type="Point", crs="EPSG:4326", driver=driver, layer=path.stem
    )
    return path


def write_tiff(path: Path, values: np.ndarray, **more: object) -> Path:
    """A GeoTIFF of (H, W) or (bands, H, W) in UTM zone 31."""
    bands = values[None] if values.ndim == 2 else values
    count, height, width = bands.shape
    place = {"crs": "EPSG:32631", "transform": Affine(10, 0, 560000, 0, -10, 5765000)}
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=count, dtype=bands.dtype, **place, **more
    ) as file:
        file.write(bands)
    return path


def vector_attacks(reach: Outside) -> dict[str, str]:
    """Texts that GDAL would open as something that leads elsewhere."""
    web = f"http://127.0.0.1:{reach.port}"

    def ogr(source: str, options: str = "") -> str:
        return (
            f'<OGRVRTDataSource><OGRVRTLayer name="secret"><SrcDataSource>{source}</SrcDataSource>{options}'
            "<SrcLayer>secret</SrcLayer></OGRVRTLayer></OGRVRTDataSource>"
        )

    vacuum = f"<OpenOptions><OOI key=\"PRELUDE_STATEMENTS\">VACUUM INTO '{reach.folder}/written'</OOI></OpenOptions>"
    pipeline = {"type": "gdal_streamed_alg", "command_line": f"gdal vector pipeline ! read {reach.secret_layer}"}
    collection = {"type": "FeatureCollection", "features": [_feature()]}
    return {
        "vrt of a layer": ogr(str(reach.secret_layer)),
        "vrt of a text": ogr(f"CSV:{reach.secret_table}").replace("<SrcLayer>", "<GeometryType>wkbNone</GeometryType><SrcLayer>"),
        "vrt that writes": ogr(str(reach.secret_layer), vacuum.replace("OOI", "OOI")),
        "vrt of an address": ogr(f"/vsicurl/{web}/x.gpkg"),
        "vrt after a remark": "<!-- <kml> -->" + ogr(str(reach.secret_layer)),
        "vrt that says kml": ogr(str(reach.secret_layer)).replace("<OGRVRTDataSource>", "<OGRVRTDataSource kml='<kml'>"),
        "pipeline": json.dumps(pipeline),
        "pipeline of an address": json.dumps(pipeline | {"command_line": f"gdal vector pipeline ! read {web}/x.gpkg"}),
        "feature service": f"<OGRWFSDataSource><URL>{web}/wfs?</URL></OGRWFSDataSource>",
        "crs link": json.dumps(collection | {"crs": {"type": "link", "properties": {"href": f"{web}/crs"}}}),
        "crs url": json.dumps(collection | {"crs": {"type": "url", "properties": {"url": f"{web}/crs"}}}),
        "crs name": json.dumps(collection | {"crs": {"type": "name", "properties": {"name": f"{web}/crs"}}}),
        "network link": f"<kml><Document><NetworkLink><Link><href>{web}/x.kml</href></Link></NetworkLink></Document></kml>",
        "entity": f'<!DOCTYPE kml [<!ENTITY x SYSTEM "file://{reach.secret_table}">]><kml><Placemark><name>&x;</name></Placemark></kml>',
        "virtual name": f"/vsicurl/{web}/x.gpkg",
        "database name": f"PG:host=127.0.0.1 port={reach.port}",
    }  # fmt: skip


def raster_attacks(reach: Outside) -> dict[str, str]:
    """Texts that GDAL would open as a raster that lies elsewhere."""

    def vrt(source: str) -> str:
        return (
            '<VRTDataset rasterXSize="16" rasterYSize="16"><SRS>EPSG:32631</SRS><GeoTransform>560000,10,0,5765000,0,-10'
            '</GeoTransform><VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename>'
            f"{source}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
        )

    web = f"http://127.0.0.1:{reach.port}"
    pipeline = {"type": "gdal_streamed_alg", "command_line": f"gdal raster pipeline ! read {reach.secret_raster}"}
    return {
        "vrt": vrt(str(reach.secret_raster)),
        "vrt of an address": vrt(f"{web}/x.tif"),
        "vrt by curl": vrt(f"/vsicurl/{web}/x.tif"),
        "pipeline": json.dumps(pipeline),
        "service": f'<GDAL_WMS><Service name="TMS"><ServerUrl>{web}</ServerUrl></Service></GDAL_WMS>',
    }


def _feature() -> dict[str, object]:
    return {
        "type": "Feature",
        "properties": {"class": "wood"},
        "geometry": {"type": "Point", "coordinates": [3.9, 52.0]},
    }
