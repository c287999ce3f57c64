"""tessera map: labels or a saved head in, GeoTIFFs out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio

from tessera_core.cli import main
from tessera_core.heads import load_head, save_head
from tessera_core.provenance import Provenance
from tests.factories import make_grid, make_raster

GRID = make_grid((24, 30))
ORIGIN = Provenance("studio", "nano", dim=16, year=2024)


@pytest.fixture
def region(tmp_path):
    """Embeddings of three stripes with a hole, and a raster of a few labels with codes up to 9120."""
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 10)[None].repeat(24, 0)
    x = rng.normal(size=(3, 16))[truth] + 0.1 * rng.normal(size=(24, 30, 16))
    raster = make_raster(x, GRID, ORIGIN, empty=np.s_[0, :4])
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
    assert (result["head"], result["head_name"]) == ("LogisticHead", "logistic regression (logistic)")
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


def test_a_saved_head_says_what_share_of_a_region_is_unlike_what_it_was_trained_on(region, capsys):
    folder, raster, _ = region
    head = folder / "h.safetensors"
    words = ["map", folder / "E", "--labels", folder / "l.tif", "--out", folder / "m.tif", "--save-head", head]
    assert tessera(capsys, *words)[0] == 0
    seen = load_head(head).seen
    assert seen["means"].shape == (3, 16)
    # The lower half is ground of a kind that no label shows.
    away = np.random.default_rng(7).normal(size=16)
    x = np.nan_to_num(raster.sample(*np.indices((24, 30)).reshape(2, -1)).astype(np.float64)).reshape(24, 30, 16)
    x[12:] = 4 * away + 0.1 * np.random.default_rng(8).normal(size=(12, 30, 16))
    x[0, :4] = 1
    make_raster(x, GRID, ORIGIN, empty=np.s_[0, :4]).save(folder / "elsewhere")
    use = ["--use-head", head, "--out", folder / "n.tif"]
    _, home, _ = tessera(capsys, "map", folder / "E", *use, "--json")
    assert home["unlike_training"]["share"] == home["unlike_training"]["where_trained"] < 0.3
    assert "about as much as where it was trained; the map guesses there" in home["unlike_training"]["sentence"]
    _, far, _ = tessera(capsys, "map", folder / "elsewhere", *use, "--json")
    assert far["unlike_training"]["share"] == pytest.approx(0.5 + home["unlike_training"]["share"] / 2, abs=0.05)
    _, text, _ = tessera(capsys, "map", folder / "elsewhere", *use)
    assert (
        "of the region is unlike anything the head was trained on (24 % where it was trained); the map guesses" in text
    )
    # A head of an older version says nothing of it; passed on, a head keeps what it knows.
    saved = load_head(head)
    save_head(folder / "old.safetensors", saved.head, saved.class_names, saved.provenance)
    again = ["--use-head", folder / "old.safetensors", "--out", folder / "o.tif"]
    assert "unlike_training" not in tessera(capsys, "map", folder / "elsewhere", *again, "--json")[1]
    assert tessera(capsys, "map", folder / "elsewhere", *use, "--save-head", folder / "p.safetensors")[0] == 0
    for name, array in load_head(folder / "p.safetensors").seen.items():
        np.testing.assert_array_equal(array, seen[name])


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("means", np.zeros((3, 5))),
        ("means", None),
        ("floor", np.array([0.0])),
        ("thresholds", np.arange(100.0)[::-1].copy()),
        ("axes", np.full((2, 16), np.nan)),
        ("places", np.array([1, 2])),
        ("home", np.array([1.5])),
    ],
)
def test_what_a_head_was_trained_on_is_refused_where_it_does_not_fit(region, capsys, name, wrong):
    folder, _, _ = region
    head = folder / "h.safetensors"
    words = ["map", folder / "E", "--labels", folder / "l.tif", "--out", folder / "m.tif", "--save-head", head]
    assert tessera(capsys, *words)[0] == 0
    saved = load_head(head)
    seen = {key: array for key, array in saved.seen.items() if key != name}
    seen |= {} if wrong is None else {name: wrong}
    save_head(head, saved.head, saved.class_names, saved.provenance, seen)
    code, _, err = tessera(capsys, "map", folder / "E", "--use-head", head, "--out", folder / "n.tif")
    assert code == 2
    assert "damaged" in err


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
    replace(raster, provenance=replace(ORIGIN, version="mini")).save(folder / "F")
    code, out, err = tessera(capsys, "map", folder / "F", "--use-head", folder / "h.st", "--out", folder / "x.tif")
    assert code == 2
    assert out == ""
    assert "studio mini (16-d) and studio nano (16-d) cannot be mixed" in err
    assert not (folder / "x.tif").exists()


@pytest.mark.parametrize("command", ["map", "evaluate"])
def test_labels_of_one_class_are_refused_by_its_name_and_with_where_it_comes_from(region, capsys, monkeypatch, command):
    folder = region[0]
    monkeypatch.chdir(folder)
    lonlat = zip(*GRID.pixel_to_lonlat(np.arange(2.5, 12), np.arange(2.5, 12)), strict=True)
    (folder / "plots.csv").write_text("\n".join(["lon,lat", *(f"{x},{y}" for x, y in lonlat)]))
    more = ["--out", "m.tif"] if command == "map" else []
    code, _, err = tessera(capsys, command, "E", "--labels", "plots.csv", *more)
    assert code == 2
    assert "only class plots has" in err
    assert "The file names no classes, so all its places became the class 'plots'." in err


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
