"""Climates: how warm, wet and cloudy the days of a year are, when it snows, and what grows there.

Zones follow the Koeppen-Geiger classes as mapped by Beck et al. (2018), which also bounds their temperatures. Cloud amounts and
the months of most cloud are of the size of MODIS' climatology (Wilson & Jetz 2016). Rain is the two-state Markov chain of
Richardson (1981) with a chance that follows the season. Snow falls at or below 1 degree C and melts by the degree-day method
with 3 mm a day and degree (Hock 2003); 15 mm of water hide the ground. All figures are our own rounding. Northern hemisphere.

The temperate climate of north-west Europe is not in the table: it is :func:`.scene.draw_weather`, and stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tessera_core.dpixels.simulate.parcels import Climate
from tessera_core.dpixels.simulate.scene import YEAR_DAYS, Weather
from tessera_core.errors import InputError
from tessera_core.types import Floats

TEMPERATE = "temperate"
_SNOW_AT, _MELT, _HIDES = 1.0, 3.0, 15.0  # degrees C; mm a day and degree; mm


@dataclass(frozen=True)
class Season:
    """A quantity that follows the year: ``mean + amplitude cos(2 pi (day - peak) / 365.25)``."""

    mean: tuple[float, float]
    amplitude: float
    peak: float

    def draw(self, rng: np.random.Generator) -> Floats:
        """One year, (366,), with the mean between its bounds and the peak within some weeks."""
        day = np.arange(1, YEAR_DAYS + 1)
        mean, peak = rng.uniform(*self.mean), self.peak + rng.normal(0, 10)
        return np.asarray(mean + self.amplitude * np.cos(2 * np.pi * (day - peak) / 365.25), np.float32)


@dataclass(frozen=True)
class ClimateZone:
    """A climate zone.

    Attributes:
        name: as in configurations.
        koeppen: classes that it stands for.
        latitude: bounds, degrees north.
        temperature: degrees C.
        rain: chance of rain on a day after a dry one, about.
        cloud: expected cover of a scene, 0 to 1.
        spring, autumn: mean and deviation of the days by which temperate covers begin and end later here.
        growth: bounds of the factor on leaf areas.
        drought: bounds of a summer drought's severity.
        covers: what grows here, and how common it is against the others.
        roles: what takes the place of a temperate cover in a landscape of :mod:`.world`.
        epsg: UTM zone of such landscapes.
    """

    name: str
    koeppen: str
    latitude: tuple[float, float]
    temperature: Season
    rain: Season
    cloud: Season
    spring: tuple[float, float]
    autumn: tuple[float, float]
    growth: tuple[float, float]
    drought: tuple[float, float]
    covers: dict[str, float]
    roles: dict[str, str] = field(default_factory=dict)
    epsg: int = 32631

    def draw_climate(self, rng: np.random.Generator) -> Climate:
        """How a place of this zone and its year depart from the table of covers."""
        return Climate(
            spring=rng.normal(*self.spring),
            autumn=rng.normal(*self.autumn),
            growth=rng.uniform(*self.growth),
            drought=rng.uniform(*self.drought),
            variety=rng.uniform(0.3, 1.2),
            unevenness=rng.uniform(0.7, 1.8),
        )


_EVERYWHERE = {"water": 0.8, "built-up": 0.8, "bare ground": 0.6}

ZONES: dict[str, ClimateZone] = {
    zone.name: zone
    for zone in (
        ClimateZone(
            "mediterranean",
            "Csa, Csb",
            (34, 44),
            Season((14, 18), 8.5, 202),
            Season((0.10, 0.20), 0.12, 355),
            Season((0.32, 0.46), 0.18, 355),
            (-22, 10),
            (14, 10),
            (0.7, 1.0),
            (0.3, 1.0),
            _EVERYWHERE
            | {"olive grove": 1.2, "vineyard": 1.0, "maquis": 1.2, "winter cereal, dry": 1.3, "orchard": 0.8}
            | {"conifer wood": 0.7, "irrigated fields": 0.5, "maize": 0.5, "grassland": 0.7, "vegetables": 0.6},
            {"broadleaf wood": "maquis", "winter wheat": "winter cereal, dry", "rapeseed": "vineyard"}
            | {"sugar beet": "olive grove", "scrub": "maquis"},
            32630,
        ),
        ClimateZone(
            "continental",
            "Dfa, Dfb",
            (42, 54),
            Season((5, 9), 14.5, 202),
            Season((0.22, 0.34), 0.06, 170),
            Season((0.46, 0.60), 0.14, 355),
            (10, 6),
            (-8, 6),
            (0.75, 1.1),
            (0.0, 0.8),
            _EVERYWHERE
            | {"winter wheat": 1.2, "maize": 1.2, "sunflower": 1.0, "soybean": 1.0, "rapeseed": 0.6, "steppe": 0.9}
            | {"spring barley": 0.7, "broadleaf wood": 0.9, "conifer wood": 0.5, "grassland": 0.7, "wetland": 0.4},
            {"rapeseed": "sunflower", "sugar beet": "soybean", "grassland": "steppe"},
            32636,
        ),
        ClimateZone(
            "boreal",
            "Dfc",
            (58, 67),
            Season((-2, 3), 14.0, 203),
            Season((0.28, 0.38), 0.05, 225),
            Season((0.60, 0.72), 0.10, 330),
            (28, 6),
            (-26, 6),
            (0.6, 0.95),
            (0.0, 0.3),
            _EVERYWHERE
            | {"conifer wood": 2.2, "birch wood": 1.3, "peat bog": 1.2, "lichen heath": 0.9, "spring barley": 0.7}
            | {"temporary ley": 0.6, "scrub": 0.5, "wetland": 0.4},
            {"broadleaf wood": "birch wood", "winter wheat": "spring barley", "rapeseed": "temporary ley"}
            | {"maize": "spring barley", "sugar beet": "peat bog", "scrub": "lichen heath"},
            32635,
        ),
        ClimateZone(
            "semi-arid",
            "BSh, BWh",
            (12, 34),
            Season((22, 29), 6.0, 190),
            Season((0.02, 0.08), 0.07, 228),
            Season((0.14, 0.30), 0.12, 228),
            (0, 10),
            (0, 10),
            (0.6, 1.1),
            (0.0, 0.3),
            _EVERYWHERE | {"shrub steppe": 1.6, "desert": 1.4, "millet": 1.2, "irrigated fields": 0.9, "savanna": 0.6},
            {"broadleaf wood": "savanna", "conifer wood": "savanna", "scrub": "shrub steppe"}
            | {"grassland": "shrub steppe", "winter wheat": "millet", "rapeseed": "irrigated fields"}
            | {"maize": "millet", "sugar beet": "desert"},
            32628,
        ),
        ClimateZone(
            "tropical",
            "Aw, Am",
            (2, 20),
            Season((24, 28), 2.0, 120),
            Season((0.28, 0.48), 0.26, 220),
            Season((0.50, 0.66), 0.24, 215),
            (0, 12),
            (0, 12),
            (0.8, 1.2),
            (0.0, 0.0),
            _EVERYWHERE
            | {"evergreen rainforest": 1.4, "savanna": 1.3, "dry deciduous wood": 1.0, "rice": 1.1, "sugar cane": 0.9}
            | {"oil palm": 0.8, "cassava and maize": 1.1, "soybean": 0.4},
            {"broadleaf wood": "dry deciduous wood", "conifer wood": "evergreen rainforest", "scrub": "savanna"}
            | {"grassland": "savanna", "winter wheat": "rice", "rapeseed": "sugar cane"}
            | {"maize": "cassava and maize", "sugar beet": "oil palm"},
            32630,
        ),
    )
}

CLIMATES: tuple[str, ...] = (TEMPERATE, *ZONES)
"""Names of all climates."""


def find_zone(name: str) -> ClimateZone | None:
    """The zone of that name; None for the temperate climate.

    Raises:
        InputError: there is no such climate.
    """
    if name not in CLIMATES:
        raise InputError(f"There is no climate {name!r} in the simulator; the climates are {', '.join(CLIMATES)}.")
    return ZONES.get(name)


def draw_zone_weather(zone: ClimateZone, rng: np.random.Generator, drought: float = 0.0) -> Weather:
    """Draw a year's weather of a zone; ``temperature`` of the result is known.

    The snow of the autumn before is not: a year begins with the snow that its own last weeks would have left.
    """
    temperature = zone.temperature.draw(rng) + _wander(rng)
    chance, cloud = zone.rain.draw(rng), zone.cloud.draw(rng)
    day = np.arange(1, YEAR_DAYS + 1)
    chance -= 0.45 * drought * np.exp(-0.5 * ((day - 195) / 38) ** 2)
    chance = np.clip(chance, 0.005, 0.9).astype(np.float32)
    draws, amount = rng.random(YEAR_DAYS), rng.gamma(0.8, 6.0, YEAR_DAYS)
    rain = np.zeros(YEAR_DAYS, np.float32)
    wet = False
    for i in range(YEAR_DAYS):
        wet = bool(draws[i] < chance[i] * (1.7 if wet else 0.75))
        rain[i] = wet
    snow, water = _snow(temperature, rain * amount.astype(np.float32))
    moisture = np.zeros(YEAR_DAYS, np.float32)
    loss = np.clip(0.02 + 0.006 * temperature, 0.01, 0.2)
    level = float(np.clip(chance.mean() * 1.6, 0.05, 0.9))
    for _ in range(2):  # the second round begins with what the first left
        for i in range(YEAR_DAYS):
            level = min(1.0, level * (1 - loss[i]) + 0.022 * water[i])
            moisture[i] = level
    # Rainy days are cloudier still: see draw_optical_dates.
    return Weather(moisture, rain, snow, np.clip(cloud, 0.03, 0.95).astype(np.float32), drought, temperature)


def _wander(rng: np.random.Generator) -> Floats:
    """Spells of some days that are warmer or colder than the season, (366,) degrees."""
    steps, out, state = rng.normal(0, 2.2, YEAR_DAYS), np.zeros(YEAR_DAYS, np.float32), 0.0
    for i in range(YEAR_DAYS):
        state = 0.78 * state + steps[i]
        out[i] = state
    day = np.arange(1, YEAR_DAYS + 1)
    return out * (0.7 + 0.4 * np.cos(2 * np.pi * (day - 20) / 365.25)).astype(np.float32)  # winters vary more


def _snow(temperature: Floats, rain_mm: Floats) -> tuple[Floats, Floats]:
    """Share of the ground under snow, and water that reaches the soil (mm a day), (366,) each."""
    share, water = np.zeros(YEAR_DAYS, np.float32), np.zeros(YEAR_DAYS, np.float32)
    lying = 0.0
    for _ in range(2):  # January's snow fell in December
        for i in range(YEAR_DAYS):
            frozen = rain_mm[i] if temperature[i] <= _SNOW_AT else 0.0
            melt = min(lying, _MELT * max(float(temperature[i]), 0.0))
            lying += frozen - melt
            share[i] = 1 - np.exp(-2 * lying / _HIDES)
            water[i] = rain_mm[i] - frozen + melt
    share[share < 0.02] = 0
    return share, water
