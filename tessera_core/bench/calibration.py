"""``tessera bench calibration``: is "80 % sure" right in 80 of 100 cases, do sets of classes hold the truth as often as said?

Each repeat draws labels and does with them what the app does: an honest score, a temperature from it, sets of classes from it
(:mod:`tessera_core.assess.live`, :mod:`tessera_core.assess.calibration`). Then both are judged on pixels without labels, drawn
as the ground is made up: on the squares, fields or cells that the labels lie in, and on others that no label lies in. Error
of calibration is the mean distance of confidence from accuracy over ten bins, on ground without labels.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.percents import percent
from tessera_core.assess.calibration import Conformal, calibrate, conformal, expected_error, reliability
from tessera_core.assess.live import live_score
from tessera_core.assess.samples import CodeFeatures, Samples
from tessera_core.bench.heads import draw, write_between
from tessera_core.bench.sites import Site, sites
from tessera_core.grid import Grid
from tessera_core.heads import make_head
from tessera_core.heads.temperature import temperature_scaled
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster

HEADS = ("prototype", "ridge", "logistic", "knn")
PER_CLASS, REPEATS, TEST = 20, 100, 2000
ERRORS = (0.05, 0.1, 0.2)
MARK = "<!-- tessera bench calibration -->"
# What coverage is measured on, as keys of the result.
GROUNDS = ("like_labels", "held_out", "by_class")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure on all sites.

    ``args``: ``data`` (folder of the real data sets, or None), ``quick`` (10 repeats), ``markdown`` (file to write the table
    into, or None).

    Raises:
        InputError: the folder or the marks of the file are missing.
    """
    repeats = 10 if getattr(args, "quick", False) else REPEATS
    places = sites(getattr(args, "data", None))
    result = measure([site for site in places if site.name != "belgium-medians"], HEADS, repeats)
    markdown = getattr(args, "markdown", None)
    if markdown:
        write_between(Path(markdown), MARK, table(result))
    return result


def measure(places: Sequence[Site], heads: Sequence[str], repeats: int, per_class: int = PER_CLASS) -> dict[str, Any]:
    """Calibration of ``heads`` on ``places``.

    Returns:
        JSON object; by site its ``title`` and ``heads``, by name: ``ece_before``, ``ece_after`` and ``ece_se`` (means over
        repeats on ground without labels, and the standard error of their difference), ``temperature`` (median), ``places``
        (mean effective number), ``beside`` (mean share of pixels of other ground that lie beside a label), and ``coverage``
        by nominal coverage: the mean share of pixels whose set holds the true class on the labels' ground (``like_labels``),
        on other ground (``held_out``, its standard error ``se``) and on pixels of the labels' ground drawn evenly by class,
        as the labels were (``by_class``); ``size`` (mean classes in a set on other ground) and ``endless`` (share of repeats
        with too few places to promise anything there).
    """
    result: dict[str, Any] = {"bench": "calibration", "repeats": repeats, "labels_a_class": per_class, "sites": {}}
    for site in places:
        raster, rows, cols = _on_ground(site)
        found = {name: _head(site, raster, rows, cols, name, repeats, per_class) for name in heads}
        result["sites"][site.name] = {"title": site.title, "held_out": site.held_out, "heads": found}
    return result


def _on_ground(site: Site) -> tuple[EmbeddingRaster, NDArray[np.intp], NDArray[np.intp]]:
    """The site's raster with the row and column of each place; loose points become a raster of one row."""
    if site.raster is not None and site.rows is not None and site.cols is not None:
        return site.raster, site.rows, site.cols
    n, dim = site.x.shape
    scales = np.maximum(np.abs(site.x).max(axis=1) / 127, 1e-12).astype(np.float32)
    codes = np.rint(site.x / scales[:, None]).astype(np.int8)
    raster = EmbeddingRaster(codes[None], scales[None], Grid.local((1, n)), Provenance(dim=dim))
    return raster, np.zeros(n, np.intp), np.arange(n)


