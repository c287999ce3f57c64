"""The parts TESSERA encoders are built from, as plain torch modules with the published parameter names.

Shapes: B pixels, T observations, d model width, h heads. Every module is exact in float32 and trainable. Nothing here knows
versions, bands or checkpoints.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# RMSNorm's default follows the dtype of its input; the reference evaluates q/k norms in float32.
_RMS_EPS = torch.finfo(torch.float32).eps


def doy_encoding(doys: Tensor, width: int) -> Tensor:
    """Sinusoidal encoding of the day of year, unscaled, in float32 (spec 1.1; Vaswani et al. 2017, arXiv 1706.03762).

    Args:
        doys: (...) day numbers; converted to float32, since bfloat16 would round days above 256.
        width: even model width d.

    Returns:
        (..., d) with sines at even and cosines at odd positions.
    """
    k = torch.arange(0, width, 2, dtype=torch.float32, device=doys.device)
    angles = doys.to(torch.float32).unsqueeze(-1) * torch.exp(k * (-math.log(10000.0) / width))
    return torch.stack((torch.sin(angles), torch.cos(angles)), dim=-1).flatten(-2)


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, log_multiplicity: Tensor | None, dropout: float) -> Tensor:
    """Multi-head attention of (B, T, d) projections; heads are contiguous slices of d.

    ``log_multiplicity`` (B, T) is added to the logits of each key: log(m) makes one token count as m equal ones (exact),
    -inf hides it.
    """
    batch, steps, width = q.shape
    q, k, v = (x.view(batch, steps, heads, width // heads).transpose(1, 2) for x in (q, k, v))
    bias = None if log_multiplicity is None else log_multiplicity[:, None, None, :].to(q.dtype)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout)
    return out.transpose(1, 2).reshape(batch, steps, width)


class PackedSelfAttention(nn.Module):
    """Self-attention whose q, k, v projections share one matrix, rows ordered q, k, v (as torch's MultiheadAttention)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor, log_multiplicity: Tensor | None = None) -> Tensor:
        """(B, T, d) -> (B, T, d)."""
        q, k, v = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        return self.out_proj(attend(q, k, v, self.heads, log_multiplicity, self.dropout if self.training else 0.0))


class TransformerLayer(nn.Module):
    """The standard post-norm encoder layer: ReLU, biases, LayerNorm eps 1e-5 (spec 1.1)."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = PackedSelfAttention(width, heads, dropout)
        self.linear1, self.linear2 = nn.Linear(width, feedforward), nn.Linear(feedforward, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, log_multiplicity: Tensor | None = None) -> Tensor:
        """(B, T, d) -> (B, T, d)."""
        x = self.norm1(x + self.drop(self.self_attn(x, log_multiplicity)))
        return self.norm2(x + self.drop(self.linear2(self.drop(F.relu(self.linear1(x))))))


class QKNormLayer(nn.Module):
    """Encoder layer with RMS-normalised query and key heads, pre- or post-norm (spec 1.1)."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float, pre_norm: bool) -> None:
        super().__init__()
        self.heads, self.dropout, self.pre_norm = heads, dropout, pre_norm
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.q_norm = nn.RMSNorm(width // heads, eps=_RMS_EPS)
        self.k_norm = nn.RMSNorm(width // heads, eps=_RMS_EPS)
        self.linear1, self.linear2 = nn.Linear(width, feedforward), nn.Linear(feedforward, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)

    def _attention(self, x: Tensor, log_multiplicity: Tensor | None) -> Tensor:
        v = self.v_proj(x)
        q = self._normalise_heads(self.q_proj(x), self.q_norm).to(v.dtype)
        k = self._normalise_heads(self.k_proj(x), self.k_norm).to(v.dtype)
        return self.out_proj(attend(q, k, v, self.heads, log_multiplicity, self.dropout if self.training else 0.0))

    def _normalise_heads(self, x: Tensor, norm: nn.RMSNorm) -> Tensor:
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        return norm(x.unflatten(-1, (self.heads, -1))).flatten(-2)

    def _feedforward(self, x: Tensor) -> Tensor:
        return self.linear2(self.drop(F.relu(self.linear1(x))))

    def forward(self, x: Tensor, log_multiplicity: Tensor | None = None) -> Tensor:
        """(B, T, d) -> (B, T, d)."""
        if self.pre_norm:
            x = x + self.drop(self._attention(self.norm1(x), log_multiplicity))
            return x + self.drop(self._feedforward(self.norm2(x)))
        x = self.norm1(x + self.drop(self._attention(x, log_multiplicity)))
        return self.norm2(x + self.drop(self._feedforward(x)))


class LayerStack(nn.Module):
    """Transformer layers one after another, without a final norm; children are named ``layers.<i>``."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, log_multiplicity: Tensor | None = None) -> Tensor:
        """(B, T, d) -> (B, T, d)."""
        for layer in self.layers:
            x = layer(x, log_multiplicity)
        return x


class BareLayerStack(nn.ModuleList):
    """The same with children named ``<i>``, as the students with QK norm were saved."""

    def forward(self, x: Tensor, log_multiplicity: Tensor | None = None) -> Tensor:
        """(B, T, d) -> (B, T, d)."""
        for layer in self:
            x = layer(x, log_multiplicity)
        return x


def custom_gru_scan(inputs: Tensor, state_rz: Tensor, state_n: Tensor, reset: str = "before") -> Tensor:
    """Run TESSERA's recurrent cell over time, from a zero state (spec 1.3).

    It is not the torch/cuDNN cell: the reset gate acts before the candidate's matrix product, and z selects the *new* state. With
    ``reset`` ``"after"`` the gate acts on that product, as in the published store 1.1/dclimate.

    Args:
        inputs: (B, T, 3d) input projections plus biases, for r, z and the candidate n.
        state_rz: (2d, d) state weights of r and z, stacked.
        state_n: (d, d) state weights of the candidate.

    Returns:
        (B, T, d) states.
    """
    width = state_n.shape[0]
    state = inputs.new_zeros(inputs.shape[0], width)
    states: list[Tensor] = []
    for step in inputs.unbind(1):
        r, z = torch.sigmoid(step[:, : 2 * width] + F.linear(state, state_rz)).chunk(2, dim=-1)
        product = F.linear(r * state, state_n) if reset == "before" else r * F.linear(state, state_n)
        candidate = torch.tanh(step[:, 2 * width :] + product)
        state = (1 - z) * state + z * candidate
        states.append(state)
    return torch.stack(states, dim=1)


class CustomGRUCell(nn.Module):
    """Parameters of TESSERA's recurrent cell: six bias-free matrices and three bias vectors (spec 1.3)."""

    def __init__(self, width: int, reset: str = "before") -> None:
        super().__init__()
        self.reset = reset
        self.W_ir, self.W_iz, self.W_ih = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.W_hr, self.W_hz, self.W_hh = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.b_r, self.b_z, self.b_h = (nn.Parameter(torch.zeros(width)) for _ in range(3))

    def input_weight(self) -> tuple[Tensor, Tensor]:
        """Weight (3d, d) and bias (3d,) of the input projections r, z, n, which do not depend on the state."""
        weight = torch.cat((self.W_ir.weight, self.W_iz.weight, self.W_ih.weight))
        return weight, torch.cat((self.b_r, self.b_z, self.b_h))

    def state_weight(self) -> tuple[Tensor, Tensor]:
        """Weights of the state: (2d, d) for r and z, (d, d) for the candidate."""
        return torch.cat((self.W_hr.weight, self.W_hz.weight)), self.W_hh.weight

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) inputs -> (B, T, d) states; the input projections of all steps are one matrix product."""
        return custom_gru_scan(F.linear(x, *self.input_weight()), *self.state_weight(), self.reset)


class CustomGRU(nn.Module):
    """Wraps the cell so that parameters are named ``gru_cell.*``."""

    def __init__(self, width: int, reset: str = "before") -> None:
        super().__init__()
        self.gru_cell = CustomGRUCell(width, reset)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (B, T, d)."""
        return self.gru_cell(x)


class TorchGRU(nn.GRU):
    """One-layer unidirectional torch GRU from a zero state that returns only its outputs."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(B, T, d) -> (B, T, d)."""
        return super().forward(x)[0]


class AttentionPooling(nn.Module):
    """Softmax-weighted mean over time; scores come from the tokens or, where given, from a recurrent context of them.

    The context only decides the weights: what is summed are always the tokens (spec 1.1).
    """

    def __init__(self, width: int, pooling: str, reset: str = "before") -> None:
        super().__init__()
        self.query = nn.Linear(width, 1)
        self.temporal_context: nn.Module | None = None
        self.layer_norm: nn.Module | None = None
        if pooling == "torch-gru":
            self.temporal_context = TorchGRU(width)
        elif pooling == "custom-gru":
            self.temporal_context = CustomGRU(width, reset)
            self.layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, log_multiplicity: Tensor | None = None) -> Tensor:
        """(B, T, d) -> (B, d)."""
        context = x
        if self.temporal_context is not None:
            if log_multiplicity is not None:
                raise ValueError(
                    "recurrent pooling needs every repeated observation in its place, not its multiplicity"
                )
            context = self.temporal_context(x)
        if self.layer_norm is not None:
            context = self.layer_norm(context)
        scores = self.query(context).squeeze(-1)
        if log_multiplicity is not None:
            scores = scores + log_multiplicity
        weights = torch.softmax(scores, dim=1)
        return torch.einsum("bt,btd->bd", weights.to(x.dtype), x)
