"""Arrays mapped to be written: a full disk is an error that can be told, never the end of the program."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from tessera_core._utils.atomic import atomic_path
from tessera_core._utils.npy import new_npy
from tessera_core.errors import ExportError


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system takes no room beforehand")
def test_a_full_disk_is_an_error_before_a_page_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, offset: int, length: int) -> None:
        assert (offset, length) == (0, 128 + 12)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ExportError, match="disk is full"), atomic_path(tmp_path / "a.npy") as part:
        new_npy(part, np.int8, (3, 4))
    assert not list(tmp_path.iterdir())