def _head(
    site: Site,
    raster: EmbeddingRaster,
    rows: NDArray[np.intp],
    cols: NDArray[np.intp],
    name: str,
    repeats: int,
    per_class: int,
) -> dict[str, Any]:
    errors: list[tuple[float, float]] = []
    temperatures, counted, close = [], [], []
    inside: dict[float, list[tuple[float, ...]]] = {error: [] for error in ERRORS}
    for seed in range(repeats):
        pool, test = site.split(seed)
        labelled = draw(site.y, pool, per_class, seed)
        counts = np.bincount(site.y[labelled])
        labelled = labelled[counts[site.y[labelled]] > 1]
        samples = Samples(
            CodeFeatures.at(raster, rows[labelled], cols[labelled]),
            site.y[labelled],
            np.arange(len(labelled)),
            rows[labelled],
            cols[labelled],
            {},
            spatial_groups=None if site.raster is not None else site.groups[labelled],
        )
        held = live_score(samples, make_head(name), seed=seed).held_out
        if held is None:
            # Too few places even for a score: the app shows neither temperature nor sets.
            continue
        temperature = calibrate(held).temperature
        temperatures.append(temperature)
        head = make_head(name).fit_at(raster, rows[labelled], cols[labelled], site.y[labelled])
        rng = np.random.default_rng([seed, 6])
        free = np.setdiff1d(pool, labelled)
        free = free[np.isin(site.groups[free], site.groups[labelled])]
        drawn = {
            "like_labels": rng.permutation(free)[:TEST],
            "held_out": rng.permutation(test)[:TEST],
            "by_class": draw(site.y, free, per_class, seed + 10_000),
        }
        drawn = {key: index[np.isin(site.y[index], head.classes_)] for key, index in drawn.items()}
        proba = {key: head.proba_at(raster, rows[index], cols[index]) for key, index in drawn.items()}
        truth = {key: np.searchsorted(head.classes_, site.y[index]) for key, index in drawn.items()}
        far, right = proba["held_out"], truth["held_out"]
        errors.append((_error(far, right), _error(temperature_scaled(far, temperature), right)))
        for error in ERRORS:
            rule = conformal(held, error, temperature=temperature)
            beside = {key: _beside(site, rule, labelled, index, rows, cols) for key, index in drawn.items()}
            sets = {key: rule.contains(proba[key], beside[key]) for key in GROUNDS}
            shares = [float(sets[key][np.arange(len(truth[key])), truth[key]].mean()) for key in GROUNDS]
            inside[error].append((*shares, float(sets["held_out"].sum(axis=1).mean()), float(np.isinf(rule.threshold))))
            if error == ERRORS[0]:
                counted.append(rule.n)
                close.append(float(beside["held_out"].mean()))
    before, after = np.mean(errors, axis=0)
    coverage = {}
    for error, found in inside.items():
        means = dict(zip((*GROUNDS, "size", "endless"), np.round(np.mean(found, axis=0), 4).tolist(), strict=True))
        coverage[f"{1 - error:.2f}"] = means | {"se": round(float(_se(np.array(found)[:, 1])), 4)}
    return {
        "ece_before": round(float(before), 4),
        "ece_after": round(float(after), 4),
        "ece_se": round(float(_se(np.diff(errors, axis=1))), 4),
        "temperature": round(float(np.median(temperatures)), 3),
        "places": round(float(np.mean(counted)), 1),
        "beside": round(float(np.mean(close)), 4),
        "repeats": len(errors),
        "coverage": coverage,
    }


def _error(proba: NDArray[np.floating], truth: NDArray[np.intp]) -> float:
    return expected_error(reliability(proba, truth))


def _se(values: NDArray[np.float64]) -> float:
    return float(np.std(values) / np.sqrt(max(len(values) - 1, 1)))


def _beside(
    site: Site,
    rule: Conformal,
    labelled: NDArray[np.intp],
    index: NDArray[np.intp],
    rows: NDArray[np.intp],
    cols: NDArray[np.intp],
) -> NDArray[np.bool_]:
    """Which places lie beside a label: near it on a raster, else in the same cell."""
    if rule.beside is None:
        return np.zeros(len(index), bool)
    if site.raster is None:
        return np.isin(site.groups[index], site.groups[labelled])
    height, width = site.raster.shape
    return rule.beside.mask(slice(0, height), width)[rows[index], cols[index]]


def table(result: dict[str, Any]) -> Iterator[str]:
    """The result as Markdown, line by line."""
    nominal = [f"{1 - error:.2f}" for error in ERRORS]
    yield (
        f"{result['labels_a_class']} labels a class, {result['repeats']} repeats. *Places*: how many independent ones the "
        "labels amount to. *Beside*: share of the other ground that lies beside a label. Sets hold the truth: at pixels of the "
        "labels' ground, at pixels of it drawn evenly by class, **at pixels of other ground** (± standard error)."
    )
    yield ""
    titles = " | ".join(f"{percent(float(n))} % sets" for n in nominal)
    yield f"| site | head | places, beside | calibration error before, after | {titles} |"
    yield "|---" * (4 + len(nominal)) + "|"
    for name, site in result["sites"].items():
        for head, one in site["heads"].items():
            cells = []
            for n in nominal:
                row = one["coverage"][n]
                here, evenly, far, se = (_short(row[key]) for key in ("like_labels", "by_class", "held_out", "se"))
                cell = f"{here}, {evenly}, **{far}** ± {se}"
                if row["endless"]:
                    cell += f" ({percent(row['endless'])} % endless)"
                cells.append(cell)
            error = f"{_short(one['ece_before'])}, {_short(one['ece_after'])} ± {_short(one['ece_se'])}"
            known = f"{one['places']:.0f}, {percent(one['beside'])} %"
            yield f"| {name} | {head} | {known} | {error} | {' | '.join(cells)} |"
    yield ""


def _short(share: float) -> str:
    """A share without its leading zero."""
    return f"{share:.3f}".removeprefix("0")
