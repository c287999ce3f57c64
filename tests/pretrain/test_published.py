"""Published result files: known answers of generated ones, and the authors' own to the digit."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import r2_score

from tessera_core.cli import main
from tessera_core.errors import InputError
from tessera_core.pretrain.studies import published


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "results"
    for model, at in (("ours", 20.0), ("theirs", 30.0)):
        place = root / "biomassters/data/metrics" / model
        place.mkdir(parents=True)
        for metric in published.METRICS:
            with (place / f"{metric}_results.csv").open("w", newline="") as file:
                rows = [("frac", "val"), *((share, at - 5 * share + d) for share in (0.01, 1.0) for d in (-1, 1))]
                csv.writer(file).writerows(rows)
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 200, (8, 9))
    for name, values in (("gt", truth), ("model01", truth + 3)):
        place = root / f"biomassters/data/{name}_dir_example"
        place.mkdir()
        np.save(place / "a_agbm.npy", values)
    (root / "burned_areas/data").mkdir(parents=True)
    scores = {"sample_counts": np.array([33, 66]), "scores_ours": np.array([0.5, 0.75])}
    np.savez(root / "burned_areas/data/training_results.npz", **scores)
    return root


def test_known_answers_come_back(folder: Path, tmp_path: Path) -> None:
    result = published.run(folder, tmp_path / "out")
    assert result["biomass"]["ours"]["rmse"] == {"0.01": pytest.approx([18.95, 20.95]), "1": [14, 16]}
    (scores,) = result["maps"].values()
    assert scores["rmse"] == pytest.approx(3)
    assert scores["bias"] == pytest.approx(3)
    assert result["burned"] == {"labels": [33, 66], "ours": [0.5, 0.75]}
    assert "| theirs | 29.95 ± 1.00 | 25.00 ± 1.00 |" in result["table"]
    assert json.loads((tmp_path / "out/published.json").read_text())["table"] == result["table"]


def test_scores_of_maps_are_those_of_scikit_learn_and_pass_over_gaps() -> None:
    rng = np.random.default_rng(1)
    truth, guess = rng.normal(size=(2, 30))
    assert published.map_scores(truth, guess)["r2"] == pytest.approx(r2_score(truth, guess))
    gap = truth.copy()
    gap[3] = np.nan
    assert published.map_scores(gap, guess) == published.map_scores(np.delete(truth, 3), np.delete(guess, 3))
    with pytest.raises(InputError, match="not of one place"):
        published.map_scores(truth, guess[:5])


def test_the_command_tells_what_is_damaged_or_missing(folder: Path, tmp_path: Path, capsys) -> None:
    assert main(["study", "published", str(folder), "--out", str(tmp_path / "o")]) == 0
    assert "burned area" in capsys.readouterr().out
    (folder / "biomassters/data/metrics/ours/r2_results.csv").write_text("a,b\n1,2\n")
    assert main(["study", "published", str(folder), "--out", str(tmp_path / "o")]) == 2
    (tmp_path / "empty").mkdir()
    assert main(["study", "published", str(tmp_path / "empty"), "--out", str(tmp_path / "o")]) == 2
    assert main(["study", "published", "--out", str(tmp_path / "o")]) == 2


def test_the_authors_files_give_their_figures(shared: Path, tmp_path: Path) -> None:
    result = published.run(shared / "data/published-results", tmp_path)
    (scores,) = result["maps"].values()
    assert round(scores["r2"], 4) == 0.8174
    assert round(scores["rmse"], 2) == 42.39
    rmse = {share: np.mean(values) for share, values in result["biomass"]["tessera"]["rmse"].items()}
    # docs/spec/facts.md: 30.98 / 28.67 / 27.42 / 26.61 at 1, 5, 30 and 100 % of the labels.
    assert [round(rmse[share], 2) for share in ("0.01", "0.05", "0.3", "1")] == [30.98, 28.67, 27.42, 26.61]
    burned = dict(zip(result["burned"]["labels"], result["burned"]["TESSERA"], strict=True))
    assert [round(burned[n], 2) for n in (66, 331)] == [0.88, 0.91]
