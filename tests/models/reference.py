"""The published encoders the plain way, straight from docs/spec/model.md: numpy, float64, one pixel at a time.

Imports nothing of tessera_core, so that what it computes can prove what tessera_core computes. Slow, and never used by the product.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
State = Mapping[str, Array]


@dataclass(frozen=True)
class Model:
    """What the names and shapes of the weights do not tell.

    Attributes:
        family: ``"v1.0-fp32"``, ``"v1.0-qat"``, ``"v1.1"``, ``"v2-student"`` or ``"v2-teacher"``.
        heads: attention heads of the Sentinel-2 and of the Sentinel-1 branch.
        kept: leading values that are published.
        final_layernorm: whether the last thing is a LayerNorm without weights.
        bins: permitted sequence lengths.
        gate: of the custom GRU: ``"before"`` (1.3) or ``"after"`` the candidate's matrix product, which is wrong for these models
            and is how one publisher ran v1.1.
    """

    family: str
    heads: tuple[int, int]
    kept: int
    final_layernorm: bool = False
    bins: tuple[int, ...] = tuple(range(8, 257, 8))
    gate: str = "before"


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation by channel (2.2)."""

    s2: tuple[Array, Array]
    ascending: tuple[Array, Array]
    descending: tuple[Array, Array]


# -- section 1: structure ----------------------------------------------------------------------------------------------------


def day_encoding(days: Array, width: int) -> Array:
    """Sinusoids (T, width) of days (T,); the angles are float32 products, which the sine of a large angle shows (1.1)."""
    out = np.zeros((len(days), width))
    for k in range(0, width, 2):
        frequency = np.float32(np.exp(np.float32(k) * np.float32(-np.log(10000.0) / width)))
        angle = (np.asarray(days, np.float32) * frequency).astype(np.float64)
        out[:, k], out[:, k + 1] = np.sin(angle), np.cos(angle)
    return out


def linear(x: Array, state: State, name: str) -> Array:
    """``x W' + b``, or without b where there is none."""
    out = x @ state[f"{name}.weight"].astype(np.float64).T
    return out + state[f"{name}.bias"] if f"{name}.bias" in state else out


def layer_norm(x: Array, state: State | None = None, name: str = "") -> Array:
    """Mean 0 and variance 1 along the last axis, then gain and bias where there are some."""
    out = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return out if state is None else out * state[f"{name}.weight"] + state[f"{name}.bias"]


def softmax(x: Array) -> Array:
    """Along the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def attention(x: Array, state: State, name: str, heads: int) -> Array:
    """Self-attention (T, d) of a layer, with packed projections or with separate ones and normalised q and k."""
    width = x.shape[-1]
    size = width // heads
    packed = f"{name}.self_attn.in_proj_weight" in state
    if packed:
        rows = x @ state[f"{name}.self_attn.in_proj_weight"].T + state[f"{name}.self_attn.in_proj_bias"]
        q, k, v = rows[:, :width], rows[:, width : 2 * width], rows[:, 2 * width :]
    else:
        q, k, v = (linear(x, state, f"{name}.{part}_proj") for part in "qkv")
    out = np.zeros_like(x)
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        a, b = q[:, part], k[:, part]
        if not packed:
            a, b = (
                y / np.sqrt((y**2).mean(-1, keepdims=True) + 1.1920929e-07) * state[f"{name}.{which}_norm.weight"]
                for y, which in ((a, "q"), (b, "k"))
            )
        out[:, part] = softmax(a @ b.T / np.sqrt(size)) @ v[:, part]
    return linear(out, state, f"{name}.self_attn.out_proj" if packed else f"{name}.out_proj")


def layer(x: Array, state: State, name: str, heads: int, pre_norm: bool) -> Array:
    """One transformer layer (T, d) -> (T, d)."""

    def feedforward(y: Array) -> Array:
        return linear(np.maximum(linear(y, state, f"{name}.linear1"), 0), state, f"{name}.linear2")

    if pre_norm:
        x = x + attention(layer_norm(x, state, f"{name}.norm1"), state, name, heads)
        return x + feedforward(layer_norm(x, state, f"{name}.norm2"))
    x = layer_norm(x + attention(x, state, name, heads), state, f"{name}.norm1")
    return layer_norm(x + feedforward(x), state, f"{name}.norm2")


def stack(x: Array, state: State, name: str, heads: int, pre_norm: bool) -> Array:
    """All layers of a transformer, whose names may or may not have the level ``layers`` (1.7)."""
    level = f"{name}.layers" if any(key.startswith(f"{name}.layers.") for key in state) else name
    count = len({key[len(level) + 1 :].split(".")[0] for key in state if key.startswith(f"{level}.")})
    for i in range(count):
        x = layer(x, state, f"{level}.{i}", heads, pre_norm)
    return x


def torch_gru(x: Array, state: State, name: str) -> Array:
    """torch's GRU (1.2)."""
    width, h, out = x.shape[-1], np.zeros(x.shape[-1]), []
    w_i, w_h = state[f"{name}.weight_ih_l0"].astype(np.float64), state[f"{name}.weight_hh_l0"].astype(np.float64)
    b_i, b_h = state[f"{name}.bias_ih_l0"], state[f"{name}.bias_hh_l0"]
    for row in x:
        i, hidden = w_i @ row + b_i, w_h @ h + b_h
        r, z = sigmoid(i[:width] + hidden[:width]), sigmoid(i[width : 2 * width] + hidden[width : 2 * width])
        n = np.tanh(i[2 * width :] + r * hidden[2 * width :])
        h = (1 - z) * n + z * h
        out.append(h)
    return np.stack(out)


