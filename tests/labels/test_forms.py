"""Label files as other programs and people write them: tables of every kind, encodings, layers, KML, what a file declares."""

from __future__ import annotations

import json
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from pyproj import Transformer

from tessera_core.errors import InputError, LabelError
from tessera_core.gate.limits import OWN
from tessera_core.grid import Grid
from tessera_core.labels.features import Hints
from tessera_core.labels.files import read_labels
from tessera_core.labels.text import decode, text_codec
from tessera_core.labels.values import read_value_plots
from tessera_core.sources.remote.points import read_points

GRID = Grid("EPSG:32631", Affine(10, 0, 560_000, 0, -10, 5_765_000), (128, 128))
NAMES = ["Water", "Broadleaf wood", "Grassland", "Maize"]
PLACES = [(5.5 + 9 * n, 7.5 + 8 * n) for n in range(12)]


def xy():
    return [tuple(float(v) for v in GRID.pixel_to_xy(row, col)) for row, col in PLACES]


def lonlat():
    return [tuple(float(v) for v in GRID.pixel_to_lonlat(row, col)) for row, col in PLACES]


def pixels(got):
    return [tuple(int(v[0]) for v in GRID.xy_to_pixel([label.xy[0][0]], [label.xy[0][1]])) for label in got.labels]


def write(path, text, encoding="utf-8"):
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def expect(got, names=NAMES, count=12):
    assert [c.name for c in got.classes] == names
    assert pixels(got) == [(int(row), int(col)) for row, col in PLACES[:count]]
    report = got.report
    assert report.read == report.used + report.left_out.total()
    assert report.labels == len(got.labels)


def table(header, row, mark=","):
    lines = [header]
    for n, ((x, y), (lon, lat)) in enumerate(zip(xy(), lonlat(), strict=True)):
        lines.append(mark.join(str(cell) for cell in row(n, NAMES[n % 4], x, y, lon, lat)))
    return "\n".join(lines) + "\n"


def dms(value, letters):
    letter, value = letters[value < 0], abs(value)
    degrees, minutes = int(value), int(value % 1 * 60)
    return f"{degrees}°{minutes}'{(value * 60 % 1) * 60:.4f}\"{letter}"


def german(value):
    return f"{value:,.2f}".replace(",", " ").replace(".", ",").replace(" ", ".")


def comma(value):
    return str(value).replace(".", ",")


def spaced(value):
    return f"{value:,.0f}".replace(",", "\u00a0", 1).replace(",", " ")


