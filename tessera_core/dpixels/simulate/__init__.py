"""A seeded simulator of landscapes and of what Sentinel-1 and Sentinel-2 see of them.

Floors, imports only go down::

    sample                pixel time series of many random worlds, for pretraining
    observe               a world and a year -> a d-pixel tile on disk
    world                 what grows where in which year: the truth
    layout, terrain       parcels, water, woods, town; relief and drainage
    clouds                cloud fields, shadows, and the mask a classifier makes of them
    scene                 one year's sky over a place: overpass dates, clouds, haze, rain, snow
    canopy, radar         parcels and days -> reflectance, backscatter
    parcels               the traits of parcels, drawn from cover types
    climates              other climates: temperature, rain, cloud, snow, and what grows there
    regional              covers of other climates
    limits                which sizes and years there can be
    covers, classes       what each land cover does in a year: the table to widen; what of it is mapped
    spectra               reflectance of leaves, soils, water and materials

It teaches and tests; it does not claim to be a radiative transfer model. Where its numbers come from stands in each module.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tessera_core.dpixels.simulate.sample import COVER_NAMES, DPixelSample, sample_dpixels, stream_dpixels
    from tessera_core.dpixels.simulate.world import World, make_world

__all__ = ["COVER_NAMES", "DPixelSample", "World", "make_world", "sample_dpixels", "stream_dpixels"]

_HOMES = {"World": "world", "make_world": "world"} | dict.fromkeys(
    ("COVER_NAMES", "DPixelSample", "sample_dpixels", "stream_dpixels"), "sample"
)


def __getattr__(name: str) -> Any:
    # Imported when used: the classes alone must not cost the start of the app SciPy.
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
