"""Looking at a project's embedding space: pixels of all its years, their UMAP kept on disk, what colours them.

Looking around in the embeddings of a region, without a screen: everything takes rasters and labels and gives arrays.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import atomic_path
from tessera_core._utils.int8 import BLOCK, CodeProduct
from tessera_core._utils.threads import run_beside, run_blocks
from tessera_core.analysis.pca import sample_valid
from tessera_core.analysis.projection import MAX_POINTS, LearntProjection, Umap, fit_umap, learn_projection
from tessera_core.analysis.umap_learn import UNLABELLED, align_years, fit_layout
from tessera_core.errors import Cancelled, RasterError
from tessera_core.labels.model import Label
from tessera_core.labels.sampling import label_pixels
from tessera_core.raster import EmbeddingRaster, valid_scales
from tessera_core.types import Bools, Cancel, Progress

FORMAT = 2
MAX_LABELLED = 5_000
# Layouts kept with a project: 2 or 3 axes, three numbers of pixels, four ways, and some of before.
MAX_KEPT = 24
Years = Mapping[int | None, EmbeddingRaster]

DISTANCES = (
    "Pixels that lie close together behaved alike through the year. In UMAP only near neighbours can be trusted: the gap "
    "between two clumps, their size and their density mean little. In PCA distances are true, but what the other components "
    "hold is not seen."
)


@dataclass(frozen=True)
class PixelSample:
    """Pixels with data of one or several years.

    Attributes:
        years: whose pixels these are.
        year: int16 (N,) position in ``years``.
        rows, cols: int64 (N,).
        values: float32 (N, D) their embeddings.
    """

    years: tuple[int | None, ...]
    year: NDArray[np.int16]
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    values: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)

    def picked(self, index: NDArray[np.integer]) -> PixelSample:
        """Those at ``index``, in that order."""
        return PixelSample(self.years, *(getattr(self, name)[index] for name in ("year", "rows", "cols", "values")))

    def among(self, others: PixelSample) -> Bools:
        """Which of these are among the others: the same pixel of the same year."""
        wide = int(max(self.cols.max(initial=0), others.cols.max(initial=0))) + 1
        tall = int(max(self.rows.max(initial=0), others.rows.max(initial=0))) + 1
        mine, theirs = ((one.year * tall + one.rows) * wide + one.cols for one in (self, others))
        return np.isin(mine, theirs)

    def joined(self, other: PixelSample) -> PixelSample:
        """Both, one after the other; of the same years."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in ("year", "rows", "cols", "values"))
        return PixelSample(self.years, *(np.concatenate(pair) for pair in pairs))


