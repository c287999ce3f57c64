"""Seeded k-means over an embedding raster: groups of alike pixels, found without labels.

Lloyd's iterations start from k-means++ seeds (Arthur & Vassilvitskii 2007), run on a sample first and then over all pixels;
distances come from int8 codes, so no float copy of the raster is made.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tessera_core.analysis.pca import sample_valid
from tessera_core.codes import BLOCK, CodeProduct
from tessera_core.errors import Cancelled, RasterError
from tessera_core.raster import EmbeddingRaster, valid_scales
from tessera_core.threads import run_blocks

SAMPLE = 32_768
SAMPLE_ROUNDS = 25
# Starts are tried on a part of the sample, a few rounds each, and the best is gone on with.
RESTARTS, START_SAMPLE, START_ROUNDS = 3, 4_096, 10
# Two digits of 8 bits: a distance is then right to a part in 30,000.
DIGITS = 2
TOLERANCE = 3e-4
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
    rounds: int = 0,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Clusters:
    """Cluster all pixels with data into ``k`` groups.

    Args:
        rounds: Lloyd iterations over all pixels after the sample has converged. With 32,768 pixels in the sample the sum of
            squares is within about ``k / 32768`` of what they reach, so by default there are none.

    Raises:
        RasterError: fewer pixels than clusters, or k outside 2..254.
        Cancelled: the user stopped.
    """
    if not 2 <= k <= 254:
        raise RasterError(f"Choose between 2 and 254 groups, not {k}.")
    rows, cols = sample_valid(raster, SAMPLE, seed)
    if len(rows) < k:
        raise RasterError(f"There are only {len(rows)} pixels with data, too few for {k} groups.")
    values = torch.from_numpy(raster.sample(rows, cols))
    centres = cluster_sample(values, k, seed)
    scales = np.ascontiguousarray(raster.scales).reshape(-1)
    valid = valid_scales(scales)
    pixels = _Pixels(
        torch.from_numpy(raster.codes.reshape(-1, raster.dim)),
        torch.from_numpy(np.where(valid, scales, np.float32(0))),
        torch.empty(len(scales), dtype=torch.uint8),
        cancelled,
    )
    for turn in range(rounds):
        sums, counts = pixels.sums(centres)
        centres = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], centres)
        if progress is not None:
            progress(turn + 1, rounds + 1, "grouping pixels")
    inertia = pixels.assign(centres)
    if progress is not None:
        progress(rounds + 1, rounds + 1, "grouping pixels")
    groups = pixels.labels.numpy()
    sizes = np.bincount(groups[valid], minlength=k)
    order = np.argsort(-sizes, kind="stable")
    rank = np.empty(k, np.uint8)
    rank[order] = np.arange(1, k + 1)
    ranked = np.where(valid, rank[groups], 0).astype(np.uint8).reshape(raster.shape)
    return Clusters(centres.numpy()[order], ranked, sizes[order], max(inertia, 0.0))


@dataclass(frozen=True)
class _Pixels:
    """All pixels of a raster and the group each is in; blocks are worked on by one thread each."""

    codes: torch.Tensor
    scales: torch.Tensor
    labels: torch.Tensor
    cancelled: Callable[[], bool] | None

    def assign(self, centres: torch.Tensor) -> float:
        """Put each pixel into its nearest group; returns the sum of squared distances."""
        parts: list[float] = []

        def work(part: slice, best: torch.Tensor, _index: torch.Tensor) -> None:
            scale = self.scales[part]
            squares = self.codes[part].float().square_().sum(1).mul_(scale).mul_(scale)
            parts.append(float((squares - 2 * best.mul_(scale > 0)).sum(dtype=torch.float64)))

        self._each(centres, work)
        return math.fsum(parts)

    def sums(self, centres: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Sums (k, D) and numbers (k,) of the pixels nearest to each centre."""
        k = len(centres)
        sums, counts = torch.zeros(k, self.codes.shape[1]), torch.zeros(k)
        lock = threading.Lock()

        def work(part: slice, _best: torch.Tensor, index: torch.Tensor) -> None:
            scale = self.scales[part]
            weights = torch.zeros(len(scale), k).scatter_(1, index[:, None], scale[:, None])
            here = weights.T @ self.codes[part].float()
            number = torch.bincount(index[scale > 0], minlength=k)
            with lock:
                sums.add_(here)
                counts.add_(number)

        self._each(centres, work)
        return sums, counts

    def _each(self, centres: torch.Tensor, work: Callable[[slice, torch.Tensor, torch.Tensor], None]) -> None:
        product = CodeProduct(centres.T.numpy(), DIGITS)
        half = (centres**2).sum(1, keepdim=True) / 2

        def block(part: slice) -> None:
            if self.cancelled is not None and self.cancelled():
                raise Cancelled
            # argmin |x - c|^2 = argmax x.c - |c|^2 / 2, with x = code * scale.
            best, index = product(self.codes[part]).mul_(self.scales[part]).sub_(half).max(0)
            self.labels[part] = index.to(torch.uint8)
            work(part, best, index)

        run_blocks(block, len(self.codes), BLOCK)


def cluster_sample(values: torch.Tensor, k: int, seed: int = 0, restarts: int = RESTARTS) -> torch.Tensor:
    """Centres float32 (k, D) of vectors float32 (N, D): the best of a few starts on a part of them, then to convergence."""
    generator = torch.Generator().manual_seed(seed)
    few = values[:: max(1, len(values) // START_SAMPLE)]
    few = few if len(few) >= k else values
    runs = [_lloyd(few, _plus_plus(few, k, generator), START_ROUNDS) for _ in range(restarts)]
    return _lloyd(values, min(runs, key=lambda run: run[1])[0], SAMPLE_ROUNDS)[0]


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


def _lloyd(values: torch.Tensor, centres: torch.Tensor, rounds: int) -> tuple[torch.Tensor, float]:
    """Lloyd's iterations on a sample; returns the centres and the inertia."""
    squares = float(values.square().sum())
    before = float("inf")
    inertia = before
    for _ in range(rounds):
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
