"""Patches of ground with a label a pixel, and the small U-Net that learns from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.torch_part import require_torch
from tessera_core.pretrain.studies.downstream.framework import Effort
from tessera_core.pretrain.studies.downstream.reading import Vectors
from tessera_core.types import Floats

# Two poolings: what the network sees has edges that are multiples of four.
STRIDE = 4
# Patches that means and spreads are taken from.
LOOKED_AT = 64


@dataclass(frozen=True)
class Patch:
    """A patch of ground.

    Attributes:
        vectors: its embeddings.
        truth: reads its labels (H, W): classes, or numbers with NaN where none is known.
    """

    vectors: Vectors
    truth: Callable[[], NDArray]

    @property
    def dim(self) -> int:
        """Length of its vectors."""
        return self.vectors.window(slice(1), slice(1)).shape[2]


class PatchNet:
    """A U-Net over patches: classes, or one number a pixel.

    Args:
        effort: how long it learns and how large it is.
        classes: how many; 0 for numbers.
        seed: of weights and pieces.
        by_crop: of numbers, whether the root of the mean square is taken for each piece before the mean.
    """

    def __init__(self, effort: Effort, classes: int = 0, seed: int = 0, *, by_crop: bool = False) -> None:
        self.effort, self.classes, self.seed, self.by_crop = effort, classes, seed, by_crop

    def fit(self, patches: Sequence[Patch]) -> PatchNet:
        """Learn; classes are from 0, what is below is not labelled.

        Raises:
            MissingPartError: PyTorch is not installed.
            InputError: a file is damaged.
        """
        require_torch("A U-Net")
        from tessera_core.heads.unet_network import Network

        rng = np.random.default_rng(self.seed)
        some = [patches[i] for i in rng.permutation(len(patches))[:LOOKED_AT]]
        pixels = np.concatenate([one.vectors.window()[::3, ::3].reshape(-1, one.dim) for one in some])
        self._mean, self._spread = pixels.mean(0), max(float(pixels.std(0).mean()), 1e-12)
        self._level, self._unit = 0.0, 1.0
        if not self.classes:
            known = np.concatenate([one.truth().ravel() for one in some]).astype(np.float64)
            known = known[np.isfinite(known)]
            self._level, self._unit = float(known.mean()), max(float(known.std()), 1e-12)

        def draw() -> tuple[Floats, NDArray, int, bool]:
            one = patches[int(rng.integers(len(patches)))]
            truth = one.truth()
            edge = self.effort.crop
            top, left = (int(rng.integers(max(n - edge, 0) + 1)) for n in truth.shape)
            rows, cols = slice(top, top + edge), slice(left, left + edge)
            seen, told = self._seen(one.vectors, rows, cols), truth[rows, cols]
            mark = np.full((edge, edge), -1 if self.classes else np.nan, np.int16 if self.classes else np.float32)
            mark[: told.shape[0], : told.shape[1]] = told if self.classes else (told - self._level) / self._unit
            piece = np.zeros((seen.shape[0], edge, edge), np.float32)
            piece[:, : told.shape[0], : told.shape[1]] = seen[:, : told.shape[0], : told.shape[1]]
            return piece, mark, int(rng.integers(4)), bool(rng.integers(2))

        network = Network(len(self._mean), self.effort.width, self.classes or 1, 0.1, self.seed)
        pieces = sum(
            -(-one.vectors.size[0] // self.effort.crop) * -(-one.vectors.size[1] // self.effort.crop) for one in patches
        )
        network.train(
            draw,
            np.ones(max(self.classes, 1)),
            steps=max(self.effort.steps, self.effort.epochs * pieces // self.effort.batch),
            batch=self.effort.batch,
            learning_rate=3e-3,
            step=lambda done, total: None,
            by_crop=self.by_crop,
        )
        self._net = network
        return self

    def predict(self, patch: Patch) -> NDArray:
        """Classes from 0 int64 (H, W), or numbers float32 (H, W)."""
        high, wide = patch.vectors.size
        seen = self._seen(patch.vectors, slice(None), slice(None))
        padded = np.zeros((seen.shape[0], high + -high % STRIDE, wide + -wide % STRIDE), np.float32)
        padded[:, :high, :wide] = seen
        out = self._net.logits(padded)[:, :high, :wide]
        return out.argmax(0) if self.classes else out[0] * np.float32(self._unit) + np.float32(self._level)

    def _seen(self, vectors: Vectors, rows: slice, cols: slice) -> Floats:
        return np.ascontiguousarray(((vectors.window(rows, cols) - self._mean) / self._spread).transpose(2, 0, 1))
