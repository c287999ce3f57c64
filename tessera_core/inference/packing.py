"""From a block of pixel series to packed batches: which observations of which pixel go where.

Each sensor is grouped on its own, since the backbones meet only after pooling: pixels with equally many valid observations
share one structure (which are kept, how often each counts, in which order they are seen), so batches need no padding and no
mask. Which observations a rule chooses and how they are normalised is :mod:`tessera_core.models.inputs`'. Knows no network.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from tessera_core.inference.backbone import Batch
from tessera_core.inference.kernels import Layout, Run
from tessera_core.models.config import Sampling
from tessera_core.models.inputs import PixelSeries, choose_positions, draw_positions, sequence_length
from tessera_core.models.normalisation import Normalisation

Sensor = Literal["s2", "s1"]


@dataclass(frozen=True)
class Structure:
    """What the network sees of a pixel with a given number of valid observations.

    Attributes:
        kept: int64 (m,), the distinct observations, as positions among the valid ones, ascending.
        log_multiplicity: float32 (m,), or None where each is seen once.
        order: int64 (steps,), the sequence as positions in ``kept``.
    """

    kept: NDArray[np.int64]
    log_multiplicity: NDArray[np.float32] | None
    order: NDArray[np.int64]

    def run(self, pixels: int) -> Run:
        """A run of ``pixels`` pixels of this structure."""
        return Run(pixels, len(self.kept), self.log_multiplicity, self.order)


@lru_cache(maxsize=4096)
def structure(count: int, sampling: Sampling) -> Structure:
    """The structure of pixels with ``count`` >= 1 valid observations (spec 2.5, 2.6); v1.0 draws see each draw once."""
    if sampling.rule == "v1.0":
        return Structure(np.arange(sampling.draws), None, np.arange(sampling.draws))
    kept, order, times = np.unique(choose_positions(count, sampling), return_inverse=True, return_counts=True)
    logs = None if (times == 1).all() else np.log(times).astype(np.float32)
    return Structure(kept, logs, order.astype(np.int64).ravel())


class Packing:
    """One sensor's pixels of a block, sorted by structure and ready to be cut into batches.

    Args:
        series: the block's observations.
        sensor: which of the two.
        wanted: bool (N,), pixels to embed; those this sensor never saw are left out, except under the v1.0 rule.
        sampling: the encoder's rule.
        normalisation: the encoder's statistics.
        draws: under the v1.0 rule, the drawn dates int64 (N, draws); None otherwise.
    """

    def __init__(
        self,
        series: PixelSeries,
        sensor: Sensor,
        wanted: NDArray[np.bool_],
        sampling: Sampling,
        normalisation: Normalisation,
        draws: NDArray[np.int64] | None = None,
    ) -> None:
        self.sampling, self.normalisation, self._draws = sampling, normalisation, draws
        self._gather = series.gather_s2 if sensor == "s2" else series.gather_s1
        valid = series.s2_valid if sensor == "s2" else series.s1_valid
        counts = valid.sum(0)
        if draws is not None:
            self.pixels = np.flatnonzero(wanted)
            self.counts = np.full(len(self.pixels), sampling.draws)
        else:
            seen = np.flatnonzero(wanted & (counts > 0))
            self.pixels = seen[np.argsort(counts[seen], kind="stable")]
            self.counts = counts[self.pixels]
            self._dates = np.nonzero(valid.T)[1]
            self._starts = np.concatenate(([0], np.cumsum(counts)))
        kept = {int(n): len(structure(int(n), sampling).kept) for n in np.unique(self.counts)}
        self.lengths = np.array([kept[int(n)] for n in self.counts], np.int64)

    @property
    def tokens(self) -> int:
        """Tokens of all pixels."""
        return int(self.lengths.sum())

    @property
    def padded_tokens(self) -> int:
        """Tokens of the sequences the reference would compute, repetitions included."""
        if self._draws is not None:
            return self.tokens
        counts, pixels = np.unique(self.counts, return_counts=True)
        return sum(int(p) * sequence_length(int(n), self.sampling) for n, p in zip(counts, pixels, strict=True))

    def cuts(self, budget: int) -> Iterator[slice]:
        """Slices of the sorted pixels with about ``budget`` tokens each, at least one pixel."""
        total = np.cumsum(self.lengths)
        start = 0
        while start < len(total):
            before = total[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(total, before + budget, side="right")))
            yield slice(start, stop)
            start = stop

    def batch(self, cut: slice, device: torch.device) -> Batch:
        """The batch of a cut, on ``device``."""
        pixels, counts = self.pixels[cut], self.counts[cut]
        edges = np.flatnonzero(np.diff(counts, prepend=-1, append=-1))
        runs, rows = [], []
        for start, stop in itertools.pairwise(edges):
            found, some = structure(int(counts[start]), self.sampling), pixels[start:stop]
            runs.append(found.run(len(some)))
            drawn = self._draws
            dates = self._dates[self._starts[some, None] + found.kept] if drawn is None else drawn[some]
            values = self._gather(some, dates, self.normalisation)
            rows.append(values.reshape(-1, values.shape[-1]))
        tokens = torch.from_numpy(rows[0] if len(rows) == 1 else np.concatenate(rows))
        if device.type == "cuda":
            # Pinned memory lets the copy, and the packing of the next batch, run beside the previous batch's work.
            tokens = tokens.pin_memory().to(device, non_blocking=True)
        return Batch(tokens, Layout(runs, device))


def draw(
    series: PixelSeries, sampling: Sampling, wanted: NDArray[np.bool_], seeds: Sequence[Sequence[int]], width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """v1.0's random dates of the wanted pixels: int64 (N, draws) for S2 and for S1 (spec 2.4).

    Each row of pixels has its own seed, so that the result does not depend on how a tile is cut into blocks. (The reference's
    single stream depends on its batch size; :func:`tessera_core.models.inputs.prepare` reproduces that.)
    """
    out = [np.zeros((series.pixels, sampling.draws), np.int64) for _ in range(2)]
    for row, seed in enumerate(seeds):
        rng = np.random.default_rng(list(seed))
        for pixel in np.flatnonzero(wanted[row * width : (row + 1) * width]) + row * width:
            out[0][pixel] = draw_positions(series.s2_valid[:, pixel], sampling.draws, rng)
            out[1][pixel] = draw_positions(series.s1_valid[:, pixel], sampling.draws, rng)
    return out[0], out[1]
