"""Of ``tessera bench trust``: which of two maps, and the certified part, on the demo region, whose truth is known at every pixel.

The maps are those that the app makes of labels drawn by chance; what is asked of them are samples of places, answered by the truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.percents import percent
from tessera_core.assess.certified import certify, violation
from tessera_core.assess.designs import draw
from tessera_core.assess.two_maps import RISK, difference, p_at_any_time, p_value
from tessera_core.gate import open_raster
from tessera_core.heads import DEFAULT_HEAD, predict_raster
from tessera_core.project.classify import train
from tessera_core.project.demo import DEMO_CLASSES, ensure_demo, take_start
from tessera_core.raster import EmbeddingRaster
from tessera_core.sources.local.open import open_embeddings
from tessera_core.types import Bytes

PLACES = (50, 100, 200)
CERTIFIED_PLACES = (100, 200, 400)
MOST_WRONG = 0.05
# A sample by classes takes two thirds of a second: one for so many by chance.
CHANCE_A_STRATIFIED = 5
# Labels a class of the two maps of each comparison; the same twice is another draw of as many.
PAIRS = ((40, 3), (40, 10), (20, 20))


class Made(NamedTuple):
    """A map: classes and confidence in percent, both uint8 (H, W)."""

    classes: Bytes
    confidence: Bytes


def measure(draws: int, seed: int, comparisons: int) -> dict[str, Any]:
    """Both, as a JSON object with ``demo_maps``, ``demo_parts`` and ``demo_draws``.

    Args:
        draws: samples of each row of the certified part.
        seed: of labels and samples.
        comparisons: samples of each row of which of two maps.
    """
    raster, truth = demo()
    return {
        "demo_draws": comparisons,
        "demo_maps": two_maps(raster, truth, comparisons, seed),
        "demo_parts": certified(made(raster, truth, 10, seed), truth, draws, seed),
    }


def demo() -> tuple[EmbeddingRaster, Bytes]:
    """Embeddings and ground truth, uint8 (H, W), of the last year of the demo region that is at hand."""
    region = take_start() or ensure_demo()
    year = max(year for year, path in region.embeddings.items() if (path / "raster.json").exists())
    with open_raster(region.truth[year]) as file:
        return open_embeddings(region.embeddings[year], year=year), file.read(1)


def made(raster: EmbeddingRaster, truth: Bytes, labels: int, seed: int) -> Made:
    """The map of so many labels a class, drawn by chance; of a class with fewer pixels all of them."""
    from tessera_core.assess.reference import Reference

    rng = np.random.default_rng((seed, labels))
    at = np.sort(
        np.concatenate([rng.permutation(np.flatnonzero(truth == k))[:labels] for k in np.unique(truth[truth > 0])])
    )
    rows, cols = np.divmod(at, truth.shape[1])
    reference = Reference(rows, cols, truth[rows, cols], np.arange(len(at)), list(DEMO_CLASSES), points=True)
    found = predict_raster(train(reference, raster, DEFAULT_HEAD, seed=seed).head, raster)
    return Made(found.classes, found.confidence)


def two_maps(raster: EmbeddingRaster, truth: Bytes, draws: int, seed: int) -> list[dict[str, Any]]:
    """How often the better map, and how often the other one, is named; of maps that are right equally often, any."""
    rows = []
    for number, pair in enumerate(PAIRS):
        first, second = (made(raster, truth, labels, seed + 2 * number + k).classes for k, labels in enumerate(pair))
        title = f"{pair[0]} against {pair[1]} labels a class"
        rows += named(title, first, second, truth, draws, seed + number)
        if not number:
            # The same two maps with the places at which only one is right dealt out evenly.
            rows += named("the same, dealt out evenly", *evened(first, second, truth, seed), truth, draws, seed + 90)
    return rows


def evened(first: Bytes, second: Bytes, truth: Bytes, seed: int) -> tuple[Bytes, Bytes]:
    """Two maps that differ where these do and are right equally often, to a pixel: where only one is, they change seats."""
    one, other = first.copy(), second.copy()
    only = np.flatnonzero(((first == truth) != (second == truth)) & (first > 0) & (second > 0) & (truth > 0))
    ours = (first.flat[only] == truth.flat[only]).astype(int)
    order = np.random.default_rng(seed).permutation(len(only))
    # Every second one, in an order of chance, is to be the first map's.
    change = only[order][ours[order] != np.arange(len(only)) % 2]
    one.flat[change], other.flat[change] = second.flat[change], first.flat[change]
    return one, other


def named(title: str, first: Bytes, second: Bytes, truth: Bytes, draws: int, seed: int) -> list[dict[str, Any]]:
    """Rows of one comparison, by the number of places; see :func:`two_maps`."""
    found = difference(first, second)
    places = np.flatnonzero(found.where & (truth > 0))
    ours, theirs = ((one.ravel()[places] == truth.ravel()[places]) for one in (first, second))
    shares = float(ours.mean()), float(theirs.mean())
    best = int(np.sign(ours.sum() - theirs.sum())) if abs(int(ours.sum()) - int(theirs.sum())) > 1 else 0
    rng = np.random.default_rng((seed, draws))
    chosen = np.stack([rng.choice(len(places), max(PLACES), replace=False) for _ in range(draws)])
    rows = []
    for n in PLACES:
        a, b = ours[chosen[:, :n]], theirs[chosen[:, :n]]
        ahead = np.sign(a.sum(1) - b.sum(1))
        ever = np.array([p_at_any_time(x, y)[-1] <= RISK for x, y in zip(a, b, strict=True)])
        settled = p_value(a.sum(1), b.sum(1)) <= RISK
        row: dict[str, Any] = {"maps": title, "differ": round(found.share, 3), "places": n}
        row |= {"only_first": round(shares[0], 3), "only_second": round(shares[1], 3)}
        for name, told in (("at_any_time", ever), ("settled", settled)):
            row[name] = _share(told & (ahead == best)) if best else None
            row[f"{name}_false"] = _share(told & (ahead != best)) if best else _share(told)
        rows.append(row)
    return rows


def certified(map_: Made, truth: Bytes, draws: int, seed: int) -> list[dict[str, Any]]:
    """How often the certified part is wrong in more than it promises, and how much of the map it is."""
    covered = (map_.classes > 0) & (map_.confidence <= 100) & (truth > 0)
    sure, classes = map_.confidence[covered], map_.classes[covered]
    wrong = (map_.classes != truth)[covered]
    rng, rows = np.random.default_rng((seed, draws)), []
    for n in CERTIFIED_PLACES:
        found = [
            certify(sure[at], wrong[at], sure, MOST_WRONG)
            for at in (rng.choice(len(sure), n, replace=False) for _ in range(draws))
        ]
        rows.append(_kept("by chance", n, sure, wrong, found))
    n, on_map = CERTIFIED_PLACES[1], np.where(covered, map_.classes, 0)
    found = []
    for number in range(max(draws // CHANCE_A_STRATIFIED, 1)):
        sample = draw(on_map, n, "stratified", seed=seed + number)
        at = sample.rows, sample.cols
        there = map_.confidence[at], map_.classes[at] != truth[at]
        found.append(certify(*there, sure, MOST_WRONG, strata=(sample.strata, classes)))
    return [*rows, _kept("by classes", n, sure, wrong, found)]


def _kept(design: str, n: int, sure: Bytes, wrong: NDArray[np.bool_], found: list[Any]) -> dict[str, Any]:
    return {
        "design": design,
        "places": n,
        "draws": len(found),
        "wrong_in_all": round(float(wrong.mean()), 3),
        "broken": round(violation(sure, wrong, found), 3),
        "share": round(float(np.mean([one.share for one in found])), 3),
    }


def _share(held: NDArray[np.bool_]) -> float:
    return round(float(held.mean()), 3)


def tables(result: dict[str, Any]) -> Iterator[str]:
    """Both as Markdown."""
    draws = result["demo_draws"]
    yield from (
        "",
        f"Which of two maps of the demo region, called at a risk of {percent(RISK)} % ({draws} samples):",
        "",
        "| labels of the maps | differ in | only the one, only the other right | places | named, at a number settled before "
        "| wrongly | named, looked at any time | wrongly |",
        "|---|---|---|---|---|---|---|---|",
    )
    for row in result["demo_maps"]:
        told = [
            "none is" if row[name] is None else f"{row[name]:.3f}"
            for name in ("settled", "settled_false", "at_any_time", "at_any_time_false")
        ]
        yield (
            f"| {row['maps']} | {percent(row['differ'])} % | {percent(row['only_first'])} and {percent(row['only_second'])} % "
            f"| {row['places']} | {' | '.join(told)} |"
        )
    yield from (
        "",
        f"Certified part of a map of the demo region, at most {percent(MOST_WRONG)} % wrong at a risk of 5 %:",
        "",
        "| sample | places | samples | wrong in the whole map | promise broken | share of the map certified |",
        "|---|---|---|---|---|---|",
    )
    for row in result["demo_parts"]:
        shares = f"{row['wrong_in_all']:.3f} | {row['broken']:.3f} | {row['share']:.3f}"
        yield f"| {row['design']} | {row['places']} | {row['draws']} | {shares} |"
