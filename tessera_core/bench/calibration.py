"""``tessera bench calibration``: is "80 % sure" right in 80 of 100 cases, do sets of classes hold the truth as often as said?

Each repeat draws labels, fits temperature and sets on labels held out from one another (as the app does), and judges both on
ground that no label lies in. Error of calibration is the mean distance of confidence from accuracy over ten bins. Coverage is
judged twice: on places like the labelled ones (the promise of conformal prediction), and on fields or cells held out, where
no promise holds and the figure says how much is lost.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from tessera_core.assess.calibration import conformal, expected_error, fit_temperature, reliability
from tessera_core.assess.crossfit import HeldOut, predict_folds
from tessera_core.assess.samples import MatrixFeatures, Samples
from tessera_core.bench.heads import draw
from tessera_core.bench.sites import Site, sites
from tessera_core.heads import make_head
from tessera_core.heads.tempered import soften

HEADS = ("prototype", "ridge", "logistic", "knn")
PER_CLASS, REPEATS, FOLDS, TEST = 20, 100, 10, 2000
ERRORS = (0.05, 0.1, 0.2)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure on all sites; ``args.data`` names the folder of the real data sets, ``args.quick`` takes 10 repeats."""
    repeats = 10 if getattr(args, "quick", False) else REPEATS
    places = sites(getattr(args, "data", None))
    return measure([site for site in places if site.name != "belgium-medians"], HEADS, repeats)


def measure(places: Sequence[Site], heads: Sequence[str], repeats: int, per_class: int = PER_CLASS) -> dict[str, Any]:
    """Calibration of ``heads`` on ``places``.

    Returns:
        JSON object; by site and head: ``ece_before``, ``ece_after`` (means over repeats, on held-out ground), and by nominal
        coverage ``like_labels`` and ``held_out`` (mean share of sets with the true class) with ``size`` (mean classes in a set).
    """
    result: dict[str, Any] = {"bench": "calibration", "repeats": repeats, "labels_a_class": per_class, "sites": {}}
    for site in places:
        result["sites"][site.name] = {name: _head(site, name, repeats, per_class) for name in heads}
    return result


def _head(site: Site, name: str, repeats: int, per_class: int) -> dict[str, Any]:
    ece: list[tuple[float, float]] = []
    inside: dict[float, list[tuple[float, float, float]]] = {error: [] for error in ERRORS}
    for seed in range(repeats):
        pool, test = site.split(seed)
        labelled = draw(site.y, pool, per_class, seed)
        counts = np.bincount(site.y[labelled])
        labelled = labelled[counts[site.y[labelled]] > 1]
        held = _hold_out(site, labelled, name, seed)
        judged = held.judged
        temperature = fit_temperature(held.proba[judged], held.targets[judged])
        head = make_head(name).fit(site.x[labelled], site.y[labelled])
        rng = np.random.default_rng([seed, 6])
        test = rng.permutation(test[np.isin(site.y[test], head.classes_)])[:TEST]
        proba, truth = head.predict_proba(site.x[test]), np.searchsorted(head.classes_, site.y[test])
        ece.append(
            tuple(expected_error(reliability(p, truth)) for p in (proba, soften(proba, temperature)))  # type: ignore[arg-type]
        )
        # Places like the labelled ones: the same ground, drawn in the same way.
        like = draw(site.y, np.setdiff1d(pool, labelled), per_class, seed + 10_000)
        like = like[np.isin(site.y[like], head.classes_)]
        for error in ERRORS:
            rule = conformal(held, error, temperature=temperature)
            near = _share(rule.contains(head.predict_proba(site.x[like])), head.classes_, site.y[like])
            sets = rule.contains(proba)
            far = float(sets[np.arange(len(truth)), truth].mean())
            inside[error].append((near, far, float(sets.sum(axis=1).mean())))
    before, after = np.mean(ece, axis=0)
    return {
        "ece_before": round(float(before), 4),
        "ece_after": round(float(after), 4),
        "coverage": {
            f"{1 - error:.2f}": dict(
                zip(("like_labels", "held_out", "size"), np.round(np.mean(rows, axis=0), 4).tolist(), strict=True)
            )
            for error, rows in inside.items()
        },
    }


def _share(sets: NDArray[np.bool_], classes: NDArray[Any], truth: NDArray[Any]) -> float:
    return float(sets[np.arange(len(truth)), np.searchsorted(classes, truth)].mean())


def _hold_out(site: Site, labelled: NDArray[np.intp], name: str, seed: int) -> HeldOut:
    """Every label predicted by a head that did not see it, as the app does with labels far enough apart."""
    y = site.y[labelled]
    number = np.arange(len(labelled))
    samples = Samples(_Plain(site.x[labelled]), y, number, number, number, {})
    folds = min(FOLDS, int(np.bincount(y)[np.unique(y)].min()))
    parts = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(number, y))
    return predict_folds(samples, make_head(name), parts, number)


class _Plain(MatrixFeatures):
    """Vectors as they are: embeddings are not standardised."""

    def _fit(self, head: Any, train: Any, y: Any, test: Any, groups: Any) -> NDArray[np.float32]:
        head.fit(self.values[train], y)
        return self.values[test]
