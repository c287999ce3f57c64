"""The six published tasks: data generated in each layout give back the answer they were made with; what is missing is told."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, jaccard_score, r2_score

from tessera_core.cli import main
from tessera_core.errors import InputError
from tessera_core.pretrain.studies.downstream import NAMES, biomass, crops, framework, pastis, reading, tasks, trees

SMALL = framework.Effort(epochs=1, width=8, crop=16, batch=4, steps=30)
MORE = framework.Effort(epochs=1, width=8, crop=16, batch=4, steps=80)
DIM = 6


def quantised(path: Path, scales: Path, values: np.ndarray) -> None:
    """Vectors (H, W, D) as int8 with a scale a pixel."""
    scale = np.maximum(np.abs(values).max(-1), 1e-6).astype(np.float32) / 127
    for at, array in ((path, np.rint(values / scale[..., None]).astype(np.int8)), (scales, scale)):
        at.parent.mkdir(parents=True, exist_ok=True)
        np.save(at, array)


def saved(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def of_classes(classes: np.ndarray, rng: np.random.Generator, noise: float = 0.3) -> np.ndarray:
    """Vectors (H, W, D) that tell classes apart; those of class k lie around the k-th axis."""
    return (np.eye(DIM)[classes % DIM] * 3 + rng.normal(0, noise, (*classes.shape, DIM))).astype(np.float32)


def of_numbers(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Vectors (H, W, D) whose first value is the number, in units of 100."""
    values = rng.normal(0, 0.1, (*truth.shape, DIM)).astype(np.float32)
    values[..., 0] += np.nan_to_num(truth) / 100
    return values


def make_crops(root: Path) -> None:
    """Fields of 4 x 4 pixels of three crops, and two embeddings: one that knows them, one that knows nothing."""
    rng = np.random.default_rng(0)
    crop = rng.integers(1, 4, (12, 12))
    field = np.arange(144).reshape(12, 12) + 7
    labels, fields = (np.kron(one, np.ones((4, 4), int)) for one in (crop, field))
    labels[:2] = 0
    place = root / "data"
    saved(place / "fieldtype_17classes_downsample_100.npy", labels.astype(np.uint8))
    saved(place / "fieldid_downsample_100.npy", fields)
    saved(place / "austrian_crop_good_embedding_downsample_100.npy", of_classes(labels, rng))
    saved(
        place / "austrian_crop_blind_embeddings_downsample_100.npy", rng.normal(size=(24, 24, DIM)).astype(np.float32)
    )
    with (place / "updated_fielddata.csv").open("w", newline="") as file:
        rows = zip(field.ravel(), 500 + crop.ravel(), rng.uniform(900, 5000, 144), strict=True)
        csv.writer(file).writerows([("fid_1", "SNAR_CODE", "area_m2"), *rows])


def make_trees(root: Path) -> None:
    """Patches of one or two of three genera."""
    rng = np.random.default_rng(1)
    labels, names = {}, []
    for number in range(90):
        some = rng.permutation(3)[: 1 + number % 2]
        name = f"stand_{number}"
        labels[f"{name}.tif"] = [[trees.GENERA[k], 1 / len(some)] for k in some] + [["Unknown", 0.01]]
        mean = np.eye(DIM)[some].sum(0) * 3
        values = (mean + rng.normal(0, 0.3, (6, 6, DIM))).astype(np.float32)
        path = root / f"embeddings/good/{name}_2020.npy"
        quantised(path, path.with_name(f"{name}_2020_scales.npy"), values)
        names.append(f"{name}.tif")
    (root / "labels").mkdir()
    (root / "labels/TreeSatBA_v9_60m_multi_labels.json").write_text(json.dumps(labels))
    (root / "train_filenames.lst").write_text("\n".join(names[:60]))
    (root / "test_filenames.lst").write_text("\n".join([*names[60:], "absent.tif"]) + "\n")


