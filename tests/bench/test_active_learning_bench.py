"""The measure of suggestions, on a landscape with a rare class that random places seldom meet."""

from __future__ import annotations

import numpy as np
import pytest

from tessera_core.bench.active_learning import BenchWorld, compare, point_world, split_world
from tessera_core.errors import InputError
from tessera_core.grid import Grid
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster


def rare_world(seed: int) -> BenchWorld:
    rng = np.random.default_rng(seed)
    y = rng.choice(4, 1600, p=[0.6, 0.3, 0.07, 0.03]) + 1
    centres = np.random.default_rng(9).normal(size=(5, 12)) * 1.5
    x = (centres[y] + 0.6 * rng.normal(size=(1600, 12))).astype(np.float32)
    return BenchWorld(x[:800], y[:800], None, x[800:], y[800:])


def test_suggestions_save_labels_where_classes_are_rare() -> None:
    found = compare(rare_world, seeds=3, most=106)
    assert found["labels_needed"]["active learning"] is not None
    assert found["labels_needed"]["active learning"] < (found["labels_needed"]["random"] or 107)
    assert found["labels"][:2] == [6, 11]
    assert all(len(curve) == len(found["labels"]) for curve in found["macro_f1"].values())
    assert found == compare(rare_world, seeds=3, most=106)


def test_nothing_is_labelled_on_the_ground_that_is_judged() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(1, 4, (128, 128)).astype(np.uint8)
    codes = rng.integers(-127, 128, (128, 128, 4), dtype=np.int8)
    raster = EmbeddingRaster(codes, np.ones((128, 128), np.float32), Grid.local((128, 128)), Provenance(dim=4))
    world = split_world(raster, truth, 1)
    assert world.ground is not None
    blocks = {tuple(place) for place in (world.ground // 32).astype(int).tolist()}
    assert 0 < len(blocks) < 16
    labelled = raster.sample(*world.ground.T)
    np.testing.assert_array_equal(labelled, world.x)


def test_points_are_read_by_cells(shared, tmp_path) -> None:
    world = point_world(shared / "data" / "alphaearth-points", 0)
    assert world.x.shape[1] == 64
    assert len(world.x) + len(world.x_test) > 1300
    with pytest.raises(InputError, match="no CSV"):
        point_world(tmp_path, 0)