TABLES = {
    "points of ArcGIS": table("OBJECTID,class,POINT_X,POINT_Y", lambda n, k, x, y, lon, lat: (n, k, x, y)),
    "xcoord": table("class,xcoord,ycoord", lambda n, k, x, y, lon, lat: (k, x, y)),
    "Collect Earth Online": table(
        "plotid,center_lon,center_lat,size_m,shape,LAND COVER", lambda n, k, x, y, lon, lat: (n, lon, lat, 30, "square", k)
    ),
    "coords.x1 of R": table("coords.x1,coords.x2,class", lambda n, k, x, y, lon, lat: (x, y, k)),
    "words in names": table("Sample Latitude (deg);Sample Longitude (deg);Crop", lambda n, k, x, y, lon, lat: (lat, lon, k), ";"),
    "German": table("Breite;Länge;Nutzung", lambda n, k, x, y, lon, lat: (comma(lat), comma(lon), k), ";"),
    "Rechtswert": table("Rechtswert\tHochwert\tKlasse", lambda n, k, x, y, lon, lat: (x, y, k), "\t"),
    "line sep=;": "sep=;\r\n" + table("lon;lat;class", lambda n, k, x, y, lon, lat: (lon, lat, k), ";").replace("\n", "\r\n"),
    "remarks first": "# made by hand\n# in 2024\n" + table("lon,lat,class", lambda n, k, x, y, lon, lat: (lon, lat, k)),
    "header behind a #": "#" + table("lon,lat,class", lambda n, k, x, y, lon, lat: (lon, lat, k)),
    "classic Mac": table("lon,lat,class", lambda n, k, x, y, lon, lat: (lon, lat, k)).replace("\n", "\r"),
    "mixed line ends": table("lon,lat,class", lambda n, k, x, y, lon, lat: (lon, lat, k)).replace("\n", "\r\n", 4),
    "blank lines": table("lon,lat,class", lambda n, k, x, y, lon, lat: (lon, lat, k)).replace("\n", "\n\n,,\n", 5),
    "quoted newlines": table(
        "note,lon,lat,class", lambda n, k, x, y, lon, lat: (f'"first {n}\nsecond ""line"" {n}"', lon, lat, k)
    ),
    "degrees, minutes, seconds": table("lat;lon;class", lambda n, k, x, y, lon, lat: (dms(lat, "NS"), dms(lon, "EW"), k), ";"),
    "letters before": table("lat;lon;class", lambda n, k, x, y, lon, lat: (f"N {lat:.7f}", f"E {lon:.7f}", k), ";"),
    "thousands with points": table("x;y;class", lambda n, k, x, y, lon, lat: (german(x), german(y), k), ";"),
    "thousands with commas": table("x;y;class", lambda n, k, x, y, lon, lat: (f"{x:,.1f}", f"{y:,.1f}", k), ";"),
    "thousands with spaces": table("x;y;class", lambda n, k, x, y, lon, lat: (spaced(x), spaced(y), k), ";"),
    "Earth Engine": table(
        "system:index,class,.geo",
        lambda n, k, x, y, lon, lat: (n, k, '"{""type"":""Point"",""coordinates"":[%r,%r]}"' % (lon, lat)),  # noqa: UP031
    ),
    "WKB": table("class,geom", lambda n, k, x, y, lon, lat: (k, shapely.to_wkb(shapely.Point(lon, lat), hex=True))),
    "EWKB": table(
        "class,geom",
        lambda n, k, x, y, lon, lat: (
            k, shapely.to_wkb(shapely.set_srid(shapely.Point(x, y), 32631), hex=True, include_srid=True).lower()
        ),
    ),
    "bytea": table("class,g", lambda n, k, x, y, lon, lat: (k, "\\x" + shapely.to_wkb(shapely.Point(lon, lat), hex=True))),
    "WKT in any column": table("place;class", lambda n, k, x, y, lon, lat: (f"point({lon} {lat})", k), ";"),
    "WKT with Z": table("wkt;class", lambda n, k, x, y, lon, lat: (f"POINT Z ({lon} {lat} 12)", k), ";"),
    "both in one": table("location;class", lambda n, k, x, y, lon, lat: (f"{lat}, {lon}", k), ";"),
    "a column of systems": table("epsg,x,y,class", lambda n, k, x, y, lon, lat: (32631, x, y, k)),
    "lat and lon beside x and y": table("x,y,lon,lat,class", lambda n, k, x, y, lon, lat: (7, 8, lon, lat, k)),
    "empty lat and lon beside x and y": table("lat,lon,x,y,class", lambda n, k, x, y, lon, lat: ("", "", x, y, k)),
    "columns without a name": table("lon,lat,class,,", lambda n, k, x, y, lon, lat: (lon, lat, k, "", "")),
    "names in capitals": table("LONGITUDE,LATITUDE,CLASS", lambda n, k, x, y, lon, lat: (lon, lat, k)),
}  # fmt: skip


@pytest.mark.parametrize("form", TABLES)
def test_a_table_of_any_kind_gives_its_labels(tmp_path, form):
    expect(read_labels(write(tmp_path / "t.csv", TABLES[form]), GRID))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_a_table_in_any_encoding(tmp_path, encoding):
    text = table("lon,lat,class", lambda n, k, x, y, lon, lat: (lon, lat, k)).replace("Water", "Gewässer")
    got = read_labels(write(tmp_path / "t.csv", text, encoding), GRID)
    expect(got, ["Gewässer", *NAMES[1:]])
    assert got.report.encoding == {"utf-8-sig": "UTF-8", "cp1252": "Windows-1252"}.get(
        encoding, encoding[:6].upper().rstrip("-")
    )


def test_mac_roman_is_read_where_a_person_says_so(tmp_path):
    text = table("lon,lat,class", lambda n, k, x, y, lon, lat: (lon, lat, k)).replace("Water", "Gewässer")
    path = write(tmp_path / "t.csv", text, "mac-roman")
    expect(read_labels(path, GRID, hints=Hints(encoding="mac-roman")), ["Gewässer", *NAMES[1:]])
    for told in ("klingon", "hex"):
        with pytest.raises(LabelError, match="no encoding that is known"):
            read_labels(path, GRID, hints=Hints(encoding=told))


