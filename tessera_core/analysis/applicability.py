"""How unlike every pixel is to anything that was labelled: a second kind of doubt, which a classifier does not have.

A classifier is sure of whatever lies far on one side of its boundary, also of what it has never seen. Here the distance of a
pixel to the nearest class is compared with the distances at which labels lie from the *other* labels' classes.

Distances are Mahalanobis' in the pooled covariance within classes (Lee et al., NeurIPS 2018), shrunken like that of
``heads.prototype``, with its small eigenvalues replaced by their mean (probabilistic PCA, Tipping & Bishop 1999), so that a
pixel costs a few products of its int8 code.

Where satellites' visits were counted, ground that was seen much more rarely than every label is unlike them, too: embeddings of
few days differ for that alone (docs/howto/published.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.int8 import BLOCK, CodeProduct
from tessera_core._utils.percents import percent
from tessera_core._utils.threads import run_blocks, single_blas
from tessera_core.analysis.pca import sample_valid
from tessera_core.analysis.similarity import code_norms
from tessera_core.errors import Cancelled, HeadError, LabelError
from tessera_core.observations import ELBOW
from tessera_core.observations import percent as as_percent
from tessera_core.raster import EmbeddingRaster, valid_scales
from tessera_core.types import Cancel

NO_SCORE = 255
RANK = 16
# Pixels that tell what share of a region is unlike; half a percent sure.
SAMPLE = 20_000
MAX_FOLDS = 20
# Of a pixel this far out, the page says "unlike anything you labelled".
OUTSIDE_PERCENT = 95
# From here on a pixel is nearly as far out as what is called unlike.
NEAR_EDGE_PERCENT = 80
# Labels that agree to the last digit are an accident, not a spread of zero.
LEAST_SPREAD = 0.05
# A pixel is much more rarely seen than the labels below this share of the rarest one, unless it was seen well by itself.
MUCH_RARER = 2 / 3


@dataclass(frozen=True)
class Spread:
    """The classes' means and the common spread around them: squared distances ``min_k (x - m_k)' P (x - m_k)``.

    Attributes:
        means: float64 (K, D).
        axes: float64 (r, D) orthonormal.
        gains: float64 (r,); ``P = I / floor - axes' diag(gains) axes``.
        floor: variance off the axes.
    """

    means: NDArray[np.float64]
    axes: NDArray[np.float64]
    gains: NDArray[np.float64]
    floor: float

    @classmethod
    def fit(cls, x: NDArray[np.floating], y: NDArray[np.integer], rank: int = RANK) -> Spread:
        """Of labelled vectors (N, D) and their classes (N,)."""
        values = x.astype(np.float64)
        _, index = np.unique(y, return_inverse=True)
        k, (n, dim) = int(index.max()) + 1, values.shape
        means = np.stack([values[index == i].mean(0) for i in range(k)])
        inside = values - means[index]
        spread = float((inside**2).sum()) / max(n - k, 1) / dim
        if spread <= 0:
            spread = float(((means - means.mean(0)) ** 2).mean()) / 10 or 1.0
        shrink = dim / (dim + n - k)
        variances, axes = _principal(inside)
        # Off the span of few labels the scatter is zero; there the shrinkage alone speaks.
        full = np.zeros(dim)
        full[: len(variances)] = variances / max(n - k, 1)
        full = (1 - shrink) * full + shrink * spread
        rank = min(rank, dim - 1, len(axes))
        floor = float(full[rank:].mean())
        return cls(means, axes[:rank], 1 / floor - 1 / full[:rank], floor)

    def precise(self, v: NDArray[np.float64]) -> NDArray[np.float64]:
        """``v @ P`` for (N, D)."""
        return v / self.floor - (v @ self.axes.T * self.gains) @ self.axes

    def distances(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Squared distance (N,) of vectors (N, D) to the nearest class."""
        values = x.astype(np.float64)
        pm = self.precise(self.means)
        own = (values * self.precise(values)).sum(1)
        return np.maximum(own + (-2 * values @ pm.T + (self.means * pm).sum(1)).min(1), 0)


