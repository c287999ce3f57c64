"""Labels that are numbers: read from a file, and heads for them scored with whole labels or blocks of ground held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from tessera_core._utils.percents import percent
from tessera_core.assess.evaluate import CrossValidation
from tessera_core.assess.samples import CodeFeatures, MatrixFeatures
from tessera_core.assess.splits import SPLITS, near_blocks
from tessera_core.errors import Cancelled, HeadError, LabelError
from tessera_core.gate import open_raster, raster_errors
from tessera_core.grid import Grid
from tessera_core.heads.regression import COVERAGE, RegressionHead
from tessera_core.heads.training import training_draw
from tessera_core.labels.features import NO_HINTS, Hints
from tessera_core.labels.files import is_class_raster
from tessera_core.labels.model import Label
from tessera_core.labels.report import ImportReport
from tessera_core.labels.sampling import in_order_of_place, label_pixels
from tessera_core.labels.values import read_value_plots
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Cancel, Progress

# Labels are of one heap nearer than this times the distance at which as many would lie on a net; by chance few are.
HEAP, LEAST_HEAPS, MOST_HEAPED = 0.5, 4, 5000
# Parts that plots are left out in for the score of the map itself, of slow heads fewer; how many plots, or heaps of them, an
# interval rests on at least; and how many heaps a plot has at least where plots lie as chance would put them.
MAP_PARTS, FEW_PARTS, LEAST_SPREAD, LEAST_HEAPED, SPREAD = 20, 10, 5, 20, 0.5


@dataclass(frozen=True)
class RegressionSamples:
    """N places with numbers.

    Attributes:
        values: float64 (N,).
        groups: int (N,), which label (plot, polygon) each pixel belongs to.
        rows, cols: int (N,).
        features: of the pixels, once :meth:`with_embeddings` has taken them.
        ignored: pixels left out because they have no data.
        points: whether a label of them is a point.
        field: the attribute they come from, where there is one.
        report: what happened to the file they come from, where there is one.
    """

    values: NDArray[np.float64]
    groups: NDArray[Any]
    rows: NDArray[Any]
    cols: NDArray[Any]
    features: CodeFeatures | MatrixFeatures | None = None
    ignored: int = 0
    points: bool = False
    field: str = ""
    report: ImportReport | None = None

    def by_label(self) -> NDArray[np.float64]:
        """The number of each label (G,): the mean of its pixels."""
        _, group = np.unique(self.groups, return_inverse=True)
        return np.bincount(group, self.values) / np.bincount(group)

    def with_embeddings(self, raster: EmbeddingRaster) -> RegressionSamples:
        """Those pixels that have an embedding, with it.

        Raises:
            LabelError: none has.
        """
        return self._with(CodeFeatures.at(raster, self.rows, self.cols))

    def with_matrix(self, values: NDArray[np.float32]) -> RegressionSamples:
        """Those pixels whose features, float32 (N, F), are all known."""
        return self._with(MatrixFeatures(values))

    def _with(self, features: CodeFeatures | MatrixFeatures) -> RegressionSamples:
        usable = np.flatnonzero(features.usable())
        if len(usable) == 0:
            raise LabelError(
                "Not one labelled pixel lies where there are data; check that labels and embeddings overlap."
            )
        return replace(self._take(usable), features=features.take(usable), ignored=len(self.values) - len(usable))

    def _take(self, index: NDArray[np.intp]) -> RegressionSamples:
        return replace(
            self,
            values=self.values[index],
            groups=self.groups[index],
            rows=self.rows[index],
            cols=self.cols[index],
        )


def read_regression_samples(
    path: str | Path, grid: Grid, field: str | None = None, crs: str | None = None, hints: Hints = NO_HINTS
) -> RegressionSamples:
    """Numbers of a vector file, table or single-band raster (NaN or its no-data value = unlabelled) on ``grid``.

    Args:
        path: the file.
        grid: of the embeddings.
        field: attribute that holds the number; by default the only one that does.
        crs: of the file, where it does not say it.
        hints: layer, columns of coordinates and encoding, where guessing is unsafe.

    Raises:
        LabelError: the file cannot be read, holds no numbers, or no place lies on the grid.
    """
    if is_class_raster(path):
        return _raster_samples(Path(path), grid)
    plots = read_value_plots(path, grid, field, crs, hints)
    found = regression_samples(plots.labels, plots.values, grid)
    if len(found.rows) == 0:
        raise plots.report.nothing_left(Path(path).name)
    return replace(found, field=plots.field, report=plots.report)


def regression_samples(labels: Sequence[Label], values: NDArray[np.floating], grid: Grid) -> RegressionSamples:
    """The pixels of labels that are numbers; empty where none lies on the grid.

    Points that share a pixel count as one, with their mean: each is as good a measurement of it as the other. Where areas
    overlap, the later one wins, as with classes.

    Args:
        labels: in painting order, coordinates in the CRS of ``grid``.
        values: (N,) the number of each.
    """
    values = np.asarray(values, np.float64)
    pixels = label_pixels(labels, grid)
    found: NDArray[np.float64] = np.array(values[pixels.label_index], np.float64)
    points = np.array([n for n, label in enumerate(labels) if label.kind == "point"], np.intp)
    if len(points):
        x, y = np.array([labels[n].xy[0] for n in points], np.float64).T
        rows, cols = grid.xy_to_pixel(x, y)
        inside = grid.inside(rows, cols)
        flat = np.floor(rows[inside]).astype(np.int64) * grid.width + np.floor(cols[inside]).astype(np.int64)
        places, which = np.unique(flat, return_inverse=True)
        mean = np.bincount(which, values[points[inside]]) / np.bincount(which)
        # Only where the pixel still is a point's: an area painted later has taken some.
        own = np.flatnonzero(np.isin(pixels.label_index, points))
        here = pixels.rows[own].astype(np.int64) * grid.width + pixels.cols[own]
        found[own] = mean[np.searchsorted(places, here)]
    return RegressionSamples(found, pixels.label_index, pixels.rows, pixels.cols, points=bool(len(points)))


def _raster_samples(path: Path, grid: Grid) -> RegressionSamples:
    from rasterio.vrt import WarpedVRT

    if path.suffix.lower() == ".npy":
        from tessera_core._utils.npy import load_npy

        values = np.asarray(load_npy(path, LabelError), np.float64)
    else:
        try:
            with open_raster(path, error=LabelError, whole=grid.crs is None) as file:
                if file.crs is None or grid.crs is None:
                    values = file.read(1, masked=True).astype(np.float64).filled(np.nan)
                else:
                    place = {"crs": grid.crs, "transform": grid.transform, "height": grid.height, "width": grid.width}
                    missing = np.nan if file.nodata is None else file.nodata
                    with WarpedVRT(file, **place, nodata=missing, dtype="float64") as moved:
                        values = moved.read(1, masked=True).filled(np.nan)
        except raster_errors() as error:
            raise LabelError(f"{path.name} cannot be read as a GeoTIFF: {str(error).splitlines()[0]}") from error
    if values.shape != grid.shape:
        raise LabelError(
            f"{path.name} is of shape {values.shape}, the embeddings are {grid.height} x {grid.width} pixels; they cannot be laid "
            "over each other."
        )
    rows, cols = np.nonzero(np.isfinite(values))
    if len(rows) == 0:
        raise LabelError(f"{path.name} has no number in this region.")
    report = ImportReport(int(values.size), len(rows), len(rows), field_why="the values of the raster")
    if left := values.size - len(rows):
        report.leave_out("no data, or beyond the raster", count=int(left))
    return RegressionSamples(values[rows, cols], np.arange(len(rows)), rows, cols, report=report)


@dataclass(frozen=True)
class HeldOutValues:
    """What a head says of labels that it has not seen, one row a label; the pixels of a label are averaged.

    Attributes:
        groups: int (G,), which label.
        truth: float64 (G,) its number.
        guess, margin: float64 (G,), NaN where it was never held out.
        blocks: int (G,), which block of ground it lies in; what is resampled together.
    """

    groups: NDArray[Any]
    truth: NDArray[np.float64]
    guess: NDArray[np.float64]
    half_width: NDArray[np.float64]
    blocks: NDArray[np.intp]


@dataclass(frozen=True)
class Judgement:
    """A score and what it rests on.

    Attributes:
        result: JSON object, see :func:`evaluate_regression`.
        held_out: of the first repeat.
    """

    result: dict[str, Any]
    held_out: HeldOutValues


def evaluate_regression(
    samples: RegressionSamples, head: RegressionHead, cv: CrossValidation | None = None, **options: Any
) -> dict[str, Any]:
    """Cross-validate a head for numbers; every label is predicted by a head that saw nothing of it (or its block).

    Args:
        samples: with features.
        head: unfitted; it is cloned for each fold.
        cv, options: of :func:`judge_regression`.

    Returns:
        JSON object: ``r2`` (may be negative: worse than the mean), ``rmse``, ``mae`` in the labels' unit, ``bias`` (mean of
        predicted minus true), ``coverage`` (share inside the 90 % margins), ``map_r2`` (of :class:`MapR2`,
        or None), ``sd`` of the first three over repeats, ``n_train`` pixels, ``n_test`` labels, ``range`` of the numbers,
        ``split``, ``folds``, ``repeats``, ``notes`` and ``naive``.

    Raises:
        LabelError: the labels cannot be split this way.
        HeadError: the head cannot be fitted.
        Cancelled: ``cancelled`` said so.
    """
    return judge_regression(samples, head, cv, **options).result


def judge_regression(
    samples: RegressionSamples,
    head: RegressionHead,
    cv: CrossValidation | None = None,
    *,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Judgement:
    """As :func:`evaluate_regression`, with what was said of each label.

    Args:
        cv: how labels are held out; None for whole labels in three parts.
        progress, cancelled: see docs/architecture.md; units are fits.
    """
    cv = cv or CrossValidation()
    if cv.split not in SPLITS:
        raise LabelError(f"There is no split {cv.split!r}; the splits are {', '.join(SPLITS)}.")
    if cv.n_folds < 2:
        raise LabelError("At least 2 folds are needed to hold something out.")
    if samples.features is None:
        raise LabelError("These numbers have no features yet; take embeddings first.")
    kinds = [cv.split] + (["random"] if cv.naive and cv.split != "random" else [])
    total, done = cv.n_folds * cv.repeats * len(kinds) + _map_parts(samples, head)[1], 0

    def fitted() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(min(done, total), total, "fitting")

    results: list[dict[str, Any]] = []
    first: HeldOutValues | None = None
    heaps = held_together(samples)
    for kind in kinds:
        each, seen = [], []
        for seed in range(cv.seed, cv.seed + cv.repeats):
            guess, half_width = (np.full(len(samples.values), np.nan) for _ in range(2))
            for train, test in _folds(samples, replace(cv, split=kind, seed=seed)):
                if cancelled is not None and cancelled():
                    raise Cancelled
                train = train[training_draw(np.zeros(len(train)), samples.rows[train], samples.cols[train], seed)]
                guess[test], half_width[test] = samples.features.fit_interval(
                    clone(head), train, samples.values[train], test, heaps[train]
                )
                seen.append(len(train))
                fitted()
            held = _by_label(samples, guess, half_width, cv.block_px)
            first = first or held
            each.append(regression_scores(held.truth, held.guess, held.half_width))
        one: dict[str, Any] = {name: float(np.mean([run[name] for run in each])) for name in each[0]}
        one |= {"sd": {name: float(np.std([run[name] for run in each])) for name in ("r2", "rmse", "mae")}}
        results.append(one | {"split": kind, "n_train": round(float(np.mean(seen))), "n_test": round(one["n_test"])})
    assert first is not None
    result = results[0] | {"folds": cv.n_folds, "repeats": cv.repeats, "seed": cv.seed, "notes": []}
    result["range"] = [float(samples.values.min()), float(samples.values.max())]
    found = map_r2(samples, head, cv.seed, cancelled, fitted)
    result["map_r2"] = None if found is None else found.to_json()
    if samples.ignored:
        result["notes"] = [f"{samples.ignored} labelled pixels have no data and were left out."]
    if len(results) > 1:
        result["naive"] = results[1]
    return Judgement(result, first)


def held_together(samples: RegressionSamples) -> NDArray[np.intp]:
    """Which pixels are judged together when margins are made: those of one label, and of labels that lie on one heap.

    Ten plots in a field know each other's number: leaving out single ones gives the margin of plots beside plots.
    Labels nearer to each other than plots spread over the same ground would be (linked one to the next) are left out as one.

    Args:
        samples: with at least one pixel.

    Returns:
        int (N,), from 0; single labels where fewer than four heaps are found, which say nothing.
    """
    heap, label = _heaps(samples)
    return label if heap is None or int(heap.max(initial=-1)) + 1 < LEAST_HEAPS else heap[label]


def _heaps(samples: RegressionSamples) -> tuple[NDArray[np.intp] | None, NDArray[np.intp]]:
    """Heap of each label (G,), however few there are, and label of each pixel (N,); no heaps above :data:`MOST_HEAPED`."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    ids, inverse = np.unique(in_order_of_place(samples.groups), return_inverse=True)
    label = inverse.astype(np.intp)
    if len(ids) > MOST_HEAPED:
        # So many are no plots of anybody's but the pixels of a raster.
        return None, label
    count = np.bincount(label)
    at = np.stack([np.bincount(label, values) / count for values in (samples.rows, samples.cols)], 1)
    area = float(np.prod(np.ptp(at, axis=0) + 1))
    pairs = cKDTree(at).query_pairs(HEAP * (area / len(ids)) ** 0.5, output_type="ndarray")
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(ids), len(ids)))
    return connected_components(links, directed=False)[1].astype(np.intp), label