def test_there_is_a_most_of_rows_and_places(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["tessera_core.gate.limits"], "OWN", replace(OWN, rows=11))
    for name, text in (("a.csv", TABLES["xcoord"]), ("a.kml", kml(("F", [mark(n, "Water") for n in range(12)])))):
        with pytest.raises(LabelError, match=rf"{name} has more than 11 (rows|places)"):
            read_labels(write(tmp_path / name, text), GRID)


@pytest.mark.parametrize("srid", ["SRID=32632;", "srid=32632;", "Srid = 32632 ; "])
def test_what_a_geometry_states_is_believed(tmp_path, srid):
    """The numbers would fit the region's own system, but the file says that they are of the zone beside it."""
    far = table("class;geom", lambda n, k, x, y, lon, lat: (k, f"{srid}POINT({x} {y})"), ";").replace(
        "32632;", "32632;"
    )
    far = "class,geom\n" + "".join(
        f'{line.split(";", 1)[0]},"{line.split(";", 1)[1]}"\n' for line in far.splitlines()[1:]
    )
    got = read_labels(write(tmp_path / "far.csv", far), GRID)
    assert (len(got.labels), got.report.outside) == (0, 12)
    assert (got.report.crs, got.report.crs_from) == ("EPSG:32632", "the SRID of each geometry")
    with pytest.raises(LabelError, match="'EPSG:99999' of the labels is not known"):
        read_labels(write(tmp_path / "odd.csv", far.replace("32632", "99999")), GRID)


def test_geometries_of_two_systems_are_brought_into_one(tmp_path):
    to_zone = Transformer.from_crs("EPSG:32631", "EPSG:25832", always_xy=True)
    rows = []
    for n, (x, y) in enumerate(xy()):
        x, y, srid = (*to_zone.transform(x, y), 25832) if n % 3 == 0 else (x, y, 32631)
        rows.append(f"{NAMES[n % 4]},SRID={srid};POINT({x} {y})")
    got = read_labels(write(tmp_path / "two.csv", "class,geom\n" + "\n".join(rows)), GRID)
    expect(got)
    assert any("2 coordinate systems" in note for note in got.report.notes)


def test_rows_of_more_cells_are_joined_where_one_way_fits_and_counted_where_not(tmp_path):
    rows = [
        f"{lon},{lat},{k}"
        for (lon, lat), k in zip(lonlat(), ["Water"] * 4 + ["Crop, hay"] * 4 + ["Crop, maize"] * 4, strict=True)
    ]
    got = read_labels(write(tmp_path / "a.csv", "lon,lat,class\n" + "\n".join(rows)), GRID)
    expect(got, ["Water", "Crop, hay", "Crop, maize"])
    assert any("8 rows have more cells than the header" in note for note in got.report.notes)
    first = [f"{k},{lon},{lat}" for (lon, lat), k in zip(lonlat(), ["Water"] * 6 + ["Crop,hay"] * 6, strict=True)]
    expect(read_labels(write(tmp_path / "b.csv", "class,lon,lat\n" + "\n".join(first)), GRID), ["Water", "Crop,hay"])
    # Crop and hay, or hay and dry: nobody can tell.
    twice = [
        f"{lon},{lat},{k}" for (lon, lat), k in zip(lonlat(), ["Water,wet"] * 6 + ["Crop,hay,dry"] * 6, strict=True)
    ]
    got = read_labels(write(tmp_path / "c.csv", "lon,lat,class,note\n" + "\n".join(twice)), GRID)
    expect(got, ["Water"], 6)
    assert got.report.left_out["more cells than the header has columns, and no telling which belong together"] == 6
    # Decimal commas between commas: the joined numbers would be other places.
    commas = [f"{lon:.4f},{lat:.4f},".replace(".", ",") + "Water" for lon, lat in lonlat()]
    got = read_labels(write(tmp_path / "d.csv", "lon,lat,class\n" + "\n".join(commas)), GRID)
    assert (len(got.labels), got.report.left_out.total()) == (0, 12)


def test_short_rows_double_names_and_stray_quotes_are_told(tmp_path):
    lines = ["lon,lat,class,class,note"] + [f"{lon},{lat},{NAMES[n % 4]},x" for n, (lon, lat) in enumerate(lonlat())]
    got = read_labels(write(tmp_path / "a.csv", "\n".join(lines)), GRID)
    expect(got)
    assert any("fewer cells" in text for text in got.report.repaired)
    assert any("several columns 'class'" in note for note in got.report.notes)
    lines[3] = lines[3].replace(NAMES[2], f'"{NAMES[2]}')
    got = read_labels(write(tmp_path / "b.csv", "\n".join(lines)), GRID)
    expect(got)
    assert any("not paired" in note for note in got.report.notes)


