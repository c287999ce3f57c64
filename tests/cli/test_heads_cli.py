"""tessera map and evaluate with the heads that need more than a name: surroundings, trees, numbers, shapes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio

from tessera_core.cli import main
from tessera_core.heads import HEADS, UNetHead
from tessera_core.provenance import Provenance
from tests.factories import make_grid, make_raster

GRID = make_grid((48, 60))
pytestmark = pytest.mark.usefixtures("few_trees")


@pytest.fixture
def region(tmp_path, monkeypatch):
    """Embeddings of five stripes, and plots of them with a class and a height in a GeoJSON file."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(5), 12)[None].repeat(48, 0)
    x = rng.normal(size=(5, 16))[truth] + 0.3 * rng.normal(size=(48, 60, 16))
    make_raster(x, GRID, Provenance("studio", "nano", dim=16, year=2024), empty=np.s_[0, :4]).save(tmp_path / "E")
    names = ["Oak", "Pine", "Spruce", "Lake", "Hay"]
    features = []
    for row in (4, 14, 24, 34):
        for k, name in enumerate(names):
            col = 12 * k + 4
            ring = [
                [500000 + 10 * (col + c), 5600000 - 10 * (row + r)] for c, r in ((0, 0), (3, 0), (3, 3), (0, 3), (0, 0))
            ]
            # The pines of one row are known as conifers only.
            shown = "Conifer" if name == "Pine" and row == 4 else name
            features.append(
                {
                    "type": "Feature",
                    "geometry": {"type": "Polygon", "coordinates": [ring]},
                    "properties": {"id": len(features), "cover": shown, "height": 5.5 * k + 0.1 * row, "text": "x"},
                }
            )
    crs = {"type": "name", "properties": {"name": "EPSG:32631"}}
    (tmp_path / "plots.geojson").write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    (tmp_path / "tree.txt").write_text("Wood\n  Oak\n  Conifer\n    Pine\n    Spruce\nOpen\n  Lake\n  Hay\n")
    (tmp_path / "other.txt").write_text("Rock\nIce\n")
    return truth


def tessera(capsys, *words):
    code = main([str(word) for word in words])
    out = capsys.readouterr()
    return code, json.loads(out.out) if out.out.startswith("{") else out.out, out.err


@pytest.mark.parametrize(
    "options",
    [
        ["--head", "forest", "--neighbourhood", "3"],
        ["--neighbourhood", "5"],
        ["--head", "boosting"],
        ["--head", "auto"],
    ],
)
def test_heads_map_are_saved_and_scored(region, capsys, options):
    code, made, err = tessera(
        capsys, "map", "E", "--labels", "plots.geojson", "--field", "cover", "--classes", "Oak,Spruce,Lake,Hay", *options,
        "--out", "m.tif", "--save-head", "h.safetensors", "--json",
    )  # fmt: skip
    assert code == 0, err
    assert [c["name"] for c in made["classes"]] == ["Oak", "Spruce", "Lake", "Hay"]
    assert ("logistic regression" in made.get("method", "")) == ("auto" in options)
    code, _, _ = tessera(capsys, "map", "E", "--use-head", "h.safetensors", "--out", "n.tif", "--json")
    assert code == 0
    with rasterio.open("m.tif") as first, rasterio.open("n.tif") as second:
        np.testing.assert_array_equal(first.read(1), second.read(1))
    code, scored, err = tessera(
        capsys, "evaluate", "E", "--labels", "plots.geojson", "--field", "cover", "--classes", "Oak,Spruce,Lake,Hay",
        *options, "--folds", "2", "--json",
    )  # fmt: skip
    assert code == 0, err
    assert scored["macro_f1"] > 0.9


def test_a_tree_takes_labels_of_any_level(region, capsys):
    words = ["E", "--labels", "plots.geojson", "--field", "cover", "--tree", "tree.txt", "--head", "ridge"]
    code, made, err = tessera(capsys, "map", *words, "--confidence-threshold", "1", "--out", "m.tif", "--json")
    assert code == 0, err
    names = {c["name"] for c in made["classes"] if c["pixels"]}
    assert names <= {"Wood", "Open", "Oak", "Lake", "Hay", "Conifer", "Pine", "Spruce"}
    assert {"Wood", "Open"} <= names
    code, made, _ = tessera(capsys, "map", *words, "--confidence-threshold", "0", "--out", "m.tif", "--json")
    assert {c["name"] for c in made["classes"] if c["pixels"]} == {"Oak", "Pine", "Spruce", "Lake", "Hay"}
    code, scored, _ = tessera(capsys, "evaluate", *words, "--folds", "2", "--json")
    assert code == 0
    assert scored["per_class"]["Pine"]["f1"] > 0.8
    assert "Wood" not in scored["per_class"]


