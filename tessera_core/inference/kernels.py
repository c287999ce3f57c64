"""The few operations the engine spends its time in, each by the quickest means this machine has.

Owns the choice between oneDNN's fused linear layers, the compiled attention of :mod:`tessera_core.inference.native` and plain
torch, which is always there and exact. Knows tensors only: no models, pixels or files.

Tokens of many pixels lie packed in one (M, d) matrix, pixel after pixel, without padding. A :class:`Run` is a stretch of
consecutive pixels with equally many tokens.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tessera_core._utils import torch_private
from tessera_core.inference import native
from tessera_core.models.config import ResetGate


def fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 natively (AVX512-BF16 or AMX) and oneDNN can use it."""
    return torch_private.HAS_ONEDNN and torch_private.native_bfloat16()


@dataclass(frozen=True)
class Run:
    """Consecutive pixels whose sequences have the same structure.

    Attributes:
        pixels: how many pixels.
        tokens: distinct observations of each.
        log_multiplicity: float32 (tokens,), log of how often each observation counts; None where all count once.
        order: int64 (steps,), the sequence a recurrent pooling sees, as token numbers; None for tokens in order.
    """

    pixels: int
    tokens: int
    log_multiplicity: NDArray[np.float32] | None = None
    order: NDArray[np.int64] | None = None


class Layout:
    """Where the tokens of each pixel lie in a packed batch.

    Attributes:
        runs: the batch's runs, in order.
        offsets: int32 (P + 1,), first token of each pixel and the total.
        bias: float32 (M,) log multiplicity of each token, or None where every token counts once.
    """

    def __init__(self, runs: Sequence[Run], device: torch.device) -> None:
        self.runs = [run for run in runs if run.pixels and run.tokens]
        self.device = device
        self._biases: dict[tuple[int, torch.dtype], Tensor] = {}
        lengths = np.repeat([r.tokens for r in self.runs], [r.pixels for r in self.runs])
        self.offsets = np.zeros(len(lengths) + 1, np.int32)
        np.cumsum(lengths, out=self.offsets[1:])
        self.pixels, self.tokens = len(lengths), int(self.offsets[-1])
        self.bias: NDArray[np.float32] | None = None
        if any(r.log_multiplicity is not None for r in self.runs):
            parts = [
                np.tile(np.zeros(r.tokens, np.float32) if r.log_multiplicity is None else r.log_multiplicity, r.pixels)
                for r in self.runs
            ]
            self.bias = np.ascontiguousarray(np.concatenate(parts), np.float32)

    def slices(self) -> list[tuple[Run, slice, slice]]:
        """Each run with its slice of pixels and its slice of tokens."""
        out, pixel, token = [], 0, 0
        for run in self.runs:
            out.append((run, slice(pixel, pixel + run.pixels), slice(token, token := token + run.pixels * run.tokens)))
            pixel += run.pixels
        return out

    def run_bias(self, run: Run, dtype: torch.dtype) -> Tensor | None:
        """The run's log multiplicities (tokens,) on the batch's device."""
        if run.log_multiplicity is None:
            return None
        key = id(run), dtype
        if key not in self._biases:
            self._biases[key] = torch.from_numpy(run.log_multiplicity).to(self.device, dtype)
        return self._biases[key]


