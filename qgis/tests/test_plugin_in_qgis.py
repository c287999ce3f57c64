"""The plugin inside a real QGIS: labels drawn with QGIS's own layers become a map, a score, a page and files."""

from __future__ import annotations

import json
import os
import subprocess

import numpy as np
import processing
import pytest
from osgeo import gdal
from qgis.analysis import QgsRasterCalculator, QgsRasterCalculatorEntry
from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsGeometry,
    QgsLayoutExporter,
    QgsMapRendererSequentialJob,
    QgsMapSettings,
    QgsPointXY,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
    QgsVectorLayerUtils,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtWidgets import QApplication

from tessera_studio import classFactory

from .conftest import until


@pytest.fixture
def dock(qgis_iface, qgis_new_project, settings):
    plugin = classFactory(qgis_iface)
    plugin.initGui()
    yield plugin.dock
    plugin.unload()


def opened(dock, path):
    dock.open_path(str(path))
    until(lambda: dock.layers is not None and dock.layers.is_settled(), dock.message.text())
    return dock.layers


def settled(layers):
    # The timer that gathers changes is started by the change itself, so that nothing can be missed here.
    until(layers.is_settled)


def truth(demo, year=2023):
    file = gdal.Open(str(demo / "truth" / "{}.tif".format(year)))
    return file.ReadAsArray(), file.GetGeoTransform()


def places(demo, wanted):
    """Map coordinates of ``wanted`` pixels of each of the two commonest kinds of ground, inside patches of theirs."""
    values, (west, dx, _, north, _, dy) = truth(demo)
    kinds = np.argsort(-np.bincount(values[values > 0].ravel()))[:2]
    found = []
    for kind in kinds:
        same = np.ones(values.shape, bool)
        for drow in (-1, 0, 1):
            for dcol in (-1, 0, 1):
                same &= np.roll(values, (drow, dcol), (0, 1)) == kind
        same[[0, -1]] = same[:, [0, -1]] = False
        rows, cols = np.nonzero(same)
        pick = np.linspace(0, len(rows) - 1, wanted).round().astype(int)
        found.append([(west + dx * (cols[i] + 0.5), north + dy * (rows[i] + 0.5)) for i in pick])
    return found


def add(layer, geometry, class_id=None):
    """A feature as QGIS's tools make it: with the layer's default values, in its edit buffer."""
    attributes = {} if class_id is None else {1: class_id}
    feature = QgsVectorLayerUtils.createFeature(layer, geometry, attributes)
    assert layer.addFeature(feature)
    return feature


def classes_of(path):
    return gdal.Open(path).ReadAsArray()


