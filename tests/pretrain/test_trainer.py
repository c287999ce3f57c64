"""A run learns, resumes to the bit, survives a full disk, and its checkpoint loads like any other."""

from __future__ import annotations

import errno
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tessera_core.cli import main
from tessera_core.errors import Cancelled, ExportError
from tessera_core.models.checkpoint import load_checkpoint
from tessera_core.pretrain import trainer as module
from tessera_core.pretrain.config import PretrainConfig, PretrainError
from tessera_core.pretrain.monitor import embed, linear_probe
from tessera_core.pretrain.prepare import holdout_pixels
from tessera_core.pretrain.trainer import Trainer, fake_quantise

TINY = """
name = "studio-test"
seed = 3
[model]
reducer_dropout = 0.1
[data]
simulated = 400
shards = 2
max_s2 = 16
max_s1 = 16
holdout_worlds = 1
[views]
s2 = [4, 6]
s1 = [4, 6]
drop_s1 = 0.1
drop_orbit = 0.3
gain = 0.02
[objective]
projector = [48, 48]
prefixes = [32]
mixup_rows = 0.5
[optimiser]
learning_rate = 1e-3
[run]
steps = 6
batch = 32
micro_batch = 40
threads = 1
checkpoint_every = 2
"""


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def config(tmp_path) -> PretrainConfig:
    path = tmp_path / "run.toml"
    path.write_text(TINY)
    return PretrainConfig.load(path)


