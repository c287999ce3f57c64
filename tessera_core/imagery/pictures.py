"""A picture of one's own (GeoTIFF, COG) under the map: the part that lies on the region, as tiles of web maps in one GeoTIFF.

Read once, through the gate; from then on tiles come from the file that was made, which goes along with the project.
"""

from __future__ import annotations

import datetime as dt
import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import atomic_path
from tessera_core.errors import InputError
from tessera_core.gate import contained, open_raster, raster_errors
from tessera_core.types import BBox

TILE_PX = 256
MOST_PX = 16_384
"""Rows and columns of what is kept, at most; a finer picture of a larger region is kept coarser."""
_CIRCUMFERENCE = 2 * math.pi * 6_378_137.0
_STRETCH_SAMPLE = 512
# Tags in which GDAL, USGS, ESA and others write when a picture was taken; TIFF itself has only when the file was written.
_TAKEN = (
    "ACQUISITIONDATETIME", "ACQUISITION_DATETIME", "ACQUISITION_DATE", "DATE_ACQUIRED", "SENSING_TIME", "PRODUCT_START_TIME",
)  # fmt: skip


@contained
def keep_picture(path: Path, box: BBox, out: Path) -> dict[str, Any]:
    """Keep the part of a GeoTIFF that lies on a region.

    Args:
        path: of the picture, with one band, a palette, or red, green and blue first.
        box: ``(west, south, east, north)`` of the region in degrees.
        out: the file to write: RGBA in web mercator, on the tile grid of :func:`tile`'s zoom levels.

    Returns:
        ``zoom``, the closest level; ``metres``, how large a pixel of it is there; ``taken``, the day on which it was taken where
        its tags say so, and ``noted``, the day on which the file was written, each ``YYYY-MM-DD`` or empty.

    Raises:
        InputError: it is no picture with a place on Earth, or does not lie on the region.
        ExportError: ``out`` cannot be written.
    """
    import rasterio
    from rasterio.enums import ColorInterp, Resampling
    from rasterio.errors import CRSError
    from rasterio.vrt import WarpedVRT
    from rasterio.warp import transform_bounds

    with open_raster(path, error=InputError) as source:
        if source.crs is None or source.transform.is_identity:
            raise InputError(
                f"{path.name} does not say where on Earth it lies; save it as a GeoTIFF with its map projection."
            )
        try:
            wanted = transform_bounds("EPSG:4326", "EPSG:3857", *box)
            found = transform_bounds(source.crs, "EPSG:3857", *source.bounds)
        except raster_errors(CRSError) as error:
            raise InputError(f"The map projection of {path.name} is not known here.") from error
        common = (*np.maximum(wanted[:2], found[:2]), *np.minimum(wanted[2:], found[2:]))
        if not (np.isfinite(common).all() and common[0] < common[2] and common[1] < common[3]):
            raise InputError(f"{path.name} does not lie on the region of this project.")
        # Metres of the map of a pixel: those of the ground are fewer away from the equator.
        size = ((found[2] - found[0]) / source.width + (found[3] - found[1]) / source.height) / 2
        zoom, left, top, columns, rows = _frame(common, size)
        paint = _painter(source)
        palette = source.count == 1 and source.colorinterp[0] == ColorInterp.palette
        edge = _CIRCUMFERENCE / 2**zoom / TILE_PX
        transform = rasterio.Affine(edge, 0, left, 0, -edge, top)
        profile = {
            "driver": "GTiff", "width": columns, "height": rows, "count": 4, "dtype": "uint8", "crs": "EPSG:3857",
            "transform": transform, "tiled": True, "blockxsize": TILE_PX, "blockysize": TILE_PX, "compress": "WEBP",
            "WEBP_LEVEL": 85, "photometric": "RGB", "interleave": "pixel", "BIGTIFF": "IF_SAFER",
        }  # fmt: skip
        options = {"crs": "EPSG:3857", "transform": transform, "width": columns, "height": rows, "add_alpha": True}
        try:
            with (
                atomic_path(out) as part,
                WarpedVRT(
                    source, resampling=Resampling.nearest if palette else Resampling.average, **options
                ) as warped,
                rasterio.open(part, "w", **profile) as target,
            ):
                target.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
                for row in range(0, rows, TILE_PX):
                    window = rasterio.windows.Window(0, row, columns, TILE_PX)
                    target.write(paint(warped.read(window=window)), window=window)
                levels = [2**k for k in range(1, 9) if 2**k * TILE_PX < 2 * max(columns, rows)]
                if levels:
                    target.build_overviews(levels, Resampling.average)
        except raster_errors() as error:
            raise InputError(f"{path.name} cannot be read to the end: it is cut short or damaged.") from error
        tags = {name.upper(): value for name, value in (source.tags() | source.tags(ns="IMAGERY")).items()}
        noted = day_of(tags.get("TIFFTAG_DATETIME", ""))
        taken = next((day for name in _TAKEN if (day := day_of(tags.get(name, "")))), "")
    latitude = math.radians((box[1] + box[3]) / 2)
    return {"zoom": zoom, "metres": edge * math.cos(latitude), "noted": noted, "taken": taken}


