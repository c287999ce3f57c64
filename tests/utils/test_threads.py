"""Work that is meant for one thread runs on one: torch's own threads would wait for each other in every operation."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from tessera_core._utils.threads import run_alone, run_beside, run_blocks


def _threads() -> int:
    # The first operation that torch would share among threads is when a thread takes over the common number.
    torch.ones(1 << 18).mul(2.0).exp_()
    return torch.get_num_threads()


def test_the_workers_compute_alone_and_the_caller_keeps_its_threads() -> None:
    before = torch.get_num_threads()
    seen: list[int] = []
    run_blocks(lambda part: seen.append(_threads()), 8, 1)
    assert seen == [1] * 8
    assert run_alone(_threads) == 1
    assert run_beside(_threads) == 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("first", ["run_alone", "run_beside"])
def test_so_it_is_in_a_process_with_several_threads(first: str) -> None:
    code = (
        "import torch; torch.set_num_threads(3); from tessera_core._utils import threads\n"
        f"print(threads.{first}(torch.get_num_threads), threads.{first}(lambda: torch.ones(1 << 18).exp_().numel() and "
        "torch.get_num_threads()), torch.get_num_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1", "3"]
