"""GeoTIFFs, opened so that nothing in them can name another file, an address or another format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tessera_core._utils.percents import percent
from tessera_core.errors import RasterError, TesseraError
from tessera_core.gate.files import regular
from tessera_core.gate.limits import RASTER_GROWTH, amount, limits
from tessera_core.gate.tiff import TiffHead, read_tiff_head

# What GDAL may not do for a file on disk: look for files beside it, or speak to anybody. The proxy is one that curl refuses
# before it connects; GDAL has no switch for that.
NO_PROXY = "none://0.0.0.0:0"
LOCAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_HTTP_PROXY": NO_PROXY,
    "GDAL_HTTPS_PROXY": NO_PROXY,
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": "{none}",
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "GTIFF_VIRTUAL_MEM_IO": "NO",
}


def raster_errors(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """What rasterio raises where GDAL fails, and more: its own errors, and GDAL's bare, as where what it writes cannot grow."""
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import RasterioError

    return RasterioError, CPLE_BaseError, *more


@contextmanager
def open_raster(
    path: str | Path,
    *,
    error: type[TesseraError] = RasterError,
    whole: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Iterator[Any]:
    """The rasterio dataset of a GeoTIFF on disk, open for reading.

    Args:
        path: of the file; a name of GDAL's virtual file systems or an address is no file.
        error: class of what is raised.
        whole: all of it will be read; then what it declares must be in proportion to what it holds.
        options: further GDAL settings.

    Raises:
        error: (the given class) it is no GeoTIFF, not readable, refers to another file, or would take too much memory.
        rasterio.errors.RasterioError: pixels cannot be decoded.
    """
    import rasterio

    path = Path(path)
    place = regular(path, error)
    _check_size(path, read_tiff_head(place, error), whole, error)
    with rasterio.Env(**LOCAL_OPTIONS, **(options or {})):
        try:
            dataset = rasterio.open(place, driver="GTiff")
        except UnicodeEncodeError as cause:
            raise error(f"{path.name} has a name or a folder that is not UTF-8; rename it to open it.") from cause
        except raster_errors(ValueError) as cause:
            raise error(f"{path.name} cannot be read as a GeoTIFF: {first_line(cause)}.") from cause
        with dataset:
            if _refers_outwards(dataset):
                raise error(f"{path.name} refers to another file, which is not opened. Save it as a plain GeoTIFF.")
            yield dataset


@contextmanager
def open_remote_raster(address: str, options: Mapping[str, Any]) -> Iterator[Any]:
    """The rasterio dataset of a GeoTIFF or JPEG 2000 at an address of a catalogue or an archive, or on disk.

    Raises:
        rasterio.errors.RasterioError: it cannot be opened.
    """
    from urllib.parse import urlsplit

    import rasterio

    driver = "JP2OpenJPEG" if urlsplit(address).path.lower().endswith(".jp2") else "GTiff"
    with (
        rasterio.Env(GDAL_PAM_ENABLED="NO", **options),
        rasterio.open(address, driver=driver) as dataset,
    ):
        if _refers_outwards(dataset):
            raise rasterio.errors.RasterioIOError("the file refers to another one")
        yield dataset


def _refers_outwards(dataset: Any) -> bool:
    """Whether GDAL would open what the file names, of any format, as smaller copies of the picture."""
    return any(dataset.tags(ns=domain) for domain in ("OVERVIEWS", "xml:VRT"))


def _check_size(path: Path, head: TiffHead, whole: bool, error: type[TesseraError]) -> None:
    bounds = limits()
    if head.block_bytes > bounds.block_bytes:
        raise error(
            f"{path.name} has blocks of {amount(head.block_bytes)}, more than {amount(bounds.block_bytes)}. Save it with tiles "
            "of 256 or 512 pixels."
        )
    if not whole:
        return
    declared = (
        f"{path.name} declares {head.width} x {head.height} pixels of {head.bands} bands, {amount(head.decoded_bytes)}"
    )
    if head.decoded_bytes > bounds.raster_bytes:
        raise error(f"{declared}; here the most are {amount(bounds.raster_bytes)}. Cut out the part you need.")
    if head.decoded_bytes > bounds.free_bytes + RASTER_GROWTH * head.present_bytes:
        raise error(
            f"{declared}, but holds only {amount(head.present_bytes)}"
            + (f" ({percent(head.absent)} % of its blocks are absent)" if head.absent else "")
            + "; it is not opened. Cut out the part with data."
        )


def first_line(error: Exception) -> str:
    """What a library says, in one line."""
    lines = str(error).splitlines()
    return lines[0].strip().rstrip(".")[:160] if lines else type(error).__name__
