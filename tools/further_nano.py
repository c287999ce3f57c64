"""Train studio-nano on: the later stages of the shipped weights (docs/studio-nano.md), from those before and from pixels.

    python tools/further_nano.py second FIRST.safetensors RUN ARKANSAS.npz
    python tools/further_nano.py third FIRST.safetensors RUN CALIFORNIA.npz ARKANSAS.npz BELGIUM TREESATAI --on SECOND.safetensors

FIRST is what ``tessera pretrain studio-nano`` makes; in the history of tessera_core/models/weights it begins with b8088f56, SECOND
with 70a3dcb0. The third stage trains on from SECOND; what is written lies between FIRST and the average. Files hold real pixels
without radar (docs/pretraining.md says the layout), folders are d-pixel tiles, of which a raster ``labels_ct.tif`` tells the
outlines of fields. Half of each place takes part (:mod:`tessera_core.pretrain.halves`), unlabelled. RUN gets the simulated pixels,
averages of the weights and, at the end, ``studio-nano.safetensors``.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
import torch
from torch import Tensor

from tessera_core.dpixels.tile import S2_BANDS, DPixelTile
from tessera_core.models.checkpoint import LoadedEncoder, load_checkpoint, save_checkpoint
from tessera_core.models.zoo import file_sha256
from tessera_core.pretrain import prepare
from tessera_core.pretrain.config import DataSettings, PretrainConfig
from tessera_core.pretrain.halves import OUTLINES, taught_blocks, taught_ground
from tessera_core.pretrain.pixels import PixelSet, Series, pack_pixels, pack_tile
from tessera_core.pretrain.trainer import Trainer

CLIMATES = ("temperate", "mediterranean", "continental", "semi-arid")
BATCH, RATE, WARM_RATE, EVERY = 256, 4e-4, 1.5e-3, 10


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        warm, steps: steps of fresh projectors beside a fixed encoder, then of both.
        scheduled: steps of the cosine, of which ``steps`` are taken.
        simulated, seed: simulated pixels and what they are drawn with.
        real: real pixels of each place in a batch; half a pixel is one in every second batch.
        averaged: the average of every tenth step's weights over the last so many steps,
        share: and its share beside the weights before.
    """

    warm: int
    steps: int
    scheduled: int
    simulated: int
    seed: int
    real: tuple[float, ...]
    averaged: int
    share: float


STAGES = {
    "second": Stage(120, 1000, 2400, 147456, 2612, (32,), 200, 0.35),
    "third": Stage(100, 1800, 1800, 307200, 2613, (32, 20, 11.5, 0.5), 200, 0.35),
}


