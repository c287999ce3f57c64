import json
import zipfile

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from tessera_core.errors import LabelError
from tessera_core.export.vector import write_labels_geojson, write_labels_gpkg
from tessera_core.grid import Grid
from tessera_core.labels.crs_guess import usual_systems
from tessera_core.labels.files import patches, questions, read_class_raster, read_labels, survey
from tessera_core.labels.importing import parse_color
from tessera_core.labels.log import LabelLog
from tessera_core.labels.model import Label, LabelClass
from tessera_core.labels.sampling import geometry_pixels, label_pixels
from tessera_core.provenance import Provenance
from tests.factories import make_grid

GRID = make_grid((400, 500))
CLASSES = [LabelClass(1, "Wood & <fen>", "#ff0000"), LabelClass(2, "Wässer", "#0000ff", "w1")]
V2 = Provenance("tessera", "2.0", "2B-L", year=2023)


def lonlat(row, col, grid=GRID):
    lon, lat = grid.pixel_to_lonlat(row, col)
    return float(lon), float(lat)


def write(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def feature(geometry, **properties):
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def collection(*features, **members):
    return {"type": "FeatureCollection", "features": list(features), **members}


def point(row, col, **properties):
    return feature({"type": "Point", "coordinates": lonlat(row, col)}, **properties)


def pixel_of(label, grid=GRID):
    rows, cols = grid.xy_to_pixel([label.xy[0][0]], [label.xy[0][1]])
    return int(rows[0]), int(cols[0])


# ------------------------------------------------------------------- GeoJSON


def test_points_polygons_holes_and_multipolygons(tmp_path):
    ring = [lonlat(10, 10), lonlat(10, 40), lonlat(40, 40), lonlat(40, 10), lonlat(10, 10)]
    hole = [lonlat(20, 20), lonlat(30, 20), lonlat(30, 30), lonlat(20, 30), lonlat(20, 20)]
    other = [lonlat(50, 10), lonlat(50, 20), lonlat(60, 20), lonlat(50, 10)]
    value = collection(
        point(5.5, 6.5, label="Wood"),
        feature({"type": "Polygon", "coordinates": [ring, hole]}, label="Water"),
        feature({"type": "MultiPolygon", "coordinates": [[ring], [other]]}, label="wood "),
        feature(None, label="Wood"),
        feature({"type": "LineString", "coordinates": [lonlat(1, 1), lonlat(9, 9)]}, label="Road"),
        point(7, 7, label=None),
        point(1e5, 1e5, label="Wood"),
    )
    got = read_labels(write(tmp_path / "a.geojson", value), GRID)
    assert [c.name for c in got.classes] == ["Wood", "Water", "Road"]
    assert [(label.kind, label.class_id) for label in got.labels] == [
        ("point", 1),
        ("polygon", 2),
        ("polygon", 1),
        ("polygon", 1),
        ("brush", 3),
    ]
    assert pixel_of(got.labels[0]) == (5, 6)
    assert len(got.labels[1].holes) == 1
    assert got.labels[4].radius == 5
    report = got.report
    assert (report.read, report.labels, report.outside) == (7, 5, 1)
    assert report.notes == ["The classes were taken from the field 'label'."]
    assert any("without a geometry" in text for text in report.skipped)
    assert any("without a class" in text for text in report.skipped)
    assert any("outside the region" in text for text in report.skipped)
    assert any("taken apart" in text for text in report.repaired)
    assert "7 features read, 5 labels made" in report.summary()


def test_invalid_geometries_are_repaired(tmp_path):
    bow_tie = [lonlat(10, 10), lonlat(30, 30), lonlat(30, 10), lonlat(10, 30), lonlat(10, 10)]
    value = collection(feature({"type": "Polygon", "coordinates": [bow_tie]}, label="Wood"))
    got = read_labels(write(tmp_path / "a.geojson", value), GRID)
    assert len(got.labels) == 2
    assert any("invalid geometries repaired" in text for text in got.report.repaired)


def test_swapped_latitude_and_longitude_are_noticed(tmp_path):
    value = collection(*(feature({"type": "Point", "coordinates": lonlat(n, n)[::-1]}, label="a") for n in range(5)))
    got = read_labels(write(tmp_path / "a.geojson", value), GRID)
    assert [pixel_of(label) for label in got.labels[1:]] == [(n, n) for n in range(1, 5)]
    assert "swapped" in got.report.notes[-1]


def test_missing_coordinates_as_zero_are_skipped(tmp_path):
    zero = feature({"type": "Point", "coordinates": [0, 0]}, label="a")
    got = read_labels(write(tmp_path / "a.geojson", collection(zero, point(1, 1, label="a"))), GRID)
    assert len(got.labels) == 1
    assert "0, 0" in got.report.skipped[0]


@pytest.mark.parametrize("declared", ["EPSG:2154", "urn:ogc:def:crs:EPSG::2154", "EPSG:27700"])
def test_any_crs_is_brought_to_the_grid(tmp_path, declared):
    crs = declared.replace("urn:ogc:def:crs:EPSG::", "EPSG:")
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(*lonlat(20.5, 30.5))
    value = collection(
        feature({"type": "Point", "coordinates": [x, y]}, label="a"),
        crs={"type": "name", "properties": {"name": declared}},
    )
    got = read_labels(write(tmp_path / "a.geojson", value), GRID)
    assert pixel_of(got.labels[0]) == (20, 30)


def test_metres_in_a_geojson_that_says_degrees(tmp_path):
    x, y = GRID.pixel_to_xy(20.5, 30.5)
    value = collection(feature({"type": "Point", "coordinates": [float(x), float(y)]}, label="a"))
    got = read_labels(write(tmp_path / "a.geojson", value), GRID)
    assert pixel_of(got.labels[0]) == (20, 30)
    assert any("too large for degrees" in note for note in got.report.notes)


def test_the_class_field_can_be_chosen(tmp_path):
    path = write(tmp_path / "a.geojson", collection(point(1, 1, name="x", Crop=3.0), point(2, 2, name="y", Crop=4)))
    assert [c.name for c in read_labels(path, GRID).classes] == ["x", "y"]
    assert [c.name for c in read_labels(path, GRID, "crop").classes] == ["3", "4"]
    with pytest.raises(LabelError, match=r"no field 'soil'; its fields are: name, Crop"):
        read_labels(path, GRID, "soil")


def test_too_many_values_are_no_classes(tmp_path):
    path = write(tmp_path / "a.geojson", collection(*(point(1, 1, label=f"n{n}") for n in range(300))))
    with pytest.raises(LabelError, match="300 different values"):
        read_labels(path, GRID)


def test_a_file_without_classes_becomes_one_class(tmp_path):
    got = read_labels(write(tmp_path / "solar.geojson", collection(point(1, 1), point(2, 2))), GRID)
    assert [c.name for c in got.classes] == ["solar"]
    assert "names no classes" in got.report.notes[0]


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "Point", "coordinates": []},
        {"type": "Point", "coordinates": ["a", "b"]},
        {"type": "Point"},
        {"type": "Polygon", "coordinates": [[[1, 2]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]},
        {"type": "Nonsense", "coordinates": [1, 2]},
        {"coordinates": [1, 2]},
        "text",
        7,
    ],
)
def test_damaged_geometries_are_counted_not_fatal(tmp_path, geometry):
    value = collection(feature(geometry, label="a"), point(1, 1, label="a"), 3)
    got = read_labels(write(tmp_path / "a.geojson", value), GRID)
    assert len(got.labels) == 1
    assert got.report.read == 3
    assert len(got.report.skipped) >= 1


