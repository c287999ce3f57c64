"""The invariant of all readers: what was read is used, or left out under a reason, with its count, and conflicts are exact."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections import Counter

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tessera_core.errors import LabelError
from tessera_core.grid import Grid
from tessera_core.labels.conflicts import conflicts_of
from tessera_core.labels.files import read_class_raster, read_labels
from tessera_core.labels.model import Label, LabelClass
from tessera_core.labels.report import OUTSIDE
from tessera_core.labels.sampling import label_pixels
from tessera_core.labels.values import read_value_plots
from tessera_core.sources.remote.points import read_points
from tests.factories import make_grid

GRID = make_grid((40, 50))
CLASSES = ["Water", "Wood", "Maize", ""]
# What a place is, and the reasons under which it may be left out.
GOOD, FAR, NONE, BAD, FLAT = "good", "far", "none", "bad", "flat"
PLACES = st.lists(
    st.tuples(
        st.sampled_from([GOOD, GOOD, GOOD, FAR, NONE, BAD, FLAT]),
        st.integers(0, 39),
        st.integers(0, 49),
        st.sampled_from(CLASSES),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


def xy(row, col, grid=GRID):
    x, y = grid.pixel_to_xy(row + 0.5, col + 0.5)
    return float(x), float(y)


def shape_of(kind, row, col, area):
    """A geometry in the grid's coordinates; None where the place has none."""
    x, y = xy(row, col)
    if kind == NONE:
        return None
    if kind == FAR:
        x += 90_000
    if kind == FLAT:
        # Without extent it is the place that is left of it.
        return shapely.Polygon([(x, y), (x, y), (x, y), (x, y)])
    return shapely.box(x - 12, y - 12, x + 12, y + 12) if area else shapely.Point(x, y)


def in_degrees(shape):
    from tessera_core.grid import transformer

    to = transformer("EPSG:32631", "EPSG:4326")
    return None if shape is None else shapely.transform(shape, to.transform, interleaved=False)


def geojson(folder, rows, lines=False):
    features = []
    for kind, row, col, name, area in rows:
        shape = in_degrees(shape_of(kind, row, col, area))
        geometry = None if shape is None else json.loads(shapely.to_geojson(shape))
        if kind == BAD:
            geometry = {"type": "Polygon", "coordinates": [[["a", 1]]]}
        features.append({"type": "Feature", "geometry": geometry, "properties": {"class": name}})
    path = folder / ("a.ndjson" if lines else "a.geojson")
    if lines:
        path.write_text("\n".join(map(json.dumps, features)))
    else:
        path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def ndjson(folder, rows):
    return geojson(folder, rows, lines=True)


def table(folder, rows, shapes=False):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";")
    writer.writerow(["wkt", "class", "id"] if shapes else ["x", "y", "class", "id"])
    for number, (kind, row, col, name, area) in enumerate(rows):
        shape = shape_of(kind, row, col, area and shapes)
        if shapes:
            cell = "" if shape is None else "POLYGON((1 1, 2" if kind == BAD else f"SRID=32631;{shape.wkt}"
            writer.writerow([cell, name, number])
        else:
            x, y = (
                ("", "")
                if shape is None
                else ("west", "of here")
                if kind == BAD
                else shapely.get_coordinates(shape)[0].tolist()
            )
            writer.writerow([x, y, name, number])
    path = folder / "a.csv"
    path.write_text(text.getvalue())
    return path


def wkt(folder, rows):
    return table(folder, rows, shapes=True)


def kml(folder, rows):
    marks = []
    for kind, row, col, name, area in rows:
        shape = in_degrees(shape_of(kind, row, col, area))
        if shape is None:
            body = ""
        elif kind == BAD:
            body = "<Point><coordinates>here</coordinates></Point>"
        elif shape.geom_type == "Point":
            body = f"<Point><coordinates>{shape.x!r},{shape.y!r}</coordinates></Point>"
        else:
            corners = " ".join(f"{a!r},{b!r}" for a, b in shape.exterior.coords)
            ring = f"<LinearRing><coordinates>{corners}</coordinates></LinearRing>"
            body = f"<Polygon><outerBoundaryIs>{ring}</outerBoundaryIs></Polygon>"
        marks.append(f"<Placemark><name>{name}</name>{body}</Placemark>")
    path = folder / "a.kml"
    path.write_text(f"<kml><Document>{''.join(marks)}</Document></kml>")
    return path


