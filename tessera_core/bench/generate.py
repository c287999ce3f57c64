"""``tessera bench generate``: the engine beside a plain form of the authors' batching, in the same run.

The plain form follows docs/spec/performance.md section 6: float32, pixels in joint buckets of sequence lengths that are multiples
of 8, filled by repetition, torch's own encoder layers (whose fused path is taken), the recurrent pooling as a loop with six
products per step. It gets its authors' default batch and the one that is best for it. Weights are random: speed does not
depend on them. Slow models run on the first rows of a tile only; ``pixels`` says how many.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tessera_core.dpixels.tile import DPixelTile
from tessera_core.grid import Grid
from tessera_core.inference import kernels, native
from tessera_core.inference.engine import Engine, available_cores, flops_per_token
from tessera_core.models.checkpoint import LoadedEncoder
from tessera_core.models.config import PRESETS, StackConfig
from tessera_core.models.encoder import Backbone, Encoder
from tessera_core.models.inputs import PixelSeries, prepare
from tessera_core.models.layers import doy_encoding
from tessera_core.models.normalisation import S1_CHANNELS, S2_CHANNELS

# Model, the authors' default batch, their best one (docs/spec/performance.md section 4), pixels measured.
MODELS = (
    ("v2-nano", 4096, 64, 4096),
    ("v2-small", 4096, 64, 1024),
    ("v2-medium", 4096, 64, 512),
    ("v1.1-mpc", 1024, 64, 256),
)
SYNTHETIC = 128
REPEATS = 3
# Seconds after which a model is not repeated again on a tile, so that the whole stays under ten minutes.
PATIENCE = 40.0


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure; ``--quick`` takes a quarter of the pixels and one repeat."""
    quick = bool(getattr(args, "quick", False))
    torch.set_num_threads(available_cores())
    result: dict[str, Any] = {
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": available_cores(),
            "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
            "torch": torch.__version__,
            "native_kernels": native.available(),
            "fast_bfloat16": kernels.fast_bfloat16(),
        },
        "peak_gflops": _peaks(),
        "note": "Slow models are measured on the first rows of a tile ('pixels'); a default batch larger than that is cut to it. "
        "padding_share is what the plain form computes in vain; the engine computes no padding.",
        "tiles": {},
    }
    belgium = Path(__file__).resolve().parents[2].parent / "shared/data/belgium-2018/dpixel"
    tiles = {"synthetic-128": synthetic_tile(SYNTHETIC)}
    if belgium.is_dir():
        tiles["belgium-2018"] = DPixelTile.open(belgium)
    peaks: dict[str, float] = result["peak_gflops"]
    for name, tile in tiles.items():
        result["tiles"][name] = {}
        for model, default, best, pixels in MODELS:
            result["tiles"][name][model] = _measure(model, default, best, pixels // (4 if quick else 1), tile, quick)
            # A peak taken in a busy moment would make every share too large.
            peaks |= {dtype: max(peaks[dtype], again) for dtype, again in _peaks().items()}
    for models in result["tiles"].values():
        for measured in models.values():
            for dtype, engine in measured["engine"].items():
                engine["share_of_peak"] = round(engine["gflops"] / peaks[dtype], 3)
    return result


def synthetic_tile(size: int, dates: int = 70, ascending: int = 60, descending: int = 30, seed: int = 0) -> DPixelTile:
    """A tile in memory: half-cloudy S2 dates with clouds of some pixels across, two S1 orbits, values of the usual size."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(size=(dates, size, size)), (0, 8, 8), mode="wrap")
    field /= field.std(axis=(1, 2), keepdims=True)
    clear = field + rng.normal(scale=0.7, size=(dates, 1, 1)) > 0

    def days(n: int) -> NDArray[np.int64]:
        return np.sort(rng.integers(1, 366, n))

    return DPixelTile(
        rng.integers(200, 6000, (dates, size, size, 10)).astype(np.uint16),
        clear.astype(np.uint8),
        days(dates),
        rng.integers(2500, 8000, (ascending, size, size, 2)).astype(np.int16),
        days(ascending),
        rng.integers(2500, 8000, (descending, size, size, 2)).astype(np.int16),
        days(descending),
        None,
        Grid.local((size, size)),
        f"synthetic-{size}",
    )


def random_encoder(name: str, seed: int = 0) -> LoadedEncoder:
    """A published architecture with random weights whose norms and biases are not trivial."""
    torch.manual_seed(seed)
    config = PRESETS[name]
    encoder = Encoder(config).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return LoadedEncoder(encoder, config, name, "", Path(name), notes=())


# -- the engine --------------------------------------------------------------------------------------------------------------


def _measure(model: str, default: int, best: int, pixels: int, tile: DPixelTile, quick: bool) -> dict[str, Any]:
    loaded = random_encoder(model)
    config, width = loaded.config, tile.shape[1]
    rows = slice(0, max(1, min(tile.shape[0], pixels // width)))
    pixels = rows.stop * width
    repeats = 1 if quick else REPEATS
    fast_dtype = "bf16" if kernels.fast_bfloat16() else "fp32"
    timings: dict[str, float] = {}
    values: dict[str, NDArray[np.float32]] = {}
    engines = {dtype: Engine(loaded, "cpu", dtype) for dtype in dict.fromkeys(("fp32", fast_dtype))}
    plain = PlainEncoder(loaded.encoder)
    batches = {"plain_default_batch": min(default, pixels), "plain_best_batch": best}
    works: dict[str, Callable[[], NDArray[np.float32]]] = {
        dtype: partial(_engine_values, engine, tile, rows) for dtype, engine in engines.items()
    }
    works |= {name: partial(plain.embed, tile, rows, batch) for name, batch in batches.items()}
    # Each repeat visits all of them, so that a busy moment of the machine does not hit one alone.
    started = time.perf_counter()
    for _ in range(repeats):
        for name, work in works.items():
            seconds, values[name] = _timed(work)
            timings[name] = min(seconds, timings.get(name, math.inf))
        if time.perf_counter() - started > PATIENCE:
            break
    counted = engines["fp32"].counted
    series = PixelSeries.of_tile(tile, rows)
    flops = 0.0
    for valid, stack, channels in (
        (series.s2_valid, config.s2, S2_CHANNELS),
        (series.s1_valid, config.s1, S1_CHANNELS),
    ):
        counts, times = np.unique(valid.sum(0), return_counts=True)
        each = [int(n) * flops_per_token(config, stack, channels, int(n)) for n in counts]
        flops += float(np.average(each, weights=times))
    flops += 2 * sum(p.numel() for p in loaded.encoder.dim_reducer.parameters() if p.ndim == 2)
    reference = values["plain_best_batch"].reshape(pixels, -1)

    def engine_report(dtype: str) -> dict[str, Any]:
        rate = flops * pixels / timings[dtype] / 1e9
        return {
            "seconds": round(timings[dtype], 3),
            "pixels_per_second": round(pixels / timings[dtype], 1),
            "gflops": round(rate, 1),
            "min_cosine": float(_cosine(values[dtype].reshape(pixels, -1), reference).min()),
            "max_abs_difference": float(np.abs(values[dtype].reshape(pixels, -1) - reference).max()),
        }

    result: dict[str, Any] = {
        "pixels": pixels,
        "observations_per_pixel": {
            "s2": round(float(series.s2_valid.sum(0).mean()), 1),
            "s1": round(float(series.s1_valid.sum(0).mean()), 1),
        },
        "flop_per_pixel": round(flops),
        "padding_share": round(1 - counted.computed / counted.padded, 4),
        "engine": {dtype: engine_report(dtype) for dtype in engines},
        "dtype": fast_dtype,
        "seconds": round(timings[fast_dtype], 3),
    }
    for name, batch in batches.items():
        seconds = timings[name]
        result[name] = {
            "batch": batch,
            "seconds": round(seconds, 3),
            "pixels_per_second": round(pixels / seconds, 1),
        }
        result[f"ratio_{name}"] = round(seconds / timings[fast_dtype], 2)
        result[f"ratio_{name}_fp32"] = round(seconds / timings["fp32"], 2)
    return result


def _engine_values(engine: Engine, tile: DPixelTile, rows: slice) -> NDArray[np.float32]:
    return engine.embed(tile, rows).values


def _timed(work: Callable[[], NDArray[np.float32]]) -> tuple[float, NDArray[np.float32]]:
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    x, y = a.astype(np.float64), b.astype(np.float64)
    return (x * y).sum(1) / np.maximum(np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1), 1e-30)


def _peaks() -> dict[str, float]:
    """Best matrix-product rate in GFLOP/s that any library here reaches, all cores, per dtype."""
    peaks = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = torch.randn(2048, 2048).to(dtype), torch.randn(2048, 2048).to(dtype)
        layer = kernels.Linear(b, None, dtype, torch.device("cpu"))
        best = math.inf
        with torch.inference_mode():
            for product in (lambda a=a, b=b: nn.functional.linear(a, b), lambda a=a, layer=layer: layer(a)):
                for _ in range(12):
                    started = time.perf_counter()
                    product()
                    best = min(best, time.perf_counter() - started)
        peaks[name] = round(2 * 2048**3 / best / 1e9, 1)
    return peaks


# -- the peer ----------------------------------------------------------------------------------------------------------------


class PlainEncoder:
    """The authors' way of running an encoder, with the weights of ours."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder, self.config = encoder, encoder.config
        self.s2 = _PlainBackbone(encoder.s2_backbone, encoder.config.s2)
        self.s1 = _PlainBackbone(encoder.s1_backbone, encoder.config.s1)

    def embed(self, tile: DPixelTile, rows: slice, batch: int) -> NDArray[np.float32]:
        """Representations (h, W, R) of the rows, ``batch`` pixels of a bucket at a time."""
        height, width = rows.stop - rows.start, tile.shape[1]
        out = np.zeros((height * width, self.config.representation_dim), np.float32)
        with torch.no_grad():
            for bucket in prepare(PixelSeries.of_tile(tile, rows), self.config):
                for start in range(0, len(bucket.pixels), batch):
                    part = slice(start, start + batch)
                    s2, s1 = torch.from_numpy(bucket.s2[part]), torch.from_numpy(bucket.s1[part])
                    out[bucket.pixels[part]] = self.encoder.fuse(self.s2(s2), self.s1(s1)).numpy()
        return out.reshape(height, width, -1)


class _PlainBackbone:
    def __init__(self, backbone: Backbone, stack: StackConfig) -> None:
        self.backbone = backbone
        layer = nn.TransformerEncoderLayer(backbone.width, stack.heads, stack.feedforward, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, stack.layers, enable_nested_tensor=False).eval()
        self.layers.load_state_dict(backbone.transformer_encoder.state_dict())

    def __call__(self, x: Tensor) -> Tensor:
        tokens = self.backbone.embedding(x[..., :-1]) + doy_encoding(x[..., -1], self.backbone.width)
        tokens = self.layers(tokens)
        pool = self.backbone.attn_pool
        if pool.temporal_context is None:
            return pool(tokens)
        assert pool.layer_norm is not None
        cell: Any = pool.temporal_context.gru_cell
        state = torch.zeros(len(tokens), tokens.shape[2])
        states = []
        for step in tokens.unbind(1):
            r = torch.sigmoid(cell.W_ir(step) + cell.W_hr(state) + cell.b_r)
            z = torch.sigmoid(cell.W_iz(step) + cell.W_hz(state) + cell.b_z)
            candidate = torch.tanh(cell.W_ih(step) + cell.W_hh(r * state) + cell.b_h)
            state = (1 - z) * state + z * candidate
            states.append(state)
        weights = torch.softmax(pool.query(pool.layer_norm(torch.stack(states, 1))), dim=1)
        return (weights * tokens).sum(1)
