"""A small demo region that the tests of this folder share."""

from __future__ import annotations

import pytest

from tessera_core.project import demo

DEMO_SIZE = 96


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A tiny encoder with random weights: these tests are about the demo, not about how good the embeddings are."""
    import torch

    from tessera_core.models.checkpoint import save_checkpoint
    from tessera_core.models.config import PRESETS
    from tessera_core.models.encoder import Encoder

    torch.manual_seed(0)
    config = PRESETS["v2-nano"]
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_checkpoint(path, Encoder(config), config, {"name": "random"})
    return path


@pytest.fixture(scope="session")
def region(weights, tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "out"
    steps = []
    made = demo.write_demo(out, DEMO_SIZE, (2023,), weights=weights, progress=lambda *step: steps.append(step))
    return made, steps
