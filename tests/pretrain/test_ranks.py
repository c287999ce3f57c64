"""Two real processes train the model that one would: the same losses, the same weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tessera_core.cli import main
from tessera_core.models.checkpoint import load_checkpoint
from tessera_core.pretrain.config import PretrainConfig
from tessera_core.pretrain.monitor import embed
from tessera_core.pretrain.prepare import holdout_pixels
from tessera_core.pretrain.ranks import Ranks
from tessera_core.pretrain.trainer import Trainer

CONFIG = """
name = "studio-ranks"
seed = 5
[data]
simulated = 200
shards = 1
max_s2 = 12
max_s1 = 12
[views]
s2 = [4, 6]
s1 = [4, 6]
drop_s1 = 0.1
window = 0.3
gain = 0.02
haze = 0.01
radar_db = 0.5
[objective]
projector = [32, 32]
prefixes = [16]
mixup_rows = {mixup_rows}
[optimiser]
learning_rate = 1e-3
warmup = 0.3
[run]
steps = 4
batch = {batch}
micro_batch = 10
threads = 1
accumulate = {accumulate}
checkpoint_every = 2
"""


def together(path: Path, out: Path, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """Run the command in several processes, as a user does."""
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    return subprocess.run(
        [sys.executable, *start, "-m", "tessera_core", "pretrain", str(path), "--out", str(out), "--json"],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )


def written(folder: Path, batch: int = 24, accumulate: str = "false", mixup_rows: str = "1.0") -> Path:
    path = folder / "run.toml"
    path.write_text(CONFIG.format(batch=batch, accumulate=accumulate, mixup_rows=mixup_rows))
    return path


def log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


# 0.55 of 24 pixels are 13 mixtures, which two processes cannot share evenly.
@pytest.mark.soak
@pytest.mark.parametrize(("accumulate", "mixup_rows"), [("false", "1.0"), ("true", "0.55")])
def test_two_processes_equal_one(tmp_path, accumulate, mixup_rows):
    path = written(tmp_path, accumulate=accumulate, mixup_rows=mixup_rows)
    done = together(path, tmp_path / "two")
    assert done.returncode == 0, done.stderr[-2000:]
    threads = torch.get_num_threads()
    try:
        Trainer(PretrainConfig.load(path), tmp_path / "one").run()
    finally:
        torch.set_num_threads(threads)
    one, two = log(tmp_path / "one"), log(tmp_path / "two")
    # One process writes: every step is logged once, and one object is printed.
    assert [r["step"] for r in two] == [0, 1, 2, 3]
    assert json.loads(done.stdout)["steps"] == 4
    for a, b in zip(one, two, strict=True):
        for name in ("loss", "on_diagonal", "off_diagonal", "mixup", "gradient"):
            assert b[name] == pytest.approx(a[name], rel=2e-4), (a["step"], name)
    states = [torch.load(tmp_path / name / "training.pt", weights_only=True) for name in ("one", "two")]
    for part in ("encoder", "projectors"):
        for name, value in states[0][part].items():
            # Biases whose gradient is zero but for rounding (before a softmax, before standardising) are Adam's noise.
            if value.ndim > 1:
                assert torch.allclose(value, states[1][part][name], atol=5e-4), name
    loaded = [load_checkpoint(tmp_path / name / "encoder-last.safetensors") for name in ("one", "two")]
    world = holdout_pixels(PretrainConfig.load(path).data, 1)[0].take(slice(0, 40))
    a, b = (embed(each.encoder, world, each.config.normalisation) for each in loaded)
    assert np.allclose(a, b, atol=5e-3)
    assert np.abs(a).max() > 1


def test_a_batch_that_cannot_be_shared_is_one_sentence(tmp_path, monkeypatch, capsys):
    # What the first of two processes is told; that two find each other, the test above shows.
    monkeypatch.setattr(Ranks, "join", lambda device: Ranks(0, 2))
    path = written(tmp_path, batch=25)
    assert main(["pretrain", str(path), "--out", str(tmp_path / "out"), "--json"]) == 2
    told = capsys.readouterr().err
    assert "run.batch = 25 pixels cannot be shared evenly by 2 processes; choose a multiple of 2." in told
    assert "Traceback" not in told
    assert not (tmp_path / "out").exists()
