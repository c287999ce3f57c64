"""The score on the page: honest by place, weighed by label, in sentences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tessera_core.assess.crossfit import hold_out, spatial_folds, spatial_groups, take, thin
from tessera_core.assess.live import ClassScore, _weakest, effective_sample_size, live_score, wilson
from tessera_core.assess.samples import CodeFeatures, Samples
from tessera_core.errors import Cancelled
from tessera_core.heads import make_head
from tests.assess.fields import labelled_fields
from tests.factories import make_raster


def test_no_training_pixel_lies_in_a_held_out_place_or_its_belt():
    samples = labelled_fields(apart=7)  # closer than blocks, so that places hold several labels and belts matter
    place = spatial_groups(samples)
    for train, test in spatial_folds(samples, 5, buffer_px=4):
        assert not set(place[train]) & set(place[test])
        assert not set(samples.groups[train]) & set(samples.groups[test])
        gap = np.maximum(
            abs(samples.rows[train][:, None] - samples.rows[test]),
            abs(samples.cols[train][:, None] - samples.cols[test]),
        )
        assert gap.min() > 4


def test_clicks_close_together_are_one_place_and_a_large_polygon_is_never_split():
    samples = labelled_fields(per_class=4, pixels=1)
    close = replace(samples, rows=np.array([0, 3, *range(100, 1100, 100)]), cols=np.zeros(12, int))
    assert len(np.unique(spatial_groups(close))) == 11
    wide = labelled_fields(per_class=3, pixels=400)
    for group in np.unique(wide.groups):
        assert len(np.unique(spatial_groups(wide)[wide.groups == group])) == 1


def test_the_gap_to_a_random_split_is_found_and_said():
    samples = labelled_fields(offset=2.0)
    found = live_score(samples, make_head("ridge"))
    assert found.naive > found.accuracy + 0.05
    assert found.interval[0] < found.accuracy < found.interval[1]
    assert (found.n_labels, found.n_places) == (24, 24)
    assert f"would claim {100 * found.naive:.0f} %" in found.gap
    assert found.weakest.startswith(f"Weakest class: {found.per_class[0].name}")
    assert found.per_class[0].f1 == min(c.f1 for c in found.per_class)
    assert "Most often confused" in found.confused
    assert found.sentences[0] == found.headline


def test_what_is_weak_about_the_weakest_class_is_what_is_told():
    # Of a class that is found everywhere, and mapped where it is not, the share found would be praise.
    greedy, missed = ClassScore(1, "Scrub", 0.95, 0.73, 0.82, 40), ClassScore(1, "Scrub", 0.73, 0.95, 0.82, 40)
    other = ClassScore(2, "Water", 1.0, 1.0, 1.0, 40)
    assert _weakest([greedy, other], False) == "Weakest class: Scrub; 73 % of what is mapped so is right."
    assert _weakest([missed, other], False) == "Weakest class: Scrub, found at 73 % of its 40 labels."


def test_without_likeness_of_neighbours_there_is_no_gap():
    found = live_score(labelled_fields(per_class=20, pixels=1, offset=0.0, noise=1.0), make_head("ridge"))
    assert "about the same" in found.gap or found.naive - found.accuracy < 0.06


def test_a_few_single_clicks_of_each_class_can_be_scored():
    # Fewer labels in every class than there would be folds.
    found = live_score(labelled_fields(per_class=5, pixels=1), make_head("ridge"))
    assert found.accuracy is not None
    assert (found.n_labels, found.n_places) == (15, 15)


def test_one_large_polygon_counts_as_one_label():
    samples = labelled_fields(per_class=6, pixels=4, offset=1.5)
    many = np.concatenate([np.repeat(np.flatnonzero(samples.groups == 0), 10), np.flatnonzero(samples.groups != 0)])
    found = live_score(take(samples, many), make_head("prototype"))
    held = found.held_out
    right = held.ids[held.proba.argmax(1)] == held.samples.y
    of_each = [right[held.samples.groups == g].mean() for g in np.unique(samples.groups)]
    assert found.accuracy == pytest.approx(np.mean(of_each))
    assert found.accuracy != pytest.approx(right.mean())
    assert found.confusion.sum() == pytest.approx(18)


def test_a_map_no_better_than_one_class_is_said_to_be_none():
    samples = labelled_fields(per_class=9, pixels=1, contrast=0.0, offset=0.0, noise=1.0, seed=2)
    found = live_score(samples, make_head("prototype"))
    assert found.accuracy <= 1 / 3
    assert any("no better than calling everything" in note for note in found.notes)
    assert not any("no better" in note for note in live_score(labelled_fields(), make_head("ridge")).notes)


def test_pixels_of_a_reference_raster_count_each_for_itself():
    """A patch of a raster is no label that somebody chose: a large one says more than a sliver, and all of it is judged."""
    samples = labelled_fields(per_class=6, pixels=36, offset=1.5, apart=24)
    slivers = np.flatnonzero((samples.groups % 2 == 0) | (np.arange(len(samples.y)) % 36 == 0))
    by_label = live_score(take(samples, slivers), make_head("prototype"))
    by_pixel = live_score(replace(take(samples, slivers), weight=np.ones(len(slivers))), make_head("prototype"))
    held = by_pixel.held_out
    right = held.ids[held.proba.argmax(1)] == held.samples.y
    assert by_pixel.accuracy == pytest.approx(right[held.judged].mean())
    assert by_pixel.accuracy != pytest.approx(by_label.accuracy)
    assert by_pixel.n_labels == len(slivers)
    assert "labelled pixels in" in by_pixel.headline
    thinned = thin(held.samples, limit=100)
    assert len(thinned.y) <= 103
    # Those kept count for those that are not, class by class.
    np.testing.assert_allclose(np.bincount(thinned.y, thinned.weight), np.bincount(held.samples.y, held.samples.weight))


def test_thinning_keeps_every_label_and_is_repeatable():
    samples = labelled_fields(per_class=5, pixels=200)
    few = thin(samples, per_label=10)
    assert (np.bincount(few.groups) == 10).all()
    np.testing.assert_array_equal(few.rows, thin(samples, per_label=10).rows)
    assert len(thin(samples, limit=100).y) <= 103


def test_too_few_labels_say_what_to_label():
    samples = labelled_fields(per_class=1)
    found = live_score(samples, make_head("ridge"))
    assert found.accuracy is None
    assert found.held_out is None
    assert found.headline == "No score yet: label a second place, further away, of both maize and grass."
    fewer = live_score(take(samples, np.flatnonzero(samples.y == 3)), make_head("ridge"))
    assert fewer.headline == "No score yet: label a second place, further away, of wood."
    empty = take(samples, np.zeros(0, np.intp))
    assert live_score(empty, make_head("ridge")).accuracy is None


def test_a_class_at_one_place_is_named():
    samples = labelled_fields()
    single = np.flatnonzero((samples.y != 3) | (samples.groups == samples.groups[samples.y == 3][0]))
    found = live_score(take(samples, single), make_head("ridge"))
    assert any("wood" in note for note in found.notes)
    assert {c.name for c in found.per_class} == {"maize", "grass"}


def test_held_out_probabilities_are_those_of_heads_that_did_not_see_the_place():
    samples = labelled_fields(per_class=4, pixels=2)
    held = hold_out(samples, make_head("logistic"), n_folds=3)
    train, test = spatial_folds(samples, 3)[1]
    head = make_head("logistic")
    expected = samples.features.fit_proba(head, train, samples.y[train], test, samples.groups[train])
    np.testing.assert_allclose(held.proba[test], expected, atol=1e-6)
    np.testing.assert_allclose(held.proba.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(np.bincount(samples.groups, held.weight), 1)


def test_places_that_are_known_are_held_out_whole_and_without_a_belt():
    samples = labelled_fields(per_class=6, pixels=2, apart=3)
    cells = samples.groups % 7
    known = replace(samples, spatial_groups=cells)
    np.testing.assert_array_equal(spatial_groups(known), cells)
    for train, test in spatial_folds(known, 4):
        assert not set(cells[train]) & set(cells[test])
        assert len(train) + len(test) == len(samples.y)
    np.testing.assert_array_equal(hold_out(known, make_head("ridge")).spatial_groups, cells)


def test_what_covers_the_map_is_seen_in_the_map():
    """Labels evenly of two classes, on ground that is nine tenths of the one."""
    rng = np.random.default_rng(0)
    truth = np.where(np.arange(100) < 90, 1, 2)[None].repeat(40, 0)
    values = np.array([[-1.0], [1.0]])[truth - 1] + 0.3 * rng.normal(size=(40, 100, 8))
    raster = make_raster(values, empty=np.s_[:4])
    rows, cols = np.tile([12, 36], 4), np.array([1, 1, 30, 30, 91, 91, 99, 99])
    samples = Samples(
        CodeFeatures.at(raster, rows, cols),
        truth[rows, cols],
        np.arange(8),
        rows,
        cols,
        {},
        spatial_groups=np.arange(8),
    )
    held = hold_out(samples, make_head("ridge"))
    np.testing.assert_allclose(held.shares, [0.9, 0.1], atol=0.03)
    np.testing.assert_array_equal(held.labelled, np.stack([rows, cols], axis=1))
    assert hold_out(labelled_fields(), make_head("ridge")).shares is None


@pytest.mark.parametrize("pixels", [1, 4])
def test_labels_held_out_one_by_one_come_beside_the_score(pixels):
    samples = labelled_fields(per_class=8, pixels=pixels, apart=6)
    held = live_score(samples, make_head("ridge")).held_out
    near = held.near
    assert len(near.judged) == len(samples.y)
    for number in np.unique(near.fold):
        # A label is never split, and its neighbours in the same square are learnt from.
        inside = near.fold == number
        assert not set(samples.groups[inside]) & set(samples.groups[~inside])
    neighbours = held.spatial_groups[:, None] == held.spatial_groups
    assert (neighbours & (near.fold[:, None] != near.fold)).any()


def test_wilson_matches_the_textbook_and_places_bound_the_trials():
    # Wilson's interval of 9 in 10 by hand: centre (0.9 + 0.19207) / 1.38415, half width 0.19272...
    assert wilson(0.9, 10) == pytest.approx((0.59585, 0.98212), abs=1e-4)
    assert wilson(1.0, 9)[0] == pytest.approx(9 / (9 + 1.959964**2), abs=1e-9)
    assert effective_sample_size(np.ones(12), np.arange(12)) == 12
    assert effective_sample_size(np.ones(12), np.arange(12) // 3) == 4


def test_stops_when_asked():
    with pytest.raises(Cancelled):
        live_score(labelled_fields(), make_head("ridge"), cancelled=lambda: True)


def _doubtful_ground(rng, n_random=60, n_doubtful=60):
    """Two kinds that overlap: labels by chance, and labels where the map is in doubt; and how often the map is right at all."""
    kind = rng.integers(0, 2, (256, 256))
    x = np.stack([np.where(kind == 1, 1.0, -1.0) + rng.normal(size=kind.shape), rng.normal(size=kind.shape)], -1)
    raster = make_raster(x)
    flat = np.concatenate(
        [
            rng.choice(kind.size, n_random, replace=False),
            rng.choice(np.flatnonzero(abs(x[..., 0].ravel()) < 0.3), n_doubtful, replace=False),
        ]
    )
    flat, first = np.unique(flat, return_index=True)
    rows, cols = np.divmod(flat, 256)
    y = kind[rows, cols] + 1
    samples = Samples(
        CodeFeatures.at(raster, rows, cols), y, np.arange(len(y)), rows, cols, {1: "Low", 2: "High"},
        suggested=first >= n_random,
    )  # fmt: skip
    fitted = make_head("prototype").fit_at(raster, rows, cols, y)
    everywhere = np.divmod(np.arange(kind.size), 256)
    right = fitted.classes_[fitted.proba_at(raster, *everywhere).argmax(1)] == kind.ravel() + 1
    return samples, float(right.mean())


def test_labels_where_the_app_suggested_them_do_not_make_the_map_look_worse():
    samples, truth = _doubtful_ground(np.random.default_rng(3))
    found, blind = (live_score(one, make_head("prototype")) for one in (samples, replace(samples, suggested=None)))
    assert blind.accuracy < truth - 0.08
    assert found.interval[0] < truth < found.interval[1]
    assert abs(found.accuracy - truth) < 0.06
    assert any("that the app suggested: 60 of" in note for note in found.notes)
    # Counted as they are, weighed as they were chosen.
    assert found.n_labels == sum(c.labels for c in found.per_class) == len(samples.y)
    assert found.interval[1] - found.interval[0] > blind.interval[1] - blind.interval[0]
    # What a random split claims is of labels that count the same.
    assert found.naive == pytest.approx(found.accuracy, abs=0.08)


def test_where_nobody_knows_how_sure_the_map_is_elsewhere_suggested_labels_only_teach():
    samples, truth = _doubtful_ground(np.random.default_rng(4))
    bare = replace(samples, features=replace(samples.features, raster=None))
    found = live_score(bare, make_head("prototype"))
    assert found.n_labels == int((~samples.suggested).sum())
    assert found.interval[0] < truth < found.interval[1]
    assert any("left out of its score" in note for note in found.notes)
    few = live_score(take(bare, np.flatnonzero(samples.suggested)), make_head("prototype"))
    assert any("likely too low" in note for note in few.notes)
    # A class that was labelled at suggested places only is not lost with them.
    y = np.where(samples.suggested & (np.arange(len(samples.y)) % 2 == 0), 3, samples.y)
    third = live_score(replace(bare, y=y, names={**bare.names, 3: "Wetland"}), make_head("prototype"))
    assert "Wetland" in {one.name for one in third.per_class}
    assert third.n_labels == len(y)
    assert any("likely too low" in note for note in third.notes)
    assert not any("single place" in note for note in third.notes)


def test_labels_in_easy_places_are_told_with_how_much_they_flatter():
    rng = np.random.default_rng(5)
    samples, truth = _doubtful_ground(rng, 400, 1)
    x = samples.features.codes[:, 0] * samples.features.scales
    easy = take(replace(samples, suggested=None), np.flatnonzero(abs(x) > 0.8))
    found = live_score(easy, make_head("prototype"))
    (told,) = [note for note in found.notes if "easy places" in note]
    assert found.accuracy > truth + 0.03
    points = int(told.partition("%, ")[2].partition(" points")[0])
    assert abs(100 * found.accuracy - points - 100 * truth) < 6
    spread = live_score(replace(samples, suggested=None), make_head("prototype"))
    assert not any("easy places" in note for note in spread.notes)
