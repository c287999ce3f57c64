"""Work that is meant for one thread runs on one: a library's own threads would wait for each other in every operation."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from tessera_core._utils.threads import cores, run_alone, run_beside, run_blocks, single_blas


def _threads() -> int:
    return max(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas")


def test_what_runs_here_computes_alone_and_the_caller_keeps_its_threads() -> None:
    before = _threads()
    seen: list[int] = []
    run_blocks(lambda part: seen.append(_threads()), 8, 1)
    assert seen == [1] * 8
    assert run_alone(_threads) == 1
    assert run_beside(_threads) == 1
    assert _threads() == before


@pytest.mark.parametrize("first", ["run_alone", "run_beside"])
def test_so_it_is_in_a_process_with_several_threads(first: str) -> None:
    code = (
        "import numpy; from tests.utils.test_threads import _threads; from tessera_core._utils import threads\n"
        f"print(_threads(), threads.{first}(_threads), _threads())"
    )
    several = os.environ | {"OPENBLAS_NUM_THREADS": "3", "OMP_NUM_THREADS": "3"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=several)
    before, inside, after = done.stdout.split()
    assert (inside, after) == ("1", before)


def test_the_last_to_leave_gives_the_threads_back() -> None:
    before, inside, leave = _threads(), threading.Event(), threading.Event()

    def long() -> None:
        with single_blas():
            inside.set()
            assert leave.wait(60)

    thread = threading.Thread(target=long)
    thread.start()
    assert inside.wait(60)
    with single_blas():
        assert _threads() == 1
    assert _threads() == 1
    leave.set()
    thread.join()
    assert _threads() == before


def test_every_block_is_done_once_and_an_error_arrives() -> None:
    done = np.zeros(1000, int)

    def work(part: slice) -> None:
        done[part] += 1

    run_blocks(work, len(done), 7)
    assert (done == 1).all()

    def fail(part: slice) -> None:
        raise ValueError(part.start)

    with pytest.raises(ValueError, match=r"\d+"):
        run_blocks(fail, 100, 10)


def test_cores_are_at_most_those_of_the_environment() -> None:
    assert cores() >= 1
    code = "from tessera_core._utils.threads import cores; print(cores())"
    for wanted, expected in (("1", {1}), ("1,2", {1}), ("nonsense", set(range(1, (os.cpu_count() or 1) + 1)))):
        alone = os.environ | {"OMP_NUM_THREADS": wanted}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=alone)
        assert int(done.stdout) in expected
