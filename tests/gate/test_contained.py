"""On a server for strangers a file is read in a child process: the same answer, and what asks for too much ends the child."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tessera_core.errors import InputError, LabelError
from tessera_core.gate.contained import _Answers
from tessera_core.grid import Grid
from tessera_core.labels.files import read_class_raster, survey
from tessera_core.region import read_region_report
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
    (tmp_path / "e.csv").write_text("a,b\n1,2\n")
    with pytest.raises(LabelError, match="no columns of coordinates"):
        survey(tmp_path / "e.csv")
    monkeypatch.setattr(bounds, "SHARED", replace(bounds.SHARED, memory_bytes=16 << 20))
    with pytest.raises(InputError, match=r"d\.csv asks for more than one file may have"):
        survey(many)
    monkeypatch.undo()
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    assert survey(points) == here[0]


@pytest.mark.soak
@pytest.mark.skipif(os.name == "nt", reason="Windows has no limits of processes")
@pytest.mark.parametrize("bound", ["cpu_s", "wall_s"])
def test_a_file_that_takes_too_long_ends_the_child(bound: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    bounds = importlib.import_module("tessera_core.gate.limits")
    many = tmp_path / "d.csv"
    many.write_text("lon,lat,class\n" + "".join(f"{n % 90}.5,{n % 80}.5,c{n % 5}\n" for n in range(1_000_000)))
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    monkeypatch.setattr(bounds, "SHARED", replace(bounds.SHARED, memory_bytes=1 << 40, **{bound: 1}))
    with pytest.raises(InputError, match=r"d\.csv asks for more than one file may have"):
        survey(many)


def test_an_answer_calls_nothing() -> None:
    import io
    import subprocess

    from tessera_core.atomic import write_text

    for called in (os.system, subprocess.run, write_text, np.load):

        class Bad:
            def __reduce__(self, called: object = called) -> tuple[object, tuple[str]]:
                return called, ("x",)  # type: ignore[return-value]

        with pytest.raises(pickle.UnpicklingError):
            _Answers(io.BytesIO(pickle.dumps(Bad()))).load()