def test_a_polygon_of_many_corners_fits_in_a_cell(tmp_path):
    x, y = GRID.pixel_to_xy(60, 60)
    wkt = shapely.Point(x, y).buffer(200, quad_segs=4000).wkt
    assert len(wkt) > 200_000
    got = read_labels(write(tmp_path / "a.csv", f'class,wkt\nWater,"{wkt}"\nWood,POINT({x} {y})\n'), GRID)
    assert [label.kind for label in got.labels] == ["polygon", "point"]


def test_latitudes_that_say_so_are_exchanged_and_half_swapped_rows_are_told(tmp_path):
    rows = [f"{dms(lon, 'EW')};{dms(lat, 'NS')};{NAMES[n % 4]}" for n, (lon, lat) in enumerate(lonlat())]
    got = read_labels(write(tmp_path / "a.csv", "lat;lon;class\n" + "\n".join(rows)), GRID)
    expect(got)
    assert any("exchanged, by the letters" in text for text in got.report.repaired)
    half = [f"{b if n % 4 == 0 else a},{a if n % 4 == 0 else b},{NAMES[n % 4]}" for n, (a, b) in enumerate(lonlat())]
    got = read_labels(write(tmp_path / "b.csv", "lon,lat,class\n" + "\n".join(half)), GRID)
    assert got.report.summary() == "12 features read, 9 labels made; 3 skipped: outside the region."
    assert any("3 of the places outside would lie in the region" in note for note in got.report.notes)


def test_columns_are_named_where_guessing_is_unsafe(tmp_path):
    path = write(tmp_path / "a.csv", table("p,q,class", lambda n, k, x, y, lon, lat: (lon, lat, k)))
    with pytest.raises(LabelError, match="its columns are: p, q, class"):
        read_labels(path, GRID)
    expect(read_labels(path, GRID, hints=Hints(lon="p", lat="Q")))
    with pytest.raises(
        LabelError, match=r"a\.csv has no column 'clas'; its columns are: p, q, class\. Did you mean 'class'\?"
    ):
        read_labels(path, GRID, hints=Hints(lon="clas", lat="q"))
    with pytest.raises(LabelError, match="Name both columns"):
        read_labels(path, GRID, hints=Hints(lon="p"))
    metres = write(tmp_path / "m.csv", table("p,q,class", lambda n, k, x, y, lon, lat: (x, y, k)))
    expect(read_labels(metres, GRID, hints=Hints(lon="p", lat="q")))
    with pytest.raises(LabelError, match="the first line must name the columns"):
        read_labels(write(tmp_path / "n.csv", path.read_text().split("\n", 1)[1]), GRID)
    with pytest.raises(LabelError, match="Did you mean 'class'"):
        read_labels(path, GRID, field="clas", hints=Hints(lon="p", lat="q"))


@pytest.mark.parametrize(("name", "text"), [
    ("commas", "id;lon;lat\n" + "".join(f"{n};{lon:.6f};{lat:.6f}\n".replace(".", ",") for n, (lon, lat) in enumerate(lonlat()))),
    ("cp1252", "ort,lon,lat\n" + "".join(f"Köln,{lon},{lat}\n" for lon, lat in lonlat())),
    ("utf16", "id\tlon\tlat\n" + "".join(f"{n}\t{lon}\t{lat}\n" for n, (lon, lat) in enumerate(lonlat()))),
    ("ewkt", "id,geom\n" + "".join(f"{n},SRID=32631;POINT({x} {y})\n" for n, (x, y) in enumerate(xy()))),
    ("geo", TABLES["Earth Engine"]), ("dms", TABLES["degrees, minutes, seconds"]), ("mac", TABLES["classic Mac"]),
])  # fmt: skip
def test_points_to_fetch_are_read_as_labels_are(tmp_path, name, text):
    path = write(tmp_path / "p.csv", text, {"cp1252": "cp1252", "utf16": "utf-16"}.get(name, "utf-8"))
    found = read_points(path)
    np.testing.assert_allclose(np.stack([found.lon, found.lat], 1), lonlat(), atol=2e-6)
    assert len(found.rows) == 12
    assert (found.report.read, found.report.used) == (12, 12)


