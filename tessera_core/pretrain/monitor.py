"""What is watched while training: the rank of the representation and a linear probe on held-out simulated worlds.

Selection of a checkpoint looks at these worlds only, never at real test data. Knows encoders and packed pixels.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tessera_core.models.encoder import Backbone, Encoder
from tessera_core.models.normalisation import Normalisation
from tessera_core.pretrain.barlow import effective_rank
from tessera_core.pretrain.pixels import PixelSet

_TOKENS = 12_000  # per encoder call: activations stay in cache


def embed(encoder: Encoder, pixels: PixelSet, normalisation: Normalisation) -> NDArray[np.float32]:
    """Representations (N, D) of all packed observations of each pixel; padding is hidden by its multiplicity.

    Equals the tile engine up to the observations that its length buckets repeat.
    """
    position = np.arange(pixels.s2.shape[1])[None]
    s2 = np.concatenate([normalisation.s2(pixels.s2), pixels.s2_doy[..., None].astype(np.float32)], axis=-1)
    radar_position = np.arange(pixels.s1.shape[1])[None]
    ascending = (radar_position < pixels.s1_ascending[:, None])[..., None]
    values = np.where(ascending, normalisation.ascending(pixels.s1), normalisation.descending(pixels.s1))
    s1 = np.concatenate([values, pixels.s1_doy[..., None].astype(np.float32)], axis=-1)
    if encoder.config.order_matters:
        raise ValueError("packed pixels suit encoders without recurrent pooling only")
    parts = [
        _backbone(encoder.s2_backbone, s2, position < pixels.s2_count[:, None]),
        _backbone(encoder.s1_backbone, s1, radar_position < pixels.s1_count[:, None]),
    ]
    with torch.inference_mode():
        return encoder.fuse(*parts).float().cpu().numpy()


def _backbone(backbone: Backbone, x: NDArray[np.float32], valid: NDArray[np.bool_]) -> Tensor:
    # A pixel without observations is one token of normalised zeros with day of year 0.
    empty = ~valid.any(1)
    x[empty], valid = 0, valid.copy()
    valid[empty, 0] = True
    counts = valid.sum(1)
    order = np.argsort(counts, kind="stable")
    device = next(backbone.parameters()).device
    out = torch.empty(len(x), backbone.width, device=device)
    start = 0
    with torch.inference_mode():
        while start < len(order):
            # Sorted ascending, so the last of a chunk is its longest.
            size = max(1, _TOKENS // int(counts[order[min(start + 256, len(order) - 1)]]))
            rows = order[start : start + size]
            longest = int(counts[rows].max())
            mask = torch.from_numpy(np.where(valid[rows, :longest], np.float32(0), np.float32(-np.inf)))
            out[torch.from_numpy(rows)] = backbone(
                torch.from_numpy(x[rows, :longest]).to(device), mask.to(device)
            ).float()
            start += size
    return out


@dataclass(frozen=True)
class ProbeResult:
    """Mean over worlds and repeats of macro-F1 for each number of labels per class, and RankMe of the representation."""

    macro_f1: dict[int, float]
    rank: float


def linear_probe(
    features: NDArray[np.float32],
    labels: NDArray[np.integer],
    groups: NDArray[np.integer],
    per_class: int,
    repeats: int,
    seed: int = 0,
) -> list[float]:
    """Macro-F1 of logistic regression on few labels, tested on pixels of other groups (parcels, fields).

    Classes with fewer than twice ``per_class`` groups' worth of pixels to spare are left out: of every class half of the groups
    (at most ``per_class`` of them) give the labels, one pixel each before any gives a second.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score
    from sklearn.preprocessing import StandardScaler

    scores = []
    for repeat in range(repeats):
        rng = np.random.default_rng((seed, repeat))
        train: list[NDArray[np.intp]] = []
        test: list[NDArray[np.intp]] = []
        for value in np.unique(labels[labels > 0]):
            mine = rng.permutation(np.flatnonzero(labels == value))
            names = rng.permutation(np.unique(groups[mine]))
            if len(names) < 4:
                continue
            teaching = names[: min(per_class, len(names) // 2)]
            inside = np.isin(groups[mine], teaching)
            # Round-robin over the teaching groups.
            pool = mine[inside]
            turn = np.zeros(len(pool), int)
            for name in teaching:
                rows = np.flatnonzero(groups[pool] == name)
                turn[rows] = np.arange(len(rows))
            train.append(pool[np.argsort(turn, kind="stable")][:per_class])
            test.append(mine[~inside])
        if len(train) < 2:
            continue
        rows, others = np.concatenate(train), np.concatenate(test)
        scaler = StandardScaler().fit(features[rows])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(C=0.1, max_iter=300).fit(scaler.transform(features[rows]), labels[rows])
        scores.append(
            float(f1_score(labels[others], model.predict(scaler.transform(features[others])), average="macro"))
        )
    return scores


def probe(
    encoder: Encoder,
    worlds: Sequence[PixelSet],
    normalisation: Normalisation,
    per_class: Sequence[int],
    repeats: int = 5,
) -> ProbeResult:
    """Embed the held-out worlds and score a linear probe inside each."""
    was_training = encoder.training
    encoder.eval()
    scores: dict[int, list[float]] = {n: [] for n in per_class}
    ranks = []
    for world in worlds:
        features = embed(encoder, world, normalisation)
        ranks.append(effective_rank(torch.from_numpy(features)))
        for n in per_class:
            scores[n] += linear_probe(features, world.label, world.place[:, 1], n, repeats)
    encoder.train(was_training)
    return ProbeResult({n: float(np.mean(s)) if s else 0.0 for n, s in scores.items()}, float(np.mean(ranks)))
