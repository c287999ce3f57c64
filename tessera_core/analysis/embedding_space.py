"""Looking at a project's embedding space: pixels of all its years, their UMAP kept on disk, what colours them.

The work behind the page Explore, without a page: everything takes rasters and labels and gives arrays.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from tessera_core._utils.atomic import atomic_path
from tessera_core._utils.int8 import BLOCK, CodeProduct
from tessera_core._utils.threads import run_beside, run_blocks
from tessera_core.analysis.pca import sample_valid
from tessera_core.analysis.projection import LearntProjection, Umap, fit_umap, learn_projection
from tessera_core.errors import Cancelled, RasterError
from tessera_core.labels.model import Label
from tessera_core.labels.sampling import label_pixels
from tessera_core.raster import EmbeddingRaster, valid_scales
from tessera_core.types import Cancel, Progress

FORMAT = 1
MAX_LABELLED = 5_000
# Layouts kept with a project: 2 or 3 axes, three numbers of pixels, and some of before.
MAX_KEPT = 12
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


def groups_of(
    raster: EmbeddingRaster, centres: NDArray[np.float32], cancelled: Cancel | None = None
) -> NDArray[np.uint8]:
    """The group of every pixel by the centres of another year's clustering: uint8 (H, W) 1..k, 0 without data.

    Args:
        centres: float32 (k, D) of ``analysis.clusters.Clusters``.

    Raises:
        Cancelled: the user stopped.
    """
    product = CodeProduct(centres.T)
    half = torch.from_numpy((centres.astype(np.float32) ** 2).sum(1, keepdims=True) / 2)
    codes = torch.from_numpy(raster.codes.reshape(-1, raster.dim))
    scales = np.ascontiguousarray(raster.scales).reshape(-1)
    valid = valid_scales(scales)
    usable = torch.from_numpy(np.where(valid, scales, np.float32(0)))
    groups = np.empty(len(codes), np.uint8)

    def assign(part: slice) -> None:
        if cancelled is not None and cancelled():
            raise Cancelled
        # argmin |x - c|^2 = argmax x.c - |c|^2 / 2, with x = code * scale.
        groups[part] = torch.addcmul(-half, product(codes[part]), usable[part]).argmax(0).numpy() + 1

    run_blocks(assign, len(codes), BLOCK)
    groups[~valid] = 0
    return groups.reshape(raster.shape)


# ------------------------------------------------------------------ UMAP on disk


def umap_path(folder: Path, content: Sequence[str], count: int, axes: int, seed: int = 0) -> Path:
    """Where the UMAP of these embeddings is kept; another name when anything it depends on differs.

    Args:
        folder: of the project.
        content: what names each year's embeddings and changes with them.
    """
    text = json.dumps([FORMAT, list(content), count, axes, seed])
    return folder / "explore" / f"umap-{hashlib.blake2b(text.encode(), digest_size=10).hexdigest()}.npz"


def make_umap(
    rasters: Years,
    count: int,
    axes: int,
    path: Path,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> tuple[PixelSample, Umap, LearntProjection]:
    """Draw pixels, lay them out, learn the picture for whole regions, and keep both at ``path``.

    Raises:
        RasterError: too few pixels.
        Cancelled: the user stopped; nothing is kept.
    """

    def part(start: int, stop: int) -> Progress | None:
        if progress is None:
            return None
        return lambda done, of, message: progress(start + (stop - start) * done // max(of, 1), 100, message)

    sample = draw_pixels(rasters, count, seed)

    def work() -> tuple[Umap, LearntProjection]:
        umap = fit_umap(sample.values, axes, seed=seed, progress=part(0, 90), cancelled=cancelled)
        return umap, learn_projection(umap, seed=seed, progress=part(90, 100), cancelled=cancelled)

    umap, learnt = run_beside(work)
    kept = {"points": umap.points, "r2": np.asarray(learnt.r2), "low": learnt.low, "high": learnt.high}
    for number, (weight, bias) in enumerate(learnt.layers):
        kept |= {f"w{number}": weight, f"b{number}": bias}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, allow_pickle=False, **kept)
    # Those of embeddings that have been replaced since would lie there for ever.
    for old in sorted(path.parent.glob("umap-*.npz"), key=lambda file: -file.stat().st_mtime)[MAX_KEPT:]:
        old.unlink(missing_ok=True)
    return sample, umap, learnt


def load_umap(
    path: Path, rasters: Years, count: int, seed: int = 0
) -> tuple[PixelSample, Umap, LearntProjection] | None:
    """What :func:`make_umap` kept, or None where there is nothing (readable); the pixels are drawn again by the seed."""
    try:
        with np.load(path) as kept:
            arrays = {name: kept[name] for name in kept.files}
        layers = tuple((arrays[f"w{i}"], arrays[f"b{i}"]) for i in range(3))
        points, low, high, r2 = arrays["points"], arrays["low"], arrays["high"], float(arrays["r2"])
    except (OSError, ValueError, KeyError, BadZipFile):
        return None
    sample = draw_pixels(rasters, count, seed)
    if len(points) != len(sample):
        return None
    return sample, Umap(sample.values, points), LearntProjection(layers, r2, low, high)
