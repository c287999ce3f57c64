"""``tessera bench memory``: the region it makes, what it reads of a process, and the whole of it on a small region."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tessera_core.bench import memory
from tessera_core.errors import TesseraError
from tessera_core.project.project import Project
from tessera_core.raster import EmbeddingRaster

SIZE = 160
MB = 1 << 20


def codes(home: Path, year: int) -> NDArray[np.int8]:
    return np.array(EmbeddingRaster.open(Project.open(home / "projects" / "bench").embeddings_path(year)).codes)


def test_a_region_has_so_many_years_with_noise_and_patches_of_change(tmp_path: Path) -> None:
    assert memory.make_region(tmp_path, 60, 3, 0) == 128
    project = Project.open(tmp_path / "projects" / "bench")
    assert project.years == [2022, 2023, 2024]
    assert len(project.log.labels) == memory.LABELS
    assert {label.class_id for label in project.log.labels} <= {one.id for one in project.log.classes}
    before, after = (codes(tmp_path, year).astype(int) for year in (2023, 2024))
    step = np.abs(after - before).max(-1)
    # Noise of at most five levels a year, and ground that became other ground.
    assert 0.2 < (step <= 5).mean() < 1
    assert (step > 30).any()


def test_a_region_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    one, same, other = (tmp_path / name for name in ("one", "same", "other"))
    for home, seed in ((one, 4), (same, 4), (other, 5)):
        memory.make_region(home, 40, 2, seed)
    np.testing.assert_array_equal(codes(one, 2024), codes(same, 2024))
    assert (codes(one, 2024) != codes(other, 2024)).any()


def test_memory_tells_mapped_files_from_what_a_process_cannot_give_back(tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    if not hasattr(psutil.Process().memory_full_info(), "shared"):
        pytest.skip("this system does not tell what is mapped")
    mapped = tmp_path / "mapped.bin"
    mapped.write_bytes(os.urandom(64 * MB))
    script = f"""
import mmap, sys
def step():
    print("ready", flush=True); sys.stdin.readline()
step()
taken = bytearray(b"1") * {32 * MB}
step()
with open({str(mapped)!r}, "rb") as file:
    view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    sum(view[::4096])
    step()
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    watch = memory.Memory(psutil.Process(process.pid))
    found = []
    for _ in range(3):
        assert process.stdout.readline() == "ready\n"
        found.append(watch.now())
        process.stdin.write("\n")
        process.stdin.flush()
    peak = watch.peak()
    watch.stop()
    process.communicate(timeout=20)
    start, taken, with_map = found
    assert taken["private"] - start["private"] == pytest.approx(32 * MB, rel=0.2)
    assert with_map["private"] - taken["private"] < 16 * MB
    assert with_map["uss"] - taken["uss"] == pytest.approx(64 * MB, rel=0.2)
    assert peak["uss"] >= with_map["uss"]


def test_without_psutil_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(TesseraError, match="install the extra 'bench'"), memory._watched():
        pass


@pytest.mark.browser
@pytest.mark.soak
def test_every_part_of_both_pages_is_visited(apart: Callable[..., Any]) -> None:
    pytest.importorskip("playwright.sync_api")
    pytest.importorskip("psutil")
    if not any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")):
        pytest.skip("no Chromium on this machine")
    report = apart(memory.measure, SIZE, (2,))
    (found,) = report["years"].values()
    assert report["pixels"] == SIZE * SIZE
    assert found["embeddings_int8"] == round(2 * SIZE * SIZE * 132 / MB)
    assert len(found["parts"]) == 12
    for part in found["parts"]:
        assert 0 < part["peak"]["private"] <= found["peak"]["private"]
    assert found["idle"]["private"] <= found["peak"]["private"] <= found["peak"]["uss"]
