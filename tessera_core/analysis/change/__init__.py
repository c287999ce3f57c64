"""What changed between two years, pixel by pixel, judged against what unchanged ground does.

Unchanged ground differs between years, too: weather moves the whole scene, clouds leave other dates, images lie some metres
beside each other, and a pixel beside changed ground shows a part of it. So each pixel's difference is measured after the shift
of the whole scene is taken out (:mod:`.scene`, :mod:`.measure`) and judged against what unchanged ground of its kind does, which
is read off the scene itself (:mod:`.judge`, :mod:`.borders`; docs/change.md). That gives p-values and false-discovery rates.

Everything after the one pass over both rasters is a look-up: a :class:`ChangeLayer` holds 16 bits a pixel, and a threshold, a
p-value or another null are tables over its 65,536 levels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tessera_core.analysis.change.borders import Borders
from tessera_core.analysis.change.judge import judge_differences
from tessera_core.analysis.change.layer import MIN_PIXELS, ChangeLayer, Null, SceneShift, false_discovery
from tessera_core.analysis.change.levels import LEVELS, NO_LEVEL, TOP_LEVEL, count_levels, log_ratio
from tessera_core.analysis.change.measure import measure_differences
from tessera_core.analysis.change.power import ChangePower, change_power
from tessera_core.analysis.change.scene import fit_scene
from tessera_core.errors import Hint, RasterError
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Cancel, Progress

__all__ = [
    "LEVELS",
    "MIN_PIXELS",
    "NO_LEVEL",
    "TOP_LEVEL",
    "Borders",
    "ChangeLayer",
    "ChangePower",
    "Null",
    "SceneShift",
    "change_power",
    "detect_change",
    "false_discovery",
    "log_ratio",
    "require_one_grid",
]


def detect_change(
    first: EmbeddingRaster,
    second: EmbeddingRaster,
    *,
    stable: NDArray[np.bool_] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> ChangeLayer:
    """Change of every pixel between two rasters of one dataset on one grid.

    Both are read once, a block at a time; memory holds six bytes a pixel beside the blocks, and two in the end.

    Args:
        first, second: the earlier and the later year.
        stable: bool (H, W) of places known not to have changed; None estimates the null from the scene.
        seed: for the sample that the model of the scene is fitted on.
        progress, cancelled: see docs/architecture.md; units are pixels.

    Raises:
        RasterError: the rasters lie on different grids, or too few pixels have data in both.
        MixedDatasetsError: they are of different datasets.
        Cancelled: ``cancelled`` said so.
    """
    first.provenance.require_same_dataset(second.provenance, "a comparison of years")
    require_one_grid(first, second)
    scene = fit_scene(first, second, stable, seed)
    measured = measure_differences(first, second, scene, progress, cancelled)
    found = judge_differences(measured, len(scene.centres))
    histogram = count_levels(found.levels)
    found.levels.flags.writeable = False
    years = (first.provenance.year, second.provenance.year)
    layer = ChangeLayer(found.levels, histogram, found.null, scene.shift, years, found.raised, found.borders)
    return layer if stable is None else layer.with_stable(stable)


def require_one_grid(first: EmbeddingRaster, second: EmbeddingRaster) -> None:
    """Raise :class:`RasterError` unless two rasters have the same pixels."""
    if first.grid != second.grid:
        raise RasterError(
            f"The two years do not have the same pixels ({first.shape[0]} x {first.shape[1]} and {second.shape[0]} x "
            f"{second.shape[1]}); load both for the same region.",
            hint=Hint.REGION,
        )
