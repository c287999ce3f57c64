"""A backbone's forward pass on packed tokens: the same mathematics as :mod:`tessera_core.models.encoder`, arranged for speed.

Every distinct observation is computed once; repetitions enter as log multiplicities, which is exact (docs/spec/performance.md
section 7), and recurrent poolings see the repeated sequence in its order. Weights are copied once in the dtype of the work.
Knows nothing of tiles, bands or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tessera_core.inference import kernels
from tessera_core.inference.kernels import Embedding, LayerNorm, Layout, Linear, RecurrentLogits
from tessera_core.models.config import EncoderConfig, StackConfig
from tessera_core.models.encoder import Backbone
from tessera_core.models.layers import doy_encoding

LAST_DAY = 366


@dataclass(frozen=True)
class Batch:
    """Packed observations of some pixels, one sensor.

    Attributes:
        rows: (M, C + 1) float32: normalised bands, then the day of year, a whole number 0..366.
        layout: which tokens belong to which pixel.
    """

    rows: Tensor
    layout: Layout


class _Layer:
    """One transformer layer, post- or pre-norm, with or without query/key normalisation."""

    def __init__(
        self,
        state: Mapping[str, Tensor],
        prefix: str,
        heads: int,
        config: EncoderConfig,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        def linear(name: str) -> Linear:
            return Linear(state[f"{prefix}{name}.weight"], state[f"{prefix}{name}.bias"], dtype, device)

        def norm(name: str) -> LayerNorm:
            kept = torch.float32 if config.norm == "pre" else dtype
            return LayerNorm(state[f"{prefix}{name}.weight"], state[f"{prefix}{name}.bias"], kept, device)

        self.heads, self.pre = heads, config.norm == "pre"
        self.gains: tuple[Tensor, Tensor] | None = None
        if config.qk_norm:
            names = ("q_proj", "k_proj", "v_proj")
            weight = torch.cat([state[f"{prefix}{n}.weight"] for n in names])
            bias = torch.cat([state[f"{prefix}{n}.bias"] for n in names])
            self.qkv, self.out = Linear(weight, bias, dtype, device), linear("out_proj")
            self.gains = tuple(state[f"{prefix}{n}.weight"].to(device) for n in ("q_norm", "k_norm"))  # type: ignore[assignment]
        else:
            attn = f"{prefix}self_attn."
            self.qkv = Linear(state[f"{attn}in_proj_weight"], state[f"{attn}in_proj_bias"], dtype, device)
            self.out = linear("self_attn.out_proj")
        self.up, self.down = linear("linear1"), linear("linear2")
        self.norm1, self.norm2 = norm("norm1"), norm("norm2")
        self.dtype = dtype

    def _attend(self, x: Tensor, layout: Layout) -> Tensor:
        qkv = self.qkv(x)
        if self.gains is not None:
            width = qkv.shape[1] // 3
            for part, gain in enumerate(self.gains):
                view = qkv[:, part * width : (part + 1) * width]
                heads = view.float().unflatten(-1, (self.heads, -1))
                # RMS in float32 also beside bfloat16, as the reference does under autocast.
                normed = F.rms_norm(heads, (heads.shape[-1],), gain, torch.finfo(torch.float32).eps)
                view.copy_(normed.flatten(-2))
        return kernels.attention(qkv, layout, self.heads)

    def __call__(self, x: Tensor, layout: Layout) -> Tensor:
        """(M, d) -> (M, d)."""
        if self.pre:
            # The residual stream has no norm to bound its rounding, so it stays in float32.
            x = x.float()
            x = x + self.out(self._attend(self.norm1(x).to(self.dtype), layout)).float()
            return x + self.down(self.up.relu(self.norm2(x).to(self.dtype))).float()
        x = kernels.residual_norm(self.out, self._attend(x, layout), x, self.norm1)
        return kernels.residual_norm(self.down, self.up.relu(x), x, self.norm2)


class FastBackbone:
    """One sensor's backbone, ready to run on packed batches.

    Args:
        backbone: the published-name module whose weights are used.
        config, stack: the encoder's configuration and this backbone's stack.
        dtype: torch.float32 (exact to rounding) or torch.bfloat16.
        device: where to run.
    """

    def __init__(
        self, backbone: Backbone, config: EncoderConfig, stack: StackConfig, dtype: torch.dtype, device: torch.device
    ) -> None:
        state = {name: tensor.detach().float() for name, tensor in backbone.state_dict().items()}
        self.config, self.dtype, self.device = config, dtype, device
        # Raw band values keep float32 into the first layer: it is tiny, and inputs rounded to bfloat16 cost accuracy.
        # The day of year rides along in the last column under zero weights, which spares splitting the rows.
        bands = F.pad(state["embedding.0.weight"], (0, 1))
        self.embed1 = Embedding(bands, state["embedding.0.bias"], dtype, device)
        self.embed2 = Linear(state["embedding.2.weight"], state["embedding.2.bias"], dtype, device)
        self.days = doy_encoding(torch.arange(LAST_DAY + 1), config.width).to(device, dtype)
        level = "" if "transformer_encoder.0.norm1.weight" in state else "layers."
        self.layers = [
            _Layer(state, f"transformer_encoder.{level}{i}.", stack.heads, config, dtype, device)
            for i in range(stack.layers)
        ]
        self.query = state["attn_pool.query.weight"].to(device).flatten()
        self.gru: torch.nn.Module | None = None
        self.context: RecurrentLogits | None = None
        if config.pooling == "custom-gru":
            cell = "attn_pool.temporal_context.gru_cell."
            self.context = RecurrentLogits(
                (
                    torch.cat([state[f"{cell}W_i{g}.weight"] for g in "rzh"]),
                    torch.cat([state[f"{cell}b_{g}"] for g in "rzh"]),
                ),
                torch.cat([state[f"{cell}W_h{g}.weight"] for g in "rz"]),
                state[f"{cell}W_hh.weight"],
                state["attn_pool.layer_norm.weight"].to(device) * self.query,
                dtype,
                device,
                config.reset,
            )
        elif config.pooling == "torch-gru":
            self.gru = backbone.attn_pool.temporal_context

    def tokens(self, batch: Batch) -> Tensor:
        """Output of the transformer layers for every token: (M, d)."""
        x = self.embed1(batch.rows)
        x = self.embed2.plus(x, self.days.index_select(0, batch.rows[:, -1].int()))
        for layer in self.layers:
            x = layer(x, batch.layout)
        return x

    def __call__(self, batch: Batch) -> Tensor:
        """Pooled vector of each pixel: (P, d) float32."""
        x = self.tokens(batch)
        if self.config.pooling == "attention":
            return kernels.pool(x, self.query, batch.layout)
        out = torch.empty(batch.layout.pixels, x.shape[1], dtype=torch.float32, device=x.device)
        for run, pixels, tokens in batch.layout.slices():
            values = x[tokens].view(run.pixels, run.tokens, -1)
            order = torch.arange(run.tokens) if run.order is None else torch.from_numpy(run.order)
            order = order.to(x.device)
            if len(order) == 1:
                out[pixels] = values[:, 0].float()
                continue
            if self.context is not None:
                scores = self.context(values, order)
            else:
                assert self.gru is not None
                scores = self.gru(values.float()[:, order]) @ self.query
            weights = torch.softmax(scores, dim=1)
            # A repeated observation's weights add up on its one token.
            gathered = torch.zeros(run.pixels, run.tokens, device=x.device).index_add_(1, order, weights)
            out[pixels] = torch.bmm(gathered.unsqueeze(1), values.float()).squeeze(1)
        return out
