"""Who uses which ground: water, woods, town, quarry and fields, cut into parcels that do not change from year to year.

Everything here is geometry in pixels on a square map; what grows on a parcel in a year is decided in :mod:`.world`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from tessera_core.dpixels.simulate.terrain import Terrain, channels, fractal
from tessera_core.types import Bools, Floats

Ids = NDArray[np.int32]


class Use(IntEnum):
    """What a parcel is for, in all years until something happens to it."""

    FIELD = 0
    WATER = 1
    BROADLEAF = 2
    CONIFER = 3
    SCRUB = 4
    TOWN = 5
    QUARRY = 6
    ROAD = 7


@dataclass(frozen=True)
class ParcelLayout:
    """The unchanging map.

    Attributes:
        parcel: int32 (H, W), parcel of each pixel, 0 .. P-1.
        use: uint8 (P,) of :class:`Use`.
        area: int32 (P,) pixels.
        wetness: float32 (P,) 0 dry plateau to 1 river bank, what decides on meadow or field.
        town_distance: float32 (P,) pixels from the parcel to the town's edge.
        hedge: float32 (H, W), share of a pixel that a hedge or lane along its parcel's edge covers.
        lane: bool (H, W), whether that edge is a lane and not a hedge.
    """

    parcel: Ids
    use: NDArray[np.uint8]
    area: Ids
    wetness: Floats
    town_distance: Floats
    hedge: Floats
    lane: Bools


def make_layout(terrain: Terrain, rng: np.random.Generator) -> ParcelLayout:
    """Lay out a map over its terrain."""
    size = terrain.elevation.shape[0]
    water = _water(terrain, rng)
    bank = ndimage.distance_transform_edt(~water).astype(np.float32)
    centres, town = _settlements(terrain, water, bank, rng)
    roads = _roads(size, centres, rng) & ~water
    free = ~(water | town | roads)
    kinds = np.zeros((size, size), np.uint8)
    kinds[_woods(terrain, bank, free, rng)] = Use.BROADLEAF
    stands = np.zeros((size, size), np.int32)
    wood = kinds == Use.BROADLEAF
    stand_count = _voronoi(wood, stands, 260, rng)
    conifer_field = fractal(size, rng, 1.4, 0.5) + 0.5 * _standard(terrain.elevation)
    level = ndimage.mean(conifer_field, stands, np.arange(1, stand_count + 1)) if stand_count else np.zeros(0)
    conifer = np.concatenate([[False], level > np.median(level)]) if stand_count else np.zeros(1, bool)
    kinds[conifer[stands] & wood] = Use.CONIFER
    _scrub(kinds, free, bank, wood, terrain, rng)
    _quarry(kinds, free & (bank > 12), rng)
    kinds[town], kinds[roads], kinds[water] = Use.TOWN, Use.ROAD, Use.WATER
    # Specks of a few pixels are no parcels; they go to the field around them.
    for use in (Use.SCRUB, Use.BROADLEAF, Use.CONIFER):
        kinds[_specks(kinds == use, 25)] = Use.FIELD
    parcel, blocks = _parcels(kinds, stands, terrain, rng)
    use = ndimage.maximum(kinds, parcel, np.arange(parcel.max() + 1)).astype(np.uint8)
    area = np.bincount(parcel.ravel()).astype(np.int32)
    index = np.arange(len(use))
    wet = ndimage.mean(np.exp(-bank / 14) + 0.8 * np.clip(terrain.slope / 0.16, 0, 1), parcel, index)
    to_town = ndimage.mean(ndimage.distance_transform_edt(~town), parcel, index)
    hedge, lane = _edges(parcel, blocks, kinds, rng)
    return ParcelLayout(
        parcel, use, area, np.clip(wet, 0, 1).astype(np.float32), to_town.astype(np.float32), hedge, lane
    )


def _water(terrain: Terrain, rng: np.random.Generator) -> Bools:
    from rasterio.features import rasterize
    from shapely.geometry import LineString

    size = terrain.elevation.shape[0]
    shapes = []
    courses = channels(terrain.elevation)
    # One field bends all courses, so that tributaries still meet their river.
    bend = 6.0 * np.stack([fractal(size, rng, 2.2, 0.14), fractal(size, rng, 2.2, 0.14)], -1)
    for points, flow in courses[:7]:
        at = np.clip(points.astype(int), 0, size - 1)
        line = (points + bend[at[:, 0], at[:, 1]])[:, ::-1]
        # Springs are ditches below a pixel's width; only where a channel widens does it show.
        widths = 0.35 + 3.4 * np.sqrt(np.clip(flow - 0.03, 0, 0.4))
        shapes += [LineString(line[i : i + 2]).buffer(widths[i]) for i in range(len(line) - 1)]
    water = np.zeros((size, size), bool)
    if shapes:
        water |= rasterize(shapes, (size, size)).astype(bool)
    # The lake lies where the main river is broad: a lobed blob around a point of its course.
    main = courses[0][0] if courses else np.array([[size / 2, size / 2]])
    inner = main[(np.abs(main - size / 2) < 0.36 * size).all(1)]
    centre = (inner if len(inner) else main)[int(rng.integers(max(len(inner), 1))) if len(inner) else len(main) // 2]
    y, x = np.mgrid[0:size, 0:size]
    angle = rng.uniform(0, np.pi)
    u = (y - centre[0]) * np.cos(angle) + (x - centre[1]) * np.sin(angle)
    v = -(y - centre[0]) * np.sin(angle) + (x - centre[1]) * np.cos(angle)
    radius = 0.062 * size
    lobes = 0.35 * fractal(size, rng, 1.6, 0.15)
    lake = np.hypot(u / (1.5 * radius), v / (0.8 * radius)) + lobes < 1
    regions, _ = ndimage.label(lake | water)
    at = regions[tuple(np.clip(centre.astype(int), 0, size - 1))]
    return water | (lake & (regions == at) & (at > 0))


def _settlements(
    terrain: Terrain, water: Bools, bank: Floats, rng: np.random.Generator
) -> tuple[list[tuple[int, int]], Bools]:
    size = len(bank)
    y, x = np.mgrid[0:size, 0:size]
    comfort = -_standard(terrain.slope) - 0.6 * _standard(np.abs(bank - 0.06 * size)) + 0.8 * fractal(size, rng, 1.2)
    comfort[(np.minimum(y, x) < 0.14 * size) | (np.maximum(y, x) > 0.86 * size) | water] = -9
    shape = fractal(size, rng, 1.3, 0.12)
    town = np.zeros((size, size), bool)
    centres = []
    for radius in (0.085, 0.034, 0.030, 0.026):
        r, c = np.unravel_index(np.argmax(comfort), comfort.shape)
        centres.append((int(r), int(c)))
        distance = np.hypot(y - r, x - c)
        town |= (distance / (radius * size) + 0.30 * shape < 1) & ~water
        comfort[distance < 0.27 * size] = -9
    return centres, town & ~_specks(town, 30)


def _roads(size: int, centres: list[tuple[int, int]], rng: np.random.Generator) -> Bools:
    from rasterio.features import rasterize
    from shapely.geometry import LineString

    start = centres[0]
    ends = list(centres[1:])
    for angle in rng.uniform(0, 2 * np.pi) + np.array([0, 2.1, 4.0]):
        ends.append((int(start[0] + 1.5 * size * np.sin(angle)), int(start[1] + 1.5 * size * np.cos(angle))))
    shapes = []
    for i, end in enumerate(ends):
        t = np.linspace(0, 1, 30)[:, None]
        bend = ndimage.gaussian_filter1d(rng.normal(0, 1, (30, 2)), 4, axis=0) * 0.05 * size * np.sin(np.pi * t)
        points = np.array(start) * (1 - t) + np.array(end) * t + bend
        shapes.append(LineString(points[:, ::-1]).buffer(0.95 if i >= len(centres) - 1 else 0.6))
    return rasterize(shapes, (size, size)).astype(bool)


def _woods(terrain: Terrain, bank: Floats, free: Bools, rng: np.random.Generator) -> Bools:
    size = len(bank)
    suit = 0.9 * _standard(terrain.slope) + 0.5 * _standard(terrain.elevation) + 1.1 * fractal(size, rng, 1.35, 0.4)
    suit -= 0.8 * np.exp(-bank / 10)
    wood = suit > np.quantile(suit[free], 0.76)
    return ndimage.binary_opening(wood, iterations=2) & free


def _scrub(
    kinds: NDArray[np.uint8], free: Bools, bank: Floats, wood: Bools, terrain: Terrain, rng: np.random.Generator
) -> None:
    size = len(bank)
    near = np.exp(-ndimage.distance_transform_edt(~wood) / 8) + 0.7 * np.exp(-bank / 4) + 0.3 * _standard(terrain.slope)
    suit = near + 0.55 * fractal(size, rng, 1.1, 0.15)
    open_land = free & ~wood
    scrub = (suit > np.quantile(suit[open_land], 0.945)) & open_land
    kinds[ndimage.binary_opening(scrub)] = Use.SCRUB


def _quarry(kinds: NDArray[np.uint8], allowed: Bools, rng: np.random.Generator) -> None:
    size = len(kinds)
    y, x = np.mgrid[0:size, 0:size]
    lobes = fractal(size, rng, 1.2, 0.15)
    room = ndimage.distance_transform_edt(allowed & (kinds == Use.FIELD)) + 2 * rng.random((size, size))
    room[(np.minimum(y, x) < 0.06 * size) | (np.maximum(y, x) > 0.94 * size)] = 0
    for radius in (0.040, 0.030, 0.022, 0.022):
        r, c = np.unravel_index(np.argmax(room), room.shape)
        distance = np.hypot(y - r, x - c)
        kinds[(distance / (radius * size) + 0.3 * lobes < 1) & allowed] = Use.QUARRY
        room[distance < 0.2 * size] = 0


def _parcels(kinds: NDArray[np.uint8], stands: Ids, terrain: Terrain, rng: np.random.Generator) -> tuple[Ids, Ids]:
    """Cut every use into parcels; returns them and the farm blocks that fields were cut from."""
    size = len(kinds)
    parcel = np.full(kinds.shape, -1, np.int32)
    count = 0
    blocks = np.zeros(kinds.shape, np.int32)
    fields = kinds == Use.FIELD
    block_count = _voronoi(fields, blocks, 5200, rng, warp=7.0)
    for block, (rows, cols) in _members(blocks, block_count):
        # Fields run along the contours where it is steep, and anyhow elsewhere.
        steep = float(terrain.slope[rows, cols].mean()) > 0.07
        facing = np.angle(np.exp(1j * terrain.aspect[rows, cols]).mean())
        angle = facing + np.pi / 2 if steep else rng.uniform(0, np.pi)
        del block
        count = _split(parcel, rows, cols, angle, count, rng)
    for use, target in ((Use.TOWN, 14), (Use.QUARRY, 45), (Use.SCRUB, 160), (Use.WATER, 4000)):
        pieces = np.zeros(kinds.shape, np.int32)
        pieces_count = _voronoi(kinds == use, pieces, target, rng)
        inside = pieces > 0
        parcel[inside] = pieces[inside] - 1 + count
        count += pieces_count
    for use in (Use.BROADLEAF, Use.CONIFER):
        inside = kinds == use
        numbers, inverse = np.unique(stands[inside], return_inverse=True)
        parcel[inside] = inverse + count
        count += len(numbers)
    roads = kinds == Use.ROAD
    if roads.any():
        pieces, n = np.zeros(kinds.shape, np.int32), 0
        n = _voronoi(roads, pieces, max(60, size // 4), rng)
        parcel[roads] = pieces[roads] - 1 + count
        count += n
    _, compact = np.unique(parcel, return_inverse=True)
    return compact.reshape(kinds.shape).astype(np.int32), blocks


def _split(parcel: Ids, rows: NDArray, cols: NDArray, angle: float, count: int, rng: np.random.Generator) -> int:
    """Cut a block across its longer side again and again until pieces are fields of 1 to 10 ha; numbers them from ``count``."""
    todo = [(rows, cols, angle)]
    while todo:
        r, c, a = todo.pop()
        if len(r) == 0:
            continue
        u, v = r * np.cos(a) + c * np.sin(a), -r * np.sin(a) + c * np.cos(a)
        if len(r) <= np.clip(rng.lognormal(np.log(300), 0.55), 110, 1000):
            parcel[r, c] = count
            count += 1
            continue
        along = u if np.ptp(u) >= np.ptp(v) * rng.uniform(0.75, 1.3) else v
        across = v if along is u else u
        cut = np.quantile(along, rng.uniform(0.36, 0.64)) + (across - across.mean()) * rng.normal(0, 0.06)
        left = along < cut
        turn = rng.normal(0, 0.05)
        todo += [(r[left], c[left], a + turn), (r[~left], c[~left], a + turn)]
    return count


def _edges(parcel: Ids, blocks: Ids, kinds: NDArray[np.uint8], rng: np.random.Generator) -> tuple[Floats, Bools]:
    """Hedges between some fields, lanes between farm blocks."""
    field = kinds == Use.FIELD
    different = np.zeros(parcel.shape, bool)
    different[:-1] |= parcel[:-1] != parcel[1:]
    different[:, :-1] |= parcel[:, :-1] != parcel[:, 1:]
    between_blocks = np.zeros(parcel.shape, bool)
    between_blocks[:-1] |= blocks[:-1] != blocks[1:]
    between_blocks[:, :-1] |= blocks[:, :-1] != blocks[:, 1:]
    lane = different & between_blocks & field
    width = rng.beta(1.2, 2.2, parcel.max() + 1).astype(np.float32)
    share = np.where(different & field, width[parcel] * 0.5, 0)
    share[lane] = 0.35
    return share.astype(np.float32), lane


def _voronoi(mask: Bools, out: Ids, target: int, rng: np.random.Generator, warp: float = 2.5) -> int:
    """Cut ``mask`` into irregular cells of about ``target`` pixels, numbered from 1 in ``out``; returns their number."""
    rows, cols = np.nonzero(mask)
    if len(rows) == 0:
        return 0
    count = max(1, round(len(rows) / target))
    seeds = rng.choice(len(rows), count, replace=False)
    size = mask.shape[0]
    bend = warp * np.stack([fractal(size, rng, 1.5, 0.12), fractal(size, rng, 1.5, 0.12)], -1)
    places = np.stack([rows, cols], 1) + bend[rows, cols]
    _, nearest = cKDTree(places[seeds]).query(places)
    out[rows, cols] = nearest + 1
    return count


def _members(labels: Ids, count: int) -> list[tuple[int, tuple[NDArray[np.intp], NDArray[np.intp]]]]:
    order = np.argsort(labels, axis=None, kind="stable")
    bounds = np.searchsorted(labels.ravel()[order], np.arange(1, count + 2))
    width = labels.shape[1]
    return [(k + 1, np.divmod(order[bounds[k] : bounds[k + 1]], width)) for k in range(count)]


def _specks(mask: Bools, smallest: int) -> Bools:
    regions, _ = ndimage.label(mask)
    small = np.bincount(regions.ravel()) < smallest
    small[0] = False
    return small[regions]


def _standard(values: Floats) -> Floats:
    return (values - values.mean()) / max(float(values.std()), 1e-6)
