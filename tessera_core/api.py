"""The front door: what a notebook or a script does with embeddings, each in one call.

Everything here is thin: the same functions make the maps of the app and of the command line, so that the same labels give the
same map, byte for byte, whichever door they come through. ``import tessera_core as tessera`` offers these names; this module
is loaded with the first of them.

Conventions: pixels are ``(row, col)``; boxes are ``(west, south, east, north)`` in degrees; class maps are uint8 with 0 = no
data, confidence uint8 percent with 255 = no data; measured values are float32 with NaN = no data. What is left out or missing is
told as a warning (:mod:`warnings`); what cannot be done raises a :class:`~tessera_core.errors.TesseraError` whose message says
what is wrong and what to do. ``progress(done, total, message)`` is called often, and ``cancelled()`` asked often, where given.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from tessera_core.errors import HeadError, InputError
from tessera_core.grid import Grid
from tessera_core.raster import EmbeddingRaster
from tessera_core.region import Region, parse_bbox, read_region_report
from tessera_core.types import Cancel, Progress

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from tessera_core.assess import Reference
    from tessera_core.assess.live import LiveScore
    from tessera_core.assess.regression import RegressionSamples
    from tessera_core.heads import Head, HeadChoice, RegressionHead, SavedHead
    from tessera_core.project.demo import DemoRegion
    from tessera_core.project.maps import MappedChange, MappedClasses, MappedValues
    from tessera_core.project.regress import RegressionChoice, RegressionScore
    from tessera_core.sources.remote.coverage import Coverage

    type Where = Region | BaseGeometry | str | os.PathLike[str] | Sequence[float]
    type AnyHead = str | HeadChoice | Head
    type AnyRegression = str | RegressionChoice | RegressionHead

__all__ = [
    "change",
    "coverage",
    "demo",
    "evaluate",
    "fetch",
    "generate",
    "load_head",
    "make_head",
    "map_classes",
    "map_values",
    "open",
    "read_labels",
    "read_values",
    "write_map",
]

# The encoder that comes with the program.
WEIGHTS = "studio-nano"


# ------------------------------------------------------------------ embeddings


def open(
    path: str | os.PathLike[str],
    *,
    year: int | None = None,
    region: Where | None = None,
    dim: int | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> EmbeddingRaster:
    """Open embeddings: a file or folder in any layout we read, or a part of a store at an address.

    Files are memory-mapped. Known are our own folders, NPY tiles with scales, float NPY, GeoTIFF with a band per dimension and
    Zarr stores (:func:`tessera_core.sources.local.open.open_embeddings`); tiles of one dataset and year become one raster.

    Args:
        path: a path, or the URL of a store in the published layout.
        year: which, where there are several; needed for a URL.
        region: what part of a store at a URL, see :func:`fetch`.
        dim: only so many leading dimensions (a Matryoshka prefix); None for all.
        progress, cancelled: see the module.

    Returns:
        int8 codes (H, W, D), float32 scales (H, W), the grid and where they come from.

    Raises:
        RasterError: nothing readable is there, or there are several years and none is chosen.
        InputError: a URL without a region and a year, or a region with a path.
        MixedDatasetsError: the folder holds several datasets.
        AcquisitionError: the address does not answer.

    Example:
        >>> raster = tessera.open(region.embeddings[2024])
        >>> raster.shape, raster.dim
        ((96, 96), 128)
    """
    if "://" in str(path):
        if region is None or year is None:
            raise InputError(
                f"{path} holds embeddings of much of the Earth; say which part with region=(west, south, east, north) and year=."
            )
        return fetch(region, year, location=str(path), dim=dim, progress=progress, cancelled=cancelled)
    if region is not None:
        raise InputError("A region is for a store at an address; a file or folder is opened whole.")
    from tessera_core.sources.local.open import left_out, open_embeddings

    raster = open_embeddings(Path(path), year=year, progress=progress, cancelled=cancelled)
    for one in left_out(raster):
        warnings.warn(f"{one['what']} is left out: {one['why']}", stacklevel=2)
    return raster if dim is None else raster.prefix(dim)


def coverage(
    region: Where,
    *,
    dataset: str | Sequence[str] | None = None,
    location: str | None = None,
    years: int | Iterable[int] | None = None,
    dim: int | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> list[Coverage]:
    """What published embeddings there are of a region, and what fetching them costs; nothing is fetched.

    Args:
        region: where, see :func:`fetch`.
        dataset: names such as ``"1.1/dclimate"``, or ``"all"``; None for the default dataset.
        location: URL or path of any store in the published layout instead.
        years: which; None for all there are.
        dim: leading dimensions to reckon with; None for all.

    Returns:
        One for each dataset; its ``problem`` says where one cannot be reached.

    Raises:
        InputError: there is no such dataset, or the region is of no use.
        AcquisitionError: ``location`` does not answer.
    """
    from tessera_core.sources.remote.coverage import coverage as covered
    from tessera_core.sources.remote.coverage import survey
    from tessera_core.sources.remote.datasets import dataset_named, datasets
    from tessera_core.sources.remote.retry import ATTEMPTS, with_retries
    from tessera_core.sources.remote.zarr_store import open_store

    where = _region(region)
    wanted = [years] if isinstance(years, int) else years
    if location is not None:
        source = with_retries(lambda: open_store(location), location, ATTEMPTS, cancelled)
        return [covered(where, source, years=wanted, dim=dim, progress=progress, cancelled=cancelled)]
    known = datasets()
    names = [known[0].name] if dataset is None else [dataset] if isinstance(dataset, str) else list(dataset)
    chosen = known if names == ["all"] else [dataset_named(name) for name in names]
    return survey(where, chosen, years=wanted, dim=dim, progress=progress, cancelled=cancelled)


@overload
def fetch(
    region: Where,
    years: int,
    *,
    dataset: str | None = None,
    location: str | None = None,
    dim: int | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> EmbeddingRaster: ...
@overload
def fetch(
    region: Where,
    years: Iterable[int],
    *,
    dataset: str | None = None,
    location: str | None = None,
    dim: int | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> dict[int, EmbeddingRaster]: ...
def fetch(
    region: Where,
    years: int | Iterable[int],
    *,
    dataset: str | None = None,
    location: str | None = None,
    dim: int | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> EmbeddingRaster | dict[int, EmbeddingRaster]:
    """Fetch published embeddings of a region; what was fetched once stays in the cache and needs no network again.

    Args:
        region: a :class:`Region`, a box ``(west, south, east, north)`` in degrees, a shapely geometry in degrees, or a file of
            polygons.
        years: one year, or several.
        dataset: such as ``"1.1/dclimate"`` or ``"alphaearth"``; None for the default dataset.
        location: URL or path of any store in the published layout instead.
        dim: leading dimensions; None for all.
        progress, cancelled: see the module. What was fetched before a stop is kept.

    Returns:
        The raster of one year, or year -> raster of several. What cannot be had is without data in it and told as a warning;
        asking again tries it again.

    Raises:
        InputError: the region, a year or the dataset is wrong.
        AcquisitionError: nothing could be had at all.
    """
    from tessera_core.sources.remote import cog_archive
    from tessera_core.sources.remote.datasets import dataset_named, datasets
    from tessera_core.sources.remote.fetch import FetchOptions, fetch_years

    if dataset is not None and location is not None:
        raise InputError("Give either dataset or location; a store is one dataset.")
    where, opened = _region(region), None
    if dataset == cog_archive.NAME:
        place = cog_archive.ADDRESS

        def opened() -> Any:
            return cog_archive.open_archive(where, place)
    else:
        place = location or (dataset_named(dataset) if dataset else datasets()[0]).location
    failed: list[Any] = []
    wanted = [years] if isinstance(years, int) else list(years)
    options = FetchOptions(dim=dim)
    got = fetch_years(
        where, place, wanted, options, opened=opened, progress=progress, cancelled=cancelled, failed=failed
    )
    for told in [str(one.why) for one in failed] + [text for one in got for text in one.missing]:
        warnings.warn(told, stacklevel=2)
    for one in got:
        if one.absent:
            warnings.warn(f"The publisher has not, of {one.entry.year}: {', '.join(one.absent)}.", stacklevel=2)
    rasters = {int(one.entry.year): one.open() for one in got}
    return rasters[years] if isinstance(years, int) else rasters


def generate(
    tiles: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    weights: str | os.PathLike[str] = WEIGHTS,
    *,
    out: str | os.PathLike[str] | None = None,
    dim: int | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> EmbeddingRaster:
    """Turn time series (d-pixel tiles) of one year into embeddings.

    Args:
        tiles: a tile directory, a folder of them, or several.
        weights: name of an encoder such as ``"v2-medium"``, or a checkpoint file.
        out: folder for the embeddings; None for one of this program's own, named after tiles and weights.
        dim: leading dimensions to keep; None for all.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        progress, cancelled: see the module. Finished rows are kept, and the same call goes on with them.

    Returns:
        One raster of all tiles, memory-mapped.

    Raises:
        TileError: a folder is no tile or has no valid observation.
        CheckpointError: the weights are not usable.
        InputError: the tiles are of several years.

    Example:
        >>> tessera.generate(region.dpixels[2024], "studio-nano", dim=32).dim
        32
    """
    from tessera_core._utils.partial import Failure
    from tessera_core.dpixels.tile import DPixelTile, find_tiles
    from tessera_core.inference.tiles import GenerateOptions, generate_tiles
    from tessera_core.models.checkpoint import load_checkpoint
    from tessera_core.project.generate import TileSet, result_folder
    from tessera_core.sources.local.open import open_embeddings

    paths = [tiles] if isinstance(tiles, str | os.PathLike) else list(tiles)
    folders = [folder for path in paths for folder in find_tiles(Path(path))]
    opened = tuple(DPixelTile.open(folder) for folder in folders)
    known = sorted({str(tile.year or "no year") for tile in opened})
    if len(known) > 1:
        raise InputError(
            f"The tiles are of several years ({', '.join(known)}); embed the tiles of each year by itself."
        )
    loaded = load_checkpoint(Path(weights) if isinstance(weights, os.PathLike) else weights, progress=progress)
    where = TileSet(Path(paths[0]).resolve().name, tuple(folders), opened)
    place = result_folder(where, loaded, dim) if out is None else Path(out)
    failed: list[Failure] = []
    options = GenerateOptions(dim=dim, device=device)
    made = generate_tiles(folders, loaded, place, options, progress=progress, cancelled=cancelled, failed=failed)
    for one in failed:
        warnings.warn(f"{one.what} is left out: {one.why}", stacklevel=2)
    return open_embeddings(made[0].path if len(made) == 1 else place)


def demo(
    *,
    size: int = 320,
    years: Sequence[int] = (2023, 2024),
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> DemoRegion:
    """The demo region: a simulated landscape with time series, embeddings and ground truth; made once and kept.

    Args:
        size: pixels of 10 m along each side, even and at least 96.
        years: which.
        seed: another seed, another landscape.

    Returns:
        Paths by year: ``dpixels``, ``embeddings`` and ``truth``.

    Example:
        >>> sorted(tessera.demo(size=96, years=[2023, 2024]).truth)
        [2023, 2024]
    """
    from tessera_core.project.demo import ensure_demo

    return ensure_demo(size=size, years=years, seed=seed, progress=progress, cancelled=cancelled)


# ---------------------------------------------------------------------- labels


def read_labels(
    file: str | os.PathLike[str],
    like: EmbeddingRaster | Grid,
    *,
    field: str | None = None,
    crs: str | None = None,
    classes: Sequence[str] | None = None,
    layer: str | None = None,
) -> Reference:
    """Labels of a file on the pixels of a raster.

    Args:
        file: GeoJSON, GeoPackage, CSV, KML, zipped Shapefile, or a raster of classes (0 = unlabelled).
        like: the embeddings, or their grid.
        field: attribute that is the class; None to find it.
        crs: of the file, where it does not say it.
        classes: only these, by name or code.
        layer: of a file that has several.

    Returns:
        ``rows``, ``cols``, class ids ``y`` and ``groups`` (N,), the ``classes``, and in ``report`` what became of each feature.

    Raises:
        LabelError: the file cannot be read, or no label lies on the raster.

    Example:
        >>> labels = tessera.read_labels(region.truth[2024], like=raster)
        >>> labels.y.dtype.name, labels.classes[0].name
        ('uint8', 'Water')
    """
    from tessera_core.assess.reference import read_reference
    from tessera_core.labels.features import Hints

    reference = read_reference(Path(file), _grid(like), field, crs, Hints(layer=layer))
    return reference if classes is None else reference.only(list(classes))


def read_values(
    file: str | os.PathLike[str],
    like: EmbeddingRaster | Grid,
    *,
    field: str | None = None,
    crs: str | None = None,
    layer: str | None = None,
) -> RegressionSamples:
    """Measured values of a file (heights, biomass, ...) on the pixels of a raster, for :func:`map_values`.

    Args:
        file: as for :func:`read_labels`, or a raster of real numbers.
        like: the embeddings, or their grid.
        field: attribute that is the value; None to find it.
        crs, layer: as for :func:`read_labels`.

    Raises:
        LabelError: the file cannot be read, or holds no numbers.
    """
    from tessera_core.assess.regression import read_regression_samples
    from tessera_core.labels.features import Hints

    return read_regression_samples(Path(file), _grid(like), field, crs, Hints(layer=layer))


# ------------------------------------------------------------------------ maps


def make_head(name: str = "prototype", *, neighbourhood: int = 1, **params: Any) -> Head | RegressionHead:
    """An unfitted head (a scikit-learn estimator over embeddings).

    Args:
        name: for classes prototype, ridge, logistic, knn, forest, boosting, mlp, unet; for measured values ridge-regression,
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


