"""How long a tile will take and how much room it needs, before starting: a second of real work, scaled up.

Owns nothing but the arithmetic; the work is the engine's.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from tessera_core.inference.backbone import Batch, FastBackbone
from tessera_core.inference.engine import Engine, flops_per_token
from tessera_core.inference.kernels import Layout
from tessera_core.inference.packing import Structure, structure
from tessera_core.models.checkpoint import LoadedEncoder
from tessera_core.models.normalisation import S1_CHANNELS, S2_CHANNELS

CALIBRATION_SECONDS = 1.0


@dataclass(frozen=True)
class RunTimeEstimate:
    """What a run will cost.

    Attributes:
        seconds: expected wall time.
        pixels_per_second: expected speed.
        output_bytes: size of the result on disk.
        memory_bytes: expected memory beyond the program itself and the weights.
        flops_per_pixel: floating-point operations of the two backbones.
    """

    seconds: float
    pixels_per_second: float
    output_bytes: int
    memory_bytes: int
    flops_per_pixel: float


def estimate(
    shape: tuple[int, int],
    observations: tuple[float, float],
    loaded: LoadedEncoder,
    *,
    device: str = "auto",
    dtype: str = "auto",
    dim: int | None = None,
    float32: bool = False,
    repeats: int = 1,
) -> RunTimeEstimate:
    """Calibrate on made-up pixels for about a second and scale up.

    Args:
        shape: (H, W) of what will be embedded.
        observations: mean number of valid Sentinel-2 and Sentinel-1 observations per pixel, see
            :meth:`tessera_core.dpixels.tile.DPixelTile.observations`.
        loaded: weights and configuration.
        device, dtype: as for :class:`~tessera_core.inference.engine.Engine`.
        dim, float32: of the output.
        repeats: random draws per pixel (v1.0).

    Raises:
        InputError: the device or dtype is not possible.
    """
    engine = Engine(loaded, device, dtype)
    config = loaded.config
    seconds_per_pixel, flops, rows_bytes = 0.0, 0.0, 0.0
    sensors = ((engine.s2, config.s2, S2_CHANNELS), (engine.s1, config.s1, S1_CHANNELS))
    for (backbone, stack, channels), count in zip(sensors, observations, strict=True):
        if count <= 0 and config.sampling.rule != "v1.0":
            continue
        seen = structure(max(1, round(count)), config.sampling)
        tokens = len(seen.kept)
        seconds_per_pixel += _seconds_per_pixel(engine, backbone, seen, channels) * repeats
        flops += tokens * flops_per_token(config, stack, channels, tokens) * repeats
        rows_bytes += tokens * (channels + 1) * 4
    pixels = shape[0] * shape[1]
    size = torch.finfo(engine.dtype).bits // 8
    widest = max(config.s2.feedforward, config.s1.feedforward, 3 * config.width)
    block = min(pixels, engine.block_rows(shape[1]) * shape[1])
    dim = dim or config.output_dim
    memory = engine.threads * engine.tokens * (2 * widest + 4 * config.width) * size
    # Raw observations of a block, cloudy ones included, its pooled vectors and its embeddings.
    memory += int(block * (2.5 * rows_bytes + 8 * config.width + 8 * config.representation_dim))
    total = pixels * seconds_per_pixel
    return RunTimeEstimate(
        seconds=total,
        pixels_per_second=1 / seconds_per_pixel if seconds_per_pixel else float("inf"),
        output_bytes=pixels * (4 * dim if float32 else dim + 4),
        memory_bytes=int(memory),
        flops_per_pixel=flops,
    )


def _seconds_per_pixel(engine: Engine, backbone: FastBackbone, seen: Structure, channels: int) -> float:
    pixels = max(1, engine.tokens // len(seen.kept))
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(pixels * len(seen.kept), channels + 1)).astype(np.float32)
    rows[:, -1] = rng.integers(1, 366, len(rows))
    batch = Batch(torch.from_numpy(rows).to(engine.device), Layout([seen.run(pixels)], engine.device))

    def task() -> int:
        backbone(batch)
        return 1

    done, started, best = 0, time.monotonic(), float("inf")
    # The first round also pays for warming up, and in a fresh process that can take longer than the whole calibration.
    while done < 2 or time.monotonic() - started < CALIBRATION_SECONDS / 2:
        before = time.monotonic()
        engine.run_tasks([task] * engine.threads)
        if engine.device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.monotonic() - before)
        done += 1
    return best / (pixels * engine.threads)
