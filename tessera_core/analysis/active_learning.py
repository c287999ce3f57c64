"""Where to label next: places about which the map wavers, that stand for much unlabelled ground, and apart from each other.

The doubtful pixels alone are a bad choice: they are odd, mixed and alike, and after a few dozen labels random places teach
more (measured, docs/performance.md). So a place is worth what it covers: the sum over candidates of ``uncertainty * new likeness``,
where likeness falls with distance in embedding space and only what no label or earlier suggestion covers is new (facility
location weighted by uncertainty; Wei, Iyer & Bilmes, ICML 2015; uncertainty is the margin of Scheffer et al. 2001, for images Tuia
et al., IEEE JSTSP 5, 2011). Works on a seeded draw of candidates, so that it takes little time on any region.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tessera_core._utils.percents import percent
from tessera_core.analysis.pca import sample_valid
from tessera_core.errors import LabelError
from tessera_core.raster import EmbeddingRaster

CANDIDATES = 1500
N_QUERIES = 5
# Suggestions keep at least this far from labels and each other, in pixels.
MIN_DISTANCE_PX = 5.0
# What the surest pixel counts beside the most doubtful: a head with few labels is often sure and wrong.
SURE_WEIGHT = 0.2
# From this probability on a place is not called doubtful.
SURE = 0.9
# Reach of a label in embedding space, in median distances of a candidate to its tenth neighbour.
REACH, NEIGHBOUR = 2.0, 10


class Predicts(Protocol):
    """A fitted head."""

    classes_: NDArray

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Probabilities (N, K) of vectors (N, D)."""
        ...

    def proba_at(
        self, raster: EmbeddingRaster, rows: NDArray[np.integer], cols: NDArray[np.integer]
    ) -> NDArray[np.float32]:
        """Probabilities (N, K) of pixels of a raster."""
        ...


@dataclass(frozen=True)
class Query:
    """A place to label next.

    Attributes:
        row, col: pixel.
        reason: one sentence.
        uncertainty: 0 (sure) to 1 (two classes equally likely).
        dissimilarity: 0..1, how unlike it is to everything labelled, by the reach of a label.
        likely: the two likeliest class ids, the likelier first.
    """

    row: int
    col: int
    reason: str
    uncertainty: float
    dissimilarity: float
    likely: tuple[int, int]


def next_queries(
    raster: EmbeddingRaster,
    head: Predicts,
    rows: NDArray[np.integer],
    cols: NDArray[np.integer],
    names: Mapping[int, str],
    *,
    count: int = N_QUERIES,
    seed: int = 0,
    avoid: tuple[NDArray[np.integer], NDArray[np.integer]] | None = None,
) -> list[Query]:
    """The ``count`` places whose labels would teach the head most.

    Args:
        raster: the embeddings.
        head: fitted on the labels.
        rows, cols: (N,) labelled pixels.
        names: class id -> name.
        seed: for the draw of candidates; change it for other suggestions.
        avoid: rows and columns of places that were suggested and dismissed.

    Returns:
        At most ``count`` suggestions, the most useful first; fewer in a small region.

    Raises:
        LabelError: nothing is labelled.
    """
    if len(rows) == 0:
        raise LabelError("Label a place of each of two classes first; then the app can say where a label helps most.")
    candidate_rows, candidate_cols = sample_valid(raster, CANDIDATES, seed)
    taken = np.stack([np.asarray(rows), np.asarray(cols)], axis=1).astype(float)
    if avoid is not None and len(avoid[0]):
        taken = np.concatenate([taken, np.stack([np.asarray(v, float) for v in avoid], axis=1)])
    ground = np.stack([candidate_rows, candidate_cols], axis=1).astype(float)
    x = raster.sample(candidate_rows, candidate_cols)
    labelled = raster.sample(rows, cols)
    labelled = labelled[np.isfinite(labelled).all(axis=1)]
    proba = head.proba_at(raster, candidate_rows, candidate_cols)
    order, uncertainty, dissimilarity, proba = choose(x, labelled, head, count, ground, taken, proba=proba)
    top = np.argsort(-proba, axis=1)[:, :2]
    result = []
    for i in order:
        first, second = (int(head.classes_[k]) for k in top[i])
        shares = tuple(float(proba[i, k]) for k in top[i])
        reason = _reason(names.get(first, str(first)), names.get(second, str(second)), shares, dissimilarity[i])
        result.append(
            Query(
                int(candidate_rows[i]),
                int(candidate_cols[i]),
                reason,
                float(uncertainty[i]),
                float(dissimilarity[i]),
                (first, second),
            )
        )
    return result


