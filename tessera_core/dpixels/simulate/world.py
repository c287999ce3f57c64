"""A landscape and its history: which cover grows on which parcel in which year, and the truth map of it.

The same seed and size always give the same place. Its years form one chain from :data:`FIRST_YEAR`: crops rotate, stands are
felled and grow over, the town eats into the fields around it, even years have a dry summer. So a year does not depend on
which other years are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from tessera_core.dpixels.simulate import spectra
from tessera_core.dpixels.simulate.classes import CLASS_TABLE, WORLD_COVERS
from tessera_core.dpixels.simulate.climates import TEMPERATE, ClimateZone, find_zone
from tessera_core.dpixels.simulate.layout import ParcelLayout, Use, make_layout
from tessera_core.dpixels.simulate.limits import FIRST_YEAR, require_possible
from tessera_core.dpixels.simulate.parcels import Climate, Parcels, draw_parcels
from tessera_core.dpixels.simulate.terrain import PIXEL_M, Terrain, fractal, make_terrain
from tessera_core.errors import InputError
from tessera_core.grid import Grid
from tessera_core.types import Floats

DROUGHT = 0.75

_INDEX = {cover: i for i, cover in enumerate(WORLD_COVERS)}
_CROPS = ("winter wheat", "rapeseed", "maize", "sugar beet")
_ROTATION = {  # what follows what: after a break crop comes wheat, wheat after wheat is rare
    "winter wheat": (0.10, 0.32, 0.30, 0.28),
    "rapeseed": (0.92, 0.00, 0.05, 0.03),
    "maize": (0.45, 0.05, 0.38, 0.12),
    "sugar beet": (0.80, 0.00, 0.20, 0.00),
}
_FIRST_COVER = {
    Use.WATER: "water",
    Use.BROADLEAF: "broadleaf wood",
    Use.CONIFER: "conifer wood",
    Use.SCRUB: "scrub",
    Use.TOWN: "built-up",
    Use.QUARRY: "bare ground",
    Use.ROAD: "built-up",
}


@dataclass(frozen=True)
class World:
    """A simulated landscape.

    Attributes:
        seed: what it was made from.
        grid: UTM grid of 10 m pixels.
        terrain: relief.
        layout: parcels and edges.
        covers: year -> uint8 (P,), index into :data:`.classes.WORLD_COVERS`.
        truth: year -> uint8 (H, W), class ids 1..K of :data:`.classes.CLASS_TABLE`.
        vigour: float32 (H, W), where within its parcel a pixel grows better (1) or worse (0).
        zone: its climate where that is not the temperate one; some covers are then others (:attr:`ClimateZone.roles`).
    """

    seed: int
    grid: Grid
    terrain: Terrain
    layout: ParcelLayout
    covers: dict[int, NDArray[np.uint8]]
    truth: dict[int, NDArray[np.uint8]] = field(repr=False)
    vigour: Floats = field(repr=False)
    zone: ClimateZone | None = None

    @property
    def years(self) -> tuple[int, ...]:
        """The years that can be observed."""
        return tuple(self.covers)

    @property
    def growing(self) -> tuple[str, ...]:
        """What grows here: names in :data:`.regional.ALL_COVERS`, in the order of the class ids."""
        roles = self.zone.roles if self.zone else {}
        return tuple(roles.get(cover, cover) for cover in WORLD_COVERS)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the class ids 1..K. Ids whose covers are the same here have the same name."""
        names = {cover: name for cover, name, _ in CLASS_TABLE}
        return tuple(names.get(cover, cover.capitalize()) for cover in self.growing)

    def climate(self, year: int) -> Climate:
        """How the year departs from the norm."""
        rng = np.random.default_rng((self.seed, year, 1))
        if self.zone is not None:
            drawn = self.zone.draw_climate(rng)
            return replace(drawn, variety=0.25, unevenness=1.6)
        return Climate(
            spring=rng.normal(0, 5),
            autumn=rng.normal(0, 5),
            drought=DROUGHT if year % 2 == 0 else 0.0,
            variety=0.25,
            unevenness=1.6,
        )

    def parcels(self, year: int) -> Parcels:
        """Traits of all parcels in a year: a wood keeps its character, a field gets that of its crop."""
        covers, count = self.covers[year], len(self.layout.use)
        climate = self.climate(year)
        everywhere = Climate(
            growth=climate.growth, drought=climate.drought, variety=climate.variety, unevenness=climate.unevenness
        )
        out = None
        for index, name in enumerate(self.growing):
            # Same chance in every year, so that what stays the same looks the same.
            rng = np.random.default_rng((self.seed, 2, index))
            drawn = draw_parcels([name], np.zeros(count, np.int8), everywhere, rng)
            rows = np.flatnonzero(covers == index)
            if out is None:
                out = drawn
            else:
                out.put(rows, drawn.take(rows))
        if out is None:
            raise InputError("The world has no covers.")
        rng = np.random.default_rng((self.seed, year, 3))
        shift = rng.normal(0, 3.5, (count, 1)).astype(np.float32)
        out.rise += shift + climate.spring * (out.rise < 190)
        out.fall += 0.5 * shift + np.where(out.fall > 220, climate.autumn, 0.6 * climate.spring)
        out.cut_day += rng.normal(0, 10, out.cut_day.shape)
        out.bloom_day += 0.5 * shift[:, 0] + climate.spring
        roads = np.flatnonzero(self.layout.use == Use.ROAD)
        out.built[roads] = np.maximum(out.built[roads], 0.8)
        out.fixed[roads] = 0.75 * spectra.MATERIALS["asphalt"] + 0.25 * spectra.MATERIALS["concrete"]
        return out