def log(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def losses(folder) -> list[tuple]:
    return [(r["step"], r["loss"], r["on_diagonal"], r["off_diagonal"], r["mixup"], r["gradient"]) for r in log(folder)]


def test_resumed_training_gives_the_same_losses_to_the_bit(config, tmp_path):
    Trainer(config, tmp_path / "whole").run()
    first = Trainer(config, tmp_path / "cut")
    first.run(stop_after=3)
    # Killed a step after the last checkpoint: the log is ahead of the state, and its last line is cut short.
    record = first.train_step()
    with open(tmp_path / "cut/log.jsonl", "a") as file:
        file.write(json.dumps(record) + "\n" + '{"step": 4, "lo')
    second = Trainer(config, tmp_path / "cut", resume=True)
    assert second.step == 3
    second.run()
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    whole, cut = (load_checkpoint(tmp_path / name / "encoder-last.safetensors") for name in ("whole", "cut"))
    for a, b in zip(whole.encoder.parameters(), cut.encoder.parameters(), strict=True):
        assert torch.equal(a, b)


def test_command_line_end_to_end(tmp_path, capsys):
    path = tmp_path / "run.toml"
    path.write_text(TINY + "probe_every = 6\n")
    out = tmp_path / "out"
    assert main(["pretrain", str(path), "--out", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["steps"] == 6
    assert len(log(out)) == 6
    loaded = load_checkpoint(result["checkpoint"])
    assert loaded.model == "studio"
    assert loaded.card["training"]["simulated_pixels"] == 400
    assert loaded.config.normalisation.name == "studio-test"
    assert loaded.config.prefixes == (32, 128)
    pixels = holdout_pixels(PretrainConfig.load(path).data, 3)[0].take(np.arange(20))
    vectors = embed(loaded.encoder, pixels, loaded.config.normalisation)
    assert vectors.shape == (20, 128)
    assert np.allclose(vectors.mean(1), 0, atol=1e-4)
    assert 0 <= log(out)[-1]["probe"]["5"] <= 1
    # A second run into the same folder would destroy the first.
    assert main(["pretrain", str(path), "--out", str(out)]) == 2
    assert "--resume" in capsys.readouterr().err


def test_training_lowers_the_loss_of_a_fixed_batch(config, tmp_path):
    config = replace(config, run=replace(config.run, steps=40), optimiser=replace(config.optimiser, learning_rate=3e-3))
    trainer = Trainer(config, tmp_path / "run")
    pixels = trainer.reader(0)

    def loss() -> float:
        with torch.no_grad():
            inputs = trainer.inputs(pixels, 12345)
            return float(trainer.losses(trainer.represent(inputs.s2, inputs.s1), inputs, len(pixels))[0])

    before = loss()
    for _ in range(25):
        trainer.train_step()
    assert loss() < 0.7 * before


def test_micro_batches_do_not_change_the_loss(config, tmp_path):
    config = replace(config, model=replace(config.model, reducer_dropout=0.0))
    values = []
    for size in (7, 1000):
        run = Trainer(replace(config, run=replace(config.run, micro_batch=size)), tmp_path / str(size))
        values.append(run.train_step()["loss"])
    assert values[0] == pytest.approx(values[1], rel=1e-4)


def gradients(run: Trainer) -> list[torch.Tensor]:
    run.encoder.train()
    pixels = run.reader(0)
    run.gradients(run.inputs(pixels, 0), len(pixels), None)
    return [p.grad.clone() for p in run.modules.parameters()]


@pytest.mark.parametrize("mixup_rows", [1.0, 0.5])
def test_accumulated_gradients_are_those_of_the_whole_batch(config, tmp_path, mixup_rows):
    """With dropout and int8 rounding on: the second pass of the encoder must replay the first one's chance."""
    config = replace(
        config,
        model=replace(config.model, dropout=0.2, reducer_dropout=0.3),
        objective=replace(config.objective, mixup_rows=mixup_rows, int8=True),
        run=replace(config.run, micro_batch=13),
    )
    whole = gradients(Trainer(config, tmp_path / "whole"))
    parts = gradients(Trainer(replace(config, run=replace(config.run, accumulate=True)), tmp_path / "parts"))
    assert sum(float(g.abs().sum()) > 0 for g in whole) > len(whole) // 2
    for a, b in zip(whole, parts, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5 * float(a.abs().max()) + 1e-7)


def test_averaging_micro_batches_would_not_do(config, tmp_path):
    """The correlations are the batch's: losses of its parts, each with its own, average to something else."""
    config = replace(config, model=replace(config.model, reducer_dropout=0.0))
    run = Trainer(config, tmp_path / "run")
    pixels = run.reader(0)
    inputs = run.inputs(pixels, 0)
    with torch.no_grad():
        r = run.represent(inputs.s2, inputs.s1)[: 2 * len(pixels)]
        plain = replace(inputs, order=None)
        whole = float(run.losses(r, plain, len(pixels))[0])
        half = len(pixels) // 2
        rows = [torch.arange(k * half, (k + 1) * half) for k in range(2)]
        parts = [float(run.losses(torch.cat([r[i], r[len(pixels) + i]]), plain, half)[0]) for i in rows]
    assert abs(np.mean(parts) - whole) > 0.05 * whole


def test_accumulation_keeps_one_micro_batch_in_memory(config, tmp_path):
    """What autograd holds between the passes shrinks with the micro-batch."""

    def held(accumulate: bool) -> int:
        settings = replace(config.run, micro_batch=8, accumulate=accumulate)
        run = Trainer(replace(config, run=settings), tmp_path / str(accumulate))
        pixels = run.reader(0)
        inputs = run.inputs(pixels, 0)
        sizes: dict[str, int] = {"now": 0, "most": 0}

        class Held:
            def __init__(self, x: torch.Tensor) -> None:
                self.x, self.size = x, x.numel()
                sizes["now"] += self.size
                sizes["most"] = max(sizes["most"], sizes["now"])

            def __del__(self) -> None:
                sizes["now"] -= self.size

        with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.x):
            run.gradients(inputs, len(pixels), None)
        return sizes["most"]

    assert held(True) < 0.4 * held(False)


def test_resuming_accumulated_training_is_exact_too(config, tmp_path):
    settings = replace(config.run, accumulate=True, micro_batch=11)
    config = replace(config, run=settings, model=replace(config.model, dropout=0.1))
    Trainer(config, tmp_path / "whole").run()
    Trainer(config, tmp_path / "cut").run(stop_after=4)
    Trainer(config, tmp_path / "cut", resume=True).run()
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_a_folder_with_somebody_elses_encoder_is_refused(config, tmp_path):
    (tmp_path / "encoder.safetensors").write_bytes(b"of another program")
    with pytest.raises(PretrainError, match="of something else"):
        Trainer(config, tmp_path)
    assert (tmp_path / "encoder.safetensors").read_bytes() == b"of another program"
    (tmp_path / "data" / "shards").mkdir(parents=True)
    (tmp_path / "data" / "shards" / "notes.txt").write_text("mine")
    with pytest.raises(PretrainError, match="something else"):
        Trainer(config, tmp_path / "data")


def test_a_state_of_an_earlier_version_resumes(config, tmp_path):
    """Settings that did not exist yet count as their defaults."""
    out = tmp_path / "run"
    Trainer(config, out).run(stop_after=2)
    state = torch.load(out / "training.pt", weights_only=True)
    saved = json.loads(state["config"])
    del saved["distillation"], saved["run"]["accumulate"]
    torch.save({**state, "config": json.dumps(saved)}, out / "training.pt")
    assert Trainer(config, out, resume=True).step == 2


def test_resuming_with_other_settings_names_them(config, tmp_path):
    Trainer(config, tmp_path / "run").run(stop_after=2)
    changed = replace(config, run=replace(config.run, steps=9), seed=4)
    with pytest.raises(PretrainError, match=r"run\.steps, seed"):
        Trainer(changed, tmp_path / "run", resume=True)


def test_full_disk_leaves_the_last_checkpoint(config, tmp_path, monkeypatch):
    out = tmp_path / "run"
    Trainer(config, out).run(stop_after=2)
    good = (out / "training.pt").read_bytes()

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    trainer = Trainer(config, out, resume=True)
    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(ExportError, match="The disk is full"):
        trainer.run()
    monkeypatch.undo()
    assert (out / "training.pt").read_bytes() == good
    assert not list(out.glob(".*.part*"))
    resumed = Trainer(config, out, resume=True)
    assert resumed.step == 2
    resumed.run()


def test_a_damaged_state_is_one_sentence(config, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "training.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(PretrainError, match="damaged"):
        Trainer(config, out, resume=True)


def test_cancelling_keeps_the_state(config, tmp_path):
    calls = []

    def cancelled() -> bool:
        calls.append(1)
        return len(calls) > 12

    run = Trainer(config, tmp_path / "run", cancelled=cancelled)
    calls[:] = [1] * 10
    with pytest.raises(Cancelled):
        run.run()
    assert Trainer(config, tmp_path / "run", resume=True).step == 2


def test_a_loss_that_is_not_finite_stops_the_run(config, tmp_path):
    run = Trainer(config, tmp_path / "run")
    with torch.no_grad():
        run.encoder.dim_reducer[0].weight.fill_(float("nan"))
    with pytest.raises(PretrainError, match="not finite at step 0"):
        run.train_step()


def test_fake_quantise_rounds_forward_and_passes_gradients():
    x = torch.randn(5, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    y = fake_quantise(x)
    scale = x.detach().abs().amax(-1, keepdim=True) / 127
    assert torch.allclose(y.detach() / scale, torch.round(y.detach() / scale), atol=1e-4)
    assert float((y - x).detach().abs().max()) <= float(scale.max()) / 2 + 1e-6
    y.sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


def test_bf16_runs(config, tmp_path):
    run = Trainer(replace(config, run=replace(config.run, dtype="bf16")), tmp_path / "run")
    assert np.isfinite(run.train_step()["loss"])


def test_linear_probe_tells_signal_from_noise():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(1, 5), 60)
    groups = np.arange(240) // 5
    noise = rng.standard_normal((240, 8)).astype(np.float32)
    signal = noise * 0.1 + np.eye(4, 8, dtype=np.float32)[labels - 1]
    assert np.mean(linear_probe(signal, labels, groups, 5, 3)) > 0.95
    assert np.mean(linear_probe(noise, labels, groups, 5, 3)) < 0.45
