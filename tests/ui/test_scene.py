"""Names of open scenes: they change with the files, and with nothing else."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tessera_core.heads import Scene, make_head
from tessera_core.heads import scene as heads_scene
from tessera_core.raster import EmbeddingRaster
from tessera_core.ui.scene import IDLE_SECONDS, MAX_MAPPED, OpenScene, _Held, open_scene
from tests.factories import landscape

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
    # Another process, whose strings have other hashes.
    key = open_scene(folder).key
    assert _key(folder, "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1") == key
    scales = np.load(folder / "scales.npy")
    np.save(folder / "scales.npy", scales)
    os.utime(folder / "scales.npy", ns=(1, 1))
    assert open_scene(folder).key != key


def test_the_name_of_a_scene_says_nothing_of_folders(tmp_path: Path) -> None:
    key = open_scene(landscape(16).save(tmp_path / "2023")).key
    assert key.isalnum()
    assert not any(part in key for part in tmp_path.parts if len(part) > 3)


def test_a_scene_in_use_stays_the_same_however_many_others_are_opened(tmp_path: Path) -> None:
    mine = open_scene(landscape(16, dim=8).save(tmp_path / "mine"))
    others = [landscape(16, dim=8).save(tmp_path / f"other{n}") for n in range(MAX_MAPPED + 4)]
    keys = {open_scene(folder).key for folder in others}
    assert len(keys) == len(others)
    assert open_scene(tmp_path / "mine") is mine
    # What nobody uses is not kept for ever.
    gone = weakref.ref(open_scene(others[0]))
    for folder in others[1:]:
        open_scene(folder)
    gc.collect()
    assert gone() is None


def test_many_sessions_that_open_a_scene_at_once_share_it(tmp_path: Path) -> None:
    folder = landscape(16, dim=8).save(tmp_path / "2023")
    with ThreadPoolExecutor(12) as pool:
        assert len(set(map(id, pool.map(open_scene, [folder] * 24)))) == 1


def test_big_parts_are_bounded_in_bytes_and_one_in_use_is_never_pushed_out(tmp_path: Path) -> None:
    now = [0.0]
    folders = [landscape(32, dim=8).save(tmp_path / str(n)) for n in range(4)]
    scenes = [OpenScene(str(n), EmbeddingRaster.open(folder)) for n, folder in enumerate(folders)]
    one = scenes[0].raster.codes.nbytes
    held = _Held(2 * one, lambda: now[0])

    def take(scene: OpenScene) -> bool:
        fits = held.fits(one)
        scene._parts["scene"] = np.zeros(one if fits else 0, np.uint8)
        held.used(scene)
        return fits

    assert [take(scene) for scene in scenes] == [True, True, False, False]
    assert [scene.held_bytes for scene in scenes] == [one, one, 0, 0]
    # When one has not been used for long, its place is free.
    now[0] = IDLE_SECONDS / 2
    held.used(scenes[1])
    now[0] = IDLE_SECONDS + 1
    assert take(scenes[2])
    assert [scene.held_bytes for scene in scenes] == [0, one, one, 0]
    del scenes[1]
    gc.collect()
    assert held.fits(one)


def test_all_scenes_of_a_process_hold_no_more_than_stated_whoever_opens_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rasters = [EmbeddingRaster.open(landscape(32, dim=8).save(tmp_path / str(n))) for n in range(4)]
    already = sum(scene.nbytes for scene in Scene._in_memory)
    one = rasters[0].codes.nbytes + rasters[0].scales.nbytes
    monkeypatch.setattr(heads_scene, "RESIDENT_BYTES", already + 2 * one)
    scenes = [Scene(raster) for raster in rasters[:3]]
    assert [scene.nbytes for scene in scenes] == [one, one, 0]
    # Who reads through the file gets the same map.
    rows, cols = np.nonzero(rasters[0].valid())
    ends = [0, 1, -2, -1]
    head = make_head("ridge").fit(rasters[0].sample(rows[ends], cols[ends]), np.array([1, 1, 2, 2]))
    maps = [scene.predict(head).classes for scene in scenes]
    assert (maps[0] == maps[2]).all()
    del scenes[0]
    gc.collect()
    assert Scene(rasters[3]).nbytes == one
