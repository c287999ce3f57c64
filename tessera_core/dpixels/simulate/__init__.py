"""A seeded simulator of landscapes and of what Sentinel-1 and Sentinel-2 see of them.

Floors, imports only go down::

    sample                pixel time series of many random worlds, for pretraining
    observe               a world and a year -> a d-pixel tile on disk
    world                 terrain, water, parcels, woods, town: truth per year
    scene                 one year's sky over a place: overpass dates, clouds, haze, rain, snow
    canopy, radar         parcels and days -> reflectance, backscatter
    parcels               the traits of parcels, drawn from cover types
    covers                what each land cover does in a year: the table to widen
    spectra               reflectance of leaves, soils, water and materials

It teaches and tests; it does not claim to be a radiative transfer model. Where its numbers come from stands in each module.
"""

from __future__ import annotations

from tessera_core.dpixels.simulate.sample import COVER_NAMES, DPixelSample, sample_dpixels, stream_dpixels

__all__ = ["COVER_NAMES", "DPixelSample", "sample_dpixels", "stream_dpixels"]