def kmz(folder, rows):
    path = folder / "a.kmz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(kml(folder, rows), "doc.kml")
    return path


def gdal(folder, rows, ending, driver):
    path = folder / f"a.{ending}"
    for old in folder.glob("a.*"):
        old.unlink()
    shapes = [None if kind == BAD else shape_of(kind, row, col, area) for kind, row, col, _, area in rows]
    if driver == "ESRI Shapefile":
        # A shapefile holds one kind of geometry.
        shapes = [None if s is None else s.buffer(12) if s.geom_type == "Point" else s for s in shapes]
    pyogrio.raw.write(
        path,
        geometry=np.array([None if shape is None else shapely.to_wkb(shape) for shape in shapes], dtype=object),
        field_data=[np.array([name for *_, name, _ in rows], dtype=object)],
        fields=np.array(["class"], dtype=object),
        geometry_type="Polygon" if driver == "ESRI Shapefile" else "Unknown",
        crs="EPSG:32631",
        driver=driver,
        **({"layer_options": {"SPATIAL_INDEX": "NO"}} if driver == "FlatGeobuf" else {}),
    )
    return path


def gpkg(folder, rows):
    return gdal(folder, rows, "gpkg", "GPKG")


def flatgeobuf(folder, rows):
    return gdal(folder, rows, "fgb", "FlatGeobuf")


def zipped_shapefile(folder, rows):
    path = gdal(folder, rows, "shp", "ESRI Shapefile")
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for file in folder.glob("a.*"):
            if file.suffix not in (".zip",):
                archive.write(file, file.name)
    return path.with_suffix(".zip")


def tee(folder, rows):
    labels = []
    for n, (kind, row, col, name, area) in enumerate(rows):
        shape = in_degrees(shape_of(kind, row, col, area))
        one = {"id": f"label_{n}", "name": name, "embedding": [1, 2], "type": "similarity" if n % 3 else "point"}
        if kind != BAD and shape is not None and shape.geom_type == "Point":
            one |= {"source_pixel": {"lat": shape.y, "lon": shape.x}, "pixel_coords": [1, 2, 3, 4]}
        elif kind != BAD and shape is not None:
            one |= {"vertices": [[b, a] for a, b in shape.exterior.coords[:-1]]}
        labels.append(one)
    path = folder / "a_labels.json"
    path.write_text(json.dumps({"viewport": "v", "year": "2023", "labels": labels}))
    return path


def notebook(folder, rows):
    points = []
    for kind, row, col, name, _ in rows:
        shape = in_degrees(shape_of(GOOD if kind == FLAT else kind, row, col, False))
        points.append([kind, name] if shape is None or kind == BAD else [[shape.y, shape.x], name])
    path = folder / "a.json"
    path.write_text(json.dumps({"training_points": points, "class_color_map": {"Water": "#0000ff"}}))
    return path


FORMATS = [geojson, ndjson, table, wkt, kml, kmz, gpkg, flatgeobuf, zipped_shapefile, tee, notebook]


def accounts(report, labels):
    assert report.read == report.used + report.left_out.total(), report
    assert report.labels == len(labels) >= report.used
    value = json.loads(json.dumps(report.to_json()))
    assert value["read"] == value["used"] + sum(one["count"] for one in value["left_out"])
    assert all(len(one["examples"]) <= one["count"] for one in value["left_out"])
    assert value["text"][0] == report.summary()
    for why, count in report.left_out.items():
        assert f"{count} skipped: {why}" in report.summary()


@pytest.mark.parametrize("written", FORMATS)
@given(PLACES)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_feature_is_a_label_or_counted_with_its_reason(tmp_path, written, rows):
    rows = [(GOOD, 1, 1, "Water", False), (GOOD, 2, 2, "Wood", False), *rows]
    path = written(tmp_path, rows)
    usable = [(kind, bool(name)) for kind, _, _, name, _ in rows]
    got = read_labels(path, GRID)
    accounts(got.report, got.labels)
    assert got.report.read == len(rows)
    assert got.report.used == sum(kind in (GOOD, FLAT) and classed for kind, classed in usable)
    assert got.report.outside == sum(kind == FAR and classed for kind, classed in usable)
    assert {label.class_id for label in got.labels} <= {c.id for c in got.classes}


