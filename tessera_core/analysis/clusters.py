"""Seeded k-means over an embedding raster, and a tree of its groups: alike pixels, found without labels.

Lloyd's iterations start from k-means++ seeds (Arthur & Vassilvitskii 2007), run on a sample first and then over all pixels;
distances come from int8 codes, so no float copy of the raster is made. The tree merges the k-means groups two by two
(Ward 1963), so that any number of groups is a cut of it and nothing is fitted again.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.int8 import BLOCK, CodeProduct, code_squares
from tessera_core._utils.softmax import largest_of
from tessera_core._utils.threads import run_alone, run_blocks
from tessera_core.analysis.pca import sample_valid
from tessera_core.errors import Cancelled, RasterError
from tessera_core.raster import EmbeddingRaster, valid_scales
from tessera_core.types import Cancel, Progress

SAMPLE = 32_768
SAMPLE_ROUNDS = 25
# Starts are tried on a part of the sample, a few rounds each, and the best is gone on with.
RESTARTS, START_SAMPLE, START_ROUNDS = 3, 4_096, 10
# Two digits of 8 bits: a distance is then right to a part in 30,000.
DIGITS = 2
TOLERANCE = 3e-4
FINEST = 32


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
    cancelled: Cancel | None = None,
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
    values = raster.sample(rows, cols)
    # Small matrices: one thread is quicker than several that wait for each other.
    centres = run_alone(lambda: cluster_sample(values, k, seed))
    scales = np.ascontiguousarray(raster.scales).reshape(-1)
    valid = valid_scales(scales)
    pixels = _Pixels(
        raster.codes.reshape(-1, raster.dim),
        np.where(valid, scales, np.float32(0)),
        np.empty(len(scales), np.uint8),
        cancelled,
    )
    for turn in range(rounds):
        sums, counts = pixels.sums(centres)
        centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres).astype(np.float32)
        if progress is not None:
            progress(turn + 1, rounds + 1, "grouping pixels")
    inertia = pixels.assign(centres)
    if progress is not None:
        progress(rounds + 1, rounds + 1, "grouping pixels")
    groups = pixels.labels
    sizes = np.bincount(groups[valid], minlength=k)
    order = np.argsort(-sizes, kind="stable")
    rank = np.empty(k, np.uint8)
    rank[order] = np.arange(1, k + 1)
    ranked = np.where(valid, rank[groups], 0).astype(np.uint8).reshape(raster.shape)
    return Clusters(centres[order], ranked, sizes[order], max(inertia, 0.0))


@dataclass(frozen=True)
class ClusterTree:
    """Groups from coarse to fine: those of a cut into k are unions of those of a cut into k + 1.

    Groups are numbered in the order in which they split off from the coarse end: from k to k + 1, one group gives its smaller
    half to the new number k + 1, and all others, with their numbers, stay.

    Attributes:
        leaves: the finest groups, none of them empty.
        paths: int64 (L, L): ``paths[k - 1, leaf]`` is the number from 0 of the leaf's group in a cut into k.
        costs: float64 (L,): how much the sum of squared distances of a cut into k exceeds that of the leaves, at ``k - 1``.
    """

    leaves: Clusters
    paths: NDArray[np.int64]
    costs: NDArray[np.float64]

    @property
    def finest(self) -> int:
        """The largest number of groups a cut can have."""
        return len(self.leaves.sizes)

    def members(self, k: int) -> list[list[int]]:
        """The leaves, from 0, in each of k groups.

        Raises:
            RasterError: k outside 1..finest.
        """
        return [np.flatnonzero(self._path(k) == group).tolist() for group in range(k)]

    def numbers(self, k: int) -> NDArray[np.uint8]:
        """The group, from 1, of each leaf in a cut into k: uint8 (finest + 1,), 0 for the 0 of pixels without data.

        Raises:
            RasterError: k outside 1..finest.
        """
        return np.concatenate([[0], self._path(k) + 1]).astype(np.uint8)

    def cut(self, k: int) -> Clusters:
        """The tree cut into k groups, numbered as the tree does and not by size.

        Raises:
            RasterError: k outside 1..finest.
        """
        path, leaves = self._path(k), self.leaves
        weights = leaves.sizes.astype(np.float64)
        sizes = np.bincount(path, leaves.sizes, k).astype(np.int64)
        sums = np.zeros((k, leaves.centres.shape[1]))
        np.add.at(sums, path, leaves.centres * weights[:, None])
        centres = (sums / sizes[:, None]).astype(np.float32)
        return Clusters(centres, self.numbers(k)[leaves.labels], sizes, leaves.inertia + float(self.costs[k - 1]))

    def _path(self, k: int) -> NDArray[np.int64]:
        if not 1 <= k <= self.finest:
            raise RasterError(f"This tree can be cut into 1 to {self.finest} groups, not {k}.")
        return self.paths[k - 1]


def cluster_tree(
    raster: EmbeddingRaster,
    *,
    finest: int = FINEST,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> ClusterTree:
    """The tree over a k-means of all pixels with data.

    Args:
        finest: groups at the fine end; there are fewer where pixels with data, or different ones, are fewer.

    Raises:
        RasterError: fewer than two pixels with data, all of them equal, or ``finest`` outside 2..254.
        Cancelled: the user stopped.
    """
    pixels = int(raster.valid().sum())
    found = kmeans(raster, max(2, min(finest, pixels)), seed=seed, progress=progress, cancelled=cancelled)
    # Groups come by falling size, so the empty ones, of equal pixels, are last.
    count = int((found.sizes > 0).sum())
    if count < 2:
        raise RasterError("All pixels are equal here, so there are no groups to find.")
    return tree_of_clusters(Clusters(found.centres[:count], found.labels, found.sizes[:count], found.inertia))


def tree_of_clusters(leaves: Clusters) -> ClusterTree:
    """Merge groups two by two, always the two whose union adds least to the sum of squares (Ward 1963).

    The union of groups of n and m pixels with centres a and b adds ``n m / (n + m) |a - b|^2``.

    Args:
        leaves: groups of at least one pixel each.
    """
    count = len(leaves.sizes)
    centres, sizes = leaves.centres.astype(np.float64), leaves.sizes.astype(np.float64)
    gone = np.zeros(count, bool)
    costs = np.zeros(count)
    merges = []
    for k in range(count - 1, 0, -1):
        squares = (centres**2).sum(1)
        apart = np.maximum(squares[:, None] + squares - 2 * centres @ centres.T, 0)
        adds = apart * (sizes[:, None] * sizes / (sizes[:, None] + sizes))
        adds[gone] = adds[:, gone] = np.inf
        np.fill_diagonal(adds, np.inf)
        one, other = divmod(int(adds.argmin()), count)
        keeps, goes = (one, other) if sizes[one] >= sizes[other] else (other, one)
        costs[k - 1] = costs[k] + adds[one, other]
        total = sizes[keeps] + sizes[goes]
        centres[keeps] = (sizes[keeps] * centres[keeps] + sizes[goes] * centres[goes]) / total
        sizes[keeps], gone[goes] = total, True
        merges.append((keeps, goes))
    # Each group goes by its leading leaf; backwards, a merge is the split that brings the next number.
    leads = {merges[-1][0]: 0}
    for _keeps, goes in reversed(merges):
        leads[goes] = len(leads)
    lead = np.arange(count)
    paths = np.empty((count, count), np.int64)
    order = np.array([leads[leaf] for leaf in range(count)])
    paths[count - 1] = order
    for k, (keeps, goes) in zip(range(count - 1, 0, -1), merges, strict=True):
        lead[lead == goes] = keeps
        paths[k - 1] = order[lead]
    return ClusterTree(leaves, paths, costs)


@dataclass(frozen=True)
class _Pixels:
    """All pixels of a raster and the group each is in; blocks are worked on by one thread each."""

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    labels: NDArray[np.uint8]
    cancelled: Cancel | None

    def assign(self, centres: NDArray[np.float32]) -> float:
        """Put each pixel into its nearest group; returns the sum of squared distances."""
        parts: list[float] = []

        def work(part: slice, best: NDArray[np.float32]) -> None:
            scale = self.scales[part]
            squares = code_squares(self.codes[part]) * scale * scale
            parts.append(float((squares - 2 * best * (scale > 0)).sum(dtype=np.float64)))

        self._each(centres, work)
        return math.fsum(parts)

    def sums(self, centres: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Sums (k, D) and numbers (k,) of the pixels nearest to each centre."""
        k = len(centres)
        sums, counts = np.zeros((k, self.codes.shape[1]), np.float32), np.zeros(k, np.int64)
        lock = threading.Lock()

        def work(part: slice, _best: NDArray[np.float32]) -> None:
            scale, index = self.scales[part], self.labels[part]
            weights = np.zeros((len(scale), k), np.float32)
            weights[np.arange(len(scale)), index] = scale
            here = weights.T @ self.codes[part].astype(np.float32)
            number = np.bincount(index[scale > 0], minlength=k)
            with lock:
                np.add(sums, here, out=sums)
                np.add(counts, number, out=counts)

        self._each(centres, work)
        return sums, counts

    def _each(self, centres: NDArray[np.float32], work: Callable[[slice, NDArray[np.float32]], None]) -> None:
        product = CodeProduct(centres.T, DIGITS)
        half = np.square(centres).sum(axis=1) / 2

        def block(part: slice) -> None:
            if self.cancelled is not None and self.cancelled():
                raise Cancelled
            # argmin |x - c|^2 = argmax x.c - |c|^2 / 2, with x = code * scale.
            best = np.empty(part.stop - part.start, np.float32)
            product.largest(self.codes[part], self.scales[part], -half, self.labels[part], top=best)
            work(part, best)

        run_blocks(block, len(self.codes), BLOCK)


