"""Global shuffling: from tiles and simulated worlds to shards in which no two neighbours are more likely than chance.

The method (docs/spec/facts.md section 1.5) pools the pixels of many tiles, permutes them and cuts chunks. Here that is done out of
core and resumably: every source is packed once, its rows permuted, into a *unit* folder; shard ``s`` is then slice ``s`` of every
unit, permuted again. Any shard, and so any batch, is a random sample of all sources. Memory holds one source or one shard at a
time, however many there are: large pools are cut into more shards. Disk holds everything twice until the units are deleted.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from tessera_core._utils.atomic import write_json
from tessera_core.dpixels.simulate import DPixelSample, sample_dpixels
from tessera_core.dpixels.simulate.sample import NO_COVER
from tessera_core.dpixels.tile import DPixelTile, find_tiles
from tessera_core.errors import Cancelled, TileError
from tessera_core.models.normalisation import Normalisation
from tessera_core.pretrain.config import DataSettings, PretrainError, current_names
from tessera_core.pretrain.pixels import PixelSet, Series, pack_pixels, pack_tile
from tessera_core.types import Cancel, Progress

UNIT_PIXELS = 6144
_PARCELS, _PER_PARCEL = 48, 8
_WORLDS_PER_UNIT = UNIT_PIXELS // (_PARCELS * _PER_PARCEL)
# Held-out worlds have many more parcels, so that few labels per class can come from other parcels than the test pixels.
HOLDOUT_PARCELS, HOLDOUT_PER_PARCEL = 300, 4
_TRAIN_STREAM, _HOLDOUT_STREAM = 1, 2


def prepare_shards(
    settings: DataSettings,
    folder: str | Path,
    seed: int = 0,
    base: str | Path = ".",
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> list[Path]:
    """Make the shards of a run, or find them made; an interrupted preparation goes on where it stopped.

    Args:
        settings: what to take and how to cut it.
        folder: where units and shards go; units are deleted when the shards are complete.
        seed: of the simulated worlds and of every permutation.
        base: folder that relative tile paths start from.
        progress, cancelled: as everywhere.

    Returns:
        Shard folders, each a :class:`PixelSet`.

    Raises:
        PretrainError: the folder holds shards made with other settings, or the sources hold too few pixels.
        TileError: a tile is not readable.
        ExportError: the disk is full.
        Cancelled: stopped; what was finished is kept.
    """
    folder = Path(folder)
    recipe = {**_recipe(asdict(settings)), "seed": seed}
    manifest = folder / "shards.json"
    if not manifest.exists() and folder.is_dir() and any(folder.iterdir()):
        raise PretrainError(f"{folder} holds something else than training pixels; choose another output folder.")
    made = json.loads(manifest.read_text(encoding="utf-8")) if manifest.exists() else {}
    # Settings that did not exist yet when the shards were made count as their defaults.
    if made and {**_recipe(asdict(DataSettings())), **current_names(made["recipe"], "data")} != recipe:
        raise PretrainError(
            f"{folder} holds training pixels prepared with other settings; choose another output folder or delete it."
        )
    shards = _shards(folder, made.get("shards", settings.shards))
    if made and all(shard.is_dir() for shard in shards) and not (folder / "units").exists():
        return shards
    sources = _sources(settings, seed, Path(base))
    write_json(manifest, {"recipe": recipe, "sources": len(sources)})

    def step(done: int, message: str) -> None:
        total = len(sources) + len(shards)
        if cancelled and cancelled():
            raise Cancelled()
        if progress:
            progress(done, total, message)

    units = []
    for number, source in enumerate(sources):
        step(number, f"pixels of source {number + 1} of {len(sources)}")
        unit = folder / "units" / f"unit-{number:05d}"
        units.append(unit)
        if not unit.is_dir():
            pixels = source(number)
            if settings.shuffle:
                pixels = pixels.take(np.random.default_rng((seed, 10, number)).permutation(len(pixels)))
            pixels.save(unit)
    shards = _shards(folder, _shard_count(units, settings))
    write_json(manifest, {"recipe": recipe, "sources": len(sources), "shards": len(shards)})
    for s, shard in enumerate(shards):
        step(len(sources) + s, f"shard {s + 1} of {len(shards)}")
        if not shard.is_dir():
            _cut(units, s, len(shards), settings.shuffle, np.random.default_rng((seed, 11, s))).save(shard)
    step(len(sources) + len(shards), "")
    shutil.rmtree(folder / "units", ignore_errors=True)
    return shards


def _recipe(settings: dict[str, Any]) -> dict[str, Any]:
    """What the shards depend on, as JSON gives it back."""
    recipe: dict[str, Any] = json.loads(json.dumps({**settings, "holdout_worlds": None}))
    return recipe


def _shards(folder: Path, count: int) -> list[Path]:
    return [folder / f"shard-{s:04d}" for s in range(count)]


def _shard_count(units: list[Path], settings: DataSettings) -> int:
    """As many shards as asked for, or more where they would not fit into memory."""
    pixels = sum(len(PixelSet.open(unit)) for unit in units)
    needed = -(-pixels // settings.shard_pixels)
    # Without shuffling a shard is made of whole sources.
    return max(settings.shards, needed if settings.shuffle else min(needed, len(units)))


def _cut(units: list[Path], s: int, shards: int, shuffle: bool, rng: np.random.Generator) -> PixelSet:
    if not shuffle:
        # Without shuffling a shard is a run of neighbouring sources.
        first, last = (len(units) * k // shards for k in (s, s + 1))
        if first == last:
            raise PretrainError(
                f"data.shuffle = false needs at least as many sources ({len(units)}) as data.shards ({shards})."
            )
        return PixelSet.concatenate([PixelSet.open(unit) for unit in units[first:last]])
    parts = []
    for unit in units:
        pixels = PixelSet.open(unit)
        first, last = (len(pixels) * k // shards for k in (s, s + 1))
        # Copied: thousands of sources kept mapped would exceed what the system allows.
        parts.append(_in_memory(pixels.take(slice(first, last))))
    pool = PixelSet.concatenate(parts)
    if len(pool) == 0:
        raise PretrainError(f"The sources hold too few pixels for {shards} shards; lower data.shards.")
    return pool.take(rng.permutation(len(pool)))


def _in_memory(pixels: PixelSet) -> PixelSet:
    return PixelSet(*(np.array(getattr(pixels, f.name)) for f in fields(pixels)))


def _sources(settings: DataSettings, seed: int, base: Path) -> list[Callable[[int], PixelSet]]:
    sources: list[Callable[[int], PixelSet]] = []
    most = {"max_s2": settings.max_s2, "max_s1": settings.max_s1}
    for start in range(0, settings.simulated, UNIT_PIXELS):
        n = min(UNIT_PIXELS, settings.simulated - start)

        def simulated(number: int, n: int = n) -> PixelSet:
            sample = sample_dpixels(
                n,
                seed_of(seed, _TRAIN_STREAM, number),
                pixels_per_parcel=_PER_PARCEL,
                parcels_per_world=_PARCELS,
                climates=settings.climates,
                randomised=settings.randomised,
            )
            return _pack_sample(sample, number * _WORLDS_PER_UNIT, seed_of(seed, 3, number), **most)

        sources.append(simulated)
    for path in (tile for given in settings.tiles for tile in find_tiles(base / given)):

        def real(number: int, path: Path = path) -> PixelSet:
            tile = DPixelTile.open(path)
            counts = tile.require_observations()
            seen = (counts.s2 > 0) | (counts.s1 > 0)
            rows, cols = np.nonzero(seen if tile.roi is None else seen & tile.roi)
            if len(rows) > settings.pixels_per_tile:
                rng = np.random.default_rng((seed, 12, number))
                some = np.sort(rng.choice(len(rows), settings.pixels_per_tile, replace=False))
                rows, cols = rows[some], cols[some]
            pixels = pack_tile(
                tile,
                rows,
                cols,
                seed=seed_of(seed, 3, number),
                number=-1 - number,
                max_s2=settings.max_s2,
                max_s1=settings.max_s1,
            )
            # Valid dates of nothing but zeros (padding outside the swath) were dropped while packing.
            seen_any = (pixels.s2_count > 0) | (pixels.s1_count > 0)
            if not seen_any.any():
                raise TileError(f"The tile {path} has not one valid observation; take it out of data.tiles.")
            return pixels if seen_any.all() else pixels.take(seen_any)

        sources.append(real)
    return sources


def seed_of(*parts: int) -> int:
    """A seed made of several numbers, such as a run's seed and a step."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


