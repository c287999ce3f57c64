"""Labels in the formats of other programs: read back they are the same labels, and what a format cannot hold is told."""

import csv
import json
import zipfile

import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.errors import InputError
from tessera_core.export.interchange import PIXELS_PER_AREA
from tessera_core.export.labels import FORMATS, kind_of, losses, write_classes, write_labels
from tessera_core.export.vector import label_features
from tessera_core.grid import Grid
from tessera_core.labels.files import read_labels
from tessera_core.labels.log import LabelLog
from tessera_core.labels.model import IMPORTED, ORIGINS, Label, LabelClass, clean_name
from tessera_core.labels.sampling import rasterise
from tessera_core.labels.schema import ClassTree, parse_tree
from tessera_core.provenance import Provenance
from tests.factories import make_grid

GRID = make_grid((400, 500))
CLASSES = [LabelClass(1, "Wood & <fen>", "#ff0000"), LabelClass(2, 'Wässer, "tief"; 1', "#0000ff", "007")]
V2 = Provenance("tessera", "2.0", "2B-L", year=2023)
# Squared metres by which areas may differ after a way through degrees, and metres for places.
AREA, PLACE = 1e-2, 1e-4


def at(x, y):
    return (500_000 + x, 5_599_000 + y)


def square(x, y, size):
    return (at(x, y), at(x + size, y), at(x + size, y + size), at(x, y + size))


def box(id, x, y, size=100, class_id=1, **more):
    return Label(id, class_id, "polygon", square(x, y, size), **more)


RING = box("ring", 0, 0, holes=(square(40, 40, 20), square(10, 10, 5)))
GATE = Label("p", 2, "point", (at(300.5, 7.25),), note="by the gate")
STROKE = Label("b", 2, "brush", (at(0, 300), at(100, 300)), 12.5, note="Ümläut <&>")
ERASE = Label("e", 0, "erase", (at(-50, 50), at(150, 50)), 10)


@st.composite
def label_lists(draw):
    labels = []
    for number in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["point", "brush", "polygon", "ring", "rectangle", "erase"]))
        x, y = draw(st.floats(100, 4_900)), draw(st.floats(-2_900, 900))
        size = draw(st.floats(5, 80))
        xy = (at(x, y),) if kind == "point" else square(x, y, size)
        holes = (square(x + size / 4, y + size / 4, size / 3),) if kind == "ring" else ()
        radius = draw(st.floats(1, 60)) if kind in ("brush", "erase") else 0
        note = draw(st.sampled_from(["", "by the gate", "Ümläut <&>"]))
        kind = "polygon" if kind == "ring" else kind
        origin = draw(st.sampled_from(ORIGINS))
        labels.append(Label(f"id{number}", draw(st.integers(1, 2)), kind, xy, radius, note, holes, origin))
    return labels


def expected(labels, kind):
    """``(class name, code, colour, note, geometry in the grid's CRS)`` of each label that a file of ``kind`` should hold."""
    form = FORMATS[kind]
    rows = []
    for feature in label_features(labels, CLASSES):
        klass = feature.klass
        code, color = klass.code if form.codes else "", klass.color if form.colors else None
        note = feature.label.note if form.notes else ""
        for part in shapely.get_parts(feature.geometry):
            outline = shapely.Polygon(part.exterior) if form.areas == "rings" and part.geom_type == "Polygon" else part
            rows.append((klass.name, code, color, note, outline))
    return rows


def found(got):
    classes = {c.id: c for c in got.classes}
    return [
        (classes[label.class_id].name, classes[label.class_id].code, classes[label.class_id].color, label.note, label)
        for label in got.labels
    ]


def shape_of(label):
    return shapely.Point(label.xy[0]) if label.kind == "point" else shapely.Polygon(label.xy, label.holes)


def same(ours, got):
    theirs = found(got)
    assert len(ours) == len(theirs)
    for (name, code, color, note, shape), (*said, label) in zip(ours, theirs, strict=True):
        assert said[0] == name
        assert said[1] == code
        assert color is None or said[2] == color
        assert said[3] == note
        if shape.geom_type == "Point":
            assert shape.distance(shape_of(label)) < PLACE
        else:
            assert shape.symmetric_difference(shape_of(label)).area < AREA
    assert got.report.outside == 0
    assert not [line for line in got.report.skipped if "duplicate" in line]