def test_labels_become_a_map_a_score_a_page_and_files(dock, demo, pictures, tmp_path):
    layers = opened(dock, demo)
    assert layers.years == [2023, 2024]
    assert layers.crs.authid().startswith("EPSG:326")
    assert "first class" in dock.hint.text()

    dock.new_class.setText("Trees & <b>co</b>")
    dock._add_class()
    until(lambda: len(layers.classes) == 1)
    dock.new_class.setText("Fields")
    dock._add_class()
    until(lambda: len(layers.classes) == 2)
    settled(layers)
    first, second = (c["id"] for c in layers.classes)
    assert layers.current_class == second

    points, areas = layers.layers["point"], layers.layers["polygon"]
    dock.classes.setCurrentItem(dock.classes.topLevelItem(0))
    assert layers.current_class == first
    dock.start_labelling("point")
    assert points.isEditable()
    one, other = places(demo, 12)
    for place in one:
        # No class is named: it is the one that is chosen in the panel.
        add(points, QgsGeometry.fromPointXY(QgsPointXY(*place)))
    settled(layers)
    assert [c["count"] for c in layers.classes] == [12, 0]
    assert "another class" in dock.hint.text()
    dock.classes.setCurrentItem(dock.classes.topLevelItem(1))
    areas.startEditing()
    for x, y in other:
        add(areas, QgsGeometry.fromRect(QgsRectangle(x - 12, y - 12, x + 12, y + 12)))
    until(lambda: layers.map_layer is not None)
    settled(layers)
    shown = classes_of(layers.map_layer.source())
    _, (west, dx, _, north, _, dy) = truth(demo)
    for place, class_id in [(p, first) for p in one] + [(p, second) for p in other]:
        assert shown[int((place[1] - north) / dy), int((place[0] - west) / dx)] == class_id
    assert abs(layers.map_layer.extent().xMinimum() - west) < 1e-6
    assert [c.label for c in layers.map_layer.renderer().classes()] == ["Trees & <b>co</b>", "Fields"]
    until(lambda: layers.score is not None and layers.score["version"] == layers.answer["version"])
    assert dock.score.text().startswith(layers.score["sentences"][0][:20])
    areas_told = [c["area"] for c in layers.classes]
    assert sum(areas_told) == pytest.approx((shown > 0).sum() * 0.01, abs=0.01)

    # Undo in QGIS, a discarded edit session and a moved point reach the project, and the map follows.
    before = layers.map_layer.source()
    areas.undoStack().undo()
    settled(layers)
    assert [c["count"] for c in layers.classes] == [12, 11]
    assert layers.map_layer.source() != before
    areas.undoStack().redo()
    settled(layers)
    assert [c["count"] for c in layers.classes] == [12, 12]
    points.commitChanges()
    points.startEditing()
    points.deleteFeatures([f.id() for f in points.getFeatures()][:4])
    settled(layers)
    assert [c["count"] for c in layers.classes] == [8, 12]
    points.rollBack()
    settled(layers)
    assert [c["count"] for c in layers.classes] == [12, 12]
    areas.commitChanges()

    layers.edit_class(first, name="Trees", color="#006400")
    until(lambda: layers.classes[0]["name"] == "Trees")
    settled(layers)
    assert layers.map_layer.renderer().classes()[0].color.name() == "#006400"
    until(lambda: layers.score is not None)
    assert "<b>" not in "".join(layers.score["sentences"])
    grab(dock, pictures / "dock.png")
    map_picture(layers, pictures / "map.png")

    layout = dock.make_layout(open_designer=False)
    assert QgsProject.instance().layoutManager().layoutByName(layout.name()) is layout
    exporter = QgsLayoutExporter(layout)
    settings = QgsLayoutExporter.ImageExportSettings()
    settings.dpi = 110
    assert exporter.exportToImage(str(pictures / "layout.png"), settings) == QgsLayoutExporter.Success
    assert exporter.exportToPdf(str(tmp_path / "layout.pdf"), QgsLayoutExporter.PdfExportSettings()) == 0

    out = tmp_path / "kept.tif"
    dock.save(str(out))
    until(out.exists)
    until(lambda: not dock._long)
    assert np.array_equal(classes_of(str(out)), classes_of(layers.map_layer.source()))

    dock.sure.setChecked(True)
    until(lambda: layers.confidence_layer is not None)
    sure = classes_of(layers.confidence_layer.source())
    assert ((sure <= 100) | (sure == 255)).all()
    dock.sure.setChecked(False)
    assert layers.confidence_layer is None

    dock.years.setCurrentIndex(0)
    until(lambda: layers.year == 2023 and layers.is_settled())
    assert "map-2023" in layers.map_layer.source()
    assert layers.map_layer.name() == "Class map"


def test_what_the_app_changes_is_seen_here_and_an_own_layer_becomes_labels(dock, demo, studio, tmp_path, qgis_iface):
    layers = opened(dock, demo / "embeddings" / "2023")
    one, other = places(demo, 3)
    features = [
        {
            "type": "Feature",
            "properties": {"kind": kind},
            "geometry": {"type": "Point", "coordinates": list(place)},
        }
        for kind, group in (("wet", one), ("dry", other))
        for place in group
    ]
    crs = {"type": "name", "properties": {"name": layers.crs.authid()}}
    file = tmp_path / "mine.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    mine = QgsVectorLayer(str(file), "mine", "ogr")
    QgsProject.instance().addMapLayer(mine)
    dock.send_layer(mine, "kind")
    until(lambda: layers.map_layer is not None)
    settled(layers)
    assert layers.layers["point"].featureCount() == 6
    assert [(c["name"], c["count"]) for c in layers.classes] == [("wet", 3), ("dry", 3)]

    # Another program writes to the same project while a label here is in an open edit session.
    points = layers.layers["point"]
    points.startEditing()
    add(points, QgsGeometry.fromPointXY(QgsPointXY(one[0][0] + 10, one[0][1])))
    settled(layers)
    subprocess.run([str(studio), "project", "add-labels", layers.folder, str(file), "-q"], check=True)
    until(lambda: points.featureCount() == 13)
    settled(layers)
    assert sum(c["count"] for c in layers.classes) == 13
    points.commitChanges()

    # A saved QGIS project opens the project of Tessera Studio again.
    folder, name = layers.folder, str(tmp_path / "saved.qgz")
    assert QgsProject.instance().write(name)
    QgsProject.instance().clear()
    until(lambda: dock.layers is None)
    assert QgsProject.instance().read(name)
    until(lambda: dock.layers is not None and dock.layers.is_settled())
    assert dock.layers.folder == folder
    assert dock.layers.layers["point"].featureCount() == 13
    assert len([n for n in QgsProject.instance().layerTreeRoot().children() if "(Tessera)" in n.name()]) == 1


