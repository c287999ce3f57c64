"""From a project's field plots to a map of a number: which plots teach which head, how good that is, and where it guesses.

The page, the exports and the command line all come here, so that they show the same map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.percents import percent
from tessera_core.analysis import applicability
from tessera_core.areas import hectares_per_pixel
from tessera_core.assess.evaluate import CrossValidation
from tessera_core.assess.region_mean import region_mean
from tessera_core.assess.regression import (
    HeldOutValues,
    RegressionSamples,
    held_together,
    judge_regression,
    regression_samples,
)
from tessera_core.dpixels.greenness import summer_ndvi
from tessera_core.dpixels.tile import DPixelTile
from tessera_core.errors import HeadError, LabelError
from tessera_core.export.values import RegressionProduct
from tessera_core.grid import Grid
from tessera_core.heads import RegressionHead, ValueMap, make_regression_head, predict_values
from tessera_core.heads.regression import COVERAGE
from tessera_core.heads.training import training_draw
from tessera_core.labels.model import Label, LabelClass, new_id
from tessera_core.labels.plots import Plot, plots_of, values_of
from tessera_core.labels.report import ImportReport
from tessera_core.labels.values import ImportedValues
from tessera_core.project.project import Project
from tessera_core.project.settings import ProjectSettings
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Cancel, Progress

DEFAULT_REGRESSION_HEAD = "ridge-regression"
# What a person chooses from, with what to expect.
REGRESSION_CHOICES: dict[str, str] = {
    "ridge-regression": "Ridge: instant, and hard to beat with up to a few hundred plots.",
    "forest-regression": "Random forest: takes seconds to minutes; never says less or more than your plots do.",
    "mlp-regression": "Neural network: takes a minute or more; for many hundreds of plots.",
}
FOLDS = 5
# Fewer plots cannot be judged at all; fewer than FIRM, only roughly.
LEAST_JUDGED, FIRM = 6, 30
# Held-out errors further from the middle than so many times their usual size (median absolute deviation) are odd.
ODD = 6.0
EXAMPLE_FIELD = "Summer NDVI"
EXAMPLE_PLOTS = 150
# What the layer of guesses holds.
KNOWN, BEYOND, OUTSIDE = 0, 1, 2


@dataclass(frozen=True)
class RegressionChoice:
    """A head for numbers with its options; a value that can be compared, hashed and kept in a project's settings.

    Attributes:
        name: one of ``REGRESSION_HEADS``.
        neighbourhood: edge of the square around a pixel that it looks at: 1, 3 or 5.
    """

    name: str = DEFAULT_REGRESSION_HEAD
    neighbourhood: int = 1

    @property
    def instant(self) -> bool:
        """Whether it is quick enough to follow every plot."""
        return self.name == DEFAULT_REGRESSION_HEAD

    def make(self, seed: int = 0) -> RegressionHead:
        """An unfitted head of this choice.

        Raises:
            HeadError: there is no such head or context.
        """
        head = make_regression_head(self.name, neighbourhood=self.neighbourhood)
        made: RegressionHead = head.set_params(
            **{name: seed for name in head.get_params() if name.rpartition("__")[2] == "seed"}
        )
        return made

    @classmethod
    def from_settings(cls, settings: ProjectSettings) -> RegressionChoice:
        """The choice a project's settings hold: defaults where it holds none that there is."""
        name, neighbourhood = settings.regression_head, settings.regression_neighbourhood
        return cls(
            name if name in REGRESSION_CHOICES else DEFAULT_REGRESSION_HEAD,
            neighbourhood if neighbourhood in (1, 3, 5) else 1,
        )


def chosen_measure(project: Project) -> LabelClass | None:
    """What is mapped: the setting ``regression_measure`` (a class id of the plots, 0 for something new), else what was added last;
    None without any."""
    classes = {c.id: c for c in project.plots.classes}
    chosen = project.settings.regression_measure
    if chosen == 0:
        return None
    if chosen in classes:
        return classes[chosen]
    return classes[max(classes)] if classes else None


# ------------------------------------------------------------------- mapping


@dataclass(frozen=True)
class RegressionMap:
    """A map of a number.

    Attributes:
        head: what made it.
        map: values and margins.
        n_train: pixels that taught the head.
        range: the lowest and the highest number of the plots on the map.
        guesses: uint8 (H, W): :data:`KNOWN`, :data:`BEYOND` the range of the plots, or ground :data:`OUTSIDE` the plots.
        judged_applicability: whether there were plots enough to tell what is unlike them.
    """

    head: RegressionHead
    map: ValueMap
    n_train: int
    range: tuple[float, float]
    guesses: NDArray[np.uint8]
    judged_applicability: bool

    def share(self, kind: int) -> float:
        """Share of the mapped pixels that are of a kind of guess, 0..1."""
        mapped = int(np.isfinite(self.map.values).sum())
        return int((self.guesses == kind).sum()) / max(mapped, 1)


