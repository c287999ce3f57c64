"""Heads for numbers: values, margins that hold what they promise, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import BayesianRidge, Ridge

from tessera_core.errors import Cancelled, HeadError
from tessera_core.grid import Grid
from tessera_core.heads import REGRESSION_HEADS, load_head, make_regression_head, predict_values, save_head
from tessera_core.heads.regression import RidgeRegressionHead
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster, dequantise
from tests.factories import quantised

QUICK = {"forest-regression": {"n_estimators": 40}, "mlp-regression": {"hidden": (32,), "steps": 120}}
ALL = pytest.mark.parametrize("name", list(REGRESSION_HEADS))


def head_of(name):
    return make_regression_head(name, **QUICK.get(name, {}))


def plots(n=700, dim=24, noise=1.0, seed=0):
    """Codes, scales, vectors and a number that depends on a few directions."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, dim))
    codes, scales = quantised(x)
    x = dequantise(codes, scales)
    y = 50 + 8 * x[:, 0] - 5 * x[:, 1] + 3 * x[:, 2] + noise * rng.normal(size=n)
    return codes, scales, x, y


@ALL
def test_values_are_near_and_margins_hold_nine_of_ten(name):
    codes, scales, x, y = plots(noise=3.0)
    head = head_of(name).fit(x[:200], y[:200])
    values, half_widths = head.predict_interval(x[200:])
    assert 1 - np.var(y[200:] - values) / np.var(y[200:]) > 0.5
    inside = (np.abs(y[200:] - values) <= half_widths).mean()
    assert 0.84 < inside < 0.97
    by_codes = head.predict_codes(codes[200:], scales[200:])
    np.testing.assert_allclose(by_codes[0], values, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(by_codes[1], half_widths, rtol=1e-3, atol=1e-3)


@ALL
def test_saved_heads_predict_the_same(name, tmp_path):
    codes, scales, x, y = plots(300)
    head = head_of(name).fit(x, y)
    saved = load_head(save_head(tmp_path / "h.safetensors", head, {}, Provenance(dim=24)))
    assert saved.class_names == {}
    assert saved.head.get_params() == head.get_params()
    for ours, theirs in zip(saved.head.predict_codes(codes, scales), head.predict_codes(codes, scales), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@ALL
def test_places_without_data_are_left_out_and_stay_empty(name):
    codes, scales, x, y = plots(300)
    holes, gaps = x.copy(), y.copy()
    holes[::9], gaps[4] = np.nan, np.nan
    head = head_of(name).fit(holes, gaps)
    assert head.n_ignored_ == len(range(0, 300, 9)) + 1
    assert np.isnan(head.predict(holes)[::9]).all()
    bad = scales.copy()
    bad[:3] = np.nan, 0, np.inf
    for part in head.predict_codes(codes, bad):
        assert np.isnan(part[:3]).all()
        assert np.isfinite(part[3:]).all()
    raster = EmbeddingRaster(codes.reshape(15, 20, 24), bad.reshape(15, 20), Grid.local((15, 20)), Provenance(dim=24))
    made = predict_values(head, raster)
    np.testing.assert_array_equal(made.values.ravel(), head.predict_codes(codes, bad)[0])
    with pytest.raises(Cancelled):
        predict_values(head, raster, cancelled=lambda: True)


@ALL
def test_is_deterministic_and_can_be_cloned(name):
    _, _, x, y = plots(200)
    head = head_of(name)
    np.testing.assert_array_equal(head.fit(x, y).predict(x), clone(head).fit(x, y).predict(x))


def test_ridge_equals_scikit_learn_and_doubt_follows_bayes():
    _, _, x, y = plots(120)
    head = RidgeRegressionHead(alpha=0.5).fit(x, y)
    unit = np.square(x - x.mean(0)).sum() / x.shape[1]
    peer = Ridge(alpha=0.5 * unit).fit(x.astype(float), y)
    np.testing.assert_allclose(head.predict(x), peer.predict(x), rtol=1e-4)
    bayes = BayesianRidge(fit_intercept=False)
    bayes.alpha_, bayes.lambda_ = 1.0, 0.5 * unit
    centred = (x - x.mean(0)).astype(float)
    covariance = np.linalg.inv(centred.T @ centred + 0.5 * unit * np.eye(x.shape[1]))
    interval_scale = np.sqrt(1 + np.einsum("nd,de,ne->n", centred, covariance, centred))
    np.testing.assert_allclose(head.predict_interval(x)[1] / head.half_width_, interval_scale, rtol=1e-4)


@ALL
def test_wrong_use_is_told_in_a_sentence(name):
    _, _, x, y = plots(60)
    with pytest.raises(NotFittedError):
        head_of(name).predict(x)
    for bad_x, bad_y, says in (
        (x, y[:-1], "one number for each vector"),
        (x, ["a"] * len(x), "no numbers"),
        (x, np.full(len(x), 3.0), "two different numbers"),
        (x[:2], y[:2], "at least three"),
    ):
        with pytest.raises(HeadError, match=says):
            head_of(name).fit(bad_x, bad_y)
    with pytest.raises(HeadError, match="24 dimensions, these vectors have 12"):
        head_of(name).fit(x, y).predict(x[:, :12])
