"""Pixel time series of many random worlds, without building one: food for pretraining.

A world here is a climate, a year's weather, satellite geometry and some dozens of parcels of random covers; its pixels differ
by place within the parcel, mixed edges, texture, clouds, shadows, an imperfect mask, noise and speckle. Worlds are varied on
purpose, wider than any one place, so that an encoder trained on them has to cope with places it never saw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.dpixels.simulate import spectra
from tessera_core.dpixels.simulate.canopy import grow, reflectance
from tessera_core.dpixels.simulate.climates import CLIMATES, TEMPERATE, ClimateZone, draw_zone_weather, find_zone
from tessera_core.dpixels.simulate.covers import COVERS, CoverType
from tessera_core.dpixels.simulate.parcels import Climate, Parcels, draw_parcels
from tessera_core.dpixels.simulate.radar import encode, gamma0, speckle
from tessera_core.dpixels.simulate.randomised import RANDOMISED_PER_WORLD, randomised_covers
from tessera_core.dpixels.simulate.regional import ALL_COVERS
from tessera_core.dpixels.simulate.scene import (
    OpticalDates,
    RadarPasses,
    Weather,
    draw_optical_dates,
    draw_radar_passes,
    draw_weather,
    through_atmosphere,
)
from tessera_core.errors import InputError
from tessera_core.types import Floats

S2_DATES = 96
S1_PASSES = 72
PIXELS_PER_PARCEL = 8
PARCELS_PER_WORLD = 48
COVER_NAMES = tuple(ALL_COVERS)
"""What ``DPixelSample.covers`` indexes; those of the temperate climate come first."""
TEMPERATE_COVERS = tuple(COVERS)
NO_COVER = 255
"""In ``DPixelSample.covers``: a randomised cover, which has no name."""


@dataclass(frozen=True)
class DPixelSample:
    """Time series of N pixels, padded to a common number of dates with what means "no observation" in tiles.

    Attributes:
        s2: uint16 (N, S2_DATES, 10), order of ``S2_BANDS``; cloudy values are kept.
        masks: uint8 (N, S2_DATES), 1 = usable; padding is 0.
        doys: uint16 (N, S2_DATES); padding is 0.
        sar_asc, sar_desc: int16 (N, S1_PASSES, 2) in tile storage, 0 = missing; padding is 0.
        doys_asc, doys_desc: int16 (N, S1_PASSES); padding is 0.
        covers: uint8 (N,) index into :data:`COVER_NAMES` (of the larger part of a mixed pixel), or :data:`NO_COVER`.
        parcels: int32 (N,), equal for pixels of one parcel.
        worlds: int32 (N,), equal for pixels of one world.
        climates: uint8 (N,) index into :data:`.climates.CLIMATES`.
    """

    s2: NDArray[np.uint16]
    masks: NDArray[np.uint8]
    doys: NDArray[np.uint16]
    sar_asc: NDArray[np.int16]
    doys_asc: NDArray[np.int16]
    sar_desc: NDArray[np.int16]
    doys_desc: NDArray[np.int16]
    covers: NDArray[np.uint8]
    parcels: NDArray[np.int32]
    worlds: NDArray[np.int32]
    climates: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.covers)


def sample_dpixels(
    n: int,
    seed: int,
    *,
    pixels_per_parcel: int = PIXELS_PER_PARCEL,
    parcels_per_world: int = PARCELS_PER_WORLD,
    climates: Sequence[str] = (TEMPERATE,),
    randomised: float = 0.0,
) -> DPixelSample:
    """Draw ``n`` pixels of as many random worlds as needed; the same arguments give the same bytes.

    Args:
        n: number of pixels.
        seed: world ``k`` depends on ``(seed, k)`` only, so a longer draw begins with the whole worlds of a shorter one.
        pixels_per_parcel, parcels_per_world: few pixels per parcel and many worlds make a more varied sample.
        climates: names in :data:`.climates.CLIMATES`; each world draws one of them, with even chances.
        randomised: chance that a world's covers are not its climate's but random ones, see :mod:`.randomised`.

    Raises:
        InputError: there is no such climate, or none is named.
    """
    if not climates:
        raise InputError("A sample of simulated pixels needs at least one climate.")
    zones = [find_zone(name) for name in climates]
    out = _empty(n)
    per_world = pixels_per_parcel * parcels_per_world
    for k, start in enumerate(range(0, n, per_world)):
        rng = np.random.default_rng((seed, k))
        rows = slice(start, min(start + per_world, n))
        # A choice of its own, so that temperate worlds are the same whether or not there are others.
        lot = int(np.random.default_rng((seed, k, 1)).integers(len(zones)))
        out.climates[rows] = CLIMATES.index(climates[lot])
        chance = np.random.default_rng((seed, k, 2))
        covers = randomised_covers(RANDOMISED_PER_WORLD, chance) if chance.random() < randomised else None
        _fill_world(out, rows, k, rng, pixels_per_parcel, parcels_per_world, zones[lot], covers)
    return out


def stream_dpixels(chunk: int, seed: int, **arrangement: Any) -> Iterator[DPixelSample]:
    """Endless chunks of ``chunk`` pixels, no world in two of them; arguments as in :func:`sample_dpixels`."""
    seeds = np.random.SeedSequence(seed)
    while True:
        yield sample_dpixels(chunk, int(seeds.spawn(1)[0].generate_state(1, np.uint64)[0] >> 1), **arrangement)


def _empty(n: int) -> DPixelSample:
    return DPixelSample(
        s2=np.zeros((n, S2_DATES, 10), np.uint16),
        masks=np.zeros((n, S2_DATES), np.uint8),
        doys=np.zeros((n, S2_DATES), np.uint16),
        sar_asc=np.zeros((n, S1_PASSES, 2), np.int16),
        doys_asc=np.zeros((n, S1_PASSES), np.int16),
        sar_desc=np.zeros((n, S1_PASSES, 2), np.int16),
        doys_desc=np.zeros((n, S1_PASSES), np.int16),
        covers=np.zeros(n, np.uint8),
        parcels=np.zeros(n, np.int32),
        worlds=np.zeros(n, np.int32),
        climates=np.zeros(n, np.uint8),
    )


def _fill_world(
    out: DPixelSample,
    rows: slice,
    world: int,
    rng: np.random.Generator,
    per_parcel: int,
    parcel_count: int,
    zone: ClimateZone | None,
    randomised: Sequence[CoverType] | None,
) -> None:
    if zone is None:
        climate = Climate(
            spring=rng.normal(0, 12),
            autumn=rng.normal(0, 10),
            growth=rng.uniform(0.75, 1.2),
            drought=rng.choice((0.0, rng.uniform(0.2, 1.0)), p=(0.65, 0.35)),
            variety=rng.uniform(0.3, 1.2),
            unevenness=rng.uniform(0.7, 1.8),
        )
        weather = draw_weather(rng, rng.uniform(0.25, 0.68), rng.uniform(0.2, 0.8), climate.drought, rng.beta(1, 3))
        common = np.ones(len(TEMPERATE_COVERS))
        kinds = np.arange(len(TEMPERATE_COVERS))
    else:
        climate = zone.draw_climate(rng)
        weather = draw_zone_weather(zone, rng, climate.drought)
        common = np.array(list(zone.covers.values()))
        kinds = np.array([COVER_NAMES.index(name) for name in zone.covers])
    table: Sequence[str | CoverType] = COVER_NAMES
    if randomised is not None:
        table, kinds, common = randomised, np.arange(len(randomised)), np.ones(len(randomised))
    # Each world has its own mixture of covers, some of them absent.
    which = kinds[rng.choice(len(kinds), parcel_count, p=rng.dirichlet(1.5 * common))]
    parcels = draw_parcels(table, which, climate, rng)
    n = rows.stop - rows.start
    parcel_of = np.repeat(np.arange(parcel_count), per_parcel)[:n]
    blend = np.clip(rng.normal(0.5, 0.28, n), -0.2, 1.2).astype(np.float32)
    other = rng.integers(0, parcel_count, n)
    share = np.where(rng.random(n) < 0.25, rng.uniform(0, 0.5, n), 0).astype(np.float32)

    dates = _gapped(
        draw_optical_dates(
            rng,
            weather,
            latitude=rng.uniform(*(zone.latitude if zone else (42, 58))),
            orbits=1 + int(rng.random() < 0.35),
        ),
        rng,
    )
    t = len(dates.doys)
    contrast = rng.uniform(0.08, 0.25)
    poor, rich = (
        reflectance(parcels, grow(parcels, dates.doys, climate.drought, 1 + sign * contrast), weather.on("moisture", dates.doys),
                    weather.on("snow", dates.doys))
        for sign in (-1, 1)
    )  # fmt: skip
    surface = _blend(poor, rich, parcel_of, blend)
    mixed = np.flatnonzero(share > 0)
    # Registration wanders by a few metres, so the mixture of an edge pixel changes from date to date.
    jitter = np.clip(share[mixed, None] + rng.normal(0, 0.06, (len(mixed), t)), 0, 1).astype(np.float32)[:, :, None]
    surface[mixed] += (0.5 * (poor + rich)[other[mixed]] - surface[mixed]) * jitter
    texture = 1 + rng.normal(0, 0.04, (n, 1)) + rng.normal(0, 0.02, (n, 10))
    surface *= texture[:, None, :].astype(np.float32)
    through_atmosphere(surface, dates)
    usable = _add_clouds(surface, dates, parcel_of, rng)
    noise = rng.standard_normal(surface.shape, np.float32)
    surface += noise * (0.004 + 0.012 * surface)
    out.s2[rows, :t] = np.clip(surface * 10000, 1, 65535)
    out.masks[rows, :t] = usable
    out.doys[rows, :t] = dates.doys

    looks = rng.uniform(3.5, 7.0)
    single = rng.choice((0, 1, 2), p=(0.7, 0.18, 0.12))  # some places have one direction only
    for direction, (sar, doys) in enumerate(((out.sar_asc, out.doys_asc), (out.sar_desc, out.doys_desc))):
        if single == 2 - direction:
            continue
        orbits = 1 + int(rng.random() < 0.4)
        passes = draw_radar_passes(rng, repeat=12 if orbits == 2 else int(rng.choice((6, 12, 12))), orbits=orbits)
        levels = _radar_levels(parcels, passes, weather, climate, rng)
        pixels = levels[parcel_of]
        near = np.flatnonzero(share > 0.2)
        pixels[near] += (levels[other[near]] - pixels[near]) * share[near, None, None]
        pixels += rng.normal(0, 0.6, (n, 1, 2)).astype(np.float32)
        pixels += speckle(pixels.shape, rng, looks)
        count = min(len(passes.doys), S1_PASSES)
        sar[rows, :count] = encode(pixels[:, :count])
        doys[rows, :count] = passes.doys[:count]
    out.covers[rows] = which[parcel_of] if randomised is None else NO_COVER
    out.parcels[rows] = parcel_of + world * parcel_count
    out.worlds[rows] = world


def _blend(poor: Floats, rich: Floats, parcel_of: NDArray[np.intp], blend: Floats) -> Floats:
    surface = (rich - poor)[parcel_of]
    surface *= blend[:, None, None]
    surface += poor[parcel_of]
    return surface


def _gapped(dates: OpticalDates, rng: np.random.Generator) -> OpticalDates:
    """Drop a random stretch now and then, and the cloudiest dates beyond :data:`S2_DATES`."""
    keep = np.ones(len(dates.doys), bool)
    if rng.random() < 0.35:
        start = rng.integers(1, 366)
        keep &= (dates.doys.astype(int) - start) % 366 >= rng.integers(15, 75)
    if rng.random() < 0.5:  # stackers drop dates without a clear pixel
        keep &= dates.cover < 0.985
    excess = int(keep.sum()) - S2_DATES
    if excess > 0:
        order = np.argsort(np.where(keep, dates.cover, -1))
        keep[order[-excess:]] = False
    return OpticalDates(**{f.name: getattr(dates, f.name)[keep] for f in fields(OpticalDates)})


def _add_clouds(
    surface: Floats, dates: OpticalDates, parcel_of: NDArray[np.intp], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Put clouds and shadows over ``surface`` (N, T, 10) in place; returns the mask that a classifier would give."""
    n, t = surface.shape[:2]
    # Neighbours share their sky most of the time.
    sky = rng.random((int(parcel_of.max()) + 1, t), np.float32)[parcel_of]
    own = rng.random((n, t), np.float32)
    sky = np.where(own < 0.15, rng.random((n, t), np.float32), sky)
    cloudy = sky < dates.cover
    shadow = ~cloudy & (sky < np.minimum(dates.cover * 1.18 + 0.01, 1))
    depth = rng.gamma(1.2, 1.0, (n, t)).astype(np.float32)
    opaque = np.where(cloudy, 1 - np.exp(-depth), 0).astype(np.float32)
    thin = (~cloudy & (own > 0.88)) * rng.random((n, t), np.float32) * 0.05
    opaque += thin
    brightness = rng.uniform(0.35, 1.0, (n, t)).astype(np.float32)
    touched = np.nonzero(opaque > 0)
    a = opaque[touched][:, None]
    values = surface[touched]
    surface[touched] = values + (spectra.CLOUD * brightness[touched][:, None] - values) * a
    shaded = np.nonzero(shadow)
    surface[shaded] *= rng.uniform(0.3, 0.75, (len(shaded[0]), 1)).astype(np.float32)
    chance = rng.random((n, t), np.float32)
    missed = np.where(opaque > 0.25, 0.015, np.where(opaque > 0.1, 0.35, 0.97))
    found = np.where(opaque > 0, chance > missed, np.where(shadow, chance > 0.15, chance < 0.04))
    return (~found).astype(np.uint8)


def _radar_levels(
    parcels: Parcels, passes: RadarPasses, weather: Weather, climate: Climate, rng: np.random.Generator
) -> Floats:
    doys = passes.doys
    canopy = grow(parcels, doys, climate.drought)
    levels = gamma0(
        parcels,
        canopy,
        weather.on("moisture", doys),
        passes.incidence,
        weather.on("rain", doys) * 0.5,
        weather.on("snow", doys),
    )
    levels += passes.offset[:, None]
    # Rows and roofs have a direction; ploughing and sowing change a field's roughness from one pass to the next.
    levels += rng.normal(0, 0.5, (len(levels), 1, 1)).astype(np.float32)
    levels += rng.normal(0, 0.45, (*levels.shape[:2], 1)).astype(np.float32)
    return levels