def make_world(
    seed: int = 0, size: int = 384, years: tuple[int, ...] = (2023, 2024), climate: str = TEMPERATE
) -> World:
    """Make a landscape of ``size`` x ``size`` pixels of 10 m.

    Args:
        seed: the same landscape of parcels in every climate; what grows on them differs.
        size: pixels along each side.
        years: that can be observed.
        climate: name in :data:`.climates.CLIMATES`.

    Raises:
        InputError: the size is odd or too small, a year lies outside 2017 to 2035, or there is no such climate.
    """
    zone = find_zone(climate)
    require_possible(size, years)
    rng = np.random.default_rng((seed, 0))
    terrain = make_terrain(size, rng)
    layout = make_layout(terrain, rng)
    smooth = fractal(size, rng, 1.0, 0.15)
    vigour = np.clip(0.5 + 0.30 * smooth + rng.normal(0, 0.14, (size, size)), -0.3, 1.3).astype(np.float32)
    history = _history(layout, seed, max(years))
    covers = {year: history[year] for year in sorted(set(years))}
    truth = {year: (covers[year] + 1).astype(np.uint8)[layout.parcel] for year in covers}
    # 52 N in zone 31, a plain where such a landscape could lie.
    crs, north = "EPSG:32631", 5765000.0
    if zone is not None:
        # A degree of latitude is about 110.6 km; in the middle of the climate's belt.
        crs, north = f"EPSG:{zone.epsg}", 10 * round(11060 * sum(zone.latitude) / 2)
        first_id = _one_id_each(zone)
        truth = {year: first_id[ids] for year, ids in truth.items()}
    transform = Affine(PIXEL_M, 0, 560000, 0, -PIXEL_M, north)
    return World(seed, Grid(crs, transform, (size, size)), terrain, layout, covers, truth, vigour, zone)


def _one_id_each(zone: ClimateZone) -> NDArray[np.uint8]:
    """Class id -> the first id with the same cover in this climate, uint8 (K + 1,)."""
    growing = [zone.roles.get(cover, cover) for cover in WORLD_COVERS]
    return np.array([0, *(1 + growing.index(cover) for cover in growing)], np.uint8)


def _history(layout: ParcelLayout, seed: int, last: int) -> dict[int, NDArray[np.uint8]]:
    rng = np.random.default_rng((seed, 4))
    now = np.zeros(len(layout.use), np.uint8)
    for use, cover in _FIRST_COVER.items():
        now[layout.use == use] = _INDEX[cover]
    fields = layout.use == Use.FIELD
    meadow = fields & (rng.random(len(now)) < 0.16 + 0.62 * layout.wetness)
    now[meadow] = _INDEX["grassland"]
    crops = np.array([_INDEX[name] for name in _CROPS])
    arable = fields & ~meadow
    now[arable] = crops[rng.choice(4, int(arable.sum()), p=(0.38, 0.18, 0.26, 0.18))]
    history = {FIRST_YEAR: now}
    felled = np.zeros(len(now), int)
    for year in range(FIRST_YEAR + 1, last + 1):
        rng = np.random.default_rng((seed, 5, year))
        now = now.copy()
        draws = rng.random(len(now))
        before = history[year - 1]
        for name, chances in _ROTATION.items():
            rows = np.flatnonzero(fields & (before == _INDEX[name]))
            now[rows] = crops[rng.choice(4, len(rows), p=chances)]
        ploughed = np.flatnonzero(fields & (before == _INDEX["grassland"]) & (draws < 0.02))
        now[ploughed] = _INDEX["maize"]
        _fell(now, felled, layout, year, rng)
        _build(now, layout, rng)
        history[year] = now
    return history


def _fell(now: NDArray[np.uint8], felled: NDArray, layout: ParcelLayout, year: int, rng: np.random.Generator) -> None:
    """Clear some stands, more of conifers; a clearing is wood again after twelve years."""
    grown = (felled > 0) & (year - felled > 12)
    now[grown] = np.where(layout.use[grown] == Use.CONIFER, _INDEX["conifer wood"], _INDEX["broadleaf wood"])
    felled[grown] = 0
    large = layout.area > 60
    for name, share in (("conifer wood", 0.05), ("broadleaf wood", 0.02)):
        stands = np.flatnonzero(large & (now == _INDEX[name]))
        if len(stands) > 3:  # small maps keep some of their woods
            weight = layout.area[stands] / layout.area[stands].sum()
            chosen = rng.choice(stands, max(1, round(share * len(stands))), replace=False, p=weight)
            now[chosen], felled[chosen] = _INDEX["scrub"], year


def _build(now: NDArray[np.uint8], layout: ParcelLayout, rng: np.random.Generator) -> None:
    """Turn a small field or two at the town's edge into a building site, and last year's sites into houses."""
    sites = np.flatnonzero((layout.use == Use.FIELD) & (now == _INDEX["bare ground"]))
    now[sites] = _INDEX["built-up"]
    fields = (layout.use == Use.FIELD) & (now != _INDEX["built-up"]) & (layout.area < 500)
    near = np.flatnonzero(fields & (layout.town_distance < 16))
    if len(near):
        chosen = rng.choice(near, min(2, len(near)), replace=False)
        now[chosen[0]] = _INDEX["built-up"]
        now[chosen[1:]] = _INDEX["bare ground"]
