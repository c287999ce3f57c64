"""The estimate before a run: a slow first round is not taken for the speed."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from tessera_core.inference import calibration
from tessera_core.inference.packing import structure
from tessera_core.models.config import Sampling


def test_the_first_round_pays_for_warming_up_and_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "CALIBRATION_SECONDS", 0.02)
    rounds: list[int] = []

    def run_tasks(tasks: list[Callable[[], int]]) -> None:
        rounds.append(len(tasks))
        if len(rounds) == 1:
            time.sleep(0.5)

    engine = SimpleNamespace(tokens=100, threads=1, device=torch.device("cpu"), run_tasks=run_tasks)
    seen = structure(10, Sampling("v2"))
    seconds = calibration._seconds_per_pixel(engine, None, seen, 10)  # type: ignore[arg-type]
    assert seconds * (100 // len(seen.kept)) < 0.4
