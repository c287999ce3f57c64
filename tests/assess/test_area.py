"""The estimators against the published worked examples, textbook formulas and simulation."""

from __future__ import annotations

import numpy as np
import pytest

from tessera_core.assess.area import assess_matrix, assess_sample
from tessera_core.assess.intervals import mean_interval
from tessera_core.errors import LabelError

# Olofsson et al. (2014), section 5: deforestation, forest gain, stable forest, stable non-forest; rows are the map.
COUNTS = [[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]]
MAPPED_PIXELS = [200_000, 150_000, 3_200_000, 6_450_000]
PIXELS = 10_000_000
HECTARES = PIXELS * 0.09


def olofsson(total=PIXELS):
    return assess_matrix(COUNTS, np.array(MAPPED_PIXELS) / PIXELS, total)


def test_the_worked_example_of_olofsson_et_al_2014():
    found = olofsson()
    deforestation = found.classes[0]
    assert round(deforestation.area.value) == 235_086
    assert deforestation.share.se == pytest.approx(0.0035, abs=5e-5)
    assert round(deforestation.area.wald_margin) == 68_418
    hectares = olofsson(HECTARES).classes[0].area
    assert (round(hectares.value), round(hectares.wald_margin)) == (21_158, 6_158)
    assert (round(found.overall.value, 2), round(found.overall.wald_margin, 2)) == (0.95, 0.02)
    assert [round(c.users.value, 2) for c in found.classes] == [0.88, 0.73, 0.93, 0.96]
    assert [round(c.users.wald_margin, 2) for c in found.classes] == [0.07, 0.10, 0.04, 0.02]
    assert [round(c.producers.value, 2) for c in found.classes] == [0.75, 0.85, 0.93, 0.96]
    assert found.counts.tolist() == COUNTS
    assert found.n == 640
    np.testing.assert_allclose(found.shares.sum(1), np.array(MAPPED_PIXELS) / PIXELS)
    # Table 9 of the paper, cell by cell: W_i n_ij / n_i.
    assert np.round(found.shares[0], 4).tolist() == [0.0176, 0.0, 0.0013, 0.0011]


def test_equations_8_to_11_of_olofsson_et_al_written_out():
    n, w = np.array(COUNTS, float), np.array(MAPPED_PIXELS) / PIXELS
    p = w[:, None] * n / n.sum(1, keepdims=True)
    found = olofsson()
    for j, c in enumerate(found.classes):
        share = p[:, j].sum()
        se = np.sqrt(((w * p[:, j] - p[:, j] ** 2) / (n.sum(1) - 1)).sum())
        assert c.share.value == pytest.approx(share)
        assert c.share.se == pytest.approx(se)
        users = n[j, j] / n[j].sum()
        assert c.users.se == pytest.approx(np.sqrt(users * (1 - users) / (n[j].sum() - 1)))
        assert c.producers.value == pytest.approx(p[j, j] / share)
        # Eq. 7: variance of producer's accuracy.
        mapped = w
        estimated = share
        others = [i for i in range(4) if i != j]
        variance = (mapped[j] ** 2 * (1 - c.producers.value) ** 2 * users * (1 - users) / (n[j].sum() - 1)) + (
            c.producers.value**2
            * sum(mapped[i] ** 2 * n[i, j] / n[i].sum() * (1 - n[i, j] / n[i].sum()) / (n[i].sum() - 1) for i in others)
        )
        assert c.producers.se == pytest.approx(np.sqrt(variance) / estimated)


def stehman():
    """Stehman (2014), table 2: strata A to D, 10 places each; map and reference classes A to D as 1 to 4."""
    letters = {"A": 1, "B": 2, "C": 3, "D": 4}
    strata = "A" * 10 + "B" * 10 + "C" * 10 + "D" * 10
    mapped = "A" * 7 + "B" * 3 + "A" + "B" * 11 + "C" * 6 + "BB" + "D" * 10
    reference = "AAAAACBABC" + "ABBBBBAABB" + "CCCCCDDBBA" + "DDDDDDDCCB"
    return [[letters[c] for c in text] for text in (strata, mapped, reference)]


def test_the_worked_example_of_stehman_2014():
    found = assess_sample(*stehman(), {1: 40_000, 2: 30_000, 3: 20_000, 4: 10_000}, 1.0)
    a, b, c, _ = found.classes
    assert (round(a.share.value, 2), round(a.share.se, 3)) == (0.35, 0.082)
    assert (round(c.share.value, 2), round(c.share.se, 3)) == (0.20, 0.064)
    assert (round(found.overall.value, 2), round(found.overall.se, 3)) == (0.63, 0.085)
    assert (round(b.users.value, 3), round(b.producers.value, 3)) == (0.574, 0.794)
    assert found.shares[1, 2] == pytest.approx(0.08)


def test_the_standard_error_of_a_ratio_is_equation_28_of_stehman():
    strata, mapped, reference = (np.array(v) for v in stehman())
    sizes = np.array([40_000, 30_000, 20_000, 10_000])
    found = assess_sample(strata, mapped, reference, dict(enumerate(sizes.tolist(), start=1))).classes[1]
    y, x = ((mapped == 2) & (reference == 2)).reshape(4, 10), (reference == 2).reshape(4, 10)
    total = (sizes * x.mean(1)).sum()
    ratio = (sizes * y.mean(1)).sum() / total
    variance = 0.0
    for h in range(4):
        c = np.cov(y[h], x[h])
        inner = c[0, 0] + ratio**2 * c[1, 1] - 2 * ratio * c[0, 1]
        variance += sizes[h] ** 2 * (1 - 10 / sizes[h]) * inner / 10
    assert found.producers.value == pytest.approx(ratio)
    assert found.producers.se == pytest.approx(np.sqrt(variance) / total)


