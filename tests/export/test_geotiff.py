import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

from tessera_core.analysis.change.layer import PByRows
from tessera_core.analysis.change.levels import LEVELS
from tessera_core.errors import ExportError
from tessera_core.export.geotiff import Band, write_class_map, write_confidence, write_values
from tessera_core.export.one_cog import write_one_cog
from tessera_core.grid import Grid
from tessera_core.labels.model import LabelClass
from tessera_core.provenance import Provenance
from tests.factories import make_grid

GRID = make_grid((700, 1100))
CLASSES = [
    LabelClass(1, "Wood & <fen>", "#ff0000"),
    LabelClass(2, "Wässer", "#0000ff", "w1"),
    LabelClass(200, "Far", "#00ff00"),
]
V2 = Provenance("tessera", "2.0", "2B-L", year=2023, checksum="abc", details={"warnings": ["x"]})


@pytest.fixture
def classes():
    blocks = np.random.default_rng(0).integers(0, 3, (7, 11)).astype(np.uint8)
    values = np.kron(blocks, np.ones((100, 100), np.uint8))
    values[0, 0] = 200
    return values


def test_a_class_map_is_a_styled_named_cog(tmp_path, classes):
    path = write_class_map(tmp_path / "out" / "map", classes, None, GRID, CLASSES, V2, tags={"tessera_score": "0.9"})
    assert path == tmp_path / "out" / "map.tif"
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), classes)
        assert file.crs.to_epsg() == 32631
        assert file.transform == GRID.transform
        assert file.nodata == 0
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.compression.value == "DEFLATE"
        assert file.overviews(1)
        colors = file.colormap(1)
        assert [colors[n] for n in (1, 2, 200)] == [(255, 0, 0, 255), (0, 0, 255, 255), (0, 255, 0, 255)]
        assert colors[0][3] == 0
        band, tags = file.tags(1), file.tags()
        assert (band["class_1"], band["class_2"], band["class_2_code"]) == ("Wood & <fen>", "Wässer", "w1")
        assert tags["tessera_dataset"] == "tessera 2.0/2B-L (128-d)"
        assert (tags["tessera_year"], tags["tessera_checksum"], tags["tessera_score"]) == ("2023", "abc", "0.9")
        assert json.loads(tags["tessera_details"]) == {"warnings": ["x"]}


def test_overviews_keep_classes(tmp_path, classes):
    path = write_class_map(tmp_path / "map.tif", classes, None, GRID, CLASSES, V2)
    with rasterio.open(path, overview_level=0) as file:
        small = file.read(1)
    assert set(np.unique(small)) <= set(np.unique(classes))
    np.testing.assert_array_equal(small[25, ::50], classes[50, ::100])


def test_an_overview_shows_the_commonest_class_and_no_mixture(tmp_path):
    classes = np.full(GRID.shape, 1, np.uint8)
    classes[::2, ::2] = 2
    # Three parts of the first colour and one of the second would average to the third.
    kinds = [LabelClass(1, "a", "#ff0000"), LabelClass(2, "b", "#000000"), LabelClass(3, "c", "#bf0000")]
    path = write_class_map(tmp_path / "map.tif", classes, None, GRID, kinds, V2)
    with rasterio.open(path, overview_level=0) as file:
        assert (file.read(1) == 1).all()


def test_gdal_sees_the_category_names(tmp_path, classes):
    path = write_class_map(tmp_path / "map.tif", classes, None, GRID, CLASSES, V2)
    rasterio.shutil.copy(path, tmp_path / "map.vrt", driver="VRT")
    text = (tmp_path / "map.vrt").read_text(encoding="utf-8")
    assert "<Category>Wood &amp; &lt;fen&gt;</Category>" in text
    assert "<Category>Far</Category>" in text
    sidecar = path.with_name("map.tif.aux.xml").read_text(encoding="utf-8")
    assert f"<F>{np.count_nonzero(classes == 1)}</F>" in sidecar


def test_an_id_without_a_class_is_named_by_its_number(tmp_path, classes):
    path = write_class_map(tmp_path / "map.tif", classes, None, GRID, CLASSES[:1], V2)
    with rasterio.open(path) as file:
        assert file.tags(1)["class_2"] == "class 2"
        np.testing.assert_array_equal(file.read(1), classes)


