"""What changed between two years, pixel by pixel, judged against what unchanged ground does.

Unchanged ground differs between years, too: weather moves the whole scene, clouds leave other dates, and the images lie
some metres beside each other. So each pixel's difference is measured after the shift of the whole scene is taken out, and
in units of its own noise: the scene's, or what an offset of a part of a pixel would do at this place, whichever is larger
(:data:`OFFSET`). The logarithm of that ratio is close to normal on unchanged ground (docs/change.md), which is fitted to the
left flank of its histogram, where changed pixels are not (an empirical null, Efron, J. Am. Stat. Assoc. 99, 2004; fit of a
truncated normal: Cohen, Technometrics 1, 1959). That gives p-values, and Benjamini & Hochberg's step-up rule (J. R. Stat. Soc.
B 57, 1995) false-discovery rates.

Everything after the one pass over both rasters is a look-up: a :class:`ChangeLayer` holds 16 bits a pixel, and a threshold, a
p-value or another null are tables over its 65,536 levels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr

from tessera_core.analysis.clusters import cluster_sample
from tessera_core.codes import CodeProduct
from tessera_core.errors import Cancelled, RasterError
from tessera_core.raster import EmbeddingRaster, valid_scales
from tessera_core.threads import run_alone, run_blocks

Progress = Callable[[int, int, str], None]
Floats = NDArray[np.float64]

# Parts of a pixel by which two years' images may lie beside each other: Sentinel-2's own requirement for images of several
# dates is 0.3 of a pixel (2 sigma).
OFFSET = 0.3
COMPONENTS = 24
SAMPLE = 16_000
# Pixels of the sample that the groups of alike ground are found on.
GROUP_SAMPLE = 6_000
# Level of a pixel: log(difference / noise) from -8 to +8 in steps of 1/4000.
LEVELS, LOWEST, STEPS = 65_536, -8.0, 4_000.0
NO_LEVEL = np.uint16(65_535)
TOP_LEVEL = 64_000
GROUPS = 16
# Bit of a pixel's group that says it is calm: an offset of the images would do little here (less than this share of the
# scene's noise, squared). The null is fitted to calm pixels; the noise of the others is an upper bound.
CALM, CALM_SHARE = 128, 0.5
FIT_ROUNDS = 6
# The null is fitted below its centre plus this many spreads; what lies above may be change.
FLANK = 1.0
MIN_PIXELS = 500
# Noise of a kind of ground above the scene's, as a logarithm, that is surely not change: three times.
MOST_NOISE = math.log(3)
# Product digits: 16 bits of weight are far below the noise and a third cheaper than 24.
DIGITS = 2
BLOCK_PIXELS = 24_576


@dataclass(frozen=True)
class Null:
    """What unchanged ground does: the level's logarithm is normal with this centre and spread.

    Attributes:
        centre, spread: of log(difference / noise).
        source: ``"fitted"`` (left flank of the histogram) or ``"marked"`` (areas a person marked as stable).
        pixels: how many pixels it was estimated from.
    """

    centre: float
    spread: float
    source: str
    pixels: int

    def p_table(self) -> Floats:
        """float64 (LEVELS,): p-value of each level; 1 at :data:`NO_LEVEL`."""
        table = ndtr((self.centre - log_ratio(np.arange(LEVELS))) / self.spread)
        table[NO_LEVEL] = 1.0
        return table


@dataclass(frozen=True)
class SceneShift:
    """How far the whole scene moved between the years (weather, sensors), apart from local change.

    Attributes:
        before: median distance on unchanged ground, in the embedding's units.
        after: the same once the shift is taken out.
        relative: length of the mean shift in units of ``after``.
    """

    before: float
    after: float
    relative: float

    @property
    def share(self) -> float:
        """Which share of the squared difference on unchanged ground was the shift, 0..1."""
        return float(max(0.0, 1 - (self.after / self.before) ** 2)) if self.before > 0 else 0.0


@dataclass(frozen=True)
class ChangeLayer:
    """Change of every pixel between two years, as levels; thresholds and p-values are look-ups.

    Attributes:
        levels: uint16 (H, W), rising with the evidence for change; 65535 where a year has no data. See :func:`log_ratio`.
        histogram: int64 (LEVELS,), pixels of each level, without those that have no data.
        null: what unchanged ground does.
        shift: of the whole scene, taken out already.
        years: of the two rasters.
        raised: kinds of ground noisier than the rest, whose noise was set higher: (share of the pixels, factor).
    """

    levels: NDArray[np.uint16]
    histogram: NDArray[np.int64]
    null: Null
    shift: SceneShift
    years: tuple[int | None, int | None]
    raised: tuple[tuple[float, float], ...] = ()

    @property
    def pixels(self) -> int:
        """Pixels with data in both years."""
        return int(self.histogram.sum())

    def p_table(self) -> Floats:
        """p-value of each level, float64 (LEVELS,)."""
        return self.null.p_table()

    def q_table(self) -> Floats:
        """Smallest false-discovery rate at which a level is called changed, float64 (LEVELS,); falls with the level."""
        return false_discovery(self.p_table(), self.histogram)

    def threshold(self, rate: float) -> int:
        """Smallest level called changed at a false-discovery rate; :data:`NO_LEVEL` where none is."""
        called = np.flatnonzero(self.q_table()[:NO_LEVEL] <= rate)
        return int(called[0]) if len(called) else int(NO_LEVEL)

    def count(self, rate: float) -> int:
        """Pixels called changed at a false-discovery rate."""
        return int(self.histogram[self.threshold(rate) :].sum())

    def mask(self, rate: float) -> NDArray[np.bool_]:
        """bool (H, W): pixels called changed."""
        return (self.levels >= self.threshold(rate)) & (self.levels != NO_LEVEL)

    def p_values(self) -> NDArray[np.float32]:
        """float32 (H, W), NaN where there is no data."""
        table = self.p_table().astype(np.float32)
        table[NO_LEVEL] = np.nan
        return table[self.levels]

    def rates(self, stops: NDArray[np.floating]) -> NDArray[np.uint8]:
        """uint8 (H, W): 1 + index of the first of the rising ``stops`` at which the pixel is called changed.

        ``len(stops) + 1`` where it is at none of them, 0 where there is no data: the index of a palette picture whose
        threshold is a matter of its palette.
        """
        table = (np.searchsorted(stops, self.q_table(), side="left") + 1).astype(np.uint8)
        table[NO_LEVEL] = 0
        return table[self.levels]

    def with_stable(self, stable: NDArray[np.bool_]) -> ChangeLayer:
        """The same layer against a null from pixels that a person marked as unchanged; nothing is computed anew.

        Raises:
            RasterError: fewer than 500 marked pixels have data.
        """
        marked = self.levels[stable]
        counts = np.bincount(marked, minlength=LEVELS)
        counts[NO_LEVEL] = 0
        total = int(counts.sum())
        if total < MIN_PIXELS:
            raise RasterError(
                f"Only {total} of the marked pixels have data in both years; mark at least {MIN_PIXELS} that did not change."
            )
        values = log_ratio(np.arange(LEVELS))
        centre = float(counts @ values / total)
        spread = math.sqrt(float(counts @ (values - centre) ** 2 / total))
        # The tail decides, so it must not be lighter than what was marked.
        share = np.cumsum(counts) / total
        for quantile, z in ((0.95, 1.645), (0.99, 2.326)):
            spread = max(spread, (values[int(np.searchsorted(share, quantile))] - centre) / z)
        return replace(self, null=Null(centre, spread, "marked", total))


def log_ratio(levels: NDArray[np.integer]) -> Floats:
    """log(difference / noise) of levels."""
    return np.asarray(levels, np.float64) / STEPS + LOWEST


def false_discovery(p_table: Floats, histogram: NDArray[np.int64]) -> Floats:
    """Benjamini & Hochberg's adjusted p-values for levels with a histogram instead of a sorted list.

    Args:
        p_table: (L,) p-value of each level, falling.
        histogram: (L,) how many there are of each.

    Returns:
        (L,) the smallest false-discovery rate at which a level is rejected, at most 1.
    """
    at_least = np.cumsum(histogram[::-1])[::-1]
    rates = p_table * histogram.sum() / np.maximum(at_least, 1)
    rates[at_least == 0] = p_table[at_least == 0]
    return np.minimum(np.minimum.accumulate(rates), 1.0)


def detect_change(
    first: EmbeddingRaster,
    second: EmbeddingRaster,
    *,
    stable: NDArray[np.bool_] | None = None,
    offset: float = OFFSET,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ChangeLayer:
    """Change of every pixel between two rasters of one dataset on one grid.

    Both are read once, a block at a time; memory holds two bytes a pixel beside the blocks.

    Args:
        first, second: the earlier and the later year.
        stable: bool (H, W) of places known not to have changed; None estimates the null from the scene.
        offset: parts of a pixel by which the years' images may lie beside each other.
        seed: for the sample that the model of the scene is fitted on.
        progress, cancelled: see docs/architecture.md; units are pixels.

    Raises:
        RasterError: the rasters lie on different grids, or too few pixels have data in both.
        MixedDatasetsError: they are of different datasets.
        Cancelled: ``cancelled`` said so.
    """
    first.provenance.require_same_dataset(second.provenance, "a comparison of years")
    require_one_grid(first, second)
    model = _fit_scene(first, second, stable, seed)
    levels, groups = _measure(first, second, model, offset, progress, cancelled)
    raised = _raise_noisy(levels, groups, len(model.centres))
    histogram = np.bincount(levels.reshape(-1), minlength=LEVELS)
    histogram[NO_LEVEL] = 0
    years = (first.provenance.year, second.provenance.year)
    levels.flags.writeable = False
    null = _fit_null(_calm_histogram(levels, groups, histogram), histogram)
    layer = ChangeLayer(levels, histogram, null, model.shift, years, raised)
    return layer if stable is None else layer.with_stable(stable)


def require_one_grid(first: EmbeddingRaster, second: EmbeddingRaster) -> None:
    """Raise :class:`RasterError` unless two rasters have the same pixels."""
    if first.grid != second.grid:
        raise RasterError(
            f"The two years do not have the same pixels ({first.shape[0]} x {first.shape[1]} and {second.shape[0]} x "
            f"{second.shape[1]}); load both for the same region on the page Region."
        )


# ------------------------------------------------------------------ the model of the scene


@dataclass(frozen=True)
class _Scene:
    """Two projections into one frame, the noise there, and groups of alike ground.

    ``second @ to_second - first @ to_first - constant`` is the difference without the scene's shift.
    """

    to_first: NDArray[np.float32]
    to_second: NDArray[np.float32]
    constant: NDArray[np.float32]
    noise: float
    shift: SceneShift
    centres: NDArray[np.float32]


def _fit_scene(first: EmbeddingRaster, second: EmbeddingRaster, stable: NDArray[np.bool_] | None, seed: int) -> _Scene:
    both = first.valid() & second.valid()
    if int(both.sum()) < MIN_PIXELS:
        raise RasterError(
            f"Only {int(both.sum())} pixels have data in both years, too few to tell change from noise. Choose other years "
            "or a larger region."
        )
    if stable is not None and stable.shape != both.shape:
        raise RasterError(f"The marked areas are {stable.shape} pixels, the region is {both.shape}.")
    pixels = np.flatnonzero(both)
    if len(pixels) > SAMPLE:
        pixels = np.sort(np.random.default_rng(seed).choice(pixels, SAMPLE, replace=False))
    rows, cols = np.divmod(pixels, first.grid.width)
    known = None if stable is None else stable[rows, cols]
    if known is not None and int(known.sum()) < MIN_PIXELS:
        known = None
    x, y = torch.from_numpy(first.sample(rows, cols)), torch.from_numpy(second.sample(rows, cols))
    # Small matrices: one thread is quicker than several that wait for each other.
    return run_alone(lambda: _fit_sample(x, y, known, seed))


def _fit_sample(x: torch.Tensor, y: torch.Tensor, known: NDArray[np.bool_] | None, seed: int) -> _Scene:
    mean = (x.mean(0) + y.mean(0)) / 2
    gram = (x - mean).T @ (x - mean) + (y - mean).T @ (y - mean)
    _, vectors = torch.linalg.eigh(gram.double())
    basis = vectors.flip(1)[:, : min(COMPONENTS, x.shape[1])].float()
    a, b = (x - mean) @ basis, (y - mean) @ basis
    slope, intercept, core, noise = _robust_shift(a, b, known)
    moved = a + a @ slope + intercept
    before = float(torch.linalg.vector_norm(b[core] - a[core], dim=1).median())
    after = float(torch.linalg.vector_norm(b[core] - moved[core], dim=1).median())
    length = float(torch.linalg.vector_norm((moved - a)[core].mean(0)))
    shift = SceneShift(before, after, length / max(after, 1e-12))
    # b - moved, written for embeddings: y @ basis - x @ basis (1 + slope) - [mean @ basis - mean @ basis (1 + slope) + i].
    to_first = basis + basis @ slope
    constant = mean @ basis - mean @ to_first + intercept
    groups = min(GROUPS, max(2, len(x) // MIN_PIXELS))
    # Groups live in the frame of the second year, without the constant, as the pass computes them.
    every = max(1, len(x) // GROUP_SAMPLE)
    centres = cluster_sample(x[::every] @ to_first, groups, seed, restarts=1)
    return _Scene(to_first.numpy(), basis.numpy(), constant.numpy(), noise, shift, centres.numpy())


def _robust_shift(
    a: torch.Tensor, b: torch.Tensor, known: NDArray[np.bool_] | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]:
    """An affine map of what unchanged pixels did: slope (r, r), intercept (r,), which pixels it rests on, and their noise.

    The pixels are those known, or found in turns: the map is fitted to what fits the map.
    """
    difference = b - a
    distance = torch.linalg.vector_norm(difference, dim=1)
    if float(distance.median()) <= 1e-6 * float(torch.linalg.vector_norm(a, dim=1).median()):
        raise RasterError(
            "The two years hold the same numbers nearly everywhere, so one is a copy of the other; load it again."
        )
    core = distance < distance.median() if known is None else torch.from_numpy(known)
    slope, intercept, noise = torch.zeros(a.shape[1], a.shape[1]), torch.zeros(a.shape[1]), 0.0
    for _ in range(FIT_ROUNDS if known is None else 1):
        centre, goal = a[core].mean(0), difference[core].mean(0)
        z = a[core] - centre
        gram = (z.T @ z).double()
        # A little ridge: directions without variance must not be stretched.
        gram.diagonal().add_(1e-2 * gram.trace() / len(gram) + 1e-12)
        slope = torch.linalg.solve(gram, (z.T @ (difference[core] - goal)).double()).float()
        intercept = goal - centre @ slope
        distance = torch.linalg.vector_norm(difference - a @ slope - intercept, dim=1)
        values = distance if known is None else distance[core]
        middle, spread, _ = _flank(np.bincount(_levels(values.clamp(min=1e-12).log().numpy()), minlength=LEVELS))
        noise = math.exp(middle)
        if known is None:
            core, before = distance < math.exp(middle + 2 * spread), core
            if int((core != before).sum()) < 0.002 * len(core):
                break
    return slope, intercept, core, noise


# ------------------------------------------------------------------ the pass over both rasters


def _measure(
    first: EmbeddingRaster,
    second: EmbeddingRaster,
    model: _Scene,
    offset: float,
    progress: Progress | None,
    cancelled: Callable[[], bool] | None,
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    height, width = first.shape
    levels = np.empty((height, width), np.uint16)
    groups = np.empty((height, width), np.uint8)
    products = CodeProduct(model.to_first, DIGITS), CodeProduct(model.to_second, DIGITS)
    constant = torch.from_numpy(model.constant)[:, None, None]
    centres = torch.from_numpy(model.centres)
    half = (centres**2).sum(1, keepdim=True) / 2
    out_levels, out_groups = torch.from_numpy(levels), torch.from_numpy(groups)
    done = 0

    def work(rows: slice) -> None:
        nonlocal done
        if cancelled is not None and cancelled():
            raise Cancelled
        # One row more on either side, for the differences across the block's edge.
        top, bottom = max(rows.start - 1, 0), min(rows.stop + 1, height)
        a, valid_a = _project(first, products[0], slice(top, bottom))
        b, valid_b = _project(second, products[1], slice(top, bottom))
        inner = slice(rows.start - top, rows.stop - top)
        valid = valid_a & valid_b
        steepest = torch.maximum(_steepest(a, valid), _steepest(b, valid))[inner]
        flat = a[:, inner].reshape(len(constant), -1)
        group = (centres @ flat - half).argmax(0).to(torch.uint8)
        squares = (b[:, inner] - a[:, inner]).sub_(constant).square_().sum(0)
        by_offset = steepest.mul_(offset * offset)
        group.bitwise_or_((by_offset <= CALM_SHARE * model.noise**2).reshape(-1).to(torch.uint8).mul_(CALM))
        out_groups[rows] = group.reshape(-1, width)
        noise = by_offset.add_(model.noise**2)
        ratio = squares.div_(noise).clamp_(min=1e-12).log_().mul_(STEPS / 2).sub_(LOWEST * STEPS)
        level = ratio.round_().clamp_(0, TOP_LEVEL).to(torch.int32)
        level[~valid[inner]] = int(NO_LEVEL)
        out_levels[rows] = level.to(torch.uint16)
        done += (rows.stop - rows.start) * width
        if progress is not None:
            progress(done, height * width, "comparing the years")

    run_blocks(work, height, max(1, BLOCK_PIXELS // width))
    return levels, groups


def _project(raster: EmbeddingRaster, product: CodeProduct, rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores float32 (r, h, W) of rows, 0 where there is no data, and where there is, bool (h, W)."""
    scales = np.ascontiguousarray(raster.scales[rows], np.float32)
    valid = valid_scales(scales)
    codes = torch.from_numpy(raster.codes[rows].reshape(-1, raster.dim))
    usable = torch.from_numpy(np.where(valid, scales, np.float32(0)))
    scores = product(codes).reshape(-1, *valid.shape).mul_(usable)
    return scores, torch.from_numpy(valid)


