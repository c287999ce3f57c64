"""A stranger's file never chooses what is opened: no other file is read or written, and nobody is called."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tessera_core.errors import InputError, TesseraError
from tessera_core.gate import open_raster, read_layers
from tessera_core.gate.vectors import ENDINGS
from tessera_core.grid import Grid
from tessera_core.labels.files import class_tags, read_class_raster, survey
from tessera_core.region import read_region
from tessera_core.sources.local.open import open_embeddings
from tests.gate.outside import SECRET, Outside, raster_attacks, vector_attacks, write_points, write_tiff

VECTORS = list(vector_attacks(Outside(Path("/x"), 1, None)))  # type: ignore[arg-type]
RASTERS = list(raster_attacks(Outside(Path("/x"), 1, None)))  # type: ignore[arg-type]
GRID = Grid("EPSG:32631", rasterio.Affine(10, 0, 560000, 0, -10, 5765000), (16, 16))


def _said(path: Path) -> str:
    """Everything that the readers of labels and of regions say of a file."""
    said = []
    for reader in (survey, read_region, read_layers):
        try:
            said.append(str(reader(path)))
        except TesseraError as error:
            said.append(str(error))
    return "\n".join(said)


@pytest.mark.parametrize("attack", VECTORS)
def test_a_vector_file_reaches_nothing_under_any_ending(attack: str, tmp_path: Path, reach: Outside) -> None:
    for ending in (*ENDINGS, ".csv", ".txt"):
        path = tmp_path / f"a{ending}"
        path.write_text(vector_attacks(reach)[attack])
        assert SECRET not in _said(path)
    assert reach.untouched()


@pytest.mark.parametrize("crs", [
    '{"type": "link", "properties": {"href": "ADDRESS"}}', '{"type": "URL", "properties": {"url": "ADDRESS"}}',
    '{"type": "\\u006cink", "properties": {"href": "ADDRESS"}}', '{"properties": {"href": "ADDRESS"}, "type": "Links"}',
    "{'type': 'link', 'properties': {'href': 'ADDRESS'}}", '{"type": "link", "properties": {"href": "ADDRESS"},}',
])  # fmt: skip
@pytest.mark.parametrize("key", ["crs", "\\u0063rs"])
def test_no_coordinate_system_is_asked_for_where_the_environment_spares_a_host_the_proxy(
    crs: str, key: str, tmp_path: Path, reach: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1,localhost")
    point = '{"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [3.9, 52.0]}}'
    named = f'"{key}": {crs.replace("ADDRESS", f"http://127.0.0.1:{reach.port}/x")}'
    for ending in (".geojson", ".geojsonl", ".json"):
        path = tmp_path / f"a{ending}"
        path.write_text(f'{{"type": "FeatureCollection", {named}, "features": [{point}]}}')
        _said(path)
        path.write_text(f"{point[:-1]}, {named}}}\n{point}\n")
        _said(path)
    assert reach.untouched()


def test_links_and_addresses_in_the_columns_of_a_geojson_are_read(tmp_path: Path) -> None:
    named = '"crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}'
    place = '{"type": "Point", "coordinates": [1, 2]}'
    point = f'{{"type": "Feature", "properties": {{"type": "link", "url": "\\u00e9"}}, "geometry": {place}}}'
    (tmp_path / "a.geojson").write_text(f'{{"type": "FeatureCollection", {named}, "features": [{point}]}}')
    (layer,) = read_layers(tmp_path / "a.geojson")
    assert list(layer.columns["type"]) == ["link"]


def test_an_archive_of_a_link_and_a_database_writes_nothing(tmp_path: Path, reach: Outside) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.kml", vector_attacks(reach)["vrt that writes"].replace(str(reach.secret_layer), "b.sqlite"))
        archive.write(reach.secret_layer, "b.sqlite")
    assert "a.kml" in _said(path)
    assert reach.untouched()


def test_names_of_other_kinds_are_no_files(reach: Outside) -> None:
    names = ["/vsizip/a.zip", f"/vsicurl/http://127.0.0.1:{reach.port}/x.kml", f"http://127.0.0.1:{reach.port}/x.kml"]
    for name in [*names, f"PG:port={reach.port}.gpkg", f"CSV:{reach.secret_table}", "a\0.kml"]:
        for reader in (read_layers, read_region, open_raster_of):
            with pytest.raises(InputError):
                reader(name)
    assert reach.untouched()


def open_raster_of(path: str) -> None:
    with open_raster(path):
        pass


@pytest.mark.parametrize("attack", RASTERS)
def test_a_raster_reaches_nothing_by_any_reader(attack: str, tmp_path: Path, reach: Outside) -> None:
    path = tmp_path / "a.tif"
    path.write_text(raster_attacks(reach)[attack])
    for reader in (lambda: read_class_raster(path, GRID), lambda: class_tags(path), lambda: open_embeddings(path)):
        with pytest.raises(InputError):
            reader()
    assert reach.untouched()


@pytest.mark.parametrize("attack", RASTERS)
def test_smaller_copies_and_files_beside_a_raster_are_not_followed(attack: str, tmp_path: Path, reach: Outside) -> None:
    link = tmp_path / "link.vrt"
    link.write_text(raster_attacks(reach)[attack])
    path = write_tiff(tmp_path / "a.tif", np.ones((16, 16), np.uint8))
    beside = '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">link.vrt</MDI></Metadata></PAMDataset>'
    (tmp_path / "a.tif.aux.xml").write_text(beside)
    shutil.copy(link, tmp_path / "a.tif.ovr")
    shutil.copy(link, tmp_path / "a.tif.msk")
    with open_raster(path) as file:
        assert file.overviews(1) == []
        assert file.read(1, out_shape=(4, 4), masked=True).tolist() == np.ones((4, 4)).tolist()
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(link))
    (tmp_path / "a.tif.aux.xml").unlink(missing_ok=True)
    with pytest.raises(InputError, match="another file"):
        read_class_raster(path, GRID)
    assert reach.untouched()


_ENDLESS = "WITH RECURSIVE a(n) AS (SELECT 1 UNION SELECT n+1 FROM a) SELECT n FROM a"


@pytest.mark.parametrize("view", ["SELECT ogr_geocode('x')", "SELECT load_extension('x')", _ENDLESS])
def test_a_geopackage_with_objects_that_do_things_is_refused(view: str, tmp_path: Path) -> None:
    path = write_points(tmp_path / "a.gpkg")
    with sqlite3.connect(path) as database:
        database.execute(f"CREATE VIEW v AS SELECT fid, geom, ({view}) AS x FROM a")
    with pytest.raises(InputError, match="view"):
        read_layers(path)
    plain = write_points(tmp_path / "b.gpkg")
    with sqlite3.connect(plain) as database:
        database.execute("CREATE VIEW v AS SELECT fid, geom, lower(class) AS class FROM b WHERE fid > 1")
        database.execute(
            "INSERT INTO gpkg_geometry_columns SELECT 'v', column_name, geometry_type_name, srs_id, z, m "
            "FROM gpkg_geometry_columns"
        )
        columns = "table_name, identifier, data_type, srs_id"
        database.execute(f"INSERT INTO gpkg_contents ({columns}) VALUES ('v', 'v', 'features', 4326)")
    assert [(layer.name, len(layer.wkb)) for layer in read_layers(plain)] == [("b", 3), ("v", 2)]


def test_a_geopackage_with_a_table_of_a_program_is_refused(tmp_path: Path) -> None:
    path = write_points(tmp_path / "a.gpkg")
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA writable_schema = ON")
        database.execute(
            "INSERT INTO sqlite_schema VALUES ('table', 'z', 'z', 0, 'CREATE VIRTUAL TABLE z USING VirtualOGR(''/x'')')"
        )
    with pytest.raises(InputError, match="computed by a program"):
        read_layers(path)


@pytest.mark.parametrize(
    ("kind", "sql"),
    [
        ("table", "CREATE/**/VIRTUAL/**/TABLE z USING VirtualOGR('/x')"),
        ("table", "CREATE VIRTUAL TABLE z USING VirtualOGR('/x') -- using rtree"),
        ("table", "CREATE VIRTUAL TABLE z USING dbstat('using rtree')"),
        ("view", "CREATE/**/VIEW z AS SELECT fid, geom, ST_MinX(geom) AS x FROM a"),
        ("view", "CREATE TEMP VIEW z AS SELECT fid, geom, ST_MinX(geom) AS x FROM a"),
        ("VIEW", "CREATE VIEW z AS SELECT fid, geom, ST_MinX(geom) AS x FROM a"),
        ("table", "CREATE VIEW z AS SELECT fid, geom, ST_MinX(geom) AS x FROM a"),
    ],
)
def test_what_a_geopackage_holds_is_judged_by_its_text_alone(kind: str, sql: str, tmp_path: Path) -> None:
    path = write_points(tmp_path / "a.gpkg")
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA writable_schema = ON")
        database.execute("INSERT INTO sqlite_schema VALUES (?, 'z', 'z', 0, ?)", (kind, sql))
    with pytest.raises(InputError, match=r"is not opened|not a readable GeoPackage"):
        read_layers(path)


@pytest.mark.parametrize("kind", ["VIRTUAL", "STORED", ""])
def test_a_geopackage_with_computed_columns_is_refused(kind: str, tmp_path: Path) -> None:
    path = write_points(tmp_path / "a.gpkg")
    with sqlite3.connect(path) as database:
        database.create_function("ST_MinX", 1, lambda _: 1.0, deterministic=True)
        database.execute("PRAGMA writable_schema = ON")
        column = f"leak REAL GENERATED ALWAYS/**/AS/**/(ST_MinX(geom)) {kind}"
        database.execute(
            "UPDATE sqlite_schema SET sql = substr(sql, 1, length(sql) - 1) || ? WHERE name = 'a'", (f", {column})",)
        )
    with pytest.raises(InputError, match="computed columns"):
        read_layers(path)


def test_a_geopackage_that_others_write_to_gets_no_files_beside_it(tmp_path: Path) -> None:
    path = write_points(tmp_path / "a.gpkg")
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode = WAL")
    database.close()
    before = sorted(os.listdir(tmp_path))
    assert len(read_layers(path)[0].wkb) == 3
    assert sorted(os.listdir(tmp_path)) == before
    (tmp_path / "a.gpkg-wal").write_bytes(b"more")
    with pytest.raises(InputError, match="another program"):
        read_layers(path)


@pytest.mark.parametrize("driver", [".gpkg", ".geojson", ".geojsonl", ".kml", ".fgb", ".shp"])
def test_every_plain_format_still_opens(driver: str, tmp_path: Path) -> None:
    path = write_points(tmp_path / f"a{driver}", driver={".geojsonl": "GeoJSONSeq", ".kml": "LIBKML"}.get(driver))
    (layer,) = read_layers(path)
    assert len(layer.wkb) == 3
    if driver == ".kml":
        with zipfile.ZipFile(tmp_path / "a.kmz", "w") as archive:
            archive.write(path, "doc.kml")
        assert len(read_layers(tmp_path / "a.kmz")[0].wkb) == 3
    else:
        assert set(layer.columns["class"]) == {"wood", "water"}


def test_the_command_line_and_the_upload_reach_nothing(tmp_path: Path, reach: Outside, monkeypatch) -> None:
    from tessera_core.project.library import start_upload

    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    for attack in ("vrt", "vrt of an address", "pipeline"):
        data = raster_attacks(reach)[attack].encode()
        for name in ("x.tif", "x.tiff"):
            with pytest.raises(InputError):
                start_upload([(name, io.BytesIO(data))])
        with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
            archive.writestr("x.tif", data)
        buffer.seek(0)
        with pytest.raises(InputError):
            start_upload([("x.zip", buffer)])
    path = tmp_path / "x.kml"
    path.write_text(vector_attacks(reach)["vrt of a text"])
    done = subprocess.run(
        [sys.executable, "-m", "tessera_core", "info", str(path), "--json"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert SECRET not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert reach.untouched()


def test_files_are_opened_by_the_gate_and_nowhere_else(root: Path) -> None:
    import ast

    opened = []
    for path in sorted((root / "tessera_core").rglob("*.py")):
        # Packs and project files: their own readers bound each member.
        if path.parent.name == "gate" or path.name in ("pack.py", "project.py", "checkpoint.py"):
            continue
        for call in (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)):
            name = ast.unparse(call.func)
            mode = next((a.value for a in call.args[1:2] if isinstance(a, ast.Constant)), "r")
            reads = {"rasterio.open", "zipfile.ZipFile", "ZipFile"}
            others = ("pyogrio.raw.read", "pyogrio.read", "pyogrio.list_layers", "gpd.read_file", "geopandas.read_file")
            if (name in reads and mode == "r") or name.startswith((*others, "rasterio.MemoryFile")):
                opened.append(f"{path.relative_to(root)}: {name}")
    assert opened == []
