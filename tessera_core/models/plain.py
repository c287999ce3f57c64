"""The slow, obvious way from raw pixels to embeddings: prepare, run, add up. What faster engines are compared with."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from tessera_core.models.config import EncoderConfig
from tessera_core.models.encoder import Encoder
from tessera_core.models.inputs import PixelSeries, prepare


def embed_pixels(
    encoder: Encoder,
    config: EncoderConfig,
    series: PixelSeries,
    *,
    seed: int = 0,
    repeats: int = 1,
    batch_size: int = 512,
) -> NDArray[np.float32]:
    """Full representations (N, representation_dim), float32; zeros for pixels the encoder is not run for.

    Args:
        encoder: in evaluation mode.
        config: sampling rule and normalisation, usually ``encoder.config``.
        series: raw time series of N pixels.
        seed, repeats, batch_size: see :func:`~tessera_core.models.inputs.prepare`.
    """
    device = next(encoder.parameters()).device
    out = np.zeros((series.pixels, config.representation_dim), np.float32)
    with torch.inference_mode():
        for bucket in prepare(series, config, seed=seed, repeats=repeats, batch_size=batch_size):
            for start in range(0, len(bucket.pixels), batch_size):
                part = slice(start, start + batch_size)
                s2, s1 = (torch.from_numpy(x[part]).to(device) for x in (bucket.s2, bucket.s1))
                out[bucket.pixels[part]] += bucket.weight * encoder(s2, s1).cpu().numpy()
    return out
