"""One year's sky over a place: weather, when the satellites pass, and what the atmosphere adds.

Rain is a two-state Markov chain (Richardson 1981) that fills a leaky top soil; cloudiness follows the season and the rain.
Sentinel-2 passes every five days per relative orbit and Sentinel-1 every twelve (six with both satellites), with outages.
The residue that atmospheric correction leaves (aerosol in the blue, a gain per date) is of the size of Sen2Cor's validated
uncertainty, about 0.01 to 0.02 (Doxani et al. 2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_core.dpixels.simulate import spectra
from tessera_core.types import Floats

YEAR_DAYS = 366


@dataclass(frozen=True)
class Weather:
    """Daily weather of one year, float32 (366,) each, indexed by day of year - 1.

    Attributes:
        moisture: water in the top soil, 0 to 1.
        rain: 1 on days with rain before the morning passes.
        snow: share of open ground under snow.
        cloud: expected cloud cover, 0 to 1.
        drought: severity of the summer's drought, 0 to 1.
        temperature: of the air in degrees C; None in the temperate climate, whose snow is drawn as spells.
    """

    moisture: Floats
    rain: Floats
    snow: Floats
    cloud: Floats
    drought: float
    temperature: Floats | None = None

    def on(self, name: str, doys: NDArray[np.integer]) -> Floats:
        """The series ``name`` on days of year (T,)."""
        series: Floats | None = getattr(self, name)
        if series is None:
            raise ValueError(f"this weather has no {name}")
        return series[np.asarray(doys, np.intp) - 1]


@dataclass(frozen=True)
class OpticalDates:
    """Sentinel-2 dates of one year.

    Attributes:
        doys: uint16 (T,), rising.
        cover: float32 (T,) cloud cover of the scene.
        gain: float32 (T, 10) factor left by calibration and view angle.
        haze: float32 (T,) aerosol reflectance left in the blue band.
        sun_elevation, sun_azimuth: float32 (T,) degrees.
    """

    doys: NDArray[np.uint16]
    cover: Floats
    gain: Floats
    haze: Floats
    sun_elevation: Floats
    sun_azimuth: Floats


@dataclass(frozen=True)
class RadarPasses:
    """Sentinel-1 passes of one orbit direction: int16 (T,) days of year, float32 (T,) incidence and calibration offset (dB)."""

    doys: NDArray[np.int16]
    incidence: Floats
    offset: Floats


def draw_weather(
    rng: np.random.Generator, cloudiness: float = 0.55, wetness: float = 0.5, drought: float = 0.0, winter: float = 0.3
) -> Weather:
    """Draw a year's weather; all arguments lie between 0 and 1, ``winter`` is how much snow to expect."""
    day = np.arange(1, YEAR_DAYS + 1)
    cold = 0.5 + 0.5 * np.cos(2 * np.pi * (day - 15) / 365.25)  # 1 in mid-January
    dry_spell = drought * np.exp(-0.5 * ((day - 195) / 38) ** 2)
    chance = np.clip(0.18 + 0.35 * wetness + 0.10 * cold - 0.45 * dry_spell, 0.03, 0.9)
    draws, amount = rng.random(YEAR_DAYS), rng.gamma(0.8, 6.0, YEAR_DAYS)
    loss = 0.03 + 0.13 * (1 - cold) * (1 + 0.5 * drought)
    rain, moisture = np.zeros(YEAR_DAYS, np.float32), np.zeros(YEAR_DAYS, np.float32)
    wet, water = False, 0.4 + 0.4 * wetness
    for i in range(YEAR_DAYS):
        wet = draws[i] < chance[i] + (0.25 if wet else -0.12)
        water = min(1.0, water * (1 - loss[i]) + (0.022 * amount[i] if wet else 0.0))
        rain[i], moisture[i] = wet, water
    snow = np.zeros(YEAR_DAYS, np.float32)
    for _ in range(rng.poisson(3.0 * winter)):
        start, length = int(rng.normal(20, 28)) % YEAR_DAYS, int(rng.gamma(2.0, 5.0 * (0.5 + winter))) + 1
        snow[(start + np.arange(length)) % YEAR_DAYS] = rng.uniform(0.3, 1.0)
    season = (
        cloudiness
        + 0.14 * cold
        - 0.22 * dry_spell
        + rng.normal(0, 0.06) * np.sin(2 * np.pi * day / 365 + rng.uniform(0, 6))
    )
    return Weather(moisture, rain, snow, np.clip(season, 0.05, 0.95).astype(np.float32), drought)