def make_pastis(root: Path) -> None:
    """Patches of two crops in halves, an edge of void, (D, H, W) as the data set's series lie."""
    rng = np.random.default_rng(2)
    features = []
    for patch in range(10):
        truth = np.full((18, 18), 1 + patch % 2)
        truth[:, 9:] = 3
        truth[0] = pastis.VOID
        saved(root / f"ANNOTATIONS/TARGET_{patch}.npy", np.stack([truth, truth, truth]).astype(np.uint8))
        saved(root / f"DATA_TESSERA/TESSERA_{patch}.npy", of_classes(truth, rng).transpose(2, 0, 1))
        features.append({"type": "Feature", "geometry": None, "properties": {"ID_PATCH": patch, "Fold": 1 + patch % 5}})
    saved(root / "DATA_S2/S2_0.npy", np.zeros((3, 10, 18, 18), np.int16))
    (root / "metadata.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def make_biomass(root: Path) -> None:
    rng = np.random.default_rng(3)
    for side, count in (("train", 10), ("test", 4)):
        for number in range(count):
            truth = np.repeat(np.repeat(rng.uniform(0, 300, (4, 4)), 5, 0), 5, 1)
            folder = root / "tessera/representations"
            own = "train_all" if side == "train" else "test"
            name = f"{side}{number}_agbm.npy"
            quantised(folder / f"representations_{own}" / name, folder / f"scales_{own}" / name, of_numbers(truth, rng))
            truth[0, 0] = np.nan
            saved(root / f"ground_truth/{'train_agbm_all' if side == 'train' else 'test_agbm'}/{name}", truth)


def make_canopy(root: Path) -> None:
    rng = np.random.default_rng(4)
    for region in range(5):
        for number in range(4):
            heights = np.repeat(np.repeat(rng.uniform(0, 60, (4, 4)), 4, 0), 4, 1)
            place = root / f"training_data_tessera_embedding/region_{region}"
            saved(place / f"patch_{number}.npy", of_numbers(5 * heights, rng))
            heights[3:5] = np.nan
            saved(place / f"label_{number}.npy", heights if number else np.full((16, 16), np.nan))


def make_burned(root: Path) -> None:
    rng = np.random.default_rng(5)
    severity = np.kron(rng.choice([0, 2, 3, 4], (6, 6)), np.ones((16, 16), int))
    severity[0] = 1
    saved(root / "severity.npy", severity.astype(np.uint8))
    quantised(root / "good_embedding.npy", root / "good_embedding_scales.npy", of_classes(severity, rng))


MAKE = {
    "austrian-crops": make_crops,
    "tree-species": make_trees,
    "pastis": make_pastis,
    "biomass": make_biomass,
    "canopy-height": make_canopy,
    "burned-area": make_burned,
}
KNOWN = {  # the embedding, the share, and what the first metrics must say of data made so
    "austrian-crops": ("good", 0.3, {"weighted_f1": (0.97, 1), "macro_f1": (0.97, 1)}),
    "tree-species": ("good", 1.0, {"weighted_f1": (0.93, 1), "micro_f1": (0.93, 1)}),
    "pastis": ("TESSERA", 1.0, {"miou": (0.8, 1), "accuracy": (0.9, 1)}),
    "biomass": ("tessera", 1.0, {"rmse": (5, 35), "r2": (0.85, 1)}),
    "canopy-height": ("tessera", 1.0, {"rmse": (1, 8), "r2": (0.8, 1)}),
    "burned-area": ("good", 0.1, {"random": (0.97, 1), "ground": (0.97, 1)}),
}


@pytest.mark.parametrize("name", NAMES)
def test_generated_data_give_back_the_answer_they_were_made_with(name: str, tmp_path: Path) -> None:
    MAKE[name](tmp_path)
    task = tasks.TASKS[name]
    model, share, wanted = KNOWN[name]
    effort = SMALL if name in ("austrian-crops", "burned-area") else MORE
    scores = task.judge(task.read(tmp_path)[model].parts, share, 0, effort)
    assert set(scores) == {one.key for one in task.metrics}
    for key, (low, high) in wanted.items():
        assert low <= scores[key] <= high, scores


def test_a_task_goes_on_with_what_it_has_and_stands_beside_the_published_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tasks.TASKS, "austrian-crops", replace(crops.TASK, light=SMALL))
    folder, out = tmp_path / "austria", tmp_path / "out"
    make_crops(folder)
    command = ["study", "downstream", "austrian-crops", str(folder), "--out", str(out), "--shares", "0.001,30"]
    assert main(command) == 0
    table = capsys.readouterr().out
    result = json.loads((out / "downstream-austrian-crops.json").read_text())
    good, blind = (result["results"][name]["weighted_f1"]["0.3"][0] for name in ("good", "blind"))
    assert good > 0.97
    assert blind < 0.55
    (row,) = [line for line in table.splitlines() if line.startswith("| published [1]: TESSERA")]
    assert row == "| published [1]: TESSERA | - | 0.6615 | 0.8209 |"
    kept = {path: path.stat().st_mtime_ns for path in (out / "kept").iterdir()}
    assert main([*command, "--json"]) == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "kept").iterdir()} == kept
    # Another file of labels is other data.
    saved(folder / "data/austrian_crop_good_embedding_downsample_100.npy", np.zeros((48, 48, DIM), np.float32))
    assert main(command) == 0
    assert len(list((out / "kept").iterdir())) == len(kept) + 2


