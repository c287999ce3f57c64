"""The network of the head ``unet`` and its training, by PyTorch; :mod:`tessera_core.heads.unet` loads it when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tessera_core.types import Floats


class _Double(nn.Sequential):
    """Two 3x3 convolutions with batch normalisation, which in use acts on each pixel alone."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(
            *(nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()),
            *(nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()),
        )


class _UNet(nn.Module):
    """Ronneberger, Fischer & Brox (MICCAI 2015) with two levels, after a 1x1 convolution that narrows the embedding."""

    def __init__(self, dim: int, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(dim, width, 1)
        self.drop = nn.Dropout2d(dropout)
        self.first, self.second, self.third = (
            _Double(width, width),
            _Double(width, 2 * width),
            _Double(2 * width, 4 * width),
        )
        self.pool = nn.MaxPool2d(2)
        self.up_second, self.up_first = (nn.ConvTranspose2d(n * width, n * width // 2, 2, 2) for n in (4, 2))
        self.back_second, self.back_first = _Double(4 * width, 2 * width), _Double(2 * width, width)
        self.out = nn.Conv2d(width, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.first(self.drop(self.narrow(x)))
        second = self.second(self.pool(first))
        deep = self.third(self.pool(second))
        second = self.back_second(torch.cat([self.up_second(deep), second], 1))
        logits: torch.Tensor = self.out(self.back_first(torch.cat([self.up_first(second), first], 1)))
        return logits


class Network:
    """A U-Net that takes and gives arrays.

    Args:
        dim: length of the vectors.
        width: channels of the first level.
        classes: how many it tells apart.
        dropout: share of channels dropped while training.
        seed: of its first weights, and of what is dropped.
    """

    def __init__(self, dim: int, width: int, classes: int, dropout: float, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._net = _UNet(dim, width, classes, dropout).eval()
            # Training goes on with the chance that made the weights.
            self._chance = torch.get_rng_state()

    def train(
        self,
        draw: Callable[[], tuple[Floats, NDArray[np.int16] | NDArray[np.float32], int, bool]],
        say: NDArray[np.float64],
        *,
        steps: int,
        batch: int,
        learning_rate: float,
        step: Callable[[int, int], None],
        by_crop: bool = False,
    ) -> None:
        """Learn from crops.

        Args:
            draw: gives a crop float32 (D, h, w), its classes int16 (h, w) with -1 where nothing is labelled (or numbers float32
                with NaN there, of a network with one output), quarter turns, and whether it is mirrored.
            say: float64 (K,), weight of each class; of no effect on numbers.
            steps, batch: optimiser steps, and crops a step.
            learning_rate: highest rate of the schedule.
            step: told how far training is; may raise to stop it.
            by_crop: of numbers, the mean over crops of the root of each one's mean square, in the place of the mean square.
        """
        net, weight = self._net.train(), torch.from_numpy(say).float()
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._chance)
            optimiser = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=0.01)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=max(steps, 2))
            for number in range(steps):
                step(number, steps)
                crops, marks = [], []
                for _ in range(batch):
                    crop, truth, turn, flip = draw()
                    crops.append(_turned(torch.from_numpy(crop), turn, flip))
                    marks.append(_turned(torch.from_numpy(truth), turn, flip))
                out, mark = net(torch.stack(crops)), torch.stack(marks)
                if mark.is_floating_point():
                    loss = _squares(out[:, 0], mark, by_crop)
                else:
                    loss = nn.functional.cross_entropy(
                        out, mark.long(), weight=weight, ignore_index=-1, label_smoothing=0.05
                    )
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                optimiser.step()
                schedule.step()
        step(steps, steps)
        net.eval()

    def logits(self, x: Floats) -> Floats:
        """float32 (K, h, w) of float32 (D, h, w), whose edges are multiples of 4."""
        with torch.inference_mode():
            out: Floats = self._net(torch.from_numpy(x)[None])[0].numpy()
        return out

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What it has learnt."""
        return {name: tensor.numpy() for name, tensor in self._net.state_dict().items()}

    def load(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take up what :meth:`arrays` gave.

        Raises:
            RuntimeError: they are of another network.
        """
        self._net.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})


def _squares(out: torch.Tensor, truth: torch.Tensor, by_crop: bool) -> torch.Tensor:
    """Mean square over known pixels of all crops, or the mean of each crop's root; (B, h, w), NaN where unknown."""
    known = truth.isfinite()
    square = torch.where(known, out - truth.nan_to_num(), 0.0).square()
    if not by_crop:
        return square.sum() / known.sum().clamp_min(1)
    # The root has no slope at 0.
    return (square.sum((1, 2)) / known.sum((1, 2)).clamp_min(1) + 1e-8).sqrt().mean()


def _turned(values: torch.Tensor, turn: int, flip: bool) -> torch.Tensor:
    """One of the eight ways to lay a square."""
    values = torch.rot90(values, turn, (-2, -1))
    return values.flip(-1) if flip else values
