"""Train studio-nano on: the second stage of the shipped weights (docs/studio-nano.md), from those of the first and from pixels.

    python tools/further_nano.py FIRST.safetensors ARKANSAS.npz RUN

FIRST is what ``tessera pretrain studio-nano`` makes; in the history of tessera_core/models/weights it begins with b8088f56.
ARKANSAS.npz holds real pixels without radar (docs/pretraining.md says the layout), of which every second block of ground takes
part, unlabelled. RUN gets the simulated pixels, averages of the weights and, at the end, ``studio-nano.safetensors``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tessera_core.dpixels.tile import S2_BANDS
from tessera_core.models.checkpoint import LoadedEncoder, load_checkpoint, save_checkpoint
from tessera_core.models.zoo import file_sha256
from tessera_core.pretrain import prepare
from tessera_core.pretrain.config import DataSettings, PretrainConfig
from tessera_core.pretrain.halves import taught_blocks
from tessera_core.pretrain.pixels import PixelSet, Series, pack_pixels
from tessera_core.pretrain.trainer import Trainer

CLIMATES = ("temperate", "mediterranean", "continental", "semi-arid")
SIMULATED, REAL_A_BATCH, BATCH = 147456, 32, 256
# Steps of fresh projectors beside a fixed encoder, then of both; the schedule is that of a longer run, stopped.
WARM, STEPS, SCHEDULED, RATE, WARM_RATE = 120, 1000, 2400, 4e-4, 1.5e-3
# The average of every tenth step's weights over the last so many steps, and its share beside the first weights.
AVERAGED, EVERY, SHARE = 200, 10, 0.35


def main() -> None:
    """Prepare, train, average, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=Path)
    parser.add_argument("real", type=Path)
    parser.add_argument("run", type=Path)
    args = parser.parse_args()
    first = load_checkpoint(args.first)
    trainer = _trainer(first, args.run)
    simulated = composites(_simulated(args.run), np.random.default_rng(3))
    real = real_half(args.real, simulated.s2.shape[1], simulated.s1.shape[1])
    averaged = train(trainer, simulated, real)
    torch.save(averaged, args.run / "average.pt")
    trainer.encoder.load_state_dict(between(first.encoder.state_dict(), averaged, SHARE))
    # What the probe said was said of the first weights.
    training = {key: value for key, value in first.card["training"].items() if key != "probe_macro_f1"}
    training["continued"] = {
        "from": file_sha256(args.first),
        "steps": STEPS,
        "pixels": (WARM + STEPS) * BATCH,
        "simulated_pixels": SIMULATED,
        "real_pixels": len(real),
        "averaged_steps": AVERAGED,
        "share": SHARE,
    }
    card = {**first.card, "training": training}
    path = save_checkpoint(args.run / "studio-nano.safetensors", trainer.encoder, first.config, card)
    print(json.dumps({"file": str(path), "sha256": file_sha256(path)}))


def _trainer(first: LoadedEncoder, run: Path) -> Trainer:
    """The recipe of the first stage with shorter views that often lack radar, from the weights of the first stage."""
    recipe = PretrainConfig.load("studio-nano")
    recipe = replace(
        recipe,
        seed=26,
        # The trainer's own pixels are not read.
        data=replace(recipe.data, simulated=512, shards=1, holdout_worlds=0),
        views=replace(recipe.views, s2=(8, 32), s1=(8, 32), drop_s1=0.3, drop_s2=0.04, window=0.1, gain=0.04),
        optimiser=replace(recipe.optimiser, learning_rate=RATE),
        run=replace(recipe.run, steps=SCHEDULED, probe_every=0),
    )
    trainer = Trainer(recipe, run)
    trainer.normalisation = first.config.normalisation
    trainer.encoder.load_state_dict(first.encoder.state_dict())
    trainer.encoder.train()
    return trainer


def _simulated(run: Path) -> PixelSet:
    settings = DataSettings(simulated=SIMULATED, climates=CLIMATES, randomised=0.5, shards=6, holdout_worlds=0)
    shards = prepare.prepare_shards(settings, run / "pixels", seed=2612)
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


def real_half(path: Path, max_s2: int, max_s1: int) -> PixelSet:
    """The pixels of every second block of ground, without their labels."""
    with np.load(path) as file:
        rows = np.flatnonzero(taught_blocks(file["lonlat"]))
        order = [list(file["bands"]).index(band) for band in S2_BANDS]
        s2, mask, doy = file["s2"][rows][..., order], file["mask"][rows], file["doy"]
    none = Series(np.zeros((len(rows), 0, 2), np.int16), np.zeros(0, int))
    optical = Series(s2, doy, mask & (s2 != 0).any(-1))
    return pack_pixels(optical, none, none, max_s2=max_s2, max_s1=max_s1, seed=0)


def batches(simulated: PixelSet, real: PixelSet) -> Iterator[PixelSet]:
    """Endless batches of both kinds, mixed."""
    step, own = 0, BATCH - REAL_A_BATCH
    while True:
        epoch, at = divmod(step, len(simulated) // own)
        some = np.random.default_rng((7, epoch)).permutation(len(simulated))[at * own : (at + 1) * own]
        others = np.random.default_rng((8, step)).choice(len(real), REAL_A_BATCH, replace=False)
        both = PixelSet.concatenate([simulated.take(some), real.take(others)])
        yield both.take(np.random.default_rng((9, step)).permutation(BATCH))
        step += 1


def train(trainer: Trainer, simulated: PixelSet, real: PixelSet) -> dict[str, Tensor]:
    """Take all steps; the average of the last weights."""
    kept: list[dict[str, Tensor]] = []
    for parameter in trainer.encoder.parameters():
        parameter.requires_grad_(False)
    for step, pixels in zip(range(-WARM, STEPS), batches(simulated, real), strict=False):
        if step == 0:
            for parameter in trainer.encoder.parameters():
                parameter.requires_grad_(True)
        rate = WARM_RATE * min(1, (step + WARM + 1) / 10)
        if step >= 0:
            rate = RATE * min(1, (step + 1) / 60) * (0.98 * 0.5 * (1 + np.cos(np.pi * step / SCHEDULED)) + 0.02)
        for group in trainer.optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        trainer.step = step + WARM
        loss, *_ = trainer.update(trainer.inputs(pixels, trainer.step), len(pixels), None)
        if step % EVERY == 0:
            print(f"step {step}, loss {float(loss):.1f}", flush=True)
            if step > STEPS - AVERAGED - EVERY:
                kept.append(
                    {key: value.detach().double().clone() for key, value in trainer.encoder.state_dict().items()}
                )
    return {key: torch.stack([one[key] for one in kept]).mean(0).float() for key in kept[0]}


def between(first: dict[str, Tensor], last: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights between two that are near each other: ``share`` of the last."""
    return {key: ((1 - share) * one.double() + share * last[key].double()).float() for key, one in first.items()}


if __name__ == "__main__":
    main()