def test_confidence_is_written_beside_the_map(tmp_path, classes):
    confidence = np.where(classes == 0, 255, 90).astype(np.uint8)
    write_class_map(tmp_path / "map.tif", classes, confidence, GRID, CLASSES, V2)
    with rasterio.open(tmp_path / "map_confidence.tif") as file:
        np.testing.assert_array_equal(file.read(1), confidence)
        assert file.nodata == 255
        assert file.read(1, masked=True).mask.sum() == np.count_nonzero(classes == 0)


def test_a_local_grid_is_written_without_crs_and_says_so(tmp_path):
    grid = Grid.local((30, 40))
    path = write_class_map(tmp_path / "map.tif", np.ones((30, 40), np.uint8), None, grid, CLASSES, V2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            assert file.crs is None
            assert "no georeference" in file.tags()["tessera_grid"]
            assert file.read(1).all()


def test_nothing_is_left_where_writing_fails(tmp_path, classes):
    with pytest.raises(ExportError, match=r"700, 1100"):
        write_class_map(tmp_path / "map.tif", classes[1:], None, GRID, CLASSES, V2)
    with pytest.raises(ExportError, match="int64"):
        write_confidence(tmp_path / "c.tif", classes.astype(np.int64), GRID, V2)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExportError, match="Cannot create the folder"):
        write_class_map(tmp_path / "file" / "map.tif", classes, None, GRID, CLASSES, V2)
    (tmp_path / "taken.tif").mkdir()
    with pytest.raises((ExportError, OSError)):
        write_class_map(tmp_path / "taken.tif", classes, None, GRID, CLASSES, V2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken.tif"]


@pytest.mark.parametrize("side", [40, 600, 1100])
def test_numbers_made_row_by_row_are_written_as_those_that_are_held(tmp_path, side):
    """Each of the three ways to a file: one block, held by GDAL, and through a file."""
    levels = np.random.default_rng(0).integers(0, 9, (side, side)).astype(np.uint16)
    table = np.linspace(1, 0, LEVELS, dtype=np.float32)
    rows = PByRows(table, levels)
    assert (rows.shape, rows.dtype, rows.nbytes) == (levels.shape, np.float32, 4 * side * side)
    for name, values in (("rows", rows), ("held", table[levels])):
        write_values(tmp_path / f"{name}.tif", values, make_grid((side, side)), V2, Band("p"))
    assert (tmp_path / "rows.tif").read_bytes() == (tmp_path / "held.tif").read_bytes()


def test_a_file_that_cannot_grow_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    """GDAL's own errors come through rasterio bare above one block, and those at the very end not at all."""
    resource = pytest.importorskip("resource")
    grid = Grid("EPSG:32631", Affine(10, 0, 3e5, 0, -10, 4e6), (700, 700))
    rng = np.random.default_rng(0)
    classes, values = rng.integers(1, 3, grid.shape).astype(np.uint8), rng.random(grid.shape, np.float32)
    part = write_class_map(tmp_path / "part.tif", classes, None, grid, [], V2)
    there, whole = sorted(tmp_path.iterdir()), part.stat().st_size
    one = write_one_cog(tmp_path / "one.tif", [(part, grid)], "MODE", "these")
    of_one = one.stat().st_size
    for made in (one, one.with_suffix(".qml")):
        made.unlink()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for name, most, write in (
        ("map", 20_000, lambda path: write_class_map(path, classes, None, grid, [], V2)),
        ("map", whole - 9, lambda path: write_class_map(path, classes, None, grid, [], V2)),
        ("values", 90_000, lambda path: write_values(path, values, grid, V2, Band("height"))),
        ("one", 20_000, lambda path: write_one_cog(path, [(part, grid)], "MODE", "these")),
        ("one", of_one - 9, lambda path: write_one_cog(path, [(part, grid)], "MODE", "these")),
    ):
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
        try:
            with pytest.raises(ExportError, match=r"could not be written|disk is full") as told:
                write(tmp_path / f"{name}.tif")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert "\n" not in str(told.value)
        assert sorted(tmp_path.iterdir()) == there, (name, most)
