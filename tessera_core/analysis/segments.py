"""Fields without a register: pieces of ground whose embeddings are alike, grown from single pixels.

Neighbouring pieces are joined pair by pair where both are each other's likest neighbour, in the order of Ward (1963, J. Am. Stat.
Assoc. 58, 236-244): the cost of a join is how much the sum of squares within pieces grows, ``n m / (n + m) * |a - b|^2`` for
means a and b of n and m pixels. Joining ends where the cost is many times that of two neighbouring pixels, so that one number says
how fine pieces are, whatever the encoder; pieces too small to be a field then join the likest beside them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tessera_core.analysis.pca import fit_pca
from tessera_core.errors import Cancelled, InputError, RasterError
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Cancel, Doubles, Floats, Ints, Progress

# Principal components that pieces are compared by.
AXES = 8
DETAIL = 800.0
# Pixels that are held in memory at once, with all joins between them: about 2 GB.
MOST = 1 << 22


def find_segments(
    raster: EmbeddingRaster,
    *,
    detail: float = DETAIL,
    smallest: int = 20,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> NDArray[np.int32]:
    """Pieces of ground that are alike within.

    Args:
        raster: embeddings (H, W, D), at most :data:`MOST` pixels.
        detail: joins cost at most so many times what joining two neighbouring pixels costs; larger gives larger pieces.
        smallest: pixels of the smallest piece; what has nothing beside it may be smaller.
        seed: of the sample that the components are fitted on.
        progress, cancelled: see docs/architecture.md; units are pixels joined.

    Returns:
        int32 (H, W), number of the piece from 1 in the order of their first pixels; 0 where there is no data.

    Raises:
        InputError: the region is too large, or a number makes no sense.
        RasterError: there is no data.
        Cancelled: ``cancelled`` said so.
    """
    if raster.grid.height * raster.grid.width > MOST:
        raise InputError(
            f"The region has {raster.grid.height * raster.grid.width:,} pixels; fields are found in {MOST:,} at "
            "most. Take a part of it."
        )
    if not detail > 0 or smallest < 1:
        raise InputError("Detail has to be above 0, and the smallest field at least a pixel.")
    pca = fit_pca(raster, min(AXES, raster.dim), seed)
    scores = np.concatenate([block for _, block in pca.blocks(raster)])
    valid = np.isfinite(scores).all(-1)
    number = np.full(valid.shape, -1, np.int64)
    number[valid] = np.arange(valid.sum())
    pieces = _Pieces(scores[valid], np.concatenate([pairs for pairs in _neighbours(number)]))
    if not len(pieces.size):
        raise RasterError("There are no data, so there are no fields.")
    total = len(pieces.size)

    def tell() -> None:
        if cancelled is not None and cancelled():
            raise Cancelled()
        if progress is not None:
            progress(total - len(pieces.size), total, "joining pixels")

    limit = detail * (float(np.median(pieces.cost())) if len(pieces.pairs) else 0.0)
    while pieces.join_mutual(limit):
        tell()
    while pieces.join_small(smallest):
        tell()
    found = np.zeros(valid.shape, np.int32)
    _, first, inverse = np.unique(pieces.owner, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(1, len(first) + 1)
    found[valid] = rank[inverse]
    return found


def _neighbours(number: Ints) -> Iterator[Ints]:
    """Pairs (n, 2) of pixels with data beside and below each other."""
    for one, other in ((number[:, :-1], number[:, 1:]), (number[:-1], number[1:])):
        both = (one >= 0) & (other >= 0)
        yield np.stack([one[both], other[both]], 1)


class _Pieces:
    """Pieces, their means and which lie beside each other.

    Attributes:
        owner: piece of each pixel with data.
        mean: float32 (n, K); size: float64 (n,) pixels.
        pairs: int64 (m, 2) of pieces side by side, each once.
    """

    def __init__(self, values: Floats, pairs: Ints) -> None:
        self.owner: Ints = np.arange(len(values), dtype=np.int64)
        self.mean, self.size, self.pairs = values, np.ones(len(values)), pairs

    def cost(self) -> Doubles:
        """Of joining each pair."""
        a, b = self.pairs.T
        n, m = self.size[a], self.size[b]
        apart = ((self.mean[a] - self.mean[b]) ** 2).sum(1, dtype=np.float64)
        cost: Doubles = n * m / (n + m) * apart
        return cost

    def join_mutual(self, limit: float) -> bool:
        """Join all pairs whose pieces are each other's likest at a cost within ``limit``; False where there is none."""
        cost = self.cost()
        near = np.flatnonzero(cost <= limit)
        order = near[np.argsort(cost[near], kind="stable")]
        likest = self._first_choice(order)
        a, b = self.pairs[order].T
        mutual = (likest[a] == b) & (likest[b] == a)
        if not mutual.any():
            return False
        to = np.arange(len(self.size))
        to[b[mutual]] = a[mutual]
        self._join(to)
        return True

    def join_small(self, smallest: int) -> bool:
        """Join each piece that is too small with its likest neighbour; False where no such piece has one."""
        small = self.size < smallest
        if not small.any() or not len(self.pairs):
            return False
        order = np.argsort(self.cost(), kind="stable")
        likest = self._first_choice(order)
        moves = small & (likest >= 0)
        if not moves.any():
            return False
        # The smallest go first, each into a piece that stays, so that they do not all run together.
        to = np.arange(len(self.size))
        stays = np.zeros(len(to), bool)
        for piece in np.flatnonzero(moves)[np.argsort(self.size[moves], kind="stable")].tolist():
            goal = likest[piece]
            if not stays[piece] and to[goal] == goal:
                to[piece] = goal
                stays[goal] = True
        self._join(to)
        return True

    def _first_choice(self, order: NDArray[np.intp]) -> Ints:
        """The other piece of the first pair in ``order`` that each piece is in; -1 where it is in none."""
        choice = np.full(len(self.size), -1, np.int64)
        back = self.pairs[order[::-1]]
        # The last that is written stands; both directions of a pair have to follow each other.
        choice[back.ravel()] = back[:, ::-1].ravel()
        return choice

    def _join(self, to: Ints) -> None:
        """Join each piece with the one that it goes to."""
        left, place = np.unique(to, return_inverse=True)
        size = np.bincount(place, self.size, len(left))
        mean = np.stack([np.bincount(place, self.size * axis, len(left)) / size for axis in self.mean.T], 1)
        self.mean, self.size = mean.astype(np.float32), size
        self.owner = place[self.owner]
        pairs = np.sort(place[self.pairs], 1)
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        keys = np.unique(pairs[:, 0] * len(left) + pairs[:, 1])
        self.pairs = np.stack(np.divmod(keys, max(len(left), 1)), 1)
