"""Training of small networks, by PyTorch; :mod:`tessera_core.heads.mlp` loads it when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tessera_core.types import Floats

BATCH = 1024
STEPS_A_REPORT = 10


def train_layers(
    X: Floats,
    targets: NDArray[np.intp] | NDArray[np.float64],
    weight: NDArray[np.float64],
    widths: tuple[int, ...],
    step: Callable[[int, int], None],
    *,
    steps: int,
    epochs: int,
    dropout: float,
    learning_rate: float,
    seed: int,
) -> list[tuple[Floats, Floats]]:
    """Train a perceptron and fold its normalisations into its layers.

    Args:
        X: finite vectors (N, D).
        targets: (N,), classes as whole numbers, learnt by their cross-entropy, or numbers, by Huber's loss: squares near,
            distances far, so that a wrong label does not rule; or (N, K) from 0 to 1, by the cross-entropy of each column, where
            several classes hold at once.
        weight: (N,) of each vector.
        widths: of the hidden layers and the output.
        step: told how far training is; may raise to stop it.
        steps, epochs: the least of each.
        dropout, learning_rate, seed: see :class:`tessera_core.heads.mlp.MLPHead`.

    Returns:
        Weights (out, in) and biases (out,) of each layer.
    """
    classes = targets.dtype.kind == "i"
    y, w = torch.from_numpy(targets), torch.from_numpy(weight).float()
    y = y if classes else y.float()

    def loss(out: torch.Tensor, pick: torch.Tensor) -> torch.Tensor:
        if classes:
            each = nn.functional.cross_entropy(out, y[pick], reduction="none", label_smoothing=0.05)
        elif y.ndim == 2:
            each = nn.functional.binary_cross_entropy_with_logits(out, y[pick], reduction="none").mean(1)
        else:
            each = nn.functional.huber_loss(out[:, 0], y[pick], reduction="none")
        return (each * w[pick]).sum() / w[pick].sum()

    x = torch.from_numpy(X)
    mean, spread = x.mean(0), (x.std(0).mean() if len(x) > 1 else x.std(unbiased=False)).clamp_min(1e-12)
    x = (x - mean) / spread
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        linears = [nn.Linear(a, b) for a, b in pairwise([x.shape[1], *widths])]
        norms = [nn.BatchNorm1d(width) for width in widths[:-1]]
        rest = nn.Sequential(nn.ReLU(), nn.Dropout(dropout))
        hidden = [nn.Sequential(linear, norm, rest) for linear, norm in zip(linears, norms, strict=False)]
        net = nn.Sequential(*hidden, linears[-1])
        batch = min(BATCH, len(x))
        steps = max(steps, epochs * -(-len(x) // batch))
        optimiser = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps)
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
    return [(weight.numpy(), bias.numpy()) for weight, bias in layers]


def _folded(linear: nn.Linear, norm: nn.BatchNorm1d) -> tuple[torch.Tensor, torch.Tensor]:
    """The linear layer that equals ``linear`` followed by ``norm`` in evaluation."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight / (norm.running_var + norm.eps).sqrt()
    weight = linear.weight * gain[:, None]
    bias = (linear.bias - norm.running_mean) * gain + norm.bias
    return weight.detach(), bias.detach()