def test_points_without_a_place_are_counted_and_projected_ones_need_a_system(tmp_path):
    (lon, lat), *_ = lonlat()
    found = read_points(write(tmp_path / "p.csv", f"id,lon,lat\na,{lon},{lat}\nb,?,{lat}\nc,,\nd,500,{lat}\n"))
    assert np.isfinite(found.lon).tolist() == [True, False, False, False]
    assert found.rows[1] == ("b", "?", repr(lat))
    assert dict(found.report.left_out) == {
        "coordinates that are no numbers": 1,
        "without coordinates": 1,
        "no place on Earth": 1,
    }
    (x, y), *_ = xy()
    metres = write(tmp_path / "m.csv", f"id,x,y\na,{x},{y}\n")
    with pytest.raises(InputError, match="too large for degrees"):
        read_points(metres)
    found = read_points(metres, crs="EPSG:32631")
    np.testing.assert_allclose([found.lon[0], found.lat[0]], [lon, lat], atol=1e-6)
    with pytest.raises(InputError, match="Not one point"):
        read_points(write(tmp_path / "n.csv", "id,lon,lat\na,?,?\n"))


# ---------------------------------------------------- which attribute is the class


def geojson(path, rows, **members):
    features = [
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": place}, "properties": row}
        for place, row in zip(lonlat() * 2, rows, strict=False)
    ]
    return write(path, json.dumps({"type": "FeatureCollection", "features": features, **members}))


@pytest.mark.parametrize(("field", "row"), [
    ("crop_type_2023", lambda n: {"name": f"Field {n}", "crop_type_2023": NAMES[n % 4]}),
    ("landcover", lambda n: {"label": n, "landcover": NAMES[n % 4]}),
    ("vegetation", lambda n: {"id": n, "class": n, "vegetation": "ABC"[n % 3]}),
    ("what", lambda n: {"name": f"Hof {chr(65 + n)}", "what": NAMES[n % 4], "visited": "yes" if n % 2 else "no"}),
    ("klasse", lambda n: {"type": "Point", "klasse": NAMES[n % 4], "datum": f"2023-0{n % 3 + 1}-11"}),
    ("lulc", lambda n: {"lulc": NAMES[n % 4], "lulc_id": n % 4, "height": 1.5 * n, "source": "abc"[n % 3]}),
    ("crop", lambda n: {"class": "study area" if n == 0 else None, "crop": NAMES[n % 4]}),
    ("species", lambda n: {"species": NAMES[n % 4], "surveyor": "ab"[n % 2], "color": f"#ff000{n % 2}"}),
    ("code", lambda n: {"plot": n, "code": n % 3, "area_ha": n / 7}),
    ("name", lambda n: {"name": NAMES[n % 4], "fid": n}),
    ("habitat", lambda n: {"title": f"Untitled {n}", "habitat": NAMES[n % 4], "url": f"https://x.org/{n}"}),
])  # fmt: skip
def test_the_class_is_what_repeats_and_not_what_is_called_so(tmp_path, field, row):
    got = read_labels(geojson(tmp_path / "a.geojson", [row(n) for n in range(24)]), GRID)
    assert got.report.field == field
    assert len(got.classes) == len({row(n)[field] for n in range(24)} - {None})


def test_a_running_number_alone_is_taken_by_its_name_and_said(tmp_path):
    got = read_labels(geojson(tmp_path / "a.geojson", [{"label": n} for n in range(12)]), GRID)
    assert len(got.classes) == 12
    assert any("every one of its 12 values is different" in note for note in got.report.notes)


# ------------------------------------------------------------------------ layers


def layer(path, layer_name, points, **columns):
    pyogrio.raw.write(
        path,
        geometry=np.array([shapely.to_wkb(shapely.Point(p)) for p in points], dtype=object),
        field_data=[np.array(values, dtype=object) for values in columns.values()],
        fields=np.array(list(columns), dtype=object),
        geometry_type="Point",
        crs="EPSG:32631",
        driver="GPKG" if path.suffix == ".gpkg" else "ESRI Shapefile",
        layer=layer_name,
        append=path.exists() and path.suffix == ".gpkg",
    )
    return path


