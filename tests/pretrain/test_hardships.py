"""A killed process, a really full disk, spoilt tiles: one sentence, and the last good checkpoint goes on exactly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tessera_core.cli import main
from tessera_core.dpixels.tile import write_tile
from tessera_core.errors import ExportError, TesseraError
from tessera_core.grid import Grid
from tessera_core.pretrain.config import DataSettings, PretrainConfig
from tessera_core.pretrain.prepare import prepare_shards
from tessera_core.pretrain.trainer import Trainer

CONFIG = """
name = "studio-hard"
[data]
simulated = 200
shards = 1
max_s2 = 12
max_s1 = 12
[views]
s2 = [4, 6]
s1 = [4, 6]
[objective]
projector = [32, 32]
[run]
steps = {steps}
batch = 24
micro_batch = 30
threads = 1
accumulate = true
checkpoint_every = 2
"""


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def written(folder: Path, steps: int) -> Path:
    path = folder / f"run-{steps}.toml"
    path.write_text(CONFIG.format(steps=steps))
    return path


def losses(folder: Path) -> list[tuple]:
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(r["step"], r["loss"], r["mixup"], r["gradient"]) for r in records]


@pytest.mark.soak
def test_a_killed_process_goes_on_to_the_bit(tmp_path):
    path = written(tmp_path, 40)
    command = [sys.executable, "-m", "tessera_core", "pretrain", str(path), "--out", str(tmp_path / "cut")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    log = tmp_path / "cut/log.jsonl"
    until = time.monotonic() + 300
    while time.monotonic() < until and not (log.exists() and log.read_text().count("\n") >= 5):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    state = torch.load(tmp_path / "cut/training.pt", weights_only=True)
    assert 2 <= state["step"] < 40
    config = PretrainConfig.load(path)
    Trainer(config, tmp_path / "cut", resume=True).run()
    Trainer(config, tmp_path / "whole").run()
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of a few megabytes, where the system lets us mount one; yields a function that makes it."""
    mounted = []

    def make(megabytes: int) -> Path:
        folder = tmp_path / f"disk-{megabytes}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True)
        except OSError:
            pytest.skip("no mount command here")
        if done.returncode:
            pytest.skip("a small disk cannot be mounted here")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_while_checkpointing_keeps_the_last_one(tmp_path, small_disk):
    config = PretrainConfig.load(written(tmp_path, 6))
    disk = small_disk(60)
    Trainer(config, disk / "run").run(stop_after=2)
    kept = {p.name: p.read_bytes() for p in (disk / "run").iterdir() if p.suffix in (".pt", ".safetensors")}
    assert set(kept) == {"training.pt", "encoder-last.safetensors"}
    # A state takes 13 MB; a second one beside it does not fit any more.
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "ballast").write_bytes(b"x" * max(0, free - 3_000_000))
    with pytest.raises(ExportError, match=r"The disk is full: .*training\.pt"):
        Trainer(config, disk / "run", resume=True).run()
    assert {name: (disk / "run" / name).read_bytes() for name in kept} == kept
    assert not list((disk / "run").glob(".*part*"))
    # With room again it goes on, and no loss differs.
    (disk / "ballast").unlink()
    Trainer(config, disk / "run", resume=True).run()
    Trainer(config, tmp_path / "whole").run()
    assert losses(disk / "run") == losses(tmp_path / "whole")


def test_a_full_disk_while_preparing_is_one_sentence(tmp_path, small_disk, capsys):
    disk = small_disk(1)
    (disk / "ballast").write_bytes(b"x" * 1_000_000)
    assert main(["pretrain", str(written(tmp_path, 2)), "--out", str(disk / "run")]) == 1
    error = capsys.readouterr().err
    assert "The disk is full" in error
    assert "Traceback" not in error


def spoilt(folder: Path, bands: np.ndarray) -> Path:
    write_tile(
        folder,
        bands=np.ones(bands.shape, np.uint16),
        masks=np.ones(bands.shape[:3], np.uint8),
        doys=np.arange(bands.shape[0]) * 30 + 1,
        grid=Grid.local(bands.shape[1:3]),
    )
    np.save(folder / "bands.npy", bands)
    return folder


@pytest.mark.parametrize(
    ("bands", "words"),
    [
        (np.full((4, 5, 5, 10), np.nan, np.float32), "float32 values; a d-pixel tile stores whole numbers"),
        (np.zeros((4, 5, 5, 10), np.uint16), "not one valid observation"),
        (np.ones((4, 6, 5, 10), np.uint16), "the files are not of one tile"),
        (np.ones((4, 5, 5, 9), np.uint16), "has 9 bands"),
        (np.ones((4, 0, 5, 10), np.uint16), "not of one tile"),
    ],
    ids=["nan", "empty", "other-size", "bands", "no-pixels"],
)
def test_a_spoilt_tile_is_named_in_one_sentence(tmp_path, bands, words):
    good = np.ones((4, 5, 5, 10), np.uint16)
    tile = spoilt(tmp_path / "tiles/bad", good)
    np.save(tile / "bands.npy", bands)
    with pytest.raises(TesseraError) as caught:
        prepare_shards(DataSettings(tiles=(str(tmp_path / "tiles"),), shards=1), tmp_path / "out")
    assert words in str(caught.value)
    assert "bad" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_tiles_are_named(tmp_path):
    with pytest.raises(TesseraError, match="nowhere"):
        prepare_shards(DataSettings(tiles=(str(tmp_path / "nowhere"),)), tmp_path / "out")
