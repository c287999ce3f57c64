"""Points drawn from class rasters."""

import numpy as np
import pytest
import rasterio

from tessera_core.errors import LabelError
from tessera_core.export.geotiff import write_class_map
from tessera_core.labels.model import LabelClass
from tessera_core.labels.raster_points import raster_points
from tessera_core.provenance import Provenance
from tests.factories import make_grid

GRID = make_grid((60, 80))
CLASSES = [LabelClass(3, "Wood", "#ff0000"), LabelClass(7, "Wässer", "#0000ff", "w1")]


def truth():
    values = np.zeros(GRID.shape, np.uint8)
    values[:30, :40] = 3
    values[50, 70:75] = 7
    return values


def pixels(got):
    rows, cols = GRID.xy_to_pixel(*np.array([label.xy[0] for label in got.labels]).T)
    return np.floor(rows).astype(int), np.floor(cols).astype(int)


def test_our_own_map_gives_its_classes_and_as_many_points_as_wanted(tmp_path):
    path = tmp_path / "map.tif"
    write_class_map(path, truth(), None, GRID, CLASSES, Provenance("tessera", "2.0"))
    got = raster_points(path, GRID, 20)
    assert [(c.name, c.color, c.code) for c in got.classes] == [(c.name, c.color, c.code) for c in CLASSES]
    assert [label.class_id for label in got.labels] == [1] * 20 + [2] * 5
    assert {label.origin for label in got.labels} == {"sampled"}
    rows, cols = pixels(got)
    assert len(set(zip(rows, cols, strict=True))) == 25
    assert truth()[rows, cols].tolist() == [3] * 20 + [7] * 5
    assert got.report.read == 30 * 40 + 5
    assert "Wässer has 5 pixels in this region; all were taken." in got.report.notes
    again, other = raster_points(path, GRID, 20), raster_points(path, GRID, 20, seed=1)
    assert [label.xy for label in again.labels] == [label.xy for label in got.labels]
    assert [label.xy for label in other.labels] != [label.xy for label in got.labels]


def write(path, values, tags=None, table=None):
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=60,
        width=80,
        count=1,
        dtype=values.dtype,
        crs=GRID.crs,
        transform=GRID.transform,
    ) as file:
        file.write(values, 1)
        file.update_tags(**(tags or {}))
        if table:
            file.write_colormap(1, table)
    return path


def test_names_of_tee_and_colours_of_a_table(tmp_path):
    tags = {"class_3": "Wood", "class_7": "wood", "train_year": "2023"}
    got = raster_points(write(tmp_path / "m.tif", truth(), tags, {3: (1, 2, 3, 255), 7: (255, 0, 10, 255)}), GRID, 2)
    assert [(c.name, c.color) for c in got.classes] == [("Wood", "#010203"), ("wood 7", "#ff000a")]


def test_a_raster_without_names_is_called_by_its_numbers(tmp_path):
    got = raster_points(write(tmp_path / "m.tif", truth()), GRID, 2)
    assert [c.name for c in got.classes] == ["class 3", "class 7"]
    assert "called by their numbers" in got.report.notes[-1]


def test_values_that_are_no_classes_are_refused(tmp_path):
    with pytest.raises(LabelError, match="more than 254 classes"):
        raster_points(write(tmp_path / "m.tif", np.arange(4800, dtype=np.uint16).reshape(60, 80)), GRID)
