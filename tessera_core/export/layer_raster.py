"""Rasters that another program shows while work goes on: written quickly, replaced by the next one, for nobody to keep.

What people keep is written by :mod:`tessera_core.export.geotiff`, with overviews, names and a style.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import atomic_path
from tessera_core.errors import ExportError
from tessera_core.gate import raster_errors
from tessera_core.grid import Grid
from tessera_core.labels.model import LabelClass
from tessera_core.render.palette import rgb


def write_class_layer(path: Path, classes: NDArray[np.uint8], grid: Grid, label_classes: Iterable[LabelClass]) -> Path:
    """A class map as a plain GeoTIFF with its colours inside.

    Args:
        path: of the file, whole or not there.
        classes: uint8 (H, W), 0 = no data.
        grid: of the map; one without a place on Earth is placed at x = column, y = -row, as its labels are.
        label_classes: whose colours it gets.

    Raises:
        ExportError: it cannot be written.
    """
    colours = {0: (0, 0, 0, 0)} | {c.id: (*rgb(c.color), 255) for c in label_classes}
    return _write(path, classes[None], grid, nodata=0, colours=colours)


def write_percent_layer(path: Path, percent: NDArray[np.uint8], grid: Grid) -> Path:
    """Percent uint8 (H, W), 255 = no data, as a plain GeoTIFF; see :func:`write_class_layer`."""
    return _write(path, percent[None], grid, nodata=255)


def write_picture_layer(path: Path, picture: NDArray[np.uint8], valid: NDArray[np.bool_], grid: Grid) -> Path:
    """A picture uint8 (H, W, 3), transparent where bool (H, W) says there is no data; see :func:`write_class_layer`."""
    bands = np.concatenate([np.moveaxis(picture, 2, 0), np.where(valid, 255, 0).astype(np.uint8)[None]])
    return _write(path, bands, grid, photometric="RGB", alpha="YES")


def _write(
    path: Path,
    bands: NDArray[np.uint8],
    grid: Grid,
    *,
    nodata: int | None = None,
    colours: Mapping[int, tuple[int, ...]] | None = None,
    **options: str,
) -> Path:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    count, height, width = bands.shape
    profile: dict[str, Any] = {"driver": "GTiff", "dtype": "uint8", "tiled": True, **options}
    profile |= {"count": count, "height": height, "width": width, "nodata": nodata}
    profile |= {"crs": grid.crs, "transform": grid.transform}
    try:
        with warnings.catch_warnings(), atomic_path(path) as part:
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(part, "w", **profile) as file:
                file.write(bands)
                if colours is not None:
                    file.write_colormap(1, dict(colours))
    except raster_errors() as error:
        raise ExportError(f"{path.name} could not be written: {str(error) or type(error).__name__}") from error
    return path
