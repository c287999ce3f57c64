"""Label to map, timed part by part: sample, fit, predict with confidence, PNG; beside scikit-learn on the same data.

Embeddings are synthetic (8 classes in 128 dimensions, in patches), because time does not depend on what they show.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.grid import Grid
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster, dequantise

DIM, CLASSES, LABELS, PATCH = 128, 8, 200, 20
SIZES = {"262144": (512, 512), "1000000": (1000, 1000)}
COLORS = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#edc948", "#b07aa1", "#9c755f")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure; times are medians in milliseconds, ``ratio_<peer>`` is the peer's time / ours."""
    from tessera_core._utils.int8 import kernels

    quick = bool(getattr(args, "quick", False))
    sizes = dict(list(SIZES.items())[:1]) if quick else SIZES
    return {
        "bench": "hot-path",
        "machine": machine(),
        "dim": DIM,
        "classes": CLASSES,
        "labels": LABELS,
        "kernel": kernels()[-1],
        "unit": "milliseconds, median of repeats",
        "pixels": {name: _measure(shape, quick) for name, shape in sizes.items()},
    }


def machine() -> dict[str, Any]:
    """What the times were taken on, and how busy it was."""
    import os
    from importlib.metadata import version

    from tessera_core._utils.int8 import kernels
    from tessera_core._utils.threads import cores

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "processor": platform.processor() or platform.machine(),
        "kernel": kernels()[-1],
        "cores": os.cpu_count(),
        "threads": cores(),
        "load_1min": load,
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scikit-learn": version("scikit-learn"),
    }


def synthetic(shape: tuple[int, int], seed: int = 0) -> tuple[EmbeddingRaster, NDArray[np.uint8]]:
    """A raster of patches of 8 classes and its true class ids 1..8, uint8 (H, W)."""
    rng = np.random.default_rng(seed)
    height, width = shape
    patches = rng.integers(0, CLASSES, (-(-height // PATCH), -(-width // PATCH)))
    truth = patches.repeat(PATCH, 0).repeat(PATCH, 1)[:height, :width]
    centres = rng.normal(size=(CLASSES, DIM)).astype(np.float32)
    codes, scales = np.empty((*shape, DIM), np.int8), np.empty(shape, np.float32)
    for row in range(height):
        x = centres[truth[row]] + 2 * rng.normal(size=(width, DIM)).astype(np.float32)
        scales[row] = np.abs(x).max(axis=1) / 127
        codes[row] = np.rint(x / scales[row][:, None])
    return EmbeddingRaster(codes, scales, Grid.local(shape), Provenance("synthetic")), (truth + 1).astype(np.uint8)


def _measure(shape: tuple[int, int], quick: bool) -> dict[str, Any]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    from tessera_core.heads import INSTANT_HEADS, Scene, make_head
    from tessera_core.render import palette

    raster, truth = synthetic(shape)
    scene = Scene(raster)
    rng = np.random.default_rng(1)
    rows, cols = rng.integers(0, shape[0], LABELS), rng.integers(0, shape[1], LABELS)
    y = truth[rows, cols]
    colors = dict(enumerate(COLORS, start=1))
    repeats = 5 if quick else 9
    # Parts of a few milliseconds: one call in the way of another job would be a large share of few.
    many = 12 * repeats
    sample = _time(lambda: scene.sample(rows, cols), many)
    x = scene.sample(rows, cols)
    heads: dict[str, Any] = {}
    for name in INSTANT_HEADS:
        head = make_head(name)
        times = {"sample_ms": sample, "fit_ms": _time(partial(head.fit, x, y), many)}
        times["predict_confidence_ms"] = _time(partial(scene.predict, head), 3 if name == "knn" else repeats)
        made = scene.predict(head)
        times["png_ms"] = _time(partial(palette.encode, made.classes, colors), repeats)
        times["total_ms"] = round(sum(times.values()), 3)
        heads[name] = {**times, "accuracy": round(float((made.classes == truth).mean()), 4)}

    codes, scales = raster.codes.reshape(-1, DIM), raster.scales.reshape(-1)
    plain = dequantise(codes, scales)
    logistic = LogisticRegression(max_iter=1000)
    peers = {
        "sklearn_logistic_fit_ms": _time(lambda: logistic.fit(x, y), 3),
        "sklearn_logistic_predict_ms": _time(lambda: logistic.predict(plain), 5),
        "sklearn_logistic_predict_proba_ms": _time(lambda: logistic.predict_proba(plain), 3),
        "dequantise_sklearn_logistic_ms": _time(lambda: logistic.predict(dequantise(codes, scales)), 3),
    }
    nearest = KNeighborsClassifier(5).fit(x, y)
    peers["sklearn_knn_predict_ms"] = _time(lambda: nearest.predict(plain), 1, warm=0)
    # Our times below include confidence; scikit-learn's `predict` has none.
    ours_logistic, ours_knn = heads["logistic"]["predict_confidence_ms"], heads["knn"]["predict_confidence_ms"]
    return {
        "heads": heads,
        "peers": peers,
        "ratio_sklearn_logistic_fit": _ratio(peers["sklearn_logistic_fit_ms"], heads["logistic"]["fit_ms"]),
        "ratio_sklearn_logistic": _ratio(peers["sklearn_logistic_predict_ms"], ours_logistic),
        "ratio_sklearn_logistic_proba": _ratio(peers["sklearn_logistic_predict_proba_ms"], ours_logistic),
        "ratio_dequantise_sklearn_logistic": _ratio(peers["dequantise_sklearn_logistic_ms"], ours_logistic),
        "ratio_sklearn_knn": _ratio(peers["sklearn_knn_predict_ms"], ours_knn),
        "ratio_sklearn_knn_to_ridge": _ratio(peers["sklearn_knn_predict_ms"], heads["ridge"]["predict_confidence_ms"]),
    }


def _ratio(peer_ms: float, ours_ms: float) -> float:
    return round(peer_ms / ours_ms, 2)


def _time(work: Callable[[], Any], repeats: int, warm: int = 1) -> float:
    """Median milliseconds of ``repeats`` calls after ``warm`` that do not count."""
    for _ in range(warm):
        work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return round(1e3 * statistics.median(times), 3)