# ------------------------------------------------- TEE and the notebook's JSON


def test_manual_labels_of_tee(tmp_path):
    lon, lat = lonlat(5.5, 6.5)
    square = [lonlat(10, 10), lonlat(10, 20), lonlat(20, 20), lonlat(20, 10)]
    labels = [
        {
            "name": "Wood",
            "color": "hsl(120, 100%, 25%)",
            "code": "w1",
            "type": "point",
            "lat": lat,
            "lon": lon,
            "embedding": [1],
        },
        {"name": "Fen", "color": "#ABCDEF", "type": "polygon", "vertices": [[b, a] for a, b in square]},
        {"name": "Wood", "type": "similarity", "lat": lat, "lon": lon},
        {"name": "Bad", "type": "point", "lat": 0, "lon": 0},
        {"name": "Hidden", "type": "point", "embedding": [1, 2]},
        {"type": "point", "lat": lat, "lon": lon},
    ]
    value = {"viewport": "fens", "year": "2023", "embedding_version": "1.1", "schema": "ukhab", "labels": labels}
    got = read_labels(write(tmp_path / "manual-labels-fens.json", value), GRID)
    assert [(c.name, c.color, c.code) for c in got.classes] == [("Wood", "#008000", "w1"), ("Fen", "#abcdef", "")]
    assert [label.kind for label in got.labels] == ["point", "polygon", "point"]
    assert pixel_of(got.labels[0]) == (5, 6)
    assert any("fens" in note and "1.1" in note for note in got.report.notes)
    assert any("anew" in note for note in got.report.notes)
    assert got.report.read == 6
    assert any("hidden" in text for text in got.report.skipped)


