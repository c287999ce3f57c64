"""What is particular to each head, against scikit-learn where it does the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier

from tessera_core.heads import KNNHead, LogisticHead, MLPHead, PrototypeHead, RidgeHead
from tessera_core.heads.logistic import minimise
from tessera_core.heads.prototype import _left_out
from tessera_core.heads.ridge import PENALTIES, LeftOut
from tessera_core.heads.training import balanced_draw


def blobs(n, dim=20, classes=4, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    centres = np.random.default_rng(5).normal(size=(classes, dim))
    return (centres[y] + noise * rng.normal(size=(n, dim))).astype(np.float32), y + 1


@pytest.mark.parametrize("n", [12, 200])
def test_ridge_equals_scikit_learn(n):
    x, y = blobs(n)
    head = RidgeHead(alpha=0.5, class_weight=None).fit(x, y)
    unit = np.square(x - x.mean(0)).sum() / x.shape[1]
    peer = Ridge(alpha=0.5 * unit).fit(x.astype(float), np.eye(4)[y - 1])
    np.testing.assert_allclose(head.decision_function(x) * head.temperature_, peer.predict(x), atol=1e-5)


def test_ridge_leave_one_out_equals_refitting():
    """The closed form prefers the penalty that refitting without each label prefers."""
    x, y = blobs(40, noise=2.0)
    errors = {}
    for alpha in (0.01, 1.0, 100.0):
        unit = np.square(x - x.mean(0)).sum() / x.shape[1]
        error = 0.0
        for i in range(len(x)):
            rest = np.arange(len(x)) != i
            peer = Ridge(alpha=alpha * unit).fit(x[rest], np.eye(4)[y[rest] - 1])
            error += float(np.square(peer.predict(x[i : i + 1]) - np.eye(4)[y[i] - 1]).sum())
        errors[alpha] = error
    chosen = RidgeHead(class_weight=None).fit(x, y).alpha_
    best = min(errors, key=errors.get)
    assert abs(np.log10(chosen / best)) <= 1


@pytest.mark.parametrize("n", [12, 200])
@pytest.mark.parametrize("weight", [None, "balanced"])
def test_logistic_equals_scikit_learn(n, weight):
    x, y = blobs(n)
    keep = np.arange(n) % 8 != 3  # unbalanced
    x, y = x[keep], y[keep]
    head = LogisticHead(alpha=2.0, class_weight=weight, tol=1e-8).fit(x, y)
    w = np.ones(len(y)) if weight is None else len(y) / (4 * np.bincount(y)[y])
    centred = x - np.average(x, axis=0, weights=w)
    unit = np.sqrt(np.average(np.square(centred).mean(1), weights=w))
    peer = LogisticRegression(C=0.5, tol=1e-10, max_iter=5000).fit(centred / unit, y, sample_weight=w)
    np.testing.assert_allclose(head.predict_proba(x), peer.predict_proba(centred / unit), atol=2e-4)


def test_minimiser_reaches_the_minimum_of_a_stretched_bowl():
    diagonal, target = np.logspace(0, 2, 30), np.arange(30.0)

    def loss(x):
        return float(0.5 * (diagonal * np.square(x - target)).sum()), diagonal * (x - target)

    x, steps = minimise(loss, np.zeros(30), 500, 1e-8)
    np.testing.assert_allclose(x, target, rtol=0, atol=1e-4)
    assert steps < 500


def test_told_the_hessian_the_minimiser_comes_to_the_same_place_in_fewer_steps():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(20, 20)) * np.geomspace(1, 40, 20)
    hessian, target = root @ root.T + np.eye(20), rng.normal(size=(3, 20))

    def loss(x):
        away = x - target
        return float(0.5 * ((away @ hessian) * away).sum() + (away**4).sum()), away @ hessian + 4 * away**3

    start = np.zeros((3, 20))
    plain, many = minimise(loss, start, 2000, 1e-9)
    told, few = minimise(loss, start, 2000, 1e-9, inverse_hessian=lambda x: np.linalg.inv(hessian))
    np.testing.assert_allclose(plain, target, rtol=0, atol=1e-5)
    np.testing.assert_allclose(told, target, rtol=0, atol=1e-5)
    assert few < many / 2


@pytest.mark.parametrize("seed", range(4))
def test_left_out_prototypes_equal_the_formula_label_by_label(seed):
    """All covariances and labels at once give what taking each label away from its mean and each covariance gives."""
    rng = np.random.default_rng(seed)
    n, dim, k = 30, 6, 3
    index = np.r_[rng.integers(0, k, n - 3), 0, 1, 2]
    x, weight = rng.normal(size=(n, dim)) + 2 * np.eye(k, dim)[index], rng.uniform(0.5, 2, n)
    means = np.stack([x[index == c].mean(0) for c in range(k)])
    covariances, gains = [np.diag(rng.uniform(0.5, 3, dim)) for _ in range(3)], rng.uniform(0.001, 0.01, 3)
    precisions = np.stack([1 / np.diag(c) for c in covariances])
    found = _left_out(x, index, weight, means, precisions, gains[:, None])
    counts = np.bincount(index)
    for a, (covariance, gain) in enumerate(zip(covariances, gains, strict=True)):
        for i in range(n):
            f = counts[index[i]] / (counts[index[i]] - 1)
            away = x[i] - means[index[i]]
            inverse = np.linalg.inv(covariance - gain * f * weight[i] * np.outer(away, away))
            centres = means.copy()
            centres[index[i]] = x[i] - f * away
            expected = [-0.5 * (x[i] - c) @ inverse @ (x[i] - c) for c in centres]
            np.testing.assert_allclose(found[a, :, i], expected, rtol=1e-8)


def test_prototypes_equal_linear_discriminant_analysis():
    x, y = blobs(400)
    head = PrototypeHead(shrinkage=0.3).fit(x, y)
    peer = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3, priors=np.full(4, 0.25)).fit(x, y)
    assert (head.predict(x) == peer.predict(x)).mean() > 0.99
    nearest = PrototypeHead(shrinkage=1.0).fit(x, y)
    means = np.stack([x[y == k].mean(0) for k in (1, 2, 3, 4)])
    distance = np.square(x[:, None] - means).sum(2)
    np.testing.assert_array_equal(nearest.predict(x), distance.argmin(1) + 1)
    np.testing.assert_allclose(nearest.prototypes_, means, atol=1e-5)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_neighbours_equal_scikit_learn(k):
    x, y = blobs(120, noise=1.5)
    head = KNNHead(n_neighbors=k).fit(x, y)
    peer = KNeighborsClassifier(k).fit(x, y)
    new, _ = blobs(500, noise=1.5, seed=1)
    votes = peer.predict_proba(new) * k
    votes[np.arange(len(new)), y[peer.kneighbors(new, 1, return_distance=False)[:, 0]] - 1] += 0.5
    np.testing.assert_allclose(head.predict_proba(new), (votes * k / (k + 0.5) + 0.25) / (k + 1), atol=1e-5)


def test_neighbours_thin_the_largest_classes_first():
    targets = np.repeat([0, 1, 2], [5, 100, 1000])
    counts = np.bincount(targets[balanced_draw(targets, 65, seed=0)])
    assert list(counts) == [5, 30, 30]
    assert len(balanced_draw(targets, 5000, seed=0)) == len(targets)
    x, y = blobs(400)
    assert len(KNNHead(max_references=40).fit(x, y).references_) == 40


def test_network_folds_its_normalisation_exactly():
    """Predictions do not depend on which vectors come along, and training leaves torch's generator alone."""
    x, y = blobs(100)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    head = MLPHead(hidden=(16, 8), steps=300, dropout=0.0).fit(x, y)
    assert torch.equal(before, torch.random.get_rng_state())
    np.testing.assert_allclose(head.predict_proba(x[:1]), head.predict_proba(x)[:1], atol=1e-6)
    assert (head.predict(x) == y).mean() > 0.9