@pytest.mark.parametrize(
    "options", [["--head", "ridge-regression"], ["--head", "forest-regression", "--neighbourhood", "3"]]
)
def test_numbers_become_a_map_with_margins_and_a_score(region, capsys, options):
    words = ["E", "--labels", "plots.geojson", *options]
    code, made, err = tessera(
        capsys, "map", *words, "--out", "v.tif", "--margin", "w.tif", "--save-head", "h.safetensors", "--json"
    )
    assert code == 0, err
    with rasterio.open("v.tif") as file:
        values = file.read(1)
        assert file.dtypes == ("float32",)
        assert np.isnan(file.nodata)
        assert file.crs.to_epsg() == 32631
    assert np.isnan(values[0, :4]).all()
    assert np.corrcoef(values[1:].ravel(), region[1:].ravel())[0, 1] > 0.97
    with rasterio.open("w.tif") as file:
        assert (file.read(1)[1:] > 0).all()
    code, again, _ = tessera(capsys, "map", "E", "--use-head", "h.safetensors", "--out", "u.tif", "--json")
    assert again["values"] == made["values"]
    code, scored, _ = tessera(
        capsys, "evaluate", *words, "--field", "height", "--split", "blocked", "--block", "10", "--json"
    )
    assert code == 0
    assert scored["r2"] > 0.8
    assert scored["mae"] < scored["rmse"] < 5
    assert scored["naive"]["split"] == "random"
    code, text, _ = tessera(capsys, "evaluate", *words)
    assert "of the differences between places it has not seen" in text


def points(path, n=60, seed=5):
    """Points over the region with a class, its code, and a height with decimals."""
    rng = np.random.default_rng(seed)
    rows, cols = rng.integers(1, 48, n), rng.integers(0, 60, n)
    lines = ["x,y,cover,code,height_m,age"]
    for row, col in zip(rows, cols, strict=True):
        kind = int(col // 12)
        x, y = 500000 + 10 * (col + 0.5), 5600000 - 10 * (row + 0.5)
        height = 10 * kind + 5 * rng.random()
        name, code = ("Oak", "Pine", "Spruce", "Lake", "Hay")[kind], (1200, 7900, 9120, 30, 4)[kind]
        lines.append(f"{x},{y},{name},{code},{height:.2f},{kind + 1}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("command", ["map", "evaluate"])
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--field", "height_m"], "look measured and not like classes"),
        (["--field", "code", "--head", "ridge-regression"], "look like class codes"),
        (["--field", "age", "--head", "forest-regression"], "say --labels-are numbers"),
        (["--field", "cover", "--head", "forest", "--labels-are", "numbers"], "'forest' is for classes"),
        (["--field", "height_m", "--head", "mlp-regression", "--labels-are", "classes"], "is for numbers"),
    ],
)
def test_numbers_are_no_classes_and_codes_no_numbers(region, tmp_path, capsys, command, words, says):
    out = ["--out", "m.tif"] if command == "map" else []
    code, text, err = tessera(capsys, command, "E", "--labels", points(tmp_path / "p.csv"), *words, *out)
    assert (code, text) == (2, "")
    assert says in err
    assert not (tmp_path / "m.tif").exists()


def test_who_knows_better_says_what_labels_are(region, tmp_path, capsys):
    file = points(tmp_path / "p.csv")
    words = ["map", "E", "--labels", file, "--out", "m.tif"]
    code, made, err = tessera(capsys, *words, "--field", "age", "--labels-are", "numbers", "--json")
    assert code == 0, err
    assert made["head"] == "RidgeRegressionHead"
    assert 0 < made["values"]["mean"] < 6
    code, made, err = tessera(capsys, *words, "--field", "height_m", "--labels-are", "classes", "--json")
    assert code == 0, err
    assert len(made["classes"]) > 20


def test_points_are_judged_by_blocks_of_ground(region, tmp_path, capsys):
    words = [
        "evaluate",
        "E",
        "--labels",
        points(tmp_path / "p.csv"),
        "--field",
        "cover",
        "--block",
        "8",
        "--buffer",
        "2",
    ]
    code, scored, err = tessera(capsys, *words, "--json")
    assert code == 0, err
    assert scored["split"] == "blocked"
    assert scored["accuracy"] == scored["score"]["accuracy"]
    assert scored["interval"][0] <= scored["accuracy"] <= scored["interval"][1]
    text = tessera(capsys, *words)[1]
    assert any(line.startswith("About ") for line in text.splitlines())
    assert "blocks of ground held out (points have no fields)" in text
    assert "whole fields" not in text
    # Asked for, points are held out one by one, and it is said what that is worth.
    text = tessera(capsys, *words, "--split", "field")[1]
    assert "whole fields" not in text
    assert "as in a random split" in text
    # Areas are fields.
    text = tessera(capsys, "evaluate", "E", "--labels", "plots.geojson", "--field", "cover", "--folds", "2")[1]
    assert "whole fields held out" in text


