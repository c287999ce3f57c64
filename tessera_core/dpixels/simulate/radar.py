"""Parcels and days -> Sentinel-1 gamma0, and its storage in tiles.

Backscatter is a water-cloud model (Attema & Ulaby 1978), ``g = canopy (1 - q) + soil q`` with two-way transmission
``q = exp(-2 B V / cos(incidence))``, over a soil that brightens with moisture (about 6 dB from dry to saturated, Oh et al. 1992)
beside parts that do not change (roofs, water). Speckle is gamma-distributed with the equivalent number of looks of
Sentinel-1 IW products at 10 m, about 4.4 (Goodman 1976; ESA's product specification). Storage is docs/spec/model.md section 4.4.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from tessera_core.dpixels.simulate.canopy import Canopy
from tessera_core.dpixels.simulate.parcels import Parcels
from tessera_core.types import Floats

LOOKS = 4.4
_REFERENCE_INCIDENCE = 39.0
_QUANTILES = 1 << 14


def gamma0(
    parcels: Parcels,
    canopy: Canopy,
    moisture: NDArray[np.floating],
    incidence: NDArray[np.floating],
    wet_leaves: NDArray[np.floating],
    frozen: NDArray[np.floating],
) -> Floats:
    """Expected gamma0 of parcels in decibels: float32 (P, T, 2) VV, VH, without speckle.

    Args:
        parcels, canopy: as ``canopy.grow`` returned them.
        moisture: (T,) water in the top soil, 0 to 1.
        incidence: (T,) degrees.
        wet_leaves, frozen: (T,) 0 to 1, rain on the leaves and frost or snow at the time of the pass.
    """
    angle = np.asarray(incidence, np.float32)[None, :, None]
    off = angle - _REFERENCE_INCIDENCE
    wet = np.asarray(moisture, np.float32)[None, :, None]
    ice = np.asarray(frozen, np.float32)[None, :, None]
    rain = np.asarray(wet_leaves, np.float32)[None, :, None]
    sensitivity = parcels.moisture_gain[:, None, None]
    soil = parcels.radar_soil[:, None, :] + 6.0 * sensitivity * (wet - 0.5) - 0.13 * off - 2.5 * ice * sensitivity
    plants = parcels.radar_canopy[:, None, :] + 0.9 * rain - 0.04 * off - 1.2 * ice
    volume = (canopy.green + 0.6 * canopy.dry)[:, :, None]
    through = np.exp(-2 * parcels.opacity[:, None, :] * volume / np.cos(np.radians(angle)))
    power = _power(plants) * (1 - through) + _power(soil) * through
    share = parcels.radar_built[:, None, None]
    power += (_power(parcels.radar_fixed[:, None, :] - 0.05 * off) - power) * share
    return (10 * np.log10(power)).astype(np.float32, copy=False)


def speckle(shape: tuple[int, ...], rng: np.random.Generator, looks: float = LOOKS) -> Floats:
    """Multiplicative speckle in decibels, float32 ``shape``: ten times the log of a unit-mean gamma variable."""
    return _speckle_table(round(looks, 1))[rng.integers(0, _QUANTILES, shape, dtype=np.uint16)]


def encode(decibels: NDArray[np.floating]) -> NDArray[np.int16]:
    """Tile storage ``(20 log10(power) + 50) * 200`` of usual decibels, truncated; what falls below it is 0 = missing."""
    return np.clip((2 * decibels + 50) * 200, 0, 32767).astype(np.int16)


def _power(decibels: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.exp(decibels * np.float32(np.log(10) / 10))


@lru_cache(maxsize=64)
def _speckle_table(looks: float) -> Floats:
    # Drawing from a table of quantiles is ten times faster than a gamma generator and as good for 16-bit values.
    levels = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    return (10 * np.log10(gammaincinv(looks, levels) / looks)).astype(np.float32)
