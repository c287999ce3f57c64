"""Weights of the parts of joined vectors: the labels decide, leaving out is what it says, and the map carries the weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.assess.samples import CodeFeatures
from tessera_core.errors import HeadError
from tessera_core.heads import load_head, make_head, save_head
from tessera_core.heads.blocks import _few, _left_out, block_weights, blocks_of, candidates, columns, sentence
from tessera_core.provenance import Provenance
from tests.factories import make_raster

LINEAR = ("prototype", "auto", "ridge", "logistic")


def joined(per_class: int, good: int, seed: int = 0, noise: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Two blocks of 6 and 9 numbers, of which one tells three classes apart and the other is noise."""
    rng = np.random.default_rng(seed)
    y = np.repeat([1, 2, 3], per_class)
    parts = [rng.normal(size=(len(y), 6)), rng.normal(size=(len(y), 9))]
    parts[1 - good] *= noise
    parts[good][np.arange(len(y)), y] += 4
    return np.concatenate(parts, axis=1).astype(np.float32), y


def ones(n: int) -> np.ndarray:
    return np.ones(n)


# ------------------------------------------------------------------ the weights


@pytest.mark.parametrize("good", [0, 1])
def test_a_part_that_only_disturbs_counts_little(good: int) -> None:
    x, y = joined(8, good)
    weights = block_weights(x, y - 1, ones(len(y)), None, (6, 9))
    assert weights[good] == 1
    assert weights[1 - good] <= 0.35


def test_parts_that_tell_alike_count_alike() -> None:
    rng = np.random.default_rng(1)
    y = np.repeat([0, 1], 10)
    half = rng.normal(size=(20, 5)) + 2 * y[:, None]
    x = np.concatenate([half, half + 0.1 * rng.normal(size=half.shape)], axis=1)
    assert block_weights(x, y, ones(20), None, (5, 5)).tolist() == [1, 1]


def test_with_one_label_a_class_nothing_is_decided() -> None:
    x, y = joined(1, 0)
    assert block_weights(x, y - 1, ones(3), None, (6, 9)).tolist() == [1, 1]


