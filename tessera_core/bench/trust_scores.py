"""The last part of ``tessera bench trust``: the score beside the map, by how its labels were chosen, where the truth is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.analysis.active_learning import next_queries
from tessera_core.assess.live import live_score
from tessera_core.assess.samples import CodeFeatures, Samples
from tessera_core.bench.trust_numbers import SIZE, fields_raster, wide
from tessera_core.heads import DEFAULT_HEAD, make_head
from tessera_core.raster import EmbeddingRaster

FIELD, DIM = 8, 24
SHARES = (0.4, 0.28, 0.17, 0.1, 0.05)
"""Of the classes; each is of three kinds that differ less."""
ROWS = (
    ("chance", 10, 0),
    ("chance", 40, 0),
    ("suggestions", 2, 40),
    ("suggestions", 10, 40),
    ("middles of fields", 20, 0),
)
_TRIED = 3000


def scores(draws: int, seed: int) -> list[dict[str, Any]]:
    """How often the score's interval holds the share of the region that is right: ``holds``, ``off``, ``width``, and the same of a
    score that does not know how labels were chosen (``blind_``)."""
    rows = []
    for way, own, suggested in ROWS:
        found = []
        for number in range(draws):
            rng = np.random.default_rng((seed, number, own, suggested))
            raster, truth = _classes(rng)
            at, chosen = _labels(way, own, suggested, raster, truth, rng)
            samples = _samples(raster, truth, at, chosen)
            right = _right(raster, truth, at, rng)
            for one in (samples, replace(samples, suggested=None)):
                told = live_score(one, make_head(DEFAULT_HEAD), naive=False)
                if told.accuracy is not None and told.interval is not None:
                    low, high = told.interval
                    found.append((one is samples, told.accuracy - right, low <= right <= high, high - low))
        row: dict[str, Any] = {"labels": way, "own": own, "suggested": suggested}
        for knows, before in ((True, ""), (False, "blind_")):
            these = np.array([one[1:] for one in found if one[0] is knows], float)
            row |= {
                f"{before}off": round(float(these[:, 0].mean()), 3),
                f"{before}holds": round(float(these[:, 1].mean()), 3),
                f"{before}width": round(float(np.median(these[:, 2])), 3),
            }
        rows.append(row)
    return rows


def _classes(rng: np.random.Generator) -> tuple[EmbeddingRaster, NDArray[np.int64]]:
    """A landscape of fields with soft borders, and its classes from 1."""
    from scipy.ndimage import gaussian_filter

    classes, n = len(SHARES), SIZE // FIELD
    kinds = rng.normal(size=(classes, 1, DIM)) + 0.9 * rng.normal(size=(classes, 3, DIM))
    of = rng.choice(classes, p=SHARES, size=(n, n))
    vectors = kinds[of, rng.integers(3, size=of.shape)] + 0.5 * rng.normal(size=(n, n, DIM))
    seen = gaussian_filter(wide(vectors), (0.8, 0.8, 0)) + rng.uniform(0.5, 1.0) * rng.normal(size=(SIZE, SIZE, DIM))
    return fields_raster(seen, 2023), wide(of).astype(np.int64) + 1


def _labels(
    way: str, own: int, suggested: int, raster: EmbeddingRaster, truth: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Pixels (N, 2), and which of them the app suggested: five at a time, each answered by what is there."""
    rows, cols = np.indices(truth.shape)
    middle = (abs(rows % FIELD - 3.5) < 1) & (abs(cols % FIELD - 3.5) < 1)
    allowed = middle if way == "middles of fields" else np.ones_like(middle)
    at = np.concatenate(
        [
            rng.permutation(np.argwhere((truth == one) & allowed))[:own].astype(np.int64)
            for one in np.unique(truth).tolist()
        ]
    )
    mine = len(at)
    while len(at) < mine + suggested:
        head = make_head(DEFAULT_HEAD).fit_at(raster, at[:, 0], at[:, 1], truth[at[:, 0], at[:, 1]])
        next_ = next_queries(raster, head, at[:, 0], at[:, 1], {}, seed=len(at))
        if not next_:
            break
        at = np.concatenate([at, [(one.row, one.col) for one in next_]])
    return at, np.arange(len(at)) >= mine


def _samples(
    raster: EmbeddingRaster, truth: NDArray[np.int64], at: NDArray[np.int64], chosen: NDArray[np.bool_]
) -> Samples:
    order = np.lexsort((at[:, 1], at[:, 0]))
    rows, cols = at[order].T
    features = CodeFeatures.at(raster, rows, cols)
    names = {k + 1: f"class {k + 1}" for k in range(len(SHARES))}
    suggested = chosen[order] if chosen.any() else None
    return Samples(features, truth[rows, cols], np.arange(len(rows)), rows, cols, names, suggested=suggested)


def _right(raster: EmbeddingRaster, truth: NDArray[np.int64], at: NDArray[np.int64], rng: np.random.Generator) -> float:
    """Share of the region at which the map of these labels is right."""
    head = make_head(DEFAULT_HEAD).fit_at(raster, at[:, 0], at[:, 1], truth[at[:, 0], at[:, 1]])
    tried = np.divmod(rng.choice(truth.size, _TRIED, replace=False), SIZE)
    return float((head.classes_[head.proba_at(raster, *tried).argmax(1)] == truth[tried]).mean())


def tables(result: dict[str, Any]) -> Iterator[str]:
    """The rows as Markdown."""
    yield from (
        "",
        "The score beside the map, by how labels were chosen:",
        "",
        "| labels | holds | score - truth | width | not knowing how they were chosen: holds | score - truth |",
        "|---|---|---|---|---|---|",
    )
    for row in result["scores"]:
        labels = f"{row['own']} a class" + (
            f" and {row['suggested']} suggested" if row["suggested"] else f", {row['labels']}"
        )
        yield (
            f"| {labels} | {row['holds']:.2f} | {row['off']:+.3f} | {row['width']:.2f} | {row['blind_holds']:.2f} "
            f"| {row['blind_off']:+.3f} |"
        )
    yield from ("", f"{result['scores_draws']} landscapes each.")


def measure(draws: int, seed: int) -> dict[str, Any]:
    """All rows, as a JSON object with ``scores`` and ``scores_draws``."""
    return {"scores_draws": draws, "scores": scores(draws, seed)}
