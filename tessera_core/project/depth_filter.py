"""A filter by depth of observation: pixels that satellites saw too rarely are left out of a map, and what that costs is told.

One function for the page, ``tessera map``, exports, reports and the engine. Labels there still teach: what is left out is what the
map says of such ground, because two embeddings of it agree less well (docs/howto/published.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tessera_core.areas import hectares_per_pixel
from tessera_core.heads import ClassMap, ValueMap
from tessera_core.observations import ELBOW, percent
from tessera_core.raster import EmbeddingRaster

NO_CLASS, NO_CONFIDENCE = 0, 255


@dataclass(frozen=True)
class LeftOut:
    """What the filter took from a map.

    Attributes:
        times: clear days that a pixel needed.
        pixels: left out.
        share: of the pixels with an embedding, 0..1; None where nobody counted how often they were seen, so that all stay.
        hectares: left out; None where pixels have no size on the ground.
    """

    times: int
    pixels: int
    share: float | None
    hectares: float | None

    @property
    def sentence(self) -> str:
        """For people."""
        if self.share is None:
            return f"Nobody counted how often these pixels were seen, so none were left out for fewer than {self.times} times."
        area = "" if self.hectares is None else f" ({self.hectares:,.1f} ha)"
        return (
            f"Left out of the map: {percent(self.share)} of the region{area}, seen clearly fewer than {self.times} times."
            if self.pixels
            else f"All pixels were seen clearly at least {self.times} times; none are left out."
        )

    def to_json(self) -> dict[str, float | int | None]:
        """JSON object of the figures."""
        return {"times": self.times, "pixels": self.pixels, "share": self.share, "hectares": self.hectares}


def cost(raster: EmbeddingRaster, times: int = ELBOW) -> LeftOut:
    """What leaving out pixels seen clearly fewer than ``times`` times would take from a map of a raster.

    Example:
        >>> cost(raster).share is None  # nobody counted how often these were seen
        True
    """
    if raster.observations is None:
        return LeftOut(times, 0, None, None)
    pixels, valid = int(raster.seldom_seen(times).sum()), int(raster.valid().sum())
    hectares = pixels * hectares_per_pixel(raster.grid)
    return LeftOut(times, pixels, pixels / max(valid, 1), hectares if np.isfinite(hectares) else None)


def leave_out[MapT: (ClassMap, ValueMap)](made: MapT, raster: EmbeddingRaster, times: int) -> tuple[MapT, LeftOut]:
    """A map without the pixels that were seen clearly fewer than ``times`` times, and what that took.

    Args:
        made: on the grid of ``raster``; a new one is returned.
        raster: what it was made of. Where nobody counted, the map stays as it is.
        times: clear days that a pixel needs.
    """
    taken = cost(raster, times)
    if not taken.pixels:
        return made, taken
    seldom = raster.seldom_seen(times)
    if isinstance(made, ClassMap):
        classes, confidence = made.classes.copy(), made.confidence.copy()
        classes[seldom], confidence[seldom] = NO_CLASS, NO_CONFIDENCE
        return replace(made, classes=classes, confidence=confidence), taken
    values, half_widths = made.values.copy(), made.half_widths.copy()
    values[seldom] = half_widths[seldom] = np.nan
    return replace(made, values=values, half_widths=half_widths), taken