def fit_regression(
    samples: RegressionSamples,
    raster: EmbeddingRaster,
    head: RegressionHead,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> int:
    """Fit ``head`` on at most as many pixels as scores are computed with; returns how many taught it.

    Raises:
        HeadError: there are fewer than three pixels with data, or all numbers are the same.
        Cancelled: ``cancelled`` said so.
    """
    keep = training_draw(np.zeros(len(samples.values)), samples.rows, samples.cols, seed)
    head.fit_at(
        raster,
        samples.rows[keep],
        samples.cols[keep],
        samples.values[keep],
        groups=held_together(samples)[keep],
        progress=progress,
        cancelled=cancelled,
    )
    return len(keep) - head.n_ignored_


def map_plots(
    plots: Sequence[Plot],
    raster: EmbeddingRaster,
    choice: RegressionChoice,
    *,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> RegressionMap:
    """Map the number that plots have.

    Raises:
        LabelError: the plots do not suffice, see :func:`require_plots`.
        HeadError: there is no such head.
        Cancelled: ``cancelled`` said so.
    """
    samples, (low, high) = require_plots(plots, raster)
    head = choice.make()
    n_train = fit_regression(samples, raster, head, progress=progress, cancelled=cancelled)
    made = predict_values(head, raster, progress=progress, cancelled=cancelled)
    guesses = np.zeros(raster.shape, np.uint8)
    with np.errstate(invalid="ignore"):
        guesses[(made.values < low) | (made.values > high)] = BEYOND
    outside = _outside(samples, raster, cancelled)
    if outside is not None:
        guesses[outside] = OUTSIDE
    return RegressionMap(head, made, n_train, (low, high), guesses, outside is not None)


def require_plots(plots: Sequence[Plot], raster: EmbeddingRaster) -> tuple[RegressionSamples, tuple[float, float]]:
    """The pixels that plots cover, and the range of the numbers that have data; what a map needs at least.

    Raises:
        LabelError: there are fewer than three plots with data, or all have the same number.
    """
    if not plots:
        raise LabelError("There are no plots yet.")
    samples = plot_pixels(plots, raster.grid)
    usable = raster.valid()[samples.rows, samples.cols]
    values, count = samples.values[usable], len(np.unique(samples.groups[usable]))
    if not count:
        raise LabelError("Not one plot lies where there are embeddings; check that plots and region are of one place.")
    if len(values) < 3:
        raise LabelError(
            f"A map needs three plots at least; there {'is one' if count == 1 else f'are {count}'} on the region."
        )
    if values.min() == values.max():
        raise LabelError(f"All plots have the same number, {values.min():.4g}; a map needs plots that differ.")
    return samples, (float(values.min()), float(values.max()))


def plot_pixels(plots: Sequence[Plot], grid: Grid) -> RegressionSamples:
    """The pixels that plots cover, with their numbers; see :func:`tessera_core.assess.regression.regression_samples`."""
    return regression_samples([plot.label for plot in plots], values_of(plots), grid)


def _outside(samples: RegressionSamples, raster: EmbeddingRaster, cancelled: Cancel | None) -> NDArray[np.bool_] | None:
    """Where the ground is further from the plots' than 95 % of plots are from each other; None with too few plots."""
    # Plots spread over one landscape are one kind, however different: what is asked is whether a place is of it.
    x = raster.sample(samples.rows, samples.cols)
    try:
        known = applicability.learn(
            x, np.zeros(len(x), np.int64), samples.groups, raster.times_seen(samples.rows, samples.cols)
        )
    except LabelError:
        return None
    return applicability.map_dissimilarity(known, raster, cancelled=cancelled).outside()


def guess_sentences(made: RegressionMap, name: str) -> list[str]:
    """What is to be said about where the map guesses."""
    beyond, outside = made.share(BEYOND), made.share(OUTSIDE)
    low, high = made.range
    lines = []
    if outside >= 0.005:
        lines.append(f"{percent(outside)} % of the region is ground unlike any of your plots; the map guesses there.")
    if beyond >= 0.005:
        lines.append(
            f"On {percent(beyond)} % more, the map says less than {low:.4g} or more than {high:.4g}, which no plot has."
            if lines
            else f"On {percent(beyond)} % of the region, the map says less than {low:.4g} or more than {high:.4g}, which no plot "
            "has."
        )
    if not lines:
        lines.append(f"Nearly all of the region resembles your plots, and {name} stays within their range.")
    return lines


# -------------------------------------------------------------------- honesty


@dataclass(frozen=True)
class RegressionScore:
    """How good a map is on ground it has not seen.

    Attributes:
        result: of :func:`tessera_core.assess.regression.judge_regression`; empty where the plots cannot be judged.
        held_out: what was said of each plot that was held out; None likewise. ``groups`` are positions in the list of plots.
        odd: positions of plots that the map misses by far more than the others.
        remarks: single sentences on what to mind, the gravest first.
    """

    result: Mapping[str, Any]
    held_out: HeldOutValues | None
    odd: tuple[int, ...]
    remarks: tuple[str, ...]

    @property
    def r2(self) -> float | None:
        """Share of the differences between plots that the map explains on ground it has not seen; None where not judged."""
        return float(self.result["r2"]) if self.result else None

    @property
    def useless(self) -> bool:
        """Whether the map is no better than the mean of the plots."""
        return self.r2 is not None and self.r2 <= 0

    @property
    def gap(self) -> str:
        """One sentence on what a random split would have claimed; empty without one."""
        if "naive" not in self.result:
            return ""
        honest, naive = self.result["r2"], self.result["naive"]["r2"]
        if naive <= 0:
            return ""
        if naive - honest < 0.05:
            return "A random split says nearly the same: your plots lie far enough apart to be news to each other."
        return (
            f"A random split would have claimed R² {naive:.2f}, {naive - honest:.2f} too much: it tests on plots whose neighbours "
            "it has learnt from."
        )


def score_facts(score: RegressionScore, unit: str = "") -> list[str]:
    """The score as sentences, for files; ``unit`` with a space before it."""
    result = score.result
    if not result:
        return list(score.remarks)
    how = "blocks of ground" if result["split"] == "blocked" else "whole plots"
    # Numbers with their units, so that the sentence is known by the words around them in other languages.
    rmse, error = f"{result['rmse']:.3g}{unit}", f"{result['mae']:.3g}{unit}"
    bias = f"{result['bias']:+.2g}{unit}"
    first = (
        f"With {how} held out ({result['n_test']} plots): R2 {result['r2']:.2f}; RMSE {rmse}, mean error {error}, bias {bias}; "
        f"margins hold {percent(result['coverage'])} % (promised: {percent(COVERAGE)} %)."
    )
    whole, second = result["map_r2"], ""
    if whole is not None:
        second = (
            f"The map itself, over the region: R2 {whole['value']:.2f}, {whole['low']:.2f} to {whole['high']:.2f} (95 % sure if "
            "the plots were drawn by chance; left out in turn, with nothing around them: "
            f"{whole['heaps']} plots or heaps)."
        )
    return [line for line in (first, second, score.gap, *score.remarks) if line]


def mean_sentences(made: RegressionMap, score: RegressionScore, grid: Grid, unit: str = "") -> list[str]:
    """The mean of the region with its interval, and the total where the unit is one of hectares; empty where it cannot be told.

    Args:
        grid: of the map.
        unit: of the plots, such as ``t/ha``.
    """
    found = None if score.held_out is None else region_mean(made.map.values, score.held_out)
    if found is None:
        return []
    said = f" {unit}" if unit else ""
    lines = [
        f"The mean of the region is {found.value:.4g}{said}, {found.low:.4g} to {found.high:.4g} (95 % sure if your plots were "
        f"drawn by chance; the map alone says {found.mapped:.4g})."
    ]
    of = unit.replace(" ", "").casefold().removesuffix("/ha")
    if of and of != unit.replace(" ", "").casefold() and grid.georeferenced:
        area = int(np.isfinite(made.map.values).sum()) * hectares_per_pixel(grid)
        total, low, high = (area * value for value in (found.value, found.low, found.high))
        lines.append(f"In all that is {total:,.4g} {of} on {area:,.0f} ha, {low:,.4g} to {high:,.4g}.")
    return lines


def score_plots(
    plots: Sequence[Plot],
    raster: EmbeddingRaster,
    choice: RegressionChoice,
    *,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> RegressionScore:
    """Judge a head on plots; see :func:`score_regression`.

    Raises:
        Cancelled: ``cancelled`` said so.
    """
    return score_regression(plot_pixels(plots, raster.grid), raster, choice, progress=progress, cancelled=cancelled)


def score_regression(
    samples: RegressionSamples,
    raster: EmbeddingRaster,
    choice: RegressionChoice,
    *,
    split: str | None = None,
    n_folds: int | None = None,
    cv: CrossValidation | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> RegressionScore:
    """The one score of a map of a number, which the page, its files and the command line show.

    Args:
        samples: the pixels of plots, without features.
        raster: the embeddings.
        choice: of the head.
        split: what is held out; None for blocks of ground, and whole plots where they lie in too few blocks.
        n_folds: parts; None for five, or as many as there are.
        cv: how they are held out otherwise; its split and parts do not count.

    Raises:
        LabelError: the plots cannot be split as ``split`` says.
        Cancelled: ``cancelled`` said so.
    """
    cv = cv or CrossValidation()
    try:
        samples = samples.with_embeddings(raster)
    except LabelError as error:
        return RegressionScore({}, None, (), (str(error),))
    remarks: list[str] = []
    count = len(np.unique(samples.groups))
    if count < LEAST_JUDGED:
        remarks.append(
            f"How good the map is cannot be told from {count} plots: {LEAST_JUDGED} are the least, {FIRM} make it firm."
        )
        return RegressionScore({}, None, (), tuple(remarks))
    block_px = cv.block_px
    blocks = len(np.unique(np.stack([samples.rows // block_px, samples.cols // block_px]), axis=1).T)
    size = f"{block_px * raster.grid.pixel_area_m2**0.5:.0f} m" if raster.grid.georeferenced else f"{block_px} pixels"
    if blocks == 1:
        remarks.append(f"All plots lie within one square of {size}; how good the map is elsewhere cannot be told.")
    judged = None
    parts = {"blocked": blocks, "field": count}
    for kind in ("blocked", "field") if split is None else (split,):
        try:
            judged = judge_regression(
                samples,
                choice.make(cv.seed),
                replace(
                    cv, split=kind, n_folds=max(2, min(FOLDS, parts.get(kind, count))) if n_folds is None else n_folds
                ),
                progress=progress,
                cancelled=cancelled,
            )
            break
        except (LabelError, HeadError):
            if split is not None:
                raise
            # Too few blocks to hold any out; whole plots ask for less.
            continue
    if judged is None:
        remarks.append("The plots cannot be split into parts to learn from and parts to test on; bring more of them.")
        return RegressionScore({}, None, (), tuple(remarks))
    if judged.result["split"] == "field" and blocks > 1 and split is None:
        remarks.append(
            f"Your plots lie in {blocks} blocks of {size}, too few to hold any out; single plots were held out, which flatters."
        )
    odd = _odd(judged.held_out)
    remarks += _remarks(judged.result, judged.held_out, count, odd)
    return RegressionScore(judged.result, judged.held_out, odd, tuple(remarks))


def _odd(held: HeldOutValues) -> tuple[int, ...]:
    error = held.guess - held.truth
    known = np.isfinite(error)
    if known.sum() < 10:
        return ()
    middle = float(np.median(error[known]))
    usual = 1.4826 * float(np.median(np.abs(error[known] - middle)))
    with np.errstate(invalid="ignore"):
        far = np.abs(error - middle) > ODD * max(usual, 1e-9)
    far &= known
    return tuple(int(n) for n in held.groups[far][np.argsort(-np.abs(error[far] - middle))])


def _remarks(result: Mapping[str, Any], held: HeldOutValues, count: int, odd: Sequence[int]) -> list[str]:
    lines = []
    if result["r2"] <= 0:
        lines.append("On ground it has not seen, the map is no better than the mean of your plots; do not use it yet.")
    if count < FIRM:
        lines.append(f"With {count} plots the score itself is hardly known; {FIRM} or more make it firm.")
    n, nominal = result["n_test"], COVERAGE
    # Below what chance alone would leave of nine in ten, 2.5 times in a hundred.
    if result["coverage"] < nominal - 1.96 * (nominal * (1 - nominal) / max(n, 1)) ** 0.5 - 0.5 / max(n, 1):
        lines.append(
            f"The margins are too narrow on new ground: they hold {percent(result['coverage'])} % of the plots, not "
            f"{percent(nominal)} %."
        )
    spread = result["rmse"]
    if abs(result["bias"]) > 2 * spread / max(n, 1) ** 0.5 and abs(result["bias"]) > 0.1 * spread:
        way = "too much" if result["bias"] > 0 else "too little"
        lines.append(f"On new ground it says {abs(result['bias']):.3g} {way} on average.")
    if len(odd) == 1:
        lines.append("One plot is missed by far more than the others; check its number and its place.")
    elif odd:
        lines.append(f"{len(odd)} plots are missed by far more than the others; check their numbers and places.")
    values, counts = np.unique(held.truth, return_counts=True)
    if len(values) < 5:
        lines.append(f"Your plots have only {len(values)} different numbers; a map of classes may fit better.")
    elif counts.max() > 0.5 * len(held.truth):
        lines.append(
            f"{percent(counts.max() / len(held.truth))} % of your plots have the same number, "
            f"{values[counts.argmax()]:.4g}; the score rests on the others."
        )
    return lines


def place_remarks(plots: Sequence[Plot], raster: EmbeddingRaster) -> list[str]:
    """What is to be said of plots that do not count: off the region, without data, or sharing a pixel."""
    samples = plot_pixels(plots, raster.grid)
    points = [n for n, plot in enumerate(plots) if plot.label.kind == "point"]
    x, y = np.array([plots[n].label.xy[0] for n in points], np.float64).reshape(-1, 2).T
    inside = raster.grid.inside(*raster.grid.xy_to_pixel(x, y))
    lines = []
    if outside := int((~inside).sum()):
        lines.append(f"{_count(outside)} outside the region and so not counted.")
    on_map = set(samples.groups.tolist())
    if any(n not in on_map for n, ok in zip(points, inside, strict=True) if ok):
        lines.append("Plots that share a pixel count as one, with their mean.")
    valid = raster.valid()[samples.rows, samples.cols]
    if empty := len(on_map - set(samples.groups[valid].tolist())):
        lines.append(f"{_count(empty)} where the embeddings have no data, and so not counted.")
    return lines


def _count(plots: int) -> str:
    return "One plot is" if plots == 1 else f"{plots} plots are"


def regression_product(
    project: Project,
    measure: LabelClass,
    plots: Sequence[Plot],
    raster: EmbeddingRaster,
    choice: RegressionChoice,
    made: RegressionMap | None = None,
    score: RegressionScore | None = None,
    *,
    progress: Progress | None = None,
) -> RegressionProduct:
    """A map of a number with everything that belongs to it, for files; map and score are made where they are not given.

    Raises:
        LabelError: the plots do not suffice.
    """
    made = made or map_plots(plots, raster, choice, progress=progress)
    score = score or score_plots(plots, raster, choice, progress=progress)
    held_out = np.full(len(plots), np.nan)
    if score.held_out is not None:
        held_out[score.held_out.groups] = score.held_out.guess
    around = "" if choice.neighbourhood == 1 else f" {choice.neighbourhood}x{choice.neighbourhood}"
    return RegressionProduct(
        project.name,
        measure.name,
        measure.code,
        made.map.values,
        made.map.half_widths,
        raster.grid,
        raster.provenance,
        choice.name + around,
        [plot.label for plot in plots],
        values_of(plots),
        held_out,
        score_facts(score, f" {measure.code}" if measure.code else "")
        + mean_sentences(made, score, raster.grid, measure.code)
        + guess_sentences(made, measure.name),
        score.r2,
    )


# ------------------------------------------------------------------- examples


def example_plots(
    raster: EmbeddingRaster, tile: DPixelTile, count: int = EXAMPLE_PLOTS, seed: int = 0
) -> ImportedValues:
    """Plots to try the page with: mean NDVI of June to August, read off the satellite data of the region.

    They are drawn one in each cell of a net with unequal places, as a careful field crew would spread them.

    Raises:
        LabelError: no pixel was seen in summer.
    """
    height, width = raster.shape
    rng = np.random.default_rng(seed)
    across = max(1, round((count * width / height) ** 0.5))
    down = max(1, -(-count // across))
    rows = np.minimum((np.arange(down)[:, None] + rng.random((down, across))) * height / down, height - 1).astype(int)
    cols = np.minimum((np.arange(across)[None] + rng.random((down, across))) * width / across, width - 1).astype(int)
    rows, cols = rows.ravel(), cols.ravel()
    usable = raster.valid()[rows, cols]
    rows, cols = rows[usable], cols[usable]
    values = np.round(summer_ndvi(tile, rows, cols), 3)
    seen = np.isfinite(values)
    if seen.sum() < LEAST_JUDGED:
        raise LabelError("The satellites saw too little of this region in summer to make example plots of.")
    x, y = raster.grid.pixel_to_xy(rows[seen] + 0.5, cols[seen] + 0.5)
    labels = [
        Label(new_id(), 1, "point", ((float(px), float(py)),), note=repr(float(value)))
        for px, py, value in zip(x, y, values[seen], strict=True)
    ]
    report = ImportReport(len(labels), len(labels))
    return ImportedValues(EXAMPLE_FIELD, labels, values[seen], report)


def plots_in(project: Project, measure: LabelClass | None) -> list[Plot]:
    """The plots of something measured."""
    return [] if measure is None else plots_of(project.plots, measure.id)
