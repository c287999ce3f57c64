"""What became of an area beside land that was like it before: before, after, control and area, with placebo areas.

Whatever happened to all the land (weather, another sensor, a bad year) happened to land beside the area, too. So each place of the
area is held against the places outside that were most like it *before*, by the embeddings of the years before; the effect is how
much more the area moved than those did (Stewart-Oaten, Murdoch and Parker 1986, Ecology 67: 929, doi:10.2307/1939815; matching:
Stuart 2010, Statistical Science 25: 1, doi:10.1214/09-STS313):

    effect = mean over places of the area of [(after - before) - mean over its controls of (after - before)]

One area has no replicate, so no textbook interval holds for it. How large such a number becomes where nothing was done is asked of
placebo areas: the same outline laid elsewhere on land that nobody treated, each with controls of its own (Abadie, Diamond and
Hainmueller 2010, JASA 105: 493, doi:10.1198/jasa.2009.ap08746). With m placebo areas, of which k show an effect at least as large,

    p = (1 + k) / (1 + m)

which no more than a share p of untreated areas would reach by chance, as long as the area was not chosen for what happened in it
(Phipson and Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9: 39, doi:10.2202/1544-6115.1585).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.threads import run_alone
from tessera_core.errors import Cancelled, Hint, RasterError
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Bools, Cancel, Doubles, Floats, Progress

PLACEBOS = 99
# With fewer, no p below 1 / 20 is possible.
LEAST_PLACEBOS = 19
MIN_PIXELS = 12
# Places looked at in each area, and possible controls.
AREA_SAMPLE, POOL = 100, 6_000
NEIGHBOURS = 5
COMPONENTS = 16
# Places tried for the outline, and how much of two placebo areas may be the same ground.
_TRIES, _SHARED = 2_000, 0.5
_WHOLE = 0.95


@dataclass(frozen=True)
class Outcome:
    """What is followed through the years: values (H, W, K) for each year.

    Attributes:
        before: float32 (H, W, K), mean of the years before; NaN where unknown.
        after: float32 (H, W, K), mean of the years after.
    """

    before: NDArray[np.float32] = field(repr=False)
    after: NDArray[np.float32] = field(repr=False)


@dataclass(frozen=True)
class Controlled:
    """An area held against matched controls, and placebo areas likewise.

    Attributes:
        effect: float64 (K,), how much more the area moved than its controls, in units of the outcome.
        area, control: float64 (K,), the change of the area and that of its controls.
        placebos: float64 (m, K), the effects of the placebo areas.
        size: length of the effect; of one value, without its sign.
        sizes: float64 (m,) likewise of the placebo areas.
        p: share of areas where nothing was done that reach this size, at most; see above.
        pixels: int, of the area that have data.
        closer: share of the placebo areas whose controls are *less* like them than the area's are; near 0, the area has no match.
        places: int (m, 2), how many rows and columns each placebo outline lies from the area's.
        rows, cols: int (n,), controls that were used.
    """

    effect: Doubles
    area: Doubles
    control: Doubles
    placebos: Doubles = field(repr=False)
    size: float
    sizes: Doubles = field(repr=False)
    p: float
    pixels: int
    closer: float
    places: NDArray[np.intp] = field(repr=False)
    rows: NDArray[np.intp] = field(repr=False)
    cols: NDArray[np.intp] = field(repr=False)


def against_control(
    area: Bools,
    before: Sequence[EmbeddingRaster],
    after: Sequence[EmbeddingRaster],
    outcome: Outcome | None = None,
    *,
    away: int = 3,
    placebos: int = PLACEBOS,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Controlled:
    """Hold an area against land that was like it before.

    Args:
        area: bool (H, W), where something was done.
        before, after: years of one dataset on one grid; controls are matched on those before.
        outcome: what is followed; by default the embeddings themselves (anything that moved).
        away: pixels around the area that are no control, as what was done there may reach them.
        placebos: how many placebo areas at most.
        seed: of the samples.
        progress, cancelled: see docs/architecture.md; units are placebo areas.

    Raises:
        RasterError: the area is too small, or the region too small for enough placebo areas; or no common grid.
        MixedDatasetsError: the years are of different datasets.
        Cancelled: ``cancelled`` said so.
    """
    rasters = [*before, *after]
    if not before or not after:
        raise RasterError("Choose at least one year before and one year after.")
    for raster in rasters[1:]:
        rasters[0].provenance.require_same_dataset(raster.provenance, "a comparison of years")
        if raster.grid != rasters[0].grid:
            raise RasterError("The years do not have the same pixels; load them for the same region.", hint=Hint.REGION)
    if area.shape != rasters[0].shape:
        raise RasterError(f"The area is {area.shape} pixels, the region is {rasters[0].shape}.")
    known = np.logical_and.reduce([raster.valid() for raster in rasters])
    if outcome is not None:
        known &= np.isfinite(outcome.before).all(-1) & np.isfinite(outcome.after).all(-1)
    inside = area & known
    if int(inside.sum()) < MIN_PIXELS:
        raise RasterError(
            f"The area has {int(inside.sum())} pixels with data in all years; at least {MIN_PIXELS} are needed. Draw a larger one."
        )
    rng = np.random.default_rng(seed)
    free = known & ~_grown(area, away)
    frame = _Frame.of(before, after, outcome, free, inside, rng)
    return run_alone(lambda: _placed(frame, area, inside, free, known, away, placebos, rng, progress, cancelled))


# ------------------------------------------------------------------ parts


@dataclass(frozen=True)
class _Frame:
    """Values of single pixels: where they were before, and how far they moved."""

    before: Sequence[EmbeddingRaster]
    after: Sequence[EmbeddingRaster]
    outcome: Outcome | None
    mean: Floats
    basis: Floats

    @classmethod
    def of(
        cls,
        before: Sequence[EmbeddingRaster],
        after: Sequence[EmbeddingRaster],
        outcome: Outcome | None,
        free: Bools,
        inside: Bools,
        rng: np.random.Generator,
    ) -> _Frame:
        """Components of the years before, over all the land."""
        rows, cols = _drawn(free | inside, POOL, rng)
        values = _mean(before, rows, cols)
        mean = values.mean(0)
        _, vectors = np.linalg.eigh(np.cov((values - mean).T.astype(np.float64)))
        basis = np.ascontiguousarray(vectors[:, ::-1][:, :COMPONENTS], np.float32)
        return cls(before, after, outcome, mean, basis)

    def look(self, rows: NDArray[np.intp], cols: NDArray[np.intp]) -> tuple[Floats, Doubles]:
        """float32 (n, r) what pixels were before, and float64 (n, K) how far their outcome moved."""
        was = _mean(self.before, rows, cols)
        moved: NDArray[np.floating]
        if self.outcome is None:
            moved = (_mean(self.after, rows, cols) - was) @ self.basis
        else:
            moved = self.outcome.after[rows, cols] - self.outcome.before[rows, cols]
        return np.asarray((was - self.mean) @ self.basis, np.float32), np.asarray(moved, np.float64)


@dataclass(frozen=True)
class _Pool:
    """Land that controls come from."""

    rows: NDArray[np.intp]
    cols: NDArray[np.intp]
    was: Floats
    moved: Doubles

    def match(self, was: Floats, allowed: Bools) -> tuple[NDArray[np.intp], Doubles]:
        """int (n, NEIGHBOURS) the nearest controls of each place among those allowed, and how far they are, (n,)."""
        kept = np.flatnonzero(allowed)
        controls = self.was[kept]
        distance = (was**2).sum(1)[:, None] + (controls**2).sum(1)[None] - 2 * was @ controls.T
        count = min(NEIGHBOURS, len(kept))
        near = np.argpartition(distance, count - 1, axis=1)[:, :count]
        apart = np.sqrt(np.maximum(np.take_along_axis(distance, near, 1), 0)).mean(1)
        return kept[near], apart.astype(np.float64)


def _placed(
    frame: _Frame,
    area: Bools,
    inside: Bools,
    free: Bools,
    known: Bools,
    away: int,
    placebos: int,
    rng: np.random.Generator,
    progress: Progress | None,
    cancelled: Cancel | None,
) -> Controlled:
    pool_rows, pool_cols = _drawn(free, POOL, rng)
    if len(pool_rows) < 10 * NEIGHBOURS:
        raise RasterError("There is hardly any land outside of the area to compare it with. Load a larger region.")
    pool = _Pool(pool_rows, pool_cols, *frame.look(pool_rows, pool_cols))
    rows, cols = _drawn(inside, AREA_SAMPLE, rng)
    was, moved = frame.look(rows, cols)
    own = _held(pool, was, moved, np.ones(len(pool_rows), bool))
    places = _outlines(frame, area, free, known, was.mean(0), placebos, rng)
    if len(places) < LEAST_PLACEBOS:
        raise RasterError(
            f"The outline fits only {len(places)} times on other land of this region; at least {LEAST_PLACEBOS} placebo areas are "
            "needed to say what chance does. Draw a smaller area, or load a larger region around it."
        )
    effects, apart = [], []
    window = _grown(area, away)
    for number, (down, right) in enumerate(places):
        if cancelled is not None and cancelled():
            raise Cancelled()
        there = _moved(area, down, right) & known
        p_rows, p_cols = _drawn(there, AREA_SAMPLE, rng)
        allowed = ~_moved(window, down, right)[pool_rows, pool_cols]
        each = _held(pool, *frame.look(p_rows, p_cols), allowed)
        effects.append(each.effect)
        apart.append(each.apart)
        if progress is not None:
            progress(number + 1, len(places), "Placebo areas")
    found = np.array(effects)
    size, sizes = float(np.linalg.norm(own.effect)), np.linalg.norm(found, axis=1)
    used = np.unique(own.controls)
    return Controlled(
        own.effect,
        own.area,
        own.control,
        found,
        size,
        sizes,
        (1 + int((sizes >= size).sum())) / (1 + len(sizes)),
        int(inside.sum()),
        float((np.array(apart) >= own.apart).mean()),
        places,
        pool_rows[used],
        pool_cols[used],
    )


@dataclass(frozen=True)
class _Held:
    effect: Doubles
    area: Doubles
    control: Doubles
    apart: float
    controls: NDArray[np.intp]


def _held(pool: _Pool, was: Floats, moved: Doubles, allowed: Bools) -> _Held:
    near, apart = pool.match(was, allowed)
    control = pool.moved[near].mean(1).mean(0)
    mean = moved.mean(0)
    return _Held(mean - control, mean, control, float(apart.mean()), near)


def _outlines(
    frame: _Frame, area: Bools, free: Bools, known: Bools, was: Floats, count: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """int (m, 2): where the outline lies on other land, most like the area before first, each mostly on ground of its own."""
    height, width = area.shape
    rows, cols = np.nonzero(area)
    top, left, bottom, right = rows.min(), cols.min(), rows.max(), cols.max()
    tries = np.column_stack([rng.integers(-top, height - bottom, _TRIES), rng.integers(-left, width - right, _TRIES)])
    tries = np.unique(tries, axis=0)
    # A part of the outline's pixels says whether it fits, and what the ground there was.
    part = rng.choice(len(rows), min(len(rows), 60), replace=False)
    at_rows, at_cols = rows[part] + tries[:, :1], cols[part] + tries[:, 1:]
    # Ground without data inside the area itself is not asked for elsewhere.
    whole = _WHOLE * float(known[rows[part], cols[part]].mean())
    fits = free[at_rows, at_cols].mean(1) >= whole
    tries, at_rows, at_cols = tries[fits], at_rows[fits], at_cols[fits]
    if not len(tries):
        return np.zeros((0, 2), np.intp)
    few = at_rows[:, :20], at_cols[:, :20]
    there = known[few]
    seen, _ = frame.look(few[0][there], few[1][there])
    sums = np.zeros((len(tries), seen.shape[1]))
    np.add.at(sums, np.nonzero(there)[0], seen)
    counts = there.sum(1)[:, None]
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    order = np.argsort(np.linalg.norm(means - was, axis=1), kind="stable")
    taken: list[NDArray[np.intp]] = []
    sides = np.array([bottom - top + 1, right - left + 1])
    for down, across in tries[order]:
        if all(shared(sides, np.array([down, across]) - one) <= _SHARED for one in taken) and not np.any(
            _moved(area, down, across) & area
        ):
            taken.append(np.array([down, across]))
        if len(taken) == count:
            break
    return np.array(taken, np.intp).reshape(-1, 2)


def shared(sides: NDArray[np.integer], apart: NDArray[np.integer]) -> float:
    """How much of two equal boxes that lie ``apart`` (rows, columns) is the same ground.

    >>> shared(np.array([10, 20]), np.array([5, -10]))
    0.25
    """
    return float(np.maximum(0, 1 - np.abs(apart) / sides).prod())


def _moved(mask: Bools, down: int, right: int) -> Bools:
    """A mask laid elsewhere; what falls off the region is gone."""
    height, width = mask.shape
    moved = np.zeros_like(mask)
    moved[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)] = mask[
        max(0, -down) : height + min(0, -down), max(0, -right) : width + min(0, -right)
    ]
    return moved


def _grown(mask: Bools, pixels: int) -> Bools:
    from scipy.ndimage import binary_dilation

    return np.asarray(binary_dilation(mask, iterations=pixels), bool) if pixels else mask


def _drawn(mask: Bools, most: int, rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of at most so many pixels of a mask."""
    pixels = np.flatnonzero(mask)
    if len(pixels) > most:
        pixels = np.sort(rng.choice(pixels, most, replace=False))
    rows, cols = np.divmod(pixels, mask.shape[1])
    return rows, cols


def _mean(rasters: Sequence[EmbeddingRaster], rows: NDArray[np.intp], cols: NDArray[np.intp]) -> Floats:
    total = rasters[0].sample(rows, cols)
    for raster in rasters[1:]:
        total = total + raster.sample(rows, cols)
    return np.asarray(total / len(rasters), np.float32)