def test_saved_labels_of_tee_and_bare_arrays(tmp_path):
    lon, lat = lonlat(5.5, 6.5)
    labels = [
        {
            "id": "label_1",
            "name": "Wood",
            "color": "#00ff00",
            "source_pixel": {"lat": lat, "lon": lon},
            "pixel_coords": [1, 2],
        },
        {"id": "label_1", "name": "Wood", "source_pixel": {"lat": lat, "lon": lon}},
        {"id": "label_2", "name": "Cluster", "source_pixel": None, "pixel_coords": [1, 2]},
    ]
    for value in (labels, {"viewport": "v", "year": "2023", "labels": labels}):
        got = read_labels(write(tmp_path / "v_labels.json", value), GRID)
        assert len(got.labels) == 1
        assert any("duplicates" in text for text in got.report.skipped)
        assert any("pixel numbers" in text for text in got.report.skipped)


def test_the_notebook_format(tmp_path):
    points = [[list(lonlat(n + 0.5, n + 0.5))[::-1], "a" if n else "b"] for n in range(3)]
    value = {"training_points": points, "class_color_map": {"b": "#123456"}}
    for nested in (value, {**value, "training_points": [points]}):
        got = read_labels(write(tmp_path / "x.json", nested), GRID)
        assert [pixel_of(label) for label in got.labels] == [(0, 0), (1, 1), (2, 2)]
        assert got.classes[0].color == "#123456"
    got = read_labels(write(tmp_path / "x.json", {"training_points": [*points, [1, 2], "x", [["a", 1], "b"]]}), GRID)
    assert got.report.read == 6
    assert len(got.labels) == 3


# -------------------------------------------------------------------- tables


@pytest.mark.parametrize(
    ("header", "delimiter", "decimal"),
    [
        ("name,lat,lon", ",", "."),
        ("Label;Latitude;Longitude", ";", ","),
        ("class\ty\tx", "\t", "."),
        ("name,code,type,lat,lon,pixel_count", ",", "."),
    ],
)
def test_tables_of_every_kind(tmp_path, header, delimiter, decimal):
    names = header.split(delimiter)
    lines = [header]
    for n in range(4):
        lon, lat = lonlat(n + 0.5, n + 1.5)
        cells = {"lat": lat, "Latitude": lat, "y": lat, "lon": lon, "Longitude": lon, "x": lon, "code": f"c{n}"}
        lines.append(delimiter.join(str(cells.get(name, "Wood")).replace(".", decimal) for name in names))
    lines.append(delimiter.join("?" for _ in names))
    got = read_labels(write(tmp_path / "a.csv", "\ufeff" + "\r\n".join(lines) + "\n\n"), GRID)
    assert [pixel_of(label) for label in got.labels] == [(n, n + 1) for n in range(4)]
    assert "no numbers" in got.report.skipped[0]


def test_tables_of_metres_pixels_and_wkt(tmp_path):
    x, y = (float(v) for v in GRID.pixel_to_xy(3.5, 4.5))
    for text in (
        f"class,x,y\na,{x},{y}\n",
        f"class,easting,northing\na,{x},{y}\n",
        "class,row,col\na,3,4\n",
        f'class,wkt\na,"POINT ({x} {y})"\n',
    ):
        got = read_labels(write(tmp_path / "a.csv", text), GRID)
        assert pixel_of(got.labels[0]) == (3, 4), text
    swapped = "class,lat,lon\n" + "".join("a,{},{}\n".format(*lonlat(n + 0.5, 4.5)) for n in range(3))
    got = read_labels(write(tmp_path / "a.csv", swapped), GRID)
    assert pixel_of(got.labels[0]) == (0, 4)
    assert "swapped" in got.report.notes[-1]


