"""Global shuffling: from tiles and simulated worlds to shards in which no two neighbours are more likely than chance.

The method (docs/spec/facts.md section 1.5) pools the pixels of many tiles, permutes them and cuts chunks. Here that is done out of
core and resumably: every source is packed once, its rows permuted, into a *unit* folder; shard ``s`` is then slice ``s`` of every
unit, permuted again. Any shard, and so any batch, is a random sample of all sources. Memory holds one source or one shard at a
time, however many there are: large pools are cut into more shards. Disk holds everything twice until the units are deleted.
"""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tessera_core._utils.atomic import write_json
from tessera_core._utils.share import WHOLE, Share
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
_MANIFEST = "shards.json"
_TRAIN_STREAM, _HOLDOUT_STREAM = 1, 2


class Spreading(Protocol):
    """Does a share of a task by several processes (:func:`tessera_core._utils.spread.spread`, with all it needs)."""

    def __call__(
        self, task: Callable[..., None], share: Share, progress: Progress, cancelled: Cancel | None, /
    ) -> object:
        """Return when the share is done."""


@dataclass(frozen=True)
class Prepared:
    """What is there after a preparation.

    Attributes:
        shards: folders, each a :class:`PixelSet`; empty until all are there.
        sources: how many there are.
        waiting: units or shards that other shares have not made yet.
    """

    shards: tuple[Path, ...]
    sources: int
    waiting: int = 0


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
    return list(prepare_in_shares(settings, folder, seed, base, progress=progress, cancelled=cancelled).shards)


