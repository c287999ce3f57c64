"""Large arrays lie in a file without a name, and in memory where there is no room for one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tessera_core._utils import scratch as module
from tessera_core._utils.scratch import scratch


def mapped() -> str:
    return "".join(line for line in Path("/proc/self/maps").read_text().splitlines(True) if "/scratch/" in line)


def test_a_large_array_lies_in_a_file_that_nobody_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path))
    monkeypatch.setattr(module, "LEAST", 100)
    made = scratch((10, 20), 255)
    assert (made.shape, made.dtype, int(made.min()), type(made)) == ((10, 20), np.uint8, 255, np.ndarray)
    if Path("/proc/self/maps").exists():
        assert mapped()
    assert list((tmp_path / "cache" / "scratch").iterdir()) == []
    made[3] = 7
    assert int((made == 7).sum()) == 20
    del made
    assert scratch((3, 3), 1).tolist() == [[1] * 3] * 3

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert int(scratch((10, 20), 9).sum()) == 1800
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "file"))
    assert int(scratch((10, 20), 9).sum()) == 1800


def test_a_disk_that_promises_room_and_has_none_or_little_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path))
    monkeypatch.setattr(module, "LEAST", 100)
    monkeypatch.setattr(module, "CHUNK", 64)
    usage = module.shutil.disk_usage(tmp_path)
    for free, in_file in ((10 * 20 * module.MARGIN, True), (10 * 20 * module.MARGIN - 1, False)):
        monkeypatch.setattr(module.shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        made = scratch((10, 20), 9)
        assert (int(made.sum()), made.base is not None) == (1800, in_file)
    monkeypatch.undo()
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path))
    monkeypatch.setattr(module, "LEAST", 100)

    # As of a disk that compresses: the promise is given, and writing finds it empty.
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_write", full)
    made = scratch((10, 20), 9)
    assert (int(made.sum()), made.base is None) == (1800, True)