def _by_label(
    samples: RegressionSamples, guess: NDArray[np.float64], half_width: NDArray[np.float64], block_px: int
) -> HeldOutValues:
    names, first, group = np.unique(samples.groups, return_index=True, return_inverse=True)
    known = np.isfinite(guess)
    count = np.bincount(group, known, len(names))

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.bincount(group, np.where(known, values, 0), len(names))
        means = np.full(len(names), np.nan)
        np.divide(total, count, out=means, where=count > 0)
        return means

    truth = np.bincount(group, samples.values) / np.bincount(group)
    blocks = np.stack([samples.rows[first] // block_px, samples.cols[first] // block_px], axis=1)
    return HeldOutValues(
        names, truth, mean(guess), mean(half_width), np.unique(blocks, axis=0, return_inverse=True)[1].ravel()
    )


@dataclass(frozen=True)
class MapR2:
    """R2 of the map itself over the ground that its plots stand for, with a 95 % interval.

    Attributes:
        value, low, high: 1 is perfect, 0 no better than the mean, below worse.
        heaps: plots, or heaps of them, that the interval rests on.
    """

    value: float
    low: float
    high: float
    heaps: int

    def to_json(self) -> dict[str, float]:
        """JSON object of the fields."""
        return {"value": self.value, "low": self.low, "high": self.high, "heaps": self.heaps}


def map_r2(
    samples: RegressionSamples,
    head: RegressionHead,
    seed: int = 0,
    cancelled: Cancel | None = None,
    fitted: Callable[[], None] | None = None,
) -> MapR2 | None:
    """R2 of the map of plots drawn by chance (or heaps of them): what it would be at all other places.

    Plots are left out with few others and nothing around them, as another place drawn by chance would be as near to a plot; plots
    put down on heaps (:func:`held_together`) heap by heap. Where ground is left out around plots, as for the other scores, few
    are left to learn from, and R2 is far too low.

    The interval is that of a ratio of two sums over heaps, errors and spread, on the scale of logarithms, by the jackknife over
    heaps and Student's quantile (Shao and Tu 1995, chapter 2). It knows of the draw of plots that judge, not of those that teach,
    which weighs most where plots are few: it is wider by :func:`_widened`, settled on other landscapes than those of the
    measurement in docs/trust.md. Of plots on heaps the heaps are counted there: one teaches little more than one plot.

    Args:
        samples, head, seed, cancelled: as of :func:`judge_regression`.
        fitted: called after each fit.

    Returns:
        None where too few plots can be judged (five that lie as chance would put them, or twenty heaps: of fewer heaps, leaving
        one out takes so much from what teaches that the interval held .78), or so many that they are the pixels of a raster, or
        all have the same number.

    Raises:
        Cancelled: ``cancelled`` said so.
    """
    from scipy.stats import t

    assert samples.features is not None
    left, parts = _map_parts(samples, head)
    if left is None:
        return None
    heaps, number = held_together(samples), int(left.max()) + 1
    part = (np.random.default_rng(seed).permutation(number) % parts)[left]
    guess = np.full(len(samples.values), np.nan)
    for k in range(parts):
        if cancelled is not None and cancelled():
            raise Cancelled
        train, test = np.flatnonzero(part != k), np.flatnonzero(part == k)
        train = train[training_draw(np.zeros(len(train)), samples.rows[train], samples.cols[train], seed)]
        try:
            guess[test] = samples.features.fit_interval(clone(head), train, samples.values[train], test, heaps[train])[
                0
            ]
        except HeadError:
            # Too few numbers, or all the same, are left to learn from.
            return None
        if fitted is not None:
            fitted()
    held = _by_label(samples, guess, guess, 1)
    known = np.isfinite(held.guess)
    _, first = np.unique(samples.groups, return_index=True)
    _, heap = np.unique(heaps[first][known], return_inverse=True)
    truth, count = held.truth[known], int(heap.max()) + 1
    error = np.square(held.guess[known] - truth)
    sums = np.stack([np.bincount(heap, one, count) for one in (np.ones(len(truth)), truth, truth**2, error)])

    def ratio(total: NDArray[np.float64]) -> NDArray[np.float64]:
        n, first, second, wrong = total
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.log(wrong / (second - first**2 / n)))

    whole, without = sums.sum(1), ratio(sums.sum(1)[:, None] - sums)
    middle = float(ratio(whole))
    if not (np.isfinite(middle) and np.isfinite(without).all()):
        return None
    half = _widened(number) * float(t.ppf(0.975, count - 1)) * float(without.std() * (count - 1) ** 0.5)
    value, low, high = (1 - float(np.exp(middle + step)) for step in (0.0, half, -half))
    return MapR2(value, low, high, count)


def _map_parts(samples: RegressionSamples, head: RegressionHead) -> tuple[NDArray[np.intp] | None, int]:
    """What is left out as one for :func:`map_r2` (N,), and in how many parts; None and 0 where the map cannot be judged."""
    heap, label = _heaps(samples)
    if heap is None:
        return None, 0
    number = int(heap.max(initial=-1)) + 1
    # By chance a third of plots or so lie nearer to another than on a net.
    spread = number >= SPREAD * len(heap)
    if number < (LEAST_SPREAD if spread else LEAST_HEAPED):
        return None, 0
    left = label if spread else heap[label]
    return left, min(MAP_PARTS if head._fits_alone else FEW_PARTS, int(left.max()) + 1)


def _widened(plots: int) -> float:
    """How many times as wide the interval of :func:`map_r2` is for what the draw of the plots (or heaps) that teach adds."""
    return float((1.1 + 42 / plots) ** 0.5)


def regression_scores(
    truth: NDArray[np.floating], guess: NDArray[np.floating], half_width: NDArray[np.floating] | None = None
) -> dict[str, float]:
    """``r2``, ``rmse``, ``mae``, ``bias``, ``n_test``, and ``coverage`` where there are margins; NaN guesses do not count."""
    known = np.isfinite(guess)
    error = guess[known] - truth[known]
    spread = float(np.square(truth[known] - truth[known].mean()).sum())
    scores = {
        "r2": 1 - float(np.square(error).sum()) / spread if spread > 0 else 0.0,
        "rmse": float(np.sqrt(np.square(error).mean())),
        "mae": float(np.abs(error).mean()),
        "bias": float(error.mean()),
        "n_test": float(known.sum()),
    }
    if half_width is not None:
        scores["coverage"] = float((np.abs(error) <= half_width[known]).mean())
    return scores


def _folds(samples: RegressionSamples, cv: CrossValidation) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    n, split, n_folds, block_px = len(samples.values), cv.split, cv.n_folds, cv.block_px
    blocks = np.stack([samples.rows // block_px, samples.cols // block_px], axis=1)
    if split == "random":
        groups = np.arange(n)
    elif split == "field":
        groups = in_order_of_place(samples.groups)
    else:
        groups = np.unique(blocks, axis=0, return_inverse=True)[1].ravel()
    number = int(groups.max()) + 1
    if number < n_folds:
        what = {"field": "labels", "blocked": f"blocks of {block_px} pixels"}.get(split, "pixels")
        raise LabelError(
            f"The split {split!r} holds whole {what} out in {n_folds} parts, but the numbers lie in {number} of them; label "
            "more places, or use another split."
        )
    part = (np.random.default_rng(cv.seed).permutation(number) % n_folds)[groups]
    result = []
    for k in range(n_folds):
        train, test = np.flatnonzero(part != k), np.flatnonzero(part == k)
        if split == "blocked":
            train = train[~near_blocks(samples.rows, samples.cols, test, train, block_px, cv.buffer_px)]
        if len(train) < 3:
            raise LabelError(
                f"The split {split!r} leaves too few numbers to train on beside what it holds out; label more places, or use a "
                "smaller buffer."
            )
        result.append((train, test))
    return result


def regression_sentence(result: dict[str, Any]) -> str:
    """The score in words."""
    text = (
        f"Explains {percent(max(result['r2'], 0))} % of the differences between places it has not seen (R2 {result['r2']:.2f}); "
        f"typically off by {result['mae']:.3g} (RMSE {result['rmse']:.3g}) where the labels run from {result['range'][0]:.3g} to "
        f"{result['range'][1]:.3g}. Its {percent(COVERAGE)} % margins hold {percent(result['coverage'])} %."
    )
    if "naive" in result:
        text += f" A random split would have claimed R2 {result['naive']['r2']:.2f}."
    return text