def _steepest(scores: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Largest squared difference to one of the four neighbours with data, float32 (h, W)."""
    out = torch.zeros(valid.shape)
    for axis in (0, 1):
        length = valid.shape[axis] - 1
        if length < 1:
            continue
        near, far = scores.narrow(axis + 1, 0, length), scores.narrow(axis + 1, 1, length)
        squares = (far - near).square_().sum(0)
        squares.mul_(valid.narrow(axis, 0, length) & valid.narrow(axis, 1, length))
        for start in (0, 1):
            side = out.narrow(axis, start, length)
            torch.maximum(side, squares, out=side)
    return out


def _levels(values: NDArray[np.floating]) -> NDArray[np.int64]:
    return np.clip(np.rint((values - LOWEST) * STEPS), 0, TOP_LEVEL).astype(np.int64)


def _calm_histogram(
    levels: NDArray[np.uint16], groups: NDArray[np.uint8], histogram: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Levels of the calm pixels; of all where hardly any is."""
    calm = np.bincount(levels[groups >= CALM], minlength=LEVELS)
    calm[NO_LEVEL] = 0
    return calm if calm.sum() > max(MIN_PIXELS, 0.05 * histogram.sum()) else histogram


def _raise_noisy(levels: NDArray[np.uint16], groups: NDArray[np.uint8], number: int) -> tuple[tuple[float, float], ...]:
    """Lower the levels of kinds of ground that are noisier than the scene; returns (share, factor) of each.

    Only ever towards less change: a group of which much has changed would otherwise hide it. A group counts as noisy where the
    first peak of its histogram lies above the scene's by more than chance and less than change does.
    """
    coarse = 64
    bins = LEVELS // coarse
    # One histogram for each group, 1,024 coarse levels wide; the second half those of calm pixels.
    joint = np.bincount((groups.astype(np.int32) * bins + levels // coarse).reshape(-1), minlength=2 * CALM * bins)
    table = joint.reshape(2 * CALM, bins)
    table[:, NO_LEVEL // coarse] = 0
    calm, sizes = table[CALM : CALM + number], table[:number].sum(1) + table[CALM : CALM + number].sum(1)
    if calm.sum() <= max(MIN_PIXELS, 0.05 * sizes.sum()):
        calm, table = calm + table[:number], np.zeros_like(table)
    centre, spread, _ = _flank(np.repeat(calm.sum(0) / coarse, coarse))
    shares, lift = [], np.zeros(256, np.int32)
    for group, counts in enumerate(calm):
        if counts.sum() < max(MIN_PIXELS, 0.2 * sizes[group]):
            # Noise itself makes neighbours differ, so that the noisiest ground is never calm.
            counts = counts + table[group]
        if counts.sum() < MIN_PIXELS:
            continue
        peak, _, used = _flank(np.repeat(counts / coarse, coarse))
        if 0.25 * spread < peak - centre < max(2.5 * spread, MOST_NOISE) and used > 0.3 * counts.sum():
            lift[[group, group + CALM]] = round((peak - centre) * STEPS)
            shares.append((float(sizes[group] / sizes.sum()), math.exp(peak - centre)))
    if shares:
        lowered = np.maximum(levels.astype(np.int32) - lift[groups], 0).astype(np.uint16)
        np.copyto(levels, lowered, where=levels != NO_LEVEL)
    return tuple(shares)


# ------------------------------------------------------------------ the null


def _fit_null(*histograms: NDArray[np.int64]) -> Null:
    """The most cautious of the nulls fitted to some histograms: that with the largest 97.7th percentile."""
    fits = [_flank(histogram) for histogram in histograms]
    centre, spread, used = max(fits, key=lambda fit: fit[0] + 2 * fit[1])
    return Null(centre, spread, "fitted", used)


def _flank(histogram: NDArray[np.number]) -> tuple[float, float, int]:
    """Centre and spread of the first peak of a histogram of levels, from its left flank, and pixels on that flank.

    The peak is the first of the smoothed histogram with a fifth of the highest one's height; then a normal distribution cut
    off at ``centre + FLANK * spread`` is fitted in turns (Cohen 1959).
    """
    counts = np.asarray(histogram, np.float64)[: TOP_LEVEL + 1]
    step = 32
    binned = np.add.reduceat(counts, np.arange(0, len(counts), step))
    values = log_ratio(np.minimum(np.arange(len(binned)) * step + step // 2, TOP_LEVEL))
    smooth = gaussian_filter1d(binned, 0.1 * STEPS / step)
    inner = smooth[1:-1]
    peaks = np.flatnonzero((inner >= smooth[:-2]) & (inner > smooth[2:]) & (inner > 0.2 * smooth.max())) + 1
    top = int(peaks[0]) if len(peaks) else int(smooth.argmax())
    centre = float(values[top])
    left = binned[: top + 1]
    spread = math.sqrt(max(float(left @ (values[: top + 1] - centre) ** 2 / max(left.sum(), 1)), 1e-4))
    used = float(left.sum())
    for _ in range(40):
        cut = centre + FLANK * spread
        inside = values <= cut
        weight = binned[inside]
        used = float(weight.sum())
        if used <= 0:
            break
        mean = float(weight @ values[inside] / used)
        variance = float(weight @ (values[inside] - mean) ** 2 / used)
        next_centre, next_spread = _cut_normal(mean, variance, cut)
        moved = abs(next_centre - centre) + abs(next_spread - spread)
        centre, spread = next_centre, next_spread
        if moved < 1e-4:
            break
    return centre, max(spread, 1e-3), int(used)


def _cut_normal(mean: float, variance: float, cut: float) -> tuple[float, float]:
    """Centre and spread of the normal distribution whose part below ``cut`` has this mean and variance (Cohen 1959)."""
    if cut <= mean or variance <= 0:
        return mean, math.sqrt(max(variance, 1e-6))
    goal = variance / (cut - mean) ** 2

    def mills(z: float) -> float:
        return math.exp(-0.5 * z * z - 0.5 * math.log(2 * math.pi) - float(log_ndtr(z)))

    def misfit(z: float) -> float:
        ratio = mills(z)
        return (1 - z * ratio - ratio * ratio) / (z + ratio) ** 2 - goal

    try:
        z = float(brentq(misfit, -3.0, 8.0))
    except ValueError:
        return mean, math.sqrt(variance)
    spread = (cut - mean) / (z + mills(z))
    return cut - z * spread, spread