@pytest.mark.parametrize("name", NAMES)
def test_what_a_folder_lacks_is_told_in_one_sentence(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match="holds nothing of the task"):
        framework.run(tasks.TASKS[name], tmp_path, out)
    MAKE[name](tmp_path / "data set" if name != "trees" else tmp_path)
    root = tmp_path / "data set"
    needless = {
        "austrian-crops": "data/updated_fielddata.csv",
        "tree-species": "test_filenames.lst",
        "pastis": "DATA_TESSERA",
        "biomass": "tessera",
        "canopy-height": "training_data_tessera_embedding/region_4",
        "burned-area": "good_embedding.npy",
    }[name]
    (root / needless).rename(tmp_path / "away")
    with pytest.raises(InputError, match="no "):
        framework.run(tasks.TASKS[name], root, out)
    assert not (out / "kept").exists()


def test_wrong_lines_are_refused_at_once(tmp_path: Path) -> None:
    out = str(tmp_path / "o")
    for words in ([], ["crops", str(tmp_path)], ["pastis"], ["pastis", str(tmp_path), "--shares", "0"]):
        assert main(["study", "downstream", *words, "--out", out]) == 2


def test_the_authors_result_files_are_told_to_the_digit(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/published-results"
    result = framework.run(tasks.TASKS["biomass"], folder, tmp_path)
    tessera = next(one for one in result["published"] if one["model"] == "tessera" and one["metric"] == "rmse")
    ours = next(one for one in biomass.TASK.anchors if one.metric == "rmse" and len(one.values) > 1)
    assert {float(s): round(v, 2) for s, v in tessera["values"].items()} == dict(ours.values)
    burned = framework.run(tasks.TASKS["burned-area"], folder, tmp_path)
    found = {one["model"]: one["values"] for one in burned["published"]}
    for anchor in tasks.TASKS["burned-area"].anchors:
        name = {"TESSERA": "TESSERA", "AlphaEarth": "GSE"}.get(anchor.model, "Task Specific Composite")
        assert {float(s): round(v, 3) for s, v in found[name].items()} == dict(anchor.values)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 0.9))
def test_fields_are_divided_as_published(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    ids, codes = rng.permutation(60) + 5, rng.integers(0, 4, 60).astype(str)
    areas = rng.uniform(1, 100, 60)
    teach, judge = crops.split_fields(ids, codes, areas, share, seed)
    wanted: set[int] = set()
    for code in set(codes.tolist()):
        own = [(areas[i], int(ids[i])) for i in range(60) if codes[i] == code]
        taken, goal = 0.0, share * sum(area for area, _ in own)
        for area, fid in sorted(own):
            if taken >= goal - 1e-9:
                break
            wanted.add(fid)
            taken += area
    assert set(teach.tolist()) == wanted
    assert not set(judge.tolist()) & wanted
    rest = 60 - len(wanted)
    assert len(judge) == rest - int(rest / 7)


def test_scores_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(8)
    truth, said = rng.random((2, 40, 5)) < 0.4
    ours = trees.scores_of(truth, said)
    for key in ("weighted", "micro", "macro"):
        assert ours[f"{key}_f1"] == pytest.approx(f1_score(truth, said, average=key))
    classes = rng.integers(0, 4, (2, 200))
    matrix = np.zeros((pastis.CLASSES, pastis.CLASSES), int)
    np.add.at(matrix, tuple(classes), 1)
    assert pastis.scores_of(matrix)["miou"] == pytest.approx(jaccard_score(*classes, average="macro"))
    maps = rng.normal(size=(3, 2, 5, 5))
    told = biomass.scores_of((one[0], one[1]) for one in maps)
    assert told["r2"] == pytest.approx(r2_score(maps[:, 0].ravel(), maps[:, 1].ravel()))
    assert told["rmse"] == pytest.approx(np.sqrt(np.square(maps[:, 0] - maps[:, 1]).mean((1, 2))).mean())


def test_rasters_of_another_size_are_read_between_their_pixels(tmp_path: Path) -> None:
    import torch

    values = np.random.default_rng(9).normal(size=(5, 7, 3)).astype(np.float32)
    saved(tmp_path / "e.npy", values)
    rows, cols = (one.ravel() for one in np.mgrid[:11, :9])
    ours = reading.Vectors(tmp_path / "e.npy", None, (11, 9)).at(rows, cols).reshape(11, 9, 3)
    there = torch.nn.functional.interpolate(
        torch.from_numpy(values).permute(2, 0, 1)[None], size=(11, 9), mode="bilinear"
    )
    np.testing.assert_allclose(ours, there[0].permute(1, 2, 0).numpy(), atol=1e-5)
    with pytest.raises(InputError, match="its labels are"):
        reading.Vectors(tmp_path / "e.npy", None, (11, 9)).window()
