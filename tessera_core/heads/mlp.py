"""A small neural network with batch normalisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tessera_core.errors import HeadError
from tessera_core.heads.classification import Head
from tessera_core.heads.training import ClassWeight
from tessera_core.types import Floats

BATCH = 1024
STEPS_A_REPORT = 10

Layers = list[tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class Training:
    """How long and how fast a network learns: steps and epochs are the least of each; see :class:`MLPHead`."""

    steps: int
    epochs: int
    dropout: float
    learning_rate: float
    seed: int


class Perceptron:
    """What heads of small networks share: how one is trained, by parameters of these names."""

    steps: int
    epochs: int
    dropout: float
    learning_rate: float
    seed: int
    hidden: tuple[int, ...]

    def _trained(
        self,
        X: Floats,
        outputs: int,
        loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        step: Callable[[int, int], None],
        member: int = 0,
    ) -> Layers:
        """See :func:`train_layers`; ``member`` of several networks has a seed of its own."""
        return train_layers(
            X,
            (*self.hidden, outputs),
            loss,
            step,
            Training(self.steps, self.epochs, self.dropout, self.learning_rate, self.seed + member),
        )


class MLPHead(Perceptron, Head):
    """Multilayer perceptron with batch normalisation and dropout, trained by AdamW under a one-cycle schedule.

    The parts are those of Ioffe & Szegedy (ICML 2015), Loshchilov & Hutter (ICLR 2019) and Smith & Topin (2018).
    Batch normalisation matters: the plain scikit-learn network trails it by more than ten points of macro-F1 on crop types
    (docs/spec/formats.md, "Peer evaluator"). After training it is folded into the layers, so prediction is a few products.

    Args:
        hidden: widths of the hidden layers.
        steps: optimiser steps at least; more where ``epochs`` passes over the labels need more.
        epochs: passes over the labels at least.
        dropout: share of hidden units dropped while training.
        learning_rate: highest rate of the schedule.
        class_weight: ``"balanced"``, None, or weights by class id.
        seed: for weights, batches and dropout.

    Example:
        >>> X = np.repeat(np.array([[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]]), 5, axis=0)
        >>> head = MLPHead(hidden=(8,), steps=40, epochs=1, learning_rate=0.03).fit(X, np.repeat([1, 1, 2, 2], 5))
        >>> head.predict([[0.95, 0.1]]).tolist()
        [2]
    """

    name = "mlp"
    _fits_alone = False

    def __init__(
        self,
        hidden: tuple[int, ...] = (512, 256),
        steps: int = 200,
        epochs: int = 20,
        dropout: float = 0.3,
        learning_rate: float = 3e-3,
        class_weight: ClassWeight = "balanced",
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
        y, w = torch.from_numpy(targets), torch.from_numpy(weight).float()

        def loss(out: torch.Tensor, pick: torch.Tensor) -> torch.Tensor:
            each = nn.functional.cross_entropy(out, y[pick], reduction="none", label_smoothing=0.05)
            return (each * w[pick]).sum() / w[pick].sum()

        self._layers = self._trained(X, len(self.classes_), loss, self._step)

    def _proba(self, X: Floats) -> NDArray[np.floating]:
        return torch.softmax(forward(self._layers, X), dim=1).numpy()

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return layer_arrays(self._layers)

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._layers = layers_from(arrays)


def train_layers(
    X: Floats,
    widths: tuple[int, ...],
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    step: Callable[[int, int], None],
    training: Training,
) -> Layers:
    """Train a perceptron and fold its normalisations into its layers.

    Args:
        X: finite vectors (N, D).
        widths: of the hidden layers and the output.
        loss: of outputs (n, widths[-1]) and the indices (n,) of their vectors.
        step: told how far training is; may raise to stop it.
        training: its length, rates and chance.
    """
    x = torch.from_numpy(X)
    mean, spread = x.mean(0), (x.std(0).mean() if len(x) > 1 else x.std(unbiased=False)).clamp_min(1e-12)
    x = (x - mean) / spread
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        linears = [nn.Linear(a, b) for a, b in pairwise([x.shape[1], *widths])]
        norms = [nn.BatchNorm1d(width) for width in widths[:-1]]
        rest = nn.Sequential(nn.ReLU(), nn.Dropout(training.dropout))
        hidden = [nn.Sequential(linear, norm, rest) for linear, norm in zip(linears, norms, strict=False)]
        net = nn.Sequential(*hidden, linears[-1])
        batch = min(BATCH, len(x))
        steps = max(training.steps, training.epochs * -(-len(x) // batch))
        optimiser = torch.optim.AdamW(net.parameters(), lr=training.learning_rate, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, training.learning_rate, total_steps=steps)
        order = torch.randperm(len(x))
        for number in range(steps):
            if number % STEPS_A_REPORT == 0:
                step(number, steps)
            first = number * batch % len(x)
            if first + batch > len(x):
                order, first = torch.randperm(len(x)), 0
            pick = order[first : first + batch]
            optimiser.zero_grad()
            torch.autograd.backward(loss(net(x[pick]), pick))
            optimiser.step()
            schedule.step()
    step(steps, steps)
    layers = [_folded(linear, norm) for linear, norm in zip(linears, norms, strict=False)]
    layers.append((linears[-1].weight.detach(), linears[-1].bias.detach()))
    first_weight, first_bias = layers[0]
    layers[0] = (first_weight / spread, first_bias - first_weight @ (mean / spread))
    return layers


def forward(layers: Layers, X: Floats) -> torch.Tensor:
    """Outputs (N, K) of folded layers."""
    x = torch.from_numpy(np.ascontiguousarray(X))
    for weight, bias in layers[:-1]:
        x = torch.addmm(bias, x, weight.T).relu_()
    weight, bias = layers[-1]
    return torch.addmm(bias, x, weight.T)


def layer_arrays(layers: Layers) -> dict[str, NDArray[Any]]:
    """Folded layers as plain arrays."""
    return {
        f"layer{i}.{name}": tensor.numpy()
        for i, layer in enumerate(layers)
        for name, tensor in zip(("weight", "bias"), layer, strict=True)
    }


def layers_from(arrays: dict[str, NDArray[Any]]) -> Layers:
    """The inverse of :func:`layer_arrays`."""
    return [
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
