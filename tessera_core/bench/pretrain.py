"""``tessera bench pretrain``: our training step beside the plain reference form of the same step, in the same run.

The plain form follows the public single-GPU variant (docs/spec/model.md section 5): torch's own encoder layers, one forward pass
per view and one for the mixtures, the projector on each, seven D x D cross-correlations, AdamW. Both get the same weights, the same
views and mixtures and the same number of threads, and take turns; medians count. Drawing views is timed apart: the public
variant reads views made beforehand from files.
"""

from __future__ import annotations

import argparse
import copy
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tessera_core.inference.engine import available_cores
from tessera_core.inference.kernels import fast_bfloat16
from tessera_core.models.config import StackConfig
from tessera_core.models.encoder import Backbone
from tessera_core.models.layers import doy_encoding
from tessera_core.pretrain.config import PretrainConfig
from tessera_core.pretrain.projector import BatchNorm, Projector
from tessera_core.pretrain.trainer import StepInputs, Trainer

BATCH, DATES, PROJECTOR = 256, 40, 1024
REPEATS = 5
EPOCH = 800_000_000  # d-pixels of the published pretraining (docs/spec/facts.md section 1.3)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure; ``--quick`` takes an eighth of the work and two repeats."""
    quick = bool(getattr(args, "quick", False))
    return measure(BATCH // (4 if quick else 1), DATES // (2 if quick else 1), 2 if quick else REPEATS)


def measure(batch: int, dates: int, repeats: int, threads: int | None = None) -> dict[str, Any]:
    """Time ``repeats`` rounds of every form with ``batch`` pixels and ``dates`` observations per modality and view."""
    threads = threads or available_cores()
    before = torch.get_num_threads()
    dtypes = ["fp32"] + (["bf16"] if fast_bfloat16() else [])
    try:
        with tempfile.TemporaryDirectory() as folder:
            ours = {dtype: _trainer(Path(folder) / dtype, batch, dates, dtype, threads) for dtype in dtypes}
            return _compare(ours, batch, dates, repeats, threads)
    finally:
        torch.set_num_threads(before)


def _trainer(folder: Path, batch: int, dates: int, dtype: str, threads: int) -> Trainer:
    config = PretrainConfig.from_mapping(
        {
            "name": "studio-bench",
            "data": {"simulated": 2 * batch, "shards": 1},
            "views": {"s2": [dates, dates], "s1": [dates, dates]},
            "objective": {"projector": [PROJECTOR, PROJECTOR]},
            "run": {"batch": batch, "micro_batch": 64, "dtype": dtype, "threads": threads, "device": "cpu"},
        }
    )
    trainer = Trainer(config, folder)
    trainer.encoder.train()
    return trainer


def _compare(ours: dict[str, Trainer], batch: int, dates: int, repeats: int, threads: int) -> dict[str, Any]:
    first = ours["fp32"]
    pixels = first.reader(0)
    inputs = first.inputs(pixels, 0)
    plain = {dtype: PlainStep(first, dtype) for dtype in ours}
    works: dict[str, Callable[[], float]] = {f"plain_{dtype}": _bound(p, inputs, batch) for dtype, p in plain.items()}
    works |= {f"ours_{dtype}": _ours(t, inputs, batch) for dtype, t in ours.items()}
    works["views"] = lambda: float(len(first.inputs(pixels, 1).s2))
    for trainer in ours.values():
        for group in trainer.optimiser.param_groups:
            group["lr"] = 1e-4
    seconds: dict[str, list[float]] = {name: [] for name in works}
    losses: dict[str, float] = {}
    # The first round warms up, and its losses, with equal weights, must agree.
    for turn in range(repeats + 1):
        for name, work in works.items():
            started = time.perf_counter()
            value = work()
            if turn:
                seconds[name].append(time.perf_counter() - started)
            else:
                losses[name] = value
    medians = {name: float(np.median(times)) for name, times in seconds.items()}
    best = min(ours, key=lambda dtype: medians[f"ours_{dtype}"])
    whole = medians[f"ours_{best}"] + medians["views"]
    losses.pop("views")
    return {
        "machine": {
            "cores": available_cores(),
            "threads": threads,
            "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
            "torch": torch.__version__,
            "fast_bfloat16": "bf16" in ours,
        },
        "step": {
            "model": "v2-nano",
            "parameters": sum(p.numel() for p in first.encoder.parameters()),
            "batch": batch,
            "observations": f"{dates} + {dates} per view, two views and as many mixtures",
            "projector": [PROJECTOR, PROJECTOR],
            "repeats": repeats,
        },
        "seconds": {name: round(value, 4) for name, value in medians.items()},
        "spread": {name: [round(min(times), 4), round(max(times), 4)] for name, times in seconds.items()},
        "loss_of_the_first_step": {name: round(value, 4) for name, value in losses.items()},
        "dtype": best,
        "pixels_per_second": round(batch / whole, 1),
        "reference_pixels_per_second": round(batch / medians["plain_fp32"], 1),
        # The public variant on a processor is float32; ours is in its quicker dtype here, with equal dtypes below.
        "ratio_reference": round(medians["plain_fp32"] / medians[f"ours_{best}"], 2),
        **{f"ratio_reference_{d}": round(medians[f"plain_{d}"] / medians[f"ours_{d}"], 2) for d in ours},
        "hours_per_epoch": round(EPOCH * whole / batch / 3600, 1),
        "reference_hours_per_epoch": round(EPOCH * medians["plain_fp32"] / batch / 3600, 1),
        "assumption": (
            f"An epoch is one pass over {EPOCH:,} d-pixels, as published. Extrapolated from the median step at this batch, model "
            "and machine, drawing of views included for ours, as if throughput stayed the same, reading from disk cost nothing "
            "and probes and checkpoints were rare. The published encoder has about 43 times as many parameters and ran on GPUs."
        ),
    }


def _ours(trainer: Trainer, inputs: StepInputs, batch: int) -> Callable[[], float]:
    return lambda: float(trainer.update(inputs, batch, None)[0])


def _bound(plain: PlainStep, inputs: StepInputs, batch: int) -> Callable[[], float]:
    return lambda: plain(inputs, batch)


# -- the peer ----------------------------------------------------------------------------------------------------------------


class PlainStep:
    """The step written down as the formulas say, with a copy of a trainer's weights."""

    def __init__(self, trainer: Trainer, dtype: str) -> None:
        self.lambda_, self.mixup = trainer.config.objective.lambda_, trainer.config.objective.mixup
        self.dtype, self.clip = dtype, trainer.config.optimiser.clip
        encoder = trainer.encoder
        self.s2 = _PlainBackbone(encoder.s2_backbone, encoder.config.s2)
        self.s1 = _PlainBackbone(encoder.s1_backbone, encoder.config.s1)
        self.reducer = copy.deepcopy(encoder.dim_reducer)
        parts: list[nn.Module] = []
        projector = copy.deepcopy(trainer.projectors[0])
        assert isinstance(projector, Projector)
        for part in projector.net:
            parts.append(nn.BatchNorm1d(int(part.num_features)) if isinstance(part, BatchNorm) else part)
        self.projector = nn.Sequential(*parts)
        modules = nn.ModuleList([self.s2, self.s1, self.reducer, self.projector]).train()
        self.parameters = list(modules.parameters())
        self.optimiser = torch.optim.AdamW(self.parameters, lr=1e-4, weight_decay=1e-6)

    def __call__(self, inputs: StepInputs, batch: int) -> float:
        """Take one step; returns its loss."""
        self.optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.dtype == "bf16"):
            z = []
            for s2, s1 in zip(inputs.s2.split(batch), inputs.s1.split(batch), strict=True):
                z.append(self.projector(self.reducer(torch.cat((self.s2(s2), self.s1(s1)), 1))))
        z1, z2, zm = (each.float() for each in z)
        c = _correlation(z1, z2)
        on = (torch.diagonal(c) - 1).pow(2).sum()
        off = (c - torch.diag(torch.diagonal(c))).pow(2).sum()
        order, a = inputs.order, inputs.alpha
        first = _correlation(zm, z1) - (a * _correlation(z1, z1) + (1 - a) * _correlation(z2[order], z1))
        second = _correlation(zm, z2) - (a * _correlation(z1, z2) + (1 - a) * _correlation(z2[order], z2))
        loss: Tensor = on + self.lambda_ * (off + self.mixup * (first.pow(2).sum() + second.pow(2).sum()))
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.optimiser.step()
        return float(loss.detach())


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    a, b = ((x - x.mean(0)) / x.std(0).clamp_min(1e-9) for x in (a, b))
    return a.T @ b / len(a)


class _PlainBackbone(nn.Module):
    """A backbone of torch's own encoder layers."""

    def __init__(self, backbone: Backbone, stack: StackConfig) -> None:
        super().__init__()
        self.embedding, self.attn_pool = copy.deepcopy(backbone.embedding), copy.deepcopy(backbone.attn_pool)
        self.width = backbone.width
        layer = nn.TransformerEncoderLayer(self.width, stack.heads, stack.feedforward, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, stack.layers, enable_nested_tensor=False)
        self.layers.load_state_dict(backbone.transformer_encoder.state_dict())

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C + 1) -> (B, d)."""
        tokens = self.layers(self.embedding(x[..., :-1]) + doy_encoding(x[..., -1], self.width))
        return self.attn_pool(tokens)