@given(PLACES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_conflicts_are_what_painting_the_labels_shows(tmp_path, rows):
    got = read_labels(geojson(tmp_path, [(GOOD, *rest[:2], rest[2] or "Water", rest[3]) for _, *rest in rows]), GRID)
    names = {c.id: c.name for c in got.classes}
    alone = [set(zip(*(a.tolist() for a in label_pixels([label], GRID)[:2]), strict=True)) for label in got.labels]
    pixels = label_pixels(got.labels, GRID)
    owner = dict(
        zip(zip(pixels.rows.tolist(), pixels.cols.tolist(), strict=True), pixels.label_index.tolist(), strict=True)
    )
    covered, contradicting = Counter(), 0
    for n, (label, mine) in enumerate(zip(got.labels, alone, strict=True)):
        covered[names[label.class_id]] += bool(mine) and not any(owner[p] == n for p in mine)
        contradicting += any(got.labels[owner[p]].class_id != label.class_id for p in mine)
    found = got.report.conflicts
    assert found.covered == +covered
    assert found.contradicting == contradicting
    assert set(found.without_pixels) == set(names.values()) - {names[i] for i in pixels.class_ids.tolist()}
    assert found.unplaced == sum(not mine for mine in alone)


def test_no_labels_have_no_conflicts():
    assert conflicts_of([], [], GRID).sentences() == []
    label = Label("a", 1, "point", (xy(3, 3),))
    assert conflicts_of([label], [LabelClass(1, "a", "#000000")], GRID).sentences() == []


@given(
    st.lists(
        st.tuples(st.sampled_from(["1,5", "7", "n/a", "-9999", ""]), st.integers(0, 39), st.booleans()),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_plot_is_a_number_or_counted_with_its_reason(tmp_path, rows):
    lines = ["x;y;height_m", "{};{};3".format(*xy(1, 1))]
    for text, row, far in rows:
        x, y = xy(row, 3)
        lines.append(f"{x + 90_000 * far};{y};{text}")
    (tmp_path / "p.csv").write_text("\n".join(lines))
    got = read_value_plots(tmp_path / "p.csv", GRID)
    accounts(got.report, got.labels)
    assert got.report.read == len(rows) + 1
    assert got.report.used == 1 + sum(text in ("1,5", "7") and not far for text, _, far in rows)
    assert got.report.left_out[OUTSIDE] == sum(text in ("1,5", "7") and far for text, _, far in rows)


@given(
    st.lists(
        st.sampled_from(["3,5;50,1", "3.5;50.1", "?;50", ";", "400;50", "3°30'E;50°6'N", "3.5;50.1;x"]),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_point_to_fetch_has_a_place_or_is_counted(tmp_path, rows):
    (tmp_path / "p.csv").write_text(
        "id;lon;lat\n" + "".join(f"{n};{row}\n" for n, row in enumerate(["3,5;50,1", *rows]))
    )
    found = read_points(tmp_path / "p.csv")
    report = found.report
    assert report.read == len(rows) + 1 == report.used + report.left_out.total()
    assert report.used == np.isfinite(found.lon).sum() == np.isfinite(found.lat).sum()
    assert report.left_out.total() == sum(row in ("?;50", ";", "400;50", "3.5;50.1;x") for row in rows)


@given(
    st.lists(st.integers(-2, 4), min_size=64, max_size=64),
    st.sampled_from([None, 0, 3, -1]),
    st.sampled_from(["int16", "float32"]),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_pixel_of_a_raster_is_labelled_or_counted(tmp_path, values, nodata, dtype):
    grid = Grid("EPSG:32631", GRID.transform, (8, 8))
    array = np.array(values, dtype).reshape(8, 8)
    with rasterio.open(
        tmp_path / "c.tif", "w", driver="GTiff", height=8, width=8, count=1, dtype=dtype, crs=grid.crs, transform=grid.transform,
        nodata=nodata,
    ) as file:  # fmt: skip
        file.write(array, 1)
    labelled = (array > 0) | ((array == 0) & (nodata not in (None, 0)))
    labelled &= array != nodata if nodata is not None else True
    try:
        got = read_class_raster(tmp_path / "c.tif", grid)
    except LabelError:
        assert not labelled.any()
        return
    assert got.report.read == 64 == got.report.used + got.report.left_out.total()
    np.testing.assert_array_equal(got.classes > 0, labelled)
    own = np.vectorize(got.own_code)(got.classes)
    np.testing.assert_array_equal(own[labelled], array[labelled])