def test_only_projected_coordinates_without_a_system_are_asked_about(tmp_path):
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:2154", always_xy=True).transform(*lonlat(3.5, 4.5))
    metres = write(tmp_path / "m.csv", f"x,y,class\n{x},{y},Wood\n")
    assert questions(metres).crs
    assert "EPSG:2154" in usual_systems(GRID).values()
    assert next(iter(usual_systems(GRID).values())) == GRID.crs
    assert pixel_of(read_labels(metres, GRID, crs="EPSG:2154").labels[0]) == (3, 4)
    assert not questions(write(tmp_path / "d.csv", "x,y,class\n3.1,50.5,Wood\n")).crs
    assert not questions(write(tmp_path / "p.csv", "row,col,class\n300,400,Wood\n")).crs
    assert not questions(write_ogr(tmp_path / "a.gpkg", "GPKG", "EPSG:2154")).crs
    assert not questions(write(tmp_path / "n.json", {"training_points": [[[50.5, 3.1], "Wood"]]})).crs


@pytest.mark.parametrize("name", ["plots.xlsx", "plots.XLS", "plots.ods"])
def test_of_a_workbook_it_is_said_what_to_do_with_it(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(LabelError, match=rf"{name} is a workbook.*Save the sheet with the places as CSV"):
        read_labels(tmp_path / name, GRID)


def test_a_table_without_coordinates_says_what_was_looked_for(tmp_path):
    with pytest.raises(LabelError, match=r"no columns of coordinates.*its columns are: a, b"):
        read_labels(write(tmp_path / "a.csv", "a,b\n1,2\n"), GRID)
    with pytest.raises(LabelError, match=r"empty or no table|no columns"):
        read_labels(write(tmp_path / "a.csv", ""), GRID)
    (tmp_path / "b.csv").write_bytes(b"PK\x03\x04\x00\x00\x00")
    with pytest.raises(LabelError, match="not a text file"):
        read_labels(tmp_path / "b.csv", GRID)


# -------------------------------------------------------------- vector files


def write_ogr(path, driver, crs, coordinates=((3.5, 4.5), (5.5, 6.5)), **options):
    x, y = GRID.pixel_to_xy(*np.array(coordinates).T)
    x, y = Transformer.from_crs(GRID.crs, crs or GRID.crs, always_xy=True).transform(x, y)
    pyogrio.raw.write(
        path,
        geometry=np.array([shapely.to_wkb(shapely.Point(a, b)) for a, b in zip(x, y, strict=True)], dtype=object),
        field_data=[np.array(["Wood", "Water"], dtype=object)],
        fields=np.array(["crop"], dtype=object),
        geometry_type="Point",
        crs=crs,
        driver=driver,
        **options,
    )
    return path


def expect_two(got):
    assert [pixel_of(label) for label in got.labels] == [(3, 4), (5, 6)]
    assert [c.name for c in got.classes] == ["Wood", "Water"]


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:2154"])
def test_zipped_shapefiles_with_their_projection(tmp_path, crs):
    (tmp_path / "s").mkdir()
    write_ogr(tmp_path / "s" / "crops.shp", "ESRI Shapefile", crs)
    with zipfile.ZipFile(tmp_path / "crops.zip", "w") as archive:
        for file in (tmp_path / "s").iterdir():
            archive.write(file, f"inner folder/{file.name}")
    expect_two(read_labels(tmp_path / "crops.zip", GRID))
    expect_two(read_labels(tmp_path / "s" / "crops.shp", GRID, "CROP"))
    (tmp_path / "s" / "crops.prj").unlink()
    got = read_labels(tmp_path / "s" / "crops.shp", GRID)
    expect_two(got)
    if crs != "EPSG:4326":
        assert "EPSG:2154" in got.report.notes[-1]


def test_geopackage_and_flatgeobuf(tmp_path):
    expect_two(read_labels(write_ogr(tmp_path / "a.gpkg", "GPKG", "EPSG:2154"), GRID))
    expect_two(
        read_labels(
            write_ogr(tmp_path / "a.fgb", "FlatGeobuf", "EPSG:4326", layer_options={"SPATIAL_INDEX": "NO"}), GRID
        )
    )


def test_kml(tmp_path):
    (lon, lat), ring = lonlat(3.5, 4.5), [lonlat(10, 10), lonlat(10, 20), lonlat(20, 20), lonlat(10, 10)]
    corners = " ".join(f"{a},{b},0" for a, b in ring)
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document><Folder><name>F</name>'
        f"<Placemark><name>Wood</name><Point><coordinates>{lon},{lat},12</coordinates></Point></Placemark>"
        "<Placemark><name>Water</name><Polygon><outerBoundaryIs><LinearRing>"
        f"<coordinates>{corners}</coordinates></LinearRing></outerBoundaryIs></Polygon></Placemark>"
        "</Folder></Document></kml>"
    )
    got = read_labels(write(tmp_path / "a.kml", text), GRID)
    assert [(label.kind, c.name) for label, c in zip(got.labels, got.classes, strict=True)] == [
        ("point", "Wood"),
        ("polygon", "Water"),
    ]
    assert pixel_of(got.labels[0]) == (3, 4)


