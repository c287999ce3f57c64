"""``tessera bench explore``: looking at a million embeddings, part by part, beside NumPy and scikit-learn in the same run.

Embeddings are synthetic (the scene of ``hot_path``, and the same scene a year later with some patches changed), because time
does not depend on what they show. The peers get their float32 copy of the scene for nothing; making it is timed beside them.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.bench.hot_path import _ratio, _time, machine, synthetic
from tessera_core.raster import EmbeddingRaster, dequantise
from tessera_core.types import Floats

SHAPE, QUICK_SHAPE = (1000, 1000), (300, 300)
POINTS, QUICK_POINTS = (20_000, 50_000), (2_000,)
GROUPS = 12
# Allowed excess of k-means inertia over scikit-learn's for a fair race.
INERTIA_SLACK = 1.01


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure; times are medians in seconds, ``ratio_<peer>`` is the peer's time / ours."""
    from tessera_core._utils.int8 import kernels

    quick = bool(getattr(args, "quick", False))
    shape = QUICK_SHAPE if quick else SHAPE
    repeats = 3 if quick else 5
    first, truth = synthetic(shape)
    second, changed = _year_later(first, truth)
    plain = dequantise(first.codes.reshape(-1, first.dim), first.scales.reshape(-1))
    result: dict[str, Any] = {
        "bench": "explore",
        "machine": machine(),
        "pixels": int(truth.size),
        "dim": first.dim,
        "kernel": kernels()[-1],
        "unit": "seconds, median of repeats",
        "dequantise_s": _seconds(lambda: dequantise(first.codes, first.scales), 3),
        "pca": _pca(first, plain, repeats),
        "similarity": _similarity(first, plain, repeats),
        "kmeans": _kmeans(first, plain, 1 if quick else 3),
        "change": _change(first, second, plain, changed, repeats),
    }
    del plain
    result["projections"] = projections(
        {"synthetic": first} if quick else landscapes(first), QUICK_POINTS if quick else POINTS
    )
    return result


def _seconds(work: Callable[[], Any], repeats: int, warm: int = 1) -> float:
    return round(_time(work, repeats, warm) / 1e3, 4)


