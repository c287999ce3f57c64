"""How many labels the suggestions save: macro-F1 against labels given, for suggested and for random places.

A person is played by the truth. Labels come five at a time; the score is taken on ground that no label lies on. The figure is
the number of labels at which the mean curve first reaches 95 % of the score that many labels give.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.analysis.active_learning import choose
from tessera_core.bench.sites import POINTS, alphaearth_files, point_files
from tessera_core.gate import open_raster
from tessera_core.heads import DEFAULT_HEAD, make_head

START, BATCH, MOST, SEEDS = 6, 5, 406, 20
POOL, TEST, FULL = 2000, 4000, 2000
BLOCK_PX = 32
TARGET = 0.95
HEAD = DEFAULT_HEAD


@dataclass(frozen=True)
class BenchWorld:
    """Places to label and places to judge: vectors, classes, and where the former lie (or None)."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    ground: NDArray[np.float64] | None
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int64]


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure on the demo region, and on a folder of AlphaEarth points where ``args.points`` names one."""
    seeds = 5 if getattr(args, "quick", False) else SEEDS
    result: dict[str, Any] = {"bench": "active-learning", "head": HEAD, "seeds": seeds, "target": TARGET}
    result["demo"] = compare(demo_world, seeds)
    data = getattr(args, "data", None)
    points = getattr(args, "points", None) or (Path(data) / POINTS if data else None)
    if points:
        result["points"] = compare(lambda seed: point_world(Path(points), seed), seeds)
    return result


def compare(world: Callable[[int], BenchWorld], seeds: int, most: int = MOST) -> dict[str, Any]:
    """Curves of active learning, of uncertainty alone, and of random places, each the mean over ``seeds`` worlds.

    Returns:
        JSON object: ``labels`` (list), ``macro_f1`` by strategy (list), ``full`` (score of many labels), ``labels_needed`` by
        strategy (None where never reached) and ``ratio_random`` (random's labels / ours).
    """
    curves: dict[str, list[list[float]]] = {"active learning": [], "uncertainty alone": [], "random": []}
    full = []
    for seed in range(seeds):
        here = world(seed)
        rng = np.random.default_rng([seed, 1])
        many = rng.permutation(len(here.y))[:FULL]
        full.append(_score(make_head(HEAD).fit(here.x[many], here.y[many]), here))
        for name, curve in curves.items():
            curve.append(_curve(here, name, seed, most))
    length = min(len(curve) for runs in curves.values() for curve in runs)
    counts = [START + BATCH * i for i in range(length)]
    means = {name: np.mean([curve[:length] for curve in runs], axis=0) for name, runs in curves.items()}
    goal = TARGET * float(np.mean(full))
    needed = {name: next((n for n, s in zip(counts, m, strict=True) if s >= goal), None) for name, m in means.items()}
    ours, random = needed["active learning"], needed["random"]
    return {
        "full": round(float(np.mean(full)), 4),
        "labels": counts,
        "macro_f1": {name: [round(float(s), 4) for s in mean] for name, mean in means.items()},
        "labels_needed": needed,
        "ratio_random": round(random / ours, 2) if ours and random else None,
    }


def _curve(world: BenchWorld, strategy: str, seed: int, most: int) -> list[float]:
    rng = np.random.default_rng([seed, 2])
    labelled = _start(world.y, rng)
    scores = []
    while True:
        head = make_head(HEAD).fit(world.x[labelled], world.y[labelled])
        scores.append(_score(head, world))
        if len(labelled) + BATCH > most:
            return scores
        free = np.setdiff1d(np.arange(len(world.y)), labelled)
        pool = rng.permutation(free)[:POOL]
        if strategy == "random":
            picked = pool[:BATCH]
        elif strategy == "uncertainty alone":
            ordered = np.sort(head.predict_proba(world.x[pool]), axis=1)
            picked = pool[np.argsort(ordered[:, -1] - ordered[:, -2])[:BATCH]]
        else:
            ground = (None, None) if world.ground is None else (world.ground[pool], world.ground[labelled])
            picked = pool[choose(world.x[pool], world.x[labelled], head, BATCH, *ground)[0]]
        labelled = np.concatenate([labelled, picked])


def _start(y: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.intp]:
    """A few random places, of two classes at least."""
    while True:
        picked = rng.permutation(len(y))[:START]
        if len(np.unique(y[picked])) > 1:
            return picked


def _score(head: Any, world: BenchWorld) -> float:
    from sklearn.metrics import f1_score

    labels = np.unique(world.y_test)
    return float(f1_score(world.y_test, head.predict(world.x_test), labels=labels, average="macro", zero_division=0))


def demo_world(seed: int) -> BenchWorld:
    """The demo region: half of its squares of 32 pixels to label in, the other half to judge on."""

    from tessera_core.project.demo import ensure_demo
    from tessera_core.raster import EmbeddingRaster

    region = ensure_demo()
    year = max(region.embeddings)
    raster = EmbeddingRaster.open(region.embeddings[year])
    with open_raster(region.truth[year]) as file:
        truth = file.read(1)
    return split_world(raster, truth, seed)


def split_world(raster: Any, truth: NDArray[np.uint8], seed: int) -> BenchWorld:
    """A raster with its truth, half of its squares to label in, the other half to judge on."""
    rng = np.random.default_rng([seed, 3])
    blocks = rng.random([-(-n // BLOCK_PX) for n in raster.shape]) < 0.5
    rows, cols = np.nonzero(raster.valid() & (truth > 0))
    inside = blocks[rows // BLOCK_PX, cols // BLOCK_PX]
    pool = rng.permutation(np.flatnonzero(inside))[: 10 * POOL]
    test = rng.permutation(np.flatnonzero(~inside))[:TEST]
    y = truth[rows, cols].astype(np.int64)
    ground = np.stack([rows[pool], cols[pool]], axis=1).astype(float)
    return BenchWorld(
        raster.sample(rows[pool], cols[pool]), y[pool], ground, raster.sample(rows[test], cols[test]), y[test]
    )


def point_world(folder: Path, seed: int) -> BenchWorld:
    """AlphaEarth points with Dynamic World classes: cells of 0.1 degree to label in, others to judge on."""
    site = alphaearth_files(point_files(folder))
    rng = np.random.default_rng([seed, 4])
    number = int(site.groups.max()) + 1
    labelled = np.isin(site.groups, rng.permutation(number)[: number * 2 // 3])
    return BenchWorld(site.x[labelled], site.y[labelled], None, site.x[~labelled], site.y[~labelled])
