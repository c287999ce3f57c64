"""How much each part of a joined vector counts: one weight a block, learnt from the labels by leaving each out.

A joined raster (:mod:`tessera_core.analysis.stacking`) has its parts at equal variance over the scene. Which of them tells these
classes apart better only the labels say. Heads multiply each block by its weight before they learn, and stand beside heads that see
one block each (:mod:`tessera_core.heads.linear`); all ends up in their coefficients: a map costs what it did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.softmax import logsumexp
from tessera_core.errors import HeadError
from tessera_core.provenance import Provenance

# What a block may count beside the largest.
STEPS = (0.0, 0.35, 0.6, 1.0)
# Vectors that decide, all classes together; of more, so many of each class that each part of it has its say.
MOST = 4000
_SHARPNESS = np.geomspace(0.5, 64, 8)


def blocks_of(provenance: Any) -> tuple[int, ...]:
    """Widths of the blocks of a joined raster, from its provenance; empty where it is no joined one.

    Example:
        >>> blocks_of(Provenance(dim=128))
        ()
        >>> blocks_of(Provenance(dim=5, model="stack", details={"parts": [{"dim": 3}, {"dim": 2}]}))
        (3, 2)
    """
    details = getattr(provenance, "details", None)
    parts = details.get("parts") if isinstance(details, Mapping) else None
    if getattr(provenance, "model", "") != "stack" or not isinstance(parts, Sequence):
        return ()
    # Of a part whose spread was fixed when it was joined nothing is to be learnt.
    if any(isinstance(part, Mapping) and "spread_fixed" in (part.get("details") or {}) for part in parts):
        return ()
    told = [part.get("dim") if isinstance(part, Mapping) else None for part in parts]
    widths = [width for width in told if type(width) is int and width > 0]
    if len(widths) < 2 or len(widths) < len(told):
        return ()
    # What was cut to its leading numbers has no whole blocks any more.
    return tuple(widths) if sum(widths) == getattr(provenance, "dim", None) else ()


def columns(weights: NDArray[np.float64], widths: Sequence[int]) -> NDArray[np.float64]:
    """The weight (D,) of each number."""
    return np.repeat(weights, widths)


def candidates(blocks: int) -> NDArray[np.float64]:
    """Weights (A, B) that are tried, all ones first; of two blocks every step of either, of more each block less or more than the
    others, alone, or left out.

    Example:
        >>> candidates(2).tolist()[:4]
        [[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.35]]
    """
    tried = [[1.0] * blocks]
    for step in STEPS[:-1]:
        for one in range(blocks):
            tried.append([step if k != one else 1.0 for k in range(blocks)])
            if blocks > 2:
                tried.append([1.0 if k != one else step for k in range(blocks)])
    return np.array(tried)


def block_weights(
    x: NDArray[np.floating],
    targets: NDArray[np.intp],
    weight: NDArray[np.float64],
    groups: NDArray[np.intp] | None,
    widths: Sequence[int],
) -> NDArray[np.float64]:
    """The weight (B,) of each block, the largest being 1.

    Each label is left out of its class mean and judged by its distance to all means; since squared distances of blocks add up,
    every weighting is tried at the price of one. The log-loss at the sharpness that suits it best decides. Equal weights stand
    unless another is better by two standard errors of the difference over labels (with one, fields of Belgium were mapped worse
    than with equal weights): with one label a class nothing can be left out.

    Args:
        x: float (N, D) finite vectors.
        targets: (N,) class indices from 0.
        weight: float64 (N,) positive.
        groups: (N,) from 0, which label each vector belongs to, left out as a whole; None where each is its own.
        widths: of the B blocks, D in all.

    Raises:
        HeadError: the widths do not add up to D.
    """
    if sum(widths) != x.shape[1]:
        raise HeadError(f"The parts have {' + '.join(map(str, widths))} numbers, the vectors {x.shape[1]}.")
    tried, equal = candidates(len(widths)), np.ones(len(widths))
    own = np.arange(len(x)) if groups is None else groups
    k = int(targets.max()) + 1
    if len(x) > MOST:
        few = _few(targets, MOST // k)
        x, targets, weight, own = x[few], targets[few], weight[few], own[few]
    # A label of two classes (a tree's, an odd polygon) is two.
    _, label = np.unique(own.astype(np.int64) * k + targets, return_inverse=True)
    of_class = np.zeros(int(label.max()) + 1, np.intp)
    of_class[label] = targets
    votes = np.bincount(of_class, minlength=k)[targets] > 1
    if not votes.any():
        return equal
    edges = np.cumsum([0, *widths])
    distances = [_left_out(np.asarray(x[:, a:b], np.float64), targets, weight, label) for a, b in pairwise(edges)]
    parts = np.stack(distances)[:, votes]
    say, truth = weight[votes] / weight[votes].sum(), targets[votes]
    total = np.einsum("ab,bnk->ank", np.square(tried), parts)
    here = np.arange(len(truth))
    unit = np.maximum(total[:, here, truth] @ say, 1e-30)
    logits = -(_SHARPNESS[:, None, None, None] * (total / unit[:, None, None]))
    losses = logsumexp(logits, axis=3) - logits[:, :, here, truth]
    sharpest = (losses @ say).argmin(0)
    each = losses[sharpest, np.arange(len(tried))]
    best = int((each @ say).argmin())
    if best == 0:
        return equal
    # Pixels of one label go wrong together: the error of the mean is over labels.
    gain = (each[0] - each[best]) * say
    _, dense = np.unique(label[votes], return_inverse=True)
    by_label = np.bincount(dense, gain)
    count = len(by_label)
    error = float(np.sqrt(count / max(count - 1, 1) * np.square(by_label - by_label.mean()).sum()))
    chosen: NDArray[np.float64] = tried[best]
    return chosen if gain.sum() > 2 * error else equal


def _few(targets: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """Rows of at most so many of each class (at least two), evenly over their order."""
    kept = []
    for one in np.unique(targets):
        mine = np.flatnonzero(targets == one)
        kept.append(mine[np.linspace(0, len(mine) - 1, min(len(mine), max(most, 2))).astype(np.intp)])
    return np.sort(np.concatenate(kept))


def _left_out(
    x: NDArray[np.float64], targets: NDArray[np.intp], weight: NDArray[np.float64], label: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Squared distances (N, K) of each vector to every class mean, to its own without its own label."""
    k, labels = int(targets.max()) + 1, int(label.max()) + 1
    sums, mass = np.zeros((k, x.shape[1])), np.bincount(targets, weight, minlength=k)
    np.add.at(sums, targets, x * weight[:, None])
    mine, my_mass = np.zeros((labels, x.shape[1])), np.bincount(label, weight, minlength=labels)
    np.add.at(mine, label, x * weight[:, None])
    means = sums / mass[:, None]
    squared = np.square(x).sum(1)[:, None] - 2 * x @ means.T + np.square(means).sum(1)
    rest = mass[targets] - my_mass[label]
    alone = rest <= 1e-12 * mass[targets]
    without = (sums[targets] - mine[label]) / np.where(alone, 1, rest)[:, None]
    squared[np.arange(len(x)), targets] = np.square(x - without).sum(1)
    clear: NDArray[np.float64] = np.maximum(squared, 0)
    return clear