def _year_later(first: EmbeddingRaster, truth: NDArray[np.uint8]) -> tuple[EmbeddingRaster, NDArray[np.bool_]]:
    """The scene again with other noise, and every tenth patch of the first class with the vectors of another."""
    rng = np.random.default_rng(9)
    codes = np.array(first.codes)
    changed = np.zeros(truth.shape, bool)
    rows, cols = np.indices(truth.shape)
    changed[(truth == 1) & ((rows // 20 + cols // 20) % 3 == 0)] = True
    other_class = np.flatnonzero((truth == 2).ravel())
    codes[changed] = first.codes.reshape(-1, first.dim)[rng.choice(other_class, int(changed.sum()))]
    for start in range(0, len(codes), 50):
        part = codes[start : start + 50]
        part[:] = np.clip(part + rng.integers(-6, 7, part.shape, dtype=np.int8).astype(np.int16), -127, 127)
    return EmbeddingRaster(codes, first.scales, first.grid, replace(first.provenance, year=2024)), changed


def _pca(raster: EmbeddingRaster, plain: Floats, repeats: int) -> dict[str, Any]:
    from sklearn.decomposition import PCA

    from tessera_core.analysis.pca import SAMPLE
    from tessera_core.render.picture import pca_picture

    def peer() -> NDArray[np.uint8]:
        chosen = np.random.default_rng(0).choice(len(plain), min(SAMPLE, len(plain)), replace=False)
        fitted = PCA(3, random_state=0).fit(plain[chosen])
        low, high = np.percentile(fitted.transform(plain[chosen]), (2, 98), axis=0)
        return np.clip((fitted.transform(plain) - low) * (255 / (high - low)), 0, 255).astype(np.uint8)

    ours = _seconds(lambda: pca_picture(raster), repeats)
    theirs = _seconds(peer, 3)
    return {"fit_and_picture_s": ours, "sklearn_s": theirs, "ratio_sklearn": _ratio(theirs, ours)}


def _similarity(raster: EmbeddingRaster, plain: Floats, repeats: int) -> dict[str, Any]:
    from tessera_core.analysis.similarity import SimilarityIndex

    result: dict[str, Any] = {"index_s": _seconds(lambda: SimilarityIndex(raster), 3)}
    index = SimilarityIndex(raster)
    norms = np.linalg.norm(plain, axis=1)
    for count in (1, 20):
        seeds = raster.sample(np.arange(count) * 13, np.arange(count) * 7)
        units = (seeds / np.linalg.norm(seeds, axis=1, keepdims=True)).T

        def peer(units: Floats = units) -> NDArray[np.uint16]:
            best = (plain @ units).max(axis=1) / norms
            return np.rint(np.clip(best, 0, 1) * 1000).astype(np.uint16)

        ours = _seconds(lambda seeds=seeds: index.query(seeds), 2 * repeats)  # type: ignore[misc]
        theirs = _seconds(peer, repeats)
        agree = np.abs(index.query(seeds).scores.ravel().astype(int) - peer()) <= 1
        result[f"seeds_{count}"] = {
            "ours_s": ours,
            "numpy_s": theirs,
            "ratio_numpy": _ratio(theirs, ours),
            "within_one_per_mille": round(float(agree.mean()), 6),
        }
    return result


def _kmeans(raster: EmbeddingRaster, plain: Floats, repeats: int) -> dict[str, Any]:
    from sklearn.cluster import MiniBatchKMeans

    from tessera_core.analysis.clusters import kmeans

    def inertia(centres: Floats) -> float:
        """Of all pixels, in float64 sums, the same way for both."""
        total, half = 0.0, (centres**2).sum(1) / 2
        for start in range(0, len(plain), 65_536):
            x = plain[start : start + 65_536]
            total += float((x * x).sum(dtype=np.float64) - 2 * (x @ centres.T - half).max(1).sum(dtype=np.float64))
        return total

    fitted = MiniBatchKMeans(GROUPS, random_state=0)
    ours_s = _seconds(lambda: kmeans(raster, GROUPS), repeats)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs_s = _seconds(lambda: fitted.fit_predict(plain), repeats, warm=0)
    ours, theirs = inertia(kmeans(raster, GROUPS).centres), inertia(fitted.cluster_centers_.astype(np.float32))
    return {
        "groups": GROUPS,
        "ours_s": ours_s,
        "sklearn_minibatch_s": theirs_s,
        "ratio_sklearn_minibatch": _ratio(theirs_s, ours_s),
        "inertia": ours,
        "sklearn_inertia": theirs,
        "inertia_ratio": round(ours / theirs, 5),
        "equal_inertia": bool(ours <= INERTIA_SLACK * theirs),
    }


def _change(
    first: EmbeddingRaster, second: EmbeddingRaster, plain: Floats, changed: NDArray[np.bool_], repeats: int
) -> dict[str, Any]:
    from tessera_core.analysis import change
    from tessera_core.analysis.change.scene import fit_scene

    height, width = first.shape
    later = dequantise(second.codes.reshape(-1, second.dim), second.scales.reshape(-1))
    model = fit_scene(first, second, None, 0)

    def peer() -> tuple[NDArray[Any], NDArray[Any]]:
        """The pass over both years only: differences and contrasts. What follows is not charged to NumPy."""
        a = (plain @ model.to_first).reshape(height, width, -1)
        b = (later @ model.to_second).reshape(height, width, -1)
        steepest = np.zeros((height, width), np.float32)
        for scores in (a, b):
            down = np.square(scores[1:] - scores[:-1]).sum(-1)
            right = np.square(scores[:, 1:] - scores[:, :-1]).sum(-1)
            for side, squares in (
                (steepest[1:], down),
                (steepest[:-1], down),
                (steepest[:, 1:], right),
                (steepest[:, :-1], right),
            ):
                np.maximum(side, squares, out=side)
        squares = np.square(b - a - model.constant).sum(-1)
        scale = np.float32(model.noise**-2)
        levels = 0.5 * np.log(np.maximum(scale * squares, 1e-12))
        return levels, np.log(np.maximum(scale * steepest, 1e-12))

    ours = _seconds(lambda: change.detect_change(first, second), repeats)
    theirs = _seconds(peer, 3)
    layer = change.detect_change(first, second)
    slider = _seconds(lambda: (layer.count(0.05), layer.threshold(0.05)), repeats)
    called = layer.mask(0.05)
    return {
        "ours_s": ours,
        "numpy_s": theirs,
        "ratio_numpy": _ratio(theirs, ours),
        "slider_step_s": slider,
        "truly_changed_share": round(float(changed.mean()), 4),
        "called_share": round(float(called.mean()), 4),
        "false_share_of_called": round(float((called & ~changed).sum() / max(int(called.sum()), 1)), 4),
    }


def landscapes(synthetic: EmbeddingRaster) -> dict[str, EmbeddingRaster]:
    """What pictures are judged on: the synthetic scene, and the demo region, whose vectors an encoder made."""
    from tessera_core.bench.sites import demo

    region = demo().raster
    assert region is not None
    return {"synthetic": synthetic, "demo region": region}


def projections(rasters: Mapping[str, EmbeddingRaster], counts: Sequence[int]) -> list[dict[str, Any]]:
    """Seconds, trustworthiness and continuity of the quick layout and of umap-learn's, on the same pixels.

    Both run once before on a few points; a ``first`` row tells what starting and compiling umap-learn takes, which every
    layout in a process of its own pays.
    """
    from tessera_core.analysis.pca import sample_valid
    from tessera_core.analysis.projection import continuity, fit_umap, trustworthiness
    from tessera_core.analysis.umap_learn import fit_layout

    ways: dict[str, Callable[[Floats], Floats]] = {
        "quick": lambda values: fit_umap(values).points,
        "umap-learn": lambda values: fit_layout(values).points,
    }
    rows: list[dict[str, Any]] = []
    for name, raster in rasters.items():
        for count in counts:
            values = raster.sample(*sample_valid(raster, count, 0))
            ways["quick"](values[:400])
            for way, fit in ways.items():
                seconds, used, points = _both_clocks(lambda fit=fit, values=values: fit(values))  # type: ignore[misc]
                rows.append(
                    {
                        "pixels_of": name,
                        "points": len(values),
                        "way": way,
                        "seconds": seconds,
                        "processor_seconds": used,
                    }
                    | {"trustworthiness": round(trustworthiness(values, points), 4)}
                    | {"continuity": round(continuity(values, points), 4)}
                )
    few = next(iter(rasters.values()))
    values = few.sample(*sample_valid(few, 400, 0))
    seconds, used, _ = _both_clocks(lambda: fit_layout(values))
    return [*rows, {"points": len(values), "way": "umap-learn, first", "seconds": seconds, "processor_seconds": used}]


def _both_clocks(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds on the wall, seconds of processors (children's, too), and what the work gave."""
    before, started = os.times(), time.perf_counter()
    found = work()
    wall, after = time.perf_counter() - started, os.times()
    return round(wall, 2), round(sum(after[:4]) - sum(before[:4]), 2), found