def test_the_layer_with_classes_is_read_and_the_others_are_named_and_counted(tmp_path):
    path = layer(tmp_path / "p.gpkg", "aoi", xy()[:1], name=["study area"])
    layer(path, "fields", xy(), crop=[NAMES[n % 4] for n in range(12)], parcel=[f"P{n}" for n in range(12)])
    got = read_labels(path, GRID)
    expect(got)
    assert (got.report.layers, got.report.layers_left) == (["fields"], ["aoi"])
    assert got.report.left_out == {"in the layer 'aoi', which was not read": 1}
    assert [c.name for c in read_labels(path, GRID, hints=Hints(layer="AOI")).classes] == ["study area"]
    with pytest.raises(
        LabelError, match=r"p\.gpkg has no layer 'field'; its layers are: aoi, fields\. Did you mean 'fields'\?"
    ):
        read_labels(path, GRID, hints=Hints(layer="field"))
    with pytest.raises(LabelError, match="no field 'soil'; its fields are: name, crop, parcel"):
        read_labels(path, GRID, field="soil")
    assert [c.name for c in read_labels(path, GRID, field="name").classes] == ["study area"]


def test_plots_lie_in_the_layer_that_has_numbers(tmp_path):
    path = layer(tmp_path / "p.gpkg", "crops", xy(), crop=[NAMES[n % 4] for n in range(12)])
    layer(path, "plots", xy(), height_m=[f"{n / 3:.2f}" for n in range(12)])
    assert read_value_plots(path, GRID).field == "height_m"


@pytest.mark.parametrize(("cpg", "stored", "shown"), [
    (None, "utf-8", "UTF-8"), (None, "cp1252", "Windows-1252"), ("UTF-8", "utf-8", "UTF-8"), ("1251", "cp1251", "cp1251"),
    ("UTF-8", "cp1252", "Windows-1252"), ("ISO-8859-1", "utf-8", "UTF-8"), ("ISO-8859-2", "iso8859-2", "iso8859-2"),
    ("Martian", "utf-8", "UTF-8"), ("UTF\x00-8", "cp1252", "Windows-1252"), ("zlib", "cp1252", "Windows-1252"),
    ("undefined", "cp1252", "Windows-1252"),
])  # fmt: skip
def test_the_text_of_a_shapefile_is_read_by_its_bytes_and_what_it_declares(tmp_path, cpg, stored, shown):
    name = {"cp1251": "Вода", "iso8859-2": "Łąka"}.get(stored, "Gewässer")
    classes = [name if n % 2 else "Maize" for n in range(12)]
    path = layer(tmp_path / "s.shp", "s", xy(), klasse=["X" * 30] * 12)
    dbf = (tmp_path / "s.dbf").read_bytes()
    for one in classes:
        dbf = dbf.replace(b"X" * 30, one.encode(stored).ljust(30), 1)
    (tmp_path / "s.dbf").write_bytes(dbf[:29] + b"\x00" + dbf[30:])
    (tmp_path / "s.cpg").unlink(missing_ok=True)
    if cpg:
        (tmp_path / "s.cpg").write_text(cpg)
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        for ending in ("shp", "shx", "dbf", "prj", "cpg"):
            if (tmp_path / f"s.{ending}").exists():
                archive.write(tmp_path / f"s.{ending}", f"folder/s.{ending}")
    for file in (path, tmp_path / "s.zip"):
        got = read_labels(file, GRID)
        expect(got, ["Maize", name])
        assert got.report.encoding == shown


@pytest.mark.parametrize("told", ["zlib", "base64", "rot13", "undefined", "a\x00b", "", "Martian", "\ud800"])
def test_what_is_no_encoding_of_text_is_said_to_be_none(told):
    assert text_codec(told) is None
    for data in (b"", b"a,b", "Gewässer".encode()):
        with pytest.raises(LabelError, match="is no encoding that is known"):
            decode(data, "a.csv", told)
    assert {text_codec(name) for name in ("UTF-8", "utf-16", "mac-roman", "cp037")} == {
        "utf-8", "utf-16", "mac-roman", "cp037"
    }  # fmt: skip


def zipped(path, *files):
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            for part in file.parent.glob(f"{file.stem}.*") if file.suffix == ".shp" else [file]:
                archive.write(part, part.name)
    return path