def custom_gru(x: Array, state: State, name: str, gate: str) -> Array:
    """TESSERA's own recurrent cell (1.3)."""
    w = {key: state[f"{name}.W_{key}.weight"].astype(np.float64) for key in ("ir", "iz", "ih", "hr", "hz", "hh")}
    b = {key: state[f"{name}.b_{key}"].astype(np.float64) for key in "rzh"}
    h, out = np.zeros(x.shape[-1]), []
    for row in x:
        r = sigmoid(w["ir"] @ row + w["hr"] @ h + b["r"])
        z = sigmoid(w["iz"] @ row + w["hz"] @ h + b["z"])
        recurrent = w["hh"] @ (r * h) if gate == "before" else r * (w["hh"] @ h)
        n = np.tanh(w["ih"] @ row + recurrent + b["h"])
        h = (1 - z) * h + z * n
        out.append(h)
    return np.stack(out)


def branch(rows: Array, state: State, name: str, model: Model, heads: int) -> Array:
    """One modality's rows (T, C + 1) to its pooled vector (d,)."""
    hidden = np.maximum(linear(rows[:, :-1].astype(np.float64), state, f"{name}.embedding.0"), 0)
    x = linear(hidden, state, f"{name}.embedding.2")
    x = x + day_encoding(rows[:, -1], x.shape[-1])
    x = stack(x, state, f"{name}.transformer_encoder", heads, model.family == "v2-teacher")
    context, pool = x, f"{name}.attn_pool"
    if f"{pool}.temporal_context.weight_ih_l0" in state:
        context = torch_gru(x, state, f"{pool}.temporal_context")
    elif f"{pool}.temporal_context.gru_cell.b_r" in state:
        context = custom_gru(x, state, f"{pool}.temporal_context.gru_cell", model.gate)
        context = layer_norm(context, state, f"{pool}.layer_norm")
    return softmax(linear(context, state, f"{pool}.query")[:, 0]) @ x


def encode(s2: Array, s1: Array, state: State, model: Model) -> Array:
    """A pixel's rows of both modalities to its representation."""
    a = branch(s2, state, "s2_backbone", model, model.heads[0])
    b = branch(s1, state, "s1_backbone", model, model.heads[1])
    pair = np.stack([a, b])
    if model.family == "v2-teacher":
        pair = stack(pair + state["fusion_modality_embed"], state, "fusion_transformer", 4, pre_norm=True)
    out = linear(pair.reshape(-1), state, "dim_reducer.0")
    if not model.family.startswith("v1.0"):
        out = linear(np.maximum(layer_norm(out, state, "dim_reducer.1"), 0), state, "dim_reducer.4")
    return layer_norm(out) if model.final_layernorm else out


# -- section 2: inputs -------------------------------------------------------------------------------------------------------


