"""Seeded k-means over an embedding raster: groups of alike pixels, found without labels.

Lloyd's iterations start from k-means++ seeds (Arthur & Vassilvitskii 2007), run on a sample first and then over all pixels;
distances come from int8 codes, so no float copy of the raster is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tessera_core.analysis.pca import sample_valid
from tessera_core.codes import BLOCK, CodeProduct
from tessera_core.errors import Cancelled, RasterError
from tessera_core.raster import EmbeddingRaster, valid_scales

SAMPLE = 16_384
SAMPLE_ROUNDS = 40
RESTARTS = 3
TOLERANCE = 1e-4
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Clusters:
    """A clustering.

    Attributes:
        centres: float32 (k, D), by falling size.
        labels: uint8 (H, W): 1..k, 0 where there is no data.
        sizes: int64 (k,) pixels.
        inertia: sum of squared distances of all pixels to their centre.
    """

    centres: NDArray[np.float32]
    labels: NDArray[np.uint8]
    sizes: NDArray[np.int64]
    inertia: float


def kmeans(
    raster: EmbeddingRaster,
    k: int,
    *,
    seed: int = 0,
    rounds: int = 3,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Clusters:
    """Cluster all pixels with data into ``k`` groups.

    Args:
        rounds: Lloyd iterations over all pixels after the sample has converged.

    Raises:
        RasterError: fewer pixels than clusters, or k outside 2..254.
        Cancelled: the user stopped.
    """
    if not 2 <= k <= 254:
        raise RasterError(f"Choose between 2 and 254 groups, not {k}.")
    rows, cols = sample_valid(raster, SAMPLE, seed)
    if len(rows) < k:
        raise RasterError(f"There are only {len(rows)} pixels with data, too few for {k} groups.")
    centres = cluster_sample(torch.from_numpy(raster.sample(rows, cols)), k, seed)
    codes = torch.from_numpy(raster.codes.reshape(-1, raster.dim))
    scales = np.ascontiguousarray(raster.scales).reshape(-1)
    valid = valid_scales(scales)
    usable = torch.from_numpy(np.where(valid, scales, np.float32(0)))
    labels = torch.empty(len(codes), dtype=torch.uint8)
    inertia = 0.0
    for turn in range(rounds + 1):
        last = turn == rounds
        sums = torch.zeros(k, raster.dim)
        inertia, squares = 0.0, 0.0
        product = CodeProduct(centres.T.numpy())
        half = (centres**2).sum(1, keepdim=True) / 2
        for start in range(0, len(codes), BLOCK):
            if cancelled is not None and cancelled():
                raise Cancelled
            part = slice(start, start + BLOCK)
            # argmin |x - c|^2 = argmax x.c - |c|^2 / 2, with x = code * scale.
            best, index = torch.addcmul(-half, product(codes[part]), usable[part]).max(0)
            labels[part] = index.to(torch.uint8)
            block = codes[part].float()
            scale = usable[part]
            inertia -= 2 * float((best * (scale > 0)).sum())
            if last:
                squares += float((torch.linalg.vector_norm(block, dim=1) * scale).square().sum())
            else:
                weights = torch.zeros(len(block), k).scatter_(1, index[:, None], scale[:, None])
                sums.addmm_(weights.T, block)
        inertia += squares
        if not last:
            counts = torch.bincount(labels[torch.from_numpy(valid)].long(), minlength=k)
            centres = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], centres)
        if progress is not None:
            progress(turn + 1, rounds + 1, "grouping pixels")
    groups = labels.numpy()
    sizes = np.bincount(groups[valid], minlength=k)
    order = np.argsort(-sizes, kind="stable")
    rank = np.empty(k, np.uint8)
    rank[order] = np.arange(1, k + 1)
    ranked = np.where(valid, rank[groups], 0).astype(np.uint8).reshape(raster.shape)
    return Clusters(centres.numpy()[order], ranked, sizes[order], max(inertia, 0.0))


def cluster_sample(values: torch.Tensor, k: int, seed: int = 0, restarts: int = RESTARTS) -> torch.Tensor:
    """Centres float32 (k, D) of vectors float32 (N, D), the best of a few runs to convergence."""
    generator = torch.Generator().manual_seed(seed)
    runs = [_lloyd(values, _plus_plus(values, k, generator)) for _ in range(restarts)]
    return min(runs, key=lambda run: run[1])[0]


def _plus_plus(values: torch.Tensor, k: int, generator: torch.Generator) -> torch.Tensor:
    """k-means++ seeding with a few candidates a step (greedy variant)."""
    first = int(torch.randint(len(values), (1,), generator=generator))
    centres = [values[first]]
    closest = (values - centres[0]).square().sum(1)
    trials = 2 + int(np.log(k))
    for _ in range(1, k):
        if float(closest.sum()) <= 0:
            candidates = torch.randint(len(values), (1,), generator=generator)
        else:
            candidates = torch.multinomial(closest, trials, replacement=True, generator=generator)
        distances = torch.minimum(closest, torch.cdist(values[candidates], values).square())
        best = int(distances.sum(1).argmin())
        centres.append(values[int(candidates[best])])
        closest = distances[best]
    return torch.stack(centres)


def _lloyd(values: torch.Tensor, centres: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Lloyd's iterations on a sample; returns the centres and the inertia."""
    squares = float(values.square().sum())
    before = float("inf")
    inertia = before
    for _ in range(SAMPLE_ROUNDS):
        scores = values @ centres.T - centres.square().sum(1) / 2
        best, index = scores.max(1)
        inertia = squares - 2 * float(best.sum())
        if before - inertia <= TOLERANCE * inertia:
            break
        before = inertia
        onehot = torch.zeros(len(values), len(centres)).scatter_(1, index[:, None], 1.0)
        counts = onehot.sum(0)
        centres = torch.where(counts[:, None] > 0, (onehot.T @ values) / counts.clamp(min=1)[:, None], centres)
    return centres, inertia