def day_of(text: object) -> str:
    """The day ``YYYY-MM-DD`` of a date and time as TIFF (``2021:05:03 10:20:30``) or ISO 8601 write it; empty where it is none.

    >>> day_of("2021:05:03 10:20:30"), day_of("2021-05-03T10:20:30Z"), day_of("0000:00:00 00:00:00")
    ('2021-05-03', '2021-05-03', '')
    """
    match = re.match(r"\s*(\d{4})[:-](\d\d)[:-](\d\d)(?!\d)", str(text))
    if match is None:
        return ""
    try:
        return dt.date(*map(int, match.groups())).isoformat()
    except ValueError:
        return ""


def _frame(box: BBox, size: float) -> tuple[int, float, float, int, int]:
    """Zoom level, left and top edge, columns and rows of the whole tiles that cover a box in web mercator."""
    zoom = min(max(math.ceil(math.log2(_CIRCUMFERENCE / TILE_PX / size) - 0.25), 0), 22)
    half = _CIRCUMFERENCE / 2
    while True:
        side = _CIRCUMFERENCE / 2**zoom
        first, last = math.floor((box[0] + half) / side), math.ceil((box[2] + half) / side)
        upper, lower = math.floor((half - box[3]) / side), math.ceil((half - box[1]) / side)
        columns, rows = (last - first) * TILE_PX, (lower - upper) * TILE_PX
        if max(columns, rows) <= MOST_PX or zoom == 0:
            return zoom, first * side - half, half - upper * side, columns, rows
        zoom -= 1


def _painter(source: Any) -> Any:
    """What turns bands (B, h, w), alpha last, into uint8 (4, h, w): as they are, by the palette, or stretched."""
    from rasterio.enums import ColorInterp

    count = source.count
    if count == 1 and source.colorinterp[0] == ColorInterp.palette:
        table = np.zeros((256, 3), np.uint8)
        for value, colour in source.colormap(1).items():
            if 0 <= value < 256:
                table[value] = colour[:3]

        def by_palette(bands: NDArray[Any]) -> NDArray[np.uint8]:
            return np.concatenate([np.moveaxis(table[bands[0].astype(np.uint8)], -1, 0), _opaque(bands[-1:])])

        return by_palette
    shown = [0, 1, 2] if count >= 3 else [0, 0, 0]
    if source.dtypes[0] == "uint8":
        return lambda bands: np.concatenate([bands[shown].astype(np.uint8), _opaque(bands[-1:])])
    shape = (min(source.height, _STRETCH_SAMPLE), min(source.width, _STRETCH_SAMPLE))
    limits = []
    for band in sorted(set(shown)):
        values = source.read(band + 1, out_shape=shape, masked=True).astype(np.float64)
        seen = values.compressed()
        seen = seen[np.isfinite(seen)]
        limits.append(np.percentile(seen, (2, 98)) if seen.size else (0.0, 1.0))
    low, high = (np.array([limits[k if len(limits) > 1 else 0][side] for k in shown])[:, None, None] for side in (0, 1))

    def stretched(bands: NDArray[Any]) -> NDArray[np.uint8]:
        values = bands[shown].astype(np.float64)
        shades = 255 * np.clip((values - low) / np.maximum(high - low, 1e-12), 0, 1)
        return np.concatenate([np.nan_to_num(shades).round().astype(np.uint8), _opaque(bands[-1:])])

    return stretched


def _opaque(alpha: NDArray[Any]) -> NDArray[np.uint8]:
    return np.where(alpha > 0, np.uint8(255), np.uint8(0))


def tile(path: Path, zoom: int, column: int, row: int) -> bytes | None:
    """A tile of web maps (256 x 256, PNG) of a picture that :func:`keep_picture` wrote; None where it shows nothing.

    Raises:
        InputError: the file is no such picture.
    """
    from PIL import Image
    from rasterio.enums import Resampling
    from rasterio.windows import Window

    if not (0 <= zoom <= 24 and 0 <= column < 2**zoom and 0 <= row < 2**zoom):
        return None
    side, half = _CIRCUMFERENCE / 2**zoom, _CIRCUMFERENCE / 2
    with open_raster(path, error=InputError) as source:
        edge, left, top = source.transform.a, source.transform.c, source.transform.f
        if source.count != 4 or source.dtypes[0] != "uint8" or edge <= 0:
            raise InputError("The picture in the project is damaged; take it in again.")
        x0, y0 = (column * side - half - left) / edge, (top - (half - row * side)) / edge
        across = side / edge
        a, b = max(round(x0), 0), min(round(x0 + across), source.width)
        c, d = max(round(y0), 0), min(round(y0 + across), source.height)
        if a >= b or c >= d:
            return None
        scale = TILE_PX / across
        to = [round((v - o) * scale) for v, o in ((a, x0), (b, x0), (c, y0), (d, y0))]
        height, width = max(to[3] - to[2], 1), max(to[1] - to[0], 1)
        try:
            part = source.read(
                window=Window(a, c, b - a, d - c),
                out_shape=(4, min(height, TILE_PX), min(width, TILE_PX)),
                resampling=Resampling.average if across > TILE_PX else Resampling.nearest,
            )
        except raster_errors() as error:
            raise InputError("The picture in the project is damaged; take it in again.") from error
    if not part[3].any():
        return None
    pixels = np.zeros((TILE_PX, TILE_PX, 4), np.uint8)
    y, x = min(max(to[2], 0), TILE_PX - 1), min(max(to[0], 0), TILE_PX - 1)
    part = part[:, : TILE_PX - y, : TILE_PX - x]
    pixels[y : y + part.shape[1], x : x + part.shape[2]] = np.moveaxis(part, 0, -1)
    file = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(file, "PNG", compress_level=1)
    return file.getvalue()
