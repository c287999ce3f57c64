"""Heads are scikit-learn estimators: its own checks pass, but for those declared with a reason, which must fail."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from tessera_core.errors import HeadError, InputError
from tessera_core.heads import HEADS, LogisticHead, RidgeHead, load_head, make_head, predict_raster, save_head
from tessera_core.provenance import Provenance
from tests.factories import patchwork
from tests.heads import conformance

VECTORS = pytest.mark.parametrize("name", [name for name in HEADS if name not in ("unet", "tree")])


@parametrize_with_checks(
    conformance.estimators(patient=False), expected_failed_checks=conformance.declared, xfail_strict=True
)
def test_passes_what_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.soak
@parametrize_with_checks(
    conformance.estimators(patient=True), expected_failed_checks=conformance.declared, xfail_strict=True
)
def test_a_patient_head_passes_what_scikit_learn_checks(estimator, check):
    check(estimator)


def test_the_table_in_the_docs_says_what_is_declared():
    assert conformance.table() in conformance.DOCS.read_text(encoding="utf-8")


def crops(n=90, seed=0):
    rng = np.random.default_rng(seed)
    y = np.array(["grass", "maize", "wheat"])[np.arange(n) % 3]
    x = np.random.default_rng(1).normal(size=(3, 8))[np.arange(n) % 3] + 0.4 * rng.normal(size=(n, 8))
    return x.astype(np.float32), y


@VECTORS
def test_named_classes_stay_names(name):
    x, y = crops()
    head = make_head(name, **conformance.QUICK.get(name, {})).fit(x, y)
    assert head.classes_.tolist() == ["grass", "maize", "wheat"]
    assert head.classes_.dtype == y.dtype
    assert (head.predict(x) == y).mean() > 0.9
    holes = x.copy()
    holes[4] = np.nan
    assert head.predict(holes)[4] == ""
    assert (cross_val_score(make_head(name, **conformance.QUICK.get(name, {})), x, y, cv=3) > 0.8).all()
    # A map holds whole numbers, in the order of the names; with them as labels the map is the same.
    codes, scales = np.rint(x * 40).clip(-127, 127).astype(np.int8), np.full(len(x), 1 / 40, np.float32)
    ids = np.unique(y, return_inverse=True)[1] + 1
    numbered = clone(head).fit(x, ids)
    for ours, theirs in zip(head.predict_codes(codes, scales), numbered.predict_codes(codes, scales), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("y", [np.array(["a", "b"] * 20, object), ["a", "b"] * 20])
def test_names_may_come_as_objects_or_lists(y):
    x, _ = crops(40)
    head = RidgeHead(class_weight={"a": 2.0}).fit(x, y)
    assert head.classes_.tolist() == ["a", "b"]
    assert set(head.predict(x)) <= {"a", "b"}


@pytest.mark.parametrize("name", ["ridge", "knn", "unet"])
def test_a_head_of_names_is_saved_with_them(name, tmp_path):
    raster, truth, rows, cols = patchwork(30, 40)
    y = np.array(["", "low", "middle", "top"])[truth[rows, cols]]
    params = {"width": 4, "steps": 3, "crop": 16, "batch": 1} if name == "unet" else {}
    head = make_head(name, **params).fit_at(raster, rows, cols, y)
    saved = load_head(save_head(tmp_path / "h.safetensors", head, {}, Provenance()))
    assert saved.class_names == {1: "low", 2: "middle", 3: "top"}
    assert saved.head.classes_.tolist() == ["low", "middle", "top"]
    np.testing.assert_array_equal(predict_raster(saved.head, raster).classes, predict_raster(head, raster).classes)


def test_a_grid_search_over_a_pipeline_ends_in_a_head():
    x, y = crops()
    search = GridSearchCV(make_pipeline(StandardScaler(), RidgeHead()), {"ridgehead__alpha": [0.1, 1.0]}, cv=3)
    assert search.fit(x, y).best_score_ > 0.9
    assert search.best_estimator_["ridgehead"].alpha in (0.1, 1.0)


def test_columns_that_have_names_are_kept_apart():
    pandas = pytest.importorskip("pandas")
    x, y = crops()
    table = pandas.DataFrame(x, columns=[f"band{i}" for i in range(8)])
    head = RidgeHead().fit(table, y)
    assert head.feature_names_in_.tolist() == table.columns.tolist()
    with pytest.raises(HeadError, match="feature names"):
        head.predict(table.rename(columns={"band0": "other"}))


def test_a_wrong_input_is_a_value_error_too():
    x, _ = crops()
    with pytest.raises(ValueError, match="Unknown label type") as caught:
        RidgeHead().fit(x, np.full(len(x), np.inf))
    assert isinstance(caught.value, HeadError | InputError)
    assert not hasattr(make_head("unet"), "fit")
    assert not hasattr(make_head("unet"), "predict_proba")
    assert hasattr(make_head("ridge", neighbourhood=3), "predict_proba")
    assert not hasattr(make_head("ridge", neighbourhood=3), "predict_codes")


def test_a_fit_that_fails_leaves_no_trace_of_the_one_before():
    x, y = crops()
    head = RidgeHead().fit(x, y)
    with pytest.raises(HeadError):
        head.fit(x, ["maize"] * len(x))
    assert not hasattr(head, "classes_")
    assert not hasattr(head, "n_features_in_")


def repeated():
    rng = np.random.default_rng(7)
    x, y = crops(30, seed=3)
    times = rng.integers(0, 4, 30)
    return x, y, times, x.repeat(times, axis=0), y.repeat(times)


@pytest.mark.parametrize("class_weight", ["balanced", None, {"maize": 3.0}])
def test_a_label_of_weight_three_is_three_labels(class_weight):
    """Wherever nothing is chosen by leaving labels out; scikit-learn's own check asks for what ridge chooses, too."""
    x, y, times, many_x, many_y = repeated()
    one = LogisticHead(tol=1e-8, class_weight=class_weight).fit(x, y, times)
    other = LogisticHead(tol=1e-8, class_weight=class_weight).fit(many_x, many_y)
    np.testing.assert_allclose(one.predict_proba(x), other.predict_proba(x), atol=1e-5)
    one = RidgeHead(alpha=1.0, class_weight=class_weight).fit(x, y, times)
    other = RidgeHead(alpha=1.0, class_weight=class_weight).fit(many_x, many_y)
    np.testing.assert_allclose(one.coef_ * one.temperature_, other.coef_ * other.temperature_, atol=1e-5)


def test_a_tree_may_have_a_class_of_the_id_zero():
    """It once stood for what lies above the roots, and a tree with such a class went round in circles for ever."""
    x, _ = crops()
    y = np.arange(90) % 3
    head = make_head("tree", confidence_threshold=0).fit(x, y)
    assert head.classes_.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(head.predict(x), make_head("ridge").fit(x, y).predict(x))
    below = make_head("tree", parents=((1, 0), (2, 0)), confidence_threshold=0).fit(x, np.where(y == 0, 3, y))
    assert below.classes_.tolist() == [1, 2, 3]
    assert 0 in below.nodes_