def test_pixels_of_one_label_do_not_vote_for_each_other() -> None:
    """Within a label a part may be the same everywhere and say nothing of the next label."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(16), 20)
    y = groups % 2
    own = rng.normal(size=(16, 4))[groups] * 3
    telling = 2.0 * y[:, None] + rng.normal(size=(320, 4))
    x = np.concatenate([own, telling], axis=1)
    assert block_weights(x, y, ones(320), groups, (4, 4)).tolist() == [0, 1]
    assert block_weights(x, y, ones(320), None, (4, 4))[0] > 0


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_leaving_out_is_what_refitting_without_the_label_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(6, 25))
    targets = np.concatenate([[0, 0, 1, 1], rng.integers(0, 2, n - 4)])
    groups = np.concatenate([[0, 1, 2, 3], rng.integers(0, 8, n - 4)])
    _, label = np.unique(groups * 2 + targets, return_inverse=True)
    x, weight = rng.normal(size=(n, 3)), rng.uniform(0.5, 2, n)
    found = _left_out(x, targets, weight, label)
    for i in range(n):
        for k in (0, 1):
            rest = (targets == k) & (label != label[i]) if k == targets[i] else targets == k
            if rest.any():
                mean = np.average(x[rest], axis=0, weights=weight[rest])
                assert found[i, k] == pytest.approx(np.square(x[i] - mean).sum(), rel=1e-6, abs=1e-9)


def test_of_many_vectors_some_of_every_class_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = joined(300, 1)
    rare = np.concatenate([np.flatnonzero(y != 3), np.flatnonzero(y == 3)[:4]])
    whole = block_weights(x[rare], y[rare] - 1, ones(len(rare)), None, (6, 9))
    monkeypatch.setattr("tessera_core.heads.blocks.MOST", 60)
    few = block_weights(x[rare], y[rare] - 1, ones(len(rare)), None, (6, 9))
    assert whole[0] < 1
    assert few[1] == 1
    assert few[0] < 1
    chosen = _few(y[rare] - 1, 20)
    assert np.bincount(y[rare][chosen])[1:].tolist() == [20, 20, 4]


def test_widths_that_do_not_fit_are_told() -> None:
    with pytest.raises(HeadError, match=r"6 \+ 8 numbers, the vectors 15"):
        block_weights(*((joined(4, 0)[0]), joined(4, 0)[1] - 1, ones(12), None, (6, 8)))


@pytest.mark.parametrize("blocks", [2, 3, 4])
def test_every_candidate_has_a_part_that_counts_fully_and_equal_ones_come_first(blocks: int) -> None:
    tried = candidates(blocks)
    assert tried[0].tolist() == [1] * blocks
    assert (tried.max(1) == 1).all()
    assert len(np.unique(tried, axis=0)) == len(tried)


# ------------------------------------------------------------------ heads


def odds(head, x: np.ndarray) -> np.ndarray:
    """Log-odds (N, K) against the mean over classes."""
    logits = x @ head.coef_ + head.intercept_
    return logits - logits.mean(1, keepdims=True)


@pytest.mark.parametrize("name", LINEAR)
def test_a_head_of_parts_is_that_of_weighted_vectors_beside_those_of_the_parts_alone(name: str) -> None:
    x, y = joined(6, 1, noise=1.0)
    x[np.arange(len(y)), y] += 3
    head = make_head(name).fit(x, y, blocks=(6, 9))
    assert (head.block_weights_ > 0).all()
    factors = columns(head.block_weights_, (6, 9)).astype(np.float32)
    whole = odds(make_head(name).fit(x * factors, y), x * factors)
    alone = [odds(make_head(name).fit(x[:, part], y), x[:, part]) for part in (slice(0, 6), slice(6, 15))]
    told = 0.5 * whole + 0.25 * alone[0] + 0.25 * alone[1]
    np.testing.assert_allclose(odds(head, x), told, atol=1e-3 * np.abs(told).max())


@pytest.mark.parametrize("name", LINEAR)
def test_a_part_that_is_left_out_takes_no_part(name: str) -> None:
    x, y = joined(12, 1, noise=30.0)
    head = make_head(name).fit(x, y, blocks=(6, 9))
    assert head.block_weights_.tolist() == [0, 1]
    only = make_head(name).fit(np.where(np.arange(15) < 6, np.float32(0), x), y)
    np.testing.assert_allclose(odds(head, x), odds(only, x), atol=1e-3 * np.abs(odds(only, x)).max())
    assert not head.coef_[:6].any()


@pytest.mark.parametrize("name", LINEAR)
def test_without_parts_nothing_is_different(name: str) -> None:
    x, y = joined(6, 1)
    one, other = make_head(name).fit(x, y), make_head(name).fit(x, y, blocks=())
    np.testing.assert_array_equal(one.coef_, other.coef_)
    assert not hasattr(one, "block_weights_")


@pytest.mark.parametrize("name", ["knn", "forest"])
def test_other_heads_take_joined_vectors_as_they_are(name: str, few_trees: None) -> None:
    x, y = joined(6, 1)
    assert set(make_head(name).fit(x, y, blocks=(6, 9)).predict(x)) <= {1, 2, 3}


def test_of_a_joined_raster_a_head_learns_the_parts_and_maps_with_them() -> None:
    x, y = joined(20, 0)
    parts = {"parts": [{"model": "studio", "dim": 6}, {"model": "seasons", "dim": 9}]}
    provenance = Provenance("stack", variant="a + b", dim=15, details=parts)
    raster = make_raster(x.reshape(6, 10, 15), provenance=provenance)
    rows, cols = np.divmod(np.arange(0, 60, 3), 10)
    head = make_head("prototype").fit_at(raster, rows, cols, y[::3])
    assert head.block_weights_[1] < 1
    classes, _ = head.predict_window(raster.codes, raster.scales, (0, 0, 6, 10))
    assert (classes.ravel() == y).mean() > 0.8
    assert provenance.part_names == ("Tessera Studio", "seasonal statistics")
    again = make_head("prototype").fit_at(make_raster(x.reshape(6, 10, 15)), rows, cols, y[::3])
    assert not hasattr(again, "block_weights_")


def test_scores_files_and_softer_heads_keep_what_was_learnt_of_the_parts(tmp_path: Path) -> None:
    x, y = joined(20, 1)
    parts = {"parts": [{"model": "studio", "dim": 6}, {"model": "seasons", "dim": 9}]}
    raster = make_raster(x.reshape(6, 10, 15), provenance=Provenance("stack", dim=15, details=parts))
    rows, cols = np.divmod(np.arange(60), 10)
    features = CodeFeatures.at(raster, rows, cols)
    scored = make_head("prototype")
    features.fit(scored, np.arange(0, 60, 2), y[::2])
    mapped = make_head("prototype").fit_at(raster, rows[::2], cols[::2], y[::2])
    assert scored.block_weights_[0] < 1
    np.testing.assert_array_equal(scored.coef_, mapped.coef_)
    assert mapped.temperature_scaled(2.0).block_weights_.tolist() == mapped.block_weights_.tolist()
    save_head(tmp_path / "h.safetensors", mapped, {1: "a", 2: "b", 3: "c"}, raster.provenance)
    again = load_head(tmp_path / "h.safetensors").head
    window = (raster.codes, raster.scales, (0, 0, 6, 10))
    np.testing.assert_array_equal(again.predict_window(*window)[0], mapped.predict_window(*window)[0])


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"parts": None},
        {"parts": [{"dim": 15}]},
        {"parts": [{"dim": "6"}, {"dim": 9}]},
        {"parts": [6, 9]},
        {"parts": [{"dim": 6}, {"dim": 8}]},
    ],
)
def test_of_a_provenance_that_does_not_say_its_parts_there_are_none(details: dict) -> None:
    assert blocks_of(Provenance("stack", dim=15, details=details)) == ()
    assert blocks_of(None) == ()


def test_three_parts_are_said_in_one_sentence() -> None:
    said = sentence(np.array([1.0, 0.6, 0.0]), ["a", "b", "c"])
    assert (
        said == "Joining helps: your labels are told apart best when the parts count so much: a 100 %; b 60 %; c 0 %."
    )