def test_a_class_that_was_not_judged_has_no_score(region, tmp_path, capsys):
    lines = points(tmp_path / "p.csv").read_text().splitlines()
    lines.append("500105,5599895,Rock,5,1.0,9")
    (tmp_path / "p.csv").write_text("\n".join(lines) + "\n")
    words = ["evaluate", "E", "--labels", tmp_path / "p.csv", "--field", "cover", "--block", "8", "--buffer", "2"]
    rock = tessera(capsys, *words, "--json")[1]["per_class"]["Rock"]
    assert (rock["f1"], rock["recall"], rock["precision"], rock["support"]) == (None, None, None, 0)
    line = next(line for line in tessera(capsys, *words)[1].splitlines() if line.lstrip().startswith("Rock"))
    assert "not judged" in line
    assert "0.000" not in line


def test_shapes_are_mapped(region, capsys, monkeypatch):
    class Quick(UNetHead):
        def __init__(
            self, width=6, steps=15, crop=16, batch=3, dropout=0.0, learning_rate=0.01, class_weight="balanced", seed=0
        ):
            super().__init__(width, steps, crop, batch, dropout, learning_rate, class_weight, seed)

    monkeypatch.setitem(HEADS, "unet", Quick)
    words = ["E", "--labels", "plots.geojson", "--field", "cover", "--classes", "Oak,Lake,Hay", "--head", "unet"]
    code, made, err = tessera(capsys, "map", *words, "--out", "m.tif", "--json")
    assert code == 0, err
    assert made["head"] == "Quick"
    code, scored, err = tessera(capsys, "evaluate", *words, "--folds", "2", "--split", "random", "--json")
    assert code == 0, err
    assert scored["macro_f1"] > 0.5


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--head", "svm"], "invalid choice: 'svm'"),
        (["--head", "unet", "--neighbourhood", "3"], "looks around by itself"),
        (["--head", "ridge-regression", "--field", "text"], "holds no numbers"),
        (["--head", "ridge-regression", "--field", "volume"], "no field 'volume'"),
        (["--head", "ridge-regression", "--classes", "Oak"], "this head maps numbers"),
        (["--tree", "none.txt"], "does not exist"),
        (["--tree", "other.txt"], "No class of the labels is in the tree"),
        (["--head", "unet", "--tree", "tree.txt"], "knows no class trees"),
        (["--margin", "w.tif"], "--margin is for numbers"),
        (["--head", "ridge-regression", "--confidence", "c.tif"], "has --margin"),
    ],
)
def test_bad_input_is_one_sentence(region, capsys, words, says):
    field = [] if "--field" in words or "regression" in words[1] else ["--field", "cover"]
    assert main(["map", "E", "--labels", "plots.geojson", "--out", "m.tif", *field, *words]) == 2
    out = capsys.readouterr()
    assert out.out == ""
    assert says in out.err
    assert "Traceback" not in out.err


def test_a_head_that_is_missing_where_none_is_kept_lists_no_names(region, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    code, _, err = tessera(capsys, "map", "E", "--use-head", "nix.json", "--out", "m.tif")
    assert code == 2
    assert "nix.json does not exist: check the folder and the spelling. No names are kept here yet" in err


def test_options_and_commands_by_their_former_names_do_the_same():
    from tessera_core.cli import FORMER, command_module, command_parser

    words = ["e", "--labels", "labels.geojson", "--out", "m.tif"]
    parser = command_parser("map", command_module("map"))
    now = parser.parse_args([*words, "--neighbourhood", "3", "--confidence-threshold", "0.8"])
    assert parser.parse_args([*words, "--context", "3", "--certainty", "0.8"]) == now
    assert (parser.parse_args(words).neighbourhood, parser.parse_args(words).confidence_threshold) == (1, 0.6)
    assert "--certainty" not in parser.format_help()
    export = command_parser("export", command_module("export"))
    assert export.parse_args(["p", "--to", "numbers", "--out", "v.zip"]).to == "values"
    bench = command_parser("bench", command_module("bench"))
    assert bench.parse_args(["suggest"]) == bench.parse_args(["active-learning"])
    assert FORMER == {"fuse": "stack"}
