"""UMAP of embeddings: a flat or spatial picture in which alike pixels lie near each other.

The method of McInnes, Healy & Melville (2018, arXiv 1802.03426): exact nearest neighbours, their fuzzy graph, a start from
principal components, then attraction along the graph's edges against random repulsion. Our own loop in torch: it can be
watched and stopped, needs no compilation at run time and is safe in several threads at once, which makes it the quick preview
beside the full layout of :mod:`tessera_core.analysis.umap_learn`. ``tessera bench explore`` holds one against the other. Arrays
in, arrays out.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
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
_BLOCK = 1024


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
    queries = torch.from_numpy(np.ascontiguousarray(values, np.float32))
    base = queries if among is None else torch.from_numpy(np.ascontiguousarray(among, np.float32))
    half = base.square().sum(1) / 2
    k = min(k, len(base) - (among is None))
    index = torch.empty(len(queries), k, dtype=torch.int64)
    distance = torch.empty(len(queries), k)
    for start in range(0, len(queries), _BLOCK):
        if cancelled is not None and cancelled():
            raise Cancelled
        part = queries[start : start + _BLOCK]
        closeness = torch.addmm(half[None], part, base.T, beta=-1)
        if among is None:
            rows = torch.arange(len(part))
            closeness[rows, rows + start] = -torch.inf
        best, found = closeness.topk(k, dim=1)
        index[start : start + _BLOCK] = found
        squared = part.square().sum(1, keepdim=True) - 2 * best
        distance[start : start + _BLOCK] = squared.clamp_(min=0).sqrt_()
        if progress is not None:
            progress(start + len(part), len(queries), "finding neighbours")
    return index.numpy(), distance.numpy()


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


def _graph(index: NDArray[np.int64], weights: Floats) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Edges of the fuzzy union a + b - ab of both directions: heads, tails int64 (E,), weights float32 (E,) <= 1."""
    from scipy.sparse import coo_array

    n, k = index.shape
    rows = np.repeat(np.arange(n), k)
    one_way = coo_array((weights.ravel(), (rows, index.ravel())), shape=(n, n)).tocsr()
    other = one_way.T.tocsr()
    union = (one_way + other - one_way.multiply(other)).tocoo()
    keep = union.data >= union.data.max() / EPOCHS
    heads, tails = (torch.from_numpy(np.asarray(axis[keep], np.int64)) for axis in (union.row, union.col))
    return heads, tails, torch.from_numpy(np.asarray(union.data[keep] / union.data.max(), np.float32))


def _layout(
    start: Floats,
    heads: torch.Tensor,
    tails: torch.Tensor,
    weights: torch.Tensor,
    epochs: int,
    seed: int,
    progress: Progress | None,
    cancelled: Cancel | None,
) -> Floats:
    a, b = CURVE
    points = torch.from_numpy(start)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(heads), generator=generator)
    heads, tails, weights = heads[order], tails[order], weights[order]
    count = len(points)
    for epoch in range(epochs):
        rate = 1 - epoch / epochs
        # An edge is pulled as often as it is strong.
        active = torch.rand(len(heads), generator=generator) < weights
        these, those = heads[active], tails[active]
        for at in range(0, len(these), BATCH):
            if cancelled is not None and cancelled():
                raise Cancelled
            i, j = these[at : at + BATCH], those[at : at + BATCH]
            here = points[i]
            apart = here - points[j]
            squared = apart.square().sum(1, keepdim=True).clamp_(min=1e-9)
            power = (b * squared.log()).exp_()
            pull = apart.mul_(-2 * a * b * power / squared / (1 + a * power)).clamp_(-4, 4)
            far = torch.randint(count, (NEGATIVES, len(i)), generator=generator)
            away = here[None] - points[far]
            squared = away.square().sum(2, keepdim=True).clamp_(min=1e-9)
            power = (b * squared.log()).exp_()
            push = away.mul_(2 * b / ((0.001 + squared) * (1 + a * power))).clamp_(-4, 4).sum(0)
            points.index_add_(0, i, pull + push, alpha=rate)
            points.index_add_(0, j, pull, alpha=-rate)
        if progress is not None:
            progress(epoch + 1, epochs, "laying out the points")
    return np.asarray(points.numpy() - points.mean(0).numpy(), np.float32)