@pytest.mark.parametrize("name", ["a.gpkg", "a.kml", "a.zip", "a.shp", "a.json", "a.geojson", "a.xlsx", "a.fgb"])
def test_anything_else_is_refused_in_one_sentence(tmp_path, name):
    with pytest.raises(LabelError, match="does not exist"):
        read_labels(tmp_path / name, GRID)
    (tmp_path / name).write_bytes(b"\x01\x02 nonsense {")
    with pytest.raises(LabelError) as caught:
        read_labels(tmp_path / name, GRID)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize("value", [{}, [], {"type": "FeatureCollection"}, [1, 2], "text", None, {"labels": 3}])
def test_json_of_another_kind_is_refused(tmp_path, value):
    with pytest.raises(LabelError):
        read_labels(write(tmp_path / "a.json", value), GRID)


KEYS = (
    *("type", "features", "geometry", "coordinates", "properties", "labels", "training_points", "name", "lat", "lon"),
    *("vertices", "id", "crs", "source_pixel", "kind"),
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-400, 400)
    | st.floats(allow_nan=False)
    | st.sampled_from(
        ["FeatureCollection", "Feature", "Point", "Polygon", "MultiPolygon", "LineString", "brush", "x", ""]
    )
)
TREES = st.recursive(
    LEAVES,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.sampled_from(KEYS), children, max_size=5),
    max_leaves=25,
)
ROOTS = st.one_of(
    TREES,
    st.builds(lambda items: {"type": "FeatureCollection", "features": items}, st.lists(TREES, max_size=4)),
    st.builds(
        lambda kind, c, p: collection(
            {"type": "Feature", "geometry": {"type": kind, "coordinates": c}, "properties": p}
        ),
        st.sampled_from(["Point", "Polygon", "MultiPolygon", "LineString", "GeometryCollection"]),
        TREES,
        TREES,
    ),
    st.builds(
        lambda items: {"labels": items}, st.lists(st.dictionaries(st.sampled_from(KEYS), TREES, max_size=6), max_size=4)
    ),
    st.builds(lambda items: {"training_points": items, "class_color_map": items}, TREES),
)


@given(ROOTS)
@settings(max_examples=200, deadline=None)
def test_any_json_is_labels_or_one_sentence(tmp_path_factory, value):
    path = write(tmp_path_factory.getbasetemp() / "fuzz.json", value)
    try:
        got = read_labels(path, GRID)
    except LabelError:
        return
    assert got.report.labels == len(got.labels)


def test_an_archive_without_vectors_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(LabelError, match="holds no shapefile"):
        read_labels(tmp_path / "a.zip", GRID)


def test_places_cannot_be_found_on_a_raster_without_place(tmp_path):
    path = write(tmp_path / "a.geojson", collection(point(1, 1, label="a")))
    with pytest.raises(LabelError, match="no place on Earth"):
        read_labels(path, Grid.local((10, 10)))
    got = read_labels(write(tmp_path / "a.csv", "class,row,col\na,3,4\n"), Grid.local((10, 10)))
    assert got.labels[0].xy == ((4.5, -3.5),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("#abc", "#aabbcc"),
        ("ABCDEF", "#abcdef"),
        ("#11223344", "#112233"),
        ("rgb(255, 0, 300)", "#ff00ff"),
        ("hsl(0, 100%, 50%)", "#ff0000"),
        ("hsl(240deg 100% 50%)", "#0000ff"),
        ("red;x", None),
        (None, None),
    ],
)
def test_colours_of_every_spelling(text, expected):
    assert parse_color(text) == expected


# ------------------------------------------------------ export, then import


def places(draw, count):
    x = draw(st.lists(st.floats(500_100, 504_900), min_size=count, max_size=count))
    y = draw(st.lists(st.floats(5_596_100, 5_599_900), min_size=count, max_size=count))
    return tuple(zip(x, y, strict=True))


@st.composite
def label_lists(draw):
    labels = []
    for number in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["point", "brush", "polygon", "rectangle"]))
        xy = places(draw, {"point": 1, "brush": 3, "polygon": 1, "rectangle": 1}[kind])
        if kind in ("polygon", "rectangle"):
            (x, y), size = xy[0], draw(st.floats(5, 80))
            xy = ((x, y), (x + size, y), (x + size, y + size), (x, y + size))
        radius = draw(st.floats(1, 60)) if kind == "brush" else 0
        note = draw(st.sampled_from(["", "by the gate", "Ümläut <&>"]))
        labels.append(Label(f"id{number}", draw(st.integers(1, 2)), kind, xy, radius, note))
    return labels


