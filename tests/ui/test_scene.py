"""Names of open scenes: they change with the files, and with nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.app.conftest import landscape

CODE = """
import sys
from pathlib import Path
from tessera_core.ui.scene import open_scene
print(open_scene(Path(sys.argv[1])).key)
"""


def _key(folder: Path, seed: str) -> str:
    environment = os.environ | {"PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", CODE, str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_a_scene_has_the_same_name_after_a_restart_and_another_when_its_files_change(tmp_path: Path) -> None:
    folder = landscape().save(tmp_path / "2023")
    key = _key(folder, "1")
    assert _key(folder, "2") == key
    scales = np.load(folder / "scales.npy")
    np.save(folder / "scales.npy", scales)
    os.utime(folder / "scales.npy", ns=(1, 1))
    assert _key(folder, "1") != key
