"""UMAP of embeddings: a flat or spatial picture in which alike pixels lie near each other.

The method of McInnes, Healy & Melville (2018, arXiv 1802.03426): exact nearest neighbours, their fuzzy graph, a start from
principal components, then attraction along the graph's edges against random repulsion. Our own loop in NumPy: it can be
watched and stopped, needs no compilation at run time and is safe in several threads at once, which makes it the quick preview
beside the full layout of :mod:`tessera_core.analysis.umap_learn`. ``tessera bench explore`` holds one against the other. Arrays
in, arrays out.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import Cancelled, RasterError
from tessera_core.raster import EmbeddingRaster, valid_scales
from tessera_core.types import Cancel, Floats, Progress

NEIGHBOURS = 15
MAX_POINTS = 50_000
# Distances are measured between this many principal components at most: beyond, there is noise and time.
MAX_DIM = 48
EPOCHS = 200
NEGATIVES = 5
# Edges moved at once: few enough that a point is seldom pulled twice from the same old place.
BATCH = 16_384
# Attraction curve 1 / (1 + a d^2b) fitted to min_dist = 0.1 and spread = 1 (umap-learn's defaults).
CURVE = (1.5769434, 0.8950609)
# Rows of distances at once: 50 MB among the most points.
_BLOCK = 256
# Distances of a row are searched in parts of so many.
_COMB = 32


@dataclass(frozen=True)
class Umap:
    """A fitted picture.

    Attributes:
        values: float32 (N, D) embeddings that were fitted.
        points: float32 (N, n) where they lie, n = 2 or 3.
    """

    values: Floats
    points: Floats

    def place(self, values: Floats) -> Floats:
        """Where new embeddings (M, D) belong, float32 (M, n): among their nearest fitted ones, without fitting anew."""
        index, distance = nearest(np.asarray(values, np.float32), self.values, NEIGHBOURS)
        weights = _memberships(distance)
        weights /= np.maximum(weights.sum(1, keepdims=True), np.finfo(np.float32).tiny)
        return np.asarray((self.points[index] * weights[..., None]).sum(1), np.float32)


def fit_umap(
    values: Floats,
    n: int = 2,
    *,
    seed: int = 0,
    neighbours: int = NEIGHBOURS,
    epochs: int = EPOCHS,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Umap:
    """Lay out embeddings.

    Args:
        values: float32 (N, D), finite, N up to :data:`MAX_POINTS`.
        n: 2 or 3 axes.

    Raises:
        RasterError: too few, too many or unusable embeddings.
        Cancelled: the user stopped.
    """
    values = np.asarray(values, np.float32)
    if len(values) <= neighbours + 1 or len(values) > MAX_POINTS:
        raise RasterError(
            f"A UMAP picture needs {neighbours + 2} to {MAX_POINTS:,} pixels with data; there are {len(values):,}."
        )
    if not np.isfinite(values).all():
        raise RasterError("Some of the chosen pixels have no data; choose others.")
    if n not in (2, 3):
        raise ValueError(f"A picture has 2 or 3 axes, not {n}")
    total = epochs + 60
    scores = principal(values, MAX_DIM)
    index, distance = nearest(scores, None, neighbours, cancelled=cancelled, progress=_part(progress, 0, 50, total))
    if progress is not None:
        progress(50, total, "linking neighbours")
    heads, tails, weights = _graph(index, _memberships(distance))
    start = scores[:, :n] if scores.shape[1] >= n else np.pad(scores, ((0, 0), (0, n - scores.shape[1])))
    rng = np.random.default_rng(seed)
    # Ten units wide, with a trace of noise so that equal vectors do not fall on one spot.
    first = 10 * start / max(float(np.abs(start).max()), 1e-9) + rng.normal(0, 1e-4, start.shape)
    report = _part(progress, 60, total, total)
    points = _layout(first.astype(np.float32), heads, tails, weights, epochs, seed, report, cancelled)
    return Umap(values, points)


def principal(values: Floats, count: int) -> Floats:
    """Scores float32 (N, min(count, D)) of the first principal components, by falling variance."""
    centred = values - values.mean(0, dtype=np.float64).astype(np.float32)
    if values.shape[1] <= count:
        count = values.shape[1]
    _, vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    return np.asarray(centred @ vectors[:, ::-1][:, :count].astype(np.float32), np.float32)


def nearest(
    values: Floats,
    among: Floats | None,
    k: int,
    *,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> tuple[NDArray[np.int64], Floats]:
    """The k nearest of ``among`` (None: of the values themselves, each without itself), exactly, by Euclidean distance.

    Returns:
        Indices int64 (N, k) and distances float32 (N, k), nearest first.
    """
    queries = np.ascontiguousarray(values, np.float32)
    base = queries if among is None else np.ascontiguousarray(among, np.float32)
    half = np.square(base).sum(axis=1) / 2
    k = min(k, len(base) - (among is None))
    index = np.empty((len(queries), k), np.int64)
    distance = np.empty((len(queries), k), np.float32)
    for start in range(0, len(queries), _BLOCK):
        if cancelled is not None and cancelled():
            raise Cancelled
        part = queries[start : start + _BLOCK]
        farness = half - part @ base.T
        if among is None:
            rows = np.arange(len(part))
            farness[rows, rows + start] = np.inf
        found, best = _smallest(farness, k)
        index[start : start + _BLOCK] = found
        squared = np.square(part).sum(axis=1, keepdims=True) + 2 * best
        distance[start : start + _BLOCK] = np.sqrt(np.maximum(squared, 0))
        if progress is not None:
            progress(start + len(part), len(queries), "finding neighbours")
    return index, distance


def _smallest(values: Floats, k: int) -> tuple[NDArray[np.int64], Floats]:
    """Where the k smallest of each row (N, M) lie, and what they are, (N, k) each, the smallest first."""
    rows, columns = values.shape
    parts = columns // _COMB
    if parts > k:
        # A part with one of the k smallest has one of the k smallest minima: only k parts need be searched.
        whole = values[:, : parts * _COMB].reshape(rows, _COMB, parts)
        few = np.argpartition(whole.min(axis=1), k - 1, axis=1)[:, :k]
        among = (few[:, :, None] + parts * np.arange(_COMB)).reshape(rows, -1)
        rest = np.broadcast_to(np.arange(parts * _COMB, columns), (rows, columns - parts * _COMB))
        among = np.concatenate([among, rest], axis=1)
        found, best = _smallest_of_few(np.take_along_axis(values, among, axis=1), k)
        return np.take_along_axis(among, found, axis=1), best
    return _smallest_of_few(values, k)


def _smallest_of_few(values: Floats, k: int) -> tuple[NDArray[np.int64], Floats]:
    found = np.argpartition(values, min(k, values.shape[1]) - 1, axis=1)[:, :k]
    best = np.take_along_axis(values, found, axis=1)
    order = np.argsort(best, axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(best, order, axis=1)


def _memberships(distance: Floats) -> Floats:
    """Fuzzy membership (N, k) of each neighbour: exp(-(d - nearest) / sigma), sigma so that a row sums to log2 k."""
    k = distance.shape[1]
    target = np.log2(k)
    gap = np.maximum(distance - distance[:, :1], 0).astype(np.float64)
    low, high = np.zeros(len(gap)), np.full(len(gap), np.inf)
    sigma = np.ones(len(gap))
    for _ in range(48):
        total = np.exp(-gap / sigma[:, None]).sum(1)
        large = total > target
        high = np.where(large, sigma, high)
        low = np.where(large, low, sigma)
        sigma = np.where(np.isinf(high), 2 * sigma, (low + high) / 2)
    floor = 1e-3 * np.maximum(distance.mean(1), 1e-12)
    return np.asarray(np.exp(-gap / np.maximum(sigma, floor)[:, None]), np.float32)


def _graph(index: NDArray[np.int64], weights: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Edges of the fuzzy union a + b - ab of both directions: heads, tails int64 (E,), weights float32 (E,) <= 1."""
    from scipy.sparse import coo_array

    n, k = index.shape
    rows = np.repeat(np.arange(n), k)
    one_way = coo_array((weights.ravel(), (rows, index.ravel())), shape=(n, n)).tocsr()
    other = one_way.T.tocsr()
    union = (one_way + other - one_way.multiply(other)).tocoo()
    keep = union.data >= union.data.max() / EPOCHS
    heads, tails = (np.asarray(axis[keep], np.int64) for axis in (union.row, union.col))
    return heads, tails, np.asarray(union.data[keep] / union.data.max(), np.float32)


