"""``tessera bench trust``: do intervals of a checked sample hold the truth as often as they say?

Samples are drawn again and again from regions whose truth is known, and judged by the intervals that the app shows
(:mod:`tessera_core.assess.intervals`) and, on the same draws, by estimates plus and minus 1.96 standard errors, as in
Olofsson et al. (2014). The seed is of this measurement only: the method was settled on others.
"""

from __future__ import annotations

import argparse
import ast
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import write_json
from tessera_core.assess.area import Z95
from tessera_core.assess.designs import looking_order
from tessera_core.assess.intervals import mean_interval, ratio_interval
from tessera_core.bench import trust_demo, trust_numbers, trust_scores, trust_ways
from tessera_core.bench.heads import write_between
from tessera_core.errors import InputError
from tessera_core.gate import is_missing, read_bytes
from tessera_core.types import Doubles

SEED, DRAWS = 20_261_201, 500
# Landscapes are dearer than draws: one for so many.
DRAWS_A_LANDSCAPE = 5
SOURCES = {
    "regions": ("assess/intervals.py", "assess/area.py", "assess/designs.py"),
    "ways": ("bench/trust_ways.py",),
    "demo": ("bench/trust_demo.py",),
    "numbers": ("bench/trust_numbers.py",),
    "scores": ("bench/trust_scores.py",),
}
"""Where the parts of a result begin, below the package; what these import is followed (:func:`rests_on`)."""
# They say, show and guard; no number is made in them.
_NO_NUMBERS = ("language", "hosting", "gate", "export", "render")
_BLOCKS = (ast.stmt, ast.excepthandler, ast.match_case)
_CORE = Path(__file__).parents[1]
MARK = "<!-- tessera bench trust -->"


@dataclass(frozen=True)
class Checked:
    """A map that is checked.

    Attributes:
        title: for the table.
        sizes: (H,) shares of the region mapped as each class.
        truth: (H, H) of the ground mapped as a class (row), how much is which class.
        places: (H,) sampled in each class of the map.
        stopped: places answered, in random order, where somebody stops early; None for all.
    """

    title: str
    sizes: tuple[float, ...]
    truth: tuple[tuple[float, ...], ...]
    places: tuple[int, ...]
    stopped: int | None = None


def _rights(title: str, places: Sequence[int], right: Sequence[float], sizes: Sequence[float]) -> Checked:
    """A map of which only the share that is right is told: mistakes go to the next class."""
    n = len(places)
    truth = np.zeros((n, n))
    for k, share in enumerate(right):
        truth[k, k] += share
        truth[k, (k + 1) % n] += 1 - share
    return Checked(title, tuple(sizes), tuple(map(tuple, truth.tolist())), tuple(places))


# A map with classes of 2 and 1 % of the region, from the mistakes of a middling and of a good one.
SIZES = (0.67, 0.20, 0.10, 0.02, 0.01)
MIDDLING = (
    (0.970, 0.012, 0.008, 0.004, 0.006),
    (0.060, 0.900, 0.030, 0.005, 0.005),
    (0.050, 0.060, 0.850, 0.020, 0.020),
    (0.080, 0.050, 0.050, 0.800, 0.020),
    (0.150, 0.050, 0.050, 0.050, 0.700),
)
GOOD = (
    (0.995, 0.002, 0.001, 0.001, 0.001),
    (0.006, 0.990, 0.002, 0.001, 0.001),
    (0.010, 0.005, 0.980, 0.003, 0.002),
    (0.030, 0.010, 0.005, 0.950, 0.005),
    (0.050, 0.030, 0.010, 0.010, 0.900),
)
PLAN = (164, 49, 24, 10, 10)

