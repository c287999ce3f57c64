"""Whether an embedding depends on which dates happened to be clear, and how many clear dates it needs.

*Invariance*: each pixel's dates are split at random into two halves without a common date; the cosine of the two embeddings,
beside that of two pixels of one class and of two classes. *Need*: a linear probe on embeddings of few Sentinel-2 dates, with
and without radar, and the knee, beyond which more dates hardly help (published experience: 10 to 25 a year).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import write_json
from tessera_core.models.checkpoint import LoadedEncoder
from tessera_core.pretrain.pixels import PixelSet, pack
from tessera_core.pretrain.studies.scenes import StudyScene, embed, score, without_radar
from tessera_core.pretrain.studies.tables import table
from tessera_core.types import Bools, Floats, Progress

DATES = (2, 4, 6, 8, 12, 16, 24, 32)
NEAR = 0.01  # macro-F1 below the score with all dates that still counts as the same
PER_CLASS = 10


def keep_dates(pixels: PixelSet, s2: Bools, s1: Bools) -> PixelSet:
    """The pixels with only some of their observations: bool (N, T2) and (N, T1), true = kept where it is valid."""
    rng = np.random.default_rng(0)  # nothing is crowded out, so nothing is drawn
    t2, t1 = pixels.s2.shape[1], pixels.s1.shape[1]
    s2 = s2 & (np.arange(t2)[None] < pixels.s2_count[:, None])
    position = np.arange(t1)[None]
    s1 = s1 & (position < pixels.s1_count[:, None])
    optical, optical_doy, optical_count, _ = pack(pixels.s2, s2, pixels.s2_doy, t2, rng)
    radar, radar_doy, radar_count, _ = pack(pixels.s1, s1, pixels.s1_doy, t1, rng)
    ascending = (s1 & (position < pixels.s1_ascending[:, None])).sum(1).astype(np.uint16)
    return replace(
        pixels,
        s2=optical,
        s2_doy=optical_doy,
        s2_count=optical_count,
        s1=radar,
        s1_doy=radar_doy,
        s1_count=radar_count,
        s1_ascending=ascending,
    )


def ranks(counts: NDArray[np.integer], length: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """A random order of each pixel's valid observations, int (N, length): 0 comes first, invalid ones come last."""
    key = rng.random((len(counts), length))
    key[np.arange(length)[None] >= counts[:, None]] += 1
    return np.argsort(np.argsort(key, axis=1), axis=1)


def halves(pixels: PixelSet, rng: np.random.Generator) -> tuple[PixelSet, PixelSet]:
    """Each pixel twice, with two random halves of its dates that have none in common."""
    s2 = ranks(pixels.s2_count, pixels.s2.shape[1], rng) % 2 == 0
    s1 = ranks(pixels.s1_count, pixels.s1.shape[1], rng) % 2 == 0
    return keep_dates(pixels, s2, s1), keep_dates(pixels, ~s2, ~s1)


def cosine(a: Floats, b: Floats) -> Floats:
    """Cosines (N,) of rows."""
    return np.einsum("nd,nd->n", a, b) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def run(
    scenes: Sequence[StudyScene],
    loaded: LoadedEncoder,
    out: str | Path,
    *,
    draws: int = 10,
    dates: Sequence[int] = DATES,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Both studies; writes ``sampling.json`` and ``sampling.md`` to ``out``.

    Args:
        scenes: places; simulated worlds are averaged.
        loaded: the encoder.
        out: folder.
        draws: divisions of the fields behind each probe score.
        dates: Sentinel-2 dates kept per pixel.
        progress: ``(done, total, message)``; units are embedded scenes.

    Returns:
        JSON object: ``invariance`` and ``need`` by group of scenes, ``knee``, ``table``.
    """
    out, total, done = Path(out), len(scenes) * (2 + 2 * (len(dates) + 1)), 0
    invariance: dict[str, list[dict[str, float]]] = {}
    need: dict[str, dict[str, list[list[list[float]]]]] = {}

    def represent(pixels: PixelSet, message: str) -> Floats:
        nonlocal done
        if progress:
            progress(done, total, message)
        done += 1
        return embed(loaded.encoder, loaded.config.normalisation, pixels)

    for number, scene in enumerate(scenes):
        rng = np.random.default_rng((number, 1))
        first, second = (represent(half, f"{scene.name}, halves") for half in halves(scene.pixels, rng))
        invariance.setdefault(scene.group, []).append(_invariance(first, second, scene.reference.y, rng))
        order = ranks(scene.pixels.s2_count, scene.pixels.s2.shape[1], rng)
        everything = np.ones(scene.pixels.s1.shape[1], bool)[None]
        for kind, change in (("with radar", lambda p: p), ("without radar", without_radar)):
            scores = []
            for count in (*dates, None):
                some = scene.pixels if count is None else keep_dates(scene.pixels, order < count, everything)
                features = represent(change(some), f"{scene.name}, {count or 'all'} dates {kind}")
                scores.append(score(scene.codes(features), "logistic", PER_CLASS, draws))
            need.setdefault(scene.group, {}).setdefault(kind, []).append(scores)
    result: dict[str, Any] = {"weights": loaded.name, "sha256": loaded.sha256, "dates": [*dates, "all"], "draws": draws}
    result["invariance"] = {
        group: {key: float(np.mean([one[key] for one in ones])) for key in ones[0]}
        for group, ones in invariance.items()
    }
    result["need"] = {
        group: {kind: np.mean(scores, axis=(0, 2)).tolist() for kind, scores in kinds.items()}
        for group, kinds in need.items()
    }
    result["knee"] = {
        group: {kind: knee(dates, means) for kind, means in kinds.items()} for group, kinds in result["need"].items()
    }
    result["table"] = markdown(result)
    write_json(out / "sampling.json", result)
    (out / "sampling.md").write_text(result["table"], encoding="utf-8")
    if progress:
        progress(total, total, "")
    return result


def _invariance(first: Floats, second: Floats, y: NDArray[np.integer], rng: np.random.Generator) -> dict[str, float]:
    same = cosine(first, second)
    other = rng.permutation(len(y))
    strangers = cosine(first, second[other])
    same_class = y == y[other]
    return {
        "same pixel, median": float(np.median(same)),
        "same pixel, lowest 5 %": float(np.percentile(same, 5)),
        "two pixels of one class, median": float(np.median(strangers[same_class])),
        "two classes, median": float(np.median(strangers[~same_class])),
    }


def knee(dates: Sequence[int], means: Sequence[float]) -> int | None:
    """Fewest dates from which on every score is within :data:`NEAR` of the last one (all dates); None where none is."""
    near = [mean >= means[-1] - NEAR for mean in means]
    for i, count in enumerate(dates):
        if all(near[i:]):
            return count
    return None


def markdown(result: dict[str, Any]) -> str:
    """Two tables: cosines between halves, and probe scores by number of dates."""
    cosines = result["invariance"]
    keys = list(next(iter(cosines.values())))
    parts = [table(["cosine of embeddings", *keys], [[g, *(f"{c[k]:.3f}" for k in keys)] for g, c in cosines.items()])]
    rows = [
        [f"{group}, {kind}", *(f"{m:.3f}" for m in means), str(result["knee"][group][kind] or "-")]
        for group, kinds in result["need"].items()
        for kind, means in kinds.items()
    ]
    parts.append(table(["Sentinel-2 dates", *map(str, result["dates"]), "knee"], rows))
    return "\n".join(parts)