def draw_optical_dates(
    rng: np.random.Generator, weather: Weather, *, latitude: float = 52.0, orbits: int = 1, outage: float = 0.06
) -> OpticalDates:
    """Draw the Sentinel-2 dates of a year: every five days per orbit, a share ``outage`` missing."""
    first = int(rng.integers(1, 6))
    starts = [first, first + int(rng.choice((2, 3)))][:orbits]
    doys = np.sort(np.concatenate([np.arange(start, YEAR_DAYS, 5) for start in starts]))
    doys = doys[rng.random(len(doys)) >= outage]
    t = len(doys)
    # Covers are U-shaped: most dates are nearly clear or nearly overcast.
    mean = np.clip(weather.on("cloud", doys) + 0.12 * (weather.on("rain", doys) - 0.4), 0.03, 0.97)
    cover = rng.beta(mean * 0.9, (1 - mean) * 0.9)
    gain = 1 + rng.normal(0, 0.030, (t, 1)) + rng.normal(0, 0.012, (t, 10))
    haze = rng.gamma(1.3, 0.010, t) - 0.006
    elevation, azimuth = sun_position(doys, latitude)
    # Low suns see more shadow between plants, and correct for more air.
    gain *= (0.90 + 0.13 * np.sin(np.radians(np.maximum(elevation, 8))))[:, None]
    return OpticalDates(
        doys.astype(np.uint16),
        *(np.asarray(a, np.float32) for a in (cover, gain, haze, elevation, azimuth)),
    )


def draw_radar_passes(
    rng: np.random.Generator, *, repeat: int = 12, orbits: int = 1, outage: float = 0.04
) -> RadarPasses:
    """Draw the Sentinel-1 passes of one direction: every ``repeat`` days per relative orbit."""
    starts = rng.permutation(repeat)[:orbits] + 1
    angles = rng.uniform(32.0, 44.0, orbits)
    doys = np.concatenate([np.arange(start, YEAR_DAYS, repeat) for start in starts])
    angle = np.concatenate(
        [np.full(len(range(start, YEAR_DAYS, repeat)), a) for start, a in zip(starts, angles, strict=True)]
    )
    keep = np.flatnonzero(rng.random(len(doys)) >= outage)
    keep = keep[np.argsort(doys[keep], kind="stable")]
    offset = rng.normal(0, 0.25, len(keep))
    return RadarPasses(doys[keep].astype(np.int16), angle[keep].astype(np.float32), offset.astype(np.float32))


def sun_position(doys: NDArray[np.integer], latitude: float) -> tuple[Floats, Floats]:
    """Elevation and azimuth of the sun in degrees at Sentinel-2's overpass, about 10:50 local solar time (T,)."""
    declination = np.radians(-23.44) * np.cos(2 * np.pi * (np.asarray(doys) + 10) / 365.25)
    hour, lat = np.radians(-17.5), np.radians(latitude)
    sine = np.sin(lat) * np.sin(declination) + np.cos(lat) * np.cos(declination) * np.cos(hour)
    elevation = np.arcsin(np.clip(sine, -1, 1))
    east = -np.cos(declination) * np.sin(hour)
    north = np.sin(declination) * np.cos(lat) - np.cos(declination) * np.sin(lat) * np.cos(hour)
    azimuth = np.degrees(np.arctan2(east, north)) % 360
    return np.degrees(elevation).astype(np.float32), azimuth.astype(np.float32)


def through_atmosphere(surface: Floats, dates: OpticalDates) -> Floats:
    """What correction leaves of a surface: ``(..., T, 10)`` with each date's gain and haze, in place."""
    surface *= dates.gain
    surface += dates.haze[:, None] * spectra.HAZE
    return surface