def test_what_is_wrong_is_said(dock, settings, tmp_path):
    dock.open_path(str(tmp_path / "nowhere"))
    until(lambda: "nowhere" in dock.message.text())
    settings.choose(str(tmp_path / "no-program"))
    assert settings.check() == (
        False,
        "There is no program at {}; choose another, or leave the field empty.".format(tmp_path / "no-program"),
    )
    dock.client.stop()
    dock.open_path(str(tmp_path))
    assert "Open the settings" in dock.message.text()
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\necho something else\n")
    other.chmod(0o755)
    settings.choose(str(other))
    good, sentence = settings.check()
    assert not good
    assert "is not Tessera Studio" in sentence
    dock.open_path(str(tmp_path))
    until(lambda: "something" in dock.message.text() or "ended" in dock.message.text())


def test_an_engine_that_dies_costs_nothing(dock, demo):
    layers = opened(dock, demo)
    layers.add_class("One")
    until(lambda: len(layers.classes) == 1)
    settled(layers)
    folder = layers.folder
    dock.client._process.kill()
    until(lambda: dock.layers is None)
    assert "saved" in dock.message.text()
    layers = opened(dock, folder)
    assert [c["name"] for c in layers.classes] == ["One"]


def test_the_algorithms_of_the_toolbox(dock, demo, studio, tmp_path):
    registry = QgsApplication.processingRegistry()
    names = {a.name() for a in registry.providerById("tessera").algorithms()}
    assert names == {"classify", "evaluate", "change", "sample"}
    one, other = places(demo, 8)
    layer = QgsVectorLayer("Point?crs=EPSG:4326&field=kind:string", "labels", "memory")
    grid = QgsCoordinateReferenceSystem.fromWkt(gdal.Open(str(demo / "truth" / "2023.tif")).GetProjection())
    from qgis.core import QgsCoordinateTransform

    to_degrees = QgsCoordinateTransform(grid, layer.crs(), QgsProject.instance())
    for kind, group in (("wet", one), ("dry", other)):
        for place in group:
            feature = QgsFeature(layer.fields())
            feature["kind"] = kind
            feature.setGeometry(QgsGeometry.fromPointXY(to_degrees.transform(QgsPointXY(*place))))
            layer.dataProvider().addFeatures([feature])
    QgsProject.instance().addMapLayer(layer)
    told = QgsProcessingFeedback()
    first, second = str(demo / "embeddings" / "2023"), str(demo / "embeddings" / "2024")
    given = {"EMBEDDINGS": first, "LABELS": layer, "FIELD": "kind", "HEAD": 0}
    files = {"OUTPUT": str(tmp_path / "map.tif"), "CONFIDENCE": str(tmp_path / "sure.tif")}
    made = processing.run("tessera:classify", dict(given, **files), feedback=told)
    assert set(np.unique(classes_of(made["OUTPUT"]))) <= {0, 1, 2}
    assert 0 <= made["ACCURACY"] <= 1
    assert classes_of(made["CONFIDENCE"]).min() >= 0
    scored = processing.run("tessera:evaluate", dict(given, OUTPUT=str(tmp_path / "score.json")), feedback=told)
    assert scored["LOW"] <= scored["ACCURACY"] <= scored["HIGH"]
    assert scored["ACCURACY"] == pytest.approx(made["ACCURACY"])
    assert json.loads((tmp_path / "score.json").read_text())["interval"] == [scored["LOW"], scored["HIGH"]]
    change = {"FIRST": first, "SECOND": second, "RATE": 0.05, "OUTPUT": str(tmp_path / "change.tif")}
    changed = processing.run("tessera:change", change, feedback=told)
    values = classes_of(changed["OUTPUT"])
    assert changed["SHARE"] == pytest.approx((values == 2).sum() / (values > 0).sum(), abs=1e-4)
    with pytest.raises(QgsProcessingException, match="kind2"):
        processing.run("tessera:classify", dict(given, **dict(files, FIELD="kind2")), feedback=told)

    stopped = QgsProcessingFeedback()
    stopped.cancel()
    context = QgsProcessingContext()
    algorithm = registry.algorithmById("tessera:change").create()
    with pytest.raises(QgsProcessingException, match="Stopped"):
        algorithm.processAlgorithm(change, context, stopped)


