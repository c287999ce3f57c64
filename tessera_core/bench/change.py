"""``tessera bench change``: precision and recall of change where truth is known, and false alarms where nothing changed.

Simulated landscapes, embedded with any weights (``--weights``; ``untrained`` is the shipped architecture with random ones).
Pairs of years with their real history (crops rotate, woods are felled, the town grows) have known truth; in pairs of *rare* change
only a few of those parcels changed. Pairs without any change are a year simulated again with other clouds, dates and noise, and
the same landscape in another year's weather, dry summer included. Beside it stands the rule that calls every pixel changed
whose cosine distance is above the scene's median.

Truth is a matter of ground: a pixel lies in one parcel (up to half of it may be hedge or lane, which never change), and has changed
where its parcel's cover is another one. So no ground of an unchanged pixel has changed, however much of its neighbour the blurred
image shows there.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.percents import percent
from tessera_core.analysis.change import NO_LEVEL, ChangeLayer, detect_change
from tessera_core.bench.heads import write_between
from tessera_core.bench.hot_path import machine
from tessera_core.dpixels.simulate.parcels import Climate, Parcels
from tessera_core.dpixels.simulate.world import World, make_world
from tessera_core.errors import InputError
from tessera_core.raster import EmbeddingRaster, dequantise

if TYPE_CHECKING:
    from tessera_core.models.checkpoint import LoadedEncoder

SIZE, SEEDS = 256, (0, 1, 2, 3)
QUICK_SIZE, QUICK_SEEDS = 128, (0,)
YEARS = (2023, 2024, 2025)
PAIRS = ((2023, 2024), (2023, 2025), (2024, 2025))
RATES = (0.01, 0.05, 0.1, 0.2)
UNTRAINED = "untrained"
MARK = "<!-- bench change -->"
# Pretended years: which year's landscape they repeat, and whether its weather, too.
AGAIN = {2123: (2023, True), 2225: (2023, False), 2224: (2023, False)}
_NAMES = {
    2123: "same year, other clouds and noise",
    2225: "other weather, no drought",
    2224: "other weather, dry summer",
}
# Pretended years in which only this share of the parcels that changed by 2025 have changed since 2023.
RARE = {2327: 0.12, 2329: 0.03}


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
    """Measure; rates and shares are fractions of 1.

    ``args``: ``quick``, ``weights`` (name or file; None for those of the demo region), ``markdown`` (file to write the table
    into, or None).

    Raises:
        CheckpointError: the weights are not usable.
        InputError: the Markdown file lacks its marks.
    """
    quick = bool(getattr(args, "quick", False))
    size, seeds = (QUICK_SIZE, QUICK_SEEDS) if quick else (SIZE, SEEDS)
    markdown = getattr(args, "markdown", None)
    if markdown:
        _require_marks(Path(markdown))
    loaded = load_weights(getattr(args, "weights", None))
    found: dict[str, list[dict[str, Any]]] = {"changed": [], "rare": [], "unchanged": []}
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="tessera-bench-") as folder:
            world = make_bench_world(seed, size)
            rasters = _embed(world, loaded, Path(folder))
            for kind, a, b in _pairs():
                scored = {"seed": seed, "years": [a, b], **_score(world, rasters, a, b)}
                found[kind].append(scored | ({"what": _NAMES[b]} if kind == "unchanged" else {}))
    result = {
        "bench": "change",
        "machine": machine(),
        "weights": {"name": loaded.name, "sha256": loaded.sha256},
        "size": size,
        "seeds": list(seeds),
        "rates": list(RATES),
        **found,
        "summary": summary(found),
    }
    result["table"] = "\n".join(table(result))
    if markdown:
        write_between(Path(markdown), MARK, table(result))
    return result


def _require_marks(page: Path) -> None:
    """Raise :class:`InputError` unless the table has a place in the page, before the minutes that measuring takes."""
    if not page.is_file() or page.read_text(encoding="utf-8").count(MARK) != 2:
        raise InputError(f"{page} needs two lines {MARK}, between which the table is written.")


def load_weights(weights: str | None) -> LoadedEncoder:
    """The encoder of the demo region, a file's, or one that has learnt nothing (:data:`UNTRAINED`).

    Raises:
        CheckpointError: the weights are not usable.
    """
    from tessera_core._utils.torch_part import require_torch

    require_torch("This bench")
    import torch

    from tessera_core.models.checkpoint import load_checkpoint
    from tessera_core.models.encoder import Encoder
    from tessera_core.project.demo import DEMO_WEIGHTS

    if weights != UNTRAINED:
        return load_checkpoint(weights or DEMO_WEIGHTS)
    shipped = load_checkpoint(DEMO_WEIGHTS)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return replace(shipped, encoder=Encoder(shipped.config).eval(), name=UNTRAINED, variant=UNTRAINED, sha256="")


def make_bench_world(seed: int, size: int) -> World:
    """A landscape with the real years, those that repeat one, and those of rare change."""
    plain = make_world(seed, size, YEARS)
    covers = dict(plain.covers) | {year: plain.covers[base] for year, (base, _) in AGAIN.items()}
    before, after = plain.covers[2023], plain.covers[2025]
    moved = np.flatnonzero(before != after)
    for year, share in RARE.items():
        chosen = np.random.default_rng((seed, year)).choice(moved, max(2, round(share * len(moved))), replace=False)
        covers[year] = before.copy()
        covers[year][chosen] = after[chosen]
    truth = {year: (cover + 1).astype(np.uint8)[plain.layout.parcel] for year, cover in covers.items()}
    return _Again(plain.seed, plain.grid, plain.terrain, plain.layout, covers, truth, plain.vigour)


def _pairs() -> Iterator[tuple[str, int, int]]:
    yield from (("changed", a, b) for a, b in PAIRS)
    yield from (("rare", 2023, b) for b in RARE)
    yield from (("unchanged", 2023, b) for b in AGAIN)


def _embed(world: World, loaded: LoadedEncoder, folder: Path) -> dict[int, EmbeddingRaster]:
    from tessera_core.dpixels.simulate.observe import observe
    from tessera_core.inference.tiles import generate_tile
    from tessera_core.sources.local.open import open_embeddings

    rasters = {}
    for year in world.years:
        observe(world, year, folder / f"dpixels-{year}")
        work = folder / f"embeddings-{year}"
        generate_tile(folder / f"dpixels-{year}", loaded, work)
        opened = open_embeddings(work)
        # In memory, because the folder goes when the measurement ends.
        rasters[year] = replace(opened, codes=np.array(opened.codes), scales=np.array(opened.scales))
    return rasters


def _score(world: World, rasters: Mapping[int, EmbeddingRaster], a: int, b: int) -> dict[str, Any]:
    layer = detect_change(rasters[a], rasters[b])
    changed = world.truth[a] != world.truth[b]
    beside = _beside(changed)
    result: dict[str, Any] = {
        "truly_changed": round(float(changed.mean()), 4),
        "scene_shift": round(layer.shift.share, 3),
        "null": [round(layer.null.centre, 3), round(layer.null.spread, 3)],
        "borders": [round(layer.borders.share, 3), round(layer.borders.spread, 3), layer.borders.pixels],
        "at": {f"{rate:g}": _at(layer, layer.mask(rate), changed, beside) for rate in RATES},
        "scene_median_rule": _at(layer, _median_rule(rasters[a], rasters[b]), changed, beside),
    }
    return result


def _at(
    layer: ChangeLayer, called: NDArray[np.bool_], changed: NDArray[np.bool_], beside: NDArray[np.bool_]
) -> dict[str, float | None]:
    """Of ground called changed: its share of the scene, what is false, what of that lies beside changed ground; what was found."""
    known = layer.levels != NO_LEVEL
    called = called & known
    count = int(called.sum())
    false = called & ~changed
    return {
        "called": round(count / int(known.sum()), 5),
        "false": round(int(false.sum()) / count, 4) if count else None,
        "false_beside_change": round(int((false & beside).sum()) / count, 4) if count else None,
        "found": round(int((called & changed).sum()) / int(changed.sum()), 4) if changed.any() else None,
    }


def _beside(changed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Unchanged pixels with a changed one among their eight neighbours: the image is mixed there, the ground is not."""
    from scipy.ndimage import binary_dilation

    return np.asarray(binary_dilation(changed, np.ones((3, 3), bool)) & ~changed, bool)


