"""One confidence everywhere: what the screen shows is what files hold, and what a saved head says elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tessera_core.assess.calibration import calibrate
from tessera_core.assess.live import live_score
from tessera_core.cli import main
from tessera_core.export.vector import write_labels_geojson
from tessera_core.heads import Scene, load_head, make_head, predict_raster, save_head
from tessera_core.project.classify import fit_labels, head_choice, label_samples, map_project
from tessera_core.project.project import Project
from tessera_core.raster import EmbeddingRaster
from tessera_core.render.display import DisplayGrid
from tessera_core.session.assessor import Assessor, Question
from tessera_core.session.live_map import LiveMap
from tessera_core.ui.export.page import _map_items
from tests.factories import landscape

pytestmark = pytest.mark.usefixtures("few_trees")


@pytest.fixture(scope="module")
def raster() -> EmbeddingRaster:
    """Classes that overlap, so that a head's confidence has something to be calibrated."""
    clean = landscape(80, dim=16)
    random = np.random.default_rng(1)
    noisy = clean.codes.astype(float) * np.nan_to_num(clean.scales)[..., None] + 1.2 * random.normal(size=(80, 80, 16))
    scales = np.where(clean.valid(), np.abs(noisy).max(-1) / 127, np.nan).astype(np.float32)
    codes = np.round(noisy / np.nan_to_num(scales, nan=1.0)[..., None]).astype(np.int8)
    return EmbeddingRaster(codes, scales, clean.grid, clean.provenance)


@pytest.fixture
def project(tmp_path: Path, raster: EmbeddingRaster) -> Project:
    project = Project.create(tmp_path / "project", "Fields")
    raster.save(tmp_path / "embeddings")
    project.attach_embeddings(2023, tmp_path / "embeddings", raster.provenance, raster.grid)
    random = np.random.default_rng(0)
    for quarter in range(4):
        label_class = project.log.add_class(f"Quarter {quarter}")
        for _ in range(18):
            row, col = random.integers(2, 38, 2) + 40 * np.array(divmod(quarter, 2))
            x, y = raster.grid.pixel_to_xy(row + 0.5, col + 0.5)
            project.log.add("point", label_class.id, [(float(x), float(y))])
    return project


def on_screen(project: Project, raster: EmbeddingRaster) -> tuple[np.ndarray, float]:
    """Confidence as the label map shows it when the page has come to rest, and its temperature."""
    live = LiveMap("key", "place", raster, lambda: Scene(raster), DisplayGrid(raster.grid), "Fields", "2023")
    assessor = Assessor(raster, on_temperature=live.set_temperature, quiet=0)
    log, choice = project.log, head_choice(project)
    assessor.ask(Question(log.version, choice, tuple(log.labels), tuple(log.classes)))
    assessor.wait()
    reading = live.reading(log, choice)
    assert reading.map is not None
    assert not reading.preview
    return reading.map.confidence, reading.temperature