FLOATS = """
import sys
import numpy as np, rasterio
from tessera_core import api
raster = api.open(sys.argv[1])
rows, cols = np.indices(raster.shape).reshape(2, -1)
values = raster.sample(rows, cols).T.reshape(-1, *raster.shape).astype("float32")
profile = dict(driver="GTiff", count=len(values), dtype="float32", crs=raster.grid.crs, transform=raster.grid.transform)
with rasterio.open(sys.argv[2], "w", height=values.shape[1], width=values.shape[2], **profile) as file:
    file.write(values)
"""


def test_the_formula_of_a_head_maps_the_same_in_the_raster_calculator(
    studio, settings, demo, tmp_path, qgis_new_project
):
    embeddings, floats = str(demo / "embeddings" / "2023"), tmp_path / "embeddings.tif"
    own = dict(os.environ, PYTHONPATH=os.environ["TESSERA_PATH"])
    subprocess.run([os.environ["TESSERA_PYTHON"], "-c", FLOATS, embeddings, str(floats)], check=True, env=own)
    layer = QgsRasterLayer(str(floats), "embeddings", "gdal")
    features = [
        {"type": "Feature", "properties": {"kind": kind}, "geometry": {"type": "Point", "coordinates": list(place)}}
        for kind, group in zip(("wet", "dry"), places(demo, 6))
        for place in group
    ]
    crs = {"type": "name", "properties": {"name": layer.crs().authid()}}
    labels = tmp_path / "labels.geojson"
    labels.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    words = [str(studio), "map", embeddings, "--labels", str(labels), "--field", "kind", "-q"]
    words += ["--out", str(tmp_path / "map.tif"), "--confidence", str(tmp_path / "sure.tif")]
    subprocess.run([*words, "--save-head", str(tmp_path / "head.txt")], check=True)
    formulas = [line for line in (tmp_path / "head.txt").read_text().splitlines() if line[:1] not in ("#", "")]
    entries = []
    for band in range(1, layer.bandCount() + 1):
        entry = QgsRasterCalculatorEntry()
        entry.raster, entry.bandNumber, entry.ref = layer, band, "embeddings@{}".format(band)
        entries.append(entry)
    found = []
    for number, formula in enumerate(formulas):
        out = str(tmp_path / "calculated-{}.tif".format(number))
        grid = (layer.extent(), layer.crs(), layer.width(), layer.height(), entries)
        calculator = QgsRasterCalculator(formula, out, "GTiff", *grid, QgsProject.instance().transformContext())
        assert calculator.processCalculation() == 0, calculator.lastError()
        found.append(classes_of(out))
    wanted, sure = classes_of(str(tmp_path / "map.tif")), classes_of(str(tmp_path / "sure.tif"))
    known = wanted > 0
    assert np.array_equal(found[0][known], wanted[known])
    assert set(np.unique(wanted[known])) == {1, 2}
    assert np.abs(found[1][known] - sure[known]).max() <= 1


def grab(widget, path):
    widget.setFloating(True)
    widget.resize(360, 720)
    widget.show()
    QApplication.processEvents()
    assert widget.grab().save(str(path))


def map_picture(layers, path):
    settings = QgsMapSettings()
    settings.setDestinationCrs(layers.crs)
    settings.setLayers([*layers.layers.values(), layers.map_layer])
    settings.setOutputSize(QSize(640, 640))
    settings.setExtent(layers.extent)
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    assert job.renderedImage().save(str(path))