def test_files_of_an_archive_that_are_called_like_their_class(tmp_path):
    files = []
    for k, name in enumerate(("Water", "Wood")):
        (tmp_path / name).mkdir()
        files.append(
            layer(tmp_path / name / f"{name}.shp", name, xy()[6 * k : 6 * k + 6], id=[str(n) for n in range(6)])
        )
    got = read_labels(zipped(tmp_path / "a.zip", *files), GRID)
    expect(got, ["Water", "Wood"])
    assert got.report.notes[0] == "Water.shp, Wood.shp were read as one."


def test_a_table_in_an_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in/field work.csv", TABLES["German"].encode("cp1252"))
    expect(read_labels(tmp_path / "a.zip", GRID))


def test_the_same_places_in_two_formats_are_not_read_twice(tmp_path):
    classes = [NAMES[n % 4] for n in range(12)]
    shapes = layer(tmp_path / "a.shp", "a", xy(), crop=classes)
    package = layer(tmp_path / "a.gpkg", "a", xy(), crop=classes)
    with zipfile.ZipFile(zipped(tmp_path / "b.zip", shapes), "a") as archive:
        assert package.name in archive.namelist()
        archive.writestr("readme.json", '{"made": "by hand"}')
    got = read_labels(tmp_path / "b.zip", GRID)
    expect(got)
    assert got.report.left_out.total() == 12
    assert any("readme.json" in note for note in got.report.notes)


# --------------------------------------------------------------------------- KML


def kml(*folders, head=""):
    body = "".join(f"<Folder><name>{name}</name>" + "".join(marks) + "</Folder>" for name, marks in folders)
    return f'<?xml version="1.0" encoding="UTF-8"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document>{head}{body}</Document></kml>'


def mark(n, name, style=""):
    lon, lat = lonlat()[n]
    url = f"<styleUrl>#{style}</styleUrl>" if style else ""
    return f"<Placemark><name>{name}</name>{url}<Point><coordinates>{lon},{lat},0</coordinates></Point></Placemark>"


def test_folders_of_a_kml_are_classes_where_names_only_number_the_places(tmp_path):
    folders = [(NAMES[k], [mark(3 * k + n, n + 1, f"s{k}") for n in range(3)]) for k in range(4)]
    styles = "".join(
        f'<Style id="n{k}"><IconStyle><color>ff0{k}00ff</color></IconStyle></Style>'
        f'<StyleMap id="s{k}"><Pair><key>normal</key><styleUrl>#n{k}</styleUrl></Pair></StyleMap>'
        for k in range(4)
    )
    path = write(tmp_path / "a.kml", kml(*folders, head=styles))
    got = read_labels(path, GRID)
    expect(got)
    assert [c.color for c in got.classes] == ["#ff0000", "#ff0001", "#ff0002", "#ff0003"]
    with zipfile.ZipFile(tmp_path / "a.kmz", "w") as archive:
        archive.writestr("doc.kml", path.read_text())
        archive.writestr("files/icon.png", b"x")
    expect(read_labels(tmp_path / "a.kmz", GRID))
    only = read_labels(path, GRID, hints=Hints(layer="maize"))
    assert (len(only.labels), only.report.left_out) == (3, {"in another folder than 'Maize'": 9})


def test_folders_within_folders_are_classes_and_extended_data_too(tmp_path):
    inner = [
        f"<Folder><name>{NAMES[k]}</name>{''.join(mark(3 * k + n, n) for n in range(3))}</Folder>" for k in range(4)
    ]
    expect(read_labels(write(tmp_path / "a.kml", kml(("Training", inner[:2]), ("Checked", inner[2:]))), GRID))
    marks = [
        mark(n, f"Plot {n}").replace("<Point>", f'<ExtendedData><SchemaData><SimpleData name="crop">{NAMES[n % 4]}</SimpleData>'
        "</SchemaData></ExtendedData><Point>")
        for n in range(12)
    ]  # fmt: skip
    expect(read_labels(write(tmp_path / "b.kml", kml(("Plots", marks))), GRID))


def test_names_of_placemarks_are_classes_where_folders_are_places(tmp_path):
    folders = [(f"Site {k}", [mark(4 * k + n, NAMES[n]) for n in range(4)]) for k in range(3)]
    expect(read_labels(write(tmp_path / "a.kml", kml(*folders)), GRID))


