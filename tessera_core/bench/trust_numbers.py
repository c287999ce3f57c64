"""Still more of ``tessera bench trust``: what a comparison of years could have found, and margins of a map of a number.

Landscapes of square fields with vectors of their own, made here: no satellite, no encoder, but all is known of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.percents import percent
from tessera_core.analysis.change import change_power, detect_change
from tessera_core.assess.region_mean import region_mean
from tessera_core.assess.regression import RegressionSamples
from tessera_core.grid import Grid
from tessera_core.project.regress import RegressionChoice, fit_regression, score_regression
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tessera_core.sources.local.convert import quantise_block

SIZE, FIELD, KINDS, DIM = 128, 8, 6, 24
RATE = 0.05
# Noise of a pixel in units of what tells kinds of ground apart, and share of the fields that changed.
YEARS = ((0.3, 0.05), (0.6, 0.05), (0.9, 0.2), (1.0, 0.5), (3.0, 0.2))
PLOTS = (
    ("by chance", 20),
    ("by chance", 50),
    ("by chance", 200),
    ("five on a heap", 50),
    ("five on a heap", 150),
    ("five on a heap", 250),
    ("five on a heap", 500),
    ("ten in a field", 300),
    ("ten in a field", 100),
)


def fields_raster(values: NDArray[np.floating], year: int) -> EmbeddingRaster:
    """A raster of vectors float (H, W, D), made as coarse as rasters are."""
    codes, scales = quantise_block(values)
    grid = Grid.local(scales.shape)
    return EmbeddingRaster(codes, scales, grid, Provenance("studio", "bench", "", DIM, year, "simulated"))


def wide(fields: NDArray[Any]) -> NDArray[Any]:
    """Fields as pixels."""
    return fields.repeat(FIELD, 0).repeat(FIELD, 1)


def changes(draws: int, seed: int) -> list[dict[str, Any]]:
    """What was found of changed ground, and what was said beforehand could be: ``found``, ``power`` and ``off`` (means)."""
    rows = []
    for noise, share in YEARS:
        found, power = [], []
        for number in range(draws):
            rng = np.random.default_rng((seed, number, round(100 * noise), round(100 * share)))
            centres = rng.normal(size=(KINDS, DIM))
            kind = rng.integers(KINDS, size=(SIZE // FIELD, SIZE // FIELD))
            changed = rng.random(kind.shape) < share
            later = np.where(changed, (kind + rng.integers(1, KINDS, kind.shape)) % KINDS, kind)
            first, second = (
                fields_raster(wide(centres[of]) + noise * rng.normal(size=(SIZE, SIZE, DIM)), year)
                for of, year in ((kind, 2023), (later, 2024))
            )
            found.append(detect_change(first, second).mask(RATE)[wide(changed)].mean())
            told = change_power(first, second, (RATE,), seed=number)
            power.append(np.nan if told is None else told.at(RATE))
        off = np.abs(np.array(found) - np.array(power))
        rows.append(
            {
                "noise": noise,
                "changed": share,
                "found": round(float(np.mean(found)), 3),
                "power": round(float(np.nanmean(power)), 3),
                "off": round(float(np.nanmean(off)), 3),
            }
        )
    return rows


def plots(draws: int, seed: int) -> list[dict[str, Any]]:
    """How often margins of a map of a number hold over the region, and the interval of its mean; its score beside the truth."""
    rows = []
    for design, n in PLOTS:
        held, r2, true, means, whole = [], [], [], [], []
        for number in range(draws):
            rng = np.random.default_rng((seed, number, n))
            raster, values = _number(rng)
            at = _places(design, n, rng)
            samples = RegressionSamples(values[at], np.arange(len(at[0])), *at)
            head = RegressionChoice().make()
            fit_regression(samples, raster, head)
            pixels = np.divmod(rng.choice(SIZE**2, 2000, replace=False), SIZE)
            guess, margin = head.predict_interval(raster.sample(*pixels))
            error = guess - values[pixels]
            held.append((np.abs(error) <= margin).mean())
            true.append(1 - np.square(error).mean() / values[pixels].var())
            scored = score_regression(samples, raster, RegressionChoice())
            r2.append(scored.result["r2"] if scored.result else np.nan)
            if scored.result and (mapped := scored.result["map_r2"]) is not None:
                whole.append(
                    (mapped["value"], mapped["low"] <= true[-1] <= mapped["high"], mapped["high"] - mapped["low"])
                )
            if scored.held_out is not None:
                mean = region_mean(guess[None], scored.held_out)
                if mean is not None:
                    means.append(mean.low <= values.mean() <= mean.high)
        rows.append(
            {
                "plots": f"{n}, {design}",
                "holds": round(float(np.mean(held)), 3),
                "mean_holds": round(float(np.mean(means)), 3) if means else None,
                "r2": round(float(np.nanmean(r2)), 3),
                "r2_true": round(float(np.mean(true)), 3),
                "map_r2_given": len(whole),
                "map_r2": round(float(np.mean([one for one, _, _ in whole])), 3) if whole else None,
                "map_r2_holds": round(float(np.mean([one for _, one, _ in whole])), 3) if whole else None,
                "map_r2_width": round(float(np.median([one for _, _, one in whole])), 2) if whole else None,
            }
        )
    return rows


def _number(rng: np.random.Generator) -> tuple[EmbeddingRaster, NDArray[np.float64]]:
    """A landscape and a number, of which the vectors know a part: each field has some of its own that they do not show."""
    n = SIZE // FIELD
    latent = rng.normal(size=(KINDS, DIM))[rng.integers(KINDS, size=(n, n))] + 0.6 * rng.normal(size=(n, n, DIM))
    number = latent @ rng.normal(size=DIM) / DIM**0.5 + 0.5 * rng.normal(size=(n, n))
    values = wide(number) + 0.3 * rng.normal(size=(SIZE, SIZE))
    return fields_raster(wide(latent) + 0.3 * rng.normal(size=(SIZE, SIZE, DIM)), 2023), values


def _places(design: str, n: int, rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    if design == "by chance":
        rows, cols = np.divmod(rng.choice(SIZE**2, n, replace=False), SIZE)
        return rows, cols
    each, side = (5, 5) if design == "five on a heap" else (10, FIELD)
    corners = rng.integers(0, (SIZE - side) // side + 1, (n // each, 2)) * side
    within = np.concatenate(
        [np.column_stack(np.divmod(rng.choice(side**2, each, replace=False), side)) for _ in corners]
    )
    pixels = np.unique(corners.repeat(each, 0) + within, axis=0)
    return pixels[:, 0], pixels[:, 1]


def tables(result: dict[str, Any]) -> Iterator[str]:
    """Both as Markdown."""
    yield from (
        "",
        "Change between two years at 5 % false alarms: what was found of changed ground, and what was said could be:",
        "",
        "| noise (difference of kinds = 1) | changed | found | said could be found | apart (mean) |",
        "|---|---|---|---|---|",
    )
    for row in result["changes"]:
        yield (
            f"| {row['noise']} | {percent(row['changed'])} % | {row['found']:.2f} | {row['power']:.2f} | {row['off']:.2f} |"
        )
    yield from (
        "",
        "A map of a number: how often its 90 % margins and the 95 % intervals of the region's mean and of the map's R² hold:",
        "",
        "| plots | margins hold | mean holds | true R² | R² with ground held out | R² of the map | it holds | its width |",
        "|---|---|---|---|---|---|---|---|",
    )
    for row in result["plots"]:
        mean = "none" if row["mean_holds"] is None else f"{row['mean_holds']:.2f}"
        told = [
            "none" if row[name] is None else f"{row[name]:.2f}" for name in ("map_r2", "map_r2_holds", "map_r2_width")
        ]
        first = f"| {row['plots']} | {row['holds']:.2f} | {mean} | {row['r2_true']:.2f} | {row['r2']:.2f} "
        yield f"{first}| {' | '.join(told)} |"
    yield from ("", f"{result['numbers_draws']} landscapes each.")


def measure(draws: int, seed: int) -> dict[str, Any]:
    """Both, as a JSON object with ``changes``, ``plots`` and ``numbers_draws``."""
    return {"numbers_draws": draws, "changes": changes(draws, seed), "plots": plots(draws, seed)}