def _layout(
    start: Floats,
    heads: NDArray[np.int64],
    tails: NDArray[np.int64],
    weights: Floats,
    epochs: int,
    seed: int,
    progress: Progress | None,
    cancelled: Cancel | None,
) -> Floats:
    a, b = (np.float32(one) for one in CURVE)
    # An axis is one run of memory: then all of this runs over edges in vector registers.
    points = np.ascontiguousarray(start.T)
    axes, count = points.shape
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(heads))
    heads, tails, weights = heads[order], tails[order], weights[order]
    for epoch in range(epochs):
        rate = np.float32(1 - epoch / epochs)
        # An edge is pulled as often as it is strong.
        active = rng.random(len(heads), np.float32) < weights
        these, those = heads[active], tails[active]
        for at in range(0, len(these), BATCH):
            if cancelled is not None and cancelled():
                raise Cancelled
            i, j = these[at : at + BATCH], those[at : at + BATCH]
            here = points[:, i]
            apart = here - points[:, j]
            squared = np.maximum(np.square(apart).sum(axis=0), np.float32(1e-9))
            power = np.exp(b * np.log(squared))
            pull = np.clip(apart * (-2 * a * b * power / squared / (1 + a * power)), -4, 4)
            away = here[:, None] - points[:, rng.integers(count, size=(NEGATIVES, len(i)))]
            squared = np.maximum(np.square(away).sum(axis=0), np.float32(1e-9))
            power = np.exp(b * np.log(squared))
            away *= 2 * b / ((np.float32(0.001) + squared) * (1 + a * power))
            push = np.clip(away, -4, 4, out=away).sum(axis=1)
            for axis in range(axes):
                moved = np.bincount(i, pull[axis] + push[axis], count) - np.bincount(j, pull[axis], count)
                points[axis] += rate * moved.astype(np.float32)
        if progress is not None:
            progress(epoch + 1, epochs, "laying out the points")
    return np.ascontiguousarray((points - points.mean(axis=1, keepdims=True)).T)


