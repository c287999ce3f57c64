"""A world and a year -> the d-pixel tile that the satellites would have made of it, one date at a time.

Memory holds one image, not the stack: what is bounded is (H, W, 10) float32 and the parcels' curves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_core import __version__
from tessera_core.dpixels.simulate import spectra
from tessera_core.dpixels.simulate.canopy import Canopy, grow, reflectance
from tessera_core.dpixels.simulate.classes import WORLD_COVERS
from tessera_core.dpixels.simulate.climates import draw_zone_weather
from tessera_core.dpixels.simulate.clouds import CloudMaker, classify, cover_with
from tessera_core.dpixels.simulate.parcels import Climate, Parcels, draw_parcels
from tessera_core.dpixels.simulate.radar import encode, gamma0, speckle
from tessera_core.dpixels.simulate.scene import (
    OpticalDates,
    RadarPasses,
    Weather,
    draw_optical_dates,
    draw_radar_passes,
    draw_weather,
)
from tessera_core.dpixels.simulate.world import World
from tessera_core.dpixels.tile import S2_BANDS, DPixelTile, TileArrays, create_tile
from tessera_core.errors import Cancelled
from tessera_core.types import Cancel, Floats, Progress

LATITUDE = 52.0
_COARSE = [S2_BANDS.index(band) for band in ("B8A", "B05", "B06", "B07", "B11", "B12")]  # sensed at 20 m
_EDGE_COVERS = ("broadleaf wood", "built-up")  # hedge, lane
# Relative spread of brightness between neighbouring pixels, where it is not the common one of fields.
_ROUGHNESS = {"built-up": 0.13, "broadleaf wood": 0.06, "conifer wood": 0.06, "scrub": 0.05, "bare ground": 0.06}
_ASCENDING_LOOK, _DESCENDING_LOOK = np.radians(80.0), np.radians(280.0)  # Sentinel-1 looks to its right


@dataclass(frozen=True)
class _Year:
    """What all dates of a year share."""

    world: World
    covers: NDArray[np.uint8]
    parcels: Parcels
    edges: Parcels
    weather: Weather
    climate: Climate


def observe(
    world: World,
    year: int,
    folder: str | Path,
    *,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> DPixelTile:
    """Write a year of Sentinel-1/2 observations of ``world`` as the tile ``folder`` and open it.

    About 67 Sentinel-2 dates, cloudy ones included, and a Sentinel-1 pass every twelve days in both directions. The same
    world and year give the same bytes.

    Raises:
        Cancelled: ``cancelled()`` became true; nothing is left behind.
        ExportError: the folder cannot be written.
    """
    rng = np.random.default_rng((world.seed, year, 10))
    climate = world.climate(year)
    latitude, zone = LATITUDE, world.zone
    if zone is None:
        weather = draw_weather(rng, cloudiness=0.38, wetness=0.5, drought=climate.drought, winter=0.15)
    else:
        weather, latitude = draw_zone_weather(zone, rng, climate.drought), sum(zone.latitude) / 2
    dates = draw_optical_dates(rng, weather, latitude=latitude, outage=0.08)
    ascending, descending = (draw_radar_passes(rng, repeat=12) for _ in range(2))
    edge_rng = np.random.default_rng((world.seed, 11))
    edges = draw_parcels(_EDGE_COVERS, np.arange(len(_EDGE_COVERS)), Climate(variety=0.0), edge_rng)
    shared = _Year(world, world.covers[year], world.parcels(year), edges, weather, climate)
    total = len(dates.doys) + len(ascending.doys) + len(descending.doys)
    done = 0

    def step(message: str) -> None:
        nonlocal done
        done += 1
        if cancelled is not None and cancelled():
            raise Cancelled
        if progress is not None:
            progress(done, total, message)

    meta = {"year": year, "source": "simulated", "software": f"tessera-studio {__version__}", "seed": world.seed}
    if zone is not None:
        meta["climate"] = zone.name
    with create_tile(folder, world.grid, dates.doys, ascending.doys, descending.doys, meta=meta) as arrays:
        _observe_optical(shared, dates, arrays, np.random.default_rng((world.seed, year, 12)), step)
        directions = ((arrays.sar_asc, ascending, _ASCENDING_LOOK), (arrays.sar_desc, descending, _DESCENDING_LOOK))
        for number, (sar, passes, look) in enumerate(directions):
            chance = np.random.default_rng((world.seed, year, 13 + number))
            _observe_radar(shared, passes, look, sar, chance, step)
    return DPixelTile.open(folder)


def _observe_optical(
    shared: _Year, dates: OpticalDates, arrays: TileArrays, rng: np.random.Generator, step: Callable[[str], None]
) -> None:
    world, size = shared.world, shared.world.grid.height
    parcel, hedge = world.layout.parcel, world.layout.hedge
    moisture, snow = shared.weather.on("moisture", dates.doys), shared.weather.on("snow", dates.doys)
    drought = shared.climate.drought
    poor, rich = (
        reflectance(shared.parcels, grow(shared.parcels, dates.doys, drought, vigour), moisture, snow)
        for vigour in (0.82, 1.18)
    )
    at_edge = np.nonzero(hedge > 0)
    edge_kind, edge_share = world.layout.lane[at_edge].astype(np.intp), hedge[at_edge][:, None]
    edge = reflectance(shared.edges, grow(shared.edges, dates.doys), moisture, snow)
    texture = _texture(world, shared.covers, np.random.default_rng((world.seed, 14)))
    clouds = CloudMaker(size, np.random.default_rng((world.seed, 15)))
    for t in range(len(dates.doys)):
        # (P, 10) contiguous tables make the gather fast.
        low, difference = np.ascontiguousarray(poor[:, t]), np.ascontiguousarray((rich - poor)[:, t])
        image = np.take(difference, parcel, axis=0)
        image *= world.vigour[..., None]
        image += np.take(low, parcel, axis=0)
        image[at_edge] += (edge[edge_kind, t] - image[at_edge]) * edge_share
        image *= texture
        elevation, azimuth = float(dates.sun_elevation[t]), float(dates.sun_azimuth[t])
        image *= world.terrain.illumination(elevation, azimuth)[..., None]
        image = _sense(image, rng)
        image *= dates.gain[t]
        image += dates.haze[t] * spectra.HAZE
        sky = clouds.draw(float(dates.cover[t]), elevation, azimuth, rng)
        cover_with(image, sky)
        noise = rng.standard_normal(image.shape, np.float32)
        noise *= 0.003 + 0.010 * image
        image += noise
        arrays.masks[t] = classify(sky, image, rng)
        image *= 10000
        arrays.bands[t] = np.clip(image, 1, 65535, out=image)
        step(f"Sentinel-2, day {dates.doys[t]}")


def _observe_radar(
    shared: _Year,
    passes: RadarPasses,
    look: float,
    sar: NDArray[np.int16],
    rng: np.random.Generator,
    step: Callable[[str], None],
) -> None:
    world, parcel = shared.world, shared.world.layout.parcel
    doys, drought = passes.doys, shared.climate.drought
    canopy = grow(shared.parcels, doys, drought)
    moisture, snow = shared.weather.on("moisture", doys), shared.weather.on("snow", doys)
    rain = 0.5 * shared.weather.on("rain", doys)
    levels = gamma0(shared.parcels, canopy, moisture, passes.incidence, rain, snow) + passes.offset[:, None]
    # Rows and roofs have a direction; ploughing and sowing change a field's roughness from one pass to the next.
    fixed = np.random.default_rng((world.seed, 16, int(np.degrees(look))))
    levels += fixed.normal(0, 0.5, (len(levels), 1, 1))
    levels += rng.normal(0, 0.45, (*levels.shape[:2], 1))
    slopes = _facing(world, look)
    # Every house is its own corner reflector.
    rough = np.where(shared.covers == WORLD_COVERS.index("built-up"), 2.4, 0.5).astype(np.float32)
    slopes += fixed.standard_normal(parcel.shape, np.float32) * rough[parcel]
    hedge = world.layout.hedge[..., None]
    hedges: Canopy = grow(shared.edges, doys)
    edge = gamma0(shared.edges, hedges, moisture, passes.incidence, rain, snow)
    for t in range(len(doys)):
        image = np.take(np.ascontiguousarray(levels[:, t], dtype=np.float32), parcel, axis=0)
        image += (np.where(world.layout.lane[..., None], edge[1, t], edge[0, t]) - image) * hedge
        image += slopes[..., None]
        image += speckle(image.shape, rng)
        sar[t] = encode(image)
        step(f"Sentinel-1, day {doys[t]}")


def _texture(world: World, covers: NDArray[np.uint8], rng: np.random.Generator) -> Floats:
    """Factor (H, W, 10) for what makes neighbouring pixels of a parcel differ all year."""
    shape = world.layout.parcel.shape
    rough = np.array([_ROUGHNESS.get(name, 0.028) for name in WORLD_COVERS], np.float32)[covers][world.layout.parcel]
    common = rng.standard_normal(shape, np.float32) * rough
    own = rng.standard_normal((*shape, 10), np.float32) * (0.3 * rough[..., None])
    return np.maximum(1 + common[..., None] + own, 0.3)


def _sense(image: Floats, rng: np.random.Generator) -> Floats:
    """The instrument's view: a footprint that wanders by some metres between dates, and 20 m bands brought to 10 m."""
    for axis in (0, 1):
        shift = float(np.clip(rng.normal(0, 0.22), -0.6, 0.6))
        near = image[1:] if axis == 0 else image[:, 1:]
        far = image[:-1] if axis == 0 else image[:, :-1]
        if shift < 0:
            near, far = far, near
        step = (far - near) * np.float32(abs(shift))
        near += step
    coarse = image[..., _COARSE]
    half = coarse.shape[0] // 2, coarse.shape[1] // 2
    coarse = coarse.reshape(half[0], 2, half[1], 2, len(_COARSE)).mean((1, 3))
    image[..., _COARSE] = _double(_double(coarse, 0), 1)
    return image


def _double(image: Floats, axis: int) -> Floats:
    """Twice as many pixels along an axis, by linear interpolation between pixel centres."""
    image = np.moveaxis(image, axis, 0)
    before = np.concatenate([image[:1], image[:-1]])
    after = np.concatenate([image[1:], image[-1:]])
    out = np.empty((2 * len(image), *image.shape[1:]), np.float32)
    out[0::2] = 0.75 * image + 0.25 * before
    out[1::2] = 0.75 * image + 0.25 * after
    return np.moveaxis(out, 0, axis)


def _facing(world: World, look: float) -> Floats:
    """Decibels (H, W) that terrain flattening leaves: slopes that face the radar are brighter."""
    terrain = world.terrain
    return (-2.5 * np.tan(terrain.slope) * np.cos(terrain.aspect - look)).astype(np.float32)
