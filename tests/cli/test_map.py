"""tessera map: labels or a saved head in, GeoTIFFs out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from affine import Affine

from tessera_core.cli import main
from tessera_core.grid import Grid
from tessera_core.heads import load_head
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster

GRID = Grid("EPSG:32631", Affine(10, 0, 500000, 0, -10, 5600000), (24, 30))
ORIGIN = Provenance("studio", "nano", dim=16, year=2024)


@pytest.fixture
def region(tmp_path):
    """Embeddings of three stripes with a hole, and a raster of a few labels with codes up to 9120."""
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 10)[None].repeat(24, 0)
    x = rng.normal(size=(3, 16))[truth] + 0.1 * rng.normal(size=(24, 30, 16))
    scales = (np.abs(x).max(2) / 127).astype(np.float32)
    codes = np.rint(x / scales[..., None]).astype(np.int8)
    scales[0, :4] = np.nan
    raster = EmbeddingRaster(codes, scales, GRID, ORIGIN)
    raster.save(tmp_path / "E")
    labels = np.zeros((24, 30), np.uint16)
    for row in (2, 10, 18):
        for number, code in enumerate((1200, 7900, 9120)):
            labels[row : row + 2, 10 * number + 3 : 10 * number + 6] = code
    with rasterio.open(
        tmp_path / "l.tif", "w", driver="GTiff", dtype="uint16", count=1, height=24, width=30, crs=GRID.crs,
        transform=GRID.transform,
    ) as file:  # fmt: skip
        file.write(labels, 1)
    return tmp_path, raster, truth + 1


def tessera(capsys, *words):
    code = main([str(word) for word in words])
    out = capsys.readouterr()
    return code, json.loads(out.out) if out.out.startswith("{") else out.out, out.err


def test_labels_become_a_map_and_a_head_that_maps_again(region, capsys):
    folder, raster, truth = region
    code, result, _ = tessera(
        capsys, "map", folder / "E", "--labels", folder / "l.tif", "--head", "logistic", "--out", folder / "m.tif",
        "--confidence", folder / "c.tif", "--save-head", folder / "h.safetensors", "--json",
    )  # fmt: skip
    assert code == 0
    assert result["n_train"] == 54
    assert result["no_data"] == 4
    assert [c["name"] for c in result["classes"]] == ["1200", "7900", "9120"]
    assert sum(c["hectares"] for c in result["classes"]) == pytest.approx((24 * 30 - 4) / 100)
    with rasterio.open(folder / "m.tif") as file:
        classes = file.read(1)
        assert file.crs.to_epsg() == 32631
        assert file.transform == GRID.transform
        assert file.tags()["tessera_head"] == "LogisticHead"
        assert 1 in file.colormap(1)
    valid = raster.valid()
    np.testing.assert_array_equal(classes[valid], truth[valid])
    assert (classes[~valid] == 0).all()
    with rasterio.open(folder / "c.tif") as file:
        confidence = file.read(1)
    assert (confidence[~valid] == 255).all()
    assert (confidence[valid] <= 100).all()
    saved = load_head(folder / "h.safetensors")
    assert saved.class_names == {1: "1200", 2: "7900", 3: "9120"}
    assert (saved.provenance.dataset, saved.provenance.year) == (ORIGIN.dataset, 2024)
    code, _, _ = tessera(capsys, "map", folder / "E", "--use-head", folder / "h.safetensors", "--out", folder / "n.tif")
    assert code == 0
    with rasterio.open(folder / "n.tif") as file:
        np.testing.assert_array_equal(file.read(1), classes)


def test_a_head_of_another_dataset_is_refused(region, capsys):
    folder, raster, _ = region
    tessera(
        capsys,
        "map",
        folder / "E",
        "--labels",
        folder / "l.tif",
        "--out",
        folder / "m.tif",
        "--save-head",
        folder / "h.st",
    )
    other = EmbeddingRaster(raster.codes, raster.scales, GRID, replace(ORIGIN, version="mini"))
    other.save(folder / "F")
    code, out, err = tessera(capsys, "map", folder / "F", "--use-head", folder / "h.st", "--out", folder / "x.tif")
    assert code == 2
    assert out == ""
    assert "studio mini (16-d) and studio nano (16-d) cannot be mixed" in err
    assert not (folder / "x.tif").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--labels", "none.tif"], "does not exist"),
        (["--labels", "l.tif", "--head", "svm"], "invalid choice: 'svm'"),
        (["--labels", "l.tif", "--classes", "1200"], "at least two classes"),
        (["--labels", "l.tif", "--classes", "1200,5"], "no class '5'"),
        (["--use-head", "l.tif"], "not a saved head"),
        (["--use-head", "l.tif", "--field", "a"], "--use-head trains nothing"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(region, capsys, monkeypatch, words, message):
    folder = region[0]
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    code, out, err = tessera(capsys, "map", "E", *words, "--out", "m.tif")
    assert code == 2
    assert out == ""
    assert message in err
    assert "Traceback" not in err
    assert sorted(folder.iterdir()) == before
