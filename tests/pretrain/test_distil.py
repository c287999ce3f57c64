"""A student learns a teacher's embeddings through heads that are thrown away."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tessera_core.models.checkpoint import load_checkpoint, save_checkpoint
from tessera_core.models.config import StackConfig, v1_1
from tessera_core.models.encoder import Encoder
from tessera_core.pretrain.config import DistillationSettings, PretrainConfig, PretrainError
from tessera_core.pretrain.distil import Heads, Teacher
from tessera_core.pretrain.trainer import Trainer


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def config() -> PretrainConfig:
    return PretrainConfig.from_mapping(
        {
            "name": "studio-student",
            "data": {"simulated": 200, "shards": 1, "max_s2": 16, "max_s1": 16},
            "views": {"s2": [6, 8], "s1": [6, 8]},
            "objective": {"projector": [32, 32], "prefixes": [16, 64]},
            "distillation": {"teacher": "studio-nano", "loss": "cosine+mse"},
            "optimiser": {"learning_rate": 3e-3},
            "run": {"steps": 6, "batch": 32, "micro_batch": 20, "threads": 1, "checkpoint_every": 3},
        }
    )


def test_loss_is_the_written_out_mean():
    torch.manual_seed(0)
    heads = Heads(6, (3,), 4)
    r, target = torch.randn(10, 6), torch.randn(5, 4)
    expected = {"cosine": [], "mse": []}
    for view in (r[:5], r[5:]):
        for head, width in ((heads[0], 6), (heads[1], 3)):
            found = view[:, :width] @ head.weight.T + head.bias
            cosine = (found * target).sum(1) / (found.norm(dim=1) * target.norm(dim=1))
            expected["cosine"].append((1 - cosine).mean())
            expected["mse"].append(((found - target) ** 2).mean())
    means = {kind: float(torch.stack(values).mean().detach()) for kind, values in expected.items()}
    for kind in ("cosine", "mse"):
        assert float(heads.loss(r, target, kind).detach()) == pytest.approx(means[kind], rel=1e-5)
    assert float(heads.loss(r, target, "cosine+mse").detach()) == pytest.approx(sum(means.values()), rel=1e-5)


@pytest.mark.soak
def test_a_student_comes_nearer_to_its_teacher(config, tmp_path):
    config = replace(config, run=replace(config.run, steps=60))
    run = Trainer(config, tmp_path / "run")
    assert len(run.projectors) == 0
    first = np.mean([run.train_step()["distillation"] for _ in range(3)])
    for _ in range(25):
        record = run.train_step()
    assert record["distillation"] < 0.7 * first
    assert all(p.grad is None for p in run.teacher.encoder.parameters())


def test_the_checkpoint_holds_the_student_alone(config, tmp_path):
    result = Trainer(config, tmp_path / "run").run()
    loaded = load_checkpoint(result["checkpoint"])
    assert loaded.config.prefixes == (16, 64, 128)
    assert loaded.card["training"]["objective"] == "distillation of studio-nano"
    assert sum(p.numel() for p in loaded.encoder.parameters()) == 1_066_402


def test_accumulation_and_resuming_are_exact(config, tmp_path):
    both = replace(config, distillation=replace(config.distillation, barlow=0.01))
    Trainer(both, tmp_path / "whole").run()
    accumulated = replace(both, run=replace(both.run, accumulate=True))
    Trainer(accumulated, tmp_path / "cut").run(stop_after=4)
    Trainer(accumulated, tmp_path / "cut", resume=True).run()
    logs = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("whole", "cut")
    ]
    assert [r["step"] for r in logs[1]] == list(range(6))
    for a, b in zip(*logs, strict=True):
        for name in ("loss", "distillation", "mixup"):
            assert b[name] == pytest.approx(a[name], rel=1e-3)


def test_a_recurrent_teacher_is_refused(tmp_path):
    small = StackConfig(1, 2, 16)
    config = v1_1(latent_dim=4, out=16, kept=8, s2=small, s1=small)
    path = save_checkpoint(tmp_path / "old.safetensors", Encoder(config), config, {"name": "old"})
    with pytest.raises(PretrainError, match="recurrent"):
        Teacher(str(path), torch.device("cpu"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"teacher": "x", "loss": "huber"}, ("distillation.loss", "cosine, mse, cosine+mse")),
        ({"teacher": "x", "weight": 0.0}, ("distillation.weight must be above 0",)),
        ({"teacher": "x", "barlow": -1.0}, ("distillation.barlow", "at least 0")),
        ({"loss": "mse"}, ("distillation.teacher is missing",)),
        ({"teacher": 3}, ("distillation.teacher must be text",)),
    ],
)
def test_mistakes_in_the_section(settings, words):
    with pytest.raises(PretrainError) as caught:
        PretrainConfig.from_mapping({"data": {"simulated": 10}, "distillation": settings})
    for word in words:
        assert word in str(caught.value)
    assert DistillationSettings() == PretrainConfig.from_mapping({"data": {"simulated": 10}}).distillation
