import json
import sqlite3
from contextlib import closing

import pyogrio
import pytest
import shapely

from tessera_core.errors import InputError
from tessera_core.export.vector import label_features, labels_geojson, write_labels_geojson, write_labels_gpkg
from tessera_core.grid import Grid
from tessera_core.labels.model import Label, LabelClass
from tessera_core.provenance import Provenance
from tests.factories import make_grid

GRID = make_grid((400, 500))
CLASSES = [LabelClass(1, "Wood", "#ff0000"), LabelClass(2, "Wässer <&>", "#0000ff", "w1")]
V2 = Provenance("tessera", "2.0", "2B-L", year=2023)


def at(x, y):
    return (500_000 + x, 5_599_000 + y)


def box(id, x, y, size=100, class_id=1):
    corners = (at(x, y), at(x + size, y), at(x + size, y + size), at(x, y + size))
    return Label(id, class_id, "polygon", corners)


def shapes(*labels):
    return {f.label.id: f.geometry for f in label_features(labels, CLASSES)}


def test_a_later_erase_stroke_is_cut_away_and_an_earlier_one_is_not():
    erase = Label("e", 0, "erase", (at(50, 50),), 30)
    cut = shapes(box("a", 0, 0), erase)["a"]
    assert cut.area == pytest.approx(10_000 - 3.1416 * 900, rel=0.01)
    assert len(cut.interiors) == 1
    assert shapes(erase, box("a", 0, 0))["a"].area == pytest.approx(10_000)


def test_an_erase_stroke_can_split_or_swallow_a_label():
    stroke = Label("e", 0, "erase", (at(-50, 50), at(150, 50)), 10)
    parts = shapes(box("a", 0, 0), stroke)["a"]
    assert parts.geom_type == "MultiPolygon"
    assert len(parts.geoms) == 2
    assert shapes(box("a", 0, 0, 10), Label("e", 0, "erase", (at(5, 5),), 30)) == {}


def test_a_point_stays_a_point_unless_erased():
    points = [Label("in", 1, "point", (at(0, 0),)), Label("out", 1, "point", (at(100, 0),))]
    got = shapes(*points, Label("e", 0, "erase", (at(5, 0),), 20))
    assert list(got) == ["out"]
    assert got["out"].equals(shapely.Point(at(100, 0)))


def test_strokes_become_areas():
    stroke = Label("b", 1, "brush", (at(0, 0), at(100, 0)), 10)
    assert shapes(stroke)["b"].area == pytest.approx(100 * 20 + 3.1416 * 100, rel=0.01)
    assert shapes(Label("b", 1, "brush", (at(0, 0), at(0, 0)), 10))["b"].area == pytest.approx(314.16, rel=0.01)


def test_a_geopackage_has_styled_layers_with_all_columns(tmp_path):
    labels = [
        Label("p", 2, "point", (at(0, 0),), note="gate"),
        box("a", 0, 0),
        Label("b", 2, "brush", (at(0, 0),), 12.5),
    ]
    path = write_labels_gpkg(tmp_path / "labels", labels, CLASSES, GRID, V2)
    assert path.name == "labels.gpkg"
    info = pyogrio.read_info(path, layer="label_points")
    assert (info["crs"], info["features"]) == ("EPSG:32631", 1)
    assert {"class_id", "class", "color", "note", "radius", "kind"} <= set(info["fields"])
    assert info["layer_metadata"]["tessera_dataset"] == V2.dataset
    meta, _, _, values = pyogrio.raw.read(path, layer="label_areas")
    rows = [dict(zip(meta["fields"], row, strict=True)) for row in zip(*values, strict=True)]
    assert [(r["class_id"], r["class"], r["color"], r["radius"]) for r in rows] == [
        (1, "Wood", "#ff0000", 0.0),
        (2, "Wässer <&>", "#0000ff", 12.5),
    ]
    with closing(sqlite3.connect(path)) as database:
        styles = dict(database.execute("SELECT f_table_name, styleQML FROM layer_styles WHERE useAsDefault = 1"))
    assert set(styles) == {"label_points", "label_areas"}
    assert "Wässer &lt;&amp;&gt;" in styles["label_areas"]


def test_no_labels_make_empty_layers(tmp_path):
    path = write_labels_gpkg(tmp_path / "none.gpkg", [], CLASSES, GRID, V2)
    assert pyogrio.read_info(path, layer="label_areas")["features"] == 0
    assert json.loads(write_labels_geojson(tmp_path / "none", [], CLASSES, GRID, V2).read_text())["features"] == []


def test_a_local_grid_has_no_crs_and_no_geojson(tmp_path):
    grid = Grid.local((10, 10))
    labels = [Label("p", 1, "point", ((3.5, -2.5),))]
    path = write_labels_gpkg(tmp_path / "local.gpkg", labels, CLASSES, grid, V2)
    info = pyogrio.read_info(path, layer="label_points")
    assert not info["crs"] or "ndefined" in info["crs"]
    assert "no georeference" in info["layer_metadata"]["tessera_grid"]
    with pytest.raises(InputError, match="GeoPackage"):
        write_labels_geojson(tmp_path / "local.geojson", labels, CLASSES, grid, V2)


def test_geojson_follows_rfc_7946():
    clockwise = Label("a", 2, "polygon", (at(0, 0), at(0, 100), at(100, 100), at(100, 0)))
    value = labels_geojson([Label("p", 1, "point", (at(0, 0),)), clockwise], CLASSES, GRID, V2)
    assert "crs" not in value
    lon, lat = value["features"][0]["geometry"]["coordinates"]
    assert (lon, lat) == pytest.approx((3.0, 50.5425), abs=1e-3)
    polygon = shapely.geometry.shape(value["features"][1]["geometry"])
    assert polygon.exterior.is_ccw
    assert polygon.exterior.is_closed
    properties = value["features"][1]["properties"]
    assert (properties["name"], properties["code"], properties["color"]) == ("Wässer <&>", "w1", "#0000ff")
    json.dumps(value, allow_nan=False)


def test_an_existing_file_is_replaced_whole(tmp_path):
    path = tmp_path / "labels.gpkg"
    write_labels_gpkg(path, [box("a", 0, 0), box("b", 200, 0)], CLASSES, GRID, V2)
    write_labels_gpkg(path, [box("c", 0, 0)], CLASSES, GRID, V2)
    assert pyogrio.read_info(path, layer="label_areas")["features"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["labels.gpkg"]