@pytest.mark.parametrize("kind", ["tee", "tee-manual", "kml", "shp"])
@given(label_lists())
@settings(max_examples=15, deadline=None)
def test_areas_and_points_come_back_as_they_left(tmp_path_factory, kind, labels):
    ours = expected(labels, kind)
    if not ours:
        return
    written = write_labels(tmp_path_factory.mktemp("round") / "a", kind, labels, CLASSES, GRID, V2)
    assert written.path.suffix == FORMATS[kind].ending
    got = read_labels(written.path, GRID)
    same(ours, got)
    chosen = [one.label.origin for one in label_features(labels, CLASSES) for _ in shapely.get_parts(one.geometry)]
    assert [one.origin for one in got.labels] == (chosen if FORMATS[kind].origins else [IMPORTED] * len(chosen))


@pytest.mark.parametrize("kind", ["gpkg", "geojson", "csv", "kml", "shp"])
def test_how_places_were_chosen_comes_back_and_files_that_do_not_say_it_were_imported(tmp_path, kind):
    labels = [Label(f"p{n}", 1 + n % 2, "point", (at(50 * n, 30),), origin=one) for n, one in enumerate(ORIGINS)]
    labels += [box("a", 500, 0, origin="group"), Label("b", 2, "brush", (at(800, 300), at(900, 300)), 12.5)]
    path = write_labels(tmp_path / "a", kind, labels, CLASSES, GRID, V2).path
    log = LabelLog(tmp_path / "log.jsonl")
    got = read_labels(path, GRID)
    log.import_labels(got.classes, got.labels)
    points = {round(one.xy[0][0]): one.origin for one in log.labels if one.kind == "point"}
    assert {x: points[x] for x in (round(one.xy[0][0]) for one in labels[:5])} == {
        round(one.xy[0][0]): one.origin for one in labels[:5]
    }
    assert sorted(one.origin for one in log.labels) == sorted(one.origin for one in labels)


def test_labels_of_a_file_from_before_it_was_kept_were_imported(tmp_path):
    value = json.loads(
        write_labels(tmp_path / "a.geojson", "geojson", [GATE, RING], CLASSES, GRID, V2).path.read_text()
    )
    for said in (None, "GPS walk", 7):
        for feature in value["features"]:
            feature["properties"].pop("origin", None)
            if said is not None:
                feature["properties"]["origin"] = said
        (tmp_path / "old.geojson").write_text(json.dumps(value))
        assert {one.origin for one in read_labels(tmp_path / "old.geojson", GRID).labels} == {IMPORTED}


# Readers tidy stray underscores away, and XML cannot hold the last two characters of a plane.
NAMES = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="_\ufffe\uffff"), min_size=1, max_size=30
)


@pytest.mark.parametrize("kind", list(FORMATS))
@given(NAMES.map(clean_name).filter(bool), NAMES.map(clean_name))
@settings(max_examples=20, deadline=None)
def test_any_name_and_code_of_a_class_come_back(tmp_path_factory, kind, name, code):
    ours = LabelClass(1, name, "#ff0000", code)
    labels = [Label("q", 1, "point", (at(5, 5),)), box("a", 100, 100)]
    path = tmp_path_factory.mktemp("names") / "a"
    got = read_labels(write_labels(path, kind, labels, [ours], GRID, V2).path, GRID)
    assert [c.name for c in got.classes] == [ours.name]
    assert got.classes[0].code == (ours.code if FORMATS[kind].codes else "")


def test_the_real_cairngorms_points_come_back_from_every_format(tmp_path, shared):
    grid = Grid("EPSG:32630", Affine(100, 0, 380_000, 0, -100, 6_400_000), (1200, 1200))
    real = read_labels(shared / "data" / "labels" / "cairngorms_labels.json", grid)
    assert len(real.labels) == 119
    names = {c.id: c.name for c in real.classes}
    for kind in FORMATS:
        got = read_labels(write_labels(tmp_path / kind, kind, real.labels, real.classes, grid, V2).path, grid)
        theirs = {c.id: c.name for c in got.classes}
        assert [theirs[label.class_id] for label in got.labels] == [names[label.class_id] for label in real.labels]
        places = [np.array([label.xy[0] for label in some]) for some in (real.labels, got.labels)]
        np.testing.assert_allclose(*places, atol=PLACE)


