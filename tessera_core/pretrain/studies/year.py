"""What a sensor year can lose: probe scores of windows of the year, of one orbit, without radar and without optics.

The encoder sees only some observations of each pixel, in teaching and in testing alike; labels and divisions are the same for
every variant, so that losses are paired. How many dates it needs is told by :mod:`tessera_core.pretrain.studies.sampling`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tessera_core._utils.atomic import write_json, write_text
from tessera_core.dpixels.seasons import WINDOW_DAYS
from tessera_core.models.checkpoint import LoadedEncoder
from tessera_core.pretrain.pixels import PixelSet
from tessera_core.pretrain.studies.sampling import keep_dates
from tessera_core.pretrain.studies.scenes import StudyScene, embed, score, without_radar
from tessera_core.pretrain.studies.tables import mean_sd, table
from tessera_core.types import Bools, Progress

PER_CLASS = 10
WHOLE = "the whole year"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# First month and months of each window.
WINDOWS = tuple((first, length) for length in (9, 6, 3) for first in (0, 3, 6, 9) if first + length <= 12)
Change = Callable[[PixelSet], PixelSet]


def variants() -> dict[str, Change]:
    """What is left of a pixel's year, by name; the whole year first."""
    found: dict[str, Change] = {WHOLE: lambda pixels: pixels}
    for first, length in WINDOWS:
        found[f"{MONTHS[first]} to {MONTHS[first + length - 1]}"] = _window(first, length)
    found["no radar"] = without_radar
    found["ascending passes only"] = lambda pixels: _passes(pixels, ascending=True)
    found["descending passes only"] = lambda pixels: _passes(pixels, ascending=False)
    found["radar only"] = without_optics
    return found


def within(pixels: PixelSet, first_day: float, last_day: float) -> PixelSet:
    """The pixels with what was seen from one day of the year to another, both included."""
    s2, s1 = ((days >= first_day) & (days <= last_day) for days in (pixels.s2_doy, pixels.s1_doy))
    return keep_dates(pixels, s2, s1)


def without_optics(pixels: PixelSet) -> PixelSet:
    """The pixels as if Sentinel-2 had never passed."""
    return keep_dates(pixels, np.zeros(pixels.s2_doy.shape, bool), np.ones(pixels.s1_doy.shape, bool))


def _window(first: int, length: int) -> Change:
    return lambda pixels: within(pixels, first * WINDOW_DAYS + 0.5, (first + length) * WINDOW_DAYS + 0.5)


def _passes(pixels: PixelSet, *, ascending: bool) -> PixelSet:
    rising = np.arange(pixels.s1.shape[1])[None] < pixels.s1_ascending[:, None]
    kept: Bools = rising if ascending else ~rising
    return keep_dates(pixels, np.ones(pixels.s2_doy.shape, bool), kept)


def run(
    scenes: Sequence[StudyScene],
    loaded: LoadedEncoder,
    out: str | Path,
    *,
    draws: int = 10,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Judge every variant; writes ``year.json`` and ``year.md`` to ``out``.

    Args:
        scenes: places; simulated worlds are averaged. A variant that leaves a scene nothing, or all of it, is left out there.
        loaded: the encoder.
        out: folder.
        draws: divisions of the fields behind each score.
        progress: ``(done, total, message)``; units are embedded scenes.

    Returns:
        JSON object: ``scores`` of each group of scenes and variant, one value a draw; ``table``.
    """
    changes, done = variants(), 0
    total = len(scenes) * len(changes)
    collected: dict[str, dict[str, list[list[float]]]] = {}
    for scene in scenes:
        for name, change in changes.items():
            if progress:
                progress(done, total, f"{scene.name}, {name}")
            done += 1
            left = change(scene.pixels)
            if not (left.s2_count.any() or left.s1_count.any()) or (name != WHOLE and _same(left, scene.pixels)):
                continue
            features = embed(loaded.encoder, loaded.config.normalisation, left)
            scores = score(scene.codes(features), "prototype", PER_CLASS, draws)
            collected.setdefault(scene.group, {}).setdefault(name, []).append(scores)
    result: dict[str, Any] = {"weights": loaded.name, "sha256": loaded.sha256, "draws": draws, "labels": PER_CLASS}
    result["scores"] = {
        group: {name: np.mean(scores, axis=0).tolist() for name, scores in found.items()}
        for group, found in collected.items()
    }
    result["table"] = markdown(result)
    write_json(Path(out) / "year.json", result)
    write_text(Path(out) / "year.md", result["table"])
    if progress:
        progress(total, total, "")
    return result


def _same(left: PixelSet, whole: PixelSet) -> bool:
    counts = ((one.s2_count, one.s1_count) for one in (left, whole))
    return all(np.array_equal(*pair) for pair in zip(*counts, strict=True))


def markdown(result: dict[str, Any]) -> str:
    """Macro-F1 of the whole year, and what each variant loses against it, in points over the same divisions."""
    groups = result["scores"]
    rows = []
    for name in variants():
        cells = []
        for scores in groups.values():
            if name not in scores:
                cells.append("-")
            elif name == WHOLE:
                cells.append(mean_sd(scores[name]))
            else:
                losses = 100 * (np.array(scores[WHOLE]) - np.array(scores[name]))
                cells.append(mean_sd(losses.tolist(), signed=True))
        rows.append([name, *cells])
    return table([f"{result['labels']} labels a class", *groups], rows)