def filled(n: int, model: Model) -> list[int]:
    """Which of n > 0 valid observations make up a sequence (2.4 where nothing is left to chance, 2.5, 2.6)."""
    own = list(range(n))
    if model.family.startswith("v1.0"):
        if n not in (1, 40):
            raise ValueError(f"with {n} valid observations the draw of 40 is left to chance")
        return own if n == 40 else own * 40
    length = next((b for b in model.bins if b >= n), model.bins[-1])
    if model.family == "v1.1":
        if n > length:
            return [int(chunk[len(chunk) // 2]) for chunk in np.array_split(np.arange(n), length)]
        return own + [int(p) for p in np.rint(np.linspace(0, n - 1, length - n + 2)[1:-1])]
    missing = length - n
    if missing <= 0:
        step = (n - 1) / (length - 1)
        return [int(np.floor(i * step)) for i in range(length - 1)] + [n - 1]
    if missing <= n:
        return own + [int(chunk[len(chunk) // 2]) for chunk in np.array_split(np.arange(n), missing)]
    return (own * (length // n + 1))[:length]


def sequence(values: Array, days: Array, valid: Array, model: Model) -> Array:
    """Rows (L, C + 1) of one modality of one pixel from its normalised observations (T, C)."""
    rows = np.column_stack([values, days]).astype(np.float32)
    positions = np.flatnonzero(valid)
    if not len(positions) and model.family.startswith("v1.0"):
        # All positions may be drawn: 40 of 40 are all of them, and of equal ones any will do.
        if len(rows) != 40 and len(np.unique(rows, axis=0)) > 1:
            raise ValueError("the draw among invalid observations is left to chance")
        return rows if len(rows) == 40 else np.repeat(rows[:1], 40, axis=0)
    if not len(positions):
        return np.zeros((model.bins[0] if model.family == "v1.1" else 1, rows.shape[1]), np.float32)
    return rows[positions[filled(len(positions), model)]]


def standardised(raw: Array, statistics: tuple[Array, Array]) -> Array:
    """``(raw - mean) / std`` in float32."""
    mean, std = (np.asarray(part, np.float32) for part in statistics)
    return (raw.astype(np.float32) - mean) / std


def embed(tile: Mapping[str, Array], state: State, model: Model, statistics: Statistics) -> tuple[Array, Array]:
    """Representations (H, W, D) float64 of a tile, zeros where the encoder is not run, and where it is (H, W) bool.

    Args:
        tile: arrays by the file names of 4.1 without ending.
        state: weights by the names of 1.7.
        model: what they belong to.
        statistics: what its inputs are normalised with.
    """
    passes, days, scaled = [], [], []
    for name, which in (("ascending", statistics.ascending), ("descending", statistics.descending)):
        sar, doys = tile[f"sar_{name}"], tile[f"sar_{name}_doy"]
        if not len(doys):
            if model.family != "v1.0-qat":
                continue
            sar, doys = np.zeros((1, *tile["bands"].shape[1:3], 2), np.int16), np.array([180])
        passes.append(sar)
        days.append(doys)
        scaled.append(standardised(sar, which))
    height, width = tile["bands"].shape[1:3]
    none = np.zeros((0, height, width, 2))
    radar, normal = (np.concatenate(parts) if parts else none for parts in (passes, scaled))
    radar_days = np.concatenate(days) if days else np.zeros(0)
    optical = standardised(tile["bands"], statistics.s2)
    out: Array = np.zeros((0,))
    run = np.zeros((height, width), bool)
    for row in range(height):
        for column in range(width):
            valid_s2, valid_s1 = tile["masks"][:, row, column] != 0, (radar[:, row, column] != 0).any(-1)
            if model.family.startswith("v1.0"):
                run[row, column] = (tile["bands"][:, row, column] != 0).any()
            else:
                run[row, column] = model.family == "v1.1" or valid_s2.any() or valid_s1.any()
            if not run[row, column]:
                continue
            s2 = sequence(optical[:, row, column], tile["doys"], valid_s2, model)
            s1 = sequence(normal[:, row, column], radar_days, valid_s1, model)
            vector = encode(s2, s1, state, model)
            if not out.any():
                out = np.zeros((height, width, len(vector)))
            out[row, column] = vector
    return out, run


# -- section 3: outputs ------------------------------------------------------------------------------------------------------


def quantised(values: Array, family: str) -> tuple[Array, Array]:
    """Codes int8 (..., D) and scales float32 (...) of float32 values by the rule of v1 or v2."""
    x = np.asarray(values, np.float32)
    peak = np.abs(x).max(-1)
    if family.startswith("v1"):
        scales, lowest = np.maximum(peak / np.float32(127), np.float32(1e-8)), -128
    else:
        scales, lowest = np.maximum(peak, np.float32(1e-12)) / np.float32(127), -127
    return np.clip(np.rint(x / scales[..., None]), lowest, 127).astype(np.int8), scales.astype(np.float32)
