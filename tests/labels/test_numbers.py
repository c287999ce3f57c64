"""Labels that are numbers, from vector files and tables."""

from __future__ import annotations

import json

import numpy as np
import pytest
from affine import Affine

from tessera_core.assess.numbers import Numbers, evaluate_numbers, number_scores, number_sentence, read_number_labels
from tessera_core.errors import LabelError
from tessera_core.grid import Grid
from tessera_core.heads import make_regression_head
from tessera_core.labels.numbers import read_numbers
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster

GRID = Grid("EPSG:32631", Affine(10, 0, 500000, 0, -10, 5600000), (40, 40))


def plots(path, **columns):
    features = []
    for n in range(12):
        x, y = 500055 + 30 * n, 5599900 - 20 * n
        properties = {name: values[n] for name, values in columns.items()}
        features.append(
            {"type": "Feature", "geometry": {"type": "Point", "coordinates": [x, y]}, "properties": properties}
        )
    crs = {"type": "name", "properties": {"name": "EPSG:32631"}}
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    return path


def test_the_only_field_of_numbers_is_taken(tmp_path):
    values = [1.5 * n for n in range(12)]
    values[3] = None
    path = plots(tmp_path / "p.geojson", id=list(range(12)), height=values, who=["a"] * 12)
    labels, numbers = read_numbers(path, GRID)
    assert numbers.tolist() == [v for v in values if v is not None]
    assert {label.kind for label in labels} == {"point"}
    found = read_number_labels(path, GRID)
    assert sorted(found.values) == sorted(numbers)


def test_more_numbers_than_classes_are_no_trouble(tmp_path):
    lines = [f"{500005 + 10 * (n % 40)},{5599995 - 10 * (n // 40)},{n / 7}" for n in range(600)]
    (tmp_path / "p.csv").write_text("x,y,mass\n" + "\n".join(lines) + "\n")
    found = read_number_labels(tmp_path / "p.csv", GRID)
    assert len(found.values) == 600
    np.testing.assert_allclose(found.values, (found.rows * 40 + found.cols) / 7)


def test_which_field_has_to_be_said_where_several_would_do(tmp_path):
    path = plots(tmp_path / "p.geojson", height=list(range(12)), volume=list(range(12)), who=["a"] * 12)
    with pytest.raises(LabelError, match=r"2 fields of numbers \(height, volume\)"):
        read_numbers(path, GRID)
    assert read_numbers(path, GRID, "volume")[1].tolist() == list(range(12))
    with pytest.raises(LabelError, match=r"'who' of p\.geojson holds no numbers"):
        read_numbers(path, GRID, "who")
    with pytest.raises(LabelError, match="no field 'mass'"):
        read_numbers(path, GRID, "mass")


def test_rasters_of_numbers_are_laid_on_the_grid(tmp_path):
    values = np.full((40, 40), np.nan)
    values[5:8, 6:9] = np.arange(9).reshape(3, 3) / 2
    np.save(tmp_path / "v.npy", values)
    found = read_number_labels(tmp_path / "v.npy", GRID)
    np.testing.assert_array_equal(values[found.rows, found.cols], found.values)
    np.save(tmp_path / "w.npy", np.full((40, 40), np.nan))
    with pytest.raises(LabelError, match="no number in this region"):
        read_number_labels(tmp_path / "w.npy", GRID)


def test_scores_by_hand():
    scores = number_scores(np.array([1.0, 2, 3, 4]), np.array([1.0, 2, 3, np.nan]), np.array([0.1, 0.1, 0.1, 0.1]))
    assert (scores["r2"], scores["rmse"], scores["n_test"], scores["coverage"]) == (1, 0, 3, 1)
    scores = number_scores(np.array([0.0, 2]), np.array([1.0, 1]), np.array([0.5, 2]))
    assert scores == {"r2": 0, "rmse": 1, "mae": 1, "bias": 0, "n_test": 2, "coverage": 0.5}


def test_the_blocked_score_is_not_flattered_by_neighbours():
    """Numbers that vary smoothly by chance: a random split claims to know them, blocks of ground show that it does not."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    shape = (64, 64)
    x = np.stack([gaussian_filter(rng.normal(size=shape), 6) for _ in range(24)], -1)
    x = x / x.std() + 0.05 * rng.normal(size=x.shape)
    scales = (np.abs(x).max(2) / 127).astype(np.float32)
    raster = EmbeddingRaster(
        np.rint(x / scales[..., None]).astype(np.int8), scales, Grid.local(shape), Provenance(dim=24)
    )
    chance = gaussian_filter(rng.normal(size=shape), 6)
    rows, cols = (a.ravel()[::9] for a in np.indices(shape))
    samples = Numbers(chance[rows, cols] / chance.std(), np.arange(len(rows)), rows, cols).with_embeddings(raster)
    result = evaluate_numbers(samples, make_regression_head("ridge-regression"), split="blocked")
    assert result["naive"]["r2"] > result["r2"] + 0.2
    assert "A random split would have claimed" in number_sentence(result)
    with pytest.raises(LabelError, match="no split"):
        evaluate_numbers(samples, make_regression_head("ridge-regression"), split="odd")
    with pytest.raises(LabelError, match="in 1 of them"):
        evaluate_numbers(samples, make_regression_head("ridge-regression"), split="blocked", block_px=100)
