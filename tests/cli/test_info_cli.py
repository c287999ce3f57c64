import json

import numpy as np
import pytest

from tessera_core.cli import main
from tessera_core.project.project import Project
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tests.factories import make_grid

GRID = make_grid((20, 30))
V2 = Provenance("tessera", "2.0", "2B-L", year=2023)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))


def info(capsys, *paths):
    code = main(["info", *map(str, paths), "--json"])
    captured = capsys.readouterr()
    return json.loads(captured.out)["items"] if code == 0 else (code, captured.err)


def raster():
    codes = np.full((20, 30, 16), 7, np.int8)
    scales = np.full((20, 30), 0.1, np.float32)
    scales[:5] = np.nan
    return EmbeddingRaster(codes, scales, GRID, V2)


def test_embeddings_of_every_layout(tmp_path, capsys):
    raster().save(tmp_path / "saved")
    np.save(tmp_path / "f.npy", np.ones((4, 5, 8), np.float32))
    (saved,) = info(capsys, tmp_path / "saved")
    assert (saved["kind"], saved["dataset"], saved["shape"], saved["dim"]) == (
        "embeddings",
        "tessera 2.0/2B-L (16-d)",
        [20, 30],
        16,
    )
    assert saved["valid_share"] == 0.75
    assert "50.5" in saved["text"][0]
    assert "EPSG:32631" in saved["text"][0]
    (floats,) = info(capsys, tmp_path / "f.npy")
    assert "without georeference" in floats["text"][0]
    assert not (tmp_path / "home").exists()
    assert len(info(capsys, tmp_path)) == 2


def test_a_project_and_its_file(tmp_path, capsys):
    raster().save(tmp_path / "e")
    project = Project.create(tmp_path / "p", "Fen")
    project.attach_embeddings(2023, tmp_path / "e", V2, GRID)
    project.log.add_class("Wood")
    project.log.add("point", 1, [(500_005, 5_599_995)])
    bundle = project.export_file(tmp_path / "fen")
    for path in (project.folder, project.folder / "project.json", bundle):
        (item,) = info(capsys, path)
        assert (item["kind"], item["name"], item["years"], item["classes"]) == ("project", "Fen", [2023], {"Wood": 1})
        assert item["missing"] == []
    (tmp_path / "e").rename(tmp_path / "gone")
    (item,) = info(capsys, project.folder)
    assert item["missing"] == [str(tmp_path / "e")]


def test_a_head_and_a_map(tmp_path, capsys):
    from tessera_core.export.geotiff import write_class_map
    from tessera_core.heads import make_head, save_head
    from tessera_core.labels.model import LabelClass

    rng = np.random.default_rng(0)
    head = make_head("ridge").fit(rng.normal(size=(20, 16)).astype(np.float32), np.arange(20) % 2 + 1)
    save_head(tmp_path / "h.safetensors", head, {1: "Wood", 2: "Water"}, V2)
    classes = [LabelClass(1, "Wood", "#00ff00")]
    write_class_map(tmp_path / "m.tif", np.ones((20, 30), np.uint8), None, GRID, classes, V2)
    item, other = info(capsys, tmp_path / "h.safetensors", tmp_path / "m.tif")
    assert (item["kind"], item["classes"], item["dataset"]) == ("head", {"1": "Wood", "2": "Water"}, V2.dataset)
    assert (other["kind"], other["classes"]) == ("class-raster", {"1": "Wood"})
    assert len(info(capsys, tmp_path)) == 2


