"""More of ``tessera bench trust``: people who err, stopping when one likes, two maps, the certified part, all with known truth."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.assess.area import assess_sample
from tessera_core.assess.certified import certify, violation
from tessera_core.assess.designs import looking_order
from tessera_core.assess.interpreters import Opinions, interpret
from tessera_core.assess.intervals import mean_interval
from tessera_core.assess.sequential import until_sure
from tessera_core.assess.two_maps import p_at_any_time, p_value
from tessera_core.types import Doubles

# Two people, each wrong in 5 to 15 % of what is each class, drawn anew for every sample.
WRONG = (0.05, 0.15)
TWO = ((0.7, 0.3), ((0.93, 0.07), (0.10, 0.90)), (105, 45))
THREE = ((0.6, 0.3, 0.1), ((0.90, 0.05, 0.05), (0.08, 0.85, 0.07), (0.10, 0.10, 0.80)), (120, 60, 30))
Region = tuple[str, Doubles, Doubles, tuple[int, ...]]
World = tuple[tuple[float, ...], tuple[tuple[float, ...], ...], tuple[int, ...]]
Asked = tuple[str, World, float, bool]
PEOPLE: tuple[Asked, ...] = (
    ("2 classes, 150 places, 30 % by two, settled", TWO, 0.3, True),
    ("2 classes, 150 places, all by two, not settled", TWO, 1.0, False),
    ("3 classes, 210 places, 20 % by two, settled", THREE, 0.2, True),
    ("3 classes, 210 places, 30 % by two, not settled", THREE, 0.3, False),
)
# Comparisons of two maps take no time: so many for each draw of the rest.
COMPARISONS = 4


def people(draws: int, seed: int, asked: tuple[Asked, ...] = PEOPLE) -> list[dict[str, Any]]:
    """Coverage with and without what people are wrong by: ``holds`` and ``plain_holds``, with widths, of what is estimated."""
    rows = []
    for title, world, doubled, settled in asked:
        rng = np.random.default_rng(seed)
        kept: dict[str, list[tuple[float, float, float, float]]] = {}
        sizes, truth = np.array(world[0]), np.array(world[1])
        areas = sizes @ truth
        truths = {"right in all": float(sizes @ np.diag(truth))}
        truths |= {f"area of class {k + 1}": float(area) for k, area in enumerate(areas)}
        for _ in range(draws):
            strata, opinions, first = answered(world, doubled, settled, rng)
            whole = {k + 1: float(size) * 1e6 for k, size in enumerate(sizes)}
            found = interpret(strata, strata, opinions, whole)
            plain = assess_sample(strata, strata, first, whole)
            pairs = [(found.overall, plain.overall)]
            pairs += [(found.areas[c.id], c.share) for c in plain.classes if c.id in found.areas]
            for name, (with_, without) in zip(truths, pairs, strict=False):
                kept.setdefault(name, []).append((with_.low, with_.high, without.low, without.high))
        for name, value in truths.items():
            low, high, plain_low, plain_high = np.array(kept[name]).T
            rows.append(
                {
                    "region": title,
                    "of": name,
                    "truth": round(value, 3),
                    "holds": _share((low <= value) & (value <= high)),
                    "width": round(float(np.median(high - low)), 3),
                    "plain_holds": _share((plain_low <= value) & (value <= plain_high)),
                    "plain_width": round(float(np.median(plain_high - plain_low)), 3),
                }
            )
    return rows


def answered(
    world: World, doubled: float, settled: bool, rng: np.random.Generator
) -> tuple[NDArray[np.int64], Opinions, NDArray[np.int64]]:
    """Strata, answers of two people, and the answers as they are taken without knowing that people err."""
    truth, kinds = np.array(world[1]), len(world[0])
    strata = np.repeat(np.arange(kinds), world[2])
    n = len(strata)
    there = _drawn(truth[strata], rng)
    answers = np.zeros((n, 2), np.int64)
    for j in range(2):
        wrong = rng.uniform(*WRONG, kinds)
        chances = np.stack(
            [np.insert(wrong[c] * rng.dirichlet(np.ones(kinds - 1)), c, 1 - wrong[c]) for c in range(kinds)]
        )
        answers[:, j] = _drawn(chances[there], rng) + 1
    first = rng.permutation(np.arange(n) % 2)
    twice = np.zeros(n, bool)
    for k in range(kinds):
        at = np.flatnonzero(strata == k)
        twice[rng.choice(at, max(2, round(doubled * len(at))), replace=False)] = True
    alone = np.flatnonzero(~twice)
    answers[alone, 1 - first[alone]] = 0
    differ = twice & (answers[:, 0] != answers[:, 1])
    final = np.where(differ & settled, there + 1, 0)
    taken = np.where(final > 0, final, answers[np.arange(n), first])
    return strata + 1, Opinions(answers, final, ("Ann", "Bo")), taken


def _drawn(chances: Doubles, rng: np.random.Generator) -> NDArray[np.int64]:
    drawn: NDArray[np.int64] = (rng.random((len(chances), 1)) > np.cumsum(chances, 1)).sum(1)
    return np.minimum(drawn, chances.shape[1] - 1)


def stopping(draws: int, seed: int, regions: list[Region]) -> list[dict[str, Any]]:
    """How often the sequential interval holds at every answer at once, and after how many places it is within 5 points.

    Args:
        regions: title, shares of the classes, share of each that is right, places of each.
    """
    rows = []
    for title, sizes, right, places in regions:
        rng, truth = np.random.default_rng(seed), float(sizes @ right)
        held, stops, narrow, other = [], [], [], []
        for number in range(draws):
            strata = np.repeat(np.arange(len(sizes)), places)
            strata = strata[looking_order(strata, rng)]
            yes = rng.random(len(strata)) < right[strata]
            found = until_sure(yes, strata, sizes, places=places)
            held.append(((found.low <= truth) & (truth <= found.high)).all())
            stops.append(len(yes) if found.stop is None else found.stop)
            narrow.append(found.high[-1] - found.low[-1])
            if number < 20:
                before = until_sure(yes, strata, sizes)
                other.append(before.high[-1] - before.low[-1])
        rows.append(
            {
                "region": title,
                "holds": _share(np.array(held)),
                "stop": round(float(np.mean(stops))),
                "fixed": fixed_places(sizes, right, places, draws, seed),
                "width": round(float(np.median(narrow)), 3),
                "earlier_width": round(float(np.median(other)), 3),
            }
        )
    return rows


def fixed_places(
    sizes: Doubles, right: Doubles, places: tuple[int, ...], draws: int, seed: int, margin: float = 0.05
) -> int | None:
    """Places of a sample answered to its end, divided as ``places`` are, whose interval has a mean half width of ``margin``.

    To the nearest 5; None where twice as many as ``places`` are too few.
    """
    rng, total = np.random.default_rng((seed, 5)), sum(places)
    for n in range(20, 2 * total, 5):
        each = np.maximum(np.round(n * np.array(places) / total), 2).astype(int)
        low, high = mean_interval(rng.binomial(each, right, (draws, len(each))).astype(float), each, sizes)
        if float((high - low).mean()) <= 2 * margin:
            return n
    return None


def verdicts(draws: int, seed: int) -> list[dict[str, Any]]:
    """How often one of two maps is called better, by looking after every answer and at a number settled beforehand."""
    rng, rows = np.random.default_rng(seed), []
    for title, shares in (
        ("none is better", (0.4, 0.4)),
        ("60 against 30 %", (0.6, 0.3)),
        ("50 against 40 %", (0.5, 0.4)),
    ):
        seen = rng.choice(3, (draws, 200), p=(*shares, 1 - sum(shares)))
        for n in (50, 100, 200):
            ours, theirs = seen[:, :n] == 0, seen[:, :n] == 1
            each = p_value(np.cumsum(ours, 1), np.cumsum(theirs, 1))
            ever = [p_at_any_time(a, b)[-1] <= 0.05 for a, b in zip(ours, theirs, strict=True)]
            rows.append(
                {
                    "truth": title,
                    "places": n,
                    "at_any_time": _share(np.array(ever)),
                    "at_the_end": _share(each[:, -1] <= 0.05),
                    "test_at_every_look": _share((each <= 0.05).any(1)),
                }
            )
    return rows


def parts(draws: int, seed: int) -> list[dict[str, Any]]:
    """How often the certified part is wrong in more than it promises, and how much of the map it is."""
    rng, rows = np.random.default_rng(seed), []
    sure = np.sort(rng.beta(4, 1.2, 20_000))
    for n in (100, 200, 400):
        wrong = rng.random(len(sure)) < np.clip(0.6 * (1 - sure) + 0.01, 0, 1)
        chosen = [rng.choice(len(sure), n, replace=False) for _ in range(draws)]
        found = [certify(sure[at], wrong[at], sure, 0.1) for at in chosen]
        rows.append(
            {
                "places": n,
                "wrong_in_all": round(float(wrong.mean()), 3),
                "broken": round(violation(sure, wrong, found), 3),
                "share": round(float(np.mean([one.share for one in found])), 3),
            }
        )
    return rows


def _share(held: NDArray[np.bool_]) -> float:
    return round(float(held.mean()), 3)


def tables(result: dict[str, Any]) -> Iterator[str]:
    """Rows of all four as Markdown."""
    yield from (
        "",
        "Two people, each wrong at 5 to 15 % of the places of each class, independently (both intervals from the same answers):",
        "",
        "| region and answers | estimated | truth | with the term | width | without | its width |",
        "|---|---|---|---|---|---|---|",
    )
    for row in result["people"]:
        yield (
            f"| {row['region']} | {row['of']} | {row['truth']:.3f} | {row['holds']:.3f} | {row['width']:.3f} "
            f"| {row['plain_holds']:.3f} | {row['plain_width']:.3f} |"
        )
    yield from (
        "",
        "Label until sure: holds at every answer at once, places to ± 5 points (all where it was not reached), width at the end:",
        "",
        "| region and sample | holds | places to ± 5 | a sample answered to its end takes | width | width of one bet a stratum |",
        "|---|---|---|---|---|---|",
    )
    for row in result["stopping"]:
        yield (
            f"| {row['region']} | {row['holds']:.3f} | {row['stop']} | {row['fixed']} | {row['width']:.3f} "
            f"| {row['earlier_width']:.3f} |"
        )
    yield from (
        "",
        "Which of two maps, called at a risk of 5 %:",
        "",
        "| truth, where they differ | places | looked at any time | at a number settled before | the fixed test at every look |",
        "|---|---|---|---|---|",
    )
    for row in result["verdicts"]:
        yield (
            f"| {row['truth']} | {row['places']} | {row['at_any_time']:.3f} | {row['at_the_end']:.3f} "
            f"| {row['test_at_every_look']:.3f} |"
        )
    yield from (
        "",
        "Certified part, at most 10 % wrong at a risk of 5 %, random samples:",
        "",
        "| places | wrong in the whole map | promise broken | share of the map certified |",
        "|---|---|---|---|",
    )
    for row in result["parts"]:
        yield f"| {row['places']} | {row['wrong_in_all']:.3f} | {row['broken']:.3f} | {row['share']:.3f} |"
    draws = result["ways_draws"]
    yield from (
        "",
        f"{draws} draws of each (of a share of .95 the standard error is {(0.0475 / draws) ** 0.5:.3f}), {COMPARISONS * draws} of "
        "which of two maps.",
    )


def measure(
    draws: int, seed: int, regions: list[Region], once: Callable[[str, Callable[[], Any]], Any] | None = None
) -> dict[str, Any]:
    """All four, as a JSON object with ``people``, ``stopping``, ``verdicts``, ``parts`` and ``ways_draws``.

    Args:
        once: keeps a part by its name as it is done.
    """
    once = once or (lambda _, make: make())
    return {
        "ways_draws": draws,
        "people": [row for one in PEOPLE for row in once(one[0], functools.partial(people, draws, seed, (one,)))],
        "stopping": once("stopping", lambda: stopping(draws, seed, regions)),
        "verdicts": once("verdicts", lambda: verdicts(COMPARISONS * draws, seed)),
        "parts": once("parts", lambda: parts(draws, seed)),
    }
