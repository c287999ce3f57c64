"""A small neural network with batch normalisation."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tessera_core.errors import HeadError
from tessera_core.heads.base import Floats, Head

BATCH = 1024


class MLPHead(Head):
    """Multilayer perceptron with batch normalisation and dropout, trained by AdamW under a one-cycle schedule.

    Batch normalisation matters: the plain scikit-learn network trails it by more than ten points of macro-F1 on crop types
    (spec/formats.md, "Peer evaluator"). After training it is folded into the layers, so prediction is a few products.

    Args:
        hidden: widths of the hidden layers.
        steps: optimiser steps at least; more where ``epochs`` passes over the labels need more.
        epochs: passes over the labels at least.
        dropout: share of hidden units dropped while training.
        learning_rate: highest rate of the schedule.
        class_weight: ``"balanced"`` or None.
        seed: for weights, batches and dropout.
    """

    _fits_alone = False

    def __init__(
        self,
        hidden: tuple[int, ...] = (256, 128),
        steps: int = 200,
        epochs: int = 20,
        dropout: float = 0.3,
        learning_rate: float = 3e-3,
        class_weight: str | None = "balanced",
        seed: int = 0,
    ) -> None:
        self.hidden = hidden
        self.steps = steps
        self.epochs = epochs
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.class_weight = class_weight
        self.seed = seed

    def _fit(self, X: Floats, targets: NDArray[np.intp], weight: NDArray[np.float64]) -> None:
        if not self.hidden or min(self.hidden) < 1:
            raise HeadError(f"A network needs at least one hidden layer of at least one unit, not {self.hidden!r}.")
        x, y, w = torch.from_numpy(X), torch.from_numpy(targets), torch.from_numpy(weight).float()
        mean, spread = x.mean(0), x.std(0).mean().clamp_min(1e-12)
        x = (x - mean) / spread
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            widths = [x.shape[1], *self.hidden]
            linears = [nn.Linear(a, b) for a, b in pairwise([*widths, len(self.classes_)])]
            norms = [nn.BatchNorm1d(width) for width in self.hidden]
            rest = nn.Sequential(nn.ReLU(), nn.Dropout(self.dropout))
            hidden = [nn.Sequential(linear, norm, rest) for linear, norm in zip(linears, norms, strict=False)]
            net = nn.Sequential(*hidden, linears[-1])
            batch = min(BATCH, len(x))
            steps = max(self.steps, self.epochs * -(-len(x) // batch))
            optimiser = torch.optim.AdamW(net.parameters(), lr=self.learning_rate, weight_decay=0.01)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, self.learning_rate, total_steps=steps)
            order = torch.randperm(len(x))
            for step in range(steps):
                first = step * batch % len(x)
                if first + batch > len(x):
                    order, first = torch.randperm(len(x)), 0
                pick = order[first : first + batch]
                loss = nn.functional.cross_entropy(net(x[pick]), y[pick], reduction="none", label_smoothing=0.05)
                optimiser.zero_grad()
                ((loss * w[pick]).sum() / w[pick].sum()).backward()
                optimiser.step()
                schedule.step()
        layers = [_folded(linear, norm) for linear, norm in zip(linears, norms, strict=False)]
        layers.append((linears[-1].weight.detach(), linears[-1].bias.detach()))
        first_weight, first_bias = layers[0]
        layers[0] = (first_weight / spread, first_bias - first_weight @ (mean / spread))
        self._layers = layers

    def _proba(self, X: Floats) -> NDArray[np.floating]:
        x = torch.from_numpy(np.ascontiguousarray(X))
        for weight, bias in self._layers[:-1]:
            x = torch.addmm(bias, x, weight.T).relu_()
        weight, bias = self._layers[-1]
        return torch.softmax(torch.addmm(bias, x, weight.T), dim=1).numpy()

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            f"layer{i}.{name}": tensor.numpy()
            for i, layer in enumerate(self._layers)
            for name, tensor in zip(("weight", "bias"), layer, strict=True)
        }

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._layers = [
            (torch.from_numpy(arrays[f"layer{i}.weight"]), torch.from_numpy(arrays[f"layer{i}.bias"]))
            for i in range(len(arrays) // 2)
        ]


def _folded(linear: nn.Linear, norm: nn.BatchNorm1d) -> tuple[torch.Tensor, torch.Tensor]:
    """The linear layer that equals ``linear`` followed by ``norm`` in evaluation."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight / (norm.running_var + norm.eps).sqrt()
    weight = linear.weight * gain[:, None]
    bias = (linear.bias - norm.running_mean) * gain + norm.bias
    return weight.detach(), bias.detach()