def same(ours, theirs, classes, tolerance):
    names = {c.id: c.name for c in CLASSES}
    their_names = {c.id: c.name for c in classes}
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert (a.id, a.kind, names[a.class_id], a.note) == (b.id, b.kind, their_names[b.class_id], b.note)
        assert a.radius == pytest.approx(b.radius)
        if a.kind in ("polygon", "rectangle"):
            assert shapely.Polygon(a.xy).symmetric_difference(shapely.Polygon(b.xy)).area < tolerance * 400
        else:
            np.testing.assert_allclose(a.xy, b.xy, atol=tolerance)


@given(label_lists())
@settings(max_examples=25, deadline=None)
def test_export_then_import_returns_the_same_labels(tmp_path_factory, labels):
    folder = tmp_path_factory.mktemp("round")
    got = read_labels(write_labels_gpkg(folder / "a.gpkg", labels, CLASSES, GRID, V2), GRID)
    same(labels, got.labels, got.classes, 1e-9)
    assert {(c.name, c.color) for c in got.classes} <= {(c.name, c.color) for c in CLASSES}
    got = read_labels(write_labels_geojson(folder / "a.geojson", labels, CLASSES, GRID, V2), GRID)
    same(labels, got.labels, got.classes, 1e-4)


def test_labels_without_place_go_through_a_geopackage(tmp_path):
    grid = Grid.local((20, 20))
    labels = [Label("a", 1, "point", ((4.5, -3.5),)), Label("b", 2, "polygon", ((1, -1), (5, -1), (5, -5)))]
    got = read_labels(write_labels_gpkg(tmp_path / "a.gpkg", labels, CLASSES, grid, V2), grid)
    same(labels, got.labels, got.classes, 1e-9)


def test_an_import_goes_into_the_log(tmp_path):
    log = LabelLog()
    log.add_class("wood & <FEN>")
    got = read_labels(
        write_labels_gpkg(tmp_path / "a.gpkg", [Label("a", 1, "point", ((500_500, 5_599_000),))], CLASSES, GRID, V2),
        GRID,
    )
    assert log.import_labels(got.classes, got.labels) == 1
    assert [c.name for c in log.classes] == ["wood & <FEN>"]


def test_a_survey_needs_no_region(tmp_path):
    found = survey(
        write(
            tmp_path / "a.geojson", collection(point(1, 1, label="a"), point(2, 2, label="b"), point(3, 3, label="b"))
        )
    )
    assert (found.places, found.classes, found.crs) == (3, {"b": 2, "a": 1}, "EPSG:4326")


# ------------------------------------------------------------- class rasters


def write_classes(path, values, grid=GRID, nodata=None):
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=grid.height,
        width=grid.width,
        count=1,
        dtype=values.dtype,
        crs=grid.crs,
        transform=grid.transform,
        nodata=nodata,
    ) as file:
        file.write(values, 1)
    return path


def test_class_rasters_keep_their_codes_and_patches(tmp_path):
    values = np.zeros(GRID.shape, np.uint16)
    values[:10, :10] = 1200
    values[10:20, 10:20] = 1200
    values[50:60, 50:60] = 9120
    values[70, 70] = 65535
    got = read_class_raster(write_classes(tmp_path / "c.tif", values), GRID)
    assert sorted(np.unique(got.classes)) == [0, 1200, 9120, 65535]
    # Diagonal neighbours are two patches.
    assert got.groups.max() == 4
    np.save(tmp_path / "c.npy", values)
    assert read_class_raster(tmp_path / "c.npy", GRID).classes[70, 70] == 65535


def test_class_rasters_on_another_grid_are_laid_over(tmp_path):
    window = GRID.window(100, 100, 50, 60)
    values = np.full(window.shape, 7, np.uint8)
    got = read_class_raster(write_classes(tmp_path / "c.tif", values, window), GRID)
    assert np.count_nonzero(got.classes) == 50 * 60
    assert got.classes[100, 100] == got.classes[149, 159] == 7
    far = Grid("EPSG:32631", Affine(10, 0, 0, 0, -10, 5_000_000), (5, 5))
    with pytest.raises(LabelError, match="no labelled pixel"):
        read_class_raster(write_classes(tmp_path / "f.tif", np.ones((5, 5), np.uint8), far), GRID)


