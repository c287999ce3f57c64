"""Temperature, reliability and prediction sets, on simulated predictions whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tessera_core.assess.calibration import (
    NO_SET,
    Beside,
    Conformal,
    calibrate,
    conformal,
    effective_weights,
    expected_error,
    fit_temperature,
    map_sets,
    nonconformity,
    quantile,
    reliability,
)
from tessera_core.assess.crossfit import HeldOut, hold_out, predict_folds, take
from tessera_core.assess.live import live_score
from tessera_core.assess.samples import CodeFeatures, Samples
from tessera_core.assess.splits import folds
from tessera_core.errors import Cancelled, HeadError, LabelError
from tessera_core.heads import make_head
from tessera_core.heads.temperature import temperature_scaled
from tests.assess.fields import labelled_fields
from tests.factories import make_raster, quantised


def simulated(n, k=5, spread=2.0, seed=0):
    """Honest probabilities (n, k) and truths drawn from them."""
    rng = np.random.default_rng(seed)
    proba = temperature_scaled(np.exp(spread * rng.normal(size=(n, k))), 1.0)
    truth = (proba.cumsum(1) < rng.random((n, 1))).sum(1)
    return proba, np.minimum(truth, k - 1)


@pytest.mark.parametrize("spoiled", [0.4, 1.0, 2.5])
def test_the_temperature_undoes_overconfidence_and_timidity(spoiled):
    proba, truth = simulated(20_000)
    wrong = temperature_scaled(proba, spoiled)
    assert fit_temperature(wrong, truth) == pytest.approx(1 / spoiled, rel=0.05)
    fresh, fresh_truth = simulated(20_000, seed=1)
    corrected = temperature_scaled(temperature_scaled(fresh, spoiled), fit_temperature(wrong, truth))
    assert expected_error(reliability(corrected, fresh_truth)) < 0.015
    if spoiled != 1:
        assert expected_error(reliability(temperature_scaled(fresh, spoiled), fresh_truth)) > 0.05


def test_the_expected_error_by_hand():
    proba = np.array([[0.95, 0.05], [0.95, 0.05], [0.25, 0.75], [0.65, 0.35]])
    truth = np.array([0, 1, 1, 0])
    table = reliability(proba, truth)
    assert [(row.low, row.weight) for row in table] == [(0.6, 1), (0.7, 1), (0.9, 2)]
    assert expected_error(table) == pytest.approx((0.35 + 0.25 + 2 * 0.45) / 4)
    # A weight of two is a label twice.
    twice = reliability(proba[[0, 0, 1, 2, 3]], truth[[0, 0, 1, 2, 3]])
    assert expected_error(reliability(proba, truth, np.array([2.0, 1, 1, 1]))) == pytest.approx(expected_error(twice))


def test_labels_of_a_head_are_calibrated_without_judging_a_fold_by_itself():
    held = hold_out(labelled_fields(per_class=40, pixels=2, offset=1.8), make_head("logistic"))
    bold = replace(held, proba=temperature_scaled(held.proba, 0.3))
    found = calibrate(bold)
    assert found.temperature > 1.5
    assert found.ece_after < found.ece_before
    assert "too sure of itself" in found.sentence
    assert sum(row.weight for row in found.before) == pytest.approx(120)
    honest = calibrate(replace(held, proba=temperature_scaled(bold.proba, found.temperature)))
    assert 0.9 < honest.temperature < 1.1


def test_bins_of_few_labels_are_not_held_against_a_better_log_loss():
    """Two labels a bin can look worse after calibrating; the sentence does not boast of that."""
    for seed in range(30):
        held = hold_out(labelled_fields(per_class=4, pixels=1, offset=1.6, seed=seed), make_head("logistic"))
        found = calibrate(held)
        if found.temperature != 1:
            # "Off by 8 points instead of 8" would be a boast, too.
            better = round(100 * found.ece_after) < round(100 * found.ece_before)
            assert ("instead of" in found.sentence) == better
            assert ("cannot tell" in found.sentence) == (not better)


def test_confidence_where_hardly_anything_is_right_is_warned_of():
    held = hold_out(labelled_fields(per_class=6, pixels=1, noise=0.05), make_head("ridge"))
    sure = np.full_like(held.proba, 0.02)
    sure[np.arange(len(sure)), (held.targets + 1) % 3] = 0.96
    assert calibrate(replace(held, proba=sure)).sentence.startswith("Do not trust its confidence.")
    assert "Do not trust" not in calibrate(held).sentence


def test_holding_out_can_be_stopped_within_a_fold():
    samples = labelled_fields(per_class=2)
    parts = folds(samples, "field", 2, 0)[:1]
    asked = []

    def cancelled():
        asked.append(1)
        return len(asked) > 2

    with pytest.raises(Cancelled):
        predict_folds(samples, make_head("forest"), parts, samples.groups, cancelled)


def test_all_right_is_no_proof_of_certainty():
    proba = np.tile([0.8, 0.2], (5, 1))
    assert fit_temperature(proba, np.zeros(5, int)) > 0.3


@pytest.mark.parametrize("method", ["lac", "aps"])
@pytest.mark.parametrize("error", [0.1, 0.2])
def test_coverage_is_within_two_points_of_what_was_asked(method, error):
    covered = []
    for repeat in range(100):
        proba, truth = simulated(600, spread=1.0, seed=repeat)
        proba = temperature_scaled(proba, 0.5)  # overconfident: conformal sets need no honest head
        scores = nonconformity(proba, method)
        own = scores[np.arange(600), truth]
        covered.append((own[200:] <= quantile(own[:200], error)).mean())
    assert np.mean(covered) == pytest.approx(1 - error, abs=0.02)


@pytest.mark.parametrize("method", ["lac", "aps"])
def test_cross_conformal_sets_of_a_head_cover_new_places(method):
    covered = []
    for seed in range(12):
        # Exchangeable: labels and new places are drawn alike.
        samples = labelled_fields(per_class=80, pixels=1, offset=1.6, noise=0.0, seed=seed)
        train, new = np.arange(0, 240, 2), np.arange(1, 240, 2)
        labels = take(samples, train)
        head = make_head("logistic")
        rule = conformal(hold_out(labels, head, n_folds=8), 0.1, method)
        proba = labels.features.fit_proba(head, np.arange(len(train)), labels.y, np.arange(len(train)))
        assert proba.shape[1] == 3
        unseen = take(samples, new)
        x = unseen.features.codes * unseen.features.scales[:, None]
        inside = rule.contains(head.predict_proba(x))
        covered.append(inside[np.arange(len(new)), unseen.y - 1].mean())
    # 12 repeats of 120 places leave a standard error of a point and a half.
    assert np.mean(covered) == pytest.approx(0.9, abs=0.04)


def test_quantiles_by_hand_and_too_few_labels():
    scores = np.arange(1.0, 10)
    assert quantile(scores, 0.1) == 9
    assert quantile(scores, 0.2) == 8
    assert quantile(scores[:8], 0.1) == float("inf")
    # Pixels of one label share its weight.
    assert quantile(scores.repeat(3), 0.2, np.full(27, 1 / 3)) == pytest.approx(8)
    with pytest.raises(LabelError, match="between 0 and 100"):
        quantile(scores, 1.5)
    rule = Conformal("lac", 0.1, float("inf"), 1.0, np.array([1, 2]), 8)
    assert "at least 9" in rule.sentence
    assert rule.contains(np.array([[0.99, 0.01]])).all()
    assert not rule.contains(np.array([[np.nan, np.nan]])).any()


def in_places(rng, places, pixels, mix, likeness=2.0):
    """Honest doubt (n, 2) about labels whose places share much of it, which classes they are, and the place of each.

    Class 1 is the harder one. ``mix`` is its share.
    """
    n = places * pixels
    place = np.repeat(np.arange(places), pixels)
    truth = (rng.random(places) < mix).astype(int)[place]
    margin = 2.5 - 1.5 * truth + likeness * rng.normal(size=places)[place] + 0.5 * rng.normal(size=n)
    own = 1 / (1 + np.exp(-margin))
    proba = np.empty((n, 2))
    proba[np.arange(n), truth], proba[np.arange(n), 1 - truth] = own, 1 - own
    return proba, truth, place


def held_of(proba, truth, place, shares=None):
    n = len(truth)
    samples = Samples(
        CodeFeatures(np.zeros((n, 1), np.int8), np.ones(n, np.float32)), truth + 1, np.arange(n), place, place, {}
    )
    ids = np.arange(1, proba.shape[1] + 1)
    return HeldOut(samples, ids, proba.astype(np.float32), place % 5, place, np.ones(n), shares)


@pytest.mark.parametrize("error", [0.1, 0.2])
def test_sets_hold_in_new_places_where_labels_of_a_place_are_alike(error):
    """24 places of 1 to 15 labels: counted by label the promise would be broken, counted by place it is kept."""
    kept, naive = [], []
    for repeat in range(200):
        rng = np.random.default_rng(repeat)
        proba, truth, place = in_places(rng, 24, 15, 0.5)
        # Places hold different numbers of labels.
        some = np.arange(len(place)) % 15 < rng.integers(1, 16, 24)[place]
        held = held_of(proba[some], truth[some], place[some])
        new, new_truth, _ = in_places(rng, 400, 1, 0.5)
        inside = conformal(held, error).contains(new)
        kept.append(inside[np.arange(400), new_truth].mean())
        scores = 1 - held.proba[np.arange(some.sum()), held.targets]
        naive.append((1 - new[np.arange(400), new_truth] <= quantile(scores, error)).mean())
    assert np.mean(kept) == pytest.approx(1 - error, abs=0.02)
    assert np.mean(naive) < np.mean(kept)


def test_classes_weigh_as_in_the_map_not_as_in_the_labels():
    """Labels evenly of two classes, a map that is mostly the harder one: sets keep the promise where the shares are known."""
    with_shares, without = [], []
    for repeat in range(200):
        rng = np.random.default_rng(repeat)
        labels, (new, new_truth, _) = in_places(rng, 120, 1, 0.5), in_places(rng, 400, 1, 0.9)
        for known, found in ((np.array([0.1, 0.9]), with_shares), (None, without)):
            inside = conformal(held_of(*labels, known), 0.2).contains(new)
            found.append(inside[np.arange(400), new_truth].mean())
    assert np.mean(with_shares) == pytest.approx(0.8, abs=0.02)
    assert np.mean(without) < 0.77


def test_places_are_what_is_counted_and_the_rarely_mapped_count_for_less():
    proba, truth, place = in_places(np.random.default_rng(0), 12, 3, 0.5)
    weight, n = effective_weights(held_of(proba, truth, place))
    assert n == pytest.approx(12)
    np.testing.assert_allclose(weight, 1 / 3)
    weight, fewer = effective_weights(held_of(proba, truth, place, np.array([0.95, 0.05])))
    assert fewer < 12
    assert weight.sum() == pytest.approx(fewer)
    # 10 pixels of 2000 are added to each class.
    assert weight[truth == 0].sum() / weight.sum() == pytest.approx(0.955 / 1.01)


def test_too_few_places_say_so_and_beside_labels_sets_stay_small():
    samples = labelled_fields(per_class=12, pixels=1, offset=0.6, apart=8)  # 36 labels in nine squares
    values = np.random.default_rng(0).normal(size=(50, 50, 16))
    values[samples.rows, samples.cols] = samples.features.codes * samples.features.scales[:, None]
    raster = make_raster(values)
    samples = replace(samples, features=CodeFeatures.at(raster, samples.rows, samples.cols))
    head = make_head("prototype")
    held = live_score(samples, head).held_out
    rule = conformal(held, 0.1)
    assert rule.n < 9
    assert np.isinf(rule.threshold)
    assert np.isfinite(rule.beside.threshold)
    assert "at least 9 places" in rule.sentence
    assert "beside your labels fewer" in rule.sentence
    layer = map_sets(rule, head.fit_at(raster, samples.rows, samples.cols, samples.y), raster)
    beside = rule.beside.mask(slice(0, 50), 50)
    assert beside[samples.rows, samples.cols].all()
    assert (layer.size[~beside] == 3).all()
    assert layer.size[beside].mean() < 2.9
    # Asked for less, the same places suffice everywhere.
    assert np.isfinite(conformal(held, 0.45).threshold)
    assert "also where you have no labels, if all" in conformal(held, 0.45).sentence


@pytest.mark.parametrize("rows", [slice(0, 40), slice(13, 20)])
def test_beside_a_label_is_within_the_radius_of_one(rows):
    rng = np.random.default_rng(0)
    labelled = rng.integers(0, (40, 30), (9, 2))
    ground = np.stack(np.meshgrid(np.arange(40), np.arange(30), indexing="ij"), axis=-1)
    away = np.sqrt(((ground[:, :, None] - labelled) ** 2).sum(-1)).min(-1)
    np.testing.assert_array_equal(Beside(0.5, labelled, 4.3).mask(rows, 30), (away <= 4.3)[rows])
    assert not Beside(0.5, labelled + 100, 4.3).mask(rows, 30).any()


def test_adaptive_scores_are_sums_of_the_likelier():
    np.testing.assert_allclose(nonconformity(np.array([[0.2, 0.5, 0.3]]), "aps"), [[1.0, 0.5, 0.8]])
    np.testing.assert_allclose(nonconformity(np.array([[0.2, 0.5, 0.3]]), "lac"), [[0.8, 0.5, 0.7]])


def test_the_layer_equals_the_rule_pixel_by_pixel():
    samples = labelled_fields(per_class=12, pixels=1, offset=1.6)
    head = make_head("ridge")
    rule = conformal(hold_out(samples, head), 0.15)
    head.fit(samples.features.codes * samples.features.scales[:, None], samples.y)
    raster = make_raster(np.random.default_rng(0).normal(size=(20, 30, 16)), empty=np.s_[0, 7])
    layer = map_sets(rule, head, raster)
    inside = rule.contains(head.predict_proba(raster.sample(*np.divmod(np.arange(600), 30))))
    inside[7] = False
    assert layer.members.dtype == np.uint8
    np.testing.assert_array_equal((layer.members.ravel()[:, None] >> np.arange(3)) & 1, inside)
    assert layer.size.ravel()[7] == NO_SET
    np.testing.assert_array_equal(np.delete(layer.size.ravel(), 7), np.delete(inside.sum(1), 7))
    other = make_head("ridge").fit(head.coef_.T, [1, 2, 4])
    with pytest.raises(LabelError, match="changed"):
        map_sets(rule, other, raster)


@pytest.mark.parametrize("name", ["ridge", "knn"])
def test_a_tempered_head_has_the_same_map_with_softer_confidence(name):
    samples = labelled_fields(per_class=12, pixels=1)
    head = make_head(name).fit(samples.features.codes * samples.features.scales[:, None], samples.y)
    softer = head.temperature_scaled(3.0)
    x = np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32)
    np.testing.assert_allclose(softer.predict_proba(x), temperature_scaled(head.predict_proba(x), 3.0), atol=2e-5)
    codes, scales = quantised(x)
    before, after = head.predict_codes(codes, scales), softer.predict_codes(codes, scales)
    np.testing.assert_array_equal(before[0], after[0])
    assert after[1].mean() < before[1].mean()
    with pytest.raises(HeadError, match="positive"):
        head.temperature_scaled(0)
