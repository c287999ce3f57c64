"""Where to label next: places about which the map wavers, unlike each other and unlike what is labelled, and apart on the ground.

Uncertainty alone picks five pixels of the same hedge; so each next place is the candidate with the largest product of doubt
(margin sampling, Scheffer et al. 2001; for images Tuia et al., IEEE JSTSP 5, 2011), distance in embedding space to
everything labelled or already suggested (farthest first, as in core-sets: Sener & Savarese, ICLR 2018), and distance on the
ground. Works on a seeded draw of candidates, so that it takes milliseconds on any region.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tessera_core.analysis.pca import sample_valid
from tessera_core.errors import LabelError
from tessera_core.raster import EmbeddingRaster

CANDIDATES = 4000
N_SUGGESTED = 5
# Suggestions keep at least this far from labels and each other, in pixels.
MIN_DISTANCE_PX = 5.0
# Beyond this, being further away on the ground is worth nothing more.
FAR_PX = 40.0


class Predicts(Protocol):
    """A fitted head."""

    classes_: NDArray

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Probabilities (N, K) of vectors (N, D)."""
        ...


@dataclass(frozen=True)
class Suggestion:
    """A place to label next.

    Attributes:
        row, col: pixel.
        reason: one sentence.
        doubt: 0 (sure) to 1 (two classes equally likely).
        novelty: 0..1, how unlike it is to everything labelled, among the candidates.
        likely: the two likeliest class ids, the likelier first.
    """

    row: int
    col: int
    reason: str
    doubt: float
    novelty: float
    likely: tuple[int, int]


def suggest(
    raster: EmbeddingRaster,
    head: Predicts,
    rows: NDArray[np.integer],
    cols: NDArray[np.integer],
    names: Mapping[int, str],
    *,
    count: int = N_SUGGESTED,
    seed: int = 0,
    avoid: tuple[NDArray[np.integer], NDArray[np.integer]] | None = None,
) -> list[Suggestion]:
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
    order, doubt, novelty, proba = choose(x, labelled, head, count, ground, taken)
    top = np.argsort(-proba, axis=1)[:, :2]
    result = []
    for i in order:
        first, second = (int(head.classes_[k]) for k in top[i])
        shares = tuple(float(proba[i, k]) for k in top[i])
        reason = _reason(names.get(first, str(first)), names.get(second, str(second)), shares, novelty[i])
        result.append(
            Suggestion(
                int(candidate_rows[i]),
                int(candidate_cols[i]),
                reason,
                float(doubt[i]),
                float(novelty[i]),
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
    far: float = FAR_PX,
) -> tuple[list[int], NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]:
    """Greedy choice among candidates, without a raster.

    Args:
        x: float32 (N, D) candidates.
        labelled: float32 (L, D).
        head: fitted on them.
        count: wanted.
        ground: (N, 2) where candidates lie, or None to leave the ground out of it.
        taken: (M, 2) where labels lie.
        min_distance, far: in the units of ``ground``.

    Returns:
        Indices in order of choice; doubt (N,), novelty (N,) in 0..1 and probabilities (N, K) of all candidates.
    """
    proba = head.predict_proba(x)
    ordered = np.sort(proba, axis=1)
    doubt = (1 - (ordered[:, -1] - ordered[:, -2])).astype(np.float64)
    away = _nearest(x, labelled)
    unit = max(float(np.quantile(away, 0.95)), 1e-12)
    novelty = np.minimum(away / unit, 1.0)
    apart = np.full(len(x), np.inf) if ground is None or taken is None else _nearest(ground, taken)
    chosen: list[int] = []
    for _ in range(min(count, len(x))):
        room = 1.0 if ground is None else np.where(apart < min_distance, 0.0, np.minimum(apart / far, 1.0) ** 0.5)
        gain = doubt * np.minimum(away / unit, 1.0) * room
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        chosen.append(best)
        away = np.minimum(away, np.sqrt(np.maximum(((x - x[best]) ** 2).sum(1), 0)))
        away[best] = 0
        if ground is not None:
            apart = np.minimum(apart, np.sqrt(((ground - ground[best]) ** 2).sum(1)))
    return chosen, doubt, novelty, proba


def _nearest(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Distance (N,) of each of ``a`` (N, D) to the nearest of ``b`` (M, D)."""
    squares = (b**2).sum(1)[None]
    best = np.full(len(a), np.inf)
    step = max(1, (1 << 22) // max(len(b), 1))
    for start in range(0, len(a), step):
        part = a[start : start + step]
        best[start : start + step] = (squares - 2 * part @ b.T).min(1) + (part**2).sum(1)
    return np.sqrt(np.maximum(best, 0))


def _reason(first: str, second: str, shares: tuple[float, ...], novelty: float) -> str:
    a, b = (f"{100 * share:.0f} %" for share in shares)
    if shares[0] - shares[1] < 0.3:
        sentence = f"The map wavers between {first} ({a}) and {second} ({b}) here"
    else:
        sentence = f"The map takes this for {first} ({a}), but not surely"
    if novelty > 0.9:
        return f"{sentence}, and little that you labelled looks like it."
    return f"{sentence}."
