"""Maps of tiles put together into one Cloud Optimized GeoTIFF, block by block: however many there are, memory stays as it is."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tessera_core._utils.atomic import atomic_path, write_text
from tessera_core.errors import ExportError
from tessera_core.export.geotiff import first_line, named_classes, require_whole, sidecar
from tessera_core.export.style import write_style
from tessera_core.export.vrt import write_vrt
from tessera_core.gate import open_raster, raster_errors
from tessera_core.grid import Grid
from tessera_core.labels.model import LabelClass

MADE_OF = "tessera_made_of"
# Files that GDAL keeps open at a time; a folder may hold any number.
_OPEN = "64"
# Bytes of blocks that it keeps meanwhile; blocks of neighbouring tiles are read several times.
_CACHE = 16 << 20


def write_one_cog(path: str | Path, files: Sequence[tuple[Path, Grid]], overviews: str, made_of: str) -> Path:
    """Write single-band rasters of one coordinate system as one COG with overviews.

    What the first one says of itself (tags, colours, its QGIS style) is said of the whole, but for what only concerns that tile.
    Ground between the tiles takes no space.

    Args:
        path: the file, ``.tif``. One that was made of the same is left as it is.
        files: rasters with their grids, as :func:`~tessera_core.export.vrt.write_vrt` takes them.
        overviews: how they are resampled: ``"MODE"`` for classes, ``"AVERAGE"`` for numbers.
        made_of: what it depends on, in a few letters; becomes a tag, by which a file that is there is known to be this one.

    Raises:
        ExportError: the grids do not fit together, or the file cannot be written.
    """
    import rasterio
    import rasterio.shutil

    path = Path(path)
    if _tag(path) == made_of:
        return path
    with open_raster(files[0][0]) as one:
        tags = {key: text for key, text in one.tags().items() if key not in ("AREA_OR_POINT", "tessera_details")}
    try:
        with (
            atomic_path(path) as part,
            tempfile.TemporaryDirectory(dir=path.parent, prefix=".one-") as folder,
            rasterio.Env(GDAL_CACHEMAX=_CACHE, GDAL_MAX_DATASET_POOL_SIZE=_OPEN),
        ):
            whole = write_vrt(Path(folder) / "whole.vrt", files, tags=tags | {MADE_OF: made_of})
            rasterio.shutil.copy(
                whole,
                part,
                driver="COG",
                COMPRESS="DEFLATE",
                OVERVIEW_RESAMPLING=overviews,
                BIGTIFF="IF_SAFER",
                SPARSE_OK="YES",
                NUM_THREADS="ALL_CPUS",
            )
            require_whole(part)
    except raster_errors() as error:
        first = first_line(error)
        raise ExportError(f"{path.name} could not be written: {first}") from error
    style = files[0][0].with_suffix(".qml")
    if style.is_file():
        write_style(path, style.read_text(encoding="utf-8", errors="replace"))
    return path


def name_classes(path: Path, legend: Sequence[LabelClass], pixels: Mapping[int, int]) -> None:
    """Write GDAL's ``.aux.xml`` beside a map of classes: their names, colours and how many pixels each has.

    Args:
        path: of the map.
        legend: the classes.
        pixels: id -> pixels.
    """
    import numpy as np

    counts = np.zeros(256, np.int64)
    for class_id, count in pixels.items():
        counts[class_id] = count
    named = named_classes(np.flatnonzero(counts).astype(np.uint8)[None], legend)
    write_text(path.with_name(path.name + ".aux.xml"), sidecar(named, counts))


def _tag(path: Path) -> str | None:
    """Of which files a raster was put together; None where there is none.

    Raises:
        ExportError: another program's is there.
    """
    if not path.exists():
        return None
    with open_raster(path) as file:
        tags = file.tags()
    if MADE_OF not in tags:
        raise ExportError(f"{path} is there already and was not put together by this command; choose another folder.")
    return str(tags[MADE_OF])
