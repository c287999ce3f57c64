"""Parcels and days -> leaf area and reflectance.

Leaf area follows double logistics (Beck et al. 2006). Canopy and ground are mixed by Beer's law per band,
``r = r_canopy + (r_ground - r_canopy) exp(-k LAI)``, the big-leaf form of SAIL's exponential dependence (Baret & Guyot 1991),
with less extinction in the near infrared, which leaves scatter instead of absorbing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_core.dpixels.simulate import spectra
from tessera_core.dpixels.simulate.parcels import BLOOM_DAYS, Parcels
from tessera_core.types import Floats

RESIDUE_DAYS = 40.0
REGROWTH_DAYS = 22.0


@dataclass(frozen=True)
class Canopy:
    """State of P parcels on T days, float32 (P, T) each: green and dry leaf area, share of ground under residue, bloom."""

    green: Floats
    dry: Floats
    residue: Floats
    bloom: Floats


def logistic(x: NDArray) -> NDArray:
    """``1 / (1 + exp(-x))``, safe for large ``x``."""
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


def grow(parcels: Parcels, days: NDArray[np.integer], drought: float = 0.0, vigour: float = 1.0) -> Canopy:
    """The state of all parcels on the given days of year (T,).

    Args:
        parcels: P parcels.
        days: (T,) days of year.
        drought: severity of the summer's drought, 0 to 1.
        vigour: factor on leaf area, for better and worse places of the same parcels.
    """
    t = np.asarray(days, np.float32)[None, None, :]

    def per_cycle(name: str) -> Floats:
        return getattr(parcels, name)[:, :, None]

    up = logistic((t - per_cycle("rise")) / per_cycle("rise_days"))
    down = logistic((t - per_cycle("fall")) / per_cycle("fall_days"))
    leaves = per_cycle("peak") * np.maximum(up - down, 0) * vigour
    yellow = logistic((t - per_cycle("fall") + 0.5 * per_cycle("yellow")) / (0.22 * per_cycle("yellow") + 1))
    age = np.maximum(t - per_cycle("fall"), 0)
    residue = (per_cycle("residue") * down * np.exp(-age / RESIDUE_DAYS)).max(1)

    day = t[:, 0]
    season = 0.75 + 0.25 * np.cos(2 * np.pi * (day - 190) / 365)
    green = (leaves * (1 - yellow)).sum(1) + parcels.base_lai[:, None] * season * vigour
    dry = (leaves * yellow).sum(1)

    since = t - parcels.cut_day[:, :, None]
    cut = np.where(since >= 0, parcels.cut_depth[:, :, None] * np.exp(-np.maximum(since, 0) / REGROWTH_DAYS), 0)
    standing = (1 - cut).prod(1)
    green, dry = green * standing, dry * standing
    if drought > 0:
        stress = drought * parcels.summer[:, None] * np.exp(-0.5 * ((day - 210) / 32) ** 2)
        lost = np.clip(0.75 * stress, 0, 0.85)
        green, dry = green * (1 - lost), dry + 0.6 * green * lost
    bloom = parcels.bloom_strength[:, None] * np.exp(-0.5 * ((day - parcels.bloom_day[:, None]) / BLOOM_DAYS) ** 2)
    return Canopy(*(np.ascontiguousarray(a, np.float32) for a in (green, dry, residue, bloom)))


def reflectance(
    parcels: Parcels, canopy: Canopy, moisture: NDArray[np.floating], snow: NDArray[np.floating] | None = None
) -> Floats:
    """Surface reflectance of parcels: float32 (P, T, 10), 0 to about 1.

    Args:
        parcels, canopy: as :func:`grow` returned them.
        moisture: (T,) water in the top soil, 0 dry to 1 saturated.
        snow: (T,) share of open ground under snow.
    """
    wet = np.asarray(moisture, np.float32)[None, :, None]
    soil = parcels.soil[:, None, :] * (1 + (spectra.WET_SOIL - 1) * wet)
    residue = canopy.residue[:, :, None]
    ground = soil + (parcels.dry[:, None, :] - soil) * residue
    area = canopy.green + canopy.dry
    dry_share = (canopy.dry / np.maximum(area, 1e-6))[:, :, None]
    plants = parcels.leaf[:, None, :] + (parcels.dry - parcels.leaf)[:, None, :] * dry_share
    through = np.exp(-spectra.EXTINCTION * area[:, :, None])
    out = plants + (ground - plants) * through
    flowers = canopy.bloom * (1 - np.exp(-0.8 * canopy.green))
    if flowers.any():
        out += flowers[:, :, None] * parcels.blossom[:, None, :]
    if snow is not None and np.any(snow):
        # Snow lies on the ground; evergreens and branches stand above it.
        lying = np.asarray(snow, np.float32)[None, :] * np.exp(-0.45 * canopy.green)
        out += (spectra.SNOW - out) * lying[:, :, None]
    built = parcels.built[:, None, None]
    fixed = parcels.fixed[:, None, :] * (1 - 0.08 * wet)
    out += (fixed - out) * built
    return np.maximum(out, 0.002, out=out).astype(np.float32, copy=False)