def choose(
    x: NDArray[np.float32],
    labelled: NDArray[np.float32],
    head: Predicts,
    count: int,
    ground: NDArray[np.floating] | None = None,
    taken: NDArray[np.floating] | None = None,
    min_distance: float = MIN_DISTANCE_PX,
    proba: NDArray[np.float32] | None = None,
) -> tuple[list[int], NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]:
    """Greedy choice among candidates, without a raster; the greedy sum is within 63 % of the best possible.

    Args:
        x: float32 (N, D) candidates; memory grows with N squared.
        labelled: float32 (L, D).
        head: fitted on them.
        count: wanted.
        ground: (N, 2) where candidates lie, or None to leave the ground out of it.
        taken: (M, 2) where labels lie.
        min_distance: from labels and from each other, in the units of ``ground``.
        proba: float32 (N, K) that the head gives the candidates, where it needs more than ``x`` to say so.

    Returns:
        Indices in order of choice; uncertainty (N,), dissimilarity (N,) in 0..1 and probabilities (N, K) of all candidates.
    """
    if proba is None:
        proba = head.predict_proba(x)
    ordered = np.sort(proba, axis=1)
    uncertainty = (1 - (ordered[:, -1] - ordered[:, -2])).astype(np.float64)
    if len(x) == 0:
        return [], uncertainty, uncertainty, proba
    squares = _squares(x, x)
    nearby = np.partition(squares, min(NEIGHBOUR, len(x) - 1), axis=1)[:, min(NEIGHBOUR, len(x) - 1)]
    reach = max(float(REACH**2 * np.median(nearby)), 1e-12)
    likeness = np.exp(squares / (-2 * reach))
    covered = np.exp(_squares(x, labelled).min(axis=1) / (-2 * reach))
    dissimilarity = (1 - covered).astype(np.float64)
    weight = (uncertainty + SURE_WEIGHT).astype(np.float32)
    free = np.ones(len(x), bool)
    if ground is not None and taken is not None:
        free = _squares(ground, taken).min(axis=1) >= min_distance**2
    chosen: list[int] = []
    for _ in range(min(count, len(x))):
        gain = np.where(free, np.maximum(likeness - covered, 0) @ weight, 0)
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        chosen.append(best)
        covered = np.maximum(covered, likeness[best])
        free[best] = False
        if ground is not None:
            free &= ((ground - ground[best]) ** 2).sum(axis=1) >= min_distance**2
    return chosen, uncertainty, dissimilarity, proba


def _squares(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """Squared distances (N, M)."""
    return np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T, 0)


def _reason(first: str, second: str, shares: tuple[float, ...], dissimilarity: float) -> str:
    a, b = (f"{percent(share)} %" for share in shares)
    outside = dissimilarity > 0.9
    if shares[0] - shares[1] < 0.3:
        wavering = f"The map wavers between {first} ({a}) and {second} ({b}) here"
        return f"{wavering}, and little that you labelled looks like it." if outside else f"{wavering}."
    taken = f"The map takes this for {first} ({a})"
    if shares[0] < SURE:
        return (
            f"{taken}, but not surely, and little that you labelled looks like it."
            if outside
            else f"{taken}, but not surely."
        )
    if outside:
        return f"{taken}, and little that you labelled looks like it."
    # Nothing here is in doubt: it was chosen because much of the map looks like it.
    return f"{taken}; a label here would speak for much ground like it."