def trustworthiness(values: Floats, points: Floats, k: int = NEIGHBOURS, *, sample: int = 2000, seed: int = 0) -> float:
    """How far neighbours in a picture are neighbours in truth, 0..1 (Venna & Kaski 2001), from ``sample`` of its points.

    Args:
        values: float32 (N, D) the truth.
        points: float32 (N, n) the picture.
    """
    total = len(values)
    chosen = np.random.default_rng(seed).permutation(total)[:sample]
    truth, shown = np.asarray(values, np.float32), np.asarray(points, np.float32)
    penalty = 0.0
    for start in range(0, len(chosen), 256):
        part = chosen[start : start + 256]
        rows = np.arange(len(part))
        near = _squares(shown[part], shown)
        near[rows, part] = np.inf
        found, _ = _smallest(near, k)
        real = _squares(truth[part], truth)
        real[rows, part] = -np.inf
        # Rank 1 is the nearest other point, because the point itself has rank 0.
        own = np.take_along_axis(real, found, axis=1)
        rank = np.stack([(real < own[:, [c]]).sum(axis=1) for c in range(k)], axis=1)
        penalty += float(np.maximum(rank - k, 0).sum())
    return 1 - penalty * 2 / (len(chosen) * k * (2 * total - 3 * k - 1))


def _squares(one: Floats, other: Floats) -> Floats:
    """Squared distances float32 (N, M) between rows."""
    crossed = one @ other.T
    return np.square(one).sum(axis=1, keepdims=True) + np.square(other).sum(axis=1) - 2 * crossed


def continuity(values: Floats, points: Floats, k: int = NEIGHBOURS, *, sample: int = 2000, seed: int = 0) -> float:
    """How far neighbours in truth are neighbours in a picture, 0..1 (Venna & Kaski 2001): what tears lower it.

    Args:
        values: float32 (N, D) the truth.
        points: float32 (N, n) the picture.
    """
    # The same measure with the parts of truth and picture exchanged.
    return trustworthiness(points, values, k, sample=sample, seed=seed)


# ------------------------------------------------------------------ the whole region


@dataclass(frozen=True)
class LearntProjection:
    """A small network that says where an embedding would lie in a picture.

    Attributes:
        layers: weights and biases of two hidden layers and the output.
        r2: share of the places' variance it explains on points held out, 0..1.
        low, high: float32 (n,) 1st and 99th percentile of the picture, for colours.
    """

    layers: tuple[tuple[Floats, Floats], ...]
    r2: float
    low: Floats
    high: Floats

    def __call__(self, values: Floats) -> Floats:
        """Places float32 (M, n) of embeddings (M, D)."""
        return _forward(np.asarray(values, np.float32), self.layers)[-1]

    def colours(
        self, raster: EmbeddingRaster, progress: Progress | None = None, cancelled: Cancel | None = None
    ) -> NDArray[np.uint8]:
        """The region coloured by place in the picture: uint8 (H, W, 3), black where there is no data; a block at a time.

        Raises:
            Cancelled: the user stopped.
        """
        out = np.zeros((*raster.shape, 3), np.uint8)
        for rows, block in raster.blocks():
            if cancelled is not None and cancelled():
                raise Cancelled
            valid = valid_scales(raster.scales[rows])
            out[rows][valid] = place_colours(self(block[valid]), self.low, self.high)
            if progress is not None:
                progress(rows.stop, raster.shape[0], "colouring the region")
        return out