def draw_pixels(rasters: Years, count: int, seed: int = 0) -> PixelSample:
    """About ``count`` pixels with data, evenly over the years, chosen at random.

    Raises:
        RasterError: no pixel has data.
    """
    share = max(1, count // len(rasters))
    picked = [sample_valid(raster, share, seed) for raster in rasters.values()]
    sample = _sample(rasters, [(rows, cols) for rows, cols in picked])
    if not len(sample):
        raise RasterError("No pixel of this region has data, so there is nothing to show. Choose another area.")
    return sample


def draw_places(rasters: Years, count: int, seed: int = 0) -> PixelSample:
    """About ``count`` pixels: the same places in every year, year after year, chosen at random where all years have data.

    Raises:
        RasterError: there is one year only, or no place has data in all of them.
    """
    shapes = {raster.shape for raster in rasters.values()}
    if len(rasters) < 2 or len(shapes) != 1:
        raise RasterError("Years can be aligned where a region has two or more of them on one grid. Load another year.")
    everywhere = np.logical_and.reduce([raster.valid() for raster in rasters.values()])
    flat = np.flatnonzero(everywhere)
    if not len(flat):
        raise RasterError("No place has data in all years, so they cannot be aligned. Choose the full layout.")
    share = max(1, count // len(rasters))
    chosen = np.sort(np.random.default_rng(seed).permutation(flat)[:share])
    rows, cols = np.unravel_index(chosen, everywhere.shape)
    return _sample(rasters, [(rows, cols)] * len(rasters))


def labelled_pixels(rasters: Years, labels: Sequence[Label], seed: int = 0) -> tuple[PixelSample, NDArray[np.uint8]]:
    """The labelled pixels with data (at most :data:`MAX_LABELLED` of each year) and their class ids uint8 (N,)."""
    picked, classes = [], []
    rng = np.random.default_rng(seed)
    for raster in rasters.values():
        pixels = label_pixels(labels, raster.grid)
        usable = np.flatnonzero(raster.valid()[pixels.rows, pixels.cols])
        if len(usable) > MAX_LABELLED:
            usable = np.sort(rng.choice(usable, MAX_LABELLED, replace=False))
        picked.append((pixels.rows[usable], pixels.cols[usable]))
        classes.append(pixels.class_ids[usable])
    return _sample(rasters, picked), np.concatenate(classes).astype(np.uint8)


def _sample(rasters: Years, picked: Sequence[tuple[NDArray[np.integer], NDArray[np.integer]]]) -> PixelSample:
    pairs = list(zip(rasters.values(), picked, strict=True))
    return PixelSample(
        tuple(rasters),
        np.repeat(np.arange(len(pairs), dtype=np.int16), [len(rows) for rows, _ in picked]),
        np.concatenate([rows for rows, _ in picked]).astype(np.int64),
        np.concatenate([cols for _, cols in picked]).astype(np.int64),
        np.concatenate([raster.sample(rows, cols) for raster, (rows, cols) in pairs]),
    )


def clusters_of(
    raster: EmbeddingRaster, centres: NDArray[np.float32], cancelled: Cancel | None = None
) -> NDArray[np.uint8]:
    """The group of every pixel by the centres of another year's clustering: uint8 (H, W) 1..k, 0 without data.

    Args:
        centres: float32 (k, D) of ``analysis.clusters.Clusters``.

    Raises:
        Cancelled: the user stopped.
    """
    product = CodeProduct(centres.T)
    half = (centres.astype(np.float32) ** 2).sum(1) / 2
    codes = raster.codes.reshape(-1, raster.dim)
    names = np.arange(1, len(centres) + 1, dtype=np.uint8)
    scales = np.ascontiguousarray(raster.scales).reshape(-1)
    valid = valid_scales(scales)
    usable = np.where(valid, scales, np.float32(0))
    groups = np.empty(len(codes), np.uint8)

    def assign(part: slice) -> None:
        if cancelled is not None and cancelled():
            raise Cancelled
        # argmin |x - c|^2 = argmax x.c - |c|^2 / 2, with x = code * scale.
        product.largest(codes[part], usable[part], -half, groups[part], names=names)

    run_blocks(assign, len(codes), BLOCK)
    groups[~valid] = 0
    return groups.reshape(raster.shape)


# ------------------------------------------------------------------ UMAP on disk


class Way(StrEnum):
    """How pixels are laid out: by our quick loop, or by umap-learn from embeddings alone, labels too, or year by year."""

    QUICK = "quick"
    FULL = "full"
    GUIDED = "guided"
    ALIGNED = "aligned"


class Picture(NamedTuple):
    """A UMAP picture of a project.

    Attributes:
        sample: the pixels in it.
        umap: where they lie.
        learnt: what places all other pixels of the region.
        made_from: digest of the labels when it was made (:func:`labels_digest`).
    """

    sample: PixelSample
    umap: Umap
    learnt: LearntProjection
    made_from: str


def umap_path(folder: Path, content: Sequence[str], count: int, axes: int, way: Way = Way.QUICK, seed: int = 0) -> Path:
    """Where the UMAP of these embeddings is kept; another name when the embeddings, its size or its way differ.

    Args:
        folder: of the project.
        content: what names each year's embeddings and changes with them.
    """
    text = json.dumps([FORMAT, list(content), count, axes, way, seed])
    return folder / "explore" / f"umap-{hashlib.blake2b(text.encode(), digest_size=10).hexdigest()}.npz"


@dataclass(frozen=True)
class UmapPlan:
    """What a UMAP is to be.

    Attributes:
        count: pixels.
        axes: 2 or 3.
        way: how they are laid out.
        labels: what guides :attr:`Way.GUIDED`; with :attr:`Way.FULL` their pixels are placed by umap-learn's ``transform``.
        seed: of everything random.
    """

    count: int
    axes: int
    way: Way = Way.QUICK
    labels: Sequence[Label] = ()
    seed: int = 0


def make_umap(
    rasters: Years,
    plan: UmapPlan,
    path: Path,
    *,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Picture:
    """Draw pixels, lay them out, learn the picture for whole regions, and keep both at ``path``.

    Raises:
        RasterError: too few pixels, or none that has data in all years (:attr:`Way.ALIGNED`).
        Cancelled: the user stopped; nothing is kept.
    """

    def part(start: int, stop: int) -> Progress | None:
        if progress is None:
            return None
        return lambda done, of, message: progress(start + (stop - start) * done // max(of, 1), 100, message)

    def work() -> Picture:
        sample, umap = _laid_out(rasters, plan, part(0, 90), cancelled)
        learnt = learn_projection(umap, seed=plan.seed, progress=part(90, 100), cancelled=cancelled)
        return Picture(sample, umap, learnt, labels_digest(plan.labels))

    picture = run_beside(work)
    learnt, sample = picture.learnt, picture.sample
    kept = {"points": picture.umap.points, "r2": np.asarray(learnt.r2), "low": learnt.low, "high": learnt.high}
    kept |= {"year": sample.year, "rows": sample.rows, "cols": sample.cols, "made_from": np.array(picture.made_from)}
    for number, (weight, bias) in enumerate(learnt.layers):
        kept |= {f"w{number}": weight, f"b{number}": bias}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, allow_pickle=False, **kept)
    # Those of embeddings that have been replaced since would lie there for ever.
    for old in sorted(path.parent.glob("umap-*.npz"), key=lambda file: -file.stat().st_mtime)[MAX_KEPT:]:
        old.unlink(missing_ok=True)
    return picture


def labels_digest(labels: Sequence[Label]) -> str:
    """Names what the labels say of which pixels, whatever else is noted of them."""
    text = repr([(label.class_id, label.kind, label.xy, label.radius, label.holes) for label in labels])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _laid_out(
    rasters: Years, plan: UmapPlan, progress: Progress | None, cancelled: Cancel | None
) -> tuple[PixelSample, Umap]:
    count, axes, way, seed = plan.count, plan.axes, plan.way, plan.seed
    if way is Way.ALIGNED:
        sample = draw_places(rasters, count, seed)
        years = np.split(sample.values, len(rasters))
        points = np.concatenate(align_years(years, axes, seed=seed, progress=progress, cancelled=cancelled))
        return sample, Umap(sample.values, points)
    sample = draw_pixels(rasters, count, seed)
    if way is Way.QUICK:
        return sample, fit_umap(sample.values, axes, seed=seed, progress=progress, cancelled=cancelled)
    known, classes = labelled_pixels(rasters, plan.labels, seed)
    if way is Way.GUIDED:
        # The picture keeps its size: labelled pixels take the places of others.
        room = min(len(sample), max(0, MAX_POINTS - len(known)))
        chosen = np.sort(np.random.default_rng(seed).permutation(len(sample))[:room])
        sample = sample.picked(chosen)
        taught = np.concatenate([np.full(len(sample), UNLABELLED, np.int32), classes.astype(np.int32)])
        sample = sample.joined(known)
        layout = fit_layout(sample.values, axes, classes=taught, seed=seed, progress=progress, cancelled=cancelled)
        return sample, Umap(sample.values, layout.points)
    layout = fit_layout(sample.values, axes, also=known.values, seed=seed, progress=progress, cancelled=cancelled)
    sample = sample.joined(known)
    return sample, Umap(sample.values, np.concatenate([layout.points, layout.placed]))


def load_umap(path: Path, rasters: Years) -> Picture | None:
    """What :func:`make_umap` kept, or None where there is nothing (readable) or it is of other embeddings."""
    try:
        with np.load(path) as kept:
            arrays = {name: kept[name] for name in kept.files}
        layers = tuple((arrays[f"w{i}"], arrays[f"b{i}"]) for i in range(3))
        points, low, high, r2 = arrays["points"], arrays["low"], arrays["high"], float(arrays["r2"])
        year, rows, cols = (arrays[name] for name in ("year", "rows", "cols"))
        made_from = str(arrays["made_from"])
        # A project's file may come from anybody.
        picked = [(rows[year == position], cols[year == position]) for position in range(len(rasters))]
        for raster, (r, c) in zip(rasters.values(), picked, strict=True):
            if r.min(initial=0) < 0 or c.min(initial=0) < 0:
                return None
            if r.max(initial=0) >= raster.shape[0] or c.max(initial=0) >= raster.shape[1]:
                return None
        order = np.argsort(np.argsort(year, kind="stable"), kind="stable")
        sample = _sample(rasters, picked).picked(order)
    except (OSError, ValueError, KeyError, IndexError, TypeError, BadZipFile):
        return None
    if len(points) != len(sample) or points.ndim != 2:
        return None
    return Picture(sample, Umap(sample.values, points), LearntProjection(layers, r2, low, high), made_from)
