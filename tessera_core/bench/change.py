"""``tessera bench change``: precision and recall of change where truth is known, and false alarms where nothing changed.

Simulated landscapes, embedded with our own model. Pairs of years with their real history (crops rotate, woods are felled, the
town grows) have known truth. Pairs without any change are a year simulated again with other clouds, dates and noise, and the
same landscape in another year's weather, dry summer included. Beside it stands the rule that calls every pixel changed whose
cosine distance is above the scene's median.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.analysis.change import NO_LEVEL, ChangeLayer, detect_change
from tessera_core.bench.hot_path import machine
from tessera_core.dpixels.simulate.parcels import Climate, Parcels
from tessera_core.dpixels.simulate.world import World, make_world
from tessera_core.raster import EmbeddingRaster, dequantise

SIZE, SEEDS = 256, (0, 1, 2, 3)
QUICK_SIZE, QUICK_SEEDS = 128, (0,)
YEARS = (2023, 2024, 2025)
RATES = (0.01, 0.05, 0.1, 0.2)
# Pretended years: which year's landscape they repeat, and whether its weather, too.
AGAIN = {2123: (2023, True), 2225: (2023, False), 2224: (2023, False)}
_NAMES = {
    2123: "same year, other clouds and noise",
    2225: "other weather, no drought",
    2224: "other weather, dry summer",
}


class _Again(World):
    """A world in which pretended years repeat the landscape of a real one."""

    def climate(self, year: int) -> Climate:
        """That of the repeated year, or of the pretended one."""
        base, same = AGAIN.get(year, (year, True))
        return super().climate(base if same else year)

    def parcels(self, year: int) -> Parcels:
        """Those of the repeated year where its weather is repeated."""
        base, same = AGAIN.get(year, (year, True))
        return super().parcels(base if same else year)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure; rates and shares are fractions of 1."""
    quick = bool(getattr(args, "quick", False))
    size, seeds = (QUICK_SIZE, QUICK_SEEDS) if quick else (SIZE, SEEDS)
    pairs: list[dict[str, Any]] = []
    nulls: list[dict[str, Any]] = []
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="tessera-bench-") as folder:
            world, rasters = _embed(seed, size, Path(folder))
            for a, b in ((2023, 2024), (2023, 2025), (2024, 2025)):
                pairs.append({"seed": seed, "years": [a, b], **_score(world, rasters, a, b)})
            for b in AGAIN:
                nulls.append({"seed": seed, "what": _NAMES[b], **_score(world, rasters, 2023, b)})
    return {
        "bench": "change",
        "machine": machine(),
        "size": size,
        "seeds": list(seeds),
        "offset_pixels": 0.3,
        "rates": list(RATES),
        "changed": pairs,
        "unchanged": nulls,
        "summary": _summary(pairs, nulls),
    }


def _embed(seed: int, size: int, folder: Path) -> tuple[World, dict[int, EmbeddingRaster]]:
    from tessera_core.demo import DEMO_WEIGHTS
    from tessera_core.dpixels.simulate.observe import observe
    from tessera_core.generate.tiles import generate_tile
    from tessera_core.models.checkpoint import load_checkpoint
    from tessera_core.sources.local import open_embeddings

    plain = make_world(seed, size, YEARS)
    covers, truth = dict(plain.covers), dict(plain.truth)
    for year, (base, _) in AGAIN.items():
        covers[year], truth[year] = covers[base], truth[base]
    world = _Again(plain.seed, plain.grid, plain.terrain, plain.layout, covers, truth, plain.vigour)
    loaded = load_checkpoint(DEMO_WEIGHTS)
    rasters = {}
    for year in (*YEARS, *AGAIN):
        observe(world, year, folder / f"dpixels-{year}")
        work = folder / f"embeddings-{year}"
        generate_tile(folder / f"dpixels-{year}", loaded, work)
        opened = open_embeddings(work)
        # In memory, because the folder goes when the measurement ends.
        rasters[year] = replace(opened, codes=np.array(opened.codes), scales=np.array(opened.scales))
    return world, rasters


def _score(world: World, rasters: Mapping[int, EmbeddingRaster], a: int, b: int) -> dict[str, Any]:
    layer = detect_change(rasters[a], rasters[b])
    changed = world.truth[a] != world.truth[b]
    edge = _edge(changed)
    result: dict[str, Any] = {
        "truly_changed": round(float(changed.mean()), 4),
        "scene_shift": round(layer.shift.share, 3),
        "null": [round(layer.null.centre, 3), round(layer.null.spread, 3)],
        "at": {f"{rate:g}": _at(layer, layer.mask(rate), changed, edge) for rate in RATES},
        "scene_median_rule": _at(layer, _median_rule(rasters[a], rasters[b]), changed, edge),
    }
    return result


def _at(
    layer: ChangeLayer, called: NDArray[np.bool_], changed: NDArray[np.bool_], edge: NDArray[np.bool_]
) -> dict[str, float | None]:
    known = layer.levels != NO_LEVEL
    called = called & known
    inner = called & ~edge
    return {
        "called": round(float(called.sum() / known.sum()), 5),
        "precision": round(float((called & changed).sum() / called.sum()), 4) if called.any() else None,
        "precision_off_edges": round(float((inner & changed).sum() / inner.sum()), 4) if inner.any() else None,
        "recall": round(float((called & changed).sum() / changed.sum()), 4) if changed.any() else None,
    }


def _edge(changed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels next to a border between changed and unchanged ground: mixed, so that neither answer is right."""
    from scipy.ndimage import binary_dilation

    return (binary_dilation(changed) & ~changed) | (binary_dilation(~changed) & changed)


def _median_rule(first: EmbeddingRaster, second: EmbeddingRaster) -> NDArray[np.bool_]:
    """Cosine distance above the scene's median."""
    a, b = (dequantise(r.codes, np.asarray(r.scales)) for r in (first, second))
    cosine = (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))
    distance = 1 - cosine
    return np.asarray(distance > np.nanmedian(distance), bool)


def _summary(pairs: list[dict[str, Any]], nulls: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over pairs, and the worst share that was called changed where nothing had."""
    out: dict[str, Any] = {}
    for rate in (f"{rate:g}" for rate in RATES):
        found = [pair["at"][rate] for pair in pairs]
        false = [1 - one["precision"] for one in found if one["precision"] is not None]
        out[rate] = {
            "false_share_mean": round(float(np.mean(false)), 4) if false else None,
            "false_share_worst": round(float(np.max(false)), 4) if false else None,
            "recall_mean": round(float(np.mean([one["recall"] for one in found])), 4),
            "called_without_change_worst": max(null["at"][rate]["called"] for null in nulls),
        }
    rule = [pair["scene_median_rule"] for pair in pairs]
    out["scene_median_rule"] = {
        "false_share_mean": round(float(np.mean([1 - one["precision"] for one in rule])), 4),
        "recall_mean": round(float(np.mean([one["recall"] for one in rule])), 4),
        "called_without_change_worst": max(null["scene_median_rule"]["called"] for null in nulls),
    }
    return out