def _pack_sample(sample: DPixelSample, first_world: int, seed: int, **limits: int) -> PixelSet:
    place = np.stack([sample.worlds + first_world, sample.parcels, np.arange(len(sample))], axis=1)
    return pack_pixels(
        Series(sample.s2, sample.doys, sample.masks != 0),
        Series(sample.sar_asc, sample.doys_asc),
        Series(sample.sar_desc, sample.doys_desc),
        seed=seed,
        label=np.where(sample.covers == NO_COVER, np.uint8(0), sample.covers + np.uint8(1)),
        place=place,
        **limits,
    )


def holdout_pixels(settings: DataSettings, seed: int) -> list[PixelSet]:
    """One :class:`PixelSet` per held-out world, with cover labels from 1; their seeds are never used for training."""
    worlds = []
    for number in range(settings.holdout_worlds):
        sample = sample_dpixels(
            HOLDOUT_PARCELS * HOLDOUT_PER_PARCEL,
            seed_of(seed, _HOLDOUT_STREAM, number),
            pixels_per_parcel=HOLDOUT_PER_PARCEL,
            parcels_per_world=HOLDOUT_PARCELS,
            climates=settings.climates,
        )
        worlds.append(_pack_sample(sample, number, 0, max_s2=settings.max_s2, max_s1=settings.max_s1))
    return worlds