def test_label_files(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("name,lat,lon\nWood,50,3\nWood,50.1,3\nFen,50,3.1\n")
    (item,) = info(capsys, tmp_path / "a.csv")
    assert (item["kind"], item["places"], item["classes"]) == ("labels", 3, {"Wood": 2, "Fen": 1})


def test_a_published_checkpoint_by_name_downloads_nothing(capsys):
    (item,) = info(capsys, "v2-nano")
    assert item["kind"] == "checkpoint-name"


def test_what_is_not_known_is_one_sentence_and_code_2(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.xyz").write_text("x")
    (tmp_path / "a.npy").write_text("x")
    (tmp_path / "a.pt").write_text("x")
    (tmp_path / "a.safetensors").write_text("x")
    (tmp_path / "a.tessera").write_text("x")
    (tmp_path / "broken").mkdir()
    np.save(tmp_path / "broken" / "bands.npy", np.zeros((2, 3, 3, 10), np.uint16))
    for name in ("empty", "nowhere", "a.xyz", "a.npy", "a.pt", "a.safetensors", "a.tessera", "broken"):
        code, message = info(capsys, tmp_path / name)
        assert code == 2, name
        assert message.count("\n") == 1
        assert "Traceback" not in message


def test_good_ones_are_told_beside_bad_ones_and_each_once(tmp_path, capsys):
    raster().save(tmp_path / "e")
    (tmp_path / "bad.tif").write_text("x")
    again = (
        tmp_path / "e",
        tmp_path / "." / "e",
        tmp_path / "bad.tif",
        tmp_path / "*" / "codes.npy",
        tmp_path / "e" / "raster.json",
    )
    code = main(["info", *map(str, again), "--json"])
    result = json.loads(capsys.readouterr().out)
    assert code == 3
    assert [item["kind"] for item in result["items"]].count("embeddings") == 1
    assert len(result["failed"]) == 1
    assert "bad.tif" in result["failed"][0]["what"]
    assert main(["info", str(tmp_path / "e"), str(tmp_path / "nowhere")]) == 3
    out = capsys.readouterr().out
    assert "Embeddings of 20 x 30" in out
    assert "Left out" in out


def test_our_files_are_known_under_any_name(tmp_path, capsys):
    from tessera_core.export.geotiff import write_confidence
    from tessera_core.export.values import RegressionProduct, write_value_map
    from tessera_core.heads import make_head, save_head

    rng = np.random.default_rng(0)
    head = make_head("ridge").fit(rng.normal(size=(20, 16)).astype(np.float32), np.arange(20) % 2 + 1)
    usual = tmp_path / "usual"
    usual.touch()
    for name in ("head", "head.v2", "head.bin", "head.pt"):
        save_head(tmp_path / name, head, {1: "Wood", 2: "Water"}, V2)
        assert (tmp_path / name).stat().st_mode == usual.stat().st_mode
    values = np.ones((20, 30), np.float32)
    product = RegressionProduct("height_m", "height_m", "m", values, values, GRID, V2, "RidgeRegression")
    height = write_value_map(tmp_path / "height.tif", product)
    sure = write_confidence(tmp_path / "sure.tif", np.full((20, 30), 80, np.uint8), GRID, V2)
    project = Project.create(tmp_path / "p", "Fen")
    bundle = project.export_file(tmp_path / "fen").rename(tmp_path / "fen.zip")
    names = ("head", "head.v2", "head.bin", "head.pt")
    items = info(capsys, *(tmp_path / name for name in names), height, sure, bundle)
    assert [item["kind"] for item in items] == ["head"] * 4 + ["number-map"] * 2 + ["project"]
    assert "height_m" in items[4]["text"][0]


def test_the_state_of_a_training_run_is_known(tmp_path, capsys):
    import torch

    state = {"config": json.dumps({"name": "mine"}), "step": 7, "encoder": {"w": torch.zeros(2)}}
    torch.save(state, tmp_path / "training.pt")
    (item,) = info(capsys, tmp_path / "training.pt")
    assert (item["kind"], item["steps"]) == ("training-state", 7)
    assert "--resume" in item["text"][0]


def test_without_json_it_speaks_plainly(tmp_path, capsys):
    raster().save(tmp_path / "e")
    assert main(["info", str(tmp_path / "e")]) == 0
    text = capsys.readouterr().out
    assert "Embeddings of 20 x 30 pixels in 16 dimensions" in text
    assert "75.0 % of the pixels have data" in text


def test_real_tiles_and_vectors(shared, capsys):
    tile, vectors = info(capsys, shared / "data/belgium-2018/dpixel", shared / "data/ukbms-embeddings/strip_3x7.npy")
    assert (tile["kind"], tile["s2_dates"], tile["s1_ascending"], tile["s1_descending"]) == ("dpixel-tile", 91, 109, 0)
    assert tile["year"] == 2018
    assert (vectors["kind"], vectors["shape"]) == ("embeddings", [3, 7])