@pytest.mark.parametrize("kind", [RidgeHead, LogisticHead, PrototypeHead, KNNHead])
def test_confidence_is_roughly_calibrated(kind):
    """Ten labels for each of four overlapping classes: confidence and accuracy differ by less than 15 points."""
    x, y = blobs(40, noise=2.0)
    new, truth = blobs(4000, noise=2.0, seed=3)
    head = kind().fit(x, y)
    proba = head.predict_proba(new)
    assert abs(proba.max(1).mean() - (head.predict(new) == truth).mean()) < 0.15


def test_balanced_weights_give_a_rare_class_its_say():
    x, y = blobs(400, classes=2, noise=3.0)
    keep = (y == 1) | (np.arange(400) < 20)
    plain = LogisticHead(class_weight=None).fit(x[keep], y[keep])
    balanced = LogisticHead().fit(x[keep], y[keep])
    assert (balanced.predict(x) == 2).mean() > (plain.predict(x) == 2).mean() + 0.1


def patches(labels=12, pixels=20, dim=20, spread=1.0, seed=0):
    """Labels of many alike pixels each: the class says where a label lies, chance where its pixels lie around it."""
    rng = np.random.default_rng(seed)
    y = np.arange(labels) % 3
    centres = np.random.default_rng(5).normal(size=(3, dim))
    field = centres[y] + spread * rng.normal(size=(labels, dim))
    x = np.repeat(field, pixels, axis=0) + 0.2 * rng.normal(size=(labels * pixels, dim))
    return x.astype(np.float32), np.repeat(y, pixels) + 1, np.repeat(np.arange(labels), pixels)


