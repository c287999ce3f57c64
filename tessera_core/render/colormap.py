"""Colour maps for numbers: equal steps look equally far apart, and lightness alone tells more from less.

Made in OKLab (B. Ottosson, "A perceptual color space for image processing", 2020), where distances are what people see: a
path is walked in steps of equal length, each colour as vivid as the screen allows. Refuses to know what the numbers are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tessera_core.render.palette import encode_indexed
from tessera_core.types import Doubles

# Colours of a picture; index 0 is transparent.
STEPS = 254
# The middle 96 % of the numbers use the whole colour map, so that a few extremes do not make all else one colour.
CLIP = (2.0, 98.0)
NO_VALUE = 0

# OKLab to cone responses and those to linear sRGB.
_CONES = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
)
_LINEAR = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)
# Corners (lightness, chroma, hue in degrees) of a colour map's path; chroma is cut to what a screen shows.
_PATHS = {
    # Dark blue to light yellow by way of green: for amounts.
    "amount": ((0.24, 0.11, 288.0), (0.46, 0.086, 240.0), (0.67, 0.112, 172.0), (0.93, 0.16, 103.0)),
    # Pale to dark red-violet: for uncertainty, which nobody takes for an amount.
    "uncertainty": ((0.96, 0.015, 380.0), (0.68, 0.15, 360.0), (0.33, 0.13, 335.0)),
}
_DIVERGING = ((0.42, 0.13, 255.0), (0.97, 0.0, 255.0)), ((0.97, 0.0, 50.0), (0.53, 0.125, 50.0))


@dataclass(frozen=True)
class Scale:
    """Which numbers a colour map's ends stand for.

    Attributes:
        low, high: numbers at the ends; what lies beyond has the colour of the end.
        below, above: whether there are numbers beyond.
    """

    low: float
    high: float
    below: bool = False
    above: bool = False

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> Scale:
        """From the 2nd to the 98th percentile of the finite ``values``; 0 to 1 where there are none."""
        known = values[np.isfinite(values)]
        if not known.size:
            return cls(0.0, 1.0)
        low, high = (float(v) for v in np.percentile(known, CLIP))
        if high <= low:
            low, high = float(known.min()), float(known.max())
        if high <= low:
            # One number everywhere: its colour is the middle one.
            span = max(abs(low), 1.0) * 1e-3
            return cls(low - span, low + span)
        return cls(low, high, bool(known.min() < low), bool(known.max() > high))

    def covering(self, values: NDArray[np.floating]) -> Scale:
        """The same ends, told whether there are finite ``values`` beyond them."""
        known = values[np.isfinite(values)]
        if not known.size:
            return Scale(self.low, self.high)
        return Scale(self.low, self.high, bool(known.min() < self.low), bool(known.max() > self.high))

    def index(self, values: NDArray[np.floating]) -> NDArray[np.uint8]:
        """Positions 1..254 on the colour map, of any shape; 0 where a value is not finite."""
        known = np.isfinite(values)
        share = (np.where(known, values, self.low) - self.low) / (self.high - self.low)
        place = 1 + np.clip(np.rint(share * (STEPS - 1)), 0, STEPS - 1)
        return np.where(known, place, NO_VALUE).astype(np.uint8)


@cache
def colormap(name: str = "amount", count: int = STEPS) -> NDArray[np.uint8]:
    """``count`` colours uint8 (count, 3) of the colour map ``"amount"``, ``"uncertainty"``, ``"difference"`` or ``"none"``."""
    if name == "none":
        # For numbers that mean nothing: no two of them shall look far apart.
        colours = np.repeat(np.linspace(150, 205, count).round().astype(np.uint8)[:, None], 3, 1)
    elif name == "difference":
        half = (count + 1) // 2
        low, high = (_walk(np.array(path), half) for path in _DIVERGING)
        colours = np.concatenate([low, high[count % 2 :]])
    else:
        colours = _walk(np.array(_PATHS[name]), count)
    colours.flags.writeable = False
    return colours


def hexes(name: str = "amount", count: int = STEPS) -> tuple[str, ...]:
    """The same as ``"#rrggbb"``."""
    return tuple("#{:02x}{:02x}{:02x}".format(*colour) for colour in colormap(name, count).tolist())


def colour_of(value: float, scale: Scale, name: str = "amount") -> str:
    """The colour of one number, ``"#rrggbb"``; grey where it is not finite."""
    place = int(scale.index(np.array(value)))
    return "#9aa0a6" if place == NO_VALUE else "#{:02x}{:02x}{:02x}".format(*colormap(name)[place - 1].tolist())


def encode_values(index: NDArray[np.uint8], name: str = "amount") -> bytes:
    """A picture of positions on a colour map (:meth:`Scale.index`) as PNG bytes, transparent where they are 0."""
    palette = np.zeros((STEPS + 1, 4), np.uint8)
    palette[1:, :3], palette[1:, 3] = colormap(name), 255
    return encode_indexed(index, palette)


def oklab_to_srgb(lab: Doubles) -> Doubles:
    """sRGB (..., 3), 0..1 where a screen can show it, of OKLab (..., 3)."""
    linear = (lab @ _CONES.T) ** 3 @ _LINEAR.T
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)


def _walk(corners: Doubles, count: int) -> NDArray[np.uint8]:
    """Colours at equal distances along a smooth path through corners (K, 3) of lightness, chroma and hue."""
    from scipy.interpolate import PchipInterpolator

    fine = np.linspace(0, 1, 2001)
    # Lightness sets the pace, so that it rises or falls evenly.
    share = np.abs(corners[:, 0] - corners[0, 0]) / abs(corners[-1, 0] - corners[0, 0])
    lab = _shown(PchipInterpolator(share, corners, axis=0)(fine))
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(lab, axis=0), axis=1))])
    at = np.linspace(0, length[-1], count)
    even = np.stack([np.interp(at, length, lab[:, band]) for band in range(3)], axis=1)
    return np.rint(255 * np.clip(oklab_to_srgb(even), 0, 1)).astype(np.uint8)


def _shown(lch: Doubles) -> Doubles:
    """OKLab (n, 3) of lightness, chroma and hue, paler where the screen cannot show the chroma."""
    light, chroma, hue = lch[:, 0], lch[:, 1], np.deg2rad(lch[:, 2])
    low, high = np.zeros_like(chroma), chroma.copy()
    for _ in range(24):
        middle = (low + high) / 2
        rgb = oklab_to_srgb(np.stack([light, middle * np.cos(hue), middle * np.sin(hue)], axis=1))
        inside = ((rgb >= 0) & (rgb <= 1)).all(axis=1)
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return np.stack([light, low * np.cos(hue), low * np.sin(hue)], axis=1)