@pytest.mark.parametrize("head", ["logistic", pytest.param("knn", marks=pytest.mark.soak)])
def test_exported_confidence_is_what_the_screen_shows(
    project: Project, raster: EmbeddingRaster, tmp_path: Path, head: str, capsys: pytest.CaptureFixture[str]
) -> None:
    project.update(head=head)
    shown, temperature = on_screen(project, raster)
    assert abs(temperature - 1) > 0.03
    plain = predict_raster(fit_labels(project.log.labels, raster, head), raster)
    assert abs(shown.astype(int) - plain.confidence).max() > 2

    made = map_project(project, raster, 2023)
    assert made.head.applied_temperature_ == temperature
    np.testing.assert_array_equal(made.map.confidence, shown)
    np.testing.assert_array_equal(made.map.classes, plain.classes)

    # The command line: the archive for QGIS, and the script that makes the map again.
    for kind in ("qgis", "script"):
        assert main(["export", str(project.folder), "--to", kind, "--out", str(tmp_path / "out"), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["temperature"] == pytest.approx(temperature, abs=1e-4)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        archive.extractall(tmp_path / "qgis")
    assert f"temperature {temperature:.2f}" in (tmp_path / "qgis" / "README.txt").read_text()
    done = subprocess.run([sys.executable, tmp_path / "out.py", tmp_path / "again.tif"], capture_output=True, text=True)
    assert "equals the exported map" in done.stdout, done.stderr
    for file in (tmp_path / "qgis" / "confidence.tif", tmp_path / "again_confidence.tif"):
        with rasterio.open(file) as opened:
            np.testing.assert_array_equal(opened.read(1), shown)
            assert float(opened.tags()["tessera_temperature"]) == pytest.approx(temperature, rel=1e-5)

    # A head saved maps elsewhere with the same confidence.
    saved = load_head(save_head(tmp_path / "h.safetensors", made.head, {}, raster.provenance)).head
    assert saved.applied_temperature_ == temperature
    np.testing.assert_array_equal(predict_raster(saved, raster).confidence, shown)


def test_the_page_offers_the_confidence_of_the_screen(
    project: Project, raster: EmbeddingRaster, tmp_path: Path
) -> None:
    from tessera_core.export.product import Product
    from tessera_core.ui import files
    from tessera_core.ui.scene import OpenScene

    project.update(head="logistic")
    shown, temperature = on_screen(project, raster)
    made = map_project(project, raster, 2023)
    product = Product(
        project.name, made.map.classes, made.map.confidence, raster.grid, project.log.classes, project.log.labels,
        raster.provenance, "logistic", temperature=made.head.applied_temperature_,
    )  # fmt: skip
    items = {item.button: item for item in _map_items(project, product, made, OpenScene("", raster), "fields")}
    (tmp_path / "c.tif").write_bytes(files.build(items["Confidence (.tif)"]))
    with rasterio.open(tmp_path / "c.tif") as file:
        np.testing.assert_array_equal(file.read(1), shown)
    assert f"(temperature {temperature:.2f})" in files.build(items["Report (.html)"]).decode()


def test_tessera_map_is_as_sure_as_the_app(
    project: Project, raster: EmbeddingRaster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Headless, the same labels from a file give the temperature the screen has, and the head keeps it; or not, as asked."""
    project.update(head="logistic")
    shown, temperature = on_screen(project, raster)
    log = project.log
    write_labels_geojson(tmp_path / "l.geojson", log.labels, log.classes, raster.grid, raster.provenance)

    def mapped(*more: str) -> tuple[dict, np.ndarray]:
        words = ["map", str(tmp_path / "embeddings"), *more, "--out", str(tmp_path / "m.tif"), "--json"]
        assert main([*words, "--confidence", str(tmp_path / "c.tif")]) == 0
        with rasterio.open(tmp_path / "c.tif") as file:
            return json.loads(capsys.readouterr().out), file.read(1)

    train = ("--labels", str(tmp_path / "l.geojson"), "--head", "logistic")
    told, confidence = mapped(*train, "--save-head", str(tmp_path / "h.safetensors"))
    assert told["temperature"] == pytest.approx(temperature, rel=1e-4)
    assert told["calibration"]["error_after"] is not None
    assert "confident on average" in told["calibration"]["sentence"]
    assert abs(confidence.astype(int) - shown).max() <= 1
    again, same = mapped("--use-head", str(tmp_path / "h.safetensors"))
    assert again["temperature"] == told["temperature"]
    np.testing.assert_array_equal(same, confidence)
    raw, plain = mapped(*train, "--raw-confidence")
    assert raw["temperature"] == 1
    assert "as asked" in raw["calibration"]["sentence"]
    np.testing.assert_array_equal(plain, predict_raster(fit_labels(log.labels, raster, "logistic"), raster).confidence)
    slow, _ = mapped("--labels", str(tmp_path / "l.geojson"), "--head", "forest")
    assert slow["temperature"] == 1
    assert "not calibrated" in slow["calibration"]["sentence"]


def test_too_few_places_leave_confidence_as_it_is(raster: EmbeddingRaster, tmp_path: Path) -> None:
    project = Project.create(tmp_path / "few", "Few")
    for quarter in range(2):
        label_class = project.log.add_class(f"Quarter {quarter}")
        x, y = raster.grid.pixel_to_xy(10.5, 10.5 + 40 * quarter)
        project.log.add("point", label_class.id, [(float(x), float(y))])
    made = map_project(project, raster, 2023)
    assert made.head.applied_temperature_ == 1
    np.testing.assert_array_equal(
        made.map.confidence, predict_raster(fit_labels(project.log.labels, raster), raster).confidence
    )


def test_slow_heads_and_trees_are_shown_and_exported_as_they_are(project: Project, raster: EmbeddingRaster) -> None:
    project.update(head="forest")
    assert map_project(project, raster, 2023).head.applied_temperature_ == 1
    project.update(head="ridge", neighbourhood=3)
    assert map_project(project, raster, 2023).head.applied_temperature_ == 1


def test_the_screen_has_the_temperature_of_the_study(project: Project, raster: EmbeddingRaster) -> None:
    project.update(head="logistic")
    samples = label_samples(project.log.labels, project.log.classes, raster)
    held = live_score(samples, make_head("logistic")).held_out
    assert on_screen(project, raster)[1] == calibrate(held).temperature