def load_head(path: str | os.PathLike[str]) -> SavedHead:
    """A head saved earlier (``MappedClasses.save_head``), to be given to :func:`map_classes` or :func:`map_values`.

    Raises:
        HeadError: the file is missing, damaged, or no head.
    """
    from tessera_core import heads

    return heads.load_head(Path(path))


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
    from tessera_core.heads import RegressionHead, SavedHead
    from tessera_core.project import maps

    if isinstance(head, SavedHead):
        if labels is not None:
            raise InputError("A saved head learns nothing more; give either labels or a saved head.")
        if isinstance(head.head, RegressionHead):
            raise HeadError("The saved head maps measured values; give it to map_values.")
        made = maps.map_with(raster, head, seed=seed, progress=progress, cancelled=cancelled)
        assert isinstance(made, maps.MappedClasses)
        return made
    if labels is None:
        raise InputError("A map needs labels (read_labels) or a saved head (load_head).")
    return maps.map_classes(
        raster, labels, _choice(head), seed=seed, calibrated=calibrated, progress=progress, cancelled=cancelled
    )


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
    from tessera_core.heads import RegressionHead, SavedHead
    from tessera_core.project import maps

    if isinstance(head, SavedHead):
        if labels is not None:
            raise InputError("A saved head learns nothing more; give either labels or a saved head.")
        if not isinstance(head.head, RegressionHead):
            raise HeadError("The saved head maps classes; give it to map_classes.")
        made = maps.map_with(raster, head, seed=seed, progress=progress, cancelled=cancelled)
        assert isinstance(made, maps.MappedValues)
        return made
    if labels is None:
        raise InputError("A map needs values (read_values) or a saved head (load_head).")
    return maps.map_values(raster, labels, _regression_choice(head), seed=seed, progress=progress, cancelled=cancelled)


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
        InputError: what is asked for beside the map is none of its kind.
        ExportError: a file cannot be written.

    Example:
        >>> [path.name for path in tessera.write_map("map.tif", made, confidence="sure.tif")]
        ['map.tif', 'sure.tif']
    """
    from tessera_core.project import maps

    beside = {
        name: None if one is None else Path(one) for name, one in (("confidence", confidence), ("margin", margin))
    }
    return maps.write_map(Path(path), map, rate=rate, **beside)


# ----------------------------------------------------------------------- score


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
    from tessera_core.assess.regression import RegressionSamples
    from tessera_core.project.classify import score_samples
    from tessera_core.project.regress import score_regression

    if isinstance(labels, RegressionSamples):
        choice = _regression_choice("ridge-regression" if head is None else head)
        return score_regression(labels, raster, choice, seed=seed, cancelled=cancelled)
    samples = labels.with_embeddings(raster)
    return score_samples(samples, _choice("prototype" if head is None else head), seed=seed, cancelled=cancelled)


# --------------------------------------------------------------------- helpers


def _region(where: Where) -> Region:
    """A region from whatever names one; what its file lost is told."""
    from shapely.geometry.base import BaseGeometry

    if isinstance(where, Region):
        return where
    if isinstance(where, BaseGeometry):
        return Region.of_shape(where)
    if isinstance(where, str | os.PathLike):
        if isinstance(where, str) and where.count(",") == 3 and not Path(where).exists():
            return parse_bbox(where)
        region, report = read_region_report(Path(where))
        for reason, count in report.skipped.items():
            warnings.warn(f"{count} left out: {reason}.", stacklevel=3)
        return region
    try:
        return parse_bbox(",".join(repr(float(one)) for one in where))
    except (TypeError, ValueError) as error:
        raise InputError(
            "A region is (west, south, east, north) in degrees, a Region, a shapely geometry or a file of polygons."
        ) from error


def _grid(like: EmbeddingRaster | Grid) -> Grid:
    return like if isinstance(like, Grid) else like.grid


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