class Linear:
    """A linear layer ready for inference; ``relu`` and ``plus`` fuse what follows it where the library can."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, device: torch.device) -> None:
        self.weight = weight.detach().to(device, dtype).contiguous()
        self.bias = None if bias is None else bias.detach().to(device, dtype).contiguous()
        # On AMD processors MKL's float32 product reaches less than half of oneDNN's rate.
        self.onednn = torch_private.HAS_ONEDNN and device.type == "cpu" and self.weight.shape[1] > 1
        if self.onednn:
            self.packed = torch_private.packed_weight(self.weight)

    def __call__(self, x: Tensor) -> Tensor:
        """``x W^T + b``: (M, k) -> (M, n)."""
        if self.onednn:
            return torch_private.linear(x, self.packed, self.bias)
        return F.linear(x, self.weight, self.bias)

    def relu(self, x: Tensor) -> Tensor:
        """``max(0, x W^T + b)``."""
        if self.onednn:
            return torch_private.linear(x, self.packed, self.bias, "relu")
        return F.linear(x, self.weight, self.bias).relu_()

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """``other + x W^T + b``."""
        if self.onednn:
            return torch_private.linear_plus(x, other, self.packed, self.bias)
        return F.linear(x, self.weight, self.bias).add_(other)


class LayerNorm:
    """LayerNorm over the last axis, eps 1e-5, statistics in float32 whatever the dtype."""

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype, device: torch.device) -> None:
        self.width = (weight.shape[0],)
        # Gains stay in float32 beside bfloat16 activations on the CPU, where mixed arguments are supported.
        kept = torch.float32 if device.type == "cpu" else dtype
        self.weight, self.bias = (t.detach().to(device, kept).contiguous() for t in (weight, bias))

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """(M, d) -> (M, d); ``out`` may be x itself where the caller is done with it."""
        if native.usable(x, self.width[0]) and self.weight.dtype == torch.float32:
            return native.layer_norm(x, self.weight, self.bias, torch.empty_like(x) if out is None else out)
        return F.layer_norm(x, self.width, self.weight, self.bias, 1e-5)


def _add_norm(product: Tensor, residual: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.layer_norm((product + residual).float(), weight.shape, weight.float(), bias.float(), 1e-5).to(
        product.dtype
    )


def _gates(product: Tensor, given: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    width = state.shape[1]
    gates = torch.sigmoid(product.float() + given[:, : 2 * width].float())
    return (gates[:, :width] * state).to(product.dtype), gates[:, width:]


def _gates_after(product: Tensor, given: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The gates where r acts on the candidate's product: that product, reset, and z."""
    width = state.shape[1]
    gates = torch.sigmoid(product[:, : 2 * width].float() + given[:, : 2 * width].float())
    return gates[:, :width] * product[:, 2 * width :].float(), gates[:, width:]


def _advance(
    product: Tensor, given: Tensor, state: Tensor, z: Tensor, folded: Tensor, total: float
) -> tuple[Tensor, Tensor, Tensor]:
    candidate = torch.tanh(product.float() + given[:, 2 * state.shape[1] :].float())
    state = torch.lerp(state, candidate, z)
    var, mean = torch.var_mean(state, dim=1, correction=0)
    logits = ((state * folded).sum(1) - mean * total) * torch.rsqrt(var + 1e-5)
    return state, state.to(given.dtype), logits


@lru_cache(maxsize=8)
def _fused(function: Callable[..., Any], device: str) -> Callable[..., Any]:
    """The function as one GPU kernel where torch can compile it (needs Triton); itself elsewhere."""
    if device != "cuda" or importlib.util.find_spec("triton") is None:
        return function
    return torch.compile(function, dynamic=True)


def residual_norm(linear: Linear, x: Tensor, residual: Tensor, norm: LayerNorm) -> Tensor:
    """``norm(residual + linear(x))``, with as few passes over memory as the device allows."""
    if x.device.type == "cuda":
        return _fused(_add_norm, "cuda")(linear(x), residual, norm.weight, norm.bias)
    total = linear.plus(x, residual)
    return norm(total, out=total)


class Embedding:
    """``relu(x W^T + b)`` of few inputs kept in float32, the result in the dtype of the work."""

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype, device: torch.device) -> None:
        self.width, self.dtype = weight.shape[0], dtype
        self.plain = Linear(weight, bias, torch.float32, device)
        pad = -self.width % 16
        self.columns = F.pad(weight.detach().float(), (0, 0, 0, pad)).t().contiguous()
        self.offset = F.pad(bias.detach().float(), (0, pad)).contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        """float32 (M, k) -> (M, d)."""
        if native.usable(x, self.width):
            return native.embed(x, self.columns, self.offset, self.width, self.dtype)
        return self.plain.relu(x).to(self.dtype)


