"""Pictures of what was worked out beside the class map, as palette PNGs on the display, with their legends. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_core.analysis.applicability import NEAR_EDGE_PERCENT, OUTSIDE_PERCENT
from tessera_core.labels.colors import distinct_colors
from tessera_core.labels.model import hsl_to_hex
from tessera_core.language import later
from tessera_core.render.display import DisplayGrid
from tessera_core.render.palette import encode_indexed, rgb

DISSIMILARITY_COLOURS = ("#f2a7cf", "#b5127a")
# Two, three, and more classes that remain possible (ColorBrewer's PuOr, told apart by colour-blind people); none fits.
SETS_COLOURS = ("#fdb863", "#e08214", "#7f3b08")
NOTHING_FITS = "#542788"

Legend = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ExtraLayer:
    """A picture above the class map.

    Attributes:
        name: its key in the browser.
        title: for people.
        png: on the display; empty while it is not there yet.
        version: changes when the picture does.
        sentence: what it means.
        legend: ``(colour, text)``.
        mode: ``"percent"`` where palette index 1 + p stands for p percent, so that the browser can apply a threshold;
            ``"used"`` where labels were made of it, so that it makes way for the map.
    """

    name: str
    title: str
    png: bytes = b""
    version: str = ""
    sentence: str = ""
    legend: Legend = ()
    mode: str = ""


def dissimilarity_png(percent: NDArray[np.uint8], display: DisplayGrid) -> bytes:
    """What is unlike the labels; everything else is transparent.

    Args:
        percent: uint8 (H, W), 255 where there is no data.
    """
    table = np.zeros(256, np.uint8)
    table[NEAR_EDGE_PERCENT:OUTSIDE_PERCENT] = 1
    table[OUTSIDE_PERCENT:255] = 2
    return _encode(table[display.warp(percent, fill=255)], DISSIMILARITY_COLOURS)


DISSIMILARITY_LEGEND: Legend = (
    (DISSIMILARITY_COLOURS[1], later("unlike (further out than 95 % of labels)")),
    (DISSIMILARITY_COLOURS[0], later("rather unlike (80 %)")),
)


def sets_png(size: NDArray[np.uint8], display: DisplayGrid) -> bytes:
    """Where more than one class remains possible; a single possible class is transparent.

    Args:
        size: uint8 (H, W), classes in the set, 255 where there is no data.
    """
    table = np.full(256, 3, np.uint8)
    table[[0, 1, 2, 255]] = (4, 0, 1, 0)
    table[3] = 2
    return _encode(table[display.warp(size, fill=255)], (*SETS_COLOURS, NOTHING_FITS))


SETS_LEGEND: Legend = (
    (SETS_COLOURS[0], later("two classes possible")),
    (SETS_COLOURS[1], later("three")),
    (SETS_COLOURS[2], later("more")),
    (NOTHING_FITS, later("none fits")),
)


def percent_png(percent: NDArray[np.uint8], display: DisplayGrid) -> bytes:
    """Whole percents 0..100 as palette indices 1..101, so that the browser thresholds without asking; 255 = no data."""
    index = np.where(percent > 100, 0, percent + 1).astype(np.uint8)
    palette = np.zeros((102, 4), np.uint8)
    palette[1:] = [(*rgb(hsl_to_hex(320, 80, 75 - p * 0.35)), 255) for p in range(101)]
    return encode_indexed(display.warp(index), palette)


def classes_png(classes: NDArray[np.uint8], colours: Mapping[int, str], display: DisplayGrid) -> bytes:
    """Ids in their colours; ids without a colour are transparent."""
    from tessera_core.render.palette import encode

    return encode(display.warp(classes), colours)


def cluster_colours(count: int) -> dict[int, str]:
    """A colour for each of ``count`` groups, any two as different as can be."""
    return dict(enumerate(distinct_colors(count), start=1))


def _encode(index: NDArray[np.uint8], colours: tuple[str, ...]) -> bytes:
    palette = np.zeros((1 + len(colours), 4), np.uint8)
    palette[1:] = [(*rgb(colour), 255) for colour in colours]
    return encode_indexed(index, palette)
