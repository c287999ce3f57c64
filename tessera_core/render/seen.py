"""Pictures of how often satellites saw each pixel: the counts kept beside published embeddings, in a few steps of colour.

Owns what these pictures are called and what their colours stand for. Counts stay uint16 on disk; a block of rows at a time
becomes one byte a pixel. Pixels that were seen too rarely for an embedding are shown like all others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_core.language import later
from tessera_core.observations import ELBOW, LEAST, MONTHS, Observations
from tessera_core.raster import EmbeddingRaster
from tessera_core.render.colormap import hexes
from tessera_core.render.display import DisplayGrid
from tessera_core.render.palette import encode_indexed, rgb

_ROWS = 1024


@dataclass(frozen=True)
class Step:
    """One colour of a picture.

    Attributes:
        low, high: the numbers that have it, both included; ``high`` None: and all above.
        colour: ``"#rrggbb"``.
        words: of the legend, with ``{low}`` and ``{high}``.
    """

    low: int
    high: int | None
    colour: str
    words: str


@dataclass(frozen=True)
class SeenPicture:
    """What is counted, and how it is shown.

    Attributes:
        title: its name.
        steps: from few to many, without gaps; what lies below the first is transparent.
        count: the number of every pixel of :class:`tessera_core.observations.Observations`, uint8 or uint16.
    """

    title: str
    steps: tuple[Step, ...]
    count: Callable[[Observations], NDArray[np.unsignedinteger]]


def _steps(lows: tuple[int, ...], words: str, last: str, end: int | None = None) -> tuple[Step, ...]:
    highs = (*(low - 1 for low in lows[1:]), end)
    return tuple(
        Step(low, high, colour, last if high is None else words)
        for low, high, colour in zip(lows, highs, hexes("amount", len(lows)), strict=True)
    )


TIMES, MONTHS_SEEN, NO_RADAR = "seen_times", "seen_months", "no_radar"
_TIMES = later("{low} to {high} clear days")
_MORE = later("{low} clear days and more")
_MONTHS = later("{low} to {high} months")
SEEN = {
    # The first two steps end where the publisher begins to give embeddings and where they are as good as they get.
    TIMES: SeenPicture(
        later("Times seen by Sentinel-2"),
        _steps((1, LEAST, ELBOW, 35, 50, 70), _TIMES, _MORE),
        lambda seen: seen.optical,
    ),
    MONTHS_SEEN: SeenPicture(
        later("Months seen by Sentinel-2"),
        _steps((1, 4, 7, 10), _MONTHS, _MONTHS, MONTHS),
        lambda seen: seen.optical_months,
    ),
    NO_RADAR: SeenPicture(
        later("No radar"),
        (Step(1, 1, "#d55e00", later("embedded, but never seen by radar")),),
        lambda seen: seen.without_radar.view(np.uint8),
    ),
}
"""By name, in the order in which people are offered them."""


def seen_pictures(raster: EmbeddingRaster) -> tuple[str, ...]:
    """Names of the pictures that a raster has: none where nobody counted."""
    return () if raster.observations is None else tuple(SEEN)


def seen_steps(name: str, raster: EmbeddingRaster) -> NDArray[np.uint8]:
    """Which step of a picture each pixel has: uint8 (H, W), 1 for the first, 0 for none of them.

    Args:
        name: of :func:`seen_pictures`.
        raster: with observations.
    """
    assert raster.observations is not None
    picture = SEEN[name]
    lows = np.array([step.low for step in picture.steps])
    table = np.searchsorted(lows, np.arange(1 << 16), side="right").astype(np.uint8)
    out = np.empty(raster.shape, np.uint8)
    for start in range(0, raster.grid.height, _ROWS):
        rows = slice(start, start + _ROWS)
        out[rows] = table[picture.count(Observations(raster.observations[rows]))]
        if name == NO_RADAR:
            # Where there is no embedding, none was made without radar either.
            out[rows] *= raster.valid(rows)
    return out


def seen_png(name: str, raster: EmbeddingRaster, display: DisplayGrid) -> bytes:
    """A picture as PNG bytes on a display, transparent where its count is 0."""
    colours = [(*rgb(step.colour), 255) for step in SEEN[name].steps]
    palette = np.array([(0, 0, 0, 0), *colours], np.uint8)
    return encode_indexed(display.warp(seen_steps(name, raster)), palette)
