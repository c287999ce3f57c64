"""On a server for strangers a file is read in a child process: the same answer, and what asks for too much ends the child."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tessera_core.errors import InputError, LabelError
from tessera_core.gate.contained import _Answers, _packed
from tessera_core.grid import Grid
from tessera_core.labels.files import read_class_raster, survey
from tessera_core.project.library import start_upload
from tessera_core.region import read_region_report
from tessera_core.sources.local.open import open_embeddings
from tests.gate.outside import write_points, write_tiff


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limits of processes")
def test_readers_answer_the_same_in_a_child_and_a_bomb_ends_the_child_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    bounds = importlib.import_module("tessera_core.gate.limits")
    points = write_points(tmp_path / "a.gpkg")
    box = tmp_path / "b.geojson"
    box.write_text('{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,0]]]}')
    raster = write_tiff(tmp_path / "c.tif", np.arange(256, dtype=np.uint8).reshape(16, 16) // 64)
    grid = Grid.local((16, 16))
    many = tmp_path / "d.csv"
    many.write_text("lon,lat,class\n" + "".join(f"{n % 90}.5,{n % 80}.5,c{n % 5}\n" for n in range(150_000)))

    def all_of() -> list[object]:
        region, report = read_region_report(box)
        classes = read_class_raster(raster, grid)
        return [survey(points), region.bbox, report, classes.classes.tolist()]

    here = all_of()
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    assert all_of() == here
    with monkeypatch.context() as patch:
        patch.setattr(bounds, "SHARED", replace(bounds.SHARED, memory_bytes=16 << 20))
        with pytest.raises(InputError, match=r"d\.csv asks for more than one file may have"):
            survey(many)
    (tmp_path / "e.csv").write_text("a,b\n1,2\n")
    with pytest.raises(LabelError, match="no columns of coordinates"):
        survey(tmp_path / "e.csv")


def _bomb(path: Path, side: int) -> Path:
    """A small GeoTIFF that decodes to ``side * side * 512`` bytes; nothing in it is beyond what may be declared."""
    values = np.ones((128, side, side), np.float32)
    return write_tiff(path, values, compress="deflate", interleave="pixel", blockysize=min(side, 300))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limits of processes")
def test_uploaded_embeddings_are_converted_in_a_child_and_a_bomb_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    bounds = importlib.import_module("tessera_core.gate.limits")
    values = np.random.default_rng(0).normal(size=(128, 12, 12)).astype(np.float32)
    good = write_tiff(tmp_path / "e.tif", values)
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "one"))
    here = open_embeddings(good)
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    with zipfile.ZipFile(tmp_path / "e.zip", "w") as archive:
        archive.write(good, "mine/e.tif")
    with (tmp_path / "e.zip").open("rb") as file:
        project = start_upload([("e.zip", file)])
    there = open_embeddings(project.embeddings_path(None))
    assert isinstance(there.codes, np.memmap)
    assert not there.codes.flags.writeable
    assert not there.scales.flags.writeable
    np.testing.assert_array_equal(there.codes, here.codes)
    np.testing.assert_array_equal(there.scales, here.scales)
    assert (there.grid, there.provenance) == (here.grid, here.provenance)

    bomb = _bomb(tmp_path / "b.tif", 300)
    assert bomb.stat().st_size < 200_000
    left = sorted((tmp_path / "home").rglob("*"))
    monkeypatch.setattr(bounds, "SHARED", replace(bounds.SHARED, memory_bytes=64 << 20))
    with bomb.open("rb") as file, pytest.raises(InputError, match=r"asks for more than one file may have here"):
        start_upload([("b.tif", file)])
    assert sorted((tmp_path / "home").rglob("*")) == left


@pytest.mark.parametrize("cut", [np.s_[:], np.s_[2:, ::3], np.s_[..., 0], np.s_[::-1, 1:3, 5]])
def test_of_a_mapped_array_the_answer_says_where_it_lies(cut: Any, tmp_path: Path) -> None:
    whole = np.random.default_rng(0).integers(0, 99, (40, 30, 20)).astype(np.int16)
    for order in ("C", "F"):
        np.save(tmp_path / "a.npy", np.asarray(whole, order=order))
        part = np.load(tmp_path / "a.npy", mmap_mode="r")[cut]
        packed = _packed(("done", [part, np.array(part), part.copy()], ""))
        _, (mapped, plain, copied), _ = _Answers(io.BytesIO(packed)).load()
        assert isinstance(mapped, np.memmap)
        assert not mapped.flags.writeable
        for array in (mapped, plain, copied):
            np.testing.assert_array_equal(array, whole[cut])
        assert len(_packed(("done", part, ""))) < 500


@pytest.mark.soak
@pytest.mark.skipif(os.name == "nt", reason="Windows has no limits of processes")
@pytest.mark.parametrize("bound", ["cpu_s", "wall_s"])
def test_a_file_that_takes_too_long_ends_the_child(bound: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    bounds = importlib.import_module("tessera_core.gate.limits")
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    bomb = _bomb(tmp_path / "b.tif", 1500)
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    monkeypatch.setattr(bounds, "SHARED", replace(bounds.SHARED, **{bound: 1}))
    with pytest.raises(InputError, match=r"b\.tif asks for more than one file may have"):
        open_embeddings(bomb)


def test_an_answer_calls_nothing() -> None:
    import subprocess

    from tessera_core._utils.atomic import write_text

    for called in (os.system, subprocess.run, write_text, np.load):

        class Bad:
            def __reduce__(self, called: object = called) -> tuple[object, tuple[str]]:
                return called, ("x",)

        with pytest.raises(pickle.UnpicklingError):
            _Answers(io.BytesIO(pickle.dumps(Bad()))).load()