@pytest.mark.parametrize(("text", "words"), [
    ("<kml><Document>", "cannot be read as KML"),
    ("<gpx></gpx>", "no KML"),
    ('<!DOCTYPE kml [<!ENTITY a "b">]><kml><Placemark><name>&a;</name></Placemark></kml>', "document type"),
    ("<kml>" * 5000, "nested deeper"),
    ('<?xml version="1.0" encoding="martian"?><kml/>', "cannot be read as KML"),
])  # fmt: skip
def test_a_kml_that_is_none_is_refused_in_a_sentence(tmp_path, text, words):
    with pytest.raises(LabelError, match=words):
        read_labels(write(tmp_path / "a.kml", text), GRID)


def test_what_a_kml_holds_beside_places_is_counted(tmp_path):
    head = "<NetworkLink><Link><href>http://127.0.0.1:9/x.kml</href></Link></NetworkLink><GroundOverlay/>"
    got = read_labels(
        write(tmp_path / "a.kml", kml(("F", [mark(0, "Water"), "<Placemark><name>x</name></Placemark>"]), head=head)),
        GRID,
    )
    assert (got.report.read, got.report.used) == (4, 1)
    assert set(got.report.left_out) == {
        "links to other files, which are not followed",
        "pictures",
        "without a geometry",
    }


# -------------------------------------------------------------------------- JSON


def test_geojson_with_a_feature_in_each_line(tmp_path):
    features = [
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": place}, "properties": {"class": NAMES[n % 4]}}
        for n, place in enumerate(lonlat())
    ]
    lines = [json.dumps(one) for one in features]
    for name, text in {
        "a.ndjson": "\n".join(lines), "a.geojsonl": "\r\n".join(lines) + "\r\n",
        "a.geojson": "".join(f"\x1e{one}\n" for one in lines),
        "a.json": json.dumps(features),
    }.items():  # fmt: skip
        expect(read_labels(write(tmp_path / name, text), GRID))
    got = read_labels(write(tmp_path / "b.ndjson", "\n".join([*lines[:5], '{"type": "Fea', *lines[5:]])), GRID)
    expect(got)
    assert got.report.left_out == {"a line that is no JSON": 1}
    assert got.report.examples["a line that is no JSON"] == ["line 6"]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-8-sig"])
def test_geojson_in_other_encodings(tmp_path, encoding):
    text = json.dumps(
        {"type": "FeatureCollection", "features": [
            {"type": "Feature", "geometry": {"type": "Point", "coordinates": place}, "properties": {"class": f"Gewässer {n % 2}"}}
            for n, place in enumerate(lonlat())
        ]}, ensure_ascii=False,
    )  # fmt: skip
    expect(read_labels(write(tmp_path / "a.geojson", text, encoding), GRID), ["Gewässer 0", "Gewässer 1"])


@pytest.mark.parametrize("crs", [
    {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32631"}}, {"type": "EPSG", "properties": {"code": 32631}},
    "EPSG:32631", None,
])  # fmt: skip
def test_every_form_of_the_crs_member(tmp_path, crs):
    features = [
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": place}, "properties": {"class": NAMES[n % 4]}}
        for n, place in enumerate(xy())
    ]
    value = {"type": "FeatureCollection", "crs": crs, "features": features}
    expect(read_labels(write(tmp_path / "a.geojson", json.dumps(value)), GRID))


def test_areas_that_tee_found_alike_are_named_as_lost(tmp_path):
    (lon, lat), *_ = lonlat()
    place = {"lat": lat, "lon": lon}
    labels = [
        {
            "id": "label_1",
            "name": "Water",
            "source_pixel": place,
            "threshold": 0.4,
            "pixel_coords": [1, 2, 3, 4],
            "pixel_count": 2,
        },
        {"id": None, "name": "Maize", "type": "similarity", **place, "threshold": 0.3, "matchCount": 900},
        {"id": None, "name": "Maize", "type": "point", **place, "threshold": 0},
        {"id": "label_2", "name": "Cluster", "source_pixel": None, "pixel_coords": [1, 2, 3, 4]},
    ]
    got = read_labels(write(tmp_path / "v_labels.json", json.dumps({"viewport": "v", "labels": labels})), GRID)
    assert (got.report.read, len(got.labels)) == (4, 3)
    assert got.report.repaired == ["2 labels by similarity taken as the one point they were made from"]
    assert any("(Water 1, Maize 1)" in note and "lost" in note for note in got.report.notes)
    assert got.report.examples["only pixel numbers of a TEE viewport, whose place is not in the file"] == [
        "label 4 (Cluster)"
    ]
