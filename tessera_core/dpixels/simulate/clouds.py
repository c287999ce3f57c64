"""Clouds that differ from date to date: where they are, the shadows they throw, and what a classifier makes of them.

The mask imitates Sen2Cor's scene classification at 20 m: it dilates clouds, misses thin ones and some shadows, and takes bright
ground and dark water for clouds and shadows now and then, with error rates of the size that cloud mask comparisons report
(Skakun et al. 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tessera_core.dpixels.simulate import spectra
from tessera_core.dpixels.simulate.terrain import PIXEL_M, fractal
from tessera_core.types import Floats


@dataclass(frozen=True)
class Sky:
    """One date's clouds: opacity 0 to 1, brightness as reflectance, and shade 0 to 1 (share of light taken), (H, W) each."""

    opacity: Floats
    brightness: Floats
    shade: Floats


class CloudMaker:
    """Cloud fields over a square of ``size`` pixels, drawn from periodic textures that are made once."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.size = size
        field = 1
        while field < 1.5 * size:
            field *= 2
        self._lumpy = fractal(field, rng, 1.05, 0.3)
        self._broad = fractal(field, rng, 1.7, 1.0)

    def draw(self, cover: float, sun_elevation: float, sun_azimuth: float, rng: np.random.Generator) -> Sky:
        """Draw the clouds of a date with the given cover (0 to 1) and sun (degrees)."""
        lumpy = rng.random() < 0.6
        texture = self._lumpy if lumpy else self._broad
        if rng.random() < 0.5:
            texture = texture.T
        offset = rng.integers(0, len(texture), 2)
        height = rng.uniform(600, 2200) if lumpy else rng.uniform(1500, 6000)
        reach = min(height / np.tan(np.radians(max(sun_elevation, 8))), 12000) / PIXEL_M
        # Shadows lie away from the sun; rows grow southwards.
        shift = reach * np.array([np.cos(np.radians(sun_azimuth)), -np.sin(np.radians(sun_azimuth))])
        threshold = float(np.quantile(texture[::4, ::4], 1 - cover)) if cover < 0.995 else float(texture.min()) - 1.0
        strength = rng.uniform(1.5, 6.0) if lumpy else rng.uniform(0.6, 4.0)
        opacity = self._opacity(texture, offset, threshold, strength)
        cast = self._opacity(texture, np.rint(offset - shift).astype(int), threshold, strength)
        brightness = rng.uniform(0.40, 0.75) + 0.22 * opacity
        shade = cast * rng.uniform(0.45, 0.7) * (1 - opacity)
        return Sky(opacity, brightness.astype(np.float32), shade.astype(np.float32))

    def _opacity(self, texture: Floats, offset: NDArray[np.integer], threshold: float, strength: float) -> Floats:
        rows, cols = ((np.arange(self.size) + int(o)) % len(texture) for o in offset)
        depth = np.maximum(texture[np.ix_(rows, cols)] - np.float32(threshold), 0) * np.float32(strength)
        return 1 - np.exp(-depth)


def cover_with(image: Floats, sky: Sky) -> None:
    """Put clouds and shadows over an image (H, W, 10) in place; light that misses the ground is bluer and SWIR darker."""
    if sky.shade.max() > 0:
        image *= 1 - sky.shade[..., None] * _SHADE_SPECTRUM
    if sky.opacity.max() > 0:
        # Row blocks keep the temporaries in cache.
        for start in range(0, len(image), 32):
            rows = slice(start, start + 32)
            cloud = sky.brightness[rows, :, None] * spectra.CLOUD
            cloud -= image[rows]
            cloud *= sky.opacity[rows, :, None]
            image[rows] += cloud


def classify(sky: Sky, image: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The mask a scene classification would give for a date: uint8 (H, W), 1 = usable; made at 20 m."""
    opacity, shade = sky.opacity[::2, ::2], sky.shade[::2, ::2]
    red, nir = image[::2, ::2, 0], image[::2, ::2, 3]
    sure = rng.uniform(0.10, 0.28)  # some dates' thin clouds are seen, others' are not
    found = opacity * (1 + 0.25 * rng.standard_normal(opacity.shape, np.float32)) > sure
    if found.any():
        found = ndimage.binary_dilation(found, iterations=int(rng.integers(1, 4)))
    found |= (red > 0.27) & (rng.random(red.shape, np.float32) < 0.35)
    dark = (shade > rng.uniform(0.16, 0.34)) | ((nir < 0.035) & (rng.random(nir.shape, np.float32) < 0.10))
    mask = ~(found | dark)
    return np.repeat(np.repeat(mask, 2, 0), 2, 1).astype(np.uint8)


# fmt: off
#                            B04   B02   B03   B08   B8A   B05   B06   B07   B11   B12
_SHADE_SPECTRUM = np.array([0.97, 0.78, 0.90, 1.05, 1.06, 0.98, 1.03, 1.05, 1.15, 1.20], np.float32)
# fmt: on
