"""How different two colours look, to people with full colour vision and without: CIEDE2000 over simulated sight.

Dichromats are simulated by Machado, Oliveira & Fernandes (IEEE TVCG 15, 2009), severity 1; the difference is CIE 142:2001 in
the form of Sharma, Wu & Dalal (2005). Pure NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Colours = NDArray[np.float64]

# On linear sRGB.
SIGHTS: dict[str, Colours] = {
    "full": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = _XYZ.sum(1)


def lab(colours: Sequence[str], sight: str = "full") -> Colours:
    """CIELAB (N, 3), D65, of ``"#rrggbb"`` colours as they look to somebody.

    Args:
        colours: N of them.
        sight: of :data:`SIGHTS`.
    """
    return _lab(tuple(colours), sight).copy()


@lru_cache(maxsize=64)
def _lab(colours: tuple[str, ...], sight: str) -> Colours:
    values = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours], np.float64).reshape(-1, 3) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ SIGHTS[sight].T, 0, 1)
    ratio = seen @ _XYZ.T / _WHITE
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.column_stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])])


def ciede2000(a: Colours, b: Colours) -> Colours:
    """Differences (N, M) between CIELAB colours (N, 3) and (M, 3); about 2 is just seen side by side."""
    l1, a1, b1 = (a[:, None, i] for i in range(3))
    l2, a2, b2 = (b[None, :, i] for i in range(3))
    chroma7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    g = 1 + 0.5 * (1 - np.sqrt(chroma7 / (chroma7 + 25.0**7)))
    c1, c2 = np.hypot(g * a1, b1), np.hypot(g * a2, b2)
    h1, h2 = (np.degrees(np.arctan2(y, g * x)) % 360 for x, y in ((a1, b1), (a2, b2)))
    grey = c1 * c2 == 0
    turn = (h2 - h1 + 180) % 360 - 180
    dh = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(np.where(grey, 0, turn)) / 2)
    middle = np.where(grey, h1 + h2, (h1 + ((h2 - h1 + 180) % 360 - 180) / 2) % 360)
    dl, dc, lightness, chroma = l2 - l1, c2 - c1, (l1 + l2) / 2, (c1 + c2) / 2
    angle = np.radians(middle)
    t = (
        1
        - 0.17 * np.cos(angle - np.pi / 6)
        + 0.24 * np.cos(2 * angle)
        + 0.32 * np.cos(3 * angle + np.radians(6))
        - 0.20 * np.cos(4 * angle - np.radians(63))
    )
    sl = 1 + 0.015 * (lightness - 50) ** 2 / np.sqrt(20 + (lightness - 50) ** 2)
    sc, sh = 1 + 0.045 * chroma, 1 + 0.015 * chroma * t
    turning = np.radians(30 * np.exp(-(((middle - 275) / 25) ** 2)))
    rc = 2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    return np.sqrt((dl / sl) ** 2 + (dc / sc) ** 2 + (dh / sh) ** 2 - np.sin(2 * turning) * rc * (dc / sc) * (dh / sh))


def apart(colours: Sequence[str], others: Sequence[str]) -> Colours:
    """How different (N, M) colours look to whoever tells them apart least, of :data:`SIGHTS`."""
    seen = [ciede2000(lab(colours, sight), lab(others, sight)) for sight in SIGHTS]
    return np.asarray(np.min(seen, axis=0), np.float64)
