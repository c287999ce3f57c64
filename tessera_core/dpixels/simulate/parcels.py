"""Parcels: the traits by which one field or stand differs from the next, drawn from the table of cover types.

A :class:`Parcels` is a struct of arrays, one row a parcel, so that :mod:`.canopy` and :mod:`.radar` work on all of them at
once. Nothing here knows days of observation or places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from tessera_core.dpixels.simulate import spectra
from tessera_core.dpixels.simulate.covers import CoverType, Spread
from tessera_core.dpixels.simulate.regional import ALL_COVERS
from tessera_core.types import Floats

MAX_CYCLES = 3
MAX_CUTS = 6
NEVER = 2000.0  # a day of year that no calendar reaches
BLOOM_DAYS = 11.0


@dataclass(frozen=True)
class Climate:
    """How a place or a year departs from the north-west European norm of the cover table.

    Attributes:
        spring, autumn: days by which growth begins later and ends later.
        growth: factor on leaf areas.
        drought: 0 none to 1 as in 2018 or 2022.
        unevenness: how far parcels of one cover differ among themselves, as a factor on the table's spreads.
        variety: how far whole cover types depart from the table (species, breeds, practice): 0 not at all, 1 widely.
    """

    spring: float = 0.0
    autumn: float = 0.0
    growth: float = 1.0
    drought: float = 0.0
    variety: float = 0.3
    unevenness: float = 1.0


@dataclass
class Parcels:
    """Traits of P parcels; days are days of year, reflectances float32 (P, 10), radar levels decibels (P, 2) VV, VH."""

    leaf: Floats
    dry: Floats
    soil: Floats
    fixed: Floats
    built: Floats
    base_lai: Floats
    rise: Floats
    rise_days: Floats
    fall: Floats
    fall_days: Floats
    peak: Floats
    yellow: Floats
    residue: Floats
    cut_day: Floats
    cut_depth: Floats
    blossom: Floats
    bloom_day: Floats
    bloom_strength: Floats
    summer: Floats
    radar_soil: Floats
    radar_canopy: Floats
    opacity: Floats
    radar_fixed: Floats
    radar_built: Floats
    moisture_gain: Floats

    def __len__(self) -> int:
        return len(self.built)

    def take(self, index: NDArray[np.intp]) -> Parcels:
        """The parcels at ``index``, as a copy."""
        return Parcels(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def put(self, index: NDArray[np.intp], other: Parcels) -> None:
        """Overwrite the parcels at ``index`` with ``other``."""
        for f in fields(self):
            getattr(self, f.name)[index] = getattr(other, f.name)


def empty_parcels(count: int) -> Parcels:
    """``count`` parcels of zeros, to be filled with :meth:`Parcels.put`."""
    width = {"leaf": 10, "dry": 10, "soil": 10, "fixed": 10, "blossom": 10}
    width |= dict.fromkeys(("rise", "rise_days", "fall", "fall_days", "peak", "yellow", "residue"), MAX_CYCLES)
    width |= dict.fromkeys(("cut_day", "cut_depth"), MAX_CUTS)
    width |= dict.fromkeys(("radar_soil", "radar_canopy", "opacity", "radar_fixed"), 2)
    return Parcels(
        **{f.name: np.zeros((count, width[f.name]) if f.name in width else count, np.float32) for f in fields(Parcels)}
    )


def draw_parcels(
    covers: Sequence[str | CoverType], which: NDArray[np.integer], climate: Climate, rng: np.random.Generator
) -> Parcels:
    """Draw parcels.

    Args:
        covers: names in :data:`.regional.ALL_COVERS`, or covers that are in no table.
        which: (P,) index into ``covers`` of each parcel.
        climate: departures of this place and year.
        rng: the source of all chance.
    """
    parcels = empty_parcels(len(which))
    for index, cover in enumerate(covers):
        rows = np.flatnonzero(which == index)
        if len(rows):
            kind = ALL_COVERS[cover] if isinstance(cover, str) else cover
            parcels.put(rows, _draw(kind, len(rows), climate, rng))
    return parcels


def _draw(cover: CoverType, n: int, climate: Climate, rng: np.random.Generator) -> Parcels:
    out = empty_parcels(n)
    variety, uneven = climate.variety, climate.unevenness

    def normal(spread: Spread, low: float = 0.0, high: float = np.inf) -> Floats:
        return np.clip(rng.normal(spread[0], uneven * spread[1], n), low, high).astype(np.float32)

    _draw_spectra(out, cover, n, climate, rng)
    vigour = np.clip(
        rng.normal(1.0, uneven * cover.vigour, n) * climate.growth * rng.lognormal(0, 0.15 * variety), 0.25, 1.8
    )
    out.built[:] = normal(cover.built, 0.0, 1.0)
    out.base_lai[:] = normal(cover.base_lai) * vigour
    timing = rng.normal(0, uneven * cover.timing, n)
    type_shift = rng.normal(0, 6.0 * variety)
    for c in range(MAX_CYCLES):
        if c >= len(cover.cycles):
            out.rise[:, c] = out.fall[:, c] = NEVER
            out.rise_days[:, c] = out.fall_days[:, c] = out.yellow[:, c] = 10.0
            continue
        cycle = cover.cycles[c]
        grown = rng.random(n) < cycle.chance
        out.rise[:, c] = (
            rng.normal(cycle.rise[0], uneven * cycle.rise[1], n)
            + timing
            + type_shift
            + climate.spring * (cycle.rise[0] < 190)
        )
        # A late parcel is harvested later, but catches up half of its delay.
        dried = 14.0 * climate.drought * cover.summer * (150 < cycle.fall[0] < 290)
        fall_shift = climate.autumn if cycle.fall[0] > 220 else 0.6 * climate.spring
        out.fall[:, c] = (
            rng.normal(cycle.fall[0], uneven * cycle.fall[1], n) + 0.5 * timing + type_shift + fall_shift - dried
        )
        out.fall[:, c] = np.maximum(out.fall[:, c], out.rise[:, c] + 25)
        out.rise_days[:, c] = cycle.rise_days * rng.lognormal(0, 0.15 + 0.15 * variety, n)
        out.fall_days[:, c] = cycle.fall_days * rng.lognormal(0, 0.2, n)
        out.peak[:, c] = normal(cycle.peak) * vigour * grown
        out.yellow[:, c] = np.maximum(cycle.yellow * rng.lognormal(0, 0.25, n), 1.0)
        out.residue[:, c] = np.clip(cycle.residue * rng.normal(1, 0.3, n), 0, 0.95) * grown
    _draw_cuts(out, cover, n, climate, rng)
    if cover.blossom:
        out.blossom[:] = spectra.BLOSSOM[cover.blossom]
        out.bloom_day[:] = rng.normal(*cover.bloom_day, n) + 0.5 * timing + type_shift + climate.spring
        out.bloom_strength[:] = normal(cover.bloom_strength)
    out.summer[:] = cover.summer * rng.uniform(0.6, 1.2, n)
    _draw_radar(out, cover, n, climate, rng)
    return out


def _draw_spectra(out: Parcels, cover: CoverType, n: int, climate: Climate, rng: np.random.Generator) -> None:
    variety = climate.variety

    def tint(own: float, shared: float) -> Floats:
        return (rng.normal(0, own * climate.unevenness, n) + rng.normal(0, shared * variety)).astype(np.float32)[
            :, None
        ]

    directions = (
        tint(0.16, 0.30) * spectra.CHLOROPHYLL
        + tint(0.05, 0.10) * spectra.STRUCTURE
        + tint(0.09, 0.18) * spectra.LEAF_WATER
    )
    own_bands = 1 + rng.normal(0, 0.06 * variety, 10)
    out.leaf[:] = spectra.LEAVES[cover.leaf] * own_bands * np.exp(directions)
    out.dry[:] = spectra.DRY[cover.dry] * np.exp(tint(0.10, 0.15)) * (1 + rng.normal(0, 0.02, (n, 10)))
    # A place has one or two soils, and each parcel a mixture of them.
    first, second = (spectra.SOILS[cover.soils[rng.integers(len(cover.soils))]] for _ in range(2))
    share = rng.beta(2, 2, (n, 1)).astype(np.float32)
    out.soil[:] = (first * share + second * (1 - share)) * np.exp(tint(0.14, 0.15)) * (1 + rng.normal(0, 0.02, (n, 10)))
    if cover.materials:
        weights = rng.dirichlet(np.full(len(cover.materials), 0.7), n).astype(np.float32)
        table = np.stack([spectra.MATERIALS[name] for name in cover.materials])
        out.fixed[:] = weights @ table * np.exp(tint(0.08, 0.10)) * (1 + rng.normal(0, 0.03, (n, 10)))


def _draw_cuts(out: Parcels, cover: CoverType, n: int, climate: Climate, rng: np.random.Generator) -> None:
    out.cut_day[:] = NEVER
    count = np.minimum(rng.poisson(cover.cuts, n), MAX_CUTS)
    for m in range(MAX_CUTS):
        cut = m < count
        # Spread evenly over the season, in each parcel with its own days.
        day = 132 + (m + rng.random(n)) * 160 / np.maximum(count, 1) + climate.spring
        out.cut_day[:, m] = np.where(cut, day, NEVER)
        out.cut_depth[:, m] = np.where(cut, rng.beta(4, 2, n), 0)


def _draw_radar(out: Parcels, cover: CoverType, n: int, climate: Climate, rng: np.random.Generator) -> None:
    variety, spread = climate.variety, climate.unevenness * cover.radar.spread
    radar = cover.radar

    def levels(db: tuple[float, float], extra: float = 1.0) -> Floats:
        # VV and VH of one parcel rise and fall together, but not quite.
        common = rng.normal(0, spread * extra, (n, 1)) + rng.normal(0, 0.8 * variety)
        return (np.array(db) + common + rng.normal(0, 0.4 * spread, (n, 2))).astype(np.float32)

    out.radar_soil[:] = levels(radar.soil, 1.3)
    out.radar_canopy[:] = levels(radar.canopy)
    out.opacity[:] = np.array(radar.opacity) * rng.lognormal(0, 0.2, (n, 1))
    out.moisture_gain[:] = radar.moisture * rng.uniform(0.7, 1.3, n)
    if radar.fixed is not None:
        out.radar_fixed[:] = levels(radar.fixed)
        out.radar_built[:] = out.built