def _principal(inside: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Squared singular values, falling, and right singular vectors (r, D) of (N, D), by the cheaper of two ways."""
    n, dim = inside.shape
    if n < dim:
        _, values, axes = np.linalg.svd(inside, full_matrices=False)
        return values**2, axes
    values, vectors = np.linalg.eigh(inside.T @ inside)
    return np.maximum(values[::-1], 0), vectors[:, ::-1].T


@dataclass(frozen=True)
class AreaOfApplicability:
    """What was labelled, ready to judge pixels.

    Attributes:
        spread: of the labels.
        thresholds: float64 (100,), squared distances at which 0.5, 1.5, ... 99.5 percent of labels of known classes would lie
            nearer.
        places: labels the thresholds rest on.
        home: share (0..1) of the region they were made in that is unlike them, to compare other regions with; NaN if not known.
        seldom: a pixel seen clearly fewer times is unlike the labels, which were all seen much more often; 0 where nobody counted.
    """

    spread: Spread
    thresholds: NDArray[np.float64]
    places: int
    home: float = float("nan")
    seldom: int = 0

    @property
    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """What is needed to make it again, as plain arrays; no label and no pixel can be read from them."""
        spread = self.spread
        return {
            "means": spread.means,
            "axes": spread.axes,
            "gains": spread.gains,
            "floor": np.array([spread.floor]),
            "thresholds": self.thresholds,
            "places": np.array([float(self.places)]),
            "home": np.array([self.home]),
            "seldom": np.array([float(self.seldom)]),
        }

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> AreaOfApplicability:
        """What :attr:`arrays` gave.

        Raises:
            HeadError: they do not fit together; they may come from a stranger's file.
        """
        try:
            means, axes, gains, floor, thresholds, places, home = (
                np.asarray(arrays[name], np.float64)
                for name in ("means", "axes", "gains", "floor", "thresholds", "places", "home")
            )
            # Earlier files do not have it.
            seldom = np.asarray(arrays.get("seldom", np.zeros(1)), np.float64)
            fits = (
                means.ndim == axes.ndim == 2
                and len(means) > 0
                and means.shape[1] == axes.shape[1]
                and gains.shape == (len(axes),)
                and floor.shape == places.shape == home.shape == seldom.shape == (1,)
                and thresholds.shape == (100,)
                and all(np.isfinite(one).all() for one in (means, axes, gains, floor, thresholds, places, seldom))
                and floor[0] > 0
                and places[0] >= 3
                and 0 <= seldom[0] <= ELBOW
                and not (home[0] < 0 or home[0] > 1)
                and (np.diff(thresholds) >= 0).all()
            )
        except (KeyError, TypeError, ValueError) as error:
            raise HeadError("What the head was trained on is damaged in its file; save it anew.") from error
        if not fits:
            raise HeadError("What the head was trained on is damaged in its file; save it anew.")
        spread = Spread(means, axes, gains, float(floor[0]))
        return cls(spread, thresholds, int(places[0]), float(home[0]), int(seldom[0]))

    def share_outside(self, raster: EmbeddingRaster, seed: int = 0) -> float | None:
        """Share (0..1) of a raster that is unlike anything that was labelled, from at most 20,000 of its pixels.

        Returns:
            None where no pixel has data.

        Raises:
            HeadError: it was learnt from vectors of another length.
        """
        if raster.dim != self.spread.means.shape[1]:
            raise HeadError(
                f"The head was trained on {self.spread.means.shape[1]} numbers a pixel; these embeddings have {raster.dim}."
            )
        rows, cols = sample_valid(raster, SAMPLE, seed)
        if not len(rows):
            return None
        beyond = self.thresholds[OUTSIDE_PERCENT - 1]
        return float(self.outside(raster, rows, cols, beyond).mean())

    def outside(
        self, raster: EmbeddingRaster, rows: NDArray[np.integer], cols: NDArray[np.integer], beyond: float | None = None
    ) -> NDArray[np.bool_]:
        """Which pixels (N,) with data are unlike anything that was labelled, bool (N,)."""
        limit = self.thresholds[OUTSIDE_PERCENT - 1] if beyond is None else beyond
        far: NDArray[np.bool_] = self.spread.distances(raster.sample(rows, cols)) > limit
        seen = raster.times_seen(rows, cols)
        return far if seen is None else far | (seen < self.seldom)


@dataclass(frozen=True)
class DissimilarityMap:
    """The layer.

    Attributes:
        percent: uint8 (H, W), share of labels that would lie nearer to what was labelled; 255 where there is no data.
        seldom: pixels seen clearly fewer times count as unlike, because every label was seen much more often; 0 without.
        seldom_share: of the pixels with data, 0..1, that were seen so rarely.
    """

    percent: NDArray[np.uint8]
    seldom: int = 0
    seldom_share: float = 0.0

    def outside(self, percent: float = OUTSIDE_PERCENT) -> NDArray[np.bool_]:
        """bool (H, W): pixels further out than ``percent`` of labels; a look-up."""
        beyond: NDArray[np.bool_] = (self.percent >= percent) & (self.percent != NO_SCORE)
        return beyond

    @property
    def share(self) -> float:
        """Share of the pixels with data that are unlike anything labelled, 0..1."""
        return self._share(OUTSIDE_PERCENT)

    def _share(self, percent: float) -> float:
        return float(self.outside(percent).sum() / max(int((self.percent != NO_SCORE).sum()), 1))

    @property
    def sentence(self) -> str:
        """For the page."""
        if not self.seldom_share:
            return self._told
        return (
            f"Seen clearly fewer than {self.seldom} times, much more rarely than any of your labels, and so unlike them: "
            f"{as_percent(self.seldom_share)} of the region. {self._told} Label seldom seen ground too, or leave it out of the map."
        )

    @property
    def _told(self) -> str:
        share = self.share
        if share < 0.005:
            rather = self._share(NEAR_EDGE_PERCENT)
            roughly = "" if rather < 0.01 else f", {percent(rather)} % of it only roughly"
            return f"Nearly all of the region resembles something you labelled{roughly}."
        return f"{percent(share)} % of the region is unlike anything you labelled; the map guesses there, however sure it looks."


def learn(
    x: NDArray[np.floating],
    y: NDArray[np.integer],
    groups: NDArray[np.integer],
    seen: NDArray[np.integer] | None = None,
) -> AreaOfApplicability:
    """Learn what was labelled and how far apart labels of one class lie.

    Each group is left out in turn (in at most 20 folds) and its distance taken to what remains. Logarithms of these
    distances are near normal, so a further label of a known class lies below a given distance with the probability of
    Student's t for a new observation.

    Args:
        x: float (N, D) labelled vectors; rows that are not finite are left out.
        y: (N,) classes.
        groups: (N,), which label (polygon, stroke, click) each belongs to.
        seen: (N,), on how many days each was seen clearly; None where nobody counted.

    Raises:
        LabelError: fewer than three labels belong to classes that have another label.
    """
    from scipy.special import stdtrit

    usable = np.isfinite(x).all(axis=1)
    x, y, groups = x[usable], y[usable], groups[usable]
    seldom = 0 if seen is None or not usable.any() else _much_rarer(int(np.asarray(seen)[usable].min()))
    # Twenty fits of milliseconds: several threads would only wait for each other.
    with single_blas():
        logs = _left_out(x, y, groups)
    n = len(logs)
    if n < 3:
        raise LabelError("To tell what is unlike your labels, label at least two places of two classes each.")
    spread = max(float(logs.std(ddof=1)), LEAST_SPREAD) * np.sqrt(1 + 1 / n)
    quantiles = stdtrit(n - 1, (np.arange(100) + 0.5) / 100)
    return AreaOfApplicability(Spread.fit(x, y), np.exp(logs.mean() + spread * quantiles), n, seldom=seldom)


def _much_rarer(least: int) -> int:
    """Below how many clear days a pixel is unlike labels, the rarest of which was seen ``least`` times.

    >>> _much_rarer(60), _much_rarer(30), _much_rarer(18)
    (25, 20, 12)
    """
    return min(ELBOW, int(least * MUCH_RARER))


def _left_out(x: NDArray[np.floating], y: NDArray[np.integer], groups: NDArray[np.integer]) -> NDArray[np.float64]:
    """Mean log squared distance of each group to the classes of the others; groups whose class has no other are left out."""
    names, group = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return np.zeros(0)
    fold = group % min(len(names), MAX_FOLDS)
    found = []
    for number in range(int(fold.max()) + 1):
        own, rest = fold == number, fold != number
        own &= np.isin(y, y[rest])
        if own.any():
            logs = np.log(np.maximum(Spread.fit(x[rest], y[rest]).distances(x[own]), 1e-12))
            _, of = np.unique(group[own], return_inverse=True)
            found.append(np.bincount(of, logs) / np.bincount(of))
    return np.concatenate(found) if found else np.zeros(0)


def map_dissimilarity(
    dissimilarity: AreaOfApplicability,
    raster: EmbeddingRaster,
    norms: NDArray[np.float32] | None = None,
    cancelled: Cancel | None = None,
) -> DissimilarityMap:
    """How unlike every pixel is to the labels, on int8 codes.

    Args:
        norms: float32 (H * W,) of :func:`tessera_core.analysis.similarity.code_norms`, where they are kept; they do not
            depend on labels and are most of the work.
        cancelled: see docs/architecture.md.

    Raises:
        Cancelled: ``cancelled`` said so.
    """
    spread = dissimilarity.spread
    codes = raster.codes.reshape(-1, raster.dim)
    scales = np.ascontiguousarray(raster.scales).reshape(-1)
    valid = valid_scales(scales)
    if norms is None:
        norms = code_norms(codes, cancelled)
    pm = spread.precise(spread.means)
    rank = len(spread.axes)
    weights = np.concatenate([spread.axes.T * np.sqrt(np.abs(spread.gains)), -2 * pm.T], axis=1)
    # Gains are positive where an axis varies more than the rest, and at worst rounding below zero elsewhere.
    signs = np.sign(spread.gains).astype(np.float32)
    product = CodeProduct(weights.astype(np.float32), digits=2)
    constant = np.concatenate([np.zeros(rank), (spread.means * pm).sum(1)]).astype(np.float32)
    thresholds = dissimilarity.thresholds.astype(np.float32)
    usable = np.where(valid, scales, np.float32(0))
    percent = np.empty(len(codes), np.uint8)

    def judge(part: slice) -> None:
        if cancelled is not None and cancelled():
            raise Cancelled
        scores = product(codes[part], usable[part], constant)
        distance = scores[rank:].min(axis=0)
        distance += np.square(norms[part] * usable[part]) * np.float32(1 / spread.floor)
        distance -= signs @ np.square(scores[:rank], out=scores[:rank])
        percent[part] = np.searchsorted(thresholds, distance)

    run_blocks(judge, len(codes), BLOCK)
    share = 0.0
    if raster.observations is not None and dissimilarity.seldom:
        rare = valid & (np.asarray(raster.observations[..., 0]).reshape(-1) < dissimilarity.seldom)
        percent[rare] = np.maximum(percent[rare], OUTSIDE_PERCENT)
        share = float(rare.sum() / max(int(valid.sum()), 1))
    percent[~valid] = NO_SCORE
    return DissimilarityMap(percent.reshape(raster.shape), dissimilarity.seldom, share)