REGIONS = (
    _rights("2 x 12 places, .95 and .90 right", (12, 12), (0.95, 0.9), (0.5, 0.5)),
    _rights("the same, 80 and 20 % of the region", (12, 12), (0.95, 0.9), (0.8, 0.2)),
    _rights("40 places by plan, 67 % of the region .97 right", (27, 13), (0.97, 0.85), (0.67, 0.33)),
    _rights("2 x 35 places, .95 and .98", (35, 35), (0.95, 0.98), (0.6, 0.4)),
    _rights("3 x 20 places, .90", (20, 20, 20), (0.9, 0.9, 0.9), (0.6, 0.3, 0.1)),
    _rights("4 x 10 places, .99", (10,) * 4, (0.99,) * 4, (0.67, 0.2, 0.1, 0.03)),
    _rights(
        "8 x 10 places, .70 to .99",
        (10,) * 8,
        (0.95, 0.9, 0.99, 0.8, 0.7, 0.99, 0.9, 0.95),
        (0.4, 0.2, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05),
    ),
    _rights("2 x 10 places, .50 and .60", (10, 10), (0.5, 0.6), (0.5, 0.5)),
    _rights("3 x 150 places, .80 to .95", (150,) * 3, (0.9, 0.8, 0.95), (0.6, 0.3, 0.1)),
    _rights("2 x 250 places, .98 and .99", (250, 250), (0.98, 0.99), (0.9, 0.1)),
    Checked("middling map, as planned (257)", SIZES, MIDDLING, PLAN),
    Checked("middling map, stopped at 100 of 257", SIZES, MIDDLING, PLAN, 100),
    Checked("middling map, 5 x 40", SIZES, MIDDLING, (40,) * 5),
    Checked("good map, as planned (257)", SIZES, GOOD, PLAN),
    Checked("good map, stopped at 100 of 257", SIZES, GOOD, PLAN, 100),
)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure all.

    ``args``: ``draws`` (of each region), ``quick`` (a tenth of them), ``markdown`` (file to write the table into, or None),
    ``state`` (file that keeps what is measured, so that a run that was stopped goes on; or None).

    Raises:
        InputError: the marks of the file are missing, or fewer than 20 draws are asked for.
    """
    draws = getattr(args, "draws", None) or (DRAWS // 10 if getattr(args, "quick", False) else DRAWS)
    if draws < 20:
        raise InputError("A share of fewer than 20 draws says nothing; ask for more.")
    kept = Once(getattr(args, "state", None), f"{SEED}, {draws} draws")
    once = {part: kept.resting_on(fingerprint(part)) for part in SOURCES}
    result = measure(REGIONS, draws, once=once["regions"])
    planned = [
        (one.title, np.array(one.sizes), np.diag(np.array(one.truth)), one.places)
        for one in REGIONS
        if one.title.endswith("as planned (257)")
    ]
    result |= trust_ways.measure(draws, SEED, planned, once["ways"])
    comparisons = trust_ways.COMPARISONS * draws
    result |= once["demo"]("demo", lambda: trust_demo.measure(draws, SEED, comparisons))
    lands = draws // DRAWS_A_LANDSCAPE
    result |= once["numbers"](f"numbers of {lands} landscapes", lambda: trust_numbers.measure(lands, SEED))
    result |= once["scores"](f"scores of {lands} landscapes", lambda: trust_scores.measure(lands, SEED))
    more = [one for module in (trust_ways, trust_demo, trust_numbers, trust_scores) for one in module.tables(result)]
    result["table"] = "\n".join([result["table"], *more])
    markdown = getattr(args, "markdown", None)
    if markdown:
        write_between(Path(markdown), MARK, iter([*result["table"].splitlines(), ""]))
    return result


def fingerprint(part: str) -> str:
    """Of what a part measures and of the source that measures it: what another method gave is no row of this one.

    Args:
        part: of :data:`SOURCES`.
    """
    measured = (REGIONS, trust_scores.ROWS, trust_numbers.PLOTS, trust_numbers.YEARS, trust_ways.PEOPLE)
    digest = hashlib.sha256(repr(measured).encode())
    for path in (Path(__file__), *sorted(rests_on(SOURCES[part]))):
        digest.update(read_bytes(path, InputError))
    return digest.hexdigest()[:16]


def rests_on(roots: Sequence[str]) -> set[Path]:
    """Files of the package that some of it import, one by the other, with these: all that may change what they compute.

    Args:
        roots: below the package.
    """
    found: set[Path] = set()
    pending = [_CORE / root for root in roots]
    while pending:
        path = pending.pop()
        if path not in found:
            found.add(path)
            pending += _imports(path)
    return found


@functools.cache
def _imports(path: Path) -> tuple[Path, ...]:
    """Files of the package that one of them imports, wherever in it; not what only its type hints need."""
    names: set[str] = set()
    pending: list[ast.AST] = [ast.parse(read_bytes(path, InputError))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        # No expression imports.
        pending += [one for one in ast.iter_child_nodes(node) if isinstance(one, _BLOCKS)]
    found = []
    for name in names:
        package, *below = name.split(".")
        if package == _CORE.name and below and below[0] not in _NO_NUMBERS:
            module = _CORE.joinpath(*below)
            found += [one for one in (module.with_suffix(".py"), module / "__init__.py") if one.is_file()]
    return tuple(found)


class Once:
    """Parts of a measurement, each kept in a file as it is done and not made again.

    Args:
        path: of the file; None keeps nothing.
        key: of what parts depend on; those of another key are made anew.
    """

    def __init__(self, path: str | Path | None, key: str) -> None:
        self._path, self._key = None if path is None else Path(path), key
        self._known: dict[str, Any] = {}
        if self._path is not None and not is_missing(self._path):
            self._known = json.loads(read_bytes(self._path, InputError))

    def __call__[T](self, name: str, make: Callable[[], T]) -> T:
        """A part by its name."""
        name = f"{name} ({self._key})"
        if name not in self._known:
            self._known[name] = make()
            if self._path is not None:
                write_json(self._path, self._known)
        found: T = self._known[name]
        return found

    def resting_on(self, source: str) -> Once:
        """The same file for what depends on something more."""
        other = Once(None, f"{self._key}, {source}")
        other._path, other._known = self._path, self._known
        return other


def measure(regions: Sequence[Checked], draws: int, seed: int = SEED, *, once: Once | None = None) -> dict[str, Any]:
    """Coverage and width of both intervals.

    Args:
        once: keeps each region as it is done.

    Returns:
        JSON object: ``rows``, each with ``region``, ``of`` (what is estimated), ``truth``, ``holds`` and ``width`` (medians),
        ``plain_holds`` and ``plain_width``, and ``no_plain`` (share of draws without a plain interval, because a stratum has
        one place); ``worst`` and ``plain_worst``; and ``table``, for people.
    """
    once = once or Once(None, "")
    rows: list[dict[str, Any]] = []
    for number, region in enumerate(regions):
        rows += once(region.title, functools.partial(_rows, region, draws, seed + number))
    result: dict[str, Any] = {"bench": "trust", "draws": draws, "seed": seed, "rows": rows}
    for key, name in (("worst", "holds"), ("plain_worst", "plain_holds")):
        result[key] = min(row[name] for row in rows)
    return result | {"table": table(result)}


def drawn(region: Checked, draws: int, seed: int) -> Doubles:
    """(draws, H, K) places by class of the map and true class; draws that leave a class of the map without a place are left out."""
    rng = np.random.default_rng(seed)
    truth = np.array(region.truth)
    seen = np.stack([rng.multinomial(n, truth[h], draws) for h, n in enumerate(region.places)], 1)
    if region.stopped is not None:
        strata = np.repeat(np.arange(len(region.places)), region.places)
        for sample in seen:
            # Places in the order in which the app shows them, with what is there.
            there = np.concatenate([rng.permutation(np.repeat(np.arange(len(row)), row)) for row in sample])
            kept = looking_order(strata, rng)[: region.stopped]
            sample[:] = np.bincount(strata[kept] * sample.shape[1] + there[kept], minlength=sample.size).reshape(
                sample.shape
            )
        seen = seen[(seen.sum(2) > 0).all(1)]
    return seen.astype(float)


def _rows(region: Checked, draws: int, seed: int) -> list[dict[str, Any]]:
    seen, sizes, truth = drawn(region, draws, seed), np.array(region.sizes), np.array(region.truth)
    counts = seen.sum(2)
    kinds = len(sizes)
    right = np.diagonal(seen, axis1=1, axis2=2)
    rows = [_row(region, "right in all", float(sizes @ np.diag(truth)), _mean(right, counts, sizes), len(seen))]
    if all(0 in row for row in region.truth):
        # Only the share that is right is told of this region.
        return rows
    for k in range(kinds):
        share = float(sizes @ truth[:, k])
        rows.append(_row(region, f"area of class {k + 1}", share, _mean(seen[:, :, k], counts, sizes), len(seen)))
    for k in range(kinds):
        own = np.arange(kinds) == k
        hits, misses = np.where(own, seen[:, :, k], 0.0), np.where(own, 0.0, seen[:, :, k])
        met = seen[:, :, k].sum(1) > 0
        found = float(sizes[k] * truth[k, k] / (sizes @ truth[:, k]))
        both = _ratio(hits[met], misses[met], counts[met], sizes, np.stack([own, ~own], -1))
        rows.append(_row(region, f"found of class {k + 1}", found, both, int(met.sum())))
    return rows


Pair = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]


def _mean(hits: Doubles, counts: Doubles, sizes: Doubles) -> Pair:
    low, high = mean_interval(hits, counts, sizes)
    p = hits / counts
    with np.errstate(divide="ignore", invalid="ignore"):
        margin = Z95 * np.sqrt((sizes**2 * p * (1 - p) / (counts - 1)).sum(1))
    middle = p @ sizes
    return low, high, middle - margin, middle + margin


def _ratio(hits: Doubles, misses: Doubles, counts: Doubles, sizes: Doubles, possible: NDArray[np.bool_]) -> Pair:
    low, high = ratio_interval(hits, misses, counts, sizes, possible)
    above, below = (hits / counts) @ sizes, ((hits + misses) / counts) @ sizes
    value = above / below
    # Variance of hit - value * (hit or miss) in each stratum (Stehman 2014, eq. 28).
    ratio = value[:, None]
    first = (hits * (1 - ratio) - misses * ratio) / counts
    second = (hits * (1 - ratio) ** 2 + misses * ratio**2) / counts
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (sizes**2 * (second - first**2) / (counts - 1)).sum(1)
    margin = Z95 * np.sqrt(np.maximum(variance, 0.0)) / below
    return low, high, value - margin, value + margin


def _row(region: Checked, of: str, truth: float, limits: Pair, draws: int) -> dict[str, Any]:
    low, high, plain_low, plain_high = limits
    there = np.isfinite(plain_low)
    held = (plain_low - 1e-12 <= truth) & (truth <= plain_high + 1e-12) & there
    return {
        "region": region.title,
        "of": of,
        "truth": round(truth, 4),
        "draws": draws,
        "holds": round(float(((low <= truth + 1e-9) & (truth <= high + 1e-9)).mean()), 3),
        "width": round(float(np.median(high - low)), 4),
        "plain_holds": round(float(held.mean()), 3),
        "plain_width": round(float(np.median((plain_high - plain_low)[there])), 4) if there.any() else None,
        "no_plain": round(float(1 - there.mean()), 3),
    }


def table(result: dict[str, Any]) -> str:
    """The rows as Markdown."""
    lines = [
        "| region and sample | estimated | truth | holds | width | plain ± 1.96 se holds | its width |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        width = "none" if row["plain_width"] is None else f"{row['plain_width']:.3f}"
        lines.append(
            f"| {row['region']} | {row['of']} | {row['truth']:.3f} | {row['holds']:.3f} | {row['width']:.3f} "
            f"| {row['plain_holds']:.3f} | {width} |"
        )
    lines.append("")
    lines.append(
        f"{result['draws']} draws a region (of a share of .95 the standard error is {(0.0475 / result['draws']) ** 0.5:.3f}), seed "
        f"{result['seed']}; least {result['worst']:.3f}, plain {result['plain_worst']:.3f}."
    )
    return "\n".join(lines)
