"""The TESSERA encoder: two time-series backbones, fusion and reducer, for every published version.

One family of modules; what differs is named in :class:`~tessera_core.models.config.EncoderConfig`. Parameter names are the
published ones (spec 1.7). Input preparation, batching and files live elsewhere.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tessera_core.models.config import EncoderConfig, StackConfig
from tessera_core.models.layers import (
    AttentionPooling,
    BareLayerStack,
    LayerStack,
    QKNormLayer,
    TransformerLayer,
    doy_encoding,
)
from tessera_core.models.normalisation import S1_CHANNELS, S2_CHANNELS


def _stack(config: EncoderConfig, stack: StackConfig, *, bare: bool = False) -> LayerStack | BareLayerStack:
    layers: list[nn.Module] = [
        QKNormLayer(config.width, stack.heads, stack.feedforward, config.dropout, config.norm == "pre")
        if config.qk_norm
        else TransformerLayer(config.width, stack.heads, stack.feedforward, config.dropout)
        for _ in range(stack.layers)
    ]
    return BareLayerStack(layers) if bare else LayerStack(layers)


class Backbone(nn.Module):
    """One sensor's time series to one vector."""

    def __init__(self, config: EncoderConfig, stack: StackConfig, channels: int) -> None:
        super().__init__()
        self.channels, self.width = channels, config.width
        self.embedding = nn.Sequential(nn.Linear(channels, self.width), nn.ReLU(), nn.Linear(self.width, self.width))
        self.transformer_encoder = _stack(config, stack, bare=config.qk_norm and config.family == "v2-student")
        self.attn_pool = AttentionPooling(self.width, config.pooling, config.reset)

    def tokens(self, x: Tensor) -> Tensor:
        """Embedded observations (B, T, d) of ``x`` (B, T, C + 1), with the day-of-year encoding added."""
        return self.embedding(x[..., :-1]) + doy_encoding(x[..., -1], self.width)

    def forward(self, x: Tensor, log_multiplicity: Tensor | None = None) -> Tensor:
        """Pooled vector of each pixel.

        Args:
            x: (B, T, C + 1) float32: normalised bands, then the day of year as a plain number.
            log_multiplicity: optional (B, T) float32: log of how often each observation counts, -inf for filling. Exact for
                models without recurrent pooling, refused for the others.

        Returns:
            (B, d); zeros for T = 0.
        """
        if x.shape[1] == 0:
            return x.new_zeros(x.shape[0], self.width)
        return self.attn_pool(self.transformer_encoder(self.tokens(x), log_multiplicity), log_multiplicity)


class Encoder(nn.Module):
    """Sentinel-2 and Sentinel-1 time series of pixels to their representations."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        width, out = config.width, config.representation_dim
        self.s2_backbone = Backbone(config, config.s2, S2_CHANNELS)
        self.s1_backbone = Backbone(config, config.s1, S1_CHANNELS)
        self.fusion_transformer: LayerStack | BareLayerStack | None = None
        if config.fusion is not None:
            self.fusion_modality_embed = nn.Parameter(torch.empty(2, width))
            nn.init.normal_(self.fusion_modality_embed, std=0.02)
            self.fusion_transformer = _stack(config, config.fusion)
        parts: list[nn.Module] = [nn.Linear(2 * width, out)]
        if config.reducer == "mlp":
            hidden = 4 * width
            parts = [
                nn.Linear(2 * width, hidden),
                nn.LayerNorm(hidden),
                nn.ReLU(),
                nn.Dropout(config.reducer_dropout),
                nn.Linear(hidden, out),
            ]
        if config.final_layernorm:
            parts.append(nn.LayerNorm(out, elementwise_affine=False))
        self.dim_reducer = nn.Sequential(*parts)

    def fuse(self, s2: Tensor, s1: Tensor) -> Tensor:
        """Representation (B, representation_dim) of the two pooled vectors (B, d)."""
        if self.fusion_transformer is None:
            return self.dim_reducer(torch.cat((s2, s1), dim=-1))
        pair = torch.stack((s2, s1), dim=1) + self.fusion_modality_embed
        return self.dim_reducer(self.fusion_transformer(pair).flatten(1))

    def forward(self, s2: Tensor, s1: Tensor) -> Tensor:
        """Representations (B, representation_dim) of ``s2`` (B, T2, 11) and ``s1`` (B, T1, 3), float32.

        The embedding proper is the first ``config.output_dim`` values.
        """
        return self.fuse(self.s2_backbone(s2), self.s1_backbone(s1))
