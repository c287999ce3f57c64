"""Splits, scores and evaluation on synthetic fields whose neighbours resemble each other."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import classification_report
from sklearn.metrics import confusion_matrix as peer_confusion

from tessera_core.assess.evaluate import CrossValidation, evaluate
from tessera_core.assess.metrics import confusion_matrix, score, worst_confusion
from tessera_core.assess.samples import CodeFeatures, MatrixFeatures, Samples
from tessera_core.assess.splits import _judged, folds, near_blocks, not_judged
from tessera_core.errors import Cancelled, HeadError, LabelError
from tessera_core.heads import make_head


def fields(per_class=6, classes=3, edge=8, offset=1.5, seed=0):
    """Square fields side by side; every field has its own offset, so pixels of one field resemble each other."""
    rng = np.random.default_rng(seed)
    n = per_class * classes
    kinds = np.tile(np.arange(classes), per_class)
    centres = rng.normal(size=(classes, 12))
    values, y, groups, rows, cols = [], [], [], [], []
    for field in range(n):
        shift = offset * rng.normal(size=12)
        values.append(centres[kinds[field]] + shift + 0.2 * rng.normal(size=(edge * edge, 12)))
        y.append(np.full(edge * edge, kinds[field] + 1))
        groups.append(np.full(edge * edge, field))
        r, c = np.divmod(np.arange(edge * edge), edge)
        rows.append(r + edge * (field // 6))
        cols.append(c + edge * (field % 6))
    x = np.concatenate(values)
    scales = (np.abs(x).max(1) / 127).astype(np.float32)
    features = CodeFeatures(np.rint(x / scales[:, None]).astype(np.int8), scales)
    names = {1: "maize", 2: "grass", 3: "wood"}
    return Samples(features, *(np.concatenate(part) for part in (y, groups, rows, cols)), names)


def part_of(samples, keep):
    return Samples(
        samples.features.take(np.flatnonzero(keep)),
        *(part[keep] for part in (samples.y, samples.groups, samples.rows, samples.cols)),
        samples.names,
    )


@pytest.mark.parametrize("split", ["field", "blocked", "random"])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_label_is_tested_once_and_never_trained_on_beside(split, seed):
    samples = fields()
    parts = folds(samples, split, 3, seed, block_px=8, buffer_px=2)
    tested = np.concatenate([test for _, test in parts])
    np.testing.assert_array_equal(np.sort(tested), np.arange(len(samples.y)))
    for train, test in parts:
        assert not set(train) & set(test)
        assert set(samples.y[test]) <= set(samples.y[train])
        if split == "field":
            assert not set(samples.groups[train]) & set(samples.groups[test])
        if split == "blocked":
            distance = np.maximum(
                np.abs(samples.rows[train][:, None] - samples.rows[test]),
                np.abs(samples.cols[train][:, None] - samples.cols[test]),
            )
            assert distance.min() > 2


def test_a_class_with_one_field_is_trained_on_but_not_judged():
    samples = fields()
    samples = part_of(samples, (samples.y != 3) | (samples.groups == samples.groups[samples.y == 3][0]))
    parts = folds(samples, "field", 3)
    assert not_judged(samples, parts) == [3]
    assert all(3 in samples.y[train] for train, _ in parts)
    result = evaluate(samples, make_head("ridge"))
    assert "Not judged, because they lie in a single field or block: wood." in result["notes"]
    assert result["per_class"]["wood"]["support"] == 0
    # The mean is over the classes that were judged.
    assert result["macro_f1"] == pytest.approx(np.mean([result["per_class"][n]["f1"] for n in ("maize", "grass")]))


def test_splits_that_cannot_be_are_refused():
    samples = fields()
    one_field_each = part_of(samples, np.isin(samples.groups, [0, 1, 2]))
    with pytest.raises(LabelError, match="fewer than two classes have two"):
        folds(one_field_each, "field")
    with pytest.raises(LabelError, match="the splits are field, blocked, random"):
        folds(samples, "stratified")
    with pytest.raises(LabelError, match="At least 2 folds"):
        folds(samples, "field", 1)
    with pytest.raises(LabelError, match="nothing to train on"):
        folds(samples, "blocked", 3, block_px=8, buffer_px=100)
    with pytest.raises(LabelError, match="at least 1"):
        evaluate(samples, make_head("ridge"), CrossValidation(repeats=0))


def test_scores_equal_scikit_learn():
    rng = np.random.default_rng(0)
    ids = [3, 7, 12, 200]
    truth = rng.choice(ids, 500)
    predicted = np.where(rng.random(500) < 0.6, truth, rng.choice(ids[:3], 500))
    matrix = confusion_matrix(truth, predicted, ids)
    np.testing.assert_array_equal(matrix, peer_confusion(truth, predicted, labels=ids))
    ours = score(matrix, ids, {3: "a", 7: "b", 12: "c", 200: "d"})
    peer = classification_report(truth, predicted, output_dict=True, zero_division=0)
    assert ours["accuracy"] == pytest.approx(peer["accuracy"])
    assert ours["macro_f1"] == pytest.approx(peer["macro avg"]["f1-score"])
    assert ours["weighted_f1"] == pytest.approx(peer["weighted avg"]["f1-score"])
    for class_id, name in ((3, "a"), (200, "d")):
        assert ours["per_class"][name]["id"] == class_id
        assert ours["per_class"][name]["precision"] == pytest.approx(peer[str(class_id)]["precision"])
        assert ours["per_class"][name]["recall"] == pytest.approx(peer[str(class_id)]["recall"])
        assert ours["per_class"][name]["support"] == peer[str(class_id)]["support"]


def test_unsorted_ids_keep_their_places():
    np.testing.assert_array_equal(confusion_matrix(np.array([5, 2]), np.array([5, 5]), [5, 2]), [[1, 0], [1, 0]])


def test_a_class_never_predicted_counts_as_zero():
    ours = score(np.array([[10, 0], [5, 0]]), [1, 2], {1: "a", 2: "b"})
    assert ours["per_class"]["b"]["f1"] == 0
    assert ours["macro_f1"] == pytest.approx(0.4)


def test_worst_confusion_names_the_pair():
    names = {1: "maize", 2: "grass"}
    assert worst_confusion(np.array([[8, 2], [0, 10]]), [1, 2], names) == (
        "Most often confused: 20 % of maize is mapped as grass."
    )
    assert worst_confusion(np.diag([3, 4]), [1, 2], names) == ""


def test_whole_fields_score_lower_than_a_random_split():
    result = evaluate(fields(), make_head("knn"))
    assert result["split"] == "field"
    assert result["naive"]["split"] == "random"
    assert result["naive"]["macro_f1"] > 0.97
    assert result["macro_f1"] < result["naive"]["macro_f1"] - 0.1
    assert result["n_test"] == 18 * 64
    assert result["n_train"] == 12 * 64
    json.dumps(result, allow_nan=False)
    assert "naive" not in evaluate(fields(), make_head("ridge"), CrossValidation(naive=False))
    assert "naive" not in evaluate(fields(), make_head("ridge"), CrossValidation(split="random"))


def test_few_shot_draws_from_the_training_fields_and_repeats_differ():
    calls = []
    result = evaluate(
        fields(),
        make_head("ridge"),
        CrossValidation(per_class=5, repeats=4),
        progress=lambda done, total, message: calls.append((done, total)),
    )
    assert result["n_train"] == 15
    assert result["n_test"] == 18 * 64
    assert result["sd"]["macro_f1"] > 0
    assert calls[-1] == (24, 24)
    assert np.sum(result["confusion"]) == 4 * 18 * 64
    again = evaluate(fields(), make_head("ridge"), CrossValidation(per_class=5, repeats=4))
    assert again == result
    other = evaluate(fields(), make_head("ridge"), CrossValidation(per_class=5, repeats=4, seed=7))
    assert other["macro_f1"] != result["macro_f1"]


def test_large_training_parts_are_thinned():
    result = evaluate(fields(), make_head("ridge"), CrossValidation(max_train=90, naive=False))
    assert result["n_train"] == 90


def test_matrix_features_are_standardised_by_the_training_part():
    samples = fields(offset=0.3)
    x = samples.features.codes * samples.features.scales[:, None]
    skewed = (x * 10.0 ** np.arange(-6, 6) + 1e4).astype(np.float32)
    plain = Samples(MatrixFeatures(skewed), samples.y, samples.groups, samples.rows, samples.cols, samples.names)
    assert evaluate(plain, make_head("logistic"), CrossValidation(naive=False))["macro_f1"] > 0.8


def test_cancelling_and_errors_come_through():
    with pytest.raises(Cancelled):
        evaluate(fields(), make_head("ridge"), cancelled=lambda: True)
    with pytest.raises(HeadError):
        evaluate(fields(), make_head("ridge", alpha=-1.0))


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 20), st.integers(0, 25), st.sampled_from([40, 300]))
def test_the_belt_is_what_lies_within_it_of_a_held_out_block(seed: int, block: int, buffer: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    rows, cols = rng.integers(0, size, (2, 30))
    held, training = np.arange(8), np.arange(8, 30)
    found = near_blocks(rows, cols, held, training, block, buffer)

    def gap(pixel: int, first: int) -> int:
        return max(first - pixel, pixel - (first + block - 1), 0)

    expected = [
        any(max(gap(rows[i], rows[h] // block * block), gap(cols[i], cols[h] // block * block)) <= buffer for h in held)
        for i in training
    ]
    assert found.tolist() == expected


def test_a_belt_costs_no_memory_for_the_ground_between_the_labels() -> None:
    rows, cols = np.array([0, 10**9, 10**9 + 17]), np.array([5, 10**9, 10**9])
    assert near_blocks(rows, cols, np.array([1]), np.array([0, 2]), 16, 4).tolist() == [False, True]


@pytest.mark.parametrize("seed", range(5))
def test_what_is_judged_is_of_classes_in_two_groups(seed):
    rng = np.random.default_rng(seed)
    y, groups = rng.integers(0, 250, 300).astype(np.uint8), rng.integers(0, 1 << 40, 200)[rng.integers(0, 200, 300)]
    wanted = [i for i in range(300) if len(set(groups[y == y[i]])) > 1]
    assert 0 < len(wanted) < 300
    assert _judged(y, groups).tolist() == wanted
