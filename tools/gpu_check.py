"""Prove a machine with a GPU in under ten minutes: equal embeddings, speed against what the card can multiply, training, DDP.

Usage: .venv/bin/python tools/gpu_check.py [--device cuda] [--quick] [--json FILE]

Four checks, each with a verdict: (1) every encoder of tests/data/golden gives the expected vectors in float32, and in bfloat16 the
same ones but for rounding; (2) how much of the card's own speed at square products generating reaches, encoder by encoder;
(3) a training step gives the loss that the processor gives, and how long it takes; (4) a run under torchrun with one process
ends with the loss of a plain run. With --device cpu it runs anywhere, to try the script itself. Exit code 1 where a check fails.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tessera_core.dpixels.simulate import make_world  # noqa: E402
from tessera_core.dpixels.simulate.observe import observe  # noqa: E402
from tessera_core.dpixels.tile import DPixelTile  # noqa: E402
from tessera_core.inference.engine import Engine, flops_per_token  # noqa: E402
from tessera_core.models.checkpoint import LoadedEncoder  # noqa: E402
from tessera_core.models.config import PRESETS  # noqa: E402
from tessera_core.models.encoder import Encoder  # noqa: E402
from tessera_core.models.normalisation import S1_CHANNELS, S2_CHANNELS  # noqa: E402
from tessera_core.pretrain.config import PretrainConfig  # noqa: E402
from tessera_core.pretrain.trainer import Trainer  # noqa: E402
from tests.models.own_golden import RUNS  # noqa: E402

# A card adds up in another order than the processor; bfloat16 has eight bits.
TOLERANCE, COSINE = 2e-4, 0.9999
LOSS = 2e-3
MODELS = ("v2-nano", "v2-small", "v2-medium", "v1.1-mpc")


def golden(device: str) -> dict[str, Any]:
    """Every golden run on the device, in both precisions."""
    worst, least, failed = 0.0, 1.0, []
    for run in RUNS:
        tile, expected = run.tile(), run.expected()
        loaded, wanted = run.loaded(), expected["embedding"]
        rows = slice(0, tile.shape[0])
        seen = expected["run"].astype(bool)
        exact = Engine(loaded, device, "fp32").embed(tile, rows, outside=True).values[..., : wanted.shape[-1]][seen]
        rough = Engine(loaded, device, "bf16").embed(tile, rows, outside=True).values[..., : wanted.shape[-1]][seen]
        off = float(np.abs(exact - wanted[seen]).max())
        lengths = np.linalg.norm(rough, axis=1) * np.linalg.norm(wanted[seen], axis=1)
        cosine = float(((rough * wanted[seen]).sum(1) / np.maximum(lengths, 1e-12)).min())
        worst, least = max(worst, off), min(least, cosine)
        if off > TOLERANCE or cosine < COSINE:
            failed.append({"run": run.name, "off": off, "cosine": cosine})
    return {"ok": not failed, "largest_difference": worst, "least_cosine_bf16": least, "failed": failed}


def peak(device: str, dtype: torch.dtype, size: int) -> float:
    """Operations a second at products of square matrices, multiply-add = 2."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    seconds = timed(lambda: a @ b, device, 5)
    return 2 * size**3 / seconds


def timed(work: Callable[[], Any], device: str, repeats: int) -> float:
    """Median seconds of a call, after one to warm up."""
    took = []
    for _ in range(repeats + 1):
        wait(device)
        started = time.perf_counter()
        work()
        wait(device)
        took.append(time.perf_counter() - started)
    return float(np.median(took[1:]))


def wait(device: str) -> None:
    """Until the card has done what it was asked."""
    if device == "cuda":
        torch.cuda.synchronize()