def sentence(weights: NDArray[np.floating], names: Sequence[str]) -> str:
    """What was learnt, for people: whether joining helps on these labels, and how much each part counts.

    Example:
        >>> sentence(np.array([1.0, 0.35]), ["studio-nano", "seasons"])
        'Joining helps: your labels are told apart best with studio-nano counting fully and seasons counting 35 % of that.'
        >>> sentence(np.array([1.0, 1.0]), ["studio-nano", "seasons"])
        'No other weighting is clearly better for your labels, so both parts count the same: studio-nano and seasons.'
        >>> sentence(np.array([0.0, 1.0]), ["studio-nano", "seasons"])
        'Joining does not help here: your labels are told apart best by seasons alone, and the map leaves out: studio-nano.'
    """
    percent = [round(100 * float(one)) for one in weights]
    used = [name for name, one in zip(names, percent, strict=True) if one > 0]
    if len(set(percent)) == 1:
        if len(names) == 2:
            one, other = names
            return f"No other weighting is clearly better for your labels, so both parts count the same: {one} and {other}."
        listed = "; ".join(names)
        return f"No other weighting is clearly better for your labels, so all parts count the same: {listed}."
    if len(used) == 1:
        alone, unused = used[0], "; ".join(name for name in names if name not in used)
        return f"Joining does not help here: your labels are told apart best by {alone} alone, and the map leaves out: {unused}."
    if len(names) == 2:
        full, less = (names[percent.index(one)] for one in (100, min(percent)))
        part = min(percent)
        return (
            f"Joining helps: your labels are told apart best with {full} counting fully and {less} counting "
            f"{part:.0f} % of that."
        )
    told = "; ".join(f"{name} {one} %" for name, one in zip(names, percent, strict=True))
    return f"Joining helps: your labels are told apart best when the parts count so much: {told}."


def learnt(head: object, provenance: Provenance) -> str:
    """The :func:`sentence` about a fitted head on a raster of that provenance; empty where no part was weighed.

    Example:
        >>> learnt(None, Provenance(dim=128))
        ''
    """
    weights = getattr(head, "block_weights_", None)
    return "" if weights is None else sentence(weights, provenance.part_names)
