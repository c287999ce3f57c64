"""Export, a table of fields or farms: a file of polygons becomes a table, and what is no polygon is told."""

from __future__ import annotations

import json

from streamlit.testing.v1 import AppTest

from tessera_core.project.project import Project


def test_polygons_become_a_table(app: AppTest, project: Project) -> None:
    grid = project.grid
    assert grid is not None
    for number, (row, col) in enumerate(((10, 10), (10, 50), (50, 10))):
        x, y = grid.pixel_to_xy(row, col)
        project.log.add("point", project.log.add_class(f"Kind {number}").id, [(float(x), float(y))])
    ring = [[float(v) for v in grid.pixel_to_lonlat(r, c)] for r, c in ((4, 4), (20, 4), (20, 20), (4, 20), (4, 4))]
    shapes = [{"type": "Polygon", "coordinates": [ring]}, {"type": "Point", "coordinates": ring[0]}]
    features = [{"type": "Feature", "geometry": shape, "properties": {"owner": "Ana"}} for shape in shapes]
    polygons = json.dumps({"type": "FeatureCollection", "features": features}).encode()
    app.query_params["project"] = project.folder.name
    app.run()
    app.switch_page("pages/export.py").run()
    assert not app.exception
    upload = app.file_uploader(key=f"export_zones_{project.key}")
    upload.upload("fields.geojson", polygons, "application/geo+json").run()
    assert not app.exception
    table = next(one.value for one in app.dataframe if "zone_ha" in one.value.columns)
    assert list(table["status"]) == ["measured", "no polygon"]
    assert list(table["owner"]) == ["Ana", "Ana"]
    assert abs(table["zone_ha"][0] - 2.56) < 0.01
    assert any("2 features" in one.value for one in app.caption)
    upload = app.file_uploader(key=f"export_zones_{project.key}")
    upload.upload("fields.geojson", b"[]", "application/geo+json").run()
    assert not app.exception
    assert app.error
