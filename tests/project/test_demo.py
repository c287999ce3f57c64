"""The demo region: made once, resumed, never mixed with another."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio

from tessera_core.cli import main
from tessera_core.dpixels.simulate.world import make_world
from tessera_core.dpixels.tile import DPixelTile
from tessera_core.errors import Cancelled, InputError
from tessera_core.project import demo
from tessera_core.raster import EmbeddingRaster

SIZE = 96


def test_all_parts_are_there_and_fit_together(region):
    made, _ = region
    tile, raster = DPixelTile.open(made.dpixels[2023]), EmbeddingRaster.open(made.embeddings[2023])
    with rasterio.open(made.truth[2023]) as file:
        truth, colours, crs = file.read(1), file.colormap(1), file.crs
    assert tile.grid == raster.grid
    assert crs.to_epsg() == 32631
    np.testing.assert_array_equal(truth, make_world(0, SIZE, (2023,)).truth[2023])
    assert raster.valid().all()
    assert (raster.provenance.source, raster.provenance.year) == ("demo", 2023)
    assert raster.provenance.details["simulated"] is True
    for wanted in demo.DEMO_CLASSES:
        assert "#{:02x}{:02x}{:02x}".format(*colours[wanted.id][:3]) == wanted.color
    assert made.complete
    assert not (made.root / ".generating").exists()


def test_a_region_is_named_after_the_simulator_that_made_it(root, monkeypatch, tmp_path):
    import shutil

    import tessera_core.dpixels.simulate as simulator

    before = demo._simulator_digest()
    copy = tmp_path / "simulate"
    shutil.copytree(root / "tessera_core/dpixels/simulate", copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(simulator, "__file__", str(copy / "__init__.py"))
    assert demo._simulator_digest() == before
    (copy / "clouds.py").write_text("# other clouds\n", encoding="utf-8")
    assert demo._simulator_digest() != before


def test_progress_rises_to_the_end(region):
    _, steps = region
    done = [step[0] for step in steps]
    assert done == sorted(done)
    assert steps[-1][:2] == (100, 100)
    assert any(step[2].startswith("Simulating 2023") for step in steps)


def test_a_second_run_keeps_what_is_there(region, weights):
    made, _ = region
    before = {p: p.stat().st_mtime_ns for p in made.root.rglob("*.npy")}
    demo.write_demo(made.root, SIZE, (2023,), weights=weights)
    assert before == {p: p.stat().st_mtime_ns for p in made.root.rglob("*.npy")}


def test_another_demo_or_other_data_are_not_overwritten(region, weights, tmp_path):
    made, _ = region
    with pytest.raises(InputError, match="another demo region"):
        demo.write_demo(made.root, SIZE, (2023,), seed=1, weights=weights)
    (tmp_path / "truth").mkdir()
    with pytest.raises(InputError, match="no demo region"):
        demo.write_demo(tmp_path, SIZE, (2023,), weights=weights)


def test_cancelled_and_resumed_equals_uninterrupted(region, weights, tmp_path, monkeypatch):
    made, _ = region
    monkeypatch.setattr(demo, "DEMO_WEIGHTS", weights)

    def simulated() -> bool:
        return any(tmp_path.glob("*/dpixels/2023"))

    with pytest.raises(Cancelled):
        demo.ensure_demo(tmp_path, SIZE, (2023,), cancelled=simulated)
    (cached,) = tmp_path.iterdir()
    assert (cached / "dpixels" / "2023").is_dir()
    assert not (cached / "embeddings" / "2023").exists()
    again = demo.ensure_demo(tmp_path, SIZE, (2023,))
    assert again.root == cached
    one, two = EmbeddingRaster.open(made.embeddings[2023]), EmbeddingRaster.open(again.embeddings[2023])
    np.testing.assert_array_equal(one.codes, two.codes)
    np.testing.assert_array_equal(one.scales, two.scales)


def test_command_line(region, weights, capsys):
    made, _ = region
    arguments = ["demo", str(made.root), "--size", str(SIZE), "--years", "2023", "--weights", str(weights), "--json"]
    assert main(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["years"] == [2023]
    assert result["classes"]["1"] == "Water"
    assert main(["demo", str(made.root), "--size", "97", "--weights", str(weights)]) == 2
    assert "Traceback" not in capsys.readouterr().err