@given(label_lists())
@settings(max_examples=15, deadline=None)
def test_a_table_has_every_label_at_a_place_inside_it(tmp_path_factory, labels):
    features = label_features(labels, CLASSES)
    if not features:
        return
    written = write_labels(tmp_path_factory.mktemp("round") / "a.csv", "csv", labels, CLASSES, GRID, V2)
    got = read_labels(written.path, GRID)
    assert len(got.labels) == len(features)
    for feature, (name, code, _, _, label) in zip(features, found(got), strict=True):
        assert (name, code, label.kind) == (feature.klass.name, feature.klass.code, "point")
        assert shape_of(label).distance(feature.geometry) < PLACE


@given(label_lists())
@settings(max_examples=15, deadline=None)
def test_the_notebook_learns_from_the_pixels_we_learn_from(tmp_path_factory, labels):
    if not label_features(labels, CLASSES):
        return
    written = write_labels(tmp_path_factory.mktemp("round") / "a.json", "notebook", labels, CLASSES, GRID, V2)
    value = json.loads(written.path.read_text(encoding="utf-8"))
    if not value["training_points"]:
        return
    got = read_labels(written.path, GRID)
    assert {c.name: c.color for c in got.classes}.items() <= value["class_color_map"].items()
    ours, theirs = rasterise(labels, GRID)[0], rasterise(got.labels, GRID)[0]
    names = {c.id: c.name for c in got.classes}
    points = {
        tuple(np.floor(GRID.xy_to_pixel(f.label.xy[0][0] + dx, f.label.xy[0][1] + dy)).astype(int))
        for f in label_features(labels, CLASSES)
        if f.label.kind == "point"
        # One on the border of two pixels may fall on either side of it.
        for dx in (-PLACE, PLACE)
        for dy in (-PLACE, PLACE)
    }
    for row, col in np.argwhere(theirs):
        # The place of a point is kept though a later area covers its pixel.
        if (row, col) not in points:
            assert names[theirs[row, col]] == {c.id: c.name for c in CLASSES}[ours[row, col]]


def test_the_notebook_gets_some_pixels_of_an_area_and_the_same_ones_again(tmp_path):
    labels = [box("a", 0, 0, 200), box("b", 300, 0, 40, 2), GATE]
    value = [
        json.loads(
            write_labels(tmp_path / name, "notebook", labels, CLASSES, GRID, V2).path.read_text(encoding="utf-8")
        )
        for name in ("a", "b")
    ]
    assert value[0] == value[1]
    names = [name for _, name in value[0]["training_points"]]
    assert names.count(CLASSES[0].name) == PIXELS_PER_AREA
    # One of the 16 pixels of the second area is the point's, which was set later.
    assert names.count(CLASSES[1].name) == 15 + 1
    assert value[0]["class_color_map"] == {c.name: c.color for c in CLASSES}


def test_a_shapefile_has_two_layers_in_degrees_and_keeps_the_order_of_painting(tmp_path):
    labels = [GATE, RING, Label("q", 1, "point", (at(50, 20),)), box("over", 10, 10, 20, 2)]
    written = write_labels(tmp_path / "fen", "shp", labels, CLASSES, GRID, V2)
    assert written.path.name == "fen.zip"
    with zipfile.ZipFile(written.path) as archive:
        names = set(archive.namelist())
        assert names >= {
            f"{layer}.{end}" for layer in ("areas", "points") for end in ("shp", "shx", "dbf", "prj", "cpg")
        }
        assert "WGS" in archive.read("areas.prj").decode()
    info = pyogrio.read_info(f"/vsizip/{written.path.as_posix()}/areas.shp")
    assert (info["crs"], info["features"]) == ("EPSG:4326", 2)
    assert list(info["fields"]) == ["name", "code", "color", "type", "note", "paint_ord", "origin"]
    got = read_labels(written.path, GRID)
    assert got.report.notes[0] == "areas.shp, points.shp were read as one."
    same(expected(labels, "shp"), got)
    only = write_labels(tmp_path / "only", "shp", [GATE], CLASSES, GRID, V2).path
    assert not [name for name in zipfile.ZipFile(only).namelist() if "areas" in name]