def prepare_in_shares(
    settings: DataSettings,
    folder: str | Path,
    seed: int = 0,
    base: str | Path = ".",
    *,
    share: Share = WHOLE,
    engine: Spreading | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Prepared:
    """As :func:`prepare_shards`, by several processes or machines into one folder; the files are the same bytes.

    Units come first. A share that finds the units of others missing says for how many it waits; the same command again then cuts
    its shards.

    Args:
        share: which of the sources and of the shards are done here.
        engine: processes; None does the work in this one.

    Raises:
        InputError: a process refused (its sentence), also what :func:`prepare_shards` raises.
    """
    folder = Path(folder).absolute()
    recipe = {**_recipe(asdict(settings)), "seed": seed}
    manifest = folder / _MANIFEST
    made = _made_so_far(folder, recipe)
    if "shards" in made and (found := _whole(folder, made["shards"])):
        return Prepared(found, made["sources"])
    sources = tuple(sources_of(settings, seed, base))
    if not made:
        write_json(manifest, {"recipe": recipe, "sources": len(sources)})

    def run(task: Callable[..., None], done: int, count: int, total: int) -> None:
        def report(part: int, parts: int, message: str) -> None:
            if progress:
                progress(done + count * part // max(parts, 1), total, message)

        if engine is None:
            task(share, progress=report, cancelled=cancelled)
        else:
            engine(task, share, report, cancelled)

    units = unit_folders(folder, len(sources))
    run(functools.partial(_make_units, sources, units, settings.shuffle, seed), 0, len(sources), 2 * len(sources))
    if waiting := sum(not unit.is_dir() for unit in units):
        # Another share may have cut all shards meanwhile.
        return Prepared(_whole(folder, settings.shards), len(sources), waiting)
    count = _shard_count(units, settings)
    write_json(manifest, {"recipe": recipe, "sources": len(sources), "shards": count})
    total = len(sources) + count
    run(
        functools.partial(_make_shards, units, _shards(folder, count), settings.shuffle, seed),
        len(sources),
        count,
        total,
    )
    if waiting := sum(not shard.is_dir() for shard in _shards(folder, count)):
        return Prepared((), len(sources), waiting)
    if progress:
        progress(total, total, "")
    return Prepared(_whole(folder, count), len(sources))


def _made_so_far(folder: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a folder; empty where nothing has been made.

    Raises:
        PretrainError: the folder holds something else, or pixels prepared with other settings.
    """
    manifest = folder / _MANIFEST
    if not manifest.exists() and folder.is_dir() and any(folder.iterdir()):
        raise PretrainError(f"{folder} holds something else than training pixels; choose another output folder.")
    made: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8")) if manifest.exists() else {}
    # Settings that did not exist yet when the shards were made count as their defaults.
    if made and {**_recipe(asdict(DataSettings())), **current_names(made["recipe"], "data")} != recipe:
        raise PretrainError(
            f"{folder} holds training pixels prepared with other settings; choose another output folder or delete it."
        )
    return made


def shards_made(settings: DataSettings, folder: str | Path, seed: int = 0) -> tuple[list[bool], int]:
    """Of each shard whether it is there, nothing while that is not known, and how many there are to be, at least.

    Raises:
        PretrainError: see :func:`prepare_shards`.
    """
    folder = Path(folder)
    made = _made_so_far(folder, {**_recipe(asdict(settings)), "seed": seed})
    if "shards" not in made:
        return [], settings.shards
    return [shard.is_dir() for shard in _shards(folder, made["shards"])], made["shards"]


def bytes_per_pixel(settings: DataSettings) -> int:
    """Of a pixel in a unit or a shard (:class:`PixelSet`): observations with their days, counts, label and place."""
    return settings.max_s2 * (10 + 1) * 2 + settings.max_s1 * (2 + 1) * 2 + 3 * 2 + 1 + 3 * 4


def _whole(folder: Path, count: int) -> tuple[Path, ...]:
    """The shards where all are there; units are no longer needed then."""
    shards = _shards(folder, count)
    if not all(shard.is_dir() for shard in shards):
        return ()
    shutil.rmtree(folder / "units", ignore_errors=True)
    return tuple(shards)


def unit_folders(folder: str | Path, sources: int) -> list[Path]:
    """Where the pixels of each source lie until the shards are cut."""
    return [Path(folder) / "units" / f"unit-{number:05d}" for number in range(sources)]


def _make_units(
    sources: Sequence[PixelSource],
    units: Sequence[Path],
    shuffle: bool,
    seed: int,
    share: Share,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> None:
    numbers = share.take(range(len(sources)))
    for done, number in enumerate(numbers):
        _go_on(progress, cancelled, done, len(numbers), f"pixels of source {number + 1} of {len(sources)}")
        if not units[number].is_dir():
            pixels = sources[number](number)
            if shuffle:
                pixels = pixels.take(np.random.default_rng((seed, 10, number)).permutation(len(pixels)))
            pixels.save(units[number])


def _make_shards(
    units: list[Path],
    shards: Sequence[Path],
    shuffle: bool,
    seed: int,
    share: Share,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> None:
    numbers = share.take(range(len(shards)))
    for done, s in enumerate(numbers):
        _go_on(progress, cancelled, done, len(numbers), f"shard {s + 1} of {len(shards)}")
        if not shards[s].is_dir():
            _cut(units, s, len(shards), shuffle, np.random.default_rng((seed, 11, s))).save(shards[s])


def _go_on(progress: Progress | None, cancelled: Cancel | None, done: int, total: int, message: str) -> None:
    if cancelled and cancelled():
        raise Cancelled()
    if progress:
        progress(done, total, message)


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


@dataclass(frozen=True)
class SimulatedSource:
    """Pixels of simulated worlds.

    Attributes:
        settings, seed: of the run.
        pixels: how many.
    """

    settings: DataSettings
    seed: int
    pixels: int

    def __call__(self, number: int) -> PixelSet:
        """The pixels; ``number`` is that of the source."""
        sample = sample_dpixels(
            self.pixels,
            seed_of(self.seed, _TRAIN_STREAM, number),
            pixels_per_parcel=_PER_PARCEL,
            parcels_per_world=_PARCELS,
            climates=self.settings.climates,
            randomised=self.settings.randomised,
        )
        most = {"max_s2": self.settings.max_s2, "max_s1": self.settings.max_s1}
        return _pack_sample(sample, number * _WORLDS_PER_UNIT, seed_of(self.seed, 3, number), **most)


@dataclass(frozen=True)
class TileSource:
    """Pixels of a d-pixel tile.

    Attributes:
        settings, seed: of the run.
        path: of the tile.
    """

    settings: DataSettings
    seed: int
    path: Path

    def __call__(self, number: int) -> PixelSet:
        """The pixels; ``number`` is that of the source."""
        tile = DPixelTile.open(self.path)
        counts = tile.require_observations()
        seen = (counts.s2 > 0) | (counts.s1 > 0)
        rows, cols = np.nonzero(seen if tile.roi is None else seen & tile.roi)
        if len(rows) > self.settings.pixels_per_tile:
            rng = np.random.default_rng((self.seed, 12, number))
            some = np.sort(rng.choice(len(rows), self.settings.pixels_per_tile, replace=False))
            rows, cols = rows[some], cols[some]
        pixels = pack_tile(
            tile,
            rows,
            cols,
            seed=seed_of(self.seed, 3, number),
            number=-1 - number,
            max_s2=self.settings.max_s2,
            max_s1=self.settings.max_s1,
        )
        # Valid dates of nothing but zeros (padding outside the swath) were dropped while packing.
        seen_any = (pixels.s2_count > 0) | (pixels.s1_count > 0)
        if not seen_any.any():
            raise TileError(f"The tile {self.path} has not one valid observation; take it out of data.tiles.")
        return pixels if seen_any.all() else pixels.take(seen_any)


PixelSource = SimulatedSource | TileSource


def sources_of(settings: DataSettings, seed: int, base: str | Path) -> list[PixelSource]:
    """Where the pixels of a run come from: simulated worlds, then tiles; the same list on every machine.

    Raises:
        TileError, InputError: see :func:`tessera_core.dpixels.tile.find_tiles`.
    """
    counts = (min(UNIT_PIXELS, settings.simulated - start) for start in range(0, settings.simulated, UNIT_PIXELS))
    found: list[PixelSource] = [SimulatedSource(settings, seed, count) for count in counts]
    # Whoever works for us elsewhere has another current folder.
    tiles = (tile for given in settings.tiles for tile in find_tiles(Path(base) / given))
    return found + [TileSource(settings, seed, tile) for tile in tiles]


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
