"""One asset onto one grid, over HTTP or from disk, retried with back-off.

Reads through GDAL's virtual warp, so only the blocks under the grid travel. A read either returns every pixel asked for or
raises: a broken file never turns into a wrong value.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tessera_core.dpixels.acquire.catalogue import earthdata_headers
from tessera_core.errors import AcquisitionError, Cancelled
from tessera_core.gate import open_remote_raster, raster_errors
from tessera_core.grid import Grid
from tessera_core.types import Cancel

log = logging.getLogger(__name__)

ATTEMPTS = 4
FIRST_WAIT_S = 0.5
_ADDRESS = re.compile(r"\S*(?:://|/vsi)\S*")


def gdal_options(timeout_s: float = 60.0) -> dict[str, str]:
    """GDAL settings for reading remote COGs: bounded waits, no directory listings, no remembered failures."""
    options = {
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        "GDAL_HTTP_TIMEOUT": f"{timeout_s:g}",
        "GDAL_HTTP_CONNECTTIMEOUT": f"{min(timeout_s, 15):g}",
        # A failed address must be asked again, not answered from GDAL's memory of the failure.
        "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/",
        "VSI_CACHE": "FALSE",
        "GDAL_HTTP_MAX_RETRY": "0",
        "GDAL_NUM_THREADS": "1",
    }
    if header := earthdata_headers():
        options["GDAL_HTTP_HEADERS"] = header
    return options


class AssetError(AcquisitionError):
    """An asset could not be read after all attempts."""


def read_asset(
    address: Callable[[], str],
    grid: Grid,
    resampling: Literal["nearest", "bilinear"],
    *,
    label: str,
    zero_is_nodata: bool,
    cancelled: Cancel | None = None,
    timeout_s: float = 60.0,
) -> tuple[NDArray[np.float32], dict[str, str]]:
    """The first band of a GeoTIFF on ``grid``: float32 (H, W), NaN where there is no data; and the file's tags.

    Args:
        address: gives the (freshly signed) address for each attempt; an URL or a path.
        grid: target grid with a CRS.
        resampling: how source pixels become grid pixels.
        label: what is read, for messages.
        zero_is_nodata: treat 0 as no data where the file declares none (Sentinel-2).
        cancelled: asked between attempts.
        timeout_s: per request.

    Raises:
        AssetError: all attempts failed.
        Cancelled: the user stopped.
    """
    whole = [(slice(0, grid.height), slice(0, grid.width))]
    parts, tags = read_parts(
        address,
        grid,
        whole,
        resampling,
        label=label,
        zero_is_nodata=zero_is_nodata,
        cancelled=cancelled,
        timeout_s=timeout_s,
    )
    return parts[0], tags


def read_parts(
    address: Callable[[], str],
    grid: Grid,
    parts: Sequence[tuple[slice, slice]],
    resampling: Literal["nearest", "bilinear"],
    *,
    label: str,
    zero_is_nodata: bool,
    cancelled: Cancel | None = None,
    timeout_s: float = 60.0,
) -> tuple[list[NDArray[np.float32]], dict[str, str]]:
    """Parts of ``grid`` of the first band of a GeoTIFF, as :func:`read_asset` has the whole; only the blocks under them travel.

    Args:
        parts: rows and columns of ``grid`` of each, with both ends given.

    Raises:
        AssetError, Cancelled: as :func:`read_asset`.
    """
    from rasterio.enums import Resampling
    from rasterio.errors import RasterioIOError
    from rasterio.vrt import WarpedVRT

    wait = FIRST_WAIT_S
    for attempt in range(1, ATTEMPTS + 1):
        if cancelled is not None and cancelled():
            raise Cancelled
        try:
            with open_remote_raster(address(), gdal_options(timeout_s)) as source:
                # Asked of the file, and not by its warning: what is done with warnings is one for all threads.
                if source.transform.is_identity and not source.gcps[0] and source.rpcs is None:
                    raise RasterioIOError("it has no geotransform, ground control points or RPCs")
                nodata = source.nodata if source.nodata is not None else (0 if zero_is_nodata else np.nan)
                with WarpedVRT(
                    source,
                    crs=grid.crs,
                    transform=grid.transform,
                    height=grid.height,
                    width=grid.width,
                    resampling=Resampling[resampling],
                    src_nodata=nodata,
                    nodata=np.nan,
                    dtype="float32",
                ) as warped:
                    read = [
                        warped.read(1, window=((rows.start, rows.stop), (cols.start, cols.stop)))
                        for rows, cols in parts
                    ]
                    return read, dict(source.tags())
        except raster_errors(OSError) as error:
            log.info("%s, attempt %d of %d: %s", label, attempt, ATTEMPTS, error)
            if attempt == ATTEMPTS:
                raise AssetError(f"{label} could not be read: {cause_of(error)}") from error
            time.sleep(wait)
            wait *= 2
    raise AssertionError("unreachable")


def cause_of(error: BaseException) -> str:
    """The root cause in a few words, without the address, which may carry a token."""
    # Of the address nothing counts: a port or a file's name may hold the number of a refusal.
    text = _ADDRESS.sub("", str(error.__cause__ or error))
    for words, meaning in (
        (r"\b404\b", "the server has no such file"),
        (r"\b403\b", "the server refuses access"),
        (r"\b401\b", "the server wants a login"),
        (r"\b50\d\b", "the server fails"),
        ("[Tt]imed out", "the server does not answer in time"),
        ("[Tt]imeout", "the server does not answer in time"),
        ("[Cc]onnect", "no connection to the server"),
        ("ReadEncoded", "the file is cut short or damaged"),
        ("IReadBlock", "the file is cut short or damaged"),
        ("not recognized", "it is not a GeoTIFF"),
        ("georeference", "it has no georeference"),
    ):
        if re.search(words, text):
            return meaning
    return "the file is damaged or the connection broke"
