"""A change layer as files for a GIS: what changed at a false-discovery rate, and the p-value of every pixel, styled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_core.analysis.change import ChangeLayer
from tessera_core.export.geotiff import Band, ValueStyle, sidecars, write_class_map, write_values
from tessera_core.grid import Grid
from tessera_core.labels.model import LabelClass
from tessera_core.provenance import Provenance
from tessera_core.render.colormap import hexes

CLASSES = (LabelClass(1, "unchanged", "#d9d9d9"), LabelClass(2, "changed", "#d62728"))
# Small p-values are what is looked for, so their colours part at the usual levels.
_P_LEVELS = (0.0, 0.001, 0.01, 0.05, 0.1, 0.5, 1.0)
P_STOPS = tuple(zip(_P_LEVELS, reversed(hexes("uncertainty", len(_P_LEVELS))), strict=True))


def write_change(
    path: str | Path,
    layer: ChangeLayer,
    rate: float,
    grid: Grid,
    provenance: Provenance,
    *,
    classes: NDArray[np.uint8] | None = None,
) -> list[Path]:
    """Write ``NAME.tif`` (1 unchanged, 2 changed, 0 no data) and ``NAME_p.tif`` (p-values, float32), both COG.

    Args:
        path: of the map; the p-values lie beside it.
        layer: of two years.
        rate: false-discovery rate of the map.
        grid: of both years.
        provenance: of the later year.
        classes: the layer's at that rate, where they are known already.

    Returns:
        The files, the map first; GDAL's sidecar and the QGIS styles last.

    Raises:
        ExportError: a file cannot be written.
    """
    tags = {
        "tessera_years": "-".join(str(year) for year in layer.years),
        "tessera_false_discovery_rate": f"{rate:g}",
        "tessera_null": layer.null.source,
    }
    # What was made here is not held while the p-values are written.
    written = write_class_map(
        path, layer.classes(rate) if classes is None else classes, None, grid, CLASSES, provenance, tags=tags
    )
    p_file = written.with_name(f"{written.stem}_p.tif")
    values = write_values(
        p_file, layer.p_by_rows(), grid, provenance, Band("p-value of no change"), ValueStyle(stops=P_STOPS)
    )
    return [written, values, *(side for file in (written, values) for side in sidecars(file))]
