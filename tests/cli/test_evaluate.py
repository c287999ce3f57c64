"""tessera evaluate and tessera bench: their JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio

from tessera_core.bench import hot_path
from tessera_core.cli import main
from tessera_core.dpixels.tile import write_tile
from tessera_core.provenance import Provenance
from tests.factories import make_grid, make_raster

GRID = make_grid((24, 32))
pytestmark = pytest.mark.usefixtures("few_trees")


@pytest.fixture
def region(tmp_path):
    """A chessboard of 8 x 8 pixel fields of two classes and a strip of a third, embeddings and d-pixels of it."""
    rng = np.random.default_rng(0)
    row, col = np.indices((24, 32)) // 8
    truth = np.where((row + col) % 2, 1200, 9120).astype(np.uint16)
    truth[:, -2:] = 7900
    truth[::8] = truth[:, ::8] = 0
    index = (truth == 1200) + 2 * (truth == 7900)
    x = rng.normal(size=(3, 16))[index] + 0.3 * rng.normal(size=(24, 32, 16))
    make_raster(x, GRID, Provenance("studio", "nano", dim=16)).save(tmp_path / "E")
    bands = (2000 + 500 * index[None, ..., None] + 300 * rng.normal(size=(4, 24, 32, 10))).astype(np.uint16)
    masks = np.ones((4, 24, 32), np.uint8)
    write_tile(tmp_path / "D", bands=bands, masks=masks, doys=np.array([10, 50, 90, 130]), grid=GRID)
    with rasterio.open(
        tmp_path / "l.tif", "w", driver="GTiff", dtype="uint16", count=1, height=24, width=32, crs=GRID.crs,
        transform=GRID.transform,
    ) as file:  # fmt: skip
        file.write(truth, 1)
    return tmp_path


@pytest.mark.parametrize("split", ["field", "blocked", "random"])
def test_the_json_holds_what_the_contract_says(region, capsys, split):
    words = ["evaluate", region / "E", "--labels", region / "l.tif", "--classes", "1200,9120", "--head", "logistic"]
    words += ["--split", split, "--block", "8", "--buffer", "1", "--baseline", region / "D", "--json"]
    assert main([str(word) for word in words]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["split"] == split
    assert set(result["per_class"]) == {"1200", "9120"}
    assert set(result["per_class"]["1200"]) == {"id", "precision", "recall", "f1", "support"}
    assert result["macro_f1"] > 0.9
    assert result["n_train"] > 0
    assert result["n_test"] == sum(one["support"] for one in result["per_class"].values())
    assert ("naive" in result) == (split != "random")
    assert result["dataset"] == "studio nano (16-d)"
    assert result["baseline"]["n_features"] == 40
    assert {one["what"] for one in result["card"]} == {"cover", "imbalance", "borders", "no data"}
    assert {"logistic", "forest"} <= set(result["baseline"])
    assert result["baseline"]["forest"]["split"] == split


def test_few_shot_and_the_report_for_people(region, capsys):
    words = ["evaluate", region / "E", "--labels", region / "l.tif", "--per-class", "3", "--repeats", "4"]
    assert main([str(word) for word in words]) == 0
    out = capsys.readouterr().out
    assert out.index("The labels:") < out.index("Labels where there are no embeddings: 0 of") < out.index("macro-F1")
    assert "class means (prototype) on studio nano (16-d), whole fields held out" in out
    assert "over 4 repeats" in out
    assert "A random split would have claimed" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--classes", "4"], "no class '4'"),
        (["--folds", "1"], "At least 2 folds"),
        (["--per-class", "0"], "at least 1"),
        (["--baseline", "."], "not a d-pixel tile"),
    ],
)
def test_bad_input_is_one_sentence(region, capsys, monkeypatch, words, message):
    monkeypatch.chdir(region)
    assert main(["evaluate", "E", "--labels", "l.tif", *words]) == 2
    out = capsys.readouterr()
    assert out.out == ""
    assert message in out.err


def test_bench_reports_every_time_beside_its_ratio(capsys, monkeypatch):
    monkeypatch.setattr(hot_path, "SIZES", {"2400": (40, 60)})
    assert main(["bench", "hot-path", "--quick", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    one = result["pixels"]["2400"]
    assert set(one["heads"]) == {"ridge", "logistic", "prototype", "knn", "auto"}
    for head in one["heads"].values():
        assert head["accuracy"] > 0.9
        assert head["total_ms"] == pytest.approx(
            sum(head[k] for k in ("sample_ms", "fit_ms", "predict_confidence_ms", "png_ms")), abs=0.01
        )
    ours, peer = one["heads"]["logistic"]["predict_confidence_ms"], one["peers"]["sklearn_logistic_predict_ms"]
    assert one["ratio_sklearn_logistic"] == pytest.approx(peer / ours, rel=0.05)
    assert {"ratio_dequantise_sklearn_logistic", "ratio_sklearn_knn"} <= set(one)


def test_an_unknown_bench_is_bad_usage(capsys):
    assert main(["bench", "coffee"]) == 2


def test_labels_say_whether_another_head_suits_them(region, capsys):
    words = ["evaluate", region / "E", "--labels", region / "l.tif", "--classes", "1200,9120", "--compare-heads"]
    assert main([str(word) for word in [*words, "--json"]]) == 0
    heads = json.loads(capsys.readouterr().out)["heads"]
    assert heads["best"] == "prototype"
    assert main([str(word) for word in words]) == 0
    out = capsys.readouterr().out
    assert out.index(f"{heads['sentence']} Take --head prototype.") < out.index("macro-F1")
    assert main([str(word) for word in [*words, "--per-class", "3"]]) == 2