def generation(device: str, quick: bool) -> dict[str, Any]:
    """Pixels a second of random weights of each size, and their share of the peak."""
    side = 24 if quick else 128
    peaks = {name: peak(device, dtype, 512 if quick else 8192) for name, dtype in DTYPES.items()}
    found: dict[str, Any] = {"peak_tflops": {name: round(value / 1e12, 2) for name, value in peaks.items()}}
    with tempfile.TemporaryDirectory() as folder:
        tile = observe(make_world(0, max(96, side), (2023,)), 2023, Path(folder) / "tile")
        rows = slice(0, max(1, side * side // tile.shape[1]))
        for name in MODELS[: 1 if quick else None]:
            found[name] = {kind: _speed(tile, rows, name, kind, device, peaks[kind]) for kind in DTYPES}
    found["ok"] = all(one["pixels_per_second"] > 0 for name in MODELS if name in found for one in found[name].values())
    return found


DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def _speed(tile: DPixelTile, rows: slice, name: str, kind: str, device: str, peak_: float) -> dict[str, float]:
    torch.manual_seed(0)
    config = PRESETS[name]
    engine = Engine(LoadedEncoder(Encoder(config).eval(), config, name, "0" * 64, Path(name)), device, kind)
    seconds = timed(lambda: engine.embed(tile, rows), device, 2)
    pixels = (rows.stop - rows.start) * tile.shape[1]
    optical, passes = len(tile.doys), len(tile.doys_asc) + len(tile.doys_desc)
    work = optical * flops_per_token(config, config.s2, S2_CHANNELS, optical)
    work += passes * flops_per_token(config, config.s1, S1_CHANNELS, passes)
    # Cloudy dates are not computed; this takes all, so the share is a little high where skies are cloudy.
    return {
        "pixels_per_second": round(pixels / seconds, 1),
        "share_of_peak_at_most": round(work * pixels / seconds / peak_, 4),
    }


def training(device: str, quick: bool) -> dict[str, Any]:
    """The first loss on the device and on the processor, and the time of a step."""
    batch = 64 if quick else 512
    config = _tiny(batch)
    losses, seconds = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for place in dict.fromkeys(("cpu", device)):
            trainer = Trainer(replace(config, run=replace(config.run, device=place)), Path(folder) / place)
            losses[place] = trainer.train_step()["loss"]
            seconds[place] = timed(trainer.train_step, place, 1 if quick or place == "cpu" else 5)
    off = abs(losses[device] - losses["cpu"]) / abs(losses["cpu"])
    return {"ok": off < LOSS, "losses": losses, "relative_difference": off, "seconds_a_step": seconds, "batch": batch}


def _tiny(batch: int, steps: int = 4) -> PretrainConfig:
    return PretrainConfig.from_mapping(
        {
            "name": "gpu-check",
            "data": {"simulated": 4 * batch, "shards": 1},
            "objective": {"projector": [256, 256]},
            "run": {"steps": steps, "batch": batch, "micro_batch": 64, "threads": 1},
        }
    )


def ddp(device: str) -> dict[str, Any]:
    """The last loss of a short run, plain and under torchrun with one process (NCCL on a card)."""
    text = (
        f'name = "gpu-check"\n[data]\nsimulated = 256\nshards = 1\n[objective]\nprojector = [64, 64]\n'
        f'[run]\nsteps = 3\nbatch = 64\nmicro_batch = 64\nthreads = 1\ndevice = "{device}"\n'
    )
    losses = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "c.toml"
        file.write_text(text, encoding="utf-8")
        ways = {"plain": [], "torchrun": ["-m", "torch.distributed.run", "--nproc_per_node", "1"]}
        for name, before in ways.items():
            out = Path(folder) / name
            words = [*before, "-m", "tessera_core", "pretrain", str(file), "--out", str(out), "--json"]
            done = subprocess.run(
                [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
            )
            if done.returncode:
                return {"ok": False, "failed": name, "said": done.stderr[-800:]}
            last = (out / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1]
            losses[name] = float(json.loads(last)["loss"])
    return {"ok": abs(losses["plain"] - losses["torchrun"]) < LOSS * abs(losses["plain"]), "losses": losses}


def main(words: list[str] | None = None) -> int:
    """Run all checks; 0 where each is good."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the script")
    parser.add_argument("--only", default="golden,generation,training,ddp", help="checks, separated by commas")
    parser.add_argument("--json", type=Path, help="file for the result")
    args = parser.parse_args(words)
    if args.device == "cuda" and not torch.cuda.is_available():
        print("There is no usable NVIDIA GPU here; --device cpu tries the script itself.", file=sys.stderr)
        return 2
    # Equal to rounding is asked for in float32, not in the card's shorter form of it.
    torch.backends.cuda.matmul.allow_tf32 = False
    card = torch.cuda.get_device_name() if args.device == "cuda" else platform.processor() or platform.machine()
    result: dict[str, Any] = {"device": card, "torch": torch.__version__}
    checks: dict[str, Callable[[], dict[str, Any]]] = {
        "golden": lambda: golden(args.device),
        "generation": lambda: generation(args.device, args.quick),
        "training": lambda: training(args.device, args.quick),
        "ddp": lambda: ddp(args.device),
    }
    for name in args.only.split(","):
        started = time.perf_counter()
        result[name] = checks[name]() | {"seconds": round(time.perf_counter() - started, 1)}
        print(f"{name}: {'good' if result[name]['ok'] else 'FAILED'}  {json.dumps(result[name])}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0 if all(result[name]["ok"] for name in args.only.split(",")) else 1


if __name__ == "__main__":
    sys.exit(main())
