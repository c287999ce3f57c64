"""The shipped weights are what their card says, and useful on worlds they never saw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from tessera_core.models.checkpoint import load_checkpoint
from tessera_core.models.encoder import Encoder
from tessera_core.pretrain.config import DataSettings, PretrainConfig
from tessera_core.pretrain.monitor import embed, linear_probe
from tessera_core.pretrain.prepare import holdout_pixels


def test_weights_match_the_configuration_that_made_them():
    loaded, config = load_checkpoint("studio-nano"), PretrainConfig.load("studio-nano")
    assert loaded.path.stat().st_size <= 5_000_000
    assert (loaded.model, loaded.name) == ("studio", config.name)
    assert loaded.card["training"]["simulated_pixels"] == config.data.simulated
    assert loaded.card["training"]["tiles"] == 0
    assert loaded.config.prefixes == (*config.objective.prefixes, 128)
    expected = replace(
        config.encoder_config(), normalisation=loaded.config.normalisation, prefixes=loaded.config.prefixes
    )
    assert loaded.config == expected


def test_it_beats_an_untrained_encoder_on_an_unseen_world():
    loaded = load_checkpoint("studio-nano")
    # A seed that neither training nor the choice of the checkpoint used.
    (world,) = holdout_pixels(DataSettings(simulated=1, holdout_worlds=1), seed=987)
    world = world.take(np.arange(0, len(world), 2))
    torch.manual_seed(0)
    untrained = Encoder(loaded.config).eval()
    ours, theirs = (
        np.mean(linear_probe(embed(e, world, loaded.config.normalisation), world.label, world.place[:, 1], 5, 3))
        for e in (loaded.encoder, untrained)
    )
    assert ours > theirs + 0.1
    assert ours > 0.65
