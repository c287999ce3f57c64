"""Embeddings of the front door: opened, looked for, fetched and generated."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from tessera_core.api.arguments import checked
from tessera_core.errors import InputError
from tessera_core.raster import EmbeddingRaster
from tessera_core.region import Region, parse_bbox, read_region_report
from tessera_core.types import Cancel, Progress

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from tessera_core.project.demo import DemoRegion
    from tessera_core.sources.remote.coverage import Coverage

    type Where = Region | BaseGeometry | str | os.PathLike[str] | Sequence[float]

# The encoder that comes with the program.
WEIGHTS = "studio-nano"


@checked
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
        warnings.warn(f"{one['what']} is left out: {one['why']}", stacklevel=3)
    return raster if dim is None else raster.prefix(dim)


@checked
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
    snapshot: str | None = None,
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
    snapshot: str | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> dict[int, EmbeddingRaster]: ...
@checked
def fetch(
    region: Where,
    years: int | Iterable[int],
    *,
    dataset: str | None = None,
    location: str | None = None,
    dim: int | None = None,
    snapshot: str | None = None,
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
        snapshot: one state of an Icechunk repository, as an earlier raster's provenance names it; None for the newest.
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
    from tessera_core.sources.remote.hemispheres import pinned

    if dataset is not None and location is not None:
        raise InputError("Give either dataset or location; a store is one dataset.")
    if snapshot and location is not None:
        location = pinned(location, snapshot)
    where, opened = _region(region), None
    if dataset == cog_archive.NAME:
        place = cog_archive.ADDRESS

        def opened() -> Any:
            return cog_archive.open_archive(where, place)
    else:
        place = location or (dataset_named(dataset) if dataset else datasets()[0]).at(snapshot or "")
    failed: list[Any] = []
    wanted = [years] if isinstance(years, int) else list(years)
    options = FetchOptions(dim=dim)
    got = fetch_years(
        where, place, wanted, options, opened=opened, progress=progress, cancelled=cancelled, failed=failed
    )
    for told in [str(one.why) for one in failed] + [text for one in got for text in one.missing]:
        warnings.warn(told, stacklevel=3)
    for one in got:
        if one.absent:
            warnings.warn(f"The publisher has not, of {one.entry.year}: {', '.join(one.absent)}.", stacklevel=3)
    rasters = {int(one.entry.year): one.open() for one in got}
    return rasters[years] if isinstance(years, int) else rasters


@checked
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
        MissingPartError: PyTorch is not installed.

    Example:
        >>> tessera.generate(region.dpixels[2024], "studio-nano", dim=32).dim
        32
    """
    from tessera_core._utils.torch_part import require_torch

    require_torch("Generating embeddings")
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
        warnings.warn(f"{one.what} is left out: {one.why}", stacklevel=3)
    return open_embeddings(made[0].path if len(made) == 1 else place)


@checked
def join(
    first: EmbeddingRaster,
    second: EmbeddingRaster | str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str],
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> EmbeddingRaster:
    """Two embeddings of one place as one, or embeddings beside the seasonal statistics of their time series.

    Both parts have the same total variance. Heads that are linear (class means, ridge, logistic) learn from the labels how much
    each part counts, and have it in ``block_weights_``.

    Args:
        first: its grid is kept.
        second: other embeddings, or d-pixel tiles of the same place and year: monthly medians, the yearly wave and radar means.
        out: new folder.
        seed: of the samples that spreads are measured on.
        progress, cancelled: see the module.

    Returns:
        The joined raster, memory-mapped.

    Raises:
        RasterError: they share no ground with data, or are embeddings and time series of two years.
        TileError: a folder is no tile, or the tiles do not go together.

    Example:
        >>> both = tessera.join(raster, region.dpixels[2024], out="both")
        >>> both.provenance.part_names
        ('Tessera Studio nano', 'seasonal statistics')
    """
    from tessera_core.analysis.season_raster import join_seasons
    from tessera_core.analysis.stacking import stack
    from tessera_core.dpixels.tile import DPixelTile, find_tiles

    if isinstance(second, EmbeddingRaster):
        return stack(first, second, Path(out), seed=seed, progress=progress, cancelled=cancelled).raster
    paths = [second] if isinstance(second, str | os.PathLike) else list(second)
    tiles = [DPixelTile.open(folder) for path in paths for folder in find_tiles(Path(path))]
    return join_seasons(first, tiles, Path(out), seed=seed, progress=progress, cancelled=cancelled).raster


@checked
def features(
    rasters: Sequence[str | os.PathLike[str]],
    like: EmbeddingRaster,
    *,
    slope: Sequence[str | os.PathLike[str]] = (),
    classes: Sequence[str | os.PathLike[str]] = (),
    follow: EmbeddingRaster | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> EmbeddingRaster:
    """Other rasters as features on the grid of embeddings: elevation, slope, canopy height, a drone's mosaic, a map of soils.

    A finer raster is averaged over each pixel, a coarser one interpolated, of classes the commonest counts. Numbers are
    standardised.

    Args:
        rasters: GeoTIFFs of numbers; all their bands are taken.
        like: the embeddings.
        slope: elevations in metres, of which the slope is taken.
        classes: GeoTIFFs of classes, each class a column of 0 and 1.
        follow: features made earlier, whose means and deviations are taken, so that their heads map these.
        progress, cancelled: see the module.

    Returns:
        A raster like embeddings, to be mapped alone or joined (:func:`join`); how each column was made stands in its provenance.

    Raises:
        InputError: a file does not meet the embeddings, is the same everywhere, or does not fit ``follow``.
        RasterError: a file cannot be read, or no pixel has data in all.

    Example:
        >>> soils = tessera.features([], raster, classes=[region.truth[2024]])
        >>> soils.dim, soils.provenance.details["layers"][0]["rule"]
        (3, 'as it is')
    """
    from tessera_core.sources.local.layers import LayerSource, read_layers

    named = (("number", rasters), ("slope", slope), ("classes", classes))
    sources = [LayerSource(Path(file), kind) for kind, files in named for file in files]
    earlier = None if follow is None else follow.provenance
    year = like.provenance.year
    return read_layers(sources, like.grid, year=year, like=earlier, progress=progress, cancelled=cancelled)


@checked
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
            warnings.warn(f"{count} left out: {reason}.", stacklevel=4)
        return region
    try:
        return parse_bbox(",".join(repr(float(one)) for one in where))
    except (TypeError, ValueError) as error:
        raise InputError(
            "A region is (west, south, east, north) in degrees, a Region, a shapely geometry or a file of polygons."
        ) from error