def _median_rule(first: EmbeddingRaster, second: EmbeddingRaster) -> NDArray[np.bool_]:
    """Cosine distance above the scene's median."""
    a, b = (dequantise(r.codes, np.asarray(r.scales)) for r in (first, second))
    cosine = (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))
    distance = 1 - cosine
    return np.asarray(distance > np.nanmedian(distance), bool)


def summary(found: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """By rate, and of the median rule: what is false and found (means over pairs), and the worst call without any change.

    Args:
        found: pairs by kind, as :func:`run` gives them. Where nothing was called, nothing was false.
    """
    out: dict[str, Any] = {}
    for rate in (*(f"{rate:g}" for rate in RATES), "scene_median_rule"):
        row: dict[str, float] = {}
        for kind in ("changed", "rare"):
            ones = [pair["at"][rate] if rate in pair["at"] else pair[rate] for pair in found[kind]]
            false = [one["false"] or 0.0 for one in ones]
            row[f"false_{kind}"] = round(float(np.mean(false)), 4)
            row[f"false_{kind}_worst"] = round(max(false), 4)
            row[f"beside_{kind}"] = round(float(np.mean([one["false_beside_change"] or 0.0 for one in ones])), 4)
            row[f"found_{kind}"] = round(float(np.mean([one["found"] for one in ones])), 4)
        still = [pair["at"][rate] if rate in pair["at"] else pair[rate] for pair in found["unchanged"]]
        row["called_without_change_worst"] = max(one["called"] for one in still)
        out[rate] = row
    return out


def table(result: Mapping[str, Any]) -> Iterator[str]:
    """The summary as a Markdown table, line by line."""
    share, rare = ([100 * pair["truly_changed"] for pair in result[kind]] for kind in ("changed", "rare"))
    weights, size = result["weights"], result["size"]
    yield (
        f"Weights `{weights['name']}` ({weights['sha256'][:8] or 'random'}), landscapes of {size} x {size} pixels, seeds "
        f"{', '.join(str(seed) for seed in result['seeds'])}: {len(share)} pairs with {min(share):.0f} to {max(share):.0f} % "
        f"changed, {len(rare)} with {min(rare):.1f} to {max(rare):.1f} %, {len(result['unchanged'])} without any change."
    )
    yield ""
    heads = (
        "accepted",
        "false, mean",
        "false, worst pair",
        "of that beside changed ground",
        "found",
        "rare change: false",
        "rare change: found",
        "called without any change, worst",
    )
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---:|" * len(heads)
    for name, row in result["summary"].items():
        accepted = "above the scene's median" if name == "scene_median_rule" else f"{100 * float(name):g} %"
        cells = [
            row["false_changed"],
            row["false_changed_worst"],
            row["beside_changed"],
            row["found_changed"],
            row["false_rare"],
            row["found_rare"],
            row["called_without_change_worst"],
        ]
        yield f"| {accepted} | " + " | ".join(f"{percent(cell, 1)} %" for cell in cells) + " |"
    yield ""