def trustworthiness(values: Floats, points: Floats, k: int = NEIGHBOURS, *, sample: int = 2000, seed: int = 0) -> float:
    """How far neighbours in a picture are neighbours in truth, 0..1 (Venna & Kaski 2001), from ``sample`` of its points.

    Args:
        values: float32 (N, D) the truth.
        points: float32 (N, n) the picture.
    """
    total = len(values)
    chosen = np.random.default_rng(seed).permutation(total)[:sample]
    truth, shown = torch.from_numpy(np.ascontiguousarray(values)), torch.from_numpy(np.ascontiguousarray(points))
    penalty = 0.0
    for start in range(0, len(chosen), 256):
        part = torch.from_numpy(chosen[start : start + 256])
        rows = torch.arange(len(part))
        near = torch.cdist(shown[part], shown)
        near[rows, part] = torch.inf
        found = near.topk(k, dim=1, largest=False).indices
        real = torch.cdist(truth[part], truth)
        real[rows, part] = -torch.inf
        # Rank 1 is the nearest other point, because the point itself has rank 0.
        rank = torch.stack([(real < real.gather(1, found[:, [c]])).sum(1) for c in range(k)], 1)
        penalty += float((rank - k).clamp(min=0).sum())
    return 1 - penalty * 2 / (len(chosen) * k * (2 * total - 3 * k - 1))


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
        out = torch.from_numpy(np.ascontiguousarray(values, np.float32))
        for number, (weight, bias) in enumerate(self.layers):
            out = torch.addmm(torch.from_numpy(bias), out, torch.from_numpy(weight))
            if number < len(self.layers) - 1:
                out = out.relu_()
        return out.numpy()

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
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(picture.values), generator=generator)
    held, taught = order[: len(order) // 10], order[len(order) // 10 :]
    values, places = torch.from_numpy(picture.values), torch.from_numpy(picture.points)
    mean, spread = values[taught].mean(0), values[taught].std(0).clamp_(min=1e-6)
    centre, size = places[taught].mean(0), places[taught].std(0).clamp_(min=1e-6)
    x, y = (values - mean) / spread, (places - centre) / size
    widths = [x.shape[1], 128, 128, y.shape[1]]
    layers = []
    for inputs, outputs in itertools.pairwise(widths):
        weight = torch.randn(inputs, outputs, generator=generator) * (2 / inputs) ** 0.5
        layers.append((weight.requires_grad_(), torch.zeros(outputs, requires_grad=True)))
    tensors = [tensor for layer in layers for tensor in layer]
    # Adam (Kingma & Ba 2015) in four lines: importing torch.optim costs longer than all of this.
    first, second = ([torch.zeros_like(tensor) for tensor in tensors] for _ in range(2))
    rounds, batch, step = 30, 512, 0
    for turn in range(rounds):
        rate = 1e-3 * (1 + np.cos(np.pi * turn / rounds))
        shuffled = taught[torch.randperm(len(taught), generator=generator)]
        for start in range(0, len(shuffled), batch):
            if cancelled is not None and cancelled():
                raise Cancelled
            part = shuffled[start : start + batch]
            step += 1
            slopes = torch.autograd.grad((_forward(x[part], layers) - y[part]).square().mean(), tensors)
            with torch.no_grad():
                for tensor, slope, m, v in zip(tensors, slopes, first, second, strict=True):
                    m.lerp_(slope, 0.1)
                    v.lerp_(slope * slope, 0.001)
                    tensor -= rate * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt_() + 1e-8)
        if progress is not None:
            progress(turn + 1, rounds, "learning the picture")
    with torch.no_grad():
        test = held if len(held) else taught
        error = (_forward(x[test], layers) - y[test]).square().sum()
        r2 = 1 - float(error / (y[test] - y[test].mean(0)).square().sum().clamp(min=1e-12))
        plain = [[weight.detach(), bias.detach()] for weight, bias in layers]
        # Standardising is folded into the first and last layer.
        plain[0] = [plain[0][0] / spread[:, None], plain[0][1] - (mean / spread) @ plain[0][0]]
        plain[-1] = [plain[-1][0] * size, plain[-1][1] * size + centre]
    low, high = (np.percentile(picture.points, q, axis=0).astype(np.float32) for q in (1, 99))
    numbers = tuple((weight.contiguous().numpy(), bias.contiguous().numpy()) for weight, bias in plain)
    return LearntProjection(numbers, max(0.0, r2), low, high)


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


def _forward(x: torch.Tensor, layers: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    for number, (weight, bias) in enumerate(layers):
        x = torch.addmm(bias, x, weight)
        if number < len(layers) - 1:
            x = x.relu()
    return x


def _part(progress: Progress | None, start: int, stop: int, total: int) -> Progress | None:
    if progress is None:
        return None
    return lambda done, of, message: progress(start + (stop - start) * done // max(of, 1), total, message)