def statistics_of(shards: list[Path], name: str, most: int = 60_000) -> Normalisation:
    """Mean and standard deviation of the valid observations, per band and per orbit, of up to ``most`` pixels.

    An orbit that no pixel has gets the other orbit's numbers.

    Raises:
        PretrainError: a modality has no observation at all.
    """
    s2, asc, desc = _Moments(10), _Moments(2), _Moments(2)
    per_shard = max(1, most // len(shards))
    for shard in shards:
        pixels = PixelSet.open(shard).take(slice(0, per_shard))
        s2.add(pixels.s2[np.arange(pixels.s2.shape[1])[None] < pixels.s2_count[:, None]])
        position = np.arange(pixels.s1.shape[1])[None]
        ascending = position < pixels.s1_ascending[:, None]
        asc.add(pixels.s1[ascending])
        desc.add(pixels.s1[~ascending & (position < pixels.s1_count[:, None])])
    if not s2.count or not (asc.count or desc.count):
        missing = "Sentinel-1 pass" if s2.count else "Sentinel-2 observation"
        raise PretrainError(
            f"The training pixels hold not one valid {missing}, so their statistics are unknown; set model.normalisation "
            "to a published set such as 'v2-student'."
        )
    asc, desc = (asc if asc.count else desc), (desc if desc.count else asc)
    return Normalisation(name, *s2.result(), *asc.result(), *desc.result())


class _Moments:
    """Running float64 sums of raw integers."""

    def __init__(self, channels: int) -> None:
        self.count, self.sum, self.square = 0, np.zeros(channels), np.zeros(channels)

    def add(self, values: Any) -> None:
        v = values.astype(np.float64)
        self.count += len(v)
        self.sum += v.sum(0)
        self.square += (v**2).sum(0)

    def result(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        mean = self.sum / self.count
        std = np.sqrt(np.maximum(self.square / self.count - mean**2, 0))
        # A constant channel would divide by zero; one raw unit is the resolution of the data.
        return tuple(np.round(mean, 4).tolist()), tuple(np.round(np.maximum(std, 1.0), 4).tolist())


def epoch_batches(sizes: list[int], batch: int) -> int:
    """Whole batches in one pass over shards of these sizes; the incomplete last batch of a shard is dropped."""
    return sum(size // batch for size in sizes)


class ShardReader:
    """Batches of shuffled pixels by step number alone, so that resuming needs no state.

    Every epoch visits the shards in another order and the rows of each in another permutation.
    """

    def __init__(self, shards: list[Path], batch: int, seed: int, shuffle: bool = True) -> None:
        self.shards, self.batch, self.seed, self.shuffle = shards, batch, seed, shuffle
        self.sizes = [len(PixelSet.open(shard)) for shard in shards]
        self.per_epoch = epoch_batches(self.sizes, batch)
        if self.per_epoch == 0:
            raise PretrainError(
                f"No shard holds a whole batch of {batch} pixels (the largest has {max(self.sizes)}); lower run.batch or "
                "data.shards, or use more pixels."
            )
        self._loaded: tuple[int, PixelSet] | None = None

    def __call__(self, step: int) -> PixelSet:
        """The pixels of ``step``."""
        epoch, position = divmod(step, self.per_epoch)
        rng = np.random.default_rng((self.seed, 20, epoch))
        order = rng.permutation(len(self.shards)) if self.shuffle else np.arange(len(self.shards))
        for shard in order:
            batches = self.sizes[shard] // self.batch
            if position < batches:
                break
            position -= batches
        pixels = self._load(int(shard))
        if not self.shuffle:
            return pixels.take(slice(position * self.batch, (position + 1) * self.batch))
        rows = np.random.default_rng((self.seed, 21, epoch, int(shard))).permutation(len(pixels))
        return pixels.take(rows[position * self.batch : (position + 1) * self.batch])

    def _load(self, shard: int) -> PixelSet:
        if self._loaded is None or self._loaded[0] != shard:
            self._loaded = None
            pixels = PixelSet.open(self.shards[shard])
            self._loaded = (shard, _in_memory(pixels))
        return self._loaded[1]

    def __iter__(self) -> Iterator[PixelSet]:
        step = 0
        while True:
            yield self(step)
            step += 1