def test_leaving_whole_labels_out_equals_refitting():
    x, y, groups = patches(labels=9, pixels=5)
    targets = np.eye(3)[y - 1]
    judge = LeftOut(x.astype(np.float64), targets, np.ones(len(x)), groups)
    assert len(judge.kept) == len(x)
    for alpha in (0.03, 1.0):
        unit = np.square(x - x.mean(0)).sum() / x.shape[1]
        residual, interval_scale = judge.residuals(alpha)
        assert (interval_scale >= 1).all()
        for label in range(9):
            own = groups == label
            # The penalty is on the centred problem, as if the mean were known: refit around the same mean.
            rest, centre = ~own, x.mean(0)
            peer = Ridge(alpha=alpha * unit).fit((x - centre)[rest].astype(float), targets[rest])
            np.testing.assert_allclose(residual[own], targets[own] - peer.predict((x - centre)[own]), atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("alone", [False, True])
def test_all_penalties_at_once_equal_each_by_hand(seed, alone):
    """Labels of uneven sizes and weights: the whole path equals (I - H)^-1 r of each label under each penalty."""
    rng = np.random.default_rng(seed)
    groups = np.arange(40) if alone else rng.permutation(np.repeat(np.arange(12), rng.integers(1, 8, 12)))
    n = len(groups)
    x, y, w = rng.normal(size=(n, 9)), rng.normal(size=(n, 3)), rng.uniform(0.5, 2, n)
    judge = LeftOut(x, y, w, None if alone else groups)
    found = judge.path(PENALTIES)
    share, root = w / w.sum(), np.sqrt(w)[:, None]
    xs, ys = (x - share @ x) * root, (y - share @ y) * root
    for alpha, residuals in zip(PENALTIES, found, strict=True):
        inner = np.linalg.inv(xs.T @ xs + alpha * np.square(xs).sum() / 9 * np.eye(9))
        hat = xs @ inner @ xs.T + np.sqrt(np.outer(share, share))
        plain = ys - xs @ inner @ xs.T @ ys
        for label in np.unique(groups):
            own = np.flatnonzero(groups == label)
            expected = np.linalg.solve(np.eye(len(own)) - hat[np.ix_(own, own)], plain[own]) / root[own]
            np.testing.assert_allclose(residuals[own], expected, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(judge.residuals(float(alpha))[0], residuals, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [RidgeHead, LogisticHead, PrototypeHead])
def test_pixels_of_one_label_are_not_independent(kind):
    """Told which pixels belong together, a head does better on labels it has not seen."""
    gain = []
    for seed in range(12):
        x, y, groups = patches(seed=seed, spread=1.6)
        new, truth, _ = patches(labels=300, pixels=1, seed=100 + seed, spread=1.6)
        plain, told = kind().fit(x, y), kind().fit(x, y, groups=groups)
        gain.append((told.predict(new) == truth).mean() - (plain.predict(new) == truth).mean())
    assert np.mean(gain) > 0.005


def test_many_pixels_of_a_label_are_thinned_evenly():
    groups = np.repeat([2, 0, 1], [3, 40, 400])
    x = np.random.default_rng(0).normal(size=(443, 5))
    judge = LeftOut(x, x[:, :1], np.ones(443), groups)
    kept, names = judge.kept, judge.groups
    assert np.bincount(names).tolist() == [8, 8, 3]
    assert np.all(np.diff(kept[names == 1]) == 50)
    np.testing.assert_allclose(np.bincount(names, judge.weight), [40, 400, 3])


def test_prototypes_need_fewer_labels_to_trust_their_covariance_where_leaving_out_shows_it():
    rng = np.random.default_rng(0)
    stretch = np.geomspace(0.05, 5, 20)
    y = np.arange(400) % 4
    x = (np.random.default_rng(1).normal(size=(4, 20))[y] * 0.4 + rng.normal(size=(400, 20)) * stretch).astype(
        np.float32
    )
    few, many = PrototypeHead().fit(x[:12], y[:12]), PrototypeHead().fit(x, y)
    assert few.shrinkage_ == pytest.approx(20 / (20 + 3 * (12 - 4)))
    assert many.shrinkage_ < 20 / (20 + 3 * (400 - 4)) / 2
