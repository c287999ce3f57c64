"""Acquisition: Sentinel-1/2 time series of a region from public catalogues, as d-pixel tiles.

    >>> from tessera_core.dpixels.acquire import Window, acquire            # doctest: +SKIP
    >>> acquire(parse_bbox("0.05,52.18,0.10,52.21"), Window.of_year(2023), CATALOGUES["mpc"], "tiles")   # doctest: +SKIP

`catalogue` finds items, `read` brings one asset onto a grid, `run` turns a region into tiles.
"""

from tessera_core.dpixels.acquire.catalogue import CATALOGUES, Catalogue, Window
from tessera_core.dpixels.acquire.run import AcquireOptions, AcquisitionReport, acquire

__all__ = ["CATALOGUES", "AcquireOptions", "AcquisitionReport", "Catalogue", "Window", "acquire"]