def learn_projection(
    picture: Umap, *, seed: int = 0, progress: Progress | None = None, cancelled: Cancel | None = None
) -> LearntProjection:
    """Learn where embeddings lie in a picture, from its fitted points; one in ten is held out to judge it.

    Raises:
        Cancelled: the user stopped.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(picture.values))
    held, taught = order[: len(order) // 10], order[len(order) // 10 :]
    values, places = picture.values, picture.points
    mean, spread = values[taught].mean(0), np.maximum(values[taught].std(0, ddof=1), np.float32(1e-6))
    centre, size = places[taught].mean(0), np.maximum(places[taught].std(0, ddof=1), np.float32(1e-6))
    x, y = (values - mean) / spread, (places - centre) / size
    widths = [x.shape[1], 128, 128, y.shape[1]]
    layers: list[tuple[Floats, Floats]] = []
    for inputs, outputs in itertools.pairwise(widths):
        weight = rng.standard_normal((inputs, outputs), np.float32) * np.float32((2 / inputs) ** 0.5)
        layers.append((weight, np.zeros(outputs, np.float32)))
    tensors = [array for layer in layers for array in layer]
    # Adam (Kingma & Ba 2015).
    first, second = ([np.zeros_like(array) for array in tensors] for _ in range(2))
    rounds, batch, step = 30, 512, 0
    for turn in range(rounds):
        rate = 1e-3 * (1 + np.cos(np.pi * turn / rounds))
        shuffled = taught[rng.permutation(len(taught))]
        for start in range(0, len(shuffled), batch):
            if cancelled is not None and cancelled():
                raise Cancelled
            part = shuffled[start : start + batch]
            step += 1
            slopes = _slopes(x[part], y[part], layers)
            pace, settled = np.float32(rate / (1 - 0.9**step)), np.float32(1 - 0.999**step)
            for array, slope, m, v in zip(tensors, slopes, first, second, strict=True):
                m += np.float32(0.1) * (slope - m)
                v += np.float32(0.001) * (np.square(slope) - v)
                array -= pace * m / (np.sqrt(v / settled) + np.float32(1e-8))
        if progress is not None:
            progress(turn + 1, rounds, "learning the picture")
    test = held if len(held) else taught
    error = float(np.square(_forward(x[test], layers)[-1] - y[test]).sum())
    r2 = 1 - error / max(float(np.square(y[test] - y[test].mean(0)).sum()), 1e-12)
    # Standardising is folded into the first and last layer.
    weight, bias = layers[0]
    layers[0] = (
        np.asarray(weight / spread[:, None], np.float32),
        np.asarray(bias - (mean / spread) @ weight, np.float32),
    )
    weight, bias = layers[-1]
    layers[-1] = np.asarray(weight * size, np.float32), np.asarray(bias * size + centre, np.float32)
    low, high = (np.percentile(picture.points, q, axis=0).astype(np.float32) for q in (1, 99))
    return LearntProjection(tuple(layers), max(0.0, r2), low, high)


def place_colours(points: Floats, low: Floats, high: Floats) -> NDArray[np.uint8]:
    """Colours uint8 (M, 3) of places (M, n): three axes are red, green and blue; two span a square of four hues."""
    unit = np.clip((points - low) / np.maximum(high - low, np.finfo(np.float32).tiny), 0, 1)
    if points.shape[1] == 3:
        return np.asarray(30 + 225 * unit, np.uint8)
    # Corners of Okabe and Ito's palette that colour-blind people tell apart.
    corners = np.array([[[0, 114, 178], [0, 158, 115]], [[204, 121, 167], [240, 228, 66]]], np.float32)
    u, v = unit[:, 0, None], unit[:, 1, None]
    mixed = (1 - u) * ((1 - v) * corners[0, 0] + v * corners[0, 1]) + u * ((1 - v) * corners[1, 0] + v * corners[1, 1])
    return np.asarray(mixed, np.uint8)


def _forward(x: NDArray[np.floating], layers: Sequence[tuple[Floats, Floats]]) -> list[Floats]:
    """What each layer makes of vectors (N, D), rectified but for the last."""
    made: list[Floats] = []
    for number, (weight, bias) in enumerate(layers):
        x = x @ weight + bias
        if number < len(layers) - 1:
            np.maximum(x, 0, out=x)
        made.append(np.asarray(x, np.float32))
    return made


def _slopes(x: NDArray[np.floating], y: NDArray[np.floating], layers: Sequence[tuple[Floats, Floats]]) -> list[Floats]:
    """Gradients of the mean squared error by each weight and bias, in their order."""
    made = _forward(x, layers)
    back = (made[-1] - y) * np.float32(2 / y.size)
    slopes: list[Floats] = []
    for number in range(len(layers) - 1, -1, -1):
        given = made[number - 1] if number else x
        slopes[:0] = [np.asarray(given.T @ back, np.float32), np.asarray(back.sum(axis=0), np.float32)]
        if number:
            back = (back @ layers[number][0].T) * (given > 0)
    return slopes


def _part(progress: Progress | None, start: int, stop: int, total: int) -> Progress | None:
    if progress is None:
        return None
    return lambda done, of, message: progress(start + (stop - start) * done // max(of, 1), total, message)