def test_one_stratum_is_simple_random_sampling():
    rng = np.random.default_rng(0)
    mapped, reference = rng.integers(1, 4, 200), rng.integers(1, 4, 200)
    found = assess_sample(np.zeros(200, int), mapped, reference, {0: 1.0})
    share = (reference == 2).mean()
    assert found.classes[1].share.value == pytest.approx(share)
    assert found.classes[1].share.se == pytest.approx(np.sqrt(share * (1 - share) / 199))
    # A sample of everything has no error left.
    whole = assess_sample(np.zeros(200, int), mapped, reference, {0: 200})
    assert whole.overall.se == 0


def test_intervals_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(1)
    n_pixels = 200_000
    truth = np.searchsorted(np.cumsum([0.12, 0.3, 0.58]), rng.random(n_pixels)) + 1
    wrong = rng.random(n_pixels) < 0.15
    mapped = np.where(wrong, rng.integers(1, 4, n_pixels), truth)
    pixels = [np.flatnonzero(mapped == k) for k in (1, 2, 3)]
    sizes = {k: len(p) for k, p in enumerate(pixels, start=1)}
    true_share = [(truth == k).mean() for k in (1, 2, 3)]
    right = (truth == mapped).mean()
    counts = np.full(3, 150.0)
    weights = np.array(list(sizes.values())) / n_pixels
    seen = np.zeros((500, 3, 3))
    for repeat in range(500):
        for h, p in enumerate(pixels):
            seen[repeat, h] = np.bincount(truth[rng.choice(p, 150, replace=False)] - 1, minlength=3)
    wanted = [seen[:, :, k] for k in range(3)] + [np.diagonal(seen, axis1=1, axis2=2)]
    low, high = mean_interval(np.stack(wanted, 1), counts, weights)
    coverage = ((low <= [*true_share, right]) & ([*true_share, right] <= high)).mean(0)
    assert ((coverage > 0.93) & (coverage < 0.985)).all(), coverage


def test_sentences_give_unit_interval_and_number_of_places():
    found = olofsson(HECTARES).sentences({1: "Deforestation"})
    assert (
        found[0]
        == "Checked at 640 places drawn by chance: the map is right at 95 % (95 % sure: 92 to 96 %) of the region."
    )
    expected = "Deforestation truly covers 21,158 (95 % sure: 16,822 to 31,383) ha; the map shows about 18,000 ha."
    assert found[1] == expected
    # Half a hectare is not nothing.
    (small,) = assess_sample([1] * 40, [1] * 40, [1] * 40, {1: 60}, 0.6).sentences({1: "Pond"})[1:2]
    assert small == "Pond truly covers 0.6 (95 % sure: 0.6 to 0.6) ha; the map shows about 0.6 ha."
    single = assess_sample([1, 1, 2], [1, 1, 2], [1, 2, 2], {1: 10, 2: 10})
    assert single.sentences({})[0].endswith("right at 75 % (95 % sure: 19 to 97 %) of the region.")


def test_what_cannot_be_estimated_is_said():
    with pytest.raises(LabelError, match="size of stratum 2"):
        assess_sample([1, 2], [1, 1], [1, 1], {1: 10})
    with pytest.raises(LabelError, match="No place was sampled in stratum 3"):
        assess_sample([1, 1], [1, 1], [1, 1], {1: 10, 3: 5})
    with pytest.raises(LabelError, match="one stratum"):
        assess_sample([1], [1, 2], [1, 2], {1: 10})
    with pytest.raises(LabelError, match="square"):
        assess_matrix([[1, 2]], [1.0])
    single = assess_sample([1, 1, 2], [1, 1, 2], [1, 2, 2], {1: 10, 2: 10})
    assert np.isnan(single.overall.se)
    assert "single place" in single.notes[0]
    never = assess_sample([1, 1], [1, 1], [1, 2], {1: 10})
    assert np.isnan(never.classes[1].users.value)


def test_a_class_of_the_map_that_no_place_met_is_listed_with_what_may_be_there():
    strata, classes = np.zeros(20, int), np.repeat([1, 2], [15, 5])
    found = assess_sample(strata, classes, classes, {0: 10_000}, 100.0, {1: 7_900, 2: 2_000, 3: 100})
    assert found.ids == (1, 2, 3)
    (rare,) = [one for one in found.classes if one.id == 3]
    assert (rare.sampled, rare.area.value, rare.area.low) == (0, 0, 0)
    # As likely as not to be missed by twenty places: some 3 % of the region, and up to five times as much.
    assert 10 < rare.area.high < 20
    assert rare.mapped == pytest.approx(0.01)
    assert np.isnan([rare.users.value, rare.producers.value]).all()
    assert any("no place met: 1." in note for note in found.notes)
    # What the places themselves say stays.
    bare = assess_sample(strata, classes, classes, {0: 10_000}, 100.0)
    assert (bare.overall, bare.classes[0].share) == (found.overall, found.classes[0].share)
    assert not any("no place met" in note for note in bare.notes)