ELSEWHERE = Grid("EPSG:32631", Affine(20, 0, 500_040, 0, -20, 5_599_900), (100, 120))


@pytest.mark.parametrize("grid", [GRID, ELSEWHERE], ids=["same grid", "another grid"])
@pytest.mark.parametrize("declared", [255, -9999, 300, "mask", "alpha", None, 0])
def test_zero_is_a_class_where_a_raster_declares_another_value_for_no_data(tmp_path, grid, declared):
    values = np.ones(grid.shape, np.uint8 if declared not in (-9999, 300) else np.int16)
    values[:10, :10] = 0
    values[20:30] = 7
    gone = np.zeros(grid.shape, bool)
    gone[40:50] = True
    values[gone] = declared if isinstance(declared, int) and declared else 9
    path = tmp_path / "c.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=grid.height, width=grid.width, count=2 if declared == "alpha" else 1,
        dtype=values.dtype, crs=grid.crs, transform=grid.transform, nodata=declared if isinstance(declared, int) else None,
    ) as file:  # fmt: skip
        file.write(values, 1)
        if declared == "alpha":
            file.write(np.where(gone, 0, 255).astype(np.uint8), 2)
            file.colorinterp = (rasterio.enums.ColorInterp.gray, rasterio.enums.ColorInterp.alpha)
        if declared == "mask":
            file.write_mask(~gone)
    got = read_class_raster(path, GRID)
    scale = 1 if grid is GRID else 4
    zeros = 100 * scale
    report = got.report
    assert report.read == GRID.height * GRID.width == report.used + report.left_out.total()
    if declared in (None, 0):
        assert (got.zero, set(np.unique(got.classes))) == (0, {0, 1, 7, 9})
        assert report.left_out["0, which stands for unlabelled"] >= (zeros if declared is None else 0)
    else:
        assert (got.zero, set(np.unique(got.classes))) <= (8, {0, 1, 7, 8})
        assert np.count_nonzero(got.classes == 8) == zeros
        assert got.own_code(8) == 0
        assert any(f"0 is a class of this raster ({zeros} pixels)" in note for note in report.notes)
        assert (
            report.left_out["no data, or beyond the raster"]
            == GRID.height * GRID.width - scale * (grid.height - 10) * grid.width
        )


def test_negative_codes_are_counted_not_lost(tmp_path):
    values = np.full(GRID.shape, 3, np.int16)
    values[:2] = -4
    got = read_class_raster(write_classes(tmp_path / "c.tif", values), GRID)
    assert got.report.left_out == {"negative codes, which are no classes": 2 * GRID.width}
    assert got.report.used == np.count_nonzero(got.classes) == (GRID.height - 2) * GRID.width


def test_rasters_that_hold_no_classes_are_refused(tmp_path):
    fractions = np.full(GRID.shape, 0.5, np.float32)
    with pytest.raises(LabelError, match="fractions"):
        read_class_raster(write_classes(tmp_path / "c.tif", fractions), GRID)
    np.save(tmp_path / "c.npy", np.ones((3, 4), np.uint8))
    with pytest.raises(LabelError, match="3 x 4"):
        read_class_raster(tmp_path / "c.npy", GRID)
    np.save(tmp_path / "c.npy", np.ones((3, 4, 5), np.uint8))
    with pytest.raises(LabelError, match="3 dimensions"):
        read_class_raster(tmp_path / "c.npy", GRID)
    (tmp_path / "c.tif").write_text("x")
    with pytest.raises(LabelError, match="cannot be read"):
        read_class_raster(tmp_path / "c.tif", GRID)


def test_patches_of_every_class_are_numbered_apart():
    classes = np.array([[1, 1, 2], [3, 1, 2], [1, 3, 3]], np.int32)
    groups = patches(classes)
    assert len(np.unique(groups)) == 5
    assert groups[0, 0] == groups[1, 1] != groups[2, 0]
    assert groups[1, 0] != groups[2, 1] == groups[2, 2]


# ----------------------------------------------------------------- real data

CAIRNGORMS = Grid("EPSG:32630", Affine(100, 0, 380_000, 0, -100, 6_400_000), (1200, 1200))
AZERBAIJAN = Grid("EPSG:32638", Affine(10, 0, 700_000, 0, -10, 4_430_000), (8000, 8000))