def test_a_shapefile_has_single_polygons_only(tmp_path):
    labels = [box("a", 0, 0), ERASE, RING, box("b", 300, 0, class_id=2)]
    path = write_labels(tmp_path / "fen", "shp", labels, CLASSES, GRID, V2).path
    shapes = shapely.from_wkb(pyogrio.raw.read(f"/vsizip/{path.as_posix()}/areas.shp")[2])
    assert [shape.geom_type for shape in shapes] == ["Polygon"] * 4
    assert [len(shape.interiors) for shape in shapes] == [0, 0, 2, 0]


def test_shapefiles_of_different_columns_are_not_read_as_one(tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    for name, field in (("crops", "crop"), ("roads", "kind")):
        pyogrio.raw.write(
            folder / f"{name}.shp",
            geometry=np.array([shapely.to_wkb(shapely.Point(at(0, 0)))], dtype=object),
            field_data=[np.array([name], dtype=object)],
            fields=np.array([field], dtype=object),
            geometry_type="Point",
            crs=GRID.crs,
        )
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    got = read_labels(tmp_path / "a.zip", GRID)
    assert [c.name for c in got.classes] == ["crops"]
    assert "Only crops.shp was read" in got.report.notes[0]


def test_the_table_of_tee(tmp_path):
    path = write_labels(tmp_path / "a.csv", "csv", [GATE, box("a", 0, 0, 40)], CLASSES, GRID, V2).path
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["name", "code", "type", "lat", "lon", "pixel_count", "origin"]
    assert [(r["name"], r["code"], r["type"], r["pixel_count"]) for r in rows] == [
        (CLASSES[1].name, "007", "point", "1"),
        (CLASSES[0].name, "", "polygon", "16"),
    ]


def test_the_files_of_tee(tmp_path):
    labels = [GATE, RING]
    value = json.loads(write_labels(tmp_path / "a", "tee", labels, CLASSES, GRID, V2).path.read_text(encoding="utf-8"))
    assert [f["geometry"]["type"] for f in value["features"]] == ["Point", "Polygon"]
    assert len(value["features"][1]["geometry"]["coordinates"]) == 1
    assert value["features"][0]["properties"] == {
        "name": CLASSES[1].name,
        "code": "007",
        "color": "#0000ff",
        "type": "point",
    }
    path = write_labels(tmp_path / "b", "tee-manual", labels, CLASSES, GRID, V2, "Fen").path
    value = json.loads(path.read_text(encoding="utf-8"))
    assert {k: v for k, v in value.items() if k != "labels"} == {
        "viewport": "Fen",
        "year": "2023",
        "embedding_version": "2.0",
        "schema": "none",
    }
    point, ring = value["labels"]
    assert (point["type"], point["vertices"], point["embedding"], point["threshold"]) == ("point", None, None, 0)
    assert (ring["type"], len(ring["vertices"]), ring["pixelCount"]) == ("polygon", 4, 96)
    lat, lon = ring["vertices"][0]
    assert (lon, lat) == pytest.approx((3.0, 50.5425), abs=1e-3)


def test_kml_has_a_colour_a_class_and_holes(tmp_path):
    text = write_labels(tmp_path / "a", "kml", [RING, GATE], CLASSES, GRID, V2, "A & B").path.read_text(
        encoding="utf-8"
    )
    assert "<name>A &amp; B</name>" in text
    # Alpha, blue, green, red.
    assert "<color>ffff0000</color>" in text
    assert text.count("<innerBoundaryIs>") == 2
    assert '<Data name="code">' in text


def test_characters_that_xml_cannot_hold_do_not_spoil_a_file(tmp_path):
    odd = [LabelClass(1, "Wood \ufffe fen", "#ff0000")]
    got = read_labels(write_labels(tmp_path / "a", "kml", [box("a", 0, 0)], odd, GRID, V2).path, GRID)
    assert [c.name for c in got.classes] == ["Wood fen"]


@pytest.mark.parametrize(
    ("kind", "labels", "told"),
    [
        ("tee", [RING], "2 holes are dropped"),
        ("tee", [box("a", 0, 0), ERASE], "1 area in several parts becomes a label for each part."),
        ("tee", [GATE], "1 note is not kept."),
        ("tee", [GATE], "raise the slider"),
        ("tee", [box("a", 0, 0, origin="suggestion")], "How the places of 1 label were chosen is not kept."),
        ("tee-manual", [GATE], "no embeddings"),
        ("tee-manual", [STROKE], "1 brush stroke becomes the area covered."),
        ("csv", [RING, box("a", 200, 0)], "2 areas become one point each, inside the area."),
        ("csv", [GATE], "Colours are not kept."),
        ("notebook", [RING], "1 area becomes points in the middle of pixels, at most 50 an area"),
        ("notebook", [box("under", 20, 20, 20), box("a", 0, 0, class_id=2)], "1 area is left out for want of a pixel"),
        ("notebook", [GATE], "Codes of classes are not kept."),
        ("shp", [box("a", 0, 0, note="ä" * 200)], "1 text is cut to 254 bytes."),
        ("shp", [box("a", 0, 0), ERASE], "1 area in several parts becomes a label for each part."),
        ("shp", [RING, GATE], "points.shp and areas.shp"),
        ("shp", [STROKE, STROKE], "2 brush strokes become the area covered."),
        (
            "gpkg",
            [STROKE, Label("e", 0, "erase", (at(50, 300),), 20)],
            "1 brush stroke becomes an area: erased in part.",
        ),
        ("geojson", [GATE], "Classes without labels are not in the file: Wood & <fen>."),
    ],
)
def test_what_a_format_cannot_hold_is_told(tmp_path, kind, labels, told):
    lost = losses(kind, labels, CLASSES, GRID)
    assert [line for line in lost if told in line], lost
    assert all(line.endswith(".") for line in lost)
    assert write_labels(tmp_path / "a", kind, labels, CLASSES, GRID, V2).losses == lost


def test_nothing_is_said_to_be_lost_where_nothing_is():
    for kind in ("gpkg", "geojson", "kml"):
        assert losses(kind, [RING, GATE], CLASSES, GRID) == []
    for labels in ([RING, box("a", 300, 0, class_id=2)], [GATE, Label("q", 1, "point", (at(50, 20),))]):
        assert losses("shp", labels, CLASSES, GRID) == []


@pytest.mark.parametrize("kind", sorted(set(FORMATS) - {"gpkg"}))
def test_labels_without_a_place_are_refused_in_one_sentence(tmp_path, kind):
    labels = [Label("p", 1, "point", ((3.5, -2.5),))]
    with pytest.raises(InputError, match=r"no place on Earth, which .* needs; export them as GeoPackage"):
        write_labels(tmp_path / "a", kind, labels, CLASSES, Grid.local((10, 10)), V2)
    assert list(tmp_path.iterdir()) == []


def test_no_labels_make_no_file(tmp_path):
    for kind in FORMATS:
        with pytest.raises(InputError, match="no labels"):
            write_labels(tmp_path / "a", kind, [ERASE], CLASSES, GRID, V2)
    assert list(tmp_path.iterdir()) == []


def test_the_ending_says_the_format_where_it_can():
    assert [kind_of(f"a.{end}") for end in ("gpkg", "geojson", "csv", "KML", "zip")] == [
        "gpkg",
        "geojson",
        "csv",
        "kml",
        "shp",
    ]
    with pytest.raises(InputError, match="several kinds; choose one: tee-manual, notebook, classes"):
        kind_of("a.json")
    with pytest.raises(InputError, match="does not say"):
        kind_of("labels")


def test_classes_come_back_as_a_tree(tmp_path):
    tree = parse_tree("Land\n    Wood & <fen>\n    Heath")
    for kind in ("classes", "classes-text"):
        written = write_classes(tmp_path / "a", kind, [*CLASSES[:1], LabelClass(3, "Road", "#00ff00")], tree)
        got = parse_tree(written.path.read_text(encoding="utf-8"))
        assert [(n.name, n.depth, n.color) for n in got.nodes] == [
            ("Land", 0, ""),
            ("Wood & <fen>", 1, "#ff0000"),
            ("Heath", 1, ""),
            ("Road", 0, "#00ff00"),
        ]
        assert written.losses == []
    value = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert {"name", "version", "date", "tree"} <= set(value)
    odd = [LabelClass(1, "2 lanes", "#00ff00")]
    assert "read as one" in write_classes(tmp_path / "b", "classes-text", odd, None).losses[0]
    assert parse_tree(write_classes(tmp_path / "b", "classes", odd, None).path.read_text()).nodes[0].name == "2 lanes"
    with pytest.raises(InputError, match="no classes"):
        write_classes(tmp_path / "c", "classes", [], ClassTree("", ()))