def cluster_sample(values: NDArray[np.float32], k: int, seed: int = 0, restarts: int = RESTARTS) -> NDArray[np.float32]:
    """Centres float32 (k, D) of vectors float32 (N, D): the best of a few starts on a part of them, then to convergence."""
    rng = np.random.default_rng(seed)
    few = values[:: max(1, len(values) // START_SAMPLE)]
    few = few if len(few) >= k else values
    runs = [_lloyd(few, _plus_plus(few, k, rng), START_ROUNDS) for _ in range(restarts)]
    return _lloyd(values, min(runs, key=lambda run: run[1])[0], SAMPLE_ROUNDS)[0]


def _plus_plus(values: NDArray[np.float32], k: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """k-means++ seeding with a few candidates a step (greedy variant)."""
    centres = [values[int(rng.integers(len(values)))]]
    closest = np.square(values - centres[0]).sum(axis=1)
    squares = np.square(values).sum(axis=1)
    trials = 2 + int(np.log(k))
    for _ in range(1, k):
        total = np.cumsum(closest, dtype=np.float64)
        if total[-1] <= 0:
            candidates = rng.integers(len(values), size=1)
        else:
            candidates = np.minimum(np.searchsorted(total, rng.random(trials) * total[-1], "right"), len(values) - 1)
        chosen = values[candidates]
        distances = squares - 2 * (chosen @ values.T) + squares[candidates, None]
        distances = np.minimum(closest, np.maximum(distances, 0))
        best = int(distances.sum(axis=1).argmin())
        centres.append(chosen[best])
        closest = distances[best]
    return np.stack(centres)


def _lloyd(values: NDArray[np.float32], centres: NDArray[np.float32], rounds: int) -> tuple[NDArray[np.float32], float]:
    """Lloyd's iterations on a sample; returns the centres and the inertia."""
    squares = float(np.square(values).sum())
    before = float("inf")
    inertia = before
    for _ in range(rounds):
        scores = centres @ values.T - np.square(centres).sum(axis=1, keepdims=True) / 2
        index, best, _ = largest_of(scores, False)
        inertia = squares - 2 * float(best.sum())
        if before - inertia <= TOLERANCE * inertia:
            break
        before = inertia
        onehot = (index == np.arange(len(centres), dtype=np.uint8)[:, None]).astype(np.float32)
        counts = onehot.sum(axis=1)
        means = (onehot @ values) / np.maximum(counts, 1)[:, None]
        centres = np.where(counts[:, None] > 0, means, centres)
    return centres, inertia