def attention(qkv: Tensor, layout: Layout, heads: int) -> Tensor:
    """Self-attention inside each pixel.

    Args:
        qkv: (M, 3 d) queries, keys and values side by side, heads contiguous inside each.
        layout: where the pixels' tokens lie; its log multiplicities are added to the logits of the keys.
        heads: attention heads.

    Returns:
        (M, d).
    """
    width = qkv.shape[1] // 3
    if native.attention_usable(qkv, width // heads):
        return native.attention(qkv, layout.offsets, layout.bias, heads)
    out = qkv.new_empty(qkv.shape[0], width)
    for run, _, tokens in layout.slices():
        q, k, v = qkv[tokens].view(run.pixels, run.tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        bias = layout.run_bias(run, qkv.dtype)
        mask = None if bias is None else bias.expand(1, 1, 1, run.tokens)
        values = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out[tokens].view(run.pixels, run.tokens, heads, width // heads).copy_(values.transpose(1, 2))
    return out


def pool(x: Tensor, query: Tensor, layout: Layout) -> Tensor:
    """Softmax over each pixel's tokens of ``<query, x>`` plus log multiplicity, then the weighted sum of ``x`` (M, d).

    Args:
        x: (M, d) tokens.
        query: (d,) float32; a constant added to all scores would cancel.
        layout: which tokens belong to which pixel.

    Returns:
        (P, d) float32.
    """
    if native.usable(x, x.shape[1]):
        return native.pool(x, query, layout.offsets, layout.bias)
    out = torch.empty(layout.pixels, x.shape[1], dtype=torch.float32, device=x.device)
    for run, pixels, tokens in layout.slices():
        values = x[tokens].view(run.pixels, run.tokens, -1).float()
        bias = layout.run_bias(run, torch.float32)
        logits = (values @ query).unsqueeze(1)
        weights = torch.softmax(logits if bias is None else logits + bias, dim=-1)
        out[pixels] = torch.bmm(weights, values).squeeze(1)
    return out


class RecurrentLogits:
    """TESSERA's recurrent cell (spec 1.3) with its LayerNorm and query: pooling logits of a repeated sequence.

    The input projections of all distinct tokens are one product; the state's r and z projections another per step. The state
    is kept in float32. The LayerNorm never materialises: ``<LN(h) g + b, q> = (<h, g q> - mean(h) sum(g q)) / std(h)`` plus a
    constant that the softmax over time cancels.

    Args:
        inputs: weight (3 d, d) and bias (3 d,) of the input projections r, z, n.
        rz, candidate: state weights (2 d, d) and (d, d).
        folded: gain times query, float32 (d,).
        reset: ``"before"`` or ``"after"`` the candidate's product; after, all three state products of a step are one.
    """

    def __init__(
        self,
        inputs: tuple[Tensor, Tensor],
        rz: Tensor,
        candidate: Tensor,
        folded: Tensor,
        dtype: torch.dtype,
        device: torch.device,
        reset: ResetGate = "before",
    ) -> None:
        self.inputs, self.reset = Linear(*inputs, dtype, device), reset
        self.rz, self.candidate = Linear(rz, None, dtype, device), Linear(candidate, None, dtype, device)
        self.together = Linear(torch.cat((rz, candidate)), None, dtype, device) if reset == "after" else None
        self.folded = folded.detach().float().to(device).contiguous()
        self.total = float(self.folded.sum())
        self.dtype = dtype

    def __call__(self, values: Tensor, order: Tensor) -> Tensor:
        """Logits (B, steps) float32 of ``values`` (B, T, d) visited in ``order`` (steps,)."""
        pixels, tokens, width = values.shape
        inputs = self.inputs(values.reshape(-1, width)).view(pixels, tokens, 3 * width)
        state = torch.zeros(pixels, width, device=values.device)
        logits = torch.empty(pixels, len(order), device=values.device)
        compiled = width % 16 == 0 and native.usable(inputs, width)
        z, rounded = torch.empty_like(state), torch.zeros_like(state, dtype=self.dtype)
        for step, token in enumerate(order.tolist()):
            given, device = inputs[:, token], values.device.type
            if self.together is not None:
                product = self.together(rounded)
                if compiled:
                    native.gru_after(product, given, state, rounded, self.folded, self.total, logits[:, step])
                    continue
                product, z = _fused(_gates_after, device)(product, given, state)
                state, rounded, logits[:, step] = _fused(_advance, device)(
                    product, given, state, z, self.folded, self.total
                )
                continue
            if compiled:
                reset = torch.empty_like(rounded)
                native.gru_gates(self.rz(rounded), given, state, z, reset)
                product = self.candidate(reset)
                native.gru_update(product, given, state, z, rounded, self.folded, self.total, logits[:, step])
                continue
            reset, z = _fused(_gates, device)(self.rz(rounded), given, state)
            product = self.candidate(reset)
            state, rounded, logits[:, step] = _fused(_advance, device)(
                product, given, state, z, self.folded, self.total
            )
        return logits