def test_both_cairngorms_files_give_119_labels_at_the_same_places(shared):
    folder = shared / "data" / "labels"
    metres = read_labels(folder / "cairngorms_labels.json", CAIRNGORMS)
    degrees = read_labels(folder / "cairngorms_labels_new.json", CAIRNGORMS)
    assert len(metres.labels) == len(degrees.labels) == 119
    np.testing.assert_allclose(
        [label.xy[0] for label in metres.labels], [label.xy[0] for label in degrees.labels], atol=0.01
    )
    assert [label.class_id for label in metres.labels] == [label.class_id for label in degrees.labels]
    assert any("EPSG:27700" in note for note in metres.report.notes)
    assert "heath_" not in {c.name for c in metres.classes}
    assert next(c for c in metres.classes if c.name == "pine_og").color == "#6b3f32"


def test_the_other_real_label_files(shared):
    folder = shared / "data" / "labels"
    cambridge = Grid("EPSG:32631", Affine(10, 0, 290_000, 0, -10, 5_800_000), (3000, 3000))
    points = read_labels(folder / "interactive_map_labels.json", cambridge)
    assert len(points.labels) == 1458
    assert {c.name: c.color for c in points.classes}["Water"] == "#1506cc"
    england = Grid("EPSG:27700", Affine(100, 0, 0, 0, -100, 1_300_000), (13_000, 7000))
    assert len(read_labels(folder / "train_positive.geojson", england).labels) == 2449
    cover = read_labels(folder / "test_area_lulc.geojson", AZERBAIJAN)
    assert cover.report.read == 1704
    assert any("5 invalid geometries repaired" in text for text in cover.report.repaired)
    assert len(cover.labels) >= 1704
    assert len(read_labels(folder / "test_area_crops.geojson", AZERBAIJAN).labels) == 103


def test_the_belgian_fields_have_their_documented_counts(shared):
    folder = shared / "data" / "belgium-2018" / "dpixel"
    grid = Grid("EPSG:32631", Affine(10, 0, 501_360, 0, -10, 5_629_680), (64, 64))
    for name in ("labels_ct.tif", "labels_ct.npy"):
        got = read_class_raster(folder / name, grid)
        fields = {code: len(np.unique(got.groups[got.classes == code])) for code in (1200, 9120, 7900)}
        assert fields == {1200: 4, 9120: 9, 7900: 4}
        assert np.count_nonzero(got.classes == 1200) == 1249


def test_a_great_many_points_are_the_labels_that_each_would_be_alone(tmp_path):
    rng = np.random.default_rng(0)
    lines, n = ["lon,lat,crop,note"], 3000
    rows, cols = rng.uniform(-3, GRID.height + 3, n), rng.uniform(-3, GRID.width + 3, n)
    lon, lat = GRID.pixel_to_lonlat(rows, cols)
    crops, notes = rng.choice(["wheat", "Wheat ", "", "rye"], n), rng.choice(["", "", "wet"], n)
    lines += [f"{a:.7f},{b:.7f},{crop},{note}" for a, b, crop, note in zip(lon, lat, crops, notes, strict=True)]
    (tmp_path / "many.csv").write_text("\n".join(lines))
    many = read_labels(tmp_path / "many.csv", GRID)
    assert many.report.used + sum(many.report.left_out.values()) == n
    # Points that say more than a class are made one by one.
    tall = [
        {"type": "Feature", "properties": {"crop": str(crop), "note": str(note), "kind": "place"},
         "geometry": {"type": "Point", "coordinates": [round(float(a), 7), round(float(b), 7), 5.0]}}
        for a, b, crop, note in zip(lon, lat, crops, notes, strict=True)
    ]  # fmt: skip
    (tmp_path / "tall.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": tall}))
    single = read_labels(tmp_path / "tall.geojson", GRID, "crop")
    assert [(c.id, c.name) for c in many.classes] == [(c.id, c.name) for c in single.classes]
    assert len({label.id for label in many.labels}) == len(many.labels)
    told = [[(label.class_id, label.kind, label.note) for label in found.labels] for found in (many, single)]
    assert told[0] == told[1]
    places = [np.array([label.xy[0] for label in found.labels]) for found in (many, single)]
    np.testing.assert_allclose(*places, rtol=0, atol=1e-6)
    one_by_one: dict[int, int] = {}
    for number, label in enumerate(many.labels):
        for pixel in geometry_pixels(label, GRID).tolist():
            one_by_one[pixel] = number
    pixels = label_pixels(many.labels, GRID)
    flat = pixels.rows.astype(np.int64) * GRID.width + pixels.cols
    assert dict(zip(flat.tolist(), pixels.label_index.tolist(), strict=True)) == one_by_one
