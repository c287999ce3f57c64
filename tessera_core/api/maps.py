"""Maps of the front door: heads, what they make of embeddings and labels, what changed, and how good it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from tessera_core.api.arguments import checked
from tessera_core.errors import HeadError, InputError
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Cancel, Progress

if TYPE_CHECKING:
    from tessera_core.assess.live import LiveScore
    from tessera_core.assess.reference import Reference
    from tessera_core.assess.regression import RegressionSamples
    from tessera_core.heads import Head, HeadChoice, RegressionHead, SavedHead
    from tessera_core.project.map_folders import MapFolder
    from tessera_core.project.maps import MappedChange, MappedClasses, MappedValues
    from tessera_core.project.regress import RegressionChoice, RegressionScore

    type AnyHead = str | HeadChoice | Head
    type AnyRegression = str | RegressionChoice | RegressionHead


@checked
def make_head(name: str = "prototype", *, neighbourhood: int = 1, **params: Any) -> Head | RegressionHead:
    """An unfitted head (a scikit-learn estimator over embeddings).

    Args:
        name: for classes prototype, auto, ridge, logistic, knn, forest, boosting, mlp, unet; for measured values ridge-regression,
            forest-regression, mlp-regression.
        neighbourhood: edge of the square around a pixel that it looks at: 1, 3 or 5.
        params: of the head.

    Raises:
        HeadError: there is no such head or parameter.

    Example:
        >>> tessera.make_head("forest", seed=3).get_params()["seed"]
        3
    """
    from tessera_core import heads

    if name in heads.REGRESSION_HEADS:
        return heads.make_regression_head(name, neighbourhood=neighbourhood, **params)
    return heads.make_head(name, neighbourhood=neighbourhood, **params)


@checked
def load_head(path: str | os.PathLike[str]) -> SavedHead:
    """A head saved earlier (``MappedClasses.save_head``), to be given to :func:`map_classes` or :func:`map_values`.

    Args:
        path: of the file, or the name of a kept one (:func:`keep_head`).

    Raises:
        HeadError: the file is missing, damaged, or no head.
        InputError: no head is kept under that name.
    """
    from tessera_core import heads
    from tessera_core.project.saved_heads import head_at

    return heads.load_head(head_at(os.fspath(path)))


@checked
def map_classes(
    raster: EmbeddingRaster,
    labels: Reference | None = None,
    head: AnyHead | SavedHead = "prototype",
    *,
    seed: int = 0,
    calibrated: bool = True,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> MappedClasses:
    """Train a head on labels and map the raster with it: the map of the app, byte for byte.

    Args:
        raster: embeddings int8 (H, W, D), of any size; read a block at a time.
        labels: of :func:`read_labels`; None with a saved head.
        head: a name, a choice with options, an unfitted head (copied), or a saved head, which is not trained.
        seed: of everything random; above 20,000 labelled pixels also of the draw that teaches.
        calibrated: whether confidence is checked on places held out, and mended (temperature scaling).
        progress, cancelled: see the module.

    Returns:
        ``classes`` and ``confidence``, uint8 (H, W); ``legend``, ``areas()``, ``score``, ``explore()``, ``save_head()``.

    Raises:
        HeadError: fewer than two classes have labels with data, or there is no such head.
        MixedDatasetsError: a saved head was trained on another dataset.

    Example:
        >>> made = tessera.map_classes(raster, labels, head="ridge", calibrated=False)
        >>> made.classes.shape, made.classes.dtype.name
        ((96, 96), 'uint8')
    """
    from tessera_core.heads import SavedHead
    from tessera_core.project import maps

    if isinstance(head, SavedHead):
        if labels is not None:
            raise InputError("A saved head learns nothing more; give either labels or a saved head.")
        return maps.map_classes_with(raster, head, seed=seed, progress=progress, cancelled=cancelled)
    if labels is None:
        raise InputError("A map needs labels (read_labels) or a saved head (load_head).")
    return maps.map_classes(
        raster, labels, _choice(head), seed=seed, calibrated=calibrated, progress=progress, cancelled=cancelled
    )


@checked
def map_values(
    raster: EmbeddingRaster,
    labels: RegressionSamples | None = None,
    head: AnyRegression | SavedHead = "ridge-regression",
    *,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> MappedValues:
    """Train a regression head on measured values and map the raster with it; see :func:`map_classes`.

    Args:
        raster: embeddings int8 (H, W, D), of any size.
        labels: of :func:`read_values`; None with a saved head.
        head: a name, a choice, an unfitted regression head (copied), or a saved one.

    Returns:
        ``values`` and ``half_widths`` (half-widths of 90 % prediction intervals), float32 (H, W) in the unit of the labels.

    Raises:
        HeadError: fewer than three pixels have data, or all values are the same.
    """
    from tessera_core.heads import SavedHead
    from tessera_core.project import maps

    if isinstance(head, SavedHead):
        if labels is not None:
            raise InputError("A saved head learns nothing more; give either labels or a saved head.")
        return maps.map_values_with(raster, head, progress=progress, cancelled=cancelled)
    if labels is None:
        raise InputError("A map needs values (read_values) or a saved head (load_head).")
    return maps.map_values(raster, labels, _regression_choice(head), seed=seed, progress=progress, cancelled=cancelled)


@checked
def change(
    first: EmbeddingRaster,
    second: EmbeddingRaster,
    *,
    stable: Reference | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> MappedChange:
    """What changed between two years; the shift of the whole scene (weather, sensors) is not counted.

    Args:
        first, second: embeddings of one dataset on one grid, the earlier year first.
        stable: places known not to have changed (of :func:`read_labels`); None to find unchanged ground in the scene itself.
        seed: of everything random.

    Returns:
        ``changed(rate)``, bool (H, W) at a false-discovery rate; p-values and more in ``layer``.

    Raises:
        RasterError: the grids differ, or too few pixels have data in both years.
        MixedDatasetsError: the two are of different datasets.

    Example:
        >>> tessera.change(tessera.open(region.embeddings[2023]), raster).changed(0.05).dtype.name
        'bool'
    """
    import numpy as np

    from tessera_core.analysis.change import detect_change
    from tessera_core.project.maps import MappedChange

    mask = None
    if stable is not None:
        mask = np.zeros(first.shape, bool)
        mask[stable.rows, stable.cols] = True
    layer = detect_change(first, second, stable=mask, seed=seed, progress=progress, cancelled=cancelled)
    return MappedChange(layer, first, second)


@checked
def open_maps(folder: str | os.PathLike[str]) -> MapFolder:
    """A folder of maps that ``tessera map --tiles`` or ``tessera change --tiles`` made, as one; no pixel is read.

    Args:
        folder: that holds ``NAME.tif`` and ``NAME.json`` of each tile.

    Returns:
        ``tiles``, ``legend``, ``areas()`` over all tiles as the app and ``tessera info`` say them, ``at(lon, lat)``, and in
        ``failed`` tiles that cannot be read.

    Raises:
        InputError: there are no such maps.

    Example:
        >>> maps = tessera.open_maps(tiles)
        >>> maps.areas()[1].hectares == made.areas()[1].hectares
        True
    """
    from tessera_core.project import map_folders

    return map_folders.open_maps(os.fspath(folder))


@checked
def write_map(
    path: str | os.PathLike[str],
    map: MappedClasses | MappedValues | MappedChange,
    *,
    confidence: str | os.PathLike[str] | None = None,
    margin: str | os.PathLike[str] | None = None,
    rate: float | None = None,
) -> list[Path]:
    """Write a map as Cloud Optimized GeoTIFF, with names and colours for QGIS beside it.

    Args:
        path: of the map.
        map: of :func:`map_classes`, :func:`map_values` or :func:`change`.
        confidence: for classes, also write confidence in percent here.
        margin: for values, also write how far off nine of ten may be here.
        rate: for change, the share of false alarms to accept (0.05); p-values are written beside it.

    Returns:
        The files written, the map first.

    Raises:
        InputError: what is asked for beside the map is none of its kind, or a file is to end in something else than .tif.
        ExportError: a file cannot be written.

    Example:
        >>> [path.name for path in tessera.write_map("map.tif", made, confidence="sure.tif")]
        ['map.tif', 'sure.tif']
    """
    from tessera_core.project import maps

    for one in (path, confidence, margin):
        if one is not None and Path(one).suffix.lower() not in ("", ".tif", ".tiff"):
            raise InputError(f"{Path(one).name} should end in .tif: a map is written as GeoTIFF.")
    beside = {
        name: None if one is None else Path(one) for name, one in (("confidence", confidence), ("margin", margin))
    }
    return maps.write_map(Path(path), map, rate=rate, **beside)


@overload
def evaluate(
    raster: EmbeddingRaster,
    labels: Reference,
    head: AnyHead = "prototype",
    *,
    seed: int = 0,
    cancelled: Cancel | None = None,
) -> LiveScore: ...
@overload
def evaluate(
    raster: EmbeddingRaster,
    labels: RegressionSamples,
    head: AnyRegression = "ridge-regression",
    *,
    seed: int = 0,
    cancelled: Cancel | None = None,
) -> RegressionScore: ...
@checked
def evaluate(
    raster: EmbeddingRaster,
    labels: Reference | RegressionSamples,
    head: Any = None,
    *,
    seed: int = 0,
    cancelled: Cancel | None = None,
) -> LiveScore | RegressionScore:
    """How good a map is at places it has not seen (spatial cross-validation): the score that the app shows.

    Args:
        raster: the embeddings.
        labels: of :func:`read_labels`, or of :func:`read_values`.
        head: as for :func:`map_classes`, or :func:`map_values`.
        seed: of everything random.

    Returns:
        For classes ``accuracy`` with its 95 % ``interval``, each label counting once, None where labels do not suffice; for
        values R2, RMSE and more in ``result``. Both explain themselves in sentences.

    Raises:
        LabelError: not one label lies where there are data.
        HeadError: there is no such head.

    Example:
        >>> score = tessera.evaluate(raster, labels)
        >>> 0.5 < score.accuracy <= 1
        True
    """
    from tessera_core.assess.evaluate import CrossValidation
    from tessera_core.assess.regression import RegressionSamples
    from tessera_core.project.classify import score_samples
    from tessera_core.project.regress import score_regression

    if isinstance(labels, RegressionSamples):
        choice = _regression_choice("ridge-regression" if head is None else head)
        return score_regression(labels, raster, choice, cv=CrossValidation(seed=seed), cancelled=cancelled)
    samples = labels.with_embeddings(raster)
    return score_samples(samples, _choice("prototype" if head is None else head), seed=seed, cancelled=cancelled)


def _choice(head: Any) -> HeadChoice:
    """What makes the head that was named or given."""
    from tessera_core.heads import Head, HeadChoice
    from tessera_core.project.maps import GivenHead

    if isinstance(head, str):
        return HeadChoice(head)
    if isinstance(head, Head):
        return GivenHead(head=head)
    if isinstance(head, HeadChoice):
        return head
    raise HeadError(
        "A head of classes is a name such as 'prototype', a HeadChoice, what make_head gives, or what load_head gives; "
        f"this is {type(head).__name__}."
    )


def _regression_choice(head: Any) -> RegressionChoice:
    """What makes the regression head that was named or given."""
    from tessera_core.heads import RegressionHead
    from tessera_core.project.maps import GivenRegressionHead
    from tessera_core.project.regress import RegressionChoice

    if isinstance(head, str):
        return RegressionChoice(head)
    if isinstance(head, RegressionHead):
        return GivenRegressionHead(head=head)
    if isinstance(head, RegressionChoice):
        return head
    raise HeadError(
        "A head of measured values is a name such as 'ridge-regression', a choice, what make_head gives, or what load_head "
        f"gives; this is {type(head).__name__}."
    )
