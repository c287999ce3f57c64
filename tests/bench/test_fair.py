"""Other libraries are measured as they run by themselves."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from tessera_core.bench import fair
from tessera_core.cli import bench

PROBE = """
import os
def run(args):
    return {"core": os.environ.get("OPENBLAS_CORETYPE"), "l2": os.environ.get("OPENBLAS_L2_SIZE"), "quick": args.quick}
"""


def test_variables_that_slow_others_down_are_gone_and_the_kernel_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "probe_bench.py").write_text(PROBE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(fair.__file__).parents[2]}")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    monkeypatch.setenv("OPENBLAS_L2_SIZE", "64")
    assert fair.slowed()
    found = fair.measured("probe_bench", {"quick": True})
    assert (found["core"], found["l2"], found["quick"]) == (None, None, True)
    assert isinstance(found["blas"], list)
    assert "OPENBLAS_CORETYPE" in capsys.readouterr().err


def test_which_linear_algebra_runs_is_told() -> None:
    code = "import numpy; from tessera_core.bench.fair import kernels; print(kernels())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "openblas" in told or "mkl" in told or "accelerate" in told.lower()


def test_every_measurement_goes_through_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    asked: list[tuple[str, dict]] = []
    monkeypatch.setattr(fair, "measured", lambda module, options: asked.append((module, options)) or {})
    bench.run(argparse.Namespace(name="hot-path", quick=True, points=None))
    assert asked == [("tessera_core.bench.hot_path", {"name": "hot-path", "quick": True, "points": None})]
