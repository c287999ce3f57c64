"""What is shown of the maps of all places together: pictures where they lie on Earth, and areas. The maps themselves, which may
be as many as there are places and each as large as a region, need not be kept for it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.partial import Failure
from tessera_core.areas import MappedArea
from tessera_core.grid import Grid
from tessera_core.labels.model import LabelClass
from tessera_core.project.place_maps import PlaceMaps
from tessera_core.project.places import Place
from tessera_core.render import palette
from tessera_core.render.display import MAX_PIXELS, DisplayGrid
from tessera_core.types import BBox

# A picture of a place has at least so many pixels, however many places there are.
_LEAST_PIXELS = 400_000


@dataclass(frozen=True)
class Picture:
    """The map of a place where it lies on Earth.

    Attributes:
        png: palette PNG in the colours of the legend.
        bounds: of it, in EPSG:3857 metres.
        lonlat: of the place, degrees.
        version: names what it shows; another picture has another.
    """

    png: bytes
    bounds: BBox
    lonlat: BBox
    version: str


@dataclass(frozen=True)
class PlaceView:
    """What is shown of a place.

    Attributes:
        place: which.
        areas: class id -> what it covers.
        picture: None where the place lies nowhere on Earth.
    """

    place: Place
    areas: dict[int, MappedArea]
    picture: Picture | None


@dataclass(frozen=True)
class PlaceViews:
    """What is shown of the maps of all places.

    Attributes:
        sentences: on the head that made them.
        legend: names and colours of the class ids.
        views: of each place that could be mapped.
        areas: class id -> pixels and hectares over all places, of :meth:`~tessera_core.project.place_maps.PlaceMaps.areas`.
        failed: places that could not be mapped.
    """

    sentences: tuple[str, ...]
    legend: tuple[LabelClass, ...]
    views: tuple[PlaceView, ...]
    areas: dict[int, tuple[int, float | None]]
    failed: tuple[Failure, ...]


def views_of(made: PlaceMaps) -> PlaceViews:
    """What is shown of the maps of all places, each of which is drawn once here."""
    colours = {c.id: c.color for c in made.legend}
    most = max(MAX_PIXELS // max(len(made.maps), 1), _LEAST_PIXELS)
    views = tuple(
        PlaceView(one.place, one.made.areas(), on_earth(one.made.classes, one.made.grid, colours, most))
        for one in made.maps
    )
    return PlaceViews(tuple(made.sentences()), made.legend, views, made.areas(), made.failed)


def on_earth(classes: NDArray[np.uint8], grid: Grid, colours: Mapping[int, str], most: int) -> Picture | None:
    """The picture of a map, uint8 (H, W) on ``grid``, of some ``most`` pixels; None where it lies nowhere on Earth."""
    display = DisplayGrid(grid, most)
    if display.frame != "mercator":
        return None
    png = palette.encode(display.warp(classes), colours)
    version = hashlib.blake2b(png + repr(display.bounds).encode(), digest_size=12).hexdigest()
    return Picture(png, display.bounds, grid.bounds_lonlat, version)
