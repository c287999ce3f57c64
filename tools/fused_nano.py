"""Distil a fused teacher into studio-nano: the fourth stage of the shipped weights (docs/studio-nano.md).

    python tools/fused_nano.py THIRD.safetensors AVERAGE.pt RUN PIXELS CALIFORNIA.npz ARKANSAS.npz BELGIUM TREESATAI

THIRD is what the third stage wrote, AVERAGE the ``average.pt`` of its run, PIXELS the folder ``pixels`` of its simulated pixels;
both runs are of tools/further_nano.py, which says what the places are. The teacher of a pixel is the vectors of THIRD and of
AVERAGE from all its observations, joined with its seasonal statistics (:mod:`tessera_core.pretrain.fused`); the student starts
as THIRD with a last layer fitted to that and learns it from views of few dates. RUN gets ``studio-nano.safetensors``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tessera_core.models.checkpoint import load_checkpoint, save_checkpoint
from tessera_core.models.encoder import Encoder
from tessera_core.models.normalisation import Normalisation
from tessera_core.models.zoo import file_sha256
from tessera_core.pretrain.fused import Block, FusedTarget, packed_seasons
from tessera_core.pretrain.pixels import PixelSet
from tessera_core.pretrain.products import QuickProducts
from tessera_core.pretrain.studies.scenes import embed
from tessera_core.pretrain.views import Disturbance, View, draw_view
from tessera_core.types import Floats
from tools.further_nano import BATCH, composites, real_half, tile_half

# Real pixels of each place in a batch, as in the third stage.
REAL = (32, 20, 11.5, 0.5)
# How many shards of the third stage's simulated pixels take part.
SHARDS = 4
SEASONS = 1.5  # their share beside 1 of each embedding
STEPS, RATE, WARM, AVERAGED, EVERY = 3200, 1e-3, 100, 200, 10
DISTURBANCE = Disturbance(
    drop_s1=0.3, drop_s2=0.04, drop_orbit=0.35, window=0.1, window_days=(180, 330), gain=0.03, haze=0.005, radar_db=1.2
)


def main() -> None:
    """Teach, average, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("third", type=Path)
    parser.add_argument("average", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("pixels", type=Path)
    parser.add_argument("places", type=Path, nargs=len(REAL), help="files and tiles in the order above")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.run.mkdir(parents=True, exist_ok=True)
    loaded = load_checkpoint(args.third)
    encoder, normalisation = loaded.encoder, loaded.config.normalisation
    shards = [PixelSet.open(one).take(slice(None)) for one in sorted(args.pixels.glob("shard-*"))[:SHARDS]]
    capacity = shards[0].s2.shape[1], shards[0].s1.shape[1]
    real = [tile_half(one, *capacity) if one.is_dir() else real_half(one, *capacity) for one in args.places]
    simulated = PixelSet.concatenate(shards)
    pool = [simulated, *real]
    counts = [BATCH - sum(REAL), *REAL]
    weight = np.concatenate([np.full(len(one), count / len(one)) for one, count in zip(pool, counts, strict=True)])
    states = [encoder.state_dict(), torch.load(args.average, weights_only=True)]
    targets = fused(encoder, states, normalisation, pool, weight)
    stream = Stream(pool, targets, normalisation)
    fit_last_layer(encoder, stream)
    averaged = train(encoder, stream)
    encoder.load_state_dict(averaged)
    training = dict(loaded.card["training"])
    training["distilled"] = {
        "on": file_sha256(args.third),
        "steps": STEPS,
        "pixels": STEPS * BATCH,
        "simulated_pixels": len(simulated),
        "real_pixels": sum(map(len, real)),
        "seasons": SEASONS,
        "averaged_steps": AVERAGED,
    }
    path = save_checkpoint(
        args.run / "studio-nano.safetensors", encoder, loaded.config, {**loaded.card, "training": training}
    )
    print(json.dumps({"file": str(path), "sha256": file_sha256(path)}))


def fused(
    encoder: Encoder,
    states: Sequence[dict[str, Tensor]],
    normalisation: Normalisation,
    pool: Sequence[PixelSet],
    weight: NDArray[np.float64],
) -> list[Floats]:
    """Targets (N, D) of the pixels of each set: the vectors of each state of the encoder and the seasons, fused.

    Args:
        encoder: is as it was afterwards.
        states: of the teachers; the first is the encoder's own.
        normalisation: of all.
        pool: sets of pixels.
        weight: of each pixel of all sets.
    """
    own = {key: value.clone() for key, value in encoder.state_dict().items()}
    states = [{key: value.clone() for key, value in state.items()} for state in states]
    vectors = []
    for state in states:
        encoder.load_state_dict(state)
        vectors.append([embed(encoder, normalisation, one) for one in pool])
    encoder.load_state_dict(own)
    seasons = [packed_seasons(one, normalisation) for one in pool]
    optical, radar = (np.concatenate(one) for one in zip(*seasons, strict=True))
    values = [*(np.concatenate(one) for one in vectors), optical, radar]
    width = optical.shape[1] + radar.shape[1]
    blocks = [Block(one) for one in values[:-2]]
    blocks += [Block(one, SEASONS * one.shape[1] / width, even=True) for one in values[-2:]]
    target = FusedTarget.fit(blocks, weight, values[0].shape[1])(values)
    return np.split(target, np.cumsum([len(one) for one in pool])[:-1])


class Stream:
    """Batches of views and of what they shall foretell; the first of the sets is simulated, of a third of whose batches the
    dates are ten-day medians."""

    def __init__(self, pool: Sequence[PixelSet], targets: Sequence[Floats], normalisation: Normalisation) -> None:
        self.pool, self.targets, self.normalisation = pool, targets, normalisation
        # A pixel is made medians of in one epoch of three, at most.
        self.medians = composites(pool[0], np.random.default_rng(3))

    def __call__(self, step: int) -> tuple[PixelSet, Floats]:
        """The pixels of a step and their targets."""
        own = BATCH - round(sum(REAL))
        epoch, at = divmod(step, len(self.pool[0]) // own)
        rows = np.sort(np.random.default_rng((7, epoch)).permutation(len(self.pool[0]))[at * own : (at + 1) * own])
        first = self.medians if (step + epoch) % 3 == 0 else self.pool[0]
        parts, wanted = [first.take(rows)], [self.targets[0][rows]]
        rng = np.random.default_rng((8, step))
        # Halves are rounded up in every second batch, and down in the others, in the last place the other way about.
        odd = step % 2
        counts = [32, 20, 12 - odd, odd]
        for pixels, target, count in zip(self.pool[1:], self.targets[1:], counts, strict=True):
            if count:
                some = rng.choice(len(pixels), count, replace=False)
                parts.append(pixels.take(some))
                wanted.append(target[some])
        return PixelSet.concatenate(parts), np.concatenate(wanted)

    def view(self, step: int, pixels: PixelSet) -> View:
        """A view of each pixel: 8 to 40 observations a sensor, in one batch of seven 8 of radar."""
        rng = np.random.default_rng((26, 30, step))
        optical = int(rng.integers(8, 41))
        radar = 8 if rng.random() <= 0.15 else int(rng.integers(8, 41))
        return draw_view(pixels, optical, radar, self.normalisation, rng, DISTURBANCE)


def fit_last_layer(encoder: Encoder, stream: Stream, batches: int = 60) -> None:
    """Set the last layer to the ridge regression of the targets on what comes before it, over some batches of views."""
    layer = encoder.dim_reducer[4]
    assert isinstance(layer, nn.Linear)
    found: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, given: found.append(given[0].double()))
    wanted = []
    encoder.eval()
    with torch.no_grad():
        for step in range(batches):
            pixels, target = stream(step)
            view = stream.view(10**6 + step, pixels)
            encoder(torch.from_numpy(view.s2), torch.from_numpy(view.s1))
            wanted.append(target)
        hook.remove()
        before, after = torch.cat(found), torch.from_numpy(np.concatenate(wanted)).double()
        penalty = torch.full(
            (before.shape[1] + 1,), float(1e-3 * before.var(0).mean() * len(before)), dtype=torch.double
        )
        penalty[-1] = 0
        before = torch.cat([before, torch.ones(len(before), 1, dtype=torch.double)], dim=1)
        solved = torch.linalg.solve(before.T @ before + torch.diag(penalty), before.T @ after)
        layer.weight.copy_(solved[:-1].T)
        layer.bias.copy_(solved[-1])


def train(encoder: Encoder, stream: Stream, steps: int = STEPS) -> dict[str, Tensor]:
    """Take all steps; the average of every tenth step's weights over the last ones."""
    matrices = [one for one in encoder.parameters() if one.ndim > 1]
    others = [one for one in encoder.parameters() if one.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98))
    kept: list[dict[str, Tensor]] = []
    encoder.train()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARM) * (0.98 * 0.5 * (1 + np.cos(np.pi * step / steps)) + 0.02)
        pixels, target = stream(step)
        view = stream.view(step, pixels)
        optimiser.zero_grad(set_to_none=True)
        with QuickProducts():
            said = encoder(torch.from_numpy(view.s2), torch.from_numpy(view.s1))
            loss = (said - torch.from_numpy(target)).square().mean()
            loss.backward()
        nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimiser.step()
        if step % 50 == 0:
            print(f"step {step}, loss {float(loss.detach()):.4f}", flush=True)
        if (step + 1) % EVERY == 0 and step >= steps - AVERAGED:
            kept.append({key: value.detach().double().clone() for key, value in encoder.state_dict().items()})
    return {key: torch.stack([one[key] for one in kept]).mean(0).float() for key in kept[0]}


if __name__ == "__main__":
    main()