def main() -> None:
    """Prepare, train, average, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=list(STAGES))
    parser.add_argument("first", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("places", type=Path, nargs="+", help="files and tiles in the order above")
    parser.add_argument("--on", type=Path, help="weights to train on from (default: the first)")
    args = parser.parse_args()
    stage = STAGES[args.stage]
    if len(args.places) != len(stage.real):
        parser.error(f"the {args.stage} stage takes {len(stage.real)} places")
    first = load_checkpoint(args.first)
    before = first if args.on is None else load_checkpoint(args.on)
    trainer = _trainer(before, args.run, stage)
    simulated = composites(_simulated(args.run, stage), np.random.default_rng(3))
    capacity = simulated.s2.shape[1], simulated.s1.shape[1]
    real = [tile_half(one, *capacity) if one.is_dir() else real_half(one, *capacity) for one in args.places]
    averaged = train(trainer, batches(simulated, real, stage.real), stage)
    torch.save(averaged, args.run / "average.pt")
    trainer.encoder.load_state_dict(between(first.encoder.state_dict(), averaged, stage.share))
    # What the probe said was said of the first weights.
    training = {key: value for key, value in first.card["training"].items() if key != "probe_macro_f1"}
    training["continued"] = {
        "from": file_sha256(args.first),
        "on": file_sha256(args.on or args.first),
        "steps": stage.steps,
        "pixels": (stage.warm + stage.steps) * BATCH,
        "simulated_pixels": stage.simulated,
        "real_pixels": sum(map(len, real)),
        "averaged_steps": stage.averaged,
        "share": stage.share,
    }
    card = {**first.card, "training": training}
    path = save_checkpoint(args.run / "studio-nano.safetensors", trainer.encoder, first.config, card)
    print(json.dumps({"file": str(path), "sha256": file_sha256(path)}))


def _trainer(before: LoadedEncoder, run: Path, stage: Stage) -> Trainer:
    """The recipe of the first stage with shorter views that often lack radar, from the weights before."""
    recipe = PretrainConfig.load("studio-nano")
    recipe = replace(
        recipe,
        seed=26,
        # The trainer's own pixels are not read.
        data=replace(recipe.data, simulated=512, shards=1, holdout_worlds=0),
        views=replace(recipe.views, s2=(8, 32), s1=(8, 32), drop_s1=0.3, drop_s2=0.04, window=0.1, gain=0.04),
        optimiser=replace(recipe.optimiser, learning_rate=RATE),
        run=replace(recipe.run, steps=stage.scheduled, probe_every=0),
    )
    trainer = Trainer(recipe, run)
    trainer.normalisation = before.config.normalisation
    trainer.encoder.load_state_dict(before.encoder.state_dict())
    trainer.encoder.train()
    return trainer


def _simulated(run: Path, stage: Stage) -> PixelSet:
    settings = DataSettings(
        simulated=stage.simulated, climates=CLIMATES, randomised=0.5, shards=stage.simulated // 24576, holdout_worlds=0
    )
    shards = prepare.prepare_shards(settings, run / "pixels", seed=stage.seed)
    return PixelSet.concatenate([PixelSet.open(shard).take(slice(None)) for shard in shards])


def composites(pixels: PixelSet, rng: np.random.Generator) -> PixelSet:
    """The same with the Sentinel-2 dates of a third of the pixels made medians of ten days each."""
    s2, doy, count = (np.array(one) for one in (pixels.s2, pixels.s2_doy, pixels.s2_count))
    for row in rng.permutation(len(pixels))[: len(pixels) // 3]:
        dates = int(count[row])
        if dates < 6:
            continue
        window = (doy[row, :dates].astype(int) - 1) // 10
        kinds = np.unique(window)
        medians = [np.median(s2[row, :dates][window == one], axis=0) for one in kinds]
        s2[row], doy[row] = 0, 0
        s2[row, : len(kinds)] = np.stack(medians).astype(np.uint16)
        doy[row, : len(kinds)] = np.minimum(kinds * 10 + 6, 365)
        count[row] = len(kinds)
    return replace(pixels, s2=s2, s2_doy=doy, s2_count=count)


def without_radar(pixels: PixelSet, rng: np.random.Generator) -> PixelSet:
    """The same with half of the pixels, drawn at random, lacking radar."""
    gone = rng.random(len(pixels)) < 0.5
    names = ("s1", "s1_doy", "s1_count", "s1_ascending")
    left = {name: np.array(getattr(pixels, name)) for name in names}
    for values in left.values():
        values[gone] = 0
    return replace(pixels, **left)


def real_half(path: Path, max_s2: int, max_s1: int) -> PixelSet:
    """The pixels of every second block of ground, without their labels."""
    with np.load(path) as file:
        rows = np.flatnonzero(taught_blocks(file["lonlat"]))
        order = [list(file["bands"]).index(band) for band in S2_BANDS]
        s2, mask, doy = file["s2"][rows][..., order], file["mask"][rows], file["doy"]
    none = Series(np.zeros((len(rows), 0, 2), np.int16), np.zeros(0, int))
    optical = Series(s2, doy, mask & (s2 != 0).any(-1))
    return pack_pixels(optical, none, none, max_s2=max_s2, max_s1=max_s1, seed=0)


def tile_half(path: Path, max_s2: int, max_s1: int) -> PixelSet:
    """The pixels of every second field of a tile and of half of the other ground, a third of them as medians of ten days; all of a
    tile without outlines, as they are."""
    tile, outlines = DPixelTile.open(path), path / OUTLINES
    if not outlines.exists():
        rows, cols = np.indices(tile.bands.shape[1:3]).reshape(2, -1)
        return pack_tile(tile, rows, cols, max_s2=max_s2, max_s1=max_s1, seed=0)
    with rasterio.open(outlines) as file:
        rows, cols = np.nonzero(taught_ground(file.read(1)))
    pixels = pack_tile(tile, rows, cols, max_s2=max_s2, max_s1=max_s1, seed=0)
    return composites(pixels, np.random.default_rng(4))


def batches(simulated: PixelSet, real: Sequence[PixelSet], counts: Sequence[float]) -> Iterator[PixelSet]:
    """Endless batches of both kinds, mixed; pixels with radar are of tiles, and half of them come without it.

    Args:
        simulated: of which no pixel comes twice before all have come.
        real: the places.
        counts: how many pixels of each are in a batch. A half is rounded down in every second batch and up in the others, in the
            last place the other way about, so that all batches hold as many.
    """
    own, step = BATCH - round(sum(counts)), 0
    while True:
        epoch, at = divmod(step, len(simulated) // own)
        some = np.random.default_rng((7, epoch)).permutation(len(simulated))[at * own : (at + 1) * own]
        rng = np.random.default_rng((8, step))
        wanted = [
            math.floor(one + 0.5 * ((step + (number + 1 == len(counts))) % 2 == 0)) for number, one in enumerate(counts)
        ]
        parts = [one.take(rng.choice(len(one), count, replace=False)) for one, count in zip(real, wanted, strict=True)]
        batch = [simulated.take(np.sort(some)), *(one for one in parts if not one.s1_count.any())]
        if tiles := [one for one in parts if one.s1_count.any()]:
            batch.append(without_radar(PixelSet.concatenate(tiles), rng))
        yield PixelSet.concatenate(batch).take(np.random.default_rng((9, step)).permutation(BATCH))
        step += 1


def train(trainer: Trainer, batches: Iterator[PixelSet], stage: Stage) -> dict[str, Tensor]:
    """Take all steps; the average of the last weights."""
    kept: list[dict[str, Tensor]] = []
    for parameter in trainer.encoder.parameters():
        parameter.requires_grad_(False)
    for step, pixels in zip(range(-stage.warm, stage.steps), batches, strict=False):
        if step == 0:
            for parameter in trainer.encoder.parameters():
                parameter.requires_grad_(True)
        rate = WARM_RATE * min(1, (step + stage.warm + 1) / 10)
        if step >= 0:
            rate = RATE * min(1, (step + 1) / 60) * (0.98 * 0.5 * (1 + np.cos(np.pi * step / stage.scheduled)) + 0.02)
        for group in trainer.optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        trainer.step = step + stage.warm
        loss, *_ = trainer.update(trainer.inputs(pixels, trainer.step), len(pixels), None)
        if step % EVERY == 0:
            print(f"step {step}, loss {float(loss):.1f}", flush=True)
            if step > stage.steps - stage.averaged - EVERY:
                kept.append(
                    {key: value.detach().double().clone() for key, value in trainer.encoder.state_dict().items()}
                )
    return {key: torch.stack([one[key] for one in kept]).mean(0).float() for key in kept[0]}


def between(first: dict[str, Tensor], last: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights between two that are near each other: ``share`` of the last."""
    return {key: ((1 - share) * one.double() + share * last[key].double()).float() for key, one in first.items()}


if __name__ == "__main__":
    main()
